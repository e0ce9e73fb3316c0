"""Sequences of tenants and runs, periods and what is withheld, docs/spec/verification.md, "Complete".

In: places of entries. Out: observations of period, scope, tenant-sequences, tenant-heads, run-chains and run-closes.
"""

from types import SimpleNamespace

from . import cbor, digests, merkle, schema


def start(judge):
    judge.tenants, judge.runs = {}, {}
    judge.stretch = False
    judge.after_period = None  # index of the first entry not before `until`
    judge.counted = False
    judge.proved = None
    judge.heads_number = 0


def _period(judge):
    return judge.manifest.period


def outside(judge, before, after):
    """Whether what stands between two times is outside of the period."""
    period = _period(judge)
    return (after is not None and after < period.from_) or (before is not None and before >= period.until)


def withhold(judge):
    judge.stretch = True


def entry(judge, one):
    """period and scope, when a well-formed entry is read; judge.latest is still that of before."""
    report, manifest, period, at = judge.report, judge.manifest, _period(judge), one.place.at
    if manifest.scope == schema.WHOLE and period and judge.stretch:
        report.holds("period", outside(judge, judge.latest, at), "withheld within")
    judge.stretch = False
    tenant, run = one.place.tenant, one.place.run
    if manifest.scope != schema.WHOLE and tenant is not None and tenant.tenant != manifest.tenant:
        report.fails("scope", f"entry {one.index} of another tenant")
    if not period:
        return
    if at >= period.until and judge.after_period is None:
        judge.after_period = one.index
    if period.from_ <= at < period.until:
        if manifest.scope == schema.WHOLE:
            judge.counted = judge.counted or tenant is not None
        elif manifest.scope == schema.TENANT:
            judge.counted = judge.counted or (tenant is not None and tenant.tenant == manifest.tenant)
        else:
            judge.counted = judge.counted or (run is not None and run.run == manifest.run)


def _goes_on(judge, code, wanted, said, gap, before, after, rule):
    """Observe a sequence; rule is "none", "any" or "outside"."""
    report = judge.report
    if said == wanted:
        report.held(code)
    elif said > wanted and said - wanted <= gap and rule == "any":
        report.held(code)
    elif said > wanted and said - wanted <= gap and rule == "outside":
        if outside(judge, before, after):
            report.held(code)
        else:
            report.fails("period", code + " within")
    else:
        report.fails(code, f"number {said}, not {wanted}")


def tenant(judge, one):
    place = one.place.tenant
    if place is None:
        return
    manifest, period = judge.manifest, _period(judge)
    seen = judge.tenants.get(place.tenant)
    if seen is None:
        seen = judge.tenants[place.tenant] = SimpleNamespace(
            next=place.seq if judge.starts_late else 0, withheld=0, at=None, shown=[], latest=None
        )
    if manifest.scope != schema.RUN:
        rule = "none" if not period else "any" if manifest.scope == schema.WHOLE else "outside"
        gap = judge.withheld - seen.withheld
        _goes_on(judge, "tenant-sequences", seen.next, place.seq, gap, seen.at, one.place.at, rule)
    seen.next, seen.withheld, seen.at = place.seq + 1, judge.withheld, one.place.at
    seen.shown.append((one.index, place.seq))
    seen.latest = one.place.at if seen.latest is None else max(seen.latest, one.place.at)


def run(judge, one):
    place = one.place.run
    if place is None:
        return
    report, manifest, period = judge.report, judge.manifest, _period(judge)
    seen = judge.runs.get(place.run)
    fresh = seen is None and judge.starts_late
    if seen is None:
        seen = judge.runs[place.run] = SimpleNamespace(
            next=place.seq if fresh else 0,
            last=None,
            closed=False,
            whole=True,
            count=0,
            first=None,
            index=None,
            withheld=0,
            at=None,
            latest=None,
        )
    was_closed = seen.closed
    if was_closed:
        report.fails("run-chains", "after the end of the run")
        seen.whole = False
    elif not fresh and place.seq == seen.next and place.previous != seen.last:
        report.fails("run-chains", "previous")
    else:
        mine = manifest.scope == schema.RUN and place.run == manifest.run
        if manifest.scope == schema.RUN:
            rule = "any" if not mine else "outside" if period else "none"
        else:
            rule = "any" if period else "none"
        gap = judge.withheld - seen.withheld
        _goes_on(judge, "run-chains", seen.next, place.seq, gap, seen.at, one.place.at, rule)
    if place.seq != seen.next:
        seen.whole = False
    if one.kind == "run":
        body = one.body
        if seen.whole:
            good = (body.run, body.count, body.head, body.first, body.last) == (
                place.run,
                seen.count,
                seen.last,
                seen.first,
                seen.index,
            )
            good = good and seen.count > 0
        else:
            good = (body.run, body.count, body.head) == (place.run, place.seq, place.previous)
        report.holds("run-closes", good, f"entry {one.index}")
        seen.closed = True
    seen.next, seen.last, seen.count = place.seq + 1, one.digest, seen.count + 1
    seen.first = one.index if seen.first is None else seen.first
    seen.index, seen.withheld, seen.at = one.index, judge.withheld, one.place.at
    seen.latest = one.place.at if seen.latest is None else max(seen.latest, one.place.at)


