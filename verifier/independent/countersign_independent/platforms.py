"""What a processor, and whoever stands between it and the guest, says: docs/spec/verification.md, "Appraisal of a platform".

In: a platform-evidence that is well formed, its binding, its use. Out: failures by check, and facts.
"""

from types import SimpleNamespace

from . import azure, gcp, keychain, schema, snp, tdx, tpmkeys
from .appraisal import Checks

TPM, PLATFORM = "application/countersign.tpm-evidence+cbor", "application/countersign.platform-evidence+cbor"
AMD = ([1, 2, 3], [4])
INTEL = ([5, 6, 7, 8, 9, 10], [])
# By profile: report, paravisor and key are there or not; kinds of endorsements that are needed, and that may be there.
SHAPES = {
    schema.SNP: ((True, False, False), *AMD),
    schema.TDX: ((True, False, False), *INTEL),
    schema.AZURE_SNP: ((False, True, True), *AMD),
    schema.AZURE_TDX: ((True, True, True), *INTEL),
    schema.GCP_SNP: ((True, False, True), [1, 2, 3, 11], [4, 12]),
    schema.GCP_TDX: ((True, False, True), [*INTEL[0], 11], [12]),
}
KEY_CERTIFICATE, ENDORSEMENT, MOST_CERTIFICATES = 11, 12, 8
CLASSES = {
    schema.SNP: "processor",
    schema.TDX: "processor",
    schema.AZURE_SNP: "paravisor-tpm",
    schema.AZURE_TDX: "paravisor-tpm",
    schema.GCP_SNP: "hypervisor-tpm",
    schema.GCP_TDX: "hypervisor-tpm",
}
SNP = (schema.SNP, schema.AZURE_SNP, schema.GCP_SNP)
AZURE, GOOGLE = (schema.AZURE_SNP, schema.AZURE_TDX), (schema.GCP_SNP, schema.GCP_TDX)


def kinds(profile, opening):
    """Kinds of the evidence that a profile has for a use, in order."""
    if profile in (schema.SWTPM, schema.TPM):
        return [TPM]
    if profile in (schema.SNP, schema.TDX):
        return [PLATFORM]
    return [TPM, PLATFORM] if opening else [TPM]


def complete(one):
    """Whether a platform-evidence has exactly the parts and endorsements of its profile."""
    parts, needed, allowed = SHAPES[one.profile]
    if (one.report is not None, one.paravisor is not None, one.key is not None) != parts:
        return False
    given = [each.kind for each in one.endorsements]
    if given != sorted(given) or given.count(KEY_CERTIFICATE) > MOST_CERTIFICATES:
        return False
    single = [kind for kind in given if kind != KEY_CERTIFICATE]
    return len(set(single)) == len(single) and set(needed) <= set(given) <= {*needed, *allowed}


def appraise(one, binding, attestation_key, qualifying, report_data, moment, trust):
    """(failures that are no rules, rules that failed, facts or None); qualifying is that of the platform's key."""
    about = SimpleNamespace(key=attestation_key, name=binding.ak_name, qualifying=qualifying)
    if one.profile in AZURE:
        every, facts = _below_paravisor(one, about, moment, trust)
    elif one.profile in GOOGLE:
        every, facts = _beside_hypervisor(one, about, report_data, moment, trust)
    else:
        checks, facts = _processor(one, one.report, report_data, moment, trust)
        every = [checks]
    bad = [code for checks in every for code in checks.failed()]
    broken = [code for checks in every for code in checks.broken()]
    if bad:
        return bad, broken, None
    return bad, broken, facts


def _endorsements(one):
    return {each.kind: each.bytes for each in one.endorsements}


def _processor(one, report, report_data, moment, trust, **otherwise):
    """(checks, facts or None) of the processor's report; otherwise is what the profile has in place of the trust file's."""
    given = _endorsements(one)
    if one.profile in SNP:
        rules = SimpleNamespace(**{**vars(snp.policy(trust.snp)), **otherwise})
        checks, known = snp.appraise(report, (given[1], given[2], given[3]), given.get(4), rules, report_data, moment)
    else:
        rules = SimpleNamespace(**{**vars(tdx.policy(trust.tdx)), **otherwise})
        checks, known = tdx.appraise(report, given, rules, report_data, moment)
    # What of it stands for a reference value, and is said beside the checks, may come later.
    return checks, known and SimpleNamespace(**vars(known), profile=one.profile, stands=False, remarks=[])


def _below_paravisor(one, about, moment, trust):
    """Azure: all appraisals that can be made."""
    amd = one.profile in SNP
    checks, said = azure.appraise(one.paravisor, azure.policy(trust.azure), azure.SNP if amd else azure.TDX, one.report)
    every, facts = [checks], None
    if said or not amd:
        otherwise = {"vmpl": 0} if amd else {"sept_ve": "azure-paravisor"}
        report = said.hardware if amd else one.report
        checks, facts = _processor(one, report, said.report_data if said else None, moment, trust, **otherwise)
        every.append(checks)
    every.append(tpmkeys.appraise(one.key, said.key if said else None, about.key, about.name, about.qualifying))
    if facts:
        facts.parties = [*facts.parties, "microsoft-paravisor"]
    return every, facts


def _beside_hypervisor(one, about, report_data, moment, trust):
    """Google Cloud, docs/spec/gcp.md, "Appraisal of an opening": each step if those before it held."""
    rules, every = gcp.policy(trust.gcp), []
    checks, facts = _processor(one, one.report, report_data, moment, trust)
    every.append(checks)
    if checks.failed():
        return every, None
    certificates = [each.bytes for each in one.endorsements if each.kind == KEY_CERTIFICATE]
    checks, vouched = keychain.appraise(certificates, rules.roots, rules.instances, moment)
    every.append(checks)
    if checks.failed():
        return every, None
    checks = tpmkeys.appraise(one.key, vouched, about.key, about.name, about.qualifying)
    every.append(checks)
    if checks.failed():
        return every, None
    facts.parties = [*facts.parties, "google-hypervisor"]
    facts.remarks.append("nothing but the anchor joins the processor's report to the TPM; what booted is Google's word")
    _endorsed(one, facts, rules.endorsement, moment, every)
    return every, facts


def _endorsed(one, facts, asked, moment, every):
    """The launch endorsement, where one is there or asked for."""
    data = _endorsements(one).get(ENDORSEMENT)
    if data is None:
        if asked:
            missing = Checks({"gcp.endorsement"})
            missing.see("gcp.endorsement", False)
            every.append(missing)
        return
    checks, good = gcp.appraise(data, "snp" if one.profile in SNP else "tdx", facts.launch, asked, moment)
    every.append(checks)
    facts.stands = bool(asked and asked.stands_for_launch and good)
    facts.remarks.append("the form of a launch endorsement is not proven on captured ones")
    if not asked:
        facts.remarks.append("the trust file names no root for launch endorsements, so this one is under anybody's")


def has_rules(profile, trust):
    """Whether the trust file has a table for each part of a platform."""
    tables = [trust.snp if profile in SNP else trust.tdx]
    if profile in AZURE:
        tables.append(trust.azure)
    if profile in GOOGLE:
        tables.append(trust.gcp)
    return None not in tables
