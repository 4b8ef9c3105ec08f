//! The messages of a WebSocket, taken out of their frames, passed through a rewrite and framed anew. A message is never
//! held whole, and what no client or server may send ends the connection.
//!
//! A message goes on in frames of at most [`FRAME_BYTES`], the last one when the message ends. Control frames within a
//! fragmented message wait for its end, because what is held back of it must not be torn apart; what they carry is
//! passed through the same rewrite.

mod frame;

pub(crate) use frame::{FrameError, Role};

use crate::authority::{Refused, Rewrite};
use crate::relay::RelayError;
use frame::{Event, Head, Opcode, Parser};

/// What a rewritten frame carries at most.
const FRAME_BYTES: usize = 64 * 1_024;
/// Control frames within one message.
const CONTROLS_MAX: usize = 64;
/// RFC 6455 §5.5.
const CONTROL_BYTES_MAX: usize = 125;

/// One direction of a WebSocket.
pub(crate) struct Messages {
    role: Role,
    parser: Parser,
    rewrite: Box<dyn Rewrite>,
    /// The kind of message that is under way.
    message: Option<Opcode>,
    /// Whether a frame of it went on already, so that the next one is a continuation.
    is_begun: bool,
    /// What of it has not gone on.
    out: Vec<u8>,
    control: Vec<u8>,
    waiting: Vec<(Opcode, Vec<u8>)>,
}

impl Messages {
    /// The messages of whoever has `role`.
    pub(crate) fn new(role: Role, rewrite: Box<dyn Rewrite>) -> Self {
        Self {
            role,
            parser: Parser::new(role),
            rewrite,
            message: None,
            is_begun: false,
            out: Vec::new(),
            control: Vec::new(),
            waiting: Vec::new(),
        }
    }

    /// Takes bytes of the wire and appends to `wire` what goes on.
    pub(crate) fn push(&mut self, mut input: &mut [u8], wire: &mut Vec<u8>) -> Result<(), RelayError> {
        while let Some((event, used)) = self.parser.next(input)? {
            match event {
                Event::Begin(head) => self.begin(head)?,
                Event::Payload { is_last } => {
                    let head = self.parser.head();
                    let payload = &input[..used];
                    if head.opcode.is_control() {
                        self.control.extend_from_slice(payload);
                    } else {
                        self.rewrite.push(payload, &mut self.out)?;
                        self.emit_full(wire)?;
                    }
                    if is_last {
                        self.end(head, wire)?;
                    }
                }
            }
            input = &mut input[used..];
        }
        Ok(())
    }

    fn begin(&mut self, head: Head) -> Result<(), FrameError> {
        match (head.opcode, self.message) {
            (opcode, _) if opcode.is_control() => {}
            (Opcode::Continuation, Some(_)) => {}
            (opcode @ (Opcode::Text | Opcode::Binary), None) => self.message = Some(opcode),
            _ => return Err(FrameError::Order),
        }
        Ok(())
    }

    fn end(&mut self, head: Head, wire: &mut Vec<u8>) -> Result<(), RelayError> {
        if head.opcode.is_control() {
            let payload = std::mem::take(&mut self.control);
            if self.message.is_none() {
                return self.emit_control(head.opcode, &payload, wire);
            }
            // No message ends after a close.
            if head.opcode == Opcode::Close {
                self.end_message(wire)?;
                return self.emit_control(head.opcode, &payload, wire);
            }
            if self.waiting.len() >= CONTROLS_MAX {
                return Err(FrameError::Controls.into());
            }
            self.waiting.push((head.opcode, payload));
            return Ok(());
        }
        if head.is_final {
            self.end_message(wire)?;
        }
        Ok(())
    }

    fn end_message(&mut self, wire: &mut Vec<u8>) -> Result<(), RelayError> {
        self.rewrite.flush(&mut self.out)?;
        self.emit_full(wire)?;
        let payload = std::mem::take(&mut self.out);
        self.emit(true, &payload, wire)?;
        self.message = None;
        self.is_begun = false;
        for (opcode, payload) in std::mem::take(&mut self.waiting) {
            self.emit_control(opcode, &payload, wire)?;
        }
        Ok(())
    }

