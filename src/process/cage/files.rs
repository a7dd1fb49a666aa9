//! Files, TCP and signals, by Landlock: what the cage does not name is out of reach.

use anyhow::{Context, Result};
use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, LandlockStatus, PathBeneath, PathFd,
    Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetStatus, Scope, path_beneath_rules,
};

use super::Cage;

/// What is asked for; a kernel that knows less gives what it knows.
const ASKED: ABI = ABI::V10;
/// What servers and interpreters write to without a thought.
const SINKS: [&str; 1] = ["/dev/null"];

/// Confines this process, and gives the version of the kernel's interface; 0 where it has none.
pub(super) fn confine(cage: &Cage) -> Result<u32> {
    let ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(ASKED))?
        .handle_access(AccessNet::from_all(ASKED))?
        .scope(Scope::from_all(ASKED))?;
    let mut created = ruleset.create()?.add_rules(path_beneath_rules(&cage.readable, readable()))?;
    let writable = cage.writable.iter().map(|folder| (folder, writable()));
    for (folder, access) in writable.chain(cage.sockets.iter().map(|folder| (folder, sockets()))) {
        // It must be there, or nothing works, and nobody says why.
        let fd = PathFd::new(folder).with_context(|| format!("cannot open `{}`", folder.display()))?;
        created = created.add_rule(PathBeneath::new(fd, access))?;
    }
    let sinks = AccessFs::ReadFile | AccessFs::WriteFile;
    let status = created.add_rules(path_beneath_rules(SINKS, sinks))?.restrict_self()?;
    Ok(match (status.ruleset, status.landlock) {
        (RulesetStatus::NotEnforced, _) => 0,
        (_, LandlockStatus::Available { effective_abi, kernel_abi }) => {
            u32::try_from(kernel_abi.unwrap_or(effective_abi as i32)).unwrap_or_default()
        }
        _ => 0,
    })
}

fn readable() -> BitFlags<AccessFs> {
    AccessFs::Execute | AccessFs::ReadFile | AccessFs::ReadDir
}

/// All but to run what was put there, and devices.
fn writable() -> BitFlags<AccessFs> {
    let not = AccessFs::Execute | AccessFs::MakeChar | AccessFs::MakeBlock | AccessFs::IoctlDev;
    AccessFs::from_all(ASKED) & !not
}

/// No link, and nothing that was made elsewhere.
fn sockets() -> BitFlags<AccessFs> {
    AccessFs::MakeSock
        | AccessFs::MakeReg
        | AccessFs::RemoveFile
        | AccessFs::ReadFile
        | AccessFs::ReadDir
        | AccessFs::WriteFile
        | AccessFs::Truncate
}
