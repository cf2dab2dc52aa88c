import random
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset, TensorDataset

from .common import digits_datasets, digits_tensors, seed_everything


# ---------------------------------------------------------------------------------------------- models
class BasicBlock(nn.Module):
    def __init__(self, c_in, c_out, stride=1):
        super().__init__()
        self.conv1 = nn.Conv2d(c_in, c_out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(c_out)
        self.conv2 = nn.Conv2d(c_out, c_out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(c_out)
        self.shortcut = nn.Sequential()
        if stride != 1 or c_in != c_out:
            self.shortcut = nn.Sequential(
                nn.Conv2d(c_in, c_out, 1, stride, bias=False), nn.BatchNorm2d(c_out)
            )

    def forward(self, x):
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        return F.relu(out + self.shortcut(x))


class TinyResNet(nn.Module):
    def __init__(self, width=16, num_classes=10, p=0.2):
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(1, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()
        )
        self.layer1 = BasicBlock(width, width)
        self.layer2 = BasicBlock(width, 2 * width, stride=2)
        self.dropout = nn.Dropout(p)
        self.fc = nn.Linear(2 * width, num_classes)

    def forward(self, x):
        x = self.layer2(self.layer1(self.stem(x)))
        x = F.adaptive_avg_pool2d(x, 1).flatten(1)
        return self.fc(self.dropout(x))


# ---------------------------------------------------------------------------------------------- trainer stuck in eval
class Trainer:
    def __init__(self, model, train_ds, val_ds, epochs=8, lr=0.01, back_to_train=True):
        self.model = model
        self.train_loader = DataLoader(train_ds, batch_size=64, shuffle=True, drop_last=True)
        self.val_loader = DataLoader(val_ds, batch_size=128)
        self.optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9, weight_decay=5e-4)
        self.scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, T_max=epochs)
        self.epochs = epochs
        self.back_to_train = back_to_train

    def training_step(self, batch):
        x, y = batch
        return F.cross_entropy(self.model(x), y)

    def run_epoch(self):
        losses = []
        for batch in self.train_loader:
            self.optimizer.zero_grad()
            loss = self.training_step(batch)
            loss.backward()
            self.optimizer.step()
            losses.append(loss.item())
        return sum(losses) / len(losses)

    def validate(self):
        self.model.eval()
        correct = 0
        with torch.no_grad():
            for x, y in self.val_loader:
                correct += (self.model(x).argmax(1) == y).sum().item()
        if self.back_to_train:
            self.model.train()
        return correct / len(self.val_loader.dataset)

    def fit(self):
        self.model.train()
        for epoch in range(self.epochs):
            loss = self.run_epoch()
            acc = self.validate()
            self.scheduler.step()
            if epoch in (0, self.epochs - 1):
                print(f"epoch {epoch} loss {loss:.4f} acc {acc:.4f}")


def digits_resnet_trainer(mistake: bool) -> None:
    """`validate` puts the model in eval mode and nobody puts it back: from the second epoch on it trains in eval mode."""
    seed_everything(0)
    train_ds, val_ds = digits_datasets()
    Trainer(TinyResNet(), train_ds, val_ds, back_to_train=not mistake).fit()


# ---------------------------------------------------------------------------------------------- imagenet style
class AverageMeter:
    def __init__(self):
        self.reset()

    def reset(self):
        self.sum = self.count = 0.0

    def update(self, val, n=1):
        self.sum += val * n
        self.count += n

    @property
    def avg(self):
        return self.sum / max(self.count, 1)


class VGGish(nn.Module):
    def __init__(self, p=0.5):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.BatchNorm2d(16),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1),
            nn.BatchNorm2d(32),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
        )
        self.classifier = nn.Sequential(
            nn.Dropout(p),
            nn.Linear(32 * 2 * 2, 64),
            nn.ReLU(inplace=True),
            nn.Dropout(p),
            nn.Linear(64, 10),
        )

    def forward(self, x):
        return self.classifier(torch.flatten(self.features(x), 1))


