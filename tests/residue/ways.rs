//! What becomes of one card: every way through the product that a card can take.

use std::io;
use std::time::Duration;

use http::Method;
use portcullis_sandbox::client::Answer;
use portcullis_sandbox::corefy::faults::Fault;
use portcullis_sandbox::random;
use portcullis_sandbox::record::until;
use portcullis_sandbox::shop::gateway::CardFields;
use portcullis_sandbox::shop::piastrix::{payform, session_of};
use portcullis_sandbox::text::{encode_form, quote};
use portcullis_sandbox::visitor::{Tokens, TypedCard, Visitor, tokens_of};
use portcullis_sandbox::world::accounts::App;
use rustls::pki_types::ServerName;
use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::house::{Ready, SALE, invoice_of, whole};
use super::line::{Ask, Framing, Version};
use super::load::Worker;

const SOON: Duration = Duration::from_secs(20);
const FORM: &str = "application/x-www-form-urlencoded";
const PARTS: &str = "multipart/form-data; boundary=ab";
const JSON: &str = "application/json";

/// A way.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Way {
    /// Captured, and in the vault from then on.
    Kept,
    /// Captured and charged.
    Sale,
    /// The provider misbehaves; this status is answered.
    Faulty(Fault, u16),
    /// The client goes away once its sale is under way.
    ClientLeaves,
    /// The client ends the body of a capture, or of a sale in clear, behind the card.
    Aborted { public: bool },
    /// On the public listener, with a card in the body, refused for one reason after the other.
    Refused,
    /// The same on the private one: an application sends the card itself.
    InClear,
    /// 3-D Secure 1 with a `PaReq` that carries the card, relayed by the server.
    Challenged,
    /// The provider prints the whole number in its callback.
    Told,
    /// Tokens in the card form of this account.
    Form(&'static str),
    /// The card itself in the card form.
    TypedForm,
    /// A withdrawal to the card.
    Payout,
    /// In a form of the shop's own, in every encoding: taken, or refused for one reason after the
    /// other.
    OwnForm,
    /// In clear, refused, printed by the provider, typed into a form, in a form of the shop's own,
    /// given up: one after the other, and little or nothing behind it on its connections.
    Last,
}

pub(crate) async fn pay(worker: &mut Worker, way: Way, serial: usize, card: TypedCard) {
    match way {
        Way::Kept => drop(capture(worker, &card).await),
        Way::Sale => charge(worker, "paymega", &card, 200).await,
        Way::Faulty(_, status) => charge(worker, "milkypay", &card, status).await,
        Way::ClientLeaves => leave(worker, &card).await,
        Way::Aborted { public } => abort(worker, serial, &card, public).await,
        Way::Refused => refuse(worker, serial, &card).await,
        Way::InClear => show_card(worker, serial, &card).await,
        Way::Challenged => challenge(worker, &card).await,
        Way::Told => tell(worker, &card).await,
        Way::Form(account) => fill_in(worker, account, &card, false).await,
        Way::TypedForm => fill_in(worker, "qostiq", &card, true).await,
        Way::Payout => pay_out(worker, &card).await,
        Way::OwnForm => type_into_own_form(worker, serial, &card).await,
        Way::Last => match serial / 2 % 6 {
            0 => show_card(worker, serial, &card).await,
            1 => refuse(worker, serial, &card).await,
            2 => charge(worker, "milkypay", &card, 422).await,
            3 => fill_in(worker, "qostiq", &card, true).await,
            4 => type_into_own_form(worker, serial, &card).await,
            _ => {
                // Nothing that still waits for the rest of a body: that is under way.
                let ended = usize::from(worker.version == Version::Http2);
                abort(worker, ended, &card, serial.is_multiple_of(2)).await;
            }
        },
    }
}

async fn capture(worker: &mut Worker, card: &TypedCard) -> Tokens {
    let session = worker.session().await;
    let ask = worker.house.capture(&session, card);
    tokens_of(&worker.hand_in(&ask).await).unwrap()
}

