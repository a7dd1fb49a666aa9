//! Says whether two databases hold the same: each table's rows, large objects, sequences, and the schema.

use std::collections::BTreeMap;

use super::cluster::Cluster;
use super::tools::finish;

/// Everything that a dump must bring back, except the schema's text: a hash for each thing.
pub(crate) fn contents(cluster: &Cluster, database: &str) -> BTreeMap<String, String> {
    let mut client = cluster.connect(database);
    let mut found = BTreeMap::new();
    let relations = "SELECT format('%I.%I', n.nspname, c.relname), c.relkind::text FROM pg_class c \
        JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p', 'm', 'S', 'v') \
        AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast', 'pgkeep')";
    for row in client.query(relations, &[]).unwrap() {
        let (name, kind): (String, String) = (row.get(0), row.get(1));
        let query = if kind == "S" {
            format!("SELECT last_value || ' ' || is_called FROM {name}")
        } else {
            format!(
                "SELECT count(*) || ' ' || coalesce(md5(string_agg(t::text, E'\\n' ORDER BY t::text COLLATE \"C\")), '') \
                 FROM {name} t"
            )
        };
        let value: String = client.query_one(&query, &[]).unwrap().get(0);
        found.insert(format!("{kind} {name}"), value);
    }
    for row in client.query("SELECT oid::text, md5(lo_get(oid)) FROM pg_largeobject_metadata", &[]).unwrap() {
        found.insert(format!("large object {}", row.get::<_, String>(0)), row.get(1));
    }
    found
}

/// The schema as text, without what differs from run to run and without the catalog's own schema.
pub(crate) fn schema(cluster: &Cluster, database: &str) -> String {
    let mut command = cluster.client_program("pg_dump", database);
    command.args(["--schema-only", "--exclude-schema=pgkeep"]);
    let text = finish(&mut command);
    let kept = |line: &&str| !line.starts_with("\\restrict") && !line.starts_with("\\unrestrict");
    text.lines().filter(kept).collect::<Vec<_>>().join("\n")
}

/// Fails unless both databases hold the same.
pub(crate) fn assert_same(cluster: &Cluster, left: &str, right: &str) {
    pretty_assert(&contents(cluster, left), &contents(cluster, right));
    let (left, right) = (schema(cluster, left), schema(cluster, right));
    for (at, (left, right)) in left.lines().zip(right.lines()).enumerate() {
        assert_eq!(left, right, "line {at} of the schema differs");
    }
    assert_eq!(left.lines().count(), right.lines().count());
}

fn pretty_assert(left: &BTreeMap<String, String>, right: &BTreeMap<String, String>) {
    for (name, value) in left {
        assert_eq!(Some(value), right.get(name), "{name} differs");
    }
    for name in right.keys() {
        assert!(left.contains_key(name), "{name} is only in the restored database");
    }
}
