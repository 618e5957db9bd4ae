//! What the rooms behind all listeners share: the flow, the way out, and where things are noted.

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;

use crate::audit::{Audit, NotRecorded, Record, Way};
use crate::card::Timestamp;
use crate::flow::{
    self, Disclosure, Draft, Flow, Forwarded, Notice, Prepared, Refusal, Signed, Whose,
};
use crate::limit::{Gates, Limits};
use crate::provider::{HostPort, ProviderHost};
use crate::telemetry::{Event, Hex, Log, Metrics, Steps};
use crate::vault::Tenant;

use super::address::Hops;
use super::exchange::{
    AddressPolicy, Forwarded as NotSent, Outgoing, SendError, SendErrorKind, Target, Upstreams,
};
use super::front::Shops;
use super::message::Reply;
use super::peer::{PeerSettings, Told};
use super::reply::{self, RequestId};
use super::signing::Signers;
use super::tracing::{Behalf, Exchange, Traced, Tracing};

/// The code of a payment's call that the provider answered with a failure of its own (5xx).
const UPSTREAM_FAILED: &str = "upstream_failed";

/// Shared by the public and the private room. Immutable: a change of the configuration puts another
/// one in its place.
pub struct Desk {
    /// The steps of a payment.
    pub flow: Flow,
    /// The configured upstreams as targets.
    pub targets: Targets,
    /// Connections to the configured upstreams.
    pub upstreams: Arc<Upstreams>,
    /// Connections to addresses that came from outside: returns, card forms, callbacks. Kept apart,
    /// so that nothing which a browser wrote on one can be read as the answer to a sale.
    pub outside: Arc<Upstreams>,
    /// Shops that we stand in front of, each with connections of its own.
    pub shops: Shops,
    /// Whether relay and callback targets may be on private networks.
    pub allow_private: bool,
    /// Rates.
    pub limits: Arc<Limits>,
    /// Exchanges under way.
    pub gates: Gates,
    /// Whose word about a client's address is taken on the public listener.
    pub hops: Hops,
    /// Threads for signatures that take long.
    pub signers: Arc<Signers>,
    /// Where every reveal is recorded before it happens.
    pub audit: Arc<Audit>,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Events.
    pub log: Arc<Log>,
    /// Spans.
    pub tracing: Arc<Tracing>,
}

/// The desk in use. A request takes it once, and ends at the one that it began at.
pub struct Desks {
    now: ArcSwap<Desk>,
    /// Those before it, as long as a request holds them.
    before: Mutex<Vec<Weak<Desk>>>,
}

impl Desks {
    /// Begins with this one.
    #[must_use]
    pub fn new(desk: Desk) -> Self {
        Self { now: ArcSwap::from_pointee(desk), before: Mutex::default() }
    }

    /// The one in use. Counted, not guarded: it is held for as long as a provider takes.
    #[must_use]
    pub fn now(&self) -> Arc<Desk> {
        self.now.load_full()
    }

    /// Puts another one in its place, for requests that begin from now on.
    pub fn replace(&self, desk: Desk) {
        let mut before = self.before.lock().unwrap_or_else(PoisonError::into_inner);
        before.retain(|desk| desk.strong_count() > 0);
        before.push(Arc::downgrade(&self.now.swap(Arc::new(desk))));
    }

    /// How many hold a desk: requests under way and what they began that outlives them, whether
    /// their client is still there or not. What serves nobody lets go of it when the process stops.
    #[must_use]
    pub fn held(&self) -> usize {
        let before = self.before.lock().unwrap_or_else(PoisonError::into_inner);
        let before = before.iter().map(Weak::strong_count).sum::<usize>();
        // Two of them are `self.now` and the one that is counted at.
        before + Arc::strong_count(&self.now()).saturating_sub(2)
    }
}

impl fmt::Debug for Desks {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Desks(..)")
    }
}

/// Targets of every configured upstream, made once.
#[derive(Default)]
pub struct Targets(Vec<(ProviderHost, Target)>);

