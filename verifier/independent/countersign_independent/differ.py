"""Breaks exports of the corpus and compares what both verifiers say:
python3 -m countersign_independent.differ CORPUS --cases N --seed S --verifier PATH [--keep DIR].

A change is one of bytes (anything may happen to them), one of what is promised, opened, erased and held (breakorders), or one of
structure: items go, come twice or change places, a value within an item changes, or what a platform shows does (breakplatform).
Then, as a forger would who has the keys (those of the corpus are public), the item is signed anew, the checkpoint is made for the
new root, and the trailer counts again; each of these now and then is left out.
Every case follows from seed and number alone. Out: each disagreement, and the count; exit code 0 if both always agree.
"""

import argparse
import base64
import contextlib
import hashlib
import io
import json
import random
import subprocess
import sys
import tempfile
from pathlib import Path

from . import cbor, checkpoint, cose, digests, export, merkle, schema
from . import trust as files
from .breakder import break_der
from .breakorders import break_orders
from .breakplatform import break_platform
from .cbor import Malformed
from .judge import Judge
from .keys import KEYS, sign


def parse(data):
    """(kind, content) of each item, as far as the file can be read."""
    out = []
    with contextlib.suppress(Malformed):
        for kind, content, _ in export.items(io.BytesIO(data)):
            out.append([kind, content])
    return out


def join(items, trailer=True):
    """The file of these items; with a trailer that counts them anew if asked for."""
    out = bytearray(export.MAGIC)
    counts = dict.fromkeys((1, 2, 3, 4, 5, 9), 0)
    names = {export.ENTRY: 1, export.LEAF: 2, export.ARTIFACT: 3, export.CHECKPOINT: 5, export.TIMESTAMP: 9}
    for kind, content in items:
        if kind in names:
            counts[names[kind]] += 1
        elif kind == export.DISCLOSURES:
            with contextlib.suppress(Malformed):
                counts[4] += len(schema.parse(content, schema.disclosures))
        elif kind == export.SPAN:
            with contextlib.suppress(Malformed):
                counts[2] += schema.parse(content, schema.span).count
        elif kind == export.TRAILER and trailer:
            content = cbor.encode({**counts, 6: hashlib.sha256(out).digest()})
        out += bytes([0x82, kind]) + cbor.encode(content)
    return bytes(out)


# ---------------------------------------------------------------- changes of bytes


def break_bytes(rng, data):
    data = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        if not data:
            break
        at = rng.randrange(len(data))
        what = rng.randrange(6)
        if what == 0:
            data[at] ^= 1 << rng.randrange(8)
        elif what == 1:
            data[at] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
        elif what == 2:
            del data[at : at + rng.choice((1, 1, 2, 32, 1000))]
        elif what == 3:
            data[at:at] = rng.randbytes(rng.choice((1, 2, 32)))
        elif what == 4:
            del data[at:]
        else:
            size = rng.choice((1, 8, 64))
            data[at : at + size] = data[:size]
    return bytes(data)


# ---------------------------------------------------------------- changes of values


def other(rng, value):
    """Another value of about the same kind."""
    if type(value) is bool:
        return not value
    if type(value) is int:
        choices = (value + 1, max(value - 1, 0), 0, 1, 2**64 - 1, value ^ 1 << rng.randrange(16), rng.randrange(40))
        return min(abs(rng.choice(choices)), 2**64 - 1)
    if type(value) is str:
        return rng.choice((value + "x", value[:-1], "", value.swapcase(), "step_up:2:privacy"))
    if type(value) is bytes:
        if value and rng.random() < 0.7:
            at = rng.randrange(len(value))
            return value[:at] + bytes([value[at] ^ 1 << rng.randrange(8)]) + value[at + 1 :]
        return rng.choice((b"", value + b"\x00", value[:-1], bytes(len(value)), rng.randbytes(len(value))))
    return value


