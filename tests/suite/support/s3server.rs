//! Two real S3 servers (`SeaweedFS`), shared by the tests of a run, and a client of the tests' own for them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use super::cluster::unique;
use super::http::{Request, Response, header, set_header};
use super::sigv4::{Credentials, encode, encode_path, sign};
use super::tools::{finish, free_port, wait_until, weed};
use super::watchdog::Watched;

/// A running S3 server.
#[derive(Debug)]
pub(crate) struct Server {
    /// Host and port.
    pub(crate) address: String,
    pub(crate) credentials: Credentials,
    /// Its port for TLS, with a certificate for `localhost`.
    pub(crate) tls_port: u16,
    /// The certificate of the authority that signed it.
    pub(crate) authority: PathBuf,
    _watched: Watched,
}

/// The server that plays Cloudflare R2.
pub(crate) fn r2() -> &'static Server {
    static SHARED: OnceLock<Server> = OnceLock::new();
    SHARED.get_or_init(|| Server::start("r2"))
}

/// The server that plays Backblaze B2.
pub(crate) fn b2() -> &'static Server {
    static SHARED: OnceLock<Server> = OnceLock::new();
    SHARED.get_or_init(|| Server::start("b2"))
}

/// Makes an authority of the test's own, and a certificate for `localhost` that it signed.
pub(crate) fn make_certificate(folder: &Path) {
    let openssl = |arguments: &str| {
        finish(Command::new("openssl").current_dir(folder).args(arguments.split(' ')));
    };
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    openssl(&format!(
        "req -x509 {key} -days 30 -subj /CN=authority -keyout authority.key -out authority.crt"
    ));
    openssl(&format!("req -new {key} -subj /CN=localhost -keyout server.key -out server.csr"));
    std::fs::write(folder.join("extensions"), "subjectAltName=DNS:localhost\n").unwrap();
    openssl(
        "x509 -req -in server.csr -CA authority.crt -CAkey authority.key -CAcreateserial -days 30 \
         -extfile extensions -out server.crt",
    );
}

impl Server {
    fn start(name: &str) -> Self {
        let credentials = Credentials {
            access_key_id: format!("{name}ACCESSKEY"),
            secret: format!("{name}/S3cr3t+of/the+tests=="),
        };
        for _ in 0..5 {
            if let Some(server) = Self::try_start(&credentials) {
                return server;
            }
        }
        panic!("the S3 server `{name}` did not start in five tries");
    }

    fn try_start(credentials: &Credentials) -> Option<Self> {
        let folder = tempfile::Builder::new().prefix("pgkeep-s3").tempdir().unwrap().keep();
        let mut command = Command::new(weed());
        command.arg(format!("-logdir={}", folder.display())).arg("mini");
        command.arg(format!("-dir={}", folder.join("data").display()));
        std::fs::create_dir(folder.join("data")).unwrap();
        let port = free_port();
        command.args(["-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-admin.ui=false", "-webdav=false"]);
        command.args(["-s3.port.iceberg=0", "-s3.port.lance=0", "-s3.autoCreateBucket=false"]);
        command.arg(format!("-s3.port={port}")).arg(format!("-s3.port.grpc={}", free_port()));
        for part in ["master", "volume", "filer", "admin"] {
            command.arg(format!("-{part}.port={}", free_port()));
            command.arg(format!("-{part}.port.grpc={}", free_port()));
        }
        make_certificate(&folder);
        let tls_port = free_port();
        command.arg(format!("-s3.port.https={tls_port}"));
        command.arg(format!("-s3.cert.file={}", folder.join("server.crt").display()));
        command.arg(format!("-s3.key.file={}", folder.join("server.key").display()));
        // Each bucket takes volumes of its own: small ones, one at a time, and as many as the tests want.
        command.args(["-master.volumeSizeLimitMB=64", "-volume.max=10000"]);
        command.env("WEED_MASTER_VOLUME_GROWTH_COPY_1", "1");
        command.env("AWS_ACCESS_KEY_ID", &credentials.access_key_id);
        command.env("AWS_SECRET_ACCESS_KEY", &credentials.secret);
        let watched = Watched::start(&command, "KILL", &folder);
        let server = Self {
            address: format!("127.0.0.1:{port}"),
            credentials: credentials.clone(),
            tls_port,
            authority: folder.join("authority.crt"),
            _watched: watched,
        };
        let mut outcome = None;
        wait_until("the S3 server creates a bucket", || {
            let log = std::fs::read_to_string(folder.join("log")).unwrap_or_default();
            if log.contains("address already in use") {
                outcome = Some(false);
            } else if server.request("PUT", "/readiness", Vec::new()).is_ok_and(|answer| answer.status == 200)
            {
                let written = server.request("PUT", "/readiness/probe", b"probe".to_vec());
                outcome = written.is_ok_and(|answer| answer.status == 200).then_some(true);
            }
            outcome.is_some()
        });
        outcome.filter(|ready| *ready).map(|_| server)
    }

