//! What is looked for, in every spelling that a copy of it could have, and the search for it.
//!
//! Things of one kind begin alike (the cards of the test share their first eight digits, codes the
//! name in front of them). So the text is searched for a few dozen beginnings at once, and what
//! follows a beginning is looked up in a table of everything known. Nothing is guessed: a hit is
//! the whole of a known thing.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ops::AddAssign;

use aho_corasick::{AhoCorasick, MatchKind};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;

/// Things that begin alike.
pub(crate) struct Wanted {
    pub(crate) kind: &'static str,
    pub(crate) beginning: Vec<u8>,
    pub(crate) all: Vec<Vec<u8>>,
}

/// A way of writing bytes; none where it cannot write these.
type Spelling = fn(&[u8]) -> Option<Vec<u8>>;

const SPELLINGS: [(&str, Spelling); 14] = [
    ("plain", |bytes| Some(bytes.to_vec())),
    ("JSON escapes", |bytes| written(bytes, |byte| format!("\\u{byte:04x}"))),
    ("JSON escapes", |bytes| written(bytes, |byte| format!("\\u{byte:04X}"))),
    ("base64", |bytes| base64_behind(bytes, 0)),
    ("base64", |bytes| base64_behind(bytes, 1)),
    ("base64", |bytes| base64_behind(bytes, 2)),
    ("hex", |bytes| written(bytes, |byte| format!("{byte:02x}"))),
    ("hex", |bytes| written(bytes, |byte| format!("{byte:02X}"))),
    ("UTF-16", |bytes| Some(bytes.iter().flat_map(|byte| [*byte, 0]).collect())),
    ("UTF-16", |bytes| Some(bytes.iter().flat_map(|byte| [0, *byte]).collect())),
    ("packed BCD", packed),
    ("in groups", |bytes| grouped(bytes, b' ')),
    ("in groups", |bytes| grouped(bytes, b'-')),
    ("percent escapes", |bytes| written(bytes, |byte| format!("%{byte:02X}"))),
];

fn written(bytes: &[u8], one: impl Fn(u8) -> String) -> Option<Vec<u8>> {
    Some(bytes.iter().flat_map(|byte| one(*byte).into_bytes()).collect())
}

/// As it stands in a longer text, of which so many bytes (of any triple) come first: without the
/// letters at either end that hold bits of a neighbour.
fn base64_behind(bytes: &[u8], before: usize) -> Option<Vec<u8>> {
    let encoded = STANDARD_NO_PAD.encode([&vec![0; before][..], bytes].concat());
    let (from, to) = ((before * 8).div_ceil(6), (before + bytes.len()) * 8 / 6);
    Some(encoded.as_bytes()[from..to].to_vec())
}

/// Two digits a byte.
fn packed(bytes: &[u8]) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> =
        bytes.iter().map(|byte| byte.is_ascii_digit().then(|| byte - b'0')).collect();
    let (pairs, rest) = digits.as_ref()?.as_chunks::<2>();
    rest.is_empty().then(|| pairs.iter().map(|[high, low]| high << 4 | low).collect())
}

/// As on a card.
fn grouped(digits: &[u8], between: u8) -> Option<Vec<u8>> {
    let all = digits.iter().all(u8::is_ascii_digit);
    all.then(|| digits.chunks(4).collect::<Vec<_>>().join(&between))
}

/// Hits by kind and spelling.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Hits(pub(crate) BTreeMap<(&'static str, &'static str), usize>);

impl Hits {
    pub(crate) fn total(&self) -> usize {
        self.0.values().sum()
    }

    /// `card number, base64: 3` and so on.
    pub(crate) fn told(&self) -> String {
        let one = |((kind, spelling), count): (&(&str, &str), &usize)| {
            format!("{kind}, {spelling}: {count}")
        };
        self.0.iter().map(one).collect::<Vec<_>>().join("; ")
    }
}

impl AddAssign<&Self> for Hits {
    fn add_assign(&mut self, other: &Self) {
        for (key, count) in &other.0 {
            *self.0.entry(*key).or_default() += count;
        }
    }
}

