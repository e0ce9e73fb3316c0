"""Changes of what an export promises and opens, and people's orders to erase or to keep. For the differ.

In: items of an export. Out: items in which something else is promised, values are not opened, calls are told otherwise, or
erasures, holds and other rules stand at the end of the log, many of them as a person ordered them and some nearly so.
"""

import contextlib

from . import calls, cbor, cose, digests, erasures, export, schema
from .cbor import Malformed
from .keys import public, sign

END, DISCLOSED = 5, 11  # of a manifest
INTENT, HANDLING = 3, 27  # of a decision
COMMITMENTS = {"intent": (7, 8, 10), "decision": (15, 16, 17, 18, 19, 20, 25, 29, 34)}
PEOPLE = range(200, 204)
GROUPS = (*(["legal", "privacy", "stop"],) * 4, ["privacy", "legal", "x"], ["legal"], ["privacy"], ["stop"], [])


def break_orders(rng, items):
    """Some changes of this kind; items that are no export stay as they are."""
    with contextlib.suppress(Malformed, IndexError, ValueError):
        log = Log(items)
        for _ in range(rng.choice((0, 1, 1, 2))):
            rng.choice((_promise, _shut, _tell))(rng, log)
        if rng.random() < 0.7:
            _append(rng, log)
        log.items[0][1] = cbor.encode(log.manifest)
        return log.items
    return items


class Log:
    """What one has to know of an export to go on with it."""

    def __init__(self, items):
        self.items = [list(one) for one in items]
        self.manifest = cbor.whole(items[0][1])
        first = schema.parse(items[0][1], schema.manifest)
        self.gateway, self.size, self.at, self.rule = first.gateway, first.first, 0, None
        self.base = self.key_id = bytes(32)
        self.subjects, self.tenants, self.bundle = [bytes(32)], [bytes(16)], None
        self.people, self.calls, self.ring = [], {}, 0
        for kind, content in items:
            if kind == export.SPAN:
                self.size += schema.parse(content, schema.span).count
            elif kind == export.LEAF:
                self.size += 1
            elif kind == export.ENTRY:
                self._entry(*cose.entry(content)[1:], digests.leaf(content))
                self.size += 1
            elif kind == export.ARTIFACT:
                with contextlib.suppress(Malformed):
                    outer = schema.parse(schema.parse(content, schema.artifact).bytes, schema.signed_bundle)
                    schema.parse(outer.payload, schema.bundle_payload)
                    self.bundle = cbor.whole(outer.payload)

    def _entry(self, statement, entry, digest):
        if entry is None:
            return
        self.at = max(self.at, entry.place.at)
        if entry.kind == "base":
            self.base, self.key_id = digest, statement.key_id
        if entry.kind in ("base", "change"):
            self.rule = {1: self.size, 2: digest}
        if entry.kind == "erasure":
            self.ring = max(self.ring, entry.body.ring)
        if entry.kind in erasures.CALLS:
            self.calls[self.size] = entry.body.caller.subject
            self.subjects.append(entry.body.caller.subject or bytes(32))
            self.tenants.append(entry.place.tenant.tenant if entry.place.tenant else bytes(16))

    def person(self, rng):
        """The key of somebody who is mostly named by the rules."""
        return digests.sha256(rng.choice(self.people) if self.people and rng.random() < 0.95 else public(rng.choice(PEOPLE)))

    def shut(self, ranges):
        """Nothing is opened of these entries any more."""
        at, out = self.manifest[4] - 1, []
        for kind, content in self.items:
            with contextlib.suppress(Malformed):
                at += schema.parse(content, schema.span).count if kind == export.SPAN else kind in (export.ENTRY, export.LEAF)
            if kind != export.DISCLOSURES or not any(one[1] <= at <= one[2] for one in ranges):
                out.append([kind, content])
        self.items = out

    def add(self, kind, body, opened=()):
        """An entry at the end of the log, with what is opened of it. Out: its digest."""
        payload = {1: 1, 2: {1: self.size, 2: self.base, 3: self.at, 4: 0}, 3: body}
        entry = sign(f"application/countersign.{kind}+cose", self.key_id, cbor.encode(payload))
        late = (export.CHECKPOINT, export.TIMESTAMP, export.TRAILER)
        at = 1 + max(i for i, (kind, _) in enumerate(self.items) if kind not in late)
        self.items[at:at] = [[export.ENTRY, entry]] + ([[export.DISCLOSURES, cbor.encode(list(opened))]] if opened else [])
        self.size += 1
        return digests.leaf(entry)


    def rules(self, people, there=True):
        """Rules with these approvers come into force."""
        self.people = [one[3] for one in people]
        self.bundle[4] += 1
        self.bundle[5] = {**self.bundle[5], 3: people}
        payload = cbor.encode(self.bundle)
        if there:
            self.items.insert(1, [export.ARTIFACT, cbor.encode({1: "application/countersign.bundle+cbor", 2: payload})])
        body = {1: schema.BUNDLE_CHANGE, 2: digests.artifact(payload), 3: self.bundle[4], 4: self.rule, 5: []}
        index = self.size
        self.rule = {1: index, 2: self.add("change", body)}


