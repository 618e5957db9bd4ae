//! Drives the simulators over plain HTTP on loopback, for scripts. Not reachable through
//! Portcullis.

use crate::corefy::Simulator;
use crate::corefy::faults::Fault;
use crate::http::{Reply, Request, Server};
use crate::record::Received;
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
    pub async fn start(port: u16, simulators: [Arc<Simulator>; 2]) -> Result<Self> {
        let listener = Server::bind(port).await?;
        let simulators = Arc::new(simulators);
        let serve = move |request| serve(Arc::clone(&simulators), request);
        Ok(Self { server: Server::serve(listener, None, serve)? })
    }

    /// `http://127.0.0.1:port`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.server.port())
    }
}

async fn serve(simulators: Arc<[Arc<Simulator>; 2]>, request: Request) -> Reply {
    let [paymega, milkypay] = simulators.as_ref();
    let mut parts = request.path.trim_matches('/').splitn(2, '/');
    let simulator = match parts.next() {
        Some("paymega") => paymega,
        Some("milkypay") => milkypay,
        _ => return unknown(),
    };
    let action = parts.next().unwrap_or_default();
    if request.method == Method::POST {
        command(simulator, &request, action).await
    } else {
        report(simulator, action)
    }
}

fn report(simulator: &Simulator, action: &str) -> Reply {
    let list: Vec<Value> = match action {
        "received" => simulator.received().all().iter().map(|entry| received(entry)).collect(),
        "sales" => simulator
            .sales()
            .iter()
            .map(|sale| {
                json!({"invoice": sale.invoice, "card_number": sale.number, "cvv": sale.cvv,
                       "exp_month": sale.month, "exp_year": sale.year, "card_holder": sale.holder})
            })
            .collect(),
        "deliveries" => simulator
            .deliveries()
            .iter()
            .map(|sent| {
                json!({"invoice": sent.invoice, "status": sent.status, "url": sent.url,
                       "attempts": sent.attempts, "delivered": sent.delivered()})
            })
            .collect(),
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

async fn command(simulator: &Simulator, request: &Request, action: &str) -> Reply {
    let value = |name: &str| request.query_value(name).unwrap_or_default();
    let done = match action {
        "fault" => {
            let milliseconds = value("ms").parse().unwrap_or(1_000);
            match Fault::named(&value("kind"), milliseconds) {
                Some(fault) => {
                    simulator.faults().set(&value("route"), fault);
                    true
                }
                None => false,
            }
        }
        "behave" => {
            simulator.behave();
            true
        }
        "down" => {
            simulator.down();
            true
        }
        "up" => simulator.up().await.is_ok(),
        "settle" => simulator.settle(&value("invoice"), &value("status"), "ok"),
        "resend" => simulator.resend(&value("invoice")).await.is_some(),
        _ => return unknown(),
    };
    let status = if done { 200 } else { 400 };
    Reply::json(status, json!({ "done": done }).to_string())
}

fn unknown() -> Reply {
    Reply::json(404, r#"{"done":false}"#)
}
