"""Several exports together, docs/spec/verification.md, "Several exports". In: judges of each. Out: the report of all."""

from . import adoption, cose, epochs, schema
from .report import EXIT, Report

ORDER = ("untrusted", "cannot-be-evaluated", "against-policy", "verified")


def judge(judges, given, from_, until, now):
    """The report as JSON has it; given is the statement that the auditor has, or None."""
    report = Report()
    adoption.link(judges)
    histories(report, judges)
    fleet(report, judges, given, from_, until, now)
    states = {code: report.state(code) for code in ("histories", "fleet")}
    verdicts = [one.report.verdict() for one in judges]
    for state in states.values():
        verdicts.append({"fail": "untrusted", "cannot-tell": "cannot-be-evaluated"}.get(state, "verified"))
    verdict = min(verdicts, key=ORDER.index)
    checks = [{"code": code, "state": state, "notes": report.notes[code]} for code, state in states.items()]
    return {
        "report": 1,
        "verdict": verdict,
        "exit_code": EXIT[verdict],
        "fleet": {"checks": checks},
        "reports": [one.report.as_dict() for one in judges],
    }


def histories(report, judges):
    known = [one for one in judges if one.manifest is not None]
    for at, one in enumerate(known):
        for two in known[at + 1 :]:
            if one.manifest.gateway != two.manifest.gateway:
                continue
            size = min(one.position, two.position)
            if one.starts_late or two.starts_late:
                report.unknown("histories", "one starts late")
                continue
            if size == 0:
                report.unknown("histories", "one has no entries")
                continue
            roots = one.tree.root(size), two.tree.root(size)
            if None in roots:
                report.unknown("histories", "a span lies over the end of the shorter")
            else:
                report.holds("histories", roots[0] == roots[1], f"two logs of one gateway at {size}")


def fleet(report, judges, given, from_, until, now):
    latest = [one.statement for one in judges if one.statement is not None]
    highest = max(latest, key=lambda one: one.number, default=None)
    if len({one.fleet for one in latest}) > 1 or any(one.number == highest.number and one != highest for one in latest):
        report.fails("fleet", "statements differ")
    statement = highest
    if given is not None:
        statement = cose.genuine(given, "fleet", judges[0].governance, schema.fleet_statement)
    if statement is None:
        report.unknown("fleet", "no genuine statement")
        return
    if given is not None and highest is not None and statement.fleet == highest.fleet and statement.number < highest.number:
        report.not_made("fleet", "an older statement was given")
    for one in judges:
        if one.manifest is not None and epochs.member_of(statement, one.manifest.gateway) is None:
            report.fails("fleet", "an export of a gateway that is not listed")
    some = False
    for member in statement.members:
        start = max(member.from_, from_ or 0)
        asked = None if until is None else min(until, now)
        ends = [one for one in (member.until, asked) if one is not None]
        end = min(ends) if ends else None
        if end is not None and end <= start:
            continue
        some = True
        if any(covers(one, member, start, end) for one in judges):
            report.held("fleet")
        else:
            report.unknown("fleet", f"no export covers {member.name}")
    if not some:
        report.unknown("fleet", "nobody")


def covers(judge, member, start, end):
    manifest = judge.manifest
    if manifest is None or manifest.gateway != member.gateway or judge.report.verdict() not in ("verified", "against-policy"):
        return False
    if manifest.scope != schema.WHOLE or judge.starts_late:
        return False
    period = manifest.period
    if period and (period.from_ > start or end is None or period.until < end):
        return False
    if end is None:
        return True
    closed = end == member.until and judge.epochs and judge.epochs[-1].close is not None
    return (judge.latest is not None and judge.latest >= end) or bool(closed)
