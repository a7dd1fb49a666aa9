"""What a server that discards its objects knows of them: uploads, sizes and tags of parts, small bodies. It must not know HTTP."""

import hashlib
import random
import re
import threading
import time
from collections import Counter
from contextlib import contextmanager
from xml.sax.saxutils import escape

MIB = 1024 * 1024
LEAST_PART_BYTES = 5 * MIB
MOST_PART_BYTES = 5 * 1024 * MIB
MOST_PARTS = 10_000
PAGE = 1000


class Refusal(Exception):
    """An answer that is an error: status, S3's code, and words."""

    def __init__(self, status, code, message):
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


class Bucket:
    """All objects and uploads, by `bucket/key`, and what was asked. Threads share it; `lock` guards everything."""

    def __init__(self, loss, seed, rate):
        self.lock = threading.Lock()
        self.rate, self.free_at = rate, 0.0
        self.loss, self.random = loss, random.Random(seed)
        self.objects, self.uploads, self.completed = {}, {}, []
        self.requests, self.lost = Counter(), Counter()
        self.part_bytes = self.copied_bytes = self.serial = self.most_parts = self.parts_at_once = self.most_at_once = 0
        self.part_seconds = 0.0

    def fate(self, kind):
        """Counts a request, and says whether it is lost: `before` or `after` it took effect."""
        with self.lock:
            self.requests[kind] += 1
            if self.random.random() >= self.loss:
                return None
            fate = self.random.choice(["before", "after"])
            self.lost[f"{kind} {fate}"] += 1
            return fate

    def pace(self, count):
        """Waits as long as so many bytes take on a wire that all connections share."""
        if self.rate:
            with self.lock:
                now = time.monotonic()
                self.free_at = max(self.free_at, now) + count / self.rate
                wait = self.free_at - now
            time.sleep(wait)

    @contextmanager
    def part_on_its_way(self):
        """Counts a part from its head to its answer."""
        begun = time.monotonic()
        with self.lock:
            self.parts_at_once += 1
            self.most_at_once = max(self.most_at_once, self.parts_at_once)
        try:
            yield
        finally:
            with self.lock:
                self.parts_at_once -= 1
                self.part_seconds += time.monotonic() - begun

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

    def take_part(self, key, upload_id, number, size, span=None):
        """Notes a part that has arrived, and gives its tag. `span` says what it is a copy of."""
        if not 1 <= number <= MOST_PARTS:
            raise Refusal(400, "InvalidArgument", f"a part number is between 1 and {MOST_PARTS}")
        if size > MOST_PART_BYTES:
            raise Refusal(400, "EntityTooLarge", "a part has at most 5 GiB")
        with self.lock:
            parts = self._upload(key, upload_id)["parts"]
            self.serial += 1
            tag = f"part-{number}-{self.serial:x}"
            parts[number] = (size, tag, span)
            self.most_parts = max(self.most_parts, len(parts))
            if span:
                self.copied_bytes += size
            else:
                self.part_bytes += size
        return tag

    def span(self, source, byte_range, if_match):
        """The bytes of an object that are to be copied."""
        found = self.find(source)
        if if_match is not None and if_match.strip('"') != found["tag"]:
            raise Refusal(412, "PreconditionFailed", "the source of the copy has another tag")
        match = re.fullmatch(r"bytes=(\d+)-(\d+)", byte_range or f"bytes=0-{found['size'] - 1}")
        if not match:
            raise Refusal(400, "InvalidArgument", "the range is not of the form bytes=first-last")
        first, last = map(int, match.groups())
        if not first <= last < found["size"]:
            raise Refusal(400, "InvalidArgument", "the range is not inside the source")
        return {"key": source, "tag": found["tag"], "of_size": found["size"], "first": first, "last": last}

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
                    "last_part_size": sizes[-1], "spans": joined([parts[number][2] for number in numbers])}
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
            left = [{"key": upload["key"], "parts": len(upload["parts"]), "bytes": sum(part[0] for part in upload["parts"].values())}
                    for upload in self.uploads.values()]
            return {"requests": dict(self.requests), "lost": dict(self.lost), "part_bytes": self.part_bytes,
                    "copied_bytes": self.copied_bytes, "objects": plain, "completed": self.completed, "most_parts": self.most_parts,
                    "most_parts_at_once": self.most_at_once, "part_seconds": self.part_seconds, "open_uploads": left}


def joined(spans):
    """Copies that follow on each other as one; none where a part is no copy."""
    found = []
    for span in spans:
        if span is None:
            return []
        if found and found[-1]["tag"] == span["tag"] and found[-1]["last"] + 1 == span["first"]:
            found[-1]["last"] = span["last"]
        else:
            found.append(dict(span))
    return found
