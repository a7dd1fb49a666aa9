//! Sends S3 requests: signed by rust-s3, carried by one pooled HTTP agent with time limits, errors
//! read in one place. One call is one attempt; it must not know of retries, uploads or artifacts.

use std::collections::HashMap;
use std::io::Read;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use s3::command::Command;
use s3::creds::Credentials;
use s3::request::Request as _;
use s3::request::blocking::AttoRequest;
use s3::{Bucket, Region};
use ureq::http::header::{CONTENT_LENGTH, DATE, EXPECT, HeaderName, HeaderValue};
use ureq::http::{self, HeaderMap, Response};
use ureq::{Agent, Body, SendBody};

use crate::https;
use crate::interrupt::Interrupt;

use super::S3Options;
use super::address::{self, PartAddress};
use super::answer;
use super::bounded::bounded;
use super::error::S3Error;
use super::lock::{self, Lock};
use super::place::Place;

/// The sender of all requests of one store.
pub(super) struct Client {
    bucket: Bucket,
    agent: Agent,
    pub(super) place: Place,
    /// A limit for each request, in place of the store's.
    time_limit: Option<Duration>,
}

/// What a request has beyond the S3 command itself.
#[derive(Default)]
pub(super) struct Extras {
    /// Headers that are sent along without being signed.
    pub(super) headers: Vec<(HeaderName, String)>,
    /// The lock that the object shall have.
    pub(super) lock: Option<Lock>,
}

impl Client {
    pub(super) fn new(options: &S3Options, interrupt: Interrupt) -> Result<Self> {
        let endpoint = endpoint_of(&options.endpoint)?;
        ensure!(!options.bucket.is_empty(), "the bucket has no name");
        let credentials = Credentials::new(
            Some(&options.access_key_id),
            Some(&options.secret_access_key),
            None,
            None,
            None,
        )
        .context("the credentials can't be used")?;
        let region = Region::Custom { region: options.region.clone(), endpoint: endpoint.clone() };
        let mut bucket = *Bucket::new(&options.bucket, region, credentials)
            .with_context(|| format!("bucket `{}` can't be used", options.bucket))?;
        if options.path_style {
            bucket.set_path_style();
        }
        let agent = agent_of(options, &endpoint)?;
        let place = Place {
            host: bucket.host(),
            bucket: options.bucket.clone(),
            stall: options.stall_timeout,
            request: options.request_timeout,
            interrupt,
            is_cleanup: false,
        };
        Ok(Self { bucket, agent, place, time_limit: None })
    }

    /// The same over the same connections, for cleaning up: each request is short, and an interrupt leaves it
    /// some time.
    pub(super) fn for_cleanup(&self, time_limit: Duration) -> Self {
        let place = Place { request: time_limit, is_cleanup: true, ..self.place.clone() };
        let (bucket, agent) = (self.bucket.clone(), self.agent.clone());
        Self { bucket, agent, place, time_limit: Some(time_limit) }
    }

    /// Signs and sends a command and gives the answer, if it is a success.
    pub(super) fn send(
        &self,
        operation: &str,
        path: &str,
        command: Command<'_>,
        extras: Extras,
    ) -> Result<Response<Body>, S3Error> {
        let unsignable = |_| S3Error::refused(operation, "the request can't be signed");
        let has_body = matches!(
            command,
            Command::PutObject { .. }
                | Command::InitiateMultipartUpload { .. }
                | Command::CompleteMultipartUpload { .. }
        );
        let method = command.http_verb().to_string();
        // The signer takes off one leading slash.
        let path = format!("/{path}");
        let locking;
        let bucket = match extras.lock {
            None => &self.bucket,
            Some(lock) => {
                locking = self.locking(operation, &lock)?;
                &locking
            }
        };
        let request = AttoRequest::new(bucket, &path, command).map_err(unsignable)?;
        let mut headers = request.headers().map_err(unsignable)?;
        headers.remove(DATE);
        let url = tidy_query(request.url().map_err(unsignable)?.as_str());
        for (name, value) in extras.headers {
            headers.insert(name, header_value(operation, &value)?);
        }
        let body = request.request_body().map_err(unsignable)?;
        let body = if has_body { Outgoing::Bytes(body.clone()) } else { Outgoing::Nothing };
        let outcome = self.carry(operation, &method, &url, headers, body);
        match extras.lock {
            None => outcome,
            Some(_) => outcome.map_err(lock::explain),
        }
    }

