"""A key of a TPM that another key of the same TPM certifies, docs/spec/tpm-keys.md. In: a statement, two keys. Out: checks."""

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils

from . import tpm
from .appraisal import Checks
from .cbor import Malformed

HASHES = {0x0B: hashes.SHA256, 0x0C: hashes.SHA384}
# curve, bytes of a coordinate, order of the group
CURVES = {
    3: (ec.SECP256R1, 32, tpm.ORDER),
    4: (ec.SECP384R1, 48, 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFC7634D81F4372DDF581A0DB248B0A77AECEC196ACCC52973),
}
RSASSA, ECDSA, NULL = 0x14, 0x18, 0x10


class Key:
    """A TPMT_PUBLIC of an accepted kind, or Malformed."""

    def __init__(self, data):
        r = tpm.Reader(data)
        kind, self.name_algorithm, self.attributes = r.number(2), r.number(2), r.number(4)
        r.tpm2b(64)
        if self.name_algorithm not in HASHES or r.number(2) != NULL:
            raise Malformed("name algorithm or cipher")
        scheme, self.hash = r.number(2), r.number(2)
        self.modulus = None
        if kind == 1:
            bits, exponent = r.number(2), r.number(4)
            number = r.tpm2b(512)
            self.modulus = int.from_bytes(number, "big")
            right = scheme == RSASSA and self.hash == 0x0B and exponent in (0, 65537) and 2048 <= bits <= 4096
            if not right or 8 * len(number) != bits or self.modulus.bit_length() != bits:
                raise Malformed("RSA key")
            self.size, self.material = bits // 8, self.modulus
            self._try(lambda: rsa.RSAPublicNumbers(65537, self.modulus).public_key())
        elif kind == 0x23:
            curve = r.number(2)
            if scheme != ECDSA or curve not in CURVES or r.number(2) != NULL:
                raise Malformed("ECC key")
            shape, self.size, self.order = CURVES[curve]
            if self.hash not in HASHES or (curve == 3 and self.hash != 0x0B):
                raise Malformed("digest")
            x, y = (int.from_bytes(r.tpm2b(self.size), "big") for _ in range(2))
            self.material = shape().name, x, y
            self._try(lambda: ec.EllipticCurvePublicNumbers(x, y, shape()).public_key())
        else:
            raise Malformed("type")
        r.end()
        self.name = data_name(self.name_algorithm, data)
        self.qualified = data_name(self.name_algorithm, b"\x40\x00\x00\x0b" + self.name)

    def _try(self, make):
        try:
            self.key = make()
        except ValueError:
            raise Malformed("key") from None

    def signed(self, data, signature):
        """Whether a TPMT_SIGNATURE over data is valid."""
        try:
            r = tpm.Reader(signature)
            scheme, digest = r.number(2), r.number(2)
            if self.modulus is not None:
                number = r.tpm2b(512)
                r.end()
                if (scheme, digest) != (RSASSA, self.hash) or len(number) != self.size:
                    return False
                self.key.verify(number, data, padding.PKCS1v15(), HASHES[digest]())
                return True
            one, two = (int.from_bytes(r.tpm2b(self.size), "big") for _ in range(2))
            r.end()
            if (scheme, digest) != (ECDSA, self.hash) or not (0 < one < self.order and 0 < two < self.order):
                return False
            self.key.verify(utils.encode_dss_signature(one, two), data, ec.ECDSA(HASHES[digest]()))
            return True
        except (Malformed, InvalidSignature):
            return False


def data_name(algorithm, data):
    """The name of a public area, or of what stands for one."""
    digest = hashes.Hash(HASHES[algorithm]())
    digest.update(data)
    return algorithm.to_bytes(2, "big") + digest.finalize()


def _read(make, data):
    try:
        return make(data)
    except Malformed:
        return None


def appraise(platform_key, vouched, certified, name, qualifying):
    """Checks. vouched is the key that somebody vouches for (a modulus, or curve and point), None where nobody is known to.

    name is the one that is expected of the certified key.
    """
    checks = Checks(set())
    see = checks.see
    signer = _read(Key, platform_key.public)
    see("tpm.certify.signer.public", signer is not None)
    see("tpm.certify.signer.attributes", tpm.attestation_attributes(signer.attributes) if signer else None)
    see("tpm.certify.signer.vouched", signer.material == vouched if signer and vouched is not None else None)
    said = _read(lambda data: tpm.attest(data, 0x8017), platform_key.certify)
    see("tpm.certify.structure", said is not None)
    see("tpm.certify.signature", signer.signed(platform_key.certify, platform_key.certify_signature) if signer else None)
    see("tpm.certify.signer", said.signer == signer.qualified if said and signer else None)
    see("tpm.certify.qualifying", said.extra == qualifying if said else None)
    key = _read(Key, certified)
    see("tpm.certify.key.public", key is not None)
    see("tpm.certify.key.attributes", tpm.attestation_attributes(key.attributes) if key else None)
    see("tpm.certify.key.expected", key.name == name if key else None)
    see("tpm.certify.key.name", said.name == key.name if said and key else None)
    see("tpm.certify.key.qualified_name", said.qualified == key.qualified if said and key else None)
    return checks
