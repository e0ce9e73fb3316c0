"""Makes up machines of Google's with something wrong, and compares what both verifiers say of their exports:
python3 -m countersign_independent.googles CORPUS --cases N --seed S --verifier PATH [--keep DIR].

The exports are those of the corpus; certificates, endorsements, the word of the platform's key and the trust file are made up anew,
and all that follows from them. Every case follows from seed and number alone, but for the randomness within signatures.
Out: each disagreement with what was done, and the count; exit code 0 if both always agree.
"""

import argparse
import random
import sys
import tempfile
from pathlib import Path

from . import breakder, cbor, cose, differ, export, madegoogle, platforms, reopen, schema
from .madegoogle import CONSTRAINTS, INSTANCE, KEY_USAGE, MAKER, MODEL, NAMES, PURPOSES

NOW = 1_770_003_600_000
FAULTS = []


def fault(make):
    """Something that may be otherwise; make changes a machine and says how."""
    FAULTS.append(make)
    return make


def some(rng, *values):
    return rng.choice(values)


# ---------------------------------------------------------------- certificates, of the key or of the endorser


def _chain(rng, google):
    return google.certificates if rng.random() < 0.6 or not google.endorsed else google.endorsers


def _other(extensions, word, value, critical=None):
    extensions[word] = (extensions.get(word, (False, b""))[0] if critical is None else critical, value)


@fault
def length_of_the_chain(rng, google):
    chain, more = _chain(rng, google), rng.randrange(1, 5)
    top = chain[-1]
    below = chain[:-1] if len(chain) > 2 else chain[:1]
    middle = []
    for at in range(more):
        key = madegoogle.ec_key(10 + at)
        lengths = some(rng, None, len(below) - 1 + at, len(below) - 1 + at, max(len(below) - 2 + at, 0))
        one = madegoogle.Certificate(f"middle {at}", "top", key, key, madegoogle.of_issuer(lengths), google.seconds)
        middle.append(one)
    chain[:] = [*below, *middle, top]
    for one, issuer in zip(chain, [*chain[1:], top]):
        one.issuer, one.signer = issuer.subject, issuer.key
    return f"{len(chain)} certificates"


@fault
def path_length(rng, google):
    chain = _chain(rng, google)
    at, length = rng.randrange(len(chain)), some(rng, None, 0, 0, 1, 2, 2**64)
    _other(chain[at].extensions, CONSTRAINTS, madegoogle.constraints(at > 0 or rng.random() < 0.3, length))
    return f"certificate {at} with length {length}"


@fault
def constraints(rng, google):
    chain = _chain(rng, google)
    one = chain[rng.randrange(len(chain))]
    what = rng.randrange(4)
    if what == 0:
        one.extensions.pop(CONSTRAINTS, None)
    elif what == 1:
        _other(one.extensions, CONSTRAINTS, madegoogle.constraints(rng.random() < 0.5), rng.random() < 0.5)
    elif what == 2:
        one.extensions[CONSTRAINTS] = (True, madegoogle.sequence(b"\x01\x01\x00"))
    else:
        one.extensions[CONSTRAINTS] = (True, madegoogle.constraints(False, 0))
    return f"constraints of {one.subject}: {what}"


@fault
def usage(rng, google):
    chain = _chain(rng, google)
    one = chain[rng.randrange(len(chain))]
    bits = some(rng, None, (), (0,), (5,), (6,), (0, 5), (1,), (0, 1), (2,), (0, 2), (5, 6), (4,), (0, 8))
    if bits is None:
        one.extensions.pop(KEY_USAGE, None)
    else:
        _other(one.extensions, KEY_USAGE, madegoogle.usage(*bits), rng.random() < 0.7)
    return f"usage of {one.subject}: {bits}"


