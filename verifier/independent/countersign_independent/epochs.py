"""Openings, evidence, renewals, the counter and what follows from them, docs/spec/verification.md.

In: entries about the gateway. Out: observations of who, rules and epochs.
"""

from types import SimpleNamespace

from . import bundles, cose, digests, ed25519, platforms, schema, sequences, tpm
from .cbor import Malformed

MOST = 2**64 - 1


def capped(value):
    return min(value, MOST)


def minus(a, b):
    return max(a - b, 0)


def start(judge):
    judge.epochs = []
    judge.quoted_size = 0
    judge.quoted_sizes = {0}
    judge.counter, judge.steps = None, 0
    judge.rules = []
    judge.last_change = judge.carried = None
    judge.versions = {}
    judge.statement = None
    judge.named = set()
    judge.first_call = judge.last_call = None
    judge.governance = {digests.sha256(key): key for key in judge.trust.governance}


def newest(judge):
    return judge.epochs[-1] if judge.epochs else None


def learn_key(judge, base):
    """The keyring grows before the base is judged."""
    binding = schema.attempt(base.binding, schema.binding)
    if binding is None or ed25519.point(binding.epoch_key) is None:
        return
    key_id = digests.sha256(binding.epoch_key)
    judge.openings = (judge.openings + [(key_id, binding.epoch_key)])[-8:]
    judge.keyring = dict(judge.openings)


# ---------------------------------------------------------------- evidence


def evidence(judge, references, binding, use, at):
    """Facts of the evidence, or None. use has the statement's bytes and its qualifying data; at is what the entry claims."""
    report = judge.report
    wanted = platforms.kinds(binding.profile, use.opening)
    raw = [judge.evidence_before.get((one.kind, one.digest)) for one in references]
    if [one.kind for one in references] != wanted or None in raw:
        return report.fails("evidence-set", "not the items of the profile")
    structures = {platforms.TPM: schema.tpm_evidence, platforms.PLATFORM: schema.platform_evidence}
    given = {kind: schema.attempt(data, structures[kind]) for kind, data in zip(wanted, raw)}
    if None in given.values():
        return report.fails("evidence", "malformed")
    if any(one.profile != binding.profile for one in given.values()):
        return report.fails("evidence-set", "profile")
    of_tpm, platform, known = given.get(platforms.TPM), given.get(platforms.PLATFORM), None
    if platform:
        known = _platform(judge, platform, of_tpm, binding, use, at)
        if known is None:
            return None
    facts = _tpm(report, of_tpm, binding, use.beside(raw[-1]) if platform else use.qualifying) if of_tpm else None
    if of_tpm and not facts:
        return None
    for code in ("evidence-set", "evidence", "attestation-key"):
        report.held(code)
    return SimpleNamespace(tpm=facts, platform=known)


def _platform(judge, platform, of_tpm, binding, use, at):
    """Facts of a platform-evidence, or None."""
    report, trust = judge.report, judge.trust
    if not platforms.complete(platform):
        return report.fails("evidence-set", "not the parts and endorsements of the profile")
    key = of_tpm.ak_public if of_tpm else None

    def appraise(moment):
        return platforms.appraise(platform, binding, key, use.qualifying, use.report_data, moment, trust)

    bad, broken, facts = appraise(at)
    for code in bad:
        report.fails("evidence", code)
    if facts is None:
        return None
    facts.broken = broken
    for one in facts.remarks:
        report.says("platform-rules", one)
    later, worse, _ = appraise(judge.now)
    for code in later + worse:
        if code not in broken:
            report.says("platform-rules", f"as of its time; today {code} would fail")
    return facts


def _tpm(report, given, binding, qualifying):
    """Facts of a tpm-evidence, or None."""
    if given.profile != schema.SWTPM and not {4, 7, 11, 12, 13} <= set(binding.pcrs):
        return report.fails("evidence-set", "registers")
    try:
        release = tpm.release_key(binding.release_key)
    except Malformed:
        return report.fails("evidence", "release key")
    pcrs = binding.pcrs
    if not pcrs or any(i >= 24 or i in (16, 23) for i in pcrs) or len(set(pcrs)) != len(pcrs):
        return report.fails("evidence-set", "registers")
    if len(binding.ak_name) != 34:
        return report.fails("attestation-key", "length of the name")
    bad, facts = tpm.appraise(given, binding, release, qualifying)
    for what in bad:
        report.fails("attestation-key" if what == "attestation key: name" else "evidence", what)
    return facts


