//! The clients that the rows compare: a poll as a user would write it with reqwest and `serde_json`, the generated
//! client, and the library.

use akool_client::{Credential, Transport};
use anyhow::{Result, bail};
use serde::Deserialize;

pub(crate) const KEY: &str = "0123456789abcdef0123456789abcdef";

/// The documented fields of an answer.
#[derive(Debug, Deserialize)]
pub(crate) struct Envelope {
    code: i64,
    msg: String,
    data: Option<Data>,
}

#[derive(Debug, Deserialize)]
#[expect(dead_code, reason = "a user's own type has the documented fields")]
pub(crate) struct Data {
    #[serde(rename = "_id")]
    pub(crate) id: Option<String>,
    pub(crate) video_status: i64,
    pub(crate) video: Option<String>,
    pub(crate) audio_splits: Option<AudioSplits>,
    pub(crate) video_id: Option<String>,
    pub(crate) create_time: Option<i64>,
    pub(crate) uid: Option<i64>,
    #[serde(rename = "type")]
    pub(crate) kind: Option<i64>,
    pub(crate) from: Option<i64>,
    pub(crate) video_lock_duration: Option<f64>,
    pub(crate) deduction_lock_duration: Option<i64>,
    pub(crate) external_video: Option<String>,
    pub(crate) faceswap_quality: Option<i64>,
    pub(crate) storage_loc: Option<i64>,
}

#[derive(Debug, Deserialize)]
#[expect(dead_code, reason = "a user's own type has the documented fields")]
pub(crate) struct AudioSplits {
    pub(crate) original_srt_url: Option<String>,
    pub(crate) translated_srt_url: Option<String>,
    pub(crate) no_caption_video_url: Option<String>,
}

pub(crate) fn http() -> Result<reqwest::Client> {
    Ok(reqwest::Client::builder().no_proxy().timeout(std::time::Duration::from_secs(30)).build()?)
}

/// One poll, written by hand.
pub(crate) async fn poll(http: &reqwest::Client, base_url: &str, id: &str) -> Result<Data> {
    let envelope: Envelope = http
        .get(format!("{base_url}/api/open/v3/content/video/infobymodelid"))
        .query(&[("video_model_id", id)])
        .header("x-api-key", KEY)
        .send()
        .await?
        .error_for_status()?
        .json()
        .await?;
    match envelope.data {
        Some(data) if envelope.code == 1000 => Ok(data),
        _ => bail!("code {}: {}", envelope.code, envelope.msg),
    }
}

/// The generated client with its hand-written transport.
pub(crate) fn generated(base_url: &str) -> Result<akool_client::Client> {
    let transport = Transport::new(Some(Credential::api_key(KEY)?));
    Ok(akool_client::Client::new_with_client(base_url, http()?, transport))
}

/// The library.
pub(crate) fn library(base_url: &str) -> Result<akool::Client> {
    let client = akool::Client::builder().credential(Credential::api_key(KEY)?).base_url(base_url);
    Ok(client.build()?)
}
