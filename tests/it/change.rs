//! What changes while payments go on: the whole configuration, by `POST /reload` and by SIGHUP.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::Method;
use portcullis_sandbox::client::{Answer, Call};
use portcullis_sandbox::corefy::faults::Fault;
use portcullis_sandbox::record::until;
use portcullis_sandbox::world::Options;
use portcullis_sandbox::world::accounts::App;
use serde_json::{Value, json};

use super::house::{House, assert_problem, invoice_of, session_of};
use super::line::{Ask, Version};

const SOON: Duration = Duration::from_secs(10);

/// A second key of the shop, and its hash.
const FURTHER: (&str, &str) =
    ("pk_further", "0e4f93ddb6616709dcc0afd5a4af2a4a34e2960d4de070e0fe3444af1d3a610b");

impl House {
    pub(super) fn config_text(&self) -> String {
        std::fs::read_to_string(self.world.config()).unwrap()
    }

    pub(super) fn write_config(&self, text: &str) {
        std::fs::write(self.world.config(), text).unwrap();
    }

    /// Asks the admin listener.
    pub(super) async fn operate(&self, method: Method, path: &str) -> Answer {
        let call = Call::new(method, format!("{}{path}", self.world.addresses.admin));
        self.world.client.send(call).await.unwrap()
    }

    /// Has the configuration read again.
    pub(super) async fn reload(&self) -> Answer {
        self.operate(Method::POST, "/reload").await
    }

    /// Writes a configuration that is right, and has it read.
    pub(super) async fn change(&self, text: &str) {
        self.write_config(text);
        let answer = self.reload().await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }

    /// Writes one that is not; what is said about it.
    pub(super) async fn refused(&self, text: &str) -> Vec<Value> {
        self.write_config(text);
        let answer = self.reload().await;
        assert_eq!(answer.status, 422, "{}", answer.text());
        assert_eq!(answer.content_type(), Some("application/problem+json"));
        let document = answer.json().unwrap();
        assert_eq!(document["code"], "configuration_refused");
        document["errors"].as_array().unwrap().clone()
    }

    /// Lines gather before they are written: events of that name, once there are so many.
    pub(super) async fn told_soon(&self, name: &str, count: usize) -> Vec<Value> {
        let there = || (self.events(name).len() >= count).then_some(());
        until(SOON, there).await.unwrap_or_else(|| panic!("{count} of {name}"));
        self.events(name)
    }

    /// Whether the second key of the shop is known.
    async fn knows_further_key(&self) -> bool {
        let ask = self.session(App::Shop).without("portcullis-key");
        let ask = ask.header("portcullis-key", FURTHER.0);
        self.private(Version::Http1).await.send(&ask).await.status == 201
    }
}

/// The same configuration with a second key of the shop.
fn with_further_key(text: &str) -> String {
    let changed = text.replacen("key_sha256 = [", &format!("key_sha256 = [\"{}\", ", FURTHER.1), 1);
    assert_ne!(changed, text);
    changed
}

fn line_of(text: &str, part: &str) -> usize {
    1 + text.lines().position(|line| line.contains(part)).unwrap()
}

/// Pays over lines that are kept until told to stop; returns how often.
pub(super) async fn pay(house: Arc<House>, version: Version, done: Arc<AtomicBool>) -> usize {
    let mut private = house.private(version).await;
    let mut public = house.public(Version::Http1).await;
    let mut paid = 0;
    while !done.load(Ordering::SeqCst) {
        let ready = house.ready_over(&mut private, &mut public, "paymega", App::Shop).await;
        house.assert_pays(&mut private, &ready).await;
        paid += 1;
    }
    paid
}

