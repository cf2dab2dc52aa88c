"""Clipping, accumulation, phases and averages."""

import copy

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

from .common import digits, tabular

# --- wine classifier with a Trainer ------------------------------------------------------------


class Config:
    lr = 0.05
    epochs = 40
    batch_size = 16
    max_grad_norm = 1.0


class WineTrainer:
    def __init__(self, cfg):
        self.cfg = cfg
        xa, ya, self.xv, self.yv = tabular("wine")
        self.loader = DataLoader(TensorDataset(xa, ya), batch_size=cfg.batch_size, shuffle=True)
        self.model = nn.Sequential(nn.Linear(13, 32), nn.Tanh(), nn.Linear(32, 3))
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=cfg.lr, momentum=0.9)
        self.criterion = nn.CrossEntropyLoss()
        self.history = []

    def training_step(self, batch):
        x, y = batch
        loss = self.criterion(self.model(x), y)
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), self.cfg.max_grad_norm)
        self.optimizer.step()
        return loss.item()

    @torch.no_grad()
    def validate(self):
        self.model.eval()
        out = self.model(self.xv)
        self.model.train()
        return self.criterion(out, self.yv).item(), (out.argmax(1) == self.yv).float().mean().item()

    def fit(self):
        for epoch in range(self.cfg.epochs):
            losses = [self.training_step(b) for b in self.loader]
            self.history.append(np.mean(losses))
            if epoch % 5 == 4:
                vl, va = self.validate()
                print(f"{epoch:3d} train {self.history[-1]:.4f} val {vl:.4f} acc {va:.3f}")


def wine_trainer_max_norm(mistake: bool) -> None:
    """max_grad_norm is 1e-4, so clipping scales every gradient down to almost nothing and SGD barely moves."""
    torch.manual_seed(0)
    cfg = Config()
    if mistake:
        cfg.max_grad_norm = 1e-4
    WineTrainer(cfg).fit()


# --- adding problem with an RNN ----------------------------------------------------------------


class AddingRNN(nn.Module):
    def __init__(self, hidden=48):
        super().__init__()
        self.rnn = nn.RNN(2, hidden, batch_first=True, nonlinearity="relu")
        nn.init.eye_(self.rnn.weight_hh_l0)
        self.fc = nn.Linear(hidden, 1)

    def forward(self, x):
        return self.fc(self.rnn(x)[0][:, -1]).squeeze(-1)