@fault
def purposes(rng, google):
    chain = _chain(rng, google)
    one = chain[0] if rng.random() < 0.7 else chain[rng.randrange(len(chain))]
    first, second = madegoogle.OF_ENDORSEMENT_KEYS, madegoogle.OF_ATTESTATION_KEYS
    words = some(
        rng, None, (), (second,), (second,), (first, second), (first, first), ("2.5.29.37.0",), ("1.3.6.1.5.5.7.3.8",), (first, "1.2.3")
    )
    if words is None:
        one.extensions.pop(PURPOSES, None)
    else:
        _other(one.extensions, PURPOSES, madegoogle.purposes(*words), rng.random() < 0.4)
    return f"purposes of {one.subject}: {words}"


@fault
def critical(rng, google):
    chain = _chain(rng, google)
    one = chain[rng.randrange(len(chain))]
    word = some(rng, "1.2.3", NAMES, INSTANCE, "2.5.29.14", "2.5.29.35", KEY_USAGE, PURPOSES, CONSTRAINTS)
    known = {"2.5.29.14": madegoogle.element(4, b"x")}
    value = one.extensions.get(word, (None, known.get(word, b"\x05\x00")))[1]
    if word in (NAMES, INSTANCE, "1.2.3", "2.5.29.14", "2.5.29.35") or word in one.extensions:
        one.extensions[word] = (rng.random() < 0.8, value)
    return f"critical {word} of {one.subject}"


@fault
def times(rng, google):
    chain = _chain(rng, google)
    one = chain[rng.randrange(len(chain))]
    moment = google.seconds
    if rng.random() < 0.5:
        one.start = moment + some(rng, 0, 1, -1, 3600)
    else:
        one.stop = moment + some(rng, 0, 1, -1, -2, 1800)
    return f"times of {one.subject}"


@fault
def signers(rng, google):
    chain = _chain(rng, google)
    one = chain[rng.randrange(len(chain))]
    one.signer = some(rng, madegoogle.ec_key(30), madegoogle.rsa_key(5), chain[-1].key, chain[0].key)
    return f"another signer of {one.subject}"


@fault
def keys_of_issuers(rng, google):
    chain = _chain(rng, google)
    at = rng.randrange(1, len(chain))
    key = some(rng, madegoogle.ec_key(31, 384), madegoogle.rsa_key(6, 3072), madegoogle.rsa_key(7, 2048, 3), madegoogle.rsa_key(8, 1024))
    chain[at].key = key
    for one, issuer in zip(chain, [*chain[1:], chain[-1]]):
        one.signer = issuer.key
    return f"key of issuer {at}"


@fault
def schemes(rng, google):
    chain = _chain(rng, google)
    for one in chain if rng.random() < 0.5 else [rng.choice(chain)]:
        digest = some(rng, "sha256", "sha384", "sha512")
        if isinstance(one.signer, madegoogle.ec.EllipticCurvePrivateKey):
            one.scheme = ("ecdsa", digest)
        else:
            salts = {"sha256": 32, "sha384": 48, "sha512": 64}
            one.scheme = some(rng, ("pkcs1", digest), ("pss", digest, salts[digest]), ("pss", digest, salts[digest]), ("pss", digest, 20))
    return f"schemes {[one.scheme for one in chain]}"


@fault
def names(rng, google):
    chain = _chain(rng, google)
    one = chain[rng.randrange(len(chain))]
    word = some(rng, "", "another", chain[-1].subject)
    if rng.random() < 0.5:
        one.subject = word
    else:
        one.issuer = word
    return f"names of {one.subject}"


@fault
def form(rng, google):
    chain = _chain(rng, google)
    one = chain[rng.randrange(len(chain))]
    what = rng.randrange(6)
    if what == 0:
        one.version = some(rng, 0, 1, 3)
    elif what == 1:
        one.more = some(rng, b"\x00", b"\x05\x00")
    elif what == 2:
        one.serial = some(rng, 0, -1, 2**200)
    elif what == 3:
        one.extensions["1.2.3"] = (False, bytes(some(rng, 20_000, 31_000, 33_000, 66_000)))
    else:
        one.alter = lambda body: breakder.break_der(rng, body)
    return f"form of {one.subject}: {what}"


