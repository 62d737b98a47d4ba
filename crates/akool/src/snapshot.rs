//! The result of one poll: [`Snapshot`].

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use akool_client::types::{GetVideoInfoResponse, VideoInfoResult};
use url::Url;

use crate::{error::Error, http, id::JobId, redact, response::Decoded, status::Status};

/// What one poll returned about a job. A failed job is a snapshot like any other.
///
/// ```no_run
/// # async fn example(client: akool::Client) -> Result<(), akool::Error> {
/// let snapshot = client.job("64dd92c1f0b6684651e90e09").get().await?;
/// println!("{}: {}", snapshot.id(), snapshot.status());
/// if let Some(reason) = snapshot.error_reason() {
///     println!("because {reason}");
/// }
/// # Ok(())
/// # }
/// ```
///
/// With feature `serde`, it can be stored and read again. What is stored contains the links, which grant access.
#[derive(Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Snapshot {
    id: JobId,
    status: Status,
    details: Box<VideoInfoResult>,
    #[cfg_attr(feature = "serde", serde(default))]
    age: Option<Duration>,
    #[cfg_attr(feature = "serde", serde(default))]
    unexpected_fields: Vec<String>,
}

impl Snapshot {
    /// Takes the job's data out of a response that succeeded.
    pub(crate) fn new(id: JobId, response: Decoded<GetVideoInfoResponse>) -> Result<Self, Error> {
        /// A creation time that is longer ago says nothing about a job that somebody still waits for.
        const MAX_AGE: Duration = Duration::from_secs(24 * 3600);

        let Decoded { value, http_status, unexpected_fields, date } = response;
        let missing = |pointer: &str| {
            let name = pointer.rsplit('/').next().unwrap_or_default();
            let unexpected = unexpected_fields.iter().any(|field| field == pointer);
            let problem = if unexpected { "has an unexpected form" } else { "is missing" };
            Error::undecodable(format!("`{name}` {problem} in the response")).with_response(http_status, None)
        };
        let details = value.data.ok_or_else(|| missing("/data"))?;
        let status = Status::from(details.video_status.ok_or_else(|| missing("/data/video_status"))?);
        let mut snapshot = Self { id, status, details: Box::new(details), age: None, unexpected_fields };
        let age = snapshot.created_at().zip(date).and_then(|(created, now)| age(created, now));
        snapshot.age = age.filter(|age| *age < MAX_AGE);
        Ok(snapshot)
    }

    /// The id that was requested.
    pub fn id(&self) -> &JobId {
        &self.id
    }

    /// The job's status.
    pub fn status(&self) -> Status {
        self.status
    }

    /// How much of the job is done, in percent, if the response says so. If the job failed, how far it got.
    pub fn progress(&self) -> Option<u8> {
        self.details.progress.map(|percent| percent.clamp(0, 100) as u8)
    }

    /// The link to the translated video. It is there once the status is [`Status::Completed`], and works for 7 days
    /// without a credential: do not log it.
    pub fn video(&self) -> Option<Url> {
        http::link(self.details.video.as_deref()?)
    }

    /// The link to the subtitles in the target language.
    pub fn subtitles(&self) -> Option<Url> {
        http::link(self.details.audio_splits.as_ref()?.translated_srt_url.as_deref()?)
    }

    /// The link to the subtitles in the language of the source.
    pub fn original_subtitles(&self) -> Option<Url> {
        http::link(self.details.audio_splits.as_ref()?.original_srt_url.as_deref()?)
    }

    /// The link to the video without captions in the picture.
    pub fn no_captions(&self) -> Option<Url> {
        http::link(self.details.audio_splits.as_ref()?.no_caption_video_url.as_deref()?)
    }

    /// Why the job failed, as a number, if the response says so. It is not a [`BusinessCode`](crate::BusinessCode).
    pub fn error_code(&self) -> Option<i64> {
        self.details.error_code
    }

    /// Why the job failed, in words, if the response says so. The text is the service's own: pass it through
    /// [`redact::excerpt`] before you print it.
    pub fn error_reason(&self) -> Option<&str> {
        self.details.error_reason.as_deref().filter(|reason| !reason.is_empty())
    }

    /// When the job was created, by the service's clock.
    pub fn created_at(&self) -> Option<SystemTime> {
        let millis = u64::try_from(self.details.create_time?).ok()?;
        SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(millis))
    }

    /// How old the job was when it was polled, by the service's clock. `None` if the response does not say, or says
    /// more than a day.
    pub fn age(&self) -> Option<Duration> {
        self.age
    }

    /// The length of the video for which credits are held. `video_lock_duration`, in seconds, on the wire.
    pub fn video_length(&self) -> Option<Duration> {
        video_length(self.details.video_lock_duration)
    }

    /// The credits that the service holds for the job, if the response says so. `deduction_lock_duration` on the wire.
    pub fn credits_held(&self) -> Option<f64> {
        credits(self.details.deduction_lock_duration.map(|credits| credits as f64))
    }

    /// The credits that were charged for the job, if the response says so. `deduction_duration` on the wire. Documented
    /// for completed jobs; it is not documented whether a failed job is charged.
    ///
    /// ```no_run
    /// # async fn example(client: akool::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let translation = client.job("64dd92c1f0b6684651e90e09").wait().await?;
    /// if let Some(credits) = translation.snapshot().credits_charged() {
    ///     println!("charged {credits} credits");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn credits_charged(&self) -> Option<f64> {
        credits(self.details.deduction_duration.map(|credits| credits as f64))
    }

    /// Everything that the response says about the job, in the generated type. Links in it are whole, and
    /// grant access: do not log it.
    pub fn details(&self) -> &VideoInfoResult {
        &self.details
    }

    /// JSON Pointers to the members of the response that had an undocumented form and were left out. Empty for a
    /// valid response.
    pub fn unexpected_fields(&self) -> &[String] {
        &self.unexpected_fields
    }
}

/// A number of credits, unless it is negative.
pub(crate) fn credits(credits: Option<f64>) -> Option<f64> {
    credits.filter(|credits| credits.is_finite() && *credits >= 0.0)
}

/// The length of a video, unless it is zero or negative.
pub(crate) fn video_length(seconds: Option<f64>) -> Option<Duration> {
    Duration::try_from_secs_f64(seconds?).ok().filter(|length| !length.is_zero())
}

/// The age of a job by the header `Date`, which has whole seconds: a job of the same second may seem to be created after
/// it.
fn age(created: SystemTime, now: SystemTime) -> Option<Duration> {
    match now.duration_since(created) {
        Ok(age) => Some(age),
        Err(before) if before.duration() < Duration::from_secs(1) => Some(Duration::ZERO),
        Err(_) => None,
    }
}

impl fmt::Debug for Snapshot {
    /// Shows only host and extension of links.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot")
            .field("id", &self.id)
            .field("status", &self.status)
            .field("progress", &self.progress())
            .field("video", &self.video().as_ref().map(redact::file_link))
            .field("error_code", &self.error_code())
            .field("error_reason", &self.error_reason().map(redact::excerpt))
            .field("unexpected_fields", &self.unexpected_fields)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_of_the_same_second_has_an_age() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let millis = Duration::from_millis;
        assert_eq!(age(now - millis(1500), now), Some(millis(1500)));
        assert_eq!(age(now + millis(999), now), Some(Duration::ZERO));
        assert_eq!(age(now + millis(1000), now), None);
    }
}
