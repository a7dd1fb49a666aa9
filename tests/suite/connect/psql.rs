//! psql as the oracle: the same strings, modes and servers must come out the same. It knows the two modules
//! by their public face only.

use std::path::PathBuf;
use std::process::Command;

use pgkeep::connect::connect;
use pgkeep::conninfo::{ConnInfo, Environment};

use super::{OPTIONS, is_encrypted, secured};
use crate::support::cluster;
use crate::support::cluster::{PASSWORD, PASSWORD_IN_URI, ROLE};
use crate::support::tools::{free_port, pg_bin};

/// What psql answers when it is given a connection string, or nothing when it does not connect.
pub(super) fn psql(text: &str, variables: &[(String, String)], query: &str) -> Option<String> {
    let mut command = Command::new(pg_bin().join("psql"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("PG")) {
        command.env_remove(name);
    }
    command.env("HOME", "/nonexistent").envs(variables.iter().map(|(name, value)| (name, value)));
    let output = command.args(["-XAtw", "-c", query, text]).output().unwrap();
    output.status.success().then(|| String::from_utf8(output.stdout).unwrap().trim_end().to_owned())
}

#[test]
fn psql_agrees_about_each_sslmode() {
    let server = secured();
    for mode in ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"] {
        for root in ["ca.crt", "other.crt", "missing.crt"] {
            for host in ["127.0.0.1", "localhost"] {
                for user in [ROLE, "plain", "encrypted"] {
                    let text = format!(
                        "sslmode={mode} sslrootcert={} host={host} hostaddr=127.0.0.1 user={user}",
                        server.path(root)
                    );
                    let info = server.info(&text, &[]);
                    let ours = connect(&info, &OPTIONS).ok().map(|mut client| is_encrypted(&mut client));
                    let theirs = psql(
                        &info.to_keyword_string(),
                        &info.child_environment(),
                        "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()",
                    );
                    assert_eq!(ours, theirs.map(|answer| answer == "t"), "{text}");
                }
            }
        }
    }
}

#[test]
fn psql_understands_connection_strings_the_same_way() {
    let server = cluster();
    server.create_database("odd 'name'\\%&=", "template0");
    let (port, socket) = (server.port, server.socket_dir.to_str().unwrap().to_owned());
    let socket_in_uri = socket.replace('/', "%2F");
    let variables = [
        ("PGHOST", "127.0.0.1"),
        ("PGPORT", &*port.to_string()),
        ("PGUSER", ROLE),
        ("PGPASSWORD", PASSWORD),
        ("PGAPPNAME", "mine"),
    ];
    let owned: Vec<(String, String)> =
        variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let query = "SELECT concat_ws('|', current_database(), current_user, current_setting('application_name'), current_setting('work_mem'), inet_server_addr())";
    let dead = free_port();
    for text in [
        "sample".to_owned(),
        "odd 'name'\\%&".to_owned(),
        r"dbname='odd \'name\'\\%&='".to_owned(),
        r"dbname=odd\ \'name\'\\%&= application_name=x".to_owned(),
        "postgresql:///odd%20'name'%5C%25%26%3D".to_owned(),
        "postgresql:///odd%20'name'%5C%25&=".to_owned(),
        "postgresql://".to_owned(),
        "postgres:///sample".to_owned(),
        "postgresql:///sample?application_name=a%20b&options=-c%20work_mem%3D5MB".to_owned(),
        "postgresql:///?dbname=sample&".to_owned(),
        "postgresql:///sample?&application_name=x".to_owned(),
        "postgresql:///sample?application_name".to_owned(),
        "postgresql:///sample?application_name=a=b".to_owned(),
        "postgresql:///sample?application_name=%zz".to_owned(),
        "postgresql:///sample?ssl=false".to_owned(),
        "postgresql:///sample?ssl=true".to_owned(),
        format!("postgresql://{ROLE}:{PASSWORD_IN_URI}@127.0.0.1:{port}/sample"),
        format!("postgresql://:{PASSWORD_IN_URI}@/sample"),
        format!("postgresql://{ROLE}@:{port}/sample"),
        format!("postgresql://{ROLE}:wr0ng@127.0.0.1:{port}/sample"),
        format!("postgresql://postgres@{socket_in_uri}:{port}/sample"),
        format!("postgresql://postgres@/sample?host={socket}&port={port}"),
        format!("postgresql://127.0.0.1:{dead},127.0.0.1:{port}/sample"),
        format!("postgresql://127.0.0.1,127.0.0.1:{port}/sample?port={dead},{port}"),
        format!("postgresql://[::ffff:127.0.0.1]:{port}/sample"),
        "postgresql://[::1/sample".to_owned(),
        "postgresql://[]/sample".to_owned(),
        format!("host = 127.0.0.1  port= {port}\tdbname ='sample'user={ROLE}"),
        format!("host=127.0.0.1,127.0.0.1 port={dead},{port} dbname=sample"),
        format!("host=127.0.0.1 port={dead},{port} dbname=sample"),
        format!("hostaddr=127.0.0.1 port={port} dbname=sample"),
        "dbname=sample port=0".to_owned(),
        "dbname=sample nothing".to_owned(),
        "dbname=sample application_name='open".to_owned(),
        "dbname=sample hots=x".to_owned(),
        "dbname=sample options='-c work_mem=6MB' application_name=x".to_owned(),
        "dbname=postgres dbname=sample".to_owned(),
        "dbname=".to_owned(),
    ] {
        let theirs = psql(&text, &owned, query);
        let environment = Environment {
            variables: owned.iter().cloned().collect(),
            home: Some(PathBuf::from("/nonexistent")),
            user: Some("postgres".to_owned()),
        };
        let info = ConnInfo::parse(&text).ok().and_then(|info| info.resolve(&environment).ok());
        let ours = info.as_ref().and_then(|info| connect(info, &OPTIONS).ok()).map(|mut client| {
            let answer: String = client.query_one(query, &[]).unwrap().get(0);
            answer
        });
        assert_eq!(ours, theirs, "{text}");
        if let (Some(info), Some(_)) = (info, &theirs) {
            let child = psql(&info.to_keyword_string(), &info.child_environment(), query);
            assert_eq!(child, theirs, "{text} as a child gets it: {}", info.to_keyword_string());
        }
    }
}
