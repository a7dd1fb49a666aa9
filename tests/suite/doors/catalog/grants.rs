//! Rights on the catalog's tables that somebody gave away along with those on all others: taken back, and no reason to stop.

use super::{EVIL, as_tenant, assert_no_mark, tenant};
use crate::support::Site;
use crate::support::cluster::{ROLE, unique};

/// Rights that let their holder have code run by whoever writes to a table.
fn dangerous(site: &Site) -> i64 {
    let query = "SELECT count(*) FROM pg_class c, aclexplode(c.relacl) a WHERE c.relnamespace = 'pgkeep'::regnamespace \
        AND a.privilege_type IN ('TRIGGER', 'REFERENCES') AND a.grantee <> c.relowner";
    site.cluster.connect(&site.catalog).query_one(query, &[]).unwrap().get(0)
}

fn readable_by(site: &Site, role: &str) -> bool {
    let query = "SELECT has_table_privilege($1, 'pgkeep.backup', 'SELECT')";
    site.cluster.connect(&site.catalog).query_one(query, &[&role]).unwrap().get(0)
}

#[test]
fn what_is_granted_by_default_is_taken_back_as_the_tables_are_made() {
    let site = Site::new().local_only();
    let role = unique("app_rw");
    let grant =
        format!("CREATE ROLE {role}; ALTER DEFAULT PRIVILEGES FOR ROLE {ROLE} GRANT ALL ON TABLES TO {role}");
    site.cluster.execute(&site.catalog, &grant);
    site.pgkeep(["list"]).any_stdout().run();
    assert!(readable_by(&site, &role));
    assert_eq!(dangerous(&site), 0);
}

#[test]
fn what_is_granted_on_all_tables_is_taken_back_with_a_word() {
    let site = Site::new().local_only();
    site.pgkeep(["list"]).any_stdout().run();
    let role = unique("grafana");
    let execute = |text: &str| site.cluster.execute(&site.catalog, text);
    execute(&format!("CREATE ROLE {role}; GRANT ALL ON ALL TABLES IN SCHEMA pgkeep TO {role}"));
    execute("GRANT REFERENCES (id) ON pgkeep.backup TO PUBLIC");
    site.pgkeep(["list"]).any_stdout().stderr_has("these rights were revoked").run();
    assert!(readable_by(&site, &role));
    assert_eq!(dangerous(&site), 0);
    site.pgkeep(["list"]).any_stdout().run();
}

/// The trap that such a right was used for stays one.
#[test]
fn a_trigger_that_was_made_meanwhile_is_refused() {
    let site = Site::new().local_only();
    site.pgkeep(["list"]).any_stdout().run();
    let role = tenant(&site);
    assert!(EVIL.contains("evil.trigger"));
    let grant = format!("GRANT USAGE ON SCHEMA pgkeep TO {role}; GRANT TRIGGER ON pgkeep.backup TO {role}");
    site.cluster.execute(&site.database, &grant);
    let trap = "CREATE TRIGGER t BEFORE INSERT ON pgkeep.backup FOR EACH ROW EXECUTE FUNCTION evil.trigger()";
    as_tenant(&site, &role, trap);
    let call = site.pgkeep(["list"]).code(1).stderr_has("is not trusted with the catalog");
    call.stderr_has("`backup` has the trigger `t`").run();
    assert_no_mark(&site);
}
