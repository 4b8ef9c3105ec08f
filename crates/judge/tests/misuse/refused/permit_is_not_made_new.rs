//! A permit by the constructor of the judge.

use judge::permit::{Decided, Permit};
use judge::policy::Verdict;
use judge::request::Request;

fn forged(request: Request, verdict: Verdict) -> Permit<Decided> {
    Permit::<Decided>::new(request, verdict, None)
}

fn main() {}