def _opens(binding):
    """The use of evidence for an opening."""
    anchor = digests.anchor(binding)

    def beside(platform):
        return digests.tagged(b"beside", anchor + digests.artifact(platform))

    return SimpleNamespace(opening=True, qualifying=digests.sha256(anchor), report_data=anchor, beside=beside)


def _vouches(use, statement):
    """The use of evidence for a renewal or close."""
    qualifying = digests.tagged(use, statement)
    return SimpleNamespace(opening=False, qualifying=qualifying, report_data=qualifying + bytes(32), beside=None)


# ---------------------------------------------------------------- openings


def opening(judge, entry):
    report, base, trust = judge.report, entry.body, judge.trust
    binding = schema.attempt(base.binding, schema.binding)
    if binding is None:
        report.fails("identity", "binding")
        return
    report.holds("gateway", binding.identity_key == judge.manifest.identity_key, "of the binding")
    if binding.version != 1:
        report.unknown("identity", "version of the binding")
    message = digests.tagged(b"epoch", base.binding)
    report.holds("identity", ed25519.verify(binding.identity_key, base.identity_signature, message), "signature")
    facts = evidence(judge, base.evidence, binding, _opens(base.binding), entry.place.at)
    if trust.release is None:
        report.not_made("release-key")
    else:
        good = binding.release_key in trust.release or digests.sha256(binding.release_key) in trust.release
        report.holds("release-key", good)
    if base.recovery_key is not None:
        report.held("recovery-key")
    else:
        report.not_made("recovery-key")
    reference_value(judge, "build", binding.build)
    reference_value(judge, "configuration", binding.configuration)
    if facts:
        _of_platform(judge, facts.platform)
        _registers(judge, facts.tpm)
    for digest in binding.bundles:
        bundles.in_force(judge, digest)
    epoch = SimpleNamespace(
        base=entry.digest,
        index=entry.index,
        binding=binding,
        key_id=digests.sha256(binding.epoch_key),
        facts=facts,
        explained=base.explained,
        abandoned=len(base.abandoned),
        unexplained=0,
        link=entry.digest,
        renewals=0,
        lease=None,
        quoted_at=entry.place.at,
        waiting=None,
        close=None,
        latest=entry.place.at,
    )
    _continues(judge, entry, base, binding)
    if facts:
        _counter_of_opening(judge, epoch, base, binding, facts)
    if judge.rules:
        judge.carried = judge.rules[-1]
    judge.rules = [rule(entry.index, entry.digest, binding.bundles)]
    judge.epochs.append(epoch)


def _of_platform(judge, facts):
    """parties, platform-rules and launch."""
    report, trust, reference = judge.report, judge.trust, judge.reference
    if facts is None:
        for code in ("parties", "platform-rules", "launch"):
            report.held(code)
        return
    if trust.parties is None:
        report.unknown("parties")
    for party in facts.parties if trust.parties is not None else ():
        report.holds("parties", party in trust.parties, party)
    for code in facts.broken:
        report.fails("platform-rules", code)
    if not facts.broken and platforms.has_rules(facts.profile, trust):
        report.held("platform-rules")
    elif not facts.broken:
        report.unknown("platform-rules")
    known = reference.launch.get(facts.profile)
    if known is not None:
        report.holds("launch", facts.launch in known, "measurement")
    elif facts.stands:
        report.held("launch")
    else:
        report.unknown("launch")
    for index, value in enumerate(facts.registers or ()):
        known = (reference.rtmrs or {}).get(index)
        if known is not None:
            report.holds("launch", value in known, f"register {index}")
        elif facts.profile in (schema.TDX, schema.AZURE_TDX) and index < 3:
            report.unknown("launch", f"register {index}")


def _registers(judge, facts):
    """pcr-values."""
    report, pcrs = judge.report, judge.reference.pcrs
    if facts is None:
        report.held("pcr-values")
    elif pcrs is None:
        report.not_made("pcr-values")
    else:
        for index, value in facts.values.items():
            if index not in pcrs:
                report.unknown("pcr-values", f"register {index}")
            else:
                report.holds("pcr-values", value in pcrs[index], f"register {index}")


