//! Registries with one tiny package each, as files that the upstream serves: a git repository, a Python index, an npm
//! registry and a cargo index. Everything is built here from nothing, the same every time.

use crate::echo::gzip;
use crate::upstream::Upstream;
use aws_lc_rs::digest::{SHA256, SHA512, digest};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::json;
use std::path::Path;
use std::process::Command;

/// What a client finds in the package, whatever kind it is.
pub(crate) const CONTENT: &str = "it-came-through";

/// A repository at `/git/tiny.git`, served as plain files. It is made in `folder`; false where this machine has no git.
pub(crate) fn git(upstream: &Upstream, folder: &Path) -> bool {
    let made = folder.join("made");
    std::fs::create_dir_all(&made).unwrap();
    std::fs::write(made.join("file"), CONTENT).unwrap();
    let script = "git init -q -b main . && git add file && git commit -qm one && \
                  git clone -q --bare . ../tiny.git && git -C ../tiny.git update-server-info";
    let mut shell = Command::new("sh");
    shell.args(["-c", script]).current_dir(&made).env_clear();
    shell.env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("HOME", folder);
    for role in ["AUTHOR", "COMMITTER"] {
        for (what, value) in [("NAME", "a"), ("EMAIL", "a@b.c"), ("DATE", "2000-01-01T00:00:00Z")] {
            shell.env(format!("GIT_{role}_{what}"), value);
        }
    }
    if !shell.status().is_ok_and(|status| status.success()) {
        return false;
    }
    offer_below(upstream, &folder.join("tiny.git"), "/git/tiny.git");
    true
}

fn offer_below(upstream: &Upstream, folder: &Path, at: &str) {
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let at = format!("{at}/{}", entry.file_name().display());
        match entry.file_type().unwrap() {
            kind if kind.is_dir() => offer_below(upstream, &entry.path(), &at),
            _ => upstream.offer(&at, std::fs::read(entry.path()).unwrap()),
        }
    }
}

/// A wheel `tiny` in the simple index at `/simple/`.
pub(crate) fn wheel(upstream: &Upstream) {
    let metadata = "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n";
    let kind = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n";
    let mut files = vec![
        ("tiny.py", format!("print('{CONTENT}')\n")),
        ("tiny-1.0.dist-info/METADATA", metadata.to_owned()),
        ("tiny-1.0.dist-info/WHEEL", kind.to_owned()),
    ];
    let record: String = files
        .iter()
        .map(|(name, text)| {
            let sum = URL_SAFE_NO_PAD.encode(digest(&SHA256, text.as_bytes()));
            format!("{name},sha256={sum},{}\n", text.len())
        })
        .collect();
    files.push(("tiny-1.0.dist-info/RECORD", format!("{record}tiny-1.0.dist-info/RECORD,,\n")));
    let wheel = zip(&files);
    let sum = hex(digest(&SHA256, &wheel).as_ref());
    let name = "tiny-1.0-py3-none-any.whl";
    let page = format!("<html><body><a href=\"/simple/files/{name}#sha256={sum}\">{name}</a></body></html>");
    upstream.offer("/simple/tiny/", page);
    upstream.offer(&format!("/simple/files/{name}"), wheel);
}

/// A package `tiny` in the npm registry at `/npm`.
pub(crate) async fn npm(upstream: &Upstream) {
    let manifest = json!({ "name": "tiny", "version": "1.0.0", "main": "index.js" });
    let script = format!("console.log('{CONTENT}')\n");
    let files = [("package/package.json", manifest.to_string()), ("package/index.js", script)];
    let archive = gzip(&tar(&files)).await;
    let mut version = manifest;
    version["dist"] = json!({
        "tarball": format!("https://api.example.test:{}/npm/tiny/-/tiny-1.0.0.tgz", upstream.port),
        "integrity": format!("sha512-{}", STANDARD.encode(digest(&SHA512, &archive))),
    });
    let document =
        json!({ "name": "tiny", "dist-tags": { "latest": "1.0.0" }, "versions": { "1.0.0": version } });
    upstream.offer("/npm/tiny", document.to_string());
    upstream.offer("/npm/tiny/-/tiny-1.0.0.tgz", archive);
}

