//! Signatures as openssl and Wycheproof have them, and keys that are refused.

use super::*;
use crate::secret::wycheproof::{cases, hex};

const REQUEST: &str = include_str!("../../../tests/vectors/keys/request.pem");
const REQUEST_PKCS1: &str = include_str!("../../../tests/vectors/keys/request-pkcs1.pem");
const REQUEST_PUBLIC: &str = include_str!("../../../tests/vectors/keys/request.pub");
const OTHER: &str = include_str!("../../../tests/vectors/keys/other.pem");
const OTHER_PUBLIC: &str = include_str!("../../../tests/vectors/keys/other.pub");
const SHORT: &str = include_str!("../../../tests/vectors/keys/short.pem");
const SHORT_PUBLIC: &str = include_str!("../../../tests/vectors/keys/short.pub");
const CURVE: &str = include_str!("../../../tests/vectors/keys/curve.pem");
const CURVE_PUBLIC: &str = include_str!("../../../tests/vectors/keys/curve.pub");

/// The message of the provider's example and what openssl made of it with `request.pem`; the
/// commands stand in tests/vectors/keys/README.md.
const MESSAGE: &[u8] = include_bytes!("../../../tests/vectors/keys/message.txt");
const DOUBLE: &str = include_str!("../../../tests/vectors/keys/message.double");
const SINGLE: &str = include_str!("../../../tests/vectors/keys/message.single");
const MAC: &str = include_str!("../../../tests/vectors/keys/message.hmac");
const TOKEN: &str = include_str!("../../../tests/vectors/keys/request.token");
const HMAC_KEY: &str = "throw-away hmac key";

fn secret(text: &str) -> SecretBytes {
    SecretBytes::from_slice(text.as_bytes())
}

fn signing(pem: &str) -> SigningKey {
    SigningKey::rsa_pem(&secret(pem)).unwrap()
}

fn verifying(pem: &str) -> VerifyingKey {
    VerifyingKey::rsa_pem(&secret(pem)).unwrap()
}

fn hmac() -> (SigningKey, VerifyingKey) {
    let key = secret(HMAC_KEY);
    (SigningKey::hmac(key), VerifyingKey::hmac(secret(HMAC_KEY)))
}

fn sign(key: &SigningKey, message: &[u8], prehash: Prehash) -> String {
    let signature = key.sign(message, prehash).unwrap();
    signature.reveal(|text| String::from_utf8(text.to_vec()).unwrap())
}

#[test]
fn rsa_signatures_are_those_that_openssl_makes() {
    for pem in [REQUEST, REQUEST_PKCS1] {
        assert_eq!(sign(&signing(pem), MESSAGE, Prehash::Double), DOUBLE.trim_end());
        assert_eq!(sign(&signing(pem), MESSAGE, Prehash::Single), SINGLE.trim_end());
    }
}

#[test]
fn hmac_signatures_are_those_that_openssl_makes() {
    let (made, checked) = hmac();
    for prehash in [Prehash::Double, Prehash::Single] {
        assert_eq!(sign(&made, MESSAGE, prehash), MAC.trim_end());
        assert!(checked.verify(MESSAGE, MAC.trim_end().as_bytes(), prehash));
    }
}

#[test]
fn what_is_signed_verifies_in_every_encoding() {
    use SignatureEncoding::{Base64, Base64Url, Hex};
    let pairs = || [(signing(REQUEST), verifying(REQUEST_PUBLIC)), hmac()];
    for encoding in [Base64Url, Base64, Hex] {
        for (made, checked) in pairs() {
            let (made, checked) = (made.with_encoding(encoding), checked.with_encoding(encoding));
            for prehash in [Prehash::Double, Prehash::Single] {
                let signature = sign(&made, b"card", prehash);
                assert!(checked.verify(b"card", signature.as_bytes(), prehash));
                assert!(!checked.verify(b"carD", signature.as_bytes(), prehash));
            }
        }
    }
}

