//! The capture rules, as one nf_tables transaction: either all of them hold or none does.
//! Nothing is asked of the host's own rules, which live in another namespace and cannot be reached from here.
//!
//! In the notation of nft(8):
//!
//! ```text
//! table ip bailiwick {
//!     chain capture {
//!         type nat hook output priority -100; policy accept;
//!         meta l4proto tcp ip daddr 198.18.0.1 tcp dport 53 accept
//!         meta l4proto tcp ip daddr 198.18.0.0/15 redirect to :1
//!     }
//! }
//! table inet bailiwick {
//!     chain contain {
//!         type filter hook output priority 0; policy drop;
//!         oif lo accept
//!     }
//! }
//! ```
//!
//! A program without capabilities cannot add an interface, so the second table should never match. It is there for
//! the day when something puts one into the namespace.

use super::netlink::{LOOPBACK_INDEX, Refusal, Requests, flag};
use super::{CAPTURE, DNS, FAKE_NETWORK, FAKE_PREFIX_BITS};
use rustix::net::netlink;

const NAME: &[u8] = b"bailiwick\0";
const CAPTURE_CHAIN: &[u8] = b"capture\0";
const CONTAIN_CHAIN: &[u8] = b"contain\0";

// linux/netfilter/nfnetlink.h
const SUBSYSTEM: u16 = 10;
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
// linux/netfilter.h
const FAMILY_NONE: u8 = 0;
const FAMILY_INET: u8 = 1;
const FAMILY_IP: u8 = 2;
const HOOK_LOCAL_OUT: u32 = 3;
const VERDICT_DROP: u32 = 0;
const VERDICT_ACCEPT: u32 = 1;
// linux/netfilter_ipv4.h
const PRIORITY_NAT: i32 = -100;
const PRIORITY_FILTER: i32 = 0;
// linux/netfilter/nf_tables.h
const NEW_TABLE: u16 = SUBSYSTEM << 8;
const NEW_CHAIN: u16 = SUBSYSTEM << 8 | 3;
const NEW_RULE: u16 = SUBSYSTEM << 8 | 6;
const REGISTER_VERDICT: u32 = 0;
const REGISTER_1: u32 = 1;
const META_OIF: u32 = 5;
const META_L4PROTO: u32 = 16;
const BASE_NETWORK: u32 = 1;
const BASE_TRANSPORT: u32 = 2;
const CMP_EQ: u32 = 0;

/// A field of a packet: from which header, at which byte, how many.
struct Field(u32, u32, u32);

const IP_DESTINATION: Field = Field(BASE_NETWORK, 16, 4);
const TCP_DESTINATION_PORT: Field = Field(BASE_TRANSPORT, 2, 2);
const TCP: u8 = 6;

/// Loads the rules into the calling thread's network namespace.
pub(super) fn load() -> Result<(), Refusal> {
    rules().send(Some(netlink::NETFILTER))
}

fn rules() -> Requests {
    let mut batch = Requests::with_capacity(2_048);
    // The one header whose second half names a subsystem; elsewhere it is zero.
    batch.add(BATCH_BEGIN, 0, &header(FAMILY_NONE, SUBSYSTEM), |_| ());

    table(&mut batch, FAMILY_IP);
    chain(&mut batch, FAMILY_IP, CAPTURE_CHAIN, b"nat\0", PRIORITY_NAT, VERDICT_ACCEPT);
    rule(&mut batch, FAMILY_IP, CAPTURE_CHAIN, 0, |rule| {
        rule.meta(META_L4PROTO, &[TCP]);
        rule.field(&IP_DESTINATION, None, &DNS.ip().octets());
        rule.field(&TCP_DESTINATION_PORT, None, &DNS.port().to_be_bytes());
        rule.accept();
    });
    rule(&mut batch, FAMILY_IP, CAPTURE_CHAIN, 0, |rule| {
        let mask = u32::MAX << (32 - FAKE_PREFIX_BITS);
        rule.meta(META_L4PROTO, &[TCP]);
        rule.field(&IP_DESTINATION, Some(mask.to_be_bytes()), &FAKE_NETWORK.octets());
        rule.redirect(CAPTURE.port());
    });

    table(&mut batch, FAMILY_INET);
    chain(&mut batch, FAMILY_INET, CONTAIN_CHAIN, b"filter\0", PRIORITY_FILTER, VERDICT_DROP);
    // The last one is answered, and only after all of them were.
    rule(&mut batch, FAMILY_INET, CONTAIN_CHAIN, flag::ACK, |rule| {
        rule.meta(META_OIF, &LOOPBACK_INDEX.to_ne_bytes());
        rule.accept();
    });

    batch.add(BATCH_END, 0, &header(FAMILY_NONE, SUBSYSTEM), |_| ());
    batch
}

