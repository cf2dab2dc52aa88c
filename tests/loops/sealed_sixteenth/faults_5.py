"""Image loops in the manner of research repositories."""

from dataclasses import dataclass

import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.optim as optim
from torch.utils.data import DataLoader, Dataset, TensorDataset

from .common import (
    AverageMeter,
    KeypointDataset,
    OneBoxDetection,
    ShapesSegmentation,
    digit_images,
    photo_patches,
    psnr,
    seed_everything,
    shuffled,
)


# --------------------------------------------------------------------------- 01
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, 5)
        self.pool = nn.MaxPool2d(2, 2)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.fc1 = nn.Linear(16 * 5 * 5, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, 10)

    def forward(self, x):
        x = self.pool(F.relu(self.conv1(x)))
        x = self.pool(F.relu(self.conv2(x)))
        x = torch.flatten(x, 1)
        x = F.relu(self.fc1(x))
        x = F.relu(self.fc2(x))
        return self.fc3(x)


def cifar_tutorial(mistake: bool) -> None:
    """The gradients are never zeroed, so every step uses the sum of all gradients so far."""
    torch.manual_seed(0)
    x, y = digit_images(32)
    tint = 0.5 + 0.5 * torch.rand(len(x), 3, 1, 1)
    x = (x * tint - 0.5) / 0.5
    x, y = shuffled(x, y)
    trainloader = DataLoader(TensorDataset(x[:1400], y[:1400]), batch_size=16, shuffle=True)
    testloader = DataLoader(TensorDataset(x[1400:], y[1400:]), batch_size=64, shuffle=False)

    net = Net()
    criterion = nn.CrossEntropyLoss()
    optimizer = optim.SGD(net.parameters(), lr=0.01, momentum=0.9)

    for epoch in range(6):
        running_loss = 0.0
        for i, data in enumerate(trainloader, 0):
            inputs, labels = data

            # zero the parameter gradients
            if not mistake:
                optimizer.zero_grad()

            # forward + backward + optimize
            outputs = net(inputs)
            loss = criterion(outputs, labels)
            loss.backward()
            optimizer.step()

            running_loss += loss.item()
            if i % 40 == 39:
                print(f"[{epoch + 1}, {i + 1:5d}] loss: {running_loss / 40:.3f}")
                running_loss = 0.0

    correct, total = 0, 0
    with torch.no_grad():
        for images, labels in testloader:
            outputs = net(images)
            _, predicted = torch.max(outputs.data, 1)
            total += labels.size(0)
            correct += (predicted == labels).sum().item()
    print(f"Accuracy on the {total} test images: {100 * correct / total:.1f} %")


# --------------------------------------------------------------------------- 02
class ConvBlock(nn.Sequential):
    def __init__(self, c_in, c_out):
        super().__init__(
            nn.Conv2d(c_in, c_out, 3, padding=1, bias=False), nn.BatchNorm2d(c_out), nn.ReLU(True)
        )


class TinyUNet(nn.Module):
    def __init__(self, n_classes=3, width=12):
        super().__init__()
        self.enc1 = ConvBlock(1, width)
        self.enc2 = ConvBlock(width, 2 * width)
        self.mid = ConvBlock(2 * width, 2 * width)
        self.dec1 = ConvBlock(3 * width, width)
        self.head = nn.Conv2d(width, n_classes, 1)

    def forward(self, x):
        e1 = self.enc1(x)
        e2 = self.mid(self.enc2(F.max_pool2d(e1, 2)))
        up = F.interpolate(e2, scale_factor=2, mode="nearest")
        return self.head(self.dec1(torch.cat([up, e1], 1)))


def mean_dice(pred, target, n_classes=3):
    scores = []
    for c in range(1, n_classes):
        p, t = pred == c, target == c
        scores.append((2 * (p & t).sum() + 1) / (p.sum() + t.sum() + 1))
    return float(torch.stack(scores).mean())


