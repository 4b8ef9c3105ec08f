//! What is about a person: addresses, numbers, identities. Each kind has a validator, and each is looked for only where it was
//! asked for; names of people are not looked for at all.

mod bank;
mod card;
mod contact;
mod identity;
mod network;
mod number;
mod postal;

use super::detect::Detector;

/// A choice of kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Personal(u16);

impl Personal {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// Addresses of electronic mail.
    pub const EMAIL: Self = Self(1);
    /// Telephone numbers.
    pub const PHONE: Self = Self(1 << 1);
    /// Payment card numbers.
    pub const CARD: Self = Self(1 << 2);
    /// International bank account numbers.
    pub const IBAN: Self = Self(1 << 3);
    /// Numbers a state gives to a person.
    pub const IDENTITY: Self = Self(1 << 4);
    /// Public internet addresses.
    pub const ADDRESS: Self = Self(1 << 5);
    /// Postal addresses.
    pub const POSTAL: Self = Self(1 << 6);
    /// Everything.
    pub const ALL: Self = Self((1 << 7) - 1);

    const WORDS: [(&'static str, Self); 9] = [
        ("none", Self::NONE),
        ("email", Self::EMAIL),
        ("phone", Self::PHONE),
        ("card", Self::CARD),
        ("iban", Self::IBAN),
        ("identity", Self::IDENTITY),
        ("ip", Self::ADDRESS),
        ("postal", Self::POSTAL),
        ("all", Self::ALL),
    ];

    /// The kinds with this name: `email`, `phone`, `card`, `iban`, `identity`, `ip`, `postal`, `all` or `none`.
    pub fn named(name: &str) -> Option<Self> {
        Self::WORDS.iter().find(|(word, _)| *word == name).map(|(_, kinds)| *kinds)
    }

    /// These and those.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether one of `kinds` is among these.
    pub const fn has(self, kinds: Self) -> bool {
        self.0 & kinds.0 != 0
    }
}

/// Every detector of this kind, one line each.
pub(super) static ALL: &[&Detector] = &[
    &bank::IBAN,
    &card::CARD,
    &contact::EMAIL,
    &contact::PHONE,
    &identity::DIGITS,
    &identity::LETTERED,
    &network::FOUR,
    &network::IP6,
    &postal::POSTAL,
];
