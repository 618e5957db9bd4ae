//! A person with a card in front of a browser, headless: does what the shop's page script does,
//! step by step.

use crate::browser::{Browser, Page};
use crate::client::{Answer, Call, Client};
use crate::text::quote;
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

/// The code on every card that the sandbox pays with by itself.
pub const CVV: &str = "739";

/// A card as a person types it.
#[derive(Debug, Clone)]
pub struct TypedCard {
    /// Number.
    pub number: String,
    /// Code.
    pub cvv: String,
    /// Two digits.
    pub month: String,
    /// Two digits.
    pub year: String,
    /// Name on the card.
    pub holder: String,
}

impl TypedCard {
    /// A test card with the usual expiry, 10/35.
    #[must_use]
    pub fn number(number: &str) -> Self {
        Self {
            number: number.to_owned(),
            cvv: CVV.to_owned(),
            month: "10".to_owned(),
            year: "35".to_owned(),
            holder: "Card Holder".to_owned(),
        }
    }

    /// The same with another expiry.
    #[must_use]
    pub fn expiring(mut self, month: &str, year: &str) -> Self {
        (self.month, self.year) = (month.to_owned(), year.to_owned());
        self
    }

    /// The body of `POST /v1/tokens`.
    #[must_use]
    pub fn body(&self) -> String {
        json!({"card": {
            "number": self.number,
            "cvv": self.cvv,
            "exp_month": self.month,
            "exp_year": self.year,
            "holder": self.holder,
        }})
        .to_string()
    }
}

/// What a capture gives back.
#[derive(Debug, Clone)]
pub struct Tokens {
    /// `tok_…`.
    pub token: String,
    /// `cvv_…`.
    pub cvv_token: String,
}