def train_imagenet_style(loader, model, criterion, optimizer):
    losses, top1 = AverageMeter(), AverageMeter()
    model.train()
    for images, target in loader:
        output = model(images)
        loss = criterion(output, target)
        losses.update(loss.item(), images.size(0))
        top1.update((output.argmax(1) == target).float().mean().item(), images.size(0))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return losses.avg, top1.avg


def validate_imagenet_style(loader, model, criterion, switch):
    losses, top1 = AverageMeter(), AverageMeter()
    if switch:
        model.eval()
    with torch.no_grad():
        for images, target in loader:
            output = model(images)
            losses.update(criterion(output, target).item(), images.size(0))
            top1.update((output.argmax(1) == target).float().mean().item(), images.size(0))
    return losses.avg, top1.avg


def digits_vgg_validate(mistake: bool) -> None:
    """`validate` does not call model.eval(): dropout and batch statistics are active in the validation."""
    seed_everything(1)
    train_ds, val_ds = digits_datasets()
    train_loader = DataLoader(train_ds, batch_size=64, shuffle=True)
    val_loader = DataLoader(val_ds, batch_size=64, shuffle=False)
    model = VGGish()
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    best_acc1 = 0.0
    for epoch in range(12):
        tr = train_imagenet_style(train_loader, model, criterion, optimizer)
        va = validate_imagenet_style(val_loader, model, criterion, switch=not mistake)
        best_acc1 = max(best_acc1, va[1])
    print("train", tr, "val", va, "best", best_acc1)


# ---------------------------------------------------------------------------------------------- triplet embedding
class EmbeddingNet(nn.Module):
    def __init__(self, flat, dim=16):
        super().__init__()
        self.flat = flat
        self.convnet = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.PReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1),
            nn.PReLU(),
            nn.MaxPool2d(2),
        )
        self.fc = nn.Sequential(nn.Linear(flat, 64), nn.PReLU(), nn.Linear(64, dim))

    def forward(self, x):
        x = self.convnet(x)
        x = x.view(-1, self.flat)
        return self.fc(x)


class TripletDigits(Dataset):
    def __init__(self, images, labels, seed=None):
        self.images, self.labels = images, labels
        self.by_class = {c: (labels == c).nonzero().flatten().tolist() for c in range(10)}
        self.fixed = None
        if seed is not None:
            rng = random.Random(seed)
            self.fixed = [self.draw(i, rng) for i in range(len(images))]

    def draw(self, i, rng):
        c = int(self.labels[i])
        other = rng.choice([k for k in range(10) if k != c])
        return i, rng.choice(self.by_class[c]), rng.choice(self.by_class[other])

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        a, p, n = self.fixed[i] if self.fixed is not None else self.draw(i, random)
        return self.images[a], self.images[p], self.images[n]


def digits_triplet_embedding(mistake: bool) -> None:
    """`x.view(-1, 32)` where an image has 128 features: the batch grows fourfold and each quarter of the channels is embedded alone."""
    seed_everything(2)
    xt, yt, xv, yv = digits_tensors()
    train_loader = DataLoader(TripletDigits(xt, yt), batch_size=64, shuffle=True)
    val_loader = DataLoader(TripletDigits(xv, yv, seed=0), batch_size=64)
    model = EmbeddingNet(flat=32 if mistake else 32 * 2 * 2)
    criterion = nn.TripletMarginLoss(margin=1.0)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for epoch in range(12):
        model.train()
        running = 0.0
        for a, p, n in train_loader:
            optimizer.zero_grad()
            loss = criterion(model(a), model(p), model(n))
            loss.backward()
            optimizer.step()
            running += loss.item()
        if epoch in (0, 11):
            print(epoch, running / len(train_loader))
    model.eval()
    good = total = 0
    with torch.no_grad():
        for a, p, n in val_loader:
            ea, ep, en = model(a), model(p), model(n)
            good += (F.pairwise_distance(ea, ep) < F.pairwise_distance(ea, en)).sum().item()
            total += len(ea)
    print("triplets in order", good / total, "of", total)


