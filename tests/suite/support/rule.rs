//! What the fault server shall do to which request.

use std::time::Duration;

use super::http::{Request, Response, header, set_header};

/// A fault for the requests that match, some of them or all.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    method: &'static str,
    part: &'static str,
    is_copy: Option<bool>,
    sticks: bool,
    stuck_to: Option<String>,
    let_pass: usize,
    times: usize,
    pub(crate) action: Action,
}

/// What happens to a request.
#[derive(Clone, Debug)]
pub(crate) enum Action {
    /// Answered with an S3 error, not passed on.
    Refuse { status: u16, code: &'static str, retry_after: Option<&'static str> },
    /// Answered 200 with an error document, not passed on.
    OkWithError { code: &'static str },
    /// Passed on and carried out, but the answer never arrives.
    LoseAnswer,
    /// Passed on and carried out, and answered with these bytes instead.
    AnswerInstead(Vec<u8>),
    /// The connection is closed before the body is read.
    Reset,
    /// Nothing is ever answered.
    Hang,
    /// The response ends after so many bytes of its body.
    CutResponse(usize),
    /// The connection is closed after so many bytes of the request's body.
    CutRequest(usize),
    /// One bit of the response's body is flipped, so many bytes after its start.
    FlipBit(usize),
    /// Passed on after a while.
    Delay(Duration),
    /// These bytes are the answer, whatever they are; not passed on.
    Answer(Vec<u8>),
    /// So many bytes of the request's body are taken, and nothing is ever answered.
    HangInRequest(usize),
    /// Passed on; the head of the answer and so many bytes of its body are sent, then nothing more.
    HangInResponse(usize),
    /// Passed on; the answer comes in chunks, and ends without the last one after so many bytes.
    CutChunks(usize),
    /// The request's body is taken at that pace, and nothing is ever answered.
    DripRequest(Drip),
    /// Passed on; the answer comes at that pace, its head too.
    DripResponse(Drip),
    /// The first text, then the second one over and over, for as long as the client takes it.
    Endless(&'static str, &'static str),
}

/// A pace: so many bytes, then a pause.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Drip {
    pub(crate) bytes: usize,
    pub(crate) pause: Duration,
}

impl Action {
    /// A whole answer of the test's own.
    pub(crate) fn answer(status: u16, content_type: &str, headers: &[(&str, &str)], body: &str) -> Self {
        let mut response = Response::new(status, body);
        set_header(&mut response.headers, "Content-Type", content_type);
        for (name, value) in headers {
            set_header(&mut response.headers, name, value);
        }
        Self::Answer(response.to_bytes())
    }
}

impl Rule {
    /// Matches requests of `method` (empty: any) whose path and query contain `part`.
    pub(crate) fn on(method: &'static str, part: &'static str) -> Self {
        Self {
            method,
            part,
            is_copy: None,
            sticks: false,
            stuck_to: None,
            let_pass: 0,
            times: usize::MAX,
            action: Action::Reset,
        }
    }

    /// Matches the requests that copy a part.
    pub(crate) fn on_copy() -> Self {
        Self { is_copy: Some(true), ..Self::on("PUT", "partNumber") }
    }

    /// Goes on hitting the first request that it hit, however often it is tried, and no other.
    pub(crate) fn sticks(mut self) -> Self {
        self.sticks = true;
        self
    }

    /// Lets the first `count` of them pass.
    pub(crate) fn after(mut self, count: usize) -> Self {
        self.let_pass = count;
        self
    }

    /// Hits `count` of them, then no more.
    pub(crate) fn times(mut self, count: usize) -> Self {
        self.times = count;
        self
    }

    pub(crate) fn does(mut self, action: Action) -> Self {
        self.action = action;
        self
    }

    /// Answers with an S3 error.
    pub(crate) fn refuse(self, status: u16, code: &'static str) -> Self {
        self.does(Action::Refuse { status, code, retry_after: None })
    }

    /// Whether this request is one to hit; counts it.
    pub(crate) fn hits(&mut self, request: &Request) -> bool {
        let matches =
            (self.method.is_empty() || self.method == request.method) && request.target.contains(self.part);
        let copies = header(&request.headers, "x-amz-copy-source").is_some();
        if !matches || self.times == 0 || self.is_copy.is_some_and(|is_copy| is_copy != copies) {
            return false;
        }
        if let Some(name) = &self.stuck_to {
            return *name == name_of(request);
        }
        if self.let_pass > 0 {
            self.let_pass -= 1;
            return false;
        }
        self.times -= 1;
        self.stuck_to = self.sticks.then(|| name_of(request));
        true
    }
}

/// What a request has in common with another attempt of it: all but the signature.
fn name_of(request: &Request) -> String {
    let pairs = request.query().split('&').filter(|pair| !pair.starts_with("X-Amz-"));
    let mut query: Vec<&str> = pairs.collect();
    query.sort_unstable();
    format!("{} {}?{}", request.method, request.path(), query.join("&"))
}
