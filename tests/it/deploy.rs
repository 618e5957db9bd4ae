//! What operators are given beside the program, against the program: alert rules, dashboard,
//! runbook, the lists in the guide, the health check.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::process::Command;
use std::time::Duration;

use portcullis_sandbox::client::Call;
use portcullis_sandbox::record::until;
use serde_json::{Value, json};

use super::house::{House, assert_problem};
use super::inquiry::asking;
use super::line::{Ask, Version};

const ALERTS: &str = include_str!("../../deploy/prometheus/alerts.yaml");
const DASHBOARD: &str = include_str!("../../deploy/grafana/portcullis.json");
const GUIDE: &str = include_str!("../../docs/operate.md");
const INTERFACE: &str = include_str!("../../docs/interface.md");
const RUNBOOK: &str = include_str!("../../docs/runbook.md");

/// A series: its name and its labels.
type Series = (String, BTreeMap<String, String>);

/// What Prometheus itself adds to a series, and what histograms have.
const ADDED: [&str; 3] = ["job", "instance", "le"];

/// A house in which a sale was made and a caller refused, and whose accounts ask about payments.
async fn busy() -> House {
    let house = asking().await;
    let mut private = house.private(Version::Http1).await;
    let ready = house.ready("paymega").await;
    house.assert_pays(&mut private, &ready).await;
    let answer = private.send(&Ask::get("/v1/tokens/none")).await;
    assert_problem(&answer, 401, "caller_unknown", "no");
    house
}

async fn metrics(house: &House) -> String {
    let call = Call::get(format!("{}/metrics", house.world.addresses.admin));
    house.world.client.send(call).await.unwrap().text()
}

/// Every series that is served, and the name of its metric.
fn served(text: &str) -> Vec<Series> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| series(line.rsplit_once(' ').unwrap().0)).collect()
}

/// `name{label="value",…}`, with any comparison; values keep what they say.
fn series(text: &str) -> Series {
    let (name, labels) = text.split_once('{').unwrap_or((text, ""));
    let mut found = BTreeMap::new();
    let mut rest = labels.trim_end_matches('}');
    while let Some((label, tail)) = rest.split_once('"') {
        let (value, tail) = tail.split_once('"').unwrap();
        let label = label.trim_matches(|sign| " ,=~!".contains(sign));
        found.insert(label.to_owned(), value.to_owned());
        rest = tail;
    }
    (name.to_owned(), found)
}

/// Every selector of our metrics in these queries.
fn asked(queries: &str) -> Vec<Series> {
    let is_name = |sign: char| sign.is_ascii_lowercase() || sign == '_';
    let starts = queries.match_indices("portcullis_").map(|(at, _)| &queries[at..]);
    let selectors = starts.map(|text| {
        let name = text.find(|sign| !is_name(sign)).unwrap_or(text.len());
        let labels = text[name..].starts_with('{').then(|| text[name..].find('}').unwrap());
        series(&text[..name + labels.map_or(0, |end| end + 1)])
    });
    selectors.collect()
}

/// The queries of every panel, and of what stands over the panels.
fn panels() -> Vec<String> {
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let mut queries = Vec::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        let targets = panel["targets"].as_array().map_or(&[][..], Vec::as_slice);
        assert!(panel["type"] == "row" || !targets.is_empty(), "{}", panel["title"]);
        queries.extend(targets.iter().map(|target| target["expr"].as_str().unwrap().to_owned()));
    }
    let notes = dashboard["annotations"]["list"].as_array().unwrap();
    queries.extend(notes.iter().map(|note| note["expr"].as_str().unwrap().to_owned()));
    assert!(queries.len() > 15, "{}", queries.len());
    queries
}

/// Whether this word is one of those that the documents give the label.
fn is_known(label: &str, word: &str) -> bool {
    let documents: &[&str] = match label {
        "code" => &[INTERFACE, GUIDE],
        "limit" => &[INTERFACE],
        "reason" => &[GUIDE],
        _ => return true,
    };
    let begins = word.trim_end_matches(".*");
    let whole = if begins == word { format!("`{word}`") } else { format!("`{begins}") };
    ["ok", ""].contains(&word) || documents.iter().any(|text| text.contains(&whole))
}

