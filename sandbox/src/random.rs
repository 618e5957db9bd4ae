//! Random names and keys for the sandbox. Never a long decimal: nothing here may look like a card
//! number.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::rand::{SecureRandom, SystemRandom};

const ALPHABET: &[u8; 62] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";

/// Bytes from the operating system; without them nothing can go on.
#[must_use]
pub fn bytes(count: usize) -> Vec<u8> {
    let mut filled = vec![0; count];
    if SystemRandom::new().fill(&mut filled).is_err() {
        eprintln!("sandbox: the operating system gives no randomness");
        std::process::abort();
    }
    filled
}

/// `count` letters and digits, the first one a letter.
#[must_use]
pub fn letters(count: usize) -> String {
    let pick = |(index, byte): (usize, u8)| {
        let range = if index == 0 { 52 } else { ALPHABET.len() };
        ALPHABET.get(usize::from(byte) % range).map_or('a', |letter| char::from(*letter))
    };
    bytes(count).into_iter().enumerate().map(pick).collect()
}

/// The text of a key file as `portcullis keygen` makes one.
#[must_use]
pub fn key_file() -> String {
    format!("portcullis-root-key-v1:{}\n", STANDARD.encode(bytes(32)))
}

/// Lower-case hex of `count` random bytes.
#[must_use]
pub fn hex(count: usize) -> String {
    encode_hex(&bytes(count))
}

/// Lower-case hex of what is given.
#[must_use]
pub fn encode_hex(given: &[u8]) -> String {
    given.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A random name in the spelling of a UUID, as the `sid` of the samples.
#[must_use]
pub fn uuid() -> String {
    let part = |count| hex(count);
    format!("{}-{}-5{}-a{}-{}", part(4), part(2), tail(&part(2)), tail(&part(2)), part(6))
}

fn tail(four: &str) -> &str {
    four.get(1..).unwrap_or_default()
}
