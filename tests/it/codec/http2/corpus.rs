//! Requests that HTTP/2 forbids, and odd ones that it does not.

use super::*;

/// Bytes after the preface that must not reach the room.
fn corpus() -> Vec<Vec<u8>> {
    let mut corpus = Vec::new();
    let with = |fields: &[(&str, &str)]| get(1, fields);
    let only = |fields: &[(&str, &str)]| headers(END_STREAM, 1, fields);
    for fields in [
        [("connection", "keep-alive")],
        [("connection", "close")],
        [("connection", "authorization")],
        [("transfer-encoding", "chunked")],
        [("transfer-encoding", "gzip")],
        [("upgrade", "h2c")],
        [("keep-alive", "timeout=5")],
        [("proxy-connection", "close")],
        [("te", "gzip")],
        [("te", "trailers, gzip")],
        [("http2-settings", "AAMAAABk")],
        [("Upper", "x")],
        [("X-A", "x")],
        [("x y", "z")],
        [("x:", "z")],
        [("", "z")],
        [(":x", "z")],
        [(":status", "200")],
        [(":path", "/b")],
        [(":method", "GET")],
        [(":authority", "b")],
        [(":scheme", "https")],
        [(":protocol", "websocket")],
        [("x", "a\r\nb: c")],
        [("x", "a\nb")],
        [("x", "a\0")],
        [("x\r\ny", "z")],
        [("x\0", "z")],
        [("host", "b")],
        [("host", "")],
        [("host", "a, a")],
        [("host", "a/x")],
        [("content-length", "5")],
        [("content-length", "-1")],
        [("content-length", "+0")],
        [("content-length", "0, 0")],
        [("content-length", "x")],
        [("content-length", "")],
        [("content-length", "99999999999999999999")],
        [("content-encoding", "gzip")],
        [("expect", "200-ok")],
    ] {
        corpus.push(with(&fields));
    }
    for name in
        ["content-length", "host", "content-type", "authorization", "origin", "portcullis-key"]
    {
        corpus.push(with(&[(name, "a"), (name, "b")]));
    }
    for missing in 0..4 {
        let mut fields = GET.to_vec();
        fields.remove(missing);
        corpus.push(only(&fields));
    }
    for (at, value) in [
        (0, "CONNECT"),
        (0, "TRACE"),
        (0, "get"),
        (0, ""),
        (0, "G T"),
        (0, "GET / HTTP/1.1\r\nx: y"),
        (0, "PRI"),
        (0, "FOO"),
        (0, "PROPFIND"),
        (1, "http"),
        (1, "ftp"),
        (1, ""),
        (1, "https://"),
        (2, ""),
        (2, "a b"),
        (2, "u@a"),
        (2, "a/x"),
        (2, "a,b"),
        (2, "a:x"),
        (2, "a:0"),
        (2, "a."),
        (2, "a\r\nx: y"),
        (2, "[::1"),
        (2, "a..b"),
        (3, ""),
        (3, "*"),
        (3, "a"),
        (3, "//b/x"),
        (3, "http://b/"),
        (3, "/a b"),
        (3, "/a\0"),
        (3, "/a\r\nx: y"),
        (3, "/../x"),
        (3, "/a/%2e%2e/b"),
        (3, "/%00"),
        (3, "/%"),
        (3, "/a%2fb"),
        (3, "/a\\b"),
        (3, "/\u{e9}"),
        (3, "?x"),
        (3, "/{x}"),
        (3, "/\u{7f}"),
        (3, "/a\tb"),
    ] {
        let mut fields = GET;
        fields[at].1 = value;
        corpus.push(only(&fields));
    }
    corpus.push(only(&[("x", "y"), GET[0], GET[1], GET[2], GET[3]]));
    corpus.push(only(&[GET[0], GET[3], ("host", "a")]));
    corpus.push(only(&[(":method", "CONNECT"), (":authority", "a:443")]));
    // A content-length that is not kept.
    corpus.push([post(&[("content-length", "5")]), frame(DATA, END_STREAM, 1, b"four")].concat());
    corpus.push([post(&[("content-length", "3")]), frame(DATA, END_STREAM, 1, b"four")].concat());
    corpus.push([post(&[("content-length", "3")]), frame(DATA, 0, 1, b"four")].concat());
    corpus.push([post(&[("content-length", "3")]), frame(DATA, END_STREAM, 1, b"")].concat());
    let unended = headers(0, 1, &[("x", "y")]);
    corpus.push([post(&[]), frame(DATA, 0, 1, b"x"), unended].concat());
    corpus.push([post(&[]), frame(RST_STREAM, 0, 1, &[0, 0, 0, 8])].concat());
    // Frames out of place.
    corpus.push(frame(DATA, END_STREAM, 0, b"x"));
    corpus.push(frame(DATA, END_STREAM, 1, b"x"));
    corpus.push(frame(HEADERS, END_HEADERS | END_STREAM, 0, &block(&GET)));
    corpus.push(frame(HEADERS, END_HEADERS | END_STREAM, 2, &block(&GET)));
    corpus.push(frame(CONTINUATION, END_HEADERS, 1, &block(&GET)));
    corpus.push(
        [frame(HEADERS, END_STREAM, 1, &block(&GET[..2])), frame(PING, 0, 0, &[0; 8])].concat(),
    );
    corpus.push(
        [
            frame(HEADERS, END_STREAM, 1, &block(&GET[..2])),
            frame(CONTINUATION, 4, 3, &block(&GET[2..])),
        ]
        .concat(),
    );
    corpus.push(frame(
        PUSH_PROMISE,
        END_HEADERS,
        1,
        &[&[0, 0, 0, 2], block(&GET).as_slice()].concat(),
    ));
    corpus.push(frame(PING, 0, 0, &[0; 7]));
    corpus.push(frame(PING, 0, 1, &[0; 8]));
    corpus.push(frame(SETTINGS, 0, 0, &[0; 5]));
    corpus.push(frame(SETTINGS, 0, 1, &[]));
    corpus.push(frame(SETTINGS, 1, 0, &[0; 6]));
    corpus.push(frame(SETTINGS, 0, 0, &[0, 2, 0, 0, 0, 2]));
    corpus.push(frame(SETTINGS, 0, 0, &[0, 4, 0xff, 0xff, 0xff, 0xff]));
    corpus.push(frame(SETTINGS, 0, 0, &[0, 5, 0, 0, 0, 1]));
    corpus.push(frame(WINDOW_UPDATE, 0, 0, &[0; 4]));
    corpus.push(frame(WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff]));
    corpus.push(frame(WINDOW_UPDATE, 0, 0, &[0; 3]));
    corpus.push(frame(RST_STREAM, 0, 0, &[0; 4]));
    corpus.push(frame(RST_STREAM, 0, 1, &[0; 4]));
    corpus.push(frame(DATA, 8, 1, &[9, 1]));
    corpus.push([post(&[]), frame(DATA, 8 | END_STREAM, 1, &[9, 1])].concat());
    corpus.push([frame(DATA, 0, 1, &[0; 1]), vec![0, 0x40, 1, 0, 0, 0, 0, 0, 1]].concat());
    corpus.push(vec![0xff, 0xff, 0xff, HEADERS, 5, 0, 0, 0, 1]);
    corpus.push(frame(HEADERS, END_HEADERS | END_STREAM, 1, &[0xff; 40]));
    corpus.push(frame(HEADERS, END_HEADERS | END_STREAM, 1, &[0x80]));
    corpus.push(frame(HEADERS, END_HEADERS | END_STREAM, 1, &[0xbf]));
    corpus.push(frame(HEADERS, END_HEADERS | END_STREAM, 1, &[0, 100, b'x']));
    corpus
}

