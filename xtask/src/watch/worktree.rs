//! A git worktree for an update, so that the working branch stays as it is.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use duct::cmd;

/// A worktree of the current commit without a branch. It is removed at the end.
pub(super) struct Worktree<'a> {
    root: &'a Path,
    path: PathBuf,
}

impl<'a> Worktree<'a> {
    pub(super) fn create(root: &'a Path, path: &Path) -> Result<Self> {
        let worktree = Self { root, path: path.to_owned() };
        // A run that was killed leaves one.
        worktree.remove();
        let shown = path.to_str().context("the path of the worktree is not UTF-8")?;
        git(root, &["worktree", "add", "--quiet", "--detach", shown, "HEAD"])?;
        Ok(worktree)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Commits everything to a new branch. A branch that exists is kept, because it may have more work.
    ///
    /// Returns whether the branch is new.
    pub(super) fn commit(&self, branch: &str, title: &str, text: &str) -> Result<bool> {
        let exists = format!("refs/heads/{branch}");
        if git(self.root, &["show-ref", "--verify", "--quiet", &exists]).is_ok() {
            return Ok(false);
        }
        let name = ["-c", "user.name=spec watch", "-c", "user.email=spec-watch@localhost"];
        git(&self.path, &["add", "--all"])?;
        let commit = ["commit", "--quiet", "--no-verify", "--no-gpg-sign", "--cleanup=verbatim"];
        git(&self.path, &[&name[..], &commit, &["-m", title, "-m", text]].concat())?;
        git(&self.path, &["branch", branch, "HEAD"])?;
        Ok(true)
    }

    fn remove(&self) {
        if let Some(path) = self.path.to_str() {
            let _ = git(self.root, &["worktree", "remove", "--force", path]);
        }
        let _ = std::fs::remove_dir_all(&self.path);
        let _ = git(self.root, &["worktree", "prune"]);
    }
}

impl Drop for Worktree<'_> {
    fn drop(&mut self) {
        self.remove();
    }
}

/// Runs git. The error has its output.
fn git(folder: &Path, arguments: &[&str]) -> Result<()> {
    let output = cmd("git", arguments)
        .dir(folder)
        .stderr_to_stdout()
        .stdout_capture()
        .unchecked()
        .run()
        .context("cannot run git")?;
    if !output.status.success() {
        let command = arguments.iter().find(|argument| !argument.starts_with('-')).unwrap_or(&"");
        bail!("git {command} failed: {}", String::from_utf8_lossy(&output.stdout).trim());
    }
    Ok(())
}
