//! What can be said on the command line.

use std::{path::PathBuf, time::Duration};

use akool::VoiceStyle;
use clap::{
    Args, Parser, Subcommand, ValueEnum,
    builder::{PossibleValue, PossibleValuesParser, TypedValueParser},
};

const AFTER_HELP: &str = "\
Examples:
  akool translate https://example.com/talk.mp4 --to es,fr --output out
  akool jobs
  akool wait --pending --output out
  akool --sandbox translate https://example.com/talk.mp4 --to es --output out

Exit codes:
  0    all is done (`status`: all were read; `--no-wait`: all were created)
  1    anything unexpected, such as an id that the service does not know
  2    wrong use or configuration
  3    a job failed, or a language was refused
  4    not completed yet, or the timeout passed; the job goes on
  5    the credentials were refused
  6    the service could not be reached, or kept failing
  7    the outcome is unknown: a job may have been created and paid for
  8    answers hold what is not described, and nothing against the description (`contract check`)
  9    answers are not as described (`contract check`)
  130  interrupted; the jobs go on
Of several endings, the first of 130, 2, 7, 5, 9, 6, 1, 3, 4, 8 counts.

Environment:
  AKOOL_API_KEY        the API key
  AKOOL_TOKEN          a bearer token, instead of the key
  AKOOL_CLIENT_ID      a client id to get tokens with, where neither of these is set ...
  AKOOL_CLIENT_SECRET  ... and its secret
  AKOOL_API_HOST       the service's address, instead of https://openapi.akool.com
  XDG_STATE_HOME       where the ledger of created jobs is, in akool/ [default: ~/.local/state]
  RUST_LOG             what to log to stderr, such as akool=debug
  NO_COLOR             no colours
  COLUMNS              how wide tables may be, instead of the terminal's width";

/// Translate videos with AKOOL: create, wait, fetch.
#[derive(Debug, Parser)]
#[command(name = "akool", version, about = "Translate videos with AKOOL: create, wait, fetch", after_help = AFTER_HELP, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// Use an embedded mock server: no key, no network, credentials of the environment ignored
    #[cfg(feature = "sandbox")]
    #[arg(long, global = true, conflicts_with_all = ["base_url", "api_key_file"])]
    pub(crate) sandbox: bool,

    /// The service's address [default: $AKOOL_API_HOST, or https://openapi.akool.com]
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) base_url: Option<String>,

    /// Read the API key from this file (`-`: from standard input)
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) api_key_file: Option<PathBuf>,

    /// Print one JSON object a line to stdout, and nothing else there
    #[arg(long, global = true)]
    pub(crate) json: bool,

    /// Print results and errors only
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(crate) quiet: bool,

    /// Log each poll to stderr; twice: with everything that the program does
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Create translations of a video, wait for them, and fetch their files
    #[command(after_help = crate::translate::AFTER_HELP)]
    Translate(Box<Translate>),

    /// Wait until jobs are completed, and fetch their files
    #[command(after_help = "\
Examples:
  akool wait 64dd92c1f0b6684651e90e09 --output out
  akool wait --pending --timeout 30m
  akool --sandbox wait 64dd92c1f0b6684651e90e09

An early end does not end the jobs: run the same command again to pick them up.")]
    Wait(Wait),

    /// Poll jobs once and say where they stand
    #[command(after_help = "Example:\n  akool status 64dd92c1f0b6684651e90e09 --json")]
    Status(Ids),

    /// Fetch the files of completed jobs
    #[command(after_help = "Example:\n  akool download 64dd92c1f0b6684651e90e09 --output out")]
    Download(Download),

    /// List the jobs that were created from here, and what is known of them
    #[command(after_help = crate::jobs::AFTER_HELP)]
    Jobs(Jobs),

    /// List the languages that videos can be translated into
    #[command(after_help = "Examples:\n  akool languages\n  akool languages chinese")]
    Languages(Languages),

    /// Say which credential is used, and whether it works, without showing it
    Auth,

    /// Hold the service's answers against its description
    #[command(subcommand)]
    Contract(Contract),

    /// Receive or check what the service sends to a webhook
    #[command(subcommand)]
    Webhook(Webhook),

    /// Run the mock server as a server, for programs of your own
    #[cfg(feature = "sandbox")]
    #[command(after_help = "\