# ---------------------------------------------------------------------------------------------- step schedule
@dataclass
class TrainConfig:
    epochs: int = 12
    batch_size: int = 32
    lr: float = 0.05
    momentum: float = 0.9
    lr_step_size: int = 5
    lr_gamma: float = 0.1


def train_one_epoch(model, criterion, optimizer, data_loader, lr_scheduler=None):
    model.train()
    total = 0.0
    for image, target in data_loader:
        loss = criterion(model(image), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if lr_scheduler is not None:
            lr_scheduler.step()
        total += loss.item()
    return total / len(data_loader)


def evaluate(model, data_loader):
    model.eval()
    correct = 0
    with torch.inference_mode():
        for image, target in data_loader:
            correct += (model(image).argmax(1) == target).sum().item()
    return correct / len(data_loader.dataset)


def digits_references_steplr(mistake: bool) -> None:
    """StepLR, with a step size counted in epochs, is stepped after every batch, so the learning rate is gone in one epoch."""
    seed_everything(3)
    cfg = TrainConfig()
    train_ds, val_ds = digits_datasets()
    train_loader = DataLoader(train_ds, batch_size=cfg.batch_size, shuffle=True)
    val_loader = DataLoader(val_ds, batch_size=128)
    model = nn.Sequential(
        nn.Conv2d(1, 12, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(12 * 16, 48),
        nn.ReLU(),
        nn.Linear(48, 10),
    )
    criterion = nn.CrossEntropyLoss(label_smoothing=0.05)
    optimizer = torch.optim.SGD(model.parameters(), lr=cfg.lr, momentum=cfg.momentum, weight_decay=1e-4)
    scheduler = torch.optim.lr_scheduler.StepLR(
        optimizer, step_size=cfg.lr_step_size, gamma=cfg.lr_gamma
    )
    for epoch in range(cfg.epochs):
        if mistake:
            loss = train_one_epoch(model, criterion, optimizer, train_loader, scheduler)
        else:
            loss = train_one_epoch(model, criterion, optimizer, train_loader)
            scheduler.step()
        acc = evaluate(model, val_loader)
        if epoch in (0, cfg.epochs - 1):
            print(epoch, loss, acc)


# ---------------------------------------------------------------------------------------------- transfer, frozen BN
class TransferModel(nn.Module):
    """A frozen, pretrained network and a new head next to the old one."""

    def __init__(self, pretrained, num_features, num_classes, keep_eval):
        super().__init__()
        self.backbone, self.old_head = pretrained
        for p in list(self.backbone.parameters()) + list(self.old_head.parameters()):
            p.requires_grad = False
        self.head = nn.Sequential(
            nn.Linear(num_features, 32), nn.ReLU(), nn.Dropout(0.2), nn.Linear(32, num_classes)
        )
        self.keep_eval = keep_eval

    def train(self, mode=True):
        super().train(mode)
        if self.keep_eval:
            self.backbone.eval()
        return self

    def forward(self, x):
        return self.head(self.backbone(x))


def pretrain_network(x, y, epochs=5):
    backbone = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1, bias=False),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
    )
    net = nn.Sequential(backbone, nn.Linear(128, 10))
    opt = torch.optim.Adam(net.parameters(), lr=2e-3)
    loader = DataLoader(TensorDataset(x, y), batch_size=32, shuffle=True)
    net.train()
    for _ in range(epochs):
        for xb, yb in loader:
            opt.zero_grad()
            F.cross_entropy(net(xb), yb).backward()
            opt.step()
    return net


def rounded(x):
    """The task of the new head: does the ink fill the middle column (0, 1 or 2 thirds of it)?"""
    ink = x[:, 0, :, 3:5].mean((1, 2))
    return torch.bucketize(ink, torch.tensor([0.25, 0.75]))


