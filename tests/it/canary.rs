//! Addresses that came from outside and lead to a listener that nobody has any business with
//! (threat T9): whatever field brings one, nothing ever connects there. Where the configuration
//! lists that listener the same payments do connect, so it would have noticed.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::Method;
use portcullis_sandbox::browser::Browser;
use portcullis_sandbox::client::Answer;
use portcullis_sandbox::corefy::cards::{CHALLENGED, PLAIN};
use portcullis_sandbox::random;
use portcullis_sandbox::record::until;
use portcullis_sandbox::shop::piastrix::{payform, session_of as invoice_session};
use portcullis_sandbox::text::{encode_form, quote};
use portcullis_sandbox::visitor::{TypedCard, tokens_of};
use portcullis_sandbox::world::Options;
use portcullis_sandbox::world::accounts::App;
use tokio::net::TcpListener;

use super::house::{
    House, Ready, assert_problem, card, card_fields, free_ports, invoice_of, session_of,
};
use super::line::{Ask, Version};

const FORM: &str = "application/x-www-form-urlencoded";
/// Longer than a callback takes that may be delivered.
const SOON: Duration = Duration::from_secs(10);

/// Listens wherever a spelling of this machine leads.
struct Canary {
    port: u16,
    heard: Arc<AtomicUsize>,
}

