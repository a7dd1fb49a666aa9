//! The stores of the configuration: what each kind needs, and that no two are one place.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::Result;
use toml::Spanned;

use super::Page;
use crate::config::keep::Keep;
use crate::config::value::Secret;
use crate::config::{Place, Store, raw};

pub(super) fn stores(page: &Page<'_>, raw: Vec<Spanned<raw::Store>>, state_dir: &Path) -> Result<Vec<Store>> {
    if raw.is_empty() {
        let place = Place::Local { path: state_dir.join("backups") };
        return Ok(vec![Store { name: "local".to_owned(), place, keep: usual_keep(raw::Kind::Local) }]);
    }
    let mut names = BTreeSet::new();
    let mut places = BTreeMap::new();
    let mut stores = Vec::new();
    for store in raw {
        let store = store.into_inner();
        let span = store.name.span();
        let name = store.name.get_ref();
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        if name.is_empty() || name.len() > 63 || !name.chars().all(plain) {
            let message = "a store's `name` is 1 to 63 of letters, digits, `_`, `-` and `.`";
            return Err(page.refuse(store.name.span(), message));
        }
        if !names.insert(name.clone()) {
            let message = format!("two stores have the name `{name}`");
            return Err(page.refuse(store.name.span(), &message));
        }
        let keep = store.keep.clone().unwrap_or_else(|| usual_keep(store.kind));
        let name = name.clone();
        let place = match store.kind {
            raw::Kind::Local => local(page, span.clone(), store)?,
            raw::Kind::S3 => s3(page, span.clone(), store)?,
        };
        if let Some(other) = places.insert(identity(&place), name.clone()) {
            let message = format!("the stores `{other}` and `{name}` are one and the same place");
            return Err(page.refuse(span, &message));
        }
        stores.push(Store { name, place, keep });
    }
    Ok(stores)
}

/// What is kept where nothing is said: a month on the disk of this host, a year where room is cheap.
fn usual_keep(kind: raw::Kind) -> Keep {
    Keep::within_days(match kind {
        raw::Kind::Local => 30,
        raw::Kind::S3 => 365,
    })
}

/// What two stores share that would keep one copy between them, where each is to have its own.
fn identity(place: &Place) -> (PathBuf, Option<[String; 3]>) {
    match place {
        Place::Local { path } => (path.canonicalize().unwrap_or_else(|_| path.components().collect()), None),
        Place::S3 { endpoint, bucket, prefix, .. } => {
            (PathBuf::new(), Some([endpoint.clone(), bucket.clone(), prefix.clone()]))
        }
    }
}

fn local(page: &Page<'_>, span: Range<usize>, store: raw::Store) -> Result<Place> {
    let of_s3 = [
        ("endpoint", store.endpoint.as_ref().map(Spanned::span)),
        ("region", store.region.as_ref().map(Spanned::span)),
        ("bucket", store.bucket.as_ref().map(Spanned::span)),
        ("prefix", store.prefix.as_ref().map(Spanned::span)),
        ("access_key_id", store.access_key_id.as_ref().map(Spanned::span)),
        ("secret_access_key", store.secret_access_key.as_ref().map(Spanned::span)),
        ("path_style", store.path_style.as_ref().map(Spanned::span)),
    ];
    if let Some((key, Some(span))) = of_s3.into_iter().find(|(_, given)| given.is_some()) {
        return Err(page.refuse(span, &format!("a store of kind \"local\" has no `{key}`")));
    }
    match store.path {
        Some(path) if path.get_ref().is_absolute() => Ok(Place::Local { path: path.into_inner() }),
        Some(path) => Err(page.refuse(path.span(), "the `path` of a local store must start with `/`")),
        None => Err(page.refuse(span, "a store of kind \"local\" needs `path`")),
    }
}

fn s3(page: &Page<'_>, span: Range<usize>, store: raw::Store) -> Result<Place> {
    if let Some(path) = store.path {
        return Err(page.refuse(path.span(), "a store of kind \"s3\" has no `path`: it has `prefix`"));
    }
    let needs = |key: &str| page.refuse(span.clone(), &format!("a store of kind \"s3\" needs `{key}`"));
    let endpoint = store.endpoint.ok_or_else(|| needs("endpoint"))?;
    let address = endpoint.get_ref().trim_end_matches('/').to_owned();
    let host = address.strip_prefix("https://").or_else(|| address.strip_prefix("http://"));
    if !host.is_some_and(|host| !host.is_empty() && !host.contains(['/', '?', '#', '@', ' '])) {
        let message = "`endpoint` is `https://HOST` or `http://HOST`, with no path behind it";
        return Err(page.refuse(endpoint.span(), message));
    }
    let bucket = store.bucket.ok_or_else(|| needs("bucket"))?;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    if bucket.get_ref().is_empty() || !bucket.get_ref().chars().all(plain) {
        return Err(page.refuse(bucket.span(), "`bucket` is no name of a bucket"));
    }
    let prefix = match store.prefix {
        None => String::new(),
        Some(prefix) => {
            let trimmed = prefix.get_ref().trim_matches('/').to_owned();
            let sound =
                |part: &str| !part.is_empty() && part != "." && part != ".." && part.chars().all(plain);
            if !trimmed.is_empty() && !trimmed.split('/').all(sound) {
                let message = "`prefix` is made of letters, digits, `_`, `-`, `.`, and single `/`";
                return Err(page.refuse(prefix.span(), message));
            }
            trimmed
        }
    };
    let secret =
        |value: Option<Spanned<Secret>>, key: &str| value.map(Spanned::into_inner).ok_or_else(|| needs(key));
    Ok(Place::S3 {
        endpoint: address,
        region: store.region.ok_or_else(|| needs("region"))?.into_inner(),
        bucket: bucket.into_inner(),
        prefix,
        access_key_id: secret(store.access_key_id, "access_key_id")?,
        secret_access_key: secret(store.secret_access_key, "secret_access_key")?,
        path_style: store.path_style.is_none_or(Spanned::into_inner),
    })
}