impl Targets {
    /// Targets of these hosts, each watched as its settings say; one that cannot be a target is
    /// refused when it is called.
    pub fn of<'h>(
        hosts: impl Iterator<Item = &'h ProviderHost>,
        told: &Told,
        settings: impl Fn(&HostPort) -> PeerSettings,
    ) -> Self {
        Self::following(hosts, &Self::default(), told, settings)
    }

    /// The same after others: what is known of a host's addresses stays known, and those of a host
    /// that is none any more are used no more.
    pub fn following<'h>(
        hosts: impl Iterator<Item = &'h ProviderHost>,
        before: &Self,
        told: &Told,
        settings: impl Fn(&HostPort) -> PeerSettings,
    ) -> Self {
        let hosts: Vec<_> = hosts.collect();
        before.leave_all_but(&hosts);
        let mut targets = Self::default();
        for host in hosts {
            if targets.find(host).is_none()
                && let Some(target) = target_of(host)
            {
                let (settings, told) = (settings(host.host()), Some(told.clone()));
                let target = match before.find(host) {
                    Some(before) => target.following(before, settings, told),
                    None => target.watched(settings, told),
                };
                targets.0.push((host.clone(), target));
            }
        }
        targets
    }

    fn leave_all_but(&self, hosts: &[&ProviderHost]) {
        let left =
            self.0.iter().filter(|(host, _)| !hosts.iter().any(|other| is_same(host, other)));
        left.filter_map(|(_, target)| target.peer()).for_each(|peer| peer.leave());
    }

    /// Every target.
    pub(super) fn all(&self) -> impl Iterator<Item = &Target> {
        self.0.iter().map(|(_, target)| target)
    }

    /// A linear search: an installation has a handful.
    fn find(&self, host: &ProviderHost) -> Option<&Target> {
        self.0.iter().find(|(known, _)| is_same(known, host)).map(|(_, target)| target)
    }
}

fn is_same(one: &ProviderHost, other: &ProviderHost) -> bool {
    one.host() == other.host() && one.tls() == other.tls()
}

fn target_of(host: &ProviderHost) -> Option<Target> {
    Target::new(host.host().name(), host.host().port(), host.tls()).ok()
}

/// Where an address came from decides which networks it may be on, and how it is found.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// The operator's configuration: any network, and as the configuration says of that host.
    Configuration,
    /// A provider's answer or an application's request: public networks only, found and trusted as
    /// a browser would, also where a configured host has the same name.
    Outside,
}

impl Desk {
    /// Signs a request: here when that is quick, else on a signing thread.
    pub(super) async fn sign(&self, draft: Draft) -> Result<Signed, Refusal> {
        if !draft.is_slow() {
            return draft.sign(Timestamp::system());
        }
        let signed = self.signers.run(move || draft.sign(Timestamp::system())).await;
        signed.unwrap_or(Err(Refusal::SigningBusy))
    }

    /// Signs a callback for the application.
    pub(super) async fn sign_notice(&self, notice: Notice) -> Result<Prepared, Refusal> {
        if !notice.is_slow() {
            return notice.sign(Timestamp::system());
        }
        let signed = self.signers.run(move || notice.sign(Timestamp::system())).await;
        signed.unwrap_or(Err(Refusal::SigningBusy))
    }

    /// Sends a prepared request, once. Card data in it is recorded first: all ways out meet here.
    pub(super) async fn send(
        &self,
        mut prepared: Prepared,
        origin: Origin,
        behalf: Behalf,
    ) -> Result<flow::Answer, SendError> {
        let begun = tokio::time::Instant::now();
        let disclosure = prepared.disclosure();
        let (host, method, path_and_query, mut headers, body) = prepared.into_parts();
        let _pass = self.gates.enter(host.host()).map_err(|busy| {
            self.metrics.limited(busy.as_str(), 1);
            SendError { forwarded: NotSent::No, kind: SendErrorKind::Busy }
        })?;
        let unknown = SendError { forwarded: NotSent::No, kind: SendErrorKind::BadRequest };
        let made;
        let known = self.targets.find(&host);
        let watched = known.filter(|_| origin == Origin::Configuration);
        let target = match watched {
            Some(target) => target,
            None => {
                made = target_of(&host).ok_or(unknown)?;
                &made
            }
        };
        let mut exchange = Exchange::begin(self, behalf, &method, target, known.is_some());
        let allow_private = self.allow_private || origin == Origin::Configuration;
        let policy = AddressPolicy { allow_private };
        let upstreams = match origin {
            Origin::Configuration => &*self.upstreams,
            Origin::Outside => &*self.outside,
        };
        if let Some(disclosure) = &disclosure {
            let recorded = self.disclose(disclosure, host.host(), Way::Server, behalf.id).await;
            recorded.map_err(|NotRecorded| SendError {
                forwarded: NotSent::No,
                kind: SendErrorKind::NotRecorded,
            })?;
            if let Some(exchange) = &mut exchange {
                exchange.recorded();
            }
        }
        if let Some(exchange) = &exchange {
            exchange.tell(&mut headers);
        }
        let outgoing = Outgoing { method, path_and_query, headers, body };
        let answer = upstreams.send_since(begun, target, policy, outgoing).await;
        if let Some(exchange) = exchange {
            exchange.end(answer.as_ref().map(|answer| answer.status), &self.tracing);
        }
        if disclosure.is_some() {
            let forwarded = answer.as_ref().map_or_else(reply::forwarded, |_| Forwarded::Yes);
            self.disclosed(forwarded, behalf.id);
        }
        let answer = answer?;
        Ok(flow::Answer { status: answer.status, headers: answer.headers, body: answer.body })
    }

