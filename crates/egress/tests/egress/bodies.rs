//! Bodies of every size, coding and pace: rewritten where the authority says so, bounded in memory always.

use crate::client::{Client, full};
use crate::world::{CANARY, FORBIDDEN, NAME, REDACTED, World};
use bytes::Bytes;
use egress::Way;
use futures_util::stream;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use std::convert::Infallible;
use std::sync::atomic::Ordering::SeqCst;

#[tokio::test]
async fn a_secret_is_found_however_the_answer_is_coded_and_split() {
    for protocol in ["http/1.1", "h2"] {
        let world = World::new(Way::Terminate).await;
        for rewrites in [false, true] {
            world.gate.rewrites.store(rewrites, SeqCst);
            let mut client = Client::secure(&world, protocol).await;
            for path in ["/gzip", "/br", "/deflate", "/zstd", "/split"] {
                let request =
                    client.request(&world, path).header("accept-encoding", "gzip").body(full("")).unwrap();
                let (head, body) = client.send(request).await.unwrap().into_parts();
                let body = body.collect().await.unwrap().to_bytes();
                let body = String::from_utf8_lossy(&body);
                if rewrites {
                    assert!(body.contains(REDACTED) && !body.contains(CANARY), "{path}");
                    assert!(
                        path == "/split"
                            || body.len() == 100_000 + "the secret is , and then some: [REDACTED]".len()
                    );
                    assert!(
                        !head.headers.contains_key("content-encoding") && !head.headers.contains_key("etag")
                    );
                } else {
                    assert_eq!(head.headers.contains_key("content-encoding"), path != "/split", "{path}");
                    assert!(path != "/split" || body.contains(CANARY), "{path}");
                }
            }
            let (status, headers, body) = client.get(&world, "/unknown-coding").await;
            let expected = if rewrites { (502, true) } else { (200, false) };
            assert_eq!((status, headers.contains_key("x-bailiwick")), expected, "{body}");
            let (_, _, body) = client.get(&world, "/head").await;
            assert_eq!(body.contains("accept-encoding: identity"), rewrites, "{body}");
        }
    }
}

#[tokio::test]
async fn what_is_sent_is_rewritten_too() {
    for protocol in ["http/1.1", "h2"] {
        let world = World::new(Way::Terminate).await;
        world.gate.rewrites.store(true, SeqCst);
        let mut client = Client::secure(&world, protocol).await;
        let request = client.request(&world, "/sink").method("POST").body(full("a placeholder b")).unwrap();
        let body = client.send(request).await.unwrap().into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, "a canary b".len().to_string(), "{protocol}");
        let request =
            client.request(&world, "/echo").method("POST").body(full("x placeholder y canar")).unwrap();
        let body = client.send(request).await.unwrap().into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, format!("x {REDACTED} y canar"), "{protocol}");
    }
}

#[tokio::test]
async fn events_come_when_they_happen() {
    for protocol in ["http/1.1", "h2"] {
        for rewrites in [false, true] {
            let world = World::new(Way::Terminate).await;
            world.gate.rewrites.store(rewrites, SeqCst);
            let mut client = Client::secure(&world, protocol).await;
            let request = client.request(&world, "/events").body(full("")).unwrap();
            let mut body = client.send(request).await.unwrap().into_body();
            // The second event is only sent once the first has arrived.
            let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
            assert_eq!(first, "data: one\n\n");
            world.upstream.go_on.notify_one();
            assert_eq!(body.collect().await.unwrap().to_bytes(), "data: two\n\n");
        }
    }
}

