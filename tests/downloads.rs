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
    let http = reqwest::Client::builder().no_proxy();
    Downloader::with_http(http).unwrap().policy(eager().with_failure_budget(3))
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
