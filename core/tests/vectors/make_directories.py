#!/usr/bin/env python3
"""Makes directories.json: tables packed, read and edited by the peer's own code.

Run by hand with a Python that has Tahoe-LAFS 1.20 installed; writes beside itself.
No network: a file node in memory stands for the mutable file. The clock always shows NOW.
Byte strings are in base64. Tables without `children` were put together here, not packed by the peer.
"""

import base64
import json
from pathlib import Path

from twisted.internet import defer
from zope.interface import implementer

from allmydata import dirnode, uri
from allmydata.interfaces import IDirectoryNode, IFileNode
from allmydata.nodemaker import NodeMaker
from allmydata.util.netstring import netstring

NOW = 1700000000.0
dirnode.time.time = lambda: NOW

WRITE_KEY = bytes(range(16))
HASH = bytes(range(32))


def b64(data):
    return base64.b64encode(data).decode()


def text(data):
    return None if data is None else data.decode()


@implementer(IFileNode)
class MemoryFile:
    """Enough of a file node for a directory over it."""

    def __init__(self, cap, contents=b""):
        self.cap, self.contents = cap, contents

    def get_cap(self):
        return self.cap

    def get_writekey(self):
        return getattr(self.cap, "writekey", None)

    def is_readonly(self):
        return self.cap.is_readonly()

    def is_mutable(self):
        return self.cap.is_mutable()

    def download_best_version(self):
        return defer.succeed(self.contents)

    def modify(self, modifier):
        new = modifier(self.contents, None, True)
        if new is not None:
            self.contents = new
        return defer.succeed(None)


PARAMETERS = {"k": 3, "n": 10, "happy": 7, "max_segment_size": 131072}
maker = NodeMaker(None, None, None, None, None, PARAMETERS, None, None)
write_cap = uri.WriteableSSKFileURI(WRITE_KEY, HASH)
chk = uri.CHKFileURI(bytes(range(50, 66)), HASH, 3, 10, 1234)


def directory(access, contents):
    cap = {"write": write_cap, "read": write_cap.get_readonly(), "immutable": chk}[access]
    return dirnode.DirectoryNode(MemoryFile(cap, contents), maker, None)


def view(access, contents):
    """What the peer sees; a reason if it gives up the whole directory."""
    try:
        children = directory(access, contents)._unpack_contents(contents)
    except Exception as e:
        return {"error": type(e).__name__}
    entries = []
    for name in sorted(children):
        node, metadata = children[name]
        if IDirectoryNode.providedBy(node):
            kind = "directory"
        else:
            kind = "unknown" if node.is_unknown() else "file"
        entries.append({
            "name": name,
            "kind": kind,
            "write": text(node.get_write_uri()),
            "read": text(node.get_readonly_uri()),
            "metadata": json.dumps(metadata),
        })
    return {"entries": entries}


def caps(seed):
    key = bytes([seed]) * 16
    ssk = uri.WriteableSSKFileURI(key, HASH)
    mdmf = uri.WriteableMDMFFileURI(key, HASH)
    lit = uri.LiteralFileURI(b"small")
    return {
        "lit": lit,
        "chk": uri.CHKFileURI(key, HASH, 3, 10, 1000 + seed),
        "ssk": ssk,
        "ssk-ro": ssk.get_readonly(),
        "mdmf": mdmf,
        "mdmf-ro": mdmf.get_readonly(),
        "dir": uri.DirectoryURI(ssk),
        "dir-ro": uri.DirectoryURI(ssk).get_readonly(),
        "dir-mdmf": uri.MDMFDirectoryURI(mdmf),
        "dir-mdmf-ro": uri.MDMFDirectoryURI(mdmf).get_readonly(),
        "dir-chk": uri.ImmutableDirectoryURI(uri.CHKFileURI(key, HASH, 1, 1, 60)),
        "dir-lit": uri.LiteralDirectoryURI(lit),
    }


