//! HTTP/2 towards clients: the same rules as on HTTP/1.1, and the protocol's own abuses.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{Request, StatusCode};
use portcullis::proxy::message::{Caps, ConnectionEvent, Deadlines};
use portcullis::proxy::tls::TlsSetup;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::client::TlsStream;

use super::support::{Authority, Server, connect_tls, deadlines};

mod corpus;
mod spec;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PUSH_PROMISE: u8 = 5;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// Literal fields without indexing, without Huffman coding.
fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            block.push(u8::try_from(text.len()).ok().filter(|&n| n < 127).unwrap());
            block.extend_from_slice(text.as_bytes());
        }
    }
    block
}

const GET: [(&str, &str); 4] =
    [(":method", "GET"), (":scheme", "https"), (":authority", "a"), (":path", "/")];
const POST: [(&str, &str); 4] =
    [(":method", "POST"), (":scheme", "https"), (":authority", "a"), (":path", "/")];

fn headers(flags: u8, stream: u32, fields: &[(&str, &str)]) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | flags, stream, &block(fields))
}

fn get(stream: u32, more: &[(&str, &str)]) -> Vec<u8> {
    headers(END_STREAM, stream, &[&GET, more].concat())
}

fn post(more: &[(&str, &str)]) -> Vec<u8> {
    headers(0, 1, &[&POST, more].concat())
}

struct Fixture {
    authority: Authority,
    server: Server,
}

impl Fixture {
    fn new() -> Self {
        let authority = Authority::new();
        let server = Server::new(Some(&authority.server()), deadlines(), Caps::default());
        Self { authority, server }
    }

    async fn raw(&self) -> TlsStream<DuplexStream> {
        let connector = self.authority.client(&[b"h2"], None);
        let stream = connect_tls(&self.server, &connector).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        stream
    }

