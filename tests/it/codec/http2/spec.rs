//! What h2spec asks of a server, under its section numbers (RFC 7540; `hpack` is RFC 7541): a
//! breach of the protocol ends its stream or the connection, with which error, and does not reach
//! the room; what is allowed is served. h2spec is a program in another language, so its cases are
//! written anew here, and some added. The corpus beside this file asks of more requests whether
//! they are refused, not how; more streams than allowed (5.1.2) have a test of their own.

use super::*;

mod framing;
mod messages;
mod streams;

const PRIORITY: u8 = 2;
const ACK: u8 = 1;
const PADDED: u8 = 8;
const WITH_PRIORITY: u8 = 0x20;

const NO_ERROR: u32 = 0;
const PROTOCOL_ERROR: u32 = 1;
const FLOW_CONTROL_ERROR: u32 = 3;
const STREAM_CLOSED: u32 = 5;
const FRAME_SIZE_ERROR: u32 = 6;
const CANCEL: u32 = 8;
const COMPRESSION_ERROR: u32 = 9;

/// The stream of the request that is sent behind every case.
const AFTER: u32 = 2001;
/// Long enough for the server to deal with a step, and to end a connection.
const STEP: Duration = Duration::from_millis(10);

/// What comes of a case.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Due {
    /// The connection ends with this error, and nothing more is served on it.
    Ends(u32),
    /// The RFC names this error; h2 ends the connection with PROTOCOL_ERROR.
    EndsFor(u32),
    /// It ends without a word: whoever it is does not speak HTTP/2.
    Closes,
    /// Stream 1 is reset with this error, and the next request is served.
    Resets(u32),
    /// The same, and the client is asked to go: a body came that nobody took.
    ResetsLast(u32),
    /// Nothing is refused, and the next request is served.
    GoesOn,
    /// Nothing is refused, and the connection ends: the client said that it goes.
    Leaves,
    /// The RFC names this error; h2 passes over what is wrong, and the rest is served.
    NotHeld(u32),
}

use Due::*;

struct Case {
    name: &'static str,
    /// One after the other; the server has dealt with one when the next one comes.
    steps: Vec<Vec<u8>>,
    due: Due,
    /// Requests that reach the room.
    served: usize,
    also: fn(&[Frame]) -> bool,
}

fn case(name: &'static str, bytes: Vec<u8>, due: Due) -> Case {
    Case { name, steps: vec![bytes], due, served: 0, also: |_| true }
}

impl Case {
    /// Behind the client's preface.
    fn begun(mut self) -> Self {
        self.steps.insert(0, hello());
        self
    }

    fn then(mut self, bytes: Vec<u8>) -> Self {
        self.steps.push(bytes);
        self
    }

    fn served(self, served: usize) -> Self {
        Self { served, ..self }
    }

    fn also(self, also: fn(&[Frame]) -> bool) -> Self {
        Self { also, ..self }
    }

    /// What is not as it should be.
    fn complaint(&self, heard: &Heard) -> Option<String> {
        let goaways: Vec<u32> = heard.of(GOAWAY).filter_map(|f| f.code(4)).collect();
        let resets: Vec<_> = heard.of(RST_STREAM).map(|f| (f.stream, f.code(0))).collect();
        let ended_with = |code: u32| match goaways.split_last() {
            Some((last, before)) => {
                heard.closed && *last == code && before.iter().all(|code| *code == NO_ERROR)
            }
            None => false,
        };
        let goes_on = matches!(self.due, Resets(_) | ResetsLast(_) | GoesOn | NotHeld(_));
        let fine = match self.due {
            Ends(code) => ended_with(code) && resets.is_empty(),
            EndsFor(_) => ended_with(PROTOCOL_ERROR) && resets.is_empty(),
            Closes => heard.closed && goaways.is_empty() && resets.is_empty(),
            Resets(code) => goaways.is_empty() && resets == [(1, Some(code))],
            ResetsLast(code) => goaways == [NO_ERROR] && resets == [(1, Some(code))],
            GoesOn | NotHeld(_) => goaways.is_empty() && resets.is_empty(),
            Leaves => {
                heard.closed && goaways.iter().all(|code| *code == NO_ERROR) && resets.is_empty()
            }
        };
        let served = self.served + usize::from(goes_on);
        let answered = heard.answered(AFTER) == goes_on;
        (!fine || !answered || heard.handled != served || !(self.also)(&heard.frames))
            .then(|| format!("{}: {:?} was due, got {heard:?}", self.name, self.due))
    }
}

