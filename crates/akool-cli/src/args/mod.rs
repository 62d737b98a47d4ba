//! The command line, as clap's types.

mod auth;
#[cfg(feature = "fleet")]
pub(crate) mod fleet;
mod help;
mod request;
mod resume;
#[cfg(feature = "stage")]
mod staging;
#[cfg(not(feature = "stage"))]
#[path = "no_staging.rs"]
mod staging;
mod value;

use std::{path::PathBuf, time::Duration};

use akool::FileKind;
use akool_download::NameTemplate;
use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum};

#[cfg(feature = "fleet")]
pub(crate) use self::fleet::{Fleet, Limits as FleetLimits};
#[cfg(feature = "mcp")]
pub(crate) use self::request::Captions;
pub(crate) use self::{
    auth::{Auth, StoredKey},
    request::{Request, RequestRow, Sources},
    staging::Staging,
    value::{Timeout, Words},
};

/// Translate videos with AKOOL: create jobs, wait for them, download their files
#[derive(Debug, Parser)]
#[command(name = "akool", version, after_help = help::program(), after_long_help = help::program_in_full(), max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// Use an embedded mock server, without a key or a network
    #[cfg(feature = "sandbox")]
    #[arg(long, global = true, conflicts_with_all = ["base_url", "api_key_file"])]
    pub(crate) sandbox: bool,

    /// Base URL of the API [default: $AKOOL_API_HOST, or AKOOL's own]
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) base_url: Option<String>,

    /// Read the API key from this file (`-`: standard input)
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) api_key_file: Option<PathBuf>,

    /// File of the ledger [default: $AKOOL_LEDGER, or the user's own]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) ledger: Option<PathBuf>,

    /// Work on the fleet at these URLs [default: $AKOOL_FLEET]
    #[arg(long, global = true, value_name = "URL", value_delimiter = ',')]
    pub(crate) fleet: Vec<String>,

    /// Print one JSON object per line to stdout
    #[arg(long, global = true)]
    pub(crate) json: bool,

    /// Print only results and errors
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(crate) quiet: bool,

    /// Log each poll to stderr (-vv: everything)
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Create translations of a video, wait for them and download their files
    #[command(after_help = help::TRANSLATE)]
    Translate(Box<Translate>),

    /// Wait for jobs to complete and download their files
    #[command(after_help = help::WAIT)]
    Wait(Wait),

    /// Poll jobs once and print their status
    #[command(after_help = help::STATUS)]
    Status(Ids),

    /// Download the files of completed jobs
    #[command(after_help = help::DOWNLOAD)]
    Download(Download),

    /// List the jobs that were created on this machine
    #[command(after_help = help::JOBS)]
    Jobs(Jobs),

    /// List the languages that a video can be translated into
    #[command(after_help = help::LANGUAGES)]
    Languages(Languages),

    /// Print how many credits the account has left
    #[command(after_help = help::CREDITS)]
    Credits,

    /// Check, store or remove the credential
    #[command(after_help = help::AUTH)]
    Auth(Auth),

    /// Validate AKOOL's responses against its description
    #[command(subcommand)]
    Contract(Contract),

    /// Receive or verify webhook messages
    #[command(subcommand)]
    Webhook(Webhook),

    /// Run the mock server for your own programs
    #[cfg(feature = "sandbox")]
    #[command(after_help = help::SANDBOX)]
    Sandbox(Sandbox),

    /// Run workers that share creations and waits on a Restate cluster
    #[cfg(feature = "fleet")]
    #[command(subcommand)]
    Fleet(Fleet),

    /// Says that this program was built without fleets.
    #[cfg(not(feature = "fleet"))]
    #[command(hide = true, disable_help_flag = true)]
    Fleet {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        rest: Vec<std::ffi::OsString>,
    },

    /// Serve agents with the Model Context Protocol on standard input and output
    #[cfg(feature = "mcp")]
    #[command(after_help = help::MCP)]
    Mcp(Mcp),

    /// Print shell completions
    #[command(after_help = help::COMPLETIONS)]
    Completions(Completions),

    /// Write man pages into a folder
    #[command(after_help = help::MAN)]
    Man(Man),
}

#[derive(Debug, Args)]
pub(crate) struct Ids {
    /// Job ids, as printed by `akool translate` (`_id` in the API)
    #[arg(required = true, value_name = "ID", value_parser = value::id)]
    pub(crate) ids: Vec<String>,
}

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("jobs").required(true).multiple(true).args(["ids", "pending"])))]
pub(crate) struct Wait {
    /// Job ids, as printed by `akool translate` (`_id` in the API)
    #[arg(value_name = "ID", value_parser = value::id)]
    pub(crate) ids: Vec<String>,

    /// Also wait for every job in the ledger that has not ended yet
    #[arg(long)]
    pub(crate) pending: bool,

