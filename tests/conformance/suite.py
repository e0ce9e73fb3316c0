"""Runs the conformance suite directly and through the gateway, and compares check by check.

In: the installed suite and fixture below target/conformance, the built programs. Out: one line a scenario,
and exit code 1 if the lists of checks differ in anything that `expected.json` does not name with a reason.
An expected difference that is gone is a failure, too.
"""

import fnmatch
import json
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(HERE.parent / "outside"))
from machine import PROGRAM, Children, Machine, need_programs  # noqa: E402
from recorder import Recorder  # noqa: E402
from sites import Site, Upstream, pin  # noqa: E402
from wire import Comparison  # noqa: E402

WORK = ROOT / "target/conformance"
NODE = WORK / "node_modules/.bin/node"
SUITE = WORK / "node_modules/@modelcontextprotocol/conformance/dist/index.js"
FIXTURE = [NODE, "--preserve-symlinks", "--preserve-symlinks-main", WORK / "fixture/server.mjs"]
REVISIONS = ("2025-11-25", "2026-07-28")
RUNNING = re.compile(r"=== Running scenario: (\S+) ===")
SECONDS = 300
# Everything of MCP that the fixture has.
METHODS = {
    "2026-07-28": (
        "resources/list",
        "resources/templates/list",
        "resources/read",
        "prompts/list",
        "prompts/get",
        "completion/complete",
    )
}
METHODS["2025-11-25"] = (*METHODS["2026-07-28"], "resources/subscribe", "resources/unsubscribe", "logging/setLevel")
ASKS = ("elicitation", "sampling", "roots")
# Tools of the fixture that may answer with a task.
TASKS = (
    "slow_compute",
    "failing_job",
    "protocol_error_job",
    "confirm_delete",
    "multi_input",
    "test_tool_with_task",
)


class Fixture:
    """The fixture over Streamable HTTP, speaking one revision."""

    def __init__(self, revision: str, children: Children, directory: pathlib.Path):
        command = [*FIXTURE, "--http", "0", revision]
        child = children.start("the fixture", command, directory / "fixture.log")
        self.url = child.wait_for("listening ", 20).split()[1]
        self.authority = self.url.split("/")[2]
        self.stop = child.stop


def run_suite(revision: str, url: str, out: pathlib.Path, began=lambda scenario: None) -> dict:
    """Checks by scenario: `{scenario: {check: [status, …]}}`, in the order in which they ran."""
    shutil.rmtree(out, ignore_errors=True)
    command = [NODE, SUITE, "server", "--url", url, "--requirements", revision, "-o", out]
    suite = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    with suite.stdout as lines, out.with_suffix(".log").open("w", encoding="utf-8") as log:
        for line in lines:
            log.write(line)
            if found := RUNNING.match(line):
                began(found[1])
    suite.wait(SECONDS)
    checks = {}
    for file in sorted(out.glob("server-*/checks.json")):
        scenario = re.fullmatch(r"server-(.*)-\d{4}-\d\d-\d\dT.*", file.parent.name)[1]
        found = checks.setdefault(scenario, {})
        for check in json.loads(file.read_text(encoding="utf-8")):
            found.setdefault(f"{check['id']} {check['name']}", []).append(check["status"])
    if not checks:
        sys.exit(f"the suite ran nothing; see {out.with_suffix('.log')}")
    return checks


def differences(revision: str, before: dict, after: dict) -> dict:
    """What differs, by `revision/scenario/check`."""
    out = {}
    for scenario in before | after:
        one, other = before.get(scenario, {}), after.get(scenario, {})
        for check in one | other:
            if one.get(check) != other.get(check):
                out[f"{revision}/{scenario}/{check}"] = f"{one.get(check)} became {other.get(check)}"
    return out


def passed(checks: dict) -> tuple:
    """How many checks passed, of how many."""
    statuses = [status for found in checks.values() for each in found.values() for status in each]
    return statuses.count("SUCCESS"), len(statuses)


