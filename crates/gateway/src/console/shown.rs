//! Text from elsewhere on a page: without secrets, without anything unseen, and never as markup.
//! Every text that a page shows and that this program did not write itself comes through here.

use crate::gate::Gate;
use crate::screen::Hidden;
use crate::visible::{self, Part};
use maud::{Markup, html};
use std::sync::Arc;

/// How much of a text is searched for a short look at it, in bytes.
const LOOK_BYTES_MAX: usize = 8 * 1024;

/// The screen of one console.
pub(super) struct Shown {
    gate: Arc<Gate>,
    hidden: Hidden,
}

impl Shown {
    pub(super) fn new(gate: Arc<Gate>) -> Self {
        Self { gate, hidden: Hidden::new() }
    }

    /// `text` without what must not be read.
    fn screened(&self, text: &str) -> String {
        let clean = match self.gate.secrets.searched(text.as_bytes()) {
            Ok(None) => return self.gate.screen.said(&self.hidden, text),
            Ok(Some((clean, _))) => clean,
            Err(why) => return format!("not shown, because it cannot be searched for secrets: {why}"),
        };
        self.gate.screen.said(&self.hidden, &String::from_utf8_lossy(&clean))
    }

    /// `text` in one line.
    pub(super) fn line(&self, text: &str) -> Markup {
        marked(&self.screened(text), false)
    }

    /// `text` with its line breaks.
    pub(super) fn block(&self, text: &str) -> Markup {
        marked(&self.screened(text), true)
    }

    /// `text` as plain words, for where no element can stand; what is unseen is spelled in it.
    pub(super) fn words(&self, text: &str) -> String {
        visible::spelled(&self.screened(&text[..text.floor_char_boundary(LOOK_BYTES_MAX)]))
    }

    /// The beginning of `text` in one line. It is searched before it is cut, so that no part of a secret shows.
    pub(super) fn look(&self, text: &str, chars: usize) -> Markup {
        let clean = self.screened(&text[..text.floor_char_boundary(LOOK_BYTES_MAX)]);
        let cut: String = clean.chars().take(chars).collect();
        let is_cut = cut.len() < clean.len() || text.len() > LOOK_BYTES_MAX;
        html! { (marked(&cut, false)) @if is_cut { span.more { "…" } } }
    }

    /// `text` in sentences: what stands between backticks is set as code.
    pub(super) fn prose(&self, text: &str) -> Markup {
        let clean = self.screened(text);
        // An odd backtick is one like any other.
        let is_even = clean.matches('`').count().is_multiple_of(2);
        let parts = clean.split('`').enumerate();
        html! {
            @if is_even { @for (at, part) in parts {
                @if at % 2 == 1 { code { (marked(part, true)) } } @else { (marked(part, true)) }
            } } @else { (marked(&clean, true)) }
        }
    }

    /// A value, readable and whole.
    pub(super) fn json(&self, value: &serde_json::Value) -> Markup {
        self.block(&serde_json::to_string_pretty(value).unwrap_or_default())
    }
}

fn marked(text: &str, keeps_lines: bool) -> Markup {
    html! {
        @for part in visible::parts(text, keeps_lines) {
            @match part {
                Part::Plain(plain) => (plain),
                Part::Spelled(c) => span.unseen title=(visible::name(c)) { (format!("U+{:04X}", u32::from(c))) },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_markup_and_nothing_is_unseen() {
        for (text, shown) in [
            ("<script>alert(1)</script>", "&lt;script&gt;alert(1)&lt;/script&gt;"),
            ("\" onload='x", "&quot; onload='x"),
            ("a\u{202e}b", "a<span class=\"unseen\" title=\"right-to-left override\">U+202E</span>b"),
            (
                "\u{1b}[2J",
                "<span class=\"unseen\" title=\"escape, begins a terminal command\">U+001B</span>[2J",
            ),
        ] {
            assert_eq!(marked(text, false).into_string(), shown);
        }
        assert_eq!(marked("a\nb", true).into_string(), "a\nb");
        assert!(marked("a\nb", false).into_string().contains("U+000A"));
    }
}
