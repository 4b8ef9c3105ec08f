//! Finds the configuration folder and the state folder of a project, and keeps the latter private.
//! Nothing outside these two folders is ever written by the gate.

use super::ConfigError;
use judge::request::path::{AbsPath, Zones};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The name of a configuration folder.
pub const FOLDER: &str = ".bailiwick";

/// Where one gate lives.
#[derive(Clone, Debug)]
pub struct Place {
    /// The folder `.bailiwick`.
    pub config: PathBuf,
    /// The private folder with journal, state, socket and token.
    pub state: PathBuf,
    /// The private folder of the encrypted store of secrets.
    secrets: PathBuf,
}

impl Place {
    /// The place for `dir` (or the nearest `.bailiwick` from the current folder upwards) and `state` (or a folder
    /// named after it under the user's data folder). Nothing is created.
    ///
    /// # Errors
    /// No configuration folder, or no home folder to keep state under.
    pub fn find(dir: Option<&Path>, state: Option<&Path>) -> Result<Self, ConfigError> {
        let here = std::env::current_dir().map_err(|error| ConfigError::new(Path::new("."), error))?;
        let config = match dir {
            Some(dir) => absolute(&here, dir),
            None => {
                here.ancestors().map(|folder| folder.join(FOLDER)).find(|folder| folder.is_dir()).ok_or_else(
                    || {
                        ConfigError::new(
                            &here.join(FOLDER),
                            "there is none here or above; run `bailiwick init` first",
                        )
                    },
                )?
            }
        };
        Self::of(config, state)
    }

    /// The place of a configuration folder, whether or not it exists yet.
    ///
    /// # Errors
    /// No home folder to keep state under.
    pub fn of(config: PathBuf, state: Option<&Path>) -> Result<Self, ConfigError> {
        let here = std::env::current_dir().map_err(|error| ConfigError::new(&config, error))?;
        let config = absolute(&here, &config);
        let config = real(&config).unwrap_or(config);
        let (state, secrets) = match state {
            Some(state) => (absolute(&here, state), absolute(&here, state).join("secrets")),
            None => (data_folder(&config)?.join(state_name(&config)), data_folder(&config)?.join("secrets")),
        };
        Ok(Self { config, state, secrets })
    }

    /// Whether the state folder was chosen, and is not the one that the project's path says.
    pub fn is_chosen(&self) -> bool {
        self.secrets.starts_with(&self.state)
    }

    /// The project: the folder the configuration folder stands in.
    pub fn project(&self) -> &Path {
        self.config.parent().unwrap_or(&self.config)
    }

    /// The gate's local socket.
    pub fn socket(&self) -> PathBuf {
        self.state.join("gate.sock")
    }
    /// The journal's folder.
    pub fn journal(&self) -> PathBuf {
        self.state.join("journal")
    }
    /// The journal's signing key; its public half stands beside it as `journal.vkey`.
    pub fn key(&self) -> PathBuf {
        self.state.join("journal.key")
    }
    /// The journal's public key.
    pub fn public_key(&self) -> PathBuf {
        self.key().with_extension("vkey")
    }
    /// The bearer token for HTTP.
    pub fn token(&self) -> PathBuf {
        self.state.join("token")
    }
    /// The state file.
    pub fn store(&self) -> PathBuf {
        self.state.join("state.db")
    }

    /// The same place with the secrets of another.
    #[must_use]
    pub fn with_secrets_of(mut self, other: &Self) -> Self {
        self.secrets.clone_from(&other.secrets);
        self
    }

    /// The same place with the user's secrets, wherever its state is.
    ///
    /// # Errors
    /// No home folder to find them under.
    pub fn with_users_secrets(mut self) -> Result<Self, ConfigError> {
        self.secrets = data_folder(&self.config)?.join("secrets");
        Ok(self)
    }

    /// The gate's own folders, which nobody inside sees.
    pub fn hidden(&self) -> [PathBuf; 3] {
        [self.config.clone(), self.state.clone(), self.secrets.clone()]
    }

    /// The folder of the encrypted store of secrets: one for all projects of a user, unless a state folder was chosen.
    pub fn secrets(&self) -> PathBuf {
        self.secrets.clone()
    }

    /// The home that a server's processes keep between runs.
    pub fn home_of(&self, server: &str) -> PathBuf {
        self.state.join("homes").join(server)
    }
    /// Where changes to the project are kept until somebody applies them, by name.
    pub fn overlay(&self, name: &str) -> PathBuf {
        self.state.join("overlays").join(name)
    }

