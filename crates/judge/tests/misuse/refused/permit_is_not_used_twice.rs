//! A permit that was already spent.

use judge::permit::{Permit, Recorded};

fn act(permit: Permit<Recorded>) -> u64 {
    permit.leaf()
}

fn twice(permit: Permit<Recorded>) -> (u64, u64) {
    (act(permit), act(permit))
}

fn main() {}