ALL = {name: cap.to_string() for name, cap in caps(7).items()}
IMMUTABLE = {name: ALL[name] for name in ("lit", "chk", "dir-chk", "dir-lit")}
FUTURE_W, FUTURE_R = b"x-future-w:abc", b"x-future-r:abc"


def packed(children, access="write"):
    """children: name -> (write, read, metadata)"""
    deep = access == "immutable"
    nodes = {}
    for name, (write, read, metadata) in children.items():
        node = maker.create_from_cap(write, read, deep_immutable=deep)
        node.raise_error()
        nodes[name] = (node, metadata)
    return dirnode.pack_children(nodes, None if deep else WRITE_KEY, deep_immutable=deep)


def entry(name, read, write, metadata=b"{}", sealed=None, more=b""):
    """An entry as somebody else may write it."""
    if sealed is None:
        sealed = dirnode._encrypt_rw_uri(WRITE_KEY, write)
    fields = [name, read, sealed, metadata]
    return netstring(b"".join(map(netstring, fields)) + more)


MADE = {
    "empty": {},
    "every kind": {name: (cap, None, {}) for name, cap in ALL.items()},
    "given for reading": {name: (None, cap, {}) for name, cap in ALL.items()},
    "unknown": {
        "both": (FUTURE_W, FUTURE_R, {}),
        "both, marked": (FUTURE_W, b"ro." + FUTURE_R, {}),
        "read": (None, FUTURE_R, {}),
        "read-only": (b"ro." + FUTURE_R, None, {}),
        "immutable": (b"imm." + FUTURE_R, None, {}),
        "immutable read": (None, b"imm." + FUTURE_R, {}),
        "known but marked": (None, b"ro." + ALL["ssk-ro"], {}),
        "immutable and known": (None, b"imm." + ALL["chk"], {}),
        "snowman": ("lafs://\u2603".encode(), "lafs://ro\u2603".encode(), {}),
        "verifier": (None, caps(7)["ssk"].get_verify_cap().to_string(), {}),
    },
    "odd names": {
        name: (ALL["lit"], None, {})
        for name in ["", ".", "..", "a/b", "a\nb", "\0", "e\u0301", "\u212b", "\u2126x", "q\u0307\u0323",
                     "\ud55c\uae00", "\u1112\u1161\u11ab", "\U0001f600", "\ufffd", "A", "a", "\xe4", "z" * 300,
                     "\u0344", "\u0958"]
    },
    "metadata": {
        "none": (ALL["lit"], None, {}),
        "times": (ALL["lit"], None, {"tahoe": {"linkcrtime": 1.5, "linkmotime": 1234567890.123456}}),
        "old": (ALL["lit"], None, {"ctime": 12.25, "mtime": 13}),
        "rich": (ALL["lit"], None, {"a": [1, {"b": None}, "\xe9\n\u2603\"\\"], "\xfc": -0.0, "": True,
                                    "big": 10**30, "small": 1e-300}),
    },
}

MADE_IMMUTABLE = {
    "every kind": {name: (None, cap, {}) for name, cap in IMMUTABLE.items()},
    "given for writing": {name: (cap, None, {"k": 1}) for name, cap in IMMUTABLE.items()},
    "unknown": {
        "read": (None, FUTURE_R, {}),
        "read-only": (None, b"ro." + FUTURE_R, {}),
        "immutable": (b"imm." + FUTURE_R, None, {}),
    },
}

