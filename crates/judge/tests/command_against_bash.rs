//! Runs generated command lines in the real bash with recording stubs, and compares with what the reader listed.
//! Never runs a program other than the stubs: `PATH` holds nothing else and no line names a real one.

#![expect(clippy::unwrap_used, reason = "the bench's own setup must stop the test where it fails")]

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use judge::request::command::{self, Commands};
use proptest::prelude::*;
use proptest::strategy::ValueTree;

const STUBS: &[&str] = &["aa", "bb", "cc", "dd", "ee", "ff"];

struct Bench {
    dir: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let bin = dir.path().join("bin");
        fs::create_dir_all(&bin).unwrap();
        fs::create_dir_all(dir.path().join("cwd")).unwrap();
        // bash may be reached by name (`bash -c …`); env, xargs and others are the real ones.
        for name in
            ["bash", "sh", "env", "nice", "nohup", "timeout", "xargs", "find", "cat", "stdbuf", "setsid"]
        {
            if let Some(real) =
                ["/bin", "/usr/bin"].iter().map(|d| Path::new(d).join(name)).find(|p| p.exists())
            {
                std::os::unix::fs::symlink(real, bin.join(name)).unwrap();
            }
        }
        for name in STUBS {
            let file = bin.join(name);
            // Each run appends its name. Lines run once with stubs that succeed and once with stubs that fail, so that both
            // branches of && and || are taken. A line that clears the environment still finds the default log.
            let log = dir.path().join("log");
            let text = format!(
                "#!/bin/sh\necho {name} >>\"${{LOG:-{}}}\"\necho x\nexit ${{STATUS:-0}}\n",
                log.display()
            );
            fs::write(&file, text).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        }
        Bench { dir }
    }

    /// The stubs that ran.
    fn ran(&self, line: &str, status: u8) -> BTreeSet<String> {
        let common = self.dir.path().join("log");
        let _ = fs::remove_file(&common);
        // One log for each run: a process substitution may outlive its bash.
        let log = tempfile::NamedTempFile::new_in(self.dir.path()).unwrap();
        // On lines of its own, so that it does not change how the line is read.
        let script = format!("FUNCNEST=3\n{line}");
        let output = Command::new("/usr/bin/timeout")
            .args(["-k", "1", "3", "/bin/bash", "-c", &script, "aa", "bb"])
            .env_clear()
            .env("PATH", self.dir.path().join("bin"))
            .env("STATUS", status.to_string())
            .env("LOG", log.path())
            .env("LC_ALL", "C.UTF-8")
            .current_dir(self.dir.path().join("cwd"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            // Read to its end, so that what still runs in the background is waited for.
            .stderr(Stdio::piped())
            .output();
        output.unwrap();
        let text = fs::read_to_string(log.path()).unwrap() + &fs::read_to_string(&common).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// What ran in bash and was not listed, unless the reader said it was opaque.
    fn missed(&self, line: &str) -> Option<(BTreeSet<String>, Commands)> {
        let read = command::parse(line);
        if read.opaque.is_some() {
            return None;
        }
        let listed: BTreeSet<String> = read.programs().map(str::to_owned).collect();
        let mut missed: BTreeSet<String> = self.ran(line, 0);
        missed.extend(self.ran(line, 1));
        missed.retain(|name| !listed.contains(name));
        (!missed.is_empty()).then_some((missed, read))
    }
}

fn cases() -> u32 {
    std::env::var("BASH_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(150)
}

/// Well-formed lines: every construct nested in every other.
fn structured() -> impl Strategy<Value = String> {
    let name = prop::sample::select(STUBS);
    let simple = (
        name,
        prop::sample::select(vec![
            "",
            " x",
            " 'y z'",
            " \"$1\"",
            " ~/x",
            " *.q",
            " {p,q}",
            " >o1",
            " 2>&1",
            " <<<w",
            " $'\\x41'",
            " \\\n x",
            " # c",
        ]),
    )
        .prop_map(|(name, tail)| format!("{name}{tail}\n"));
    simple.prop_recursive(4, 24, 3, |inner| {
        let quote = |text: &str| format!("'{}'", text.replace('\'', "'\\''"));
        (inner.clone(), inner.clone(), inner, 0usize..44).prop_map(move |(a, b, c, shape)| {
            let (x, y) = (a.trim_end_matches('\n'), b.trim_end_matches('\n'));
            match shape {
                0 => format!("{a}{b}{c}"),
                1 => format!("{{ {a}}} && {{ {b}}} || {{ {c}}}\n"),
                2 => format!("( {a}) | ( {b})\n"),
                3 => format!("if {a} then {b} else {c} fi\n"),
                4 => format!("for i in 1 $(\n{a}); do {b} done\n"),
                5 => format!("while {a} do {b} break; done\n"),
                6 => format!("until {a} do {b} break; done\n"),
                7 => format!("case x in y) {a};; x|z) {b};; esac\n"),
                8 => format!("case x in (x) {a};& y) {b};;& *) {c} esac\n"),
                9 => format!("fn() {{ {a}}}\nfn\n"),
                10 => format!("function fn {{ {a}}}; fn | {{ {b}}}\n"),
                11 => format!("aa $({a})\n"),
                12 => format!("aa \"q $({a}) q\" 'q'\n"),
                13 => format!("aa `{}`\n", x.replace('\\', "\\\\").replace('`', "\\`").replace('$', "\\$")),
                14 => format!("aa <( {a}) > >( {b})\n"),
                15 => format!("v=$({a}) bb\n"),
                16 => format!("v=( $({a}) `bb` )\n"),
                17 => format!("aa ${{nope:-$({a})}}\n"),
                18 => format!("aa \"${{nope:-$({a})}}\"\n"),
                19 => format!("aa <<E\nt $({a}) don't\nE\n{b}"),
                20 => format!("aa <<'E'\nt $({a}) don't\nE\n{b}"),
                21 => format!("aa <<-E && bb\n\tt $({a})\n\tE\n{b}"),
                22 => format!("aa \"$(cat <<'E'\ndon't $({a}\nE\n)\"\n{b}"),
                23 => format!("[[ -n $({a}) && $x != y ]] && {{ {b}}}\n"),
                24 => format!("eval {}\n", quote(&a)),
                25 => format!("bash -c {}\n", quote(&a)),
                26 => format!("sh -c {}\n", quote(&a)),
                27 => format!("trap {} EXIT\n{b}", quote(&a)),
                28 => "env -u Q nice -n 1 timeout 2 aa\n".to_owned() + &a,
                29 => format!("xargs -n 1 bb <<<q\n{a}"),
                30 => format!("find . -maxdepth 0 -exec cc {{}} \\; -exec bash -c {} \\;\n", quote(&a)),
                31 => format!("command aa; exec 5>&1; {a}"),
                32 => format!("! {{ {a}}} & wait\n{b}"),
                33 => format!("time {{ {a}}}\n{b}"),
                34 => format!("i=1; ((i += 1)); aa $((i + 2)); {b}"),
                35 => format!("for ((j=0; j<2; j++)); do {a} done\n"),
                36 => format!("{{ {a}}} >o2 <<E\n$({b})\nE\n"),
                37 => format!("{x} # {y}\n{c}"),
                38 => format!("aa \\\n && \\\n{b}"),
                39 => format!("aa '{}'\n{b}", y.replace('\'', "")),
                40 => format!("aa |& {{ {b}}}\n"),
                41 => format!("aa $'a\\'b $({})'\n{b}", x.replace(['\'', '\\'], "")),
                42 => format!("aa $({a} # ) '\n)\n"),
                _ => format!("aa <<E \"$(\n{a})\"\n`bb`\nE\n"),
            }
        })
    })
}

/// Anything: pieces of syntax thrown together.
fn soup() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "aa",
        "bb",
        "cc",
        "dd ",
        " aa ",
        " bb ",
        "aa;",
        "\ncc\n",
        " ",
        " ",
        "\n",
        ";",
        "&",
        "&&",
        "||",
        "|",
        "(",
        ")",
        "$(",
        ")",
        "`",
        "`",
        "'",
        "'",
        "\"",
        "\"",
        "\\",
        "\\\n",
        "{ ",
        "; }",
        "{",
        "}",
        ",",
        "..",
        "<",
        ">o",
        "2>",
        "<<E\n",
        "<<'E'\n",
        "<<-E\n",
        "\nE\n",
        "E",
        "<<<",
        "<(",
        ">(",
        "#",
        " #",
        "$'",
        "$\"",
        "$x",
        "$1",
        "${x:-",
        "${1",
        "$((",
        "))",
        "((",
        "[[ ",
        " ]]",
        " == ",
        " =~ ",
        "if ",
        " then ",
        " else ",
        " fi ",
        "for i in ",
        " do ",
        "; done",
        "case x in ",
        "x) ",
        ";;",
        " esac",
        "fn() ",
        "fn",
        "function ",
        "! ",
        "time ",
        "coproc ",
        "select ",
        "eval ",
        "bash -c ",
        "env ",
        "command ",
        "exec ",
        "trap ",
        " EXIT",
        "x=",
        "x+=",
        "=(",
        "[0]",
        "*",
        "?",
        "@(",
        "~",
        "&>",
        ">&",
        "|&",
        "é",
        "\t",
        "!",
        "-c",
        "\\'",
        "\\\"",
        "\\`",
        "\\$",
        "a",
        "1",
    ]);
    prop::collection::vec(piece, 2..16).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, max_shrink_iters: 400, ..ProptestConfig::default() })]

    #[test]
    fn bash_starts_nothing_unlisted_in_structured_lines(line in structured()) {
        let missed = Bench::new().missed(&line);
        prop_assert!(missed.is_none(), "{line}\n{missed:?}");
    }

    #[test]
    fn bash_starts_nothing_unlisted_in_soup(lines in prop::collection::vec(soup(), 20)) {
        let bench = Bench::new();
        for line in lines {
            let missed = bench.missed(&line);
            prop_assert!(missed.is_none(), "{line:?}\n{missed:?}");
        }
    }
}

