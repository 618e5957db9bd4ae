//! A card's security code, at the end of its card's record: sealed under a key of its own that both
//! tokens go into, with an end of its own, and taken out without touching the card.
//!
//! Layout: salt (16) ‖ key version (4) ‖ end of life (8) ‖ ciphertext (4) ‖ tag (16), zeros where
//! there never was a code. One that was taken leaves its salt behind: it comes back only to a place
//! where no other one was since.

use super::header::Kind;
use super::seal::{Address, Root};
use super::sealed::{NAME_BYTES, Name, SALT_BYTES, Sealed, Stamp, TAG_BYTES};
use crate::card::{Cvv, Timestamp};
use crate::secret::wipe;

/// Of the longest code.
const DIGITS: usize = 4;
/// Behind a shorter one, so that the record does not tell its length.
const PADDING: u8 = b' ';
const VERSION: usize = SALT_BYTES;
const EXPIRES: usize = VERSION + 4;
const MESSAGE: usize = EXPIRES + 8;
/// Bytes at the end of a card's record.
pub(super) const CODE_BYTES: usize = MESSAGE + DIGITS + TAG_BYTES;

/// A code in clear, for as long as it is sealed or opened. Lent and not moved, and wiped on drop.
pub(super) struct Digits([u8; DIGITS]);

impl Digits {
    pub(super) const fn none() -> Self {
        Self([PADDING; DIGITS])
    }

    pub(super) fn read(&mut self, cvv: &Cvv) {
        cvv.reveal(|cvv| {
            self.0.iter_mut().zip(cvv.bytes()).for_each(|(place, digit)| *place = digit);
        });
    }

    pub(super) fn cvv(&self) -> Option<Cvv> {
        Cvv::parse(self.0.trim_ascii_end()).ok()
    }
}

impl Drop for Digits {
    fn drop(&mut self) {
        wipe(&mut self.0);
    }
}

/// What stands behind a card. A store and another process see no more of a code; it is lent from
/// record to record and never moved, so that no copy is left when it burns.
pub(super) type Code = [u8; CODE_BYTES];

impl Root {
    /// Seals a security code into its card's record; `salt` is random and never used again.
    pub(super) fn seal_code(
        &self,
        address: &Address<'_>,
        (card, salt): (&mut Sealed, [u8; SALT_BYTES]),
        expires: Timestamp,
        digits: &Digits,
    ) -> Option<()> {
        let name = card.name();
        let (head, sealed) = card.code_mut()?.split_first_chunk_mut::<MESSAGE>()?;
        let parts = salt.into_iter().chain(self.version().to_be_bytes());
        let parts = parts.chain(expires.as_millis().to_be_bytes());
        head.iter_mut().zip(parts).for_each(|(place, byte)| *place = byte);
        let (message, tag) = sealed.split_first_chunk_mut::<DIGITS>()?;
        *message = digits.0;
        let bound = bound(name, head);
        let made = self.encrypt(address, &salt, &bound, message)?;
        *tag.first_chunk_mut()? = made;
        Some(())
    }

    /// Opens the code in a card's record. Nothing when a byte of it, of the record's name or of its
    /// tokens is not what was sealed.
    pub(super) fn open_code(
        &self,
        address: &Address<'_>,
        card: &Sealed,
        digits: &mut Digits,
    ) -> Option<()> {
        let code = card.code().filter(|code| version(code) == self.version())?;
        let (head, sealed) = code.split_first_chunk::<MESSAGE>()?;
        let (message, tag) = sealed.split_first_chunk::<DIGITS>()?;
        digits.0 = *message;
        let (Stamp(salt), bound) = (stamp(code), bound(card.name(), head));
        self.decrypt(address, &salt, &bound, &mut digits.0, tag.try_into().ok()?)
    }
}

/// What a code is bound to beside its key: its card's name, its key's version and its end.
fn bound(Name(name): Name, head: &[u8; MESSAGE]) -> [u8; NAME_BYTES + MESSAGE - VERSION] {
    let mut bound = [0; NAME_BYTES + MESSAGE - VERSION];
    let parts = name.iter().chain(head.iter().skip(VERSION));
    bound.iter_mut().zip(parts).for_each(|(place, byte)| *place = *byte);
    bound
}

/// The code in a card's record. Other records have none.
impl Sealed {
    pub(super) fn code(&self) -> Option<&Code> {
        if self.is(Kind::Card) { self.bytes().last_chunk() } else { None }
    }

    fn code_mut(&mut self) -> Option<&mut Code> {
        if self.is(Kind::Card) { self.bytes_mut().last_chunk_mut() } else { None }
    }

    /// Whether one is there whose time is not over.
    pub(super) fn has_code(&self, now: Timestamp) -> bool {
        self.code().is_some_and(|code| lives(code, now))
    }

    /// Tells one code of a card from the next.
    pub(super) fn code_stamp(&self) -> Option<Stamp> {
        self.code().map(stamp)
    }

    /// The version of the root key that sealed it.
    pub(super) fn code_version(&self) -> Option<u32> {
        self.code().map(version)
    }

    pub(super) fn set_code(&mut self, code: &Code) -> bool {
        let Some(place) = self.code_mut() else { return false };
        *place = *code;
        true
    }

