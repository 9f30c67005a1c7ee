"""A node directory and the peer (Tahoe-LAFS 1.20's Python).

    python directory.py NODEDIR...   reads the files of each directory with the peer's own functions,
                                     and prints a line of JSON with what they say

Fails if the peer could not use one of them. Changes nothing.
"""

import json
import os
import sys

from foolscap.crypto import digest32
from foolscap.furl import decode_furl
from twisted.internet.ssl import PrivateCertificate

from allmydata.client import read_config
from allmydata.crypto import ed25519
from allmydata.scripts.cli import NODEURL_RE
from allmydata.storage.http_common import get_spki_hash
from allmydata.util import base32, yamlutil


def read(directory):
    introduces = os.path.exists(os.path.join(directory, "private", "introducer.furl"))
    config = read_config(directory, "client.port", ["introducer.furl"] if introduces else [])
    private, public = ed25519.signing_keypair_from_string(config.get_private_config("node.privkey").encode())
    public = ed25519.string_from_verifying_key(public)
    assert config.get_config_from_file("node.pubkey") == public
    secrets = [base32.a2b(config.get_private_config(name).encode()) for name in ("secret", "convergence")]
    with open(os.path.join(directory, "private", "node.pem"), "rb") as file:
        certificate = PrivateCertificate.loadPEM(file.read())
    tub_id, hints, swissnum = decode_furl(config.get_private_config("storage.furl"))
    # As the peer's Foolscap does it, and as the peer's NURLs do.
    assert tub_id == digest32(certificate.digest("sha1"))
    assert config.get_config_from_file("my_nodeid").decode() == tub_id
    if introduces:
        assert decode_furl(config.get_private_config("introducer.furl"))[:2] == (tub_id, hints)
    pin = get_spki_hash(certificate.original.to_cryptography()).decode()
    with open(config.get_config_path("node.url")) as file:
        url = file.read().strip()
    assert NODEURL_RE.match(url)
    seed = base32.a2b(config.get_config_from_file("permutation-seed"))
    sequence = int(config.get_config_from_file("announcement-seqnum"))
    cache = config.get_private_path("introducer_default_cache.yaml")
    cached = []
    if os.path.exists(cache):
        with open(cache) as file:
            cached = yamlutil.safe_load(file)
    return {
        "secrets": [len(secret) for secret in secrets],
        "tub_id": tub_id,
        "hints": hints,
        "swissnum": swissnum,
        "pin": pin,
        "url": url,
        "seed": len(seed),
        "sequence": sequence,
        "cached": {entry["key_s"]: entry["ann"] for entry in cached},
    }


for directory in sys.argv[1:]:
    print(json.dumps(read(directory)))
