//! What one poll a job told: [`Snapshot`], and the finished [`Translation`].

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use akool_client::types::VideoInfoResult;
use url::Url;

use crate::{JobId, Status, redact};

/// A job as one poll saw it, failed and unfinished jobs included.
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
#[derive(Clone, PartialEq)]
pub struct Snapshot {
    id: JobId,
    status: Status,
    details: Box<VideoInfoResult>,
    age: Option<Duration>,
    /// How old the job was when the same wait saw it running last.
    running_at: Option<Duration>,
    dropped: Vec<String>,
}

impl Snapshot {
    pub(crate) fn new(id: JobId, status: Status, details: VideoInfoResult, dropped: Vec<String>) -> Self {
        Self { id, status, details: Box::new(details), age: None, running_at: None, dropped }
    }

    /// `now` is the service's own clock, from the answer's `Date` header.
    pub(crate) fn seen_at(mut self, now: Option<SystemTime>) -> Self {
        /// Older than this, a creation time says nothing about a job that can still be waited for.
        const PLAUSIBLE: Duration = Duration::from_secs(24 * 3600);
        self.age = self
            .created_at()
            .zip(now)
            .and_then(|(created, now)| now.duration_since(created).ok())
            .filter(|age| *age < PLAUSIBLE);
        self
    }

    pub(crate) fn running_at(mut self, age: Option<Duration>) -> Self {
        self.running_at = age;
        self
    }

    /// The id that was asked for.
    pub fn id(&self) -> &JobId {
        &self.id
    }

    /// Where the job stands.
    pub fn status(&self) -> Status {
        self.status
    }

    /// How much of the job is done, in percent, where the answer says so.
    pub fn progress(&self) -> Option<u8> {
        self.details.progress.map(|percent| percent.clamp(0, 100) as u8)
    }

    /// The link to the translated video. There once the status is [`Status::Completed`]; it can
    /// be fetched for 7 days.
    pub fn video(&self) -> Option<Url> {
        link(self.details.video.as_deref())
    }

    /// The link to the subtitles in the language of the source.
    pub fn original_subtitles(&self) -> Option<Url> {
        link(self.details.audio_splits.as_ref()?.original_srt_url.as_deref())
    }

    /// The link to the subtitles in the target language.
    pub fn subtitles(&self) -> Option<Url> {
        link(self.details.audio_splits.as_ref()?.translated_srt_url.as_deref())
    }

    /// The link to the video without burned-in subtitles.
    pub fn no_captions(&self) -> Option<Url> {
        link(self.details.audio_splits.as_ref()?.no_caption_video_url.as_deref())
    }

    /// Why the job failed, as a number, where the answer says so.
    pub fn error_code(&self) -> Option<i64> {
        self.details.error_code
    }

    /// Why the job failed, in words, where the answer says so.
    pub fn error_reason(&self) -> Option<&str> {
        self.details.error_reason.as_deref().filter(|reason| !reason.is_empty())
    }

    /// When the job was created, by the service's clock.
    pub fn created_at(&self) -> Option<SystemTime> {
        let millis = u64::try_from(self.details.create_time?).ok()?;
        SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(millis))
    }

    /// How old the job was when it was seen, both times by the service's clock; `None` where the
    /// answer does not tell, or tells more than a day.
    pub fn age(&self) -> Option<Duration> {
        self.age
    }

    /// Between which ages the job ended, for [`Durations`](crate::Durations): how old it was when its
    /// wait saw it running last, and when it was seen ended. `None` before the end, and where the
    /// wait did not see the job running or the answers do not tell its age.
    pub fn ended_between(&self) -> Option<(Duration, Duration)> {
        self.running_at.zip(self.age).filter(|(after, by)| after <= by)
    }

    /// How long the video is, as far as `video_lock_duration` says; what that counts is not documented.
    pub fn video_length(&self) -> Option<Duration> {
        Duration::try_from_secs_f64(self.details.video_lock_duration?).ok().filter(|length| !length.is_zero())
    }

    /// Everything that the answer said of the job, in the generated type. Links in it are whole,
    /// and may be signed: don't log it.
    pub fn details(&self) -> &VideoInfoResult {
        &self.details
    }

    /// The fields that came in a shape that the description does not know and were left out, by
    /// JSON Pointer below `data`. Empty for an answer as described.
    pub fn dropped(&self) -> &[String] {
        &self.dropped
    }
}

