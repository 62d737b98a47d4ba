//! Reports on requests that create jobs.

use akool::{
    BusinessCode, CreateError, CreatedJob, Error, JobId, Language, NotCreated, Rejection, redact::excerpt,
};
use akool_ledger::{EnsureError, EntryId, LedgerJob, Work, WorkOutcome};
use serde_json::json;

use super::Report;
use crate::{
    budget::Reached,
    text::{self, ago, bad, good},
};

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

    /// A language that AKOOL does not list.
    pub(crate) fn unsupported(&self, code: &str) {
        let text = format!("{code}: not supported. `{}` lists the codes", self.command("languages"));
        if self.is_json() {
            self.object(
                &json!({ "event": "rejected", "language": code, "code": PARAMETER, "message": text }),
            );
        }
        self.note(format_args!("{} {text}", bad("rejected:").for_stderr()));
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
            "{} {language}: {reason}{}",
            bad("rejected:").for_stderr(),
            self.hint(rejection.code)
        ));
    }

    /// What helps with a code, after a sentence.
    fn hint(&self, code: BusinessCode) -> String {
        match code.0 {
            1003 => format!(". `{}` lists the codes", self.command("languages")),
            1006 | 1104 => format!(". `{}` prints the balance", self.command("credits")),
            _ => String::new(),
        }
    }

    /// A video, or a language of it, that is left out: of a line of a file, or of the command line.
    pub(crate) fn left_out(&self, line: Option<u64>, error: &str) {
        if self.is_json() {
            self.object(&json!({ "event": "left_out", "line": line, "message": error }));
        }
        match line {
            Some(line) => self.note(format_args!("line {line} left out: {error}")),
            None => self.note(format_args!("left out: {error}")),
        }
    }

    /// Languages of a video that were not created because of a limit on credits.
    pub(crate) fn over_budget(&self, line: Option<u64>, source: &str, languages: &[&str], reached: &Reached) {
        if self.is_json() {
            self.object(&json!({
                "event": "not_created", "line": line, "source": source, "languages": languages,
                "message": reached.to_string(),
            }));
        }
        self.note(format_args!("not created: {source}: {}", languages.join(", ")));
    }

    /// How many of the jobs of a run have ended in each way.
    pub(crate) fn summary(&self, text: &str, members: serde_json::Map<String, serde_json::Value>) {
        if self.is_json() {
            let event = [("event".to_owned(), json!("summary"))];
            return self.object(&event.into_iter().chain(members).collect::<serde_json::Map<_, _>>());
        }
        self.line(text);
    }

    /// How many of the jobs of a run have ended.
    pub(crate) fn advance(&self, ended: usize, total: usize) {
        if let Some(screen) = &self.screen {
            screen.advance(ended, total);
        }
    }

    /// A language that the ledger already has.
    pub(crate) fn reused(&self, work: &Work) {
        let when = ago(work.requested_at);
        let language = work.language.as_ref().map_or("?", Language::code);
        if self.is_json() && (work.job().is_some() || work.is_in_flight()) {
            self.object(&json!({
                "event": if work.is_in_flight() { "being_created" } else { "reused" },
                "id": work.job().map(|job| &job.id),
                "entry": work.entry,
                "language": work.language,
                "status": work.job().and_then(|job| job.status).map(akool::Status::name),
                "requested_at": humantime::format_rfc3339_seconds(work.requested_at).to_string(),
            }));
        }
        match work.job() {
            Some(job) => {
                if self.settings.ids_only && !self.is_json() {
                    self.line(&job.id);
                }
                if self.settings.quiet {
                    return;
                }
                self.note(format_args!(
                    "{}  {language}  already created {when}, reusing it (`--allow-duplicate` creates and pays for another)",
                    job.id
                ));
            }
            None if work.is_in_flight() => {
                self.note(format_args!("{language}  another process is creating it; waiting for the outcome"))
            }
            None => {
                let text = "it was requested before, and its outcome is unknown; it was not requested again";
                self.outcome_unknown(Some(&work.entry), work.language.as_slice(), text);
                self.note(format_args!(
                    "{} {language}: requested {when}, outcome unknown; it was not requested again.{}",
                    text::error(),
                    self.next_steps(&format!("{}:{language}", work.entry))
                ));
            }
        }
    }

    /// A job that failed earlier, so that its work is created and paid for again.
    pub(crate) fn creating_again(&self, job: &LedgerJob) {
        if self.is_json() {
            return self.object(&json!({
                "event": "creating_again", "id": job.id, "language": job.language, "message": job.error_reason,
            }));
        }
        let language = job.language.as_ref().map_or("?", Language::code);
        let when = ago(job.changed_at.unwrap_or(job.created_at));
        let why = job.error_reason.as_ref().map_or_else(String::new, |reason| format!(": {reason}"));
        self.note(format_args!("{language}: failed {when} ({}{why}); creating it again", job.id));
    }

    /// Jobs that were created and could not be recorded yet.
    pub(crate) fn unrecorded(&self, ids: &[JobId], error: &str) {
        let ids: Vec<_> = ids.iter().map(JobId::as_str).collect();
        if self.is_json() {
            self.object(&json!({ "event": "unrecorded", "ids": ids, "message": error }));
        }
        self.note(format_args!(
            "warning: jobs were created and could not be recorded ({error}); trying again for 30 s. Save their ids: {}",
            ids.join(" ")
        ));
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

    /// Work in the ledger whose outcome is unknown.
    pub(crate) fn unknown_work(&self, work: &Work) {
        self.outcome_unknown(Some(&work.entry), work.language.as_slice(), "the outcome is unknown");
        let why = match &work.outcome {
            WorkOutcome::Unknown { why: Some(why) } => format!(" ({why})"),
            _ => String::new(),
        };
        let code = work.language.as_ref().map_or("?", Language::code);
        self.note(format_args!(
            "{}  {code}  requested {}, outcome unknown{why}.{}",
            work.entry,
            ago(work.requested_at),
            self.next_steps(&format!("{}:{code}", work.entry))
        ));
    }

    /// The program was interrupted before the response arrived.
    pub(crate) fn interrupted_creation(&self) {
        let command = self.command("jobs");
        let text = format!(
            "interrupted before the response arrived: jobs may have been created and charged; `{command}` lists the request"
        );
        self.outcome_unknown(None, &[], &text);
        self.note(format_args!("{} {text}", text::error()));
    }

    /// A request that created nothing, or whose outcome is unknown.
    pub(crate) fn not_created(&self, error: &EnsureError, languages: &[String]) {
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
                self.next_steps(&format!("{entry}:{}", languages.first().map_or("LANGUAGE", String::as_str)))
            );
            let languages: Vec<_> = languages.iter().map(|code| Language::from(code.as_str())).collect();
            self.outcome_unknown(Some(entry), &languages, &text);
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
                "check that the ledger can be read and written; --ledger selects another file".to_owned()
            }
            _ if error.error().and_then(Error::code) == Some(PARAMETER) => {
                format!("{}. `{}` lists the language codes", error.help(), self.command("languages"))
            }
            _ => error.help().to_owned(),
        };
        self.failure(None, kind, text, (kind != "usage").then_some(&help));
    }

    fn next_steps(&self, entry: &str) -> String {
        let adopt = self.command(&format!("jobs --adopt {entry}=ID"));
        let forget = self.command(&format!("jobs --forget {entry}"));
        format!("\n  Look for it in AKOOL's console. If it is there: {adopt}\n  If it is not: {forget}")
    }
}
