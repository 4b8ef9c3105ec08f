//! The program is run by a small interpreter and must say what the rules say, for every call and any arguments.
//! No system call is made here; `tests/seccomp_probes.rs` does that.

use super::program::{
    AND, ARCHITECTURE, ARGUMENTS, AT_LEAST, BITS, EQUAL, LOAD, NUMBER, RETURN, SKIP, X32, X86_64,
};
use super::{Action, Cause, INSTRUCTIONS_MAX, Instruction, Rules, Test};
use proptest::prelude::*;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::LazyLock;

const KILL: u32 = libc::SECCOMP_RET_KILL_PROCESS;
const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
const I386: u32 = 3 | 0x4000_0000;

/// Runs `program` on a call; `None` where it reads a word that `readable` refuses.
fn run(program: &[Instruction], words: impl Fn(u32) -> Option<u32>) -> Option<u32> {
    let (mut a, mut at) = (0, 0);
    loop {
        let Instruction { code, jt, jf, k } = program[at];
        at += 1;
        let branch = |holds: bool| usize::from(if holds { jt } else { jf });
        match code {
            LOAD => a = words(k)?,
            AND => a &= k,
            SKIP => at += k as usize,
            EQUAL => at += branch(a == k),
            AT_LEAST => at += branch(a >= k),
            BITS => at += branch(a & k != 0),
            RETURN => return Some(k),
            other => panic!("instruction {} has the unknown code {other:#x}", at - 1),
        }
    }
}

fn judge(program: &[Instruction], architecture: u32, number: u32, arguments: &[u64; 6]) -> u32 {
    let words = |offset| match offset {
        NUMBER => Some(number),
        ARCHITECTURE => Some(architecture),
        ARGUMENTS.. if offset % 4 == 0 => {
            let argument = arguments[((offset - ARGUMENTS) / 8) as usize];
            Some((argument >> (offset % 8 * 8)) as u32)
        }
        _ => panic!("no word of struct seccomp_data is at {offset}"),
    };
    run(program, words).unwrap()
}

fn returned(action: Action) -> u32 {
    match action {
        Action::Allow => ALLOW,
        Action::Errno(number) => libc::SECCOMP_RET_ERRNO | u32::from(number),
    }
}

fn errno(number: i32) -> u32 {
    libc::SECCOMP_RET_ERRNO | number as u32
}

fn number(name: &str) -> u32 {
    Rules::builtin().syscalls().iter().find(|call| call.name == name).expect(name).number
}

