//! The HTML page of the sandbox: jobs, requests and violations.

use std::{
    collections::BTreeMap,
    fmt::{self, Write as _},
    time::SystemTime,
};

use bytes::Bytes;
use http::{
    HeaderValue, Method, Request, Response, StatusCode,
    header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE},
};

use crate::{
    record::{Exchange, short},
    service_state::ServiceState,
};

/// How many jobs, requests and violations are shown.
const MAX_JOBS: usize = 200;
const MAX_REQUESTS: usize = 50;
const MAX_VIOLATIONS: usize = 10;

const HEAD: &str = include_str!("../assets/page.html");

/// Answers requests for the page, and for the icon that browsers request with it.
pub(crate) fn respond(
    state: &ServiceState,
    request: &Request<Bytes>,
    now: SystemTime,
) -> Option<Response<Bytes>> {
    if *request.method() != Method::GET {
        return None;
    }
    let mut response = match request.uri().path() {
        "/" => Response::new(Bytes::from(html(state, now))),
        "/favicon.ico" => {
            let mut none = Response::new(Bytes::new());
            *none.status_mut() = StatusCode::NO_CONTENT;
            none
        }
        _ => return None,
    };
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let policy = "default-src 'none'; style-src 'unsafe-inline'";
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    Some(response)
}

fn html(state: &ServiceState, now: SystemTime) -> String {
    let mut html = HEAD.to_owned();
    let count = state.log.count();
    // Writing to a `String` cannot fail.
    let _ = write!(
        html,
        "<h1>akool sandbox</h1>\n<p class=\"soft\">{} · {} · refreshes every 2 seconds</p>\n",
        plural(state.jobs.len() as u64, "job"),
        plural(count, "request"),
    );
    violations_to(&mut html, &state.violations);
    jobs_to(&mut html, state, now);
    requests_to(&mut html, state, now);
    html.push_str("</body>\n</html>\n");
    html
}

fn violations_to(html: &mut String, violations: &[String]) {
    if violations.is_empty() {
        return;
    }
    let _ = writeln!(html, "<h2 class=\"bad\">Violations ({})</h2>\n<ul>", violations.len());
    for violation in violations.iter().rev().take(MAX_VIOLATIONS) {
        let _ = writeln!(html, "<li>{}</li>", Escaped(&short(violation)));
    }
    if violations.len() > MAX_VIOLATIONS {
        let _ = writeln!(html, "<li class=\"soft\">and {} earlier</li>", violations.len() - MAX_VIOLATIONS);
    }
    html.push_str("</ul>\n");
}

fn jobs_to(html: &mut String, state: &ServiceState, now: SystemTime) {
    html.push_str("<h2>Jobs</h2>\n");
    if state.jobs.is_empty() {
        html.push_str("<p class=\"soft\">There are no jobs. Create one with a request, or start the sandbox with a scenarios file.</p>\n");
        return;
    }
    // The latest poll of each job, and the number of polls.
    let mut polls: BTreeMap<&str, (&Exchange, u32)> = BTreeMap::new();
    for exchange in state.log.iter().filter(|exchange| exchange.is_poll()) {
        if let Some(job) = &exchange.job {
            let entry = polls.entry(job).or_insert((exchange, 0));
            *entry = (exchange, entry.1 + 1);
        }
    }
    html.push_str("<table>\n<thead><tr><th>Job</th><th>What it does</th><th>Last status</th><th>Polls</th></tr></thead>\n<tbody>\n");
    let created: BTreeMap<_, _> =
        state.created.iter().map(|job| (job.id.as_str(), job.language.as_str())).collect();
    for id in state.jobs.keys().take(MAX_JOBS) {
        let created =
            created.get(id.as_str()).map(|language| format!("created by a request, language {language}"));
        let what = state.notes.get(id).cloned().or(created).unwrap_or_default();
        let (seen, count) = match polls.get(id.as_str()) {
            Some((poll, count)) => (
                format!("{}, {}", summary(poll), Escaped(&ago(poll.at, now))),
                plural(u64::from(*count), "poll"),
            ),
            None => ("<span class=\"soft\">not polled</span>".to_owned(), String::new()),
        };
        let (id, what) = (short(id), short(&what));
        let (id, what) = (Escaped(&id), Escaped(&what));
        let _ = writeln!(
            html,
            "<tr><td class=\"id\"><code>{id}</code></td><td class=\"soft\">{what}</td><td>{seen}</td><td class=\"short soft\">{count}</td></tr>"
        );
    }
    html.push_str("</tbody>\n</table>\n");
    if state.jobs.len() > MAX_JOBS {
        let _ = writeln!(html, "<p class=\"soft\">and {} more</p>", state.jobs.len() - MAX_JOBS);
    }
}