def _continues(judge, entry, base, binding):
    report, number = judge.report, len(judge.epochs)
    if judge.starts_late and not judge.epochs:
        report.unknown("epochs", "the export starts late")
        return
    report.holds("epochs", base.epoch == number + 1, "number")
    if judge.position == 0:
        report.holds("epochs", base.previous is None, "previous")
    elif judge.last_leaf is None:
        report.unknown("epochs", "the leaf before is in a span")
    else:
        report.holds("epochs", base.previous == judge.last_leaf, "previous")
    report.holds("epochs", binding.previous.size == entry.index, "size")
    report.holds("epochs", binding.previous.root == judge.tree.root(), "root")
    if report.holds("epochs", judge.quoted_size <= entry.index <= judge.tree.size, "quoted size"):
        quote(judge, entry.index)


def quote(judge, size):
    judge.quoted_size = size
    judge.quoted_sizes.add(size)


def _earlier(judge):
    for one in reversed(judge.epochs[-16:]):
        if one.facts and one.facts.tpm:
            return one.facts.tpm
    return None


def _counter_of_opening(judge, epoch, base, binding, facts):
    report, facts = judge.report, facts.tpm
    if facts is None:
        report.unknown("counter", "nobody certifies one")
        report.held("reset-counts")
        return
    report.holds("counter", facts.counter == binding.counter, "claim")
    if judge.counter is not None:
        good = judge.counter <= base.explained <= capped(judge.counter + judge.steps)
        report.holds("counter", good, "explained")
    last, good = base.explained, True
    for one in base.abandoned:
        good = good and last < one.counter < binding.counter
        last = one.counter
    report.holds("counter", good, "abandoned")
    judge.counter, judge.steps = facts.counter, 0
    expected = capped(base.explained + len(base.abandoned) + 1)
    if binding.counter > expected:
        epoch.unexplained = binding.counter - expected
    else:
        report.holds("counter", binding.counter == expected, "lower than explained")
    earlier = _earlier(judge)
    if earlier and earlier.ak_name == facts.ak_name:
        report.holds("counter", earlier.release == facts.release, "release key")
        now, then = facts.boots, earlier.boots
        report.holds("reset-counts", now > then or (now == then and facts.clock >= earlier.clock), "lower")
    else:
        report.held("reset-counts")


def reference_value(judge, code, value):
    known = getattr(judge.reference, code)
    if known is None:
        judge.report.not_made(code)
    else:
        judge.report.holds(code, value in known)


def belongs(judge, entry):
    """base-reference."""
    epoch = newest(judge)
    good = epoch is not None and entry.statement.key_id == epoch.key_id
    if good:
        wanted = None if entry.digest == epoch.base and entry.index == epoch.index else epoch.base
        good = entry.place.base == wanted and epoch.close is None
    judge.report.holds("base-reference", good, f"entry {entry.index}")
    if epoch:
        epoch.latest = max(epoch.latest, entry.place.at)


# ---------------------------------------------------------------- renewals and closes


def renewal(judge, entry):
    statement = schema.attempt(entry.body.statement, schema.renewal_statement)
    if statement is None:
        judge.report.fails("renewals", "malformed")
        return
    epoch = newest(judge)
    if epoch is None:
        return
    good = statement.base == epoch.base and statement.number == epoch.renewals + 1 and statement.previous == epoch.link
    judge.report.holds("renewals", good, "place in the epoch")
    _vouched(judge, entry, epoch, statement, b"renewal")
    if epoch.waiting is not None:
        judge.report.holds("leases", epoch.waiting <= capped(epoch.quoted_at + statement.lease + 10_000), "before the first renewal")
        epoch.waiting = None
    epoch.link, epoch.renewals, epoch.lease, epoch.quoted_at = entry.digest, epoch.renewals + 1, statement.lease, statement.at


def close(judge, entry):
    statement = schema.attempt(entry.body.statement, schema.close_statement)
    if statement is None:
        judge.report.fails("renewals", "malformed")
        return
    epoch = newest(judge)
    if epoch is None:
        return
    good = statement.base == epoch.base and statement.previous == epoch.link and statement.head.size == entry.index
    judge.report.holds("renewals", good, "place in the epoch")
    _vouched(judge, entry, epoch, statement, b"close")
    epoch.link, epoch.quoted_at, epoch.close = entry.digest, statement.at, entry.digest


