"""Ranges of indexes, both ends included. In: structures `index-range`, or numbers. Out: how they lie."""

from bisect import bisect_left, bisect_right


def in_order(ranges):
    """Whether each ends before the next begins, with at least one index between."""
    if any(one.first > one.last for one in ranges):
        return False
    return all(one.last + 1 < two.first for one, two in zip(ranges, ranges[1:]))


def within(ranges, others):
    """Whether each of some ranges lies within one of others; both are in order."""
    ends = [other.last for other in others]
    for one in ranges:
        at = bisect_left(ends, one.last)
        if at == len(others) or others[at].first > one.first:
            return False
    return True


class Ranges:
    """Indexes that were covered so far, as ranges that do not touch."""

    def __init__(self):
        self.firsts, self.lasts = [], []

    def add(self, first, last):
        """Cover first to last. Out: the parts that were not covered before."""
        low, high = bisect_left(self.lasts, first - 1), bisect_right(self.firsts, last + 1)
        new, at = [], first
        for a, b in zip(self.firsts[low:high], self.lasts[low:high]):
            if at < a:
                new.append((at, a - 1))
            at = b + 1
        if at <= last:
            new.append((at, last))
        if low < high:
            first, last = min(first, self.firsts[low]), max(last, self.lasts[high - 1])
        self.firsts[low:high], self.lasts[low:high] = [first], [last]
        return new

    def has(self, index):
        at = bisect_left(self.lasts, index)
        return at < len(self.firsts) and self.firsts[at] <= index
