//! A WebSocket through the way out: as it was where nobody looks, message by message where somebody does.

use crate::client::{Client, empty};
use crate::world::World;
use egress::Way;
use hyper_util::rt::TokioIo;
use std::sync::atomic::Ordering::SeqCst;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first, 0x80 | u8::try_from(payload.len()).unwrap(), 1, 2, 3, 4];
    frame.extend(payload.iter().enumerate().map(|(at, byte)| byte ^ [1, 2, 3, 4][at % 4]));
    frame
}

#[tokio::test]
async fn messages_are_rewritten_both_ways_or_left_alone() {
    for rewrites in [false, true] {
        let world = World::new(Way::Terminate).await;
        world.gate.rewrites.store(rewrites, SeqCst);
        let mut client = Client::secure(&world, "http/1.1").await;
        let request = client
            .request(&world, "/socket")
            .header("connection", "Upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
            .header("sec-websocket-extensions", "permessage-deflate");
        let mut response = client.send(request.body(empty()).unwrap()).await.unwrap();
        assert_eq!(response.status(), 101);
        assert_eq!(response.headers().contains_key("sec-websocket-extensions"), !rewrites);
        let mut io = TokioIo::new(hyper::upgrade::on(&mut response).await.unwrap());
        for (sent, plain, rewritten) in [
            (masked(0x81, b"hi"), "\u{1}\u{2}hi", "\u{1}\u{2}hi"),
            (masked(0x81, b"a placeholder"), "\u{1}\ra placeholder", "\u{1}\u{c}a [REDACTED]"),
            (masked(0x89, b"ping"), "\t\u{4}ping", "\t\u{4}ping"),
            ([masked(0x01, b"can"), masked(0x80, b"ary")].concat(), "", "\u{1}\n[REDACTED]"),
        ] {
            if !rewrites && plain.is_empty() {
                continue;
            }
            io.write_all(&sent).await.unwrap();
            io.flush().await.unwrap();
            let expected = if rewrites { rewritten } else { plain };
            let mut answer = vec![0; expected.len()];
            io.read_exact(&mut answer).await.unwrap();
            assert_eq!(answer[0], expected.as_bytes()[0] | 0x80);
            assert_eq!(std::str::from_utf8(&answer[1..]).unwrap(), &expected[1..]);
        }
        io.write_all(&masked(0x88, b"\x03\xe8")).await.unwrap();
        io.flush().await.unwrap();
        let mut rest = Vec::new();
        io.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest, b"\x88\x02\x03\xe8");
        drop(io);
        let ended = world.gate.ended(1).await;
        assert_eq!((ended[0].status, &ended[0].failure), (Some(101), &None));
    }
}

#[tokio::test]
async fn a_frame_that_nobody_may_send_ends_it() {
    let world = World::new(Way::Terminate).await;
    world.gate.rewrites.store(true, SeqCst);
    let mut client = Client::secure(&world, "http/1.1").await;
    let request =
        client.request(&world, "/socket").header("connection", "upgrade").header("upgrade", "websocket");
    let mut response = client.send(request.body(empty()).unwrap()).await.unwrap();
    let mut io = TokioIo::new(hyper::upgrade::on(&mut response).await.unwrap());
    io.write_all(b"\x81\x02hi").await.unwrap(); // unmasked
    io.flush().await.unwrap();
    let mut rest = Vec::new();
    io.read_to_end(&mut rest).await.ok();
    assert_eq!(rest, b"");
    let ended = world.gate.ended(1).await;
    assert!(ended[0].failure.as_deref().is_some_and(|why| why.contains("masked")), "{ended:?}");
}
