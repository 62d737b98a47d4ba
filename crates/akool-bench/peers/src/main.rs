//! Drives the pollers of other client libraries for the row `waits`: one per job, in a task, with the same interval
//! and a poll written by hand.

#[allow(dead_code, reason = "akool-bench uses the rest")]
#[path = "../../src/watch.rs"]
mod watch;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use azure_core::http::{
    JsonFormat, NoFormat, RawResponse, Response, StatusCode, Url,
    headers::Headers,
    poller::{
        Poller as AzurePoller, PollerContinuation, PollerOptions, PollerResult, PollerStatus, StatusMonitor,
    },
};
use futures_util::StreamExt;
use google_cloud_gax::{
    polling_backoff_policy::PollingBackoffPolicy, polling_error_policy::AlwaysContinue,
    polling_state::PollingState,
};
use google_cloud_longrunning::model::{Operation as AnyOperation, operation};
use google_cloud_lro::{
    Poller as _,
    internal::{Operation, new_unit_response_poller},
};
use google_cloud_wkt::{Any, Empty, Timestamp};
use serde::Deserialize;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use tokio::sync::mpsc::UnboundedSender;
use watch::Plan;

#[global_allocator]
static GLOBAL: &StatsAlloc<std::alloc::System> = &INSTRUMENTED_SYSTEM;

#[derive(Deserialize)]
struct Envelope {
    data: Data,
}

#[derive(Deserialize)]
struct Data {
    video_status: i64,
}

/// What the task of a job owns.
#[derive(Clone)]
struct Waiter {
    http: reqwest::Client,
    url: String,
    job: usize,
    id: String,
    interval: Duration,
    seen: UnboundedSender<(usize, Option<Instant>)>,
}

impl Waiter {
    /// Polls once; returns whether the job has ended. Reports the poll to the measurement.
    async fn poll(&self) -> bool {
        let answer = async {
            let request = self.http.get(format!("{}/api/open/v3/content/video/infobymodelid", self.url));
            let answer =
                request.query(&[("video_model_id", &self.id)]).header("x-api-key", "key").send().await?;
            answer.json::<Envelope>().await
        };
        // A failed poll is retried.
        let ended = answer.await.is_ok_and(|envelope| envelope.data.video_status == 3);
        let _ = self.seen.send((self.job, (!ended).then(|| Instant::now() + self.interval)));
        ended
    }

    async fn google(self) -> Result<()> {
        let (first, later) = (self.clone(), self.clone());
        let start = move || async move { Ok(first.operation().await) };
        let query = move |_: String| {
            let waiter = later.clone();
            async move { Ok(waiter.operation().await) }
        };
        let poller = new_unit_response_poller::<Timestamp, _, _, _, _>(
            Arc::new(AlwaysContinue),
            Arc::new(Every(self.interval)),
            start,
            query,
        );
        poller.until_done().await.context("google-cloud-lro")
    }

    async fn operation(&self) -> Operation<Empty, Timestamp> {
        let any = AnyOperation::new().set_name(self.id.clone());
        Operation::new(if self.poll().await {
            let done = Any::from_msg(&Empty::default()).unwrap_or_default();
            any.set_done(true).set_result(Some(operation::Result::Response(Box::new(done))))
        } else {
            any.set_done(false)
        })
    }

    async fn azure(self) -> Result<()> {
        let options = PollerOptions {
            frequency: azure_core::time::Duration::try_from(self.interval)?,
            ..Default::default()
        };
        let next: Url = self.url.parse()?;
        let mut poller = AzurePoller::<Monitor>::new(
            move |_, options| {
                let (waiter, next) = (self.clone(), next.clone());
                Box::pin(async move {
                    let ended = waiter.poll().await;
                    let body = if ended { "true" } else { "false" };
                    let response: Response<Monitor, JsonFormat> =
                        RawResponse::from_bytes(StatusCode::Ok, Headers::new(), body).into();
                    Ok(if ended {
                        PollerResult::Done { response }
                    } else {
                        let continuation = PollerContinuation::Links { next_link: next, final_link: None };
                        PollerResult::InProgress { response, retry_after: options.frequency, continuation }
                    })
                })
            },
            Some(options),
        );
        while let Some(step) = poller.next().await {
            step.context("azure_core")?;
        }
        Ok(())
    }
}

#[derive(Debug)]
struct Every(Duration);

impl PollingBackoffPolicy for Every {
    fn wait_period(&self, _: &PollingState) -> Duration {
        self.0
    }
}

/// Whether the job has ended.
#[derive(Deserialize)]
struct Monitor(bool);

impl StatusMonitor for Monitor {
    type Output = ();
    type Format = NoFormat;

    fn status(&self) -> PollerStatus {
        if self.0 { PollerStatus::Succeeded } else { PollerStatus::InProgress }
    }
}

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let Ok::<[String; 4], _>([variant, url, jobs, quick]) = args.try_into() else {
        bail!("expected arguments: variant, url, jobs, quick")
    };
    let plan = Plan::new(jobs.parse()?, quick.parse()?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let probe = runtime.block_on(runtime.spawn(async move {
        let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(30)).build()?;
        http.get(format!("{url}/?video_model_id=warm")).send().await?.bytes().await?;
        let start = |job, id, seen| {
            let waiter =
                Waiter { http: http.clone(), url: url.clone(), job, id, interval: plan.interval, seen };
            match variant.as_str() {
                "google-cloud-lro" => drop(tokio::spawn(waiter.google())),
                "azure_core" => drop(tokio::spawn(waiter.azure())),
                other => bail!("unknown variant {other}"),
            }
            Ok(())
        };
        watch::with_tasks(plan, GLOBAL, start).await
    }))??;
    println!("{}", serde_json::to_string(&probe)?);
    Ok(())
}
