#!/usr/bin/env python3
"""Makes mutable_shares.json: what Tahoe-LAFS itself puts into the shares of known mutable files.

Run by hand with a Python that has Tahoe-LAFS 1.20 installed; writes beside itself.
No network: the peer's own publisher writes to servers in memory. Keys are those of soft-rsa; the
salts are counted instead of drawn; the signatures differ each time, so they are kept.
"""

import base64
import hashlib
import json
import os
import struct
from pathlib import Path

from twisted.internet import defer, task

from allmydata.crypto import rsa
from allmydata.interfaces import MDMF_VERSION, SDMF_VERSION
from allmydata.client import SecretHolder, config_from_string
from allmydata.mutable import publish
from allmydata.nodemaker import NodeMaker
from allmydata.storage_client import StorageFarmBroker
from allmydata.util import base32

HERE = Path(__file__).parent
KEYS = HERE.parents[2] / "soft-rsa" / "keys"


def content(size):
    """SHA-256 of the 8-byte big-endian numbers 0, 1, 2, ..., joined and cut to size."""
    blocks = (hashlib.sha256(struct.pack(">Q", i)).digest() for i in range(-(-size // 32)))
    return b"".join(blocks)[:size]


class Server:
    """A storage server for one file, as Foolscap would show it."""

    def __init__(self):
        self.shares = {}

    async def slot_readv(self, index, numbers, vectors):
        wanted = [number for number in self.shares if number in numbers or not numbers]
        return {n: [self.shares[n][start : start + length] for start, length in vectors] for n in wanted}

    async def slot_testv_and_readv_and_writev(self, index, secrets, changes, vectors):
        before = await self.slot_readv(index, [], vectors)
        for number, (tests, writes, new_length) in changes.items():
            assert new_length is None
            share = bytearray(self.shares.get(number, b""))
            for start, length, operator, expected in tests:
                assert operator == b"eq" and share[start : start + length] == expected
            for start, data in writes:
                share.extend(bytes(max(0, start - len(share))))
                share[start : start + len(data)] = data
            self.shares[number] = bytes(share)
        return True, before

    def callRemote(self, method, *args):
        return defer.ensureDeferred(getattr(self, method)(*args))


def maker_on(servers, k, n):
    config = config_from_string("", "", "")
    broker = StorageFarmBroker(True, None, config)
    for number, server in enumerate(servers):
        name = base32.b2a(hashlib.sha1(b"%d" % number).digest())
        announcement = {"anonymous-storage-FURL": "pb://%s@nowhere/fake" % name.decode(), "permutation-seed-base32": name}
        broker.test_add_rref(name, server, announcement)
    secrets = SecretHolder(b"lease secret", b"convergence secret")
    return NodeMaker(broker, secrets, None, None, None, {"k": k, "n": n}, SDMF_VERSION, None)


class Salts:
    """Stands in for the module os: random bytes are counted."""

    SEEK_END, SEEK_SET = os.SEEK_END, os.SEEK_SET

    def __init__(self):
        self.drawn = []

    def urandom(self, length):
        self.drawn.append(hashlib.sha256(b"salt %d" % len(self.drawn)).digest()[:length])
        return self.drawn[-1]


async def shares_of(version, key, k, n, size, sequence):
    servers = [Server() for _ in range(10)]
    maker = maker_on(servers, k, n)
    private, public = rsa.create_signing_keypair_from_string((KEYS / ("%d.der" % key)).read_bytes())
    data = lambda: publish.MutableData(content(size))
    publish.os = salts = Salts()
    node = await maker.create_mutable_file(data(), version=version, keypair=(public, private))
    for _ in range(sequence - 1):
        publish.os = salts = Salts()
        await node.overwrite(data())
    found = {}
    for server in servers:
        found.update(server.shares)
    assert sorted(found) == list(range(n))
    shares = [found[number] for number in range(n)]
    at = slice(9 + 32 + 16 + 18, None) if version == SDMF_VERSION else slice(59, None)
    if version == SDMF_VERSION:
        signature, end = struct.unpack(">LL", shares[0][at][:8])
    else:
        signature, end = struct.unpack(">QQ", shares[0][at][16:32])
    return node, salts.drawn, shares[0][signature:end], shares


# format, key, needed, total, sizes, whether to keep whole shares, sequence number
S, M = SDMF_VERSION, MDMF_VERSION
CASES = [
    (S, 0, 1, 1, [0, 1, 1000], True, 1),
    (S, 1, 3, 10, [0, 1, 2, 1000], True, 1),
    (S, 2, 2, 4, [5], True, 2),
    (S, 3, 3, 10, [3, 4, 100_000], False, 1),
    (S, 4, 25, 100, [0, 1000], False, 1),
    (S, 5, 1, 255, [7], False, 1),
    (S, 6, 255, 255, [1000], False, 1),
    (M, 0, 1, 1, [0, 1], True, 1),
    (M, 1, 3, 10, [0, 1], True, 1),
    (M, 2, 1, 4, [131_071, 131_072, 131_073], False, 1),
    (M, 3, 3, 10, [131_073, 131_074, 131_075, 300_000], False, 2),
    (M, 4, 7, 20, [1_000_000], False, 1),
    (M, 5, 1, 255, [10, 131_080], False, 1),
    (M, 6, 255, 255, [140_000], False, 1),
    (M, 7, 2, 4, [5 * 131_072], False, 1),
]


async def main(reactor):
    cases = []
    for version, key, k, n, sizes, whole, sequence in CASES:
        for size in sizes:
            node, salts, signature, shares = await shares_of(version, key, k, n, size, sequence)
            kept = shares if whole else [hashlib.sha256(share).digest() for share in shares]
            encode = lambda data: base64.b64encode(data).decode()
            cases.append(
                {
                    "mdmf": version == MDMF_VERSION,
                    "key": key,
                    "needed": k,
                    "total": n,
                    "size": size,
                    "sequence": sequence,
                    "cap": node.get_uri().decode(),
                    "salts": [encode(salt) for salt in salts],
                    "signature": encode(signature),
                    "shares" if whole else "sha256": [encode(each) for each in kept],
                }
            )
            print("MDMF" if version else "SDMF", k, n, size, len(shares[0]))
    lines = ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases)
    (HERE / "mutable_shares.json").write_text("[\n%s\n]\n" % lines)


task.react(lambda reactor: defer.ensureDeferred(main(reactor)))
