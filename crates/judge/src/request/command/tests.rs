//! What the reader lists and what it calls opaque, line by line.
//! No shell runs here; `tests/command_against_bash.rs` compares with the real one.

use super::*;

/// `program word word`, dynamic words in `<>`, home words with `~`.
fn shown(commands: &Commands) -> Vec<String> {
    let word = |word: &Word| match word {
        Word::Literal(text) => text.clone(),
        Word::Home(text) => format!("~{text}"),
        Word::Dynamic(text) => format!("<{text}>"),
    };
    let one = |command: &Command| {
        let mut parts: Vec<String> =
            command.assignments.iter().map(|(n, v)| format!("{n}={}", word(v))).collect();
        parts.push(command.given.clone());
        parts.extend(command.words.iter().map(word));
        parts.extend(command.reads.iter().map(|w| format!("<-{}", word(w))));
        parts.extend(command.writes.iter().map(|w| format!("->{}", word(w))));
        parts.retain(|part| !part.is_empty());
        parts.join(" ")
    };
    commands.commands.iter().map(one).collect()
}

#[track_caller]
fn clear(line: &str, want: &[&str]) {
    let got = parse(line);
    assert_eq!(shown(&got), want, "{line}");
    assert_eq!(got.opaque, None, "{line}");
}

#[test]
fn what_is_wholly_read() {
    for (line, want) in [
        ("", &[][..]),
        ("  # only a comment", &[]),
        ("ls", &["ls"]),
        ("/bin/rm -rf 'a b' \"c d\" e\\ f", &["/bin/rm -rf a b c d e f"]),
        ("a && b || c; d & e", &["a", "b", "c", "d", "e"]),
        ("a | b |& c", &["a", "b", "c"]),
        ("a\nb\n\n# c\nd", &["a", "b", "d"]),
        ("echo a#b # c; rm", &["echo a#b"]),
        ("r\\\nm x", &["rm x"]),
        ("a &\\\n& b", &["a", "b"]),
        ("echo $\\\n(b)", &["echo <$\\\n(b)>", "b"]),
        ("'r'm x; r\"m\" y; r\\m z", &["rm x", "rm y", "rm z"]),
        ("$'\\x72m' $'a\\tb' $'\\u00e9'", &["rm a\tb \u{e9}"]),
        ("(a; b)", &["a", "b"]),
        ("{ a; b; }", &["a", "b"]),
        ("! a", &["a"]),
        ("time -p a | b", &["a", "b"]),
        ("if a; then b; elif c; then d; else e; fi", &["a", "b", "c", "d", "e"]),
        ("while a; do b; done; until c; do d; done", &["a", "b", "c", "d"]),
        ("for x in 1 \"$(a)\"; do b $x; done", &["a", "b <$x>"]),
        ("for x; do b; done", &["b"]),
        ("for ((i=0; i<3; i++)); do b; done", &["b"]),
        ("case $x in a|'b') c;; (d) e ;& *) f; esac", &["c", "e", "f"]),
        ("case $(a) in $(b)) c;; esac", &["a", "b", "c"]),
        ("f() { a; }; f", &["a", "f"]),
        ("function f { a; }", &["a"]),
        ("function f() (a)", &["a"]),
        ("[[ -f x && $(a) == b || ! $y =~ ^(a|b)$ ]] && c", &["a", "c"]),
        ("i=1; (( i += 2 )); echo $((i + 1))", &["i=1", "echo <$((i + 1))>"]),
        (
            "echo $(a $(b)) `c \\`d\\`` <(e) >(f)",
            &["echo <$(a $(b))> <`c \\`d\\``> <<(e)> <>(f)>", "a <$(b)>", "b", "c <`d`>", "d", "e", "f"],
        ),
        ("x=$(a) y=1 b", &["x=<$(a)> y=1 b", "a"]),
        ("x=(1 $(a) 'b c')", &["x=<x=(1 $(a) 'b c')>", "a"]),
        (
            "echo ${x:-$(a)} \"${y#`b`}\" ${#z} ${z[@]} ${z:1:2}",
            &["echo <${x:-$(a)}> <\"${y#`b`}\"> <${#z}> <${z[@]}> <${z:1:2}>", "a", "b"],
        ),
        ("a <in >out 2>>log 2>&1 >|f <>g &>h >&i 3<&-", &["a <-in <-g ->out ->log ->f ->g ->h ->i"]),
        (">out", &["->out"]),
        ("{ a; } >f < <(b)", &["a", "<-<<(b)> ->f", "b"]),
        ("cat <<< \"$(a)\"", &["cat", "a"]),
        ("cat <<E\nx $(a) `b` \\$(c)\nE\nd", &["cat", "a", "b", "d"]),
        ("cat <<'E'\n$(a) don't\nE\nd", &["cat", "d"]),
        ("cat <<-E | b\n\tx\n\tE\nc", &["cat", "b", "c"]),
        ("cat <<A <<B\n$(a)\nA\n$(b)\nB", &["cat", "a", "b"]),
        (
            "git commit -m \"$(cat <<'EOF'\nIt's (a `fix`)\nEOF\n)\"",
            &["git commit -m <\"$(cat <<'EOF'\nIt's (a `fix`)\nEOF\n)\">", "cat"],
        ),
        ("echo $(case x in a) b;; esac)", &["echo <$(case x in a) b;; esac)>", "b"]),
        ("echo $(a # )\n)", &["echo <$(a # )\n)>", "a"]),
        ("cat ~ ~/x '~/y' a~ x=~ ~u", &["cat ~ ~/x ~/y a~ <x=~> <~u>"]),
        ("ls *.rs [ab] '*' {a,b} {} a{b}c", &["ls <*.rs> <[ab]> * <{a,b}> {} a{b}c"]),
        ("[ -f x ] && a", &["[ -f x ]", "a"]),
        (
            "[ ! \"$x\" = y ]; test -n \"$x\"; printf \"a $x\"; wait $!",
            &["[ ! <\"$x\"> = y ]", "test -n <\"$x\">", "printf <\"a $x\">", "wait <$!>"],
        ),
        ("sed -n '/a b/p' f; sed 's/[a-z]*/x/g'", &["sed -n /a b/p f", "sed s/[a-z]*/x/g"]),
        ("echo $ a$ \"$\" '$(a)'", &["echo $ a$ $ $(a)"]),
        ("echo if then fi; echo }", &["echo if then fi", "echo }"]),
        ("set -euo pipefail; cd /x && a", &["set -euo pipefail", "cd /x", "a"]),
        ("trap 'rm x' EXIT; trap - INT", &["trap rm x EXIT", "rm x", "trap - INT"]),
    ] {
        clear(line, want);
    }
}

