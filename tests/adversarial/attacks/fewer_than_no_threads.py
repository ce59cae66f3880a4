"""Say that fewer than no threads were given, which no record holds."""

from common import Honest, alter

Net = Honest
alter("ready", lambda message: message.update(threads=-1))
