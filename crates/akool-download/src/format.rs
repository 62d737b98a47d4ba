//! Whether the first bytes of a response are those of the file: [`FirstBytes`].
//!
//! A CDN, or a proxy in front of it, can send an error document or a sign-in page with status 200. Their media types
//! are not reliable, so the bytes decide.

use akool::FileKind;
use bytes::Bytes;

/// The maximum number of bytes that are examined.
pub(crate) const MAX_EXAMINED: usize = 4 * 1024;
/// A size whose first byte is a printable character, as in a text, is this large or larger.
const SMALLEST_TEXT_SIZE: u64 = 0x2000_0000;
/// The EBML header, with which Matroska and WebM files start.
const EBML: [u8; 4] = [0x1a, 0x45, 0xdf, 0xa3];
/// The boxes that an ISO-BMFF or QuickTime file can start with.
const BOXES: [&[u8; 4]; 22] = [
    b"ftyp", b"styp", b"moov", b"moof", b"mdat", b"free", b"skip", b"wide", b"uuid", b"sidx", b"ssix",
    b"emsg", b"prft", b"pdin", b"meta", b"meco", b"mfra", b"imda", b"otyp", b"pnot", b"junk", b"PICT",
];

/// Holds back the first bytes of a file until it is certain that they belong to a file of that kind.
pub(crate) struct FirstBytes {
    is_video: bool,
    /// The length of the whole file, if it is known.
    total: Option<u64>,
    examined: Vec<u8>,
    held: Vec<Bytes>,
}

impl FirstBytes {
    pub(crate) fn new(kind: FileKind, total: Option<u64>) -> Self {
        let is_video = !kind.file_name(&"job".into()).ends_with(".srt");
        Self { is_video, total, examined: Vec::new(), held: Vec::new() }
    }

    /// Takes the next chunk. Returns all chunks so far once they are known to be valid, or the reason why they are
    /// not.
    pub(crate) fn push(&mut self, chunk: Bytes) -> Result<Option<Vec<Bytes>>, String> {
        let examined = chunk.len().min(MAX_EXAMINED - self.examined.len());
        self.examined.extend_from_slice(&chunk[..examined]);
        self.held.push(chunk);
        self.decide(self.examined.len() == MAX_EXAMINED)
    }

    /// Returns all chunks of a file that ends before it is known to be valid, or the reason why it is not.
    pub(crate) fn end(&mut self) -> Result<Option<Vec<Bytes>>, String> {
        self.decide(true)
    }

    /// `complete`: no more bytes will be examined.
    fn decide(&mut self, complete: bool) -> Result<Option<Vec<Bytes>>, String> {
        let first = self.examined.as_slice();
        let valid = if self.is_video { is_video(first, self.total) } else { is_srt(&ascii(first), complete) };
        match valid {
            None if !complete => Ok(None),
            Some(true) => Ok(Some(std::mem::take(&mut self.held))),
            _ if first.is_empty() => Err("the response was empty".to_owned()),
            _ => {
                let wanted = if self.is_video { "a video" } else { "SRT subtitles" };
                Err(format!("the server sent {} instead of {wanted}", describe(&ascii(first))))
            }
        }
    }
}

/// Returns whether the start of a file on disk, of that length, is that of a file of this kind.
pub(crate) fn is_kind(kind: FileKind, start: Vec<u8>, length: u64) -> bool {
    let mut first = FirstBytes::new(kind, Some(length));
    match first.push(start.into()) {
        Ok(None) => first.end().is_ok(),
        pushed => pushed.is_ok(),
    }
}

/// Returns `None` if more bytes are needed.
fn is_video(first: &[u8], total: Option<u64>) -> Option<bool> {
    let magic: &[u8; 4] = first.first_chunk()?;
    if *magic == EBML {
        return Some(true);
    }
    let name: &[u8; 4] = first[4..].first_chunk()?;
    if !BOXES.contains(&name) {
        return Some(false);
    }
    // The type of a file contains at least a brand and its version.
    let is_type = matches!(name, b"ftyp" | b"styp");
    let (size, header) = match u32::from_be_bytes(*magic) {
        // The box continues to the end of the file.
        0 => return Some(!is_type),
        1 => (u64::from_be_bytes(*first[8..].first_chunk()?), 16),
        size => (size.into(), 8),
    };
    let longest = total.unwrap_or(if header == 8 { SMALLEST_TEXT_SIZE - 1 } else { u64::MAX });
    let shortest = if is_type { header + 8 } else { header };
    Some((shortest..=longest).contains(&size))
}

