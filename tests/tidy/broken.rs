//! Every rule fails when it should: small files that break one rule each, and one that breaks none.

use super::rules::*;
use super::source::Source;

type Rule = fn(&Source) -> Vec<String>;

/// Rule, file, content, and the complaint's beginning; none means that it passes.
fn samples() -> Vec<(Rule, &'static str, String, &'static str)> {
    let text = |text: &str| text.to_owned();
    let number = format!("{}{}", "55512345", "67890006");
    let grouped = format!("\"{} {} 6789 0006\"", "5551", "2345");
    vec![
        (layers, "src/wire/x.rs", text("use crate::secret::A;"), ""),
        (
            layers,
            "src/wire/x.rs",
            text("\nuse crate::vault::A;"),
            "src/wire/x.rs:2: `wire` may not import",
        ),
        (
            layers,
            "src/wire/x.rs",
            text("fn a() { crate::flow::b(); }"),
            "src/wire/x.rs:1: `wire` may not",
        ),
        (
            layers,
            "src/wire/x.rs",
            text("use crate::{secret::A,\n  card::B};"),
            "src/wire/x.rs:2: `wire` may",
        ),
        (layers, "src/caller.rs", text("use crate::vault::Tenant;"), ""),
        (
            layers,
            "src/caller.rs",
            text("use crate::vault::Vault;"),
            "src/caller.rs:1: `caller` may not",
        ),
        (
            layers,
            "src/page/mod.rs",
            text("use super::flow::Flow;"),
            "src/page/mod.rs:1: a room is named",
        ),
        (layers, "src/attic/mod.rs", text(""), "src/attic/mod.rs:1: room `attic`"),
        (
            layers,
            "src/wire/x.rs",
            text("// crate::vault\n#[cfg(test)]\nmod tests { use crate::vault::A; }"),
            "",
        ),
        (doors, "src/vault/seal.rs", text("use aes_gcm::Aes256Gcm;"), ""),
        (
            doors,
            "src/flow/x.rs",
            text("\n\nuse aes_gcm::Aes256Gcm;"),
            "src/flow/x.rs:3: `aes_gcm` comes in",
        ),
        (doors, "src/flow/x.rs", text("use rustls as tls;"), "src/flow/x.rs:1: `rustls` comes in"),
        (
            doors,
            "src/flow/x.rs",
            text("use std::{fmt, fs};"),
            "src/flow/x.rs:1: `std::fs` comes in",
        ),
        (
            doors,
            "src/flow/x.rs",
            text("let now = std::time::SystemTime::now();"),
            "src/flow/x.rs:1: `std::time",
        ),
        (doors, "src/flow/x.rs", text("use super::h2::x; let a = b.h2::<C>();"), ""),
        (openers, "src/vault/x.rs", text("pan.reveal(|digits| 1)"), ""),
        (
            openers,
            "src/proxy/x.rs",
            text("pan.reveal(|digits| 1)"),
            "src/proxy/x.rs:1: secrets are not",
        ),
        (moved_hashes, "src/flow/x.rs", text("mac.finalize_reset(); sorted_digest::digest(a)"), ""),
        (moved_hashes, "src/page/x.rs", text("Sha256::digest(a)"), ""),
        (moved_hashes, "src/flow/x.rs", text("Sha256::digest(a)"), "src/flow/x.rs:1: moves a hash"),
        (moved_hashes, "src/flow/x.rs", text("\nmac.finalize()"), "src/flow/x.rs:2: moves a hash"),
        (unsafe_code, "src/flow/x.rs", text("// unsafe\nconst A: &str = \"unsafe\";"), ""),
        (
            unsafe_code,
            "tests/x.rs",
            text("fn a() {\n unsafe { b() } }"),
            "tests/x.rs:2: unsafe code",
        ),
        (unsafe_code, "src/secret/locked.rs", text("unsafe { b() }"), ""),
        (unsafe_code, "src/secret/mod.rs", text("unsafe { b() }"), "src/secret/mod.rs:1: unsafe"),
        (sizes, "src/flow/x.rs", format!("fn a() {{{}}}\n", "\n b();".repeat(60)), ""),
        (
            sizes,
            "src/flow/x.rs",
            format!("\nfn a(b: [u8; 4]) {{{}}}", "\n c();".repeat(70)),
            "src/flow/x.rs:2: `a` has 71",
        ),
        (sizes, "sandbox/src/x.rs", "use a::b;\n".repeat(501), "sandbox/src/x.rs:1: 501 lines"),
        (
            sizes,
            "src/flow/x.rs",
            format!("#[cfg(test)]\nmod tests {{\n{}}}", "use a::b;\n".repeat(501)),
            "",
        ),
        (sizes, "tests/x.rs", format!("\n// {}", "a".repeat(98)), "tests/x.rs:2: over 100 columns"),
        (sizes, "tests/x.rs", format!("const A: &str = \"{}\";", "a".repeat(98)), ""),
        (opening, "src/flow/x.rs", text("//! What it is.\n"), ""),
        (opening, "src/flow/x.rs", text("use a::b;\n"), "src/flow/x.rs:1: does not open"),
        (
            names,
            "src/flow/x.rs",
            text("pub trait Handler {}\n// a manager\nfn service() {}"),
            "src/flow/x.rs:3: `service`",
        ),
        (names, "src/flow/x.rs", text("struct CardManager;"), "src/flow/x.rs:1: `CardManager`"),
        (names, "src/flow/utils.rs", text(""), "src/flow/utils.rs:1: `utils`"),
        (names, "src/flow/x.rs", text("use a::Service; fn services() {}"), ""),
        (prints, "src/cli.rs", text("println!(\"a\")"), ""),
        (prints, "src/cli/x.rs", text("println!(\"a\")"), ""),
        (prints, "src/flow/x.rs", text("\ndbg!(a)"), "src/flow/x.rs:2: dbg! prints"),
        (card_numbers, "src/flow/x.rs", format!("// like {number}"), "src/flow/x.rs:1: looks like"),
        (card_numbers, "config/x.toml", format!("\na = {grouped}"), "config/x.toml:2: looks like"),
        (card_numbers, "src/flow/x.rs", format!("{number}1 a{number} 5551234567890007"), ""),
        (card_numbers, "src/flow/x.rs", format!("#[cfg(test)]\nconst A: u64 = {number};"), ""),
        (foreign_words, "README.md", format!("\ncd /{}/x", "work"), "README.md:2: `/wo"),
        (foreign_words, "README.md", format!("by {}{}", "Cla", "ude"), "README.md:1: `cla"),
        (
            foreign_words,
            "README.md",
            format!("https://{}.example.org/x", "registry"),
            "README.md:1: `registry",
        ),
        (foreign_words, "README.md", text("registry.account(name); work/flow, homework"), ""),
        (
            unfinished,
            "src/flow/x.rs",
            format!("\n// {}: later", concat!("TO", "DO")),
            "src/flow/x.rs:2: ",
        ),
        (
            unfinished,
            "tests/x.rs",
            format!("#[{}]\nfn a() {{}}", "ignore"),
            "tests/x.rs:1: ignored test",
        ),
        (hygiene, "a.toml", text("a = 1 \n"), "a.toml:1: space"),
        (hygiene, "a.toml", text("a = 1"), "a.toml:1: a file ends"),
        (hygiene, "a.toml", text("a = 1\n\n"), "a.toml:3: a file ends"),
        (hygiene, "a.toml", text("a = 1\n"), ""),
        (links, "README.md", text("\n[a](missing.md#b)"), "README.md:2: the link to missing.md"),
        (links, "README.md", text("see `src/missing.rs`"), "README.md:1: src/missing.rs does not"),
        (
            links,
            "README.md",
            text("[a](Cargo.toml) `src/lib.rs` [b](https://example.com) [c](#d)"),
            "",
        ),
    ]
}

#[test]
fn each_rule_sees_what_breaks_it_and_nothing_else() {
    for (rule, path, text, expected) in samples() {
        let complaints = rule(&Source::new(path, &text));
        match complaints.first() {
            None => assert!(expected.is_empty(), "passes: {path}: {text:?}, not {expected}"),
            Some(first) => {
                let right = !expected.is_empty() && first.starts_with(expected);
                assert!(right, "{path}: {text:?}: {complaints:?}, not {expected}");
            }
        }
    }
}

#[test]
fn a_promise_whose_test_is_gone_is_seen() {
    let table = "| Promise | Held by |\n| a | `one_test`, `tests/flow/`, `--once` |\n\
        | `no_test` is told | `one_test`, `gone_test` |\n`no_row`\n";
    let known = ["one_test", "fn"].into();
    let complaints = promised_tests(&Source::new("SECURITY.md", table), &known);
    assert_eq!(complaints, ["SECURITY.md:3: there is no test `gone_test`"]);
}
