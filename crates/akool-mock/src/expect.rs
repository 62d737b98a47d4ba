//! What a test can say of what was asked: [`Asked`].

use std::{
    fmt::Write as _,
    time::{Duration, SystemTime},
};

use http::{HeaderMap, header::AUTHORIZATION};

use crate::{Exchange, MockServer, record::shown, service_state::CREATE_TRANSLATION};

/// How many exchanges a message lists.
const LISTED: usize = 20;

/// Requests of one kind, to be asserted on. Each assertion panics where it does not hold, with what was
/// expected and a list of what came; no credential is in it.
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
pub struct Asked {
    what: String,
    exchanges: Vec<Exchange>,
    /// The server's own credentials, to tell them from others.
    api_key: String,
    token: String,
    /// Everything else that came, for messages.
    others: Vec<Exchange>,
}

impl MockServer {
    /// The looks at this job, to be asserted on.
    pub fn assert_polls(&self, id: &str) -> Asked {
        self.asked(format!("polls {id}"), |exchange| {
            exchange.is_poll() && exchange.job.as_deref() == Some(id)
        })
    }

    /// The requests that create translations, whatever came of them, to be asserted on.
    pub fn assert_creations(&self) -> Asked {
        self.asked("requests that create".to_owned(), |exchange| {
            exchange.target.split('?').next() == Some(CREATE_TRANSLATION)
        })
    }

    /// The requests for this job's files, to be asserted on.
    pub fn assert_downloads(&self, id: &str) -> Asked {
        self.asked(format!("requests for files of {id}"), |exchange| {
            exchange.target.starts_with("/files/") && exchange.job.as_deref() == Some(id)
        })
    }

    /// All requests, to be asserted on.
    pub fn assert_requests(&self) -> Asked {
        self.asked("requests".to_owned(), |_| true)
    }

    /// Asserts that everything that was set up has been met: each job was looked at, and each fault that
    /// happens a number of times has happened as often.
    ///
    /// # Panics
    /// When something was not; the message lists it. See [`ServiceState::unmet_expectations`](crate::ServiceState::unmet_expectations).
    #[track_caller]
    #[expect(clippy::panic, reason = "an assertion")]
    pub fn assert_expectations_met(&self) {
        let never = self.unmet_expectations();
        if !never.is_empty() {
            panic!("akool-mock never received:\n  {}", never.join("\n  "));
        }
    }

    fn asked(&self, what: String, is: impl Fn(&Exchange) -> bool) -> Asked {
        let (exchanges, others) = self.exchanges().into_iter().partition(is);
        Asked { what, exchanges, others, api_key: self.api_key(), token: self.token() }
    }
}

impl Asked {
    /// Exactly so many came.
    ///
    /// # Panics
    /// When it were more or fewer.
    #[track_caller]
    pub fn count(self, count: usize) -> Self {
        let came = self.exchanges.len();
        self.hold(came == count, || format!("expected {count}, came {came}"))
    }

    /// So many came, or more.
    ///
    /// # Panics
    /// When it were fewer.
    #[track_caller]
    pub fn at_least(self, count: usize) -> Self {
        let came = self.exchanges.len();
        self.hold(came >= count, || format!("expected {count} or more, came {came}"))
    }

    /// So many came, or fewer.
    ///
    /// # Panics
    /// When it were more.
    #[track_caller]
    pub fn at_most(self, count: usize) -> Self {
        let came = self.exchanges.len();
        self.hold(came <= count, || format!("expected {count} or fewer, came {came}"))
    }

    /// Between one and the next, this much time passed, or more.
    ///
    /// # Panics
    /// When two came closer together.
    #[track_caller]
    pub fn at_least_apart(self, least: Duration) -> Self {
        let closest = self.gaps().min_by_key(|(_, gap)| *gap).filter(|(_, gap)| *gap < least);
        self.hold(closest.is_none(), || match closest {
            Some((index, gap)) => format!(
                "expected {least:?} or more between them, number {} came {gap:?} after the one before it",
                index + 2
            ),
            None => String::new(),
        })
    }

