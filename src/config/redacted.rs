//! The configuration without its secrets, to be kept where others may read it one day.

use anyhow::{Context, Result};
use toml::Value;

use crate::conninfo::ConnInfo;

/// What stands in place of a secret.
const LEFT_OUT: &str = "(left out)";
/// Keys whose value is a secret where it is written out; one that only says where the secret is stays.
const SECRET_KEYS: [&str; 8] =
    ["secret_access_key", "access_key_id", "password", "username", "secret", "token", "routing_key", "url"];

/// Keys among them that tell nobody anything: names, and addresses, which only hold a secret where their path is one.
const OPEN_KEYS: [&str; 3] = ["access_key_id", "username", "url"];
/// The path of an address that is as long may be all that it takes to use it.
const TELLING_PATH: usize = 16;

/// Whether a secret is written out in the text of a configuration.
#[must_use]
pub fn holds_secret(text: &str) -> bool {
    text.parse::<toml::Table>()
        .is_ok_and(|document| document.iter().any(|(key, value)| is_secret(key, value)))
}

fn is_secret(key: &str, value: &Value) -> bool {
    match value {
        Value::Array(values) => values.iter().any(|value| is_secret(key, value)),
        Value::Table(table) => table.iter().any(|(key, value)| is_secret(key, value)),
        Value::String(text) if key == "url" => match ConnInfo::parse(text) {
            Ok(info) => info.has_secret(),
            Err(_) => has_login(text) || is_telling(text),
        },
        Value::String(text) => {
            (SECRET_KEYS.contains(&key) && !OPEN_KEYS.contains(&key)) || (key == "smtp" && has_login(text))
        }
        _ => false,
    }
}

/// The variables that the text of a configuration takes secrets from.
#[must_use]
pub fn secret_variables(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    if let Ok(document) = text.parse::<toml::Table>() {
        collect_variables(&Value::Table(document), &mut found);
    }
    found
}

fn collect_variables(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Array(values) => values.iter().for_each(|value| collect_variables(value, found)),
        Value::Table(table) => {
            if let (1, Some(Value::String(name))) = (table.len(), table.get("env")) {
                found.push(name.clone());
            }
            table.values().for_each(|value| collect_variables(value, found));
        }
        _ => {}
    }
}

/// Whether whoever knows an address can use it: that of a chat's hook, of a dead man's switch.
fn is_telling(address: &str) -> bool {
    let path = address.strip_prefix("https://").and_then(|rest| rest.split_once('/'));
    path.is_some_and(|(_, path)| path.len() >= TELLING_PATH)
}

/// The text of a configuration with every secret that is written out left out; comments go too, since they may hold one.
///
/// # Errors
/// When it is no TOML.
pub fn without_secrets(text: &str) -> Result<String> {
    let mut document: toml::Table = text.parse().context("the configuration can't be read")?;
    for section in ["source", "catalog"] {
        if let Some(Value::String(url)) = document.get_mut(section).and_then(|table| table.get_mut("url")) {
            *url = without_password(url);
        }
    }
    for (name, value) in &mut document {
        if name != "source" && name != "catalog" {
            hide(value);
        }
    }
    Ok(toml::to_string_pretty(&document)?)
}

fn without_password(url: &str) -> String {
    ConnInfo::parse(url)
        .map_or_else(|_| LEFT_OUT.to_owned(), |info| info.without_password().to_keyword_string())
}

/// Whether it is an address with a name or a password in it.
fn has_login(text: &str) -> bool {
    text.split_once("://").is_some_and(|(_, rest)| rest.contains('@'))
}

fn hide(value: &mut Value) {
    match value {
        Value::Array(values) => values.iter_mut().for_each(hide),
        Value::Table(table) => {
            for (key, value) in table.iter_mut() {
                match value {
                    Value::String(text) if SECRET_KEYS.contains(&key.as_str()) || has_login(text) => {
                        LEFT_OUT.clone_into(text);
                    }
                    value => hide(value),
                }
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_a_secret_is_known() {
        for text in [
            "[source]\nurl = 'postgresql://a:s3cret@db/shop'",
            "[catalog]\nurl = 'host=db password=s3cret'",
            "[[store]]\nsecret_access_key = 's3cret'",
            "[[alert.channel]]\nurl = 'https://hooks.example.org/services/T000/B111'",
            "[[alert.channel]]\npassword = 's3cret'",
        ] {
            assert!(holds_secret(text), "{text}");
        }
        for text in [
            "[source]\nurl = 'postgresql://a@db/shop'",
            "[[store]]\nsecret_access_key = { env = 'B2' }\naccess_key_id = 'AKIA'",
            "[[alert.channel]]\nurl = 'http://localhost:9093/api/v2/alerts'\ntoken = { file = '/t' }",
        ] {
            assert!(!holds_secret(text), "{text}");
        }
        let text = "[[store]]\nsecret_access_key = { env = 'B2' }\n[[alert.channel]]\ntoken = { env = 'T' }\nname = 'env'";
        let mut found = secret_variables(text);
        found.sort();
        assert_eq!(found, ["B2", "T"]);
    }

    #[test]
    fn secrets_go_and_the_places_of_secrets_stay() {
        let text = "# pw: s3cret\n[source]\nurl = 'postgresql://a:s3cret@db/shop?sslpassword=s3cret'\n\
                    [[store]]\nname = 'r2'\nkind = 's3'\nsecret_access_key = 's3cret'\naccess_key_id = { env = 'R2' }\n\
                    [[alert.channel]]\nname = 'x'\nkind = 'webhook'\nurl = 'https://h/s3cret'\ntoken = { file = '/t' }\n\
                    smtp = 'smtp://a:s3cret@mail'\n";
        let kept = without_secrets(text).unwrap();
        assert!(!kept.contains("s3cret"), "{kept}");
        for part in ["name = \"r2\"", "env = \"R2\"", "file = \"/t\"", "shop", "name = \"x\""] {
            assert!(kept.contains(part), "{part}: {kept}");
        }
        assert!(without_secrets("a = [").is_err());
    }
}
