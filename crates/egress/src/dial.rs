//! From an admitted name to one connection: resolved once, every address checked, and the checked address dialled.
//! What is not public is never dialled unless its route declares it, in whatever spelling it comes.

use crate::authority::Route;
use crate::exit::Exit;
use crate::name::Name;
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::pin::Pin;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};

/// Addresses of one name that are tried, in order.
const ADDRESSES_MAX: usize = 8;

/// What knows the addresses of names, and of this host.
pub trait Resolve: Send + Sync + 'static {
    /// The addresses of an admitted name. Asked once for each connection that is dialled.
    fn resolve<'a>(
        &'a self,
        name: &'a Name,
    ) -> Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send + 'a>>;
    /// The addresses of this host's own interfaces, public ones included.
    ///
    /// # Errors
    /// They cannot be told; then nothing is dialled.
    fn own_addresses(&self) -> io::Result<Vec<IpAddr>>;
}

/// The operating system's resolver and interfaces.
#[derive(Clone, Copy, Debug, Default)]
pub struct System;

impl Resolve for System {
    fn resolve<'a>(
        &'a self,
        name: &'a Name,
    ) -> Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send + 'a>> {
        Box::pin(async move {
            let addresses = tokio::net::lookup_host((name.as_str(), 0)).await?;
            Ok(addresses.map(|address| address.ip()).collect())
        })
    }

    fn own_addresses(&self) -> io::Result<Vec<IpAddr>> {
        Ok(if_addrs::get_if_addrs()?.into_iter().map(|interface| interface.ip()).collect())
    }
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The name has no address.
    #[error("cannot resolve {0}: {1}")]
    Resolve(Name, #[source] io::Error),
    /// An address that must not be dialled.
    #[error(
        "{name} resolves to {address}, {why}; declare it as a private address of this name if that is meant"
    )]
    Address {
        /// The name.
        name: Name,
        /// The address.
        address: IpAddr,
        /// What it is.
        why: &'static str,
    },
    /// This host's own addresses cannot be told apart.
    #[error("cannot list this host's own addresses: {0}")]
    Own(#[source] io::Error),
    /// No address took the connection.
    #[error("cannot connect to {0}: {1}")]
    Connect(Name, #[source] io::Error),
    /// It took too long.
    #[error("connecting to {0} took too long")]
    TooSlow(Name),
}

/// A connection to `name`, and the address it leads to.
pub(crate) async fn dial(
    exit: &Exit,
    name: &Name,
    port: u16,
    route: &Route,
) -> Result<(TcpStream, IpAddr), DialError> {
    let deadline = Instant::now() + exit.limits.connect_wait;
    let addresses = match route.address {
        Some(address) => vec![address],
        None => timeout_at(deadline, exit.resolve.resolve(name))
            .await
            .map_err(|_| DialError::TooSlow(name.clone()))?
            .map_err(|error| DialError::Resolve(name.clone(), error))?,
    };
    let own = exit.resolve.own_addresses().map_err(DialError::Own)?;
    let mut checked = Vec::with_capacity(addresses.len());
    for address in addresses {
        // A name that has one forbidden address is not half trusted.
        let address = check(address, route, &own).map_err(|why| {
            let error = DialError::Address { name: name.clone(), address, why };
            exit.refuse(Some(name.to_string()), Some(port), error.to_string());
            error
        })?;
        if !checked.contains(&address) {
            checked.push(address);
        }
    }
    checked.truncate(ADDRESSES_MAX);
    let mut last = io::Error::new(io::ErrorKind::NotFound, "it has no address");
    for (at, address) in checked.iter().enumerate() {
        // Each address gets its share of the time that is left, so that one that drops packets does not take it all.
        let left = deadline.saturating_duration_since(Instant::now());
        let share = left / u32::try_from(checked.len() - at).unwrap_or(1);
        match timeout(share, TcpStream::connect((*address, port))).await {
            Ok(Ok(stream)) => {
                stream.set_nodelay(true).ok();
                return Ok((stream, *address));
            }
            Ok(Err(error)) => last = error,
            Err(_) => last = io::ErrorKind::TimedOut.into(),
        }
    }
    Err(DialError::Connect(name.clone(), last))
}

/// The address to dial, in its one spelling, or what forbids it.
fn check(address: IpAddr, route: &Route, own: &[IpAddr]) -> Result<IpAddr, &'static str> {
    let address = address.to_canonical();
    if route.private.iter().any(|network| network.contains(&address)) {
        return Ok(address);
    }
    // A declared IPv4 network also covers its mapped spellings (canonical above), and no other.
    if own.iter().any(|own| own.to_canonical() == address) {
        return Err("an address of this host");
    }
    let forbidden = match address {
        IpAddr::V4(address) => forbidden_v4(address),
        IpAddr::V6(address) => forbidden_v6(address, own),
    };
    forbidden.map_or(Ok(address), Err)
}

