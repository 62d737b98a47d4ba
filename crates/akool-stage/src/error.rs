//! Why a file was not staged: [`StageError`].

use std::{
    error::Error as StdError,
    io,
    path::{Path, PathBuf},
};

use akool::redact;
use object_store::Error as StoreError;

/// Why a file was not put into a store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StageError {
    /// The text is not the location of a store.
    #[error("\"{text}\" is not a location in a store: {why}")]
    Location {
        /// The text, without what may be secret.
        text: String,
        /// The reason.
        why: &'static str,
    },
    /// The file cannot be read.
    #[error("cannot read {}", shown(.path))]
    File {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The file is known not to be accepted.
    #[error("{} {why}", shown(.path))]
    Refused {
        /// The file.
        path: PathBuf,
        /// The reason, as the rest of a sentence.
        why: String,
    },
    /// The file is not what it was when it was read first.
    #[error("{} has changed since it was read", shown(.path))]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// The settings of the store in the environment or in a file of the user are not usable.
    #[error("the settings for {store} cannot be used: {why}")]
    Settings {
        /// The location.
        store: String,
        /// The reason.
        why: String,
    },
    /// The store has not done what was requested.
    #[error("cannot {action}: {why}")]
    Store {
        /// What was requested.
        action: String,
        /// Why it failed.
        why: String,
        /// What that means.
        kind: Failure,
    },
    /// The upload cannot be recorded.
    #[error("the upload to {url} cannot be recorded")]
    Log {
        /// The object.
        url: String,
        /// The cause.
        source: Box<dyn StdError + Send + Sync>,
    },
}

/// Why a store has not done what was requested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Failure {
    /// The credentials do not allow it, or are not valid.
    Denied,
    /// There are no credentials.
    NoCredentials,
    /// There is no such bucket or object.
    NotFound,
    /// The clock of this machine is wrong.
    Clock,
    /// The bucket is in another region.
    Region,
    /// Anything else, such as a connection that failed.
    Other,
}

impl StageError {
    pub(crate) fn store(action: impl Into<String>, error: &StoreError) -> Self {
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            let cause_text = cause.to_string();
            if !text.contains(&cause_text) {
                text += &format!(": {cause_text}");
            }
            source = cause.source();
        }
        let kind = Failure::of(error, &text);
        Self::Store { action: action.into(), why: redact::excerpt(reason(&text)), kind }
    }

    /// Whether other files will meet the same error.
    pub fn is_general(&self) -> bool {
        match self {
            Self::Location { .. } | Self::Settings { .. } | Self::Log { .. } => true,
            Self::Store { kind, .. } => *kind != Failure::Other,
            Self::File { .. } | Self::Refused { .. } | Self::Changed { .. } => false,
        }
    }

    /// The next step, as a sentence without a capital letter and a full stop.
    pub fn help(&self) -> &'static str {
        match self {
            Self::Location { .. } => {
                "write it as s3://bucket/prefix, gs://bucket/prefix or az://container/prefix"
            }
            Self::File { .. } => "check its name and its permissions",
            Self::Refused { .. } => "pass a video with an audio track, or captions that are not empty",
            Self::Changed { .. } => "run the command again once nothing writes to it any more",
            Self::Settings { .. } => "correct the variables or the file; docs/staging.md lists them",
            Self::Log { .. } => "check that the ledger can be written",
            Self::Store { kind, .. } => match kind {
                Failure::Denied => {
                    "check the credentials, and that they may write, read and delete objects below this location"
                }
                Failure::NoCredentials => {
                    "set the credentials of the store, such as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; \
                     docs/staging.md lists them"
                }
                Failure::NotFound => "check the name of the bucket, and create it if it does not exist",
                Failure::Clock => "set the clock of this machine: a signature is valid for some minutes only",
                Failure::Region => "set AWS_REGION to the region of the bucket",
                Failure::Other => "try again later; the same command starts the upload again",
            },
        }
    }
}

/// A path as a part of a line: a name may have control characters.
fn shown(path: &Path) -> String {
    let text = path.display().to_string();
    if text.chars().any(char::is_control) { redact::excerpt(&text) } else { text }
}

/// The part of an error's text that says most: what the store has answered in XML, or the last cause.
fn reason(text: &str) -> &str {
    let member = |name: &str| {
        let (_, rest) = text.split_once(&format!("<{name}>"))?;
        rest.split_once(&format!("</{name}>"))
            .map(|(value, _)| value.trim())
            .filter(|value| !value.is_empty())
    };
    if let Some(message) = member("Message") {
        return message;
    }
    let answer = || text.split_once("Error performing ")?.1.split_once(" - ").map(|(_, answer)| answer);
    member("Code").or_else(answer).unwrap_or(text)
}

impl Failure {
    fn of(error: &StoreError, text: &str) -> Self {
        const REGION: [&str; 3] = ["without LOCATION", "PermanentRedirect", "AuthorizationHeaderMalformed"];
        if text.contains("RequestTimeTooSkewed") {
            return Self::Clock;
        }
        // Where the credentials of a machine in a cloud come from, which are tried last.
        if text.contains("169.254.169.254") || text.contains("metadata.google.internal") {
            return Self::NoCredentials;
        }
        if REGION.iter().any(|sign| text.contains(sign)) {
            return Self::Region;
        }
        match error {
            StoreError::PermissionDenied { .. } | StoreError::Unauthenticated { .. } => Self::Denied,
            StoreError::NotFound { .. } => Self::NotFound,
            _ => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_is_what_the_store_has_answered() {
        let request =
            "Generic S3 error: Error performing PUT http://127.0.0.1:1/a%20-%20b in 1ms - Server returned";
        for (answer, expected) in [
            ("<Code>A</Code><Message>No b</Message>", "No b"),
            ("<Code>NoSuchKey</Code><Message></Message>", "NoSuchKey"),
        ] {
            assert_eq!(reason(&format!("{request} status code 400: {answer}")), expected);
        }
        assert_eq!(reason(&format!("{request} 400: {{}}")), "Server returned 400: {}");
        assert_eq!(reason("no answer"), "no answer");
    }
}
