//! What `init` makes and changes, written down before it happens, so that `uninstall` can put it back after any end, a kill included.
//! Backups hold what the files held, keys too, so nothing here is ever kept outside of the private state folder.

use anyhow::Context;
use gateway::config::Place;
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use zeroize::Zeroizing;

/// The record's folder in the state folder.
const FOLDER: &str = "init";
const FILE: &str = "record.json";
/// Longest file that is changed, in bytes.
pub(crate) const CHANGED_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// Names of extended attributes that are looked at, in bytes.
const ATTRIBUTES_BYTES_MAX: usize = 4 * 1024;
/// The form of the record.
const VERSION: u32 = 1;

/// What one `init` made and changed, or was about to.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Record {
    version: u32,
    /// Folders it made, the outermost first.
    pub(crate) folders: Vec<PathBuf>,
    /// Files it made.
    pub(crate) created: Vec<Created>,
    /// Files that were there and were changed.
    pub(crate) changed: Vec<Changed>,
    /// Secrets that the store did not hold before.
    pub(crate) secrets: Vec<String>,
}

/// A file that was made.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Created {
    pub(crate) path: PathBuf,
    /// SHA-256 of what was written.
    pub(crate) digest: String,
}

/// A file that was changed.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Changed {
    pub(crate) path: PathBuf,
    /// SHA-256 of what it was changed to.
    digest: String,
    mode: u32,
    owner: (u32, u32),
    /// When it had last been changed: seconds and nanoseconds since 1970.
    modified: (u64, u32),
    /// Its content before, a file beside the record.
    backup: String,
    /// The file beside it that takes its place.
    draft: PathBuf,
}

/// How a changed file stands now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// As it was before.
    Before,
    /// As it was changed to.
    After,
    /// Somebody changed or removed it since.
    Others,
}

/// One at a time makes or undoes; until this is dropped.
pub(crate) struct Turn(#[allow(dead_code, reason = "the lock is what it does")] File);

/// Where the record of `place` lies.
fn folder(place: &Place) -> PathBuf {
    place.state.join(FOLDER)
}

/// Whether there is a record.
pub(crate) fn is_there(place: &Place) -> bool {
    folder(place).join(FILE).symlink_metadata().is_ok()
}

/// Takes the turn, or says that another has it.
pub(crate) fn turn(place: &Place) -> anyhow::Result<Turn> {
    place.make_private(&folder(place))?;
    let path = folder(place).join("lock");
    let lock = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
    let lock = lock.with_context(|| path.display().to_string())?;
    if lock.try_lock().is_err() {
        anyhow::bail!("another `bailiwick init` or `uninstall` of this project is at work; let it end");
    }
    Ok(Turn(lock))
}

impl Record {
    /// Writes down what will be made and changed, with backups; nothing of it has happened yet.
    pub(crate) fn begin(
        place: &Place,
        folders: Vec<PathBuf>,
        created: Vec<Created>,
        changes: &[Change],
        secrets: Vec<String>,
    ) -> anyhow::Result<Self> {
        let record = Self { version: VERSION, folders, created, changed: Vec::new(), secrets };
        record.with(place, changes)
    }

    /// The same with more that will be changed. A file that is in it already keeps the backup it has.
    pub(crate) fn with(mut self, place: &Place, changes: &[Change]) -> anyhow::Result<Self> {
        for change in changes {
            if let Some(known) = self.changed.iter_mut().find(|known| known.path == change.path) {
                anyhow::ensure!(
                    known.standing(place)? != Standing::Others,
                    "{} was changed after `bailiwick init`; `bailiwick uninstall --force`, then begin anew",
                    known.path.display()
                );
                known.digest = judge::digest::hex(&change.after);
                continue;
            }
            let backup = format!("{}.before", self.changed.len());
            put_durably(&folder(place).join(&backup), &change.before, true)?;
            self.changed.push(change.recorded(backup)?);
        }
        let path = folder(place).join(FILE);
        let draft = path.with_extension("new");
        put_durably(&draft, &serde_json::to_vec_pretty(&self)?, true)?;
        std::fs::rename(&draft, &path).with_context(|| path.display().to_string())?;
        sync(&folder(place))?;
        Ok(self)
    }

    /// Notes what becomes of a file that was made. One that somebody changed stays theirs.
    pub(crate) fn will_rewrite(&mut self, change: &Change) {
        let was = judge::digest::hex(&change.before);
        let made = self.created.iter_mut().find(|made| made.path == change.path && made.digest == was);
        if let Some(made) = made {
            made.digest = judge::digest::hex(&change.after);
        }
    }

    /// The record of `place`, if there is one.
    pub(crate) fn read(place: &Place) -> anyhow::Result<Option<Self>> {
        let path = folder(place).join(FILE);
        let shown = || path.display().to_string();
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(shown),
        };
        let record: Self = serde_json::from_slice(&text).with_context(shown)?;
        anyhow::ensure!(record.version == VERSION, "{}: written by another version of bailiwick", shown());
        Ok(Some(record))
    }

    /// Forgets the record and its backups: everything is put back.
    pub(crate) fn forget(place: &Place) -> anyhow::Result<()> {
        let folder = folder(place);
        // The record last, for it says what the rest is for.
        for entry in std::fs::read_dir(&folder).with_context(|| folder.display().to_string())?.flatten() {
            if entry.file_name() != FILE && entry.file_name() != "lock" {
                std::fs::remove_file(entry.path()).with_context(|| entry.path().display().to_string())?;
            }
        }
        sync(&folder)?;
        std::fs::remove_file(folder.join(FILE)).with_context(|| folder.display().to_string())?;
        sync(&folder)
    }
}

