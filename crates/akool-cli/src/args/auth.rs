//! The commands of `akool auth`.

use clap::{Args, Subcommand};

use super::help;

#[derive(Debug, Args)]
pub(crate) struct Auth {
    #[command(subcommand)]
    pub(crate) command: Option<StoredKey>,
}

/// Changes the stored key.
#[derive(Debug, Subcommand)]
pub(crate) enum StoredKey {
    /// Store an API key in the system's keyring, or else in a file that only you can read
    #[command(after_help = help::LOGIN)]
    Login,

    /// Remove the stored API key from the keyring and from the file
    Logout,
}
