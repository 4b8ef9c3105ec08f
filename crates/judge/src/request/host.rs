//! Turns every spelling of a host into one name or one address, and says what kind of place it is.
//! Never resolves a name: a public name may still lead to a private address, so judge what it resolved to as well.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use thiserror::Error;

/// Longest name, in bytes, without the trailing dot (RFC 1035 §2.3.4).
pub const NAME_BYTES_MAX: usize = 253;
/// Longest label of a name, in bytes.
pub const LABEL_BYTES_MAX: usize = 63;
/// Longest text looked at, in bytes: a Unicode name may be longer than its ASCII form, but not by this much.
pub const GIVEN_BYTES_MAX: usize = 1024;

/// A host in its one spelling.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Host {
    /// A DNS name.
    Name(Name),
    /// An IPv4 or IPv6 address.
    Ip(IpAddr),
}

/// A DNS name: lowercase ASCII (punycode), no empty label, no trailing dot, at most 253 bytes, not an address.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(String);

/// What kind of place a host is, as far as it shows without resolving.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Class {
    /// Anywhere on the internet, as far as the text tells.
    Public,
    /// A private network, by address (RFC 1918, RFC 4193, RFC 6598) or by name.
    Private,
    /// This machine.
    Loopback,
    /// This network segment (RFC 3927, RFC 4291).
    LinkLocal,
    /// A cloud's credential service, by address or by name.
    Metadata,
    /// Many at once.
    Multicast,
    /// Documentation, benchmarking, and what IANA has not given out.
    Reserved,
    /// `0.0.0.0` and `::`, which many systems take for this machine.
    Unspecified,
}

/// Why a text is not a host.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum HostError {
    /// No text at all.
    #[error("the host is empty; name one")]
    Empty,
    /// Past [`NAME_BYTES_MAX`], or past [`GIVEN_BYTES_MAX`] as given.
    #[error("the host is {bytes} bytes long, more than DNS allows; shorten it")]
    TooLong {
        /// Its length in bytes.
        bytes: usize,
    },
    /// A control character.
    #[error("the host holds the control character {0:?}; write it without")]
    Control(char),
    /// White space of any script.
    #[error("the host holds white space; write it without")]
    Whitespace,
    /// `%`, as in an encoded host or a zone index.
    #[error("the host holds '%'; write it decoded, and addresses without a zone")]
    Percent,
    /// `_`.
    #[error("the host holds '_', which clients read differently; use a name without it")]
    Underscore,
    /// A character no host name holds, or an invisible one.
    #[error("the host holds {0:?}, which no host name may hold")]
    Character(char),
    /// Two dots in a row, or one at the start.
    #[error("the host {0:?} has an empty label; remove the extra dot")]
    EmptyLabel(String),
    /// Past [`LABEL_BYTES_MAX`].
    #[error("the label {0:?} is longer than {LABEL_BYTES_MAX} bytes; shorten it")]
    LabelTooLong(String),
    /// A label that begins or ends with `-`.
    #[error("the label {0:?} begins or ends with '-'; no registered name does")]
    Hyphen(String),
    /// It ends in a number, as only an address may, and is none.
    #[error("the host {0:?} ends in a number but is no IPv4 address; write the address in full")]
    BadIpv4(String),
    /// It holds `:` or brackets and is no address.
    #[error("the host {0:?} is no IPv6 address; write the address in full")]
    BadIpv6(String),
    /// Unicode that maps to no name (UTS 46).
    #[error("the host {0:?} is no valid internationalized name; write it in ASCII")]
    Idna(String),
}

