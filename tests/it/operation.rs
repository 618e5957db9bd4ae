//! What operators see: mutual TLS, health, metrics, a stop that loses no sale, and a log in which
//! nothing can be found.

use std::process::Command;
use std::time::Duration;

use http::Method;
use portcullis_sandbox::ca::Ca;
use portcullis_sandbox::client::{Answer, Call};
use portcullis_sandbox::corefy::cards::{CARDS, PLAIN};
use portcullis_sandbox::corefy::faults::Fault;
use portcullis_sandbox::random;
use portcullis_sandbox::record::until;
use portcullis_sandbox::visitor::tokens_of;
use portcullis_sandbox::world::Options;
use portcullis_sandbox::world::accounts::App;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::house::{
    HOLDER, House, Ready, assert_problem, card, escaped, invoice_of, session_of, spaced,
};
use super::line::{Ask, Line, Tls, Version};

const SOON: Duration = Duration::from_secs(10);

/// Every caller of the private listener must show a certificate; two names are known.
async fn with_mutual_tls() -> House {
    let adjust = Box::new(|config: String| {
        let key = "key = \"tls/private.key\"";
        assert!(config.contains(key));
        config
            .replace(key, &format!("{key}\nclient_ca = \"tls/ca.pem\""))
            .replacen("client_names = []", "client_names = [\"shop.internal\"]", 1)
            .replacen("client_names = []", "client_names = [\"stall.internal\"]", 1)
    });
    House::with(Options { adjust: Some(adjust), ..Options::default() }).await
}

impl House {
    async fn line_with(&self, tls: &Tls, version: Version) -> std::io::Result<Line> {
        Line::open(&self.world.addresses.private, &tls.config(version)).await
    }

    async fn line_of(&self, name: &str, version: Version) -> Line {
        let identity = self.world.ca.client(name).unwrap();
        self.line_with(&self.tls().showing(identity), version).await.unwrap()
    }

    async fn admin(&self, path: &str) -> Answer {
        let call = Call::get(format!("{}{path}", self.world.addresses.admin));
        self.world.client.send(call).await.unwrap()
    }

    /// Every series of the metrics without its value, but for those that come by themselves: when a
    /// name was looked up, when keys were counted.
    async fn series(&self) -> Vec<String> {
        let text = self.admin("/metrics").await.text();
        let by_itself = ["#", "portcullis_upstream_up", "portcullis_limit_keys"];
        let lines =
            text.lines().filter(|line| !by_itself.iter().any(|name| line.starts_with(name)));
        lines.map(|line| line.rsplit_once(' ').unwrap().0.to_owned()).collect()
    }
}

/// TLS 1.3 lets a client finish before the server has looked at its certificate: the refusal comes
/// with the connection or with the first answer.
async fn is_let_in(house: &House, tls: &Tls, version: Version, ask: &Ask) -> bool {
    match house.line_with(tls, version).await {
        Ok(mut line) => line.try_send(ask).await.is_ok(),
        Err(_) => false,
    }
}

#[tokio::test]
async fn with_mutual_tls_nobody_without_a_certificate_is_heard() {
    let house = with_mutual_tls().await;
    let stranger = Ca::new().unwrap().client("shop.internal").unwrap();
    let server = house.world.ca.localhost("shop.internal").unwrap();
    let ask = house.invoice("paymega", App::Shop);
    for version in Version::BOTH {
        for only in [&rustls::version::TLS12, &rustls::version::TLS13] {
            let tls = || house.tls().only(only);
            assert!(!is_let_in(&house, &tls(), version, &ask).await, "none");
            let foreign = tls().showing(stranger.clone());
            assert!(!is_let_in(&house, &foreign, version, &ask).await, "a foreign authority's");
            let wrong = tls().showing(server.clone());
            assert!(!is_let_in(&house, &wrong, version, &ask).await, "a server's");
            assert_eq!(house.received(), 0);
            let right = tls().showing(house.world.ca.client("shop.internal").unwrap());
            assert!(is_let_in(&house, &right, version, &ask).await);
            assert_eq!(house.received(), 1);
            house.world.paymega.received().clear();
        }
    }
}

