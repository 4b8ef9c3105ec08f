//! Many at a time: as many as there may be are all served, and one more is told so at once.

use crate::client::{Client, connect, empty};
use crate::world::World;
use egress::{Limits, Way};
use futures_util::future::join_all;
use http_body_util::BodyExt;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const CONNECTIONS: usize = 1_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_clients_are_answered_while_all_of_them_wait() {
    egress::raise_open_files().unwrap();
    let world = World::new(Way::Terminate).await;
    for protocol in ["http/1.1", "h2"] {
        let mut clients = Vec::new();
        for _ in 0..CONNECTIONS {
            clients.push(Client::secure(&world, protocol).await);
        }
        let mut bodies = Vec::new();
        for client in &mut clients {
            let request = client.request(&world, "/events").body(empty()).unwrap();
            let mut body = client.send(request).await.unwrap().into_body();
            assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "data: one\n\n");
            bodies.push(body);
        }
        assert_eq!(world.gate.ended.lock().unwrap().len(), 0, "all wait at once");
        let rest = tokio::spawn(join_all(bodies.into_iter().map(BodyExt::collect)));
        while !rest.is_finished() {
            world.upstream.go_on.notify_waiters();
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        for body in rest.await.unwrap() {
            assert_eq!(body.unwrap().to_bytes(), "data: two\n\n");
        }
        let ended = world.gate.ended(CONNECTIONS).await;
        assert!(ended.iter().all(|ended| ended.failure.is_none() && ended.status == Some(200)), "{protocol}");
        world.gate.ended.lock().unwrap().clear();
    }
    assert_eq!(world.gate.refusals(), Vec::<String>::new());
}

#[tokio::test]
async fn a_thousand_connections_at_a_time() {
    egress::raise_open_files().unwrap();
    let world = World::new(Way::Raw).await;
    let mut streams = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut stream = connect(&world, &world.authority(), "").await.unwrap();
        stream.write_all(b"GET /head HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        streams.push(stream);
    }
    for stream in &mut streams {
        let mut answer = [0; 15];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200 OK");
    }
    assert_eq!(world.upstream.connections(), CONNECTIONS);
    assert_eq!(world.gate.ended.lock().unwrap().len(), 0, "all are open at once");
    // And when it ends, everything inside loses the network.
    drop(world.running);
    for mut stream in streams {
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.ok();
    }
    let ended = world.gate.ended(CONNECTIONS).await;
    assert_eq!(ended.len(), CONNECTIONS);
    assert!(ended.iter().all(|ended| ended.failure.as_deref() == Some("it was broken off")));
    assert!(tokio::net::TcpStream::connect(world.proxy).await.is_err(), "and nobody listens");
}

#[tokio::test]
async fn one_more_than_there_may_be_is_refused_and_not_hung() {
    let world = World::limited(Way::Raw, Limits { connections_max: 2, ..Limits::default() }).await;
    let mut open = Vec::new();
    for _ in 0..2 {
        open.push(connect(&world, &world.authority(), "").await.unwrap());
    }
    assert_eq!(world.gate.refusals(), Vec::<String>::new());
    let refused = connect(&world, &world.authority(), "").await.unwrap_err();
    assert!(refused.starts_with("HTTP/1.1 503") && refused.contains("there are 2 connections"), "{refused}");
    let refusals = world.gate.refusals();
    assert!(refusals.len() == 1 && refusals[0].contains("there are 2 connections"), "{refusals:?}");
    // Those that were let in are served, and one that ends makes room.
    let mut first = open.remove(0);
    first.write_all(b"GET /head HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    first.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    drop(first);
    world.gate.ended(1).await;
    while connect(&world, &world.authority(), "").await.is_err() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
