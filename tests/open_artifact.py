"""Opens an artifact of format 1 with PyNaCl alone: open_artifact.py KEY_FILE ARTIFACT OUTPUT

Written from the description of the format, without the program's code, to show that a backup can be opened
without the program. Checks everything the format promises, prints the header, writes the pg_dump archive.
"""

import base64
import gzip
import hashlib
import json
import struct
import subprocess
import sys

from nacl import bindings

MAGIC = b"PGKEEP\x00\x01"


def read_key(path):
    text = open(path).read().strip()
    mark = "PGKEEP-KEY-1-"
    assert text.startswith(mark), "not a key file"
    key = base64.urlsafe_b64decode(text[len(mark):] + "=")
    assert len(key) == 32, "a key has 32 bytes"
    return key


def unpack(compression, inside):
    if compression == "gzip":
        return gzip.decompress(inside)
    if compression == "zstd":
        return subprocess.run(["zstd", "-dc"], input=inside, stdout=subprocess.PIPE, check=True).stdout
    return inside


def main(key_file, artifact_file, output_file):
    key = read_key(key_file)
    key_id = hashlib.sha256(b"pgkeep-key-id" + key).hexdigest()[:16]
    artifact = open(artifact_file, "rb").read()
    assert artifact[:8] == MAGIC, "not an artifact of format 1"
    (length,) = struct.unpack("<I", artifact[8:12])
    assert length <= 65536, "the header is too long"
    start = 12 + length
    header = json.loads(artifact[12:start])
    print(json.dumps(header))
    assert header["cipher"] == "xchacha20poly1305-secretstream"
    chunk = header["chunk"]
    assert chunk == 65536

    (entry,) = [entry for entry in header["keys"] if entry["id"] == key_id]
    assert entry["type"] == "shared"
    wrapped = base64.b64decode(entry["wrapped"], validate=True)
    data_key = bindings.crypto_aead_xchacha20poly1305_ietf_decrypt(wrapped[24:], None, wrapped[:24], key)
    assert len(data_key) == 32

    nonce = base64.b64decode(header["nonce"], validate=True)
    assert len(nonce) == 24
    state = bindings.crypto_secretstream_xchacha20poly1305_state()
    bindings.crypto_secretstream_xchacha20poly1305_init_pull(state, nonce, data_key)
    overhead = bindings.crypto_secretstream_xchacha20poly1305_ABYTES
    final = bindings.crypto_secretstream_xchacha20poly1305_TAG_FINAL

    associated, plain, tag, at = artifact[:start], [], None, start
    while at < len(artifact):
        assert tag != final, "bytes after the final chunk"
        sealed = artifact[at:at + chunk + overhead]
        part, tag = bindings.crypto_secretstream_xchacha20poly1305_pull(state, sealed, associated)
        assert tag == final or len(part) == chunk, "only the last chunk may be shorter"
        plain.append(part)
        associated = None
        at += len(sealed)
    assert tag == final, "the final chunk is missing"

    inside = b"".join(plain)
    archive = unpack(header["compression"], inside)
    assert archive[:5] == b"PGDMP", "not a pg_dump archive"
    with open(output_file, "wb") as output:
        output.write(archive)


if __name__ == "__main__":
    main(*sys.argv[1:])
