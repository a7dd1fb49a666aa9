//! As much of HTTP/1.1 as the tests' S3 client and the fault server need: one exchange for each connection.

use std::io::{BufRead, BufReader, Error, ErrorKind, Read, Result, Write};
use std::net::TcpStream;

/// A request, as read or to be sent.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// Path and query, encoded as on the wire.
    pub(crate) target: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

/// A response, its body decoded.
#[derive(Clone, Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

/// The first line and the headers of a message.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    pub(crate) first_line: String,
    pub(crate) headers: Vec<(String, String)>,
}

/// The value of a header, whatever the case of its name.
pub(crate) fn header<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
}

/// Sets a header, over any of the same name.
pub(crate) fn set_header(headers: &mut Vec<(String, String)>, name: &str, value: &str) {
    headers.retain(|(key, _)| !key.eq_ignore_ascii_case(name));
    headers.push((name.to_owned(), value.to_owned()));
}

impl Head {
    /// Reads up to the empty line; `None` when the peer closed before the first byte.
    pub(crate) fn read(reader: &mut impl BufRead) -> Result<Option<Self>> {
        let first_line = read_line(reader)?;
        if first_line.is_empty() {
            return Ok(None);
        }
        let mut headers = Vec::new();
        loop {
            let line = read_line(reader)?;
            if line.is_empty() {
                return Ok(Some(Self { first_line, headers }));
            }
            let (name, value) = line.split_once(':').ok_or(ErrorKind::InvalidData)?;
            headers.push((name.to_owned(), value.trim().to_owned()));
        }
    }

    /// The bytes on the wire.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut text = format!("{}\r\n", self.first_line);
        for (name, value) in &self.headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str("\r\n");
        text.into_bytes()
    }
}

fn read_line(reader: &mut impl BufRead) -> Result<String> {
    let mut line = Vec::new();
    reader.take(64 << 10).read_until(b'\n', &mut line)?;
    while line.last().is_some_and(|byte| *byte == b'\r' || *byte == b'\n') {
        line.pop();
    }
    String::from_utf8(line).map_err(|error| Error::new(ErrorKind::InvalidData, error))
}

/// Reads the body that `headers` announce. `to_end`: a response without a length goes on to the end.
pub(crate) fn read_body(
    reader: &mut impl BufRead,
    headers: &[(String, String)],
    to_end: bool,
) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    if header(headers, "transfer-encoding").is_some_and(|value| value.contains("chunked")) {
        loop {
            let line = read_line(reader)?;
            let digits = line.split(';').next().unwrap_or_default().trim();
            let size = usize::from_str_radix(digits, 16).map_err(|_| ErrorKind::InvalidData)?;
            let start = body.len();
            body.resize(start + size, 0);
            reader.read_exact(&mut body[start..])?;
            read_line(reader)?;
            if size == 0 {
                return Ok(body);
            }
        }
    } else if let Some(size) = header(headers, "content-length") {
        body.resize(size.parse().map_err(|_| ErrorKind::InvalidData)?, 0);
        reader.read_exact(&mut body)?;
    } else if to_end {
        reader.read_to_end(&mut body)?;
    }
    Ok(body)
}

impl Request {
    /// A request without a body; the headers `Host` and `Content-Length` are added when it is sent.
    pub(crate) fn new(method: &str, target: &str) -> Self {
        Self { method: method.to_owned(), target: target.to_owned(), headers: Vec::new(), body: Vec::new() }
    }

    pub(crate) fn from_head(head: Head, body: Vec<u8>) -> Result<Self> {
        let mut words = head.first_line.split(' ');
        let (Some(method), Some(target)) = (words.next(), words.next()) else {
            return Err(ErrorKind::InvalidData.into());
        };
        Ok(Self { method: method.to_owned(), target: target.to_owned(), headers: head.headers, body })
    }

    /// The path, encoded.
    pub(crate) fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// The query, encoded, without the question mark.
    pub(crate) fn query(&self) -> &str {
        self.target.split_once('?').map_or("", |(_, query)| query)
    }

    /// The value of a query parameter, as it stands on the wire.
    pub(crate) fn raw_parameter(&self, name: &str) -> Option<&str> {
        self.query().split('&').find_map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (key == name).then_some(value)
        })
    }

    /// Sends the request and leaves the connection ready to read the response from.
    pub(crate) fn send(&self, address: &str) -> Result<BufReader<TcpStream>> {
        let mut stream = TcpStream::connect(address)?;
        let mut headers = self.headers.clone();
        set_header(&mut headers, "Connection", "close");
        if header(&headers, "host").is_none() {
            set_header(&mut headers, "Host", address);
        }
        headers.retain(|(name, _)| {
            !name.eq_ignore_ascii_case("transfer-encoding") && !name.eq_ignore_ascii_case("expect")
        });
        set_header(&mut headers, "Content-Length", &self.body.len().to_string());
        let head = Head { first_line: format!("{} {} HTTP/1.1", self.method, self.target), headers };
        stream.write_all(&head.to_bytes())?;
        // A server that refuses early closes before it read all: its answer still counts.
        stream.write_all(&self.body).ok();
        Ok(BufReader::new(stream))
    }

    /// Sends the request and reads the whole response.
    pub(crate) fn exchange(&self, address: &str) -> Result<Response> {
        let mut reader = self.send(address)?;
        let head = Head::read(&mut reader)?.ok_or(ErrorKind::UnexpectedEof)?;
        Response::read_rest(head, &mut reader, &self.method)
    }
}

impl Response {
    /// A response of the fault server's own.
    pub(crate) fn new(status: u16, body: &str) -> Self {
        Self {
            status,
            headers: vec![("Content-Type".to_owned(), "application/xml".to_owned())],
            body: body.as_bytes().to_vec(),
        }
    }

    /// An S3 error document.
    pub(crate) fn s3_error(status: u16, code: &str, message: &str) -> Self {
        Self::new(status, &error_document(code, message))
    }

    pub(crate) fn read_rest(head: Head, reader: &mut impl BufRead, method: &str) -> Result<Self> {
        let status = head.status()?;
        let has_body = method != "HEAD" && status != 204 && status != 304;
        let body = if has_body { read_body(reader, &head.headers, true)? } else { Vec::new() };
        Ok(Self { status, headers: head.headers, body })
    }

    /// The bytes on the wire.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut headers = self.headers.clone();
        headers.retain(|(name, _)| !name.eq_ignore_ascii_case("transfer-encoding"));
        set_header(&mut headers, "Content-Length", &self.body.len().to_string());
        set_header(&mut headers, "Connection", "close");
        let mut bytes = Head { first_line: format!("HTTP/1.1 {} Answer", self.status), headers }.to_bytes();
        bytes.extend_from_slice(&self.body);
        bytes
    }
}

impl Head {
    /// The status code of a response's first line.
    pub(crate) fn status(&self) -> Result<u16> {
        let digits = self.first_line.split(' ').nth(1).ok_or(ErrorKind::InvalidData)?;
        digits.parse().map_err(|_| ErrorKind::InvalidData.into())
    }
}

/// The XML of an S3 error.
pub(crate) fn error_document(code: &str, message: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <Error><Code>{code}</Code><Message>{message}</Message><RequestId>fault</RequestId></Error>"
    )
}
