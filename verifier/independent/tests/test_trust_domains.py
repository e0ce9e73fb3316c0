"""Whole exports of trust domains, alone and below Azure's paravisor, with faults that the corpus has not. Run by ../run."""

import hashlib
import io
import json
import sys
import unittest
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
sys.path.insert(0, str(HERE.parent))
sys.path.insert(0, str(HERE))

from countersign_independent import (  # noqa: E402
    azure,
    cbor,
    cose,
    differ,
    digests,
    export,
    keys,
    madeup,
    merkle,
    platforms,
    schema,
    tpm,
    trust,
)
from countersign_independent.judge import Judge  # noqa: E402
from test_platforms import paravisor, sized, word  # noqa: E402

VECTORS = ROOT / "verifier" / "vectors"
NOW = madeup.MILLIS + 3_600_000
PCRS = (4, 7, 11, 12, 13)
ATTESTATION = ec.derive_private_key(77, ec.SECP256R1())


def items(name):
    return differ.parse((VECTORS / "cases" / (name + ".cbor")).read_bytes())


def base_of(name):
    """Binding of the opening of a case, decoded."""
    for kind, content in items(name):
        if kind == export.ENTRY:
            return cbor.whole(cbor.whole(cose.statement(content).payload)[3][1])


RELEASE = base_of("accept-platform-azure-snp")[8]


def export_of(profile, bind, opening, renewal):
    """The export of a case that has an opening, an enrolment and a renewal, with other evidence in both."""
    out, tree, base, kept = [], merkle.Tree(), None, {}
    for kind, content in items("platform-snp-alone"):
        if kind == export.ARTIFACT and schema.parse(content, schema.artifact).kind in export.EVIDENCE:
            continue
        if kind == export.ENTRY:
            statement = cose.statement(content)
            payload = cbor.whole(statement.payload)
            body, evidence = payload[3], []
            if base is not None:
                payload[2][2] = base
            if "base" in statement.type:
                kept = cbor.whole(body[1])
                kept[2] = profile
                bind(kept)
                body[1] = cbor.encode(kept)
                body[2] = keys.KEYS[digests.sha256(kept[3])].sign(digests.tagged(b"epoch", body[1]))
                evidence = opening(kept, digests.anchor(body[1]))
                body[3] = [{1: one, 2: digests.artifact(data)} for one, data in evidence]
            elif "renewal" in statement.type:
                said = cbor.whole(body[1])
                said[1] = said[7] = base
                said[4][2] = tree.root(said[4][1])
                body[1] = cbor.encode(said)
                evidence = renewal(kept, digests.tagged(b"renewal", body[1]))
                body[2] = [{1: one, 2: digests.artifact(data)} for one, data in evidence]
            out += [[export.ARTIFACT, cbor.encode({1: one, 2: data})] for one, data in evidence]
            content = keys.sign(statement.type, statement.key_id, cbor.encode(payload))
            tree.append(digests.leaf(content))
            base = base or digests.leaf(content)
        out.append([kind, content])
    return differ.join(differ.repair(out))


def trust_file(pin, more=""):
    """That of the corpus, for Intel in the place of AMD."""
    text = (VECTORS / "trust" / "platform.toml").read_text()
    text = text.replace('parties = ["amd"', 'parties = ["intel"')
    before, rest = text.split("[snp]\n")
    registers = ", ".join(f'{index} = ["{bytes([0xA0 + index]).hex() * 48}"]' for index in range(3))
    after = rest.split("[azure]\n")[1].replace("[reference]\n", f"[reference]\nrtmrs = {{ {registers} }}\n")
    launched = "".join(f'{name} = ["{"3e" * 48}"]\n' for name in ("tdx", "azure-tdx"))
    after = after.replace("[reference.launch]\n", "[reference.launch]\n" + launched)
    return (before + f'[tdx]\nroots = ["{pin}"]\n{more}[azure]\n' + after).encode()


