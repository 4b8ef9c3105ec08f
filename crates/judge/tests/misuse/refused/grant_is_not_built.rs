//! An answer that nobody gave.

use judge::approval::Grant;

fn forged(request_digest: String, policy_digest: String) -> Grant {
    Grant { request_digest, policy_digest, by: "me".to_owned() }
}

fn main() {}