    #[command(flatten)]
    pub(crate) follow: Follow,
}

/// How to wait for jobs, and where to save their files.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Waiting and downloading")]
pub(crate) struct Follow {
    /// How long to wait for the jobs, not counting downloads, such as 90s, 30m or 2h; `none` waits
    /// without a limit
    #[arg(long, value_name = "DURATION", default_value = "2h", value_parser = value::timeout)]
    pub(crate) timeout: Timeout,

    /// Time between polls [default: a tenth of the job's age, from 3s to 60s]
    #[arg(long, value_name = "DURATION", value_parser = value::interval)]
    pub(crate) interval: Option<Duration>,

    /// Give up after this many failed polls in a row
    #[arg(long, value_name = "N", default_value_t = 20, allow_negative_numbers = true, value_parser = value::failures)]
    pub(crate) max_failures: u32,

    /// Poll at most this often per second, over all jobs [default: no limit]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = value::rate)]
    pub(crate) max_polls_per_second: Option<f64>,

    /// Save the video, its subtitles and the video without captions to this folder, or into a store such as
    /// s3://bucket/prefix [default: that of the configuration file]
    #[arg(short, long, value_name = "DIR")]
    pub(crate) output: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) files: Files,

    /// End a download for which no further data arrives for this long [default: 2m]
    #[arg(long, value_name = "DURATION", value_parser = value::duration)]
    pub(crate) stall_timeout: Option<Duration>,

    /// Run this program, without a shell, for each completed job, after its files are saved; it reads
    /// the job as JSON from standard input
    #[arg(long, value_name = "CMD", value_parser = value::words)]
    pub(crate) on_complete: Option<Words>,
}

/// Which files to save, and their names.
#[derive(Clone, Debug, Args)]
pub(crate) struct Files {
    /// Files to save, separated by commas: video, subtitles, original-subtitles, no-captions [default: all]
    #[arg(long, value_name = "KINDS", value_delimiter = ',', value_parser = value::kind(), hide_possible_values = true)]
    pub(crate) files: Vec<FileKind>,

    /// Also save the subtitles as WebVTT
    #[arg(long)]
    pub(crate) vtt: bool,

    /// Names of the files, from {source}, {language}, {id}, {kind} and {ext} [default: talk.es.mp4,
    /// talk.es.srt, talk.es.original.srt, talk.es.no-captions.mp4]
    #[arg(long, value_name = "TEMPLATE")]
    pub(crate) name_template: Option<NameTemplate>,

    /// Replace files that already exist
    #[arg(long)]
    pub(crate) overwrite: bool,
}

/// All kinds of files.
pub(crate) const KINDS: [FileKind; 4] =
    [FileKind::Video, FileKind::Subtitles, FileKind::OriginalSubtitles, FileKind::NoCaptions];

impl Files {
    /// All files, under their usual names.
    #[cfg(feature = "mcp")]
    pub(crate) fn all() -> Self {
        Self { files: Vec::new(), vtt: false, name_template: None, overwrite: false }
    }

    /// The selected kinds.
    pub(crate) fn kinds(&self) -> Vec<FileKind> {
        KINDS.into_iter().filter(|kind| self.has(*kind)).collect()
    }

    pub(crate) fn has(&self, kind: FileKind) -> bool {
        self.files.is_empty() || self.files.contains(&kind)
    }

    /// Whether an option is set that has no effect without a folder.
    pub(crate) fn is_set(&self) -> bool {
        !self.files.is_empty() || self.vtt || self.name_template.is_some() || self.overwrite
    }
}

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("target").required(true).multiple(true).args(["to", "from_file"])))]
pub(crate) struct Translate {
    /// Public URLs of videos, which AKOOL downloads, or with --stage files of this machine and folders of them
    #[arg(value_name = "URL", required_unless_present = "from_file")]
    pub(crate) urls: Vec<String>,

    #[command(flatten)]
    pub(crate) request: Request,

    /// Translate the videos in this file (`-`: standard input): CSV with a header or JSON lines, with `url`, `to` and
    /// other options of this command as names
    #[arg(long, value_name = "FILE", conflicts_with = "urls")]
    pub(crate) from_file: Option<PathBuf>,

    /// Leave out the videos, rows and languages that are not valid, instead of creating nothing
    #[arg(long)]
    pub(crate) skip_invalid: bool,

    /// Create and pay for jobs that the ledger already has
    #[arg(long)]
    pub(crate) allow_duplicate: bool,

    /// How many jobs may be active at a time; the others are created as these end
    #[arg(long, value_name = "N", default_value_t = 20, allow_negative_numbers = true, value_parser = value::count)]
    pub(crate) max_active: usize,

