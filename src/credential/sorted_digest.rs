//! The Piastrix family's digest: values sorted by name, joined with colons, the secret behind them,
//! SHA-256 in lower-case hexadecimal.
//!
//! A value counts as the text that was sent: a number keeps the digits it was written with. There is no
//! time inside, so a replay verifies. Over a clear card the digest is as secret as the card.

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use crate::secret::SecretBytes;

/// The digest over values with their names.
pub fn digest(values: &[(&str, &[u8])], secret: &SecretBytes) -> SecretBytes {
    let mut sorted: Vec<_> = values.iter().collect();
    sorted.sort_by_key(|(name, _)| *name);
    let mut hash = Sha256::new();
    for (index, (_, value)) in sorted.into_iter().enumerate() {
        if index > 0 {
            hash.update(b":");
        }
        hash.update(value);
    }
    secret.reveal(|secret| hash.update(secret));
    let digest: Zeroizing<[u8; 32]> = Zeroizing::new(hash.finalize().into());
    SecretBytes::new(digest.iter().flat_map(|byte| hex(*byte)).collect())
}

/// Whether this digest was made with the secret; compared in constant time, in either case of letters.
pub fn verify(values: &[(&str, &[u8])], secret: &SecretBytes, presented: &[u8]) -> bool {
    let presented = presented.to_ascii_lowercase();
    digest(values, secret).reveal(|good| bool::from(good.ct_eq(&presented)))
}

fn hex(byte: u8) -> [u8; 2] {
    let digit = |nibble: u8| if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 };
    [digit(byte >> 4), digit(byte & 15)]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// (fields as name=value, secret, digest): the five that the family publishes.
    const PUBLISHED: [(&[(&str, &str)], &str, &str); 5] = [
        (
            &[
                ("shop_order_id", "4126"),
                ("amount", "12.34"),
                ("shop_id", "5"),
                ("payway", "card_uah"),
                ("currency", "980"),
            ],
            "SecretKey01",
            "4c2608a8638c0650d54dd4809bd69ab50d1a1cd55f2e13366b68d43caee34104",
        ),
        (
            &[
                ("amount", "12.34"),
                ("currency", "643"),
                ("payway", "perfectmoney_usd"),
                ("shop_id", "5"),
                ("shop_order_id", "4126"),
            ],
            "SecretKey01",
            "07a596eb1dbcb83d5a7b2f1c9572d455af7e71b9ea5c32e3c3892f099ae67ac2",
        ),
        (
            &[
                ("shop_amount", "980"),
                ("payer_currency", "10.00"),
                ("shop_currency", "1"),
                ("shop_id", "101"),
            ],
            "SecretKey01",
            "7354edb970dae3b496572252d7d7578fc8e0f1061b2e69a9eda1b39f3cdadc69",
        ),
        (
            &[("amount", "10.00"), ("currency", "643"), ("shop_id", "5"), ("shop_order_id", "101")],
            "SecretKey01",
            "e4580435a252d61ef91b71cb23ed7bee4d77de94ced36411526d2ce3b66ada8f",
        ),
        (
            &[
                ("shop_order_id", "5b0efa8a-153b-4421-abac-2aba4d772a86"),
                ("amount", "6320.91"),
                ("currency", "840"),
                ("payway", "card_invoice_usd"),
                ("shop_id", "1520"),
            ],
            "account-secret-key",
            "77a6f7a30876d480d4e771d08cb83800dd5cb874664c77e515ffc052b20293c6",
        ),
    ];

    fn pairs<'v>(fields: &[(&'v str, &'v str)]) -> Vec<(&'v str, &'v [u8])> {
        fields.iter().map(|(name, value)| (*name, value.as_bytes())).collect()
    }

    #[test]
    fn the_published_digests_come_out() {
        for (fields, secret, expected) in PUBLISHED {
            let secret = SecretBytes::from_slice(secret.as_bytes());
            let seen = digest(&pairs(fields), &secret).reveal(<[u8]>::to_vec);
            assert_eq!(String::from_utf8(seen).unwrap(), expected);
            assert!(verify(&pairs(fields), &secret, expected.as_bytes()));
            assert!(verify(&pairs(fields), &secret, expected.to_uppercase().as_bytes()));
            assert!(!verify(&pairs(fields), &secret, &expected.as_bytes()[1..]));
            let other = SecretBytes::from_slice(b"other");
            assert!(!verify(&pairs(fields), &other, expected.as_bytes()));
        }
    }

    /// A callback's digest covers all fields that are neither null nor empty; zero counts.
    #[test]
    fn a_callbacks_digest_comes_out() {
        let fields = [
            ("shop_id", "158"),
            ("shop_order_id", "ord-7"),
            ("payment_id", "1001"),
            ("status", "success"),
            ("shop_amount", "100.50"),
            ("shop_currency", "840"),
            ("zero", "0"),
        ];
        let secret = SecretBytes::from_slice(b"demo_secret");
        let seen = digest(&pairs(&fields), &secret).reveal(<[u8]>::to_vec);
        let expected = b"4f6b172af68681833c29fb79c27fdd3e8cdc59b3acfab31f7d97a2407c9dfeb9";
        assert_eq!(seen, expected);
    }
}