    /// The bucket, with the headers that lock what is written, which must be signed.
    fn locking(&self, operation: &str, lock: &Lock) -> Result<Bucket, S3Error> {
        let mut headers = HeaderMap::new();
        for (name, value) in lock.headers() {
            headers.insert(name, header_value(operation, &value)?);
        }
        self.bucket
            .with_extra_headers(headers)
            .map_err(|_| S3Error::refused(operation, "the request can't be signed"))
    }

    /// Sends one part of a multipart upload. The payload is not signed: TLS and its MD5 guard it.
    pub(super) fn send_part(
        &self,
        operation: &str,
        path: &str,
        part: &OutgoingPart<'_>,
        body: impl Read + Send + 'static,
    ) -> Result<Response<Body>, S3Error> {
        let mut headers = HeaderMap::new();
        let md5 = header_value(operation, part.content_md5)?;
        headers.insert(HeaderName::from_static("content-md5"), md5);
        let url = part.address.url(&self.bucket, operation, path, &headers)?;
        let length = header_value(operation, &part.size_bytes.to_string())?;
        headers.insert(CONTENT_LENGTH, length);
        if part.asks_first {
            headers.insert(EXPECT, HeaderValue::from_static("100-continue"));
        }
        self.carry(operation, "PUT", &url, headers, Outgoing::Stream(Box::new(body)))
    }

    /// Has the server make one part of a multipart upload of bytes that the bucket holds already.
    pub(super) fn copy_part(
        &self,
        operation: &str,
        path: &str,
        address: PartAddress<'_>,
        from: &CopySource<'_>,
    ) -> Result<Response<Body>, S3Error> {
        let key: Vec<String> = from.path.split('/').map(query_value).collect();
        let source = format!("{}/{}", query_value(&self.bucket.name()), key.join("/"));
        let range = format!("bytes={}-{}", from.first, from.last);
        let mut headers = HeaderMap::new();
        headers.insert(HeaderName::from_static("x-amz-copy-source"), header_value(operation, &source)?);
        headers.insert(HeaderName::from_static("x-amz-copy-source-range"), header_value(operation, &range)?);
        if let Some(etag) = from.if_match {
            let value = header_value(operation, &format!("\"{etag}\""))?;
            headers.insert(HeaderName::from_static("x-amz-copy-source-if-match"), value);
        }
        let url = address.url(&self.bucket, operation, path, &headers)?;
        self.carry(operation, "PUT", &url, headers, Outgoing::Bytes(Vec::new()))
    }

    /// Asks for one version of an object (`HEAD`), or deletes it for good (`DELETE`).
    pub(super) fn send_version(
        &self,
        operation: &str,
        method: &str,
        path: &str,
        version: &str,
    ) -> Result<Response<Body>, S3Error> {
        let queries = HashMap::from([("versionId".to_owned(), version.to_owned())]);
        self.send_query(operation, method, path, &queries)
    }

    /// Sends a request without a body that has queries.
    pub(super) fn send_query(
        &self,
        operation: &str,
        method: &str,
        path: &str,
        queries: &HashMap<String, String>,
    ) -> Result<Response<Body>, S3Error> {
        let url = address::with_queries(&self.bucket, operation, method, path, queries)?;
        self.carry(operation, method, &url, HeaderMap::new(), Outgoing::Nothing)
    }

    fn carry(
        &self,
        operation: &str,
        method: &str,
        url: &str,
        headers: HeaderMap,
        body: Outgoing,
    ) -> Result<Response<Body>, S3Error> {
        let mut request = http::Request::builder()
            .method(method)
            .uri(url)
            .body(())
            .map_err(|error| S3Error::from_transport(operation, error.into(), &self.place))?;
        *request.headers_mut() = headers;
        let (agent, time_limit) = (self.agent.clone(), self.time_limit);
        let send = move || match body {
            Outgoing::Nothing => run(&agent, request, time_limit),
            Outgoing::Bytes(bytes) => run(&agent, request.map(|()| bytes.as_slice()), time_limit),
            Outgoing::Stream(body) => {
                run(&agent, request.map(|()| SendBody::from_owned_reader(body)), time_limit)
            }
        };
        let answer = bounded(operation, &self.place, send)?
            .map_err(|error| S3Error::from_transport(operation, error, &self.place))?;
        if answer.status().is_success() && !answer::is_page(&answer) {
            return Ok(answer);
        }
        Err(answer::refusal(operation, answer, &self.place))
    }
}

