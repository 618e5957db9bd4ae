//! No event takes a secret, nor the text that one was opened to.

use portcullis::card::Pan;
use portcullis::telemetry::Event;

fn as_it_is(pan: Pan) -> Event<'static> {
    Event::CertificateRead { listener: pan }
}

fn opened(pan: &Pan) {
    pan.reveal(|digits| Event::CertificateRead { listener: digits });
}

fn formatted(pan: &Pan) -> String {
    format!("{pan}")
}

fn main() {}
