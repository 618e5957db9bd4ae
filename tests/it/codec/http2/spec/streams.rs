//! Streams, errors and what may be added to the protocol (sections 5 and 7).

use super::*;

pub(super) fn cases() -> Vec<Case> {
    [idle(), half_closed(), closed(), identifiers(), dependencies(), errors(), extensions()]
        .into_iter()
        .flatten()
        .collect()
}

fn some_data(stream: u32) -> Vec<u8> {
    frame(DATA, END_STREAM, stream, b"test")
}

fn more_fields() -> Vec<u8> {
    frame(CONTINUATION, END_HEADERS, 1, &block(&[("x", "y")]))
}

fn idle() -> Vec<Case> {
    vec![
        case("5.1 idle: priority", priority(1, 0), GoesOn),
        case("5.1 idle: data", some_data(1), Ends(PROTOCOL_ERROR)),
        case("5.1 idle: reset", reset(1, CANCEL), Ends(PROTOCOL_ERROR)),
        case("5.1 idle: window", window(1, 100), Ends(PROTOCOL_ERROR)),
        case("5.1 idle: continuation", more_fields(), Ends(PROTOCOL_ERROR)),
    ]
}

/// The room has the whole request and has not answered.
fn half_closed() -> Vec<Case> {
    let during = |name, bytes, due| case(name, to("/slow"), due).then(bytes).served(1);
    vec![
        during("5.1 half closed: window", window(1, 1), GoesOn),
        during("5.1 half closed: priority", priority(1, 0), GoesOn),
        during("5.1 half closed: reset", reset(1, CANCEL), GoesOn),
        during("5.1 half closed: data", some_data(1), EndsFor(STREAM_CLOSED)),
        during("5.1 half closed: fields", get(1, &[]), EndsFor(STREAM_CLOSED)),
        during("5.1 half closed: continuation", more_fields(), Ends(PROTOCOL_ERROR)),
    ]
}

fn closed() -> Vec<Case> {
    let gone = |name, bytes, due| case(name, post(&[]), due).then(reset(1, CANCEL)).then(bytes);
    let done = |name, bytes, due| case(name, get(1, &[]), due).then(bytes).served(1);
    vec![
        done("5.1 closed: priority", priority(1, 0), GoesOn),
        done("5.1 closed: window", window(1, 1), GoesOn),
        done("5.1 closed: reset", reset(1, CANCEL), GoesOn),
        gone("5.1 closed by a reset: data", some_data(1), ResetsLast(STREAM_CLOSED)),
        gone("5.1 closed by a reset: fields", get(1, &[]), EndsFor(STREAM_CLOSED)),
        gone("5.1 closed by a reset: continuation", more_fields(), Ends(PROTOCOL_ERROR)),
        done("5.1 closed: data", some_data(1), Resets(STREAM_CLOSED)),
        done("5.1 closed: fields", get(1, &[]), EndsFor(STREAM_CLOSED)),
        done("5.1 closed: continuation", more_fields(), Ends(PROTOCOL_ERROR)),
    ]
}

fn identifiers() -> Vec<Case> {
    vec![
        case("5.1.1 an even one", get(2, &[]), Ends(PROTOCOL_ERROR)),
        case("5.1.1 a smaller one", get(5, &[]), Ends(PROTOCOL_ERROR)).then(get(3, &[])).served(1),
        case("5.1.1 some left out", get(7, &[]), GoesOn).then(get(99, &[])).served(2),
    ]
}

fn dependencies() -> Vec<Case> {
    let on_itself = [&[0, 0, 0, 1, 15], block(&GET).as_slice()].concat();
    let flags = END_HEADERS | END_STREAM | WITH_PRIORITY;
    vec![
        case("5.3.1 fields", frame(HEADERS, flags, 1, &on_itself), Resets(PROTOCOL_ERROR)),
        case("5.3.1 priority", priority(1, 1), Resets(PROTOCOL_ERROR)),
    ]
}

fn errors() -> Vec<Case> {
    let bad = frame(PING, 0, 0, &[0; 7]);
    vec![
        case("5.4.1 the last stream is told", get(7, &[]), EndsFor(FRAME_SIZE_ERROR))
            .then(bad)
            .served(1)
            .also(|frames| {
                let last = frames.iter().find(|frame| frame.kind == GOAWAY);
                last.is_some_and(|frame| frame.code(0) == Some(7))
            }),
        case("7 reset with an unknown error", to("/slow"), GoesOn).then(reset(1, 0xff)).served(1),
        case(
            "7 goaway with an unknown error",
            frame(GOAWAY, 0, 0, &[0, 0, 0, 0, 0, 0, 0, 0xff]),
            Leaves,
        ),
    ]
}

fn extensions() -> Vec<Case> {
    let within = [
        frame(HEADERS, END_STREAM, 1, &block(&GET[..2])),
        frame(0x16, 0, 1, &[0; 8]),
        frame(CONTINUATION, END_HEADERS, 1, &block(&GET[2..])),
    ]
    .concat();
    let between = [post(&[]), frame(0x16, 0, 1, b"?"), some_data(1)].concat();
    vec![
        case("5.5 an unknown kind between", between, GoesOn)
            .served(1)
            .also(|frames| body(frames) == b"test"),
        case("5.5 an unknown kind within fields", within, Ends(PROTOCOL_ERROR)),
    ]
}
