//! House rules as a test: who may import whom, through which door an outside crate comes in, sizes,
//! names, and what never stands in a tracked file. Every complaint names file and line.
//!
//! A rule that gets in the way is changed here, in the open, with its reason. The tables say what
//! is, not what might be: a permission that nobody uses is a complaint too. `tidy/broken.rs` breaks
//! every rule once.

#[path = "tidy/broken.rs"]
mod broken;
#[path = "tidy/rules.rs"]
mod rules;
#[path = "tidy/source.rs"]
mod source;

use std::collections::HashSet;
use std::fs;

use rules::*;
use source::{read, root, tests, tree, words};

/// Room, layer, and what it may import. `room::Name` allows that name alone.
const ROOMS: &[(&str, u8, &[&str])] = &[
    ("secret", 0, &[]),
    ("card", 0, &["secret"]),
    ("process", 0, &[]),
    ("wire", 1, &["secret"]),
    ("credential", 1, &["secret"]),
    ("telemetry", 1, &[]),
    ("audit", 1, &["secret", "card::Timestamp", "card::TokenId"]),
    ("limit", 1, &[]),
    ("vault", 2, &["secret", "card"]),
    ("provider", 2, &["secret", "card::Mode", "wire::Encoding", "wire::Pointer", "credential"]),
    ("caller", 2, &["secret", "card::Mode", "vault::Tenant", "provider::HostPort"]),
    ("intake", 2, &["vault::Tenant", "wire::Pointer"]),
    // `flow` keeps no rates: whoever does may refuse, and that refusal is passed on.
    (
        "flow",
        3,
        &[
            "secret",
            "card",
            "wire",
            "credential",
            "limit::Exceeded",
            "vault",
            "provider",
            "caller",
            "intake",
        ],
    ),
    ("page", 3, &[]),
    // `proxy/reply.rs` alone turns errors into HTTP, those of `card` and `wire` among them.
    (
        "proxy",
        4,
        &[
            "secret",
            "card::Timestamp",
            "card::CardError",
            "wire::WireError",
            "telemetry",
            "audit",
            "limit",
            "vault::Tenant",
            "provider::HostPort",
            "provider::ProviderHost",
            "caller::App",
            "intake",
            "flow",
            "page",
        ],
    ),
    (
        "config",
        5,
        &[
            "secret",
            "card",
            "process",
            "wire",
            "credential",
            "telemetry",
            "audit",
            "limit",
            "vault",
            "provider",
            "caller",
            "intake",
            "proxy::address",
            "proxy::exchange",
            "proxy::peer",
            "proxy::way_out",
        ],
    ),
    (
        "pci",
        6,
        &[
            "card::Timestamp",
            "audit",
            "provider::PayformMode",
            "page",
            "proxy::certificates",
            "config",
        ],
    ),
    (
        "app",
        6,
        &[
            "secret",
            "card::Timestamp",
            "process",
            "telemetry",
            "audit",
            "limit",
            "vault",
            "flow",
            "proxy",
            "config",
            "pci::digest",
        ],
    ),
    (
        "cli",
        6,
        &[
            "secret",
            "card::Timestamp",
            "process::Guarded",
            "telemetry::tell_places_only",
            "audit",
            "provider",
            "page",
            "config",
            "pci",
            "app",
        ],
    ),
];