    /// Removes the code of this stamp: of any number of callers, one does.
    pub(super) fn take_code(&mut self, seen: Stamp) -> bool {
        let here = |code: &&mut Code| stamp(code) == seen && !is_empty(code);
        let Some(code) = self.code_mut().filter(here) else { return false };
        empty(code);
        true
    }

    /// Puts a code back that was taken, unless another one was there since or its time is over.
    pub(super) fn put_code_back(&mut self, code: &Code, now: Timestamp) -> bool {
        let free =
            |place: &&mut Code| lives(code, now) && stamp(place) == stamp(code) && is_empty(place);
        let Some(place) = self.code_mut().filter(free) else { return false };
        *place = *code;
        true
    }

    /// Removes a code whose time is over.
    pub(super) fn expire_code(&mut self, now: Timestamp) {
        let is_over = |code: &&mut Code| !is_empty(code) && !lives(code, now);
        if let Some(code) = self.code_mut().filter(is_over) {
            empty(code);
        }
    }
}

fn stamp(code: &Code) -> Stamp {
    Stamp(code.first_chunk().copied().unwrap_or_default())
}

fn version(code: &Code) -> u32 {
    let version = code.get(VERSION..).and_then(<[u8]>::first_chunk);
    u32::from_be_bytes(version.copied().unwrap_or_default())
}

fn lives(code: &Code, now: Timestamp) -> bool {
    let millis = code.get(EXPIRES..).and_then(<[u8]>::first_chunk);
    Timestamp::from_millis(u64::from_be_bytes(millis.copied().unwrap_or_default())) > now
}

/// Whether no code is there; one that is has an end.
fn is_empty(code: &Code) -> bool {
    !lives(code, Timestamp::from_millis(0))
}

/// Leaves the salt, and nothing that opens.
fn empty(code: &mut Code) {
    if let Some(sealed) = code.get_mut(SALT_BYTES..) {
        wipe(sealed);
    }
}

#[cfg(test)]
mod tests {
    use super::super::header::Scope;
    use super::*;
    use crate::secret::SecretBytes;

    const END: Timestamp = Timestamp::from_secs(2_000);
    const CARD: [u8; 20] = [7; 20];
    const CODE: [u8; 20] = [9; 20];

    fn root(version: u32, byte: u8) -> Root {
        Root::read(version, &SecretBytes::from_slice(&[byte; 32])).unwrap()
    }

    const fn address<'a>(card: &'a [u8; 20], code: &'a [u8]) -> Address<'a> {
        Address { kind: Kind::Cvv, bits: card, further: code }
    }

    fn card(name: u8) -> Sealed {
        let address = Address { kind: Kind::Card, bits: &CARD, further: &[] };
        let place = (Name([name; NAME_BYTES]), [1; SALT_BYTES]);
        root(1, 1).seal(&address, place, &Scope::NOBODY, END, b"card").unwrap()
    }

    fn sealed(salt: u8) -> Sealed {
        let (mut card, digits) = (card(3), Digits(*b"987 "));
        let place = (&mut card, [salt; SALT_BYTES]);
        root(1, 1).seal_code(&address(&CARD, &CODE), place, END, &digits).unwrap();
        card
    }

    fn opens(root: &Root, card: &[u8; 20], code: &[u8], sealed: &Sealed) -> bool {
        let mut digits = Digits::none();
        let opened = root.open_code(&address(card, code), sealed, &mut digits);
        opened.is_some() && digits.0 == *b"987 "
    }

    #[test]
    fn what_was_sealed_opens_by_both_tokens_in_its_cards_record_alone() {
        let (own, right) = (root(1, 1), sealed(5));
        assert!(opens(&own, &CARD, &CODE, &right));
        assert!(!opens(&own, &[8; 20], &CODE, &right), "another card's token");
        assert!(!opens(&own, &CARD, &[8; 20], &right), "another code's token");
        assert!(!opens(&own, &CARD, &[], &right), "none");
        assert!(!opens(&root(1, 2), &CARD, &CODE, &right), "another root key");
        assert!(!opens(&root(2, 1), &CARD, &CODE, &right), "another version");
        let mut elsewhere = card(4);
        assert!(elsewhere.set_code(right.code().unwrap()));
        assert!(!opens(&own, &CARD, &CODE, &elsewhere), "another record");
        assert_eq!((right.code_version(), right.has_code(END)), (Some(1), false));
        assert!(right.has_code(Timestamp::from_millis(END.as_millis() - 1)));
    }

    #[test]
    fn every_flipped_bit_of_a_code_keeps_it_shut() {
        for place in 0..CODE_BYTES {
            for bit in 0..8 {
                let mut wrong = sealed(5);
                wrong.code_mut().unwrap()[place] ^= 1 << bit;
                let own = root(wrong.code_version().unwrap(), 1);
                assert!(!opens(&own, &CARD, &CODE, &wrong), "byte {place} bit {bit}");
            }
        }
    }

    #[test]
    fn nothing_of_the_digits_is_in_it_and_two_seals_share_nothing_of_them() {
        let (one, other) = (sealed(5), sealed(6));
        assert!(!one.bytes().windows(3).any(|window| window == b"987"));
        let [one_code, other_code] = [&one, &other].map(|card| &card.code().unwrap()[MESSAGE..]);
        assert_ne!(one_code, other_code);
        assert_ne!(one.code_stamp(), other.code_stamp());
    }
}
