//! A URL: what is accepted has one spelling, which reads back as the same URL.
//! Its path starts with `/` and its host is one that the host reader accepts.
#![no_main]

use judge::request::host::Host;
use judge::request::url::Url;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(url) = Url::parse(text) else { return };
    let spelled = url.to_string();
    let again = Url::parse(&spelled).unwrap_or_else(|error| panic!("{text:?} became {spelled:?}: {error}"));
    assert_eq!(again.to_string(), spelled, "{text:?}");
    assert_eq!((again.host(), again.port(), again.path()), (url.host(), url.port(), url.path()));
    assert!(url.path().starts_with('/') && !again.has_userinfo());
    assert_eq!(Host::parse(&url.host().to_string()).ok().as_ref(), Some(url.host()));
});
