//! The proxy for programs that are in no sandbox of the gate's: what it gives whom, judged and recorded like everything that
//! leaves, and what those get who may not use it.

use crate::common::{Gate, Ran, finish};
use crate::ground::{CANARY, Ground, found_in, spellings};
use serde_json::Value;
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;

const POLICY: &str = r#"
@id("out") permit (principal, action in [Action::"egress/read", Action::"egress/connect"], resource)
  when { context.args.from == "proxy" };
"#;

/// A project with a proxy for `clients`, and its gate.
fn open(ground: &Ground, clients: &str) -> Gate {
    let folder = ground.project().join(".bailiwick");
    if !folder.join("tools.lock").exists() {
        std::fs::remove_file(folder.join("bailiwick.toml")).unwrap();
        let init = ground.run(&["init", "--yes", "--no-claude-code"], b"");
        assert_eq!(init.code, 0, "{init:?}");
        std::fs::remove_dir_all(folder.join("policy")).unwrap();
        std::fs::create_dir(folder.join("policy")).unwrap();
        std::fs::write(folder.join("policy/test.cedar"), POLICY).unwrap();
    }
    let (port, plain) = (ground.upstream.port, ground.upstream.plain);
    let place =
        |to: &str| format!("{{ to = \"{to}\", private = [\"127.0.0.0/8\"], address = \"127.0.0.1\" }}");
    ground.configure(&format!(
        "[filter]\nsecrets = \"off\"\n[gate]\nclaude_code = false\nauthorities = [{:?}]\n\
         [secret.github]\n[[secret.github.use]]\nhost = \"api.example.test:{port}\"\npaths = [\"/repos/*\"]\n\
         [proxy]\nlisten = \"127.0.0.1:0\"\nclients = \"{clients}\"\nenv = {{ TOKEN = \"${{secret:github}}\" }}\n\
         network = [{}, {}]\n",
        ground.path("authority.pem"),
        place(&format!("https://api.example.test:{port}")),
        place(&format!("http://plain.example.test:{plain}")),
    ));
    ground.give();
    Gate::start_at(&ground.path("logs"), ground.bailiwick())
}

fn told(ground: &Ground) -> Value {
    let ran = ground.run(&["proxy", "--json"], b"");
    serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {ran:?}"))
}

/// A script of an ordinary shell of this host, after what `bailiwick proxy` says.
fn shell(ground: &Ground, script: &str) -> Ran {
    let said = ground.run(&["proxy"], b"");
    assert_eq!(said.code, 0, "{said:?}");
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("{}\n{script}", said.out)]).env_clear();
    shell.env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("HOME", ground.home());
    shell.env("PORT", ground.upstream.port.to_string()).env("PLAIN", ground.upstream.plain.to_string());
    shell.current_dir(ground.project());
    finish(&mut shell, b"")
}

#[test]
fn programs_of_this_host_leave_through_it_and_hold_no_secret() {
    let ground = Ground::new();
    let gate = open(&ground, "token");
    let at = "https://api.example.test:$PORT";
    let bearer = "-H \"Authorization: Bearer $TOKEN\"";
    let reached = shell(&ground, &format!("curl -sS {bearer} {at}/repos/echo/body | tee answer; env"));
    assert!(reached.code == 0 && reached.out.contains("echo ghp_"), "{reached:?}\n{}", gate.log());
    let received = ground.upstream.received();
    assert_eq!(received[0].header("authorization"), format!("Bearer {CANARY}"), "{received:?}");
    assert_eq!(received[0].header("proxy-authorization"), "", "{received:?}");
    for (name, script) in [
        ("curl over SOCKS", format!("curl -sS -x ${{HTTPS_PROXY/http:/socks5h:}} {at}/by/socks")),
        (
            "Python",
            format!("python3 -c 'import urllib.request as u; print(u.urlopen(\"{at}/by/urllib\").read())'"),
        ),
        ("plain http", "curl -sS http://plain.example.test:$PLAIN/by/plain".to_owned()),
    ] {
        let script =
            script.replace("${HTTPS_PROXY/http:/socks5h:}", "$(echo $HTTPS_PROXY | sed s/http:/socks5h:/)");
        let script = if name == "Python" {
            script.replace("$PORT", &ground.upstream.port.to_string())
        } else {
            script
        };
        let ran = shell(&ground, &script);
        assert!(ran.out.contains("reached"), "{name}: {ran:?}\n{}", gate.log());
    }

    let knocks = ground.upstream.knocks();
    for (script, says) in [
        ("curl -sS -v https://other.example.test:$PORT/".to_owned(), "403"),
        ("curl -sS http://other.example.test:$PLAIN/".to_owned(), "bailiwick: other.example.test"),
        ("curl -sS http://127.0.0.1:$PLAIN/".to_owned(), "an IP address was given"),
        ("curl -sS http://0x7f.1:$PLAIN/".to_owned(), "an IP address was given"),
        (
            "curl -sS -x $(echo $HTTP_PROXY | sed 's/:[0-9a-f]*@/:wrong@/') http://plain.example.test:$PLAIN/".to_owned(),
            "this proxy wants its token",
        ),
        (format!("curl -sS {bearer} http://plain.example.test:$PLAIN/repos/one"), "bailiwick: "),
        (format!("curl -sS {bearer} {at}/elsewhere"), "bailiwick: "),
        (format!("curl -sS -X POST {at}/repos/one"), "bailiwick: "),
        (format!("curl -sS -H 'Host: other.example.test' {at}/"), "bailiwick: "),
    ] {
        let ran = shell(&ground, &script);
        assert!(format!("{}{}", ran.out, ran.err).contains(says), "{script}: {ran:?}");
    }
    assert_eq!(ground.upstream.received().iter().filter(|one| one.holds(CANARY)).count(), 1);
    assert_eq!(ground.upstream.knocks(), knocks, "nothing of it arrived");
    let token = told(&ground)["environment"]["HTTP_PROXY"].as_str().unwrap().to_owned();
    let token = token.split([':', '@']).nth(2).unwrap().to_owned();
    assert_eq!(token.len(), 64);
    let doctor = ground.run(&["doctor"], b"");
    assert!(doctor.out.contains("for who shows the token"), "{doctor:?}");
    assert!(!doctor.out.contains(&token) && !gate.log().contains(&token));

    let address = told(&ground)["address"].as_str().unwrap().to_owned();
    assert!(TcpStream::connect(&address).is_ok());
    gate.kill9();
    assert!(TcpStream::connect(&address).is_err(), "the proxy ends with the gate");
    let journal = ground.journal();
    let text = format!("{journal:?}");
    for words in
        ["api.example.test", "\"proxy\"", "egress/read", "secret-misuse", "the proxy was not shown its token"]
    {
        assert!(text.contains(words), "{words}: {text:.3000}");
    }
    assert!(!text.contains(&token));
    let known = spellings(CANARY);
    let needles: Vec<&str> = known.iter().map(String::as_str).chain([token.as_str()]).collect();
    let whole = ground.project().parent().unwrap().to_owned();
    assert_eq!(found_in(&whole, &needles), Vec::<PathBuf>::new(), "the value or the token is in a file");

    let _again = open(&ground, "token");
    assert_ne!(
        told(&ground)["environment"]["HTTP_PROXY"].as_str().unwrap().split([':', '@']).nth(2),
        Some(&*token)
    );
}