    /// Records that card data is about to leave.
    pub(super) async fn disclose(
        &self,
        disclosure: &Disclosure,
        host: &HostPort,
        way: Way,
        id: RequestId,
    ) -> Result<(), NotRecorded> {
        if !self.audit.is_on() {
            return Ok(());
        }
        let record = Record::Reveal {
            app: disclosure.app.as_str(),
            account: &disclosure.account,
            route: &disclosure.route,
            token: disclosure.token_id(),
            pan: disclosure.replaced.pan,
            cvv: disclosure.replaced.cvv,
            host: host.name(),
            port: host.port(),
            way,
            request_id: id.as_str(),
        };
        self.audit.record(&record, Timestamp::system()).await
    }

    /// Records what became of it.
    pub(super) fn disclosed(&self, forwarded: Forwarded, id: RequestId) {
        let record = Record::Outcome { request_id: id.as_str(), forwarded: forwarded.as_str() };
        self.audit.note(&record, Timestamp::system());
    }
}

/// What was called: one of ours, or a route of a profile.
pub(super) enum Name {
    Ours(&'static str),
    Route(Arc<str>),
}

impl Name {
    pub(super) fn as_str(&self) -> &str {
        match self {
            Self::Ours(name) => name,
            Self::Route(name) => name,
        }
    }
}

/// One call on its way through a room: what is noted when it ends.
pub(super) struct Call {
    pub id: RequestId,
    pub listener: &'static str,
    pub name: Name,
    pub app: Option<Tenant>,
    pub account: Option<Arc<str>>,
    pub code: &'static str,
    pub forwarded: Option<&'static str>,
    pub upstream_status: Option<u16>,
    pub replaced: u32,
    pub scrubbed: u32,
    /// Somebody asked for what nobody knows.
    pub guess: bool,
    /// Its span, where calls are traced.
    pub traced: Option<Box<Traced>>,
    limit: Option<&'static str>,
    begun: Instant,
    upstream: Option<Duration>,
}

impl Call {
    pub(super) fn begin(
        listener: &'static str,
        name: &'static str,
        traced: Option<Box<Traced>>,
    ) -> Self {
        Self {
            id: RequestId::next(),
            listener,
            name: Name::Ours(name),
            app: None,
            account: None,
            code: "ok",
            forwarded: None,
            upstream_status: None,
            replaced: 0,
            scrubbed: 0,
            guess: false,
            traced,
            limit: None,
            begun: Instant::now(),
            upstream: None,
        }
    }

    /// Notes what the other side took of the time.
    pub(super) fn upstream_since(&mut self, begun: Instant) {
        self.upstream = Some(begun.elapsed());
    }

    /// What the other side took of the time.
    pub(super) const fn upstream(&self) -> Option<Duration> {
        self.upstream
    }

    /// Notes whose payment it is about, where that is known.
    pub(super) fn belongs(&mut self, whose: Option<Whose>) {
        if let Some(Whose { app, account }) = whose {
            self.app = app;
            self.account = Some(account);
        }
    }

    /// Notes how an exchange ended, where nobody is shown a problem document: what a browser sees
    /// is the same whatever became of its payment.
    pub(super) fn exchanged(&mut self, ended: Result<u16, SendError>) {
        let forwarded = ended.as_ref().map_or_else(reply::forwarded, |_| Forwarded::Yes);
        self.forwarded = Some(forwarded.as_str());
        match ended {
            Ok(status) => {
                self.upstream_status = Some(status);
                self.failed(status);
            }
            Err(error) => self.code = reply::unanswered_code(&error),
        }
    }

