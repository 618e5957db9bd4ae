//! The room behind the admin listener: liveness, readiness, metrics, and what operators ask of the
//! running process.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, ORIGIN};
use http::{HeaderValue, Method, StatusCode};
use tokio::sync::{mpsc, oneshot};

use crate::telemetry::Levels;

use super::desk::Desk;
use super::drain::Drain;
use super::message::{BodyLimit, Handler, Head, Refusal, Reply, Request};

/// Changes that may be asked for at a time; who comes later waits.
const WAITING: usize = 4;

/// Answers operators.
pub struct Admin {
    /// What requests are served with.
    pub desk: Arc<Desk>,
    /// Where a change is asked for.
    pub changes: Changes,
    /// Whether the process is about to stop.
    pub drain: Arc<Drain>,
}

/// Asks whoever reads the configuration to read it again.
#[derive(Debug, Clone)]
pub struct Changes(mpsc::Sender<oneshot::Sender<Outcome>>);

/// What became of a change.
#[derive(Debug)]
pub struct Outcome {
    /// Whether it is in use.
    pub taken: bool,
    /// The answer to whoever asked for it, as JSON.
    pub document: Vec<u8>,
}

impl Changes {
    /// Somewhere to ask, and where it arrives.
    #[must_use]
    pub fn channel() -> (Self, mpsc::Receiver<oneshot::Sender<Outcome>>) {
        let (asking, asked) = mpsc::channel(WAITING);
        (Self(asking), asked)
    }

    async fn ask(&self) -> Option<Outcome> {
        let (answer, answered) = oneshot::channel();
        self.0.send(answer).await.ok()?;
        answered.await.ok()
    }
}

impl Handler for Admin {
    fn admit(&self, _head: &Head) -> Result<BodyLimit, Reply> {
        Ok(BodyLimit::NONE)
    }

    async fn handle(&self, request: Request) -> Reply {
        let head = &request.head;
        match head.path.as_str() {
            "/healthz" | "/readyz" | "/metrics" if is_read(head) => self.tell(&head.path),
            "/healthz" | "/readyz" | "/metrics" => only("GET, HEAD"),
            "/reload" | "/drain" if head.method != Method::POST => only("POST"),
            "/reload" | "/drain" if !is_local(head) => Reply::empty(StatusCode::FORBIDDEN),
            "/reload" => self.reload().await,
            "/drain" => {
                self.drain.begin();
                text(StatusCode::ACCEPTED, Bytes::from_static(b"draining\n"))
            }
            _ => Reply::empty(StatusCode::NOT_FOUND),
        }
    }

    fn refuse(&self, refusal: Refusal) -> Reply {
        Reply::empty(refusal.status())
    }
}

impl Admin {
    fn tell(&self, path: &str) -> Reply {
        if path != "/metrics" {
            let away = (path == "/readyz").then(|| self.away()).flatten();
            let status = away.map_or(StatusCode::OK, |_| StatusCode::SERVICE_UNAVAILABLE);
            return text(status, Bytes::from_static(away.unwrap_or("ok\n").as_bytes()));
        }
        let (vault, audit_up) = (self.desk.flow.vault(), self.desk.audit.is_up());
        let levels = Levels { records: vault.len(), audit_up, rooms: vault.rooms() };
        text(StatusCode::OK, Bytes::from(self.desk.metrics.text(&levels)))
    }

    /// Why nobody should be sent here.
    fn away(&self) -> Option<&'static str> {
        if self.drain.is_on() {
            return Some("draining\n");
        }
        (!self.desk.audit.is_up()).then_some("audit\n")
    }

    async fn reload(&self) -> Reply {
        let Some(outcome) = self.changes.ask().await else {
            return Reply::empty(StatusCode::SERVICE_UNAVAILABLE);
        };
        let (status, kind) = match outcome.taken {
            true => (StatusCode::OK, "application/json"),
            false => (StatusCode::UNPROCESSABLE_ENTITY, "application/problem+json"),
        };
        let mut reply = Reply::empty(status);
        reply.headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        reply.body = Bytes::from(outcome.document);
        reply
    }
}

fn is_read(head: &Head) -> bool {
    matches!(head.method, Method::GET | Method::HEAD)
}

/// Whether somebody on this machine asks who is no page in a browser: browsers say where a page is
/// from, and the listener knows nobody by name.
fn is_local(head: &Head) -> bool {
    head.peer.ip().to_canonical().is_loopback() && !head.headers.contains_key(ORIGIN)
}

fn only(methods: &'static str) -> Reply {
    let mut reply = Reply::empty(StatusCode::METHOD_NOT_ALLOWED);
    reply.headers.insert(ALLOW, HeaderValue::from_static(methods));
    reply
}

fn text(status: StatusCode, body: Bytes) -> Reply {
    let mut reply = Reply::empty(status);
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    reply.headers.insert(CONTENT_TYPE, kind);
    reply.body = body;
    reply
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, Version};

    use super::*;

    #[test]
    fn only_this_machine_and_no_page_in_a_browser_is_local() {
        let head = |peer: &str| Head {
            method: Method::POST,
            path: "/reload".to_owned(),
            query: None,
            headers: HeaderMap::new(),
            version: Version::HTTP_11,
            peer: peer.parse().unwrap(),
            client: None,
        };
        for peer in ["127.0.0.1:1", "127.8.9.10:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
            let mut head = head(peer);
            assert!(is_local(&head), "{peer}");
            head.headers.insert(ORIGIN, HeaderValue::from_static("http://127.0.0.1"));
            assert!(!is_local(&head), "{peer}");
        }
        for peer in ["192.0.2.1:1", "10.0.0.1:1", "[2001:db8::1]:1", "[::ffff:192.0.2.1]:1"] {
            assert!(!is_local(&head(peer)), "{peer}");
        }
    }
}
