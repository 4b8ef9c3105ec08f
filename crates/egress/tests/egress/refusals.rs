//! What must not go through does not, and everybody is told why: the one inside, and the authority.

use crate::client::{Client, connect, empty, tls, trusting};
use crate::world::{NAME, OTHER, World};
use egress::Way;
use http_body_util::BodyExt;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::Ordering::SeqCst;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

#[tokio::test]
async fn the_sni_is_the_name_or_nothing_is_dialled() {
    for way in [Way::Terminate, Way::Splice] {
        let world = World::new(way).await;
        let pem = if way == Way::Terminate { world.ca.certificate_pem() } else { &world.upstream.root_pem };
        for (sni, goes_through) in
            [(NAME, true), ("UPSTREAM.example", true), (OTHER, false), ("127.0.0.1", false)]
        {
            let connections = world.upstream.connections();
            let tunnel = connect(&world, &world.authority(), "").await.unwrap();
            let stream = tls(trusting(pem, &["http/1.1"]), sni, tunnel).await;
            assert_eq!(stream.is_ok(), goes_through, "{way:?} {sni}");
            let refusals = world.gate.refusals();
            assert_eq!(refusals.is_empty(), goes_through, "{way:?} {sni} {refusals:?}");
            if !goes_through {
                assert_eq!(world.upstream.connections(), connections);
                assert!(stream.unwrap_err().to_string().contains("UnrecognisedName"));
            }
        }
        let tunnel = connect(&world, &world.authority(), "").await.unwrap();
        let mut client = trusting(pem, &["http/1.1"]);
        client.enable_sni = false;
        assert!(tls(client, NAME, tunnel).await.is_err(), "{way:?}");
        assert_eq!(world.gate.refusals(), [format!("the TLS hello to {NAME} names no server")]);
    }
}

#[tokio::test]
async fn a_hidden_hello_goes_no_further() {
    use rustls::client::{EchGreaseConfig, EchMode};
    use rustls::crypto::aws_lc_rs::{default_provider, hpke};
    for (way, goes_through) in [(Way::Terminate, true), (Way::Splice, false)] {
        let world = World::new(way).await;
        let pem = if way == Way::Terminate { world.ca.certificate_pem() } else { &world.upstream.root_pem };
        let suite = hpke::ALL_SUPPORTED_SUITES[0];
        let (public, _) = suite.generate_key_pair().unwrap();
        let mut roots = rustls::RootCertStore::empty();
        let certificate = rustls::pki_types::pem::PemObject::from_pem_slice(pem.as_bytes());
        roots.add(certificate.unwrap()).unwrap();
        let client = rustls::ClientConfig::builder_with_provider(std::sync::Arc::new(default_provider()))
            .with_ech(EchMode::Grease(EchGreaseConfig::new(suite, public)))
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let tunnel = connect(&world, &world.authority(), "").await.unwrap();
        assert_eq!(tls(client, NAME, tunnel).await.is_ok(), goes_through, "{way:?}");
        assert_eq!(world.gate.refusals().iter().any(|why| why.contains("(ECH)")), !goes_through);
    }
}

