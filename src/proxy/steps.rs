//! The steps that a browser takes between the shop and the provider: to the bank, back from it, and
//! the card form. What a browser is shown and what the log is told are two things: it learns that
//! its payment is being worked on, the operator whether the provider has it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{Method, StatusCode};
use tokio::task::JoinHandle;

use crate::audit::Way;
use crate::card::Timestamp;
use crate::flow::{
    Answer, Form, FormStep, FormTicket, Forwarded, HandoffPage, HandoffStep, Prepared, Refusal,
    Relayed, Return, Step, Ticket,
};
use crate::page::{self, Language, Notice};
use crate::secret::CleartextBody;

use super::desk::{Call, Desk, Origin};
use super::exchange::SendError;
use super::message::{Head, Reply};
use super::public::Public;
use super::reply;
use super::shown::{self, form_refused, gone, in_doubt, notice, relayed, shown, unreachable};

/// How long a return waits for a slow provider before the browser is shown the waiting page: a
/// little longer than it takes to find out that the provider is not there.
const RELAY_WAIT: Duration = Duration::from_secs(6);

/// How long a second return waits for the first, and how often it looks.
const RETURN_WAIT: Duration = Duration::from_secs(5);
const RETURN_LOOK: Duration = Duration::from_millis(50);

impl Public {
    pub(super) fn start(&self, id: &str, language: Language, call: &mut Call) -> Reply {
        match self.0.flow.handoff(id, Timestamp::system()) {
            Ok(HandoffStep::Page(page)) => shown::handoff(&page, language),
            Ok(HandoffStep::Over(there)) => shown::see_other(&there),
            Err(refusal) => gone(&refusal, language, call),
        }
    }

