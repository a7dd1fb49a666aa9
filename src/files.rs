//! Files that hold secrets or backups: made so that only their owner can read them, refused when others
//! can. It knows nothing of what is in them.

use std::fs::{DirBuilder, File, Metadata, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use anyhow::{Context, Result, bail};
use tempfile::NamedTempFile;
use zeroize::Zeroizing;

use crate::exit::Failure;

/// Larger than any key or secret; a file beyond it is something else.
const SECRET_LIMIT_BYTES: u64 = 64 * 1024;

/// Reads a file that holds a secret, as text.
///
/// # Errors
/// When it can't be read, is no text, is larger than 64 KiB, belongs to somebody else, or others than its owner can read
/// it. As with libpq's key files, a group may read a file that belongs to root.
pub fn read_secret(path: &Path) -> Result<Zeroizing<String>> {
    let shown = path.display();
    let file = open_at_once(path).with_context(|| format!("cannot open `{shown}`"))?;
    let about = file.metadata().with_context(|| format!("cannot examine `{shown}`"))?;
    if !about.is_file() {
        bail!("`{shown}` is not a regular file");
    }
    ensure_owner(path, &about)?;
    ensure_private(path, &about)?;
    let mut text = Zeroizing::new(String::new());
    file.take(SECRET_LIMIT_BYTES + 1)
        .read_to_string(&mut text)
        .with_context(|| format!("cannot read `{shown}`"))?;
    if text.len() as u64 > SECRET_LIMIT_BYTES {
        bail!("`{shown}` is larger than 64 KiB: not a secret");
    }
    Ok(text)
}

/// Makes sure that a file or folder was put there by this user or by root, and that nobody else can change it.
///
/// # Errors
/// Exit code 2, with what mends it.
pub fn ensure_ours(path: &Path, about: &Metadata) -> Result<(), Failure> {
    ensure_owner(path, about)?;
    let mode = about.mode() & 0o7777;
    // What stands in a folder with the sticky bit is changed by its owner alone. A folder of root's that the group of this
    // user may write to is how root gives it one.
    let is_folder = about.is_dir();
    let by_root = is_folder && about.uid() == 0 && !rustix::process::geteuid().is_root();
    let forbidden = if by_root { 0o002 } else { 0o022 };
    if mode & forbidden == 0 || (is_folder && mode & 0o1000 != 0) {
        return Ok(());
    }
    let shown = path.display();
    Err(Failure::usage(format!("`{shown}` can be changed by others than its owner (mode {mode:04o})"))
        .hint(format!("chmod {} {shown}", if by_root { "o-w" } else { "go-w" })))
}

/// Makes sure that nobody else can read a file. As with libpq's key files, a group may read one that belongs to root.
///
/// # Errors
/// Exit code 2, with what mends it.
pub fn ensure_private(path: &Path, about: &Metadata) -> Result<(), Failure> {
    let by_root = is_roots(path, about.uid());
    let forbidden = if by_root { 0o037 } else { 0o077 };
    let mode = about.mode() & 0o7777;
    if mode & forbidden == 0 {
        return Ok(());
    }
    let shown = path.display();
    let group = if by_root {
        format!(" (or 640, where its group {} may read it)", about.gid())
    } else {
        String::new()
    };
    Err(Failure::usage(format!("`{shown}` can be read by others (mode {mode:04o})"))
        .hint(format!("chmod 600 {shown}{group}")))
}

/// Makes sure that a file belongs to this user or to root.
fn ensure_owner(path: &Path, about: &Metadata) -> Result<(), Failure> {
    let (owner, us) = (about.uid(), rustix::process::geteuid());
    if owner == us.as_raw() || is_roots(path, owner) {
        return Ok(());
    }
    let (shown, us) = (path.display(), us.as_raw());
    // What root takes from the user of a service stops the service.
    let hint = if us == 0 {
        let text = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
        let user = user_name(&text, owner).map_or_else(|| format!("'#{owner}'"), str::to_owned);
        format!("where pgkeep runs as that user, do the same as that user: `sudo -u {user} pgkeep ...`")
    } else {
        format!("look at what is in it, then `chown {us} {shown}`")
    };
    Err(Failure::usage(format!("`{shown}` belongs to user {owner}, neither to this user ({us}) nor to root"))
        .hint(hint))
}

/// Whether a file is root's. In a container without root's rights those of the host's root show as those of a user whom
/// nobody there is; they are taken for root's where we can't change them.
fn is_roots(path: &Path, owner: u32) -> bool {
    if owner == 0 {
        return true;
    }
    let number = |path: &str| std::fs::read_to_string(path).ok()?.trim().parse::<u32>().ok();
    number("/proc/sys/kernel/overflowuid") == Some(owner)
        && std::fs::read_to_string("/proc/self/uid_map").is_ok_and(|map| !is_mapped(&map, owner))
        && rustix::fs::accessat(
            rustix::fs::CWD,
            path,
            rustix::fs::Access::WRITE_OK,
            rustix::fs::AtFlags::EACCESS,
        )
        .is_err()
}

/// Whether a user is one of those of a name space, as its `uid_map` has them (`user_namespaces(7)`). What can't be read has all.
fn is_mapped(map: &str, user: u32) -> bool {
    map.lines().any(|line| {
        let mut fields = line.split_whitespace().map(str::parse::<u32>);
        match (fields.next(), fields.nth(1)) {
            (Some(Ok(first)), Some(Ok(count))) => user.checked_sub(first).is_some_and(|at| at < count),
            _ => true,
        }
    })
}

/// The name of a user, as `/etc/passwd` has it (passwd(5)).
fn user_name(passwd: &str, user: u32) -> Option<&str> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(user)).then_some(name)
    })
}