impl Canary {
    async fn start() -> Self {
        let [port] = free_ports();
        let heard = Arc::<AtomicUsize>::default();
        for ip in ["127.0.0.1", "127.0.0.2", "::1"] {
            let listener = match TcpListener::bind((ip, port)).await {
                Ok(listener) => listener,
                // A machine without IPv6 is not reached by it either.
                Err(_) if ip == "::1" => continue,
                Err(error) => panic!("{ip}: {error}"),
            };
            let heard = Arc::clone(&heard);
            tokio::spawn(async move {
                while listener.accept().await.is_ok() {
                    heard.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        Self { port, heard }
    }

    fn heard(&self) -> usize {
        self.heard.load(Ordering::SeqCst)
    }

    fn url(&self) -> String {
        format!("https://localhost:{}/x", self.port)
    }

    /// Addresses of this listener, and of a listed place that another reader takes for it.
    fn addresses(&self, listed: &str) -> Vec<String> {
        let port = self.port;
        let hosts = [
            "localhost",
            "LOCALHOST",
            "localhost.",
            "LocalHost.",
            "%6cocalhost",
            "l\u{3bf}calhost",
            "user@localhost",
            "user:word@localhost",
            "ip6-localhost",
            "ip6-loopback",
            "127.0.0.1",
            "127.0.0.1.",
            "127.0.0.2",
            "127.1",
            "127.0.1",
            "2130706433",
            "0x7f000001",
            "0x7f.1",
            "0177.0.0.1",
            "017700000001",
            "0.0.0.0",
            "0",
            "[::1]",
            "[::]",
            "[::ffff:127.0.0.1]",
            "[::ffff:7f00:1]",
            "[0:0:0:0:0:0:0:1]",
        ];
        let confused = [
            format!("{listed}@localhost:{port}"),
            format!("{listed}\\@localhost:{port}"),
            format!("{listed}%40localhost:{port}"),
            format!("localhost:{port}#@{listed}"),
            format!("localhost:{port}?@{listed}"),
            format!("localhost:{port}/@{listed}"),
            format!("localhost:{port}\\@{listed}"),
        ];
        hosts.iter().map(|host| format!("{host}:{port}")).chain(confused).collect()
    }
}

/// Where an address from outside may stand.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Field {
    TermUrl,
    Action,
    ReturnUrl,
    CallbackUrl,
    PayformUrl,
}
use Field::{Action, CallbackUrl, PayformUrl, ReturnUrl, TermUrl};

impl House {
    /// A house in which an account that nobody uses may call the canary, so that the kernel lets
    /// the process go there; `adjust` does the rest.
    async fn beside(canary: &Canary, adjust: fn(String, &str) -> String) -> Self {
        let authority = format!("localhost:{}", canary.port);
        let adjust = Box::new(move |config: String| {
            let config = listing(config, "milkypay-relay", "hosts", &authority);
            adjust(config, &authority)
        });
        Self::with(Options { adjust: Some(adjust), ..Options::default() }).await
    }

    /// Pays with this address in this field, as far as that goes; the last answer.
    async fn pay_with(&self, field: Field, url: &str) -> Answer {
        if field == PayformUrl {
            return self.fill_in_at(url).await;
        }
        self.world.paymega.behave();
        self.world.paymega.quirks(|quirks| match field {
            TermUrl => quirks.term_url = Some(url.to_owned()),
            Action => quirks.action = Some(url.to_owned()),
            _ => {}
        });
        let mut invoice = self.invoice("paymega", App::Shop);
        let more = match field {
            ReturnUrl => format!("\"return_url\":{},", quote(url)),
            CallbackUrl => format!("\"callback_url\":{},", quote(url)),
            _ => String::new(),
        };
        let body = String::from_utf8(invoice.body.to_vec()).unwrap();
        invoice.body = body.replacen("\"reference_id\"", &(more + "\"reference_id\""), 1).into();
        let mut private = self.private(Version::Http1).await;
        let made = private.send(&invoice).await;
        if made.status != 201 {
            return made;
        }
        // A callback comes once the payment has ended.
        let number = if field == CallbackUrl { PLAIN } else { CHALLENGED };
        let card = TypedCard { holder: card().holder, ..TypedCard::number(number) };
        let session = session_of(&private.send(&self.session(App::Shop)).await);
        let mut public = self.public(Version::Http1).await;
        let tokens = tokens_of(&public.send(&self.capture(&session, &card)).await).unwrap();
        let (invoice, handle) = invoice_of(&made);
        let ready = Ready { account: "paymega", invoice, handle, tokens, card };
        let sold = private.send(&ready.ask()).await;
        let goes_on = sold.status == 200 && field != CallbackUrl;
        if goes_on { self.come_back(&sold).await } else { sold }
    }

    /// The browser takes the hand-off page and comes back, as if the bank had sent it.
    async fn come_back(&self, sold: &Answer) -> Answer {
        let start = sold.json().unwrap()["auth_payload"]["action"].as_str().unwrap().to_owned();
        let page = Browser::new(self.world.client.clone()).open(&start).await.unwrap();
        let form = page.form().unwrap();
        let term_url = form.field("TermUrl").unwrap();
        let path = term_url.strip_prefix(&self.world.addresses.public).unwrap();
        let back = Ask::new(Method::POST, path).header("content-type", FORM);
        self.public(Version::Http1).await.send(&back.with_body("PaRes=eJw&MD=x")).await
    }

    /// A card form that the provider has at this place.
    async fn fill_in_at(&self, url: &str) -> Answer {
        self.world.qostiq.quirks(|quirks| quirks.payform_host = Some(url.to_owned()));
        let client = self.world.piastrix("qostiq", App::Shop).unwrap();
        let made = client.invoice(&random::letters(12), "17.10", &[]).await.unwrap();
        let session = invoice_session(&made.json().unwrap()).unwrap();
        let data = client.h2h_data(&session).await.unwrap();
        if data.status != 200 {
            return data;
        }
        let tokens = self.captured().await;
        let form = payform(&data.json().unwrap(), &session, &card_fields(&tokens)).unwrap();
        let path = form.action.strip_prefix(&self.world.addresses.public).unwrap();
        let ask = Ask::new(Method::POST, path).header("content-type", FORM);
        self.public(Version::Http1).await.send(&ask.with_body(encode_form(&form.fields))).await
    }
}

/// One more host in the list with this key that the table with this name has.
fn listing(config: String, name: &str, key: &str, authority: &str) -> String {
    let (before, table) = config.split_once(&format!("name = \"{name}\"\n")).unwrap();
    let (own, rest) = table.split_once(&format!("\n{key} = [")).unwrap();
    format!("{before}name = \"{name}\"\n{own}\n{key} = [\"{authority}\", {rest}")
}

/// Every list from which a host that came from outside is called.
fn listed(config: String, authority: &str) -> String {
    let config = listing(config, "paymega", "hosts", authority);
    let config = listing(config, "shop", "callback_hosts", authority);
    listing(config, "qostiq", "hosts", authority)
}

/// The same, and addresses from outside have to be public.
fn listed_and_public(config: String, authority: &str) -> String {
    let danger = "danger_allow_private_addresses = true\n";
    assert!(config.contains(danger));
    listed(config, authority).replace(danger, "")
}

#[tokio::test]
async fn no_address_from_outside_leads_to_a_canary() {
    let canary = Canary::start().await;
    let house = House::beside(&canary, |config, _| config).await;
    let mut tried = 0;
    for address in canary.addresses(&house.world.paymega.authority()) {
        let https = format!("https://{address}/x");
        for url in [&https, &format!("https://{address}"), &address, &format!("//{address}/x")] {
            let answer = house.pay_with(TermUrl, url).await;
            assert_eq!(canary.heard(), 0, "{url}");
            assert_problem(&answer, 502, "answer_withheld", "yes");
            tried += 1;
        }
        for field in [Action, ReturnUrl, CallbackUrl, PayformUrl] {
            let answer = house.pay_with(field, &https).await;
            assert_eq!(canary.heard(), 0, "{field:?} {https}");
            match field {
                CallbackUrl => drop(assert_problem(&answer, 422, "field_invalid", "no")),
                PayformUrl => drop(assert_problem(&answer, 502, "answer_withheld", "yes")),
                // These are for the browser alone; what no browser could follow is withheld.
                _ => assert!(answer.status < 500 || answer.text().contains("answer_withheld")),
            }
            tried += 1;
        }
    }
    assert_eq!(tried, 272, "SECURITY.md has this figure");

    let house = House::beside(&canary, listed).await;
    for field in [Action, ReturnUrl] {
        let answer = house.pay_with(field, &canary.url()).await;
        assert_eq!(answer.header("location").is_some(), field == ReturnUrl, "{}", answer.text());
        assert_eq!(canary.heard(), 0, "{field:?}");
    }
    for field in [TermUrl, CallbackUrl, PayformUrl] {
        let before = canary.heard();
        house.pay_with(field, &canary.url()).await;
        let heard = until(SOON, || (canary.heard() > before).then_some(())).await;
        assert!(heard.is_some(), "{field:?}");
    }
}

#[tokio::test]
async fn a_listed_name_that_leads_to_this_machine_is_not_called() {
    let canary = Canary::start().await;
    let house = House::beside(&canary, listed_and_public).await;
    for field in [TermUrl, PayformUrl] {
        let answer = house.pay_with(field, &canary.url()).await;
        assert_eq!(canary.heard(), 0, "{field:?}");
        assert_eq!(answer.status, 503, "{field:?} {}", answer.text());
    }
    let sold = house.pay_with(CallbackUrl, &canary.url()).await;
    assert_eq!(sold.status, 200, "{}", sold.text());
    let answered =
        || house.world.paymega.deliveries().iter().find_map(|one| one.attempts.first().copied());
    let answered = until(SOON, answered).await.unwrap();
    assert!(answered.is_some_and(|status| status >= 500), "{answered:?}");
    assert_eq!(canary.heard(), 0);
}
