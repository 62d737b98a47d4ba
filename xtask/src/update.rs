//! `cargo xtask spec update`: imports the vendor's page, regenerates the client, and compiles it.
//!
//! Files are written in place, because cargo checks them there. If a step fails, all files are restored,
//! and the error names the step, the reason, and what to change.

use std::{
    collections::BTreeMap,
    fmt,
    fs::{self, File, TryLockError},
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use anyhow::{Context, Error, Result, anyhow, ensure};
use serde_json::Value;
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    flag,
};

use openapi_keeper::{
    description, diff,
    import::{Options, Plan},
    merge::Conflicts,
    project::Project,
    redundant::{Unneeded, prune, redundant, replaced},
    semver,
};

use crate::{check, codegen, import};

/// What an update may do besides the import.
#[derive(Clone, Copy, Default)]
pub(crate) struct Mode<'a> {
    /// Restore all files at the end.
    pub(crate) dry_run: bool,
    /// Remove the overlay actions that are not needed any more.
    pub(crate) prune: bool,
    /// Where cargo keeps what it compiles [default: as cargo decides].
    pub(crate) target: Option<&'a Path>,
}

/// The outcome of an update.
pub(crate) struct Updated {
    /// The text of a pull request, in Markdown.
    pub(crate) report: String,
    /// Whether callers of the service or users of the generated Rust have to change something.
    pub(crate) breaking: bool,
}

/// Runs all steps.
pub(crate) fn run(root: &Path, options: &Options, mode: Mode<'_>) -> Result<Updated> {
    let _lock = lock(root)?;
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        flag::register(signal, Arc::clone(&interrupted)).context("cannot handle signals")?;
    }
    let project = import::project(root)?;
    let plan = project.plan(options).map_err(|error| {
        failed("import", if error.is::<Conflicts>() { import::PREFER } else { "Correct the source." })(error)
    })?;
    let generated = codegen::WRITTEN.into_iter().chain(["CHANGELOG.md"]).map(|file| root.join(file));
    let backup = Backup::create(generated.chain(project.files()?).chain(project.written(&plan)))?;
    let mut outcome = steps(root, &project, &plan, mode);
    if interrupted.load(Ordering::Relaxed) {
        outcome = Err(anyhow!("interrupted"));
    }
    match outcome {
        Ok(mut updated) if mode.dry_run => {
            backup.restore()?;
            updated.report += "\nDry run: all files were restored.";
            Ok(updated)
        }
        Ok(updated) => Ok(updated),
        Err(error) => {
            backup.restore().context("cannot restore all files; `git status` shows the differences")?;
            Err(error.context("all files were restored"))
        }
    }
}

/// Keeps out other updates of the same files while it lives.
pub(crate) struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        // A child process that is just being started has the file too, and closing it here would not unlock it.
        let _ = self.0.unlock();
    }
}

pub(crate) fn lock(root: &Path) -> Result<Lock> {
    let path = root.join("target/spec.lock");
    fs::create_dir_all(root.join("target")).context("cannot make the folder `target`")?;
    let file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    file.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => {
            anyhow!("another `spec update` or `spec watch` is running; wait until it ends")
        }
        TryLockError::Error(error) => anyhow!("cannot lock {}: {error}", path.display()),
    })?;
    Ok(Lock(file))
}

/// The files before an update.
struct Backup {
    files: BTreeMap<PathBuf, Option<Vec<u8>>>,
}

impl Backup {
    fn create(paths: impl Iterator<Item = PathBuf>) -> Result<Self> {
        let mut files = BTreeMap::new();
        for path in paths {
            let bytes = match fs::read(&path) {
                Ok(bytes) => Some(bytes),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
                Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
            };
            files.insert(path, bytes);
        }
        Ok(Self { files })
    }

    fn restore(&self) -> Result<()> {
        for (path, bytes) in &self.files {
            match bytes {
                Some(bytes) if fs::read(path).is_ok_and(|now| now == *bytes) => {}
                Some(bytes) => description::write(path, bytes)?,
                None if path.exists() => fs::remove_file(path)?,
                None => {}
            }
        }
        Ok(())
    }
}

/// The step of an update that failed, with its reason and advice.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) step: &'static str,
    reason: String,
    advice: &'static str,
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("step `{}`: {}\n{}", self.step, self.reason, self.advice);
        f.write_str(text.trim_end())
    }
}

impl std::error::Error for Failed {}