Examples:
  akool sandbox --listen localhost:4010
  akool sandbox --scenarios scenarios.toml

In a browser, its address shows the jobs and the requests that came.")]
    Sandbox(Sandbox),

    /// Print completions for a shell
    #[command(after_help = "\
Examples:
  akool completions bash > ~/.local/share/bash-completion/completions/akool
  akool completions zsh > ~/.zfunc/_akool
  akool completions fish > ~/.config/fish/completions/akool.fish")]
    Completions(Completions),

    /// Write the man pages into a folder
    #[command(after_help = "Example:\n  akool man ~/.local/share/man/man1")]
    Man(Man),
}

#[derive(Debug, Args)]
pub(crate) struct Ids {
    /// The jobs: the `_id` that their creation answered
    #[arg(required = true, value_name = "ID", value_parser = id)]
    pub(crate) ids: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Wait {
    /// The jobs: the `_id` that their creation answered
    #[arg(required_unless_present = "pending", value_name = "ID", value_parser = id)]
    pub(crate) ids: Vec<String>,

    /// Also wait for every job that was created from here and has not ended yet
    #[arg(long)]
    pub(crate) pending: bool,

    #[command(flatten)]
    pub(crate) follow: Follow,
}

/// How jobs are followed to their end.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Waiting and fetching")]
pub(crate) struct Follow {
    /// How long to wait for the jobs, downloads not counted, such as 90s, 30m or 2h; `none`: as long
    /// as it takes
    #[arg(long, value_name = "DURATION", default_value = "2h", value_parser = timeout)]
    pub(crate) timeout: Timeout,

    /// Look at this interval [default: a tenth of the job's age, from 3s to 60s]
    #[arg(long, value_name = "DURATION", value_parser = interval)]
    pub(crate) interval: Option<Duration>,

    /// Give up after this many failed polls in a row
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max_failures: u32,

    /// Save the video, its subtitles and the video without captions into this folder
    #[arg(short, long, value_name = "DIR")]
    pub(crate) output: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Translate {
    /// Where the video is, for the service to fetch
    #[arg(value_name = "URL")]
    pub(crate) url: String,

    /// The target languages, joined by commas; `akool languages` lists them
    #[arg(long, value_name = "LANGUAGES", required = true, value_delimiter = ',')]
    pub(crate) to: Vec<String>,

    /// The language that is spoken in the video [default: detected]
    #[arg(long, value_name = "LANGUAGE")]
    pub(crate) source_language: Option<String>,

    /// Move lips to the new voice
    #[arg(long)]
    pub(crate) lipsync: bool,

    /// How many people speak, up to 10; 0 detects it [default: 0]
    #[arg(long, value_name = "N")]
    pub(crate) speakers: Option<u8>,

    /// Remove background music
    #[arg(long)]
    pub(crate) remove_background_music: bool,

    /// Subtitles in the picture: none, original, translated, replaced (the original ones by translated
    /// ones) or added (translated ones to the original ones) [default: none]
    #[arg(long, value_name = "KIND", hide_possible_values = true)]
    pub(crate) captions: Option<Captions>,

    /// Where an SRT or ASS file with subtitles is, for the service to fetch
    #[arg(long, value_name = "URL")]
    pub(crate) caption_file: Option<String>,

    /// Leave a word as it is; may be given several times, as the next two
    #[arg(long, value_name = "WORD")]
    pub(crate) keep_word: Vec<String>,

    /// Translate a word in this way
    #[arg(long, value_name = "WORD=TRANSLATION", value_parser = pair)]
    pub(crate) translate_word: Vec<(String, String)>,

    /// Pronounce a word in this way
    #[arg(long, value_name = "WORD=SOUND", value_parser = pair)]
    pub(crate) pronounce_word: Vec<(String, String)>,

    /// How the new voice speaks [default: professional]
    #[arg(long, value_name = "STYLE", value_parser = style())]
    pub(crate) style: Option<VoiceStyle>,

    /// Let the video's length change to fit the speech
    #[arg(long)]
    pub(crate) dynamic_duration: bool,

    /// A link that the service calls when the jobs change
    #[arg(long, value_name = "URL")]
    pub(crate) webhook: Option<String>,

    /// Create also what was created before: it is paid for once more
    #[arg(long)]
    pub(crate) allow_duplicate: bool,

    /// Print the ids and wait for nothing
    #[arg(long, conflicts_with_all = ["timeout", "interval", "max_failures", "output"])]
    pub(crate) no_wait: bool,

    #[command(flatten)]
    pub(crate) follow: Follow,
}

/// `--captions`.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Captions {
    None,
    Original,
    Translated,
    Replaced,
    Added,
}

#[derive(Debug, Args)]
pub(crate) struct Download {
    #[command(flatten)]
    pub(crate) jobs: Ids,