    pub(super) async fn come_back(
        &self,
        id: &str,
        head: &Head,
        body: CleartextBody,
        language: Language,
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
            Ok(Step::Send(prepared, ticket)) => {
                self.relay(id, *prepared, ticket, language, call).await
            }
            Ok(Step::Answer(outcome)) => relayed(outcome, language),
            Ok(Step::Wait) => self.wait(id, "3ds", language, call, Self::return_outcome).await,
            Ok(Step::Idle) => notice(StatusCode::OK, Notice::Idle, language),
            Err(refusal) => gone(&refusal, language, call),
        }
    }

    /// Relays in a task of its own: the browser of a slow provider is shown the waiting page, which
    /// finds the outcome later.
    async fn relay(
        &self,
        id: &str,
        prepared: Prepared,
        ticket: Ticket,
        language: Language,
        call: &mut Call,
    ) -> Reply {
        let (desk, behalf) = (Arc::clone(&self.0), call.behalf());
        let mut relaying = tokio::spawn(async move {
            let outcome = desk.send(prepared, Origin::Outside, behalf).await;
            let ended = status_of(&outcome);
            let outcome = outcome.map_err(|error| reply::forwarded(&error));
            (desk.flow.finish_return(ticket, outcome, Timestamp::system()), ended)
        });
        let begun = Instant::now();
        let done = tokio::time::timeout(RELAY_WAIT, &mut relaying).await;
        call.upstream_since(begun);
        let Ok(Ok((outcome, ended))) = done else {
            if done.is_err() {
                let late = call.later("threeds.relay");
                tokio::spawn(tell_late(relaying, late, begun, Arc::clone(&self.0)));
            }
            return waiting("3ds", id, language, call);
        };
        call.exchanged(ended);
        match outcome {
            Ok(outcome) => relayed(outcome, language),
            Err(refusal) => unreachable(&refusal, language, call),
        }
    }

    pub(super) async fn form(
        &self,
        id: &str,
        head: &Head,
        body: CleartextBody,
        language: Language,
        call: &mut Call,
    ) -> Reply {
        let form = Form { headers: &head.headers, body };
        match self.0.flow.begin_form(id, form, Timestamp::system()) {
            Ok(FormStep::Send(prepared, ticket)) => {
                self.post(*prepared, *ticket, language, call).await
            }
            Ok(FormStep::Page(page, ticket)) => self.hand_out(page, *ticket, language, call).await,
            Ok(FormStep::Answer(outcome)) => relayed(outcome, language),
            Ok(FormStep::Wait) => {
                self.wait(id, "payform", language, call, Self::form_outcome).await
            }
            // As everywhere in the browser: ended, unknown and never there look alike.
            Err(refusal @ Refusal::SessionUnknown) => gone(&refusal, language, call),
            Err(refusal @ (Refusal::PaymentInFlight { .. } | Refusal::PaymentUnknown { .. })) => {
                in_doubt(&refusal, language, call)
            }
            Err(refusal) => form_refused(&refusal, language, call),
        }
    }

    async fn post(
        &self,
        prepared: Prepared,
        ticket: FormTicket,
        language: Language,
        call: &mut Call,
    ) -> Reply {
        let begun = Instant::now();
        let outcome = self.0.send(prepared, Origin::Outside, call.behalf()).await;
        call.upstream_since(begun);
        call.exchanged(status_of(&outcome));
        let outcome = outcome.map_err(|error| reply::forwarded(&error));
        match self.0.flow.finish_form(ticket, outcome, Timestamp::system()) {
            Ok(outcome) => relayed(outcome, language),
            Err(refusal) => {
                let why = call.code;
                let reply = unreachable(&refusal, language, call);
                if why == reply::AUDIT_UNAVAILABLE {
                    call.code = why;
                }
                reply
            }
        }
    }

    /// The card goes to the cardholder's browser, which takes it to the provider: recorded, too.
    async fn hand_out(
        &self,
        page: HandoffPage,
        mut ticket: FormTicket,
        language: Language,
        call: &mut Call,
    ) -> Reply {
        if let Some((disclosure, host)) = ticket.disclosure()
            && self.0.disclose(&disclosure, &host, Way::Browser, call.id).await.is_err()
        {
            let withheld = Err(Forwarded::No);
            let _ = self.0.flow.finish_form(ticket, withheld, Timestamp::system());
            let reply = unreachable(&Refusal::ReturnNotRelayed, language, call);
            call.code = reply::AUDIT_UNAVAILABLE;
            return reply;
        }
        self.0.flow.show_form(&ticket, Timestamp::system());
        // Nobody tells us whether the browser posts it.
        self.0.disclosed(Forwarded::Unknown, call.id);
        call.forwarded = Some(Forwarded::Unknown.as_str());
        shown::handoff(&page, language)
    }

    /// Our waiting page asks what became of a form.
    pub(super) fn look_at_form(&self, id: &str, language: Language, call: &mut Call) -> Reply {
        match self.form_outcome(id) {
            Ok(Some(outcome)) => relayed(outcome, language),
            Ok(None) => waiting("payform", id, language, call),
            Err(refusal) => gone(&refusal, language, call),
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
        language: Language,
        call: &mut Call,
        outcome: impl Fn(&Self, &str) -> Result<Option<Relayed>, Refusal> + Send,
    ) -> Reply {
        let until = tokio::time::Instant::now() + RETURN_WAIT;
        while tokio::time::Instant::now() < until {
            tokio::time::sleep(RETURN_LOOK).await;
            match outcome(self, id) {
                Ok(Some(outcome)) => return relayed(outcome, language),
                Ok(None) => {}
                Err(_) => break,
            }
        }
        waiting(place, id, language, call)
    }
}

/// How an exchange ended.
fn status_of(outcome: &Result<Answer, SendError>) -> Result<u16, SendError> {
    outcome.as_ref().map(|answer| answer.status).map_err(|error| *error)
}

/// What became of a return whose browser was shown the waiting page: a line and a count of their
/// own, or nobody would learn that the provider never answered.
async fn tell_late(
    relaying: JoinHandle<(Result<Relayed, Refusal>, Result<u16, SendError>)>,
    mut late: Call,
    begun: Instant,
    desk: Arc<Desk>,
) {
    let Ok((outcome, ended)) = relaying.await else { return };
    late.upstream_since(begun);
    late.exchanged(ended);
    let status = match outcome {
        Ok(relayed) => relayed.status,
        Err(refusal) => {
            late.note(&reply::refused(&refusal, &late.id));
            StatusCode::SERVICE_UNAVAILABLE
        }
    };
    late.noted(status.as_u16(), &desk);
}

/// The page that asks again; what becomes of the step is told by another line.
fn waiting(place: &str, id: &str, language: Language, call: &mut Call) -> Reply {
    call.code = "waiting";
    shown(StatusCode::OK, page::waiting(&format!("/{place}/{id}"), language))
}