def direct(revision: str, children: Children, directory: pathlib.Path) -> dict:
    fixture = Fixture(revision, children, directory)
    checks = run_suite(revision, fixture.url, WORK / f"direct-{revision}")
    fixture.stop()
    return checks


def through(revision: str, children: Children, directory: pathlib.Path) -> tuple:
    """The same through the gateway, its client's and its upstream's traffic, and the log's verdict."""
    fixture = Fixture(revision, children, directory)
    behind = Recorder(fixture.authority)
    tools = pin.listed_by(list(map(str, [*FIXTURE, "--stdio", "--all"])))
    asked = {"methods": METHODS[revision], "asks": ASKS, "tasks": TASKS}
    upstream = Upstream("fixture", tools, url=f"http://{behind.address}/mcp", **asked)
    site = Site(PROGRAM, directory / "site", [upstream])
    machine = Machine(site, directory, children)
    gateway = machine.serve()
    before = Recorder(machine.url.split("//")[1], token=site.tokens["agent"])

    def began(scenario: str) -> None:
        before.scenario = behind.scenario = scenario

    checks = run_suite(revision, f"http://{before.address}/mcp/fixture", WORK / f"through-{revision}", began)
    machine.verdict()
    gateway.stop()
    fixture.stop()
    return checks, before.exchanges, behind.exchanges


def judge(found: dict) -> bool:
    """Prints what differs, and whether each difference is expected."""
    expected = json.loads((HERE / "expected.json").read_text(encoding="utf-8"))
    used, fine = set(), True
    for place, how in sorted(found.items()):
        reasons = [pattern for pattern in expected if fnmatch.fnmatchcase(place, pattern)]
        used.update(reasons)
        fine = fine and bool(reasons)
        print(f"{'expected  ' if reasons else 'DIFFERENT '} {place}: {how}")
    return told_stale("expected.json", set(expected) - used) and fine


def told_stale(file: str, stale: set) -> bool:
    """Names the permissions that nothing needs; whether there are none."""
    for pattern in sorted(stale):
        print(f"STALE      {pattern}: nothing needs it; take it out of {file}")
    return not stale


def main() -> None:
    if not set(sys.argv[1:]) <= {"--direct", "--update"}:
        sys.exit("suite.py [--direct] [--update]")
    children, found, fine, unneeded = Children(), {}, True, None
    for revision in REVISIONS:
        file = HERE / f"baseline/{revision}.json"
        with tempfile.TemporaryDirectory(prefix="countersign-") as directory:
            checks = direct(revision, children, pathlib.Path(directory))
        print("{}: the fixture passes {} of {} checks in {} scenarios".format(revision, *passed(checks), len(checks)))
        if "--update" in sys.argv:
            file.parent.mkdir(exist_ok=True)
            file.write_text(json.dumps(checks, indent=1) + "\n", encoding="utf-8")
        baseline = json.loads(file.read_text(encoding="utf-8"))
        for place, how in differences(revision, baseline, checks).items():
            fine = False
            print(f"FIXTURE    {place}: {how}, compared with baseline/")
        if "--direct" in sys.argv:
            continue
        need_programs()
        with tempfile.TemporaryDirectory(prefix="countersign-") as directory:
            gated, before, behind = through(revision, children, pathlib.Path(directory))
        print("{}: through the gateway {} of {} checks; the log is verified".format(revision, *passed(gated)))
        found |= differences(revision, checks, gated)
        wire = Comparison(before, behind)
        unneeded = wire.stale if unneeded is None else unneeded & wire.stale
        print(f"{revision}: {wire.compared} messages compared on both wires")
        found |= {f"{revision}/{place}": how for place, how in wire.differences.items()}
    if "--direct" not in sys.argv:
        fine = judge(found) and told_stale("wire-allowed.json", unneeded) and fine
    children.stop()
    sys.exit(0 if fine else 1)


if __name__ == "__main__":
    main()
