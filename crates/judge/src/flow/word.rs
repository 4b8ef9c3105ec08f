//! Texts as words in one normal form, so that a value can be found however it is spelled.
//! Case, spacing, compatibility forms (NFKC), thousands separators and `https://` do not count; look-alikes are other words.

use std::borrow::Cow;
use std::hash::{DefaultHasher, Hash, Hasher};
use unicode_normalization::UnicodeNormalization;

/// A word of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Word {
    /// In normal form.
    pub(super) text: String,
    /// It begins with a capital that no sentence asks for, or stands in quotes: somebody's name for something.
    pub(super) is_name: bool,
}

/// The hash under which `words` are remembered in sequence.
pub(super) fn hash<'a>(words: impl IntoIterator<Item = &'a str>) -> u64 {
    let mut hasher = DefaultHasher::new();
    words.into_iter().for_each(|word| word.hash(&mut hasher));
    hasher.finish()
}

/// The words of `text`.
#[cfg(test)]
fn words(text: &str) -> Vec<Word> {
    let mut found = Vec::new();
    each(text, |word| found.push(word));
    found
}

/// The texts of the words of `text`.
pub(super) fn plain(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    each(text, |word| found.push(word.text));
    found
}

/// The words of a name in any of the usual spellings: `file_id`, `fileId`, `File-Id`.
pub(super) fn parts_of_name(name: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut after_lower = false;
    for c in name.chars() {
        if !c.is_alphanumeric() || (c.is_uppercase() && after_lower) {
            parts.push(String::new());
        }
        after_lower = c.is_lowercase() || c.is_numeric();
        if c.is_alphanumeric()
            && let Some(last) = parts.last_mut()
        {
            last.extend(c.to_lowercase());
        }
    }
    parts.retain(|part| !part.is_empty());
    parts
}

/// A character that shows nothing, reorders or controls: no value that holds one is ever found.
pub(super) fn is_hidden(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}'
        | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
        || (c.is_control() && !matches!(c, '\t' | '\n' | '\r'))
}

/// Calls `found` with each word of `text` in order.
pub(super) fn each(text: &str, mut found: impl FnMut(Word)) {
    let text: Cow<'_, str> =
        if text.is_ascii() { Cow::Borrowed(text) } else { text.nfkc().collect::<String>().into() };
    let mut quote: Option<char> = None;
    let mut sentence_begins = true;
    let mut start = None;
    let mut before = ' ';
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        let next = chars.peek().map_or(' ', |(_, next)| *next);
        let inside = c.is_alphanumeric()
            || "_@.-+/:#&=?%~$'’\\".contains(c)
            || (c == ',' && before.is_ascii_digit() && next.is_ascii_digit());
        let opens =
            quote.is_none() && matches!(c, '"' | '“' | '«' | '`' | '\'' | '‘') && !before.is_alphanumeric();
        let closes = quote.is_some_and(|open| closing(open) == c) && !next.is_alphanumeric();
        if inside && !opens && !closes {
            start.get_or_insert(at);
        } else if let Some(from) = start.take() {
            emit(&text[from..at], quote.is_some(), &mut sentence_begins, &mut found);
        }
        if opens {
            quote = Some(c);
        } else if closes || c == '\n' {
            quote = None;
        }
        if matches!(c, '\n' | '!' | '?') {
            sentence_begins = true;
        }
        before = c;
    }
    if let Some(from) = start {
        emit(&text[from..], quote.is_some(), &mut sentence_begins, &mut found);
    }
}

fn closing(open: char) -> char {
    match open {
        '“' => '”',
        '«' => '»',
        '‘' => '’',
        same => same,
    }
}

