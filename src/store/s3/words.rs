//! What a person is told to do about an S3 request that failed, and how a time limit is put into words.

use rustls::CertificateError;
use ureq::Timeout;

use super::place::{Place, Said};

pub(super) const NO_NAME: &str = "check endpoint, and this host's DNS";
pub(super) const NO_WAY: &str = "check endpoint, and whether this host is let out to it";
pub(super) const NOBODY_LISTENS: &str = "nobody listens there: check endpoint, and whether the server runs";
pub(super) const PAGE: &str = "a web page answers there, not an S3 server: check endpoint, and whether a proxy \
    or a login page stands in between";

/// The code by which R2 refuses what a bucket lock rule forbids.
pub(super) const BUCKET_LOCK_RULE: &str = "ObjectLockedByBucketPolicy";
pub(super) const NO_LOCKS: &str = "object_lock asks for a lock: the bucket must be made with object lock, which R2 \
    has not; or take object_lock out of this store";
pub(super) const NO_RIGHT_TO_LOCK: &str = "object_lock asks for a lock: the access key must be allowed to write here \
    and to lock (AWS: s3:PutObjectRetention; B2: writeFileRetentions)";
pub(super) const NO_RIGHT_TO_VERSIONS: &str = "the bucket keeps versions, and a delete without their ids would only \
    hide: give the access key the right to list and to delete them (B2: listFiles, deleteFiles; AWS: \
    s3:ListBucketVersions, s3:DeleteObjectVersion)";

/// Clocks that differ by more than this many seconds make a server refuse a signature (S3 allows 15 minutes).
const MOST_SKEW: i64 = 10 * 60;

/// Which limit was hit, by its name in the configuration.
pub(super) fn timed_out(which: Timeout, place: &Place) -> String {
    let Place { host, stall, request, .. } = place;
    match which {
        Timeout::PerRead => format!("`{host}` timed out: it sent no byte for {stall:?} (timeouts.stall)"),
        Timeout::PerWrite => format!("`{host}` timed out: it took no byte for {stall:?} (timeouts.stall)"),
        Timeout::PerCall | Timeout::Global => {
            format!("`{host}` timed out: it is too slow, not done after {request:?} (timeouts.request)")
        }
        which => format!("`{host}` timed out ({which})"),
    }
}

pub(super) fn tls_hint(error: &rustls::Error) -> Option<&'static str> {
    let rustls::Error::InvalidCertificate(error) = error else {
        let speaks_no_tls = matches!(error, rustls::Error::InvalidMessage(_));
        return speaks_no_tls
            .then_some("what answers there speaks no TLS: check the endpoint's port, or http://");
    };
    match error {
        CertificateError::UnknownIssuer => Some(
            "this host does not know who signed it: install ca-certificates, or name the authority by SSL_CERT_FILE",
        ),
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            Some("it is the certificate of another host: check endpoint")
        }
        CertificateError::Expired
        | CertificateError::ExpiredContext { .. }
        | CertificateError::NotValidYet
        | CertificateError::NotValidYetContext { .. } => {
            Some("check this host's clock, and renew the server's certificate")
        }
        _ => None,
    }
}

/// What to do about an answer that is no success.
pub(super) fn hint(
    code: Option<&str>,
    status: u16,
    message: &str,
    said: &Said,
    place: &Place,
) -> Option<String> {
    let Place { host, bucket, .. } = place;
    let is_skewed = said.clock_lead.is_some_and(|lead| lead.abs() > MOST_SKEW);
    if code == Some("RequestTimeTooSkewed") || (is_skewed && matches!(status, 401 | 403)) {
        return Some(clock_hint(said.clock_lead));
    }
    if said.is_page {
        return Some(PAGE.to_owned());
    }
    let message = message.to_ascii_lowercase();
    // B2 refuses by `AccessDenied` what a cap of the account forbids.
    if matches!(status, 400..=499) && message.contains("cap exceeded") {
        return Some("a cap of the account is reached: raise it, at B2 under Caps & Alerts".to_owned());
    }
    let hint = match (code, status) {
        (Some("InvalidAccessKeyId" | "SignatureDoesNotMatch"), _) => {
            "check access_key_id and secret_access_key".to_owned()
        }
        (Some("ExpiredToken" | "InvalidToken" | "TokenRefreshRequired"), _) => {
            "the access key has expired or was withdrawn: give a new one".to_owned()
        }
        (Some(BUCKET_LOCK_RULE), _) => {
            format!(
                "a bucket lock rule of bucket `{bucket}` holds it: wait until its time is over, or change the rule"
            )
        }
        (Some("NoSuchBucket"), _) => format!("bucket `{bucket}` does not exist at `{host}`"),
        (Some("AccessDenied" | "AllAccessDisabled"), _) | (None, 401 | 403) => {
            format!("the access key may not do this in bucket `{bucket}`")
        }
        (
            Some(
                "QuotaExceeded"
                | "InsufficientStorage"
                | "StorageCapExceeded"
                | "XMinioStorageFull"
                | "XMinioAdminBucketQuotaExceeded",
            ),
            _,
        )
        | (_, 507) => "the store is full or its quota is used up".to_owned(),
        (Some("EntityTooLarge"), _) => "the object is larger than the store takes".to_owned(),
        (Some("AuthorizationHeaderMalformed" | "PermanentRedirect" | "TemporaryRedirect"), _)
        | (None, 301 | 302 | 307 | 308) => "check endpoint and region".to_owned(),
        (Some("SlowDown" | "TooManyRequests"), _) | (_, 429) => {
            "the server asks for fewer requests: it kept refusing".to_owned()
        }
        _ => return None,
    };
    Some(hint)
}

fn clock_hint(lead: Option<i64>) -> String {
    match lead {
        Some(lead) if lead.abs() >= 60 => format!(
            "this host's clock is {} minutes {} the server's: set it",
            lead.abs() / 60,
            if lead > 0 { "behind" } else { "ahead of" }
        ),
        _ => "this host's clock and the server's differ too much: set this host's".to_owned(),
    }
}
