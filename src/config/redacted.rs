//! The configuration without its secrets, to be kept where others may read it one day.

use anyhow::{Context, Result};
use toml::Value;

use crate::conninfo::ConnInfo;

/// What stands in place of a secret.
const LEFT_OUT: &str = "(left out)";
/// Keys whose value is a secret where it is written out; one that only says where the secret is stays.
const SECRET_KEYS: [&str; 8] =
    ["secret_access_key", "access_key_id", "password", "username", "secret", "token", "routing_key", "url"];

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
