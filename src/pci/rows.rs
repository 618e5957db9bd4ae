//! The requirements that a payment proxy touches, in our own words, and what this one does about
//! each. The numbers are those of PCI DSS v4.0.1; the standard's own text is what counts.

use serde::Serialize;

use crate::audit::Flush;
use crate::config::Config;
use crate::provider::PayformMode;

use super::Filled;

/// Who answers for a requirement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// Portcullis, for what passes through it.
    Portcullis,
    /// Portcullis with the operator's part, which the row names.
    Shared,
    /// The operator; Portcullis helps at most.
    Operator,
    /// Nobody: this configuration gives it up.
    Open,
}

impl By {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Portcullis => "Portcullis",
            Self::Shared => "shared",
            Self::Operator => "operator",
            Self::Open => "**NOT MET**",
        }
    }
}

/// One requirement before it is filled in.
#[derive(Debug)]
pub struct Row {
    /// Its number.
    pub number: &'static str,
    /// What it asks for.
    pub demand: &'static str,
    /// Who answers for it when nothing is given up.
    pub by: By,
    /// How, with a configuration.
    pub how: fn(&Config) -> String,
    /// What gives it up: keys that are on, a table that is missing, a log that is written nowhere.
    pub given_up_by: &'static [&'static str],
    /// Tests that show it.
    pub tests: &'static [&'static str],
}

impl Row {
    pub(super) fn filled(&self, config: Option<&Config>) -> Filled {
        let Self { number, demand, by, tests, .. } = *self;
        let (mut by, mut how) = (by, "–".to_owned());
        if let Some(config) = config {
            how = (self.how)(config);
            let reasons: Vec<_> =
                self.given_up_by.iter().filter(|key| is_open(config, key)).collect();
            for reason in &reasons {
                how = format!("{reason} gives it up. {how}");
                by = By::Open;
            }
        }
        Filled { number, demand, by, how, tests }
    }
}

/// A key that is on, or what is not there.
fn is_open(config: &Config, key: &str) -> bool {
    match key {
        NO_AUDIT => config.audit.is_none(),
        NO_LOG => config.is_silent() && !exports_lines(config),
        key => config.dangers.iter().any(|danger| danger == key),
    }
}

const NO_AUDIT: &str = "the missing [audit]";
const NO_LOG: &str = "log.format = \"off\" without telemetry.logs";

/// Whether events go to a collector.
fn exports_lines(config: &Config) -> bool {
    config.telemetry.as_ref().is_some_and(|settings| settings.logs)
}

/// Names of the shops that Portcullis stands in front of.
fn shops(config: &Config) -> String {
    let names = config.shops.iter().flat_map(|shop| &shop.intake.names);
    names.map(|name| &**name).collect::<Vec<_>>().join(", ")
}

fn text(text: &str) -> String {
    text.to_owned()
}

fn lives(config: &Config) -> String {
    let limits = &config.vault;
    format!(
        "Cards are kept for {} s and security codes for {} s at most, sealed, in memory; at most {} \
         cards. Operator: set them to what a checkout needs (vault.card_ttl_seconds).",
        limits.card_ttl.as_secs(),
        limits.cvv_ttl.as_secs(),
        limits.capacity
    )
}

fn split_knowledge(config: &Config) -> String {
    let whole = config.root_keys.iter().any(|root| root.read().is_some());
    text(match (config.root_keys.is_empty(), whole) {
        (true, _) => "Nobody handles the root key.",
        (_, false) => {
            "The root key is typed in at start, in shares. Operator: a custodian for each share."
        }
        (_, true) => {
            "A root key is read whole. Operator: have the mounting store do it, or keep the key in \
             shares (docs/keys.md)."
        }
    })
}

fn root_key(config: &Config) -> String {
    text(match config.root_keys.is_empty() {
        false => {
            "The root key comes from where the inventory says, is read once, and lies in key memory \
             (the start event's process.key_memory). Operator: few people may read that place."
        }
        true => "The root key is random at every start and was never anywhere but in key memory.",
    })
}

fn cryptoperiod(config: &Config) -> String {
    text(match config.root_keys.is_empty() {
        false => {
            "Each record has a key of its own, which ends with it. Operator: replace the root key \
             once a year, while serving (vault.root_keys, SIGHUP; docs/keys.md). The audit \
             record's `keyed` shows when it changed."
        }
        true => "Each record has a key of its own; the root key ends with the process.",
    })
}

