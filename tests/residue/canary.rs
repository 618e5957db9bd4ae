//! Cards of which nothing may be found anywhere: they go through every route, as what they are and
//! in places where no card belongs, and then everything that the product writes, answers, counts
//! or leaves behind is searched for them.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use portcullis_sandbox::client::Call;
use portcullis_sandbox::collector::Collector;
use portcullis_sandbox::text::quote;
use portcullis_sandbox::visitor::TypedCard;
use portcullis_sandbox::world::accounts::App;

use super::house::{House, whole};
use super::line::{Ask, Line, Version};
use super::load::{Plan, Worker};
use super::memory::scan;
use super::packages::debugger;
use super::round::Keyed;
use super::scan::Search;
use super::short::with_variable;
use super::wanted;

/// Cards that go each way: as many as there are ways to be refused, and workers.
const EACH: usize = 32;
/// Files below this size get a line of the table only if something is found in them.
const FEW_BYTES: usize = 4096;
/// More than that the process holds.
const CORE_BYTES_MIN: usize = 10_000_000;
/// The log gathers lines for 20 ms, callbacks come when they come, exports leave twice a second.
const SETTLED: Duration = Duration::from_millis(1_500);

pub(crate) fn a_card_is_found_in_no_sink() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(no_sink());
}

async fn no_sink() {
    let folder = tempfile::tempdir().unwrap();
    let collector = Collector::start(None).await.unwrap();
    let product = Path::new(env!("CARGO_BIN_EXE_portcullis"));
    let asked_for_backtraces = with_variable(folder.path(), "RUST_BACKTRACE=full", product);
    let keyed = Keyed::open_with(Some(asked_for_backtraces), &exporting(&collector)).await;
    let house = &keyed.house;
    let plan = Plan::of_each(EACH);
    // One more for the places where no card belongs.
    let search = Search::of(&wanted::everything(plan.cards() + 1, &keyed.root_key));
    let workers = plan.play(house, Worker::hire(house).await).await;
    let mut answers = misplace(house, &wanted::card(plan.cards())).await;
    workers.iter().for_each(|worker| answers.extend(&worker.heard));
    // Some still have half a body under way; that ends with their connections.
    drop(workers);
    tokio::time::sleep(SETTLED).await;
    let codes = codes_in(&answers);
    eprintln!("  problems provoked: {} ({})", codes.len(), codes.join(", "));
    assert!(codes.len() >= 20, "the cards did not get around");
    let explained = b"\"outcome\":\"would_be_refused\"";
    assert!(answers.windows(explained.len()).any(|text| text == explained), "nothing explained");

    // Whatever is added to the product that speaks is to be added here; files in the working
    // folder (log, audit record, what the shop was told) are found by themselves.
    let mut sinks = vec![
        ("answers to applications and browsers".to_owned(), answers),
        ("metrics".to_owned(), metrics(house).await),
        ("telemetry for a collector".to_owned(), exported(&collector)),
    ];
    if let Some(core) = dump(keyed.pid, folder.path()) {
        assert!(core.len() > CORE_BYTES_MIN, "an empty core");
        sinks.push(("core dump by a debugger".to_owned(), core));
    }
    sinks.extend(files(house.world.folder()));
    let memory = scan(keyed.pid, &search);
    memory.print("live memory");
    let mut leaks = memory.hits();
    let mut quiet = 0;
    for (name, bytes) in &sinks {
        let hits = search.hits(bytes, bytes.len());
        leaks += &hits;
        // Certificates and keys of the simulated world: searched, and not worth a line each.
        if hits.total() == 0 && bytes.len() < FEW_BYTES {
            quiet += 1;
            continue;
        }
        let (bytes, total) = (bytes.len(), hits.total());
        eprintln!("  {name:<40} {bytes:>10} bytes {total:>4} hits  {}", hits.told());
    }
    eprintln!("  {quiet} small files                                         0 hits");
    for needed in
        ["answers", "metrics", "telemetry", "logs/portcullis.log", "logs/shop.log", "audit/"]
    {
        let found = sinks.iter().any(|(name, bytes)| name.starts_with(needed) && !bytes.is_empty());
        assert!(found, "{needed} is missing");
    }
    assert_eq!(leaks.told(), "");
}

