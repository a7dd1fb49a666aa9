"""An S3 server that discards what it is given: discard.py [--latency SECONDS] [--loss SHARE] [--seed NUMBER] [--report FILE] [--follow]

It prints its port, and serves any bucket, by its path, to anyone: signatures are not looked at. Of an artifact it keeps the sizes of its
parts; objects below 1 MiB it keeps whole. It refuses what R2 refuses: parts of unequal size, below 5 MiB, more than 10,000 of them.
  --latency   waited before each answer, `100 Continue` included; connecting costs nothing, and windows are those of the loopback
  --loss      the share of requests whose connection is closed without an answer: half of them before the body is read, half after the
              request took effect
  --report    where the report goes at SIGTERM; `GET /__report` gives it at any time
  --follow    ends where stdin ends: with whoever started it
Linux only: the bytes of a part are dropped by the kernel, and are never copied to here.
"""

import argparse
import hashlib
import json
import os
import random
import re
import signal
import socket
import sys
import threading
import time
from collections import Counter
from urllib.parse import parse_qsl, unquote, urlsplit
from xml.etree import ElementTree
from xml.sax.saxutils import escape

MIB = 1024 * 1024
KEPT_BYTES = MIB
HEAD_LIMIT_BYTES = 64 * 1024
DOCUMENT_LIMIT_BYTES = 8 * MIB
LEAST_PART_BYTES = 5 * MIB
MOST_PART_BYTES = 5 * 1024 * MIB
MOST_PARTS = 10_000
PAGE = 1000
NOTHING = memoryview(bytearray(MIB))
REASONS = {200: "OK", 204: "No Content", 400: "Bad Request", 404: "Not Found", 411: "Length Required", 412: "Precondition Failed",
           501: "Not Implemented"}


class Refusal(Exception):
    """An answer that is an error: status, S3's code, and words."""

    def __init__(self, status, code, message):
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


class Lost(Exception):
    """The connection is to be closed without a word."""


