//! The help texts that are longer than a line.

use crate::{
    env,
    outcome::{self, Outcome},
};

pub(super) const TRANSLATE: &str = "\
Examples:
  akool translate https://example.com/talk.mp4 --to es,fr --output out
  akool translate https://example.com/talk.mp4 --to ja --lipsync --captions translated
  akool translate https://example.com/talk.mp4 --to de --no-wait
  akool translate --from-file videos.csv --dry-run
  akool translate --from-file videos.csv --output out --max-credits 100
  akool --sandbox translate https://example.com/talk.mp4 --to es --output out
  akool translate ./talk.mp4 --to es --stage s3://bucket/prefix
  akool translate ./videos --to es --stage s3://bucket/prefix

A file has a header and a row for each video:
  url,to,lipsync
  https://example.com/talk.mp4,\"es,fr\",true
  https://example.com/intro.mp4,de,
or a line of JSON for each video, with the same names. An option of the
command line holds for every row that does not set it. The whole file is
checked before the first job is created.

Each language is a job of its own and costs credits. Each request is recorded
in a ledger before it is sent (see `akool jobs`) and is never sent twice: the
same command reuses the jobs that exist, also after a crash.

AKOOL publishes no prices. --dry-run, --max-credits and --reserve estimate the
credits of a job from the jobs in the ledger that have the same options: those
of the same video if there are any, otherwise the others. An estimate can be
wrong. So under a limit the first language of each video is sent alone, and
says how many credits the others need: a limit is exceeded by one job at most.
--max-credits counts this run; --reserve holds for all processes that share a
ledger.";

pub(super) const WAIT: &str = "\
Examples:
  akool wait 64dd92c1f0b6684651e90e09 --output out
  akool wait --pending --timeout 30m
  akool wait --pending --output out --on-complete './publish.sh --public'
  akool --sandbox wait 64dd92c1f0b6684651e90e09

If the wait stops before the jobs end, the jobs continue. Run the same command
to resume the wait.

The program of --on-complete reads one line of JSON: what the event
`completed` prints, with the source and the files that were saved. If it
fails, the exit code is 1.";

pub(super) const STATUS: &str = "Example:\n  akool status 64dd92c1f0b6684651e90e09 --json";

pub(super) const DOWNLOAD: &str = "\
Examples:
  akool download 64dd92c1f0b6684651e90e09 --output out
  akool download 64dd92c1f0b6684651e90e09 --files subtitles --vtt
  akool download --expiring --output out
  akool download 64dd92c1f0b6684651e90e09 --name-template '{language}-{source}-{kind}.{ext}'

A file that exists is never overwritten without --overwrite, unless it is
empty. If another file has the name, the id of the job is added.";

pub(super) const JOBS: &str = "\
Examples:
  akool jobs
  akool jobs --pending --refresh
  akool jobs --expiring
  akool jobs --adopt t4f20a31=64dd92c1f0b6684651e90e09
  akool jobs --adopt t4f20a31:fr=64dd92c1f0b6684651e90e0a
  akool jobs --forget t4f20a31:es

\"outcome unknown\": the program or the connection stopped before the response
arrived, so the job may have been created. Look for it in AKOOL's console. If
it is there, record its id with --adopt; `akool wait --pending` then waits for
it. If it is not there, remove the entry with --forget; the same work can then
be created.

AKOOL keeps the files of a job for seven days. They are counted from the
request here, because it is not always known when a job was completed.";

pub(super) const LANGUAGES: &str = "Examples:\n  akool languages\n  akool languages chinese";

pub(super) const AUTH: &str = "\
Examples:
  akool auth
  akool auth login
  akool auth logout

Without a command, it prints which credential is used and whether it works,
without its value.

A stored key is used only for the API address that it was stored for.
--api-key-file and the environment take precedence over it.";

pub(super) const LOGIN: &str = "\
Examples:
  akool auth login
  akool auth login < key.txt

The key is read from a hidden prompt, from standard input if that is not a
terminal, or from --api-key-file. It is stored only if AKOOL accepts it, for
the API address that --base-url or AKOOL_API_HOST selects.";

pub(super) const WEBHOOK: &str = "\
A webhook message only says that a job may have changed. Poll the job for its
status: `akool status ID`.

Examples:
  akool webhook listen --listen 0.0.0.0:8080
  akool webhook verify message.json

The client id and its secret come from AKOOL_CLIENT_ID and
AKOOL_CLIENT_SECRET. The secret is the same as the API key, so AKOOL_API_KEY
also works.";

pub(super) const RECORD: &str = "\
Example:
  akool contract record 64dd92c1f0b6684651e90e09 --output tests/recorded

Credentials, ids, personal numbers, URLs and undocumented values are replaced
by placeholders of the same type. The mock server replays such files
(`MockServer::replay`).";

#[cfg(feature = "sandbox")]
pub(super) const SANDBOX: &str = "\
Examples:
  akool sandbox --listen localhost:4010
  akool sandbox --scenarios scenarios.toml

Open its address in a browser to see the jobs and the requests that arrived.";

#[cfg(feature = "fleet")]
pub(super) const FLEET_UP: &str = "\
Examples:
  akool --sandbox fleet up
  akool fleet up --restate-server ./restate-server

Everything listens on this machine only, telemetry is off, and the data is in
akool/fleet/ in $XDG_STATE_HOME (by default ~/.local/state).";

#[cfg(feature = "fleet")]
pub(super) const FLEET_WORKER: &str = "\
Examples:
  akool fleet worker --ingress http://a:8080,http://b:8080 --admin http://a:9070
  akool fleet worker --listen 0.0.0.0:9080 --identity-key publickeyv1_... \\
      --advertise http://workers.example:9080

