//! Downloads that fail, stall or are dropped, and what the next download of the same file does with the part.

use std::{
    fs,
    future::IntoFuture,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use akool::{FileKind, JobId, RemoteFile};
use akool_download::{DownloadError, Downloader, Saved};
use akool_mock::{MockServer, Timeline};
use akool_tests::{ID, QUIET, client_of, listen, names, wait_until};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const ETAG: &str = "etag: \"1\"";
const DATE: &str = "last-modified: Sun, 22 Nov 2020 10:00:00 GMT";

/// What a server does after a response.
#[derive(Clone, Copy)]
enum End {
    /// Closes the connection, even if the body is not complete.
    Close,
    /// Keeps the connection open, and sends nothing.
    Hang,
}

/// A server on a socket that answers one request on each connection.
struct Server {
    file: RemoteFile,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// `respond` gets the number of the request, from 0, and the request.
    async fn start(respond: impl Fn(usize, &str) -> (Vec<u8>, End) + Send + 'static) -> Self {
        let (listener, url) = listen().await;
        let requests = Arc::new(Mutex::new(Vec::new()));
        let received = requests.clone();
        tokio::spawn(async move {
            let mut open = Vec::new();
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    assert_ne!(stream.read_buf(&mut request).await.unwrap(), 0);
                }
                let request = String::from_utf8(request).unwrap();
                let number = received.lock().unwrap().len();
                let (response, end) = respond(number, &request);
                received.lock().unwrap().push(request);
                // The client closes the connection if it does not want the body.
                let _ = stream.write_all(&response).await;
                if matches!(end, End::Hang) {
                    open.push(stream);
                }
            }
        });
        Self { file: file(&url).await, requests }
    }

    /// The values of this header in the requests so far.
    fn sent(&self, header: &str) -> Vec<Option<String>> {
        let value = |request: &String| {
            let line = request.lines().find_map(|line| line.strip_prefix(header)?.strip_prefix(": "));
            line.map(str::to_owned)
        };
        self.requests.lock().unwrap().iter().map(value).collect()
    }
}

async fn file(url: &str) -> RemoteFile {
    let server = MockServer::start().await;
    server.job(ID, Timeline::new().completed());
    let mut file = client_of(&server).job(ID).wait().await.unwrap().files().remove(0);
    file.url = url.parse().unwrap();
    file
}

/// A video of 2 MB.
fn video(seed: u8) -> Vec<u8> {
    let bytes = (0_u32..2_000_000).map(|number| (number / 7) as u8 ^ (number / 1001) as u8 ^ seed);
    b"\0\0\0\0mdat".iter().copied().chain(bytes).take(2_000_000).collect()
}

/// A response with the first `sent` bytes of the file.
fn whole(contents: &[u8], headers: &str, sent: usize) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\n{headers}\r\ncontent-length: {}\r\n\r\n", contents.len());
    [head.as_bytes(), &contents[..sent]].concat()
}

/// The response of a server that supports ranges: the rest if the request's validator is `validator`.
fn ranged(contents: &[u8], headers: &str, validator: &str, request: &str) -> Vec<u8> {
    let value = |name: &str| request.lines().find_map(|line| line.strip_prefix(name));
    match value("range: bytes=") {
        Some(range) if value("if-range: ") == Some(validator) => {
            let start: usize = range.trim_end_matches('-').parse().unwrap();
            let total = contents.len();
            let head = format!(
                "HTTP/1.1 206 Partial Content\r\n{headers}\r\ncontent-length: {}\r\n\
                 content-range: bytes {start}-{}/{total}\r\n\r\n",
                total - start,
                total - 1
            );
            [head.as_bytes(), &contents[start..]].concat()
        }
        _ => whole(contents, headers, contents.len()),
    }
}

fn downloader(max_failures: u32, stall_timeout: Duration) -> Downloader {
    Downloader::builder()
        .max_failures(max_failures)
        .first_pause(Duration::from_millis(10))
        .stall_timeout(stall_timeout)
        .build()
        .unwrap()
}

fn patient() -> Downloader {
    downloader(3, Duration::from_secs(60))
}