impl Host {
    /// Reads a host as a URL's authority or a configuration gives it, without port.
    ///
    /// Accepts IPv4 in every spelling `inet_aton(3)` takes (decimal, octal, hex, 1 to 4 parts), because clients do, and
    /// IPv6 with or without brackets. Anything that clients are known to read differently is an error by name.
    ///
    /// # Errors
    /// [`HostError`], one variant per cause.
    pub fn parse(given: &str) -> Result<Self, HostError> {
        refuse_characters(given)?;
        if let Some(inner) = given.strip_prefix('[') {
            let inner = inner.strip_suffix(']').ok_or_else(|| HostError::BadIpv6(given.to_owned()))?;
            return parse_ipv6(inner).ok_or_else(|| HostError::BadIpv6(given.to_owned()));
        }
        if given.contains(':') {
            return parse_ipv6(given).ok_or_else(|| HostError::BadIpv6(given.to_owned()));
        }
        let ascii = idna::domain_to_ascii(given).map_err(|_| HostError::Idna(given.to_owned()))?;
        // Mapping may produce characters that were not there before (℀ is a/c): look again.
        refuse_characters(&ascii)?;
        let name = ascii.strip_suffix('.').unwrap_or(&ascii);
        if name.is_empty() {
            return Err(HostError::EmptyLabel(given.to_owned()));
        }
        match parse_ipv4(name) {
            Ipv4Text::Address(address) => Ok(Host::Ip(IpAddr::V4(address))),
            Ipv4Text::Broken => Err(HostError::BadIpv4(given.to_owned())),
            Ipv4Text::Name => Name::parse(name).map(Host::Name),
        }
    }

    /// Whether `given` already is this host's own spelling, letter case and brackets aside. `0x7f.1` is not.
    pub fn is_spelled(&self, given: &str) -> bool {
        let bare = given.strip_prefix('[').and_then(|g| g.strip_suffix(']')).unwrap_or(given);
        match self {
            Host::Name(name) => bare.eq_ignore_ascii_case(&name.0),
            Host::Ip(ip) => bare.eq_ignore_ascii_case(&ip.to_string()),
        }
    }

    /// Whether it is `domain` or a name below it, by whole labels.
    pub fn is_within(&self, domain: &Name) -> bool {
        match self {
            Host::Name(name) => name.is_within(&domain.0),
            Host::Ip(_) => false,
        }
    }

    /// What kind of place it is.
    pub fn class(&self) -> Class {
        match self {
            Host::Name(name) => class_of_name(name),
            Host::Ip(ip) => class_of_ip(*ip),
        }
    }
}

impl Name {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn parse(text: &str) -> Result<Self, HostError> {
        if text.len() > NAME_BYTES_MAX {
            return Err(HostError::TooLong { bytes: text.len() });
        }
        for label in text.split('.') {
            if label.is_empty() {
                return Err(HostError::EmptyLabel(text.to_owned()));
            }
            if label.len() > LABEL_BYTES_MAX {
                return Err(HostError::LabelTooLong(label.to_owned()));
            }
            if label.starts_with('-') || label.ends_with('-') {
                return Err(HostError::Hyphen(label.to_owned()));
            }
            if let Some(c) = label.chars().find(|c| !matches!(c, 'a'..='z' | '0'..='9' | '-')) {
                return Err(HostError::Character(c));
            }
        }
        Ok(Name(text.to_owned()))
    }

    fn is_within(&self, domain: &str) -> bool {
        self.0 == domain || self.0.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'))
    }
}

/// The class of an address, with IPv4 inside IPv6 unwrapped (mapped, compatible, 6to4, NAT64).
pub fn class_of_ip(ip: IpAddr) -> Class {
    match ip {
        IpAddr::V4(v4) => class_of_ipv4(v4),
        IpAddr::V6(v6) => class_of_ipv6(v6),
    }
}

impl fmt::Display for Host {
    /// As in a URL: IPv6 in brackets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Name(name) => f.write_str(&name.0),
            Host::Ip(IpAddr::V4(v4)) => write!(f, "{v4}"),
            Host::Ip(IpAddr::V6(v6)) => write!(f, "[{v6}]"),
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn refuse_characters(text: &str) -> Result<(), HostError> {
    if text.is_empty() {
        return Err(HostError::Empty);
    }
    if text.len() > GIVEN_BYTES_MAX {
        return Err(HostError::TooLong { bytes: text.len() });
    }
    for c in text.chars() {
        match c {
            c if c.is_control() => return Err(HostError::Control(c)),
            c if c.is_whitespace() => return Err(HostError::Whitespace),
            '%' | '\u{ff05}' | '\u{fe6a}' => return Err(HostError::Percent),
            '_' | '\u{ff3f}' => return Err(HostError::Underscore),
            // Invisible characters are dropped by IDNA mapping, so a reader and a client see two names.
            '\u{ad}'
            | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}' => {
                return Err(HostError::Character(c));
            }
            c if c.is_ascii() && !c.is_ascii_alphanumeric() && !matches!(c, '.' | '-' | ':' | '[' | ']') => {
                return Err(HostError::Character(c));
            }
            _ => {}
        }
    }
    Ok(())
}

