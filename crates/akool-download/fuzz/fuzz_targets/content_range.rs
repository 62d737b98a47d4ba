#![no_main]

use akool_download::fuzzing::{Part, partial};
use libfuzzer_sys::fuzz_target;

/// Reads `bytes 3-6/7` or `bytes 3-6/*`.
fn range(header: &str) -> Option<(u64, u64, Option<u64>)> {
    let (range, total) = header.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let total = if total == "*" { None } else { Some(total.parse().ok()?) };
    Some((first.parse().ok()?, last.parse().ok()?, total))
}

/// Where the range begins, if not at the position, how long it is, and how much follows it, if that is known.
type Range = (Option<u64>, u64, Option<i64>);

// Half of the inputs are well-formed headers, so that numbers are explored, and not only the syntax.
fuzz_target!(|input: (Result<Range, &str>, bool, u64, Option<u64>)| {
    let (header, same, position, known) = input;
    let header = match header {
        Ok((first, length, more)) => {
            let first = first.unwrap_or(position);
            let last = first.saturating_add(length);
            let total = more.map_or("*".to_owned(), |more| last.saturating_add_signed(more).to_string());
            format!("bytes {first}-{last}/{total}")
        }
        Err(text) => text.to_owned(),
    };
    match partial(&header, if same { "\"a\"" } else { "\"b\"" }, position, "\"a\"", known) {
        Part::Unusable => {}
        Part::Whole(length) => {
            let (first, last, total) = range(&header).unwrap();
            assert!(first == 0 && Some(last + 1) == total && length == total, "{header}");
        }
        Part::Rest(length) => {
            let (first, last, total) = range(&header).unwrap();
            assert!(same && position > 0 && first == position && first <= last, "{header} {position}");
            assert!(length.is_some() && (total.is_none() || total == length), "{header} {length:?}");
            assert!(known.is_none() || known == length, "{header} {known:?}");
            assert!(total.is_none_or(|total| last < total), "{header}");
        }
    }
});
