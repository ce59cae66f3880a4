"""Grow when weights are loaded: a copy without weights is shallow."""

from common import Honest


class Net(Honest):
    def __init__(self, scale=4):
        super().__init__(scale, rounds=0)
        self.register_load_state_dict_post_hook(Net.deepen)

    def deepen(self, _keys):
        self.rounds = 30