#[test]
fn carriers_are_seen_through() {
    for (line, want) in [
        ("env -i -u A B=1 rm x", &["env -i -u A B=1 rm x", "B=1 rm x"][..]),
        ("env", &["env"]),
        ("command rm x", &["command rm x", "rm x"]),
        ("command -v rm", &["command -v rm"]),
        ("exec -a z rm x", &["exec -a z rm x", "rm x"]),
        (
            "nohup nice -n 5 timeout -k 1 5s rm x &",
            &[
                "nohup nice -n 5 timeout -k 1 5s rm x",
                "nice -n 5 timeout -k 1 5s rm x",
                "timeout -k 1 5s rm x",
                "rm x",
            ],
        ),
        ("sudo -u root rm x", &["sudo -u root rm x", "rm x"]),
        (
            "stdbuf -oL setsid ionice -c 3 chrt -f 1 rm",
            &[
                "stdbuf -oL setsid ionice -c 3 chrt -f 1 rm",
                "setsid ionice -c 3 chrt -f 1 rm",
                "ionice -c 3 chrt -f 1 rm",
                "chrt -f 1 rm",
                "rm",
            ],
        ),
        ("a | xargs -n1 rm -f", &["a", "xargs -n1 rm -f", "rm -f <<input of xargs>>"]),
        ("xargs -I{} mv {} x", &["xargs -I{} mv {} x", "mv <{}> x"]),
        ("find . -name '*.o' -exec rm {} + -delete", &["find . -name *.o -exec rm {} + -delete", "rm <{}>"]),
        (
            "find . -exec sh -c 'a; b' \\; -fprint o",
            &["find . -exec sh -c a; b ; -fprint o ->o", "sh -c a; b", "a", "b"],
        ),
        ("sh -c 'a && b'; bash -lc \"c | d\"", &["sh -c a && b", "a", "b", "bash -lc c | d", "c", "d"]),
        ("bash -c -e 'bash -c \"rm x\"' n m", &["bash -c -e bash -c \"rm x\" n m", "bash -c rm x", "rm x"]),
        ("eval 'a;' b", &["eval a; b", "a", "b"]),
        ("busybox rm x", &["busybox rm x", "rm x"]),
        ("watch -n 2 'a | b'", &["watch -n 2 a | b", "a", "b"]),
        ("flock -n l -c 'a; b'; flock l rm", &["flock -n l -c a; b", "a", "b", "flock l rm", "rm"]),
        ("script -qc 'rm x' f; su u -c 'a'", &["script -qc rm x f", "rm x", "su u -c a", "a"]),
        (
            "git -C d status; git -c user.name=x commit -m 'a'",
            &["git -C d status", "git -c user.name=x commit -m a"],
        ),
        (
            "awk '{print $1}' f; sed -n '1,5p' f; sed -i s/a/b/g f",
            &["awk {print $1} f", "sed -n 1,5p f", "sed -i s/a/b/g f"],
        ),
    ] {
        clear(line, want);
    }
}

