//! Reads the file of `--from-file`: CSV with a header, or JSON lines. Each row becomes the arguments of a command line, so
//! that it means the same and is checked in the same way.

use std::{
    collections::BTreeSet,
    io::{self, Read},
    path::Path,
};

use serde_json::{Map, Value};

use crate::{
    args::{Request, RequestRow},
    input,
};

/// Larger files are refused: a million rows need about this much.
const MAX_BYTES: u64 = 256 * 1024 * 1024;
/// Options whose values are words, separated by semicolons in CSV.
const REPEATED: [&str; 3] = ["keep-word", "translate-word", "pronounce-word"];

/// A row, and the number of its line from 1.
pub(crate) type Row = (u64, Result<RequestRow, String>);

/// Reads the rows of a file (`-`: standard input). What they do not set is as in `defaults`.
///
/// # Errors
/// Why the whole file cannot be read, as a message.
pub(crate) fn read(path: &Path, defaults: &Request) -> Result<Vec<Row>, String> {
    let shown = if path == Path::new("-") { "standard input".to_owned() } else { path.display().to_string() };
    let mut bytes = Vec::new();
    let read = if path == Path::new("-") {
        io::stdin().take(MAX_BYTES + 1).read_to_end(&mut bytes)
    } else {
        input::open(path).and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes))
    };
    read.map_err(|error| format!("cannot read {shown}: {error}; check the name after --from-file"))?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(format!("{shown} is larger than {} MB; split it", MAX_BYTES / 1024 / 1024));
    }
    let rows = parse(&bytes, defaults).map_err(|error| format!("{shown}: {error}"))?;
    if rows.is_empty() {
        return Err(format!("{shown} has no rows"));
    }
    Ok(rows)
}

/// The rows of a file with this content.
pub(crate) fn parse(bytes: &[u8], defaults: &Request) -> Result<Vec<Row>, String> {
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    if bytes.starts_with(b"\xFF\xFE") || bytes.starts_with(b"\xFE\xFF") {
        return Err("it is in UTF-16; save it as UTF-8".to_owned());
    }
    match bytes.iter().find(|byte| !byte.is_ascii_whitespace()) {
        Some(b'{') => Ok(json_lines(bytes, defaults)),
        Some(b'[') => {
            Err("it is one JSON array; write one object in each line, without the brackets".to_owned())
        }
        _ => csv(bytes, defaults),
    }
}

fn csv(bytes: &[u8], defaults: &Request) -> Result<Vec<Row>, String> {
    let mut reader = csv::ReaderBuilder::new().flexible(true).trim(csv::Trim::All).from_reader(bytes);
    let header = reader.headers().map_err(|error| format!("line 1: {error}"))?;
    if header.len() == 1 && header[0].contains([';', '\t']) {
        return Err(
            "line 1: the columns are separated by semicolons or tabs; separate them by commas".to_owned()
        );
    }
    let names: Vec<_> = header.iter().map(normal).collect();
    let mut seen = BTreeSet::new();
    for name in &names {
        known(name).map_err(|error| format!("line 1: {error}"))?;
        if !seen.insert(name) {
            return Err(format!("line 1: there are two columns {name}"));
        }
    }
    if !seen.contains(&"url".to_owned()) {
        return Err(
            "line 1: there is no column url; the first line names the columns, such as url,to".to_owned()
        );
    }
    let is_blank = |record: &csv::Result<csv::StringRecord>| {
        record.as_ref().is_ok_and(|record| record.len() == 1 && record[0].is_empty() && names.len() > 1)
    };
    let records = reader.records().filter(|record| !is_blank(record));
    let mut lines = Lines { bytes, position: 0, line: 1 };
    let rows = records.map(|record| match record {
        Err(error) => (lines.of(error.position()), Err(error.to_string())),
        Ok(record) => {
            let line = lines.of(record.position());
            if record.len() != names.len() {
                let (fields, columns) = (record.len(), names.len());
                let hint = "values that contain commas need quotation marks";
                return (line, Err(format!("it has {fields} values for {columns} columns; {hint}")));
            }
            let values = names.iter().zip(&record).flat_map(|(name, value)| {
                let repeated = REPEATED.contains(&name.as_str());
                let values: Vec<_> = if repeated { value.split(';').collect() } else { vec![value] };
                let value = |value: &str| (name.clone(), value.trim().to_owned());
                values.into_iter().map(value).collect::<Vec<_>>()
            });
            (line, row(values, defaults))
        }
    });
    Ok(rows.collect())
}

