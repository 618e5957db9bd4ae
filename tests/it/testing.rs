//! Card testing as scripts do it, against the rates that hold when the configuration is silent:
//! each way is stopped at its figure, exactly, while shoppers beside it pay and see no refusal.

use std::cell::Cell;
use std::time::{Duration, Instant};

use portcullis_sandbox::client::Answer;
use portcullis_sandbox::visitor::TypedCard;
use portcullis_sandbox::world::Options;
use portcullis_sandbox::world::accounts::App;

use super::house::{House, assert_problem, card};
use super::limits::{
    SHOPPER, TESTER, assert_limited, at_default_rates, behind_a_proxy, from, house, numbered,
    unknown_sale,
};
use super::line::Version;

/// A limit as its refusals describe it, and what it allows at once.
struct Rule {
    name: &'static str,
    code: &'static str,
    count: u32,
    seconds: u32,
}

const ADDRESS: Rule =
    Rule { name: "address_cards", code: "too_many_cards", count: 30, seconds: 60 };
const CARD: Rule = Rule { name: "card", code: "card_too_often", count: 10, seconds: 3600 };
const SESSION: Rule =
    Rule { name: "session_cards", code: "too_many_cards", count: 20, seconds: 60 };
const TOKENS: Rule =
    Rule { name: "unknown_tokens", code: "too_many_unknown_tokens", count: 20, seconds: 900 };

/// One script's attempts: what came through, and when it must have been refused.
struct Script<'r> {
    rule: &'r Rule,
    begun: Instant,
    passed: u32,
    refused: u32,
    wait: u64,
}

impl<'r> Script<'r> {
    fn of(rule: &'r Rule) -> Self {
        Self { rule, begun: Instant::now(), passed: 0, refused: 0, wait: 0 }
    }

    fn note(&mut self, answer: &Answer, passed: bool) {
        if passed {
            self.passed += 1;
            return;
        }
        let Rule { name, code, count, seconds } = *self.rule;
        self.wait = assert_limited(answer, code, (name, count, seconds));
        self.refused += 1;
    }

    /// Exactly what is allowed at once came through, and what was restored meanwhile.
    fn assert_stopped(&self) {
        let step = Duration::from_secs(self.rule.seconds.into()) / self.rule.count;
        let restored = u32::try_from(self.begun.elapsed().as_nanos() / step.as_nanos()).unwrap();
        let allowed = self.rule.count..=self.rule.count + restored;
        let Self { passed, refused, .. } = self;
        println!("{}: {passed} passed, {refused} refused", self.rule.name);
        assert!(allowed.contains(passed), "{passed} of {allowed:?}");
        assert!(*refused > 0);
    }
}

/// Shoppers, each with an address, a session and a card of their own, until all is over.
async fn shoppers(house: &House, over: &Cell<bool>) -> usize {
    let mut paid = 0;
    while !over.get() || paid < 5 {
        let address = format!("198.51.100.{}", paid + 10);
        house.pays_from(&address, App::Shop, numbered("555555", paid)).await;
        paid += 1;
    }
    paid
}

async fn at_defaults() -> House {
    let adjust = Box::new(|config: String| at_default_rates(&behind_a_proxy(&config)));
    House::with(Options { adjust: Some(adjust), ..Options::default() }).await
}

/// The scripts' own card numbers: no shopper has one of this issuer.
fn tested(index: u32) -> TypedCard {
    numbered("400000", index.try_into().unwrap())
}

/// One address tries many cards, in a new session every few cards.
async fn one_address(house: &House) -> u64 {
    let mut script = Script::of(&ADDRESS);
    let mut session = String::new();
    for index in 0..60 {
        if index % 10 == 0 {
            session = house.new_session(App::Shop).await;
        }
        let ask = from(TESTER, house.capture(&session, &tested(index)));
        let answer = house.ask(Version::BOTH[index as usize % 2], &ask).await;
        script.note(&answer, answer.status == 201);
    }
    script.assert_stopped();
    script.wait
}

/// Many addresses try one card, in sessions of their own.
async fn one_card(house: &House) {
    let mut script = Script::of(&CARD);
    for index in 0..25 {
        let session = house.new_session(App::Shop).await;
        let ask = house.capture(&session, &tested(9_000));
        let answer = house.ask(Version::Http1, &from(&format!("192.0.2.{index}"), ask)).await;
        script.note(&answer, answer.status == 201);
    }
    script.assert_stopped();
}

/// Many addresses try many cards in one session.
async fn one_session(house: &House) {
    let mut script = Script::of(&SESSION);
    let session = house.new_session(App::Shop).await;
    for index in 0..40 {
        let ask = house.capture(&session, &tested(10_000 + index));
        let answer = house.ask(Version::Http1, &from(&format!("192.0.2.{index}"), ask)).await;
        script.note(&answer, answer.status == 201);
    }
    script.assert_stopped();
}

/// An application guesses tokens.
async fn guessed_tokens(house: &House) {
    let mut script = Script::of(&TOKENS);
    let ready = house.ready_as("paymega", App::Stall).await;
    let mut line = house.private(Version::Http1).await;
    for _ in 0..40 {
        let answer = line.send(&unknown_sale(&ready)).await;
        if answer.status == 422 {
            assert_problem(&answer, 422, "token_unknown", "no");
        }
        script.note(&answer, answer.status == 422);
    }
    script.assert_stopped();
}

#[tokio::test]
async fn scripts_that_test_cards_are_stopped_at_their_figures_and_shoppers_notice_nothing() {
    let house = at_defaults().await;
    let over = Cell::new(false);
    let attacks = async {
        let wait = one_address(&house).await;
        let told = Instant::now();
        one_card(&house).await;
        one_session(&house).await;
        guessed_tokens(&house).await;
        over.set(true);
        told + Duration::from_secs(wait)
    };
    let (free, paid) = tokio::join!(attacks, shoppers(&house, &over));
    println!("{paid} shoppers paid meanwhile");
    for limit in ["address", "bin", "app_route", "callbacks", "unknown_ids"] {
        assert_eq!(house.limited(limit).await, 0, "{limit}");
    }
    assert_eq!(house.sales_received(), paid, "a script charged a card");
    // Somebody honest behind the same address, once the time is over that was told.
    tokio::time::sleep_until(free.into()).await;
    house.pays_from(TESTER, App::Shop, card()).await;
}

#[tokio::test]
async fn whatever_was_tested_is_served_again_when_the_time_is_over() {
    let rates = ["address_cards", "session_cards", "card", "unknown_tokens"];
    let lines = rates.map(|limit| format!("{limit} = \"4/2s\""));
    let house = house(&lines.each_ref().map(String::as_str)).await;
    let session = house.new_session(App::Shop).await;
    let stall = house.ready_as("paymega", App::Stall).await;
    let ask = from(SHOPPER, house.capture(&session, &card()));
    let mut line = house.private(Version::Http1).await;
    let (mut waits, mut attempts) = ([0; 2], 0);
    while waits.contains(&0) {
        attempts += 1;
        assert!(attempts < 100, "nothing was refused");
        for (at, answer) in
            [house.ask(Version::Http1, &ask).await, line.send(&unknown_sale(&stall)).await]
                .iter()
                .enumerate()
        {
            if answer.status == 429 {
                waits[at] = answer.header("retry-after").unwrap().parse().unwrap();
            }
        }
    }
    tokio::time::sleep(Duration::from_secs(*waits.iter().max().unwrap())).await;
    assert_eq!(house.ask(Version::Http1, &ask).await.status, 201);
    house.assert_pays(&mut line, &stall).await;
}
