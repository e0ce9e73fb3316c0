"""Forgers of exports, each as good as one can be without the gateway's keys.

In: an export. Out: another one, with everything put right that needs no key: the trailer's counts and
checksum, the manifest's range. So what rejects it is not the file's own checksum.

    python demo/forge.py byte    export.cbor forged.cbor    one byte of one record: a refusal becomes an approval
    python demo/forge.py tail    export.cbor forged.cbor    the last records cut off
    python demo/forge.py record  export.cbor forged.cbor    one record taken out
    python demo/forge.py hide    export.cbor forged.cbor    one record replaced by its hash, as if it were another tenant's
    python demo/forge.py chop    export.cbor forged.cbor    the file simply ends earlier

Layouts: `docs/spec/export.md` and `docs/spec/record.cddl`.
"""

import dataclasses
import enum
import hashlib
import pathlib
import sys

import cbor

MAGIC = b"\xd9\xd9\xf7\x74countersign-export-1"
DECISION = b"application/countersign.decision+cose"

# Keys of maps, from the CDDL.
MANIFEST_END, MANIFEST_SCOPE = 5, 6
SCOPE_TENANT = 2
SPAN_COUNT = 1
PAYLOAD_PLACE, PAYLOAD_BODY = 2, 3
PLACE_INDEX = 1
DECISION_VERDICT, DECISION_CODE, DECISION_CAPABILITY, CAPABILITY_ID = 5, 6, 12, 1


class Kind(enum.IntEnum):
    """What an item is."""

    MANIFEST = 0
    ARTIFACT = 1
    ENTRY = 2
    LEAF = 3
    DISCLOSURES = 4
    CHECKPOINT = 5
    TRAILER = 6
    SPAN = 7
    TENANT_PROOF = 8
    TIMESTAMP = 9


class Verdict(enum.IntEnum):
    """What was decided."""

    ALLOW = 1
    DENY = 2
    MODIFY = 3
    STEP_UP = 4
    DEFER = 5


@dataclasses.dataclass
class Item:
    """One item of an export."""

    kind: Kind
    content: bytes

    def to_bytes(self) -> bytes:
        return cbor.write([int(self.kind), self.content])


def parse(export: bytes) -> list[Item]:
    """The items of an export, without its trailer."""
    if not export.startswith(MAGIC):
        raise ValueError("file does not start as an export does")
    items, at = [], len(MAGIC)
    while at < len(export):
        (kind, content), at = cbor.read(export, at)
        items.append(Item(Kind(kind), content))
    if not items or items[-1].kind != Kind.TRAILER:
        raise ValueError("export has no trailer")
    return items[:-1]


def build(items: list[Item]) -> bytes:
    """An export of these items, with a trailer that is right."""
    body = MAGIC + b"".join(item.to_bytes() for item in items)
    opened = sum(len(cbor.parse(item.content)) for item in items if item.kind == Kind.DISCLOSURES)
    spanned = sum(cbor.parse(item.content)[SPAN_COUNT] for item in items if item.kind == Kind.SPAN)
    trailer = {
        1: _count(items, Kind.ENTRY),
        2: _count(items, Kind.LEAF) + spanned,
        3: _count(items, Kind.ARTIFACT),
        4: opened,
        5: _count(items, Kind.CHECKPOINT),
        6: hashlib.sha256(body).digest(),
        9: _count(items, Kind.TIMESTAMP),
    }
    return body + Item(Kind.TRAILER, cbor.write(trailer)).to_bytes()


def _count(items: list[Item], kind: Kind) -> int:
    return sum(item.kind == kind for item in items)


class Record:
    """An entry of an export: where its payload stands in it."""

    def __init__(self, item: Item):
        self.item = item
        # Tag 18, array of 4, protected header.
        _, _, at = cbor.head(item.content, 0)
        _, _, at = cbor.head(item.content, at)
        self.protected, at = cbor.read(item.content, at)
        _, at = cbor.read(item.content, at)
        _, length, self.start = cbor.head(item.content, at)
        self.payload = item.content[self.start : self.start + length]

    @property
    def is_decision(self) -> bool:
        return DECISION in self.protected

    def value(self, *path: int):
        """The value under these keys of the payload, or nothing."""
        at = cbor.locate(self.payload, 0, *path)
        return None if at is None else cbor.read(self.payload, at)[0]

    @property
    def index(self) -> int:
        return self.value(PAYLOAD_PLACE, PLACE_INDEX)

    @property
    def verdict(self) -> int:
        return self.value(PAYLOAD_BODY, DECISION_VERDICT)

    @property
    def code(self) -> str | None:
        return self.value(PAYLOAD_BODY, DECISION_CODE)

    @property
    def capability(self) -> str | None:
        found = self.value(PAYLOAD_BODY, DECISION_CAPABILITY)
        return found and found[CAPABILITY_ID]


