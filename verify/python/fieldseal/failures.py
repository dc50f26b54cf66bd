"""What goes wrong, with the codes of V1."""


INTEGRITY, MISSING, TIME, REPORT, INPUT = 2, 3, 4, 5, 6
CLASSES = {"V03": TIME, "V09": MISSING, "V11": MISSING, "V12": MISSING, "V13": MISSING, "V15": TIME, "V17": MISSING, "V41": MISSING,
           "V20": REPORT, "V21": REPORT, "V22": REPORT, "V24": TIME}


I64 = 1 << 63


class Failure(Exception):
    """A failed check: code of FORMAT.md V1, log, entry, words."""

    def __init__(self, code, text, index=None, exit_code=None):
        super().__init__(text)
        self.code, self.text, self.index, self.log = code, text, index, None
        self.exit = exit_code or CLASSES.get(code, INTEGRITY)


class Mistake(Exception):
    """Something is wrong with the verifier's own files or arguments."""


def need(condition, code, text, index=None):
    if not condition:
        raise Failure(code, text, index)
