//! What is the same work: [`WorkKey`], [`SourceId`].
//!
//! The service creates and charges whatever is requested. So what must not be created twice is compared here first, in
//! one canonical form, for everything that remembers creations.

use std::fmt::{self, Write as _};

use akool_client::types::{CreateTranslationRequest, StudioVoice, VoiceStyle};
use url::Url;

use crate::{
    account::Language,
    translate::{Translate, error::InvalidTranslation},
};

/// What identifies the source of a translation.
///
/// Two spellings of one URL are the same source: the case of scheme and host, a dot at the end of the host, the default
/// port, the fragment, and percent-encoding where it makes no difference (RFC 3986, section 6.2.2). The case of the path
/// and the whole query make a difference.
///
/// ```
/// use akool::SourceId;
///
/// let source = SourceId::url("https://example.com/%7Eann/talk.mp4");
/// assert_eq!(source, SourceId::url("HTTPS://Example.COM.:443/~ann/talk.mp4#t=10"));
/// assert_ne!(source, SourceId::url("https://example.com/~ann/Talk.mp4"));
/// assert_ne!(source, SourceId::url("https://example.com/~ann/talk.mp4?v=2"));
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct SourceId(String);

impl SourceId {
    /// A video or file that the service downloads from this URL. Text that is not a URL identifies itself.
    pub fn url(text: &str) -> Self {
        Self(Url::parse(text).map_or_else(|_| text.to_owned(), canonical))
    }

    /// A file, by what is in it: its SHA-256, its length in bytes and its name without its folder. Links to it make no
    /// difference.
    ///
    /// ```
    /// use akool::SourceId;
    ///
    /// let talk = SourceId::file([7; 32], 1024, "talk.mp4");
    /// assert_ne!(talk, SourceId::file([7; 32], 1024, "other.mp4"));
    /// assert_eq!(talk, SourceId::url(talk.as_str()));
    /// ```
    pub fn file(sha256: [u8; 32], bytes: u64, name: &str) -> Self {
        let digits = sha256.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        // The blank before the first colon keeps this text from being a URL.
        Self(format!("file sha256={digits} bytes={bytes} name={name}"))
    }

    /// The canonical form. It may be a link that grants access: store a hash of it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Without the text, which may be a link that grants access.
impl fmt::Debug for SourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SourceId").finish_non_exhaustive()
    }
}

/// What a request asks for in one language: the source, the language and the options in a canonical form.
///
/// The other languages of the request and its webhook make no difference. Neither does an option that is set to its
/// default value, the case of a language code, or the order of words. Keys are stable: what is stored by one version is
/// found again by later ones.
///
/// The key contains the link to the source, which may grant access. So `Debug` does not show it; store a hash of it.
///
/// ```
/// # fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use akool::{Client, Credential, Language};
///
/// let client = Client::new(Credential::api_key("the key")?)?;
/// let one = client.translate("https://example.com/talk.mp4").to(["es", "fr"]).lipsync(false);
/// let other = client.translate("https://EXAMPLE.com/talk.mp4").to(["ES"]);
/// let spanish = Language::from("es");
/// assert_eq!(one.work_key(&spanish)?, other.work_key(&spanish)?);
/// # Ok(())
/// # }
/// # example().unwrap();
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WorkKey(String);

impl WorkKey {
    /// The work that a request asks for in this language, from this source.
    pub fn new(source: &SourceId, language: &Language, request: &CreateTranslationRequest) -> Self {
        let mut request = without_defaults(request.clone());
        request.url.clone_from(&source.0);
        request.language = language.code().to_ascii_lowercase();
        // Maps and the members of the generated type are sorted, so equal requests are equal texts. They always
        // serialize.
        Self(serde_json::to_string(&request).unwrap_or_default())
    }

    /// The canonical form, which is JSON.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for WorkKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkKey").finish_non_exhaustive()
    }
}

impl Translate {
    /// What this request asks for in one of its languages; see [`WorkKey`].
    ///
    /// # Errors
    /// As [`Translate::request`].
    pub fn work_key(&self, language: &Language) -> Result<WorkKey, InvalidTranslation> {
        let identity = self.identity()?;
        Ok(WorkKey::new(&SourceId::url(&identity.url), language, &identity))
    }

