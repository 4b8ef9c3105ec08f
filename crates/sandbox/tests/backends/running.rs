//! How programs start, talk and end: exit statuses, streams, environment, working folder, network.

use crate::case::Case;
use sandbox::Network;
use std::os::unix::fs::PermissionsExt;

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::sh("success", "exit 0"),
        Case::sh("failure", "exit 1").status(1),
        Case::sh("forty-two", "exit 42").status(42),
        Case::sh("ended by itself with SIGTERM", "kill -TERM $$; sleep 5").status(143),
        Case::sh("ended by itself with SIGKILL", "kill -KILL $$; sleep 5").status(137),
        Case::sh("a crash", "kill -SEGV $$; sleep 5").status(139),
        Case::run("a missing program", &["no-such-program"]).status(127),
        Case::run("a missing path", &["/usr/bin/no-such-program"]).status(127),
        Case::run("not executable", &["{work}/text"])
            .given(|place| std::fs::write(place.workspace.join("text"), "#!/bin/sh\n").unwrap())
            .status(126),
        Case::run("a folder is no program", &["/usr"]).status(126),
        Case::run("a script of its own", &["./script", "a b", ""])
            .given(|place| {
                let script = place.workspace.join("script");
                std::fs::write(&script, "#!/bin/sh\necho \"$# $1\"\n").unwrap();
                std::fs::set_permissions(script, PermissionsExt::from_mode(0o755)).unwrap();
            })
            .says("2 a b\n"),
        Case::run("arguments as they are", &["printf", "%s|", "a b", "", "$HOME", "é\n", "--", "-x"])
            .says("a b||$HOME|é\n|--|-x|"),
        Case::run("input arrives", &["cat"]).input("one\ntwo\n").says("one\ntwo\n"),
        Case::run("end of input arrives", &["wc", "-c"]).says("0\n"),
        Case::sh("output and error are two", "echo out; echo err >&2").says("out\n").complains("err"),
        Case::sh("streams are not re-opened elsewhere", "echo a > /dev/stdout; echo b > /dev/stderr; cat /dev/stdin")
            .input("c\n")
            .says("a\nc\n")
            .complains("b\n"),
        Case::run("much output, whole", &["head", "-c", "3000000", "/dev/zero"]).check(|_, _, ran| {
            if ran.output.len() == 3_000_000 { Ok(()) } else { Err(format!("{} bytes", ran.output.len())) }
        }),
        Case::run("the environment, exactly", &["env"])
            .with(|profile, _| {
                profile.environment.insert("GIVEN".into(), "a=b c".into());
                profile.environment.insert("SHELL".into(), "/bin/sh".into());
            })
            .check(|_, _, ran| {
                let mut found: Vec<&str> = ran.output.lines().collect();
                found.sort_unstable();
                let wanted = [
                    "GIT_CONFIG_COUNT=1",
                    "GIT_CONFIG_KEY_0=core.checkStat",
                    "GIT_CONFIG_VALUE_0=minimal",
                    "GIVEN=a=b c",
                    "HOME=/home/agent",
                    "LOGNAME=agent",
                    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                    "SHELL=/bin/sh",
                    "TMPDIR=/tmp",
                    "USER=agent",
                ];
                if found == wanted { Ok(()) } else { Err(format!("{found:?}")) }
            }),
        Case::run("programs come from the profile's PATH", &["true"])
            .with(|profile, _| drop(profile.environment.insert("PATH".into(), "/nowhere".into())))
            .status(127),
        Case::run("a working folder", &["pwd"]).cwd("/tmp").says("/tmp\n"),
        Case::run("a working folder that is not there", &["pwd"]).cwd("/tmp/none/such").fails(),
        Case::run("no folder is made for it", &["true"]).cwd("/nowhere/at/all").fails(),
        Case::run("home without a workspace", &["pwd"])
            .with(|profile, _| profile.workspace = None)
            .says("/home/agent\n"),
        Case::sh("no umask surprises", "umask; touch f; stat -c %a f").says("0022\n644\n"),
        Case::sh("signals do what they do by default", "cat /proc/self/status; (yes | head -n 1; true)").check(
            |_, _, ran| {
                let set = |name: &str| {
                    let line = ran.output.lines().find_map(|line| line.strip_prefix(name));
                    u64::from_str_radix(line.unwrap_or_default().trim(), 16).unwrap_or(u64::MAX)
                };
                // Those beyond 31 are the C library's own.
                let found = ["SigBlk:", "SigIgn:", "SigCgt:"].map(|name| set(name) & 0x7fff_ffff);
                if found == [0; 3] && ran.output.ends_with("\ny\n") { Ok(()) } else { Err(format!("{found:x?}")) }
            },
        ),
        Case::sh("children outlive nobody", "(sleep 1000 &) ; setsid sleep 1000 & nohup sleep 1000 >/dev/null 2>&1 & echo done")
            .says("done\n"),
        Case::sh("orphans are buried", "(sleep 0.01 &); (sleep 0.01 &); sleep 0.3; grep -l '^State:.Z' /proc/[0-9]*/status")
            .fails()
            .says(""),
        Case::python(
            "no network but its own",
            "import socket\nprint([name for _,name in socket.if_nameindex()])\nfor a in ('192.0.2.1','10.0.0.1','127.0.0.1'):\n\
             \x20 s=socket.socket()\n  s.settimeout(2)\n  try:\n    s.connect((a,22)); print('connected',a)\n\
             \x20 except OSError: pass",
        )
        .says("['lo']\n"),
        Case::python(
            "loopback works",
            "import socket\na=socket.create_server(('127.0.0.1',0))\nb=socket.create_connection(a.getsockname())\n\
             c,_=a.accept()\nb.sendall(b'hi')\nprint(c.recv(2).decode())\n\
             s=socket.create_server(('::1',0),family=socket.AF_INET6)\nprint(bool(socket.create_connection(s.getsockname()[:2])))",
        )
        .says("hi\nTrue\n"),
        Case::python(
            "the host's network only where it is asked for",
            "import socket\nprint(len(socket.if_nameindex())>=1)",
        )
        .with(|profile, _| profile.network = Network::Host)
        .says("True\n"),
        Case::run("layers that are missing refuse", &["true"])
            .with(|profile, _| profile.waived.clear())
            .status(0)
            .for_oci(125, "landlock"),
    ]
}
