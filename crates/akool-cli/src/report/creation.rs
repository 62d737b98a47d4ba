//! Reports on requests that create jobs.

use std::time::SystemTime;

use akool::{
    BusinessCode, CreateError, CreatedJob, Error, JobId, Language, NotCreated, Rejection, redact::excerpt,
};
use akool_ledger::{EnsureError, EntryId, KnownWork};
use serde_json::json;

use super::Report;
use crate::text::{self, ago, bad, good};

/// A parameter is wrong, such as a language that AKOOL does not support.
const PARAMETER: BusinessCode = BusinessCode(1003);

impl Report {
    /// A job that was created. Its id is printed at once, whatever happens later.
    pub(crate) fn created(&self, id: &JobId, language: Option<&Language>) {
        if self.is_json() {
            return self.object(&json!({ "event": "created", "id": id, "language": language }));
        }
        if self.settings.ids_only {
            self.line(id);
        } else {
            self.line(format_args!("{}  {}", self.name(id), good("created")));
        }
    }

    /// A language that AKOOL rejected.
    pub(crate) fn rejected(&self, rejection: &Rejection) {
        if self.is_json() {
            self.object(&json!({
                "event": "rejected",
                "language": rejection.language,
                "code": rejection.code,
                "message": rejection.to_string(),
            }));
        }
        let language = rejection.language.as_ref().map_or("a language", Language::code);
        let reason = match excerpt(&rejection.message) {
            message if message.is_empty() => format!("code {}", rejection.code),
            message => format!("{message} (code {})", rejection.code.0),
        };
        self.note(format_args!(
            "{} {language}: {reason}. `akool languages` lists the codes",
            bad("rejected:").for_stderr()
        ));
    }

    /// A language that the ledger already has.
    pub(crate) fn reused(&self, work: &KnownWork) {
        let when = ago(work.at);
        if self.is_json() {
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
                        "it was requested before, and its outcome is unknown; it was not requested again";
                    self.outcome_unknown(Some(&work.entry), std::slice::from_ref(&work.language), text);
                }
            }
        }
        match &work.job {
            Some(id) => {
                if self.settings.ids_only && !self.is_json() {
                    self.line(id);
                }
                if self.settings.quiet {
                    return;
                }
                self.note(format_args!(
                    "{id}  {}  already created {when}, reusing it (`--allow-duplicate` creates and pays for another)",
                    work.language
                ));
            }
            None if work.in_flight => self.note(format_args!(
                "{}  another process is creating it; waiting for the outcome",
                work.language
            )),
            None => self.note(format_args!(
                "{} {}: requested {when}, outcome unknown; it was not requested again.{}",
                text::error(),
                work.language,
                next_steps(&format!("{}:{}", work.entry, work.language))
            )),
        }
    }

    /// Languages whose jobs the response does not name.
    pub(crate) fn unknown(&self, languages: &[Language], jobs: &[CreatedJob]) {
        let codes: Vec<_> = languages.iter().map(Language::code).collect();
        let codes = codes.join(", ");
        let text = match jobs.iter().find(|job| job.language.is_none()) {
            Some(job) => format!(
                "the response has one job ({}) for {codes} and does not say which it is; look for the others in \
                 AKOOL's console",
                job.id
            ),
            None => format!(
                "the response does not mention {codes}: they may have been created and charged; look for them in \
                 AKOOL's console"
            ),
        };
        self.outcome_unknown(None, languages, &text);
        self.note(format_args!("{} {text}", text::error()));
    }

    /// For programs: jobs may have been created for these languages, or for all if there are none.
    fn outcome_unknown(&self, entry: Option<&EntryId>, languages: &[Language], text: &str) {
        if self.is_json() {
            self.object(&json!({
                "event": "outcome_unknown", "entry": entry, "languages": languages, "message": text,
            }));
        }
    }

    /// An entry of the ledger whose outcome is unknown.
    pub(crate) fn unknown_entry(
        &self,
        entry: &EntryId,
        language: Option<&Language>,
        requested: SystemTime,
        why: Option<&str>,
    ) {
        self.outcome_unknown(Some(entry), language.cloned().as_slice(), "the outcome is unknown");
        let why = why.map_or_else(String::new, |why| format!(" ({why})"));
        let code = language.map_or("?", Language::code);
        self.note(format_args!(
            "{entry}  {code}  requested {}, outcome unknown{why}.{}",
            ago(requested),
            next_steps(&format!("{entry}:{code}"))
        ));
    }

    /// The program was interrupted before the response arrived.
    pub(crate) fn interrupted_creation(&self) {
        let text = "interrupted before the response arrived: jobs may have been created and charged; `akool jobs` lists \
                    the request";
        self.outcome_unknown(None, &[], text);
        self.note(format_args!("{} {text}", text::error()));
    }

    /// A request that created nothing, or whose outcome is unknown.
    pub(crate) fn not_created(&self, error: &EnsureError) {
        let kind = match error {
            EnsureError::OutcomeUnknown { .. } => "outcome_unknown",
            EnsureError::NotCreated(CreateError::NotCreated(NotCreated { rejected, .. }))
                if !rejected.is_empty() =>
            {
                return rejected.iter().for_each(|rejection| self.rejected(rejection));
            }
            EnsureError::NotCreated(CreateError::Invalid(_)) => "usage",
            EnsureError::Ledger(_) => "ledger",
            other => other.error().map_or("not_created", |error| error.kind().name()),
        };
        if let EnsureError::OutcomeUnknown { entry, source } = error {
            let why = source.error().map_or_else(|| source.to_string(), text::why);
            let text = format!(
                "the outcome is unknown: {why}. A job may have been created and charged; it was not requested \
                 again.{}",
                next_steps(&format!("{entry}:LANGUAGE"))
            );
            self.outcome_unknown(Some(entry), &[], &text);
            return self.note(format_args!("{} {text}", text::error()));
        }
        let text = text::with_causes(error);
        if self.is_json()
            && let EnsureError::NotCreated(CreateError::NotCreated(NotCreated { error, .. })) = error
            && let Some(code) = error.code()
        {
            self.object(&json!({ "event": "rejected", "code": code, "message": text }));
        }
        let help = match error {
            EnsureError::Ledger(_) => {
                "check that the ledger can be read and written; XDG_STATE_HOME sets its folder".to_owned()
            }
            _ if error.error().and_then(Error::code) == Some(PARAMETER) => {
                format!("{}. `akool languages` lists the language codes", error.help())
            }
            _ => error.help().to_owned(),
        };
        self.failure(None, kind, text, (kind != "usage").then_some(&help));
    }
}

fn next_steps(entry: &str) -> String {
    format!(
        "\n  Look for it in AKOOL's console. If it is there: akool jobs --adopt {entry}=ID\n  If it is not: akool \
         jobs --forget {entry}"
    )
}
