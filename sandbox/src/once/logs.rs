//! The last cases: what the run left in the logs.

use super::leak;
use crate::world::World;
use anyhow::{Context, Result, ensure};

/// Everything that the shop's server received.
pub(super) fn shop(world: &World) -> Result<()> {
    let log = world.shop.log().read()?;
    ensure!(log.len() > 10_000, "the shop's log is too short to prove anything");
    let text = String::from_utf8_lossy(&log);
    ensure!(text.contains("tok_test_"), "no token in the shop's log: was anything paid at all?");
    no_card(&log, "the shop's log")
}

/// Everything that every Portcullis of this run wrote.
pub(super) fn portcullis(world: &World) -> Result<()> {
    ensure!(!world.proxy()?.read_log()?.is_empty(), "Portcullis wrote no log");
    for entry in std::fs::read_dir(world.folder().join("logs"))? {
        let path = entry?.path();
        let name = path.file_name().context("a log without a name")?.to_string_lossy().into_owned();
        if name != "shop.log" {
            no_card(&std::fs::read(&path)?, &name)?;
        }
    }
    Ok(())
}

/// The shop never held what is worth stealing: API keys, callback secrets, bearer tokens of the
/// provider.
pub(super) fn credentials(world: &World) -> Result<()> {
    let mut logs = vec![("the shop's log", world.shop.log().read()?)];
    logs.push(("Portcullis' log", world.proxy()?.read_log()?));
    let bearers = [world.paymega.bearers(), world.milkypay.bearers(), world.qostiq.bearers()];
    let mut secrets = bearers.concat();
    for held in &world.accounts {
        let real = &held.real;
        secrets.extend([&real.key, &real.live_secret, &real.test_secret].map(Clone::clone));
    }
    secrets.extend(world.qostiq_accounts.iter().map(|held| held.real.secret.clone()));
    for held in &world.highhelp_accounts {
        let keys = [held.request.private_file(), held.alert.private_file()];
        // Any line of a key's middle gives it away; HMAC keys are one line.
        let middle = |file: &String| {
            let lines: Vec<&str> = file.lines().collect();
            lines.get(lines.len() / 2).copied().unwrap_or_default().to_owned()
        };
        secrets.extend(keys.iter().map(middle));
    }
    for (name, log) in logs {
        let text = String::from_utf8_lossy(&log);
        let found = secrets.iter().any(|secret| text.contains(secret.as_str()));
        ensure!(!found, "{name} holds a credential of the provider");
    }
    Ok(())
}

fn no_card(log: &[u8], name: &str) -> Result<()> {
    match leak::find(log) {
        Some(found) => anyhow::bail!("{name} holds {found}"),
        None => Ok(()),
    }
}

/// Signatures that were made over a clear card: who holds one can test numbers against it.
pub(super) fn signatures(world: &World) -> Result<()> {
    let signatures = [world.qostiq.signatures(), world.highhelp.signatures()].concat();
    ensure!(!signatures.is_empty(), "nothing was signed over a card: was anything paid at all?");
    for entry in std::fs::read_dir(world.folder().join("logs"))? {
        let path = entry?.path();
        let log = std::fs::read(&path)?;
        let text = String::from_utf8_lossy(&log);
        let found = signatures.iter().any(|signature| text.contains(signature.as_str()));
        ensure!(!found, "{} holds a signature made over a clear card", path.display());
    }
    Ok(())
}