    /// The request with what identifies its sources in place of their URLs; see [`Translate::identified_by`]. It is never
    /// sent.
    ///
    /// # Errors
    /// As [`Translate::request`].
    pub fn identity(&self) -> Result<CreateTranslationRequest, InvalidTranslation> {
        let mut request = self.request()?;
        if let Some(source) = &self.source {
            request.url.clone_from(&source.0);
        }
        if let (Some(url), Some(source)) = (&mut request.caption_url, &self.caption_source) {
            url.clone_from(&source.0);
        }
        Ok(request)
    }
}

/// The request without options that have their default value, and without what makes no difference to the result.
fn without_defaults(mut request: CreateTranslationRequest) -> CreateTranslationRequest {
    request.webhook_url = None;
    for option in [&mut request.lipsync, &mut request.remove_bgm, &mut request.dynamic_duration] {
        *option = option.filter(|on| *on);
    }
    request.caption_type = request.caption_type.filter(|number| *number != 0);
    request.speaker_num = request.speaker_num.filter(|number| *number != 0);
    let source_language = request.source_language.map(|code| code.to_ascii_lowercase());
    request.source_language = source_language.filter(|code| code != "default");
    request.caption_url = request.caption_url.map(|url| SourceId::url(&url).0);
    request.studio_voice = request.studio_voice.map(|mut voice| {
        voice.style = voice.style.filter(|style| *style != VoiceStyle::Professional);
        voice.no_translate_words.sort();
        voice.no_translate_words.dedup();
        voice
    });
    request.studio_voice = request.studio_voice.filter(|voice| {
        let StudioVoice { no_translate_words, fixed_words, pronounced_words, style, .. } = voice;
        !(no_translate_words.is_empty()
            && fixed_words.is_empty()
            && pronounced_words.is_empty()
            && style.is_none())
    });
    request
}

/// The URL in the form that all of its spellings share.
fn canonical(mut url: Url) -> String {
    // The parser has already lowered scheme and host, and removed the default port and dot segments.
    url.set_fragment(None);
    let host = url.host_str().map(|host| host.trim_end_matches('.').to_owned());
    if let Some(host) = host.filter(|host| !host.is_empty()) {
        // This fails for URLs without a host only, which have no dot to remove.
        let _ = url.set_host(Some(&host));
    }
    canonical_escapes(url.as_str())
}

