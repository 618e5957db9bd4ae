//! Shops behind the public listener: which requests are theirs, how a card is taken out of one, and
//! how the rest passes through.
//!
//! Must never: send anything to a shop that could hold a card because it could not be read.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::header::{ACCEPT, ACCEPT_LANGUAGE, HOST};
use http::{HeaderValue, Method, StatusCode, Version};

use crate::card::Timestamp;
use crate::flow::{CardPost, Offer, Refusal, target_holds_card};
use crate::intake::{Intake, Judgement};
use crate::limit::{Busy, Crowd, Exceeded, Limit, Presence};
use crate::page::{Language, Notice};
use crate::secret::CleartextBody;

use super::desk::{Call, Desk};
use super::exchange::{
    AddressPolicy, BadTarget, Forwarded, SendError, SendErrorKind, Target, Upstreams,
};
use super::message::{Begin, BodyLimit, Client, Head, Passing, Reply};
use super::public::Public;
use super::reply::{self, Refused};
use super::shown;
use super::stream::{self, End};
use super::tracing::{Exchange, Traced};

/// Bytes of a form of the shop's own.
const CARD_BODY: usize = 64 * 1024;
/// The shop's host is the operator's own and may be anywhere.
const ANYWHERE: AddressPolicy = AddressPolicy { allow_private: true };
/// How long the client of a refused request is given to take the refusal.
const FAREWELL: Duration = Duration::from_secs(10);

/// A shop, and the way to it. Its connections are its own, so that nothing which was written on one
/// can be read as an answer of somebody else.
pub struct Shop {
    intake: Intake,
    target: Target,
    upstreams: Arc<Upstreams>,
    /// Who sends cards, and all others: neither takes the places of the other.
    cards: Arc<Crowd>,
    others: Arc<Crowd>,
    bounds: ShopBounds,
}

/// What requests to a shop are held to.
#[derive(Debug, Clone, Copy)]
pub struct ShopBounds {
    /// How long one may be under way without a byte in either direction.
    pub idle: Duration,
    /// Under way at a time: so many that carry a card, and as many others.
    pub requests: usize,
    /// Of the others, those of one client address.
    pub requests_per_address: usize,
}

impl Shop {
    /// A shop that is reached by `upstreams`.
    ///
    /// # Errors
    /// When its host cannot be one.
    pub fn new(
        intake: Intake,
        upstreams: Arc<Upstreams>,
        bounds: ShopBounds,
    ) -> Result<Self, BadTarget> {
        let target = Target::new(&intake.shop.host, intake.shop.port, intake.shop.tls)?;
        let (cards, others) = (Arc::default(), Arc::default());
        Ok(Self { intake, target, upstreams, cards, others, bounds })
    }

    /// Whether it is the same one before and after a change: a place and a name in common. Several
    /// may be at one place.
    fn is_still(&self, before: &Self) -> bool {
        let is_known = |name| before.intake.names.contains(name);
        self.is_where(before) && self.intake.names.iter().any(is_known)
    }

    /// Whether it is at the same place.
    fn is_where(&self, before: &Self) -> bool {
        self.intake.shop == before.intake.shop
    }

    /// Takes over from itself before a change what is the same: connections, and the count of what
    /// is under way.
    fn follow(&mut self, before: &Self) {
        if self.upstreams.is_like(&before.upstreams) {
            self.upstreams = Arc::clone(&before.upstreams);
        }
        self.cards = Arc::clone(&before.cards);
        self.others = Arc::clone(&before.others);
    }

    /// The shop's place, under the name by which the browser knows it.
    fn target(&self, head: &Head) -> Target {
        let host = head.headers.get(HOST).cloned();
        self.target.under(host.unwrap_or(HeaderValue::from_static("")))
    }
}

impl fmt::Debug for Shop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shop").field("target", &self.target).finish_non_exhaustive()
    }
}

/// Every shop.
#[derive(Debug, Default)]
pub struct Shops(Vec<Arc<Shop>>);

impl Shops {
    /// Their names are unique; the configuration has checked that.
    pub fn new(shops: impl Iterator<Item = Shop>) -> Self {
        Self(shops.map(Arc::new).collect())
    }

