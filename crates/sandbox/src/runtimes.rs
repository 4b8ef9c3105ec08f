//! Finds what tools people installed in their home folders need to be seen inside: toolchains, interpreters, packages.
//! It names folders that hold programs, never those that hold settings, keys or caches.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// Folders of a home that hold programs, and the variable that tells them where they are.
const IN_HOME: [(&str, Option<&str>); 24] = [
    (".asdf/installs", None),
    (".asdf/shims", None),
    (".bun/bin", None),
    (".cargo/bin", None),
    (".deno/bin", None),
    (".dotnet", Some("DOTNET_ROOT")),
    (".fnm", None),
    (".juliaup", None),
    (".local/bin", None),
    (".local/lib", None),
    (".local/pipx/venvs", None),
    (".local/share/fnm", None),
    (".local/share/mise/installs", None),
    (".local/share/mise/shims", None),
    (".local/share/pipx/venvs", None),
    (".local/share/uv/python", None),
    (".local/share/uv/tools", None),
    (".npm-global", None),
    (".nvm/versions", None),
    (".pyenv", Some("PYENV_ROOT")),
    (".rustup", Some("RUSTUP_HOME")),
    (".sdkman/candidates", None),
    (".volta", Some("VOLTA_HOME")),
    ("go/bin", None),
];
/// Folders whose programs every sandbox sees anyway.
const SYSTEM: [&str; 5] = ["/usr", "/bin", "/sbin", "/nix/store", "/gnu/store"];
/// Files that mark the folder of a package, which a program in it reads from.
const PACKAGE_MARKS: [&str; 4] = ["package.json", "pyproject.toml", "pyvenv.cfg", "setup.py"];
/// Endings of files that an interpreter is given to run.
const SCRIPTS: [&str; 11] = ["cjs", "jar", "js", "mjs", "mts", "php", "pl", "py", "rb", "sh", "ts"];
/// How far up a package's folder is looked for, in levels.
const LEVELS_MAX: usize = 8;

/// Programs of the host outside its system folders.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Runtimes {
    /// Folders to show read-only.
    pub read: Vec<PathBuf>,
    /// `PATH`: the caller's, without folders that are not seen.
    pub path: String,
    /// Variables that toolchains need, because their home is another one inside.
    pub environment: BTreeMap<String, String>,
}

impl Runtimes {
    /// What `home` and the caller's `path` offer.
    pub fn find(home: Option<&Path>, path: &OsStr) -> Self {
        let mut found = Self::default();
        for (folder, variable) in IN_HOME {
            let Some(real) = home.and_then(|home| home.join(folder).canonicalize().ok()) else { continue };
            if let Some(variable) = variable {
                found.environment.insert(variable.to_owned(), real.display().to_string());
            }
            found.show(real);
        }
        let mut folders: Vec<String> = Vec::new();
        for entry in std::env::split_paths(path).filter(|entry| entry.is_absolute()) {
            let Ok(real) = entry.canonicalize() else { continue };
            if !found.sees(&real) && home.is_none_or(|home| !real.starts_with(home)) && !is_shared(&real) {
                // Such as /opt/tool/bin, whose programs read from /opt/tool.
                let whole = if real.ends_with("bin") { real.parent().unwrap_or(&real) } else { &real };
                if whole.components().count() > 2 {
                    found.show(whole.to_owned());
                }
            }
            if found.sees(&real) {
                folders.push(entry.display().to_string());
            }
        }
        folders.dedup();
        found.path = if folders.is_empty() { crate::view::PATH.to_owned() } else { folders.join(":") };
        found
    }

    fn sees(&self, path: &Path) -> bool {
        let system = SYSTEM.iter().any(|system| path.starts_with(system));
        system || self.read.iter().any(|shown| path.starts_with(shown))
    }

    fn show(&mut self, folder: PathBuf) {
        if !self.sees(&folder) {
            self.read.push(folder);
        }
    }