#[tokio::test]
async fn payments_go_on_while_the_configuration_changes() {
    let house = Arc::new(House::open().await);
    let kept = house.ready("paymega").await;
    let session = house.private(Version::Http1).await.send(&house.session(App::Shop)).await;
    let session = session_of(&session);
    let done = Arc::new(AtomicBool::new(false));
    let payers = [Version::Http1, Version::Http1, Version::Http2, Version::Http2]
        .map(|version| tokio::spawn(pay(Arc::clone(&house), version, Arc::clone(&done))));
    let first = house.config_text();
    let second = with_further_key(&first);
    assert!(!house.knows_further_key().await);
    for round in 0..20 {
        house.change(&second).await;
        assert!(house.knows_further_key().await, "in round {round}");
        house.change(&first).await;
        assert!(!house.knows_further_key().await, "in round {round}");
    }
    done.store(true, Ordering::SeqCst);
    for payer in payers {
        assert!(payer.await.unwrap() > 5, "nobody paid meanwhile");
    }
    // What was handed out before all of it is still good.
    house.assert_pays(&mut house.private(Version::Http1).await, &kept).await;
    let mut public = house.public(Version::Http1).await;
    let answer = public.send(&house.capture(&session, &super::house::card())).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    assert_eq!(
        house.metric("portcullis_changes_total{of=\"configuration\",outcome=\"taken\"}").await,
        40
    );
    assert_eq!(house.metric("portcullis_change_refused{of=\"configuration\"}").await, 0);
}

#[tokio::test]
async fn a_sale_under_way_ends_with_what_it_began_with() {
    let house = House::open().await;
    let text = house.config_text();
    for version in Version::BOTH {
        let ready = house.ready("paymega").await;
        let before = house.sales_received();
        let mut line = house.private(version).await;
        house.world.paymega.faults().set("sale", Fault::Held);
        let ask = ready.ask();
        let mut begun = line.begin(&ask, ask.body.len()).await.unwrap();
        line.complete(&mut begun).await.unwrap();
        let arrived = || (house.sales_received() > before).then_some(());
        until(SOON, arrived).await.expect("the sale never reached the provider");
        // The application may not use the account any more.
        let without = text.replacen("accounts = [\"paymega\", ", "accounts = [", 1);
        assert_ne!(without, text);
        house.change(&without).await;
        house.world.paymega.faults().clear();
        house.world.paymega.faults().release();
        let answer = line.answer(begun).await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
        house.assert_charged_once(&ready);
        let mut line = house.private(version).await;
        let answer = line.send(&house.invoice("paymega", App::Shop)).await;
        assert_problem(&answer, 403, "account_not_granted", "no");
        house.change(&text).await;
        let answer = house.private(version).await.send(&house.invoice("paymega", App::Shop)).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
    }
}

#[tokio::test]
async fn callbacks_wait_while_their_application_may_not_use_the_account() {
    let house = House::open().await;
    let text = house.config_text();
    let url = format!("\"callback_url\":\"{}/callbacks/paymega\",", house.world.shop.url());
    let ask = house.invoice("paymega", App::Shop);
    let body = String::from_utf8(ask.body.to_vec()).unwrap();
    let ask = ask.with_body(body.replacen("\"currency\"", &format!("{url}\"currency\""), 1));
    let (invoice, _) = invoice_of(&house.private(Version::Http1).await.send(&ask).await);
    let paymega = &house.world.paymega;
    let last = || paymega.deliveries_of(&invoice).pop();
    until(SOON, || last()?.delivered().then_some(())).await.expect("it is told that it was made");

    house.change(&text.replacen("accounts = [\"paymega\", ", "accounts = [", 1)).await;
    let before = house.world.shop.told().len();
    assert!(paymega.settle(&invoice, "processed", "ok"));
    let tried = || last().filter(|it| it.status == "processed" && it.attempts.len() > 1);
    let refused = until(SOON, tried).await.unwrap();
    assert!(refused.attempts.iter().all(|status| *status == Some(502)), "{refused:?}");
    assert_eq!(house.world.shop.told().len(), before);
    house.change(&text).await;
    until(SOON, || last()?.delivered().then_some(())).await.expect("it comes once it may");
}

