//! Limits of the real process: each refuses at its configured figure and says when to come back,
//! what is refused uses up nothing, and whoever stands beside is served.

use std::time::Duration;

use http::Method;
use portcullis::card::{CvvToken, Mode, RelayId, SessionId, Token};
use portcullis_sandbox::client::{Answer, Call};
use portcullis_sandbox::corefy::cards::{CARDS, PLAIN};
use portcullis_sandbox::corefy::faults::Fault;
use portcullis_sandbox::record::until;
use portcullis_sandbox::visitor::{TypedCard, tokens_of};
use portcullis_sandbox::world::Options;
use portcullis_sandbox::world::accounts::App;

use super::house::{HOLDER, House, Ready, assert_problem, card, invoice_of, session_of};
use super::line::{Ask, Begun, Line, Version};

/// Where the honest shopper is, and where somebody else is.
pub(crate) const SHOPPER: &str = "198.51.100.7";
pub(crate) const TESTER: &str = "203.0.113.66";

/// A house with these lines of `[rates]` or `[limits]` instead of the sandbox's, behind one proxy.
pub(crate) async fn house(lines: &[&str]) -> House {
    let lines: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
    let adjust = Box::new(move |config: String| {
        let config = behind_a_proxy(&config);
        lines.iter().fold(config, |config, line| {
            if line.starts_with("exchanges") {
                return config.replace("[rates]\n", &format!("[limits]\n{line}\n\n[rates]\n"));
            }
            let key = format!("\n{} = ", line.split(' ').next().unwrap());
            let table = config.find("[rates]").unwrap();
            let start = table + config[table..].find(&key).unwrap() + 1;
            let end = start + config[start..].find('\n').unwrap();
            format!("{}{line}{}", &config[..start], &config[end..])
        })
    });
    House::with(Options { adjust: Some(adjust), ..Options::default() }).await
}

/// With one proxy before us, whose word about the client's address is taken.
pub(crate) fn behind_a_proxy(config: &str) -> String {
    let place = "certificate = \"tls/public.pem\"";
    assert!(config.contains(place));
    config.replace(place, &format!("trusted_hops = 1\n{place}"))
}

/// With the rates that hold when the configuration is silent.
pub(crate) fn at_default_rates(config: &str) -> String {
    let (before, rates) = config.split_once("[rates]\n").unwrap();
    let (_, after) = rates.split_once("\n\n").unwrap();
    format!("{before}{after}")
}

pub(crate) fn from(address: &str, ask: Ask) -> Ask {
    ask.header("x-forwarded-for", address)
}

/// A number of these first digits that has a right check digit.
pub(crate) fn numbered(bin: &str, index: usize) -> TypedCard {
    let body = format!("{bin}{index:0width$}", width = 15 - bin.len());
    let sum: u32 = body
        .bytes()
        .rev()
        .enumerate()
        .map(|(at, digit)| {
            let digit = u32::from(digit - b'0') * if at % 2 == 0 { 2 } else { 1 };
            digit / 10 + digit % 10
        })
        .sum();
    let number = format!("{body}{}", (10 - sum % 10) % 10);
    TypedCard { holder: HOLDER.to_owned(), ..TypedCard::number(&number) }
}

/// A refusal by a limit, by every rule of the interface; returns the seconds to wait.
pub(crate) fn assert_limited(
    answer: &Answer,
    code: &str,
    (limit, count, seconds): (&str, u32, u32),
) -> u64 {
    let problem = assert_problem(answer, 429, code, "no");
    assert_eq!((&problem["origin"], &problem["retry"]), (&"policy".into(), &"after".into()));
    let wait = answer.header("retry-after").unwrap().parse::<u64>().unwrap();
    assert!((1..=u64::from(seconds.div_ceil(count))).contains(&wait), "{wait} s");
    let now = format!("\"{limit}\";r=0;t={wait}");
    assert_eq!(answer.header("ratelimit"), Some(now.as_str()));
    let policy = format!("\"{limit}\";q={count};w={seconds}");
    assert_eq!(answer.header("ratelimit-policy"), Some(policy.as_str()));
    wait
}

