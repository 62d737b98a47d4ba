//! Prints a link to the object of a file, which need not be uploaded: `link s3://bucket/prefix talk.mp4`.

use akool_stage::{DEFAULT_LIFETIME, LocalFile, Location, Stage};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(location), Some(file)) = (args.next(), args.next()) else {
        return Err("usage: link LOCATION FILE".into());
    };
    let stage = Stage::open(&location.parse::<Location>()?)?;
    let link = stage.link(&LocalFile::read(file)?, DEFAULT_LIFETIME).await?;
    println!("{}", link.url);
    Ok(())
}