pub(crate) fn link(text: Option<&str>) -> Option<Url> {
    let url = Url::parse(text?.trim()).ok()?;
    matches!(url.scheme(), "http" | "https").then_some(url)
}

impl fmt::Debug for Snapshot {
    /// Links without their signed part.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot")
            .field("id", &self.id)
            .field("status", &self.status)
            .field("progress", &self.progress())
            .field("video", &self.video().as_ref().map(redact::link))
            .field("error_code", &self.error_code())
            .field("error_reason", &self.error_reason().map(redact::excerpt))
            .field("dropped", &self.dropped)
            .finish_non_exhaustive()
    }
}

/// A completed translation: its video, and its split files where the service made them.
#[derive(Clone, PartialEq)]
pub struct Translation {
    video: Url,
    snapshot: Snapshot,
}

impl Translation {
    /// `None` unless the job is completed and has a usable link to its video.
    pub fn from_snapshot(snapshot: Snapshot) -> Option<Self> {
        if snapshot.status() != Status::Completed {
            return None;
        }
        Self::from_completed(snapshot).ok()
    }

    /// Gives the snapshot back where it has no usable link.
    pub(crate) fn from_completed(snapshot: Snapshot) -> Result<Self, Box<Snapshot>> {
        match snapshot.video() {
            Some(video) => Ok(Self { video, snapshot }),
            None => Err(Box::new(snapshot)),
        }
    }

    /// The job's id.
    pub fn id(&self) -> &JobId {
        self.snapshot.id()
    }

    /// The link to the translated video. It can be fetched for 7 days.
    pub fn video(&self) -> &Url {
        &self.video
    }

    /// Every file that can be fetched: the video first, then what there is of the subtitles and
    /// the video without captions.
    pub fn files(&self) -> Vec<RemoteFile> {
        let snapshot = &self.snapshot;
        [
            (FileKind::Video, Some(self.video.clone())),
            (FileKind::OriginalSubtitles, snapshot.original_subtitles()),
            (FileKind::Subtitles, snapshot.subtitles()),
            (FileKind::NoCaptions, snapshot.no_captions()),
        ]
        .into_iter()
        .filter_map(|(kind, url)| Some(RemoteFile { job: self.id().clone(), kind, url: url? }))
        .collect()
    }

    /// The poll that saw the job completed.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// The poll that saw the job completed.
    pub fn into_snapshot(self) -> Snapshot {
        self.snapshot
    }
}

impl fmt::Debug for Translation {
    /// Links without their signed part.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Translation").field("snapshot", &self.snapshot).finish()
    }
}

/// One file of a translation, still on the service's CDN.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RemoteFile {
    /// The job that it belongs to.
    pub job: JobId,
    /// Which of the job's files it is.
    pub kind: FileKind,
    /// Where it is. May be signed: don't log it.
    pub url: Url,
}

impl RemoteFile {
    /// A name for the file on disk, made from the job and the kind, never from the link: letters,
    /// digits, `.`, `_` and `-` only, the same on every system, and different for different jobs.
    ///
    /// ```
    /// # use akool::{FileKind, RemoteFile};
    /// assert_eq!(FileKind::Subtitles.file_name(&"64dd".into()), "64dd.translated.srt");
    /// ```
    pub fn file_name(&self) -> String {
        self.kind.file_name(&self.job)
    }
}

impl fmt::Debug for RemoteFile {
    /// The link without its signed part.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RemoteFile({} at {})", self.file_name(), redact::link(&self.url))
    }
}

/// Which of a translation's files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FileKind {
    /// The translated video (`video`).
    Video,
    /// The subtitles in the language of the source (`audio_splits.original_srt_url`).
    OriginalSubtitles,
    /// The subtitles in the target language (`audio_splits.translated_srt_url`).
    Subtitles,
    /// The video without burned-in subtitles (`audio_splits.no_caption_video_url`).
    NoCaptions,
}