#[tokio::test]
async fn every_query_of_alerts_and_panels_asks_for_what_is_served() {
    let house = busy().await;
    let served = served(&metrics(&house).await);
    let alerts = ALERTS.lines().filter(|line| !line.trim_start().starts_with('#'));
    let alerts: String = alerts.map(|line| format!("{line}\n")).collect();
    let mut wanted = asked(&alerts);
    wanted.extend(panels().iter().flat_map(|query| asked(query)));
    assert!(wanted.len() > 40, "{}", wanted.len());
    for (name, labels) in wanted {
        let same: Vec<_> = served.iter().filter(|(known, _)| *known == name).collect();
        assert!(!same.is_empty(), "{name} is not served");
        for (label, values) in labels {
            let has = |(_, labels): &&Series| labels.contains_key(&label);
            let added = ADDED.contains(&label.as_str()) && label != "le";
            assert!(added || same.iter().any(has), "{name} has no {label}");
            let strange: Vec<_> =
                values.split('|').filter(|word| !is_known(&label, word)).collect();
            assert!(strange.is_empty(), "{name}: no {label} is called {strange:?}");
        }
    }
}

/// Rows of the guide's tables between two headings: first cell, second cell.
fn rows(heading: &str) -> Vec<(String, String)> {
    let (_, text) = GUIDE.split_once(&format!("\n## {heading}\n")).unwrap();
    let text = text.split("\n## ").next().unwrap();
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `"));
    let rows = rows.map(|row| row.split(" | "));
    rows.map(|mut cells| {
        let name = cells.next().unwrap().trim_end_matches('`').to_owned();
        (name, cells.next().unwrap_or_default().to_owned())
    })
    .collect()
}

/// Words in backticks.
fn words(cell: &str) -> BTreeSet<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[tokio::test]
async fn the_guide_lists_every_metric_with_its_labels() {
    let house = busy().await;
    let text = metrics(&house).await;
    let kinds = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let kinds: BTreeMap<_, _> = kinds.map(|line| line.split_once(' ').unwrap()).collect();
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (name, labels) in served(&text) {
        let of = kinds.keys().filter(|kind| name.starts_with(**kind)).max_by_key(|kind| kind.len());
        let labels = labels.into_keys().filter(|label| !ADDED.contains(&label.as_str()));
        found.entry((*of.unwrap()).to_owned()).or_default().extend(labels);
    }
    let told: BTreeMap<_, _> =
        rows("Metrics").into_iter().map(|(name, labels)| (name, words(&labels))).collect();
    assert_eq!(told, found);
}

#[tokio::test]
async fn every_reason_for_which_a_connection_ends_is_counted_from_the_start_and_in_the_guide() {
    let house = House::open().await;
    let text = metrics(&house).await;
    let ended = |(name, _): &Series| name == "portcullis_connections_ended_total";
    let found = served(&text).into_iter().filter(ended);
    let found: BTreeSet<_> = found.map(|(_, labels)| labels["reason"].clone()).collect();
    assert_eq!(found, variants_in(include_str!("../../src/proxy/message.rs"), "ConnectionEvent"));
    let row = GUIDE.lines().find(|line| line.starts_with("| `portcullis_connections_ended_total`"));
    let (_, told) = row.unwrap().split_once(": ").unwrap();
    let told: BTreeSet<_> = told.split('`').skip(1).step_by(2).collect();
    assert_eq!(found.iter().map(String::as_str).collect::<BTreeSet<_>>(), told);
}

/// Variants of an enum of `telemetry`, as a log line spells them.
fn variants(name: &str) -> BTreeSet<String> {
    variants_in(include_str!("../../src/telemetry/mod.rs"), name)
}

fn variants_in(source: &str, name: &str) -> BTreeSet<String> {
    let (_, body) = source.split_once(&format!("pub enum {name} {{\n")).unwrap();
    let lines = body.split("\n}\n").next().unwrap().lines();
    let names = lines.filter_map(|line| {
        let name = line.strip_prefix("    ")?.trim_end_matches([' ', '{', ',']);
        name.starts_with(|sign: char| sign.is_ascii_uppercase()).then_some(name)
    });
    let spelt = names.map(|name| {
        let signs = name.char_indices().map(|(at, sign)| {
            let gap = if at > 0 && sign.is_ascii_uppercase() { "_" } else { "" };
            format!("{gap}{}", sign.to_ascii_lowercase())
        });
        signs.collect()
    });
    spelt.collect()
}

