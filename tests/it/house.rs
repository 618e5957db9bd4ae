//! A whole world of its own for one test: a real Portcullis between simulators. Where it ends, the
//! complete log of the process is searched for everything that may never stand in it.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use portcullis_sandbox::client::Answer;
use portcullis_sandbox::corefy::Simulator;
use portcullis_sandbox::corefy::cards::PLAIN;
use portcullis_sandbox::corefy::sale::Sale;
use portcullis_sandbox::once::leak;
use portcullis_sandbox::random;
use portcullis_sandbox::shop::gateway::{CardFields, bearer_of};
use portcullis_sandbox::shop::highhelp::NewPayment;
use portcullis_sandbox::text::quote;
use portcullis_sandbox::visitor::{Tokens, TypedCard, tokens_of};
use portcullis_sandbox::world::accounts::App;
use portcullis_sandbox::world::proxy::Portcullis;
use portcullis_sandbox::world::{Options, Ports, Proxy, World};
use serde_json::Value;

use super::line::{Ask, Line, Tls, Version};

pub(crate) const SALE: &str = "/cardgate/payment/sale";
/// A deadline for exchanges that are to end by it; a busy machine keeps good ones within it, too.
pub(crate) const IMPATIENT: Duration = Duration::from_secs(1);
pub(crate) const INVOICES: &str = "/api/payment-invoices";
/// Stands in everything that a test sends and no answer may repeat.
pub(crate) const HOLDER: &str = "Canary Holder";

/// The world and who looks after it.
pub(crate) struct House {
    pub(crate) world: World,
    /// A test makes the product panic: its log says so, and may.
    pub(crate) panics: bool,
}

/// Everything that a sale takes: an invoice, its handle, a card's tokens.
#[derive(Clone, Debug)]
pub(crate) struct Ready {
    pub(crate) account: &'static str,
    pub(crate) invoice: String,
    pub(crate) handle: String,
    pub(crate) tokens: Tokens,
    pub(crate) card: TypedCard,
}

impl Ready {
    pub(crate) fn body(&self) -> String {
        let card = (self.tokens.token.as_str(), self.tokens.cvv_token.as_str());
        sale_body(card, &self.card)
    }

    /// What the provider is to get: the same bytes, the card in the places of the tokens.
    pub(crate) fn body_with_card(&self) -> String {
        sale_body((&self.card.number, &self.card.cvv), &self.card)
    }

    pub(crate) fn ask(&self) -> Ask {
        self.ask_with(&self.handle)
    }

    /// The same body for the invoice of another handle.
    pub(crate) fn ask_with(&self, handle: &str) -> Ask {
        Ask::json(&format!("/{}{SALE}", self.account), self.body())
            .header("authorization", &format!("Bearer {handle}"))
    }
}

/// White space and order of its own: neither may change on the way.
fn sale_body((number, cvv): (&str, &str), card: &TypedCard) -> String {
    format!(
        "{{ \"data\":{{\"type\" : \"sale-operation\",\r\n\t\"attributes\": {{\"cvv\":{},\
         \"card_number\": {},  \"card_holder\":{}, \"exp_month\":\"{}\",\"exp_year\":\"{}\",\
         \"browser_info\":{{\"browser_tz\":\"-60\",\"browser_screen_width\":\"1920\"}}}} }}}}\n",
        quote(cvv),
        quote(number),
        quote(&card.holder),
        card.month,
        card.year,
    )
}

impl House {
    pub(crate) async fn open() -> Self {
        Self::with(Options::default()).await
    }

    pub(crate) async fn with(options: Options) -> Self {
        Self::with_proxy(Proxy::Binary(env!("CARGO_BIN_EXE_portcullis").into()), options).await
    }

    /// One in which a provider that does not answer is given up after a second, so that whoever
    /// waits for that waits no longer.
    pub(crate) async fn impatient() -> Self {
        Self::with(Options { upstream_timeout: IMPATIENT, ..Options::default() }).await
    }

    pub(crate) async fn with_proxy(proxy: Proxy, mut options: Options) -> Self {
        let [public, private, admin, paymega, milkypay] = free_ports();
        options.ports = Ports { public, private, admin, paymega, milkypay, ..Ports::default() };
        let world = World::start(Options { proxy, ..options }).await.unwrap();
        Self { world, panics: false }
    }

    /// A second Portcullis beside the first; the house calls this one from now on.
    pub(crate) async fn move_to_another(&mut self, name: &str) -> Portcullis {
        let ports = free_ports();
        let other = self.world.another(name, |settings| settings.ports = ports).await.unwrap();
        self.world.addresses = other.addresses.clone();
        other
    }

    pub(crate) fn tls(&self) -> Tls {
        Tls::trusting(self.world.ca.roots().unwrap())
    }

