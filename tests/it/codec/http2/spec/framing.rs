//! How a connection begins, what a frame is, and each kind of frame (sections 3, 4 and 6).

use super::*;

pub(super) fn cases() -> Vec<Case> {
    [format(), size(), blocks(), data(), headers_frames(), priorities(), resets()]
        .into_iter()
        .chain([settings_frames(), setting_values(), pings(), windows(), flow(), continuations()])
        .flatten()
        .collect()
}

/// These bring a preface of their own.
pub(super) fn preface() -> Vec<Case> {
    let hello_is_first = |frames: &[Frame]| {
        let first = &frames[0];
        (first.kind, first.flags, first.stream) == (SETTINGS, 0, 0)
    };
    vec![
        case("3.5 a preface", hello(), GoesOn).also(hello_is_first),
        case("3.5 a preface and a request at once", [hello(), get(1, &[])].concat(), GoesOn)
            .served(1),
        case("3.5 another preface", b"INVALID CONNECTION PREFACE\r\n\r\n".to_vec(), Closes),
        case(
            "3.5 a preface without settings",
            [PREFACE, &frame(PING, 0, 0, &[0; 8])].concat(),
            NotHeld(PROTOCOL_ERROR),
        ),
    ]
}

fn format() -> Vec<Case> {
    let ponged = |frames: &[Frame]| acknowledged(frames, PING, b"12345678") == 1;
    let ping = |flags, stream| frame(PING, flags, stream, b"12345678");
    let odd_flags = END_STREAM | END_HEADERS | 0xd2;
    vec![
        case("4.1 an unknown kind", frame(0x16, 0, 0, &[0; 8]), GoesOn),
        case("4.1 an unknown kind on a stream", frame(0xff, 0xff, 1, &[0; 8]), GoesOn),
        case("4.1 undefined flags", ping(0xfe, 0), GoesOn).also(ponged),
        case(
            "4.1 undefined flags of a request",
            frame(HEADERS, odd_flags, 1, &block(&GET)),
            GoesOn,
        )
        .served(1),
        case("4.1 the reserved bit", ping(0, 1 << 31), GoesOn).also(ponged),
    ]
}

fn size() -> Vec<Case> {
    let most = vec![b'x'; 1 << 14];
    let more = vec![b'x'; (1 << 14) + 1];
    let data = |payload: &[u8]| [post(&[]), frame(DATA, END_STREAM, 1, payload)].concat();
    vec![
        case("4.2 data of 2^14", data(&most), GoesOn)
            .served(1)
            .also(|frames| body(frames) == [b'x'; 1 << 14]),
        case("4.2 data of more", data(&more), Ends(FRAME_SIZE_ERROR)),
        case(
            "4.2 fields of more",
            frame(HEADERS, END_HEADERS | END_STREAM, 1, &more),
            Ends(FRAME_SIZE_ERROR),
        ),
        case("4.2 an unknown kind of more", frame(0x16, 0, 0, &more), Ends(FRAME_SIZE_ERROR)),
    ]
}

/// A request of which the fields do not end.
fn begun_block(stream: u32) -> Vec<u8> {
    frame(HEADERS, END_STREAM, stream, &block(&GET[..2]))
}

fn blocks() -> Vec<Case> {
    let behind = |bytes: Vec<u8>| [begun_block(1), bytes].concat();
    vec![
        case(
            "4.3 no field block",
            frame(HEADERS, END_HEADERS | END_STREAM, 1, &[0, 0xff, 0xff, 0xff, 0xff]),
            EndsFor(COMPRESSION_ERROR),
        ),
        case("4.3 priority within a block", behind(priority(1, 0)), Ends(PROTOCOL_ERROR)),
        case("4.3 another request within a block", behind(get(3, &[])), Ends(PROTOCOL_ERROR)),
    ]
}

fn data() -> Vec<Case> {
    let one = [post(&[]), frame(DATA, END_STREAM, 1, b"x")].concat();
    let several = [
        post(&[]),
        frame(DATA, 0, 1, b"a"),
        frame(DATA, 0, 1, b""),
        frame(DATA, 0, 1, b"b"),
        frame(DATA, END_STREAM, 1, b"c"),
    ]
    .concat();
    let padded = [post(&[]), frame(DATA, END_STREAM | PADDED, 1, b"\x03abc\0\0\0")].concat();
    let badly = [post(&[]), frame(DATA, END_STREAM | PADDED, 1, &[9, 1])].concat();
    vec![
        case("6.1 data", one, GoesOn).served(1).also(|frames| body(frames) == b"x"),
        case("6.1 data in parts", several, GoesOn).served(1).also(|frames| body(frames) == b"abc"),
        case("6.1 data with padding", padded, GoesOn)
            .served(1)
            .also(|frames| body(frames) == b"abc"),
        case("6.1 data on stream 0", frame(DATA, END_STREAM, 0, b"x"), Ends(PROTOCOL_ERROR)),
        case("6.1 data behind the end", get(1, &[]), Resets(STREAM_CLOSED))
            .then(frame(DATA, END_STREAM, 1, b"x"))
            .served(1),
        case("6.1 more padding than data", badly, Ends(PROTOCOL_ERROR)),
    ]
}

