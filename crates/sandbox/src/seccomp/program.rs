//! The rules in the kernel's language (classic BPF), and their loading.
//! What the number alone decides is decided without looking at an argument: the kernel then remembers the answer and
//! no longer runs the program for such calls.

use super::rules::{Action, Clause, Condition, Rules, Syscall, Test};
use std::io;

/// The kernel takes no longer program (`BPF_MAXINSNS`): [`load`] answers `EINVAL`.
pub const INSTRUCTIONS_MAX: usize = 4_096;

/// One instruction, laid out like `struct sock_filter` of `<linux/filter.h>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Instruction {
    /// What to do.
    pub code: u16,
    /// How many instructions to skip if it holds.
    pub jt: u8,
    /// How many to skip if not.
    pub jf: u8,
    /// The operand.
    pub k: u32,
}

/// `A = word at k` of `struct seccomp_data`.
pub(super) const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
/// `A &= k`.
pub(super) const AND: u16 = (libc::BPF_ALU | libc::BPF_AND | libc::BPF_K) as u16;
/// Skip `k`.
pub(super) const SKIP: u16 = (libc::BPF_JMP | libc::BPF_JA) as u16;
/// Branch on `A == k`.
pub(super) const EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
/// Branch on `A >= k`.
pub(super) const AT_LEAST: u16 = (libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K) as u16;
/// Branch on `A & k != 0`.
pub(super) const BITS: u16 = (libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K) as u16;
/// End with `k`.
pub(super) const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;

/// Offsets in `struct seccomp_data`.
pub(super) const NUMBER: u32 = 0;
pub(super) const ARCHITECTURE: u32 = 4;
pub(super) const ARGUMENTS: u32 = 16;

/// `AUDIT_ARCH_X86_64` of `<linux/audit.h>`: EM_X86_64, 64-bit, little-endian.
pub(super) const X86_64: u32 = 62 | 0x8000_0000 | 0x4000_0000;
/// `__X32_SYSCALL_BIT`: the same architecture to the kernel, another table, so another door.
pub(super) const X32: u32 = 0x4000_0000;

impl Rules {
    /// The program for [`load`]. `memory_watched` puts the `watched:` lines in force.
    pub fn program(&self, memory_watched: bool) -> Vec<Instruction> {
        let mut ranges: Vec<Range> = vec![Range { first: 0, block: end(self.otherwise) }];
        let mut next = 0;
        for call in &self.calls {
            if call.number != next {
                extend(&mut ranges, next, end(self.otherwise));
            }
            extend(&mut ranges, call.number, answer(call, memory_watched));
            next = call.number + 1;
        }
        extend(&mut ranges, next, end(self.otherwise));

        let kill = vec![ret(libc::SECCOMP_RET_KILL_PROCESS)];
        let number = [vec![load_word(NUMBER)], branch(BITS, X32, kill.clone(), search(&ranges))].concat();
        [vec![load_word(ARCHITECTURE)], branch(EQUAL, X86_64, number, kill)].concat()
    }
}

/// Confines the calling thread, and all it starts, by `program` for good.
///
/// Needs `no_new_privs` or `CAP_SYS_ADMIN` (else `EACCES`); a program the kernel does not take is `EINVAL`. Allocates
/// nothing, so it may be called between fork and exec.
pub fn load(program: &[Instruction]) -> io::Result<()> {
    const { assert!(size_of::<Instruction>() == size_of::<libc::sock_filter>()) };
    let length = u16::try_from(program.len()).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
    let filter = program.as_ptr().cast::<libc::sock_filter>().cast_mut();
    let program = libc::sock_fprog { len: length, filter };
    // SAFETY: `program` and the `length` instructions it points to (same layout as `sock_filter`, see above) outlive the
    // call, which copies them and writes nothing of ours.
    let result =
        unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const program) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Neighbouring numbers with the same answer, up to the next range.
struct Range {
    first: u32,
    /// Entered with the number loaded; always ends.
    block: Vec<Instruction>,
}

