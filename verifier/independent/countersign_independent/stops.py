"""Calls that people stopped, docs/spec/verification.md, "stops".

In: stops, intents and decisions, in order, with what was opened of them. Out: observations of this one check.
"""

from types import SimpleNamespace

from . import calls, schema
from .erasures import ordered

LET_THROUGH = (schema.ALLOW, schema.MODIFY)


def start(judge):
    judge.stops = {}


def entry(judge, one):
    if one.kind == "stop":
        _stop(judge, one)
    elif one.kind == "intent" and one.action:
        _call(judge, one, one.action.capability.id, one.body.basis)
    elif one.kind == "decision" and one.body.intent is None and one.body.verdict in LET_THROUGH and one.body.capability:
        basis = one.index if one.body.basis is None else one.body.basis
        _call(judge, one, one.body.capability.id, basis)


def _agent(one):
    opened = one.opened.get(calls.AGENT)
    return opened[0] if opened else None


def _stop(judge, one):
    report, body, agent = judge.report, one.body, _agent(one)
    before = judge.stops.get(body.id)
    if body.act == schema.STOPPED:
        good = before is None
        if good:
            judge.stops[body.id] = SimpleNamespace(body=body, agent=agent, at=one.index, resumed=None)
    else:
        good = before is not None and before.resumed is None
        if good:
            before.resumed = one.index
            was = before.body
            good = (was.tenant, was.capability, was.agent is None) == (body.tenant, body.capability, body.agent is None)
            good = good and (None in (agent, before.agent) or agent == before.agent)
    opened = one.opened.get(calls.STOP)
    if not good:
        report.fails("stops", f"entry {one.index}: id")
    elif not opened:
        report.not_made("stops")
    else:
        said = ordered(judge, one, "stop-statement", "stop", opened[0], schema.stop_statement)
        good = said is not None and (said.act, said.id, said.tenant, said.capability) == (body.act, body.id, body.tenant, body.capability)
        good = good and (said.agent is None) == (body.agent is None)
        good = good and (agent is None or said.agent.encode() == agent)
        report.holds("stops", good, f"entry {one.index}: statement")


def _call(judge, one, capability, basis):
    if not judge.stops or one.place.tenant is None:
        return
    tenant, agents = one.place.tenant.tenant, one.opened.get(calls.AGENT, ())
    perhaps = False
    for stop in judge.stops.values():
        body = stop.body
        in_basis = stop.at < basis and (stop.resumed is None or stop.resumed >= basis)
        if not in_basis or body.tenant not in (None, tenant) or body.capability not in (None, capability):
            continue
        if body.agent is None or (stop.agent is not None and stop.agent in agents):
            judge.report.fails("stops", f"entry {one.index}: let through although entry {stop.at} stops it")
            return
        perhaps = perhaps or not agents or stop.agent is None
    if perhaps:
        judge.report.not_made("stops")
    else:
        judge.report.held("stops")
