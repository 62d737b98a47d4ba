//! The command that resumes a wait: `akool wait` with the options of this run.

use akool::JobId;

/// The options of a wait, as they are written on the command line.
#[derive(Clone, Default)]
pub(crate) struct Resume {
    options: String,
}

impl Resume {
    pub(crate) fn flag(&mut self, name: &str) {
        self.options += &format!(" {name}");
    }

    pub(crate) fn option(&mut self, name: &str, value: &str) {
        self.options += &format!(" {name} {}", quoted(value));
    }

    /// Another command with these options, and arguments that need no quotes.
    pub(crate) fn with(&self, command: &str) -> String {
        format!("akool{} {command}", self.options)
    }

    /// The command that waits for all jobs in the ledger that have not ended.
    pub(crate) fn pending(&self) -> String {
        format!("akool wait{} --pending", self.options)
    }

    /// The command that waits for these jobs.
    pub(crate) fn command<'a>(&self, ids: impl IntoIterator<Item = &'a JobId>) -> String {
        let ids: Vec<_> = ids.into_iter().map(|id| quoted(id.as_str())).collect();
        // Without `--`, an id that starts with a hyphen would be read as an option.
        let end = if ids.iter().any(|id| id.starts_with('-')) { " --" } else { "" };
        format!("akool wait{}{end} {}", self.options, ids.join(" "))
    }
}

/// Quotes an argument for a shell. Control characters are escaped in the way of bash, zsh and ksh.
fn quoted(text: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_./:@%+=,".contains(letter);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else if text.chars().any(char::is_control) {
        let spelt = |byte: u8| match byte {
            b'\\' | b'\'' => format!("\\{}", char::from(byte)),
            b' '..=b'~' => char::from(byte).to_string(),
            _ => format!("\\x{byte:02x}"),
        };
        format!("$'{}'", text.bytes().map(spelt).collect::<String>())
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}
