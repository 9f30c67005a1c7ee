#!/usr/bin/env python3
"""Makes shares.json: what Tahoe-LAFS itself puts into the shares of known files.

Run by hand with a Python that has Tahoe-LAFS 1.20 installed; writes beside itself.
No network: the peer's own encoder writes into buckets in memory.
"""

import base64
import hashlib
import json
import struct
from pathlib import Path

from twisted.internet import defer, task

from allmydata import hashtree, uri
from allmydata.immutable import encode, layout, upload
from allmydata.util import hashutil

CONVERGENCE = b"tallac test vectors"


def content(size):
    """SHA-256 of the 8-byte big-endian numbers 0, 1, 2, ..., joined and cut to size."""
    blocks = (hashlib.sha256(struct.pack(">Q", i)).digest() for i in range(-(-size // 32)))
    return b"".join(blocks)[:size]


class Bucket:
    def __init__(self):
        self.data = b""

    def callRemote(self, method, *args):
        if method == "write":
            offset, data = args
            assert offset == len(self.data)
            self.data += data
        return defer.succeed(None)


class Server:
    def __init__(self, number):
        self.number = number

    def get_name(self):
        return "server %d" % self.number

    def get_serverid(self):
        return b"%d" % self.number


async def shares_of(k, n, max_segment_size, size, force_v2):
    file = upload.Data(content(size), CONVERGENCE)
    file.set_default_encoding_parameters(
        {"k": k, "happy": 1, "n": n, "max_segment_size": max_segment_size}
    )
    encrypted = upload.EncryptAnUploadable(file)
    encoder = encode.Encoder()
    await encoder.set_encrypted_uploadable(encrypted)
    chain = hashtree.IncompleteHashTree(n).needed_hashes(0, include_leaf=True)
    buckets = [Bucket() for _ in range(n)]
    layout.FORCE_V2 = force_v2
    writers = {
        number: layout.make_write_bucket_proxy(
            bucket,
            Server(number),
            encoder.get_param("share_size"),
            encoder.get_param("block_size"),
            encoder.get_param("num_segments"),
            len(chain),
            encoder.get_uri_extension_size(),
        )
        for number, bucket in enumerate(buckets)
    }
    layout.FORCE_V2 = False
    encoder.set_shareholders(writers, {number: {b"%d" % number} for number in range(n)})
    verify_cap = await encoder.start()
    key = await file.get_encryption_key()
    assert verify_cap.get_storage_index() == hashutil.storage_index_hash(key)
    cap = uri.CHKFileURI(key, verify_cap.uri_extension_hash, k, n, size)
    assert cap.get_verify_cap().to_string() == verify_cap.to_string()
    return cap, verify_cap, [bucket.data for bucket in buckets]


# needed, total, longest segment, sizes, whether to keep whole shares, whether to force version 2
CASES = [
    (1, 1, 1024, [56, 2500], True, False),
    (1, 4, 1024, [56, 1024, 1025], True, False),
    (2, 4, 1024, [56, 1023, 1024, 1025, 3500], True, False),
    (3, 10, 1024, [56, 1025, 1026, 1027, 5000], True, False),
    (3, 10, 1024, [1023, 1024, 8 * 1026, 100_000], False, False),
    (3, 10, 1024, [56, 5000], False, True),
    (25, 100, 1024, [56, 1025, 1026, 5000], False, False),
    (3, 256, 1024, [56, 1027, 5000], False, False),
    (71, 255, 1024, [56, 5000], False, False),
    (101, 256, 1024, [56, 5000], False, False),
    (256, 256, 1024, [5000], False, False),
    (2, 3, 1 << 20, [1 << 20], False, False),
    (3, 10, 1 << 20, [(1 << 20) + d for d in (-1, 0, 1, 2, 3)] + [10_000_000], False, False),
    (25, 100, 1 << 20, [1 << 20, 3_000_000], False, False),
]


async def main(reactor):
    cases = []
    for k, n, max_segment_size, sizes, whole, force_v2 in CASES:
        for size in sizes:
            cap, verify_cap, shares = await shares_of(k, n, max_segment_size, size, force_v2)
            case = {
                "needed": k,
                "total": n,
                "max_segment_size": max_segment_size,
                "size": size,
                "version": 2 if force_v2 else 1,
                "cap": cap.to_string().decode(),
                "verify_cap": verify_cap.to_string().decode(),
            }
            kept = shares if whole else [hashlib.sha256(share).digest() for share in shares]
            kind = "shares" if whole else "sha256"
            case[kind] = [base64.b64encode(each).decode() for each in kept]
            cases.append(case)
    out = Path(__file__).with_name("shares.json")
    lines = ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases)
    out.write_text('{"convergence":"%s","cases":[\n%s\n]}\n' % (CONVERGENCE.decode(), lines))


task.react(lambda reactor: defer.ensureDeferred(main(reactor)))
