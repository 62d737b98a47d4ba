//! The example of the README: from a URL to files. If you run it again, it continues where it stopped.

use akool::{Client, ledger::LedgerFile};
use akool_download::Downloader;
use std::sync::Arc;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // AKOOL_API_KEY or AKOOL_TOKEN; or Client::new(Credential::api_key(..)?)
    let (client, downloader) = (Client::from_env()?, Downloader::new()?);
    let ledger = Arc::new(LedgerFile::at("state/ledger.jsonl"));

    let request = client.translate("https://example.com/talk.mp4").to(["es", "fr"]).lipsync(true);
    for id in request.ledger(ledger).ensure().await.into_jobs()? {
        for file in client.job(id).wait().await?.files() {
            println!("{}", downloader.save(&file, "out").await?.path.display());
        }
    }
    Ok(())
}