/// Lines whose reading bash decides in surprising ways.
#[test]
fn bash_starts_nothing_unlisted_in_known_lines() {
    let bench = Bench::new();
    let mut all = Vec::new();
    for line in [
        "((aa) ; bb)",
        "((aa); (bb))",
        "$((aa); (bb))",
        "echo $((aa); (bb))",
        "( (aa) )",
        "echo \"$(aa \"$(bb '\"')\")\"",
        "echo \"`aa \\\"bb\\\"`\"",
        "echo `aa \\`bb\\``",
        "cat <<E\n`aa`\n$(bb <<F\n$(cc)\nF\n)\nE\n",
        "cat <<E\\\n\n$(aa)\nE\n",
        "cat <<\\E\n$(aa)\nE\nbb",
        "cat <<\"E\"\n$(aa)\nE\nbb",
        "cat <<E\n\\$(aa) \\\\$(bb)\nE\n",
        "cat <<E\n\"$(aa)\" '$(bb)'\nE\n",
        "x=$(cat <<E\nE\naa\n)",
        "echo $(cat <<E)\naa\nE\nbb",
        "{fd}>o aa",
        "2>o aa",
        "2\\\n>o aa",
        "a\\\na",
        "$\\\n(aa)",
        "`\\\naa`",
        "'a'a",
        "\\aa",
        "\"aa\"",
        "$'aa'",
        "$'\\141a'",
        "$'\\x61a'",
        "$\"aa\"",
        "a{a,b}",
        "{aa,bb}",
        "[a]a",
        "x=1 aa",
        "x=1 y=2",
        ">o aa",
        "<<<x aa",
        "! ! aa",
        "time aa",
        "time -p aa",
        "time time aa",
        "time ! aa",
        "! time aa",
        "if aa; then bb; fi",
        "case aa in aa) bb;; esac",
        "case x in (x) aa;; esac",
        "case x in x) aa; esac",
        "case x in\n#c\nx) aa\n;;\nesac",
        "for i in a b; { aa; }",
        "for i do aa; done",
        "select i in a; do aa; done",
        "fn() aa",
        "fn() (aa); fn",
        "fn() if aa; then bb; fi; fn",
        "function fn() { aa; } >o; fn",
        "fn ( ) { aa; }\nfn",
        "coproc aa",
        "coproc x { aa; }",
        "[[ $(aa) ]]",
        "[[ x =~ $(aa) ]]",
        "[[ x =~ (x|$(aa)) ]]",
        "[[ ( x == $(aa) ) ]] && bb",
        "[[ x -eq $(aa) ]]",
        "x='a[$(aa)]'; echo $((x))",
        "x='a[$(aa)]'; ((x++))",
        "x='a[$(aa)]'; [[ $x -eq 1 ]]",
        "[[ -v 'a[$(aa)]' ]]",
        "x='$(aa)'; echo ${x@P}",
        "echo ${!x}",
        "a[$(aa)]=1",
        "a=([$(aa)]=1)",
        "unset 'a[$(aa)]'",
        "printf -v 'a[$(aa)]' x",
        "read 'a[$(aa)]' <<<x",
        "test -v 'a[$(aa)]'",
        "[ -v 'a[$(aa)]' ]",
        "declare 'a[$(aa)]=1'",
        "let 'a[$(aa)]'",
        "declare -n r='a[$(aa)]'; r=1",
        "export 'a[$(aa)]=1'",
        "declare -i x='a[$(aa)]'",
        "mapfile -C aa -c 1 <<<x",
        "x=1; echo ${y:x}",
        "y=abc; x='a[$(aa)]'; echo ${y:x}",
        "y=abc; echo ${y:$(aa)}",
        "shopt -s expand_aliases\nalias q=aa\nq",
        "trap aa EXIT",
        "trap 'aa' DEBUG; :",
        "trap aa ERR; false",
        "PROMPT_COMMAND=aa",
        "PS4='$(aa)'; set -x; :",
        "BASH_ENV=<(echo aa) bash -c :",
        "ENV=x sh -c aa",
        "hash -p bin/aa bb; bb",
        "x=-v; printf \"$x\" 'a[$(aa)]' q",
        "x=-v; [ \"$x\" 'a[$(aa)]' ]",
        "x=1; env 'x=a[$(aa)]' bash -c 'echo $((x))'",
        "x='-pa[$(aa)]'; wait -n \"$x\"",
        "aa | time ! bb",
        "jobs -x aa",
        "x=1; f() { local x='a[$(aa)]'; echo $((x)); }; f",
        "for x in 1 'a[$(aa)]'; do ((x)); done",
        "read x <<<'a[$(aa)]'; ((x))",
        "x=1; ((y = x)); aa",
        "set -- aa; $1",
        "set -- aa; \"$@\"",
        "$0",
        "\"$1\"",
        "eval aa",
        "eval 'aa' \\; 'bb'",
        "eval -- aa",
        "bash -c aa",
        "bash -c -- aa",
        "bash +c aa",
        "bash -ec 'aa; bb'",
        "bash <<<aa",
        "bash -s <<<aa",
        "bash /dev/stdin <<<aa",
        "sh -c '((aa))'",
        "sh -c '[[ aa ]]; ( (bb) )'",
        "sh -c 'aa &>o'",
        "sh -c '$aa'",
        "sh -c \"a\\\\\na\"",
        "env aa",
        "env x=1 aa",
        "env -- aa",
        "env - aa",
        "env -i bash -c :",
        "nice aa",
        "nice -n1 aa",
        "nice -1 aa",
        "timeout 1 aa",
        "timeout -s 9 1 aa",
        "nohup aa",
        "stdbuf -o0 aa",
        "setsid aa",
        "command -p aa",
        "command -- aa",
        "command command aa",
        "builtin command aa",
        "exec aa",
        "exec -a z aa",
        "exec -- aa",
        "(exec -c aa)",
        "xargs aa <<<x",
        "xargs -I% % <<<aa",
        "xargs -I % sh -c % <<<aa",
        "xargs sh -c <<<aa",
        "xargs -n1 env <<<aa",
        "xargs -t -0 aa <<<x",
        "find . -exec aa \\;",
        "find . -exec aa {} +",
        "find . -maxdepth 0 -execdir aa \\;",
        "find . -maxdepth 0 -exec env aa \\;",
        "echo \"${x:-$(aa)}\"",
        "echo \"${x:-'$(aa)'}\"",
        "echo \"${x:-`aa`}\"",
        "echo ${x:-'$(aa)'}",
        "echo \"${x:-\"$(aa)\"}\"",
        "echo ${x:-<(aa)}",
        "echo ${x:=$(aa)}",
        "echo ${x:?$(aa)}",
        "x=1; echo ${x:+$(aa)}",
        "x=1; echo ${x//1/$(aa)}",
        "x=1; echo ${x/#$(aa)/b}",
        "echo ${#x[$(aa)]}",
        "echo $[ $(aa) ]",
        "aa & bb",
        "aa&bb",
        "aa&&bb",
        "aa|bb",
        "aa;bb",
        "aa\nbb",
        "aa &>o; bb",
        "aa &> o bb",
        "aa >&o",
        "aa >& o",
        "#\naa",
        "x#\naa",
        "echo #\naa",
        "echo '\n#'\naa",
        "echo \"\n#\"; aa",
        "echo $(#)\naa)",
        "echo $(: #)\naa\n)",
        "echo `# c\naa`",
        "aa\\ bb; cc",
        "aa \\\\\nbb",
        "echo \\\\\\\naa; bb",
        "{ aa; }; { bb;}",
        "{aa; }",
        "} aa",
        "x=(aa bb)",
        "x=(\naa # )\n)",
        "declare x=(`aa`)",
        "export x=$(aa)",
        "local x=$(aa)",
        "x=~ aa",
        "x=$(aa)$(bb)",
        "x+=$(aa)",
        "aa() { :; }; aa",
        "cat <(aa) >(bb)",
        "cat < <(aa)",
        "cat <<<$(aa)",
        "cat<(aa)",
        "x<(aa)",
        "aa 3< <(bb)",
        "echo a>(aa)",
        "while aa; do break; done",
        "until aa; do break; done",
        "while aa; break; do :; done",
        "echo \u{a0}aa",
        "aa\u{a0}bb",
        "echo !aa",
        "echo @(aa)",
        "shopt -s extglob\necho @(aa|$(bb))",
        "cat <<E; aa\nE\n",
        "cat <<E && cat <<F\n$(aa)\nE\n$(bb)\nF\n",
        "cat <<''\n$(aa)\n\nbb",
        "cat <<E | (\nx\nE\naa)",
        "(cat <<E\nx\nE\n)\naa",
        "x=$(cat <<E\n)\nE\n); aa",
        "x=\"$(cat <<'E'\n)\" '\nE\n)\"; aa",
        "if cat <<E\nx\nE\nthen aa; fi",
        "cat <<E$(aa)\nx\nE$(aa)\n",
        "cat <<$E\n$(aa)\n$E\n",
        "cat <<E \\\n; aa\nE\n",
        "cat <<-E\n\t\t$(aa)\n\t\tE\nbb",
    ] {
        all.extend(bench.missed(line).map(|(missed, read)| format!("{line:?}: {missed:?}\n  {read:?}")));
    }
    assert!(all.is_empty(), "{}", all.join("\n"));
}

