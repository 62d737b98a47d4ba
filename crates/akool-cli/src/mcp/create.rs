//! The tools `plan` and `translate`.

use akool::{Created, ErrorKind, Language, Rejection, redact::excerpt};
use akool_ledger::{Ensure, EnsureError, EnsureEvent, Ensured, Estimate, Work};
use rmcp::model::CallToolResult;
use tokio::sync::oneshot;

use crate::{
    args::RequestRow,
    outcome::Outcome,
    spending::{account_code, rejections},
    text,
};

use super::{
    call::Server,
    limit::Refused,
    output::{Action, Creation, Failure, PlanResult, Planned, TranslateResult, Translated, refused, result},
};

const REPEAT: &str = "Repeat the call later: what exists is not created again.";
const UNKNOWN: &str = "Do not try to create it in another way. Tell a person: find the job in AKOOL's console, then record the \
                       outcome with `akool jobs --adopt` or `akool jobs --forget`.";

impl Server<'_> {
    pub(super) async fn plan(&self, row: &RequestRow) -> CallToolResult {
        let languages = &row.request.to;
        let plan = match self.ensure(row, languages).plan().await {
            Ok(plan) => plan,
            Err(error) => return refused(&failure(&error)),
        };
        // If the languages cannot be fetched, `translate` leaves it to the service too.
        let supported = self.client.languages().await.ok();
        let is_supported = |language: &Language| {
            supported.as_ref().is_none_or(|known| known.iter().any(|known| known.language.is(language)))
        };
        let estimate = plan.estimate.map(|Estimate { credits, .. }| credits);
        let planned = |code: &String| {
            let language = Language::from(code.as_str());
            let is = |other: &Option<Language>| other.as_ref().is_some_and(|other| other.is(&language));
            let known = plan.known.iter().find(|work| is(&work.language));
            let action = match known {
                Some(work) if work.job().is_some() => Action::Reuse,
                Some(work) if work.is_in_flight() => Action::BeingCreated,
                Some(_) => Action::OutcomeUnknown,
                None if !is_supported(&language) => Action::NotSupported,
                None if plan.failed.iter().any(|job| is(&job.language)) => Action::CreateAgain,
                None => Action::Create,
            };
            let is_new = matches!(action, Action::Create | Action::CreateAgain);
            Planned {
                language: code.clone(),
                action,
                id: known.and_then(Work::job).map(|job| job.id.as_str().to_owned()),
                credits: estimate.filter(|_| is_new),
            }
        };
        let languages: Vec<_> = distinct(languages).iter().map(planned).collect();
        let is_new = |planned: &&Planned| matches!(planned.action, Action::Create | Action::CreateAgain);
        let jobs = languages.iter().filter(is_new).count();
        let next = match self.limit.check(&self.ledger, jobs, estimate).await {
            _ if jobs == 0 => {
                "Call `translate`: it creates nothing, and returns the ids of the jobs that exist.".to_owned()
            }
            Ok(()) => "Call `translate` with the same arguments.".to_owned(),
            Err(refused) => format!("{}. {}", refused, refused.help()),
        };
        let plan = PlanResult {
            languages,
            jobs,
            credits: if jobs == 0 { Some(0.0) } else { estimate.map(|credits| credits * jobs as f64) },
            balance: self.client.credits().await.ok(),
            budget: self.limit.budget(&self.ledger).await,
            next,
        };
        result(&plan, [], false)
    }

    /// Creates what the ledger does not have, if the limit leaves room for all of it. As long as it is not known what a job
    /// of this video holds, the first one is created alone, so the limit is exceeded by one job at most.
    ///
    /// `None` if the client has cancelled the call, or does not wait any more. Then nothing more is requested.
    pub(super) async fn translate(
        &self,
        row: &RequestRow,
        reply: &mut oneshot::Sender<CallToolResult>,
    ) -> Option<CallToolResult> {
        let mut lines = Vec::new();
        let mut languages = distinct(&row.request.to);
        let mut is_price_known = false;
        // One call at a time, until what it created is recorded.
        let turn = tokio::select! {
            biased;
            () = reply.closed() => return None,
            turn = self.limit.turn.lock() => turn,
        };
        while !languages.is_empty() {
            if reply.is_closed() || self.is_ending() {
                return None;
            }
            let plan = match self.ensure(row, &languages).plan().await {
                Ok(plan) => plan,
                Err(error) => {
                    lines.extend(languages.iter().map(|code| not_created(code, failure(&error))));
                    break;
                }
            };
            let estimate = plan.estimate.map(|Estimate { credits, .. }| credits);
            if !plan.missing.is_empty()
                && let Err(refused) = self.limit.check(&self.ledger, plan.missing.len(), estimate).await
            {
                lines.extend(plan.known.iter().map(known));
                lines.extend(plan.missing.iter().map(|language| over(language, &refused)));
                break;
            }
            let later = if is_price_known { &[] } else { plan.missing.get(1..).unwrap_or_default() };
            let is_later = |code: &String| later.iter().any(|language| language.is(&code.as_str().into()));
            let (rest, now): (Vec<_>, Vec<_>) = languages.into_iter().partition(is_later);
            languages = rest;
            let ensured = self.send(row, &now, estimate).await;
            is_price_known = matches!(&ensured.sent, Some(Ok(created)) if !created.jobs.is_empty());
            let is_about_account = account_code(&ensured).is_some();
            lines.extend(ensured.known.iter().map(known));
            let Some(sent) = ensured.sent else { continue };
            let is_known = |code: &&String| !ensured.known.iter().any(|work| is_of(work, code));
            let requested: Vec<_> = now.iter().filter(is_known).collect();
            let goes_on = !is_about_account && sent.as_ref().err().is_none_or(is_rejection);
            lines.extend(sent_lines(sent, &requested));
            if !goes_on {
                let why =
                    || Failure::new("not_requested", "not requested, because of the error before", REPEAT);
                lines.extend(languages.iter().map(|code| not_created(code, why())));
                break;
            }
        }
        drop(turn);
        let has_all = lines.iter().all(|line| {
            matches!(line.outcome, Creation::Created | Creation::Reused | Creation::BeingCreated)
        });
        let translated = TranslateResult {
            next: next(&lines).to_owned(),
            languages: lines,
            budget: self.limit.budget(&self.ledger).await,
        };
        Some(result(&translated, [], !has_all))
    }

    fn ensure(&self, row: &RequestRow, languages: &[String]) -> Ensure {
        self.ledger.translate(row.translate(self.client, languages)).api(self.api)
    }

    async fn send(&self, row: &RequestRow, languages: &[String], estimate: Option<f64>) -> Ensured {
        let entries = self.limit.entries();
        let ensure = self.ensure(row, languages).on_event(move |event| {
            // Before the request is sent, so that it counts whatever happens to it.
            if let EnsureEvent::Requesting(entry) = event {
                entries.add(entry, estimate);
            }
        });
        self.set_creating(true);
        let ensured = ensure.run().await;
        self.set_creating(false);
        ensured
    }
}

