//! Real programs reach a place that was named for them and nothing beside it, without a proxy variable, a certificate option
//! or any other setting. A program that this machine lacks is skipped by name, never in silence.

use crate::common::finish;
use crate::ground::{Ground, PYTHON};
use crate::packages::{self, CONTENT};
use crate::upstream::Upstream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

/// One program. `script` runs with `AT`, the place to reach, and `HOST`, its name.
struct Client {
    name: &'static str,
    /// Succeeds outside where the machine has the program.
    needs: &'static str,
    script: &'static str,
    /// What it prints when it was answered.
    says: &'static str,
    /// What it asks for.
    path: &'static str,
}

const CLIENTS: &[Client] = &[
    Client {
        name: "curl",
        needs: "command -v curl",
        script: "curl -sS -m 20 https://$AT/by/curl",
        says: "reached",
        path: "/by/curl",
    },
    Client {
        name: "curl, HTTP/1.1",
        needs: "command -v curl",
        script: "curl -sS -m 20 --http1.1 https://$AT/by/curl-1",
        says: "reached",
        path: "/by/curl-1",
    },
    Client {
        name: "curl, explicit HTTP proxy",
        needs: "command -v curl",
        script: "curl -sS -m 20 -x http://proxy.bailiwick:3128 https://$AT/by/connect",
        says: "reached",
        path: "/by/connect",
    },
    Client {
        name: "curl, explicit SOCKS proxy",
        needs: "command -v curl",
        script: "curl -sS -m 20 -x socks5h://proxy.bailiwick:1080 https://$AT/by/socks",
        says: "reached",
        path: "/by/socks",
    },
    Client {
        name: "git clone",
        needs: "command -v git",
        script: "git clone -q https://$AT/git/tiny.git cloned-$HOST && cat cloned-$HOST/file",
        says: CONTENT,
        path: "/git/tiny.git/info/refs",
    },
    Client {
        name: "pip install",
        needs: "$PY -m pip --version",
        script: "$PY -m pip install -q --disable-pip-version-check --no-cache-dir --retries 0 \
                 --index-url https://$AT/simple/ --target pip-$HOST tiny && $PY pip-$HOST/tiny.py",
        says: CONTENT,
        path: "/simple/files/tiny-1.0-py3-none-any.whl",
    },
    Client {
        name: "npm install",
        needs: "command -v npm",
        script: "mkdir npm-$HOST && cd npm-$HOST && npm install --silent --no-audit --no-fund --fetch-retries 0 \
                 --registry https://$AT/npm/ tiny && node node_modules/tiny",
        says: CONTENT,
        path: "/npm/tiny/-/tiny-1.0.0.tgz",
    },
    Client {
        name: "cargo fetch",
        needs: "$CARGO --version",
        script: "mkdir -p cargo-$HOST/src && cd cargo-$HOST && : > src/lib.rs && \
                 printf '[package]\\nname = \"uses\"\\nversion = \"1.0.0\"\\nedition = \"2021\"\\n[dependencies]\\n\
                 tiny = { version = \"1\", registry = \"local\" }\\n' > Cargo.toml && \
                 export CARGO_NET_RETRY=0 CARGO_HOME=$PWD/home RUSTC=${CARGO%/*}/rustc && \
                 CARGO_REGISTRIES_LOCAL_INDEX=sparse+https://$AT/crates/ $CARGO fetch -q && cat home/registry/src/*/tiny-1.0.0/src/lib.rs",
        says: CONTENT,
        path: "/crates/files/tiny-1.0.0",
    },
    Client {
        name: "Node fetch",
        needs: "node --version",
        script: "node -e 'fetch(`https://${process.env.AT}/by/fetch`).then(r => r.text()).then(t => console.log(t))'",
        says: "reached",
        path: "/by/fetch",
    },
    Client {
        name: "Node https",
        needs: "node --version",
        script: "node -e 'require(`https`).get(`https://${process.env.AT}/by/https`, r => r.pipe(process.stdout))'",
        says: "reached",
        path: "/by/https",
    },
    Client {
        name: "Node WebSocket",
        needs: "node --experimental-websocket -e 'WebSocket'",
        script: "node --experimental-websocket -e '\
                 const it = new WebSocket(`wss://${process.env.AT}/by/websocket`);\
                 it.onerror = e => { console.error(e.message || `failed`); process.exit(1) };\
                 it.onmessage = m => { console.log(m.data); it.send(`said by node`); it.close(); process.exitCode = 0 };\
                 '",
        says: "echo",
        path: "/by/websocket",
    },
    Client {
        name: "Python urllib",
        needs: "$PY --version",
        script: "$PY -c 'import os, urllib.request as u; \
                 print(u.urlopen(\"https://\" + os.environ[\"AT\"] + \"/by/urllib\", timeout=20).read())'",
        says: "reached",
        path: "/by/urllib",
    },
    Client {
        name: "Python requests",
        needs: "$PY -c 'import requests' || $PY -c 'import pip._vendor.requests'",
        script: "$PY -c '
import os
try: import requests
except ImportError: from pip._vendor import requests
print(requests.get(\"https://\" + os.environ[\"AT\"] + \"/by/requests\", timeout=20).text)'",
        says: "reached",
        path: "/by/requests",
    },
    Client {
        name: "Java HttpClient and WebSocket",
        needs: "java --version",
        script: "java -Xshare:auto -XX:TieredStopAtLevel=1 Reach.java",
        says: "reached, echo",
        path: "/by/java-socket",
    },
    Client {
        name: "Go net/http",
        needs: "go version && CGO_ENABLED=0 go build -o reach reach.go",
        script: "./reach",
        says: "reached",
        path: "/by/go",
    },
    Client {
        name: "gRPC, Python",
        needs: "$PY -c 'import grpc'",
        script: "$PY -c '
import os, grpc
with grpc.secure_channel(os.environ[\"AT\"], grpc.ssl_channel_credentials()) as channel:
    print(channel.unary_unary(\"/by/Grpc\")(b\"said and heard\", timeout=20))'",
        says: "said and heard",
        path: "/by/Grpc",
    },
    Client {
        name: "gRPC by hand, Node http2",
        needs: "node --version",
        script: "node -e '
const by = require(`http2`).connect(`https://${process.env.AT}`);
by.on(`error`, e => { console.error(e.message); process.exit(1) });
const call = by.request({ \":method\": `POST`, \":path\": `/by/Http2`, \"content-type\": `application/grpc`, te: `trailers` });
call.on(`data`, d => process.stdout.write(d.subarray(5)));
call.on(`trailers`, t => { console.log(` status`, t[`grpc-status`]); by.close() });
call.end(Buffer.concat([Buffer.from([0, 0, 0, 0, 4]), Buffer.from(`said`)]));'",
        says: "said status 0",
        path: "/by/Http2",
    },
];

const JAVA: &str = r#"
import java.net.URI;
import java.net.http.*;
import java.util.concurrent.*;

public class Reach {
    public static void main(String[] args) throws Exception {
        String at = System.getenv("AT");
        var client = HttpClient.newHttpClient();
        var request = HttpRequest.newBuilder(URI.create("https://" + at + "/by/java")).build();
        String body = client.send(request, HttpResponse.BodyHandlers.ofString()).body().trim();
        var heard = new CompletableFuture<String>();
        var socket = client.newWebSocketBuilder().buildAsync(URI.create("wss://" + at + "/by/java-socket"),
            new WebSocket.Listener() {
                public CompletionStage<?> onText(WebSocket of, CharSequence text, boolean last) {
                    heard.complete(text.toString());
                    return null;
                }
                public void onError(WebSocket of, Throwable error) { heard.completeExceptionally(error); }
            }).get(20, TimeUnit.SECONDS);
        System.out.println(body + ", " + heard.get(20, TimeUnit.SECONDS));
        System.exit(0);
    }
}
"#;

const GO: &str = r#"
package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
)

func main() {
	answer, err := http.Get("https://" + os.Getenv("AT") + "/by/go")
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	text, _ := io.ReadAll(answer.Body)
	fmt.Print(string(text))
}
"#;

/// Runs the script for the place and then for the one beside it, and says how each ended.
const BOTH: &str = r#"
env | grep -i _proxy && echo "a proxy variable is set"
for HOST in api.example.test other.example.test; do
  export HOST AT=$HOST:$PORT
  (eval "$SCRIPT") > "out-$HOST" 2>&1
  echo "$HOST ended with $?: $(cat "out-$HOST")"
done
"#;

#[test]
fn programs_reach_what_is_named_for_them_and_nothing_beside_it() {
    let upstream = Upstream::open();
    packages::wheel(&upstream);
    upstream.block_on(packages::npm(&upstream));
    upstream.block_on(packages::cargo(&upstream));
    let ground = Ground::configured(upstream, "");
    let has_git = packages::git(&ground.upstream, &ground.path("git"));
    let skipped = Mutex::new(Vec::new());
    let wrong = Mutex::new(Vec::new());
    let rest = Mutex::new(CLIENTS.iter());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let Some(client) = rest.lock().unwrap().next() else { return };
                    let folder = lay(&ground, client);
                    let is_here = is_here(client.needs, &folder) && (has_git || client.name != "git clone");
                    if is_here {
                        wrong.lock().unwrap().extend(attempt(&ground, client, &folder));
                    } else {
                        skipped.lock().unwrap().push(client.name);
                    }
                }
            });
        }
    });
    let (skipped, wrong) = (skipped.into_inner().unwrap(), wrong.into_inner().unwrap());
    println!("{} of {} programs skipped, which are not here: {skipped:?}", skipped.len(), CLIENTS.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n---\n"));
    let beside = ground.upstream.received().into_iter().find(|one| one.holds("other.example.test"));
    assert!(beside.is_none(), "something reached what was not named: {beside:?}");
}

/// A folder of its own for `client`.
fn lay(ground: &Ground, client: &Client) -> PathBuf {
    let folder = ground.project().join(client.path.replace('/', "-"));
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("Reach.java"), JAVA).unwrap();
    std::fs::write(folder.join("reach.go"), GO).unwrap();
    folder
}

fn is_here(needs: &str, folder: &Path) -> bool {
    let mut outside = Command::new("sh");
    outside.args(["-c", needs]).env("PY", &PYTHON.program).env("CARGO", cargo()).current_dir(folder);
    finish(&mut outside, b"").code == 0
}

/// The real cargo, not what chooses one.
fn cargo() -> String {
    std::env::var("CARGO").unwrap_or_default()
}

/// What is wrong with how `client` fared.
fn attempt(ground: &Ground, client: &Client, folder: &Path) -> Vec<String> {
    let mut options = ground.api();
    options.extend(["--workspace".to_owned(), folder.display().to_string()]);
    options.extend(["--env".to_owned(), format!("SCRIPT={}", client.script)]);
    let toolchain = Path::new(&cargo()).ancestors().nth(2).map(Path::to_owned).unwrap_or_default();
    let shown = PYTHON.folders.iter().chain([&toolchain]).filter(|folder| folder.is_dir());
    options.extend(shown.flat_map(|folder| ["--read".to_owned(), folder.display().to_string()]));
    options.extend(["--env".to_owned(), format!("CARGO={}", cargo())]);
    let mut sandbox = ground.sandbox(&options, &["sh", "-c", BOTH]);
    sandbox.current_dir(folder);
    let ran = finish(&mut sandbox, b"");
    let mut wrong = Vec::new();
    let (allowed, denied) = ran.out.split_once("other.example.test ended with ").unwrap_or((&ran.out, "0"));
    if !allowed.contains("ended with 0") || !allowed.contains(client.says) {
        wrong.push(format!("{}: was not answered: {ran:?}", client.name));
    }
    if !ground.upstream.received().iter().any(|one| one.target.starts_with(client.path)) {
        wrong.push(format!("{}: nothing arrived at {}", client.name, client.path));
    }
    if denied.starts_with('0') {
        wrong.push(format!(
            "{}: the name beside it was reached, or nobody asked for it: {ran:?}",
            client.name
        ));
    }
    if ran.out.contains("a proxy variable is set") {
        wrong.push(format!("{}: {}", client.name, ran.out));
    }
    wrong
}
