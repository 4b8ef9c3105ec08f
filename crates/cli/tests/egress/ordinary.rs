//! The gate of an ordinary user, who has no power but their own: the network and the secrets of what it confines work, and
//! other programs of the same user cannot look into it.

use crate::common::finish;
use crate::ground::{CANARY, Ground};
use crate::killed::left;
use crate::served::{Served, set_up};
use std::process::Command;

#[test]
fn an_ordinary_users_gate_gives_a_network_and_keeps_the_secret() {
    let Some(ground) = Ground::ordinary() else {
        println!("skipped: setpriv, which makes somebody ordinary, is not here");
        return;
    };
    set_up(&ground);
    let mut served = Served::start(&ground);
    let at = "https://api.example.test:$PORT";
    let bearer = "-H \"Authorization: Bearer $TOKEN\"";
    let said = served.script(&format!("id -u; curl -sS {bearer} {at}/repos/echo/body; curl -sS -m 5 {at}1/"));
    assert!(said.contains("echo ghp_") && !said.contains(CANARY), "{said}\n{}", served.gate.log());
    let by_server = ground.upstream.received();
    assert_eq!(by_server[0].header("authorization"), format!("Bearer {CANARY}"), "{by_server:?}");

    let gate = left(&ground).into_iter().find(|line| line.contains(" serve ")).expect("the gate is found");
    let gate = gate.split(':').next().unwrap().to_owned();
    let look = format!("head -c 1 /proc/{gate}/environ; head -c 1 /proc/{gate}/mem; ls /proc/{gate}/fd");
    let mut another = Command::new("sh");
    if let Some(owner) = ground.owner() {
        another = Command::new("setpriv");
        another.args([&format!("--reuid={owner}"), &format!("--regid={owner}"), "--clear-groups", "sh"]);
    }
    let looked = finish(another.args(["-c", &look]), b"");
    assert!(looked.out.is_empty() && looked.err.matches("ermission denied").count() == 3, "{looked:?}");

    let ran = ground.with_token(&ground.api(), &format!("curl -sS {bearer} {at}/repos/echo/body"));
    assert!(ran.out.contains("echo ghp_") && !ran.out.contains(CANARY), "{ran:?}");
    let other = ground.with_token(&ground.api(), "curl -sS https://other.example.test:$PORT/repos/other");
    assert!(other.code != 0 && !ground.upstream.heard("/repos/other"), "{other:?}");
}
