//! Downloads: a file is complete under its own name, or does not exist. `download_resumes` has the downloads that stop
//! and are resumed later.

use std::{error::Error, fs, future::IntoFuture, time::Duration};

use akool::{FileKind, RemoteFile};
use akool_download::{DownloadError, Downloader, Sink, Version};
use akool_mock::{Fault, MockServer, Timeline, Times};
use akool_tests::{ID, client_of, listen, names, respond, respond_times};
use bytes::Bytes;
use wiremock::{Mock, ResponseTemplate, matchers::header_exists};

/// The shortest video: one box that continues to the end of the file.
const VIDEO: &[u8] = b"\0\0\0\0mdatabc";
/// Its SHA-256 in base64.
const VIDEO_SHA256: &str = "ZiXC2JOAGMwBQksJADNoQ/F1k2OcTrFvDIMERJaHXQ0=";

fn downloader() -> Downloader {
    Downloader::builder().max_failures(3).first_pause(Duration::from_millis(10)).build().unwrap()
}

/// The four files of a completed job.
async fn files(server: &MockServer) -> Vec<RemoteFile> {
    server.job(ID, Timeline::new().completed());
    client_of(server).job(ID).wait().await.unwrap().files()
}

/// A file with this link.
async fn file_at(url: &str) -> RemoteFile {
    let server = MockServer::start().await;
    let mut file = files(&server).await.remove(0);
    file.url = url.parse().unwrap();
    file
}

#[tokio::test]
async fn each_file_of_a_job_is_saved_under_its_own_name() {
    let server = MockServer::start().await;
    let folder = tempfile::tempdir().unwrap();
    for file in files(&server).await {
        let saved = downloader().save(&file, folder.path()).await.unwrap();
        assert_eq!(fs::metadata(&saved.path).unwrap().len(), saved.bytes);
        assert!(!saved.kept);
    }
    let wanted =
        ["mp4", "no-captions.mp4", "original.srt", "translated.srt"].map(|end| format!("{ID}.{end}"));
    assert_eq!(names(folder.path()), wanted);
    assert!(fs::read(folder.path().join(&wanted[0])).unwrap()[4..8] == *b"ftyp", "not an MP4");
}

#[tokio::test]
async fn an_existing_file_is_kept_unless_overwrite_is_set() {
    let server = MockServer::start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = files(&server).await.remove(2);
    let path = folder.path().join(file.file_name());
    fs::write(&path, "mine").unwrap();
    let saved = downloader().save(&file, folder.path()).await.unwrap();
    assert!(saved.kept && fs::read(&path).unwrap() == b"mine");
    let saved = downloader().save(&file, folder.path()).overwrite().await.unwrap();
    assert!(!saved.kept && fs::read_to_string(&path).unwrap().contains("Buenos"));
}

#[tokio::test]
async fn a_file_of_that_name_counts_only_if_length_and_first_bytes_match() {
    let server = MockServer::start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = files(&server).await.remove(0);
    let path = |name: &str| folder.path().join(name);
    let save = || downloader().save(&file, folder.path()).named("talk.es.mp4").with_sha256();
    let saved = save().await.unwrap();
    assert_eq!((&saved.path, saved.kept), (&path("talk.es.mp4"), false));
    let again = save().or_named("unused.mp4").await.unwrap();
    assert!(again.kept && again.sha256 == saved.sha256);
    assert_eq!(saved.sha256, Some(akool_download::sha256_of(&saved.path).unwrap()));

    // Another length, and the same length with another start.
    let right = fs::read(&saved.path).unwrap();
    let other_start = [&b"other"[..], &right[5..]].concat();
    for other in [&right[..right.len() - 1], &other_start] {
        fs::write(&saved.path, other).unwrap();
        let error = save().await.unwrap_err();
        assert!(matches!(error, DownloadError::Exists { .. }), "{error:?}");
        let second = save().or_named("talk.es.64dd.mp4").await.unwrap();
        assert_eq!(second.path, path("talk.es.64dd.mp4"));
        assert_eq!(
            (fs::read(&saved.path).unwrap(), fs::read(&second.path).unwrap()),
            (other.to_vec(), right.clone())
        );
    }
    assert_eq!(names(folder.path()), ["talk.es.64dd.mp4", "talk.es.mp4"]);
    assert!(!save().overwrite().await.unwrap().kept);
    assert_eq!(fs::read(&saved.path).unwrap(), right);
}