def opening(field, salt, value):
    """(commitment, disclosure) of a value."""
    return digests.tagged(b"commitment", cbor.encode([salt, field, value])), {1: field, 2: salt, 3: value}


# ---------------------------------------------------------------- what is promised, opened and told


def _promise(rng, log):
    """Something else is promised."""
    disclosed = dict(log.manifest[DISCLOSED])
    what = rng.randrange(5)
    if what == 0:
        disclosed[1] = sorted(rng.sample(range(1, schema.FIELDS + 1), rng.randrange(1, schema.FIELDS)))
    elif what == 1:
        disclosed[1] = sorted({*disclosed[1], rng.randrange(1, schema.FIELDS + 1)})
    elif what == 2:
        disclosed[2] = rng.choice(([], [1], [2], [3], [4], [1, 2, 3], [2, 3, 4], [1, 2, 3, 4]))
    elif what == 3:
        disclosed[3] = rng.choice(log.subjects)
    else:
        disclosed = {1: list(range(1, schema.FIELDS + 1)), 2: [1, 2, 3, 4]}
    log.manifest[DISCLOSED] = disclosed


def _shut(rng, log):
    """Something is not opened any more, or after another entry."""
    places = [i for i, (kind, _) in enumerate(log.items) if kind == export.DISCLOSURES]
    if not places:
        return
    at = rng.choice(places)
    given = cbor.whole(log.items[at][1])
    if rng.random() < 0.3 or type(given) is not list or not given:
        del log.items[at]
        return
    one = given.pop(rng.randrange(len(given)))
    log.items[at][1] = cbor.encode(given)
    if rng.random() < 0.3:
        other = rng.choice(places)
        there = cbor.whole(log.items[other][1])
        if type(there) is list:
            log.items[other][1] = cbor.encode(there + [one])


def _tell(rng, log):
    """A call is told otherwise: another classification, no intent, one commitment for two fields, an entry twice."""
    places = []
    for i, (kind, content) in enumerate(log.items):
        if kind == export.ENTRY:
            _, statement, entry = cose.entry(content)
            if entry is not None and entry.kind in erasures.CALLS:
                places.append((i, statement, entry.kind))
    if not places:
        return
    at, statement, kind = rng.choice(places)
    payload = cbor.whole(statement.payload)
    body = payload[3]
    what = rng.randrange(4)
    if what == 0 and kind == "decision":
        body[HANDLING] = {1: rng.randrange(1, 5), 2: "", 3: ""}
    elif what == 1 and kind == "decision":
        body.pop(rng.choice((HANDLING, INTENT)), None)
    elif what == 2:
        body[rng.choice(COMMITMENTS[kind])] = body[rng.choice([number for number in COMMITMENTS[kind] if number in body])]
    else:
        log.items.insert(rng.randrange(at, len(log.items)), list(log.items[at]))
        return
    log.items[at][1] = sign(statement.type, statement.key_id, cbor.encode(payload))


# ---------------------------------------------------------------- orders


def _append(rng, log):
    placed, stopped = [], []
    if rng.random() < 0.9:
        _rules(rng, log)
    for _ in range(rng.choice((1, 1, 2, 3, 4, 6))):
        log.at += rng.choice((0, 1, 1000, 60_000))
        what = rng.random()
        if what < 0.4:
            _hold(rng, log, placed)
        elif what < 0.7:
            _stop(rng, log, stopped)
        else:
            _erasure(rng, log)
    if rng.random() < 0.95:
        log.manifest[END] = log.size


def _rules(rng, log):
    """Rules with people of some groups, a few of them there twice, come into force."""
    if log.bundle is None or log.rule is None:
        return
    people = []
    for _ in range(rng.choice((1, 2, 2, 3, 5))):
        people.append({1: "p", 2: "p", 3: public(rng.choice(PEOPLE)), 4: rng.choice(GROUPS), 5: [], 6: []})
    log.rules(people, there=rng.random() < 0.95)


def _ranges(rng, log):
    """Ranges of entries: mostly in order, with one between, and of calls."""
    out, at = [], rng.choice(list(log.calls)) if log.calls and rng.random() < 0.8 else rng.randrange(max(log.size, 1))
    for _ in range(rng.choice((0, 1, 1, 1, 1, 1, 2, 3))):
        last = at + rng.choice((0, 0, 0, 0, 1, 1, 2, 5))
        if rng.random() < 0.9:
            last = max(min(last, log.size - 1), 0)
        out.append({1: at, 2: last})
        at = last + rng.choice((2, 2, 2, 3, 1))
        if at >= log.size and rng.random() < 0.9:
            break
    return out[::-1] if rng.random() < 0.05 else out


def _signed(rng, log, kind, statement, field):
    """A statement of a person, nearly so now and then: (commitment, what opens it)."""
    key_id = statement[{"erasure": 5, "hold": 9, "stop": 8}[kind]]
    if rng.random() < 0.07:
        number = rng.choice([number for number in statement if number != 1])
        statement = {**statement, number: _other(rng, log, statement[number])}
    if rng.random() < 0.03:
        statement.pop(rng.choice(list(statement)))
    if rng.random() < 0.03:
        key_id = digests.sha256(public(rng.choice(PEOPLE)))
    type_ = f"application/countersign.{kind}-statement+cose"
    value = sign(rng.choice((type_,) * 20 + ("application/countersign.approval+cose",)), key_id, cbor.encode(statement))
    commitment, opened = opening(field, rng.randbytes(16), value)
    return commitment, [opened] if rng.random() < 0.85 else ()


