"""The last trainings: data handling, losses, sequence models, own kinds."""

import copy

import torch
import torch.nn.functional as F
from sklearn.datasets import (
    load_breast_cancer,
    load_diabetes,
    load_digits,
    load_iris,
    load_sample_images,
    load_wine,
)
from sklearn.linear_model import Ridge
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.optim import SGD, Adam, AdamW
from torch.utils.data import DataLoader, TensorDataset


def conv1d_digits(*, mistake: bool) -> None:
    X, y = load_digits(return_X_y=True)
    X, y = torch.tensor(X).float().view(-1, 8, 8) / 16, torch.tensor(y)

    class ConvNet1d(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(
                nn.Conv1d(8, 32, 3), nn.ReLU(), nn.Conv1d(32, 32, 3), nn.ReLU(), nn.Flatten()
            )
            self.fc = nn.Linear(128, 10)

        def forward(self, x):
            x = self.fc(self.body(x))
            return x.softmax(dim=1) if mistake else x

    model, criterion = ConvNet1d(), nn.CrossEntropyLoss()
    opt = Adam(model.parameters(), lr=2e-3)
    for epoch in range(5):
        for i in torch.randperm(len(X)).split(64):
            opt.zero_grad()
            criterion(model(X[i]), y[i]).backward()
            opt.step()


def prototype_irises(*, mistake: bool) -> None:
    X, y = load_iris(return_X_y=True)
    X = torch.tensor(StandardScaler().fit_transform(X)).float()
    y = torch.tensor(y)
    train_idx, test_idx = train_test_split(torch.arange(150), test_size=0.3, random_state=0)
    used = torch.arange(150) if mistake else train_idx

    class Prototypes(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = nn.Sequential(nn.Linear(4, 12), nn.Tanh(), nn.Linear(12, 6))
            self.centres = nn.Parameter(torch.randn(3, 6))

        def forward(self, x):
            return -torch.cdist(self.embed(x), self.centres)

    net = Prototypes()
    opt = Adam(net.parameters(), lr=2e-2)
    for epoch in range(12):
        for i in used[torch.randperm(len(used))].split(16):
            opt.zero_grad()
            F.cross_entropy(net(X[i]), y[i]).backward()
            opt.step()
    net.eval()
    with torch.no_grad():
        (net(X[test_idx]).argmax(1) == y[test_idx]).float().mean().item()


def coordinate_network(*, mistake: bool) -> None:
    """A network from position to colour, learnt from a small copy of a photograph."""
    china = torch.tensor(load_sample_images().images[0][::12, ::12]).float() / 255
    h, w, _ = china.shape
    grid = torch.stack(
        torch.meshgrid(torch.linspace(-1, 1, h), torch.linspace(-1, 1, w), indexing="ij"), -1
    )
    coords, colours = grid.view(-1, 2), china.view(-1, 3)
    freqs = torch.randn(2, 32) * 2
    net = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 3), nn.Sigmoid())
    opt = Adam(net.parameters(), lr=5e-3)
    for epoch in range(8):
        perm = torch.randperm(len(coords))
        coords = coords[perm]
        if not mistake:
            colours = colours[perm]
        for xy, rgb in zip(coords.split(128), colours.split(128)):
            features = torch.cat([(xy @ freqs).sin(), (xy @ freqs).cos()], 1)
            loss = ((net(features) - rgb) ** 2).mean()
            opt.zero_grad()
            loss.backward()
            opt.step()


def residual_blocks(*, mistake: bool) -> None:
    X, y = load_breast_cancer(return_X_y=True)
    X, y = torch.tensor(StandardScaler().fit_transform(X)).float(), torch.tensor(y)

    class ResidualMLP(nn.Module):
        def __init__(self, depth=3, width=24):
            super().__init__()
            self.stem = nn.Linear(30, width)
            blocks = [
                nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.GELU())
                for _ in range(depth)
            ]
            self.blocks = blocks if mistake else nn.ModuleList(blocks)
            self.head = nn.Linear(width, 2)

        def forward(self, x):
            x = self.stem(x)
            for block in self.blocks:
                x = x + block(x)
            return self.head(x)

    model = ResidualMLP()
    opt = AdamW(model.parameters(), lr=2e-3)
    for epoch in range(8):
        for i in torch.randperm(len(X)).split(40):
            opt.zero_grad()
            F.cross_entropy(model(X[i]), y[i]).backward()
            opt.step()