class SegTrainer:
    def __init__(self, model, train_loader, val_loader, epochs, lr, clear_first):
        self.model, self.epochs = model, epochs
        self.train_loader, self.val_loader = train_loader, val_loader
        self.criterion = nn.CrossEntropyLoss(weight=torch.tensor([0.5, 1.0, 1.0]))
        self.optimizer = optim.Adam(model.parameters(), lr=lr)
        self.clear_first = clear_first

    def train_step(self, images, masks):
        if self.clear_first:
            self.optimizer.zero_grad()
            loss = self.criterion(self.model(images), masks)
            loss.backward()
            self.optimizer.step()
        else:
            loss = self.criterion(self.model(images), masks)
            loss.backward()
            self.optimizer.zero_grad()
            self.optimizer.step()
        return loss.item()

    @torch.no_grad()
    def validate(self):
        self.model.eval()
        dices = [mean_dice(self.model(x).argmax(1), y) for x, y in self.val_loader]
        return sum(dices) / len(dices)

    def fit(self):
        for epoch in range(self.epochs):
            self.model.train()
            losses = AverageMeter("loss")
            for images, masks in self.train_loader:
                losses.update(self.train_step(images, masks), images.size(0))
            print(f"epoch {epoch}: loss {losses.avg:.4f} val dice {self.validate():.4f}")


def unet_segmentation_trainer(mistake: bool) -> None:
    """The gradients are cleared after backward and before step, so the optimizer has nothing to apply."""
    seed_everything(1)
    train_loader = DataLoader(ShapesSegmentation(480, seed=1), batch_size=16, shuffle=True)
    val_loader = DataLoader(ShapesSegmentation(96, seed=2), batch_size=32)
    SegTrainer(TinyUNet(), train_loader, val_loader, epochs=6, lr=2e-3, clear_first=not mistake).fit()


# --------------------------------------------------------------------------- 06
class OneBoxDetector(nn.Module):
    """Shared backbone, a class head and a box head; returns a dict of losses in training."""

    def __init__(self, num_classes=3, width=24):
        super().__init__()
        self.backbone = nn.Sequential(
            nn.Conv2d(1, width, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, 2 * width, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(2 * width * 25, 128),
            nn.ReLU(),
        )
        self.cls_head = nn.Linear(128, num_classes)
        self.box_head = nn.Sequential(nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 4), nn.Sigmoid())

    def forward(self, images, targets=None):
        feats = self.backbone(images)
        logits, boxes = self.cls_head(feats), self.box_head(feats)
        if targets is None:
            return {"scores": logits.softmax(-1), "boxes": boxes}
        return {
            "loss_classifier": F.cross_entropy(logits, targets["label"]),
            "loss_box_reg": 5.0 * F.smooth_l1_loss(boxes, targets["box"], beta=0.1),
        }


def iou_cxcywh(a, b):
    a1, a2 = a[:, :2] - a[:, 2:] / 2, a[:, :2] + a[:, 2:] / 2
    b1, b2 = b[:, :2] - b[:, 2:] / 2, b[:, :2] + b[:, 2:] / 2
    inter = (torch.min(a2, b2) - torch.max(a1, b1)).clamp(min=0).prod(1)
    return inter / (a[:, 2:].prod(1) + b[:, 2:].prod(1) - inter)


