//! Assertions about the requests that the mock server received: [`Requests`].

use std::{
    fmt::Write as _,
    time::{Duration, SystemTime},
};

use http::{HeaderMap, header::AUTHORIZATION};

use crate::{
    record::{Exchange, shown},
    request::{CREATE_TRANSLATION, FILES},
    server::MockServer,
};

/// How many exchanges a message lists.
const MAX_LISTED: usize = 20;

/// Requests of one kind, for assertions. A failed assertion panics with the expectation and a list of the received
/// requests, without credentials.
///
/// ```
/// use std::time::Duration;
/// use akool_mock::{MockServer, Timeline};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let server = MockServer::start().await;
/// server.job("64dd", Timeline::default());
/// # let url = format!("{}/api/open/v3/content/video/infobymodelid?video_model_id=64dd", server.url());
/// # for _ in 0..2 { reqwest::Client::new().get(&url).header("x-api-key", server.api_key()).send().await?; }
/// // ... the code under test polls the job ...
/// server.assert_polls("64dd").count(2).at_most_apart(Duration::from_secs(60)).with_api_key(&server.api_key());
/// server.assert_creations().count(0);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Requests {
    what: String,
    exchanges: Vec<Exchange>,
    /// The credentials that the server accepts, to recognize them in messages.
    api_key: String,
    token: String,
    /// All other requests, for messages.
    others: Vec<Exchange>,
}

impl MockServer {
    /// Returns the polls of this job, for assertions.
    pub fn assert_polls(&self, id: &str) -> Requests {
        self.requests(format!("polls of {id}"), |exchange| {
            exchange.is_poll() && exchange.job.as_deref() == Some(id)
        })
    }

    /// Returns the requests that create translations, successful or not, for assertions.
    pub fn assert_creations(&self) -> Requests {
        self.requests("creations".to_owned(), |exchange| {
            exchange.target.split('?').next() == Some(CREATE_TRANSLATION)
        })
    }

    /// Returns the requests for this job's files, for assertions.
    pub fn assert_downloads(&self, id: &str) -> Requests {
        self.requests(format!("file requests of {id}"), |exchange| {
            exchange.target.starts_with(FILES) && exchange.job.as_deref() == Some(id)
        })
    }

    /// Returns all requests, for assertions.
    pub fn assert_requests(&self) -> Requests {
        self.requests("requests".to_owned(), |_| true)
    }

    /// Asserts that each job was polled, and that each fault with a number of times has happened that often.
    ///
    /// # Panics
    /// If there are [`unmet_expectations`](Self::unmet_expectations). The message lists them.
    #[track_caller]
    #[expect(clippy::panic, reason = "an assertion")]
    pub fn assert_expectations_met(&self) {
        let unmet = self.unmet_expectations();
        if !unmet.is_empty() {
            panic!("akool-mock has unmet expectations:\n  {}", unmet.join("\n  "));
        }
    }

    fn requests(&self, what: String, is: impl Fn(&Exchange) -> bool) -> Requests {
        let (exchanges, others) = self.exchanges().into_iter().partition(is);
        Requests { what, exchanges, others, api_key: self.api_key(), token: self.token() }
    }
}

impl Requests {
    /// Asserts the number of requests.
    ///
    /// # Panics
    /// If there were more or fewer.
    #[track_caller]
    pub fn count(self, count: usize) -> Self {
        let received = self.exchanges.len();
        self.check(received == count, || format!("expected {count}, received {received}"))
    }

    /// Asserts a minimum number of requests.
    ///
    /// # Panics
    /// If there were fewer.
    #[track_caller]
    pub fn at_least(self, count: usize) -> Self {
        let received = self.exchanges.len();
        self.check(received >= count, || format!("expected at least {count}, received {received}"))
    }

    /// Asserts a maximum number of requests.
    ///
    /// # Panics
    /// If there were more.
    #[track_caller]
    pub fn at_most(self, count: usize) -> Self {
        let received = self.exchanges.len();
        self.check(received <= count, || format!("expected at most {count}, received {received}"))
    }

    /// Asserts a minimum time between two successive requests.
    ///
    /// # Panics
    /// If two were closer together.
    #[track_caller]
    pub fn at_least_apart(self, least: Duration) -> Self {
        self.each_gap(&format!("at least {least:?}"), |gap| gap >= least)
    }

    /// Asserts a maximum time between two successive requests.
    ///
    /// # Panics
    /// If two were farther apart.
    #[track_caller]
    pub fn at_most_apart(self, most: Duration) -> Self {
        self.each_gap(&format!("at most {most:?}"), |gap| gap <= most)
    }

