//! The outer layer of a message: four fields, of which one is a signature and one is encrypted.

use std::{
    borrow::Cow,
    time::{Duration, SystemTime},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use cbc::cipher::{BlockModeDecrypt, KeyIvInit, array::Array};
use serde::Deserialize;
use serde_json::value::RawValue;
use sha1::{Digest, Sha1};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq, ConstantTimeGreater};

use crate::{error::Rejection, event::WebhookEvent};

/// The length of an AES block, and so of the initialization vector, in bytes.
const BLOCK: usize = 16;

/// The fields of a message.
///
/// The signature covers texts, so numbers are kept exactly as they were written: `1.0`, `1e3` and
/// numbers with too many digits for any type would become another text if they were parsed.
pub(crate) struct Message<'a> {
    signature: Cow<'a, str>,
    data_encrypt: Cow<'a, str>,
    timestamp: Cow<'a, str>,
    nonce: Cow<'a, str>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Fields<'a> {
    #[serde(borrow)]
    signature: Cow<'a, str>,
    #[serde(borrow)]
    data_encrypt: Cow<'a, str>,
    #[serde(borrow)]
    timestamp: &'a RawValue,
    #[serde(borrow)]
    nonce: &'a RawValue,
}

impl<'a> Message<'a> {
    pub(crate) fn parse(body: &'a [u8]) -> Result<Self, Rejection> {
        let text = std::str::from_utf8(body).map_err(Rejection::malformed)?;
        let fields: Fields<'a> = serde_json::from_str(text).map_err(Rejection::malformed)?;
        let text = |name, raw| {
            text_of(raw).ok_or_else(|| {
                Rejection::malformed(format_args!("`{name}` is neither a string nor a number"))
            })
        };
        Ok(Self {
            signature: fields.signature,
            data_encrypt: fields.data_encrypt,
            timestamp: text("timestamp", fields.timestamp)?,
            nonce: text("nonce", fields.nonce)?,
        })
    }

    /// Returns the signature if it matches the client id and the values.
    pub(crate) fn verified(&self, client_id: &str) -> Option<String> {
        let expected = signature(client_id, &self.timestamp, &self.nonce, &self.data_encrypt);
        bool::from(expected.as_bytes().ct_eq(self.signature.as_bytes())).then_some(expected)
    }

    /// Reads `timestamp`, which is in milliseconds since 1970.
    pub(crate) fn sent_at(&self) -> Option<SystemTime> {
        let number = self.timestamp.parse::<f64>().ok().filter(|number| number.is_finite());
        let millis = self.timestamp.parse::<i64>().ok().or(number.map(|number| number as i64))?;
        let distance = Duration::from_millis(millis.unsigned_abs());
        if millis < 0 {
            SystemTime::UNIX_EPOCH.checked_sub(distance)
        } else {
            SystemTime::UNIX_EPOCH.checked_add(distance)
        }
    }

    /// Decrypts the content. Call this only after the signature was verified.
    pub(crate) fn decrypted(
        &self,
        client_id: &str,
        secret: &str,
        sent_at: SystemTime,
    ) -> Result<WebhookEvent, Rejection> {
        let mut data = STANDARD
            .decode(self.data_encrypt.as_bytes())
            .map_err(|_| Rejection::malformed("`dataEncrypt` is not valid base64"))?;
        let mut iv = [0; BLOCK];
        for (byte, id_byte) in iv.iter_mut().zip(client_id.bytes()) {
            *byte = id_byte;
        }
        let key = secret.as_bytes();
        let decrypted = match key.len() {
            16 => decrypt::<cbc::Decryptor<aes::Aes128>>(key, &iv, &mut data),
            24 => decrypt::<cbc::Decryptor<aes::Aes192>>(key, &iv, &mut data),
            _ => decrypt::<cbc::Decryptor<aes::Aes256>>(key, &iv, &mut data),
        };
        if !decrypted {
            return Err(Rejection::Undecryptable);
        }
        // Parse the content even if the padding is wrong, so that the time taken does not distinguish a
        // wrong padding from wrong content.
        let (length, padded) = unpadded(&data);
        let event = WebhookEvent::parse(&data[..length], sent_at);
        if !padded {
            return Err(Rejection::Undecryptable);
        }
        event.ok_or(Rejection::NotAnEvent)
    }
}