#[tokio::test]
async fn the_part_of_another_file_with_the_same_name_is_not_resumed() {
    let server = MockServer::start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = files(&server).await.remove(0);
    let part = folder.path().join("talk.mp4.part");
    for (owner, requests) in [("other.mp4".to_owned(), None), (file.file_name(), Some("bytes=8-"))] {
        fs::write(&part, b"\0\0\0\0mdat").unwrap();
        let version = serde_json::json!({ "file": owner, "etag": "\"video.mp4\"" });
        fs::write(part.with_extension("part.json"), version.to_string()).unwrap();
        let before = server.exchanges().len();
        downloader().save(&file, folder.path()).named("talk.mp4").await.unwrap();
        let exchange = &server.exchanges()[before];
        assert_eq!(exchange.headers.get("range").map(|range| range.to_str().unwrap()), requests);
        fs::remove_file(folder.path().join("talk.mp4")).unwrap();
    }
}

#[tokio::test]
async fn an_expired_link_is_an_error_and_leaves_no_file() {
    let server = MockServer::start().await;
    let folder = tempfile::tempdir().unwrap();
    let mut file = files(&server).await.remove(0);
    file.url.set_path("/files/MARKER/video.mp4");
    let error = downloader().save(&file, folder.path()).await.unwrap_err();
    assert!(matches!(error, DownloadError::Expired { status: 404, .. }), "{error:?}");
    let text = format!("{error} {error:?} {}", error.help());
    assert!(text.contains("7 days") && !text.contains("MARKER"), "{text}");
    assert!(names(folder.path()).is_empty());
}

#[tokio::test]
async fn a_failed_download_is_retried_until_the_maximum_number_of_failures() {
    let server = wiremock::MockServer::start().await;
    respond_times(&server, 2, ResponseTemplate::new(503)).await;
    respond(&server, ResponseTemplate::new(200).set_body_bytes(VIDEO)).await;
    let folder = tempfile::tempdir().unwrap();
    let file = file_at(&server.uri()).await;
    let saved = downloader().save(&file, folder.path()).await.unwrap();
    assert_eq!(fs::read(saved.path).unwrap(), VIDEO);

    server.reset().await;
    respond(&server, ResponseTemplate::new(503)).await;
    let error = downloader().save(&file, folder.path()).overwrite().await.unwrap_err();
    assert!(matches!(error, DownloadError::Failed { .. }), "{error:?}");
    assert_eq!(server.received_requests().await.unwrap().len(), 3);
    assert_eq!(names(folder.path()), [file.file_name()], "the old file is kept");
}

