#![no_main]
#![allow(dead_code)]

#[path = "../../src/page.rs"]
mod page;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    // Most of what a fuzzer finds has no fence: give it one now and then.
    for text in [text.to_owned(), format!("````yaml GET /a\n{text}\n````\n")] {
        match page::blocks(&text, "page.md") {
            Ok(blocks) => {
                for block in blocks {
                    assert!(text.contains(block.yaml) && block.line <= text.lines().count());
                }
            }
            Err(error) => assert!(error.to_string().starts_with("page.md")),
        }
    }
});
