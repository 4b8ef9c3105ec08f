//! A proxy that serves the processes of this user by themselves, and nobody else without the token: what another user or a
//! sandbox sends there goes nowhere.

use crate::client;
use crate::world::World;
use egress::{Clients, Token, Way};
use std::net::SocketAddr;
use tokio::net::{TcpListener, UdpSocket};
use tokio::process::Command;

const TOKEN: &str = "s3cret";

async fn said(line: &str) -> String {
    let output = Command::new("sh").args(["-c", line]).output().await.unwrap();
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

/// A command that gets this far only where the machine lets it.
async fn can(before: &str) -> bool {
    let can = Command::new("sh").args(["-c", &format!("{before} true && command -v curl")]).output().await;
    let can = can.unwrap().status.success();
    if !can {
        eprintln!("skipped: `{before}curl` cannot be run here");
    }
    can
}

#[tokio::test]
async fn processes_of_this_user_need_no_token_and_everybody_else_does() {
    let mut world = World::new(Way::Plain).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    world.proxy = listener.local_addr().unwrap();
    let _running = egress::proxy(listener, &world.exit, Clients::User(Token::new(TOKEN)));
    let (proxy, here) = (world.proxy, world.authority());
    assert!(client::connect(&world, &here, "").await.is_ok(), "this process is of this user");

    let strangers = [
        "setpriv --reuid=64123 --regid=64123 --clear-groups ",
        "unshare --user ",
        "unshare --user --map-root-user ",
        "unshare --user --map-root-user --pid --fork ",
        "unshare --user --map-root-user --mount ",
    ];
    for (before, is_known) in [("", true)].into_iter().chain(strangers.map(|before| (before, false))) {
        if !can(before).await {
            continue;
        }
        for way in ["http://", "socks5h://"] {
            let ask =
                |shown: &str| format!("{before}curl -sS -m 20 -x {way}{shown}{proxy} http://{here}/seen");
            let (silent, wrong, right) =
                (said(&ask("")).await, said(&ask("x:s3creT@")).await, said(&ask("x:s3cret@")).await);
            assert_eq!(silent.contains("GET /seen"), is_known, "{before}over {way}: {silent}");
            if !is_known {
                assert!(!wrong.contains("GET /seen"), "{before}over {way} with a wrong token: {wrong}");
            }
            assert!(right.contains("GET /seen"), "{before}over {way} with the token: {right}");
            assert!(!right.contains(TOKEN), "the token stays here: {right}");
            if !is_known && way == "http://" {
                assert!(silent.contains("this proxy wants its token"), "{silent}");
            }
        }
    }
    let java = format!("curl -sS -m 20 -x http://[::ffff:127.0.0.1]:{} http://{here}/seen", proxy.port());
    if can("").await {
        let answer = said(&java).await;
        assert!(answer.contains("GET /seen"), "a client with IPv6 sockets only: {answer}");
    }
}

#[tokio::test]
async fn nobody_is_known_who_comes_from_elsewhere() {
    let mut world = World::new(Way::Plain).await;
    let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let _running = egress::proxy(listener, &world.exit, Clients::User(Token::new(TOKEN)));
    // Nothing is sent by this: it asks which address would be used.
    let own = UdpSocket::bind("0.0.0.0:0").await.unwrap();
    if own.connect("198.51.100.1:9").await.is_err() {
        return eprintln!("skipped: this machine has no address but loopback");
    }
    for (address, is_known) in [("127.0.0.1".parse().unwrap(), true), (own.local_addr().unwrap().ip(), false)]
    {
        world.proxy = SocketAddr::new(address, port);
        let answer = client::connect(&world, &world.authority(), "").await;
        assert_eq!(answer.is_ok(), is_known, "{address}: {answer:?}");
    }
}
