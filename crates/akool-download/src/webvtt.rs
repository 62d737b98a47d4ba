//! Converts SRT subtitles to WebVTT: [`webvtt`].

use std::fmt::Write as _;

/// The file has no cue with a valid time and text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there are no SRT subtitles in it")]
pub struct NoCues;

/// Converts SRT subtitles (UTF-8, or UTF-16 with a byte order mark) to WebVTT.
///
/// Cues are sorted by start, as WebVTT requires, and may overlap. Bold, italic and underlined text stays so; other tags
/// and positions are left out, and so are cues without text or duration.
///
/// ```
/// use akool_download::webvtt;
///
/// let vtt = webvtt(b"1\n00:00:01,000 --> 00:00:02,500\nHola\n")?;
/// assert_eq!(vtt, "WEBVTT\n\n00:00:01.000 --> 00:00:02.500\nHola\n");
/// # Ok::<(), akool_download::NoCues>(())
/// ```
///
/// # Errors
/// If there is no cue.
pub fn webvtt(srt: &[u8]) -> Result<String, NoCues> {
    let text = decode(srt).replace("\r\n", "\n").replace('\r', "\n");
    let mut cues: Vec<Cue<'_>> = Vec::new();
    for line in text.lines() {
        match (times(line), cues.last_mut()) {
            (Some((start, end)), last) => {
                // What looked like the last line of the cue before is the number of this one.
                if let Some(last) = last {
                    last.remove_number();
                }
                cues.push(Cue { start, end, lines: Vec::new() });
            }
            (None, Some(last)) => last.lines.push(line),
            (None, None) => {}
        }
    }
    cues.retain(|cue| cue.start < cue.end && cue.text().next().is_some());
    cues.sort_by_key(|cue| cue.start);
    if cues.is_empty() {
        return Err(NoCues);
    }
    let mut vtt = String::from("WEBVTT\n");
    for cue in cues {
        let _ = writeln!(vtt, "\n{} --> {}", time(cue.start), time(cue.end));
        cue.text().for_each(|line| {
            vtt += &line;
            vtt.push('\n');
        });
    }
    Ok(vtt)
}

/// A subtitle. Times are in milliseconds.
struct Cue<'a> {
    start: u64,
    end: u64,
    lines: Vec<&'a str>,
}

impl Cue<'_> {
    /// Removes the number of the next cue, with the blank lines around it.
    fn remove_number(&mut self) {
        let is_blank = |line: &&str| line.trim().is_empty();
        while self.lines.pop_if(|line| is_blank(&*line)).is_some() {}
        let is_number = |line: &str| line.trim().bytes().all(|byte| byte.is_ascii_digit());
        // A number right after the text of the cue is text, if it is the whole text.
        let is_after_text = self.lines.len() > 1;
        self.lines.pop_if(|line| is_number(line) && is_after_text);
    }

    /// The lines of text. An empty line would end the cue, so there are none.
    fn text(&self) -> impl Iterator<Item = String> {
        self.lines.iter().map(|line| convert(line.trim())).filter(|line| !line.trim().is_empty())
    }
}

fn decode(bytes: &[u8]) -> String {
    let units = |from_bytes: fn([u8; 2]) -> u16, bytes: &[u8]| {
        let units: Vec<_> = bytes.chunks_exact(2).map(|pair| from_bytes([pair[0], pair[1]])).collect();
        String::from_utf16_lossy(&units)
    };
    // WebVTT is UTF-8, and U+0000 is not allowed in it.
    let text = match bytes {
        [0xff, 0xfe, rest @ ..] => units(u16::from_le_bytes, rest),
        [0xfe, 0xff, rest @ ..] => units(u16::from_be_bytes, rest),
        [0xef, 0xbb, 0xbf, rest @ ..] | rest => String::from_utf8_lossy(rest).into_owned(),
    };
    text.replace('\0', "\u{fffd}")
}

/// Reads `00:01:02,345 --> 00:01:04,000`, with or without positions after it.
fn times(line: &str) -> Option<(u64, u64)> {
    let (start, end) = line.split_once("-->")?;
    Some((millis(start.trim())?, millis(end.split_whitespace().next()?)?))
}

/// Reads a time such as `00:01:02,345`. Hours have any number of digits, and can be missing.
fn millis(text: &str) -> Option<u64> {
    let is_number = |part: &&str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let number = |part: &str| Some(part).filter(is_number)?.parse::<u64>().ok();
    let (clock, fraction) = text.split_once([',', '.']).unwrap_or((text, "0"));
    let fraction = number(&format!("{:0<3.3}", Some(fraction).filter(is_number)?))?;
    let (rest, seconds) = clock.rsplit_once(':')?;
    let (hours, minutes) = rest.rsplit_once(':').unwrap_or(("0", rest));
    let (hours, minutes, seconds) = (number(hours)?, number(minutes)?, number(seconds)?);
    let minutes = hours.checked_mul(60)?.checked_add(minutes)?;
    minutes.checked_mul(60)?.checked_add(seconds)?.checked_mul(1000)?.checked_add(fraction)
}

