//! A completed translation and its files: [`Translation`], [`RemoteFile`].

use std::fmt;

use url::Url;

use crate::{id::JobId, redact, snapshot::Snapshot, status::Status};

/// A completed translation: its video, and the other files if the service made them.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let server = akool_mock::MockServer::start().await;
/// # server.job("64dd92c1f0b6684651e90e09", akool_mock::Timeline::new().completed());
/// # let (base_url, key) = (server.url(), akool::Credential::api_key(server.api_key())?);
/// # let client = akool::Client::builder().base_url(base_url).credential(key).build()?;
/// let translation = client.job("64dd92c1f0b6684651e90e09").wait().await?;
/// println!("{}", translation.video());
/// for file in translation.files() {
///     println!("{:?}: {}", file.kind, file.file_name());
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, PartialEq)]
pub struct Translation {
    video: Url,
    snapshot: Snapshot,
}

impl Translation {
    /// `None` unless the job is completed and has a usable link to its video.
    pub fn from_snapshot(snapshot: Snapshot) -> Option<Self> {
        let video = snapshot.video().filter(|_| snapshot.status() == Status::Completed)?;
        Some(Self { video, snapshot })
    }

    /// The job's id.
    pub fn id(&self) -> &JobId {
        self.snapshot.id()
    }

    /// The link to the translated video. It works for 7 days without a credential: do not log it.
    pub fn video(&self) -> &Url {
        &self.video
    }

    /// Every file that can be downloaded: the video first.
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

    /// The poll that found the job completed.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// The poll that found the job completed.
    pub fn into_snapshot(self) -> Snapshot {
        self.snapshot
    }
}

impl fmt::Debug for Translation {
    /// Shows only host and extension of links.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Translation").field("snapshot", &self.snapshot).finish()
    }
}

/// One file of a translation, on the service's CDN.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RemoteFile {
    /// The job that it belongs to.
    pub job: JobId,
    /// Which of the job's files it is.
    pub kind: FileKind,
    /// Its address, which grants access without a credential: do not log it.
    pub url: Url,
}

impl RemoteFile {
    /// A file of this job at this address, for example one that was stored.
    pub fn new(job: JobId, kind: FileKind, url: Url) -> Self {
        Self { job, kind, url }
    }

    /// A name for the file on disk: letters, digits, `.`, `_` and `-` only, the same on every system, and different
    /// for different jobs. It is made from the job and the kind, never from the link.
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
    /// Shows only host and extension of the link.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RemoteFile({} at {})", self.file_name(), redact::file_link(&self.url))
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
    /// The video without captions in the picture (`audio_splits.no_caption_video_url`).
    NoCaptions,
}

impl FileKind {
    /// The kind in snake case, such as `original_subtitles`: for logs and programs.
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
            Self::Subtitles => "subtitles",
            Self::NoCaptions => "video without captions",
        })
    }
}

/// The start of a file name for any id. An id of the documented form is used as it is. Any other id is made
/// harmless, and gets a fingerprint so that two ids never share a name.
fn stem(id: &str) -> String {
    const MAX_LEN: usize = 64;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    // Names such as CON or LPT1 are devices on Windows; upper and lower case may be one file.
    let documented = id.bytes().all(|byte| byte.is_ascii_digit() || byte.is_ascii_lowercase());
    if documented && (1..=MAX_LEN).contains(&id.len()) && !is_device(id) {
        return id.to_owned();
    }
    let readable: String =
        id.bytes().map(|byte| if plain(byte) { byte as char } else { '_' }).take(MAX_LEN - 18).collect();
    format!("job-{readable}-{:016x}", fingerprint(id))
}

fn is_device(id: &str) -> bool {
    matches!(id, "con" | "prn" | "aux" | "nul")
        || (id.len() == 4 && (id.starts_with("com") || id.starts_with("lpt")))
}

/// FNV-1a with 64 bits. It is the same on every system and in every release, which the standard library's hasher
/// does not promise.
fn fingerprint(text: &str) -> u64 {
    text.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_harmless_and_different_for_different_ids() {
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
}
