//! Looks for secrets where none may be.

use std::path::Path;

use super::tools::files_under;

/// The first of `secrets` that stands in `bytes`.
pub(crate) fn secret_in(bytes: &[u8], secrets: &[String]) -> Option<String> {
    let holds = |needle: &[u8]| bytes.windows(needle.len()).any(|window| window == needle);
    secrets.iter().find(|secret| holds(secret.as_bytes())).cloned()
}

/// Fails when a file under `folder`, other than those `allowed`, holds a secret.
pub(crate) fn assert_no_secret_in_files(folder: &Path, allowed: &[&Path], secrets: &[String]) {
    for file in files_under(folder) {
        if allowed.contains(&file.as_path()) || !file.symlink_metadata().unwrap().is_file() {
            continue;
        }
        let bytes = std::fs::read(&file).unwrap();
        let found = secret_in(&bytes, secrets);
        assert!(found.is_none(), "`{}` holds the secret `{}`", file.display(), found.unwrap());
    }
}

/// Fails when a row of a table of `schema` holds a secret.
pub(crate) fn assert_no_secret_in_rows(client: &mut postgres::Client, schema: &str, secrets: &[String]) {
    let tables = client
        .query(
            "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables WHERE schemaname = $1",
            &[&schema],
        )
        .unwrap();
    assert!(!tables.is_empty(), "no table in schema `{schema}`");
    for table in tables {
        let table: String = table.get(0);
        for row in client.query(&format!("SELECT t::text FROM {table} t"), &[]).unwrap() {
            let text: String = row.get(0);
            let found = secret_in(text.as_bytes(), secrets);
            assert!(found.is_none(), "{table} holds the secret `{}`: {text}", found.unwrap());
        }
    }
}
