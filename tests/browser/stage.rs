//! A world with one browser in it, and a person's ways through the shop.

use std::sync::LazyLock;
use std::time::Duration;

use portcullis_sandbox::client::Call;
use portcullis_sandbox::once::leak;
use portcullis_sandbox::shop::order::Order;
use portcullis_sandbox::visitor::{CVV, TypedCard, Visitor};
use portcullis_sandbox::world::accounts::App;
use portcullis_sandbox::world::{Options, Proxy, World};
use serde_json::{Value, json};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::driver::{Browser, Setup};

/// The frame of the card form in the shop's checkout, and that of the bank.
pub(crate) const FORM: &str = "#card iframe";
pub(crate) const BANK: &str = "#bank iframe";
pub(crate) const HOLDER: &str = "CANARY HOLDER";

/// Browsers at a time: each is some ten processes.
static BROWSERS: LazyLock<Semaphore> = LazyLock::new(|| Semaphore::new(2));

pub(crate) struct Stage {
    pub(crate) world: World,
    pub(crate) browser: Browser,
    /// Begins of console messages that this test is about.
    expected: Vec<&'static str>,
    _place: SemaphorePermit<'static>,
}

/// Plays a scene; then nothing may be on the console, in the shop or in a log that does not belong
/// there.
pub(crate) async fn scene(play: impl AsyncFnOnce(&mut Stage)) {
    scene_with(Setup::default(), play).await;
}

pub(crate) async fn scene_with(setup: Setup, play: impl AsyncFnOnce(&mut Stage)) {
    let proxy = Proxy::Binary(env!("CARGO_BIN_EXE_portcullis").into());
    let upstream_timeout = Duration::from_secs(15);
    let world = World::start(Options { proxy, upstream_timeout, ..Options::default() });
    let place = BROWSERS.acquire().await.unwrap();
    let world = world.await.unwrap();
    let browser = Browser::start(&world.client, setup).await;
    let mut stage = Stage { world, browser, expected: Vec::new(), _place: place };
    play(&mut stage).await;
    stage.end().await;
}

impl Stage {
    /// A message of the console that this test provokes.
    pub(crate) fn expect(&mut self, message: &'static str) {
        self.expected.push(message);
    }

    async fn end(self) {
        let console = self.browser.console().await;
        let complaints: Vec<&String> = console
            .iter()
            .filter(|line| is_complaint(line))
            .filter(|line| !self.expected.iter().any(|known| line.contains(known)))
            .collect();
        assert!(complaints.is_empty(), "on the console: {complaints:#?}");
        for known in &self.expected {
            assert!(console.iter().any(|line| line.contains(known)), "{known}: {console:#?}");
        }
        let cookies = self.browser.cookies().await;
        let ours = |cookie: &&Value| {
            let port = format!(":{}", cookie["sourcePort"]);
            [self.world.addresses.public.as_str(), self.shop()]
                .iter()
                .any(|url| url.ends_with(&port))
        };
        let ours: Vec<&Value> = cookies.as_array().unwrap().iter().filter(ours).collect();
        assert!(ours.is_empty(), "nothing here needs a cookie: {ours:?}");
        assert_eq!(leak::find(&self.world.shop.log().read().unwrap()), None, "in the shop's log");
        let log = self.world.proxy().unwrap().read_log().unwrap();
        assert_eq!(leak::find(&log), None, "in the log of Portcullis");
        assert!(!String::from_utf8_lossy(&log).contains("CANARY"), "in the log of Portcullis");
        self.browser.end().await;
    }

    pub(crate) fn shop(&self) -> &str {
        self.world.shop.url()
    }

    /// A capture session of the shop, as its server opens it; more members may be given.
    pub(crate) async fn session(&self, more: Value) -> Value {
        let mut body = json!({ "origin": self.shop() });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let url = format!("{}/v1/capture-sessions", self.world.addresses.private);
        let key = self.world.key(App::Shop);
        let call = Call::post_json(url, body.to_string()).header("portcullis-key", key);
        let answer = self.world.client.send(call).await.unwrap();
        assert_eq!(answer.status, 201, "{}", answer.text());
        answer.json().unwrap()
    }

    /// The address of a form that is a page of its own.
    pub(crate) async fn form_url(&self, mut more: Value) -> String {
        more["return_url"] = json!(format!("{}/orders/x/card", self.shop()));
        self.session(more).await["form_url"].as_str().unwrap().to_owned()
    }

    /// To the checkout, with an account chosen and the form there.
    pub(crate) async fn checkout(&self, account: &str, choices: &[(&str, &str)]) {
        self.browser.open(&format!("{}/checkout", self.shop())).await;
        self.browser.find(FORM).await;
        for (list, option) in [("account", account)].iter().chain(choices) {
            self.choose(list, option).await;
        }
    }

    async fn choose(&self, list: &str, option: &str) {
        // A list that opens another form: the one before must not be taken for it.
        let script = "const list = document.getElementById(arguments[0]); \
                      if (list.value === arguments[1]) return; list.value = arguments[1]; \
                      if (list.id !== 'bank-where') document.querySelector('#card').replaceChildren(); \
                      list.dispatchEvent(new Event('change'));";
        self.browser.run(script, json!([list, option])).await;
    }

    /// Types a card where the cursor's frame has the form, and sends it.
    pub(crate) async fn type_card(&self, number: &str, cvv: &str) {
        self.fill_in(number, cvv).await;
        self.browser.press("#pay").await;
    }

    pub(crate) async fn fill_in(&self, number: &str, cvv: &str) {
        let fields = [("#number", number), ("#expiry", "1035"), ("#cvv", cvv), ("#name", HOLDER)];
        for (field, keys) in fields {
            self.browser.write(field, keys).await;
        }
    }

    /// The same in the frame of the checkout.
    pub(crate) async fn pay_in_frame(&self, number: &str) {
        self.browser.enter(FORM).await;
        self.type_card(number, CVV).await;
        self.browser.leave().await;
    }

    /// A payment that waits for the bank; the address that its browser is to be sent to.
    pub(crate) async fn challenge(&self, account: &str, number: &str) -> String {
        let visitor = Visitor::new(&self.world.client, self.shop());
        let paid = visitor.buy(account, &typed(number)).await.unwrap();
        let order = self.world.shop.order(&paid.order).unwrap();
        order.challenge.unwrap().action
    }

    /// The order whose result page the browser shows in the end.
    pub(crate) async fn result(&self) -> Order {
        let path = self.browser.until("a result", async || {
            let url = self.browser.url().await;
            let id = url.strip_prefix(&format!("{}/orders/", self.shop()))?.to_owned();
            Some(id).filter(|id| !id.contains('/'))
        });
        let id = path.await;
        let settled = async || self.world.shop.order(&id).filter(Order::is_final);
        let order = self.browser.until("an outcome", settled).await;
        self.browser.find("h1.good, h1.bad").await;
        order
    }
}

/// The card that the provider is to get.
pub(crate) fn typed(number: &str) -> TypedCard {
    TypedCard { holder: HOLDER.to_owned(), ..TypedCard::number(number) }
}

fn is_complaint(line: &str) -> bool {
    ["Content Security Policy", "Content-Security-Policy", "Uncaught", "Refused to", "violates"]
        .iter()
        .any(|words| line.contains(words))
}
