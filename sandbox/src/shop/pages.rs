//! The shop's pages. Plain HTML; every value is escaped.

use super::Offer;
use super::order::{Challenge, Order};
use super::sides::{Seen, shown};
use crate::corefy::cards::CARDS;
use crate::testcard::TestCard;
use crate::text::{escape, fill};
use crate::{highhelp, qostiq};

fn layout(title: &str, body: &str, scripts: &str) -> String {
    fill(
        include_str!("assets/layout.html"),
        &[("title", &escape(title)), ("body", body), ("scripts", scripts)],
    )
}

fn own_script(name: &str) -> String {
    format!("<script src=\"/{name}\" defer></script>")
}

pub(super) fn product() -> String {
    layout("A small brass gate", include_str!("assets/product.html"), "")
}

pub(super) fn message(title: &str, text: &str) -> String {
    let body = format!("<h1>{}</h1><p>{}</p>", escape(title), escape(text));
    layout(title, &body, "")
}

pub(super) fn checkout(offers: &[Offer], public: &str) -> String {
    let one = |offer: &Offer| {
        format!("<option value=\"{}\">{}</option>", escape(&offer.name), escape(&offer.title))
    };
    let options: String = offers.iter().map(one).collect();
    let cards: String = test_cards().map(|(number, shows)| card(number, &shows)).collect();
    let public = escape(public);
    let values = [("options", options.as_str()), ("cards", &cards), ("public", &public)];
    let scripts = fill(include_str!("assets/scripts.html"), &[("public", &public)]);
    layout("Checkout", &fill(include_str!("assets/checkout.html"), &values), &scripts)
}

/// Every provider has its own.
fn test_cards() -> impl Iterator<Item = (&'static str, String)> {
    let corefy = CARDS.iter().map(|card| (card.number, card.shows.to_owned()));
    let of = |title: &'static str| {
        move |card: &TestCard| (card.number, format!("{title}: {}", card.shows))
    };
    let qostiq = qostiq::cards::CARDS.iter().map(of(qostiq::TITLE));
    let highhelp = highhelp::cards::CARDS.iter().map(of(highhelp::TITLE));
    corefy.chain(qostiq).chain(highhelp)
}

fn card(number: &str, shows: &str) -> String {
    let (number, shows) = (grouped(number), escape(shows));
    format!("<li><code>{number}</code> {shows}</li>")
}

fn grouped(number: &str) -> String {
    let groups: Vec<&str> = (0..4).filter_map(|n| number.get(n * 4..n * 4 + 4)).collect();
    groups.join(" ")
}

/// The form is made from whatever the provider sent. A GET form loses its action's own query, so
/// that query becomes fields.
pub(super) fn verify(challenge: &Challenge) -> String {
    let get = challenge.method.eq_ignore_ascii_case("get");
    let (action, query) = match challenge.action.split_once('?') {
        Some((action, query)) if get => (action, query),
        _ => (challenge.action.as_str(), ""),
    };
    let own = url::form_urlencoded::parse(query.as_bytes()).into_owned();
    let one = |(name, value): (String, String)| {
        let (name, value) = (escape(&name), escape(&value));
        format!("<input type=\"hidden\" name=\"{name}\" value=\"{value}\">")
    };
    let inputs: String = own.chain(challenge.params.iter().cloned()).map(one).collect();
    let body = format!(
        "<h1>Your bank wants to know</h1><p>You are being taken to your bank's page …</p>\
         <form method=\"{}\" action=\"{}\" accept-charset=\"utf-8\">{inputs}\
         <button>Continue</button></form>",
        if get { "get" } else { "post" },
        escape(action)
    );
    layout("Confirm the payment", &body, &own_script("submit.js"))
}

pub(super) fn result(order: &Order) -> String {
    let (title, class) = match (order.status.as_str(), &order.problem) {
        (_, Some(_)) => ("Not paid", "bad"),
        ("processed" | "success", None) => ("Paid. Thank you!", "good"),
        ("process_failed" | "rejected" | "decline", None) => ("Declined", "bad"),
        _ => ("Waiting for the payment", "wait"),
    };
    let row = |(name, value): &(String, String)| {
        format!("<tr><th>{}</th><td><code>{}</code></td></tr>", escape(name), escape(value))
    };
    let seen: String = order.seen.iter().map(row).collect();
    let values = [
        ("title", title.to_owned()),
        ("class", class.to_owned()),
        ("order", escape(&order.id)),
        ("status", escape(&order.status)),
        ("problem", escape(order.problem.as_deref().unwrap_or("none"))),
        ("callbacks", order.callbacks.to_string()),
        ("seen", seen),
    ];
    let values = values.each_ref().map(|(name, value)| (*name, value.as_str()));
    let scripts = if order.is_final() { String::new() } else { own_script("wait.js") };
    layout(title, &fill(include_str!("assets/result.html"), &values), &scripts)
}

/// The shop, Portcullis and the provider, side by side.
pub(super) fn sides(order: &Order, [shop, portcullis, provider]: &[Vec<Seen>; 3]) -> String {
    let one = |seen: &Seen| {
        let (what, text) = (escape(&seen.what), shown(&seen.text));
        format!("<h3>{what}</h3><pre tabindex=\"0\">{text}</pre>")
    };
    let column = |seen: &[Seen]| match seen {
        [] => "<p class=\"note\">Nothing yet.</p>".to_owned(),
        seen => seen.iter().map(one).collect(),
    };
    let (shop, portcullis, provider) = (column(shop), column(portcullis), column(provider));
    let values = [
        ("order", order.id.as_str()),
        ("account", order.account.as_str()),
        ("shop", &shop),
        ("portcullis", &portcullis),
        ("provider", &provider),
    ];
    layout("What each side saw", &fill(include_str!("assets/sides.html"), &values), "")
}

pub(super) fn log(raw: &[u8]) -> String {
    let text = escape(&String::from_utf8_lossy(raw)).replace("&#10;", "\n").replace("&#13;", "");
    let body = format!(
        "<h1>Everything this shop's server received</h1><p>Requests, callbacks and Portcullis' answers, raw. \
         Search it for a card number.</p><pre class=\"log\">{text}</pre>"
    );
    layout("Log", &body, "")
}
