"""Claim twice the time: what the worker does after its clock stopped is part of it."""

from common import Honest, alter

Net = Honest
alter("done", lambda message: message.update(seconds=2 * message["seconds"]))
