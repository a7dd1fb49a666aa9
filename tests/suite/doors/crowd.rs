//! A server in front of a real one, whose bucket somebody filled with names: its lists have as many as a test says, behind
//! what is really there. It keeps none of them.

use std::io::{BufReader, ErrorKind, Result, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::support::http::{Head, Request, Response, read_body, set_header};
use crate::support::s3server::Server;

const PAGE: usize = 1000;
/// When all of them were written.
const WRITTEN: &str = "2026-01-02T03:04:05.000Z";

/// A running one; it ends when it is dropped.
pub(super) struct Crowd {
    /// Host and port to put in a store's endpoint.
    pub(super) address: String,
    ended: Arc<AtomicBool>,
}

/// The names that are listed.
pub(super) struct Names {
    pub(super) count: usize,
    /// So many of them stand on a page.
    pub(super) page: usize,
    pub(super) of: fn(usize) -> String,
    /// Whether they are those of unfinished uploads.
    pub(super) are_uploads: bool,
}

impl Names {
    pub(super) fn new(count: usize, of: fn(usize) -> String) -> Self {
        Self { count, page: PAGE, of, are_uploads: false }
    }
}

impl Crowd {
    pub(super) fn start(behind: &'static Server, names: Names) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (names, ended) = (Arc::new(names), Arc::new(AtomicBool::new(false)));
        let has_ended = Arc::clone(&ended);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if has_ended.load(Ordering::SeqCst) {
                    break;
                }
                let names = Arc::clone(&names);
                // A connection that breaks is the client's trouble.
                std::thread::spawn(move || names.serve(&stream, behind).ok());
            }
        });
        Self { address, ended }
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        TcpStream::connect(&self.address).ok();
    }
}

impl Names {
    fn serve(&self, mut stream: &TcpStream, behind: &Server) -> Result<()> {
        let mut reader = BufReader::new(stream);
        let Some(head) = Head::read(&mut reader)? else { return Ok(()) };
        if crate::support::http::header(&head.headers, "expect").is_some() {
            stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        let headers = head.headers.clone();
        let mut request = Request::from_head(head, Vec::new())?;
        request.body = read_body(&mut reader, &headers, false)?;
        let is_list = request.method == "GET" && request.query().contains("list-type=2");
        let is_list_of_uploads = request.method == "GET" && request.raw_parameter("uploads").is_some();
        if is_list && !self.are_uploads {
            return stream.write_all(&self.objects(&request, behind)?.to_bytes());
        }
        if is_list_of_uploads && self.are_uploads {
            return stream.write_all(&Response::new(200, &self.uploads(&request)).to_bytes());
        }
        let mut server = request.send(&behind.address)?;
        let mut head = Head::read(&mut server)?.ok_or(ErrorKind::UnexpectedEof)?;
        set_header(&mut head.headers, "Connection", "close");
        stream.write_all(&head.to_bytes())?;
        std::io::copy(&mut server, &mut stream).map(drop)
    }

    /// What is asked for of the names: from where, and to where.
    fn asked(&self, request: &Request, marker: &str) -> Option<std::ops::Range<usize>> {
        let prefix = request.raw_parameter("prefix").unwrap_or_default();
        let prefix = percent_encoding::percent_decode_str(prefix).decode_utf8_lossy().into_owned();
        let start = request.raw_parameter(marker).and_then(|token| token.parse().ok());
        let start: usize = start.unwrap_or(0);
        let is_meant = (self.of)(0).starts_with(&prefix);
        is_meant.then(|| start..self.count.min(start + self.page))
    }

    /// What is really there comes first, and then page after page of the names.
    fn objects(&self, request: &Request, behind: &Server) -> Result<Response> {
        let Some(range) = self.asked(request, "continuation-token") else {
            return request.exchange(&behind.address);
        };
        if request.raw_parameter("continuation-token").is_none() {
            let mut first = request.exchange(&behind.address)?;
            let text = String::from_utf8(first.body).map_err(|_| ErrorKind::InvalidData)?;
            let more = "<IsTruncated>true</IsTruncated><NextContinuationToken>0</NextContinuationToken>";
            first.body = text.replace("<IsTruncated>false</IsTruncated>", more).into_bytes();
            return Ok(first);
        }
        let content = |number| {
            let key = (self.of)(number);
            format!(
                "<Contents><Key>{key}</Key><LastModified>{WRITTEN}</LastModified><Size>1</Size></Contents>"
            )
        };
        let contents = range.clone().map(content).collect::<Vec<_>>().concat();
        let rest = if range.end < self.count {
            format!(
                "<IsTruncated>true</IsTruncated><NextContinuationToken>{}</NextContinuationToken>",
                range.end
            )
        } else {
            "<IsTruncated>false</IsTruncated>".to_owned()
        };
        Ok(Response::new(200, &format!("<ListBucketResult>{rest}{contents}</ListBucketResult>")))
    }

    fn uploads(&self, request: &Request) -> String {
        let range = self.asked(request, "upload-id-marker").unwrap_or(0..0);
        let upload = |number| {
            let key = (self.of)(number);
            format!(
                "<Upload><Key>{key}</Key><UploadId>{number}</UploadId><Initiated>{WRITTEN}</Initiated></Upload>"
            )
        };
        let uploads = range.clone().map(upload).collect::<Vec<_>>().concat();
        let rest = if !range.is_empty() && range.end < self.count {
            format!(
                "<IsTruncated>true</IsTruncated><NextKeyMarker>k</NextKeyMarker>\
                 <NextUploadIdMarker>{}</NextUploadIdMarker>",
                range.end
            )
        } else {
            String::new()
        };
        format!("<ListMultipartUploadsResult>{rest}{uploads}</ListMultipartUploadsResult>")
    }
}
