//! Asks a program for a value: its standard output, without the end of line. No shell, no standard input, no standard
//! error shown, and neither time nor output without bound.

use crate::secret::{SECRET_BYTES_MAX, Secret, without_newline};
use rustix::process::{Pid, Signal, kill_process_group};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::AsyncReadExt as _;
use tokio::process::Command;
use zeroize::Zeroizing;

/// How long a program may take, in seconds: long enough for a person to touch a key.
const EXEC_SECONDS_MAX: u64 = 30;

/// Ends the program and whatever it started, unless it ended by itself.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(pid) = self.0 {
            let _gone = kill_process_group(pid, Signal::KILL);
        }
    }
}

/// The value that `argv` prints. The error is free of anything the program said.
pub(crate) async fn ask(argv: &[String]) -> Result<Secret, String> {
    let (program, arguments) = argv.split_first().ok_or("no program is named")?;
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("cannot start `{program}`: {}", error.kind()))?;
    let mut group = Group(child.id().and_then(|id| Pid::from_raw(id.cast_signed())));
    let out = child.stdout.take().ok_or("the program has no output")?;
    let conversation = async {
        let mut bytes = Zeroizing::new(Vec::with_capacity(SECRET_BYTES_MAX + 3));
        let bound = SECRET_BYTES_MAX as u64 + 3;
        out.take(bound)
            .read_to_end(&mut bytes)
            .await
            .map_err(|_| format!("cannot read what `{program}` prints"))?;
        if bytes.len() as u64 == bound {
            return Err(format!("`{program}` printed more than {SECRET_BYTES_MAX} bytes"));
        }
        let status = child.wait().await.map_err(|_| format!("cannot wait for `{program}`"))?;
        Ok((status, bytes))
    };
    let (status, bytes) =
        tokio::time::timeout(Duration::from_secs(EXEC_SECONDS_MAX), conversation)
            .await
            .map_err(|_| format!("`{program}` took longer than {EXEC_SECONDS_MAX} seconds"))??;
    group.0 = None;
    if !status.success() {
        return Err(format!("`{program}` failed ({status}); run it by hand to see why"));
    }
    Secret::copy_of(without_newline(&bytes)).map_err(|_| format!("`{program}` printed nothing"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn argv(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[tokio::test]
    async fn a_program_answers_or_says_nothing() {
        let value = ask(&argv(&["printf", "s3cret value\\n"])).await.ok().unwrap();
        assert_eq!(value.expose(<[u8]>::to_vec), b"s3cret value");
        // No shell: what looks like one is an argument.
        let value = ask(&argv(&["echo", "$HOME; id"])).await.ok().unwrap();
        assert_eq!(value.expose(<[u8]>::to_vec), b"$HOME; id");
        for (words, why) in [
            (&[][..], "no program"),
            (&["/nonexistent/program"], "cannot start"),
            (&["true"], "printed nothing"),
            (&["sh", "-c", "echo leaked-value; echo leaked-value >&2; exit 3"], "failed"),
            (&["sh", "-c", "yes leaked-value | head -c 100000"], "more than"),
        ] {
            let error = ask(&argv(words)).await.err().unwrap();
            assert!(error.contains(why) && !error.contains("leaked-value"), "{words:?}: {error}");
        }
    }
}
