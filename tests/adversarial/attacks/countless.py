from common import Honest, alter

Net = Honest
alter("counted", lambda message: message["complexity"].update(params=10**400))
