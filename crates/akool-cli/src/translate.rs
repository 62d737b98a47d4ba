//! `akool translate`: create, wait, fetch.

use std::{collections::BTreeSet, pin::pin};

use akool::{Client, CreateError, Creation, JobId, ledger::KnownWork};

use crate::{
    args::{Captions, Translate},
    connect::Connection,
    follow::{Follow, interruption},
    ledger,
    outcome::Outcome,
    report::Report,
    wait::IN_FLIGHT,
};

pub(crate) const AFTER_HELP: &str = "\
Examples:
  akool translate https://example.com/talk.mp4 --to es,fr --output out
  akool translate https://example.com/talk.mp4 --to ja --lipsync --captions translated
  akool translate https://example.com/talk.mp4 --to de --no-wait
  akool --sandbox translate https://example.com/talk.mp4 --to es --output out

Each language is a job of its own, and costs credits. What is about to be created is written down
before it is asked for (`akool jobs`), and never asked for twice: the same command again picks up
what is there already, also after a crash.";

/// What is there to be followed, and how creating it ended.
#[derive(Default)]
struct Made {
    jobs: BTreeSet<JobId>,
    outcome: Option<Outcome>,
}

impl Made {
    fn worsen(&mut self, outcome: Outcome) {
        self.outcome = self.outcome.max(Some(outcome));
    }
}

pub(crate) async fn run(options: &Translate, connection: &Connection, report: &Report) -> Outcome {
    let ledger = match ledger::file(connection) {
        Ok(ledger) => ledger,
        Err(error) => {
            report.error(None, "ledger", error);
            return Outcome::WrongUse;
        }
    };
    let follow = match Follow::prepare(&options.follow, connection, report, Some(ledger.clone())) {
        Ok(follow) => follow,
        Err(wrong) => {
            report.error(None, "wrong_use", wrong);
            return Outcome::WrongUse;
        }
    };
    let mut made = Made::default();
    let ledger = ledger::for_creation(&ledger, connection);
    let mut languages = options.to.clone();
    let mut told = false;
    // More than once only where another run is asking for the same work.
    while !languages.is_empty() {
        let request = request(options, &languages, &connection.client).ledger(ledger.clone());
        let mut ensure = pin!(request.ensure());
        let ensured = tokio::select! {
            ensured = &mut ensure => ensured,
            () = interruption() => {
                report.note("interrupted while jobs are created; waiting for their ids (once more: leave)");
                made.worsen(Outcome::Interrupted);
                tokio::select! {
                    ensured = &mut ensure => ensured,
                    () = interruption() => {
                        report.left_unknown();
                        return Outcome::Interrupted;
                    }
                }
            }
        };
        let asking = |work: &&KnownWork| work.in_flight;
        languages = ensured.known.iter().filter(asking).map(|work| work.language.code().to_owned()).collect();
        let known = ensured.known.iter().filter(|work| !work.in_flight || !told);
        already_there(known, &mut made, report);
        told |= !languages.is_empty();
        match ensured.sent {
            None => {}
            Some(Ok(creation)) => created(&creation, &mut made, report),
            Some(Err(CreateError::Unrecorded { creation, error })) => {
                report.error(None, "ledger", format_args!("{error}; keep the ids below"));
                created(&creation, &mut made, report);
                made.worsen(Outcome::Unexpected);
            }
            Some(Err(error)) => {
                report.not_created(&error);
                made.worsen(Outcome::from(&error));
            }
        }
        if made.outcome == Some(Outcome::Interrupted) {
            break;
        }
        if !languages.is_empty() {
            tokio::select! {
                () = tokio::time::sleep(IN_FLIGHT) => {}
                () = interruption() => {
                    made.worsen(Outcome::Interrupted);
                    break;
                }
            }
        }
    }
    let interrupted = made.outcome == Some(Outcome::Interrupted);
    let created = made.outcome.unwrap_or(Outcome::Done);
    if interrupted && made.jobs.is_empty() {
        return created;
    }
    if interrupted {
        report.interrupted(&made.jobs.into_iter().map(|id| (id, None)).collect());
        return created;
    }
    if options.no_wait || made.jobs.is_empty() {
        return created;
    }
    created.max(follow.run(made.jobs).await)
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
    if options.allow_duplicate {
        request = request.again();
    }
    request
}

fn created(creation: &Creation, made: &mut Made, report: &Report) {
    for job in creation.jobs() {
        report.label(&job.id, job.language.as_ref());
        report.created(&job.id, job.language.as_ref());
        made.jobs.insert(job.id.clone());
    }
    for refusal in creation.refused() {
        report.refused(refusal);
        made.worsen(Outcome::JobFailed);
    }
    if !creation.unclear().is_empty() {
        report.unclear(creation.unclear(), creation.jobs());
        made.worsen(Outcome::Unknown);
    }
}

fn already_there<'a>(work: impl Iterator<Item = &'a KnownWork>, made: &mut Made, report: &Report) {
    for work in work {
        report.already_there(work);
        match &work.job {
            Some(job) => {
                report.label(job, Some(&work.language));
                made.jobs.insert(job.clone());
            }
            None if work.in_flight => {}
            None => made.worsen(Outcome::Unknown),
        }
    }
}
