//! Links by which the service downloads an object: [`Link`].

use std::{
    env, fmt,
    time::{Duration, SystemTime},
};

use akool::redact;
use object_store::{path::Path, signer::Method};
use url::Url;

use crate::{error::StageError, file::LocalFile, stage::Stage};

/// How long a link is valid by default: longer than jobs are queued.
pub const DEFAULT_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);
/// The longest lifetime that the stores allow.
pub const MAX_LIFETIME: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// When temporary credentials end, in RFC 3339, as the tools of AWS set it.
const CREDENTIAL_EXPIRATION: &str = "AWS_CREDENTIAL_EXPIRATION";

/// A link that grants anyone who has it the right to download one object, for a limited time.
#[derive(Clone)]
#[non_exhaustive]
pub struct Link {
    /// The link. It is secret as long as it is valid.
    pub url: Url,
    /// When it ends, at the latest.
    pub ends_at: SystemTime,
    /// Set if the credentials are temporary, because then the link ends with them.
    pub credentials: Option<CredentialsEnd>,
}

/// When the credentials of a link end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CredentialsEnd {
    /// At this time.
    At(SystemTime),
    /// It is not known when.
    Unknown,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = redact::link(&self.url);
        f.debug_struct("Link").field("url", &url).field("ends_at", &self.ends_at).finish_non_exhaustive()
    }
}

impl Stage {
    /// Makes a link to the object of a file, valid from now on for this long, at most [`MAX_LIFETIME`]. The object need
    /// not exist.
    ///
    /// # Errors
    /// If the credentials cannot be read or do not allow links.
    ///
    /// ```no_run
    /// # async fn example(stage: akool_stage::Stage, file: akool_stage::LocalFile) -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    ///
    /// let link = stage.link(&file, Duration::from_secs(60 * 60)).await?;
    /// // Anyone who has the URL can download the object: do not log it.
    /// println!("valid until {:?}", link.ends_at);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn link(&self, file: &LocalFile, lifetime: Duration) -> Result<Link, StageError> {
        let (path, now) = (self.path(file), SystemTime::now());
        let action = || format!("make a link to {}", self.url(file));
        let Some(signer) = &self.signer else {
            return Err(StageError::Settings {
                store: self.location().to_string(),
                why: "this kind of store makes no links".to_owned(),
            });
        };
        self.check_signable(&path)?;
        let lifetime = lifetime.min(MAX_LIFETIME);
        let url = signer.signed_url(Method::GET, &path, lifetime).await;
        let url = url.map_err(|error| StageError::store(action(), &error))?;
        let is_temporary = match &self.amazon {
            None => false,
            Some(credentials) => {
                let credential = credentials.get_credential().await;
                credential.map_err(|error| StageError::store(action(), &error))?.token.is_some()
            }
        };
        let end = is_temporary.then(|| end_of_credentials(env::var(CREDENTIAL_EXPIRATION).ok().as_deref()));
        Ok(Link { url, ends_at: ends_at(now + lifetime, end), credentials: end })
    }
}

impl Stage {
    /// Checks that a link to an object can be signed.
    pub(crate) fn check_signable(&self, path: &Path) -> Result<(), StageError> {
        if self.is_signable(path) {
            return Ok(());
        }
        let why = "links to this store need a prefix of ASCII letters, digits and -._ only".to_owned();
        Err(StageError::Settings { store: self.location().to_string(), why })
    }
}

/// The earlier of both.
fn ends_at(signed: SystemTime, credentials: Option<CredentialsEnd>) -> SystemTime {
    match credentials {
        Some(CredentialsEnd::At(end)) => signed.min(end),
        _ => signed,
    }
}

fn end_of_credentials(variable: Option<&str>) -> CredentialsEnd {
    let end = variable.and_then(|text| humantime::parse_rfc3339_weak(&utc(text)).ok());
    end.map_or(CredentialsEnd::Unknown, CredentialsEnd::At)
}

/// The tools write UTC as `+00:00` too.
fn utc(text: &str) -> String {
    text.trim().replace("+00:00", "Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_ends_with_temporary_credentials() {
        let signed = SystemTime::UNIX_EPOCH + Duration::from_secs(1000);
        let at = |secs| CredentialsEnd::At(SystemTime::UNIX_EPOCH + Duration::from_secs(secs));
        assert_eq!(ends_at(signed, None), signed);
        assert_eq!(ends_at(signed, Some(CredentialsEnd::Unknown)), signed);
        assert_eq!(ends_at(signed, Some(at(2000))), signed);
        assert_eq!(CredentialsEnd::At(ends_at(signed, Some(at(900)))), at(900));
        for text in ["1970-01-01T00:15:00Z", "1970-01-01T00:15:00+00:00"] {
            assert_eq!(end_of_credentials(Some(text)), at(900));
        }
        for text in [None, Some(""), Some("soon"), Some("1970-01-01T01:15:00+01:00")] {
            assert_eq!(end_of_credentials(text), CredentialsEnd::Unknown);
        }
    }
}