#[tokio::test]
async fn a_split_hello_is_put_together_and_a_broken_one_is_refused() {
    for way in [Way::Terminate, Way::Splice] {
        let world = World::new(way).await;
        let pem = if way == Way::Terminate { world.ca.certificate_pem() } else { &world.upstream.root_pem };
        let (near, far) = tokio::io::duplex(1);
        let mut tunnel = connect(&world, &world.authority(), "").await.unwrap();
        tokio::spawn(async move {
            let mut far = far;
            tokio::io::copy_bidirectional_with_sizes(&mut far, &mut tunnel, 1, 1_000).await.ok();
        });
        assert!(tls(trusting(pem, &[]), NAME, near).await.is_ok(), "one byte at a time");
        for (hello, why) in [
            (&b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00"[..], "malformed"),
            (b"SSH-2.0-x\r\n", "something other than TLS"),
            (b"GET / HTTP/1.1\r\n\r\n", "something other than TLS"),
        ] {
            let mut tunnel = connect(&world, &world.authority(), "").await.unwrap();
            tunnel.write_all(hello).await.unwrap();
            let mut answer = Vec::new();
            tunnel.read_to_end(&mut answer).await.ok();
            let refusals = world.gate.refusals();
            assert!(refusals.iter().any(|refusal| refusal.contains(why)), "{hello:?} {refusals:?}");
            if hello.starts_with(b"GET") {
                assert!(answer.ends_with(b"use https\n"), "{}", String::from_utf8_lossy(&answer));
                let (head, body) = std::str::from_utf8(&answer).unwrap().split_once("\r\n\r\n").unwrap();
                assert!(head.contains(&format!("content-length: {}", body.len())));
            }
        }
        assert_eq!(world.upstream.connections(), usize::from(way == Way::Splice));
    }
}

#[tokio::test]
async fn every_request_names_the_upstream_of_its_connection() {
    let world = World::new(Way::Terminate).await;
    let here = world.authority();
    let other = format!("{OTHER}:{}", world.upstream.port());
    let heads = [
        ("/".to_owned(), here.clone(), true),
        ("/".to_owned(), other.clone(), false),
        ("/".to_owned(), NAME.to_owned(), false), // without the port that is not the usual one
        (format!("https://{here}/"), here.clone(), true),
        (format!("https://{other}/"), here.clone(), false),
        (format!("http://{here}/"), here.clone(), false),
    ];
    for (target, host, goes_through) in heads {
        let mut client = Client::secure(&world, "http/1.1").await;
        for (target, host, goes_through) in [("/", &here, true), (&*target, &host, goes_through)] {
            let request = http::Request::builder().uri(target).header("host", host);
            let response = client.send(request.body(empty()).unwrap()).await.unwrap();
            assert_eq!(response.status(), if goes_through { 200 } else { 421 }, "{target} {host}");
            response.into_body().collect().await.unwrap();
            assert_eq!(world.gate.refusals().is_empty(), goes_through, "{target} {host}");
        }
    }
    // Later streams of one HTTP/2 connection.
    let mut client = Client::secure(&world, "h2").await;
    for (authority, host, status) in
        [(&here, None, 200), (&other, None, 421), (&here, Some(&other), 421), (&here, Some(&here), 200)]
    {
        let mut request = http::Request::builder().uri(format!("https://{authority}/"));
        if let Some(host) = host {
            request = request.header("host", host);
        }
        let response = client.send(request.body(empty()).unwrap()).await.unwrap();
        assert_eq!(response.status(), status, "{authority} {host:?}");
        assert_eq!(world.gate.refusals().is_empty(), status == 200);
    }
}

#[tokio::test]
async fn what_could_be_read_in_two_ways_is_not_read() {
    let world = World::new(Way::Plain).await;
    let here = world.authority();
    for (head, status) in [
        (format!("GET / HTTP/1.1\r\nHost: {here}\r\n\r\n"), "200"),
        (format!("GET / HTTP/1.1\r\nHost: {here}\r\nHost: {here}\r\n\r\n"), "421"),
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), "421"),
        (format!("GET / HTTP/1.1\r\nHost: {here}\r\nUpgrade: tcp\r\nConnection: upgrade\r\n\r\n"), "403"),
        (format!("GET / HTTP/1.1\r\nHost: {here}\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n"), "200"),
        (format!("CONNECT {here} HTTP/1.1\r\nHost: {here}\r\n\r\n"), "403"),
        (
            format!(
                "POST /sink HTTP/1.1\r\nHost: {here}\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"
            ),
            "400",
        ),
        (
            format!(
                "POST /sink HTTP/1.1\r\nHost: {here}\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
            ),
            // The length goes no further (RFC 9112 §6.3).
            "200",
        ),
        (
            format!(
                "POST /sink HTTP/1.1\r\nHost: {here}\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx"
            ),
            "400",
        ),
    ] {
        let mut tunnel = connect(&world, &here, "").await.unwrap();
        tunnel.write_all(head.as_bytes()).await.unwrap();
        let mut answer = [0; 12];
        tunnel.read_exact(&mut answer).await.unwrap();
        assert_eq!(std::str::from_utf8(&answer).unwrap(), format!("HTTP/1.1 {status}"), "{head}");
    }
}

