from common import Honest

Net = Honest
