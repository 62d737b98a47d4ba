//! What is known about a file before it is uploaded: [`check()`].
//!
//! The boxes of an MP4 or QuickTime file say which tracks it has and how long it is. Only the headers of boxes and a few
//! small boxes are read, whatever the length of the file.

use std::{
    fmt,
    fs::File,
    io::{self, BufReader, Read, Seek, SeekFrom},
    path::Path,
    time::Duration,
};

use akool::{BusinessCode, ShortDuration};
use mp4_atom::{Atom, FourCC, Hdlr, Header, Mehd, Mvhd, ReadFrom};

use crate::{error::StageError, file::regular};

/// The service's code for a video that is too long, and the length that its meaning names.
const TOO_LONG: (BusinessCode, Duration) = (BusinessCode(1204), Duration::from_secs(60));
/// The same for one that is too large, in bytes.
const TOO_LARGE: (BusinessCode, u64) = (BusinessCode(1207), 300_000_000);
/// The code for a video without sound.
const NO_AUDIO: BusinessCode = BusinessCode(1013);

/// More boxes are not read: a file that has them is damaged.
const MAX_BOXES: u32 = 1_000_000;
/// How deep the boxes are in each other that are read: moov, trak, mdia.
const MAX_DEPTH: u32 = 3;
/// The longest body of a box that is decoded.
const MAX_BODY: u64 = 4096;

/// What is known about a video.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Checked {
    /// Its length in bytes.
    pub bytes: u64,
    /// How long it plays. `None` if the file does not say so.
    pub length: Option<Duration>,
    /// The name of its container, if that cannot be read: then its tracks and its length were not checked.
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
}

impl Checked {
    /// The documented limits that the video exceeds.
    pub fn limits(&self) -> Vec<Limit> {
        let length = self.length.filter(|length| *length > TOO_LONG.1).map(Limit::Length);
        let size = (self.bytes > TOO_LARGE.1).then_some(Limit::Size(self.bytes));
        length.into_iter().chain(size).collect()
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
        };
        write!(f, "; AKOOL's list of codes has {code}, and other pages of it name no such limit")
    }
}

/// Reads the tracks and the length of a video. This blocks for a moment.
///
/// # Errors
/// If the file cannot be read, is not a video, is not complete, or has no video or no audio track.
pub fn check(path: &Path) -> Result<Checked, StageError> {
    let bytes = regular(path)?.len();
    let refused = |why: String| Err(StageError::Refused { path: path.to_owned(), why });
    let failed = |source| StageError::File { path: path.to_owned(), source };
    let mut reader = BufReader::new(File::open(path).map_err(failed)?);
    let mut start = Vec::new();
    reader.by_ref().take(377).read_to_end(&mut start).map_err(failed)?;
    if start.is_empty() {
        return refused("is empty".to_owned());
    }
    if let Some(name) = unread(&start) {
        return Ok(Checked { bytes, length: None, unread: Some(name) });
    }
    if !is_iso(&start) {
        return refused("is not a video".to_owned());
    }
    let mut movie = Movie::default();
    let walked = reader.rewind().and_then(|()| movie.read(&mut reader, bytes, 0));
    match walked {
        Err(error) if is_damage(&error) => return refused(format!("is damaged: {error}")),
        Err(error) => return Err(failed(error)),
        Ok(()) => {}
    }
    if !movie.has_moov {
        return refused("is not complete: it has no list of tracks".to_owned());
    }
    if !movie.has_video {
        return refused("has no video track".to_owned());
    }
    if !movie.has_audio {
        return refused(format!("has no audio track, so AKOOL would refuse it: {NO_AUDIO}"));
    }
    Ok(Checked { bytes, length: movie.length(), unread: None })
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

/// Whether the file is to blame, and not the disk.
fn is_damage(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof)
}

