//! The only place that asks the time. Everything else is told.

use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds since 1970-01-01T00:00:00Z.
pub fn seconds() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}

/// A time in seconds since 1970 as RFC 3339 in UTC.
pub fn at(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).map_or_else(|_| seconds.to_string(), |at| at.to_string())
}

/// The seconds since 1970 of a time that [`stamp`] wrote; nothing for any other text.
pub fn read(stamp: &str) -> Option<i64> {
    stamp.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_second)
}

/// Now as RFC 3339 in UTC, with microseconds.
pub fn stamp() -> String {
    format!("{:.6}", jiff::Timestamp::now())
}
