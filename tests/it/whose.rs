//! Whose token it is, where applications and browsers use it (threat T12): owner by caller by
//! account by route. A token is redeemed for its owner alone, at the accounts that its session
//! names; anywhere else it is as if there were none.

use portcullis_sandbox::client::Answer;
use portcullis_sandbox::corefy::cards::PLAIN;
use portcullis_sandbox::random;
use portcullis_sandbox::text::quote;
use portcullis_sandbox::visitor::{Tokens, tokens_of};
use portcullis_sandbox::world::accounts::App;

use super::house::{House, Ready, assert_problem, card, card_fields, invoice_of, session_of};
use super::line::Version;

const APPS: [App; 2] = [App::Shop, App::Stall];

/// Each way in which a profile has a card put in. Stall may not call the last one's account.
const ROUTES: [&str; 8] = [
    "paymega sale",
    "milkypay sale",
    "highhelp ecom.payin",
    "highhelp ecom.payout",
    "highhelp p2p.payout",
    "qostiq withdraw.create",
    "qostiq payform",
    "paymega-relay sale",
];

impl House {
    async fn sale_with(&self, account: &'static str, caller: App, tokens: Tokens) -> Answer {
        let mut private = self.private(Version::Http1).await;
        // Whoever has no credentials for an account shows those that he has for another.
        let is_granted = self.world.account(account).unwrap().stall.is_some();
        let held = if caller == App::Shop || is_granted { account } else { "paymega" };
        let mut ask = self.invoice(held, caller);
        ask.target = ask.target.replacen(held, account, 1);
        let made = private.send(&ask).await;
        if made.status == 401 {
            return made;
        }
        let (invoice, handle) = invoice_of(&made);
        private.send(&Ready { account, invoice, handle, tokens, card: card() }.ask()).await
    }

    async fn call(&self, route: &str, caller: App, tokens: Tokens) -> Answer {
        let payment = self.new_payment();
        let highhelp = || self.world.highhelp("highhelp", caller).unwrap();
        match route {
            "paymega sale" => self.sale_with("paymega", caller, tokens).await,
            "paymega-relay sale" => self.sale_with("paymega-relay", caller, tokens).await,
            "milkypay sale" => self.sale_with("milkypay", caller, tokens).await,
            "highhelp ecom.payin" => {
                highhelp().payin(&payment, &card_fields(&tokens)).await.unwrap()
            }
            "highhelp ecom.payout" => {
                highhelp().payout("ecom", &payment, &tokens.token).await.unwrap()
            }
            "highhelp p2p.payout" => {
                highhelp().payout("p2p", &payment, &tokens.token).await.unwrap()
            }
            "qostiq withdraw.create" => {
                let qostiq = self.world.piastrix("qostiq", caller).unwrap();
                let payout = format!("out-{}", random::letters(8));
                qostiq.withdraw(&payout, &tokens.token).await.unwrap()
            }
            "qostiq payform" => {
                let form = self.card_form_of("qostiq", caller, &tokens).await;
                self.public(Version::Http1).await.send(&form).await
            }
            other => panic!("{other}"),
        }
    }

    /// How often a provider was sent the card.
    fn cards_at_providers(&self) -> usize {
        let world = &self.world;
        let all = [&world.paymega, &world.milkypay].map(|at| at.received().all());
        let others = [world.highhelp.received().all(), world.qostiq.received().all()];
        let holds = |body: &[u8]| body.windows(PLAIN.len()).any(|text| text == PLAIN.as_bytes());
        all.iter().chain(&others).flatten().filter(|got| holds(&got.request.body)).count()
    }
}

#[tokio::test]
async fn a_token_is_redeemed_for_its_owner_alone_on_every_route() {
    let house = House::open().await;
    let mut revealed = 0;
    for route in ROUTES {
        for owner in APPS {
            for caller in APPS {
                let name = format!("{route}: a card of {owner:?} for {caller:?}");
                let answer = house.call(route, caller, house.captured_by(owner).await).await;
                let granted = caller == App::Shop || route != "paymega-relay sale";
                match (granted, owner == caller) {
                    (true, true) => {
                        assert!(answer.status < 400, "{name}: {}", answer.text());
                        revealed += 1;
                    }
                    (true, false) if route == "qostiq payform" => {
                        assert_eq!(answer.status, 422, "{name}: {}", answer.text());
                    }
                    (true, false) => drop(assert_problem(&answer, 422, "token_unknown", "no")),
                    (false, _) => assert_eq!(answer.status, 401, "{name}: {}", answer.text()),
                }
                assert_eq!(house.cards_at_providers(), revealed, "{name}");
            }
        }
    }
    assert_eq!(revealed, 15);
}

#[tokio::test]
async fn a_token_of_a_session_for_one_account_is_nothing_at_another() {
    let house = House::open().await;
    let mut private = house.private(Version::Http1).await;
    let mut public = house.public(Version::Http1).await;
    let body = format!(r#"{{"origin":{},"account":"paymega"}}"#, quote(house.world.shop.url()));
    let session = session_of(&private.send(&house.session(App::Shop).with_body(body)).await);
    let tokens = tokens_of(&public.send(&house.capture(&session, &card())).await).unwrap();
    for route in ROUTES.into_iter().filter(|route| *route != "paymega sale") {
        let answer = house.call(route, App::Shop, tokens.clone()).await;
        match route {
            "qostiq payform" => assert_eq!(answer.status, 422, "{route}: {}", answer.text()),
            _ => drop(assert_problem(&answer, 422, "token_unknown", "no")),
        }
        assert_eq!(house.cards_at_providers(), 0, "{route}");
    }
    assert_eq!(house.call("paymega sale", App::Shop, tokens).await.status, 200);
    assert_eq!(house.cards_at_providers(), 1);
}