fn transport(config: &Config) -> String {
    let hosts: std::collections::BTreeSet<_> = config
        .registry
        .accounts()
        .flat_map(|account| account.upstreams.iter().flatten())
        .map(|host| host.host().authority(host.tls()))
        .collect();
    let hosts: Vec<_> = hosts.into_iter().collect();
    format!(
        "Public listener {} and private listener {}{}: TLS 1.2 (AEAD) and 1.3, no early data. \
         Providers ({}) are called over TLS with a verified certificate, against {}.{}",
        config.public.address,
        config.private.address,
        if config.private.client_ca.is_some() { " (client certificates required)" } else { "" },
        hosts.join(", "),
        if config.upstream.ca_file.is_some() {
            "upstream.ca_file"
        } else {
            "the system's authorities"
        },
        if config.shops.is_empty() {
            String::new()
        } else {
            format!(
                " Cards typed into the forms of {} ([[intake]]) end here; the shops get tokens.",
                shops(config)
            )
        },
    )
}

fn accounts(config: &Config) -> String {
    let apps = config.apps.iter().count();
    let keys: usize = config.apps.iter().map(|app| app.key_hashes.len()).sum();
    format!(
        "{apps} applications; {keys} keys of theirs are here as SHA-256 only, two may be live while \
         one replaces the other. All secrets are references (inventory). Operator: replace them by \
         your own risk analysis."
    )
}

fn record(config: &Config) -> String {
    match &config.audit {
        None => text("No record is kept."),
        Some(audit) => format!(
            "One line for every card that leaves, written before it does, in {}; {}.",
            audit.folder.display(),
            match audit.flush {
                Flush::EveryRecord => text("on the disk before the card leaves"),
                Flush::Interval(time) => format!(
                    "handed to the system before, on the disk {} ms later at most",
                    time.as_millis()
                ),
            }
        ),
    }
}

fn scripts(config: &Config) -> String {
    let by_browser =
        config.registry.accounts().filter(|account| account.payform == PayformMode::Browser);
    let mut how = text(
        "The hosted form is one document with one script of ours and loads nothing else; its policy \
         names the digests below. Operator: the scripts of the pages that frame it.",
    );
    if by_browser.count() > 0 {
        how.push_str(" Accounts with payform.post = \"browser\" show a page that posts the card.");
    }
    how + &payment_pages(config)
}

/// Pages of shops behind Portcullis: a card is typed into them, and they pass as they are.
fn payment_pages(config: &Config) -> String {
    if config.shops.is_empty() {
        return String::new();
    }
    format!(
        " The forms of {} ([[intake]]) are pages of the shop, with its scripts, that pass unchanged: \
         each of them is a payment page. Operator: all of it there, because a script of theirs reads \
         the card before Portcullis does.",
        shops(config)
    )
}

fn tampering(config: &Config) -> String {
    text(
        "The digests below are those of this version; the page's policy names the script's and the \
         style's. Operator: compare what browsers get with them.",
    ) + &payment_pages(config)
}

fn entries(config: &Config) -> String {
    let whole =
        "app, event, time, outcome, request_id (and the log's line of that id), token and host.";
    text(match (config.is_silent(), exports_lines(config)) {
        (false, _) => whole,
        (true, true) => {
            "app, event, time, outcome, request_id (and the line of that id at the collector, where it \
             is kept), token and host."
        }
        (true, false) => "app, event, time, outcome, request_id, token and host.",
    })
}

fn attempts(config: &Config) -> String {
    let places = match (config.is_silent(), exports_lines(config)) {
        (false, _) => "a line of the log with its code, and a count of the metrics",
        (true, true) => "a line at the collector with its code, and a count of the metrics",
        (true, false) => "a count of the metrics alone",
    };
    format!("Every refused call is {places}.")
}

fn scope(config: &Config) -> String {
    format!(
        "In scope: this machine, and whoever reaches its keys. {} applications hold tokens and can \
         cause a card to be shown to {} accounts at providers, never to themselves.{} Operator: \
         confirm it every 12 months and after changes.",
        config.apps.iter().count(),
        config.registry.accounts().count(),
        if config.shops.is_empty() {
            String::new()
        } else {
            format!(
                " The pages of {} ([[intake]]) and whoever can change them are in scope as well: \
                 cards are typed into them.",
                shops(config)
            )
        },
    )
}

