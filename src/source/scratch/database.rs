//! A scratch database: made with a name of its own and the roles it needs, dropped again with those of them
//! that were made for it. It knows nothing of what is restored into it.

use anyhow::{Context, Result, anyhow};
use postgres::Client;

use super::ScratchServer;
use crate::connect::ConnectOptions;
use crate::conninfo::ConnInfo;
use crate::exit::one_line;
use crate::fingerprint::DatabaseFigures;
use crate::process::Manner;

const PREFIX: &str = "pgkeep_scratch_";
/// A database has this comment once a session of its maker stays in it: one with it and without a session
/// was left by a run that was killed.
const MARK: &str = "made by pgkeep for a test restore; dropped after it";

/// What a database is to be like.
#[derive(Clone, Copy, Debug, Default)]
pub struct Recipe<'a> {
    /// The database whose encoding and locale it is to have; those of a plain server where that is not known.
    pub like: Option<&'a DatabaseFigures>,
    /// Roles that must be there.
    pub roles: &'a [String],
    /// Those of them that a throwaway cluster makes superusers; all where that is not known.
    pub superusers: Option<&'a [String]>,
}

/// Such a database. Dropping it drops it on the server.
pub struct ScratchDatabase<'a> {
    server: &'a mut ScratchServer,
    name: String,
    roles_made: Vec<String>,
    plain_locale: Option<String>,
    /// Tells others that the maker lives; a throwaway cluster has no others.
    keeper: Option<Client>,
}

impl ScratchServer {
    /// Makes a database, after the roles that are missing.
    ///
    /// # Errors
    /// When the server refuses; nothing stays then.
    pub fn database(&mut self, recipe: &Recipe<'_>) -> Result<ScratchDatabase<'_>> {
        let mut client = self.connect(&self.info)?;
        let mut bytes = [0u8; 8];
        orion::util::secure_rand_bytes(&mut bytes)
            .map_err(|_| anyhow!("the operating system gave no random bytes"))?;
        let name = format!("{PREFIX}{:016x}", u64::from_le_bytes(bytes));
        let mut made =
            ScratchDatabase { server: self, name, roles_made: Vec::new(), plain_locale: None, keeper: None };
        if !made.server.is_throwaway() {
            sweep(&mut client);
        }
        made.make_roles(&mut client, recipe)?;
        made.make(&mut client, recipe.like)?;
        if !made.server.is_throwaway() {
            let mut keeper = made.server.connect(&made.connection())?;
            keeper.batch_execute(&format!(
                "SELECT pg_catalog.set_config(name, '0', false) FROM pg_catalog.pg_settings \
                 WHERE name = 'idle_session_timeout'; COMMENT ON DATABASE {} IS {}",
                quote(&made.name),
                literal(MARK)
            ))?;
            made.keeper = Some(keeper);
        }
        Ok(made)
    }
}

impl ScratchDatabase<'_> {
    /// How it is reached.
    #[must_use]
    pub fn connection(&self) -> ConnInfo {
        self.server.info.with_dbname(&self.name)
    }

