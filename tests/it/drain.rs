//! The way to a stop: not ready first, and everybody still served.

use std::time::{Duration, Instant};

use http::Method;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use portcullis_sandbox::corefy::faults::Fault;
use portcullis_sandbox::record::until;
use portcullis_sandbox::world::Options;
use tokio::net::TcpStream;
use tokio::time::sleep;

use super::house::House;
use super::line::{Ask, Version};

const SOON: Duration = Duration::from_secs(10);

impl House {
    pub(super) fn terminate(&self) {
        self.signal(Signal::SIGTERM);
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid().cast_signed()), signal).unwrap();
    }

    /// Waits until the last line of its log says that it has stopped.
    pub(super) async fn stopped(&self) {
        self.told_soon("stopped", 1).await;
    }
}

/// A provider may take as long as a test holds its answer.
fn patient() -> Options {
    Options { upstream_timeout: SOON, ..Options::default() }
}

async fn draining_for(seconds: u32) -> House {
    let to = format!("drain_seconds = {seconds}");
    let adjust = Box::new(move |config: String| config.replace("drain_seconds = 0", &to));
    House::with(Options { adjust: Some(adjust), ..patient() }).await
}

#[tokio::test]
async fn before_a_stop_it_is_not_ready_and_everybody_is_served_and_asked_to_go() {
    for by_signal in [true, false] {
        let house = draining_for(4).await;
        let slow = house.ready("paymega").await;
        let mut kept = Vec::new();
        for version in Version::BOTH {
            let mut line = house.private(version).await;
            assert_eq!(line.send(&house.read("paymega", &slow.invoice)).await.status, 200);
            kept.push(line);
        }
        house.world.paymega.faults().set("sale", Fault::Held);
        let mut line = house.private(Version::Http1).await;
        let ask = slow.ask();
        let mut begun = line.begin(&ask, ask.body.len()).await.unwrap();
        line.complete(&mut begun).await.unwrap();
        let arrived = || (house.sales_received() > 0).then_some(());
        until(SOON, arrived).await.expect("the sale never reached the provider");
        house.world.paymega.faults().clear();

        let asked = Instant::now();
        if by_signal {
            house.terminate();
            house.told_soon("draining", 1).await;
        } else {
            assert_eq!(house.operate(Method::POST, "/drain").await.status, 202);
        }
        let answer = house.operate(Method::GET, "/readyz").await;
        assert_eq!((answer.status, answer.text().as_str()), (503, "draining\n"));
        assert_eq!(house.operate(Method::GET, "/healthz").await.status, 200);
        // Connections that are there get one more answer, new ones theirs.
        let [first, second] = &mut kept[..] else { panic!() };
        let answer = first.send(&house.read("paymega", &slow.invoice)).await;
        assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
        assert_eq!(second.send(&house.read("paymega", &slow.invoice)).await.status, 200);
        for line in &mut kept {
            assert!(line.is_ended_by_peer().await, "it was not asked to go");
        }
        for version in Version::BOTH {
            let mut line = house.private(version).await;
            let answer = line.send(&house.read("paymega", &slow.invoice)).await;
            assert_eq!(answer.status, 200, "nobody may be turned away yet");
        }
        house.world.paymega.faults().release();
        let answer = line.answer(begun).await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
        house.assert_charged_once(&slow);
        house.stopped().await;
        assert!(asked.elapsed() >= Duration::from_secs(4), "{:?}", asked.elapsed());
        assert_eq!(house.events("draining").len(), 1);
    }
}

#[tokio::test]
async fn whoever_asks_twice_does_not_wait() {
    let house = draining_for(300).await;
    house.terminate();
    house.told_soon("draining", 1).await;
    house.terminate();
    house.stopped().await;
}

#[tokio::test]
async fn sigquit_stops_it_as_sigterm_does() {
    let house = draining_for(300).await;
    house.signal(Signal::SIGQUIT);
    house.told_soon("draining", 1).await;
    let answer = house.operate(Method::GET, "/readyz").await;
    assert_eq!((answer.status, answer.text().as_str()), (503, "draining\n"));
    house.signal(Signal::SIGQUIT);
    house.stopped().await;
}

/// A hook before the stop, and then the signal of the stop itself.
#[tokio::test]
async fn the_signal_that_follows_a_call_to_drain_shortens_nothing_and_the_next_one_does() {
    let house = draining_for(300).await;
    assert_eq!(house.operate(Method::POST, "/drain").await.status, 202);
    house.told_soon("draining", 1).await;
    house.terminate();
    sleep(Duration::from_millis(500)).await;
    let private = house.world.addresses.private.trim_start_matches("https://");
    TcpStream::connect(private).await.expect("it listens no more while others still send");
    assert!(house.events("stopped").is_empty());
    house.terminate();
    house.stopped().await;
}

/// Begins a sale that the provider has and does not answer, and goes away.
pub(super) async fn leave_a_sale(house: &House, ask: &Ask) {
    let before = house.sales_received();
    house.world.paymega.faults().set("sale", Fault::Held);
    let mut line = house.private(Version::Http2).await;
    let mut begun = line.begin(ask, ask.body.len()).await.unwrap();
    line.complete(&mut begun).await.unwrap();
    let arrived = || (house.sales_received() > before).then_some(());
    until(SOON, arrived).await.expect("the sale never reached the provider");
    house.world.paymega.faults().clear();
}

#[tokio::test]
async fn a_stop_waits_for_a_sale_whose_client_has_gone() {
    let house = House::with(patient()).await;
    let ready = house.ready("paymega").await;
    leave_a_sale(&house, &ready.ask()).await;
    house.terminate();
    let private = house.world.addresses.private.trim_start_matches("https://").to_owned();
    while TcpStream::connect(&private).await.is_ok() {
        sleep(Duration::from_millis(5)).await;
    }
    // Nobody listens and nobody is connected any more: a process that does not wait is gone now.
    sleep(Duration::from_millis(300)).await;
    house.world.paymega.faults().release();
    house.stopped().await;
    house.assert_charged_once(&ready);
    let outcomes = house.audited("outcome");
    assert_eq!(outcomes.len(), 1, "the record does not say what became of the card");
    assert_eq!(outcomes[0]["forwarded"], "yes");
    let answered = house.events("answered");
    let sale = answered.iter().find(|event| event["call"] == "sale").expect("cut off");
    assert_eq!((&sale["status"], &sale["upstream_status"]), (&200.into(), &200.into()));
}
