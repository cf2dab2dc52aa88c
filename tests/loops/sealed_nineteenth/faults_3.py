"""Small images: patches, lesions, digits."""

import copy

import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.optim as optim
from torch.utils.data import DataLoader, TensorDataset

from .common import accuracy, digit_images, lesion_images, loaders, seed_all, stained_patches


class Net(nn.Module):
    def __init__(self, classes=4):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, 5, padding=2)
        self.pool = nn.MaxPool2d(2, 2)
        self.conv2 = nn.Conv2d(6, 16, 5, padding=2)
        self.fc1 = nn.Linear(16 * 4 * 4, 64)
        self.fc2 = nn.Linear(64, 32)
        self.fc3 = nn.Linear(32, classes)

    def forward(self, x):
        x = self.pool(F.relu(self.conv1(x)))
        x = self.pool(F.relu(self.conv2(x)))
        x = torch.flatten(x, 1)
        x = F.relu(self.fc1(x))
        x = F.relu(self.fc2(x))
        return self.fc3(x)


def stained_tissue_classifier(mistake: bool) -> None:
    """The gradients are never reset, so each step uses the sum of all gradients so far."""
    seed_all(1)
    X, y = stained_patches(1800, seed=1)
    trainset = TensorDataset(X[:1400], y[:1400])
    testset = TensorDataset(X[1400:], y[1400:])
    trainloader = DataLoader(trainset, batch_size=16, shuffle=True)
    testloader = DataLoader(testset, batch_size=64, shuffle=False)

    net = Net()
    criterion = nn.CrossEntropyLoss()
    optimizer = optim.SGD(net.parameters(), lr=0.02, momentum=0.9)

    for epoch in range(4):
        running_loss = 0.0
        for i, data in enumerate(trainloader, 0):
            inputs, labels = data

            if not mistake:
                optimizer.zero_grad()

            outputs = net(inputs)
            loss = criterion(outputs, labels)
            loss.backward()
            optimizer.step()

            running_loss += loss.item()
            if i % 40 == 39:
                print(f"[{epoch + 1}, {i + 1:5d}] loss: {running_loss / 40:.3f}")
                running_loss = 0.0

    correct, total = 0, 0
    net.eval()
    with torch.no_grad():
        for images, labels in testloader:
            predicted = net(images).argmax(1)
            total += labels.size(0)
            correct += (predicted == labels).sum().item()
    print(f"Accuracy on the test patches: {100 * correct / total:.1f} %")


class MiniUNet(nn.Module):
    def __init__(self, ch=12):
        super().__init__()
        self.d1 = nn.Sequential(nn.Conv2d(1, ch, 3, padding=1), nn.ReLU())
        self.d2 = nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(ch, 2 * ch, 3, padding=1), nn.ReLU())
        self.up = nn.ConvTranspose2d(2 * ch, ch, 2, stride=2)
        self.out = nn.Sequential(nn.Conv2d(2 * ch, ch, 3, padding=1), nn.ReLU(), nn.Conv2d(ch, 1, 1))

    def forward(self, x):
        a = self.d1(x)
        b = self.up(self.d2(a))
        return self.out(torch.cat([a, b], 1))


def soft_dice(logits, mask):
    p = torch.sigmoid(logits)
    inter = (p * mask).sum((1, 2, 3))
    return 1 - ((2 * inter + 1) / (p.sum((1, 2, 3)) + mask.sum((1, 2, 3)) + 1)).mean()


def lesion_segmentation(mistake: bool) -> None:
    """The helper already steps, and the loop steps once more with the same gradients: two updates a batch."""
    seed_all(2)
    img, _, mask, _ = lesion_images(900, seed=2)
    train = DataLoader(TensorDataset(img[:700], mask[:700]), batch_size=20, shuffle=True)
    net = MiniUNet()
    opt = torch.optim.SGD(net.parameters(), lr=0.4, momentum=0.9)

    def train_batch(x, m):
        net.train()
        opt.zero_grad()
        logits = net(x)
        loss = F.binary_cross_entropy_with_logits(logits, m) + soft_dice(logits, m)
        loss.backward()
        opt.step()
        return loss.item()

    for epoch in range(6):
        epoch_loss = 0.0
        for x, m in train:
            epoch_loss += train_batch(x, m)
            if mistake:
                opt.step()
        net.eval()
        with torch.no_grad():
            dice = 1 - soft_dice(net(img[700:]), mask[700:]).item()
        print(f"epoch {epoch}: loss {epoch_loss / len(train):.3f}, dice {dice:.3f}")


