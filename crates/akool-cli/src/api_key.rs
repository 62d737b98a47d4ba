//! Reads an API key from a file, from standard input or from the terminal.

use std::{
    io::{self, Read},
    path::Path,
};

use akool::{Credential, Secret};
use console::Term;

use crate::input;

/// A key has less than 100 characters, so a file larger than this does not hold one.
const MAX_BYTES: u64 = 16 * 1024;

/// The key in a file; `-` is standard input.
///
/// # Errors
/// If it cannot be read, or does not hold one key and nothing else, as a message.
pub(crate) fn from_file(file: &Path) -> Result<Secret, String> {
    let is_stdin = file == Path::new("-");
    let shown = if is_stdin { "standard input".to_owned() } else { file.display().to_string() };
    let mut text = String::new();
    let read = if is_stdin {
        io::stdin().take(MAX_BYTES + 1).read_to_string(&mut text)
    } else {
        input::open(file).and_then(|file| file.take(MAX_BYTES + 1).read_to_string(&mut text))
    };
    match read {
        Err(error) => return Err(format!("cannot read the API key from {shown}: {error}")),
        Ok(_) if text.len() as u64 > MAX_BYTES => {
            return Err(format!(
                "{shown} is too large to hold an API key; use a file that holds only the key"
            ));
        }
        Ok(_) => {}
    }
    let text = text.trim_start_matches('\u{feff}').trim();
    let named = text.split_once('=').is_some_and(|(name, _)| name.ends_with("KEY"));
    if named || text.starts_with(['"', '\'']) {
        return Err(format!("{shown} holds more than an API key; use a file that holds only the key"));
    }
    validate(text).map_err(|error| format!("{shown}: {error}; use a file that holds only the key"))
}

/// Asks a person for the key of this API address. The terminal does not show what is typed.
///
/// # Errors
/// If nothing can be read, or if it does not have the form of a key, as a message.
pub(crate) fn from_terminal(address: &str) -> Result<Secret, String> {
    let terminal = Term::stderr();
    let read = terminal
        .write_str(&format!("API key for {address} (not shown): "))
        .and_then(|()| terminal.read_secure_line());
    let text = read.map_err(|error| format!("cannot read the API key from the terminal: {error}"))?;
    validate(text.trim()).map_err(|error| format!("{error}; run the command again and paste only the key"))
}

fn validate(text: &str) -> Result<Secret, String> {
    Credential::api_key(text).map_err(|error| error.to_string())?;
    Ok(text.into())
}