/// Outside crates, and what of the standard library reaches outside, with the places that may name
/// them: files or folders below `src/`. What parses, encrypts or talks has one door.
const DOORS: &[(&str, &[&str])] = &[
    // The network. `flow` has none, so that a whole payment runs in a unit test.
    ("pingora", &["app.rs", "app/", "proxy/accept.rs", "proxy/closing.rs", "proxy/listening.rs"]),
    ("tokio", &["app.rs", "app/", "audit/", "proxy/"]),
    ("async_trait", &["app.rs", "app/", "proxy/"]),
    ("rustls", &["proxy/certificates.rs", "proxy/dial.rs", "proxy/exchange.rs", "proxy/tls.rs"]),
    ("tokio_rustls", &["proxy/accept.rs", "proxy/dial.rs"]),
    ("rustls_native_certs", &["proxy/dial.rs"]),
    ("x509_parser", &["proxy/certificates.rs", "proxy/tls.rs"]),
    (
        "arc_swap",
        &["proxy/accept.rs", "proxy/desk.rs", "proxy/tls.rs", "vault/keyring.rs", "vault/mod.rs"],
    ),
    ("h2", &["proxy/accept.rs", "proxy/h2.rs", "proxy/h2/"]),
    ("httparse", &["proxy/answer.rs", "proxy/h1/"]),
    ("httpdate", &["proxy/peer/skew.rs"]),
    ("std::net", &["app.rs", "app/", "cli.rs", "config/", "proxy/"]),
    // Words of the protocol, without I/O.
    (
        "http",
        &[
            "app/export.rs",
            "config/intake.rs",
            "config/profile.rs",
            "config/telemetry.rs",
            "flow/",
            "intake/",
            "provider/profile.rs",
            "proxy/",
        ],
    ),
    ("bytes", &["proxy/", "secret/"]),
    ("url", &["config/", "flow/", "provider/"]),
    // Cryptography and randomness.
    ("aes_gcm", &["vault/seal.rs"]),
    ("hmac", &["audit/chain.rs", "credential/", "vault/seal.rs"]),
    ("sha1", &["credential/sandwich_digest.rs"]),
    ("sha2", &["audit/chain.rs", "credential/", "page/", "secret/hash.rs", "vault/seal.rs"]),
    ("crc32fast", &["card/token.rs"]),
    ("getrandom", &["secret/"]),
    ("subtle", &["caller.rs", "credential/", "secret/"]),
    (
        "zeroize",
        &[
            "card/",
            "config/root_keys.rs",
            "config/secrets.rs",
            "config/shares.rs",
            "credential/",
            "flow/",
            "secret/",
            "vault/seal.rs",
        ],
    ),
    ("zeroizing_alloc", &["main.rs"]),
    // Formats.
    ("toml", &["config/reader.rs"]),
    ("serde", &["app/reload.rs", "audit/", "pci/", "proxy/reply.rs", "telemetry/"]),
    (
        "serde_json",
        &["app/reload.rs", "audit/record.rs", "pci/mod.rs", "proxy/reply.rs", "telemetry/"],
    ),
    (
        "base64",
        &[
            "config/root_keys.rs",
            "credential/",
            "flow/bearer.rs",
            "page/",
            "proxy/way_out.rs",
            "vault/text.rs",
        ],
    ),
    ("base16ct", &["audit/chain.rs", "credential/encoding.rs", "telemetry/trace.rs"]),
    ("aws_lc_rs", &["credential/keys.rs"]),
    ("wide", &["wire/lanes.rs"]),
    ("memchr", &["flow/answer.rs", "flow/passed.rs", "proxy/", "wire/"]),
    ("miniz_oxide", &["wire/inflate.rs"]),
    // Storage, words about a payment, the command line.
    ("dashmap", &["limit/"]),
    ("hashbrown", &["vault/memory.rs"]),
    ("governor", &["limit/"]),
    ("prometheus", &["telemetry/metrics.rs", "telemetry/otlp/metrics.rs"]),
    ("opentelemetry_proto", &["telemetry/otlp/"]),
    ("prost", &["telemetry/otlp/"]),
    // Here for what they take out of others: nobody logs through them.
    ("log", &[]),
    ("tracing", &[]),
    ("clap", &["cli.rs"]),
    // What the process denies itself.
    (
        "rustix",
        &[
            "cli/",
            "process/limits.rs",
            "process/mod.rs",
            "process/passing.rs",
            "process/supervisor.rs",
            "proxy/dial.rs",
        ],
    ),
    ("landlock", &["process/fence.rs"]),
    ("seccompiler", &["process/calls.rs"]),
    ("libc", &["process/calls.rs", "secret/locked.rs"]),
    // Files, environment and time of day: given to the rooms below, never fetched by them.
    (
        "std::fs",
        &["app/watch.rs", "audit/", "cli.rs", "config/", "process/limits.rs", "process/passing.rs"],
    ),
    ("std::env", &["config/secrets.rs", "process/calls.rs", "process/supervisor.rs"]),
    (
        "std::process",
        &[
            "app/drain.rs",
            "cli.rs",
            "cli/said.rs",
            "main.rs",
            "process/supervisor.rs",
            "secret/",
            "proxy/listening.rs",
            "telemetry/panics.rs",
        ],
    ),
    ("std::time::SystemTime", &["card/time.rs", "telemetry/log.rs"]),
    (
        "Timestamp::system",
        &["app.rs", "app/", "audit/handover.rs", "audit/writer.rs", "cli.rs", "proxy/"],
    ),
];

