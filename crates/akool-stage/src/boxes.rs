//! What the boxes of an MP4 or QuickTime file say: [`Movie`]. Only the headers of boxes and a few small boxes are read,
//! whatever the length of the file.

use std::{
    io::{self, Read, Seek, SeekFrom},
    time::Duration,
};

use mp4_atom::{Atom, FourCC, Hdlr, Header, Mdhd, Mehd, Mvhd, ReadFrom};

/// More boxes are not read: a file that has them is damaged.
const MAX_BOXES: u32 = 1_000_000;
/// How deep the boxes are in each other that are read: moov, trak, mdia, minf, stbl.
const MAX_DEPTH: u32 = 5;
/// The longest body of a box that is decoded.
const MAX_BODY: u64 = 4096;

/// What the boxes say.
#[derive(Default)]
pub(crate) struct Movie {
    pub(crate) has_moov: bool,
    is_fragmented: bool,
    tracks: Vec<Track>,
    timescale: u32,
    duration: u64,
    boxes: u32,
}

/// A track of a movie.
#[derive(Default)]
struct Track {
    /// `vide`, `soun`, or something else.
    kind: [u8; 4],
    timescale: u32,
    duration: u64,
    /// How many frames it has, if it is a video.
    samples: u32,
}

impl Movie {
    /// Reads the boxes from here to this position.
    pub(crate) fn read(&mut self, file: &mut (impl Read + Seek), end: u64) -> io::Result<()> {
        self.read_in(file, end, *b"file", 0)
    }

    /// Reads the boxes of this box, which is inside of this number of other boxes.
    fn read_in(
        &mut self,
        file: &mut (impl Read + Seek),
        end: u64,
        parent: [u8; 4],
        depth: u32,
    ) -> io::Result<()> {
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
            let kind: [u8; 4] = *kind.as_ref();
            match &kind {
                b"moov" | b"trak" | b"mdia" | b"minf" | b"stbl" | b"mvex" if depth < MAX_DEPTH => {
                    self.has_moov |= kind == *b"moov";
                    self.is_fragmented |= kind == *b"mvex";
                    if kind == *b"trak" {
                        self.tracks.push(Track::default());
                    }
                    self.read_in(file, body_end, kind, depth + 1)?;
                }
                b"mvhd" => {
                    let header: Mvhd = decode(file, body_end - body)?;
                    (self.timescale, self.duration) = (header.timescale, self.duration.max(header.duration));
                }
                b"mehd" => {
                    let header: Mehd = decode(file, body_end - body)?;
                    self.duration = self.duration.max(header.fragment_duration);
                }
                b"hdlr" | b"mdhd" | b"stsz" | b"stz2" => {
                    if let Some(track) = self.tracks.last_mut() {
                        track.read(file, kind, parent, body_end - body)?;
                    }
                }
                _ => {}
            }
            at = file.seek(SeekFrom::Start(body_end))?;
        }
        Ok(())
    }

    /// Whether there is a track of this kind.
    pub(crate) fn has(&self, kind: &[u8; 4]) -> bool {
        self.tracks.iter().any(|track| track.kind == *kind)
    }

    /// 0, and the largest number, stand for a length that is not known.
    pub(crate) fn length(&self) -> Option<Duration> {
        seconds(self.duration, self.timescale).map(Duration::from_secs_f64)
    }

    /// The average of the video track that has the most frames per second. A file in fragments does not say in one place
    /// how many frames it has.
    pub(crate) fn frame_rate(&self) -> Option<f64> {
        let videos = self.tracks.iter().filter(|track| track.kind == *b"vide" && !self.is_fragmented);
        let rates = videos.filter_map(|track| {
            let seconds = seconds(track.duration, track.timescale)?;
            (track.samples > 0).then(|| f64::from(track.samples) / seconds)
        });
        rates.reduce(f64::max)
    }
}

impl Track {
    /// Reads the body of a box in the track.
    fn read(&mut self, file: &mut impl Read, kind: [u8; 4], parent: [u8; 4], length: u64) -> io::Result<()> {
        match (&parent, &kind) {
            // QuickTime has one in `minf` too, for something else.
            (b"mdia", b"hdlr") => {
                let mut start = vec![0; 24];
                file.read_exact(&mut start)?;
                // QuickTime writes the name in another form, so an empty one is decoded in its place.
                start.push(0);
                self.kind = *Hdlr::decode_body(&mut &start[..]).map_err(of_box)?.handler.as_ref();
            }
            (b"mdia", b"mdhd") => {
                let header: Mdhd = decode(file, length)?;
                (self.timescale, self.duration) = (header.timescale, header.duration);
            }
            // The table that follows is as long as the film, and only its length is needed.
            (b"stbl", b"stsz" | b"stz2") => {
                let mut start = [0; 12];
                file.read_exact(&mut start)?;
                let [.., a, b, c, d] = start;
                self.samples = u32::from_be_bytes([a, b, c, d]);
            }
            _ => {}
        }
        Ok(())
    }
}

/// A length of time. `None` if it is not known.
fn seconds(duration: u64, timescale: u32) -> Option<f64> {
    let is_known = duration > 0 && duration < u64::from(u32::MAX) && timescale > 0;
    is_known.then(|| duration as f64 / f64::from(timescale))
}

/// Decodes the body of a small box.
fn decode<A: Atom>(file: &mut impl Read, length: u64) -> io::Result<A> {
    let mut body = Vec::new();
    file.take(length.min(MAX_BODY)).read_to_end(&mut body)?;
    A::decode_body(&mut &body[..]).map_err(of_box)
}

/// Whether the file is to blame, and not the disk.
pub(crate) fn is_damage(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof)
}

fn damaged(why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
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
    use super::*;

    #[test]
    fn a_length_that_is_not_known_is_not_a_limit() {
        for duration in [0, u64::from(u32::MAX), u64::MAX] {
            let track = Track { kind: *b"vide", timescale: 1, duration, samples: 100 };
            let movie = Movie { timescale: 1, duration, tracks: vec![track], ..Movie::default() };
            assert_eq!((movie.length(), movie.frame_rate()), (None, None));
        }
    }
}
