//! The example of the README: from a URL to files. If you run it again, it continues where it stopped.

use akool::Client;
use akool_download::Downloader;
use akool_ledger::{LedgerFile, ensure};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // AKOOL_API_KEY or AKOOL_TOKEN; or Client::new(Credential::api_key(..)?)
    let (client, downloader) = (Client::from_env()?, Downloader::new()?);
    let ledger = LedgerFile::at("state/ledger.jsonl");

    let request = client.translate("https://example.com/talk.mp4").to(["es", "fr"]).lipsync(true);
    for id in ensure(&ledger, request).await.into_jobs()? {
        for file in client.job(id).wait().await?.files() {
            println!("{}", downloader.save(&file, "out").await?.path.display());
        }
    }
    Ok(())
}
