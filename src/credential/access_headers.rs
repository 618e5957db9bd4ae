//! What HighHelp's signed headers cover: the normalised body and the time.
//!
//! Every scalar becomes a line `key:key:value`; lines are sorted and joined with `;`; the base64url of
//! that, with the decimal time behind it, is what a key signs. Numbers keep the digits they were
//! written with. Over a clear card all of this is as secret as the card.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

use crate::secret::CleartextBody;

pub use super::keys::{BadKey, Prehash, SigningKey, VerifyingKey};

/// A scalar of the body.
#[derive(Debug)]
pub enum Scalar<T> {
    /// A string, decoded.
    Text(T),
    /// A number in the digits that were sent.
    Number(T),
    /// True or false: `1` or `0`.
    Bool(bool),
    /// Null: `None`, as the provider's own language prints it.
    Null,
}

/// The sorted lines of a body. `lines` are paths (`key:key:0`) with their scalars.
pub fn normalise<P, T>(lines: impl Iterator<Item = (P, Scalar<T>)>) -> CleartextBody
where
    P: AsRef<[u8]>,
    T: AsRef<[u8]>,
{
    let mut sorted: Vec<Zeroizing<Vec<u8>>> =
        lines.map(|(path, value)| line(&path, &value)).collect();
    sorted.sort_by(|one, other| one.as_slice().cmp(other.as_slice()));
    let length = sorted.iter().map(|line| line.len() + 1).sum();
    let mut joined = CleartextBody::with_capacity(length);
    for (index, line) in sorted.iter().enumerate() {
        if index > 0 {
            joined.push(b';');
        }
        joined.extend_from_slice(line);
    }
    joined
}

/// What is signed: the base64url of the normalised body and the time in seconds.
pub fn message(normalised: &[u8], timestamp: u64) -> CleartextBody {
    let text = Zeroizing::new(URL_SAFE_NO_PAD.encode(normalised));
    let time = timestamp.to_string();
    let mut message = CleartextBody::with_capacity(text.len() + time.len());
    message.extend_from_slice(text.as_bytes());
    message.extend_from_slice(time.as_bytes());
    message
}

fn line<P: AsRef<[u8]>, T: AsRef<[u8]>>(path: &P, value: &Scalar<T>) -> Zeroizing<Vec<u8>> {
    let value = match value {
        Scalar::Text(text) | Scalar::Number(text) => text.as_ref(),
        Scalar::Bool(true) => b"1",
        Scalar::Bool(false) => b"0",
        Scalar::Null => b"None",
    };
    let path = path.as_ref();
    let mut line = Zeroizing::new(Vec::with_capacity(path.len() + 1 + value.len()));
    line.extend_from_slice(path);
    line.push(b':');
    line.extend_from_slice(value);
    line
}

#[cfg(test)]
mod tests {
    use sha2::{Digest as _, Sha256};

    use super::*;
    use crate::secret::SecretBytes;

    const PRIVATE: &[u8] = include_bytes!("../../tests/vectors/keys/rsa-2048.pem");
    const PUBLIC: &[u8] = include_bytes!("../../tests/vectors/keys/rsa-2048.pub");
    const OTHER: &[u8] = include_bytes!("../../tests/vectors/keys/other-2048.pub");