chk7 = ALL["chk"]
FOREIGN = {
    "spaces at the end": entry(b"a", FUTURE_R + b"  ", FUTURE_W + b"   ") + entry(b"b", chk7 + b" ", b" "),
    "not sorted": entry(b"b", chk7, b"") + entry(b"a", chk7, b""),
    "not normalised": entry("e\u0301".encode(), chk7, b"") + entry("\xe9".encode(), ALL["lit"], b""),
    "twice": entry(b"a", chk7, b"") + entry(b"a", ALL["lit"], b""),
    "twice, the last one refused": entry(b"a", chk7, b"") + entry(b"a", b"URI:CHK:nonsense", b""),
    "more fields": entry(b"a", chk7, b"", more=netstring(b"future")),
    "refused ones": entry(b"a", b"URI:CHK:nonsense", b"") + entry(b"b", b"URI:SSK:nonsense", b"")
        + entry(b"c", b"imm." + ALL["ssk-ro"], b"") + entry(b"d", b"", FUTURE_W)
        + entry(b"e", b"imm." + FUTURE_R, FUTURE_W) + entry(b"f", chk7, b""),
    "sealed is empty": entry(b"a", ALL["ssk-ro"], b"", sealed=b""),
    "sealed is short": entry(b"a", ALL["ssk-ro"], b"", sealed=b"x" * 47),
    "MAC is wrong": entry(b"a", ALL["ssk-ro"], b"",
                          sealed=dirnode._encrypt_rw_uri(WRITE_KEY, ALL["ssk"])[:-1] + b"?"),
    "write capability only": entry(b"a", b"", ALL["ssk"]),
    "nothing": entry(b"a", b"", b""),
    "a damaged write capability": entry(b"a", FUTURE_R, b"URI:SSK:nonsense"),
    "unlike each other": entry(b"a", chk7, ALL["dir"]),
    "hints": entry(b"a", ALL["mdmf-ro"] + b":3:131073", ALL["mdmf"] + b":3:131073"),
    "metadata spelled otherwise": entry(b"a", chk7, b"", b' {"x" :1E2,\n"y":NaN,"x":[ ] } '),
    "metadata is a list": entry(b"a", chk7, b"", b"[]"),
    "metadata is no JSON": entry(b"a", chk7, b"", b"{"),
    "name is no text": entry(b"\xff", chk7, b""),
    "cut off": entry(b"a", chk7, b"")[:-1],
    "something behind it": entry(b"a", chk7, b"") + b"0",
    "one field is missing": netstring(b"".join(map(netstring, [b"a", chk7, b""]))),
}

FOREIGN_IMMUTABLE = {
    "mutable children": entry(b"a", ALL["ssk-ro"], b"", sealed=b"") + entry(b"b", ALL["dir-ro"], b"", sealed=b"")
        + entry(b"c", b"imm." + FUTURE_R, b"", sealed=b"") + entry(b"d", chk7, b"", sealed=b""),
    "nothing": entry(b"a", b"", b"", sealed=b""),
    "a write capability": entry(b"a", chk7, b""),
}


def table(name, access, contents, children=None):
    views = [access, "read"] if access == "write" else [access]
    if children is not None:
        children = [
            {"name": n, "write": text(w), "read": text(r), "metadata": json.dumps(m)}
            for n, (w, r, m) in children.items()
        ]
    return {
        "name": name,
        "access": access,
        "packed": b64(contents),
        "children": children,
        "views": {a: view(a, contents) for a in views},
    }


tables = [table(n, "write", packed(c), c) for n, c in MADE.items()]
tables += [table(n + " (immutable)", "immutable", packed(c, "immutable"), c) for n, c in MADE_IMMUTABLE.items()]
tables += [table(n, "write", c) for n, c in FOREIGN.items()]
tables += [table(n + " (immutable)", "immutable", c) for n, c in FOREIGN_IMMUTABLE.items()]

# Edits, each of a table of its own kind of trouble.
OLD = {
    "new md": (ALL["chk"], None, {"a": 1, "tahoe": {"linkcrtime": 5.5, "linkmotime": 6.5}, "b": 2}),
    "old md": (ALL["chk"], None, {"ctime": 12.25, "mtime": 13, "k": "v"}),
    "no md": (ALL["ssk"], None, {}),
    "odd times": (ALL["dir"], None, {"tahoe": {"x": 1, "linkmotime": 3}}),
    "unknown": (FUTURE_W, FUTURE_R, {"m": [1, 2]}),
    "e\u0301": (ALL["lit"], None, {}),
}
other = {n: c.to_string() for n, c in caps(9).items()}
OVERWRITE = {"anything": True, "nothing": False, "only-files": dirnode.ONLY_FILES}