/// struct nfgenmsg: family, version, resource.
fn header(family: u8, resource: u16) -> [u8; 4] {
    let [high, low] = resource.to_be_bytes();
    [family, 0, high, low]
}

fn table(batch: &mut Requests, family: u8) {
    const TABLE_NAME: u16 = 1;
    batch.add(NEW_TABLE, flag::CREATE | flag::EXCL, &header(family, 0), |table| {
        table.attribute(TABLE_NAME, NAME);
    });
}

fn chain(batch: &mut Requests, family: u8, name: &[u8], kind: &[u8], priority: i32, policy: u32) {
    const CHAIN_TABLE: u16 = 1;
    const CHAIN_NAME: u16 = 3;
    const CHAIN_HOOK: u16 = 4;
    const CHAIN_POLICY: u16 = 5;
    const CHAIN_TYPE: u16 = 7;
    const HOOK_NUMBER: u16 = 1;
    const HOOK_PRIORITY: u16 = 2;
    batch.add(NEW_CHAIN, flag::CREATE | flag::EXCL, &header(family, 0), |chain| {
        chain.attribute(CHAIN_TABLE, NAME);
        chain.attribute(CHAIN_NAME, name);
        chain.nest(CHAIN_HOOK, |hook| {
            hook.attribute(HOOK_NUMBER, &HOOK_LOCAL_OUT.to_be_bytes());
            hook.attribute(HOOK_PRIORITY, &priority.to_be_bytes());
        });
        chain.attribute(CHAIN_POLICY, &policy.to_be_bytes());
        chain.attribute(CHAIN_TYPE, kind);
    });
}

fn rule(batch: &mut Requests, family: u8, chain: &[u8], flags: u16, expressions: impl FnOnce(&mut Rule<'_>)) {
    const RULE_TABLE: u16 = 1;
    const RULE_CHAIN: u16 = 2;
    const RULE_EXPRESSIONS: u16 = 4;
    batch.add(NEW_RULE, flags | flag::CREATE | flag::APPEND, &header(family, 0), |rule| {
        rule.attribute(RULE_TABLE, NAME);
        rule.attribute(RULE_CHAIN, chain);
        rule.nest(RULE_EXPRESSIONS, |list| expressions(&mut Rule(list)));
    });
}

/// A rule's expressions: they run in order, and the first that does not match ends the rule.
struct Rule<'batch>(&'batch mut Requests);

