#![no_main]

use akool::{FileKind, JobId};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&str, &str)| {
    let name = |id: &str| FileKind::Video.file_name(&JobId::from(id));
    let (one, two) = (name(input.0), name(input.1));
    for name in [&one, &two] {
        assert!(name.len() <= 100 && name.ends_with(".mp4"), "{name}");
        assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte)), "{name}");
        assert!(!name.starts_with(['.', '-']) && !name.contains(".."), "{name}");
        let stem = name.split('.').next().unwrap_or_default().to_lowercase();
        assert!(!["con", "prn", "aux", "nul", "com1", "lpt1"].contains(&stem.as_str()), "{name}");
    }
    // Also on a file system that does not tell case apart.
    assert_eq!(one.to_lowercase() == two.to_lowercase(), input.0 == input.1, "{one} {two}");
});
