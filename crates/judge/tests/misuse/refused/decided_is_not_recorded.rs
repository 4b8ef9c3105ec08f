//! An effect before its record.

use judge::label::Labeled;
use judge::permit::{Decided, Permit, Recorded};

fn act(permit: Permit<Recorded>) -> Labeled<()> {
    Labeled::new((), permit.request().tool().name.clone())
}

fn too_early(permit: Permit<Decided>) -> Labeled<()> {
    act(permit)
}

fn main() {}
