//! The listener as a Pingora service.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use pingora::services::Service;
use portcullis::proxy::accept::Listener;
use portcullis::proxy::listening::Bound;
use portcullis::proxy::message::Caps;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;

use super::support::{Guest, Room, deadlines, listen, read_until};

#[tokio::test]
async fn a_listener_runs_as_a_pingora_service_until_shutdown() {
    let (free, port) = listen().await;
    drop(free);
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let room = Arc::new(Room::default());
    let listener = Listener::new(Guest(Arc::clone(&room)), None, deadlines(), Caps::default());
    let bound = Bound::to(address).unwrap();
    assert!(Bound::to(address).is_err(), "the address is taken from now on");
    // Before the service runs: whoever comes now waits.
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET /host HTTP/1.1\r\nHost: abc\r\n\r\n").await.unwrap();
    let mut service = listener.into_service("test", bound);
    let (shutdown, watch) = watch::channel(false);
    let running = tokio::spawn(async move { service.start_service(None, watch, 1).await });
    assert!(read_until(&mut stream, "abc").await.starts_with("HTTP/1.1 200 OK\r\n"));
    shutdown.send(true).unwrap();
    assert_eq!(read_until(&mut stream, "never").await, "");
    timeout(Duration::from_secs(5), running).await.unwrap().unwrap();
    assert!(TcpStream::connect(address).await.is_err());
}
