"""Models that run out of memory or give nothing, and unusual ones that must train."""

from __future__ import annotations

import pytest

MODEL = """\
class Mine(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Linear(4, 2)
    def forward(self, x):
        {forward}
return made(Mine())
"""


def forward(text: str) -> str:
    """A factory's body with a model of that forward."""
    return MODEL.format(forward=text)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (forward("raise torch.OutOfMemoryError('tried to allocate 9 GiB')"), "ran out of memory"),
        (forward("raise torch.OutOfMemoryError('tried to allocate 9 GiB')"), "tried to allocate 9 GiB"),
        (forward("self.encoder(x)"), "the model returned None: does its forward return the outputs?"),
        (forward("raise NotImplementedError"), "NotImplementedError"),
        (forward("return self.head(x)"), "AttributeError: 'Mine' object has no attribute 'head'"),
        (forward("return self.encoder(x[0:3])"), "(3) to match target batch_size (32)"),
        (forward("import sys; sys.exit(3)"), "SystemExit: 3"),
    ],
)
def test_what_is_wrong_is_said_once(patient, body, said):
    text = patient.error(body)
    assert said in text, text


def test_the_module_that_raised_is_named(patient):
    text = patient.error("return made(nn.Sequential(nn.Linear(4, 8), nn.Linear(9, 2)))")
    assert "(the first forward and loss, in 1): RuntimeError: mat1 and mat2 shapes" in text


def test_an_error_in_a_later_step_names_the_step(patient):
    text = patient.error(
        "class Late(Net):\n"
        "    calls = 0\n"
        "    def forward(self, x):\n"
        "        self.calls += 1\n"
        "        if self.calls > 3: raise RuntimeError('worn out')\n"
        "        return super().forward(x)\n"
        "return made(Late())",
    )
    assert "at step 3 (forward and loss): RuntimeError: worn out" in text


MODELS = {
    "lazy": "return made(nn.Sequential(nn.LazyLinear(8), nn.ReLU(), nn.LazyLinear(2)))",
    "tied": (
        "net = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4), nn.Linear(4, 2))\n"
        "net[2].weight = net[0].weight\nreturn made(net)"
    ),
    "sparse": (
        "net = nn.Sequential(nn.Embedding(10, 2, sparse=True))\n"
        "return made(net, train_data=(Y, Y), optimizer=torch.optim.SparseAdam(net.parameters()))"
    ),
    "complex": (
        "class Complex(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.weight = nn.Parameter(torch.randn(4, 2, dtype=torch.complex64))\n"
        "    def forward(self, x):\n"
        "        return (x.to(torch.complex64) @ self.weight).abs()\n"
        "return made(Complex())"
    ),
    "nested inputs": (
        "class Nested(Net):\n"
        "    def forward(self, pair, more): return super().forward(pair['a'] + more[0])\n"
        "return made(Nested(), train_data=[(({'a': X}, (X, X)), Y)])"
    ),
    "inputs by name": (
        "class Named(Net):\n"
        "    def forward(self, a, b): return super().forward(a + b)\n"
        "return made(Named(), train_data=[({'a': X, 'b': X}, Y)])"
    ),
    "hugging face": (
        "class Output(dict):\n"
        "    __getattr__ = dict.__getitem__\n"
        "class Named(Net):\n"
        "    def forward(self, input_ids, labels=None):\n"
        "        logits = super().forward(input_ids)\n"
        "        return Output(loss=nn.functional.cross_entropy(logits, labels), logits=logits)\n"
        "return made(Named(), train_data=[{'input_ids': X, 'labels': Y}], loss=None)"
    ),
    "a dataclass as output": (
        "import dataclasses\n"
        "@dataclasses.dataclass\n"
        "class Output:\n"
        "    logits: object\n"
        "class Typed(Net):\n"
        "    def forward(self, x): return Output(super().forward(x))\n"
        "return made(Typed(), loss=lambda o, t: nn.functional.cross_entropy(o.logits, t))"
    ),
    "forward and targets": (
        "return made(train_data=[(X, X, Y)], forward=lambda m, b: m(b[0]), targets=lambda b: b[2])"
    ),
    "samples that do not stand alone": "return made(batch_dim=None)",
    "loss with parameters": (
        "class Weighted(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.scale = nn.Parameter(torch.ones(()))\n"
        "    def forward(self, o, t): return nn.functional.cross_entropy(o * self.scale, t)\n"
        "net, loss = Net(), Weighted()\n"
        "parameters = [*net.parameters(), *loss.parameters()]\n"
        "return made(net, loss=loss, optimizer=torch.optim.Adam(parameters))"
    ),
    "batch norm": "return made(nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 2)))",
    "float64": "return made(Net().double(), train_data=(X.double(), Y))",
    "bfloat16": "return made(Net().bfloat16(), train_data=(X.bfloat16(), Y))",
    "in-place relu": "return made(nn.Sequential(nn.Linear(4, 2), nn.ReLU(inplace=True)))",
}


@pytest.mark.parametrize("body", MODELS.values(), ids=MODELS)
def test_an_unusual_model_trains(patient, body):
    result = patient.examined(body)
    assert result.ret == 0, result.stdout.str()
