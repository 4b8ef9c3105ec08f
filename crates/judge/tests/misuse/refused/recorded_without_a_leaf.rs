//! A record that nobody wrote.

use judge::permit::{Decided, Leaf, Permit, Recorded};

fn unwritten(permit: Permit<Decided>) -> Permit<Recorded> {
    permit.recorded(Leaf { index: 7 })
}

fn main() {}