#[tokio::test]
async fn the_proxy_says_why_it_will_not_connect() {
    let world = World::new(Way::Terminate).await;
    let port = world.upstream.port();
    for (authority, why) in [
        (format!("{OTHER}:{port}"), "other.example:"),
        (format!("{NAME}:1"), "upstream.example:1 is not granted"),
        (format!("127.0.0.1:{port}"), "an IP address was given"),
        (format!("2130706433:{port}"), "an IP address was given"),
        (format!("0x7f000001:{port}"), "an IP address was given"),
        (format!("0177.0.0.1:{port}"), "an IP address was given"),
        (format!("[::ffff:127.0.0.1]:{port}"), "an IP address was given"),
        (format!("169.254.169.254:{port}"), "an IP address was given"),
        (format!("upstream.example%2e:{port}"), "bailiwick"),
        (format!("u@{NAME}:{port}"), "bailiwick"),
    ] {
        let answer = connect(&world, &authority, "").await.unwrap_err();
        let is_ours = answer.contains("x-bailiwick: denied") && answer.contains(why);
        // What is no HTTP at all is answered by the parser.
        assert!(
            is_ours || (why == "bailiwick" && answer.starts_with("HTTP/1.1 400")),
            "{authority}: {answer}"
        );
    }
    for authority in [NAME.to_uppercase(), format!("{NAME}.")] {
        assert!(connect(&world, &format!("{authority}:{port}"), "").await.is_ok(), "{authority}");
    }
    assert_eq!(world.upstream.connections(), 0);
}

#[tokio::test]
async fn the_proxy_wants_its_token() {
    let world = World::with(Way::Terminate, vec![vec![]], Some("s3cret")).await;
    for (fields, is_let_in) in [
        ("", false),
        ("Proxy-Authorization: Bearer s3cret\r\n", true),
        ("Proxy-Authorization: bearer s3cret\r\n", true),
        ("Proxy-Authorization: Bearer s3cre\r\n", false),
        ("Proxy-Authorization: Basic eDpzM2NyZXQ=\r\n", true), // x:s3cret
        ("Proxy-Authorization: Basic czNjcmV0Og==\r\n", false), // s3cret:
        ("Proxy-Authorization: Digest s3cret\r\n", false),
    ] {
        let answer = connect(&world, &world.authority(), fields).await;
        assert_eq!(answer.is_ok(), is_let_in, "{fields}");
        if let Err(answer) = answer {
            assert!(
                answer.starts_with("HTTP/1.1 407") && answer.contains("proxy-authenticate: Basic"),
                "{answer}"
            );
        }
    }
}

#[tokio::test]
async fn socks_says_why_too() {
    let world = World::new(Way::Plain).await;
    let port = world.upstream.port().to_be_bytes();
    let named =
        |name: &str| [&[5, 1, 0, 3, u8::try_from(name.len()).unwrap()][..], name.as_bytes(), &port].concat();
    for (asked, answer) in [
        (named(NAME), 0),
        (named("UPSTREAM.EXAMPLE."), 0),
        (named(OTHER), 2),
        (named("upstream.example\0.evil"), 8),
        (named("127.0.0.1"), 8),
        ([&[5, 1, 0, 1, 127, 0, 0, 1][..], &port].concat(), 8),
        ([&[5, 1, 0, 4][..], &[0; 16], &port].concat(), 8),
        ([&[5, 2, 0, 1, 0, 0, 0, 0][..], &port].concat(), 7),
    ] {
        let mut stream = TcpStream::connect(world.proxy).await.unwrap();
        stream.write_all(&[5, 2, 0, 1]).await.unwrap();
        let mut method = [0; 2];
        stream.read_exact(&mut method).await.unwrap();
        assert_eq!(method, [5, 0]);
        stream.write_all(&asked).await.unwrap();
        let mut reply = [0; 10];
        stream.read_exact(&mut reply).await.unwrap();
        assert_eq!(reply[1], answer, "{asked:?}");
        assert_eq!(world.gate.refusals().is_empty(), answer == 0, "{asked:?}");
        if answer == 0 {
            let mut client = Client::h1(stream).await;
            assert_eq!(client.get(&world, "/").await.0, 200);
        }
    }
}

