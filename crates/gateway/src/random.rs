//! Unguessable names, from the system's generator. Nothing here is derived from anything.

/// 32 random bytes.
pub fn bytes() -> [u8; 32] {
    let mut bytes = [0u8; 32];
    aws_lc_rs::rand::fill(&mut bytes).expect("the system's random generator answers");
    bytes
}

/// 32 random bytes as 64 lowercase hexadecimal digits.
pub fn token() -> String {
    bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A name with `prefix` and 80 random bits: `c-1f…`.
pub fn name(prefix: &str) -> String {
    format!("{prefix}-{}", &token()[..20])
}
