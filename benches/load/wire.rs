//! As much HTTP/1.1 as a load generator and a simulated provider need.

use memchr::memmem;

/// A whole message at the start of a buffer.
#[derive(Clone, Copy, Debug)]
pub struct Message {
    body_at: usize,
    /// Where the next one begins.
    pub end: usize,
}

impl Message {
    /// Whether it is all there; a body's length is told by `Content-Length`.
    pub fn find(buffer: &[u8]) -> Option<Self> {
        let body_at = memmem::find(buffer, b"\r\n\r\n")? + 4;
        let length = content_length(&buffer[..body_at]);
        let end = body_at + length;
        (buffer.len() >= end).then_some(Self { body_at, end })
    }

    /// First line and fields.
    pub fn head<'a>(&self, buffer: &'a [u8]) -> &'a [u8] {
        &buffer[..self.body_at]
    }

    /// What follows them.
    pub fn body<'a>(&self, buffer: &'a [u8]) -> &'a [u8] {
        &buffer[self.body_at..self.end]
    }
}

fn content_length(head: &[u8]) -> usize {
    const NAME: &[u8] = b"content-length:";
    for at in memchr::memchr_iter(b'\n', head) {
        let line = &head[at + 1..];
        if line.len() > NAME.len() && line[..NAME.len()].eq_ignore_ascii_case(NAME) {
            let digits = line[NAME.len()..].iter().skip_while(|byte| **byte == b' ');
            return digits
                .take_while(|byte| byte.is_ascii_digit())
                .fold(0, |sum, digit| sum * 10 + usize::from(digit - b'0'));
        }
    }
    0
}

/// The status of an answer's first line.
pub fn status(head: &[u8]) -> u16 {
    let digits = head.get(9..12).unwrap_or_default();
    std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

/// Whether an answer is the connection's last.
pub fn closes(head: &[u8]) -> bool {
    let fields = head.split(|byte| *byte == b'\n');
    fields.into_iter().any(|field| field.trim_ascii().eq_ignore_ascii_case(b"connection: close"))
}

/// An answer in JSON.
pub fn answer(status: u16, body: &str) -> Vec<u8> {
    let length = body.len();
    let text = format!(
        "HTTP/1.1 {status} OK\r\nContent-Type: application/json\r\n\
         Date: Sat, 21 Nov 2026 07:00:00 GMT\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    text.into_bytes()
}

/// A request with a JSON body.
pub fn post(path: &str, fields: &[(&str, &str)], body: &str) -> Vec<u8> {
    let mut text = format!("POST {path} HTTP/1.1\r\nHost: localhost\r\n");
    for (name, value) in fields {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    let length = body.len();
    text.push_str(&format!(
        "Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    ));
    text.into_bytes()
}