def link(name, write=None, read=None, metadata=None, replace="anything"):
    step = {"do": "link", "name": name, "write": text(write), "read": text(read), "replace": replace,
            "metadata": None if metadata is None else json.dumps(metadata)}
    return step, lambda d: d.set_uri(name, write, read, metadata, OVERWRITE[replace])


def unlink(name, must_exist=True, only="anything"):
    step = {"do": "unlink", "name": name, "must_exist": must_exist, "only": only}
    return step, lambda d: d.delete(name, must_exist, only == "directories", only == "files")


def rename(name, to, replace="anything"):
    step = {"do": "rename", "name": name, "to": to, "replace": replace}
    return step, lambda d: d.move_child_to(name, d, to, OVERWRITE[replace])


def set_metadata(name, metadata):
    step = {"do": "metadata", "name": name, "metadata": json.dumps(metadata)}
    return step, lambda d: d.set_metadata_for(name, metadata)


STEPS = [
    link("added", other["chk"]),
    link("added", other["dir-mdmf"], None, {"k": [1.5, "\u2603"], "tahoe": {"linkcrtime": 1}}),
    link("added", FUTURE_W, FUTURE_R),
    link("added", None, b"imm." + FUTURE_R, {}),
    link("added", other["ssk"], None, {"no-write": True}),
    link("added", FUTURE_W, FUTURE_R, {"no-write": 1}),
    link("added", other["ssk"], None, {"no-write": 0}),
    link("added", FUTURE_W),
    link("new md", other["lit"]),
    link("new md", other["ssk"], None, {"c": 3}),
    link("new md", other["ssk"], None, {"c": 3}, "only-files"),
    link("new md", other["ssk"], None, None, "nothing"),
    link("old md", other["lit"], None, {"c": 3}),
    link("old md", other["lit"]),
    link("odd times", other["lit"], None, None, "only-files"),
    link("odd times", other["lit"]),
    link("unknown", other["lit"], None, None, "only-files"),
    link("\xe9", other["chk"]),
    unlink("new md"),
    unlink("e\u0301"),
    unlink("missing"),
    unlink("missing", must_exist=False),
    unlink("odd times", only="files"),
    unlink("odd times", only="directories"),
    unlink("new md", only="directories"),
    unlink("unknown", only="directories"),
    unlink("unknown", only="files"),
    rename("new md", "moved"),
    rename("new md", "old md"),
    rename("old md", "new md"),
    rename("new md", "odd times", "only-files"),
    rename("new md", "no md", "nothing"),
    rename("unknown", "moved"),
    rename("missing", "moved"),
    rename("no md", "no md"),
    set_metadata("new md", {"z": 1}),
    set_metadata("old md", {}),
    set_metadata("no md", {"no-write": True}),
    set_metadata("unknown", {"no-write": True}),
    set_metadata("odd times", {"tahoe": {}}),
    set_metadata("missing", {}),
]

edits = []
for step, act in STEPS:
    before = packed(OLD)
    d = directory("write", before)
    failures = []
    try:
        act(d).addErrback(failures.append)
        failures = [f.type.__name__ for f in failures]
    except Exception as e:
        failures = [type(e).__name__]
    edits.append({"edit": step, "error": failures[0] if failures else None,
                  "after": b64(d._node.contents)})

out = {"write_key": b64(WRITE_KEY), "now": int(NOW), "tables": tables, "edited": b64(packed(OLD)), "edits": edits}
path = Path(__file__).with_name("directories.json")
path.write_text(json.dumps(out, indent=1) + "\n")
print(len(tables), "tables,", len(edits), "edits,", path.stat().st_size, "bytes")
for t in tables:
    for a, v in t["views"].items():
        if "error" in v:
            print(t["name"], a, v["error"])
for e in edits:
    if e["error"]:
        print(e["edit"], e["error"])
