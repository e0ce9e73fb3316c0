"""Tests of what is judged of machines of Google's: certificates of a TPM's key, endorsements of firmware, whole exports. Run by ../run."""

import io
import re
import sys
import unittest
from pathlib import Path
from types import SimpleNamespace

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
sys.path.insert(0, str(HERE))

from countersign_independent import (  # noqa: E402
    breakplatform,
    cbor,
    differ,
    gcp,
    googles,
    keychain,
    madegoogle,
    platforms,
    protobuf,
    reopen,
    trust,
)
from countersign_independent.cbor import Malformed  # noqa: E402
from countersign_independent.judge import Judge  # noqa: E402
from test_platforms import SPEC, VECTORS, codes, of_case  # noqa: E402

AT = 1_770_000_001_500
LAUNCH = b"\x3e" * 48


def machine(change=lambda one: None, kind=7):
    one = madegoogle.Google(AT, LAUNCH, kind)
    change(one)
    return one


class Messages(unittest.TestCase):
    FIELDS = {
        1: protobuf.Field("number", most=2**64 - 1),
        2: protobuf.Field("data", lambda data: data, needed=True),
        3: protobuf.Field("small", most=1),
        4: protobuf.Field("often", protobuf.sized(0, 2), many=True),
    }

    def read(self, word):
        return protobuf.message(bytes.fromhex(word), self.FIELDS)

    def test_fields_come_in_any_order_and_need_not_be_there(self):
        one = self.read("2202aaaa1201ff08ffffffffffffffffff012200")
        self.assertEqual((one.number, one.data, one.small, one.often), (2**64 - 1, b"\xff", None, [b"\xaa\xaa", b""]))

    def test_all_else_is_refused(self):
        for word in (
            "",
            "0801",
            "12001200",
            "120008ffffffffffffffffff02",
            "120008ffffffffffffffffffff01",
            "1200088000",
            "12000880",
            "120008",
            "12001802",
            "12000a01ff",
            "1001",
            "1202ff",
            "12002201aa",
            "12002a00",
            "12000200",
            "12008a800001",
            "12000d00000000",
            "12000b0c",
        ):
            with self.assertRaises(Malformed, msg=word):
                self.read(word)

    def test_a_message_has_1024_fields_at_most(self):
        self.assertEqual(len(self.read("1200" + "2200" * 1023).often), 1023)
        with self.assertRaises(Malformed):
            self.read("1200" + "2200" * 1024)


def extension(word, critical, value):
    return lambda one: one.certificates[0].extensions.update({word: (critical, value)})


def without(word):
    return lambda one: one.certificates[0].extensions.pop(word)


def named(*parts):
    return extension(madegoogle.NAMES, True, madegoogle.sequence(*parts))


def at(index, **changed):
    return lambda one: one.certificates[index].__dict__.update(changed)


