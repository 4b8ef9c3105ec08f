//! Every line of the system call rules is tried on this kernel: outside the filter, inside it, and inside a copy whose
//! errors are marked, so that a refusal is known to come from the filter and not from the kernel behind it.
//! Nothing really happens: arguments are invalid, children are thrown away, and root becomes nobody first.

use sandbox::seccomp::{Action, INSTRUCTIONS_MAX, Instruction, Rules, Syscall, Test, load};
use std::collections::BTreeSet;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicI64, Ordering::SeqCst};

/// Added to every error of the marked copy; the kernel has no such errors.
const MARK: u32 = 2_000;
/// An answer no system call gives.
const UNSET: i64 = i64::MIN;
/// How long a call may take before its child is ended.
const PROBE_SECONDS: u32 = 20;

/// Not tried: they end, hold or replace the child that should report, or (`sync`) reach all disks of the host.
const UNTRIED: &[&str] = &["pause", "vfork", "rt_sigreturn", "sync"];

/// Arguments where "all bits set" would not be harmless or would tell nothing.
const ARGUMENTS: &[(&str, &[u64])] = &[
    ("alarm", &[0]),
    ("clone", &[17, 0, 0, 0, 0]),
    ("futex", &[4, 1, 1]),
    ("kill", &[0x7fff_ffff, 0]),
    ("msgget", &[0x6261_696c, 0]),
    ("semget", &[0x6261_696c, 0, 0]),
    ("shmget", &[0x6261_696c, 0, 0]),
    ("socket", &[0, 1, 0]),
    ("socketpair", &[0, 1, 0]),
    ("tgkill", &[0x7fff_ffff, 0x7fff_ffff, 0]),
    ("tkill", &[0x7fff_ffff, 0]),
];

/// More probes, for lines that are reached by what no line names.
const EXTRA: &[(&str, &[u64])] = &[
    ("ioctl", &[u64::MAX, 0x5413]),
    ("ioprio_set", &[1, 0x7fff_ffff, 0]),
    ("mknod", &[u64::MAX, 0o020666]),
    ("mknod", &[u64::MAX, 0o060666]),
    ("mknod", &[u64::MAX, 0o200_020_666]),
    ("mknodat", &[u64::MAX, u64::MAX, 0o020666]),
    ("mknodat", &[u64::MAX, u64::MAX, 0o060666]),
    ("personality", &[8]),
    ("personality", &[0x0040_0000]),
    ("socket", &[2, 1, 132]),
    ("socket", &[2, 1, 262]),
    ("socket", &[10, 1, 262]),
    ("socket", &[16, 3, 9]),
    ("socket", &[16, 3, 12]),
    ("socket", &[17, 3, 0]),
    ("socket", &[29, 3, 1]),
    ("socket", &[31, 3, 0]),
    ("socket", &[38, 5, 0]),
    ("socket", &[40, 1, 0]),
    ("socket", &[44, 3, 0]),
    ("socketpair", &[2, 1, 0]),
    ("socketpair", &[40, 1, 0]),
    ("unshare", &[0x80]),
    ("unshare", &[0x1000_0000]),
    ("unshare", &[0x5000_0000]),
    ("unshare", &[1 << 32]),
    ("prlimit64", &[0x7fff_ffff, u64::MAX, 0]),
    ("prlimit64", &[0x7fff_ffff, u64::MAX, u64::MAX]),
    ("sched_setattr", &[0x7fff_ffff, u64::MAX, u64::MAX]),
    ("sched_setparam", &[0x7fff_ffff, u64::MAX]),
    ("sched_setscheduler", &[0x7fff_ffff, u64::MAX, u64::MAX]),
    ("setpriority", &[0, 0x7fff_ffff, 0]),
];

struct Probe {
    name: &'static str,
    number: u32,
    arguments: [u64; 6],
    /// The line of the rules that decides.
    line: usize,
    watched: bool,
    action: Action,
}

