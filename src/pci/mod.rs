//! Who answers for which requirement of PCI DSS v4.0.1, filled from a configuration: the matrix,
//! and the inventories that an assessor asks for.
//!
//! Must never: show a secret, or claim what no test holds. `rows.rs` has the requirements, in our
//! own words; `inventory.rs` what there is of certificates, keys and pages.

mod inventory;
mod rows;

use serde::Serialize;

use crate::audit::Hash;
use crate::card::Timestamp;
use crate::config::Config;

pub use inventory::{Certificate, Key, Page};
pub use rows::{By, ROWS, Row};

/// The matrix as filled from a configuration.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The version of Portcullis.
    pub version: &'static str,
    /// When it was made.
    pub made: String,
    /// Digest of the configuration, as in the audit record's `configured`.
    pub configuration: Option<String>,
    /// Keys that weaken protection and are on.
    pub dangers: Vec<String>,
    /// The requirements.
    pub requirements: Vec<Filled>,
    /// Certificates (4.2.1.1).
    pub certificates: Vec<Certificate>,
    /// Keys and secrets (3.6.1, 4.2.1.1), by the references that name them.
    pub keys: Vec<Key>,
    /// What browsers run (6.4.3, 11.6.1).
    pub pages: Vec<Page>,
}

/// One requirement.
#[derive(Debug, Serialize)]
pub struct Filled {
    /// Its number.
    pub number: &'static str,
    /// What it asks for, in our own words.
    pub demand: &'static str,
    /// Who answers for it.
    pub by: By,
    /// How, with this configuration.
    pub how: String,
    /// Tests that show it.
    pub tests: &'static [&'static str],
}

/// Digest of every value in use, secrets as the references that name them, and of every profile.
#[must_use]
pub fn digest(config: &Config) -> Hash {
    let used = config.resolved.iter().map(|value| format!("{} = {}\n", value.key, value.value));
    let profiles = config.profiles.iter().map(|profile| format!("{profile:?}\n"));
    Hash::of(used.chain(profiles).collect::<String>().as_bytes())
}

impl Report {
    /// The matrix; without a configuration it says what could be had.
    #[must_use]
    pub fn of(config: Option<&Config>, now: Timestamp) -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION"),
            made: now.to_string(),
            configuration: config.map(|config| digest(config).to_string()),
            dangers: config.map(|config| config.dangers.clone()).unwrap_or_default(),
            requirements: ROWS.iter().map(|row| row.filled(config)).collect(),
            certificates: config.map(|c| inventory::certificates(c, now)).unwrap_or_default(),
            keys: config.map(inventory::keys).unwrap_or_default(),
            pages: inventory::pages(),
        }
    }

    /// As JSON.
    #[must_use]
    pub fn json(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default()
    }

    /// As Markdown.
    #[must_use]
    pub fn markdown(&self) -> String {
        let mut text = format!(
            "# PCI DSS v4.0.1: who answers for what\n\nPortcullis {}, {}. {}\n\n",
            self.version,
            self.made,
            match &self.configuration {
                Some(digest) => format!("Configuration {digest}."),
                None => "Without a configuration: fill it in with `--config FILE`.".to_owned(),
            }
        );
        if !self.dangers.is_empty() {
            text.push_str(&format!(
                "**Protection is weakened by: {}.**\n\n",
                self.dangers.join(", ")
            ));
        }
        let rows = self.requirements.iter().map(|row| {
            let tests: Vec<_> = row.tests.iter().map(|test| format!("`{test}`")).collect();
            let by = row.by.as_str().to_owned();
            vec![
                row.number.to_owned(),
                row.demand.to_owned(),
                by,
                row.how.clone(),
                tests.join(", "),
            ]
        });
        table(&mut text, ["Requirement", "Asks for", "Met by", "How", "Shown by"], rows);
        text.push_str("\n## Certificates (4.2.1.1)\n\n");
        let rows = self.certificates.iter().map(|one| {
            let names = one.names.join(", ");
            let [used, file, issuer, key, until] =
                [&one.used_for, &one.file, &one.issuer, &one.key, &one.until].map(Clone::clone);
            vec![used, file, names, issuer, key, until, one.days_left.to_string()]
        });
        let heads = ["Used for", "File", "Names", "Issuer", "Key", "Valid until", "Days left"];
        table(&mut text, heads, rows);
        text.push_str("\n## Keys and secrets (3.6.1, 4.2.1.1)\n\n");
        let rows = self.keys.iter().map(|key| vec![key.used_for.clone(), key.reference.clone()]);
        table(&mut text, ["Used for", "Where it is"], rows);
        text.push_str("\n## Pages and scripts (6.4.3, 11.6.1)\n\n");
        let rows = self
            .pages
            .iter()
            .map(|page| vec![page.name.clone(), page.why.to_owned(), format!("`{}`", page.digest)]);
        table(&mut text, ["What", "Why it is there", "Digest"], rows);
        text
    }
}

fn table<const COLUMNS: usize>(
    text: &mut String,
    heads: [&str; COLUMNS],
    rows: impl Iterator<Item = Vec<String>>,
) {
    text.push_str(&format!("| {} |\n|{}\n", heads.join(" | "), " --- |".repeat(COLUMNS)));
    for row in rows {
        let cells: Vec<_> = row.iter().map(|cell| cell.replace('|', "\\|")).collect();
        text.push_str(&format!("| {} |\n", cells.join(" | ")));
    }
}