impl Changed {
    /// How it stands.
    pub(crate) fn standing(&self, place: &Place) -> anyhow::Result<Standing> {
        let now = match content(&self.path) {
            Ok((now, _)) => now,
            Err(_) => return Ok(Standing::Others),
        };
        Ok(if *now == *self.before(place)? {
            Standing::Before
        } else if judge::digest::hex(&now) == self.digest {
            Standing::After
        } else {
            Standing::Others
        })
    }

    /// Its content before.
    pub(crate) fn before(&self, place: &Place) -> anyhow::Result<Zeroizing<Vec<u8>>> {
        let path = folder(place).join(&self.backup);
        let before = std::fs::read(&path).with_context(|| format!("the backup {}", path.display()))?;
        Ok(Zeroizing::new(before))
    }

    /// Puts it back as it was, byte for byte, with its mode and the time of its last change.
    pub(crate) fn put_back(&self, place: &Place) -> anyhow::Result<()> {
        let modified = UNIX_EPOCH + Duration::new(self.modified.0, self.modified.1);
        self.replace(&self.before(place)?, Some(modified))
    }

    /// Removes what a kill left beside it.
    pub(crate) fn sweep(&self) {
        drop(std::fs::remove_file(&self.draft));
    }

    fn replace(&self, bytes: &[u8], modified: Option<SystemTime>) -> anyhow::Result<()> {
        let shown = || self.path.display().to_string();
        self.sweep();
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&self.draft);
        let written = file.and_then(|mut file| {
            file.write_all(bytes)?;
            file.set_permissions(std::fs::Permissions::from_mode(self.mode))?;
            let now = file.metadata()?;
            if (now.uid(), now.gid()) != self.owner {
                std::os::unix::fs::fchown(&file, Some(self.owner.0), Some(self.owner.1))?;
                file.set_permissions(std::fs::Permissions::from_mode(self.mode))?;
            }
            if let Some(modified) = modified {
                file.set_modified(modified)?;
            }
            file.sync_all()?;
            std::fs::rename(&self.draft, &self.path)
        });
        if let Err(error) = written {
            self.sweep();
            return Err(error).with_context(shown);
        }
        sync(self.path.parent().unwrap_or(Path::new("/")))
    }
}

/// A change that will be made to a file.
pub(crate) struct Change {
    pub(crate) path: PathBuf,
    before: Zeroizing<Vec<u8>>,
    pub(crate) after: Vec<u8>,
    meta: std::fs::Metadata,
}