fn emit(raw: &str, is_quoted: bool, sentence_begins: &mut bool, found: &mut impl FnMut(Word)) {
    let begins = std::mem::replace(sentence_begins, raw.ends_with(['.', '?', ':']));
    let trimmed = trim(raw);
    let is_name = is_quoted || (!begins && trimmed.chars().next().is_some_and(char::is_uppercase));
    if let Some(number) = number(trimmed) {
        return found(Word { text: number, is_name });
    }
    for part in trimmed.split(',').map(trim).filter(|part| !part.is_empty()) {
        let text = number(part).unwrap_or_else(|| part.to_lowercase().replace('’', "'"));
        let text = ["https://", "http://", "mailto:"]
            .iter()
            .find_map(|scheme| text.strip_prefix(scheme))
            .unwrap_or(&text);
        let text = text.trim_end_matches('/');
        let text = text.strip_prefix("./").unwrap_or(text);
        let text = text.strip_suffix("'s").unwrap_or(text);
        if !text.is_empty() {
            found(Word { text: text.to_owned(), is_name });
        }
    }
}

/// `raw` without the punctuation around it.
fn trim(raw: &str) -> &str {
    let mut text = raw.trim_end_matches(|c: char| ".:-+#&=?%'’~$\\@_".contains(c));
    loop {
        let mut chars = text.chars();
        let (Some(first), second) = (chars.next(), chars.next().unwrap_or(' ')) else { return text };
        let is_loose = match first {
            '#' | '$' | '@' | '\'' | '’' | ':' | '=' | '?' | '&' | '%' | '+' | '\\' => true,
            '.' => !second.is_alphanumeric() && second != '/',
            '-' => !second.is_ascii_digit(),
            '~' => second != '/',
            _ => false,
        };
        if !is_loose {
            return text;
        }
        text = &text[first.len_utf8()..];
    }
}

