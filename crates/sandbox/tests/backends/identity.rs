//! Who the program is, inside and out. No backend may make it anybody else.

use crate::case::Case;
use crate::subject::Backend;
use sandbox::Layer;
use std::os::unix::fs::MetadataExt;

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::sh("one user, one group", "id -u; id -g; id -G; id -un").says("1000\n1000\n1000\nagent\n"),
        Case::sh(
            "no capabilities, and none to be had",
            "grep -E '^(CapInh|CapPrm|CapEff|CapBnd|CapAmb|NoNewPrivs|Seccomp):' /proc/self/status | tr -d '\\t'",
        )
        .says(
            "CapInh:0000000000000000\nCapPrm:0000000000000000\nCapEff:0000000000000000\n\
             CapBnd:0000000000000000\nCapAmb:0000000000000000\nNoNewPrivs:1\nSeccomp:2\n",
        ),
        Case::sh("files it makes are the caller's", "echo hello > made; mkdir folder; stat -c %u made").says("1000\n").check(
            |subject, place, _| {
                for name in ["made", "folder"] {
                    let found = place.workspace.join(name).metadata().map_err(|error| error.to_string())?;
                    if (found.uid(), found.gid()) != (subject.caller, subject.caller) {
                        return Err(format!("{name} belongs to {}:{}", found.uid(), found.gid()));
                    }
                }
                Ok(())
            },
        ),
        Case::sh("the caller's files are its own", "stat -c '%u %g' old; echo more >> old; cat old")
            .given(|place| std::fs::write(place.workspace.join("old"), "text\n").unwrap())
            .says("1000 1000\ntext\nmore\n"),
        Case::sh("the system is nobody's", "stat -c %u /usr /usr/bin/env").says("65534\n65534\n"),
        Case::sh("it cannot become root", "setpriv --reuid=0 true || su -c true </dev/null").fails(),
        Case::sh("it cannot give files away", "touch f; chown 0 f").fails(),
        Case::sh("set-user-id bits do nothing", "cp /usr/bin/id me; chmod u+s me; ./me -u").says("1000\n"),
        Case::sh("an own host name", "hostname; cat /etc/hostname").says("bailiwick\nbailiwick\n"),
        Case::python(
            "an own session, process group and little else open",
            // One from outside would have no number here.
            "import os\nprint(os.getsid(0) in (1, os.getpid()) and os.getpgrp()==os.getpid(), sorted(int(f) for f in os.listdir('/proc/self/fd'))[:3])\n\
             print(all(int(f) <= 3 for f in os.listdir('/proc/self/fd')))",
        )
        .says("True [0, 1, 2]\nTrue\n"),
        Case::run("receipts name what holds", &["true"]).check(|subject, _, ran| {
            let layers = ran.outcome.as_ref().map(|outcome| outcome.layers.clone()).unwrap_or_default();
            for layer in [
                Layer::Namespaces,
                Layer::Root,
                Layer::Proc,
                Layer::Seccomp,
                Layer::Privileges,
                Layer::Memory,
                Layer::Processes,
                Layer::Protection,
            ] {
                if !layers.held.contains_key(&layer) {
                    return Err(format!("{layer} is not held"));
                }
            }
            let has_landlock = layers.held.contains_key(&Layer::Landlock);
            match subject.backend {
                Backend::Native => Ok(()),
                Backend::Oci(name) if has_landlock => Err(format!("{name} has no Landlock")),
                Backend::Oci(_) => layers.waived.get(&Layer::Landlock).map(drop).ok_or("not waived".to_owned()),
            }
        }),
    ]
}