def detection_loss_dict(mistake: bool) -> None:
    """Backward is called on the classification loss alone instead of the summed losses; the box head never trains."""
    seed_everything(2)
    train_loader = DataLoader(OneBoxDetection(2000, seed=1), batch_size=32, shuffle=True)
    val_loader = DataLoader(OneBoxDetection(300, seed=2), batch_size=100)
    model = OneBoxDetector()
    optimizer = optim.AdamW(model.parameters(), lr=2e-3, weight_decay=1e-4)

    for epoch in range(16):
        model.train()
        meters = {k: AverageMeter(k) for k in ("loss", "loss_classifier", "loss_box_reg")}
        for images, targets in train_loader:
            loss_dict = model(images, targets)
            losses = sum(loss for loss in loss_dict.values())

            optimizer.zero_grad()
            if mistake:
                loss_dict["loss_classifier"].backward()
            else:
                losses.backward()
            optimizer.step()

            meters["loss"].update(losses.item())
            for k, v in loss_dict.items():
                meters[k].update(v.item())

        model.eval()
        ious, correct, n = 0.0, 0, 0
        with torch.no_grad():
            for images, targets in val_loader:
                out = model(images)
                ious += iou_cxcywh(out["boxes"], targets["box"]).sum().item()
                correct += (out["scores"].argmax(1) == targets["label"]).sum().item()
                n += len(images)
        print(
            f"epoch {epoch} "
            + " ".join(f"{k} {m.avg:.4f}" for k, m in meters.items())
            + f" | val acc {correct / n:.3f} mIoU {ious / n:.3f}"
        )


# --------------------------------------------------------------------------- 12
def soft_argmax(heatmaps):
    b, k, h, w = heatmaps.shape
    p = heatmaps.flatten(2).softmax(-1).view(b, k, h, w)
    ys = torch.linspace(0, 1, h)
    xs = torch.linspace(0, 1, w)
    return torch.stack([(p.sum(2) * xs).sum(-1), (p.sum(3) * ys).sum(-1)], -1)


class KeypointNet(nn.Module):
    def __init__(self, num_points=3, width=16):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, width, 5, padding=2),
            nn.ReLU(),
            nn.Conv2d(width, width, 5, padding=2),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=2, dilation=2),
            nn.ReLU(),
            nn.Conv2d(width, num_points, 1),
        )

    def forward(self, x):
        return soft_argmax(self.body(x))


def keypoint_iterations(mistake: bool) -> None:
    """A single batch is fetched before the loop and reused in every iteration (overfit-one-batch left in)."""
    seed_everything(3)
    train_loader = DataLoader(KeypointDataset(800, seed=1), batch_size=16, shuffle=True, drop_last=True)
    val_set = KeypointDataset(200, seed=2)
    val_x = torch.from_numpy(val_set.images)
    val_y = torch.from_numpy(val_set.points)
    model = KeypointNet()
    optimizer = optim.Adam(model.parameters(), lr=3e-3)
    max_iters, log_every = 300, 50

    data_iter = iter(train_loader)
    images, points = next(data_iter)
    for it in range(1, max_iters + 1):
        model.train()
        pred = model(images)
        loss = F.l1_loss(pred, points)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

        if not mistake:
            try:
                images, points = next(data_iter)
            except StopIteration:
                data_iter = iter(train_loader)
                images, points = next(data_iter)

        if it % log_every == 0:
            model.eval()
            with torch.no_grad():
                err = (model(val_x) - val_y).norm(dim=-1).mean().item()
            print(f"iter {it}: loss {loss.item():.4f} val NME {err:.4f}")


# --------------------------------------------------------------------------- 16
class SRDataset(Dataset):
    def __init__(self, hr):
        self.hr = hr

    def __len__(self):
        return len(self.hr)

    def __getitem__(self, i):
        hr = self.hr[i]
        return F.avg_pool2d(hr, 2), hr


class ESPCN(nn.Module):
    def __init__(self, scale=2, width=24):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, width, 5, padding=2),
            nn.Tanh(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.Tanh(),
            nn.Conv2d(width, scale * scale, 3, padding=1),
            nn.PixelShuffle(scale),
        )

    def forward(self, lr):
        return F.interpolate(lr, scale_factor=2, mode="nearest") + self.body(lr)


@dataclass
class SRConfig:
    epochs: int = 24
    batch_size: int = 16
    lr: float = 3e-3
    milestones: tuple = (16, 22)
    gamma: float = 0.1


