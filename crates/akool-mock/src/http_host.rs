//! Whether a request is meant for this server: [`check`].

use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, header::HOST, uri::Authority};

use crate::request::FILES;

/// Checks target and `Host` of a request. A web page can make a browser send requests to this machine under a name of its
/// own (DNS rebinding), so a server on the loopback interface answers only to the names of that interface. The port may be
/// another one: a proxy on this machine may pass on its own.
pub(crate) fn check(request: &Request<Bytes>, address: SocketAddr) -> Result<(), &'static str> {
    let uri = request.uri();
    if uri.scheme().is_some() || uri.authority().is_some() || !uri.path().starts_with('/') {
        return Err("the target of a request is a path");
    }
    if !address.ip().is_loopback() {
        return Ok(());
    }
    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok()?.parse::<Authority>().ok());
    let is_own = host.is_some_and(|host| {
        let name = host.host().trim_matches(['[', ']']);
        name.eq_ignore_ascii_case("localhost")
            || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    });
    if is_own { Ok(()) } else { Err("the header `Host` is not the address of this server") }
}

/// Whether a browser sends this request for a page of another origin. Such a page may link to the page of this server and
/// show its files. A page that calls the API through a proxy of its own origin is not meant.
pub(crate) fn is_of_other_origin(request: &Request<Bytes>) -> bool {
    let site = request.headers().get("sec-fetch-site").map(HeaderValue::as_bytes);
    let path = request.uri().path();
    let is_open = *request.method() == Method::GET && (path == "/" || path.starts_with(FILES));
    matches!(site, Some(b"cross-site" | b"same-site")) && !is_open
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_names_of_this_machine_are_answered_on_loopback() {
        let on = |address: &str, uri: &str, host: Option<&str>| {
            let mut request = Request::get(uri);
            if let Some(host) = host {
                request = request.header(HOST, host);
            }
            check(&request.body(Bytes::new()).unwrap(), address.parse().unwrap()).is_ok()
        };
        for host in [
            "127.0.0.1:4010",
            "localhost:4010",
            "LOCALHOST:4010",
            "127.0.0.2:4010",
            "[::1]:4010",
            "127.0.0.1",
            "127.0.0.1:1",
        ] {
            assert!(on("127.0.0.1:4010", "/a", Some(host)), "{host}");
        }
        assert!(on("[::1]:80", "/a", Some("localhost")));
        for host in ["attacker.example:4010", "10.0.0.1:4010", "localhost.example:4010", "a b", ""] {
            assert!(!on("127.0.0.1:4010", "/a", Some(host)), "{host}");
        }
        assert!(!on("127.0.0.1:4010", "/a", None));
        assert!(on("0.0.0.0:4010", "/a", Some("sandbox.example:4010")), "it was bound wider on purpose");
        for uri in ["http://127.0.0.1:4010/a", "127.0.0.1:4010", "*"] {
            assert!(!on("127.0.0.1:4010", uri, Some("127.0.0.1:4010")), "{uri}");
        }
    }

    #[test]
    fn a_page_of_another_origin_can_only_link_to_the_page_and_the_files() {
        let refused = |method: &str, uri: &str, site: &str| {
            let request = Request::builder().method(method).uri(uri).header("sec-fetch-site", site);
            is_of_other_origin(&request.body(Bytes::new()).unwrap())
        };
        for site in ["cross-site", "same-site"] {
            for (method, uri) in [("GET", "/"), ("GET", "/files/64dd/video.mp4")] {
                assert!(!refused(method, uri, site), "{method} {uri} {site}");
            }
            for (method, uri) in [("POST", "/"), ("OPTIONS", "/api/a"), ("GET", "/api/a"), ("GET", "/events")]
            {
                assert!(refused(method, uri, site), "{method} {uri} {site}");
            }
        }
        for site in ["same-origin", "none", ""] {
            assert!(!refused("POST", "/api/a", site), "{site}");
        }
    }
}
