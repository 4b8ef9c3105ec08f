//! The frames of RFC 6455 §5.2, read piece by piece and written whole. A frame that breaks the rules of its role is an
//! error, never a guess.

use aws_lc_rs::rand;

const HEAD_BYTES_MAX: usize = 14;
const CONTROL_BYTES_MAX: u64 = 125;

/// Whose frames they are: a client's are masked, a server's are not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Client,
    Server,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opcode {
    Continuation = 0,
    Text = 1,
    Binary = 2,
    Close = 8,
    Ping = 9,
    Pong = 10,
}

impl Opcode {
    pub(crate) fn is_control(self) -> bool {
        self as u8 & 8 != 0
    }

    fn read(nibble: u8) -> Result<Self, FrameError> {
        Ok(match nibble {
            0 => Self::Continuation,
            1 => Self::Text,
            2 => Self::Binary,
            8 => Self::Close,
            9 => Self::Ping,
            10 => Self::Pong,
            other => return Err(FrameError::Opcode(other)),
        })
    }
}

/// What is wrong with a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FrameError {
    #[error("a WebSocket frame is masked where it must not be, or not where it must")]
    Mask,
    #[error("a WebSocket frame uses an extension that was not agreed on")]
    Extension,
    #[error("a WebSocket frame has the reserved opcode {0}")]
    Opcode(u8),
    #[error("a WebSocket control frame is fragmented or too long")]
    Control,
    #[error("a WebSocket frame's length is not written as it must be")]
    Length,
    #[error("a WebSocket message begins within another, or continues none")]
    Order,
    #[error("too many WebSocket control frames came within one message")]
    Controls,
    #[error("this system gives no random numbers")]
    Random,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Head {
    pub(crate) is_final: bool,
    pub(crate) opcode: Opcode,
    payload_bytes: u64,
    mask: Option<[u8; 4]>,
}

/// What was read.
#[derive(Debug)]
pub(crate) enum Event {
    Begin(Head),
    /// The bytes that were used are payload, unmasked where they lie. An empty payload is one such event too.
    Payload {
        is_last: bool,
    },
}

/// Reads the frames of one role.
pub(crate) struct Parser {
    role: Role,
    bytes: [u8; HEAD_BYTES_MAX],
    held: usize,
    head: Head,
    /// How much of the payload was read; `None` between frames.
    read_bytes: Option<u64>,
}

impl Parser {
    pub(crate) fn new(role: Role) -> Self {
        let head = Head { is_final: true, opcode: Opcode::Continuation, payload_bytes: 0, mask: None };
        Self { role, bytes: [0; HEAD_BYTES_MAX], held: 0, head, read_bytes: None }
    }

    /// The frame that the last event was of.
    pub(crate) fn head(&self) -> Head {
        self.head
    }

    /// The next event and how many bytes of `input` it used; `None` if it takes more of them, all being kept.
    pub(crate) fn next(&mut self, input: &mut [u8]) -> Result<Option<(Event, usize)>, FrameError> {
        if let Some(read_bytes) = self.read_bytes {
            let left = self.head.payload_bytes - read_bytes;
            if input.is_empty() && left > 0 {
                return Ok(None);
            }
            let used = usize::try_from(left).map_or(input.len(), |left| left.min(input.len()));
            if let Some(mask) = self.head.mask {
                apply(mask, read_bytes, &mut input[..used]);
            }
            let read_bytes = read_bytes + used as u64;
            let is_last = read_bytes == self.head.payload_bytes;
            self.read_bytes = (!is_last).then_some(read_bytes);
            return Ok(Some((Event::Payload { is_last }, used)));
        }
        for (at, byte) in input.iter().enumerate() {
            self.bytes[self.held] = *byte;
            self.held += 1;
            if let Some(head) = self.read_head()? {
                (self.head, self.held, self.read_bytes) = (head, 0, Some(0));
                return Ok(Some((Event::Begin(head), at + 1)));
            }
        }
        Ok(None)
    }

    /// The head, once it is whole. It is never longer than what there is room for.
    fn read_head(&self) -> Result<Option<Head>, FrameError> {
        let bytes = &self.bytes[..self.held];
        let &[first, second, ref rest @ ..] = bytes else { return Ok(None) };
        if first & 0x70 != 0 {
            return Err(FrameError::Extension);
        }
        let (is_final, opcode) = (first & 0x80 != 0, Opcode::read(first & 15)?);
        let is_masked = second & 0x80 != 0;
        if is_masked != (self.role == Role::Client) {
            return Err(FrameError::Mask);
        }
        let (payload_bytes, rest) = match second & 0x7f {
            126 => {
                let Some((length, rest)) = rest.split_first_chunk() else { return Ok(None) };
                (minimal(u16::from_be_bytes(*length).into(), 126)?, rest)
            }
            127 => {
                let Some((length, rest)) = rest.split_first_chunk() else { return Ok(None) };
                (minimal(u64::from_be_bytes(*length), 1 << 16)?, rest)
            }
            short => (short.into(), rest),
        };
        if opcode.is_control() && (!is_final || payload_bytes > CONTROL_BYTES_MAX) {
            return Err(FrameError::Control);
        }
        let mask = match (is_masked, rest.first_chunk()) {
            (false, _) => None,
            (true, Some(mask)) => Some(*mask),
            (true, None) => return Ok(None),
        };
        Ok(Some(Head { is_final, opcode, payload_bytes, mask }))
    }
}

fn minimal(length: u64, least: u64) -> Result<u64, FrameError> {
    if length >= least && length >> 63 == 0 { Ok(length) } else { Err(FrameError::Length) }
}

/// Masks or unmasks what begins at `offset` of a payload (RFC 6455 §5.3).
fn apply(mask: [u8; 4], offset: u64, payload: &mut [u8]) {
    let mut rotated = mask;
    rotated.rotate_left((offset % 4) as usize);
    for chunk in payload.chunks_mut(4) {
        for (byte, mask) in chunk.iter_mut().zip(rotated) {
            *byte ^= mask;
        }
    }
}

/// Appends a frame.
pub(crate) fn write(
    role: Role,
    is_final: bool,
    opcode: Opcode,
    payload: &[u8],
    wire: &mut Vec<u8>,
) -> Result<(), FrameError> {
    wire.push(u8::from(is_final) << 7 | opcode as u8);
    let masked = u8::from(role == Role::Client) << 7;
    if let Ok(length @ 0..126) = u8::try_from(payload.len()) {
        wire.push(masked | length);
    } else if let Ok(length) = u16::try_from(payload.len()) {
        wire.push(masked | 126);
        wire.extend_from_slice(&length.to_be_bytes());
    } else {
        wire.push(masked | 127);
        wire.extend_from_slice(&(payload.len() as u64).to_be_bytes());
    }
    if role == Role::Server {
        wire.extend_from_slice(payload);
        return Ok(());
    }
    let mut mask = [0; 4];
    rand::fill(&mut mask).map_err(|_| FrameError::Random)?;
    wire.extend_from_slice(&mask);
    let begin = wire.len();
    wire.extend_from_slice(payload);
    apply(mask, 0, &mut wire[begin..]);
    Ok(())
}