#[tokio::test]
async fn a_document_or_an_empty_body_is_not_saved() {
    let server = wiremock::MockServer::start().await;
    let folder = tempfile::tempdir().unwrap();
    let mut file = file_at(&server.uri()).await;
    for (body, media_type, reason) in [
        ("{\"code\":1101,\"msg\":\"expired\"}", "application/json", "a JSON document"),
        ("[\"moov\"]", "video/mp4", "a JSON document"),
        (
            "<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code></Error>",
            "application/xml",
            "an XML document",
        ),
        ("<!DOCTYPE html><title>Sign in</title>", "text/html; charset=utf-8", "an HTML page"),
        ("\n<html><!-- 1\n00:00:00,000 --> 00:00:01,000\n-->", "application/octet-stream", "an HTML page"),
        ("Not found", "application/octet-stream", "other data"),
        ("", "video/mp4", "empty"),
    ] {
        server.reset().await;
        respond(&server, ResponseTemplate::new(200).set_body_raw(body, media_type)).await;
        for kind in [FileKind::Video, FileKind::Subtitles] {
            file.kind = kind;
            let error = downloader().save(&file, folder.path()).await.unwrap_err();
            assert!(matches!(error, DownloadError::Failed { .. }), "{error:?}");
            assert!(error.to_string().contains(reason), "{error}");
            assert!(names(folder.path()).is_empty(), "{body}");
        }
        assert_eq!(server.received_requests().await.unwrap().len(), 6);
    }
    // An empty existing file is replaced.
    file.kind = FileKind::Video;
    server.reset().await;
    respond(&server, ResponseTemplate::new(200).set_body_raw(VIDEO, "text/html")).await;
    fs::write(folder.path().join(file.file_name()), "").unwrap();
    let saved = downloader().save(&file, folder.path()).await.unwrap();
    assert!(!saved.kept && fs::read(saved.path).unwrap() == VIDEO);
}

#[tokio::test]
async fn a_part_that_was_not_requested_is_not_saved() {
    let server = wiremock::MockServer::start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = file_at(&server.uri()).await;
    let mut body = VIDEO.to_vec();
    body.resize(100, 0);
    let response = |range: &str| {
        ResponseTemplate::new(206).insert_header("content-range", range).set_body_bytes(body.clone())
    };
    for range in ["bytes 0-99/*", "bytes 0-99/200", "bytes 100-199/200", "nonsense"] {
        server.reset().await;
        respond(&server, response(range)).await;
        let error = downloader().save(&file, folder.path()).await.unwrap_err();
        assert!(matches!(error, DownloadError::Failed { .. }), "{error:?}");
        assert!(names(folder.path()).is_empty(), "{range}");
    }
    server.reset().await;
    respond(&server, response("bytes 0-99/100")).await;
    let saved = downloader().save(&file, folder.path()).await.unwrap();
    assert_eq!(fs::read(saved.path).unwrap(), body);
}

#[tokio::test]
async fn an_unsafe_link_or_redirect_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = file_at("http://cdn.example/a.mp4?Signature=MARKER").await;
    let error = downloader().save(&file, folder.path()).await.unwrap_err();
    assert!(matches!(error, DownloadError::UnsafeLink { .. }), "{error:?}");
    assert!(!error.to_string().contains("MARKER"));

    let server = wiremock::MockServer::start().await;
    let redirect = ResponseTemplate::new(302).insert_header("location", "http://10.0.0.1/");
    respond(&server, redirect).await;
    let error = downloader().save(&file_at(&server.uri()).await, folder.path()).await.unwrap_err();
    assert!(matches!(error, DownloadError::UnsafeLink { .. }), "{error:?}");
    assert!(names(folder.path()).is_empty());

    // A redirect loop ends after five redirects.
    server.reset().await;
    let redirect = ResponseTemplate::new(302).insert_header("location", "/again");
    respond(&server, redirect).await;
    let error = downloader().save(&file_at(&server.uri()).await, folder.path()).await.unwrap_err();
    assert!(matches!(error, DownloadError::UnsafeLink { .. }), "{error:?}");
    assert_eq!(server.received_requests().await.unwrap().len(), 6);
}

#[tokio::test]
async fn a_folder_that_is_a_file_is_an_io_error_with_its_path() {
    let server = MockServer::start().await;
    let folder = tempfile::tempdir().unwrap();
    let taken = folder.path().join("taken");
    fs::write(&taken, "").unwrap();
    let error = downloader().save(&files(&server).await[0], &taken).await.unwrap_err();
    assert!(matches!(error, DownloadError::Io { .. }), "{error:?}");
    assert!(error.to_string().contains("taken"), "{error}");
    let cause = error.source().unwrap().to_string();
    assert!(!error.to_string().contains(&cause), "{error}");
}