def judged(data, pin, more=""):
    """(verdict, states that are neither pass nor not-checked, first note of each failure)."""
    report = Judge(trust.trust(trust_file(pin, more)), now=NOW).read(io.BytesIO(data)).as_dict()
    states = {one["code"]: one["state"] for one in report["checks"] if one["state"] in ("fail", "cannot-tell")}
    notes = [one["notes"][0].split(": ", 1)[1] for one in report["checks"] if one["state"] == "fail"]
    return report["verdict"], states, notes


class Alone(unittest.TestCase):
    def judged(self, change=lambda one: None, more="", zeros=bytes(32)):
        pins = []

        def evidence(data):
            one = madeup.Machine(data)
            change(one)
            pins.append(one.pin())
            given = [{1: kind, 2: raw} for kind, raw in madeup.endorsements(one.collateral()).items()]
            return [(platforms.PLATFORM, cbor.encode({1: schema.TDX, 2: one.quote(), 5: given}))]

        data = export_of(schema.TDX, lambda kept: None, lambda _, anchor: evidence(anchor), lambda _, q: evidence(q + zeros))
        return judged(data, pins[0], more)

    def test_a_trust_domain_vouches_for_the_keys_and_for_no_counter(self):
        self.assertEqual(self.judged(), ("cannot-be-evaluated", {"counter": "cannot-tell"}, []))

    def test_a_renewal_over_other_bytes_is_refused(self):
        self.assertEqual(self.judged(zeros=bytes(31) + b"\x01")[2], ["tdx.td.reportdata"])

    def test_other_registers_are_not_trusted(self):
        self.assertEqual(self.judged(lambda one: one.body.update({376: b"\x01"}))[2], ["register 1"])
        self.assertEqual(self.judged(lambda one: one.body.update({136: b"\x01"}))[2], ["measurement"])

    def test_a_rule_that_is_broken_is_one_of_the_auditors(self):
        self.assertEqual(self.judged(more="statuses = []\n")[1]["platform-rules"], "fail")


