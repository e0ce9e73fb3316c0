"""Tests of what is judged of processors and of those who stand before them. Run by ../run."""

import base64
import hashlib
import json
import re
import sys
import unittest
from pathlib import Path
from types import SimpleNamespace

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
sys.path.insert(0, str(HERE.parent))

from countersign_independent import (  # noqa: E402
    azure,
    collateral,
    cose,
    digests,
    export,
    madeup,
    platforms,
    schema,
    snp,
    strictjson,
    tdx,
    tpmkeys,
    trust,
)
from countersign_independent.cbor import Malformed  # noqa: E402

SPEC = ROOT / "docs" / "spec"
VECTORS = ROOT / "verifier" / "vectors"
AT = 1_770_000_001_000


def codes(page, heading, before):
    """Codes of the table under a heading, in order; `.name` continues the first code of its row."""
    out = []
    for line in (SPEC / page).read_text().split(heading)[1].split("\n## ")[0].splitlines():
        if line.startswith("| `" + before):
            found = re.findall(r"`([^`]+)`", line.split("|")[1])
            first = found[0].rsplit(".", 1)[0]
            out += [found[0]] + [one if one.startswith(before) else first + one for one in found[1:]]
    return out


def rules(page, before):
    text = (SPEC / page).read_text().split("**Rules**")[1].split(". ")[0]
    return {one for one in re.findall(r"`([^`]+)`", text) if one.startswith(before)}


def of_case(name):
    """(platform-evidence, binding, its bytes, tpm-evidence or None) of an export's opening."""
    found, binding = {}, None
    with open(VECTORS / "cases" / (name + ".cbor"), "rb") as stream:
        for kind, content, _ in export.items(stream):
            if kind == export.ARTIFACT:
                one = schema.parse(content, schema.artifact)
                found.setdefault(one.kind, one.bytes)
            elif kind == export.ENTRY:
                _, _, entry = cose.entry(content)
                if entry.kind == "base":
                    binding = entry.body.binding
                    break
    given = schema.parse(found[platforms.PLATFORM], schema.platform_evidence)
    of_tpm = found.get(platforms.TPM)
    return given, schema.parse(binding, schema.binding), binding, of_tpm and schema.parse(of_tpm, schema.tpm_evidence)


