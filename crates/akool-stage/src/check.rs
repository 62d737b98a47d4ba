//! What is known about a file before it is uploaded: [`check()`].
//!
//! The boxes of an MP4 or QuickTime file say which tracks it has, how long it is and how many frames it has.

use std::{
    fmt,
    fs::File,
    io::{self, BufReader, Read, Seek},
    path::Path,
    time::Duration,
};

use akool::{BusinessCode, ShortDuration};

use crate::{
    boxes::{self, Movie},
    error::StageError,
    file::regular,
};

/// The service's code for a video that is too long, and the length that its meaning names.
const TOO_LONG: (BusinessCode, Duration) = (BusinessCode(1204), Duration::from_secs(60));
/// The same for one that is too large, in bytes.
const TOO_LARGE: (BusinessCode, u64) = (BusinessCode(1207), 300_000_000);
/// The same for one with too many frames per second.
const TOO_FAST: (BusinessCode, f64) = (BusinessCode(1210), 30.0);
/// Cameras mean 30 if they write this many: the times of frames are rounded.
const ROUNDED_RATE: f64 = 30.05;
/// The code for a video without sound.
const NO_AUDIO: BusinessCode = BusinessCode(1013);

/// What is known about a video.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Checked {
    /// Its length in bytes.
    pub bytes: u64,
    /// How long it plays. `None` if the file does not say so.
    pub length: Option<Duration>,
    /// How many frames it has per second, on average. `None` if the file does not say so in one place, as when it is
    /// written in fragments.
    pub frame_rate: Option<f64>,
    /// The name of its container, if that cannot be read: then its tracks, its length and its frame rate were not checked.
    pub unread: Option<&'static str>,
}

/// A documented limit that a video exceeds. The vendor's pages contradict each other on the limits.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Limit {
    /// It plays for this long.
    Length(Duration),
    /// It has this many bytes.
    Size(u64),
    /// It has this many frames per second.
    FrameRate(f64),
}

impl Checked {
    /// The documented limits that the video exceeds.
    pub fn limits(&self) -> Vec<Limit> {
        let length = self.length.filter(|length| *length > TOO_LONG.1).map(Limit::Length);
        let size = (self.bytes > TOO_LARGE.1).then_some(Limit::Size(self.bytes));
        let rate = self.frame_rate.filter(|rate| *rate >= ROUNDED_RATE).map(Limit::FrameRate);
        length.into_iter().chain(size).chain(rate).collect()
    }
}

impl fmt::Display for Limit {
    /// What is exceeded, and where the limit is documented.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let code = match self {
            Self::Length(length) => {
                write!(f, "is {} long", ShortDuration(*length))?;
                TOO_LONG.0
            }
            Self::Size(bytes) => {
                write!(f, "has {} MB", bytes / 1_000_000)?;
                TOO_LARGE.0
            }
            Self::FrameRate(rate) => {
                // Without zeros at the end.
                let rounded = (rate * 100.0).round() / 100.0;
                return write!(
                    f,
                    "has {rounded} frames per second; AKOOL's list of codes has {}",
                    TOO_FAST.0
                );
            }
        };
        write!(f, "; AKOOL's list of codes has {code}, and other pages of it name no such limit")
    }
}

/// Reads the tracks, the length and the frame rate of a video. This blocks for a moment.
///
/// # Errors
/// If the file cannot be read, is not a video, is not complete, or has no video or no audio track.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let notes = folder.path().join("talk.mp4");
/// # std::fs::write(&notes, "These are notes.")?;
/// let error = akool_stage::check(&notes).unwrap_err();
/// println!("{error}; {}", error.help());
/// assert!(error.to_string().contains("is not a video"));
/// # Ok(())
/// # }
/// ```
pub fn check(path: &Path) -> Result<Checked, StageError> {
    let bytes = regular(path)?.len();
    let refused = |why: String| Err(StageError::Refused { path: path.to_owned(), why });
    let failed = |source| StageError::File { path: path.to_owned(), source };
    let mut reader = BufReader::new(File::open(path).map_err(failed)?);
    let start = start(&mut reader).map_err(failed)?;
    if start.is_empty() {
        return refused("is empty".to_owned());
    }
    if let Some(name) = unread(&start) {
        return Ok(Checked { bytes, length: None, frame_rate: None, unread: Some(name) });
    }
    if !is_iso(&start) {
        return refused("is not a video".to_owned());
    }
    let mut movie = Movie::default();
    let walked = reader.rewind().and_then(|()| movie.read(&mut reader, bytes));
    match walked {
        Err(error) if boxes::is_damage(&error) => return refused(format!("is damaged: {error}")),
        Err(error) => return Err(failed(error)),
        Ok(()) => {}
    }
    if !movie.has_moov {
        return refused("is not complete: it has no list of tracks".to_owned());
    }
    if !movie.has(b"vide") {
        return refused("has no video track".to_owned());
    }
    if !movie.has(b"soun") {
        return refused(format!("has no audio track, so AKOOL would refuse it: {NO_AUDIO}"));
    }
    Ok(Checked { bytes, length: movie.length(), frame_rate: movie.frame_rate(), unread: None })
}