/// A second parser as a witness: the plainly named commands it sees are listed too. It is not used outside tests, because
/// it panics on `cat 9999999999>x` and `~99999999999999999999999`, and misses here-documents inside `"$( )"`.
mod witness {
    use brush_parser::{ParserOptions, ast};

    pub(super) fn programs(line: &str) -> Option<Vec<String>> {
        let options = ParserOptions::default();
        let tokens = brush_parser::uncached_tokenize_str(line, &options.tokenizer_options()).ok()?;
        let program = brush_parser::parse_tokens(&tokens, &options).ok()?;
        let mut names = Vec::new();
        program.complete_commands.iter().for_each(|list| of_list(list, &mut names));
        Some(names)
    }

    fn of_list(list: &ast::CompoundList, names: &mut Vec<String>) {
        for ast::CompoundListItem(and_or, _) in &list.0 {
            for (_, pipeline) in and_or {
                pipeline.seq.iter().for_each(|command| of_command(command, names));
            }
        }
    }

    fn of_command(command: &ast::Command, names: &mut Vec<String>) {
        match command {
            ast::Command::Simple(simple) => {
                let plain = |word: &&ast::Word| word.value.bytes().all(|b| b.is_ascii_alphanumeric());
                names.extend(simple.word_or_name.as_ref().filter(plain).map(|word| word.value.clone()));
                let items =
                    simple.prefix.iter().flat_map(|p| &p.0).chain(simple.suffix.iter().flat_map(|s| &s.0));
                for item in items {
                    if let ast::CommandPrefixOrSuffixItem::ProcessSubstitution(_, shell) = item {
                        of_list(&shell.list, names);
                    }
                }
            }
            ast::Command::Compound(compound, _) => of_compound(compound, names),
            ast::Command::Function(function) => of_compound(&function.body.0, names),
            ast::Command::ExtendedTest(..) => {}
        }
    }