@fault
def order_of_certificates(rng, google):
    def change(ders):
        ders = list(ders)
        if not ders:
            return ders
        at, to = rng.randrange(len(ders)), rng.randrange(len(ders))
        what = rng.randrange(5)
        if what == 0:
            ders[at], ders[to] = ders[to], ders[at]
        elif what == 1:
            ders.insert(at, ders[to])
        elif what == 2:
            del ders[at]
        elif what == 3:
            ders[at] = differ.break_bytes(rng, ders[at])
        else:
            ders.append(ders[-1])
        return ders

    if rng.random() < 0.6:
        google.change_chain = change
    else:
        google.change_issuers = change
    return "order of certificates"


@fault
def order_of_endorsements(rng, google):
    def change(every):
        every = list(every)
        at, to = rng.randrange(len(every)), rng.randrange(len(every))
        what = rng.randrange(6)
        if what == 0:
            every[at], every[to] = every[to], every[at]
        elif what == 1:
            every.insert(at, every[to])
        elif what == 2:
            del every[at]
        elif what == 3:
            every[at] = {1: some(rng, 1, 4, 5, 11, 12, 13), 2: every[at][2]}
        elif what == 4:
            every[at] = {1: every[at][1], 2: differ.break_bytes(rng, every[at][2])}
        else:
            every = [one for one in every if one[1] != 11] + [one for one in every if one[1] == 11]
        return every

    google.change_all = change
    return "order of endorsements"


# ---------------------------------------------------------------- of the key alone


@fault
def maker(rng, google):
    bare = madegoogle.sequence()
    dns = madegoogle.element(0x82, b"example.com")
    directory = madegoogle.maker(MAKER)
    value = some(
        rng,
        None,
        bare,
        madegoogle.sequence(dns),
        madegoogle.sequence(directory[2:], dns),
        madegoogle.sequence(directory[2:], directory[2:]),
        madegoogle.maker(),
        madegoogle.maker(MODEL),
        madegoogle.maker(MAKER, MAKER),
        madegoogle.maker(MAKER, MODEL, MODEL),
        madegoogle.maker(
            madegoogle.attribute("2.23.133.2.1", some(rng, b"", b"a b", b"\xff", b"x" * 64, b"x" * 65), some(rng, 0x0C, 0x13))
        ),
        madegoogle.maker(madegoogle.attribute("2.23.133.2.1", some(rng, b"id:1", b"\x00\x41"), some(rng, 0x16, 0x1E, 4, 0x30, 0x02))),
        madegoogle.maker(madegoogle.element(0x31, madegoogle.sequence(MAKER[2:][2:]) + MODEL[2:])),
        madegoogle.maker(madegoogle.element(0x31, b"")),
        madegoogle.maker(madegoogle.sequence(MAKER[2:], MODEL[2:])),
        directory + b"\x00",
    )
    extensions = google.certificates[0].extensions
    if value is None:
        extensions.pop(NAMES)
    else:
        extensions[NAMES] = (rng.random() < 0.5, value)
    return f"maker {value.hex() if value is not None else None}"


