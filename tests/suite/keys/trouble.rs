//! Key files and secrets that can't be had: refused before anything is touched, and never waited for.

use std::fs;
use std::path::Path;
use std::process::Command;

use toml::Value;

use crate::disk::without_rights;
use crate::support::tools::finish;
use crate::support::{FakeBin, Site, key};

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
}

fn make_pipe(path: &Path) {
    finish(Command::new("mkfifo").args(["-m", "600"]).arg(path));
}

/// A way to spoil a file, and the words for it.
type Trouble = (fn(&Path), &'static str);

const TROUBLES: [Trouble; 9] = [
    (|_| (), "missing"),
    (|file| key::write_private(file, ""), "not a pgkeep key file"),
    (|file| key::write_private(file, "\n"), "not a pgkeep key file"),
    (|file| fs::create_dir(file).unwrap(), "not a regular file"),
    // To open one is to wait for whoever writes to it.
    (make_pipe, "not a regular file"),
    (
        |file| {
            key::write_private(file, &key::made_up(1));
            mode(file, 0o000);
        },
        "Permission denied",
    ),
    (
        |file| {
            key::write_private(file, &key::made_up(1));
            mode(file, 0o604);
        },
        "chmod 600",
    ),
    (|file| fs::write(file, [0xff; 60]).map(|()| mode(file, 0o600)).unwrap(), "UTF-8"),
    (|file| std::os::unix::fs::symlink(file, file).unwrap(), "symbolic links"),
];

#[test]
fn a_key_file_that_is_no_use_stops_the_run_before_it_begins() {
    let mut site = Site::new();
    for (at, (spoil, words)) in TROUBLES.iter().enumerate() {
        let file = site.path(&format!("spoilt{at}"));
        spoil(&file);
        for setting in ["encryption.key_file", "encryption.open_with"] {
            let good = site.path("pgkeep.key").to_str().unwrap().to_owned();
            let spoilt = file.to_str().unwrap().to_owned();
            site.config.set("encryption.key_file", good.as_str());
            site.config.set("encryption.open_with", Vec::<Value>::new());
            match setting {
                "encryption.open_with" => site.config.set(setting, vec![spoilt.clone()]),
                _ => site.config.set(setting, spoilt.as_str()),
            }
            let call = without_rights(site.pgkeep(["backup", "full"])).code(2);
            call.stderr_has(&spoilt).stderr_has(words).run();
        }
    }
    site.assert_nothing_stored();
    let query = "SELECT 1 FROM pg_namespace WHERE nspname = 'pgkeep'";
    let made = site.cluster.connect(&site.catalog).query(query, &[]).unwrap();
    assert!(made.is_empty(), "the catalog was touched");
}

/// A key is read once, at the start: what becomes of its file afterwards does not touch the run, which says in
/// each copy which key it was.
#[test]
fn a_key_file_that_changes_during_the_run_changes_nothing() {
    let mut site = Site::new().with_own_catalog();
    let file = site.path("pgkeep.key");
    let kept = site.path("kept.key");
    fs::copy(&file, &kept).unwrap();
    let changes: [fn(&Path); 2] = [
        |file| fs::remove_file(file).unwrap(),
        |file| key::write_private(file, &format!("{}\n", key::made_up(5))),
    ];
    for change in changes {
        fs::remove_file(&file).ok();
        fs::copy(&kept, &file).unwrap();
        let bin = FakeBin::held(&site.path(""));
        site.config.set("source.pg_bin", bin.folder.to_str().unwrap());
        let running = site.pgkeep(["backup", "full"]).any_stdout().start();
        bin.wait_for_start();
        change(&file);
        bin.release();
        let id = running.finish().id();
        assert_eq!(site.row(&id)["metadata"]["keys"][0], key::id(&site.key).as_str());
        fs::remove_file(&file).ok();
        fs::copy(&kept, &file).unwrap();
        site.pgkeep(["verify", &id, "--level", "content"]).any_stdout().run();
    }
}

/// A store's secret that can't be had costs that store, and no time.
#[test]
fn a_secret_that_can_not_be_had_costs_its_store() {
    let mut site = Site::new();
    let fifo = site.path("secret.fifo");
    make_pipe(&fifo);
    let folder = site.path("secret.folder");
    fs::create_dir(&folder).unwrap();
    let command = |script: &str| {
        let words = ["/bin/sh", "-c", script].map(Value::from).to_vec();
        Value::Table(toml::Table::from_iter([("command".to_owned(), Value::Array(words))]))
    };
    let pid = site.path("pid");
    for (secret, words) in [
        (crate::support::config::secret_file(&fifo), "not a regular file"),
        (crate::support::config::secret_file(&folder), "not a regular file"),
        (command("yes secret"), "more than 64 KiB"),
        (command("echo s3cr3t-said-aloud >&2; exit 3"), "exit code 3"),
        (command("kill -SEGV $$"), "signal 11"),
        (command("printf '\\377'"), "no text"),
        // The longest to wait: it has closed its stdout and goes on.
        (command(&format!("echo $$ >{}; exec >&-; exec sleep 600", pid.display())), "did not end within 30s"),
    ] {
        site.config.store("b2").insert("secret_access_key".to_owned(), secret);
        let call = site.pgkeep(["backup", "full"]).code(3).any_stdout();
        let id = call.stderr_has("store `b2`").stderr_has(words).run().id();
        site.assert_copies(&id, &["local", "r2"]);
    }
    let process = format!("/proc/{}", fs::read_to_string(pid).unwrap().trim());
    crate::support::wait_until("the command is gone", || !Path::new(&process).exists());
}