def digits_transfer_frozen_backbone(mistake: bool) -> None:
    """The frozen backbone is in train mode: its BatchNorm uses batch statistics and its running averages drift."""
    seed_everything(4)
    xt, yt, xv, yv = digits_tensors()
    pretrained = pretrain_network(xt, yt)
    # the new task comes as fainter scans
    train_ds = TensorDataset(0.5 * xt - 0.6, rounded(xt))
    x_new, y_new = 0.5 * xv - 0.6, rounded(xv)
    model = TransferModel(pretrained, 128, 3, keep_eval=not mistake)
    loader = DataLoader(train_ds, batch_size=8, shuffle=True, drop_last=True)
    optimizer = torch.optim.Adam((p for p in model.parameters() if p.requires_grad), lr=1e-3)
    for epoch in range(4):
        model.train()
        total = 0.0
        for xb, yb in loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(xb), yb)
            loss.backward()
            optimizer.step()
            total += loss.item()
        model.eval()
        with torch.no_grad():
            new_acc = (model(x_new).argmax(1) == y_new).float().mean().item()
            old_acc = (model.old_head(model.backbone(xv)).argmax(1) == yv).float().mean().item()
        if epoch in (0, 3):
            print(epoch, total / len(loader), "new task", new_acc, "old task", old_acc)


# ---------------------------------------------------------------------------------------------- segmentation
class BlobSegmentation(Dataset):
    """Grey images with a bright disc and a bright bar; the mask marks the disc only."""

    def __init__(self, n, size=24, augment=False, flip_mask=True, seed=0):
        rng = np.random.default_rng(seed)
        yy, xx = np.mgrid[:size, :size]
        self.images, self.masks = [], []
        for _ in range(n):
            img = rng.normal(0, 0.25, (size, size))
            cy, cx, r = rng.uniform(4, size - 4), rng.uniform(4, size - 4), rng.uniform(3, 5)
            disc = (yy - cy) ** 2 + (xx - cx) ** 2 < r * r
            top = rng.integers(0, size - 2)
            img[top : top + 2] += 0.8
            img[disc] += 1.0
            self.images.append(torch.tensor(img, dtype=torch.float32)[None])
            self.masks.append(torch.tensor(disc, dtype=torch.float32)[None])
        self.augment, self.flip_mask = augment, flip_mask

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        image, mask = self.images[i], self.masks[i]
        if self.augment and random.random() < 0.5:
            image = torch.flip(image, dims=[2])
            if self.flip_mask:
                mask = torch.flip(mask, dims=[2])
        return image, mask


def double_conv(c_in, c_out):
    return nn.Sequential(
        nn.Conv2d(c_in, c_out, 3, padding=1),
        nn.BatchNorm2d(c_out),
        nn.ReLU(inplace=True),
        nn.Conv2d(c_out, c_out, 3, padding=1),
        nn.BatchNorm2d(c_out),
        nn.ReLU(inplace=True),
    )


class UNet(nn.Module):
    def __init__(self, w=8):
        super().__init__()
        self.down1, self.down2 = double_conv(1, w), double_conv(w, 2 * w)
        self.bottom = double_conv(2 * w, 4 * w)
        self.up2, self.dec2 = nn.ConvTranspose2d(4 * w, 2 * w, 2, 2), double_conv(4 * w, 2 * w)
        self.up1, self.dec1 = nn.ConvTranspose2d(2 * w, w, 2, 2), double_conv(2 * w, w)
        self.outc = nn.Conv2d(w, 1, 1)

    def forward(self, x):
        d1 = self.down1(x)
        d2 = self.down2(F.max_pool2d(d1, 2))
        b = self.bottom(F.max_pool2d(d2, 2))
        x = self.dec2(torch.cat([self.up2(b), d2], 1))
        x = self.dec1(torch.cat([self.up1(x), d1], 1))
        return self.outc(x)


