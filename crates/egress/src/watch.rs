//! One admitted exchange while it lasts, held by everything that moves its bytes. When the last of them lets go, the
//! exchange has ended: exactly once, however that came about.

use crate::authority::{Ended, Exchange, Refused};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

#[derive(Clone)]
pub(crate) struct Watch(Arc<Mutex<Going>>);

struct Going {
    exchange: Option<Box<dyn Exchange>>,
    ended: Ended,
    /// Why the exchange itself ended it, which is no fault of the upstream's.
    refused: Option<Refused>,
    is_complete: bool,
}

/// Which way bytes move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Out,
    In,
}

impl Watch {
    pub(crate) fn new(exchange: Box<dyn Exchange>) -> Self {
        let ended = Ended::default();
        Self(Arc::new(Mutex::new(Going {
            exchange: Some(exchange),
            ended,
            refused: None,
            is_complete: false,
        })))
    }

    /// Asks the exchange something; a refusal is why it failed.
    pub(crate) fn ask<T>(
        &self,
        question: impl FnOnce(&mut dyn Exchange) -> Result<T, Refused>,
    ) -> Result<T, Refused> {
        self.going(|going| {
            let exchange = going.exchange.as_deref_mut().ok_or_else(|| Refused("it is over".to_owned()))?;
            question(exchange).inspect_err(|refused| going.refuse(refused))
        })
    }

    /// It was ended by what it was passed through.
    pub(crate) fn refuse(&self, refused: &Refused) {
        self.going(|going| going.refuse(refused));
    }

    /// Why it was ended from this side, if it was.
    pub(crate) fn refused(&self) -> Option<Refused> {
        self.going(|going| going.refused.clone())
    }

    pub(crate) fn moved(&self, direction: Direction, bytes: usize) -> Result<(), Refused> {
        let bytes = bytes as u64;
        self.going(|going| match direction {
            Direction::Out => going.ended.sent_bytes += bytes,
            Direction::In => going.ended.received_bytes += bytes,
        });
        let (sent, received) = if direction == Direction::Out { (bytes, 0) } else { (0, bytes) };
        // What was refused on its way out has no answer that may come in.
        if let Some(refused) = self.refused() {
            return Err(refused);
        }
        self.ask(|exchange| exchange.moved(sent, received))
    }

    pub(crate) fn dialled(&self, address: IpAddr) {
        self.going(|going| going.ended.address = Some(address));
    }

    pub(crate) fn answered(&self, status: u16) {
        self.going(|going| going.ended.status = Some(status));
    }

    /// It came to its natural end.
    pub(crate) fn complete(&self) {
        self.going(|going| going.is_complete = true);
    }

    /// The first failure counts.
    pub(crate) fn failed(&self, why: impl Into<String>) {
        self.going(|going| {
            going.ended.failure.get_or_insert_with(|| why.into());
        });
    }

    fn going<T>(&self, act: impl FnOnce(&mut Going) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Going {
    fn refuse(&mut self, refused: &Refused) {
        self.ended.failure.get_or_insert_with(|| refused.0.clone());
        self.refused.get_or_insert_with(|| refused.clone());
    }
}

impl Drop for Going {
    fn drop(&mut self) {
        if !self.is_complete {
            self.ended.failure.get_or_insert_with(|| "it was broken off".to_owned());
        }
        if let Some(exchange) = self.exchange.take() {
            exchange.ended(std::mem::take(&mut self.ended));
        }
    }
}