#[test]
fn each_allow_stands_beside_its_nearest_refusal() {
    let (perm, nosys) = (errno(libc::EPERM), errno(libc::ENOSYS));
    let (family, protocol) = (errno(libc::EAFNOSUPPORT), errno(libc::EPROTONOSUPPORT));
    let high = 1 << 32;
    #[rustfmt::skip]
    let table: &[(&str, &[u64], u32)] = &[
        ("socket", &[1, 1, 0], ALLOW), ("socket", &[0, 1, 0], family), ("socket", &[high | 1, 1, 0], ALLOW),
        ("socket", &[2, 1, 0], ALLOW), ("socket", &[2, 1, 6], ALLOW), ("socket", &[2, 1, 262], protocol),
        ("socket", &[2, 10, 0], family), ("socket", &[2, 10 | 0o2000000, 0], family), ("socket", &[2, 2, 17], ALLOW),
        ("socket", &[high | 2, high | 10, 0], family), ("socket", &[2, 1, 132], protocol),
        ("socket", &[10, 1, high | 6], ALLOW), ("socket", &[10, 3, 58], ALLOW), ("socket", &[10, 3, 1], protocol),
        ("socket", &[16, 3, 0], ALLOW), ("socket", &[16, 3, 9], family), ("socket", &[16, 3, high | 12], family),
        ("socket", &[40, 1, 0], family), ("socket", &[high | 40, 1, 0], family), ("socket", &[38, 5, 0], family),
        ("socket", &[17, 3, 0], family), ("socket", &[31, 3, 0], family), ("socket", &[41, 1, 0], family),
        ("socketpair", &[1, 1, 0], ALLOW), ("socketpair", &[40, 1, 0], family),
        ("ioctl", &[0, 0x5413], ALLOW), ("ioctl", &[0, 0x5412], perm), ("ioctl", &[0, high | 0x5412], perm),
        ("ioctl", &[0, 0x540e], ALLOW), ("ioctl", &[0, 0x541c], perm), ("ioctl", &[0, u64::MAX << 32 | 0x541c], perm),
        ("ioctl", &[0, 0x5424], ALLOW), ("ioctl", &[0, 0x5423], perm), ("ioctl", &[0, 0x541d], perm),
        ("ioctl", &[0, high | 0x5423], perm), ("ioctl", &[0, high | 0x541d], perm),
        ("ioctl", &[0, 0x541e], ALLOW), ("ioctl", &[0, 0x5401], ALLOW), ("ioctl", &[0x5412, 0x541b], ALLOW),
        ("chmod", &[0, 0o1777], ALLOW), ("chmod", &[0, 0o4755], perm), ("chmod", &[0, 0o2755], perm),
        ("fchmod", &[0, high | 0o700], ALLOW), ("fchmod", &[0, high | 0o6700], perm),
        ("fchmodat", &[4, 0, 0o777], ALLOW), ("fchmodat", &[4, 0, 0o4777], perm), ("fchmodat2", &[4, 0, 0o2000], perm),
        ("fchmodat", &[0o6000, 0o6000, 0o777], ALLOW), ("creat", &[0, 0o644], ALLOW), ("creat", &[0, 0o4644], perm),
        ("open", &[0, 0o100, 0o666], ALLOW), ("open", &[0, 0o100, 0o4666], perm), ("open", &[0, 0, 0o4666], ALLOW),
        ("open", &[0, 0o20200000, 0o2666], perm), ("open", &[0, 0o200000, 0o2666], ALLOW),
        ("openat", &[0, 0, 0o101, 0o1777], ALLOW), ("openat", &[0, 0, high | 0o101, high | 0o2777], perm),
        ("openat2", &[0, 0, 0, 24], nosys), ("mkdir", &[0, 0o2777], ALLOW),
        ("mknod", &[0, 0o666], ALLOW), ("mknod", &[0, 0o100666], ALLOW), ("mknod", &[0, 0o20666], perm),
        ("mknod", &[0, 0o10666], ALLOW), ("mknod", &[0, 0o60666], perm), ("mknod", &[0, 0o140666], ALLOW),
        ("mknod", &[0, 0o104755], perm), ("mknodat", &[0, 0, 0o10600], ALLOW), ("mknodat", &[0, 0, 0o20600], perm),
        ("mknodat", &[0, 0, 0o666], ALLOW), ("mknodat", &[0, 0, 0o4666], perm),
        ("mknodat", &[0, 0, 0o100666], ALLOW), ("mknodat", &[0, 0, 0o140666], ALLOW),
        ("mknodat", &[0, 0, high | 0o20000], perm), ("mknodat", &[0, 0, 0x10000 | 0o20000], perm),
        ("renameat2", &[0, 0, 0, 0, 3], ALLOW), ("renameat2", &[0, 0, 0, 0, 4], errno(libc::EINVAL)),
        ("clone", &[0x003d_0f00], ALLOW), ("clone", &[17], ALLOW), ("clone", &[0x80 | 17], ALLOW),
        ("clone", &[0x1000_0011], perm), ("clone", &[0x0002_0011], perm), ("clone", &[0x2000_0011], perm),
        ("clone", &[0x4000_0011], perm), ("clone", &[0x0800_0011], perm), ("clone", &[0x0400_0011], perm),
        ("clone", &[0x0200_0011], perm), ("clone", &[high | 0x1000_0011], perm), ("clone3", &[0, 88], nosys),
        ("unshare", &[0x400], ALLOW), ("unshare", &[0x4_0600], ALLOW), ("unshare", &[0x80], perm),
        ("unshare", &[0x1000_0000], perm), ("unshare", &[high], perm), ("unshare", &[0x0010_0000], perm),
        ("personality", &[0], ALLOW), ("personality", &[0xffff_ffff], ALLOW), ("personality", &[u64::MAX], ALLOW),
        ("personality", &[0x4_0000], ALLOW), ("personality", &[0x40_0000], perm), ("personality", &[8], perm),
        ("execve", &[], ALLOW), ("execveat", &[], ALLOW), ("ptrace", &[], perm), ("kill", &[], ALLOW),
        ("pidfd_open", &[], ALLOW), ("pidfd_getfd", &[], perm), ("setns", &[], perm), ("bpf", &[], perm),
        ("name_to_handle_at", &[], ALLOW), ("open_by_handle_at", &[], perm), ("epoll_wait", &[], ALLOW),
        ("io_uring_setup", &[], nosys), ("keyctl", &[], nosys), ("memfd_secret", &[], nosys),
    ];
    let program = Rules::builtin().program(false);
    for (name, given, expected) in table {
        let mut arguments = [0; 6];
        arguments[..given.len()].copy_from_slice(given);
        let found = judge(&program, X86_64, number(name), &arguments);
        assert_eq!(found, *expected, "{name}{given:#x?}: {found:#x}, not {expected:#x}");
    }
}

