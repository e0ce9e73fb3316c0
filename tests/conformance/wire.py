"""Compares what a client and a gateway said with what the gateway and its upstream said, byte for byte.

In: the exchanges of both wires, and `wire-allowed.json`. Out: [`Comparison`]: what was lost, added or
changed on the way. Values are compared as the bytes that were sent, so a number written another way, members
in another order, or other white space inside a value is a difference.
"""

import collections
import dataclasses
import fnmatch
import json
import pathlib

HERE = pathlib.Path(__file__).resolve().parent
# Answered by the gateway itself, out of what it knows of its upstream.
OWN = {"initialize", "server/discover", "ping", "logging/setLevel", "subscriptions/listen"}
# A task that a client asks after is the gateway's; the upstream's the gateway asks after by itself.
OWN |= {"tasks/get", "tasks/update", "tasks/cancel"}
LISTS = {
    "tools/list": "tools",
    "resources/list": "resources",
    "resources/templates/list": "resourceTemplates",
    "prompts/list": "prompts",
}
DECODER = json.JSONDecoder()
BLANK = " \t\r\n"


def members(text: str) -> dict:
    """The members of an object, each with the text of its value."""
    out, at = {}, _skip(text, 0) + 1
    while text[at := _skip(text, at)] != "}":
        name, at = DECODER.raw_decode(text, at)
        at = _skip(text, _skip(text, at) + 1)
        _, end = DECODER.raw_decode(text, at)
        out[name], at = text[at:end], _skip(text, end)
        at += text[at] == ","
    return out


def elements(text: str) -> list:
    """The texts of a list's elements."""
    out, at = [], _skip(text, 0) + 1
    while text[at := _skip(text, at)] != "]":
        _, end = DECODER.raw_decode(text, at)
        out.append(text[at:end])
        at = _skip(text, end)
        at += text[at] == ","
    return out


def _skip(text: str, at: int) -> int:
    while text[at] in BLANK:
        at += 1
    return at


def flat(message: str) -> dict:
    """Texts of values by place: `params.name`, `result._meta.x`; `error` as a whole."""
    out = {}
    for name, value in members(message).items():
        if name in ("jsonrpc", "id"):
            continue
        if name not in ("params", "result"):
            out[name] = value
            continue
        out[name] = "{}"
        for inner, content in members(value).items():
            if inner != "_meta":
                out[f"{name}.{inner}"] = content
                continue
            out |= {f"{name}._meta.{key}": text for key, text in members(content).items()}
    return out


@dataclasses.dataclass
class Told:
    """One message, without what may differ."""

    method: str
    content: dict


@dataclasses.dataclass
class Talk:
    """One request, or answer to a question, and all that came back."""

    scenario: str
    message: Told
    status: int
    back: list