    /// Print what would be created and its estimated cost, and create nothing
    #[arg(long, conflicts_with_all = ["no_wait", "report"])]
    pub(crate) dry_run: bool,

    #[command(flatten)]
    pub(crate) limits: Limits,

    /// Write the outcome of each row of the file, as JSON lines
    #[arg(long, value_name = "FILE", conflicts_with = "no_wait")]
    pub(crate) report: Option<PathBuf>,

    /// Print the job ids and do not wait
    #[arg(long, conflicts_with_all = ["timeout", "interval", "max_failures", "max_polls_per_second", "output",
        "files", "vtt", "name_template", "overwrite", "stall_timeout", "on_complete"])]
    pub(crate) no_wait: bool,

    #[command(flatten)]
    pub(crate) staging: Staging,

    #[command(flatten)]
    pub(crate) follow: Follow,
}

/// When to stop creating jobs.
#[derive(Debug, Args)]
pub(crate) struct Limits {
    /// Stop creating jobs when those of this run hold this many credits
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = value::credits)]
    pub(crate) max_credits: Option<f64>,

    /// Stop creating jobs when the balance would fall below this many credits
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = value::credits)]
    pub(crate) reserve: Option<f64>,
}

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("jobs").required(true).multiple(true).args(["ids", "expiring"])))]
pub(crate) struct Download {
    /// Job ids, as printed by `akool translate` (`_id` in the API)
    #[arg(value_name = "ID", value_parser = value::id)]
    pub(crate) ids: Vec<String>,

    /// Also download the jobs in the ledger that `akool jobs --expiring` lists
    #[arg(long)]
    pub(crate) expiring: bool,

    /// Save the files to this folder, or into a store such as s3://bucket/prefix [default: that of the configuration
    /// file, or .]
    #[arg(short, long, value_name = "DIR")]
    pub(crate) output: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) files: Files,

    /// End a download for which no further data arrives for this long [default: 2m]
    #[arg(long, value_name = "DURATION", value_parser = value::duration)]
    pub(crate) stall_timeout: Option<Duration>,
}

#[derive(Debug, Args)]
pub(crate) struct Jobs {
    /// List only jobs that have not ended yet
    #[arg(long)]
    pub(crate) pending: bool,

    /// List only jobs whose video was not saved and whose files AKOOL deletes within a day
    #[arg(long, conflicts_with_all = ["pending", "all"])]
    pub(crate) expiring: bool,

    /// Also list rejected requests and forgotten entries
    #[arg(long, conflicts_with = "pending")]
    pub(crate) all: bool,

    /// List the files of this machine that are in a store
    #[cfg(feature = "stage")]
    #[arg(long, conflicts_with_all = ["pending", "expiring", "all", "costs", "change"])]
    pub(crate) staged: bool,

    /// First poll every job that has not ended yet
    #[arg(long)]
    pub(crate) refresh: bool,

    /// Sum the credits held and charged by day (UTC), language and status
    #[arg(long, conflicts_with_all = ["pending", "expiring", "all", "change"])]
    pub(crate) costs: bool,

    /// Record the id of a job that you found for a request with an unknown outcome
    #[arg(long, value_name = "ENTRY[:LANGUAGE]=ID", value_parser = value::adoption, group = "change")]
    pub(crate) adopt: Option<(String, String)>,

    /// Remove a request with an unknown outcome, or a job, from the list
    #[arg(long, value_name = "ENTRY[:LANGUAGE]|ID", group = "change", conflicts_with_all = ["pending", "expiring", "all", "refresh"])]
    pub(crate) forget: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Languages {
    /// List only languages with this text in their code or name
    #[arg(value_name = "TEXT")]
    pub(crate) filter: Option<String>,
}

#[cfg(feature = "mcp")]
#[derive(Debug, Args)]
pub(crate) struct Mcp {
    /// Let agents create jobs that hold this many credits in all, until the server ends [default: they create nothing]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = value::credits)]
    pub(crate) max_credits: Option<f64>,

    /// Let agents save files, to this folder only [default: they save nothing]
    #[arg(short, long, value_name = "DIR")]
    pub(crate) output: Option<PathBuf>,

    /// After this time, calls return what is known. Clients give up after a minute
    #[arg(long, value_name = "DURATION", default_value = "40s", value_parser = value::step, hide = true)]
    pub(crate) max_wait: Duration,
}

#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// Shell to print completions for
    pub(crate) shell: clap_complete::Shell,
}

#[derive(Debug, Args)]
pub(crate) struct Man {
    /// Folder to write the pages to
    #[arg(value_name = "DIR")]
    pub(crate) folder: PathBuf,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Webhook {
    /// Listen for webhook messages and print each valid one
    #[command(after_help = help::WEBHOOK)]
    Listen(Listen),

    /// Verify one saved webhook message
    #[command(after_help = help::WEBHOOK)]
    Verify(Verify),
}

#[derive(Debug, Args)]
pub(crate) struct Listen {
    /// Address to listen on, for any path; port 0 takes a free port
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:4011", value_parser = value::listen)]
    pub(crate) listen: std::net::SocketAddr,

