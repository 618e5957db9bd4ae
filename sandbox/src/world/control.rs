//! Drives the simulators over plain HTTP on loopback, for scripts. Not reachable through
//! Portcullis.

use crate::corefy::faults::{Fault, Faults};
use crate::courier::Delivery;
use crate::http::{Reply, Request, Server};
use crate::record::{Received, Recorder};
use crate::{corefy, highhelp, qostiq};
use anyhow::Result;
use http::Method;
use serde_json::{Value, json};
use std::sync::Arc;

/// The control server.
pub struct Control {
    server: Server,
}

impl Control {
    /// Starts one; port 0 for any free one.
    pub async fn start(port: u16, simulated: Vec<(&'static str, Simulated)>) -> Result<Self> {
        let listener = Server::bind(port).await?;
        let simulated = Arc::new(simulated);
        let serve = move |request| serve(Arc::clone(&simulated), request);
        Ok(Self { server: Server::serve(listener, None, serve)? })
    }

    /// `http://127.0.0.1:port`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.server.port())
    }
}

/// A simulator, whichever it is.
#[derive(Clone)]
pub enum Simulated {
    /// Paymega, MilkyPay.
    Corefy(Arc<corefy::Simulator>),
    /// Qostiq.
    Qostiq(Arc<qostiq::Simulator>),
    /// HighHelp.
    HighHelp(Arc<highhelp::Simulator>),
}

/// The same question to every kind.
macro_rules! each {
    ($simulated:expr, $one:ident => $answer:expr) => {
        match $simulated {
            Simulated::Corefy($one) => $answer,
            Simulated::Qostiq($one) => $answer,
            Simulated::HighHelp($one) => $answer,
        }
    };
}

impl Simulated {
    pub(super) fn recorder(&self) -> &Recorder {
        each!(self, one => one.received())
    }

    fn faults(&self) -> &Faults {
        each!(self, one => one.faults())
    }

    fn settle(&self, key: &str, status: &str) -> bool {
        match self {
            Self::Corefy(one) => one.settle(key, status, "ok"),
            Self::Qostiq(one) => one.settle(key, status),
            Self::HighHelp(one) => one.settle(key, status),
        }
    }

    /// Cards that were charged, in clear.
    fn sales(&self) -> Vec<Value> {
        let sale = |key: &str, number: &str, cvv: &str, expiry: [&str; 2], holder: &str| {
            let [month, year] = expiry;
            json!({"invoice": key, "card_number": number, "cvv": cvv, "exp_month": month,
                   "exp_year": year, "card_holder": holder})
        };
        match self {
            Self::Corefy(one) => one
                .sales()
                .iter()
                .map(|s| sale(&s.invoice, &s.number, &s.cvv, [&s.month, &s.year], &s.holder))
                .collect(),
            Self::Qostiq(one) => one
                .payments()
                .iter()
                .map(|s| sale(&s.order, &s.number, &s.cvv, [&s.month, &s.year], &s.holder))
                .collect(),
            Self::HighHelp(one) => one
                .charges()
                .iter()
                .map(|s| sale(&s.payment_id, &s.number, &s.cvv, [&s.month, &s.year], &s.holder))
                .collect(),
        }
    }

    fn deliveries(&self) -> Vec<Value> {
        let signed = |sent: &Delivery| {
            json!({"invoice": sent.reference, "status": sent.status, "url": sent.letter.url,
                   "attempts": sent.attempts, "delivered": sent.delivered()})
        };
        match self {
            Self::Corefy(one) => one
                .deliveries()
                .iter()
                .map(|sent| {
                    json!({"invoice": sent.invoice, "status": sent.status, "url": sent.url,
                           "attempts": sent.attempts, "delivered": sent.delivered()})
                })
                .collect(),
            Self::Qostiq(one) => one.deliveries().iter().map(signed).collect(),
            Self::HighHelp(one) => one.deliveries().iter().map(signed).collect(),
        }
    }
}

async fn serve(simulated: Arc<Vec<(&'static str, Simulated)>>, request: Request) -> Reply {
    let mut parts = request.path.trim_matches('/').splitn(2, '/');
    let name = parts.next().unwrap_or_default();
    let Some((_, one)) = simulated.iter().find(|(known, _)| *known == name) else {
        return unknown();
    };
    let action = parts.next().unwrap_or_default();
    if request.method == Method::POST {
        command(one, &request, action).await
    } else {
        report(one, action)
    }
}

fn report(simulated: &Simulated, action: &str) -> Reply {
    let list = match action {
        "received" => simulated.recorder().all().iter().map(|entry| received(entry)).collect(),
        "sales" => simulated.sales(),
        "deliveries" => simulated.deliveries(),
        _ => return unknown(),
    };
    Reply::json(200, Value::from(list).to_string())
}

fn received(entry: &Received) -> Value {
    let headers: Vec<Value> = entry
        .request
        .headers
        .iter()
        .map(|(name, value)| json!([name.as_str(), String::from_utf8_lossy(value.as_bytes())]))
        .collect();
    json!({
        "route": entry.route,
        "method": entry.request.method.as_str(),
        "path": entry.request.path,
        "query": entry.request.query,
        "headers": headers,
        "body": String::from_utf8_lossy(&entry.request.body),
    })
}

async fn command(simulated: &Simulated, request: &Request, action: &str) -> Reply {
    let value = |name: &str| request.query_value(name).unwrap_or_default();
    let done = match action {
        "fault" => {
            let milliseconds = value("ms").parse().unwrap_or(1_000);
            match Fault::named(&value("kind"), milliseconds) {
                Some(fault) => {
                    simulated.faults().set(&value("route"), fault);
                    true
                }
                None => false,
            }
        }
        "behave" => {
            each!(simulated, one => one.behave());
            true
        }
        "down" => {
            each!(simulated, one => one.down());
            true
        }
        "up" => each!(simulated, one => one.up().await.is_ok()),
        "settle" => simulated.settle(&value("invoice"), &value("status")),
        "resend" => each!(simulated, one => one.resend(&value("invoice")).await.is_some()),
        _ => return unknown(),
    };
    let status = if done { 200 } else { 400 };
    Reply::json(status, json!({ "done": done }).to_string())
}

fn unknown() -> Reply {
    Reply::json(404, r#"{"done":false}"#)
}