    /// How sessions with it are opened.
    #[must_use]
    pub fn connect_options(&self) -> ConnectOptions<'static> {
        self.server.connect_options()
    }

    /// The server it is in.
    pub fn server(&mut self) -> &mut ScratchServer {
        self.server
    }

    /// Whether it is one of a throwaway cluster.
    #[must_use]
    pub fn is_throwaway(&self) -> bool {
        self.server.is_throwaway()
    }

    /// The locale that it should have and that the server lacks; it has the locale C in its place.
    #[must_use]
    pub fn missing_locale(&self) -> Option<&str> {
        self.plain_locale.as_deref()
    }

    /// Which of these extensions the server does not have.
    ///
    /// # Errors
    /// When it can't be asked.
    pub fn missing_extensions<'n>(&self, names: impl Iterator<Item = &'n String>) -> Result<Vec<String>> {
        let mut client = self.server.connect(&self.connection())?;
        let rows =
            client.query("SELECT name::pg_catalog.text FROM pg_catalog.pg_available_extensions", &[])?;
        let there = rows.iter().map(|row| row.try_get(0)).collect::<Result<Vec<String>, _>>()?;
        Ok(names.filter(|name| !there.contains(name)).cloned().collect())
    }

    /// How programs that work on it are to be run.
    #[must_use]
    pub fn manner(&self) -> Manner {
        self.server.manner()
    }

    fn make_roles(&mut self, client: &mut Client, recipe: &Recipe<'_>) -> Result<()> {
        let rows = client.query("SELECT rolname::pg_catalog.text FROM pg_catalog.pg_roles", &[])?;
        let there = rows.iter().map(|row| row.try_get(0)).collect::<Result<Vec<String>, _>>()?;
        let is_super = |role| recipe.superusers.is_none_or(|superusers| superusers.contains(role));
        for role in recipe.roles.iter().filter(|role| !there.contains(role)) {
            // Owners of event triggers and foreign-data wrappers must be superusers. On a server of others
            // no such role is made.
            let rights = if self.server.is_throwaway() && is_super(role) { "SUPERUSER " } else { "" };
            let quoted = quote(role);
            client
                .batch_execute(&format!("CREATE ROLE {quoted} {rights}NOLOGIN"))
                .with_context(|| format!("the scratch server makes no role `{role}`"))?;
            self.roles_made.push(role.clone());
            // Who is no superuser must be a member of the role to give it anything.
            if !self.server.is_throwaway()
                && let Err(error) = client.batch_execute(&format!("GRANT {quoted} TO CURRENT_USER"))
            {
                log::debug!("role `{role}`: {error}");
            }
        }
        Ok(())
    }

    fn make(&mut self, client: &mut Client, like: Option<&DatabaseFigures>) -> Result<()> {
        let refused = "the scratch server makes no database";
        let Some(like) = like.filter(|like| !like.encoding.is_empty()) else {
            let create = format!("CREATE DATABASE {} TEMPLATE template0", quote(&self.name));
            return client.batch_execute(&create).context(refused);
        };
        let alike =
            format!("{}{}", self.create_with(&like.encoding, &like.collate, &like.ctype), provider(like));
        let Err(error) = client.batch_execute(&alike) else { return Ok(()) };
        let plain = self.create_with(&like.encoding, "C", "C");
        let plain = if server_major(client)? >= 15 { format!("{plain} LOCALE_PROVIDER libc") } else { plain };
        client.batch_execute(&plain).context(refused)?;
        let locale = match &like.locale {
            Some(locale) => locale.clone(),
            None if like.collate == like.ctype => like.collate.clone(),
            None => format!("{}, {}", like.collate, like.ctype),
        };
        log::info!(
            "the scratch server has no locale `{locale}` ({}): C in its place",
            one_line(&error.into())
        );
        self.plain_locale = Some(locale);
        Ok(())
    }

    fn create_with(&self, encoding: &str, collate: &str, ctype: &str) -> String {
        format!(
            "CREATE DATABASE {} TEMPLATE template0 ENCODING {} LC_COLLATE {} LC_CTYPE {}",
            quote(&self.name),
            literal(encoding),
            literal(collate),
            literal(ctype)
        )
    }

    fn drop_all(&mut self) -> Result<()> {
        let mut client = self.server.connect(&self.server.info)?;
        let name = quote(&self.name);
        if server_major(&mut client)? >= 13 {
            client.batch_execute(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"))?;
        } else {
            client.execute(
                "SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity WHERE datname = $1",
                &[&self.name],
            )?;
            client.batch_execute(&format!("DROP DATABASE IF EXISTS {name}"))?;
        }
        for role in &self.roles_made {
            if let Err(error) = client.batch_execute(&format!("DROP ROLE IF EXISTS {}", quote(role))) {
                log::warn!("the role `{role}` stays on the scratch server: {}", one_line(&error.into()));
            }
        }
        Ok(())
    }
}

impl Drop for ScratchDatabase<'_> {
    fn drop(&mut self) {
        // What is in a throwaway cluster goes with it, at once.
        if self.server.is_throwaway() {
            return;
        }
        self.keeper = None;
        if let Err(error) = self.drop_all() {
            log::warn!(
                "the database `{}` stays on the scratch server: {}; drop it by hand",
                self.name,
                one_line(&error)
            );
        }
    }
}

/// Drops the databases that killed runs left. Nobody else's has both the name and the comment, and one in
/// which there is a session is never dropped.
fn sweep(client: &mut Client) {
    let left = "SELECT d.datname::pg_catalog.text FROM pg_catalog.pg_database d WHERE d.datname LIKE $1 \
         AND pg_catalog.shobj_description(d.oid, 'pg_database') = $2 \
         AND NOT EXISTS (SELECT FROM pg_catalog.pg_stat_activity a WHERE a.datid = d.oid)";
    let pattern = format!("{}%", PREFIX.replace('_', "\\_"));
    let found = match client.query(left, &[&pattern, &MARK]) {
        Ok(found) => found,
        Err(error) => return log::info!("the scratch server is not swept: {}", one_line(&error.into())),
    };
    for name in found.iter().filter_map(|row| row.try_get::<_, String>(0).ok()) {
        match client.batch_execute(&format!("DROP DATABASE IF EXISTS {}", quote(&name))) {
            Ok(()) => log::info!("dropped the database `{name}`, which a killed run left"),
            Err(error) => log::info!("`{name}` stays on the scratch server: {}", one_line(&error.into())),
        }
    }
}

fn server_major(client: &mut Client) -> Result<i32> {
    let asked = "SELECT pg_catalog.current_setting('server_version_num')::pg_catalog.int4 / 10000";
    Ok(client.query_one(asked, &[])?.try_get(0)?)
}

/// The part of `CREATE DATABASE` that says whose locales are meant, where those are not the operating
/// system's.
fn provider(like: &DatabaseFigures) -> String {
    let locale = literal(like.locale.as_deref().unwrap_or_default());
    match like.provider.as_str() {
        "icu" => {
            let rules = like.icu_rules.as_deref().map(|rules| format!(" ICU_RULES {}", literal(rules)));
            format!(" LOCALE_PROVIDER icu ICU_LOCALE {locale}{}", rules.unwrap_or_default())
        }
        "builtin" => format!(" LOCALE_PROVIDER builtin BUILTIN_LOCALE {locale}"),
        _ => String::new(),
    }
}

fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn literal(text: &str) -> String {
    // The same under either setting of standard_conforming_strings.
    format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}
