"""A model at the place in memory of one that is gone is another model."""

import torch
from torch import nn

from pytest_dlcheck.run.watch.guard import Guard
from pytest_dlcheck.run.watch.taps.calls import Calls

MANY = 500
"""Of so many new models, some are where old ones were."""


class Ears:
    """Hears calls, as a listener and as what is visited."""

    quick = None

    def __init__(self):
        self.heard, self.quick = [], None

    def called(self, module, arguments):
        self.heard.append(module)

    def enters(self, module, arguments, *, outermost):
        pass

    def leaves(self, module, arguments, named, output):
        pass


def test_models_in_the_places_of_followed_ones_are_heard():
    ears = Ears()
    calls = Calls(ears, ears, Guard(lambda: None))
    old = [nn.Identity() for _ in range(MANY)]
    for layer in old:
        calls.follow(layer)
    places = set(map(id, old))
    del old, layer
    new = [nn.Identity() for _ in range(MANY)]
    assert places & set(map(id, new))
    try:
        calls.listen_everywhere()
        for layer in new:
            layer(torch.zeros(1))
            calls.follow(layer)
        calls.listen_to_the_followed()
        for layer in new:
            layer(torch.zeros(1))
        assert ears.heard == [*new, *new]
    finally:
        calls.close()
