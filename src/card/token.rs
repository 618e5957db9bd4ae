//! Stand-ins for what is kept: 160 random bits in base 62 behind a prefix that says what they are,
//! and a checksum, so that a typing error is refused before anything is looked up.
//!
//! Whoever holds one may use what it stands for, so each is a capability: wiped on drop, never
//! printed. What may be logged in its place is the [`TokenId`], from which nothing can be redeemed.

use std::fmt;

use zeroize::{Zeroize, Zeroizing};

use super::base62::{self, BITS_BYTES, BITS_CHARS, SUM_CHARS};
use crate::secret::{Random, sha256};

const PREFIX_MAX: usize = 9;
const TEXT_MAX: usize = PREFIX_MAX + BITS_CHARS + SUM_CHARS;

/// The shortest card number. A text with that many digits in a row is drawn again, so that no
/// scanner takes a part of ours for a card.
const DIGIT_RUN: usize = 12;

/// Whether real money moves. A test token never reaches a live account, nor the other way round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Real cards.
    Live,
    /// Test cards.
    Test,
}

impl Mode {
    /// The name in lower case.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Test => "test",
        }
    }
}

/// Why a text is not a token. Carries nothing of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenError {
    /// Another prefix, or none.
    Prefix,
    /// Too long, too short, foreign characters, more than 160 bits.
    Form,
    /// Mistyped: the checksum is wrong.
    Checksum,
}

impl TokenError {
    /// A stable slug.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Prefix => "token_prefix",
            Self::Form => "token_form",
            Self::Checksum => "token_checksum",
        }
    }
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::error::Error for TokenError {}

/// One capability type. `$mode` is [`Mode`] where the prefix tells live from test, else `()`.
macro_rules! capability {
    ($(#[$doc:meta])* $name:ident, $mode:ty, [$(($value:expr, $prefix:literal)),+]) => {
        $(#[$doc])*
        pub struct $name {
            bits: Box<[u8; BITS_BYTES]>,
            mode: $mode,
        }

        impl $name {
            const PREFIXES: &'static [($mode, &'static str)] = &[$(($value, $prefix)),+];

            /// Reads the text of one.
            ///
            /// # Errors
            /// Another prefix, form or checksum.
            pub fn parse(text: &str) -> Result<Self, TokenError> {
                let (mode, prefix) = Self::PREFIXES
                    .iter()
                    .find(|(_, prefix)| text.starts_with(prefix))
                    .ok_or(TokenError::Prefix)?;
                let bits = read(prefix, text)?;
                Ok(Self { bits, mode: *mode })
            }

            /// Shows the text to `look` for as long as it runs.
            pub fn reveal<R>(&self, look: impl FnOnce(&str) -> R) -> R {
                write(Self::prefix(self.mode), &self.bits, look)
            }

            /// The bits that names and keys of records are derived from.
            #[must_use]
            pub fn random_part(&self) -> &[u8; BITS_BYTES] {
                &self.bits
            }

            /// What may be logged.
            #[must_use]
            pub fn id(&self) -> TokenId {
                TokenId::of(&self.bits)
            }

            fn prefix(mode: $mode) -> &'static str {
                let own = Self::PREFIXES.iter().find(|(other, _)| *other == mode);
                own.map_or("", |(_, prefix)| prefix)
            }
        }

        impl Drop for $name {
            fn drop(&mut self) {
                self.bits.zeroize();
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.id())
            }
        }
    };
}

capability!(
    /// Stands for a card.
    Token, Mode, [(Mode::Live, "tok_live_"), (Mode::Test, "tok_test_")]
);
capability!(
    /// Stands for the security code of one card, once.
    CvvToken, Mode, [(Mode::Live, "cvv_live_"), (Mode::Test, "cvv_test_")]
);
capability!(
    /// Stands for a secret of a payment, such as the bearer token of an invoice.
    Handle, (), [((), "brr_")]
);
capability!(
    /// A capture session: the right of a browser to hand in cards.
    SessionId, (), [((), "cs_")]
);
capability!(
    /// A relay of a 3-D Secure return. Bare, because it stands in a URL that must stay short.
    RelayId, (), [((), "")]
);

