//! System calls that no program gets, asked for by real programs and by number; each beside one that must work.

use crate::case::Case;

/// Makes a call by number and says `ok` or the error's name.
const CALL: &str = "import ctypes,errno,sys\nlibc=ctypes.CDLL(None,use_errno=True)\n\
    def call(*a):\n  r=libc.syscall(*[ctypes.c_long(x) for x in a])\n  return 'ok' if r>=0 else errno.errorcode[ctypes.get_errno()]\n";

fn denied(name: &'static str, calls: &str) -> Case {
    let script = format!(
        "{CALL}for a in [{calls}]:\n  r=call(*a)\n  if r not in ('EPERM','ENOSYS','EACCES'): print(a,r)\n"
    );
    Case::python(name, &script).says("")
}

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::python("harmless calls work", &format!("{CALL}print(call(39),call(102),call(318,0,0,0))")).says("ok ok ok\n"),
        Case::sh("no user namespaces", "unshare -U true").fails().complains("unshare"),
        Case::sh("no namespaces of other kinds", "unshare -n true || unshare -m true || unshare -p -f true").fails(),
        Case::sh("no mounts", "mount -t tmpfs none /tmp || mount --bind / /tmp || umount /proc || umount {work}").fails(),
        Case::python(
            "no namespaces by clone",
            &format!("{CALL}print(call(56,0x10000000|17,0,0,0,0) if call(56,0x10000000|17,0,0,0,0)!='ok' else 'made')"),
        )
        .check(|_, _, ran| {
            if ran.output.contains("made") || ran.output.contains("ok") { Err("made one".to_owned()) } else { Ok(()) }
        }),
        denied("no new mount calls", "(428,-100,0,0),(429,-1,0,-1,0,0),(430,0,0),(432,0,0,0),(442,-1,0,0,0,0),(155,0,0)"),
        denied("no keyrings", "(248,0,0,0,0,0),(249,0,0,0,0),(250,0,-3,0,0,0)"),
        denied("no tracing", "(101,16,1,0,0),(310,1,0,0,0,0,0),(311,1,0,0,0,0,0),(438,0,0,0)"),
        denied("no kernel programs or events", "(321,0,0,0),(298,0,0,-1,-1,0),(323,0)"),
        denied("no io_uring", "(425,1,0),(426,-1,0,0,0,0,0)"),
        denied("no file handles", "(304,-1,0,0)"),
        denied("no kernel modules, clocks, swap or restarts", "(175,0,0,0),(313,-1,0,0),(169,0,0,0,0),(167,0,0),(227,0,0)"),
        Case::python(
            "no sockets beyond the plain ones",
            "import socket\nfor family in (40,17,38,31,9,44):\n  try:\n    socket.socket(family,1 if family==40 else 3); \
             print('made',family)\n  except OSError: pass\nfor family in (1,2,10):\n  socket.socket(family,1)\nprint('plain')",
        )
        .says("plain\n"),
        Case::sh("no debugger", "strace -o /dev/null true").needs("/usr/bin/strace").fails(),
        Case::python(
            "terminals take no injected input",
            "import fcntl,pty,termios\na,b=pty.openpty()\nfor high in (0,1<<32):\n  try:\n    fcntl.ioctl(b,termios.TIOCSTI,b'x'); \
             print('injected')\n  except OSError: pass\nprint('end')",
        )
        .says("end\n"),
    ]
}
