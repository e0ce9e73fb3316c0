"""The structures of docs/spec/record.cddl.

In: bytes, or a decoded value. Out: objects with one attribute a field (None where an optional one is absent), or Malformed.
A field that holds an encoding (`.cbor` in the CDDL) stays bytes here: who needs it decodes it.
"""

from types import SimpleNamespace

from . import cbor
from .cbor import Malformed


def uint(value):
    if type(value) is not int or value < 0:
        raise Malformed("no unsigned number")
    return value


def byte(value):
    if uint(value) > 255:
        raise Malformed("no byte")
    return value


def text(value):
    if type(value) is not str:
        raise Malformed("no text")
    return value


def raw(value):
    if type(value) is not bytes:
        raise Malformed("no byte string")
    return value


def boolean(value):
    if type(value) is not bool:
        raise Malformed("no truth value")
    return value


def sized(size):
    def check(value):
        if type(value) is not bytes or len(value) != size:
            raise Malformed(f"not {size} bytes")
        return value

    return check


def among(first, last):
    def check(value):
        if type(value) is not int or not first <= value <= last:
            raise Malformed("unknown number")
        return value

    return check


def many(check):
    def checks(value):
        if type(value) is not list:
            raise Malformed("no array")
        return [check(one) for one in value]

    return checks


def table(fields):
    """A map of `"number name"` (optional with `?` in front) to checks."""
    known = {}
    for name, check in fields.items():
        number, word = name.lstrip("?").split()
        known[int(number)] = (word, check, not name.startswith("?"))

    def read(value):
        if type(value) is not dict:
            raise Malformed("no map")
        out = {}
        for number, (word, check, needed) in known.items():
            if number in value:
                out[word] = check(value[number])
            elif needed:
                raise Malformed(f"{word} is absent")
            else:
                out[word] = None
        for number in value:
            if number not in known:
                raise Malformed(f"unknown key {number}")
        return SimpleNamespace(**out)

    return read


def parse(data, check):
    """Decode all of data as one structure."""
    return check(cbor.whole(data))


def attempt(data, check):
    """As parse, but None for what is malformed."""
    try:
        return parse(data, check)
    except Malformed:
        return None


def extensions(value):
    if type(value) is not dict or not value:
        raise Malformed("no extensions")
    for number, content in value.items():
        uint(number)
        raw(content)
    return value


b16, b32, b64 = sized(16), sized(32), sized(64)
verdict, mode = among(1, 5), among(1, 5)
ALLOW, DENY, MODIFY, STEP_UP, DEFER = 1, 2, 3, 4, 5
NONE, DISPATCHED, CONFIRMED, UNKNOWN = 0, 1, 2, 3
DESTRUCTIVE = 5
FIELDS = 21
field = among(1, FIELDS)