fn parse_ipv6(text: &str) -> Option<Host> {
    text.parse::<Ipv6Addr>().ok().map(|v6| Host::Ip(IpAddr::V6(v6)))
}

enum Ipv4Text {
    Address(Ipv4Addr),
    /// Ends in a number, as only an address may (WHATWG URL, "ends in a number checker").
    Broken,
    Name,
}

fn parse_ipv4(text: &str) -> Ipv4Text {
    let parts: Vec<&str> = text.split('.').collect();
    let last = parts.last().copied().unwrap_or_default();
    let numeric = !last.is_empty() && last.bytes().all(|b| b.is_ascii_digit());
    if !numeric && number(last).is_none() {
        return Ipv4Text::Name;
    }
    let numbers: Option<Vec<u64>> = parts.iter().map(|part| number(part)).collect();
    let Some((&tail, heads)) = numbers.as_ref().filter(|n| n.len() <= 4).and_then(|n| n.split_last()) else {
        return Ipv4Text::Broken;
    };
    // The last part fills all bytes the heads leave (inet_aton(3)).
    let tail_bits = 8 * (4 - heads.len());
    if heads.iter().any(|head| *head > 255) || tail >> tail_bits != 0 {
        return Ipv4Text::Broken;
    }
    let mut address = tail;
    for (index, head) in heads.iter().enumerate() {
        address |= head << (24 - 8 * index);
    }
    u32::try_from(address).map_or(Ipv4Text::Broken, |bits| Ipv4Text::Address(Ipv4Addr::from(bits)))
}

/// One part of an IPv4 address: `0x…` hex, `0…` octal, else decimal.
fn number(part: &str) -> Option<u64> {
    let (digits, radix) = match part.as_bytes() {
        [] => return None,
        [b'0', b'x' | b'X', ..] => (&part[2..], 16),
        [b'0', _, ..] => (&part[1..], 8),
        _ => (part, 10),
    };
    if digits.is_empty() {
        return Some(0);
    }
    // from_str_radix would take a sign.
    if !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    u64::from_str_radix(digits, radix).ok().filter(|n| *n <= u64::from(u32::MAX))
}

fn class_of_name(name: &Name) -> Class {
    const METADATA: &[&str] = &[
        "metadata.google.internal",
        "metadata.goog",
        "metadata",
        "instance-data",
        "instance-data.ec2.internal",
        "metadata.azure.internal",
        "metadata.tencentyun.com",
    ];
    const LOOPBACK: &[&str] = &[
        "localhost",
        "localhost.localdomain",
        "localhost4.localdomain4",
        "localhost6.localdomain6",
        "ip6-localhost",
        "ip6-loopback",
        "localhost4",
        "localhost6",
    ];
    // RFC 6761, RFC 6762, RFC 8375, ICANN's .internal, and suffixes that clusters and routers give.
    const PRIVATE: &[&str] = &[
        "internal",
        "local",
        "lan",
        "home.arpa",
        "localdomain",
        "intranet",
        "corp",
        "home",
        "private",
        "svc",
    ];
    if METADATA.contains(&name.as_str()) {
        Class::Metadata
    } else if LOOPBACK.contains(&name.as_str()) || name.is_within("localhost") {
        Class::Loopback
    } else if PRIVATE.iter().any(|domain| name.is_within(domain)) || !name.as_str().contains('.') {
        Class::Private
    } else if ["invalid", "test", "example", "onion"].iter().any(|domain| name.is_within(domain)) {
        Class::Reserved
    } else {
        Class::Public
    }
}