class Bucket:
    """All objects and uploads, by `bucket/key`, and what was asked. Threads share it; `lock` guards everything."""

    def __init__(self, loss, seed):
        self.lock = threading.Lock()
        self.loss, self.random = loss, random.Random(seed)
        self.objects, self.uploads, self.completed = {}, {}, []
        self.requests, self.lost = Counter(), Counter()
        self.part_bytes = self.copied_bytes = self.serial = self.most_parts = self.parts_at_once = self.most_at_once = 0

    def fate(self, kind):
        """Counts a request, and says whether it is lost: `before` or `after` it took effect."""
        with self.lock:
            self.requests[kind] += 1
            if self.random.random() >= self.loss:
                return None
            fate = self.random.choice(["before", "after"])
            self.lost[f"{kind} {fate}"] += 1
            return fate

    def initiate(self, key):
        with self.lock:
            self.serial += 1
            upload_id = f"upload-{self.serial:x}"
            self.uploads[upload_id] = {"key": key, "parts": {}}
        return upload_id

    def _upload(self, key, upload_id):
        upload = self.uploads.get(upload_id)
        if upload is None or upload["key"] != key:
            raise Refusal(404, "NoSuchUpload", "there is no such upload")
        return upload

    def take_part(self, key, upload_id, number, size, is_copy=False):
        """Notes a part that has arrived, and gives its tag."""
        if not 1 <= number <= MOST_PARTS:
            raise Refusal(400, "InvalidArgument", f"a part number is between 1 and {MOST_PARTS}")
        if size > MOST_PART_BYTES:
            raise Refusal(400, "EntityTooLarge", "a part has at most 5 GiB")
        with self.lock:
            parts = self._upload(key, upload_id)["parts"]
            self.serial += 1
            tag = f"part-{number}-{self.serial:x}"
            parts[number] = (size, tag)
            self.most_parts = max(self.most_parts, len(parts))
            if is_copy:
                self.copied_bytes += size
            else:
                self.part_bytes += size
        return tag

    def copied_size(self, source, byte_range, if_match):
        """How many bytes a copy of that range takes."""
        with self.lock:
            found = self.objects.get(source)
        if found is None:
            raise Refusal(404, "NoSuchKey", "the source of the copy is not there")
        if if_match is not None and if_match.strip('"') != found["tag"]:
            raise Refusal(412, "PreconditionFailed", "the source of the copy has another tag")
        if byte_range is None:
            return found["size"]
        match = re.fullmatch(r"bytes=(\d+)-(\d+)", byte_range)
        if not match:
            raise Refusal(400, "InvalidArgument", "the range is not of the form bytes=first-last")
        first, last = map(int, match.groups())
        if not first <= last < found["size"]:
            raise Refusal(400, "InvalidArgument", "the range is not inside the source")
        return last - first + 1

    def complete(self, key, upload_id, named):
        """Makes an object of the parts that are named, if they are as R2 wants them."""
        with self.lock:
            parts = self._upload(key, upload_id)["parts"]
            numbers = [number for number, _ in named]
            if not named or len(named) > MOST_PARTS:
                raise Refusal(400, "MalformedXML", f"an upload has 1 to {MOST_PARTS} parts")
            if numbers != sorted(set(numbers)):
                raise Refusal(400, "InvalidPartOrder", "the parts are not in ascending order")
            if any(number not in parts or parts[number][1] != tag for number, tag in named):
                raise Refusal(400, "InvalidPart", "a part is not there, or has another tag")
            sizes = [parts[number][0] for number in numbers]
            if any(size < LEAST_PART_BYTES for size in sizes[:-1]):
                raise Refusal(400, "EntityTooSmall", "a part other than the last is below 5 MiB")
            if len(set(sizes[:-1])) > 1 or sizes[-1] > sizes[0]:
                raise Refusal(400, "InvalidPart", "all parts but the last must have the same size")
            self.serial += 1
            made = {"size": sum(sizes), "tag": f"whole-{self.serial:x}-{len(sizes)}", "parts": len(sizes), "part_size": sizes[0],
                    "last_part_size": sizes[-1]}
            self.objects[key] = made
            self.completed.append({"key": key, **made})
            del self.uploads[upload_id]
        return made["tag"]

    def abort(self, key, upload_id):
        with self.lock:
            self._upload(key, upload_id)
            del self.uploads[upload_id]

    def put(self, key, size, body):
        tag = hashlib.md5(body).hexdigest() if body is not None else f"whole-{size:x}"
        with self.lock:
            self.objects[key] = {"size": size, "tag": tag, "body": body}
        return tag

    def find(self, key):
        with self.lock:
            found = self.objects.get(key)
        if found is None:
            raise Refusal(404, "NoSuchKey", "there is no such object")
        return found

    def delete(self, key):
        with self.lock:
            self.objects.pop(key, None)

    def list_objects(self, bucket, query):
        """One page of keys, as ListObjectsV2 has it; the token is the last key of the page before."""
        prefix, after = query.get("prefix", ""), query.get("continuation-token") or query.get("start-after", "")
        with self.lock:
            known = {key.partition("/")[2]: found for key, found in self.objects.items() if key.partition("/")[0] == bucket}
        keys = sorted(key for key in known if key.startswith(prefix) and key > after)
        page, is_cut = keys[:PAGE], len(keys) > PAGE
        entries = [f"<Contents><Key>{escape(key)}</Key><ETag>&quot;{known[key]['tag']}&quot;</ETag><Size>{known[key]['size']}</Size></Contents>"
                   for key in page]
        token = f"<NextContinuationToken>{escape(page[-1])}</NextContinuationToken>" if is_cut else ""
        return (f"<ListBucketResult><Name>{escape(bucket)}</Name><Prefix>{escape(prefix)}</Prefix><KeyCount>{len(page)}</KeyCount>"
                f"<IsTruncated>{str(is_cut).lower()}</IsTruncated>{token}{''.join(entries)}</ListBucketResult>")

    def list_uploads(self, bucket, query):
        prefix = f"{bucket}/{query.get('prefix', '')}"
        with self.lock:
            found = [(upload["key"].partition("/")[2], name) for name, upload in self.uploads.items() if upload["key"].startswith(prefix)]
        entries = [f"<Upload><Key>{escape(key)}</Key><UploadId>{name}</UploadId></Upload>" for key, name in sorted(found)]
        return f"<ListMultipartUploadsResult><IsTruncated>false</IsTruncated>{''.join(entries)}</ListMultipartUploadsResult>"

    def report(self):
        """What was asked, and what there is now."""
        with self.lock:
            plain = [{"key": key, **{name: value for name, value in found.items() if name != "body"}} for key, found in self.objects.items()]
            left = [{"key": upload["key"], "parts": len(upload["parts"]), "bytes": sum(size for size, _ in upload["parts"].values())}
                    for upload in self.uploads.values()]
            return {"requests": dict(self.requests), "lost": dict(self.lost), "part_bytes": self.part_bytes,
                    "copied_bytes": self.copied_bytes, "objects": plain, "completed": self.completed, "most_parts": self.most_parts,
                    "most_parts_at_once": self.most_at_once, "open_uploads": left}


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
        """Serves one request; whether another may come on this connection."""
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
            self.at_once(1)
            try:
                self.drop(size)
            finally:
                self.at_once(-1)
            return size
        if size >= (KEPT_BYTES if kind == "put" else DOCUMENT_LIMIT_BYTES):
            self.drop(size)
            return size
        return self.keep(size)

    def at_once(self, step):
        """Counts the parts that are arriving."""
        with self.bucket.lock:
            self.bucket.parts_at_once += step
            self.bucket.most_at_once = max(self.bucket.most_at_once, self.bucket.parts_at_once)

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
        size = bucket.copied_size(source, headers.get("x-amz-copy-source-range"), headers.get("x-amz-copy-source-if-match"))
        tag = bucket.take_part(key, upload_id, number, size, is_copy=True)
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


def main():
    """Serves until it is told to end."""
    options = argparse.ArgumentParser(usage=__doc__)
    options.add_argument("--latency", type=float, default=0)
    options.add_argument("--loss", type=float, default=0)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--report")
    options.add_argument("--follow", action="store_true")
    options = options.parse_args()
    bucket = Bucket(options.loss, options.seed)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
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
