"""Observations, states and the verdict, docs/spec/verification.md, "States and verdict"."""

BLAME = """framing entries signatures identity gateway evidence-set attestation-key evidence enrolment disclosures caller-proofs
settled-twice leaves base-reference epochs adoption counter reset-counts actions approval-required approvals in-force
intent-before-effect settlement run-chains tenant-sequences period tenant-heads run-closes renewals leases clock-order bundle
checkpoint-signatures cosignatures root receipt-missing receipts erasures holds stops missing-disclosures scope trailer""".split()

# code, section, whether a failure means untrusted, whether the check is required
TABLE = [
    line.split()
    for line in """trust-anchor who untrusted required
trust-source who policy required
gateway who untrusted required
enrolment who untrusted required
identity who untrusted required
evidence-set who untrusted required
evidence who untrusted required
attestation-key who untrusted required
evidence-class who policy required
parties who policy required
platform-rules who policy required
release-key who policy optional
recovery-key who policy optional
build rules policy required
configuration rules policy required
pcr-values rules policy required
launch rules untrusted required
bundle rules untrusted required
bundle-signers rules policy required
bundle-pins rules policy optional
framing unaltered untrusted required
entries unaltered untrusted required
extensions unaltered untrusted optional
signatures unaltered untrusted required
base-reference unaltered untrusted required
root unaltered untrusted required
checkpoint-signatures unaltered untrusted required
cosignatures unaltered untrusted optional
disclosures unaltered untrusted optional
erasures unaltered untrusted optional
holds unaltered untrusted optional
stops unaltered untrusted optional
caller-proofs unaltered untrusted optional
actions unaltered untrusted optional
approvals unaltered untrusted optional
approval-required unaltered untrusted optional
trailer unaltered untrusted required
scope complete untrusted required
leaves complete untrusted required
clock-order complete untrusted optional
period complete untrusted optional
missing-disclosures complete untrusted optional
tenant-sequences complete untrusted optional
tenant-heads complete untrusted optional
run-chains complete untrusted optional
run-closes complete untrusted optional
settlement complete untrusted optional
settled-twice complete untrusted optional
intent-before-effect complete untrusted optional
in-force complete untrusted optional
epochs complete untrusted required
counter complete untrusted required
reset-counts complete untrusted required
adoption complete untrusted optional
handed-over complete policy optional
renewals complete untrusted optional
leases complete untrusted optional
gaps complete policy optional
epoch-ends complete policy optional
tail complete policy required
freshness complete policy optional
receipts complete untrusted optional
receipt-missing complete untrusted optional
query complete untrusted optional
fleet complete untrusted optional
histories complete untrusted optional
witnesses known-to-others policy optional
witnessed-calls known-to-others policy optional
outside-time known-to-others policy optional""".splitlines()
]
EXIT = {"verified": 0, "untrusted": 1, "against-policy": 2, "cannot-be-evaluated": 3}


class Report:
    """Counts observations by check and outcome; words are kept for people."""

    def __init__(self):
        self.seen = {row[0]: {"held": 0, "failed": 0, "no result": 0, "not made": 0} for row in TABLE}
        self.notes = {row[0]: [] for row in TABLE}

    def _observe(self, code, outcome, note=None):
        self.seen[code][outcome] += 1
        if note and len(self.notes[code]) < 8:
            self.notes[code].append(f"{outcome}: {note}")

    def holds(self, code, good, note=None):
        self._observe(code, "held" if good else "failed", None if good else note)
        return good

    def held(self, code):
        self._observe(code, "held")

    def fails(self, code, note=None):
        self._observe(code, "failed", note)

    def unknown(self, code, note=None):
        self._observe(code, "no result", note)

    def not_made(self, code, note=None):
        self._observe(code, "not made", note)

    def says(self, code, note):
        """Something about a check that is no observation."""
        if len(self.notes[code]) < 8:
            self.notes[code].append(note)

    def state(self, code):
        seen = self.seen[code]
        if seen["failed"]:
            return "fail"
        if seen["no result"]:
            return "cannot-tell"
        return "pass" if seen["held"] else "not-checked"

    def states(self):
        return {row[0]: self.state(row[0]) for row in TABLE}

    def verdict(self):
        states = self.states()
        if any(states[code] == "fail" and severity == "untrusted" for code, _, severity, _ in TABLE):
            return "untrusted"
        if "cannot-tell" in states.values():
            return "cannot-be-evaluated"
        unmade = [severity for code, _, severity, need in TABLE if need == "required" and states[code] == "not-checked"]
        if "untrusted" in unmade:
            return "cannot-be-evaluated"
        if "fail" in states.values():
            return "against-policy"
        return "cannot-be-evaluated" if unmade else "verified"

    def first_failure(self):
        for code in BLAME + [row[0] for row in TABLE]:
            if self.state(code) == "fail":
                return code
        return None

    def as_dict(self):
        verdict = self.verdict()
        return {
            "report": 1,
            "verdict": verdict,
            "exit_code": EXIT[verdict],
            "first_failure": self.first_failure(),
            "checks": [{"code": code, "state": self.state(code), "notes": self.notes[code]} for code, *_ in TABLE],
        }


def as_text(out):
    """A report for people: the verdict, and each check that says something."""
    lines = [f"{out['verdict']} (exit code {out['exit_code']}; first failure: {out['first_failure'] or 'none'})"]
    for one in out["checks"]:
        if one["state"] != "not-checked":
            lines.append(f"  {one['state']:12} {one['code']}")
            lines += [f"{'':15}{note}" for note in one.get("notes", ())]
    return "\n".join(lines)
