//! Listens on the wire between Portcullis and a provider. A simulator notes whole requests only;
//! here every byte counts, a TLS handshake included.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use portcullis_sandbox::world::Adjust;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A relay on a port of its own. TLS passes through it unopened.
pub(crate) struct Tap {
    port: u16,
    /// `localhost:port` of the provider, known once the configuration is written.
    target: Arc<OnceLock<String>>,
    bytes: Arc<AtomicUsize>,
}

impl Tap {
    pub(crate) async fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let tap = Self { port, target: Arc::default(), bytes: Arc::default() };
        let (target, bytes) = (Arc::clone(&tap.target), Arc::clone(&tap.bytes));
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let target = target.get().unwrap().clone();
                tokio::spawn(relay(near, target, Arc::clone(&bytes)));
            }
        });
        tap
    }

    /// Puts the tap before Paymega, for base URLs that begin with this path.
    pub(crate) fn adjust(&self, path: &'static str) -> Adjust {
        let (port, target) = (self.port, Arc::clone(&self.target));
        Box::new(move |config| {
            let (_, account) = config.split_once("name = \"paymega\"\n").unwrap();
            let (_, url) = account.split_once("cardgate = \"https://").unwrap();
            let (authority, _) = url.split_once('/').unwrap();
            target.set(authority.to_owned()).unwrap();
            let direct = format!("\"https://{authority}{path}");
            assert!(config.contains(&direct));
            config.replace(&direct, &format!("\"https://localhost:{port}{path}"))
        })
    }

    /// How many bytes Portcullis has sent so far.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::SeqCst)
    }
}

async fn relay(near: TcpStream, target: String, bytes: Arc<AtomicUsize>) {
    let Ok(far) = TcpStream::connect(target).await else { return };
    let (mut from_portcullis, mut to_portcullis) = near.into_split();
    let (mut from_provider, mut to_provider) = far.into_split();
    let out = async {
        let mut buffer = vec![0; 16 * 1024];
        while let Ok(count @ 1..) = from_portcullis.read(&mut buffer).await {
            bytes.fetch_add(count, Ordering::SeqCst);
            if to_provider.write_all(&buffer[..count]).await.is_err() {
                return;
            }
        }
    };
    let back = async {
        let _ = tokio::io::copy(&mut from_provider, &mut to_portcullis).await;
    };
    // Either end closes both.
    tokio::select! {
        () = out => {}
        () = back => {}
    }
}
