//! What a program may spend, and how it learns that it has. A limit that ends a run is named.

use crate::case::Case;
use sandbox::Limit;

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::python(
            "processes",
            "import os,time\nn=0\ntry:\n  for i in range(200):\n    if os.fork()==0:\n      time.sleep(60); os._exit(0)\n    n+=1\n\
             except BlockingIOError: print('bounded', 10<n<40)\nelse: print('unbounded')",
        )
        .with(|profile, _| profile.limits.processes = 40)
        .says("bounded True\n"),
        Case::python(
            "memory",
            "held=[]\nfor i in range(64):\n  held.append(b'x'*(16<<20))\nprint('unbounded')",
        )
        .with(|profile, _| profile.limits.memory_bytes = 192 << 20)
        .fails()
        .says(""),
        Case::python(
            "memory of many together",
            "import os,time\nfor i in range(4):\n  if os.fork()==0:\n    held=b'x'*(96<<20); time.sleep(20); os._exit(0)\n\
             for i in range(4): os.wait()\nprint('unbounded')",
        )
        .with(|profile, _| profile.limits.memory_bytes = 192 << 20)
        .check(|_, _, ran| {
            let reached = ran.outcome.as_ref().is_some_and(|outcome| outcome.reached.contains(&Limit::Memory));
            if reached { Ok(()) } else { Err("the limit on memory was not reached".to_owned()) }
        })
        .any_status(),
        Case::sh("memory within the limit", "head -c 50000000 /dev/zero | tail -c 50000000 | wc -c")
            .with(|profile, _| profile.limits.memory_bytes = 192 << 20)
            .says("50000000\n"),
        Case::sh("length of a file", "head -c 2000000 /dev/zero > f; echo $?; stat -c %s f")
            .with(|profile, _| profile.limits.file_bytes = 1 << 20)
            .says("153\n1048576\n"),
        Case::sh(
            "scratch, in bytes, all together",
            "head -c 6000000 /dev/zero > /tmp/a && echo one; head -c 6000000 /dev/zero > /dev/shm/b && echo two",
        )
        .with(|profile, _| profile.limits.scratch_bytes = 8 << 20)
        .fails()
        .says("one\n")
        .complains("No space left on device"),
        Case::sh("scratch, in files", "i=0; while [ $i -lt 300 ]; do : > /tmp/$i || exit 3; i=$((i+1)); done")
            .with(|profile, _| profile.limits.scratch_files = 100)
            .fails()
            .complains("No space left on device"),
        Case::sh("open files", "ulimit -n; ulimit -Hn; ulimit -c")
            .with(|profile, _| profile.limits.open_files = 64)
            .says("64\n64\n0\n"),
        Case::sh("no limit is raised", "ulimit -n 65 || ulimit -u 1000000 || ulimit -c unlimited")
            .with(|profile, _| profile.limits.open_files = 64)
            .fails(),
        Case::sh("time", "trap '' TERM INT; while :; do sleep 60; done")
            .with(|profile, _| profile.limits.wall_ms = Some(700))
            .status(124)
            .reaches(Limit::Time, true),
        Case::sh("time that suffices", "echo done")
            .with(|profile, _| profile.limits.wall_ms = Some(60_000))
            .says("done\n"),
        Case::run("output", &["yes"])
            .with(|profile, _| profile.limits.output_bytes = Some(10_000))
            .status(137)
            .reaches(Limit::Output, true)
            .check(|_, _, ran| {
                if ran.output.len() == 10_000 { Ok(()) } else { Err(format!("{} bytes", ran.output.len())) }
            }),
        Case::sh("output that fits", "echo 12345678; echo abcdefg >&2")
            .with(|profile, _| profile.limits.output_bytes = Some(17))
            .says("12345678\n")
            .complains("abcdefg\n"),
    ]
}