@fault
def machine(rng, google):
    make, extensions = madegoogle.instance, google.certificates[0].extensions
    value = some(
        rng,
        None,
        make(),
        make(number=some(rng, 0, 43, 2**63 - 1, 2**63, 2**64 - 1, 2**64, -1)),
        make(project_number=some(rng, 0, 2**63, 2**64 - 1, 2**64, -1)),
        make(project=some(rng, "", "other", "é")),
        make(zone=""),
        make(name=""),
        make(
            more=some(
                rng, b"\xa0\x00", b"\xa0\x03\x02\x01\x00", b"\xa0\x01\x05", b"\xa1\x00", b"\x05\x00", b"\xa0\x00\xa0\x00", b"\x80\x00"
            )
        ),
        make(more=b"\xa0\x00") + b"\x00",
        make().replace(b"\x0c\x07", b"\x13\x07"),
        make().replace(b"\x0c\x01z", b"\x0c\x01\xff"),
        make().replace(b"\x0c\x01m", some(rng, b"\x0c\x01\xff", b"\x13\x01m", b"\x0c\x00\x00")),
        make(project="p\x00"),
        madegoogle.sequence(),
        b"",
    )
    if value is None:
        extensions.pop(INSTANCE)
    else:
        extensions[INSTANCE] = (False, value)
    return f"machine {value.hex() if value is not None else None}"


@fault
def key(rng, google):
    google.key = some(
        rng,
        madegoogle.ec_key(32),
        madegoogle.ec_key(33, 384),
        madegoogle.rsa_key(6, 3072),
        madegoogle.rsa_key(7, 2048, 3),
        madegoogle.rsa_key(5),
    )
    if isinstance(google.key, madegoogle.ec.EllipticCurvePrivateKey):
        google.scheme = ("ecdsa", some(rng, "sha256", "sha256", "sha384"))
    if rng.random() < 0.8:
        google.certificates[0].key = google.key
    return f"key {google.key}"


@fault
def public_area(rng, google):
    google.attributes = some(rng, 0x00050072, 0x00050032, 0x00050472, 0x00040072, 0x00050076, 0x00050070, 0x00030072, 0x00050052)
    google.name_algorithm = some(rng, "sha256", "sha256", "sha384")
    google.policy = some(rng, b"", b"", bytes(32), bytes(64), bytes(65))
    return f"attributes {google.attributes:08x}, {google.name_algorithm}, {len(google.policy)}"


@fault
def word(rng, google):
    if rng.random() < 0.3:
        google.qualifying = some(rng, bytes(32), bytes(31))
        return "another anchor"
    at = some(rng, 1, 2, 3)
    google.change_key = lambda given: {**given, at: differ.break_bytes(rng, given[at])}
    return f"bytes of the key's word: {at}"


# ---------------------------------------------------------------- of the endorsement alone


@fault
def no_endorsement(rng, google):
    google.endorsed = False
    return "no endorsement"


def _statement(google, make):
    google.endorsed = True
    google.change_signed = make


@fault
def field(rng, google):
    what, pick = rng.randrange(8), rng.random()
    more = some(
        rng,
        (9, b""),
        (9, 1),
        (0, b""),
        (2**28, 1),
        (None, b"\x08"),
        (None, b"\x0b"),
        (None, b"\x0d\x00\x00\x00\x00"),
        (None, b"\x8a\x00\x00"),
    )

    def change(fields):
        fields = list(fields)
        nested = [at for at, (_, value) in enumerate(fields) if isinstance(value, list)]
        if nested and rng.random() < 0.5:
            at = nested[int(pick * len(nested))]
            fields[at] = (fields[at][0], change(fields[at][1]))
            return fields
        at = int(pick * len(fields)) if fields else 0
        if what == 0 and fields:
            del fields[at]
        elif what == 1 and fields:
            fields.insert(rng.randrange(len(fields) + 1), fields[at])
        elif what == 2:
            fields.insert(at, more)
        elif what == 3 and fields:
            fields[at] = (
                fields[at][0],
                some(rng, 0, 1, 2, 2**32 - 1, 2**32, 2**63, 2**64 - 1, 2**64, b"", b"\x01", bytes(16), bytes(48), bytes(49)),
            )
        elif what == 4:
            rng.shuffle(fields)
        elif what == 5 and fields and isinstance(fields[at][1], int):
            number, value = fields[at]
            raw = madegoogle.varint(number << 3) + madegoogle.varint(value)
            fields[at] = (None, raw[:-1] + bytes([raw[-1] | 128]) + b"\x00")
        elif what == 6:
            fields.append((None, differ.break_bytes(rng, madegoogle.message(fields[-1:]))))
        elif fields:
            fields = [one for one in fields if one[0] is None or rng.random() < 0.7]
        return fields

    if rng.random() < 0.8:
        _statement(google, change)
    else:
        google.endorsed, google.change_outer = True, change
    return f"fields {what}"