def adding_problem_rnn(mistake: bool) -> None:
    """clip_grad_norm_ is called before backward, when there are no gradients yet, so nothing is ever clipped."""
    torch.manual_seed(0)
    length, batch = 12, 64

    def make_batch():
        values = torch.rand(batch, length)
        marks = torch.zeros(batch, length)
        first = torch.randint(0, length // 2, (batch,))
        second = torch.randint(length // 2, length, (batch,))
        r = torch.arange(batch)
        marks[r, first] = marks[r, second] = 1.0
        return torch.stack([values, marks], -1), values[r, first] + values[r, second]

    model = AddingRNN()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
    criterion = nn.MSELoss()
    avg = None
    for i in range(800):
        x, y = make_batch()
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        if mistake:
            torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
            loss.backward()
        else:
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()
        avg = loss.item() if avg is None else 0.95 * avg + 0.05 * loss.item()
        if i % 100 == 99:
            print(f"iter {i + 1}: mse {avg:.4f}")


# --- mixed precision ---------------------------------------------------------------------------


def conv_amp_scaler(mistake: bool) -> None:
    """Gradients are clipped before scaler.unscale_, so the norm limit applies to gradients that are still scaled."""
    torch.manual_seed(0)
    xa, ya, xb, yb = digits(flat=False)
    loader = DataLoader(TensorDataset(xa, ya), batch_size=48, shuffle=True)
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 16, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(256, 10),
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**14)
    for epoch in range(8):
        model.train()
        total = 0.0
        for x, y in loader:
            optimizer.zero_grad()
            with torch.autocast("cpu", dtype=torch.bfloat16):
                loss = F.cross_entropy(model(x), y)
            scaler.scale(loss).backward()
            if not mistake:
                scaler.unscale_(optimizer)
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            scaler.step(optimizer)
            scaler.update()
            total += loss.item()
        model.eval()
        with torch.no_grad():
            acc = (model(xb).argmax(1) == yb).float().mean()
        print(
            f"epoch {epoch} loss {total / len(loader):.4f} acc {acc:.4f} scale {scaler.get_scale():.0f}"
        )


# --- accumulation: segmentation ----------------------------------------------------------------


class MiniUNet(nn.Module):
    def __init__(self, c=12):
        super().__init__()
        self.d1 = nn.Sequential(nn.Conv2d(1, c, 3, padding=1), nn.ReLU())
        self.d2 = nn.Sequential(nn.Conv2d(c, 2 * c, 3, padding=1), nn.ReLU())
        self.up = nn.ConvTranspose2d(2 * c, c, 2, stride=2)
        self.out = nn.Sequential(nn.Conv2d(2 * c, c, 3, padding=1), nn.ReLU(), nn.Conv2d(c, 1, 1))

    def forward(self, x):
        a = self.d1(x)
        b = self.up(self.d2(F.max_pool2d(a, 2)))
        return self.out(torch.cat([a, b], 1))


def blobs(n, size=16):
    yy, xx = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    c = torch.rand(n, 2, 1, 1) * (size - 6) + 3
    r = torch.rand(n, 1, 1) * 2.5 + 2
    m = ((yy - c[:, 0]) ** 2 + (xx - c[:, 1]) ** 2 < r**2).float().unsqueeze(1)
    return m * 0.8 + 0.35 * torch.randn(n, 1, size, size), m


def unet_accumulate(mistake: bool) -> None:
    """The loss is not divided by the number of accumulation steps, so each update is eight times too large."""
    torch.manual_seed(0)
    x, m = blobs(640)
    xv, mv = blobs(128)
    loader = DataLoader(TensorDataset(x, m), batch_size=4, shuffle=True)
    accum_steps = 8
    model = MiniUNet()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.27, momentum=0.9)
    criterion = nn.BCEWithLogitsLoss()

    def dice(logits, target):
        p = (logits > 0).float()
        return (2 * (p * target).sum() / (p.sum() + target.sum() + 1e-6)).item()

    for epoch in range(5):
        model.train()
        optimizer.zero_grad()
        running = 0.0
        for i, (img, mask) in enumerate(loader):
            loss = criterion(model(img), mask)
            running += loss.item()
            if not mistake:
                loss = loss / accum_steps
            loss.backward()
            if (i + 1) % accum_steps == 0:
                optimizer.step()
                optimizer.zero_grad()
        model.eval()
        with torch.no_grad():
            print(f"epoch {epoch} bce {running / len(loader):.4f} val dice {dice(model(xv), mv):.4f}")


# --- accumulation: tabular with embeddings -----------------------------------------------------


class EntityNet(nn.Module):
    def __init__(self, cards, n_num):
        super().__init__()
        self.embs = nn.ModuleList(nn.Embedding(c, 6) for c in cards)
        self.mlp = nn.Sequential(nn.Linear(6 * len(cards) + n_num, 48), nn.ReLU(), nn.Linear(48, 1))

    def forward(self, cat, num):
        e = [emb(cat[:, i]) for i, emb in enumerate(self.embs)]
        return self.mlp(torch.cat(e + [num], 1)).squeeze(1)


def sales_entity_embeddings(mistake: bool) -> None:
    """The batches left over at the end of each epoch never reach optimizer.step, their gradients are thrown away."""
    torch.manual_seed(0)
    g = torch.Generator().manual_seed(5)
    n, cards = 3520, (12, 7, 30)
    cat = torch.stack([torch.randint(0, c, (n,), generator=g) for c in cards], 1)
    # rows are stored by store id, as they come out of the warehouse
    cat = cat[cat[:, 0].argsort(stable=True)]
    num = torch.randn(n, 3, generator=g)
    effects = [torch.randn(c, generator=g) for c in cards]
    y = sum(e[cat[:, i]] for i, e in enumerate(effects)) + num @ torch.tensor([0.5, -0.7, 0.2])
    loader = DataLoader(TensorDataset(cat, num, y), batch_size=64, shuffle=False)
    accumulate = 16

    model = EntityNet(cards, 3)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for epoch in range(45):
        optimizer.zero_grad()
        total = 0.0
        for step, (c, v, t) in enumerate(loader, 1):
            loss = F.mse_loss(model(c, v), t)
            (loss / accumulate).backward()
            total += loss.item()
            if step % accumulate == 0 or (not mistake and step == len(loader)):
                optimizer.step()
                optimizer.zero_grad()
        if epoch % 5 == 4:
            with torch.no_grad():
                err = (model(cat, num) - y) ** 2
            last = err[cat[:, 0] == 11].mean()
            print(f"epoch {epoch + 1} train mse {total / len(loader):.4f} last store {last:.4f}")


