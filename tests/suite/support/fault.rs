//! A server of faults: it stands in front of a real S3 server, passes requests on with their `Host` left
//! alone (so signatures stay valid), and does to some of them what the rules of a test say.

use std::io::{BufReader, ErrorKind, Read, Result, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use super::http::{Head, Request, Response, header, read_body, set_header};
use super::manners::Manners;
use super::rule::{Action, Rule};
use super::s3server::Server;

/// A running fault server; it ends when it is dropped.
#[derive(Debug)]
pub(crate) struct FaultServer {
    /// Host and port to put in a store's endpoint.
    pub(crate) address: String,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    behind: &'static Server,
    manners: Manners,
    rules: Mutex<Vec<Rule>>,
    log: Mutex<Vec<Request>>,
    down: AtomicBool,
    ended: Mutex<bool>,
    end: Condvar,
}

impl FaultServer {
    /// Starts one in front of `behind`.
    pub(crate) fn start(behind: &'static Server, manners: Manners) -> Self {
        Self::listen(TcpListener::bind("127.0.0.1:0").unwrap(), behind, manners)
    }

    /// Starts one whose kernel takes a few KB ahead of it and no more: what it does not read is not sent.
    pub(crate) fn start_narrow(behind: &'static Server, manners: Manners) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        rustix::net::sockopt::set_socket_recv_buffer_size(&listener, 8192).unwrap();
        Self::listen(listener, behind, manners)
    }

    fn listen(listener: TcpListener, behind: &'static Server, manners: Manners) -> Self {
        let address = listener.local_addr().unwrap().to_string();
        let shared = Arc::new(Shared {
            behind,
            manners,
            rules: Mutex::default(),
            log: Mutex::default(),
            down: AtomicBool::new(false),
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
                std::thread::spawn(move || shared.serve(&stream));
            }
        });
        Self { address, shared }
    }

    /// Adds a rule; the first that hits a request is carried out.
    pub(crate) fn rule(&self, rule: Rule) {
        self.shared.rules.lock().unwrap().push(rule);
    }

    /// Takes all rules away.
    pub(crate) fn heal(&self) {
        self.shared.rules.lock().unwrap().clear();
        self.shared.down.store(false, Ordering::SeqCst);
    }

    /// From now on each connection is closed at once.
    pub(crate) fn go_down(&self) {
        self.shared.down.store(true, Ordering::SeqCst);
    }

    /// The requests that came, in the order they came, without their bodies.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.shared.log.lock().unwrap().clone()
    }

    /// How many requests of `method` came whose path and query contain `part`.
    pub(crate) fn count(&self, method: &str, part: &str) -> usize {
        let log = self.shared.log.lock().unwrap();
        log.iter().filter(|request| request.method == method && request.target.contains(part)).count()
    }
}

impl Drop for FaultServer {
    fn drop(&mut self) {
        *self.shared.ended.lock().unwrap() = true;
        self.shared.end.notify_all();
        // Wakes the listener, so that its thread sees the end.
        TcpStream::connect(&self.address).ok();
    }
}

impl Shared {
    fn serve(&self, stream: &TcpStream) {
        // A broken connection is what the tests ask for; the program under test has to cope.
        self.serve_one(stream).ok();
        stream.shutdown(Shutdown::Both).ok();
    }