def _vouched(judge, entry, epoch, statement, use):
    report, head = judge.report, statement.head
    if judge.starts_late:
        report.unknown("renewals", "the export starts late")
    else:
        root = judge.tree.root(head.size) if judge.quoted_size <= head.size <= judge.position else None
        if root is None:
            report.fails("renewals", "size of the head")
        else:
            quote(judge, head.size)
            report.holds("renewals", head.root == root, "root of the head")
            sequences.heads(judge, entry, statement)
    body = entry.body
    facts = evidence(judge, body.evidence, epoch.binding, _vouches(use, body.statement), entry.place.at)
    if facts and not facts.tpm:
        first = epoch.facts.platform if epoch.facts else None
        if first:
            report.holds("evidence", _launch(facts.platform) == _launch(first), "another launch than the opening's")
    facts = facts.tpm if facts else None
    if not facts:
        return
    report.holds("counter", facts.counter == statement.counter, "claim")
    if judge.counter is not None:
        least = capped(judge.counter + 1)
        report.holds("counter", least <= facts.counter <= capped(least + judge.steps), "steps")
    judge.counter, judge.steps = facts.counter, 0
    opened = epoch.facts.tpm if epoch.facts else None
    if opened:
        report.holds("counter", facts.release == opened.release, "release key")
        report.holds("reset-counts", facts.boots == opened.boots and facts.clock >= opened.clock, "within the epoch")
        report.holds("reset-counts", facts.values == opened.values, "registers")


def _launch(facts):
    return facts.launch, list(facts.registers or ())[:3], list(facts.parties)


def event(judge, entry):
    if entry.body.kind == schema.RENEWAL_FAILED:
        judge.steps = capped(judge.steps + entry.body.count)


def lease(judge, entry):
    """leases, for an intent."""
    epoch = newest(judge)
    if epoch is None:
        return
    at = entry.place.at
    if epoch.lease is not None:
        good = at <= capped(epoch.quoted_at + epoch.lease + 10_000)
        judge.report.holds("leases", good, f"entry {entry.index}")
    elif epoch.waiting is None or at >= epoch.waiting:
        epoch.waiting = at


# ---------------------------------------------------------------- statements of people


def enrol(judge, entry):
    report = judge.report
    if not judge.governance:
        report.not_made("enrolment")
        return
    said = cose.genuine(entry.body.statement, "fleet", judge.governance, schema.fleet_statement)
    if said is None:
        report.fails("enrolment", "statement")
        return
    latest = judge.statement
    newer = latest is None or said.number >= latest.number
    report.holds("enrolment", said.number == entry.body.number and newer, "number")
    member = member_of(said, judge.manifest.gateway)
    if member and member.ak_name is not None:
        judge.named.add(member.ak_name)
    if newer:
        judge.statement = said


def member_of(statement, gateway):
    for one in statement.members:
        if one.gateway == gateway:
            return one
    return None


def gap(judge, entry):
    report, body, epoch = judge.report, entry.body, newest(judge)
    said = cose.genuine(body.statement, "recover", judge.governance, schema.recover_statement)
    if said is None:
        report.fails("epochs", "gap: statement")
        return
    steps = epoch.unexplained if epoch else 0
    good = said.gateway == judge.manifest.gateway
    good = good and (said.explained, said.found, said.witnessed) == (body.explained, body.found, body.witnessed)
    if steps:
        good = good and epoch.explained == body.explained and steps <= minus(body.found, body.explained)
    good = good and epoch is not None and body.found <= epoch.binding.counter
    if not good:
        report.fails("epochs", "gap")
        return
    epoch.unexplained = 0
    report.holds("gaps", steps <= judge.trust.max_gap, "steps")
    if body.witnessed is not None:
        report.holds("gaps", judge.trust.max_gap > 0, "witnessed")


# ---------------------------------------------------------------- rules in force


def rule(index, digest, digests_):
    return SimpleNamespace(index=index, digest=digest, bundles=list(digests_), replaced=None)


