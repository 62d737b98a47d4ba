//! `cargo xtask spec import`: writes the vendored description.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use openapi_keeper::{
    description,
    import::{Imported, read},
};

use crate::sources;

/// The options of an import.
#[derive(Default)]
pub(crate) struct Options {
    pub(crate) sources: Vec<PathBuf>,
    /// The source that takes precedence in conflicts.
    pub(crate) prefer: Option<PathBuf>,
    /// Why it does, for `sources.toml`.
    pub(crate) reason: Option<String>,
    /// The vendor's URLs, for `sources.toml`: one for each source, or none.
    pub(crate) origins: Vec<String>,
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
    let list = listing(options, &imported)?;
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

/// Whether the sources give the bytes that are vendored.
pub(crate) fn is_current(root: &Path, options: &Options) -> Result<bool> {
    let imported = read(&options.sources, options.prefer.as_deref())?;
    Ok(fs::read(root.join("openapi/akool.yaml")).is_ok_and(|old| old == imported.bytes))
}

/// Whether an import failed because its sources contradict each other.
pub(crate) fn is_conflict(error: &anyhow::Error) -> bool {
    error.to_string().contains("--prefer")
}

/// The text of `sources.toml`.
fn listing(options: &Options, imported: &Imported) -> Result<String> {
    let given: Vec<_> = options.sources.iter().map(|source| source.display().to_string()).collect();
    let origins = &options.origins;
    ensure!(
        origins.is_empty() || origins.len() == given.len(),
        "{} sources, but {} --origin; give one for each source, in the same order",
        given.len(),
        origins.len()
    );
    let names = if origins.is_empty() { &given } else { origins };
    let origin_of = |source: &str, file: &str| {
        let index = given.iter().position(|given| given == source);
        let origin = index.and_then(|index| origins.get(index));
        origin.map_or_else(|| file.to_owned(), Clone::clone)
    };
    let parts = imported.parts();
    let several = if parts.len() > 1 { parts } else { Vec::new() };
    let parts = several.into_iter().map(|part| sources::Part {
        origin: origin_of(part.source, part.file),
        sha256: sources::sha256(part.bytes),
        operations: part.operations,
    });
    let preferences = imported.preferences.iter().map(|preference| {
        let reason = options.reason.clone().with_context(|| {
            format!(
                "{} is defined by {} and by {}; say why the first is preferred with --reason TEXT, which is \
                 recorded in openapi/sources.toml",
                preference.pointer, preference.taken, preference.left_out
            )
        })?;
        Ok(sources::Preference {
            pointer: preference.pointer.clone(),
            taken: preference.taken.clone(),
            left_out: preference.left_out.clone(),
            reason,
        })
    });
    let preferences: Vec<_> = preferences.collect::<Result<_>>()?;
    sources::listing(
        "akool.yaml",
        &names.join(", "),
        &imported.bytes,
        &parts.collect::<Vec<_>>(),
        &preferences,
    )
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
