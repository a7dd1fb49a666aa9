//! AWS Signature Version 4, written from its specification and apart from the program's own S3 library:
//! the tests' client signs with it, and the fault server checks and renews signatures with it.

use sha2::{Digest, Sha256};

use super::http::{Request, header, set_header};
use super::tools::{hex, sha256_hex};

/// An access key and its secret.
#[derive(Clone, Debug)]
pub(crate) struct Credentials {
    pub(crate) access_key_id: String,
    pub(crate) secret: String,
}

const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// Percent-encodes everything but the unreserved characters.
pub(crate) fn encode(text: &str) -> String {
    encode_except(text, "-_.~")
}

fn encode_except(text: &str, kept: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || kept.as_bytes().contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// An object's path: percent-encoded, its slashes kept.
pub(crate) fn encode_path(text: &str) -> String {
    encode_except(text, "-_.~/")
}

/// Reads percent-encoding; a plus sign is a space, as S3 servers read a query.
pub(crate) fn decode(text: &str) -> String {
    decode_with(text, true)
}

fn decode_with(text: &str, plus_is_space: bool) -> String {
    let mut bytes = text.bytes();
    let mut out = Vec::new();
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => {
                let digits = [bytes.next().unwrap_or(b'0'), bytes.next().unwrap_or(b'0')];
                let digits = std::str::from_utf8(&digits).unwrap_or("00");
                out.push(u8::from_str_radix(digits, 16).unwrap_or(0));
            }
            b'+' if plus_is_space => out.push(b' '),
            byte => out.push(byte),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn hmac(key: &[u8], message: &[u8]) -> Vec<u8> {
    let mut block = [0_u8; 64];
    if key.len() > block.len() {
        block[..32].copy_from_slice(&Sha256::digest(key));
    } else {
        block[..key.len()].copy_from_slice(key);
    }
    let inner = Sha256::new().chain_update(block.map(|byte| byte ^ 0x36)).chain_update(message).finalize();
    Sha256::new().chain_update(block.map(|byte| byte ^ 0x5c)).chain_update(inner).finalize().to_vec()
}

/// The signature of a request, given what it says is signed.
fn signature(
    request: &Request,
    signed: &str,
    scope: &str,
    date: &str,
    payload: &str,
    secret: &str,
) -> String {
    let mut query: Vec<(String, String)> = request
        .query()
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .filter(|(name, _)| *name != "X-Amz-Signature")
        .map(|(name, value)| (encode(&decode(name)), encode(&decode(value))))
        .collect();
    query.sort();
    let query: Vec<String> = query.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
    let value = |name| header(&request.headers, name).unwrap_or_default().trim();
    let headers: Vec<String> = signed.split(';').map(|name| format!("{name}:{}\n", value(name))).collect();
    let headers = headers.concat();
    let canonical = format!(
        "{}\n{}\n{}\n{headers}\n{signed}\n{payload}",
        request.method,
        encode_path(&decode_with(request.path(), false)),
        query.join("&")
    );
    let to_sign = format!("{ALGORITHM}\n{date}\n{scope}\n{}", sha256_hex(canonical.as_bytes()));
    let key =
        scope.split('/').fold(format!("AWS4{secret}").into_bytes(), |key, word| hmac(&key, word.as_bytes()));
    hex(&hmac(&key, to_sign.as_bytes()))
}

/// Signs `request` in its headers; it must have a `Host`. A body hash that is there stays.
pub(crate) fn sign(request: &mut Request, credentials: &Credentials) {
    let date = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string();
    let scope = format!("{}/us-east-1/s3/aws4_request", &date[..8]);
    set_header(&mut request.headers, "x-amz-date", &date);
    let payload =
        header(&request.headers, "x-amz-content-sha256").map_or("UNSIGNED-PAYLOAD".to_owned(), str::to_owned);
    set_header(&mut request.headers, "x-amz-content-sha256", &payload);
    let names = request.headers.iter().map(|(name, _)| name.to_ascii_lowercase());
    let mut names: Vec<String> = names.filter(|name| name == "host" || name.starts_with("x-amz-")).collect();
    names.sort();
    let signed = names.join(";");
    let signature = signature(request, &signed, &scope, &date, &payload, &credentials.secret);
    let value = format!(
        "{ALGORITHM} Credential={}/{scope}, SignedHeaders={signed}, Signature={signature}",
        credentials.access_key_id
    );
    set_header(&mut request.headers, "Authorization", &value);
}

/// Checks the signature of a request, in its headers or in its query.
pub(crate) fn verify(request: &Request, credentials: &Credentials) -> Result<(), String> {
    let from_query = |name: &str| request.raw_parameter(name).map(decode);
    let payload = header(&request.headers, "x-amz-content-sha256").unwrap_or("UNSIGNED-PAYLOAD").to_owned();
    let (credential, signed, given, date) = if let Some(value) = header(&request.headers, "authorization") {
        let field = |name: &str| {
            let rest = value.split_once(name).map(|(_, rest)| rest);
            rest.and_then(|rest| rest.split(',').next()).unwrap_or_default().trim().to_owned()
        };
        let date = header(&request.headers, "x-amz-date").unwrap_or_default().to_owned();
        (field("Credential="), field("SignedHeaders="), field("Signature="), date)
    } else if let Some(given) = from_query("X-Amz-Signature") {
        let field = |name| from_query(name).unwrap_or_default();
        (field("X-Amz-Credential"), field("X-Amz-SignedHeaders"), given, field("X-Amz-Date"))
    } else {
        return Err("AccessDenied".to_owned());
    };
    let Some((_, scope)) = credential.split_once('/') else {
        return Err("InvalidAccessKeyId".to_owned());
    };
    let payload =
        if header(&request.headers, "authorization").is_none() && !signed.contains("x-amz-content-sha256") {
            from_query("X-Amz-Content-Sha256").unwrap_or_else(|| "UNSIGNED-PAYLOAD".to_owned())
        } else {
            payload
        };
    if signature(request, &signed, scope, &date, &payload, &credentials.secret) == given {
        Ok(())
    } else {
        Err("SignatureDoesNotMatch".to_owned())
    }
}

/// Takes the caller's signature off a request, so that it can be signed anew.
pub(crate) fn strip(request: &mut Request) {
    request.headers.retain(|(name, _)| !name.eq_ignore_ascii_case("authorization"));
    let query: Vec<&str> =
        request.query().split('&').filter(|pair| !pair.is_empty() && !pair.starts_with("X-Amz-")).collect();
    request.target = format!("{}?{}", request.path(), query.join("&"));
    if request.target.ends_with('?') {
        request.target.pop();
    }
}