/// The one file with `unsafe`: memory that the kernel keeps out of reach is had by system calls
/// only.
const UNSAFE: &str = "src/secret/locked.rs";

/// Files that may look into a secret, for whoever reviews what happens to card data. Names of files
/// or folders below `src/`.
const OPENERS: &[&str] = &[
    "audit/chain.rs",
    "card/",
    "config/",
    "credential/",
    "flow/",
    "proxy/dial.rs",
    "proxy/way_out.rs",
    "secret/",
    "vault/",
];

const FILE_LINES: usize = 500;
const FUNCTION_LINES: usize = 70;
const COLUMNS: usize = 100;

/// Words that name nothing, and the names that carry one for a reason.
const EMPTY_WORDS: &[&str] =
    &["manager", "handler", "processor", "service", "util", "utils", "misc", "common"];
const EMPTY_WORDS_ALLOWED: &[(&str, &str)] = &[
    ("Handler", "the one trait between codec and rooms"),
    ("into_service", "Pingora's word for what its server runs"),
    ("start_service", "the same, by Pingora's trait"),
];

/// Data copied from elsewhere, kept byte for byte; a SOURCES.md beside it says from where.
const COPIED: &[&str] = &["tests/fixtures/", "tests/vectors/", "LICENSE"];

/// Papers that a visitor expects.
const PAPERS: &[&str] = &[
    "README.md",
    "ARCHITECTURE.md",
    "SECURITY.md",
    "CHANGELOG.md",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    ".github/CONTRIBUTING.md",
    ".github/pull_request_template.md",
    ".ci/run",
];

#[test]
fn rooms_import_only_from_the_layer_table() {
    let tree = tree();
    check(tree.iter().flat_map(layers).chain(unused_imports(&tree)));
}

#[test]
fn the_layer_table_points_down_and_is_the_documented_one() {
    let mut complaints = Vec::new();
    for (index, (room, layer, imports)) in ROOMS.iter().enumerate() {
        for import in imports.iter().map(|import| first(import)) {
            let below =
                ROOMS.iter().take(index).any(|(name, at, _)| *name == import && at <= layer);
            if !below {
                complaints
                    .push(format!("tests/tidy.rs: {room} may not import {import}: not below it"));
            }
        }
        for paper in ["src/lib.rs", "ARCHITECTURE.md"] {
            let row = format!("| {layer} |");
            let shown = |line: &str| line.contains(&row) && line.contains(&format!("`{room}`"));
            if !read(paper).lines().any(shown) {
                complaints.push(format!("{paper}: no row shows `{room}` in layer {layer}"));
            }
        }
        let lib = read("src/lib.rs");
        if !lib.contains(&format!("pub mod {room};")) {
            complaints.push(format!("src/lib.rs: there is no room `{room}`"));
        }
    }
    check(complaints);
}

#[test]
fn outside_crates_come_in_through_their_doors() {
    let tree = tree();
    let declared = dependencies(&read("Cargo.toml"));
    let without_door = declared
        .iter()
        .filter(|(_, name)| !DOORS.iter().any(|(door, _)| door == name))
        .map(|(line, name)| format!("Cargo.toml:{line}: `{name}` has no door in tests/tidy.rs"));
    check(tree.iter().flat_map(doors).chain(unused_doors(&tree)).chain(without_door));
}

#[test]
fn secrets_are_opened_in_known_places_only() {
    check(tree().iter().flat_map(openers));
}

#[test]
fn hashes_are_finished_in_their_place() {
    check(tree().iter().flat_map(moved_hashes));
}