SIGTERM stops a worker: it takes no more work, and finishes the creations that
it has begun. All workers of a fleet use the same credential.";

#[cfg(feature = "fleet")]
pub(super) const FLEET_LIMITS: &str = "\
Examples:
  akool fleet limits
  akool fleet limits --rate 20
  akool fleet limits --pause 10m";

#[cfg(feature = "mcp")]
pub(super) const MCP: &str = "\
Examples:
  akool mcp --max-credits 100 --output out
  akool --sandbox mcp --max-credits 100 --output out
  npx @modelcontextprotocol/inspector --cli akool mcp --method tools/list

An agent's client starts this command, and speaks with it over standard input
and output. Its tools are plan, translate, status, wait, download, credits and
languages.

Without --max-credits, nothing is created. The limit counts the credits that
are held for what this server creates, also for jobs that fail and for
requests whose outcome is unknown. They are read from the ledger. AKOOL
publishes no prices, so the first language of a video is created alone if
others are asked for, and says how many credits a job needs: the limit is
exceeded by one job at most. A call whose jobs would exceed it creates
nothing. A call that is repeated returns the jobs that exist.

Calls return within 40 s with what is known, because clients give up after a
minute. Jobs and downloads go on.

The server ends when standard input ends. docs/agents.md is a guide for
agents.";

pub(super) const COMPLETIONS: &str = "\
Examples:
  akool completions bash > ~/.local/share/bash-completion/completions/akool
  akool completions zsh > ~/.zfunc/_akool
  akool completions fish > ~/.config/fish/completions/akool.fish";

pub(super) const MAN: &str = "Example:\n  akool man ~/.local/share/man/man1";

pub(super) const CREDITS: &str = "\
Examples:
  akool credits
  akool credits --json

Credits are held when a job is created, and charged when it completes. `akool
jobs --json` prints both.";

pub(super) fn program() -> String {
    let examples = "\
Examples:
  akool translate https://example.com/talk.mp4 --to es,fr --output out
  akool jobs
  akool wait --pending --output out
  akool --sandbox translate https://example.com/talk.mp4 --to es --output out";
    let exit_codes = outcome::help(Outcome::ALL.to_vec());
    format!("{examples}\n\n{exit_codes}\n\nEnvironment:\n{}", env::help())
}

/// For `akool help` and `akool --help`, but not for `akool -h`.
pub(super) fn program_in_full() -> String {
    let sandbox = if cfg!(feature = "sandbox") { SANDBOX_OPTION } else { "" };
    format!("{}\n\nGlobal options in full:\n{sandbox}{GLOBAL_OPTIONS}", program())
}

const SANDBOX_OPTION: &str = "  --sandbox
      Runs a mock server inside the program and uses it instead of AKOOL. It
      needs no key and no network, and costs nothing. Its jobs complete
      after 5 seconds. Its ledger is sandbox.db beside the real one. Its
      links stop working when the command ends.
";

const GLOBAL_OPTIONS: &str = "  --base-url URL
      The address of the API, for a proxy, or for a sandbox in another
      terminal. It has to be https, or http on this machine. Keys that
      `akool auth login` stored and entries of the ledger belong to one
      address.
  --api-key-file FILE
      Reads the key from a file that holds only the key; `-` is standard
      input. It takes precedence over the environment and over a stored key.
  --ledger FILE
      The SQLite file that remembers what was created and downloaded.
      Processes can share it. It is created if it does not exist.
  --fleet URL[,URL]
      translate, wait, jobs and status work on a fleet, at the ingress
      addresses of its cluster, instead of this machine (docs/fleet.md).
      The program needs no key then: the fleet's workers have it.
  --json
      Prints one JSON object per line to stdout, as docs/events.schema.json
      describes them. Text for people goes to stderr.
  -q, --quiet
      Prints only results and errors: no updates, and no remarks.
  -v, --verbose
      Logs each poll and each creation to stderr; with -vv also what the
      libraries log. RUST_LOG takes precedence. Credentials and links are
      not logged.";

pub(super) fn check() -> String {
    let exit_codes = outcome::help(vec![
        Outcome::Done,
        Outcome::Unexpected,
        Outcome::Usage,
        Outcome::CredentialsRefused,
        Outcome::Unreachable,
        Outcome::Drifting,
        Outcome::Violating,
    ]);
    format!("{CHECK}\n\n{exit_codes}")
}

const CHECK: &str = "\
Examples:
  akool contract check 64dd92c1f0b6684651e90e09
  akool contract check ID1 ID2 --json > report.jsonl
  akool contract check ID1 ID2 --format junit > contract.xml
  akool contract check ID1 ID2 --format markdown > issue.md

The formats json, junit, github and markdown contain the fingerprint of the
findings. It is the same as long as the findings have the same operations,
rules and places, whatever their values and order.";

pub(super) fn proxy() -> String {
    let exit_codes = outcome::help(vec![
        Outcome::Done,
        Outcome::Unexpected,
        Outcome::Usage,
        Outcome::Unreachable,
        Outcome::Drifting,
        Outcome::Violating,
    ]);
    format!("{PROXY}\n\n{exit_codes}")
}

const PROXY: &str = "\
Examples:
  akool contract proxy
  akool contract proxy --listen localhost:4012 --upstream http://localhost:4010

Use its address as the base URL of your client. The proxy passes requests and
responses on while they arrive, and changes nothing but `Host` and the headers
that concern one connection. It needs no key: it passes on the one of the
client, and never prints it. Findings are printed as they happen, with -v also
conforming exchanges. Stop it with Ctrl-C or SIGTERM: it prints counts, and the
exit code is the result. If nothing could be validated, the exit code is 1.";
