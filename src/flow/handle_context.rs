//! What is kept beside the secret that a handle stands for: where the customer returns to and,
//! where an account asks about payments by it, what the provider calls the payment.

use crate::secret::SecretBytes;
use crate::wire::{Pointer, Text};

use super::fields::Fields;
use super::forward::Place;
use super::packed::{Packer, Unpacker};

/// No address begins with it.
const WITH_ID: &str = "\u{1}id";

/// Where the customer goes when the outcome of a challenge is not known.
pub(super) fn return_url(fields: &Fields<'_>, place: Place<'_>) -> Option<SecretBytes> {
    let text_of = |pointer: &Pointer| fields.text(pointer).ok().flatten();
    let pointers = &place.route.request.return_url;
    match pointers.iter().find_map(text_of) {
        Some(text) => Some(SecretBytes::from_slice(text.as_bytes())),
        // None is named, and that is what is kept beside the payment's id.
        None if !pointers.is_empty() && place.account.asks_by_handle_id() => {
            Some(SecretBytes::from_slice(b""))
        }
        None => None,
    }
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
    fn an_id_comes_back_beside_the_address() {
        for url in ["", "https://shop.example/back"] {
            let kept = write(&SecretBytes::from_slice(url.as_bytes()), &Text::Borrowed("cpi_1"));
            let (read, id) = read(kept);
            assert!(read.ct_eq(url.as_bytes()) && id.unwrap().ct_eq(b"cpi_1"), "{url}");
        }
    }
}