/// One beginning in one spelling.
struct Needle {
    kind: &'static str,
    spelling: &'static str,
    all: HashSet<Vec<u8>>,
    lengths: BTreeSet<usize>,
}

/// The search for everything wanted.
pub(crate) struct Search {
    beginnings: AhoCorasick,
    needles: Vec<Needle>,
    longest: usize,
}

impl Search {
    pub(crate) fn of(wanted: &[Wanted]) -> Self {
        let mut spelled: BTreeMap<Vec<u8>, Needle> = BTreeMap::new();
        for one in wanted {
            for (spelling, write) in SPELLINGS {
                let Some(beginning) = write(&one.beginning) else { continue };
                let all: HashSet<_> = one.all.iter().filter_map(|thing| write(thing)).collect();
                assert!(all.iter().all(|thing| thing.starts_with(&beginning)), "{}", one.kind);
                let (kind, lengths) = (one.kind, BTreeSet::new());
                let fresh = Needle { kind, spelling, all: HashSet::new(), lengths };
                let needle = spelled.entry(beginning).or_insert(fresh);
                needle.lengths.extend(all.iter().map(Vec::len));
                needle.all.extend(all);
            }
        }
        let (beginnings, needles): (Vec<_>, Vec<_>) = spelled.into_iter().unzip();
        let longest = *needles.iter().flat_map(|needle| &needle.lengths).max().unwrap();
        let beginnings = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .build(beginnings)
            .unwrap();
        Self { beginnings, needles, longest }
    }

    /// How far the pieces of a long text have to overlap.
    pub(crate) fn overlap(&self) -> usize {
        self.longest - 1
    }

    /// Everything in `text` that begins before `end`.
    pub(crate) fn hits(&self, text: &[u8], end: usize) -> Hits {
        let mut hits = Hits::default();
        for found in self.beginnings.find_iter(text).take_while(|found| found.start() < end) {
            let needle = &self.needles[found.pattern().as_usize()];
            let rest = &text[found.start()..];
            let known = |length: &usize| {
                rest.get(..*length).is_some_and(|whole| needle.all.contains(whole))
            };
            if needle.lengths.iter().any(known) {
                *hits.0.entry((needle.kind, needle.spelling)).or_default() += 1;
            }
        }
        hits
    }
}

/// The search sees a thing in every spelling, across pieces, and nothing else.
pub(crate) fn the_search_finds_every_spelling_and_nothing_else() {
    let text = |text: &str| text.as_bytes().to_vec();
    // Not a constant: this program is searched, too, as the mutant, and its own text with it.
    let code = format!("&cvv={}", std::hint::black_box(739));
    let cards = ["4111117300000028", "4111117300000036"].map(text);
    let wanted = [
        Wanted { kind: "card", beginning: text("41111173"), all: cards.to_vec() },
        Wanted { kind: "code", beginning: text("&cvv="), all: vec![text(&code)] },
    ];
    let search = Search::of(&wanted);
    for card in &cards {
        for (spelling, write) in SPELLINGS {
            let spelled = write(card).unwrap();
            let text = [&b"x"[..], &spelled, b"y"].concat();
            let expected = BTreeMap::from([(("card", spelling), 1)]);
            assert_eq!(search.hits(&text, text.len()).0, expected, "{spelling}");
            assert_eq!(search.hits(&text, 1).total(), 0, "{spelling} in the next piece");
            assert_eq!(search.hits(&text[..spelled.len()], text.len()).total(), 0, "{spelling}");
        }
        for before in ["", "a", "ab"] {
            let json = format!("{before}{{\"n\":\"{}\"}}", String::from_utf8_lossy(card));
            let hits = search.hits(STANDARD_NO_PAD.encode(json).as_bytes(), usize::MAX);
            assert_eq!(hits.0, BTreeMap::from([(("card", "base64"), 1)]));
        }
    }
    let code = STANDARD_NO_PAD.encode(format!("a=b{code}&c=d"));
    assert_eq!(search.hits(code.as_bytes(), usize::MAX).total(), 1);
    for other in ["4111117300000044", "411111******0028", "no 739", "&cvv=", ""] {
        assert_eq!(search.hits(other.as_bytes(), usize::MAX).total(), 0, "{other}");
    }
}
