"""Say that more threads were given than were."""

import torch
from common import Honest

Net = Honest
torch.get_num_threads = lambda: 64