impl FileKind {
    /// The kind in lower-case words joined by underscores, such as `original_subtitles`: for logs and
    /// programs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Video => "video",
            Self::OriginalSubtitles => "original_subtitles",
            Self::Subtitles => "subtitles",
            Self::NoCaptions => "no_captions",
        }
    }

    /// The name of this kind of file of that job; see [`RemoteFile::file_name`].
    pub fn file_name(self, job: &JobId) -> String {
        let suffix = match self {
            Self::Video => "mp4",
            Self::OriginalSubtitles => "original.srt",
            Self::Subtitles => "translated.srt",
            Self::NoCaptions => "no-captions.mp4",
        };
        format!("{}.{suffix}", stem(job.as_str()))
    }
}

impl fmt::Display for FileKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Video => "video",
            Self::OriginalSubtitles => "original subtitles",
            Self::Subtitles => "translated subtitles",
            Self::NoCaptions => "video without captions",
        })
    }
}

/// The start of a file name for any id. An id of the documented form is used as it is; any other
/// is made harmless, and told apart from its like by a fingerprint.
fn stem(id: &str) -> String {
    const LONGEST: usize = 64;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    // Names such as CON or LPT1 are devices on Windows; upper and lower case may be one file.
    let documented = id.bytes().all(|byte| byte.is_ascii_digit() || byte.is_ascii_lowercase());
    if documented && (8..=LONGEST).contains(&id.len()) {
        return id.to_owned();
    }
    if documented && !id.is_empty() && id.len() < 8 && !is_device(id) {
        return id.to_owned();
    }
    let readable: String =
        id.bytes().map(|byte| if plain(byte) { byte as char } else { '_' }).take(LONGEST - 18).collect();
    format!("job-{readable}-{:016x}", fingerprint(id))
}

fn is_device(id: &str) -> bool {
    matches!(id, "con" | "prn" | "aux" | "nul")
        || (id.len() == 4 && (id.starts_with("com") || id.starts_with("lpt")))
}

/// FNV-1a with 64 bits: the same on every system and in every release, which the standard
/// library's hasher does not promise.
fn fingerprint(text: &str) -> u64 {
    text.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_harmless_and_tell_ids_apart() {
        let long = "x".repeat(5000);
        let ids = [
            "64dd92c1f0b6684651e90e09",
            "../../etc/passwd",
            "..",
            "",
            "a/b",
            "a\\b",
            "a\0b",
            "a b",
            "a_b",
            "con",
            "CON",
            "lpt1",
            "ä",
            "A",
            "a",
            "job",
            &long,
            "x\n",
            ".hidden",
            "-rf",
        ];
        let names: std::collections::BTreeSet<_> =
            ids.iter().map(|id| FileKind::Video.file_name(&JobId::from(*id)).to_lowercase()).collect();
        assert_eq!(names.len(), ids.len(), "{names:?}");
        for name in names {
            assert!(name.len() <= 100 && name.ends_with(".mp4"), "{name}");
            assert!(name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)), "{name}");
            assert!(!name.starts_with('.') && !name.starts_with('-') && !name.contains(".."), "{name}");
            assert!(!is_device(name.split('.').next().unwrap()), "{name}");
        }
    }

    #[test]
    fn links_that_are_none_are_no_links() {
        for text in ["", "nonsense", "ftp://x/y", "file:///etc/passwd", "javascript:alert(1)", "//x"] {
            assert_eq!(link(Some(text)), None, "{text}");
        }
        assert!(link(Some(" https://cdn.example/a.mp4 ")).is_some());
    }

    #[test]
    fn debug_shows_no_signature() {
        let details = VideoInfoResult::builder().video("https://cdn.example/a?Sig=MARKER".to_owned());
        let details = VideoInfoResult::try_from(details).unwrap();
        let snapshot = Snapshot::new("x".into(), Status::Completed, details, vec![]);
        let translation = Translation::from_snapshot(snapshot.clone()).unwrap();
        let shown = format!("{snapshot:?} {translation:?} {:?}", translation.files());
        assert!(!shown.contains("MARKER") && shown.contains("cdn.example"), "{shown}");
    }
}
