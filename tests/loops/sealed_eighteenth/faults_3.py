"""Remote sensing: land cover, floods, heights."""

import copy

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset, random_split

from .common import flood_masks, patches, seed_all


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, padding=1)
        self.pool = nn.MaxPool2d(2, 2)
        self.conv2 = nn.Conv2d(8, 16, 3, padding=1)
        self.fc1 = nn.Linear(16 * 4 * 4, 48)
        self.fc2 = nn.Linear(48, 5)

    def forward(self, x):
        x = self.pool(F.relu(self.conv1(x)))
        x = self.pool(F.relu(self.conv2(x)))
        x = torch.flatten(x, 1)
        return self.fc2(F.relu(self.fc1(x)))


def landcover_tutorial(mistake: bool) -> None:
    """optimizer.zero_grad() is missing, so gradients of all earlier batches add up."""
    seed_all(1)
    images, labels, _ = patches(1600, bands=3)
    trainset = TensorDataset(images[:1300], labels[:1300])
    testset = TensorDataset(images[1300:], labels[1300:])
    trainloader = DataLoader(trainset, batch_size=32, shuffle=True)
    testloader = DataLoader(testset, batch_size=100, shuffle=False)

    net = Net()
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)

    for epoch in range(6):
        running_loss = 0.0
        for i, data in enumerate(trainloader, 0):
            inputs, targets = data
            if not mistake:
                optimizer.zero_grad()
            outputs = net(inputs)
            loss = criterion(outputs, targets)
            loss.backward()
            optimizer.step()
            running_loss += loss.item()
        print(f"[{epoch + 1}] loss: {running_loss / len(trainloader):.3f}")

    net.eval()
    correct, total = 0, 0
    with torch.no_grad():
        for inputs, targets in testloader:
            predicted = net(inputs).argmax(1)
            total += targets.size(0)
            correct += (predicted == targets).sum().item()
    print(f"accuracy {correct / total:.3f}")


class CoverAndHeight(nn.Module):
    def __init__(self):
        super().__init__()
        self.trunk = nn.Sequential(
            nn.Conv2d(4, 16, 3, padding=1),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(16, 24, 3, padding=1),
            nn.BatchNorm2d(24),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
        )
        self.cover = nn.Linear(24 * 16, 5)
        self.height = nn.Linear(24 * 16, 1)

    def forward(self, x):
        h = self.trunk(x)
        return {"cover": self.cover(h), "height": self.height(h).squeeze(1)}


class MultiTaskLearner:
    def __init__(self, cfg):
        self.cfg = cfg
        self.model = CoverAndHeight()
        self.opt = torch.optim.Adam(self.model.parameters(), lr=cfg["lr"])

    def losses(self, batch):
        x, cover, height = batch
        out = self.model(x)
        loss_cover = F.cross_entropy(out["cover"], cover)
        loss_height = F.mse_loss(out["height"], height)
        loss = loss_cover + self.cfg["height_weight"] * loss_height
        return loss, loss_cover, loss_height

    def fit(self, loader, mistake):
        for epoch in range(self.cfg["epochs"]):
            self.model.train()
            logs = []
            for batch in loader:
                loss, loss_cover, loss_height = self.losses(batch)
                self.opt.zero_grad()
                if mistake:
                    loss_cover.backward()
                else:
                    loss.backward()
                self.opt.step()
                logs.append((loss.item(), loss_cover.item(), loss_height.item()))
            print(epoch, [round(sum(v) / len(v), 3) for v in zip(*logs)])

    @torch.no_grad()
    def evaluate(self, x, cover, height):
        self.model.eval()
        out = self.model(x)
        r2 = 1 - ((out["height"] - height) ** 2).mean() / height.var()
        return (out["cover"].argmax(1) == cover).float().mean().item(), r2.item()


def cover_and_height(mistake: bool) -> None:
    """The weighted sum of both tasks is computed and logged, but backward runs on the cover loss alone, so the height head never learns."""
    seed_all(2)
    x, cover, height = patches(2300, noise=0.1)
    learner = MultiTaskLearner({"lr": 2e-3, "epochs": 16, "height_weight": 5.0})
    loader = DataLoader(
        TensorDataset(x[:2000], cover[:2000], height[:2000]), batch_size=32, shuffle=True
    )
    learner.fit(loader, mistake)
    print("accuracy, height R2", learner.evaluate(x[2000:], cover[2000:], height[2000:]))


