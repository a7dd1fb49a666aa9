//! `pgkeep key`: makes and shows keys.

use anyhow::Result;
use serde_json::json;

use super::output::Output;
use crate::cli;
use crate::exit::{Code, Failure};
use crate::key::Key;

pub(super) fn run(which: &cli::Key, out: &Output) -> Result<Code> {
    let (path, key) = match which {
        cli::Key::New { output } => {
            if output.symlink_metadata().is_ok() {
                let what = format!("`{}` exists already and is left as it is", output.display());
                let hint = "a key that sealed backups must be kept: name another file";
                return Err(Failure::failed(what).hint(hint).into());
            }
            let key = Key::generate()?;
            key.write_new(output)?;
            (output, key)
        }
        cli::Key::Show { file } => (file, Key::read(file)?),
    };
    out.line(&key.id())?;
    out.json(&json!({ "id": key.id(), "file": path }))?;
    Ok(Code::Done)
}
