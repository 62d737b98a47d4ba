//! The tools and their versions: the one place where they are pinned. They are installed from PyPI and npm
//! into `target/conformance`, and nowhere else.

use std::{collections::BTreeSet, fs, path::Path, process::Command};

use anyhow::{Context, Result, bail, ensure};

use super::{Paths, process};

/// An outside tool.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Tool {
    pub(super) name: &'static str,
    pub(super) version: &'static str,
    registry: Registry,
    package: &'static str,
    /// Pinned beside it, where its behaviour hangs on them.
    with: &'static [&'static str],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Registry {
    PyPi,
    Npm,
}

pub(super) const SCHEMATHESIS: Tool = Tool {
    name: "schemathesis",
    version: "4.32.5",
    registry: Registry::PyPi,
    package: "schemathesis",
    // It makes the examples: another version makes others.
    with: &["hypothesis==6.170.15"],
};

/// The latest that runs on Node.js 20; those after it ask for 24.
pub(super) const PRISM: Tool = Tool {
    name: "Prism",
    version: "5.14.2",
    registry: Registry::Npm,
    package: "@stoplight/prism-cli",
    with: &[],
};

pub(super) const REDOCLY: Tool = Tool {
    name: "Redocly CLI",
    version: "2.77.0",
    registry: Registry::Npm,
    package: "@redocly/cli",
    with: &[],
};

/// What Redocly CLI asks for.
const NODE: (u32, u32) = (20, 19);

/// Installs what is not there yet in its pinned version.
pub(super) fn install<'a>(paths: &Paths, tools: impl Iterator<Item = &'a &'static Tool>) -> Result<()> {
    // Everything runs on a leash that is written in Python.
    python()?;
    let mut done = BTreeSet::new();
    for tool in tools {
        if !done.insert(tool.package) {
            continue;
        }
        let folder = paths.work.join(tool.name.replace(' ', "-").to_lowercase());
        let pin = format!("{} {} {:?}", tool.package, tool.version, tool.with);
        if fs::read_to_string(folder.join("installed")).is_ok_and(|installed| installed == pin) {
            continue;
        }
        eprintln!("installing {} {} into {} ...", tool.name, tool.version, folder.display());
        if folder.exists() {
            fs::remove_dir_all(&folder).with_context(|| format!("cannot empty {}", folder.display()))?;
        }
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        match tool.registry {
            Registry::PyPi => from_pypi(paths, tool, &folder)?,
            Registry::Npm => from_npm(paths, tool, &folder)?,
        }
        fs::write(folder.join("installed"), pin).context("cannot note what was installed")?;
    }
    Ok(())
}

fn from_pypi(paths: &Paths, tool: &Tool, folder: &Path) -> Result<()> {
    let venv = folder.join("venv");
    let mut make = Command::new("python3");
    make.args(["-m", "venv"]).arg(&venv);
    process::finish(paths, "venv", &mut make)
        .context("cannot make a virtual environment of Python's (Debian: apt-get install python3-venv)")?;
    let mut install = Command::new(venv.join("bin/python"));
    install
        .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
        .arg(format!("{}=={}", tool.package, tool.version))
        .args(tool.with);
    process::finish(paths, "pip", &mut install)
        .with_context(|| format!("cannot install {} {} from PyPI", tool.package, tool.version))?;
    Ok(())
}

fn from_npm(paths: &Paths, tool: &Tool, folder: &Path) -> Result<()> {
    node()?;
    let mut install = Command::new("npm");
    install
        .args([
            "install",
            "--silent",
            "--no-fund",
            "--no-audit",
            "--no-update-notifier",
            "--ignore-scripts",
            "--prefix",
        ])
        .arg(folder)
        .arg(format!("{}@{}", tool.package, tool.version));
    process::finish(paths, "npm", &mut install)
        .with_context(|| format!("cannot install {} {} from npm", tool.package, tool.version))?;
    Ok(())
}

/// A program of a tool from npm. It sends nothing home.
pub(super) fn node_program(paths: &Paths, tool: &Tool, program: &str) -> Command {
    let folder = paths.work.join(tool.name.replace(' ', "-").to_lowercase());
    let mut command = Command::new(folder.join("node_modules/.bin").join(program));
    for (name, value) in [
        ("REDOCLY_TELEMETRY", "off"),
        ("REDOCLY_SUPPRESS_UPDATE_NOTICE", "true"),
        ("NO_UPDATE_NOTIFIER", "1"),
        ("DO_NOT_TRACK", "1"),
        ("NO_COLOR", "1"),
        ("FORCE_COLOR", "0"),
    ] {
        command.env(name, value);
    }
    command
}

/// A program of schemathesis' virtual environment.
pub(super) fn python_program(paths: &Paths, program: &str) -> Command {
    let mut command = Command::new(paths.work.join("schemathesis/venv/bin").join(program));
    command.env("DO_NOT_TRACK", "1").env("SCHEMATHESIS_REPORT", "false");
    command
}

fn python() -> Result<()> {
    if version("python3").is_none() {
        bail!("python3 is needed and is not installed (Debian: apt-get install python3 python3-venv)");
    }
    Ok(())
}

fn node() -> Result<()> {
    let (major, minor) = NODE;
    let Some(found) = version("node") else {
        bail!(
            "Node.js {major}.{minor} or later is needed and is not installed (Debian: apt-get install nodejs npm)"
        );
    };
    let mut numbers = found.trim_start_matches('v').split('.').filter_map(|part| part.parse::<u32>().ok());
    let has = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    ensure!(has >= NODE, "Node.js {major}.{minor} or later is needed; `node --version` says {found}");
    ensure!(version("npm").is_some(), "npm is needed and is not installed (Debian: apt-get install npm)");
    Ok(())
}

/// What a program says of its own version.
fn version(program: &str) -> Option<String> {
    let output =
        Command::new(program).arg("--version").output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