#[test]
fn other_doors_to_the_kernel_are_shut() {
    let program = Rules::builtin().program(false);
    #[rustfmt::skip]
    let table = [
        (X86_64, 39, ALLOW), (I386, 39, KILL), (I386, 20, KILL), (0xc000_00b7, 39, KILL), (0, 39, KILL),
        (X86_64, X32 | 39, KILL), (X86_64, X32 | 512, KILL), (X86_64, X32, KILL), (X86_64, u32::MAX, KILL),
        (X86_64, 470, errno(libc::ENOSYS)), (X86_64, 400, errno(libc::ENOSYS)), (X86_64, X32 - 1, errno(libc::ENOSYS)),
        (X86_64, 0x8000_0000 | 39, errno(libc::ENOSYS)), (X86_64, 0x8000_0000, errno(libc::ENOSYS)),
    ];
    for (architecture, number, expected) in table {
        let found = judge(&program, architecture, number, &[0; 6]);
        assert_eq!(found, expected, "architecture {architecture:#x}, number {number:#x}");
    }
}

#[test]
fn watching_memory_takes_memfd_and_nothing_else() {
    let rules = Rules::builtin();
    for number in 0..1_024 {
        let [plain, watched] = [false, true].map(|watched| rules.answer(number, &[0; 6], watched));
        let memfd = i64::from(number) == libc::SYS_memfd_create;
        assert_eq!(plain != watched, memfd, "number {number}");
        if memfd {
            assert_eq!([plain, watched], [Action::Allow, Action::Errno(libc::ENOSYS as u16)]);
        }
    }
}

/// A 64-bit test of what the kernel reads as 32 bits is passed by setting a bit above them (CVE-2019-10063).
#[test]
fn only_what_the_kernel_reads_whole_is_compared_whole() {
    for call in Rules::builtin().syscalls() {
        for condition in call.clauses.iter().flat_map(|clause| &clause.conditions) {
            let (Test::Equals { mask, .. } | Test::Any { mask }) = condition.test;
            // A word of flags, and a pointer.
            let is_whole = matches!((call.name, condition.argument), ("unshare", 0) | ("prlimit64", 2));
            assert_eq!(mask >> 32 != 0, is_whole, "{} {condition:?}", call.name);
        }
    }
}

/// The kernel runs the program once per number without arguments, and remembers those that end in "allow".
#[test]
fn what_the_number_decides_needs_no_argument() {
    for watched in [false, true] {
        let program = Rules::builtin().program(watched);
        for call in Rules::builtin().syscalls() {
            let words = |offset| match offset {
                NUMBER => Some(call.number),
                ARCHITECTURE => Some(X86_64),
                _ => None,
            };
            assert_eq!(run(&program, words), call.constant(watched).map(returned), "{}", call.name);
        }
    }
}

#[test]
fn the_kernel_would_take_the_program() {
    let mut long = String::new();
    for number in 0..200 {
        if number % 2 == 0 {
            let when = "arg0:64 any 0x300000003 and arg1:32 == 7 and arg2:64 == 9";
            long += &format!("errno EPERM c{number}/{number} when {when}\n");
        }
        long += &format!("errno ENOSYS c{number}/{number}\n");
    }
    let long = Rules::parse(format!("{long}otherwise allow").leak()).unwrap();
    for rules in [Rules::builtin(), &long] {
        let program = rules.program(true);
        assert!(program.len() <= INSTRUCTIONS_MAX, "{} instructions", program.len());
        for (at, Instruction { code, jt, jf, k }) in program.iter().enumerate() {
            let farthest = match *code {
                SKIP => *k as usize,
                EQUAL | AT_LEAST | BITS => usize::from(*jt.max(jf)),
                RETURN => continue,
                _ => 0,
            };
            assert!(at + 1 + farthest < program.len(), "instruction {at} leads past the end");
        }
    }
    let program = long.program(false);
    assert!(
        program.iter().any(|instruction| instruction.code == SKIP),
        "nothing is far enough to test long jumps"
    );
    for number in 0..202 {
        for arguments in
            [[1, 7, 9, 0, 0, 0], [1 << 32, 7, 9, 0, 0, 0], [4, 7, 9, 0, 0, 0], [1, 7, 9 | 1 << 32, 0, 0, 0]]
        {
            let expected = returned(long.answer(number, &arguments, false));
            assert_eq!(judge(&program, X86_64, number, &arguments), expected, "{number} {arguments:?}");
        }
    }
}

