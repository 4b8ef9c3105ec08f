//! Every type that crosses a boundary as bytes: protocol frames, journal records, the control socket.
//! Nothing here decides or acts.

pub mod approval;
pub mod console;
pub mod control;
pub mod descriptors;
pub mod frame;
pub mod launch;
pub mod lines;
pub mod record;
pub mod sse;
