//! Renders the page.

use std::{
    collections::BTreeMap,
    fmt::{self, Write as _},
    time::SystemTime,
};

use crate::{
    recent::Recent,
    record::{Exchange, short},
    service_state::{CreatedJob, ServiceState},
    timeline::State,
};

/// How many jobs, requests and violations are shown.
const MAX_JOBS: usize = 200;
const MAX_REQUESTS: usize = 50;
const MAX_VIOLATIONS: usize = 5;

const HEAD: &str = include_str!("../../assets/page.html");

/// Renders the whole page.
pub(super) fn page(state: &ServiceState, now: SystemTime) -> String {
    format!("{HEAD}<main>\n{}</main>\n</body>\n</html>\n", sections(state, now))
}

/// Renders the sections of the page, which its script replaces. Each has an id.
pub(super) fn sections(state: &ServiceState, now: SystemTime) -> String {
    let mut html = String::new();
    // Writing to a `String` cannot fail.
    let _ = writeln!(
        html,
        "<p id=\"summary\" class=\"soft\">{} · {}{}</p>",
        plural(state.jobs.len() as u64, "job"),
        plural(state.log.count(), "request"),
        if state.clock.is_stopped() { " · the clock is stopped" } else { "" },
    );
    violations_to(&mut html, &state.violations);
    jobs_to(&mut html, state, now);
    requests_to(&mut html, state);
    html
}

fn violations_to(html: &mut String, violations: &Recent<String>) {
    html.push_str("<section id=\"violations\">");
    let count = violations.count();
    if count > 0 {
        let _ = writeln!(html, "<h2>Violations <span class=\"count\">{}</span></h2>\n<ul>", count);
        for violation in violations.iter().rev().take(MAX_VIOLATIONS) {
            let _ = writeln!(html, "<li>{}</li>", Escaped(&short(violation)));
        }
        if let Some(earlier @ 1..) = count.checked_sub(MAX_VIOLATIONS as u64) {
            let _ = writeln!(html, "<li class=\"soft\">and {earlier} earlier</li>");
        }
        html.push_str("</ul>\n");
    }
    html.push_str("</section>\n");
}

fn jobs_to(html: &mut String, state: &ServiceState, now: SystemTime) {
    let _ = writeln!(
        html,
        "<section id=\"jobs\">\n<h2>Jobs <span class=\"count\">{}</span></h2>",
        state.jobs.len()
    );
    if state.jobs.is_empty() {
        html.push_str("<p class=\"empty\">There are no jobs. Create one with a request, or start the sandbox with a scenarios file.</p>\n</section>\n");
        return;
    }
    html.push_str("<table>\n<thead><tr><th>Job</th><th>Source</th><th>Language</th><th>Status</th><th>Polls</th></tr></thead>\n<tbody>\n");
    // The jobs that requests created come first, the latest at the top.
    let created: Vec<_> =
        state.created.iter().rev().filter(|job| state.jobs.contains_key(&job.id)).take(MAX_JOBS).collect();
    let known: BTreeMap<_, _> = created.iter().map(|job| (&job.id, *job)).collect();
    let others = state.jobs.keys().filter(|id| !known.contains_key(id));
    for id in created.iter().map(|job| &job.id).chain(others).take(MAX_JOBS) {
        job_to(html, state, id, known.get(id).copied(), now);
    }
    html.push_str("</tbody>\n</table>\n");
    if state.jobs.len() > MAX_JOBS {
        let _ = writeln!(html, "<p class=\"soft\">and {} more</p>", state.jobs.len() - MAX_JOBS);
    }
    html.push_str("</section>\n");
}

fn job_to(html: &mut String, state: &ServiceState, id: &str, created: Option<&CreatedJob>, now: SystemTime) {
    let Some(job) = state.jobs.get(id) else { return };
    let seen = job.preview(now);
    let _ = write!(html, "<tr><td><code>{}</code>", Escaped(&short(id)));
    if let Some(note) = state.notes.get(id) {
        let _ = write!(html, "<div class=\"soft\">{}</div>", Escaped(&short(note)));
    }
    html.push_str("</td>");
    cell(html, "Source", &created.map(|job| source(&job.request["url"])).unwrap_or_default());
    cell(html, "Language", &created.map(|job| short(&job.language)).unwrap_or_default());
    let (class, name) = status(&seen);
    let progress = seen.progress;
    let _ = write!(
        html,
        "<td data-label=\"Status\"><span class=\"status {class}\">{name}</span> <span class=\"progress\"><progress aria-label=\"progress\" \
         max=\"100\" value=\"{progress}\"></progress> {progress} %</span>",
    );
    if let Some((code, reason)) = &seen.error {
        let _ = write!(html, "<div class=\"bad\">{}</div>", Escaped(&short(&format!("{code} {reason}"))));
    }
    html.push_str("</td>");
    cell(html, "Polls", &job.poll_count().to_string());
    html.push_str("</tr>\n");
}