#[cfg(unix)]
#[tokio::test]
async fn a_symbolic_link_at_the_part_file_is_not_followed() {
    let server = MockServer::start().await;
    let folder = tempfile::tempdir().unwrap();
    let victim = folder.path().join("victim");
    fs::write(&victim, "precious").unwrap();
    let out = folder.path().join("out");
    fs::create_dir(&out).unwrap();
    let file = files(&server).await.remove(0);
    std::os::unix::fs::symlink(&victim, out.join(format!("{}.part", file.file_name()))).unwrap();
    let error = downloader().save(&file, &out).await.unwrap_err();
    assert!(matches!(error, DownloadError::Io { .. }), "{error:?}");
    assert_eq!(fs::read(&victim).unwrap(), b"precious");
}

#[tokio::test]
async fn two_downloads_of_one_file_do_not_interfere() {
    let server = MockServer::start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = files(&server).await.remove(0);
    let downloader = downloader();
    let (one, two) = futures_util::join!(
        downloader.save(&file, folder.path()).into_future(),
        downloader.save(&file, folder.path()).into_future()
    );
    let (one, two) = (one.unwrap(), two.unwrap());
    assert!(one.kept != two.kept, "{one:?} {two:?}");
    assert_eq!(names(folder.path()), [file.file_name()]);
}

/// A video of 3 MB, of pseudo-random bytes.
fn random_bytes() -> Vec<u8> {
    let mut state = 1_u32;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    let mut bytes: Vec<u8> = std::iter::repeat_with(next).take(3_000_000).collect();
    bytes[..8].copy_from_slice(&VIDEO[..8]);
    bytes
}

/// A job's video of 3 MB, on the port of the mock server that can break connections.
async fn large_file(server: &MockServer) -> (RemoteFile, Vec<u8>) {
    let contents = random_bytes();
    server.file("video.mp4", contents.clone());
    let mut file = files(server).await.remove(0);
    let (_, path) = file.url.as_str().split_once("/files").unwrap();
    file.url = format!("{}/files{path}", server.url()).parse().unwrap();
    (file, contents)
}

#[tokio::test]
async fn an_interrupted_download_resumes_from_the_last_byte() {
    let server = MockServer::start().await;
    let (file, contents) = large_file(&server).await;
    let folder = tempfile::tempdir().unwrap();
    for (fault, resumes) in [
        (Fault::TruncatedBody, true),
        (Fault::ResetInBody, false),
        (Fault::ResetInHeaders, false),
        (Fault::Http(503), false),
    ] {
        let before = server.exchanges().len();
        server.inject_into_files(fault, Times::N(2));
        let saved = downloader().save(&file, folder.path()).overwrite().await.unwrap();
        assert!(fs::read(&saved.path).unwrap() == contents, "{fault:?}: not the same bytes");
        let requests = server.exchanges().split_off(before);
        assert_eq!(requests.len(), 3, "{fault:?}");
        if resumes {
            let ranges: Vec<_> =
                requests.iter().map(|request| request.headers.get("range").cloned()).collect();
            assert_eq!(ranges[0], None);
            assert_eq!(ranges[1].as_ref().unwrap(), "bytes=1500000-");
            assert_eq!(ranges[2].as_ref().unwrap(), "bytes=2250000-");
            assert!(requests[1].headers.contains_key("if-range"));
            assert_eq!(requests[2].status, 206);
        }
    }
}