    fn request(&self, method: &str, target: &str, body: Vec<u8>) -> std::io::Result<Response> {
        self.request_with(method, target, &[], body)
    }

    fn request_with(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> std::io::Result<Response> {
        let mut request = Request::new(method, target);
        request.body = body;
        for (name, value) in headers {
            set_header(&mut request.headers, name, value);
        }
        set_header(&mut request.headers, "Host", &self.address);
        sign(&mut request, &self.credentials);
        request.exchange(&self.address)
    }

    /// Creates a bucket under a name of its own.
    pub(crate) fn bucket(&'static self) -> Bucket {
        let bucket = Bucket { server: self, name: unique("bucket-") };
        bucket.ask("PUT", "", Vec::new());
        bucket
    }

    /// Creates one that locks objects, and so keeps versions.
    pub(crate) fn locking_bucket(&'static self) -> Bucket {
        let bucket = Bucket { server: self, name: unique("bucket-") };
        let answer = bucket.send("PUT", "", &[("x-amz-bucket-object-lock-enabled", "true")], Vec::new());
        assert_eq!(answer.status, 200, "{answer:?}");
        bucket
    }
}

/// A bucket, and the tests' own way to look into it.
#[derive(Clone, Debug)]
pub(crate) struct Bucket {
    pub(crate) server: &'static Server,
    pub(crate) name: String,
}

/// An upload that was begun and neither completed nor aborted.
#[derive(Debug)]
pub(crate) struct PendingUpload {
    pub(crate) key: String,
    pub(crate) upload_id: String,
}

impl Bucket {
    /// `target` follows the bucket's name: a key with its slash, or a query.
    fn try_ask(&self, method: &str, target: &str, body: Vec<u8>) -> Response {
        let target = format!("/{}{target}", self.name);
        self.server
            .request(method, &target, body)
            .unwrap_or_else(|error| panic!("{method} {target}: {error}"))
    }

    fn ask(&self, method: &str, target: &str, body: Vec<u8>) -> Vec<u8> {
        let answer = self.try_ask(method, target, body);
        let text = String::from_utf8_lossy(&answer.body);
        assert!((200..300).contains(&answer.status), "{method} {target}: {} {text}", answer.status);
        answer.body
    }

