//! What the gate does not decide on, it does not touch; and what could be read two ways, it does not hand on.
//! The server here is a few lines of shell that write down every byte they read.

use std::io::Write;
use std::process::{Command, Stdio};

/// A server of a few lines: it writes down what it reads and answers with odd but legal JSON.
const SERVER: &str = r#"
while IFS= read -r line; do
  printf '%s\n' "$line" >> "$SEEN"
  id=$(printf '%s' "$line" | sed -n 's/.*"id":\([0-9]*\).*/\1/p')
  case "$line" in
    *'"method":"initialize"'*) printf '{"jsonrpc":"2.0","id":%s,"result":{"protocolVersion":"2025-11-25","capabilities":{"tools":{},"experimental":{"x":[1,2.50]}},"serverInfo":{"name":"t","version":"1"},"vendor":1e1}}\n' "$id" ;;
    *'"method":"tools/list"'*) printf '{"jsonrpc":"2.0","id":%s,"result":{"tools":[{"name":"get_x","inputSchema":{"type":"object","properties":{"q":{"type":"string"}}},"vendor":{"a":1.50}},{"name":"no schema"}],"vendor":0.10}}\n' "$id" ;;
    *'"method":"tools/call"'*) printf '{"jsonrpc":"2.0","id":%s,"result":{"content":[{"type":"hologram","data":"\\u00e9","n":1.50e2}],"structuredContent":{"z":1,"a":[1, 2]},"vendor":null},"vendorEnvelope":7.0}\n' "$id" ;;
    *'"method":"vendor/twice"'*) printf '{"jsonrpc":"2.0","id":%s,"result":{"resultType":"complete","resultType":"input_required"}}\n' "$id" ;;
    *'"method":"vendor/fails"'*) printf '{"jsonrpc":"2.0","id":%s,"error":{"code":-5,"message":"m","data":{"x":1.50},"vendor":true}}\n' "$id" ;;
    *'"id":'*) printf '{"jsonrpc":"2.0","id":%s,"result":{"odd":[1,  2.0]}}\n' "$id" ;;
  esac
done
"#;

