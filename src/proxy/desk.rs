//! What the rooms behind all listeners share: the flow, the way out, and where things are noted.

use std::sync::Arc;
use std::time::Instant;

use crate::card::Timestamp;
use crate::flow::{self, Draft, Flow, Notice, Prepared, Refusal, Signed};
use crate::limit::{Gates, Limits};
use crate::telemetry::{Event, Log, Metrics};

use super::address::Hops;
use super::exchange::{
    AddressPolicy, Forwarded as NotSent, Outgoing, SendError, SendErrorKind, Target, Upstreams,
};
use super::message::Reply;
use super::reply::{REQUEST_ID, RequestId, SERVER_TIMING, set};
use super::signing::Signers;

/// Shared by the public and the private room. Immutable.
pub struct Desk {
    /// The steps of a payment.
    pub flow: Flow,
    /// Connections to the configured upstreams.
    pub upstreams: Upstreams,
    /// Connections to addresses that came from outside: returns, card forms, callbacks. Kept apart,
    /// so that nothing which a browser wrote on one can be read as the answer to a sale.
    pub outside: Upstreams,
    /// Whether relay and callback targets may be on private networks.
    pub allow_private: bool,
    /// Rates.
    pub limits: Arc<Limits>,
    /// Exchanges under way.
    pub gates: Gates,
    /// Whose word about a client's address is taken on the public listener.
    pub hops: Hops,
    /// Threads for signatures that take long.
    pub signers: Signers,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Events.
    pub log: Arc<Log>,
}

/// Where an address came from decides which networks it may be on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// The operator's configuration: any network.
    Configuration,
    /// A provider's answer or an application's request: public networks only.
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

    /// Sends a prepared request, once.
    pub(super) async fn send(
        &self,
        prepared: Prepared,
        origin: Origin,
    ) -> Result<flow::Answer, SendError> {
        let (host, method, path_and_query, headers, body) = prepared.into_parts();
        let _pass = self.gates.enter(host.host()).map_err(|busy| {
            self.metrics.limited(busy.as_str());
            SendError { forwarded: NotSent::No, kind: SendErrorKind::Busy }
        })?;
        let target = Target::new(host.host().name(), host.host().port(), host.tls())
            .map_err(|_| SendError { forwarded: NotSent::No, kind: SendErrorKind::BadRequest })?;
        let allow_private = self.allow_private || origin == Origin::Configuration;
        let policy = AddressPolicy { allow_private };
        let outgoing = Outgoing { method, path_and_query, headers, body };
        let upstreams = match origin {
            Origin::Configuration => &self.upstreams,
            Origin::Outside => &self.outside,
        };
        let answer = upstreams.send(&target, policy, outgoing, || {}).await?;
        Ok(flow::Answer { status: answer.status, headers: answer.headers, body: answer.body })
    }
}

/// One call on its way through a room: what is noted when it ends.
pub(super) struct Call {
    pub id: RequestId,
    pub listener: &'static str,
    pub name: String,
    pub app: String,
    pub account: String,
    pub code: &'static str,
    pub forwarded: Option<&'static str>,
    pub upstream_status: Option<u16>,
    pub replaced: u32,
    pub scrubbed: u32,
    /// Somebody asked for what nobody knows.
    pub guess: bool,
    limit: Option<&'static str>,
    begun: Instant,
    upstream: Option<std::time::Duration>,
}

impl Call {
    pub(super) fn begin(listener: &'static str, name: &str) -> Self {
        Self {
            id: RequestId::random(),
            listener,
            name: name.to_owned(),
            app: String::new(),
            account: String::new(),
            code: "ok",
            forwarded: None,
            upstream_status: None,
            replaced: 0,
            scrubbed: 0,
            guess: false,
            limit: None,
            begun: Instant::now(),
            upstream: None,
        }
    }

    /// Times what the other side does.
    pub(super) async fn upstream<T>(&mut self, work: impl Future<Output = T>) -> T {
        let begun = Instant::now();
        let done = work.await;
        self.upstream = Some(begun.elapsed());
        done
    }

    /// A refusal becomes the reply, and its code is noted.
    pub(super) fn refuse(&mut self, refused: super::reply::Refused) -> Reply {
        self.note(&refused);
        self.forwarded = Some(refused.forwarded.as_str());
        refused.reply
    }

    /// Notes why it was refused; the reply is another one.
    pub(super) fn note(&mut self, refused: &super::reply::Refused) {
        self.code = refused.code;
        self.guess = refused.guess;
        self.limit = refused.limit;
    }

    /// Notes the call and gives the reply its timing and id.
    pub(super) fn end(self, mut reply: Reply, desk: &Desk) -> Reply {
        let total = self.begun.elapsed();
        let proxy = total.saturating_sub(self.upstream.unwrap_or_default());
        let mut timing = format!("proxy;dur={:.3}", proxy.as_secs_f64() * 1e3);
        if let Some(upstream) = self.upstream {
            timing.push_str(&format!(", upstream;dur={:.3}", upstream.as_secs_f64() * 1e3));
        }
        set(&mut reply.headers, SERVER_TIMING, &timing);
        set(&mut reply.headers, REQUEST_ID, self.id.as_str());
        let status = reply.status.as_u16();
        if let Some(limit) = self.limit {
            desk.metrics.limited(limit);
        }
        desk.metrics.answered(self.listener, &self.name, status, self.code);
        let upstream = self.upstream.map(|time| time.as_secs_f64());
        desk.metrics.took(&self.name, proxy.as_secs_f64(), upstream);
        desk.log.write(&Event::Answered {
            listener: self.listener,
            call: &self.name,
            app: &self.app,
            account: &self.account,
            status,
            code: self.code,
            forwarded: self.forwarded,
            upstream_status: self.upstream_status,
            replaced: self.replaced,
            scrubbed: self.scrubbed,
            request_id: self.id.as_str(),
            total_us: u64::try_from(total.as_micros()).unwrap_or(u64::MAX),
            upstream_us: self
                .upstream
                .map(|time| u64::try_from(time.as_micros()).unwrap_or(u64::MAX)),
        });
        reply
    }
}
