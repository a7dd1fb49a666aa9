//! Keeps a server alive exactly as long as the test process: a shell of its own process group starts it,
//! waits for the end of a pipe that only the test process holds, then ends it and removes its folder.

use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A server under watch. It ends when this value is dropped, or when the test process ends, however it does.
#[derive(Debug)]
pub(crate) struct Watched {
    shell: Child,
}

const SCRIPT: &str = r#"
folder=$1 signal=$2 log=$3; shift 3
"$@" >"$log" 2>&1 </dev/null &
server=$!
cat >/dev/null
kill -s "$signal" "$server" 2>/dev/null
wait "$server"
rm -rf "$folder"
"#;

impl Watched {
    /// Starts `server`; `signal` ends it, then `folder` is removed. Its output goes to `folder`'s file `log`.
    pub(crate) fn start(server: &Command, signal: &str, folder: &Path) -> Self {
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", SCRIPT, "watchdog"]).arg(folder).arg(signal).arg(folder.join("log"));
        shell.arg(server.get_program()).args(server.get_args());
        shell.envs(server.get_envs().filter_map(|(name, value)| Some((name, value?))));
        shell.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        shell.current_dir("/");
        std::os::unix::process::CommandExt::process_group(&mut shell, 0);
        Self { shell: shell.spawn().expect("/bin/sh can be started") }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        self.shell.wait().ok();
    }
}
