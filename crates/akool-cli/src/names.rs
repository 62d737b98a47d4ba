//! The names of the files of a run: [`Names`] adds the ids of jobs whose files would get the same names.

use std::{cell::RefCell, collections::BTreeMap};

use akool::{FileKind, JobId, Language};
use akool_download::{FileNames, NameTemplate, source_name};
use akool_ledger::{Filter, Ledger, LedgerError};

use crate::args;

pub(crate) struct Names {
    template: NameTemplate,
    kinds: Vec<FileKind>,
    jobs: RefCell<BTreeMap<JobId, FileNames>>,
    /// How many jobs get each name, in lower case: some systems do not distinguish case.
    used: RefCell<BTreeMap<String, u32>>,
}

impl Names {
    /// # Errors
    /// If the template gives two files of a job the same name, as a message.
    pub(crate) fn new(options: &args::Files) -> Result<Self, String> {
        let template = options.name_template.clone().unwrap_or_default();
        let kinds = options.kinds();
        template
            .check(&kinds, options.vtt)
            .map_err(|error| format!("--name-template {template}: {error}"))?;
        Ok(Self { template, kinds, jobs: RefCell::default(), used: RefCell::default() })
    }

    /// Reads source and language of a job from the ledger.
    ///
    /// # Errors
    /// If the ledger cannot be read. The job's files are then named after its id.
    pub(crate) async fn learn(
        &self,
        ledger: Option<&Ledger>,
        api: &str,
        id: &JobId,
    ) -> Result<(), LedgerError> {
        if self.jobs.borrow().contains_key(id) {
            return Ok(());
        }
        let known = match ledger {
            Some(ledger) => ledger.jobs(&Filter::job(id.clone()).at(api)).await,
            None => Ok(Vec::new()),
        };
        let (mut source, mut language) = (None, None);
        let known = known.map(|known| {
            source = known.first().and_then(|job| job.source_url.clone());
            // A job can have several languages. Then none of them names it.
            if let [only] = &known[..] {
                language = only.language.clone();
            }
        });
        self.set(id, language.as_ref(), source.as_deref());
        known
    }

    /// Sets source and language of a job, unless they are set.
    pub(crate) fn set(&self, id: &JobId, language: Option<&Language>, source: Option<&str>) {
        if self.jobs.borrow().contains_key(id) {
            return;
        }
        let mut names = FileNames::new(id.clone());
        names.source = source.and_then(source_name);
        names.language = language.map(|language| language.code().to_owned());
        for name in self.plain(&names) {
            *self.used.borrow_mut().entry(name).or_default() += 1;
        }
        self.jobs.borrow_mut().insert(id.clone(), names);
    }

    /// The names that a file can get, in order of preference. There is at least one.
    pub(crate) fn names(&self, id: &JobId, kind: FileKind) -> Vec<String> {
        self.of(id, |job, with_id| self.template.name(job, kind, with_id))
    }

    /// The same of the WebVTT file that is made from subtitles.
    pub(crate) fn vtt_names(&self, id: &JobId, kind: FileKind) -> Vec<String> {
        self.of(id, |job, with_id| self.template.vtt_name(job, kind, with_id))
    }

    fn of(&self, id: &JobId, name: impl Fn(&FileNames, bool) -> String) -> Vec<String> {
        let jobs = self.jobs.borrow();
        let unknown = FileNames::new(id.clone());
        let job = jobs.get(id).unwrap_or(&unknown);
        let used = self.used.borrow();
        let collides = self.plain(job).any(|name| used.get(&name).is_some_and(|jobs| *jobs > 1));
        let mut names = vec![name(job, false), name(job, true)];
        if collides {
            names.remove(0);
        }
        names.dedup();
        names
    }

    /// The names without an id, in lower case.
    fn plain(&self, job: &FileNames) -> impl Iterator<Item = String> {
        self.kinds.iter().map(|kind| self.template.name(job, *kind, false).to_lowercase())
    }
}
