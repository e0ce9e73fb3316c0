"""A question about Decision Records, docs/spec/verification.md, "query". In: K=V,…. Out: one observation at the end."""

from . import report
from .calls import AGENT
from .trust import Refused

KEYS = ("capability", "verdict", "code", "mode", "agent")
VERDICTS = (None, "allow", "deny", "modify", "step_up", "defer")
MODES = (None, "read_only", "local_write", "network", "delegated", "destructive")


def parse(word):
    """{key: value} of a question."""
    out = {}
    for pair in word.split(","):
        key, found, value = pair.partition("=")
        if not found or key not in KEYS or key in out:
            raise Refused(f"--query {pair}")
        out[key] = value
    return out


def start(judge, question):
    judge.question = question
    judge.asked = judge.matching = judge.withholding = 0
    judge.agents = {}


def entry(judge, one):
    """Each decision that counts; intents are remembered for the agents that they disclose."""
    if judge.question is None or one.kind not in ("intent", "decision"):
        return
    body, period = one.body, judge.manifest.period
    opened = one.opened.get(AGENT, ())
    if one.kind == "intent":
        judge.agents[body.call] = opened
        return
    opened = opened or judge.agents.pop(body.call, ())
    if period and not period.from_ <= one.place.at < period.until:
        return
    judge.asked += 1
    has = {
        "capability": body.capability.id if body.capability else None,
        "verdict": VERDICTS[body.verdict],
        "code": body.code,
        "mode": MODES[body.policy.effective] if body.policy else None,
        "agent": opened[0].decode("utf-8", "replace") if opened else None,
    }
    differ = {key for key, value in judge.question.items() if has[key] != value}
    if differ == {"agent"} and not opened:
        judge.withholding += 1
    elif not differ:
        judge.matching += 1


def end(judge):
    if judge.question is None:
        return
    states = judge.report.states()
    doubt = not judge.asked or judge.withholding
    for code, section, severity, need in report.TABLE:
        if severity == "untrusted" and section in ("unaltered", "complete") and code not in ("query", "fleet", "histories"):
            doubt = doubt or states[code] in ("fail", "cannot-tell") or (states[code] == "not-checked" and need == "required")
    if doubt:
        judge.report.unknown("query", f"{judge.matching} of {judge.asked}, but perhaps not all")
    else:
        judge.report.held("query")