fn peak_kilobytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_does_not_grow_with_bodies() {
    const MEGABYTES: usize = 200;
    for (protocol, rewrites) in [("http/1.1", false), ("h2", false), ("http/1.1", true)] {
        let world = World::new(Way::Terminate).await;
        world.gate.rewrites.store(rewrites, SeqCst);
        let before = peak_kilobytes();
        let mut client = Client::secure(&world, protocol).await;
        let request = client.request(&world, &format!("/big?{MEGABYTES}")).body(full("")).unwrap();
        let mut body = client.send(request).await.unwrap().into_body();
        let mut count = 0;
        while let Some(frame) = body.frame().await {
            count += frame.unwrap().data_ref().map_or(0, Bytes::len);
        }
        assert_eq!(count, MEGABYTES << 20);
        let megabyte = Bytes::from(vec![b'y'; 1 << 20]);
        let frames =
            stream::iter((0..MEGABYTES).map(move |_| Ok::<_, Infallible>(Frame::data(megabyte.clone()))));
        let request =
            client.request(&world, "/sink").method("POST").body(StreamBody::new(frames).boxed_unsync());
        let body = client.send(request.unwrap()).await.unwrap().into_body().collect().await.unwrap();
        assert_eq!(body.to_bytes(), (MEGABYTES << 20).to_string());
        let grown = peak_kilobytes().saturating_sub(before) / 1_024;
        assert!(grown < MEGABYTES / 2, "{protocol} {rewrites}: {grown} MB");
        let ended = world.gate.ended(2).await;
        assert_eq!(
            (ended[0].received_bytes, ended[1].sent_bytes),
            ((MEGABYTES << 20) as u64, (MEGABYTES << 20) as u64)
        );
    }
}

#[tokio::test]
async fn a_spent_budget_ends_the_exchange() {
    for protocol in ["http/1.1", "h2"] {
        let world = World::new(Way::Terminate).await;
        world.gate.budget.store(3 << 20, SeqCst);
        let mut client = Client::secure(&world, protocol).await;
        let request = client.request(&world, "/big?50").body(full("")).unwrap();
        let body = client.send(request).await.unwrap().into_body();
        assert!(body.collect().await.is_err(), "{protocol}");
        let ended = world.gate.ended(1).await;
        assert_eq!(ended[0].failure.as_deref(), Some("the budget is spent"));
        assert!(ended[0].received_bytes < 5 << 20, "{ended:?}");
    }
}

#[tokio::test]
async fn what_is_refused_in_a_body_ends_both_ways_of_it() {
    for protocol in ["http/1.1", "h2"] {
        let world = World::new(Way::Terminate).await;
        world.gate.rewrites.store(true, SeqCst);
        let mut client = Client::secure(&world, protocol).await;
        let (sender, receiver) = tokio::sync::mpsc::channel(1);
        let say =
            async |text: &'static str| sender.send(Frame::data(Bytes::from_static(text.as_bytes()))).await;
        let frames = stream::unfold(receiver, |mut receiver| async move {
            receiver.recv().await.map(|frame| (Ok::<_, Infallible>(frame), receiver))
        });
        let body = StreamBody::new(frames).boxed_unsync();
        let request = client.request(&world, "/echo").method("POST").body(body).unwrap();
        say("harmless ").await.unwrap();
        let response = client.send(request).await.unwrap();
        assert_eq!(response.status(), 200, "the head of the answer has come in already");
        let mut body = response.into_body();
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "harmless ");
        say(FORBIDDEN).await.unwrap();
        // Whether it can still be said depends on how fast the stream is reset.
        say("afterwards").await.ok();
        say("afterwards").await.ok();
        assert!(body.collect().await.is_err(), "{protocol}: the answer is cut, not ended");
        let ended = world.gate.ended(1).await;
        assert_eq!(ended[0].failure.as_deref(), Some("a placeholder where it is not bound"), "{protocol}");
        assert_eq!(String::from_utf8(world.upstream.heard.lock().unwrap().clone()).unwrap(), "harmless ");
        // And the next request of the same client goes its way, on a connection of its own where that one is gone.
        let mut client = Client::secure(&world, protocol).await;
        assert_eq!(client.get(&world, "/head").await.0, 200);
    }
}

#[tokio::test]
async fn what_is_broken_off_has_ended() {
    for protocol in ["http/1.1", "h2"] {
        let world = World::new(Way::Terminate).await;
        let mut client = Client::secure(&world, protocol).await;
        let request = client.request(&world, "/events").body(full("")).unwrap();
        let mut body = client.send(request).await.unwrap().into_body();
        body.frame().await.unwrap().unwrap();
        if protocol == "h2" {
            drop((body, client)); // the client leaves
        } else {
            drop(world.running); // the gate does
        }
        let ended = world.gate.ended(1).await;
        assert_eq!((ended.len(), ended[0].status), (1, Some(200)));
        assert!(ended[0].failure.is_some(), "{ended:?}");
        assert!(!NAME.is_empty());
    }
}
