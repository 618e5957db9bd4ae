//! One PEM block (RFC 7468): its label says what it is, its body is base64.
//!
//! Strict, because it reads keys: one block and nothing beside it. What is wrong is said without a
//! byte of the file, and the decoded key is wiped.

use zeroize::Zeroizing;

use crate::secret::SecretBytes;

use super::encoding::{self, BASE64};
use super::keys::KeyError;

/// The bytes inside the file's one block, and which of the labels it has.
pub(super) fn read(
    file: &SecretBytes,
    labels: &[&'static str],
) -> Result<(&'static str, Zeroizing<Vec<u8>>), KeyError> {
    file.reveal(|text| {
        let text = text.trim_ascii();
        let (label, text) = marker(text, b"-----BEGIN ").ok_or(KeyError::Pem)?;
        let known = labels.iter().find(|known| known.as_bytes() == label);
        let known = known.ok_or(KeyError::Label)?;
        let end = text.iter().position(|byte| *byte == b'-').ok_or(KeyError::Pem)?;
        let (body, text) = text.split_at_checked(end).ok_or(KeyError::Pem)?;
        let (closed, rest) = marker(text, b"-----END ").ok_or(KeyError::Pem)?;
        if closed != label || !rest.is_empty() {
            return Err(KeyError::Pem);
        }
        Ok((*known, decode(body)?))
    })
}

/// The label of the marker that the text begins with, and what follows the marker.
fn marker<'t>(text: &'t [u8], opening: &[u8]) -> Option<(&'t [u8], &'t [u8])> {
    let text = text.strip_prefix(opening)?;
    let end = text.iter().position(|byte| *byte == b'-')?;
    let (label, text) = text.split_at_checked(end)?;
    Some((label, text.strip_prefix(b"-----")?))
}

fn decode(body: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let mut letters = Zeroizing::new(Vec::with_capacity(body.len()));
    letters.extend(body.iter().filter(|byte| !byte.is_ascii_whitespace()));
    let bytes = encoding::from_base64(&BASE64, &letters).ok_or(KeyError::Pem)?;
    (!bytes.is_empty()).then_some(bytes).ok_or(KeyError::Pem)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> SecretBytes {
        SecretBytes::from_slice(text.as_bytes())
    }

    #[test]
    fn the_one_block_is_read_whatever_its_line_ends() {
        for text in [
            "-----BEGIN B-----\nAQID\nBAUG\n-----END B-----\n",
            "\n-----BEGIN B-----\r\nAQID\r\nBAUG\r\n-----END B-----",
            "-----BEGIN B----- AQID BAUG -----END B-----",
        ]
        .map(|text| text.replace(" B-", " A KEY-"))
        {
            let (label, bytes) = read(&file(&text), &["KEY", "A KEY"]).unwrap();
            assert_eq!((label, bytes.as_slice()), ("A KEY", &[1, 2, 3, 4, 5, 6][..]));
        }
    }

    #[test]
    fn another_label_is_told_apart_from_what_is_no_pem() {
        let read = |text: &str| read(&file(text), &["KEY"]).unwrap_err();
        assert_eq!(read("-----BEGIN OTHER-----\nAQID\n-----END OTHER-----"), KeyError::Label);
        assert_eq!(read("-----BEGIN KEY -----\nAQID\n-----END KEY -----"), KeyError::Label);
        for bad in [
            "",
            "AQID",
            "-----BEGIN KEY-----",
            "-----BEGIN KEY-----\nAQID",
            "-----BEGIN KEY-----\nAQID\n-----END KEY----",
            "-----BEGIN KEY-----\nAQID\n-----END OTHER-----",
            "-----BEGIN KEY-----\n-----END KEY-----",
            "-----BEGIN KEY-----\nAQI!\n-----END KEY-----",
            "-----BEGIN KEY-----\nAQI\u{e9}\n-----END KEY-----",
            "-----BEGIN KEY-----\nProc-Type: 4,ENCRYPTED\n\nAQID\n-----END KEY-----",
            "-----BEGIN KEY-----\nAQID\n-----END KEY-----\nmore",
            "-----BEGIN KEY-----\nAQID\n-----END KEY-----\n-----BEGIN KEY-----\nAQID\n-----END KEY-----",
            "note\n-----BEGIN KEY-----\nAQID\n-----END KEY-----",
            "----BEGIN KEY-----\nAQID\n-----END KEY-----",
        ] {
            assert_eq!(read(bad), KeyError::Pem, "{bad}");
        }
    }
}