class BelowAzuresParavisor(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.platforms = rsa.generate_private_key(65537, 2048)
        cls.modulus = cls.platforms.public_key().public_numbers().n

    def public(self):
        numbers = ATTESTATION.public_key().public_numbers()
        x, y = (one.to_bytes(32, "big") for one in (numbers.x, numbers.y))
        return bytes.fromhex("0023000b00050472000000100018000b00030010") + sized(x) + sized(y)

    def platform_public(self):
        return bytes.fromhex("0001000b00050472000000100014000b080000000000") + sized(self.modulus.to_bytes(256, "big"))

    @staticmethod
    def qualified(public):
        return b"\x00\x0b" + digests.sha256(b"\x40\x00\x00\x0b" + tpm.name_of(public))

    def _attest(self, kind, qualifying, clock, rest):
        head = bytes.fromhex("ff544347" + kind) + sized(self.qualified(self.public())) + sized(qualifying)
        data = head + clock.to_bytes(8, "big") + bytes(8) + b"\x01" + bytes(8) + rest
        r, s = utils.decode_dss_signature(ATTESTATION.sign(data, ec.ECDSA(hashes.SHA256())))
        return data, bytes.fromhex("0018000b") + sized(r.to_bytes(32, "big")) + sized(s.to_bytes(32, "big"))

    def tpm_evidence(self, counter, qualifying):
        index = bytes.fromhex("01500020000b220800180020") + tpm.policy(tpm.Key(RELEASE)) + b"\x00\x08"
        certified = sized(tpm.name_of(index)) + bytes(2) + sized(counter.to_bytes(8, "big"))
        certify, certify_signature = self._attest("8014", qualifying, 1, certified)
        values = [bytes([number]) * 32 for number in PCRS]
        bits = sum(1 << number for number in PCRS).to_bytes(3, "little")
        selected = bytes.fromhex("00000001000b03") + bits + sized(digests.sha256(b"".join(values)))
        quote, signature = self._attest("8018", qualifying, 2, selected)
        pcrs = [{1: number, 2: value} for number, value in zip(PCRS, values)]
        both = {3: quote, 4: signature, 5: pcrs, 6: index, 7: certify, 8: certify_signature}
        return cbor.encode({1: schema.AZURE_TDX, 2: self.public(), **both})

    def tdreport(self, body):
        out = bytearray(1024)
        out[0] = 0x81
        for at, size, to in azure.REPEATED + azure.LATER:
            out[to : to + size] = body[at : at + size]
        out[32:80], out[80:128] = (hashlib.sha384(out[at:end]).digest() for at, end in ((256, 495), (512, 1024)))
        return bytes(out)

    def judged(self, change=lambda one: None, alter=lambda report: report, over=None, modulus=None, more=""):
        pins = []

        def opening(kept, anchor):
            one_key = {"kid": "HCLAkPub", "key_ops": ["sign"], "kty": "RSA", "e": "AQAB", "n": word(modulus or self.modulus)}
            machine = {"secure-boot": True, "tpm-enabled": True, "tpm-persisted": True, "console-enabled": False}
            machine["vmUniqueId"] = "00112233-4455-6677-8899-aabbccddeeff"
            claims = json.dumps({"keys": [one_key], "vm-configuration": machine}).encode()
            one = madeup.Machine(digests.sha256(claims) + bytes(32))
            one.body[120] = bytes(8)
            one.body[584] = bytes([3]) + bytes(15)
            change(one)
            pins.append(one.pin())
            report = bytearray(paravisor(claims, azure.TDX))
            report[32:1216] = alter(self.tdreport(one.report())).ljust(1184, b"\x00")
            about = self.public()
            said = bytes.fromhex("ff5443478017") + sized(self.qualified(self.platform_public())) + sized(over or digests.sha256(anchor))
            said += bytes(25) + sized(tpm.name_of(about)) + sized(self.qualified(about))
            signature = bytes.fromhex("0014000b") + sized(self.platforms.sign(said, padding.PKCS1v15(), hashes.SHA256()))
            key = {1: self.platform_public(), 2: said, 3: signature}
            given = [{1: kind, 2: raw} for kind, raw in madeup.endorsements(one.collateral()).items()]
            evidence = cbor.encode({1: schema.AZURE_TDX, 2: one.quote(), 3: bytes(report), 4: key, 5: given})
            beside = digests.tagged(b"beside", anchor + digests.artifact(evidence))
            return [(platforms.TPM, self.tpm_evidence(kept[12], beside)), (platforms.PLATFORM, evidence)]

        def bind(kept):
            kept[5], kept[7], kept[8] = tpm.name_of(self.public()), list(PCRS), RELEASE

        def renewal(kept, qualifying):
            return [(platforms.TPM, self.tpm_evidence(kept[12] + 1, qualifying))]

        data = export_of(schema.AZURE_TDX, bind, opening, renewal)
        return judged(data, pins[0], more)

    def test_what_nothing_is_wrong_with_is_verified(self):
        self.assertEqual(self.judged(), ("verified", {}, []))

    def test_the_option_for_the_paravisor_is_the_profiles(self):
        self.assertEqual(self.judged(more='sept_ve = "must-be-disabled"\n')[0], "verified")

    def test_each_link_has_to_hold(self):
        def other(at):
            return lambda report: report[:at] + bytes([report[at] ^ 1]) + report[at + 1 :]

        for wanted, changed in (
            ("tdx.td.debug", {"change": lambda one: one.body.update({120: b"\x01"})}),
            ("azure.tdreport.structure", {"alter": other(40)}),
            ("tpm.certify.qualifying", {"over": bytes(32)}),
            ("tpm.certify.signer.vouched", {"modulus": self.modulus ^ 2}),
        ):
            verdict, states, notes = self.judged(**changed)
            self.assertEqual((verdict, states, notes), ("untrusted", {"evidence": "fail"}, [wanted]))

    def test_what_only_that_processor_can_check_may_differ(self):
        for at in (16, 224):
            self.assertEqual(self.judged(alter=lambda report, at=at: report[:at] + b"\x01" + report[at + 1 :])[0], "verified")

    def test_what_was_launched_has_to_be_known(self):
        self.assertEqual(self.judged(lambda one: one.body.update({136: b"\x01"}))[1], {"launch": "fail"})


if __name__ == "__main__":
    unittest.main()