    /// Creates the state folder, or checks that it is ours alone.
    ///
    /// # Errors
    /// A folder that others may enter or that belongs to someone else.
    pub fn private_state(&self) -> Result<(), ConfigError> {
        let wrong = |error: std::io::Error| ConfigError::new(&self.state, error);
        if !self.state.exists() {
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.state).map_err(wrong)?;
        }
        let found = std::fs::symlink_metadata(&self.state).map_err(wrong)?;
        if !found.is_dir() || found.uid() != rustix::process::geteuid().as_raw() {
            return Err(ConfigError::new(&self.state, "is not a folder of this user"));
        }
        if found.permissions().mode() & 0o077 != 0 {
            return Err(ConfigError::new(&self.state, "others may enter it; run `chmod 700` on it"));
        }
        Ok(())
    }

    /// Where names that sandboxes reserve are remembered: one folder for all gates of a user, or one would give back what
    /// another still needs.
    pub fn reserves(&self) -> PathBuf {
        sandbox_state(None).unwrap_or_else(|_| self.state.clone())
    }

    /// Creates a folder of ours alone under the state.
    ///
    /// # Errors
    /// It cannot be created.
    pub fn make_private(&self, folder: &Path) -> Result<(), ConfigError> {
        self.private_state()?;
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(|error| ConfigError::new(folder, error))
    }

    /// The token for HTTP clients, made at first use.
    ///
    /// # Errors
    /// The file cannot be read or written.
    pub fn read_token(&self) -> Result<String, ConfigError> {
        use std::io::Write;
        use std::os::unix::fs::OpenOptionsExt;
        let path = self.token();
        let wrong = |error: std::io::Error| ConfigError::new(&path, error);
        match std::fs::read_to_string(&path) {
            Ok(text) if text.trim().len() >= 32 => Ok(text.trim().to_owned()),
            Ok(_) => Err(ConfigError::new(&path, "is no token; remove the file and start again")),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let token = crate::random::token();
                // Under another name first: a gate killed half-way must not leave half a token.
                let draft = path.with_extension("new");
                let mut file = std::fs::OpenOptions::new()
                    .write(true)
                    .create(true)
                    .truncate(true)
                    .mode(0o600)
                    .open(&draft)
                    .map_err(wrong)?;
                file.write_all(token.as_bytes()).and_then(|()| file.sync_all()).map_err(wrong)?;
                std::fs::rename(&draft, &path).map_err(wrong)?;
                Ok(token)
            }
            Err(error) => Err(wrong(error)),
        }
    }

    /// Which parts of the file system are whose.
    ///
    /// # Errors
    /// A path that is not UTF-8.
    pub fn zones(&self) -> Result<Zones, ConfigError> {
        let parse = |path: &Path| {
            let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
            let text = real.to_str().ok_or_else(|| ConfigError::new(path, "the path is not UTF-8"))?;
            AbsPath::parse(text).map_err(|error| ConfigError::new(path, error))
        };
        Ok(Zones {
            workspace: parse(self.project())?,
            home: parse(&home().unwrap_or_else(|| PathBuf::from("/")))?,
            temp: vec![parse(Path::new("/tmp"))?, parse(&std::env::temp_dir())?],
            gate: self.hidden().iter().map(|path| parse(path)).collect::<Result<_, _>>()?,
        })
    }
}

/// The private folder of `bailiwick sandbox`: locks and overlays, of any workspace.
///
/// # Errors
/// No home folder to keep it under, or it belongs to others.
pub fn sandbox_state(state: Option<&Path>) -> Result<PathBuf, ConfigError> {
    let here = std::env::current_dir().map_err(|error| ConfigError::new(Path::new("."), error))?;
    let folder = match state {
        Some(state) => absolute(&here, state),
        None => data_folder(Path::new("sandbox"))?.join("sandbox"),
    };
    let place = Place { config: PathBuf::new(), secrets: folder.join("secrets"), state: folder };
    place.private_state()?;
    Ok(place.state)
}

/// Where `state` keeps the overlay `name` of `workspace`.
///
/// # Errors
/// A name that is no plain word.
pub fn overlay_of(state: &Path, workspace: &Path, name: &str) -> Result<PathBuf, ConfigError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if name.is_empty() || name.len() > 64 || !name.chars().all(plain) {
        let why = format!("`{name}`: an overlay's name is letters, digits, `-` and `_`, at most 64");
        return Err(ConfigError::new(workspace, why));
    }
    Ok(state.join("overlays").join(state_name(&workspace.join(FOLDER))).join(name))
}

/// The user's home folder, from `HOME`.
pub fn home() -> Option<PathBuf> {
    std::env::var_os("HOME").map(PathBuf::from).filter(|home| home.is_absolute())
}

fn data_folder(config: &Path) -> Result<PathBuf, ConfigError> {
    let named = std::env::var_os("XDG_DATA_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    named
        .or_else(|| home().map(|home| home.join(".local/share")))
        .map(|folder| folder.join("bailiwick"))
        .ok_or_else(|| ConfigError::new(config, "neither HOME nor XDG_DATA_HOME is set; give --state"))
}

/// The project's name and enough of a digest of its path to keep two of the same name apart.
fn state_name(config: &Path) -> String {
    let project = config
        .parent()
        .and_then(Path::file_name)
        .map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let plain: String =
        project.chars().filter(|c| c.is_ascii_alphanumeric() || "-_.".contains(*c)).take(32).collect();
    let digest = judge::digest::hex(config.as_os_str().as_encoded_bytes());
    format!("{plain}-{}", &digest[..12])
}

/// The path without links, also of a folder that is not there yet: its state is the same before and after it is made.
fn real(path: &Path) -> Option<PathBuf> {
    let beside = || Some(path.parent()?.canonicalize().ok()?.join(path.file_name()?));
    path.canonicalize().ok().or_else(beside)
}

fn absolute(here: &Path, path: &Path) -> PathBuf {
    if path.is_absolute() { path.to_owned() } else { here.join(path) }
}
