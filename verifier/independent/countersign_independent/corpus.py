"""Judges every case of a corpus and compares with its index: python3 -m countersign_independent.corpus DIR.

Out: "N of N cases agree"; exit code 0 if all do, else 1.
"""

import json
import sys
import time
from pathlib import Path

from . import trust as files
from .judge import Judge


def judge_case(directory, case):
    """(report, judge) of a case."""

    def read(name):
        return (directory / name).read_bytes()

    trust = files.trust(read(case["trust"]))
    reference = files.reference(read(case["reference"])) if case["reference"] else None
    receipts = files.receipts(read(case["receipts"])) if case["receipts"] else []
    judge = Judge(trust, reference, receipts, [read(name) for name in case["checkpoints"]], case["now"])
    with open(directory / case["export"], "rb") as stream:
        return judge.read(stream), judge


def differences(report, case):
    """What differs from the index, in words."""
    got, out = report.as_dict(), []
    for key in ("verdict", "exit_code", "first_failure"):
        if got[key] != case[key]:
            out.append(f"{key} {got[key]}, not {case[key]}")
    for one in got["checks"]:
        wanted = case["states"].get(one["code"], "pass")
        if one["state"] != wanted:
            out.append(f"{one['code']} {one['state']}, not {wanted} {one['notes']}")
    known = {one["code"] for one in got["checks"]}
    out += [f"{code} is not known" for code in case["states"] if code not in known]
    return out


def main(arguments):
    directory = Path(arguments[0])
    cases = json.loads((directory / "index.json").read_text())["cases"]
    agree = entries = 0
    start = time.process_time()
    for case in cases:
        try:
            report, judge = judge_case(directory, case)
            wrong = differences(report, case)
            entries += judge.entries_read
        except files.Refused as e:
            wrong = [f"refused: {e}"]
        if wrong:
            print(f"{case['name']}: {case['sentence']}")
            for line in wrong:
                print("   ", line)
        else:
            agree += 1
    seconds = time.process_time() - start
    print(f"{agree} of {len(cases)} cases agree ({entries} entries, {entries / seconds:.0f} entries/s of processor time)")
    return 0 if agree == len(cases) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