/// Hours have two digits or more.
fn time(millis: u64) -> String {
    let (seconds, millis) = (millis / 1000, millis % 1000);
    format!("{:02}:{:02}:{:02}.{millis:03}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

/// Converts a line of text: escapes it, keeps the tags that both formats have, and removes the others.
fn convert(line: &str) -> String {
    let mut converted = String::new();
    let mut rest = line;
    while let Some(letter) = rest.chars().next() {
        let tag = tag(rest);
        rest = &rest[tag.map_or(letter.len_utf8(), str::len)..];
        match (tag, letter) {
            (Some(tag), _) => {
                let name = tag.to_ascii_lowercase();
                if matches!(name.as_str(), "<b>" | "</b>" | "<i>" | "</i>" | "<u>" | "</u>") {
                    converted += &name;
                }
            }
            (None, '&') => converted += "&amp;",
            (None, '<') => converted += "&lt;",
            (None, '>') => converted += "&gt;",
            (None, letter) => converted.push(letter),
        }
    }
    converted
}

/// The tag at the start of a text, as in HTML or as `{\an8}`.
fn tag(text: &str) -> Option<&str> {
    if text.starts_with("{\\") {
        return text.find('}').map(|end| &text[..=end]);
    }
    let name = text.strip_prefix('<')?;
    let name = name.strip_prefix('/').unwrap_or(name);
    let end = text.find('>')?;
    let name = name.split(|letter: char| !letter.is_ascii_alphanumeric()).next()?;
    let is_tag = matches!(name.to_ascii_lowercase().as_str(), "b" | "i" | "u" | "s" | "font");
    is_tag.then(|| &text[..=end])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn converted(srt: &str) -> String {
        webvtt(srt.as_bytes()).unwrap()
    }

    #[test]
    fn each_form_of_srt_is_converted() {
        const ONE: &str = "WEBVTT\n\n00:00:01.000 --> 00:00:02.000\nHola\n";
        for (what, srt, vtt) in [
            ("a final newline", "1\n00:00:01,000 --> 00:00:02,000\nHola\n\n", ONE),
            ("no final newline", "1\n00:00:01,000 --> 00:00:02,000\nHola", ONE),
            ("a byte order mark", "\u{feff}1\n00:00:01,000 --> 00:00:02,000\nHola\n", ONE),
            ("CRLF", "1\r\n00:00:01,000 --> 00:00:02,000\r\nHola\r\n\r\n", ONE),
            ("CR", "1\r00:00:01,000 --> 00:00:02,000\rHola\r", ONE),
            ("no number", "00:00:01,000 --> 00:00:02,000\nHola\n", ONE),
            ("short forms, positions", "1\n 0:1,0-->00:02.0  X1:1 Y1:2\n Hola \n", ONE),
            (
                "hours above 99",
                "1\n99:59:59,999 --> 100:00:00,000\na\n\n2\n1234:00:00,000 --> 1234:00:00,001\nb\n",
                "WEBVTT\n\n99:59:59.999 --> 100:00:00.000\na\n\n1234:00:00.000 --> 1234:00:00.001\nb\n",
            ),
            (
                "cues that overlap and are not in order",
                "1\n00:00:02,000 --> 00:00:05,000\nb\n\n2\n00:00:01,000 --> 00:00:03,000\na\n",
                "WEBVTT\n\n00:00:01.000 --> 00:00:03.000\na\n\n00:00:02.000 --> 00:00:05.000\nb\n",
            ),
            (
                "several lines, with an empty one, and a number",
                "1\n00:00:01,000 --> 00:00:02,000\na\n\n42\nb\n\n2\n00:00:02,000 --> 00:00:03,000\n7\n\n3\n00:00:03,000 \
                 --> 00:00:04,000\nc\n",
                "WEBVTT\n\n00:00:01.000 --> 00:00:02.000\na\n42\nb\n\n00:00:02.000 --> 00:00:03.000\n7\n\n\
                 00:00:03.000 --> 00:00:04.000\nc\n",
            ),
            (
                "cues without text or duration",
                "1\n00:00:01,000 --> 00:00:02,000\n\n2\n00:00:03,000 --> 00:00:03,000\nx\n\n3\n00:00:01,000 --> \
                 00:00:02,000\nHola\n",
                ONE,
            ),
            (
                "tags and special characters",
                "1\n00:00:01,000 --> 00:00:02,000\n{\\an8}<B>R&D</B> <font color=\"red\">a --> b</font> 1 < 2\n",
                "WEBVTT\n\n00:00:01.000 --> 00:00:02.000\n<b>R&amp;D</b> a --&gt; b 1 &lt; 2\n",
            ),
        ] {
            assert_eq!(converted(srt), vtt, "{what}");
        }
    }

    #[test]
    fn utf_16_is_read() {
        let text = "1\n00:00:01,000 --> 00:00:02,000\nüß\n";
        let bytes = |order: fn(u16) -> [u8; 2]| {
            "\u{feff}".encode_utf16().chain(text.encode_utf16()).flat_map(order).collect::<Vec<_>>()
        };
        assert_eq!(webvtt(&bytes(u16::to_le_bytes)).unwrap(), converted(text));
        assert_eq!(webvtt(&bytes(u16::to_be_bytes)).unwrap(), converted(text));
    }

    #[test]
    fn the_number_of_a_cue_is_not_the_text_of_the_cue_before_it() {
        let times = "00:00:00,000 --> 00:00:01,000";
        for (srt, texts) in [
            // With, and without, a blank line or a number between the cues.
            (format!("1\n{times}\nHola\n\n2\n{times}\nAdiós"), ["Hola", "Adiós"]),
            (format!("1\n{times}\nHola\n2\n{times}\nAdiós"), ["Hola", "Adiós"]),
            (format!("{times}\nHola\nMundo\n{times}\nAdiós"), ["Hola\nMundo", "Adiós"]),
            (format!("1\n{times}\n42\n\n{times}\nAdiós"), ["42", "Adiós"]),
            (format!("1\n{times}\n42\n\n2\n{times}\nAdiós"), ["42", "Adiós"]),
        ] {
            let vtt = webvtt(srt.as_bytes()).unwrap();
            let cues = vtt.split("\n\n").skip(1).map(|cue| cue.split_once('\n').unwrap().1.trim_end());
            assert_eq!(cues.collect::<Vec<_>>(), texts, "{srt}");
        }
    }

    #[test]
    fn a_time_has_digits_only() {
        assert_eq!(millis("1:02:03,4"), Some(3_723_400));
        assert_eq!(millis("02:03"), Some(123_000));
        for text in ["00:00:+1", "00:00:01,+5", "00::01", "00:00:01,", "1"] {
            assert_eq!(millis(text), None, "{text}");
        }
    }

    #[test]
    fn what_has_no_cue_is_an_error() {
        for text in ["", "1\n", "{}", "1\n00:00:01,000 --> x\nHola\n", "1\n00:00:01,000 --> 00:00:02,000\n"] {
            assert_eq!(webvtt(text.as_bytes()), Err(NoCues), "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_cue_keeps_its_times_and_text(
            cues in prop::collection::vec((0..u64::from(u32::MAX), 1..100_000_u64, "[a-zñ&<>]{1,9}"), 1..20),
            newline in prop::sample::select(vec!["\n", "\r\n", "\r"]),
        ) {
            let srt_time = |millis| time(millis).replace('.', ",");
            let srt: Vec<_> = cues.iter().enumerate().map(|(number, (start, length, text))| {
                let times = format!("{} --> {}", srt_time(*start), srt_time(start + length));
                [&format!("{}", number + 1), &times, &format!("x{text}")].map(String::as_str).join(newline)
            }).collect();
            let vtt = webvtt(srt.join(&newline.repeat(2)).as_bytes()).unwrap();
            let mut sorted = cues.clone();
            sorted.sort_by_key(|(start, ..)| *start);
            let blocks: Vec<_> = vtt.split("\n\n").collect();
            prop_assert_eq!(blocks[0], "WEBVTT");
            prop_assert_eq!(blocks.len(), cues.len() + 1);
            for ((start, length, text), block) in sorted.iter().zip(&blocks[1..]) {
                let mut lines = block.lines();
                prop_assert_eq!(times(lines.next().unwrap()), Some((*start, start + length)));
                // Text in angle brackets can be a tag, such as <b>.
                if !text.contains('<') {
                    let text = format!("x{text}").replace('&', "&amp;").replace('>', "&gt;");
                    prop_assert_eq!(lines.next(), Some(text.as_str()));
                }
                prop_assert_eq!(block.matches("-->").count(), 1);
            }
        }

        #[test]
        fn any_bytes_are_an_error_or_valid_webvtt(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(vtt) = webvtt(&bytes) {
                prop_assert!(vtt.starts_with("WEBVTT\n\n"));
            }
        }
    }
}
