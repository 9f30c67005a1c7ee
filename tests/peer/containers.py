"""Share containers and the peer (Tahoe-LAFS 1.20's Python).

    python containers.py write DIR      writes schema-1.share and schema-2.share, the fixtures of
                                        core/src/storage/testdata
    python containers.py slots DIR      writes mutable-1.share, mutable-2.share and slot-requests.json,
                                        fixtures of the same directory: containers with more leases than
                                        the header holds and a gap behind the data; requests to a slot
                                        with the answers of the peer's server
    python containers.py check NODEDIR  reads every share under NODEDIR/storage/shares as the peer does
                                        and prints length, leases and a digest of the data
    python containers.py leases CLIENT SERVER...
                                        reads the leases in the node directories of servers, with the
                                        lease secret of the client's node directory; prints a line of
                                        JSON for each share
"""

import hashlib
import json
import os
import random
import sys
import tempfile

from allmydata.storage.common import si_a2b
from allmydata.storage.immutable import ShareFile
from allmydata.storage.immutable_schema import ALL_SCHEMAS
from allmydata.storage.lease import LeaseInfo
from allmydata.storage.mutable import MutableShareFile
from allmydata.storage.mutable_schema import ALL_SCHEMAS as MUTABLE_SCHEMAS
from allmydata.storage.server import StorageServer
from allmydata.util import base32, hashutil

DATA = bytes(range(40))
LEASES = [(0, b"r" * 32, b"c" * 32, 1_800_000_000), (1, b"R" * 32, b"C" * 32, 1_900_000_001)]


def write(directory):
    for schema in ALL_SCHEMAS:
        path = os.path.join(directory, "schema-%d.share" % schema.version)
        share = ShareFile(path, max_size=len(DATA), create=True, schema=schema)
        share.write_share_data(0, DATA)
        for owner, renew, cancel, end in LEASES:
            share.add_lease(LeaseInfo(owner, renew, cancel, end, b"n" * 20))


# Zeros are printed as dots, to keep the fixture short.
DOTS = bytes.maketrans(b"\0", b".")


def slots(directory):
    for schema in MUTABLE_SCHEMAS:
        path = os.path.join(directory, "mutable-%d.share" % schema.version)
        share = MutableShareFile(path, schema=schema)
        share.create(b"n" * 20, b"w" * 32)
        for number in range(6):
            renew, cancel = bytes([65 + number]) * 32, bytes([97 + number]) * 32
            share.add_lease(1 << 20, LeaseInfo(1, renew, cancel, 1_800_000_000 + number, b"m" * 20))
        share.writev([(0, DATA + b"x" * 20)], 40)
    with open(os.path.join(directory, "slot-requests.json"), "w") as file:
        file.write("[\n" + ",\n".join(json.dumps(line) for line in requests()) + "\n]\n")


def requests():
    """Requests to one slot and what the peer's server answers to each of them."""
    chance = random.Random(1)
    server = StorageServer(tempfile.mkdtemp(), b"n" * 20)
    index, secrets = b"i" * 16, (b"w" * 32, b"r" * 32, b"c" * 32)
    content = {}
    for _ in range(100):
        vectors = {}
        for share in chance.sample(range(4), chance.randrange(3)):
            held = content.get(share, b"")
            tests = []
            for _ in range(chance.randrange(3)):
                offset, size = chance.randrange(40), chance.randrange(12)
                true = chance.random() < 0.85
                tests.append((offset, size, b"eq", held[offset : offset + size] if true else b"?"))
            writes = []
            for _ in range(chance.randrange(4)):
                data = bytes(chance.randrange(97, 123) for _ in range(chance.choice([0, 1, 5, 20])))
                writes.append((chance.randrange(70), data))
            length = chance.choice([None, None, None, 0, chance.randrange(1, 60)])
            vectors[share] = (tests, writes, length)
        reads = [(chance.randrange(50), chance.randrange(30)) for _ in range(chance.randrange(3))]
        success, data = server.slot_testv_and_readv_and_writev(index, secrets, vectors, reads)
        content = {share: held for share, [held] in server.slot_readv(index, [], [(0, 1000)]).items()}
        yield {
            "shares": [
                {
                    "share": share,
                    "tests": [[offset, size, expected.translate(DOTS).decode()] for offset, size, _, expected in tests],
                    "writes": [[offset, data.decode()] for offset, data in writes],
                    "length": length,
                }
                for share, (tests, writes, length) in vectors.items()
            ],
            "reads": reads,
            "success": success,
            "data": sorted([share, [piece.translate(DOTS).decode() for piece in data[share]]] for share in data),
            "after": sorted([share, held.translate(DOTS).decode()] for share, held in content.items()),
        }


def check(node):
    for directory, _, names in sorted(os.walk(os.path.join(node, "storage", "shares"))):
        for name in sorted(names):
            path = os.path.join(directory, name)
            with open(path, "rb") as file:
                mutable = MutableShareFile.is_valid_header(file.read(32))
            share = MutableShareFile(path) if mutable else ShareFile(path)
            if mutable:
                [data] = share.readv([(0, share.get_length() + 1000)])
            else:
                data = share.read_share_data(0, share.get_length() + 1000)
            assert len(data) == share.get_length()
            ends = [lease.get_expiration_time() for lease in share.get_leases()]
            mine = [lease.is_renew_secret(b"r" * 32) for lease in share.get_leases()]
            index = os.path.basename(directory)
            print(index, name, len(data), hashlib.sha256(data).hexdigest()[:16], ends, mine)


def text_of(*path):
    with open(os.path.join(*path)) as file:
        return file.read().strip().encode()


def secrets(master, index, tub_id):
    renew = hashutil.file_renewal_secret_hash(hashutil.my_renewal_secret_hash(master), index)
    cancel = hashutil.file_cancel_secret_hash(hashutil.my_cancel_secret_hash(master), index)
    return (
        hashutil.bucket_renewal_secret_hash(renew, tub_id),
        hashutil.bucket_cancel_secret_hash(cancel, tub_id),
    )


def leases(client, *servers):
    master = base32.a2b(text_of(client, "private", "secret"))
    for server in servers:
        tub_id = base32.a2b(text_of(server, "my_nodeid"))
        for directory, _, names in sorted(os.walk(os.path.join(server, "storage", "shares"))):
            for name in sorted(names):
                index = os.path.basename(directory)
                renew, cancel = secrets(master, si_a2b(index.encode()), tub_id)
                share = ShareFile(os.path.join(directory, name))
                held = list(share.get_leases())
                told = {
                    "server": os.path.basename(server),
                    "index": index,
                    "share": int(name),
                    "sha256": hashlib.sha256(share.read_share_data(0, share.get_length())).hexdigest(),
                    "ends": [lease.get_expiration_time() for lease in held],
                    "renew": [lease.is_renew_secret(renew) for lease in held],
                    "cancel": [lease.is_cancel_secret(cancel) for lease in held],
                }
                print(json.dumps(told))


{"write": write, "slots": slots, "check": check, "leases": leases}[sys.argv[1]](*sys.argv[2:])
