//! What is no card path: all of it is the shop's, and passes as it is.

use std::time::Duration;

use portcullis_sandbox::client::Call;
use portcullis_sandbox::record::until;
use portcullis_sandbox::shop::own::HOST;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::super::limits::{SHOPPER, TESTER, behind_a_proxy, from};
use super::super::line::Begun;
use super::*;

#[tokio::test]
async fn all_other_paths_of_the_host_are_the_shops() {
    let house = House::open().await;
    for version in Version::BOTH {
        for ask in [
            Ask::get("/"),
            Ask::get("/checkout/17/pay"),
            Ask::json("/v1/tokens", "{}"),
            Ask::get("/v1/form/cs_test_x"),
            Ask::get("/3ds/x/start"),
            Ask::get("/a%20b//c;d?x=%zz&y=[]"),
            Ask::new(Method::DELETE, "/basket/1"),
            Ask::new(Method::OPTIONS, "/checkout/17/pay"),
            post("/newsletter", "text/plain", "as\0it\u{1}is").header("content-encoding", "gzip"),
        ] {
            let answer = house.shop(version).await.send(&ask).await;
            assert_eq!(answer.status, 200, "{}: {}", ask.target, answer.text());
            let got = house.shop_received().pop().unwrap();
            let target = match &got.query {
                Some(query) => format!("{}?{query}", got.path),
                None => got.path.clone(),
            };
            assert_eq!((&got.method, &target, &got.body), (&ask.method, &ask.target, &ask.body));
        }
    }
    let head = Ask::new(Method::HEAD, "/download/5");
    let head = house.shop(Version::Http2).await.send(&head).await;
    assert_eq!((head.status, head.header("content-length")), (200, Some("5")));
    let mut stream = raw(&house).await;
    for _ in 0..2 {
        let ask = format!("HEAD /download/5 HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
        stream.write_all(ask.as_bytes()).await.unwrap();
        let head = String::from_utf8(read_until(&mut stream, b"\r\n\r\n").await).unwrap();
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        assert!(head.contains("\r\ncontent-length: 5\r\n"), "{head}");
    }
    // Ours are ours on our own name alone.
    let mut own = house.public(Version::Http1).await;
    let answer = own.send(&Ask::get("/checkout/17")).await;
    assert_problem(&answer, 404, "route_unknown", "no");
}

const LARGE: usize = 48 << 20;
const GROWTH_MAX_KIB: u64 = 16 << 10;

async fn raw(house: &House) -> TlsStream<TcpStream> {
    let stream = TcpStream::connect(house.world.addresses.public.replace("https://", "")).await;
    let tls = TlsConnector::from(house.tls().config(Version::Http1));
    tls.connect(ServerName::try_from(HOST).unwrap(), stream.unwrap()).await.unwrap()
}

/// Reads until what was read ends so, or the connection does.
async fn read_until(stream: &mut TlsStream<TcpStream>, end: &[u8]) -> Vec<u8> {
    let mut read = Vec::new();
    let reading = async {
        while !read.ends_with(end) {
            if matches!(stream.read_buf(&mut read).await, Ok(0) | Err(_)) {
                break;
            }
        }
    };
    let _ = tokio::time::timeout(Duration::from_secs(10), reading).await;
    read
}

#[tokio::test]
async fn large_bodies_pass_both_ways_with_flat_memory() {
    let house = House::open().await;
    // The first request of each kind makes what is kept.
    let mut line = house.shop(Version::Http1).await;
    line.send(&post("/upload/x", "application/octet-stream", vec![7; 1 << 20])).await;
    let before = house.resident_kib();
    let mut peak = before;
    let mut stream = raw(&house).await;
    let head =
        format!("PUT /upload/big HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {LARGE}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let part = vec![7; 1 << 20];
    for _ in 0..LARGE / part.len() {
        stream.write_all(&part).await.unwrap();
        peak = peak.max(house.resident_kib());
    }
    stream.flush().await.unwrap();
    let answer = read_until(&mut stream, LARGE.to_string().as_bytes()).await;
    assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"), "{}", String::from_utf8_lossy(&answer));
    assert_eq!(house.world.own_form.uploaded(), (LARGE + (1 << 20)) as u64);

    let head = format!("GET /download/{LARGE} HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut left = LARGE;
    let mut buffer = vec![0; 1 << 20];
    let mut first = stream.read(&mut buffer).await.unwrap();
    let at = memchr::memmem::find(&buffer[..first], b"\r\n\r\n").unwrap() + 4;
    first -= at;
    left -= first;
    while left > 0 {
        left -= stream.read(&mut buffer).await.unwrap();
        peak = peak.max(house.resident_kib());
    }
    let grown = peak - before;
    assert!(grown < GROWTH_MAX_KIB, "memory grew by {grown} KiB");
    // A client that does not read holds the shop up, not memory.
    stream.write_all(head.as_bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let grown = house.resident_kib().saturating_sub(before);
    assert!(grown < GROWTH_MAX_KIB, "memory grew by {grown} KiB while nobody read");
}

#[tokio::test]
async fn a_large_upload_over_http2_arrives_whole() {
    let house = House::open().await;
    for framing in Framing::BOTH {
        let body = vec![5; 3 << 20];
        let before = house.world.own_form.uploaded();
        let ask = post("/upload/h2", "application/octet-stream", body.clone()).framed(framing);
        let answer = house.shop(Version::Http2).await.send(&ask).await;
        assert_eq!((answer.status, answer.text()), (200, body.len().to_string()));
        assert_eq!(house.world.own_form.uploaded() - before, body.len() as u64);
        let answer = house.shop(Version::Http2).await.send(&Ask::get("/download/3000000")).await;
        assert_eq!(answer.body.len(), 3_000_000);
    }
}

#[tokio::test]
async fn a_websocket_goes_through_and_nothing_else_is_upgraded() {
    let house = House::open().await;
    let mut stream = raw(&house).await;
    let ask = |path: &str, protocol: &str| {
        format!(
            "GET {path} HTTP/1.1\r\nHost: {HOST}\r\nConnection: keep-alive, Upgrade\r\n\
             Upgrade: {protocol}\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
    };
    // What comes right behind the request is the first of the WebSocket.
    stream.write_all(format!("{}first", ask("/socket", "websocket")).as_bytes()).await.unwrap();
    let answer = read_until(&mut stream, b"first").await;
    let text = String::from_utf8(answer).unwrap();
    assert!(text.starts_with("HTTP/1.1 101 Switching Protocols\r\n"), "{text}");
    assert!(text.contains("sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"), "{text}");
    assert!(text.contains("upgrade: websocket\r\n") && text.ends_with("\r\n\r\nfirst"), "{text}");
    for part in [b"\x81\x05hello".to_vec(), vec![9; 100_000], b"last".to_vec()] {
        stream.write_all(&part).await.unwrap();
        let mut back = vec![0; part.len()];
        stream.read_exact(&mut back).await.unwrap();
        assert_eq!(back, part);
    }
    drop(stream);
    // The shop does not want it.
    let mut stream = raw(&house).await;
    stream.write_all(ask("/other", "websocket").as_bytes()).await.unwrap();
    let answer = read_until(&mut stream, b"/other").await;
    assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"));
    for (path, protocol) in [("/socket", "h2c"), ("/checkout/17/pay", "websocket, h2c")] {
        let before = house.shop_received().len();
        let mut stream = raw(&house).await;
        stream.write_all(ask(path, protocol).as_bytes()).await.unwrap();
        let answer = read_until(&mut stream, b"}").await;
        assert!(answer.starts_with(b"HTTP/1.1 400 "), "{}", String::from_utf8_lossy(&answer));
        assert_eq!(house.shop_received().len(), before);
    }
    // Nor on our own name.
    let mut stream = raw(&house).await;
    let own = ask("/socket", "websocket").replace(HOST, "localhost");
    stream.write_all(own.as_bytes()).await.unwrap();
    let answer = read_until(&mut stream, b"}").await;
    assert!(answer.starts_with(b"HTTP/1.1 400 "), "{}", String::from_utf8_lossy(&answer));
}

#[tokio::test]
async fn events_come_one_by_one() {
    let house = House::open().await;
    let mut stream = raw(&house).await;
    let ask = format!("GET /events HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
    stream.write_all(ask.as_bytes()).await.unwrap();
    let mut read = Vec::new();
    let mut seen = Vec::new();
    while !read.ends_with(b"0\r\n\r\n") {
        assert!(stream.read_buf(&mut read).await.unwrap() > 0);
        let text = String::from_utf8_lossy(&read).into_owned();
        seen.push(text.matches("data: ").count());
    }
    assert!(seen.contains(&1) && seen.contains(&2), "{seen:?}");
    assert_eq!(seen.last(), Some(&3));
    // The connection goes on.
    stream.write_all(ask.as_bytes()).await.unwrap();
    assert!(read_until(&mut stream, b"0\r\n\r\n").await.starts_with(b"HTTP/1.1 200 OK\r\n"));
}

#[tokio::test]
async fn a_client_that_waits_for_continue_gets_it_from_the_shop() {
    let house = House::open().await;
    for target in ["/upload/x", "/checkout/17/pay"] {
        let mut line = house.shop(Version::Http1).await;
        let ask = post(target, FORM, form_body(PLAIN, CVV)).header("expect", "100-continue");
        let mut begun = line.begin(&ask, 0).await.unwrap();
        line.await_continue().await;
        line.complete(&mut begun).await.unwrap();
        assert_eq!(line.answer(begun).await.unwrap().status, 200, "{target}");
    }
}

#[tokio::test]
async fn a_client_that_leaves_an_upload_leaves_nothing_behind() {
    let house = House::open().await;
    let mut stream = raw(&house).await;
    let head =
        format!("POST /upload/x HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 1000000\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&[1; 5000]).await.unwrap();
    stream.flush().await.unwrap();
    let came =
        until(Duration::from_secs(5), || (house.world.own_form.uploaded() == 5000).then_some(()));
    came.await.unwrap();
    drop(stream);
    let url = format!("{}/", house.world.own_form_url());
    let answer = house.world.client.send(Call::get(url)).await.unwrap();
    assert_eq!(answer.status, 200);
    house.assert_alive().await;
}

/// A shop that answers with these bytes, one connection after the other, and then closes.
async fn scripted(answers: Vec<&'static [u8]>) -> House {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        for answer in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut read = Vec::new();
            while !read.windows(4).any(|window| window == b"\r\n\r\n") {
                assert!(stream.read_buf(&mut read).await.unwrap() > 0);
            }
            stream.write_all(answer).await.unwrap();
            stream.shutdown().await.unwrap();
            while stream.read_buf(&mut read).await.is_ok_and(|count| count > 0) {}
        }
    });
    let adjust = Box::new(move |config: String| {
        let at = config.find("upstream = \"https://localhost:").unwrap();
        let end = at + config[at..].find('\n').unwrap();
        let upstream = format!("upstream = \"http://127.0.0.1:{port}\"");
        format!("{}{upstream}\nplain_http_on_loopback = true{}", &config[..at], &config[end..])
    });
    House::with(Options { adjust: Some(adjust), ..Options::default() }).await
}

#[tokio::test]
async fn answers_that_break_the_rules_never_look_whole() {
    type Row = (&'static str, &'static [u8], &'static str, &'static str);
    // What the shop says, and how what the client gets begins and ends.
    let rows: [Row; 9] = [
        (
            "an answer without a length",
            b"HTTP/1.1 200 OK\r\nX: y\r\n\r\nuntil the end",
            "HTTP/1.1 200 OK\r\nx: y\r\ntransfer-encoding: chunked\r\n\r\n",
            "until the end\r\n0\r\n\r\n",
        ),
        (
            "hints before the answer",
            b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n\
              HTTP/1.1 200 OK\r\nContent-Length: 2\r\nAlt-Svc: h3=\":443\"\r\n\r\nok",
            "HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
            "\r\n\r\nok",
        ),
        (
            "a coded answer",
            b"HTTP/1.1 200 OK\r\nContent-Encoding: br\r\nContent-Length: 2\r\n\r\n\x0b\x80",
            "HTTP/1.1 200 OK\r\ncontent-encoding: br\r\ncontent-length: 2\r\n\r\n",
            "",
        ),
        (
            "an answer cut short",
            b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf",
            "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n",
            "half",
        ),
        (
            "chunks cut short",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
            "4\r\nhalf\r\n",
        ),
        (
            "two lengths",
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok",
            "HTTP/1.1 502 Bad Gateway\r\n",
            "}",
        ),
        (
            "another protocol that nobody asked for",
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\nfree",
            "HTTP/1.1 502 Bad Gateway\r\n",
            "}",
        ),
        ("no answer", b"", "HTTP/1.1 502 Bad Gateway\r\n", "}"),
        (
            "endless hints",
            b"HTTP/1.1 103 A\r\n\r\nHTTP/1.1 103 A\r\n\r\nHTTP/1.1 103 A\r\n\r\nHTTP/1.1 103 A\r\n\r\n\
              HTTP/1.1 103 A\r\n\r\nHTTP/1.1 103 A\r\n\r\nHTTP/1.1 103 A\r\n\r\nHTTP/1.1 103 A\r\n\r\n\
              HTTP/1.1 103 A\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
            "HTTP/1.1 103 Early Hints\r\n\r\n",
            "}",
        ),
    ];
    let house = scripted(rows.iter().map(|(_, answer, ..)| *answer).collect()).await;
    for (name, _, begins, ends) in rows {
        let mut stream = raw(&house).await;
        let ask = format!("GET /x HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n");
        stream.write_all(ask.as_bytes()).await.unwrap();
        let mut got = Vec::new();
        let _ = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut got)).await;
        let got = String::from_utf8_lossy(&got).replace("connection: close\r\n", "");
        assert!(got.starts_with(begins), "{name}: {got:?}");
        assert!(got.ends_with(ends), "{name}: {got:?}");
    }
}

#[tokio::test]
async fn an_answer_cut_short_is_the_last_of_its_connection() {
    const WHOLE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nother";
    let cuts: [(&[u8], &str); 3] = [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", "\r\n\r\nhalf"),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
            "\r\n4\r\nhalf\r\n",
        ),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 9\r\n\r\nhalf", "\r\n\r\nhalf"),
    ];
    for (cut, ends) in cuts {
        let house = scripted(vec![cut, cut, WHOLE]).await;
        let mut stream = raw(&house).await;
        let ask = format!("GET /x HTTP/1.1\r\nHost: {HOST}\r\n\r\n").repeat(2);
        stream.write_all(ask.as_bytes()).await.unwrap();
        let mut got = Vec::new();
        let _ = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut got)).await;
        let got = String::from_utf8(got).unwrap();
        assert!(got.ends_with(ends) && got.matches("HTTP/1.1").count() == 1, "{got:?}");
        // Over HTTP/2 its stream is reset, and the next one goes on.
        let mut line = house.shop(Version::Http2).await;
        assert!(line.try_send(&Ask::get("/x")).await.is_err(), "{ends:?}");
        assert_eq!(line.send(&Ask::get("/x")).await.text(), "other");
    }
}