/// What became of a call, as far as it can be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Succeeded,
    Failed(i64),
    /// The call ended its process.
    Exited(i32),
    Signalled(i32),
}

#[test]
fn every_line_answers_as_written() {
    let rules = Rules::builtin();
    let programs = [false, true].map(|watched| rules.program(watched));
    let marked = programs.clone().map(|program| program.into_iter().map(mark).collect::<Vec<_>>());
    let probes: Vec<Probe> = rules.syscalls().iter().flat_map(probes).collect();

    let (mut allowed, mut refused) = (0, 0);
    let (mut lines, mut calls) = (BTreeSet::new(), BTreeSet::new());
    let (mut refused_alike, mut refused_otherwise) = (BTreeSet::new(), BTreeSet::new());
    for probe in &probes {
        let Probe { name, number, arguments, line, watched, action } = probe;
        lines.insert((*line, *number));
        calls.insert(*name);
        let outside = perform(probe, None);
        let inside = perform(probe, Some(&programs[usize::from(*watched)]));
        let proof = perform(probe, Some(&marked[usize::from(*watched)]));
        let at = format!("{name}{arguments:#x?}, line {line}");
        match action {
            Action::Allow => {
                allowed += 1;
                assert_eq!([inside, proof], [outside; 2], "allowed, yet not as outside: {at}");
            }
            Action::Errno(errno) => {
                refused += 1;
                assert_eq!(inside, Outcome::Failed(i64::from(*errno)), "{at}");
                assert_eq!(
                    proof,
                    Outcome::Failed(i64::from(*errno) + i64::from(MARK)),
                    "not by the filter: {at}"
                );
                if outside == inside { &mut refused_alike } else { &mut refused_otherwise }.insert(*name);
            }
        }
    }
    let unproven: Vec<_> = refused_alike.difference(&refused_otherwise).collect();
    let expected: usize = rules.syscalls().iter().filter(tried).map(|call| call.clauses.len()).sum();
    assert_eq!(lines.len(), expected, "some line is not reached by any probe");
    eprintln!(
        "{} probes of {} calls and {} (line, call) pairs: {allowed} allowed with the outcome of outside, {refused} \
         refused by the filter with the error written.\nnot tried: {UNTRIED:?}\nrefused calls whose control outside \
         ended otherwise: {}; in which this kernel gives nobody the same error by itself: {} {unproven:?}",
        probes.len(),
        calls.len(),
        lines.len(),
        refused_otherwise.len(),
        unproven.len(),
    );
}

#[test]
fn other_doors_kill() {
    let program = Rules::builtin().program(false);
    let killed = Outcome::Signalled(libc::SIGSYS);
    let native = || raw(libc::SYS_getpid as u64, &[0; 6]);
    let x32 = || raw(0x4000_0000 | libc::SYS_getpid as u64, &[0; 6]);
    assert_eq!(in_child(Some(&program), native), Outcome::Succeeded);
    assert_eq!(in_child(Some(&program), x32), killed, "x32");
    // Outside: ENOSYS or, where x32 is built in, a process id.
    assert_ne!(in_child(None, x32), killed, "x32 outside");
    let outside = in_child(None, ia32_getpid);
    let inside = in_child(Some(&program), ia32_getpid);
    match outside {
        Outcome::Succeeded => assert_eq!(inside, killed, "ia32"),
        // A kernel without ia32 emulation faults before any filter is asked.
        other => eprintln!("this kernel has no ia32 calls: {other:?} outside, {inside:?} inside"),
    }
}

#[test]
fn only_a_promised_and_sound_program_loads() {
    let program = Rules::builtin().program(false);
    let long = vec![program[0]; 70_000];
    let failed = |errno: i32| Outcome::Failed(i64::from(errno));
    let table: &[(bool, &[Instruction], Outcome)] = &[
        (true, &program, Outcome::Succeeded),
        (false, &program, failed(libc::EACCES)),
        (true, &[], failed(libc::EINVAL)),
        (true, &program[..program.len() - 1], failed(libc::EINVAL)),
        (true, &long[..INSTRUCTIONS_MAX + 1], failed(libc::EINVAL)),
        (true, &long, failed(libc::EINVAL)),
    ];
    for (promised, program, expected) in table {
        let errno = || load(program).err().and_then(|error| error.raw_os_error()).unwrap_or(0);
        let found = fork(*promised, || -i64::from(errno()));
        assert_eq!(found, *expected, "{} instructions, no_new_privs {promised}", program.len());
    }
}

