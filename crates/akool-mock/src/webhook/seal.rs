//! Signs and encrypts webhook messages as documented. This code is independent of the code in the client that opens
//! them, so that each tests the other.

use base64::{Engine, engine::general_purpose::STANDARD};
use cbc::{
    Encryptor,
    cipher::{BlockModeEncrypt, KeyIvInit, block_padding::Pkcs7},
};
use serde_json::{Value, json};
use sha1::{Digest, Sha1};

/// Encrypts and signs an event, and returns the body of a webhook call. `timestamp_ms` is in milliseconds since 1970,
/// `nonce` is a string or a number.
///
/// Returns `None` if the secret is not a valid AES key of 16, 24 or 32 bytes.
///
/// ```
/// let event = r#"{"_id":"64dd","status":3,"type":"video translate","url":""}"#;
/// let body = akool_mock::seal("client", "sandbox-secret-24-bytes!", 1_710_757_900_382, &1529.into(), event);
/// assert!(body.unwrap().contains("\"nonce\":1529"));
/// ```
pub fn seal(
    client_id: &str,
    client_secret: &str,
    timestamp_ms: u64,
    nonce: &Value,
    event: &str,
) -> Option<String> {
    message(client_id, client_id, client_secret, timestamp_ms, nonce, event)
}

/// The same, but `signer` can be another client id than the one that determines the initialization vector.
pub(super) fn message(
    signer: &str,
    client_id: &str,
    client_secret: &str,
    timestamp_ms: u64,
    nonce: &Value,
    event: &str,
) -> Option<String> {
    let mut iv: Vec<u8> = client_id.bytes().take(16).collect();
    iv.resize(16, 0);
    let (key, event) = (client_secret.as_bytes(), event.as_bytes());
    let encrypted = match key.len() {
        16 => encrypt::<Encryptor<aes::Aes128>>(key, &iv, event),
        24 => encrypt::<Encryptor<aes::Aes192>>(key, &iv, event),
        32 => encrypt::<Encryptor<aes::Aes256>>(key, &iv, event),
        _ => None,
    }?;
    let data = STANDARD.encode(encrypted);

    let timestamp = timestamp_ms.to_string();
    let nonce_text = nonce.as_str().map_or_else(|| nonce.to_string(), str::to_owned);
    let mut parts = [signer, &timestamp, &nonce_text, &data];
    parts.sort();
    let digest = Sha1::digest(parts.concat());
    let signature = digest.iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));

    let body = json!({
        "signature": signature,
        "dataEncrypt": data,
        "timestamp": timestamp_ms,
        "nonce": nonce,
    });
    Some(body.to_string())
}

fn encrypt<E: KeyIvInit + BlockModeEncrypt>(key: &[u8], iv: &[u8], text: &[u8]) -> Option<Vec<u8>> {
    let encryptor = E::new_from_slices(key, iv).ok()?;
    Some(encryptor.encrypt_padded_vec::<Pkcs7>(text))
}
