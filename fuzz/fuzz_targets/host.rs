//! A host: what is accepted has one spelling, which reads back as the same host of the same class.
//! An address is never taken for a name.
#![no_main]

use judge::request::host::Host;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(host) = Host::parse(text) else { return };
    let spelled = host.to_string();
    let again = Host::parse(&spelled).unwrap_or_else(|error| panic!("{text:?} became {spelled:?}: {error}"));
    assert_eq!(again, host, "{text:?}");
    assert_eq!(again.class(), host.class());
    assert!(host.is_spelled(&spelled));
    if let Host::Name(name) = &host {
        assert!(name.as_str().parse::<std::net::IpAddr>().is_err(), "{name} is an address");
        assert!(host.is_within(name));
    }
});
