//! The room behind the private listener: the merchant's applications. No clear card crosses it.

use std::sync::Arc;
use std::time::Instant;

use http::{HeaderName, HeaderValue, Method, StatusCode, Version};

use crate::audit::Record;
use crate::caller::App;
use crate::card::Timestamp;
use crate::flow::{
    Answer, Draft, Forwarded, Incoming, Learnt, Pending, Place, Ready, Refusal, Repeated, Scrubbed,
    holds_card, target_holds_card,
};
use crate::limit::{Exceeded, Limit};
use crate::secret::CleartextBody;

use super::desk::{Call, Desk, Name, Origin};
use super::exchange::SendError;
use super::message::{
    BodyLimit, ConnectionEvent, Handler, Head, Refusal as CodecRefusal, Reply, Request,
};
use super::prefer::{self, Wish};
use super::tracing::Traced;
use super::{explain, inquiry, reply};

/// Says that an answer is that of an earlier request.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// Bytes of body that our own calls accept.
const OWN_BODY: usize = 16 * 1024;

/// Answers applications.
pub struct Private(pub Arc<Desk>);

/// What is called, decided from the head alone.
enum Called<'h> {
    OpenSession,
    Describe(&'h str),
    Revoke(&'h str),
    /// A capture, which belongs to the public listener: there is no such call, but it is looked
    /// into, because whoever makes it has a card.
    Astray,
    Explain,
    Gateway,
}

impl Called<'_> {
    fn name(&self) -> &'static str {
        match self {
            Self::OpenSession => "session.open",
            Self::Describe(_) => "token.describe",
            Self::Revoke(_) => "token.revoke",
            Self::Astray => "token.astray",
            Self::Explain => explain::NAME,
            Self::Gateway => "none",
        }
    }

    /// The path as spans show it.
    fn pattern(&self) -> &'static str {
        match self {
            Self::OpenSession => "/v1/capture-sessions",
            Self::Describe(_) | Self::Revoke(_) => "/v1/tokens/{token}",
            Self::Astray => "/v1/tokens",
            Self::Explain => explain::PATH,
            Self::Gateway => "/{account}/{api}/{path}",
        }
    }
}

/// The path of a gateway call as spans show it: the account is an attribute of its own.
pub(super) fn pattern(place: Place<'_>) -> String {
    let api = place.account.profile.apis.get(place.api).map_or("{api}", |api| &api.name);
    format!("/{{account}}/{api}{}", place.route.path.as_str())
}

fn called<'h>(method: &Method, path: &'h str) -> Option<Called<'h>> {
    if !path.starts_with("/v1/") {
        return Some(Called::Gateway);
    }
    if path == "/v1/capture-sessions" {
        return (*method == Method::POST).then_some(Called::OpenSession);
    }
    if path == "/v1/tokens" {
        return (*method == Method::POST).then_some(Called::Astray);
    }
    if path == explain::PATH {
        return (*method == Method::POST).then_some(Called::Explain);
    }
    let token = path.strip_prefix("/v1/tokens/").filter(|token| !token.contains('/'))?;
    match *method {
        Method::GET => Some(Called::Describe(token)),
        Method::DELETE => Some(Called::Revoke(token)),
        _ => None,
    }
}

impl Handler for Private {
    fn admit(&self, head: &Head) -> Result<BodyLimit, Reply> {
        let limit = match called(&head.method, &head.path) {
            Some(Called::OpenSession | Called::Astray) => Ok(BodyLimit::bytes(OWN_BODY)),
            Some(Called::Describe(_) | Called::Revoke(_)) => Ok(BodyLimit::NONE),
            Some(Called::Explain) => Ok(BodyLimit::bytes(explain::PASTED_BODY)),
            Some(Called::Gateway) => self.gateway_limit(head),
            None => Err(Refusal::RouteUnknown),
        };
        limit.map_err(|refusal| {
            let mut call = self.begin("none", Some(head));
            let refused = call.refuse(reply::refused(&refusal, &call.id));
            call.end(refused, &self.0)
        })
    }

