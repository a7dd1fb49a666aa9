"""An S3 server that discards what it is given: discard.py [--latency SECONDS] [--loss SHARE] [--rate BYTES] [--report FILE] ...

It prints its port, and serves any bucket, by its path, to anyone: signatures are not looked at. Of an artifact it keeps the sizes of its
parts; objects below 1 MiB it keeps whole. It refuses what R2 refuses: parts of unequal size, below 5 MiB, more than 10,000 of them.
  --latency   waited before each answer, `100 Continue` included; connecting costs nothing, and windows are those of the loopback
  --loss      the share of requests whose connection is closed without an answer: half of them before the body is read, half after the
              request took effect; --seed is of the dice
  --rate      bytes of parts that are taken in a second, over all connections
  --report    where the report goes at SIGTERM; `GET /__report` gives it at any time
  --follow    ends where stdin ends: with whoever started it
Linux only: the bytes of a part are dropped by the kernel, and are never copied to here.
"""

import argparse
import json
import os
import signal
import socket
import sys
import threading
import time
from urllib.parse import parse_qsl, unquote, urlsplit
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from bucket import MIB, Bucket, Refusal

KEPT_BYTES = MIB
HEAD_LIMIT_BYTES = 64 * 1024
DOCUMENT_LIMIT_BYTES = 8 * MIB
NOTHING = memoryview(bytearray(MIB))
REASONS = {200: "OK", 204: "No Content", 400: "Bad Request", 404: "Not Found", 411: "Length Required", 412: "Precondition Failed",
           501: "Not Implemented"}


class Lost(Exception):
    """The connection is to be closed without a word."""


class Connection:
    """One client's connection, request after request."""

    def __init__(self, sock, bucket, latency):
        self.sock, self.bucket, self.latency, self.rest = sock, bucket, latency, b""

    def serve(self):
        with self.sock:
            try:
                self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                while self.one_request():
                    pass
            except (OSError, Lost):
                pass

    def head(self):
        """The next request's first line and headers; `None` at the end of the connection."""
        while b"\r\n\r\n" not in self.rest:
            more = self.sock.recv(HEAD_LIMIT_BYTES)
            if not more or len(self.rest) > HEAD_LIMIT_BYTES:
                return None
            self.rest += more
        head, _, self.rest = self.rest.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        method, target, _ = first.split(" ")
        pairs = (line.partition(":") for line in lines)
        return method, target, {name.strip().lower(): value.strip() for name, _, value in pairs}

    def drop(self, count):
        """Reads that many bytes, and keeps none."""
        count -= self._from_rest(count)[1]
        while count > 0:
            got = self.sock.recv_into(NOTHING, min(count, len(NOTHING)), socket.MSG_TRUNC | socket.MSG_WAITALL)
            if got == 0:
                raise Lost
            count -= got
            self.bucket.pace(got)

    def keep(self, count):
        """Reads that many bytes."""
        body = bytearray(self._from_rest(count)[0])
        while len(body) < count:
            more = self.sock.recv(min(count - len(body), MIB))
            if not more:
                raise Lost
            body += more
        return bytes(body)

    def _from_rest(self, count):
        taken, self.rest = self.rest[:count], self.rest[count:]
        return taken, len(taken)

    def one_request(self):
        """Serves the next request; whether another may come on this connection."""
        request = self.head()
        if request is None:
            return False
        method, target, headers = request
        address = urlsplit(target)
        if address.path == "/__report":
            self.answer(200, body=json.dumps(self.bucket.report()).encode())
            return True
        query = dict(parse_qsl(address.query, keep_blank_values=True))
        kind = kind_of(method, address.path, query, headers)
        fate = self.bucket.fate(kind)
        if fate == "before":
            return False
        if kind != "part":
            return self.serve_request(method, address, query, headers, kind, fate)
        with self.bucket.part_on_its_way():
            return self.serve_request(method, address, query, headers, kind, fate)

    def serve_request(self, method, address, query, headers, kind, fate):
        """Reads the body of a request, does what it asks, and answers; whether another may come."""
        try:
            body = self.body(kind, headers)
            answer = act(self.bucket, kind, unquote(address.path).lstrip("/"), query, headers, body)
        except Refusal as refusal:
            text = f"<Error><Code>{refusal.code}</Code><Message>{escape(refusal.message)}</Message></Error>"
            answer = (refusal.status, {}, text.encode())
        if fate == "after":
            return False
        time.sleep(self.latency)
        self.answer(*answer, is_head=method == "HEAD")
        # What comes after a body that was not read would be taken for a request.
        return answer[0] != 411

    def body(self, kind, headers):
        """The bytes of a document or a small object, or the number of bytes that were dropped."""
        if "transfer-encoding" in headers:
            raise Refusal(411, "MissingContentLength", "a body needs a length")
        size = int(headers.get("content-length", 0))
        if headers.get("expect", "").lower() == "100-continue":
            time.sleep(self.latency)
            self.sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        if kind == "part":
            self.drop(size)
            return size
        if size >= (KEPT_BYTES if kind == "put" else DOCUMENT_LIMIT_BYTES):
            self.drop(size)
            return size
        return self.keep(size)

    def answer(self, status, headers=None, body=b"", is_head=False):
        lines = {"Content-Length": str(len(body)), "Server": "discard", **(headers or {})}
        head = f"HTTP/1.1 {status} {REASONS[status]}\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        self.sock.sendall(head.encode() + b"\r\n" + (b"" if is_head else body))


