//! The description of a project: the vendored sources, merged in memory, with the overlays applied.
//!
//! One configuration file says where everything is. Paths are relative to it:
//!
//! ```toml
//! sources = "sources.toml"          # the vendored files beside it: origin, date, SHA-256, operations
//! overlays = "overlays"             # the folder of the corrections
//! resolved = "api.resolved.yaml"    # the description with the corrections, written by code generation
//! accepted = "spec-accepted.toml"   # the findings of the comparison that were reviewed; may be missing
//! ```

use std::{
    cell::OnceCell,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use toml::value::Date;

use crate::{
    description,
    diff::Accepted,
    lines::Lines,
    merge::{Input, Merged, Prefer, merge},
    overlay,
    source::{Fragment, operations},
};

/// The first lines of the list of sources.
const HEADER: &str = "\
# The vendored sources and the operations that are taken from each, written by the import. A file that does not match
# its SHA-256 is rejected: put corrections into overlays, and never edit the vendored bytes.

";

/// The configuration file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    sources: PathBuf,
    overlays: PathBuf,
    resolved: PathBuf,
    accepted: PathBuf,
}

/// The description of a project.
///
/// ```
/// # fn main() -> anyhow::Result<()> {
/// # let folder = tempfile::tempdir()?;
/// # let file = folder.path().join("keeper.toml");
/// # let names = "sources = 'sources.toml'\noverlays = 'overlays'\nresolved = 'api.resolved.yaml'\naccepted = 'accepted.toml'";
/// # std::fs::write(&file, names)?;
/// # let page = folder.path().join("page.md");
/// # std::fs::write(&page, "```yaml GET /talks\nopenapi: 3.0.3\npaths: {/talks: {get: {responses: {}}}}\n```\n")?;
/// # std::fs::create_dir(folder.path().join("overlays"))?;
/// use openapi_keeper::{import::Options, project::Project};
///
/// let project = Project::open(&file)?;
/// let plan = project.plan(&Options { sources: vec![page], ..Options::default() })?;
/// project.write(&plan)?;
/// // The description with the corrections.
/// let resolved = project.resolve()?;
/// assert!(resolved.document["paths"]["/talks"].is_object());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Project {
    folder: PathBuf,
    config: Config,
}

/// The list of sources.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Sources {
    /// In the order in which they are merged.
    #[serde(default, rename = "source")]
    pub sources: Vec<Source>,
    /// The definitions that two of them have.
    #[serde(default, rename = "preference", skip_serializing_if = "Vec::is_empty")]
    pub preferences: Vec<Preference>,
}

/// A vendored file.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// The path, relative to the list.
    pub file: String,
    /// The vendor's URL, or the file that it was copied from.
    pub origin: String,
    /// The date of the copy.
    pub retrieved: Date,
    /// In hexadecimal.
    pub sha256: String,
    /// The operations that are taken from it, such as `GET /path`.
    pub operations: Vec<String>,
}

/// Which of two definitions is taken, and why.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Preference {
    /// The place in the description.
    pub pointer: String,
    /// The file whose definition is taken.
    pub taken: String,
    /// The file whose definition is left out.
    pub left_out: String,
    /// Why.
    pub reason: String,
}

/// The merged sources.
#[derive(Debug)]
pub struct Vendored {
    /// The description.
    pub document: Value,
    /// The sources.
    pub fragments: Vec<Fragment>,
    pub(crate) merged: Merged,
    /// The lines of each source, when the first place is located.
    lines: OnceCell<Vec<Lines>>,
}

impl Vendored {
    pub(crate) fn of(fragments: Vec<Fragment>, taken: &[Vec<String>], prefer: Prefer<'_>) -> Result<Self> {
        let mut merged = match &fragments[..] {
            // Everything in a single source is kept, used or not.
            [only] if taken.first().is_some_and(|taken| *taken == operations(&only.document)) => {
                let owners = [(String::new(), 0)].into_iter().collect();
                Merged { document: only.document.clone(), owners, ..Merged::default() }
            }
            several => {
                let inputs = several.iter().zip(taken).map(|(fragment, operations)| Input {
                    shown: fragment.shown(),
                    document: &fragment.document,
                    operations,
                });
                merge(&inputs.collect::<Vec<_>>(), prefer)?
            }
        };
        Ok(Self { document: merged.document.take(), fragments, merged, lines: OnceCell::new() })
    }

