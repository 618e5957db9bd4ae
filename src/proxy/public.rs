//! The room behind the public listener: browsers, access control servers, provider callbacks.
//! Nobody here is trusted. Clear cards come in here and nowhere else.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::header::{
    ACCEPT, ACCEPT_LANGUAGE, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    CONTENT_TYPE, ORIGIN, VARY,
};
use http::{HeaderValue, Method, StatusCode, Version};

use crate::card::Timestamp;
use crate::flow::{Offer, Offered, Refusal, Unverified, Verdict};
use crate::limit::{Exceeded, Limit};
use crate::page::{self, CardForm, Language, Script};
use crate::secret::CleartextBody;

use super::desk::{Call, Desk, Origin};
use super::message::{
    BodyLimit, Client, ConnectionEvent, Handler, Head, Passing, Refusal as CodecRefusal, Reply,
    Request,
};
use super::reply::{self, set};
use super::shown::{self, gone, harden};

/// Bytes of body: a card; what an access control server posts (a PaRes is several kB of XML); a
/// callback.
const CARD_BODY: usize = 16 * 1024;
const RETURN_BODY: usize = 128 * 1024;
const CALLBACK_BODY: usize = 256 * 1024;

/// Answers the outside world.
pub struct Public(pub Arc<Desk>);