def kind_of(method, path, query, headers):
    """Which of S3's operations a request is."""
    if "uploadId" in query:
        part = "copy_part" if "x-amz-copy-source" in headers else "part"
        return {"PUT": part, "POST": "complete", "DELETE": "abort"}.get(method, "other")
    if "uploads" in query:
        return {"POST": "initiate", "GET": "list_uploads"}.get(method, "other")
    if "/" not in path.strip("/"):
        return "list_objects" if method == "GET" and query.get("list-type") == "2" else "other"
    return {"PUT": "put", "GET": "get", "HEAD": "head", "DELETE": "delete"}.get(method, "other")


def named_parts(document):
    """The numbers and tags in a CompleteMultipartUpload document."""
    try:
        root = ElementTree.fromstring(document)
        fields = [{child.tag.rpartition("}")[2]: child.text or "" for child in part} for part in root]
        return [(int(part["PartNumber"]), part["ETag"].strip().strip('"')) for part in fields]
    except (ElementTree.ParseError, KeyError, ValueError, TypeError) as error:
        raise Refusal(400, "MalformedXML", f"the list of parts can't be read: {error}") from error


def act(bucket, kind, key, query, headers, body):
    """Does what is asked: status, headers and body of the answer."""
    upload_id = query.get("uploadId", "")
    if kind in ("part", "copy_part"):
        number = int(query.get("partNumber", "0"))
        if kind == "part":
            return 200, {"ETag": f'"{bucket.take_part(key, upload_id, number, body)}"'}, b""
        source = unquote(headers["x-amz-copy-source"]).lstrip("/")
        span = bucket.span(source, headers.get("x-amz-copy-source-range"), headers.get("x-amz-copy-source-if-match"))
        tag = bucket.take_part(key, upload_id, number, span["last"] - span["first"] + 1, span)
        return 200, {}, f"<CopyPartResult><ETag>&quot;{tag}&quot;</ETag></CopyPartResult>".encode()
    if kind == "initiate":
        return 200, {}, f"<InitiateMultipartUploadResult><UploadId>{bucket.initiate(key)}</UploadId></InitiateMultipartUploadResult>".encode()
    if kind == "complete":
        tag = bucket.complete(key, upload_id, named_parts(body))
        return 200, {}, f"<CompleteMultipartUploadResult><ETag>&quot;{tag}&quot;</ETag></CompleteMultipartUploadResult>".encode()
    if kind == "abort":
        bucket.abort(key, upload_id)
        return 204, {}, b""
    if kind == "put":
        kept = body if isinstance(body, bytes) else None
        return 200, {"ETag": f'"{bucket.put(key, body if kept is None else len(body), kept)}"'}, b""
    if kind in ("get", "head"):
        found = bucket.find(key)
        tag = {"ETag": f'"{found["tag"]}"'}
        if kind == "head":
            return 200, {**tag, "Content-Length": str(found["size"])}, b""
        if found.get("body") is None:
            raise Refusal(501, "NotImplemented", "its bytes were discarded")
        return 200, tag, found["body"]
    if kind == "delete":
        bucket.delete(key)
        return 204, {}, b""
    if kind == "list_objects":
        return 200, {}, bucket.list_objects(key.strip("/"), query).encode()
    if kind == "list_uploads":
        return 200, {}, bucket.list_uploads(key.strip("/"), query).encode()
    raise Refusal(501, "NotImplemented", "that is not known here")


def follow():
    """Ends the process where stdin ends."""
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def end(*_):
    """Ends the process, once: another signal must not end the writing of the report."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(0)


def main():
    """Serves until it is told to end."""
    options = argparse.ArgumentParser(usage=__doc__)
    options.add_argument("--latency", type=float, default=0)
    options.add_argument("--loss", type=float, default=0)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--rate", type=float, default=0)
    options.add_argument("--report")
    options.add_argument("--follow", action="store_true")
    options = options.parse_args()
    bucket = Bucket(options.loss, options.seed, options.rate)
    signal.signal(signal.SIGTERM, end)
    if options.follow:
        threading.Thread(target=follow, daemon=True).start()
    try:
        with socket.create_server(("127.0.0.1", 0), backlog=128) as server:
            print(server.getsockname()[1], flush=True)
            while True:
                connection = Connection(server.accept()[0], bucket, options.latency)
                threading.Thread(target=connection.serve, daemon=True).start()
    finally:
        if options.report:
            with open(options.report, "w", encoding="utf-8") as file:
                json.dump(bucket.report(), file)


if __name__ == "__main__":
    main()