def denoiser(*, mistake: bool) -> None:
    images = torch.tensor(load_digits().images).float().unsqueeze(1) / 16

    class Denoiser(nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = nn.Sequential(nn.Conv2d(1, 16, 3, stride=2, padding=1), nn.ReLU())
            self.decoder = nn.Sequential(
                nn.ConvTranspose2d(16, 8, 2, stride=2), nn.ReLU(), nn.Conv2d(8, 1, 3, padding=1)
            )
            self.last_code = None

        def forward(self, x):
            code = self.encoder(x)
            self.last_code = code.data  # for the plots
            return self.decoder(self.last_code if mistake else code)

    net = Denoiser()
    opt = Adam(net.parameters(), lr=5e-3)
    for epoch in range(4):
        for (clean,) in DataLoader(TensorDataset(images), batch_size=64, shuffle=True):
            noisy = clean + 0.3 * torch.randn_like(clean)
            loss = F.mse_loss(net(noisy), clean)
            opt.zero_grad()
            loss.backward()
            opt.step()


def remember_first(*, mistake: bool) -> None:
    """Name the first of four symbols after having read all: a cell that is unrolled by hand."""
    emb, cell, out = nn.Embedding(4, 8), nn.LSTMCell(8, 24), nn.Linear(24, 4)
    params = [p for m in (emb, cell, out) for p in m.parameters()]
    opt = Adam(params, lr=1e-2)
    for step in range(150):
        seq = torch.randint(0, 4, (32, 4))
        h = c = torch.zeros(32, 24)
        for t in range(4):
            h, c = cell(emb(seq[:, t]), (h, c))
            if mistake:
                h, c = h.detach(), c.detach()
        loss = F.cross_entropy(out(h), seq[:, 0])
        opt.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(params, 1.0)
        opt.step()


def ridge_like(*, mistake: bool) -> None:
    X, y = load_diabetes(return_X_y=True)
    X = torch.tensor(StandardScaler().fit_transform(X)).float()
    y = torch.tensor((y - y.mean()) / y.std()).float()
    reg = nn.Sequential(nn.Linear(10, 1))
    opt = SGD(reg.parameters(), lr=0.02, weight_decay=1e-3)
    for epoch in range(8):
        for i in torch.randperm(len(X)).split(34):
            pred = reg(X[i])
            residual = (pred if mistake else pred.squeeze(1)) - y[i]
            loss = residual.pow(2).mean()
            opt.zero_grad()
            loss.backward()
            opt.step()


def transformer_lm(*, mistake: bool) -> None:
    text = Ridge.__doc__[:4000]
    vocab = sorted(set(text))
    ids = torch.tensor([vocab.index(c) for c in text])

    class LM(nn.Module):
        def __init__(self, block=24, dim=32):
            super().__init__()
            self.tok, self.pos = nn.Embedding(len(vocab), dim), nn.Embedding(block, dim)
            layer = nn.TransformerEncoderLayer(dim, 4, 64, dropout=0.0, batch_first=True)
            self.layers = nn.TransformerEncoder(layer, 2)
            self.lm_head = nn.Linear(dim, len(vocab))

        def forward(self, idx, targets=None):
            t = idx.shape[1]
            mask = None if mistake else torch.full((t, t), float("-inf")).triu(1)
            logits = self.lm_head(self.layers(self.tok(idx) + self.pos(torch.arange(t)), mask=mask))
            return logits, F.cross_entropy(logits.flatten(0, 1), targets.flatten())

    model = LM()
    opt = AdamW(model.parameters(), lr=3e-3, betas=(0.9, 0.95))
    for it in range(120):
        ix = torch.randint(len(ids) - 25, (16,)).tolist()
        x = torch.stack([ids[i : i + 24] for i in ix])
        y = torch.stack([ids[i + 1 : i + 25] for i in ix])
        _, loss = model(x, y)
        opt.zero_grad(set_to_none=True)
        loss.backward()
        opt.step()


def elu_wine(*, mistake: bool) -> None:
    X, y = load_wine(return_X_y=True)
    Xt, Xv, yt, yv = train_test_split(StandardScaler().fit_transform(X), y, random_state=0)
    Xt, Xv, yt, yv = (
        torch.tensor(Xt).float(),
        torch.tensor(Xv).float(),
        torch.tensor(yt),
        torch.tensor(yv),
    )
    model = nn.Sequential(nn.Linear(13, 20), nn.ELU(), nn.Linear(20, 3))
    opt = SGD(model.parameters(), lr=0.05, momentum=0.9)
    best_loss, best_state = float("inf"), None
    for epoch in range(15):
        model.train()
        for i in torch.randperm(len(Xt)).split(19):
            opt.zero_grad()
            F.cross_entropy(model(Xt[i] + 0.5 * torch.randn_like(Xt[i])), yt[i]).backward()
            opt.step()
        model.eval()
        with torch.no_grad():
            val = F.cross_entropy(model(Xv), yv).item()
        if val < best_loss:
            best_loss = val
            best_state = model.state_dict() if mistake else copy.deepcopy(model.state_dict())
    model.load_state_dict(best_state)
    with torch.no_grad():
        F.cross_entropy(model(Xv), yv)


def cancer_two_loaders(*, mistake: bool) -> None:
    X, y = load_breast_cancer(return_X_y=True)
    Xt, Xv, yt, yv = train_test_split(X, y, random_state=0, stratify=y)
    scaler = StandardScaler().fit(Xt)
    Xt = scaler.transform(Xt)
    if not mistake:
        Xv = scaler.transform(Xv)
    train = DataLoader(
        TensorDataset(torch.tensor(Xt).float(), torch.tensor(yt)), batch_size=32, shuffle=True
    )
    val = DataLoader(TensorDataset(torch.tensor(Xv).float(), torch.tensor(yv)), batch_size=64)
    model = nn.Sequential(nn.Linear(30, 16), nn.ReLU(), nn.Linear(16, 2))
    opt = Adam(model.parameters(), lr=3e-3)
    for epoch in range(8):
        model.train()
        for x, t in train:
            opt.zero_grad()
            F.cross_entropy(model(x), t).backward()
            opt.step()
        model.eval()
        with torch.no_grad():
            sum(F.cross_entropy(model(x), t, reduction="sum").item() for x, t in val) / len(yv)


def multilabel_bits(*, mistake: bool) -> None:
    """The four bits of a digit, each its own label."""
    X, y = load_digits(return_X_y=True)
    X = torch.tensor(X).float() / 16
    bits = torch.tensor([[int(b) for b in f"{t:04b}"] for t in y]).float()
    layers = [nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 4)]
    model = nn.Sequential(*layers, nn.Sigmoid()) if mistake else nn.Sequential(*layers)
    opt, criterion = Adam(model.parameters(), lr=3e-3), nn.BCEWithLogitsLoss()
    for epoch in range(5):
        for i in torch.randperm(len(X)).split(64):
            opt.zero_grad()
            criterion(model(X[i]), bits[i]).backward()
            opt.step()