    pub(crate) async fn private(&self, version: Version) -> Line {
        self.line(&self.world.addresses.private, version).await
    }

    pub(crate) async fn public(&self, version: Version) -> Line {
        self.line(&self.world.addresses.public, version).await
    }

    async fn line(&self, base: &str, version: Version) -> Line {
        Line::open(base, &self.tls().config(version)).await.unwrap()
    }

    pub(crate) fn session(&self, app: App) -> Ask {
        let body = format!(r#"{{"origin":{},"max_cards":100}}"#, quote(self.world.shop.url()));
        Ask::json("/v1/capture-sessions", body).header("portcullis-key", self.world.key(app))
    }

    pub(crate) fn capture(&self, session: &str, card: &TypedCard) -> Ask {
        Ask::json("/v1/tokens", card.body())
            .header("authorization", &format!("Bearer {session}"))
            .header("origin", self.world.shop.url())
    }

    pub(crate) fn basic(&self, account: &str, app: App) -> String {
        let held = self.world.account(account).unwrap();
        let held = if app == App::Shop { &held.shop } else { held.stall.as_ref().unwrap() };
        basic(&held.id, &held.key)
    }

    pub(crate) fn invoice(&self, account: &str, app: App) -> Ask {
        let body = format!(
            r#"{{"data":{{"type":"payment-invoices","attributes":{{"reference_id":"ref-{}",
               "currency":"USD","amount":17.10,"service":"payment_card_usd_hpp"}}}}}}"#,
            random::letters(12)
        );
        Ask::json(&format!("/{account}{INVOICES}"), body)
            .header("authorization", &self.basic(account, app))
    }

    /// A read that goes through to the provider: shows that Portcullis is alive, and has had its
    /// turn.
    pub(crate) fn read(&self, account: &str, invoice: &str) -> Ask {
        Ask::get(&format!("/{account}{INVOICES}/{invoice}"))
            .header("authorization", &self.basic(account, App::Shop))
    }

    /// A payment that the shop is about to begin at HighHelp.
    pub(crate) fn new_payment(&self) -> NewPayment {
        let shop = self.world.shop.url();
        NewPayment {
            payment_id: format!("pay-{}", random::letters(8)),
            callbacks: format!("{shop}/callbacks/highhelp"),
            redirect_url: shop.to_owned(),
        }
    }

    /// Session and card over these lines.
    pub(crate) async fn tokens(&self, private: &mut Line, public: &mut Line, app: App) -> Tokens {
        let session = session_of(&private.send(&self.session(app)).await);
        tokens_of(&public.send(&self.capture(&session, &card())).await).unwrap()
    }

    /// Everything that a sale takes, over connections of its own.
    pub(crate) async fn ready(&self, account: &'static str) -> Ready {
        self.ready_as(account, App::Shop).await
    }

    pub(crate) async fn ready_as(&self, account: &'static str, app: App) -> Ready {
        let mut private = self.private(Version::Http1).await;
        let mut public = self.public(Version::Http1).await;
        self.ready_over(&mut private, &mut public, account, app).await
    }

    pub(crate) async fn ready_over(
        &self,
        private: &mut Line,
        public: &mut Line,
        account: &'static str,
        app: App,
    ) -> Ready {
        let tokens = self.tokens(private, public, app).await;
        let (invoice, handle) = invoice_of(&private.send(&self.invoice(account, app)).await);
        Ready { account, invoice, handle, tokens, card: card() }
    }

    pub(crate) fn simulator(&self, account: &str) -> &Simulator {
        self.world.simulator(self.world.account(account).unwrap().brand.name)
    }

    /// Sales that the provider took for this invoice.
    pub(crate) fn sales_of(&self, ready: &Ready) -> Vec<Sale> {
        let sales = self.simulator(ready.account).sales();
        sales.into_iter().filter(|sale| sale.invoice == ready.invoice).collect()
    }

    /// Sales that reached the provider, good or bad.
    pub(crate) fn sales_received(&self) -> usize {
        [&self.world.paymega, &self.world.milkypay]
            .map(|at| at.received().count("sale"))
            .iter()
            .sum()
    }

    /// Requests of any kind that reached a provider.
    pub(crate) fn received(&self) -> usize {
        [&self.world.paymega, &self.world.milkypay].map(|at| at.received().all().len()).iter().sum()
    }

    /// The provider got exactly this card for the invoice, once.
    pub(crate) fn assert_charged_once(&self, ready: &Ready) {
        let sales = self.sales_of(ready);
        assert_eq!(sales.len(), 1, "sales for the invoice");
        let (sale, card) = (&sales[0], &ready.card);
        assert_eq!((&sale.number, &sale.cvv), (&card.number, &card.cvv));
        assert_eq!((&sale.month, &sale.year), (&card.month, &card.year));
        assert_eq!(sale.holder, card.holder);
    }

    /// The sale goes through, and the provider has the card.
    pub(crate) async fn assert_pays(&self, private: &mut Line, ready: &Ready) {
        let answer = private.send(&ready.ask()).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        self.assert_charged_once(ready);
    }

    /// The process still serves, whatever it was sent.
    pub(crate) async fn assert_alive(&self) {
        let url = format!("{}/healthz", self.world.addresses.admin);
        let answer = self.world.client.send(portcullis_sandbox::client::Call::get(url)).await;
        assert_eq!(answer.unwrap().status, 200);
    }

    /// Every log that any Portcullis of this house wrote.
    pub(crate) fn log(&self) -> Vec<u8> {
        let entries = std::fs::read_dir(self.world.folder().join("logs")).unwrap();
        let paths = entries.map(|entry| entry.unwrap().path());
        let own = paths.filter(|path| !path.ends_with("shop.log"));
        own.flat_map(|path| std::fs::read(path).unwrap()).collect()
    }

    /// Every audit record that any of them wrote.
    fn audit_records(&self) -> Vec<u8> {
        let entries = std::fs::read_dir(self.world.folder().join("audit")).unwrap();
        let folders = entries.map(|entry| entry.unwrap().path());
        let files = folders.flat_map(|folder| portcullis::audit::files_in(&folder).unwrap());
        files.flat_map(|path| std::fs::read(path).unwrap()).collect()
    }

    /// What no log may hold, described without showing it.
    pub(crate) fn leak_in(&self, log: &[u8]) -> Option<String> {
        let text = String::from_utf8_lossy(log);
        if let Some(found) = leak::find(log) {
            return Some(found);
        }
        let prefixes = [
            "tok_",
            "cvv_test_",
            "cvv_live_",
            "brr_",
            "cs_",
            "pk_",
            "coma_",
            "eyJ",
            "Basic ",
            "Bearer ",
        ];
        if let Some(prefix) = prefixes.iter().find(|prefix| text.contains(**prefix)) {
            return Some(format!("something that begins with {prefix}"));
        }
        let named = |name: &str, secret: &str| text.contains(secret).then(|| name.to_owned());
        let accounts = self.world.accounts.iter().find_map(|held| {
            let real = [&held.real.key, &held.real.live_secret, &held.real.test_secret];
            real.iter()
                .find_map(|secret| named("a credential of the provider", secret))
                .or_else(|| named("a virtual credential", &held.shop.key))
                .or_else(|| named("Basic credentials", &encoded(&held.real.id, &held.real.key)))
                .or_else(|| named("Basic credentials", &encoded(&held.shop.id, &held.shop.key)))
        });
        accounts
            .or_else(|| named("the holder's name", "Canary"))
            .or_else(|| named("a panic", "panicked").filter(|_| !self.panics))
    }
}