class Comparison:
    """What differs, by place; and which permissions were used."""

    def __init__(self, before: list, behind: list):
        self.allowed = json.loads((HERE / "wire-allowed.json").read_text(encoding="utf-8"))
        self.used = set()
        self.differences = {}
        self.compared = 0
        self._pair(self._talks(before), self._talks(behind))

    def _differs(self, scenario: str, how: str) -> None:
        # What precedes the details says which message it is; the same more than once counts once.
        place, _, detail = how.partition(": ")
        self.differences[f"{scenario}/wire {place}"] = detail

    @property
    def stale(self) -> set:
        """Permissions that nothing needed."""
        return set(self.allowed) - self.used

    def _told(self, text: str, method: str = "") -> Told:
        content = flat(text)
        method = json.loads(content.pop("method", json.dumps(method)))
        return Told(method, content)

    def _talks(self, exchanges: list) -> list:
        out = []
        for exchange in exchanges:
            if exchange.method != "POST" or not exchange.body:
                continue
            try:
                told = self._told(exchange.body.decode())
            except (ValueError, IndexError, AttributeError):
                continue
            back = []
            for message in exchange.messages:
                try:
                    back.append(self._told(message.decode(), "answer"))
                except (ValueError, IndexError, AttributeError):
                    if exchange.status >= 400:
                        continue
                    self._differs(exchange.scenario, f"no message: {message[:80]!r}")
            out.append(Talk(exchange.scenario, told, exchange.status, back))
        return out

    def _without(self, told: Told, other: Told) -> tuple:
        """Both contents without the places that may differ, where they do."""
        one, two = dict(told.content), dict(other.content)
        for place in set(one) | set(two):
            if one.get(place) == two.get(place):
                continue
            for pattern, how in self.allowed.items():
                if fnmatch.fnmatchcase(f"{told.method} {place}", pattern) and fits(how, one.get(place), two.get(place)):
                    self.used.add(pattern)
                    one.pop(place, None)
                    two.pop(place, None)
                    break
        return one, two

    def _same(self, told: Told, other: Told) -> bool:
        if told.method != other.method:
            return False
        used = set(self.used)
        one, two = self._without(told, other)
        if one != two:
            self.used = used
        return one == two

    def _pair(self, before: list, behind: list) -> None:
        left = collections.deque(behind)
        lists = collections.defaultdict(set)
        for talk in behind:
            if key := LISTS.get(talk.message.method):
                for told in talk.back:
                    lists[key].update(elements(told.content.get(f"result.{key}", "[]")))
        for talk in before:
            method = talk.message.method
            if method in OWN or method.startswith("notifications/"):
                continue
            if key := LISTS.get(method):
                self._listed(talk, key, lists[key])
                continue
            # What the gateway refused by itself looks like the same call that it let through.
            alike = (other for other in left if (other.status < 400) == (talk.status < 400))
            match = next((other for other in alike if self._same(talk.message, other.message)), None)
            if match:
                left.remove(match)
                self._answers(talk, match)
            elif talk.status < 400:
                near = min((self._detail(talk.message, o.message) for o in left if o.message.method == method), key=len, default=None)
                detail = near or "nothing like it arrived"
                self._differs(talk.scenario, f"{method or 'an answer'} did not arrive as it was sent: {detail}")
        for talk in left:
            method = talk.message.method
            if method not in OWN | set(LISTS) and not method.startswith("notifications/"):
                self._differs(talk.scenario, f"{method} arrived, and nobody sent it like that")

    def _listed(self, talk: Talk, key: str, known: set) -> None:
        for told in talk.back:
            for item in elements(told.content.get(f"result.{key}", "[]")):
                self.compared += 1
                if item not in known:
                    self._differs(talk.scenario, f"{talk.message.method} shows what the upstream did not list: {item[:200]}")

    def _answers(self, talk: Talk, other: Talk) -> None:
        self.compared += 1 + len(other.back)
        for mine, theirs in zip(talk.back, other.back):
            if not self._same(mine, theirs):
                self._differs(talk.scenario, f"{talk.message.method}: {mine.method}: {self._detail(mine, theirs)}")
        if len(talk.back) != len(other.back):
            methods = [told.method for told in talk.back], [told.method for told in other.back]
            self._differs(talk.scenario, f"{talk.message.method}: the client got {methods[0]}, the upstream said {methods[1]}")

    def _detail(self, mine: Told, theirs: Told) -> str:
        one, two = self._without(mine, theirs)
        places = sorted(place for place in set(one) | set(two) if one.get(place) != two.get(place))
        return "; ".join(f"{place}: {shown(one.get(place))} before, {shown(two.get(place))} behind" for place in places) or "other method"


def fits(how, before, behind) -> bool:
    """Whether a permission is for these values: one that is a reason alone is for any."""
    return isinstance(how, str) or (how["before"], how["behind"]) == (before, behind)


def shown(text) -> str:
    """A value for people."""
    return "absent" if text is None else text if len(text) <= 120 else text[:120] + "…"
