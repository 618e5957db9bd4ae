//! What passes through to a shop as it comes: request and answer at once, a part at a time.
//!
//! A part goes on before the next one is read, in both directions, so a slow side slows the other
//! one down and nothing piles up here. Framing is read strictly and written anew; fields that
//! belong to one connection stay on it. Must never decide what a card path is: who calls this has.

pub(crate) mod body;
mod head;
mod shop;

pub(crate) use head::{outgoing, passed_back, request_head};

use std::future::poll_fn;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::{Method, StatusCode};

use super::answer::{AnswerFraming, AnswerHead};
use super::clock::Deadline;
use super::exchange::SendErrorKind;
use super::fields::Framing;
use super::line::Line;
use super::message::{Begin, Client, Passing};
use crate::secret::CleartextBody;
use shop::{Shop, Step};

/// Interim answers passed on before the final one.
const INTERIM_MAX: usize = 8;

/// How it ended.
pub(crate) enum End {
    /// The answer went out whole; the connection to the shop, where it can be used again.
    Whole(StatusCode, Option<Box<Line>>),
    /// The answer, or a WebSocket, was cut short.
    Cut(StatusCode),
    /// There is no answer: the client is still waiting for one.
    Unanswered(SendErrorKind),
    /// The client has gone.
    Gone,
}

/// Passes one request to the shop at the other end of `line`, and its answer back.
pub(crate) async fn pass(
    passing: &Passing,
    request_head: CleartextBody,
    client: &mut dyn Client,
    line: Line,
    idle: Duration,
) -> End {
    let bodiless = passing.head.method == Method::HEAD;
    let mut pass = Pass {
        client,
        shop: Shop::new(line, request_head, passing.framing == Framing::Chunked, bodiless),
        part: CleartextBody::new(),
        deadline: Deadline::after(idle),
        idle,
        expects: passing.expect_continue,
        websocket: passing.websocket,
        interims: 0,
        up: Up::Open,
        down: Down::Awaited,
        status: StatusCode::OK,
    };
    let outcome = poll_fn(|cx| pass.poll(cx)).await;
    let Pass { shop, up, down, status, .. } = pass;
    match (outcome, down) {
        (Ok(()), Down::Ended { reusable }) => {
            let line = if reusable && up == Up::Ended { shop.into_line() } else { None };
            End::Whole(status, line.map(Box::new))
        }
        (Ok(()), _) => End::Cut(status),
        (Err(Stop::Gone), _) => End::Gone,
        (Err(Stop::Shop(kind)), Down::Awaited) => End::Unanswered(kind),
        (Err(Stop::Shop(_)), _) => End::Cut(status),
    }
}

/// Why it goes no further.
enum Stop {
    Gone,
    Shop(SendErrorKind),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Up {
    Open,
    Ended,
    /// The shop takes no more of it; its answer may still come.
    Broken,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Down {
    Awaited,
    Body {
        reusable: bool,
    },
    /// A WebSocket: both directions until either ends.
    Tunnel,
    Ended {
        reusable: bool,
    },
}

struct Pass<'p> {
    client: &'p mut dyn Client,
    shop: Shop,
    /// On its way from one side to the other; empty between steps.
    part: CleartextBody,
    deadline: Deadline,
    idle: Duration,
    expects: bool,
    websocket: bool,
    interims: usize,
    up: Up,
    down: Down,
    status: StatusCode,
}

impl Pass<'_> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Stop>> {
        loop {
            let went_up = self.poll_up(cx)?;
            let (came_down, flushed) = self.poll_down(cx)?;
            let over = matches!(self.down, Down::Ended { .. })
                || self.down == Down::Tunnel && self.up != Up::Open;
            if over && flushed {
                return Poll::Ready(Ok(()));
            }
            if !went_up && !came_down {
                break;
            }
            self.deadline.restart(self.idle);
        }
        if self.down == Down::Tunnel && self.client.poll_closing(cx).is_ready() {
            return Poll::Ready(Ok(()));
        }
        ready!(self.deadline.poll_over(cx));
        Poll::Ready(Err(Stop::Shop(SendErrorKind::Silent)))
    }

    /// One part of the request on its way to the shop; whether there was one.
    fn poll_up(&mut self, cx: &mut Context<'_>) -> Result<bool, Stop> {
        if self.up == Up::Broken {
            return Ok(false);
        }
        match self.shop.poll_flush(cx) {
            Poll::Pending => return Ok(false),
            Poll::Ready(Err(_)) => {
                self.up = Up::Broken;
                return Ok(true);
            }
            Poll::Ready(Ok(())) => {}
        }
        if self.up == Up::Ended {
            return Ok(false);
        }
        self.part.clear();
        let Poll::Ready(came) = self.client.poll_body(&mut self.part, cx) else {
            return Ok(false);
        };
        let end = came.map_err(|_| Stop::Gone)?;
        if !self.part.is_empty() {
            self.shop.push(self.part.as_bytes());
        }
        if end {
            self.shop.end();
            self.up = Up::Ended;
        }
        Ok(true)
    }

    /// One part of the answer on its way to the client; whether there was one, and whether all that
    /// was handed over is out.
    fn poll_down(&mut self, cx: &mut Context<'_>) -> Result<(bool, bool), Stop> {
        let Poll::Ready(flushed) = self.client.poll_flush(cx) else { return Ok((false, false)) };
        flushed.map_err(|_| Stop::Gone)?;
        if matches!(self.down, Down::Ended { .. }) {
            return Ok((false, true));
        }
        self.part.clear();
        let Poll::Ready(step) = self.shop.poll_answer(&mut self.part, cx) else {
            return Ok((false, true));
        };
        match step.map_err(Stop::Shop)? {
            Step::Head(head) => self.begin(head)?,
            Step::Part { end } => {
                if !self.part.is_empty() {
                    self.client.push(self.part.as_bytes());
                }
                if end {
                    self.end_of_answer();
                }
            }
        }
        Ok((true, false))
    }

    fn end_of_answer(&mut self) {
        self.client.end();
        match self.down {
            Down::Body { reusable } => self.down = Down::Ended { reusable },
            _ => self.up = Up::Ended,
        }
    }

    fn begin(&mut self, head: AnswerHead) -> Result<(), Stop> {
        let bad = Stop::Shop(SendErrorKind::BadAnswer);
        let status = StatusCode::from_u16(head.status).map_err(|_| SendErrorKind::BadAnswer);
        let status = status.map_err(Stop::Shop)?;
        let switches = status == StatusCode::SWITCHING_PROTOCOLS;
        if status.is_informational() && !switches {
            self.interims += 1;
            if self.interims > INTERIM_MAX {
                return Err(bad);
            }
            // Nobody waits for this one.
            if status == StatusCode::CONTINUE && !std::mem::take(&mut self.expects) {
                return Ok(());
            }
        }
        if switches && !self.websocket {
            return Err(bad);
        }
        let AnswerHead { headers, framing, declared, reusable, .. } = head;
        let body = framing != AnswerFraming::Empty;
        let length = if framing == AnswerFraming::Chunked { None } else { declared };
        self.client.begin(Begin { status, headers: passed_back(headers), length, body });
        if switches {
            self.shop.open();
            (self.status, self.up, self.down) = (status, Up::Open, Down::Tunnel);
        } else if !status.is_informational() {
            (self.status, self.down) = (status, Down::Body { reusable });
            if !body {
                self.end_of_answer();
            }
        }
        Ok(())
    }
}