def change(judge, entry):
    report, body, rules = judge.report, entry.body, judge.rules

    def is_(one):
        return one is not None and (one.index, one.digest) == (body.before.index, body.before.digest)

    good = bool(rules) and (is_(rules[-1]) or (len(rules) == 1 and (is_(judge.carried) or is_(judge.last_change))))
    bundle = judge.bundles.get(body.digest)
    good = good and (bundle is None or bundle.version == body.version)
    good = good and judge.versions.get(body.kind, 0) <= body.version
    report.holds("in-force", good, f"change at {entry.index}")
    judge.versions[body.kind] = max(judge.versions.get(body.kind, 0), body.version)
    if body.kind == schema.BUNDLE_CHANGE:
        bundles.in_force(judge, body.digest)
    if body.kind == schema.CONFIGURATION_CHANGE:
        reference_value(judge, "configuration", body.digest)
    held = newest_bundles(judge)
    one = rule(entry.index, entry.digest, [body.digest] if body.kind == schema.BUNDLE_CHANGE else held)
    judge.last_change = one
    if rules:
        rules[-1].replaced = entry.place.at
    rules.append(one)
    del rules[:-256]


def newest_bundles(judge):
    """Digests of the bundles of the rules in force last."""
    return judge.rules[-1].bundles if judge.rules else []


def is_in_force(judge, entry, reference, bundle):
    for one in judge.rules:
        if (one.index, one.digest) == (reference.index, reference.digest):
            if one.replaced is not None and minus(entry.place.at, one.replaced) > 60_000:
                continue
            if bundle is None or bundle in one.bundles:
                return True
    return False


# ---------------------------------------------------------------- the end


def _beside(judge, ak_name):
    """Facts of the platform of the first opening with that attestation key."""
    for one in judge.epochs:
        if one.facts and one.facts.platform and one.facts.tpm and one.facts.tpm.ak_name == ak_name:
            return one.facts.platform
    return None


def end(judge):
    report, trust = judge.report, judge.trust
    for one in judge.epochs:
        if one.unexplained:
            report.fails("counter", "unexplained steps")
        if one.facts:
            if one.facts.tpm and one.facts.tpm.software:
                word = "software"
            elif one.facts.platform:
                word = platforms.CLASSES[one.facts.platform.profile]
            elif _beside(judge, one.facts.tpm.ak_name):
                word = platforms.CLASSES[_beside(judge, one.facts.tpm.ak_name).profile]
                report.unknown("platform-rules", "the report is left away")
            elif one.facts.tpm.ak_name in trust.attestation_keys | judge.named:
                word = "hardware-tpm"
            else:
                word = "unendorsed-tpm"
            report.holds("evidence-class", word in trust.accept, word)
    leases = [one.lease for one in judge.epochs if one.lease is not None]
    largest = max(leases) if leases else trust.max_tail
    before = None
    for one in judge.epochs:
        lost = capped(largest * one.abandoned)
        if before is not None and before.close is None:
            lost = capped((before.lease or 0) + lost)
        elif not one.abandoned:
            lost = None
            if before is not None:
                report.held("epoch-ends")
        if lost is not None:
            report.holds("epoch-ends", lost <= trust.max_tail, "too long")
        before = one
    last = newest(judge)
    if last is None:
        return
    if last.close is not None:
        report.held("tail")
    else:
        report.holds("tail", minus(last.latest, last.quoted_at) <= trust.max_tail, "too long")
    if last.latest > capped(judge.now + 300_000):
        report.fails("freshness", "in the future")
    elif trust.max_age is None:
        report.not_made("freshness")
    else:
        report.holds("freshness", minus(judge.now, last.quoted_at) <= capped(trust.max_age * 1000), "too old")


def enrolment(judge):
    report, latest = judge.report, judge.statement
    if latest is None:
        if judge.governance:
            report.fails("enrolment", "no statement")
        elif judge.manifest and judge.manifest.gateway in judge.trust.gateways:
            report.held("enrolment")
        return
    member = member_of(latest, judge.manifest.gateway)
    if member is None:
        report.fails("enrolment", "not a member")
        return
    good = judge.first_call is None or (
        member.from_ <= judge.first_call and (member.until is None or judge.last_call <= member.until)
    )
    report.holds("enrolment", good, "time of calls")
    if member.ak_name is not None and judge.epochs:
        report.holds("attestation-key", newest(judge).binding.ak_name == member.ak_name, "not the enrolled one")