def change(rng, value, depth=0):
    """The value with one thing changed somewhere inside of it."""
    if type(value) is dict and value and rng.random() < 0.93:
        key = rng.choice(list(value))
        return {**value, key: change(rng, value[key], depth + 1)}
    if type(value) is dict:
        what = rng.randrange(3)
        if what == 0 and value:
            gone = rng.choice(list(value))
            return {key: one for key, one in value.items() if key != gone}
        return {**value, rng.choice((-2, -1, rng.randrange(40))): rng.choice((0, 1, b"", bytes(32), True, {1: b"x"}))}
    if type(value) is list and value and rng.random() < 0.8:
        at = rng.randrange(len(value))
        return value[:at] + [change(rng, value[at], depth + 1)] + value[at + 1 :]
    if type(value) is list:
        what = rng.randrange(3)
        if what == 0 and value:
            return value[:-1]
        return value + [rng.choice(value)] if value and what == 1 else value[::-1]
    if type(value) is bytes and rng.random() < 0.6:
        with contextlib.suppress(Malformed):
            inner = cbor.whole(value)
            if type(inner) in (dict, list) and inner:
                return cbor.encode(change(rng, inner, depth + 1))
        with contextlib.suppress(Malformed):
            return resign(rng, value, lambda payload: change(rng, payload, depth + 1))
    return other(rng, value)


def resign(rng, data, with_payload):
    """A signed statement with another payload, signed by its key if that is one of the corpus's."""
    one = cose.statement(data)
    payload = one.payload
    with contextlib.suppress(Malformed):
        payload = cbor.encode(with_payload(cbor.whole(payload)))
    return sign(one.type, one.key_id, payload, bytes(64) if rng.random() < 0.9 else one.signature)


def change_item(rng, kind, content):
    if kind == export.ENTRY:
        with contextlib.suppress(Malformed):
            return resign(rng, content, lambda payload: change(rng, payload))
    if kind == export.TIMESTAMP and rng.random() < 0.8:
        with contextlib.suppress(Malformed):
            one = schema.parse(content, schema.timestamp)
            return cbor.encode({1: one.size, 2: break_der(rng, one.token)})
    if kind in (export.LEAF, export.CHECKPOINT) or rng.random() < 0.05:
        return other(rng, content)
    with contextlib.suppress(Malformed):
        return cbor.encode(change(rng, cbor.whole(content)))
    return other(rng, content)


# ---------------------------------------------------------------- changes of structure


def repair(items):
    """Checkpoints anew, each for the root where it stands, signed by the keys that signed it."""
    tree, out = merkle.Tree(), []
    for kind, content in items:
        with contextlib.suppress(Malformed, KeyError):
            if kind == export.ENTRY:
                tree.append(digests.leaf(content))
            elif kind == export.LEAF:
                tree.append(content)
            elif kind == export.SPAN:
                span = schema.parse(content, schema.span)
                for level, root in zip(merkle.division(tree.size, min(span.count, 1 << 40)), span.roots):
                    tree.append(root, level)
            elif kind == export.CHECKPOINT:
                content = renote(content, tree)
        out.append([kind, content])
    return out


def renote(content, tree):
    gateway = content[12:76]
    if not content.startswith(b"countersign/"):
        raise Malformed("no checkpoint")
    try:
        note = checkpoint.Checkpoint(content, bytes.fromhex(gateway.decode("ascii")))
    except ValueError:
        raise Malformed("no checkpoint") from None
    text = f"{note.origin}\n{tree.size}\n{base64.b64encode(tree.root()).decode()}\n"
    lines = []
    for name, hash_, signature in note.lines:
        for key in KEYS.values():
            if checkpoint.key_hash(name, 1, key.public_key().public_bytes_raw()) == hash_:
                signature = key.sign(text.encode())
        lines.append(f"— {name} {base64.b64encode(hash_ + signature).decode()}\n")
    return (text + "\n" + "".join(lines)).encode()


def break_structure(rng, data, orders=False):
    items = parse(data)
    if not items:
        return data
    if orders:
        items = break_orders(rng, items)
        if rng.random() < 0.7:
            return join(repair(items))
    if rng.random() < 0.4:
        broken = break_platform(rng, items, break_bytes)
        if broken is not items and rng.random() < 0.8:
            return join(repair(broken))
        items = broken
    intact = items[0]
    for _ in range(rng.choice((1, 1, 1, 2))):
        at = rng.randrange(len(items))
        stamps = [i for i, (kind, _) in enumerate(items) if kind == export.TIMESTAMP]
        what = rng.randrange(10)
        if stamps and rng.random() < 0.5:
            at, what = rng.choice(stamps), 9
        if what == 0:
            del items[at]
        elif what == 1:
            items.insert(at, list(rng.choice(items)))
        elif what == 2:
            to = rng.randrange(len(items))
            items[at], items[to] = items[to], items[at]
        elif what == 3 and items[at][0] == export.ENTRY:
            items[at] = [export.LEAF, digests.leaf(items[at][1])]
            if at + 1 < len(items) and items[at + 1][0] == export.DISCLOSURES:
                del items[at + 1]
        else:
            items[at] = [items[at][0], change_item(rng, *items[at])]
        if not items:
            break
    with contextlib.suppress(Malformed, IndexError):
        # A log of 2^64 leaves is no case worth a rule of its own.
        if schema.parse(items[0][1], schema.manifest).first > 2**63:
            items[0] = intact
    if rng.random() < 0.85:
        items = repair(items)
    return join(items, trailer=rng.random() < 0.9)


