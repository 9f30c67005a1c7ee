"""Share containers and the peer, by hand (Tahoe-LAFS 1.20's Python).

    python containers.py write DIR      writes schema-1.share and schema-2.share, the fixtures of
                                        core/src/storage/testdata
    python containers.py check NODEDIR  reads every share under NODEDIR/storage/shares as the peer does
                                        and prints length, leases and a digest of the data
"""

import hashlib
import os
import sys

from allmydata.storage.immutable import ShareFile
from allmydata.storage.immutable_schema import ALL_SCHEMAS
from allmydata.storage.lease import LeaseInfo

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


{"write": write, "check": check}[sys.argv[1]](sys.argv[2])
