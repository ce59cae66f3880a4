"""Say that every counter failed, and that it was nobody's fault."""

from common import Honest, alter

Net = Honest
FAILED = {"kind": "failed", "reason": "the machine broke down"}


def blame(message):
    counters = message["complexity"]["counters"]
    message["complexity"]["counters"] = dict.fromkeys(counters, FAILED)


alter("counted", blame)