#[test]
fn unsafe_code_stands_in_one_file() {
    check(tree().iter().flat_map(unsafe_code));
}

#[test]
fn files_functions_and_lines_have_a_size_to_read() {
    check(tree().iter().flat_map(sizes));
}

#[test]
fn every_file_says_what_it_is() {
    check(tree().iter().flat_map(opening));
}

#[test]
fn names_say_something() {
    check(tree().iter().flat_map(names));
}

#[test]
fn only_the_command_line_prints() {
    check(tree().iter().flat_map(prints));
}

#[test]
fn no_card_number_stands_in_the_product_or_its_configuration() {
    check(tree().iter().flat_map(card_numbers));
}

#[test]
fn tracked_files_speak_of_the_product_alone() {
    check(tree().iter().flat_map(foreign_words));
}

#[test]
fn nothing_is_left_unfinished() {
    check(tree().iter().flat_map(unfinished));
}

#[test]
fn texts_are_clean() {
    check(tree().iter().flat_map(hygiene));
}

#[test]
fn dependencies_come_from_the_public_index() {
    let index = "source = \"registry+https://github.com/rust-lang/crates.io-index\"";
    check(["Cargo.lock", "fuzz/Cargo.lock"].into_iter().flat_map(|file| {
        let foreign = |(at, line): (usize, &str)| {
            let foreign = line.starts_with("source = ") && line != index;
            foreign.then(|| format!("{file}:{}: not from crates.io", at + 1))
        };
        read(file).lines().enumerate().filter_map(foreign).collect::<Vec<_>>()
    }));
}

/// Every crate with its version, as a lock names it.
fn locked(file: &str) -> HashSet<(String, String)> {
    let text = read(file);
    let value = |line: &str, key: &str| line.strip_prefix(key).map(str::to_owned);
    let lines: Vec<_> = text.lines().collect();
    let pair = |pair: &[&str]| Some((value(pair[0], "name = ")?, value(pair[1], "version = ")?));
    lines.windows(2).filter_map(pair).collect()
}

#[test]
fn what_is_fuzzed_is_built_from_the_crates_of_the_product() {
    let own = ["portcullis-fuzz", "libfuzzer-sys", "arbitrary"].map(|name| format!("\"{name}\""));
    let product = locked("Cargo.lock");
    let fuzzed = locked("fuzz/Cargo.lock");
    assert!(fuzzed.len() > 100, "the lock was not read");
    check(
        fuzzed.difference(&product).filter(|(name, _)| !own.contains(name)).map(
            |(name, version)| format!("fuzz/Cargo.lock: {name} {version} is not in Cargo.lock"),
        ),
    );
}

#[test]
fn the_papers_are_there_and_their_links_lead_somewhere() {
    let missing = PAPERS.iter().filter(|paper| !root().join(paper).is_file());
    let missing = missing.map(|paper| format!("{paper}: is missing"));
    let version = format!("[{}]", env!("CARGO_PKG_VERSION"));
    let changes = fs::read_to_string(root().join("CHANGELOG.md")).unwrap_or_default();
    let told = changes.contains(&version) || changes.contains("[Unreleased]");
    let untold = (!told).then(|| format!("CHANGELOG.md: has neither {version} nor [Unreleased]"));
    check(missing.chain(untold).chain(tree().iter().flat_map(links)));
}

#[test]
fn every_test_that_a_promise_names_is_there() {
    let tree = tree();
    let mut tests: HashSet<_> = tree.iter().flat_map(tests).collect();
    // Tests without the harness are registered under their names.
    let residue = tree.iter().find(|file| file.path == "tests/residue/main.rs").unwrap();
    tests.extend(
        words(&residue.raw)
            .map(|(_, word)| word)
            .filter(|word| residue.raw.contains(&format!("\"{word}\","))),
    );
    let papers = tree.iter().filter(|file| ["SECURITY.md", "README.md"].contains(&&*file.path));
    check(papers.flat_map(|paper| promised_tests(paper, &tests)));
}

fn check(complaints: impl IntoIterator<Item = String>) {
    let complaints: Vec<String> = complaints.into_iter().collect();
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}
