//! The same rules as the `linux.seccomp` object of the OCI runtime specification, for containers.
//! The object has no order, so every allowed set of arguments is worked out to stand by itself; it never allows more.
//!
//! What OCI cannot say exactly is said more strictly. Where arguments decide, only the allowed sets are listed and the
//! rest gets the default error (ENOSYS), not the error of its line: libseccomp does not promise which of two actions for
//! one call wins. Other architectures and x32 numbers are killed by libseccomp itself, as here.

use super::rules::{Action, Rules, Syscall, Test};
use serde_json::{Value, json};
use std::collections::BTreeMap;

impl Rules {
    /// The `linux.seccomp` object. `memory_watched` puts the `watched:` lines in force.
    pub fn oci(&self, memory_watched: bool) -> Value {
        let default = errno(self.otherwise);
        let mut constant: BTreeMap<Option<u16>, Vec<&str>> = BTreeMap::new();
        let mut conditional = Vec::new();
        for call in &self.calls {
            match call.constant(memory_watched) {
                // Runtimes refuse or drop a rule that repeats the default.
                Some(action) if errno(action) == default => {}
                Some(action) => constant.entry(errno(action)).or_default().push(call.name),
                None => conditional.extend(allowed(call, memory_watched).iter().map(
                    |cube| json!({ "names": [call.name], "action": "SCMP_ACT_ALLOW", "args": cube.args() }),
                )),
            }
        }
        let mut syscalls: Vec<Value> = constant
            .into_iter()
            .map(|(errno, names)| match errno {
                None => json!({ "names": names, "action": "SCMP_ACT_ALLOW" }),
                Some(errno) => json!({ "names": names, "action": "SCMP_ACT_ERRNO", "errnoRet": errno }),
            })
            .collect();
        syscalls.extend(conditional);
        json!({
            "defaultAction": if default.is_some() { "SCMP_ACT_ERRNO" } else { "SCMP_ACT_ALLOW" },
            "defaultErrnoRet": default,
            "architectures": ["SCMP_ARCH_X86_64"],
            "syscalls": syscalls,
        })
    }
}

fn errno(action: Action) -> Option<u16> {
    match action {
        Action::Allow => None,
        Action::Errno(number) => Some(number),
    }
}

/// The arguments a call may have: what is left of everything after each line has taken its share.
fn allowed(call: &Syscall, memory_watched: bool) -> Vec<Cube> {
    let mut rest = vec![Cube::default()];
    let mut allowed = Vec::new();
    for clause in call.in_force(memory_watched) {
        let (mut fit, mut unfit) = (std::mem::take(&mut rest), Vec::new());
        for condition in &clause.conditions {
            let (bits, holds_if_equal) = match condition.test {
                Test::Equals { mask, value } => (Bits { mask, value }, true),
                Test::Any { mask } => (Bits { mask, value: 0 }, false),
            };
            let equal = fit.iter().filter_map(|cube| cube.with(condition.argument, bits)).collect();
            let unequal = fit.iter().flat_map(|cube| cube.without(condition.argument, bits)).collect();
            let other: Vec<Cube>;
            (fit, other) = if holds_if_equal { (equal, unequal) } else { (unequal, equal) };
            unfit.extend(other);
        }
        if clause.action == Action::Allow {
            allowed.extend(fit);
        }
        rest = unfit;
    }
    allowed
}

/// A set of arguments: some bits of some arguments are fixed, the rest is free.
#[derive(Clone, Copy, Default)]
struct Cube([Bits; 6]);

/// `argument & mask == value`.
#[derive(Clone, Copy, Default)]
struct Bits {
    mask: u64,
    value: u64,
}

impl Cube {
    /// The part in which `argument` has `bits`, if any.
    fn with(&self, argument: u8, bits: Bits) -> Option<Self> {
        let mut cube = *self;
        let own = &mut cube.0[usize::from(argument)];
        if (own.value ^ bits.value) & own.mask & bits.mask != 0 {
            return None;
        }
        *own = Bits { mask: own.mask | bits.mask, value: own.value | bits.value };
        Some(cube)
    }

    /// The parts in which it has not: one for each bit, where the bits above it agree and this one differs.
    fn without(&self, argument: u8, bits: Bits) -> Vec<Self> {
        let single = (0..64).rev().map(|shift| 1 << shift).filter(|bit| bits.mask & bit != 0);
        single
            .filter_map(|bit| {
                let mask = bits.mask & !(bit - 1);
                self.with(argument, Bits { mask, value: (bits.value & mask) ^ bit })
            })
            .collect()
    }

    fn args(&self) -> Value {
        let fixed = self.0.iter().enumerate().filter(|(_, bits)| bits.mask != 0);
        fixed
            .map(|(index, bits)| {
                json!({ "index": index, "value": bits.mask, "valueTwo": bits.value, "op": "SCMP_CMP_MASKED_EQ" })
            })
            .collect()
    }
}
