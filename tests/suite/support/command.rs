//! Runs the built binary and says what it must answer: exact text, or what a text must hold; nothing at all
//! where a test says nothing. A failure prints the command, the exit code and both streams.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;

use rustix::process::{Pid, Signal, kill_process};

use super::secrets::secret_in;
use super::tools::{DEADLINE, as_postgres, binary, wait_until};

/// What a stream must hold.
#[derive(Clone, Debug)]
enum Expected {
    Exactly(String),
    All(Vec<String>),
}

impl Expected {
    fn check(&self, text: &str) -> Option<String> {
        match self {
            Self::Exactly(wanted) if wanted == text => None,
            Self::Exactly(wanted) => Some(format!("wanted exactly {wanted:?}")),
            Self::All(parts) => parts
                .iter()
                .find(|part| !text.to_lowercase().contains(&part.to_lowercase()))
                .map(|part| format!("wanted {part:?} in it")),
        }
    }

    fn add(&mut self, part: &str) {
        match self {
            Self::Exactly(_) => *self = Self::All(vec![part.to_owned()]),
            Self::All(parts) => parts.push(part.to_owned()),
        }
    }
}

/// A call of `pgkeep` to be made.
#[derive(Clone, Debug)]
pub(crate) struct Pgkeep {
    program: PathBuf,
    arguments: Vec<OsString>,
    environment: BTreeMap<OsString, OsString>,
    folder: PathBuf,
    is_postgres: bool,
    code: Option<i32>,
    stdout: Expected,
    stderr: Expected,
    secrets: Vec<String>,
}

/// What a call answered.
#[derive(Clone, Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// A call that is under way.
#[derive(Debug)]
pub(crate) struct Running {
    call: Pgkeep,
    pid: Pid,
    ended: mpsc::Receiver<ExitStatus>,
    stdout: Stream,
    stderr: Stream,
}

/// What a stream has brought so far, and the thread that reads it.
#[derive(Debug)]
struct Stream {
    bytes: Arc<Mutex<Vec<u8>>>,
    reader: JoinHandle<()>,
}

impl Pgkeep {
    /// A call with an environment of nothing but `PATH` and folders under `home`.
    pub(crate) fn new(home: &Path) -> Self {
        let mut call = Self {
            program: binary().to_owned(),
            arguments: Vec::new(),
            environment: BTreeMap::new(),
            folder: home.to_owned(),
            is_postgres: false,
            code: Some(0),
            stdout: Expected::Exactly(String::new()),
            stderr: Expected::Exactly(String::new()),
            secrets: Vec::new(),
        };
        call = call.env("PATH", "/usr/local/bin:/usr/bin:/bin").env("LANG", "C.UTF-8").env("HOME", home);
        for (name, path) in
            [("XDG_CONFIG_HOME", ".config"), ("XDG_STATE_HOME", ".local/state"), ("XDG_CACHE_HOME", ".cache")]
        {
            call = call.env(name, home.join(path));
        }
        call
    }

