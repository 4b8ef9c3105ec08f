//! A permit without a decision.

use judge::permit::{Permit, Recorded};
use judge::policy::Verdict;
use judge::request::Request;
use std::marker::PhantomData;

fn forged(request: Request, verdict: Verdict) -> Permit<Recorded> {
    Permit { request, verdict, granted_by: None, leaf: None, stage: PhantomData }
}

fn main() {}
