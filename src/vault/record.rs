//! The binary form of what is sealed: fixed fields and length-prefixed texts, written by hand, so
//! that no card type ever needs a serialiser. Reading is strict: every byte has its place.

use crate::card::{Card, Expiry, Holder, Pan};
use crate::secret::CleartextBody;

/// The first byte of a card's record. Another form gets another number.
const CARD_LAYOUT: u8 = 1;

/// Appends fields to a wiping buffer.
#[derive(Default)]
pub(super) struct Writer(CleartextBody);

impl Writer {
    pub(super) fn with_capacity(capacity: usize) -> Self {
        Self(CleartextBody::with_capacity(capacity))
    }

    pub(super) fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    pub(super) fn u8(self, number: u8) -> Self {
        self.raw(&[number])
    }

    pub(super) fn u32(self, number: u32) -> Self {
        self.raw(&number.to_be_bytes())
    }

    /// Bytes behind their length. A length that does not fit is written as the largest one, which
    /// the reader then refuses: nothing is ever cut silently.
    pub(super) fn bytes(self, bytes: &[u8]) -> Self {
        self.u32(u32::try_from(bytes.len()).unwrap_or(u32::MAX)).raw(bytes)
    }

    /// A short text behind its length in one byte; the same rule.
    pub(super) fn short(self, text: &[u8]) -> Self {
        self.u8(u8::try_from(text.len()).unwrap_or(u8::MAX)).raw(text)
    }

    pub(super) fn done(self) -> CleartextBody {
        self.0
    }
}

/// Takes fields off the front.
#[derive(Clone)]
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) fn raw(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    pub(super) fn chunk<const N: usize>(&mut self) -> Option<&'a [u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(taken)
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.chunk().map(|[number]| *number)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.chunk().map(|bytes| u32::from_be_bytes(*bytes))
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.chunk().map(|bytes| u64::from_be_bytes(*bytes))
    }

    pub(super) fn bytes(&mut self) -> Option<&'a [u8]> {
        let len = self.u32()?;
        self.raw(usize::try_from(len).ok()?)
    }

    pub(super) fn short(&mut self) -> Option<&'a [u8]> {
        let len = self.u8()?;
        self.raw(usize::from(len))
    }

    /// What is left.
    pub(super) const fn rest(self) -> &'a [u8] {
        self.0
    }

    /// Refuses bytes that nobody asked for.
    pub(super) const fn end(&self) -> Option<()> {
        if self.0.is_empty() { Some(()) } else { None }
    }
}

/// Lays a card out: number, month, year, holder or nothing.
pub(super) fn write_card(card: &Card) -> CleartextBody {
    let writer = Writer::with_capacity(CARD_BYTES).u8(CARD_LAYOUT);
    let writer = card.pan.reveal(|digits| writer.short(digits.as_bytes()));
    let writer = writer.raw(card.expiry.month2().as_bytes()).raw(card.expiry.year2().as_bytes());
    match &card.holder {
        Some(holder) => holder.reveal(|name| writer.bytes(name.as_bytes())),
        None => writer.bytes(b""),
    }
    .done()
}

/// Room for a card with a name of ordinary length.
const CARD_BYTES: usize = 96;

/// Reads a card back through the same parsers that let it in.
pub(super) fn read_card(bytes: &[u8]) -> Option<Card> {
    let mut reader = Reader::new(bytes);
    if reader.u8()? != CARD_LAYOUT {
        return None;
    }
    let pan = Pan::parse(reader.short()?).ok()?;
    let month = std::str::from_utf8(reader.raw(2)?).ok()?;
    let year = std::str::from_utf8(reader.raw(2)?).ok()?;
    let expiry = Expiry::parse(month, year).ok()?;
    let holder = match reader.bytes()? {
        b"" => None,
        name => Some(Holder::parse(std::str::from_utf8(name).ok()?).ok()?),
    };
    reader.end()?;
    Some(Card { pan, holder, expiry })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn card(number: &str, holder: Option<&str>) -> Card {
        Card {
            pan: Pan::parse(number.as_bytes()).unwrap(),
            holder: holder.map(|name| Holder::parse(name).unwrap()),
            expiry: Expiry::parse("10", "35").unwrap(),
        }
    }

    fn shown(card: &Card) -> String {
        let holder = card.holder.as_ref().map(|holder| holder.reveal(str::to_owned));
        let pan = card.pan.reveal(str::to_owned);
        format!("{pan} {holder:?} {}/{}", card.expiry.month2(), card.expiry.year4())
    }

    #[test]
    fn a_card_comes_back_as_it_was() {
        let long = "é".repeat(128);
        for holder in [None, Some("JANE DOE"), Some(long.as_str())] {
            for number in ["4111111111111111", "4222222222222", "4000000000000000006"] {
                let kept = card(number, holder);
                let read = read_card(write_card(&kept).as_bytes()).unwrap();
                assert_eq!(shown(&read), shown(&kept));
            }
        }
    }

    #[test]
    fn an_ordinary_card_fits_its_buffer() {
        let written = write_card(&card("4000000000000000006", Some("MARIA ANTONIA DE LA CRUZ")));
        assert_eq!(written.capacity(), CARD_BYTES);
    }

    #[test]
    fn a_cut_or_longer_record_is_refused() {
        let written = write_card(&card("4111111111111111", Some("JANE DOE")));
        let bytes = written.as_bytes();
        for len in 0..bytes.len() {
            assert!(read_card(&bytes[..len]).is_none(), "{len}");
        }
        assert!(read_card(&[bytes, b"0"].concat()).is_none());
        assert!(read_card(&[&[CARD_LAYOUT + 1], &bytes[1..]].concat()).is_none());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = read_card(&bytes);
        }

        #[test]
        fn fields_come_back_in_order(
            a: u8, b: u32, c: u64,
            d in proptest::collection::vec(any::<u8>(), 0..300),
            e in proptest::collection::vec(any::<u8>(), 0..255),
        ) {
            let written = Writer::default().u8(a).u32(b).raw(&c.to_be_bytes()).bytes(&d).short(&e);
            let written = written.done();
            let mut reader = Reader::new(written.as_bytes());
            prop_assert_eq!(
                (reader.u8(), reader.u32(), reader.u64(), reader.bytes(), reader.short()),
                (Some(a), Some(b), Some(c), Some(d.as_slice()), Some(e.as_slice()))
            );
            prop_assert_eq!(reader.end(), Some(()));
        }
    }
}