def _other(rng, log, value):
    if type(value) is int:
        return max(value + rng.choice((-1, 1, -60_000, -120_000)), 0)
    if type(value) is list:
        return _ranges(rng, log)
    if type(value) is dict:
        return {1: value[1], 2: value[2] + 1}
    return value + "x" if type(value) is str else bytes(len(value))


def _times(rng, log):
    """From when to when a statement may be handed in; about its end everything is on an edge."""
    return log.at - 1000, max(log.at + rng.choice((1, 1, 1, 1, 0, -60_000, -60_000, -60_001)), 0)


def _erasure(rng, log):
    person = log.person(rng)
    ranges, (issued, expires) = _ranges(rng, log), _times(rng, log)
    subject = None
    if rng.random() < 0.5:
        subject = log.calls.get(ranges[0][1]) if ranges and rng.random() < 0.7 else rng.choice(log.subjects)
    if rng.random() < 0.7:
        log.shut(ranges)
    named = [] if subject else ranges
    if not subject and rng.random() < 0.3:
        named = [{1: max(one[1] - rng.randrange(2), 0), 2: one[2] + rng.randrange(2)} for one in ranges] or [{1: 0, 2: 5}]
    elif not subject and rng.random() < 0.2:
        named = [{1: 0, 2: log.size}]
    if subject and rng.random() < 0.05:
        named = ranges
    statement = {1: log.gateway, 3: named, 4: "b", 5: person, 6: max(issued, 0), 7: expires, 8: bytes(32)}
    body = {1: ranges, 2: "b", 3: person, 4: log.ring, 7: True}
    log.ring = max(log.ring + rng.choice((0, 1)) * 2, 0) if rng.random() < 0.95 else 1
    if subject:
        statement[2] = body[6] = subject
    body[5], opened = _signed(rng, log, "erasure", statement, calls.ERASURE)
    log.add("erasure", body, opened)


def _hold(rng, log, placed):
    """A hold is placed, or one that was placed is lifted."""
    person = log.person(rng)
    issued, expires = _times(rng, log)
    lifted = bool(placed) and rng.random() < 0.5
    if lifted:
        fields = dict(placed.pop(rng.randrange(len(placed))) if rng.random() < 0.95 else rng.choice(placed))
        if rng.random() < 0.1:
            fields.pop(rng.choice(list(fields)[1:] or [2]))
    else:
        fields = {2: str(rng.randrange(40))}
        if rng.random() < 0.4:
            fields[3] = rng.choice(log.subjects)
        if rng.random() < 0.3:
            fields[4] = rng.choice(log.tenants)
        if rng.random() < 0.4:
            first = rng.randrange(max(log.size, 1))
            fields[5] = {1: first, 2: max(first + rng.choice((0, 1, 4, -1)), 0)}
        if rng.random() < 0.4:
            fields[6] = log.at + rng.choice((0, 1, 1000, 60_000, 100_000))
        placed.append(fields)
    act = schema.LIFTED if lifted else schema.PLACED
    if rng.random() < 0.03:
        act = 3 - act
    moved = {number + 1 if number > 1 else number: value for number, value in fields.items()}
    statement = {1: log.gateway, 2: act, **moved, 8: "r", 9: person, 10: max(issued, 0), 11: expires, 12: bytes(32)}
    body = {1: act, **fields, 7: person}
    body[8], opened = _signed(rng, log, "hold", statement, calls.HOLD)
    log.add("hold", body, opened)


def _stop(rng, log, stopped):
    """Calls are stopped, or what was stopped is resumed."""
    person = log.person(rng)
    issued, expires = _times(rng, log)
    resumed = bool(stopped) and rng.random() < 0.5
    if resumed:
        fields = dict(stopped.pop(rng.randrange(len(stopped))) if rng.random() < 0.95 else rng.choice(stopped))
        if rng.random() < 0.1:
            fields.pop(rng.choice(list(fields)[1:] or [2]))
    else:
        fields = {2: str(rng.randrange(40))}
        if rng.random() < 0.3:
            fields[3] = rng.choice(log.tenants)
        if rng.random() < 0.4:
            fields[4] = rng.choice(("a.b", "crm.erase"))
        stopped.append(fields)
    act = schema.RESUMED if resumed else schema.STOPPED
    if rng.random() < 0.03:
        act = 3 - act
    moved = {number + 1 if number > 1 else number: value for number, value in fields.items()}
    statement = {1: log.gateway, 2: act, **moved, 7: "r", 8: person, 9: max(issued, 0), 10: expires, 11: bytes(32)}
    body = {1: act, **fields, 6: person}
    body[7], opened = _signed(rng, log, "stop", statement, calls.STOP)
    log.add("stop", body, opened)