/// Opens a capture session as an app's server does.
pub async fn open_session(
    client: &Client,
    private: &str,
    key: &str,
    origin: &str,
) -> Result<String> {
    let body = format!(r#"{{"origin":{},"ttl_seconds":600,"max_cards":5}}"#, quote(origin));
    let url = format!("{private}/v1/capture-sessions");
    let answer = client.send(Call::post_json(url, body).header("portcullis-key", key)).await?;
    let document = answer.json()?;
    let id = document.get("id").and_then(Value::as_str).map(str::to_owned);
    id.with_context(|| format!("no capture session, status {}", answer.status))
}

/// The call by which a browser hands over a card.
#[must_use]
pub fn capture_call(tokens_url: &str, session: &str, origin: &str, card: &TypedCard) -> Call {
    Call::post_json(tokens_url, card.body())
        .header("authorization", &format!("Bearer {session}"))
        .header("origin", origin)
}

/// Reads the answer to that call.
pub fn tokens_of(answer: &Answer) -> Result<Tokens> {
    let document = answer.json()?;
    let text = |name: &str| {
        let value = document.pointer(&format!("/card/{name}")).and_then(Value::as_str);
        value.map(str::to_owned).with_context(|| {
            format!("no {name} in the answer to the capture, status {}", answer.status)
        })
    };
    Ok(Tokens { token: text("token")?, cvv_token: text("cvv_token")? })
}

/// A checkout that was begun.
#[derive(Debug, Clone)]
pub struct Checkout {
    /// Order id.
    pub order: String,
    /// `cs_…`.
    pub session: String,
    /// Where the card goes.
    pub tokens_url: String,
}

/// What the shop answered to the payment.
#[derive(Debug, Clone)]
pub struct Paid {
    /// Order id.
    pub order: String,
    /// Where to go next.
    pub next: String,
    /// Status.
    pub status: String,
    /// Why not, if not.
    pub problem: Option<String>,
    /// `Portcullis-Forwarded` of the last call.
    pub forwarded: Option<String>,
}

/// The person.
pub struct Visitor {
    client: Client,
    shop: String,
    /// For the 3-D Secure step.
    pub browser: Browser,
}

impl Visitor {
    /// Somebody at the shop's door.
    #[must_use]
    pub fn new(client: &Client, shop: &str) -> Self {
        Self {
            client: client.clone(),
            shop: shop.to_owned(),
            browser: Browser::new(client.clone()),
        }
    }

    /// Looks at the checkout and begins.
    pub async fn checkout(&self, account: &str) -> Result<Checkout> {
        let told = self.post("/api/checkout", &json!({ "account": account })).await?;
        let text = |name: &str| {
            let value = told.get(name).and_then(Value::as_str).map(str::to_owned);
            value.with_context(|| format!("the shop's answer has no {name}"))
        };
        Ok(Checkout {
            order: text("order")?,
            session: text("session")?,
            tokens_url: text("tokens_url")?,
        })
    }

    /// Hands the card to Portcullis.
    pub async fn capture(&self, checkout: &Checkout, card: &TypedCard) -> Result<Tokens> {
        let call = capture_call(&checkout.tokens_url, &checkout.session, &self.shop, card);
        tokens_of(&self.client.send(call).await?)
    }

    /// Gives the tokens to the shop.
    pub async fn pay(
        &self,
        checkout: &Checkout,
        tokens: &Tokens,
        card: &TypedCard,
    ) -> Result<Paid> {
        let body = json!({
            "order": checkout.order,
            "token": tokens.token,
            "cvv_token": tokens.cvv_token,
            "holder": card.holder,
            "exp_month": card.month,
            "exp_year": card.year,
            "browser_info": {
                "browser_tz": "-60",
                "browser_screen_width": "1920",
                "browser_java_enabled": false,
            },
        });
        let told = self.post("/api/pay", &body).await?;
        let text = |name: &str| told.get(name).and_then(Value::as_str).map(str::to_owned);
        Ok(Paid {
            order: checkout.order.clone(),
            next: text("next").context("the shop does not say where to go next")?,
            status: text("status").unwrap_or_default(),
            problem: text("problem"),
            forwarded: text("forwarded"),
        })
    }

    /// All three.
    pub async fn buy(&self, account: &str, card: &TypedCard) -> Result<Paid> {
        let checkout = self.checkout(account).await?;
        let tokens = self.capture(&checkout, card).await?;
        self.pay(&checkout, &tokens, card).await
    }

    /// Goes to the bank's page: over the shop's own page and whatever lies in between.
    pub async fn to_the_bank(&self, paid: &Paid) -> Result<Page> {
        let mut page = self.browser.open(&format!("{}{}", self.shop, paid.next)).await?;
        for _ in 0..4 {
            let form = page.form()?;
            if !form.buttons.is_empty() {
                return Ok(page);
            }
            page = self.browser.submit(&page, &form, None).await?;
        }
        bail!("the bank's page was never reached")
    }

    /// Goes wherever pages that submit themselves lead: from the shop's page to the bank's, or back
    /// to the shop.
    pub async fn walk(&self, paid: &Paid) -> Result<Page> {
        let page = self.browser.open(&format!("{}{}", self.shop, paid.next)).await?;
        self.walk_on(page).await
    }

    /// The same from a page on.
    pub async fn walk_on(&self, mut page: Page) -> Result<Page> {
        for _ in 0..6 {
            let Ok(form) = page.form() else { return Ok(page) };
            if !form.buttons.is_empty() {
                return Ok(page);
            }
            page = self.browser.submit(&page, &form, None).await?;
        }
        bail!("the pages lead nowhere")
    }

    /// Presses a button of the bank's page; what comes is the form back to the shop, or the page
    /// after it.
    pub async fn press(&self, page: &Page, button: &str) -> Result<Page> {
        self.browser.submit(page, &page.form()?, Some(button)).await
    }

    async fn post(&self, path: &str, body: &Value) -> Result<Value> {
        let url = format!("{}{path}", self.shop);
        let call = Call::post_json(url, body.to_string()).header("origin", &self.shop);
        let answer = self.client.send(call).await?;
        let told = answer.json()?;
        if answer.status != 200 {
            let problem = told.get("problem").and_then(Value::as_str).unwrap_or("no reason given");
            bail!("the shop answered {}: {problem}", answer.status);
        }
        Ok(told)
    }
}
