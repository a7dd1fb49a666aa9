//! What a scratch server may reach while it runs what the owner of a database wrote, and as whom it runs. It
//! knows nothing of databases.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::exit::Failure;
use crate::interrupt::Interrupt;
use crate::process::User;
use crate::process::cage::{Cage, Confinement};
use crate::process::try_cage;

/// Who makes the files of a server where pgkeep is root, the first of them that there is: `initdb` wants a user
/// with a name. It sees nothing of a dump.
const MAKERS: [&str; 2] = ["postgres", "nobody"];

/// Programs and libraries, and what those look up. Nothing of it is a secret, and not all of `/etc` is.
const SYSTEM: [&str; 46] = [
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/usr/bin",
    "/usr/sbin",
    "/usr/lib",
    "/usr/lib32",
    "/usr/lib64",
    "/usr/libx32",
    "/usr/libexec",
    "/usr/share",
    "/usr/local/bin",
    "/usr/local/lib",
    "/usr/local/lib64",
    "/usr/local/share",
    "/nix/store",
    "/gnu/store",
    "/var/cache/postgresql/dicts",
    "/etc/R",
    "/etc/alternatives",
    "/etc/crypto-policies",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/locale.alias",
    "/etc/locale.conf",
    "/etc/localtime",
    "/etc/mime.types",
    "/etc/nsswitch.conf",
    "/etc/perl",
    "/etc/pki/tls/openssl.cnf",
    "/etc/protocols",
    "/etc/services",
    "/etc/ssl/openssl.cnf",
    "/etc/timezone",
    "/dev/full",
    "/dev/random",
    "/dev/urandom",
    "/dev/zero",
    "/proc/cpuinfo",
    "/proc/filesystems",
    "/proc/meminfo",
    "/sys/devices/system/cpu",
];
/// What stands beside the folder of PostgreSQL's programs where it was installed on its own.
const BESIDE: [&str; 3] = ["lib", "lib64", "share"];

/// How a scratch server is confined on this host.
#[derive(Clone, Debug)]
pub struct Guard {
    /// How far that goes.
    pub confinement: Confinement,
    /// Who makes its files, where that is another user than pgkeep's.
    pub(super) maker: Option<User>,
    /// Who it runs as, where that is another one.
    pub(super) server: Option<User>,
    own_spaces: bool,
}

impl Guard {
    /// Finds the users, and puts a cage on a process to see how far it holds.
    ///
    /// # Errors
    /// When there is no user, or no cage can be put on at all.
    pub fn find(interrupt: &Interrupt) -> Result<Self> {
        let (maker, server) = users()?;
        let tried = |own_spaces| {
            let cage = Cage { readable: system(), own_spaces, ..Cage::default() };
            try_cage(&cage, server, interrupt)
        };
        let (own_spaces, confinement) = match tried(true) {
            Ok(confinement) => (true, confinement),
            Err(error) => {
                log::info!("a scratch server has no name spaces of its own here: {error:#}");
                (false, tried(false).context("no cage can be made for a scratch server")?)
            }
        };
        Ok(Self { confinement, maker, server, own_spaces })
    }

    /// Makes sure that a server may run what a dump holds.
    ///
    /// # Errors
    /// When this kernel does not keep it from anything, and `unconfined` does not allow that.
    pub fn ensure(&self, unconfined: bool) -> Result<()> {
        if self.confinement.holds() {
            return Ok(());
        }
        if unconfined {
            log::warn!("what the dump holds runs unconfined: {}", self.confinement);
            return Ok(());
        }
        let what = format!(
            "a test restore runs code that stands in the dump, and this kernel can't confine it ({})",
            self.confinement
        );
        Err(Failure::failed(what).hint(HINT).into())
    }

    /// What is left to `program` that keeps its files in `data` and its socket in `socket_dir`; `more` is readable
    /// as well.
    pub(super) fn cage(&self, program: &Path, data: &Path, socket_dir: &Path, more: &[PathBuf]) -> Cage {
        let mut readable = system();
        readable.extend_from_slice(more);
        if let Some(bin) = program.parent() {
            readable.push(bin.to_path_buf());
            let prefix = bin.parent().filter(|prefix| prefix.parent().is_some());
            readable.extend(prefix.into_iter().flat_map(|prefix| BESIDE.map(|name| prefix.join(name))));
        }
        Cage {
            readable,
            writable: vec![data.to_path_buf()],
            sockets: vec![socket_dir.to_path_buf()],
            own_spaces: self.own_spaces,
        }
    }
}

/// What helps where a library of an extension is out of the cage.
pub const LIBRARY: &str = "name the folder of the library in `[verify] readable`: a confined server reads those of \
                           the system alone; or name a server that has it with --scratch";
const HINT: &str = "boot with Landlock (Linux 5.13 and later: `lsm=landlock,...` on the kernel's command line), or name a \
                    server that is kept for this with --scratch; where every database's owner may run programs on \
                    this host, `[verify] unconfined = true` allows it";

fn system() -> Vec<PathBuf> {
    let settings = std::fs::read_dir("/etc").into_iter().flatten().flatten();
    let of_java = settings.filter(|entry| entry.file_name().to_string_lossy().starts_with("java"));
    SYSTEM.iter().map(PathBuf::from).chain(of_java.map(|entry| entry.path())).collect()
}

/// Who makes a server's files and who runs it. It does not run as root, nor as a user who owns anything.
fn users() -> Result<(Option<User>, Option<User>)> {
    if !rustix::process::geteuid().is_root() {
        return Ok((None, None));
    }
    let none = |what: &str| {
        Failure::failed(format!("a scratch server can't run as root, and there is no {what} for it"))
            .hint("add the user `postgres`, or run pgkeep as another one than root, or name a server with --scratch")
    };
    let maker = MAKERS.iter().find_map(|name| User::named(name)).ok_or_else(|| none("user"))?;
    let server = User::passing(random()?).ok_or_else(|| none("number of a user free"))?;
    Ok((Some(maker), Some(server)))
}

fn random() -> Result<u32> {
    let mut bytes = [0u8; 4];
    orion::util::secure_rand_bytes(&mut bytes)
        .map_err(|_| anyhow::anyhow!("the operating system gave no random bytes"))?;
    Ok(u32::from_le_bytes(bytes))
}
