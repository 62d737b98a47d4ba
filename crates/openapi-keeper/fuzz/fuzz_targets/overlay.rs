#![no_main]
use libfuzzer_sys::fuzz_target;
use openapi_keeper::overlay;

fuzz_target!(|input: (&str, &str, &str, bool)| {
    let (document, target, update, remove) = input;
    let Ok(document) = serde_json::from_str::<serde_json::Value>(document) else { return };
    let update = serde_json::from_str(update).unwrap_or(serde_json::Value::Null);
    let mut action = serde_json::json!({"target": target, "description": "d", "update": update});
    if remove {
        action["remove"] = true.into();
    }
    let text = serde_json::json!({"overlay": "1.0.0", "info": {"title": "t", "version": "1"}, "actions": [action]});
    let text = text.to_string();
    for lenient in [false, true] {
        let mut changed = document.clone();
        let outcome = if lenient {
            overlay::apply_leniently(&mut changed, text.as_bytes(), "o").map(drop)
        } else {
            overlay::apply(&mut changed, text.as_bytes(), "o")
        };
        if outcome.is_err() {
            assert_eq!(changed, document, "a failed overlay changes nothing");
        }
    }
});
