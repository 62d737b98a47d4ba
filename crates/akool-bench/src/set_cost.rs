//! The cost of a wait set's own operations: to insert and to remove a wait, and to poll the next job. Every poll fails
//! before it connects, and the cost of such a poll without a set is subtracted.

use akool::{Client, Update, WaitSet};
use akool_client::Credential;
use anyhow::{Result, bail};
use reqwest::dns::{Name, Resolve, Resolving};

use crate::{by_hand::KEY, callgrind::instructions_each};

/// The operations, as arguments of the probe.
pub(crate) const OPERATIONS: [&str; 3] = ["insert", "remove", "next poll"];
/// A poll without a set.
const BARE_POLL: &str = "bare poll";
/// How many of them are counted in a set that is larger.
const COUNTED: usize = 10_000;

/// Knows no host.
struct NoHosts;

impl Resolve for NoHosts {
    fn resolve(&self, _: Name) -> Resolving {
        Box::pin(async { Err("no host".into()) })
    }
}

/// Inserts so many waits into a set, and then does so many operations.
pub(crate) fn probe(operation: &str, waits: usize, operations: usize) -> Result<()> {
    let http = reqwest::Client::builder().no_proxy().dns_resolver(NoHosts);
    let client = Client::builder().credential(Credential::api_key(KEY)?).http(http).build()?;
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
                    let Some((_, Update::Retrying { .. })) = set.next().await else {
                        bail!("a poll did not fail as it should")
                    };
                }
            }
            BARE_POLL => {
                for job in 0..operations {
                    anyhow::ensure!(
                        client.job(id(job)).get().await.is_err(),
                        "a poll did not fail as it should"
                    );
                }
            }
            other => bail!("unknown operation {other}"),
        }
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

/// The instructions of one operation on a set of so many waits. Those of an insertion are the mean over all waits,
/// because the set grows now and then.
pub(crate) fn instructions_of(operation: &str, waits: usize) -> Result<f64> {
    let count = |operation: &str, before: usize, operations: usize| {
        instructions_each(&["probe-set", operation, &before.to_string()], 0, operations)
    };
    let operations = waits.min(COUNTED);
    match operation {
        "insert" => count(operation, 0, waits),
        "next poll" => Ok(count(operation, waits, operations)? - count(BARE_POLL, 0, COUNTED)?),
        other => count(other, waits, operations),
    }
}
