"""Gateways that continue another's work, docs/spec/verification.md, "adoption".

In: adopt entries, the statement that travels with a log which was handed over. Out: observations of adoption and handed-over.
"""

from types import SimpleNamespace

from . import cose, schema

KIND = "application/countersign.adopt-statement+cose"
MOST = 2**64 - 1
SKEW = 300_000
KEPT = 64


def start(judge):
    judge.taken = []
    judge.handed = None
    judge.handed_compared = judge.handed_held = False
    judge.after_handed = None  # largest `at` in the epochs of the leaves after


def _genuine(judge, data):
    return cose.genuine(data, "adopt-statement", judge.governance, schema.adopt_statement)


def entry(judge, one):
    report, body = judge.report, one.body
    if not judge.governance:
        report.not_made("adoption")
        return
    said = _genuine(judge, body.statement)
    good = said is not None and (said.predecessor, said.head) == (body.predecessor, body.head)
    good = good and said.gateway == judge.manifest.gateway and said.predecessor != said.gateway and said.head.size > 0
    good = good and all(taken.predecessor != said.predecessor for taken in judge.taken)
    if not good:
        report.fails("adoption", f"entry {one.index}")
    elif len(judge.taken) >= KEPT:
        report.unknown("adoption", "too many")
    else:
        judge.taken.append(said)


def artifact(judge, one):
    if one.kind != KIND:
        return
    if not judge.governance:
        judge.report.not_made("adoption")
        return
    said = _genuine(judge, one.bytes)
    if said is None or said.predecessor != judge.manifest.gateway or judge.handed is not None:
        judge.report.fails("adoption", "artifact")
    else:
        judge.handed = said


def grown(judge):
    """After each entry, leaf and span."""
    said = judge.handed
    if said is None:
        return
    if judge.position > said.head.size and judge.epochs:
        latest = judge.epochs[-1].latest
        judge.after_handed = latest if judge.after_handed is None else max(judge.after_handed, latest)
    if judge.position == said.head.size and not judge.starts_late:
        judge.handed_compared = True
        good = judge.tree.root() == said.head.root and judge.last_leaf == said.last
        if judge.report.holds("adoption", good, "another log was handed over"):
            judge.handed_held = True
            judge.report.held("root")
            judge.covered = judge.position


def _late(at, said):
    return at is not None and at > min(said.issued + SKEW, MOST)


def end(judge):
    report = judge.report
    if judge.handed is not None:
        _handed_end(judge, judge.handed)
    for said in judge.taken:
        members = judge.statement.members if judge.statement else ()
        if any(one.gateway == said.predecessor and one.until is None for one in members):
            report.fails("adoption", "the predecessor is still listed")
        else:
            report.not_made("adoption")


def _handed_end(judge, said):
    report = judge.report
    if not judge.starts_late and judge.position < said.head.size:
        report.fails("leaves", "fewer than were handed over")
    elif not judge.handed_held:
        report.unknown("adoption", "not compared with what was handed over")
    else:
        report.holds("handed-over", judge.position == said.head.size, "leaves after those that were handed over")
        if _late(judge.after_handed, said):
            report.fails("adoption", "it went on after it was handed over")


# ---------------------------------------------------------------- several exports


def link(judges):
    """What only the exports of both gateways show."""
    known = [one for one in judges if one.manifest is not None]
    verdicts = [one.report.verdict() for one in known]
    for judge in known:
        for said in judge.taken:
            for other in known:
                if other.manifest.gateway != judge.manifest.gateway and any(t.predecessor == said.predecessor for t in other.taken):
                    judge.report.fails("adoption", "another gateway continues the same log")
                    break
            for other, verdict in zip(known, verdicts):
                if other.manifest.gateway == said.predecessor:
                    _compare(judge, said, other, verdict)


def _compare(judge, said, other, verdict):
    report, size, handed = judge.report, said.head.size, other.handed
    root = _root(other, size)
    if verdict == "untrusted":
        report.unknown("adoption", "the export of the predecessor is untrusted")
    elif handed is not None and other.handed_held and handed.gateway != judge.manifest.gateway:
        report.fails("adoption", "it was handed over to another gateway")
    elif other.position < size or root is None:
        report.unknown("adoption", "no root at that size")
    elif root != said.head.root:
        report.fails("adoption", "two histories")
    elif other.position == size:
        report.held("adoption")
        report.held("handed-over")
    elif _late(other.latest, said):
        report.fails("adoption", "the predecessor went on")
    else:
        report.held("adoption")
        report.fails("handed-over", "entries that were not handed over")


def _root(judge, size):
    compared = judge.handed_compared and judge.handed.head.size == size
    known = compared or size in judge.quoted_sizes or size == judge.position
    return judge.tree.root(size) if known and not judge.starts_late else None
