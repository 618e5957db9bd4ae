//! The cases of the shop that kept its own form: it never has a card, and everything else of its
//! host passes through.

use super::Case;
use super::leak;
use super::scene::{Scene, problem, told};
use crate::client::{Answer, Call};
use crate::corefy::cards::PLAIN;
use crate::shop::own::HOST;
use crate::visitor::CVV;
use crate::world::World;
use anyhow::{Context, Result, ensure};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

pub(super) const CASES: &[Case] = super::cases![Own:
    "payment by a form of the shop's own" => form,
    "payment by a multipart form" => multipart,
    "payment by a script's JSON" => json,
    "form shown again with its token" => again,
    "second card in a form refused" => second_card,
    "form of another type refused" => another_type,
    "other spelling of a card path refused" => spelling,
    "card in an address refused" => query,
    "1 GiB upload beside it, flat memory" => upload,
    "256 MiB download beside it, flat memory" => download,
    "WebSocket beside it" => websocket,
    "events beside it" => events,
];

const FORM: &str = "application/x-www-form-urlencoded";
const HOLDER: &str = "Jane+Doe";
const PATH: &str = "/checkout/17/pay";
const GIB: u64 = 1 << 30;
const DOWNLOAD: u64 = 256 << 20;
/// How much the process may grow meanwhile.
const GROWTH_MAX: u64 = 16 << 20;
const PART: usize = 1 << 20;
/// How long a connection may be silent.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) struct Own<'a> {
    world: &'a World,
}

impl<'a> From<Scene<'a>> for Own<'a> {
    fn from(scene: Scene<'a>) -> Self {
        Self { world: scene.world }
    }
}

impl Own<'_> {
    async fn post(&self, path: &str, kind: &str, body: String) -> Result<Answer> {
        let url = format!("{}{path}", self.world.own_form_url());
        self.world.client.send(Call::post(url, kind, body)).await
    }

    fn received(&self) -> usize {
        self.world.own_form.received().all().len()
    }

    /// The provider has the card and the shop two tokens in its place.
    async fn pays(&self, path: &str, kind: &str, body: String) -> Result<()> {
        let before = self.world.paymega.sales().len();
        let answer = self.post(path, kind, body.clone()).await?;
        ensure!(answer.status == 200, "answered {}: {}", answer.status, answer.text());
        let sales = self.world.paymega.sales();
        ensure!(sales.len() == before + 1, "{} sales", sales.len() - before);
        let sale = sales.last().context("no sale")?;
        ensure!((sale.number.as_str(), sale.cvv.as_str()) == (PLAIN, CVV), "another card was sold");
        let got = self.world.own_form.received().last("card").context("the shop got nothing")?;
        let got = String::from_utf8_lossy(&got.request.body).into_owned();
        let (card, code) = (token(&got, "tok_test_")?, token(&got, "cvv_test_")?);
        let back = got.replacen(card, PLAIN, 1).replacen(code, CVV, 1);
        ensure!(back == body, "other bytes of the form changed, too");
        ensure!(leak::find(got.as_bytes()).is_none(), "the shop got a card");
        Ok(())
    }

    /// Refused, and nothing of it reached the shop.
    async fn refused(&self, call: Call, status: u16, code: &str) -> Result<()> {
        let before = self.received();
        let answer = self.world.client.send(call).await?;
        let said = problem(&answer, "no")?;
        ensure!(answer.status == status && said == code, "answered {}", told(&answer));
        ensure!(self.received() == before, "the shop received it");
        Ok(())
    }

    fn call(&self, path: &str, kind: &str, body: String) -> Call {
        Call::post(format!("{}{path}", self.world.own_form_url()), kind, body)
    }

    async fn connect(&self) -> Result<TlsStream<TcpStream>> {
        self.world.client.connect(&self.world.own_form_url()).await
    }

    /// Resident memory of Portcullis, in bytes.
    fn resident(&self) -> Result<u64> {
        let pid = self.world.proxy()?.pid().context("no process")?;
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        let kib = line.and_then(|line| line.split_whitespace().nth(1)).context("no VmRSS")?;
        Ok(kib.parse::<u64>()? * 1024)
    }
}

fn form_body(number: &str) -> String {
    format!("basket=3&number={number}&expiry=10%2F35&cvv={CVV}&holder={HOLDER}")
}

fn token<'b>(body: &'b str, prefix: &str) -> Result<&'b str> {
    let start = body.find(prefix).with_context(|| format!("the shop got no {prefix}"))?;
    let rest = body.get(start..).unwrap_or_default();
    let end = rest.find(|sign: char| !sign.is_alphanumeric() && sign != '_');
    Ok(rest.get(..end.unwrap_or(rest.len())).unwrap_or_default())
}

async fn form(own: Own<'_>) -> Result<()> {
    own.pays(PATH, FORM, form_body(PLAIN)).await
}

