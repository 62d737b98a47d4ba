//! What the headers of a caller decide: web pages are refused, and traces are passed on.

use restate_sdk::prelude::{HeaderMap, TerminalError};

use crate::model::{Target, WaitOptions};

/// Refuses a call that a web page made. The ingress answers pages of every origin, so that a page in a browser on the
/// machine of an ingress could start jobs; browsers do not let a page hide these headers.
pub(crate) fn refuse_pages(headers: &HeaderMap) -> Result<(), TerminalError> {
    if headers.contains_key("origin") || headers.contains_key("sec-fetch-site") {
        return Err(TerminalError::new_with_code(403, "web pages may not call the fleet"));
    }
    Ok(())
}

/// The options with the caller's W3C trace context: the one that it named, or else the one of its HTTP request. What is not
/// valid is left out, since it would make every delivery fail.
///
/// # Errors
/// If a callback cannot be called.
pub(crate) fn accepted(mut options: WaitOptions, headers: &HeaderMap) -> Result<WaitOptions, TerminalError> {
    if let Some(Target::Url(url)) = &options.deliver
        && !matches!(url.scheme(), "http" | "https")
    {
        let message = "the callback is not an http or https URL";
        return Err(TerminalError::new_with_code(400, message));
    }
    let named = options.traceparent.take();
    let header = || headers.get("traceparent").map(ToOwned::to_owned);
    options.traceparent = named.or_else(header).filter(|text| is_traceparent(text));
    Ok(options)
}

/// Later versions may be longer than version 0, and it is stored with each job.
const MAX_TRACEPARENT: usize = 256;

/// Whether this is a `traceparent` of version 0, or the beginning of a later one is.
fn is_traceparent(text: &str) -> bool {
    let mut parts = text.split('-');
    let mut next = |length: usize| {
        parts.next().filter(|part| {
            part.len() == length && part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        })
    };
    let (version, trace, parent, flags) = (next(2), next(32), next(16), next(2));
    let is_set = |part: Option<&str>| part.is_some_and(|part| part.bytes().any(|byte| byte != b'0'));
    version.is_some_and(|version| version != "ff" && (version != "00" || text.len() == 55))
        && is_set(trace)
        && is_set(parent)
        && flags.is_some()
        && text.len() <= MAX_TRACEPARENT
        && text.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::{HeaderMap, Target, WaitOptions, accepted};

    const OWN: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn traced(named: Option<&str>, header: Option<&str>) -> Option<String> {
        let mut headers = HeaderMap::default();
        if let Some(header) = header {
            headers.insert("traceparent", header.to_owned());
        }
        let options = WaitOptions { traceparent: named.map(ToOwned::to_owned), ..WaitOptions::default() };
        accepted(options, &headers).unwrap().traceparent
    }

    #[test]
    fn the_trace_that_the_caller_names_comes_before_the_one_of_its_request() {
        let other = OWN.replace("4bf9", "4bfa");
        assert_eq!(traced(Some(OWN), Some(&other)).as_deref(), Some(OWN));
        assert_eq!(traced(None, Some(&other)), Some(other));
        assert_eq!(traced(None, None), None);
    }

    #[test]
    fn a_callback_that_cannot_be_called_is_refused() {
        for (url, is_accepted) in
            [("https://example.com/", true), ("http://a/", true), ("file:///etc/passwd", false)]
        {
            let options = WaitOptions::default().deliver(Target::Url(url.parse().unwrap()));
            assert_eq!(accepted(options, &HeaderMap::default()).is_ok(), is_accepted, "{url}");
        }
    }

    #[test]
    fn a_trace_that_is_not_valid_is_left_out() {
        let zero_trace = format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32));
        let zero_parent = format!("00-4bf92f3577b34da6a3ce929d0e0e4736-{}-01", "0".repeat(16));
        for wrong in [
            "",
            "00",
            &OWN[1..],
            &OWN.to_uppercase(),
            &format!("{OWN}-more"),
            &OWN.replacen("00", "ff", 1),
            &zero_trace,
            &zero_parent,
            &format!("{OWN}\n"),
            &format!("{}\n", OWN.replacen("00", "01", 1)),
            &format!("{}-{}", OWN.replacen("00", "01", 1), "a".repeat(300)),
        ] {
            assert_eq!(traced(Some(wrong), None), None, "{wrong:?}");
        }
        let later = format!("{}-more", OWN.replacen("00", "01", 1));
        assert_eq!(traced(Some(&later), None), Some(later));
    }
}
