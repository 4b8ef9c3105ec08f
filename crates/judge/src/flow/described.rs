//! Things that the user described instead of naming: by how their name begins or ends, or as the largest of a list.
//! A description counts only where exactly one thing that was read fits it; it never chooses an address or a link.

use super::heard::Heard;
use super::issued::kind_of;
use super::word;
use std::collections::{BTreeSet, HashMap};

/// Most names of things remembered in one conversation; once full, no description by name counts.
const NAMES_MAX: usize = 64 * 1024;
/// Most things of one list that are compared; nothing of a longer list is described.
const LISTED_ITEMS_MAX: usize = 64 * 1024;
/// Shortest beginning or end of a name that describes it, in characters.
const END_CHARS_MIN: usize = 3;
/// What says that the beginning of a name follows.
const BEGINS: [[&str; 2]; 4] =
    [["starting", "with"], ["starts", "with"], ["beginning", "with"], ["begins", "with"]];
/// What says that the end of a name follows.
const ENDS: [[&str; 2]; 4] = [["ending", "with"], ["ends", "with"], ["ending", "in"], ["ends", "in"]];
/// Words for an extreme, whether it is the greatest, and what may be measured.
const EXTREMES: [([&str; 1], bool, &[&str]); 4] = [
    (["largest"], true, &["size", "bytes", "length"]),
    (["biggest"], true, &["size", "bytes", "length"]),
    (["smallest"], false, &["size", "bytes", "length"]),
    (["cheapest"], false, &["price", "cost"]),
];

/// What is known of things beside their names' owners.
#[derive(Clone, Debug, Default)]
pub(super) struct Described {
    /// Names of things, by server.
    names: HashMap<String, BTreeSet<String>>,
    count: usize,
    /// The last complete list of each tool: every thing with what the server measured of it.
    lists: HashMap<(String, String), Vec<Thing>>,
}

#[derive(Clone, Debug)]
struct Thing {
    id: String,
    kind: BTreeSet<String>,
    measures: Vec<(String, f64)>,
}

impl Described {
    /// Notes what somebody called a thing of `server`.
    pub(super) fn name(&mut self, server: &str, words: &[String]) {
        if let [name] = words
            && self.count < NAMES_MAX
            && self.names.entry(server.to_owned()).or_default().insert(name.clone())
        {
            self.count += 1;
        }
    }

    /// Begins the list of a tool that always answers with everything; the one before is forgotten.
    pub(super) fn begin(&mut self, server: &str, tool: &str) {
        self.lists.insert((server.to_owned(), tool.to_owned()), Vec::new());
    }

    /// Notes a thing of the list that was begun.
    pub(super) fn measure(
        &mut self,
        (server, tool): (&str, &str),
        about: &[String],
        ids: &[Vec<String>],
        measures: &[(String, f64)],
    ) {
        let list = self.lists.get_mut(&(server.to_owned(), tool.to_owned()));
        if let (Some(list), [id]) = (list, ids)
            && list.len() <= LISTED_ITEMS_MAX
        {
            list.push(Thing { id: id.join(" "), kind: kind_of(about), measures: measures.to_vec() });
        }
    }

    /// The words by which the user described the only thing of `server` that is called `words`.
    pub(super) fn called(&self, server: &str, words: &[String], heard: &Heard) -> Option<String> {
        let ([name], Some(names)) = (words, self.names.get(server)) else { return None };
        if self.count >= NAMES_MAX || name.contains(['@', '/', '.', ':']) || !names.contains(name) {
            return None;
        }
        let is_only =
            |fits: &dyn Fn(&str) -> bool| fits(name) && names.iter().filter(|name| fits(name)).count() == 1;
        let begins = BEGINS.iter().flat_map(|words| heard.follow(words)).map(|end| (end, true));
        let ends = ENDS.iter().flat_map(|words| heard.follow(words)).map(|end| (end, false));
        let found = begins.chain(ends).filter(|(end, _)| end.chars().count() >= END_CHARS_MIN).find(
            |(end, begins)| {
                is_only(&|name| if *begins { name.starts_with(*end) } else { name.ends_with(*end) })
            },
        );
        found.map(|(end, begins)| format!("{} with `{end}`", if begins { "begins" } else { "ends" }))
    }

