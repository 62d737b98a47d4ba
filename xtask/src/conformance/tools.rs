//! Installs the independent tools into `target/conformance`, in the versions that
//! `tests/conformance/requirements.txt` (PyPI) and `tests/conformance/package.json` (npm) pin.

use std::{ffi::OsString, fs};

use anyhow::{Context, Result};
use duct::{Expression, cmd};

use super::{Paths, process};

/// An independent tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tool {
    Schemathesis,
    Prism,
    Redocly,
}

/// A package registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Registry {
    PyPi,
    Npm,
}

impl Tool {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Schemathesis => "schemathesis",
            Self::Prism => "Prism",
            Self::Redocly => "Redocly CLI",
        }
    }

    fn registry(self) -> Registry {
        if self == Self::Schemathesis { Registry::PyPi } else { Registry::Npm }
    }

    /// Its name and its pinned version.
    pub(super) fn shown(self, paths: &Paths) -> Result<String> {
        let pins = self.registry().pins(paths)?;
        // `package==version` in the one file, `"package": "version"` in the other.
        let prefix = match self {
            Self::Schemathesis => "schemathesis==",
            Self::Prism => "\"@stoplight/prism-cli\": ",
            Self::Redocly => "\"@redocly/cli\": ",
        };
        let version = pins.lines().find_map(|line| line.trim().strip_prefix(prefix));
        let version = version.with_context(|| format!("the version of {} is not pinned", self.name()))?;
        Ok(format!("{} {}", self.name(), version.trim_matches([',', '"'])))
    }
}

impl Registry {
    fn file(self) -> &'static str {
        match self {
            Self::PyPi => "requirements.txt",
            Self::Npm => "package.json",
        }
    }

    /// The text of the file that pins the versions.
    fn pins(self, paths: &Paths) -> Result<String> {
        let path = paths.inputs.join(self.file());
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
    }

    /// Installs all tools of this registry, unless they are installed already.
    fn install(self, paths: &Paths) -> Result<()> {
        let folder = paths.work.join(self.folder());
        let pins = self.pins(paths)?;
        if fs::read_to_string(folder.join("installed")).is_ok_and(|installed| installed == pins) {
            return Ok(());
        }
        eprintln!("installing tests/conformance/{} into {} ...", self.file(), folder.display());
        if folder.exists() {
            fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
        }
        fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        fs::write(folder.join(self.file()), &pins).context("cannot copy the pinned versions")?;
        match self {
            Self::PyPi => {
                process::finish(paths, "venv", &cmd!("python3", "-m", "venv", &folder)).context(
                    "cannot create a virtual environment; install python3 with venv (Debian: python3-venv)",
                )?;
                let pip = ["-m", "pip", "install", "--quiet", "--requirement", self.file()];
                process::finish(paths, "pip", &python(paths, "python", pip).dir(&folder))
                    .context("cannot install from PyPI")?;
            }
            Self::Npm => {
                let options = ["--silent", "--no-fund", "--no-audit", "--ignore-scripts", "--engine-strict"];
                let npm = cmd("npm", ["install"].into_iter().chain(options)).dir(&folder);
                process::finish(paths, "npm", &npm).context(
                    "cannot install from npm; it needs npm and Node.js 20.19 or later (Debian: nodejs and npm)",
                )?;
            }
        }
        fs::write(folder.join("installed"), pins).context("cannot record the installed versions")
    }

    /// The folder of the installation below `target/conformance`.
    fn folder(self) -> &'static str {
        match self {
            Self::PyPi => "pypi",
            Self::Npm => "npm",
        }
    }
}

/// Installs the registries of these tools.
pub(super) fn install(paths: &Paths, tools: &[Tool]) -> Result<()> {
    for registry in [Registry::PyPi, Registry::Npm] {
        if tools.iter().any(|tool| tool.registry() == registry) {
            registry.install(paths)?;
        }
    }
    Ok(())
}

/// A program from npm, without telemetry.
pub(super) fn node<T: Into<OsString>>(
    paths: &Paths,
    program: &str,
    arguments: impl IntoIterator<Item = T>,
) -> Expression {
    let program = paths.work.join(Registry::Npm.folder()).join("node_modules/.bin").join(program);
    cmd(program, arguments)
        .env("REDOCLY_TELEMETRY", "off")
        .env("REDOCLY_SUPPRESS_UPDATE_NOTICE", "true")
        .env("DO_NOT_TRACK", "1")
        .env("NO_COLOR", "1")
        .env("FORCE_COLOR", "0")
}

/// A program from PyPI, without telemetry.
pub(super) fn python<T: Into<OsString>>(
    paths: &Paths,
    program: &str,
    arguments: impl IntoIterator<Item = T>,
) -> Expression {
    cmd(paths.work.join(Registry::PyPi.folder()).join("bin").join(program), arguments)
        .env("DO_NOT_TRACK", "1")
        .env("SCHEMATHESIS_REPORT", "false")
        .env("PYTHONDONTWRITEBYTECODE", "1")
}