/// Opens a lock file, or makes it, and leaves what is in it. No link is followed, and it must be a file of this user's or
/// root's that has no other name.
///
/// # Errors
/// When it can't be opened, or is something else.
pub fn open_lock(path: &Path) -> Result<File> {
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let shown = path.display();
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(flags.bits().cast_signed())
        .open(path)
        .with_context(|| format!("cannot open the lock file `{shown}`"))?;
    let about = file.metadata().with_context(|| format!("cannot examine the lock file `{shown}`"))?;
    if !about.is_file() || about.nlink() > 1 {
        bail!("the lock file `{shown}` is no file of its own");
    }
    ensure_owner(path, &about)?;
    Ok(file)
}

/// Opens a file to be read. A pipe that nobody writes to does not hold us up.
fn open_at_once(path: &Path) -> io::Result<File> {
    let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    OpenOptions::new().read(true).custom_flags(flags).open(path)
}

/// Reads a regular file of at most that many bytes.
///
/// # Errors
/// When it can't be read, is no regular file, or is larger.
pub fn read_limited(path: &Path, limit_bytes: u64) -> Result<Vec<u8>> {
    let shown = path.display();
    let file = open_at_once(path).with_context(|| format!("cannot open `{shown}`"))?;
    if !file.metadata().with_context(|| format!("cannot examine `{shown}`"))?.is_file() {
        bail!("`{shown}` is not a regular file");
    }
    read_to_limit(file, limit_bytes).with_context(|| format!("cannot read `{shown}`"))
}

/// Reads a file from outside, of which no more than `limit_bytes` is held; it may be a pipe.
///
/// # Errors
/// When it can't be read, or is larger.
pub fn read_at_most(path: &Path, limit_bytes: u64) -> io::Result<Vec<u8>> {
    read_to_limit(File::open(path)?, limit_bytes)
}

fn read_to_limit(file: File, limit_bytes: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(limit_bytes.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit_bytes {
        let what = format!("it is larger than {} KiB", limit_bytes / 1024);
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, what));
    }
    Ok(bytes)
}

/// The same of a text.
///
/// # Errors
/// As [`read_at_most`], and when it is not UTF-8.
pub fn read_text_at_most(path: &Path, limit_bytes: u64) -> io::Result<String> {
    String::from_utf8(read_at_most(path, limit_bytes)?)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8"))
}