    async fn handle(&self, request: Request) -> Reply {
        match called(&request.head.method, &request.head.path) {
            Some(Called::Gateway) => match prefer::wish(&request.head.headers) {
                Wish::Send => self.gateway(request).await,
                Wish::Explain => self.explain_call(request),
                Wish::Unclear => self.unclear(&request),
            },
            Some(Called::Explain) => self.explain_pasted(&request),
            Some(own) => self.own(&own, &request),
            None => Reply::empty(StatusCode::NOT_FOUND),
        }
    }

    fn refuse(&self, refusal: CodecRefusal) -> Reply {
        let mut call = self.begin("none", None);
        let refused = call.refuse(reply::codec(refusal, &call.id));
        call.end(refused, &self.0)
    }

    fn note(&self, event: ConnectionEvent) {
        self.0.metrics.connections_ended("private", event.as_str(), 1);
    }
}

impl Private {
    pub(super) fn begin(&self, name: &'static str, head: Option<&Head>) -> Call {
        Call::begin("private", name, Traced::of_application(&self.0.tracing, head))
    }

    fn gateway_limit(&self, head: &Head) -> Result<BodyLimit, Refusal> {
        let place = self.0.flow.place(&head.method, &head.path)?;
        match head.method {
            Method::GET | Method::DELETE => Ok(BodyLimit::NONE),
            _ => Ok(BodyLimit::bytes(place.route.body_limit)),
        }
    }

    /// It may have been meant not to be sent, so it is not.
    fn unclear(&self, request: &Request) -> Reply {
        let mut call = self.begin("none", Some(&request.head));
        let refused = refuse(&Refusal::PreferenceUnclear, request.head.version, &mut call);
        self.end(call, refused)
    }

    fn own(&self, called: &Called<'_>, request: &Request) -> Reply {
        let mut call = self.begin(called.name(), Some(&request.head));
        call.route(|| called.pattern().into());
        let reply = match self.answer(called, request, &mut call) {
            Ok(None) => Reply::empty(StatusCode::NO_CONTENT),
            Ok(Some(body)) if matches!(called, Called::OpenSession) => {
                reply::json(StatusCode::CREATED, body)
            }
            Ok(Some(body)) => reply::json(StatusCode::OK, body),
            Err(refusal) => refuse(&refusal, request.head.version, &mut call),
        };
        self.end(call, reply)
    }

    fn answer(
        &self,
        called: &Called<'_>,
        request: &Request,
        call: &mut Call,
    ) -> Result<Option<CleartextBody>, Refusal> {
        let (flow, limits, now) = (&self.0.flow, &self.0.limits, Timestamp::system());
        let headers = &request.head.headers;
        let app = flow.known(headers, client_names(&request.head));
        let app = app.map_err(|refusal| match called {
            Called::Astray => Refusal::RouteUnknown,
            _ => refusal,
        })?;
        call.app = Some(app.tenant.clone());
        limits.pass(Limit::AppRoute, &(app.tenant.as_str(), called.name()))?;
        refuse_card(request)?;
        match called {
            Called::OpenSession => flow.open_session(app, headers, &request.body, now).map(Some),
            Called::Describe(token) => {
                limits.look(Limit::UnknownTokens, &app.tenant.as_str())?;
                flow.describe(app, token, now).map(Some)
            }
            Called::Revoke(token) => {
                limits.look(Limit::UnknownTokens, &app.tenant.as_str())?;
                let token = flow.revoke(app, token, now)?;
                let (app, request_id) = (app.tenant.as_str(), call.id.as_str());
                self.0.audit.note(&Record::Revoke { app, token, request_id }, now);
                Ok(None)
            }
            Called::Astray | Called::Explain | Called::Gateway => Err(Refusal::RouteUnknown),
        }
    }

