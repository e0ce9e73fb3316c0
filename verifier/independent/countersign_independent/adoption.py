"""Work that one gateway continues for another, docs/spec/verification.md, "adoption" and "handed-over".

In: adopt entries, the statement in the export of a log that was handed over, and the exports given together.
Out: observations of adoption and handed-over.
"""

from types import SimpleNamespace

from . import cose, epochs, schema

KIND = "application/countersign.adopt-statement+cose"
MOST_TAKEN = 64
GRACE = 300_000


def start(judge):
    judge.taken = []
    judge.handed_over = None  # the statement, and whether its root was that of this log: True, False, or None


def _genuine(judge, data):
    return cose.genuine(data, "adopt-statement", judge.governance, schema.adopt_statement)


def entry(judge, one):
    """An adopt entry: this gateway continues another's work."""
    report, body = judge.report, one.body
    if not judge.governance:
        report.not_made("adoption")
        return
    said = _genuine(judge, body.statement)
    good = said is not None and said.gateway == judge.manifest.gateway
    good = good and (said.predecessor, said.head) == (body.predecessor, body.head)
    good = good and said.predecessor != said.gateway and said.head.size > 0
    good = good and all(said.predecessor != other.predecessor for other in judge.taken)
    if not good:
        report.fails("adoption", f"entry {one.index}")
    elif len(judge.taken) == MOST_TAKEN:
        report.unknown("adoption", "more adoptions than are followed")
    else:
        judge.taken.append(said)


def artifact(judge, one):
    """The word of governance that this log was handed over."""
    if one.kind != KIND:
        return
    if not judge.governance:
        judge.report.not_made("adoption")
        return
    said = _genuine(judge, one.bytes)
    if said is None or said.predecessor != judge.manifest.gateway or judge.handed_over is not None:
        judge.report.fails("adoption", "statement of the hand-over")
    else:
        judge.handed_over = SimpleNamespace(said=said, same=None)


def grown(judge):
    """As soon as the tree has as many leaves as were handed over."""
    handed = judge.handed_over
    if handed is None or handed.same is not None or judge.starts_late or judge.tree.size != handed.said.head.size:
        return
    handed.same = judge.tree.root() == handed.said.head.root and judge.last_leaf == handed.said.last
    if judge.report.holds("adoption", handed.same, "another log than was handed over"):
        judge.report.held("root")
        judge.covered = judge.position


def end(judge):
    report, handed, latest = judge.report, judge.handed_over, judge.statement
    if handed is not None:
        _end_of_the_handed_over(judge, handed)
    for said in judge.taken:
        member = epochs.member_of(latest, said.predecessor) if latest else None
        if member is not None and member.until is None:
            report.fails("adoption", "the predecessor is still of the fleet")
        else:
            report.not_made("adoption")


def _end_of_the_handed_over(judge, handed):
    report, size = judge.report, handed.said.head.size
    if not judge.starts_late and judge.tree.size < size:
        report.fails("leaves", "fewer than were handed over")
        return
    if not handed.same:
        report.unknown("adoption", "not the log that was handed over, or not compared")
        return
    after = judge.tree.size - size
    report.holds("handed-over", after == 0, f"{after} entries more")
    if after:
        ends = [one.index for one in judge.epochs[1:]] + [judge.position]
        late = [one.latest for one, stop in zip(judge.epochs, ends) if stop > size]
        if late and max(late) > epochs.capped(handed.said.issued + GRACE):
            report.fails("adoption", "it went on after it was handed over")


# ---------------------------------------------------------------- several exports


def link(judges):
    """What adoptions say about the other exports; each was judged by itself before."""
    known = [one for one in judges if one.manifest is not None]
    untrusted = {id(one) for one in known if one.report.verdict() == "untrusted"}
    for one in known:
        for said in one.taken:
            others = (two for two in known if two.manifest.gateway != one.manifest.gateway)
            if any(said.predecessor == other.predecessor for two in others for other in two.taken):
                one.report.fails("adoption", "two gateways continue one")
            for two in known:
                if two.manifest.gateway == said.predecessor:
                    _against(one, said, two, id(two) in untrusted)


def _against(judge, said, other, untrusted):
    report, size = judge.report, said.head.size
    if untrusted:
        report.unknown("adoption", "the predecessor's export is not to be trusted")
        return
    handed = other.handed_over
    if handed is not None and handed.same and handed.said.gateway != said.gateway:
        report.fails("adoption", "it was handed over to another")
        return
    root = _known_root(other, size)
    if root is None:
        report.unknown("adoption", "the root at the hand-over is not known")
    elif root != said.head.root:
        report.fails("adoption", "another log than the predecessor's")
    elif other.position == size:
        report.held("adoption")
        report.held("handed-over")
    elif other.latest is not None and other.latest > epochs.capped(said.issued + GRACE):
        report.fails("adoption", "the predecessor went on")
    else:
        report.held("adoption")
        report.fails("handed-over", "entries after the hand-over")


def _known_root(other, size):
    if other.starts_late or size > other.position:
        return None
    handed = other.handed_over
    compared = handed is not None and handed.same is not None and size == handed.said.head.size
    if compared or size in other.quoted_sizes or size == other.position:
        return other.tree.root(size)
    return None
