//! What applications hold is worthless anywhere else: none of it is an account's real secret, nor
//! another application's. One application may hold the same at several accounts.

use std::cell::RefCell;

use crate::caller::App;
use crate::secret::{SecretBytes, ct_eq, scoured, sha256};

use super::reader::{Place, Table};
use super::secrets;

/// Every secret of the accounts that was read so far.
#[derive(Default)]
pub(super) struct Known(RefCell<Vec<Held>>);

struct Held {
    place: Place,
    /// The application that holds it; none where it is an account's real one.
    app: Option<String>,
    /// Of each of its spellings.
    digests: Vec<[u8; 32]>,
}

/// The table of whoever holds secrets: what is read from it is known from then on.
pub(super) struct Keys<'k, 'd> {
    pub table: &'k Table<'d>,
    /// None for an account's real ones.
    pub app: Option<&'k str>,
    pub known: &'k Known,
}

impl Keys<'_, '_> {
    /// A secret that must be there.
    pub(super) fn required(&self, key: &str) -> Option<SecretBytes> {
        secrets::required(self.table, key).inspect(|secret| self.note(key, secret, None))
    }

    /// A secret that may be missing.
    pub(super) fn optional(&self, key: &str) -> Option<SecretBytes> {
        secrets::optional(self.table, key).inspect(|secret| self.note(key, secret, None))
    }

    /// A list of secrets; missing means empty.
    pub(super) fn list(&self, key: &str) -> Vec<SecretBytes> {
        let secrets = secrets::list(self.table, key);
        secrets.iter().for_each(|secret| self.note(key, secret, None));
        secrets
    }

    /// Keeps the text of a secret in mind, and a spelling that does not depend on its file.
    pub(super) fn note(&self, key: &str, text: &SecretBytes, also: Option<&SecretBytes>) {
        let digest = |secret: &SecretBytes| secret.reveal(|bytes| *scoured(|| sha256(&[bytes])));
        let digests = [Some(text), also].into_iter().flatten().map(digest).collect();
        let (place, app) = (self.table.place(key), self.app.map(str::to_owned));
        self.known.0.borrow_mut().push(Held { place, app, digests });
    }
}

impl Known {
    /// Keeps in mind the keys by which an application is known, which are their digests.
    pub(super) fn note_keys(&self, app: &App, place: Place) {
        let (owner, digests) = (app.tenant.as_str().to_owned(), app.key_hashes.clone());
        self.0.borrow_mut().push(Held { place, app: Some(owner), digests });
    }

    /// Says which secrets of applications are an account's, or those of an application before.
    pub(super) fn check(self, root: &Table<'_>) {
        let mut held = self.0.into_inner();
        held.sort_by(|one, other| one.place.cmp(&other.place));
        for (at, own) in held.iter().enumerate().filter(|(_, own)| own.app.is_some()) {
            let real = held.iter().filter(|other| other.app.is_none());
            let earlier = held.iter().take(at);
            let earlier = earlier.filter(|other| other.app.is_some() && other.app != own.app);
            if let Some(other) = real.chain(earlier).find(|other| own.is_same(other)) {
                let message = format!("is the same as {}; give each its own", other.place.path());
                root.fail_there(&own.place, &message);
            }
        }
    }
}

impl Held {
    fn is_same(&self, other: &Self) -> bool {
        let has = |digest| other.digests.iter().any(|known| ct_eq(known, digest));
        self.digests.iter().any(|digest| has(digest))
    }
}
