//! A root key on paper, in shares for several people: lines to be printed, kept apart and typed in
//! at start.
//!
//! A line is `pks1` and 80 letters and digits in groups of four: the share's number, how many are
//! needed, four bytes that all shares of a key have in common, the share itself, and four bytes of
//! a digest over all of it. Inside of what is shared the key has a digest, too: shares that were
//! altered on purpose do not give another key.

use std::fmt;

use zeroize::Zeroizing;

use crate::secret::{SecretBytes, ct_eq, fill_random, interpolate, scoured, sha256, split};

/// The most shares of a key.
pub const SHARES_MAX: u8 = 16;
/// What a share begins with.
const PREFIX: &[u8] = b"pks1";
const KEY_BYTES: usize = 32;
/// The key, and eight bytes of its digest.
const SHARED_BYTES: usize = KEY_BYTES + 8;
const SET_BYTES: usize = 4;
const HEAD_BYTES: usize = 2 + SET_BYTES;
const SUM_BYTES: usize = 4;
const LINE_BYTES: usize = HEAD_BYTES + SHARED_BYTES + SUM_BYTES;
/// No two that are read alike: neither i, l, o nor u.
const LETTERS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
const GROUP: usize = 4;

/// Why a share was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShareError {
    /// It does not look like one.
    NotAShare,
    /// Its digest is wrong.
    Mistyped,
    /// It is of a key that needs another number of shares.
    Threshold(u8),
    /// It is of another key than the first one.
    Foreign,
    /// It was given before.
    Twice,
    /// The shares fit together and give no key: one was altered on purpose.
    Altered,
}

impl fmt::Display for ShareError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAShare => f.write_str("is not a share: pks1 and 20 groups of four characters"),
            Self::Mistyped => f.write_str("has a typing error"),
            Self::Threshold(needed) => {
                write!(f, "belongs to a key that needs {needed} shares; set shares = {needed}")
            }
            Self::Foreign => f.write_str("belongs to another key than the first share"),
            Self::Twice => f.write_str("was given before"),
            Self::Altered => f.write_str("completes no key: a share was altered"),
        }
    }
}

impl std::error::Error for ShareError {}

/// One share, read from its line. Wiped on drop; on the heap, where it is not copied by moving.
struct Share(Zeroizing<Vec<u8>>);

impl Share {
    fn number(&self) -> u8 {
        self.0.first().copied().unwrap_or_default()
    }

    fn threshold(&self) -> u8 {
        self.0.get(1).copied().unwrap_or_default()
    }

    fn set(&self) -> &[u8] {
        self.0.get(2..HEAD_BYTES).unwrap_or_default()
    }

    fn shared(&self) -> &[u8] {
        self.0.get(HEAD_BYTES..LINE_BYTES - SUM_BYTES).unwrap_or_default()
    }

    fn parse(line: &[u8]) -> Result<Self, ShareError> {
        let signs = line.iter().filter(|sign| !matches!(sign, b'-' | b' ' | b'\t' | b'\r'));
        let signs = Zeroizing::new(signs.map(u8::to_ascii_lowercase).collect::<Vec<u8>>());
        let written = signs.strip_prefix(PREFIX).ok_or(ShareError::NotAShare)?;
        let mut bytes = Zeroizing::new(vec![0; LINE_BYTES]);
        decode(written, bytes.as_mut_slice()).ok_or(ShareError::NotAShare)?;
        let (rest, sum) = bytes.split_at(LINE_BYTES - SUM_BYTES);
        if !ct_eq(&digest::<SUM_BYTES>(rest), sum) {
            return Err(ShareError::Mistyped);
        }
        Ok(Self(bytes))
    }

    fn line(&self) -> Zeroizing<String> {
        let mut line = Zeroizing::new(String::with_capacity(8 + 2 * LINE_BYTES));
        PREFIX.iter().for_each(|sign| line.push(char::from(*sign)));
        for (at, bits) in fives(self.0.as_slice()).enumerate() {
            if at % GROUP == 0 {
                line.push('-');
            }
            line.push(char::from(LETTERS.get(usize::from(bits)).copied().unwrap_or_default()));
        }
        line
    }
}

/// The bytes in groups of five bits.
fn fives(bytes: &[u8]) -> impl Iterator<Item = u8> {
    (0..bytes.len() * 8 / 5).map(|at| {
        let bit = |place: usize| bytes.get(place / 8).map_or(0, |byte| byte >> (7 - place % 8) & 1);
        (at * 5..at * 5 + 5).fold(0, |bits, place| bits << 1 | bit(place))
    })
}