/// The IANA registry of special-purpose addresses, and one that a cloud made special.
fn forbidden_v4(address: Ipv4Addr) -> Option<&'static str> {
    Some(match address.octets() {
        [0, ..] => "an unspecified address",
        [127, ..] => "a loopback address",
        [169, 254, ..] => "a link-local or metadata address",
        // Azure's host and metadata service.
        [168, 63, 129, 16] => "a metadata address",
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => "a private address",
        [100, 64..=127, ..] => "a carrier's shared address",
        [192, 0, 0, _] | [192, 88, 99, _] => "an address with a special purpose",
        [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => "a documentation address",
        [198, 18..=19, ..] => "a benchmarking address",
        [224..=239, ..] => "a multicast address",
        [240..=255, ..] => "a reserved or broadcast address",
        _ => return None,
    })
}

fn forbidden_v6(address: Ipv6Addr, own: &[IpAddr]) -> Option<&'static str> {
    Some(match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0] => "an unspecified address",
        [0, 0, 0, 0, 0, 0, 0, 1] => "a loopback address",
        // NAT64 leads to the IPv4 address it ends in (RFC 6052).
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            let inner = Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low));
            if own.contains(&IpAddr::V4(inner)) {
                return Some("an address of this host");
            }
            return forbidden_v4(inner);
        }
        [0xfc00..=0xfdff, ..] => "a private address",
        [0xfe80..=0xfebf, ..] => "a link-local address",
        [0xfec0..=0xfeff, ..] => "a site-local address",
        [0xff00..=0xffff, ..] => "a multicast address",
        // 2001::/23 holds Teredo, ORCHID, benchmarking; 2002::/16 is 6to4. Both carry IPv4 addresses, both are given up.
        [0x2001, 0x0000..=0x01ff, ..] | [0x2002, ..] => "an address with a special purpose",
        [0x2001, 0x0db8, ..] | [0x3fff, 0x0000..=0x0fff, ..] => "a documentation address",
        // Only 2000::/3 is assigned to the world; mapped addresses never come here.
        [0x2000..=0x3fff, ..] => return None,
        _ => "not a public address",
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authority::Way;

    #[test]
    fn only_public_or_declared_addresses_are_dialled() {
        let own = ["203.0.114.9".parse().unwrap(), "2606:4700::9".parse().unwrap()];
        for (address, is_dialled) in [
            ("93.184.216.34", true),
            ("8.8.8.8", true),
            ("2606:4700:4700::1111", true),
            ("64:ff9b::808:808", true),
            ("::ffff:8.8.8.8", true),
            ("203.0.114.9", false),
            ("::ffff:203.0.114.9", false),
            ("64:ff9b::cb00:7209", false),
            ("2606:4700::9", false),
            ("0.0.0.0", false),
            ("0.1.2.3", false),
            ("127.0.0.1", false),
            ("127.255.255.254", false),
            ("10.1.2.3", false),
            ("9.255.255.255", true),
            ("172.15.0.1", true),
            ("172.16.0.1", false),
            ("172.31.255.255", false),
            ("172.32.0.1", true),
            ("192.168.1.1", false),
            ("169.254.169.254", false),
            ("168.63.129.16", false),
            ("100.64.0.1", false),
            ("100.100.100.200", false),
            ("100.128.0.1", true),
            ("192.0.0.8", false),
            ("192.0.2.1", false),
            ("198.18.0.1", false),
            ("198.20.0.1", true),
            ("198.51.100.1", false),
            ("203.0.113.1", false),
            ("224.0.0.1", false),
            ("239.255.255.255", false),
            ("240.0.0.1", false),
            ("255.255.255.255", false),
            ("::", false),
            ("::1", false),
            ("::ffff:127.0.0.1", false),
            ("::ffff:169.254.169.254", false),
            ("::127.0.0.1", false),
            ("::ffff:0:127.0.0.1", false),
            ("64:ff9b::7f00:1", false),
            ("64:ff9b::a9fe:a9fe", false),
            ("64:ff9b:1::808:808", false),
            ("2002:7f00:1::", false),
            ("2002:808:808::", false),
            ("2001:0:4136:e378:8000:63bf:3fff:fdd2", false),
            ("2001:db8::1", false),
            ("3fff:1::1", false),
            ("2001:2::1", false),
            ("2001:200::1", true),
            ("fc00::1", false),
            ("fd00:ec2::254", false),
            ("fe80::1", false),
            ("fec0::1", false),
            ("ff02::1", false),
            ("100::1", false),
            ("4000::1", false),
        ] {
            let route = Route { way: Way::Raw, private: vec![], address: None };
            let address: IpAddr = address.parse().unwrap();
            assert_eq!(check(address, &route, &own).is_ok(), is_dialled, "{address}");
            // Whatever is declared is dialled, and the declaration of something else changes nothing.
            let declared = Route { private: vec![address.to_canonical().into()], ..route.clone() };
            assert_eq!(check(address, &declared, &own), Ok(address.to_canonical()));
            let other = Route { private: vec!["10.9.9.0/24".parse().unwrap()], ..route };
            assert_eq!(check(address, &other, &own).is_ok(), is_dialled, "{address}");
        }
    }
}
