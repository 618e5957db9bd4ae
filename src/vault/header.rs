//! The clear head of a record: what it is, which key sealed it, how long it lives and whose it is.
//! The seal authenticates it.
//!
//! Layout: kind (1) ‖ key version (4) ‖ mode (1) ‖ end of life (8) ‖ tenant ‖ accounts, each name
//! behind its length (1).

use super::record::Reader;
use super::{Account, Accounts, Audience, Owner, Tenant};
use crate::card::{Mode, Timestamp};

/// Where the key version begins: behind the kind.
pub(super) const VERSION: usize = 1;
/// Where the end of its life begins: behind kind, key version and mode.
pub(super) const EXPIRES: usize = VERSION + 4 + 1;

/// What a record is. Part of its name, its key and its associated data. A security code has no
/// record of its own, but a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    Card = 1,
    Cvv = 2,
    Bearer = 3,
    Session = 4,
    Relay = 5,
    Mark = 6,
    Newest = 7,
    Text = 8,
    Once = 9,
}

impl Kind {
    const RECORDS: [Self; 8] = [
        Self::Card,
        Self::Bearer,
        Self::Session,
        Self::Relay,
        Self::Mark,
        Self::Newest,
        Self::Text,
        Self::Once,
    ];
}

/// Who may use a record, written into its header.
#[derive(Clone, Copy)]
pub(super) struct Scope<'a> {
    pub(super) tenant: &'a str,
    pub(super) accounts: &'a Accounts,
    /// Nothing for records that belong to no mode.
    pub(super) mode: Option<Mode>,
}

impl Scope<'_> {
    /// For records that are reached by their random id alone.
    pub(super) const NOBODY: Scope<'static> =
        Scope { tenant: "", accounts: &Accounts::All, mode: None };

    /// Bytes of the header, as long as its names fit.
    pub(super) fn header_len(&self) -> usize {
        let names = match self.accounts {
            Accounts::All => 0,
            Accounts::Only(names) => {
                1 + names.iter().map(|account| 1 + account.as_str().len()).sum::<usize>()
            }
        };
        EXPIRES + 8 + 1 + self.tenant.len() + 1 + names
    }

    /// Appends the header. A length that does not fit its byte is written as the largest one, which
    /// the reader then refuses.
    pub(super) fn write(&self, kind: Kind, version: u32, expires: Timestamp, bytes: &mut Vec<u8>) {
        bytes.push(kind as u8);
        bytes.extend_from_slice(&version.to_be_bytes());
        bytes.push(mode_code(self.mode));
        bytes.extend_from_slice(&expires.as_millis().to_be_bytes());
        let short = |bytes: &mut Vec<u8>, text: &str| {
            bytes.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
            bytes.extend_from_slice(text.as_bytes());
        };
        short(bytes, self.tenant);
        match self.accounts {
            Accounts::All => bytes.push(ALL),
            Accounts::Only(names) => {
                bytes.extend_from_slice(&[ONLY, u8::try_from(names.len()).unwrap_or(u8::MAX)]);
                names.iter().for_each(|account| short(bytes, account.as_str()));
            }
        }
    }
}

impl<'a> From<&'a Owner> for Scope<'a> {
    fn from(owner: &'a Owner) -> Self {
        let Owner { tenant, accounts, mode } = owner;
        Self { tenant: tenant.as_str(), accounts, mode: Some(*mode) }
    }
}

const ALL: u8 = 0;
const ONLY: u8 = 1;

const fn mode_code(mode: Option<Mode>) -> u8 {
    match mode {
        None => 0,
        Some(Mode::Live) => 1,
        Some(Mode::Test) => 2,
    }
}

/// The clear part of a record. To be believed only after the record was opened; before that it may
/// refuse, never allow.
pub(super) struct Header<'a> {
    pub(super) kind: u8,
    pub(super) version: u32,
    mode: u8,
    pub(super) expires: Timestamp,
    tenant: &'a [u8],
    accounts: Option<Names<'a>>,
    pub(super) len: usize,
}

/// Names one behind the other, as they stand in a header that was read to its end.
#[derive(Clone)]
struct Names<'a> {
    left: u8,
    rest: Reader<'a>,
}

impl Names<'_> {
    fn have(&self, account: &str) -> bool {
        self.clone().any(|name| name == account.as_bytes())
    }
}

impl<'a> Iterator for Names<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        self.left = self.left.checked_sub(1)?;
        self.rest.short()
    }
}

impl<'a> Header<'a> {
    pub(super) fn read(bytes: &'a [u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let (kind, version, mode) = (reader.u8()?, reader.u32()?, reader.u8()?);
        let expires = Timestamp::from_millis(reader.u64()?);
        let tenant = reader.short()?;
        let accounts = match reader.u8()? {
            ALL => None,
            ONLY => {
                let names = Names { left: reader.u8()?, rest: reader.clone() };
                (0..names.left).try_for_each(|_| reader.short().map(drop))?;
                Some(names)
            }
            _ => return None,
        };
        let len = bytes.len().checked_sub(reader.rest().len())?;
        Some(Self { kind, version, mode, expires, tenant, accounts, len })
    }

    pub(super) const fn is(&self, kind: Kind) -> bool {
        self.kind == kind as u8
    }

    pub(super) fn kind(&self) -> Option<Kind> {
        Kind::RECORDS.into_iter().find(|kind| *kind as u8 == self.kind)
    }

    pub(super) fn tenant(&self) -> &'a str {
        std::str::from_utf8(self.tenant).unwrap_or_default()
    }

    pub(super) fn is_of(&self, tenant: &Tenant, mode: Mode) -> bool {
        self.tenant == tenant.as_str().as_bytes() && self.mode == mode_code(Some(mode))
    }

    pub(super) fn admits(&self, audience: &Audience) -> bool {
        self.is_of(&audience.tenant, audience.mode)
            && self.accounts.as_ref().is_none_or(|names| names.have(audience.account.as_str()))
    }

    /// Whether it was kept for this account by name.
    pub(super) fn is_for(&self, account: &str, mode: Mode) -> bool {
        self.mode == mode_code(Some(mode))
            && self.accounts.as_ref().is_some_and(|names| names.have(account))
    }

    /// The owner, where the record has one.
    pub(super) fn owner(&self) -> Option<Owner> {
        let mode = match self.mode {
            1 => Mode::Live,
            2 => Mode::Test,
            _ => return None,
        };
        let accounts = match &self.accounts {
            None => Accounts::All,
            Some(names) => {
                let read = |name| Some(Account::new(std::str::from_utf8(name).ok()?));
                Accounts::Only(names.clone().map(read).collect::<Option<_>>()?)
            }
        };
        let tenant = Tenant::new(std::str::from_utf8(self.tenant).ok()?);
        Some(Owner { tenant, accounts, mode })
    }
}