/// Nothing unless there are exactly as many signs as the bytes need, all of them known.
fn decode(signs: &[u8], bytes: &mut [u8]) -> Option<()> {
    if signs.len() != bytes.len() * 8 / 5 {
        return None;
    }
    for (at, sign) in signs.iter().enumerate() {
        let sign = match sign {
            b'o' => b'0',
            b'i' | b'l' => b'1',
            sign => *sign,
        };
        let bits = LETTERS.iter().position(|letter| *letter == sign)?;
        for (place, shift) in (at * 5..).zip([4, 3, 2, 1, 0]) {
            *bytes.get_mut(place / 8)? |= u8::from(bits >> shift & 1 == 1) << (7 - place % 8);
        }
    }
    Some(())
}

fn digest<const N: usize>(bytes: &[u8]) -> [u8; N] {
    scoured(|| sha256(&[bytes])).first_chunk().copied().unwrap_or([0; N])
}

/// The lines of a new root key, any `threshold` of which give it back. At most [`SHARES_MAX`].
#[must_use]
pub fn new_root_key_shares(count: u8, threshold: u8) -> Vec<Zeroizing<String>> {
    let mut secret = Zeroizing::new([0; SHARED_BYTES]);
    let (key, check) = secret.split_at_mut(KEY_BYTES);
    fill_random(key);
    check.copy_from_slice(&digest::<8>(key));
    let mut set = [0; SET_BYTES];
    fill_random(&mut set);

    let mut lines = vec![Zeroizing::new(vec![0; LINE_BYTES]); usize::from(count)];
    let mut places = Vec::with_capacity(lines.len());
    for (number, line) in (1..).zip(&mut lines) {
        let (head, rest) = line.split_at_mut(HEAD_BYTES);
        let [first, second, common @ ..] = head else { continue };
        (*first, *second) = (number, threshold);
        common.copy_from_slice(&set);
        places.push(rest.split_at_mut(SHARED_BYTES).0);
    }
    split(secret.as_slice(), threshold, &mut places);
    for line in &mut lines {
        let (rest, sum) = line.split_at_mut(LINE_BYTES - SUM_BYTES);
        sum.copy_from_slice(&digest::<SUM_BYTES>(rest));
    }
    lines.into_iter().map(|line| Share(line).line()).collect()
}

/// Shares of one key, as they are typed in.
pub struct Gathering {
    needed: u8,
    shares: Vec<Share>,
}

impl Gathering {
    /// Waits for so many.
    #[must_use]
    pub fn of(needed: u8) -> Self {
        Self { needed, shares: Vec::with_capacity(usize::from(needed)) }
    }

    /// How many are still needed.
    #[must_use]
    pub fn missing(&self) -> usize {
        usize::from(self.needed).saturating_sub(self.shares.len())
    }

    /// Takes one more line; gives the key with the last one. A line that is refused changes
    /// nothing.
    ///
    /// # Errors
    /// It is none, has a typing error, or does not belong to the others.
    pub fn add(&mut self, line: &[u8]) -> Result<Option<SecretBytes>, ShareError> {
        let share = Share::parse(line)?;
        if share.threshold() != self.needed {
            return Err(ShareError::Threshold(share.threshold()));
        }
        if self.shares.first().is_some_and(|first| first.set() != share.set()) {
            return Err(ShareError::Foreign);
        }
        if self.shares.iter().any(|known| known.number() == share.number()) {
            return Err(ShareError::Twice);
        }
        self.shares.push(share);
        if self.missing() > 0 {
            return Ok(None);
        }
        let key = self.key();
        if key.is_err() {
            self.shares.pop();
        }
        key.map(Some)
    }

    fn key(&self) -> Result<SecretBytes, ShareError> {
        let shares: Vec<_> =
            self.shares.iter().map(|share| (share.number(), share.shared())).collect();
        let mut secret = Zeroizing::new([0; SHARED_BYTES]);
        interpolate(0, &shares, secret.as_mut_slice());
        let (key, check) = secret.split_at(KEY_BYTES);
        if !ct_eq(&digest::<8>(key), check) {
            return Err(ShareError::Altered);
        }
        Ok(SecretBytes::long_lived(key))
    }
}