async fn ready(worker: &mut Worker, account: &'static str, card: &TypedCard) -> Ready {
    let tokens = capture(worker, card).await;
    let ask = invoice(worker, account);
    let (invoice, handle) = invoice_of(&worker.ask(&ask).await);
    Ready { account, invoice, handle, tokens, card: card.clone() }
}

fn invoice(worker: &Worker, account: &str) -> Ask {
    let house = &worker.house;
    let shop = house.world.shop.url();
    let body = format!(
        r#"{{"data":{{"type":"payment-invoices","attributes":{{"reference_id":"ref-{}","currency":
           "USD","amount":17.10,"service":"payment_card_usd_hpp","return_url":"{shop}/"{}}}}}}}"#,
        random::letters(12),
        // One account's callbacks are awaited; those of ten thousand payments would only cost time.
        if account == "paymega-redirect" {
            format!(r#","callback_url":"{shop}/callbacks/{account}""#)
        } else {
            String::new()
        }
    );
    house.invoice(account, App::Shop).with_body(body)
}

async fn charge(worker: &mut Worker, account: &'static str, card: &TypedCard, status: u16) {
    let ready = ready(worker, account, card).await;
    let answer = worker.ask(&ready.ask()).await;
    assert_eq!(answer.status, status, "{}", answer.text());
}

async fn leave(worker: &mut Worker, card: &TypedCard) {
    let ask = ready(worker, "paymega", card).await.ask();
    let mut line = worker.open(false).await;
    let mut begun = line.begin(&ask, ask.body.len()).await.unwrap();
    line.complete(&mut begun).await.unwrap();
}

/// With the card in front and something missing at the end.
fn unfinished(card: &TypedCard) -> String {
    format!(
        r#"{{"card":{{"number":"{}","cvv":"{}","exp_month":"10","exp_year":"35","holder":"x"}}}}"#,
        card.number, card.cvv
    )
}

async fn abort(worker: &mut Worker, serial: usize, card: &TypedCard, public: bool) {
    let session = worker.session().await;
    let house = &worker.house;
    let good = if public { house.capture(&session, card) } else { in_clear(worker, card) };
    let body = if public { unfinished(card).into() } else { good.body.clone() };
    let ask = good.with_body(body).framed(Framing::BOTH[serial / 2 % 2]);
    let upto = ask.body.len() - 4;
    if public && worker.version == Version::Http1 && serial.is_multiple_of(4) {
        return cut(worker, &ask, upto).await.unwrap();
    }
    let mut line = worker.open(public).await;
    let begun = line.begin(&ask, upto).await.unwrap();
    match (worker.version, serial % 4) {
        // Gone without a word.
        (_, 0) => return,
        // Says that it does not want it any more, and stays.
        (Version::Http2, 1 | 2) => begun.reset(),
        // Says nothing more.
        _ => {}
    }
    worker.keep(line);
}

/// A sale with the card where its tokens belong.
fn in_clear(worker: &Worker, card: &TypedCard) -> Ask {
    let body = format!(
        r#"{{"data":{{"type":"sale-operation","attributes":{{"card_number":"{}","cvv":"{}",
           "card_holder":"x","exp_month":"10","exp_year":"35"}}}}}}"#,
        card.number, card.cvv
    );
    Ask::json(&format!("/paymega{SALE}"), body)
        .header("authorization", &worker.house.basic("paymega", App::Shop))
}