impl Change {
    /// What `edit` makes of the file at `path`, which is `project`'s.
    ///
    /// # Errors
    /// A file that cannot be changed and put back as it was: a link, one with several names, one of another user; or what `edit` says.
    pub(crate) fn of(
        path: &Path,
        project: &Path,
        edit: impl FnOnce(&[u8]) -> Result<Vec<u8>, String>,
    ) -> Result<Self, String> {
        let (before, meta) = content(path)?;
        let folder = path.parent().and_then(|folder| folder.canonicalize().ok());
        let own = rustix::process::geteuid();
        let refused = match folder {
            None => Some("its folder cannot be found"),
            Some(folder) if !project.canonicalize().is_ok_and(|project| folder.starts_with(project)) => {
                Some("its folder is a link that leads out of the project")
            }
            Some(folder) if rustix::fs::access(&folder, rustix::fs::Access::WRITE_OK).is_err() => {
                Some("its folder cannot be written to")
            }
            Some(_) if meta.nlink() > 1 => Some("has other names (hard links)"),
            Some(_) if !own.is_root() && meta.uid() != own.as_raw() => Some("belongs to another user"),
            Some(_) if has_attributes(path) => Some("has extended attributes, which would be lost"),
            Some(_) => None,
        };
        match refused {
            Some(why) => Err(why.to_owned()),
            None => Ok(Self { path: path.to_owned(), after: edit(&before)?, before, meta }),
        }
    }

    /// Makes the change that `record` knows, if the file still is what was looked at.
    pub(crate) fn make(&self, record: &Record) -> anyhow::Result<()> {
        let known = record.changed.iter().find(|known| known.path == self.path);
        let known = known.with_context(|| format!("{} is not in the record", self.path.display()))?;
        anyhow::ensure!(
            content(&self.path).is_ok_and(|(now, _)| *now == *self.before),
            "{} was changed at this moment; nothing was written to it",
            self.path.display()
        );
        known.replace(&self.after, None)
    }

    /// Makes the change to a file of the gate's own, which goes with its folder.
    pub(crate) fn make_own(&self) -> anyhow::Result<()> {
        let draft = self.path.with_extension("new");
        put_durably(&draft, &self.after, true)?;
        std::fs::rename(&draft, &self.path).with_context(|| self.path.display().to_string())?;
        sync(self.path.parent().unwrap_or(Path::new("/")))
    }

    fn recorded(&self, backup: String) -> anyhow::Result<Changed> {
        let modified = self.meta.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut draft = self.path.file_name().unwrap_or_default().to_owned();
        draft.push(".bailiwick-new");
        Ok(Changed {
            path: self.path.clone(),
            digest: judge::digest::hex(&self.after),
            mode: self.meta.permissions().mode() & 0o7777,
            owner: (self.meta.uid(), self.meta.gid()),
            modified: (modified.as_secs(), modified.subsec_nanos()),
            backup,
            draft: self.path.with_file_name(draft),
        })
    }
}

/// Whether more hangs on a file than its content and mode, but for a label that every file of the system has.
fn has_attributes(path: &Path) -> bool {
    let mut names = vec![0_u8; ATTRIBUTES_BYTES_MAX];
    match rustix::fs::llistxattr(path, &mut names[..]) {
        Ok(length) => {
            let mut all = names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty());
            all.any(|name| name != b"security.selinux")
        }
        // A file system that has none.
        Err(rustix::io::Errno::OPNOTSUPP) => false,
        Err(_) => true,
    }
}

/// What a plain file holds. No link is followed at the last step, and nothing is waited for.
pub(crate) fn content(path: &Path) -> Result<(Zeroizing<Vec<u8>>, std::fs::Metadata), String> {
    use rustix::fs::OFlags;
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let opened = OpenOptions::new().read(true).custom_flags(flags).open(path);
    let mut file = opened.map_err(|error| match path.symlink_metadata() {
        Ok(found) if found.is_symlink() => "is a link, which is not followed".to_owned(),
        _ => error.to_string(),
    })?;
    let meta = file.metadata().map_err(|error| error.to_string())?;
    if !meta.is_file() {
        return Err("is no plain file".to_owned());
    }
    if meta.len() > CHANGED_BYTES_MAX {
        return Err(format!("is longer than {CHANGED_BYTES_MAX} bytes"));
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(meta.len()).unwrap_or(0) + 1));
    (&mut file).take(CHANGED_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    Ok((bytes, meta))
}

/// Writes a file of ours alone and waits for the disk; one that is there is replaced only where that `may` be.
pub(crate) fn put_durably(path: &Path, bytes: &[u8], may: bool) -> anyhow::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).mode(0o600);
    if may {
        options.create(true).truncate(true);
    } else {
        options.create_new(true);
    }
    let written = options.open(path).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    written.with_context(|| path.display().to_string())
}

/// Waits until the names in `folder` are on the disk.
pub(crate) fn sync(folder: &Path) -> anyhow::Result<()> {
    File::open(folder).and_then(|folder| folder.sync_all()).with_context(|| folder.display().to_string())
}
