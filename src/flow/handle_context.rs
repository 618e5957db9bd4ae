//! What is kept beside the secret that a handle stands for: where the customer returns to, and what
//! the provider calls the payment, which stays where the secret is given out anew.

use crate::secret::SecretBytes;
use crate::vault::Bearer;
use crate::wire::{Pointer, Text};

use super::fields::Fields;
use super::forward::Place;
use super::packed::{Packer, Unpacker};

/// An address that begins with it is none.
const WITH_ID: &str = "\u{1}id";

/// Both, as they are kept: an address alone as itself.
#[derive(Debug)]
pub(super) struct HandleContext(SecretBytes);

impl HandleContext {
    /// Where the customer goes when the outcome of a challenge is not known, as a request names it.
    pub(super) fn named(fields: &Fields<'_>, place: Place<'_>) -> Option<Self> {
        let text_of = |pointer: &Pointer| fields.text(pointer).ok().flatten();
        let text = place.route.request.return_url.iter().find_map(text_of)?;
        Some(Self::alone(text.as_bytes()))
    }

    /// What was kept.
    pub(super) const fn kept(context: SecretBytes) -> Self {
        Self(context)
    }

    /// What would be read back as more than an address is dropped.
    fn alone(url: &[u8]) -> Self {
        let (_, id) = parts(url);
        Self(SecretBytes::from_slice(if id.is_some() { b"" } else { url }))
    }

    pub(super) fn return_url<T>(&self, then: impl FnOnce(&[u8]) -> T) -> T {
        self.0.reveal(|context| then(parts(context).0))
    }

    pub(super) fn id<T>(&self, then: impl FnOnce(&[u8]) -> T) -> Option<T> {
        self.0.reveal(|context| parts(context).1.map(then))
    }

    /// What to keep: what the request was about, else what was kept before; and the id that the
    /// answer names, else one that is known already.
    pub(super) fn to_keep(
        asked: Option<&Self>,
        earlier: Option<&Self>,
        id: Option<&Text<'_>>,
    ) -> SecretBytes {
        let none = Self(SecretBytes::from_slice(b""));
        let earlier = earlier.unwrap_or(&none);
        let named = id.map(Text::as_bytes).filter(|id| !id.is_empty());
        asked.unwrap_or(earlier).0.reveal(|asked| {
            earlier.0.reveal(|earlier| {
                let (url, known) = parts(asked);
                match named.or(known).or(parts(earlier).1) {
                    Some(id) => Packer::of(WITH_ID).put(url).put(id).close(),
                    None => SecretBytes::from_slice(url),
                }
            })
        })
    }
}

fn parts(context: &[u8]) -> (&[u8], Option<&[u8]>) {
    let both = Unpacker::of(WITH_ID, context).and_then(|mut unpacker| {
        let (url, id) = (unpacker.bytes()?, unpacker.bytes()?);
        Some((url, Some(id)))
    });
    both.unwrap_or((context, None))
}

/// What names the payment of a handle: the secret itself, and what the provider calls it, where an
/// answer said so.
pub(super) fn payment<T>(bearer: &Bearer, then: impl FnOnce(&[u8], Option<&[u8]>) -> T) -> T {
    let Bearer { secret, context, .. } = bearer;
    context.reveal(|context| {
        let id = parts(context).1.filter(|id| !id.is_empty());
        secret.reveal(|secret| then(secret, id))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(url: &str, id: Option<&str>) -> HandleContext {
        let url = HandleContext::alone(url.as_bytes());
        let id = id.map(Text::Borrowed);
        HandleContext::kept(HandleContext::to_keep(Some(&url), None, id.as_ref()))
    }

    fn read(context: &HandleContext) -> (Vec<u8>, Option<Vec<u8>>) {
        (context.return_url(<[u8]>::to_vec), context.id(<[u8]>::to_vec))
    }

    #[test]
    fn an_address_alone_reads_as_it_was_kept() {
        for url in ["", "https://shop.example/back", "\u{1}"] {
            assert_eq!(read(&kept(url, None)), (url.into(), None), "{url}");
        }
    }

    #[test]
    fn an_address_brings_no_id_of_its_own() {
        let forged = kept("https://a", Some("cpi_other"));
        let context = forged.0.reveal(HandleContext::alone);
        assert_eq!(read(&context), (vec![], None));
    }

    #[test]
    fn an_id_comes_back_beside_the_address() {
        for url in ["", "https://shop.example/back"] {
            let expected = (url.into(), Some(b"cpi_1".to_vec()));
            let context = kept(url, Some("cpi_1"));
            assert_eq!(read(&context), expected, "{url}");
            for (asked, earlier) in [(Some(&context), None), (None, Some(&context))] {
                let again = HandleContext::kept(HandleContext::to_keep(asked, earlier, None));
                assert_eq!(read(&again), expected, "{url}");
            }
        }
    }

    #[test]
    fn what_an_answer_does_not_say_stays_as_it_was() {
        let merge = |asked: Option<&HandleContext>, earlier: &HandleContext, id: Option<&str>| {
            let id = id.map(Text::Borrowed);
            read(&HandleContext::kept(HandleContext::to_keep(asked, Some(earlier), id.as_ref())))
        };
        let (old, new) = (kept("https://a", Some("cpi_1")), kept("https://b", None));
        let without = kept("https://a", None);
        let told = |url: &str, id: &str| (url.into(), Some(id.into()));
        assert_eq!(merge(Some(&new), &old, None), told("https://b", "cpi_1"), "made again");
        assert_eq!(
            merge(None, &without, Some("cpi_1")),
            told("https://a", "cpi_1"),
            "read by its id"
        );
        assert_eq!(merge(None, &old, Some("")), told("https://a", "cpi_1"), "an id that is none");
        assert_eq!(merge(None, &old, Some("cpi_2")), told("https://a", "cpi_2"));
        assert_eq!(merge(None, &without, None), ("https://a".into(), None));
    }
}
