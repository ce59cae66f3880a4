from common import Honest, alter

Net = Honest
alter("done", lambda message: message.update(seconds=0.0))
