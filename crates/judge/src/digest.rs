//! SHA-256 (FIPS 180-4) in the one spelling used everywhere: 64 lowercase hexadecimal digits.
//! No secret is hashed here.

use aws_lc_rs::digest::{SHA256, digest};

/// The SHA-256 of `bytes`, 64 lowercase hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(64);
    for byte in digest(&SHA256, bytes).as_ref() {
        for nibble in [byte >> 4, byte & 15] {
            out.push(char::from_digit(u32::from(nibble), 16).expect("a nibble is below 16"));
        }
    }
    out
}
