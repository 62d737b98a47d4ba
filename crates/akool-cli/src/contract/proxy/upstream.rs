//! The server that requests are passed on to: [`Upstream`].

use std::{net::SocketAddr, time::Duration};

use http::{
    HeaderValue, Request, Response, Uri,
    uri::{PathAndQuery, Scheme},
};
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{Client, Error, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};

use super::body::Observed;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Shorter than servers keep an idle connection, so that none is closed while a request is sent on it.
const IDLE_TIMEOUT: Duration = Duration::from_secs(3);

#[cfg(feature = "rustls")]
type Connector = hyper_rustls::HttpsConnector<HttpConnector>;
#[cfg(all(feature = "native-tls", not(feature = "rustls")))]
type Connector = hyper_tls::HttpsConnector<HttpConnector>;
#[cfg(not(any(feature = "rustls", feature = "native-tls")))]
type Connector = HttpConnector;

pub(super) struct Upstream {
    client: Client<Connector, Observed>,
    base: Uri,
}

impl Upstream {
    /// `base`: its base URL, which may have a path.
    ///
    /// # Errors
    /// If it cannot be used, as a message.
    pub(super) fn new(base: &str) -> Result<Self, String> {
        let base: Uri = base.parse().map_err(|error| format!("{base} is not a valid address: {error}"))?;
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_connect_timeout(Some(CONNECT_TIMEOUT));
        http.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .http1_preserve_header_case(true)
            .set_host(false)
            .build(connector(http)?);
        Ok(Self { client, base })
    }

    /// Its host, for messages.
    pub(super) fn shown(&self) -> String {
        let authority = self.base.authority().map_or("", |authority| authority.as_str());
        format!("{}://{authority}", self.base.scheme_str().unwrap_or_default())
    }

    /// The value of `Host`.
    pub(super) fn host(&self) -> Option<HeaderValue> {
        HeaderValue::from_str(self.base.authority()?.as_str()).ok()
    }

    /// Whether a server that listens on this address is the upstream, as far as their names tell.
    pub(super) fn is_at(&self, address: SocketAddr) -> bool {
        let default = if self.base.scheme() == Some(&Scheme::HTTPS) { 443 } else { 80 };
        let host = self.base.host().unwrap_or_default().trim_matches(['[', ']']);
        let is_here = host.eq_ignore_ascii_case("localhost")
            || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback() || ip == address.ip());
        is_here && self.base.port_u16().unwrap_or(default) == address.port()
    }

    /// The address of a target at the upstream.
    pub(super) fn uri(&self, target: &PathAndQuery) -> Option<Uri> {
        let mut parts = self.base.clone().into_parts();
        let prefix = self.base.path().trim_end_matches('/');
        parts.path_and_query = Some(format!("{prefix}{target}").parse().ok()?);
        Uri::from_parts(parts).ok()
    }

    pub(super) async fn send(&self, request: Request<Observed>) -> Result<Response<Incoming>, Error> {
        self.client.request(request).await
    }
}

#[cfg(feature = "rustls")]
fn connector(http: HttpConnector) -> Result<Connector, String> {
    let builder = hyper_rustls::HttpsConnectorBuilder::new().try_with_platform_verifier();
    let builder = builder.map_err(|error| format!("cannot read the system's certificates: {error}"))?;
    Ok(builder.https_or_http().enable_http1().wrap_connector(http))
}

#[cfg(all(feature = "native-tls", not(feature = "rustls")))]
fn connector(http: HttpConnector) -> Result<Connector, String> {
    let tls = hyper_tls::native_tls::TlsConnector::new();
    let tls = tls.map_err(|error| format!("cannot read the system's certificates: {error}"))?;
    Ok((http, tls.into()).into())
}

#[cfg(not(any(feature = "rustls", feature = "native-tls")))]
fn connector(http: HttpConnector) -> Result<Connector, String> {
    Ok(http)
}
