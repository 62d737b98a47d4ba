//! The crates of the workspace: which uses which, and what the core does not touch.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// Each crate, and the crates of the workspace that it may use. Tests and examples may use more.
const MAY_USE: &[(&str, &[&str])] = &[
    ("akool-client", &[]),
    ("akool", &["akool-client"]),
    ("akool-download", &["akool"]),
    ("akool-webhook", &["akool"]),
    ("akool-ledger", &["akool"]),
    ("akool-stage", &["akool", "akool-download"]),
    ("akool-restate", &["akool", "akool-download"]),
    ("akool-contract", &[]),
    ("akool-mock", &["akool-contract"]),
    ("openapi-keeper", &[]),
];

fn crates() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates")
}

#[test]
fn each_crate_uses_only_the_crates_that_the_table_allows() {
    let allowed: BTreeMap<_, _> = MAY_USE.iter().copied().collect();
    for entry in fs::read_dir(crates()).unwrap() {
        let manifest = fs::read_to_string(entry.unwrap().path().join("Cargo.toml")).unwrap();
        let manifest: toml::Table = manifest.parse().unwrap();
        let name = manifest["package"]["name"].as_str().unwrap();
        if matches!(name, "akool-cli" | "akool-bench") {
            continue; // They may use all of them.
        }
        let allowed = allowed.get(name).unwrap_or_else(|| panic!("{name} is not in the table"));
        for used in manifest["dependencies"].as_table().unwrap().keys() {
            let is_own = used.starts_with("akool") || used == "openapi-keeper";
            assert!(!is_own || allowed.contains(&used.as_str()), "{name} uses {used}");
        }
    }
}

/// The sources below a folder, without their tests.
fn sources(folder: &Path) -> Vec<(PathBuf, String)> {
    let mut sources = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources.extend(self::sources(&path));
        } else {
            let text = fs::read_to_string(&path).unwrap();
            let code = text.split("#[cfg(test)]\nmod tests").next().unwrap();
            let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
            sources.push((path, lines.collect::<Vec<_>>().join("\n")));
        }
    }
    sources
}

#[test]
fn the_core_touches_no_file_and_no_terminal() {
    let sources = sources(&crates().join("akool/src"));
    assert!(sources.len() > 25);
    for (path, code) in sources {
        for used in ["fs::", "File::", "println!", "eprintln!", "eprint!", "print!", "stdin()", "stdout()"] {
            assert!(!code.contains(used), "{} uses {used}", path.display());
        }
    }
}

#[test]
fn openapi_keeper_knows_no_vendor() {
    for (path, code) in sources(&crates().join("openapi-keeper/src")) {
        assert!(!code.to_lowercase().contains("akool"), "{} mentions a vendor", path.display());
    }
}
