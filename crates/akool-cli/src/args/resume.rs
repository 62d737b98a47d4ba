//! The command that resumes the wait of this command line.

use std::time::Duration;

use akool_download::kind_name;

use super::{Cli, Command, Files, Follow, Timeout};
use crate::resume::Resume;

impl Cli {
    /// The options of this command line that other commands need too, to find the same jobs.
    pub(crate) fn globals(&self) -> Resume {
        let mut globals = Resume::default();
        #[cfg(feature = "sandbox")]
        if self.global.sandbox {
            globals.flag("--sandbox");
        }
        if let Some(url) = &self.global.base_url {
            globals.option("--base-url", url);
        }
        if let Some(file) = &self.global.api_key_file {
            globals.option("--api-key-file", &file.display().to_string());
        }
        if let Some(file) = &self.global.ledger {
            globals.option("--ledger", &file.display().to_string());
        }
        if !self.global.fleet.is_empty() {
            globals.option("--fleet", &self.global.fleet.join(","));
        }
        globals
    }

    /// `None` if this command does not wait for jobs.
    pub(crate) fn resume(&self) -> Option<Resume> {
        let follow = match &self.command {
            Command::Wait(wait) => &wait.follow,
            Command::Translate(translate) => &translate.follow,
            _ => return None,
        };
        let Follow {
            timeout,
            interval,
            max_failures,
            max_polls_per_second,
            output,
            files,
            stall_timeout,
            on_complete,
        } = follow;
        let Files { files: kinds, vtt, name_template, overwrite } = files;
        let mut resume = self.globals();
        if *timeout != Timeout(Some(akool::DEFAULT_TIMEOUT)) {
            resume.option("--timeout", &timeout.0.map_or_else(|| "none".to_owned(), duration));
        }
        if let Some(interval) = interval {
            resume.option("--interval", &duration(*interval));
        }
        if *max_failures != akool::PollPolicy::default().max_failures() {
            resume.option("--max-failures", &max_failures.to_string());
        }
        if let Some(rate) = max_polls_per_second {
            resume.option("--max-polls-per-second", &rate.to_string());
        }
        if let Some(folder) = output {
            resume.option("--output", &folder.display().to_string());
        }
        if !kinds.is_empty() {
            let kinds: Vec<_> = kinds.iter().map(|kind| kind_name(*kind)).collect();
            resume.option("--files", &kinds.join(","));
        }
        if *vtt {
            resume.flag("--vtt");
        }
        if let Some(template) = name_template {
            resume.option("--name-template", &template.to_string());
        }
        if *overwrite {
            resume.flag("--overwrite");
        }
        if let Some(timeout) = stall_timeout {
            resume.option("--stall-timeout", &duration(*timeout));
        }
        if let Some(command) = on_complete {
            resume.option("--on-complete", &command.text);
        }
        if self.global.json {
            resume.flag("--json");
        }
        Some(resume)
    }
}

/// Without spaces, so that it needs no quotes.
fn duration(duration: Duration) -> String {
    humantime::format_duration(duration).to_string().replace(' ', "")
}

#[cfg(test)]
mod tests {
    use akool::JobId;
    use clap::Parser;

    use super::*;

    fn command(args: &[&str], id: &str) -> Option<String> {
        let cli = Cli::parse_from([&["akool"], args].concat());
        Some(cli.resume()?.command([&JobId::from(id)]))
    }

    #[test]
    fn the_options_of_the_wait_are_kept() {
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
            "--files",
            "video,no-captions",
            "--vtt",
            "--name-template",
            "{id} {kind}.{ext}",
            "--overwrite",
            "--stall-timeout",
            "10s",
            "--json",
        ];
        assert_eq!(
            command(&args, "a").unwrap(),
            "akool wait --base-url http://127.0.0.1:1 --timeout 1m30s --interval 1s500ms --max-failures 3 \
             --output 'my folder' --files video,no-captions --vtt --name-template '{id} {kind}.{ext}' --overwrite \
             --stall-timeout 10s --json a"
        );
        assert_eq!(command(&["wait", "a", "--timeout", "none"], "a").unwrap(), "akool wait --timeout none a");
    }

    #[test]
    fn ids_with_special_characters_are_quoted() {
        assert_eq!(command(&["wait", "a"], "-rf").unwrap(), "akool wait -- -rf");
        assert_eq!(command(&["wait", "a"], "it's").unwrap(), r"akool wait 'it'\''s'");
        assert_eq!(command(&["wait", "a"], "a\x1b'").unwrap(), r"akool wait $'a\x1b\''");
    }

    #[cfg(feature = "sandbox")]
    #[test]
    fn a_translate_command_is_resumed_with_wait() {
        let args = ["--sandbox", "translate", "https://a.example/v.mp4", "--to", "es", "--output", "out"];
        assert_eq!(command(&args, "a").unwrap(), "akool wait --sandbox --output out a");
        assert_eq!(command(&["status", "a"], "a"), None);
    }
}
