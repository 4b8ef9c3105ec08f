//! What there is to be seen, and what may be done to it. Nothing of the host's is there that was not named.

use crate::case::Case;
use sandbox::{Home, Mode};

fn mode(mode: Mode) -> impl Fn(&mut sandbox::Profile, &crate::subject::Place) {
    move |profile, _| profile.workspace.as_mut().unwrap().mode = mode.clone()
}

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::sh(
            "nothing of the host's that was not named",
            "for path in /root /sys /boot /mnt /srv /opt /var/log /var/lib /etc/shadow /etc/ssh /etc/machine-id \
             /home/* /tmp/*/*; do case $path in /home/agent|/home/\\*|/tmp/*/case-*) ;; *) [ -e \"$path\" ] && echo $path;; \
             esac; done; true",
        )
        .says(""),
        Case::sh("no neighbours", "ls {work}/..; cat {beside}/secret")
            .given(|place| std::fs::write(place.beside.join("secret"), "secret\n").unwrap())
            .fails()
            .says("work\n"),
        Case::sh("the workspace is at its own place", "pwd; cat here; cat {work}/here")
            .given(|place| std::fs::write(place.workspace.join("here"), "here\n").unwrap())
            .says("{work}\nhere\nhere\n"),
        Case::sh("changes are made in place", "echo new > here; mkdir -p a/b; echo deep > a/b/c; mv a/b z; rm gone")
            .given(|place| std::fs::write(place.workspace.join("gone"), "").unwrap())
            .check(|_, place, _| {
                let read = |name: &str| std::fs::read_to_string(place.workspace.join(name)).unwrap_or_default();
                let found = (read("here"), read("z/c"), place.workspace.join("gone").exists());
                let wanted = ("new\n".to_owned(), "deep\n".to_owned(), false);
                if found == wanted { Ok(()) } else { Err(format!("{found:?}")) }
            }),
        Case::sh("a read-only workspace stays as it is", "cat here; echo no > here; touch new; rm -f here; ls")
            .given(|place| std::fs::write(place.workspace.join("here"), "here\n").unwrap())
            .with(mode(Mode::ReadOnly))
            .says("here\nhere\n")
            .complains("Read-only file system")
            .check(|_, place, _| {
                let left = std::fs::read_to_string(place.workspace.join("here")).unwrap_or_default();
                if left == "here\n" { Ok(()) } else { Err(format!("{left:?}")) }
            }),
        Case::sh("an overlay keeps changes apart", "cat here; echo new > here; echo more > more; cat here")
            .given(|place| std::fs::write(place.workspace.join("here"), "here\n").unwrap())
            .given(|place| std::fs::create_dir(place.beside.join("overlay")).unwrap())
            .with(|profile, place| {
                profile.workspace.as_mut().unwrap().mode = Mode::Overlay(place.beside.join("overlay"));
            })
            .says("here\nnew\n")
            .check(|_, place, _| {
                let read = |path: std::path::PathBuf| std::fs::read_to_string(path).unwrap_or_default();
                let upper = place.beside.join("overlay/upper");
                let found =
                    (read(place.workspace.join("here")), read(upper.join("here")), read(upper.join("more")));
                let wanted = ("here\n".to_owned(), "new\n".to_owned(), "more\n".to_owned());
                if found == wanted { Ok(()) } else { Err(format!("{found:?}")) }
            }),
        Case::sh(
            "the system stays as it is",
            "for path in /x /usr/x /usr/bin/x /etc/x /dev/x /proc/x /var/x /home/x; do \
             (: > $path) 2>/dev/null && echo $path; done; rm -f /usr/bin/env 2>/dev/null; ls /usr/bin/env",
        )
        .says("/usr/bin/env\n"),
        Case::sh("more to read", "cat {beside}/data; : > {beside}/new")
            .given(|place| std::fs::write(place.beside.join("data"), "data\n").unwrap())
            .with(|profile, place| profile.read = vec![place.beside.clone()])
            .fails()
            .says("data\n"),
        Case::sh("more to write", "cat {beside}/data; echo new > {beside}/data")
            .given(|place| std::fs::write(place.beside.join("data"), "data\n").unwrap())
            .with(|profile, place| profile.write = vec![place.beside.clone()])
            .says("data\n")
            .check(|_, place, _| {
                let left = std::fs::read_to_string(place.beside.join("data")).unwrap_or_default();
                if left == "new\n" { Ok(()) } else { Err(format!("{left:?}")) }
            }),
        Case::sh("an inner piece keeps its own rights", "echo a > {work}/a; echo b > {work}/in/b; ls {work}/in")
            .given(|place| std::fs::create_dir(place.workspace.join("in")).unwrap())
            .with(|profile, place| profile.read = vec![place.workspace.join("in")])
            .says("")
            .complains("Read-only file system")
            .check(|_, place, _| {
                if place.workspace.join("a").exists() { Ok(()) } else { Err("a was not written".to_owned()) }
            }),
        Case::sh(
            "private places to write",
            "for folder in /tmp /run /dev/shm /var/tmp $HOME; do echo x > $folder/bailiwick-mark && cat \
             $folder/bailiwick-mark; done; stat -c %a /tmp /dev/shm /var/tmp",
        )
        .says("x\nx\nx\nx\nx\n1777\n1777\n1777\n")
        .check(|_, _, _| {
            let seen = ["/tmp", "/run", "/dev/shm", "/var/tmp"].map(|folder| format!("{folder}/bailiwick-mark"));
            match seen.iter().find(|path| std::path::Path::new(path).exists()) {
                Some(path) => Err(format!("{path} is on the host")),
                None => Ok(()),
            }
        }),
        Case::sh("an empty home", "echo $HOME; ls -A ~").says("/home/agent\n"),
        Case::sh("a kept home", "cat ~/kept; echo new > ~/kept; pwd")
            .given(|place| std::fs::write(place.beside.join("kept"), "old\n").unwrap())
            .with(|profile, place| profile.home = Home::Kept(place.beside.clone()))
            .with(|profile, _| profile.workspace = None)
            .says("old\n/home/agent\n")
            .check(|_, place, _| {
                let left = std::fs::read_to_string(place.beside.join("kept")).unwrap_or_default();
                if left == "new\n" { Ok(()) } else { Err(format!("{left:?}")) }
            }),
        Case::sh(
            "no kernel settings in /proc",
            "for name in sys kcore kmsg keys sysrq-trigger cpuinfo meminfo config.gz; do [ -e /proc/$name ] && echo $name; \
             done; true",
        )
        .says(""),
        Case::sh("no processes but its own in /proc", "ls /proc | grep '^[0-9]' | wc -l | awk '{print ($1 <= 6)}'")
            .says("1\n"),
        Case::sh(
            "the first process keeps its secrets",
            "cat /proc/1/environ /proc/1/mem; ls /proc/1/root/ /proc/1/cwd/ /proc/1/fd/; kill -9 1; env",
        )
        .check(|_, _, ran| {
            if ran.output.contains("canary") { Err("the canary got out".to_owned()) } else { Ok(()) }
        })
        .complains("denied"),
        Case::sh(
            "devices without side effects, and no others",
            "for name in null zero full random urandom tty; do [ -c /dev/$name ] || echo no $name; done; \
             for name in kmsg mem kvm vsock fuse loop0 vda sda nvme0 net; do [ -e /dev/$name ] && echo $name; done; \
             find /dev -type b; echo x > /dev/null && head -c 4 /dev/zero | wc -c; (echo x > /dev/full) 2>/dev/null || \
             echo full; readlink /dev/fd",
        )
        .says("4\nfull\n/proc/self/fd\n"),
        Case::sh("no devices can be made", "mknod {work}/null c 1 3 || mknod /tmp/null c 1 3").fails(),
        Case::python(
            "terminals of its own",
            "import os,pty\nours,theirs=pty.openpty()\nprint(os.ttyname(theirs).startswith('/dev/pts/'))",
        )
        .says("True\n"),
        Case::python(
            "semaphores and shared memory",
            "from multiprocessing import Lock, shared_memory\nlock=Lock()\nlock.acquire()\n\
             m=shared_memory.SharedMemory(create=True,size=4096)\nm.close()\nm.unlink()\nprint('ok')",
        )
        .says("ok\n"),
        Case::sh("names of users and hosts", "id -un; getent passwd 1000 | cut -d: -f1; getent hosts localhost | wc -l")
            .says("agent\nagent\n1\n"),
    ]
}
