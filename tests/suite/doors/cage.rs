//! A test restore runs what the owner of a database wrote, on this host: whatever that is, it reaches nothing.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use rustix::process::Signal;

use crate::support::cluster::unique;
use crate::support::command::Pgkeep;
use crate::support::tools::{files_under, give_to_postgres, is_root, pg_bin, python};
use crate::support::{Site, wait_until};

/// Called by `evil`, which says that it changes nothing. On a scratch server it runs a shell, and fails where
/// that finds anything: what it found is in the error then.
const EVIL: &str = "
    CREATE TABLE said (line text);
    CREATE FUNCTION act() RETURNS text LANGUAGE plpgsql VOLATILE AS $act$
    DECLARE found text;
    BEGIN
        IF pg_catalog.current_setting('unix_socket_directories') NOT LIKE '%pgkeep-scratch-%' THEN
            RETURN 'quiet';
        END IF;
        COPY public.said FROM PROGRAM $shell$ SHELL $shell$;
        SELECT pg_catalog.string_agg(line, ', ') INTO found FROM public.said;
        DELETE FROM public.said;
        IF found IS DISTINCT FROM 'ran' THEN
            RAISE EXCEPTION 'the shell found %', found;
        END IF;
        RETURN 'quiet';
    END $act$;
    CREATE FUNCTION evil() RETURNS text LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN public.act(); END';
    CREATE TABLE trap (id integer CHECK (evil() = 'quiet'), made text GENERATED ALWAYS AS (evil()) STORED);
    INSERT INTO trap SELECT generate_series(1, 3);
    CREATE INDEX trap_index ON trap ((id::text || evil()));
    CREATE MATERIALIZED VIEW trap_view AS SELECT act() AS made;";

/// Lets landlock(7) or other calls of a number of the kernel's be unknown to what is run.
const WITHOUT_CALL: &str = "
import ctypes, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
number, error = int(sys.argv[1]), int(sys.argv[2])
line = lambda code, yes, no, value: struct.pack('HBBI', code, yes, no, value)
lines = line(32, 0, 0, 0) + line(21, 0, 1, number) + line(6, 0, 0, 0x50000 | error) + line(6, 0, 0, 0x7fff0000)
class Program(ctypes.Structure):
    _fields_ = [('length', ctypes.c_ushort), ('lines', ctypes.c_char_p)]
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, ctypes.byref(Program(4, lines)), 0, 0) == 0
os.execv(sys.argv[3], sys.argv[3:])
";
const LANDLOCK_CREATE_RULESET: (i32, i32) = (444, 38);
const UNSHARE: (i32, i32) = (if cfg!(target_arch = "x86_64") { 272 } else { 97 }, 1);

/// Runs a call on a kernel that answers a system call with an error.
fn without(call: Pgkeep, (number, error): (i32, i32)) -> Pgkeep {
    let (python, number, error) = (python(), number.to_string(), error.to_string());
    let words = [python.to_str().unwrap(), "-c", WITHOUT_CALL, &number, &error];
    call.through(&words, "exec \"$@\"")
}

/// A site whose backups are restored once they are made, under a folder of its own.
fn proven() -> Site {
    let mut site = Site::new().local_only();
    fs::create_dir(site.path("scratch")).unwrap();
    site.config.set("verify.after_backup", "restore");
    site.config.set("verify.scratch_dir", site.path("scratch").to_str().unwrap());
    site
}

/// What is planted in a site's database, and what would tell that it got out.
struct Planted {
    listener: std::net::TcpListener,
    sleeper: String,
}