/// A connection that is reset and not closed.
async fn cut(worker: &Worker, ask: &Ask, upto: usize) -> io::Result<()> {
    let authority = worker.house.world.addresses.public.trim_start_matches("https://");
    let stream = TcpStream::connect(authority).await?;
    let name = ServerName::try_from("localhost").unwrap();
    let mut stream = TlsConnector::from(worker.tls.clone()).connect(name, stream).await?;
    let head = format!(
        "POST /v1/tokens HTTP/1.1\r\nhost: {authority}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n",
        ask.body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(&ask.body[..upto]).await?;
    stream.flush().await?;
    tokio::time::sleep(Duration::from_millis(5)).await;
    #[expect(deprecated, reason = "waits for nothing when the time is zero")]
    stream.get_ref().0.set_linger(Some(Duration::ZERO))
}

async fn refuse(worker: &mut Worker, serial: usize, card: &TypedCard) {
    let session = worker.session().await;
    let good = worker.house.capture(&session, card);
    let with = |body: String| good.clone().with_body(body);
    let to = |target: &str| Ask { target: target.to_owned(), ..good.clone() };
    let (number, cvv) = (&card.number, &card.cvv);
    let ask = match serial / 2 % 11 {
        0 => good.without("authorization"),
        1 => good.without("content-type").header("content-type", "text/plain"),
        2 => good.without("origin").header("origin", "https://elsewhere.example"),
        3 => with(card.body().replace(r#""exp_month":"10""#, r#""exp_month":"13""#)),
        4 => with(format!(r#"{{"card":{{"number":"{number}","number":"{number}"}}}}"#)),
        5 => with(format!(r#"{{"card":{{"number":"{number}","cvv":"{cvv}","more":1"#)),
        6 => with(format!("{}{}", card.body(), " ".repeat(20_000))),
        7 => with(TypedCard { cvv: format!("{cvv}77"), ..card.clone() }.body()),
        8 => to("/callbacks/paymega"),
        9 => to("/payform/unknown"),
        _ => to("/nowhere"),
    };
    let answer = worker.hand_in(&ask).await;
    assert!((400..500).contains(&answer.status), "{serial} {}", answer.text());
}

async fn show_card(worker: &mut Worker, serial: usize, card: &TypedCard) {
    let ready = ready(worker, "paymega", card).await;
    let good = Ask { body: in_clear(worker, card).body, ..ready.ask() };
    let ask = match serial / 2 % 6 {
        0 => good.without("authorization"),
        1 => good.without("content-type").header("content-type", "text/plain"),
        2 => good.clone().with_body(good.body.slice(..good.body.len() - 3)),
        3 => Ask { target: "/paymega/cardgate/nowhere".to_owned(), ..good },
        4 => worker.house.session(App::Shop).with_body(good.body),
        _ => good,
    };
    let answer = worker.ask_in_vain(&ask).await;
    assert!((400..500).contains(&answer.status), "{serial} {}", answer.text());
}

async fn challenge(worker: &mut Worker, card: &TypedCard) {
    let ready = ready(worker, "paymega-relay", card).await;
    let answer = worker.ask(&ready.ask()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let document = answer.json().unwrap();
    let action = document["auth_payload"]["action"].as_str().unwrap();
    let world = &worker.house.world;
    assert!(action.starts_with(&world.addresses.public), "{action}");
    let visitor = Visitor::new(&world.client, world.shop.url());
    let bank = visitor.walk_on(visitor.browser.open(action).await.unwrap()).await.unwrap();
    let back = visitor.press(&bank, "approve").await.unwrap();
    visitor.walk_on(back).await.unwrap();
}

async fn tell(worker: &mut Worker, card: &TypedCard) {
    let ready = ready(worker, "paymega-redirect", card).await;
    assert_eq!(worker.ask(&ready.ask()).await.status, 200);
    let simulator = &worker.house.world.paymega;
    let delivered = || {
        let sent = simulator.deliveries_of(&ready.invoice);
        (sent.len() > 1 && sent.iter().all(|one| one.delivered())).then_some(())
    };
    until(SOON, delivered).await.expect("the callback was not delivered");
}

async fn fill_in(worker: &mut Worker, account: &str, card: &TypedCard, typed: bool) {
    let ask = card_form(worker, account, card, typed).await;
    let (answer, expected) = match account {
        "qostiq" => (worker.hand_in(&ask).await, 303),
        _ => (worker.post_form(&ask).await, 200),
    };
    assert_eq!(answer.status, expected, "{}", answer.text());
}

/// The card form as the browser is about to post it: with tokens, or with the card itself.
pub(crate) async fn card_form(
    worker: &mut Worker,
    account: &str,
    card: &TypedCard,
    typed: bool,
) -> Ask {
    let card = if typed {
        fields(card, (&card.number, &card.cvv))
    } else {
        let tokens = capture(worker, card).await;
        fields(card, (&tokens.token, &tokens.cvv_token))
    };
    let client = worker.house.world.piastrix(account, App::Shop).unwrap();
    let shop = worker.house.world.shop.url();
    let urls = ["success_url", "failed_url"].map(|name| (name, shop));
    let order = format!("ord-{}", random::letters(12));
    let made = json(client.invoice(&order, "17.10", &urls).await.unwrap());
    let session = session_of(&made).unwrap();
    let form = json(client.h2h_data(&session).await.unwrap());
    let form = payform(&form, &session, &card).unwrap();
    let path = form.action.strip_prefix(&worker.house.world.addresses.public).unwrap();
    let ask = Ask::new(Method::POST, path).header("content-type", FORM);
    ask.with_body(encode_form(&form.fields))
}

fn json(answer: Answer) -> Value {
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json().unwrap()
}

fn fields(card: &TypedCard, (number, cvv): (&str, &str)) -> CardFields {
    CardFields {
        number: number.to_owned(),
        holder: card.holder.clone(),
        cvv: cvv.to_owned(),
        month: card.month.clone(),
        year: card.year.clone(),
        browser_info: Value::Null,
    }
}

async fn pay_out(worker: &mut Worker, card: &TypedCard) {
    let tokens = capture(worker, card).await;
    let client = worker.house.world.piastrix("qostiq", App::Shop).unwrap();
    let answer = json(client.withdraw(&random::letters(12), &tokens.token).await.unwrap());
    assert_eq!(answer["result"], true, "{}", quote(&answer.to_string()));
}

async fn type_into_own_form(worker: &mut Worker, serial: usize, card: &TypedCard) {
    let (number, cvv, holder) = (&card.number, &card.cvv, &card.holder);
    let typed =
        [("number", number.as_str()), ("expiry", "10/35"), ("cvv", cvv), ("holder", holder)];
    let (kind, body) = match serial / 2 % 3 {
        0 => (FORM, encode_form(&typed.map(|(name, value)| (name.to_owned(), value.to_owned())))),
        1 => (PARTS, in_parts(&typed)),
        _ => {
            let member = |(name, value): &(&str, &str)| format!("\"{name}\":{}", quote(value));
            let members: Vec<_> = typed.iter().map(member).collect();
            (JSON, format!("{{\"card\":{{{}}}}}", members.join(",")))
        }
    };
    let path = if kind == JSON { "/api/checkout/17/pay" } else { "/checkout/17/pay" };
    let (path, kind, body, expected) = match serial / 6 % 6 {
        0 => (path.to_owned(), "text/plain", body, 415),
        1 => (format!("{path}?n={number}"), kind, body, 422),
        2 if kind == FORM => (path.to_owned(), kind, format!("{body}%zz"), 400),
        2 => (path.to_owned(), kind, body[..body.len() - 3].to_owned(), 400),
        _ => (path.to_owned(), kind, body, 200),
    };
    let ask = Ask::new(Method::POST, &path).header("content-type", kind).with_body(body);
    let authority = worker.house.world.own_form_url().replace("https://", "");
    let mut line = worker.open(true).await.calling(&authority);
    let answer = line.send(&ask).await;
    worker.heard.extend(whole(&answer).into_bytes());
    worker.keep(line);
    assert_eq!(answer.status, expected, "{serial} {kind}: {}", answer.text());
}

fn in_parts(fields: &[(&str, &str)]) -> String {
    let part = |(name, value): &(&str, &str)| {
        format!("--ab\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    };
    fields.iter().map(part).chain(["--ab--\r\n".to_owned()]).collect()
}
