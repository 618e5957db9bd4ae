//! The room behind the public listener: browsers, access control servers, provider callbacks.
//! Nobody here is trusted. Clear cards come in here and nowhere else.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, CACHE_CONTROL, CONTENT_SECURITY_POLICY,
    CONTENT_TYPE, LOCATION, ORIGIN, REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Version};

use crate::card::Timestamp;
use crate::flow::{
    Form, FormStep, FormTicket, Offer, Offered, Prepared, Refusal, Relayed, Return, Step, Ticket,
    Unverified, Verdict,
};
use crate::limit::{Exceeded, Limit};
use crate::page::{self, Page};
use crate::secret::CleartextBody;

use super::desk::{Call, Desk, Origin};
use super::message::{
    BodyLimit, ConnectionEvent, Handler, Head, Refusal as CodecRefusal, Reply, Request,
};
use super::reply::{self, set};

/// Bytes of body: a card; what an access control server posts (a PaRes is several kB of XML); a
/// callback.
const CARD_BODY: usize = 16 * 1024;
const RETURN_BODY: usize = 128 * 1024;
const CALLBACK_BODY: usize = 256 * 1024;

/// How long a second return waits for the first, and how often it looks.
const RETURN_WAIT: Duration = Duration::from_secs(5);
const RETURN_LOOK: Duration = Duration::from_millis(50);

/// Answers the outside world.
pub struct Public(pub Arc<Desk>);

/// What is called, decided from the head alone.
enum Called<'h> {
    Preflight,
    Capture,
    Start(&'h str),
    Return(&'h str),
    Callback(&'h str, Option<&'h str>),
    Form(&'h str),
}

impl Called<'_> {
    fn name(&self) -> &'static str {
        match self {
            Self::Preflight => "capture.preflight",
            Self::Capture => "capture",
            Self::Start(_) => "threeds.start",
            Self::Return(_) => "threeds.return",
            Self::Callback(..) => "callback",
            Self::Form(_) => "payform",
        }
    }

    fn limit(&self, method: &Method) -> BodyLimit {
        if *method != Method::POST {
            return BodyLimit::NONE;
        }
        match self {
            Self::Preflight => BodyLimit::NONE,
            Self::Start(_) => BodyLimit::bytes(RETURN_BODY),
            Self::Capture | Self::Form(_) => BodyLimit::bytes(CARD_BODY),
            Self::Return(_) => BodyLimit::bytes(RETURN_BODY),
            Self::Callback(..) => BodyLimit::bytes(CALLBACK_BODY),
        }
    }
}

fn called<'h>(method: &Method, path: &'h str) -> Option<Called<'h>> {
    let mut segments = path.strip_prefix('/')?.split('/');
    let parts = [segments.next(), segments.next(), segments.next(), segments.next()];
    let read = matches!(*method, Method::GET | Method::HEAD);
    let post = *method == Method::POST;
    match parts {
        [Some("v1"), Some("tokens"), None, _] if post => Some(Called::Capture),
        [Some("v1"), Some("tokens"), None, _] if *method == Method::OPTIONS => {
            Some(Called::Preflight)
        }
        // An application that builds its form by hand may post to the address that it was given.
        [Some("3ds"), Some(id), Some("start"), None] if read || post => Some(Called::Start(id)),
        [Some("payform"), Some(id), None, _] if post || read => Some(Called::Form(id)),
        [Some("3ds"), Some(id), None, _] if read || post => Some(Called::Return(id)),
        [Some("callbacks"), Some(account), None, _] if post => {
            Some(Called::Callback(account, None))
        }
        [Some("callbacks"), Some(account), Some(sealed), None] if post => {
            Some(Called::Callback(account, Some(sealed)))
        }
        _ => None,
    }
}

#[async_trait]
impl Handler for Public {
    fn admit(&self, head: &Head) -> Result<BodyLimit, Reply> {
        let called = called(&head.method, &head.path);
        let allowed = self.allow(called.as_ref(), head).map_err(Refusal::from);
        let known = allowed.and_then(|()| called.as_ref().ok_or(Refusal::RouteUnknown));
        known.map(|called| called.limit(&head.method)).map_err(|refusal| {
            let name = called.as_ref().map_or("none", Called::name);
            let mut call = Call::begin("public", name);
            let mut refused = call.refuse(reply::refused(&refusal, &call.id));
            if matches!(called, Some(Called::Capture)) {
                self.may_be_read(head, &mut refused);
            }
            harden(&mut refused.headers);
            call.end(refused, &self.0)
        })
    }

