"""Signed announcements and the peer (Tahoe-LAFS 1.20's Python).

    python announcements.py sign KEY   signs an announcement as the peer's node does; KEY is the text
                                       of a node.privkey
    python announcements.py check      checks one, as the peer's introducer and clients do

A signed announcement is three lines of hexadecimal digits: message, signature, key.
"""

import json
import sys

from allmydata.crypto import ed25519
from allmydata.introducer.client import IntroducerClient
from allmydata.introducer.common import get_tubid_string_from_ann, unsign_from_foolscap
from allmydata.storage_client import ANONYMOUS_STORAGE_NURLS, _parse_announcement

FURL = "pb://%s@tcp:127.0.0.1:1234/swissnum" % ("a" * 32)
NURL = "pb://%s@127.0.0.1:1234/swissnum#v=1" % ("A" * 43)


def sign(key):
    private, _ = ed25519.signing_keypair_from_string(key.encode())
    furl = "pb://%s@tcp:127.0.0.1:1/introducer" % ("b" * 32)
    client = IntroducerClient(None, furl, "näme", "tahoe-lafs/1.20.0", "1.0", lambda: (12, "nonce"), None)
    announcement = {
        "permutation-seed-base32": b"mfrgg",
        ANONYMOUS_STORAGE_NURLS: {NURL},
        "anonymous-storage-FURL": FURL,
    }
    client.publish("storage", announcement, private)
    for part in client._published_announcements["storage"]:
        print(part.hex())


def check():
    signed = tuple(bytes.fromhex(line) for line in sys.stdin)
    announcement, key = unsign_from_foolscap(signed)
    furl = announcement["anonymous-storage-FURL"].encode()
    nickname, seed, tub_id, _, _ = _parse_announcement(key, furl, announcement)
    told = {
        "key": key.decode(),
        "nickname": nickname,
        "permutation_seed": seed.hex(),
        "tub_id": tub_id.hex(),
        "tub_id_text": get_tubid_string_from_ann(announcement).decode(),
        "nurls": announcement[ANONYMOUS_STORAGE_NURLS],
        "service": announcement["service-name"],
        "sequence": announcement["seqnum"],
    }
    print(json.dumps(told))


{"sign": sign, "check": check}[sys.argv[1]](*sys.argv[2:])
