//! Whether what configures a run is ours or root's, and nobody else can change it, as ssh looks at its files. It reads
//! none of it.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use crate::bounded;
use crate::config::Config;
use crate::config::redacted::Written;
use crate::files;

/// How long a look at the state folder may take.
const LOOK: Duration = Duration::from_secs(2);

/// Makes sure of the configuration file, the folders that it and what it is a link to stand in, and the state folder. What
/// is no regular file (a pipe, `/dev/null`) is for whoever named it to judge.
///
/// # Errors
/// Exit code 2, with what mends it.
pub(super) fn ensure(config: &Config) -> Result<()> {
    if let Some(file) = &config.file {
        ensure_file(file, config.written_out)?;
    }
    let folder = config.state_dir.clone();
    let looked = bounded::within("state folder", LOOK, move || folder.metadata());
    // One that is not there is made; one that hangs is told of where it is used.
    if let Ok(Ok(about)) = looked {
        files::ensure_ours(&config.state_dir, &about)?;
    }
    Ok(())
}

fn ensure_file(file: &Path, written_out: Written) -> Result<()> {
    let Ok(about) = file.metadata() else { return Ok(()) };
    if !about.is_file() {
        return Ok(());
    }
    files::ensure_ours(file, &about)?;
    match (written_out, files::ensure_private(file, &about)) {
        (Written::Secret, Err(refused)) => return Err(refused.into()),
        (Written::Address, Err(seen)) => log::warn!(
            "{seen}, and an address stands in it that may be as good as a secret; hint: {}, or write `url = {{ file = \"PATH\" }}`",
            seen.hint.as_deref().unwrap_or_default()
        ),
        _ => {}
    }
    for path in [Ok(file.to_path_buf()), file.canonicalize()].into_iter().flatten() {
        let folder = files::parent_of(&path);
        if let Ok(about) = folder.metadata() {
            files::ensure_ours(folder, &about)?;
        }
    }
    Ok(())
}