#[tokio::test]
async fn the_guide_lists_every_event_with_its_fields() {
    let house = busy().await;
    let told: BTreeMap<_, _> =
        rows("Log").into_iter().map(|(name, fields)| (name, words(&fields))).collect();
    assert_eq!(told.keys().cloned().collect::<BTreeSet<_>>(), variants("Event<'e>"));
    let warnings = variants("Warning");
    assert!(warnings.len() > 2);
    let untold: Vec<_> =
        warnings.iter().filter(|name| !GUIDE.contains(&format!("`{name}`"))).collect();
    assert!(untold.is_empty(), "{untold:?}");
    // Lines gather for a moment before they are written.
    let answered = || {
        let log = String::from_utf8(house.log()).unwrap();
        log.contains("\"upstream_us\"").then_some(log)
    };
    let log = until(Duration::from_secs(10), answered).await.unwrap();
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut count = 0;
    for line in lines {
        let line = line.as_object().unwrap();
        let event = line["event"].as_str().unwrap();
        for field in line.keys().filter(|field| !["event", "time_ms"].contains(&field.as_str())) {
            assert!(told[event].contains(field), "{event}: {field} is not in the guide");
            count += 1;
        }
        for part in line.values().filter_map(Value::as_object).flat_map(|parts| parts.keys()) {
            assert!(GUIDE.contains(&format!("`{part}`")), "{event}: {part} is not in the guide");
        }
    }
    assert!(count > 20, "{count}");
}

/// Every refusal of `proxy/reply.rs` with its status, read off its table.
fn refusals() -> BTreeSet<(String, String)> {
    let source = include_str!("../../src/proxy/reply.rs");
    let rows = source.match_indices(", \"").filter_map(|(at, _)| {
        let status = source[..at].rsplit('(').next()?;
        let code = source[at + 3..].split('"').next()?;
        let is_status = status.len() == 3 && status.bytes().all(|byte| byte.is_ascii_digit());
        is_status.then(|| (status.to_owned(), code.to_owned()))
    });
    rows.collect()
}

#[test]
fn the_openapi_document_has_every_code_with_its_status() {
    let document: Value = serde_json::from_str(include_str!("../../docs/openapi.json")).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let codes = |value: &Value| value.as_array().unwrap().iter().map(text).collect::<Vec<_>>();
    let mut told = BTreeSet::new();
    for (name, response) in document["components"]["responses"].as_object().unwrap() {
        let Some(status) = name.strip_prefix("Problem") else { continue };
        let schema = &response["content"]["application/problem+json"]["schema"]["allOf"][1];
        assert_eq!(schema["properties"]["status"]["const"].to_string(), status);
        let of = codes(&schema["properties"]["code"]["enum"]);
        told.extend(of.into_iter().map(|code| (status.to_owned(), code)));
    }
    let missing: Vec<_> = refusals().into_iter().filter(|row| !told.contains(row)).collect();
    assert!(refusals().len() > 30 && missing.is_empty(), "{missing:?}");
    let names: BTreeSet<_> = told.iter().map(|(_, code)| code.clone()).collect();
    let all: BTreeSet<_> =
        codes(&document["components"]["schemas"]["Code"]["enum"]).into_iter().collect();
    assert_eq!(all, names);
    let unknown: Vec<_> =
        names.iter().filter(|code| !INTERFACE.contains(&format!("`{code}`"))).collect();
    assert!(unknown.is_empty(), "not in docs/interface.md: {unknown:?}");
}

/// What a provider answers passes through, whatever its status; a client made of the document has
/// to take it.
#[test]
fn the_openapi_document_leaves_a_providers_answers_to_the_provider() {
    let document: Value = serde_json::from_str(include_str!("../../docs/openapi.json")).unwrap();
    let gateway = document["paths"]["/{account}/{api}/{path}"].as_object().unwrap();
    let methods: BTreeSet<_> = gateway.keys().map(String::as_str).collect();
    let profile_may_name = ["delete", "get", "patch", "post", "put"];
    assert_eq!(
        methods,
        [&profile_may_name[..], &["parameters", "servers"]].concat().into_iter().collect()
    );
    let of = |place: &Value| {
        document.pointer(place["$ref"].as_str().unwrap().trim_start_matches('#')).unwrap()
    };
    let mut answers = 0;
    let of_method = |method: &&str| gateway[*method]["responses"].as_object().unwrap();
    for answer in profile_may_name.iter().flat_map(of_method) {
        let (status, answer) = (answer.0, of(answer.1));
        assert_eq!(answer["content"]["*/*"]["schema"], json!({}), "{status}");
        let ours = &answer["content"]["application/problem+json"]["schema"];
        assert!(ours.is_null() || ours["anyOf"][1] == json!({}), "{status}");
        let headers = answer["headers"].as_object().unwrap();
        assert!(headers.contains_key("Portcullis-Upstream-Status"), "{status}");
        let is_needed =
            |header: &Value| header["$ref"].is_string() && of(header)["required"] == true;
        let needed =
            headers.iter().filter(|(_, header)| is_needed(header) || header["required"] == true);
        let needed: Vec<_> = needed.map(|(name, _)| name.as_str()).collect();
        assert_eq!(needed, ["Portcullis-Forwarded", "Portcullis-Request-Id"], "{status}");
        answers += 1;
    }
    assert_eq!(answers, 5 * 4);
}

