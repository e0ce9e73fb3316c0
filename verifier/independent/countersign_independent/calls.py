"""Intents, decisions, approvals and disclosures, docs/spec/verification.md. In: entries about calls. Out: observations."""

from types import SimpleNamespace

from . import bundles, cose, digests, epochs, outside, requests, schema
from .cbor import encode

AGENT, USER, SESSION, PROOF, RECEIVED, FORWARDED, RAW, RELEASED, TRANSCRIPT, FACTS = range(1, 11)
IDEMPOTENCY, PREVIEW, APPROVAL, DETAIL = range(11, 15)
CLAIMS, CHAIN, EGRESS, ERASURE, HOLD, STOP = 16, 17, 18, 19, 20, 21


def start(judge):
    judge.words = {}
    judge.open = {}
    judge.decided = set()


# ---------------------------------------------------------------- disclosures


def commitments(entry):
    """(field, commitment) of an entry."""
    body, out = entry.body, []

    def put(field, value):
        if value is not None:
            out.append((field, value))

    if entry.kind in ("intent", "decision"):
        c = body.caller
        for field, value in ((AGENT, c.agent), (USER, c.user), (SESSION, c.session), (PROOF, c.proof)):
            put(field, value)
        put(CLAIMS, c.claims)
        put(CHAIN, c.principal_chain)
        for field, value in ((FACTS, body.facts), (RECEIVED, body.received), (IDEMPOTENCY, body.idempotency)):
            put(field, value)
    if entry.kind == "intent" and entry.action:
        for field, value in ((AGENT, entry.action.agent), (FORWARDED, entry.action.forwarded), (PREVIEW, entry.action.preview)):
            put(field, value)
    if entry.kind == "decision":
        for field, value in ((FORWARDED, body.forwarded), (RAW, body.raw_result), (RELEASED, body.released)):
            put(field, value)
        for field, value in ((TRANSCRIPT, body.transcript), (EGRESS, body.egress), (PREVIEW, body.preview)):
            put(field, value)
    if entry.kind == "approval-entry":
        put(APPROVAL, body.statement)
    if entry.kind == "event":
        put(DETAIL, body.detail)
    if entry.kind == "erasure":
        put(ERASURE, body.statement)
    if entry.kind == "hold":
        put(HOLD, body.statement)
    if entry.kind == "stop":
        put(AGENT, body.agent)
        put(STOP, body.statement)
    return out


def disclosed(judge, entry):
    report = judge.report
    if entry.kind == "intent":
        entry.action = schema.attempt(entry.body.action, schema.action)
    if entry.has_disclosures:
        if entry.given is None:
            report.fails("disclosures", "malformed")
        else:
            known = set(commitments(entry))
            for one in entry.given:
                commitment = digests.tagged(b"commitment", encode([one.salt, one.field, one.value]))
                if report.holds("disclosures", (one.field, commitment) in known, f"field {one.field} of entry {entry.index}"):
                    entry.opened.setdefault(one.field, []).append(one.value)
                    entry.commitments_opened.add((one.field, commitment))
                    if one.field == PROOF and schema.attempt(one.value, schema.caller_proof) is None:
                        report.fails("disclosures", "caller-proof")
            if len(set(entry.opened.get(AGENT, ()))) > 1:
                report.fails("disclosures", "two agents")
    if entry.kind in ("intent", "decision"):
        _caller(judge, entry)


def _caller(judge, entry):
    """caller-proofs."""
    report, caller = judge.report, entry.body.caller
    proofs = [one for one in (schema.attempt(v, schema.caller_proof) for v in entry.opened.get(PROOF, ())) if one]
    if not proofs:
        if caller.assurance >= 3 or caller.proof is not None:
            if caller.proof is None or caller.key is None:
                report.fails("caller-proofs", "claims to have signed")
            else:
                report.not_made("caller-proofs")
        return
    report.holds("caller-proofs", _proved(judge, entry, proofs[0]), f"entry {entry.index}")