impl House {
    pub(crate) async fn metric(&self, name: &str) -> u64 {
        let call = Call::get(format!("{}/metrics", self.world.addresses.admin));
        let text = self.world.client.send(call).await.unwrap().text();
        let found = text.lines().find_map(|line| line.strip_prefix(name));
        found.map_or(0, |value| value.trim().parse().unwrap())
    }

    pub(crate) async fn limited(&self, limit: &str) -> u64 {
        self.metric(&format!("portcullis_limited_total{{limit=\"{limit}\"}}")).await
    }

    pub(crate) async fn records(&self) -> u64 {
        self.metric("portcullis_vault_records").await
    }

    pub(crate) async fn ask(&self, version: Version, ask: &Ask) -> Answer {
        self.public(version).await.send(ask).await
    }

    pub(crate) async fn new_session(&self, app: App) -> String {
        let mut private = self.private(Version::Http1).await;
        session_of(&private.send(&self.session(app)).await)
    }

    /// Somebody opens a session, hands in a card from there and pays.
    pub(crate) async fn pays_from(&self, address: &str, app: App, card: TypedCard) {
        let session = self.new_session(app).await;
        let answer = self.ask(Version::Http1, &from(address, self.capture(&session, &card))).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        let tokens = tokens_of(&answer).unwrap();
        let mut private = self.private(Version::Http1).await;
        let (invoice, handle) = invoice_of(&private.send(&self.invoice("paymega", app)).await);
        let ready = Ready { account: "paymega", invoice, handle, tokens, card };
        self.assert_pays(&mut private, &ready).await;
    }
}

pub(crate) fn unknown_sale(ready: &Ready) -> Ask {
    let token = Token::random(Mode::Test).reveal(str::to_owned);
    let cvv = CvvToken::random(Mode::Test).reveal(str::to_owned);
    let body = ready.body().replace(&ready.tokens.token, &token);
    ready.ask().with_body(body.replace(&ready.tokens.cvv_token, &cvv))
}

fn preflight(house: &House) -> Ask {
    Ask::new(Method::OPTIONS, "/v1/tokens").header("origin", house.world.shop.url())
}

#[tokio::test]
async fn one_address_with_many_cards_is_stopped_and_the_shopper_beside_it_pays() {
    for version in Version::BOTH {
        let house = house(&["address_cards = \"5/h\""]).await;
        let session = house.new_session(App::Shop).await;
        let tries = |index| from(TESTER, house.capture(&session, &numbered("400000", index)));
        for index in 0..5 {
            let answer = house.ask(version, &tries(index)).await;
            assert_eq!(answer.status, 201, "{index}: {}", answer.text());
        }
        let records = house.records().await;
        for index in 5..25 {
            let answer = house.ask(version, &tries(index)).await;
            assert_limited(&answer, "too_many_cards", ("address_cards", 5, 3600));
            // The page may say so to its visitor.
            let origin = answer.header("access-control-allow-origin");
            assert_eq!(origin, Some(house.world.shop.url()));
            let exposed = answer.header("access-control-expose-headers").unwrap();
            assert!(exposed.contains("retry-after"), "{exposed}");
        }
        assert_eq!(house.records().await, records, "a refused card was kept");
        assert_eq!(house.limited("address_cards").await, 20);
        house.pays_from(SHOPPER, App::Shop, card()).await;
        // The session is as it was: 100 cards less the five.
        let answer = house.ask(version, &from(SHOPPER, house.capture(&session, &card()))).await;
        assert_eq!(answer.status, 201);
    }
}