/// What the client heard and what the server saw after the client said these lines to a gate that permits everything.
fn exchange(said: &[&str]) -> (String, String) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let at = |name: &str| folder.path().join(name);
    std::fs::create_dir(at("project")).expect("a project folder");
    let script = format!("SEEN='{}'\n{SERVER}", at("seen").display());
    std::fs::write(at("server.sh"), script).expect("the server is written");
    let bailiwick = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bailiwick"));
        command.args(args).current_dir(at("project")).env("BAILIWICK_STATE", at("state"));
        command
    };
    std::fs::write(at("seen"), "").expect("an empty file");
    let seen = at("seen").display().to_string();
    let server = format!("t=sh {}", at("server.sh").display());
    let init = bailiwick(&["init", "--yes", "--no-claude-code", "--write", &seen, "--server", &server])
        .output()
        .expect("it runs");
    assert!(init.status.success(), "{}", String::from_utf8_lossy(&init.stderr));
    std::fs::write(at("project/.bailiwick/policy/99-all.cedar"), "permit (principal, action, resource);")
        .expect("the policy is written");
    let config = at("project/.bailiwick/bailiwick.toml");
    let text = std::fs::read_to_string(&config).expect("a configuration");
    std::fs::write(config, text + "\n[marks]\nmode = \"off\"\n").expect("results are shown as they came");
    std::fs::write(at("seen"), "").expect("what the survey said is forgotten");
    let mut gate = bailiwick(&["serve", "--json", "--listen", "127.0.0.1:0"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("the gate starts");
    let mut ready = String::new();
    let mut out = std::io::BufReader::new(gate.stdout.take().expect("its output is a pipe"));
    std::io::BufRead::read_line(&mut out, &mut ready).expect("the gate says that it is ready");
    let mut client = bailiwick(&["mcp", "t"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the client starts");
    let mut input = client.stdin.take().expect("its input is a pipe");
    input.write_all(format!("{HELLO}\n{}\n", said.join("\n")).as_bytes()).expect("the client reads");
    drop(input);
    let heard = client.wait_with_output().expect("the client ends");
    gate.kill().expect("the gate is ours");
    gate.wait().expect("the gate ends");
    let seen = std::fs::read_to_string(at("seen")).expect("what the server saw");
    (String::from_utf8(heard.stdout).expect("answers are UTF-8"), seen)
}

const HELLO: &str = r#"{"jsonrpc":"2.0","id":"a","method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"c","version":"1"}}}
{"jsonrpc":"2.0","method":"notifications/initialized"}"#;

#[test]
fn what_is_not_decided_on_keeps_its_bytes() {
    let said = [
        r#"{"jsonrpc":"2.0","id":2,"method":"tools/list"}"#,
        r#"{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"get_x","arguments":{"q":"\u00e9 \/"},"extra":{"k":1.0}},"envelope":[1,  2]}"#,
        r#"{"jsonrpc":"2.0","id":"4","method":"vendor/thing","params":{"a":1.50,"b":[1,  2]}}"#,
        r#"{"jsonrpc":"2.0","id":5,"method":"vendor/fails"}"#,
    ];
    let (heard, seen) = exchange(&said);
    for whole in [
        r#"{"jsonrpc":"2.0","id":"a","result":{"protocolVersion":"2025-11-25","capabilities":{"tools":{},"experimental":{"x":[1,2.50]}},"serverInfo":{"name":"t","version":"1"},"vendor":1e1}}"#,
        r#"{"jsonrpc":"2.0","id":2,"result":{"tools":[{"name":"get_x","inputSchema":{"type":"object","properties":{"q":{"type":"string"}}},"vendor":{"a":1.50}}],"vendor":0.10}}"#,
        r#"{"jsonrpc":"2.0","id":3,"result":{"content":[{"type":"hologram","data":"\u00e9","n":1.50e2}],"structuredContent":{"z":1,"a":[1, 2]},"vendor":null},"vendorEnvelope":7.0}"#,
        r#"{"jsonrpc":"2.0","id":"4","result":{"odd":[1,  2.0]}}"#,
        r#"{"jsonrpc":"2.0","id":5,"error":{"code":-5,"message":"m","data":{"x":1.50},"vendor":true}}"#,
    ] {
        assert!(heard.lines().any(|line| line == whole), "the client did not hear\n{whole}\nbut\n{heard}");
    }
    for part in [
        r#""method":"tools/call","params":{"name":"get_x","arguments":{"q":"\u00e9 \/"},"extra":{"k":1.0}},"envelope":[1,  2]}"#,
        r#""method":"vendor/thing","params":{"a":1.50,"b":[1,  2]}}"#,
    ] {
        assert!(seen.lines().any(|line| line.ends_with(part)), "the server did not see\n{part}\nbut\n{seen}");
    }
}

#[test]
fn an_answer_that_two_readers_read_differently_is_withheld() {
    let (heard, _) = exchange(&[
        r#"{"jsonrpc":"2.0","id":2,"method":"vendor/twice"}"#,
        r#"{"jsonrpc":"2.0","id":3,"method":"vendor/thing"}"#,
    ]);
    assert!(!heard.contains("resultType"), "{heard}");
    assert!(heard.lines().any(|line| line.contains(r#""id":2,"error""#)), "{heard}");
    assert!(heard.lines().any(|line| line.contains(r#""id":3,"result""#)), "{heard}");
}

/// A notification the gate does not know, progress of the client among them, is decided on as `mcp:other` and so has no
/// place here.
#[test]
fn nothing_of_the_clients_goes_out_with_what_nobody_decides_on() {
    let (heard, seen) = exchange(&[
        r#"{"jsonrpc":"2.0","id":2,"method":"tools/list","params":{"extra":"SECRET","_meta":{"x":"SECRET"}}}"#,
        r#"{"jsonrpc":"2.0","id":3,"method":"tools/list","params":{"cursor":"SECRET"}}"#,
        r#"{"jsonrpc":"2.0","method":"notifications/roots/list_changed","params":{"x":"SECRET"}}"#,
    ]);
    assert!(heard.lines().any(|line| line.contains(r#""id":2,"result""#)), "{heard}");
    assert!(heard.lines().any(|line| line.contains(r#""id":3,"error""#)), "{heard}");
    assert!(!seen.contains("SECRET"), "{seen}");
}
