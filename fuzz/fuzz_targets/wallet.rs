//! Credentials in the head of a request: whatever a program sends, a value goes where it is bound and nowhere else, and a
//! placeholder that is not turned into it stops the request. Byte 1 of the input is the placeholder, byte 2 the value.
#![no_main]

use http::Request;
use libfuzzer_sys::fuzz_target;
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use vault::{
    Binding, Destination, Grant, PathPattern, Place, Secret, SecretName, Source, Store, Unlock, Vault, Wallet,
};

const VALUE: &str = "tok_7fKq93LmWz25RvXy";
const HOST: &str = "api.example";

struct Bench {
    wallet: Wallet,
    runtime: tokio::runtime::Runtime,
    placeholder: String,
}

static BENCH: LazyLock<Bench> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("a folder").keep().join("secrets");
    let name = SecretName::new("token").expect("a name");
    let store = Store::open(&folder, Unlock::KeyFile(Store::key_file(&folder))).expect("a new store");
    store.set(&name, &Secret::copy_of(VALUE.as_bytes()).expect("a short value")).expect("it is written");
    let sources = BTreeMap::from([(name.clone(), Source::Store)]);
    let vault = Vault::new(Some(Arc::new(store)), sources, Duration::from_secs(60)).expect("one source");
    let place = Place::Header { name: http::header::AUTHORIZATION, prefix: "Bearer ".to_owned() };
    let mut binding = Binding::new(HOST, place).expect("a host");
    binding.paths = Some(vec![PathPattern::new("/v1/*").expect("a path")]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let grants = vec![Grant { name: name.clone(), bindings: vec![binding] }];
    let wallet = runtime.block_on(Wallet::new(grants, vault)).expect("a wallet");
    let placeholder = wallet.placeholder(&name).expect("it was granted").to_owned();
    Bench { wallet, runtime, placeholder }
});

fuzz_target!(|bytes: &[u8]| {
    let bench = &*BENCH;
    let text: Vec<u8> = bytes
        .iter()
        .flat_map(|byte| match byte {
            1 => bench.placeholder.as_bytes().to_vec(),
            2 => VALUE.as_bytes().to_vec(),
            byte => vec![*byte],
        })
        .collect();
    let mut lines = text.split(|byte| *byte == b'\n');
    let first = lines.next().unwrap_or_default();
    let mut request = Request::builder().uri(first);
    for line in lines.take(16) {
        if let Some(colon) = line.iter().position(|byte| *byte == b':') {
            request = request.header(&line[..colon], line[colon + 1..].trim_ascii());
        }
    }
    let Ok(request) = request.body(()) else { return };
    // The way out gives it in origin form.
    if !request.uri().path().starts_with('/') || request.uri().authority().is_some() {
        return;
    }
    for (host, port, tls) in
        [(HOST, 443, true), (HOST, 443, false), (HOST, 8443, true), ("evil.example", 443, true)]
    {
        let to = Destination::new(host, port, tls);
        let mut head = request.clone().into_parts().0;
        let before = head.clone();
        let injected = bench.runtime.block_on(bench.wallet.inject(&to, &mut head));
        let Ok(used) = injected else {
            assert_eq!((before.uri, before.headers), (head.uri, head.headers), "nothing was changed");
            continue;
        };
        let fits = (host, port, tls) == (HOST, 443, true) && head.uri.path().starts_with("/v1/");
        assert!(used.secrets().is_empty() || fits, "{to:?} {}", head.uri);
        let bound = format!("Bearer {VALUE}");
        for (name, value) in &head.headers {
            let is_bound =
                fits && name == http::header::AUTHORIZATION && value.as_bytes() == bound.as_bytes();
            assert!(is_bound || !holds(value.as_bytes(), VALUE), "{name}");
            assert!(!holds(value.as_bytes(), &bench.placeholder), "{name}");
        }
        let target = head.uri.to_string();
        assert!(!target.contains(VALUE) && !target.contains(&bench.placeholder), "{target}");
    }
});

fn holds(text: &[u8], value: &str) -> bool {
    text.windows(value.len()).any(|window| window == value.as_bytes())
}
