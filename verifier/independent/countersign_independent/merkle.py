"""The tree of RFC 9162, 2.1, whose subtrees may be given by their roots alone. In: hashes. Out: roots."""

from . import digests

EMPTY = digests.sha256(b"")


class Tree:
    def __init__(self):
        self.size = 0
        self.nodes = {}

    def append(self, hash_, level=0):
        """Add a full subtree of 2**level leaves."""
        at = self.size >> level
        self.size += 1 << level
        self.nodes[level, at] = hash_
        while at & 1:
            hash_ = digests.node(self.nodes[level, at - 1], hash_)
            level, at = level + 1, at >> 1
            self.nodes[level, at] = hash_

    def root(self, size=None):
        """The root over the first `size` leaves; None where that falls inside of a subtree given by its root."""
        size = self.size if size is None else size
        if size == 0:
            return EMPTY
        parts, start = [], 0
        for level in reversed(range(size.bit_length())):
            if size >> level & 1:
                parts.append(self.nodes.get((level, start >> level)))
                start += 1 << level
        if None in parts:
            return None
        out = parts.pop()
        while parts:
            out = digests.node(parts.pop(), out)
        return out


def division(first, count):
    """Levels of the fewest full subtrees that make up `count` leaves from `first`."""
    levels = []
    while count:
        level = count.bit_length() - 1
        if first:
            level = min(level, (first & -first).bit_length() - 1)
        levels.append(level)
        first += 1 << level
        count -= 1 << level
    return levels


def included(leaf, position, size, path, root):
    """RFC 9162, 2.1.3.2."""
    if position >= size:
        return False
    at, last, out = position, size - 1, leaf
    for one in path:
        if last == 0:
            return False
        if at & 1 or at == last:
            out = digests.node(one, out)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            out = digests.node(out, one)
        at, last = at >> 1, last >> 1
    return last == 0 and out == root


def over(leaves):
    tree = Tree()
    for one in leaves:
        tree.append(one)
    return tree.root()
