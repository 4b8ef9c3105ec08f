//! A secret that is used for real, and then looked for everywhere somebody inside could look. Nothing here asks whether
//! the gate says that it hid it.

use crate::ground::{CANARY, Ground, found_in, spellings};
use crate::upstream::MODES;

/// Asks for each mode over both protocols and keeps whatever comes back, raw.
const ASK: &str = r#"
for mode in $MODES; do
  for version in 1.1 2; do
    [ $version = 2 ] && [ $mode = reason ] && continue
    curl -sS -i --raw --http$version -H "TE: trailers" -H "Authorization: Bearer $TOKEN" \
      -o answers/$mode-$version "https://api.example.test:$PORT/repos/echo/$mode" || echo "$mode over $version failed"
    curl -sS -i --compressed --http$version -H "Authorization: Bearer $TOKEN" \
      -o answers/$mode-$version-read "https://api.example.test:$PORT/repos/echo/$mode" || echo "$mode over $version failed"
  done
done
"#;

#[test]
fn a_canary_is_used_and_never_seen_in_an_echo() {
    let ground = Ground::new();
    std::fs::create_dir(ground.project().join("answers")).unwrap();
    let modes = format!("MODES='{}'\n{ASK}", MODES.join(" "));
    let ran = ground.with_token(&ground.api(), &modes);
    let received = ground.upstream.received();
    let mut wrong = Vec::new();
    let known = spellings(CANARY);
    let needles: Vec<&str> = known.iter().map(String::as_str).collect();
    for mode in MODES {
        let at: Vec<_> =
            received.iter().filter(|one| one.target.ends_with(&format!("/echo/{mode}"))).collect();
        if at.is_empty() || at.iter().any(|one| one.header("authorization") != format!("Bearer {CANARY}")) {
            wrong.push(format!("{mode}: the upstream did not get the value: {at:?}"));
        }
        for version in ["1.1", "2"] {
            let file = ground.project().join(format!("answers/{mode}-{version}-read"));
            if *mode == "reason" && version == "2" {
                continue;
            }
            let text = String::from_utf8_lossy(&std::fs::read(&file).unwrap_or_default()).into_owned();
            if !text.contains("echo") && *mode != "gzip-file" {
                wrong.push(format!("{mode} over {version}: nothing came back: {text}"));
            }
        }
    }
    for path in found_in(&ground.project().join("answers"), &needles) {
        let text = String::from_utf8_lossy(&std::fs::read(&path).unwrap_or_default()).into_owned();
        wrong.push(format!("{}: {text}", path.display()));
    }
    let said = format!("{}{}", ran.out, ran.err);
    if needles.iter().any(|needle| said.contains(needle)) {
        wrong.push("the value is in what was printed or logged".to_owned());
    }
    assert!(wrong.is_empty(), "{}\n{said:.2000}", wrong.join("\n---\n"));
}