/// Each language once, in order.
fn distinct(codes: &[String]) -> Vec<String> {
    let mut distinct: Vec<String> = Vec::new();
    for code in codes {
        if !distinct.iter().any(|other| other.eq_ignore_ascii_case(code)) {
            distinct.push(code.clone());
        }
    }
    distinct
}

fn is_of(work: &Work, code: &str) -> bool {
    work.language.as_ref().is_some_and(|language| language.is(&code.into()))
}

fn line(language: Option<&Language>, outcome: Creation) -> Translated {
    Translated {
        language: excerpt(language.map_or("unknown", Language::code)),
        outcome,
        id: None,
        entry: None,
        credits: None,
        error: None,
    }
}

/// What the ledger had.
fn known(work: &Work) -> Translated {
    let line = |outcome| line(work.language.as_ref(), outcome);
    match work.job() {
        Some(job) => Translated { id: Some(job.id.as_str().to_owned()), ..line(Creation::Reused) },
        None if work.is_in_flight() => line(Creation::BeingCreated),
        None => Translated {
            entry: Some(work.entry.to_string()),
            error: Some(Failure::new("outcome_unknown", "an earlier request got no clear response", UNKNOWN)),
            ..line(Creation::OutcomeUnknown)
        },
    }
}

fn not_created(code: &str, error: Failure) -> Translated {
    Translated { error: Some(error), ..line(Some(&code.into()), Creation::NotCreated) }
}