#[tokio::test]
async fn a_wrong_configuration_is_refused_with_its_line_and_nothing_changes() {
    let house = House::open().await;
    let text = house.config_text();
    let good = with_further_key(&text);
    let cases = [
        ("mode = \"test\"", "mode = \"canary\"", "app[0].mode"),
        ("[rates]\n", "[rates]\ncanary = 1\n", "rates.canary"),
        ("connect_timeout_ms = ", "connect_timeout_ms = 5 # ", "upstream.connect_timeout_ms"),
        ("callback_hosts = [", "callback_hosts = [1, ", "app[0].callback_hosts"),
        ("provider = \"paymega\"", "provider = \"canary\"", "account[0].provider"),
        (
            "certificate = \"tls/public.pem\"",
            "certificate = \"tls/canary.pem\"",
            "public.certificate",
        ),
        ("ca_file = \"tls/ca.pem\"", "ca_file = \"tls/canary.pem\"", "upstream.ca_file"),
        ("[private]\n", "[private]\nclient_ca = \"tls/canary.pem\"\n", "private.client_ca"),
    ];
    for (from, to, key) in cases {
        assert!(good.contains(from), "{from}");
        let wrong = good.replacen(from, to, 1);
        let errors = house.refused(&wrong).await;
        let error = errors.iter().find(|error| error["key"] == key);
        let error = error.unwrap_or_else(|| panic!("{key}: {errors:?}"));
        let line = line_of(&wrong, to.trim().lines().last().unwrap());
        assert_eq!(error["line"], line, "{error}");
        assert_eq!(error["file"], house.world.config().to_str().unwrap());
        assert!(!house.knows_further_key().await, "{key} was refused, and the rest taken");
        let is = |told: &Value| told["key"] == key && told["line"] == line;
        let told = || house.events("reload_refused").iter().any(is).then_some(());
        until(SOON, told).await.unwrap_or_else(|| panic!("{key} is not in the log"));
    }
    // A profile counts as well.
    let profile = house.world.folder().join("secrets/profile.toml");
    std::fs::write(&profile, "name = \"other\"\ntitle = 1\n").unwrap();
    let named = good.replacen("providers = [", "providers = [\"secrets/profile.toml\", ", 1);
    let errors = house.refused(&named).await;
    let error = errors.iter().find(|error| error["key"] == "title").unwrap();
    assert_eq!((&error["line"], &error["file"]), (&json!(2), &json!(profile.to_str().unwrap())));
    let log = String::from_utf8(house.log()).unwrap();
    let told = log.replace("tls/canary", "").replace("rates.canary", "");
    assert!(!told.contains("canary"), "a value in the log");
    assert_eq!(house.metric("portcullis_change_refused{of=\"configuration\"}").await, 1);

    let ready = house.ready("paymega").await;
    house.assert_pays(&mut house.private(Version::Http2).await, &ready).await;
    house.change(&good).await;
    assert!(house.knows_further_key().await);
    assert_eq!(house.metric("portcullis_change_refused{of=\"configuration\"}").await, 0);
}

