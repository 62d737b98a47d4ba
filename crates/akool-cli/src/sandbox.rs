//! `akool sandbox`: the mock server as a server.

use std::net::TcpListener;

use akool_mock::{MockServer, sandbox::scenarios, scenarios::Scenarios};
use serde_json::json;

use crate::{args::Sandbox, outcome::Outcome, report::Report};

pub(crate) async fn run(options: &Sandbox, report: &Report, json: bool) -> Outcome {
    let own = match options.scenarios.as_ref().map(Scenarios::read).transpose() {
        Ok(own) => own,
        Err(error) => {
            report.error(None, "wrong_use", error);
            return Outcome::WrongUse;
        }
    };
    let listener = match TcpListener::bind(options.listen) {
        Ok(listener) => listener,
        Err(error) => {
            let address = options.listen;
            report.error(
                None,
                "wrong_use",
                format_args!("cannot listen on {address}: {error}; choose another with --listen"),
            );
            return Outcome::WrongUse;
        }
    };
    let server = MockServer::builder()
        .listener(listener)
        .lenient()
        .page()
        .on_exchange(move |exchange| {
            // Not the headers: they may hold a real key that was sent here by mistake.
            let (method, target) = (&exchange.method, exchange.shown_target());
            let (status, summary) = (exchange.status.as_u16(), &exchange.summary);
            let line = if json {
                json!({
                    "event": "request", "method": method.as_str(), "target": target, "http_status": status,
                    "message": summary, "violation": exchange.violation,
                })
                .to_string()
            } else {
                let violation = exchange.violation.iter().map(|violation| format!("\n  {violation}"));
                format!("{method} {target} -> {status}, {summary}{}", violation.collect::<String>())
            };
            // A reader that has seen enough does not end the server.
            let _ = std::io::Write::write_fmt(&mut std::io::stdout(), format_args!("{line}\n"));
        })
        .on_webhook_call(move |call| {
            let (job, url, status) = (&call.job, &call.url, call.status);
            let outcome = match (&call.answer, &call.failure) {
                (Some(answer), _) => answer.as_u16().to_string(),
                (None, why) => why.clone().unwrap_or_default(),
            };
            let line = if json {
                json!({
                    "event": "webhook_call", "id": job, "status_code": status, "url": url, "message": outcome,
                })
                .to_string()
            } else {
                format!("webhook {url} <- {job} has status {status} -> {outcome}")
            };
            let _ = std::io::Write::write_fmt(&mut std::io::stdout(), format_args!("{line}\n"));
        })
        .start()
        .await;
    match &own {
        Some(own) => server.load(own),
        None => server.seed_demo_jobs(),
    }

    // A server that listens everywhere is reached from here by this machine's own address.
    let mut address = server.address();
    if address.ip().is_unspecified() {
        address.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
    }
    let url = format!("http://{address}");
    // One of a file may be a real one.
    let key = if own.is_none() { server.api_key() } else { "...".to_owned() };
    let jobs = own.as_ref().map_or_else(of_the_sandbox, |own| {
        own.jobs().map(|(id, what)| (id.to_owned(), what.to_owned())).collect()
    });
    if json {
        report.object(&json!({ "event": "listening", "url": url }));
    }
    report.line(format_args!(
        "The sandbox listens on {url}; Ctrl-C ends it. In a browser, it shows what came."
    ));
    if address.ip().is_loopback() {
        report.line(format_args!(
            "Try it from another terminal:\n\n  AKOOL_API_HOST={url} AKOOL_API_KEY={key} akool wait {}\n",
            jobs.first().map_or("ID", |(id, _)| id.as_str())
        ));
    } else {
        report.line(format_args!(
            "The key is {key}. This program itself refuses plain http to another host; other programs may not."
        ));
    }
    if own.is_none() {
        report.line(format_args!(
            "For tokens and webhooks: the client id is {}, its secret is the key; `akool --sandbox webhook listen` \
             knows both.\nJobs that are created here complete after 5 seconds; they fail or never end where the \
             source's name has `fail` or `stuck` in it.",
            server.client_id()
        ));
    }
    list(&jobs, report);
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
    Outcome::Done
}

/// What there is to try.
pub(crate) fn list_jobs(report: &Report) {
    list(&of_the_sandbox(), report);
}

fn of_the_sandbox() -> Vec<(String, String)> {
    scenarios().into_iter().map(|scenario| (scenario.id.to_owned(), scenario.what.to_owned())).collect()
}

fn list(jobs: &[(String, String)], report: &Report) {
    report.note("The sandbox has these jobs:");
    for (id, what) in jobs {
        report.note(format_args!("  {id}  {what}"));
    }
}
