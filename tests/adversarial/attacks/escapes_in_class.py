"""Raise an exception whose class and message move the reader's cursor and turn his text round."""

from common import Honest


class Net(Honest):
    def forward(self, lr):
        kind = type("\x1b]0;first\x07\x9bError", (Exception,), {})
        raise kind(f"{lr.ndim}\u202ekcehc\u2066 \u200bpassed\x1b[2J\x00 \U000e0041 \u3164")
