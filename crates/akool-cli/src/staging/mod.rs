//! Files of this machine in an object store: [`Staging`] identifies and checks those that a run names, uploads them
//! before their jobs are created, and makes the links. `clean` removes what no job needs any more, and `list` shows what
//! is left.

mod clean;
mod folder;
mod link;
mod list;
mod log;
mod target;
mod upload;
#[cfg(feature = "fleet")]
mod worker_store;

use std::{
    cell::{Cell, OnceCell, RefCell},
    collections::BTreeMap,
    fs,
};

use akool::Translate;
use akool_ledger::StagedLock;
use akool_stage::{Checked, Link, LocalFile, Location, Stage, StageError, check};

pub(crate) use self::{clean::clean, list::list, target::StoreTarget};
use crate::{args, env, outcome::Outcome, report::Report, text};

/// Stands for a link in requests that are only compared and never sent.
const PLACEHOLDER: &str = "https://staged.invalid/";

/// The files of this machine that a row names.
#[derive(Clone, Debug, Default)]
pub(crate) struct Local {
    video: Option<LocalFile>,
    captions: Option<LocalFile>,
}

impl Local {
    pub(crate) fn is_empty(&self) -> bool {
        self.files().next().is_none()
    }

    fn files(&self) -> impl Iterator<Item = &LocalFile> {
        self.video.iter().chain(&self.captions)
    }

    /// The request with what identifies the files, and without links that work.
    pub(crate) fn identify(&self, mut request: Translate) -> Translate {
        if let Some(video) = &self.video {
            request = request.with_url(PLACEHOLDER).identified_by(video.source_id());
        }
        if let Some(captions) = &self.captions {
            request = request.caption_file(PLACEHOLDER).caption_file_identified_by(captions.source_id());
        }
        request
    }

    /// The request with links to the files.
    pub(crate) fn link(&self, request: Translate, links: &Links) -> Translate {
        let mut request = self.identify(request);
        if let Some((_, link)) = &links.video {
            request = request.with_url(link.url.as_str());
        }
        if let Some((_, link)) = &links.captions {
            request = request.caption_file(link.url.as_str());
        }
        request
    }
}

/// The objects of a row's files, and links to them.
#[derive(Debug, Default)]
pub(crate) struct Links {
    video: Option<(String, Link)>,
    captions: Option<(String, Link)>,
}

impl Links {
    /// The URLs of the objects, which grant no access.
    pub(crate) fn objects(&self) -> impl Iterator<Item = &str> {
        self.video.iter().chain(&self.captions).map(|(url, _)| url.as_str())
    }
}

/// What the files of one run share.
pub(crate) struct Staging<'a> {
    options: &'a args::Staging,
    report: &'a Report,
    location: Option<Location>,
    /// Opened for the first file.
    stage: OnceCell<Stage>,
    /// The files that were read, by what names them.
    read: RefCell<BTreeMap<String, LocalFile>>,
    /// How many rows need each object that were not requested yet.
    needed: RefCell<BTreeMap<String, usize>>,
    /// Other processes do not remove these objects.
    held: RefCell<BTreeMap<String, StagedLock>>,
    warned: Cell<bool>,
}

/// Why files were not uploaded.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) text: String,
    pub(crate) help: Option<&'static str>,
    pub(crate) outcome: Outcome,
    /// Whether other files will meet the same error.
    pub(crate) is_general: bool,
}

impl From<StageError> for Failure {
    fn from(error: StageError) -> Self {
        let is_general = error.is_general();
        let outcome = match &error {
            StageError::Changed { .. } | StageError::Log { .. } => Outcome::Unexpected,
            StageError::Store { .. } if !is_general => Outcome::Unreachable,
            _ => Outcome::Usage,
        };
        Self { text: text::with_causes(&error), help: Some(error.help()), outcome, is_general }
    }
}

impl From<akool_ledger::LedgerError> for Failure {
    fn from(error: akool_ledger::LedgerError) -> Self {
        Self { text: text::with_causes(&error), help: None, outcome: Outcome::Unexpected, is_general: true }
    }
}

/// Checks that a text is a location in a store.
///
/// # Errors
/// What is wrong, as a message.
pub(crate) fn check_location(text: &str) -> Result<(), String> {
    text.parse::<Location>().map(drop).map_err(explain)
}

