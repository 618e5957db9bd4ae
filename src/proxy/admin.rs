//! The room behind the admin listener: liveness, readiness, metrics.

use std::sync::Arc;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, StatusCode};

use super::desk::Desk;
use super::message::{BodyLimit, Handler, Head, Refusal, Reply, Request};

/// Answers operators.
pub struct Admin(pub Arc<Desk>);

impl Handler for Admin {
    fn admit(&self, _head: &Head) -> Result<BodyLimit, Reply> {
        Ok(BodyLimit::NONE)
    }

    async fn handle(&self, request: Request) -> Reply {
        let read = matches!(request.head.method, Method::GET | Method::HEAD);
        match request.head.path.as_str() {
            _ if !read => Reply::empty(StatusCode::METHOD_NOT_ALLOWED),
            "/healthz" | "/readyz" => text(Bytes::from_static(b"ok\n")),
            "/metrics" => {
                let records = self.0.flow.vault().len();
                text(Bytes::from(self.0.metrics.text(records, self.0.audit.is_up())))
            }
            _ => Reply::empty(StatusCode::NOT_FOUND),
        }
    }

    fn refuse(&self, refusal: Refusal) -> Reply {
        Reply::empty(refusal.status())
    }
}

fn text(body: Bytes) -> Reply {
    let mut reply = Reply::empty(StatusCode::OK);
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    reply.headers.insert(CONTENT_TYPE, kind);
    reply.body = body;
    reply
}