#[tokio::test]
async fn what_resolves_to_somewhere_private_is_not_dialled() {
    let public: IpAddr = Ipv4Addr::new(93, 184, 216, 34).into();
    for (address, is_declared) in [
        ("127.0.0.1", true),
        ("::ffff:127.0.0.1", true),
        ("169.254.169.254", false),
        ("10.0.0.1", false),
        ("::1", false),
        ("::ffff:10.0.0.1", false),
        ("64:ff9b::7f00:1", false),
        ("0.0.0.0", false),
    ] {
        let address: IpAddr = address.parse().unwrap();
        for answers in [vec![address], vec![public, address]] {
            if is_declared && answers.len() > 1 {
                continue; // the public one would be dialled
            }
            let world = World::with(Way::Terminate, vec![answers], None).await;
            let mut client = Client::secure(&world, "http/1.1").await;
            assert_eq!(
                world.resolve.asked.load(SeqCst),
                0,
                "nothing is resolved before a request is admitted"
            );
            let (status, _, body) = client.get(&world, "/").await;
            assert_eq!(status, if is_declared { 200 } else { 502 }, "{address}: {body}");
            assert!(is_declared || body.contains("resolves to"), "{body}");
            assert_eq!(world.upstream.connections(), usize::from(is_declared));
        }
    }
}

#[tokio::test]
async fn the_address_that_was_checked_is_the_one_that_is_dialled() {
    let local: IpAddr = Ipv4Addr::LOCALHOST.into();
    // A name that rebinds: asked a second time it would lead elsewhere. Nobody asks a second time.
    let world =
        World::with(Way::Raw, vec![vec![local], vec![Ipv4Addr::new(169, 254, 169, 254).into()]], None).await;
    let mut stream = connect(&world, &world.authority(), "").await.unwrap();
    stream.write_all(b"GET / HTTP/1.0\r\nhost: x\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.0 200"), "{answer}");
    assert_eq!(world.resolve.asked.load(SeqCst), 1);
    drop(stream);
    let mut stream = connect(&world, &world.authority(), "").await.unwrap();
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
    assert_eq!(stream.read_to_string(&mut answer).await.unwrap_or(0), 0, "the second answer is checked too");
    let ended = world.gate.ended(2).await;
    assert!(ended[1].failure.as_deref().is_some_and(|why| why.contains("metadata")), "{ended:?}");
}

#[tokio::test]
async fn an_upstream_that_proves_another_name_is_not_spoken_to() {
    let world = World::new(Way::Terminate).await;
    let port = world.upstream.port();
    // A name that the authority may sign and the upstream cannot prove.
    world.gate.grant("sub.upstream.example", port, Way::Terminate);
    let tunnel = connect(&world, &format!("sub.upstream.example:{port}"), "").await.unwrap();
    let stream = tls(trusting(world.ca.certificate_pem(), &["http/1.1"]), "sub.upstream.example", tunnel)
        .await
        .unwrap();
    let request = http::Request::builder().uri("/").header("host", format!("sub.upstream.example:{port}"));
    let response = Client::h1(stream).await.send(request.body(empty()).unwrap()).await.unwrap();
    assert_eq!(response.status(), 502);
    // A name that the authority may not sign.
    world.gate.grant("third.example", port, Way::Terminate);
    let tunnel = connect(&world, &format!("third.example:{port}"), "").await.unwrap();
    assert!(tls(trusting(world.ca.certificate_pem(), &[]), "third.example", tunnel).await.is_err());
}