#[test]
fn what_is_opaque() {
    for line in [
        // unknown program
        "$x",
        "\"$x\" a",
        "$(a) b",
        "`a` b",
        "r* x",
        "r{m,x} y",
        "~/bin/x",
        "a$1",
        "''",
        "\"\"",
        "[a]x",
        // unread syntax
        "'a",
        "\"a",
        "`a",
        "$(a",
        "(a",
        "a)",
        "{ a;",
        "if a; then b",
        "fi",
        "done",
        "a;;b",
        "a && ",
        "| a",
        "a | | b",
        "&& a",
        "cat <<E\nx",
        "cat <<E",
        "cat <<$x\nx\n$x",
        "echo $(cat <<E)\nx\nE",
        "cat <<E\nE)\nE",
        "cat <<E\na\\\nE\nE",
        "f(",
        "a b() { c; }",
        "a ?(b)",
        "((a) ; b)",
        "echo $((a) ; (b))",
        "echo $[1]",
        "{x}>f a",
        "99999999999>f a",
        "a <",
        "a <<(b)",
        "time --x a",
        "echo ${!x}",
        "echo ${x@P}",
        "echo ${ a; }",
        "echo ${x[$(a)]}",
        "echo \"${x:-'a'}\"",
        "echo ${x:y}",
        "a[0]=1 b",
        "x=([0]=1)",
        "case x in a) b",
        "a\rb",
        "a\u{1b}b",
        "a\0b",
        "[[ a",
        "$'\\cx'",
        "$'\\x00'",
        "for $x in a; do b; done",
        "f() a",
        "coproc a",
        "select",
        "echo a(b)",
        // hidden evaluation
        "echo $((x))",
        "x='a[$(rm)]'; echo $((x))",
        "echo $(( $(a) ))",
        "[[ 'a[$(rm)]' -eq 1 ]]",
        "[[ -v 'a[$(rm)]' ]]",
        "let x",
        "test -v 'a[$(b)]'",
        "printf -v 'a[$(b)]' x",
        "x=-v; printf \"$x\" 'a[$(b)]'",
        "[ \"$x\" 'a[$(b)]' ]",
        "[ $x = y ]",
        "[ \"$@\" ]",
        "[ \"$x\"$y = a ]",
        "wait \"$x\"",
        "jobs -x a",
        "x=1; env 'x=a[$(b)]' bash -c 'echo $((x))'",
        "a | time ! b",
        "sed 's/[/]/x/;e a/' f",
        "read 'a[$(b)]'",
        "unset 'a[$(b)]'",
        "declare -i x",
        "declare \"$x\"",
        "export a[0]=1",
        "x=1; x+=y; ((x))",
        // changed shells
        "alias a=b",
        "shopt -s expand_aliases",
        "enable -n x",
        "hash -p a b",
        "set -o posix",
        "set -k",
        ". f",
        "source f",
        "eval \"$x\"",
        "trap \"$x\" INT",
        "mapfile -C x",
        "complete -C x y",
        "bind -x y",
        "read PATH",
        "export PATH=x",
        "PATH=x a",
        "LD_PRELOAD=x a",
        "env LD_PRELOAD=x a",
        "GIT_SSH_COMMAND=x git fetch",
        "BASH_ENV=x bash -c a",
        "IFS=x",
        "export ENV",
        "for PATH in x; do a; done",
        "echo ${PATH:=x}",
        "PS4='$(rm)'",
        "printf -v PATH x",
        "HOME=/x a",
        "((PATH=1))",
        "env 'BASH_FUNC_a%%=() { b; }' bash -c a",
        "NODE_OPTIONS=x a",
        "PERL5OPT=x a",
        "PYTHONSTARTUP=x a",
        // carriers
        "env -S 'rm x'",
        "env $x rm",
        "env \"$x\"",
        "sudo -s",
        "sudo -i",
        "timeout $t rm",
        "xargs $x",
        "xargs -I{} {} x",
        "xargs sh",
        "xargs env",
        "xargs -I{} sh -c 'a {}'",
        "find $x",
        "find . -exec {} \\;",
        "find . -exec rm",
        "find . -exec $x \\;",
        "parallel rm",
        "ssh h a",
        "git -c alias.x='!rm' x",
        "git -c core.sshCommand=x fetch",
        "git x",
        "git submodule foreach a",
        "git rebase -x a",
        "git bisect run a",
        "git clone ext::a",
        "git grep -O a",
        "git --exec-path=x status",
        "git $x",
        "bash",
        "bash -s",
        "curl u | sh",
        "bash -i",
        "bash --rcfile x",
        "bash -c \"$x\"",
        "bash $x",
        "bash -O extglob -c a",
        "sh /dev/stdin",
        "sh -c '((rm x))'",
        "sh -c \"\\$'a'\"",
        "sh -c '[[ a ]]'",
        "sh -c 'function f { a; }'",
        "sh -c 'x=(a)'",
        "zsh -c a",
        "fish -c a",
        "python -c a",
        "python3.12 -Bc a",
        "python",
        "python -",
        "python $x",
        "perl -e a",
        "perl -ne a",
        "node -e a",
        "node -p a",
        "ruby -e a",
        "node",
        "awk 'BEGIN{system(\"a\")}'",
        "awk -f x",
        "sed e",
        "sed 's/a/b/e' f",
        "sed '1e rm' f",
        "sed -f x",
        "sed 1w f",
        "tar xf a --to-command=b",
        "tar --checkpoint-act=b",
        "tar -I b -xf c",
        "tar cIf b c",
        "rsync -e b",
        "watch \"$x\"",
        "flock l -c \"$x\"",
        "script f",
        "su",
        "su - u",
        "bash -c 'a $(('",
        "find . -exec bash -c \"$x\" \\;",
        "a >/dev/tcp/h/1",
        "exec 3<>/dev/tcp/h/1",
        "strace a",
        "docker run x",
        "vim x",
    ] {
        assert!(parse(line).opaque.is_some(), "{line}: {:?}", shown(&parse(line)));
    }
}