/// Whether a file begins as a video does. What [`check()`] refuses can begin so too.
///
/// # Errors
/// If it cannot be read.
pub fn is_video(path: &Path) -> Result<bool, StageError> {
    let failed = |source| StageError::File { path: path.to_owned(), source };
    regular(path)?;
    let start = start(&mut File::open(path).map_err(failed)?).map_err(failed)?;
    Ok(unread(&start).is_some() || is_iso(&start))
}

/// The bytes that tell the container.
fn start(file: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut start = Vec::new();
    file.take(377).read_to_end(&mut start)?;
    Ok(start)
}

/// Whether the file begins with a box of an MP4 or QuickTime file.
fn is_iso(start: &[u8]) -> bool {
    let kind = start.get(4..8).unwrap_or_default();
    [b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot"].iter().any(|known| kind == *known)
}

/// The name of a container of videos that is not read here.
fn unread(start: &[u8]) -> Option<&'static str> {
    let at = |offset: usize, bytes: &[u8]| start.get(offset..).is_some_and(|rest| rest.starts_with(bytes));
    let sync = |offset: usize| start.get(offset) == Some(&0x47);
    Some(match () {
        () if at(0, &[0x1A, 0x45, 0xDF, 0xA3]) => "WebM or Matroska",
        () if at(0, b"RIFF") && at(8, b"AVI ") => "AVI",
        () if at(0, b"FLV\x01") => "Flash video",
        () if at(0, &[0x30, 0x26, 0xB2, 0x75, 0x8E, 0x66, 0xCF, 0x11]) => "Windows Media",
        () if at(0, b"OggS") => "Ogg",
        () if at(0, &[0, 0, 1, 0xBA]) => "MPEG program stream",
        () if sync(0) && sync(188) && sync(376) => "MPEG transport stream",
        () => return None,
    })
}

#[cfg(test)]
mod tests {
    use mp4_atom::{Encode, Mvhd};
    use proptest::prelude::*;

    use super::*;

    fn boxed(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
        [&(body.len() as u32 + 8).to_be_bytes()[..], kind, body].concat()
    }

    /// A track of this many seconds and samples.
    fn track(handler: &[u8; 4], seconds: u32, samples: u32) -> Vec<u8> {
        let (timescale, zeros) = (12_800u32, [0; 12]);
        let times = [timescale, seconds * timescale].map(u32::to_be_bytes).concat();
        let header = boxed(b"mdhd", &[&zeros[..], &times, &[0; 4]].concat());
        // The name as QuickTime writes it.
        let hdlr = |kind: &[u8; 4]| boxed(b"hdlr", &[&zeros[..8], kind, &zeros, b"\x05hello"].concat());
        // The sizes of the samples are not read.
        let sizes = boxed(b"stsz", &[&zeros[..8], &samples.to_be_bytes()].concat());
        let minf = boxed(b"minf", &[hdlr(b"alis"), boxed(b"stbl", &sizes)].concat());
        boxed(b"trak", &boxed(b"mdia", &[header, hdlr(handler), minf].concat()))
    }

    /// A file of this length in seconds, with these tracks.
    fn movie(seconds: u32, handlers: &[&[u8; 4]]) -> Vec<u8> {
        movie_of(seconds, handlers.iter().flat_map(|handler| track(handler, seconds, 25 * seconds)).collect())
    }

    fn movie_of(seconds: u32, tracks: Vec<u8>) -> Vec<u8> {
        let header = Mvhd {
            creation_time: 0,
            modification_time: 0,
            timescale: 1000,
            duration: u64::from(seconds) * 1000,
            rate: 1.into(),
            volume: 1.into(),
            matrix: Default::default(),
            next_track_id: 1,
        };
        let mut moov = Vec::new();
        header.encode(&mut moov).unwrap();
        moov.extend(tracks);
        [boxed(b"ftyp", b"isom\0\0\0\0"), boxed(b"mdat", &[7; 100]), boxed(b"moov", &moov)].concat()
    }