/// Returns whether the first lines are a cue: its number, and its times. Returns `None` if more bytes are needed.
fn is_srt(text: &str, complete: bool) -> Option<bool> {
    let mut lines = text.split(['\n', '\r']);
    if !complete {
        // The rest of the last line has not arrived.
        lines.next_back();
    }
    let mut lines = lines.map(str::trim).filter(|line| !line.is_empty());
    let number = lines.next()?;
    if !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(false);
    }
    let (start, end) = lines.next()?.split_once("-->").unwrap_or_default();
    Some([start, end].into_iter().all(|time| time.split_whitespace().next().is_some_and(is_time)))
}

/// Returns whether the text is a time such as `00:01:02,345`.
fn is_time(text: &str) -> bool {
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    text.contains(':') && text.split([':', ',', '.']).all(is_number)
}

/// Returns the text in UTF-8 or UTF-16, without its byte order mark, with `?` for characters that are not ASCII.
fn ascii(bytes: &[u8]) -> String {
    let decode = |unit: u16| char::from_u32(unit.into()).filter(char::is_ascii).unwrap_or('?');
    match bytes {
        [0xff, 0xfe, rest @ ..] => {
            rest.chunks_exact(2).map(|pair| decode(u16::from_le_bytes([pair[0], pair[1]]))).collect()
        }
        [0xfe, 0xff, rest @ ..] => {
            rest.chunks_exact(2).map(|pair| decode(u16::from_be_bytes([pair[0], pair[1]]))).collect()
        }
        [0xef, 0xbb, 0xbf, rest @ ..] | rest => rest.iter().map(|byte| decode((*byte).into())).collect(),
    }
}