# ---------------------------------------------------------------- the auditor's files

VALUES = ("0", "1", "2", "-1", "18446744073709551615", "9223372036854775807", "1.0", "true", '""', '" "', "[]", "{}", '["00"]', '["hardware-tpm"]')


# Rules for platforms, by the table in which they stand.
RULES = {
    "[snp]": """vmpl = 4
providers = ["aws"]
guest_abi = "1.55"
guest_abi = "1.055"
guest_svn = 4294967295
guest_required = ["smt"]
guest_forbidden = ["smt", "cxl"]
platform_required = []
platform_required = ["ecc", "tio"]
platform_forbidden = ["smt"]
revocation = "optional"
revocation = "never"
id_keys = []
author_keys = []
denied_chips = []
host_data = "00"
""",
    "[[snp.products]]": """firmware = "1.55.0"
firmware = "255.255.255"
mitigations = "0000000000000000"
chips = []
""",
    "[azure]": """secure_boot = false
tpm_persisted = true
console_off = false
old_key_operation = true
""",
    "[evidence]": """parties = []
parties = ["amd", "cloud-provider:aws"]
accept = ["processor"]
""",
    "[gcp]": """instances = []
instances = [{ project = "project", id = 42 }]
instances = [{ project = "project", id = 43 }, { project = "", id = 18446744073709551615 }]
instances = [{ project = "project" }]
roots = []
endorsement = { roots = [] }
endorsement = { firmware = [] }
""",
    "[gcp.endorsement]": """roots = []
firmware = []
svn_floor = 0
svn_floor = 6
svn_floor = 4294967295
svn_floor = 4294967296
stands_for_launch = true
stands_for_launch = false
""",
    "[reference]": """launch = []
launch = { gcp-snp = [] }
rtmrs = { 0 = [] }
""",
    "[reference.launch]": """snp = []
azure-snp = []
gcp-snp = []
gcp-tdx = []
gcp = []
swtpm = []
""",
}


def add_rule(rng, lines):
    """One rule more: directly below its table, or now and then anywhere."""
    present = [table for table in RULES if any(line.strip() == table for line in lines)]
    table = rng.choice(present if present and rng.random() < 0.9 else list(RULES))
    rule = rng.choice(RULES[table].splitlines())
    places = [at for at, line in enumerate(lines) if line.strip() == table]
    if places and rng.random() < 0.9:
        lines.insert(rng.choice(places) + 1, rule)
        lines[:] = [line for line in lines if line == rule or line.split("=")[0] != rule.split("=")[0]]
    else:
        lines.insert(rng.randrange(len(lines)), rng.choice((rule, table)))


def break_lines(rng, data):
    """A text of lines with one of them changed: it goes, comes twice, moves, or gets another value or key; or with a rule more."""
    lines = data.decode("utf-8", "replace").split("\n")
    at = rng.randrange(len(lines))
    what = rng.randrange(12)
    if what >= 7:
        add_rule(rng, lines)
    elif what == 0:
        del lines[at]
    elif what == 1:
        lines.insert(rng.randrange(len(lines)), lines[at])
    elif what == 2:
        to = rng.randrange(len(lines))
        lines[at], lines[to] = lines[to], lines[at]
    elif what in (3, 4) and "=" in lines[at]:
        lines[at] = lines[at].split("=")[0] + "= " + rng.choice(VALUES)
    elif what == 5:
        lines[at] = lines[at].swapcase() if rng.random() < 0.3 else lines[at].upper()
    else:
        return break_bytes(rng, data)
    return "\n".join(lines).encode()


