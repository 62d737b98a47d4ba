#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&str, Option<&str>)| {
    let (value, date) = input;
    if !value.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        // The HTTP library rejects other characters in headers.
        return;
    }
    let read = akool::fuzzing::retry_after(value, date);
    if value.trim().starts_with('-') {
        assert_eq!(read, None);
    }
    if let (Ok(seconds), true) = (value.trim().parse::<u64>(), value.trim().bytes().all(|byte| byte.is_ascii_digit())) {
        assert_eq!(read, Some(std::time::Duration::from_secs(seconds)));
    }
});
