//! The provider's credentials, should they come back in an answer: starred out wherever they stand,
//! in whatever spelling.
//!
//! An error page that repeats the `Authorization` header, or a second copy of a bearer token at a
//! place that no profile names, must not hand the application what it is not to have.

use http::HeaderValue;

use crate::provider::Account;
use crate::secret::{CleartextBody, SecretBytes};
use crate::wire::{Span, Spelled};

/// Shorter secrets are not searched for: they would be found by accident.
const SHORTEST: usize = 8;
/// How many secrets an account and a payment have, as a rule.
const HELD: usize = 8;
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
        let shared = shared.chain(&credentials.public_key);
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
        let (spelled, mut is_in) = (Spelled::of(value.as_bytes()), false);
        self.each(|secret| is_in |= spelled.holds(secret));
        is_in
    }

    /// Stars in the place of each; the length stays, and so does JSON.
    pub(super) fn star_out(&self, body: &mut CleartextBody) -> usize {
        let spelled = Spelled::of(body.as_bytes());
        let mut places = Vec::new();
        self.each(|secret| places.extend(spelled.places(secret)));
        drop(spelled);
        for Span { start, end } in &places {
            let bytes = body.as_mut_bytes().get_mut(*start..*end);
            bytes.into_iter().for_each(|bytes| bytes.fill(b'*'));
        }
        places.len()
    }

    fn each(&self, mut look: impl FnMut(&[u8])) {
        let found = self.found.iter().map(|secret| (secret, 0));
        for (secret, skipped) in self.held.iter().copied().chain(found) {
            secret.reveal(|secret| match secret.get(skipped..).map(without_padding) {
                Some(secret) if secret.len() >= SHORTEST => look(secret),
                _ => {}
            });
        }
    }
}

/// Base64 tells as much without it.
pub(super) fn without_padding(secret: &[u8]) -> &[u8] {
    let padding = secret.iter().rev().take_while(|byte| **byte == b'=').count();
    secret.get(..secret.len() - padding).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_copy_is_starred_in_every_spelling() {
        let mut concealed = Concealed::default();
        concealed.add(b"abc/defgh");
        concealed.add(b"short");
        concealed.add(b"/beginning==");
        let text =
            br#"{"a":"abc/defgh","b":"x abc\/defgh y abc\u002Fdefgh","c":"short","d":"\/beginning"}"#;
        let mut body = CleartextBody::from(text.to_vec());
        let header = |text: &[u8]| HeaderValue::from_bytes(text).unwrap();
        assert!(concealed.is_in_header(&header(text)));
        assert_eq!(concealed.star_out(&mut body), 4);
        let expected =
            br#"{"a":"*********","b":"x ********** y **************","c":"short","d":"***********"}"#;
        assert_eq!(body.as_bytes(), expected);
        assert!(!concealed.is_in_header(&header(expected)));
    }
}