    /// Shows what the program and the scripts named in `command` are part of: their package, or their folder's packages.
    /// Folders and other files named there are not shown; whether a program may see them is the operator's word.
    /// What lies in the `workspace` is shown with that.
    pub fn show_command(&mut self, command: &[String], home: Option<&Path>, workspace: &Path) {
        for (index, word) in command.iter().enumerate() {
            let path = Path::new(word);
            if !path.is_absolute() {
                continue;
            }
            let Ok(real) = path.canonicalize() else { continue };
            if !real.is_file() || real.starts_with(workspace) || (index > 0 && !is_script(&real)) {
                continue;
            }
            // A link to an interpreter in a virtual environment needs both its ends, and a name that leads through links is
            // looked for by that name.
            for file in [path.to_owned(), real] {
                let part = package_of(&file);
                let real_part = part.canonicalize().unwrap_or_else(|_| part.clone());
                for part in [part, real_part] {
                    if home != Some(part.as_path()) && !is_shared(&part) && part.parent().is_some() {
                        self.show(part);
                    }
                }
            }
        }
    }
}

/// A file that an interpreter is given to run.
fn is_script(file: &Path) -> bool {
    file.extension().is_some_and(|extension| SCRIPTS.iter().any(|script| extension == *script))
}

/// The folder that a program file needs to be seen with it, else the file alone.
fn package_of(file: &Path) -> PathBuf {
    let modules = file.ancestors().filter(|above| above.ends_with("node_modules")).last();
    if let Some(modules) = modules {
        return modules.to_owned();
    }
    file.ancestors()
        .skip(1)
        .take(LEVELS_MAX)
        .find(|above| PACKAGE_MARKS.iter().any(|mark| above.join(mark).is_file()))
        .map_or_else(|| file.to_owned(), Path::to_owned)
}

/// Folders too broad to show because one program lies in them.
fn is_shared(folder: &Path) -> bool {
    ["/", "/tmp", "/home", "/root", "/etc", "/var", "/opt", "/srv", "/mnt", "/run", "/var/tmp"]
        .iter()
        .any(|broad| folder == Path::new(broad))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(root: &Path, path: &str) -> String {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, "").unwrap();
        path.display().to_string()
    }

    #[test]
    fn toolchains_are_shown_and_keys_beside_them_are_not() {
        let home = tempfile::tempdir().unwrap();
        let home = home.path().canonicalize().unwrap();
        file(&home, ".cargo/bin/cargo");
        file(&home, ".cargo/credentials.toml");
        file(&home, ".rustup/settings.toml");
        file(&home, ".ssh/id_ed25519");
        let path =
            std::env::join_paths([home.join(".cargo/bin"), home.join(".ssh"), "/usr/bin".into()]).unwrap();
        let found = Runtimes::find(Some(&home), &path);
        assert_eq!(found.read, [home.join(".cargo/bin"), home.join(".rustup")]);
        assert_eq!(found.path, format!("{}:/usr/bin", home.join(".cargo/bin").display()));
        assert_eq!(found.environment["RUSTUP_HOME"], home.join(".rustup").display().to_string());
    }

    #[test]
    fn a_script_is_shown_with_its_package() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        let hoisted = file(&root, "a/node_modules/@x/server/dist/index.js");
        file(&root, "a/node_modules/@x/server/package.json");
        let packaged = file(&root, "b/src/deep/main.py");
        file(&root, "b/pyproject.toml");
        let lone = file(&root, "c/run.sh");
        for (word, shown) in [
            (hoisted, root.join("a/node_modules")),
            (packaged, root.join("b")),
            (lone, root.join("c/run.sh")),
        ] {
            let mut found = Runtimes::default();
            found.show_command(&[word], None, Path::new("/elsewhere"));
            assert_eq!(found.read, [shown]);
        }
        let mut found = Runtimes::default();
        let data = file(&root, "d/data.db");
        let command = ["/usr/bin/env".to_owned(), root.display().to_string(), data, "-c".to_owned()];
        found.show_command(&command, None, Path::new("/elsewhere"));
        found.show_command(&[file(&root, "e/main.py")], None, &root);
        assert_eq!(
            found.read,
            Vec::<PathBuf>::new(),
            "data, folders, the system's and the workspace's own are not"
        );
    }
}