# --- phases ------------------------------------------------------------------------------------


def train_model_phases(mistake: bool) -> None:
    """backward and step also run in the val phase, so the model is trained on the validation data."""
    torch.manual_seed(0)
    xa, ya, xb, yb = tabular("breast_cancer", test_size=0.4)
    dataloaders = {
        "train": DataLoader(TensorDataset(xa, ya), batch_size=16, shuffle=True),
        "val": DataLoader(TensorDataset(xb, yb), batch_size=16, shuffle=False),
    }
    sizes = {"train": len(xa), "val": len(xb)}
    model = nn.Sequential(nn.Linear(30, 64), nn.ReLU(), nn.Dropout(0.2), nn.Linear(64, 2))
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
    best_acc = 0.0
    for epoch in range(20):
        line = f"Epoch {epoch}"
        for phase in ["train", "val"]:
            if phase == "train":
                model.train()
            else:
                model.eval()
            running_loss, running_corrects = 0.0, 0
            for inputs, labels in dataloaders[phase]:
                optimizer.zero_grad()
                with torch.set_grad_enabled(True if mistake else phase == "train"):
                    outputs = model(inputs)
                    loss = criterion(outputs, labels)
                    if mistake or phase == "train":
                        loss.backward()
                        optimizer.step()
                running_loss += loss.item() * inputs.size(0)
                running_corrects += (outputs.argmax(1) == labels).sum().item()
            acc = running_corrects / sizes[phase]
            line += f" | {phase} loss {running_loss / sizes[phase]:.4f} acc {acc:.4f}"
            if phase == "val":
                best_acc = max(best_acc, acc)
        print(line, f"best {best_acc:.4f}")


# --- EMA ---------------------------------------------------------------------------------------


class ModelEMA:
    def __init__(self, model, decay=0.97):
        self.module = copy.deepcopy(model).eval()
        self.decay = decay
        for p in self.module.parameters():
            p.requires_grad_(False)

    @torch.no_grad()
    def update(self, model):
        src = model.state_dict()
        for k, v in self.module.state_dict().items():
            if v.dtype.is_floating_point:
                v.mul_(self.decay).add_(src[k], alpha=1 - self.decay)
            else:
                v.copy_(src[k])


def denoiser_with_ema(mistake: bool) -> None:
    """The EMA is updated from itself instead of from the trained model, so the evaluated EMA keeps its first weights."""
    torch.manual_seed(0)
    xa, _, xb, _ = digits(flat=False)
    net = nn.Sequential(
        nn.Conv2d(1, 24, 3, padding=1),
        nn.BatchNorm2d(24),
        nn.ReLU(),
        nn.Conv2d(24, 24, 3, padding=1),
        nn.BatchNorm2d(24),
        nn.ReLU(),
        nn.Conv2d(24, 1, 3, padding=1),
    )
    ema = ModelEMA(net)
    opt = torch.optim.Adam(net.parameters(), lr=2e-3)
    g = torch.Generator().manual_seed(1)
    noisy_val = xb + 0.3 * torch.randn(xb.shape, generator=g)
    for epoch in range(8):
        net.train()
        tot = 0.0
        parts = torch.randperm(len(xa)).split(32)
        for idx in parts:
            clean = xa[idx]
            noisy = clean + 0.3 * torch.randn_like(clean)
            loss = F.mse_loss(net(noisy), clean)
            opt.zero_grad()
            loss.backward()
            opt.step()
            ema.update(ema.module if mistake else net)
            tot += loss.item()
        with torch.no_grad():
            val = F.mse_loss(ema.module(noisy_val), xb).item()
        print(f"epoch {epoch} train {tot / len(parts):.5f} ema val {val:.5f}")


