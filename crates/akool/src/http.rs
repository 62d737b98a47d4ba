//! What the client and the crates built on it share about HTTP: which addresses and links are valid, and how long a
//! server asks to wait.

use std::time::{Duration, SystemTime};

use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};
use url::{Host, Url};

/// The user agent of every request.
pub const USER_AGENT: &str = concat!("akool-rust/", env!("CARGO_PKG_VERSION"));

/// Whether the host of a URL is this machine, by its literal name.
///
/// ```
/// assert!(akool::http::is_loopback(&"http://127.0.0.1:8080".parse()?));
/// assert!(!akool::http::is_loopback(&"http://localhost.example".parse()?));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

/// Reads a link from a response: a URL with `https:` or `http:`.
///
/// ```
/// assert!(akool::http::link(" https://cdn.example/a.mp4").is_some());
/// assert!(akool::http::link("file:///etc/passwd").is_none());
/// ```
pub fn link(text: &str) -> Option<Url> {
    let url = Url::parse(text.trim()).ok()?;
    matches!(url.scheme(), "http" | "https").then_some(url)
}

/// Reads how long the server asks to wait in `Retry-After`: seconds or a date. A date counts from the response's own
/// `Date`, so that two clocks need not agree. A value that is negative, past or unreadable counts as none. There is no
/// upper bound; see [`MAX_RETRY_AFTER`](crate::MAX_RETRY_AFTER).
///
/// ```
/// use std::time::Duration;
///
/// let mut headers = reqwest::header::HeaderMap::new();
/// headers.insert("retry-after", "120".parse()?);
/// assert_eq!(akool::http::retry_after(&headers), Some(Duration::from_secs(120)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than fit are a very long time.
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)));
    }
    let until = httpdate::parse_http_date(text).ok()?;
    until.duration_since(date(headers).unwrap_or_else(SystemTime::now)).ok()
}

/// The server's clock.
pub(crate) fn date(headers: &HeaderMap) -> Option<SystemTime> {
    httpdate::parse_http_date(headers.get(DATE)?.to_str().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    #[test]
    fn only_http_links_are_links() {
        for text in ["", "nonsense", "ftp://x/y", "file:///etc/passwd", "javascript:alert(1)", "//x"] {
            assert_eq!(link(text), None, "{text}");
        }
        assert!(link(" https://cdn.example/a.mp4 ").is_some());
        assert!(link("http://127.0.0.1/a.mp4").is_some());
    }

    #[test]
    fn only_literal_names_of_this_machine_are_loopback() {
        for (url, wanted) in [
            ("http://127.8.9.1", true),
            ("http://[::1]:80", true),
            ("http://localhost", true),
            ("http://10.0.0.1", false),
            ("http://[::2]", false),
            ("http://localhost.example", false),
            ("data:x", false),
        ] {
            assert_eq!(is_loopback(&Url::parse(url).unwrap()), wanted, "{url}");
        }
    }

    #[test]
    fn retry_after_is_read_as_seconds_or_date() {
        let read = |value: &'static str, at: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, HeaderValue::from_static(value));
            headers.extend(at.map(|at| (DATE, HeaderValue::from_static(at))));
            retry_after(&headers)
        };
        let at = Some("Sun, 22 Nov 2026 10:00:00 GMT");
        assert_eq!(read("120", None), Some(Duration::from_secs(120)));
        assert_eq!(read("Sun, 22 Nov 2026 10:01:00 GMT", at), Some(Duration::from_secs(60)));
        assert_eq!(read("Sun, 22 Nov 2026 09:00:00 GMT", at), None);
        assert_eq!(read("Sun, 22 Nov 2020 09:00:00 GMT", None), None);
        assert_eq!(read("99999999999999999999999", None), Some(Duration::from_secs(u64::MAX)));
        for nonsense in ["", "-5", "soon", "1.5", "+3"] {
            assert_eq!(read(nonsense, at), None, "{nonsense}");
        }
    }
}
