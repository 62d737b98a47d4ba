//! The example of docs/library.md: from a URL to files. If you run it again, it continues where it stopped.

use akool::Client;
use akool_download::Downloader;
use akool_ledger::Ledger;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // AKOOL_API_KEY or AKOOL_TOKEN; or Client::new(Credential::api_key(..)?)
    let (client, downloader) = (Client::from_env()?, Downloader::new()?);
    let ledger = Ledger::open("state/ledger.db")?;

    let request = client.translate("https://example.com/talk.mp4").to(["es", "fr"]).lipsync(true);
    for job in ledger.translate(request).await? {
        for file in client.job(&job.id).wait().await?.files() {
            println!("{job}: {}", downloader.save(&file, "out").await?.path.display());
        }
    }
    Ok(())
}