fn headers_frames() -> Vec<Case> {
    let whole = END_HEADERS | END_STREAM;
    let padded = [&[2], block(&GET).as_slice(), &[0, 0]].concat();
    let badly = [&[200], block(&GET).as_slice()].concat();
    let weighed = [&[0, 0, 0, 0, 15], block(&GET).as_slice()].concat();
    vec![
        case("6.2 padding", frame(HEADERS, whole | PADDED, 1, &padded), GoesOn).served(1),
        case("6.2 priority", frame(HEADERS, whole | WITH_PRIORITY, 1, &weighed), GoesOn).served(1),
        case(
            "6.2 priority behind open fields",
            [begun_block(1), priority(3, 0)].concat(),
            Ends(PROTOCOL_ERROR),
        ),
        case(
            "6.2 another stream behind open fields",
            [begun_block(1), begun_block(3)].concat(),
            Ends(PROTOCOL_ERROR),
        ),
        case("6.2 stream 0", frame(HEADERS, whole, 0, &block(&GET)), Ends(PROTOCOL_ERROR)),
        case(
            "6.2 more padding than fields",
            frame(HEADERS, whole | PADDED, 1, &badly),
            Ends(PROTOCOL_ERROR),
        ),
    ]
}

fn priorities() -> Vec<Case> {
    let exclusive = priority(1, 1 << 31 | 3);
    vec![
        case("6.3 weight 1", [frame(PRIORITY, 0, 1, &[0; 5]), get(1, &[])].concat(), GoesOn)
            .served(1),
        case(
            "6.3 weight 256",
            [frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 255]), get(1, &[])].concat(),
            GoesOn,
        )
        .served(1),
        case("6.3 exclusive", [exclusive, get(1, &[])].concat(), GoesOn).served(1),
        case("6.3 for a later stream", [priority(5, 3), get(1, &[])].concat(), GoesOn).served(1),
        case("6.3 stream 0", priority(0, 1), Ends(PROTOCOL_ERROR)),
        case("6.3 four bytes", frame(PRIORITY, 0, 1, &[0; 4]), EndsFor(FRAME_SIZE_ERROR)),
    ]
}

fn resets() -> Vec<Case> {
    vec![
        case("6.4 of a request", to("/slow"), GoesOn).then(reset(1, CANCEL)).served(1),
        case("6.4 stream 0", reset(0, CANCEL), Ends(PROTOCOL_ERROR)),
        case("6.4 of nothing", reset(1, CANCEL), Ends(PROTOCOL_ERROR)),
        case("6.4 three bytes", to("/slow"), EndsFor(FRAME_SIZE_ERROR))
            .then(frame(RST_STREAM, 0, 1, &[0; 3]))
            .served(1),
    ]
}

fn settings_frames() -> Vec<Case> {
    let acknowledged = |frames: &[Frame]| acknowledged(frames, SETTINGS, b"") == 2;
    vec![
        case("6.5 a frame", settings(&[]), GoesOn).also(acknowledged),
        case("6.5 on a stream", frame(SETTINGS, 0, 1, &setting(3, 9)), Ends(PROTOCOL_ERROR)),
        case(
            "6.5 an acknowledgement with a payload",
            frame(SETTINGS, ACK, 0, &[0; 6]),
            EndsFor(FRAME_SIZE_ERROR),
        ),
        case("6.5 three bytes", frame(SETTINGS, 0, 0, &[0, 3, 0]), EndsFor(FRAME_SIZE_ERROR)),
        case("6.5.3 a frame with values", settings(&[(3, 100), (4, 70_000)]), GoesOn)
            .also(acknowledged),
        case("6.5.3 the last value counts", settings(&[(4, 100), (4, 1)]), GoesOn)
            .then(to("/large"))
            .served(1)
            .also(|frames| body(frames).len() == 1),
    ]
}

fn setting_values() -> Vec<Case> {
    vec![
        case("6.5.2 push 2", settings(&[(2, 2)]), Ends(PROTOCOL_ERROR)),
        case("6.5.2 a window of 2^31", settings(&[(4, 1 << 31)]), EndsFor(FLOW_CONTROL_ERROR)),
        case("6.5.2 frames of 2^14 - 1", settings(&[(5, (1 << 14) - 1)]), Ends(PROTOCOL_ERROR)),
        case("6.5.2 frames of 2^24", settings(&[(5, 1 << 24)]), Ends(PROTOCOL_ERROR)),
        case("6.5.2 an unknown one", settings(&[(0xff, 1)]), GoesOn),
    ]
}

