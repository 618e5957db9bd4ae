//! What is left of cards in the memory of the running product: nothing.
//!
//! The product's own binary runs between simulated providers and takes ten thousand payments, each
//! with a card of its own. Then every readable byte of its memory is searched for each of those
//! cards, for security codes and for the vault's keys, in fourteen spellings: twice, with all
//! connections still open and after they were closed. This process knows the cards and is not
//! searched.
//!
//! Three digits stand everywhere in a memory, so a security code counts where something around it
//! says what it is: behind `cvv` as JSON, as JSON within JSON, as a form, as a message, and in the
//! clear layout of a record, behind the header of its application.
//!
//! Whether such a search finds anything at all is shown by a mutant: the same library in a program
//! with the system's allocator, which does not overwrite what is freed. It has to fail where the
//! product passes. This test's own executable is that program, so that nothing that could weaken
//! the product has to be built into it; hence no test harness.
//!
//! To read another process' memory takes `CAP_SYS_PTRACE`. Without it (not root), both are started
//! with `danger_allow_core_dumps`, which lets their parent look into them; the rest stays on.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "a test that fails may panic, and this one prints its own report"
)]

mod canary;
#[path = "../it/house.rs"]
#[expect(dead_code, reason = "the other test program needs the rest of it")]
mod house;
#[path = "../it/line.rs"]
#[expect(dead_code, reason = "the other test program needs the rest of it")]
mod line;
mod load;
mod memory;
#[path = "../it/packages.rs"]
mod packages;
mod panics;
mod round;
mod scan;
#[path = "../it/short.rs"]
mod short;
mod upgrade;
mod wanted;
mod ways;

use std::process::ExitCode;
use std::time::Instant;

/// Payments of the product's round, and of the mutant's.
const PAYMENTS: usize = 10_000;
const MUTANTS_PAYMENTS: usize = 1_000;

const TESTS: [(&str, fn()); 7] = [
    (
        "the_search_finds_every_spelling_and_nothing_else",
        scan::the_search_finds_every_spelling_and_nothing_else,
    ),
    (
        "ten_thousand_payments_leave_nothing_in_memory",
        ten_thousand_payments_leave_nothing_in_memory,
    ),
    (
        "a_build_that_does_not_wipe_what_it_frees_is_found_out",
        a_build_that_does_not_wipe_what_it_frees_is_found_out,
    ),
    ("an_upgrade_leaves_nothing_in_memory", upgrade::an_upgrade_leaves_nothing_in_memory),
    (
        "a_panic_beside_a_card_leaves_nothing_in_memory",
        panics::a_panic_beside_a_card_leaves_nothing_in_memory,
    ),
    ("a_card_is_found_in_no_sink", canary::a_card_is_found_in_no_sink),
    ("a_panic_tells_its_place_and_nothing_of_a_card", canary::a_panic_tells_its_place),
];

fn ten_thousand_payments_leave_nothing_in_memory() {
    let residue = round::play(round::Build::Product, PAYMENTS);
    assert!(residue.payments >= PAYMENTS, "{} payments", residue.payments);
    // The product is searched like the mutant: what it needs to hold at a time is found.
    assert!(residue.under_way.total() > 0, "nothing found of payments under way");
    assert_eq!(residue.open.told(), "", "left with connections open");
    assert_eq!(residue.closed.told(), "", "left after connections closed");
}

fn a_build_that_does_not_wipe_what_it_frees_is_found_out() {
    let residue = round::play(round::Build::Mutant, MUTANTS_PAYMENTS);
    assert!(residue.open.total() > 0, "nothing found with connections open");
    assert!(residue.closed.total() > 0, "nothing found after connections closed");
}

/// `run --config FILE` is the mutant, `page` one that panics; anything else is for a test harness:
/// names to run, or to `--list`.
fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some("run") => return portcullis::cli::main(),
        Some("page") => return canary::panic_behind_the_command_line(),
        _ => {}
    }
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    let names: Vec<&String> = arguments.iter().filter(|one| !one.starts_with('-')).collect();
    let chosen = |name: &str| {
        let exact = has("--exact");
        let fits = |wanted: &str| if exact { wanted == name } else { name.contains(wanted) };
        (names.is_empty() || names.iter().any(|wanted| fits(wanted))) && !has("--ignored")
    };
    for (name, test) in TESTS.into_iter().filter(|(name, _)| chosen(name)) {
        if has("--list") {
            println!("{name}: test");
            continue;
        }
        let begun = Instant::now();
        eprintln!("test {name}");
        test();
        eprintln!("test {name} ... ok in {:.1} s\n", begun.elapsed().as_secs_f64());
    }
    ExitCode::SUCCESS
}
