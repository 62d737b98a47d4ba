//! Reports on files of this machine that are put into a store.

use akool::{JobId, redact::excerpt};
use akool_stage::{LocalFile, Location};
use serde_json::json;

use super::Report;
use crate::text;

impl Report {
    /// An upload that begins.
    pub(crate) fn uploading(&self, file: &LocalFile, location: &Location) {
        if self.screen.is_none() {
            let (name, size) = (excerpt(&file.name), text::size(file.bytes));
            self.remark(format_args!("uploading {name} ({size}) to {location}"));
        }
    }

    pub(crate) fn upload_progress(&self, file: &LocalFile, sent: u64) {
        if let Some(screen) = &self.screen {
            let bar = screen.bar(&line(file), || excerpt(&file.name));
            let percent = sent.saturating_mul(100) / file.bytes.max(1);
            bar.set_position(percent);
            bar.set_message(format!("uploading, {percent} %"));
        }
    }

    pub(crate) fn upload_ended(&self, file: &LocalFile) {
        self.close(&line(file));
    }

    /// A file that is in the store. `kept`: it was there before.
    pub(crate) fn uploaded(&self, file: &LocalFile, url: &str, kept: bool) {
        if self.is_json() {
            let path = file.path.display().to_string();
            self.object(&json!({
                "event": "uploaded", "path": path, "url": url, "bytes": file.bytes, "kept": kept,
            }));
        }
        let what = if kept { "already in the store" } else { "uploaded" };
        self.remark(format_args!("{}: {what}", excerpt(&file.name)));
    }

    /// An object that was removed from the store.
    pub(crate) fn removed(&self, name: &str, url: &str) {
        if self.is_json() {
            self.object(&json!({ "event": "removed", "url": url }));
        }
        self.remark(format_args!("{}: removed from the store", excerpt(name)));
    }
}

/// The progress line of a file.
fn line(file: &LocalFile) -> JobId {
    format!("upload {}", file.path.display()).into()
}
