//! The file for Prometheus.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use super::{check, empty, lose_catalog};
use crate::support::Site;
use crate::support::cluster::{SAMPLE, unique};
use crate::support::tools::{finish, promtool, python};

/// Reads a file as Prometheus' own client does, and prints `name|labels|value` lines.
const READ: &str = "import sys, json\n\
from prometheus_client.parser import text_string_to_metric_families as read\n\
seen = set()\n\
for family in read(open(sys.argv[1]).read()):\n\
\x20   assert family.documentation and family.type == 'gauge' and family.name not in seen, family\n\
\x20   seen.add(family.name)\n\
\x20   for s in family.samples: print(json.dumps([s.name, s.labels, s.value]))\n";

/// What the file holds, once Prometheus' own tool has found nothing to say against it.
fn samples(site: &Site) -> Vec<serde_json::Value> {
    let text = fs::File::open(site.path("pgkeep.prom")).unwrap();
    let lint = finish(Command::new(promtool()).args(["check", "metrics"]).stdin(text));
    assert_eq!(lint, "");
    let ran = finish(Command::new(python()).args(["-c", READ]).arg(site.path("pgkeep.prom")));
    ran.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn value(samples: &[serde_json::Value], name: &str, labels: &serde_json::Value) -> Option<f64> {
    samples.iter().find(|it| it[0] == name && it[1] == *labels).map(|it| it[2].as_f64().unwrap())
}

#[test]
fn every_metric_reads_back() {
    let name = unique("a\"b\\c\nd");
    let mut site = Site::of(name.clone(), SAMPLE).local_only();
    site.backup();
    let file = site.path("pgkeep.prom");
    let file = file.to_str().unwrap();
    check(&site, 0).args(["--quiet", "--prometheus", file]).run();
    assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o7777, 0o644);
    let found = samples(&site);
    let of_it = serde_json::json!({"source": "db1", "database": name});
    for metric in [
        "last_success_timestamp_seconds",
        "last_run_timestamp_seconds",
        "backup_size_bytes",
        "backup_dump_bytes",
        "backup_duration_seconds",
    ] {
        assert!(value(&found, &format!("pgkeep_{metric}"), &of_it) > Some(0.0), "{metric}: {found:?}");
    }
    assert_eq!(value(&found, "pgkeep_last_run_success", &of_it), Some(1.0));
    let of_store = serde_json::json!({"source": "db1", "database": name, "store": "local"});
    assert_eq!(value(&found, "pgkeep_copies", &of_store), Some(1.0));
    let local = serde_json::json!({"store": "local"});
    assert_eq!(value(&found, "pgkeep_store_up", &local), Some(1.0));
    assert!(value(&found, "pgkeep_store_free_bytes", &local) > Some(0.0));
    let none = serde_json::json!({});
    assert_eq!(value(&found, "pgkeep_catalog_up", &none), Some(1.0));
    assert!(value(&found, "pgkeep_check_timestamp_seconds", &none) > Some(1e9));
    assert_eq!(value(&found, "pgkeep_alerts_open", &serde_json::json!({"severity": "critical"})), Some(0.0));
    let version = serde_json::json!({"version": env!("CARGO_PKG_VERSION")});
    assert_eq!(value(&found, "pgkeep_build_info", &version), Some(1.0));
    // What is known is written in trouble too, over what was there.
    let _gate = lose_catalog(&mut site);
    empty(&site.local());
    check(&site, 2).args(["--prometheus", file]).any_stdout().run();
    let found = samples(&site);
    assert_eq!(value(&found, "pgkeep_catalog_up", &none), Some(0.0));
    assert_eq!(value(&found, "pgkeep_copies", &of_store), Some(0.0));
    assert_eq!(value(&found, "pgkeep_last_success_timestamp_seconds", &of_it), None);
}

/// The old file stays whole where the new one can't be written, and nothing half-made is left beside it.
#[test]
fn a_file_that_can_not_be_written_is_a_warning() {
    let site = Site::new().local_only();
    site.backup();
    let folder = site.path("metrics");
    fs::create_dir_all(folder.join("pgkeep.prom")).unwrap();
    let file = folder.join("pgkeep.prom");
    let call = check(&site, 1).args(["--prometheus", file.to_str().unwrap()]);
    call.stdout_has("PGKEEP WARNING - the metrics are not written").run();
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
    assert!(file.is_dir());
}