/// A cell of text. On narrow screens, its label replaces the head of the column.
fn cell(html: &mut String, label: &str, text: &str) {
    let _ = write!(html, "<td data-label=\"{label}\">{}</td>", Escaped(text));
}

/// The class and the name of a status.
fn status(seen: &State) -> (&'static str, String) {
    match seen.status {
        1 => ("queued", "queued".to_owned()),
        2 => ("processing", "processing".to_owned()),
        3 => ("completed", "completed".to_owned()),
        4 => ("failed", "failed".to_owned()),
        other => ("unknown", format!("status {other}")),
    }
}

/// The URL of a video, without what may be a credential: user, query and fragment.
fn source(url: &serde_json::Value) -> String {
    let Ok(mut url) = url::Url::parse(url.as_str().unwrap_or_default()) else {
        return "not a URL".to_owned();
    };
    // Both fail only for URLs that have none.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_query(None);
    url.set_fragment(None);
    short(url.as_str())
}

fn requests_to(html: &mut String, state: &ServiceState) {
    let _ = writeln!(
        html,
        "<section id=\"requests\">\n<h2>Requests <span class=\"count\">{}</span></h2>",
        state.log.count()
    );
    if state.log.last().is_none() {
        html.push_str("<p class=\"empty\">No requests yet.</p>\n</section>\n");
        return;
    }
    html.push_str("<table>\n<thead><tr><th>Time (UTC)</th><th>Request</th><th>Job</th><th>Answer</th></tr></thead>\n<tbody>\n");
    for exchange in state.log.iter().rev().take(MAX_REQUESTS) {
        request_to(html, exchange);
    }
    html.push_str("</tbody>\n</table>\n");
    if state.log.count() > MAX_REQUESTS as u64 {
        let _ = writeln!(html, "<p class=\"soft\">Only the latest {MAX_REQUESTS} are shown.</p>");
    }
    html.push_str("</section>\n");
}

fn request_to(html: &mut String, exchange: &Exchange) {
    // Without the query: it may contain a signature, or a key that was put there by mistake.
    let path = exchange.target.split('?').next().unwrap_or_default();
    let at = httpdate::fmt_http_date(exchange.at);
    // "Sun, 06 Nov 1994 08:49:37 GMT"
    let time = at.get(17..25).unwrap_or(&at);
    let _ = write!(
        html,
        "<tr><td data-label=\"Time (UTC)\"><time title=\"{at}\">{time}</time></td><td><code><b>{}</b> {}</code>",
        Escaped(&short(exchange.method.as_str())),
        Escaped(&short(path)),
    );
    if let Some(violation) = &exchange.violation {
        let _ = write!(html, "<div class=\"violation\">{}</div>", Escaped(&short(violation)));
    }
    let _ = writeln!(
        html,
        "</td><td data-label=\"Job\"><code>{}</code></td><td data-label=\"Answer\"><span class=\"{}\">{} {}</span></td></tr>",
        Escaped(&exchange.job.as_deref().map(short).unwrap_or_default()),
        class_of(exchange),
        exchange.status.as_u16(),
        Escaped(&short(&exchange.summary)),
    );
}

/// Success and errors are colored.
fn class_of(exchange: &Exchange) -> &'static str {
    match exchange.summary.as_str() {
        text if text.starts_with("failed") || text.starts_with("code") || text.contains("fault:") => "bad",
        _ if !exchange.status.is_success() => "bad",
        text if text.starts_with("completed") => "good",
        _ => "",
    }
}

