"""Values that an export promises, erasures and holds, docs/spec/verification.md, "missing-disclosures", "erasures", "holds".

In: well-formed entries with what was opened of them. Out: observations of these three. Of each entry that has commitments a
few words are kept; of an open intent its commitments, too.
"""

from bisect import bisect_left, bisect_right
from collections import namedtuple
from types import SimpleNamespace

from . import bundles, calls, cose, epochs, schema
from .ranges import Ranges, in_order, within

CONTENT = {
    calls.PROOF,
    calls.RECEIVED,
    calls.FORWARDED,
    calls.RAW,
    calls.RELEASED,
    calls.TRANSCRIPT,
    calls.FACTS,
    calls.IDEMPOTENCY,
    calls.PREVIEW,
    calls.EGRESS,
}
CALLS = ("intent", "decision")
EVERY_CLASS = {1, 2, 3, 4}
LATE = 60_000
Kept = namedtuple("Kept", "kind subject tenant opened")


def start(judge):
    judge.kept_at, judge.kept = [], []  # index of each entry with commitments, and what is kept of it
    judge.unsettled = {}  # by call: intents that are to be judged with the classification of their decision
    judge.not_opened = []  # indexes of entries of which something promised was not opened
    judge.erased = Ranges()
    judge.ring = 0
    judge.holds = {}
    judge.held_since = False


# ---------------------------------------------------------------- entries


def entry(judge, one):
    if one.kind == "erasure":
        _erasure(judge, one)
    elif one.kind == "hold":
        _hold(judge, one)
    mine = set(calls.commitments(one))
    if mine:
        subject = one.body.caller.subject if one.kind in CALLS else None
        tenant = one.place.tenant.tenant if one.place.tenant else None
        judge.kept_at.append(one.index)
        judge.kept.append(Kept(one.kind, subject, tenant, bool(one.commitments_opened)))
    if one.kind == "intent":
        before = judge.unsettled.pop(one.body.call, None)
        if before:
            _promised(judge, *before, None)
        judge.unsettled[one.body.call] = (one, mine)
        return
    classification = None
    if one.kind == "decision":
        intent = judge.unsettled.pop(one.body.call, None) if one.body.intent is not None else None
        classification = one.body.handling.classification if one.body.handling else None
        if intent:
            _promised(judge, *intent, classification)
            mine -= intent[1] - one.commitments_opened
    _promised(judge, one, mine, classification)


def _promised(judge, one, mine, classification):
    """missing-disclosures, of one entry with the commitments that count for it."""
    said = judge.manifest.disclosed
    subject = one.body.caller.subject if one.kind in CALLS else None
    if said.subject is not None and said.subject != subject:
        return
    fits = one.kind not in CALLS or classification in said.classes or (classification is None and EVERY_CLASS <= set(said.classes))
    promised = {pair for pair in mine if pair[0] in said.fields and (fits or pair[0] not in CONTENT)}
    if promised - one.commitments_opened:
        judge.not_opened.append(one.index)
    elif promised:
        judge.report.held("missing-disclosures")


def end(judge):
    for one, mine in judge.unsettled.values():
        _promised(judge, one, mine, None)
    missing = [index for index in judge.not_opened if not judge.erased.has(index)]
    for index in missing:
        judge.report.fails("missing-disclosures", f"entry {index}")
    if judge.not_opened and not missing:
        judge.report.held("missing-disclosures")


# ---------------------------------------------------------------- statements of people


def ordered(judge, one, kind, group, opened, check):
    """The statement behind an erasure or hold, if a person of this group of the bundle in force signed it; else None."""
    body = one.body
    bundle = next((judge.bundles[digest] for digest in epochs.newest_bundles(judge) if digest in judge.bundles), None)
    person = bundles.approver(bundle, body.ordered_by) if bundle else None
    if person is None or group not in person.groups:
        return None
    said = cose.genuine(opened, kind, {body.ordered_by: person.key}, check)
    good = said is not None and said.gateway == judge.manifest.gateway and said.signer == body.ordered_by
    return said if good and one.place.at <= said.expires + LATE else None


def _erasure(judge, one):
    report, body = judge.report, one.body
    placed = in_order(body.entries) and all(each.last < one.index for each in body.entries[-1:])
    good = placed and body.ring >= judge.ring
    judge.ring = max(judge.ring, body.ring)
    opened = one.opened.get(calls.ERASURE)
    if not good:
        report.fails("erasures", f"entry {one.index}: place or ring")
    elif not opened:
        report.not_made("erasures")
    else:
        said = ordered(judge, one, "erasure-statement", "privacy", opened[0], schema.erasure_statement)
        good = said is not None and (said.subject, said.basis) == (body.subject, body.basis)
        good = good and (said.subject is None) == bool(said.entries) and in_order(said.entries)
        good = good and (said.subject is not None or within(body.entries, said.entries))
        report.holds("erasures", good, f"entry {one.index}: statement")
    if placed:
        _covered(judge, one)


def _covered(judge, erasure):
    """What a well-placed erasure covers that none before it did."""
    report, subject = judge.report, erasure.body.subject
    in_force = [hold for hold in judge.holds.values() if _is_in_force(hold, erasure.place.at)]
    kept = False
    for first, last in [new for each in erasure.body.entries for new in judge.erased.add(each.first, each.last)]:
        for at in range(bisect_left(judge.kept_at, first), bisect_right(judge.kept_at, last)):
            index, one = judge.kept_at[at], judge.kept[at]
            allowed = one.kind in CALLS or (one.kind == "event" and subject is None)
            if not allowed or subject not in (None, one.subject):
                report.fails("erasures", f"entry {erasure.index}: entry {index} is none that it may cover")
            if one.opened:
                report.fails("erasures", f"entry {erasure.index}: entry {index} is disclosed")
            kept = kept or any(_holds(hold, index, one) for hold in in_force)
    if judge.held_since:
        report.holds("holds", not kept, f"entry {erasure.index}: a hold covers what it erased")


# ---------------------------------------------------------------- holds


def _is_in_force(hold, at):
    return not hold.lifted and (hold.body.until is None or hold.body.until > at)


def _holds(hold, index, one):
    """Whether a hold covers an entry."""
    body = hold.body
    if body.subject is not None and body.subject != one.subject:
        return False
    if body.tenant is not None and body.tenant != one.tenant:
        return False
    return body.entries is None or body.entries.first <= index <= body.entries.last


def _fields(body):
    return body.subject, body.tenant, body.entries, body.until


def _hold(judge, one):
    report, body = judge.report, one.body
    before = judge.holds.get(body.id)
    if body.act == schema.PLACED:
        good = before is None
        if good:
            judge.holds[body.id] = SimpleNamespace(body=body, lifted=False)
        judge.held_since = True
    else:
        good = before is not None and _is_in_force(before, one.place.at) and _fields(before.body) == _fields(body)
        if before is not None:
            before.lifted = True
    opened = one.opened.get(calls.HOLD)
    if not good:
        report.fails("holds", f"entry {one.index}: id")
    elif not opened:
        report.not_made("holds")
    else:
        said = ordered(judge, one, "hold-statement", "legal", opened[0], schema.hold_statement)
        good = said is not None and (said.act, said.id, *_fields(said)) == (body.act, body.id, *_fields(body))
        report.holds("holds", good, f"entry {one.index}: statement")
