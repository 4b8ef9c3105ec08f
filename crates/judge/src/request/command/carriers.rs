//! The programs known to start others or to change the shell, as data.
//! No decision is made here: what an entry means stands where it is used.


/// Builtins whose words are assignments.
pub(super) const DECLARING: &[&str] = &["declare", "typeset", "export", "readonly", "local"];

/// Programs that start others in ways not read here: remote, scheduled, containerised, traced, or by their own rules.
pub(super) const STARTERS: &[&str] = &[
    "parallel", "ssh", "slogin", "rsh", "mosh", "at", "batch", "crontab", "runuser", "pkexec", "run0", "systemd-run", "chroot",
    "unshare", "nsenter", "setpriv", "capsh", "bwrap", "firejail", "docker", "podman", "nerdctl", "kubectl", "lxc", "machinectl",
    "strace", "ltrace", "gdb", "lldb", "valgrind", "perf", "rlwrap", "expect", "unbuffer", "socat", "nc", "ncat", "tmux", "screen",
    "dtach", "start-stop-daemon", "daemonize", "dbus-run-session", "xvfb-run", "numactl", "taskset", "prlimit", "cgexec", "entr",
    "inotifywait", "watchexec", "hyperfine", "make-jobserver", "ld.so", "toybox", "fish", "zsh", "csh", "tcsh", "xonsh", "nu", "pwsh",
    "elvish", "rc", "es", "vi", "vim", "nvim", "ed", "ex", "emacs", "less", "more", "man", "m4", "fakeroot", "proot", "torsocks",
    "proxychains", "proxychains4", "npx", "bunx", "pnpx", "uvx", "pipx", "direnv", "nix-shell", "nix", "guix", "bind", "complete",
    "compgen", "compopt", "fc", "logsave", "run-parts", "sg", "newgrp", "cpulimit", "choom", "uclampset", "coreutils", "linux32",
    "linux64", "setarch", "i386", "x86_64", "catchsegv", "tclsh", "wish", "gnuplot", "octave", "jshell", "scala", "ghci", "osascript",
];

/// Builtins that change how later text is read or which program a name finds.
pub(super) const SHELL_CHANGERS: &[&str] = &["alias", "unalias", "shopt", "enable", "hash", "history"];

/// Interpreters: the options that take code, and those that take a value.
pub(super) struct Interpreter {
    pub(super) stem: &'static str,
    pub(super) code: &'static str,
    pub(super) values: &'static str,
    /// Long options without effect on what is run.
    pub(super) plain: &'static str,
}

pub(super) const INTERPRETERS: &[Interpreter] = &[
    Interpreter { stem: "python", code: "c", values: "WX", plain: "BEIOPRSsuvqbdx" },
    Interpreter { stem: "pypy", code: "c", values: "WX", plain: "BEIOPRSsuvqbdx" },
    Interpreter { stem: "perl", code: "eEMmIdDxFipn", values: "", plain: "wWtTucls" },
    Interpreter { stem: "ruby", code: "erIRSxpnKF", values: "", plain: "wWv" },
    Interpreter { stem: "node", code: "epr", values: "", plain: "i" },
    Interpreter { stem: "nodejs", code: "epr", values: "", plain: "i" },
    Interpreter { stem: "php", code: "rBREFdcz", values: "", plain: "qn" },
    Interpreter { stem: "lua", code: "eli", values: "", plain: "EW" },
    Interpreter { stem: "luajit", code: "elbjO", values: "", plain: "" },
    Interpreter { stem: "deno", code: "", values: "", plain: "" },
    Interpreter { stem: "bun", code: "e", values: "", plain: "" },
    Interpreter { stem: "Rscript", code: "e", values: "", plain: "" },
    Interpreter { stem: "guile", code: "c", values: "", plain: "" },
];

/// A program that runs the rest of its words.
pub(super) struct Carrier {
    pub(super) name: &'static str,
    /// Short options without and with a value.
    pub(super) flags: &'static str,
    pub(super) values: &'static str,
    /// Long options; one ending in `=` takes a value.
    pub(super) longs: &'static [&'static str],
    /// Words before the command.
    pub(super) positionals: usize,
    /// Whether `NAME=value` may stand before the command.
    pub(super) assigns: bool,
}

