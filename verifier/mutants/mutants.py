"""Judges the mutants of cargo-mutants, remembers what each came to, and compares survivors with their explanations.

In: the packages to run; `survivors.toml`. Out: progress, the survivors that nobody explained, an exit code (see `run`).
Mutants are made in a copy below `target/mutants`, so a run that is killed leaves no changed source behind. Most are built
together and switched on one at a time (`weave.py`, `switched.py`); the rest cargo-mutants builds and judges one by one.
"""

import argparse
import collections
import concurrent.futures
import dataclasses
import fcntl
import fnmatch
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

from switched import SLOW, Judge, Tree, write
from weave import Change

HERE = Path(__file__).resolve().parent
VERIFIER = HERE.parent
ROOT = VERIFIER.parent
WORK = VERIFIER / "target/mutants"
TREE = WORK / "tree"
EXPLANATIONS = HERE / "survivors.toml"
CAUGHT = HERE / "caught"

# What the tests read, beside the verifier itself.
NEEDED = ("verifier", "docs", "measurements", "README.md")
PACKAGES = ("signatures", "record", "verify", "certificates", "timestamps", "evidence")
DEFAULT = ("signatures", "record", "verify")
# Whose tests judge a package; its own alone if it is not here. What stands below the verifier and is used by it alone is
# also judged by what the verifier says of whole exports.
JUDGES = {"certificates": ("certificates", "verify"), "evidence": ("evidence", "verify")}
# What decides a verdict comes first; files that are not here follow in the order of their names.
FIRST = ("src/checks/*", "src/keys.rs", "src/ledger.rs", "src/fleet.rs", "src/trust.rs", "src/query.rs", "src/receipts.rs")
# Mutants for one call of cargo-mutants: a call costs about a second, a stopped one is lost if it is killed outright.
BATCH = 20
# A mutant that takes this much longer than the tests of unchanged code is caught: it hangs. On a busy machine `--patience`
# keeps slow from being taken for hanging.
TIMEOUT_FACTOR, SHORTEST_TIMEOUT = 6, 20
# Seconds between two times that a run of woven code says and stores how far it is.
STORE_EVERY = 20
OUTCOMES = ("caught", "timeout", "unviable", "missed")
# Of a mutant that tests missed, while others may still catch it.
OPEN = "open"
PASSED, UNEXPLAINED, NOT_ALL, USAGE = 0, 1, 3, 4


@dataclasses.dataclass(frozen=True)
class Mutant:
    """One change. It is known by the text of its line, not by its number, which any edit above moves."""

    file: str
    mutation: str
    line: str
    # Which of those that look alike, from 1.
    nth: int

    def __str__(self):
        nth = f" (number {self.nth})" if self.nth > 1 else ""
        return f"{self.file}: {self.mutation}{nth}\n        {self.line}"


def parse_list(names, read_lines):
    """Mutants by the name that cargo-mutants gives them, in its order."""
    alike, out = collections.Counter(), {}
    for name in names:
        file, line, _, mutation = re.fullmatch(r"(.+?):(\d+):(\d+): (.*)", name).groups()
        text = read_lines(file)[int(line) - 1].strip()
        alike[file, mutation, text] += 1
        out[name] = Mutant(file, mutation, text, alike[file, mutation, text])
    return out


def parse_explanations(text):
    """(file, mutation, line, nth or None, why), one for each mutation of each entry."""
    out = []
    for entry in tomllib.loads(text).get("survivor", []):
        unknown = set(entry) - {"file", "line", "mutations", "nth", "why"}
        if unknown or not entry["why"].strip() or not entry["mutations"]:
            raise ValueError(f"entry of {entry.get('file')} has {unknown or 'nothing to say'}")
        out += [(entry["file"], one, entry["line"].strip(), entry.get("nth"), entry["why"]) for one in entry["mutations"]]
    return out


def explain(explanations, mutants):
    """(explained mutants, complaints about explanations that match none, or more than one)."""
    explained, complaints = set(), []
    for file, mutation, line, nth, _ in explanations:
        alike = [m for m in mutants if (m.file, m.mutation, m.line) == (file, mutation, line)]
        matching = [m for m in alike if nth is None or m.nth == nth]
        if len(matching) == 1:
            explained.add(matching[0])
        else:
            what = "matches nothing" if not matching else f"matches {len(matching)} mutants: say nth"
            complaints.append(f"{file}: {mutation}\n        {line}\n        this explanation {what}")
    return explained, complaints


