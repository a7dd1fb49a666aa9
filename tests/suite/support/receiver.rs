//! A receiver of alerts over HTTP: it keeps each request, and answers as a test says.

use std::collections::{BTreeMap, VecDeque};
use std::io::{BufReader, Result, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::http::{Head, Request, Response, header, read_body, set_header};
use super::tools::wait_until;

/// What a request gets.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// A status, and a short body.
    Status(u16),
    /// A status and a body.
    With(u16, String),
    /// These bytes, whatever they are.
    Bytes(Vec<u8>),
    /// Another place to look.
    Redirect(String),
    /// 200, and the request itself as the body: its target, headers and body.
    Echo,
    /// A status, after a while.
    Slow(Duration, u16),
    /// One byte of a good answer at a time, each after a while.
    Drip(Duration),
    /// None: the connection stays open until the receiver ends.
    Hang,
    /// None: the connection is closed.
    Close,
}

/// A running receiver; it ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Receiver {
    /// Host and port.
    pub(crate) address: String,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    requests: Mutex<Vec<Request>>,
    script: Mutex<VecDeque<Answer>>,
    usual: Mutex<Answer>,
    ended: Mutex<bool>,
    end: Condvar,
}

impl Receiver {
    /// Starts one that answers 200 to everything.
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let shared = Arc::new(Shared {
            requests: Mutex::default(),
            script: Mutex::default(),
            usual: Mutex::new(Answer::Status(200)),
            ended: Mutex::new(false),
            end: Condvar::new(),
        });
        let for_thread = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if *for_thread.ended.lock().unwrap() {
                    break;
                }
                let shared = Arc::clone(&for_thread);
                std::thread::spawn(move || {
                    // A client that went away is its own affair.
                    shared.serve(&stream).ok();
                    stream.shutdown(Shutdown::Both).ok();
                });
            }
        });
        Self { address, shared }
    }

    /// The address of a path (and query) of this receiver.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// What the next requests get, one each, after those of before.
    pub(crate) fn script(&self, answers: impl IntoIterator<Item = Answer>) {
        self.shared.script.lock().unwrap().extend(answers);
    }

    /// What a request gets when the script has come to its end.
    pub(crate) fn always(&self, answer: Answer) {
        *self.shared.usual.lock().unwrap() = answer;
    }

    /// The requests that came whole, in the order they came.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.shared.requests.lock().unwrap().clone()
    }

    /// Those whose path and query contain `part`.
    pub(crate) fn requests_to(&self, part: &str) -> Vec<Request> {
        self.requests().into_iter().filter(|request| request.target.contains(part)).collect()
    }

    /// The one request that came.
    pub(crate) fn request(&self) -> Request {
        let mut requests = self.requests();
        assert_eq!(requests.len(), 1, "{requests:?}");
        requests.remove(0)
    }

    /// Waits until that many requests have come, and gives all there are.
    pub(crate) fn wait_for(&self, count: usize) -> Vec<Request> {
        wait_until(&format!("{count} requests have come"), || self.requests().len() >= count);
        self.requests()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        *self.shared.ended.lock().unwrap() = true;
        self.shared.end.notify_all();
        // Wakes the listener, so that its thread sees the end.
        TcpStream::connect(&self.address).ok();
    }
}

impl Shared {
    fn serve(&self, mut stream: &TcpStream) -> Result<()> {
        let mut reader = BufReader::new(stream);
        let Some(head) = Head::read(&mut reader)? else { return Ok(()) };
        if header(&head.headers, "expect").is_some() {
            stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        let body = read_body(&mut reader, &head.headers, false)?;
        let request = Request::from_head(head, body)?;
        self.requests.lock().unwrap().push(request.clone());
        let scripted = self.script.lock().unwrap().pop_front();
        let answer = scripted.unwrap_or_else(|| self.usual.lock().unwrap().clone());
        let plain = |status: u16, body: &str| Response::new(status, body).to_bytes();
        let bytes = match answer {
            Answer::Status(status) => plain(status, "as the test says"),
            Answer::With(status, body) => plain(status, &body),
            Answer::Bytes(bytes) => bytes,
            Answer::Redirect(place) => {
                let mut answer = Response::new(302, "elsewhere");
                set_header(&mut answer.headers, "Location", &place);
                answer.to_bytes()
            }
            Answer::Echo => plain(400, &echo(&request)),
            Answer::Slow(time, status) => {
                self.waits(time);
                plain(status, "late")
            }
            Answer::Drip(pause) => {
                for byte in plain(200, "drop by drop") {
                    if self.waits(pause) {
                        break;
                    }
                    stream.write_all(&[byte])?;
                }
                return Ok(());
            }
            Answer::Hang => {
                self.waits(Duration::from_hours(1));
                return Ok(());
            }
            Answer::Close => return Ok(()),
        };
        stream.write_all(&bytes)
    }

    /// Waits for a while; whether the receiver has ended.
    fn waits(&self, time: Duration) -> bool {
        let ended = self.ended.lock().unwrap();
        *self.end.wait_timeout_while(ended, time, |ended| !*ended).unwrap().0
    }
}

fn echo(request: &Request) -> String {
    let mut text = format!("{} {}\n", request.method, request.target);
    for (name, value) in &request.headers {
        text.push_str(&format!("{name}: {value}\n"));
    }
    text.push_str(&String::from_utf8_lossy(&request.body));
    text
}

/// A receiver that takes connections and says nothing, ever; it ends when it is dropped.
#[derive(Debug)]
pub(crate) struct BlackHole {
    /// Host and port.
    pub(crate) address: String,
    _listener: TcpListener,
}

impl BlackHole {
    pub(crate) fn start() -> Self {
        // The kernel takes the connections; nobody reads from them.
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        Self { address: listener.local_addr().unwrap().to_string(), _listener: listener }
    }
}

/// What receivers look at in a request.
impl Request {
    /// The value of a header; empty where there is none.
    pub(crate) fn header(&self, name: &str) -> &str {
        header(&self.headers, name).unwrap_or_default()
    }

    /// The body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    /// The body as a JSON document.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error} in {:?}", self.text()))
    }

    /// The fields of a form; each may stand there once.
    pub(crate) fn form(&self) -> BTreeMap<String, String> {
        assert_eq!(self.header("content-type"), "application/x-www-form-urlencoded");
        let mut fields = BTreeMap::new();
        for pair in self.text().split('&') {
            let (name, value) = pair.split_once('=').unwrap();
            let twice = fields.insert(decode(name), decode(value));
            assert_eq!(twice, None, "`{name}` stands twice in {pair}");
        }
        fields
    }

    /// Name and password of the basic authentication.
    pub(crate) fn login(&self) -> Option<(String, String)> {
        let login = self.header("authorization").strip_prefix("Basic ")?;
        let text = String::from_utf8(STANDARD.decode(login).unwrap()).unwrap();
        text.split_once(':').map(|(name, password)| (name.to_owned(), password.to_owned()))
    }
}

/// A value of a form, decoded.
fn decode(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        match first {
            b'+' => bytes.push(b' '),
            b'%' => {
                let digits = std::str::from_utf8(&after[..2]).unwrap();
                bytes.push(u8::from_str_radix(digits, 16).unwrap());
                rest = &after[2..];
            }
            other => bytes.push(*other),
        }
    }
    String::from_utf8(bytes).unwrap()
}
