//! Fetches the vendor's pages: bounded in size and time, and only if they changed.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, bail};
use reqwest::{
    Client, Response, StatusCode, Url,
    header::{CONTENT_TYPE, ETAG, HeaderMap, HeaderName, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED},
    redirect::Policy,
};
use serde::{Deserialize, Serialize};

/// How much a page may cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// In bytes.
    pub(crate) size: usize,
    /// For one page with all redirects.
    pub(crate) time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { size: 20 << 20, time: Duration::from_secs(30) }
    }
}

const MAX_REDIRECTS: usize = 5;

/// What a server said about the version of a page.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct Validators {
    etag: Option<String>,
    last_modified: Option<String>,
}

/// The response to one request.
#[derive(Debug)]
pub(crate) enum Fetched {
    /// The page is the version of the validators.
    Unchanged,
    Page {
        bytes: Vec<u8>,
        validators: Validators,
        /// The page's own URL, if the server redirected to it permanently.
        moved_to: Option<Url>,
    },
    /// There is no page that can be used, and a person has to find out why.
    Broken(String),
    /// The server does not answer for now.
    Unavailable(String),
}

/// Whether pages are fetched from this URL: over https, or over http from this machine.
pub(crate) fn allowed(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let loopback = host == "localhost" || host.parse().is_ok_and(|address: IpAddr| address.is_loopback());
    url.scheme() == "https" || (url.scheme() == "http" && loopback)
}

/// Fetches one page, unless it is still the version that `known` describes.
///
/// # Errors
/// If the URL is not allowed, or the HTTP client cannot be made.
pub(crate) fn fetch(url: &Url, known: &Validators, limits: Limits) -> Result<Fetched> {
    if !allowed(url) {
        bail!("{url} is not fetched: give an https:// URL, or an http:// URL of this machine");
    }
    let secure = url.scheme() == "https";
    let temporary = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&temporary);
    let redirects = Policy::custom(move |attempt| {
        let permanent = [StatusCode::MOVED_PERMANENTLY, StatusCode::PERMANENT_REDIRECT];
        seen.fetch_or(!permanent.contains(&attempt.status()), Ordering::Relaxed);
        if attempt.previous().len() > MAX_REDIRECTS {
            attempt.error(format!("more than {MAX_REDIRECTS} redirects"))
        } else if !allowed(attempt.url()) || (secure && attempt.url().scheme() != "https") {
            let target = attempt.url().to_string();
            attempt.error(format!("it redirects to {target}, which is not an https:// URL"))
        } else {
            attempt.follow()
        }
    });
    let mut client = Client::builder()
        .user_agent(concat!("openapi-spec-watch/", env!("CARGO_PKG_VERSION")))
        .redirect(redirects)
        .timeout(limits.time);
    if !secure {
        client = client.no_proxy();
    }
    let client = client.build().context("cannot make an HTTP client")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut fetched = runtime
        .block_on(request(&client, url, known, limits))
        .unwrap_or_else(|error| refused(&error, limits));
    if let Fetched::Page { moved_to, .. } = &mut fetched
        && temporary.load(Ordering::Relaxed)
    {
        *moved_to = None;
    }
    Ok(fetched)
}

async fn request(client: &Client, url: &Url, known: &Validators, limits: Limits) -> reqwest::Result<Fetched> {
    let mut request = client.get(url.clone());
    let headers = [(IF_NONE_MATCH, &known.etag), (IF_MODIFIED_SINCE, &known.last_modified)];
    for (name, value) in headers.into_iter().filter_map(|(name, value)| Some((name, value.as_ref()?))) {
        request = request.header(name, value);
    }
    let mut response = request.send().await?;
    let conditional = *known != Validators::default();
    if let Some(other) = without_page(&response, conditional) {
        return Ok(other);
    }
    let too_large = || Fetched::Broken(format!("the page has more than {} bytes", limits.size));
    if response.content_length().is_some_and(|length| length > limits.size as u64) {
        return Ok(too_large());
    }
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if bytes.len() + chunk.len() > limits.size {
            return Ok(too_large());
        }
        bytes.extend_from_slice(&chunk);
    }
    if is_html(response.headers(), &bytes) {
        let reason = "it is an HTML page, and not the Markdown or the OpenAPI document behind it";
        return Ok(Fetched::Broken(reason.to_owned()));
    }
    let header = |name: HeaderName| Some(response.headers().get(name)?.to_str().ok()?.to_owned());
    let validators = Validators { etag: header(ETAG), last_modified: header(LAST_MODIFIED) };
    let moved_to = (response.url() != url).then(|| response.url().clone());
    Ok(Fetched::Page { bytes, validators, moved_to })
}

/// What a response without a page means.
fn without_page(response: &Response, conditional: bool) -> Option<Fetched> {
    let status = response.status();
    match status {
        StatusCode::OK => None,
        StatusCode::NOT_MODIFIED if conditional => Some(Fetched::Unchanged),
        StatusCode::NOT_FOUND | StatusCode::GONE => {
            Some(Fetched::Broken(format!("the page is gone: HTTP {status}")))
        }
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => {
            Some(Fetched::Unavailable(format!("HTTP {status}")))
        }
        _ if status.is_server_error() => Some(Fetched::Unavailable(format!("HTTP {status}"))),
        _ => Some(Fetched::Broken(format!("the server does not return the page: HTTP {status}"))),
    }
}

fn is_html(headers: &HeaderMap, bytes: &[u8]) -> bool {
    let start = String::from_utf8_lossy(&bytes[..bytes.len().min(200)]).trim_start().to_lowercase();
    let declared = headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"));
    declared || start.starts_with("<!doctype html") || start.starts_with("<html")
}

/// What an error of the HTTP client means.
fn refused(error: &reqwest::Error, limits: Limits) -> Fetched {
    let mut causes = vec![error.to_string()];
    let mut next = std::error::Error::source(error);
    while let Some(cause) = next {
        causes.push(cause.to_string());
        next = cause.source();
    }
    let text = causes.join(": ");
    if error.is_redirect() {
        Fetched::Broken(text)
    } else if error.is_timeout() {
        Fetched::Unavailable(format!("it takes longer than {} s", limits.time.as_secs_f32()))
    } else {
        Fetched::Unavailable(text)
    }
}