impl Token {
    /// A new one.
    #[must_use]
    pub fn random(mode: Mode) -> Self {
        Self::draw(mode, &mut Random::fetch(BITS_BYTES))
    }

    /// A new one, from randomness that was fetched.
    #[must_use]
    pub fn draw(mode: Mode, random: &mut Random) -> Self {
        Self { bits: draw(Self::prefix(mode), random), mode }
    }

    /// Whether it stands for a real card.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.mode
    }
}

impl CvvToken {
    /// A new one.
    #[must_use]
    pub fn random(mode: Mode) -> Self {
        Self::draw(mode, &mut Random::fetch(BITS_BYTES))
    }

    /// A new one, from randomness that was fetched.
    #[must_use]
    pub fn draw(mode: Mode, random: &mut Random) -> Self {
        Self { bits: draw(Self::prefix(mode), random), mode }
    }

    /// Whether it belongs to a real card.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.mode
    }
}

impl Handle {
    /// A handle with given bits: derived ones give the same secret the same handle.
    #[must_use]
    pub fn from_bits(bits: &[u8; BITS_BYTES]) -> Self {
        Self { bits: Box::new(*bits), mode: () }
    }
}

impl SessionId {
    /// A new one.
    #[must_use]
    pub fn random() -> Self {
        Self { bits: draw(Self::prefix(()), &mut Random::fetch(BITS_BYTES)), mode: () }
    }
}

impl RelayId {
    /// A new one.
    #[must_use]
    pub fn random() -> Self {
        Self { bits: draw(Self::prefix(()), &mut Random::fetch(BITS_BYTES)), mode: () }
    }
}

/// Whether a text begins like one of ours. For finding tokens where they do not belong; it does not
/// make them valid. Relay ids have no prefix and are not recognised.
#[must_use]
pub fn looks_like_token(text: &str) -> bool {
    const PREFIXES: [&str; 6] = ["tok_live_", "tok_test_", "cvv_live_", "cvv_test_", "brr_", "cs_"];
    PREFIXES.iter().any(|prefix| text.starts_with(prefix))
}

/// Draws bits until their text has no long run of digits; once, but for one text in billions.
fn draw(prefix: &str, random: &mut Random) -> Box<[u8; BITS_BYTES]> {
    loop {
        let bits = Box::new(random.take());
        if !write(prefix, &bits, has_digit_run) {
            return bits;
        }
    }
}

fn write<R>(prefix: &str, bits: &[u8; BITS_BYTES], look: impl FnOnce(&str) -> R) -> R {
    let mut text = Zeroizing::new([0u8; TEXT_MAX]);
    let len = fill_text(prefix.as_bytes(), bits, text.as_mut_slice()).unwrap_or_default();
    let text = text.get(..len).unwrap_or_default();
    look(std::str::from_utf8(text).unwrap_or_default())
}

/// Nothing only if the prefix were longer than the longest; the tests write every prefix.
fn fill_text(prefix: &[u8], bits: &[u8; BITS_BYTES], text: &mut [u8]) -> Option<usize> {
    let (head, rest) = text.split_at_mut_checked(prefix.len())?;
    head.copy_from_slice(prefix);
    base62::write_bits(bits, rest.first_chunk_mut()?);
    let summed = prefix.len() + BITS_CHARS;
    let sum = crc32fast::hash(text.get(..summed)?);
    base62::write_sum(sum, text.get_mut(summed..)?.first_chunk_mut()?);
    Some(summed + SUM_CHARS)
}

