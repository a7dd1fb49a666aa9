//! A dump into a file, into stdout, or into a file without a name that is gone with its last user.

use std::fs::File;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use indicatif::HumanBytes;
use rustix::event::PollFlags;
use rustix::pipe::PIPE_BUF;

use super::reading::{Attempt, CopyFault, Reading};
use crate::command::context::Context;
use crate::exit::{Failure, wrap};
use crate::files;
use crate::interrupt::Interrupt;
use crate::process::wait_ready;

/// Makes sure that there is room for so many bytes, and says where to make some.
pub(super) fn ensure_room(folder: &Path, size_bytes: u64, hint: &str) -> Result<()> {
    let free = files::free_bytes(folder)?;
    if free >= size_bytes {
        return Ok(());
    }
    let (need, have) = (HumanBytes(size_bytes), HumanBytes(free));
    let what =
        format!("`{}` has no room for the dump: it needs {need}, and {have} are free", folder.display());
    Err(Failure::failed(what).hint(hint).into())
}

/// Makes sure that a dump of so many bytes can become this new file.
pub(super) fn ensure_new(path: &Path, size_bytes: u64) -> Result<()> {
    if path.symlink_metadata().is_ok() {
        let what = format!("`{}` exists already and is left as it is", path.display());
        return Err(Failure::failed(what).hint("name a new file").into());
    }
    ensure_room(files::parent_of(path), size_bytes, "name a file elsewhere")
}

/// Makes sure that stdout takes a dump.
pub(super) fn ensure_no_terminal() -> Result<()> {
    if std::io::stdout().is_terminal() {
        return Err(Failure::usage("a dump is not for a terminal").hint("--output FILE").into());
    }
    Ok(())
}

/// Writes the dump into a new file beside `path`, which takes that name once it is whole and durable.
pub(super) fn into_file(context: &Context, path: &Path, dump: &mut Reading<'_>) -> Attempt<()> {
    let folder = files::parent_of(path);
    let mut file = tempfile::Builder::new()
        .prefix(".pgkeep-")
        .suffix(".part")
        .tempfile_in(folder)
        .with_context(|| format!("cannot make a file in `{}`", folder.display()))?;
    pour(dump, &mut file, folder)?;
    if context.interrupt.is_raised() {
        return Err(CopyFault::Final(Failure::failed("interrupted").into()));
    }
    file.as_file().sync_all().context("cannot make the dump durable")?;
    file.persist_noclobber(path).with_context(|| format!("cannot write `{}`", path.display()))?;
    files::sync_parent(path)?;
    Ok(())
}

/// The folder for a file that is needed for a while only.
pub(super) fn temporary_folder(context: &Context) -> PathBuf {
    let named = context.environment.variables.get("TMPDIR").filter(|folder| !folder.is_empty());
    PathBuf::from(named.map_or("/var/tmp", String::as_str))
}

/// Writes the dump into a file of mode 0600 without a name.
pub(super) fn into_nameless(folder: &Path, dump: &mut Reading<'_>) -> Attempt<File> {
    let mut file = tempfile::tempfile_in(folder)
        .with_context(|| format!("cannot make a file in `{}`", folder.display()))?;
    pour(dump, &mut file, folder)?;
    Ok(file)
}

fn pour(dump: &mut Reading<'_>, file: &mut impl Write, folder: &Path) -> Attempt<()> {
    while let Some(block) = dump.next()? {
        file.write_all(&block)
            .with_context(|| format!("cannot write the dump into `{}`", folder.display()))?;
    }
    Ok(())
}

/// Writes the dump to stdout. What went out can't be taken back: after that no other copy is tried.
pub(super) fn into_stdout(interrupt: &Interrupt, dump: &mut Reading<'_>) -> Attempt<()> {
    let mut stdout = InterruptibleStdout(interrupt);
    let mut is_begun = false;
    loop {
        let block = match dump.next() {
            Ok(Some(block)) => block,
            Ok(None) => return Ok(()),
            Err(CopyFault::Copy(error)) if is_begun => {
                let what = "what went to stdout is only a part of the dump";
                return Err(CopyFault::Final(wrap(error, what)));
            }
            Err(problem) => return Err(problem),
        };
        is_begun = true;
        stdout.write_all(&block).context("cannot write the dump to stdout")?;
    }
}

/// Stdout as a pipe that may be full for long: waited for with an eye on the interrupt.
struct InterruptibleStdout<'a>(&'a Interrupt);

impl Write for InterruptibleStdout<'_> {
    fn write(&mut self, buffer: &[u8]) -> std::io::Result<usize> {
        let stdout = std::io::stdout();
        if !wait_ready(&stdout, PollFlags::OUT, self.0)? {
            return Err(std::io::Error::other(Failure::failed("interrupted")));
        }
        // A pipe that is ready takes this much without blocking.
        let now = buffer.get(..buffer.len().min(PIPE_BUF)).unwrap_or_default();
        let count = stdout.lock().write(now)?;
        stdout.lock().flush()?;
        Ok(count)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        std::io::stdout().flush()
    }
}