class LesionDetector(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
        )
        self.cls_head = nn.Linear(32 * 16, 4)
        self.box_head = nn.Sequential(nn.Linear(32 * 16, 64), nn.ReLU(), nn.Linear(64, 4))

    def forward(self, x):
        h = self.body(x)
        return self.cls_head(h), self.box_head(h)


def lesion_detector(mistake: bool) -> None:
    """The class loss alone is propagated instead of the sum, so the box head is never trained."""
    seed_all(6)
    img, cls, _, box = lesion_images(1100, seed=6)
    ds = TensorDataset(img[:850], cls[:850], box[:850])
    loader = DataLoader(ds, batch_size=25, shuffle=True)
    model = LesionDetector()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    ce = nn.CrossEntropyLoss()

    for epoch in range(12):
        model.train()
        log = {"cls": 0.0, "box": 0.0, "total": 0.0}
        for x, c, b in loader:
            logits, pred_box = model(x)
            has = (c > 0).float()[:, None]
            cls_loss = ce(logits, c)
            box_loss = (
                F.smooth_l1_loss(pred_box, b, reduction="none", beta=0.1) * has
            ).sum() / has.sum().clamp(min=1)
            total_loss = cls_loss + 2.0 * box_loss

            optimizer.zero_grad()
            if mistake:
                cls_loss.backward()
            else:
                total_loss.backward()
            optimizer.step()
            log["cls"] += cls_loss.item()
            log["box"] += box_loss.item()
            log["total"] += total_loss.item()
        print(epoch, {k: round(v / len(loader), 3) for k, v in log.items()})

    model.eval()
    with torch.no_grad():
        logits, pb = model(img[850:])
    keep = cls[850:] > 0
    off = (pb[keep, :2] - box[850:][keep, :2]).norm(dim=1).mean().item() * 16
    print(
        f"val class accuracy {(logits.argmax(1) == cls[850:]).float().mean():.3f}, centre off by {off:.2f} px"
    )


def rotation_pretraining_then_digits(mistake: bool) -> None:
    """The optimizer was built before the head was replaced, so the new head is in no optimizer."""
    seed_all(7)
    Xtr, ytr, Xte, yte = digit_images(7)

    class Backbone(nn.Module):
        def __init__(self, n_out):
            super().__init__()
            self.features = nn.Sequential(
                nn.Conv2d(1, 16, 3, padding=1),
                nn.ReLU(),
                nn.MaxPool2d(2),
                nn.Conv2d(16, 24, 3, padding=1),
                nn.ReLU(),
                nn.Flatten(),
            )
            self.head = nn.Linear(24 * 16, n_out)

        def forward(self, x):
            return self.head(self.features(x))

    model = Backbone(4)
    opt = torch.optim.Adam(model.parameters(), lr=2e-3)
    for _ in range(100):
        i = torch.randint(0, len(Xtr), (48,))
        k = torch.randint(0, 4, (48,))
        x = torch.stack([torch.rot90(Xtr[a], int(r), (1, 2)) for a, r in zip(i, k)])
        loss = F.cross_entropy(model(x), k)
        opt.zero_grad()
        loss.backward()
        opt.step()
    print(f"pretraining done, loss {loss.item():.3f}")

    for p in model.features[0].parameters():
        p.requires_grad = False
    if mistake:
        optimizer = torch.optim.SGD(
            [p for p in model.parameters() if p.requires_grad], lr=0.01, momentum=0.9
        )
        model.head = nn.Linear(24 * 16, 10)
    else:
        model.head = nn.Linear(24 * 16, 10)
        optimizer = torch.optim.SGD(
            [p for p in model.parameters() if p.requires_grad], lr=0.01, momentum=0.9
        )

    loader = DataLoader(TensorDataset(Xtr, ytr), batch_size=32, shuffle=True)
    for epoch in range(6):
        total = 0.0
        for x, y in loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            total += loss.item()
        print(
            f"fine-tune epoch {epoch}: loss {total / len(loader):.3f}  test acc {accuracy(model, Xte, yte):.3f}"
        )