impl Planted {
    /// Plants it for a run by this user, or by an ordinary one.
    fn into(site: &Site, is_ordinary: bool) -> Self {
        let open = site.path("open");
        fs::create_dir(&open).unwrap();
        fs::set_permissions(&open, fs::Permissions::from_mode(0o1777)).unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let live = &site.cluster.socket_dir;
        let pid = fs::read_to_string(live.join("data/postmaster.pid")).unwrap();
        let pid = pid.lines().next().unwrap().to_owned();
        // Who owns the live cluster's files is who runs it.
        let owner = fs::metadata(live.join("data")).unwrap().uid();
        let sleeper = format!("9{}{}", std::process::id(), unique(""));
        let has_choice = is_root() && !is_ordinary;
        let owner =
            if has_choice { format!("[ $(id -u) != {owner} ] || echo postgres") } else { String::new() };
        let shell = format!(
            "exec 2>/dev/null\n\
             echo ran\n\
             touch {open}/mark && echo mark\n\
             head -c 1 {key} >/dev/null && echo key\n\
             chmod 0666 {key}\n\
             ls {live}/data >/dev/null && echo data\n\
             head -c 1 /etc/passwd >/dev/null && echo passwd\n\
             head -c 1 /proc/$PPID/environ >/dev/null && echo environ\n\
             head -c 1 /proc/{pid}/environ >/dev/null && echo another environ\n\
             ls /proc >/dev/null && echo proc\n\
             kill -0 {pid} && echo signal\n\
             bash -c 'exec 3<>/dev/tcp/127.0.0.1/{port}' && echo tcp\n\
             bash -c 'echo x >/dev/udp/127.0.0.1/{port}' && echo udp\n\
             {psql} --no-psqlrc -h {live} -p {server} -U postgres -c 'SELECT 1' postgres >/dev/null && echo socket\n\
             unshare -r true && echo name space\n\
             {owner}\
             setsid sleep {sleeper} </dev/null >/dev/null &\n\
             true",
            open = open.display(),
            psql = pg_bin().join("psql").display(),
            key = site.path("pgkeep.key").display(),
            live = live.display(),
            server = site.cluster.port,
        );
        site.cluster.execute(&site.database, &EVIL.replace("SHELL", &shell));
        Self { listener, sleeper }
    }

    /// Fails when anything got out.
    fn assert_shut(&self, site: &Site) {
        assert_eq!(files_under(&site.path("open")), Vec::<std::path::PathBuf>::new());
        assert_eq!(fs::metadata(site.path("pgkeep.key")).unwrap().mode() & 0o777, 0o600);
        self.listener.set_nonblocking(true).unwrap();
        assert!(self.listener.accept().is_err(), "somebody came to the listener");
        assert_eq!(sleepers(&self.sleeper), 0, "a process of the cage is left");
        assert_eq!(fs::read_dir(site.path("scratch")).unwrap().count(), 0);
    }
}

/// How many processes sleep for so long.
fn sleepers(time: &str) -> usize {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let lines = processes.filter_map(|process| fs::read(process.path().join("cmdline")).ok());
    lines.filter(|line| *line == format!("sleep\0{time}\0").into_bytes()).count()
}

fn assert_verified(site: &Site, id: &str) {
    assert_eq!(site.row(id)["status"], "verified", "{:#}", site.row(id));
    assert_eq!(site.copies(id)["local"]["verified_level"], "restore");
}

/// The same, by the user who owns the live cluster, as far as there is a choice.
fn by_postgres(site: &Site, call: Pgkeep) -> Pgkeep {
    for path in ["", "scratch", "config.toml", "pgkeep.key"] {
        give_to_postgres(&site.path(path));
    }
    call.by_postgres()
}

#[test]
fn what_a_dump_runs_reaches_nothing() {
    let site = proven();
    let planted = Planted::into(&site, false);
    let id = site.backup();
    assert_verified(&site, &id);
    planted.assert_shut(&site);
    site.pgkeep(["verify", "latest", "--level", "restore"]).any_stdout().run();
    planted.assert_shut(&site);
}

#[test]
fn what_a_dump_runs_reaches_nothing_of_an_ordinary_user() {
    let site = proven();
    let planted = Planted::into(&site, true);
    let call = site.pgkeep(["backup", "full"]);
    let id = by_postgres(&site, call).any_stdout().run().id();
    assert_verified(&site, &id);
    planted.assert_shut(&site);
}

/// As in most containers: what they hold back is held back by Landlock and the filter as well.
#[test]
fn without_name_spaces_it_reaches_nothing_either() {
    for is_ordinary in [false, true] {
        let site = proven();
        let planted = Planted::into(&site, is_ordinary);
        let call = without(site.pgkeep(["backup", "full"]), UNSHARE);
        let call = if is_ordinary { by_postgres(&site, call) } else { call };
        let id = call.any_stdout().run().id();
        assert_verified(&site, &id);
        planted.assert_shut(&site);
    }
}

