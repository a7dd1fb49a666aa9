//! Whether a schema holds tables of ours and nobody else's traps, by what `pg_catalog` alone says of it. It reads nothing
//! that stands in the schema, and knows nothing of what its rows mean.

use anyhow::{Context as _, Result};
use postgres::{Row, Transaction};

use crate::connect::BoundedClient;
use crate::params;

/// The table in which the migrations that were applied stand.
pub const HISTORY: &str = "refinery_schema_history";

/// Every table that our statements name.
const TABLES: [&str; 8] = ["identity", "backup", "copy", "alert", "delivery", "lock", "lock_holder", HISTORY];

/// Where a schema is: of which cluster, database and schema of that name, whoever asks and by whatever address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    system: String,
    database: u32,
    schema: u32,
}

/// What a look at a schema gave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// Whether there is a schema of that name.
    pub exists: bool,
    /// Whether a table or the like in it has the name of one of ours.
    pub has_tables: bool,
    /// Whether migrations were applied to it.
    pub has_history: bool,
    /// Why nothing in it may be read or written, each in words.
    pub faults: Vec<String>,
    /// Those of the faults that are rights on its tables, which its owners have given away.
    pub grants: Vec<String>,
    /// The statements that take these rights back.
    pub revokes: Vec<String>,
    /// The statements that lock these tables.
    locks: Vec<String>,
    /// Roles that its owners let write to its tables: they may forge what is on record, and run nothing.
    pub writers: Vec<String>,
}

impl Look {
    /// Whether rights that were given away are all that is wrong.
    #[must_use]
    pub fn has_grants_alone(&self) -> bool {
        !self.grants.is_empty() && self.grants.len() == self.faults.len()
    }

    /// The first faults in one line.
    #[must_use]
    pub fn words(&self) -> String {
        const SHOWN: usize = 3;
        let words = self.faults.iter().take(SHOWN).cloned().collect::<Vec<_>>().join("; ");
        match self.faults.len().saturating_sub(SHOWN) {
            0 => words,
            more => format!("{words}; and {more} more"),
        }
    }
}

/// Looks at a schema of the database connected to. What is trusted is trusted in one snapshot, and stays so: who owns
/// nothing in it and may create nothing in it can't change it afterwards.
///
/// # Errors
/// When the server can't be asked.
pub fn look(client: &mut BoundedClient, schema: &str) -> Result<Look> {
    let rows = client
        .query(LOOK, params![schema, tables()])
        .with_context(|| format!("cannot look at schema `{schema}`"))?;
    read(&rows)
}

/// Takes back what lets others set traps on our tables: rights that were granted on all tables, or by default, are
/// meant for others' tables. For the one who has just made them in this transaction.
///
/// # Errors
/// When the server can't be asked, or refuses.
pub fn revoke(transaction: &mut Transaction<'_>, schema: &str) -> Result<()> {
    let rows = transaction.query(LOOK, &[&schema, &tables()])?;
    for revoke in read(&rows)?.revokes {
        transaction.batch_execute(&revoke)?;
    }
    Ok(())
}

/// The same in a schema that has been there: whoever is about to use such a right waits, and has it no more.
///
/// # Errors
/// As [`revoke`].
pub fn revoke_locked(client: &mut BoundedClient, schema: &str, look: &Look) -> Result<()> {
    let (schema, locks) = (schema.to_owned(), look.locks.clone());
    client.ask(move |client| {
        let mut transaction = client.transaction()?;
        for lock in locks {
            transaction.batch_execute(&lock)?;
        }
        revoke(&mut transaction, &schema)?;
        Ok(transaction.commit()?)
    })
}

fn tables() -> Vec<String> {
    TABLES.iter().map(|&table| table.to_owned()).collect()
}

fn read(rows: &[Row]) -> Result<Look> {
    let mut look = Look::default();
    for row in rows {
        let (what, words): (String, String) = (row.try_get(0)?, row.try_get(1)?);
        match what.as_str() {
            "schema" => look.exists = true,
            "table" => {
                look.has_tables = true;
                look.has_history |= words == HISTORY;
            }
            "grant" => {
                look.faults.push(words.clone());
                look.grants.push(words);
            }
            "revoke" => look.revokes.push(words),
            "lock" => look.locks.push(words),
            "writer" => look.writers.push(words),
            _ => look.faults.push(words),
        }
    }
    Ok(look)
}

/// Where a schema is; nothing where there is none, or the role may not ask what identifies the cluster.
pub fn place(client: &mut BoundedClient, schema: &str) -> Option<Place> {
    let row = client.query_opt(PLACE, params![schema]).ok()??;
    let (system, database, schema) = (row.try_get(0).ok()?, row.try_get(1).ok()?, row.try_get(2).ok()?);
    Some(Place { system, database, schema })
}

const PLACE: &str = "\
SELECT c.system_identifier::pg_catalog.text, d.oid, n.oid
FROM pg_catalog.pg_control_system() c, pg_catalog.pg_database d, pg_catalog.pg_namespace n
WHERE d.datname = pg_catalog.current_database() AND n.nspname = $1";