    /// A request with headers of the test's own, and its answer, whatever that is.
    pub(crate) fn send(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Response {
        let target = format!("/{}{target}", self.name);
        self.server
            .request_with(method, &target, headers, body)
            .unwrap_or_else(|error| panic!("{method} {target}: {error}"))
    }

    /// Removes a version by its id, as an administrator who gets around a lock of governance.
    pub(crate) fn force_version(&self, key: &str, version: &str) {
        let target = format!("/{}?versionId={}", encode_path(key), encode(version));
        let answer = self.send("DELETE", &target, &[("x-amz-bypass-governance-retention", "true")], vec![]);
        assert_eq!(answer.status, 204, "{answer:?}");
    }

    /// Puts a legal hold on an object, or takes it off.
    pub(crate) fn hold(&self, key: &str, state: &str) {
        let namespace = "http://s3.amazonaws.com/doc/2006-03-01/";
        let document = format!("<LegalHold xmlns=\"{namespace}\"><Status>{state}</Status></LegalHold>");
        self.ask("PUT", &format!("/{}?legal-hold=", encode_path(key)), document.into_bytes());
    }

    /// The mode and the end of an object's lock.
    pub(crate) fn lock(&self, key: &str) -> Option<(String, String)> {
        let answer = self.send("HEAD", &format!("/{}", encode_path(key)), &[], Vec::new());
        assert_eq!(answer.status, 200, "{key}: {answer:?}");
        let value = |name: &str| header(&answer.headers, name).map(str::to_owned);
        Some((value("x-amz-object-lock-mode")?, value("x-amz-object-lock-retain-until-date")?))
    }

    /// An object's bytes; it must be there.
    pub(crate) fn get(&self, key: &str) -> Vec<u8> {
        self.ask("GET", &format!("/{}", encode_path(key)), Vec::new())
    }

    /// Writes an object.
    pub(crate) fn put(&self, key: &str, bytes: &[u8]) {
        self.ask("PUT", &format!("/{}", encode_path(key)), bytes.to_vec());
    }

    /// Has the bucket keep versions (`Enabled`), or keep no more of them (`Suspended`).
    pub(crate) fn set_versions(&self, status: &str) {
        let namespace = "http://s3.amazonaws.com/doc/2006-03-01/";
        let document = format!(
            "<VersioningConfiguration xmlns=\"{namespace}\"><Status>{status}</Status></VersioningConfiguration>"
        );
        self.ask("PUT", "?versioning=", document.into_bytes());
    }

    /// The ids of all versions of an object, be they hidden or marks of a removal.
    pub(crate) fn versions(&self, key: &str) -> Vec<String> {
        let answer = self.ask("GET", &format!("?versions=&prefix={}", encode(key)), Vec::new());
        elements(&answer, "VersionId")
    }

    /// Removes an object.
    pub(crate) fn delete(&self, key: &str) {
        self.ask("DELETE", &format!("/{}", encode_path(key)), Vec::new());
    }

    /// All keys, in order.
    pub(crate) fn keys(&self) -> Vec<String> {
        let answer = self.ask("GET", "?list-type=2&max-keys=1000&prefix=", Vec::new());
        let mut keys = elements(&answer, "Key");
        keys.sort();
        keys
    }

    /// Removes the bucket and all that is in it, as far as the server still answers.
    pub(crate) fn remove(&self) {
        self.server.request("DELETE", &format!("/{}", self.name), Vec::new()).ok();
    }

    /// The multipart uploads that are still open.
    pub(crate) fn uploads(&self) -> Vec<PendingUpload> {
        let answer = self.ask("GET", "?uploads=&prefix=", Vec::new());
        let ids = elements(&answer, "UploadId");
        let keys = elements(&answer, "Key");
        keys.into_iter().zip(ids).map(|(key, upload_id)| PendingUpload { key, upload_id }).collect()
    }

    /// Begins an upload and leaves it open; gives its id.
    pub(crate) fn begin_upload(&self, key: &str) -> String {
        let answer = self.ask("POST", &format!("/{}?uploads=", encode_path(key)), Vec::new());
        let id = elements(&answer, "UploadId").pop().expect("an upload id");
        let target = format!("/{}?partNumber=1&uploadId={}", encode_path(key), encode(&id));
        self.ask("PUT", &target, vec![7; 5 << 20]);
        id
    }
}

/// The texts of all elements of a name, in order.
pub(crate) fn elements(xml: &[u8], name: &str) -> Vec<String> {
    let text = String::from_utf8_lossy(xml);
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    text.split(&open)
        .skip(1)
        .filter_map(|rest| rest.split(&close).next())
        .map(|value| {
            let value = value.replace("&#34;", "\"").replace("&quot;", "\"").replace("&lt;", "<");
            value.replace("&gt;", ">").replace("&#39;", "'").replace("&amp;", "&")
        })
        .collect()
}
