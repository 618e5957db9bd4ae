//! Capture sessions: the right of a browser, opened by an application, to hand in a few cards.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::fmt;
use std::sync::{Mutex, PoisonError};

use super::header::{Kind, Scope};
use super::record::{Reader, Writer};
use super::seal::{Address, Opened};
use super::sealed::SALT_BYTES;
use super::{Draft, Owner, Tenant, Vault, VaultError};
use crate::card::{SessionId, Timestamp};
use crate::secret::{CleartextBody, Random};

/// What a session allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// To whom the cards will belong.
    pub owner: Owner,
    /// The origin of the page that hands them in.
    pub origin: String,
    /// Where a form that is a page of its own takes the browser afterwards; empty where it may not.
    pub return_url: String,
    /// How the card form looks, as its page reads it.
    pub theme: String,
    /// How many more.
    pub cards_left: u32,
    /// Until when.
    pub expires: Timestamp,
}

/// A session as it was found.
pub struct SeenSession {
    /// What it allows.
    pub session: Session,
    opened: Opened,
}

impl fmt::Debug for SeenSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SeenSession(..)")
    }
}

impl Session {
    fn write(&self, cards_left: u32) -> CleartextBody {
        let texts = [&self.theme, &self.return_url];
        let room = 12 + self.origin.len() + self.theme.len() + self.return_url.len();
        let writer = Writer::with_capacity(room).u32(cards_left);
        let writer = texts.iter().fold(writer, |writer, text| writer.bytes(text.as_bytes()));
        writer.raw(self.origin.as_bytes()).done()
    }

    fn read(opened: &Opened) -> Option<Self> {
        let header = opened.header()?;
        let mut reader = Reader::new(opened.plain());
        let cards_left = reader.u32()?;
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
        let (theme, return_url) = (text(reader.bytes()?)?, text(reader.bytes()?)?);
        let (owner, expires) = (header.owner()?, header.expires);
        let origin = text(reader.rest())?;
        Some(Self { owner, origin, return_url, theme, cards_left, expires })
    }
}

/// When the open sessions of each application end, so that one of them cannot take all the room.
/// Applications come from the configuration, so there are few.
#[derive(Default)]
pub(super) struct OpenSessions(Mutex<HashMap<Tenant, Ends>>);

/// The soonest is on top.
type Ends = BinaryHeap<Reverse<Timestamp>>;

impl OpenSessions {
    /// Counts a session that another process opened.
    pub(super) fn taken_over(&self, tenant: Tenant, expires: Timestamp) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.entry(tenant).or_default().push(Reverse(expires));
    }

    /// Counts the session that `keep` keeps, unless there are `most` already.
    fn count(
        &self,
        tenant: &Tenant,
        expires: Timestamp,
        most: usize,
        now: Timestamp,
        keep: impl FnOnce() -> Result<(), VaultError>,
    ) -> Result<(), VaultError> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let ends = all.entry(tenant.clone()).or_default();
        while ends.peek().is_some_and(|Reverse(end)| *end <= now) {
            ends.pop();
        }
        if ends.len() >= most {
            return Err(VaultError::Full);
        }
        keep()?;
        ends.push(Reverse(expires));
        Ok(())
    }
}

impl Vault {
    /// Opens a session.
    ///
    /// # Errors
    /// No room; as many open sessions of this application as it may have.
    pub fn open_session(&self, session: Session, now: Timestamp) -> Result<SessionId, VaultError> {
        self.room_for_payment()?;
        let id = SessionId::random();
        let plain = session.write(session.cards_left);
        let draft = Draft {
            address: session_address(&id),
            scope: Scope::from(&session.owner),
            expires: session.expires,
            plain: plain.as_bytes(),
        };
        let keep = || self.insert(&draft, &mut Random::fetch(SALT_BYTES), now);
        let Session { owner, expires, .. } = &session;
        self.open_sessions.count(
            &owner.tenant,
            *expires,
            self.limits.sessions_per_app,
            now,
            keep,
        )?;
        Ok(id)
    }

    /// What a session allows, cards left or not.
    ///
    /// # Errors
    /// No such session.
    pub fn session(&self, id: &SessionId, now: Timestamp) -> Result<SeenSession, VaultError> {
        let opened = self.open(&session_address(id), now, |_| true)?;
        let session = Session::read(&opened).ok_or(VaultError::NotFound)?;
        Ok(SeenSession { session, opened })
    }

    /// Uses a session for one card; returns how many are left.
    ///
    /// # Errors
    /// No such session, or no card left.
    pub fn use_session(
        &self,
        id: &SessionId,
        seen: &SeenSession,
        now: Timestamp,
    ) -> Result<u32, VaultError> {
        if let Some(left) = self.take_card(id, seen)? {
            return Ok(left);
        }
        // Each round that fails was another caller's card, so there are no more rounds than cards.
        loop {
            if let Some(left) = self.take_card(id, &self.session(id, now)?)? {
                return Ok(left);
            }
        }
    }

    /// Nothing, if the session is not any more as it was seen.
    fn take_card(&self, id: &SessionId, seen: &SeenSession) -> Result<Option<u32>, VaultError> {
        let SeenSession { session, opened } = seen;
        let left = session.cards_left.checked_sub(1).ok_or(VaultError::NotFound)?;
        let next = session.write(left);
        let taken = self.advance(&session_address(id), opened, next.as_bytes())?;
        Ok(taken.then_some(left))
    }
}

fn session_address(id: &SessionId) -> Address<'_> {
    Address { kind: Kind::Session, bits: id.random_part(), further: &[] }
}
