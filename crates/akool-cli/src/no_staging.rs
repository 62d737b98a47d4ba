//! In place of `staging` in a program without the feature `stage`: files of this machine, and stores as a place for
//! results, are refused.

use std::path::Path;

use akool::{FileKind, Job, JobId, RemoteFile, Translate};
use akool_download::{DownloadError, Downloader};
use akool_ledger::Ledger;

use crate::{
    args,
    outcome::Outcome,
    report::{LocalFile, Report},
    text,
};

/// There are no files of this machine.
#[derive(Clone, Debug, Default)]
pub(crate) struct Local;

impl Local {
    pub(crate) fn is_empty(&self) -> bool {
        true
    }

    pub(crate) fn identify(&self, request: Translate) -> Translate {
        request
    }

    pub(crate) fn link(&self, request: Translate, _: &Links) -> Translate {
        request
    }
}

/// There are no links.
#[derive(Debug, Default)]
pub(crate) struct Links {}

impl Links {
    pub(crate) fn objects(&self) -> impl Iterator<Item = &str> {
        std::iter::empty()
    }
}

/// Nothing fails, because nothing is done.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) text: String,
    pub(crate) help: Option<&'static str>,
    pub(crate) outcome: Outcome,
    pub(crate) is_general: bool,
}

pub(crate) struct Staging<'a>(std::marker::PhantomData<&'a Report>);

impl<'a> Staging<'a> {
    pub(crate) fn new(_: &'a args::Staging, _: &'a Report) -> Result<Self, String> {
        Ok(Self(std::marker::PhantomData))
    }

    pub(crate) fn sources(&self, named: &str) -> Result<args::Sources, String> {
        Ok(args::Sources { urls: vec![named.to_owned()], left_out: Vec::new() })
    }

    pub(crate) async fn find(&self, row: &args::RequestRow) -> Result<Local, String> {
        let sources = [Some(&row.url), row.request.caption_file.as_ref()];
        let is_file = |named: &&String| !named.contains("://") && Path::new(named).is_file();
        match sources.into_iter().flatten().find(is_file) {
            None => Ok(Local),
            Some(named) => Err(format!(
                "\"{}\" is a file of this machine, and this program was built without the feature `stage` that uploads \
                 it; pass an https:// URL",
                akool::redact::excerpt(named)
            )),
        }
    }

    pub(crate) fn need<'b>(&self, _: impl IntoIterator<Item = &'b Local>) {}

    pub(crate) fn release(&self, _: &Local) {}

    pub(crate) fn release_all(&self) {}

    pub(crate) async fn upload(&self, _: &Local, _: &Ledger) -> Result<(), Failure> {
        Ok(())
    }

    pub(crate) async fn link(&self, _: &Local) -> Result<Links, Failure> {
        Ok(Links {})
    }
}

pub(crate) fn check_location(_: &str) -> Result<(), String> {
    Err("this program was built without the feature `stage`; remove the key stage".to_owned())
}

pub(crate) async fn clean(_: &Ledger, _: &Report) {}

/// Does not exist.
pub(crate) enum StoreTarget {}

impl StoreTarget {
    pub(crate) fn of(output: &Path) -> Result<Option<Self>, String> {
        match output.to_str().is_some_and(text::is_url) {
            true => {
                Err("this program was built without the feature `stage`; use a folder for --output"
                    .to_owned())
            }
            false => Ok(None),
        }
    }

    pub(crate) async fn save(
        &self,
        _: &Downloader,
        _: (&Job, &RemoteFile),
        _: &[String],
        _: bool,
        _: Option<&Ledger>,
        _: &Report,
    ) -> Result<LocalFile, DownloadError> {
        match *self {}
    }

    pub(crate) async fn write(
        &self,
        _: (&JobId, FileKind),
        _: Vec<u8>,
        _: &[String],
        _: bool,
        _: Option<&Ledger>,
    ) -> Result<LocalFile, DownloadError> {
        match *self {}
    }

    pub(crate) async fn read(&self, _: &str) -> Result<Vec<u8>, std::io::Error> {
        match *self {}
    }

    #[cfg(feature = "fleet")]
    pub(crate) fn of_worker(
        self,
        _: akool_restate::WorkerBuilder,
        _: Downloader,
    ) -> akool_restate::WorkerBuilder {
        match self {}
    }
}