/// Counts the lines up to a record. Records come in order, so that no byte is counted twice.
struct Lines<'a> {
    bytes: &'a [u8],
    position: usize,
    line: u64,
}

impl Lines<'_> {
    /// The line of a record, from 1. Its position is before the empty lines above it.
    fn of(&mut self, position: Option<&csv::Position>) -> u64 {
        let start = position.and_then(|position| usize::try_from(position.byte()).ok()).unwrap_or_default();
        let is_text = |byte: &u8| !byte.is_ascii_whitespace();
        let first = self.bytes.iter().skip(start).position(is_text).unwrap_or_default();
        let new = self.bytes.get(self.position..start + first).unwrap_or_default();
        self.line += new.iter().filter(|byte| **byte == b'\n').count() as u64;
        self.position = self.position.max(start + first);
        self.line
    }
}

fn json_lines(bytes: &[u8], defaults: &Request) -> Vec<Row> {
    let lines = (1..).zip(bytes.split(|byte| *byte == b'\n'));
    let lines = lines.filter(|(_, line)| !line.iter().all(u8::is_ascii_whitespace));
    lines
        .map(|(number, line)| {
            let members =
                serde_json::from_slice::<Map<String, Value>>(line).map_err(|error| error.to_string());
            (number, members.and_then(|members| row(values(members)?.into_iter(), defaults)))
        })
        .collect()
}

/// The members of an object as names and values. A list has a value for each element, and a map one for each pair.
fn values(members: Map<String, Value>) -> Result<Vec<(String, String)>, String> {
    let mut values = Vec::new();
    let mut seen = BTreeSet::new();
    for (name, value) in members {
        let name = normal(&name);
        known(&name)?;
        if !seen.insert(name.clone()) {
            return Err(format!("{name} is there twice"));
        }
        let text = |value: Value| match value {
            Value::String(text) => Ok(text),
            Value::Number(_) | Value::Bool(_) => Ok(value.to_string()),
            other => Err(format!("{name} cannot be {other}")),
        };
        match value {
            Value::Null => {}
            Value::Array(elements) => {
                for element in elements {
                    values.push((name.clone(), text(element)?));
                }
            }
            Value::Object(pairs) if REPEATED.contains(&name.as_str()) => {
                for (word, value) in pairs {
                    values.push((name.clone(), format!("{word}={}", text(value)?)));
                }
            }
            other => values.push((name.clone(), text(other)?)),
        }
    }
    Ok(values)
}

/// The row with these values. An empty value counts as not set.
fn row(values: impl Iterator<Item = (String, String)>, defaults: &Request) -> Result<RequestRow, String> {
    let mut args = Vec::new();
    let mut url = None;
    for (name, value) in values.filter(|(_, value)| !value.is_empty()) {
        match name.as_str() {
            "url" => url = Some(value),
            "to" => args.push(format!("--to={}", value.replace(';', ","))),
            // As spreadsheets write them.
            _ if ["true", "false"].iter().any(|word| value.eq_ignore_ascii_case(word)) => {
                args.push(format!("--{name}={}", value.to_ascii_lowercase()));
            }
            _ => args.push(format!("--{name}={value}")),
        }
    }
    args.extend(["--".to_owned(), url.ok_or("there is no url")?]);
    RequestRow::parse(defaults, &args)
}

/// The name of an option: as on the command line, or with underscores.
fn normal(name: &str) -> String {
    name.trim().to_ascii_lowercase().replace('_', "-")
}

