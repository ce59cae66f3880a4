"""Answer with fewer counters than were asked for."""

from common import Honest, alter

Net = Honest
alter("counted", lambda message: message["complexity"]["counters"].popitem())
