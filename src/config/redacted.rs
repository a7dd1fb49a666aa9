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

/// What is written out in the text of a configuration that is not for everybody.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Written {
    /// Nothing.
    #[default]
    Nothing,
    /// An address that may be all that it takes to use it: that of a chat's hook, of a dead man's switch.
    Address,
    /// A password, a token, a key.
    Secret,
}

/// The gravest of what is written out in the text of a configuration.
#[must_use]
pub fn written_out(text: &str) -> Written {
    let document = text.parse::<toml::Table>().unwrap_or_default();
    document.iter().map(|(key, value)| written(key, value)).max().unwrap_or_default()
}

fn written(key: &str, value: &Value) -> Written {
    let secret = |is_one: bool| if is_one { Written::Secret } else { Written::Nothing };
    match value {
        Value::Array(values) => values.iter().map(|value| written(key, value)).max().unwrap_or_default(),
        Value::Table(table) => table.iter().map(|(key, value)| written(key, value)).max().unwrap_or_default(),
        Value::String(text) if key == "url" => match ConnInfo::parse(text) {
            Ok(info) => secret(info.has_secret()),
            Err(_) if is_telling(text) && !has_login(text) => Written::Address,
            Err(_) => secret(has_login(text)),
        },
        Value::String(text) => secret(
            (SECRET_KEYS.contains(&key) && !OPEN_KEYS.contains(&key)) || (key == "smtp" && has_login(text)),
        ),
        _ => Written::Nothing,
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

/// Whether whoever knows an address may be able to use it; many that are as long tell nothing.
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
            "[[alert.channel]]\nurl = 'https://a:b@hooks.example.org/services/T000/B111'",
            "[[alert.channel]]\npassword = 's3cret'",
            "[[alert.channel]]\nurl = 'https://hooks.example.org/services/T000/B111'\ntoken = 's3cret'",
        ] {
            assert_eq!(written_out(text), Written::Secret, "{text}");
        }
        for text in [
            "[[alert.channel]]\nurl = 'https://hooks.example.org/services/T000/B111'",
            "[[alert.channel]]\nurl = 'https://am.example.org/prefix/api/v2/alerts'",
        ] {
            assert_eq!(written_out(text), Written::Address, "{text}");
        }
        for text in [
            "[source]\nurl = 'postgresql://a@db/shop'",
            "[[store]]\nsecret_access_key = { env = 'B2' }\naccess_key_id = 'AKIA'",
            "[[alert.channel]]\nurl = 'http://localhost:9093/api/v2/alerts'\ntoken = { file = '/t' }",
        ] {
            assert_eq!(written_out(text), Written::Nothing, "{text}");
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
