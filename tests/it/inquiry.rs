//! A payment in doubt that Portcullis itself asks about, where the account says so: the provider
//! got the payment once and the question once, and the application is told what came of it.

use std::time::Duration;

use portcullis_sandbox::client::Answer;
use portcullis_sandbox::corefy::faults::Fault;
use portcullis_sandbox::random;
use portcullis_sandbox::record::Recorder;
use portcullis_sandbox::world::Options;
use portcullis_sandbox::world::accounts::App;
use serde_json::{Value, json};

use super::house::{House, assert_no_card, assert_problem, card_fields};
use super::line::Version;

/// Routes that the accounts of the house ask about.
const ASKED: [(&str, &str); 4] = [
    ("paymega", r#"["sale", "invoice.create", "payout.create"]"#),
    ("milkypay", r#"["sale", "invoice.create"]"#),
    ("qostiq", r#"["invoice.create", "withdraw.create"]"#),
    ("highhelp", r#"["ecom.payin", "ecom.payout"]"#),
];

/// A house whose accounts ask.
pub(crate) async fn asking() -> House {
    asking_at("").await
}

/// Providers answer here within milliseconds, or not at all.
async fn asking_at(rate: &'static str) -> House {
    let adjust = move |config: String| {
        let with = |config: String, (account, routes): (&str, &str)| {
            let named = format!("[[account]]\nname = \"{account}\"\n");
            assert!(config.contains(&named), "{account}");
            let query = format!("{named}status_query = {{ routes = {routes}, seconds = 1 }}\n");
            config.replace(&named, &query)
        };
        let config = ASKED.into_iter().fold(config, with);
        let lines = config.lines().map(|line| match line.split_once(" = ") {
            Some(("app_route", _)) if !rate.is_empty() => format!("app_route = \"{rate}\"\n"),
            _ => format!("{line}\n"),
        });
        lines.collect()
    };
    let upstream_timeout = Duration::from_millis(1_500);
    let adjust = Some(Box::new(adjust) as Box<_>);
    House::with(Options { upstream_timeout, adjust, ..Options::default() }).await
}

impl House {
    async fn queried(&self, account: &str, result: &str) -> u64 {
        let labels = format!("{{account=\"{account}\",result=\"{result}\"}}");
        self.metric(&format!("portcullis_status_queries_total{labels}")).await
    }
}

/// The problem says what the provider knows, and the header says the same.
fn assert_told(answer: &Answer, (status, code): (u16, &str), known: &str, state: Value) -> Value {
    let forwarded = if known == "yes" { "yes" } else { "unknown" };
    let problem = assert_problem(answer, status, code, forwarded);
    assert_eq!(problem["retry"], "unsafe");
    assert_eq!(problem["payment"], json!({ "known": known, "state": state }));
    let words = state.as_object().unwrap().iter();
    let words = words.map(|(name, word)| format!(";{name}={word}")).collect::<String>();
    assert_eq!(answer.header("portcullis-payment"), Some(&*format!("{known}{words}")));
    assert_no_card(answer);
    problem
}

/// What there would have been without the question.
fn assert_untold(answer: &Answer, (status, code): (u16, &str)) {
    let problem = assert_problem(answer, status, code, "unknown");
    assert!(problem.get("payment").is_none() && answer.header("portcullis-payment").is_none());
    assert_no_card(answer);
}

/// Paths that the provider got, in order.
fn paths(received: &Recorder) -> Vec<String> {
    received.all().iter().map(|one| one.request.path.clone()).collect()
}

#[tokio::test]
async fn a_sale_in_doubt_is_asked_about_once_and_its_end_is_told() {
    let house = asking().await;
    for (account, version) in [("paymega", Version::Http1), ("milkypay", Version::Http2)] {
        for (fault, told) in [
            (Fault::Cut, (502, "upstream_broke_off")),
            (Fault::Half, (502, "upstream_broke_off")),
            (Fault::Silent, (504, "upstream_silent")),
        ] {
            let ready = house.ready(account).await;
            let received = house.simulator(account).received();
            received.clear();
            house.simulator(account).faults().set("sale", fault);
            let mut line = house.private(version).await;
            let answer = line.send(&ready.ask()).await;
            house.simulator(account).faults().clear();
            let problem = assert_told(&answer, told, "yes", json!({ "status": "processed" }));
            let detail = problem["detail"].as_str().unwrap();
            assert!(detail.contains("GET /payment-invoices/{id}"), "{detail}");
            house.assert_charged_once(&ready);
            let routes: Vec<_> = received.all().iter().map(|one| one.route).collect();
            assert_eq!(routes, ["sale", "payment-invoices.read"], "{fault:?}");
            assert!(paths(received)[1].ends_with(&format!("/payment-invoices/{}", ready.invoice)));
            // The guard stays: what the provider has is not to be made again.
            let again = line.send(&ready.ask()).await;
            assert_problem(&again, 409, "payment_outcome_unknown", "unknown");
            assert_eq!(received.count("sale"), 1);
        }
        assert_eq!(house.queried(account, "yes").await, 3);
    }
}

#[tokio::test]
async fn an_invoice_in_doubt_is_found_by_its_reference() {
    let house = asking().await;
    let mut line = house.private(Version::Http1).await;
    house.world.paymega.faults().set("payment-invoices.create", Fault::Cut);
    let answer = line.send(&house.invoice("paymega", App::Shop)).await;
    let told = (502, "upstream_broke_off");
    assert_told(&answer, told, "yes", json!({ "status": "process_pending" }));
    let routes: Vec<_> = house.world.paymega.received().all().iter().map(|one| one.route).collect();
    assert_eq!(routes, ["payment-invoices.create", "payment-invoices.list"]);
}

#[tokio::test]
async fn a_failure_of_the_providers_passes_as_it_is_and_says_in_its_head_what_is_known() {
    let house = asking().await;
    let ready = house.ready("paymega").await;
    house.world.paymega.received().clear();
    house.world.paymega.faults().set("sale", Fault::Html500);
    let answer = house.private(Version::Http1).await.send(&ready.ask()).await;
    assert_eq!(answer.status, 500);
    assert!(answer.text().contains("<html>"), "the provider's page");
    assert_eq!(answer.header("portcullis-forwarded"), Some("yes"));
    // It was refused before it was made, and the invoice says what it said from the beginning.
    let told = answer.header("portcullis-payment");
    assert_eq!(told, Some("unclear;status=\"process_pending\""));
    assert_no_card(&answer);
    assert_eq!(house.sales_received(), 1);
    assert_eq!(house.queried("paymega", "unclear").await, 1);

    // An invoice that was not made is not found, and that is no leave to make it anew.
    house.world.paymega.faults().set("payment-invoices.create", Fault::Html500);
    let ask = house.invoice("paymega", App::Shop);
    let mut line = house.private(Version::Http2).await;
    let answer = line.send(&ask).await;
    assert_eq!((answer.status, answer.header("portcullis-payment")), (500, Some("no")));
    house.world.paymega.faults().clear();
    assert_problem(&line.send(&ask).await, 409, "payment_outcome_unknown", "unknown");
    assert_eq!(house.queried("paymega", "no").await, 1);
}

#[tokio::test]
async fn a_question_without_a_good_answer_leaves_the_answer_as_it_was() {
    let house = asking().await;
    let cases = [
        (Fault::Silent, "unanswered"),
        (Fault::Cut, "unanswered"),
        (Fault::Half, "unanswered"),
        (Fault::EchoPan, "unreadable"),
        (Fault::Html500, "unreadable"),
    ];
    for (fault, result) in cases {
        let ready = house.ready("paymega").await;
        let before = house.queried("paymega", result).await;
        house.world.paymega.received().clear();
        house.world.paymega.faults().set("sale", Fault::Cut);
        house.world.paymega.faults().set("payment-invoices.read", fault);
        let answer = house.private(Version::Http1).await.send(&ready.ask()).await;
        house.world.paymega.faults().clear();
        assert_untold(&answer, (502, "upstream_broke_off"));
        assert_eq!(house.queried("paymega", result).await, before + 1, "{fault:?}");
        assert_eq!(house.world.paymega.received().count("payment-invoices.read"), 1, "{fault:?}");
        house.assert_charged_once(&ready);
    }
    // Nothing is asked when nothing was sent.
    let ready = house.ready("paymega").await;
    house.world.paymega.received().clear();
    house.world.paymega.down();
    let answer = house.private(Version::Http1).await.send(&ready.ask()).await;
    house.world.paymega.up().await.unwrap();
    assert_problem(&answer, 502, "upstream_unreachable", "no");
    assert_eq!(house.world.paymega.received().all().len(), 0);
}

#[tokio::test]
async fn a_question_takes_of_the_applications_own_rate() {
    let house = asking_at("2/h").await;
    house.world.paymega.faults().set("sale", Fault::Cut);
    // Reads of the application's own use up what it may ask.
    let ready = house.ready("paymega").await;
    let mut line = house.private(Version::Http1).await;
    for _ in 0..2 {
        assert_eq!(line.send(&house.read("paymega", &ready.invoice)).await.status, 200);
    }
    assert_untold(&line.send(&ready.ask()).await, (502, "upstream_broke_off"));
    assert_eq!(house.queried("paymega", "limited").await, 1);
    assert_eq!(house.world.paymega.received().count("payment-invoices.read"), 2);
}

#[tokio::test]
async fn signed_status_calls_are_signed_anew_and_asked_once() {
    let house = asking().await;
    let tokens = house.ready("paymega").await.tokens;
    let highhelp = house.world.highhelp("highhelp", App::Shop).unwrap();
    let payment = house.new_payment();
    house.world.highhelp.faults().set("payin", Fault::Cut);
    let answer = highhelp.payin(&payment, &card_fields(&tokens)).await.unwrap();
    house.world.highhelp.faults().clear();
    let problem = assert_problem(&answer, 502, "upstream_broke_off", "yes");
    assert_eq!(problem["payment"]["known"], "yes");
    assert!(problem["payment"]["state"]["status"].is_string(), "{problem}");
    let received = house.world.highhelp.received();
    assert_eq!((received.count("payin"), received.count("info")), (1, 1));

    let qostiq = house.world.piastrix("qostiq", App::Shop).unwrap();
    let order = format!("ord-{}", random::letters(8));
    house.world.qostiq.faults().set("core.invoice/create", Fault::Cut);
    let answer = qostiq.invoice(&order, "17.10", &[]).await.unwrap();
    assert_told(&answer, (502, "upstream_broke_off"), "yes", json!({ "status": "1" }));
    let payout = format!("out-{}", random::letters(8));
    house.world.qostiq.faults().set("core.withdraw/create", Fault::Silent);
    let answer = qostiq.withdraw(&payout, &tokens.token).await.unwrap();
    house.world.qostiq.faults().clear();
    let problem = assert_problem(&answer, 504, "upstream_silent", "yes");
    assert!(problem["payment"]["state"]["status"].is_string(), "{problem}");
    assert_no_card(&answer);
    let received = house.world.qostiq.received();
    let count = |route| received.count(route);
    let counts = [count("core.invoice/create"), count("core.withdraw/create"), count("core.other")];
    assert_eq!(counts, [1, 1, 2]);
    assert_eq!(house.world.qostiq.withdrawals().len(), 1);
}
