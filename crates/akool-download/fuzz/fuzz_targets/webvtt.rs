#![no_main]

use akool_download::webvtt;
use libfuzzer_sys::fuzz_target;

/// Reads `00:00:01.000`, as the standard has it.
fn millis(text: &str) -> u64 {
    let (clock, millis) = text.split_once('.').unwrap();
    let parts: Vec<&str> = clock.split(':').collect();
    let [hours, minutes, seconds] = parts[..] else { panic!("{text}") };
    assert!(hours.len() >= 2 && minutes.len() == 2 && seconds.len() == 2 && millis.len() == 3, "{text}");
    let number = |text: &str| text.parse::<u64>().unwrap();
    assert!(number(minutes) < 60 && number(seconds) < 60, "{text}");
    ((number(hours) * 60 + number(minutes)) * 60 + number(seconds)) * 1000 + number(millis)
}

/// Cues with their starts, durations and texts, or any bytes.
type Subtitles<'a> = Result<Vec<(u32, u32, &'a str)>, &'a [u8]>;

fuzz_target!(|subtitles: Subtitles<'_>| {
    let srt = match subtitles {
        Ok(cues) => {
            let time =
                |millis: u64| format!("00:{}:{},{:03}", millis / 60_000, millis / 1000 % 60, millis % 1000);
            let cue = |(number, (start, length, text)): (usize, &(u32, u32, &str))| {
                let (start, end) = (u64::from(*start), u64::from(*start) + u64::from(*length));
                format!("{number}\n{} --> {}\n{text}\n\n", time(start), time(end))
            };
            cues.iter().enumerate().map(cue).collect::<String>().into_bytes()
        }
        Err(bytes) => bytes.to_vec(),
    };
    let Ok(vtt) = webvtt(&srt) else { return };
    assert!(!vtt.contains(['\0', '\r']));
    let mut cues = vtt.strip_suffix('\n').unwrap().split("\n\n");
    assert_eq!(cues.next(), Some("WEBVTT"));
    let mut before = 0;
    for cue in cues {
        let (times, text) = cue.split_once('\n').unwrap();
        let (start, end) = times.split_once(" --> ").unwrap();
        let (start, end) = (millis(start), millis(end));
        assert!(before <= start && start < end, "{cue}");
        before = start;
        assert!(!text.contains("-->") && text.lines().all(|line| !line.trim().is_empty()), "{cue}");
    }
});