/// What goes out with a request.
enum Outgoing {
    Nothing,
    Bytes(Vec<u8>),
    Stream(Box<dyn Read + Send>),
}

fn run(
    agent: &Agent,
    request: http::Request<impl ureq::AsSendBody>,
    time_limit: Option<Duration>,
) -> Result<Response<Body>, ureq::Error> {
    let Some(limit) = time_limit else { return agent.run(request) };
    let request = agent
        .configure_request(request)
        .timeout_per_call(Some(limit))
        .timeout_connect(Some(limit / 2))
        .build();
    agent.run(request)
}

/// A part whose bytes go out from here.
pub(super) struct OutgoingPart<'a> {
    pub(super) address: PartAddress<'a>,
    pub(super) size_bytes: u64,
    /// Base64 of the MD5.
    pub(super) content_md5: &'a str,
    /// Whether to let the server refuse before the bytes are sent: a refusal that comes while they
    /// are is lost with the connection that it breaks.
    pub(super) asks_first: bool,
}

/// Bytes of an object of the same bucket.
pub(super) struct CopySource<'a> {
    pub(super) path: &'a str,
    pub(super) first: u64,
    pub(super) last: u64,
    /// The entity tag that the object must have.
    pub(super) if_match: Option<&'a str>,
}

/// A value of a query, encoded as AWS signs it (RFC 3986: everything but the unreserved characters).
pub(super) fn query_value(value: &str) -> String {
    const RESERVED: &percent_encoding::AsciiSet =
        &percent_encoding::NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    percent_encoding::utf8_percent_encode(value, RESERVED).to_string()
}

fn header_value(operation: &str, value: &str) -> Result<HeaderValue, S3Error> {
    HeaderValue::from_str(value)
        .map_err(|_| S3Error::refused(operation, "a value does not fit into an HTTP header"))
}

/// rust-s3 writes a space in a query as `+`, which S3 signs as `%20`; a plus sign is `%2B` by then.
fn tidy_query(url: &str) -> String {
    match url.split_once('?') {
        Some((address, query)) => format!("{address}?{}", query.replace('+', "%20")),
        None => url.to_owned(),
    }
}

fn endpoint_of(endpoint: &str) -> Result<String> {
    let endpoint = endpoint.trim().trim_end_matches('/');
    let with_scheme = match endpoint.split_once("://") {
        Some(("http" | "https", _)) => endpoint.to_owned(),
        Some((scheme, _)) => return Err(anyhow!("`{scheme}` is not a scheme of an S3 endpoint")),
        None => format!("https://{endpoint}"),
    };
    // A port that goes without saying is left out of the Host header by some and signed by others.
    let bare = with_scheme
        .strip_suffix(":443")
        .filter(|bare| bare.starts_with("https://"))
        .or_else(|| with_scheme.strip_suffix(":80").filter(|bare| bare.starts_with("http://")))
        .unwrap_or(&with_scheme);
    let host = bare.split_once("://").map_or("", |(_, host)| host);
    ensure!(
        !host.is_empty() && !host.contains(['@', '?', '#', ' ']),
        "the endpoint is not of the form `https://host`"
    );
    Ok(bare.to_owned())
}

fn agent_of(options: &S3Options, endpoint: &str) -> Result<Agent> {
    let is_tls = endpoint.starts_with("https://");
    let host = endpoint.split('/').nth(2).unwrap_or_default();
    let mut config = Agent::config_builder()
        .proxy(https::proxy_to(host, is_tls)?)
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .user_agent(concat!("pgkeep/", env!("CARGO_PKG_VERSION")))
        .timeout_resolve(Some(options.connect_timeout))
        .timeout_connect(Some(options.connect_timeout))
        .timeout_per_call(Some(options.request_timeout))
        .timeout_per_read(Some(options.stall_timeout))
        .timeout_per_write(Some(options.stall_timeout))
        .max_idle_connections_per_host(options.parts_in_flight.saturating_add(1));
    if is_tls {
        config = config.tls_config(https::tls_config()?);
    }
    Ok(config.build().new_agent())
}
