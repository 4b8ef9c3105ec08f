//! What is granted goes through, over each protocol and unharmed, and the authority sees each request of it.

use crate::client::{Client, connect, empty, full, tls, trusting};
use crate::upstream::saying;
use crate::world::{CANARY, NAME, WANTED_BYTES_MAX, World, name};
use egress::{Route, Way};
use http_body_util::BodyExt;
use std::sync::atomic::Ordering::SeqCst;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

#[tokio::test]
async fn requests_go_through_in_the_clients_protocol() {
    for (protocol, version) in [("http/1.1", "HTTP/1.1"), ("h2", "HTTP/2.0")] {
        let world = World::new(Way::Terminate).await;
        let mut client = Client::secure(&world, protocol).await;
        for path in ["/one?q=1", "/two"] {
            let (status, headers, body) = client.get(&world, path).await;
            assert_eq!(status, 200, "{body}");
            assert!(body.starts_with(version) && body.contains(path), "{body}");
            assert!(!headers.contains_key("x-bailiwick"));
        }
        assert_eq!(
            world.gate.admissions(),
            [format!("GET {NAME}/one?q=1 Some(0)"), format!("GET {NAME}/two Some(0)")]
        );
        assert_eq!(world.upstream.connections(), 1, "the connection is kept");
        let ended = world.gate.ended(2).await;
        assert!(ended.iter().all(|ended| ended.status == Some(200) && ended.failure.is_none()), "{ended:?}");
        assert_eq!(ended[0].address, Some("127.0.0.1".parse().unwrap()));
        assert!(world.gate.refusals().is_empty());
    }
}

#[tokio::test]
async fn a_credential_is_put_in_and_hop_by_hop_fields_are_not() {
    let world = World::new(Way::Terminate).await;
    let mut client = Client::secure(&world, "http/1.1").await;
    let request = client
        .request(&world, "/")
        .header("authorization", "placeholder")
        .header("connection", "x-private, keep-alive")
        .header("x-private", "1")
        .header("proxy-authorization", "Basic eA==")
        .header("te", "trailers");
    let response = client.send(request.body(empty()).unwrap()).await.unwrap();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let body = std::str::from_utf8(&body).unwrap();
    assert!(body.contains("authorization: canary\n") && body.contains("te: trailers\n"), "{body}");
    assert!(!body.contains("x-private") && !body.contains("proxy-authorization"), "{body}");
    assert_eq!(body.matches("host: ").count(), 1, "{body}");
}

#[tokio::test]
async fn answers_are_ours_only_where_they_say_so() {
    let world = World::new(Way::Terminate).await;
    for protocol in ["http/1.1", "h2"] {
        let mut client = Client::secure(&world, protocol).await;
        let (_, headers, body) = client.get(&world, "/spoof").await;
        assert!(
            body == "not us" && !headers.contains_key("x-bailiwick") && !headers.contains_key("keep-alive")
        );
        for (path, status, mark, text) in [
            ("/forbidden", 403, "denied", "bailiwick: this path is not granted\n"),
            ("/poison", 403, "denied", "bailiwick: the answer is poisoned\n"),
        ] {
            let (answered, headers, body) = client.get(&world, path).await;
            assert_eq!((answered, headers["x-bailiwick"].to_str().unwrap(), &*body), (status, mark, text));
        }
        let (status, headers, _) = client.get(&world, "/redirect").await;
        assert_eq!((status, headers["location"].to_str().unwrap()), (302, "https://elsewhere.example/"));
    }
}

#[tokio::test]
async fn trailers_go_both_ways() {
    for protocol in ["http/1.1", "h2"] {
        let world = World::new(Way::Terminate).await;
        let mut client = Client::secure(&world, protocol).await;
        let mut trailers = http::HeaderMap::new();
        trailers.insert("x-sent", "sent".parse().unwrap());
        let body = full("hello").with_trailers(std::future::ready(Some(Ok(trailers)))).boxed_unsync();
        let mut request = client
            .request(&world, "/trailers")
            .method("POST")
            .header("te", "trailers")
            .header("trailer", "x-sent");
        if protocol == "http/1.1" {
            request = request.header("transfer-encoding", "chunked");
        }
        let response = client.send(request.body(body).unwrap()).await.unwrap();
        let body = response.into_body().collect().await.unwrap();
        let trailers = body.trailers().unwrap();
        for (name, value) in [("grpc-status", "0"), ("x-echo", "sent"), ("x-secret", "[REDACTED]")] {
            assert_eq!(trailers[name], value, "{protocol}");
        }
    }
}