entry_ref = table({"1 index": uint, "2 digest": b32})
tenant_place = table({"1 tenant": b16, "2 seq": uint})
run_place = table({"1 run": b16, "2 seq": uint, "?3 previous": b32})
place = table(
    {"1 index": uint, "?2 base": b32, "3 at": uint, "4 since_boot": uint, "?5 tenant": tenant_place, "?6 run": run_place}
)
enrol = table({"1 number": uint, "2 statement": raw})
evidence_ref = table({"1 kind": text, "2 digest": b32})
abandoned = table({"1 counter": uint, "2 epoch_key": b32})
base = table(
    {
        "1 binding": raw,
        "2 identity_signature": b64,
        "3 evidence": many(evidence_ref),
        "4 epoch": uint,
        "?5 previous": b32,
        "6 explained": uint,
        "7 abandoned": many(abandoned),
        "?8 recovery_key": b32,
        "9 software": text,
    }
)
log_head = table({"1 size": uint, "2 root": b32})
renewal = table({"1 statement": raw, "2 evidence": many(evidence_ref)})
adopt = table({"1 predecessor": b32, "2 head": log_head, "3 statement": raw})
gap = table({"1 explained": uint, "2 found": uint, "3 statement": raw, "?4 witnessed": uint})
tenant_head = table({"1 tenant": b16, "2 seq": uint})
tenant_proof = table({"1 head": tenant_head, "2 position": uint, "3 path": many(b32)})
caller = table(
    {
        "1 assurance": byte,
        "?2 key": b32,
        "3 agent": b32,
        "?4 user": b32,
        "?5 session": b32,
        "?6 proof": b32,
        "?7 claims": b32,
        "?8 principal_chain": b32,
        "?9 subject": b32,
    }
)
capability_ref = table({"1 id": text, "?2 descriptor": b32, "3 adapter": text, "?4 upstream": b32})
policy = table(
    {
        "1 bundle": b32,
        "2 fired": many(text),
        "3 obligations": many(text),
        "4 errors": many(text),
        "5 requested": mode,
        "6 effective": mode,
        "7 highest": mode,
    }
)
lineage = table(
    {"?1 pack": text, "?2 pack_digest": b32, "?3 model": text, "?4 model_digest": b32, "?5 snapshot": text, "?6 confidence": uint}
)
trace = table({"1 id": b16, "2 span": sized(8)})
classification = among(1, 4)
handling = table({"1 classification": classification, "2 retention": text, "3 residency": text})
action = table(
    {
        "1 gateway": b32,
        "2 tenant": b16,
        "3 agent": b32,
        "4 capability": capability_ref,
        "5 mode": mode,
        "6 forwarded": b32,
        "7 preview": b32,
        "8 bundle": b32,
        "9 call": b16,
    }
)
intent = table(
    {
        "1 call": b16,
        "2 in_force": entry_ref,
        "3 action": raw,
        "4 caller": caller,
        "5 verdict": verdict,
        "6 policy": policy,
        "7 facts": b32,
        "8 received": b32,
        "9 approvals": many(entry_ref),
        "?10 idempotency": b32,
        "11 controls": many(text),
        "?12 parent": b16,
        "13 basis": uint,
    }
)
choice = among(1, 2)
approval = table({"1 action": b32, "2 call": b16, "3 approver": b32, "4 choice": choice, "5 statement": b32, "6 expires": uint})
times = table({"1 received": uint, "2 decided": uint, "?3 dispatched": uint, "4 settled": uint})
plan = table({"1 digest": b32, "2 step": uint})
probe = table({"1 capability": text, "2 before": b32, "3 after": b32})
correlation = table({"1 id": b16, "?2 parent": b32})
decision = table(
    {
        "1 call": b16,
        "2 in_force": entry_ref,
        "?3 intent": entry_ref,
        "?4 parent": b16,
        "5 verdict": verdict,
        "?6 code": text,
        "7 effect": among(0, 3),
        "?8 cancelled": text,
        "9 times": times,
        "?10 trace": trace,
        "11 caller": caller,
        "?12 capability": capability_ref,
        "?13 policy": policy,
        "?14 lineage": lineage,
        "?15 facts": b32,
        "16 received": b32,
        "?17 forwarded": b32,
        "?18 raw_result": b32,
        "?19 released": b32,
        "?20 transcript": b32,
        "21 evidence": many(b32),
        "22 redactions": many(text),
        "?23 action": b32,
        "24 approvals": many(entry_ref),
        "?25 idempotency": b32,
        "26 controls": many(text),
        "?27 handling": handling,
        "?28 plan": plan,
        "?29 egress": b32,
        "30 sandbox": many(text),
        "31 probes": many(probe),
        "?32 correlation": correlation,
        "33 witnessed": boolean,
        "?34 preview": b32,
        "?35 basis": uint,
    }
)
run_closed = table({"1 run": b16, "2 head": b32, "3 count": uint, "4 first": uint, "5 last": uint})
BUNDLE_CHANGE, CONFIGURATION_CHANGE = 1, 4
change = table(
    {"1 kind": among(1, 7), "2 digest": b32, "3 version": uint, "4 before": entry_ref, "5 signers": many(b32), "?6 reason": text}
)
RENEWAL_FAILED = 5
event = table({"1 kind": among(1, 11), "2 count": uint, "?3 detail": b32})
index_range = table({"1 first": uint, "2 last": uint})
erasure = table(
    {
        "1 entries": many(index_range),
        "2 basis": text,
        "3 ordered_by": b32,
        "4 ring": uint,
        "5 statement": b32,
        "?6 subject": b32,
        "7 anchored": boolean,
    }
)
PLACED, LIFTED = 1, 2
hold = table(
    {
        "1 act": among(1, 2),
        "2 id": text,
        "?3 subject": b32,
        "?4 tenant": b16,
        "?5 entries": index_range,
        "?6 until": uint,
        "7 ordered_by": b32,
        "8 statement": b32,
    }
)
STOPPED, RESUMED = 1, 2
stop = table(
    {
        "1 act": among(1, 2),
        "2 id": text,
        "?3 tenant": b16,
        "?4 capability": text,
        "?5 agent": b32,
        "6 ordered_by": b32,
        "7 statement": b32,
    }
)
SWTPM, TPM, SNP, TDX, AZURE_SNP, AZURE_TDX, GCP_SNP, GCP_TDX = range(1, 9)
profile = among(1, 8)
binding = table(
    {
        "1 version": uint,
        "2 profile": profile,
        "3 identity_key": b32,
        "4 epoch_key": b32,
        "5 ak_name": raw,
        "?6 tls_key": b32,
        "7 pcrs": many(byte),
        "8 release_key": raw,
        "9 build": b32,
        "10 configuration": b32,
        "11 bundles": many(b32),
        "12 counter": uint,
        "13 previous": log_head,
        "14 nonce": b32,
    }
)
renewal_statement = table(
    {
        "1 base": b32,
        "2 number": uint,
        "3 counter": uint,
        "4 head": log_head,
        "5 tenants": b32,
        "6 tenant_count": uint,
        "7 previous": b32,
        "8 lease": uint,
        "9 at": uint,
        "?10 beacon": raw,
    }
)
close_statement = table(
    {"1 base": b32, "2 counter": uint, "3 head": log_head, "4 previous": b32, "5 at": uint, "6 tenants": b32, "7 tenant_count": uint}
)
pcr_value = table({"1 index": byte, "2 value": b32})
tpm_evidence = table(
    {
        "1 profile": profile,
        "2 ak_public": raw,
        "3 quote": raw,
        "4 quote_signature": raw,
        "5 pcrs": many(pcr_value),
        "6 nv_public": raw,
        "7 certify": raw,
        "8 certify_signature": raw,
        "?9 event_log": raw,
    }
)
endorsement = table({"1 kind": among(1, 12), "2 bytes": raw})
platform_key = table({"1 public": raw, "2 certify": raw, "3 certify_signature": raw})
platform_evidence = table(
    {"1 profile": profile, "?2 report": raw, "?3 paravisor": raw, "?4 key": platform_key, "5 endorsements": many(endorsement)}
)
disclosure = table({"1 field": field, "2 salt": b16, "3 value": raw})
disclosures = many(disclosure)
caller_proof = table({"1 key": b32, "2 signature_base": raw, "3 signature": b64})
fleet_member = table({"1 gateway": b32, "2 name": text, "3 from_": uint, "?4 until": uint, "?5 ak_name": raw})
fleet_statement = table({"1 fleet": text, "2 number": uint, "3 issued": uint, "4 members": many(fleet_member)})
approval_statement = table(
    {
        "1 gateway": b32,
        "2 action": b32,
        "3 preview": b32,
        "4 approver": b32,
        "5 choice": choice,
        "6 issued": uint,
        "7 expires": uint,
        "8 nonce": b32,
    }
)
recover_statement = table(
    {"1 gateway": b32, "2 head": log_head, "3 explained": uint, "4 found": uint, "5 reason": text, "6 issued": uint, "?7 witnessed": uint}
)
adopt_statement = table(
    {
        "1 gateway": b32,
        "2 predecessor": b32,
        "3 head": log_head,
        "4 last": b32,
        "5 reason": text,
        "6 issued": uint,
        "7 stored": among(1, 2),
    }
)
erasure_statement = table(
    {
        "1 gateway": b32,
        "?2 subject": b32,
        "3 entries": many(index_range),
        "4 basis": text,
        "5 signer": b32,
        "6 issued": uint,
        "7 expires": uint,
        "8 nonce": b32,
    }
)
hold_statement = table(
    {
        "1 gateway": b32,
        "2 act": among(1, 2),
        "3 id": text,
        "?4 subject": b32,
        "?5 tenant": b16,
        "?6 entries": index_range,
        "?7 until": uint,
        "8 reason": text,
        "9 signer": b32,
        "10 issued": uint,
        "11 expires": uint,
        "12 nonce": b32,
    }
)
stop_statement = table(
    {
        "1 gateway": b32,
        "2 act": among(1, 2),
        "3 id": text,
        "?4 tenant": b16,
        "?5 capability": text,
        "?6 agent": text,
        "7 reason": text,
        "8 signer": b32,
        "9 issued": uint,
        "10 expires": uint,
        "11 nonce": b32,
    }
)
receipt = table({"1 gateway": b32, "2 base": b32, "3 index": uint, "4 digest": b32, "5 call": b16, "6 verdict": verdict, "7 at": uint})
channel_statement = table({"1 gateway": b32, "2 base": b32, "3 nonce": b32, "4 channel": b32, "5 at": uint})
tenant_entry = table({"1 id": b16, "2 name": text})
agent_entry = table({"1 urn": text, "2 tenant": text, "?3 key": b32, "?4 token": b32, "?5 user": text})
approver_entry = table(
    {"1 id": text, "2 name": text, "3 key": b32, "4 groups": many(text), "5 tenants": many(text), "6 capabilities": many(text)}
)
registry = table({"1 tenants": many(tenant_entry), "2 agents": many(agent_entry), "3 approvers": many(approver_entry)})
bundle_payload = table({"1 format": uint, "2 name": text, "3 environment": text, "4 version": uint, "5 registry": registry, "6 rules": raw})
bundle_statement = table({"1 digest": b32, "2 name": text, "3 environment": text, "4 version": uint})
signed_bundle = table({"1 payload": raw, "2 signatures": many(raw)})
WHOLE, TENANT, RUN = 1, 2, 3
disclosed = table({"1 fields": many(field), "2 classes": many(classification), "?3 subject": b32})
period = table({"1 from_": uint, "2 until": uint})
manifest = table(
    {
        "1 format": uint,
        "2 gateway": b32,
        "3 identity_key": b32,
        "4 first": uint,
        "5 end": uint,
        "6 scope": among(1, 3),
        "7 profile": text,
        "8 created": uint,
        "9 software": text,
        "?10 period": period,
        "11 disclosed": disclosed,
        "?12 tenant": b16,
        "?13 run": b16,
    }
)
span = table({"1 count": uint, "2 roots": many(b32)})
artifact = table({"1 kind": text, "2 bytes": raw})
timestamp = table({"1 size": uint, "2 token": raw})
trailer = table(
    {
        "1 entries": uint,
        "2 leaves": uint,
        "3 artifacts": uint,
        "4 disclosures": uint,
        "5 checkpoints": uint,
        "6 digest": b32,
        "9 timestamps": uint,
    }
)
KINDS = {
    "enrol": enrol,
    "base": base,
    "intent": intent,
    "decision": decision,
    "approval-entry": approval,
    "run": run_closed,
    "change": change,
    "event": event,
    "renewal": renewal,
    "adopt": adopt,
    "gap": gap,
    "erasure": erasure,
    "close": renewal,
    "hold": hold,
    "stop": stop,
}
