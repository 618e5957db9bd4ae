//! The fault table: every way in which a sale can fail between us and the provider, what the
//! application is told, what becomes of the CVV, and what reached the provider. `docs/interface.md`
//! has the same rows, which is compared.

use std::fmt;
use std::time::Duration;

use portcullis_sandbox::client::Answer;
use portcullis_sandbox::visitor::{Tokens, tokens_of};
use portcullis_sandbox::world::Options;
use portcullis_sandbox::world::accounts::App;

use super::gate::{End, Fault, Gate, Reached, Wrong};
use super::house::{House, IMPATIENT, Ready, assert_problem, card, invoice_of, session_of};
use super::line::{Line, Version};
use super::once::futures_of;

/// Behind the deadline of those who wait for it.
const LATE: Duration = Duration::from_millis(1_200);

/// What the application is told.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Told {
    status: u16,
    code: &'static str,
    forwarded: &'static str,
    retry: &'static str,
}

const NOTHING_SENT: Told =
    Told { status: 502, code: "upstream_unreachable", forwarded: "no", retry: "safe" };
const BROKE_OFF: Told =
    Told { status: 502, code: "upstream_broke_off", forwarded: "unknown", retry: "unsafe" };
const SILENT: Told =
    Told { status: 504, code: "upstream_silent", forwarded: "unknown", retry: "unsafe" };
const UNREADABLE: Told =
    Told { status: 502, code: "answer_withheld", forwarded: "unknown", retry: "unsafe" };
const WITHHELD: Told =
    Told { status: 502, code: "answer_withheld", forwarded: "yes", retry: "unsafe" };

struct Row {
    failure: &'static str,
    fault: Fault,
    told: Told,
    /// Whole sales that reached the provider.
    sales: usize,
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Told { status, code, forwarded, retry } = self.told;
        let cvv = if forwarded == "no" { "as before" } else { "used up" };
        let sales = self.sales;
        let failure = self.failure;
        write!(f, "| {failure} | {status} `{code}` | `{forwarded}` | `{retry}` | {cvv} | {sales} |")
    }
}

impl Row {
    /// Nothing but the deadline ends it.
    fn waits(&self) -> bool {
        self.told == SILENT || matches!(self.fault, Fault::Unanswered | Fault::SilentHandshake)
    }
}

const fn before(failure: &'static str, fault: Fault) -> Row {
    Row { failure, fault, told: NOTHING_SENT, sales: 0 }
}

const fn after(failure: &'static str, told: Told, bytes: &'static [u8], end: End) -> Row {
    Row { failure, fault: Fault::Says(Duration::ZERO, bytes, end), told, sales: 1 }
}

