//! Sends the requests of a row, with links to its files.

use akool::{JobId, Translate};
use akool_ledger::{Ensure, EnsureEvent, Ensured, LedgerJob};
use tokio::sync::mpsc;

use super::Creator;
use crate::{
    ledger::api,
    report::Report,
    staging::{Failure, Links},
    text,
};

impl Creator<'_> {
    pub(super) fn ensure(&self, request: Translate) -> Ensure {
        let ensure = self.ledger.translate(request).api(api(self.connection));
        if self.options.allow_duplicate { ensure.allow_duplicate() } else { ensure }
    }

    /// A request whose links to files of this machine do not work.
    pub(super) fn planned(&self, row: usize, languages: &[String]) -> Ensure {
        self.ensure(self.plan.items[row].translate(&self.connection.client, languages))
    }

    /// Uploads the files of this machine that a row needs, and makes links to them. Returns `None` if there is nothing to
    /// create, so that there are no links.
    pub(super) async fn upload(&self, row: usize, languages: &[String]) -> Result<Option<Links>, Failure> {
        let local = &self.plan.items[row].local;
        if local.is_empty() {
            return Ok(Some(Links::default()));
        }
        let planned = self.planned(row, languages).plan().await;
        if self.spending.reached().is_some() || planned.is_ok_and(|plan| plan.missing.is_empty()) {
            return Ok(None);
        }
        self.staging.upload(local, self.ledger).await?;
        self.staging.link(local).await.map(Some)
    }

    pub(super) async fn create(&self, row: usize, languages: &[String], links: Option<&Links>) -> Ensured {
        self.is_creating.set(true);
        let ensured = self.send(row, languages, links).await;
        self.is_creating.set(false);
        ensured
    }

    /// Sends the request for what the ledger does not have. Without links, nothing is sent.
    async fn send(&self, row: usize, languages: &[String], links: Option<&Links>) -> Ensured {
        let Some(links) = links else {
            let mut ensured = Ensured::default();
            match self.planned(row, languages).plan().await {
                Ok(plan) => ensured = plan.into_known(),
                Err(error) => ensured.sent = Some(Err(error)),
            }
            return ensured;
        };
        let item = &self.plan.items[row];
        let request = item.local.link(item.row.translate(&self.connection.client, languages), links);
        let (sender, mut events) = mpsc::unbounded_channel();
        let ensure = links.objects().fold(self.ensure(request), Ensure::uses_staged);
        let ensure = ensure.on_event(move |event| {
            if let Some(event) = Event::of(event) {
                let _ = sender.send(event);
            }
        });
        let mut ensure = std::pin::pin!(ensure.run());
        loop {
            tokio::select! {
                biased;
                Some(event) = events.recv() => event.report(self.report),
                ensured = &mut ensure => return ensured,
            }
        }
    }
}

/// What happens before a creation has its result.
enum Event {
    CreatingAgain(LedgerJob),
    Unrecorded { ids: Vec<JobId>, error: String },
}

impl Event {
    fn of(event: EnsureEvent<'_>) -> Option<Self> {
        match event {
            EnsureEvent::Unrecorded { created, error } => Some(Self::Unrecorded {
                ids: created.jobs.iter().map(|job| job.id.clone()).collect(),
                error: text::with_causes(error),
            }),
            EnsureEvent::CreatingAgain(job) => Some(Self::CreatingAgain(job.clone())),
            _ => None,
        }
    }

    fn report(self, report: &Report) {
        match self {
            Self::CreatingAgain(job) => report.creating_again(&job),
            Self::Unrecorded { ids, error } => report.unrecorded(&ids, &error),
        }
    }
}
