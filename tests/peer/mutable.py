"""Reads mutable files from shares that were put together elsewhere, with the peer's own code.

One JSON object per line on standard input: "cap", and "shares", a map from share number to base32.
For each, one line of JSON: a tagged hash of the content ("data", base32), the version's number ("sequence"), and
whether the peer finds the shares healthy when it verifies every byte ("healthy").
"""

import json
import sys

from twisted.internet import defer, task

from allmydata.client import SecretHolder, config_from_string
from allmydata.interfaces import SDMF_VERSION
from allmydata.monitor import Monitor
from allmydata.nodemaker import NodeMaker
from allmydata.storage_client import StorageFarmBroker
from allmydata.util import base32
from allmydata.util.hashutil import tagged_hash


class Server:
    """A storage server with one share of one file, as Foolscap would show it."""

    def __init__(self, number, share):
        self.shares = {number: share}
        self.advice = []

    async def slot_readv(self, index, numbers, vectors):
        wanted = [number for number in self.shares if number in numbers or not numbers]
        return {n: [self.shares[n][start : start + length] for start, length in vectors] for n in wanted}

    async def add_lease(self, *args):
        pass

    async def advise_corrupt_share(self, *args):
        self.advice.append(args)

    def callRemote(self, method, *args):
        return defer.ensureDeferred(getattr(self, method)(*args))

    def callRemoteOnly(self, method, *args):
        self.callRemote(method, *args)


async def read(case):
    broker = StorageFarmBroker(True, None, config_from_string("", "", ""))
    for number, share in case["shares"].items():
        name = base32.b2a(b"server %13d" % int(number))
        announcement = {
            "anonymous-storage-FURL": "pb://%s@nowhere/fake" % name.decode(),
            "permutation-seed-base32": name,
        }
        broker.test_add_rref(name, Server(int(number), base32.a2b(share.encode())), announcement)
    secrets = SecretHolder(b"lease secret", b"convergence secret")
    maker = NodeMaker(broker, secrets, None, None, None, {"k": 3, "n": 10}, SDMF_VERSION, None)
    node = maker.create_from_cap(case["cap"].encode())
    data = await node.download_best_version()
    results = await node.check(Monitor(), verify=True)
    version = await node.get_best_readable_version()
    return {
        "data": base32.b2a(tagged_hash(b"content", data)).decode(),
        "sequence": version.get_sequence_number(),
        "healthy": results.is_healthy(),
    }


async def main(reactor):
    for line in sys.stdin:
        print(json.dumps(await read(json.loads(line))), flush=True)


task.react(lambda reactor: defer.ensureDeferred(main(reactor)))