#[tokio::test]
async fn what_a_running_process_cannot_take_on_needs_a_restart() {
    let house = House::open().await;
    let text = house.config_text();
    let good = with_further_key(&text);
    let secret = house.world.folder().join("secrets/other-audit.key");
    let made = std::process::Command::new(env!("CARGO_BIN_EXE_portcullis"))
        .args(["keygen", "--out"])
        .arg(&secret)
        .status();
    assert!(made.unwrap().success());
    let port = |listener: &str| {
        let (_, rest) = good.split_once(&format!("[{listener}]\naddress = \"")).unwrap();
        rest.split_once('"').unwrap().0.to_owned()
    };
    let addresses = ["public", "private", "admin"]
        .map(|listener| (port(listener), "127.0.0.1:1".to_owned(), format!("{listener}.address")));
    let below = |table: &str, value: &str| {
        let (key, _) = value.split_once(" = ").unwrap();
        (
            table.to_owned(),
            format!("{table}\n{value}"),
            format!("{}.{key}", &table[1..table.len() - 1]),
        )
    };
    let from = |from: &str, to: &str, key: &str| (from.to_owned(), to.to_owned(), key.to_owned());
    let others = [
        below("[server]", "threads = 7"),
        from("drain_seconds = 0", "drain_seconds = 7", "server.drain_seconds"),
        below("[server]", "shutdown_seconds = 99"),
        from("capacity = 100000", "capacity = 100001", "vault.capacity"),
        below("[vault]", "states = 1000"),
        below("[vault]", "idempotency_per_app = 1000"),
        from("card_ttl_seconds = 1800", "card_ttl_seconds = 9", "vault.card_ttl_seconds"),
        from("format = \"json\"", "format = \"off\"", "log.format"),
        below("[process]", "danger_no_landlock = true"),
        below("[audit]", "file_bytes = 100000"),
        from("secrets/audit.key", "secrets/other-audit.key", "audit.key.file"),
        from("mode = \"test\"", "mode = \"live\"", "app[0].mode"),
    ];
    for (from, to, key) in addresses.into_iter().chain(others) {
        assert!(good.contains(&from), "{from}");
        // A test account is no live one's: all of them change their mode together.
        let wrong = if key.ends_with("mode") {
            good.replace(&from, &to)
        } else {
            good.replacen(&from, &to, 1)
        };
        let errors = house.refused(&wrong).await;
        let error = errors.iter().find(|error| error["key"] == *key);
        let error = error.unwrap_or_else(|| panic!("{key}: {errors:?}"));
        assert_eq!(error["reason"], "needs_restart");
        assert!(error["detail"].as_str().unwrap().contains("restart"), "{error}");
        assert!(error["line"].as_u64().is_some_and(|line| line > 0), "{error}");
        assert!(!house.knows_further_key().await, "{key} was refused, and the rest taken");
    }
    // Another key of the audit record in the same file.
    let key = house.world.folder().join("secrets/audit.key");
    let before = std::fs::read(&key).unwrap();
    std::fs::write(&key, std::fs::read(&secret).unwrap()).unwrap();
    assert_eq!(house.refused(&good).await[0]["key"], "audit.key");
    std::fs::write(&key, before).unwrap();
    house.change(&good).await;
    assert!(house.knows_further_key().await);
}

#[tokio::test]
async fn a_danger_is_a_metric_for_as_long_as_it_is_on() {
    let house = House::open().await;
    let off = house.config_text();
    let on = off.replacen("[upstream]\n", "[upstream]\ndanger_plain_http = true\n", 1);
    assert_ne!(on, off);
    for (text, value) in [(&off, 0), (&on, 1), (&off, 0)] {
        house.change(text).await;
        let plain = "portcullis_danger{key=\"upstream.danger_plain_http\"}";
        assert_eq!(house.metric(plain).await, value);
        let stays = "portcullis_danger{key=\"upstream.danger_allow_private_addresses\"}";
        assert_eq!(house.metric(stays).await, 1);
    }
    for (rate, value) in [("off", 1), ("5/s", 0)] {
        let limited = format!("\nbin = \"{rate}\"\n");
        house.change(&off.replacen("\nbin = \"1000000/s\"\n", &limited, 1)).await;
        let told = house.metric("portcullis_danger{key=\"rates.bin\"}").await;
        assert_eq!(told, value, "{rate}");
    }
}