#[test]
fn padded_and_bare_signatures_verify_and_other_spellings_do_not() {
    for (key, signature) in [(verifying(REQUEST_PUBLIC), DOUBLE), (hmac().1, MAC)] {
        let bare = signature.trim_end();
        let padded = format!("{bare}==");
        assert_eq!(padded.len() % 4, 0);
        assert!(key.verify(MESSAGE, bare.as_bytes(), Prehash::Double));
        assert!(key.verify(MESSAGE, padded.as_bytes(), Prehash::Double));
        let standard = bare.replace('-', "+").replace('_', "/");
        assert_ne!(standard, bare);
        let spaced = format!(" {bare}");
        let shorter = &bare[..bare.len() - 4];
        for bad in ["", "=", &standard, &spaced, shorter, &format!("{bare}=")] {
            assert!(!key.verify(MESSAGE, bad.as_bytes(), Prehash::Double), "{bad}");
        }
    }
}

#[test]
fn another_key_another_prehash_or_any_flipped_bit_is_refused() {
    let key = verifying(REQUEST_PUBLIC);
    let good = DOUBLE.trim_end();
    assert!(!verifying(OTHER_PUBLIC).verify(MESSAGE, good.as_bytes(), Prehash::Double));
    assert!(!key.verify(MESSAGE, good.as_bytes(), Prehash::Single));
    let by_other = sign(&signing(OTHER), MESSAGE, Prehash::Double);
    assert!(!key.verify(MESSAGE, by_other.as_bytes(), Prehash::Double));
    let raw = SignatureEncoding::Base64Url.read(good.as_bytes()).unwrap();
    flipped(&raw, |bytes| {
        let text = SignatureEncoding::Base64Url.write(bytes);
        assert!(!text.reveal(|text| key.verify(MESSAGE, text, Prehash::Double)));
    });
    flipped(MESSAGE, |bytes| {
        assert!(!key.verify(bytes, good.as_bytes(), Prehash::Double));
    });
}

#[test]
fn an_hmac_refuses_another_key_a_cut_tag_and_any_flipped_bit() {
    let (_, key) = hmac();
    let good = MAC.trim_end().as_bytes();
    let other = VerifyingKey::hmac(secret("throw-away hmac keY"));
    assert!(!other.verify(MESSAGE, good, Prehash::Double));
    let raw = SignatureEncoding::Base64Url.read(good).unwrap();
    let refused = |bytes: &[u8]| {
        let text = SignatureEncoding::Base64Url.write(bytes);
        !text.reveal(|text| key.verify(MESSAGE, text, Prehash::Double))
    };
    flipped(&raw, |bytes| assert!(refused(bytes)));
    for length in 0..raw.len() {
        assert!(refused(&raw[..length]), "{length} bytes");
    }
    flipped(MESSAGE, |bytes| assert!(!key.verify(bytes, good, Prehash::Double)));
}

/// Shows the bytes with one bit changed, for each byte.
fn flipped(bytes: &[u8], mut look: impl FnMut(&[u8])) {
    for at in 0..bytes.len() {
        let mut changed = bytes.to_vec();
        changed[at] ^= 1 << (at % 8);
        look(&changed);
    }
}

#[test]
fn the_token_is_the_public_half_and_hmac_has_a_name_instead() {
    let (pair, public) = (signing(REQUEST), verifying(REQUEST_PUBLIC));
    assert_eq!(pair.public_token().as_deref(), Some(TOKEN.trim_end()));
    assert_eq!(public.public_token().as_deref(), Some(TOKEN.trim_end()));
    assert_eq!(pair.algorithm_header(), None);
    let (made, checked) = hmac();
    assert_eq!((made.public_token(), checked.public_token()), (None, None));
    assert_eq!(made.algorithm_header(), Some("HMAC-SHA512"));
}

#[test]
fn keys_of_another_kind_or_size_are_refused() {
    let private = |pem: &str| SigningKey::rsa_pem(&secret(pem)).unwrap_err();
    let public = |pem: &str| VerifyingKey::rsa_pem(&secret(pem)).unwrap_err();
    assert_eq!([private(SHORT), private(CURVE)], [KeyError::Rsa; 2]);
    assert_eq!([public(SHORT_PUBLIC), public(CURVE_PUBLIC)], [KeyError::Rsa; 2]);
    assert_eq!([private(REQUEST_PUBLIC), public(REQUEST)], [KeyError::Label; 2]);
    let encrypted = REQUEST.replace("PRIVATE", "ENCRYPTED PRIVATE");
    assert_eq!(private(&encrypted), KeyError::Label);
    let mislabelled = REQUEST_PKCS1.replace("RSA PRIVATE", "PRIVATE");
    assert_eq!(private(&mislabelled), KeyError::Rsa);
}