impl fmt::Debug for Gathering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Gathering(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(count: u8, threshold: u8) -> Vec<String> {
        new_root_key_shares(count, threshold).iter().map(|line| line.to_string()).collect()
    }

    fn gathered(lines: &[&String]) -> Result<Vec<u8>, ShareError> {
        let mut gathering = Gathering::of(u8::try_from(lines.len()).unwrap());
        for line in lines {
            if let Some(key) = gathering.add(line.as_bytes())? {
                return Ok(key.reveal(<[u8]>::to_vec));
            }
        }
        panic!("{} are missing", gathering.missing())
    }

    #[test]
    fn any_so_many_lines_give_the_key_back() {
        let lines = lines(5, 3);
        let key = gathered(&[&lines[0], &lines[1], &lines[2]]).unwrap();
        assert_eq!(key.len(), 32);
        for [a, b, c] in [[4, 3, 2], [0, 4, 2], [1, 3, 0]] {
            assert_eq!(gathered(&[&lines[a], &lines[b], &lines[c]]).unwrap(), key);
        }
        assert_ne!(self::lines(5, 3)[0], lines[0]);
    }

    #[test]
    fn a_line_is_groups_of_four_and_is_read_however_it_is_spelled() {
        let lines = lines(2, 2);
        let groups: Vec<&str> = lines[0].split('-').collect();
        assert_eq!((groups[0], groups.len()), ("pks1", 21));
        assert!(groups.iter().all(|group| group.len() == 4));
        let key = gathered(&[&lines[0], &lines[1]]).unwrap();
        let spelled = lines[0].to_uppercase().replace('-', " ").replace('0', "O");
        let spelled = spelled.replacen("PKS1", "pks1", 1) + "\r";
        let (head, rest) = spelled.split_at(4);
        let spelled = format!("{head}{}", rest.replace('1', "l"));
        assert_eq!(gathered(&[&spelled, &lines[1]]).unwrap(), key);
    }

    #[test]
    fn every_typing_error_is_found() {
        let line = lines(2, 2).remove(0);
        let letters = LETTERS.map(char::from);
        for (place, sign) in line.char_indices().skip(5).filter(|(_, sign)| *sign != '-') {
            for other in letters.into_iter().filter(|other| *other != sign) {
                let mut wrong = line.clone();
                wrong.replace_range(place..=place, &other.to_string());
                assert_eq!(Share::parse(wrong.as_bytes()).err(), Some(ShareError::Mistyped));
            }
        }
        let plain = line.replace('-', "");
        for place in 4..plain.len() - 1 {
            let mut swapped = plain.clone().into_bytes();
            swapped.swap(place, place + 1);
            if swapped != plain.as_bytes() {
                assert_eq!(Share::parse(&swapped).err(), Some(ShareError::Mistyped));
            }
        }
        let longer = format!("{line}0");
        for none in ["", "pks1", &line[1..], &line[..line.len() - 1], &longer, "pks1-!"] {
            assert_eq!(Share::parse(none.as_bytes()).err(), Some(ShareError::NotAShare));
        }
    }

    #[test]
    fn what_does_not_belong_to_the_others_is_refused_and_changes_nothing() {
        let (lines, others, three) = (lines(3, 2), lines(3, 2), lines(3, 3));
        let mut gathering = Gathering::of(2);
        let mut add = |line: &String| gathering.add(line.as_bytes()).map(|key| key.is_some());
        assert_eq!(add(&three[0]), Err(ShareError::Threshold(3)));
        assert_eq!(add(&lines[1]), Ok(false));
        assert_eq!(add(&lines[1]), Err(ShareError::Twice));
        assert_eq!(add(&others[0]), Err(ShareError::Foreign));
        assert_eq!(add(&lines[2]), Ok(true));
        assert_eq!(format!("{gathering:?}"), "Gathering(..)");
    }

    #[test]
    fn a_share_that_was_altered_on_purpose_gives_no_other_key() {
        let lines = lines(2, 2);
        let mut share = Share::parse(lines[0].as_bytes()).unwrap();
        share.0[HEAD_BYTES] ^= 1;
        let sum: [u8; SUM_BYTES] = digest(&share.0[..LINE_BYTES - SUM_BYTES]);
        share.0[LINE_BYTES - SUM_BYTES..].copy_from_slice(&sum);
        let altered = share.line().to_string();
        assert_eq!(gathered(&[&altered, &lines[1]]), Err(ShareError::Altered));
        // The last line is refused, and the right one gives the key.
        let mut gathering = Gathering::of(2);
        assert!(gathering.add(lines[1].as_bytes()).unwrap().is_none());
        assert_eq!(gathering.add(altered.as_bytes()).err(), Some(ShareError::Altered));
        assert_eq!(gathering.missing(), 1);
        assert!(gathering.add(lines[0].as_bytes()).unwrap().is_some());
    }

    #[test]
    fn a_refusal_says_what_to_do_and_nothing_of_the_share() {
        for (error, words) in [
            (ShareError::NotAShare, "is not a share"),
            (ShareError::Mistyped, "typing error"),
            (ShareError::Threshold(3), "set shares = 3"),
            (ShareError::Foreign, "another key"),
            (ShareError::Twice, "before"),
            (ShareError::Altered, "altered"),
        ] {
            assert!(error.to_string().contains(words), "{error}");
        }
    }
}