    fn of_compound(compound: &ast::CompoundCommand, names: &mut Vec<String>) {
        use ast::CompoundCommand as C;
        match compound {
            C::Arithmetic(_) => {}
            C::ArithmeticForClause(c) => of_list(&c.body.list, names),
            C::BraceGroup(c) => of_list(&c.list, names),
            C::Subshell(c) => of_list(&c.list, names),
            C::ForClause(c) => of_list(&c.body.list, names),
            C::CaseClause(c) => {
                c.cases.iter().filter_map(|case| case.cmd.as_ref()).for_each(|list| of_list(list, names))
            }
            C::IfClause(c) => {
                of_list(&c.condition, names);
                of_list(&c.then, names);
                for other in c.elses.iter().flatten() {
                    other.condition.iter().for_each(|list| of_list(list, names));
                    of_list(&other.body, names);
                }
            }
            C::WhileClause(c) | C::UntilClause(c) => {
                of_list(&c.0, names);
                of_list(&c.1.list, names);
            }
            C::Coprocess(c) => of_command(&c.body, names),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_a_second_parser_sees_is_listed(line in prop_oneof![structured(), soup()]) {
        let read = command::parse(&line);
        // It misreads comments and here-documents in substitutions.
        if !line.contains('#') && !line.contains("<<") && read.opaque.is_none() && let Some(seen) = witness::programs(&line) {
            for name in seen {
                prop_assert!(read.programs().any(|program| program == name), "{line}: {name} not in {read:?}");
            }
        }
    }
}

/// The generator tests something: most structured lines are wholly read.
#[test]
fn most_structured_lines_are_not_opaque() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let lines: Vec<String> =
        (0..400).map(|_| structured().new_tree(&mut runner).unwrap().current()).collect();
    let opaque: Vec<&String> = lines.iter().filter(|line| command::parse(line).opaque.is_some()).collect();
    assert!(
        opaque.len() < 100,
        "{} of 400 are opaque, such as {:?}",
        opaque.len(),
        opaque.iter().take(12).map(|line| (line, command::parse(line).opaque)).collect::<Vec<_>>()
    );
}

/// The comparison can fail: an unlisted stub is noticed.
#[test]
fn the_comparison_notices() {
    let bench = Bench::new();
    assert_eq!(bench.ran("aa && bb || cc", 0), BTreeSet::from(["aa".to_owned(), "bb".to_owned()]));
    assert_eq!(bench.ran("aa && bb || cc", 1), BTreeSet::from(["aa".to_owned(), "cc".to_owned()]));
    // A program reached through a listed one that no reader of text can see.
    fs::write(bench.dir.path().join("cwd/script"), "dd").unwrap();
    let (missed, _) = bench.missed("bash script").unwrap();
    assert_eq!(missed, BTreeSet::from(["dd".to_owned()]));
}
