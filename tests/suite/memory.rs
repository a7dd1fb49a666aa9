//! Memory and disk: bounded, whatever the size of the database.

use std::fs;
use std::time::Duration;

use crate::support::http::header;
use crate::support::rule::{Action, Drip};
use crate::support::tools::{binary, files_under, run};
use crate::support::{FakeBin, FaultServer, Manners, Rule, Site};

/// 150 MB that do not compress well, three stores, and a peak of less than 200 MiB: a promise of bytes, not of time.
#[test]
fn a_large_backup_and_its_restore_stay_below_200_mib() {
    let site = Site::new();
    fill(&site, 90_000);
    let (id, peak) = peak_of(&site, &["backup", "full"]);
    let id = id.trim().to_owned();
    assert_eq!(site.row(&id)["status"], "verified");
    assert!(peak < 200 << 10, "the backup took {peak} KiB");
    let (_, url) = site.target();
    let (_, peak) = peak_of(&site, &["restore", &id, "--from", "r2", "--into", &url]);
    assert!(peak < 200 << 10, "the restore took {peak} KiB");
}

fn fill(site: &Site, rows: u32) {
    site.cluster.execute(
        &site.database,
        &format!(
            "CREATE TABLE large (n int, bytes bytea); ALTER TABLE large ALTER bytes SET STORAGE EXTERNAL; \
             INSERT INTO large SELECT n, gen_random_bytes(1024) || convert_to(repeat('filler ', 100), 'UTF8') \
             FROM generate_series(1, {rows}) n"
        ),
    );
}

/// The last artifact of this database was so large that the parts are as large as they get, and a store is
/// slow, so that as many of them wait as may.
#[test]
fn the_largest_parts_stay_below_200_mib() {
    let mut site = Site::new();
    fill(&site, 180_000);
    expect_largest_parts(&site);
    let fault = site.fault("r2", Manners::Plain);
    fault.rule(Rule::on("PUT", "partNumber").does(Action::Delay(Duration::from_secs(1))));
    // As many threads as a large host would have.
    site.config.set("compression.threads", 16);
    let (_, peak) = peak_of(&site, &["backup", "full"]);
    site.config.set("compression.method", "zstd");
    site.config.set("compression.level", 9);
    let (_, by_zstd) = peak_of(&site, &["backup", "full"]);
    let sizes = fault.requests();
    let sizes = sizes.iter().filter(|request| request.target.contains("partNumber"));
    let sizes = sizes.filter_map(|request| header(&request.headers, "content-length")?.parse::<u64>().ok());
    assert_eq!(sizes.max(), Some(12 << 20));
    assert!(peak < 200 << 10, "the backup took {peak} KiB");
    assert!(by_zstd < 200 << 10, "with zstd the backup took {by_zstd} KiB");
}

/// Puts a backup on record that was so large that the next one has the largest parts.
fn expect_largest_parts(site: &Site) {
    site.pgkeep(["list"]).any_stdout().any_stderr().run();
    let insert = format!(
        "INSERT INTO pgkeep.backup (id, backup_type, source, database, filename, status, created_at, size_bytes) \
         VALUES ('full-{0}-20260101T000000Z-0000', 'full', 'db1', '{0}', 'x.dump.gz.pgk', 'verified', \
         now() - interval '1 day', 1::bigint << 40)",
        site.database
    );
    site.cluster.execute(&site.catalog, &insert);
}

/// A store takes a byte a second, or a little more: while it is waited for, when it is dropped, and when it is
/// filled afterwards, what waits for it stays within bounds.
#[test]
fn a_store_of_a_byte_a_second_does_not_fill_memory() {
    for (bytes, pause, stores) in [(1, 1000, &["b2"][..]), (4096, 10, &["b2"]), (1, 1000, &["r2", "b2"])] {
        let mut site = Site::new();
        fill(&site, 100_000);
        expect_largest_parts(&site);
        let pace = Drip { bytes, pause: Duration::from_millis(pause) };
        let mut faults = Vec::new();
        for store in stores {
            let server = if *store == "r2" { site.r2.server } else { site.b2.server };
            let fault = FaultServer::start_narrow(server, Manners::Plain);
            site.set_endpoint(store, &fault.address);
            // Not at the same part, so that what they hold is not the same.
            let slow = Rule::on("PUT", "partNumber").after(6 * faults.len());
            fault.rule(slow.does(Action::DripRequest(pace)));
            faults.push(fault);
        }
        site.config.set("timeouts.stall", "4s");
        site.config.set("timeouts.request", "8s");
        site.config.set("compression.threads", 16);
        let (id, peak) = peak_of_code(&site, &["backup", "full"], 3);
        let whole: Vec<&str> =
            ["local", "r2", "b2"].into_iter().filter(|store| !stores.contains(store)).collect();
        site.assert_copies(id.trim(), &whole);
        assert!(peak < 200 << 10, "with {stores:?} slow the backup took {peak} KiB");
        site.assert_no_uploads();
    }
}

