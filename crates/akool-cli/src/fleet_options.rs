//! `--fleet` and `AKOOL_FLEET`: the addresses of a fleet, and the options that a fleet cannot honour.

use url::Url;

use crate::{
    args::{Cli, Command, Follow, Global, Jobs, Translate},
    env,
};

/// The next step if the program cannot use a fleet.
pub(crate) const REBUILD: &str =
    "this program was built without the feature `fleet`; build it with --features fleet";

/// The options that are refused on a fleet, and why. docs/fleet.md has the same list.
const REFUSED: [(&str, &str); 19] = [
    ("--sandbox", "the workers decide: start them with --sandbox"),
    ("--base-url", "the workers decide: start them with it"),
    ("--api-key-file", "the workers have the credential"),
    ("--ledger", "the fleet records the jobs"),
    ("--max-credits", "a fleet knows no limit on credits"),
    ("--reserve", "a fleet knows no limit on credits"),
    ("--dry-run", "only a ledger estimates credits"),
    ("--stage", "the files of this machine are not uploaded for a fleet"),
    ("--keep-staged", "the files of this machine are not uploaded for a fleet"),
    ("--link-lifetime", "the files of this machine are not uploaded for a fleet"),
    ("--strict-limits", "the files of this machine are not uploaded for a fleet"),
    ("--on-complete", "pass a handler or a callback to the fleet instead"),
    ("--max-polls-per-second", "`akool fleet limits` sets it for all workers"),
    ("--max-failures", "a fleet that waits for a job already keeps its limit; set it with translate"),
    ("--refresh", "the fleet polls its jobs itself"),
    ("--expiring", "a fleet does not know what was saved on this machine"),
    ("--costs", "a fleet does not sum credits"),
    ("--all", "a fleet keeps neither rejected requests nor forgotten entries"),
    ("--staged", "the files of this machine are not uploaded for a fleet"),
];

/// The addresses of the fleet that a command line works on. Empty: it works on this machine.
///
/// # Errors
/// An address that is not valid, or an option that a fleet cannot honour, as a message.
pub(crate) fn addresses(cli: &Cli) -> Result<Vec<Url>, String> {
    let (given, from) = given(&cli.global)?;
    let set = match &cli.command {
        _ if given.is_empty() => return Ok(Vec::new()),
        Command::Translate(options) => of_translate(options),
        Command::Wait(options) => of_wait(&options.follow),
        Command::Jobs(options) => of_jobs(options),
        Command::Status(_) => Vec::new(),
        // The variable is about the commands above.
        _ if from == env::FLEET => return Ok(Vec::new()),
        _ => return Err("--fleet works with translate, wait, jobs and status only; remove it".to_owned()),
    };
    if !cfg!(feature = "fleet") {
        return Err(format!("{from} is set, and {REBUILD}, or remove {from}"));
    }
    let set = of_global(&cli.global).into_iter().chain(set);
    if let Some((name, _)) = set.into_iter().find(|(_, is_set)| *is_set) {
        let why = REFUSED.iter().find(|(known, _)| *known == name).map_or("", |(_, why)| why);
        return Err(format!("{name} does not work on a fleet ({why}); remove {name}, or {from}"));
    }
    parse(given, from)
}

/// The addresses as they are given, and by what.
pub(crate) fn given(global: &Global) -> Result<(Vec<String>, &'static str), String> {
    let (given, from) = match &global.fleet[..] {
        [] => (env::get(env::FLEET)?.unwrap_or_default(), env::FLEET),
        given => (given.join(","), "--fleet"),
    };
    let urls = given.split(',').map(str::trim).filter(|url| !url.is_empty());
    Ok((urls.map(ToOwned::to_owned).collect(), from))
}

/// # Errors
/// An address that is not valid, as a message.
pub(crate) fn parse(given: Vec<String>, from: &str) -> Result<Vec<Url>, String> {
    let parse = |text: String| {
        let url =
            Url::parse(&text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        url.ok_or_else(|| {
            let shown = akool::redact::excerpt(&text);
            format!("{from}: \"{shown}\" is not the address of an ingress, such as http://127.0.0.1:8080")
        })
    };
    given.into_iter().map(parse).collect()
}

type Set = (&'static str, bool);

fn of_global(global: &Global) -> Vec<Set> {
    vec![
        #[cfg(feature = "sandbox")]
        ("--sandbox", global.sandbox),
        ("--base-url", global.base_url.is_some()),
        ("--api-key-file", global.api_key_file.is_some()),
        ("--ledger", global.ledger.is_some()),
    ]
}

fn of_translate(options: &Translate) -> Vec<Set> {
    vec![
        ("--max-credits", options.limits.max_credits.is_some()),
        ("--reserve", options.limits.reserve.is_some()),
        ("--dry-run", options.dry_run),
        #[cfg(feature = "stage")]
        ("--stage", options.staging.stage.is_some()),
        #[cfg(feature = "stage")]
        ("--keep-staged", options.staging.keep_staged),
        #[cfg(feature = "stage")]
        ("--link-lifetime", options.staging.link_lifetime.is_some()),
        #[cfg(feature = "stage")]
        ("--strict-limits", options.staging.strict_limits),
        ("--on-complete", options.follow.on_complete.is_some()),
        ("--max-polls-per-second", options.follow.max_polls_per_second.is_some()),
    ]
}

fn of_wait(follow: &Follow) -> Vec<Set> {
    let max_failures = akool::PollPolicy::default().max_failures();
    vec![
        ("--on-complete", follow.on_complete.is_some()),
        ("--max-polls-per-second", follow.max_polls_per_second.is_some()),
        ("--max-failures", follow.max_failures != max_failures),
    ]
}

fn of_jobs(options: &Jobs) -> Vec<Set> {
    vec![
        ("--refresh", options.refresh),
        ("--expiring", options.expiring),
        ("--costs", options.costs),
        ("--all", options.all),
        #[cfg(feature = "stage")]
        ("--staged", options.staged),
    ]
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[test]
    fn the_document_has_the_options_that_are_refused() {
        let document = include_str!("../../../docs/fleet.md");
        for (name, why) in REFUSED {
            assert!(
                document.contains(&format!("| `{name}` | {why} |")),
                "docs/fleet.md lacks: | `{name}` | {why} |"
            );
        }
    }

    #[test]
    fn each_option_that_a_command_refuses_has_a_reason() {
        let parse = |args: &[&str]| Cli::try_parse_from([&["akool"], args].concat()).unwrap();
        let commands =
            [parse(&["translate", "https://a", "--to", "es"]), parse(&["wait", "a"]), parse(&["jobs"])];
        let mut names = of_global(&commands[0].global);
        for cli in &commands {
            names.extend(match &cli.command {
                Command::Translate(options) => of_translate(options),
                Command::Wait(options) => of_wait(&options.follow),
                Command::Jobs(options) => of_jobs(options),
                _ => unreachable!(),
            });
        }
        for (name, is_set) in names {
            assert!(!is_set, "{name} is not set");
            assert!(REFUSED.iter().any(|(known, _)| *known == name), "{name} has no reason");
        }
    }
}