    /// The words by which the user described the thing that `id` stands for among all of its kind.
    pub(super) fn extreme(
        &self,
        server: &str,
        about: &[String],
        id: &[String],
        heard: &Heard,
    ) -> Option<String> {
        let (id, wanted) = (id.join(" "), kind_of(about));
        let said = EXTREMES.iter().flat_map(|(extreme, is_greatest, fields)| {
            heard.follow(extreme).map(move |noun| (extreme[0], *is_greatest, *fields, noun))
        });
        for (extreme, is_greatest, fields, noun) in said {
            let noun = kind_of(&[noun.to_owned()]);
            for things in
                self.lists.iter().filter(|((issuer, _), _)| issuer == server).map(|(_, things)| things)
            {
                let is_kind =
                    |thing: &Thing| !thing.kind.is_disjoint(&noun) && !thing.kind.is_disjoint(&wanted);
                if noun.is_empty() || things.len() > LISTED_ITEMS_MAX || !things.iter().all(is_kind) {
                    continue;
                }
                let measure = |thing: &Thing| {
                    let of = |(field, _): &&(String, f64)| {
                        word::parts_of_name(field).iter().any(|part| fields.contains(&part.as_str()))
                    };
                    let value = thing.measures.iter().find(of).map(|(_, value)| *value);
                    value.map(|value| if is_greatest { value } else { -value })
                };
                let Some(measures) = things.iter().map(measure).collect::<Option<Vec<f64>>>() else {
                    continue;
                };
                let greatest = measures.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let mut best = things.iter().zip(&measures).filter(|(_, value)| **value >= greatest);
                if let (Some((thing, _)), None) = (best.next(), best.next())
                    && thing.id == id
                {
                    return Some(format!("is the {extreme}"));
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        word::plain(text)
    }

    #[test]
    fn one_thing_fits_the_description_and_the_next_does_not() {
        let mut heard = Heard::default();
        heard.hear("Add Ann to the channel starting with Outer, and the mail starting with ann. Delete the largest file.");
        let mut described = Described::default();
        for name in ["Outer_0", "inner", "ann@evil.example"] {
            described.name("s", &words(name));
        }
        let called =
            |described: &Described, name: &str| described.called("s", &words(name), &heard).is_some();
        assert!(called(&described, "outer_0"));
        for other in ["inner", "Outer_1", "ann@evil.example", "outer"] {
            assert!(!called(&described, other), "{other}");
        }
        assert!(described.called("t", &words("outer_0"), &heard).is_none());
        described.name("s", &words("Outer_1"));
        assert!(!called(&described, "outer_0"), "two fit");

        let about = word::parts_of_name("list_files");
        described.begin("s", "list_files");
        for (id, size) in [("1", 10.0), ("2", 30.0), ("3", 20.0)] {
            described.measure(("s", "list_files"), &about, &[words(id)], &[("size".to_owned(), size)]);
        }
        let extreme = |described: &Described, about: &str, id: &str| {
            described.extreme("s", &word::parts_of_name(about), &words(id), &heard).is_some()
        };
        assert!(extreme(&described, "file_id", "2"));
        assert!(!extreme(&described, "file_id", "1") && !extreme(&described, "event_id", "2"));
        described.measure(("s", "list_files"), &about, &[words("4")], &[("size".to_owned(), 30.0)]);
        assert!(!extreme(&described, "file_id", "2"), "two are the largest");
        described.begin("s", "list_files");
        described.measure(("s", "list_files"), &about, &[words("1")], &[]);
        assert!(!extreme(&described, "file_id", "1"), "nothing was measured");
    }
}
