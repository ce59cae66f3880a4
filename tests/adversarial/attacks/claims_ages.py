from common import Honest, alter

Net = Honest
alter("done", lambda message: message.update(seconds=1.7e308))
