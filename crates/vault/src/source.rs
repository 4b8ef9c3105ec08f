//! Where a secret comes from. Plain descriptions, written by the operator; none of them holds a value.

pub(crate) mod exec;
pub(crate) mod hashi;

use crate::mint::Issuer;
use crate::name::SecretName;
use std::path::PathBuf;

/// Where one secret comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The encrypted store, under the secret's own name.
    Store,
    /// A variable of the gate's own environment. It is read once: what is taken at start does not change.
    Environment(String),
    /// A file, such as a mounted secret. Its end of line is dropped, and it is read again when it changes.
    File(PathBuf),
    /// A program and its arguments, run without a shell; its standard output is the value.
    Exec(Vec<String>),
    /// The desktop's keyring, asked through `secret-tool`.
    Keyring {
        /// The item's `service` attribute.
        service: String,
        /// The item's `account` attribute.
        account: String,
    },
    /// A HashiCorp Vault or OpenBao server.
    Vault(VaultSource),
    /// A short-lived credential that an issuer makes.
    Minted(Issuer),
}

/// Where a credential needed to get another one comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A variable of the gate's own environment.
    Environment(String),
    /// A file, read at each use.
    File(PathBuf),
    /// Another secret.
    Secret(SecretName),
}

/// A value in a HashiCorp Vault or OpenBao server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VaultSource {
    /// Such as `https://vault.example.org:8200`.
    pub address: String,
    /// Where the engine is mounted, such as `secret` or `database`.
    pub mount: String,
    /// What is read there.
    pub engine: Engine,
    /// Which fields make the value; several are joined with `:`, as in `username:password`.
    pub fields: Vec<String>,
    /// The token to authenticate with.
    pub token: Origin,
    /// Its namespace, if the server has them.
    pub namespace: Option<String>,
    /// A PEM file with a certificate authority to trust besides the system's.
    pub ca: Option<PathBuf>,
}

/// What is read from a mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Engine {
    /// The newest version at a path of the KV engine, version 2.
    Kv2 {
        /// The path below the mount.
        path: String,
    },
    /// Credentials that the engine makes for a role, with a lease.
    Lease {
        /// The role.
        role: String,
    },
}

impl Source {
    /// The secrets this one needs before it can be had.
    pub(crate) fn needs(&self) -> Vec<&SecretName> {
        let origins = match self {
            Self::Store | Self::Environment(_) | Self::File(_) | Self::Exec(_) | Self::Keyring { .. } => {
                Vec::new()
            }
            Self::Vault(source) => vec![&source.token],
            Self::Minted(issuer) => issuer.origins(),
        };
        origins
            .into_iter()
            .filter_map(|origin| match origin {
                Origin::Secret(name) => Some(name),
                Origin::Environment(_) | Origin::File(_) => None,
            })
            .collect()
    }
}