/// Makes a new file of mode 0600 with `bytes` in it, durably and at once: it is never seen half written.
///
/// # Errors
/// When there is a file of that name already (it is left as it is), or it can't be written.
pub fn create_private(path: &Path, bytes: &[u8]) -> Result<()> {
    let file = temporary_with(path, bytes)?;
    file.persist_noclobber(path).with_context(|| format!("cannot create `{}`", path.display()))?;
    sync_parent(path)
}

/// Writes `bytes` to `path` by way of a temporary file beside it: after a crash the old or the new
/// content stands there, never a mixture. Mode 0600.
///
/// # Errors
/// When it can't be written.
pub fn replace_private(path: &Path, bytes: &[u8]) -> Result<()> {
    let file = temporary_with(path, bytes)?;
    file.persist(path).with_context(|| format!("cannot write `{}`", path.display()))?;
    sync_parent(path)
}

/// The same of mode 0644, for what holds no secret and is there to be read by another user: metrics that Prometheus'
/// `node_exporter` collects. It is of that mode before it stands there.
///
/// # Errors
/// When it can't be written.
pub fn replace_public(path: &Path, bytes: &[u8]) -> Result<()> {
    let file = temporary_with(path, bytes)?;
    let shown = path.display();
    file.as_file()
        .set_permissions(Permissions::from_mode(0o644))
        .with_context(|| format!("cannot let others read `{shown}`"))?;
    file.persist(path).with_context(|| format!("cannot write `{shown}`"))?;
    sync_parent(path)
}

/// A temporary file beside `path`, mode 0600, with `bytes` durably in it.
fn temporary_with(path: &Path, bytes: &[u8]) -> Result<NamedTempFile> {
    let parent = parent_of(path);
    let shown = path.display();
    let mut file = tempfile::Builder::new()
        .prefix(".")
        .suffix(".part")
        .tempfile_in(parent)
        .with_context(|| format!("cannot make a temporary file in `{}`", parent.display()))?;
    file.write_all(bytes).with_context(|| format!("cannot write `{shown}`"))?;
    file.as_file().sync_all().with_context(|| format!("cannot make `{shown}` durable"))?;
    Ok(file)
}

/// Makes a folder and those above it, each new one with mode 0700.
///
/// # Errors
/// When one can't be made.
pub fn create_private_dir(path: &Path) -> Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .with_context(|| format!("cannot make the folder `{}`", path.display()))
}

/// The folder a path stands in; the current one for a bare name.
#[must_use]
pub fn parent_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Makes the name of a new file durable: an fsync of the folder it stands in.
///
/// # Errors
/// When the folder can't be opened or synced.
pub fn sync_parent(path: &Path) -> Result<()> {
    let parent = parent_of(path);
    File::open(parent)
        .and_then(|folder| folder.sync_all())
        .with_context(|| format!("cannot make the folder `{}` durable", parent.display()))
}

/// How many bytes a user without special rights can still write in a folder's file system.
///
/// # Errors
/// When the folder can't be asked.
pub fn free_bytes(folder: &Path) -> Result<u64> {
    let about = rustix::fs::statvfs(folder)
        .with_context(|| format!("cannot ask how much is free in `{}`", folder.display()))?;
    Ok(about.f_bavail.saturating_mul(about.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_of_a_name_space_are_known() {
        let host = "         0          0 4294967295\n";
        let rootless = "         0       1000          1\n         1     100000      65536\n";
        let kept = "      1000       1000          1\n";
        assert!(is_mapped(host, 65534) && is_mapped(rootless, 65534) && is_mapped(rootless, 0));
        assert!(!is_mapped(kept, 65534) && !is_mapped(kept, 1001) && is_mapped(kept, 1000));
        assert!(!is_mapped(rootless, 65537) && is_mapped("odd", 65534) && is_mapped("0 0 many", 1));
    }

    #[test]
    fn users_are_named() {
        let passwd = "root:x:0:0:root:/root:/bin/bash\nbad\npgkeep:x:998:997::/var/lib/pgkeep:/bin/sh\n";
        assert_eq!(user_name(passwd, 998), Some("pgkeep"));
        assert_eq!(user_name(passwd, 997), None);
    }
}
