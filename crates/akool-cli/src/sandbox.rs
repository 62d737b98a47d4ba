//! `akool sandbox`: runs the mock server for other programs.

use std::{net::TcpListener, time::Duration};

use akool::redact::excerpt;
use akool_mock::{MockServer, sandbox::scenarios, scenarios::Scenarios};
use serde_json::json;

use crate::{
    args::Sandbox, env, interrupt::interruption, outcome::Outcome, printer::Printer, report::Report, text,
};

pub(crate) async fn run(options: &Sandbox, report: &Report) -> Outcome {
    if let Some(url) = &options.check {
        return check(url, report).await;
    }
    let token = match control_token(options) {
        Ok(token) => token,
        Err(error) => {
            report.error(None, "usage", error);
            return Outcome::Usage;
        }
    };
    let json = report.is_json();
    let own = match options.scenarios.as_ref().map(Scenarios::read).transpose() {
        Ok(own) => own,
        Err(error) => {
            report.error(None, "usage", error);
            return Outcome::Usage;
        }
    };
    let listener = match TcpListener::bind(options.listen) {
        Ok(listener) => listener,
        Err(error) => {
            let address = options.listen;
            report.error(
                None,
                "usage",
                format_args!("cannot listen on {address}: {error}; choose another with --listen"),
            );
            return Outcome::Usage;
        }
    };
    let (printer, printing) = match Printer::start() {
        Ok(started) => started,
        Err(error) => {
            report.error(None, "start", format_args!("cannot start a thread: {error}"));
            return Outcome::Unexpected;
        }
    };
    let (requests, calls) = (printer.clone(), printer);
    let mut builder = MockServer::builder().listener(listener).lenient().page().control_api();
    if let Some(token) = &token {
        builder = builder.control_token(token);
    }
    if options.fetch_sources {
        builder = builder.fetch_sources();
    }
    if options.allow_undocumented {
        builder = builder.allow_undocumented();
    }
    let server = builder
        .on_exchange(move |exchange| {
            // Without the headers, which may hold a real key that was sent here by mistake.
            let (method, target) = (&exchange.method, exchange.shown_target());
            let (status, summary) = (exchange.status.as_u16(), &exchange.summary);
            requests.offer(if json {
                to_json(&json!({
                    "event": "request", "method": method.as_str(), "target": target, "http_status": status,
                    "message": summary, "violation": exchange.violation,
                }))
            } else {
                let violation = exchange.violation.iter().map(|violation| format!("\n  {violation}"));
                format!("{method} {target} -> {status}, {summary}{}", violation.collect::<String>())
            });
        })
        .on_webhook_call(move |call| {
            let (job, url, status) = (&call.job, &call.url, call.status);
            let outcome = match (&call.answer, &call.failure) {
                (Some(answer), _) => answer.as_u16().to_string(),
                (None, why) => why.clone().unwrap_or_default(),
            };
            calls.offer(if json {
                to_json(&json!({
                    "event": "webhook_call", "id": job, "status_code": status, "url": url, "message": outcome,
                }))
            } else {
                let (url, outcome) = (excerpt(url), excerpt(&outcome));
                format!("webhook call for {}, status {status}: {url} -> {outcome}", excerpt(job))
            });
        })
        .start()
        .await;
    match &own {
        Some(own) => server.load(own),
        None => server.seed_demo_jobs(),
    }
    server.keep_as_initial();

    // A server that listens on all addresses is shown with the one that works on this machine.
    let mut address = server.address();
    if address.ip().is_unspecified() {
        address.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
    }
    let url = format!("http://{address}");
    // A key from a scenario file may be a real one.
    let key = if own.is_none() { server.api_key() } else { "...".to_owned() };
    let jobs = own.as_ref().map_or_else(demo_jobs, |own| {
        own.jobs().map(|(id, what)| (id.to_owned(), what.to_owned())).collect()
    });
    let stop = interruption();
    if json {
        report.object(&json!({ "event": "listening", "url": url }));
    }
    report.line(format_args!(
        "The sandbox listens on {url}; stop it with Ctrl-C. Open the URL in a browser to see its requests."
    ));
    if address.ip().is_loopback() {
        report.line(format_args!(
            "Try it from another terminal:\n\n  AKOOL_API_HOST={url} AKOOL_API_KEY={key} akool wait {}\n",
            jobs.first().map_or("ID", |(id, _)| id.as_str())
        ));
    } else {
        report.line(format_args!(
            "The key is {key}. `akool` itself does not use plain http to another host; other programs may."
        ));
    }
    if own.is_none() {
        report.line(format_args!(
            "For tokens and webhooks, the client id is {} and its secret is the key; `akool --sandbox webhook listen` \
             uses both.\nJobs that are created here complete after 5 seconds; if the name of the source contains \
             `fail` or `stuck`, they fail or never end.",
            server.client_id()
        ));
    }
    list(&jobs, report);
    if address.ip().is_loopback() || token.is_some() {
        report.line(format_args!(
            "Tests in any language control it under {url}/__sandbox/, for example: curl {url}/__sandbox/state"
        ));
    }
    stop.await;
    drop(server);
    printing.finish();
    Outcome::Done
}

/// The token for the control API, from the option or the environment.
fn control_token(options: &Sandbox) -> Result<Option<String>, String> {
    let token = match &options.control_token {
        Some(token) => Some(token.clone()),
        None => env::get(env::CONTROL_TOKEN)?,
    };
    let is_valid = |token: &String| !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
    match token {
        Some(token) if !is_valid(&token) => {
            Err("the control token is empty, or has characters that a header cannot hold; set another with --control-token \
                 or AKOOL_CONTROL_TOKEN"
                .to_owned())
        }
        token => Ok(token),
    }
}

/// Asks another sandbox whether it answers, for the health check of a container.
async fn check(url: &url::Url, report: &Report) -> Outcome {
    const TIMEOUT: Duration = Duration::from_secs(3);
    let request = async {
        let client = reqwest::Client::builder().timeout(TIMEOUT).no_proxy().build()?;
        let health = format!("{}/__sandbox/health", url.as_str().trim_end_matches('/'));
        client.get(health).send().await?.error_for_status()
    };
    match request.await {
        Ok(_) => {
            report.line(format_args!("the sandbox at {} answers", excerpt(url.as_str())));
            Outcome::Done
        }
        Err(error) => {
            let (url, causes) = (excerpt(url.as_str()), text::with_causes(&error.without_url()));
            report.error(None, "connect", format_args!("the sandbox at {url} does not answer: {causes}"));
            Outcome::Unreachable
        }
    }
}

fn to_json(value: &serde_json::Value) -> String {
    // A value always has a text.
    text::json(value).unwrap_or_default()
}

/// Lists the jobs that every sandbox has.
pub(crate) fn list_demo_jobs(report: &Report) {
    list(&demo_jobs(), report);
}

fn demo_jobs() -> Vec<(String, String)> {
    scenarios().into_iter().map(|scenario| (scenario.id.to_owned(), scenario.what.to_owned())).collect()
}

fn list(jobs: &[(String, String)], report: &Report) {
    report.note("The sandbox has these jobs:");
    for (id, what) in jobs {
        report.note(format_args!("  {}  {}", excerpt(id), excerpt(what)));
    }
}
