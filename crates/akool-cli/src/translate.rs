//! `akool translate`: creates jobs, waits for them and downloads their files.

use std::{collections::BTreeSet, pin::pin};

use akool::{Client, JobId};
use akool_ledger::{EnsureError, EnsureEvent, LedgerJob, Work};
use tokio::sync::mpsc;

use crate::{
    args::{Captions, Translate},
    connect::Connection,
    follow::Follow,
    interrupt::interruption,
    ledger::{self, IN_FLIGHT_INTERVAL, api},
    outcome::Outcome,
    report::Report,
    text,
};

/// The jobs that were created or reused, and the outcome so far.
#[derive(Default)]
struct Created {
    jobs: BTreeSet<JobId>,
    outcome: Option<Outcome>,
}

impl Created {
    fn worsen(&mut self, outcome: Outcome) {
        self.outcome = self.outcome.max(Some(outcome));
    }
}

pub(crate) async fn run(options: &Translate, connection: &Connection, report: &Report) -> Outcome {
    // A mistake on the command line leaves no file behind.
    if let Err(error) = request(options, &options.to, &connection.client).request() {
        report.not_created(&EnsureError::NotCreated(error.into()));
        return Outcome::Usage;
    }
    let follow = match Follow::prepare(&options.follow, connection, report) {
        Ok(follow) => follow,
        Err(error) => {
            report.error(None, "usage", error);
            return Outcome::Usage;
        }
    };
    let ledger = match ledger::open(connection).await {
        Ok(ledger) => ledger,
        Err(error) => {
            report.error(None, "ledger", error);
            return Outcome::Usage;
        }
    };
    let mut all = Created::default();
    let mut languages = options.to.clone();
    let mut reported = false;
    // Repeated only while another process is creating some of these languages.
    while !languages.is_empty() {
        let request = request(options, &languages, &connection.client);
        let (sender, mut events) = mpsc::unbounded_channel();
        let mut ensure = ledger.translate(request).api(api(connection)).on_event(move |event| {
            let _ = sender.send(Event::from(event));
        });
        if options.allow_duplicate {
            ensure = ensure.allow_duplicate();
        }
        let mut ensure = pin!(ensure.run());
        let mut interruptions = 0;
        let ensured = loop {
            tokio::select! {
                biased;
                Some(event) = events.recv() => event.report(report),
                ensured = &mut ensure => break ensured,
                () = interruption() => {
                    interruptions += 1;
                    if interruptions > 1 {
                        report.interrupted_creation();
                        return Outcome::Interrupted;
                    }
                    report.note(
                        "interrupted while creating jobs; waiting for their ids (interrupt again to quit)",
                    );
                    all.worsen(Outcome::Interrupted);
                }
            }
        };
        let in_flight = ensured.known.iter().filter(|work| work.is_in_flight());
        languages =
            in_flight.flat_map(|work| &work.language).map(|language| language.code().to_owned()).collect();
        let known = ensured.known.iter().filter(|work| !work.is_in_flight() || !reported);
        reused(known, &mut all, report);
        reported |= !languages.is_empty();
        match ensured.sent {
            None => {}
            Some(Ok(result)) => created(&result, &mut all, report),
            // The ids have been printed.
            Some(Err(EnsureError::Unrecorded { created: result, source })) => {
                let text = format!(
                    "the ids above could not be recorded: {}; save them, nothing else has them",
                    text::with_causes(&source)
                );
                report.error(None, "ledger", text);
                created(&result, &mut all, report);
                all.worsen(Outcome::Unknown);
            }
            Some(Err(error)) => {
                report.not_created(&error);
                all.worsen(Outcome::from(&error));
            }
        }
        if all.outcome == Some(Outcome::Interrupted) {
            break;
        }
        if !languages.is_empty() {
            tokio::select! {
                () = tokio::time::sleep(IN_FLIGHT_INTERVAL) => {}
                () = interruption() => {
                    all.worsen(Outcome::Interrupted);
                    break;
                }
            }
        }
    }
    let interrupted = all.outcome == Some(Outcome::Interrupted);
    let outcome = all.outcome.unwrap_or(Outcome::Done);
    if interrupted && all.jobs.is_empty() {
        return outcome;
    }
    if interrupted {
        report.interrupted(&all.jobs.into_iter().map(|id| (id, None)).collect());
        return outcome;
    }
    if options.no_wait || all.jobs.is_empty() {
        return outcome;
    }
    outcome.max(follow.with_ledger(Some(ledger)).await.run(all.jobs).await)
}

