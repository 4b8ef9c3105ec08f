//! The whole gate, as an operator starts it: `bailiwick serve` with a proxy for this user, which judges and records every
//! request and searches every answer for the values it guards.

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

const POLICY: &str = "@id(\"out\") permit (principal, action == Action::\"egress/read\", resource);\n";

pub(crate) struct Whole {
    process: Child,
    pub(crate) tunnel: SocketAddr,
    pub(crate) authority: CertificateDer<'static>,
    _folder: tempfile::TempDir,
}

impl Whole {
    /// `program` in front of `name` at `port`, which `root` vouches for, with so many values to look for.
    pub(crate) fn start(program: &str, name: &str, port: u16, root: &Path, values: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let project = folder.path().join("project");
        std::fs::create_dir(&project).unwrap();
        let bailiwick = || {
            let mut command = Command::new(program);
            command.current_dir(&project).arg("--state").arg(folder.path().join("state"));
            command.env("HOME", folder.path()).env("XDG_DATA_HOME", folder.path().join("data"));
            command.stdin(Stdio::piped()).stdout(Stdio::piped());
            command
        };
        let run = |arguments: &[&str], input: &str| {
            let mut process = bailiwick().args(arguments).spawn().unwrap();
            process.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
            assert!(process.wait_with_output().unwrap().status.success(), "{arguments:?}");
        };
        run(&["init", "--yes", "--no-claude-code"], "");
        let inside = project.join(".bailiwick");
        std::fs::remove_dir_all(inside.join("policy")).unwrap();
        std::fs::create_dir(inside.join("policy")).unwrap();
        std::fs::write(inside.join("policy/egress.cedar"), POLICY).unwrap();
        let mut text = format!(
            "[gate]\nclaude_code = false\nauthorities = [{root:?}]\n[proxy]\nlisten = \"127.0.0.1:0\"\nclients = \"user\"\n\
             network = [{{ to = \"https://{name}:{port}\", private = [\"127.0.0.0/8\"], address = \"127.0.0.1\" }}]\n"
        );
        for number in 0..values {
            text.push_str(&format!(
                "[secret.s{number}]\n[[secret.s{number}.use]]\nhost = \"{name}:{port}\"\n"
            ));
        }
        std::fs::write(inside.join("bailiwick.toml"), text).unwrap();
        for number in 0..values {
            let value =
                format!("sk_{:016x}{number:04}", (number as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
            run(&["secret", "set", &format!("s{number}")], &value);
        }
        let mut process = bailiwick().args(["serve", "--listen", "127.0.0.1:0", "--json"]).spawn().unwrap();
        let mut said = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut said).unwrap();
        let tunnel = said.split("\"proxy\":\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
        let trusted =
            CertificateDer::pem_file_iter(folder.path().join("state/proxy/authorities.pem")).unwrap();
        let authority = trusted.last().unwrap().unwrap();
        Self { process, tunnel: tunnel.parse().unwrap(), authority, _folder: folder }
    }

    pub(crate) fn process(&self) -> String {
        self.process.id().to_string()
    }
}

impl Drop for Whole {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}