def order(mutants):
    """Names, file by file, those first that decide a verdict."""

    def place(item):
        name, mutant = item
        rank = next((i for i, glob in enumerate(FIRST) if fnmatch.fnmatch(mutant.file, glob)), len(FIRST))
        return rank, mutant.file

    return [name for name, _ in sorted(mutants.items(), key=place)]


class State:
    """What each mutant of a package came to, on disk."""

    def __init__(self, package):
        self.path = WORK / "state" / f"{package}.json"
        self.outcomes = {}
        # Digest of the sources whose tests passed last, and how many seconds they took.
        self.baseline = ["", 0.0]
        if self.path.exists():
            stored = json.loads(self.path.read_text())
            self.baseline = stored["baseline"]
            self.outcomes = {Mutant(*key): outcome for *key, outcome in stored["outcomes"]}

    def store(self):
        self.path.parent.mkdir(parents=True, exist_ok=True)
        rows = [[*dataclasses.astuple(mutant), outcome] for mutant, outcome in self.outcomes.items()]
        beside = self.path.with_suffix(".new")
        beside.write_text(json.dumps({"baseline": self.baseline, "outcomes": rows}, indent=0))
        beside.replace(self.path)


def environment():
    kept = {k: v for k, v in os.environ.items() if k != "UPDATE_GOLDEN" and not k.startswith("CARGO_MUTANTS")}
    return kept | {"CARGO_TARGET_DIR": str(WORK / "build")}