/// What happens before a creation has its result.
enum Event {
    CreatingAgain(LedgerJob),
    Unrecorded { ids: Vec<JobId>, error: String },
}

impl From<EnsureEvent<'_>> for Event {
    fn from(event: EnsureEvent<'_>) -> Self {
        match event {
            EnsureEvent::Unrecorded { created, error } => Self::Unrecorded {
                ids: created.jobs.iter().map(|job| job.id.clone()).collect(),
                error: text::with_causes(error),
            },
            EnsureEvent::CreatingAgain(job) => Self::CreatingAgain(job.clone()),
            _ => Self::Unrecorded { ids: Vec::new(), error: String::new() },
        }
    }
}

impl Event {
    fn report(self, report: &Report) {
        match self {
            Self::CreatingAgain(job) => report.creating_again(&job),
            Self::Unrecorded { ids, error } => report.unrecorded(&ids, &error),
        }
    }
}

fn request(options: &Translate, languages: &[String], client: &Client) -> akool::Translate {
    let languages = languages.iter().map(|code| code.trim());
    let mut request = client.translate(options.url.as_str()).to(languages);
    if let Some(language) = &options.source_language {
        request = request.source_language(language.as_str());
    }
    if options.lipsync {
        request = request.lipsync(true);
    }
    if let Some(count) = options.speakers {
        request = request.speakers(count);
    }
    if options.remove_background_music {
        request = request.remove_background_music(true);
    }
    if let Some(captions) = options.captions {
        request = request.captions(match captions {
            Captions::None => akool::Captions::None,
            Captions::Original => akool::Captions::Original,
            Captions::Translated => akool::Captions::Translated,
            Captions::Replaced => akool::Captions::Replaced,
            Captions::Added => akool::Captions::Added,
        });
    }
    if let Some(url) = &options.caption_file {
        request = request.caption_file(url);
    }
    request = request.keep_words(&options.keep_word);
    for (word, translation) in &options.translate_word {
        request = request.translate_word(word, translation);
    }
    for (word, sound) in &options.pronounce_word {
        request = request.pronounce_word(word, sound);
    }
    if let Some(style) = options.style {
        request = request.style(style);
    }
    if options.dynamic_duration {
        request = request.dynamic_duration(true);
    }
    if let Some(url) = &options.webhook {
        request = request.webhook(url);
    }
    request
}

fn created(result: &akool::Created, all: &mut Created, report: &Report) {
    for job in &result.jobs {
        report.label(&job.id, job.language.as_ref());
        report.created(&job.id, job.language.as_ref());
        all.jobs.insert(job.id.clone());
    }
    for rejection in &result.rejected {
        report.rejected(rejection);
        all.worsen(Outcome::JobFailed);
    }
    if !result.unknown.is_empty() {
        report.unknown(&result.unknown, &result.jobs);
        all.worsen(Outcome::Unknown);
    }
}

fn reused<'a>(works: impl Iterator<Item = &'a Work>, all: &mut Created, report: &Report) {
    for work in works {
        report.reused(work);
        match work.job() {
            Some(job) => {
                report.label(&job.id, work.language.as_ref());
                all.jobs.insert(job.id.clone());
            }
            None if work.is_in_flight() => {}
            None => all.worsen(Outcome::Unknown),
        }
    }
}