#[derive(Debug)]
struct Heard {
    frames: Vec<Frame>,
    closed: bool,
    handled: usize,
}

impl Heard {
    fn of(&self, kind: u8) -> impl Iterator<Item = &Frame> {
        self.frames.iter().filter(move |frame| frame.kind == kind)
    }

    fn answered(&self, stream: u32) -> bool {
        self.of(HEADERS).any(|frame| frame.stream == stream && !frame.refuses())
    }
}

impl Frame {
    /// The error code at this place.
    fn code(&self, at: usize) -> Option<u32> {
        let code = self.payload.get(at..at + 4)?;
        Some(u32::from_be_bytes(code.try_into().ok()?))
    }
}

/// The bytes of all bodies.
fn body(frames: &[Frame]) -> Vec<u8> {
    let data = frames.iter().filter(|frame| frame.kind == DATA);
    data.flat_map(|frame| frame.payload.clone()).collect()
}

fn acknowledged(frames: &[Frame], kind: u8, payload: &[u8]) -> usize {
    let fits = |frame: &&Frame| frame.kind == kind && frame.flags == ACK;
    frames.iter().filter(fits).filter(|frame| frame.payload == payload).count()
}

fn hello() -> Vec<u8> {
    [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()
}

fn to(path: &'static str) -> Vec<u8> {
    headers(END_STREAM, 1, &[GET[0], GET[1], GET[2], (":path", path)])
}

fn setting(id: u8, value: u32) -> Vec<u8> {
    [&[0, id], value.to_be_bytes().as_slice()].concat()
}

fn settings(values: &[(u8, u32)]) -> Vec<u8> {
    let payload: Vec<u8> = values.iter().flat_map(|(id, value)| setting(*id, *value)).collect();
    frame(SETTINGS, 0, 0, &payload)
}

fn window(stream: u32, more: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, stream, &more.to_be_bytes())
}

fn reset(stream: u32, code: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &code.to_be_bytes())
}

/// A priority frame for a stream that depends on another one.
fn priority(stream: u32, on: u32) -> Vec<u8> {
    frame(PRIORITY, 0, stream, &[&on.to_be_bytes(), [15].as_slice()].concat())
}

async fn play(fixture: &Fixture, case: &Case) -> Heard {
    let before = fixture.server.room.handled();
    let mut stream = fixture.raw().await;
    for bytes in case.steps.iter().chain([&get(AFTER, &[])]) {
        let _ = stream.write_all(bytes).await;
        sleep(STEP).await;
    }
    let (frames, closed) = hear(&mut stream).await;
    drop(stream);
    Heard { frames, closed, handled: fixture.server.room.handled() - before }
}

#[tokio::test(start_paused = true)]
async fn breaches_of_http2_end_the_stream_or_the_connection_and_what_is_allowed_is_served() {
    let fixture = Fixture::new();
    let begun = [framing::cases(), streams::cases(), messages::cases()].into_iter().flatten();
    let cases: Vec<Case> = framing::preface().into_iter().chain(begun.map(Case::begun)).collect();
    let mut complaints = Vec::new();
    for case in &cases {
        complaints.extend(case.complaint(&play(&fixture, case).await));
    }
    assert!(complaints.is_empty(), "{} complaints: {complaints:#?}", complaints.len());
    let names = |fits: &dyn Fn(&Due) -> bool| {
        let fitting = cases.iter().filter(|case| fits(&case.due));
        fitting.map(|case| case.name).collect::<Vec<_>>()
    };
    // SECURITY.md has these figures, and the two.
    let told_otherwise = names(&|due| matches!(due, EndsFor(_))).len();
    let not_held = names(&|due| matches!(due, NotHeld(_)));
    let allowed = names(&|due| matches!(due, GoesOn | Leaves)).len();
    assert_eq!([cases.len() - allowed, allowed, told_otherwise], [96, 63, 24]);
    assert_eq!(not_held, ["3.5 a preface without settings", "8.1.2.1 in trailers"]);
}
