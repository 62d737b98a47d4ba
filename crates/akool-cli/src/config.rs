//! The configuration file: defaults for options of this user. It has no secrets, and is not written by the program.

use std::{
    fmt::Display,
    io::{ErrorKind, Read},
    path::{Path, PathBuf},
};

use etcetera::BaseStrategy;
use serde::Deserialize;
use toml::Spanned;

use crate::{
    args::{Cli, Command},
    env, input, staging,
};

/// A file that is larger is not a configuration file.
const MAX_BYTES: u64 = 64 * 1024;

/// What the file can set. An option takes precedence, then a variable, then this.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    /// As `AKOOL_STAGE`.
    stage: Option<Spanned<String>>,
    /// As `--output` of `translate`, `wait` and `download`.
    output: Option<Spanned<String>>,
}

/// Sets what neither the command line nor the environment sets. Commands that use nothing of the file do not read it.
///
/// # Errors
/// Why the file is not valid, as a message with its name and the line.
pub(crate) fn apply(cli: &mut Cli) -> Result<(), String> {
    if !matches!(cli.command, Command::Translate(_) | Command::Wait(_) | Command::Download(_)) {
        return Ok(());
    }
    let Ok(strategy) = etcetera::choose_base_strategy() else { return Ok(()) };
    let (stage, output) = read(&strategy.config_dir().join("akool").join("config.toml"))?;
    match &mut cli.command {
        Command::Translate(options) => {
            if let Some(stage) = stage.filter(|_| !env::is_set(env::STAGE)) {
                options.staging.set_default(stage);
            }
            if !options.no_wait {
                options.follow.output = options.follow.output.take().or(output);
            }
        }
        Command::Wait(options) => options.follow.output = options.follow.output.take().or(output),
        Command::Download(options) => options.output = options.output.take().or(output),
        _ => {}
    }
    Ok(())
}

/// The stage and the place for results. Without a file, nothing is set.
fn read(path: &Path) -> Result<(Option<String>, Option<PathBuf>), String> {
    let shown = path.display();
    let file = match input::open(path) {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok((None, None));
        }
        other => other,
    };
    let mut text = String::new();
    let read = file.and_then(|file| file.take(MAX_BYTES + 1).read_to_string(&mut text));
    read.map_err(|error| format!("cannot read {shown}: {error}; correct or remove it"))?;
    if text.len() as u64 > MAX_BYTES {
        return Err(format!("{shown} has more than {MAX_BYTES} bytes; it is not a configuration file"));
    }
    let wrong = |at: usize, why: &dyn Display| {
        let line = text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1;
        format!("{shown}, line {line}: {why}")
    };
    // The message does not quote the line, which may have a secret.
    let config: Config = toml::from_str(&text).map_err(|error| {
        let why = format!(
            "{}. The keys are stage and output, with texts as values. `akool auth login` stores an API key",
            error.message()
        );
        wrong(error.span().map_or(0, |span| span.start), &why)
    })?;
    if let Some(stage) = &config.stage {
        staging::check_location(stage.get_ref()).map_err(|why| wrong(stage.span().start, &why))?;
    }
    if let Some(output) = &config.output
        && (output.get_ref().is_empty() || output.get_ref().starts_with('~'))
    {
        return Err(wrong(
            output.span().start,
            &"output is a folder or a store; write it in full, without ~",
        ));
    }
    Ok((config.stage.map(Spanned::into_inner), config.output.map(|path| path.into_inner().into())))
}