/// A crate `tiny` in the sparse index at `/crates/`.
pub(crate) async fn cargo(upstream: &Upstream) {
    let manifest = "[package]\nname = \"tiny\"\nversion = \"1.0.0\"\nedition = \"2021\"\n";
    let files = [
        ("tiny-1.0.0/Cargo.toml", manifest.to_owned()),
        ("tiny-1.0.0/src/lib.rs", format!("//! {CONTENT}\n")),
    ];
    let archive = gzip(&tar(&files)).await;
    let sum = hex(digest(&SHA256, &archive).as_ref());
    let entry =
        json!({ "name": "tiny", "vers": "1.0.0", "deps": [], "cksum": sum, "features": {}, "yanked": false });
    let from = format!("https://api.example.test:{}/crates/files/{{crate}}-{{version}}", upstream.port);
    upstream.offer("/crates/config.json", json!({ "dl": from }).to_string());
    upstream.offer("/crates/ti/ny/tiny", format!("{entry}\n"));
    upstream.offer("/crates/files/tiny-1.0.0", archive);
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A tar archive (POSIX ustar) of text files.
fn tar(files: &[(&str, String)]) -> Vec<u8> {
    const BLOCK_BYTES: usize = 512;
    let mut archive = Vec::new();
    for (name, text) in files {
        let mut head = [0; BLOCK_BYTES];
        let mut put = |at: usize, text: &str| head[at..at + text.len()].copy_from_slice(text.as_bytes());
        put(0, name);
        put(100, "0000644\0");
        put(108, "0000000\0");
        put(116, "0000000\0");
        put(124, &format!("{:011o}\0", text.len()));
        put(136, "00000000000\0");
        // The sum is taken over the header with blanks in the sum's place.
        put(148, "        ");
        put(156, "0");
        put(257, "ustar\x0000");
        let sum: u32 = head.iter().map(|byte| u32::from(*byte)).sum();
        head[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        archive.extend(head);
        archive.extend(text.as_bytes());
        archive.resize(archive.len().next_multiple_of(BLOCK_BYTES), 0);
    }
    archive.resize(archive.len() + 2 * BLOCK_BYTES, 0);
    archive
}

/// A ZIP archive of text files, none of them compressed.
fn zip(files: &[(&str, String)]) -> Vec<u8> {
    const DATE: u16 = (20 << 9) | (1 << 5) | 1;
    let length = |bytes: usize| u32::try_from(bytes).unwrap();
    let (mut archive, mut directory) = (Vec::new(), Vec::new());
    for (name, text) in files {
        let at = length(archive.len());
        let mut both = Vec::new();
        for short in [20, 0, 0, 0, DATE] {
            both.extend(short.to_le_bytes());
        }
        for long in [crc32(text.as_bytes()), length(text.len()), length(text.len())] {
            both.extend(long.to_le_bytes());
        }
        both.extend(u16::try_from(name.len()).unwrap().to_le_bytes());
        both.extend(0_u16.to_le_bytes());
        archive.extend(b"PK\x03\x04");
        archive.extend(&both);
        archive.extend(name.as_bytes());
        archive.extend(text.as_bytes());
        directory.extend(b"PK\x01\x02\x14\x03");
        directory.extend(&both);
        directory.extend([0; 6]);
        directory.extend((0o100_644_u32 << 16).to_le_bytes());
        directory.extend(at.to_le_bytes());
        directory.extend(name.as_bytes());
    }
    let (at, count) = (length(archive.len()), u16::try_from(files.len()).unwrap());
    archive.extend(&directory);
    archive.extend(b"PK\x05\x06\0\0\0\0");
    archive.extend(count.to_le_bytes());
    archive.extend(count.to_le_bytes());
    archive.extend(length(directory.len()).to_le_bytes());
    archive.extend(at.to_le_bytes());
    archive.extend(0_u16.to_le_bytes());
    archive
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0_u32, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| (sum >> 1) ^ (0xedb8_8320 & (sum & 1).wrapping_neg()))
    })
}
