//! The provider's credentials, should they come back in an answer: starred out wherever they stand.
//!
//! An error page that repeats the `Authorization` header, or a second copy of a bearer token at a
//! place that no profile names, must not hand the application what it is not to have.

use std::ops::Range;

use http::HeaderValue;
use memchr::memmem;

use crate::provider::Account;
use crate::secret::{CleartextBody, SecretBytes};

/// Shorter secrets are not searched for: they would be found by accident.
const SHORTEST: usize = 8;
/// How many secrets an account and a payment have, as a rule.
const HELD: usize = 8;
/// From so many bytes on a search that prepares itself is the faster one.
const LONG: usize = 2048;
/// The scheme's name in front of a Basic pair.
const BASIC: usize = "Basic ".len();

/// Values that must not be passed on.
#[derive(Debug, Default)]
pub(super) struct Concealed<'a> {
    /// The account's own, each without so many bytes at its beginning.
    held: Vec<(&'a SecretBytes, usize)>,
    /// What came up on the way.
    found: Vec<SecretBytes>,
}

impl<'a> Concealed<'a> {
    /// What an account proves itself with.
    pub(super) fn of(account: &'a Account) -> Self {
        let credentials = &account.credentials;
        let basic = credentials.basic.iter();
        let basic = basic.flat_map(|basic| [(basic.key(), 0), (basic.header_value(), BASIC)]);
        let shared = credentials.secret.iter().chain(&account.callback_keys.secrets);
        let mut held = Vec::with_capacity(HELD);
        held.extend(basic.chain(shared.map(|secret| (secret, 0))));
        Self { held, found: Vec::new() }
    }

    /// One more of the account's or the payment's own.
    pub(super) fn hold(&mut self, secret: &'a SecretBytes) {
        self.held.push((secret, 0));
    }

    /// One more that an answer brought.
    pub(super) fn add(&mut self, secret: &[u8]) {
        self.found.push(SecretBytes::from_slice(secret));
    }

    /// Whether one of them stands there.
    pub(super) fn is_in_header(&self, value: &HeaderValue) -> bool {
        let mut is_in = false;
        self.each(|secret| is_in |= find(value.as_bytes(), secret, 0).is_some());
        is_in
    }

    /// Stars in the place of each; the length stays, and so does JSON.
    pub(super) fn star_out(&self, body: &mut CleartextBody) -> usize {
        let mut count = 0;
        self.each(|secret| {
            let mut from = 0;
            while let Some(place) = find(body.as_bytes(), secret, from) {
                from = place.end;
                body.as_mut_bytes().get_mut(place).into_iter().for_each(|place| place.fill(b'*'));
                count += 1;
            }
        });
        count
    }

    fn each(&self, mut look: impl FnMut(&[u8])) {
        let found = self.found.iter().map(|secret| (secret, 0));
        for (secret, skipped) in self.held.iter().copied().chain(found) {
            secret.reveal(|secret| match secret.get(skipped..) {
                Some(secret) if secret.len() >= SHORTEST => look(secret),
                _ => {}
            });
        }
    }
}

/// Where the secret stands next, in either spelling that JSON has for a slash.
fn find(text: &[u8], secret: &[u8], from: usize) -> Option<Range<usize>> {
    let rest = text.get(from..).filter(|rest| rest.len() >= secret.len())?;
    let spelled = |start: usize| Some(start..spelled_end(text, start, secret)?);
    if rest.len() < LONG {
        let first = *secret.first()?;
        return memchr::memchr_iter(first, rest).find_map(|at| spelled(from + at));
    }
    let head = secret.split(|byte| *byte == b'/').next().unwrap_or_default();
    memmem::find_iter(rest, head).find_map(|at| spelled(from + at))
}

/// The end of the secret, if it stands at `at`.
fn spelled_end(text: &[u8], mut at: usize, secret: &[u8]) -> Option<usize> {
    for byte in secret {
        if *byte == b'/' && text.get(at) == Some(&b'\\') {
            at += 1;
        }
        if text.get(at) != Some(byte) {
            return None;
        }
        at += 1;
    }
    Some(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_and_long_texts_are_searched_alike() {
        for filler in [0, 1, LONG - 1, LONG, 3 * LONG] {
            let text =
                [b"ab".repeat(filler), b"abc\\/defgh".to_vec(), b"a".repeat(filler)].concat();
            let start = 2 * filler;
            assert_eq!(find(&text, b"abc/defgh", 0), Some(start..start + 10));
            assert_eq!(find(&text, b"abc/defgh", start + 1), None);
            assert_eq!(find(&text, b"abc/defghi", 0), None);
        }
    }

    #[test]
    fn every_copy_is_starred_in_both_spellings_of_a_slash() {
        let mut concealed = Concealed::default();
        concealed.add(b"abc/defgh");
        concealed.add(b"short");
        let text = br#"{"a":"abc/defgh","b":"x abc\/defgh y abc/defgh","c":"short"}"#;
        let mut body = CleartextBody::from(text.to_vec());
        let header = |text: &[u8]| HeaderValue::from_bytes(text).unwrap();
        assert!(concealed.is_in_header(&header(text)));
        assert_eq!(concealed.star_out(&mut body), 3);
        let expected = br#"{"a":"*********","b":"x ********** y *********","c":"short"}"#;
        assert_eq!(body.as_bytes(), expected);
        assert!(!concealed.is_in_header(&header(expected)));
    }
}