fn assert_saved(saved: &Saved, contents: &[u8]) {
    assert!(!saved.kept && fs::read(&saved.path).unwrap() == contents, "not the same bytes");
    assert_eq!(names(saved.path.parent().unwrap()), [saved.path.file_name().unwrap().to_str().unwrap()]);
}

/// Drops a download after this many bytes have arrived.
async fn drop_after(bytes: u64, file: &RemoteFile, folder: &Path) {
    let (sender, mut arrived) = tokio::sync::mpsc::unbounded_channel();
    let save = patient().save(file, folder).on_progress(move |now| {
        let _ = sender.send(now.bytes);
    });
    let mut save = save.into_future();
    let reached = async { while arrived.recv().await.unwrap() < bytes {} };
    tokio::select! {
        end = &mut save => panic!("{end:?}"),
        () = reached => {}
    }
    assert!(!names(folder).contains(&file.file_name()));
}

/// Writes a part as an earlier download left it.
fn leave(folder: &Path, file: &RemoteFile, contents: &[u8], version: &str) -> PathBuf {
    let part = folder.join(format!("{}.part", file.file_name()));
    fs::write(&part, contents).unwrap();
    fs::write(part.with_extension("part.json"), version).unwrap();
    part
}

#[tokio::test]
async fn a_dropped_download_is_resumed_only_with_a_strong_validator() {
    for (headers, validator) in [
        (ETAG.to_owned(), Some("\"1\"")),
        (format!("{ETAG}\r\n{DATE}"), Some("\"1\"")),
        (DATE.to_owned(), Some("Sun, 22 Nov 2020 10:00:00 GMT")),
        (format!("etag: W/\"1\"\r\n{DATE}"), Some("Sun, 22 Nov 2020 10:00:00 GMT")),
        ("etag: W/\"1\"".to_owned(), None),
        ("x-none: 1".to_owned(), None),
        // The file may have changed twice within this second.
        (format!("{DATE}\r\ndate: Sun, 22 Nov 2020 10:00:00 GMT"), None),
        (format!("{ETAG}\r\naccept-ranges: none"), None),
    ] {
        let contents = video(0);
        let sent = headers.clone();
        let server = Server::start(move |number, request| match number {
            0 => (whole(&contents, &sent, 1_500_000), End::Hang),
            _ => (ranged(&contents, &sent, validator.unwrap_or_default(), request), End::Close),
        })
        .await;
        let folder = tempfile::tempdir().unwrap();
        drop_after(1_500_000, &server.file, folder.path()).await;
        let name = server.file.file_name();
        if validator.is_some() {
            assert_eq!(names(folder.path()), [format!("{name}.part"), format!("{name}.part.json")]);
        } else {
            // Another thread may still be writing the part, and removes it afterwards.
            wait_until("the part is removed", || names(folder.path()).is_empty()).await;
        }
        let saved = patient().save(&server.file, folder.path()).await.unwrap();
        assert_saved(&saved, &video(0));
        let ranges = server.sent("range");
        assert_eq!(ranges.len(), 2, "{headers}");
        assert_eq!(server.sent("if-range"), [None, validator.map(str::to_owned)], "{headers}");
        if validator.is_some() {
            let start: u64 =
                ranges[1].as_ref().unwrap().trim_matches(|c: char| !c.is_ascii_digit()).parse().unwrap();
            assert!((1_000_000..=1_500_000).contains(&start), "{headers}: {start}");
        } else {
            assert_eq!(ranges[1], None, "{headers}");
        }
    }
}

