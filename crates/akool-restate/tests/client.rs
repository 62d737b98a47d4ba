//! The client against a fleet that `tests/fleet/run client` has started: FLEET has its ingress addresses.
#![allow(clippy::panic, clippy::unwrap_used, reason = "helpers of tests are tests")]

use akool::{Client, Credential, JobId, Status};
use akool_restate::{Creation, Fleet, FleetError, WaitEnd, WaitOptions, Work, WorkId};

fn fleet() -> Fleet {
    let addresses = std::env::var("FLEET").unwrap();
    Fleet::new(addresses.split(',').map(|address| address.parse().unwrap())).unwrap()
}

fn works(url: &str, languages: &[&str]) -> Vec<Work> {
    // Its credential is not used: the workers have their own.
    let client = Client::new(Credential::api_key("another-key-0000000000000").unwrap()).unwrap();
    Work::of(&client.translate(url).to(languages.to_vec())).unwrap()
}

fn created(creation: Creation) -> akool_restate::CreatedWork {
    match creation {
        Creation::Created(created) => created,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
#[ignore = "needs a fleet"]
async fn a_client_creates_waits_lists_and_forgets() {
    let fleet = fleet();
    let works = works("https://example.com/client.mp4?token=sesame", &["es", "fr"]);
    let options = || WaitOptions::default().interval(std::time::Duration::from_millis(300));
    let mut jobs = Vec::new();
    for work in &works {
        assert_eq!(fleet.creation(work.id()).await.unwrap(), None);
        let first = created(fleet.create(work, options()).await.unwrap());
        let again = created(fleet.create(work, options()).await.unwrap());
        assert!(!first.is_reused && again.is_reused && first.job == again.job);
        jobs.push(first.job);
    }
    assert_ne!(jobs[0], jobs[1]);
    let view = fleet.job(&jobs[0]).await.unwrap().unwrap();
    assert_eq!((view.language.as_deref(), view.work.as_ref()), (Some("es"), Some(works[0].id())));
    assert!(!view.source.contains("sesame"), "{}", view.source);
    fleet.poll_now(&jobs[0]).await.unwrap();
    for job in &jobs {
        let outcome = fleet.wait(job).await.unwrap();
        assert_eq!((outcome.end, outcome.status), (WaitEnd::Completed, Some(Status::Completed)));
        assert!(outcome.translation().is_some_and(|translation| translation.files().len() == 4));
    }
    // Another one of the same work, which is paid for.
    let other = created(fleet.create_duplicate(&works[0], options()).await.unwrap());
    assert!(!other.is_reused && other.job != jobs[0]);
    let known = fleet.creation(works[0].id()).await.unwrap().unwrap();
    assert_eq!(known.jobs, [jobs[0].clone(), other.job.clone()]);
    let listed: Vec<_> = fleet.jobs().await.unwrap().into_iter().map(|view| view.job).collect();
    assert!(jobs.iter().chain([&other.job]).all(|job| listed.contains(job)), "{listed:?}");
    assert!(fleet.unknown().await.unwrap().is_empty());

    let refused = fleet.adopt(works[0].id(), &JobId::from("x")).await.unwrap_err();
    assert!(matches!(refused, FleetError::Refused { status: 409, .. }), "{refused:?}");
    assert!(fleet.forget_work(works[0].id()).await.unwrap());
    assert!(!fleet.forget_work(works[0].id()).await.unwrap());
    assert!(fleet.forget_job(&jobs[0]).await.unwrap() && !fleet.forget_job(&jobs[0]).await.unwrap());
    assert!(matches!(fleet.wait(&jobs[0]).await, Err(FleetError::NotFound(_))));
}

#[tokio::test]
#[ignore = "needs a fleet"]
async fn a_job_of_another_program_is_watched_and_a_failure_says_why() {
    let fleet = fleet();
    // The sandbox lets sources with this name fail.
    let work = &works("https://example.com/fail.mp4", &["es"])[0];
    let job = created(fleet.create(work, WaitOptions::default()).await.unwrap()).job;
    fleet.forget_job(&job).await.unwrap();
    let options = WaitOptions::default().interval(std::time::Duration::from_millis(300));
    fleet.watch(&job, options.clone()).await.unwrap();
    fleet.watch(&job, options).await.unwrap();
    let outcome = fleet.wait(&job).await.unwrap();
    assert_eq!(outcome.end, WaitEnd::Failed);
    assert!(outcome.message.unwrap().contains("failed:") && outcome.help.unwrap().contains("source video"));
    assert!(outcome.snapshot.unwrap().error_code().is_some());

    fleet.watch(&JobId::from("unknown job"), WaitOptions::default()).await.unwrap();
    let outcome = fleet.wait(&JobId::from("unknown job")).await.unwrap();
    assert_eq!((outcome.end, outcome.error_kind.as_deref()), (WaitEnd::Rejected, Some("unknown_job")));
    let none = fleet.adopt(&WorkId::from_text("default.none"), &job).await.unwrap_err();
    assert!(matches!(none, FleetError::NotFound(_)), "{none:?}");
}
