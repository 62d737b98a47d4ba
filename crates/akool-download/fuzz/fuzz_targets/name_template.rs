#![no_main]

use std::collections::BTreeSet;

use akool::FileKind;
use akool_download::{FileNames, NameTemplate};
use libfuzzer_sys::fuzz_target;

const KINDS: [FileKind; 4] =
    [FileKind::Video, FileKind::Subtitles, FileKind::OriginalSubtitles, FileKind::NoCaptions];
const DEVICES: [&str; 6] = ["con", "prn", "aux", "nul", "com1", "lpt1"];

const PLACEHOLDERS: [&str; 5] = ["{source}", "{language}", "{id}", "{kind}", "{ext}"];

/// A template of placeholders and text.
type Template<'a> = Vec<(u8, &'a str)>;

fuzz_target!(|input: (Template<'_>, &str, Option<&str>, Option<&str>, bool)| {
    let (template, id, source, language, with_id) = input;
    let pieces =
        template.iter().map(|(number, text)| *PLACEHOLDERS.get(usize::from(*number % 8)).unwrap_or(text));
    let template: String = pieces.collect();
    let Ok(template) = template.parse::<NameTemplate>() else { return };
    let mut job = FileNames::new(id.into());
    (job.source, job.language) = (source.map(str::to_owned), language.map(str::to_owned));
    let mut names = BTreeSet::new();
    for kind in KINDS {
        let name = template.name(&job, kind, with_id);
        assert!(!name.is_empty() && name.len() <= 255 - ".part.json".len(), "{name}");
        assert!(
            !name.contains(|letter: char| letter.is_control() || "/\\<>:\"|?*".contains(letter)),
            "{name:?}"
        );
        assert!(
            !name.starts_with(['.', '-', ' ']) && !name.ends_with(['.', ' ']) && !name.contains(".."),
            "{name:?}"
        );
        let stem = name.split('.').next().unwrap_or_default().trim_end().to_lowercase();
        assert!(!DEVICES.contains(&stem.as_str()), "{name}");
        names.insert(name.to_lowercase());
    }
    if template.check(&KINDS, false).is_ok() {
        assert_eq!(names.len(), KINDS.len(), "{names:?}");
    }
});