def decisions(export: bytes) -> list[Record]:
    """The Decision Records of an export, in order."""
    records = (Record(item) for item in parse(export) if item.kind == Kind.ENTRY)
    return [record for record in records if record.is_decision]


def find(export: bytes, verdict: Verdict, capability: str | None = None) -> int:
    """Index of the first Decision Record of this verdict (and capability)."""
    for record in decisions(export):
        if record.verdict == verdict and capability in (None, record.capability):
            return record.index
    raise ValueError(f"export has no decision {verdict.name.lower()} of {capability or 'any capability'}")


def change_byte(export: bytes, index: int, to: Verdict = Verdict.ALLOW) -> bytes:
    """Changes one byte: the verdict of the record at this index."""
    items = parse(export)
    record = _at(items, index)
    at = record.start + cbor.locate(record.payload, 0, PAYLOAD_BODY, DECISION_VERDICT)
    content = bytearray(record.item.content)
    content[at] = to
    record.item.content = bytes(content)
    return build(items)


def take_out(export: bytes, index: int) -> bytes:
    """Takes one record out, with what was disclosed of it, and says that the export ends one earlier."""
    items = parse(export)
    _drop(items, _at(items, index).item)
    _edit_manifest(items, MANIFEST_END, cbor.parse(items[0].content)[MANIFEST_END] - 1)
    return build(items)


def hide(export: bytes, index: int) -> bytes:
    """Replaces one record by its leaf hash, and says that the export is one tenant's and this was another's."""
    items = parse(export)
    item = _at(items, index).item
    leaf = Item(Kind.LEAF, hashlib.sha256(b"\0" + item.content).digest())
    _drop(items, item, leaf)
    _edit_manifest(items, MANIFEST_SCOPE, SCOPE_TENANT)
    return build(items)


class Checkpoints(enum.Enum):
    """What becomes of checkpoints over more than is left."""

    KEPT = "kept"
    DROPPED = "dropped"


def cut_tail(export: bytes, index: int, checkpoints: Checkpoints = Checkpoints.KEPT) -> bytes:
    """Cuts off the record at this index and all after it, and says that the export ends there."""
    items = parse(export)
    first = items.index(_at(items, index).item)
    left = items[:first] + [item for item in items[first:] if item.kind == Kind.CHECKPOINT]
    if checkpoints == Checkpoints.DROPPED:
        left = [item for item in left if item.kind != Kind.CHECKPOINT or checkpoint_size(item.content) <= index]
    _edit_manifest(left, MANIFEST_END, index)
    return build(left)


def chop(export: bytes, count: int) -> bytes:
    """Ends the file so many bytes earlier."""
    return export[:-count]


def checkpoint_size(note: bytes) -> int:
    """How many entries a checkpoint is over: its second line."""
    return int(note.split(b"\n")[1])


def _at(items: list[Item], index: int) -> Record:
    for item in items:
        if item.kind == Kind.ENTRY and (record := Record(item)).index == index:
            return record
    raise ValueError(f"export has no entry {index}")


def _drop(items: list[Item], gone: Item, instead: Item | None = None) -> None:
    at = next(i for i, item in enumerate(items) if item is gone)
    end = at + 1
    while end < len(items) and items[end].kind == Kind.DISCLOSURES:
        end += 1
    items[at:end] = [instead] if instead else []


def _edit_manifest(items: list[Item], key: int, value: int) -> None:
    manifest = cbor.parse(items[0].content)
    manifest[key] = value
    items[0] = Item(Kind.MANIFEST, cbor.write(manifest))


def main() -> int:
    if len(sys.argv) != 4:
        print(__doc__, file=sys.stderr)
        return 4
    export = pathlib.Path(sys.argv[2]).read_bytes()
    forgers = {
        "byte": lambda: change_byte(export, find(export, Verdict.DENY)),
        "tail": lambda: cut_tail(export, decisions(export)[-1].index),
        "record": lambda: take_out(export, find(export, Verdict.DENY)),
        "hide": lambda: hide(export, find(export, Verdict.DENY)),
        "chop": lambda: chop(export, 1000),
    }
    if sys.argv[1] not in forgers:
        print(__doc__, file=sys.stderr)
        return 4
    pathlib.Path(sys.argv[3]).write_bytes(forgers[sys.argv[1]]())
    return 0


if __name__ == "__main__":
    sys.exit(main())
