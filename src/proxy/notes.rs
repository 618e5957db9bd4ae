//! What Portcullis says about a call in the headers of its answer.
//!
//! Kept apart from the other fields, so that the codec writes numbers straight into the head.

use std::time::Duration;

use http::HeaderName;

use super::h1::reply::push_decimal;
use super::reply::RequestId;
use super::tracing::TRACEPARENT;

const FORWARDED: HeaderName = HeaderName::from_static("portcullis-forwarded");
const UPSTREAM_STATUS: HeaderName = HeaderName::from_static("portcullis-upstream-status");
const REPLACED: HeaderName = HeaderName::from_static("portcullis-replaced");
const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");
const REQUEST_ID: HeaderName = HeaderName::from_static("portcullis-request-id");

/// The notes of one answer; each is written when it is there.
#[derive(Default)]
pub(crate) struct Notes {
    /// `no`, `unknown` or `yes`.
    pub(crate) forwarded: Option<&'static str>,
    /// The provider's own status.
    pub(crate) upstream_status: Option<u16>,
    /// Card numbers and CVVs that were put in.
    pub(crate) replaced: Option<(u32, u32)>,
    /// What we took of the time, and what the other side took.
    pub(crate) timing: Option<(Duration, Option<Duration>)>,
    /// The call's id.
    pub(crate) id: Option<RequestId>,
    /// Where it is found in a trace.
    pub(crate) trace: Option<Box<str>>,
}

impl Notes {
    /// Hands out each field with its value.
    pub(crate) fn each(&self, mut field: impl FnMut(&HeaderName, &[u8])) {
        let mut text = Vec::with_capacity(64);
        let mut write = |name: &HeaderName, fill: &dyn Fn(&mut Vec<u8>)| {
            text.clear();
            fill(&mut text);
            field(name, &text);
        };
        if let Some(forwarded) = self.forwarded {
            write(&FORWARDED, &|text| text.extend_from_slice(forwarded.as_bytes()));
        }
        if let Some(status) = self.upstream_status {
            write(&UPSTREAM_STATUS, &|text| push_decimal(text, status.into()));
        }
        if let Some(counts) = self.replaced {
            write(&REPLACED, &|text| push_counts(text, counts));
        }
        if let Some((proxy, upstream)) = self.timing {
            write(&SERVER_TIMING, &|text| push_timing(text, proxy, upstream));
        }
        if let Some(id) = &self.id {
            write(&REQUEST_ID, &|text| text.extend_from_slice(id.as_str().as_bytes()));
        }
        if let Some(trace) = &self.trace {
            write(&TRACEPARENT, &|text| text.extend_from_slice(trace.as_bytes()));
        }
    }
}

fn push_counts(text: &mut Vec<u8>, (pan, cvv): (u32, u32)) {
    text.extend_from_slice(b"pan=");
    push_decimal(text, pan as usize);
    text.extend_from_slice(b", cvv=");
    push_decimal(text, cvv as usize);
}

fn push_timing(text: &mut Vec<u8>, proxy: Duration, upstream: Option<Duration>) {
    text.extend_from_slice(b"proxy;dur=");
    push_millis(text, proxy);
    if let Some(upstream) = upstream {
        text.extend_from_slice(b", upstream;dur=");
        push_millis(text, upstream);
    }
}

/// Milliseconds with three decimals.
fn push_millis(text: &mut Vec<u8>, time: Duration) {
    let micros = usize::try_from(time.as_micros()).unwrap_or(usize::MAX);
    push_decimal(text, micros / 1000);
    text.push(b'.');
    for unit in [100, 10, 1] {
        push_decimal(text, micros % 1000 / unit % 10);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_note_is_written_as_documented() {
        let notes = Notes {
            forwarded: Some("yes"),
            upstream_status: Some(422),
            replaced: Some((1, 0)),
            timing: Some((Duration::from_micros(1_042), Some(Duration::from_micros(7)))),
            id: None,
            trace: Some("00-a-b-01".into()),
        };
        let mut written = String::new();
        notes.each(|name, value| {
            written += &format!("{name}: {}\n", std::str::from_utf8(value).unwrap());
        });
        let expected = "portcullis-forwarded: yes\nportcullis-upstream-status: 422\n\
            portcullis-replaced: pan=1, cvv=0\n\
            server-timing: proxy;dur=1.042, upstream;dur=0.007\ntraceparent: 00-a-b-01\n";
        assert_eq!(written, expected);
    }

    #[test]
    fn nothing_is_written_of_what_is_not_there() {
        Notes::default().each(|name, _| panic!("{name}"));
    }
}
