//! A card's security code, at the end of its card's record: sealed under a key of its own that both
//! tokens go into, with an end of its own, and taken out without touching the card.
//!
//! Layout: salt (16) ‖ key version (4) ‖ end of life (8) ‖ ciphertext (4) ‖ tag (16), zeros where
//! there never was a code. One that was taken leaves its salt behind: it comes back only to a place
//! where no other one was since.

use super::header::Kind;
use super::seal::{Address, Name, Root, SALT_BYTES, Sealed, Stamp, TAG_BYTES};
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

/// A security code as it lies in its record, or what is left of one. Wiped on drop: what burns
/// there must not be left behind here.
pub(super) struct SealedCode([u8; CODE_BYTES]);

impl SealedCode {
    /// Tells one code of a card from the next.
    pub(super) fn stamp(&self) -> Stamp {
        stamp(&self.0)
    }

    /// The version of the root key that sealed it.
    pub(super) fn version(&self) -> u32 {
        version(&self.0)
    }

    pub(super) fn lives(&self, now: Timestamp) -> bool {
        lives(&self.0, now)
    }

    /// All of it, for another process that has the keys.
    pub(super) const fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// A code as another process gave it.
    pub(super) fn given(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }
}

impl Drop for SealedCode {
    fn drop(&mut self) {
        wipe(&mut self.0);
    }
}

impl Root {
    /// Seals a card's code, to lie in the record of this name; `salt` is random and never used
    /// again.
    pub(super) fn seal_code(
        &self,
        address: &Address<'_>,
        (name, salt): (Name, [u8; SALT_BYTES]),
        expires: Timestamp,
        digits: &Digits,
    ) -> Option<SealedCode> {
        let mut code = SealedCode([0; CODE_BYTES]);
        let (head, sealed) = code.0.split_first_chunk_mut::<MESSAGE>()?;
        let parts = salt.into_iter().chain(self.version().to_be_bytes());
        let parts = parts.chain(expires.as_millis().to_be_bytes());
        head.iter_mut().zip(parts).for_each(|(place, byte)| *place = byte);
        let (message, tag) = sealed.split_first_chunk_mut::<DIGITS>()?;
        *message = digits.0;
        let bound = bound(name, head);
        let made = self.encrypt(address, &salt, &bound, message)?;
        tag.iter_mut().zip(made).for_each(|(place, byte)| *place = byte);
        Some(code)
    }

    /// Opens a code that lies in the record of this name. Nothing when a byte of it or of its
    /// tokens is not what was sealed.
    pub(super) fn open_code(
        &self,
        address: &Address<'_>,
        name: Name,
        code: &SealedCode,
        digits: &mut Digits,
    ) -> Option<()> {
        if code.version() != self.version() {
            return None;
        }
        let (head, sealed) = code.0.split_first_chunk::<MESSAGE>()?;
        let (message, tag) = sealed.split_first_chunk::<DIGITS>()?;
        digits.0 = *message;
        let (salt, bound) = (code.stamp().0, bound(name, head));
        self.decrypt(address, &salt, &bound, &mut digits.0, tag.try_into().ok()?)
    }
}

/// What a code is bound to beside its key: its card's name, its key's version and its end.
fn bound(Name(name): Name, head: &[u8; MESSAGE]) -> [u8; SALT_BYTES + MESSAGE - VERSION] {
    let mut bound = [0; SALT_BYTES + MESSAGE - VERSION];
    let parts = name.iter().chain(head.iter().skip(VERSION));
    bound.iter_mut().zip(parts).for_each(|(place, byte)| *place = *byte);
    bound
}

/// What a store does to the code in a card's record. Other records have none.
impl Sealed {
    fn place(&self) -> Option<&[u8; CODE_BYTES]> {
        if self.is(Kind::Card) { self.bytes().last_chunk() } else { None }
    }

    fn place_mut(&mut self) -> Option<&mut [u8; CODE_BYTES]> {
        if self.is(Kind::Card) { self.bytes_mut().last_chunk_mut() } else { None }
    }

    /// A copy of what lies there.
    pub(super) fn code(&self) -> SealedCode {
        SealedCode(self.place().copied().unwrap_or([0; CODE_BYTES]))
    }

    pub(super) fn set_code(&mut self, code: &SealedCode) -> bool {
        let Some(place) = self.place_mut() else { return false };
        *place = code.0;
        true
    }

    /// Removes the code of this stamp: of any number of callers, one does.
    pub(super) fn take_code(&mut self, seen: Stamp) -> bool {
        let here = |place: &&mut [u8; CODE_BYTES]| stamp(place) == seen && !is_empty(place);
        let Some(place) = self.place_mut().filter(here) else { return false };
        empty(place);
        true
    }

    /// Puts a code back that was taken, unless another one was there since.
    pub(super) fn put_code_back(&mut self, code: &SealedCode) -> bool {
        let free = |place: &&mut [u8; CODE_BYTES]| stamp(place) == code.stamp() && is_empty(place);
        let Some(place) = self.place_mut().filter(free) else { return false };
        *place = code.0;
        true
    }