#[test]
fn names_have_the_numbers_of_the_kernel() {
    // `libc` does not know these yet.
    #[rustfmt::skip]
    let newer = BTreeMap::from([
        ("create_module", 174), ("get_kernel_syms", 177), ("query_module", 178), ("io_pgetevents", 333),
        ("uretprobe", 335), ("uprobe", 336), ("cachestat", 451), ("map_shadow_stack", 453), ("futex_wake", 454),
        ("futex_wait", 455), ("futex_requeue", 456), ("statmount", 457), ("listmount", 458),
        ("lsm_get_self_attr", 459), ("lsm_set_self_attr", 460), ("lsm_list_modules", 461), ("setxattrat", 463),
        ("getxattrat", 464), ("listxattrat", 465), ("removexattrat", 466), ("open_tree_attr", 467),
        ("file_getattr", 468), ("file_setattr", 469),
    ]);
    macro_rules! known {
        ($($name:ident)*) => { BTreeMap::from([$((&stringify!($name)[4..], libc::$name)),*]) };
    }
    let known = include!("numbers.in");
    for call in Rules::builtin().syscalls() {
        let expected = known.get(call.name).or(newer.get(call.name)).copied();
        assert_eq!(Some(i64::from(call.number)), expected, "{}", call.name);
    }
    for name in known.keys().chain(newer.keys()) {
        assert!(Rules::builtin().syscalls().iter().any(|call| call.name == *name), "{name} is not mentioned");
    }
}