pub(super) const CARRIERS: &[Carrier] = &[
    Carrier {
        name: "env",
        flags: "i0v",
        values: "uC",
        longs: &["ignore-environment", "null", "debug", "unset=", "chdir="],
        positionals: 0,
        assigns: true,
    },
    Carrier { name: "command", flags: "p", values: "", longs: &[], positionals: 0, assigns: false },
    Carrier { name: "builtin", flags: "", values: "", longs: &[], positionals: 0, assigns: false },
    Carrier { name: "exec", flags: "cl", values: "a", longs: &[], positionals: 0, assigns: false },
    Carrier { name: "nohup", flags: "", values: "", longs: &[], positionals: 0, assigns: false },
    Carrier { name: "nice", flags: "0123456789", values: "n", longs: &["adjustment="], positionals: 0, assigns: false },
    Carrier {
        name: "timeout",
        flags: "vfp",
        values: "ks",
        longs: &["foreground", "preserve-status", "verbose", "kill-after=", "signal="],
        positionals: 1,
        assigns: false,
    },
    Carrier { name: "time", flags: "pvq", values: "", longs: &["portability", "verbose", "quiet"], positionals: 0, assigns: false },
    Carrier { name: "stdbuf", flags: "", values: "ioe", longs: &["input=", "output=", "error="], positionals: 0, assigns: false },
    Carrier { name: "setsid", flags: "cfw", values: "", longs: &["ctty", "fork", "wait"], positionals: 0, assigns: false },
    Carrier { name: "ionice", flags: "t", values: "cn", longs: &["ignore", "class=", "classdata="], positionals: 0, assigns: false },
    Carrier {
        name: "chrt",
        flags: "abdfior",
        values: "",
        longs: &["batch", "deadline", "fifo", "idle", "other", "rr"],
        positionals: 1,
        assigns: false,
    },
    Carrier {
        name: "sudo",
        flags: "nEHSkbPA",
        values: "ugpCDhT",
        longs: &["non-interactive", "set-home", "stdin", "user=", "group="],
        positionals: 0,
        assigns: true,
    },
    Carrier { name: "doas", flags: "n", values: "u", longs: &[], positionals: 0, assigns: false },
    Carrier {
        name: "xargs",
        flags: "0rtpxo",
        values: "InPLdsaE",
        longs: &["null", "no-run-if-empty", "verbose", "interactive", "exit", "max-args=", "max-procs=", "max-lines=", "arg-file=", "delimiter="],
        positionals: 0,
        assigns: false,
    },
    Carrier { name: "busybox", flags: "", values: "", longs: &[], positionals: 0, assigns: false },
    Carrier { name: "caffeinate", flags: "disu", values: "t", longs: &[], positionals: 0, assigns: false },
];

/// git's own commands; any other may be an alias for anything.
pub(super) const GIT_COMMANDS: &[&str] = &[
    "add", "am", "annotate", "apply", "archive", "bisect", "blame", "branch", "bundle", "cat-file", "check-attr", "check-ignore",
    "checkout", "cherry", "cherry-pick", "clean", "clone", "commit", "commit-tree", "config", "count-objects", "describe", "diff",
    "diff-files", "diff-index", "diff-tree", "fetch", "for-each-ref", "format-patch", "fsck", "gc", "grep", "hash-object", "help", "init",
    "log", "ls-files", "ls-remote", "ls-tree", "maintenance", "merge", "merge-base", "merge-tree", "mktree", "mv", "name-rev", "notes",
    "pack-refs", "prune", "pull", "push", "range-diff", "read-tree", "rebase", "reflog", "remote", "repack", "replace", "reset",
    "restore", "rev-list", "rev-parse", "revert", "rm", "shortlog", "show", "show-branch", "show-ref", "sparse-checkout", "stash", "status",
    "submodule", "switch", "symbolic-ref", "tag", "update-index", "update-ref", "var", "verify-commit", "verify-tag", "version",
    "whatchanged", "worktree", "write-tree",
];