    /// Between one and the next, this much time passed, or less.
    ///
    /// # Panics
    /// When two came farther apart.
    #[track_caller]
    pub fn at_most_apart(self, most: Duration) -> Self {
        let farthest = self.gaps().max_by_key(|(_, gap)| *gap).filter(|(_, gap)| *gap > most);
        self.hold(farthest.is_none(), || match farthest {
            Some((index, gap)) => format!(
                "expected {most:?} or less between them, number {} came {gap:?} after the one before it",
                index + 2
            ),
            None => String::new(),
        })
    }

    /// Each came with this API key, and without a token, which would be used in its place.
    ///
    /// # Panics
    /// When one did not.
    #[track_caller]
    pub fn with_api_key(self, key: &str) -> Self {
        self.each("with this API key", |headers| {
            !headers.contains_key(AUTHORIZATION)
                && headers.get("x-api-key").is_some_and(|value| value.as_bytes() == key.as_bytes())
        })
    }

    /// Each came with this bearer token.
    ///
    /// # Panics
    /// When one did not.
    #[track_caller]
    pub fn with_token(self, token: &str) -> Self {
        self.each("with this token", |headers| {
            let value = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
            value.and_then(|value| value.strip_prefix("Bearer ")) == Some(token)
        })
    }

    /// None came with a credential: as for files, which are another server's.
    ///
    /// # Panics
    /// When one did.
    #[track_caller]
    pub fn without_credentials(self) -> Self {
        self.each("without a credential", |headers| {
            !headers.contains_key(AUTHORIZATION) && !headers.contains_key("x-api-key")
        })
    }

    /// The requests themselves, for anything else.
    pub fn exchanges(&self) -> &[Exchange] {
        &self.exchanges
    }

    fn gaps(&self) -> impl Iterator<Item = (usize, Duration)> {
        let times = self.exchanges.windows(2).map(|pair| pair[1].at.duration_since(pair[0].at));
        times.map(Result::unwrap_or_default).enumerate()
    }

    #[track_caller]
    fn each(self, wanted: &str, holds: impl Fn(&HeaderMap) -> bool) -> Self {
        let wrong = self.exchanges.iter().position(|exchange| !holds(&exchange.headers));
        self.hold(wrong.is_none(), || {
            let number = wrong.unwrap_or_default() + 1;
            format!("expected each {wanted}, number {number} came otherwise")
        })
    }

    #[track_caller]
    #[expect(clippy::panic, reason = "an assertion")]
    fn hold(self, holds: bool, wrong: impl FnOnce() -> String) -> Self {
        if !holds {
            panic!("{}: {}\n{}", self.what, wrong(), self.list());
        }
        self
    }

    /// What came, as a message shows it.
    fn list(&self) -> String {
        let mut text = String::new();
        self.lines(&mut text, &self.exchanges, &self.what);
        if self.exchanges.len() < LISTED && !self.others.is_empty() {
            self.lines(&mut text, &self.others, "other requests");
        }
        text
    }

    fn lines(&self, text: &mut String, exchanges: &[Exchange], what: &str) {
        let Some(first) = exchanges.first() else {
            let _ = writeln!(text, "no {what} came");
            return;
        };
        let _ = writeln!(text, "{what} that came:");
        for (index, exchange) in exchanges.iter().take(LISTED).enumerate() {
            let after = since(first.at, exchange.at);
            let (method, target, summary) = (&exchange.method, shown(&exchange.target), &exchange.summary);
            let with = self.credential(&exchange.headers);
            let _ =
                writeln!(text, "  {:>3}  +{after:.3}s  {method} {target}  {with}  -> {summary}", index + 1);
        }
        if exchanges.len() > LISTED {
            let _ = writeln!(text, "  and {} more", exchanges.len() - LISTED);
        }
    }

    /// Which credential came, in words.
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
