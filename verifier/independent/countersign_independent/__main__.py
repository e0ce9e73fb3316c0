"""Judges exports: python3 -m countersign_independent EXPORT... --trust TRUST.toml [options].

Out: a report for people, or with --json one that docs/spec/verification.md describes; the exit code of the verdict, 4 for usage.
"""

import argparse
import contextlib
import json
import sys
import time

from . import fleet, query, report
from . import trust as files
from .judge import Judge


class Parser(argparse.ArgumentParser):
    def error(self, message):
        raise files.Refused(message)


def arguments(given):
    parser = Parser(prog="countersign_independent", description=__doc__)
    parser.add_argument("exports", nargs="+", metavar="EXPORT")
    parser.add_argument("--trust", required=True)
    parser.add_argument("--reference")
    parser.add_argument("--receipts", action="append", default=[])
    parser.add_argument("--checkpoint", action="append", default=[])
    parser.add_argument("--fleet")
    parser.add_argument("--from", dest="from_", type=int)
    parser.add_argument("--until", type=int)
    parser.add_argument("--query")
    parser.add_argument("--now", type=int, help="milliseconds since 1970")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args(given)


def content(name):
    with open(name, "rb") as stream:
        return stream.read()


def run(given):
    options = arguments(given)
    trust = files.trust(content(options.trust))
    reference = files.reference(content(options.reference)) if options.reference is not None else None
    receipts = [one for name in options.receipts for one in files.receipts(content(name))]
    if len(options.checkpoint) > 1024:
        raise files.Refused("more than 1024 checkpoints")
    checkpoints = [content(name) for name in options.checkpoint]
    question = query.parse(options.query) if options.query is not None else None
    now = int(time.time() * 1000) if options.now is None else options.now
    judges = []
    for name in options.exports:
        judge = Judge(trust, reference, receipts, checkpoints, now, question)
        with contextlib.ExitStack() as stack:
            judge.read(sys.stdin.buffer if name == "-" else stack.enter_context(open(name, "rb")))
        judges.append(judge)
    together = len(judges) > 1 or any(one is not None for one in (options.fleet, options.from_, options.until))
    if not together:
        out = judges[0].report.as_dict()
    else:
        given = content(options.fleet) if options.fleet is not None else None
        out = fleet.judge(judges, given, options.from_, options.until, now)
    if options.json:
        print(json.dumps(out, indent=2))
    else:
        for one in out.get("reports", [out]):
            print(report.as_text(one))
        if "fleet" in out:
            print(report.as_text({**out, **out["fleet"], "first_failure": None}))
    return out["exit_code"]


def main(given):
    try:
        return run(given)
    except (files.Refused, OSError) as e:
        print(f"countersign_independent: {e}", file=sys.stderr)
        return 4


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