def _proved(judge, entry, proof):
    body = entry.body
    key_id = digests.sha256(proof.key)
    if body.caller.key != key_id:
        return False
    digest = requests.content_digest(proof)
    if digest is None or any(digests.sha256(value) != digest for value in entry.opened.get(RECEIVED, ())):
        return False
    if body.policy is not None:
        bundle = judge.bundles.get(body.policy.bundle)
    else:
        held = epochs.newest_bundles(judge)
        bundle = judge.bundles.get(held[0]) if held else None
    if bundle is None:
        return False
    agent = bundles.agent(bundle, key_id)
    if agent is None or any(value != agent.urn.encode() for value in entry.opened.get(AGENT, ())):
        return False
    if entry.place.tenant is not None:
        for one in bundle.registry.tenants:
            if one.name == agent.tenant:
                return one.id == entry.place.tenant.tenant
        return False
    return True


# ---------------------------------------------------------------- approvals


def approval(judge, entry):
    report, body = judge.report, entry.body
    word = SimpleNamespace(
        digest=entry.digest,
        action=body.action,
        call=body.call,
        approver=body.approver,
        choice=body.choice,
        expires=body.expires,
        used=False,
        preview=None,
    )
    judge.words[entry.index] = word
    opened = entry.opened.get(APPROVAL)
    if not opened:
        report.not_made("approvals")
        return
    person = None
    for digest in epochs.newest_bundles(judge):
        bundle = judge.bundles.get(digest)
        person = bundles.approver(bundle, body.approver) if bundle else None
        if person:
            break
    said = cose.genuine(opened[0], "approval", {body.approver: person.key}, schema.approval_statement) if person else None
    good = said is not None and said.gateway == judge.manifest.gateway
    good = good and (said.action, said.approver, said.choice, said.expires) == (
        body.action,
        body.approver,
        body.choice,
        body.expires,
    )
    if report.holds("approvals", good, f"entry {entry.index}"):
        word.preview = said.preview


def needed(policy, mode):
    """(how many people, which groups) an intent needs."""
    people = 1 if schema.DESTRUCTIVE in (mode, policy.effective) else 0
    groups = set()
    for one in policy.obligations:
        if not one.startswith("step_up"):
            continue
        parts = one[len("step_up") :].split(":")[1:]
        number = 1
        if parts and parts[0].isascii() and parts[0].isdigit() and int(parts[0]) < 1 << 64:
            number = int(parts[0])
        people = max(people, number, 1)
        if len(parts) > 1:
            groups.update(parts[1].split("+"))
    return people, groups


def _approved(judge, entry, action, action_digest, reference, groups):
    """The approver of a reference that holds, or None."""
    word = judge.words.get(reference.index)
    if word is None or word.digest != reference.digest:
        return None
    used, word.used = word.used, True
    if used or word.action != action_digest or word.choice != 1 or entry.place.at > word.expires or word.call != action.call:
        return None
    if word.preview is not None and word.preview != action.preview:
        return None
    bundle = judge.bundles.get(action.bundle)
    person = bundles.approver(bundle, word.approver) if bundle else None
    tenant = next((one for one in bundle.registry.tenants if one.id == action.tenant), None) if bundle else None
    if person is None or tenant is None or tenant.name not in person.tenants:
        return None
    if person.capabilities and action.capability.id not in person.capabilities:
        return None
    return word.approver if groups <= set(person.groups) else None


# ---------------------------------------------------------------- intents