#[tokio::test]
async fn a_port_that_the_process_closed_to_itself_is_not_called_after_a_change() {
    for switched_off in [false, true] {
        let adjust = Box::new(move |config: String| {
            config.replace(
                "[process]\n",
                &format!("[process]\ndanger_no_landlock = {switched_off}\n"),
            )
        });
        let house = House::with(Options { adjust: Some(adjust), ..Options::default() }).await;
        let text = house.config_text();
        let further = text.replacen("callback_hosts = [", "callback_hosts = [\"localhost:9\", ", 1);
        // What is open may be called: ports are closed since Landlock's version 4 (Linux 6.7).
        if house.events("started")[0]["process"]["landlock"].as_u64().unwrap() < 4 {
            let warned = ["no_landlock", "no_port_rules"];
            let warned = house
                .events("warned")
                .iter()
                .any(|event| warned.contains(&event["warning"].as_str().unwrap()));
            assert_ne!(switched_off, warned, "a danger, or a warning");
            house.change(&further).await;
            continue;
        }
        assert!(!switched_off);
        let errors = house.refused(&further).await;
        assert_eq!((&errors[0]["key"], errors.len()), (&json!("app[0].callback_hosts"), 1));
        assert_eq!(errors[0]["reason"], "needs_restart");
        assert_eq!(errors[0]["line"], line_of(&further, "localhost:9"));
    }
}

#[tokio::test]
async fn a_count_of_a_rate_outlives_a_change_that_leaves_the_rate() {
    let adjust = Box::new(|config: String| {
        config.replace("unknown_tokens = \"1000000/s\"", "unknown_tokens = \"2/h\"")
    });
    let house = House::with(Options { adjust: Some(adjust), ..Options::default() }).await;
    let mut line = house.private(Version::Http1).await;
    let token = house.ready("paymega").await.tokens.token;
    let unknown = Ask::get(&format!("/v1/tokens/{token}"))
        .header("portcullis-key", house.world.key(App::Shop));
    let revoke = Ask { method: Method::DELETE, ..unknown.clone() };
    assert_eq!(line.send(&revoke).await.status, 204);
    for _ in 0..2 {
        assert_eq!(line.send(&unknown).await.status, 422);
    }
    let text = house.config_text();
    house.change(&with_further_key(&text)).await;
    assert_eq!(line.send(&unknown).await.status, 429, "the count began anew");
    house.change(&text.replace("unknown_tokens = \"2/h\"", "unknown_tokens = \"3/h\"")).await;
    assert_eq!(line.send(&unknown).await.status, 422, "another rate counts by itself");
}

#[tokio::test]
async fn a_change_is_in_the_audit_record_with_the_digest_of_the_configuration() {
    let house = House::open().await;
    let begun = house.audited("configured");
    assert_eq!(begun.len(), 1);
    house.change(&with_further_key(&house.config_text())).await;
    let lines = house.audited("configured");
    assert_eq!(lines.len(), 2, "written before the change is in use");
    assert_ne!(lines[0]["digest"], lines[1]["digest"]);
    let read = house.told_soon("configuration_read", 1).await;
    assert_eq!(read[0]["digest"], lines[1]["digest"]);
    let answer = house.reload().await.json().unwrap();
    assert_eq!(answer["configuration"], lines[1]["digest"]);
    house.refused("providers = 1").await;
    assert_eq!(house.audited("configured").len(), 3, "what was refused is no change");
}

#[tokio::test]
async fn only_this_machine_and_no_page_in_a_browser_may_ask_for_a_change() {
    let house = House::open().await;
    for path in ["/reload", "/drain"] {
        let answer = house.operate(Method::GET, path).await;
        assert_eq!((answer.status, answer.header("allow")), (405, Some("POST")), "{path}");
        let url = format!("{}{path}", house.world.addresses.admin);
        let page = Call::new(Method::POST, url).header("origin", "https://evil.example");
        assert_eq!(house.world.client.send(page).await.unwrap().status, 403, "{path}");
    }
    assert_eq!(house.operate(Method::GET, "/readyz").await.status, 200);
    // Lines are written in their order: what had been done would stand before this one.
    assert_eq!(house.reload().await.status, 200);
    house.told_soon("configuration_read", 1).await;
    assert_eq!(house.events("configuration_read").len(), 1);
    assert!(house.events("draining").is_empty());
}
