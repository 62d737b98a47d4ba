//! `akool translate`: creates jobs, waits for them and downloads their files.

use std::{collections::BTreeSet, future::IntoFuture, pin::pin};

use akool::{Client, JobId};
use akool_ledger::{EnsureError, KnownWork, ensure};

use crate::{
    args::{Captions, Translate},
    connect::Connection,
    follow::Follow,
    interrupt::interruption,
    ledger::{self, IN_FLIGHT_INTERVAL},
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
    let ledger = match ledger::file(connection) {
        Ok(ledger) => ledger,
        Err(error) => {
            report.error(None, "ledger", error);
            return Outcome::Usage;
        }
    };
    let follow = match Follow::prepare(&options.follow, connection, report, Some(ledger.clone())) {
        Ok(follow) => follow,
        Err(error) => {
            report.error(None, "usage", error);
            return Outcome::Usage;
        }
    };
    let mut all = Created::default();
    let ledger = ledger::for_creation(&ledger, connection);
    let mut languages = options.to.clone();
    let mut reported = false;
    // Repeated only while another process is creating some of these languages.
    while !languages.is_empty() {
        let request = request(options, &languages, &connection.client);
        let mut ensure = ensure(&*ledger, request);
        if options.allow_duplicate {
            ensure = ensure.allow_duplicate();
        }
        let mut ensure = pin!(ensure.into_future());
        let ensured = tokio::select! {
            ensured = &mut ensure => ensured,
            () = interruption() => {
                report.note("interrupted while creating jobs; waiting for their ids (interrupt again to quit)");
                all.worsen(Outcome::Interrupted);
                tokio::select! {
                    ensured = &mut ensure => ensured,
                    () = interruption() => {
                        report.interrupted_creation();
                        return Outcome::Interrupted;
                    }
                }
            }
        };
        let in_flight = |work: &&KnownWork| work.in_flight;
        languages =
            ensured.known.iter().filter(in_flight).map(|work| work.language.code().to_owned()).collect();
        let known = ensured.known.iter().filter(|work| !work.in_flight || !reported);
        reused(known, &mut all, report);
        reported |= !languages.is_empty();
        match ensured.sent {
            None => {}
            Some(Ok(result)) => created(&result, &mut all, report),
            Some(Err(EnsureError::Unrecorded { created: result, source })) => {
                let why = text::with_causes(&source);
                report.error(
                    None,
                    "ledger",
                    format_args!("jobs were created, but could not be recorded: {why}; save the ids below"),
                );
                created(&result, &mut all, report);
                all.worsen(Outcome::Unexpected);
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
    outcome.max(follow.run(all.jobs).await)
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

fn reused<'a>(work: impl Iterator<Item = &'a KnownWork>, all: &mut Created, report: &Report) {
    for work in work {
        report.reused(work);
        match &work.job {
            Some(job) => {
                report.label(job, Some(&work.language));
                all.jobs.insert(job.clone());
            }
            None if work.in_flight => {}
            None => all.worsen(Outcome::Unknown),
        }
    }
}