fn requests_to(html: &mut String, state: &ServiceState, now: SystemTime) {
    html.push_str("<h2>Requests</h2>\n");
    let exchanges: Vec<_> = state.log.iter().collect();
    if exchanges.is_empty() {
        html.push_str("<p class=\"soft\">No requests yet.</p>\n");
        return;
    }
    html.push_str("<table>\n<thead><tr><th>When</th><th>Request</th><th>Job</th><th>Answer</th></tr></thead>\n<tbody>\n");
    for exchange in exchanges.iter().rev().take(MAX_REQUESTS) {
        // Without the query: it may contain a signature, or a key that was put there by mistake.
        let path = exchange.target.split('?').next().unwrap_or_default();
        let _ = writeln!(
            html,
            "<tr><td class=\"short soft\">{}</td><td><code>{} {}</code></td><td class=\"id\"><code>{}</code></td><td>{} {}</td></tr>",
            Escaped(&ago(exchange.at, now)),
            Escaped(&short(exchange.method.as_str())),
            Escaped(&short(path)),
            Escaped(&exchange.job.as_deref().map(short).unwrap_or_default()),
            exchange.status.as_u16(),
            summary(exchange),
        );
    }
    html.push_str("</tbody>\n</table>\n");
    if exchanges.len() > MAX_REQUESTS {
        html.push_str("<p class=\"soft\">Only the latest are shown.</p>\n");
    }
}

/// The summary of an answer. Success and errors are colored.
fn summary(exchange: &Exchange) -> String {
    let class = match exchange.summary.as_str() {
        text if text.starts_with("completed") => "good",
        text if text.starts_with("failed") || text.starts_with("code") || text.contains("fault:") => "bad",
        _ if !exchange.status.is_success() => "bad",
        _ => "",
    };
    format!("<span class=\"{class}\">{}</span>", Escaped(&short(&exchange.summary)))
}

fn plural(count: u64, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

fn ago(at: SystemTime, now: SystemTime) -> String {
    match now.duration_since(at).unwrap_or_default().as_secs() {
        0 => "now".to_owned(),
        seconds @ 1..120 => format!("{seconds} s ago"),
        seconds @ 120..7200 => format!("{} min ago", seconds / 60),
        seconds => format!("{} h ago", seconds / 3600),
    }
}

/// Escapes text for HTML.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for letter in self.0.chars() {
            match letter {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                letter => f.write_char(letter)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{Timeline, service_state::DEFAULT_API_KEY};

    fn get(target: &str) -> Request<Bytes> {
        Request::get(target).body(Bytes::new()).unwrap()
    }

    #[test]
    fn every_text_is_short() {
        let long = "x".repeat(10_000);
        let mut state = ServiceState::new("http://x");
        state.add_job(&*long, Timeline::default());
        state.notes.insert(long.clone(), long.clone());
        state.report_violation(long.clone());
        let method = http::Method::from_bytes(long.as_bytes()).unwrap();
        let request = Request::builder().method(method).uri(format!("/{long}")).body(Bytes::new()).unwrap();
        state.respond(&request, SystemTime::UNIX_EPOCH);
        let shown = html(&state, SystemTime::UNIX_EPOCH);
        assert!(!shown.contains(&"x".repeat(300)), "{}", shown.len());
    }

    #[test]
    fn foreign_text_is_escaped_and_no_credential_is_shown() {
        let mut state = ServiceState::new("http://x");
        let evil = "<script>alert(1)</script>\"'&";
        state.add_job(evil, Timeline::new());
        state.add_job("64dd", Timeline::new().failed(1015, evil));
        let query: String = url::form_urlencoded::byte_serialize(evil.as_bytes()).collect();
        let at = SystemTime::UNIX_EPOCH;
        for id in ["64dd", &query] {
            let target = format!("/api/open/v3/content/video/infobymodelid?video_model_id={id}&key=MARKER");
            let request =
                Request::get(target).header("x-api-key", DEFAULT_API_KEY).body(Bytes::new()).unwrap();
            state.respond(&request, at);
        }
        state.respond(&get("/%3Cscript%3E?token=MARKER"), at);
        let page = respond(&state, &get("/"), at + Duration::from_secs(65)).unwrap();
        let html = String::from_utf8_lossy(page.body()).into_owned();
        assert!(!html.contains("<script") && html.contains("&lt;script&gt;"), "{html}");
        assert!(!html.contains("MARKER") && !html.contains(DEFAULT_API_KEY), "{html}");
        assert!(html.contains("65 s ago") && html.contains("failed, 1015"), "{html}");
    }

    #[test]
    fn the_size_of_the_page_is_bounded() {
        let mut state = ServiceState::new("http://x");
        for number in 0..5000 {
            state.add_job(format!("{number}{}", "x".repeat(100)), Timeline::new());
            state.respond(&get(&format!("/{}", "y".repeat(10_000))), SystemTime::UNIX_EPOCH);
        }
        let page = respond(&state, &get("/"), SystemTime::UNIX_EPOCH).unwrap();
        assert!(page.body().len() < 256 * 1024, "{}", page.body().len());
        assert!(respond(&state, &get("/other"), SystemTime::UNIX_EPOCH).is_none());
    }
}
