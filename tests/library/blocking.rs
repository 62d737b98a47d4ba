//! The blocking client: the same results without a runtime, and a clear error where one is active.

use akool::{CreateError, ErrorKind, PollPolicy, Update, WaitError, blocking::Client};
use akool_mock::{MockServer, Polls, Timeline};
use akool_tests::{ID, client_of, eager};

/// Starts a server, which has a thread of its own, and a blocking client for it.
fn start() -> (MockServer, Client) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let server = runtime.block_on(MockServer::start());
    let client = Client::new(client_of(&server)).unwrap();
    (server, client)
}

#[test]
fn jobs_are_created_polled_and_waited_for_without_a_runtime() {
    let (server, client) = start();
    server.on_create(Timeline::new().queueing(Polls(1)).processing(Polls(1)).completed());
    assert!(client.credits().unwrap() > 0.0);
    assert!(client.languages().unwrap().len() > 10);
    let translate = client.translate("https://example.com/talk.mp4").to(["es", "fr"]).lipsync(true);
    assert!(translate.request().is_ok());
    let created = translate.send().unwrap();
    assert_eq!(created.jobs.len(), 2);

    let first = client.job(&created.jobs[0].id);
    assert!(!first.get().unwrap().status().is_terminal());
    let updates: Vec<_> = first.wait().policy(eager()).updates().collect();
    assert!(matches!(updates.last(), Some(Update::Finished(Ok(_)))) && updates.len() == 2, "{updates:?}");

    let mut set = client.wait_set().policy(eager()).max_concurrent_polls(1);
    set.extend(created.jobs.iter().map(|job| &job.id));
    assert_eq!(set.len(), 2);
    let ended = set.by_ref().filter(|(_, update)| matches!(update, Update::Finished(Ok(_)))).count();
    assert_eq!((ended, set.len()), (2, 0));
}

#[test]
fn the_client_is_shared_by_threads_and_outlives_the_one_that_made_it() {
    let (server, client) = start();
    server.job(ID, Timeline::new().processing(Polls(8)).completed());
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let client = client.clone();
            std::thread::spawn(move || client.job(ID).wait().policy(eager()).finish().map(drop))
        })
        .collect();
    drop(client);
    for thread in threads {
        thread.join().unwrap().unwrap();
    }
}

#[tokio::test]
async fn where_a_runtime_is_active_calls_fail_and_send_nothing() {
    let server = MockServer::start().await;
    server.job(ID, Timeline::new().completed());
    let client = Client::new(client_of(&server)).unwrap();
    let error = client.job(ID).get().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AsyncContext);
    assert_eq!(
        format!("{error}; {}", error.help()),
        "the blocking client was called where a tokio runtime is active; nothing was sent; await akool::Client instead, \
         or use the blocking client on a thread of its own"
    );

    let error = client.translate("https://example.com/talk.mp4").to("es").send().unwrap_err();
    assert!(matches!(error, CreateError::NotCreated(_)), "{error:?}");
    let error = client.job(ID).wait().policy(PollPolicy::default()).finish().unwrap_err();
    assert!(matches!(error, WaitError::Rejected { .. }), "{error:?}");
    let updates: Vec<_> = client.job(ID).wait().updates().collect();
    assert!(matches!(updates[..], [Update::Finished(Err(WaitError::Rejected { .. }))]), "{updates:?}");
    let mut set = client.wait_set();
    set.insert(ID);
    assert_eq!(set.count(), 1);
    assert!(server.exchanges().is_empty());

    // A thread of its own may wait, and the client may be dropped anywhere.
    let job = client.job(ID);
    std::thread::spawn(move || job.get().map(drop)).join().unwrap().unwrap();
    drop(client);
}