#[test]
fn a_damaged_key_is_refused_and_the_error_holds_nothing_of_it() {
    let lines: Vec<&str> = REQUEST.lines().collect();
    let without = |line: usize| {
        let mut kept = lines.clone();
        kept.remove(line);
        kept.join("\n")
    };
    for line in 0..lines.len() {
        let error = SigningKey::rsa_pem(&secret(&without(line))).unwrap_err();
        assert!(["key_pem", "key_rsa"].contains(&error.to_string().as_str()), "{line}");
        assert!(["Pem", "Rsa"].contains(&format!("{error:?}").as_str()), "{line}");
    }
    let canary = "-----BEGIN CANARY-----\ncanary\n-----END CANARY-----";
    for text in ["canary", canary] {
        let private = SigningKey::rsa_pem(&secret(text)).unwrap_err();
        let public = VerifyingKey::rsa_pem(&secret(text)).unwrap_err();
        let hmac = SigningKey::hmac_text(&secret(text), KeyEncoding::Hex).unwrap_err();
        let shown = format!("{private:?} {private} {public:?} {public} {hmac:?} {hmac}");
        assert!(!shown.to_lowercase().contains("canary"));
    }
}

/// Of the private numbers each is checked against the others, so that a signature never leaves
/// with a fault in it that gives the key away.
#[test]
fn a_private_key_whose_parts_do_not_fit_is_refused() {
    let (_, der) = pem::read(&secret(REQUEST_PKCS1), &["RSA PRIVATE KEY"]).unwrap();
    for at in (300..der.len()).step_by(37) {
        let mut changed = der.to_vec();
        changed[at] ^= 1;
        let body = SignatureEncoding::Base64.write(&changed);
        let body = body.reveal(|text| String::from_utf8(text.to_vec()).unwrap());
        let file =
            format!("-----BEGIN RSA PRIVATE KEY-----\n{body}\n-----END RSA PRIVATE KEY-----");
        assert_eq!(SigningKey::rsa_pem(&secret(&file)).unwrap_err(), KeyError::Rsa, "{at}");
    }
}

#[test]
fn an_hmac_key_is_read_in_its_encoding_and_without_its_line_end() {
    let expected = sign(&hmac().0, MESSAGE, Prehash::Double);
    let hex = "7468726f772d6177617920686d6163206b6579";
    for (encoding, text) in [
        (KeyEncoding::Utf8, HMAC_KEY),
        (KeyEncoding::Utf8, "\nthrow-away hmac key\r\n"),
        (KeyEncoding::Hex, hex),
        (KeyEncoding::Hex, &format!("{}\n", hex.to_uppercase())),
        (KeyEncoding::Base64, "dGhyb3ctYXdheSBobWFjIGtleQ=="),
        (KeyEncoding::Base64, "dGhyb3ctYXdheSBobWFjIGtleQ\n"),
    ] {
        let key = SigningKey::hmac_text(&secret(text), encoding).unwrap();
        assert_eq!(sign(&key, MESSAGE, Prehash::Double), expected, "{encoding:?}");
    }
    let either = ["+/+/+/8=", "-_-_-_8="].map(|text| {
        let key = SigningKey::hmac_text(&secret(text), KeyEncoding::Base64).unwrap();
        sign(&key, MESSAGE, Prehash::Double)
    });
    assert_eq!(either[0], either[1]);
}

#[test]
fn an_empty_hmac_key_neither_signs_nor_verifies() {
    assert_eq!(SigningKey::hmac(secret("")).sign(b"x", Prehash::Double).err(), Some(SigningFailed));
    // HMAC-SHA-512 of `x` with the empty key, and no signature at all.
    let forged = "aee650458ddcbcd4557531b27f1cded4c577f576079b086f57f3c6b9e037a7c0b3cdf7ff58afa09fe279076d1107d5d554f4d34fc6f03d8fd12f93d892802ac3";
    let key = VerifyingKey::hmac(secret("")).with_encoding(SignatureEncoding::Hex);
    for presented in [forged, ""] {
        assert!(!key.verify(b"x", presented.as_bytes(), Prehash::Double));
    }
}