    /// The same, which follow others; each of those is followed by one at most. Where no other has
    /// one of its names, a shop has new ones and follows what was at its place.
    #[must_use]
    pub fn following(shops: impl Iterator<Item = Shop>, before: &Self) -> Self {
        let mut left = before.0.clone();
        let mut shops: Vec<_> = shops.map(|shop| (shop, false)).collect();
        for is_same in [Shop::is_still, Shop::is_where] {
            for (shop, follows) in shops.iter_mut().filter(|(_, follows)| !follows) {
                if let Some(at) = left.iter().position(|known| is_same(shop, known)) {
                    shop.follow(&left.swap_remove(at));
                    *follows = true;
                }
            }
        }
        Self::new(shops.into_iter().map(|(shop, _)| shop))
    }

    /// Closes connections to shops that were not used for their time.
    pub(super) fn let_go(&self) {
        self.0.iter().for_each(|shop| shop.upstreams.let_go());
    }

    /// The shop that a request is for. A linear search: an installation has one or two.
    pub(super) fn called(&self, head: &Head) -> Option<&Arc<Shop>> {
        if self.0.is_empty() {
            return None;
        }
        let host = head.single(HOST)?;
        self.0.iter().find(|shop| shop.intake.is_called(host))
    }
}

impl Shop {
    /// What a request is, as far as its head tells. A card number in the address is refused on
    /// every path: it stands in histories and logs before anybody can take it out.
    fn judge(&self, head: &Head) -> Judgement {
        if target_holds_card(&head.path, head.query.as_deref()) {
            return Judgement::Refuse;
        }
        self.intake.judge(&head.method, &head.path, &head.headers)
    }

    /// Why a head is refused.
    fn refusal(head: &Head) -> Refusal {
        match target_holds_card(&head.path, head.query.as_deref()) {
            true => Refusal::RawCard(None),
            false => Refusal::PathRefused,
        }
    }

    /// Whether a request passes through as it comes.
    pub(super) fn passes(&self, head: &Head) -> bool {
        self.judge(head) == Judgement::Pass
    }

    /// Takes the card out of a request, sends what is left to the shop, once, and passes its answer
    /// back.
    async fn take_card(
        &self,
        head: &Head,
        body: CleartextBody,
        allow: impl FnOnce(Offer<'_>) -> Result<(), Exceeded>,
        desk: &Desk,
        call: &mut Call,
    ) -> Reply {
        call.app = Some(self.intake.tenant.clone());
        let Ok(_place) = self.enter(&self.cards, head, self.bounds.requests, desk) else {
            let busy = SendError { forwarded: Forwarded::No, kind: SendErrorKind::Busy };
            return refuse(reply::shop_unanswered(&busy, &call.id), head, Notice::ShopAway, call);
        };
        let post = CardPost {
            intake: &self.intake,
            method: &head.method,
            path: &head.path,
            headers: &head.headers,
            body: &body,
        };
        let tokenised = match desk.flow.tokenise(&post, allow, Timestamp::system()) {
            Ok(tokenised) => tokenised,
            Err(refusal) => return refused(&refusal, head, call),
        };
        drop(body);
        let (body, replaced) = tokenised.into_parts();
        call.replaced = replaced.pan + replaced.cvv;
        let mut outgoing = stream::outgoing(head, desk.hops.address(head), body);
        let exchange = Exchange::begin(desk, call.behalf(), &head.method, &self.target, true);
        if let Some(exchange) = &exchange {
            exchange.tell(&mut outgoing.headers);
        }
        let begun = Instant::now();
        let answer = self.upstreams.send(&self.target(head), ANYWHERE, outgoing).await;
        call.upstream_since(begun);
        if let Some(exchange) = exchange {
            exchange.end(answer.as_ref().map(|answer| answer.status), &desk.tracing);
        }
        match answer {
            Ok(answer) => {
                let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::BAD_GATEWAY);
                call.upstream_status = Some(answer.status);
                call.forwarded = Some("yes");
                let mut reply = Reply::empty(status);
                reply.headers = stream::passed_back(answer.headers);
                reply.body = answer.body.into_bytes();
                reply
            }
            Err(error) => {
                refuse(reply::shop_unanswered(&error, &call.id), head, Notice::ShopAway, call)
            }
        }
    }

