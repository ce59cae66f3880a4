from common import Honest, alter

Net = Honest
alter("ready", lambda message: message.update(cpus=[10**6]))