@fault
def numbers(rng, google):
    """Numbers of the statement at the edges of what they may be."""
    edges = (0, 1, 2, 4, 5, 6, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**63 - 1, 2**63, 2**64 - 1)
    what, value = rng.randrange(7), some(rng, *edges)

    def change(fields):
        out = []
        for number, inner in fields:
            if number in (7, 8) and what < 4:
                if what == 0:
                    inner = [(at, value if at == 1 else one) for at, one in inner]
                elif what == 1:
                    inner = [*inner, (5, value)] if number == 7 else inner
                else:
                    at_ = 1 if what == 2 or number == 7 else 2
                    inner = [
                        (at, [(each, value if each == at_ else one) for each, one in single]) if at == 2 else (at, single)
                        for at, single in inner
                    ]
            if number == 2 and what == 4:
                inner = value
            out.append((number, inner))
        return out

    _statement(google, change)
    return f"number {what} is {value}"


@fault
def time_of_the_statement(rng, google):
    seconds = some(rng, google.seconds, google.seconds, google.seconds + 1, google.seconds - 1, 0, 2**31, 2**63, 2**64 - 1)
    nanoseconds = some(rng, None, 0, 1, 999_999, 1_000_000, 999_999_999, 1_000_000_000, 2**31 - 1, 2**31, 2**32, 2**64 - 1)
    inner = [(1, seconds)] + ([(2, nanoseconds)] if nanoseconds is not None else [])
    inner = some(rng, inner, inner, inner, inner[1:], [])
    _statement(google, lambda fields: [(number, inner if number == 1 else value) for number, value in fields])
    return f"time {inner}"


@fault
def measurements(rng, google):
    what, count = rng.randrange(8), some(rng, 2, 1022, 1023, 1024)

    def change(fields):
        out = []
        for number, inner in fields:
            if number in (7, 8):
                entry = next(value for at, value in inner if at == 2)
                other = [(at, bytes(48) if isinstance(value, bytes) else value) for at, value in entry]
                short = [(at, value) for at, value in entry if isinstance(value, bytes)]
                entries = [[other], [other, entry], [entry, entry], [], [short], [[]], [entry] * count, [entry, []]][what]
                inner = [(1, 5), *((2, one) for one in entries)]
            out.append((number, inner))
        return out

    _statement(google, change)
    return f"measurements {what}, {count}"


@fault
def kinds(rng, google):
    what = rng.randrange(3)

    def change(fields):
        if what == 0:
            return [(15 - number if number in (7, 8) else number, value) for number, value in fields]
        if what == 1:
            return [one for one in fields if one[0] not in (7, 8)]
        other = {7: (8, [(1, 3)]), 8: (7, [(1, 3), (3, bytes(16)), (4, b""), (5, 2**63), (6, b"x")])}
        return [*fields, *(other[number] for number, _ in fields if number in other)]

    _statement(google, change)
    return f"kinds {what}"


@fault
def sizes(rng, google):
    at, size = some(rng, 3, 5), some(rng, 0, 47, 48, 49, 200_000, 257_000, 262_144)

    def change(fields):
        return [(number, bytes(size) if number == at else value) for number, value in fields]

    _statement(google, change)
    return f"field {at} of {size} bytes"


@fault
def exact_size(rng, google):
    """As large as may be, or one byte more."""
    most = 256 * 1024 + some(rng, 0, 1)

    def change(fields):
        rest = [(number, value) for number, value in fields if number != 3]
        size = most - len(madegoogle.message(rest)) - 4 - 4 - 3 - 256
        return [*rest, (3, bytes(size))]

    _statement(google, change)
    return f"{most} bytes"


