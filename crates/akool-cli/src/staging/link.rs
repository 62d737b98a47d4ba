//! Makes links to the files of a row, and says when they end before their time.

use akool_stage::{CredentialsEnd, DEFAULT_LIFETIME, LocalFile};

use super::{Failure, Links, Local, Staging};
use crate::text;

impl Staging<'_> {
    /// Makes fresh links to the files of a row.
    pub(crate) async fn link(&self, local: &Local) -> Result<Links, Failure> {
        let Some(stage) = self.stage.get() else { return Ok(Links::default()) };
        let lifetime = self.options.link_lifetime.unwrap_or(DEFAULT_LIFETIME);
        let make = async |file: &Option<LocalFile>| -> Result<_, Failure> {
            let Some(file) = file else { return Ok(None) };
            let link = stage.link(file, lifetime).await?;
            if let Some(end) = link.credentials.filter(|_| !self.warned.replace(true)) {
                self.warn(end, link.ends_at, lifetime);
            }
            Ok(Some((stage.url(file), link)))
        };
        Ok(Links { video: make(&local.video).await?, captions: make(&local.captions).await? })
    }

    fn warn(&self, end: CredentialsEnd, ends_at: std::time::SystemTime, lifetime: std::time::Duration) {
        let lifetime = text::short(lifetime);
        match end {
            CredentialsEnd::At(end) if end <= ends_at => self.report.note(format_args!(
                "warning: the links end at {}, with the temporary credentials of the store, and not after {lifetime}; a job \
                 that is queued for longer fails",
                humantime::format_rfc3339_seconds(end)
            )),
            CredentialsEnd::At(_) => {}
            _ => self.report.note(format_args!(
                "warning: the links end with the temporary credentials of the store, which may be before {lifetime}; it is \
                 not known when (AWS_CREDENTIAL_EXPIRATION is not set)"
            )),
        }
    }
}
