#![no_main]
use libfuzzer_sys::fuzz_target;
use openapi_keeper::page;

fuzz_target!(|text: &str| {
    // Most inputs of a fuzzer have no fence, so add one.
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