const DUMPS: &[&str] = &["process.danger_allow_core_dumps"];

/// All of them, in the standard's order.
#[rustfmt::skip]
pub const ROWS: &[Row] = &[
    Row { number: "3.2.1", demand: "Keep as little account data as possible, no longer than needed, and prove that it is gone.", by: By::Shared, how: lives, given_up_by: &[],
        tests: &["a_card_that_has_lived_its_time_is_refused", "unknown_foreign_expired_and_revoked_are_one_answer", "a_full_vault_refuses_and_keeps_every_live_card"] },
    Row { number: "3.3.1", demand: "No sensitive authentication data after authorisation, not even encrypted.", by: By::Portcullis, how: |_| text("A security code is burned with the first byte of the request that carries it, and comes back only when no byte left. Nothing is on a disk."), given_up_by: DUMPS,
        tests: &["a_security_code_is_taken_once", "of_a_hundred_callers_one_takes_the_security_code", "a_code_is_taken_once_and_nothing_of_it_is_left", "a_cvv_pays_once_and_comes_back_only_when_nothing_was_sent", "a_crash_leaves_no_core"] },
    Row { number: "3.3.1.1", demand: "No track data.", by: By::Portcullis, how: |_| text("No interface takes any: number, expiry, holder and code alone."), given_up_by: &[],
        tests: &["a_card_that_is_not_one_is_not_captured"] },
    Row { number: "3.3.1.2", demand: "No card verification code.", by: By::Portcullis, how: |config| format!("As 3.3.1; one that is never used ends after {} s, 900 at most.", config.vault.cvv_ttl.as_secs()), given_up_by: DUMPS,
        tests: &["a_security_code_lives_fifteen_minutes_and_never_longer_than_its_card", "a_security_code_that_is_over_is_swept_out_of_its_cards_record"] },
    Row { number: "3.3.1.3", demand: "No PIN and no PIN block.", by: By::Portcullis, how: |_| text("No interface takes any."), given_up_by: &[],
        tests: &["a_card_that_is_not_one_is_not_captured"] },
    Row { number: "3.3.2", demand: "Encrypt sensitive authentication data that is stored before authorisation.", by: By::Portcullis, how: |_| text("AES-256-GCM under a key of its own for each code, in memory."), given_up_by: &[],
        tests: &["nothing_of_the_digits_is_in_it_and_two_seals_share_nothing_of_them", "what_was_sealed_opens_by_both_tokens_in_its_cards_record_alone", "every_flipped_bit_of_a_code_keeps_it_shut", "aes_gcm_agrees_with_wycheproof"] },
    Row { number: "3.3.3", demand: "For issuers: a documented need for storing sensitive authentication data.", by: By::Operator, how: |_| text("Not what Portcullis is for."), given_up_by: &[], tests: &[] },
    Row { number: "3.4.1", demand: "Show at most the BIN and the last four digits.", by: By::Portcullis, how: |_| text("First six and last four digits in every answer; no call returns a card number, and providers' answers are cleaned of them."), given_up_by: &[],
        tests: &["the_mask_keeps_length_first_six_and_last_four", "metadata_shows_what_may_be_shown", "answers_of_every_status_lose_what_was_put_in"] },
    Row { number: "3.5.1", demand: "Make card numbers unreadable wherever they are stored.", by: By::Portcullis, how: |_| text("Sealed records in memory; logs, metrics and the audit record hold none."), given_up_by: DUMPS,
        tests: &["nothing_of_the_cleartext_is_in_the_record", "whatever_is_sent_the_log_holds_no_card_no_token_and_no_credential"] },
    Row { number: "3.5.1.1", demand: "Hashes of card numbers are keyed, over the whole number, with managed keys.", by: By::Portcullis, how: |_| text("Rates count HMAC-SHA-256 fingerprints under a key of their own; they leave the process nowhere."), given_up_by: &[],
        tests: &["a_fingerprint_is_the_same_for_a_number_in_one_process"] },
    Row { number: "3.6.1", demand: "Protect keys against disclosure and misuse.", by: By::Shared, how: root_key, given_up_by: DUMPS,
        tests: &["the_memory_that_root_can_read_holds_no_root_key", "another_process_of_the_same_user_cannot_look_into_it", "a_core_that_root_forces_holds_no_root_key"] },
    Row { number: "3.6.1.1", demand: "For service providers: keep a description of the cryptographic architecture.", by: By::Operator, how: |_| text("ARCHITECTURE.md and SECURITY.md describe Portcullis's part; the inventory below lists its keys."), given_up_by: &[], tests: &[] },
    Row { number: "3.6.1.2", demand: "Store secret keys encrypted, in a secure device, or as shares.", by: By::Shared, how: |config| text(if !config.root_keys.is_empty() { "Portcullis reads the key from a file, the environment or shares that people type in, and writes it nowhere. Operator: mount it from a store that meets this, or keep shares." } else { "The root key is stored nowhere. Operator: the other secrets of the inventory." }), given_up_by: &[],
        tests: &["a_secret_shows_as_its_reference_only"] },
    Row { number: "3.6.1.3", demand: "As few people as possible reach keys in clear.", by: By::Shared, how: |_| text("Secret files that every user can read are refused. Operator: who owns them."), given_up_by: &[],
        tests: &["what_is_wrong_is_refused_with_file_line_and_key"] },
    Row { number: "3.6.1.4", demand: "Keys are in as few places as possible.", by: By::Shared, how: |_| text("In key memory once, in the places of the inventory otherwise. Operator: copies and backups of those."), given_up_by: DUMPS,
        tests: &["the_memory_that_root_can_read_holds_no_root_key"] },
    Row { number: "3.7.1", demand: "Generate strong keys.", by: By::Portcullis, how: |_| text("`portcullis keygen`: 256 bits of the system's generator; keys of records are derived by HMAC-SHA-256."), given_up_by: &[],
        tests: &["a_ring_takes_whole_keys_and_each_version_once", "randomness_differs_from_call_to_call"] },
    Row { number: "3.7.2", demand: "Distribute keys securely.", by: By::Operator, how: |_| text("Portcullis distributes none."), given_up_by: &[], tests: &[] },
    Row { number: "3.7.3", demand: "Store keys securely.", by: By::Shared, how: root_key, given_up_by: DUMPS,
        tests: &["both_kinds_of_memory_are_locked_and_left_out_of_core_dumps"] },
    Row { number: "3.7.4", demand: "Replace keys at the end of their cryptoperiod.", by: By::Shared, how: cryptoperiod, given_up_by: &[],
        tests: &["a_new_root_key_seals_and_the_old_one_opens_while_payments_go_on", "a_change_that_cannot_be_used_leaves_everything_as_it_is"] },
    Row { number: "3.7.5", demand: "Retire, replace or destroy keys that are old, weak or suspected.", by: By::Shared, how: |_| text("A version that is taken out opens nothing any more, and its memory is wiped. Operator: destroy the file."), given_up_by: &[],
        tests: &["a_removed_root_key_takes_the_card_along_and_not_the_way_to_the_provider", "what_is_dropped_is_wiped_first"] },
    Row { number: "3.7.6", demand: "Split knowledge and dual control where people handle keys in clear.", by: By::Shared, how: split_knowledge, given_up_by: &[],
        tests: &["one_share_too_few_tells_nothing", "any_two_of_three_shares_start_it_with_the_same_key_and_leave_nothing_in_memory"] },
    Row { number: "3.7.7", demand: "Nobody replaces a key unnoticed.", by: By::Shared, how: |config| format!("Every start writes the root key's id into the audit record. {}", record(config)), given_up_by: &[NO_AUDIT],
        tests: &["a_record_goes_on_after_a_kill_and_is_proved_after_a_stop"] },
    Row { number: "3.7.8", demand: "Custodians accept their duties in writing.", by: By::Operator, how: |_| text("A matter of people."), given_up_by: &[], tests: &[] },
    Row { number: "3.7.9", demand: "For service providers that share keys: tell customers how to handle them.", by: By::Operator, how: |_| text("A matter of contracts."), given_up_by: &[], tests: &[] },
    Row { number: "4.2.1", demand: "Strong cryptography for card numbers on open networks, with certificates that are trusted and valid, and no way back to weak versions.", by: By::Portcullis, how: transport, given_up_by: &["upstream.danger_plain_http"],
        tests: &["a_certificate_for_another_name_or_from_another_authority_is_not_accepted", "every_failure_is_told_as_it_is_and_no_sale_is_sent_twice", "a_resumed_session_offers_no_early_data", "plain_http_on_a_tls_listener_fails_the_handshake"] },
    Row { number: "4.2.1.1", demand: "An inventory of trusted keys and certificates.", by: By::Shared, how: |_| text("Below. Operator: those of balancers and proxies before Portcullis."), given_up_by: &[],
        tests: &["the_inventory_lists_every_certificate_and_key_and_no_secret"] },
    Row { number: "6.2.4", demand: "Software that withstands common attacks: injection, attacks on data, on cryptography, on business logic, on access control.", by: By::Portcullis, how: |_| text("One strict parser decides and splices; requests that mean two things are refused; callers are bound to accounts; rates stop card testing."), given_up_by: &[],
        tests: &["no_malformed_request_is_served_and_nothing_after_it_either", "no_disguise_passes_in_any_json_body", "only_the_right_tenant_account_and_mode_redeem", "one_address_with_many_cards_is_stopped_and_the_shopper_beside_it_pays", "values_cannot_become_markup"] },
    Row { number: "6.3.2", demand: "An inventory of the software made for you and of what third parties put into it.", by: By::Operator, how: |_| text("`.ci/run` makes a bill of materials of the program, portcullis.cdx.json (CycloneDX), and fails when a crate of it is not listed there. Operator: keep the one of the version that runs, and compare it with advisories (6.3.1)."), given_up_by: &[], tests: &[] },
    Row { number: "6.4.3", demand: "Scripts of payment pages are authorised, unaltered, and listed with a reason.", by: By::Shared, how: scripts, given_up_by: &[],
        tests: &["the_form_runs_its_own_script_only_and_is_framed_by_the_sessions_origin_only", "the_script_and_the_style_stand_in_the_page_as_they_were_hashed", "the_documents_pin_the_script_that_is_served"] },
    Row { number: "8.6.1", demand: "System accounts are not used by people.", by: By::Operator, how: |_| text("Portcullis has no log-in; its user needs no shell."), given_up_by: &[], tests: &[] },
    Row { number: "8.6.2", demand: "No passwords of system accounts in files of configuration or code.", by: By::Portcullis, how: accounts, given_up_by: &[],
        tests: &["a_secret_shows_as_its_reference_only", "the_documented_file_loads_and_weakens_nothing"] },
    Row { number: "8.6.3", demand: "Secrets of system accounts are strong, protected, and replaced in time.", by: By::Shared, how: accounts, given_up_by: &[],
        tests: &["what_is_wrong_is_refused_with_file_line_and_key"] },
    Row { number: "10.2.1", demand: "Audit logs are on.", by: By::Portcullis, how: record, given_up_by: &[NO_AUDIT],
        tests: &["every_card_that_leaves_has_a_line_before_and_one_after", "on_a_full_disk_no_card_leaves_and_no_token_is_lost"] },
    Row { number: "10.2.1.1", demand: "Every access of a person to cardholder data is logged.", by: By::Shared, how: |config| format!("{} Portcullis knows applications. Operator: the people behind them.", record(config)), given_up_by: &[NO_AUDIT],
        tests: &["every_card_that_leaves_has_a_line_before_and_one_after", "a_card_form_is_recorded_whoever_posts_it_and_whatever_was_typed"] },
    Row { number: "10.2.1.2", demand: "Everything that administrators do is logged.", by: By::Shared, how: |_| text("Starts, stops, and the digests of the configuration and the root key are lines. Operator: what is done on the machine."), given_up_by: &[NO_AUDIT],
        tests: &["a_record_goes_on_after_a_kill_and_is_proved_after_a_stop"] },
    Row { number: "10.2.1.3", demand: "Access to audit logs is logged.", by: By::Operator, how: |_| text("The system's file auditing; Portcullis only appends."), given_up_by: &[], tests: &[] },
    Row { number: "10.2.1.4", demand: "Invalid attempts are logged.", by: By::Portcullis, how: attempts, given_up_by: &[NO_LOG],
        tests: &["the_admin_listener_tells_health_and_counts", "guessed_tokens_are_stopped_at_the_twentieth_and_nothing_else_is_used_up"] },
    Row { number: "10.2.1.5", demand: "Changes of credentials and rights are logged.", by: By::Shared, how: |_| text("A change of the configuration is a line: of who may do what, of applications' hashed keys, of what a secret's reference names. A secret that is replaced behind the same reference changes no digest; of a root key and of listeners' certificates there is a line all the same. Operator: who changed what, in the store of configurations and in that of secrets."), given_up_by: &[NO_AUDIT],
        tests: &["a_record_goes_on_after_a_kill_and_is_proved_after_a_stop"] },
    Row { number: "10.2.1.6", demand: "Starting, stopping and pausing of audit logs is logged.", by: By::Portcullis, how: |_| text("`started` and `stopped` are lines; it cannot be paused. A process that was killed shows as a start without a stop."), given_up_by: &[NO_AUDIT],
        tests: &["a_record_goes_on_after_a_kill_and_is_proved_after_a_stop"] },
    Row { number: "10.2.1.7", demand: "Making and deleting system-level objects is logged.", by: By::Operator, how: |_| text("The system's own auditing. Portcullis can neither start programs nor write outside the record's folder."), given_up_by: &["process.danger_no_seccomp", "process.danger_no_landlock"],
        tests: &["a_forbidden_call_ends_the_process", "files_and_ports_beyond_the_list_are_closed"] },
    Row { number: "10.2.2", demand: "Each entry has user, kind, time, success or failure, origin, and what was affected.", by: By::Portcullis, how: entries, given_up_by: &[NO_AUDIT, NO_LOG],
        tests: &["a_line_says_who_got_which_card_and_nothing_that_opens_it"] },
    Row { number: "10.3.1", demand: "Only those who need it read audit logs.", by: By::Shared, how: |_| text("Files are made readable by owner and group alone. Operator: the group."), given_up_by: &[NO_AUDIT],
        tests: &["a_record_is_whole_over_files_and_starts"] },
    Row { number: "10.3.2", demand: "Audit logs are protected from changes.", by: By::Shared, how: |_| text("A folder that others can write is refused; a change does not go unseen (10.3.4). Operator: who may be the process's user."), given_up_by: &[NO_AUDIT],
        tests: &["a_chain_that_was_written_anew_does_not_pass_the_anchors", "what_is_wrong_is_refused_with_file_line_and_key"] },
    Row { number: "10.3.3", demand: "Audit logs are copied to another machine promptly.", by: By::Operator, how: |_| text("Files are only appended to and never renamed, so collectors can follow them; the log's `anchored` events prove the copy."), given_up_by: &[NO_AUDIT], tests: &["what_was_kept_elsewhere_shows_that_the_end_was_cut_off"] },
    Row { number: "10.3.4", demand: "Changes of audit logs raise an alarm.", by: By::Shared, how: |_| text("`portcullis audit verify --key KEY FOLDER`, and every start, name the first line that is not as it was written. Operator: run it daily and look at its exit code."), given_up_by: &[NO_AUDIT],
        tests: &["one_line_deleted_altered_moved_or_doubled_is_named", "a_record_that_was_tampered_with_is_named_and_not_continued"] },
    Row { number: "10.5.1", demand: "Audit logs are kept for twelve months, three of them at hand.", by: By::Operator, how: |_| text("Portcullis begins new files and removes none. Operator: keep them that long, those of the log too."), given_up_by: &[NO_AUDIT],
        tests: &["files_are_rotated_by_the_confined_process"] },
    Row { number: "10.6.1", demand: "Clocks are synchronised.", by: By::Operator, how: |_| text("The metric `portcullis_clock_skew_seconds` and its alert tell how far this clock is from each provider's. Operator: NTP, as 10.6.2 and 10.6.3 have it."), given_up_by: &[],
        tests: &["how_far_a_providers_clock_is_from_ours_is_a_metric"] },
    Row { number: "11.6.1", demand: "Unauthorised changes of payment pages, as browsers get them, are detected weekly or by your own risk analysis.", by: By::Shared, how: tampering, given_up_by: &[],
        tests: &["the_script_and_the_style_stand_in_the_page_as_they_were_hashed", "what_shops_load_and_the_form_have_the_digests_that_are_printed"] },
    Row { number: "12.5.2", demand: "The scope is written down, and confirmed every 12 months and after significant changes.", by: By::Operator, how: scope, given_up_by: &[],
        tests: &["a_token_outside_a_card_field_is_text", "card_data_in_clear_is_refused_in_every_place_and_disguise"] },
];