    /// The file and line that a place of the description comes from.
    pub fn locate(&self, pointer: &str) -> (String, usize) {
        let mut at = pointer;
        let owner = loop {
            match (self.merged.owners.get(at), at.rsplit_once('/')) {
                (Some(owner), _) => break *owner,
                (None, Some((parent, _))) => at = parent,
                (None, None) => break 0,
            }
        };
        let read = || self.fragments.iter().map(|fragment| Lines::of(&fragment.bytes)).collect();
        let lines = self.lines.get_or_init(read);
        let place = |(fragment, lines): (&Fragment, &Lines)| {
            (fragment.file.clone(), fragment.line + lines.line(pointer))
        };
        self.fragments.iter().zip(lines).nth(owner).map(place).unwrap_or_default()
    }
}

/// The description with every overlay applied.
#[derive(Debug)]
pub struct Resolved {
    /// The description without overlays.
    pub vendored: Value,
    /// The description with overlays.
    pub document: Value,
    /// The input files, relative to the configuration: name and SHA-256.
    pub inputs: Vec<(String, String)>,
}

impl Project {
    /// Reads a configuration file.
    ///
    /// # Errors
    /// If it cannot be read or is not valid.
    pub fn open(file: &Path) -> Result<Self> {
        let shown = file.display();
        let text = fs::read_to_string(file).with_context(|| format!("cannot read {shown}"))?;
        let config = toml::from_str(&text).with_context(|| format!("{shown} is not valid"))?;
        Ok(Self { folder: file.parent().unwrap_or(Path::new("")).to_owned(), config })
    }

    /// The folder of the overlays.
    pub fn overlays(&self) -> PathBuf {
        self.folder.join(&self.config.overlays)
    }

    /// The file of the resolved description.
    pub fn resolved_file(&self) -> PathBuf {
        self.folder.join(&self.config.resolved)
    }

    /// The list of sources as a file.
    pub fn sources_file(&self) -> PathBuf {
        self.folder.join(&self.config.sources)
    }

    /// The folder of the vendored files.
    pub(crate) fn vendored_folder(&self) -> PathBuf {
        self.sources_file().parent().unwrap_or(Path::new("")).to_owned()
    }

    /// How messages call a vendored file.
    pub(crate) fn shown(&self, file: &str) -> String {
        let folder = self.vendored_folder();
        let folder = folder.file_name().unwrap_or_default().to_string_lossy();
        if folder.is_empty() { file.to_owned() } else { format!("{folder}/{file}") }
    }

    /// The findings of the comparison that were reviewed.
    ///
    /// # Errors
    /// If the file exists and is not valid.
    pub fn accepted(&self) -> Result<Accepted> {
        let file = self.folder.join(&self.config.accepted);
        if file.exists() { Accepted::read(&file) } else { Ok(Accepted::default()) }
    }