    /// Ends a call; whoever guesses is remembered.
    pub(super) fn end(&self, call: Call, reply: Reply) -> Reply {
        if call.guess
            && let Some(app) = &call.app
        {
            self.0.limits.note(Limit::UnknownTokens, &app.as_str());
        }
        call.end(reply, &self.0)
    }

    async fn gateway(&self, request: Request) -> Reply {
        let now = Timestamp::system();
        let Request { head, body } = request;
        let mut call = self.begin("none", Some(&head));
        let begun = call.step();
        let incoming = incoming(&head, body);
        let allow = |app: &App, place: Place<'_>| {
            call.app = Some(app.tenant.clone());
            call.account = Some(Arc::clone(&place.account.name));
            call.name = Name::Route(Arc::clone(&place.route.name));
            call.route(|| pattern(place).into());
            self.allow(app.tenant.as_str(), place)
        };
        let prepared = self.0.flow.prepare(incoming, allow, now);
        call.took(begun, |steps| &mut steps.reveal);
        let reply = match prepared {
            Ok(Ready::Send(draft, pending)) => self.exchange(draft, pending, &mut call).await,
            Ok(Ready::Repeated(repeated)) => again(repeated, &mut call),
            Err(refusal) => refuse(&refusal, head.version, &mut call),
        };
        self.end(call, reply)
    }

    /// Rates of a gateway call. Who has sent too many unknown tokens gets no more tokens looked up.
    pub(super) fn allow(&self, app: &str, place: Place<'_>) -> Result<(), Exceeded> {
        let route = (app, &*place.account.name, &*place.route.name);
        self.0.limits.pass(Limit::AppRoute, &route)?;
        let redeems = place.route.reveals() || !place.route.request.sealed.is_empty();
        if redeems { self.0.limits.look(Limit::UnknownTokens, &app) } else { Ok(()) }
    }

    async fn exchange(&self, draft: Draft, mut pending: Pending, call: &mut Call) -> Reply {
        let replaced = pending.replaced();
        call.replaced = replaced.pan + replaced.cvv;
        let begun = call.step();
        let signed = self.0.sign(draft).await;
        call.took(begun, |steps| &mut steps.sign);
        let signed = match signed {
            Ok(signed) => signed,
            Err(refusal) => {
                pending.unanswered(Forwarded::No, &self.0.flow, Timestamp::system());
                let refused = reply::refused(&refusal, &call.id);
                return call.refuse(refused);
            }
        };
        pending.signed(signed.signature);
        let sent = Instant::now();
        let answer = self.0.send(signed.prepared, Origin::Configuration, call.behalf()).await;
        call.upstream_since(sent);
        let inquiry = pending.inquiry();
        let ended = self.end_exchange(answer, pending, call);
        let learnt = match inquiry.filter(|_| ended.is_in_doubt()) {
            // Boxed: hardly any exchange comes here, and none needs the room before.
            Some(inquiry) => Box::pin(inquiry::ask(&self.0, &inquiry, sent, call)).await,
            None => None,
        };
        let mut reply = ended.reply(learnt.as_ref(), call);
        if let Some(status) = call.upstream_status {
            reply.notes.upstream_status = Some(status);
            reply.notes.replaced = Some((replaced.pan, replaced.cvv));
        }
        reply
    }

    /// Cleans the answer, or gives back what can be given back. The card and the CVV end here.
    fn end_exchange(
        &self,
        answer: Result<Answer, SendError>,
        pending: Pending,
        call: &mut Call,
    ) -> Ended {
        let now = Timestamp::system();
        let status_call = pending.route().and_then(|route| route.status_call.clone());
        match answer {
            Ok(answer) => {
                call.upstream_status = Some(answer.status);
                if pending.is_payment() {
                    call.failed(answer.status);
                }
                let begun = call.step();
                let scrubbed = pending.finish(answer, &self.0.flow, now);
                call.took(begun, |steps| &mut steps.scrub);
                Ended::Answered(scrubbed, status_call)
            }
            Err(error) => {
                pending.unanswered(reply::forwarded(&error), &self.0.flow, now);
                Ended::Unanswered(error, status_call)
            }
        }
    }
}