const HALF_HEAD: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: applic";
const HALF_BODY: &[u8] =
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 40\r\n\r\n{\"status\":";
const HALF_CHUNK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\
    transfer-encoding: chunked\r\n\r\n16\r\n{\"status\":\"processed\"}\r\n";
const NO_FAREWELL: &[u8] =
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n{\"status\":\"processed\"}";
const TWO_LENGTHS: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\
    content-length: 2\r\ncontent-length: 3\r\n\r\n{}";
const COMPRESSED: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\
    content-encoding: gzip\r\ncontent-length: 2\r\n\r\n{}";
const TOO_LARGE: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\
    content-length: 1048577\r\n\r\n{\"status\":";
const WHOLE: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\
    content-length: 22\r\n\r\n{\"status\":\"processed\"}";
const NO_JSON: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\
    content-length: 22\r\n\r\n{\"status\":\"processed\"]";
const PICTURE: &[u8] =
    b"HTTP/1.1 200 OK\r\ncontent-type: image/png\r\ncontent-length: 4\r\n\r\n\x89PNG";

const ROWS: [Row; 27] = [
    before("nobody listens", Fault::Refused),
    before("nobody answers: no route, a dropped packet", Fault::Unanswered),
    before("a connection, and a silent TLS handshake", Fault::SilentHandshake),
    before("a reset within the TLS handshake", Fault::ResetHandshake),
    before("something else than TLS", Fault::OddHandshake),
    before("a certificate of an unknown authority", Fault::Certificate(Wrong::Authority)),
    before("a certificate for another name", Fault::Certificate(Wrong::Name)),
    before("a certificate out of date", Fault::Certificate(Wrong::Time)),
    after("no answer, the connection is closed", BROKE_OFF, b"", End::Close),
    after("no answer, the connection is cut", BROKE_OFF, b"", End::Cut),
    after("no answer, the connection is reset", BROKE_OFF, b"", End::Reset),
    after("no answer until the deadline", SILENT, b"", End::Silence),
    after("half a head, then closed", BROKE_OFF, HALF_HEAD, End::Close),
    after("half a head, then reset", BROKE_OFF, HALF_HEAD, End::Reset),
    after("half a head, then silence", SILENT, HALF_HEAD, End::Silence),
    after("half a body, then closed", BROKE_OFF, HALF_BODY, End::Close),
    after("half a body, then reset", BROKE_OFF, HALF_BODY, End::Reset),
    after("half a body, then silence", SILENT, HALF_BODY, End::Silence),
    after("chunks without the last one, then closed", BROKE_OFF, HALF_CHUNK, End::Close),
    after("a body without a length, cut without TLS's farewell", BROKE_OFF, NO_FAREWELL, End::Cut),
    after("something else than HTTP", UNREADABLE, b"SSH-2.0-OpenSSH_9.6\r\n\r\n", End::Keep),
    after("two lengths", UNREADABLE, TWO_LENGTHS, End::Keep),
    after("a coding that was not asked for", UNREADABLE, COMPRESSED, End::Keep),
    after("more than `upstream.answer_limit_bytes`", UNREADABLE, TOO_LARGE, End::Keep),
    Row {
        failure: "a whole answer after the deadline",
        fault: Fault::Says(LATE, WHOLE, End::Keep),
        told: SILENT,
        sales: 1,
    },
    after("JSON that is none", WITHHELD, NO_JSON, End::Keep),
    after("neither text nor JSON", WITHHELD, PICTURE, End::Keep),
];

/// Where sales go to a gate that fails: the house, and a card whose CVV is given anew each time.
struct Stage {
    house: House,
    gate: Gate,
    public: Line,
    tokens: Tokens,
    /// Over HTTP/1.1 and HTTP/2.
    lines: [Line; 2],
}

/// One case of a row.
#[derive(Clone, Copy, Debug)]
struct Case {
    /// Which of the application's connections: HTTP/1.1, HTTP/2.
    at: usize,
    /// Whether a connection to the gate is in the pool.
    pooled: bool,
}

const CASES: [Case; 4] = [
    Case { at: 0, pooled: false },
    Case { at: 1, pooled: false },
    Case { at: 0, pooled: true },
    Case { at: 1, pooled: true },
];

impl Stage {
    async fn open(tls: bool) -> Self {
        Self::with(tls, Options::default()).await
    }

    async fn impatient() -> Self {
        Self::with(true, Options { upstream_timeout: IMPATIENT, ..Options::default() }).await
    }

    async fn with(tls: bool, options: Options) -> Self {
        let gate = Gate::open().await;
        let house = House::with(Options { adjust: Some(gate.adjust(tls)), ..options }).await;
        gate.speaks(tls.then_some(&house.world.ca));
        let mut lines = Vec::new();
        for version in Version::BOTH {
            lines.push(house.private(version).await);
        }
        let session = session_of(&lines[0].send(&house.session(App::Shop)).await);
        let mut public = house.public(Version::Http1).await;
        let tokens = tokens_of(&public.send(&house.capture(&session, &card())).await).unwrap();
        let lines = lines.try_into().unwrap_or_else(|_| unreachable!());
        Self { house, gate, public, tokens, lines }
    }

    /// A new invoice, and a CVV that was not used yet.
    async fn ready(&mut self) -> Ready {
        let body =
            format!(r#"{{"card":{{"token":"{}","cvv":"{}"}}}}"#, self.tokens.token, card().cvv);
        let session = self.house.session(App::Shop);
        let session = session_of(&self.lines[0].send(&session).await);
        let ask = self.house.capture(&session, &card()).with_body(body);
        let answer = self.public.send(&ask).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        let cvv_token = answer.json().unwrap()["card"]["cvv_token"].as_str().unwrap().to_owned();
        let tokens = Tokens { cvv_token, ..self.tokens.clone() };
        self.invoice(tokens).await
    }

    /// A new invoice for these tokens.
    async fn invoice(&mut self, tokens: Tokens) -> Ready {
        let ask = self.house.invoice("paymega", App::Shop);
        let (invoice, handle) = invoice_of(&self.lines[0].send(&ask).await);
        Ready { account: "paymega", invoice, handle, tokens, card: card() }
    }

    async fn send(&mut self, at: usize, ready: &Ready) -> Answer {
        self.lines[at].send(&ready.ask()).await
    }

    async fn pays(&mut self, at: usize, ready: &Ready) {
        let before = self.gate.reached().whole;
        let answer = self.send(at, ready).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(self.gate.reached().whole, before + 1);
    }

    /// One sale that fails: what was told, and what reached the gate meanwhile.
    async fn fail(&mut self, row: &Row, case: Case) -> Reached {
        self.gate.set(Fault::None).await;
        self.gate.hang_up().await;
        if case.pooled {
            let first = self.ready().await;
            self.pays(case.at, &first).await;
        }
        let ready = self.ready().await;
        self.gate.set(row.fault).await;
        if row.told == NOTHING_SENT {
            // What went wrong with connections closed the pooled one, too.
            self.gate.hang_up().await;
        }
        let before = self.gate.reached();
        let answer = self.send(case.at, &ready).await;
        let after = self.gate.reached();
        self.assert_told(row, &answer);
        self.gate.set(Fault::None).await;
        self.assert_cvv(row, case, ready).await;
        Reached {
            connections: after.connections - before.connections,
            begun: after.begun - before.begun,
            whole: after.whole - before.whole,
        }
    }

    async fn goes_through(&mut self, rows: &[&Row], case: Case) {
        for row in rows {
            let reached = self.fail(row, case).await;
            assert_once(row, case, reached);
        }
        self.house.assert_alive().await;
    }

    fn assert_told(&self, row: &Row, answer: &Answer) {
        let Told { status, code, forwarded, retry } = row.told;
        let problem = assert_problem(answer, status, code, forwarded);
        assert_eq!((&problem["retry"], &problem["origin"]), (&retry.into(), &"upstream".into()));
        assert_eq!(answer.header("retry-after"), None);
        let names_call = problem["detail"]
            .as_str()
            .is_some_and(|detail| detail.contains("GET /payment-invoices/{id}"));
        assert_eq!(names_call, forwarded != "no", "{}", answer.text());
        let upstream = (forwarded == "yes").then_some("200");
        assert_eq!(answer.header("portcullis-upstream-status"), upstream);
    }

    /// The same tokens pay exactly when nothing was sent.
    async fn assert_cvv(&mut self, row: &Row, case: Case, ready: Ready) {
        if row.told.forwarded == "no" {
            return self.pays(case.at, &ready).await;
        }
        let before = self.gate.reached();
        let elsewhere = self.invoice(ready.tokens).await;
        let again = self.send(case.at, &elsewhere).await;
        let problem = assert_problem(&again, 422, "token_unknown", "no");
        assert_eq!(problem["field"], "/data/attributes/cvv");
        assert_eq!(self.gate.reached(), before, "it was sent again");
    }
}

/// What may have reached the gate: one connection where there was none, and no request twice.
fn assert_once(row: &Row, case: Case, reached: Reached) {
    let dialled = !case.pooled || row.told == NOTHING_SENT;
    assert!(reached.connections <= usize::from(dialled), "{case:?} {reached:?}");
    assert!(reached.begun <= usize::from(row.told != NOTHING_SENT), "{case:?} {reached:?}");
    assert_eq!(reached.whole, row.sales, "{case:?} {reached:?}");
}

/// Prints a row, which the interface's document has, too.
fn tell(row: &Row) {
    println!("{row}");
    let document = include_str!("../../docs/interface.md");
    assert!(document.contains(&row.to_string()), "docs/interface.md has another row");
}

const HEAD: &str = "\
| What happens | Answer | `forwarded` | `retry` | CVV | Whole sales at the provider |
| --- | --- | --- | --- | --- | --- |
";

#[tokio::test]
async fn every_failure_is_told_as_it_is_and_no_sale_is_sent_twice() {
    let (waiting, prompt): (Vec<_>, Vec<_>) = ROWS.iter().partition(|row| row.waits());
    let mut stage = Stage::open(true).await;
    for case in CASES {
        stage.goes_through(&prompt, case).await;
    }
    assert!(LATE > IMPATIENT && waiting.len() == 6);
    // Beside one another: all of it is waiting.
    let cases = CASES.map(async |case| {
        Stage::impatient().await.goes_through(&waiting, case).await;
    });
    futures_of(cases.into_iter()).await;
    print!("{HEAD}");
    ROWS.iter().for_each(tell);
}

/// The wire is cut behind every byte of a sale: the head, the body, the last one.
async fn is_cut_behind_every_byte(tls: bool) {
    let mut stage = Stage::open(tls).await;
    let wire = if tls { "over TLS" } else { "in clear" };
    let first = stage.ready().await;
    stage.pays(0, &first).await;
    let size = stage.gate.size();
    assert!((500..1_500).contains(&size), "{size} bytes are no sale");
    let cut = |upto| Row {
        failure: "cut within the request, at any byte",
        fault: Fault::Taken(upto),
        told: BROKE_OFF,
        sales: usize::from(upto == size),
    };
    for upto in 0..=size {
        let case = CASES[upto % CASES.len()];
        let reached = stage.fail(&cut(upto), case).await;
        assert_once(&cut(upto), case, reached);
        assert_eq!(reached.connections, usize::from(!case.pooled), "{upto} {case:?}");
    }
    println!("{wire}, behind each of {size} bytes:");
    tell(&cut(0));
    stage.house.assert_alive().await;
}

#[tokio::test]
async fn a_sale_that_is_cut_behind_any_byte_over_tls_is_sent_once() {
    is_cut_behind_every_byte(true).await;
}

#[tokio::test]
async fn a_sale_that_is_cut_behind_any_byte_in_clear_is_sent_once() {
    is_cut_behind_every_byte(false).await;
}

#[tokio::test]
async fn an_idle_connection_that_was_closed_or_spoke_is_not_used_for_a_sale() {
    let mut stage = Stage::open(true).await;
    let spoke: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}HTTP/1.1 200 OK\r\n\
        content-length: 2\r\n\r\n{}";
    for end in [End::Keep, End::Close, End::Reset] {
        for at in [0, 1] {
            stage.gate.set(Fault::Says(Duration::ZERO, spoke, end)).await;
            let first = stage.ready().await;
            assert_eq!(stage.send(at, &first).await.status, 200);
            stage.gate.set(Fault::None).await;
            let (ready, before) = (stage.ready().await, stage.gate.reached());
            stage.pays(at, &ready).await;
            assert_eq!(stage.gate.reached().connections, before.connections + 1, "{end:?}");
        }
    }
}
