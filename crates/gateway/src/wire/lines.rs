//! Splits a byte stream into lines of bounded length. A line that is too long is dropped whole and said so.

use tokio::io::{AsyncBufRead, AsyncBufReadExt};

/// What the next line is.
#[derive(Debug, PartialEq, Eq)]
pub enum Line {
    /// A line without its line break; never empty.
    Whole(Vec<u8>),
    /// A line longer than the limit; it was read to its end and thrown away.
    TooLong,
    /// The stream ended; a last line without a break is thrown away, for it may be cut.
    End,
}

/// Reads the next non-empty line of at most `bytes_max` bytes.
///
/// # Errors
/// The stream's own.
pub async fn next(reader: &mut (impl AsyncBufRead + Unpin), bytes_max: usize) -> std::io::Result<Line> {
    let mut line = Vec::new();
    let mut too_long = false;
    loop {
        let available = reader.fill_buf().await?;
        if available.is_empty() {
            return Ok(Line::End);
        }
        let (part, ends) = match available.iter().position(|byte| *byte == b'\n') {
            Some(at) => (&available[..at], true),
            None => (available, false),
        };
        too_long |= line.len() + part.len() > bytes_max;
        if too_long {
            line = Vec::new();
        } else {
            line.extend_from_slice(part);
        }
        let used = part.len() + usize::from(ends);
        reader.consume(used);
        if !ends {
            continue;
        }
        if too_long {
            return Ok(Line::TooLong);
        }
        while line.last().is_some_and(|byte| matches!(byte, b'\r' | b' ' | b'\t')) {
            line.pop();
        }
        if !line.is_empty() {
            return Ok(Line::Whole(line));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_are_whole_or_dropped() {
        let mut stream = std::io::Cursor::new(b"\n abc \r\n0123456789\n01234567890\nok\ncut".to_vec());
        let mut got = Vec::new();
        loop {
            match next(&mut stream, 10).await.expect("a cursor reads") {
                Line::End => break,
                line => got.push(line),
            }
        }
        let whole = |text: &str| Line::Whole(text.as_bytes().to_vec());
        assert_eq!(got, [whole(" abc"), whole("0123456789"), Line::TooLong, whole("ok")]);
    }
}