#[tokio::test]
async fn many_addresses_with_one_card_are_stopped_and_other_cards_and_tenants_are_not() {
    let house = house(&["card = \"4/h\""]).await;
    let few = house.session(App::Shop);
    let body = String::from_utf8_lossy(&few.body).replace("100", "5");
    let mut private = house.private(Version::Http1).await;
    let session = session_of(&private.send(&few.with_body(body)).await);
    let tested = numbered("400000", 1);
    let mut records = 0;
    for index in 0..30 {
        let ask = from(&format!("203.0.113.{index}"), house.capture(&session, &tested));
        let answer = house.ask(Version::Http1, &ask).await;
        match index {
            0..4 => assert_eq!(answer.status, 201, "{index}: {}", answer.text()),
            _ => drop(assert_limited(&answer, "card_too_often", ("card", 4, 3600))),
        }
        if index == 3 {
            records = house.records().await;
        }
    }
    assert_eq!(house.records().await, records, "a refused card was kept");
    // Four of the session's five cards were taken; what was refused took none.
    let fifth = from(SHOPPER, house.capture(&session, &numbered("400000", 2)));
    assert_eq!(house.ask(Version::Http1, &fifth).await.status, 201);
    let answer = house.ask(Version::Http1, &fifth).await;
    assert_problem(&answer, 401, "session_unknown", "no");
    assert_eq!(house.limited("card").await, 26);
    house.pays_from(SHOPPER, App::Shop, card()).await;
    let stall = house.new_session(App::Stall).await;
    let answer = house.ask(Version::Http1, &from(SHOPPER, house.capture(&stall, &tested))).await;
    assert_eq!(answer.status, 201, "another application's card: {}", answer.text());
}

