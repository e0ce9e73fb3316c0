"""What an appraisal of evidence says: its checks in order, each passed, failed, or not checked.

In: codes and whether they hold. Out: failures, told apart into rules, which an auditor may see one way or the other, and the rest.
"""


class Checks:
    def __init__(self, rules):
        self.rules, self.all = rules, []

    def see(self, code, good):
        """good is None where the check could not be made, or nobody asked."""
        self.all.append((code, {True: "pass", False: "fail", None: "not checked"}[good]))
        return good

    def failed(self):
        """Codes that failed and are no rules."""
        return [code for code, state in self.all if state == "fail" and code not in self.rules]

    def broken(self):
        """Rules that failed."""
        return [code for code, state in self.all if state == "fail" and code in self.rules]