    fn emit_full(&mut self, wire: &mut Vec<u8>) -> Result<(), RelayError> {
        while self.out.len() > FRAME_BYTES {
            let rest = self.out.split_off(FRAME_BYTES);
            let payload = std::mem::replace(&mut self.out, rest);
            self.emit(false, &payload, wire)?;
        }
        Ok(())
    }

    fn emit(&mut self, is_final: bool, payload: &[u8], wire: &mut Vec<u8>) -> Result<(), RelayError> {
        let opcode =
            if self.is_begun { Opcode::Continuation } else { self.message.unwrap_or(Opcode::Binary) };
        self.is_begun = true;
        Ok(frame::write(self.role, is_final, opcode, payload, wire)?)
    }

    /// A close keeps its code; what no longer fits after rewriting is left away.
    fn emit_control(&mut self, opcode: Opcode, payload: &[u8], wire: &mut Vec<u8>) -> Result<(), RelayError> {
        let (code, text) = payload.split_at(if opcode == Opcode::Close { payload.len().min(2) } else { 0 });
        let mut out = code.to_vec();
        let rewritten: Result<(), Refused> =
            self.rewrite.push(text, &mut out).and_then(|()| self.rewrite.flush(&mut out));
        rewritten?;
        if out.len() > CONTROL_BYTES_MAX {
            out.truncate(code.len());
        }
        Ok(frame::write(self.role, true, opcode, &out, wire)?)
    }
}

