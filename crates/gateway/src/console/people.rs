//! Who may look and answer, and, for those who may say so, letting somebody in and turning somebody out. Either takes a passkey's
//! signature over who and as what; a cookie changes nothing here.

use super::guard::Asked;
use super::visit::Visitor;
use super::{Console, Refused, door::failed, html, json, need, page};
use crate::people::{LINK_SECONDS_MAX, Person, Role, Stranger, usable};
use crate::wire::console as wire;
use crate::wire::control;
use axum::response::Response;
use http::StatusCode;
use maud::{Markup, html};
use serde_json::json;
use std::collections::BTreeMap;

/// What these signatures are about: no approval is called so.
const ABOUT: &str = "people";

/// What an admin does to people.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Deed {
    /// Makes a link for somebody; for anybody without a name.
    LetIn { role: Role, name: Option<String> },
    /// Takes somebody's passkeys away.
    TurnOut { name: String },
}

impl Deed {
    /// The words that are signed. A name has no space, so no two deeds have the same.
    fn words(&self) -> String {
        match self {
            Deed::LetIn { role, name: Some(name) } => format!("let in as {} {name}", role.word()),
            Deed::LetIn { role, name: None } => format!("let in as {}", role.word()),
            Deed::TurnOut { name } => format!("turn out {name}"),
        }
    }

    /// What was filled in.
    fn read(answer: &str, fields: &BTreeMap<String, String>) -> Option<Self> {
        let name = fields.get("name").map(|name| name.trim().to_owned()).filter(|name| !name.is_empty());
        match answer {
            "let in" => Some(Deed::LetIn { role: Role::named(fields.get("role")?)?, name }),
            "turn out" => Some(Deed::TurnOut { name: name? }),
            _ => None,
        }
    }

    /// The deed of these words.
    fn said(words: &str) -> Option<Self> {
        let (deed, rest) = match (words.strip_prefix("let in as "), words.strip_prefix("turn out ")) {
            (Some(rest), _) => ("let in", rest),
            (_, Some(rest)) => ("turn out", rest),
            _ => return None,
        };
        let field = |name: &str, text: &str| (name.to_owned(), text.to_owned());
        let fields = match (deed, rest.split_once(' ')) {
            ("let in", Some((role, name))) => [field("role", role), field("name", name)].into(),
            ("let in", None) => [field("role", rest)].into(),
            _ => [field("name", rest)].into(),
        };
        Self::read(deed, &fields).filter(|deed| deed.words() == words)
    }
}

impl Console {
    pub(super) fn people(&self, visitor: &Visitor) -> Result<Response, Refused> {
        let people = self.gate.people.list().map_err(failed)?;
        let is_admin = visitor.person.role >= Role::Admin;
        let main = html! {
            header.top { h1 { "People" } }
            @if is_admin { (invitation()) } @else { p.note { "An admin lets people in and turns them out." } }
            ol.rows { @for person in &people { (self.row_of(person, &visitor.person)) } }
        };
        Ok(html(StatusCode::OK, self.page_of(visitor, "people", "People", "").around(&main)))
    }

    fn row_of(&self, person: &control::Person, viewer: &Person) -> Markup {
        // Nobody turns themselves out here: the last one could not come back.
        let may_turn_out =
            viewer.role >= Role::Admin && person.revoked_at.is_none() && person.name != viewer.name;
        html! {
            li { div.row.person {
                span.what { (self.shown.line(&person.name)) }
                span.when { @if let Some(at) = person.used_at { "used " (page::ago(at)) } @else { "came " (page::ago(person.added_at)) } }
                span.why {
                    @if person.revoked_at.is_some() { (page::word("turned out")) } @else { (self.shown.line(&person.role)) }
                    ", " (person.passkeys) @if person.passkeys == 1 { " passkey" } @else { " passkeys" }
                }
                @if may_turn_out {
                    form data-action="/console/people" data-request="" data-answer="turn out" {
                        input type="hidden" name="name" value=(person.name);
                        button.quiet type="submit" aria-label={ "Turn out " (self.shown.words(&person.name)) } { "Turn out" }
                    }
                }
            } }
        }
    }

    /// Gives out what a passkey must sign to let somebody in, or to turn somebody out.
    pub(super) fn people_challenge(&self, asked: &Asked, visitor: &Visitor) -> Result<Response, Refused> {
        need(&visitor.person, Role::Admin)?;
        let answering: wire::Answering = asked.json()?;
        let deed = Deed::read(&answering.answer, &answering.fields).ok_or_else(Refused::absent)?;
        // A name that cannot be is said before anybody signs it.
        if let Deed::LetIn { name: Some(name), .. } | Deed::TurnOut { name } = &deed {
            usable(name).map_err(|error| Refused::new(StatusCode::BAD_REQUEST, error.to_string()))?;
        }
        let words = deed.words();
        self.to_sign(visitor, ABOUT, String::new(), words.clone(), &words)
    }

    /// Does what a passkey of an admin signed.
    pub(super) async fn people_changed(&self, asked: &Asked, visitor: &Visitor) -> Result<Response, Refused> {
        need(&visitor.person, Role::Admin)?;
        let used: wire::Used = asked.json()?;
        let signing = self.signing(&used, visitor, ABOUT)?;
        let deed = Deed::said(&signing.words).ok_or_else(Refused::absent)?;
        let by = self.believe(signing, &used, visitor, Role::Admin).await?;
        let unable = |error: Stranger| Refused::new(StatusCode::CONFLICT, error.to_string());
        let how = format!("console, by {}", by.name);
        match deed {
            Deed::LetIn { role, name } => {
                let link = self.gate.people.link(role, name, &how).await.map_err(unable)?;
                Ok(json(StatusCode::OK, &json!({ "state": "let in", "link": link })))
            }
            Deed::TurnOut { name } => {
                self.gate.people.revoke(&name, &how).await.map_err(unable)?;
                Ok(json(StatusCode::OK, &json!({ "state": "turned out" })))
            }
        }
    }
}

fn invitation() -> Markup {
    let minutes = LINK_SECONDS_MAX / 60;
    html! {
        section.invite {
            h2 { "Let somebody in" }
            form #invite data-action="/console/people" data-request="" data-answer="let in" {
                label { "Role" select name="role" {
                    @for role in [Role::Viewer, Role::Approver, Role::Admin] { option value=(role.word()) { (role.word()) } }
                } }
                label { "Name" input name="name" maxlength="64" autocomplete="off" spellcheck="false"
                    pattern="[A-Za-z0-9._@\\-]*" placeholder="Anybody"; }
                button type="submit" { "Make a link with passkey" }
            }
            p.note { "The link lets one person in, once, within " (minutes) " minutes. With the name of somebody who is here it adds a passkey." }
            output #link for="invite" {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_signed_says_who_and_as_what_and_nothing_else() {
        let named = |name: &str| Some(name.to_owned());
        for (deed, words) in [
            (Deed::LetIn { role: Role::Approver, name: named("bob") }, "let in as approver bob"),
            (Deed::LetIn { role: Role::Viewer, name: None }, "let in as viewer"),
            (Deed::TurnOut { name: "bob".to_owned() }, "turn out bob"),
        ] {
            assert_eq!((deed.words(), Deed::said(words)), (words.to_owned(), Some(deed)));
        }
        for words in
            ["", "let in as", "let in as owner", "let in as viewer ", "turn out", "turn out ", "grant once"]
        {
            assert_eq!(Deed::said(words), None, "{words}");
        }
    }
}
