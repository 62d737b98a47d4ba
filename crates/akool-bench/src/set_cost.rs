//! The cost of a wait set's own operations: to insert and to remove a wait, and to poll the next job. There is no
//! credential, so that each poll ends its wait before a request is made.

use std::thread;

use akool::{Client, CredentialSource, Renewal, Update, WaitSet};
use anyhow::{Result, bail};

use crate::callgrind::instructions;

/// The operations, as arguments of the probe.
pub(crate) const OPERATIONS: [&str; 3] = ["insert", "remove", "next poll"];
/// How many of them are counted in a set that is larger.
const COUNTED: usize = 10_000;

struct NoCredential;

impl CredentialSource for NoCredential {
    fn renew(&self) -> Renewal<'_> {
        Box::pin(async { Err("no credential".into()) })
    }
}

/// Inserts so many waits into a set, and then does so many operations.
pub(crate) fn probe(operation: &str, waits: usize, operations: usize) -> Result<()> {
    let client = Client::builder().credential_source(NoCredential).base_url("http://127.0.0.1:9").build()?;
    let mut set = client.wait_set();
    insert(&mut set, 0..waits);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        match operation {
            "insert" => insert(&mut set, waits..waits + operations),
            "remove" => {
                for job in 0..operations {
                    set.remove(&id(job).into());
                }
            }
            "next poll" => {
                for _ in 0..operations {
                    let Some((_, Update::Finished(Err(_)))) = set.next().await else {
                        bail!("a wait did not end as it should")
                    };
                }
            }
            other => bail!("unknown operation {other}"),
        }
        // Freeing the waits that are left must not count.
        std::mem::forget(set);
        Ok(())
    })
}

fn insert(set: &mut WaitSet, jobs: std::ops::Range<usize>) {
    for job in jobs {
        set.insert(id(job));
    }
}

/// An id as the service makes them.
fn id(job: usize) -> String {
    format!("64dd92c1f0b66846{job:08x}")
}

/// The instructions of each operation, in their order, on a set of so many waits. Those of an insertion are the mean over
/// all waits, because the set grows now and then.
pub(crate) fn instructions_each(waits: usize) -> Result<[f64; 3]> {
    let counted = waits.min(COUNTED);
    let count = |operation: &str, before: usize, operations: usize| {
        instructions(&["probe-set", operation, &before.to_string(), &operations.to_string()])
    };
    // Counts do not depend on what else runs.
    let [empty, full, removed, polled] = thread::scope(|scope| {
        let [insert, remove, poll] = OPERATIONS;
        [(insert, 0, 0), (insert, waits, 0), (remove, waits, counted), (poll, waits, counted)]
            .map(|(operation, before, operations)| scope.spawn(move || count(operation, before, operations)))
            .map(|run| run.join().unwrap_or_else(|_| bail!("a run panicked")))
    });
    let (empty, full) = (empty?, full?);
    Ok([(full - empty) / waits as f64, (removed? - full) / counted as f64, (polled? - full) / counted as f64])
}
