//! Two effects from one permission.

use judge::permit::{Permit, Recorded};

fn twice(permit: &Permit<Recorded>) -> (Permit<Recorded>, Permit<Recorded>) {
    (permit.clone(), permit.clone())
}

fn main() {}
