//! Two courses from one decision.

use judge::permit::Course;
use judge::policy::Verdict;
use judge::request::Request;

fn twice(request: Request, verdict: &Verdict) -> Course {
    verdict.clone().course(request)
}

fn main() {}
