//! Requests (section 8), and how their fields are packed (`hpack`, RFC 7541).

use super::*;

pub(super) fn cases() -> Vec<Case> {
    [exchanges(), fields(), pseudo_fields(), request_fields(), lengths()]
        .into_iter()
        .chain([packed(), tables(), tables_at_fault()])
        .flatten()
        .collect()
}

fn asking(fields: &[(&str, &str)]) -> Vec<u8> {
    headers(END_STREAM, 1, fields)
}

fn exchanges() -> Vec<Case> {
    let head = [(":method", "HEAD"), GET[1], GET[2], (":path", "/host")];
    let sent = [post(&[]), frame(DATA, 0, 1, b"test")].concat();
    let promise = [&[0, 0, 0, 2], block(&GET).as_slice()].concat();
    vec![
        case("8.1 get", to("/host"), GoesOn).served(1).also(|frames| body(frames) == b"a"),
        case("8.1 head", asking(&head), GoesOn).served(1).also(|frames| body(frames).is_empty()),
        case("8.1 trailers", [sent.clone(), asking(&[("x", "y")])].concat(), GoesOn)
            .served(1)
            .also(|frames| body(frames) == b"test"),
        case(
            "8.1 second fields that do not end",
            [sent, headers(0, 1, &[("x", "y")])].concat(),
            ResetsLast(PROTOCOL_ERROR),
        ),
        case("8.2 a promise", frame(PUSH_PROMISE, END_HEADERS, 1, &promise), Ends(PROTOCOL_ERROR)),
    ]
}

fn fields() -> Vec<Case> {
    let with = |name, field| case(name, get(1, &[field]), Resets(PROTOCOL_ERROR));
    vec![
        case("8.1.2 a name in capitals", get(1, &[("X-Test", "y")]), Ends(PROTOCOL_ERROR)),
        with("8.1.2.2 connection", ("connection", "keep-alive")),
        with("8.1.2.2 transfer-encoding", ("transfer-encoding", "chunked")),
        with("8.1.2.2 upgrade", ("upgrade", "h2c")),
        with("8.1.2.2 keep-alive", ("keep-alive", "timeout=5")),
        with("8.1.2.2 proxy-connection", ("proxy-connection", "close")),
        with("8.1.2.2 te other than trailers", ("te", "trailers, deflate")),
        case("8.1.2.2 te: trailers", get(1, &[("te", "trailers")]), GoesOn).served(1),
    ]
}

fn pseudo_fields() -> Vec<Case> {
    let late = [GET[0], GET[1], GET[2], ("x", "y"), GET[3]];
    let trailers = [post(&[]), frame(DATA, 0, 1, b"test"), asking(&[(":method", "GET")])].concat();
    vec![
        case("8.1.2.1 an unknown one", get(1, &[(":test", "x")]), Ends(PROTOCOL_ERROR)),
        case("8.1.2.1 an answer's", get(1, &[(":status", "200")]), Resets(PROTOCOL_ERROR)),
        case("8.1.2.1 in trailers", trailers, NotHeld(PROTOCOL_ERROR)).served(1),
        case("8.1.2.1 behind a field", asking(&late), Resets(PROTOCOL_ERROR)),
    ]
}

fn request_fields() -> Vec<Case> {
    let without = |at: usize| {
        let mut fields = GET.to_vec();
        fields.remove(at);
        asking(&fields)
    };
    let empty_path = [GET[0], GET[1], GET[2], (":path", "")];
    let twice = |at: usize| asking(&[&GET[..], &[GET[at]]].concat());
    vec![
        case("8.1.2.3 an empty path", asking(&empty_path), Resets(PROTOCOL_ERROR)),
        case("8.1.2.3 no method", without(0), Resets(PROTOCOL_ERROR)),
        case("8.1.2.3 no scheme", without(1), Resets(PROTOCOL_ERROR)),
        case("8.1.2.3 no path", without(3), Resets(PROTOCOL_ERROR)),
        case("8.1.2.3 two methods", twice(0), Resets(PROTOCOL_ERROR)),
        case("8.1.2.3 two schemes", twice(1), Resets(PROTOCOL_ERROR)),
        case("8.1.2.3 two authorities", twice(2), Resets(PROTOCOL_ERROR)),
        case("8.1.2.3 two paths", twice(3), Resets(PROTOCOL_ERROR)),
    ]
}

fn lengths() -> Vec<Case> {
    let sized = |length, parts: &[&[u8]]| {
        let mut bytes = post(&[("content-length", length)]);
        for (n, part) in parts.iter().enumerate() {
            let flags = if n + 1 == parts.len() { END_STREAM } else { 0 };
            bytes.extend(frame(DATA, flags, 1, part));
        }
        bytes
    };
    vec![
        case("8.1.2.6 kept", sized("8", &[b"test", b"test"]), GoesOn).served(1),
        case("8.1.2.6 not kept", sized("1", &[b"test"]), ResetsLast(PROTOCOL_ERROR)),
        case(
            "8.1.2.6 not kept in parts",
            sized("1", &[b"test", b"test"]),
            ResetsLast(PROTOCOL_ERROR),
        ),
        case("8.1.2.6 not reached", sized("9", &[b"test", b"test"]), ResetsLast(PROTOCOL_ERROR)),
        case("8.1.2.6 without a body", get(1, &[("content-length", "1")]), Resets(PROTOCOL_ERROR)),
    ]
}