    /// Save the files into this folder
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    pub(crate) output: PathBuf,

    /// Fetch also files that are there already
    #[arg(long)]
    pub(crate) overwrite: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Jobs {
    /// Only what has not ended yet
    #[arg(long)]
    pub(crate) pending: bool,

    /// Also requests of which nothing came, and what was forgotten
    #[arg(long, conflicts_with = "pending")]
    pub(crate) all: bool,

    /// Poll every job that has not ended yet
    #[arg(long)]
    pub(crate) refresh: bool,

    /// Say that a job came of a request whose outcome was unknown: you have found it
    #[arg(long, value_name = "ENTRY[:LANGUAGE]=ID", value_parser = adoption, group = "say")]
    pub(crate) adopt: Option<(String, String)>,

    /// Take what is unknown of a request off the list, or a job: you know that nothing came of it
    #[arg(long, value_name = "ENTRY[:LANGUAGE]|ID", group = "say", conflicts_with_all = ["pending", "all", "refresh"])]
    pub(crate) forget: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Languages {
    /// Only those with this text in their code or name
    #[arg(value_name = "TEXT")]
    pub(crate) filter: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// The shell
    pub(crate) shell: clap_complete::Shell,
}

#[derive(Debug, Args)]
pub(crate) struct Man {
    /// The folder
    #[arg(value_name = "DIR")]
    pub(crate) folder: PathBuf,
}

/// What an event is worth, for the help of both commands.
const EVENT_HELP: &str = "\
An event is a trigger and proves little: ask for the truth with `akool status ID`.

Examples:
  akool webhook listen --listen 0.0.0.0:8080
  akool webhook verify message.json

Environment:
  AKOOL_CLIENT_ID      the client id
  AKOOL_CLIENT_SECRET  the client secret [default: $AKOOL_API_KEY, which is the same]";

#[derive(Debug, Subcommand)]
pub(crate) enum Webhook {
    /// Listen for messages and print each that is right
    #[command(after_help = EVENT_HELP)]
    Listen(Listen),

    /// Check one saved message and say what is wrong with it
    #[command(after_help = EVENT_HELP)]
    Verify(Verify),
}

#[derive(Debug, Args)]
pub(crate) struct Listen {
    /// Where to listen, for any path; port 0 takes any that is free
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:4011")]
    pub(crate) listen: std::net::SocketAddr,

    /// The client id [default: $AKOOL_CLIENT_ID]
    #[arg(long, value_name = "ID")]
    pub(crate) client_id: Option<String>,

    /// Refuse messages that are older than this, or as far ahead
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = duration)]
    pub(crate) max_age: Duration,
}

#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// The body of the request, as it came (`-`: from standard input)
    #[arg(value_name = "FILE", default_value = "-")]
    pub(crate) file: PathBuf,

    /// The client id [default: $AKOOL_CLIENT_ID]
    #[arg(long, value_name = "ID")]
    pub(crate) client_id: Option<String>,

    /// Refuse a message that is older than this, or as far ahead [default: take any]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) max_age: Option<Duration>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Contract {
    /// Poll jobs once and say what in the answers is not as described
    #[command(after_help = "\
Examples:
  akool contract check 64dd92c1f0b6684651e90e09
  akool contract check ID1 ID2 --json > report.jsonl

Exit codes: 0 conforming, 8 drifting (something new, nothing against the description), 9 violating,
6 unreachable, 5 credentials refused, 1 the service refused to show a job, 2 wrong use. Of several,
the first of 2, 5, 9, 6, 1, 8 counts.")]
    Check(ContractCheck),