class Snp(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.given, _, binding, _ = of_case("platform-snp-alone")
        cls.data = digests.anchor(binding)
        cls.rules = trust.trust((VECTORS / "trust" / "platform.toml").read_bytes()).snp

    def appraise(self, report=None, at=AT, data=None, **changed):
        parts = {one.kind: one.bytes for one in self.given.endorsements}
        kept = {**vars(self.rules), **changed}
        chain = (parts[1], parts[2], parts[3])
        return snp.appraise(report or self.given.report, chain, parts.get(4), SimpleNamespace(**kept), data or self.data, at)

    def product(self, **changed):
        return {"Genoa": SimpleNamespace(**{**vars(self.rules.products["Genoa"]), **changed})}

    def test_checks_and_rules_are_those_of_the_page_in_its_order(self):
        checks, facts = self.appraise()
        self.assertEqual([code for code, _ in checks.all], codes("snp.md", "\n## Checks\n", "snp."))
        self.assertEqual(snp.RULES, rules("snp.md", "snp."))
        self.assertEqual((checks.failed(), checks.broken(), facts.parties), ([], [], ["amd"]))

    def test_each_rule_is_broken_by_a_report_that_is_otherwise(self):
        other = bytes([1]) * 64
        cases = {
            "snp.product.accepted": {"products": {}},
            "snp.chip.accepted": {"products": self.product(chips=[other])},
            "snp.guest.abi": {"guest_abi": (255, 0)},
            "snp.guest.features": {"guest_required": ["page-swap-off"]},
            "snp.platform.features": {"platform_required": ["tio"]},
            "snp.firmware": {"products": self.product(firmware=(255, 0, 0))},
            "snp.mitigations": {"products": self.product(mitigations=1 << 63)},
            "snp.host-data": {"host_data": other[:32]},
            "snp.id-key": {"id_keys": []},
            "snp.author-key": {"author_keys": []},
            "snp.guest.svn": {"guest_svn": 2**32 - 1},
        }
        for code, changed in cases.items():
            checks, facts = self.appraise(**changed)
            self.assertEqual((checks.failed(), checks.broken()), ([], [code]))
            self.assertIsNotNone(facts)

    def test_a_floor_is_compared_part_by_part(self):
        floor = {"bootloader": 0, "tee": 0, "snp": 0, "microcode": 255}
        checks, _ = self.appraise(products=self.product(floor=floor))
        self.assertEqual(checks.broken(), ["snp.tcb.reported", "snp.tcb.committed", "snp.tcb.launch"])
        checks, _ = self.appraise(products=self.product(floor={"fmc": 0}))
        self.assertEqual(len(checks.broken()), 3, "a part that the product does not have is not reached")

    def test_no_changed_bit_of_a_report_is_accepted(self):
        for bit in range(0, 8 * snp.REPORT, 29):
            report = bytearray(self.given.report)
            report[bit // 8] ^= 1 << bit % 8
            self.assertIsNone(self.appraise(bytes(report))[1], f"bit {bit}")

    def test_other_report_data_and_other_times_are_refused(self):
        self.assertEqual(self.appraise(data=bytes(64))[0].failed(), ["snp.report.data"])
        self.assertIn("snp.chain.validity", self.appraise(at=0)[0].failed())
        self.assertEqual(self.appraise(roots=[])[0].failed(), ["snp.root.pinned"])
        self.assertEqual(self.appraise(roots=[("Milan", self.rules.roots[0][1])])[0].failed(), ["snp.key.product"])

    def test_the_pinned_roots_are_the_keys_of_amds_certificates(self):
        for product, pin in snp.ROOTS:
            raw = (ROOT / "measurements" / "roots" / "amd" / f"{product.lower()}-ark.der").read_bytes()
            root = snp.x509.certificate(raw)
            self.assertEqual(hashlib.sha384(root.spki_raw).digest(), pin)
            self.assertTrue(snp.x509.issued(root, root, 1))
            for name, kind in (("ask", "VCEK"), ("asvk", "VLEK")):
                issuer = snp.x509.certificate((ROOT / "measurements" / "roots" / "amd" / f"{product.lower()}-{name}.der").read_bytes())
                self.assertTrue(snp.x509.issued(root, issuer, 1))
                self.assertEqual(snp.issuer_kind(issuer), (kind, product))


def paravisor(claims, kind=azure.SNP, data=None):
    """A paravisor's report around claims; the processor's has nothing but its report data."""
    hardware = bytearray(1184)
    hardware[0x50:0x90] = digests.sha256(claims) + bytes(32) if data is None else data
    end = 1236 + len(claims)
    numbers = lambda *all_: b"".join(one.to_bytes(4, "little") for one in all_)  # noqa: E731
    head = b"HCLA" + numbers(1, end, 2, 0) + bytes(12)
    return head + bytes(hardware) + numbers(end - 1216, 1, kind, 1, len(claims)) + claims


def word(number):
    return base64.urlsafe_b64encode(number.to_bytes((number.bit_length() + 7) // 8, "big")).rstrip(b"=").decode()


CAPTURED = ROOT / "verifier" / "evidence" / "vectors" / "tdx"


def endorsements(path):
    return madeup.endorsements(json.loads(path.read_text()))


class Tdx(unittest.TestCase):
    """A captured quote of version 4 with its collateral."""

    AT = 1_751_328_000_000  # 2025-07-01

    @classmethod
    def setUpClass(cls):
        cls.quote = (CAPTURED / "dcap-qvl" / "tdx_quote").read_bytes().rstrip(b"\x00") + b"\x00"
        cls.given = endorsements(CAPTURED / "dcap-qvl" / "tdx_quote_collateral.json")
        cls.rules = trust.trust(b'version = 1\n[tdx]\nflags = ["dynamic-platform", "cached-keys", "smt"]\n').tdx

    def appraise(self, quote=None, at=AT, given=None, **changed):
        quote = quote or self.quote
        rules = SimpleNamespace(**{**vars(self.rules), **changed})
        return tdx.appraise(quote, given or self.given, rules, self.quote[568:632], at)

    def test_checks_and_rules_are_those_of_the_page_in_its_order(self):
        checks, facts = self.appraise()
        self.assertEqual([code for code, _ in checks.all], codes("tdx.md", "\n## Checks\n", "tdx."))
        self.assertEqual(tdx.RULES, rules("tdx.md", "tdx."))
        self.assertEqual((checks.failed(), checks.broken(), facts.parties, len(facts.registers)), ([], [], ["intel"], 4))

    def test_each_rule_is_broken_by_a_quote_that_is_otherwise(self):
        other = bytes([1]) * 48
        for code, changed in {
            "tdx.td.xfam": {"xfam": 3},
            "tdx.td.mrseam": {"mrseam": [other]},
            "tdx.td.configid": {"mrconfigid": [other]},
            "tdx.td.owner": {"mrowner": []},
            "tdx.td.ownerconfig": {"mrownerconfig": []},
            "tdx.tcb.floor": {"tee_tcb_floor": bytes([255]) * 16},
            "tdx.tcb.status": {"statuses": ["OutOfDate"]},
            "tdx.platform.flags": {"flags": []},
            "tdx.platform.id": {"platforms": []},
        }.items():
            checks, facts = self.appraise(**changed)
            self.assertEqual((checks.failed(), checks.broken()), ([], [code]))
            self.assertIsNotNone(facts)
        self.assertEqual(
            self.appraise(evaluation_floor=2**32 - 1)[0].broken(), ["tdx.tcbinfo.evaluation", "tdx.qeidentity.evaluation"]
        )

    def test_no_changed_bit_is_accepted(self):
        for bit in range(5, 8 * (len(self.quote) - 1), 397):
            quote = bytearray(self.quote)
            quote[bit // 8] ^= 1 << bit % 8
            self.assertIsNone(self.appraise(bytes(quote))[1], f"bit {bit}")
        for kind, raw in self.given.items():
            for bit in range(2, 8 * len(raw), 1999):
                broken = bytearray(raw)
                broken[bit // 8] ^= 1 << bit % 8
                self.assertIsNone(self.appraise(given={**self.given, kind: bytes(broken)})[1], f"bit {bit} of {kind}")

    def test_every_length_is_exact(self):
        for quote in (self.quote[:-1], self.quote + b"\x00", self.quote[:700], self.quote[:47], b"\x00"):
            self.assertIsNone(self.appraise(quote)[1])

    def test_collateral_is_judged_at_the_moment(self):
        for at in (self.AT - 86_400_000 * 30, self.AT + 86_400_000 * 30):
            self.assertIn("tdx.tcbinfo.validity", self.appraise(at=at)[0].failed())

    def test_another_root_certificate_is_none(self):
        self.assertEqual(
            self.appraise(roots=[])[0].failed(), ["tdx.pck.root", "tdx.tcbinfo.chain", "tdx.qeidentity.chain"]
        )


class MadeUp(unittest.TestCase):
    """Quotes of a made-up machine, with one thing wrong."""

    DATA = bytes([7]) * 64

    def failed(self, change=lambda one: None, **changed):
        one = madeup.Machine(self.DATA)
        change(one)
        rules = trust.trust(f'version = 1\n[tdx]\nroots = ["{one.pin()}"]\n'.encode()).tdx
        rules = SimpleNamespace(**{**vars(rules), **changed})
        checks, facts = tdx.appraise(one.quote(), madeup.endorsements(one.collateral()), rules, self.DATA, madeup.MILLIS)
        self.assertEqual(facts is None, bool(checks.failed()))
        return checks.failed() + checks.broken()

    def test_a_machine_with_nothing_wrong_holds_in_every_layout(self):
        for version, kind in ((4, 2), (5, 2), (5, 3), (5, 4)):
            self.assertEqual(self.failed(lambda one: one.__dict__.update(version=version, kind=kind)), [])

    def test_each_fault_is_found_by_its_name(self):
        def body(at, value):
            return lambda one: one.body.update({at: value})

        def signer(role):
            return lambda one: one.signers.update({role: madeup.STRANGER})

        def kind4(at):
            return lambda one: (one.body.update({at: b"\x01"}), one.__dict__.update(kind=4))

        for wanted, change in {
            "tdx.td.debug": body(120, b"\x01\x00\x00\x10"),
            "tdx.td.profiling": body(120, b"\x10\x00\x00\x10"),
            "tdx.td.migratable": body(120, b"\x00\x00\x00\x30"),
            "tdx.td.reserved": body(120, b"\x02\x00\x00\x10"),
            "tdx.td.septve": body(120, bytes(4)),
            "tdx.td.features": body(120, b"\x00\x00\x00\x50"),
            "tdx.td.vmid": kind4(648),
            "tdx.td.servicetd": kind4(829),
            "tdx.td.reportdata": body(520, b"\x08"),
            "tdx.qe.signature": signer("enclave"),
            "tdx.quote.signature": signer("quote"),
            "tdx.pck.chain": signer("pck"),
            "tdx.rootcrl.signature": signer("root list"),
            "tdx.pckcrl.signature": signer("pck list"),
            "tdx.tcbinfo.signature": signer("info"),
            "tdx.qeidentity.signature": signer("identity"),
            "tdx.pckca.revocation": lambda one: one.taken[1].append(2),
            "tdx.pck.revocation": lambda one: one.taken[0].append(3),
            "tdx.tcbinfo.fmspc": lambda one: one.info.update(fmspc="02" + "00" * 5),
            "tdx.tcbinfo.id": lambda one: one.info.update(id="SGX"),
            "tdx.tcbinfo.members": lambda one: one.info.update(more=1),
            "tdx.tcbinfo.validity": lambda one: one.info.update(nextUpdate=madeup.iso(-1)),
            "tdx.qe.mrsigner": lambda one: one.enclave.update({128: bytes(32)}),
            "tdx.qe.isvprodid": lambda one: one.enclave.update({256: b"\x03"}),
            "tdx.qe.tcb": lambda one: one.enclave.update({258: b"\x03"}),
            "tdx.module.identity": body(64, b"\x01"),
            "tdx.platform.tcb": lambda one: one.components.__setitem__(15, 0),
            "tdx.tcb.status": lambda one: one.info["tcbLevels"][0].update(tcbStatus="OutOfDate"),
            "tdx.platform.flags": lambda one: one.__dict__.update(flags=None),
        }.items():
            self.assertEqual(self.failed(change), [wanted])

    def test_advisories_that_are_refused_concern_platform_and_enclave(self):
        for statement in ("info", "identity"):
            change = lambda one, name=statement: getattr(one, name)["tcbLevels"][0]["advisoryIDs"].append("INTEL-SA-1")  # noqa: E731
            self.assertEqual(self.failed(change, denied_advisories=["INTEL-SA-1"]), ["tdx.tcb.advisories"])
            self.assertEqual(self.failed(change), [])


class Levels(unittest.TestCase):
    """What statuses come to together."""

    @staticmethod
    def level(status):
        return SimpleNamespace(status=status, date=0, advisories=[])

    def joint(self, *pairs, enclave="UpToDate"):
        both = [(self.level(one), None if two is None else self.level(two)) for one, two in pairs]
        return collateral.joint(both, self.level(enclave))

    def test_statuses_join_to_the_worse(self):
        for pairs, enclave, wanted in (
            ([("UpToDate", "UpToDate")], "UpToDate", "UpToDate"),
            ([("UpToDate", None)], "OutOfDate", "OutOfDate"),
            ([("ConfigurationNeeded", "OutOfDate")], "UpToDate", "OutOfDateConfigurationNeeded"),
            ([("SWHardeningNeeded", "UpToDate")], "UpToDate", "SWHardeningNeeded"),
            ([("UpToDate", "Revoked")], "UpToDate", "Revoked"),
            ([("UpToDate", "UpToDate")], "Revoked", "Revoked"),
            ([("UpToDate", "UpToDate"), ("UpToDate", "OutOfDate")], "UpToDate", "OutOfDate"),
            ([("UpToDate", "OutOfDate"), ("UpToDate", "UpToDate")], "UpToDate", "TDRelaunchAdvised"),
            ([("ConfigurationNeeded", "OutOfDate"), ("ConfigurationNeeded", "UpToDate")], "UpToDate", "TDRelaunchAdvisedConfigurationNeeded"),
            ([("UpToDate", "OutOfDate"), ("OutOfDate", "OutOfDate")], "UpToDate", "OutOfDate"),
            ([("UpToDate", "Revoked"), ("UpToDate", "UpToDate")], "UpToDate", "Revoked"),
            ([("UpToDate", "OutOfDate"), ("UpToDate", "Revoked")], "UpToDate", "Revoked"),
        ):
            self.assertEqual(self.joint(*pairs, enclave=enclave), wanted, (pairs, enclave))

    def test_grace_counts_from_the_oldest_level_that_lacks_updates(self):
        rules = SimpleNamespace(statuses=["UpToDate"], grace_days=1)
        matched = [SimpleNamespace(status="OutOfDate", date=one) for one in (200, 100)] + [self.level("UpToDate")]
        limit = (100 + 86_400) * 1000
        self.assertTrue(tdx.accepted("OutOfDate", matched, rules, limit))
        self.assertFalse(tdx.accepted("OutOfDate", matched, rules, limit + 1))
        self.assertFalse(tdx.accepted("OutOfDateConfigurationNeeded", matched, rules, limit))
        self.assertFalse(tdx.accepted("Revoked", matched, rules, limit))
        self.assertFalse(tdx.accepted("OutOfDate", matched, SimpleNamespace(statuses=["UpToDate"], grace_days=0), 0))

    def test_a_floor_is_of_the_major_version_then_the_minor_one(self):
        floor = bytes([5, 1, 7]) + bytes(13)
        for version, good in (((5, 1, 7), True), ((0, 2, 7), True), ((4, 1, 7), False), ((9, 0, 7), False), ((5, 1, 6), False)):
            self.assertEqual(tdx.above(bytes(version) + bytes(13), floor), good)


class Azure(unittest.TestCase):
    RULES = SimpleNamespace(secure_boot=True, tpm_persisted=True, console_off=True, old_key_operation=False)

    def claims(self, operation="sign", **changed):
        keys = [{"kid": "HCLAkPub", "key_ops": [operation], "kty": "RSA", "e": "AQAB", "n": word(1 << 2047 | 1)}]
        machine = {
            "secure-boot": True,
            "tpm-enabled": True,
            "tpm-persisted": True,
            "console-enabled": False,
            "vmUniqueId": "00112233-4455-6677-8899-aabbccddeeff",
            **{name.replace("_", "-"): value for name, value in changed.items()},
        }
        return json.dumps({"keys": keys, "vm-configuration": machine}).encode()

    def codes(self, report, rules=None):
        checks, _ = azure.appraise(report, rules or self.RULES, azure.SNP)
        return checks.failed() + checks.broken()

    def test_checks_and_rules_are_those_of_the_page_in_its_order(self):
        checks, said = azure.appraise(paravisor(self.claims()), self.RULES, azure.SNP)
        self.assertEqual([code for code, _ in checks.all], codes("azure.md", "\n## Checks of a paravisor's report\n", "azure."))
        self.assertEqual(azure.RULES, rules("azure.md", "azure."))
        self.assertEqual(said.key, 1 << 2047 | 1)

    def test_each_setting_that_is_asked_for_has_to_be_so(self):
        for code, changed in {
            "azure.key.operation": {"operation": "encrypt"},
            "azure.vm.tpm_persisted": {"tpm_persisted": False},
            "azure.vm.secure_boot": {"secure_boot": False},
            "azure.vm.console": {"console_enabled": True},
            "azure.vm.tpm": {"tpm_enabled": False},
            "azure.runtime.members": {"something_new": 1},
            "azure.runtime.structure": {"secure_boot": "yes"},
        }.items():
            self.assertEqual(self.codes(paravisor(self.claims(**changed))), [code])

    def test_nobody_who_asks_nothing_is_refused_for_a_setting(self):
        report = paravisor(self.claims("encrypt", secure_boot=False, tpm_persisted=False, console_enabled=True))
        self.assertEqual(self.codes(report, azure.policy(None)), [])

    def test_other_claims_than_the_processors_are_refused(self):
        claims = self.claims()
        self.assertEqual(self.codes(paravisor(claims, data=bytes(64))), ["azure.runtime.binding"])
        self.assertEqual(self.codes(paravisor(claims, data=digests.sha256(claims) + bytes(31) + b"\x01")), ["azure.runtime.binding"])

    def test_each_field_of_the_layout_has_one_value(self):
        report = paravisor(self.claims())
        for at in [*range(0, 32), *range(1216, 1236)]:
            for bit in range(8):
                broken = bytearray(report)
                broken[at] ^= 1 << bit
                if bytes(broken[4:8]) == b"\x02\x00\x00\x00" or bytes(broken[1220:1224]) == b"\x02\x00\x00\x00":
                    continue
                self.assertNotEqual(self.codes(bytes(broken)), [], f"byte {at}")
        self.assertEqual(self.codes(report + bytes(100)), [])
        self.assertEqual(self.codes(report + bytes(100) + b"\x01"), ["azure.report.structure"])
        self.assertEqual(self.codes(report + bytes(2601 - len(report))), ["azure.report.structure"])


class Json(unittest.TestCase):
    def test_what_has_one_meaning_is_read(self):
        value, spans = strictjson.read(b' { "a" : [1, true, null, "\\u00e9\\ud83d\\ude00"] , "b":{"c":18446744073709551615} } ')
        self.assertEqual(value, {"a": [1, True, None, "é😀"], "b": {"c": 2**64 - 1}})
        self.assertEqual(spans["b"], b'{"c":18446744073709551615}')

    def test_all_else_is_refused(self):
        for text in (
            '{"a":1,"a":2}',
            '{"a":1,"\\u0061":2}',
            '{"a":1.0}',
            '{"a":-1}',
            '{"a":1e1}',
            '{"a":01}',
            '{"a":18446744073709551616}',
            '{"a":"\\ud800"}',
            '{"a":"\\udc00"}',
            '{"a":"\t"}',
            '{"a":"\\x"}',
            '{"a":1,}',
            '{"a":1} x',
            "[" * 13 + "]" * 13,
            "{" + ",".join(f'"{i}":1' for i in range(129)) + "}",
            "",
        ):
            with self.assertRaises(Malformed, msg=text):
                strictjson.read(text.encode())
        with self.assertRaises(Malformed):
            strictjson.read(b'"\xff"')


def sized(data):
    return len(data).to_bytes(2, "big") + data


class CertifiedKey(unittest.TestCase):
    """A key of RSA certifies one of P-256."""

    ATTRIBUTES = 0x00050472

    @classmethod
    def setUpClass(cls):
        cls.signer = rsa.generate_private_key(65537, 2048)
        cls.modulus = cls.signer.public_key().public_numbers().n
        numbers = ec.derive_private_key(5, ec.SECP256R1()).public_key().public_numbers()
        cls.xy = numbers.x.to_bytes(32, "big"), numbers.y.to_bytes(32, "big")

    def public(self, attributes=ATTRIBUTES):
        head = b"\x00\x23\x00\x0b" + attributes.to_bytes(4, "big") + bytes(2)
        return head + bytes.fromhex("00100018000b00030010") + sized(self.xy[0]) + sized(self.xy[1])

    def signers(self, attributes=ATTRIBUTES):
        head = b"\x00\x01\x00\x0b" + attributes.to_bytes(4, "big") + bytes(2)
        return head + bytes.fromhex("00100014000b080000000000") + sized(self.modulus.to_bytes(256, "big"))

    def appraise(self, signer=None, public=None, about=None, over=bytes(32), kind="8017", vouched=None, expected=None):
        signer, public = signer or self.signers(), public or self.public()
        name = digests.sha256
        qualified = lambda area: b"\x00\x0b" + name(b"\x40\x00\x00\x0b\x00\x0b" + name(area))  # noqa: E731
        about = about or public
        statement = bytes.fromhex("ff544347" + kind) + sized(qualified(signer)) + sized(over) + bytes(17) + bytes(8)
        statement += sized(b"\x00\x0b" + name(about)) + sized(qualified(about))
        signature = b"\x00\x14\x00\x0b" + sized(self.signer.sign(statement, padding.PKCS1v15(), hashes.SHA256()))
        key = SimpleNamespace(public=signer, certify=statement, certify_signature=signature)
        expected = expected or b"\x00\x0b" + name(public)
        return tpmkeys.appraise(key, vouched or self.modulus, public, expected, bytes(32))

    def test_checks_are_those_of_the_page_in_its_order(self):
        checks = self.appraise()
        self.assertEqual([code for code, _ in checks.all], codes("tpm-keys.md", "\n### One key for another", "tpm.certify."))
        self.assertTrue(all(state == "pass" for _, state in checks.all))

    def test_each_fault_is_found_by_its_name(self):
        for changed, wanted in (
            ({"signer": self.signers(0x00040472)}, ["tpm.certify.signer.attributes"]),
            ({"vouched": self.modulus - 2}, ["tpm.certify.signer.vouched"]),
            ({"over": bytes(31)}, ["tpm.certify.qualifying"]),
            ({"kind": "8018"}, ["tpm.certify.structure"]),
            ({"public": self.public(0x00040472)}, ["tpm.certify.key.attributes"]),
            ({"expected": bytes(34)}, ["tpm.certify.key.expected"]),
            ({"about": self.public(0x00050072)}, ["tpm.certify.key.name", "tpm.certify.key.qualified_name"]),
        ):
            self.assertEqual(self.appraise(**changed).failed(), wanted)


class Sets(unittest.TestCase):
    def test_the_set_is_exact(self):
        given, *_ = of_case("accept-platform-azure-snp")
        self.assertTrue(platforms.complete(given))

        def changed(**fields):
            return SimpleNamespace(**{**vars(given), **fields})

        ends = given.endorsements
        for one in (
            changed(report=bytes(1184)),
            changed(key=None),
            changed(paravisor=None),
            changed(endorsements=ends[1:]),
            changed(endorsements=ends[::-1]),
            changed(endorsements=[ends[0], *ends]),
            changed(endorsements=[*ends, SimpleNamespace(kind=12, bytes=b"")]),
        ):
            self.assertFalse(platforms.complete(one))

    def test_the_table_of_profiles_is_that_of_the_page(self):
        page = (SPEC / "evidence.md").read_text().split("## Platform profiles")[1]
        numbers = {name: number for number, name in enumerate("swtpm tpm snp tdx azure-snp azure-tdx gcp-snp gcp-tdx".split(), 1)}
        seen = set()
        for line in page.split("`profile` of both items")[0].splitlines():
            cells = [one.strip() for one in line.split("|")[1:-1]]
            if not cells or not cells[0].startswith("`") or "tdx" not in cells[0] and "snp" not in cells[0]:
                continue
            (name,) = re.findall(r"`([a-z-]+)`", cells[0])
            parts = tuple(cell != "–" for cell in cells[3:6])
            needed, allowed = ([int(n) for n in re.findall(r"\d+", one)] for one in cells[6].split("/"))
            self.assertEqual(platforms.SHAPES[numbers[name]], (parts, needed, allowed), name)
            for opening, cell in ((True, cells[1]), (False, cells[2])):
                wanted = [f"application/countersign.{one}+cbor" for one in cell.split(", ")]
                self.assertEqual(platforms.kinds(numbers[name], opening), wanted, name)
            seen.add(numbers[name])
        self.assertEqual(seen, set(platforms.SHAPES))


class TrustFile(unittest.TestCase):
    def read(self, text):
        return trust.trust(("version = 1\n" + text).encode())

    def test_tables_take_their_defaults(self):
        one = self.read('[snp]\nproducts = [{ name = "Milan" }]\n[tdx]\n[azure]\n')
        self.assertEqual((one.snp.revocation, one.snp.vmpl, one.snp.providers), ("required", 0, []))
        self.assertEqual((one.snp.platform_required, one.snp.roots), (["alias-check"], snp.ROOTS))
        self.assertEqual((one.tdx.statuses, one.tdx.xfam, one.tdx.mrowner), (["UpToDate"], 0x6DBE7, [bytes(48)]))
        self.assertTrue(one.azure.secure_boot and one.azure.tpm_persisted and one.azure.console_off)
        self.assertEqual((self.read("").snp, self.read("").parties), (None, None))

    def test_what_is_not_known_is_refused(self):
        product = '[[snp.products]]\nname = "Milan"\n'
        for text in (
            "[snp]\n",
            product + product,
            '[[snp.products]]\nname = "Rome"\n',
            product + "floor = { bootloader = 1 }\n",
            product + "floor = { bootloader = 256, tee = 0, snp = 0, microcode = 0 }\n",
            product + 'firmware = "1.02.3"\n',
            product + 'firmware = "1.2"\n',
            product + 'mitigations = "00"\n',
            product + "[snp]\nvmpl = true\n",
            '[snp]\nproducts = []\nplatform_required = ["sev"]\n',
            '[snp]\nproducts = []\nroots = [{ product = "Milan" }]\n',
            '[evidence]\nparties = ["nobody"]\n',
            '[evidence]\nparties = ["cloud-provider:"]\n',
            '[evidence]\nparties = ["cloud-provider:a b"]\n',
            '[evidence]\naccept = ["hardware"]\n',
            '[tdx]\nstatuses = ["Revoked"]\n',
            "[azure]\nconsole = true\n",
            '[reference]\nlaunch = ["00"]\n',
            "[reference.rtmrs]\n4 = []\n",
        ):
            with self.assertRaises(trust.Refused, msg=text):
                self.read(text)


if __name__ == "__main__":
    unittest.main()