#[tokio::test]
async fn progress_ends_at_the_total_after_an_interrupted_download() {
    let server = MockServer::start().await;
    let (file, contents) = large_file(&server).await;
    let folder = tempfile::tempdir().unwrap();
    server.inject_into_files(Fault::TruncatedBody, Times::Once);
    let downloader = downloader();
    let progress = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = progress.clone();
    let saved = downloader.save(&file, folder.path()).on_progress(move |now| seen.lock().unwrap().push(now));
    let saved = saved.await.unwrap();
    assert!(fs::read(saved.path).unwrap() == contents);
    let progress = progress.lock().unwrap();
    assert!(progress.iter().all(|now| now.total == Some(3_000_000)), "{:?}", progress.last());
    assert_eq!(progress.last().unwrap().bytes, 3_000_000);
}

#[tokio::test]
async fn a_response_with_another_range_than_requested_is_discarded() {
    let server = wiremock::MockServer::start().await;
    let wrong = ResponseTemplate::new(206)
        .insert_header("content-range", "bytes 0-4/11")
        .insert_header("etag", "\"1\"")
        .set_body_bytes(&VIDEO[..5]);
    Mock::given(header_exists("range")).respond_with(wrong).up_to_n_times(1).mount(&server).await;
    // The first response is shorter than the file, so the rest is requested.
    let short = ResponseTemplate::new(206)
        .insert_header("content-range", "bytes 8-9/11")
        .insert_header("etag", "\"1\"")
        .set_body_bytes(&VIDEO[8..10]);
    Mock::given(header_exists("range")).respond_with(short).mount(&server).await;
    let whole = ResponseTemplate::new(200).set_body_bytes(VIDEO);
    respond(&server, whole).await;
    let folder = tempfile::tempdir().unwrap();
    let file = file_at(&server.uri()).await;
    let part = folder.path().join(format!("{}.part", file.file_name()));
    fs::write(&part, &VIDEO[..8]).unwrap();
    fs::write(part.with_extension("part.json"), r#"{"etag":"\"1\"","total":11}"#).unwrap();
    let saved = downloader().save(&file, folder.path()).await.unwrap();
    assert_eq!(fs::read(saved.path).unwrap(), VIDEO);
    assert_eq!(server.received_requests().await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_download_with_a_wrong_checksum_is_retried() {
    let server = wiremock::MockServer::start().await;
    let response = |sum: &str| {
        ResponseTemplate::new(200)
            .insert_header("repr-digest", format!("sha-256=:{sum}:"))
            .set_body_bytes(VIDEO)
    };
    let (right, wrong) = (VIDEO_SHA256, "AAAA");
    respond_times(&server, 1, response(wrong)).await;
    respond(&server, response(right)).await;
    let folder = tempfile::tempdir().unwrap();
    let file = file_at(&server.uri()).await;
    downloader().save(&file, folder.path()).await.unwrap();
    assert_eq!(server.received_requests().await.unwrap().len(), 2);

    server.reset().await;
    respond(&server, response(wrong)).await;
    let error = downloader().save(&file, folder.path()).overwrite().await.unwrap_err();
    assert!(error.to_string().contains("checksum"), "{error}");
}

#[tokio::test]
async fn a_checksum_covers_a_file_that_arrives_in_two_parts() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let (listener, url) = listen().await;
    let file = file_at(&url).await;
    let digest = &format!("repr-digest: sha-256=:{VIDEO_SHA256}:\r\n");
    // The checksum is sent with the first part only, or with the second part only.
    let first = |digest: &str| {
        format!(
            "HTTP/1.1 200 OK\r\netag: \"1\"\r\nconnection: close\r\ncontent-length: 11\r\n{digest}\r\n\0\0\0\0mdata"
        )
    };
    let second = |digest: &str, body: &str| {
        format!(
            "HTTP/1.1 206 Partial Content\r\netag: \"1\"\r\nconnection: close\r\n\
             content-range: bytes 9-10/11\r\ncontent-length: 2\r\n{digest}\r\n{body}"
        )
    };
    let responses = [
        (first(digest), second("", "bX")),
        (first(""), second(digest, "bX")),
        (first(""), second(digest, "bc")),
    ]
    .map(|(first, second)| [first, second])
    .concat();
    let server = tokio::spawn(async move {
        for response in responses {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                assert_ne!(stream.read_buf(&mut request).await.unwrap(), 0);
            }
            stream.write_all(response.as_bytes()).await.unwrap();
        }
    });
    let folder = tempfile::tempdir().unwrap();
    let saved = downloader().save(&file, folder.path()).await.unwrap();
    assert_eq!(fs::read(saved.path).unwrap(), VIDEO);
    server.await.unwrap();
}

#[tokio::test]
async fn an_expired_link_is_renewed_by_polling_the_job() {
    let server = MockServer::start().await;
    let folder = tempfile::tempdir().unwrap();
    let mut file = files(&server).await.remove(0);
    file.url.set_path("/files/expired/video.mp4");
    let job = client_of(&server).job(ID);
    let saved = downloader().save(&file, folder.path()).renew_link_from(&job).await.unwrap();
    assert_eq!(fs::metadata(saved.path).unwrap().len(), saved.bytes);

    // A fresh link that is refused too ends the download.
    server.inject_into_files(Fault::Http(403), Times::Always);
    let error = downloader().save(&file, folder.path()).overwrite().renew_link_from(&job).await.unwrap_err();
    assert!(matches!(error, DownloadError::Expired { .. }), "{error:?}");
}

#[tokio::test]
async fn a_downloader_downloads_at_most_four_files_at_once() {
    let server = MockServer::start().await;
    let (file, _) = large_file(&server).await;
    let folder = tempfile::tempdir().unwrap();
    server.inject_into_files(Fault::NeverAnswers, Times::Always);
    let downloader = downloader();
    let saves = (0..20).map(|n| downloader.save(&file, folder.path().join(n.to_string())).into_future());
    let all = futures_util::future::join_all(saves);
    let requests =
        || server.exchanges().iter().filter(|exchange| exchange.target.starts_with("/files/")).count();
    let job = client_of(&server).job(ID);
    let meanwhile = async {
        while requests() < 4 {
            job.get().await.unwrap();
        }
        // Give a fifth download the time to start.
        for _ in 0..20 {
            job.get().await.unwrap();
        }
        requests()
    };
    tokio::select! {
        ends = all => panic!("{ends:?}"),
        count = meanwhile => assert_eq!(count, 4),
    }
}

/// A sink in memory.
#[derive(Default)]
struct Memory {
    bytes: Vec<u8>,
    version: Version,
    restarts: u32,
}

impl Sink for Memory {
    fn position(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn version(&self) -> &Version {
        &self.version
    }

    async fn restart(&mut self, version: Version) -> Result<(), DownloadError> {
        *self = Self { version, restarts: self.restarts + 1, ..Self::default() };
        Ok(())
    }

    async fn write(&mut self, chunk: Bytes) -> Result<(), DownloadError> {
        self.bytes.extend_from_slice(&chunk);
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), DownloadError> {
        Ok(())
    }

    async fn sha256(&mut self) -> Result<[u8; 32], DownloadError> {
        unreachable!("the mock server sends no checksum")
    }
}

#[tokio::test]
async fn a_sink_receives_the_checked_file() {
    let server = MockServer::start().await;
    let (file, contents) = large_file(&server).await;
    server.inject_into_files(Fault::TruncatedBody, Times::Once);
    let mut sink = Memory::default();
    let bytes = downloader().fetch(&file).write_to(&mut sink).await.unwrap();
    assert!(sink.bytes == contents && bytes == 3_000_000);
    assert_eq!(sink.restarts, 1, "it was not resumed");

    // An error document does not reach the sink.
    server.file("video.mp4", "{}");
    let error = downloader().fetch(&file).write_to(&mut sink).await.unwrap_err();
    assert!(matches!(error, DownloadError::Failed { .. }), "{error:?}");
    assert!(sink.bytes.is_empty() || sink.bytes == contents);
}