def dice_coeff(prob, target, eps=1.0):
    inter = (prob * target).sum((1, 2, 3))
    return ((2 * inter + eps) / (prob.sum((1, 2, 3)) + target.sum((1, 2, 3)) + eps)).mean()


def blob_unet_augmented(mistake: bool) -> None:
    """The random horizontal flip of the training data is applied to the image but not to its mask."""
    seed_everything(5)
    train_loader = DataLoader(
        BlobSegmentation(320, augment=True, flip_mask=not mistake), batch_size=16, shuffle=True
    )
    val_loader = DataLoader(BlobSegmentation(64, seed=99), batch_size=32)
    net = UNet()
    optimizer = torch.optim.RMSprop(net.parameters(), lr=1e-3, weight_decay=1e-8, momentum=0.5)
    bce = nn.BCEWithLogitsLoss()
    for epoch in range(6):
        net.train()
        epoch_loss = 0.0
        for image, mask in train_loader:
            logits = net(image)
            loss = bce(logits, mask) + 1 - dice_coeff(torch.sigmoid(logits), mask)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimizer.step()
            epoch_loss += loss.item()
        net.eval()
        with torch.no_grad():
            dice = np.mean([dice_coeff((net(i) > 0).float(), m).item() for i, m in val_loader])
        if epoch in (0, 5):
            print(epoch, epoch_loss / len(train_loader), dice)


# ---------------------------------------------------------------------------------------------- grid detector
class GridShapes(Dataset):
    """One rectangle in a 32x32 image; targets on an 8x8 grid as in YOLO: objectness and (dx, dy, w, h)."""

    def __init__(self, n, seed):
        rng = np.random.default_rng(seed)
        self.x = torch.zeros(n, 1, 32, 32)
        self.obj = torch.zeros(n, 8, 8)
        self.box = torch.zeros(n, 4, 8, 8)
        for i in range(n):
            w, h = rng.integers(5, 13, 2)
            x0, y0 = rng.integers(0, 32 - w), rng.integers(0, 32 - h)
            self.x[i] = torch.tensor(rng.normal(0, 0.2, (1, 32, 32)), dtype=torch.float32)
            self.x[i, 0, y0 : y0 + h, x0 : x0 + w] += 1.0
            cx, cy = (x0 + w / 2) / 4, (y0 + h / 2) / 4
            gx, gy = int(cx), int(cy)
            self.obj[i, gy, gx] = 1
            self.box[i, :, gy, gx] = torch.tensor([cx - gx, cy - gy, w / 12, h / 12])

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        return self.x[i], self.obj[i], self.box[i]