    /// Asserts that each request has this API key, and no bearer token, which would take precedence.
    ///
    /// # Panics
    /// If one does not.
    #[track_caller]
    pub fn with_api_key(self, key: &str) -> Self {
        self.each("with this API key", |headers| {
            !headers.contains_key(AUTHORIZATION)
                && headers.get("x-api-key").is_some_and(|value| value.as_bytes() == key.as_bytes())
        })
    }

    /// Asserts that each request has this bearer token.
    ///
    /// # Panics
    /// If one does not.
    #[track_caller]
    pub fn with_token(self, token: &str) -> Self {
        self.each("with this token", |headers| {
            let value = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
            value.and_then(|value| value.strip_prefix("Bearer ")) == Some(token)
        })
    }

    /// Asserts that no request has a credential. Requests to the CDN must not have one.
    ///
    /// # Panics
    /// If one has.
    #[track_caller]
    pub fn without_credentials(self) -> Self {
        self.each("without a credential", |headers| {
            !headers.contains_key(AUTHORIZATION) && !headers.contains_key("x-api-key")
        })
    }

    /// Returns the exchanges, for other assertions.
    pub fn exchanges(&self) -> &[Exchange] {
        &self.exchanges
    }

    #[track_caller]
    fn each_gap(self, wanted: &str, is_expected: impl Fn(Duration) -> bool) -> Self {
        let gaps = self.exchanges.windows(2).map(|pair| pair[1].at.duration_since(pair[0].at));
        let wrong = gaps.map(Result::unwrap_or_default).enumerate().find(|(_, gap)| !is_expected(*gap));
        self.check(wrong.is_none(), || {
            let (index, gap) = wrong.unwrap_or_default();
            format!("expected {wanted} between requests, but number {} followed after {gap:?}", index + 2)
        })
    }

    #[track_caller]
    fn each(self, wanted: &str, is_expected: impl Fn(&HeaderMap) -> bool) -> Self {
        let wrong = self.exchanges.iter().position(|exchange| !is_expected(&exchange.headers));
        self.check(wrong.is_none(), || {
            let number = wrong.unwrap_or_default() + 1;
            format!("expected each {wanted}, but number {number} is different")
        })
    }

    #[track_caller]
    #[expect(clippy::panic, reason = "an assertion")]
    fn check(self, ok: bool, message: impl FnOnce() -> String) -> Self {
        if !ok {
            panic!("{}: {}\n{}", self.what, message(), self.list());
        }
        self
    }

    /// Lists the received requests.
    fn list(&self) -> String {
        let mut text = String::new();
        self.lines(&mut text, &self.exchanges, &self.what);
        if self.exchanges.len() < MAX_LISTED && !self.others.is_empty() {
            self.lines(&mut text, &self.others, "other requests");
        }
        text
    }

    fn lines(&self, text: &mut String, exchanges: &[Exchange], what: &str) {
        let Some(first) = exchanges.first() else {
            let _ = writeln!(text, "received no {what}");
            return;
        };
        let _ = writeln!(text, "received {what}:");
        for (index, exchange) in exchanges.iter().take(MAX_LISTED).enumerate() {
            let after = since(first.at, exchange.at);
            let (method, target, summary) = (&exchange.method, shown(&exchange.target), &exchange.summary);
            let with = self.credential(&exchange.headers);
            let _ =
                writeln!(text, "  {:>3}  +{after:.3}s  {method} {target}  {with}  -> {summary}", index + 1);
        }
        if exchanges.len() > MAX_LISTED {
            let _ = writeln!(text, "  and {} more", exchanges.len() - MAX_LISTED);
        }
    }

    /// Names the kind of credential of a request, without its value.
    fn credential(&self, headers: &HeaderMap) -> &'static str {
        if let Some(value) = headers.get(AUTHORIZATION) {
            let own =
                value.to_str().ok().and_then(|value| value.strip_prefix("Bearer ")) == Some(&self.token);
            return if own { "with the server's token" } else { "with another token" };
        }
        match headers.get("x-api-key") {
            Some(key) if key.as_bytes() == self.api_key.as_bytes() => "with the server's key",
            Some(_) => "with another key",
            None => "without a credential",
        }
    }
}

fn since(start: SystemTime, at: SystemTime) -> f64 {
    at.duration_since(start).unwrap_or_default().as_secs_f64()
}
