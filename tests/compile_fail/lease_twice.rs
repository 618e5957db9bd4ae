//! A security code goes back into the vault at most once.

use portcullis::card::Timestamp;
use portcullis::vault::{CvvLease, Vault};

fn restore(vault: &Vault, lease: CvvLease, now: Timestamp) {
    vault.restore_cvv(lease, now);
    vault.restore_cvv(lease, now);
}

fn main() {}