impl Drop for House {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = String::from_utf8_lossy(&self.log()).into_owned();
            let lines: Vec<&str> = log.lines().collect();
            eprintln!("{}", lines[lines.len().saturating_sub(5)..].join("\n"));
            return;
        }
        // Lines gather for 20 ms before they are written, and the last ones are searched too.
        std::thread::sleep(Duration::from_millis(60));
        let log = self.log();
        assert!(!log.is_empty(), "Portcullis wrote no log");
        assert_eq!(self.leak_in(&log), None, "in the log of Portcullis");
        assert_eq!(self.leak_in(&self.audit_records()), None, "in the audit record");
    }
}

/// Ports that nobody has. They lie below those that the system gives to clients: while nobody
/// listens, a connection of another test must not take them.
pub(crate) fn free_ports<const COUNT: usize>() -> [u16; COUNT] {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = u16::try_from(std::process::id() % 1_000).unwrap() * 12;
    let mut ports = std::iter::repeat_with(|| {
        20_000 + first.wrapping_add(NEXT.fetch_add(1, Ordering::SeqCst)) % 12_000
    })
    .filter(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok());
    std::array::from_fn(|_| ports.next().unwrap())
}

pub(crate) fn card() -> TypedCard {
    TypedCard { holder: HOLDER.to_owned(), ..TypedCard::number(PLAIN) }
}

/// That card as an application sends it.
pub(crate) fn card_fields(tokens: &Tokens) -> CardFields {
    CardFields {
        number: tokens.token.clone(),
        holder: card().holder,
        cvv: tokens.cvv_token.clone(),
        month: card().month,
        year: card().year,
        browser_info: Value::Null,
    }
}

fn encoded(id: &str, key: &str) -> String {
    STANDARD.encode(format!("{id}:{key}"))
}

pub(crate) fn basic(id: &str, key: &str) -> String {
    format!("Basic {}", encoded(id, key))
}

