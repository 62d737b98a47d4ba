//! `akool sandbox`: the stand-in as a server.

use std::net::TcpListener;

use akool_mock::{MockServer, sandbox::scenarios};
use serde_json::json;

use crate::{args::Sandbox, outcome::Outcome, report::Report};

pub(crate) async fn run(options: &Sandbox, report: &Report, json: bool) -> Outcome {
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
        .on_exchange(move |exchange| {
            // Not the headers: they may hold a real key that was sent here by mistake.
            let target = exchange.target.split("&").next().unwrap_or_default();
            let (method, status, summary) = (&exchange.method, exchange.status.as_u16(), &exchange.summary);
            let line = if json {
                json!({
                    "event": "request", "method": method.as_str(), "target": target,
                    "http_status": status, "message": summary,
                })
                .to_string()
            } else {
                format!("{method} {target} -> {status}, {summary}")
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
    server.furnish();

    // A server that listens everywhere is reached from here by this machine's own address.
    let mut address = server.address();
    if address.ip().is_unspecified() {
        address.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
    }
    let (url, key) = (format!("http://{address}"), server.api_key());
    if json {
        report.object(&json!({ "event": "listening", "url": url }));
    }
    report.line(format_args!("The sandbox listens on {url}; Ctrl-C ends it."));
    if address.ip().is_loopback() {
        report.line(format_args!(
            "Try it from another terminal:\n\n  AKOOL_API_HOST={url} AKOOL_API_KEY={key} akool wait {}\n",
            scenarios()[0].id
        ));
    } else {
        report.line(format_args!(
            "The key is {key}. This program itself refuses plain http to another host; other programs may not."
        ));
    }
    list_jobs(report);
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
    Outcome::Done
}

/// What there is to try.
pub(crate) fn list_jobs(report: &Report) {
    report.note("The sandbox has these jobs:");
    for scenario in scenarios() {
        report.note(format_args!("  {}  {}", scenario.id, scenario.what));
    }
}