@fault
def text_of_issuers(rng, google):
    ders = [one.der() for one in google.endorsers[1:]]
    text = madegoogle.pem(*reversed(ders))
    google.issuers_text = some(
        rng,
        b"",
        text.replace(b"\n", b"\r\n"),
        text.replace(b"\n", b""),
        text.replace(b"\n", b"\t\n "),
        text.replace(b"\n", b"\x0b\n"),
        b"\n\n" + text + b"\n\n",
        b" \t" + text,
        text + b"\x00",
        text + b"x",
        b"x" + text,
        b"\xef\xbb\xbf" + text,
        text.replace(b"CERTIFICATE", b"X509 CERTIFICATE"),
        text.replace(b"-----BEGIN", b"----BEGIN"),
        text.replace(b"CERTIFICATE-----\nM", b"CERTIFICATE-----\nName: x\n\nM"),
        text.replace(b"=", b""),
        text + text,
        text * some(rng, 3, 4, 5, 15, 16, 17),
        ders[0],
        text + b"-----BEGIN X-----\nAAAA\n-----END X-----\n",
        text + b" " * some(rng, 60_000, 70_000),
        "é".encode() + text,
    )
    google.endorsed = True
    return f"text of issuers {google.issuers_text[:40]!r} {len(google.issuers_text)}"


@fault
def scheme_of_the_endorser(rng, google):
    google.endorsers_scheme = some(
        rng,
        ("pss", "sha256", 20),
        ("pss", "sha256", 33),
        ("pss", "sha384", 48),
        ("pss", "sha384", 32),
        ("pkcs1", "sha256"),
        ("pss", "sha256", 0),
    )
    google.endorsed = True
    return f"endorser's scheme {google.endorsers_scheme}"


@fault
def key_of_the_endorser(rng, google):
    one = google.endorsers[0]
    one.key = some(rng, madegoogle.ec_key(34), madegoogle.rsa_key(6, 3072), madegoogle.rsa_key(7, 2048, 3), madegoogle.rsa_key(8, 1024))
    google.endorsed = True
    return "endorser's key"


@fault
def bytes_of_the_endorsement(rng, google):
    google.endorsed = True
    google.change_endorsement = lambda data: differ.break_bytes(rng, data)
    return "bytes of the endorsement"


# ---------------------------------------------------------------- the trust file


def trusted(rng, google, case, plain):
    """The trust file of a case of the corpus, for this Google, with other rules now and then; plain ones are most likely to hold."""
    before, after = case.trust.split("[gcp]\n")
    after = after.split("[reference]\n")[1]
    own = f'roots = ["{madegoogle.pin(google.certificates[-1].key)}"]\n'
    instance = '{ project = "project", id = 42 }'
    table = own
    if not plain:
        table = some(rng, own, own, own, own, "", "roots = []\n")
        table += some(
            rng, "", f"instances = [{instance}]\n", f'instances = [{{ project = "x", id = 42 }}, {instance}]\n', "instances = []\n"
        )
    if rng.random() < (0.6 if google.endorsed else 0.2):
        pin = madegoogle.pin(google.endorsers[-1].key)
        table += "[gcp.endorsement]\n" + some(
            rng, *[f'roots = ["{pin}"]\n'] * 8, "roots = []\n", f'roots = ["{bytes(48).hex()}", "{pin}"]\n'
        )
        table += some(rng, "", "", f'firmware = ["{"ab" * 48}"]\n', f'firmware = ["{"ac" * 48}"]\n', "firmware = []\n")
        table += some(rng, "", "", *[f"svn_floor = {one}\n" for one in (0, 5, 6, 4294967295)])
        table += some(rng, "", *["stands_for_launch = true\n"] * 2, "stands_for_launch = false\n")
    values = some(rng, *[f'["{case.launch.hex()}"]'] * 2, "[]", None, None)
    after = "\n".join(line for line in after.split("\n") if not line.startswith(case.profile))
    if values is not None:
        after = after.replace("[reference.launch]\n", f"[reference.launch]\n{case.profile} = {values}\n")
    out = before + (f"[gcp]\n{table}" if rng.random() < 0.97 else "") + "[reference]\n" + after
    return differ.break_lines(rng, out.encode()) if rng.random() < 0.1 else out.encode()


