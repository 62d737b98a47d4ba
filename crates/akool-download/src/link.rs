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
    let first = attempt.previous().first();
    let to = attempt.url();
    let stays_local = first.is_some_and(is_loopback) && is_loopback(to);
    let same_scheme = first.is_some_and(|first| first.scheme() == to.scheme());
    if attempt.previous().len() > MAX_REDIRECTS {
        attempt.error("too many redirects")
    } else if !stays_local && (!same_scheme || check(to).is_err() || is_private(to)) {
        attempt.error("redirect to an unsafe address")
    } else {
        attempt.follow()
    }
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
        ] {
            assert!(is_private(&url(private)), "{private}");
        }
        assert!(!is_private(&url("https://cdn.example")));
    }
}