#[tokio::test]
async fn a_trailer_that_must_not_go_out_does_not() {
    for protocol in ["http/1.1", "h2"] {
        for (value, goes_out) in [("sent", true), (CANARY, false)] {
            let world = World::new(Way::Terminate).await;
            let mut client = Client::secure(&world, protocol).await;
            let mut trailers = http::HeaderMap::new();
            trailers.insert("x-sent", value.parse().unwrap());
            let body = full("hello").with_trailers(std::future::ready(Some(Ok(trailers)))).boxed_unsync();
            let mut request = client.request(&world, "/trailers").method("POST").header("te", "trailers");
            if protocol == "http/1.1" {
                request = request.header("transfer-encoding", "chunked").header("trailer", "x-sent");
            }
            let echoed = match client.send(request.body(body).unwrap()).await {
                Ok(response) => response.into_body().collect().await.ok(),
                Err(_) => None,
            };
            let echoed = echoed.and_then(|body| body.trailers()?.get("x-echo").cloned());
            assert_eq!(echoed.is_some_and(|echo| echo == value), goes_out, "{protocol} {value}");
        }
    }
}

#[tokio::test]
async fn a_body_that_the_head_depends_on_is_read_first_and_still_sent() {
    for protocol in ["http/1.1", "h2"] {
        let world = World::new(Way::Terminate).await;
        let mut client = Client::secure(&world, protocol).await;
        let fits = "x".repeat(WANTED_BYTES_MAX);
        for (path, body, want) in [
            ("/any", &*fits, &*format!("x-signed: {fits}\n")),
            ("/sink", &fits, "16"),
            ("/sink", &format!("{fits}x"), "longer than 16 bytes"),
        ] {
            let request = client.request(&world, path).method("POST").header("x-signed", "placeholder");
            let response = client.send(request.body(full(body.to_owned())).unwrap()).await.unwrap();
            let text = response.into_body().collect().await.unwrap().to_bytes();
            let text = String::from_utf8_lossy(&text);
            assert!(text.contains(want), "{protocol} {path}: {text}");
        }
    }
}

#[tokio::test]
async fn a_client_that_waits_for_100_is_told_to_go_on() {
    let world = World::new(Way::Terminate).await;
    let tunnel = connect(&world, &world.authority(), "").await.unwrap();
    let mut stream = tls(trusting(world.ca.certificate_pem(), &["http/1.1"]), NAME, tunnel).await.unwrap();
    let mut ask = async |path: &str| {
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: {}\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n",
            world.authority()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = vec![0; 25];
        stream.read_exact(&mut answer).await.unwrap();
        let answer = String::from_utf8(answer).unwrap();
        if answer == "HTTP/1.1 100 Continue\r\n\r\n" {
            stream.write_all(b"hello").await.unwrap();
            while !String::from_utf8_lossy(&{
                let mut rest = vec![0; 1_000];
                let length = stream.read(&mut rest).await.unwrap();
                rest.truncate(length);
                rest
            })
            .ends_with('5')
            {}
        }
        answer
    };
    assert!(ask("/sink").await.starts_with("HTTP/1.1 100"));
    assert!(ask("/forbidden").await.starts_with("HTTP/1.1 403"), "nothing is asked for that is denied");
}

#[tokio::test]
async fn spliced_tls_is_the_upstreams_own() {
    let world = World::new(Way::Splice).await;
    let tunnel = connect(&world, &world.authority(), "").await.unwrap();
    let stream = tls(trusting(&world.upstream.root_pem, &["h2"]), NAME, tunnel).await.unwrap();
    let mut client = Client::h2(stream).await;
    let (status, _, body) = client.get(&world, "/x").await;
    assert!(status == 200 && body.starts_with("HTTP/2.0"), "{body}");
    drop(client);
    assert_eq!(world.gate.admissions(), [format!("connection {NAME} tls=true")]);
    let ended = world.gate.ended(1).await;
    assert!(ended[0].sent_bytes > 100 && ended[0].received_bytes > 100, "{ended:?}");
}

#[tokio::test]
async fn raw_connections_go_through_and_are_counted() {
    let world = World::new(Way::Terminate).await;
    let port = saying(b"SSH-2.0-server\r\n").await.port();
    world.gate.grant(NAME, port, Way::Raw);
    let mut stream = connect(&world, &format!("{NAME}:{port}"), "").await.unwrap();
    stream.write_all(b"SSH-2.0-client\r\n").await.unwrap();
    let mut all = String::new();
    stream.read_to_string(&mut all).await.unwrap();
    assert_eq!(all, "SSH-2.0-server\r\nSSH-2.0-client\r\n");
    stream.shutdown().await.unwrap();
    let ended = world.gate.ended(1).await;
    assert_eq!((ended[0].sent_bytes, ended[0].received_bytes, &ended[0].failure), (16, 32, &None));
}

