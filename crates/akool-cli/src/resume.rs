//! How to pick an unfinished wait up again: the same command, for what is still open.

use akool::JobId;

use crate::args::{Cli, Command, Follow, Timeout};

/// The options of a wait, as they were given.
pub(crate) struct Resume {
    options: String,
}

impl Resume {
    /// `None` where there is nothing to go on with: no wait.
    pub(crate) fn new(cli: &Cli) -> Option<Self> {
        let follow = match &cli.command {
            Command::Wait(wait) => &wait.follow,
            Command::Translate(translate) => &translate.follow,
            _ => return None,
        };
        let mut options = String::new();
        #[cfg(feature = "sandbox")]
        if cli.global.sandbox {
            options += " --sandbox";
        }
        let mut add = |name: &str, value: &str| options += &format!(" {name} {}", quoted(value));
        if let Some(url) = &cli.global.base_url {
            add("--base-url", url);
        }
        if let Some(file) = &cli.global.api_key_file {
            add("--api-key-file", &file.display().to_string());
        }
        let Follow { timeout, interval, max_failures, output } = follow;
        if *timeout != Timeout(Some(akool::DEFAULT_TIMEOUT)) {
            let text = timeout.0.map_or_else(|| "none".to_owned(), duration);
            add("--timeout", &text);
        }
        if let Some(interval) = interval {
            add("--interval", &duration(*interval));
        }
        if *max_failures != akool::PollPolicy::default().max_failures() {
            add("--max-failures", &max_failures.to_string());
        }
        if let Some(folder) = output {
            add("--output", &folder.display().to_string());
        }
        if cli.global.json {
            options += " --json";
        }
        Some(Self { options })
    }

    /// The command that goes on with these jobs.
    pub(crate) fn command<'a>(&self, ids: impl IntoIterator<Item = &'a JobId>) -> String {
        let ids: Vec<_> = ids.into_iter().map(|id| quoted(id.as_str())).collect();
        // An id that looks like an option is none.
        let end = if ids.iter().any(|id| id.starts_with('-')) { " --" } else { "" };
        format!("akool wait{}{end} {}", self.options, ids.join(" "))
    }
}

/// Without blanks, so that no quotes are needed.
fn duration(duration: std::time::Duration) -> String {
    humantime::format_duration(duration).to_string().replace(' ', "")
}

/// An argument as a shell takes it. What cannot be seen is spelt out, as bash, zsh and ksh read it.
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

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    fn command(args: &[&str], id: &str) -> Option<String> {
        let cli = Cli::parse_from([&["akool"], args].concat());
        Some(Resume::new(&cli)?.command([&JobId::from(id)]))
    }

    #[test]
    fn the_command_is_the_one_that_was_given() {
        assert_eq!(command(&["wait", "a", "b"], "b").unwrap(), "akool wait b");
        let args = [
            "--base-url",
            "http://127.0.0.1:1",
            "wait",
            "a",
            "--timeout",
            "90s",
            "--interval",
            "1500ms",
            "--output",
            "my folder",
            "--max-failures",
            "3",
            "--json",
        ];
        assert_eq!(
            command(&args, "a").unwrap(),
            "akool wait --base-url http://127.0.0.1:1 --timeout 1m30s --interval 1s500ms --max-failures 3 \
             --output 'my folder' --json a"
        );
        assert_eq!(command(&["wait", "a", "--timeout", "none"], "a").unwrap(), "akool wait --timeout none a");
    }

    #[test]
    fn odd_ids_are_quoted_and_reach_no_terminal() {
        assert_eq!(command(&["wait", "a"], "-rf").unwrap(), "akool wait -- -rf");
        assert_eq!(command(&["wait", "a"], "it's").unwrap(), r"akool wait 'it'\''s'");
        assert_eq!(command(&["wait", "a"], "a\x1b'").unwrap(), r"akool wait $'a\x1b\''");
    }

    #[cfg(feature = "sandbox")]
    #[test]
    fn a_translation_is_gone_on_with_by_waiting_for_its_jobs() {
        let args = ["--sandbox", "translate", "https://a.example/v.mp4", "--to", "es", "--output", "out"];
        assert_eq!(command(&args, "a").unwrap(), "akool wait --sandbox --output out a");
        assert_eq!(command(&["status", "a"], "a"), None);
    }
}