/// A request for `/host` with its authority packed like this; the answer is the authority.
fn packed_as(stream: u32, authority: &[u8]) -> Vec<u8> {
    let rest = block(&[(":path", "/host")]);
    let fields = [&[0x82, 0x87], authority, rest.as_slice()].concat();
    frame(HEADERS, END_HEADERS | END_STREAM, stream, &fields)
}

fn packed() -> Vec<Case> {
    let name = [&[10], b":authority".as_slice()].concat();
    // The same by Huffman's code.
    let short = [0x88, 0xb8, 0x3b, 0x53, 0x39, 0xec, 0x32, 0x7d, 0x7f];
    [
        ("hpack 6.2.1 known name", vec![0x41, 1, b'a']),
        ("hpack 6.2.1 known name, coded", vec![0x41, 0x81, 0x1f]),
        ("hpack 6.2.1 new name", [&[0x40], &name[..], &[1, b'a']].concat()),
        ("hpack 6.2.1 new name, coded", [&[0x40], &short[..], &[0x81, 0x1f]].concat()),
        ("hpack 6.2.2 known name", vec![1, 1, b'a']),
        ("hpack 6.2.2 known name, coded", vec![1, 0x81, 0x1f]),
        ("hpack 6.2.2 new name", [&[0], &name[..], &[1, b'a']].concat()),
        ("hpack 6.2.2 new name, coded", [&[0], &short[..], &[0x81, 0x1f]].concat()),
        ("hpack 6.2.3 known name", vec![0x11, 1, b'a']),
        ("hpack 6.2.3 known name, coded", vec![0x11, 0x81, 0x1f]),
        ("hpack 6.2.3 new name", [&[0x10], &name[..], &[1, b'a']].concat()),
        ("hpack 6.2.3 new name, coded", [&[0x10], &short[..], &[0x81, 0x1f]].concat()),
    ]
    .map(|(name, authority)| {
        let got_it = |frames: &[Frame]| body(frames) == b"a";
        case(name, packed_as(1, &authority), GoesOn).served(1).also(got_it)
    })
    .into()
}

fn tables() -> Vec<Case> {
    let after = |update: &[u8]| {
        let fields = [update, &block(&GET)].concat();
        frame(HEADERS, END_HEADERS | END_STREAM, 1, &fields)
    };
    vec![
        case("hpack 6.1 kept from before", packed_as(1, &[0x41, 1, b'a']), GoesOn)
            .then(packed_as(3, &[0xbe]))
            .served(2)
            .also(|frames| body(frames) == b"aa"),
        case("hpack 6.3 another size", after(&[0x20]), GoesOn).served(1),
        case("hpack 6.3 two sizes", after(&[0x20, 0x3f, 0xe1, 0x1f]), GoesOn).served(1),
        case("hpack 6.3 emptied", packed_as(1, &[0x41, 1, b'a']), EndsFor(COMPRESSION_ERROR))
            .then(frame(HEADERS, END_HEADERS | END_STREAM, 3, &[0x20, 0xbe]))
            .served(1),
    ]
}

fn tables_at_fault() -> Vec<Case> {
    let end = |name, bytes: &[u8]| {
        let fields = [&block(&GET), bytes].concat();
        let request = frame(HEADERS, END_HEADERS | END_STREAM, 1, &fields);
        case(name, request, EndsFor(COMPRESSION_ERROR))
    };
    let coded =
        |bytes: &[u8]| [&[0, 1, b'x', 0x80 | u8::try_from(bytes.len()).unwrap()], bytes].concat();
    let beyond = [&[0x3f, 0xe2, 0x1f], block(&GET).as_slice()].concat();
    let beyond = frame(HEADERS, END_HEADERS | END_STREAM, 1, &beyond);
    vec![
        end("hpack 2.3.3 a field that is not there", &[0xbe]),
        end("hpack 2.3.3 a name that is not there", &[0x7e, 1, b'y']),
        end("hpack 4.2 another size at the end", &[0x20]),
        end("hpack 5.2 padding of 11 bits", &coded(&[0x1f, 0xff])),
        end("hpack 5.2 padding of zeros", &coded(&[0x18])),
        end("hpack 5.2 the end's own code", &coded(&[0xff; 4])),
        end("hpack 6.1 the field 0", &[0x80]),
        case("hpack 6.3 a larger size than allowed", beyond, EndsFor(COMPRESSION_ERROR)),
    ]
}
