//! Why a tool did not do what it was asked: one variant per rule of the desk. A refusal reaches the model as an
//! `isError` result, so each says what would be accepted; none of them leaves an effect behind.

use crate::shape::Misfit;

#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("{0}")]
    Shape(#[from] Misfit),
    #[error("the arguments cannot be read: {0}")]
    Arguments(#[from] serde_json::Error),
    #[error("no {what} `{id}`")]
    NotFound { what: &'static str, id: String },
    #[error("ticket `{0}` is closed; a closed ticket takes no replies")]
    TicketClosed(String),
    #[error("ticket `{ticket_id}` already has {replies_max} replies; close it and open a new one")]
    TicketFull { ticket_id: String, replies_max: i64 },
    #[error(
        "refunding {amount_cents} cents on order `{order_id}` would exceed its total; {left_cents} cents can still be refunded"
    )]
    RefundOverTotal { order_id: String, amount_cents: i64, left_cents: i64 },
    #[error("idempotency key `{0}` was used for a different refund; use a new key")]
    KeyReused(String),
    #[error("`{0}` is not a mail address; write it as name@domain.tld")]
    Address(String),
    #[error("the subject must be one line without control characters")]
    Subject,
    #[error("attachment name `{0}` must be a plain file name without `/`, `\\` or control characters")]
    AttachmentName(String),
    #[error("the attachments hold {bytes} bytes together; at most {bytes_max} are sent")]
    AttachmentsTooLarge { bytes: usize, bytes_max: usize },
}

/// What ends a tool early: a rule of the desk, or the database itself.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error(transparent)]
    Database(#[from] rusqlite::Error),
}

impl From<Misfit> for Failure {
    fn from(misfit: Misfit) -> Self {
        Self::Refused(misfit.into())
    }
}
