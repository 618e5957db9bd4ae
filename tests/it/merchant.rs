//! A client that was written from the provider's document alone: its samples, its paths, its two
//! ways to authenticate. Against Portcullis only base URLs, credentials and card values differ.

use http::header::{ACCEPT, CONTENT_TYPE};
use portcullis_sandbox::random;
use portcullis_sandbox::shop::gateway::Credentials;
use serde_json::Value;

use super::house::{House, basic, card};
use super::line::Version;

/// The samples as the provider prints them.
const INVOICE: [(&str, &str); 2] = [
    ("paymega", include_str!("../fixtures/providers/corefy/paymega-en.invoice-request.json")),
    ("milkypay", include_str!("../fixtures/providers/corefy/milkypay.invoice-request.json")),
];
const SALE: [(&str, &str); 2] = [
    ("paymega", include_str!("../fixtures/providers/corefy/paymega-en.sale-request.json")),
    ("milkypay", include_str!("../fixtures/providers/corefy/milkypay.sale-request.json")),
];

/// Everything that changes with the other side.
struct Merchant {
    http: reqwest::Client,
    api: String,
    cardgate: String,
    credentials: Credentials,
    number: String,
    cvv: String,
    /// The HTTP versions of all answers.
    versions: Vec<reqwest::Version>,
}

/// What a payment was made of.
struct Payment {
    id: String,
    reference: String,
    invoice_body: String,
    sale_body: String,
    status: String,
    read: Value,
    listed: Value,
}