/// Adds the step and advice to an error.
fn failed(step: &'static str, advice: &'static str) -> impl FnOnce(Error) -> Error {
    move |error| {
        // A file that is missing or a full disk needs other advice, and the reason says enough.
        let advice = if error.chain().any(|cause| cause.is::<std::io::Error>()) { "" } else { advice };
        Error::new(Failed { step, reason: format!("{error:#}"), advice })
    }
}

fn steps(root: &Path, project: &Project, plan: &Plan, mode: Mode<'_>) -> Result<Updated> {
    let generated = root.join("crates/akool-client/src/generated.rs");
    let old = &project.vendored()?.document;
    let old_code = fs::read_to_string(&generated).context("cannot read the generated code")?;

    import::write(root, project, plan, if mode.dry_run { "would write" } else { "written" })?;
    let new = &plan.vendored.document;
    let overlays = project.overlays();
    let replaced = replaced(&overlays, new)
        .map_err(failed("overlays", "Correct the overlay that the error names, in openapi/overlays."))?;
    if mode.prune {
        prune(&replaced)?;
    }
    project.resolve().map_err(failed(
        "overlays",
        "Correct the action in openapi/overlays, or delete it if it no longer matches.",
    ))?;
    check::vendored(project, &plan.vendored).map_err(failed(
        "check",
        "Correct it with an overlay action in openapi/overlays that has a reason and evidence.",
    ))?;
    let redundant = redundant(&overlays, new)?;
    if mode.prune {
        prune(&redundant)?;
    }
    let unneeded = [replaced, redundant].concat();
    let mut changes = diff::compare(old, new);
    project.accepted()?.apply(&mut changes);
    let written = if mode.dry_run { codegen::Mode::DryRun } else { codegen::Mode::Write };
    codegen::run(root, written).map_err(failed("codegen", "Correct the description with an overlay."))?;
    let new_code = fs::read_to_string(&generated).context("cannot read the generated code")?;
    let rust = semver::compare(&old_code, &new_code)?;
    compiles(root, mode.target).map_err(failed(
        "cargo check",
        "The hand-written code above uses something that the new description does not have. Run `cargo xtask spec \
         import` and `cargo xtask codegen`, and then correct the code.",
    ))?;

    let affected = affected(old, new);
    add_to_changelog(root, &changes, &rust)?;
    let counts =
        |change: &diff::Finding| change.verdict == diff::Verdict::Breaking && change.accepted.is_none();
    Ok(Updated {
        breaking: changes.iter().any(counts) || rust.step == semver::Step::Major,
        report: report(&changes, &rust, (&unneeded, mode.prune), &affected)?,
    })
}

fn compiles(root: &Path, target: Option<&Path>) -> Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .envs(target.map(|target| ("CARGO_TARGET_DIR", target)))
        .args(["check", "--workspace", "--all-targets", "--quiet", "--message-format", "short"])
        .current_dir(root)
        .output()
        .context("cannot run cargo")?;
    let text = String::from_utf8_lossy(&output.stderr);
    let errors: Vec<_> = text.lines().filter(|line| line.contains("error")).take(20).collect();
    ensure!(output.status.success(), "the workspace does not compile:\n  {}", errors.join("\n  "));
    Ok(())
}

/// Hand-written code that needs a review although it compiles.
fn affected(old: &Value, new: &Value) -> Vec<String> {
    const RESULT: &str = "/components/schemas/VideoInfoResult/properties";
    let mut affected = Vec::new();
    let statuses = |document: &Value| document.pointer(&format!("{RESULT}/video_status/enum")).cloned();
    if statuses(old) != statuses(new) {
        affected.push(
            "the statuses changed: `Status` in crates/akool/src/status.rs, and `x-extensible-enum` in \
             openapi/overlays/10-codegen.yaml"
                .to_owned(),
        );
    }
    let fields = |document: &Value| -> Vec<String> {
        let fields = document.pointer(RESULT).and_then(Value::as_object);
        fields.into_iter().flatten().map(|(name, _)| name.clone()).collect()
    };
    let (was, is) = (fields(old), fields(new));
    for name in is.iter().filter(|name| !was.contains(name)) {
        affected.push(format!(
            "new field {}: should `Snapshot` in crates/akool/src/snapshot.rs return it?",
            diff::code(name)
        ));
    }
    for name in was.iter().filter(|name| !is.contains(name)) {
        affected.push(format!("field {} was removed: does crates/akool still use it?", diff::code(name)));
    }
    affected
}

