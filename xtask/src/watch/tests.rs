use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    time::Duration,
};

use super::*;
use crate::repository::{commit, git, page, repository};

const VENDORED: &str = include_str!("../../../openapi/akool.yaml");
const PAGE: &str = "/get-result.md";

/// What a server sends.
#[derive(Clone)]
enum Reply {
    /// Status line, headers and body.
    Full(&'static str, &'static [&'static str], String),
    /// A page of 50 MB, with or without its length.
    Huge(bool),
    /// A page whose end never comes.
    Slow,
    /// The version of a page with an `ETag`: 304 if the request names it.
    Version(&'static str, String),
}

/// A server of pages on this machine, with the requests that it received.
struct Server {
    url: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn start(pages: &[(&'static str, Reply)]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (pages, log) = (pages.to_vec(), Arc::clone(&requests));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut request = String::new();
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                while reader.read_line(&mut request).is_ok_and(|length| length > 2) {}
                let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
                log.lock().unwrap().push(request.to_lowercase());
                let reply = pages.iter().find(|(page, _)| *page == path).map(|(_, reply)| reply);
                // The client may close the connection early.
                let _ = answer(&mut stream, reply, &request.to_lowercase());
            }
        });
        Self { url, requests }
    }

    fn url(&self) -> Url {
        format!("{}{PAGE}", self.url).parse().unwrap()
    }
}

fn answer(stream: &mut TcpStream, reply: Option<&Reply>, request: &str) -> std::io::Result<()> {
    let full = |stream: &mut TcpStream, status: &str, headers: &[&str], body: &str| {
        let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
        let length = body.len();
        write!(
            stream,
            "HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n{headers}\r\n{body}"
        )
    };
    match reply {
        None => full(stream, "404 Not Found", &[], "gone"),
        Some(Reply::Full(status, headers, body)) => full(stream, status, headers, body),
        Some(Reply::Version(etag, _)) if request.contains(&format!("if-none-match: {etag}")) => {
            full(stream, "304 Not Modified", &[], "")
        }
        Some(Reply::Version(etag, body)) => full(stream, "200 OK", &[&format!("etag: {etag}")], body),
        Some(Reply::Huge(with_length)) => {
            let length = if *with_length { "content-length: 52428800\r\n" } else { "" };
            write!(stream, "HTTP/1.1 200 OK\r\nconnection: close\r\n{length}\r\n")?;
            (0..50).try_for_each(|_| stream.write_all(&vec![b'#'; 1 << 20]))
        }
        Some(Reply::Slow) => {
            write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n# Page")?;
            stream.read(&mut [0]).map(drop)
        }
    }
}

fn limits() -> Limits {
    Limits { size: 1 << 20, time: Duration::from_secs(20) }
}

/// Watches one page of a server. Returns the outcome and the report.
fn watch(root: &Path, server: &Server) -> (Outcome, String) {
    let options = Options { urls: vec![server.url()], files: Vec::new() };
    let outcome = run(root, &options, limits()).unwrap();
    (outcome, fs::read_to_string(root.join("target/spec-watch/report.md")).unwrap())
}

/// What must not change: the branch, the vendored bytes, and every other file.
fn state(root: &Path) -> (String, String, Vec<u8>) {
    let head = git(root, &["rev-parse", "--abbrev-ref", "HEAD"]) + &git(root, &["rev-parse", "HEAD"]);
    (head, git(root, &["status", "--porcelain"]), fs::read(root.join("openapi/akool.yaml")).unwrap())
}

#[test]
fn an_unchanged_page_is_fetched_once_and_then_only_asked_for() {
    let repository = repository();
    let root = repository.path();
    let server = Server::start(&[(PAGE, Reply::Version("\"v1\"", page(VENDORED)))]);
    let before = state(root);
    assert_eq!(watch(root, &server).0, Outcome::NothingNew);
    let (outcome, report) = watch(root, &server);
    assert_eq!(outcome, Outcome::NothingNew);
    assert!(report.contains("unchanged (HTTP 304)"), "{report}");
    assert!(report.starts_with("<!-- fingerprint: none -->"), "{report}");
    // With other vendored files, the version says nothing.
    fs::write(
        root.join("openapi/sources.toml"),
        fs::read_to_string(root.join("openapi/sources.toml")).unwrap() + "\n",
    )
    .unwrap();
    watch(root, &server);
    let conditional: Vec<_> =
        server.requests.lock().unwrap().iter().map(|request| request.contains("if-none-match")).collect();
    assert_eq!(conditional, [false, true, false]);
    git(root, &["checkout", "--quiet", "openapi/sources.toml"]);
    assert_eq!(state(root), before);
    assert_eq!(git(root, &["branch", "--list", "spec-watch/*"]), "");
}

#[test]
fn a_changed_page_becomes_a_branch_with_a_report_and_nothing_else_changes() {
    let repository = repository();
    let root = repository.path();
    let more = VENDORED
        .replace("        storage_loc:\n", "        mood:\n          type: string\n        storage_loc:\n");
    assert_ne!(more, VENDORED);
    let less = VENDORED.replace("        uid:\n", "        uidd:\n");
    assert_ne!(less, VENDORED);
    let before = state(root);
    for (yaml, wanted, says) in [
        (&more, Outcome::Additive, "response-property-added"),
        (&less, Outcome::Breaking, "response-property-removed"),
    ] {
        let server = Server::start(&[(PAGE, Reply::Version("\"v2\"", page(yaml)))]);
        let (outcome, report) = watch(root, &server);
        assert_eq!(outcome, wanted, "{report}");
        assert!(report.contains(says), "{report}");
        let branch = report.split("branch `").nth(1).unwrap().split('`').next().unwrap();
        let there = git(root, &["show", &format!("{branch}:openapi/akool.yaml")]);
        assert_eq!(there.trim_end(), yaml.trim_end(), "the branch has the vendor's new bytes");
        assert_eq!(git(root, &["rev-list", "--count", &format!("main..{branch}")]), "1");
        // The next night: the change is not merged yet, so it is reported again, and the branch is kept.
        let head = git(root, &["rev-parse", branch]);
        let (outcome, again) = watch(root, &server);
        assert_eq!(outcome, wanted, "{again}");
        assert_eq!(again.lines().next(), report.lines().next(), "the fingerprint is stable");
        assert_eq!(git(root, &["rev-parse", branch]), head);
        assert_eq!(state(root), before);
    }
    assert_eq!(git(root, &["worktree", "list"]).lines().count(), 1, "the worktree was removed");
}

#[test]
fn a_change_that_needs_a_person_is_breaking_and_leaves_no_branch() {
    let repository = repository();
    let root = repository.path();
    let before = state(root);
    let renamed = VENDORED.replace("VideoInfoResult", "VideoResult");
    let server = Server::start(&[(PAGE, Reply::Full("200 OK", &[], page(&renamed)))]);
    let (outcome, report) = watch(root, &server);
    assert_eq!(outcome, Outcome::Breaking, "{report}");
    assert!(report.contains("step `overlays`") && report.contains("all files were restored"), "{report}");
    assert_eq!(state(root), before);
    assert_eq!(git(root, &["branch", "--list", "spec-watch/*"]), "");
    assert!(root.join("target/spec-watch/pages/0/get-result.md").exists(), "the page is kept for the person");
}

#[test]
fn a_moved_page_is_followed_and_reported() {
    let repository = repository();
    let root = repository.path();
    let there = |status| {
        let moved = Reply::Full(status, &["location: /new/result.md"], String::new());
        Server::start(&[(PAGE, moved), ("/new/result.md", Reply::Full("200 OK", &[], page(VENDORED)))])
    };
    // For a while only, or not the recorded origin.
    for status in ["302 Found", "301 Moved Permanently"] {
        assert_eq!(watch(root, &there(status)).0, Outcome::NothingNew);
    }
    let server = there("301 Moved Permanently");
    let sources = fs::read_to_string(root.join("openapi/sources.toml")).unwrap();
    let origin = sources.split("origin = \"").nth(1).unwrap().split('"').next().unwrap();
    fs::write(root.join("openapi/sources.toml"), sources.replace(origin, server.url().as_str())).unwrap();
    commit(root);
    let before = state(root);
    let (outcome, report) = watch(root, &server);
    assert_eq!(outcome, Outcome::Additive, "{report}");
    assert!(report.contains("moved to http://127.0.0.1:") && report.contains("/new/result.md"), "{report}");
    let branch = report.split("branch `").nth(1).unwrap().split('`').next().unwrap();
    assert_eq!(git(root, &["diff", "--name-only", "HEAD", branch]), "openapi/sources.toml");
    assert_eq!(state(root), before);
}

#[test]
fn a_page_that_cannot_be_used_is_broken() {
    let repository = repository();
    let root = repository.path();
    let before = state(root);
    let html = || "<!DOCTYPE html><html><body>Sign in</body></html>".to_owned();
    let wrong = VENDORED.replacen("type: integer", "type: number of things", 1);
    for (reply, says) in [
        (None, "the page is gone: HTTP 404"),
        (Some(Reply::Full("410 Gone", &[], String::new())), "the page is gone: HTTP 410"),
        (Some(Reply::Full("403 Forbidden", &[], String::new())), "HTTP 403"),
        (Some(Reply::Full("304 Not Modified", &[], String::new())), "HTTP 304"),
        (Some(Reply::Full("200 OK", &["content-type: text/html"], "Sign in".to_owned())), "HTML page"),
        (Some(Reply::Full("200 OK", &[], html())), "HTML page"),
        (Some(Reply::Full("200 OK", &[], String::new())), "no OpenAPI block"),
        (Some(Reply::Full("200 OK", &[], page(&VENDORED[..VENDORED.len() / 2]))), "is not valid YAML"),
        (Some(Reply::Full("200 OK", &[], page(VENDORED).replace("\n````\n", "\n"))), "is not closed"),
        (Some(Reply::Full("200 OK", &[], page(&wrong))), "not a type of OpenAPI 3.0"),
        (Some(Reply::Huge(true)), "more than 1048576 bytes"),
        (Some(Reply::Huge(false)), "more than 1048576 bytes"),
        (
            Some(Reply::Full("302 Found", &["location: http://192.0.2.1/x.md"], String::new())),
            "not an https:// URL",
        ),
        (
            Some(Reply::Full("302 Found", &["location: /get-result.md"], String::new())),
            "more than 5 redirects",
        ),
    ] {
        let pages: Vec<_> = reply.into_iter().map(|reply| (PAGE, reply)).collect();
        let (outcome, report) = watch(root, &Server::start(&pages));
        assert_eq!(outcome, Outcome::Broken, "{says}: {report}");
        assert!(report.contains(says), "{says}: {report}");
        assert_eq!(state(root), before, "{says}");
    }
    assert_eq!(git(root, &["branch", "--list", "spec-watch/*"]), "");
}

#[test]
fn a_server_that_does_not_answer_is_unavailable() {
    let folder = repository();
    let slow = Server::start(&[(PAGE, Reply::Slow)]);
    let busy = Server::start(&[(PAGE, Reply::Full("503 Service Unavailable", &[], String::new()))]);
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let short = Limits { time: Duration::from_millis(200), ..limits() };
    for (url, limits, says) in [
        (slow.url(), short, "longer than 0.2 s"),
        (busy.url(), limits(), "HTTP 503"),
        (format!("http://{closed}/x.md").parse().unwrap(), limits(), "error sending request"),
    ] {
        let options = Options { urls: vec![url], files: Vec::new() };
        assert_eq!(run(folder.path(), &options, limits).unwrap(), Outcome::Unavailable);
        let report = fs::read_to_string(folder.path().join("target/spec-watch/report.md")).unwrap();
        assert!(report.contains(says), "{report}");
    }
}

#[test]
fn a_file_is_watched_like_a_page() {
    let repository = repository();
    let file = repository.path().join("target/page.md");
    fs::create_dir(repository.path().join("target")).unwrap();
    for (text, wanted) in [(page(VENDORED), Outcome::NothingNew), ("# Page\n".to_owned(), Outcome::Broken)] {
        fs::write(&file, text).unwrap();
        let options = Options { urls: Vec::new(), files: vec![file.clone()] };
        assert_eq!(run(repository.path(), &options, limits()).unwrap(), wanted);
    }
    // Vendored bytes that were edited are not the vendor's mistake.
    let vendored = repository.path().join("openapi/akool.yaml");
    fs::write(&vendored, VENDORED.to_owned() + "\n").unwrap();
    let options = Options { urls: Vec::new(), files: vec![file] };
    let error = run(repository.path(), &options, limits()).unwrap_err().to_string();
    assert!(error.contains("Never edit the vendored bytes"), "{error}");
    fs::write(&vendored, VENDORED).unwrap();
    let options = Options { urls: Vec::new(), files: vec!["missing.md".into()] };
    let error = run(repository.path(), &options, limits()).unwrap_err().to_string();
    assert!(
        error.contains("cannot find missing.md"),
        "a mistake of the user, and not of the vendor: {error}"
    );
}

#[test]
fn only_https_and_this_machine_are_fetched() {
    for (url, allowed) in [
        ("https://docs.example/a.md", true),
        ("http://docs.example/a.md", false),
        ("http://localhost:8080/a.md", true),
        ("http://127.0.0.1/a.md", true),
        ("http://[::1]/a.md", true),
        ("http://127.0.0.1.example/a.md", false),
        ("http://192.168.0.1/a.md", false),
        ("file:///etc/passwd", false),
        ("ftp://127.0.0.1/a.md", false),
    ] {
        assert_eq!(fetch::allowed(&url.parse().unwrap()), allowed, "{url}");
    }
    let folder = repository();
    let options = Options { urls: vec!["http://docs.example/a.md".parse().unwrap()], files: Vec::new() };
    let error = run(folder.path(), &options, limits()).unwrap_err().to_string();
    assert!(error.contains("give an https:// URL"), "{error}");
}

#[test]
fn text_of_the_vendor_ends_no_fence_of_the_report() {
    assert_eq!(super::fenced("a\n`````\n# b"), "``````text\na\n`````\n# b\n``````\n");
    assert_eq!(super::fenced("a"), "```text\na\n```\n");
}
