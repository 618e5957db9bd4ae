//! HighHelp's `x-access-signature`: a signature over the normalised body and a timestamp.
//!
//! The order is [`normalise`] → [`message`] → [`SigningKey::sign`] or [`VerifyingKey::verify`]. The
//! signature covers the card, and anyone
//! with the public key can try guesses against it: it goes to the provider and nowhere else. The
//! timestamp is only covered here; whoever calls this decides how old it may be.

use crate::secret::CleartextBody;

use super::encoding::{self, BASE64_URL};

pub use super::keys::{Prehash, SigningKey, VerifyingKey};
pub use super::normalise::{BoolStyle, NormaliseRules, NullStyle, Scalar, normalise, normalise_by};

/// The longest decimal spelling of a timestamp.
const TIMESTAMP_DIGITS: usize = 20;

/// What is signed: the normalised body in unpadded base64url, right behind it the timestamp in
/// seconds.
pub fn message(normalised: &[u8], timestamp: u64) -> CleartextBody {
    let mut message = encoding::base64(&BASE64_URL, normalised, TIMESTAMP_DIGITS);
    message.extend_from_slice(timestamp.to_string().as_bytes());
    message
}

#[cfg(test)]
mod tests {
    use sha2::{Digest as _, Sha256};

    use super::*;

    const NORMALISED: &str = "customer:id:c1;customer:ip_address:203.0.113.7;\
        general:payment_id:ord-7;general:project_id:prj-1;payment:amount:10000;\
        payment:currency:RUB;payment:method:card-ecom";

    const MESSAGE: &str = include_str!("../../tests/vectors/keys/message.txt");

    fn hex(bytes: &[u8]) -> String {
        String::from_utf8(encoding::hex(bytes).as_bytes().to_vec()).unwrap()
    }

    #[test]
    fn the_example_s_message_and_digests_are_the_known_ones() {
        let message = message(NORMALISED.as_bytes(), 1_706_182_847);
        assert_eq!(message.as_bytes(), MESSAGE.as_bytes());
        let once = Sha256::digest(message.as_bytes());
        assert_eq!(hex(&once), "6ab34036b10ed7f0e7c42c3dfe7322e181c289d66e9ead03bab0ff2db4360f55");
        let twice = Sha256::digest(once);
        assert_eq!(hex(&twice), "abf809748ddf0af14e1eaaac9f61aac8464860e800adfe8def09a2a01d3ce0af");
    }

    #[test]
    fn the_alphabet_is_that_of_urls_and_there_is_no_padding() {
        assert_eq!(message(b"\xfb\xef\xff\xfe", 7).as_bytes(), b"--___g7");
        assert_eq!(message(b"", 0).as_bytes(), b"0");
        assert_eq!(message(b"", u64::MAX).as_bytes(), b"18446744073709551615");
    }

    #[test]
    fn a_long_body_does_not_move_when_its_timestamp_is_added() {
        let body = message(&[b'x'; 60_000], u64::MAX);
        assert_eq!(body.capacity(), 80_000 + TIMESTAMP_DIGITS);
    }
}