def intent(judge, entry):
    report, body, place = judge.report, entry.body, entry.place
    _call_time(judge, place.at)
    action = entry.action
    good = action is not None and action.gateway == judge.manifest.gateway
    good = good and place.tenant is not None and action.tenant == place.tenant.tenant
    good = good and action.bundle == body.policy.bundle and action.mode == body.policy.effective
    good = good and action.call in (body.call, body.parent)
    good = good and body.verdict in (schema.ALLOW, schema.MODIFY) and not body.policy.errors
    report.holds("actions", good, f"entry {entry.index}")
    if action is not None:
        entry.action_digest = digests.tagged(b"action", body.action)
        people, groups = needed(body.policy, action.mode)
        approvers, unknown = set(), 0
        partial = judge.manifest.period is not None or judge.manifest.scope == schema.RUN
        for one in body.approvals:
            if partial and judge.withheld_at.has(one.index):
                report.unknown("approvals", f"entry {entry.index}: withheld")
                unknown += 1
                continue
            who = _approved(judge, entry, action, entry.action_digest, one, groups)
            report.holds("approvals", who is not None, f"entry {entry.index}")
            if who is not None:
                approvers.add(who)
        if people and len(approvers) < people <= len(approvers) + unknown:
            report.unknown("approval-required", f"entry {entry.index}: withheld")
        elif people:
            report.holds("approval-required", len(approvers) >= people, f"entry {entry.index}")
    if body.call in judge.decided or body.call in judge.open:
        report.fails("settlement", "call seen before")
    if body.basis > entry.index:
        report.fails("settlement", "basis")
    judge.open[body.call] = SimpleNamespace(entry=entry, epoch=len(judge.epochs), withheld=judge.withheld)
    good = epochs.is_in_force(judge, entry, body.in_force, body.policy.bundle)
    report.holds("in-force", good, f"entry {entry.index}")
    epochs.lease(judge, entry)


def _call_time(judge, at):
    judge.first_call = at if judge.first_call is None else min(judge.first_call, at)
    judge.last_call = at if judge.last_call is None else max(judge.last_call, at)


# ---------------------------------------------------------------- decisions


def decision(judge, entry):
    report, body = judge.report, entry.body
    if body.intent is not None or body.code != "not_enrolled":
        _call_time(judge, entry.place.at)
    report.holds("settled-twice", body.call not in judge.decided, f"entry {entry.index}")
    judge.decided.add(body.call)
    found = judge.open.pop(body.call, None)
    if body.intent is not None:
        if found:
            report.holds("settlement", _settles(body, found.entry), f"entry {entry.index}")
            report.held("intent-before-effect")
            good = body.in_force == found.entry.body.in_force or epochs.is_in_force(judge, entry, body.in_force, None)
            report.holds("in-force", good, f"entry {entry.index}")
        else:
            partial = judge.manifest.period is not None or judge.manifest.scope == schema.RUN
            if judge.starts_late or (partial and judge.withheld_at.has(body.intent.index)):
                report.not_made("settlement")
            else:
                report.fails("settlement", f"entry {entry.index}: no intent")
    elif found:
        report.fails("settlement", f"entry {entry.index}: names no intent")
    else:
        if body.basis is not None and body.basis > entry.index:
            report.fails("settlement", "basis")
        good = body.effect == schema.NONE
        if body.verdict in (schema.ALLOW, schema.MODIFY):
            good = good and (body.parent is not None or body.code is not None)
        report.holds("intent-before-effect", good, f"entry {entry.index}")
        good = epochs.is_in_force(judge, entry, body.in_force, body.policy.bundle if body.policy else None)
        report.holds("in-force", good, f"entry {entry.index}")
    outside.witnessed(judge, entry)


def _settles(body, intent):
    said = intent.body
    if (body.intent.index, body.intent.digest) != (intent.index, intent.digest):
        return False
    if body.basis != said.basis or body.received != said.received or body.approvals != said.approvals:
        return False
    action = intent.action
    if action is None:
        return True
    return (
        body.action == intent.action_digest
        and body.forwarded == action.forwarded
        and body.capability is not None
        and body.capability.id == action.capability.id
    )


def end(judge):
    report = judge.report
    last = epochs.newest(judge)
    for one in judge.open.values():
        if last is not None and last.close is None and one.epoch == len(judge.epochs):
            report.not_made("settlement")
        elif judge.manifest.period is not None and judge.last_withheld > one.entry.index:
            report.not_made("settlement")
        else:
            report.fails("settlement", f"intent at {one.entry.index} is not settled")