fn read(prefix: &str, text: &str) -> Result<Box<[u8; BITS_BYTES]>, TokenError> {
    let rest = text.as_bytes().strip_prefix(prefix.as_bytes()).ok_or(TokenError::Prefix)?;
    let (bits, sum) = rest.split_first_chunk().ok_or(TokenError::Form)?;
    let sum = sum.try_into().ok().and_then(base62::read_sum).ok_or(TokenError::Form)?;
    let bits = base62::read_bits(bits).map(Box::new).ok_or(TokenError::Form)?;
    let summed = text.as_bytes().get(..prefix.len() + BITS_CHARS).ok_or(TokenError::Form)?;
    if crc32fast::hash(summed) != sum {
        return Err(TokenError::Checksum);
    }
    Ok(bits)
}

fn has_digit_run(text: &str) -> bool {
    // A run goes over one of these places.
    if !text.bytes().skip(DIGIT_RUN - 1).step_by(DIGIT_RUN).any(|byte| byte.is_ascii_digit()) {
        return false;
    }
    let mut run = 0;
    text.bytes().any(|byte| {
        run = if byte.is_ascii_digit() { run + 1 } else { 0 };
        run >= DIGIT_RUN
    })
}

/// Names a token in logs and audit records. A one-way digest of the random bits, written without
/// digits, so that it is never taken for a number.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TokenId([u8; 8]);

impl TokenId {
    const DOMAIN: &'static [u8] = b"portcullis token id";
    const LETTERS: &'static [u8; 16] = b"bcdfghjkmnpqrstv";

    fn of(bits: &[u8; BITS_BYTES]) -> Self {
        let digest = sha256(&[Self::DOMAIN, bits]);
        Self(digest.first_chunk().copied().unwrap_or_default())
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = *b"tid_xxxxxxxxxxxxxxxx";
        let nibbles = self.0.iter().flat_map(|byte| [byte >> 4, byte & 0x0f]);
        for (slot, nibble) in text.iter_mut().skip(4).zip(nibbles) {
            *slot = Self::LETTERS.get(usize::from(nibble)).copied().unwrap_or(b'x');
        }
        f.write_str(str::from_utf8(&text).unwrap_or_default())
    }
}