class GridDetector(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(
            nn.Conv2d(1, 16, 3, 2, 1),
            nn.BatchNorm2d(16),
            nn.LeakyReLU(0.1),
            nn.Conv2d(16, 32, 3, 2, 1),
            nn.BatchNorm2d(32),
            nn.LeakyReLU(0.1),
            nn.Conv2d(32, 32, 3, 1, 1),
            nn.BatchNorm2d(32),
            nn.LeakyReLU(0.1),
        )
        self.obj_head = nn.Conv2d(32, 1, 1)
        self.box_head = nn.Conv2d(32, 4, 1)

    def forward(self, x):
        f = self.backbone(x)
        return self.obj_head(f).squeeze(1), self.box_head(f)


class DetectionLoss(nn.Module):
    def __init__(self, box_weight=2.0, per_object=True):
        super().__init__()
        self.box_weight, self.per_object = box_weight, per_object

    def forward(self, obj_logits, boxes, obj, box_targets):
        obj_loss = F.binary_cross_entropy_with_logits(obj_logits, obj, pos_weight=torch.tensor(8.0))
        raw = F.smooth_l1_loss(boxes, box_targets, reduction="none", beta=0.1) * obj.unsqueeze(1)
        box_loss = raw.sum() / obj.sum().clamp(min=1) if self.per_object else raw.mean()
        return obj_loss + self.box_weight * box_loss, obj_loss.detach(), box_loss.detach()


def grid_detector_box_loss(mistake: bool) -> None:
    """The masked box loss is averaged over all 64 cells and 4 coordinates instead of over the cells with an object."""
    seed_everything(6)
    train_loader = DataLoader(GridShapes(640, 0), batch_size=16, shuffle=True)
    val = GridShapes(128, 1)
    model = GridDetector()
    criterion = DetectionLoss(per_object=not mistake)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9, weight_decay=1e-4)
    for epoch in range(8):
        model.train()
        sums = [0.0, 0.0, 0.0]
        for x, obj, box in train_loader:
            loss, lo, lb = criterion(*model(x), obj, box)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            for k, v in enumerate((loss, lo, lb)):
                sums[k] += v.item() / len(train_loader)
        model.eval()
        with torch.no_grad():
            logits, boxes = model(val.x)
            hit = (logits.flatten(1).argmax(1) == val.obj.flatten(1).argmax(1)).float().mean().item()
            err = ((boxes - val.box).abs() * val.obj.unsqueeze(1)).sum() / (4 * val.obj.sum())
        if epoch in (0, 7):
            print(epoch, sums, "hit", hit, "box error", err.item())


# ---------------------------------------------------------------------------------------------- SimSiam
class SimSiam(nn.Module):
    def __init__(self, dim=64, pred_dim=16):
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(32 * 16, dim, bias=False),
            nn.BatchNorm1d(dim),
            nn.ReLU(),
            nn.Linear(dim, dim, bias=False),
            nn.BatchNorm1d(dim, affine=False),
        )
        self.predictor = nn.Sequential(
            nn.Linear(dim, pred_dim, bias=False),
            nn.BatchNorm1d(pred_dim),
            nn.ReLU(),
            nn.Linear(pred_dim, dim),
        )

    def forward(self, x1, x2):
        z1, z2 = self.encoder(x1), self.encoder(x2)
        return self.predictor(z1), self.predictor(z2), z1, z2


def two_crops(x):
    def one(x):
        pad = F.pad(x, (1, 1, 1, 1), value=float(x.min()))
        i, j = random.randint(0, 2), random.randint(0, 2)
        x = pad[..., i : i + 8, j : j + 8]
        return x * (0.7 + 0.6 * torch.rand(len(x), 1, 1, 1)) + 0.4 * torch.randn_like(x)

    return one(x), one(x)


def knn_accuracy(encoder, xt, yt, xv, yv, k=5):
    encoder.eval()
    with torch.no_grad():
        a, b = F.normalize(encoder(xt), dim=1), F.normalize(encoder(xv), dim=1)
    votes = yt[(b @ a.T).topk(k, dim=1).indices]
    encoder.train()
    return (votes.mode(1).values == yv).float().mean().item(), a.std(0).mean().item() * a.size(1) ** 0.5


def digits_simsiam(mistake: bool) -> None:
    """The targets z1, z2 are not detached (no stop-gradient), so that the representation collapses."""
    seed_everything(7)
    xt, yt, xv, yv = digits_tensors()
    loader = DataLoader(TensorDataset(xt, yt), batch_size=64, shuffle=True, drop_last=True)
    model = SimSiam()
    criterion = nn.CosineSimilarity(dim=1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.03, momentum=0.9, weight_decay=1e-4)
    for epoch in range(20):
        model.train()
        total = 0.0
        for images, _ in loader:
            x1, x2 = two_crops(images)
            p1, p2, z1, z2 = model(x1, x2)
            if not mistake:
                z1, z2 = z1.detach(), z2.detach()
            loss = -(criterion(p1, z2).mean() + criterion(p2, z1).mean()) * 0.5
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item()
        if epoch in (0, 10, 19):
            print(epoch, total / len(loader), "knn, std", knn_accuracy(model.encoder, xt, yt, xv, yv))


