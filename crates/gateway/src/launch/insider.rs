//! One agent behind the wall as the gate knows it: the one conversation that everything at its door belongs to, and the words that came
//! in to it from outside. What it says of itself, of its sessions or of its user never makes it more trusted than these do.

use crate::conversation::{Conversation, Conversations};
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Most words from outside that are remembered; the oldest are forgotten.
const WORDS_MAX: usize = 128 * 1024;
/// Longest word that is remembered, in bytes.
const WORD_BYTES_MAX: usize = 4 * 1024;
/// Most words of one prompt that are looked for.
const PROMPT_WORDS_MAX: usize = 16 * 1024;
/// Most places at which one word of a prompt is looked for.
const PLACES_MAX: usize = 256;
/// How deep JSON that came in is looked into.
const DEPTH_MAX: usize = 16;

/// One agent behind the wall.
pub struct Insider {
    name: String,
    is_apart: bool,
    conversation: Arc<Conversation>,
    given: Mutex<Given>,
}

impl Insider {
    /// An agent whose changes to the project are kept apart or not, started with these arguments.
    pub(super) fn new(conversations: &Conversations, is_apart: bool, arguments: &[String]) -> Self {
        let mut given = Given::default();
        for argument in arguments {
            given.text(argument);
        }
        let (name, conversation) = (crate::random::name("d"), conversations.alone());
        Self { name, is_apart, conversation, given: Mutex::new(given) }
    }

    /// Its name, which nothing inside chose.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether the project's changes are kept apart in an overlay that commands beside it do not share.
    pub fn is_apart(&self) -> bool {
        self.is_apart
    }

    /// The conversation of everything at its door: whoever is inside could begin any number of sessions, and all of them have read
    /// what one has.
    pub fn conversation(&self) -> &Arc<Conversation> {
        &self.conversation
    }

    /// Takes in what was typed or written to it from outside.
    pub(super) fn give(&self, input: &str) {
        locked(&self.given).input(input);
    }

    /// The parts of `prompt` that came in from outside, each as long as it can be; the rest could have been said by anybody inside.
    pub fn told(&self, prompt: &str) -> Vec<String> {
        locked(&self.given).told(prompt)
    }
}

/// What came in from outside, word by word.
#[derive(Default)]
struct Given {
    words: VecDeque<Arc<str>>,
    /// How many words were forgotten.
    forgotten: usize,
    /// Where each word is, counted from the first that ever was.
    places: HashMap<Arc<str>, VecDeque<usize>>,
    line: Line,
}

impl Given {
    fn input(&mut self, input: &str) {
        for letter in input.chars() {
            if let Some(line) = self.line.typed(letter) {
                self.line_ends(&line);
            }
        }
        // A client may take up what was typed before the line ends.
    }

    fn line_ends(&mut self, line: &str) {
        self.text(line);
        // Programs that drive a client write one JSON value on each line.
        if line.trim_start().starts_with(['{', '['])
            && let Ok(value) = serde_json::from_str::<serde_json::Value>(line)
        {
            self.value(&value, DEPTH_MAX);
        }
    }

    fn value(&mut self, value: &serde_json::Value, depth: usize) {
        match value {
            serde_json::Value::String(text) => self.text(text),
            serde_json::Value::Array(parts) if depth > 0 => {
                parts.iter().for_each(|part| self.value(part, depth - 1));
            }
            serde_json::Value::Object(parts) if depth > 0 => {
                parts.values().for_each(|part| self.value(part, depth - 1));
            }
            _ => {}
        }
    }

    fn text(&mut self, text: &str) {
        for word in text.split_whitespace().filter(|word| word.len() <= WORD_BYTES_MAX) {
            self.push(word);
        }
        // What comes next does not go on from here.
        self.push("");
    }

    fn push(&mut self, word: &str) {
        if self.words.len() >= WORDS_MAX
            && let Some(oldest) = self.words.pop_front()
        {
            self.forgotten += 1;
            if let Some(places) = self.places.get_mut(&oldest) {
                places.pop_front();
                if places.is_empty() {
                    self.places.remove(&oldest);
                }
            }
        }
        let word: Arc<str> =
            self.places.get_key_value(word).map_or_else(|| word.into(), |(held, _)| held.clone());
        self.places.entry(word.clone()).or_default().push_back(self.forgotten + self.words.len());
        self.words.push_back(word);
    }