    /// A place for a request, where one address may have `of_one` of them.
    fn enter(
        &self,
        crowd: &Arc<Crowd>,
        head: &Head,
        of_one: usize,
        desk: &Desk,
    ) -> Result<Presence, Busy> {
        let place = crowd.enter(&desk.hops.client(head), self.bounds.requests, of_one);
        place.inspect_err(|busy| desk.metrics.limited(busy.as_str(), 1))
    }

    /// Passes a request through.
    pub(super) async fn pass(&self, passing: Passing, client: &mut dyn Client, desk: &Desk) {
        let traced = Traced::of_stranger(&desk.tracing, Some(&passing.head));
        let mut call = Call::begin("public", "intake.pass", traced);
        let of_one = self.bounds.requests_per_address;
        let end = match self.enter(&self.others, &passing.head, of_one, desk) {
            Ok(_place) => self.stream(&passing, client, desk, &mut call).await,
            Err(Busy::Client) => {
                let refused = reply::crowded(&call.id);
                return decline(refused, &passing.head, client, call, desk).await;
            }
            Err(_) => End::Unanswered(SendErrorKind::Busy),
        };
        let status = match end {
            End::Whole(status, _) => status,
            End::Cut(StatusCode::SWITCHING_PROTOCOLS) => StatusCode::SWITCHING_PROTOCOLS,
            End::Cut(status) => {
                call.code = "answer_cut";
                status
            }
            End::Gone => {
                call.code = "client_gone";
                StatusCode::BAD_GATEWAY
            }
            End::Unanswered(kind) => {
                let error = SendError { forwarded: forwarded(kind), kind };
                let refused = reply::shop_unanswered(&error, &call.id);
                return decline(refused, &passing.head, client, call, desk).await;
            }
        };
        call.noted(status.as_u16(), desk);
    }

    async fn stream(
        &self,
        passing: &Passing,
        client: &mut dyn Client,
        desk: &Desk,
        call: &mut Call,
    ) -> End {
        let head = stream::request_head(passing, desk.hops.address(&passing.head));
        let method = &passing.head.method;
        let exchange = Exchange::begin(desk, call.behalf(), method, &self.target, true);
        let begun = Instant::now();
        let (end, key) = match self.upstreams.line(&self.target, ANYWHERE).await {
            Ok((line, key)) => {
                let end = stream::pass(passing, head, client, line, self.bounds.idle).await;
                call.upstream_since(begun);
                (end, Some(key))
            }
            Err(kind) => (End::Unanswered(kind), None),
        };
        if let Some(exchange) = exchange {
            exchange.end(passed(&end).as_ref().copied(), &desk.tracing);
        }
        if let End::Whole(status, line) = end {
            call.upstream_status = Some(status.as_u16());
            if let Some((line, key)) = line.zip(key) {
                self.upstreams.give_back(&self.target, *line, key);
            }
            return End::Whole(status, None);
        }
        end
    }
}

/// How the exchange with a shop ended, as its span tells it.
fn passed(end: &End) -> Result<u16, SendError> {
    let ended = |kind| Err(SendError { forwarded: forwarded(kind), kind });
    match end {
        End::Whole(status, _) | End::Cut(status @ StatusCode::SWITCHING_PROTOCOLS) => {
            Ok(status.as_u16())
        }
        End::Cut(_) => ended(SendErrorKind::HalfAnswer),
        End::Unanswered(kind) => ended(*kind),
        // The shop is not at fault; what it would have answered is not known.
        End::Gone => ended(SendErrorKind::Silent),
    }
}

/// Whether the shop may have a request that it did not answer.
fn forwarded(kind: SendErrorKind) -> Forwarded {
    match kind {
        SendErrorKind::Busy
        | SendErrorKind::Resolve
        | SendErrorKind::PrivateAddress
        | SendErrorKind::Connect
        | SendErrorKind::ConnectTimeout
        | SendErrorKind::Tls
        | SendErrorKind::TlsTimeout
        | SendErrorKind::ProxyFailed
        | SendErrorKind::ProxyRefused
        | SendErrorKind::NotRecorded
        | SendErrorKind::BadRequest => Forwarded::No,
        SendErrorKind::Write
        | SendErrorKind::Silent
        | SendErrorKind::Reset
        | SendErrorKind::HalfAnswer
        | SendErrorKind::BadAnswer
        | SendErrorKind::AnswerTooLarge
        | SendErrorKind::Encoded => Forwarded::Unknown,
    }
}