fn known(name: &str) -> Result<(), String> {
    let names = RequestRow::names();
    if name == "url" || names.iter().any(|known| known == name) {
        return Ok(());
    }
    Err(format!(
        "there is no option \"{}\"; there are url, {}",
        akool::redact::excerpt(name),
        names.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Cli, Command};

    fn defaults(more: &[&str]) -> Request {
        let args = [&["akool", "translate", "--from-file", "x"][..], more].concat();
        match Cli::try_parse_from(args).unwrap().command {
            Command::Translate(translate) => translate.request.clone(),
            _ => unreachable!(),
        }
    }

    fn parsed(text: &str) -> Vec<(u64, String)> {
        let rows = parse(text.as_bytes(), &defaults(&["--to", "es"])).unwrap();
        let shown = |row: Result<RequestRow, String>| match row {
            Ok(RequestRow { url, request: Request { to, lipsync, keep_word, speakers, .. } }) => {
                format!("{url} {} {lipsync:?} {keep_word:?} {speakers:?}", to.join("+"))
            }
            Err(error) => error,
        };
        rows.into_iter().map(|(line, row)| (line, shown(row))).collect()
    }

    #[test]
    fn csv_and_json_lines_mean_the_same() {
        let csv = "\u{feff}URL, to ,lipsync,keep_word,speakers\r\nhttps://a/1,\"fr,de\",true,a b;c,2\r\n\r\n\
                   https://a/2,,false,,\r\nhttps://a/3,fr;de,,,\r\n";
        let json = "{\"url\": \"https://a/1\", \"to\": [\"fr\", \"de\"], \"lipsync\": true, \"keep-word\": [\"a b\", \
                    \"c\"], \"speakers\": 2}\n\n{\"url\": \"https://a/2\", \"lipsync\": false, \"speakers\": null}\n\
                    {\"url\":\"https://a/3\",\"to\":\"fr,de\"}";
        let wanted = [
            "https://a/1 fr+de Some(true) [\"a b\", \"c\"] Some(2)",
            "https://a/2 es Some(false) [] None",
            "https://a/3 fr+de None [] None",
        ];
        for text in [csv, json] {
            let rows = parsed(text);
            assert!(rows.iter().map(|(_, row)| row).eq(wanted), "{rows:?}");
        }
        assert!(parsed(csv).iter().map(|(line, _)| *line).eq([2, 4, 5]));
        assert!(parsed(json).iter().map(|(line, _)| *line).eq([1, 3, 4]));
    }

    #[test]
    fn each_mistake_is_named_with_its_line() {
        let csv =
            "url,to,style,lipsync\nhttps://a/1,es,loud,\nhttps://a/2,es,fr\n,es,,\nhttps://a/4,es,,maybe\n";
        let rows = parsed(csv);
        for ((line, error), (number, wanted)) in rows.iter().zip([
            (2, "invalid value 'loud' for '--style <STYLE>'"),
            (3, "it has 3 values for 4 columns"),
            (4, "there is no url"),
            (5, "invalid value 'maybe'"),
        ]) {
            assert_eq!(*line, number);
            assert!(error.contains(wanted) && !error.contains('\n'), "{error}");
        }
        let json = "{\"url\": 1, \"to\": {}}\nnonsense\n{\"url\": \"https://a\", \"colour\": \"red\"}\n[]";
        let rows = parsed(json);
        for ((_, error), wanted) in
            rows.iter().zip(["to cannot be {}", "expected ident", "no option \"colour\"", "invalid type"])
        {
            assert!(error.contains(wanted), "{error}");
        }
        let whole = |text: &[u8]| parse(text, &defaults(&[])).unwrap_err();
        assert!(whole(b"link,to\nhttps://a,es\n").contains("line 1: there is no option \"link\""));
        assert!(whole(b"to\nes\n").contains("there is no column url"));
        assert!(whole(b"url,to,To\n").contains("two columns to"));
        let rows = parse(b"url,to\nhttps://a/\xff,es\n", &defaults(&[])).unwrap();
        assert!(rows[0].1.as_ref().unwrap_err().contains("UTF-8"), "{rows:?}");
    }

    #[test]
    fn a_value_that_looks_like_an_option_is_a_value() {
        let rows = parsed("url,keep_word\n--sandbox,--to=fr\n");
        assert_eq!(rows[0].1, "--sandbox es None [\"--to=fr\"] None");
    }
}
