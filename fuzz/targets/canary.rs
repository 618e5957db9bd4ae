//! The card that inputs are planted with, and the search for it.

/// No issuer's real number.
pub const PAN: &[u8] = b"5519283812030000";

/// The input with the number where a byte is that no text has, a bar on either side: what stands
/// right at a number that nobody knows, a digit more or a letter, may make it another one.
pub fn planted(input: &[u8]) -> Vec<u8> {
    let number = [b"|", PAN, b"|"].concat();
    let mut bytes = Vec::with_capacity(input.len());
    for byte in input {
        match byte {
            0xff => bytes.extend_from_slice(&number),
            byte => bytes.push(*byte),
        }
    }
    bytes
}

/// The number is nowhere with its bars.
#[allow(dead_code, reason = "some targets know more of it")]
pub fn assert_gone(bytes: &[u8]) {
    let planted = [b"|", PAN, b"|"].concat();
    assert!(!contains(bytes, &planted), "the number came back");
}

pub fn contains(bytes: &[u8], what: &[u8]) -> bool {
    bytes.windows(what.len()).any(|window| window == what)
}
