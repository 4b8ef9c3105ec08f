//! Durations gathered and summed up. Nothing is thrown away: no outlier is removed, no best round is picked.

use serde_json::{Value, json};
use std::time::Duration;

/// Every duration of one way of doing something.
#[derive(Default)]
pub(super) struct Times(Vec<Duration>);

impl Times {
    pub(super) fn add(&mut self, time: Duration) {
        self.0.push(time);
    }

    pub(super) fn extend(&mut self, times: Vec<Duration>) {
        self.0.extend(times);
    }

    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    /// The duration that this share of them does not exceed, in microseconds.
    pub(super) fn at(&self, share: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let last = sorted.len().saturating_sub(1);
        sorted.get((last as f64 * share).round() as usize).map_or(0.0, |time| time.as_secs_f64() * 1e6)
    }

    /// How many a second, one after the other.
    pub(super) fn per_second(&self) -> f64 {
        let total: Duration = self.0.iter().sum();
        if total.is_zero() { 0.0 } else { self.count() as f64 / total.as_secs_f64() }
    }

    /// Median, 99th percentile and count.
    pub(super) fn summary(&self) -> Value {
        json!({ "p50_us": round(self.at(0.5)), "p99_us": round(self.at(0.99)), "count": self.count() })
    }

    /// The same in words.
    pub(super) fn say(&self, what: &str) {
        println!(
            "  {what:<34} p50 {:>10.1} µs   p99 {:>10.1} µs   {} times",
            self.at(0.5),
            self.at(0.99),
            self.count()
        );
    }
}

/// To three places: more would be noise.
pub(super) fn round(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_the_sorted_times() {
        let mut times = Times::default();
        assert_eq!(times.at(0.5), 0.0);
        times.extend((1..=101).rev().map(Duration::from_micros).collect());
        assert_eq!(times.per_second().round(), 19608.0);
        assert_eq!((times.at(0.0), times.at(0.5), times.at(0.99), times.at(1.0)), (1.0, 51.0, 100.0, 101.0));
    }
}
