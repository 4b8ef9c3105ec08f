//! Proof that one request may run: made only from a verdict, recorded once, spent by the effect.
//! A permit cannot be copied, forged or used before it is recorded; `tests/misuse` holds the programs that must not compile.

use crate::approval::Grant;
use crate::policy::{Decision, Verdict};
use crate::request::Request;
use std::marker::PhantomData;

/// Decided, not yet written down: nothing may act on it.
#[derive(Debug)]
pub struct Decided(());
/// Durable in the journal: exactly one effect may follow.
#[derive(Debug)]
pub struct Recorded(());

/// Permission for one request.
#[must_use = "a permit that is dropped is a call that never runs"]
#[derive(Debug)]
pub struct Permit<Stage> {
    request: Request,
    verdict: Verdict,
    granted_by: Option<String>,
    leaf: Option<Leaf>,
    stage: PhantomData<Stage>,
}

/// The place of a record that is on disk.
#[derive(Debug, PartialEq, Eq)]
pub struct Leaf {
    index: u64,
}

impl Leaf {
    /// States that the journal holds the record at `index` durably (synced). Call it from the journal's
    /// acknowledgement and nowhere else.
    pub fn durable(index: u64) -> Self {
        Self { index }
    }
    /// The record's index in the journal, from 0.
    pub fn index(&self) -> u64 {
        self.index
    }
}

/// What a verdict leads to.
#[must_use]
#[derive(Debug)]
pub enum Course {
    /// Record the permit, then act.
    Proceed(Permit<Decided>),
    /// Ask a person first.
    Ask(Pending),
    /// Record the denial, then say so.
    Stop(Request, Verdict),
}

/// A request that waits for a grant.
#[must_use]
#[derive(Debug)]
pub struct Pending {
    request: Request,
    verdict: Verdict,
}

impl Verdict {
    /// What follows from this verdict on `request`. A verdict on another request stops it.
    pub fn course(self, request: Request) -> Course {
        if self.request_digest != request.digest() {
            return Course::Stop(request, self);
        }
        match self.decision {
            Decision::Allow => Course::Proceed(Permit::new(request, self, None)),
            Decision::Ask => Course::Ask(Pending { request, verdict: self }),
            Decision::Deny => Course::Stop(request, self),
        }
    }
}

impl Pending {
    /// The request that waits.
    pub fn request(&self) -> &Request {
        &self.request
    }
    /// The verdict that asks.
    pub fn verdict(&self) -> &Verdict {
        &self.verdict
    }
    /// A permit, if `grant` is for this very request and policy.
    ///
    /// # Errors
    /// The request and verdict, unchanged, when the grant is for something else.
    pub fn granted(self, grant: Grant) -> Result<Permit<Decided>, Box<Pending>> {
        if grant.covers(&self.verdict) {
            let by = grant.by().to_owned();
            Ok(Permit::new(self.request, self.verdict, Some(by)))
        } else {
            Err(Box::new(self))
        }
    }
    /// Gives up: the request and the verdict, for the record.
    pub fn refused(self) -> (Request, Verdict) {
        (self.request, self.verdict)
    }
}

impl<Stage> Permit<Stage> {
    /// The request this permit is for.
    pub fn request(&self) -> &Request {
        &self.request
    }
    /// The verdict it rests on.
    pub fn verdict(&self) -> &Verdict {
        &self.verdict
    }
    /// Who granted it, where a person did.
    pub fn granted_by(&self) -> Option<&str> {
        self.granted_by.as_deref()
    }
}

impl Permit<Decided> {
    fn new(request: Request, verdict: Verdict, granted_by: Option<String>) -> Self {
        Self { request, verdict, granted_by, leaf: None, stage: PhantomData }
    }

    /// The permit to act, now that its decision is on disk.
    pub fn recorded(self, leaf: Leaf) -> Permit<Recorded> {
        let Self { request, verdict, granted_by, leaf: _, stage: _ } = self;
        Permit { request, verdict, granted_by, leaf: Some(leaf), stage: PhantomData }
    }
}

impl Permit<Recorded> {
    /// The decision's index in the journal.
    pub fn leaf(&self) -> u64 {
        self.leaf.as_ref().expect("a recorded permit is made with its leaf").index
    }
}
