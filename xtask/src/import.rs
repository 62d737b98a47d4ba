//! `cargo xtask spec import`: writes the vendored description.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use openapi_keeper::{
    description,
    import::{Imported, read},
};

use crate::sources;

/// The options of an import.
pub(crate) struct Options {
    pub(crate) sources: Vec<PathBuf>,
    /// The source that takes precedence in conflicts.
    pub(crate) prefer: Option<PathBuf>,
    /// The vendor's URL, for `sources.toml`.
    pub(crate) origin: Option<String>,
    /// Write to standard output and not to files.
    pub(crate) print: bool,
    /// The files are restored afterwards.
    pub(crate) dry_run: bool,
}

/// Reads all sources and writes `openapi/akool.yaml` and `openapi/sources.toml`, or nothing.
pub(crate) fn run(root: &Path, options: &Options) -> Result<Imported> {
    let imported = read(&options.sources, options.prefer.as_deref())?;
    let Imported { bytes, notes, .. } = &imported;
    if options.print {
        for note in notes {
            eprintln!("note: {note}");
        }
        std::io::stdout().write_all(bytes).context("cannot write to standard output")?;
        return Ok(imported);
    }
    let openapi = root.join("openapi");
    let target = openapi.join("akool.yaml");
    let before = fs::read(&target).ok();
    let given: Vec<_> = options.sources.iter().map(|source| source.display().to_string()).collect();
    let origin = options.origin.clone().unwrap_or_else(|| given.join(", "));
    let list = sources::listing("akool.yaml", &origin, bytes)?;
    for note in notes {
        println!("note: {note}");
    }
    if before.as_deref() == Some(&bytes[..]) {
        println!("unchanged   openapi/akool.yaml");
        return Ok(imported);
    }
    description::write(&target, bytes).context("cannot write openapi/akool.yaml")?;
    description::write(&openapi.join("sources.toml"), list.as_bytes())
        .context("cannot write openapi/sources.toml")?;
    let written = if options.dry_run { "would write" } else { "written" };
    println!("{written:<11} openapi/akool.yaml\n{written:<11} openapi/sources.toml");
    Ok(imported)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_of_the_vendor_gives_the_vendored_file() {
        let vendored = include_str!("../../openapi/akool.yaml");
        let folder = tempfile::tempdir().unwrap();
        let page = folder.path().join("get.md");
        let text =
            format!("# Get\n\n````yaml GET /api/open/v3/content/video/infobymodelid\n{vendored}\n````\n");
        fs::write(&page, text).unwrap();
        assert_eq!(read(&[page], None).unwrap().bytes, vendored.as_bytes());
    }
}
