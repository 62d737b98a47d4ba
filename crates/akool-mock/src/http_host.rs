//! Whether a request is meant for this server: [`check`].

use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use http::{Request, header::HOST, uri::Authority};

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
}