/// A card in paths, queries, fields and cookies, on every route of all listeners.
async fn misplace(house: &Arc<House>, card: &TypedCard) -> Vec<u8> {
    let number = &card.number;
    let mut heard = Vec::new();
    // Somebody known, and somebody with a card for a key.
    let credentials = [
        (house.world.key(App::Shop).to_owned(), house.basic("paymega", App::Shop)),
        (number.clone(), format!("Bearer {number}")),
    ];
    let routes = [
        (Method::POST, format!("/v1/tokens?card={number}")),
        (Method::OPTIONS, format!("/v1/tokens?{number}")),
        (Method::GET, format!("/v1/form/{number}")),
        (Method::GET, format!("/v1/form/cs_{number}?lang={number}")),
        (Method::GET, format!("/v1/{number}.js")),
        (Method::GET, format!("/3ds/{number}/start")),
        (Method::GET, format!("/3ds/{number}?PaRes={number}")),
        (Method::POST, format!("/3ds/{number}")),
        (Method::POST, format!("/payform/{number}")),
        (Method::POST, format!("/callbacks/{number}")),
        (Method::POST, format!("/callbacks/paymega/{number}")),
        (Method::POST, format!("/v1/capture-sessions?{number}")),
        (Method::POST, format!("/v1/explain?{number}")),
        (Method::GET, format!("/v1/tokens/{number}")),
        (Method::DELETE, format!("/v1/tokens/tok_test_{number}")),
        (Method::GET, format!("/paymega/api/payment-invoices/{number}")),
        (Method::GET, format!("/paymega/api/payment-invoices?filter[reference_id]={number}")),
        (Method::POST, format!("/paymega/cardgate/payment/sale?{number}")),
        (Method::POST, format!("/{number}/api/payment-invoices")),
        (Method::POST, format!("/paymega/{number}/x")),
        (Method::POST, "/qostiq/core/withdraw/create".to_owned()),
        (Method::POST, "/highhelp/api/v1/payment/payin/h2h".to_owned()),
        (Method::POST, "/milkypay/api/payout-invoices".to_owned()),
        (Method::PUT, "/paymega/api/payment-invoices".to_owned()),
        (Method::TRACE, format!("/{number}")),
        (Method::GET, format!("/a/../{number}")),
        (Method::GET, format!("/{number}/%zz")),
    ];
    for base in [&house.world.addresses.private, &house.world.addresses.public] {
        for version in Version::BOTH {
            let tls = house.tls().config(version);
            for (method, target) in &routes {
                for (key, authorization) in &credentials {
                    let mut line = Line::open(base, &tls).await.unwrap();
                    let ask = Ask::new(method.clone(), target)
                        .header("portcullis-key", key)
                        .header("authorization", authorization)
                        .header("user-agent", number)
                        .header("cookie", &format!("card={number}"))
                        .header("x-request-id", number)
                        .header("traceparent", &format!("00-{number:f<32}-{number:.16}-01"))
                        .header("tracestate", &format!("card={number}"))
                        .header("origin", &format!("https://{number}.example"))
                        .header("x-signature", number)
                        .header("content-type", "application/json");
                    let body = if *method == Method::POST { card.body() } else { String::new() };
                    if let Ok(answer) = line.try_send(&ask.with_body(body)).await {
                        heard.extend(whole(&answer).into_bytes());
                    }
                }
            }
        }
    }
    heard.extend(explanations(house, card, &routes).await);
    for target in ["metrics?", "healthz?", "readyz?", ""] {
        let url = format!("{}/{target}{number}", house.world.addresses.admin);
        let answer = house.world.client.send(Call::get(url).header("cookie", number)).await;
        heard.extend(whole(&answer.unwrap()).into_bytes());
    }
    heard
}

/// Everything that can be exported, to this collector.
fn exporting(collector: &Collector) -> String {
    format!("\n[telemetry]\nendpoint = \"http://127.0.0.1:{}\"\n", collector.port())
}

/// What it was sent, as it came.
fn exported(collector: &Collector) -> Vec<u8> {
    collector.exports().iter().flat_map(|export| export.body.to_vec()).collect()
}