#[tokio::test]
async fn with_mutual_tls_an_application_is_known_by_its_name() {
    let house = with_mutual_tls().await;
    for version in Version::BOTH {
        let mut shop = house.line_of("shop.internal", version).await;
        let mut stall = house.line_of("stall.internal", version).await;
        let mut public = house.public(Version::Http1).await;
        let without_key = house.session(App::Shop).without("portcullis-key");
        let session = session_of(&shop.send(&without_key).await);
        let tokens = tokens_of(&public.send(&house.capture(&session, &card())).await).unwrap();
        // Invoices are made by name alone, too.
        let invoice = house.invoice("paymega", App::Shop).without("authorization");
        let (invoice, handle) = invoice_of(&shop.send(&invoice).await);
        let ready = Ready { account: "paymega", invoice, handle, tokens, card: card() };

        let own = house.invoice("paymega", App::Stall).without("authorization");
        let (invoice, handle) = invoice_of(&stall.send(&own).await);
        let stolen = Ready { invoice, handle, ..ready.clone() };
        let before = house.sales_received();
        let answer = stall.send(&stolen.ask()).await;
        assert_problem(&answer, 422, "token_unknown", "no");
        for ask in [ready.ask(), house.session(App::Shop), house.read("paymega", &ready.invoice)] {
            let answer = stall.send(&ask).await;
            assert_problem(&answer, 401, "caller_unknown", "no");
            // Over HTTP/2 a refused body ends its connection.
            stall = house.line_of("stall.internal", version).await;
        }
        let not_granted = Ask::get("/milkypay-relay/api/payment-invoices/x");
        assert_problem(&stall.send(&not_granted).await, 403, "account_not_granted", "no");
        let mut nobody = house.line_of("nobody.internal", version).await;
        assert_problem(&nobody.send(&without_key).await, 401, "caller_unknown", "no");
        assert_eq!(house.sales_received(), before);
        house.assert_pays(&mut shop, &ready).await;
    }
}

#[tokio::test]
async fn the_admin_listener_tells_health_and_counts() {
    let house = House::open().await;
    for path in ["/healthz", "/readyz"] {
        let answer = house.admin(path).await;
        assert_eq!((answer.status, answer.text().as_str()), (200, "ok\n"), "{path}");
    }
    assert_eq!(house.admin("/canary").await.status, 404);
    let answer = house.admin(&format!("/v1/tokens/{PLAIN}")).await;
    assert_eq!((answer.status, answer.body.len()), (404, 0));
    let post = Call::post_json(format!("{}/metrics", house.world.addresses.admin), "");
    assert_eq!(house.world.client.send(post).await.unwrap().status, 405);

    let ready = house.ready("paymega").await;
    house.assert_pays(&mut house.private(Version::Http1).await, &ready).await;
    not_tls(&house).await;
    // The failed handshake is counted when the server has seen it end.
    let ended =
        "portcullis_connections_ended_total{listener=\"public\",reason=\"handshake_failed\"} 1";
    let mut text = house.admin("/metrics").await.text();
    for _ in 0..500 {
        if text.lines().any(|seen| seen == ended) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
        text = house.admin("/metrics").await.text();
    }
    for line in [
        "portcullis_answers_total{call=\"sale\",class=\"2xx\",code=\"ok\",listener=\"private\"} 1",
        "portcullis_answers_total{call=\"capture\",class=\"2xx\",code=\"ok\",listener=\"public\"} 1",
        "portcullis_seconds_count{call=\"sale\",part=\"proxy\"} 1",
        "portcullis_seconds_count{call=\"sale\",part=\"upstream\"} 1",
        ended,
    ] {
        assert!(text.lines().any(|seen| seen == line), "{line}\n{text}");
    }
    assert!(text.contains("\nportcullis_vault_records "), "{text}");
    for room in [
        "cards",
        "states",
        "states_bytes",
        "marks",
        "idempotency",
        "idempotency_bytes",
        "idempotency_per_app",
        "idempotency_bytes_per_app",
    ] {
        let figure = |name: &str| -> u64 {
            let line = format!("portcullis_vault_{name}{{room=\"{room}\"}} ");
            let found = text.lines().find_map(|seen| seen.strip_prefix(&line));
            found.unwrap_or_else(|| panic!("{line}\n{text}")).parse().unwrap()
        };
        let (size, free) = (figure("room"), figure("free"));
        assert!(size > 0 && free <= size && free > size / 2, "{room}: {free} of {size}");
        // The card is still there, and what its payment left behind; no callback and no key came.
        let used = ["cards", "states", "states_bytes"].contains(&room);
        assert_eq!(free < size, used, "{room}: {free} of {size}");
    }
    assert_eq!(house.leak_in(text.as_bytes()), None, "in the metrics");
}

/// Plain text where TLS is expected; returns when Portcullis has hung up.
async fn not_tls(house: &House) {
    let authority = house.world.addresses.public.trim_start_matches("https://").to_owned();
    let mut stream = TcpStream::connect(authority).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let _ = stream.read_to_end(&mut Vec::new()).await;
}

fn random_call(at: usize) -> Ask {
    let methods = [Method::GET, Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS];
    let place = random::letters(12);
    let target = match at % 6 {
        0 => format!("/{place}"),
        1 => format!("/{place}/api/payment-invoices"),
        2 => format!("/paymega/{place}/payment-invoices/{place}"),
        3 => format!("/paymega/api/payment-invoices/{place}"),
        4 => format!("/v1/tokens/{place}?{place}={place}"),
        _ => format!("/3ds/{place}/start"),
    };
    Ask::new(methods[at % methods.len()].clone(), &target).header("user-agent", &place)
}