#[test]
fn an_hmac_key_that_is_empty_or_not_in_its_encoding_is_refused() {
    let read = |text: &str, encoding| {
        let error = SigningKey::hmac_text(&secret(text), encoding).unwrap_err();
        assert_eq!(VerifyingKey::hmac_text(&secret(text), encoding).unwrap_err(), error);
        error
    };
    for encoding in [KeyEncoding::Utf8, KeyEncoding::Hex, KeyEncoding::Base64] {
        assert_eq!(read(" \n", encoding), KeyError::Empty);
    }
    assert_eq!(read("0g", KeyEncoding::Hex), KeyError::Encoding);
    assert_eq!(read("+_+_", KeyEncoding::Base64), KeyError::Encoding);
}

#[test]
fn the_prehashes_of_a_profile_are_known_and_no_others() {
    assert_eq!(Prehash::named("double"), Some(Prehash::Double));
    assert_eq!(Prehash::named("single"), Some(Prehash::Single));
    assert_eq!(Prehash::named(""), None);
}

#[test]
fn debug_prints_a_fixed_text_and_keys_may_be_shared_between_threads() {
    fn shared<T: Send + Sync>(_: &T) {}
    for (made, checked) in [(signing(REQUEST), verifying(REQUEST_PUBLIC)), hmac()] {
        shared(&made);
        shared(&checked);
        assert_eq!(format!("{made:?} {checked:?}"), "SigningKey(..) VerifyingKey(..)");
        let signature = made.sign(MESSAGE, Prehash::Double).unwrap();
        assert_eq!(format!("{signature:?}"), "SecretBytes(..)");
    }
}

// Vectors. Origin and licence: tests/vectors/SOURCES.md.

/// The one `acceptable` case leaves a NULL out of the encoding (RFC 8017 appendix A.2.4 has it); it
/// is refused.
#[test]
fn rsa_agrees_with_wycheproof() {
    let (mut run, mut accepted) = (0, 0);
    let vectors = include_str!("../../../tests/vectors/rsa_signature_2048_sha256_test.json");
    for (group, case) in cases(vectors) {
        let pem = group["publicKeyPem"].as_str().unwrap();
        let key = verifying(pem).with_encoding(SignatureEncoding::Hex);
        let signature = case["sig"].as_str().unwrap().as_bytes();
        let agrees = key.verify(&hex(&case, "msg"), signature, Prehash::Single);
        assert_eq!(agrees, case["result"] == "valid", "case {}", case["tcId"]);
        run += 1;
        accepted += u32::from(agrees);
    }
    assert_eq!((run, accepted), (259, 9));
}

/// Half of the cases have tags of 32 bytes: right ones are the start of ours, and all of them
/// are refused, because a tag is whole or it is none.
#[test]
fn hmac_sha_512_agrees_with_wycheproof() {
    let (mut run, mut accepted) = (0, 0);
    let vectors = include_str!("../../../tests/vectors/hmac_sha512_test.json");
    for (group, case) in cases(vectors) {
        let file = secret(case["key"].as_str().unwrap());
        let key = VerifyingKey::hmac_text(&file, KeyEncoding::Hex).unwrap();
        let key = key.with_encoding(SignatureEncoding::Hex);
        let (message, tag) = (hex(&case, "msg"), hex(&case, "tag"));
        let valid = case["result"] == "valid";
        let made = mac(&SecretBytes::new(hex(&case, "key")), &message).unwrap();
        assert_eq!(made.starts_with(&tag), valid, "case {}", case["tcId"]);
        let presented = case["tag"].as_str().unwrap().as_bytes();
        let agrees = key.verify(&message, presented, Prehash::Double);
        assert_eq!(agrees, valid && group["tagSize"] == 512, "case {}", case["tcId"]);
        run += 1;
        accepted += u32::from(agrees);
    }
    assert_eq!((run, accepted), (174, 33));
}