/// Adds an entry to the unreleased section of the changelog.
fn add_to_changelog(root: &Path, changes: &[diff::Finding], rust: &semver::Report) -> Result<()> {
    const UNRELEASED: &str = "## [Unreleased]\n";
    const CHANGED: &str = "### Changed\n\n";
    if changes.is_empty() && rust.step == semver::Step::Patch {
        return Ok(());
    }
    let path = root.join("CHANGELOG.md");
    let text = fs::read_to_string(&path).context("cannot read CHANGELOG.md")?;
    let count = |verdict| changes.iter().filter(|change| change.verdict == verdict).count();
    let entry = format!(
        "- The vendor's description changed: {} breaking, {} additive and {} documentation changes; in Rust a \
         {} change.\n",
        count(diff::Verdict::Breaking),
        count(diff::Verdict::Additive),
        count(diff::Verdict::Docs),
        rust.step
    );
    let at = text.find(UNRELEASED).context("CHANGELOG.md has no `## [Unreleased]`")? + UNRELEASED.len();
    let (head, tail) = text.split_at(at);
    let section = tail.find("\n## ").unwrap_or(tail.len());
    let tail = match tail[..section].find(CHANGED) {
        Some(changed) => {
            let (before, after) = tail.split_at(changed + CHANGED.len());
            format!("{before}{entry}{after}")
        }
        None => format!("\n{CHANGED}{entry}{tail}"),
    };
    description::write(&path, format!("{head}{tail}").as_bytes()).context("cannot write CHANGELOG.md")
}

