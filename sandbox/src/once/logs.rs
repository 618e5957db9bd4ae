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
    let mut secrets = [world.paymega.bearers(), world.milkypay.bearers()].concat();
    for held in &world.accounts {
        let real = &held.real;
        secrets.extend([&real.key, &real.live_secret, &real.test_secret].map(Clone::clone));
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
