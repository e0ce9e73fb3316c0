"""Builds all mutants of some packages at once and judges each with the tests that reach it.

In: a copy of the sources and the changes of cargo-mutants. Out: what each mutant came to, as soon as it is known. A mutant
in whose own copy of a body the compiler finds an error does not build; of what cannot be woven nothing is said.
"""

import collections
import concurrent.futures
import dataclasses
import hashlib
import json
import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

from weave import weave

SWITCH = Path(__file__).resolve().parent / "switch.rs"
MANIFEST = '[package]\nname = "countersign-switch"\nversion = "0.0.0"\nedition = "2024"\n'
# Rounds of leaving out what does not build: names and types, borrows, what follows from those.
ROUNDS = 12
# Beginnings of words that say nothing of what a function or test is about.
COMMON = {"case", "chec", "acce", "with", "that", "from", "anot", "othe"}
# What waits and does not compute has so many times as long; what does a little of both, so many times as long as that.
WAITING, ENDLESS = 4, 10
MOST_MEMORY = 6 * 2**30
# Tests that caught others just before, run before the rest.
RECENT = 3
# Tests that take so many seconds by themselves run together with others of their program; by themselves; last.
QUICK, SLOW = 0.5, 0.2
HASHED = re.compile(r"-[0-9a-f]{16}$")
STARTED = re.compile(r"^test (\S+)(?: - should panic)? \.\.\. ")


def write(path, content):
    """Files that are the same keep their time, so little is built again."""
    if not path.exists() or path.read_bytes() != content:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def places(message):
    """(file, line) of what an error is about, and of the calls of macros that made it."""
    spans, out = [span for span in message["spans"] if span["is_primary"]], []
    while spans:
        span = spans.pop()
        out.append((span["file_name"], span["line_start"]))
        if span["expansion"]:
            spans.append(span["expansion"]["span"])
    return out


@dataclasses.dataclass(frozen=True)
class Test:
    """One test function; and what it reaches: functions that hold mutants, and statements of them."""

    program: Path
    name: str
    seconds: float
    # Nothing while it is not known.
    reached: frozenset | None

    @property
    def title(self):
        """The same in every build: its program without the digest in its name, and its own name."""
        return f"{HASHED.sub('', self.program.name)} {self.name}"


class Tree:
    """Woven sources of all packages together and what was built of them."""

    def __init__(self, work, plain, changes, left_out):
        self.plain, self.root, self.build, self.work = plain, work / "woven", work / "woven-build", work
        self.changes = [change for change in changes if change.name not in left_out]
        # Names of changes that do not build, and of those whose function does not build with a switch in it.
        self.unbuildable, self.unwoven = set(), set()
        self.woven = {}

    def environment(self):
        kept = {k: v for k, v in os.environ.items() if k != "UPDATE_GOLDEN" and not k.startswith(("CARGO_MUTANTS", "COUNTERSIGN_MUTANT"))}
        return kept | {"CARGO_TARGET_DIR": str(self.build), "RUSTFLAGS": "--cap-lints allow"}

    def cargo(self, *arguments):
        """Messages of a build, and whether it succeeded."""
        command = ["cargo", *arguments, "--profile", "mutants", "--message-format", "json"]
        done = subprocess.run(command, cwd=self.root / "verifier", env=self.environment(), capture_output=True, text=True)
        messages = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        if done.returncode and not any(m["reason"] == "compiler-message" for m in messages):
            sys.exit(f"{' '.join(command)} failed:\n{done.stderr}")
        return messages, done.returncode == 0

    def weave(self):
        """Writes the sources with every change but those that do not build."""
        wanted = collections.defaultdict(list)
        for change in self.changes:
            if change.name not in self.unbuildable | self.unwoven:
                wanted[change.file].append(change)
        verifier = self.plain / "verifier"
        self.woven = {file: weave((verifier / file).read_text(), changes) for file, changes in wanted.items()}
        names = set()
        for path in [path for path in self.plain.rglob("*") if path.is_file()]:
            name = path.relative_to(self.plain)
            names.add(name)
            woven = self.woven.get(str(name.relative_to("verifier"))) if name.parts[0] == "verifier" else None
            content = woven.text.encode() if woven else path.read_bytes()
            if name.name == "Cargo.toml" and b"\n[dependencies]\n" in content:
                way = "/".join([".."] * (len(name.parts) - 2) + ["switch"])
                content = content.replace(b"\n[dependencies]\n", f'\n[dependencies]\ncountersign-switch = {{ path = "{way}" }}\n'.encode())
            write(self.root / name, content)
        switch = Path("verifier/switch")
        for path in [path for path in self.root.rglob("*") if path.is_file()]:
            name = path.relative_to(self.root)
            if name not in names and switch not in name.parents:
                path.unlink()
        write(self.root / switch / "Cargo.toml", MANIFEST.encode())
        write(self.root / switch / "src/lib.rs", SWITCH.read_bytes())

    def blame(self, messages):
        """Leaves out the changes that errors are about; how many."""
        own, shared, rest = set(), set(), []
        for message in messages:
            if message["reason"] != "compiler-message" or message["message"]["level"] != "error":
                continue
            blamed = [self.woven[file].blamed(line) for file, line in places(message["message"]) if file in self.woven]
            own |= {names[0] for names in blamed if len(names) == 1}
            shared |= {name for names in blamed for name in names}
            if not any(blamed):
                rest.append(message["message"]["rendered"])
        # What is wrong with a whole function may follow from what is wrong in one copy of its body.
        self.unbuildable |= own
        self.unwoven |= set() if own else shared
        if not own | shared:
            sys.exit("woven code does not build, for no change's sake:\n" + "\n".join(rest))
        return len(own or shared)

    def settle(self):
        """Weaves what builds. Gives the switch of each mutant by its name."""
        for _ in range(ROUNDS):
            self.weave()
            messages, built = self.cargo("check", "--workspace", "--lib", "--bins", "--keep-going")
            if built:
                return {name: switch for woven in self.woven.values() for name, switch in woven.switches.items()}
            print(f"woven code: {self.blame(messages)} more mutants do not build", flush=True)
        return sys.exit(f"woven code does not build after {ROUNDS} rounds")

    def programs(self, packages):
        """Test programs of `packages`: path, the directory they run in, and a digest of all they may run."""
        wanted = [f"--package=countersign-{package}" for package in packages]
        messages, built = self.cargo("test", "--no-run", "--lib", "--bins", "--tests", *wanted)
        if not built:
            errors = [m["message"]["rendered"] for m in messages if m["reason"] == "compiler-message" and m["message"]["level"] == "error"]
            sys.exit("tests of woven code do not build:\n" + "\n".join(errors))
        artifacts = [m for m in messages if m["reason"] == "compiler-artifact" and m["executable"]]
        binaries = b"".join(hashlib.sha256(Path(m["executable"]).read_bytes()).digest() for m in artifacts if not m["profile"]["test"])
        out = []
        for m in artifacts:
            if m["profile"]["test"]:
                path = Path(m["executable"])
                digest = hashlib.sha256(path.read_bytes() + binaries).hexdigest()
                out.append((path, Path(m["manifest_path"]).parent, digest))
        return out