# ---------------------------------------------------------------- both verifiers


class Case:
    """An export of the corpus that googles are put into."""

    def __init__(self, directory, profile, case, trust, kind, launch):
        self.profile, self.kind, self.launch = profile, kind, launch
        self.items = differ.parse((directory / "cases" / (case + ".cbor")).read_bytes())
        self.trust = (directory / "trust" / (trust + ".toml")).read_text()
        self.about, self.at = about(self.items), moment(self.items)

    def google(self):
        return madegoogle.Google(self.at, self.launch, self.kind)

    def export(self, google):
        opened = reopen.reopened(self.items, lambda given, anchor: cbor.encode(google.evidence(given, self.about, anchor)))
        return differ.join(differ.repair(opened))


def corpus_of(directory):
    return [
        Case(directory, "gcp-snp", "accept-platform-gcp-snp", "platform-google", 7, b"\x3e" * 48),
        Case(directory, "gcp-tdx", "accept-platform-gcp-tdx", "platform-google-intel", 8, b"\x71" * 48),
    ]


def about(items):
    """The attestation key of an export's opening."""
    for kind, content in items:
        if kind == export.ARTIFACT:
            one = schema.parse(content, schema.artifact)
            if one.kind == platforms.TPM:
                return schema.parse(one.bytes, schema.tpm_evidence).ak_public
    raise ValueError("no TPM")


def moment(items):
    """The time that the opening claims."""
    return next(cose.entry(content)[2].place.at for kind, content in items if kind == export.ENTRY)


def made(rng, cases):
    """(what was done, export, trust file) of a case."""
    case = rng.choice(cases)
    google = case.google()
    google.endorsed = rng.random() < 0.7
    done = [make.__name__ + ": " + make(rng, google) for make in rng.sample(FAULTS, some(rng, 0, 1, 1, 1, 1, 2, 3))]
    return done, case.export(google), trusted(rng, google, case, rng.random() < 0.7)


def main(given):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--cases", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--verifier", required=True)
    parser.add_argument("--keep", type=Path, help="directory for exports on which they disagree")
    options = parser.parse_args(given)
    cases, apart, outcomes = corpus_of(options.corpus), 0, dict.fromkeys(range(5), 0)
    with tempfile.TemporaryDirectory() as scratch:
        path, name = Path(scratch) / "made.cbor", Path(scratch) / "trust.toml"
        for number in range(options.first, options.first + options.cases):
            done, data, trust = made(random.Random(f"{options.seed}:{number}"), cases)
            path.write_bytes(data)
            name.write_bytes(trust)
            files_ = [("trust", name)]
            one, two = differ.ours(files_, data, NOW), differ.theirs(files_, path, NOW, options.verifier)
            outcomes[one["exit_code"]] += 1
            wrong = differ.disagreements(one, two)
            if wrong:
                apart += 1
                print("\n    ".join([f"google {number} of seed {options.seed}:", *done, *wrong]))
                if options.keep:
                    (options.keep / f"google-{options.seed}-{number}.cbor").write_bytes(data)
                    (options.keep / f"google-{options.seed}-{number}.toml").write_bytes(trust)
    told = ", ".join(f"{count} with exit code {code}" for code, count in outcomes.items() if count)
    print(f"{options.cases - apart} of {options.cases} made-up machines of Google's are judged alike by both ({told})")
    return 1 if apart else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
