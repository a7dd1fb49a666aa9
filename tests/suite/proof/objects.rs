//! What a test restore finds equal, and what it finds changed.

use super::{assert_not_proven, assert_nothing_left, proven, with_pg_restore};
use crate::support::Site;
use crate::support::cluster::unique;

/// Restores in truth, then runs the statements of a file in what was restored.
const MEDDLES: &str = "\"$REAL\" \"$@\" || exit; for word; do case \"$word\" in \
    --dbname=*) exec \"$HERE/psql\" --no-psqlrc --quiet --set ON_ERROR_STOP=1 --file \"$HERE/meddle.sql\" \"${word#--dbname=}\" ;; \
    esac; done; exit 9";

/// A site with a zoo in its database, that is restored after each backup.
fn zoo() -> Site {
    let site = Site::new().local_only();
    let (owner, guest) = (unique("the \"\"owner\"\" "), unique("Guest's "));
    let roles = format!("CREATE ROLE \"{owner}\" NOLOGIN; CREATE ROLE \"{guest}\" LOGIN");
    site.cluster.execute("postgres", &roles);
    let text = include_str!("../../sql/zoo.sql");
    let text =
        text.replace("\"OWNER\"", &format!("\"{owner}\"")).replace("\"GUEST\"", &format!("\"{guest}\""));
    site.cluster.execute(&site.database, &text.replace("_of_UNIQUE", &unique("_")));
    proven(site)
}

/// Lets what was restored be changed before it is looked at.
pub(super) fn meddle(site: &mut Site, statements: &str) {
    let bin = with_pg_restore(site, MEDDLES);
    std::fs::write(bin.folder.join("meddle.sql"), statements).unwrap();
}

#[test]
fn one_of_almost_everything_is_found_equal() {
    for level in ["counts", "content"] {
        let mut site = zoo();
        site.config.set("verify.fingerprint", level);
        let ran =
            site.pgkeep(["-v", "backup", "full"]).any_stdout().stderr_has("it restores, equal in").run();
        assert_eq!(site.row(&ran.id())["status"], "verified", "{ran:?}");
        assert!(!ran.stderr.contains("left out"), "{ran:?}");
        assert_nothing_left(&site);
    }
}

#[test]
fn every_change_is_named_with_both_figures() {
    let mut site = zoo();
    site.config.set("verify.fingerprint", "content");
    meddle(
        &mut site,
        "DELETE FROM invoice WHERE id = 7; UPDATE customer SET name = 'x' WHERE id = 1; \
         DELETE FROM twins WHERE a = ''; INSERT INTO twins VALUES ('y'); DROP TABLE nothing; \
         CREATE TABLE more AS SELECT 1; SELECT setval('untouched', 43); DROP INDEX weird_index; \
         ALTER TABLE lives_in DROP CONSTRAINT lives_in_animal_check; DROP VIEW birds; DROP PROCEDURE nap; \
         SELECT lo_unlink(4712); DROP EXTENSION pgcrypto;",
    );
    let error = assert_not_proven(&site, "`public.invoice` has 2999 rows, not 3000");
    for part in [
        "table `public.invoice` has 2999 rows, not 3000",
        "table `public.customer`: its rows differ",
        "table `public.twins`: its rows differ",
        "table `public.nothing` is missing",
        "table `public.more` is too much",
        "sequence `public.untouched` stands at 43, not ",
        " indexes, not ",
        " constraints, not ",
        " views, not ",
        " functions, not ",
        "1 large objects, not 2",
        "extension `pgcrypto`",
    ] {
        assert!(error.contains(part), "`{part}` is not in {error}");
    }
    assert_nothing_left(&site);
}

/// A row that is gone shows by the count alone, which is what is taken by default.
#[test]
fn a_row_that_is_gone_is_found_by_default() {
    let mut site = proven(Site::new().local_only());
    meddle(&mut site, "DELETE FROM invoice WHERE id = 7");
    let error = assert_not_proven(&site, "`public.invoice` has 2999 rows, not 3000");
    assert!(error.contains("test restore"), "{error}");
}

#[test]
fn without_figures_it_is_said_that_nothing_was_compared() {
    let mut site = zoo();
    site.config.set("verify.fingerprint", "off");
    meddle(&mut site, "DELETE FROM invoice WHERE id = 7");
    let ran =
        site.pgkeep(["-v", "backup", "full"]).any_stdout().stderr_has("nothing could be compared").run();
    assert_eq!(site.row(&ran.id())["status"], "verified");
    assert_nothing_left(&site);
}

/// Encodings that nothing else on the host has.
#[test]
fn odd_encodings_are_found_equal() {
    for (encoding, bytes) in [("LATIN1", "\\xe4"), ("SQL_ASCII", "\\xfffe"), ("EUC_JP", "\\xa4a2")] {
        let site = Site::new().local_only().with_own_catalog();
        let name = &site.database;
        site.cluster.execute("postgres", &format!("DROP DATABASE {name}"));
        let create = format!(
            "CREATE DATABASE {name} TEMPLATE template0 ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C'"
        );
        site.cluster.execute("postgres", &create);
        let fill = format!(
            "CREATE TABLE word (letters text); INSERT INTO word \
             SELECT convert_from('{bytes}'::bytea, '{encoding}') FROM generate_series(1, 7)"
        );
        site.cluster.execute(name, &fill);
        let mut site = proven(site);
        site.config.set("verify.fingerprint", "content");
        let id = site.backup();
        assert_eq!(site.row(&id)["status"], "verified", "{encoding}");
        // In a database of another encoding the rows could not be compared at all.
        meddle(&mut site, "UPDATE word SET letters = 'x' WHERE ctid = '(0,1)'");
        assert_not_proven(&site, "table `public.word`: its rows differ");
        assert_nothing_left(&site);
    }
}
