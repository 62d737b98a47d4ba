//! With `fetch_sources`, the mock server downloads the sources of jobs, from this machine only.

use akool::WaitError;
use akool_mock::{MockServer, Timeline};
use akool_tests::{ID, client_of, eager};

/// Creates two jobs, waits for them, and returns why each of them failed.
async fn failures(server: &MockServer, source: &str, captions: Option<&str>) -> Vec<Option<String>> {
    let client = client_of(server);
    let mut request = client.translate(source).to(["es", "fr"]);
    if let Some(url) = captions {
        request = request.caption_file(url);
    }
    let mut failures = Vec::new();
    for job in request.send().await.unwrap().jobs {
        failures.push(match client.job(&job.id).wait().policy(eager()).await {
            Ok(_) => None,
            Err(WaitError::JobFailed(failed)) => failed.snapshot.error_reason().map(str::to_owned),
            Err(other) => panic!("{other}"),
        });
    }
    failures
}

#[tokio::test]
async fn a_job_continues_once_its_source_was_fetched_and_fails_if_it_cannot_be() {
    // The sources are the results of another server.
    let files = MockServer::builder().lenient().start().await;
    files.job(ID, Timeline::new().completed());
    let video = client_of(&files).job(ID).get().await.unwrap().video().unwrap().to_string();
    let named = |name: &str| video.replace("video.mp4", name);

    let server = MockServer::builder().fetch_sources().start().await;
    assert_eq!(failures(&server, &video, None).await, [None, None]);
    files.assert_downloads(ID).count(1);
    assert_eq!(failures(&server, &video, Some(&named("translated.srt"))).await, [None, None]);
    for (source, captions, why) in [
        (named("none.mp4"), None, "HTTP status 404"),
        (video.clone(), Some(named("none.srt")), "HTTP status 404"),
        ("https://example.com/talk.mp4".to_owned(), None, "only from http on this machine"),
    ] {
        for failure in failures(&server, &source, captions.as_deref()).await {
            assert!(failure.unwrap().contains(why), "{source}");
        }
    }

    let other = MockServer::start().await;
    assert_eq!(
        failures(&other, "https://example.com/talk.mp4", None).await,
        [None, None],
        "nothing is fetched"
    );
}
