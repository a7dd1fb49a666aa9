//! Where the tools of the tests are, and the small helpers that every test file uses.

use std::fmt::Write as _;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

/// How long a test waits for something that must happen.
pub(crate) const DEADLINE: Duration = Duration::from_mins(2);

/// The root of the project.
pub(crate) fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The binary under test.
pub(crate) fn binary() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_pgkeep"))
}

/// Whether the tests run as root: `PostgreSQL` refuses that, so its programs run as `postgres` then.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// The folder of `PostgreSQL`'s server and client programs.
pub(crate) fn pg_bin() -> &'static Path {
    static FOUND: OnceLock<PathBuf> = OnceLock::new();
    FOUND.get_or_init(|| {
        if let Some(folder) = std::env::var_os("PGKEEP_TEST_PG_BIN") {
            return PathBuf::from(folder);
        }
        let mut folders: Vec<(u32, PathBuf)> = fs::read_dir("/usr/lib/postgresql")
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| {
                let major = entry.file_name().to_str()?.parse().ok()?;
                Some((major, entry.path().join("bin")))
            })
            .filter(|(_, folder)| folder.join("initdb").exists())
            .collect();
        folders.sort();
        folders.pop().expect("no PostgreSQL server here: run `bash tests/run.sh`, it installs one").1
    })
}

/// The `SeaweedFS` binary.
pub(crate) fn weed() -> PathBuf {
    from_venv("PGKEEP_TEST_WEED", "bin/weed")
}

/// A Python with `PyNaCl` in it.
pub(crate) fn python() -> PathBuf {
    from_venv("PGKEEP_TEST_PYTHON", "bin/python")
}

/// Prometheus' own tool.
pub(crate) fn promtool() -> PathBuf {
    from_cache("PGKEEP_TEST_PROMTOOL", "prometheus/usr/bin/promtool")
}

/// The connection pooler.
pub(crate) fn pgbouncer() -> PathBuf {
    let installed = PathBuf::from("/usr/sbin/pgbouncer");
    if std::env::var_os("PGKEEP_TEST_PGBOUNCER").is_none() && installed.exists() {
        return installed;
    }
    from_cache("PGKEEP_TEST_PGBOUNCER", "pgbouncer/usr/sbin/pgbouncer")
}

fn from_venv(variable: &str, path: &str) -> PathBuf {
    from_cache(variable, &format!("venv/{path}"))
}

fn from_cache(variable: &str, path: &str) -> PathBuf {
    let found =
        std::env::var_os(variable).map_or_else(|| project().join("tests/.cache").join(path), PathBuf::from);
    assert!(found.exists(), "`{}` is missing: run `bash tests/run.sh`, it installs it", found.display());
    found
}

/// A command that runs as `postgres` where the tests run as root, and as the tests' user elsewhere.
pub(crate) fn as_postgres(program: impl AsRef<Path>) -> Command {
    let program = program.as_ref();
    let mut command = if is_root() {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]).arg(program);
        command
    } else {
        Command::new(program)
    };
    command.current_dir("/");
    command
}

/// Gives `path` to `postgres` where the tests run as root.
pub(crate) fn give_to_postgres(path: &Path) {
    static OWNER: OnceLock<(u32, u32)> = OnceLock::new();
    if is_root() {
        let (user, group) = OWNER.get_or_init(|| {
            let ask = |flag| run("id", &[flag, "postgres"]).trim().parse().unwrap();
            (ask("-u"), ask("-g"))
        });
        std::os::unix::fs::chown(path, Some(*user), Some(*group)).unwrap();
    }
}

/// A port of the loopback interface that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Waits until `condition` holds; fails after [`DEADLINE`].
pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < DEADLINE, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Runs a tool of the tests, which must succeed; gives its stdout.
pub(crate) fn run(program: impl AsRef<Path>, arguments: &[&str]) -> String {
    let mut command = Command::new(program.as_ref());
    command.args(arguments);
    finish(&mut command)
}

/// Runs a prepared command, which must succeed; gives its stdout.
pub(crate) fn finish(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// Lower-case hex of `bytes`.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

/// SHA-256 in lower-case hex.
pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Every file under `folder`, with its full path, in order.
pub(crate) fn files_under(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if entry.file_type().unwrap().is_dir() {
            found.extend(files_under(&path));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}
