//! The `sign` field of Qostiq and its family: SHA-256 over the values in the order of their names,
//! with `:` between them and the shop's secret right behind the last.
//!
//! There is no timestamp inside, so a replay verifies: whoever calls this must de-duplicate. A
//! payout's values hold the card number, and with most of it known a digest gives the rest away:
//! it must never be shown, logged or kept.

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use crate::secret::{SecretBytes, scoured};

use super::encoding;

/// The field's text, in lower-case hexadecimal, for these names and values. A value is its text as
/// it was sent: a string decoded, a number in its spelling.
pub fn digest(values: &[(&str, &[u8])], secret: &SecretBytes) -> SecretBytes {
    let text = encoding::hex(hash(values, secret).as_slice());
    SecretBytes::from_slice(text.as_bytes())
}

/// Whether the secret made this text; compared in constant time, letters of either case.
pub fn verify(values: &[(&str, &[u8])], secret: &SecretBytes, presented: &[u8]) -> bool {
    let Some(presented) = encoding::from_hex(presented) else { return false };
    hash(values, secret).as_slice().ct_eq(&presented).into()
}

/// Hashed piece by piece, so that the joined text with the secret stands nowhere.
fn hash(values: &[(&str, &[u8])], secret: &SecretBytes) -> Zeroizing<[u8; 32]> {
    let mut sorted: Vec<&(&str, &[u8])> = values.iter().collect();
    sorted.sort_by_key(|(name, _)| *name);
    scoured(|| {
        let mut hash = Sha256::new();
        for (position, (_, value)) in sorted.into_iter().enumerate() {
            if position > 0 {
                hash.update(b":");
            }
            hash.update(value);
        }
        secret.reveal(|secret| hash.update(secret));
        // In its place: by value the last block would be moved, and left behind.
        Zeroizing::new(hash.finalize_reset().into())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> SecretBytes {
        SecretBytes::from_slice(text.as_bytes())
    }

    fn bytes<'v>(values: &[(&'v str, &'v str)]) -> Vec<(&'v str, &'v [u8])> {
        values.iter().map(|(name, value)| (*name, value.as_bytes())).collect()
    }

    fn hex(values: &[(&str, &str)], with: &str) -> String {
        digest(&bytes(values), &secret(with)).reveal(|hex| String::from_utf8(hex.to_vec()).unwrap())
    }

    type Fields = &'static [(&'static str, &'static str)];

    /// The examples that the provider and its family publish (values, secret, digest), names out of
    /// order on purpose.
    const PUBLISHED: [(Fields, &str, &str); 5] = [
        (
            &[
                ("shop_order_id", "4126"),
                ("amount", "12.34"),
                ("payway", "card_uah"),
                ("currency", "980"),
                ("shop_id", "5"),
            ],
            "SecretKey01",
            "4c2608a8638c0650d54dd4809bd69ab50d1a1cd55f2e13366b68d43caee34104",
        ),
        (
            &[
                ("payway", "perfectmoney_usd"),
                ("shop_id", "5"),
                ("amount", "12.34"),
                ("shop_order_id", "4126"),
                ("currency", "643"),
            ],
            "SecretKey01",
            "07a596eb1dbcb83d5a7b2f1c9572d455af7e71b9ea5c32e3c3892f099ae67ac2",
        ),
        (
            &[("shop_order_id", "101"), ("shop_id", "1"), ("currency", "980"), ("amount", "10.00")],
            "SecretKey01",
            "7354edb970dae3b496572252d7d7578fc8e0f1061b2e69a9eda1b39f3cdadc69",
        ),
        (
            &[("currency", "643"), ("amount", "10.00"), ("shop_order_id", "101"), ("shop_id", "5")],
            "SecretKey01",
            "e4580435a252d61ef91b71cb23ed7bee4d77de94ced36411526d2ce3b66ada8f",
        ),
        (
            &[
                ("shop_order_id", "5b0efa8a-153b-4421-abac-2aba4d772a86"),
                ("shop_id", "1520"),
                ("payway", "card_invoice_usd"),
                ("currency", "840"),
                ("amount", "6320.91"),
            ],
            "account-secret-key",
            "77a6f7a30876d480d4e771d08cb83800dd5cb874664c77e515ffc052b20293c6",
        ),
    ];

    /// Neither `description` (empty) nor `addons` (null) is among the values; `zero` is.
    const CALLBACK: Fields = &[
        ("shop_id", "158"),
        ("shop_order_id", "ord-7"),
        ("payment_id", "1001"),
        ("status", "success"),
        ("shop_amount", "100.50"),
        ("shop_currency", "840"),
        ("zero", "0"),
    ];
    const CALLBACK_DIGEST: &str =
        "4f6b172af68681833c29fb79c27fdd3e8cdc59b3acfab31f7d97a2407c9dfeb9";

    #[test]
    fn the_published_requests_have_the_published_digests() {
        for (values, with, expected) in PUBLISHED {
            assert_eq!(hex(values, with), expected);
            assert!(verify(&bytes(values), &secret(with), expected.as_bytes()));
        }
    }

    #[test]
    fn a_callback_counts_every_value_that_is_there_and_zero_is() {
        assert_eq!(hex(CALLBACK, "demo_secret"), CALLBACK_DIGEST);
        assert!(verify(&bytes(CALLBACK), &secret("demo_secret"), CALLBACK_DIGEST.as_bytes()));
        let without_zero = &CALLBACK[..CALLBACK.len() - 1];
        assert_ne!(hex(without_zero, "demo_secret"), CALLBACK_DIGEST);
    }

    #[test]
    fn names_are_ordered_as_bytes_and_not_as_words() {
        let one = hex(&[("a", "3"), ("B", "1"), ("_", "2"), ("a_", "5"), ("aB", "4")], "s");
        // printf '1:2:3:4:5s' | openssl dgst -sha256
        assert_eq!(one, "70d6ed10496613f3059eb7cd92a3feeb5c0b8d0574432192120d68c4347ae80a");
    }

    #[test]
    fn a_value_counts_in_the_spelling_that_was_sent() {
        let spellings = ["1", "1.0", "1.00", "1e0", "01", "100000000000000000000.10"];
        let mut seen: Vec<_> =
            spellings.iter().map(|amount| hex(&[("amount", amount)], "s")).collect();
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), spellings.len());
    }

    #[test]
    fn the_secret_follows_the_last_value_without_a_colon() {
        // printf secret | openssl dgst -sha256
        assert_eq!(
            hex(&[], "secret"),
            "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b"
        );
        assert_eq!(hex(&[("a", "x")], "y"), hex(&[("a", "")], "xy"));
        assert_ne!(hex(&[("a", "x"), ("b", "")], "y"), hex(&[("a", "x")], "y"));
    }

    #[test]
    fn the_digest_is_read_in_either_case_and_in_no_other_form() {
        let (values, with) = (bytes(CALLBACK), secret("demo_secret"));
        assert!(verify(&values, &with, CALLBACK_DIGEST.to_uppercase().as_bytes()));
        let (short, long) = (&CALLBACK_DIGEST[..62], format!("{CALLBACK_DIGEST}00"));
        let spaced = format!(" {CALLBACK_DIGEST}");
        for bad in ["", short, &CALLBACK_DIGEST[..63], &long, &spaced, "null"] {
            assert!(!verify(&values, &with, bad.as_bytes()), "{bad}");
        }
    }

    #[test]
    fn another_secret_or_any_flipped_bit_is_refused() {
        let good = CALLBACK_DIGEST.as_bytes();
        let values = bytes(CALLBACK);
        assert!(!verify(&values, &secret("demo_secreT"), good));
        for at in 0..good.len() {
            let mut digest = good.to_vec();
            digest[at] = if digest[at] == b'0' { b'1' } else { b'0' };
            assert!(!verify(&values, &secret("demo_secret"), &digest), "digit {at}");
        }
        for at in 0..values.len() {
            let mut changed = values.clone();
            let mut value = changed[at].1.to_vec();
            value[0] ^= 1;
            changed[at].1 = &value;
            assert!(!verify(&changed, &secret("demo_secret"), good), "value {at}");
        }
    }
}