    /// The list of sources. It is empty before the first import.
    ///
    /// # Errors
    /// If the file exists and is not valid.
    pub fn sources(&self) -> Result<Sources> {
        let file = self.sources_file();
        let shown = file.display();
        match fs::read_to_string(&file) {
            Ok(text) => toml::from_str(&text).with_context(|| format!("{shown} is not valid")),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Sources::default()),
            Err(error) => Err(error).with_context(|| format!("cannot read {shown}")),
        }
    }

    /// A vendored file, whose bytes must be those that were recorded.
    pub(crate) fn read(&self, source: &Source) -> Result<Fragment> {
        let shown = self.shown(&source.file);
        let path = self.vendored_folder().join(&source.file);
        let bytes = fs::read(&path).with_context(|| format!("cannot read {shown}"))?;
        let actual = sha256(&bytes);
        if actual != source.sha256 {
            bail!(
                "{shown} is not the file that {} records\n  recorded  {}\n  found     {actual}\n\
                 Never edit the vendored bytes: put corrections into the overlays. If the vendor's page changed, \
                 import it.",
                self.shown(&self.config.sources.to_string_lossy()),
                source.sha256
            );
        }
        Fragment::document(&path, shown, bytes)
    }

    /// Reads and merges the vendored files.
    ///
    /// # Errors
    /// If there is none, or one is not the file that was recorded, or the recorded operations and preferences
    /// do not decide everything.
    pub fn vendored(&self) -> Result<Vendored> {
        let Sources { sources, preferences } = self.sources()?;
        if sources.is_empty() {
            bail!("{} lists no source; import one", self.sources_file().display());
        }
        let fragments = sources.iter().map(|source| self.read(source)).collect::<Result<Vec<_>>>()?;
        for (source, fragment) in sources.iter().zip(&fragments) {
            let there = operations(&fragment.document);
            if let Some(missing) = source.operations.iter().find(|operation| !there.contains(operation)) {
                bail!("{} does not have {missing}, which is to be taken from it", fragment.file);
            }
        }
        let taken: Vec<_> = sources.iter().map(|source| source.operations.clone()).collect();
        Vendored::of(fragments, &taken, &|pointer, one, other| {
            recorded(&preferences, &sources, pointer, one, other)
        })
    }

    /// Applies all overlays to the vendored description.
    ///
    /// # Errors
    /// If the vendored description cannot be read, or an overlay cannot be applied.
    pub fn resolve(&self) -> Result<Resolved> {
        let Vendored { document: vendored, .. } = self.vendored()?;
        let sources = self.sources()?.sources;
        let mut inputs: Vec<_> = sources.into_iter().map(|source| (source.file, source.sha256)).collect();
        let mut document = vendored.clone();
        for file in overlay::files(&self.overlays())? {
            let name = file.strip_prefix(&self.folder).unwrap_or(&file).display().to_string();
            let shown = self.shown(&name);
            let bytes = fs::read(&file).with_context(|| format!("cannot read {shown}"))?;
            overlay::apply(&mut document, &bytes, &shown)?;
            inputs.push((name, sha256(&bytes)));
        }
        Ok(Resolved { vendored, document, inputs })
    }

    /// All files that an import or a removal of overlay actions may change.
    ///
    /// # Errors
    /// If they cannot be listed.
    pub fn files(&self) -> Result<Vec<PathBuf>> {
        let folder = self.vendored_folder();
        let overlays = self.overlays();
        let mut files = if overlays.is_dir() { overlay::files(&overlays)? } else { Vec::new() };
        files.extend(self.sources()?.sources.iter().map(|source| folder.join(&source.file)));
        files.push(self.sources_file());
        Ok(files)
    }

    /// Writes the list of sources.
    pub(crate) fn write_sources(&self, sources: &Sources) -> Result<()> {
        let text = format!("{HEADER}{}", toml::to_string(sources).context("cannot write TOML")?);
        let file = self.sources_file();
        description::write(&file, text.as_bytes()).with_context(|| format!("cannot write {}", file.display()))
    }
}

/// The recorded choice between two sources.
pub(crate) fn recorded(
    preferences: &[Preference],
    sources: &[Source],
    pointer: &str,
    one: usize,
    other: usize,
) -> Option<usize> {
    let file = |index: usize| sources.get(index).map(|source| source.file.as_str());
    preferences.iter().filter(|preference| preference.pointer == pointer).find_map(|preference| {
        let between = [Some(preference.taken.as_str()), Some(preference.left_out.as_str())];
        let both = between == [file(one), file(other)] || between == [file(other), file(one)];
        both.then(|| if file(one) == between[0] { one } else { other })
    })
}

/// SHA-256 in hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
