//! The whole list, headless: every case for every provider, one row each, and a last look into the
//! logs.

mod api;
mod callback;
mod explain;
mod fail;
mod guard;
mod highhelp;
pub mod leak;
mod logs;
mod own;
mod pay;
mod qostiq;
mod relay;
mod scene;
mod stage;

use crate::world::World;
use anyhow::{Result, anyhow};
use scene::Scene;
use stage::Stage;
use std::pin::Pin;
use std::time::{Duration, Instant};

/// No case may take longer.
const CASE_MAX: Duration = Duration::from_secs(60);

type Running<'a> = Pin<Box<dyn Future<Output = Result<()>> + 'a>>;
type Case = (&'static str, for<'a> fn(Scene<'a>) -> Running<'a>);

/// Names cases and boxes their futures; each is played on the given kind of stage.
macro_rules! cases {
    ($stage:ident: $($name:literal => $case:path),* $(,)?) => {
        &[$(($name, (|scene| Box::pin($case($stage::from(scene))))
            as for<'a> fn($crate::once::Scene<'a>) -> $crate::once::Running<'a>)),*]
    };
}
use cases;

/// Accounts, and the cases that are played on each.
const LISTS: [(&str, &[Case]); 7] = [
    ("paymega", COREFY),
    ("milkypay", COREFY),
    ("qostiq", qostiq::CASES),
    ("qostiq-browser", qostiq::BROWSER_CASES),
    ("highhelp", highhelp::CASES),
    ("highhelp-hmac", highhelp::CASES),
    ("own form", own::CASES),
];

const COREFY: &[Case] = cases![Stage:
    "payment without 3-D Secure" => pay::no_3ds,
    "payment with 3DS1" => pay::three_ds1,
    "payment with 3DS1, refused at the bank" => pay::three_ds1_refused,
    "payment with 3DS2" => pay::three_ds2,
    "declined card" => pay::decline,
    "pending, settled later" => pay::pending,
    "3DS return relayed by POST" => relay::by_post,
    "3DS return relayed by GET" => relay::by_get,
    "3DS return of 40 kB, odd fields" => relay::large,
    "3DS return submitted in parallel" => relay::double_submit,
    "3DS return by 307" => relay::redirect307,
    "3DS handed off inline" => relay::inline,
    "3DS inline, card in PaReq refused" => relay::inline_with_card,
    "sale submitted twice in parallel" => guard::double_sale,
    "sale explained, then made" => explain::sale,
    "pasted sale, its refusal foretold" => explain::pasted,
    "burned CVV" => guard::burned_cvv,
    "expired token" => guard::expired_token,
    "raw card from the app refused" => guard::raw_card,
    "foreign token refused" => guard::foreign_token,
    "foreign bearer handle refused" => guard::foreign_bearer,
    "token in another field stays text" => guard::token_elsewhere,
    "wrong credentials refused" => guard::wrong_key,
    "route that no profile names refused" => guard::unlisted_route,
    "cards from the shop's origin only" => guard::cross_origin,
    "gateway down, then back" => fail::down,
    "gateway silent" => fail::silent,
    "gateway answers by half" => fail::half_answer,
    "gateway cuts the connection" => fail::cut_off,
    "card echoed in an error is scrubbed" => fail::echo_in_error,
    "card echoed in base64 is scrubbed" => fail::echo_in_base64,
    "card echoed in a header is dropped" => fail::echo_in_header,
    "card on an HTML error page is scrubbed" => fail::html_500,
    "payout to a card, read back" => api::payout,
    "invoice read by id and by filter" => api::reads,
    "pre-request" => api::prerequest,
    "callback delivered and re-signed" => callback::delivered,
    "callback replayed, delivered once" => callback::replayed,
    "callback with a wrong signature refused" => callback::forged,
    "callback repeated until the shop is ready" => callback::retried,
    "card in a callback is scrubbed" => callback::card_in_callback,
];

/// What a run came to.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tally {
    /// Cases that passed.
    pub passed: usize,
    /// Cases that failed.
    pub failed: usize,
}

/// Plays every case whose name contains `only` and prints one row for each.
pub async fn run(world: &World, only: &str) -> Tally {
    let mut tally = Tally::default();
    for (account, cases) in LISTS {
        let scene = Scene { world, account };
        for (name, case) in cases.iter().filter(|(name, _)| name.contains(only)) {
            let started = Instant::now();
            let outcome = tokio::time::timeout(CASE_MAX, case(scene)).await;
            let outcome = outcome.unwrap_or_else(|_| Err(anyhow!("not done after {CASE_MAX:?}")));
            restore(world).await;
            tally.row(account, name, started, outcome);
        }
    }
    type Look = (&'static str, fn(&World) -> Result<()>);
    let looks: [Look; 4] = [
        ("no card and no CVV in the shop's log", logs::shop),
        ("no card and no CVV in Portcullis' logs", logs::portcullis),
        ("no credential of a provider in the logs", logs::credentials),
        ("no signature over a clear card in the logs", logs::signatures),
    ];
    for (name, look) in looks.iter().filter(|(name, _)| name.contains(only)) {
        let started = Instant::now();
        tally.row("all", name, started, look(world));
    }
    println!("\n{} passed, {} failed", tally.passed, tally.failed);
    tally
}

/// Whatever a case switched on, the next one starts with providers that behave.
async fn restore(world: &World) {
    world.shop.refuse_callbacks(0);
    world.acs.style(crate::acs::Style::default());
    world.paymega.behave();
    world.milkypay.behave();
    world.qostiq.behave();
    world.highhelp.behave();
    let up = [
        world.paymega.up().await,
        world.milkypay.up().await,
        world.qostiq.up().await,
        world.highhelp.up().await,
    ];
    for error in up.into_iter().filter_map(Result::err) {
        eprintln!("sandbox: a simulator did not come back: {error:#}");
    }
}

impl Tally {
    fn row(&mut self, provider: &str, name: &str, started: Instant, outcome: Result<()>) {
        let took = started.elapsed().as_millis();
        match outcome {
            Ok(()) => {
                self.passed += 1;
                println!("PASS  {provider:<14} {name:<46} {took:>6} ms");
            }
            Err(error) => {
                self.failed += 1;
                println!("FAIL  {provider:<14} {name:<46} {took:>6} ms");
                println!("      {error:#}");
            }
        }
    }
}