/// Answers that never end cost no memory, whoever asks.
#[test]
fn answers_without_an_end_do_not_fill_memory() {
    let mut site = Site::new();
    let id = site.backup();
    let fault = site.fault("b2", Manners::Plain);
    let document = "HTTP/1.1 403 No\r\nContent-Type: application/xml\r\n\r\n<Error><Code>";
    let list = "HTTP/1.1 200 Yes\r\nContent-Type: application/xml\r\n\r\n<ListBucketResult>";
    for (start, more) in [(document, "a"), (list, "<Contents/>"), (list, "<a>")] {
        fault.heal();
        fault.rule(Rule::on("", "").does(Action::Endless(start, more)));
        let verify = ["verify", &id, "--store", "b2"];
        for (arguments, code) in [(&verify[..], 3), (&["list", "--from", "b2"], 1), (&["backup", "full"], 3)]
        {
            let (_, peak) = peak_of_code(&site, arguments, code);
            assert!(peak < 120 << 10, "{arguments:?} took {peak} KiB");
        }
    }
}

/// The peak of a run that goes well; gives its stdout and KiB.
fn peak_of(site: &Site, arguments: &[&str]) -> (String, u64) {
    peak_of_code(site, arguments, 0)
}

/// Runs the binary under a parent that asks the kernel for the peak of its own children; gives stdout and KiB.
pub(crate) fn peak_of_code(site: &Site, arguments: &[&str], code: i32) -> (String, u64) {
    // The children of the binary (pg_dump) count on their own: the kernel gives the largest, not the sum.
    let script = "import json, resource, subprocess, sys\n\
        done = subprocess.run(sys.argv[2:], stdout=subprocess.PIPE)\n\
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss\n\
        open(sys.argv[1], 'w').write(f'{peak} {done.returncode}')\n\
        sys.stdout.buffer.write(done.stdout)";
    let (file, config) = (site.path("peak"), site.path("config.toml"));
    site.config.write(&config);
    let mut words = vec!["-c", script, file.to_str().unwrap(), binary().to_str().unwrap()];
    words.extend(["--config", config.to_str().unwrap()]);
    words.extend(arguments);
    let secret = format!("R2_SECRET={}", site.r2.server.credentials.secret);
    let python = crate::support::tools::python();
    let words = [&[secret.as_str(), python.to_str().unwrap()][..], &words].concat();
    let stdout = run("env", &words);
    let told = fs::read_to_string(file).unwrap();
    let (peak, found) = told.split_once(' ').unwrap();
    assert_eq!(found, code.to_string(), "the exit code of {arguments:?}");
    (stdout, peak.parse().unwrap())
}

/// While the dump runs, and after it, nothing of it is in a temporary folder or beside the local copy.
#[test]
fn no_temporary_copy_is_made() {
    let mut site = Site::of_parts();
    let temporary = site.path("tmp");
    fs::create_dir(&temporary).unwrap();
    let script = "\"$REAL\" \"$@\" || exit; echo $$ >\"$HERE/draft\"; mv \"$HERE/draft\" \"$HERE/pid\"; read -r _ <\"$HERE/gate\"";
    let bin = FakeBin::new(&site.path(""), script);
    run("mkfifo", &[bin.folder.join("gate").to_str().unwrap()]);
    site.config.set("source.pg_bin", bin.folder.to_str().unwrap());
    let running = site.pgkeep(["backup", "full"]).env("TMPDIR", &temporary).any_stdout().start();
    bin.wait_for_start();
    // The dump is out of pg_dump's hands: what is on disk now is the local store's unpublished file alone.
    let size = |folder: &std::path::Path| -> u64 {
        files_under(folder).iter().map(|file| file.metadata().map_or(0, |metadata| metadata.len())).sum()
    };
    assert_eq!(size(&temporary), 0);
    assert!(size(&site.path("state")) < 100_000, "{:?}", files_under(&site.path("state")));
    assert_eq!(files_under(&site.local()).len(), 1, "{:?}", files_under(&site.local()));
    bin.release();
    let id = running.finish().id();
    assert_eq!(files_under(&site.local()).len(), 2);
    assert_eq!(size(&temporary), 0);
    site.assert_copies(&id, &["local", "r2", "b2"]);
}