#[test]
fn real_programs_run() {
    const PYTHON: &str = "import os,socket,subprocess,tempfile,threading,multiprocessing as m,mmap,sqlite3,pty,fcntl,termios\n\
        t=threading.Thread(target=lambda:None); t.start(); t.join()\n\
        print(subprocess.run(['sh','-c','echo sub'],capture_output=True).stdout)\n\
        a,b=socket.socketpair(); a.send(b'x'); print(b.recv(1))\n\
        s=socket.socket(); s.bind(('127.0.0.1',0)); s.listen(); c=socket.create_connection(s.getsockname()); print('tcp')\n\
        print(socket.getaddrinfo('127.0.0.1',80)[0][4])\n\
        mmap.mmap(-1,4096)[0]; d=tempfile.TemporaryDirectory(); p=os.path.join(d.name,'x')\n\
        open(p,'w').close(); os.chmod(p,0o755); os.mkfifo(p+'f'); os.rename(p,p+'2')\n\
        q=sqlite3.connect(p+'db'); q.execute('create table t(x)'); q.commit()\n\
        pid,fd=pty.fork()\n\
        if pid==0: os._exit(0)\n\
        print(os.waitpid(pid,0)[1]); print(m.get_context('fork').Pool(2).map(abs,[-1,-2]))\n";
    const NODE: &str = "const n=require('net'),c=require('child_process'),w=require('worker_threads');\
        const s=n.createServer(x=>x.end('hi')).listen(0,'127.0.0.1',()=>n.connect(s.address().port,'127.0.0.1')\
        .on('data',d=>{console.log(''+d);s.close();console.log(''+c.execSync('echo sub'));\
        new w.Worker('1',{eval:true}).on('exit',x=>console.log(x))}))";
    const GIT: &str = "cd \"$D\" && git init -q r && cd r && echo x >f && git add f && git -c user.name=n -c user.email=e \
        commit -qm m && git clone -q . ../c && git -C ../c log --format=%s";
    const C: &str = "cd \"$D\" && printf 'int main(){return 0;}' >a.c && gcc -o a a.c && ./a && echo ran";
    const RUST: &str = "cd \"$D\" && printf 'fn main(){println!(\"hi\")}' >a.rs && rustc -o r a.rs && ./r";
    const TAR: &str =
        "cd \"$D\" && mkdir t && echo x >t/f && tar cf t.tar t && tar xf t.tar && cp -a t u && cat u/f";
    #[rustfmt::skip]
    let tools: &[(&str, &[&str])] = &[
        ("sh", &["-c", "echo a | cat; (sleep 0 & wait); mkfifo \"$D/p\"; echo $?"]), ("sh", &["-c", TAR]),
        ("bash", &["-c", "echo <(true) >/dev/null; echo $((1+1))"]), ("python3", &["-c", PYTHON]), ("node", &["-e", NODE]),
        ("sh", &["-c", GIT]), ("sh", &["-c", C]), ("sh", &["-c", RUST]), ("perl", &["-e", "print fork() ? 'p' : ''"]),
        ("java", &["-version"]), ("go", &["version"]), ("cargo", &["--version"]), ("npm", &["--version"]),
        ("pip", &["--version"]), ("psql", &["--version"]), ("ip", &["-brief", "link"]),
    ];
    let program = Rules::builtin().program(true);
    let (mut ran, mut absent) = (0, Vec::new());
    for (tool, arguments) in tools {
        let output = |filter: Option<Vec<Instruction>>| {
            let folder = tempfile::tempdir().expect("a temporary folder");
            let mut command = Command::new(tool);
            command.args(*arguments).env("D", folder.path()).stdin(Stdio::null());
            // SAFETY: between fork and exec only two system calls are made; nothing is allocated and no lock is taken.
            unsafe {
                command.pre_exec(move || match &filter {
                    Some(filter) => {
                        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
                        load(filter)
                    }
                    None => Ok(()),
                })
            };
            command.output()
        };
        match output(None) {
            Ok(outside) if outside.status.success() => {
                let inside = output(Some(program.clone())).expect("it runs outside");
                let told = String::from_utf8_lossy(&inside.stderr);
                assert!(inside.status.success(), "{tool} {arguments:?}: {} {told}", inside.status);
                assert_eq!(inside.stdout, outside.stdout, "{tool} {arguments:?}: {told}");
                ran += 1;
            }
            _ => absent.push(tool),
        }
    }
    assert!(ran > 0, "not even a shell runs here");
    eprintln!("{ran} of {} programs ran as outside; not on this machine: {absent:?}", tools.len());
}