impl fmt::Debug for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn texts() -> Vec<String> {
        vec![
            Token::random(Mode::Live).reveal(str::to_owned),
            Token::random(Mode::Test).reveal(str::to_owned),
            CvvToken::random(Mode::Live).reveal(str::to_owned),
            CvvToken::random(Mode::Test).reveal(str::to_owned),
            Handle::from_bits(&[7; 20]).reveal(str::to_owned),
            SessionId::random().reveal(str::to_owned),
            RelayId::random().reveal(str::to_owned),
        ]
    }

    fn read_as_any(text: &str) -> Vec<&'static str> {
        let mut kinds = Vec::new();
        if Token::parse(text).is_ok() {
            kinds.push("token");
        }
        if CvvToken::parse(text).is_ok() {
            kinds.push("cvv");
        }
        if Handle::parse(text).is_ok() {
            kinds.push("handle");
        }
        if SessionId::parse(text).is_ok() {
            kinds.push("session");
        }
        if RelayId::parse(text).is_ok() {
            kinds.push("relay");
        }
        kinds
    }

    #[test]
    fn each_text_is_read_as_its_own_kind_alone() {
        let kinds: Vec<_> = texts().iter().map(|text| read_as_any(text)).collect();
        let expected: Vec<Vec<&str>> =
            ["token", "token", "cvv", "cvv", "handle", "session", "relay"]
                .map(|kind| vec![kind])
                .to_vec();
        assert_eq!(kinds, expected);
    }

    #[test]
    fn lengths_are_prefix_and_thirty_three() {
        let lengths: Vec<_> = texts().iter().map(String::len).collect();
        assert_eq!(lengths, [42, 42, 42, 42, 37, 36, 33]);
    }

    #[test]
    fn the_mode_is_in_the_prefix_and_under_the_checksum() {
        let live = Token::random(Mode::Live);
        assert_eq!(live.mode(), Mode::Live);
        let relabelled = live.reveal(|text| text.replace("tok_live_", "tok_test_"));
        assert_eq!(Token::parse(&relabelled).unwrap_err(), TokenError::Checksum);
        let other_kind = live.reveal(|text| text.replace("tok_", "cvv_"));
        assert_eq!(CvvToken::parse(&other_kind).unwrap_err(), TokenError::Checksum);
        assert_eq!(CvvToken::random(Mode::Test).mode(), Mode::Test);
    }

    #[test]
    fn every_changed_character_is_refused() {
        for text in texts() {
            for (place, _) in text.char_indices() {
                for letter in *b"0aZ_ " {
                    let mut changed = text.clone().into_bytes();
                    changed[place] = letter;
                    let changed = String::from_utf8(changed).unwrap();
                    assert!(changed == text || read_as_any(&changed).is_empty(), "{changed}");
                }
            }
        }
    }

    #[test]
    fn other_lengths_and_characters_are_refused() {
        let text = Token::random(Mode::Live).reveal(str::to_owned);
        let longer = format!("{text}0");
        for other in [&text[..41], &text[..9], longer.as_str(), "tok_live_é"] {
            assert_eq!(Token::parse(other).unwrap_err(), TokenError::Form, "{other}");
        }
        for other in ["", "tok_", "TOK_LIVE_", "4111111111111111", &text[1..]] {
            assert_eq!(Token::parse(other).unwrap_err(), TokenError::Prefix, "{other}");
        }
        assert_eq!(RelayId::parse("").unwrap_err(), TokenError::Form);
    }

    #[test]
    fn a_known_token_keeps_its_text() {
        let text = Handle::from_bits(&[0; 20]).reveal(str::to_owned);
        assert_eq!(text, "brr_0000000000000000000000000002W1sV9");
        assert_eq!(Handle::parse(&text).unwrap().random_part(), &[0; 20]);
    }

    #[test]
    fn debug_shows_the_id_alone() {
        let token = Token::random(Mode::Live);
        let printed = format!("{token:?}");
        assert_eq!(printed, format!("Token({})", token.id()));
        token.reveal(|text| assert!(!printed.contains(&text[9..20])));
    }

    #[test]
    fn an_id_is_stable_and_has_no_digit() {
        let first = Handle::from_bits(&[1; 20]).id();
        assert_eq!(first, Handle::from_bits(&[1; 20]).id());
        assert_ne!(first, Handle::from_bits(&[2; 20]).id());
        let text = first.to_string();
        assert!(text.starts_with("tid_") && text.len() == 20);
        let known = TokenId([0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef]);
        assert_eq!(known.to_string(), "tid_bcdfghjkmnpqrstv");
        assert!(!text.bytes().any(|byte| byte.is_ascii_digit()));
    }

    #[test]
    fn no_text_holds_a_run_of_digits_as_long_as_a_card_number() {
        for place in 0..40 {
            let run = |digits: usize| format!("{:a<place$}{:1<digits$}{:a<20}", "", "", "");
            assert!(has_digit_run(&run(DIGIT_RUN)), "{place}");
            assert!(!has_digit_run(&run(DIGIT_RUN - 1)), "{place}");
        }
        assert!(has_digit_run("a123456789012b"));
        assert!(!has_digit_run("a12345678901b2"));
        for _ in 0..1000 {
            assert!(!RelayId::random().reveal(has_digit_run));
        }
    }

    #[test]
    fn prefixes_are_recognised() {
        let texts = texts();
        assert!(texts[..6].iter().all(|text| looks_like_token(text)));
        assert!(!looks_like_token(&texts[6]));
        assert!(!looks_like_token("tok_other") && !looks_like_token("4111111111111111"));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".{0,60}", prefix in "(tok_live_|cs_|brr_|)") {
            let _ = read_as_any(&format!("{prefix}{text}"));
        }

        #[test]
        fn bits_come_back_through_the_text(bits: [u8; 20]) {
            let text = Handle::from_bits(&bits).reveal(str::to_owned);
            let read = Handle::parse(&text).unwrap();
            prop_assert_eq!(read.random_part(), &bits);
        }
    }
}