#[tokio::test]
async fn a_failed_download_is_resumed_by_the_next_one() {
    let contents = video(0);
    let server = Server::start(move |number, request| match number {
        0 => (whole(&contents, ETAG, 900_000), End::Close),
        1 | 2 => (b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n".to_vec(), End::Close),
        _ => (ranged(&contents, ETAG, "\"1\"", request), End::Close),
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let error = patient().save(&server.file, folder.path()).await.unwrap_err();
    assert!(matches!(error, DownloadError::Failed { .. }), "{error:?}");
    let name = server.file.file_name();
    assert_eq!(names(folder.path()), [format!("{name}.part"), format!("{name}.part.json")]);
    let saved = patient().save(&server.file, folder.path()).await.unwrap();
    assert_saved(&saved, &video(0));
    let resumed = Some("bytes=900000-".to_owned());
    assert_eq!(server.sent("range"), [None, resumed.clone(), resumed.clone(), resumed]);
}

#[tokio::test]
async fn a_server_that_keeps_dropping_the_connection_stalls_the_download() {
    let _quiet = QUIET.lock().await;
    let contents = video(0);
    // Without a validator, each attempt starts again. Every second one gets further than the one before.
    let server = Server::start(move |number, _| {
        (whole(&contents, "x-none: 1", 10_000 + number % 2 * 10_000), End::Close)
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let downloader = downloader(1000, Duration::from_secs(1));
    let error = downloader.save(&server.file, folder.path()).await.unwrap_err();
    assert!(matches!(error, DownloadError::Stalled { .. }), "{error:?}");
    assert!(server.requests.lock().unwrap().len() > 2);
    assert!(!names(folder.path()).contains(&server.file.file_name()));
}

#[tokio::test]
async fn a_long_retry_after_stalls_the_download_and_the_next_one_resumes() {
    let _quiet = QUIET.lock().await;
    let contents = video(0);
    let server = Server::start(move |number, request| match number {
        0 => (whole(&contents, ETAG, 900_000), End::Close),
        1 => {
            let busy =
                b"HTTP/1.1 503 Busy\r\nretry-after: 1000000000000\r\ncontent-length: 0\r\n\r\n".to_vec();
            (busy, End::Close)
        }
        _ => (ranged(&contents, ETAG, "\"1\"", request), End::Close),
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let downloader = downloader(5, Duration::from_secs(1));
    let error = downloader.save(&server.file, folder.path()).await.unwrap_err();
    assert!(matches!(error, DownloadError::Stalled { .. }), "{error:?}");
    assert!(error.to_string().contains("503"), "{error}");
    assert_eq!(server.requests.lock().unwrap().len(), 2);
    let saved = patient().save(&server.file, folder.path()).await.unwrap();
    assert_saved(&saved, &video(0));
    assert_eq!(server.sent("range")[2].as_deref(), Some("bytes=900000-"));
}

#[tokio::test]
async fn a_silent_connection_stalls_the_download_and_the_next_one_resumes() {
    let _quiet = QUIET.lock().await;
    let contents = video(0);
    let server = Server::start(move |number, request| match number {
        0 => (whole(&contents, DATE, 900_000), End::Hang),
        1 => (Vec::new(), End::Hang),
        _ => (ranged(&contents, DATE, "Sun, 22 Nov 2020 10:00:00 GMT", request), End::Close),
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        let error =
            downloader(5, Duration::from_secs(1)).save(&server.file, folder.path()).await.unwrap_err();
        assert!(matches!(error, DownloadError::Stalled { .. }), "{error:?}");
    }
    let saved = patient().save(&server.file, folder.path()).await.unwrap();
    assert_saved(&saved, &video(0));
    let resumed = Some("bytes=900000-".to_owned());
    assert_eq!(server.sent("range"), [None, resumed.clone(), resumed]);
}

#[tokio::test]
async fn data_that_arrives_slowly_does_not_stall_the_download() {
    let _quiet = QUIET.lock().await;
    let contents = video(0);
    let server = Server::start(move |number, request| match number {
        // Each attempt gets a little further, and all together take longer than the timeout.
        0 => (whole(&contents, ETAG, 1_000), End::Close),
        1..=30 => {
            let rest = ranged(&contents, ETAG, "\"1\"", request);
            let body = rest.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
            (rest[..body + 1_000].to_vec(), End::Close)
        }
        _ => (ranged(&contents, ETAG, "\"1\"", request), End::Close),
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let downloader = Downloader::builder()
        .max_failures(2)
        .first_pause(Duration::from_millis(50))
        .stall_timeout(Duration::from_millis(1200))
        .build()
        .unwrap();
    assert_saved(&downloader.save(&server.file, folder.path()).await.unwrap(), &video(0));
}

#[tokio::test]
async fn a_changed_file_restarts_the_download() {
    let old = video(0);
    let mut longer = video(1);
    longer.push(0);
    let rest = |headers: &str, range: &str| {
        format!(
            "HTTP/1.1 206 Partial Content\r\n{headers}\r\ncontent-range: bytes {range}\r\ncontent-length: 5\r\n\r\nwrong"
        )
    };
    for second in [
        // Another total, another strong tag, a tag that became weak, and no total at all.
        rest(ETAG, "900000-900004/2000001"),
        rest("etag: \"2\"", "900000-900004/2000000"),
        rest("etag: W/\"1\"", "900000-900004/2000000"),
        rest(ETAG, "900001-900005/2000000"),
        "HTTP/1.1 416 Range\r\ncontent-range: bytes */5\r\ncontent-length: 0\r\n\r\n".to_owned(),
    ] {
        let (old, new) = (old.clone(), longer.clone());
        let server = Server::start(move |number, _| match number {
            0 => (whole(&old, ETAG, 900_000), End::Close),
            1 => (second.clone().into_bytes(), End::Close),
            _ => (whole(&new, "etag: \"2\"", new.len()), End::Close),
        })
        .await;
        let folder = tempfile::tempdir().unwrap();
        let saved = patient().save(&server.file, folder.path()).await.unwrap();
        assert_saved(&saved, &longer);
        assert_eq!(server.sent("range"), [None, Some("bytes=900000-".to_owned()), None]);
    }
}

#[tokio::test]
async fn a_file_that_changed_between_two_downloads_is_downloaded_from_the_start() {
    // It is shorter than the part.
    let contents = video(1)[..500_000].to_vec();
    let served = contents.clone();
    let server =
        Server::start(move |_, request| (ranged(&served, "etag: \"2\"", "\"2\"", request), End::Close)).await;
    let folder = tempfile::tempdir().unwrap();
    leave(folder.path(), &server.file, &video(0)[..900_000], r#"{"etag":"\"1\"","total":2000000}"#);
    assert_saved(&patient().save(&server.file, folder.path()).await.unwrap(), &contents);
    assert_eq!(server.sent("if-range"), [Some("\"1\"".to_owned())]);
}

#[tokio::test]
async fn an_error_document_does_not_replace_the_part() {
    let contents = video(0);
    let server = Server::start(move |number, request| match number {
        0..3 => (whole(b"{\"error\":1}", "etag: \"error\"", 11), End::Close),
        _ => (ranged(&contents, ETAG, "\"1\"", request), End::Close),
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    leave(folder.path(), &server.file, &video(0)[..900_000], r#"{"etag":"\"1\"","total":2000000}"#);
    let error = patient().save(&server.file, folder.path()).await.unwrap_err();
    assert!(error.to_string().contains("a JSON document"), "{error}");
    assert_saved(&patient().save(&server.file, folder.path()).await.unwrap(), &video(0));
    assert!(server.sent("range").iter().all(|range| range.as_deref() == Some("bytes=900000-")));
}

#[tokio::test]
async fn a_part_is_resumed_only_if_its_version_is_known() {
    let contents = video(0);
    for (length, version, range) in [
        (900_000, r#"{"etag":"\"1\"","total":2000000}"#, Some("bytes=900000-")),
        // The server confirms the version of a part that has all bytes.
        (2_000_000, r#"{"etag":"\"1\"","total":2000000}"#, Some("bytes=1999999-")),
        (900_000, r#"{"etag":"\"1\""}"#, Some("bytes=900000-")),
        (900_000, r#"{"total":2000000}"#, None),
        (900_000, r#"{"etag":"\"1\"","tot"#, None),
        (900_000, "", None),
        (900_000, r#"{"etag":"\"1\"","total":10}"#, None),
        (0, r#"{"etag":"\"1\"","total":2000000}"#, None),
    ] {
        let served = contents.clone();
        let server =
            Server::start(move |_, request| (ranged(&served, ETAG, "\"1\"", request), End::Close)).await;
        let folder = tempfile::tempdir().unwrap();
        leave(folder.path(), &server.file, &contents[..length], version);
        assert_saved(&patient().save(&server.file, folder.path()).await.unwrap(), &contents);
        assert_eq!(server.sent("range"), [range.map(str::to_owned)], "{length} {version}");
    }
}

#[tokio::test]
async fn the_checksum_covers_a_part_of_an_earlier_download() {
    let contents = video(0);
    let served = contents.clone();
    let server = Server::start(move |_, request| (ranged(&served, ETAG, "\"1\"", request), End::Close)).await;
    let folder = tempfile::tempdir().unwrap();
    let version = r#"{"etag":"\"1\"","total":2000000,"sha256":"AAAA"}"#;
    leave(folder.path(), &server.file, &contents[..900_000], version);
    assert_saved(&patient().save(&server.file, folder.path()).await.unwrap(), &contents);
    assert_eq!(server.sent("range"), [Some("bytes=900000-".to_owned()), None]);
}

#[tokio::test]
async fn a_part_beside_a_complete_file_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    let file = file("http://127.0.0.1:1/").await;
    assert_eq!((file.kind, &file.job), (FileKind::Video, &JobId::from(ID)));
    leave(folder.path(), &file, b"part", r#"{"etag":"\"1\"","total":10}"#);
    fs::write(folder.path().join(file.file_name()), "mine").unwrap();
    assert!(patient().save(&file, folder.path()).await.unwrap().kept);
    assert_eq!(names(folder.path()), [file.file_name()]);
}

#[cfg(unix)]
#[tokio::test]
async fn a_symbolic_link_at_the_version_is_not_followed() {
    let contents = video(0);
    let server =
        Server::start(move |_, request| (ranged(&contents, ETAG, "\"1\"", request), End::Close)).await;
    let folder = tempfile::tempdir().unwrap();
    let victim = folder.path().join("victim");
    fs::write(&victim, "precious").unwrap();
    let out = folder.path().join("out");
    fs::create_dir(&out).unwrap();
    std::os::unix::fs::symlink(&victim, out.join(format!("{}.part.json", server.file.file_name()))).unwrap();
    assert_saved(&patient().save(&server.file, &out).await.unwrap(), &video(0));
    assert_eq!(fs::read(&victim).unwrap(), b"precious");
}

#[tokio::test]
async fn a_download_waits_for_the_lock_of_the_part() {
    let contents = video(0);
    let served = contents.clone();
    let server = Server::start(move |_, request| (ranged(&served, ETAG, "\"1\"", request), End::Close)).await;
    let folder = tempfile::tempdir().unwrap();
    let part =
        leave(folder.path(), &server.file, &contents[..900_000], r#"{"etag":"\"1\"","total":2000000}"#);
    let lock = fs::File::options().write(true).open(part).unwrap();
    lock.lock().unwrap();
    let (sender, waiting) = tokio::sync::oneshot::channel();
    let sender = Mutex::new(Some(sender));
    let report = move |path: &Path| {
        let sender = sender.lock().unwrap().take().expect("the wait is reported once");
        sender.send(path.to_owned()).unwrap();
    };
    let release = async {
        assert_eq!(waiting.await.unwrap(), folder.path().join(server.file.file_name()));
        drop(lock);
    };
    let save = patient().save(&server.file, folder.path()).on_wait(report).into_future();
    let (saved, ()) = futures_util::join!(save, release);
    assert_saved(&saved.unwrap(), &contents);
    assert_eq!(server.sent("range"), [Some("bytes=900000-".to_owned())]);
}

#[tokio::test]
async fn a_file_without_a_length_is_not_taken_for_complete_when_the_connection_ends() {
    let server = Server::start(|_, _| {
        let head = b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n".to_vec();
        ([head, video(0)[..1_500_000].to_vec()].concat(), End::Close)
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let error = patient().save(&server.file, folder.path()).await.unwrap_err();
    assert!(matches!(error, DownloadError::Failed { .. }), "{error:?}");
    assert!(error.to_string().contains("the server sent no length"), "{error}");
    assert_eq!((server.sent("range").len(), names(folder.path())), (3, vec![]));
}
