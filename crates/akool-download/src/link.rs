//! Which links and redirects are safe: `https`, and `http` to this machine.

use std::net::IpAddr;

use akool::http::is_loopback;
use reqwest::redirect;
use url::{Host, Url};

/// The maximum number of redirects.
pub(crate) const MAX_REDIRECTS: usize = 5;

/// Checks that the link is `https`, or `http` to this machine.
pub(crate) fn check(url: &Url) -> Result<(), &'static str> {
    match url.scheme() {
        "https" => Ok(()),
        "http" if is_loopback(url) => Ok(()),
        _ => Err("only https links are safe"),
    }
}

/// Follows a redirect if it keeps the scheme and does not lead to a literal private address.
pub(crate) fn follow(attempt: redirect::Attempt<'_>) -> redirect::Action {
    match may_follow(attempt.previous(), attempt.url()) {
        Ok(()) => attempt.follow(),
        Err(why) => attempt.error(why),
    }
}

/// `previous`: the URLs that were requested, the link itself first.
fn may_follow(previous: &[Url], to: &Url) -> Result<(), &'static str> {
    if previous.len() > MAX_REDIRECTS {
        return Err("too many redirects");
    }
    let first = previous.first();
    if first.is_some_and(is_loopback) && is_loopback(to) {
        return Ok(());
    }
    if first.is_none_or(|first| first.scheme() != to.scheme()) || check(to).is_err() || is_private(to) {
        return Err("redirect to an unsafe address");
    }
    Ok(())
}

fn is_private(url: &Url) -> bool {
    let address = match url.host() {
        Some(Host::Ipv4(address)) => IpAddr::V4(address),
        Some(Host::Ipv6(address)) => address.to_ipv4_mapped().map_or(IpAddr::V6(address), IpAddr::V4),
        Some(Host::Domain(name)) => return name == "localhost",
        None => return true,
    };
    match address {
        IpAddr::V4(v4) => {
            v4.is_private()
                || v4.is_loopback()
                || v4.is_link_local()
                || v4.is_unspecified()
                || v4.is_broadcast()
        }
        IpAddr::V6(v6) => {
            v6.is_loopback() || v6.is_unspecified() || v6.is_unique_local() || v6.is_unicast_link_local()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[test]
    fn only_https_and_this_machine_are_safe() {
        assert!(check(&url("https://cdn.example/a")).is_ok());
        assert!(check(&url("http://127.0.0.1:1/a")).is_ok());
        assert!(check(&url("http://cdn.example/a")).is_err());
        for private in [
            "https://10.0.0.1",
            "https://[::1]",
            "https://169.254.1.1",
            "https://[::ffff:10.0.0.1]",
            "https://localhost",
            "https://127.0.0.2",
            "https://0.0.0.0",
            "https://255.255.255.255",
            "https://[::]",
            "https://[fd00::1]",
            "https://[fe80::1]",
        ] {
            assert!(is_private(&url(private)), "{private}");
        }
        for public in ["https://cdn.example", "https://8.8.8.8", "https://[2001:db8::1]"] {
            assert!(!is_private(&url(public)), "{public}");
        }
    }

    #[test]
    fn a_redirect_keeps_the_scheme_and_leads_to_no_private_address() {
        let follows = |from: &str, to: &str| may_follow(&[url(from)], &url(to)).is_ok();
        assert!(follows("https://cdn.example/a", "https://store.example/b"));
        assert!(follows("http://127.0.0.1:1/a", "http://127.0.0.1:2/b"));
        assert!(follows("http://127.0.0.1:1/a", "https://localhost/b"));
        for (from, to) in [
            ("https://cdn.example/a", "http://cdn.example/b"),
            ("https://cdn.example/a", "https://10.0.0.1/b"),
            ("https://cdn.example/a", "http://127.0.0.1/b"),
            ("http://127.0.0.1:1/a", "http://10.0.0.1/b"),
            ("http://127.0.0.1:1/a", "https://cdn.example/b"),
        ] {
            assert!(!follows(from, to), "{from} {to}");
        }
        let (from, to) = (url("https://cdn.example/a"), url("https://cdn.example/b"));
        assert!(may_follow(&vec![from.clone(); MAX_REDIRECTS], &to).is_ok());
        assert_eq!(may_follow(&vec![from; MAX_REDIRECTS + 1], &to), Err("too many redirects"));
        assert!(may_follow(&[], &to).is_err());
    }
}