/// What frames of our own say: the payloads of messages, and those of control frames.
#[cfg(fuzzing)]
pub(crate) fn payloads(role: Role, wire: &mut [u8]) -> (Vec<u8>, Vec<u8>) {
    let (mut parser, mut said, mut control) = (Parser::new(role), Vec::new(), Vec::new());
    let mut input = wire;
    while let Some((event, used)) = parser.next(input).expect("what is passed on is well-formed") {
        if let Event::Payload { .. } = event {
            let into = if parser.head().opcode.is_control() { &mut control } else { &mut said };
            into.extend_from_slice(&input[..used]);
        }
        input = &mut input[used..];
    }
    (said, control)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Says "canary" in capital letters, also where it is split.
    #[derive(Default)]
    struct Loud(Vec<u8>);

    impl Rewrite for Loud {
        fn push(&mut self, chunk: &[u8], out: &mut Vec<u8>) -> Result<(), Refused> {
            self.0.extend_from_slice(chunk);
            let hold = (1..6).rev().find(|length| self.0.ends_with(&b"canary"[..*length])).unwrap_or(0);
            let rest = self.0.split_off(self.0.len() - hold);
            let text = String::from_utf8(std::mem::replace(&mut self.0, rest)).unwrap();
            out.extend_from_slice(text.replace("canary", "[REDACTED]").as_bytes());
            Ok(())
        }
        fn flush(&mut self, out: &mut Vec<u8>) -> Result<(), Refused> {
            out.append(&mut self.0);
            Ok(())
        }
    }

    fn frames(role: Role, frames: &[(bool, Opcode, &[u8])]) -> Vec<u8> {
        let mut wire = Vec::new();
        for (is_final, opcode, payload) in frames {
            frame::write(role, *is_final, *opcode, payload, &mut wire).unwrap();
        }
        wire
    }

    /// Everything that a wire says, as `(final, opcode, payload)`.
    fn read(role: Role, mut wire: Vec<u8>) -> Vec<(bool, Opcode, Vec<u8>)> {
        let (mut parser, mut frames, mut payload) = (Parser::new(role), Vec::new(), Vec::new());
        let mut input = &mut wire[..];
        while let Some((event, used)) = parser.next(input).unwrap() {
            if let Event::Payload { is_last } = event {
                payload.extend_from_slice(&input[..used]);
                if is_last {
                    let head = parser.head();
                    frames.push((head.is_final, head.opcode, std::mem::take(&mut payload)));
                }
            }
            input = &mut input[used..];
        }
        assert!(input.is_empty());
        frames
    }

    #[test]
    fn messages_are_rewritten_however_they_are_framed_and_split() {
        use Opcode::{Binary, Close, Continuation, Ping, Pong, Text};
        for role in [Role::Server, Role::Client] {
            let wire = frames(
                role,
                &[
                    (true, Text, b"a canary b"),
                    (false, Binary, b"x can"),
                    (true, Ping, b"canary"),
                    (false, Continuation, b""),
                    (true, Continuation, b"ary y"),
                    (true, Text, b""),
                    (true, Text, b"only a can"),
                    (true, Pong, b"plain"),
                    (true, Close, b"\x03\xe8canary"),
                ],
            );
            let expected: Vec<(bool, Opcode, Vec<u8>)> = vec![
                (true, Text, b"a [REDACTED] b".to_vec()),
                (true, Binary, b"x [REDACTED] y".to_vec()),
                (true, Ping, b"[REDACTED]".to_vec()),
                (true, Text, vec![]),
                (true, Text, b"only a can".to_vec()),
                (true, Pong, b"plain".to_vec()),
                (true, Close, b"\x03\xe8[REDACTED]".to_vec()),
            ];
            for chunk_bytes in [1, 2, 3, 7, wire.len()] {
                let mut messages = Messages::new(role, Box::<Loud>::default());
                let (mut wire, mut out) = (wire.clone(), Vec::new());
                for chunk in wire.chunks_mut(chunk_bytes) {
                    messages.push(chunk, &mut out).unwrap();
                }
                assert_eq!(read(role, out), expected, "{role:?} {chunk_bytes}");
            }
        }
    }

    #[test]
    fn a_long_message_is_passed_on_in_pieces() {
        let payload = vec![b'x'; 1_000_000];
        let mut wire = frames(Role::Server, &[(true, Opcode::Binary, &payload)]);
        let mut messages = Messages::new(Role::Server, Box::<Loud>::default());
        let mut all = Vec::new();
        for chunk in wire.chunks_mut(10_000) {
            let mut out = Vec::new();
            messages.push(chunk, &mut out).unwrap();
            assert!(out.len() <= 2 * FRAME_BYTES && messages.out.len() <= FRAME_BYTES);
            all.append(&mut out);
        }
        let frames = read(Role::Server, all);
        assert_eq!(frames.iter().map(|(_, _, payload)| payload.len()).sum::<usize>(), payload.len());
        assert_eq!(frames.iter().filter(|(is_final, ..)| *is_final).count(), 1);
        assert_eq!((frames[0].1, frames[1].1), (Opcode::Binary, Opcode::Continuation));
    }

    #[test]
    fn what_nobody_may_send_ends_it() {
        let masked = frames(Role::Client, &[(true, Opcode::Text, b"hi")]);
        for (wire, why) in [
            (masked, FrameError::Mask),
            (vec![0xc1, 1, b'x'], FrameError::Extension),
            (vec![0x83, 1, b'x'], FrameError::Opcode(3)),
            (vec![0x8b, 0], FrameError::Opcode(11)),
            (vec![0x80, 1, b'x'], FrameError::Order),
            (vec![0x01, 1, b'x', 0x81, 1, b'x'], FrameError::Order),
            (vec![0x09, 0], FrameError::Control),
            (vec![0x89, 126, 0, 126], FrameError::Control),
            (vec![0x82, 126, 0, 125], FrameError::Length),
            (vec![0x82, 127, 0, 0, 0, 0, 0, 0, 0xff, 0xff], FrameError::Length),
            (vec![0x82, 127, 0x80, 0, 0, 0, 0, 0, 0, 0], FrameError::Length),
        ] {
            let mut messages = Messages::new(Role::Server, Box::<Loud>::default());
            let error = messages.push(&mut wire.clone(), &mut Vec::new()).unwrap_err();
            assert_eq!(error.to_string(), why.to_string(), "{wire:?}");
        }
    }

    struct Same;
    impl Rewrite for Same {
        fn push(&mut self, chunk: &[u8], out: &mut Vec<u8>) -> Result<(), Refused> {
            out.extend_from_slice(chunk);
            Ok(())
        }
        fn flush(&mut self, _: &mut Vec<u8>) -> Result<(), Refused> {
            Ok(())
        }
    }

    proptest! {
        #[test]
        fn no_wire_is_too_strange(mut wire in proptest::collection::vec(any::<u8>(), 0..2_000), chunk_bytes in 1_usize..300) {
            for role in [Role::Server, Role::Client] {
                let mut messages = Messages::new(role, Box::new(Same));
                let mut out = Vec::new();
                for chunk in wire.chunks_mut(chunk_bytes) {
                    if messages.push(chunk, &mut out).is_err() {
                        break;
                    }
                }
            }
        }
    }
}
