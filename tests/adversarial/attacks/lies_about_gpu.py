from common import Honest, alter

Net = Honest
alter("ready", lambda message: message.update(accelerator="NVIDIA H100"))
