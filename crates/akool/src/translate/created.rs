//! The result of a request to create: [`Created`].

use std::{fmt, time::Duration};

use crate::{account::Language, code::BusinessCode, id::JobId, status::Status};

/// The result of a request to create, by language.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Created {
    /// The jobs that were created, in the order of the requested languages: each is paid for. Empty only if [`unknown`](Self::unknown) is not.
    pub jobs: Vec<CreatedJob>,
    /// The languages that were rejected: nothing is paid for them.
    pub rejected: Vec<Rejection>,
    /// The languages whose outcome is unknown: the response says neither that a job was created nor that the language
    /// was rejected.
    pub unknown: Vec<Language>,
}

impl Created {
    /// A result made by hand, for tests.
    pub fn new(jobs: Vec<CreatedJob>, rejected: Vec<Rejection>, unknown: Vec<Language>) -> Self {
        Self { jobs, rejected, unknown }
    }

    /// Whether there is a job for every language.
    pub fn is_complete(&self) -> bool {
        self.rejected.is_empty() && self.unknown.is_empty()
    }
}

/// A job that was created.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct CreatedJob {
    /// The job's id.
    pub id: JobId,
    /// Its target language. `None` if the response does not say which of several it is.
    pub language: Option<Language>,
    /// Its status, if the response has one.
    pub status: Option<Status>,
    /// The credits that the service holds for it, if the response says so. `deduction_lock_duration` on the wire. What
    /// is charged in the end is [`Snapshot::credits_charged`](crate::Snapshot::credits_charged).
    pub credits_held: Option<f64>,
    /// The length of the video for which credits are held, if the response says so. `video_lock_duration`, in seconds,
    /// on the wire.
    pub video_length: Option<Duration>,
}

impl CreatedJob {
    /// A job of which nothing but its id is known.
    pub fn new(id: impl Into<JobId>) -> Self {
        Self { id: id.into(), language: None, status: None, credits_held: None, video_length: None }
    }
}

/// A language that was rejected.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Rejection {
    /// The language. `None` if the response does not say which of several it is.
    pub language: Option<Language>,
    /// Why, as a number.
    pub code: BusinessCode,
    /// Why, in the service's words, made safe to show. It may be empty.
    pub message: String,
}

impl Rejection {
    /// A rejection of a language that is not known.
    pub fn new(code: BusinessCode, message: impl Into<String>) -> Self {
        Self { language: None, code, message: message.into() }
    }
}

/// The language and the id: `es 64dd92c1f0b6684651e90e09`.
impl fmt::Display for CreatedJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.language {
            Some(language) => write!(f, "{language} {}", self.id),
            None => write!(f, "{}", self.id),
        }
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.language {
            Some(language) => write!(f, "{language}: ")?,
            None => f.write_str("a language that the response does not name: ")?,
        }
        write!(f, "the service answered with code {}", self.code)?;
        if !self.message.is_empty() {
            write!(f, ": \"{}\"", self.message)?;
        }
        Ok(())
    }
}
