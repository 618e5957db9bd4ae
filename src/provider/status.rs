//! How Portcullis itself asks a provider what became of a payment, as data.

use crate::wire::Pointer;

/// A provider's status call, formed from the request of the payment that it is about.
#[derive(Debug)]
pub struct StatusQuery {
    /// The call that is made, a position in the profile's routes: one that only reads.
    pub route: usize,
    /// The JSON that is sent, with places for the values; none where the call has no body.
    pub body: Option<String>,
    /// Where the values of the payment go.
    pub ask: Vec<(AskedAt, AskedBy)>,
    /// Where the time goes, and how it is written.
    pub time: Option<(Pointer, TimeStyle)>,
    /// What the answer must repeat to be about this payment.
    pub same: Vec<(Pointer, AskedBy)>,
    /// Words of the answer that say how far the payment is, with their names.
    pub state: Vec<(String, Pointer)>,
    /// Words that only a payment has which arrived; empty where it is enough that there is one.
    pub arrived: Vec<String>,
    /// A list that is empty where the provider has no such payment.
    pub absent: Option<Pointer>,
}

/// Where a value goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AskedAt {
    /// The path's segment of that name.
    Segment(String),
    /// The query's field of that name.
    Query(String),
    /// A value of the body.
    Field(Pointer),
}

impl AskedAt {
    /// The place as a profile writes it: `{id}`, `/general/payment_id`, or a name.
    pub fn named(text: &str) -> Option<Self> {
        if let Some(name) = text.strip_prefix('{') {
            return name.strip_suffix('}').map(|name| Self::Segment(name.to_owned()));
        }
        if text.starts_with('/') {
            return Pointer::parse(text).ok().map(Self::Field);
        }
        let plain = |byte: u8| byte.is_ascii_graphic() && !b"&=#?+%".contains(&byte);
        (!text.is_empty() && text.bytes().all(plain)).then(|| Self::Query(text.to_owned()))
    }
}

/// What a payment is asked for by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AskedBy {
    /// A value of its request.
    Field(Pointer),
    /// What the provider calls it, kept beside the secret that the caller's handle stands for.
    HandleId,
}

impl AskedBy {
    /// The value as a profile writes it: a pointer, or `handle_id`.
    pub fn named(text: &str) -> Option<Self> {
        match text {
            "handle_id" => Some(Self::HandleId),
            _ if text.starts_with('/') => Pointer::parse(text).ok().map(Self::Field),
            _ => None,
        }
    }
}

/// How a call writes the time, in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeStyle {
    /// `2026-11-21 16:20:00.000000`.
    DateTime,
    /// UNIX seconds, as a text.
    UnixSeconds,
}

impl TimeStyle {
    /// The variant of that name in a profile.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "date_time" => Some(Self::DateTime),
            "unix_seconds" => Some(Self::UnixSeconds),
            _ => None,
        }
    }
}

impl StatusQuery {
    /// What it asks by, places and repetitions alike.
    pub fn by(&self) -> impl Iterator<Item = &AskedBy> {
        self.ask.iter().map(|(_, by)| by).chain(self.same.iter().map(|(_, by)| by))
    }
}