fn pings() -> Vec<Case> {
    let ping = |flags, stream| frame(PING, flags, stream, b"a ping..");
    vec![
        case("6.7 is answered", ping(0, 0), GoesOn)
            .also(|frames| acknowledged(frames, PING, b"a ping..") == 1),
        case("6.7 an answer is not", ping(ACK, 0), GoesOn)
            .also(|frames| frames.iter().all(|frame| frame.kind != PING)),
        case("6.7 on a stream", ping(0, 1), Ends(PROTOCOL_ERROR)),
        case("6.7 six bytes", frame(PING, 0, 0, &[0; 6]), EndsFor(FRAME_SIZE_ERROR)),
        case("6.8 goaway on a stream", frame(GOAWAY, 0, 1, &[0; 8]), Ends(PROTOCOL_ERROR)),
        case("6.8 goaway of seven bytes", frame(GOAWAY, 0, 0, &[0; 7]), EndsFor(FRAME_SIZE_ERROR)),
        case("6.8 goaway", frame(GOAWAY, 0, 0, &[0; 8]), Leaves),
    ]
}

fn windows() -> Vec<Case> {
    let whole = (1 << 31) - 1;
    let no_window = settings(&[(4, 0)]);
    vec![
        case("6.9 of the connection", window(0, 1), GoesOn),
        case("6.9 of a stream", no_window.clone(), GoesOn)
            .then([to("/large"), window(1, 1)].concat())
            .served(1)
            .also(|frames| body(frames).len() == 1),
        case("6.9 by nothing", window(0, 0), Ends(PROTOCOL_ERROR)),
        case("6.9 by nothing on a stream", to("/slow"), Ends(PROTOCOL_ERROR))
            .then(window(1, 0))
            .served(1),
        case("6.9 three bytes", frame(WINDOW_UPDATE, 0, 0, &[0; 3]), EndsFor(FRAME_SIZE_ERROR)),
        case("6.9.1 above the most", window(0, whole), Ends(FLOW_CONTROL_ERROR)),
        case("6.9.1 above the most on a stream", no_window, Resets(FLOW_CONTROL_ERROR))
            .then(to("/slow"))
            .then([window(1, whole), window(1, whole)].concat())
            .served(1),
    ]
}

fn flow() -> Vec<Case> {
    vec![
        case("6.9.1 no more than fits", settings(&[(4, 1)]), GoesOn)
            .then(to("/large"))
            .served(1)
            .also(|frames| body(frames).len() == 1),
        case("6.9.2 changed behind a request", settings(&[(4, 0)]), GoesOn)
            .then(to("/large"))
            .then(settings(&[(4, 1)]))
            .served(1)
            .also(|frames| body(frames).len() == 1),
        case("6.9.2 below zero", settings(&[(4, 3)]), GoesOn)
            .then(to("/large"))
            .then([settings(&[(4, 2)]), window(1, 2)].concat())
            .served(1)
            .also(|frames| body(frames).len() == 4),
        case("6.9.2 above the most", to("/slow"), EndsFor(FLOW_CONTROL_ERROR))
            .then(settings(&[(4, 1 << 31)]))
            .served(1),
    ]
}

fn continuations() -> Vec<Case> {
    let rest = |flags, stream, fields: &[_]| frame(CONTINUATION, flags, stream, &block(fields));
    let end = |stream| rest(END_HEADERS, stream, &GET[2..]);
    let open = rest(0, 1, &GET[2..3]);
    let behind = |bytes: &[u8]| [&begun_block(1), bytes].concat();
    let parts = [begun_block(1), open.clone(), rest(END_HEADERS, 1, &GET[3..])].concat();
    vec![
        case("6.10 one", behind(&end(1)), GoesOn).served(1),
        case("6.10 several", parts, GoesOn).served(1),
        case(
            "6.10 data within",
            behind(&[open.clone(), frame(DATA, END_STREAM, 1, b"x")].concat()),
            Ends(PROTOCOL_ERROR),
        ),
        case("6.10 stream 0", behind(&end(0)), Ends(PROTOCOL_ERROR)),
        case("6.10 another stream", behind(&end(3)), Ends(PROTOCOL_ERROR)),
        case("6.10 behind whole fields", to("/slow"), Ends(PROTOCOL_ERROR)).then(end(1)).served(1),
        case("6.10 behind the last one", [behind(&end(1)), end(1)].concat(), Ends(PROTOCOL_ERROR)),
        case(
            "6.10 behind data",
            [post(&[]), frame(DATA, 0, 1, b"x"), end(1)].concat(),
            Ends(PROTOCOL_ERROR),
        ),
    ]
}