impl Rule<'_> {
    /// Goes on where a fact about the packet has this value.
    fn meta(&mut self, key: u32, value: &[u8]) {
        const META_REGISTER: u16 = 1;
        const META_KEY: u16 = 2;
        self.expression(b"meta\0", |meta| {
            meta.attribute(META_REGISTER, &REGISTER_1.to_be_bytes());
            meta.attribute(META_KEY, &key.to_be_bytes());
        });
        self.equals(value);
    }

    /// Goes on where a field, or what the mask leaves of it, has this value.
    fn field(&mut self, Field(base, offset, length): &Field, mask: Option<[u8; 4]>, value: &[u8]) {
        const PAYLOAD_REGISTER: u16 = 1;
        const PAYLOAD_BASE: u16 = 2;
        const PAYLOAD_OFFSET: u16 = 3;
        const PAYLOAD_LENGTH: u16 = 4;
        const BITWISE_FROM: u16 = 1;
        const BITWISE_INTO: u16 = 2;
        const BITWISE_LENGTH: u16 = 3;
        const BITWISE_MASK: u16 = 4;
        const BITWISE_XOR: u16 = 5;
        self.expression(b"payload\0", |payload| {
            payload.attribute(PAYLOAD_REGISTER, &REGISTER_1.to_be_bytes());
            payload.attribute(PAYLOAD_BASE, &base.to_be_bytes());
            payload.attribute(PAYLOAD_OFFSET, &offset.to_be_bytes());
            payload.attribute(PAYLOAD_LENGTH, &length.to_be_bytes());
        });
        if let Some(mask) = mask {
            self.expression(b"bitwise\0", |bitwise| {
                bitwise.attribute(BITWISE_FROM, &REGISTER_1.to_be_bytes());
                bitwise.attribute(BITWISE_INTO, &REGISTER_1.to_be_bytes());
                bitwise.attribute(BITWISE_LENGTH, &length.to_be_bytes());
                bitwise.nest(BITWISE_MASK, |data| data.attribute(DATA_VALUE, &mask));
                bitwise.nest(BITWISE_XOR, |data| data.attribute(DATA_VALUE, &[0; 4]));
            });
        }
        self.equals(value);
    }

    fn equals(&mut self, value: &[u8]) {
        const CMP_REGISTER: u16 = 1;
        const CMP_OPERATION: u16 = 2;
        const CMP_DATA: u16 = 3;
        self.expression(b"cmp\0", |cmp| {
            cmp.attribute(CMP_REGISTER, &REGISTER_1.to_be_bytes());
            cmp.attribute(CMP_OPERATION, &CMP_EQ.to_be_bytes());
            cmp.nest(CMP_DATA, |data| data.attribute(DATA_VALUE, value));
        });
    }

    fn accept(&mut self) {
        const VERDICT_CODE: u16 = 1;
        self.immediate(REGISTER_VERDICT, |data| {
            data.nest(DATA_VERDICT, |verdict| verdict.attribute(VERDICT_CODE, &VERDICT_ACCEPT.to_be_bytes()));
        });
    }

    /// Sends the connection to this port of 127.0.0.1.
    fn redirect(&mut self, port: u16) {
        const REDIRECT_PORT_REGISTER: u16 = 1;
        self.immediate(REGISTER_1, |data| data.attribute(DATA_VALUE, &port.to_be_bytes()));
        self.expression(b"redir\0", |redirect| {
            redirect.attribute(REDIRECT_PORT_REGISTER, &REGISTER_1.to_be_bytes());
        });
    }

    fn immediate(&mut self, register: u32, data: impl FnOnce(&mut Requests)) {
        const IMMEDIATE_REGISTER: u16 = 1;
        const IMMEDIATE_DATA: u16 = 2;
        self.expression(b"immediate\0", |immediate| {
            immediate.attribute(IMMEDIATE_REGISTER, &register.to_be_bytes());
            immediate.nest(IMMEDIATE_DATA, data);
        });
    }

    fn expression(&mut self, name: &[u8], data: impl FnOnce(&mut Requests)) {
        const LIST_ELEMENT: u16 = 1;
        const EXPRESSION_NAME: u16 = 1;
        const EXPRESSION_DATA: u16 = 2;
        self.0.nest(LIST_ELEMENT, |element| {
            element.attribute(EXPRESSION_NAME, name);
            element.nest(EXPRESSION_DATA, data);
        });
    }
}

const DATA_VALUE: u16 = 1;
const DATA_VERDICT: u16 = 2;
