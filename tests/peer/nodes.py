"""Runs nodes of the peer, all in this one process (Tahoe-LAFS 1.20's Python).

Reads node directories from standard input, one a line. Each is made into a running node, as
`tahoe run` does it, and answered with a line of JSON: what its owner would tell the grid. Ends when
standard input ends. One process, because half of the time a node needs to start is spent importing.
"""

import json
import sys

from twisted.application.service import MultiService
from twisted.internet import reactor, stdio
from twisted.internet.defer import ensureDeferred, maybeDeferred
from twisted.protocols.basic import LineOnlyReceiver
from twisted.python import log

from allmydata.client import create_client

nodes = MultiService()


async def start(directory):
    node = await maybeDeferred(create_client, directory)
    node.setServiceParent(nodes)
    told = {"id": node.get_long_nodeid().decode()}
    if node.storage_nurls:
        told["announcement"] = {
            "nickname": node.nickname,
            "anonymous-storage-FURL": node.config.get_private_config("storage.furl"),
            "anonymous-storage-NURLs": sorted(nurl.to_text() for nurl in node.storage_nurls),
            "permutation-seed-base32": node.config.get_config_from_file("permutation-seed").decode(),
        }
    return told


class Orders(LineOnlyReceiver):
    delimiter = b"\n"

    def lineReceived(self, line):
        started = ensureDeferred(start(line.decode()))
        started.addCallback(lambda told: self.sendLine(json.dumps(told).encode()))
        started.addErrback(self.failed)

    def failed(self, failure):
        failure.printTraceback(sys.stderr)
        self.transport.loseConnection()

    def connectionLost(self, reason):
        if reactor.running:
            reactor.stop()


def main():
    nodes.startService()
    reactor.addSystemEventTrigger("before", "shutdown", nodes.stopService)
    stdio.StandardIO(Orders())


log.startLogging(sys.stderr, setStdout=False)
reactor.callWhenRunning(main)
reactor.run()