/// Nor does it go on when pgkeep is killed, by an ordinary user, who has no other user for it.
#[test]
fn a_kill_ends_what_a_dump_runs() {
    for has_spaces in [true, false] {
        let site = proven();
        let time = format!("8{}{}", std::process::id(), unique(""));
        let shell = format!("setsid sleep {time} </dev/null >/dev/null 2>&1 & sleep {time}");
        site.cluster.execute(&site.database, &EVIL.replace("SHELL", &shell));
        let call = site.pgkeep(["backup", "full"]).any_stdout().any_stderr().any_code();
        let call = if has_spaces { call } else { without(call, UNSHARE) };
        let running = by_postgres(&site, call).start();
        wait_until("both sleep", || sleepers(&time) == 2);
        running.signal(Signal::KILL);
        running.await_death();
        wait_until("nobody sleeps", || sleepers(&time) == 0);
    }
}

/// What fills the disk is ended while there is room for others.
#[test]
fn what_fills_the_disk_is_ended() {
    let site = proven();
    site.cluster
        .execute(&site.database, &EVIL.replace("SHELL", "head -c 400000000 /dev/zero >filler; sleep 600"));
    let mount = "mount -t tmpfs -o size=620m,mode=711 tmpfs \"$FOLDER\" || exit 99; \"$@\"; code=$?; \
                 umount \"$FOLDER\"; exit $code";
    let call = site.pgkeep(["backup", "full"]).env("FOLDER", site.path("scratch"));
    // Whoever is root needs more users than one there.
    let words: &[&str] = if is_root() {
        &["/usr/bin/unshare", "--mount"]
    } else {
        &["/usr/bin/unshare", "--mount", "--user", "--map-current-user", "--keep-caps"]
    };
    let call = call.through(words, mount);
    let ran = call.code(3).any_stdout().stderr_has("256").run();
    let row = site.row(&ran.id());
    assert_eq!(row["status"], "degraded", "{row:#}");
    assert!(row["error"].as_str().unwrap().contains("scratch server was ended"), "{row:#}");
}

#[test]
fn without_landlock_a_test_restore_is_refused_unless_it_is_allowed() {
    let mut site = proven();
    let call = without(site.pgkeep(["backup", "full"]), LANDLOCK_CREATE_RULESET);
    let ran = call.code(3).any_stdout().stderr_has("unconfined = true").run();
    let row = site.row(&ran.id());
    assert_eq!(row["status"], "degraded", "{row:#}");
    assert!(row["error"].as_str().unwrap().contains("can't confine"), "{row:#}");
    assert_eq!(site.copies(&ran.id())["local"]["verified_level"], "checksum");
    let verify = site.pgkeep(["verify", "latest", "--level", "restore"]);
    without(verify, LANDLOCK_CREATE_RULESET).code(3).any_stdout().any_stderr().run();
    let doctor = without(site.pgkeep(["doctor"]), LANDLOCK_CREATE_RULESET);
    doctor.code(1).any_stdout().stderr_has("confinement").stderr_has("unconfined = true").run();
    site.config.set("verify.unconfined", true);
    let allowed = without(site.pgkeep(["backup", "full"]), LANDLOCK_CREATE_RULESET);
    let id = allowed.any_stdout().stderr_has("unconfined").run().id();
    assert_verified(&site, &id);
}

#[test]
fn doctor_says_how_far_this_kernel_confines() {
    let site = proven();
    let ran = site.pgkeep(["doctor"]).stdout_has("confinement: Landlock ").run();
    assert!(ran.stdout.contains("nothing of this host is in reach"), "{ran:?}");
    if is_root() {
        // A site of its own: the other one's state is root's.
        let site = proven();
        let ran = by_postgres(&site, site.pgkeep(["doctor"])).stdout_has("network of its own").run();
        assert!(!ran.stdout.contains("no network of its own"), "{ran:?}");
        assert!(ran.stdout.contains("nothing of this host is in reach"), "{ran:?}");
    }
    let ran = without(site.pgkeep(["doctor"]), UNSHARE).stdout_has("no network of its own").run();
    assert!(ran.stdout.contains("filter of system calls"), "{ran:?}");
}

