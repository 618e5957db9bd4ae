//! A secret in shares: so many of them give it back, fewer tell nothing of it (A. Shamir, "How to
//! share a secret", 1979). Byte by byte over GF(2⁸) with the polynomial of AES; no table and no
//! branch depends on a secret.

use super::{fill_random, wipe};

/// A share: where it lies on the polynomials, and their values there.
pub type Share<'s> = (u8, &'s [u8]);

/// Splits `secret` into the shares at 1, 2, …: any `threshold` of them give it back. Each is
/// written into one of `shares`, which are as long as the secret.
pub fn split(secret: &[u8], threshold: u8, shares: &mut [&mut [u8]]) {
    let mut coefficients = vec![0; usize::from(threshold.saturating_sub(1))];
    for (at, byte) in secret.iter().enumerate() {
        fill_random(&mut coefficients);
        for (x, share) in (1..).zip(shares.iter_mut()) {
            let higher = coefficients.iter().fold(0, |sum, next| times(sum, x) ^ next);
            if let Some(place) = share.get_mut(at) {
                *place = times(higher, x) ^ byte;
            }
        }
    }
    wipe(&mut coefficients);
}

/// Writes the value at `at` of the polynomials through these shares; the secret is at 0. Shares
/// are as long as `value` and lie at different places.
pub fn interpolate(at: u8, shares: &[Share<'_>], value: &mut [u8]) {
    wipe(value);
    for (x, share) in shares {
        // Lagrange: 1 at this share, 0 at every other.
        let others = shares.iter().map(|(other, _)| *other).filter(|other| other != x);
        let weight =
            others.fold(1, |product, other| times(product, times(at ^ other, inverse(x ^ other))));
        value.iter_mut().zip(*share).for_each(|(sum, byte)| *sum ^= times(weight, *byte));
    }
}

/// The product in GF(2⁸) modulo x⁸ + x⁴ + x³ + x + 1.
fn times(mut a: u8, mut b: u8) -> u8 {
    let mut product = 0;
    for _ in 0..8 {
        product ^= a & (b & 1).wrapping_neg();
        a = (a << 1) ^ (0x1b & (a >> 7).wrapping_neg());
        b >>= 1;
    }
    product
}

/// The inverse: the 254th power, since every 255th is 1.
fn inverse(a: u8) -> u8 {
    (0..7)
        .fold((1, a), |(product, power), _| {
            let power = times(power, power);
            (times(product, power), power)
        })
        .0
}

#[cfg(test)]
mod tests {
    use super::*;
    use hmac::{Hmac, KeyInit as _, Mac as _};
    use proptest::prelude::*;
    use serde_json::Value;

    fn shares(secret: &[u8], threshold: u8, count: u8) -> Vec<(u8, Vec<u8>)> {
        let mut shares = vec![vec![0; secret.len()]; usize::from(count)];
        let mut places: Vec<&mut [u8]> = shares.iter_mut().map(Vec::as_mut_slice).collect();
        split(secret, threshold, &mut places);
        (1..).zip(shares).collect()
    }

    fn value(at: u8, shares: &[(u8, Vec<u8>)]) -> Vec<u8> {
        let mut value = vec![7; shares[0].1.len()];
        let shares: Vec<Share<'_>> = shares.iter().map(|(x, bytes)| (*x, &bytes[..])).collect();
        interpolate(at, &shares, &mut value);
        value
    }

    #[test]
    fn products_are_those_of_the_standard_and_every_number_has_its_inverse() {
        // FIPS 197, 4.2 and 4.2.1.
        assert_eq!((times(0x57, 0x83), times(0x57, 0x13), times(0x57, 0x10)), (0xc1, 0xfe, 0x07));
        for a in 1..=255 {
            assert_eq!(times(a, inverse(a)), 1, "{a}");
            assert_eq!((times(a, 1), times(a, 0), times(0, a)), (a, 0, 0));
        }
    }

    /// SLIP-39 keeps a secret at 255 and, at 254, a digest of it under random bytes: both must come
    /// out of its published shares. Origin: tests/vectors/SOURCES.md.
    #[test]
    fn the_published_shares_of_slip_39_agree() {
        let text = include_str!("../../tests/vectors/slip39_shares.json");
        let cases: Vec<Value> = serde_json::from_str(text).unwrap();
        assert_eq!(cases.len(), 11);
        for case in cases {
            let hex = |text: &str| -> Vec<u8> {
                let byte = |at| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
                (0..text.len()).step_by(2).map(byte).collect()
            };
            let shares: Vec<(u8, Vec<u8>)> = case["shares"]
                .as_array()
                .unwrap()
                .iter()
                .map(|share| {
                    (
                        u8::try_from(share[0].as_u64().unwrap()).unwrap(),
                        hex(share[1].as_str().unwrap()),
                    )
                })
                .collect();
            let (secret, check) = (value(255, &shares), value(254, &shares));
            let mut mac = Hmac::<sha2::Sha256>::new_from_slice(&check[4..]).unwrap();
            mac.update(&secret);
            assert_eq!(mac.finalize().into_bytes()[..4], check[..4], "{}", case["vector"]);
        }
    }

    /// With one share of two every secret is as likely as any other: the share takes all values.
    #[test]
    fn one_share_too_few_tells_nothing() {
        let mut seen = [false; 256];
        for _ in 0..8000 {
            let shares = shares(&[0x41], 2, 2);
            seen[usize::from(shares[1].1[0])] = true;
        }
        assert!(seen.iter().all(|seen| *seen));
    }

    proptest! {
        #[test]
        fn any_so_many_shares_give_the_secret_back(
            secret in proptest::collection::vec(any::<u8>(), 1..50),
            (count, threshold) in (2..=16u8).prop_flat_map(|count| (Just(count), 2..=count)),
            order: u64,
        ) {
            let mut shares = shares(&secret, threshold, count);
            let turned = usize::try_from(order % u64::from(count)).unwrap();
            shares.rotate_left(turned);
            shares.truncate(usize::from(threshold));
            prop_assert_eq!(&value(0, &shares), &secret);
            for (x, share) in &shares[1..] {
                prop_assert_eq!(&value(*x, &shares), share);
            }
        }
    }
}
