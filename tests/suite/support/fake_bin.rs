//! A folder of client programs in which one, most often `pg_dump`, is a script of the test's.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use super::tools::{pg_bin, wait_until};

/// Such a folder, for `source.pg_bin`.
#[derive(Debug)]
pub(crate) struct FakeBin {
    pub(crate) folder: PathBuf,
}

impl FakeBin {
    /// A folder in which `pg_dump` is a script.
    pub(crate) fn new(parent: &Path, script: &str) -> Self {
        Self::of("pg_dump", parent, script)
    }

    /// Makes the folder under `parent`. In `script` the variable `$REAL` is the true `program` and `$HERE` the
    /// folder; questions for the version go to the true one.
    pub(crate) fn of(program: &str, parent: &Path, script: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("bin").tempdir_in(parent).unwrap().keep();
        for entry in fs::read_dir(pg_bin()).unwrap().flatten() {
            if entry.file_name() != program {
                symlink(entry.path(), folder.join(entry.file_name())).unwrap();
            }
        }
        let text = format!(
            "#!/bin/bash\nREAL='{}'\nHERE='{}'\n\
             case \" $* \" in *' --version '* | *' -V '*) exec \"$REAL\" \"$@\" ;; esac\n{script}\n",
            pg_bin().join(program).display(),
            folder.display()
        );
        // Written elsewhere and renamed: a program that is still open for writing can't be started.
        let draft = folder.join("draft");
        fs::write(&draft, text).unwrap();
        fs::set_permissions(&draft, fs::Permissions::from_mode(0o755)).unwrap();
        fs::rename(draft, folder.join(program)).unwrap();
        Self { folder }
    }

    /// A `pg_dump` that waits for [`FakeBin::release`] before it starts the true one.
    pub(crate) fn held(parent: &Path) -> Self {
        Self::with_gate(parent, "", "exec \"$REAL\" \"$@\"")
    }

    /// A `pg_dump` that has read all it needs when it waits for [`FakeBin::release`], and has written nothing.
    pub(crate) fn held_before_its_first_byte(parent: &Path) -> Self {
        Self::with_gate(parent, "\"$REAL\" \"$@\" >\"$HERE/dump\" || exit", "cat \"$HERE/dump\"")
    }

    fn with_gate(parent: &Path, before: &str, after: &str) -> Self {
        let script = format!(
            "{before}\necho \"$*\" >\"$HERE/arguments\"\necho $$ >\"$HERE/draft\"\n\
             mv \"$HERE/draft\" \"$HERE/pid\"\nread -r _ <\"$HERE/gate\"\n{after}"
        );
        let bin = Self::new(parent, &script);
        let made = std::process::Command::new("mkfifo").arg(bin.folder.join("gate")).status().unwrap();
        assert!(made.success());
        bin
    }

    /// Waits until the held `pg_dump` waits; gives its process id.
    pub(crate) fn wait_for_start(&self) -> String {
        let file = self.folder.join("pid");
        wait_until("the program is started", || file.exists());
        fs::read_to_string(file).unwrap().trim().to_owned()
    }

    /// Lets [`FakeBin::wait_for_start`] wait for the next one.
    pub(crate) fn forget_start(&self) {
        fs::remove_file(self.folder.join("pid")).unwrap();
    }

    /// Lets the held `pg_dump` go on.
    pub(crate) fn release(&self) {
        let mut gate = fs::OpenOptions::new().write(true).open(self.folder.join("gate")).unwrap();
        gate.write_all(b"go\n").unwrap();
    }
}