#[tokio::test(start_paused = true)]
async fn no_malformed_request_reaches_the_room() {
    let fixture = Fixture::new();
    let corpus = corpus();
    assert!(corpus.len() >= 120, "{}", corpus.len());
    for (n, bytes) in corpus.iter().enumerate() {
        let mut stream = fixture.begun().await;
        stream.write_all(bytes).await.unwrap();
        let frames = listen(&mut stream).await;
        let shown = String::from_utf8_lossy(bytes);
        assert_eq!(fixture.server.room.handled(), 0, "case {n} was served: {shown:?}");
        let reset = bytes.ends_with(&frame(RST_STREAM, 0, 1, &[0, 0, 0, 8]));
        assert!(reset || frames.iter().any(Frame::refuses), "case {n}: {shown:?} got {frames:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn odd_but_valid_requests_are_served() {
    let split = [
        frame(HEADERS, END_STREAM, 1, &block(&GET[..2])),
        frame(CONTINUATION, END_HEADERS, 1, &block(&GET[2..])),
    ];
    let trailers = headers(END_STREAM, 1, &[("x", "y")]);
    let cookies = get(1, &[("cookie", "a"), ("cookie", "b"), ("te", "trailers"), ("host", "a")]);
    let no_authority = [GET[0], GET[1], GET[3], ("host", "a")];
    for (n, bytes) in [
        get(1, &[]),
        cookies,
        headers(END_STREAM, 1, &no_authority),
        split.concat(),
        [frame(0x21, 0xff, 0, b"unknown"), get(1, &[])].concat(),
        [frame(PING, 0, 0, &[0; 8]), get(1, &[])].concat(),
        [frame(2, 0, 1, &[0, 0, 0, 0, 9]), get(1, &[])].concat(),
        [post(&[("content-length", "4")]), frame(DATA, END_STREAM, 1, b"four")].concat(),
        [post(&[]), frame(DATA, 0, 1, b"x"), trailers].concat(),
        [post(&[]), frame(DATA, 8 | END_STREAM, 1, &[1, b'x', 0])].concat(),
    ]
    .iter()
    .enumerate()
    {
        let fixture = Fixture::new();
        let mut stream = fixture.begun().await;
        stream.write_all(bytes).await.unwrap();
        let frames = listen(&mut stream).await;
        assert_eq!(fixture.server.room.handled(), 1, "control {n} got {frames:?}");
        assert!(!frames.iter().any(Frame::refuses), "control {n} got {frames:?}");
    }
}