pub(crate) fn session_of(answer: &Answer) -> String {
    assert_eq!(answer.status, 201, "{}", answer.text());
    answer.json().unwrap()["id"].as_str().unwrap().to_owned()
}

/// Id and handle.
pub(crate) fn invoice_of(answer: &Answer) -> (String, String) {
    assert_eq!(answer.status, 201, "{}", answer.text());
    let document = answer.json().unwrap();
    let handle = bearer_of(&document).unwrap().to_owned();
    assert!(handle.starts_with("brr_"), "the application was given something else than a handle");
    (document["data"]["id"].as_str().unwrap().to_owned(), handle)
}

/// Head and body as one text.
pub(crate) fn whole(answer: &Answer) -> String {
    let mut text = String::new();
    for (name, value) in &answer.headers {
        text.push_str(&format!("{name}: {}\n", String::from_utf8_lossy(value.as_bytes())));
    }
    text + &answer.text()
}

/// A problem document by every rule of the interface; returns it.
pub(crate) fn assert_problem(answer: &Answer, status: u16, code: &str, forwarded: &str) -> Value {
    let text = whole(answer);
    assert_eq!(answer.status, status, "{text}");
    assert_eq!(answer.content_type(), Some("application/problem+json"), "{text}");
    let document = answer.json().unwrap();
    assert_eq!(document["code"], code, "{text}");
    assert_eq!(document["status"], status, "{text}");
    assert_eq!(document["forwarded"], forwarded, "{text}");
    assert_eq!(answer.header("portcullis-forwarded"), Some(forwarded), "{text}");
    for name in ["type", "title", "detail", "instance"] {
        assert!(document[name].as_str().is_some_and(|text| !text.is_empty()), "{name}: {text}");
    }
    assert!(
        ["policy", "vault", "proxy", "upstream"].map(Value::from).contains(&document["origin"])
    );
    assert!(["safe", "after", "unsafe"].map(Value::from).contains(&document["retry"]), "{text}");
    assert!(document["request_id"].as_str().is_some(), "{text}");
    assert_eq!(document["request_id"].as_str(), answer.header("portcullis-request-id"), "{text}");
    assert_no_echo(answer);
    document
}

/// No card and no code in it, in no disguise.
pub(crate) fn assert_no_card(answer: &Answer) {
    let text = whole(answer);
    assert_eq!(leak::find(text.as_bytes()), None, "{text}");
}

/// Nothing of what was sent comes back.
pub(crate) fn assert_no_echo(answer: &Answer) {
    assert_no_card(answer);
    let text = whole(answer);
    let told = ["canary", "tok_", "cvv_test", "cvv_live", "brr_", "cs_", "pk_", "eyJ", "coma_"];
    for sent in told {
        assert!(!text.to_lowercase().contains(&sent.to_lowercase()), "{sent} in {text}");
    }
}

/// `5519 2838 …`
pub(crate) fn spaced(number: &str) -> String {
    let groups: Vec<&str> = (0..4).map(|at| &number[at * 4..at * 4 + 4]).collect();
    groups.join(" ")
}

/// Every digit as `\u0035`.
pub(crate) fn escaped(number: &str) -> String {
    number.chars().map(|digit| format!("\\u{:04x}", u32::from(digit))).collect()
}

pub(crate) fn gzip(text: &str) -> Bytes {
    let raw = miniz_oxide::deflate::compress_to_vec(text.as_bytes(), 6);
    let mut bytes = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    bytes.extend_from_slice(&raw);
    bytes.extend_from_slice(&crc32fast::hash(text.as_bytes()).to_le_bytes());
    bytes.extend_from_slice(&u32::try_from(text.len()).unwrap().to_le_bytes());
    bytes.into()
}

#[tokio::test]
async fn the_search_of_the_log_finds_what_it_looks_for() {
    let house = House::open().await;
    let ready = house.ready("paymega").await;
    let held = house.world.account("milkypay").unwrap();
    let planted = [
        portcullis_sandbox::corefy::cards::CARDS[3].number.to_owned(),
        spaced(PLAIN),
        escaped(PLAIN),
        STANDARD.encode(format!("x{PLAIN}")),
        "\"cvv\":\"739\"".to_owned(),
        ready.tokens.token,
        ready.tokens.cvv_token,
        ready.handle,
        house.world.key(App::Shop).to_owned(),
        held.real.key.clone(),
        held.shop.key.clone(),
        held.real.test_secret.clone(),
        encoded(&held.real.id, &held.real.key),
        house.world.paymega.bearers()[0].clone(),
        "thread 'main' panicked at src".to_owned(),
    ];
    let log = String::from_utf8(house.log()).unwrap();
    assert_eq!(house.leak_in(log.as_bytes()), None);
    for secret in planted {
        assert!(house.leak_in(format!("{log}{secret}\n").as_bytes()).is_some(), "{secret}");
    }
}
