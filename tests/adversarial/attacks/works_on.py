import threading

import torch
from common import Honest


class Net(Honest):
    def __init__(self, scale=4):
        super().__init__(scale)
        self.begun = False

    def forward(self, lr):
        if not self.begun and not lr.is_meta:
            self.begun = True
            threading.Thread(target=self.go_on, args=(lr.clone(),), daemon=True).start()
        return self.honest(lr)

    def go_on(self, lr):
        with torch.no_grad():
            while True:
                self.work(lr)