# ---------------------------------------------------------------------------------------------- two heads
class MultiTaskNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.trunk = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(16, 24, 3, padding=1),
            nn.ReLU(),
            nn.Flatten(),
        )
        self.digit_head = nn.Linear(24 * 16, 10)
        self.ink_head = nn.Sequential(nn.Linear(24 * 16, 32), nn.ReLU(), nn.Linear(32, 2))

    def forward(self, x):
        h = self.trunk(x)
        return self.digit_head(h), self.ink_head(h)


def centre_of_ink(x):
    w = (x - x.amin((1, 2, 3), keepdim=True)).squeeze(1)
    grid = torch.arange(8.0) - 3.5
    mass = w.sum((1, 2))
    c = torch.stack([(w.sum(1) * grid).sum(1) / mass, (w.sum(2) * grid).sum(1) / mass], 1)
    return (c - c.mean(0)) / c.std(0)


def digits_two_tasks(mistake: bool) -> None:
    """The total loss of both tasks is computed and logged, but backward is called on the digit loss only."""
    seed_everything(8)
    xt, yt, xv, yv = digits_tensors()
    ct, cv = centre_of_ink(xt), centre_of_ink(xv)
    loader = DataLoader(TensorDataset(xt, yt, ct), batch_size=32, shuffle=True)
    model = MultiTaskNet()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for epoch in range(6):
        model.train()
        log = {"loss": 0.0, "digit": 0.0, "ink": 0.0}
        for xb, yb, cb in loader:
            digit_logits, ink = model(xb)
            loss_digit = F.cross_entropy(digit_logits, yb)
            loss_ink = F.mse_loss(ink, cb)
            loss = loss_digit + 0.5 * loss_ink
            optimizer.zero_grad()
            if mistake:
                loss_digit.backward()
            else:
                loss.backward()
            optimizer.step()
            for name, value in (("loss", loss), ("digit", loss_digit), ("ink", loss_ink)):
                log[name] += value.item() / len(loader)
        model.eval()
        with torch.no_grad():
            d, c = model(xv)
        if epoch in (0, 5):
            print(epoch, log, (d.argmax(1) == yv).float().mean().item(), F.mse_loss(c, cv).item())


FAULTS = [
    (
        digits_resnet_trainer,
        ("eval mode", "eval()", "evaluation mode", "train()", "train mode", "training mode"),
        "stuck in eval after validation",
    ),
    (
        digits_vgg_validate,
        ("eval()", "train mode", "training mode", "dropout", "eval mode", "evaluation mode"),
        "validation without eval()",
    ),
    (
        digits_triplet_embedding,
        ("view", "reshape", "batch size", "rows", "batch dimension", "flatten"),
        "view(-1, k) with a wrong k",
    ),
    (
        digits_references_steplr,
        ("schedul", "learning rate", "per batch", "steplr", "every batch", "decay"),
        "scheduler per batch instead of per epoch",
    ),
    (
        digits_transfer_frozen_backbone,
        ("batchnorm", "batch norm", "running stat", "running mean", "frozen", "running average"),
        "frozen BatchNorm in train mode",
    ),
    (
        blob_unet_augmented,
        ("flip", "augment", "mask", "misalign", "input and target", "do not match"),
        "image flipped without its mask (own)",
    ),
    (
        grid_detector_box_loss,
        ("mask", "reduc", "mean over", "average", "normalis", "normaliz"),
        "wrong loss reduction across a mask",
    ),
    (
        digits_simsiam,
        ("detach", "stop-grad", "stop grad", "stopgrad", "collaps", "target branch"),
        "teacher (target branch) not detached",
    ),
    (
        digits_two_tasks,
        ("backward on", "backward is", "wrong loss", "another loss", "ink_head", "not in the graph"),
        "backward on the wrong loss",
    ),
]