/// The result of a request for these languages.
fn sent_lines(sent: Result<Created, EnsureError>, languages: &[&String]) -> Vec<Translated> {
    match sent {
        Ok(created) => created_lines(&created),
        Err(EnsureError::Unrecorded { created, source }) => {
            let why = text::with_causes(&source);
            let help =
                "Keep the id and tell a person: the ledger does not have this job. Do not repeat the call.";
            let mut lines = created_lines(&created);
            lines.iter_mut().for_each(|line| line.error = Some(Failure::new("ledger", &why, help)));
            lines
        }
        Err(EnsureError::OutcomeUnknown { entry, source }) => {
            let why = text::with_causes(&source);
            let unknown = |code: &&String| Translated {
                entry: Some(entry.to_string()),
                error: Some(Failure::untrusted("outcome_unknown", &why, UNKNOWN)),
                ..line(Some(&code.as_str().into()), Creation::OutcomeUnknown)
            };
            languages.iter().map(unknown).collect()
        }
        Err(error) => {
            let of = |code: &&String| {
                let is_it = |rejection: &&Rejection| {
                    rejection.language.as_ref().is_some_and(|language| language.is(&code.as_str().into()))
                };
                match rejections(&error).iter().find(is_it) {
                    Some(rejection) => rejected(rejection),
                    None if is_rejection(&error) => {
                        Translated { outcome: Creation::Rejected, ..not_created(code, failure(&error)) }
                    }
                    None => not_created(code, failure(&error)),
                }
            };
            languages.iter().map(of).collect()
        }
    }
}

/// Whether the service has rejected these languages, and perhaps not others.
fn is_rejection(error: &EnsureError) -> bool {
    Outcome::from(error) == Outcome::JobFailed
}

fn created_lines(created: &Created) -> Vec<Translated> {
    let jobs = created.jobs.iter().map(|job| Translated {
        id: Some(job.id.as_str().to_owned()),
        credits: job.credits_held,
        ..line(job.language.as_ref(), Creation::Created)
    });
    let unknown = created.unknown.iter().map(|language| Translated {
        error: Some(Failure::new("outcome_unknown", "the response does not name a job for it", UNKNOWN)),
        ..line(Some(language), Creation::OutcomeUnknown)
    });
    jobs.chain(created.rejected.iter().map(rejected)).chain(unknown).collect()
}

fn rejected(rejection: &Rejection) -> Translated {
    let help = "`languages` lists the codes, and `credits` says how much is left.";
    let error = Failure::untrusted("rejected", &rejection.to_string(), help);
    Translated { error: Some(error), ..line(rejection.language.as_ref(), Creation::Rejected) }
}

fn over(language: &Language, refused: &Refused) -> Translated {
    let error = Failure::new(refused.kind(), &refused.to_string(), refused.help());
    not_created(language.code(), error)
}

fn failure(error: &EnsureError) -> Failure {
    let kind = match error {
        EnsureError::Ledger(_) => "ledger",
        other => other.error().map_or("usage", |error: &akool::Error| ErrorKind::name(error.kind())),
    };
    Failure::untrusted(kind, &text::with_causes(error), error.help())
}

/// What to do after a translation.
fn next(lines: &[Translated]) -> &'static str {
    let has = |outcome| lines.iter().any(|line| line.outcome == outcome);
    if has(Creation::Created) || has(Creation::Reused) {
        "Call `wait` with the ids. Languages without an id have no job: see their errors."
    } else if has(Creation::BeingCreated) {
        REPEAT
    } else {
        "There is no job: see the errors."
    }
}