impl Public {
    /// Who calls here is a stranger; so is the trace that he names.
    pub(super) fn begin(&self, name: &'static str, head: Option<&Head>) -> Call {
        Call::begin("public", name, Traced::of_stranger(&self.0.tracing, head))
    }

    /// A request to a shop that does not pass through: it carries a card, or is refused.
    #[expect(clippy::result_large_err, reason = "as the codec wants it")]
    pub(super) fn admit_card(&self, shop: &Shop, head: &Head) -> Result<BodyLimit, Reply> {
        let client = self.0.hops.client(head);
        let limits = &self.0.limits;
        let refusal = match shop.judge(head) {
            Judgement::Card => limits
                .look(Limit::UnknownIds, &client)
                .and_then(|()| limits.pass(Limit::Address, &client))
                .and_then(|()| limits.pass(Limit::AddressCards, &client))
                .err()
                .map(Refusal::from),
            Judgement::Pass | Judgement::Refuse => Some(Shop::refusal(head)),
        };
        let Some(refusal) = refusal else { return Ok(BodyLimit::bytes(CARD_BODY)) };
        let mut call = self.begin("intake.card", Some(head));
        let reply = refused(&refusal, head, &mut call);
        Err(call.end(reply, &self.0))
    }

    pub(super) async fn take_card(&self, shop: &Shop, head: &Head, body: CleartextBody) -> Reply {
        let mut call = self.begin("intake.card", Some(head));
        let allow = |offer: Offer<'_>| self.allow_card(&offer);
        let mut reply = shop.take_card(head, body, allow, &self.0, &mut call).await;
        // h2 keeps consumed frames while a connection lives; no card may stay in them, taken or
        // refused.
        reply.close |= head.version == Version::HTTP_2;
        if call.guess {
            self.0.limits.note(Limit::UnknownIds, &self.0.hops.client(head));
        }
        call.end(reply, &self.0)
    }
}

/// Ends a call of which nothing was passed on.
async fn decline(
    refused: Refused,
    head: &Head,
    client: &mut dyn Client,
    mut call: Call,
    desk: &Desk,
) {
    let reply = refuse(refused, head, Notice::ShopAway, &mut call);
    farewell(call.end(reply, desk), head.method == Method::HEAD, client).await;
}

/// Says why nothing was passed on.
async fn farewell(reply: Reply, bodiless: bool, client: &mut dyn Client) {
    let Reply { status, mut headers, body, notes, .. } = reply;
    notes.each(|name, value| {
        headers.extend(HeaderValue::from_bytes(value).ok().map(|value| (name.clone(), value)));
    });
    let length = u64::try_from(body.len()).ok();
    client.begin(Begin { status, headers, length, body: !bodiless });
    if !bodiless {
        client.push(&body);
    }
    client.end();
    let flushed = std::future::poll_fn(|cx| client.poll_flush(cx));
    let _ = tokio::time::timeout(FAREWELL, flushed).await;
}

/// A refusal, as whoever asked can read it: a page for a browser's form, else a problem document.
fn refused(refusal: &Refusal, head: &Head, call: &mut Call) -> Reply {
    let notice = match refusal {
        Refusal::Card(_) | Refusal::FieldMissing(_) | Refusal::CardUnsupported => Notice::CardWrong,
        _ => Notice::CardNotTaken,
    };
    refuse(reply::refused(refusal, &call.id), head, notice, call)
}

fn refuse(refused: Refused, head: &Head, notice: Notice, call: &mut Call) -> Reply {
    let language = Language::chosen(None, head.single(ACCEPT_LANGUAGE));
    let wants_page =
        head.single(ACCEPT).is_some_and(|wish| wish.trim_start().starts_with("text/html"));
    let status = refused.reply.status;
    let mut reply = call.refuse(refused);
    if wants_page {
        let page = shown::notice(status, notice, language);
        // When to come again stays.
        reply.headers.extend(page.headers);
        reply.body = page.body;
    }
    shown::harden(&mut reply.headers);
    reply
}
