"""Checkpoints, witnesses and outside clocks, docs/spec/verification.md, "Root" and "Known to others".

In: checkpoints of the export and of the auditor, timestamps. Out: observations.
"""

from types import SimpleNamespace

from . import checkpoint as notes
from . import digests, schema
from . import timestamp as tokens
from .cbor import Malformed

MOST = 2**64 - 1


def capped(value):
    return min(value, MOST)


def start(judge, checkpoints):
    judge.given = [SimpleNamespace(data=data, note=None, compared=False) for data in checkpoints]
    judge.checkpoints = 0
    judge.covered = None
    judge.last_checkpoint = None
    judge.has_seen = {}
    judge.sightings = {}
    judge.unanswered = []
    judge.unknown_line = False
    judge.stamps = 0


def manifest(judge):
    for one in judge.given:
        try:
            note = notes.Checkpoint(one.data, judge.manifest.gateway)
            if not note.signed_by(note.origin, judge.manifest.identity_key):
                raise Malformed("identity line")
            one.note = note
        except Malformed as e:
            judge.report.unknown("cosignatures", f"a checkpoint of the auditor's: {e}")
            continue
    grown(judge)


def grown(judge):
    """As soon as the position is the size of a checkpoint of the auditor's."""
    for one in judge.given:
        if one.note is None or one.compared or one.note.size != judge.position:
            continue
        one.compared = True
        if judge.starts_late:
            judge.report.unknown("root", "the export starts late")
        elif judge.report.holds("root", one.note.root == judge.tree.root(), "a checkpoint of the auditor's"):
            _lines(judge, one.note)


def _lines(judge, note):
    """cosignatures of a genuine checkpoint, and what follows from them."""
    report = judge.report
    for name, hash_, content in note.lines:
        if name in (note.origin, note.origin + "/epoch"):
            continue
        witness = next((w for w in judge.trust.witnesses if (w.name, w.hash) == (name, hash_)), None)
        if witness is None:
            if not judge.unknown_line:
                judge.unknown_line = True
                report.not_made("cosignatures")
            continue
        time = note.cosignature(witness.key, content)
        if not report.holds("cosignatures", time is not None, name) or witness.own:
            continue
        seen = judge.has_seen.get(witness.organisation, 0)
        judge.has_seen[witness.organisation] = max(seen, note.size)
        if note.size == judge.position and note.size:
            _sighting(judge, note.size, capped((time + 1) * 1000))


def _sighting(judge, size, time):
    late = judge.latest is not None and judge.latest > capped(time + 60_000)
    judge.report.holds("outside-time", not late, f"size {size}")
    if size not in judge.sightings:
        judge.sightings[size] = SimpleNamespace(time=time, next=None)
        judge.unanswered.append(judge.sightings[size])
    else:
        judge.sightings[size].time = min(judge.sightings[size].time, time)


def entry(judge, one):
    for sighting in judge.unanswered:
        sighting.next = one.place.at
    judge.unanswered = []


def checkpoint(judge, data):
    report = judge.report
    judge.checkpoints += 1
    judge.last_checkpoint = SimpleNamespace(note=None, genuine=False)
    try:
        note = notes.Checkpoint(data, judge.manifest.gateway)
    except Malformed as e:
        report.fails("checkpoint-signatures", str(e))
        return
    judge.last_checkpoint.note = note
    epoch = next((one for one in reversed(judge.epochs) if one.index < note.size), None)
    good = note.signed_by(note.origin, judge.manifest.identity_key)
    good = good and epoch is not None and note.signed_by(note.origin + "/epoch", epoch.binding.epoch_key)
    report.holds("checkpoint-signatures", good, f"size {note.size}")
    same = None
    if judge.starts_late:
        report.unknown("root", "the export starts late")
    elif note.size == judge.position or note.size in judge.quoted_sizes:
        same = report.holds("root", note.root == judge.tree.root(note.size), f"size {note.size}")
    elif note.size > judge.position:
        report.fails("root", "beyond the export")
        report.fails("leaves", "a checkpoint covers more")
    if good and same:
        judge.last_checkpoint.genuine = True
        if note.size == judge.position:
            judge.covered = note.size
        _lines(judge, note)


def timestamp(judge, value):
    report, last = judge.report, judge.last_checkpoint
    judge.stamps += 1
    if last.note is None:
        report.not_made("outside-time")
        return
    if last.note.size != value.size:
        report.fails("outside-time", "size")
        return
    if not last.genuine or last.note.size != judge.position:
        report.not_made("outside-time")
        return
    what, latest = tokens.verify(value.token, digests.sha256(last.note.text), judge.trust.roots)
    if what == "nobody's":
        report.not_made("outside-time")
    elif what != "holds":
        report.fails("outside-time", what)
    else:
        _sighting(judge, last.note.size, capped(latest))


def witnessed(judge, one):
    """witnessed-calls, for a decision."""
    report, body = judge.report, one.body
    if not body.witnessed:
        if body.policy and "witnessed" in body.policy.obligations and body.effect in (schema.DISPATCHED, schema.CONFIRMED):
            report.fails("witnessed-calls", f"entry {one.index}")
        return
    if body.intent is None:
        report.fails("witnessed-calls", f"entry {one.index}")
    elif not judge.trust.independent or judge.starts_late:
        report.not_made("witnessed-calls")
    else:
        seen = sum(size > body.intent.index for size in judge.has_seen.values())
        report.holds("witnessed-calls", seen >= _enough(judge), f"entry {one.index}")


def _enough(judge):
    return judge.trust.min_witnesses or 1


def coverage(judge):
    """root, at the end, if an entry or leaf was read."""
    if judge.checkpoints and not judge.starts_late and judge.covered != judge.position:
        judge.report.fails("root", "no checkpoint covers all leaves")


def end(judge):
    report, trust = judge.report, judge.trust
    for one in judge.given:
        if one.note is None or one.compared:
            continue
        if one.note.size > judge.position:
            report.fails("leaves", "a checkpoint of the auditor's covers more")
        else:
            report.unknown("root", "a checkpoint of the auditor's was never compared")
    if not trust.independent or (trust.min_witnesses is None and not judge.has_seen):
        report.not_made("witnesses")
    else:
        report.holds("witnesses", len(judge.has_seen) >= _enough(judge), "too few")
    _unseen(judge)
    if not judge.sightings and not judge.stamps:
        report.not_made("outside-time")


def _unseen(judge):
    report, limit = judge.report, judge.trust.max_unseen
    if limit is None:
        return
    limit = capped(limit * 1000)
    sizes = sorted(judge.sightings)
    earliest, times = None, {}
    for size in reversed(sizes):
        time = judge.sightings[size].time
        earliest = time if earliest is None else min(earliest, time)
        times[size] = earliest
    following = judge.first_at
    for size in sizes:
        if following is not None and max(times[size] - following, 0) > limit:
            report.fails("outside-time", f"size {size} was seen late")
        following = judge.sightings[size].next
    if following is not None and max(judge.latest - following, 0) > limit:
        report.fails("outside-time", "the end was not seen")
