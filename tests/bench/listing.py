"""What a listing costs: a made-up S3 server that lists as many names as one likes, and each command that lists, timed and weighed.

    listing.py WORK POSTGRES_URL KEYS PGKEEP [OTHER_PGKEEP]

WORK is an empty folder; POSTGRES_URL names an empty database. The table goes to stdout: a row for each kind of name and each command,
the peak of the process's memory and its wall and CPU time, of one binary or of two side by side. What is listed is made up page by
page and kept nowhere; what a backup writes is kept in memory."""

import hashlib
import os
import re
import subprocess
import sys
import threading
import time
from collections import namedtuple
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

PAGE = 1000
ROOT = "pg/db1/shop/"
MIB = 1024 * 1024
OLD = "2026-01-02T03:04:05.000Z"


def stamped(number):
    """An artifact's path: a name of its own for each number, all of them of one month."""
    day, rest = divmod(number, 86400)
    second = "202601%02dT%02d%02d%02dZ" % (1 + day % 28, rest // 3600, rest // 60 % 60, rest % 60)
    return f"{ROOT}full/2026/01/full-shop-{second}-{day // 28:04x}.dump.gz.pgk"


def of_its_own(number):
    name = f"t{number:08d}"
    return f"pg/db1/{name}/full/2026/01/full-{name}-20260101T000000Z-0000.dump.gz.pgk"


KINDS = {
    "foreign names": lambda number: f"{ROOT}junk-{number:09d}",
    "foreign names of 1,024 bytes": lambda number: f"{ROOT}junk-{number:09d}".ljust(1024, "x"),
    "artifacts with manifests": lambda number: stamped(number // 2) + ("", ".json")[number % 2],
    "artifacts without manifests": stamped,
    "each in a folder of its own": lambda number: of_its_own(number // 2) + ("", ".json")[number % 2],
    "3,000 names of 1 MiB": lambda number: f"{ROOT}junk-{number:09d}".ljust(MIB, "x"),
    "unfinished uploads": stamped,
}


class Crowd:
    """What the server lists, and what it holds."""

    def __init__(self, work):
        self.work, self.objects, self.parts, self.lock = work, {}, {}, threading.Lock()

    def chosen(self):
        """What is listed, and how much of it."""
        with open(f"{self.work}/crowd", encoding="utf-8") as file:
            keys, kind = file.read().split(" ", 1)
        return kind, int(keys)

    def page(self, query):
        """A page of objects: first what was written, then the crowd."""
        prefix, token = query.get("prefix", ""), query.get("continuation-token")
        kind, keys = self.chosen()
        name = KINDS[kind]
        size, count = (7, 3000) if "MiB" in kind else (PAGE, keys)
        count = 0 if kind == "unfinished uploads" else count
        start = int(token or 0)
        found = []
        if token is None:
            with self.lock:
                found = [(key, len(self.objects[key])) for key in sorted(self.objects) if key.startswith(prefix)]
        if not name(0).startswith(prefix):
            count = 0
        end = min(start + size, count)
        found += [(name(number), 1) for number in range(start, end)]
        body = "".join(
            f"<Contents><Key>{key}</Key><LastModified>{OLD}</LastModified><ETag>&quot;0&quot;</ETag><Size>{size}</Size>"
            "<StorageClass>STANDARD</StorageClass></Contents>"
            for key, size in found
        )
        more = f"<IsTruncated>true</IsTruncated><NextContinuationToken>{end}</NextContinuationToken>"
        rest = more if end < count else "<IsTruncated>false</IsTruncated>"
        return f"<ListBucketResult><Name>b</Name>{rest}{body}</ListBucketResult>"

    def page_of_uploads(self, query):
        prefix, start = query.get("prefix", ""), int(query.get("upload-id-marker") or 0)
        kind, keys = self.chosen()
        count = keys if kind == "unfinished uploads" and stamped(0).startswith(prefix) else 0
        end = min(start + PAGE, count)
        body = "".join(
            f"<Upload><Key>{stamped(number)}</Key><UploadId>{number}</UploadId><Initiated>{OLD}</Initiated></Upload>"
            for number in range(start, end)
        )
        more = f"<IsTruncated>true</IsTruncated><NextKeyMarker>k</NextKeyMarker><NextUploadIdMarker>{end}</NextUploadIdMarker>"
        rest = more if end < count else "<IsTruncated>false</IsTruncated>"
        return f"<ListMultipartUploadsResult>{rest}{body}</ListMultipartUploadsResult>"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    crowd = None

    def log_message(self, *_):
        pass

    def answer(self, status, body=b"", kind="application/xml", **headers):
        body = body.encode() if isinstance(body, str) else body
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def asked(self):
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
        return unquote(parts.path).partition("/")[2].partition("/")[2], query

    def do_GET(self):
        key, query = self.asked()
        if "uploads" in query:
            return self.answer(200, self.crowd.page_of_uploads(query))
        if "versions" in query:
            return self.answer(200, "<ListVersionsResult><IsTruncated>false</IsTruncated></ListVersionsResult>")
        if "list-type" in query:
            return self.answer(200, self.crowd.page(query))
        body = self.crowd.objects.get(key)
        if body is None:
            return self.answer(404, "<Error><Code>NoSuchKey</Code></Error>")
        tag = {"ETag": f'"{hashlib.md5(body).hexdigest()}"'}
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if not wanted:
            return self.answer(200, body, "application/octet-stream", **tag)
        first, last = int(wanted[1]), min(int(wanted[2] or len(body)), len(body) - 1)
        tag["Content-Range"] = f"bytes {first}-{last}/{len(body)}"
        self.answer(206, body[first : last + 1], "application/octet-stream", **tag)

    do_HEAD = do_GET

    def body(self):
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def do_PUT(self):
        key, query = self.asked()
        if self.headers.get("Expect"):
            self.send_response_only(100)
            self.end_headers()
        body = self.body()
        with self.crowd.lock:
            if "partNumber" in query:
                self.crowd.parts.setdefault(key, {})[int(query["partNumber"])] = body
            else:
                self.crowd.objects[key] = body
        self.answer(200, ETag=f'"{hashlib.md5(body).hexdigest()}"')

    def do_POST(self):
        key, query = self.asked()
        self.body()
        if "uploads" in query:
            return self.answer(200, "<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>")
        with self.crowd.lock:
            parts = self.crowd.parts.pop(key, {})
            self.crowd.objects[key] = b"".join(parts[number] for number in sorted(parts))
        self.answer(200, "<CompleteMultipartUploadResult><ETag>&quot;0-1&quot;</ETag></CompleteMultipartUploadResult>")

    def do_DELETE(self):
        key, query = self.asked()
        with self.crowd.lock:
            self.crowd.objects.pop(key, None)
        self.answer(204)


COMMANDS = {
    "list --from": ["list", "--from", "s3", "--limit", "1"],
    "restore --from": ["restore", "latest", "--from", "s3", "--database", "shop", "--output", "{work}/out"],
    "catalog rebuild": ["catalog", "rebuild", "--from", "s3"],
    "prune --dry-run": ["prune", "--dry-run"],
    "prune": ["prune"],
    "verify --all": ["verify", "--all"],
    "alert check": ["alert", "check"],
    "doctor": ["doctor"],
    "backup full": ["backup", "full"],
}
# What reads every manifest, or removes every artifact, takes hours of requests with so many of them.
EVERY = tuple(COMMANDS)
SOME = ("list --from", "restore --from", "prune --dry-run", "verify --all", "alert check")
WANTED = {
    "foreign names": EVERY,
    "foreign names of 1,024 bytes": ("list --from", "prune --dry-run"),
    "artifacts with manifests": SOME,
    "artifacts without manifests": SOME,
    "each in a folder of its own": ("list --from", "verify --all", "prune --dry-run"),
    "3,000 names of 1 MiB": ("list --from", "prune --dry-run", "verify --all", "alert check"),
    "unfinished uploads": ("prune --dry-run",),
}

Run = namedtuple("Run", "kib wall cpu code")


def configuration(work, url, port):
    return f"""
state_dir = "{work}/state"
[source]
name = "db1"
url = "{url}"
[encryption]
key_file = "{work}/pgkeep.key"
[retry]
attempts = 0
[config]
with_full = false
[[store]]
name = "s3"
kind = "s3"
endpoint = "http://127.0.0.1:{port}"
region = "x"
bucket = "b"
prefix = "pg"
access_key_id = "id"
secret_access_key = "secret"
path_style = true
keep = "3650d"
"""


def run(binary, config, work, words):
    """Runs a command; its peak memory, times and exit code."""
    words = [word.format(work=work) for word in words]
    for name in ("out",):
        if os.path.exists(f"{work}/{name}"):
            os.remove(f"{work}/{name}")
    begun = time.monotonic()
    with open(f"{work}/said", "wb") as said:
        child = subprocess.Popen([binary, "--config", config, *words], stdout=said, stderr=said)
        _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    return Run(usage.ru_maxrss, time.monotonic() - begun, usage.ru_utime + usage.ru_stime, child.returncode)


def serve(work):
    """The server, in a process of its own: what the kernel says of a child's memory is never less than its parent's was."""
    Handler.crowd = Crowd(work)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    with open(f"{work}/port.draft", "w", encoding="utf-8") as file:
        file.write(str(server.server_address[1]))
    os.rename(f"{work}/port.draft", f"{work}/port")
    server.serve_forever()


def main():
    if sys.argv[1] == "--serve":
        return serve(sys.argv[2])
    os.umask(0o077)
    work, url, keys, binaries = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4:]
    only = os.environ.get("BENCH_LISTING_ONLY", "")
    choose(work, "foreign names", 0)
    server = subprocess.Popen([sys.executable, __file__, "--serve", work])
    try:
        while not os.path.exists(f"{work}/port"):
            time.sleep(0.05)
        measure(work, url, keys, binaries, only)
    finally:
        server.terminate()
        server.wait()


def choose(work, kind, keys):
    """Says what the server lists from now on."""
    with open(f"{work}/crowd.draft", "w", encoding="utf-8") as file:
        file.write(f"{keys} {kind}")
    os.rename(f"{work}/crowd.draft", f"{work}/crowd")


def measure(work, url, keys, binaries, only):
    config = f"{work}/pgkeep.toml"
    with open(config, "w", encoding="utf-8") as file, open(f"{work}/port", encoding="utf-8") as port:
        file.write(configuration(work, url, port.read()))
    subprocess.run([binaries[0], "key", "new", "--output", f"{work}/pgkeep.key"], check=True, capture_output=True)
    first = run(binaries[0], config, work, COMMANDS["backup full"])
    if first.code != 0:
        sys.exit(f"the first backup failed:\n{open(f'{work}/said', encoding='utf-8').read()}")
    figures = " | ".join("MiB | wall s | CPU s | code" for _ in binaries)
    print(f"{keys} names | command | {figures}")
    print("|".join(["---"] * (2 + 4 * len(binaries))))
    for kind, names in WANTED.items():
        choose(work, kind, keys)
        for name in names:
            if only and only not in f"{kind}: {name}":
                continue
            runs = [run(binary, config, work, COMMANDS[name]) for binary in binaries]
            cells = " | ".join(f"{it.kib / 1024:.0f} | {it.wall:.1f} | {it.cpu:.1f} | {it.code}" for it in runs)
            print(f"{kind} | {name} | {cells}", flush=True)


main()
