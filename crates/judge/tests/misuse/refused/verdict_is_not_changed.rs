//! A denial turned into a permission.

use judge::policy::{Decision, Verdict};

fn softened(mut verdict: Verdict) -> Verdict {
    verdict.decision = Decision::Allow;
    verdict
}

fn main() {}