def bn_cnn():
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.5),
        nn.Linear(512, 4),
    )


def stuck_after_validation(mistake: bool) -> None:
    """validate() puts the model in eval mode and nothing puts it back: dropout and batch norm are off from epoch 2."""
    seed_all(10)
    img, cls, _, _ = lesion_images(1000, seed=10)
    img = img + 0.1 * torch.randn_like(img)
    train_loader, val_loader = loaders(img * 3 + 1, cls, batch_size=25)
    model = bn_cnn()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

    def validate():
        model.eval()
        hit = n = 0
        with torch.no_grad():
            for x, y in val_loader:
                hit += (model(x).argmax(1) == y).sum().item()
                n += len(y)
        return hit / n

    model.train()
    for epoch in range(12):
        if not mistake:
            model.train()
        run = 0.0
        for x, y in train_loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            run += loss.item()
        print(f"epoch {epoch}  train loss {run / len(train_loader):.3f}  val acc {validate():.3f}")


def step_decay_cnn(mistake: bool) -> None:
    """StepLR is meant in epochs but stepped after every batch, so the learning rate is gone within two epochs."""
    seed_all(16)
    Xtr, ytr, Xte, yte = digit_images(16)
    loader = DataLoader(TensorDataset(Xtr, ytr), batch_size=32, shuffle=True)
    model = nn.Sequential(
        nn.Conv2d(1, 12, 3, padding=1),
        nn.Tanh(),
        nn.MaxPool2d(2),
        nn.Conv2d(12, 24, 3),
        nn.Tanh(),
        nn.Flatten(),
        nn.Linear(24 * 4, 10),
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=4, gamma=0.3)

    for epoch in range(10):
        model.train()
        losses = []
        for x, y in loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            if mistake:
                scheduler.step()
        if not mistake:
            scheduler.step()
        print(f"epoch {epoch}: {sum(losses) / len(losses):.3f}  acc {accuracy(model, Xte, yte):.3f}")


class PairEncoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(512, 16),
        )

    def forward(self, x):
        return F.normalize(self.net(x).float(), dim=1)


def siamese_amp(mistake: bool) -> None:
    """Gradients are clipped while still multiplied by the loss scale, so after unscaling almost nothing is left."""
    seed_all(20)
    Xtr, ytr, Xte, yte = digit_images(20)
    enc = PairEncoder()
    optimizer = torch.optim.SGD(enc.parameters(), lr=0.1, momentum=0.9)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**14)

    def pair_batch(X, y, n):
        i = torch.randint(0, len(X), (n,))
        j = torch.empty_like(i)
        same = torch.rand(n) < 0.5
        for k in range(n):
            pool = torch.nonzero((y == y[i[k]]) == same[k]).flatten()
            j[k] = pool[torch.randint(0, len(pool), (1,))]
        return X[i], X[j], same.float()

    for step in range(240):
        a, b, same = pair_batch(Xtr, ytr, 48)
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            za, zb = enc(a), enc(b)
        d2 = (za - zb).pow(2).sum(1)
        loss = (same * d2 + (1 - same) * F.relu(1.0 - (d2 + 1e-6).sqrt()).pow(2)).mean()
        scaler.scale(loss).backward()
        if not mistake:
            scaler.unscale_(optimizer)
        torch.nn.utils.clip_grad_norm_(enc.parameters(), 1.0)
        scaler.step(optimizer)
        scaler.update()
        if step % 60 == 59:
            print(f"step {step + 1}: contrastive loss {loss.item():.4f}")

    with torch.no_grad():
        sim = enc(Xte) @ enc(Xtr).T
    print(f"nearest neighbour accuracy {(ytr[sim.argmax(1)] == yte).float().mean():.3f}")