#[test]
fn the_openapi_document_says_by_what_an_application_is_known() {
    let document: Value = serde_json::from_str(include_str!("../../docs/openapi.json")).unwrap();
    let known = |call: &Value| {
        let ways = call["security"].as_array().unwrap().iter().map(|way| way.as_object().unwrap());
        ways.map(|way| way.keys().cloned().collect::<String>()).collect::<BTreeSet<_>>()
    };
    // Empty: by something that is no header, in the body or in what is pasted.
    let gateway = ["", "basic", "certificate", "handle", "key", "signature"].map(str::to_owned);
    for method in ["delete", "get", "patch", "post", "put"] {
        let call = &document["paths"]["/{account}/{api}/{path}"][method];
        assert_eq!(known(call), gateway.clone().into(), "{method}");
    }
    let explain = ["", "certificate", "key"].map(str::to_owned);
    assert_eq!(known(&document["paths"]["/v1/explain"]["post"]), explain.into());
}

#[test]
fn every_alert_has_a_chapter_that_says_how_urgent_it_is() {
    let mut alerts = BTreeMap::new();
    for rule in ALERTS.split("- alert: ").skip(1) {
        let name = rule.lines().next().unwrap();
        let severity = rule.split_once("severity: ").unwrap().1.split('}').next().unwrap();
        let there = format!("runbook: docs/runbook.md#{}\n", name.to_ascii_lowercase());
        assert!(rule.contains(&there), "{name} points at no chapter of its own");
        alerts.insert(name.to_owned(), severity.to_owned());
    }
    let mut chapters = BTreeMap::new();
    for chapter in RUNBOOK.split("\n## ").skip(1) {
        let (name, text) = chapter.split_once("\n\n").unwrap();
        let urgent = text.strip_prefix("**").unwrap().split('.').next().unwrap();
        assert!(text.len() > 150, "{name} says nothing");
        chapters.insert(name.to_owned(), urgent.to_owned());
    }
    assert_eq!(alerts, chapters);
}

/// `portcullis health` as a container's check calls it.
fn health(arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
    let output = command.arg("health").args(arguments).output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

/// The same where this is the first line of the answer.
fn answered(line: &'static str) -> (Option<i32>, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let admin = listener.local_addr().unwrap().to_string();
    let answering = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut [0; 256]).unwrap();
        stream.write_all(format!("{line}\r\n\r\n").as_bytes()).unwrap();
    });
    let outcome = health(&["--admin", &admin]);
    answering.join().unwrap();
    outcome
}

#[tokio::test]
async fn the_health_check_tells_the_living_from_the_dead() {
    let house = House::open().await;
    let admin = house.world.addresses.admin.trim_start_matches("http://").to_owned();
    assert_eq!(health(&["--admin", &admin]), (Some(0), String::new()));
    assert_eq!(health(&["--admin", &admin, "--ready"]), (Some(0), String::new()));
    let (code, told) = health(&["--admin", "127.0.0.1:1"]);
    assert_eq!(code, Some(1));
    assert_eq!(told, "portcullis: 127.0.0.1:1/healthz: connection refused\n");
    assert_eq!(answered("HTTP/1.1 200 OK"), (Some(0), String::new()));
    let (code, told) = answered("HTTP/1.1 503 Service Unavailable");
    assert_eq!((code, told.ends_with("/healthz answers 503\n")), (Some(1), true), "{told}");
    assert_eq!(answered("SSH-2.0-OpenSSH_9.2").0, Some(1));
    assert_eq!(answered("").0, Some(1));
    // Something else listens there: a TLS listener says nothing that is an answer.
    let public = house.world.addresses.public.trim_start_matches("https://localhost:");
    let (code, told) = health(&["--admin", &format!("127.0.0.1:{public}"), "--ready"]);
    assert_eq!(code, Some(1), "{told}");
    assert_eq!(health(&["--admin", "nowhere"]).0, Some(2));
}