fn sample(of: [(&str, &'static str); 2], provider: &str) -> &'static str {
    of.into_iter().find(|(name, _)| *name == provider).unwrap().1
}

impl Merchant {
    async fn answered(&mut self, call: reqwest::RequestBuilder, status: u16) -> Value {
        let answer = call.header(ACCEPT, "application/json").send().await.unwrap();
        self.versions.push(answer.version());
        let (seen, text) = (answer.status().as_u16(), answer.text().await.unwrap());
        assert_eq!(seen, status, "{text}");
        serde_json::from_str(&text).unwrap()
    }

    fn private(&self, call: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
        call.basic_auth(&self.credentials.id, Some(&self.credentials.key))
    }

    /// Creates an invoice, pays it, reads it by id and by the merchant's own key.
    async fn pay(&mut self, provider: &str, callback: &str) -> Payment {
        let reference = format!("order-{}", random::letters(10));
        let invoice_body = sample(INVOICE, provider)
            .replace("{guid}", &reference)
            .replace("https://example.com/payments/callback", callback);
        let call = self.http.post(format!("{}/payment-invoices", self.api));
        let call = call.header(CONTENT_TYPE, "application/json").body(invoice_body.clone());
        let made = self.answered(self.private(call), 201).await;
        let id = made["data"]["id"].as_str().unwrap().to_owned();
        let bearer = &made["data"]["attributes"]["flow_data"]["metadata"]["token"];

        let sale_body = sample(SALE, provider)
            .replace("5519283812030000", &self.number)
            .replace("\"123\"", &format!("\"{}\"", self.cvv));
        let call = self.http.post(format!("{}/payment/sale", self.cardgate));
        let call = call.bearer_auth(bearer.as_str().unwrap());
        let call = call.header(CONTENT_TYPE, "application/json").body(sale_body.clone());
        let sale = self.answered(call, 200).await;
        let status = sale["status"].as_str().unwrap().to_owned();

        let call = self.http.get(format!("{}/payment-invoices/{id}", self.api));
        let read = self.answered(self.private(call), 200).await;
        let url = format!("{}/payment-invoices/?filter[reference_id]={reference}", self.api);
        let listed = self.answered(self.private(self.http.get(url)), 200).await;
        Payment { id, reference, invoice_body, sale_body, status, read, listed }
    }
}

fn client(house: &House, version: Version) -> reqwest::Client {
    let tls = (*house.tls().config(version)).clone();
    let builder = reqwest::Client::builder().no_proxy().tls_backend_preconfigured(tls);
    match version {
        Version::Http1 => builder.http1_only(),
        Version::Http2 => builder.http2_prior_knowledge(),
    }
    .build()
    .unwrap()
}

fn assert_paid(payment: &Payment) {
    assert_eq!(payment.status, "processed");
    for read in [&payment.read["data"], &payment.listed["data"][0]] {
        assert_eq!(read["id"], payment.id.as_str());
        assert_eq!(read["attributes"]["status"], "processed");
        assert_eq!(read["attributes"]["reference_id"], payment.reference.as_str());
    }
}

#[tokio::test]
async fn the_client_pays_at_the_provider_itself() {
    let house = House::open().await;
    for provider in ["paymega", "milkypay"] {
        let direct = house.world.direct(provider).unwrap();
        let mut merchant = Merchant {
            http: client(&house, Version::Http1),
            api: direct.api,
            cardgate: direct.cardgate,
            credentials: direct.credentials,
            number: card().number,
            cvv: card().cvv,
            versions: Vec::new(),
        };
        let callback = format!("{}/callbacks/{provider}", house.world.shop.url());
        let payment = merchant.pay(provider, &callback).await;
        assert_paid(&payment);
        let sales = house.simulator(provider).sales();
        assert_eq!((sales.len(), &sales[0].invoice), (1, &payment.id));
    }
}

#[tokio::test]
async fn the_same_client_pays_through_portcullis() {
    let house = House::open().await;
    for version in Version::BOTH {
        for provider in ["paymega", "milkypay"] {
            pays_through(&house, version, provider).await;
        }
    }
}

async fn pays_through(house: &House, version: Version, provider: &'static str) {
    let held = house.world.account(provider).unwrap();
    let tokens = house.ready(provider).await.tokens;
    let base = format!("{}/{provider}", house.world.addresses.private);
    let mut merchant = Merchant {
        http: client(house, version),
        api: format!("{base}/api"),
        cardgate: format!("{base}/cardgate"),
        credentials: held.shop.clone(),
        number: tokens.token.clone(),
        cvv: tokens.cvv_token.clone(),
        versions: Vec::new(),
    };
    let received = house.simulator(provider).received();
    received.clear();
    let callback = format!("{}/callbacks/{provider}", house.world.shop.url());
    let payment = merchant.pay(provider, &callback).await;
    assert_paid(&payment);
    let expected = if version == Version::Http1 {
        reqwest::Version::HTTP_11
    } else {
        reqwest::Version::HTTP_2
    };
    assert_eq!(merchant.versions, [expected; 4]);

    let routes: Vec<_> = received.all().iter().map(|one| one.route).collect();
    let create = "payment-invoices.create";
    assert_eq!(routes, [create, "sale", "payment-invoices.read", "payment-invoices.list"]);
    let real = basic(&held.real.id, &held.real.key);
    for route in [create, "payment-invoices.read", "payment-invoices.list"] {
        let seen = received.last(route).unwrap();
        assert_eq!(seen.request.header("authorization"), Some(real.as_str()), "{route}");
    }
    let seen = received.last(create).unwrap();
    let told: Value = serde_json::from_slice(&seen.request.body).unwrap();
    let ours = told["data"]["attributes"]["callback_url"].as_str().unwrap();
    assert!(ours.starts_with(&format!("{}/callbacks/", house.world.addresses.public)), "{ours}");
    assert_eq!(seen.request.body, payment.invoice_body.replace(&callback, ours).as_bytes());

    let seen = received.last("sale").unwrap();
    let clear = payment.sale_body.replace(&tokens.token, &card().number);
    let clear = clear.replace(&tokens.cvv_token, &card().cvv);
    assert_eq!(seen.request.body, clear.as_bytes());
    let bearer = seen.request.header("authorization").unwrap().trim_start_matches("Bearer ");
    assert!(house.simulator(provider).bearers().contains(&bearer.to_owned()));

    let query = received.last("payment-invoices.list").unwrap().request.query.clone();
    assert_eq!(query, Some(format!("filter[reference_id]={}", payment.reference)));
    let read = received.last("payment-invoices.read").unwrap();
    assert!(read.request.path.ends_with(&format!("/payment-invoices/{}", payment.id)));
}