class Certificates(unittest.TestCase):
    def appraise(self, change=lambda one: None, instances=None, moment=AT, ders=lambda every: every):
        one = machine(change)
        pins = [bytes.fromhex(madegoogle.pin(one.certificates[-1].key))]
        return keychain.appraise(ders([each.der() for each in one.certificates]), pins, instances, moment)

    def failed(self, *arguments, **options):
        checks, vouched = self.appraise(*arguments, **options)
        self.assertEqual(vouched is None, bool(checks.failed()))
        return checks.failed() + checks.broken()

    def test_checks_and_roots_are_those_of_the_page_in_its_order(self):
        checks, vouched = self.appraise()
        self.assertEqual([code for code, _ in checks.all], codes("tpm-keys.md", "\n### Certificates", "tpm.chain."))
        asked = [code for code, state in checks.all if state == "not checked"]
        self.assertEqual(asked, ["tpm.chain.revocation", "tpm.chain.instance", "tpm.chain.activation"])
        self.assertEqual(vouched, madegoogle.rsa_key(1).public_key().public_numbers().n)
        page = (SPEC / "tpm-keys.md").read_text().split("Google's roots, SHA-384")[1].split("\n\n")[0]
        self.assertEqual([bytes.fromhex(one) for one in re.findall("[0-9a-f]{96}", page)], keychain.GOOGLES_ROOTS)

    def test_each_fault_is_found_by_its_name(self):
        directory = madegoogle.maker(madegoogle.MAKER)[2:]
        first, second = madegoogle.OF_ENDORSEMENT_KEYS, madegoogle.OF_ATTESTATION_KEYS
        issuers = madegoogle.of_issuer
        for wanted, change in (
            ("tpm.chain.structure", at(0, version=1)),
            ("tpm.chain.structure", at(2, more=b"\x00")),
            ("tpm.chain.path", at(0, signer=madegoogle.ec_key(9))),
            ("tpm.chain.path", at(2, signer=madegoogle.ec_key(9))),
            ("tpm.chain.path", at(0, issuer="another")),
            ("tpm.chain.path", at(2, issuer="another")),
            ("tpm.chain.path", at(2, extensions=issuers(0))),
            ("tpm.chain.path", at(1, extensions={})),
            ("tpm.chain.structure", at(2, extensions=issuers(2**64))),
            ("tpm.chain.path", at(1, extensions={**issuers(), madegoogle.KEY_USAGE: (True, madegoogle.usage(0))})),
            ("tpm.chain.path", at(1, extensions={**issuers(), "1.2.3": (True, b"")})),
            ("tpm.chain.validity", at(0, stop=AT // 1000 - 1)),
            ("tpm.chain.validity", at(1, start=AT // 1000 + 1)),
            ("tpm.chain.validity", at(2, stop=AT // 1000 - 1)),
            ("tpm.chain.purpose", without(madegoogle.KEY_USAGE)),
            ("tpm.chain.purpose", extension(madegoogle.KEY_USAGE, True, madegoogle.usage(0, 2))),
            ("tpm.chain.purpose", extension(madegoogle.KEY_USAGE, True, madegoogle.usage(2))),
            ("tpm.chain.purpose", extension(madegoogle.KEY_USAGE, True, madegoogle.usage(0, 8))),
            ("tpm.chain.purpose", without(madegoogle.PURPOSES)),
            ("tpm.chain.purpose", extension(madegoogle.PURPOSES, False, madegoogle.purposes(first, second))),
            ("tpm.chain.purpose", extension(madegoogle.PURPOSES, False, madegoogle.purposes("2.5.29.37.0"))),
            ("tpm.chain.purpose", extension(madegoogle.CONSTRAINTS, True, madegoogle.constraints(True))),
            ("tpm.chain.purpose", extension("1.2.3", True, b"")),
            ("tpm.chain.maker", without(madegoogle.NAMES)),
            ("tpm.chain.maker", named()),
            ("tpm.chain.maker", named(directory, directory)),
            ("tpm.chain.maker", named(madegoogle.element(0x82, b"example.com"))),
            ("tpm.chain.maker", extension(madegoogle.NAMES, True, madegoogle.maker(madegoogle.MODEL))),
            ("tpm.chain.maker", extension(madegoogle.NAMES, True, madegoogle.maker(madegoogle.MAKER, madegoogle.MAKER))),
            *(
                ("tpm.chain.maker", extension(madegoogle.NAMES, True, madegoogle.maker(madegoogle.attribute("2.23.133.2.1", value))))
                for value in (b"", b"a b", b"a\x7f", b"\xc3\xa9", b"x" * 65)
            ),
            ("tpm.chain.instance", extension(madegoogle.INSTANCE, False, b"")),
            ("tpm.chain.instance", extension(madegoogle.INSTANCE, False, madegoogle.instance(number=-1))),
            ("tpm.chain.instance", extension(madegoogle.INSTANCE, False, madegoogle.instance(more=b"\x05\x00"))),
            ("tpm.chain.key", at(0, key=madegoogle.rsa_key(7, 2048, 3))),
        ):
            self.assertEqual(self.failed(change), [wanted])

    def test_what_may_be_otherwise_is_accepted(self):
        for change in (
            extension(madegoogle.PURPOSES, True, madegoogle.purposes(madegoogle.OF_ATTESTATION_KEYS)),
            extension(madegoogle.NAMES, False, madegoogle.maker(madegoogle.MAKER)),
            extension(madegoogle.NAMES, True, madegoogle.maker(madegoogle.attribute("2.23.133.2.1", b"x" * 64))),
            at(2, extensions=madegoogle.of_issuer(2**64 - 1)),
            extension(madegoogle.INSTANCE, False, madegoogle.instance(more=b"\xa0\x00")),
            extension(madegoogle.KEY_USAGE, False, madegoogle.usage(0)),
            without(madegoogle.INSTANCE),
            without(madegoogle.CONSTRAINTS),
            at(0, stop=AT // 1000),
            at(0, start=AT // 1000),
            at(0, scheme=("pss", "sha384", 48)),
            at(0, serial=-1),
        ):
            self.assertEqual(self.failed(change), [])

    def test_keys_of_curves_are_vouched_for_by_curve_and_point(self):
        for bits, name in ((256, "secp256r1"), (384, "secp384r1")):
            key = madegoogle.ec_key(3, bits)
            numbers = key.public_key().public_numbers()
            self.assertEqual(self.appraise(at(0, key=key))[1], (name, numbers.x, numbers.y))

    def test_there_are_two_to_five_certificates_in_order(self):
        def longer(count):
            return lambda one: one.certificates.extend([one.certificates[-1]] * count)

        self.assertEqual(self.failed(longer(2)), [])
        self.assertEqual(self.failed(longer(3)), ["tpm.chain.structure"])
        self.assertEqual(self.failed(ders=lambda every: every[:1]), ["tpm.chain.structure"])
        self.assertIn("tpm.chain.path", self.failed(ders=lambda every: every[::-1]))
        self.assertEqual(self.failed(ders=lambda every: every[:2]), ["tpm.chain.path", "tpm.chain.root"])

    def test_machines_that_are_named_are_the_only_ones(self):
        for instances, wanted in (
            ({("project", 42)}, []),
            ({("project", 43), ("x", 42)}, ["tpm.chain.instance"]),
            (set(), ["tpm.chain.instance"]),
        ):
            checks, vouched = self.appraise(instances=instances)
            self.assertEqual((checks.failed(), checks.broken(), vouched is None), ([], wanted, False))
        checks, _ = self.appraise(without(madegoogle.INSTANCE), instances={("project", 42)})
        self.assertEqual((checks.failed(), checks.broken()), ([], ["tpm.chain.instance"]))
        malformed = extension(madegoogle.INSTANCE, False, b"\x30\x00")
        self.assertEqual(self.appraise(malformed, instances={("project", 42)})[0].failed(), ["tpm.chain.instance"])

    def test_no_changed_bit_of_a_certificate_is_accepted(self):
        given, *_ = of_case("accept-platform-gcp-snp")
        ders = [one.bytes for one in given.endorsements if one.kind == platforms.KEY_CERTIFICATE]
        pins = [keychain.pin(keychain.x509.certificate(ders[-1]))]
        moment = 1_770_000_001_000
        self.assertEqual(keychain.appraise(ders, pins, None, moment)[0].failed(), [])
        for index, raw in enumerate(ders):
            for bit in range(3, 8 * len(raw), 53):
                broken = bytearray(raw)
                broken[bit // 8] ^= 1 << bit % 8
                changed = [bytes(broken) if one == index else each for one, each in enumerate(ders)]
                self.assertIsNone(keychain.appraise(changed, pins, None, moment)[1], f"bit {bit} of {index}")


def asked(one, **changed):
    roots = [bytes.fromhex(madegoogle.pin(one.endorsers[-1].key))]
    return SimpleNamespace(**{**{"roots": roots, "firmware": None, "svn_floor": None, "stands_for_launch": False}, **changed})


def fields(change):
    return lambda one: one.__dict__.update(change_signed=change)


def replaced(number, value):
    return fields(lambda every: [(one, value if one == number else inner) for one, inner in every])


def endorser(index, **changed):
    return lambda one: one.endorsers[index].__dict__.update(changed)


def of_endorser(word, critical, value):
    return lambda one: one.endorsers[0].extensions.update({word: (critical, value)})


class Endorsements(unittest.TestCase):
    def appraise(self, change=lambda one: None, kind="snp", launch=LAUNCH, moment=AT, unasked=False, **rules):
        one = machine(change, 7 if kind == "snp" else 8)
        return gcp.appraise(one.endorsement(), kind, launch, None if unasked else asked(one, **rules), moment)

    def failed(self, *arguments, **options):
        checks, good = self.appraise(*arguments, **options)
        self.assertEqual(good, not checks.failed() and not checks.broken())
        return checks.failed() + checks.broken()

    def test_checks_and_rules_are_those_of_the_page_in_its_order(self):
        checks, good = self.appraise(firmware=[b"\xab" * 48], svn_floor=5)
        self.assertEqual([code for code, _ in checks.all], codes("gcp.md", "\n### Checks of a launch endorsement\n", "gcp."))
        self.assertEqual([code for code, state in checks.all if state != "pass"], ["gcp.endorsement.proven"])
        self.assertTrue(good)
        line = next(one for one in (SPEC / "gcp.md").read_text().splitlines() if "are **rules**" in one)
        found = re.findall(r"`(?:gcp\.endorsement)?(\.[a-z]+)`", line.split("are **rules**")[0].split("time of the opening.")[1])
        self.assertEqual({"gcp.endorsement" + one for one in found}, gcp.RULES)

    def test_the_messages_are_those_of_the_page(self):
        page = (SPEC / "gcp.md").read_text().split("| message | fields |")[1].split("\n\n")[0]
        of = {
            "VMLaunchEndorsement": gcp.ENDORSEMENT,
            "VMGoldenMeasurement": gcp.GOLDEN,
            "VMSevSnp": gcp.SNP,
            "VMTdx": gcp.TDX,
            "Timestamp": gcp.TIMESTAMP,
        }
        for line in page.splitlines()[2:]:
            name, text = (one.strip() for one in line.split("|")[1:3])
            outer = re.sub(r"\([^()]*\)", "", text).split(";")[0]
            numbers = {int(one) for one in re.findall(r"(?:^|, | and )(\d+) ", outer)}
            self.assertEqual(numbers, set(of.pop(name.strip("`"))), name)
        self.assertEqual(of, {})

    def test_each_fault_is_found_by_its_name(self):
        for wanted, change in (
            ("structure", replaced(5, bytes(47))),
            ("structure", replaced(7, [(2, [(1, 4), (2, LAUNCH)]), (2, [(1, 4), (2, bytes(48))])])),
            ("structure", replaced(7, [(2, [(2, LAUNCH)]), (2, [(1, 0), (2, LAUNCH)])])),
            ("structure", replaced(7, [(2, [(1, 4)])])),
            ("path", fields(lambda every: [one for one in every if one[0] != 6])),
            ("path", lambda one: one.__dict__.update(issuers_text=madegoogle.pem(*[one.endorsers[1].der()] * 17))),
            ("structure", fields(lambda every: every[1:])),
            ("structure", fields(lambda every: [*every, (9, 1)])),
            ("structure", fields(lambda every: [*every, (2, 77)])),
            ("structure", lambda one: one.__dict__.update(change_endorsement=lambda data: data + b"\x18\x00")),
            ("structure", lambda one: one.__dict__.update(change_endorsement=lambda data: data[:-1])),
            ("path", endorser(0, signer=madegoogle.rsa_key(1))),
            ("path", endorser(0, issuer="another")),
            ("path", of_endorser(madegoogle.CONSTRAINTS, True, madegoogle.constraints(True))),
            ("path", of_endorser(madegoogle.KEY_USAGE, True, madegoogle.usage(5))),
            ("path", of_endorser("1.2.3", True, b"")),
            ("validity", endorser(0, stop=AT // 1000 - 1)),
            ("validity", endorser(1, start=AT // 1000 + 1)),
            ("signature", lambda one: one.__dict__.update(endorsers_scheme=("pss", "sha256", 20))),
            ("signature", lambda one: one.__dict__.update(endorsers_scheme=("pss", "sha384", 48))),
            ("signature", lambda one: one.__dict__.update(endorsers_scheme=("pkcs1", "sha256"))),
            ("signature", endorser(0, key=madegoogle.ec_key(5))),
            ("time", replaced(1, [(1, AT // 1000), (2, 501_000_000)])),
            ("time", replaced(1, [(1, 2**64 - 1)])),
            ("structure", replaced(1, [(2, 1_000_000_000)])),
            ("measurement", replaced(7, [(1, 5)])),
            ("measurement", fields(lambda every: [(8 if one == 7 else one, []) if one == 7 else (one, inner) for one, inner in every])),
        ):
            self.assertEqual(self.failed(change), ["gcp.endorsement." + wanted])

    def test_what_may_be_otherwise_is_accepted(self):
        def without_usage(one):
            del one.endorsers[0].extensions[madegoogle.KEY_USAGE]

        for change in (
            replaced(1, [(1, AT // 1000), (2, 500_999_999)]),
            replaced(1, []),
            without_usage,
            of_endorser(madegoogle.KEY_USAGE, True, madegoogle.usage(0, 5)),
            endorser(0, scheme=("pss", "sha256", 32)),
            fields(lambda every: every[::-1]),
            replaced(7, [(2, [(1, 4), (2, bytes(48))]), (2, [(1, 8), (2, LAUNCH)]), (6, b"anybody's")]),
            lambda one: one.__dict__.update(issuers_text=madegoogle.pem(*[one.endorsers[1].der()] * 16) + b" " * 100_000),
            endorser(1, signer=madegoogle.rsa_key(1)),
            fields(lambda every: [*every, (8, [(1, 0), (2, [(3, bytes(48))])])]),
        ):
            self.assertEqual(self.failed(change), [])

    def test_a_measurement_is_looked_for_among_those_of_its_kind(self):
        self.assertEqual(self.failed(kind="tdx"), [])
        self.assertEqual(self.failed(launch=bytes(48)), ["gcp.endorsement.measurement"])
        one = machine(kind=8)
        checks, _ = gcp.appraise(one.endorsement(), "snp", LAUNCH, asked(one), AT)
        self.assertEqual(checks.failed(), ["gcp.endorsement.measurement"])

    def test_rules_are_broken_and_no_failures(self):
        for wanted, rules in (
            ("root", {"roots": []}),
            ("firmware", {"firmware": []}),
            ("firmware", {"firmware": [bytes(48)]}),
            ("svn", {"svn_floor": 6}),
        ):
            checks, good = self.appraise(**rules)
            self.assertEqual((checks.failed(), checks.broken(), good), ([], ["gcp.endorsement." + wanted], False))

    def test_without_an_svn_it_is_zero(self):
        none = replaced(7, [(2, [(2, LAUNCH)])])
        self.assertEqual(self.failed(none, svn_floor=0), [])
        self.assertEqual(self.failed(none, svn_floor=1), ["gcp.endorsement.svn"])

    def test_nobody_asks_and_the_rest_is_judged(self):
        checks, good = self.appraise(unasked=True)
        states = dict(checks.all)
        self.assertTrue(good)
        for word in ("root", "firmware", "svn", "proven"):
            self.assertEqual(states["gcp.endorsement." + word], "not checked")
        self.assertEqual(self.failed(endorser(0, signer=madegoogle.rsa_key(1)), unasked=True), ["gcp.endorsement.path"])

    def test_it_has_256_kibibytes_at_most(self):
        def filled(most):
            def change(every):
                rest = [one for one in every if one[0] != 3]
                return [*rest, (3, bytes(most - len(madegoogle.message(rest)) - 4 - 4 - 3 - 256))]

            return fields(change)

        self.assertEqual(len(machine(filled(262_144)).endorsement()), 262_144)
        self.assertEqual(self.failed(filled(262_144)), [])
        self.assertEqual(self.failed(filled(262_145)), ["gcp.endorsement.structure"])

    def test_no_changed_bit_is_accepted(self):
        one = machine()
        data = one.endorsement()
        for bit in range(3, 8 * len(data), 53):
            broken = bytearray(data)
            broken[bit // 8] ^= 1 << bit % 8
            self.assertTrue(gcp.appraise(bytes(broken), "snp", LAUNCH, None, AT)[0].failed(), f"bit {bit}")


class Exports(unittest.TestCase):
    """Whole exports, with the made-up Google in the place of the corpus's."""

    @classmethod
    def setUpClass(cls):
        cls.corpus = googles.corpus_of(VECTORS)

    def judged(self, change=lambda one: None, rules="", launch=None, endorsed=None, profile="gcp-snp"):
        """(verdict, states of neither pass nor not-checked, notes of platform-rules, failures in words)."""
        one = next(each for each in self.corpus if each.profile == profile)
        google = one.google()
        change(google)
        google.endorsed = endorsed is not None
        text = one.trust.split("[gcp]\n")[0] + f'[gcp]\nroots = ["{madegoogle.pin(google.certificates[-1].key)}"]\n' + rules
        if endorsed:
            text += f'[gcp.endorsement]\nroots = ["{madegoogle.pin(google.endorsers[-1].key)}"]\n' + endorsed
        text += "[reference]\n" + one.trust.split("[reference]\n")[1]
        if launch is not None:
            text = "\n".join(launch if line.startswith(profile) else line for line in text.split("\n"))
        report = Judge(trust.trust(text.encode()), now=googles.NOW).read(io.BytesIO(one.export(google)))
        states = {code: state for code, state in report.states().items() if state in ("fail", "cannot-tell")}
        words = [note.removeprefix("failed: ") for notes in report.notes.values() for note in notes if note.startswith("failed: ")]
        return report.verdict(), states, report.notes["platform-rules"], words

    def test_what_nothing_is_wrong_with_is_verified_and_says_what_joins_it(self):
        for profile in ("gcp-snp", "gcp-tdx"):
            verdict, states, notes, _ = self.judged(profile=profile)
            self.assertEqual((verdict, states), ("verified", {}))
            self.assertEqual([one for one in notes if "nothing but the anchor" in one], notes)
            self.assertEqual(len(notes), 1)

    def test_an_endorsement_stands_for_a_reference_value_where_the_trust_file_lets_it(self):
        stands = "stands_for_launch = true\n"
        self.assertEqual(self.judged(launch="", endorsed=stands)[0], "verified")
        self.assertEqual(self.judged(launch="", endorsed="svn_floor = 5\n")[1], {"launch": "cannot-tell"})
        self.assertEqual(self.judged(launch="", endorsed="")[1], {"launch": "cannot-tell"})
        broken = {"platform-rules": "fail", "launch": "cannot-tell"}
        self.assertEqual(self.judged(launch="", endorsed=stands + "svn_floor = 6\n")[1], broken)
        self.assertEqual(self.judged(launch="", endorsed=stands + "firmware = []\n")[1], broken)

    def test_a_reference_value_is_compared_all_the_same(self):
        stands = "stands_for_launch = true\n"
        self.assertEqual(self.judged(endorsed=stands)[0], "verified")
        for values in ("[]", f'["{bytes(48).hex()}"]'):
            self.assertEqual(self.judged(launch=f"gcp-snp = {values}", endorsed=stands)[1], {"launch": "fail"})
        self.assertEqual(self.judged(launch='gcp-tdx = ["' + "3e" * 48 + '"]')[1], {"launch": "cannot-tell"})

    def test_an_endorsement_that_is_asked_for_has_to_be_there(self):
        verdict, states, *_ = self.judged(rules=f'[gcp.endorsement]\nroots = ["{bytes(48).hex()}"]\n')
        self.assertEqual((verdict, states), ("against-policy", {"platform-rules": "fail"}))

    def test_remarks_say_what_nobody_compared(self):
        notes = self.judged(endorsed="")[2]
        self.assertEqual(len(notes), 3)
        self.assertIn("not proven on captured ones", notes[1])
        self.assertIn("anybody's", notes[2])

    def test_a_step_is_made_if_those_before_it_held(self):
        def all_wrong(one):
            one.certificates[0].stop = AT // 1000 - 100
            one.qualifying = bytes(32)
            one.change_endorsement = lambda data: data[:-1]

        def later_wrong(one):
            all_wrong(one)
            one.certificates[0].stop = AT // 1000 + 100

        self.assertEqual(self.judged(all_wrong, endorsed="svn_floor = 5\n")[3], ["tpm.chain.validity"])
        self.assertEqual(self.judged(later_wrong, endorsed="svn_floor = 5\n")[3], ["tpm.certify.qualifying"])
        self.assertEqual(
            self.judged(lambda one: one.__dict__.update(change_endorsement=lambda data: data[:-1]), endorsed="")[3],
            ["gcp.endorsement.structure"],
        )

    def test_another_machine_is_a_matter_of_the_auditors(self):
        rules = 'instances = [{ project = "project", id = 43 }]\n'
        self.assertEqual(self.judged(rules=rules)[1], {"platform-rules": "fail"})
        self.assertEqual(self.judged(rules=rules.replace("43", "42"))[0], "verified")

    def test_keys_of_curves_vouch_as_well(self):
        def curve(one):
            one.key = one.certificates[0].key = madegoogle.ec_key(3, 384)
            one.scheme = ("ecdsa", "sha384")

        def exchanged(one):
            curve(one)
            one.certificates[0].key = madegoogle.ec_key(4, 384)

        self.assertEqual(self.judged(curve)[0], "verified")
        self.assertEqual(self.judged(exchanged)[3], ["tpm.certify.signer.vouched"])

    def test_the_set_is_exact(self):
        for change in (
            lambda every: every[::-1],
            lambda every: [one for one in every if one[1] != 11],
            lambda every: [*every, *every[-1:] * 6],
            lambda every: every[1:],
        ):
            states = self.judged(lambda one, change=change: one.__dict__.update(change_all=change))[1]
            self.assertEqual(states, {"evidence-set": "fail"})

    def test_changes_of_platforms_are_known_to_everything_that_follows(self):
        one = self.corpus[0]
        kept = reopen.reopened(one.items, lambda given, _: cbor.encode(given))
        report = Judge(trust.trust(one.trust.encode()), now=googles.NOW).read(io.BytesIO(differ.join(differ.repair(kept))))
        self.assertEqual(report.verdict(), "verified")
        for number in range(20):
            broken = breakplatform.break_platform(googles.random.Random(number), one.items, differ.break_bytes)
            report = Judge(trust.trust(one.trust.encode()), now=googles.NOW).read(io.BytesIO(differ.join(differ.repair(broken))))
            self.assertLessEqual(
                {code for code, state in report.states().items() if state == "fail"}, {"evidence", "evidence-set", "platform-rules"}
            )


class TrustFile(unittest.TestCase):
    PIN = "ab" * 48

    def read(self, text):
        return trust.trust(("version = 1\n" + text).encode())

    def test_tables_take_their_defaults(self):
        one = self.read("[gcp]\n").gcp
        self.assertEqual((one.instances, one.roots, one.endorsement), (None, keychain.GOOGLES_ROOTS, None))
        one = self.read(f'[gcp.endorsement]\nroots = ["{self.PIN}"]\n').gcp.endorsement
        self.assertEqual((one.roots, one.firmware, one.svn_floor, one.stands_for_launch), ([bytes.fromhex(self.PIN)], None, None, False))
        self.assertIsNone(self.read("").gcp)
        self.assertEqual(gcp.policy(None).roots, keychain.GOOGLES_ROOTS)

    def test_values_of_what_was_launched_belong_to_a_profile(self):
        self.assertEqual(self.read("").reference.launch, {})
        one = self.read(f'[reference.launch]\ngcp-snp = ["{self.PIN}"]\nazure-tdx = []\n').reference.launch
        self.assertEqual(one, {7: [bytes.fromhex(self.PIN)], 6: []})
        alone = trust.reference(f'version = 1\nlaunch = {{ snp = ["{self.PIN}"] }}\n'.encode())
        self.assertEqual(alone.launch, {3: [bytes.fromhex(self.PIN)]})

    def test_what_is_not_known_is_refused(self):
        for text in (
            "[gcp]\nroot = []\n",
            '[gcp]\nroots = ["ab"]\n',
            '[gcp]\ninstances = ["a"]\n',
            '[gcp]\ninstances = [{ project = "a" }]\n',
            '[gcp]\ninstances = [{ project = "a", id = -1 }]\n',
            '[gcp]\ninstances = [{ project = "a", id = true }]\n',
            "[gcp]\ninstances = [{ project = 1, id = 1 }]\n",
            '[gcp]\ninstances = [{ project = "a", id = 1, zone = "z" }]\n',
            "[gcp]\nendorsement = true\n",
            "[gcp.endorsement]\n",
            "[gcp.endorsement]\nroots = []\nsvn_floor = 4294967296\n",
            "[gcp.endorsement]\nroots = []\nfirmware = [1]\n",
            '[gcp.endorsement]\nroots = []\nstands_for_launch = "yes"\n',
            f'[reference]\nlaunch = ["{self.PIN}"]\n',
            f'[reference.launch]\nswtpm = ["{self.PIN}"]\n',
            '[reference.launch]\ngcp-snp = ["ab"]\n',
        ):
            with self.assertRaises(trust.Refused, msg=text):
                self.read(text)


if __name__ == "__main__":
    unittest.main()
