//! The provider's credentials, should they come back in an answer: starred out wherever they stand.
//!
//! An error page that repeats the `Authorization` header, or a second copy of a bearer token at a
//! place that no profile names, must not hand the application what it is not to have.

use http::HeaderValue;
use memchr::memmem;

use crate::credential::Basic;
use crate::provider::Account;
use crate::secret::{CleartextBody, SecretBytes};

/// Shorter secrets are not searched for: they would be found by accident.
const SHORTEST: usize = 8;

/// Values that must not be passed on.
#[derive(Debug, Default)]
pub(super) struct Concealed(Vec<SecretBytes>);

impl Concealed {
    /// What an account proves itself with.
    pub(super) fn of(account: &Account) -> Self {
        let mut concealed = Self::default();
        let credentials = &account.credentials;
        if let Some(basic) = &credentials.basic {
            basic.key().reveal(|key| concealed.add(key));
            encoded(basic).reveal(|pair| concealed.add(pair));
        }
        let shared = credentials.secret.iter().chain(&account.callback_keys.secrets);
        shared.for_each(|secret| secret.reveal(|secret| concealed.add(secret)));
        concealed
    }

    /// One more, in the spellings that JSON has for it: a slash may be escaped.
    pub(super) fn add(&mut self, secret: &[u8]) {
        if secret.len() < SHORTEST {
            return;
        }
        self.0.push(SecretBytes::from_slice(secret));
        if secret.contains(&b'/') {
            let text = String::from_utf8_lossy(secret).replace('/', "\\/");
            self.0.push(SecretBytes::new(text.into_bytes()));
        }
    }

    /// Whether one of them stands there.
    pub(super) fn is_in(&self, text: &[u8]) -> bool {
        self.0.iter().any(|secret| secret.reveal(|secret| memmem::find(text, secret).is_some()))
    }

    pub(super) fn is_in_header(&self, value: &HeaderValue) -> bool {
        self.is_in(value.as_bytes())
    }

    /// Stars in the place of each; the length stays, and so does JSON.
    pub(super) fn star_out(&self, body: &mut CleartextBody) -> usize {
        let mut found = 0;
        for secret in &self.0 {
            secret.reveal(|secret| {
                let places: Vec<usize> = memmem::find_iter(body.as_bytes(), secret).collect();
                for at in &places {
                    let place = body.as_mut_bytes().get_mut(*at..*at + secret.len());
                    place.into_iter().for_each(|place| place.fill(b'*'));
                }
                found += places.len();
            });
        }
        found
    }
}

/// The pair as the header carries it, without the scheme's name.
fn encoded(basic: &Basic) -> SecretBytes {
    basic
        .header_value()
        .reveal(|value| SecretBytes::from_slice(value.strip_prefix(b"Basic ").unwrap_or(value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_copy_is_starred_in_both_spellings_of_a_slash() {
        let mut concealed = Concealed::default();
        concealed.add(b"abc/defgh");
        concealed.add(b"short");
        let text = br#"{"a":"abc/defgh","b":"x abc\/defgh y abc/defgh","c":"short"}"#;
        let mut body = CleartextBody::from(text.to_vec());
        assert!(concealed.is_in(body.as_bytes()));
        assert_eq!(concealed.star_out(&mut body), 3);
        let expected = br#"{"a":"*********","b":"x ********** y *********","c":"short"}"#;
        assert_eq!(body.as_bytes(), expected);
        assert!(!concealed.is_in(body.as_bytes()));
    }
}