/// The same calls explained: by a wish, and pasted, with the card in every part of the paste.
async fn explanations(
    house: &Arc<House>,
    card: &TypedCard,
    routes: &[(Method, String)],
) -> Vec<u8> {
    let mut heard = Vec::new();
    let (number, key) = (&card.number, house.world.key(App::Shop));
    let basic = house.basic("paymega", App::Shop);
    for version in Version::BOTH {
        let tls = house.tls().config(version);
        for (method, target) in routes {
            let body = if *method == Method::POST { card.body() } else { String::new() };
            let paste = |body: &str| {
                let target = quote(target);
                format!(
                    r#"{{"method":"{method}","path":{target},"headers":{{"authorization":"{basic}","content-type":"application/json","x-{number}":"{number}"}},"body":{body}}}"#
                )
            };
            let wished = Ask::new(method.clone(), target)
                .header("authorization", &basic)
                .header("content-type", "application/json")
                .header("prefer", &format!("dry-run; card={number}"));
            let unclear = wished.clone().without("prefer");
            let unclear = unclear.header("prefer", &format!("dry-run={number}"));
            let pasted = [quote(&body), "null".to_owned(), quote(number)]
                .map(|body| Ask::json("/v1/explain", paste(&body)).header("portcullis-key", key));
            let wished = [wished, unclear].map(|ask| ask.with_body(body.clone()));
            for ask in wished.into_iter().chain(pasted) {
                let mut line = Line::open(&house.world.addresses.private, &tls).await.unwrap();
                if let Ok(answer) = line.try_send(&ask).await {
                    heard.extend(whole(&answer).into_bytes());
                }
            }
        }
    }
    heard
}

/// The codes of problem documents.
fn codes_in(answers: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(answers);
    let codes: BTreeSet<&str> = text
        .split("\"code\":\"")
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
        .filter(|code| code.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'))
        .collect();
    codes.into_iter().map(str::to_owned).collect()
}

async fn metrics(house: &House) -> Vec<u8> {
    let url = format!("{}/metrics", house.world.addresses.admin);
    house.world.client.send(Call::get(url)).await.unwrap().body.to_vec()
}

/// What a debugger gets. Where the kernel keeps an ordinary user's debugger away from all processes
/// but its own children (Yama), there is none, and the search of the live memory stands for it.
fn dump(pid: u32, folder: &Path) -> Option<Vec<u8>> {
    let yama = std::fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope");
    let root = nix::unistd::Uid::effective().is_root();
    if !root && yama.is_ok_and(|scope| scope.trim() != "0") {
        eprintln!("  kernel.yama.ptrace_scope keeps this user's debugger away: no core dump");
        return None;
    }
    debugger();
    let prefix = folder.join("core");
    let mut gcore = Command::new("gcore");
    let made = gcore.arg("-o").arg(&prefix).arg(pid.to_string()).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    Some(std::fs::read(prefix.with_extension(pid.to_string())).unwrap())
}

/// Every file in a folder and below, by its path from there.
fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(folder).unwrap().display().to_string();
                all.push((name, std::fs::read(&path).unwrap()));
            }
        }
    }
    all
}

/// The product's command line, and then faults of every kind with a card in hand.
pub(crate) fn panic_behind_the_command_line() -> ExitCode {
    let code = portcullis::cli::main();
    let faults: [fn(&str); 4] = [
        |card| panic!("{card}"),
        |card| assert!(card.parse::<u8>().map_err(|_| card).unwrap() > 0),
        |card| drop(format!("\u{e4}{card}")[1..].to_owned()),
        |card| assert_eq!(card, "a token"),
    ];
    for fault in faults {
        let number = wanted::card(1).number;
        assert!(std::thread::spawn(move || fault(&number)).join().is_err());
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let task = async { panic!("{}", wanted::card(1).number) };
    assert!(runtime.block_on(runtime.spawn(task)).is_err());
    code
}

pub(crate) fn a_panic_tells_its_place() {
    let program = std::env::current_exe().unwrap();
    let output = Command::new(program).arg("page").env("RUST_BACKTRACE", "full").output().unwrap();
    let told = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    let places = told.lines().filter(|line| line.contains(r#""event":"panicked""#)).count();
    assert_eq!(places, 5, "{told}");
    assert!(told.contains("canary.rs"), "{told}");
    let search = Search::of(&wanted::everything(2, &[1; 32]));
    assert_eq!(search.hits(told.as_bytes(), told.len()).told(), "");
}