#[test]
fn a_client_that_can_be_told_a_port_only_is_known_by_the_kernels_word() {
    let ground = Ground::new();
    let _gate = open(&ground, "user");
    let address = told(&ground)["address"].as_str().unwrap().to_owned();
    let ask = format!(
        "curl -sS -m 20 -x http://{address} http://plain.example.test:{}/by/port",
        ground.upstream.plain
    );
    let plain = |before: &str| finish(Command::new("sh").args(["-c", &format!("{before} {ask}")]), b"");
    let known = plain("");
    assert!(known.out.contains("reached"), "{known:?}");

    let knocks = ground.upstream.knocks();
    for before in ["setpriv --reuid=64123 --regid=64123 --clear-groups", "unshare --user --map-root-user"] {
        if !Command::new("sh").args(["-c", &format!("{before} true")]).status().unwrap().success() {
            println!("skipped: {before}");
            continue;
        }
        let stranger = plain(before);
        assert!(stranger.out.contains("this proxy wants its token"), "{before}: {stranger:?}");
    }
    // Behind the wall, but in this host's network.
    let words: Vec<&str> = ask.split(' ').collect();
    let inside = ground.run(&[&["sandbox", "--network", "host", "--"], &words[..]].concat(), b"");
    assert!(inside.out.contains("this proxy wants its token"), "{inside:?}");
    // And behind it with a network of its own there is no such port.
    let captured = finish(&mut ground.sandbox(&ground.api(), &words), b"");
    assert!(captured.code != 0 && !captured.out.contains("reached"), "{captured:?}");
    assert_eq!(ground.upstream.knocks(), knocks, "something arrived");
}

#[test]
fn a_proxy_that_could_not_hold_is_not_opened() {
    let ground = Ground::new();
    drop(open(&ground, "user"));
    let config = std::fs::read_to_string(ground.project().join(".bailiwick/bailiwick.toml")).unwrap();
    for (from, to, says) in [
        ("127.0.0.1:0", "0.0.0.0:0", "other machines"),
        ("${secret:github}", "${secret:gone}", "gone"),
        ("[secret.github]\n", "[secret.github]\nexpose = \"process\"\n", "exposed to processes"),
        ("network = [", "network = [\"127.0.0.1\", ", "`network`"),
    ] {
        assert!(config.contains(from));
        ground.configure(&config.replace(from, to));
        let ran = ground.run(&["serve", "--listen", "127.0.0.1:0", "--json"], b"");
        assert!(ran.code != 0 && ran.err.contains(says) && !ran.err.contains(CANARY), "{to}: {ran:?}");
    }
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    ground.configure(&config.replace("127.0.0.1:0", &taken));
    let settings = ground.run(&["hook", "settings"], b"");
    let port = taken.rsplit(':').next().unwrap();
    let settings: Value = serde_json::from_str(&settings.out).unwrap();
    for name in ["httpProxyPort", "socksProxyPort"] {
        assert_eq!(settings["sandbox"]["network"][name].to_string(), port, "{settings}");
    }
    ground.configure(&config);
    let settings = ground.run(&["hook", "settings"], b"");
    assert!(!settings.out.contains("ProxyPort"), "a port that changes is told nobody: {settings:?}");
}
