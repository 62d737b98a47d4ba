//! Bodies without their compression, in a bounded size: [`decoded`].

use std::io::{self, Read};

use brotli_decompressor::Decompressor;
use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};

const BROTLI_BUFFER: usize = 4096;

/// The body of at most `limit` bytes. The error says why there is none.
pub(super) fn decoded(body: &[u8], coding: &str, limit: usize) -> Result<Vec<u8>, String> {
    let decoded = match coding {
        "gzip" | "x-gzip" => read(MultiGzDecoder::new(body), limit),
        // Some servers send it without the zlib header that belongs to it.
        "deflate" => read(ZlibDecoder::new(body), limit).or_else(|_| read(DeflateDecoder::new(body), limit)),
        "br" => read(Decompressor::new(body, BROTLI_BUFFER), limit),
        _ => return Err("its compression cannot be decoded here".to_owned()),
    };
    match decoded {
        Ok(body) if body.len() > limit => Err(format!("it is larger than {limit} bytes")),
        Ok(body) => Ok(body),
        Err(_) => Err("its compressed data is damaged".to_owned()),
    }
}

fn read(reader: impl Read, limit: usize) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    reader.take(limit as u64 + 1).read_to_end(&mut body)?;
    Ok(body)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write};

    use super::*;

    fn gzip(body: &[u8]) -> Vec<u8> {
        let mut encoder = write::GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(body).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn every_coding_is_decoded() {
        let mut zlib = write::ZlibEncoder::new(Vec::new(), Compression::default());
        zlib.write_all(b"hello").unwrap();
        let mut raw = write::DeflateEncoder::new(Vec::new(), Compression::default());
        raw.write_all(b"hello").unwrap();
        // `printf hello | brotli --stdout | xxd -p`
        let brotli = [0x0b, 0x02, 0x80, b'h', b'e', b'l', b'l', b'o', 0x03];
        for (coding, body) in [
            ("gzip", gzip(b"hello")),
            ("deflate", zlib.finish().unwrap()),
            ("deflate", raw.finish().unwrap()),
            ("br", brotli.to_vec()),
        ] {
            assert_eq!(decoded(&body, coding, 5).unwrap(), b"hello", "{coding}");
        }
    }

    #[test]
    fn a_body_that_is_too_large_damaged_or_unknown_is_an_error_with_the_reason() {
        let large = gzip(&vec![b'x'; 10_000_000]);
        assert!(decoded(&large, "gzip", 1000).unwrap_err().contains("larger than 1000 bytes"));
        for coding in ["gzip", "deflate", "br"] {
            assert!(
                decoded(b"\xff no compression", coding, 1000).unwrap_err().contains("damaged"),
                "{coding}"
            );
        }
        let whole = gzip(b"hello");
        assert!(decoded(&whole[..whole.len() - 4], "gzip", 1000).unwrap_err().contains("damaged"));
        assert!(decoded(b"", "zstd", 1000).unwrap_err().contains("cannot be decoded"));
    }
}
