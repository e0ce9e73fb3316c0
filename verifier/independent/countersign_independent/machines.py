"""Makes up machines of Intel's with something wrong, and compares what both verifiers say of them, check by check:
python3 -m countersign_independent.machines --cases N --seed S --verifier PATH.

No corpus has quotes of every level and status, because nobody but Intel can sign them; so an Intel is made up, and pinned.
Every case follows from seed and number alone. Out: each disagreement, and the count; exit code 0 if both always agree.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
from pathlib import Path

from . import collateral, madeup, tdx
from . import trust as files

DATA = bytes([7]) * 64
OF_ENCLAVES = ("UpToDate",) * 5 + ("OutOfDate",) * 4 + ("Revoked",)
ADVISORIES = ("INTEL-SA-1", "INTEL-SA-2", "INTEL-SA-3")


class Vary:
    """Draws what is otherwise: most of it seldom, levels and versions often."""

    def __init__(self, rng):
        self.rng, self.choice = rng, rng.choice

    def seldom(self, share=0.015):
        return self.rng.random() < share

    def some(self, values):
        return [self.choice(values) for _ in range(self.rng.randrange(3))]

    def version(self):
        return bytes([self.choice((0, 1, 3, 5)), self.choice((0, 1, 1, 3)), self.choice((0, 2, 8)), self.choice((0, 0, 1))])

    def levels_of_enclaves(self):
        numbers = sorted({self.choice((0, 1, 3, 4, 5, 8)) for _ in range(self.rng.randrange(1, 4))}, reverse=True)
        return [self.level(OF_ENCLAVES, {"isvsvn": one}) for one in numbers]

    def level(self, statuses, tcb):
        return madeup.level(self.choice(statuses), tcb, self.choice((-1, -30, -60, -400)), self.some(ADVISORIES))

    def levels_of_platforms(self, machine):
        statuses = [*collateral.OF_PLATFORMS, *["UpToDate"] * 4, "ConfigurationNeeded", "OutOfDate"]
        out = []
        for _ in range(self.rng.randrange(1, 5)):
            sgx = [max(0, one - self.choice((0, 0, 0, 1))) for one in machine.components] if self.seldom(0.7) else [0] * 16
            trust_domain = [self.choice((0, 0, 1, 3)), self.choice((0, 0, 1)), self.choice((0, 2)), *[0] * 13]
            out.append(self.level(statuses, madeup.components(sgx, trust_domain, self.choice((0, machine.pcesvn)))))
        return out

    def machine(self):
        one = madeup.Machine(DATA)
        one.version = self.choice((4, 5, 5))
        one.kind = 2 if one.version == 4 else self.choice((2, 3, 3, 4))
        one.body[0] = self.version()
        one.body[584] = self.version() if self.seldom(0.7) else one.body[0]
        one.components = [self.choice((0, 1, 2, 5, 255)) for _ in range(16)]
        one.pcesvn = self.choice((0, 5, 13, 65535))
        one.flags = None if self.seldom(0.1) else tuple(self.seldom(0.3) for _ in range(3))
        one.ppid = bytes([self.choice((1, 2))]) * 16
        one.root_length = -1 if self.seldom(0.1) else 1
        one.authentication = bytes(self.rng.randrange(40))
        one.enclave[258] = bytes([self.choice((0, 4, 8))])
        attributes = 1 << 28 | sum(1 << bit for bit in (0, 1, 4, 5, 6, 27, 29, 30, 31, 40, 63) if self.seldom())
        one.body[120] = (attributes ^ (1 << 28) * self.seldom(0.05)).to_bytes(8, "little")
        one.body[128] = (3 | self.choice((0, 0xE4, 0x6DBE4)) ^ self.seldom() | (1 << 20) * self.seldom()).to_bytes(8, "little")
        one.info["tcbLevels"] = self.levels_of_platforms(one)
        one.info["tdxModuleIdentities"] = [
            {"id": f"TDX_{number:02X}", **one.info["tdxModule"], "tcbLevels": self.levels_of_enclaves()}
            for number in (1, 3)
            if not self.seldom(0.1)
        ]
        one.identity["tcbLevels"] = self.levels_of_enclaves()
        for statement in (one.info, one.identity):
            statement["tcbEvaluationDataNumber"] = self.choice((15, 17, 20))
        self._faults(one)
        return one

    def _faults(self, one):
        for at in (64, 112, 184, 232, 280, 600, 648, 729, 829, 520):
            if self.seldom():
                one.body[at] = b"\x01"
        for at in (16, 20, 60, 96, 128, 160, 256, 260, 320, 352):
            if self.seldom():
                one.enclave[at] = b"\x01"
        if self.seldom():
            one.enclave[48] = b"\x13"
        for role in one.signers:
            if self.seldom():
                one.signers[role] = madeup.STRANGER
        for at, others in enumerate((("x",), ("Intel SGX PCK Processor CA",) * 9 + ("x",), ("Intel SGX PCK Certificate",))):
            if self.seldom(0.1 if at == 1 else 0.015):
                one.names[at] = self.choice(others)
        one.taken = tuple([serial for serial in (1, 2, 3, 4, 99) if self.seldom()] for _ in range(2))
        if self.seldom(0.05):
            one.fmspc = bytes([2]) + bytes(5)
        for table in (one.info, one.identity, one.info["tdxModule"], self.choice(one.info["tcbLevels"])):
            if self.seldom():
                key = self.choice(list(table))
                table[self.choice((key, key, "more"))] = self.choice((1, "x", None, [], "00" * 48, 2**33, {}, True))
            if self.seldom():
                del table[self.choice(list(table))]

    def policy(self, machine):
        quoted = json.dumps
        lines = ["version = 1", "[tdx]", f'roots = ["{machine.pin() if not self.seldom() else "00" * 32}"]']
        every = [one for one in collateral.STATUSES if one != "Revoked"]
        for share, text in (
            (0.7, f"statuses = {quoted(self.rng.sample(every, self.rng.randrange(6)))}"),
            (0.6, f"grace_days = {self.choice((0, 1, 29, 30, 31, 60, 400, 4294967295))}"),
            (0.3, f"denied_advisories = {quoted(self.some(ADVISORIES))}"),
            (0.3, f"evaluation_floor = {self.choice((0, 16, 17, 18))}"),
            (0.3, f'tee_tcb_floor = "{self.version().ljust(16, bytes(1)).hex()}"'),
            (0.3, 'features = ["lass", "pks"]'),
            (0.7, f"flags = {quoted(self.rng.sample(tdx.FLAGS, self.rng.randrange(4)))}"),
            (0.2, 'sept_ve = "azure-paravisor"'),
            (0.2, f'xfam = "{self.choice((3, 0xE7, 0x6DBE7, 2**64 - 1)):016x}"'),
            (0.1, "mrowner = []"),
            (0.2, f'mrconfigid = ["01{"00" * 47}", "{"00" * 48}"]'),
            (0.2, f'platforms = ["{"01" * 16}"]'),
            (0.2, f'denied_platforms = ["{"02" * 16}"]'),
        ):
            if self.seldom(share):
                lines.append(text)
        return "\n".join(lines) + "\n"

    def moment(self):
        if not self.seldom(0.2):
            return madeup.MILLIS
        day = 86_400_000
        return madeup.MILLIS + self.choice((1, -day, -day - 1, -10 * day - 1, 20 * day, 20 * day + 1, 20 * day + 999, 20 * day + 1000))


def ours(machine, given, text, moment):
    """(exit code as far as the checks say it, states by code)."""
    rules = tdx.policy(files.trust(text.encode()).tdx)
    checks, _ = tdx.appraise(machine.quote(), madeup.endorsements(given), rules, DATA, moment)
    return (1 if checks.failed() else 2 if checks.broken() else None), dict(checks.all)


def theirs(paths, moment, verifier):
    command = [verifier, "evidence", *map(str, paths[:2]), "--trust", str(paths[2]), "--now", str(moment), "--json"]
    done = subprocess.run([*command, "--expect-report-data", DATA.hex()], capture_output=True, check=False)
    try:
        parts = json.loads(done.stdout)["parts"]
    except (ValueError, KeyError):
        return done.returncode, {"": done.stderr.decode("utf-8", "replace")[:300]}
    states = {one["code"]: one["outcome"].replace("-", " ") for part in parts for one in part["checks"]}
    return done.returncode, states


def main(given):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--verifier", required=True)
    options = parser.parse_args(given)
    apart = 0
    seen = {}
    with tempfile.TemporaryDirectory() as scratch:
        paths = [Path(scratch) / name for name in ("quote.bin", "collateral.json", "trust.toml")]
        for number in range(options.first, options.first + options.cases):
            vary = Vary(random.Random(f"{options.seed}:{number}"))
            machine = vary.machine()
            text, moment, one = vary.policy(machine), vary.moment(), machine.collateral()
            for path, data in zip(paths, (machine.quote(), json.dumps(one).encode(), text.encode())):
                path.write_bytes(data)
            (code, mine), (exit_code, other) = ours(machine, one, text, moment), theirs(paths, moment, options.verifier)
            seen[exit_code] = seen.get(exit_code, 0) + 1
            wrong = [f"{name}: second {mine.get(name)}, first {other.get(name)}" for name in mine | other if mine.get(name) != other.get(name)]
            if code is not None and code != exit_code or code is None and exit_code in (1, 2):
                wrong.append(f"exit code: second {code}, first {exit_code}")
            if wrong:
                apart += 1
                print("\n    ".join([f"machine {number} of seed {options.seed}:", *wrong]))
    told = ", ".join(f"{count} with exit code {code}" for code, count in sorted(seen.items()))
    print(f"{options.cases - apart} of {options.cases} made-up machines are judged alike by both ({told})")
    return 1 if apart else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
