//! A provider in trouble: how to find out what became of a payment, and what its refusals may say.
//! Every way to fail in between is in the fault table (`faults.rs`).

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use portcullis_sandbox::corefy::faults::Fault;
use portcullis_sandbox::world::accounts::App;
use portcullis_sandbox::world::{Options, Proxy};
use serde_json::Value;

use tokio::net::{TcpListener, TcpStream};

use super::house::{House, Ready, assert_problem};
use super::line::Version;
use super::short;

const STATUS_CALL: &str = "GET /payment-invoices/{id}";

/// The provider may have seen the sale: said so, and how to find out.
fn assert_in_doubt(problem: &Value) {
    assert_eq!((&problem["retry"], &problem["origin"]), (&"unsafe".into(), &"upstream".into()));
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains(STATUS_CALL), "{detail}");
}

#[tokio::test]
async fn a_silent_provider_leaves_the_outcome_unknown_and_its_status_call_tells() {
    let house = House::impatient().await;
    for version in Version::BOTH {
        for warm in [false, true] {
            let (ready, other) = (house.ready("milkypay").await, house.ready("milkypay").await);
            let mut line = house.private(version).await;
            if warm {
                house.assert_pays(&mut line, &other).await;
            }
            let before = house.sales_received();
            house.world.milkypay.faults().set("sale", Fault::Silent);
            let answer = line.send(&ready.ask()).await;
            house.world.milkypay.faults().clear();
            assert_in_doubt(&assert_problem(&answer, 504, "upstream_silent", "unknown"));
            house.assert_charged_once(&ready);
            let elsewhere = Ready { tokens: ready.tokens.clone(), ..house.ready("milkypay").await };
            let again = line.send(&elsewhere.ask()).await;
            let problem = assert_problem(&again, 422, "token_unknown", "no");
            assert_eq!(problem["field"], "/data/attributes/cvv");
            assert_eq!(house.sales_received(), before + 1, "{version:?} {warm}");
            // The status call that the answer named works, and tells.
            let read = line.send(&house.read("milkypay", &ready.invoice)).await;
            assert_eq!(read.json().unwrap()["data"]["attributes"]["status"], "processed");
        }
    }
    house.assert_alive().await;
}

#[tokio::test]
async fn an_invoice_in_doubt_names_the_call_that_finds_it() {
    let house = House::impatient().await;
    house.world.paymega.faults().set("payment-invoices.create", Fault::Silent);
    let mut line = house.private(Version::Http1).await;
    let answer = line.send(&house.invoice("paymega", App::Shop)).await;
    let problem = assert_problem(&answer, 504, "upstream_silent", "unknown");
    let detail = problem["detail"].as_str().unwrap();
    let call = "GET /payment-invoices/?filter[reference_id]={reference_id}";
    assert!(detail.contains(call), "{detail}");
    assert_eq!(house.world.paymega.received().count("payment-invoices.create"), 1);
}

#[tokio::test]
async fn a_refusal_by_the_provider_comes_through_without_the_card_and_burns_the_cvv() {
    let house = House::open().await;
    for version in Version::BOTH {
        for (fault, status) in
            [(Fault::EchoPan, 422), (Fault::EchoEncoded, 422), (Fault::Html500, 500)]
        {
            let ready = house.ready("paymega").await;
            house.world.paymega.faults().set("sale", fault);
            let before = house.sales_received();
            let mut line = house.private(version).await;
            let answer = line.send(&ready.ask()).await;
            house.world.paymega.faults().clear();
            assert_eq!(answer.status, status, "{fault:?}");
            assert_eq!(answer.header("portcullis-forwarded"), Some("yes"), "{fault:?}");
            assert_eq!(answer.header("portcullis-upstream-status"), Some(&*status.to_string()));
            assert_eq!(answer.header("portcullis-replaced"), Some("pan=1, cvv=1"));
            super::house::assert_no_card(&answer);
            let elsewhere = Ready { tokens: ready.tokens, ..house.ready("paymega").await };
            let again = line.send(&elsewhere.ask()).await;
            assert_problem(&again, 422, "token_unknown", "no");
            assert_eq!(house.sales_received(), before + 1);
        }
    }
}

#[tokio::test]
async fn a_card_that_has_lived_its_time_is_refused() {
    let second = Duration::from_secs(1);
    let short = Options { card_ttl: second, cvv_ttl: second, ..Options::default() };
    let house = House::with(short).await;
    let ready = house.ready("paymega").await;
    let mut line = house.private(Version::Http1).await;
    let look = super::line::Ask::get(&format!("/v1/tokens/{}", ready.tokens.token))
        .header("portcullis-key", house.world.key(App::Shop));
    assert_eq!(line.send(&look).await.status, 200);
    while line.send(&look).await.status == 200 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let answer = line.send(&ready.ask()).await;
    assert_problem(&answer, 422, "token_unknown", "no");
    assert_eq!(house.sales_received(), 0);
}

/// Another way to what is at this port.
async fn way_to(real: Arc<AtomicU16>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let real = real.load(Ordering::SeqCst);
            tokio::spawn(async move {
                let mut far = TcpStream::connect(("127.0.0.1", real)).await.unwrap();
                tokio::io::copy_bidirectional(&mut stream, &mut far).await
            });
        }
    });
    port
}

#[tokio::test]
async fn a_look_up_that_panics_leaves_no_payment_in_doubt() {
    let folder = tempfile::tempdir().unwrap();
    let program = env!("CARGO_BIN_EXE_portcullis").as_ref();
    let program = short::with_variable(folder.path(), short::STACK, program);
    let real = Arc::new(AtomicU16::new(0));
    let port = way_to(Arc::clone(&real)).await;
    let adjust = Box::new(move |config: String| {
        let (_, host) = config.split_once("[account.payform]\nhosts = [\"localhost:").unwrap();
        real.store(host.split('"').next().unwrap().parse().unwrap(), Ordering::SeqCst);
        short::payform_also_at(&config, port)
    });
    let options = Options { adjust: Some(adjust), ..Options::default() };
    let mut house = House::with_proxy(Proxy::Binary(program), options).await;
    house.panics = true;
    let elsewhere = format!("https://localhost:{port}");
    house.world.qostiq.quirks(|quirks| quirks.payform_host = Some(elsewhere));
    let form = house.card_form("qostiq", &house.captured().await).await;
    let mut public = house.public(Version::Http1).await;
    let pid = house.world.proxy().unwrap().pid().unwrap();

    short::take_threads(pid);
    let answer = public.try_send(&form).await;
    short::give_threads(pid);
    let answer = answer.unwrap();
    assert_eq!(answer.status, 503, "{}", answer.text());
    super::house::assert_no_card(&answer);
    assert!(String::from_utf8(house.log()).unwrap().contains(r#""event":"panicked""#));
    let [outcome] = &house.audited_soon("outcome", 1).await[..] else { panic!("one outcome") };
    assert_eq!(outcome["forwarded"], "no");
    let answer = public.send(&form).await;
    assert!(answer.status < 400, "{}: {}", answer.status, answer.text());
    assert_eq!(house.world.qostiq.received().count("payform"), 1);
}