fn describe(text: &str) -> &'static str {
    let text = text.trim_start().to_ascii_lowercase();
    match text.chars().next() {
        Some('<') if text.starts_with("<!doctype html") || text.contains("<html") => "an HTML page",
        Some('<') => "an XML document",
        Some('{' | '[') => "a JSON document",
        _ => "other data",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pushes the bytes one by one.
    fn check(kind: FileKind, bytes: &[u8], total: Option<u64>) -> Result<(), String> {
        let mut first = FirstBytes::new(kind, total);
        for byte in bytes {
            if let Some(chunks) = first.push(Bytes::copy_from_slice(&[*byte]))? {
                assert!(bytes.starts_with(&chunks.concat()));
                return Ok(());
            }
        }
        assert_eq!(first.end()?.unwrap().concat(), bytes);
        Ok(())
    }

    fn video(bytes: &[u8]) -> bool {
        let known = check(FileKind::Video, bytes, Some(1 << 20));
        assert_eq!(known, check(FileKind::NoCaptions, bytes, None), "{bytes:?}");
        known.is_ok()
    }

    fn subtitles(text: &[u8]) -> bool {
        assert!(!video(text), "{text:?}");
        check(FileKind::Subtitles, text, None).is_ok()
    }

    #[test]
    fn every_iso_bmff_or_matroska_file_is_a_video() {
        assert!(video(b"\0\0\0\x20ftypisom\0\0\x02\0isomiso2avc1mp41\0\0\x08\x6amoov\0\0\0\x6cmvhd"));
        assert!(video(b"\0\0\0\x18ftypXXXX\0\0\0\0isommp42"));
        assert!(video(b"\0\0\0\x14ftypqt  \0\0\0\0qt  "));
        assert!(video(b"\0\0\0\x08wide\0\0\x10\0mdat"));
        assert!(video(b"\0\0\x10\0moov\0\0\0\x6cmvhd"));
        assert!(video(b"\0\0\0\x01mdat\0\0\0\0\0\0\x10\0"));
        assert!(video(b"\0\0\0\0mdat"));
        assert!(video(b"\x1a\x45\xdf\xa3\x01\0\0\0"));
        // `mdat` can come first, and can be long.
        assert!(check(FileKind::Video, b"\x3c\0\0\0mdat", Some(0x3c00_1000)).is_ok());
    }

    #[test]
    fn documents_and_broken_boxes_are_not_videos() {
        for bytes in [
            &b"{\"code\":1000,\"msg\":\"OK\"}"[..],
            b"[\"moov\"]",
            b"<!--free--><html>",
            b"<?xmlmdat?><Error/>",
            b"free of charge",
            b"    ftyp",
            b"\0\0\0\x08ftypisom",
            b"\0\0\0\x07freeaaaa",
            b"\0\0\0\0ftypisom",
            b"\0\0\0\x18abcdisom",
            b"\0\0\0",
            b"\x1aE",
            b"GIF89a\0\0\0\0\0\0\0\0\0\0",
            b"",
        ] {
            assert!(!video(bytes), "{bytes:?}");
        }
        assert!(
            check(FileKind::Video, b"\0\0\x10\0moovabcdefgh", Some(100)).is_err(),
            "longer than the file"
        );
        // A size of printable characters is a text, unless the file is that long.
        assert!(check(FileKind::Video, b"\x1f\xff\xff\xffmdat", None).is_ok());
        assert!(check(FileKind::Video, b"\x20\0\0\0mdat", None).is_err());
    }

    #[test]
    fn subtitles_start_with_a_cue() {
        let utf_16 = |text: &str, unit: fn(u16) -> [u8; 2]| -> Vec<u8> {
            format!("\u{feff}{text}").encode_utf16().flat_map(unit).collect()
        };
        let cue = "1\r\n00:00:00,000 --> 00:00:01,000 X1:40\r\nBuenos días.\r\n";
        assert!(subtitles(cue.as_bytes()));
        assert!(subtitles(format!("\u{feff}\n\n{cue}").as_bytes()));
        assert!(subtitles(&utf_16(cue, u16::to_le_bytes)));
        assert!(subtitles(&utf_16(cue, u16::to_be_bytes)));
        assert!(subtitles(b"12\n0:00:01.5-->0:00:02.5"));
        for text in [
            "",
            "1\n",
            "1\n00:00:00,000 --> ",
            "1\nno time\n00:00:00,000 --> 00:00:01,000\n",
            "WEBVTT\n\n00:00.000 --> 00:01.000\n",
            "{\"a\":\"1\n00:00:00,000 --> 00:00:01,000\"}",
            "<html>\n<!-- 1\n00:00:00,000 --> 00:00:01,000 -->",
            "not found",
        ] {
            assert!(!subtitles(text.as_bytes()), "{text}");
        }
        let blank = "\n".repeat(2 * MAX_EXAMINED);
        assert!(!subtitles(format!("{blank}{cue}").as_bytes()), "too far from the start");
    }

    #[test]
    fn a_file_on_disk_is_of_its_kind_or_not() {
        let cue = b"1\n00:00:00,000 --> 00:00:01,000\n".to_vec();
        assert!(is_kind(FileKind::Subtitles, cue.clone(), 32));
        assert!(!is_kind(FileKind::Video, cue, 32));
        assert!(!is_kind(FileKind::Subtitles, b"1\n".to_vec(), 2));
        assert!(!is_kind(FileKind::Subtitles, Vec::new(), 0));
        assert!(is_kind(FileKind::Video, b"\0\0\0\x08free".to_vec(), 8));
    }

    #[test]
    fn only_the_first_four_kilobytes_are_examined() {
        assert_eq!(MAX_EXAMINED, 4096);
        let mut first = FirstBytes::new(FileKind::Subtitles, None);
        assert!(first.push(vec![b'1'; 3000].into()).unwrap().is_none());
        assert!(first.push(vec![b'1'; 1095].into()).unwrap().is_none());
        assert!(first.push(vec![b'1'; 3000].into()).is_err());
    }

    #[test]
    fn a_time_has_numbers_and_a_colon() {
        for time in ["00:00:01,500", "1:2", "100:00:00.5"] {
            assert!(is_time(time), "{time}");
        }
        for text in ["", "1", "1,5", ":", "1:", "1:x", "1:2,"] {
            assert!(!is_time(text), "{text}");
        }
    }

    #[test]
    fn the_reason_names_what_arrived() {
        assert!(FirstBytes::new(FileKind::Video, None).end().unwrap_err().contains("was empty"));
        for (text, reason) in [
            (" {\"code\":1101}", "a JSON document instead of a video"),
            ("[]", "a JSON document"),
            ("\u{feff}<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code></Error>", "an XML document"),
            ("<!DOCTYPE html><title>Sign in</title>", "an HTML page"),
            ("Bad gateway", "other data"),
        ] {
            let mut first = FirstBytes::new(FileKind::Video, None);
            let why = first.push(Bytes::from(text)).and_then(|_| first.end()).unwrap_err();
            assert!(why.contains(reason), "{why}");
        }
    }
}