/// Returns the SHA-1 hash of the four texts, sorted and joined, in lower-case hexadecimal.
pub(crate) fn signature(client_id: &str, timestamp: &str, nonce: &str, data_encrypt: &str) -> String {
    let mut texts = [client_id, timestamp, nonce, data_encrypt];
    texts.sort_unstable();
    let mut hash = Sha1::new();
    for text in texts {
        hash.update(text);
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Returns a string without its quotation marks, or a number exactly as it was written.
fn text_of(raw: &RawValue) -> Option<Cow<'_, str>> {
    match raw.get().bytes().next() {
        Some(b'"') => serde_json::from_str(raw.get()).ok().map(Cow::Owned),
        Some(b'-' | b'0'..=b'9') => Some(Cow::Borrowed(raw.get())),
        _ => None,
    }
}

/// Decrypts in place. Returns `false` if the data is empty or ends within a block.
fn decrypt<D: KeyIvInit + BlockModeDecrypt>(key: &[u8], iv: &[u8], data: &mut [u8]) -> bool {
    let (blocks, rest) = Array::slice_as_chunks_mut(data);
    let Ok(mut decryptor) = D::new_from_slices(key, iv) else {
        return false;
    };
    if blocks.is_empty() || !rest.is_empty() {
        return false;
    }
    decryptor.decrypt_blocks(blocks);
    true
}

/// Returns the length of the text without its PKCS#7 padding, and whether the padding is valid. Takes
/// the same number of steps for every content. `data` must have at least one block.
fn unpadded(data: &[u8]) -> (usize, bool) {
    let last = data.last().copied().unwrap_or_default();
    let mut valid = !last.ct_eq(&0) & !last.ct_gt(&(BLOCK as u8));
    for (distance, byte) in (0_u8..).zip(data.iter().rev().take(BLOCK)) {
        let beyond: Choice = !last.ct_gt(&distance);
        valid &= beyond | byte.ct_eq(&last);
    }
    let padding = u8::conditional_select(&0, &last, valid);
    (data.len() - usize::from(padding), valid.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_the_valid_paddings_are_removed() {
        for padding in 0..=u8::MAX {
            let mut data = [7_u8; 48];
            let start = 48_usize.saturating_sub(padding.into());
            data[start..].fill(padding);
            if padding == 0 {
                data[47] = 0;
            }
            let valid = (1..=16).contains(&padding);
            let wanted = if valid { (start, true) } else { (48, false) };
            assert_eq!(unpadded(&data), wanted, "{padding}");
            if (2..=16).contains(&padding) {
                data[start] ^= 1;
                assert_eq!(unpadded(&data), (48, false), "{padding}");
            }
        }
    }

    #[test]
    fn numbers_keep_their_text() {
        for (json, wanted) in [
            ("1.0", Some("1.0")),
            ("1e3", Some("1e3")),
            ("-0", Some("-0")),
            ("123456789012345678901234567890", Some("123456789012345678901234567890")),
            (" 7 ", Some("7")),
            (r#""a\u0062\/""#, Some("ab/")),
            (r#""""#, Some("")),
            ("null", None),
            ("true", None),
            ("[1]", None),
            ("{}", None),
        ] {
            let raw: Box<RawValue> = serde_json::from_str(json).unwrap();
            assert_eq!(text_of(&raw).as_deref(), wanted, "{json}");
        }
    }

    #[test]
    fn timestamps_are_read_in_every_number_format() {
        for (timestamp, wanted) in [
            ("1710757900382", Some(1_710_757_900_382)),
            ("1710757900382.0", Some(1_710_757_900_382)),
            ("1.710757900382e12", Some(1_710_757_900_382)),
            ("0", Some(0)),
            ("", None),
            ("soon", None),
            ("NaN", None),
            ("inf", None),
        ] {
            let message = Message {
                signature: "".into(),
                data_encrypt: "".into(),
                timestamp: timestamp.into(),
                nonce: "".into(),
            };
            let wanted = wanted.map(|millis| SystemTime::UNIX_EPOCH + Duration::from_millis(millis));
            assert_eq!(message.sent_at(), wanted, "{timestamp}");
        }
    }
}
