//! The list of files and ports, kept by the kernel (Landlock). The only door to it.
//!
//! As much as the kernel can: files since version 1 (Linux 5.13), ports of TCP since version 4
//! (6.7), signals and abstract sockets since version 6 (6.12). What an older kernel lacks is left
//! out, and the start tells the version.

use landlock::{
    ABI, Access, AccessFs, AccessNet, LandlockStatus, NetPort, Ruleset, RulesetAttr,
    RulesetCreated, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope, path_beneath_rules,
};

use super::{ProcessError, Reach};

/// The rights that are taken away; a later version's are not known to be harmless.
const RIGHTS: ABI = ABI::V7;

/// Closes everything that is not in `reach`, for this thread and those it starts. Returns the
/// kernel's version, 0 for a kernel without.
pub(super) fn restrict(reach: &Reach) -> Result<u8, ProcessError> {
    let status =
        rules(reach).and_then(RulesetCreated::restrict_self).map_err(|_| ProcessError::Landlock)?;
    match (status.ruleset, status.landlock) {
        (RulesetStatus::NotEnforced, _) => Ok(0),
        (_, LandlockStatus::Available { effective_abi, .. }) => Ok(effective_abi as u8),
        _ => Ok(0),
    }
}

/// Whether this kernel has rules about files, and about ports: asked for with nothing left out.
#[cfg(test)]
pub(super) fn offered() -> (bool, bool) {
    use landlock::{CompatLevel, Compatible as _};
    let strict = || Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
    let has = |ruleset: Result<Ruleset, RulesetError>| ruleset.and_then(Ruleset::create).is_ok();
    let files = has(strict().handle_access(AccessFs::from_all(ABI::V1)));
    (files, has(strict().handle_access(AccessNet::from_all(ABI::V4))))
}

fn rules(reach: &Reach) -> Result<RulesetCreated, RulesetError> {
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let write = read
        | AccessFs::WriteFile
        | AccessFs::MakeReg
        | AccessFs::RemoveFile
        | AccessFs::Truncate
        | AccessFs::Refer;
    let rules = Ruleset::default()
        .handle_access(AccessFs::from_all(RIGHTS))?
        .handle_access(AccessNet::from_all(RIGHTS))?
        .scope(Scope::from_all(RIGHTS))?
        .create()?
        .add_rules(path_beneath_rules(reach.readable(), read))?
        .add_rules(path_beneath_rules(reach.writable(), write))?
        .add_rules(reach.listened().map(|port| to(port, AccessNet::BindTcp)))?;
    rules.add_rules(reach.connected().map(|port| to(port, AccessNet::ConnectTcp)))
}

fn to(port: u16, access: AccessNet) -> Result<NetPort, RulesetError> {
    Ok(NetPort::new(port, access))
}
