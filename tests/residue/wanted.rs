//! What no memory may hold: the cards of the test, security codes, keys.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use sha2::block_api::compress256;

use portcullis_sandbox::visitor::TypedCard;

use super::house::HOLDER;
use super::scan::Wanted;

/// Every card of the test begins like this: a test number's first six digits, and two that do not
/// repeat them.
const BEGINNING: &str = "41111173";

/// What HMAC adds to a key (RFC 2104).
const INNER: u8 = 0x36;
const OUTER: u8 = 0x5c;
/// Initial hash value of SHA-256 (FIPS 180-4, 5.3.3).
const SHA256_START: [u32; 8] = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];

/// The card with this number in the test's own series: one of four has thirteen digits, which fit
/// where sixteen do not.
pub(crate) fn card(serial: usize) -> TypedCard {
    let front = match serial % 4 {
        3 => format!("{BEGINNING}{:04}", serial / 4),
        _ => format!("{BEGINNING}{serial:07}"),
    };
    let doubled = front.bytes().rev().enumerate().map(|(place, digit)| {
        let value = u32::from(digit - b'0') * if place % 2 == 0 { 2 } else { 1 };
        value / 10 + value % 10
    });
    let check = (10 - doubled.sum::<u32>() % 10) % 10;
    let cvv = format!("{:03}", 1 + serial % 999);
    TypedCard { cvv, holder: HOLDER.to_owned(), ..TypedCard::number(&format!("{front}{check}")) }
}

/// The cards up to a serial number; codes where they are recognised as such; the keys that come
/// from this root key.
pub(crate) fn everything(cards: usize, root_key: &[u8; 32]) -> Vec<Wanted> {
    let numbers = (0..cards).map(|serial| card(serial).number.into_bytes()).collect();
    let cards = Wanted { kind: "card number", beginning: BEGINNING.into(), all: numbers };
    let mut wanted = vec![cards];
    wanted.extend(codes());
    wanted.extend(keys(root_key));
    wanted
}

fn codes() -> Vec<Wanted> {
    // As JSON, as JSON within a string, as a form, in a part of one, as providers print it; in a
    // record, behind the header of a card for all accounts of the shop.
    let in_json = [r#""cvv":""#, r#""cvv": ""#, r#""cvv\":\""#];
    let elsewhere = ["&cvv=", "name=\"cvv\"\r\n\r\n", "(cvv ", "cvv=\"", "shop\0"];
    in_json
        .into_iter()
        .chain(elsewhere)
        .map(|before| Wanted {
            kind: if before == "shop\0" { "code in a record" } else { "security code" },
            beginning: before.into(),
            all: (0..1_000).map(|code| format!("{before}{code:03}").into_bytes()).collect(),
        })
        .collect()
}

/// The root key, the key of fingerprints that is derived from it, and the states that HMAC keeps
/// of both: what the product holds for as long as it runs.
fn keys(root_key: &[u8; 32]) -> Vec<Wanted> {
    let label = b"\x0ffingerprint key";
    let fingerprint_key = by_states(root_key, label);
    let mut mac = Hmac::<Sha256>::new_from_slice(root_key).unwrap();
    mac.update(label);
    assert_eq!(fingerprint_key, *mac.finalize().into_bytes(), "not what HMAC keeps");
    let mut wanted = Vec::new();
    for (name, state_name, key) in [
        ("root key", "state of the root key", root_key),
        ("derived key", "state of a derived key", &fingerprint_key),
    ] {
        wanted.push(key_wanted(name, *key));
        let states = [INNER, OUTER].map(|padding| in_memory(state(key, padding)));
        wanted.extend(states.map(|state| key_wanted(state_name, state)));
    }
    wanted
}

fn key_wanted(kind: &'static str, key: [u8; 32]) -> Wanted {
    Wanted { kind, beginning: key[..8].to_vec(), all: vec![key.to_vec()] }
}

/// SHA-256 after the key block.
fn state(key: &[u8; 32], padding: u8) -> [u32; 8] {
    let mut block = [padding; 64];
    block.iter_mut().zip(key).for_each(|(place, byte)| *place ^= byte);
    let mut state = SHA256_START;
    compress256(&mut state, &[block]);
    state
}

fn in_memory(state: [u32; 8]) -> [u8; 32] {
    state.map(u32::to_ne_bytes).concat().try_into().unwrap()
}

/// HMAC of a short text, from those states alone.
fn by_states(key: &[u8; 32], text: &[u8]) -> [u8; 32] {
    let finish = |mut state: [u32; 8], text: &[u8]| -> [u8; 32] {
        let mut block = [0; 64];
        block[..text.len()].copy_from_slice(text);
        block[text.len()] = 0x80;
        block[62..].copy_from_slice(&u16::try_from((64 + text.len()) * 8).unwrap().to_be_bytes());
        compress256(&mut state, &[block]);
        state.map(u32::to_be_bytes).concat().try_into().unwrap()
    };
    finish(state(key, OUTER), &finish(state(key, INNER), text))
}

/// The 32 bytes in the text of a root key file.
pub(crate) fn root_key_in(text: &str) -> [u8; 32] {
    let encoded = text.trim().rsplit(':').next().unwrap();
    STANDARD.decode(encoded).unwrap().try_into().unwrap()
}
