"""The TCG event log of a boot, docs/spec/verification.md, "Event log". In: bytes. Out: the 24 values that it leads to."""

from . import digests
from .cbor import Malformed

SIZES = {0x04: 20, 0x0B: 32, 0x12: 32, 0x27: 32, 0x0C: 48, 0x28: 48, 0x0D: 64, 0x29: 64}
LOCALITY = b"StartupLocality\x00"


def replay(log):
    """Values by index, or Malformed."""
    from .tpm import Reader

    if len(log) > 4_194_304:
        raise Malformed("too large")
    r = Reader(log, "little")
    if r.number(4) != 0 or r.number(4) != 3 or r.take(20) != bytes(20):
        raise Malformed("first event")
    first = Reader(r.take(r.number(4)), "little")
    if first.take(16) != b"Spec ID Event03\x00":
        raise Malformed("first event")
    first.take(8)
    count = first.number(4)
    if count > 8:
        raise Malformed("algorithms")
    sizes = {}
    for _ in range(count):
        algorithm, size = first.number(2), first.number(2)
        if algorithm in sizes or SIZES.get(algorithm, size) != size:
            raise Malformed("algorithms")
        sizes[algorithm] = size
    first.take(first.number(1))
    first.end()
    if 0x0B not in sizes:
        raise Malformed("algorithms")
    values = [b"\xff" * 32 if 17 <= i <= 22 else bytes(32) for i in range(24)]
    extended = located = False
    while True:
        rest = log[r.at :]
        if not rest.strip(b"\x00") or not rest.strip(b"\xff"):
            return values
        pcr, kind, count = r.number(4), r.number(4), r.number(4)
        if count != len(sizes):
            raise Malformed("digests")
        found = {}
        for _ in range(count):
            algorithm = r.number(2)
            if algorithm not in sizes or algorithm in found:
                raise Malformed("digests")
            found[algorithm] = r.take(sizes[algorithm])
        data = r.take(r.number(4))
        if kind == 3:
            if pcr == 0 and data.startswith(LOCALITY):
                if len(data) != 17 or data[16] not in (0, 3, 4) or located or extended:
                    raise Malformed("locality")
                located = True
                values[0] = bytes(31) + data[16:]
            continue
        if pcr > 23:
            raise Malformed("register")
        values[pcr] = digests.sha256(values[pcr] + found[0x0B])
        extended = extended or pcr == 0