def kill(child):
    """A test and the programs that it started."""
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def used(group):
    """Ticks of the processor that a test, and the programs that it started, took so far."""
    ticks = 0
    for entry in Path("/proc").iterdir():
        try:
            # After the name, which may hold anything: state, parent, group, and from the 12th on user and system time.
            fields = (entry / "stat").read_text().rpartition(")")[2].split() if entry.name.isdigit() else []
        except (FileNotFoundError, ProcessLookupError):
            continue
        if fields and int(fields[2]) == group:
            ticks += sum(map(int, fields[11:15]))
    return ticks


def end_if_it_waits(child, seconds, over):
    """Ends a test that waits for so long. Seconds in which it computes are none, nor are those in which everything is
    stopped, this command too: a machine that is busy, or paused, makes no test late."""
    idle = looked = before = 0
    while idle < seconds and looked < ENDLESS * seconds:
        if over.wait(1):
            return
        now = used(child.pid)
        idle, looked, before = idle + (now == before), looked + 1, now
    kill(child)


def waited(child):
    """(exit code, seconds of the processor that it and its own children took)."""
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    return child.returncode, usage.ru_utime + usage.ru_stime


def limit(child, seconds):
    """A mutant that allocates or computes without end shall end itself and not the machine. Seconds are the processor's: on
    a busy machine slow is not hanging."""
    try:
        resource.prlimit(child.pid, resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))
        seconds = max(1, int(seconds))
        resource.prlimit(child.pid, resource.RLIMIT_CPU, (seconds, seconds))
    except ProcessLookupError:
        pass