/// Decodes percent-encoded letters, digits, `-`, `.`, `_` and `~`, and writes the others with upper-case digits.
fn canonical_escapes(text: &str) -> String {
    let mut canonical = String::with_capacity(text.len());
    let mut parts = text.split('%');
    canonical.extend(parts.next());
    for part in parts {
        let byte = part.get(..2).filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
        let byte = byte.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match byte.map(char::from) {
            Some(c) if c.is_ascii_alphanumeric() || "-._~".contains(c) => {
                canonical.push(c);
                canonical.push_str(&part[2..]);
            }
            Some(c) => {
                let _ = write!(canonical, "%{:02X}{}", u32::from(c), &part[2..]);
            }
            // It stands for itself.
            None => {
                canonical.push_str("%25");
                canonical.push_str(part);
            }
        }
    }
    canonical
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Captions, Client, Credential};

    fn client() -> Client {
        Client::new(Credential::api_key("sandbox-key-000000000000").unwrap()).unwrap()
    }

    fn talk() -> Translate {
        client().translate("https://example.com/talk.mp4").to(["es", "fr"])
    }

    fn key(translate: &Translate) -> WorkKey {
        translate.work_key(&"es".into()).unwrap()
    }

    #[test]
    fn spellings_of_one_url_are_one_source() {
        let source = SourceId::url("https://example.com/a%2Fb/talk-1.mp4?x=%20&y=~");
        for same in [
            "https://example.com:443/a%2fb/talk-1.mp4?x=%20&y=~",
            "HTTPS://EXAMPLE.com./a%2Fb/talk-1.mp4?x=%20&y=%7e",
            "https://example.com/a%2fb/%74alk%2D1%2Emp4?x=%20&y=%7E#fragment",
            "https://example.com/x/../a%2Fb/talk-1.mp4?x=%20&y=~",
        ] {
            assert_eq!(SourceId::url(same).0, source.0);
        }
        for other in [
            "http://example.com/a%2Fb/talk-1.mp4?x=%20&y=~",
            "https://example.com:444/a%2Fb/talk-1.mp4?x=%20&y=~",
            "https://example.com/a/b/talk-1.mp4?x=%20&y=~",
            "https://example.com/a%252Fb/talk-1.mp4?x=%20&y=~",
            "https://example.com/A%2Fb/talk-1.mp4?x=%20&y=~",
            "https://example.com/a%2Fb/talk-1.mp4?y=~&x=%20",
            "https://example.com/a%2Fb/talk-1.mp4?x=+&y=~",
            "https://example.com/a%2Fb/talk-1.mp4",
        ] {
            assert_ne!(SourceId::url(other).0, source.0);
        }
    }

    #[test]
    fn what_makes_no_difference_to_the_result_makes_none_to_the_key() {
        let plain = key(&talk());
        for same in [
            client().translate("https://EXAMPLE.com/talk.mp4#x").to(["ES"]),
            talk().webhook("https://example.com/hook"),
            talk().lipsync(false).remove_background_music(false).dynamic_duration(false),
            talk().captions(Captions::None).speakers(0).source_language("DEFAULT"),
            talk().style(VoiceStyle::Professional),
        ] {
            assert_eq!(key(&same), plain, "{same:?}");
        }
        let words = key(&talk().keep_words(["a", "b"]));
        assert_eq!(key(&talk().keep_words(["b", "a", "b"])), words);
        let full = |code, url| key(&talk().source_language(code).caption_file(url));
        assert_eq!(full("en-US", "https://e.example/a"), full("EN-us", "https://E.example:443/a"));
    }

    #[test]
    fn what_changes_the_result_changes_the_key() {
        let different = [
            talk(),
            client().translate("https://example.com/talk2.mp4").to(["es"]),
            talk().lipsync(true),
            talk().remove_background_music(true),
            talk().dynamic_duration(true),
            talk().captions(Captions::Original),
            talk().captions(Captions::Added),
            talk().speakers(2),
            talk().source_language("en"),
            talk().caption_file("https://example.com/a.srt"),
            talk().style(VoiceStyle::Calm),
            talk().keep_words(["a"]),
            talk().translate_word("a", "b"),
            talk().pronounce_word("a", "b"),
        ];
        let mut keys: Vec<_> = different.iter().map(key).collect();
        keys.push(talk().work_key(&"fr".into()).unwrap());
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), different.len() + 1);
    }

    #[test]
    fn a_file_is_the_same_work_whatever_its_links_are() {
        let file = |name| SourceId::file([7; 32], 9, name);
        let staged = |link: &str, name| {
            client()
                .translate(link)
                .to(["es"])
                .identified_by(file(name))
                .caption_file(link)
                .caption_file_identified_by(file("a.srt"))
        };
        let one = staged("https://s3.example/talk.mp4?X-Amz-Signature=1", "50% a: b.mp4");
        let other = staged("https://s3.example/talk.mp4?X-Amz-Signature=2", "50% a: b.mp4");
        assert_eq!(key(&one), key(&other));
        assert_ne!(key(&one), key(&staged("https://s3.example/talk.mp4?X-Amz-Signature=1", "talk.mp4")));
        assert!(!key(&one).as_str().contains("Signature"));
        assert_ne!(one.request().unwrap().url, other.request().unwrap().url);
        let (bytes, hash) = (SourceId::file([7; 32], 8, "a"), SourceId::file([8; 32], 9, "a"));
        assert!(file("a") != bytes && file("a") != hash);
        let id = SourceId::file([0xab; 32], 5, "ä.mp4");
        assert_eq!(
            id.as_str(),
            format!("file sha256={} bytes=5 name=ä.mp4", "ab".repeat(32)),
            "stored keys contain it"
        );
    }

    #[test]
    fn keys_are_stable() {
        // Stored keys must be found again by later versions.
        let full = talk()
            .source_language("en")
            .lipsync(true)
            .captions(Captions::Translated)
            .caption_file("https://example.com/a.srt")
            .keep_words(["AKOOL"])
            .translate_word("a", "b");
        assert_eq!(key(&talk()).as_str(), r#"{"language":"es","url":"https://example.com/talk.mp4"}"#);
        assert_eq!(
            key(&full).as_str(),
            r#"{"caption_type":2,"caption_url":"https://example.com/a.srt","language":"es","lipsync":true,"source_language":"en","studio_voice":{"fixed_words":{"a":"b"},"no_translate_words":["AKOOL"]},"url":"https://example.com/talk.mp4"}"#
        );
    }

    #[test]
    fn debug_shows_no_link() {
        let url = "https://example.com/a?Signature=MARKER";
        let translate = client().translate(url).to(["es"]).webhook("https://example.com/?token=MARKER");
        let shown = format!("{translate:?}");
        assert!(shown.contains("https://example.com/a?[redacted]") && !shown.contains("MARKER"), "{shown}");
        let (source, key) = (SourceId::url(url), key(&translate));
        assert!(key.as_str().contains("MARKER") && !format!("{source:?} {key:?}").contains("MARKER"));
    }

    /// The same URL with each byte of its path and query escaped or not, in either case, as these bits say.
    fn respelt(url: &Url, bits: &[bool]) -> String {
        let mut bits = bits.iter().copied().cycle();
        let mut next = || bits.next().unwrap_or_default();
        let unreserved = |c: char| c.is_ascii_alphanumeric() || "-._~".contains(c);
        let mut respelt = String::new();
        let text = &url[url::Position::BeforePath..];
        let mut rest = text.chars();
        while let Some(c) = rest.next() {
            if c == '%' {
                let digits: String = rest.by_ref().take(2).collect();
                let _ = write!(respelt, "%{}", if next() { digits.to_lowercase() } else { digits });
            } else if unreserved(c) && next() {
                let _ = if next() {
                    write!(respelt, "%{:02x}", c as u32)
                } else {
                    write!(respelt, "%{:02X}", c as u32)
                };
            } else {
                respelt.push(c);
            }
        }
        format!("{}{respelt}", &url[..url::Position::BeforePath])
    }

    proptest! {
        #[test]
        fn the_canonical_form_is_canonical(
            path in "([ -~äλ]|%[0-9a-fA-F]{2}){0,20}", query in "([ -~äλ]|%[0-9a-fA-F]{2}){0,20}", bits in prop::collection::vec(any::<bool>(), 1..20),
        ) {
            let mut url = Url::parse("https://user@example.com:8443/").unwrap();
            url.set_path(&path);
            url.set_query(Some(&query));
            let once = SourceId::url(url.as_str());
            prop_assert_eq!(&SourceId::url(&once.0).0, &once.0);
            // It is the same resource for a server.
            let canonical = Url::parse(&once.0).unwrap();
            let decoded = |url: &Url| {
                let parts: Vec<_> = url.as_str().split('%').map(str::to_owned).collect();
                let byte = |part: &str| {
                    let digits = part.get(..2)?;
                    let is_hex = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
                    is_hex.then(|| u8::from_str_radix(digits, 16).unwrap())
                };
                let rest = parts[1..].iter().flat_map(|part| match byte(part) {
                    Some(byte) => [&[byte], &part.as_bytes()[2..]].concat(),
                    None => [b"%", part.as_bytes()].concat(),
                });
                parts[0].bytes().chain(rest).collect::<Vec<u8>>()
            };
            url.set_fragment(None);
            prop_assert_eq!(decoded(&canonical), decoded(&url));
            prop_assert_eq!(&SourceId::url(&respelt(&canonical, &bits)).0, &once.0);
        }

        #[test]
        fn reserved_characters_are_never_decoded(byte in 0u8..=255) {
            let escaped = format!("https://example.com/a%{byte:02X}b");
            let unreserved = byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
            prop_assert_eq!(SourceId::url(&escaped).0 == escaped, !unreserved);
        }
    }
}