/// What is called, decided from the head alone.
enum Called<'h> {
    Preflight,
    Capture,
    CardForm(&'h str),
    Script(Script),
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
            Self::CardForm(_) => "form",
            Self::Script(_) => "script",
            Self::Start(_) => "threeds.start",
            Self::Return(_) => "threeds.return",
            Self::Callback(..) => "callback",
            Self::Form(_) => "payform",
        }
    }

    /// The path as spans show it.
    fn pattern(&self) -> &'static str {
        match self {
            Self::Preflight | Self::Capture => "/v1/tokens",
            Self::CardForm(_) => "/v1/form/{capture_session}",
            Self::Script(_) => "/v1/{script}",
            Self::Start(_) => "/3ds/{id}/start",
            Self::Return(_) => "/3ds/{id}",
            Self::Callback(..) => "/callbacks/{account}/{sealed}",
            Self::Form(_) => "/payform/{id}",
        }
    }

    fn limit(&self, method: &Method) -> BodyLimit {
        if *method != Method::POST {
            return BodyLimit::NONE;
        }
        match self {
            Self::Preflight | Self::CardForm(_) | Self::Script(_) => BodyLimit::NONE,
            Self::Capture | Self::Form(_) => BodyLimit::bytes(CARD_BODY),
            Self::Start(_) | Self::Return(_) => BodyLimit::bytes(RETURN_BODY),
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
        [Some("v1"), Some("form"), Some(id), None] if read => Some(Called::CardForm(id)),
        [Some("v1"), Some(_), None, _] if read => Script::at(path).map(Called::Script),
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

impl Handler for Public {
    fn passes(&self, head: &Head) -> bool {
        let shop = self.0.shops.called(head);
        shop.is_some_and(|shop| shop.passes(head))
    }

    async fn pass(&self, passing: Passing, client: &mut dyn Client) {
        if let Some(shop) = self.0.shops.called(&passing.head) {
            shop.pass(passing, client, &self.0).await;
        }
    }

    fn admit(&self, head: &Head) -> Result<BodyLimit, Reply> {
        if let Some(shop) = self.0.shops.called(head) {
            return self.admit_card(shop, head);
        }
        let called = called(&head.method, &head.path);
        let allowed = self.allow(called.as_ref(), head).map_err(Refusal::from);
        let known = allowed.and_then(|()| called.as_ref().ok_or(Refusal::RouteUnknown));
        known.map(|called| called.limit(&head.method)).map_err(|refusal| {
            let name = called.as_ref().map_or("none", Called::name);
            let mut call = self.begin(name, Some(head));
            if let Some(called) = &called {
                call.route(|| called.pattern().into());
            }
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
        if let Some(shop) = self.0.shops.called(&head) {
            return self.take_card(shop, &head, body).await;
        }
        let Some(called) = called(&head.method, &head.path) else {
            return Reply::empty(StatusCode::NOT_FOUND);
        };
        let version = head.version;
        let language = Language::chosen(head.query.as_deref(), head.single(ACCEPT_LANGUAGE));
        let came_with_body = !body.is_empty();
        let mut call = self.begin(called.name(), Some(&head));
        call.route(|| called.pattern().into());
        self.note_whose(&called, &mut call);
        let mut reply = match called {
            Called::Preflight => self.preflight(&head),
            Called::Capture => self.capture(&head, &body, &mut call),
            Called::CardForm(id) => self.card_form(id, &head, language, &mut call),
            Called::Script(script) => shown::script(script),
            Called::Start(id) => self.start(id, language, &mut call),
            Called::Return(id) => self.come_back(id, &head, body, language, &mut call).await,
            Called::Callback(account, sealed) => {
                let callback = Unverified { account, sealed, headers: &head.headers, body };
                self.callback(callback, &mut call).await
            }
            Called::Form(id) if head.method == Method::POST => {
                self.form(id, &head, body, language, &mut call).await
            }
            Called::Form(id) => self.look_at_form(id, language, &mut call),
        };
        // h2 keeps consumed frames while a connection lives; a card must not stay in them, and
        // here any body may hold one: a callback, what a bank's page posts.
        reply.close |= came_with_body && version == Version::HTTP_2;
        harden(&mut reply.headers);
        if call.guess {
            self.0.limits.note(Limit::UnknownIds, &self.0.hops.client(&head));
        }
        call.end(reply, &self.0)
    }

    fn refuse(&self, refusal: CodecRefusal) -> Reply {
        let mut call = self.begin("none", None);
        let refused = call.refuse(reply::codec(refusal, &call.id));
        call.end(refused, &self.0)
    }

    fn note(&self, event: ConnectionEvent) {
        self.0.metrics.connections_ended("public", event.as_str(), 1);
    }
}

impl Public {
    /// Whose call it is, as far as its path tells.
    fn note_whose(&self, called: &Called<'_>, call: &mut Call) {
        match called {
            Called::Start(id) | Called::Return(id) | Called::Form(id) => {
                call.belongs(self.0.flow.whose(id, Timestamp::system()));
            }
            Called::Callback(account, _) => call.account = self.0.flow.account_named(account),
            Called::Preflight | Called::Capture | Called::CardForm(_) | Called::Script(_) => {}
        }
    }

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
        let (flow, now) = (&self.0.flow, Timestamp::system());
        let allow = |offer: Offer<'_>| self.allow_card(&offer);
        let captured = flow.capturing(&head.headers, now).and_then(|capturing| {
            call.app = Some(capturing.app().clone());
            flow.capture(capturing, &head.headers, body, allow, now)
        });
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
            Some(Called::Preflight | Called::Script(_)) | None => {}
            Some(
                Called::Capture
                | Called::CardForm(_)
                | Called::Start(_)
                | Called::Return(_)
                | Called::Form(_),
            ) => limits.look(Limit::UnknownIds, &client)?,
        }
        limits.pass(Limit::Address, &client)?;
        match called {
            Some(Called::Capture) => limits.pass(Limit::AddressCards, &client),
            _ => Ok(()),
        }
    }

    /// Rates of a card that is about to be kept. Varying one dimension evades the others, so there
    /// are three.
    pub(super) fn allow_card(&self, offer: &Offer<'_>) -> Result<(), Exceeded> {
        let (limits, app) = (&self.0.limits, offer.app.as_str());
        if let Some(session) = offer.session {
            limits.pass(Limit::SessionCards, &session)?;
        }
        match &offer.card {
            Offered::Number { fingerprint, bin } => {
                limits.pass(Limit::Card, &(app, fingerprint))?;
                limits.pass(Limit::Bin, &(app, bin))
            }
            Offered::Kept(token) => limits.pass(Limit::Card, &(app, token)),
        }
    }

    fn card_form(&self, id: &str, head: &Head, language: Language, call: &mut Call) -> Reply {
        let form = match self.0.flow.card_form(id, Timestamp::system()) {
            Ok(form) => form,
            Err(refusal) => return gone(&refusal, language, call),
        };
        call.app = Some(form.app);
        let form = CardForm {
            origin: &form.origin,
            return_url: &form.return_url,
            theme: &form.theme,
            accept: head.single(ACCEPT).unwrap_or_default(),
            address: &self.0.hops.address(head).to_string(),
        };
        shown::card_form(page::card_form(&form, language))
    }

    async fn callback(&self, callback: Unverified<'_>, call: &mut Call) -> Reply {
        let (flow, now) = (&self.0.flow, Timestamp::system());
        let (mut taken, mut delivered) = (String::new(), None);
        let verdict = flow.verify(callback, now).and_then(|verified| {
            call.app = Some(verified.app().clone());
            taken = verified.reply();
            flow.judge(verified, now)
        });
        let outcome = match verdict {
            Ok(Verdict::Acknowledge) => {
                call.code = "callback_repeated";
                Ok(())
            }
            Ok(Verdict::Deliver(notice, delivery)) => {
                if let Ok(prepared) = self.0.sign_notice(*notice).await {
                    let begun = Instant::now();
                    let answer = self.0.send(prepared, Origin::Outside, call.behalf()).await;
                    call.upstream_since(begun);
                    delivered = Some(answer.map(|answer| answer.status));
                }
                let status = delivered.as_ref().and_then(|ended| ended.as_ref().ok().copied());
                flow.delivered(delivery, status, Timestamp::system())
            }
            Err(refusal) => Err(refusal),
        };
        let reply = match outcome {
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
        };
        if let Some(ended) = delivered {
            // Not taken is the word for it, whichever way the application failed.
            let code = call.code;
            call.exchanged(ended);
            call.code = code;
        }
        reply
    }
}
