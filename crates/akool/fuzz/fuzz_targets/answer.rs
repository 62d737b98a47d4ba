#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u16, &str, &[u8])| {
    let (status, header, body) = input;
    match akool::fuzzing::decode(status, header, body) {
        Ok(snapshot) => {
            let shown = format!("{snapshot:?}");
            assert!(!shown.contains("Signature=MARK"), "{shown}");
            let _ = (snapshot.progress(), snapshot.age(), snapshot.created_at(), snapshot.video());
            let _ = akool::Translation::from_snapshot(snapshot).map(|translation| translation.files());
        }
        Err(error) => {
            let shown = error.to_string();
            assert!(!shown.chars().any(char::is_control), "{shown:?}");
            assert!(!shown.contains("?Signature=MARK"), "{shown}");
            assert!(shown.chars().count() < 1000, "{shown}");
        }
    }
});
