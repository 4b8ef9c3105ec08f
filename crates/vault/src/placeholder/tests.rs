//! The shapes that are kept, and the values that get another one or none.

use super::*;
use proptest::prelude::*;

fn name() -> SecretName {
    SecretName::new("token").unwrap()
}

fn draw(value: &str) -> String {
    like(&name(), value.as_bytes(), &[]).unwrap()
}

#[test]
fn known_shapes_are_kept() {
    for (value, prefix) in [
        ("ghp_abcdefghijklmnopqrstuvwxyzABCDEF0123", "ghp_"),
        ("sk-ant-api03-AbCdEfGhIjKlMnOpQrStUvWx-AA", "sk-ant-api03-"),
        ("AKIAIOSFODNN7EXAMPLE", "AKIA"),
        ("xoxb-1234567890-abcdefABCDEF", "xoxb-"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl", "eyJhbGciOiJIUzI1NiJ9."),
        ("user:correct-horse-battery", ""),
    ] {
        let drawn = draw(value);
        assert_eq!(drawn.len(), value.len());
        assert!(drawn.starts_with(prefix) && drawn != value, "{drawn}");
        let class = |byte: u8| match byte {
            b'0'..=b'9' => 'd',
            b'a'..=b'z' => 'l',
            b'A'..=b'Z' => 'u',
            other => other.into(),
        };
        assert!(value.bytes().map(class).eq(drawn.bytes().map(class)), "{value} {drawn}");
        assert_ne!(drawn, draw(value), "each sandbox has its own");
    }
    let pem = "-----BEGIN PRIVATE KEY-----\nAbCdEfGhIj+/0123456789\n-----END PRIVATE KEY-----\n";
    let drawn = draw(pem);
    assert!(
        drawn.starts_with("-----BEGIN PRIVATE KEY-----\n") && drawn.ends_with("-----END PRIVATE KEY-----\n")
    );
    assert_ne!(drawn, pem);
}

#[test]
fn poor_shapes_become_artificial_and_short_values_are_refused() {
    for value in ["12345678", "--------", "ghp_ab12", "a\0bcdefghijklmnopqrst", "pässwörter-lang"] {
        let drawn = draw(value);
        assert!(drawn.len() == 32 && drawn.starts_with("bw"), "{value:?} {drawn}");
    }
    let error = like(&name(), b"1234567", &[]).err().unwrap().to_string();
    assert!(error.contains("shorter than 8") && !error.contains("1234567"), "{error}");
}

proptest! {
    #[test]
    fn any_value_gets_a_safe_placeholder(value in proptest::collection::vec(any::<u8>(), 8..200)) {
        let drawn = like(&name(), &value, &["other"]).unwrap();
        prop_assert!(drawn.is_ascii() && drawn.len() >= 10);
        prop_assert!(drawn.bytes().all(|byte| (32..127).contains(&byte) || b"\t\n\r".contains(&byte)));
        prop_assert!(drawn.as_bytes() != value.as_slice());
    }
}
