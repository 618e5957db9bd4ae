//! Records that another process has: what is asked of it, and how it answers.
//!
//! Once a vault was handed over, the old process still finishes requests. Each of its operations on
//! a store is then one question to the new process, which carries it out on the one store there is:
//! whatever either of them does, the other sees. Only sealed bytes and their names cross.

use std::sync::Arc;

use super::Vault;
use super::code::Code;
use super::memory::MemoryStore;
use super::record::Reader;
use super::sealed::{NAME_BYTES, Name, SALT_BYTES, Sealed, Stamp};
use super::store::Refused;
use super::transfer::Ask;
use crate::card::Timestamp;

/// Which of the vault's stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Place {
    Cards = 0,
    States = 1,
    Marks = 2,
    Onces = 3,
}

const INSERT: u8 = 1;
const PUT: u8 = 2;
const GET: u8 = 3;
const CONTAINS: u8 = 4;
const REPLACE_IF: u8 = 5;
const TAKE_IF: u8 = 6;
const REMOVE: u8 = 7;
const SET_CODE: u8 = 8;
const TAKE_CODE: u8 = 9;
const PUT_CODE_BACK: u8 = 10;
const HAS_RESERVE: u8 = 11;
const HAS_PLACE: u8 = 12;

/// The first byte of an answer; a record may follow.
const NO: u8 = 0;
const YES: u8 = 1;
const FULL: u8 = 2;
const TAKEN: u8 = 3;

/// A store of another process. Whoever does not answer has nothing, and room for nothing.
#[derive(Clone)]
pub(super) struct Elsewhere {
    ask: Ask,
    place: Place,
}

impl Elsewhere {
    pub(super) fn new(ask: &Ask, place: Place) -> Self {
        Self { ask: Arc::clone(ask), place }
    }

    fn asked(&self, operation: u8, parts: &[&[u8]]) -> Option<Vec<u8>> {
        let head = [operation, self.place as u8];
        let question = std::iter::once(&head[..]).chain(parts.iter().copied());
        (self.ask)(&question.collect::<Vec<_>>().concat())
    }

    fn is(&self, operation: u8, parts: &[&[u8]]) -> bool {
        self.asked(operation, parts).as_deref() == Some(&[YES])
    }

    fn record(&self, operation: u8, parts: &[&[u8]]) -> Option<Sealed> {
        let answer = self.asked(operation, parts)?;
        Sealed::given(answer.strip_prefix(&[YES])?)
    }

    pub(super) fn insert(&self, sealed: &Sealed, now: Timestamp) -> Result<(), Refused> {
        match self.asked(INSERT, &[&bytes(now), sealed.bytes()]).as_deref() {
            Some([YES]) => Ok(()),
            Some([TAKEN]) => Err(Refused::Taken),
            _ => Err(Refused::Full),
        }
    }

    pub(super) fn put(&self, sealed: &Sealed) -> Result<(), Refused> {
        if self.is(PUT, &[sealed.bytes()]) { Ok(()) } else { Err(Refused::Full) }
    }

    pub(super) fn get(&self, name: &Name, now: Timestamp) -> Option<Sealed> {
        self.record(GET, &[&bytes(now), &name.0])
    }

    pub(super) fn contains(&self, name: &Name, now: Timestamp) -> bool {
        self.is(CONTAINS, &[&bytes(now), &name.0])
    }

    pub(super) fn replace_if(&self, seen: Stamp, next: &Sealed) -> bool {
        self.is(REPLACE_IF, &[&seen.0, next.bytes()])
    }

    pub(super) fn take_if(&self, name: &Name, seen: Stamp) -> Option<Sealed> {
        self.record(TAKE_IF, &[&seen.0, &name.0])
    }

    pub(super) fn remove(&self, name: &Name) -> bool {
        self.is(REMOVE, &[&name.0])
    }

    pub(super) fn set_code(&self, name: &Name, code: &Code, now: Timestamp) -> bool {
        self.is(SET_CODE, &[&bytes(now), &name.0, code])
    }

    pub(super) fn take_code(&self, name: &Name, seen: Stamp) -> bool {
        self.is(TAKE_CODE, &[&seen.0, &name.0])
    }