/// Why a text that is not a URL cannot be used if there is no store.
fn without_stage(named: &str) -> String {
    let found = fs::metadata(named);
    let named = akool::redact::excerpt(named);
    let add = "AKOOL downloads its sources itself. Add --stage s3://bucket/prefix to upload";
    match found {
        Ok(found) if found.is_dir() => {
            format!(
                "\"{named}\" is a folder of this machine, and {add} its videos for that, or pass https:// URLs"
            )
        }
        Ok(found) if found.is_file() => {
            format!("\"{named}\" is a file of this machine, and {add} it for that, or pass its https:// URL")
        }
        Ok(_) => {
            format!("\"{named}\" is a device or a named pipe; pass an https:// URL, or a file with --stage")
        }
        Err(error) => format!(
            "\"{named}\" is not a URL, and as a file of this machine it cannot be read: {error}. Pass an https:// URL \
             that AKOOL can download, or a file with --stage s3://bucket/prefix"
        ),
    }
}

fn explain(error: StageError) -> String {
    if let StageError::File { source, .. } = &error
        && source.kind() == std::io::ErrorKind::NotFound
    {
        return format!("{}; check its name, or write a URL with https://", text::with_causes(&error));
    }
    format!("{}; {}", text::with_causes(&error), error.help())
}

impl<'a> Staging<'a> {
    /// Reads the location of the store.
    ///
    /// # Errors
    /// What is wrong, as a message.
    pub(crate) fn new(options: &'a args::Staging, report: &'a Report) -> Result<Self, String> {
        let location = match &options.stage {
            Some(location) => Some(location.clone()),
            None => env::get(env::STAGE)?,
        };
        let location = location.map(|text| text.parse()).transpose().map_err(explain)?;
        Ok(Self {
            options,
            report,
            location,
            stage: OnceCell::new(),
            read: RefCell::default(),
            needed: RefCell::default(),
            held: RefCell::default(),
            warned: Cell::new(false),
        })
    }

    /// The files that a row names.
    ///
    /// # Errors
    /// Why one cannot be used, as a message.
    pub(crate) async fn find(&self, row: &args::RequestRow) -> Result<Local, String> {
        let video = self.file(&row.url, true).await?;
        let captions = match &row.request.caption_file {
            Some(captions) => self.file(captions, false).await?,
            None => None,
        };
        Ok(Local { video, captions })
    }

    async fn file(&self, named: &str, is_video: bool) -> Result<Option<LocalFile>, String> {
        if named.contains("://") {
            return Ok(None);
        }
        let Some(location) = &self.location else { return Err(without_stage(named)) };
        if self.stage.get().is_none() {
            let _ = self.stage.set(Stage::open(location).map_err(explain)?);
        }
        if let Some(file) = self.read.borrow().get(named) {
            return Ok(Some(file.clone()));
        }
        // What is refused is not read as a whole.
        if is_video {
            let path = named.to_owned();
            let checked = tokio::task::spawn_blocking(move || check(path.as_ref()));
            let checked = checked.await.map_err(|error| error.to_string())?;
            self.check(named, &checked.map_err(explain)?)?;
        }
        let path = named.to_owned();
        let read = tokio::task::spawn_blocking(move || LocalFile::read(path));
        let file = read.await.map_err(|error| error.to_string())?.map_err(explain)?;
        self.read.borrow_mut().insert(named.to_owned(), file.clone());
        Ok(Some(file))
    }

    /// Says what is not checked, and which limits are exceeded.
    fn check(&self, named: &str, checked: &Checked) -> Result<(), String> {
        let named = akool::redact::excerpt(named);
        if let Some(container) = checked.unread {
            self.report.remark(format_args!(
                "{named}: its tracks, length and frame rate were not checked ({container})"
            ));
        } else if checked.frame_rate.is_none() {
            self.report.remark(format_args!(
                "{named}: its frame rate was not checked (the file does not say in one place how many frames it has)"
            ));
        }
        for limit in checked.limits() {
            if self.options.strict_limits {
                return Err(format!("{named} {limit}"));
            }
            self.report.note(format_args!("warning: {named} {limit}; --strict-limits refuses it"));
        }
        Ok(())
    }

    /// Counts the rows that need each object.
    pub(crate) fn need<'b>(&self, rows: impl IntoIterator<Item = &'b Local>) {
        let Some(stage) = self.stage.get() else { return };
        let mut needed = self.needed.borrow_mut();
        for file in rows.into_iter().flat_map(Local::files) {
            *needed.entry(stage.url(file)).or_default() += 1;
        }
    }

    /// A row needs nothing more: its jobs were requested. The last one lets go of the objects.
    pub(crate) fn release(&self, local: &Local) {
        let Some(stage) = self.stage.get() else { return };
        for url in local.files().map(|file| stage.url(file)) {
            let mut needed = self.needed.borrow_mut();
            let rows = needed.entry(url.clone()).or_default();
            *rows = rows.saturating_sub(1);
            if *rows == 0 {
                self.held.borrow_mut().remove(&url);
            }
        }
    }

    /// Lets go of all objects: no more jobs are requested.
    pub(crate) fn release_all(&self) {
        self.held.borrow_mut().clear();
    }
}
