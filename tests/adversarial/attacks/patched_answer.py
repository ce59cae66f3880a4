"""Change what the worker says as it says it."""

from common import Honest, alter

Net = Honest
alter("done", lambda message: message.update(seconds=1e-6))
