//! The programs that people have: curl, openssl and Python, through the proxy.

use crate::world::{NAME, World};
use egress::Way;
use std::path::PathBuf;
use tokio::process::Command;

async fn run(line: &str) -> Option<String> {
    let program = line.split(' ').next().unwrap();
    let is_there = Command::new("sh").args(["-c", "command -v \"$0\"", program]).output().await.unwrap();
    if !is_there.status.success() {
        eprintln!("skipped: {program} is not installed");
        return None;
    }
    let output = Command::new("sh").args(["-c", line]).output().await.unwrap();
    Some(String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

fn write(folder: &tempfile::TempDir, pem: &str) -> PathBuf {
    let path = folder.path().join("ca.pem");
    std::fs::write(&path, pem).unwrap();
    path
}

#[tokio::test]
async fn real_clients_trust_the_sandboxs_authority() {
    let world = World::new(Way::Terminate).await;
    let folder = tempfile::tempdir().unwrap();
    let ca = write(&folder, world.ca.certificate_pem());
    let (ca, proxy, here) = (ca.display(), world.proxy, world.authority());
    for (line, expected) in [
        (format!("curl -sS --cacert {ca} -x http://{proxy} https://{here}/seen"), "/seen"),
        (format!("curl -sS --http1.1 --cacert {ca} -x http://{proxy} https://{here}/seen"), "HTTP/1.1 GET"),
        (format!("curl -sS --http2 --cacert {ca} -x http://{proxy} https://{here}/seen"), "HTTP/2.0 GET"),
        (format!("curl -sS --cacert {ca} -x socks5h://{proxy} https://{here}/seen"), "/seen"),
        (
            format!("curl -sS --cacert {ca} --data-binary @{ca} -x http://{proxy} https://{here}/echo"),
            "BEGIN CERTIFICATE",
        ),
        (format!("curl -sSv -x http://{proxy} https://other.example/"), "403"),
        (
            format!("curl -sS --cacert {ca} -x http://{proxy} https://{here}/forbidden"),
            "bailiwick: this path is not granted",
        ),
        (
            format!("curl -sS -x http://{proxy} http://127.0.0.1/"),
            "bailiwick: 127.0.0.1: an IP address was given",
        ),
        (
            format!(
                "openssl s_client -proxy {proxy} -connect {here} -servername {NAME} -CAfile {ca} -verify_return_error -brief </dev/null"
            ),
            "Verification: OK",
        ),
        (
            format!(
                "openssl s_client -proxy {proxy} -connect {here} -noservername -CAfile {ca} -brief </dev/null"
            ),
            "unrecognized name",
        ),
        (
            format!(
                "HTTPS_PROXY=http://{proxy} SSL_CERT_FILE={ca} python3 -c 'import urllib.request as u; print(u.urlopen(\"https://{here}/seen\").read())'"
            ),
            "/seen",
        ),
    ] {
        let program = line.split(' ').find(|word| !word.contains('=')).unwrap().to_owned();
        let line = if line.starts_with("HTTPS") { format!("env {line}") } else { line };
        if let Some(output) = run(&line).await {
            assert!(output.contains(expected), "{program}: {line}: {output}");
        }
    }
}