    pub(super) fn put_code_back(&self, name: &Name, code: &Code, now: Timestamp) -> bool {
        self.is(PUT_CODE_BACK, &[&bytes(now), &name.0, code])
    }

    pub(super) fn has_reserve(&self) -> bool {
        self.is(HAS_RESERVE, &[])
    }

    pub(super) fn has_place(&self, tenant: &str) -> bool {
        self.is(HAS_PLACE, &[tenant.as_bytes()])
    }
}

const fn bytes(now: Timestamp) -> [u8; 8] {
    now.as_millis().to_be_bytes()
}

impl Vault {
    /// Carries out what a process asks that handed its records over. Empty for what is no question.
    #[must_use]
    pub fn answer(&self, question: &[u8]) -> Vec<u8> {
        self.answered(question).unwrap_or_default()
    }

    fn answered(&self, question: &[u8]) -> Option<Vec<u8>> {
        let mut reader = Reader::new(question);
        let operation = reader.u8()?;
        let store = self.store_at(reader.u8()?)?;
        answered_by(store, operation, reader)
    }

    fn store_at(&self, place: u8) -> Option<&MemoryStore> {
        match place {
            place if place == Place::Cards as u8 => Some(&self.cards),
            place if place == Place::States as u8 => Some(&self.states),
            place if place == Place::Marks as u8 => Some(&self.marks),
            place if place == Place::Onces as u8 => Some(&self.onces),
            _ => None,
        }
    }
}

fn answered_by(store: &MemoryStore, operation: u8, mut reader: Reader<'_>) -> Option<Vec<u8>> {
    let outcome = |outcome: Result<(), Refused>| match outcome {
        Ok(()) => vec![YES],
        Err(Refused::Full) => vec![FULL],
        Err(Refused::Taken) => vec![TAKEN],
    };
    let yes = |is: bool| vec![if is { YES } else { NO }];
    let record = |sealed: Option<Sealed>| match sealed {
        Some(sealed) => [&[YES], sealed.bytes()].concat(),
        None => vec![NO],
    };
    let answer = match operation {
        INSERT => {
            let now = time(&mut reader)?;
            outcome(store.insert(Sealed::given(reader.rest())?, now))
        }
        PUT => outcome(store.put(Sealed::given(reader.rest())?)),
        GET => {
            let now = time(&mut reader)?;
            record(store.get(&name(&mut reader)?, now))
        }
        CONTAINS => {
            let now = time(&mut reader)?;
            yes(store.contains(&name(&mut reader)?, now))
        }
        REPLACE_IF => {
            let seen = stamp(&mut reader)?;
            yes(store.replace_if(seen, Sealed::given(reader.rest())?))
        }
        TAKE_IF => {
            let seen = stamp(&mut reader)?;
            record(store.take_if(&name(&mut reader)?, seen))
        }
        REMOVE => yes(store.remove(&name(&mut reader)?)),
        SET_CODE => {
            let (now, name) = (time(&mut reader)?, name(&mut reader)?);
            yes(store.set_code(&name, code(reader)?, now))
        }
        TAKE_CODE => {
            let seen = stamp(&mut reader)?;
            yes(store.take_code(&name(&mut reader)?, seen))
        }
        PUT_CODE_BACK => {
            let (now, name) = (time(&mut reader)?, name(&mut reader)?);
            yes(store.put_code_back(&name, code(reader)?, now))
        }
        HAS_RESERVE => yes(store.has_reserve()),
        HAS_PLACE => yes(store.has_place(std::str::from_utf8(reader.rest()).ok()?)),
        _ => return None,
    };
    Some(answer)
}

fn time(reader: &mut Reader<'_>) -> Option<Timestamp> {
    reader.u64().map(Timestamp::from_millis)
}

fn name(reader: &mut Reader<'_>) -> Option<Name> {
    reader.chunk::<NAME_BYTES>().map(|name| Name(*name))
}

/// What is left, which must be a code and nothing else.
fn code(reader: Reader<'_>) -> Option<&Code> {
    reader.rest().try_into().ok()
}

fn stamp(reader: &mut Reader<'_>) -> Option<Stamp> {
    reader.chunk::<SALT_BYTES>().map(|stamp| Stamp(*stamp))
}
