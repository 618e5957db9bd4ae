//! What is kept beside the secret that a handle stands for: where the customer returns to and,
//! where an account asks about payments by it, what the provider calls the payment.

use crate::secret::SecretBytes;
use crate::wire::{Pointer, Text};

use super::fields::Fields;
use super::forward::Place;
use super::packed::{Packer, Unpacker};

/// An address that begins with it is none.
const WITH_ID: &str = "\u{1}id";

/// Where the customer goes when the outcome of a challenge is not known.
pub(super) fn return_url(fields: &Fields<'_>, place: Place<'_>) -> Option<SecretBytes> {
    let text_of = |pointer: &Pointer| fields.text(pointer).ok().flatten();
    let pointers = &place.route.request.return_url;
    match pointers.iter().find_map(text_of) {
        Some(text) => Some(alone(text.as_bytes())),
        // None is named, and that is what is kept beside the payment's id.
        None if !pointers.is_empty() && place.account.asks_by_handle_id() => {
            Some(SecretBytes::from_slice(b""))
        }
        None => None,
    }
}

/// An address that is kept by itself: what would be read back as more than one is dropped.
fn alone(url: &[u8]) -> SecretBytes {
    let is_more = Unpacker::of(WITH_ID, url).is_some();
    SecretBytes::from_slice(if is_more { b"" } else { url })
}

/// Both.
pub(super) fn write(return_url: &SecretBytes, id: &Text<'_>) -> SecretBytes {
    let packer = Packer::of(WITH_ID);
    return_url.reveal(|url| packer.put(url)).put(id.as_bytes()).close()
}

/// The address, and the id where one was kept.
pub(super) fn read(context: SecretBytes) -> (SecretBytes, Option<SecretBytes>) {
    let both = context.reveal(|context| {
        let mut unpacker = Unpacker::of(WITH_ID, context)?;
        let mut next = || unpacker.bytes().map(SecretBytes::from_slice);
        next().zip(next())
    });
    match both {
        Some((return_url, id)) => (return_url, Some(id)),
        None => (context, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_alone_reads_as_it_was_kept() {
        for url in ["", "https://shop.example/back", "\u{1}"] {
            let (read, id) = read(SecretBytes::from_slice(url.as_bytes()));
            assert!(read.ct_eq(url.as_bytes()) && id.is_none(), "{url}");
        }
    }

    #[test]
    fn an_address_brings_no_id_of_its_own() {
        let forged = write(&SecretBytes::from_slice(b"https://a"), &Text::Borrowed("cpi_other"));
        let (url, id) = read(forged.reveal(alone));
        assert!(url.is_empty() && id.is_none());
        assert!(alone(b"https://shop.example/back").ct_eq(b"https://shop.example/back"));
    }

    #[test]
    fn an_id_comes_back_beside_the_address() {
        for url in ["", "https://shop.example/back"] {
            let kept = write(&SecretBytes::from_slice(url.as_bytes()), &Text::Borrowed("cpi_1"));
            let (read, id) = read(kept);
            assert!(read.ct_eq(url.as_bytes()) && id.unwrap().ct_eq(b"cpi_1"), "{url}");
        }
    }
}
