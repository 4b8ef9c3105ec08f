//! Server-sent events as MCP uses them: an incremental reader with bounds, and a writer of one event.
//! Nothing here knows what an event says.

use crate::wire::frame::FRAME_BYTES_MAX;

/// One event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// The `data` lines, joined by line feeds.
    pub data: Vec<u8>,
    /// The `id`, where it has one.
    pub id: Option<String>,
    /// The `retry` field, in milliseconds.
    pub retry_ms: Option<u64>,
}

/// An event larger than a frame may be.
#[derive(Debug, thiserror::Error)]
#[error("an event is larger than {FRAME_BYTES_MAX} bytes")]
pub struct TooLarge;

/// Collects bytes into events (HTML Living Standard, server-sent events §9.2.6; line ends LF and CRLF).
#[derive(Debug, Default)]
pub struct Reader {
    buffer: Vec<u8>,
    scanned: usize,
    event: Event,
    any: bool,
}

impl Reader {
    /// Takes bytes and appends the events they complete to `out`.
    ///
    /// # Errors
    /// [`TooLarge`].
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<Event>) -> Result<(), TooLarge> {
        self.buffer.extend_from_slice(bytes);
        let mut start = 0;
        while let Some(at) = self.buffer[self.scanned.max(start)..].iter().position(|byte| *byte == b'\n') {
            let end = self.scanned.max(start) + at;
            let line = self.buffer[start..end].to_vec();
            self.line(line.strip_suffix(b"\r").unwrap_or(&line), out);
            start = end + 1;
            self.scanned = start;
        }
        self.buffer.drain(..start);
        self.scanned = self.buffer.len();
        if self.buffer.len() + self.event.data.len() > FRAME_BYTES_MAX { Err(TooLarge) } else { Ok(()) }
    }

    fn line(&mut self, line: &[u8], out: &mut Vec<Event>) {
        if line.is_empty() {
            if self.any {
                if self.event.data.last() == Some(&b'\n') {
                    self.event.data.pop();
                }
                out.push(std::mem::take(&mut self.event));
            }
            self.any = false;
            return;
        }
        let (field, value) = match line.iter().position(|byte| *byte == b':') {
            Some(at) => (&line[..at], line[at + 1..].strip_prefix(b" ").unwrap_or(&line[at + 1..])),
            None => (line, &b""[..]),
        };
        match field {
            b"data" => {
                self.event.data.extend_from_slice(value);
                self.event.data.push(b'\n');
                self.any = true;
            }
            b"id" => {
                self.event.id = String::from_utf8(value.to_vec()).ok().filter(|id| !id.contains('\0'));
                self.any = true;
            }
            b"retry" => {
                self.event.retry_ms = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
                self.any = true;
            }
            _ => {}
        }
    }
}

/// One `message` event holding `json`, which is one line.
pub fn message(json: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(json.len() + 24);
    out.extend_from_slice(b"event: message\ndata: ");
    // A JSON text may hold line breaks between its tokens; an event's data line may not.
    out.extend(json.bytes().map(|byte| if byte == b'\n' || byte == b'\r' { b' ' } else { byte }));
    out.extend_from_slice(b"\n\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_chunking_gives_the_same_events() {
        let text = b": ping\n\nid: 7\ndata:\n\nevent: message\r\ndata: {\"a\":\r\ndata: 1}\r\n\r\nretry: 50\ndata: x\n\ndata: cut";
        let mut whole = Vec::new();
        Reader::default().push(text, &mut whole).expect("small");
        assert_eq!(whole.len(), 3);
        assert_eq!(whole[0], Event { data: vec![], id: Some("7".into()), retry_ms: None });
        assert_eq!(whole[1].data, b"{\"a\":\n1}");
        assert_eq!(whole[2].retry_ms, Some(50));
        for size in 1..text.len() {
            let mut reader = Reader::default();
            let mut events = Vec::new();
            for chunk in text.chunks(size) {
                reader.push(chunk, &mut events).expect("small");
            }
            assert_eq!(events, whole, "chunks of {size}");
        }
    }

    #[test]
    fn an_endless_event_is_refused() {
        let mut reader = Reader::default();
        let chunk = vec![b'x'; 1 << 20];
        let refused = (0..40).any(|_| reader.push(&chunk, &mut Vec::new()).is_err());
        assert!(refused);
    }

    #[test]
    fn a_message_is_one_data_line() {
        assert_eq!(message("{\"a\":\n1}"), b"event: message\ndata: {\"a\": 1}\n\n");
    }
}