    /// Client id [default: $AKOOL_CLIENT_ID]
    #[arg(long, value_name = "ID")]
    pub(crate) client_id: Option<String>,

    /// Reject messages that are older than this, or further in the future
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = value::duration)]
    pub(crate) max_age: Duration,
}

#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// File with the body of the webhook request (`-`: standard input)
    #[arg(value_name = "FILE", default_value = "-")]
    pub(crate) file: PathBuf,

    /// Client id [default: $AKOOL_CLIENT_ID]
    #[arg(long, value_name = "ID")]
    pub(crate) client_id: Option<String>,

    /// Reject a message that is older than this, or further in the future [default: no limit]
    #[arg(long, value_name = "DURATION", value_parser = value::duration)]
    pub(crate) max_age: Option<Duration>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Contract {
    /// Poll jobs once and report what in the responses does not match the description
    #[command(after_help = help::check())]
    Check(ContractCheck),

    /// Poll jobs once and save the redacted exchanges as test fixtures
    #[command(after_help = help::RECORD)]
    Record(ContractRecord),

    /// Pass the requests of any client on to the API, and validate them and the responses
    #[command(after_help = help::proxy())]
    Proxy(ContractProxy),
}

#[derive(Debug, Args)]
pub(crate) struct ContractCheck {
    #[command(flatten)]
    pub(crate) jobs: Ids,

    /// Use the vendor's description without this project's corrections
    #[arg(long)]
    pub(crate) vendored: bool,

    /// How to print the result; `json` is the same as --json
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = Format::Text)]
    pub(crate) format: Format,

    /// Print only the fingerprint of the findings, or nothing if there are none
    #[arg(long, conflicts_with_all = ["format", "json"])]
    pub(crate) fingerprint: bool,
}

/// How `contract check` prints its result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Findings and counts for people; with -v also the conforming jobs
    Text,
    /// The events of --json
    Json,
    /// A JUnit report, for the test results of a CI system
    Junit,
    /// Annotations of GitHub Actions
    Github,
    /// A report for an issue or a comment
    Markdown,
}

#[derive(Debug, Args)]
pub(crate) struct ContractProxy {
    /// Address to listen on; port 0 takes a free port
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:4012", value_parser = value::listen)]
    pub(crate) listen: std::net::SocketAddr,

    /// Pass requests on to this address: https, or http on this machine [default: as for --base-url]
    #[arg(long, value_name = "URL", conflicts_with = "base_url")]
    pub(crate) upstream: Option<String>,

    /// Use the vendor's description without this project's corrections
    #[arg(long)]
    pub(crate) vendored: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ContractRecord {
    #[command(flatten)]
    pub(crate) jobs: Ids,

    /// Save the fixtures to this folder, without overwriting any
    #[arg(short, long, value_name = "DIR")]
    pub(crate) output: PathBuf,
}

#[cfg(feature = "sandbox")]
#[derive(Debug, Args)]
pub(crate) struct Sandbox {
    /// Address to listen on; port 0 takes a free port
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:4010", value_parser = value::listen)]
    pub(crate) listen: std::net::SocketAddr,

    /// Read jobs and faults from this file instead of using the demo jobs
    #[arg(long, value_name = "FILE")]
    pub(crate) scenarios: Option<PathBuf>,

    /// Require this bearer token for the control API under /__sandbox/, which is otherwise open to this machine only
    /// [default: the environment variable AKOOL_CONTROL_TOKEN]
    #[arg(long, value_name = "TOKEN")]
    pub(crate) control_token: Option<String>,

    /// Fetch the sources of created jobs, from http on this machine only; a job whose source cannot be fetched fails
    #[arg(long)]
    pub(crate) fetch_sources: bool,

    /// Do not report fields and parameters that the description does not contain as violations
    #[arg(long)]
    pub(crate) allow_undocumented: bool,

    /// Check whether the sandbox at this URL answers, and exit (0: it does, 6: it does not)
    #[arg(long, value_name = "URL", conflicts_with_all = ["listen", "scenarios", "control_token", "fetch_sources", "allow_undocumented"])]
    pub(crate) check: Option<url::Url>,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_defaults_are_those_of_the_library() {
        let cli = Cli::parse_from(["akool", "wait", "x"]);
        let Command::Wait(wait) = cli.command else { panic!() };
        assert_eq!(wait.follow.timeout, Timeout(Some(akool::DEFAULT_TIMEOUT)));
        assert_eq!(wait.follow.max_failures, akool::PollPolicy::default().max_failures());
    }
}
