//! The manners of R2 and B2 that no server which runs here has.

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;

use super::http::{Request, Response, header, set_header};
use super::s3server::elements;
use super::sigv4::{Credentials, decode, encode, sign, strip, verify};

/// Whose manners the fault server shows.
#[derive(Debug)]
pub(crate) enum Manners {
    /// The server's own.
    Plain,
    /// Cloudflare R2: upload ids with `+`, `/` and `=`; all parts but the last of one size, be they sent
    /// or copied; no conditions on a copied part; no object lock; ids of versions in its answers, and no versions,
    /// so that a `versionId` changes nothing and there is no list of them.
    R2(R2),
    /// Backblaze B2: no checksum headers of the newer AWS libraries.
    B2,
}

/// What R2's manners remember: the sizes of each upload's parts.
#[derive(Debug, Default)]
pub(crate) struct R2 {
    uploads: Mutex<HashMap<String, BTreeMap<u32, usize>>>,
}

impl Manners {
    /// R2's manners, with no upload known yet.
    pub(crate) fn r2() -> Self {
        Self::R2(R2::default())
    }

    /// Looks at a request and may change it; an answer given back stands for the server's.
    pub(crate) fn check(&self, request: &mut Request, credentials: &Credentials) -> Option<Response> {
        match self {
            Self::Plain => None,
            Self::B2 => refuse_checksums(request),
            Self::R2(state) => state.check(request, credentials),
        }
    }

    /// Changes the head of an answer.
    pub(crate) fn dress(&self, request: &Request, headers: &mut Vec<(String, String)>) {
        if matches!(self, Self::R2(_)) && matches!(request.method.as_str(), "HEAD" | "PUT") {
            let etag = header(headers, "etag").map(|etag| etag.trim_matches('"').to_owned());
            if let Some(etag) = etag {
                set_header(headers, "x-amz-version-id", &format!("7e5{etag}"));
            }
        }
    }

    /// Whether an answer of the server has to be rewritten.
    pub(crate) fn rewrites(&self, request: &Request) -> bool {
        matches!(self, Self::R2(_)) && request.method != "HEAD" && request.query().contains("upload")
    }

    /// Puts R2's upload ids in the place of the server's.
    pub(crate) fn rewrite(response: &mut Response) {
        let mut text = String::from_utf8_lossy(&response.body).into_owned();
        for id in elements(&response.body, "UploadId") {
            text = text.replace(&id, &handed_out(&id));
        }
        response.body = text.into_bytes();
    }
}

fn refuse_checksums(request: &Request) -> Option<Response> {
    let refused = |name: &str| {
        let name = name.to_ascii_lowercase();
        name.starts_with("x-amz-checksum-")
            || name == "x-amz-sdk-checksum-algorithm"
            || name == "x-amz-trailer"
    };
    let name = request.headers.iter().map(|(name, _)| name).find(|name| refused(name))?;
    let message = format!("Unsupported header '{name}' received for this API call.");
    Some(Response::s3_error(400, "InvalidArgument", &message))
}

/// The id that stands for the server's own `id`.
fn handed_out(id: &str) -> String {
    format!("A+/{id}+/==")
}

/// The server's own id behind one that was handed out.
fn behind(id: &str) -> Option<&str> {
    id.strip_prefix("A+/")?.strip_suffix("+/==")
}

impl R2 {
    fn check(&self, request: &mut Request, credentials: &Credentials) -> Option<Response> {
        if let Err(code) = verify(request, credentials) {
            return Some(Response::s3_error(403, &code, "the signature does not fit the request"));
        }
        strip(request);
        if request.raw_parameter("versions").is_some() {
            return Some(Response::s3_error(501, "NotImplemented", "ListObjectVersions not implemented"));
        }
        let lock = request.headers.iter().find(|(name, _)| name.starts_with("x-amz-object-lock-"));
        if let Some((name, value)) = lock {
            let message = format!("Header '{name}' with value '{value}' not implemented");
            return Some(Response::s3_error(501, "NotImplemented", &message));
        }
        if request.raw_parameter("versionId").is_some() {
            request.target = request.path().to_owned();
        }
        if let Some(raw) = request.raw_parameter("uploadId").map(str::to_owned) {
            let Some(id) = behind(&decode(&raw)).map(str::to_owned) else {
                return Some(Response::s3_error(
                    404,
                    "NoSuchUpload",
                    "The specified multipart upload does not exist.",
                ));
            };
            if let Some(refusal) = self.check_part(request, &id) {
                return Some(refusal);
            }
            request.target = request.target.replace(&raw, &encode(&id));
        }
        sign(request, credentials);
        None
    }

    fn check_part(&self, request: &Request, id: &str) -> Option<Response> {
        let mut uploads = self.uploads.lock().unwrap();
        if let (Some(number), "PUT") = (request.raw_parameter("partNumber"), request.method.as_str()) {
            let condition =
                request.headers.iter().find(|(name, _)| name.starts_with("x-amz-copy-source-if-"));
            if let Some((name, value)) = condition {
                let message = format!("Header '{name}' with value '{value}' not implemented");
                return Some(Response::s3_error(501, "NotImplemented", &message));
            }
            let size = copied_size(request).unwrap_or(request.body.len());
            uploads.entry(id.to_owned()).or_default().insert(number.parse().unwrap(), size);
        }
        if request.method == "POST" {
            let sizes: Vec<usize> = uploads.get(id)?.values().copied().collect();
            let (last, others) = sizes.split_last()?;
            if others.iter().any(|size| size != &others[0]) || others.first().is_some_and(|size| last > size)
            {
                let message = "All non-trailing parts must have the same length.";
                return Some(Response::s3_error(400, "InvalidPart", message));
            }
        }
        None
    }
}

/// The size of a part that is copied, by its range.
fn copied_size(request: &Request) -> Option<usize> {
    let range = header(&request.headers, "x-amz-copy-source-range")?;
    let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
    Some(last.parse::<usize>().ok()? + 1 - first.parse::<usize>().ok()?)
}