#[tokio::test]
async fn new_security_codes_for_one_kept_card_are_limited() {
    let house = house(&["card = \"4/h\""]).await;
    let session = house.new_session(App::Shop).await;
    let mut line = house.public(Version::Http1).await;
    let capture = house.capture(&session, &card());
    let tokens = tokens_of(&line.send(&capture).await).unwrap();
    let guess = |cvv: u32| {
        let body = format!(r#"{{"card":{{"token":"{}","cvv":"{cvv:03}"}}}}"#, tokens.token);
        capture.clone().with_body(body)
    };
    for cvv in 100..104 {
        assert_eq!(line.send(&guess(cvv)).await.status, 201);
    }
    for cvv in 104..110 {
        assert_limited(&line.send(&guess(cvv)).await, "card_too_often", ("card", 4, 3600));
    }
}

#[tokio::test]
async fn guessed_numbers_of_one_issuer_are_stopped_whatever_else_varies() {
    let house = house(&["bin = \"6/h\""]).await;
    let mut status = Vec::new();
    for index in 0..20 {
        let session = house.new_session(App::Shop).await;
        let card = numbered("400000", index);
        let ask = from(&format!("203.0.113.{index}"), house.capture(&session, &card));
        let answer = house.ask(Version::Http1, &ask).await;
        status.push(answer.status);
        if index >= 6 {
            assert_limited(&answer, "too_many_cards", ("bin", 6, 3600));
        }
    }
    assert_eq!(status.iter().filter(|status| **status == 201).count(), 6);
    house.pays_from(SHOPPER, App::Shop, card()).await;
    house.pays_from(SHOPPER, App::Stall, numbered("400000", 20)).await;
}

#[tokio::test]
async fn one_session_takes_so_many_cards_and_another_one_is_not_disturbed() {
    let house = house(&["session_cards = \"3/h\""]).await;
    let session = house.new_session(App::Shop).await;
    let mut line = house.public(Version::Http1).await;
    for _ in 0..3 {
        assert_eq!(line.send(&house.capture(&session, &card())).await.status, 201);
    }
    let answer = line.send(&house.capture(&session, &card())).await;
    assert_limited(&answer, "too_many_cards", ("session_cards", 3, 3600));
    house.pays_from(SHOPPER, App::Shop, card()).await;
}

#[tokio::test]
async fn an_address_is_the_one_that_the_trusted_proxy_names() {
    for version in Version::BOTH {
        let house = house(&["address = \"5/h\""]).await;
        let mut line = house.public(version).await;
        for _ in 0..5 {
            assert_eq!(line.send(&from(TESTER, preflight(&house))).await.status, 204);
        }
        let answer = line.send(&from(TESTER, preflight(&house))).await;
        assert_limited(&answer, "too_many_requests", ("address", 5, 3600));
        // What stands before the proxy's own word is anybody's.
        let forged = from(&format!("192.0.2.1, {TESTER}"), preflight(&house));
        assert_limited(&line.send(&forged).await, "too_many_requests", ("address", 5, 3600));
        assert_eq!(line.send(&from(SHOPPER, preflight(&house))).await.status, 204);
        // An IPv6 customer has a whole /64.
        for last in 1..=5 {
            let ask = from(&format!("2001:db8:0:1::{last}"), preflight(&house));
            assert_eq!(line.send(&ask).await.status, 204);
        }
        let answer = line.send(&from("2001:db8:0:1:ffff::1", preflight(&house))).await;
        assert_limited(&answer, "too_many_requests", ("address", 5, 3600));
        let answer = line.send(&from("2001:db8:0:2::1", preflight(&house))).await;
        assert_eq!(answer.status, 204);
    }
}

#[tokio::test]
async fn without_trusted_proxies_nobodys_word_about_an_address_is_taken() {
    let adjust =
        Box::new(|config: String| config.replace("address = \"1000000/s\"", "address = \"5/h\""));
    let house = House::with(Options { adjust: Some(adjust), ..Options::default() }).await;
    let mut line = house.public(Version::Http1).await;
    for index in 0..10 {
        let answer = line.send(&from(&format!("203.0.113.{index}"), preflight(&house))).await;
        assert_eq!(answer.status, if index < 5 { 204 } else { 429 }, "{index}");
    }
}

#[tokio::test]
async fn a_body_over_the_rate_is_not_read() {
    let house = house(&["address = \"1/h\""]).await;
    assert_eq!(house.public(Version::Http1).await.send(&preflight(&house)).await.status, 204);
    let mut line = house.public(Version::Http1).await;
    let ask = Ask::json("/v1/tokens", "x".repeat(16_000)).header("authorization", "Bearer none");
    let begun = line.begin(&ask, 0).await.unwrap();
    let answer = line.answer(begun).await.unwrap();
    assert_limited(&answer, "too_many_requests", ("address", 1, 3600));
}

#[tokio::test]
async fn callbacks_have_a_rate_of_their_own() {
    let house = house(&["callbacks = \"3/h\"", "address = \"4/h\""]).await;
    let mut line = house.public(Version::Http1).await;
    let callback = || Ask::json("/callbacks/paymega", "{}");
    for _ in 0..3 {
        assert_problem(&line.send(&callback()).await, 401, "signature_refused", "no");
    }
    assert_limited(&line.send(&callback()).await, "too_many_callbacks", ("callbacks", 3, 3600));
    let mut line = house.public(Version::Http1).await;
    for _ in 0..4 {
        assert_eq!(line.send(&preflight(&house)).await.status, 204);
    }
    let answer = line.send(&preflight(&house)).await;
    assert_limited(&answer, "too_many_requests", ("address", 4, 3600));
}

#[tokio::test]
async fn an_application_is_limited_on_one_route_and_neither_elsewhere_nor_another_one() {
    for version in Version::BOTH {
        let house = house(&["app_route = \"4/h\""]).await;
        let mut line = house.private(version).await;
        let mut invoice = String::new();
        for _ in 0..4 {
            invoice = invoice_of(&line.send(&house.invoice("paymega", App::Shop)).await).0;
        }
        let before = house.received();
        for _ in 0..5 {
            let answer = line.send(&house.invoice("paymega", App::Shop)).await;
            assert_limited(&answer, "too_many_calls", ("app_route", 4, 3600));
        }
        assert_eq!(house.received(), before, "a refused call reached the provider");
        let stall = line.send(&house.invoice("paymega", App::Stall)).await;
        assert_eq!(stall.status, 201, "another application");
        let other = line.send(&house.invoice("milkypay", App::Shop)).await;
        assert_eq!(other.status, 201, "another account");
        assert_eq!(line.send(&house.read("paymega", &invoice)).await.status, 200, "another route");
        for _ in 0..4 {
            assert_eq!(line.send(&house.session(App::Shop)).await.status, 201);
        }
        let answer = line.send(&house.session(App::Shop)).await;
        assert_limited(&answer, "too_many_calls", ("app_route", 4, 3600));
        // Who is not known is not counted as anybody.
        let nobody = house.session(App::Shop).without("portcullis-key");
        assert_problem(&line.send(&nobody).await, 401, "caller_unknown", "no");
    }
}

#[tokio::test]
async fn a_sale_over_the_rate_uses_nothing_up_and_pays_when_it_comes_back() {
    let house = house(&["app_route = \"1/2s\""]).await;
    let ready = house.ready("paymega").await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let mut private = house.private(Version::Http1).await;
    let (invoice, handle) = invoice_of(&private.send(&house.invoice("paymega", App::Shop)).await);
    let mut public = house.public(Version::Http1).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let tokens = house.tokens(&mut private, &mut public, App::Shop).await;
    let second = Ready { invoice, handle, tokens, ..ready.clone() };
    house.assert_pays(&mut private, &ready).await;
    let answer = private.send(&second.ask()).await;
    let wait = assert_limited(&answer, "too_many_calls", ("app_route", 1, 2));
    assert!(house.sales_of(&second).is_empty());
    tokio::time::sleep(Duration::from_secs(wait)).await;
    house.assert_pays(&mut private, &second).await;
}

#[tokio::test]
async fn guessed_tokens_are_stopped_at_the_twentieth_and_nothing_else_is_used_up() {
    for version in Version::BOTH {
        let house = house(&["unknown_tokens = \"20/15min\""]).await;
        let ready = house.ready("paymega").await;
        let beside = house.ready_as("paymega", App::Stall).await;
        let mut line = house.private(version).await;
        for index in 0..20 {
            let answer = match index % 2 {
                0 => line.send(&unknown_sale(&ready)).await,
                _ => {
                    let token = Token::random(Mode::Test).reveal(str::to_owned);
                    let ask = Ask::get(&format!("/v1/tokens/{token}"));
                    line.send(&ask.header("portcullis-key", house.world.key(App::Shop))).await
                }
            };
            assert_problem(&answer, 422, "token_unknown", "no");
        }
        // Now the right tokens are not looked at either, and stay as they are.
        let limit = ("unknown_tokens", 20, 900);
        let records = house.records().await;
        let kept = format!("/v1/tokens/{}", ready.tokens.token);
        let own = |ask: Ask| ask.header("portcullis-key", house.world.key(App::Shop));
        let revoke = Ask { method: Method::DELETE, ..own(Ask::get(&kept)) };
        for ask in [unknown_sale(&ready), ready.ask(), own(Ask::get(&kept)), revoke] {
            let answer = line.send(&ask).await;
            assert_limited(&answer, "too_many_unknown_tokens", limit);
        }
        assert_eq!(house.records().await, records, "the CVV is gone");
        assert_eq!(house.sales_received(), 0);
        // Calls without tokens go on, and so does the other application.
        assert_eq!(line.send(&house.read("paymega", &ready.invoice)).await.status, 200);
        house.assert_pays(&mut line, &beside).await;
        assert_eq!(house.limited("unknown_tokens").await, 4);
    }
}

#[tokio::test]
async fn guessed_sealed_values_are_braked_like_tokens() {
    let house = house(&["unknown_tokens = \"2/15min\""]).await;
    let qostiq = house.world.piastrix("qostiq", App::Shop).unwrap();
    let guess = [("pay_token", "pyt_AAAA")];
    for order in ["guess-1", "guess-2"] {
        let answer = qostiq.invoice(order, "17.10", &guess).await.unwrap();
        assert_problem(&answer, 422, "token_unknown", "no");
    }
    let answer = qostiq.invoice("guess-3", "17.10", &guess).await.unwrap();
    assert_limited(&answer, "too_many_unknown_tokens", ("unknown_tokens", 2, 900));
    assert!(house.world.qostiq.received().all().is_empty());
}

#[tokio::test]
async fn guessed_sessions_and_payment_steps_are_stopped_at_the_twentieth() {
    let house = house(&["unknown_ids = \"20/15min\""]).await;
    let session = house.new_session(App::Shop).await;
    let mut line = house.public(Version::Http1).await;
    for index in 0..20 {
        let status = if index % 2 == 0 {
            let guess = SessionId::random().reveal(str::to_owned);
            line.send(&from(TESTER, house.capture(&guess, &card()))).await.status
        } else {
            let guess = RelayId::random().reveal(str::to_owned);
            line.send(&from(TESTER, Ask::get(&format!("/3ds/{guess}/start")))).await.status
        };
        assert_eq!(status, if index % 2 == 0 { 401 } else { 404 }, "{index}");
    }
    let limit = ("unknown_ids", 20, 900);
    let records = house.records().await;
    let guess = RelayId::random().reveal(str::to_owned);
    let form = SessionId::random().reveal(|session| format!("/v1/form/{session}"));
    for path in
        [form, format!("/3ds/{guess}"), format!("/3ds/{guess}/start"), format!("/payform/{guess}")]
    {
        let answer = line.send(&from(TESTER, Ask::get(&path))).await;
        assert_limited(&answer, "too_many_unknown_tokens", limit);
    }
    let right = house.capture(&session, &card());
    let answer = line.send(&from(TESTER, right.clone())).await;
    assert_limited(&answer, "too_many_unknown_tokens", limit);
    assert_eq!(house.records().await, records);
    let answer = house.ask(Version::Http1, &from(SHOPPER, right)).await;
    assert_eq!(answer.status, 201, "the session is as it was: {}", answer.text());
    house.pays_from(SHOPPER, App::Shop, card()).await;
}

async fn send_slowly(house: &House, ready: &Ready) -> (Line, Begun) {
    let mut line = house.private(Version::Http1).await;
    let ask = ready.ask();
    let mut begun = line.begin(&ask, ask.body.len()).await.unwrap();
    line.complete(&mut begun).await.unwrap();
    (line, begun)
}

#[tokio::test]
async fn a_slow_provider_takes_its_own_places_only_and_nothing_is_used_up() {
    let house = house(&["exchanges_per_host = 2"]).await;
    let mut ready = Vec::new();
    for _ in 0..3 {
        ready.push(house.ready("paymega").await);
    }
    let elsewhere = house.ready("milkypay").await;
    house.world.paymega.faults().set("sale", Fault::Held);
    let first = send_slowly(&house, &ready[0]).await;
    let second = send_slowly(&house, &ready[1]).await;
    let arrived = || (house.sales_received() == 2).then_some(());
    until(Duration::from_secs(5), arrived).await.unwrap();
    let mut line = house.private(Version::Http1).await;
    let answer = line.send(&ready[2].ask()).await;
    let problem = assert_problem(&answer, 503, "upstream_busy", "no");
    assert_eq!((&problem["origin"], &problem["retry"]), (&"proxy".into(), &"after".into()));
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert_eq!(house.limited("exchanges_per_host").await, 1);
    house.assert_pays(&mut line, &elsewhere).await;
    house.world.paymega.faults().clear();
    house.world.paymega.faults().release();
    for (mut line, begun) in [first, second] {
        assert_eq!(line.answer(begun).await.unwrap().status, 200);
    }
    house.assert_pays(&mut line, &ready[2]).await;
}

#[tokio::test]
async fn a_shop_that_changes_no_rate_is_served() {
    let adjust = Box::new(|config: String| at_default_rates(&config));
    let house = House::with(Options { adjust: Some(adjust), ..Options::default() }).await;
    assert_eq!(house.metric("portcullis_limit_keys_max").await, 1_000_000);
    for _ in 0..3 {
        for number in [PLAIN, CARDS[0].number] {
            let card = TypedCard { number: number.to_owned(), ..card() };
            house.pays_from(SHOPPER, App::Shop, card).await;
        }
    }
    for limit in portcullis::limit::Limit::ALL {
        assert_eq!(house.limited(limit.name()).await, 0, "{limit:?}");
    }
}
