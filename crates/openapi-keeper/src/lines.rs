//! The line of each place in a YAML document.

use std::collections::BTreeMap;

use granit_parser::{Event, Parser};

use crate::openapi::pointer_step;

/// The line of each place, by JSON Pointer.
///
/// ```
/// use openapi_keeper::lines::Lines;
///
/// let lines = Lines::of(b"openapi: 3.0.3\npaths:\n  /talks: {}\n");
/// assert_eq!(lines.line("/paths/~1talks"), 3);
/// ```
#[derive(Debug)]
pub struct Lines(BTreeMap<String, usize>);

impl Lines {
    /// Reads the lines, as far as the YAML can be parsed.
    pub fn of(bytes: &[u8]) -> Self {
        Self(lines(bytes))
    }

    /// The line of a place, or of the closest parent that has one.
    pub fn line(&self, pointer: &str) -> usize {
        line_of(&self.0, pointer)
    }
}

/// The line of every key and element by JSON Pointer, as far as the YAML can be parsed.
fn lines(bytes: &[u8]) -> BTreeMap<String, usize> {
    /// A collection that is being read, and its next key or index.
    struct Open {
        at: String,
        key: Option<String>,
        index: Option<usize>,
    }
    let mut lines = BTreeMap::from([(String::new(), 1)]);
    let Ok(text) = std::str::from_utf8(bytes) else {
        return lines;
    };
    let mut open: Vec<Open> = Vec::new();
    for event in Parser::new_from_str(text) {
        let Ok((event, span)) = event else { break };
        let line = span.start.line();
        // The pointer of the node that begins here; `None` for a key.
        let place = |open: &mut Vec<Open>, scalar: Option<&str>| -> Option<String> {
            let Some(parent) = open.last_mut() else {
                return Some(String::new());
            };
            if let Some(index) = &mut parent.index {
                *index += 1;
                return Some(format!("{}/{}", parent.at, *index - 1));
            }
            match parent.key.take() {
                Some(key) => Some(pointer_step(&parent.at, &key)),
                None => {
                    parent.key = Some(scalar.unwrap_or_default().to_owned());
                    None
                }
            }
        };
        match event {
            Event::Scalar(text, ..) => match place(&mut open, Some(&text)) {
                Some(at) => drop(lines.entry(at).or_insert(line)),
                None => {
                    if let Some(parent) = open.last() {
                        let at = pointer_step(&parent.at, &text);
                        lines.insert(at, line);
                    }
                }
            },
            Event::MappingStart(..) => {
                let at = place(&mut open, None).unwrap_or_default();
                lines.entry(at.clone()).or_insert(line);
                open.push(Open { at, key: None, index: None });
            }
            Event::SequenceStart(..) => {
                let at = place(&mut open, None).unwrap_or_default();
                lines.entry(at.clone()).or_insert(line);
                open.push(Open { at, key: None, index: Some(0) });
            }
            Event::MappingEnd | Event::SequenceEnd => drop(open.pop()),
            Event::Alias(_) => drop(place(&mut open, None)),
            _ => {}
        }
    }
    lines
}

/// The line of a place, or of the closest parent that has one.
fn line_of(lines: &BTreeMap<String, usize>, pointer: &str) -> usize {
    let mut at = pointer;
    loop {
        if let Some(line) = lines.get(at) {
            return *line;
        }
        match at.rsplit_once('/') {
            Some((parent, _)) => at = parent,
            None => return 1,
        }
    }
}