    fn checked(bytes: &[u8]) -> Result<Checked, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        check(file.path()).map_err(|error| error.to_string().split_once(' ').unwrap().1.to_owned())
    }

    #[test]
    fn tracks_and_length_are_read() {
        let fine = checked(&movie(59, &[b"vide", b"soun"])).unwrap();
        assert_eq!((fine.length, fine.unread, fine.limits()), (Some(Duration::from_secs(59)), None, vec![]));
        assert_eq!(fine.frame_rate, Some(25.0));
        for (bytes, why) in [
            (movie(9, &[b"vide"]), "has no audio track"),
            (movie(9, &[b"soun"]), "has no video track"),
            (movie(9, &[b"vide", b"soun"])[..130].to_vec(), "is damaged"),
            (movie(9, &[b"vide", b"soun"])[..124].to_vec(), "is not complete"),
            (b"These are notes, not a video.".to_vec(), "is not a video"),
            (b"\x89PNG\r\n\x1a\n".to_vec(), "is not a video"),
            (Vec::new(), "is empty"),
        ] {
            let error = checked(&bytes).unwrap_err();
            assert!(error.starts_with(why), "{error}, not {why}");
        }
    }

    #[test]
    fn other_containers_are_not_checked() {
        let transport: Vec<u8> = (0..400).map(|at| if at % 188 == 0 { 0x47 } else { 0 }).collect();
        for (bytes, name) in [
            (&b"\x1A\x45\xDF\xA3webm"[..], "WebM or Matroska"),
            (b"RIFF\0\0\0\0AVI LIST", "AVI"),
            (&transport, "MPEG transport stream"),
        ] {
            assert_eq!(checked(bytes).unwrap().unread, Some(name));
        }
    }

    #[test]
    fn a_limit_names_its_source_and_is_that_of_the_list_of_codes() {
        let long = checked(&movie(61, &[b"vide", b"soun"])).unwrap();
        let [limit] = long.limits()[..] else { panic!("{long:?}") };
        assert!(limit.to_string().starts_with("is 1 min 1 s long; AKOOL's list of codes has "), "{limit}");
        assert!(limit.to_string().contains("1204"), "{limit}");
        let large = Checked { bytes: 300_000_001, length: None, frame_rate: None, unread: None };
        assert_eq!(large.limits(), [Limit::Size(300_000_001)]);
        assert_eq!(Checked { bytes: 300_000_000, ..large }.limits(), []);
        let meaning = |code: BusinessCode| code.meaning().unwrap().to_owned();
        assert_eq!(meaning(TOO_LONG.0), format!("video too long ({} s)", TOO_LONG.1.as_secs()));
        assert_eq!(meaning(TOO_LARGE.0), format!("video too large ({} MB)", TOO_LARGE.1 / 1_000_000));
        assert_eq!(meaning(TOO_FAST.0), format!("more than {} frames per second", TOO_FAST.1));
        assert!(meaning(NO_AUDIO).contains("audio"));
    }

    #[test]
    fn the_frame_rate_is_that_of_the_fastest_video_and_a_limit_above_thirty() {
        // A cover is a video of one frame.
        let rated = |seconds, samples| {
            [track(b"vide", 9, 1), track(b"vide", seconds, samples), track(b"soun", 9, 999)].concat()
        };
        for (seconds, samples, is_too_fast) in [(2, 60, false), (100, 3004, false), (100, 3006, true)] {
            let found = checked(&movie_of(9, rated(seconds, samples))).unwrap();
            assert_eq!(found.frame_rate, Some(f64::from(samples) / f64::from(seconds)));
            assert_eq!(!found.limits().is_empty(), is_too_fast, "{found:?}");
        }
        let fast = checked(&movie_of(9, rated(100, 5994))).unwrap();
        let text = fast.limits()[0].to_string();
        assert!(text.starts_with("has 59.94 frames per second; AKOOL's list of codes has 1210"), "{text}");
        let fragmented = [rated(9, 0), boxed(b"mvex", b"")].concat();
        assert_eq!(checked(&movie_of(9, fragmented)).unwrap().frame_rate, None);
    }

    #[test]
    fn boxes_in_boxes_do_not_use_all_of_the_stack() {
        let nested =
            (0..100_000u32).rev().flat_map(|depth| [&(8 * (depth + 1)).to_be_bytes()[..], b"mdia"].concat());
        let file = [boxed(b"ftyp", b"isom"), nested.collect()].concat();
        assert!(checked(&file).unwrap_err().starts_with("is not complete"));
    }

    proptest! {
        #[test]
        fn a_damaged_file_ends_in_a_result(
            cut in 0usize..400, changes in prop::collection::vec((0usize..400, any::<u8>()), 0..20),
        ) {
            let mut bytes = movie(9, &[b"vide", b"soun"]);
            for (at, byte) in changes {
                let at = at % bytes.len();
                bytes[at] = byte;
            }
            bytes.truncate(cut.max(1));
            let _ = checked(&bytes);
        }
    }
}