/// Files of the system that an honest database needs: extensions, locales, time zones, dictionaries.
#[test]
fn honest_databases_are_equal_in_it() {
    let mut site = proven();
    site.config.set("verify.fingerprint", "content");
    site.cluster.execute(
        &site.database,
        "CREATE EXTENSION IF NOT EXISTS hstore; CREATE EXTENSION IF NOT EXISTS pg_trgm; \
         CREATE EXTENSION IF NOT EXISTS pgcrypto; CREATE EXTENSION IF NOT EXISTS unaccent; \
         CREATE TABLE word (id serial PRIMARY KEY, letters text COLLATE \"de-x-icu\", marks hstore, at timestamptz); \
         INSERT INTO word (letters, marks, at) SELECT 'Wort ' || n, hstore('n', n::text), \
           timestamptz '2026-03-29 01:30 Europe/Berlin' + n * interval '1 hour' FROM generate_series(1, 500) n; \
         CREATE INDEX ON word USING gin (letters gin_trgm_ops); CREATE INDEX ON word (letters); \
         CREATE INDEX ON word USING gin (to_tsvector('english', letters)); \
         CREATE INDEX ON word (digest(letters, 'sha256')); \
         CREATE MATERIALIZED VIEW noon AS SELECT (at AT TIME ZONE 'America/New_York')::date AS day, \
           count(*), string_agg(unaccent(letters), ',' ORDER BY id) FROM word GROUP BY 1; \
         SELECT lo_from_bytea(0, sha256('x'::bytea)); \
         CREATE FUNCTION no_ddl() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'; \
         CREATE EVENT TRIGGER honest ON ddl_command_end EXECUTE FUNCTION no_ddl(); \
         CREATE FOREIGN DATA WRAPPER honest",
    );
    let id = site.backup();
    assert_verified(&site, &id);
}

/// A role that is none on the source is no superuser on the scratch server, unless it does not go without.
#[test]
fn roles_get_no_more_rights_than_they_have() {
    let site = proven();
    let (owner, other) = (unique("owner"), unique("other"));
    site.cluster.execute(
        &site.database,
        &format!(
            "CREATE ROLE {owner} NOLOGIN; CREATE ROLE {other} NOLOGIN; GRANT CREATE ON SCHEMA public TO {owner}; \
             CREATE FUNCTION rights() RETURNS text LANGUAGE sql VOLATILE AS \
               $$SELECT rolsuper::text FROM pg_catalog.pg_roles WHERE rolname = current_user$$; \
             CREATE FUNCTION ensure_plain() RETURNS text LANGUAGE plpgsql AS \
               $$BEGIN IF public.rights() = 'true' THEN RAISE EXCEPTION 'too many rights'; END IF; RETURN 'plain'; END$$; \
             CREATE MATERIALIZED VIEW plain AS SELECT 1 AS one WITH NO DATA; ALTER TABLE plain OWNER TO {owner}; \
             DROP MATERIALIZED VIEW plain; SET ROLE {owner}; \
             CREATE MATERIALIZED VIEW plain AS SELECT public.ensure_plain() AS word; RESET ROLE"
        ),
    );
    let id = site.backup();
    assert_verified(&site, &id);
    // What one may do as a member of another role it may do in the second try.
    site.cluster.execute(
        &site.database,
        &format!(
            "DROP MATERIALIZED VIEW plain; CREATE TABLE theirs AS SELECT 1 AS one; ALTER TABLE theirs OWNER TO {other}; \
             GRANT {other} TO {owner}; SET ROLE {owner}; CREATE MATERIALIZED VIEW of_theirs AS SELECT * FROM theirs; \
             RESET ROLE"
        ),
    );
    let ran = site.pgkeep(["-v", "backup", "full"]).any_stdout().stderr_has("once more").run();
    assert_verified(&site, &ran.id());
}