#[tokio::test]
async fn a_head_request_without_an_answer_is_refused_without_a_body() {
    const WHOLE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nother";
    let house = scripted(vec![b"", WHOLE, b""]).await;
    let mut stream = raw(&house).await;
    let ask = |method: &str| format!("{method} /x HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
    stream.write_all((ask("HEAD") + &ask("GET")).as_bytes()).await.unwrap();
    let got = String::from_utf8(read_until(&mut stream, b"other").await).unwrap();
    let (refused, next) = got.split_once("\r\n\r\n").unwrap();
    assert!(refused.starts_with("HTTP/1.1 502 Bad Gateway\r\n"), "{got}");
    assert!(refused.contains("\r\ncontent-length: "), "{got}");
    assert!(next.starts_with("HTTP/1.1 200 OK\r\n"), "{got}");
    let mut line = house.shop(Version::Http2).await;
    let answer = line.send(&Ask::new(Method::HEAD, "/x")).await;
    assert_eq!((answer.status, answer.body.len()), (502, 0));
}

#[tokio::test]
async fn what_was_sent_behind_a_refused_request_is_answered_too() {
    let house = scripted(Vec::new()).await;
    let mut stream = raw(&house).await;
    let ask = |more: &str| format!("GET /x HTTP/1.1\r\nHost: {HOST}\r\n{more}\r\n");
    let both = ask("") + &ask("Connection: close\r\n");
    stream.write_all(both.as_bytes()).await.unwrap();
    let got = String::from_utf8(read_until(&mut stream, b"never").await).unwrap();
    assert_eq!(got.matches("HTTP/1.1 502 Bad Gateway\r\n").count(), 2, "{got}");
    assert_eq!(got.matches("\r\nconnection: close\r\n").count(), 1, "{got}");
}

#[tokio::test]
async fn an_upload_that_the_shop_does_not_want_ends_with_its_answer() {
    const NO: &[u8] =
        b"HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno";
    let house = scripted(vec![NO, NO]).await;
    for version in Version::BOTH {
        let mut line = house.shop(version).await;
        let ask = post("/upload/x", "application/octet-stream", vec![1; 200_000]);
        let begun = line.begin(&ask, 1000).await.unwrap();
        let answer = line.answer(begun).await.unwrap();
        assert_eq!((answer.status, answer.text().as_str()), (413, "no"), "{version:?}");
    }
}

/// A house whose shop has these bounds, behind one proxy.
async fn bounded(keys: &'static str) -> House {
    let adjust = Box::new(move |config: String| {
        let config = behind_a_proxy(&config);
        config.replace("[[intake]]\n", &format!("[[intake]]\n{keys}\n"))
    });
    House::with(Options { adjust: Some(adjust), ..Options::default() }).await
}

/// An upload that has begun and goes no further.
async fn held_upload(house: &House, version: Version, address: &str) -> (Line, Begun) {
    let ask = post("/upload/x", "application/octet-stream", vec![1; 20_000]);
    let mut line = house.shop(version).await;
    let all = house.world.own_form.uploaded() + 1000;
    let begun = line.begin(&from(address, ask), 1000).await.unwrap();
    let came = || (house.world.own_form.uploaded() == all).then_some(());
    until(Duration::from_secs(5), came).await.unwrap();
    (line, begun)
}

/// Its place is free once its answer is out.
async fn assert_served_soon(house: &House, address: &str) {
    let mut line = house.shop(Version::Http1).await;
    for _ in 0..100 {
        if line.send(&from(address, Ask::get("/"))).await.status == 200 {
            return;
        }
        line = house.shop(Version::Http1).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{address} is not served");
}

async fn assert_card_is_taken(house: &House, address: &str) {
    for version in Version::BOTH {
        let ask = from(address, pay(form_body(PLAIN, CVV)));
        let answer = house.shop(version).await.send(&ask).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
}

#[tokio::test]
async fn what_passes_through_takes_no_place_of_a_card() {
    let house = bounded("requests = 2").await;
    let held = [
        held_upload(&house, Version::Http1, TESTER).await,
        held_upload(&house, Version::Http2, TESTER).await,
    ];
    let ask = from(SHOPPER, Ask::get("/"));
    house.assert_refused("a third request", &ask, 503, "shop_busy").await;
    assert_card_is_taken(&house, SHOPPER).await;
    assert_eq!(house.limited("shop_requests").await, 2);
    for (mut line, mut begun) in held {
        line.complete(&mut begun).await.unwrap();
        assert_eq!(line.answer(begun).await.unwrap().status, 200);
    }
    assert_served_soon(&house, SHOPPER).await;
}

#[tokio::test]
async fn one_address_holds_so_many_requests_to_a_shop_and_all_others_are_served() {
    const NEIGHBOUR: &str = "2001:db8::2";
    let house = bounded("requests_per_address = 2").await;
    for [one, same] in [[TESTER, TESTER], ["2001:db8::1", NEIGHBOUR]] {
        let (mut line, mut begun) = held_upload(&house, Version::Http1, one).await;
        let other = held_upload(&house, Version::Http2, same).await;
        let ask = from(same, Ask::get("/"));
        house.assert_refused("a third of its", &ask, 429, "too_many_requests").await;
        for version in Version::BOTH {
            let answer = house.shop(version).await.send(&from(SHOPPER, Ask::get("/"))).await;
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
        assert_card_is_taken(&house, same).await;
        line.complete(&mut begun).await.unwrap();
        assert_eq!(line.answer(begun).await.unwrap().status, 200);
        assert_served_soon(&house, same).await;
        drop(other);
    }
    assert_eq!(house.limited("shop_requests_per_address").await, 4);
    assert_eq!(house.limited("shop_requests").await, 0);
}

#[tokio::test]
async fn two_shops_at_one_place_keep_their_own_places_when_the_configuration_is_read_again() {
    const OTHER: &str = "other.example";
    let house = bounded("requests = 1").await;
    let text = house.config_text();
    let begun = text.find("[[intake]]\n").unwrap();
    let (further, _) = text[begun..].match_indices("[[intake.card]]\n").nth(1).unwrap();
    let other = text[begun..begun + further].replace(HOST, OTHER);
    house.change(&format!("{text}\n{other}")).await;
    let held = held_upload(&house, Version::Http1, TESTER).await;
    house.change(&format!("# As it was.\n{text}\n{other}")).await;
    let ask = from(SHOPPER, Ask::get("/"));
    house.assert_refused("a second request", &ask, 503, "shop_busy").await;
    for version in Version::BOTH {
        let answer = house.public(version).await.calling(OTHER).send(&ask).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    // With another name, too, beside one that has kept its own.
    const RENAMED: &str = "renamed.example";
    house.change(&format!("{}\n{other}", text.replace(HOST, RENAMED))).await;
    let answer = house.public(Version::Http2).await.calling(RENAMED).send(&ask).await;
    assert_problem(&answer, 503, "shop_busy", "no");
    let answer = house.public(Version::Http2).await.calling(OTHER).send(&ask).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    drop(held);
}