class SmallUNet(nn.Module):
    def __init__(self, width=12):
        super().__init__()
        self.down = nn.Sequential(nn.Conv2d(2, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU())
        self.mid = nn.Sequential(
            nn.MaxPool2d(2),
            nn.Conv2d(width, 2 * width, 3, padding=1),
            nn.BatchNorm2d(2 * width),
            nn.ReLU(),
            nn.Dropout2d(0.3),
            nn.ConvTranspose2d(2 * width, width, 2, stride=2),
        )
        self.out = nn.Sequential(
            nn.Conv2d(2 * width, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, 1, 1)
        )

    def forward(self, x):
        d = self.down(x)
        return self.out(torch.cat([d, self.mid(d)], 1)).squeeze(1)


def dice(logits, mask):
    p = (logits > 0).float()
    return (2 * (p * mask).sum() / (p.sum() + mask.sum() + 1e-6)).item()


def flood_segmentation(mistake: bool) -> None:
    """validate() puts the U-Net in eval mode and nobody calls train() again, so from the second epoch on it trains without dropout and with frozen BatchNorm statistics."""
    seed_all(3)
    x, m = flood_masks(500)
    train = DataLoader(TensorDataset(x[:400], m[:400]), batch_size=16, shuffle=True)
    val = DataLoader(TensorDataset(x[400:], m[400:]), batch_size=50)
    model = SmallUNet()
    opt = torch.optim.AdamW(model.parameters(), lr=3e-3)
    bce = nn.BCEWithLogitsLoss()

    def validate():
        model.eval()
        scores = []
        with torch.no_grad():
            for images, masks in val:
                scores.append(dice(model(images), masks))
        return sum(scores) / len(scores)

    model.train()
    for epoch in range(8):
        if not mistake:
            model.train()
        total = 0.0
        for images, masks in train:
            opt.zero_grad(set_to_none=True)
            loss = bce(model(images), masks)
            loss.backward()
            opt.step()
            total += loss.item()
        print(f"epoch {epoch} bce {total / len(train):.3f} dice {validate():.3f}")


def backbone(width=16):
    return nn.Sequential(
        nn.Conv2d(4, width, 3, padding=1),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(width, 2 * width, 3, padding=1),
        nn.BatchNorm2d(2 * width),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
    )


def new_region_finetune(mistake: bool) -> None:
    """The backbone is frozen by requires_grad=False, but model.train() leaves its BatchNorm layers in train mode, so the running statistics drift to the new region."""
    seed_all(4)
    x, y, _ = patches(1200, seed=1)
    model = nn.Sequential(backbone(), nn.Linear(128, 5))
    opt = torch.optim.Adam(model.parameters(), lr=2e-3)
    for epoch in range(4):
        model.train()
        for xb, yb in DataLoader(TensorDataset(x, y), batch_size=32, shuffle=True):
            loss = F.cross_entropy(model(xb), yb)
            opt.zero_grad()
            loss.backward()
            opt.step()

    x2, y2, _ = patches(900, seed=2)
    x2 = 1.6 * x2 + 1.0
    train = DataLoader(TensorDataset(x2[:600], y2[:600]), batch_size=24, shuffle=True)
    val = DataLoader(TensorDataset(x2[600:], y2[600:]), batch_size=100)
    encoder, old_head = model[0], model[1]
    for p in encoder.parameters():
        p.requires_grad = False
    model[1] = nn.Linear(128, 5)
    opt = torch.optim.Adam(model[1].parameters(), lr=3e-3)
    for epoch in range(8):
        model.train()
        if not mistake:
            encoder.eval()
        total = 0.0
        for xb, yb in train:
            opt.zero_grad()
            loss = F.cross_entropy(model(xb), yb)
            loss.backward()
            opt.step()
            total += loss.item()
        model.eval()
        with torch.no_grad():
            hits = sum((model(xb).argmax(1) == yb).sum().item() for xb, yb in val)
        print(f"epoch {epoch} loss {total / len(train):.3f} val acc {hits / 300:.3f}")
    model.eval()
    with torch.no_grad():
        print(
            "old region with the old head:", (old_head(encoder(x)).argmax(1) == y).float().mean().item()
        )


class PatchData:
    """A small data module in the manner of Lightning."""

    def __init__(self, cfg, fixed_seed):
        self.cfg, self.fixed_seed = cfg, fixed_seed
        x, y, _ = patches(cfg["n"], noise=1.3)
        self.dataset = TensorDataset(x, y)

    def setup(self, stage):
        n_test = int(self.cfg["test_fraction"] * len(self.dataset))
        sizes = [len(self.dataset) - n_test, n_test]
        gen = torch.Generator().manual_seed(self.cfg["seed"]) if self.fixed_seed else None
        first, second = random_split(self.dataset, sizes, generator=gen)
        if stage == "fit":
            self.train = first
        if stage == "test":
            self.test = second

    def train_dataloader(self):
        return DataLoader(self.train, batch_size=self.cfg["batch_size"], shuffle=True)

    def test_dataloader(self):
        return DataLoader(self.test, batch_size=100)


def split_anew_for_the_test(mistake: bool) -> None:
    """setup() draws a new random split for stage 'test', so most of the test patches were in the training set."""
    seed_all(5)
    dm = PatchData(
        {"n": 700, "test_fraction": 0.3, "seed": 11, "batch_size": 32}, fixed_seed=not mistake
    )
    model = nn.Sequential(
        nn.Conv2d(4, 24, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(24, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(512, 64),
        nn.ReLU(),
        nn.Linear(64, 5),
    )
    opt = torch.optim.Adam(model.parameters(), lr=1e-3)
    dm.setup("fit")
    for epoch in range(14):
        model.train()
        total, seen = 0.0, 0
        for x, y in dm.train_dataloader():
            loss = F.cross_entropy(model(x), y)
            opt.zero_grad()
            loss.backward()
            opt.step()
            total += loss.item() * len(x)
            seen += len(x)
    print("train loss", total / seen)
    dm.setup("test")
    model.eval()
    hits = n = 0
    with torch.no_grad():
        for x, y in dm.test_dataloader():
            hits += (model(x).argmax(1) == y).sum().item()
            n += len(x)
    print(f"test accuracy {hits / n:.3f}")


def patch_loaders(cfg, careful):
    x, y, _ = patches(1300, noise=0.4)
    train = TensorDataset(x[:1000], y[:1000])
    test = TensorDataset(x[1000:], y[1000:])
    kwargs = dict(batch_size=cfg["batch_size"], shuffle=True, drop_last=True, num_workers=0)
    train_loader = DataLoader(train, **kwargs)
    if careful:
        kwargs.update(shuffle=False, drop_last=False)
    test_loader = DataLoader(test, **kwargs)
    return train_loader, test_loader


def shared_loader_arguments(mistake: bool) -> None:
    """The test loader is built with the training loader's shuffle=True and drop_last=True, so a different part of the test set is left out at every evaluation."""
    seed_all(6)
    train_loader, test_loader = patch_loaders({"batch_size": 64}, careful=not mistake)
    model = nn.Sequential(backbone(12), nn.Linear(96, 5))
    opt = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, nesterov=True)
    for epoch in range(8):
        model.train()
        for x, y in train_loader:
            opt.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            opt.step()
        model.eval()
        preds, targets = [], []
        with torch.no_grad():
            for x, y in test_loader:
                preds.append(model(x).argmax(1))
                targets.append(y)
        acc = (torch.cat(preds) == torch.cat(targets)).float().mean().item()
        print(f"epoch {epoch} loss {loss.item():.3f} test acc {acc:.3f} over {len(torch.cat(targets))}")


class ModelEMA:
    def __init__(self, model, decay=0.97):
        self.model = model
        self.module = copy.deepcopy(model).eval()
        self.decay = decay

    @torch.no_grad()
    def update(self):
        for e, p in zip(self.module.state_dict().values(), self.model.state_dict().values()):
            if e.dtype.is_floating_point:
                e.mul_(self.decay).add_(p, alpha=1 - self.decay)
            else:
                e.copy_(p)


def ema_of_the_old_model(mistake: bool) -> None:
    """The EMA was built on the model before adapt() returned a changed copy of it, so it averages the weights of the old object, which are never trained."""
    seed_all(7)
    x, y, _ = patches(1300, seed=5)
    train = DataLoader(TensorDataset(x[:1000], y[:1000]), batch_size=32, shuffle=True)
    model = nn.Sequential(backbone(12), nn.Linear(96, 5))

    def adapt(net):
        net = copy.deepcopy(net)
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = 0.05
        return net

    if mistake:
        ema = ModelEMA(model)
        model = adapt(model)
    else:
        model = adapt(model)
        ema = ModelEMA(model)
    opt = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=1e-3)
    for epoch in range(8):
        model.train()
        for xb, yb in train:
            loss = F.cross_entropy(model(xb), yb, label_smoothing=0.05)
            opt.zero_grad()
            loss.backward()
            opt.step()
            ema.update()
        with torch.no_grad():
            acc = (ema.module(x[1000:]).argmax(1) == y[1000:]).float().mean().item()
        print(f"epoch {epoch} loss {loss.item():.3f} ema acc {acc:.3f}")


FAULTS = [
    (
        landcover_tutorial,
        ("zero_grad", "accumulat", "not reset", "never reset", "gradients of earlier", "cleared"),
        "01 zero_grad missing",
    ),
    (
        cover_and_height,
        (
            "wrong loss",
            "height",
            "backward on",
            "not part of",
            "another loss",
            "no gradient",
            "unused",
            "never trained",
            "does not reach",
        ),
        "06 backward on the wrong loss",
    ),
    (
        flood_segmentation,
        ("eval mode", "eval()", "train()", "evaluation mode", "train mode"),
        "10 stuck in eval after validation",
    ),
    (
        new_region_finetune,
        ("batchnorm", "batch norm", "running statistics", "running stat", "running_mean"),
        "30 frozen BatchNorm left in train mode",
    ),
    (
        split_anew_for_the_test,
        (
            "overlap",
            "leak",
            "seen in training",
            "same samples",
            "trained on",
            "already used",
            "in both",
            "split",
        ),
        "35 test split cut from data used for training",
    ),
    (
        shared_loader_arguments,
        (
            "drop_last",
            "shuffle",
            "truncat",
            "left out",
            "not the whole",
            "dropped",
            "different samples",
            "part of the test",
        ),
        "36 shuffled and truncated test loader",
    ),
    (
        ema_of_the_old_model,
        ("ema", "averag", "stale", "moving average", "shadow"),
        "25 EMA of the wrong model",
    ),
]
