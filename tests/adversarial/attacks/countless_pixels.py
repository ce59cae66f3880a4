from common import Honest, alter

Net = Honest
SIZES = [{"input_size": [0, 0], "macs": 0, "elementwise": None}]
alter("counted", lambda message: message["complexity"]["audit"].update(sizes=SIZES))
