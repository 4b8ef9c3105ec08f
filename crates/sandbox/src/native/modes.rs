//! What a program has switched on in the terminal that it writes to, read from what it writes: a hidden cursor, the other screen, reports
//! of the mouse. A program that is killed leaves them on, so they are switched off when it has ended. Nothing it writes is changed.

/// Modes that make a terminal hard to use for whoever comes next (xterm's control sequences, DEC private modes).
const MODES: [u32; 15] =
    [9, 47, 1000, 1001, 1002, 1003, 1004, 1005, 1006, 1015, 1016, 1047, 1049, 2004, 2031];
/// The mode that shows the cursor, which is on to begin with.
const CURSOR: u32 = 25;
/// Longest sequence that is read; a longer one is none that matters here.
const SEQUENCE_BYTES_MAX: usize = 64;

/// What is switched on.
#[derive(Debug, Default)]
pub(super) struct Modes {
    sequence: Vec<u8>,
    on: Vec<u32>,
    is_hidden: bool,
    /// Flags of the kitty keyboard protocol that were pushed and not popped.
    keys: u32,
}

impl Modes {
    /// Takes in what is written.
    pub(super) fn see(&mut self, output: &[u8]) {
        for byte in output {
            match (self.sequence.as_slice(), byte) {
                (_, 0x1b) => self.sequence = vec![0x1b],
                ([], _) => {}
                ([0x1b], b'[') => self.sequence.push(b'['),
                // A full reset.
                ([0x1b], b'c') => *self = Self::default(),
                ([0x1b], _) => self.sequence.clear(),
                (_, 0x40..=0x7e) => {
                    let sequence = std::mem::take(&mut self.sequence);
                    self.ended(&sequence[2..], *byte);
                }
                (seen, _) if seen.len() >= SEQUENCE_BYTES_MAX => self.sequence.clear(),
                (_, byte) => self.sequence.push(*byte),
            }
        }
    }

    fn ended(&mut self, parameters: &[u8], last: u8) {
        let Ok(parameters) = std::str::from_utf8(parameters) else { return };
        match (parameters.chars().next(), last) {
            (Some('?'), b'h' | b'l') => {
                let modes = parameters[1..].split(';').filter_map(|mode| mode.parse::<u32>().ok());
                for mode in modes {
                    self.switched(mode, last == b'h');
                }
            }
            (Some('>'), b'u') => self.keys = self.keys.saturating_add(1),
            (Some('<'), b'u') => self.keys -= parameters[1..].parse().unwrap_or(1).min(self.keys),
            _ => {}
        }
    }

    fn switched(&mut self, mode: u32, on: bool) {
        if mode == CURSOR {
            self.is_hidden = !on;
        }
        self.on.retain(|known| *known != mode);
        if on && MODES.contains(&mode) {
            self.on.push(mode);
        }
    }

    /// What switches off whatever is on.
    pub(super) fn undo(&self) -> Vec<u8> {
        let mut undo = String::new();
        if self.keys > 0 {
            undo.push_str(&format!("\x1b[<{}u", self.keys));
        }
        // The screen last: the others may be its own.
        let (screens, others): (Vec<u32>, Vec<u32>) =
            self.on.iter().partition(|mode| [47, 1047, 1049].contains(*mode));
        for mode in others.into_iter().chain(screens) {
            undo.push_str(&format!("\x1b[?{mode}l"));
        }
        if self.is_hidden {
            undo.push_str("\x1b[?25h");
        }
        undo.into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_on_is_switched_off() {
        let table: [(&str, &str); 11] = [
            ("plain \x1b[31mred\x1b[0m", ""),
            ("\x1b[?2004h", "\x1b[?2004l"),
            ("\x1b[?2004hwork\x1b[?2004l", ""),
            ("\x1b[?1049h\x1b[?1003;1006h\x1b[?25l", "\x1b[?1003l\x1b[?1006l\x1b[?1049l\x1b[?25h"),
            ("\x1b[?25l\x1b[?25h", ""),
            ("\x1b[>1u\x1b[>5u", "\x1b[<2u"),
            ("\x1b[>1u\x1b[<u\x1b[<9u", ""),
            ("\x1b[?7h\x1b[?12h", ""),
            ("\x1b[?2004h\x1bc", ""),
            ("\x1b[?200\x1b[?1000h", "\x1b[?1000l"),
            ("?2004h [?2004h", ""),
        ];
        for (written, undo) in table {
            for step in [1, 2, written.len()] {
                let mut modes = Modes::default();
                written.as_bytes().chunks(step).for_each(|piece| modes.see(piece));
                assert_eq!(String::from_utf8(modes.undo()).unwrap(), undo, "{written:?} by {step}");
            }
        }
        let mut modes = Modes::default();
        modes.see(b"\x1b[");
        modes.see(&[b';'; 10_000]);
        assert!(modes.sequence.len() <= SEQUENCE_BYTES_MAX && modes.undo().is_empty());
    }
}