#[tokio::test]
async fn ten_thousand_random_paths_add_no_series_to_the_metrics() {
    let house = House::open().await;
    let mut lines = [house.private(Version::Http1).await, house.public(Version::Http1).await];
    // Every kind of call once, by both listeners.
    for at in 0..30 {
        for line in &mut lines {
            line.send(&random_call(at)).await;
        }
    }
    let before = house.series().await;
    for at in 0..10_000 {
        let answer = lines[at % 2].send(&random_call(at / 2)).await;
        assert!((200..500).contains(&answer.status), "{}", answer.status);
    }
    assert_eq!(house.series().await, before);
    assert!(before.len() < 200, "{}", before.len());
    assert_eq!(house.received(), 0);
}

#[tokio::test]
async fn a_stop_lets_a_running_sale_end_and_loses_nothing() {
    let mut house = House::open().await;
    for version in Version::BOTH {
        let mut other = house.move_to_another(&format!("{version:?}")).await;
        let ready = house.ready("paymega").await;
        let mut idle = house.private(version).await;
        assert_eq!(idle.send(&house.read("paymega", &ready.invoice)).await.status, 200);
        let mut line = house.private(version).await;
        let before = house.sales_received();
        house.world.paymega.faults().set("sale", Fault::Slow(Duration::from_millis(500)));
        let ask = ready.ask();
        let mut begun = line.begin(&ask, ask.body.len()).await.unwrap();
        line.complete(&mut begun).await.unwrap();
        let arrived = || (house.sales_received() > before).then_some(());
        until(SOON, arrived).await.expect("the sale never reached the provider");

        let pid = other.pid().unwrap().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        assert!(idle.is_ended_by_peer().await, "an idle connection is let go");
        let answer = line.answer(begun).await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
        house.assert_charged_once(&ready);
        let status = tokio::time::timeout(SOON, other.ended()).await.unwrap().unwrap();
        assert_eq!(status.code(), Some(0), "{status}");
        assert_eq!(house.sales_received(), before + 1);
        let log = String::from_utf8(other.read_log().unwrap()).unwrap();
        assert!(log.lines().last().unwrap().contains(r#""event":"stopped""#), "{log}");
        house.world.paymega.faults().clear();
    }
}

/// Sends secrets to every place where a careless log line might pick them up.
async fn spill(house: &House, version: Version) {
    let ready = house.ready("paymega").await;
    let bearer = house.world.paymega.invoice(&ready.invoice).unwrap().token;
    let real = house.world.account("paymega").unwrap().real.clone();
    let tokens = &ready.tokens;
    let percent = PLAIN.replace('5', "%35");
    let secrets = [PLAIN, &percent, &tokens.token, &tokens.cvv_token, &ready.handle, &real.key];
    for secret in secrets.into_iter().chain([bearer.as_str(), CARDS[1].number]) {
        for target in [
            format!("/{secret}"),
            format!("/paymega/api/payment-invoices/{secret}"),
            format!("/paymega/api/payment-invoices/x?filter[reference_id]={secret}"),
            format!("/{secret}/cardgate/payment/sale"),
            format!("/v1/tokens/{secret}"),
            format!("/3ds/{secret}/start"),
            format!("/callbacks/paymega/{secret}"),
        ] {
            let bare = Ask::get(&target)
                .header("user-agent", secret)
                .header("referer", &format!("https://{secret}.example/"))
                .header("x-debug", secret);
            let odd = bare.clone().header("authorization", &format!("Bearer {secret}"));
            let post = Ask::json(&target, format!("{{\"{secret}\":\"{secret}\",\"cvv\":\"739\""))
                .header("portcullis-key", secret);
            for ask in [bare, odd, post] {
                house.private(version).await.send(&ask).await;
                house.public(version).await.send(&ask).await;
            }
        }
    }
    for disguise in [PLAIN.to_owned(), spaced(PLAIN), escaped(PLAIN)] {
        let body = ready.body().replace(&tokens.token, &disguise);
        house.private(version).await.send(&ready.ask().with_body(body)).await;
    }
    for fault in [Fault::EchoPan, Fault::EchoEncoded, Fault::EchoHeader, Fault::Html500, Fault::Cut]
    {
        house.world.paymega.faults().set("sale", fault);
        let ready = house.ready("paymega").await;
        house.private(version).await.send(&ready.ask()).await;
    }
    house.world.paymega.faults().clear();
    not_tls(house).await;
    let ready = house.ready("paymega").await;
    house.assert_pays(&mut house.private(version).await, &ready).await;
}

#[tokio::test]
async fn whatever_is_sent_the_log_holds_no_card_no_token_and_no_credential() {
    let house = House::open().await;
    for version in Version::BOTH {
        spill(&house, version).await;
    }
    let log = house.log();
    let lines = log.iter().filter(|byte| **byte == b'\n').count();
    assert!(lines > 500, "{lines} lines prove nothing");
    assert_eq!(house.leak_in(&log), None);
    let text = String::from_utf8(log).unwrap();
    // The end of a digest may read 739.
    let code = ["\"739\"", "739\\\""].iter().any(|code| text.contains(code));
    assert!(!text.contains(HOLDER) && !code);
    for line in text.lines() {
        let event: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(event["event"].is_string(), "{line}");
    }
}