# ---------------------------------------------------------------- tenant-heads


def _shown(judge, tenant_id, size):
    seen = judge.tenants.get(tenant_id)
    for index, seq in reversed(seen.shown if seen else ()):
        if index < size:
            return seq
    return None


def _leaf(tenant_id, seq):
    return digests.leaf(cbor.encode({1: tenant_id, 2: seq}))


def heads(judge, one, statement):
    report, manifest, size = judge.report, judge.manifest, statement.head.size
    judge.heads_number += 1
    if not judge.withheld:
        shown = [(tenant_id, _shown(judge, tenant_id, size)) for tenant_id in sorted(judge.tenants)]
        leaves = [_leaf(tenant_id, seq) for tenant_id, seq in shown if seq is not None]
        good = (len(leaves), merkle.over(leaves)) == (statement.tenant_count, statement.tenants)
        if report.holds("tenant-heads", good, f"entry {one.index}") and manifest.tenant is not None:
            mine = _shown(judge, manifest.tenant, size)
            if mine is not None:
                _prove(judge, one, size, mine)
    proof = one.proof
    if proof is None:
        return
    one.proof_judged = True
    leaf = _leaf(proof.head.tenant, proof.head.seq)
    if not merkle.included(leaf, proof.position, statement.tenant_count, proof.path, statement.tenants):
        report.fails("tenant-heads", "proof")
    elif proof.head.tenant != manifest.tenant:
        report.fails("tenant-heads", "proof of another tenant")
    else:
        _prove(judge, one, size, proof.head.seq)


def _prove(judge, one, size, seq):
    period = _period(judge)
    if period and one.place.at < period.from_:
        return
    kept = judge.proved
    if kept and kept.reaches:
        return
    if kept and not period:
        _judge(judge, kept)
    reaches = bool(period) and judge.after_period is not None and judge.after_period <= size
    judge.proved = SimpleNamespace(size=size, seq=seq, reaches=reaches, of=judge.heads_number)


def _judge(judge, kept):
    judge.report.holds("tenant-heads", _shown(judge, judge.manifest.tenant, kept.size) == kept.seq, "last number")


def stray_proof(judge):
    judge.report.fails("tenant-heads", "proof after an entry that covers nothing")


# ---------------------------------------------------------------- the end


def end(judge):
    report, manifest, period = judge.report, judge.manifest, _period(judge)
    if manifest.scope == schema.WHOLE and not period and judge.withheld:
        report.fails("scope", "withheld")
    elif judge.starts_late:
        report.unknown("scope", "starts late")
    else:
        report.held("scope")
    if period:
        if manifest.scope == schema.WHOLE and judge.stretch:
            report.holds("period", outside(judge, judge.latest, None), "withheld within")
        if judge.counted:
            report.held("period")
        else:
            report.unknown("period", "no call")
    if manifest.scope == schema.TENANT and manifest.tenant is not None:
        mine = judge.tenants.get(manifest.tenant)
        kept = judge.proved
        if period and mine is not None and mine.latest >= period.until:
            report.held("tenant-heads")
        elif kept and (kept.reaches or kept.of == judge.heads_number):
            if period and _shown(judge, manifest.tenant, kept.size) is None:
                report.unknown("tenant-heads", "no entry of the tenant is there")
            else:
                _judge(judge, kept)
        else:
            report.unknown("tenant-heads", "the last number is not proved")
    if manifest.scope == schema.RUN and manifest.run is not None:
        mine = judge.runs.get(manifest.run)
        if mine is not None and mine.closed:
            report.held("run-closes")
        elif mine is None or not period or mine.latest < period.until:
            report.unknown("run-closes", "not closed")
        else:
            report.held("run-closes")
