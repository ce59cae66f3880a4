from common import Honest


class Net(Honest):
    pass


def fold(network):
    return network
