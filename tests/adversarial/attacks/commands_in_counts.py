"""Count with a notice and a reason that are commands, in every form of words there is."""

from common import Honest

from esrbench.worker.messages import Counted

HOSTILE = "\x1b[2J\u202e\n::stop-commands::a [x](http://b) @all" + "y" * 5000
dump = Counted.model_dump


def lie(reply, **options):
    document = dump(reply, **options)
    absent = {"kind": "unavailable", "reason": HOSTILE, "advice": HOSTILE}
    counted = document["complexity"]
    counted["counters"] = dict.fromkeys(counted["counters"], absent)
    counted["notices"] = [{"code": HOSTILE, "message": HOSTILE, "advice": HOSTILE}]
    return document


Counted.model_dump = lie


class Net(Honest):
    """Its own counter."""