/// Who is trusted: this role, the roles that it was made a member of by somebody who may decide that (up to version 14
/// each role may make others members of itself), and superusers. A superuser is a member of no other role by that alone.
/// What a default, a constraint or an index calls beyond the server's own stands in `pg_depend`; nobody but a superuser
/// can take it out. Tables of ours alone must be plain: nothing else is ever touched.
const LOOK: &str = "\
WITH RECURSIVE me AS (
    SELECT oid FROM pg_catalog.pg_roles WHERE rolname = current_user
), mine(role) AS (
    SELECT oid FROM me
    UNION
    SELECT m.roleid
    FROM mine JOIN pg_catalog.pg_auth_members m ON m.member = mine.role
        LEFT JOIN pg_catalog.pg_roles g ON g.oid = m.grantor
    WHERE (g.oid IS NULL OR g.rolsuper
            OR (g.rolcreaterole
                AND pg_catalog.current_setting('server_version_num')::pg_catalog.int4 < 160000)
            OR EXISTS (SELECT FROM pg_catalog.pg_auth_members a JOIN me ON a.roleid = me.oid
                WHERE a.member = m.grantor AND a.admin_option))
        AND coalesce((pg_catalog.to_jsonb(m)->>'inherit_option')::pg_catalog.bool
            OR (pg_catalog.to_jsonb(m)->>'set_option')::pg_catalog.bool, true)
), sure(role) AS (
    SELECT role FROM mine UNION SELECT oid FROM pg_catalog.pg_roles WHERE rolsuper
), trusted(role) AS (
    SELECT role FROM sure
    UNION
    SELECT r.oid FROM pg_catalog.pg_roles r, pg_catalog.pg_database d
    WHERE r.rolname = 'pg_database_owner' AND d.datname = pg_catalog.current_database()
        AND d.datdba IN (SELECT role FROM sure)
), here AS (
    SELECT oid, nspowner, nspacl FROM pg_catalog.pg_namespace WHERE nspname = $1
), relation AS (
    SELECT c.* FROM pg_catalog.pg_class c JOIN here ON c.relnamespace = here.oid
), ours AS (
    SELECT * FROM relation WHERE relname::pg_catalog.text = ANY ($2)
), given AS (
    SELECT o.oid AS relation, a.grantee, a.privilege_type
    FROM ours o, LATERAL (
        SELECT * FROM pg_catalog.aclexplode(o.relacl)
        UNION ALL
        SELECT x.* FROM pg_catalog.pg_attribute t, pg_catalog.aclexplode(t.attacl) x WHERE t.attrelid = o.oid) a
    WHERE a.privilege_type IN ('TRIGGER', 'REFERENCES') AND a.grantee NOT IN (SELECT role FROM trusted)
), part(classid, objid, name) AS (
    SELECT 'pg_catalog.pg_class'::pg_catalog.regclass, oid, relname FROM ours
    UNION ALL
    SELECT 'pg_catalog.pg_class'::pg_catalog.regclass, i.indexrelid, o.relname
    FROM pg_catalog.pg_index i JOIN ours o ON i.indrelid = o.oid
    UNION ALL
    SELECT 'pg_catalog.pg_attrdef'::pg_catalog.regclass, a.oid, o.relname
    FROM pg_catalog.pg_attrdef a JOIN ours o ON a.adrelid = o.oid
    UNION ALL
    SELECT 'pg_catalog.pg_constraint'::pg_catalog.regclass, k.oid, o.relname
    FROM pg_catalog.pg_constraint k JOIN ours o ON k.conrelid = o.oid
)
SELECT 'schema', '' FROM here
UNION ALL SELECT 'table', relname::pg_catalog.text FROM ours
UNION ALL
SELECT 'fault', pg_catalog.format(
    'role `%s` was made a member of `%s` by `%s`, which is neither a superuser nor an administrator of `%1$s` (have a \
     superuser grant it anew)', current_user, r.rolname, pg_catalog.pg_get_userbyid(m.grantor))
FROM pg_catalog.pg_auth_members m JOIN me ON m.member = me.oid JOIN pg_catalog.pg_roles r ON r.oid = m.roleid
WHERE r.oid NOT IN (SELECT role FROM trusted)
    AND (r.oid IN (SELECT nspowner FROM here) OR r.oid IN (SELECT relowner FROM ours))
UNION ALL
SELECT 'fault', pg_catalog.format('it belongs to role `%s`', pg_catalog.pg_get_userbyid(nspowner))
FROM here WHERE nspowner NOT IN (SELECT role FROM trusted)
UNION ALL
SELECT 'fault', pg_catalog.format('role `%s` may create in it',
    CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_catalog.pg_get_userbyid(a.grantee)::pg_catalog.text END)