    /// Notes that the provider answered with a failure of its own (5xx), which says nothing about
    /// the payment.
    pub(super) fn failed(&mut self, status: u16) {
        if status >= 500 {
            self.code = UPSTREAM_FAILED;
        }
    }

    /// What goes on when this call has been answered: told by a line of its own, under the same id.
    pub(super) fn later(&self, name: &'static str) -> Self {
        Self {
            id: self.id,
            app: self.app.clone(),
            account: self.account.clone(),
            begun: self.begun,
            ..Self::begin(self.listener, name, None)
        }
    }

    /// For what is sent because of this call.
    pub(super) fn behalf(&self) -> Behalf {
        let context = self.traced.as_ref().map(|traced| *traced.context());
        Behalf { id: self.id, context }
    }

    /// Notes what was called, as a pattern, where that is told.
    pub(super) fn route(&mut self, route: impl FnOnce() -> Cow<'static, str>) {
        if let Some(traced) = &mut self.traced {
            traced.route = Some(route());
        }
    }

    /// When a step begins, where that is told.
    pub(super) fn step(&self) -> Option<Instant> {
        self.traced.as_ref().map(|_| Instant::now())
    }

    /// Notes what a step took.
    pub(super) fn took(
        &mut self,
        begun: Option<Instant>,
        of: impl FnOnce(&mut Steps) -> &mut Option<Duration>,
    ) {
        if let (Some(traced), Some(begun)) = (&mut self.traced, begun) {
            *of(&mut traced.steps) = Some(begun.elapsed());
        }
    }

    /// A refusal becomes the reply, and its code is noted.
    pub(super) fn refuse(&mut self, refused: super::reply::Refused) -> Reply {
        self.note(&refused);
        refused.reply
    }

    /// Notes why it was refused; the reply is another one.
    pub(super) fn note(&mut self, refused: &super::reply::Refused) {
        self.code = refused.code;
        self.forwarded = Some(refused.forwarded.as_str());
        self.guess = refused.guess;
        self.limit = refused.limit;
    }

    /// Notes the call and gives the reply its timing and id.
    pub(super) fn end(mut self, mut reply: Reply, desk: &Desk) -> Reply {
        if self.listener == "private" {
            reply.notes.trace = self.traced.as_ref().map(|traced| traced.field());
        }
        let proxy = self.noted(reply.status.as_u16(), desk);
        reply.notes.timing = Some((proxy, self.upstream));
        reply.notes.id = Some(self.id);
        reply
    }

    /// Notes the call; what we took of the time.
    pub(super) fn noted(&mut self, status: u16, desk: &Desk) -> Duration {
        let traced = self.traced.take();
        let context = traced.as_ref().map(|traced| traced.context());
        let total = self.begun.elapsed();
        let proxy = total.saturating_sub(self.upstream.unwrap_or_default());
        if let Some(limit) = self.limit {
            desk.metrics.limited(limit, 1);
        }
        desk.metrics.answered(self.listener, self.name.as_str(), status, self.code);
        let upstream = self.upstream.map(|time| time.as_secs_f64());
        desk.metrics.took(self.name.as_str(), proxy.as_secs_f64(), upstream);
        desk.log.write(&Event::Answered {
            listener: self.listener,
            call: self.name.as_str(),
            app: self.app.as_ref().map_or("", Tenant::as_str),
            account: self.account.as_deref().unwrap_or_default(),
            status,
            code: self.code,
            forwarded: self.forwarded,
            upstream_status: self.upstream_status,
            replaced: self.replaced,
            scrubbed: self.scrubbed,
            request_id: self.id.as_str(),
            trace_id: context.map(|context| Hex(context.trace())),
            span_id: context.map(|context| Hex(context.span())),
            total_us: u64::try_from(total.as_micros()).unwrap_or(u64::MAX),
            upstream_us: self
                .upstream
                .map(|time| u64::try_from(time.as_micros()).unwrap_or(u64::MAX)),
        });
        if let Some(traced) = traced {
            traced.end(self, status, total, &desk.tracing);
        }
        proxy
    }
}
