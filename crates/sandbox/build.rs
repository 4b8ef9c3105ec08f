//! Assembles the system-call filter from the reviewed rules, so that starting a sandbox does not have to.
//! It reads `src/seccomp` and writes the two programs; it decides nothing.

#[allow(
    dead_code,
    unused_imports,
    unreachable_pub,
    missing_docs,
    reason = "most of this module is for running time"
)]
#[path = "src/seccomp/mod.rs"]
mod seccomp;

use std::fmt::Write;

fn main() -> std::io::Result<()> {
    println!("cargo::rerun-if-changed=src/seccomp");
    let mut text = String::new();
    for (name, memory_watched) in [("ORDINARY", false), ("MEMORY_WATCHED", true)] {
        let program = seccomp::Rules::builtin().program(memory_watched);
        let _ = writeln!(text, "pub(super) static {name}: [Instruction; {}] = [", program.len());
        for seccomp::Instruction { code, jt, jf, k } in program {
            let _ = writeln!(text, "    Instruction {{ code: {code}, jt: {jt}, jf: {jf}, k: {k} }},");
        }
        text.push_str("];\n");
    }
    let folder = std::env::var_os("OUT_DIR").ok_or(std::io::ErrorKind::NotFound)?;
    std::fs::write(std::path::Path::new(&folder).join("filter.rs"), text)
}
