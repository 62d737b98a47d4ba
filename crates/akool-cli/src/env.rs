//! The environment variables that the program reads: the only list of them.

use std::env::{VarError, var, var_os};

pub(crate) const API_KEY: &str = "AKOOL_API_KEY";
pub(crate) const TOKEN: &str = "AKOOL_TOKEN";
pub(crate) const CLIENT_ID: &str = "AKOOL_CLIENT_ID";
pub(crate) const CLIENT_SECRET: &str = "AKOOL_CLIENT_SECRET";
pub(crate) const LEDGER: &str = "AKOOL_LEDGER";
pub(crate) const STAGE: &str = "AKOOL_STAGE";
pub(crate) const CONTROL_TOKEN: &str = "AKOOL_CONTROL_TOKEN";
pub(crate) const NO_COLOR: &str = "NO_COLOR";
pub(crate) const COLUMNS: &str = "COLUMNS";

/// The help text is made from this list, and the command reference is printed from the help text.
const ALL: [(&str, &str); 13] = [
    (API_KEY, "the API key"),
    (TOKEN, "a bearer token; set this or the key, not both"),
    (CLIENT_ID, "a client id: gets bearer tokens if no key or token is set, opens webhooks"),
    (CLIENT_SECRET, "the secret of the client id [default for webhooks: the API key]"),
    ("AKOOL_API_HOST", "the base URL of the API [default: https://openapi.akool.com]"),
    (LEDGER, "the file of the ledger of created jobs; --sandbox ignores it"),
    (STAGE, "where to upload files of this machine, as --stage"),
    (CONTROL_TOKEN, "the token for the control API of `akool sandbox`, as --control-token"),
    ("XDG_STATE_HOME", "the folder of the ledger, which is in akool/ [default: ~/.local/state]"),
    ("XDG_CONFIG_HOME", "the folder of akool/config.toml and the stored key [default: ~/.config]"),
    ("RUST_LOG", "what to log to stderr, such as akool=debug"),
    (NO_COLOR, "disables colours"),
    (COLUMNS, "the maximum width of tables [default: the width of the terminal]"),
];

pub(crate) fn help() -> String {
    let lines = ALL.iter().map(|(name, meaning)| format!("  {name:<19}  {meaning}"));
    lines.collect::<Vec<_>>().join("\n")
}

/// An empty variable counts as not set.
pub(crate) fn is_set(name: &str) -> bool {
    var_os(name).is_some_and(|value| !value.is_empty())
}

/// The value of a variable, or `None` if it is not set or empty.
///
/// # Errors
/// If the value is not valid Unicode.
pub(crate) fn get(name: &str) -> Result<Option<String>, String> {
    match var(name) {
        Ok(value) => Ok(Some(value).filter(|value| !value.is_empty())),
        Err(VarError::NotPresent) => Ok(None),
        Err(VarError::NotUnicode(_)) => {
            Err(format!("the environment variable {name} is not valid Unicode; set it again"))
        }
    }
}

/// Whether the terminal, if there is one, can neither move its cursor nor show colours.
pub(crate) fn is_dumb_terminal() -> bool {
    var_os("TERM").is_some_and(|term| term == "dumb")
}