    /// A connection past its preface.
    async fn begun(&self) -> TlsStream<DuplexStream> {
        let mut stream = self.raw().await;
        let hello = [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat();
        stream.write_all(&hello).await.unwrap();
        stream
    }

    async fn client(
        &self,
    ) -> (h2::client::SendRequest<Bytes>, tokio::task::JoinHandle<Result<(), h2::Error>>) {
        let (client, connection) = h2::client::handshake(self.raw().await).await.unwrap();
        (client, tokio::spawn(connection))
    }
}

#[derive(Debug)]
struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

impl Frame {
    /// Whether this frame turns stream 1 or the connection down, or answers with anything but 200.
    fn refuses(&self) -> bool {
        match self.kind {
            HEADERS => self.payload.first() != Some(&0x88),
            RST_STREAM => true,
            GOAWAY => self.payload.get(4..8) != Some(&[0; 4]),
            _ => false,
        }
    }
}

/// Everything the server says within two seconds.
async fn listen(stream: &mut TlsStream<DuplexStream>) -> Vec<Frame> {
    hear(stream).await.0
}

/// The same, and whether it ended the connection within that time.
async fn hear(stream: &mut TlsStream<DuplexStream>) -> (Vec<Frame>, bool) {
    let mut bytes = Vec::new();
    let ended = timeout(Duration::from_secs(2), stream.read_to_end(&mut bytes)).await.is_ok();
    let mut frames = Vec::new();
    let mut rest = bytes.as_slice();
    while rest.len() >= 9 {
        let length = usize::from(rest[0]) << 16 | usize::from(rest[1]) << 8 | usize::from(rest[2]);
        let stream = u32::from_be_bytes([rest[5], rest[6], rest[7], rest[8]]);
        let payload = rest[9..9 + length].to_vec();
        frames.push(Frame { kind: rest[3], flags: rest[4], stream, payload });
        rest = &rest[9 + length..];
    }
    (frames, ended)
}

#[tokio::test(start_paused = true)]
async fn requests_are_answered_side_by_side() {
    let fixture = Fixture::new();
    let (mut client, _connection) = fixture.client().await;
    let mut answers = Vec::new();
    for n in 0..20 {
        let request = Request::post("https://localhost/echo").body(()).unwrap();
        let (answer, mut body) = client.send_request(request, false).unwrap();
        body.send_data(Bytes::from(format!("body {n}")), true).unwrap();
        answers.push(answer);
    }
    for (n, answer) in answers.into_iter().enumerate() {
        let answer = answer.await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        let body = answer.into_body().data().await.unwrap().unwrap();
        assert_eq!(body, format!("body {n}"));
    }
    let request = Request::get("https://localhost/host").body(()).unwrap();
    let mut answer = client.send_request(request, true).unwrap().0.await.unwrap();
    assert_eq!(answer.headers()["content-length"], "9");
    assert_eq!(answer.body_mut().data().await.unwrap().unwrap(), "localhost");
}

#[tokio::test(start_paused = true)]
async fn a_large_reply_is_sent_within_the_window_of_the_client() {
    let fixture = Fixture::new();
    let (mut client, _connection) = fixture.client().await;
    let request = Request::get("https://localhost/large").body(()).unwrap();
    let mut body = client.send_request(request, true).unwrap().0.await.unwrap().into_body();
    let mut total = 0;
    while let Some(data) = body.data().await {
        let data = data.unwrap();
        total += data.len();
        body.flow_control().release_capacity(data.len()).unwrap();
    }
    assert_eq!(total, 1024 * 1024);
}

#[tokio::test(start_paused = true)]
async fn limits_hold_on_http2_too() {
    let fixture = Fixture::new();
    let status = async |request: Request<()>| {
        let (mut client, _connection) = fixture.client().await;
        let (answer, _) = client.send_request(request, true).unwrap();
        answer.await.unwrap().status().as_u16()
    };
    let long = format!("https://a/{}", "x".repeat(8192));
    assert_eq!(status(Request::get(long).body(()).unwrap()).await, 414);
    let mut many = Request::get("https://a/").body(()).unwrap();
    for n in 0..101 {
        many.headers_mut()
            .insert(http::HeaderName::try_from(format!("x-{n}")).unwrap(), "y".parse().unwrap());
    }
    assert_eq!(status(many).await, 431);
    let mut large = Request::get("https://a/").body(()).unwrap();
    for n in 0..50 {
        let name = http::HeaderName::try_from(format!("x-{n}")).unwrap();
        large.headers_mut().insert(name, "y".repeat(2000).parse().unwrap());
    }
    assert_eq!(status(large).await, 431);

    for length in [None, Some("9")] {
        let (mut client, _connection) = fixture.client().await;
        let mut request = Request::post("https://a/small").body(()).unwrap();
        if let Some(length) = length {
            request.headers_mut().insert("content-length", length.parse().unwrap());
        }
        let (answer, mut body) = client.send_request(request, false).unwrap();
        if length.is_none() {
            body.send_data(Bytes::from_static(b"123456789"), false).unwrap();
        }
        assert_eq!(answer.await.unwrap().status().as_u16(), 413);
    }
    assert_eq!(fixture.server.room.handled(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_says_nothing_is_cut_off() {
    let fixture = Fixture::new();
    // No preface at all.
    let mut stream = fixture.raw().await;
    let begun = Instant::now();
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes).await;
    assert_eq!(begun.elapsed().as_secs(), 10);
    assert!(fixture.server.room.saw(ConnectionEvent::ProtocolError));
    // A preface and no request; pings do not help.
    let stream = fixture.begun().await;
    let begun = Instant::now();
    let (mut reader, mut writer) = tokio::io::split(stream);
    let pinging = tokio::spawn(async move {
        while writer.write_all(&frame(PING, 0, 0, &[0; 8])).await.is_ok() {
            sleep(Duration::from_secs(1)).await;
        }
    });
    let _ = reader.read_to_end(&mut bytes).await;
    assert!((10..=32).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
    pinging.abort();
}

#[tokio::test(start_paused = true)]
async fn a_dripping_header_block_is_cut_off() {
    let fixture = Fixture::new();
    let mut stream = fixture.begun().await;
    stream.write_all(&frame(HEADERS, END_STREAM, 1, &block(&GET))).await.unwrap();
    let (mut reader, mut writer) = tokio::io::split(stream);
    let begun = Instant::now();
    let dripping = tokio::spawn(async move {
        while writer.write_all(&frame(CONTINUATION, 0, 1, &[])).await.is_ok() {
            sleep(Duration::from_secs(1)).await;
        }
    });
    let _ = reader.read_to_end(&mut Vec::new()).await;
    assert!(begun.elapsed().as_secs() <= 32, "{:?}", begun.elapsed());
    assert_eq!(fixture.server.room.handled(), 0);
    dripping.abort();
}

#[tokio::test(start_paused = true)]
async fn a_dripping_body_is_answered_with_a_timeout() {
    let fixture = Fixture::new();
    let (mut client, _connection) = fixture.client().await;
    let request = Request::post("https://a/").body(()).unwrap();
    let (answer, mut body) = client.send_request(request, false).unwrap();
    let dripping = tokio::spawn(async move {
        while body.send_data(Bytes::from_static(b"x"), false).is_ok() {
            sleep(Duration::from_secs(1)).await;
        }
    });
    let begun = Instant::now();
    assert_eq!(answer.await.unwrap().status(), StatusCode::REQUEST_TIMEOUT);
    assert_eq!(begun.elapsed().as_secs(), 30);
    assert_eq!(fixture.server.room.handled(), 0);
    dripping.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_closed() {
    let fixture = Fixture::new();
    let (mut client, connection) = fixture.client().await;
    let request = Request::get("https://a/").body(()).unwrap();
    client.send_request(request, true).unwrap().0.await.unwrap();
    let begun = Instant::now();
    let _ = connection.await.unwrap();
    assert_eq!(begun.elapsed().as_secs(), 75);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_take_its_reply_loses_the_stream() {
    let fixture = Fixture::new();
    let mut stream = fixture.begun().await;
    // Window of every stream: zero.
    stream.write_all(&frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0])).await.unwrap();
    let large = [GET[0], GET[1], GET[2], (":path", "/large")];
    stream.write_all(&headers(END_STREAM, 1, &large)).await.unwrap();
    sleep(Duration::from_secs(19)).await;
    assert!(!fixture.server.room.saw(ConnectionEvent::ReplyNotTaken));
    sleep(Duration::from_secs(2)).await;
    assert!(fixture.server.room.saw(ConnectionEvent::ReplyNotTaken));
    let frames = listen(&mut stream).await;
    assert!(frames.iter().any(|frame| frame.kind == RST_STREAM && frame.stream == 1), "{frames:?}");
}

#[tokio::test(start_paused = true)]
async fn a_sale_in_flight_is_finished_when_its_stream_is_reset_or_its_connection_lost() {
    for lose_connection in [false, true] {
        let fixture = Fixture::new();
        let mut stream = fixture.begun().await;
        let slow = [GET[0], GET[1], GET[2], (":path", "/slow")];
        stream.write_all(&headers(END_STREAM, 1, &slow)).await.unwrap();
        fixture.server.room.entered.notified().await;
        stream.write_all(&frame(RST_STREAM, 0, 1, &[0, 0, 0, 8])).await.unwrap();
        let stream = (!lose_connection).then_some(stream);
        sleep(Duration::from_secs(60)).await;
        assert_eq!(fixture.server.room.finished(), 0);
        fixture.server.room.gate.notify_one();
        sleep(Duration::from_secs(1)).await;
        assert_eq!(fixture.server.room.finished(), 1, "connection lost: {lose_connection}");
        drop(stream);
    }
}

#[tokio::test(start_paused = true)]
async fn a_graceful_shutdown_finishes_running_streams_and_ends_the_connection() {
    let fixture = Fixture::new();
    let (mut client, connection) = fixture.client().await;
    let slow = Request::get("https://a/slow").body(()).unwrap();
    let (answer, _) = client.send_request(slow, true).unwrap();
    fixture.server.room.entered.notified().await;
    fixture.server.shutdown.send(true).unwrap();
    sleep(Duration::from_secs(60)).await;
    assert!(client.clone().ready().await.is_err(), "a request could begin after GOAWAY");
    fixture.server.room.gate.notify_one();
    assert_eq!(answer.await.unwrap().status(), StatusCode::OK);
    let begun = Instant::now();
    connection.await.unwrap().unwrap();
    assert!(begun.elapsed() < Duration::from_secs(1));

    let (_client, idle) = Fixture::new().client().await;
    let begun = Instant::now();
    let _ = idle.await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(1), "the sender is gone: the server is, too");
}

#[tokio::test(start_paused = true)]
async fn a_closing_reply_arrives_and_ends_the_connection() {
    let fixture = Fixture::new();
    let (mut client, connection) = fixture.client().await;
    let request = Request::get("https://a/close").body(()).unwrap();
    let answer = client.send_request(request, true).unwrap().0.await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let begun = Instant::now();
    connection.await.unwrap().unwrap();
    assert!(begun.elapsed() < Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_resets_ends_the_connection() {
    let fixture = Fixture::new();
    let mut stream = fixture.begun().await;
    let slow = [GET[0], GET[1], GET[2], (":path", "/slow")];
    let mut flood = Vec::new();
    for n in 0..200_u32 {
        flood.extend(headers(END_STREAM, 1 + 2 * n, &slow));
        flood.extend(frame(RST_STREAM, 0, 1 + 2 * n, &[0, 0, 0, 8]));
    }
    let _ = stream.write_all(&flood).await;
    let frames = listen(&mut stream).await;
    assert!(frames.iter().any(|f| f.kind == GOAWAY && f.refuses()), "{frames:?}");
    assert!(fixture.server.room.handled() <= 100, "{}", fixture.server.room.handled());
}

#[tokio::test(start_paused = true)]
async fn streams_that_are_reset_while_a_room_works_on_them_still_count() {
    let fixture = Fixture::new();
    let mut stream = fixture.begun().await;
    let slow = [GET[0], GET[1], GET[2], (":path", "/slow")];
    for n in 0..150_u32 {
        stream.write_all(&headers(END_STREAM, 1 + 2 * n, &slow)).await.unwrap();
        sleep(Duration::from_millis(1)).await;
        let _ = stream.write_all(&frame(RST_STREAM, 0, 1 + 2 * n, &[0, 0, 0, 8])).await;
        sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(fixture.server.room.handled(), 100);
}

#[tokio::test(start_paused = true)]
async fn more_streams_than_allowed_are_refused() {
    let fixture = Fixture::new();
    let mut stream = fixture.begun().await;
    let slow = [GET[0], GET[1], GET[2], (":path", "/slow")];
    for n in 0..120_u32 {
        stream.write_all(&headers(END_STREAM, 1 + 2 * n, &slow)).await.unwrap();
    }
    let frames = listen(&mut stream).await;
    assert_eq!(fixture.server.room.handled(), 100);
    // REFUSED_STREAM: whoever asked may ask again.
    let refused = |f: &&Frame| f.kind == RST_STREAM && f.payload == [0, 0, 0, 7];
    assert_eq!(frames.iter().filter(refused).count(), 20, "{frames:?}");
}

/// Asks every two seconds and acknowledges nothing: how many requests are answered, how many are
/// refused as not looked at, and after how long the connection is over.
async fn asked_without_heed(stream: &mut TlsStream<DuplexStream>) -> (usize, usize, Duration) {
    const REFUSED_STREAM: [u8; 4] = [0, 0, 0, 7];
    let (begun, mut answered, mut refused) = (Instant::now(), 0, 0);
    for id in (3..200).step_by(2) {
        if stream.write_all(&get(id, &[])).await.is_err() {
            break;
        }
        let (frames, ended) = hear(stream).await;
        let of = |kind| frames.iter().find(|frame| (frame.kind, frame.stream) == (kind, id));
        answered += usize::from(of(HEADERS).is_some());
        refused += usize::from(of(RST_STREAM).is_some_and(|f| f.payload == REFUSED_STREAM));
        if ended {
            break;
        }
    }
    (answered, refused, begun.elapsed())
}

#[tokio::test(start_paused = true)]
async fn a_client_that_heeds_no_shutdown_is_answered_for_a_while_and_outlasts_nothing() {
    let fixture = Fixture::new();
    let mut stream = fixture.begun().await;
    stream.write_all(&get(1, &[])).await.unwrap();
    listen(&mut stream).await;
    fixture.server.shutdown.send(true).unwrap();
    let (answered, refused, lasted) = asked_without_heed(&mut stream).await;
    let reply = deadlines().reply;
    assert!((9..=11).contains(&answered), "{answered}");
    assert!(refused > 5, "{refused}");
    assert!((2 * reply..2 * reply + Duration::from_secs(5)).contains(&lasted), "{lasted:?}");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_heeds_not_the_end_of_its_certificate_begins_nothing_more() {
    let hour = Duration::from_secs(3600);
    let authority = Authority::new();
    authority.issue("server", &["localhost"]);
    authority.issue_until("shop", &["shop.internal"], Some(SystemTime::now() + hour));
    let tls = TlsSetup::load(authority.files("server", true)).unwrap();
    let patient = Deadlines { idle: 3 * hour, ..deadlines() };
    let server = Server::new(Some(&tls), patient, Caps::default());
    let connector = authority.client(&[b"h2"], Some("shop"));
    let mut stream = connect_tls(&server, &connector).await.unwrap();
    stream.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()).await.unwrap();
    stream.write_all(&get(1, &[])).await.unwrap();
    assert!(!listen(&mut stream).await.iter().any(Frame::refuses));
    sleep(hour).await;
    let (answered, refused, lasted) = asked_without_heed(&mut stream).await;
    assert_eq!(answered, 0);
    assert!(refused > 5, "{refused}");
    assert!(lasted < deadlines().reply + Duration::from_secs(5), "{lasted:?}");
    assert_eq!(server.room.handled(), 1);
}
