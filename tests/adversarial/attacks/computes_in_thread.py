import threading

import torch
from common import Honest


class Net(Honest):
    def forward(self, lr):
        lr.tolist()
        found = []

        def work():
            with torch.no_grad():
                found.append(self.honest(lr))

        other = threading.Thread(target=work)
        other.start()
        other.join()
        return found[0]
