//! Assembles the system-call filter from the reviewed rules, so that starting a sandbox does not have to.
//! It reads `src/seccomp` and writes the two programs, and says what is linked how; it decides nothing.

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

/// Has the unwinder linked into the binary. As a library it is loaded by every start of it, and asks the processor what it is:
/// a dozen instructions that a virtual machine leaves to its host, in all an eighth of a millisecond.
fn link_unwinder() {
    let is = |name: &str, value: &str| std::env::var(name).is_ok_and(|found| found == value);
    let is_native = std::env::var("TARGET").ok() == std::env::var("HOST").ok();
    if !is("CARGO_CFG_TARGET_ENV", "gnu") || !is_native {
        return;
    }
    // Where the compiler has none it answers with the bare name.
    let asked = std::process::Command::new("cc").arg("-print-file-name=libgcc_eh.a").output();
    let place =
        asked.map(|asked| String::from_utf8_lossy(&asked.stdout).trim().to_owned()).unwrap_or_default();
    if std::path::Path::new(&place).is_absolute() {
        println!("cargo::rustc-link-lib=static:-bundle=gcc_eh");
    }
}

fn main() -> std::io::Result<()> {
    println!("cargo::rerun-if-changed=src/seccomp");
    link_unwinder();
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