fn tried(call: &&Syscall) -> bool {
    !UNTRIED.contains(&call.name)
}

/// For each line of a call: each bit of each set of bits alone and all together, with and without bits above the width.
fn probes(call: &Syscall) -> Vec<Probe> {
    if !tried(&call) {
        return Vec::new();
    }
    let given = ARGUMENTS.iter().find(|(name, _)| *name == call.name).map_or(&[][..], |(_, given)| given);
    let mut base = [u64::MAX; 6];
    for condition in call.clauses.iter().flat_map(|clause| &clause.conditions) {
        base[usize::from(condition.argument)] = 0;
    }
    base[..given.len()].copy_from_slice(given);

    let mut tries: Vec<(bool, [u64; 6])> = Vec::new();
    for clause in &call.clauses {
        let mut variants = vec![base];
        for condition in &clause.conditions {
            let place = usize::from(condition.argument);
            let set = |mask: u64, value: u64| {
                move |mut arguments: [u64; 6]| {
                    arguments[place] = arguments[place] & !mask | value;
                    arguments
                }
            };
            variants = match condition.test {
                Test::Equals { mask, value } => variants.into_iter().map(set(mask, value)).collect(),
                Test::Any { mask } => {
                    let bits = (0..64).map(|shift| 1 << shift).filter(|bit| mask & bit != 0).chain([mask]);
                    bits.flat_map(|bits| variants.clone().into_iter().map(set(mask, bits))).collect()
                }
            };
        }
        for mut arguments in variants {
            tries.push((clause.watched, arguments));
            let (Some(condition), true) = (clause.conditions.first(), clause.conditions.iter().all(|condition| {
                matches!(condition.test, Test::Equals { mask, .. } | Test::Any { mask } if mask >> 32 == 0)
            })) else {
                continue;
            };
            arguments[usize::from(condition.argument)] |= 0xdead_beef << 32;
            tries.push((clause.watched, arguments));
        }
    }
    for (_, given) in EXTRA.iter().filter(|(name, _)| *name == call.name) {
        let mut arguments = base;
        arguments[..given.len()].copy_from_slice(given);
        tries.push((false, arguments));
    }
    tries.dedup();
    let probe = |(watched, arguments)| {
        let clause = call.clause(&arguments, watched).expect("the last line of a call always fits");
        Probe {
            name: call.name,
            number: call.number,
            arguments,
            line: clause.line,
            watched,
            action: clause.action,
        }
    };
    tries.into_iter().map(probe).collect()
}

/// The same instruction, but for the error it returns.
fn mark(mut instruction: Instruction) -> Instruction {
    let returns = u32::from(instruction.code) == libc::BPF_RET | libc::BPF_K;
    if returns && instruction.k & libc::SECCOMP_RET_ACTION_FULL == libc::SECCOMP_RET_ERRNO {
        instruction.k += MARK;
    }
    instruction
}

