#!/usr/bin/env python3
"""Makes capabilities.json: how the peer reads, prints and narrows capabilities of every kind.

Run by hand with a Python that has Tahoe-LAFS 1.20 installed; writes beside itself.
"""

import json
from pathlib import Path

from allmydata import uri
from allmydata.util import base32

key = base32.b2a(bytes(range(16)))
print_ = base32.b2a(bytes(range(100, 132)))
kinds = [
    b"%s%s%s:%s:%s" % (start, form, right, key, print_)
    for start, forms in [(b"URI:", [b"SSK", b"MDMF"]), (b"URI:DIR2", [b"", b"-MDMF"])]
    for form in forms
    for right in [b"", b"-RO", b"-Verifier"]
]
chk = [b"URI:%s:%s:%s:3:10:1234" % (kind, key, print_) for kind in (b"CHK", b"CHK-Verifier", b"DIR2-CHK", b"DIR2-CHK-Verifier")]
literal = [b"URI:LIT:mzxw6ytboi", b"URI:DIR2-LIT:mzxw6ytboi", b"URI:DIR2-LIT:"]
hints = [kind + b":3:131073" for kind in kinds if b"MDMF" in kind]
marked = [mark + text for mark in (b"ro.", b"imm.") for text in kinds + chk + literal]
unknown = [b"URI:NEW:abc", b"ro.URI:NEW:abc", b"imm.x-new:abc"]

cases = []
for text in kinds + chk + literal + hints + marked + unknown:
    cap = uri.from_string(text)
    case = {"text": text.decode()}
    if isinstance(cap, uri.UnknownURI):
        # Opaque to the peer, too, if it knows why.
        case["error"] = cap.get_error() is not None
    else:
        # The peer fails to narrow verify capabilities of directories once more.
        index = cap.get_storage_index()
        verify = cap if b"Verifier" in text else cap.get_verify_cap()
        case["printed"] = cap.to_string().decode()
        case["read_only"] = cap.get_readonly().to_string().decode()
        case["verify"] = verify and verify.to_string().decode()
        case["index"] = index and base32.b2a(index).decode()
        case["mutable"] = cap.is_mutable()
        case["writable"] = not cap.is_readonly()
    cases.append(case)
lines = ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases)
Path(__file__).with_name("capabilities.json").write_text("[\n%s\n]\n" % lines)