class Judge:
    """Runs tests of woven code, alone or together, and remembers which caught what."""

    def __init__(self, tree, workers, caught_by=None):
        self.tree, self.workers = tree, workers
        self.directories, self.digests, self.alone = {}, {}, {}
        self.running, self.closing = set(), threading.Event()
        # Titles of tests by function whose mutants they caught.
        self.caught_by = collections.defaultdict(set, caught_by or {})
        self.recent = collections.deque(maxlen=RECENT)
        self.surveyed = {}

    def know(self, programs):
        """Adds test programs (see `Tree.programs`)."""
        scratch = str(self.tree.build / "tmp").encode()
        for path, directory, digest in programs:
            self.directories[path], self.digests[path] = directory, digest
            # Programs that write in the build's scratch directory, under fixed names, run one at a time.
            if scratch in path.read_bytes():
                self.alone.setdefault(path, threading.Lock())

    def close(self):
        """Ends what runs, and lets nothing start."""
        self.closing.set()
        for child in list(self.running):
            kill(child)

    def run(self, program, names, seconds, extra):
        """(whether all passed, the name of the last that ran, seconds of the processor that they took)."""
        with self.alone.get(program, threading.Lock()), tempfile.TemporaryFile("w+") as said:
            if self.closing.is_set():
                return None, None, 0
            directory = self.directories[program]
            environment = self.tree.environment() | {"CARGO_MANIFEST_DIR": str(directory)} | extra
            child = subprocess.Popen(
                [program, "--exact", "--test-threads", "1", *names], cwd=directory, env=environment, process_group=0,
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=said, text=True, errors="replace",
            )  # fmt: skip
            self.running.add(child)
            limit(child, seconds)
            over = threading.Event()
            threading.Thread(target=end_if_it_waits, args=[child, WAITING * max(1, seconds), over], daemon=True).start()
            last, failed = None, False
            for line in child.stdout:
                if found := STARTED.match(line):
                    last = found[1]
                if line.endswith(" FAILED\n"):
                    failed = True
                    kill(child)
                    break
            code, seconds = waited(child)
            over.set()
            kill(child)
            child.stdout.close()
            self.running.discard(child)
            if self.closing.is_set():
                return None, None, 0
            return not failed and code == 0, last, seconds

    def tests_of(self, directories, patience):
        """Every test of the packages in `directories`."""
        out = []
        for program, directory in self.directories.items():
            if directory in directories:
                if program not in self.surveyed:
                    self.surveyed[program] = self.survey(program, patience)
                out += self.surveyed[program]
        return out

    def survey(self, program, patience):
        """Tests of a program with what they reach, each run by itself; remembered until it is built anew."""
        digest = self.digests[program]
        kept = self.tree.work / "reached" / f"{program.name}.json"
        if kept.exists():
            stored = json.loads(kept.read_text())
            if stored["digest"] == digest:
                return [Test(program, name, seconds, frozenset(reached)) for name, seconds, reached in stored["tests"]]
        listed = subprocess.run(
            [program, "--list", "--format", "terse"], cwd=self.directories[program], env=self.tree.environment(), check=True, capture_output=True, text=True
        ).stdout
        names = [line.removesuffix(": test") for line in listed.splitlines() if line.endswith(": test")]

        def one(name):
            with tempfile.TemporaryDirectory() as scratch:
                reached = Path(scratch) / "reached"
                passed, _, seconds = self.run(program, [name], max(patience, 600), {"COUNTERSIGN_MUTANT_REACHED": str(reached)})
                lines = reached.read_text().split() if reached.exists() else []
            if passed is False:
                print(f"{program.name}: {name} fails before anything is changed: it judges nothing", flush=True)
                return None
            return Test(program, name, seconds, frozenset(int(line) for line in lines))

        with concurrent.futures.ThreadPoolExecutor(self.workers) as pool:
            tests = [test for test in pool.map(one, names) if test]
        if self.closing.is_set():
            return []
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(json.dumps({"digest": digest, "tests": [[t.name, t.seconds, sorted(t.reached)] for t in tests]}))
        return tests

    def known(self, functions, directories, patience):
        """Tests of the packages in `directories` that caught changes of these functions before, and pass."""
        titles = sorted({title for function in functions for title in self.caught_by.get(function, ())})
        programs = [program for program, directory in self.directories.items() if directory in directories]
        tests = [Test(program, title.partition(" ")[2], 0.0, None) for program in programs for title in titles]

        def passes(test):
            return self.run(test.program, [test.name], max(patience, 600), {})[0]

        tests = [test for test in tests if test.title in titles]
        with concurrent.futures.ThreadPoolExecutor(self.workers) as pool:
            return [test for test, passed in zip(tests, pool.map(passes, tests)) if passed]

    def judge(self, switch, tests, patience, function):
        """`caught` or `missed`; nothing if it was stopped. A test that does not end has failed."""
        reaching = [test for test in tests if test.reached is None or switch.place in test.reached]
        known, recent, about = self.caught_by[function], list(self.recent), stems(function)
        tried = set()
        # What caught others of this function; what caught the neighbours, just before; what is called alike; the rest.
        for likely in (lambda test: test.title in known, lambda test: test in recent, lambda test: about & stems(test.name), lambda _: True):
            for group in groups([test for test in reaching if test not in tried and likely(test)]):
                seconds = max(patience, 6 * sum(test.seconds for test in group))
                passed, last, _ = self.run(group[0].program, [t.name for t in group], seconds, {"COUNTERSIGN_MUTANT": str(switch)})
                if passed is None:
                    return None
                if not passed:
                    for test in group:
                        if test.name == last:
                            known.add(test.title)
                            self.recent.append(test)
                    return "caught"
                tried |= set(group)
        return "missed"


def stems(name):
    """The first letters of its words: `closed` and `closes` are alike."""
    return frozenset(re.findall(r"(?<![a-z])[a-z]{4}", name.lower())) - COMMON


def groups(tests):
    """Tests that run in one process: quick ones of a program together, others by themselves; many short ones first."""
    together = collections.defaultdict(list)
    for test in tests:
        together[test.program, test.name if test.seconds > QUICK else ""].append(test)
    return sorted(together.values(), key=lambda group: sum(test.seconds for test in group) / len(group))
