"""Changes of what a platform shows in an opening, of which TPM and entries know: bytes in reports, certificates and endorsements,
and their order and number. For the differ. In: items of an export. Out: items; the same where no TPM stands beside a platform.
"""

import contextlib

from . import cbor, reopen
from .breakder import break_der
from .cbor import Malformed

REPORT, PARAVISOR, KEY, ENDORSEMENTS = 2, 3, 4, 5
KINDS = 13


def break_platform(rng, items, break_bytes):
    def change(given, _):
        out = dict(given)
        for _ in range(rng.choice((1, 1, 1, 2))):
            rng.choice((_endorsement, _endorsement, _endorsements, _endorsements, _part))(rng, out, break_bytes)
        return cbor.encode(out)

    with contextlib.suppress(Malformed, KeyError, ValueError):
        return reopen.reopened(items, change)
    return items


def _endorsement(rng, out, break_bytes):
    """One of them is otherwise: its bytes, as DER where it is that, or its kind."""
    every = [dict(one) for one in out[ENDORSEMENTS]]
    if every:
        one = rng.choice(every)
        if rng.random() < 0.1:
            one[1] = rng.randrange(1, KINDS + 1)
        elif rng.random() < 0.5:
            one[2] = break_der(rng, one[2])
        else:
            one[2] = break_bytes(rng, one[2])
    out[ENDORSEMENTS] = every


def _endorsements(rng, out, _):
    """One goes, comes twice, or stands elsewhere; or all of one kind do."""
    every = list(out[ENDORSEMENTS])
    if not every:
        return
    at, to, what = rng.randrange(len(every)), rng.randrange(len(every)), rng.randrange(6)
    if what == 0:
        del every[at]
    elif what == 1:
        every.insert(to, every[at])
    elif what == 2:
        every[at], every[to] = every[to], every[at]
    elif what == 3:
        every[at] = {**every[at], 2: every[to][2]}
    elif what == 4:
        every = [one for one in every if one[1] != every[at][1]]
    else:
        same = [one for one in every if one[1] == every[at][1]]
        every = [one for one in every if one[1] < every[at][1]] + same[::-1] + [one for one in every if one[1] > every[at][1]]
    out[ENDORSEMENTS] = every


def _part(rng, out, break_bytes):
    """Report, paravisor's report or key: gone, or with other bytes."""
    part = rng.choice([one for one in (REPORT, PARAVISOR, KEY) if one in out])
    if rng.random() < 0.1:
        del out[part]
    elif part == KEY:
        at = rng.choice((1, 2, 3))
        out[KEY] = {**out[KEY], at: break_bytes(rng, out[KEY][at])}
    else:
        out[part] = break_bytes(rng, out[part])
