//! Files arrive whole, or not at all.

use std::{fs, future::IntoFuture, path::Path};

use akool::{
    RemoteFile,
    download::{DownloadError, Downloader},
};
use akool_mock::{MockServer, Timeline};
use akool_tests::{ID, client_of, eager};
use wiremock::{Mock, ResponseTemplate, matchers::any};

fn downloader() -> Downloader {
    Downloader::builder().policy(eager().with_max_failures(3)).build().unwrap()
}

/// The four files of a completed job.
async fn files(server: &MockServer) -> Vec<RemoteFile> {
    server.job(ID, Timeline::new().completed());
    client_of(server).job(ID).wait().await.unwrap().files()
}

/// One file whose link leads to the root of a bare server.
async fn file_at(url: &str) -> RemoteFile {
    let server = MockServer::start().await;
    let mut file = files(&server).await.remove(0);
    file.url = url.parse().unwrap();
    file
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[tokio::test]
async fn all_files_are_saved_under_names_that_tell_them_apart() {
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
    assert!(fs::read(folder.path().join(&wanted[0])).unwrap()[4..8] == *b"ftyp", "an MP4 starts so");
}

#[tokio::test]
async fn what_is_there_is_kept_unless_asked() {
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
async fn an_expired_link_says_so_and_leaves_no_debris() {
    let server = MockServer::start().await;
    let folder = tempfile::tempdir().unwrap();
    let mut file = files(&server).await.remove(0);
    file.url.set_query(Some("Signature=MARKER"));
    let error = downloader().save(&file, folder.path()).await.unwrap_err();
    assert!(matches!(error, DownloadError::Expired { status: 403, .. }), "{error:?}");
    let text = format!("{error} {error:?}");
    assert!(text.contains("7 days") && !text.contains("MARKER"), "{text}");
    assert!(names(folder.path()).is_empty());
}

#[tokio::test]
async fn trouble_is_forgiven_within_the_budget() {
    let server = wiremock::MockServer::start().await;
    Mock::given(any()).respond_with(ResponseTemplate::new(503)).up_to_n_times(2).mount(&server).await;
    Mock::given(any()).respond_with(ResponseTemplate::new(200).set_body_string("whole")).mount(&server).await;
    let folder = tempfile::tempdir().unwrap();
    let file = file_at(&server.uri()).await;
    let saved = downloader().save(&file, folder.path()).await.unwrap();
    assert_eq!(fs::read(saved.path).unwrap(), b"whole");

    server.reset().await;
    Mock::given(any()).respond_with(ResponseTemplate::new(503)).mount(&server).await;
    let error = downloader().save(&file, folder.path()).overwrite().await.unwrap_err();
    assert!(matches!(error, DownloadError::Failed { .. }), "{error:?}");
    assert_eq!(server.received_requests().await.unwrap().len(), 3);
    assert_eq!(names(folder.path()), [file.file_name()], "the old file is kept");
}

#[tokio::test]
async fn a_page_or_nothing_is_no_file() {
    let server = wiremock::MockServer::start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = file_at(&server.uri()).await;
    for answer in [
        ResponseTemplate::new(200).set_body_raw("<html>sign in</html>", "text/html; charset=utf-8"),
        ResponseTemplate::new(200),
    ] {
        server.reset().await;
        Mock::given(any()).respond_with(answer).mount(&server).await;
        let error = downloader().save(&file, folder.path()).await.unwrap_err();
        assert!(matches!(error, DownloadError::Failed { .. }), "{error:?}");
        assert!(names(folder.path()).is_empty());
    }
    // An empty file of that name is fetched anew, not kept.
    server.reset().await;
    Mock::given(any()).respond_with(ResponseTemplate::new(200).set_body_string("whole")).mount(&server).await;
    fs::write(folder.path().join(file.file_name()), "").unwrap();
    let saved = downloader().save(&file, folder.path()).await.unwrap();
    assert!(!saved.kept && fs::read(saved.path).unwrap() == b"whole");
}

#[tokio::test]
async fn links_and_redirects_to_elsewhere_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = file_at("http://cdn.example/a.mp4?Signature=MARKER").await;
    let error = downloader().save(&file, folder.path()).await.unwrap_err();
    assert!(matches!(error, DownloadError::UnsafeLink { .. }), "{error:?}");
    assert!(!error.to_string().contains("MARKER"));

    let server = wiremock::MockServer::start().await;
    let away = ResponseTemplate::new(302).insert_header("location", "http://10.0.0.1/");
    Mock::given(any()).respond_with(away).mount(&server).await;
    let error = downloader().save(&file_at(&server.uri()).await, folder.path()).await.unwrap_err();
    assert!(matches!(error, DownloadError::UnsafeLink { .. }), "{error:?}");
    assert!(names(folder.path()).is_empty());

    // Round in circles, a few times only.
    server.reset().await;
    let round = ResponseTemplate::new(302).insert_header("location", "/again");
    Mock::given(any()).respond_with(round).mount(&server).await;
    let error = downloader().save(&file_at(&server.uri()).await, folder.path()).await.unwrap_err();
    assert!(matches!(error, DownloadError::UnsafeLink { .. }), "{error:?}");
    assert_eq!(server.received_requests().await.unwrap().len(), 6);
}

#[tokio::test]
async fn a_folder_that_is_none_is_a_clear_error() {
    let server = MockServer::start().await;
    let folder = tempfile::tempdir().unwrap();
    let taken = folder.path().join("taken");
    fs::write(&taken, "").unwrap();
    let error = downloader().save(&files(&server).await[0], &taken).await.unwrap_err();
    assert!(matches!(error, DownloadError::Io { .. }), "{error:?}");
    assert!(error.to_string().contains("taken"), "{error}");
}

#[cfg(unix)]
#[tokio::test]
async fn symbolic_links_are_not_followed_out_of_the_folder() {
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
async fn two_downloads_of_one_file_do_not_mix() {
    let server = MockServer::start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = files(&server).await.remove(0);
    let downloader = downloader();
    let (one, two) = futures_util::join!(
        downloader.save(&file, folder.path()).into_future(),
        downloader.save(&file, folder.path()).into_future()
    );
    assert!(one.is_ok() || two.is_ok());
    for end in [one, two] {
        assert!(matches!(end, Ok(_) | Err(DownloadError::InUse { .. })), "{end:?}");
    }
    assert_eq!(names(folder.path()), [file.file_name()]);
}

/// Something that compresses badly and differs from place to place.
fn large() -> Vec<u8> {
    let mut state = 1_u32;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    std::iter::repeat_with(next).take(3_000_000).collect()
}

/// A job's video, behind the front that can break off.
async fn large_file(server: &MockServer) -> (RemoteFile, Vec<u8>) {
    let contents = large();
    server.file("video.mp4", contents.clone());
    let mut file = files(server).await.remove(0);
    let (_, path) = file.url.as_str().split_once("/files").unwrap();
    file.url = format!("{}/files{path}", server.tcp_url()).parse().unwrap();
    (file, contents)
}

#[tokio::test]
async fn what_breaks_off_is_resumed_where_it_stopped() {
    use akool_mock::{Fault, Times};

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
        server.inject_into_files(fault, Times::Times(2));
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
async fn a_server_that_knows_no_ranges_starts_anew() {
    use akool_mock::{Fault, Times};

    let server = MockServer::start().await;
    let (file, contents) = large_file(&server).await;
    let folder = tempfile::tempdir().unwrap();
    // Another version of the file on the way: what has arrived is thrown away.
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
async fn a_range_that_was_not_asked_for_is_not_mixed_in() {
    use wiremock::matchers::header_exists;

    let server = wiremock::MockServer::start().await;
    let wrong =
        ResponseTemplate::new(206).insert_header("content-range", "bytes 0-4/10").set_body_string("XXXXX");
    Mock::given(header_exists("range")).respond_with(wrong).mount(&server).await;
    // Too short by its own account, and resumable.
    let short =
        ResponseTemplate::new(206).insert_header("content-range", "bytes 7-9/10").set_body_string("abc");
    Mock::given(any()).respond_with(short).up_to_n_times(1).mount(&server).await;
    let whole = ResponseTemplate::new(200).set_body_string("0123456789");
    Mock::given(any()).respond_with(whole).mount(&server).await;
    let folder = tempfile::tempdir().unwrap();
    let file = file_at(&server.uri()).await;
    let saved = downloader().save(&file, folder.path()).await.unwrap();
    assert_eq!(fs::read(saved.path).unwrap(), b"0123456789");
}

#[tokio::test]
async fn a_checksum_that_does_not_match_is_not_believed() {
    let server = wiremock::MockServer::start().await;
    let answer = |sum: &str| {
        ResponseTemplate::new(200)
            .insert_header("repr-digest", format!("sha-256=:{sum}:"))
            .set_body_string("abc")
    };
    let (right, wrong) = ("ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=", "AAAA");
    Mock::given(any()).respond_with(answer(wrong)).up_to_n_times(1).mount(&server).await;
    Mock::given(any()).respond_with(answer(right)).mount(&server).await;
    let folder = tempfile::tempdir().unwrap();
    let file = file_at(&server.uri()).await;
    downloader().save(&file, folder.path()).await.unwrap();
    assert_eq!(server.received_requests().await.unwrap().len(), 2);

    server.reset().await;
    Mock::given(any()).respond_with(answer(wrong)).mount(&server).await;
    let error = downloader().save(&file, folder.path()).overwrite().await.unwrap_err();
    assert!(error.to_string().contains("checksum"), "{error}");
}

#[tokio::test]
async fn a_checksum_holds_for_a_file_that_comes_in_parts() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let file = file_at(&format!("http://{}/", listener.local_addr().unwrap())).await;
    let digest = "repr-digest: sha-256=:ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=:\r\n";
    // SHA-256 of "abc", said with the beginning alone, or with the rest alone.
    let beginning = |digest: &str| {
        format!("HTTP/1.1 200 OK\r\netag: \"1\"\r\nconnection: close\r\ncontent-length: 3\r\n{digest}\r\na")
    };
    let rest = |digest: &str, body: &str| {
        format!(
            "HTTP/1.1 206 Partial Content\r\netag: \"1\"\r\nconnection: close\r\n\
             content-range: bytes 1-2/3\r\ncontent-length: 2\r\n{digest}\r\n{body}"
        )
    };
    let answers = [
        (beginning(digest), rest("", "bX")),
        (beginning(""), rest(digest, "bX")),
        (beginning(""), rest(digest, "bc")),
    ]
    .map(|(beginning, rest)| [beginning, rest])
    .concat();
    let server = tokio::spawn(async move {
        for answer in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                assert_ne!(stream.read_buf(&mut request).await.unwrap(), 0);
            }
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    let folder = tempfile::tempdir().unwrap();
    let saved = downloader().save(&file, folder.path()).await.unwrap();
    assert_eq!(fs::read(saved.path).unwrap(), b"abc");
    server.await.unwrap();
}

#[tokio::test]
async fn an_expired_link_is_renewed_where_another_poll_gives_one() {
    let server = MockServer::start().await;
    let folder = tempfile::tempdir().unwrap();
    let mut file = files(&server).await.remove(0);
    file.url.set_query(Some("Signature=expired"));
    let job = client_of(&server).job(ID);
    let saved = downloader().save(&file, folder.path()).renew_link_from(&job).await.unwrap();
    assert_eq!(fs::metadata(saved.path).unwrap().len(), saved.bytes);

    // A fresh link that is refused as well is the end.
    server.inject_into_files(akool_mock::Fault::Http(403), akool_mock::Times::Always);
    let error = downloader().save(&file, folder.path()).overwrite().renew_link_from(&job).await.unwrap_err();
    assert!(matches!(error, DownloadError::Expired { .. }), "{error:?}");
}

#[tokio::test]
async fn a_download_that_is_dropped_leaves_nothing() {
    use akool_mock::{Fault, Times};

    let server = MockServer::start().await;
    let (file, _) = large_file(&server).await;
    let folder = tempfile::tempdir().unwrap();
    server.inject_into_files(Fault::Trickle, Times::Always);
    let (sender, mut arrived) = tokio::sync::mpsc::unbounded_channel();
    let save = downloader().save(&file, folder.path()).on_progress(move |now| {
        let _ = sender.send(now);
    });
    let mut save = save.into_future();
    tokio::select! {
        end = &mut save => panic!("{end:?}"),
        first = arrived.recv() => assert!(first.unwrap().bytes > 0),
    }
    assert_eq!(names(folder.path()), [format!("{}.part", file.file_name())]);
    drop(save);
    assert!(names(folder.path()).is_empty());
}

#[tokio::test]
async fn no_more_than_four_files_are_fetched_at_once() {
    use akool_mock::{Fault, Times};

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
        // Twenty polls later, there are no more.
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