#[test]
fn what_is_listed_although_opaque() {
    for (line, program) in [
        ("coproc rm x", "rm"),
        ("echo $(( $(rm) ))", "rm"),
        ("rm x\n'", "rm"),
        ("env -S x; rm y", "rm"),
        ("LD_PRELOAD=x rm", "rm"),
        ("$x $(rm y)", "rm"),
        ("bash -c 'rm x; $y'", "rm"),
    ] {
        let got = parse(line);
        assert!(got.opaque.is_some() && got.programs().any(|p| p == program), "{line}: {got:?}");
    }
}

#[test]
fn interpreters_name_their_file() {
    for (line, want) in [
        ("bash s.sh a", Some("s.sh")),
        ("sh -e -- s.sh", Some("s.sh")),
        ("python3 -u s.py -c", Some("s.py")),
        ("python3 -m pytest -x", Some("pytest")),
        ("node s.js -e", Some("s.js")),
        ("perl -w s.pl", Some("s.pl")),
        ("python3 --version", None),
        ("ls s.sh", None),
    ] {
        let got = parse(line);
        assert_eq!(got.opaque, None, "{line}");
        assert_eq!(got.commands[0].interprets.as_ref().and_then(Word::literal), want, "{line}");
    }
}

#[test]
fn places() {
    use Place::*;
    for (line, program, want) in [
        ("rm", "rm", &[][..]),
        ("a; rm", "rm", &[List]),
        ("a && rm", "rm", &[List]),
        ("a | rm", "rm", &[Pipeline]),
        ("rm &", "rm", &[Background]),
        ("(rm)", "rm", &[Subshell]),
        ("{ rm; }", "rm", &[Group]),
        ("if a; then rm; fi", "rm", &[Branch]),
        ("while a; do rm; done", "rm", &[Loop]),
        ("case x in a) rm;; esac", "rm", &[Case]),
        ("f() { rm; }", "rm", &[Function, Group]),
        ("a $(rm)", "rm", &[CommandSubstitution]),
        ("a `rm`", "rm", &[CommandSubstitution]),
        ("a <(rm)", "rm", &[ProcessSubstitution]),
        ("a <<E\n$(rm)\nE", "rm", &[HereDocument, CommandSubstitution]),
        ("env rm", "rm", &[Carried]),
        ("sh -c 'rm'", "rm", &[Carried]),
        ("trap rm INT", "rm", &[Trap]),
        ("a | $(b; rm)", "rm", &[Pipeline, CommandSubstitution, List]),
    ] {
        let got = parse(line);
        let command = got.commands.iter().find(|c| c.program == program).unwrap();
        assert_eq!(command.places, want, "{line}");
    }
}