    pub(crate) fn args<T: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = T>) -> Self {
        self.arguments.extend(arguments.into_iter().map(|argument| argument.as_ref().to_owned()));
        self
    }

    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.environment.insert(name.into(), value.as_ref().to_owned());
        self
    }

    pub(crate) fn without_env(mut self, name: &str) -> Self {
        self.environment.remove(OsStr::new(name));
        self
    }

    /// Runs another file in the binary's place.
    pub(crate) fn program(mut self, program: impl Into<PathBuf>) -> Self {
        self.program = program.into();
        self
    }

    /// Runs by way of another program and its words, and a shell's script in which the call is `"$@"`.
    pub(crate) fn through(mut self, words: &[&str], script: &str) -> Self {
        let call = std::mem::take(&mut self.arguments);
        let shell = ["/bin/sh", "-c", script, "sh"];
        let words: Vec<OsString> = words.iter().chain(&shell).map(OsString::from).collect();
        let called = [std::mem::take(&mut self.program).into_os_string()];
        self.program = words[0].clone().into();
        self.arguments = words.into_iter().skip(1).chain(called).chain(call).collect();
        self
    }

    /// Runs in a name space of its own for mounts, also where the tests are not root; `script` is as in
    /// [`Pgkeep::through`].
    pub(crate) fn with_mounts(self, script: &str) -> Self {
        self.through(&["/usr/bin/unshare", "--mount", "--map-root-user"], script)
    }

    /// Runs with a limit of the system's, in the words of `prlimit`.
    pub(crate) fn limited(self, limit: &str) -> Self {
        self.through(&["/usr/bin/prlimit", limit], "exec \"$@\"")
    }

    /// Runs in that folder, instead of its home.
    pub(crate) fn in_folder(mut self, folder: &Path) -> Self {
        folder.clone_into(&mut self.folder);
        self
    }

    /// Runs as `postgres` where the tests run as root.
    pub(crate) fn by_postgres(mut self) -> Self {
        self.is_postgres = true;
        self
    }

    /// Texts that must not show in what the call prints.
    pub(crate) fn secrets(mut self, secrets: &[String]) -> Self {
        self.secrets.extend_from_slice(secrets);
        self
    }

    /// The exit code it must have; 0 where nothing is said.
    pub(crate) fn code(mut self, code: i32) -> Self {
        self.code = Some(code);
        self
    }

    /// Its exit code is free.
    pub(crate) fn any_code(mut self) -> Self {
        self.code = None;
        self
    }

    /// All of its stdout.
    pub(crate) fn stdout(mut self, text: &str) -> Self {
        self.stdout = Expected::Exactly(text.to_owned());
        self
    }

    /// Something its stdout must hold, whatever the case; the rest is free.
    pub(crate) fn stdout_has(mut self, part: &str) -> Self {
        self.stdout.add(part);
        self
    }

    /// Its stdout is looked at by the test itself.
    pub(crate) fn any_stdout(self) -> Self {
        self.stdout_has("")
    }

    /// Something its stderr must hold, whatever the case; the rest is free.
    pub(crate) fn stderr_has(mut self, part: &str) -> Self {
        self.stderr.add(part);
        self
    }

    /// Its stderr is looked at by the test itself.
    pub(crate) fn any_stderr(self) -> Self {
        self.stderr_has("")
    }

    fn command(&self) -> Command {
        let mut command =
            if self.is_postgres { as_postgres(&self.program) } else { Command::new(&self.program) };
        command.args(&self.arguments).env_clear().envs(&self.environment).current_dir(&self.folder);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Starts the call and goes on.
    pub(crate) fn start(self) -> Running {
        let mut command = self.command();
        // As under cron: no terminal, and a process group of its own.
        command.process_group(0);
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let pid = Pid::from_child(&child);
        let stdout = Stream::drain(child.stdout.take().unwrap());
        let stderr = Stream::drain(child.stderr.take().unwrap());
        let (sender, ended) = mpsc::channel();
        std::thread::spawn(move || send_end(child, &sender));
        Running { call: self, pid, ended, stdout, stderr }
    }

    /// Makes the call, waits for its end, and checks what it answered.
    pub(crate) fn run(self) -> Ran {
        self.start().finish()
    }
}

fn send_end(mut child: Child, sender: &mpsc::Sender<ExitStatus>) {
    // The test may have failed and gone.
    sender.send(child.wait().unwrap()).ok();
}

impl Stream {
    fn drain(mut stream: impl Read + Send + 'static) -> Self {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let for_thread = Arc::clone(&bytes);
        let reader = std::thread::spawn(move || {
            let mut block = [0; 4096];
            while let Ok(count @ 1..) = stream.read(&mut block) {
                for_thread.lock().unwrap().extend_from_slice(&block[..count]);
            }
        });
        Self { bytes, reader }
    }

    fn so_far(&self) -> String {
        String::from_utf8_lossy(&self.bytes.lock().unwrap()).into_owned()
    }

