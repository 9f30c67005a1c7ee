"""Share containers and the peer (Tahoe-LAFS 1.20's Python).

    python containers.py write DIR      writes schema-1.share and schema-2.share, the fixtures of
                                        core/src/storage/testdata
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
import sys

from allmydata.storage.common import si_a2b
from allmydata.storage.immutable import ShareFile
from allmydata.storage.immutable_schema import ALL_SCHEMAS
from allmydata.storage.lease import LeaseInfo
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


def check(node):
    for directory, _, names in sorted(os.walk(os.path.join(node, "storage", "shares"))):
        for name in sorted(names):
            share = ShareFile(os.path.join(directory, name))
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


{"write": write, "check": check, "leases": leases}[sys.argv[1]](*sys.argv[2:])