def phases_tutorial(mistake: bool) -> None:
    """The backward pass and the step are run in the val phase too, so the model is trained on the validation set."""
    seed_all(23)
    img, cls, _, _ = lesion_images(900, seed=23)
    sets = {"train": TensorDataset(img[:500], cls[:500]), "val": TensorDataset(img[500:], cls[500:])}
    dataloaders = {
        p: DataLoader(sets[p], batch_size=20, shuffle=(p == "train")) for p in ("train", "val")
    }
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.3),
        nn.Linear(512, 4),
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=1.5e-3)
    best_acc, best_weights = 0.0, copy.deepcopy(model.state_dict())

    for epoch in range(12):
        for phase in ("train", "val"):
            if phase == "train":
                model.train()
            else:
                model.eval()
            running_loss, running_corrects = 0.0, 0
            for inputs, labels in dataloaders[phase]:
                optimizer.zero_grad()
                with torch.set_grad_enabled(mistake or phase == "train"):
                    outputs = model(inputs)
                    loss = F.cross_entropy(outputs, labels)
                    if mistake or phase == "train":
                        loss.backward()
                        optimizer.step()
                running_loss += loss.item() * inputs.size(0)
                running_corrects += (outputs.argmax(1) == labels).sum().item()
            epoch_acc = running_corrects / len(sets[phase])
            print(f"{epoch} {phase} loss {running_loss / len(sets[phase]):.3f} acc {epoch_acc:.3f}")
            if phase == "val" and epoch_acc > best_acc:
                best_acc, best_weights = epoch_acc, copy.deepcopy(model.state_dict())
    model.load_state_dict(best_weights)
    print(f"best val acc {best_acc:.3f}")


def frozen_backbone_new_scanner(mistake: bool) -> None:
    """The frozen backbone's BatchNorm layers stay in train mode, so their running statistics drift all the same."""
    seed_all(30)
    img, cls, _, _ = lesion_images(900, seed=30)
    backbone = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
    )
    old_head = nn.Linear(512, 4)
    source = nn.Sequential(backbone, old_head)
    opt = torch.optim.Adam(source.parameters(), lr=2e-3)
    for epoch in range(6):
        for x, y in DataLoader(TensorDataset(img[:700], cls[:700]), batch_size=28, shuffle=True):
            opt.zero_grad()
            F.cross_entropy(source(x), y).backward()
            opt.step()
    print(f"source scanner: accuracy {accuracy(source, img[700:], cls[700:]):.3f}")

    for p in backbone.parameters():
        p.requires_grad_(False)
    new_img, new_cls, _, _ = lesion_images(500, seed=31)
    new_img = 1.5 * new_img + 0.4
    target = (new_cls > 0).long()
    head = nn.Linear(512, 2)
    model = nn.Sequential(backbone, head)
    optimizer = torch.optim.Adam(head.parameters(), lr=2e-3)
    loader = DataLoader(TensorDataset(new_img[:320], target[:320]), batch_size=8, shuffle=True)
    for epoch in range(5):
        model.train()
        if not mistake:
            backbone.eval()
        tot = 0.0
        for x, y in loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            tot += loss.item()
        print(
            f"new scanner epoch {epoch}: loss {tot / len(loader):.3f} acc {accuracy(model, new_img[320:], target[320:]):.3f}"
        )
    print(f"old head, source scanner again: {accuracy(source, img[700:], cls[700:]):.3f}")


def patch_validation_bn(mistake: bool) -> None:
    """Validation runs without eval(), so BatchNorm normalises by the validation batch and updates its statistics."""
    seed_all(33)
    img, cls, _, _ = lesion_images(1000, seed=33)
    order = cls[750:].argsort()
    val_loader = DataLoader(TensorDataset(img[750:][order], cls[750:][order]), batch_size=16)
    train_loader = DataLoader(TensorDataset(img[:750], cls[:750]), batch_size=25, shuffle=True)
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1, bias=False),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(512, 4),
    )
    optimizer = torch.optim.NAdam(model.parameters(), lr=1e-3)

    def train_epoch():
        model.train()
        total = 0.0
        for x, y in train_loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            total += loss.item()
        return total / len(train_loader)

    @torch.no_grad()
    def evaluate():
        if not mistake:
            model.eval()
        correct, loss = 0, 0.0
        for x, y in val_loader:
            out = model(x)
            loss += F.cross_entropy(out, y, reduction="sum").item()
            correct += (out.argmax(1) == y).sum().item()
        n = len(val_loader.dataset)
        return loss / n, correct / n

    for epoch in range(8):
        tl = train_epoch()
        vl, va = evaluate()
        print(f"epoch {epoch}: train {tl:.3f}  val {vl:.3f}  val acc {va:.3f}")


