//! Takes away everything the program could do besides computing: capabilities, keyrings, paths, system calls, budget.
//! Nothing here gives anything back; each step is irreversible.

use crate::layer::{Layer, Unenforceable};
use crate::profile::Limits;
use crate::seccomp;
use crate::sys;
use landlock::{
    ABI, Access, AccessFs, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetStatus, Scope,
};
use rustix::process::{Resource, Rlimit};
use rustix::thread::{CapabilitiesSecureBits, CapabilitySet, CapabilitySets};
use std::io;
use std::path::{Path, PathBuf};

/// What `build.rs` made of the reviewed rules.
mod filter {
    use crate::seccomp::Instruction;

    include!(concat!(env!("OUT_DIR"), "/filter.rs"));

    #[cfg(test)]
    mod tests {
        #[test]
        fn the_programs_are_those_of_the_rules() {
            let rules = crate::seccomp::Rules::builtin();
            assert_eq!(rules.program(false), super::ORDINARY);
            assert_eq!(rules.program(true), super::MEMORY_WATCHED);
        }
    }
}

/// Capabilities the kernel may know, by number; numbers it does not know are refused by it, which ends the search.
const CAPABILITIES: u32 = 64;

/// An own session keyring: what the caller's holds cannot be asked for.
pub(crate) fn forget_keys() -> io::Result<()> {
    match sys::new_session_keyring() {
        // A kernel without keyrings has none to share.
        Err(error) if error.raw_os_error() == Some(libc::ENOSYS) => Ok(()),
        result => result,
    }
}

/// No capabilities now, and none by executing anything.
pub(super) fn drop_capabilities() -> io::Result<()> {
    rustix::thread::set_no_new_privs(true)?;
    rustix::thread::clear_ambient_capability_set()?;
    for number in 0..CAPABILITIES {
        let capability = CapabilitySet::from_bits_retain(1 << number);
        match rustix::thread::remove_capability_from_bounding_set(capability) {
            Ok(()) => {}
            Err(rustix::io::Errno::INVAL) => break,
            Err(error) => return Err(error.into()),
        }
    }
    let locked = CapabilitiesSecureBits::NO_ROOT
        | CapabilitiesSecureBits::NO_ROOT_LOCKED
        | CapabilitiesSecureBits::NO_SETUID_FIXUP
        | CapabilitiesSecureBits::NO_SETUID_FIXUP_LOCKED
        | CapabilitiesSecureBits::KEEP_CAPS_LOCKED
        | CapabilitiesSecureBits::NO_CAP_AMBIENT_RAISE
        | CapabilitiesSecureBits::NO_CAP_AMBIENT_RAISE_LOCKED;
    rustix::thread::set_capabilities_secure_bits(locked)?;
    let none = CapabilitySets {
        effective: CapabilitySet::empty(),
        permitted: CapabilitySet::empty(),
        inheritable: CapabilitySet::empty(),
    };
    rustix::thread::set_capabilities(None, none)?;
    Ok(())
}

/// Locks paths a second time: everything may be read and executed, only `writable` and the sandbox's own `/dev` and
/// `/proc` be written. Signals and abstract sockets end at the sandbox where the kernel can do it.
pub(super) fn lock_paths(writable: &[PathBuf]) -> Result<String, Unenforceable> {
    let version = sys::landlock_version();
    let refuse = |found: String| Unenforceable { layer: Layer::Landlock, found };
    if version == 0 {
        return Err(refuse("the kernel has no Landlock, or it is switched off".to_owned()));
    }
    let everything = AccessFs::from_all(ABI::V9);
    let reading = AccessFs::from_read(ABI::V9) & !BitFlags::from(AccessFs::IoctlDev);
    let devices = AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::ReadDir | AccessFs::IoctlDev;
    let own = reading | AccessFs::WriteFile | AccessFs::Truncate;
    let writing = everything & !(AccessFs::MakeChar | AccessFs::MakeBlock | AccessFs::IoctlDev);
    let mut rules =
        vec![(PathBuf::from("/"), reading), (PathBuf::from("/dev"), devices), (PathBuf::from("/proc"), own)];
    rules.extend(writable.iter().map(|path| (path.clone(), writing)));
    let build = || -> Result<_, Box<dyn std::error::Error>> {
        let mut ruleset = Ruleset::default()
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(everything)?
            .scope(Scope::from_all(ABI::V9))?
            .create()?;
        for (path, access) in rules {
            let is_folder = path.is_dir();
            let access = if is_folder { access } else { access & AccessFs::from_file(ABI::V9) };
            ruleset = ruleset.add_rule(PathBeneath::new(PathFd::new(&path)?, access))?;
        }
        Ok(ruleset.restrict_self()?)
    };
    let status = build().map_err(|error| refuse(error.to_string()))?;
    match status.ruleset {
        RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced => Ok(format!("ABI {version}")),
        RulesetStatus::NotEnforced => Err(refuse("the kernel did not enforce the rules".to_owned())),
    }
}

/// Only reviewed system calls from here on.
pub(super) fn filter_system_calls(memory_watched: bool) -> Result<String, Unenforceable> {
    let program = if memory_watched { &filter::MEMORY_WATCHED[..] } else { &filter::ORDINARY[..] };
    seccomp::load(program)
        .map_err(|error| Unenforceable { layer: Layer::Seccomp, found: error.to_string() })?;
    Ok(format!("{} instructions", program.len()))
}

/// What one process may use, and together with the others of its user namespace, how many there may be.
pub(super) fn bound(limits: &Limits, memory_watched: bool) -> io::Result<()> {
    let mut bounds = vec![
        // One byte, not none: only then does the kernel also not start the host's own handler of crashes (core(5)).
        (Resource::Core, 1),
        (Resource::Nproc, u64::from(limits.processes)),
        (Resource::Nofile, u64::from(limits.open_files)),
        (Resource::Fsize, limits.file_bytes),
        (Resource::Rtprio, 0),
    ];
    if memory_watched {
        // What is counted now and then must not double in between.
        bounds.push((Resource::Data, limits.memory_bytes));
    }
    for (resource, bound) in bounds {
        // A bound can only be lowered; where the caller's own is lower already, that one holds.
        let most = rustix::process::getrlimit(resource).maximum.map_or(bound, |most| most.min(bound));
        rustix::process::setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) })?;
    }
    Ok(())
}

/// The standing writable places of every sandbox.
pub(super) fn standing_writable() -> impl Iterator<Item = PathBuf> {
    let scratch = crate::view::SCRATCH.iter().map(|(_, target)| Path::new("/").join(target));
    scratch.chain([PathBuf::from(crate::view::HOME)])
}