    fn finish(self) -> String {
        self.reader.join().unwrap();
        String::from_utf8_lossy(&self.bytes.lock().unwrap()).into_owned()
    }
}

impl Running {
    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid, signal).unwrap();
    }

    /// Sends a signal, unless the call has ended by itself: false then.
    pub(crate) fn try_signal(&self, signal: Signal) -> bool {
        kill_process(self.pid, signal).is_ok()
    }

    /// Waits until `part` stands on stderr.
    pub(crate) fn wait_for_stderr(&self, part: &str) {
        wait_until(part, || self.stderr.so_far().contains(part));
    }

    /// What stands on stderr by now.
    pub(crate) fn stderr_so_far(&self) -> String {
        self.stderr.so_far()
    }

    /// Waits for the end of a call that was killed.
    pub(crate) fn await_death(self) {
        self.ended.recv_timeout(DEADLINE).expect("a killed process ends");
    }

    /// Waits for the end, and checks what the call answered.
    pub(crate) fn finish(self) -> Ran {
        let status = self.ended.recv_timeout(DEADLINE).ok();
        if status.is_none() {
            kill_process(self.pid, Signal::KILL).unwrap();
        }
        let (stdout, stderr) = (self.stdout.finish(), self.stderr.finish());
        let code = status.and_then(|status| status.code());
        let mut faults = Vec::new();
        if self.call.code.is_some_and(|wanted| code != Some(wanted)) || code.is_none() {
            faults.push(format!("wanted exit code {:?}", self.call.code));
        }
        faults.extend(self.call.stdout.check(&stdout).map(|fault| format!("stdout: {fault}")));
        faults.extend(self.call.stderr.check(&stderr).map(|fault| format!("stderr: {fault}")));
        for (name, text) in [("stdout", &stdout), ("stderr", &stderr)] {
            faults.extend(
                secret_in(text.as_bytes(), &self.call.secrets).map(|secret| format!("`{secret}` in {name}")),
            );
        }
        let end = match (status, code) {
            (None, _) => "did not end in time and was killed".to_owned(),
            (_, Some(code)) => format!("exit code {code}"),
            (Some(status), None) => format!("ended by signal {:?}", status.signal()),
        };
        assert!(
            faults.is_empty(),
            "{}\n--- {:?}\n--- {end}\n--- stdout\n{stdout}\n--- stderr\n{stderr}\n---",
            faults.join("\n"),
            self.call.command()
        );
        Ran { code: code.unwrap_or_default(), stdout, stderr }
    }
}

impl Ran {
    /// The ids on stdout, one a line; stdout must hold nothing else.
    pub(crate) fn ids(&self) -> Vec<String> {
        assert!(self.stdout.is_empty() || self.stdout.ends_with('\n'), "{:?}", self.stdout);
        self.stdout.lines().map(str::to_owned).collect()
    }

    /// The one id on stdout.
    pub(crate) fn id(&self) -> String {
        let ids = self.ids();
        assert_eq!(ids.len(), 1, "{:?}", self.stdout);
        assert!(is_id(&ids[0]), "`{}` is no id", ids[0]);
        ids[0].clone()
    }

    /// stdout as a JSON document.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error} in {:?}", self.stdout))
    }
}

/// Whether `text` looks like `full-shop-20261122T020000Z-3f9a`.
pub(crate) fn is_id(text: &str) -> bool {
    let words: Vec<&str> = text.rsplitn(3, '-').collect();
    let [random, stamp, rest] = words[..] else { return false };
    let digits = stamp.len() == 16
        && stamp.char_indices().all(|(at, letter)| match at {
            8 => letter == 'T',
            15 => letter == 'Z',
            _ => letter.is_ascii_digit(),
        });
    random.len() == 4
        && random.chars().all(|letter| letter.is_ascii_hexdigit())
        && digits
        && ["full-", "config-cluster-"]
            .iter()
            .any(|kind| rest.starts_with(kind) || format!("{rest}-") == *kind)
}
