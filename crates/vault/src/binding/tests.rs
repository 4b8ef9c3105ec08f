//! Hosts, paths and bindings: each that is covered beside the nearest that is not.

use super::*;
use proptest::prelude::*;

#[test]
fn hosts_are_exact_unless_written_otherwise() {
    for (pattern, host, covered) in [
        ("api.example.org", "api.example.org", true),
        ("API.Example.org", "api.example.org", true),
        ("api.example.org", "api.example.org.evil.test", false),
        ("api.example.org", "xapi.example.org", false),
        ("api.example.org", "v2.api.example.org", false),
        ("api.example.org", "example.org", false),
        ("*.example.org", "api.example.org", true),
        ("*.example.org", "v2.api.example.org", true),
        ("*.example.org", "example.org", false),
        ("*.example.org", ".example.org", false),
        ("*.example.org", "evilexample.org", false),
        ("*.example.org", "example.org.evil.test", false),
        ("::1", "::1", true),
    ] {
        assert_eq!(HostPattern::new(pattern).unwrap().covers(host), covered, "{pattern} {host}");
    }
    for bad in [
        "",
        "*",
        "*.",
        "*.org",
        "a.*.org",
        "*a.org",
        "a..org",
        ".a.org",
        "a.org.",
        "a b",
        "a/b",
        "a.org:443",
        "ä.org",
    ] {
        assert!(HostPattern::new(bad).is_err(), "{bad}");
    }
}

#[test]
fn paths_that_could_be_read_in_two_ways_match_nothing() {
    for (raw, normal) in [
        ("/", Some("/")),
        ("/repos/x", Some("/repos/x")),
        ("/repos/x/", Some("/repos/x/")),
        ("/repos/a%20b", Some("/repos/a b")),
        ("/repos/%72", Some("/repos/r")),
        ("/a;v=1/b", Some("/a;v=1/b")),
        ("/..a/.b/...", Some("/..a/.b/...")),
        ("", None),
        ("repos", None),
        ("*", None),
        ("/repos/../admin", None),
        ("/repos/..", None),
        ("/repos/./x", None),
        ("/repos/%2e%2e/admin", None),
        ("/repos/.%2E/admin", None),
        ("/repos//x", None),
        ("//repos", None),
        ("/repos/%2fadmin", None),
        ("/repos%2F..%2Fadmin", None),
        ("/repos/%252e%252e/admin", None),
        ("/repos/..;/admin", None),
        ("/repos/.;x/admin", None),
        ("/repos/;x/admin", None),
        ("/repos\\..\\admin", None),
        ("/repos/%5c..", None),
        ("/repos/%00", None),
        ("/repos/\u{7f}", None),
        ("/repos/%0a", None),
        ("/repos/%", None),
        ("/repos/%2", None),
        ("/repos/%zz", None),
        ("/repos/%ff", None),
    ] {
        assert_eq!(normal_path(raw).as_deref(), normal, "{raw:?}");
    }
}

#[test]
fn path_patterns() {
    for (pattern, path, covered) in [
        ("/user", "/user", true),
        ("/user", "/user/", false),
        ("/user", "/users", false),
        ("/user", "/User", false),
        ("/repos/*", "/repos/x", true),
        ("/repos/*", "/repos/x/y", true),
        ("/repos/*", "/repos", false),
        ("/repos/*", "/reposx", false),
        ("/*", "/anything", true),
        ("/", "/", true),
        ("/", "/x", false),
    ] {
        assert_eq!(PathPattern::new(pattern).unwrap().covers(path), covered, "{pattern} {path}");
    }
    for bad in ["", "x", "/a/*/b", "/a*", "/**", "/a/../b", "/a//b", "/a//*", "/a?b", "/a%20", "*"] {
        assert!(PathPattern::new(bad).is_err(), "{bad}");
    }
}

#[test]
fn a_mismatch_names_the_nearest_reason() {
    let mut binding = Binding::new(
        "api.example.org",
        Place::Header { name: http::header::AUTHORIZATION, prefix: "Bearer ".into() },
    )
    .unwrap();
    binding.methods = Some(vec![Method::GET]);
    binding.paths = Some(vec![PathPattern::new("/v1/*").unwrap()]);
    let good = Destination::new("API.example.org.", 443, true);
    for (to, method, path, outcome) in [
        (good.clone(), Method::GET, "/v1/x", Ok(())),
        (Destination::new("evil.example.org", 443, true), Method::GET, "/v1/x", Err(Mismatch::Host)),
        (Destination::new("api.example.org", 8443, true), Method::GET, "/v1/x", Err(Mismatch::Port)),
        (Destination::new("api.example.org", 443, false), Method::GET, "/v1/x", Err(Mismatch::Tls)),
        (good.clone(), Method::POST, "/v1/x", Err(Mismatch::Method)),
        (good.clone(), Method::GET, "/v2/x", Err(Mismatch::Path)),
        (good, Method::GET, "/v1/../v1/x", Err(Mismatch::Path)),
    ] {
        assert_eq!(binding.covers(&to, &method, path), outcome, "{to:?} {method} {path}");
    }
}

proptest! {
    /// Whatever is covered by `/repos/*` resolves, for a server that undoes escapes and dots, to something below it.
    #[test]
    fn nothing_outside_is_covered(path in "/(repos|admin|\\.|\\.\\.|%2e|%2E%2e|%2f|%5c|;|\\\\|%25|a|/){0,8}") {
        let pattern = PathPattern::new("/repos/*").unwrap();
        if normal_path(&path).is_some_and(|path| pattern.covers(&path)) {
            let mut text = path.clone();
            for _ in 0..3 {
                text = String::from_utf8(crate::encode::unpercent(text.as_bytes()).to_vec()).unwrap().replace('\\', "/");
            }
            let mut stack: Vec<&str> = Vec::new();
            for segment in text.split('/') {
                match segment.split(';').next().unwrap() {
                    "" | "." => {}
                    ".." => drop(stack.pop()),
                    segment => stack.push(segment),
                }
            }
            prop_assert_eq!(stack.first(), Some(&"repos"), "{}", path);
        }
    }

    #[test]
    fn any_text_is_parsed_without_panic(path in ".{0,60}") {
        let _ = normal_path(&path);
        let _ = PathPattern::new(&path);
        let _ = HostPattern::new(&path);
    }
}
