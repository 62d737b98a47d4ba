#![no_main]

use akool::{Language, SourceId, WorkKey, types::CreateTranslationRequest};
use libfuzzer_sys::fuzz_target;
use serde_json::json;

/// Options: flags and numbers, captions, the languages, and words.
type Options<'a> = (
    (Option<bool>, Option<bool>, Option<i64>, Option<u64>),
    Option<&'a str>,
    (&'a str, Option<&'a str>),
    Vec<&'a str>,
);

// The canonical form of a source and of a request is its own canonical form, and neither the order of words nor options
// with their default values change it.
fuzz_target!(|input: (&str, Options<'_>)| {
    let (url, ((lipsync, music, caption_type, speakers), caption_url, (language, from), words)) = input;
    let source = SourceId::url(url);
    assert_eq!(SourceId::url(source.as_str()).as_str(), source.as_str());
    let pairs: Vec<_> = words.windows(2).map(|pair| (pair[0].to_owned(), json!(pair[1]))).collect();
    let request = |words: Vec<&str>, lipsync: Option<bool>| -> CreateTranslationRequest {
        let voice = json!({
            "no_translate_words": words,
            "fixed_words": serde_json::Map::from_iter(pairs.clone()),
            "style": "professional",
        });
        let request = json!({
            "url": url, "language": language, "source_language": from, "lipsync": lipsync, "remove_bgm": music,
            "caption_type": caption_type, "caption_url": caption_url, "speaker_num": speakers, "studio_voice": voice,
        });
        serde_json::from_value(request).unwrap()
    };
    let language = Language::from(language);
    let key = WorkKey::new(&source, &language, &request(words.clone(), lipsync));
    let again: CreateTranslationRequest = serde_json::from_str(key.as_str()).unwrap();
    assert_eq!(WorkKey::new(&source, &language, &again).as_str(), key.as_str());
    let reordered = request(words.into_iter().rev().collect(), lipsync.filter(|on| *on));
    assert_eq!(WorkKey::new(&SourceId::url(source.as_str()), &language, &reordered).as_str(), key.as_str());
});
