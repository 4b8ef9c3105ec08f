//! Secrets that an agent names in the arguments of a call: where it may, and what its server gets in their place. The agent,
//! the judge and the journal only ever see the name.

use crate::config::secret::Expose;
use crate::secrets::{CLOSING, OPENING, Secrets};
use crate::wire::frame::{Object, raw};
use judge::request::tree::Tree;
use judge::tool::ToolName;
use vault::SecretName;
use zeroize::Zeroizing;

/// What the server of a call is given for a secret.
pub(crate) enum Given {
    /// The value: it is reached over the network by the gate, or runs without a wall.
    Value,
    /// What its sandbox has for it; the value only where the secret is exposed to processes.
    Placeholder(Option<String>),
}

impl Secrets {
    /// Why a call of `tool` may not have these arguments: one of them is a secret's name where that secret may not be. Nothing
    /// when none is.
    pub fn misplaced(&self, tool: &ToolName, arguments: &Tree) -> Option<String> {
        let refuse = |name: &SecretName, at: &str| {
            format!(
                "secret `{name}` may not be used in {at} of `{tool}`; where it may is said by `arguments` in [secret.{name}]"
            )
        };
        let Tree::Map(members) = arguments else {
            return self.named_below(arguments).map(|name| refuse(&name, "the arguments"));
        };
        members.iter().find_map(|(argument, value)| {
            let name = match value {
                Tree::Text(text) => self.named(text).filter(|name| !self.may_be(name, tool, argument)),
                other => self.named_below(other),
            }?;
            Some(refuse(&name, &format!("argument `{argument}`")))
        })
    }

    /// `arguments` of a permitted call of `tool` as its server gets them.
    ///
    /// # Errors
    /// A secret that cannot be had, in words.
    pub(crate) async fn filled_in(
        &self,
        tool: &ToolName,
        mut arguments: Object,
        given: impl Fn(&SecretName) -> Given,
    ) -> Result<Object, String> {
        let named: Vec<(String, SecretName)> = arguments
            .members()
            .filter_map(|(argument, _)| {
                let name = self.named(&arguments.text(argument)?)?;
                self.may_be(&name, tool, argument).then(|| (argument.to_owned(), name))
            })
            .collect();
        for (argument, name) in named {
            let expose = self.setting(&name)?.expose;
            let text = match (given(&name), expose) {
                (Given::Placeholder(Some(placeholder)), Expose::Placeholder) => Zeroizing::new(placeholder),
                (Given::Placeholder(None), Expose::Placeholder) => {
                    return Err(format!(
                        "the sandbox of server `{}` does not have secret `{name}`; add it to `secrets` in \
                         [server.{}.sandbox]",
                        tool.server, tool.server
                    ));
                }
                (Given::Value, _) | (Given::Placeholder(_), Expose::Process) => self.value(&name).await?,
            };
            arguments.set(&argument, raw(&*text));
        }
        Ok(arguments)
    }

    /// The configured secret that `text` is the name of, and nothing else.
    fn named(&self, text: &str) -> Option<SecretName> {
        let name = text.strip_prefix(OPENING)?.strip_suffix(CLOSING)?;
        SecretName::new(name).ok().filter(|name| self.setting(name).is_ok())
    }

    fn named_below(&self, tree: &Tree) -> Option<SecretName> {
        match tree {
            Tree::Text(text) => self.named(text),
            Tree::List(items) => items.iter().find_map(|item| self.named_below(item)),
            Tree::Map(members) => members.iter().find_map(|(_, value)| self.named_below(value)),
            _ => None,
        }
    }

    fn may_be(&self, name: &SecretName, tool: &ToolName, argument: &str) -> bool {
        self.setting(name).is_ok_and(|setting| {
            setting.arguments.iter().any(|place| place.tool == *tool && place.name == argument)
        })
    }
}
