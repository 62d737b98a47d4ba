//! Another scheduler drives the poller: a folder is the queue here, with one file for each job.
//!
//! Each turn takes the job that is due first, polls it once, and stores when it is due again. All that a wait knows is in
//! its file: it does not matter which process takes the next turn, or whether the last one was killed. A table with a
//! column `due_ms`, a delayed message, or a timer of a workflow engine take the place of the folder.
//!
//! ```sh
//! AKOOL_API_KEY=... cargo run -p akool --features serde --example own_engine -- FOLDER [ID...]
//! ```

use std::{env, error::Error, fs, path::Path, thread, time::Duration, time::SystemTime};

use akool::{Client, Decision, End, JobId, Observation, PollPolicy, PollState, Poller};
use serde::{Deserialize, Serialize};

/// What is stored of a wait. Times are milliseconds since the Unix epoch; the poller's count from the beginning of the wait.
#[derive(Serialize, Deserialize)]
struct Entry {
    job: String,
    began_ms: u64,
    due_ms: u64,
    /// It ends when it is due, without another poll.
    ends_next: bool,
    state: PollState,
}

/// Takes the job that is due first: polls it once, and stores what follows. Returns `false` if there is none.
async fn turn(client: &Client, poller: &Poller, folder: &Path) -> Result<bool, Box<dyn Error>> {
    let Some(mut entry) = stored(folder)?.into_iter().min_by_key(|entry| entry.due_ms) else {
        return Ok(false);
    };
    // Your engine does this.
    thread::sleep(Duration::from_millis(entry.due_ms.saturating_sub(now_ms())));
    let decision = if entry.ends_next {
        Decision::Finished(End::Timeout)
    } else {
        let since_began = || Duration::from_millis(now_ms().saturating_sub(entry.began_ms));
        let polled = since_began();
        let result = client.job(JobId::from(entry.job.as_str())).get().await;
        poller.observe(&mut entry.state, polled, since_began(), Observation::of(&result))
    };
    match decision {
        Decision::PollAt(at) | Decision::TimeoutAt(at) => {
            entry.due_ms = entry.began_ms + u64::try_from(at.as_millis())?;
            entry.ends_next = matches!(decision, Decision::TimeoutAt(_));
            store(folder, &entry)?;
        }
        Decision::Finished(end) => {
            // Tell someone before this: a process that is killed between the two tells it again.
            println!("{}: {end:?} after {} polls", entry.job, entry.state.attempts());
            fs::remove_file(folder.join(&entry.job))?;
        }
    }
    Ok(true)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut args = env::args().skip(1);
    let folder = args.next().ok_or("usage: own_engine FOLDER [ID...]")?;
    let folder = Path::new(&folder);
    fs::create_dir_all(folder)?;
    for job in args {
        let (now, seed) = (now_ms(), seed_of(&job));
        let state = PollState::new(seed);
        store(folder, &Entry { job, began_ms: now, due_ms: now, ends_next: false, state })?;
    }
    let client = Client::from_env()?;
    let poller = Poller::new(PollPolicy::default(), Some(akool::DEFAULT_TIMEOUT));
    while turn(&client, &poller, folder).await? {}
    Ok(())
}

fn stored(folder: &Path) -> Result<Vec<Entry>, Box<dyn Error>> {
    let files = fs::read_dir(folder)?.map(|file| file.map(|file| file.path()));
    let files = files.filter(|file| !file.as_ref().is_ok_and(|path| path.extension().is_some()));
    files.map(|file| Ok(serde_json::from_slice(&fs::read(file?)?)?)).collect()
}

/// Replaces the file in one step, so that it is never half written.
fn store(folder: &Path, entry: &Entry) -> Result<(), Box<dyn Error>> {
    let new = folder.join(format!("{}.new", entry.job));
    fs::write(&new, serde_json::to_vec(entry)?)?;
    Ok(fs::rename(new, folder.join(&entry.job))?)
}

fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

/// The seed of the jitter: another one for each job, so that not all are polled at once.
fn seed_of(job: &str) -> u64 {
    use std::hash::BuildHasher;
    std::hash::RandomState::new().hash_one(job)
}