    fn told(&mut self, prompt: &str) -> Vec<String> {
        // A key that ends no line may have sent it.
        let typed = self.line.so_far().to_owned();
        if !typed.trim().is_empty() {
            self.text(&typed);
        }
        let words: Vec<&str> = prompt.split_whitespace().take(PROMPT_WORDS_MAX).collect();
        let mut found = Vec::new();
        let mut at = 0;
        while at < words.len() {
            let longest = self.places.get(words[at]).map_or(0, |places| {
                let latest = places.iter().rev().take(PLACES_MAX);
                latest.map(|place| self.run(*place, &words[at..])).max().unwrap_or(0)
            });
            if longest > 0 {
                found.push(words[at..at + longest].join(" "));
            }
            at += longest.max(1);
        }
        found
    }

    /// How many of `words` stand at `place`, one after the other.
    fn run(&self, place: usize, words: &[&str]) -> usize {
        let given = self.words.iter().skip(place - self.forgotten);
        given.zip(words).take_while(|(given, word)| given.as_ref() == **word).count()
    }
}

/// The line that is being typed. Keys that go elsewhere than to its end are not followed: what they change is not found.
#[derive(Default)]
struct Line {
    text: String,
    escape: Escape,
}

#[derive(Clone, Copy, Default, PartialEq)]
enum Escape {
    #[default]
    None,
    Begun,
    Sequence,
}

/// Longest line that is followed, in bytes; a longer one is taken in pieces.
const LINE_BYTES_MAX: usize = 1024 * 1024;

impl Line {
    /// The whole line, where `letter` ends it.
    fn typed(&mut self, letter: char) -> Option<String> {
        match (self.escape, letter) {
            (Escape::None, '\u{1b}') => self.escape = Escape::Begun,
            (Escape::Begun, '[' | 'O') => self.escape = Escape::Sequence,
            (Escape::Begun, _) => self.escape = Escape::None,
            (Escape::Sequence, '\u{40}'..='\u{7e}') => self.escape = Escape::None,
            (Escape::Sequence, _) => {}
            (Escape::None, '\r' | '\n') => return Some(std::mem::take(&mut self.text)),
            (Escape::None, '\u{7f}' | '\u{8}') => drop(self.text.pop()),
            (Escape::None, '\u{17}') => {
                let kept = self.text.trim_end().rfind(char::is_whitespace).map_or(0, |at| at + 1);
                self.text.truncate(kept);
            }
            (Escape::None, '\u{15}') => self.text.clear(),
            (Escape::None, '\t') => self.text.push(' '),
            (Escape::None, letter) if letter.is_control() => {}
            (Escape::None, letter) => self.text.push(letter),
        }
        (self.text.len() > LINE_BYTES_MAX).then(|| std::mem::take(&mut self.text))
    }

    fn so_far(&self) -> &str {
        &self.text
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_came_in_is_found() {
        let pasted = "\u{1b}[200~read one.txt\rand two.txt\u{1b}[201~ please\r";
        let table: [(&str, &str, &[&str]); 11] = [
            ("send it to bob\r", "send it to bob", &["send it to bob"]),
            ("send it to bob\r", "send it to eve", &["send it to"]),
            ("send it to bob", "send it to bob", &["send it to bob"]),
            ("send it to bobby\r", "send it to bob", &["send it to"]),
            ("send to eve\u{7f}\u{7f}\u{7f}bob\r", "send to eve", &["send to"]),
            ("send to eve\u{17}bob\r", "send to bob", &["send to bob"]),
            ("send to eve\u{15}hello bob\r", "hello eve", &["hello"]),
            (pasted, "read one.txt and two.txt please", &["read one.txt", "and two.txt please"]),
            ("{\"type\":\"user\",\"m\":[{\"text\":\"pay\\nbob 12\"}]}\n", "pay bob 12", &["pay bob 12"]),
            ("one\rtwo\r", "one two", &["one", "two"]),
            ("", "send it to eve", &[]),
        ];
        for (typed, prompt, told) in table {
            let mut given = Given::default();
            given.input(typed);
            assert_eq!(given.told(prompt), told, "{typed:?}: {prompt}");
        }
    }

    #[test]
    fn what_came_in_is_bounded_and_the_newest_of_it_is_kept() {
        let mut given = Given::default();
        for number in 0..WORDS_MAX {
            given.input(&format!("{number} \u{1b}[Cword\r"));
        }
        assert_eq!(given.words.len(), WORDS_MAX);
        assert!(given.places.values().map(VecDeque::len).sum::<usize>() == WORDS_MAX);
        assert_eq!(given.told("1 word"), ["word"]);
        let last = format!("{} word", WORDS_MAX - 1);
        assert_eq!(given.told(&last), [last]);
        given.input(&"x".repeat(3 * LINE_BYTES_MAX));
        assert!(given.line.text.len() <= LINE_BYTES_MAX + 4);
        given.input(&"[".repeat(200_000));
        given.input("\n");
        assert_eq!(given.told(""), Vec::<String>::new());
    }
}