fn plural(count: u64, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
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

    use bytes::Bytes;
    use http::{Request, Response};
    use serde_json::json;

    use super::*;
    use crate::{
        Timeline,
        request::{CREATE_TRANSLATION, GET_VIDEO_INFO},
        service_state::DEFAULT_API_KEY,
    };

    const AT: SystemTime = SystemTime::UNIX_EPOCH;

    fn get(state: &mut ServiceState, target: &str) -> Response<Bytes> {
        let request = Request::get(target).header("x-api-key", DEFAULT_API_KEY);
        state.respond(&request.body(Bytes::new()).unwrap(), AT)
    }

    fn create(state: &mut ServiceState, url: &str) {
        let body = json!({ "url": url, "language": "es", "source_language": "en" });
        let request = Request::post(CREATE_TRANSLATION)
            .header("x-api-key", DEFAULT_API_KEY)
            .header("content-type", "application/json");
        state.respond(&request.body(body.to_string().into()).unwrap(), AT);
        assert!(state.created.last().is_some());
    }

    #[test]
    fn every_text_is_short() {
        let long = "x".repeat(10_000);
        let mut state = ServiceState::new("http://x");
        state.add_job(&*long, Timeline::new().failed(1, &*long));
        state.notes.insert(long.clone(), long.clone());
        state.report_violation(&long);
        create(&mut state, &format!("https://{long}.example/{long}"));
        let method = http::Method::from_bytes(long.as_bytes()).unwrap();
        let request = Request::builder().method(method).uri(format!("/{long}")).body(Bytes::new()).unwrap();
        state.respond(&request, AT);
        let shown = page(&state, AT);
        assert!(shown.contains("<td data-label=\"Source\">https://xxx"), "{shown}");
        assert!(!shown.contains(&"x".repeat(300)), "{}", shown.len());
    }

    #[test]
    fn foreign_text_is_escaped_and_no_credential_is_shown() {
        let mut state = ServiceState::new("http://x");
        let evil = "<script>alert(1)</script>\"'&\u{202e}\r";
        state.add_job(evil, Timeline::new());
        state.notes.insert(evil.to_owned(), evil.to_owned());
        state.add_job("64dd", Timeline::new().failed(1015, evil));
        let query: String = url::form_urlencoded::byte_serialize(evil.as_bytes()).collect();
        for id in ["64dd", &query] {
            get(&mut state, &format!("{GET_VIDEO_INFO}?video_model_id={id}&key=MARKER"));
        }
        get(&mut state, "/%3Cscript%3E?token=MARKER");
        create(&mut state, "https://MARKER:MARKER@cdn.example/<script>/a.mp4?Signature=MARKER#MARKER");
        let html = page(&state, AT);
        assert_eq!(html.matches("<script").count(), 1, "only the page's own: {html}");
        assert!(html.contains("&lt;script&gt;alert") && html.contains("https://cdn.example/"), "{html}");
        assert!(!html.contains("MARKER") && !html.contains(DEFAULT_API_KEY), "{html}");
        assert!(!html.contains(['\r', '\u{202e}']), "{html}");
    }

    #[test]
    fn a_job_has_source_language_status_and_progress() {
        let mut state = ServiceState::new("http://x");
        let hour = Duration::from_secs(3600);
        state.plan = Timeline::new().processing(hour).failed(1015, "no voice");
        create(&mut state, "https://cdn.example/talk.mp4");
        let row = |now| page(&state, now).lines().find(|line| line.contains("talk.mp4")).unwrap().to_owned();
        let half = row(AT + hour / 2);
        for text in ["<td data-label=\"Language\">es<", ">processing<", "value=\"50\"", "50 %"] {
            assert!(half.contains(text), "{text}: {half}");
        }
        let end = row(AT + hour);
        assert!(end.contains(">failed<") && end.contains("1015 no voice"), "{end}");
    }

    #[test]
    fn a_request_has_its_time_and_its_violation() {
        let mut state = ServiceState::new("http://x");
        get(&mut state, "/api/open/v3/nowhere");
        let html = page(&state, AT);
        let row = html.lines().find(|line| line.contains("<b>GET</b>")).unwrap();
        assert!(
            row.contains(">00:00:00<") && row.contains("class=\"violation\">no operation matches"),
            "{row}"
        );
        assert!(row.contains("class=\"bad\">501 no operation matches"), "{row}");
    }

    #[test]
    fn the_latest_created_jobs_are_shown_and_the_size_is_bounded() {
        let mut state = ServiceState::new("http://x");
        for number in 0..5000 {
            state.add_job(format!("{number}{}", "x".repeat(100)), Timeline::new());
            get(&mut state, &format!("/{}", "y".repeat(10_000)));
        }
        create(&mut state, "https://cdn.example/last.mp4");
        let html = page(&state, AT);
        assert!(html.contains("last.mp4") && html.contains("and 4801 more"));
        assert!(html.len() < 256 * 1024, "{}", html.len());
    }
}
