//! Another call than the one that was judged.

use judge::permit::{Permit, Recorded};
use judge::request::tree::Tree;

fn swapped(mut permit: Permit<Recorded>, arguments: Tree) -> Permit<Recorded> {
    permit.request.arguments = arguments;
    permit
}

fn main() {}