    async fn handle(&self, request: Request) -> Reply {
        let Request { head, body } = request;
        let Some(called) = called(&head.method, &head.path) else {
            return Reply::empty(StatusCode::NOT_FOUND);
        };
        let version = head.version;
        let carries_card = matches!(called, Called::Capture | Called::Form(_));
        let mut call = Call::begin("public", called.name());
        let mut reply = match called {
            Called::Preflight => self.preflight(&head),
            Called::Capture => self.capture(&head, &body, &mut call),
            Called::Start(id) => self.start(id, &mut call),
            Called::Return(id) => self.come_back(id, &head, body, &mut call).await,
            Called::Callback(account, sealed) => {
                let callback = Unverified { account, sealed, headers: &head.headers, body };
                self.callback(callback, &mut call).await
            }
            Called::Form(id) if head.method == Method::POST => {
                self.form(id, &head, body, &mut call).await
            }
            Called::Form(id) => self.look_at_form(id, &mut call),
        };
        // h2 keeps consumed frames while a connection lives; a card must not stay in them.
        reply.close |= carries_card && version == Version::HTTP_2;
        harden(&mut reply.headers);
        if call.guess {
            self.0.limits.note(Limit::UnknownIds, &self.0.hops.client(&head));
        }
        call.end(reply, &self.0)
    }

    fn refuse(&self, refusal: CodecRefusal) -> Reply {
        let mut call = Call::begin("public", "none");
        let refused = call.refuse(reply::codec(refusal, &call.id));
        call.end(refused, &self.0)
    }

    fn note(&self, event: ConnectionEvent) {
        self.0.metrics.connection_ended("public", event.as_str());
    }
}