    /// Removes a code whose life is over.
    pub(super) fn expire_code(&mut self, now: Timestamp) {
        let over = |place: &&mut [u8; CODE_BYTES]| !is_empty(place) && !lives(place, now);
        if let Some(place) = self.place_mut().filter(over) {
            empty(place);
        }
    }

    /// Whether a root key is needed to open it or its code.
    pub(super) fn needs(&self, root: u32, now: Timestamp) -> bool {
        let by_code = |place| lives(place, now) && version(place) == root;
        self.version() == root || self.place().is_some_and(by_code)
    }
}

fn stamp(place: &[u8; CODE_BYTES]) -> Stamp {
    Stamp(place.first_chunk().copied().unwrap_or_default())
}

fn version(place: &[u8; CODE_BYTES]) -> u32 {
    let version = place.get(VERSION..).and_then(<[u8]>::first_chunk);
    u32::from_be_bytes(version.copied().unwrap_or_default())
}

fn lives(place: &[u8; CODE_BYTES], now: Timestamp) -> bool {
    let millis = place.get(EXPIRES..).and_then(<[u8]>::first_chunk);
    Timestamp::from_millis(u64::from_be_bytes(millis.copied().unwrap_or_default())) > now
}

/// Whether no code is there; one that is has an end.
fn is_empty(place: &[u8; CODE_BYTES]) -> bool {
    !lives(place, Timestamp::from_millis(0))
}

/// Leaves the salt, and nothing that opens.
fn empty(place: &mut [u8; CODE_BYTES]) {
    if let Some(sealed) = place.get_mut(SALT_BYTES..) {
        wipe(sealed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::SecretBytes;

    const END: Timestamp = Timestamp::from_secs(2_000);
    const NAME: Name = Name([3; 16]);
    const CARD: [u8; 20] = [7; 20];
    const CODE: [u8; 20] = [9; 20];

    fn root(version: u32, byte: u8) -> Root {
        Root::read(version, &SecretBytes::from_slice(&[byte; 32])).unwrap()
    }

    const fn address<'a>(card: &'a [u8; 20], code: &'a [u8]) -> Address<'a> {
        Address { kind: Kind::Cvv, bits: card, further: code }
    }

    fn sealed(salt: u8) -> SealedCode {
        let place = (NAME, [salt; SALT_BYTES]);
        let digits = Digits(*b"987 ");
        root(1, 1).seal_code(&address(&CARD, &CODE), place, END, &digits).unwrap()
    }

    fn opens(root: &Root, card: &[u8; 20], code: &[u8], name: Name, sealed: &SealedCode) -> bool {
        let mut digits = Digits::none();
        let opened = root.open_code(&address(card, code), name, sealed, &mut digits);
        opened.is_some() && digits.0 == *b"987 "
    }

    #[test]
    fn what_was_sealed_opens_by_both_tokens_in_its_cards_record_alone() {
        let (own, code) = (root(1, 1), sealed(5));
        assert!(opens(&own, &CARD, &CODE, NAME, &code));
        assert!(!opens(&own, &[8; 20], &CODE, NAME, &code), "another card's token");
        assert!(!opens(&own, &CARD, &[8; 20], NAME, &code), "another code's token");
        assert!(!opens(&own, &CARD, &[], NAME, &code), "none");
        assert!(!opens(&own, &CARD, &CODE, Name([4; 16]), &code), "another record");
        assert!(!opens(&root(1, 2), &CARD, &CODE, NAME, &code), "another root key");
        assert!(!opens(&root(2, 1), &CARD, &CODE, NAME, &code), "another version");
        assert_eq!((code.version(), code.lives(END)), (1, false));
        assert!(code.lives(Timestamp::from_millis(END.as_millis() - 1)));
    }

    #[test]
    fn every_flipped_bit_of_a_code_keeps_it_shut() {
        for place in 0..CODE_BYTES {
            for bit in 0..8 {
                let mut wrong = sealed(5);
                wrong.0[place] ^= 1 << bit;
                let right = opens(&root(wrong.version(), 1), &CARD, &CODE, NAME, &wrong);
                assert!(!right, "byte {place} bit {bit}");
            }
        }
    }

    #[test]
    fn nothing_of_the_digits_is_in_it_and_two_seals_share_nothing_of_them() {
        let (one, other) = (sealed(5), sealed(6));
        assert!(!one.bytes().windows(3).any(|window| window == b"987"));
        assert_ne!(one.bytes()[MESSAGE..], other.bytes()[MESSAGE..]);
        assert_ne!(one.stamp(), other.stamp());
    }

    #[test]
    fn only_a_whole_code_is_taken_from_another_process() {
        let code = sealed(5);
        assert!(SealedCode::given(code.bytes()).is_some());
        assert!(SealedCode::given(&code.bytes()[1..]).is_none());
        assert!(SealedCode::given(&[code.bytes(), b"0"].concat()).is_none());
    }
}