    fn lines(texts: &[(&str, &str)]) -> CleartextBody {
        normalise(texts.iter().map(|(path, text)| (*path, Scalar::Text(*text))))
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn example() -> CleartextBody {
        lines(&[
            ("general:project_id", "prj-1"),
            ("general:payment_id", "ord-7"),
            ("payment:method", "card-ecom"),
            ("payment:amount", "10000"),
            ("payment:currency", "RUB"),
            ("customer:id", "c1"),
            ("customer:ip_address", "203.0.113.7"),
        ])
    }

    #[test]
    fn the_worked_example_comes_out_step_by_step() {
        let normalised = example();
        assert_eq!(
            normalised.as_bytes(),
            b"customer:id:c1;customer:ip_address:203.0.113.7;general:payment_id:ord-7;\
              general:project_id:prj-1;payment:amount:10000;payment:currency:RUB;\
              payment:method:card-ecom"
        );
        let message = message(normalised.as_bytes(), 1_706_182_847);
        let text = std::str::from_utf8(message.as_bytes()).unwrap();
        assert_eq!(
            text,
            "Y3VzdG9tZXI6aWQ6YzE7Y3VzdG9tZXI6aXBfYWRkcmVzczoyMDMuMC4xMTMuNztnZW5lcmFsOnBheW1lbnRf\
             aWQ6b3JkLTc7Z2VuZXJhbDpwcm9qZWN0X2lkOnByai0xO3BheW1lbnQ6YW1vdW50OjEwMDAwO3BheW1lbnQ6\
             Y3VycmVuY3k6UlVCO3BheW1lbnQ6bWV0aG9kOmNhcmQtZWNvbQ1706182847"
        );
        let once = Sha256::digest(message.as_bytes());
        assert_eq!(hex(&once), "6ab34036b10ed7f0e7c42c3dfe7322e181c289d66e9ead03bab0ff2db4360f55");
        let twice = Sha256::digest(once);
        assert_eq!(hex(&twice), "abf809748ddf0af14e1eaaac9f61aac8464860e800adfe8def09a2a01d3ce0af");
    }

    #[test]
    fn scalars_are_written_as_documented() {
        let scalars = [
            ("a", Scalar::Bool(true)),
            ("b:0", Scalar::Number("1")),
            ("b:1", Scalar::Null),
            ("d", Scalar::Bool(false)),
            ("e", Scalar::Number("1.10")),
            ("f", Scalar::Text("x;y:z")),
        ];
        let normalised = normalise(scalars.into_iter());
        assert_eq!(normalised.as_bytes(), b"a:1;b:0:1;b:1:None;d:0;e:1.10;f:x;y:z");
    }

    #[test]
    fn whole_lines_are_sorted_byte_by_byte() {
        let normalised = lines(&[("a:b", "1"), ("a", "z"), ("a", "B"), ("Z", "1"), ("a:10", "x")]);
        assert_eq!(normalised.as_bytes(), b"Z:1;a:10:x;a:B;a:b:1;a:z");
    }

    #[test]
    fn what_rsa_signs_its_public_half_verifies_and_no_other() {
        let key = SigningKey::rsa_pem(&SecretBytes::from_slice(PRIVATE)).unwrap();
        let public = VerifyingKey::rsa_pem(&SecretBytes::from_slice(PUBLIC)).unwrap();
        let other = VerifyingKey::rsa_pem(&SecretBytes::from_slice(OTHER)).unwrap();
        for prehash in [Prehash::Double, Prehash::Single] {
            let signature = key.sign(b"message", prehash).unwrap().reveal(<[u8]>::to_vec);
            assert!(!signature.contains(&b'='));
            assert!(public.verify(b"message", &signature, prehash));
            let padded = [signature.as_slice(), b"=="].concat();
            assert!(public.verify(b"message", &padded, prehash), "padded");
            assert!(!public.verify(b"messagf", &signature, prehash));
            assert!(!other.verify(b"message", &signature, prehash));
            let mut flipped = signature.clone();
            flipped[10] = if flipped[10] == b'A' { b'B' } else { b'A' };
            assert!(!public.verify(b"message", &flipped, prehash));
        }
        let double = key.sign(b"message", Prehash::Double).unwrap().reveal(<[u8]>::to_vec);
        assert!(!public.verify(b"message", &double, Prehash::Single));
        assert!(public.verify(&Sha256::digest(b"message"), &double, Prehash::Single), "hash twice");
    }

    /// RFC 4231, test case 2.
    #[test]
    fn hmac_is_hmac_sha_512() {
        let key = SigningKey::hmac(SecretBytes::from_slice(b"Jefe"));
        let check = VerifyingKey::hmac(SecretBytes::from_slice(b"Jefe"));
        let message = b"what do ya want for nothing?";
        let signature = key.sign(message, Prehash::Double).unwrap().reveal(<[u8]>::to_vec);
        assert!(check.verify(message, &signature, Prehash::Double));
        assert!(!check.verify(b"x", &signature, Prehash::Double));
        let raw = URL_SAFE_NO_PAD.decode(&signature).unwrap();
        assert_eq!(
            hex(&raw),
            "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75c05a994a6d034f\
             65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737"
        );
        assert!(key.public_token().is_none() && key.algorithm_header().is_some());
    }

    #[test]
    fn the_public_token_is_the_public_key_itself() {
        let key = SigningKey::rsa_pem(&SecretBytes::from_slice(PRIVATE)).unwrap();
        let text: String = std::str::from_utf8(PUBLIC)
            .unwrap()
            .lines()
            .filter(|line| !line.starts_with('-'))
            .collect();
        let standard = base64::engine::general_purpose::STANDARD.decode(text).unwrap();
        assert_eq!(key.public_token().unwrap(), URL_SAFE_NO_PAD.encode(standard));
    }

    #[test]
    fn a_text_that_is_no_key_is_refused_without_a_word_of_it() {
        let cut = &PRIVATE[..PRIVATE.len() / 2];
        for bad in [b"".as_slice(), b"secret", PUBLIC, cut] {
            let error = SigningKey::rsa_pem(&SecretBytes::from_slice(bad)).unwrap_err();
            assert_eq!(format!("{error:?}"), "BadKey");
        }
        for bad in [b"".as_slice(), b"secret", PRIVATE] {
            assert!(VerifyingKey::rsa_pem(&SecretBytes::from_slice(bad)).is_err());
        }
        let key = SigningKey::rsa_pem(&SecretBytes::from_slice(PRIVATE)).unwrap();
        assert_eq!(format!("{key:?}"), "SigningKey(..)");
    }
}
