#!/usr/bin/env python3
"""Makes hashes.json: values of the peer's hash functions, rings and trees for known inputs.

Run by hand with a Python that has Tahoe-LAFS 1.20 installed; writes beside itself.
All byte strings are in hexadecimal.
"""

import json
from pathlib import Path

from allmydata import hashtree
from allmydata.util import base32, hashutil as h

key = bytes(range(16))
secret = bytes(range(100, 132))
tub_id = bytes(range(200, 220))
data = b"some content"
index = h.storage_index_hash(key)
client_renewal = h.my_renewal_secret_hash(secret)
client_cancel = h.my_cancel_secret_hash(secret)
file_renewal = h.file_renewal_secret_hash(client_renewal, index)
file_cancel = h.file_cancel_secret_hash(client_cancel, index)
write_key = h.ssk_writekey_hash(data)
read_key = h.ssk_readkey_hash(write_key)
leaves = [h.tagged_hash(b"leaf", b"%d" % i) for i in range(5)]

values = {
    "tagged_hash": h.tagged_hash(b"tag", data),
    "tagged_pair_hash": h.tagged_pair_hash(b"tag", data, b"other"),
    "storage_index": index,
    "block": h.block_hash(data),
    "uri_extension": h.uri_extension_hash(data),
    "crypttext": h.crypttext_hash(data),
    "crypttext_segment": h.crypttext_segment_hash(data),
    "convergence_3_10_1026": h.convergence_hash(3, 10, 1026, data, secret),
    "convergence_1_256_131072_no_secret": h.convergence_hash(1, 256, 131072, data, b""),
    "convergence_255_255_9_long_secret": h.convergence_hash(255, 255, 9, data, b"x" * 1000),
    "client_renewal": client_renewal,
    "client_cancel": client_cancel,
    "file_renewal": file_renewal,
    "file_cancel": file_cancel,
    "bucket_renewal": h.bucket_renewal_secret_hash(file_renewal, tub_id),
    "bucket_cancel": h.bucket_cancel_secret_hash(file_cancel, tub_id),
    "mutable_write_key": write_key,
    "mutable_read_key": read_key,
    "mutable_storage_index": h.ssk_storage_index_hash(read_key),
    "mutable_fingerprint": h.ssk_pubkey_fingerprint_hash(data),
    "mutable_data_key": h.ssk_readkey_data_hash(key, read_key),
    "write_enabler_master": h.ssk_write_enabler_master_hash(write_key),
    "write_enabler": h.ssk_write_enabler_hash(write_key, tub_id),
    "permute_server": h.permute_server_hash(index, tub_id),
    "tree_of_5": b"".join(hashtree.HashTree(leaves)),
    "tree_of_1": b"".join(hashtree.HashTree(leaves[:1])),
}
text = {name: value.hex() for name, value in values.items()}
text["base32"] = base32.b2a(bytes(range(256))).decode()
seeds = [b"seed %d" % i for i in range(12)]
text["ring"] = sorted(range(12), key=lambda i: h.permute_server_hash(index, seeds[i]))
Path(__file__).with_name("hashes.json").write_text(json.dumps(text, indent=1) + "\n")