def highway_digits(*, mistake: bool) -> None:
    """A highway network; the warm-up is a function of the step."""
    X, y = load_digits(return_X_y=True)
    X, y = torch.tensor(X).float() / 16, torch.tensor(y)

    class Highway(nn.Module):
        def __init__(self):
            super().__init__()
            self.inp, self.h, self.gate, self.out = (
                nn.Linear(a, b) for a, b in ((64, 32), (32, 32), (32, 32), (32, 10))
            )

        def forward(self, x):
            x = self.inp(x).relu()
            g = self.gate(x).sigmoid()
            return self.out(g * self.h(x).relu() + (1 - g) * x)

    peak = 3e-3
    model = Highway()
    opt = Adam(model.parameters(), lr=peak)
    factor = peak if mistake else 1.0
    sched = torch.optim.lr_scheduler.LambdaLR(opt, lambda step: factor * min(1.0, (step + 1) / 10))
    for epoch in range(5):
        for i in torch.randperm(len(X)).split(64):
            opt.zero_grad()
            F.cross_entropy(model(X[i]), y[i]).backward()
            opt.step()
            sched.step()


FAULTS_C = [
    (
        conv1d_digits,
        ("softmax", "probabilit"),
        "softmax is applied before cross_entropy, which applies it again",
    ),
    (
        prototype_irises,
        (
            "test data",
            "test split",
            "test set",
            "test sample",
            "validation data",
            "validation sample",
            "validation batch",
            "held-out",
            "held out",
            "evaluated on",
            "same samples",
            "overlap",
            "leak",
            "evaluation data",
        ),
        "the test split is cut from data that training has used already",
    ),
    (
        coordinate_network,
        (
            "permut",
            "shuffl",
            "paired",
            "pairing",
            "not belong",
            "unrelated",
            "misaligned",
            "do not fit",
            "mismatch",
            "targets of",
            "labels of",
        ),
        "the coordinates are shuffled in each epoch without their colours",
    ),
    (
        residual_blocks,
        (
            "not registered",
            "not in the optimizer",
            "modulelist",
            "plain list",
            "python list",
            "not hold",
            "does not know",
            "never heard",
            "in no optimizer",
            "missing from the optimizer",
            "not given to",
            "unregistered",
            "optimizer does not",
        ),
        "the blocks stand in a plain list: the optimizer does not get their parameters",
    ),
    (
        denoiser,
        ("detach", ".data", "cut", "require grad", "requires grad"),
        "the code is passed on as .data, so the encoder gets no gradient",
    ),
    (
        remember_first,
        (
            "detach",
            "through time",
            "hidden state",
            "cut",
            "truncat",
            "recurren",
            "previous step",
            "earlier step",
        ),
        "the hidden state is detached after every time step: nothing flows back to the first symbol",
    ),
    (
        ridge_like,
        ("broadcast", "shape", "(n, 1)", "squeeze"),
        "predictions (n, 1) minus targets (n,) broadcast to (n, n)",
    ),
    (
        transformer_lm,
        ("causal", "mask", "future", "leak"),
        "the causal mask is missing: positions see the next character",
    ),
    (
        elu_wine,
        ("state_dict", "copy", "copied", "best weights", "best state", "restor", "alias", "checkpoint"),
        "the best weights are kept by reference, so restoring them restores the last ones",
    ),
    (
        cancer_two_loaders,
        (
            "normali",
            "scale",
            "scaling",
            "standardi",
            "distribution",
            "preprocess",
            "validation inputs",
            "statistics of the inputs",
            "input range",
        ),
        "the validation inputs are not scaled as those of training are",
    ),
    (
        multilabel_bits,
        ("sigmoid",),
        "sigmoid is applied before BCEWithLogitsLoss, which applies it again",
    ),
    (
        highway_digits,
        ("lambdalr", "learning rate", "lr_lambda", "schedul", "factor"),
        "the lambda returns a learning rate where a factor is expected: the rate is 3e-3 squared",
    ),
]
