//! What a scratch server lacks, by the words of `pg_restore`: no fault of the backup. Hints for whoever can mend
//! it.

use crate::source::scratch::LIBRARY;

const ROOM: &str = "make room, or name a folder of another file system in `[verify] scratch_dir`";
pub(super) const EXTENSION: &str = "install its package for the scratch server (Debian: `postgresql-contrib`, or \
                         `postgresql-<version>-<extension>`), or name a server that has it with --scratch";
pub(super) const LOCALE: &str =
    "make the source's locale on this host, or name a server that has it with --scratch";
const RIGHTS: &str = "name a role that is a superuser in --scratch";
const NETWORK: &str = "a scratch server reaches no other one: name a server that may with --scratch";
const AGAIN: &str = "try again; the scratch server's log may say more";

/// Whether a role has fewer rights than it takes, by the words of the server.
pub(super) fn lacks_rights(said: &str) -> bool {
    [
        "permission denied",
        "must be superuser",
        "must be owner",
        "must be able to SET ROLE",
        "must be member of role",
    ]
    .iter()
    .any(|words| said.contains(words))
}

/// What `pg_restore` says where the scratch server lacks something, which is no fault of the backup.
pub(super) fn lack(said: &str) -> Option<&'static str> {
    let known = [
        ("No space left on device", ROOM),
        ("could not extend file", ROOM),
        ("could not open extension control file", EXTENSION),
        ("is not available", EXTENSION),
        ("could not access file", EXTENSION),
        ("could not load library", LIBRARY),
        ("could not find function", EXTENSION),
        ("could not open dictionary file", EXTENSION),
        ("security label provider", EXTENSION),
        ("shared_preload_libraries", EXTENSION),
        ("collation \"pg_catalog.", LOCALE),
        ("could not create locale", LOCALE),
        ("ICU is not supported", LOCALE),
        // Amounts of money are written and read by a setting of the server.
        (
            "invalid input syntax for type money",
            "name a server with the source's `lc_monetary` with --scratch",
        ),
        ("out of memory", "run it where more memory is free"),
        ("server closed the connection unexpectedly", AGAIN),
        ("terminating connection", AGAIN),
        ("could not connect to server \"", NETWORK),
        ("could not establish connection", NETWORK),
        ("Connection refused", "try again when the server answers"),
        ("could not connect", "try again when the server answers"),
        ("permission denied to", RIGHTS),
        ("must be superuser", RIGHTS),
        ("must be able to SET ROLE", RIGHTS),
        ("must be member of role", RIGHTS),
    ];
    // What stands after an error, in a detail or a context, may be rows.
    let errors = |piece: &&str| ["error:", "ERROR:", "FATAL:"].iter().any(|mark| piece.contains(mark));
    let errors: Vec<&str> = said.split("; ").filter(errors).collect();
    let is_said = |words: &str| errors.iter().any(|error| error.contains(words));
    known.into_iter().find(|(words, _)| is_said(words)).map(|(_, hint)| hint)
}

#[cfg(test)]
mod tests {
    use super::lack;

    #[test]
    fn rows_say_nothing_of_the_server() {
        let real = "pg_restore ended with exit code 1: pg_restore: error: could not execute query: ERROR:  \
                    extension \"postgis\" is not available; HINT:  install it";
        assert!(lack(real).is_some());
        let out_of_the_cage = "pg_restore: error: could not execute query: ERROR:  could not load library \
                               \"/opt/x/lib/y.so\": libz.so: cannot open shared object file: Permission denied";
        assert!(lack(out_of_the_cage).is_some_and(|hint| hint.contains("readable")));
        let rows = "pg_restore: error: COPY failed for table \"t\": ERROR:  duplicate key; DETAIL:  Key (a)=(out of \
                    memory) exists; CONTEXT:  COPY t, line 1: \"is not available\"";
        assert_eq!(lack(rows), None);
    }
}