fn perform(probe: &Probe, filter: Option<&[Instruction]>) -> Outcome {
    let forks = matches!(probe.name, "fork" | "clone");
    in_child(filter, || {
        let result = raw(u64::from(probe.number), &probe.arguments);
        if forks && result == 0 {
            exit();
        }
        result
    })
}

fn in_child(filter: Option<&[Instruction]>, call: impl FnOnce() -> i64) -> Outcome {
    fork(true, || match filter.map(load) {
        None | Some(Ok(())) => call(),
        Some(Err(_)) => UNSET + 1,
    })
}

/// Calls `body` in a child that is nobody and may have promised to gain no privileges. It must not allocate or panic.
fn fork(promise: bool, body: impl FnOnce() -> i64) -> Outcome {
    let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
    // SAFETY: a fresh mapping of one page, zeroed and aligned for an `AtomicI64`; shared, so that the child's store is
    // seen here; unmapped below, after its last use.
    let page =
        unsafe { libc::mmap(std::ptr::null_mut(), 4_096, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0) };
    assert_ne!(page, libc::MAP_FAILED, "a page is mapped");
    // SAFETY: as above; nothing but atomic operations ever touches it.
    let result = unsafe { &*page.cast::<AtomicI64>() };
    result.store(UNSET, SeqCst);
    // SAFETY: the child makes system calls and one atomic store, then exits; it takes no lock of another thread.
    let child = unsafe { libc::fork() };
    assert!(child >= 0, "fork");
    if child == 0 {
        // SAFETY: plain system calls on this child alone. A user who is not root stays who he is.
        unsafe {
            libc::syscall(libc::SYS_setresgid, 65_534, 65_534, 65_534);
            libc::syscall(libc::SYS_setresuid, 65_534, 65_534, 65_534);
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0);
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, libc::c_ulong::from(promise), 0, 0, 0);
            libc::alarm(PROBE_SECONDS);
        }
        result.store(body(), SeqCst);
        exit();
    }
    let mut status = 0;
    // SAFETY: `child` is ours and not yet waited for.
    let waited = unsafe { libc::waitpid(child, &raw mut status, 0) };
    assert_eq!(waited, child, "waitpid");
    let value = result.load(SeqCst);
    // SAFETY: the mapping made above; `result` is not used again.
    unsafe { libc::munmap(page, 4_096) };
    assert_ne!(value, UNSET + 1, "the filter does not load");
    match value {
        _ if libc::WIFSIGNALED(status) => Outcome::Signalled(libc::WTERMSIG(status)),
        UNSET => Outcome::Exited(libc::WEXITSTATUS(status)),
        -4_095..=-1 => Outcome::Failed(-value),
        _ => Outcome::Succeeded,
    }
}

fn exit() -> ! {
    raw(libc::SYS_exit_group as u64, &[0; 6]);
    std::process::abort()
}

/// A system call with nothing of the C library around it, so that its answer is the kernel's or the filter's.
fn raw(number: u64, arguments: &[u64; 6]) -> i64 {
    let result: i64;
    // SAFETY: in a child that is thrown away, with arguments that name nothing it needs to go on: no valid address but
    // where a test passes one, no descriptor, no process.
    unsafe {
        std::arch::asm!(
            "syscall",
            inlateout("rax") number => result,
            in("rdi") arguments[0],
            in("rsi") arguments[1],
            in("rdx") arguments[2],
            in("r10") arguments[3],
            in("r8") arguments[4],
            in("r9") arguments[5],
            lateout("rcx") _,
            lateout("r11") _,
        );
    }
    result
}

/// `getpid` by the 32-bit door.
fn ia32_getpid() -> i64 {
    let result: i64;
    // SAFETY: in a child that is thrown away; the call has no arguments, and all registers it may change are named.
    unsafe {
        std::arch::asm!(
            "int 0x80",
            inlateout("rax") 20_u64 => result,
            lateout("r8") _, lateout("r9") _, lateout("r10") _, lateout("r11") _,
        );
    }
    result
}
