//! A result around the filter.

use judge::label::Labeled;

fn unfiltered(result: Labeled<String>) -> String {
    result.value
}

fn main() {}
