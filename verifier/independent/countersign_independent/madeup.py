"""A made-up Intel, and machines of it: quotes and collateral, for the tests and for machines.py. In: what a machine is like. Out: bytes.

Keys are small numbers, and public. Nothing here is used to judge anything.
"""

import datetime
import functools
import hashlib
import json

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.x509.oid import NameOID

from . import tdx
from .der import oid

NOW = datetime.datetime(2026, 2, 2, 2, 40, 1, tzinfo=datetime.timezone.utc)
MILLIS = int(NOW.timestamp() * 1000)
ROOT, CA, PCK, SIGNER, ATTESTATION, STRANGER = (ec.derive_private_key(number, ec.SECP256R1()) for number in range(101, 107))


def day(number):
    return NOW + datetime.timedelta(days=number)


def iso(number):
    return day(number).strftime("%Y-%m-%dT%H:%M:%SZ")


def tlv(tag, content):
    size = len(content)
    length = bytes([size]) if size < 128 else bytes([0x82]) + size.to_bytes(2, "big") if size > 255 else bytes([0x81, size])
    return bytes([tag]) + length + content


def _integer(number):
    return tlv(2, number.to_bytes(number.bit_length() // 8 + 1, "big"))


def _pair(number, value):
    return tlv(0x30, tlv(6, oid(f"{tdx.INTEL}.{number}")) + value)


def _name(word):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, word), x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Made Up")])


def raw_signature(key, data):
    r, s = utils.decode_dss_signature(key.sign(data, ec.ECDSA(hashes.SHA256())))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def point(key):
    numbers = key.public_key().public_numbers()
    return numbers.x.to_bytes(32, "big") + numbers.y.to_bytes(32, "big")


@functools.cache
def certificate(subject, issuer, key, signer, serial, issues=None, signs=True, extension=None):
    """A certificate, DER. issues is the length of paths below it, -1 for any, None where it issues nothing."""
    out = x509.CertificateBuilder().subject_name(_name(subject)).issuer_name(_name(issuer)).serial_number(serial)
    out = out.public_key(key.public_key()).not_valid_before(day(-100)).not_valid_after(day(1000))
    length = issues if issues is not None and issues >= 0 else None
    out = out.add_extension(x509.BasicConstraints(issues is not None, length), True)
    may_issue = issues is not None
    usage = x509.KeyUsage(signs and not may_issue, False, False, False, False, signs and may_issue, may_issue or not signs, False, False)
    out = out.add_extension(usage, True)
    if extension is not None:
        out = out.add_extension(x509.UnrecognizedExtension(x509.ObjectIdentifier(tdx.INTEL), extension), False)
    return out.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def revocations(issuer, signer, serials):
    out = x509.CertificateRevocationListBuilder().issuer_name(_name(issuer)).last_update(day(-10)).next_update(day(20))
    out = out.add_extension(x509.CRLNumber(1), False)
    for serial in serials:
        one = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(day(-20))
        out = out.add_revoked_certificate(one.build())
    return out.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def pem(*ders):
    return b"".join(x509.load_der_x509_certificate(one).public_bytes(serialization.Encoding.PEM) for one in ders)


def level(status, tcb, date=-30, advisories=()):
    return {"tcb": tcb, "tcbDate": iso(date), "tcbStatus": status, "advisoryIDs": list(advisories)}


def components(sgx=(1,) * 16, trust_domain=(0,) * 16, pcesvn=5):
    return {
        "sgxtcbcomponents": [{"svn": one} for one in sgx],
        "tdxtcbcomponents": [{"svn": one} for one in trust_domain],
        "pcesvn": pcesvn,
    }


class Machine:
    """One that nothing is wrong with, until an attribute is set otherwise."""

    def __init__(self, report_data):
        self.version, self.kind = 5, 3
        self.body = {120: (1 << 28).to_bytes(8, "little"), 128: b"\x03", 136: b"\x3e" * 48, 520: report_data}
        self.body |= {328 + 48 * index: bytes([0xA0 + index]) * 48 for index in range(4)}
        self.body |= {0: bytes([3]), 584: bytes([3])}
        self.components, self.pcesvn, self.ppid, self.fmspc = [1] * 16, 5, bytes([1]) * 16, bytes([1]) + bytes(5)
        self.flags = (False, False, False)
        self.enclave = {48: b"\x11", 128: b"\x0a" * 32, 256: b"\x02", 258: b"\x04"}
        self.authentication = b""
        self.names = ["Intel SGX PCK Certificate", "Intel SGX PCK Platform CA", "Intel SGX TCB Signing"]
        self.signers = {"ca": ROOT, "pck": CA, "signer": ROOT, "enclave": PCK, "quote": ATTESTATION, "info": SIGNER, "identity": SIGNER}
        self.signers |= {"pck list": CA, "root list": ROOT}
        self.root_length, self.taken = 1, ([], [])
        statement = {"issueDate": iso(-1), "nextUpdate": iso(20), "tcbEvaluationDataNumber": 17}
        module = {"mrsigner": "00" * 48, "attributes": "00" * 8, "attributesMask": "FF" * 8}
        self.info = {"id": "TDX", "version": 3, **statement, "fmspc": self.fmspc.hex(), "pceId": "0000", "tcbType": 0}
        self.info |= {"tdxModule": module, "tcbLevels": [level("UpToDate", components())]}
        self.identity = {"id": "TD_QE", "version": 2, **statement, "miscselect": "00000000", "miscselectMask": "FFFFFFFF"}
        self.identity |= {"attributes": "11" + "00" * 15, "attributesMask": "FB" + "FF" * 7 + "00" * 8, "mrsigner": "0a" * 32}
        self.identity |= {"isvprodid": 2, "tcbLevels": [level("UpToDate", {"isvsvn": 4})]}

    def root(self):
        return certificate("Intel SGX Root CA", "Intel SGX Root CA", ROOT, ROOT, 1, issues=self.root_length)

    def pin(self):
        return hashlib.sha256(self.root()).hexdigest()

    def extension(self):
        tcb = b"".join(_pair(f"2.{number}", _integer(one)) for number, one in enumerate(self.components, 1))
        tcb += _pair("2.17", _integer(self.pcesvn)) + _pair("2.18", tlv(4, bytes(16)))
        out = _pair("1", tlv(4, self.ppid)) + _pair("2", tlv(0x30, tcb)) + _pair("3", tlv(4, bytes(2)))
        out += _pair("4", tlv(4, self.fmspc)) + _pair("5", tlv(0x0A, b"\x01"))
        if self.flags is not None:
            flags = (_pair(f"7.{number}", tlv(1, b"\xff" if one else b"\x00")) for number, one in enumerate(self.flags, 1))
            out += _pair("6", tlv(4, bytes(16))) + _pair("7", tlv(0x30, b"".join(flags)))
        return tlv(0x30, out)

    def chain(self):
        ca = certificate(self.names[1], "Intel SGX Root CA", CA, self.signers["ca"], 2, issues=0)
        pck = certificate(self.names[0], self.names[1], PCK, self.signers["pck"], 3, extension=self.extension())
        return pem(pck, ca, self.root())

    def report(self):
        out = bytearray(tdx.BODIES[self.kind])
        for at, value in self.body.items():
            if at + len(value) <= len(out):
                out[at : at + len(value)] = value
        return bytes(out)

    def quote(self):
        numbers = lambda *pairs: b"".join(number.to_bytes(size, "little") for number, size in pairs)  # noqa: E731
        signed = numbers((self.version, 2), (2, 2), (0x81, 4), (0, 4)) + tdx.VENDOR + bytes(20)
        body = self.report()
        if self.version == 5:
            signed += numbers((self.kind, 2), (len(body), 4))
        signed += body
        report = bytearray(384)
        report[320:352] = hashlib.sha256(point(ATTESTATION) + self.authentication).digest()
        for at, value in self.enclave.items():
            report[at : at + len(value)] = value
        chain = self.chain()
        inner = bytes(report) + raw_signature(self.signers["enclave"], bytes(report))
        inner += numbers((len(self.authentication), 2)) + self.authentication + numbers((5, 2), (len(chain), 4)) + chain
        outer = raw_signature(self.signers["quote"], signed) + point(ATTESTATION) + numbers((6, 2), (len(inner), 4)) + inner
        return signed + numbers((len(outer), 4)) + outer

    def collateral(self):
        """In one object, as DCAP libraries write it."""
        info, identity = json.dumps(self.info), json.dumps(self.identity)
        signer = certificate(self.names[2], "Intel SGX Root CA", SIGNER, self.signers["signer"], 4)
        chain = pem(signer, self.root()).decode()
        return {
            "tcb_info": info,
            "tcb_info_signature": raw_signature(self.signers["info"], info.encode()).hex(),
            "tcb_info_issuer_chain": chain,
            "qe_identity": identity,
            "qe_identity_signature": raw_signature(self.signers["identity"], identity.encode()).hex(),
            "qe_identity_issuer_chain": chain,
            "pck_crl": revocations(self.names[1], self.signers["pck list"], self.taken[0]).hex(),
            "root_ca_crl": revocations("Intel SGX Root CA", self.signers["root list"], self.taken[1]).hex(),
        }


def endorsements(one):
    """Collateral in one object, by kind of endorsement as an export has it."""

    def answer(member, name):
        return f'{{"{member}":{one[name]},"signature":"{one[name + "_signature"]}"}}'.encode()

    return {
        5: answer("tcbInfo", "tcb_info"),
        6: one["tcb_info_issuer_chain"].encode(),
        7: answer("enclaveIdentity", "qe_identity"),
        8: one["qe_identity_issuer_chain"].encode(),
        9: bytes.fromhex(one["pck_crl"]),
        10: bytes.fromhex(one["root_ca_crl"]),
    }