def copy():
    """Makes the copy what the sources are now; gives their digest. Files that are the same keep their time, so little is
    built again."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *NEEDED],
        cwd=ROOT, check=True, capture_output=True,
    ).stdout.decode()
    names = {name for name in listed.split("\0") if name and (ROOT / name).is_file()}
    for path in [path for path in TREE.rglob("*") if path.is_file()]:
        if str(path.relative_to(TREE)) not in names:
            path.unlink()
    digest = hashlib.sha256()
    for name in sorted(names):
        target, content = TREE / name, (ROOT / name).read_bytes()
        # This command is nothing that tests run.
        if not name.startswith("verifier/mutants/"):
            digest.update(hashlib.sha256(name.encode()).digest() + hashlib.sha256(content).digest())
        write(target, content)
    return digest.hexdigest()


def parse_changes(listed):
    """What cargo-mutants would change, from its list as JSON."""

    def span(of):
        return tuple((of[end]["line"], of[end]["column"]) for end in ("start", "end"))

    def change(m):
        function = m["function"]
        within = (span(function["span"]), function["function_name"]) if function else (None, "")
        return Change(m["name"], m["file"], span(m["span"]), m["replacement"], *within)

    return [change(m) for m in json.loads(listed)]


def list_mutants(package):
    """(mutants by name, changes)"""
    listed = subprocess.run(
        ["cargo", "mutants", "--list", "--json", "--package", f"countersign-{package}"],
        cwd=TREE / "verifier", check=True, capture_output=True, text=True, env=environment(),
    ).stdout
    lines = {}

    def read_lines(file):
        if file not in lines:
            lines[file] = (TREE / "verifier" / file).read_text().split("\n")
        return lines[file]

    changes = parse_changes(listed)
    return parse_list([change.name for change in changes], read_lines), changes


def judges_of(package):
    return JUDGES.get(package, (package,))


def directory_of(package):
    return WORK / "woven/verifier" / ("" if package == "verify" else package)


def baseline(package):
    """Seconds that the tests of unchanged code take; they must pass."""
    packages = [f"--package=countersign-{judge}" for judge in judges_of(package)]
    test = ["cargo", "test", "--quiet", "--profile", "mutants", "--locked", "--lib", "--bins", "--tests", *packages]
    subprocess.run([*test, "--no-run"], cwd=TREE / "verifier", check=True, env=environment())
    started = time.monotonic()
    done = subprocess.run(test, cwd=TREE / "verifier", env=environment(), capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"the tests of {package} fail before anything is changed:\n{done.stdout}{done.stderr}")
    return time.monotonic() - started


def run_batch(package, names, timeout, judges, tests):
    """Outcomes by name, by these tests of `judges` or by all: of all mutants, or of those that were reached before it was
    stopped; and whether it was."""
    out = WORK / "out"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    # It deletes fields of structs whatever `--re` says, so the files are named too.
    files = sorted({name.split(":")[0] for name in names})
    command = [
        "cargo", "mutants", "--in-place", "--baseline", "skip", "--timeout", str(timeout),
        "--package", f"countersign-{package}", *[f"--test-package=countersign-{judge}" for judge in judges], "--output", str(out), "--colors", "never",
        *[f"--file={file}" for file in files], "--re", "|".join(f"^{re.escape(name)}$" for name in names),
        "--", "--locked", "--lib", "--bins", "--tests", "--", *(["--exact", *tests] if tests else []),
    ]  # fmt: skip
    child = subprocess.Popen(command, cwd=TREE / "verifier", env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    stopped = False
    try:
        said, _ = child.communicate()
    except KeyboardInterrupt:
        stopped = True
        child.send_signal(signal.SIGINT)
        said, _ = child.communicate()
    # 2: some were missed; 3: some timed out.
    if not stopped and child.returncode not in (0, 2, 3):
        sys.exit(f"cargo-mutants ended with {child.returncode}:\n{said}")
    found = {}
    for outcome in OUTCOMES:
        listed = out / "mutants.out" / f"{outcome}.txt"
        for name in listed.read_text().splitlines() if listed.exists() else []:
            found[name] = outcome
    left_out = sorted(set(names) - set(found))
    if not stopped and left_out:
        sys.exit(f"cargo-mutants left out {left_out}:\n{said}")
    return found, stopped


class Package:
    """The mutants of a package and what is known of them."""

    def __init__(self, name, explanations):
        self.name = name
        self.mutants, self.changes = list_mutants(name)
        self.state = State(name)
        self.functions = {change.name: f"{change.file}: {change.called}" for change in self.changes}
        self.caught = CAUGHT / f"{name}.txt"
        known = parse_caught(self.caught.read_text()) if self.caught.exists() else {}
        # Of functions that are gone nothing is kept.
        self.caught_by = {function: titles for function, titles in known.items() if function in self.functions.values()}
        files = {m.file for m in self.mutants.values()}
        self.explained, self.complaints = explain([e for e in explanations if e[0] in files], self.mutants.values())
        for mutant in self.explained:
            if self.state.outcomes.get(mutant) in ("caught", "timeout"):
                self.complaints.append(f"{mutant}\n        this is explained, and a test tells it from the code")

    def outcome(self, name):
        return self.state.outcomes.get(self.mutants[name])

    def open(self, globs):
        """Names to run: survivors that wait for a test first, then what no run has reached."""
        wanted = [n for n in order(self.mutants) if not globs or any(fnmatch.fnmatch(self.mutants[n].file, g) for g in globs)]
        again = [n for n in wanted if self.outcome(n) == "missed" and self.mutants[n] not in self.explained]
        return again + [n for n in wanted if self.outcome(n) is None]

    def unexplained(self):
        return [m for n, m in self.mutants.items() if self.outcome(n) == "missed" and m not in self.explained]

    def row(self):
        """Line of a table in Markdown."""
        count = collections.Counter(self.outcome(n) for n in self.mutants)
        explained = sum(1 for n, m in self.mutants.items() if self.outcome(n) == "missed" and m in self.explained)
        return (
            f"| {self.name} | {len(self.mutants)} | {count['caught'] + count['timeout']} | {count['unviable']} "
            f"| {explained} | {count['missed'] - explained} | {count[None]} |"
        )

    def run_one_by_one(self, names, sources, deadline, patience):
        """Has cargo-mutants judge these; whether it was stopped."""
        if self.state.baseline[0] != sources:
            self.state.baseline = [sources, baseline(self.name)]
            self.state.store()
        timeout = max(patience, int(TIMEOUT_FACTOR * self.state.baseline[1]))
        # First what caught others of the same file, then the package's own tests, and only then what stands above it.
        passes = list(dict.fromkeys([((self.name,), True), ((self.name,), False), (judges_of(self.name), False)]))
        for judges, hinted in passes:
            reached, missed, started = 0, [], time.monotonic()
            for batch, tests in self.batches(names, hinted):
                if time.monotonic() > deadline:
                    return True
                found, stopped = run_batch(self.name, batch, timeout, judges, tests)
                # What these tests miss, those of a later pass may still catch.
                sure = (judges, hinted) == passes[-1]
                known = {self.mutants[name]: outcome for name, outcome in found.items() if name in self.mutants}
                self.state.outcomes |= {mutant: outcome for mutant, outcome in known.items() if sure or outcome != "missed"}
                self.state.store()
                if stopped:
                    return True
                missed += [name for name in batch if found[name] == "missed"]
                reached += len(batch)
                left = (time.monotonic() - started) / reached * (len(names) - reached) / 60
                print(f"{self.name}: {reached} of {len(names)} one by one, {len(missed)} not caught, about {left:.0f} min left", flush=True)
            names = [name for name in names if self.outcome(name) in (None, "missed")]
        return False

    def batches(self, names, hinted):
        """(names, tests): so many names at a time; or those of a file with the tests that caught others of it, if any did."""
        files = collections.defaultdict(list)
        for name in names:
            files[self.mutants[name].file if hinted else ""].append(name)
        for file, some in files.items():
            titles = {title for function, titles in self.caught_by.items() if function.startswith(f"{file}: ") for title in titles}
            tests = sorted({title.partition(" ")[2] for title in titles}) if hinted else []
            if tests or not hinted:
                yield from ((some[at : at + BATCH], tests) for at in range(0, len(some), BATCH))

    def run_switched(self, names, switches, judge, deadline, patience):
        """Judges these in woven code; whether it was stopped. Slow tests see only what no quick one has caught."""
        directories = {directory_of(judging) for judging in judges_of(self.name)}
        # Most are caught by what caught others of their function. Which statements every other test reaches need not be known then.
        known = judge.known({self.functions[name] for name in names}, directories, patience)
        print(f"{self.name}: {len(names)} mutants, {len(known)} tests that caught others of their functions", flush=True)

        def likely(name):
            tests = [test for test in known if test.title in judge.caught_by[self.functions[name]]]
            outcome = judge.judge(switches[name], tests, patience, self.functions[name])
            return OPEN if outcome == "missed" else outcome

        if not self.judge_all(names, likely, judge, deadline):
            return True
        names = [name for name in names if self.outcome(name) != "caught"]
        if not names:
            return False
        tests = judge.tests_of(directories, patience)
        for slow in (False, True):
            some = [test for test in tests if (test.seconds > SLOW) == slow]
            print(f"{self.name}: {len(names)} mutants, {len(some)} {'slow' if slow else 'quick'} tests", flush=True)

            def judged(name, some=some):
                return judge.judge(switches[name], some, patience, self.functions[name])

            if not self.judge_all(names, judged, judge, deadline):
                return True
            names = [name for name in names if self.outcome(name) == "missed"]
        return False

    def store(self, judge):
        """What mutants came to, and what caught them."""
        self.state.store()
        self.caught.parent.mkdir(exist_ok=True)
        functions = set(self.functions.values())
        self.caught.write_text(caught_text({f: set(titles) for f, titles in list(judge.caught_by.items()) if f in functions}))

    def judge_all(self, names, judged, judge, deadline):
        """Several at a time; whether all were."""
        stored = started = time.monotonic()

        def one(name):
            return None if time.monotonic() > deadline else judged(name)

        with concurrent.futures.ThreadPoolExecutor(judge.workers) as pool:
            try:
                judging = {pool.submit(one, name): name for name in names}
                for reached, done in enumerate(concurrent.futures.as_completed(judging), 1):
                    outcome = done.result()
                    if outcome is None:
                        pool.shutdown(cancel_futures=True)
                        return False
                    if outcome != OPEN:
                        self.state.outcomes[self.mutants[judging[done]]] = outcome
                    now = time.monotonic()
                    if now - stored > STORE_EVERY or reached == len(names):
                        stored, left = now, (now - started) / reached * (len(names) - reached) / 60
                        self.store(judge)
                        print(f"{self.name}: {reached} of {len(names)}, {len(self.unexplained())} survive, about {left:.0f} min left", flush=True)
            except BaseException:
                judge.close()
                pool.shutdown(cancel_futures=True)
                raise
            finally:
                self.store(judge)
        return True


def parse_caught(text):
    """Titles of tests by function; a line each: `file: function <- test, test`."""
    out = {}
    for line in text.splitlines():
        if line and not line.startswith("#"):
            function, titles = line.split(" <- ")
            out[function] = set(titles.split(", "))
    return out


def caught_text(caught_by):
    lines = [f"{function} <- {', '.join(sorted(titles))}" for function, titles in sorted(caught_by.items()) if titles]
    return "\n".join(["# Which tests catch the changes of each function. Written by `run`, which tries these first.", *lines, ""])


class Unwoven:
    """Mutants whose function does not build with a switch in it, on disk: what they come to, cargo-mutants says."""

    def __init__(self):
        self.path = WORK / "state" / "unwoven.json"
        self.mutants = {Mutant(*key) for key in json.loads(self.path.read_text())} if self.path.exists() else set()

    def store(self):
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(json.dumps(sorted(dataclasses.astuple(mutant) for mutant in self.mutants), indent=0))


def run_packages(packages, sources, asked, deadline):
    """Runs what is open of all packages: first those that can be switched; whether it was stopped."""
    wanted = {package.name: package.open(asked.file) for package in packages}
    if not any(wanted.values()):
        return False
    if not asked.one_by_one:
        unwoven = Unwoven()
        known = {n for package in packages for n, m in package.mutants.items() if package.outcome(n) == "unviable" or m in unwoven.mutants}
        tree = Tree(WORK, TREE, [change for package in packages for change in package.changes], known)
        switches = tree.settle()
        for package in packages:
            package.state.outcomes |= {m: "unviable" for n, m in package.mutants.items() if n in tree.unbuildable}
            package.state.store()
            unwoven.mutants |= {m for n, m in package.mutants.items() if n in tree.unwoven}
        unwoven.store()
        judge = Judge(tree, asked.jobs, {f: titles for package in packages for f, titles in package.caught_by.items()})
        for package in packages:
            names = [name for name in wanted[package.name] if name in switches]
            wanted[package.name] = [n for n in wanted[package.name] if n not in switches and n not in tree.unbuildable]
            if names:
                judge.know(tree.programs(judges_of(package.name)))
                if package.run_switched(names, switches, judge, deadline, asked.patience):
                    return True
    return any(package.run_one_by_one(wanted[package.name], sources, deadline, asked.patience) for package in packages if wanted[package.name])


def arguments(given):
    parser = argparse.ArgumentParser(prog="verifier/mutants/run", description="Mutation tests of the verifier.")
    parser.add_argument("packages", nargs="*", metavar="PACKAGE", help=f"of {', '.join(PACKAGES)}; default {', '.join(DEFAULT)}")
    parser.add_argument("--file", action="append", default=[], help="only files that match, below verifier/")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="stop after so long")
    parser.add_argument("--patience", type=int, default=SHORTEST_TIMEOUT, help="seconds that tests may take at the least")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="how many mutants run at a time")
    parser.add_argument("--one-by-one", action="store_true", help="build each mutant by itself")
    parser.add_argument("--again", action="store_true", help="forget what earlier runs found")
    parser.add_argument("--status", action="store_true", help="run nothing")
    try:
        out = parser.parse_args(given)
    except SystemExit as e:
        sys.exit(USAGE if e.code else PASSED)
    if set(out.packages) - set(PACKAGES):
        print(f"packages are {', '.join(PACKAGES)}", file=sys.stderr)
        sys.exit(USAGE)
    out.packages = out.packages or list(DEFAULT)
    return out


def stop(*_):
    raise KeyboardInterrupt


def only_run():
    """A lock that goes with the process: two runs would change each other's copies."""
    WORK.mkdir(parents=True, exist_ok=True)
    lock = (WORK / "lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print("another run is going on here", file=sys.stderr)
        sys.exit(USAGE)
    return lock


def main(given):
    asked = arguments(given)
    signal.signal(signal.SIGTERM, stop)
    # A shell has what it starts in the background ignore this signal, and tests that send it would fail.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    deadline = time.monotonic() + asked.minutes * 60
    _alone = only_run()
    sources = copy()
    explanations = parse_explanations(EXPLANATIONS.read_text())
    if asked.again:
        for name in asked.packages:
            State(name).path.unlink(missing_ok=True)
    packages = [Package(name, explanations) for name in asked.packages]
    stopped = False
    if not asked.status:
        try:
            stopped = run_packages(packages, sources, asked, deadline)
        except KeyboardInterrupt:
            stopped = True
    print("\n| package | mutants | caught | do not build | explained | unexplained | not yet run |\n|---|---|---|---|---|---|---|")
    for package in packages:
        print(package.row())
    unexplained = [mutant for package in packages for mutant in package.unexplained()]
    complaints = [complaint for package in packages for complaint in package.complaints]
    for mutant in unexplained:
        print(f"survives    {mutant}")
    for complaint in complaints:
        print(f"stale       {complaint}")
    if unexplained or complaints:
        return UNEXPLAINED
    not_run = sum(1 for package in packages for name in package.mutants if package.outcome(name) is None)
    if stopped or not_run:
        print(f"{not_run} not yet run: the same command goes on")
        return NOT_ALL
    return PASSED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