FROM here, pg_catalog.aclexplode(nspacl) a
WHERE a.privilege_type = 'CREATE' AND a.grantee NOT IN (SELECT role FROM trusted)
UNION ALL
SELECT 'fault', pg_catalog.format('`%s` belongs to role `%s`', relname, pg_catalog.pg_get_userbyid(relowner))
FROM relation WHERE relkind NOT IN ('i', 'I') AND relowner NOT IN (SELECT role FROM trusted)
UNION ALL
SELECT 'fault', pg_catalog.format('function `%s` belongs to role `%s`', p.proname,
    pg_catalog.pg_get_userbyid(p.proowner))
FROM pg_catalog.pg_proc p JOIN here ON p.pronamespace = here.oid
WHERE p.proowner NOT IN (SELECT role FROM trusted)
UNION ALL
SELECT 'fault', pg_catalog.format('operator `%s` belongs to role `%s`', p.oprname,
    pg_catalog.pg_get_userbyid(p.oprowner))
FROM pg_catalog.pg_operator p JOIN here ON p.oprnamespace = here.oid
WHERE p.oprowner NOT IN (SELECT role FROM trusted)
UNION ALL
SELECT 'fault', pg_catalog.format('`%s` is %s', relname, CASE relkind
    WHEN 'v' THEN 'a view' WHEN 'm' THEN 'a materialized view' WHEN 'f' THEN 'a foreign table'
    WHEN 'p' THEN 'a partitioned table' WHEN 'S' THEN 'a sequence' ELSE 'no plain table' END)
FROM ours WHERE relkind <> 'r'
UNION ALL
SELECT 'fault', pg_catalog.format('`%s` inherits from a table, or is inherited from', relname)
FROM ours WHERE EXISTS (SELECT FROM pg_catalog.pg_inherits h WHERE oid IN (h.inhrelid, h.inhparent))
UNION ALL
SELECT 'fault', pg_catalog.format('`%s` has the trigger `%s`', o.relname, t.tgname)
FROM pg_catalog.pg_trigger t JOIN ours o ON t.tgrelid = o.oid WHERE NOT t.tgisinternal
UNION ALL
SELECT 'fault', pg_catalog.format('`%s` has the rule `%s`', o.relname, r.rulename)
FROM pg_catalog.pg_rewrite r JOIN ours o ON r.ev_class = o.oid WHERE o.relkind = 'r'
UNION ALL
SELECT 'fault', pg_catalog.format('`%s` has row security', relname)
FROM ours
WHERE relrowsecurity OR EXISTS (SELECT FROM pg_catalog.pg_policy p WHERE p.polrelid = ours.oid)
UNION ALL
SELECT 'fault', pg_catalog.format('`%s` has a foreign key from or to a table elsewhere: `%s`', o.relname, k.conname)
FROM pg_catalog.pg_constraint k JOIN ours o ON o.oid IN (k.conrelid, k.confrelid)
WHERE k.contype = 'f' AND NOT (k.conrelid IN (SELECT oid FROM ours) AND k.confrelid IN (SELECT oid FROM ours))
UNION ALL
SELECT DISTINCT 'fault', pg_catalog.format('`%s` uses %s', part.name,
    pg_catalog.pg_describe_object(d.refclassid, d.refobjid, 0))
FROM pg_catalog.pg_depend d JOIN part ON d.classid = part.classid AND d.objid = part.objid
WHERE d.refclassid IN ('pg_catalog.pg_proc'::pg_catalog.regclass, 'pg_catalog.pg_operator'::pg_catalog.regclass,
    'pg_catalog.pg_type'::pg_catalog.regclass, 'pg_catalog.pg_opclass'::pg_catalog.regclass,
    'pg_catalog.pg_opfamily'::pg_catalog.regclass)
UNION ALL
SELECT DISTINCT 'grant', pg_catalog.format('role `%s` holds %s on `%s`',
    CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_catalog.pg_get_userbyid(a.grantee)::pg_catalog.text END,
    a.privilege_type, o.relname)
FROM given a JOIN ours o ON o.oid = a.relation
UNION ALL
SELECT DISTINCT 'revoke', pg_catalog.format('REVOKE TRIGGER, REFERENCES ON TABLE %I.%I FROM %s CASCADE', $1::pg_catalog.text, o.relname,
    CASE a.grantee WHEN 0 THEN 'PUBLIC'
        ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(a.grantee)::pg_catalog.text) END)
FROM given a JOIN ours o ON o.oid = a.relation
UNION ALL
SELECT DISTINCT 'lock', pg_catalog.format('LOCK TABLE ONLY %I.%I IN SHARE ROW EXCLUSIVE MODE', $1::pg_catalog.text, o.relname)
FROM given a JOIN ours o ON o.oid = a.relation
UNION ALL
SELECT DISTINCT 'writer',
    CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_catalog.pg_get_userbyid(a.grantee)::pg_catalog.text END
FROM ours o, LATERAL (
    SELECT * FROM pg_catalog.aclexplode(o.relacl)
    UNION ALL
    SELECT x.* FROM pg_catalog.pg_attribute t, pg_catalog.aclexplode(t.attacl) x WHERE t.attrelid = o.oid) a
WHERE a.privilege_type IN ('INSERT', 'UPDATE', 'DELETE', 'TRUNCATE')
    AND a.grantee NOT IN (SELECT role FROM trusted)";