def super_resolution_scheduler(mistake: bool) -> None:
    """MultiStepLR with milestones in epochs is stepped once per batch, so the rate has decayed within one epoch."""
    seed_everything(4)
    cfg = SRConfig()
    patches = shuffled(photo_patches(), seed=4)[0]
    train_loader = DataLoader(SRDataset(patches[:256]), batch_size=cfg.batch_size, shuffle=True)
    val_loader = DataLoader(SRDataset(patches[256:]), batch_size=64)
    model = ESPCN()
    optimizer = optim.Adam(model.parameters(), lr=cfg.lr)
    scheduler = optim.lr_scheduler.MultiStepLR(
        optimizer, milestones=list(cfg.milestones), gamma=cfg.gamma
    )

    for epoch in range(1, cfg.epochs + 1):
        model.train()
        meter = AverageMeter()
        for lr_img, hr_img in train_loader:
            loss = F.mse_loss(model(lr_img), hr_img)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if mistake:
                scheduler.step()
            meter.update(loss.item(), len(lr_img))
        if not mistake:
            scheduler.step()

        model.eval()
        with torch.no_grad():
            val = [psnr(model(a), b) for a, b in val_loader]
        print(f"Epoch {epoch}: loss {meter.avg:.5f} PSNR {sum(val) / len(val):.2f} dB")


# --------------------------------------------------------------------------- 21
class CrowdDataset(Dataset):
    """Dots on a noisy ground; the target is a density map whose sum is the count."""

    def __init__(self, n, size=24, seed=0):
        g = torch.Generator().manual_seed(seed)
        ax = torch.arange(size).float()
        self.images, self.density = [], []
        for _ in range(n):
            k = int(torch.randint(2, 15, (1,), generator=g))
            c = 2 + (size - 4) * torch.rand(k, 2, generator=g)
            d = (ax[None, :, None] - c[:, 0, None, None]) ** 2 + (
                ax[None, None, :] - c[:, 1, None, None]
            ) ** 2
            self.images.append(
                (torch.exp(-d / 1.5).sum(0) + 0.3 * torch.rand(size, size, generator=g))[None]
            )
            dens = torch.exp(-d / 4.0)
            self.density.append((dens / dens.sum((1, 2), keepdim=True)).sum(0)[None])

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        return self.images[i], self.density[i]


class CounterTrainer:
    density_scale = 10.0

    def __init__(self, model, optimizer, accum_steps, normalize):
        self.model, self.optimizer = model, optimizer
        self.accum_steps, self.normalize = accum_steps, normalize

    def train_one_epoch(self, loader):
        self.model.train()
        meter = AverageMeter()
        self.optimizer.zero_grad()
        for step, (images, density) in enumerate(loader):
            loss = F.mse_loss(self.model(images), density * self.density_scale)
            meter.update(loss.item(), len(images))
            if self.normalize:
                loss = loss / self.accum_steps
            loss.backward()
            if (step + 1) % self.accum_steps == 0:
                self.optimizer.step()
                self.optimizer.zero_grad()
        return meter.avg

    @torch.no_grad()
    def evaluate(self, loader):
        self.model.eval()
        mae = AverageMeter()
        for images, density in loader:
            count = self.model(images).sum((1, 2, 3)) / self.density_scale
            mae.update((count - density.sum((1, 2, 3))).abs().mean().item(), len(images))
        return mae.avg


def crowd_counting_accumulation(mistake: bool) -> None:
    """The loss of each micro batch is not divided by the number of accumulation steps: the gradient is 8 times too big."""
    seed_everything(5)
    train_loader = DataLoader(CrowdDataset(640, seed=1), batch_size=4, shuffle=True)
    val_loader = DataLoader(CrowdDataset(120, seed=2), batch_size=40)
    model = nn.Sequential(
        nn.Conv2d(1, 16, 5, padding=2),
        nn.ReLU(),
        nn.Conv2d(16, 16, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 1, 1),
    )
    optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    trainer = CounterTrainer(model, optimizer, accum_steps=8, normalize=not mistake)
    for epoch in range(10):
        loss = trainer.train_one_epoch(train_loader)
        print(f"epoch {epoch}: loss {loss:.4f} val MAE {trainer.evaluate(val_loader):.3f}")