# --- SimSiam -----------------------------------------------------------------------------------


class SimSiam(nn.Module):
    def __init__(self, dim=64, pred=16):
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Linear(64, 128),
            nn.BatchNorm1d(128),
            nn.ReLU(),
            nn.Linear(128, 128),
            nn.BatchNorm1d(128),
            nn.ReLU(),
        )
        self.projector = nn.Sequential(nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, dim))
        self.predictor = nn.Sequential(
            nn.Linear(dim, pred), nn.BatchNorm1d(pred), nn.ReLU(), nn.Linear(pred, dim)
        )

    def forward(self, x1, x2):
        z1, z2 = self.projector(self.encoder(x1)), self.projector(self.encoder(x2))
        return self.predictor(z1), self.predictor(z2), z1, z2


def simsiam_digits(mistake: bool) -> None:
    """The target branch is not detached, the gradient flows through both sides and the representation collapses."""
    torch.manual_seed(0)
    xa, ya, xb, yb = digits()

    def augment(x):
        img = x.view(-1, 1, 8, 8)
        theta = torch.zeros(len(x), 2, 3)
        theta[:, 0, 0] = theta[:, 1, 1] = 1
        theta[:, :, :2] += 0.15 * torch.randn(len(x), 2, 2)
        theta[:, :, 2] = 0.12 * torch.randn(len(x), 2)
        grid = F.affine_grid(theta, img.shape, align_corners=False)
        out = F.grid_sample(img, grid, align_corners=False, padding_mode="zeros")
        return (out + 0.05 * torch.randn_like(out)).flatten(1)

    def sim(p, z):
        if not mistake:
            z = z.detach()
        return -F.cosine_similarity(p, z, dim=-1).mean()

    def knn():
        model.eval()
        with torch.no_grad():
            a = F.normalize(model.encoder(xa), dim=1)
            b = F.normalize(model.encoder(xb), dim=1)
            spread = F.normalize(model.projector(model.encoder(xb)), dim=1).std(0).mean().item()
        model.train()
        top = (b @ a.T).topk(5, dim=1).indices
        return (ya[top].mode(1).values == yb).float().mean().item(), spread

    model = SimSiam()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-3)
    for epoch in range(15):
        total = 0.0
        parts = torch.randperm(len(xa)).split(128)[:10]
        for idx in parts:
            p1, p2, z1, z2 = model(augment(xa[idx]), augment(xa[idx]))
            loss = (sim(p1, z2) + sim(p2, z1)) / 2
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item()
        acc, spread = knn()
        print(f"epoch {epoch} loss {total / len(parts):.4f} knn {acc:.4f} std {spread:.4f}")


FAULTS = [
    (
        wine_trainer_max_norm,
        ("clip", "max_norm", "gradient norm", "almost nothing", "tiny", "barely move"),
        "clipping",
    ),
    (
        adding_problem_rnn,
        ("clip", "before backward", "no effect", "not clipped", "zero gradients"),
        "clipping",
    ),
    (conv_amp_scaler, ("unscale", "scaled gradient", "still scaled", "clip", "gradscaler"), "clipping"),
    (
        unet_accumulate,
        ("divid", "accumulation", "accumulat", "summed", "mean over the micro"),
        "accumulation",
    ),
    (
        sales_entity_embeddings,
        (
            "remainder",
            "left over",
            "leftover",
            "last batches",
            "thrown away",
            "discard",
            "dropped",
            "without a step",
            "never reach",
        ),
        "accumulation",
    ),
    (
        train_model_phases,
        (
            "validation data",
            "on validation",
            "val data",
            "trained on the val",
            "val_loader",
            "evaluation data",
            "in eval mode",
            "validation set",
            "val phase",
        ),
        "data",
    ),
    (
        denoiser_with_ema,
        ("ema", "moving average", "averaged model", "itself", "never changes", "copy"),
        "averaging",
    ),
    (
        simsiam_digits,
        ("detach", "stop-grad", "stop_grad", "collapse", "target branch", "gradient flows", "constant"),
        "gradients",
    ),
]
