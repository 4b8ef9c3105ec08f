-- The desk's tables. The triggers hold even against a server with a bug in it.
CREATE TABLE customers (
    id    TEXT PRIMARY KEY,
    name  TEXT NOT NULL,
    email TEXT NOT NULL UNIQUE,
    phone TEXT NOT NULL,
    city  TEXT NOT NULL,
    since TEXT NOT NULL
) STRICT;

-- An order outlives its customer: the books need it after an erasure.
CREATE TABLE orders (
    id          TEXT PRIMARY KEY,
    customer_id TEXT REFERENCES customers (id) ON DELETE SET NULL,
    placed_on   TEXT NOT NULL,
    total_cents INTEGER NOT NULL CHECK (total_cents > 0)
) STRICT;

CREATE TABLE order_lines (
    order_id   TEXT NOT NULL REFERENCES orders (id),
    line       INTEGER NOT NULL,
    sku        TEXT NOT NULL,
    name       TEXT NOT NULL,
    quantity   INTEGER NOT NULL CHECK (quantity > 0),
    unit_cents INTEGER NOT NULL CHECK (unit_cents > 0),
    PRIMARY KEY (order_id, line)
) STRICT;

CREATE TABLE tickets (
    id          TEXT PRIMARY KEY,
    customer_id TEXT NOT NULL REFERENCES customers (id) ON DELETE CASCADE,
    order_id    TEXT REFERENCES orders (id),
    status      TEXT NOT NULL CHECK (status IN ('open', 'closed')),
    subject     TEXT NOT NULL,
    body        TEXT NOT NULL,
    opened_at   TEXT NOT NULL
) STRICT;

CREATE TABLE replies (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    ticket_id TEXT NOT NULL REFERENCES tickets (id) ON DELETE CASCADE,
    body      TEXT NOT NULL,
    sent_at   TEXT NOT NULL
) STRICT;

CREATE TABLE refunds (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    order_id        TEXT NOT NULL REFERENCES orders (id),
    amount_cents    INTEGER NOT NULL CHECK (amount_cents > 0),
    reason          TEXT NOT NULL,
    idempotency_key TEXT UNIQUE,
    created_at      TEXT NOT NULL
) STRICT;

CREATE TRIGGER refunds_within_total BEFORE INSERT ON refunds
WHEN new.amount_cents
   + (SELECT coalesce(sum(amount_cents), 0) FROM refunds WHERE order_id = new.order_id)
   > (SELECT total_cents FROM orders WHERE id = new.order_id)
BEGIN
    SELECT raise(ABORT, 'refunds would exceed the order total');
END;

CREATE TRIGGER refunds_are_final BEFORE DELETE ON refunds
BEGIN
    SELECT raise(ABORT, 'a refund cannot be taken back');
END;

CREATE TRIGGER refunds_are_unchanging BEFORE UPDATE ON refunds
BEGIN
    SELECT raise(ABORT, 'a refund cannot be changed');
END;

CREATE TABLE outbox (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    subject TEXT NOT NULL,
    body    TEXT NOT NULL,
    sent_at TEXT NOT NULL
) STRICT;

CREATE TABLE outbox_recipients (
    message_id INTEGER NOT NULL REFERENCES outbox (id),
    position   INTEGER NOT NULL,
    address    TEXT NOT NULL,
    PRIMARY KEY (message_id, position)
) STRICT;

CREATE TABLE outbox_attachments (
    message_id INTEGER NOT NULL REFERENCES outbox (id),
    position   INTEGER NOT NULL,
    name       TEXT NOT NULL,
    content    TEXT NOT NULL,
    PRIMARY KEY (message_id, position)
) STRICT;