#[test]
fn what_can_not_be_meant_is_refused() {
    let text = |text: &str| text.to_owned();
    #[rustfmt::skip]
    let table: &[(&'static str, Option<(usize, Cause)>)] = &[
        ("allow read/0\notherwise errno EPERM", None),
        ("allow read/0", Some((1, Cause::Otherwise))),
        ("otherwise errno EPERM\nallow read/0", Some((2, Cause::Otherwise))),
        ("otherwise errno EPERM read/0", Some((1, Cause::Otherwise))),
        ("permit read/0", Some((1, Cause::Action(text("permit"))))),
        ("errno EHWPOISON read/0", Some((1, Cause::Error(text("EHWPOISON"))))),
        ("allow", Some((1, Cause::Nothing))),
        ("allow read", Some((1, Cause::Call(text("read"))))),
        ("allow read/1024", Some((1, Cause::Call(text("read/1024"))))),
        ("allow read/1073741824", Some((1, Cause::Call(text("read/1073741824"))))),
        ("# fine\n\nallow read/0 write/0", Some((3, Cause::Contradiction(text("write/0"))))),
        ("allow read/0 read/1\notherwise allow", Some((1, Cause::Contradiction(text("read"))))),
        ("allow read/0\nerrno EPERM read/0", Some((2, Cause::Unreachable(text("read"))))),
        ("allow a/1 when arg0:32 == 1\nallow b/2\nerrno EPERM a/1", Some((3, Cause::Scattered(text("a"))))),
        ("allow a/1 when arg0:32 == 1\notherwise allow", Some((1, Cause::Open(text("a"))))),
        ("watched: allow a/1\notherwise allow", Some((1, Cause::Open(text("a"))))),
        ("watched: allow a/1\nerrno EPERM a/1\notherwise allow", None),
        ("allow a/1 when arg0 == 1", Some((1, Cause::Condition(text("arg0 == 1"))))),
        ("allow a/1 when arg0:16 == 1", Some((1, Cause::Condition(text("arg0:16 == 1"))))),
        ("allow a/1 when arg6:32 == 1", Some((1, Cause::Condition(text("arg6:32 == 1"))))),
        ("allow a/1 when arg0:32 != 1", Some((1, Cause::Condition(text("arg0:32 != 1"))))),
        ("allow a/1 when arg0:32 == AF_NOWHERE", Some((1, Cause::Value(text("AF_NOWHERE"))))),
        ("allow a/1 when arg0:32 == 0x", Some((1, Cause::Value(text("0x"))))),
        ("allow a/1 when arg0:32 == 0x100000000", Some((1, Cause::Never(text("arg0:32 == 0x100000000"))))),
        ("allow a/1 when arg0:64 == 0x100000000\nallow a/1\notherwise allow", None),
        ("allow a/1 when arg0:32 & 3 == 4", Some((1, Cause::Never(text("arg0:32 & 3 == 4"))))),
        ("allow a/1 when arg0:32 any 0", Some((1, Cause::Never(text("arg0:32 any 0"))))),
        ("allow a/1 when arg0:32 only 0x1ffffffff", Some((1, Cause::Never(text("arg0:32 only 0x1ffffffff"))))),
    ];
    for (text, expected) in table {
        let found = Rules::parse(text).err().map(|malformed| (malformed.line, malformed.cause));
        assert_eq!(&found, expected, "{text}");
    }
}

/// What a container runtime would make of the object: any entry that fits, else the default.
fn judge_oci(oci: &Value, name: &str, arguments: &[u64; 6]) -> Action {
    let word = |value: &Value| value.as_u64().unwrap();
    let fits = |arg: &Value| {
        assert_eq!(arg["op"], "SCMP_CMP_MASKED_EQ");
        arguments[word(&arg["index"]) as usize] & word(&arg["value"]) == word(&arg["valueTwo"])
    };
    let mut found = oci["syscalls"].as_array().unwrap().iter().filter(|entry| {
        let args = entry["args"].as_array().map_or(&[][..], Vec::as_slice);
        entry["names"].as_array().unwrap().iter().any(|known| known == name) && args.iter().all(fits)
    });
    let action = match found.next() {
        Some(entry) if entry["action"] == "SCMP_ACT_ALLOW" => Action::Allow,
        Some(entry) => Action::Errno(word(&entry["errnoRet"]) as u16),
        None => Action::Errno(word(&oci["defaultErrnoRet"]) as u16),
    };
    assert_eq!(found.count(), 0, "{name}: two entries fit {arguments:#x?}; which one wins is not promised");
    action
}

/// Arguments near what the conditions of the rules look at: their values, some bits off, or anything.
fn arguments() -> impl Strategy<Value = [u64; 6]> {
    let mut values = vec![0, u64::MAX];
    for condition in Rules::builtin()
        .syscalls()
        .iter()
        .flat_map(|call| &call.clauses)
        .flat_map(|clause| &clause.conditions)
    {
        values.extend(match condition.test {
            Test::Equals { mask, value } => [mask, value],
            Test::Any { mask } => [mask, mask & mask.wrapping_neg()],
        });
    }
    let near =
        (prop::sample::select(values), 0..64, 0..64, 0..3).prop_map(|(value, first, second, flips)| {
            match flips {
                0 => value,
                1 => value ^ (1_u64 << first),
                _ => value ^ (1_u64 << first) ^ (1_u64 << second),
            }
        });
    prop::array::uniform6(prop_oneof![4 => near, 1 => any::<u64>()])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn program_and_oci_say_what_the_rules_say(arguments in arguments(), watched: bool) {
        static TRANSLATED: LazyLock<[(Vec<Instruction>, Value); 2]> = LazyLock::new(|| {
            [false, true].map(|watched| (Rules::builtin().program(watched), Rules::builtin().oci(watched)))
        });
        let rules = Rules::builtin();
        let (program, oci) = &TRANSLATED[usize::from(watched)];
        for number in 0..512 {
            let expected = rules.answer(number, &arguments, watched);
            prop_assert_eq!(judge(program, X86_64, number, &arguments), returned(expected), "number {}", number);
        }
        for call in rules.syscalls() {
            let expected = rules.answer(call.number, &arguments, watched);
            let found = judge_oci(oci, call.name, &arguments);
            let stricter = Action::Errno(libc::ENOSYS as u16);
            let by_arguments = call.constant(watched).is_none() && expected != Action::Allow;
            prop_assert_eq!(found, if by_arguments { stricter } else { expected }, "{}", call.name);
        }
    }
}