/// How an exchange with a provider ended.
enum Ended {
    /// It answered, and the answer can be passed on or not; its call that tells the outcome.
    Answered(Result<Scrubbed, Refusal>, Option<Arc<str>>),
    /// It did not.
    Unanswered(SendError, Option<Arc<str>>),
}

impl Ended {
    /// Whether the application is not told what became of the payment. A provider's own failure
    /// (5xx) says nothing about it.
    fn is_in_doubt(&self) -> bool {
        match self {
            Self::Answered(scrubbed, _) => {
                scrubbed.as_ref().map_or(true, |scrubbed| scrubbed.status() >= 500)
            }
            Self::Unanswered(error, _) => reply::forwarded(error) == Forwarded::Unknown,
        }
    }

    fn reply(self, learnt: Option<&Learnt>, call: &mut Call) -> Reply {
        let refused = match self {
            Self::Answered(Ok(scrubbed), _) => {
                let mut reply = passed_on(scrubbed, call);
                inquiry::tell(learnt, &mut reply);
                return reply;
            }
            Self::Answered(Err(refusal), status_call) => {
                reply::withheld(&refusal, status_call, learnt, &call.id)
            }
            Self::Unanswered(error, status_call) => {
                reply::unanswered(&error, status_call, learnt, &call.id)
            }
        };
        let mut reply = call.refuse(refused);
        inquiry::tell(learnt, &mut reply);
        reply
    }
}

/// No card comes from an application, in calls of ours as little as in those of a provider.
fn refuse_card(request: &Request) -> Result<(), Refusal> {
    let Request { head, body } = request;
    match target_holds_card(&head.path, head.query.as_deref()) || holds_card(body.as_bytes()) {
        true => Err(Refusal::RawCard(None)),
        false => Ok(()),
    }
}

/// Before anything was sent. Over HTTP/2 the connection ends if the body may hold a card in clear:
/// h2 keeps the frames that it came in while the connection lives.
pub(super) fn refuse(refusal: &Refusal, version: Version, call: &mut Call) -> Reply {
    let refused = reply::refused(refusal, &call.id);
    let mut reply = call.refuse(refused);
    reply.close |= version == Version::HTTP_2 && refusal.may_hide_a_card();
    reply
}

/// The answer of the first request, and a sign that it is no new one.
fn again(repeated: Repeated, call: &mut Call) -> Reply {
    call.code = "repeated";
    call.forwarded = Some(Forwarded::Yes.as_str());
    let status = StatusCode::from_u16(repeated.status).unwrap_or(StatusCode::BAD_GATEWAY);
    let (mut headers, body) = (repeated.headers, repeated.body.into_bytes());
    headers.insert(REPLAYED, HeaderValue::from_static("true"));
    let mut reply = Reply { headers, body, ..Reply::empty(status) };
    reply.notes.forwarded = call.forwarded;
    reply.notes.upstream_status = Some(repeated.status);
    reply
}

fn passed_on(scrubbed: Scrubbed, call: &mut Call) -> Reply {
    call.forwarded = Some(Forwarded::Yes.as_str());
    call.scrubbed = u32::try_from(scrubbed.removed()).unwrap_or(u32::MAX);
    let (status, headers, body) = scrubbed.into_parts();
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
    let mut reply = Reply { headers, body: body.into_bytes(), ..Reply::empty(status) };
    reply.notes.forwarded = Some(Forwarded::Yes.as_str());
    reply
}

/// A gateway call as `flow` sees it.
pub(super) fn incoming(head: &Head, body: CleartextBody) -> Incoming<'_> {
    Incoming {
        method: &head.method,
        path: &head.path,
        query: head.query.as_deref(),
        headers: &head.headers,
        client_names: client_names(head),
        body,
    }
}

pub(super) fn client_names(head: &Head) -> &[String] {
    head.client.as_ref().map_or(&[], |client| client.dns.as_slice())
}
