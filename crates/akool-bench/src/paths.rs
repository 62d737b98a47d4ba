//! The folders that the measurements read and write.

use std::{fs, path::PathBuf};

use anyhow::{Context, Result};

/// This crate's folder.
pub(crate) fn home() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The workspace's folder.
pub(crate) fn workspace() -> PathBuf {
    home().join("../..")
}

/// The folder that cargo builds into.
pub(crate) fn target() -> Result<PathBuf> {
    // This program is inside of it, below `release` or `debug`.
    let me = std::env::current_exe()?;
    Ok(me.ancestors().nth(2).context("this program is not in a target folder")?.to_owned())
}

/// The folder of the committed results and plots; creates it if necessary.
pub(crate) fn results() -> Result<PathBuf> {
    let folder = home().join("results");
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    Ok(folder)
}