def auditors(rng, directory, cases, case, path):
    """Files of the auditor, by option, in the directory of path: those of the case, of another case, or broken ones."""
    names = {"trust": case["trust"], "reference": case["reference"], "receipts": case["receipts"]}
    if rng.random() < 0.25:
        names["trust"] = rng.choice(cases)["trust"]
    if rng.random() < 0.1:
        names["reference"] = rng.choice([one["reference"] for one in cases if one["reference"]] or [None])
    if rng.random() < 0.1:
        names["receipts"] = rng.choice([one["receipts"] for one in cases if one["receipts"]] or [None])
    given = list(case["checkpoints"])
    if rng.random() < 0.1:
        given.append(rng.choice([name for one in cases for name in one["checkpoints"]] or [case["trust"]]))
    out = []
    for key, name in [*names.items(), *(("checkpoint", name) for name in given)]:
        if not name:
            continue
        data = (directory / name).read_bytes()
        if rng.random() < (0.6 if "platform" in name else 0.12):
            data = break_lines(rng, data)
        copy = path / f"{len(out)}-{key}"
        copy.write_bytes(data)
        out.append((key, copy))
    return out


# ---------------------------------------------------------------- both verifiers


def ours(given, data, now):
    """The report, or one of usage."""

    def of(key):
        return [path.read_bytes() for name, path in given if name == key]

    try:
        trust = files.trust(of("trust")[0])
        reference = [files.reference(one) for one in of("reference")]
        receipts = [one for text in of("receipts") for one in files.receipts(text)]
    except files.Refused as e:
        return {"exit_code": 4, "verdict": None, "first_failure": None, "checks": [], "why": str(e)}
    judge = Judge(trust, reference[0] if reference else None, receipts, of("checkpoint"), now)
    return judge.read(io.BytesIO(data)).as_dict()


def theirs(given, path, now, verifier):
    command = [verifier, str(path), "--now", str(now), "--json", "--threads", "1"]
    for key, name in given:
        command += [f"--{key}", str(name)]
    done = subprocess.run(command, capture_output=True, check=False)
    try:
        return {**json.loads(done.stdout), "exit_code": done.returncode}
    except ValueError:
        why = done.stderr.decode("utf-8", "replace")[:300]
        return {"exit_code": done.returncode, "verdict": None, "first_failure": None, "checks": [], "why": why}


def disagreements(one, two):
    out = []
    for key in ("exit_code", "verdict", "first_failure"):
        if one[key] != two[key]:
            out.append(f"{key}: second {one[key]}, first {two[key]}")
    if 4 in (one["exit_code"], two["exit_code"]):
        return out and out + [f"second {one.get('why')}, first {two.get('why')}"]
    notes = {check["code"]: check.get("notes") for check in one["checks"]}
    mine, other_ = ({check["code"]: check["state"] for check in each["checks"]} for each in (one, two))
    for code in mine.keys() | other_.keys():
        if mine.get(code) != other_.get(code):
            out.append(f"{code}: second {mine.get(code)} {notes.get(code)}, first {other_.get(code)}")
    return out


def main(given):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--like", default="", help="only of cases with this in their name")
    parser.add_argument("--orders", action="store_true", help="always change what is promised, opened, erased or held, too")
    parser.add_argument("--verifier", required=True)
    parser.add_argument("--keep", type=Path, help="directory for exports on which they disagree")
    options = parser.parse_args(given)
    directory = options.corpus
    cases = json.loads((directory / "index.json").read_text())["cases"]
    cases = [one for one in cases if options.like in one["name"]]
    apart, exits = 0, 0
    outcomes = dict.fromkeys(range(5), 0)
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "broken.cbor"
        for number in range(options.first, options.first + options.cases):
            rng = random.Random(f"{options.seed}:{number}")
            case = rng.choice(cases)
            data = (directory / case["export"]).read_bytes()
            how = rng.random()
            if how < 0.2:
                data = break_bytes(rng, data)
            elif how < 0.85:
                data = break_structure(rng, data, orders=options.orders or how < 0.4)
            given = auditors(rng, directory, cases, case, Path(scratch))
            path.write_bytes(data)
            one, two = ours(given, data, case["now"]), theirs(given, path, case["now"], options.verifier)
            outcomes[one["exit_code"]] += 1
            wrong = disagreements(one, two)
            if wrong:
                apart += 1
                exits += one["exit_code"] != two["exit_code"]
                print(f"case {number} of seed {options.seed}, from {case['name']}:")
                for line in wrong:
                    print("   ", line)
                if options.keep:
                    (options.keep / f"{options.seed}-{number}.cbor").write_bytes(data)
                    for key, copy in given:
                        (options.keep / f"{options.seed}-{number}.{key}").write_bytes(copy.read_bytes())
    told = ", ".join(f"{count} with exit code {code}" for code, count in outcomes.items() if count)
    print(f"{options.cases - apart} of {options.cases} broken exports are judged alike by both ({told}); {exits} with other exit codes")
    return 1 if apart else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
