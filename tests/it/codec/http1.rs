//! HTTP/1.1 towards clients: order, limits, deadlines, shutdown.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use portcullis::proxy::message::{Caps, ConnectionEvent};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::support::{PASSED, PATIENCE, Server, deadlines, listen, read_until};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

#[tokio::test(start_paused = true)]
async fn requests_on_one_connection_are_answered_in_order() {
    let server = Server::plain();
    let pipelined = "POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\none\
                     POST /2 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\ntw\r\n1\r\no\r\n0\r\n\r\n\
                     GET /3 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let answer = server.answer_to(pipelined.as_bytes()).await;
    assert_eq!(
        answer,
        "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\none\
         HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\ntwo\
         HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    );
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_was_not_taken_whole_is_the_last_of_its_connection() {
    const TWO: &str = "GET /pass/1 HTTP/1.1\r\nHost: a\r\n\r\n\
                       GET /pass/2 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let head = "HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n";
    let whole = head.len() + 2 + PASSED.len();
    // So much is on its way to a client that takes nothing for a while; with the last there is room
    // for both answers.
    for on_the_way in [100, 500, whole - 1, 4 * whole] {
        let server = Server::plain();
        let (mut client, task) = server.connect_sized(on_the_way);
        let begun = Instant::now();
        client.write_all(TWO.as_bytes()).await.unwrap();
        sleep_until(begun + PATIENCE * 3 / 2).await;
        let mut got = Vec::new();
        client.read_to_end(&mut got).await.unwrap();
        task.await.unwrap();
        let got = String::from_utf8(got).unwrap();
        if on_the_way > whole {
            let both = 2 * whole + "connection: close\r\n".len();
            assert_eq!((got.matches(head).count(), got.len()), (2, both));
        } else {
            assert_eq!(got.matches("HTTP").count(), 1, "{on_the_way}: {got:?}");
            assert!(got.len() <= on_the_way, "{on_the_way}: {got:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_is_the_same_however_its_bytes_arrive() {
    let server = Server::plain();
    let request =
        b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n\
                    5\r\nhello\r\n0\r\n\r\n";
    for cut in 1..request.len() {
        let (mut client, _task) = server.connect();
        client.write_all(&request[..cut]).await.unwrap();
        sleep(Duration::from_millis(1)).await;
        client.write_all(&request[cut..]).await.unwrap();
        assert!(read_until(&mut client, "hello").await.ends_with("hello"), "cut at {cut}");
    }
    assert_eq!(server.room.handled(), request.len() - 1);
}

#[tokio::test(start_paused = true)]
async fn an_unfinished_request_never_reaches_the_room() {
    let server = Server::plain();
    let request = b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello";
    for cut in 0..request.len() {
        let (mut client, task) = server.connect();
        client.write_all(&request[..cut]).await.unwrap();
        drop(client);
        task.await.unwrap();
    }
    assert_eq!(server.room.handled(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_too_long_is_refused_before_it_is_read() {
    let server = Server::plain();
    let head = "POST /small HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n";
    assert!(server.answer_to(head.as_bytes()).await.starts_with("HTTP/1.1 413 "));
    let huge = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9223372036854775807\r\n\r\n";
    assert!(server.answer_to(huge.as_bytes()).await.starts_with("HTTP/1.1 413 "));
    let chunked = "POST /small HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n";
    assert!(server.answer_to(chunked.as_bytes()).await.starts_with("HTTP/1.1 413 "));
    let summed = "POST /small HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n8\r\n12345678\r\n1\r\n";
    assert!(server.answer_to(summed.as_bytes()).await.starts_with("HTTP/1.1 413 "));
    assert_eq!(server.room.handled(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_waits_for_100_continue_gets_it_after_admission_only() {
    let server = Server::plain();
    let (mut client, _task) = server.connect();
    let head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n";
    client.write_all(head.as_bytes()).await.unwrap();
    assert_eq!(read_until(&mut client, "\r\n\r\n").await, "HTTP/1.1 100 Continue\r\n\r\n");
    client.write_all(b"ok").await.unwrap();
    assert!(read_until(&mut client, "ok").await.starts_with("HTTP/1.1 200 OK\r\n"));

    let denied = head.replace("POST /", "POST /deny");
    assert!(server.answer_to(denied.as_bytes()).await.starts_with("HTTP/1.1 403 "));
    let large = head.replace("POST /", "POST /small").replace("Length: 2", "Length: 9");
    assert!(server.answer_to(large.as_bytes()).await.starts_with("HTTP/1.1 413 "));
}

#[tokio::test(start_paused = true)]
async fn an_early_reply_keeps_the_connection_only_when_there_was_no_body() {
    let server = Server::plain();
    let both = format!(
        "GET /deny HTTP/1.1\r\nHost: a\r\n\r\n{}",
        GET.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n")
    );
    assert_eq!(server.answer_to(both.as_bytes()).await.matches("HTTP/1.1 ").count(), 2);
    let smuggled =
        format!("POST /deny HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{GET}", GET.len());
    let answer = server.answer_to(smuggled.as_bytes()).await;
    assert_eq!(answer.matches("HTTP/1.1 ").count(), 1);
    assert!(answer.contains("connection: close"));
}

#[tokio::test(start_paused = true)]
async fn head_requests_get_the_length_without_the_body() {
    let server = Server::plain();
    let answer =
        server.answer_to(b"HEAD /host HTTP/1.1\r\nHost: abc\r\nConnection: close\r\n\r\n").await;
    assert_eq!(answer, "HTTP/1.1 200 OK\r\ncontent-length: 3\r\nconnection: close\r\n\r\n");
}

/// How long the server holds a client that sends `bytes` one at a time, and what it says in the
/// end.
async fn drip(server: &Server, bytes: &[u8], pause: Duration) -> (Duration, String) {
    let (client, task) = server.connect();
    let begun = Instant::now();
    let (mut reader, mut writer) = tokio::io::split(client);
    let bytes = bytes.to_vec();
    let dripping = tokio::spawn(async move {
        for byte in bytes {
            if writer.write_all(&[byte]).await.is_err() {
                return;
            }
            sleep(pause).await;
        }
    });
    let mut answer = String::new();
    let _ = reader.read_to_string(&mut answer).await;
    let held = begun.elapsed();
    dripping.abort();
    drop(reader);
    task.abort();
    (held, answer)
}

#[tokio::test(start_paused = true)]
async fn a_dripping_head_is_cut_off_after_its_total_deadline() {
    let server = Server::plain();
    let head = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "y".repeat(200));
    let (held, answer) = drip(&server, head.as_bytes(), Duration::from_secs(1)).await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!((10..13).contains(&held.as_secs()), "{held:?}");
}

#[tokio::test(start_paused = true)]
async fn a_dripping_body_is_cut_off_after_its_total_deadline() {
    for framing in ["Content-Length: 5000", "Transfer-Encoding: chunked"] {
        let server = Server::plain();
        let (mut client, _task) = server.connect();
        let head = format!("POST / HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n");
        client.write_all(head.as_bytes()).await.unwrap();
        let begun = Instant::now();
        let (mut reader, mut writer) = tokio::io::split(client);
        let dripping = tokio::spawn(async move {
            while writer.write_all(b"1\r\nx\r\n").await.is_ok() {
                sleep(Duration::from_secs(1)).await;
            }
        });
        let answer = read_until(&mut reader, "\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
        assert_eq!(begun.elapsed().as_secs(), 30);
        assert_eq!(server.room.handled(), 0);
        dripping.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_closed_without_a_word() {
    let server = Server::plain();
    for (first, after) in [("", 10), (GET, 75)] {
        let (mut client, task) = server.connect();
        client.write_all(first.as_bytes()).await.unwrap();
        if !first.is_empty() {
            read_until(&mut client, "\r\n\r\n").await;
        }
        let begun = Instant::now();
        assert_eq!(client.read(&mut [0; 9]).await.unwrap(), 0);
        assert_eq!(begun.elapsed().as_secs(), after);
        drop(client);
        task.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_take_its_reply_is_cut_off() {
    let server = Server::plain();
    let (mut client, task) = server.connect_sized(4096);
    client.write_all(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let begun = Instant::now();
    timeout(Duration::from_secs(60), task).await.expect("held").unwrap();
    assert!((20..24).contains(&begun.elapsed().as_secs()));
    assert!(server.room.saw(ConnectionEvent::ReplyNotTaken));
}

#[tokio::test(start_paused = true)]
async fn a_sale_in_flight_is_finished_when_its_client_goes_away() {
    let server = Server::plain();
    let (mut client, task) = server.connect();
    client.write_all(b"POST /slow HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    server.room.entered.notified().await;
    drop(client);
    sleep(Duration::from_secs(100)).await;
    assert_eq!(server.room.finished(), 0);
    server.room.gate.notify_one();
    task.await.unwrap();
    assert_eq!(server.room.finished(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_was_on_its_way_at_a_graceful_shutdown_is_answered_and_is_the_last() {
    let server = Server::plain();
    let (mut client, task) = server.connect();
    client.write_all(GET.as_bytes()).await.unwrap();
    assert!(!read_until(&mut client, "\r\n\r\n").await.contains("connection: close"));
    server.shutdown.send(true).unwrap();
    sleep(Duration::from_millis(1_900)).await;
    client.write_all(GET.as_bytes()).await.unwrap();
    let answer = read_until(&mut client, "\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("connection: close"));
    assert_eq!(client.read_to_end(&mut Vec::new()).await.unwrap(), 0);
    drop(client);
    task.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_graceful_shutdown_finishes_the_running_request_and_closes_idle_connections() {
    let server = Server::plain();
    let (mut idle, idle_task) = server.connect();
    idle.write_all(GET.as_bytes()).await.unwrap();
    read_until(&mut idle, "\r\n\r\n").await;
    let (mut busy, busy_task) = server.connect();
    busy.write_all(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    server.room.entered.notified().await;

    let begun = Instant::now();
    server.shutdown.send(true).unwrap();
    assert_eq!(idle.read(&mut [0; 9]).await.unwrap(), 0);
    idle_task.await.unwrap();
    let waited = begun.elapsed();
    assert!((Duration::from_secs(2)..Duration::from_secs(3)).contains(&waited), "{waited:?}");

    assert!(timeout(Duration::from_secs(5), busy.read(&mut [0; 9])).await.is_err());
    server.room.gate.notify_one();
    let answer = read_until(&mut busy, "\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("connection: close"));
    drop(busy);
    busy_task.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn connections_beyond_the_caps_are_closed_at_once_and_places_come_back() {
    let caps = Caps { per_address: 2, ..Caps::default() };
    let server = Server::new(None, deadlines(), caps);
    let (first, first_task) = server.connect();
    let (_second, _) = server.connect();
    sleep(Duration::from_millis(1)).await;
    assert_eq!(server.listener.connections(), 2);
    let (mut third, _) = server.connect();
    assert_eq!(third.read(&mut [0; 9]).await.unwrap(), 0);
    assert!(server.room.saw(ConnectionEvent::TooManyFromAddress));
    drop(first);
    first_task.await.unwrap();
    let (mut fourth, _) = server.connect();
    fourth.write_all(GET.as_bytes()).await.unwrap();
    assert!(read_until(&mut fourth, "\r\n\r\n").await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test(start_paused = true)]
async fn a_refused_client_that_keeps_sending_still_gets_its_answer_and_is_not_held_for_long() {
    let server = Server::plain();
    let (client, task) = server.connect_sized(1024);
    let (mut reader, mut writer) = tokio::io::split(client);
    tokio::spawn(async move {
        let head = "POST /small HTTP/1.1\r\nHost: a\r\nContent-Length: 999999999\r\n\r\n";
        writer.write_all(head.as_bytes()).await.unwrap();
        while writer.write_all(&[b'x'; 100]).await.is_ok() {
            sleep(Duration::from_millis(10)).await;
        }
    });
    let begun = Instant::now();
    assert!(read_until(&mut reader, "\r\n\r\n").await.starts_with("HTTP/1.1 413 "));
    task.await.unwrap();
    assert!(begun.elapsed() <= Duration::from_secs(3), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_closing_reply_ends_the_connection_whatever_else_was_asked() {
    let server = Server::plain();
    let both = format!("GET /close HTTP/1.1\r\nHost: a\r\n\r\n{GET}");
    let answer = server.answer_to(both.as_bytes());
    let closed = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    assert_eq!(answer.await, closed);
}

#[tokio::test]
async fn the_last_reply_arrives_although_the_client_goes_on_sending() {
    for head in [
        "GET /host HTTP/1.1\r\nHost: abc\r\nConnection: close\r\n\r\n",
        "POST /small HTTP/1.1\r\nHost: abc\r\nContent-Length: 100000\r\n\r\n",
    ] {
        let server = Server::plain();
        let (socket, port) = listen().await;
        let mut client = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let (stream, peer) = socket.accept().await.unwrap();
        client.write_all(head.as_bytes()).await.unwrap();
        client.write_all(&[b'x'; 100_000]).await.unwrap();
        let (listener, shutdown) = (Arc::clone(&server.listener), server.shutdown.subscribe());
        tokio::spawn(async move { listener.serve(stream, peer, &shutdown).await });
        sleep(Duration::from_millis(50)).await;
        client.shutdown().await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.expect("the connection was reset");
        assert!(answer.contains("connection: close"), "{answer}");
    }
}

/// Counts writes.
struct Counting(DuplexStream, Arc<AtomicUsize>);

impl AsyncRead for Counting {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Counting {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.1.fetch_add(1, Ordering::SeqCst);
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.1.fetch_add(1, Ordering::SeqCst);
        Pin::new(&mut self.0).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[tokio::test(start_paused = true)]
async fn a_reply_leaves_in_one_write() {
    let server = Server::plain();
    let (mut client, far) = tokio::io::duplex(64 * 1024);
    let writes = Arc::new(AtomicUsize::new(0));
    let stream = Counting(far, Arc::clone(&writes));
    let (listener, shutdown) = (Arc::clone(&server.listener), server.shutdown.subscribe());
    tokio::spawn(
        async move { listener.serve(stream, ([192, 0, 2, 1], 1).into(), &shutdown).await },
    );
    for n in 1..4 {
        client
            .write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody")
            .await
            .unwrap();
        read_until(&mut client, "body").await;
        assert_eq!(writes.load(Ordering::SeqCst), n);
    }
}