fn class_of_ipv4(v4: Ipv4Addr) -> Class {
    match v4.octets() {
        [0, 0, 0, 0] => Class::Unspecified,
        // AWS, GCP, Azure and most others; ECS and EKS task roles; Alibaba; Oracle; Azure's wire server.
        [169, 254, 169, 253 | 254]
        | [169, 254, 170, 2 | 23]
        | [100, 100, 100, 200]
        | [192, 0, 0, 192]
        | [168, 63, 129, 16] => Class::Metadata,
        [127, ..] => Class::Loopback,
        [169, 254, ..] => Class::LinkLocal,
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] | [100, 64..=127, ..] => Class::Private,
        [224..=239, ..] => Class::Multicast,
        // IANA special-purpose registry.
        [0, ..]
        | [192, 0, 0 | 2, _]
        | [192, 88, 99, _]
        | [198, 18 | 19, ..]
        | [198, 51, 100, _]
        | [203, 0, 113, _]
        | [240..=255, ..] => Class::Reserved,
        _ => Class::Public,
    }
}

fn class_of_ipv6(v6: Ipv6Addr) -> Class {
    let s = v6.segments();
    let v4 = |high: u16, low: u16| class_of_ipv4(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low)));
    match s {
        [0, 0, 0, 0, 0, 0, 0, 0] => Class::Unspecified,
        [0, 0, 0, 0, 0, 0, 0, 1] => Class::Loopback,
        // IPv4-mapped, IPv4-translated (RFC 2765), IPv4-compatible, NAT64 (RFC 6052), 6to4 (RFC 3056).
        [0, 0, 0, 0, 0, 0xffff, high, low]
        | [0, 0, 0, 0, 0xffff, 0, high, low]
        | [0, 0, 0, 0, 0, 0, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x2002, high, low, ..] => v4(high, low),
        // AWS and GCP over IPv6.
        [0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x254 | 0x253 | 0x23] | [0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254] => {
            Class::Metadata
        }
        [0x64, 0xff9b, 1, ..] => Class::Private,
        [first, ..] if first & 0xffc0 == 0xfe80 => Class::LinkLocal,
        [first, ..] if first & 0xffc0 == 0xfec0 || first & 0xfe00 == 0xfc00 => Class::Private,
        [first, ..] if first & 0xff00 == 0xff00 => Class::Multicast,
        // Teredo, ORCHID, benchmarking and the rest of 2001::/23; documentation; SRv6.
        [0x2001, 0..=0x1ff, ..] | [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => Class::Reserved,
        [first, ..] if first & 0xe000 == 0x2000 => Class::Public,
        _ => Class::Reserved,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(text: &str) -> Host {
        Host::parse(text).unwrap_or_else(|e| panic!("{text:?}: {e}"))
    }

    #[test]
    fn one_spelling() {
        for (given, want) in [
            ("Example.COM", "example.com"),
            ("example.com.", "example.com"),
            ("b\u{fc}cher.de", "xn--bcher-kva.de"),
            ("BU\u{308}CHER.de", "xn--bcher-kva.de"),
            ("xn--bcher-kva.de", "xn--bcher-kva.de"),
            ("\u{ff45}xample\u{3002}com", "example.com"),
            ("127.0.0.1", "127.0.0.1"),
            ("127.0.0.1.", "127.0.0.1"),
            ("127.1", "127.0.0.1"),
            ("127.0.1", "127.0.0.1"),
            ("2130706433", "127.0.0.1"),
            ("0x7f000001", "127.0.0.1"),
            ("0X7F.1", "127.0.0.1"),
            ("0177.0.0.1", "127.0.0.1"),
            ("017700000001", "127.0.0.1"),
            ("0x7f.0.0.01", "127.0.0.1"),
            ("\u{ff11}\u{ff12}\u{ff17}.0.0.1", "127.0.0.1"),
            ("\u{2460}27.1", "127.0.0.1"),
            ("0", "0.0.0.0"),
            ("0x", "0.0.0.0"),
            ("010.0.0.1", "8.0.0.1"),
            ("1.65535", "1.0.255.255"),
            ("4294967295", "255.255.255.255"),
            ("0xA9FEA9FE", "169.254.169.254"),
            ("[::1]", "[::1]"),
            ("::1", "[::1]"),
            ("[0:0:0:0:0:0:0:1]", "[::1]"),
            ("[::FFFF:127.0.0.1]", "[::ffff:127.0.0.1]"),
            ("[2001:DB8::0:1]", "[2001:db8::1]"),
            ("0x7f.example.com", "0x7f.example.com"),
            ("1.2.3.4a", "1.2.3.4a"),
            ("3com", "3com"),
        ] {
            assert_eq!(host(given).to_string(), want, "{given:?}");
            assert_eq!(host(want), host(given), "{given:?}");
        }
    }

    #[test]
    fn what_is_no_host() {
        let label = "a".repeat(64);
        let long = format!("{}com", "abcdefghi.".repeat(26));
        for (given, want) in [
            ("", HostError::Empty),
            (".", HostError::EmptyLabel(".".into())),
            ("..", HostError::EmptyLabel(".".into())),
            ("a..b", HostError::EmptyLabel("a..b".into())),
            (".a", HostError::EmptyLabel(".a".into())),
            ("a..", HostError::EmptyLabel("a.".into())),
            ("a\0.com", HostError::Control('\0')),
            ("a\n", HostError::Control('\n')),
            ("127.0.0.1 ", HostError::Whitespace),
            ("a b", HostError::Whitespace),
            ("a\u{3000}b", HostError::Whitespace),
            ("a%2eb", HostError::Percent),
            ("[fe80::1%eth0]", HostError::Percent),
            ("a_b.com", HostError::Underscore),
            ("a/b", HostError::Character('/')),
            ("a\\b", HostError::Character('\\')),
            ("a@b", HostError::Character('@')),
            ("a\u{200b}b.com", HostError::Character('\u{200b}')),
            ("exa\u{ad}mple.com", HostError::Character('\u{ad}')),
            ("127.0.0.256", HostError::BadIpv4("127.0.0.256".into())),
            ("127.0.0.08", HostError::BadIpv4("127.0.0.08".into())),
            ("1.2.3.4.5", HostError::BadIpv4("1.2.3.4.5".into())),
            ("4294967296", HostError::BadIpv4("4294967296".into())),
            ("99999999999999999999", HostError::BadIpv4("99999999999999999999".into())),
            ("256.1", HostError::BadIpv4("256.1".into())),
            ("foo.0x1", HostError::BadIpv4("foo.0x1".into())),
            ("example.123", HostError::BadIpv4("example.123".into())),
            ("1..2", HostError::BadIpv4("1..2".into())),
            ("[::1", HostError::BadIpv6("[::1".into())),
            ("[127.0.0.1]", HostError::BadIpv6("[127.0.0.1]".into())),
            ("[example.com]", HostError::BadIpv6("[example.com]".into())),
            ("example.com:80", HostError::BadIpv6("example.com:80".into())),
            ("[1:2]", HostError::BadIpv6("[1:2]".into())),
            ("[]", HostError::BadIpv6("[]".into())),
            ("a]", HostError::Character(']')),
            ("-a.com", HostError::Hyphen("-a".into())),
            ("a-.com", HostError::Hyphen("a-".into())),
            (&label, HostError::LabelTooLong(label.clone())),
            (&long, HostError::TooLong { bytes: long.len() }),
            ("xn--a", HostError::Idna("xn--a".into())),
        ] {
            assert_eq!(Host::parse(given), Err(want), "{given:?}");
        }
        // These map to '/', '?' or ':' in some clients (CVE-2019-9636).
        for given in ["a\u{2100}b.com", "a\u{ff0f}b", "a\u{ff1f}b", "a\u{ff1a}80", "a\u{ff20}b", "\u{2025}"] {
            assert!(Host::parse(given).is_err(), "{given:?}");
        }
        assert!(Host::parse(&"a".repeat(63)).is_ok());
    }

    #[test]
    fn classes() {
        use Class::*;
        for (given, want) in [
            ("example.org", Public),
            ("8.8.8.8", Public),
            ("[2606:4700::1]", Public),
            ("localhost", Loopback),
            ("LOCALHOST.", Loopback),
            ("a.localhost", Loopback),
            ("notlocalhost.com", Public),
            ("localhost.example.org", Public),
            ("127.255.255.254", Loopback),
            ("128.0.0.1", Public),
            ("126.255.255.255", Public),
            ("2130706433", Loopback),
            ("[::1]", Loopback),
            ("[::ffff:127.0.0.1]", Loopback),
            ("[::ffff:8.8.8.8]", Public),
            ("[::7f00:1]", Loopback),
            ("[64:ff9b::127.0.0.1]", Loopback),
            ("[64:ff9b::8.8.8.8]", Public),
            ("[64:ff9b:1::1]", Private),
            ("[2002:7f00:1::]", Loopback),
            ("[2002:a9fe:a9fe::1]", Metadata),
            ("[2002:808:808::]", Public),
            ("[2001:0:1:2:3:4:5:6]", Reserved),
            ("10.0.0.1", Private),
            ("9.255.255.255", Public),
            ("11.0.0.0", Public),
            ("172.15.0.1", Public),
            ("172.16.0.1", Private),
            ("172.31.255.255", Private),
            ("172.32.0.1", Public),
            ("192.168.1.1", Private),
            ("192.169.1.1", Public),
            ("100.64.0.1", Private),
            ("100.128.0.1", Public),
            ("100.100.100.200", Metadata),
            ("169.254.0.1", LinkLocal),
            ("169.254.169.254", Metadata),
            ("[::ffff:a9fe:a9fe]", Metadata),
            ("[fd00:ec2::254]", Metadata),
            ("[fd00::1]", Private),
            ("[fe80::1]", LinkLocal),
            ("[fec0::1]", Private),
            ("metadata.google.internal", Metadata),
            ("METADATA.google.internal.", Metadata),
            ("db.internal", Private),
            ("internal", Private),
            ("internal.example.org", Public),
            ("printer.local", Private),
            ("kubernetes", Private),
            ("0.0.0.0", Unspecified),
            ("[::]", Unspecified),
            ("[::ffff:0:0]", Unspecified),
            ("0.0.0.1", Reserved),
            ("224.0.0.1", Multicast),
            ("[ff02::1]", Multicast),
            ("255.255.255.255", Reserved),
            ("240.0.0.1", Reserved),
            ("192.0.2.1", Reserved),
            ("[2001:db8::1]", Reserved),
            ("[4000::1]", Reserved),
            ("a.test", Reserved),
        ] {
            assert_eq!(host(given).class(), want, "{given}");
        }
    }

    #[test]
    fn domains_by_label() {
        let Host::Name(domain) = host("example.com") else { panic!("a name") };
        for (given, want) in [
            ("example.com", true),
            ("a.example.com", true),
            ("badexample.com", false),
            ("example.com.evil.org", false),
            ("127.0.0.1", false),
        ] {
            assert_eq!(host(given).is_within(&domain), want, "{given}");
        }
        assert!(host("127.0.0.1").is_spelled("127.0.0.1"));
        assert!(!host("127.1").is_spelled("127.1"));
    }

    proptest::proptest! {
        #[test]
        fn every_inet_aton_spelling_is_one_address(bits: u32, shape in 0usize..4, radix in proptest::array::uniform4(0u8..3)) {
            let spell = |n: u32, radix: u8| match radix { 0 => format!("{n}"), 1 => format!("0{n:o}"), _ => format!("0x{n:x}") };
            let mut parts: Vec<String> = (0..shape).map(|i| spell((bits >> (24 - 8 * i)) & 255, radix[i])).collect();
            let tail = if shape == 0 { bits } else { bits & (u32::MAX >> (8 * shape)) };
            parts.push(spell(tail, radix[3]));
            proptest::prop_assert_eq!(Host::parse(&parts.join(".")), Ok(Host::Ip(IpAddr::V4(Ipv4Addr::from(bits)))));
        }

        #[test]
        fn text_form_is_stable(given in "\\PC{0,40}") {
            if let Ok(host) = Host::parse(&given) {
                proptest::prop_assert_eq!(Host::parse(&host.to_string()), Ok(host));
            }
        }
    }
}