#[tokio::test]
async fn the_proxy_forwards_plain_requests_each_by_itself() {
    let world = World::new(Way::Plain).await;
    let stream = TcpStream::connect(world.proxy).await.unwrap();
    let mut client = Client::h1(stream).await;
    for (host, status) in
        [(world.authority(), 200), ("other.example".to_owned(), 403), (world.authority(), 200)]
    {
        let request = http::Request::builder().uri(format!("http://{host}/x")).header("host", &host);
        let response = client.send(request.body(empty()).unwrap()).await.unwrap();
        assert_eq!(response.status(), status, "{host}");
        response.into_body().collect().await.unwrap();
    }
    // And in a tunnel, where a client that knows may speak HTTP/2.
    let tunnel = connect(&world, &world.authority(), "").await.unwrap();
    let mut client = Client::h2(tunnel).await;
    let request = http::Request::builder().uri(format!("http://{}/x", world.authority()));
    let body =
        client.send(request.body(empty()).unwrap()).await.unwrap().into_body().collect().await.unwrap();
    assert!(body.to_bytes().starts_with(b"HTTP/2.0"));
}

#[tokio::test]
async fn one_name_never_uses_the_connections_of_another() {
    let world = World::new(Way::Terminate).await;
    world.gate.grant("other.example", world.upstream.port(), Way::Terminate);
    for (at, host) in [NAME, "other.example", NAME, "other.example"].into_iter().enumerate() {
        let authority = format!("{host}:{}", world.upstream.port());
        let tunnel = connect(&world, &authority, "").await.unwrap();
        let stream = tls(trusting(world.ca.certificate_pem(), &["h2"]), host, tunnel).await.unwrap();
        let request = http::Request::builder().uri(format!("https://{authority}/"));
        let response = Client::h2(stream).await.send(request.body(empty()).unwrap()).await.unwrap();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert!(String::from_utf8_lossy(&body).contains(host), "{body:?}");
        assert_eq!(
            world.upstream.connections(),
            (at + 1).min(2),
            "the upstream's certificate is good for both"
        );
    }
}

#[tokio::test]
async fn a_kept_connection_that_died_is_made_anew() {
    let world = World::new(Way::Terminate).await;
    // An upstream that answers once on each connection and then closes it without a word.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut buffer = [0; 1_000];
            if stream.read(&mut buffer).await.is_err() {
                continue;
            }
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.ok();
        }
    });
    world.gate.grant(NAME, port, Way::Plain);
    let authority = format!("{NAME}:{port}");
    let mut client = Client::h1(connect(&world, &authority, "").await.unwrap()).await;
    for _ in 0..20 {
        let request = http::Request::builder().uri("/").header("host", &authority);
        let response = client.send(request.body(empty()).unwrap()).await.unwrap();
        assert_eq!(response.status(), 200);
        response.into_body().collect().await.unwrap();
    }
}

#[tokio::test]
async fn a_fixed_address_is_dialled_and_a_changed_route_is_heeded() {
    let world = World::with(Way::Terminate, vec![vec![]], None).await;
    let private = vec!["127.0.0.0/8".parse().unwrap()];
    let address = Some("127.0.0.1".parse().unwrap());
    let route = Route { way: Way::Terminate, private, address };
    world.gate.grant_route(NAME, world.upstream.port(), route.clone());
    let mut client = Client::secure(&world, "http/1.1").await;
    assert_eq!(client.get(&world, "/").await.0, 200);
    assert_eq!(world.resolve.asked.load(SeqCst), 0);
    // The same connection, after the address is no longer declared: no kept connection is used.
    world.gate.grant_route(NAME, world.upstream.port(), Route { private: vec![], ..route });
    let (status, headers, body) = client.get(&world, "/").await;
    assert_eq!((status, headers["x-bailiwick"].to_str().unwrap()), (502, "upstream"));
    assert!(body.contains("127.0.0.1, a loopback address"), "{body}");
    world.gate.routes.lock().unwrap().clear();
    let (status, _, body) = client.get(&world, "/").await;
    assert!(status == 403 && body.contains("is not granted"), "{body}");
    assert!(!egress::Authority::knows(&*world.gate, &name(NAME)));
}
