//! What the tests of the simulators share: a world without a proxy, and a place for callbacks.

#![allow(dead_code, unreachable_pub, reason = "each test program uses its own part")]

use portcullis_sandbox::http::{Reply, Request, Server};
use portcullis_sandbox::record::Recorder;
use portcullis_sandbox::shop::gateway::CardFields;
use portcullis_sandbox::world::{Options, Proxy, World};
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Whatever is waited for comes within this time.
pub const SOON: Duration = Duration::from_secs(5);

/// Everything but Portcullis.
pub async fn world() -> World {
    World::start(Options { proxy: Proxy::None, ..Options::default() }).await.unwrap()
}

/// A card with the usual expiry.
pub fn card(number: &str) -> CardFields {
    CardFields {
        number: number.to_owned(),
        holder: "Card Holder".to_owned(),
        cvv: "123".to_owned(),
        month: "10".to_owned(),
        year: "35".to_owned(),
        browser_info: Value::Null,
    }
}

/// A place for callbacks that says 200 from the given attempt on.
pub async fn ear(world: &World, from: usize) -> (Server, Arc<Recorder>, String) {
    let heard = Arc::new(Recorder::default());
    let (recorder, attempts) = (Arc::clone(&heard), Arc::new(AtomicUsize::new(0)));
    let serve = move |request: Request| {
        recorder.keep("callback", &request);
        // 204 is not 200: the provider comes again.
        let late = attempts.fetch_add(1, Ordering::SeqCst) + 1 >= from;
        std::future::ready(Reply::text(if late { 200 } else { 204 }, ""))
    };
    let listener = Server::bind(0).await.unwrap();
    let tls = world.ca.localhost("ear").unwrap().acceptor().unwrap();
    let server = Server::serve(listener, Some(tls), serve).unwrap();
    let url = format!("https://localhost:{}/callback", server.port());
    (server, heard, url)
}
