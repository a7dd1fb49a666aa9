//! A disk that breaks: a library put before the system's own, in which calls on files of one folder fail.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use super::command::Pgkeep;
use super::tools::finish;

const SOURCE: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static atomic_int calls;

/* Whether the call of that name on that file is one to fail: the FROM-th and each one after it. */
static int fails(const char *name, int file) {
    const char *folder = getenv("SHIM_FOLDER"), *wanted = getenv("SHIM_CALL"), *from = getenv("SHIM_FROM");
    char link[64], path[4096];
    if (!folder || !wanted || !from || strcmp(name, wanted)) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    if (strncmp(path, folder, strlen(folder))) return 0;
    if (atomic_fetch_add(&calls, 1) + 1 < atoi(from)) return 0;
    if (getenv("SHIM_HANGS")) for (;;) pause();
    return 1;
}

int fsync(int file) {
    if (fails("fsync", file)) { errno = EIO; return -1; }
    return ((int (*)(int))dlsym(RTLD_NEXT, "fsync"))(file);
}

ssize_t write(int file, const void *bytes, size_t count) {
    if (fails("write", file)) { errno = EIO; return -1; }
    return ((ssize_t (*)(int, const void *, size_t))dlsym(RTLD_NEXT, "write"))(file, bytes, count);
}

ssize_t read(int file, void *bytes, size_t count) {
    if (fails("read", file)) { errno = EIO; return -1; }
    return ((ssize_t (*)(int, void *, size_t))dlsym(RTLD_NEXT, "read"))(file, bytes, count);
}
"#;

fn library() -> &'static Path {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    MADE.get_or_init(|| {
        let folder = tempfile::Builder::new().prefix("shim").tempdir_in(env!("CARGO_TARGET_TMPDIR"));
        let folder = folder.unwrap().keep();
        let (source, library) = (folder.join("shim.c"), folder.join("shim.so"));
        std::fs::write(&source, SOURCE).unwrap();
        finish(Command::new("cc").args(["-shared", "-fPIC", "-o"]).args([&library, &source]).arg("-ldl"));
        library
    })
}

/// Lets the calls of that name on files below `folder` never come back, from the `from`-th on.
pub(crate) fn hanging(call: Pgkeep, folder: &Path, name: &str, from: usize) -> Pgkeep {
    breaking(call, folder, name, from).env("SHIM_HANGS", "1")
}

/// Lets the calls of that name on files below `folder` fail, from the `from`-th on.
pub(crate) fn breaking(call: Pgkeep, folder: &Path, name: &str, from: usize) -> Pgkeep {
    call.env("LD_PRELOAD", library())
        .env("SHIM_FOLDER", folder)
        .env("SHIM_CALL", name)
        .env("SHIM_FROM", from.to_string())
}