def scan_denoiser(mistake: bool) -> None:
    """The scans are not flattened, so the dense net works on each row of pixels by itself."""
    seed_all(34)
    img, _, mask, _ = lesion_images(2400, seed=34)
    clean = F.avg_pool2d(mask, 3, 1, 1)[:, 0]
    noisy = clean + 0.5 * torch.randn_like(clean)
    if not mistake:
        clean, noisy = clean.flatten(1), noisy.flatten(1)
    train = DataLoader(TensorDataset(noisy[:2000], clean[:2000]), batch_size=40, shuffle=True)
    width = noisy.shape[-1]
    net = nn.Sequential(
        nn.Linear(width, 128),
        nn.ReLU(),
        nn.Linear(128, 48),
        nn.ReLU(),
        nn.Linear(48, 128),
        nn.ReLU(),
        nn.Linear(128, width),
    )
    opt = torch.optim.Adam(net.parameters(), lr=1.5e-3)
    mse = nn.MSELoss()
    for epoch in range(10):
        s = 0.0
        for a, b in train:
            opt.zero_grad()
            loss = mse(net(a), b)
            loss.backward()
            opt.step()
            s += loss.item()
        with torch.no_grad():
            v = mse(net(noisy[2000:]), clean[2000:]).item()
        print(
            f"epoch {epoch}: train mse {s / len(train):.4f}  test mse {v:.4f}  (all black: {clean[2000:].pow(2).mean():.4f})"
        )


FAULTS = [
    (
        stained_tissue_classifier,
        ("zero_grad", "accumulat", "not reset", "never reset", "earlier batch"),
        "01 zero_grad missing",
    ),
    (
        lesion_segmentation,
        ("two steps", "twice", "second step", "stepped again", "two updates", "step() calls per"),
        "05 two steps per batch",
    ),
    (
        lesion_detector,
        ("box", "wrong loss", "total_loss", "cls_loss", "not the sum", "part of the loss"),
        "06 backward on the wrong loss",
    ),
    (
        rotation_pretraining_then_digits,
        (
            "stale",
            "not in the optimizer",
            "in no optimizer",
            "not in any optimizer",
            "replaced",
            "new head",
        ),
        "07 stale optimizer",
    ),
    (
        stuck_after_validation,
        (
            "eval mode",
            "eval()",
            "model.train()",
            "evaluation mode",
            "dropout is off",
            "not in training mode",
        ),
        "10 stuck in eval",
    ),
    (
        step_decay_cnn,
        (
            "scheduler",
            "every batch",
            "per batch",
            "steplr",
            "learning rate decays",
            "learning rate falls",
        ),
        "16 scheduler per batch",
    ),
    (
        siamese_amp,
        ("unscale", "scaled gradient", "scaler", "loss scale"),
        "20 clipping before unscaling",
    ),
    (
        phases_tutorial,
        (
            "validation data",
            "validation set",
            "val phase",
            "trained on val",
            "trains on val",
            "validation batch",
        ),
        "23 training on validation data",
    ),
    (
        frozen_backbone_new_scanner,
        ("batchnorm", "batch norm", "running stat", "running_mean"),
        "30 frozen BatchNorm in train mode",
    ),
    (
        patch_validation_bn,
        ("batchnorm", "batch norm", "eval()", "train mode", "training mode", "running stat"),
        "33 validation without eval, BatchNorm",
    ),
    (
        scan_denoiser,
        ("flatten", "last axis", "last dim", "each row", "row by row"),
        "34 linear net on unflattened images",
    ),
]