/// A number in its shortest form: `1,000.50` and `1000.5` are one.
pub(super) fn number(text: &str) -> Option<String> {
    let (sign, digits) = text.strip_prefix('-').map_or(("", text), |rest| ("-", rest));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let groups: Vec<&str> = whole.split(',').collect();
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let is_grouped =
        groups.len() == 1 || (groups[0].len() <= 3 && groups[1..].iter().all(|group| group.len() == 3));
    if !groups.iter().all(|group| is_digits(group))
        || !is_grouped
        || !(fraction.is_empty() || is_digits(fraction))
    {
        return None;
    }
    let whole = groups.concat();
    // A code that begins with zeros is no quantity.
    if whole.len() > 1 && whole.starts_with('0') {
        return None;
    }
    let fraction = fraction.trim_end_matches('0');
    Some(if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") })
}

/// Whether finding this word by itself proves nothing, because anybody says it.
pub(super) fn is_weak(word: &str) -> bool {
    let is_number = number(word).is_some();
    (is_number && word.len() < 5) || word.chars().count() < 3 || COMMON.binary_search(&word).is_ok()
}

/// Words without a meaning of their own: a text may hold them whoever said them.
pub(super) fn is_glue(word: &str) -> bool {
    GLUE.binary_search(&word).is_ok()
}

/// Sorted.
const GLUE: [&str; 53] = [
    "a", "about", "am", "an", "and", "are", "as", "at", "be", "been", "by", "can", "for", "from", "had",
    "has", "have", "he", "her", "his", "i", "in", "into", "is", "it", "its", "me", "my", "of", "on", "or",
    "our", "pm", "she", "so", "that", "the", "their", "them", "there", "they", "this", "to", "up", "us",
    "was", "we", "were", "will", "with", "would", "you", "your",
];

/// Sorted: what prompts say so often that finding it proves nothing.
const COMMON: [&str; 250] = [
    "about",
    "access",
    "account",
    "accounts",
    "active",
    "add",
    "added",
    "address",
    "admin",
    "after",
    "again",
    "agenda",
    "all",
    "also",
    "amount",
    "and",
    "another",
    "any",
    "anyone",
    "app",
    "april",
    "archive",
    "are",
    "attach",
    "attached",
    "august",
    "available",
    "average",
    "back",
    "balance",
    "bank",
    "before",
    "best",
    "bill",
    "bills",
    "body",
    "book",
    "booking",
    "both",
    "but",
    "calendar",
    "call",
    "can",
    "cancel",
    "car",
    "change",
    "channel",
    "channels",
    "chat",
    "check",
    "city",
    "code",
    "company",
    "contact",
    "contacts",
    "content",
    "copy",
    "create",
    "current",
    "customer",
    "daily",
    "data",
    "date",
    "day",
    "days",
    "december",
    "default",
    "delete",
    "description",
    "details",
    "direct",
    "does",
    "done",
    "draft",
    "each",
    "email",
    "emails",
    "end",
    "event",
    "events",
    "every",
    "everyone",
    "external",
    "february",
    "file",
    "files",
    "find",
    "first",
    "flight",
    "folder",
    "follow",
    "for",
    "free",
    "friday",
    "from",
    "full",
    "general",
    "get",
    "give",
    "group",
    "groups",
    "has",
    "have",
    "help",
    "here",
    "home",
    "hotel",
    "hour",
    "hours",
    "how",
    "inbox",
    "info",
    "information",
    "internal",
    "invite",
    "item",
    "items",
    "january",
    "july",
    "june",
    "just",
    "key",
    "kind",
    "know",
    "last",
    "latest",
    "let",
    "like",
    "link",
    "list",
    "lunch",
    "made",
    "mail",
    "main",
    "make",
    "many",
    "march",
    "master",
    "may",
    "meeting",
    "member",
    "members",
    "message",
    "messages",
    "monday",
    "money",
    "month",
    "more",
    "most",
    "name",
    "need",
    "new",
    "news",
    "next",
    "none",
    "note",
    "notes",
    "november",
    "now",
    "number",
    "october",
    "off",
    "office",
    "one",
    "online",
    "open",
    "order",
    "other",
    "our",
    "out",
    "page",
    "paid",
    "participants",
    "password",
    "pay",
    "payment",
    "people",
    "person",
    "phone",
    "plan",
    "please",
    "post",
    "price",
    "private",
    "project",
    "public",
    "random",
    "read",
    "recipient",
    "remove",
    "report",
    "restaurant",
    "room",
    "root",
    "saturday",
    "save",
    "schedule",
    "see",
    "send",
    "september",
    "set",
    "share",
    "shared",
    "should",
    "some",
    "start",
    "subject",
    "summary",
    "sunday",
    "task",
    "tasks",
    "team",
    "tell",
    "test",
    "text",
    "that",
    "the",
    "them",
    "then",
    "this",
    "thursday",
    "time",
    "title",
    "today",
    "tomorrow",
    "tonight",
    "total",
    "true",
    "tuesday",
    "two",
    "update",
    "use",
    "user",
    "users",
    "website",
    "wednesday",
    "week",
    "well",
    "what",
    "when",
    "where",
    "which",
    "who",
    "will",
    "with",
    "work",
    "year",
    "yes",
    "yesterday",
    "you",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_value_in_several_spellings_is_the_same_words() {
        let same = [
            ("https://Example.com/a/", "example.com/a"),
            ("$1,000.50", "1000.5"),
            ("Anna's", "anna"),
            ("ann@x.org.", "ANN@x.org"),
            ("ｆｕｌｌ", "full"),
            ("#general", "general"),
            ("(see ./a/b.txt)", "see a/b.txt"),
            ("'bill.txt'", "bill.txt"),
        ];
        for (one, other) in same {
            assert_eq!(plain(one), plain(other), "{one}");
        }
        let different = [
            ("ann@x.org", "ann@x.org.evil.com"),
            ("x.org", "ann@x.org"),
            ("p\u{430}ypal.com", "paypal.com"),
            ("a.txt", "docs/a.txt"),
            ("0013", "13"),
            ("1,2,3", "123"),
            ("/etc/passwd", "etc/passwd"),
        ];
        for (one, other) in different {
            assert_ne!(plain(one), plain(other), "{one}");
        }
    }

    #[test]
    fn a_name_is_capital_inside_a_sentence_or_quoted() {
        let names = |text: &str| {
            words(text).into_iter().filter(|word| word.is_name).map(|word| word.text).collect::<Vec<_>>()
        };
        assert_eq!(names("Send it to Alice. Then \"general\" and don't."), ["alice", "general"]);
        assert_eq!(names("all in 'team notes' please"), ["team", "notes"]);
    }

    #[test]
    fn the_lists_are_sorted() {
        assert!(COMMON.is_sorted() && GLUE.is_sorted());
    }
}