fn damaged(why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

/// What the boxes say.
#[derive(Default)]
struct Movie {
    has_moov: bool,
    has_video: bool,
    has_audio: bool,
    timescale: u32,
    duration: u64,
    boxes: u32,
}

impl Movie {
    /// Reads the boxes from here to this position, inside of this number of other boxes.
    fn read(&mut self, file: &mut (impl Read + Seek), end: u64, depth: u32) -> io::Result<()> {
        let mut at = file.stream_position()?;
        while at < end {
            self.boxes += 1;
            if self.boxes > MAX_BOXES {
                return Err(damaged("it has too many boxes"));
            }
            let Header { kind, size } = Header::read_from(file).map_err(of_box)?;
            let body = file.stream_position()?;
            let body_end = match size {
                Some(size) => body.checked_add(size as u64).filter(|end_of_body| *end_of_body <= end),
                None => Some(end),
            };
            let Some(body_end) = body_end else {
                return Err(damaged(format!(
                    "a box \"{}\" ends after the end of what contains it",
                    name(kind)
                )));
            };
            match kind.as_ref() {
                b"moov" | b"trak" | b"mdia" | b"mvex" if depth < MAX_DEPTH => {
                    self.has_moov |= kind.as_ref() == b"moov";
                    self.read(file, body_end, depth + 1)?;
                }
                b"mvhd" => {
                    let header: Mvhd = decode(file, body_end - body)?;
                    (self.timescale, self.duration) = (header.timescale, self.duration.max(header.duration));
                }
                b"mehd" => {
                    let header: Mehd = decode(file, body_end - body)?;
                    self.duration = self.duration.max(header.fragment_duration);
                }
                b"hdlr" => {
                    let mut start = vec![0; 24];
                    file.read_exact(&mut start)?;
                    // QuickTime writes the name in another form, so an empty one is decoded in its place.
                    start.push(0);
                    let handler = Hdlr::decode_body(&mut &start[..]).map_err(of_box)?.handler;
                    self.has_video |= handler.as_ref() == b"vide";
                    self.has_audio |= handler.as_ref() == b"soun";
                }
                _ => {}
            }
            at = file.seek(SeekFrom::Start(body_end))?;
        }
        Ok(())
    }

    /// 0, and the largest number, stand for a length that is not known.
    fn length(&self) -> Option<Duration> {
        let is_known = self.duration > 0 && self.duration < u64::from(u32::MAX) && self.timescale > 0;
        is_known.then(|| Duration::from_secs_f64(self.duration as f64 / f64::from(self.timescale)))
    }
}

/// Decodes the body of a small box.
fn decode<A: Atom>(file: &mut impl Read, length: u64) -> io::Result<A> {
    let mut body = Vec::new();
    file.take(length.min(MAX_BODY)).read_to_end(&mut body)?;
    A::decode_body(&mut &body[..]).map_err(of_box)
}

fn of_box(error: mp4_atom::Error) -> io::Error {
    match error {
        mp4_atom::Error::Io(error) => error,
        error => damaged(error),
    }
}

fn name(kind: FourCC) -> String {
    let name: &[u8; 4] = kind.as_ref();
    name.escape_ascii().to_string()
}

#[cfg(test)]
mod tests {
    use mp4_atom::Encode;
    use proptest::prelude::*;

    use super::*;

    fn boxed(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
        [&(body.len() as u32 + 8).to_be_bytes()[..], kind, body].concat()
    }

    fn track(handler: &[u8; 4]) -> Vec<u8> {
        // The name as QuickTime writes it.
        let body = [&[0; 8][..], handler, &[0; 12], b"\x05hello"].concat();
        boxed(b"trak", &boxed(b"mdia", &boxed(b"hdlr", &body)))
    }

    /// A file of this length in seconds, with these tracks.
    fn movie(seconds: u32, handlers: &[&[u8; 4]]) -> Vec<u8> {
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
        handlers.iter().for_each(|handler| moov.extend(track(handler)));
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
        let large = Checked { bytes: 300_000_001, length: None, unread: None };
        assert_eq!(large.limits(), [Limit::Size(300_000_001)]);
        assert_eq!(Checked { bytes: 300_000_000, ..large }.limits(), []);
        let meaning = |code: BusinessCode| code.meaning().unwrap().to_owned();
        assert_eq!(meaning(TOO_LONG.0), format!("video too long ({} s)", TOO_LONG.1.as_secs()));
        assert_eq!(meaning(TOO_LARGE.0), format!("video too large ({} MB)", TOO_LARGE.1 / 1_000_000));
        assert!(meaning(NO_AUDIO).contains("audio"));
    }

    #[test]
    fn boxes_in_boxes_do_not_use_all_of_the_stack() {
        let nested =
            (0..100_000u32).rev().flat_map(|depth| [&(8 * (depth + 1)).to_be_bytes()[..], b"mdia"].concat());
        let file = [boxed(b"ftyp", b"isom"), nested.collect()].concat();
        assert!(checked(&file).unwrap_err().starts_with("is not complete"));
    }

    #[test]
    fn a_length_that_is_not_known_is_not_a_limit() {
        for duration in [0, u64::from(u32::MAX), u64::MAX] {
            let movie = Movie { timescale: 1, duration, ..Movie::default() };
            assert_eq!(movie.length(), None);
        }
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