async fn multipart(own: Own<'_>) -> Result<()> {
    let fields = [("number", PLAIN), ("expiry", "10/35"), ("cvv", CVV), ("holder", "Jane Doe")]
        .map(|(name, value)| {
            format!("--x1\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
        });
    let file = "--x1\r\nContent-Disposition: form-data; name=\"photo\"; filename=\"me.png\"\r\n\
                Content-Type: image/png\r\n\r\n\u{1}PNG\u{2}\r\n--x1--\r\n";
    own.pays(PATH, "multipart/form-data; boundary=x1", fields.concat() + file).await
}

async fn json(own: Own<'_>) -> Result<()> {
    let body = format!(
        "{{\"total\": 17.10,\n \"card\": {{\"number\": \"{PLAIN}\", \"cvv\":\"{CVV}\", \
         \"expiry\":\"10/2035\",\"holder\":\"Jane Doe\"}}}}"
    );
    own.pays("/api/checkout/17/pay", "application/json", body).await
}

/// The shop fills its form with what it got; the second time the token passes as it is.
async fn again(own: Own<'_>) -> Result<()> {
    form(Own { world: own.world }).await?;
    let got = own.world.own_form.received().last("card").context("the shop got nothing")?;
    let first = String::from_utf8_lossy(&got.request.body).into_owned();
    let card = token(&first, "tok_test_")?;
    let body = form_body(card);
    let answer = own.post(PATH, FORM, body.clone()).await?;
    ensure!(answer.status == 200, "answered {}: {}", answer.status, answer.text());
    let got = own.world.own_form.received().last("card").context("the shop got nothing")?;
    let second = String::from_utf8_lossy(&got.request.body).into_owned();
    ensure!(token(&second, "tok_test_")? == card, "another token");
    let code = token(&second, "cvv_test_")?;
    ensure!(second.replacen(code, CVV, 1) == body, "other bytes of the form changed, too");
    Ok(())
}

async fn second_card(own: Own<'_>) -> Result<()> {
    let body = format!("{}&note=5519%2D2838%2D1203%2D0000", form_body(PLAIN));
    own.refused(own.call(PATH, FORM, body), 422, "raw_card_refused").await
}

async fn another_type(own: Own<'_>) -> Result<()> {
    let call = own.call(PATH, "text/plain", form_body(PLAIN));
    own.refused(call, 415, "content_type_refused").await
}

async fn spelling(own: Own<'_>) -> Result<()> {
    for path in ["/checkout/17/pay/", "/checkout/17/%70ay", "/Checkout//17/pay;x=y"] {
        let call = own.call(path, FORM, form_body(PLAIN));
        own.refused(call, 400, "path_refused").await.context(path)?;
    }
    Ok(())
}

async fn query(own: Own<'_>) -> Result<()> {
    let url = format!("{}/search?q={PLAIN}", own.world.own_form_url());
    own.refused(Call::get(url), 422, "raw_card_refused").await
}

async fn upload(own: Own<'_>) -> Result<()> {
    let before = (own.resident()?, own.world.own_form.uploaded());
    let mut peak = before.0;
    let mut stream = own.connect().await?;
    let head =
        format!("PUT /upload/film HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {GIB}\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    let part = vec![7; PART];
    for at in 0..GIB / PART as u64 {
        tokio::time::timeout(PATIENCE, stream.write_all(&part)).await??;
        if at % 32 == 0 {
            peak = peak.max(own.resident()?);
        }
    }
    stream.flush().await?;
    let mut answer = Vec::new();
    while !answer.ends_with(GIB.to_string().as_bytes()) {
        let read = tokio::time::timeout(PATIENCE, stream.read_buf(&mut answer)).await??;
        ensure!(read > 0, "no answer to the upload");
    }
    let arrived = own.world.own_form.uploaded() - before.1;
    ensure!(arrived == GIB, "{arrived} bytes arrived");
    flat(before.0, peak.max(own.resident()?))
}

async fn download(own: Own<'_>) -> Result<()> {
    let before = own.resident()?;
    let mut peak = before;
    let mut stream = own.connect().await?;
    let head =
        format!("GET /download/{DOWNLOAD} HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    let (mut read, mut buffer) = (0, vec![0; PART]);
    loop {
        let count = tokio::time::timeout(PATIENCE, stream.read(&mut buffer)).await??;
        if count == 0 {
            break;
        }
        if (read + count as u64) >> 25 != read >> 25 {
            peak = peak.max(own.resident()?);
        }
        read += count as u64;
    }
    ensure!(read > DOWNLOAD && read < DOWNLOAD + 4096, "{read} bytes came");
    flat(before, peak)
}

fn flat(before: u64, peak: u64) -> Result<()> {
    let grown = peak.saturating_sub(before);
    ensure!(grown < GROWTH_MAX, "Portcullis' memory grew by {} KiB", grown / 1024);
    Ok(())
}

async fn websocket(own: Own<'_>) -> Result<()> {
    let mut stream = own.connect().await?;
    let head = format!(
        "GET /socket HTTP/1.1\r\nHost: {HOST}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        let read = tokio::time::timeout(PATIENCE, stream.read_buf(&mut answer)).await??;
        ensure!(read > 0, "no answer");
    }
    let answer = String::from_utf8_lossy(&answer).into_owned();
    ensure!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    ensure!(answer.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "the key was not answered");
    for part in [vec![1; 5], vec![2; 70_000]] {
        stream.write_all(&part).await?;
        let mut back = vec![0; part.len()];
        tokio::time::timeout(PATIENCE, stream.read_exact(&mut back)).await??;
        ensure!(back == part, "other bytes came back");
    }
    Ok(())
}

async fn events(own: Own<'_>) -> Result<()> {
    let url = format!("{}/events", own.world.own_form_url());
    let answer = own.world.client.send(Call::get(url)).await?;
    let text = answer.text();
    ensure!(text == "data: 1\n\ndata: 2\n\ndata: 3\n\n", "got {text:?}");
    Ok(())
}
