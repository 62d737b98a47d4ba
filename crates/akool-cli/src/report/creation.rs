//! What is told of creations.

use akool::{
    CreateError, CreatedJob, JobId, Language, Refusal,
    ledger::{EntryId, KnownWork},
};
use serde_json::json;

use super::Report;
use crate::{
    ledger::{Row, State},
    text::{self, ago, bad, good},
};

impl Report {
    /// A job that was created. Its id goes to stdout whatever happens next.
    pub(crate) fn created(&self, id: &JobId, language: Option<&Language>) {
        if self.json {
            return self.object(&json!({ "event": "created", "id": id, "language": language }));
        }
        if self.ids_only {
            self.line(id);
        } else {
            self.line(format_args!("{}  {}", self.name(id), good("created")));
        }
    }

    /// A language that was refused.
    pub(crate) fn refused(&self, refusal: &Refusal) {
        if self.json {
            self.object(&json!({
                "event": "rejected",
                "language": refusal.language,
                "code": refusal.code,
                "message": refusal.to_string(),
            }));
        }
        self.note(format_args!("{} {refusal}", bad("refused:").for_stderr()));
    }

    /// Work that the ledger has already.
    pub(crate) fn already_there(&self, work: &KnownWork) {
        let when = ago(work.at);
        if self.json {
            let time = humantime::format_rfc3339_seconds(work.at).to_string();
            let event = match &work.job {
                Some(_) => Some("reused"),
                None if work.in_flight => Some("being_created"),
                None => None,
            };
            match event {
                Some(event) => self.object(&json!({
                    "event": event,
                    "id": work.job,
                    "entry": work.entry,
                    "language": work.language,
                    "status": work.status.map(akool::Status::name),
                    "requested_at": time,
                })),
                None => {
                    let text =
                        "it was asked for before, and its outcome is unknown; it was not asked for again";
                    self.outcome_unknown(Some(&work.entry), std::slice::from_ref(&work.language), text);
                }
            }
        }
        match &work.job {
            Some(id) => {
                if self.ids_only && !self.json {
                    self.line(id);
                }
                if self.quiet {
                    return;
                }
                self.note(format_args!(
                    "{id}  {}  is there already, asked for {when} (--allow-duplicate pays for it once more)",
                    work.language
                ));
            }
            // Told once by whoever waits for it.
            None if work.in_flight => self.note(format_args!(
                "{}  another run is asking for it just now; waiting for what comes of that",
                work.language
            )),
            None => self.note(format_args!(
                "{} {}: it was asked for {when}, and its outcome is unknown; it was not asked for again.{}",
                text::error(),
                work.language,
                what_to_do(&format!("{}:{}", work.entry, work.language))
            )),
        }
    }

    /// Languages of which the answer said nothing clear, beside the jobs that it named.
    pub(crate) fn unclear(&self, languages: &[Language], jobs: &[CreatedJob]) {
        let codes: Vec<_> = languages.iter().map(Language::code).collect();
        let codes = codes.join(", ");
        let text = match jobs.iter().find(|job| job.language.is_none()) {
            Some(job) => format!(
                "the answer has one job ({}) for {codes} and does not say which it is; look for the others in \
                 the service's console",
                job.id
            ),
            None => format!(
                "the answer says nothing of {codes}: they may have been created and paid for; look for them in \
                 the service's console"
            ),
        };
        self.outcome_unknown(None, languages, &text);
        self.note(format_args!("{} {text}", text::error()));
    }

    /// For programs: jobs may have been created, be it of the languages named or of all that were asked for.
    fn outcome_unknown(&self, entry: Option<&EntryId>, languages: &[Language], text: &str) {
        if self.json {
            self.object(&json!({
                "event": "outcome_unknown", "entry": entry, "languages": languages, "message": text,
            }));
        }
    }

    /// An entry of the ledger of which nobody knows what became.
    pub(crate) fn unknown(&self, row: &Row) {
        self.outcome_unknown(Some(&row.entry), row.language.as_slice(), "the outcome is unknown");
        let why = match &row.state {
            State::Unknown { why: Some(why) } => format!(" ({why})"),
            _ => String::new(),
        };
        let language = row.language.as_ref().map_or("?", Language::code);
        self.note(format_args!(
            "{}  {language}  asked for {}, outcome unknown{why}.{}",
            row.entry,
            ago(row.at),
            what_to_do(&format!("{}:{language}", row.entry))
        ));
    }

    /// A creation that was left before its answer came.
    pub(crate) fn left_unknown(&self) {
        let text = "left before the answer came: jobs may have been created and paid for; `akool jobs` has the request";
        self.outcome_unknown(None, &[], text);
        self.note(format_args!("{} {text}", text::error()));
    }

    /// A request of which nothing came, or of which nobody knows.
    pub(crate) fn not_created(&self, error: &CreateError) {
        let kind = match error {
            CreateError::OutcomeUnknown(_) => "outcome_unknown",
            CreateError::AllRefused(refused) => {
                return refused.iter().for_each(|refusal| self.refused(refusal));
            }
            CreateError::Invalid(_) => "wrong_use",
            CreateError::Ledger(_) => "ledger",
            other => other.call().map_or("not_created", |error| error.kind().name()),
        };
        if let CreateError::OutcomeUnknown(maybe) = error {
            let entry = maybe.entry.as_ref().map_or("ENTRY", |entry| entry.as_str());
            let text = format!(
                "the outcome is unknown: {}. A job may have been created and paid for; it was not asked for \
                 again.{}",
                maybe.error.cause(),
                what_to_do(&format!("{entry}:LANGUAGE"))
            );
            self.outcome_unknown(maybe.entry.as_ref(), &[], &text);
            return self.note(format_args!("{} {text}", text::error()));
        }
        if self.json
            && let CreateError::NotCreated(call) = error
            && let Some(code) = call.code()
        {
            self.object(&json!({ "event": "rejected", "code": code, "message": error.to_string() }));
        }
        self.error(None, kind, error);
    }
}

fn what_to_do(entry: &str) -> String {
    format!(
        "\n  Look for it in the service's console. If it is there: akool jobs --adopt {entry}=ID\n  If it is not: \
         akool jobs --forget {entry}"
    )
}