/// The text of a pull request, in Markdown.
fn report(
    changes: &[diff::Finding],
    rust: &semver::Report,
    (unneeded, pruned): (&[Unneeded], bool),
    affected: &[String],
) -> Result<String> {
    let list = |items: &[String]| -> String {
        if items.is_empty() {
            return "None.\n".to_owned();
        }
        items.iter().map(|item| format!("- {item}\n")).collect()
    };
    let items: Vec<_> = rust
        .broken
        .iter()
        .map(|item| format!("removed or changed: `{item}`"))
        .chain(rust.added.iter().map(|item| format!("new: `{item}`")))
        .collect();
    let unneeded: Vec<_> = unneeded.iter().map(ToString::to_string).collect();
    let advice = match (unneeded.is_empty(), pruned) {
        (true, _) => "",
        (false, true) => "\nThey were removed.\n",
        (false, false) => "\n`--prune-overlays` removes them.\n",
    };
    Ok(format!(
        "## Requests and responses\n\n{}\n## Rust: {}\n\n{}\n\
         ## Overlay actions that are not needed any more\n\n{}\n## Hand-written code to review\n\n{}",
        diff::print(changes, diff::Format::Markdown, &[])?,
        rust.step,
        list(&items),
        list(&unneeded) + advice,
        list(affected)
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::repository::{commit, git, page, repository};

    const VENDORED: &str = include_str!("../../openapi/akool.yaml");
    const POLL: &str = "GET /api/open/v3/content/video/infobymodelid";
    const CANCEL: &str = "POST /api/open/v3/content/video/cancel";

    /// The page of a second operation, which shares the component `ApiResponse`.
    fn cancel_page() -> String {
        let (head, _) = VENDORED.split_once("paths:\n").unwrap();
        let (_, components) = VENDORED.split_once("components:\n").unwrap();
        format!(
            "# Cancel\n\n````yaml {CANCEL}\n{head}paths:\n  /api/open/v3/content/video/cancel:\n    post:\n      \
             operationId: cancelVideo\n      summary: Cancel a job\n      parameters:\n        - {{name: video_model_id, \
             in: query, required: true, schema: {{type: string}}}}\n      responses:\n        '200':\n          \
             description: Cancelled\n          content:\n            application/json:\n              schema: {{$ref: \
             '#/components/schemas/ApiResponse'}}\ncomponents:\n{components}\n````\n"
        )
    }

    /// Updates from pages with these names and texts. Returns the outcome and the list of sources.
    fn update(root: &Path, pages: &[(&str, &str)], more: Options) -> (Result<Updated>, String) {
        let folder = tempfile::tempdir().unwrap();
        let files = pages.iter().map(|(name, text)| {
            let file = folder.path().join(name);
            fs::write(&file, text).unwrap();
            file
        });
        let sources: Vec<_> = files.collect();
        let prefer = more.prefer.clone().map(|name| folder.path().join(name));
        let updated = run(root, &Options { sources, prefer, ..more }, Mode::default());
        (updated, fs::read_to_string(root.join("openapi/sources.toml")).unwrap())
    }

    #[test]
    fn a_renamed_page_takes_one_command() {
        let repository = repository();
        let root = repository.path();
        let origins = vec!["https://docs.akool.com/new/name.md".to_owned()];
        let more = Options { origins, ..Options::default() };
        let (updated, sources) = update(root, &[("name.md", &page(VENDORED))], more);
        assert!(!updated.unwrap().breaking);
        assert!(
            sources.contains("file = \"akool.yaml\"\norigin = \"https://docs.akool.com/new/name.md\""),
            "{sources}"
        );
        assert_eq!(git(root, &["status", "--porcelain"]).trim(), "M openapi/sources.toml");
    }

    #[test]
    fn an_operation_that_was_added_takes_one_command_and_its_page_is_vendored_byte_for_byte() {
        let repository = repository();
        let root = repository.path();
        let (updated, sources) = update(root, &[("cancel.md", &cancel_page())], Options::default());
        let updated = updated.unwrap();
        assert!(!updated.breaking && updated.report.contains("operation-added"), "{}", updated.report);
        assert!(updated.report.contains("Client::cancel_video"), "{}", updated.report);
        assert_eq!(fs::read_to_string(root.join("openapi/akool.yaml")).unwrap(), VENDORED);
        let vendored = fs::read_to_string(root.join("openapi/cancel.yaml")).unwrap();
        assert!(cancel_page().contains(&vendored));
        for says in [
            "file = \"cancel.yaml\"",
            &format!("operations = [\"{POLL}\"]"),
            &format!("operations = [\"{CANCEL}\"]"),
        ] {
            assert!(sources.contains(says), "{says}: {sources}");
        }
        codegen::run(root, codegen::Mode::Check).unwrap();
        // The bytes of each source are fixed.
        fs::write(root.join("openapi/cancel.yaml"), vendored + "\n").unwrap();
        let error = format!("{:#}", codegen::run(root, codegen::Mode::Check).unwrap_err());
        assert!(
            error.contains("openapi/cancel.yaml is not the file that openapi/sources.toml records"),
            "{error}"
        );
    }

    #[test]
    fn a_component_that_two_pages_share_takes_one_command() {
        let repository = repository();
        let root = repository.path();
        update(root, &[("cancel.md", &cancel_page())], Options::default()).0.unwrap();
        commit(root);
        let changed = |text: &str| {
            let new = "        trace_id:\n          type: string\n        msg:\n          type: string\n";
            let changed = text.replace("        msg:\n          type: string\n", new);
            assert_ne!(changed, text);
            changed
        };
        let (poll, cancel) = (changed(&page(VENDORED)), changed(&cancel_page()));
        // One page alone contradicts the other.
        let (updated, _) = update(root, &[("poll.md", &poll)], Options::default());
        let error = format!("{:#}", updated.err().unwrap());
        assert!(error.contains("/components/schemas/ApiResponse") && error.contains("--prefer"), "{error}");
        assert_eq!(git(root, &["status", "--porcelain"]), "");
        // Both together, or one that is preferred.
        let preferred = Options {
            prefer: Some("poll.md".into()),
            reason: Some("the other page is older".to_owned()),
            ..Options::default()
        };
        let both = [("poll.md", &poll[..]), ("cancel.md", &cancel[..])];
        for (pages, more, reason) in [(&both[..1], preferred, true), (&both[..], Options::default(), false)] {
            let (updated, sources) = update(root, pages, more);
            let updated = updated.unwrap();
            assert!(updated.report.contains("trace_id") && !updated.breaking, "{}", updated.report);
            assert_eq!(sources.contains("reason = \"the other page is older\""), reason, "{sources}");
            codegen::run(root, codegen::Mode::Check).unwrap();
            if reason {
                // The recorded reason decides from now on.
                assert!(
                    !update(root, &[("cancel.md", &cancel_page())], Options::default()).0.unwrap().breaking
                );
            }
            git(root, &["checkout", "--quiet", "."]);
        }
    }

    #[test]
    fn only_one_update_runs_at_a_time() {
        let repository = repository();
        let held = lock(repository.path()).unwrap();
        let pages = [("get.md", &page(VENDORED)[..])];
        let (updated, _) = update(repository.path(), &pages, Options::default());
        assert!(updated.err().unwrap().to_string().contains("is running"));
        drop(held);
        update(repository.path(), &pages, Options::default()).0.unwrap();
    }

    /// A signal is for the whole process, so it gets one of its own.
    #[test]
    fn an_interrupted_update_restores_every_file() {
        let test = "update::tests::interrupted_in_a_process_of_its_own";
        let run =
            Command::new(std::env::current_exe().unwrap()).args(["--exact", test, "--ignored"]).output();
        let output = String::from_utf8(run.unwrap().stdout).unwrap();
        assert!(output.contains("1 passed"), "{output}");
    }

    #[test]
    #[ignore = "run by another test"]
    fn interrupted_in_a_process_of_its_own() {
        let repository = repository();
        let root = repository.path();
        let kill = format!(
            "fn main() {{ std::process::Command::new(\"kill\").args([\"-INT\", \"{}\"]).status().unwrap(); }}",
            std::process::id()
        );
        fs::write(root.join("build.rs"), kill).unwrap();
        commit(root);
        let (updated, _) = update(root, &[("cancel.md", &cancel_page())], Options::default());
        assert_eq!(format!("{:#}", updated.err().unwrap()), "all files were restored: interrupted");
        assert_eq!(git(root, &["status", "--porcelain"]), "");
    }

    #[test]
    fn the_advice_fits_the_error() {
        let repository = repository();
        let options = Options { sources: vec!["missing.md".into()], ..Options::default() };
        let error = run(repository.path(), &options, Mode::default()).err().unwrap().to_string();
        assert!(error.contains("cannot read missing.md") && !error.contains("Correct the source"), "{error}");
        let (updated, _) = update(repository.path(), &[("empty.md", "")], Options::default());
        assert!(updated.err().unwrap().to_string().ends_with("Correct the source."));
    }

    #[test]
    fn a_backup_restores_every_file() {
        let root = tempfile::tempdir().unwrap();
        let [changed, deleted, new] = ["changed", "deleted", "new"].map(|name| root.path().join(name));
        fs::write(&changed, "old").unwrap();
        fs::write(&deleted, "old").unwrap();
        let backup = Backup::create([changed.clone(), deleted.clone(), new.clone()].into_iter()).unwrap();
        fs::write(&changed, "new").unwrap();
        fs::remove_file(&deleted).unwrap();
        fs::write(&new, "new").unwrap();
        backup.restore().unwrap();
        for file in [changed, deleted] {
            assert_eq!(fs::read_to_string(file).unwrap(), "old");
        }
        assert!(!new.exists());
    }

    #[test]
    fn changelog_entries_are_added_to_the_unreleased_section() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("CHANGELOG.md");
        let rust = semver::Report {
            step: semver::Step::Minor,
            broken: vec![],
            added: vec!["x".to_owned()],
            counts: (0, 1),
        };
        fs::write(
            &path,
            "# Changelog\n\n## [Unreleased]\n\n### Added\n\n- a\n\n## [0.1.0]\n\n### Changed\n\n- b\n",
        )
        .unwrap();
        for _ in 0..2 {
            add_to_changelog(root.path(), &[], &rust).unwrap();
        }
        let text = fs::read_to_string(&path).unwrap();
        let (unreleased, released) = text.split_once("## [0.1.0]").unwrap();
        assert_eq!(unreleased.matches("### Changed").count(), 1, "{text}");
        assert_eq!(unreleased.matches("in Rust a minor change").count(), 2, "{text}");
        assert_eq!(released, "\n\n### Changed\n\n- b\n");
        fs::write(&path, "# Nothing\n").unwrap();
        assert!(add_to_changelog(root.path(), &[], &rust).is_err());
    }

    #[test]
    fn hand_written_code_that_needs_a_review_is_listed() {
        let with =
            |fields: Value| json!({"components": {"schemas": {"VideoInfoResult": {"properties": fields}}}});
        let old = with(json!({"video_status": {"enum": [1, 2]}, "uid": {}}));
        let new = with(json!({"video_status": {"enum": [1, 2, 5]}, "mood": {}, "a`\n# @b": {}}));
        let affected = affected(&old, &new).join("\n");
        for says in ["status.rs", "`mood`", "`a' # @b`", "`uid` was removed"] {
            assert!(affected.contains(says), "{affected}");
        }
        assert_eq!(super::affected(&old, &old), Vec::<String>::new());
    }
}
