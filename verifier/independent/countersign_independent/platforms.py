"""What a processor, and whoever stands between it and the guest, says: docs/spec/verification.md, "Appraisal of a platform".

In: a platform-evidence that is well formed, its binding, its use. Out: failures by check, and facts.
"""

from types import SimpleNamespace

from . import azure, schema, snp, tdx, tpmkeys

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
KEY_CERTIFICATE, MOST_CERTIFICATES = 11, 8
CLASSES = {
    schema.SNP: "processor",
    schema.TDX: "processor",
    schema.AZURE_SNP: "paravisor-tpm",
    schema.AZURE_TDX: "paravisor-tpm",
    schema.GCP_SNP: "hypervisor-tpm",
    schema.GCP_TDX: "hypervisor-tpm",
}
APPRAISED = (schema.SNP, schema.TDX, schema.AZURE_SNP, schema.AZURE_TDX)
NAMES = {schema.GCP_SNP: "gcp-snp", schema.GCP_TDX: "gcp-tdx"}


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
    given = {each.kind: each.bytes for each in one.endorsements}
    every, facts, said = [], None, None
    below_paravisor = one.paravisor is not None
    if below_paravisor:
        kind = azure.SNP if one.profile == schema.AZURE_SNP else azure.TDX
        checks, said = azure.appraise(one.paravisor, azure.policy(trust.azure), kind, one.report)
        every.append(checks)
        report_data = said.report_data if said else None
    if one.profile in (schema.TDX, schema.AZURE_TDX):
        rules = tdx.policy(trust.tdx)
        if below_paravisor:
            rules = SimpleNamespace(**{**vars(rules), "sept_ve": "azure-paravisor"})
        checks, facts = tdx.appraise(one.report, given, rules, report_data, moment)
        every.append(checks)
    elif said or not below_paravisor:
        report = said.hardware if said else one.report
        chain = (given[1], given[2], given[3])
        rules = snp.policy(trust.snp)
        if below_paravisor:
            rules = SimpleNamespace(**{**vars(rules), "vmpl": 0})
        checks, facts = snp.appraise(report, chain, given.get(4), rules, report_data, moment)
        every.append(checks)
    if below_paravisor:
        every.append(tpmkeys.appraise(one.key, said.key if said else None, attestation_key, binding.ak_name, qualifying))
    bad = [code for checks in every for code in checks.failed()]
    broken = [code for checks in every for code in checks.broken()]
    if bad:
        return bad, broken, None
    parties = facts.parties + (["microsoft-paravisor"] if below_paravisor else [])
    return bad, broken, SimpleNamespace(parties=parties, launch=facts.launch, registers=facts.registers, profile=one.profile)


def has_rules(profile, trust):
    """Whether the trust file has a table for each part of a platform."""
    of = {
        schema.SNP: (trust.snp,),
        schema.AZURE_SNP: (trust.snp, trust.azure),
        schema.TDX: (trust.tdx,),
        schema.AZURE_TDX: (trust.tdx, trust.azure),
    }
    return all(table is not None for table in of[profile])
