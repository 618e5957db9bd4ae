//! Calls that lead nowhere, and callers that are not known.

use http::Method;
use portcullis_sandbox::shop::gateway::Credentials;
use portcullis_sandbox::world::accounts::App;

use super::super::house::{INVOICES, SALE, basic};
use super::super::line::Ask;
use super::{Row, Scene, all_are_refused};

fn at(scene: &Scene<'_>, target: &str) -> Ask {
    Ask { target: target.to_owned(), ..scene.ready.ask() }
}

fn by(scene: &Scene<'_>, method: Method) -> Ask {
    let body = if method == Method::GET { "" } else { &scene.ready.body() };
    Ask { method, ..scene.sale(body.to_owned()) }
}

fn with_authorization(ask: Ask, value: &str) -> Ask {
    ask.without("authorization").header("authorization", value)
}

fn invoice(scene: &Scene<'_>, id: &str, key: &str) -> Ask {
    with_authorization(scene.house.invoice("paymega", App::Shop), &basic(id, key))
}

fn virtually(scene: &Scene<'_>, account: &str) -> Credentials {
    scene.house.world.account(account).unwrap().shop.clone()
}

#[rustfmt::skip]
const NOWHERE: &[Row] = &[
    ("no path", 404, "route_unknown", |s| at(s, "/")),
    ("an unknown account", 404, "route_unknown", |s| at(s, &format!("/canary{SALE}"))),
    ("an unknown interface", 404, "route_unknown", |s| at(s, "/paymega/canary/payment/sale")),
    ("an unknown route", 404, "route_unknown", |s| at(s, "/paymega/cardgate/payment/canary")),
    ("a route of another interface", 404, "route_unknown", |s| at(s, "/paymega/api/payment/sale")),
    ("a route below one", 404, "route_unknown", |s| at(s, "/paymega/cardgate/payment/sale/canary")),
    ("the provider's own path", 404, "route_unknown", |s| at(s, "/cardgate/payment/sale")),
    ("a read of a sale", 404, "route_unknown", |s| by(s, Method::GET)),
    ("a sale by PUT", 404, "route_unknown", |s| by(s, Method::PUT)),
    ("a sale by DELETE", 404, "route_unknown", |s| by(s, Method::DELETE)),
    ("an escaped slash", 400, "bad_request_line", |s| at(s, "/paymega/cardgate/payment%2Fsale")),
    ("an escaped letter", 400, "path_refused", |s| at(s, "/paymega/cardgate/payment/s%61le")),
    ("an empty segment", 400, "path_refused", |s| at(s, "/paymega/cardgate//payment/sale")),
    ("dots", 400, "bad_request_line", |s| at(s, "/paymega/api/../cardgate/payment/sale")),
    ("an unknown call of ours", 404, "route_unknown", |s| at(s, "/v1/canary")),
    ("a public call", 404, "route_unknown", |s| at(s, "/v1/tokens")),
];

#[rustfmt::skip]
const NOBODY: &[Row] = &[
    ("a sale without credentials", 401, "caller_unknown", |s| s.ready.ask().without("authorization")),
    ("a read without credentials", 401, "caller_unknown", |s| s.house.read("paymega", &s.ready.invoice).without("authorization")),
    ("an invoice without credentials", 401, "caller_unknown", |s| s.house.invoice("paymega", App::Shop).without("authorization")),
    ("no handle", 401, "handle_unknown", |s| with_authorization(s.ready.ask(), "Bearer Canary")),
    ("Basic where a handle belongs", 401, "handle_unknown", |s| with_authorization(s.ready.ask(), &s.house.basic("paymega", App::Shop))),
    ("a handle of another account", 401, "handle_unknown", |s| with_authorization(s.ready.ask(), &format!("Bearer {}", s.elsewhere.handle))),
    ("another application's handle", 422, "token_unknown", |s| with_authorization(s.ready.ask(), &format!("Bearer {}", s.foreign.handle))),
    ("a handle and another's key", 401, "caller_unknown", |s| s.ready.ask().header("portcullis-key", s.house.world.key(App::Stall))),
    ("a handle and a wrong key", 401, "caller_unknown", |s| s.ready.ask().header("portcullis-key", "pk_Canary")),
    ("the provider's own bearer token", 401, "handle_unknown", |s| { let own = s.house.world.paymega.invoice(&s.ready.invoice).unwrap().token; with_authorization(s.ready.ask(), &format!("Bearer {own}")) }),
    ("two credentials", 400, "bad_field", |s| s.ready.ask().header("authorization", "Bearer Canary")),
    ("a wrong key", 401, "caller_unknown", |s| invoice(s, &virtually(s, "paymega").id, "Canary")),
    ("a wrong id", 401, "caller_unknown", |s| invoice(s, "coma_Canary", &virtually(s, "paymega").key)),
    ("credentials of another account", 401, "caller_unknown", |s| { let other = virtually(s, "milkypay"); invoice(s, &other.id, &other.key) }),
    ("one's id and another's key", 401, "caller_unknown", |s| { let stall = s.house.world.account("paymega").unwrap().stall.clone().unwrap(); invoice(s, &virtually(s, "paymega").id, &stall.key) }),
    ("the provider's real credentials", 401, "caller_unknown", |s| { let real = s.house.world.account("paymega").unwrap().real.clone(); invoice(s, &real.id, &real.key) }),
    ("no Basic at all", 401, "caller_unknown", |s| with_authorization(s.house.invoice("paymega", App::Shop), "Basic Canary")),
    ("an account that is not granted", 403, "account_not_granted", |s| Ask::get(&format!("/paymega-relay{INVOICES}/canary")).header("portcullis-key", s.house.world.key(App::Stall))),
    ("a session without a key", 401, "caller_unknown", |s| s.house.session(App::Shop).without("portcullis-key")),
    ("a session for a foreign origin", 403, "origin_refused", |s| s.house.session(App::Shop).with_body(r#"{"origin":"https://canary.example"}"#)),
    ("another application's card", 422, "token_unknown", |s| Ask::get(&format!("/v1/tokens/{}", s.ready.tokens.token)).header("portcullis-key", s.house.world.key(App::Stall))),
    ("another application's card, revoked", 422, "token_unknown", |s| Ask::new(Method::DELETE, &format!("/v1/tokens/{}", s.ready.tokens.token)).header("portcullis-key", s.house.world.key(App::Stall))),
];

#[tokio::test]
async fn a_call_that_no_profile_names_is_refused() {
    all_are_refused(NOWHERE).await;
}

#[tokio::test]
async fn a_caller_that_is_not_known_is_refused() {
    all_are_refused(NOBODY).await;
}