impl Public {
    /// A browser asks whether a page may call. The session is not known yet (a preflight carries no
    /// credentials), so any origin that some application named may ask.
    fn preflight(&self, head: &Head) -> Reply {
        let mut reply = Reply::empty(StatusCode::NO_CONTENT);
        let origin = head.single(ORIGIN).filter(|origin| self.0.flow.may_ask(origin));
        reply.headers.insert(VARY, HeaderValue::from_static("origin"));
        if let Some(origin) = origin {
            set(&mut reply.headers, ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            set(&mut reply.headers, ACCESS_CONTROL_ALLOW_METHODS, "POST");
            set(&mut reply.headers, ACCESS_CONTROL_ALLOW_HEADERS, "authorization, content-type");
            set(&mut reply.headers, ACCESS_CONTROL_MAX_AGE, "600");
        }
        reply
    }

    fn capture(&self, head: &Head, body: &CleartextBody, call: &mut Call) -> Reply {
        let allow = |offer: Offer<'_>| self.allow_card(&offer);
        let captured = self.0.flow.capture(&head.headers, body, allow, Timestamp::system());
        let mut reply = match captured {
            Ok(captured) => reply::json(StatusCode::CREATED, captured.body),
            Err(refusal) => {
                let refused = reply::refused(&refusal, &call.id);
                call.refuse(refused)
            }
        };
        self.may_be_read(head, &mut reply);
        reply
    }

    /// The page may read why it was refused, too, unless it has no business here.
    fn may_be_read(&self, head: &Head, reply: &mut Reply) {
        reply.headers.insert(VARY, HeaderValue::from_static("origin"));
        let origin = head.single(ORIGIN).filter(|origin| self.0.flow.may_ask(origin));
        if let Some(origin) = origin.filter(|_| reply.status != StatusCode::FORBIDDEN) {
            set(&mut reply.headers, ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        }
        if reply.status == StatusCode::TOO_MANY_REQUESTS {
            let told = HeaderValue::from_static("retry-after, ratelimit, ratelimit-policy");
            reply.headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, told);
        }
    }

    /// Rates of an address, before anything of a body is read.
    fn allow(&self, called: Option<&Called<'_>>, head: &Head) -> Result<(), Exceeded> {
        let (limits, client) = (&self.0.limits, self.0.hops.client(head));
        match called {
            Some(Called::Callback(..)) => return limits.pass(Limit::Callbacks, &client),
            Some(Called::Preflight) | None => {}
            Some(Called::Capture | Called::Start(_) | Called::Return(_) | Called::Form(_)) => {
                limits.look(Limit::UnknownIds, &client)?;
            }
        }
        limits.pass(Limit::Address, &client)?;
        match called {
            Some(Called::Capture) => limits.pass(Limit::AddressCards, &client),
            _ => Ok(()),
        }
    }

    /// Rates of a card that is about to be kept. Varying one dimension evades the others, so there
    /// are three.
    fn allow_card(&self, offer: &Offer<'_>) -> Result<(), Exceeded> {
        let (limits, app) = (&self.0.limits, offer.app.as_str());
        limits.pass(Limit::SessionCards, &offer.session)?;
        match &offer.card {
            Offered::Number { fingerprint, bin } => {
                limits.pass(Limit::Card, &(app, fingerprint))?;
                limits.pass(Limit::Bin, &(app, bin))
            }
            Offered::Kept(token) => limits.pass(Limit::Card, &(app, token)),
        }
    }

    fn start(&self, id: &str, call: &mut Call) -> Reply {
        match self.0.flow.handoff_page(id, Timestamp::system()) {
            Ok(page) => {
                let fields = page.fields.iter().map(|(name, value)| (&**name, &**value));
                shown(
                    StatusCode::OK,
                    page::handoff(&page.action, &page.method, fields, &page.ancestors),
                )
            }
            Err(refusal) => gone(&refusal, call),
        }
    }

    async fn come_back(
        &self,
        id: &str,
        head: &Head,
        body: CleartextBody,
        call: &mut Call,
    ) -> Reply {
        if head.method == Method::HEAD {
            return Reply::empty(StatusCode::OK);
        }
        let back = Return {
            method: &head.method,
            query: head.query.as_deref(),
            headers: &head.headers,
            body,
        };
        match self.0.flow.begin_return(id, back, Timestamp::system()) {
            Ok(Step::Send(prepared, ticket)) => self.relay(*prepared, ticket, call).await,
            Ok(Step::Answer(relayed)) => browser(relayed),
            Ok(Step::Wait) => self.wait(id, "3ds", Self::return_outcome).await,
            Ok(Step::Idle) => shown(
                StatusCode::OK,
                page::notice(
                    "Nothing to do here",
                    "This address is part of a payment in your browser.",
                ),
            ),
            Err(refusal) => gone(&refusal, call),
        }
    }

    async fn relay(&self, prepared: Prepared, ticket: Ticket, call: &mut Call) -> Reply {
        let outcome = call.upstream(self.0.send(prepared, Origin::Outside)).await;
        call.upstream_status = outcome.as_ref().ok().map(|answer| answer.status);
        let outcome = outcome.map_err(|error| reply::forwarded(&error));
        match self.0.flow.finish_return(ticket, outcome, Timestamp::system()) {
            Ok(relayed) => browser(relayed),
            Err(refusal) => unreachable(&refusal, call),
        }
    }

    async fn form(&self, id: &str, head: &Head, body: CleartextBody, call: &mut Call) -> Reply {
        let form = Form { headers: &head.headers, body };
        match self.0.flow.begin_form(id, form, Timestamp::system()) {
            Ok(FormStep::Send(prepared, ticket)) => self.post(*prepared, *ticket, call).await,
            Ok(FormStep::Page(page)) => {
                let fields = page.fields.iter().map(|(name, value)| (&**name, &**value));
                shown(StatusCode::OK, page::handoff(&page.action, &page.method, fields, &[]))
            }
            Ok(FormStep::Answer(relayed)) => browser(relayed),
            Ok(FormStep::Wait) => self.wait(id, "payform", Self::form_outcome).await,
            Err(refusal) => form_refused(&refusal, call),
        }
    }

    async fn post(&self, prepared: Prepared, ticket: FormTicket, call: &mut Call) -> Reply {
        let outcome = call.upstream(self.0.send(prepared, Origin::Outside)).await;
        call.upstream_status = outcome.as_ref().ok().map(|answer| answer.status);
        let outcome = outcome.map_err(|error| reply::forwarded(&error));
        match self.0.flow.finish_form(ticket, outcome, Timestamp::system()) {
            Ok(relayed) => browser(relayed),
            Err(refusal) => unreachable(&refusal, call),
        }
    }

    /// Our waiting page asks what became of a form.
    fn look_at_form(&self, id: &str, call: &mut Call) -> Reply {
        match self.form_outcome(id) {
            Ok(Some(relayed)) => browser(relayed),
            Ok(None) => shown(StatusCode::OK, page::waiting(&format!("/payform/{id}"))),
            Err(refusal) => gone(&refusal, call),
        }
    }

    fn form_outcome(&self, id: &str) -> Result<Option<Relayed>, Refusal> {
        self.0.flow.form_outcome(id, Timestamp::system())
    }

    fn return_outcome(&self, id: &str) -> Result<Option<Relayed>, Refusal> {
        self.0.flow.return_outcome(id, Timestamp::system())
    }

    /// Waits for the request that is being relayed; then shows its outcome, or a page that asks
    /// again.
    async fn wait(
        &self,
        id: &str,
        place: &str,
        outcome: impl Fn(&Self, &str) -> Result<Option<Relayed>, Refusal> + Send,
    ) -> Reply {
        let until = tokio::time::Instant::now() + RETURN_WAIT;
        while tokio::time::Instant::now() < until {
            tokio::time::sleep(RETURN_LOOK).await;
            match outcome(self, id) {
                Ok(Some(relayed)) => return browser(relayed),
                Ok(None) => {}
                Err(_) => break,
            }
        }
        shown(StatusCode::OK, page::waiting(&format!("/{place}/{id}")))
    }

    async fn callback(&self, callback: Unverified<'_>, call: &mut Call) -> Reply {
        let (flow, now) = (&self.0.flow, Timestamp::system());
        let mut taken = String::new();
        let verdict = flow.verify(callback, now).and_then(|verified| {
            call.account = verified.account().to_owned();
            call.app = verified.app().to_owned();
            taken = verified.reply();
            flow.judge(verified, now)
        });
        let outcome = match verdict {
            Ok(Verdict::Acknowledge) => {
                call.code = "callback_repeated";
                Ok(())
            }
            Ok(Verdict::Deliver(notice, delivery)) => {
                let status = match self.0.sign_notice(*notice).await {
                    Ok(prepared) => {
                        let answer = call.upstream(self.0.send(prepared, Origin::Outside)).await;
                        answer.ok().map(|answer| answer.status)
                    }
                    Err(_) => None,
                };
                call.upstream_status = status;
                flow.delivered(delivery, status, Timestamp::system())
            }
            Err(refusal) => Err(refusal),
        };
        match outcome {
            Ok(()) => {
                let mut reply = Reply::empty(StatusCode::OK);
                if !taken.is_empty() {
                    let json = taken.starts_with('{');
                    let kind = if json { "application/json" } else { "text/plain; charset=utf-8" };
                    set(&mut reply.headers, CONTENT_TYPE, kind);
                    reply.body = Bytes::from(taken);
                }
                reply
            }
            Err(refusal) => {
                let refused = reply::refused(&refusal, &call.id);
                call.refuse(refused)
            }
        }
    }
}

/// What the browser is told at the end of a return.
fn browser(relayed: Relayed) -> Reply {
    let mut reply = Reply::empty(relayed.status);
    if let Some(location) = &relayed.location {
        set(&mut reply.headers, LOCATION, location);
        return reply;
    }
    if relayed.body.is_empty() {
        return shown(
            relayed.status,
            page::notice(
                "Your payment is being processed",
                "The shop will tell you its outcome. You can close this page.",
            ),
        );
    }
    let kind = relayed.content_type.as_deref().unwrap_or("text/plain; charset=utf-8");
    set(&mut reply.headers, CONTENT_TYPE, kind);
    set(&mut reply.headers, CONTENT_SECURITY_POLICY, page::foreign_policy());
    reply.body = relayed.body.into_bytes();
    reply
}

fn unreachable(refusal: &Refusal, call: &mut Call) -> Reply {
    call.note(&reply::refused(refusal, &call.id));
    shown(
        StatusCode::SERVICE_UNAVAILABLE,
        page::notice(
            "The payment provider cannot be reached",
            "Nothing was lost. Please reload this page in a moment.",
        ),
    )
}

/// The cardholder is told to start again; the code is in the log.
fn form_refused(refusal: &Refusal, call: &mut Call) -> Reply {
    let refused = reply::refused(refusal, &call.id);
    call.note(&refused);
    shown(
        refused.reply.status,
        page::notice(
            "Your card was not sent",
            "This form is not valid any more, or incomplete. Please go back to the shop and try again.",
        ),
    )
}

fn gone(refusal: &Refusal, call: &mut Call) -> Reply {
    call.note(&reply::refused(refusal, &call.id));
    shown(
        StatusCode::NOT_FOUND,
        page::notice(
            "This payment step is not here any more",
            "It may have ended or taken too long. Please go back to the shop.",
        ),
    )
}

fn shown(status: StatusCode, page: Page) -> Reply {
    let mut reply = Reply::empty(status);
    reply.headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    set(&mut reply.headers, CONTENT_SECURITY_POLICY, &page.policy);
    reply.body = Bytes::from(page.html);
    reply
}

/// Every answer here: not stored, not guessed at, and the address of a payment step in no
/// `Referer`.
fn harden(headers: &mut HeaderMap) {
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
}