    fn serve_one(&self, mut stream: &TcpStream) -> Result<()> {
        if self.down.load(Ordering::SeqCst) {
            return Ok(());
        }
        let mut reader = BufReader::new(stream);
        let Some(head) = Head::read(&mut reader)? else { return Ok(()) };
        if header(&head.headers, "expect").is_some() {
            stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        let headers = head.headers.clone();
        let mut request = Request::from_head(head, Vec::new())?;
        self.log.lock().unwrap().push(request.clone());
        let action = self.action_for(&request);
        if self.breaks_early(action.as_ref(), &mut reader)? {
            return Ok(());
        }
        request.body = read_body(&mut reader, &headers, false)?;
        if self.down.load(Ordering::SeqCst) {
            return Ok(());
        }
        let own = match &action {
            Some(Action::Refuse { status, code, retry_after }) => {
                let mut answer =
                    Response::s3_error(*status, code, "the fault server was told to refuse this");
                if let Some(seconds) = retry_after {
                    set_header(&mut answer.headers, "Retry-After", seconds);
                }
                Some(answer)
            }
            Some(Action::Answer(bytes)) => return stream.write_all(bytes),
            Some(Action::Endless(start, more)) => {
                stream.write_all(start.as_bytes())?;
                let many = more.repeat(1 + 8192 / more.len());
                while !*self.ended.lock().unwrap() {
                    stream.write_all(many.as_bytes())?;
                }
                return Ok(());
            }
            Some(Action::OkWithError { code }) => {
                Some(Response::s3_error(200, code, "the fault server was told to answer this"))
            }
            _ => self.manners.check(&mut request, &self.behind.credentials),
        };
        match own {
            Some(mut answer) => {
                if request.method == "HEAD" {
                    answer.body.clear();
                }
                stream.write_all(&answer.to_bytes())
            }
            None => self.pass_on(&request, action.as_ref(), stream),
        }
    }

    /// What is done before the body of a request is read; whether the connection ends with it.
    fn breaks_early(&self, action: Option<&Action>, reader: &mut impl Read) -> Result<bool> {
        match action {
            Some(Action::Reset) => {}
            Some(Action::Hang) => self.hang(),
            Some(Action::CutRequest(bytes)) => drop(reader.take(*bytes as u64).read_to_end(&mut Vec::new())?),
            Some(Action::HangInRequest(bytes)) => {
                reader.take(*bytes as u64).read_to_end(&mut Vec::new())?;
                self.hang();
            }
            Some(Action::DripRequest(pace)) => {
                let mut some = vec![0; pace.bytes];
                while !self.has_ended(pace.pause) {
                    reader.read_exact(&mut some)?;
                }
            }
            Some(Action::Delay(time)) => {
                std::thread::sleep(*time);
                return Ok(false);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Does nothing until the fault server ends.
    fn hang(&self) {
        let ended = self.ended.lock().unwrap();
        drop(self.end.wait_while(ended, |ended| !*ended).unwrap());
    }

    /// Waits for a while; whether the fault server has ended.
    fn has_ended(&self, pause: Duration) -> bool {
        let ended = self.ended.lock().unwrap();
        *self.end.wait_timeout_while(ended, pause, |ended| !*ended).unwrap().0
    }

    fn action_for(&self, request: &Request) -> Option<Action> {
        let mut rules = self.rules.lock().unwrap();
        rules.iter_mut().find_map(|rule| rule.hits(request).then(|| rule.action.clone()))
    }

    fn pass_on(&self, request: &Request, action: Option<&Action>, mut stream: &TcpStream) -> Result<()> {
        let mut server = request.send(&self.behind.address)?;
        let mut head = Head::read(&mut server)?.ok_or(ErrorKind::UnexpectedEof)?;
        self.manners.dress(request, &mut head.headers);
        if matches!(action, Some(Action::LoseAnswer)) {
            std::io::copy(&mut server, &mut std::io::sink())?;
            return Ok(());
        }
        if let Some(Action::AnswerInstead(bytes)) = action {
            std::io::copy(&mut server, &mut std::io::sink())?;
            return stream.write_all(bytes);
        }
        if self.manners.rewrites(request) {
            let mut answer = Response::read_rest(head, &mut server, &request.method)?;
            Manners::rewrite(&mut answer);
            return stream.write_all(&answer.to_bytes());
        }
        set_header(&mut head.headers, "Connection", "close");
        match action {
            Some(Action::DripResponse(pace)) => {
                let mut whole = head.to_bytes();
                server.read_to_end(&mut whole)?;
                for some in whole.chunks(pace.bytes) {
                    stream.write_all(some)?;
                    if self.has_ended(pace.pause) {
                        break;
                    }
                }
                return Ok(());
            }
            Some(Action::CutChunks(bytes)) => {
                head.headers.retain(|(name, _)| !name.eq_ignore_ascii_case("content-length"));
                set_header(&mut head.headers, "Transfer-Encoding", "chunked");
                let mut some = Vec::new();
                server.take(*bytes as u64).read_to_end(&mut some)?;
                stream.write_all(&head.to_bytes())?;
                stream.write_all(format!("{:x}\r\n", some.len() + 1).as_bytes())?;
                return stream.write_all(&some);
            }
            _ => stream.write_all(&head.to_bytes())?,
        }
        match action {
            Some(Action::HangInResponse(bytes)) => {
                std::io::copy(&mut server.take(*bytes as u64), &mut stream)?;
                self.hang();
            }
            Some(Action::CutResponse(bytes)) => {
                std::io::copy(&mut server.take(*bytes as u64), &mut stream)?;
            }
            Some(Action::FlipBit(bytes)) => {
                std::io::copy(&mut (&mut server).take(*bytes as u64), &mut stream)?;
                let mut byte = [0];
                server.read_exact(&mut byte)?;
                stream.write_all(&[byte[0] ^ 0x10])?;
                std::io::copy(&mut server, &mut stream)?;
            }
            _ => {
                std::io::copy(&mut server, &mut stream)?;
            }
        }
        Ok(())
    }
}
