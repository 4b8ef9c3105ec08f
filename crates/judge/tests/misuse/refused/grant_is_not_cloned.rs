//! One answer for two calls.

use judge::approval::Grant;

fn twice(grant: &Grant) -> (Grant, Grant) {
    (grant.clone(), grant.clone())
}

fn main() {}
