//! What the log and the counts say of a browser's steps and of callbacks: whose they are, and what
//! became of them, whatever the browser is shown.

use std::time::{Duration, Instant};

use portcullis_sandbox::corefy::cards::PLAIN;
use portcullis_sandbox::corefy::faults::Fault;
use portcullis_sandbox::visitor::{TypedCard, Visitor};
use portcullis_sandbox::world::Options;
use portcullis_sandbox::world::accounts::App;
use serde_json::Value;

use super::house::{House, card, session_of};
use super::line::{Ask, Version};
use super::upgrade::back_from_the_bank;

/// Longer than a browser waits for a return before it is shown the waiting page.
const LATE: Duration = Duration::from_secs(7);

impl House {
    /// The lines of this call, once there are so many.
    async fn told(&self, call: &str, count: usize) -> Vec<Value> {
        let end = Instant::now() + Duration::from_secs(10);
        loop {
            let log = String::from_utf8(self.log()).unwrap();
            let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            let told: Vec<_> =
                lines.filter(|line| line["event"] == "answered" && line["call"] == call).collect();
            if told.len() >= count || Instant::now() > end {
                return told;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The first line of this call with this code.
    async fn told_as(&self, call: &str, code: &str) -> Value {
        for count in 1..10 {
            let mut told = self.told(call, count).await;
            if let Some(at) = told.iter().position(|line| line["code"] == code) {
                return told.remove(at);
            }
        }
        panic!("no {call} was told with {code}")
    }
}

#[track_caller]
fn assert_told(line: &Value, wanted: &[(&str, Value)]) {
    for (name, value) in wanted {
        assert_eq!(line.get(*name).unwrap_or(&Value::Null), value, "{name}: {line}");
    }
}

fn of(app: &str, account: &str) -> [(&'static str, Value); 2] {
    [("app", app.into()), ("account", account.into())]
}

const FAULTS: [(Fault, &str); 2] =
    [(Fault::Silent, "upstream_silent"), (Fault::Cut, "upstream_broke_off")];

#[tokio::test]
async fn a_card_form_in_doubt_is_told_as_such_and_whose_it_is() {
    let house = House::impatient().await;
    let mut public = house.public(Version::Http1).await;
    for (at, (fault, code)) in FAULTS.into_iter().enumerate() {
        let form = house.card_form("qostiq", &house.captured().await).await;
        house.world.qostiq.faults().set("payform", fault);
        let answer = public.send(&form).await;
        house.world.qostiq.faults().clear();
        assert_eq!(answer.status, 200, "{}", answer.text());
        let line = house.told("payform", at + 1).await.remove(at);
        assert_told(&line, &of("shop", "qostiq"));
        assert_told(&line, &[("code", code.into()), ("forwarded", "unknown".into())]);
    }
    for (fault, code) in [(None, "ok"), (Some(Fault::Html500), "upstream_failed")] {
        let form = house.card_form("qostiq", &house.captured().await).await;
        fault.inspect(|fault| house.world.qostiq.faults().set("payform", *fault));
        public.send(&form).await;
        let line = house.told_as("payform", code).await;
        assert_told(&line, &of("shop", "qostiq"));
        assert_told(&line, &[("forwarded", "yes".into())]);
    }
    let form = house.card_form("qostiq-browser", &house.captured().await).await;
    assert!(public.send(&form).await.status < 400);
    let line = house.told("payform", FAULTS.len() + 3).await.remove(FAULTS.len() + 2);
    assert_told(&line, &of("shop", "qostiq-browser"));
    assert_told(&line, &[("forwarded", "unknown".into())]);
}

#[tokio::test]
async fn of_two_card_forms_of_a_session_the_second_stays_here_while_the_first_is_in_doubt() {
    let house = House::impatient().await;
    let mut public = house.public(Version::Http1).await;
    let session = house.card_session("qostiq", App::Shop).await;
    let mut forms = Vec::new();
    for _ in 0..2 {
        let tokens = house.captured().await;
        forms.push(house.form_of_session("qostiq", App::Shop, &session, &tokens).await);
    }
    house.world.qostiq.faults().set("payform", Fault::Silent);
    assert_eq!(public.send(&forms[0]).await.status, 200);
    house.world.qostiq.faults().clear();
    let posted = || house.world.qostiq.received().count("payform");
    assert_eq!(posted(), 1);
    let answer = public.send(&forms[1]).await;
    assert_eq!(answer.status, 409, "{}", answer.text());
    assert!(answer.text().contains("being processed"), "{}", answer.text());
    assert_eq!(posted(), 1);
    let line = house.told_as("payform", "payment_outcome_unknown").await;
    assert_told(&line, &of("shop", "qostiq"));
    assert_told(&line, &[("forwarded", "unknown".into())]);
}

#[tokio::test]
async fn a_failure_of_the_providers_at_a_payment_is_told_and_none_elsewhere() {
    let house = House::open().await;
    let ready = house.ready("paymega").await;
    let mut line = house.private(Version::Http1).await;
    let read = house.read("paymega", &ready.invoice);
    for (fault, route, ask) in
        [(Fault::Html500, "sale", &ready.ask()), (Fault::Html500, "payment-invoices.read", &read)]
    {
        house.world.paymega.faults().set(route, fault);
        let answer = line.send(ask).await;
        assert_eq!(answer.status, 500, "{route}: {}", answer.text());
        assert_eq!(answer.header("portcullis-forwarded"), Some("yes"));
    }
    let sale = house.told("sale", 1).await.remove(0);
    assert_told(&sale, &[("code", "upstream_failed".into()), ("status", 500.into())]);
    let read = house.told("invoice.read", 1).await.remove(0);
    assert_told(&read, &[("code", "ok".into()), ("status", 500.into())]);
}

#[tokio::test]
async fn a_return_in_doubt_is_told_as_such_and_whose_it_is() {
    let house = House::impatient().await;
    let mut public = house.public(Version::Http1).await;
    for (at, (fault, code)) in FAULTS.into_iter().enumerate() {
        let back = back_from_the_bank(&house).await;
        house.world.paymega.faults().set("3ds-return", fault);
        assert!(public.send(&back).await.status < 400);
        house.world.paymega.faults().clear();
        let line = house.told("threeds.return", at + 1).await.remove(at);
        assert_told(&line, &of("shop", "paymega"));
        assert_told(&line, &[("code", code.into()), ("forwarded", "unknown".into())]);
    }
    let back = back_from_the_bank(&house).await;
    house.world.paymega.down();
    assert_eq!(public.send(&back).await.status, 503);
    let line = house.told("threeds.return", 3).await.remove(2);
    assert_told(&line, &of("shop", "paymega"));
    assert_told(&line, &[("code", "return_not_relayed".into()), ("forwarded", "no".into())]);
}

#[tokio::test]
async fn a_return_whose_browser_waits_no_longer_is_told_by_a_line_of_its_own() {
    let options = Options { upstream_timeout: LATE, ..Options::default() };
    let house = House::with(options).await;
    let mut public = house.public(Version::Http1).await;
    let back = back_from_the_bank(&house).await;
    house.world.paymega.faults().set("3ds-return", Fault::Silent);
    assert_eq!(public.send(&back).await.status, 200);
    let waiting = house.told("threeds.return", 1).await.remove(0);
    assert_told(&waiting, &[("code", "waiting".into())]);
    let late = house.told("threeds.relay", 1).await.remove(0);
    assert_told(&late, &of("shop", "paymega"));
    assert_told(&late, &[("code", "upstream_silent".into()), ("forwarded", "unknown".into())]);
    assert_eq!(late["request_id"], waiting["request_id"]);
}

#[tokio::test]
async fn a_capture_is_told_with_its_application_as_soon_as_its_session_is_known() {
    let house = House::open().await;
    let mut private = house.private(Version::Http1).await;
    let mut public = house.public(Version::Http1).await;
    let session = session_of(&private.send(&house.session(App::Shop)).await);
    let form = Ask::get(&format!("/v1/form/{session}"));
    assert_eq!(public.send(&form).await.status, 200);
    assert_told(&house.told("form", 1).await[0], &[("app", "shop".into())]);
    let good = house.capture(&session, &card());
    let wrong = good.clone().with_body("{\"card\":{}}");
    let foreign = good.clone().without("origin").header("origin", "https://canary.example");
    let strange = good.clone().without("authorization");
    for (at, (ask, code, app)) in [
        (good, "ok", Value::from("shop")),
        (wrong, "field_missing", "shop".into()),
        (foreign, "origin_refused", "shop".into()),
        (strange, "session_unknown", Value::Null),
    ]
    .into_iter()
    .enumerate()
    {
        public.send(&ask).await;
        let line = house.told("capture", at + 1).await.remove(at);
        assert_told(&line, &[("code", code.into()), ("app", app)]);
    }
}

#[tokio::test]
async fn a_callback_is_told_with_its_account_even_where_its_signature_is_refused() {
    let house = House::open().await;
    let mut public = house.public(Version::Http1).await;
    let visitor = Visitor::new(&house.world.client, house.world.shop.url());
    visitor.buy("paymega", &TypedCard::number(PLAIN)).await.unwrap();
    let taken = house.told_as("callback", "ok").await;
    assert_told(&taken, &of("shop", "paymega"));
    assert_told(&taken, &[("forwarded", "yes".into())]);
    for (account, told, code) in [
        ("paymega", Value::from("paymega"), "signature_refused"),
        ("canary", Value::Null, "route_unknown"),
    ] {
        public.send(&Ask::json(&format!("/callbacks/{account}"), "{}")).await;
        let line = house.told_as("callback", code).await;
        assert_told(&line, &[("account", told), ("code", code.into()), ("app", Value::Null)]);
    }
}