fn extend(ranges: &mut Vec<Range>, first: u32, block: Vec<Instruction>) {
    match ranges.last_mut() {
        Some(last) if last.block == block => {}
        Some(last) if last.first == first => last.block = block,
        _ => ranges.push(Range { first, block }),
    }
}

/// Finds the range of the loaded number by halving.
fn search(ranges: &[Range]) -> Vec<Instruction> {
    match ranges {
        [] => Vec::new(),
        [only] => only.block.clone(),
        _ => {
            let (low, high) = ranges.split_at(ranges.len() / 2);
            branch(AT_LEAST, high[0].first, search(high), search(low))
        }
    }
}

/// The lines of a call in order, each skipping to the next unless it fits; the last always does.
fn answer(call: &Syscall, memory_watched: bool) -> Vec<Instruction> {
    match call.constant(memory_watched) {
        Some(action) => end(action),
        None => call.in_force(memory_watched).flat_map(line).collect(),
    }
}

fn line(clause: &Clause) -> Vec<Instruction> {
    clause.conditions.iter().rev().fold(end(clause.action), |rest, condition| {
        let mut code = holds(condition, rest.len());
        code.extend(rest);
        code
    })
}

/// Goes on if `condition` holds, else skips `rest` more instructions. Lines are short: six conditions of at most six
/// instructions, so every distance fits its eight bits.
fn holds(condition: &Condition, rest: usize) -> Vec<Instruction> {
    let low = ARGUMENTS + 8 * u32::from(condition.argument);
    let halves = |mask: u64| [(low + 4, (mask >> 32) as u32), (low, mask as u32)];
    match condition.test {
        Test::Equals { mask, value } => {
            let mut code = Vec::new();
            for ((word, mask), (_, value)) in halves(mask).into_iter().zip(halves(value)).rev() {
                if mask == 0 {
                    continue;
                }
                let mut half = vec![load_word(word)];
                if mask != u32::MAX {
                    half.push(Instruction { code: AND, jt: 0, jf: 0, k: mask });
                }
                half.push(Instruction { code: EQUAL, jt: 0, jf: distance(code.len() + rest), k: value });
                half.append(&mut code);
                code = half;
            }
            code
        }
        Test::Any { mask } => match halves(mask) {
            [(_, 0), (word, bits)] | [(word, bits), (_, 0)] => {
                vec![load_word(word), Instruction { code: BITS, jt: 0, jf: distance(rest), k: bits }]
            }
            [(high, high_bits), (low, low_bits)] => vec![
                load_word(high),
                Instruction { code: BITS, jt: 2, jf: 0, k: high_bits },
                load_word(low),
                Instruction { code: BITS, jt: 0, jf: distance(rest), k: low_bits },
            ],
        },
    }
}

/// `yes` and `no` both end, so neither runs into the other.
fn branch(code: u16, k: u32, yes: Vec<Instruction>, no: Vec<Instruction>) -> Vec<Instruction> {
    let mut block = match u8::try_from(no.len()) {
        Ok(jt) => vec![Instruction { code, jt, jf: 0, k }],
        // Eight bits do not reach; a plain skip has 32.
        Err(_) => vec![
            Instruction { code, jt: 0, jf: 1, k },
            Instruction { code: SKIP, jt: 0, jf: 0, k: no.len() as u32 },
        ],
    };
    block.extend(no);
    block.extend(yes);
    block
}

fn distance(length: usize) -> u8 {
    u8::try_from(length).expect("a line has at most six conditions of six instructions, and an end")
}

fn load_word(offset: u32) -> Instruction {
    Instruction { code: LOAD, jt: 0, jf: 0, k: offset }
}

fn end(action: Action) -> Vec<Instruction> {
    vec![ret(match action {
        Action::Allow => libc::SECCOMP_RET_ALLOW,
        Action::Errno(number) => libc::SECCOMP_RET_ERRNO | u32::from(number),
    })]
}

fn ret(k: u32) -> Instruction {
    Instruction { code: RETURN, jt: 0, jf: 0, k }
}