    /// Poll jobs once and save the exchanges, redacted, as fixtures for tests
    #[command(after_help = "\
Example:
  akool contract record 64dd92c1f0b6684651e90e09 --output tests/recorded

Credentials, ids, personal numbers, links and all that is not described are replaced by placeholders of the
same type. The mock server replays such files (`MockServer::replay`).")]
    Record(ContractRecord),
}

#[derive(Debug, Args)]
pub(crate) struct ContractCheck {
    #[command(flatten)]
    pub(crate) jobs: Ids,

    /// Hold them against the vendor's page as it is, without this project's corrections
    #[arg(long)]
    pub(crate) documented: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ContractRecord {
    #[command(flatten)]
    pub(crate) jobs: Ids,

    /// Save the fixtures into this folder; none is overwritten
    #[arg(short, long, value_name = "DIR")]
    pub(crate) output: PathBuf,
}

#[cfg(feature = "sandbox")]
#[derive(Debug, Args)]
pub(crate) struct Sandbox {
    /// Where to listen; port 0 takes any that is free
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:4010", value_parser = listen)]
    pub(crate) listen: std::net::SocketAddr,

    /// Read jobs and faults from this file, in place of the sandbox's own jobs
    #[arg(long, value_name = "FILE")]
    pub(crate) scenarios: Option<PathBuf>,
}

/// An address, by number or by name.
#[cfg(feature = "sandbox")]
fn listen(text: &str) -> Result<std::net::SocketAddr, String> {
    use std::net::ToSocketAddrs;

    let wrong = |error: std::io::Error| format!("{error}; write it as 127.0.0.1:4010 or localhost:4010");
    let addresses: Vec<_> = text.to_socket_addrs().map_err(wrong)?.collect();
    // A name of this machine has one of each kind; the older one is what most programs try.
    let address = addresses.iter().find(|address| address.is_ipv4()).or(addresses.first());
    address.copied().ok_or_else(|| format!("{text} has no address"))
}

/// `--timeout`: a duration, or explicitly none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Timeout(pub(crate) Option<Duration>);

fn timeout(text: &str) -> Result<Timeout, String> {
    if text == "none" {
        return Ok(Timeout(None));
    }
    duration(text).map(|duration| Timeout(Some(duration)))
}

fn interval(text: &str) -> Result<Duration, String> {
    let interval = duration(text)?;
    if interval < Duration::from_millis(10) {
        return Err("the shortest interval is 10ms".to_owned());
    }
    Ok(interval)
}

fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|_| "it is no duration; write it as 90s, 30m or 2h".to_owned())
}

/// `A=B`, both not empty.
fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((left, right)) if !left.trim().is_empty() && !right.trim().is_empty() => {
            Ok((left.trim().to_owned(), right.trim().to_owned()))
        }
        _ => Err("write it as LEFT=RIGHT".to_owned()),
    }
}

fn adoption(text: &str) -> Result<(String, String), String> {
    pair(text).map_err(|_| "write it as ENTRY=ID or ENTRY:LANGUAGE=ID".to_owned())
}

/// The styles of the description, with a list of them where another one is given.
fn style() -> impl TypedValueParser<Value = VoiceStyle> {
    let names = akool::Translate::STYLES.iter().map(|style| PossibleValue::new(style.to_string()));
    PossibleValuesParser::new(names).try_map(|name| name.parse::<VoiceStyle>())
}

fn id(text: &str) -> Result<String, String> {
    let id = text.trim();
    if id.is_empty() {
        return Err("an id is not empty".to_owned());
    }
    Ok(id.to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_holds() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_default_timeout_is_the_librarys() {
        let cli = Cli::parse_from(["akool", "wait", "x"]);
        let Command::Wait(wait) = cli.command else { panic!() };
        assert_eq!(wait.follow.timeout, Timeout(Some(akool::DEFAULT_TIMEOUT)));
        assert_eq!(wait.follow.max_failures, akool::PollPolicy::default().max_failures());
    }
}