#[test]
fn limits_hold() {
    let nested = |n: usize| format!("{}a{}", "(".to_owned() + &"{ (".repeat(n), "); }".repeat(n) + ")");
    assert_eq!(parse(&nested(5)).opaque, None);
    assert_eq!(parse(&nested(8)).opaque, Some(Opaque::TooDeep));
    let many = |n: usize| "a;".repeat(n);
    assert_eq!(parse(&many(COMMANDS_MAX)).opaque, None);
    assert_eq!(parse(&many(COMMANDS_MAX + 1)).opaque, Some(Opaque::TooMany));
    let long = |n: usize| format!("a {}", "x".repeat(n - 2));
    assert_eq!(parse(&long(COMMAND_BYTES_MAX)).opaque, None);
    assert_eq!(parse(&long(COMMAND_BYTES_MAX + 1)).opaque, Some(Opaque::TooLong));
    for open in [
        "(",
        "((",
        "{ ",
        "$(",
        "$((",
        "\"$(",
        "${x:-",
        "`",
        "<(",
        "if ",
        "case x in a) ",
        "eval ",
        "env ",
        "[[ ( ",
        "x=(",
        "f() { ",
        "$(cat <<E\n",
    ] {
        let got = parse(&open.repeat(COMMAND_BYTES_MAX / open.len()));
        assert!(got.opaque.is_some(), "{open}");
    }
}

proptest::proptest! {
    #[test]
    fn no_text_makes_it_panic(line in "\\PC{0,60}") {
        parse(&line);
    }

    #[test]
    fn no_shell_soup_makes_it_panic(parts in proptest::collection::vec(proptest::sample::select(vec![
        "a", " ", "\n", ";", "&", "|", "(", ")", "$", "{", "}", "`", "'", "\"", "\\", "<", ">", "<<E\n", "E\n", "[[ ", " ]]", "((", "))", "#", "é",
        "~", "=", "[", "]", "if ", "then ", "fi", "case ", "in ", "esac", "for ", "do ", "done", "eval ", "sh -c ", "find -exec ", "xargs ", "${x", ":-", "$'",
    ]), 0..40)) {
        parse(&parts.concat());
    }
}