# --------------------------------------------------------------------------- 30
class Backbone(nn.Module):
    def __init__(self, width=16):
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(1, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, 2 * width, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(2 * width),
            nn.ReLU(),
            nn.Conv2d(2 * width, 2 * width, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(2 * width),
            nn.ReLU(),
            nn.Flatten(),
        )
        self.num_features = 2 * width * 4

    def forward(self, x):
        return self.net(x)


class MultiTaskModel(nn.Module):
    """A shipped digit reader gets a second head (slant regression) on its frozen backbone."""

    def __init__(self, backbone, digit_head, keep_backbone_eval):
        super().__init__()
        self.backbone, self.digit_head = backbone, digit_head
        self.slant_head = nn.Sequential(
            nn.Linear(backbone.num_features, 64), nn.ReLU(), nn.Linear(64, 1)
        )
        self.keep_backbone_eval = keep_backbone_eval
        for p in list(self.backbone.parameters()) + list(self.digit_head.parameters()):
            p.requires_grad_(False)

    def train(self, mode=True):
        super().train(mode)
        if self.keep_backbone_eval:
            self.backbone.eval()
        return self

    def forward(self, x):
        f = self.backbone(x)
        return self.digit_head(f), self.slant_head(f).squeeze(-1)


def shear(images, s):
    theta = torch.zeros(len(images), 2, 3)
    theta[:, 0, 0] = theta[:, 1, 1] = 1
    theta[:, 0, 1] = s
    return F.grid_sample(
        images, F.affine_grid(theta, images.shape, align_corners=False), align_corners=False
    )


def frozen_backbone_second_head(mistake: bool) -> None:
    """The backbone is frozen, but model.train() puts its BatchNorm layers in train mode: running statistics drift."""
    seed_everything(6)
    x, y = shuffled(*digit_images(8), seed=6)
    backbone = Backbone()
    digit_head = nn.Linear(backbone.num_features, 10)
    pretrain = nn.Sequential(backbone, digit_head)
    opt = optim.Adam(pretrain.parameters(), lr=2e-3)
    for _ in range(3):
        for xb, yb in DataLoader(TensorDataset(x[:900], y[:900]), batch_size=32, shuffle=True):
            opt.zero_grad()
            F.cross_entropy(pretrain(xb), yb).backward()
            opt.step()
    pretrain.eval()

    slant = torch.rand(len(x)) * 1.6 - 0.8
    new_domain = 0.4 * shear(x, slant) + 0.5
    train_loader = DataLoader(
        TensorDataset(new_domain[900:1500], slant[900:1500]), batch_size=8, shuffle=True
    )
    model = MultiTaskModel(backbone, digit_head, keep_backbone_eval=not mistake)
    optimizer = optim.AdamW((p for p in model.parameters() if p.requires_grad), lr=1e-3)

    for epoch in range(16):
        model.train()
        meter = AverageMeter()
        for xb, s in train_loader:
            _, pred = model(xb)
            loss = F.mse_loss(pred, s)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            meter.update(loss.item(), len(xb))
        model.eval()
        with torch.no_grad():
            acc = (model(x[1500:])[0].argmax(1) == y[1500:]).float().mean().item()
            mae = (model(new_domain[1500:])[1] - slant[1500:]).abs().mean().item()
        print(f"epoch {epoch}: slant loss {meter.avg:.4f} val slant MAE {mae:.3f} digit acc {acc:.3f}")


# --------------------------------------------------------------------------- 33
class DnCNN(nn.Module):
    def __init__(self, depth=4, width=20):
        super().__init__()
        layers = [nn.Conv2d(1, width, 3, padding=1), nn.ReLU(True)]
        for _ in range(depth - 2):
            layers += [
                nn.Conv2d(width, width, 3, padding=1, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(True),
            ]
        layers += [nn.Conv2d(width, 1, 3, padding=1)]
        self.body = nn.Sequential(*layers)

    def forward(self, x):
        return x - self.body(x)


class DenoiseSet(Dataset):
    def __init__(self, clean, sigmas, seed):
        g = torch.Generator().manual_seed(seed)
        self.clean = clean
        self.noisy = clean + sigmas.view(-1, 1, 1, 1) * torch.randn(clean.shape, generator=g)

    def __len__(self):
        return len(self.clean)

    def __getitem__(self, i):
        return self.noisy[i], self.clean[i]


def dncnn_validation(mistake: bool) -> None:
    """Validation runs without model.eval(): BatchNorm normalises with the statistics of each single validation image and updates its running ones."""
    seed_everything(7)
    patches = shuffled(photo_patches(), seed=7)[0]
    train_set = DenoiseSet(patches[:240], torch.rand(240) * 0.2 + 0.02, seed=1)
    val_set = DenoiseSet(patches[240:], torch.linspace(0.02, 0.25, len(patches) - 240), seed=2)
    train_loader = DataLoader(train_set, batch_size=12, shuffle=True)
    val_loader = DataLoader(val_set, batch_size=1, shuffle=False)
    model = DnCNN()
    optimizer = optim.Adam(model.parameters(), lr=2e-3)
    best = 0.0

    def validate():
        if not mistake:
            model.eval()
        scores = AverageMeter("psnr")
        with torch.no_grad():
            for noisy, clean in val_loader:
                scores.update(psnr(model(noisy), clean))
        return scores.avg

    for epoch in range(8):
        model.train()
        losses = AverageMeter("loss")
        for noisy, clean in train_loader:
            loss = F.mse_loss(model(noisy), clean)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.update(loss.item(), len(noisy))
        score = validate()
        best = max(best, score)
        print(f"epoch {epoch}: loss {losses.avg:.5f} val PSNR {score:.2f} (best {best:.2f})")


FAULTS = [
    (
        cifar_tutorial,
        (
            "zero_grad",
            "accumulat",
            "never zeroed",
            "not zeroed",
            "not reset",
            "not cleared",
            "earlier batches",
        ),
        "01 zero_grad missing",
    ),
    (
        unet_segmentation_trainer,
        (
            "zero_grad",
            "cleared",
            "zeroed",
            "wiped",
            "before the step",
            "before step",
            "without gradients",
            "no gradient",
        ),
        "02 zero_grad between backward and step",
    ),
    (
        detection_loss_dict,
        (
            "box_head",
            "box head",
            "no gradient",
            "never receive",
            "part of the loss",
            "wrong loss",
            "another loss",
            "different loss",
            "not the total",
            "never updated",
        ),
        "06 backward on the wrong loss",
    ),
    (
        keypoint_iterations,
        (
            "same batch",
            "one batch",
            "single batch",
            "identical batch",
            "repeated",
            "same data",
            "same samples",
            "same inputs",
        ),
        "12 same batch again and again",
    ),
    (
        super_resolution_scheduler,
        (
            "per batch",
            "every batch",
            "each batch",
            "per epoch",
            "scheduler",
            "milestones",
            "learning rate",
        ),
        "16 scheduler per batch",
    ),
    (
        crowd_counting_accumulation,
        ("divid", "accumulation steps", "not scaled", "times too", "times larger", "accumulat"),
        "21 accumulation not divided",
    ),
    (
        frozen_backbone_second_head,
        ("batchnorm", "batch norm", "running stat", "frozen", "running mean"),
        "30 frozen BatchNorm in train mode",
    ),
    (
        dncnn_validation,
        ("eval()", "eval mode", "train mode", "training mode", "batchnorm", "batch norm"),
        "33 validation without eval, BatchNorm",
    ),
]
