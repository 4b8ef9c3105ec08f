//! The only way out of a sandbox. It answers the names, accepts the connections and carries the requests of one
//! captured network, and nothing moves before the [`Authority`] of that sandbox has been asked; no policy and no secret
//! is known here.
//!
//! ```text
//! name ─dns► synthetic address ─capture► name, port ─route► Terminate │ Splice │ Plain │ Raw
//!      ─admit► resolve once, check, dial ─► request or bytes out ─► answer, decoded and rewritten, in
//! ```
//!
//! Two ways in: [`serve`] takes over the sockets of a captured network namespace, [`proxy`] is an explicit HTTP and
//! SOCKS5 proxy on a listener. Both lead through the same [`Exit`]. Inside a captured network the explicit proxy is at
//! `http://proxy.bailiwick:3128` and `socks5h://proxy.bailiwick:1080`, so that a refusal can be read.

mod authority;
mod brim;
mod ca;
mod capture;
mod dial;
mod dns;
mod exit;
mod fake;
#[cfg(fuzzing)]
pub mod fuzzing;
mod hello;
mod http;
mod name;
mod peer;
mod pipe;
mod proxy;
mod relay;
mod socks;
mod tls;
mod watch;
mod websocket;

pub use authority::{
    Admitted, Answer, Attempt, Authority, Ended, Exchange, Refusal, Refused, Rewrite, Route, Way, What,
};
pub use ca::{Ca, CaError};
pub use dial::{DialError, Resolve, System};
pub use exit::{
    Exit, Limits, Outside, PROXY_NAME, PROXY_PORTS, Running, Sockets, proxy, raise_open_files, serve,
};
pub use fake::NAMES_MAX;
pub use name::{NAME_BYTES_MAX, Name, NameError, parse_authority};
pub use proxy::{Clients, Token};
pub use tls::{RootsError, roots};
