"""Loops over images: tutorials and homework on small pictures."""

import copy

import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.optim as optim
from torch.utils.data import DataLoader, TensorDataset

from .common import digits, seed_everything


class LeNet(nn.Module):
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


def cifar_tutorial_digits(mistake):
    """The gradients are never zeroed, so each step uses the sum over all batches so far."""
    seed_everything(0)
    x_train, y_train, x_test, y_test = digits(32, 3)
    trainloader = DataLoader(TensorDataset(x_train, y_train), batch_size=16, shuffle=True)
    testloader = DataLoader(TensorDataset(x_test, y_test), batch_size=64, shuffle=False)

    net = LeNet()
    criterion = nn.CrossEntropyLoss()
    optimizer = optim.SGD(net.parameters(), lr=0.01, momentum=0.9)

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
            if i % 30 == 29:
                print(f"[{epoch + 1}, {i + 1:5d}] loss: {running_loss / 30:.3f}")
                running_loss = 0.0

    correct = total = 0
    with torch.no_grad():
        for images, labels in testloader:
            _, predicted = torch.max(net(images), 1)
            total += labels.size(0)
            correct += (predicted == labels).sum().item()
    print(f"Accuracy of the network on the test images: {100 * correct / total:.1f} %")


def digits_cnn_train_eval(mistake):
    """After the first validation the model stays in eval mode, so dropout and batch norm no longer train."""
    seed_everything(1)
    x_train, y_train, x_val, y_val = digits()
    train_loader = DataLoader(TensorDataset(x_train, y_train), batch_size=64, shuffle=True)
    val_loader = DataLoader(TensorDataset(x_val, y_val), batch_size=128)
    model = nn.Sequential(
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
        nn.Linear(32 * 4, 10),
    )
    optimizer = optim.Adam(model.parameters(), lr=2e-3)

    def validate():
        model.eval()
        loss, hits = 0.0, 0
        with torch.no_grad():
            for x, y in val_loader:
                out = model(x)
                loss += F.cross_entropy(out, y, reduction="sum").item()
                hits += (out.argmax(1) == y).sum().item()
        return loss / len(y_val), hits / len(y_val)

    model.train()
    for epoch in range(10):
        if not mistake:
            model.train()
        for x, y in train_loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
        val_loss, val_acc = validate()
        print(f"epoch {epoch} loss {loss.item():.3f} val_loss {val_loss:.3f} val_acc {val_acc:.3f}")


def cnn_microbatches(mistake):
    """Four micro-batches are accumulated but the loss is not divided by four, so the gradient is four times too large."""
    seed_everything(2)
    x_train, y_train, x_test, y_test = digits()
    loader = DataLoader(TensorDataset(x_train, y_train), batch_size=8, shuffle=True, drop_last=True)
    accumulation_steps = 4
    model = nn.Sequential(
        nn.Conv2d(1, 12, 3),
        nn.ReLU(),
        nn.Conv2d(12, 24, 3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(96, 10),
    )
    criterion = nn.CrossEntropyLoss()
    optimizer = optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    # 179 batches an epoch; the loop runs over 4 * 44 of them
    for epoch in range(4):
        epoch_loss = 0.0
        optimizer.zero_grad()
        for step, (images, labels) in enumerate(loader):
            if step == len(loader) // accumulation_steps * accumulation_steps:
                break
            loss = criterion(model(images), labels)
            epoch_loss += loss.item()
            if not mistake:
                loss = loss / accumulation_steps
            loss.backward()
            if (step + 1) % accumulation_steps == 0:
                optimizer.step()
                optimizer.zero_grad()
        print(f"epoch {epoch}: {epoch_loss / step:.4f}")
    with torch.no_grad():
        print("test accuracy", (model(x_test).argmax(1) == y_test).float().mean().item())


class EMA:
    def __init__(self, model, decay=0.97, keep_copy=False):
        self.decay = decay
        self.model = copy.deepcopy(model) if keep_copy else model
        self.shadow = {k: p.detach().clone() for k, p in self.model.named_parameters()}

    @torch.no_grad()
    def update(self):
        for k, p in self.model.named_parameters():
            self.shadow[k].mul_(self.decay).add_(p, alpha=1 - self.decay)

    def copy_to(self, other):
        with torch.no_grad():
            for k, p in other.named_parameters():
                p.copy_(self.shadow[k])


def digits_mlp_with_ema(mistake):
    """The moving average follows a deep copy made before training, not the model that is trained."""
    seed_everything(3)
    x_train, y_train, x_test, y_test = digits()
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
    ema = EMA(model, keep_copy=mistake)
    optimizer = optim.Adam(model.parameters(), lr=1e-3)
    n, bs = len(x_train), 32
    for epoch in range(8):
        perm = torch.randperm(n)
        total = 0.0
        for i in range(0, n, bs):
            idx = perm[i : i + bs]
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x_train[idx]), y_train[idx])
            loss.backward()
            optimizer.step()
            ema.update()
            total += loss.item() * len(idx)
        print(f"epoch {epoch} train loss {total / n:.4f}")
    averaged = copy.deepcopy(model)
    ema.copy_to(averaged)
    for name, m in (("last", model), ("ema", averaged)):
        m.eval()
        with torch.no_grad():
            print(name, "test accuracy", (m(x_test).argmax(1) == y_test).float().mean().item())


class Distiller(nn.Module):
    def __init__(self, teacher, student, T=3.0, alpha=0.7, stop=True):
        super().__init__()
        self.teacher, self.student = teacher, student
        self.T, self.alpha, self.stop = T, alpha, stop

    def forward(self, x, y):
        s = self.student(x)
        if self.stop:
            with torch.no_grad():
                t = self.teacher(x)
        else:
            t = self.teacher(x)
        kd = (
            F.kl_div(F.log_softmax(s / self.T, 1), F.softmax(t / self.T, 1), reduction="batchmean")
            * self.T**2
        )
        return self.alpha * kd + (1 - self.alpha) * F.cross_entropy(s, y)


def homework_distillation(mistake):
    """The teacher's output is not detached and its parameters are in the optimizer, so the teacher is trained towards the student."""
    seed_everything(4)
    x_train, y_train, x_test, y_test = digits()
    teacher = nn.Sequential(
        nn.Flatten(), nn.Linear(64, 200), nn.ReLU(), nn.Linear(200, 200), nn.ReLU(), nn.Linear(200, 10)
    )
    student = nn.Sequential(nn.Flatten(), nn.Linear(64, 12), nn.ReLU(), nn.Linear(12, 10))
    loader = DataLoader(TensorDataset(x_train, y_train), batch_size=64, shuffle=True)

    opt = optim.Adam(teacher.parameters(), lr=1e-3)
    for _ in range(5):
        for x, y in loader:
            opt.zero_grad()
            F.cross_entropy(teacher(x), y).backward()
            opt.step()

    distiller = Distiller(teacher, student, stop=not mistake)
    opt = optim.Adam(distiller.parameters() if mistake else student.parameters(), lr=3e-3)
    for epoch in range(15):
        total = 0.0
        for x, y in loader:
            opt.zero_grad()
            loss = distiller(x, y)
            loss.backward()
            opt.step()
            total += loss.item()
        print(f"epoch {epoch} kd loss {total / len(loader):.4f}")
    with torch.no_grad():
        print(
            "student",
            (student(x_test).argmax(1) == y_test).float().mean().item(),
            "teacher",
            (teacher(x_test).argmax(1) == y_test).float().mean().item(),
        )


class Backbone(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
        )
        self.fc = nn.Linear(128, 10)

    def forward(self, x):
        return self.fc(self.features(x))


def finetune_frozen_backbone(mistake):
    """The frozen backbone is put in train mode each epoch, so its batch norm statistics go on moving."""
    seed_everything(5)
    x_train, y_train, x_test, y_test = digits()
    model = Backbone()
    opt = optim.Adam(model.parameters(), lr=2e-3)
    model.train()
    for _ in range(4):
        for x, y in DataLoader(TensorDataset(x_train, y_train), batch_size=64, shuffle=True):
            opt.zero_grad()
            F.cross_entropy(model(x), y).backward()
            opt.step()

    # new task: odd or even, on a few pictures of another scanner; the digit head stays in use
    digit_head = model.fc
    for p in model.features.parameters():
        p.requires_grad = False
    model.fc = nn.Linear(128, 2)
    x_new = x_train[:400] * 0.8 + 0.3 + 0.1 * torch.randn_like(x_train[:400])
    y_new = y_train[:400] % 2
    x_val = x_test * 0.8 + 0.3 + 0.1 * torch.randn_like(x_test)
    y_val = y_test % 2
    optimizer = optim.Adam(model.fc.parameters(), lr=3e-3)
    loader = DataLoader(TensorDataset(x_new, y_new), batch_size=8, shuffle=True)
    for epoch in range(10):
        model.train()
        if not mistake:
            model.features.eval()
        total = 0.0
        for x, y in loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            total += loss.item()
        model.eval()
        with torch.no_grad():
            acc = (model(x_val).argmax(1) == y_val).float().mean().item()
        print(f"epoch {epoch} loss {total / len(loader):.4f} val acc {acc:.3f}")
    with torch.no_grad():
        acc = (digit_head(model.features(x_test)).argmax(1) == y_test).float().mean().item()
    print(f"digits, old head: {acc:.3f}")


def homework_autoencoder(mistake):
    """The images are 16x16 but are flattened with view(-1, 8 * 8), so each image becomes four rows of the batch."""
    seed_everything(6)
    x_train, _, x_test, _ = digits(16)
    side = 8 if mistake else 16
    n_pixels = side * side
    encoder = nn.Sequential(nn.Linear(n_pixels, 128), nn.ReLU(), nn.Linear(128, 24))
    decoder = nn.Sequential(nn.Linear(24, 128), nn.ReLU(), nn.Linear(128, n_pixels))
    params = list(encoder.parameters()) + list(decoder.parameters())
    optimizer = optim.Adam(params, lr=1e-3)
    criterion = nn.MSELoss()
    train_loader = DataLoader(x_train, batch_size=64, shuffle=True)
    for epoch in range(12):
        total = 0.0
        for img in train_loader:
            img = img.view(-1, n_pixels)
            output = decoder(encoder(img))
            loss = criterion(output, img)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item()
        print(f"epoch [{epoch + 1}/12], loss: {total / len(train_loader):.4f}")
    with torch.no_grad():
        flat = x_test.view(-1, n_pixels)
        print("test mse", criterion(decoder(encoder(flat)), flat).item(), "codes", encoder(flat).shape)


class DenseNet(nn.Module):
    """What was Dense(64)-Dense(10) in Keras."""

    def __init__(self, in_features, pool_rows):
        super().__init__()
        self.fc1 = nn.Linear(in_features, 64)
        self.fc2 = nn.Linear(64, 10)
        self.pool_rows = pool_rows

    def forward(self, x):
        if self.pool_rows:
            out = self.fc2(torch.relu(self.fc1(x)))
            return out.mean(dim=1)
        x = x.reshape(x.size(0), -1)
        return self.fc2(torch.relu(self.fc1(x)))


def dense_net_from_keras(mistake):
    """The images go into the linear layer unflattened: it is applied to each row of pixels alone and the rows' logits are averaged."""
    seed_everything(7)
    x_train, y_train, x_test, y_test = digits()
    x_train, x_test = x_train.squeeze(1), x_test.squeeze(1)
    model = DenseNet(x_train.shape[-1] if mistake else x_train[0].numel(), pool_rows=mistake)
    loss_fn = nn.CrossEntropyLoss()
    optimizer = optim.RMSprop(model.parameters(), lr=1e-3)
    batch_size = 32
    for epoch in range(8):
        perm = torch.randperm(len(x_train))
        losses = []
        for b in range(0, len(x_train), batch_size):
            xb, yb = x_train[perm[b : b + batch_size]], y_train[perm[b : b + batch_size]]
            y_pred = model(xb)
            loss = loss_fn(y_pred, yb)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        with torch.no_grad():
            acc = (model(x_test).argmax(-1) == y_test).float().mean().item()
        print(f"Epoch {epoch + 1}/8 - loss: {sum(losses) / len(losses):.4f} - val_acc: {acc:.4f}")


def digits_test_loader(mistake):
    """The test loader shuffles and drops its last batch, so each test score is over another part of the test set."""
    seed_everything(8)
    x_train, y_train, x_test, y_test = digits(test_size=0.2)
    bs = 128
    train_loader = DataLoader(
        TensorDataset(x_train, y_train), batch_size=bs // 4, shuffle=True, drop_last=True
    )
    if mistake:
        test_loader = DataLoader(
            TensorDataset(x_test, y_test), batch_size=bs, shuffle=True, drop_last=True
        )
    else:
        test_loader = DataLoader(TensorDataset(x_test, y_test), batch_size=bs, shuffle=False)
    model = nn.Sequential(
        nn.Flatten(), nn.Linear(64, 100), nn.ReLU(), nn.Dropout(0.2), nn.Linear(100, 10)
    )
    optimizer = optim.Adam(model.parameters(), lr=1e-3)
    criterion = nn.CrossEntropyLoss()

    def train():
        model.train()
        total = 0.0
        for data, target in train_loader:
            optimizer.zero_grad()
            loss = criterion(model(data), target)
            loss.backward()
            optimizer.step()
            total += loss.item()
        return total / len(train_loader)

    def test():
        model.eval()
        correct = seen = 0
        with torch.no_grad():
            for data, target in test_loader:
                pred = model(data).argmax(dim=1)
                correct += (pred == target).sum().item()
                seen += len(target)
        return correct / seen

    for epoch in range(1, 9):
        print(f"epoch {epoch}: loss {train():.4f} test accuracy {test():.4f}")


FAULTS = [
    (
        cifar_tutorial_digits,
        (
            "zero_grad",
            "accumulat",
            "not reset",
            "never reset",
            "never cleared",
            "earlier batches",
            "not zeroed",
        ),
        "01 zero_grad missing",
    ),
    (
        digits_cnn_train_eval,
        ("eval mode", "model.train()", "eval()", "evaluation mode", "stuck in eval", "not put back"),
        "10 stuck in eval after validation",
    ),
    (
        cnn_microbatches,
        ("divid", "accumulat", "times too large", "averag", "scaled by", "sum of"),
        "21 accumulation not divided",
    ),
    (
        digits_mlp_with_ema,
        ("ema", "moving average", "averaged", "shadow", "copy of the model"),
        "25 EMA of the wrong model",
    ),
    (
        homework_distillation,
        ("teacher", "detach", "no_grad", "frozen", "target network"),
        "26 teacher not detached",
    ),
    (
        finetune_frozen_backbone,
        ("batchnorm", "batch norm", "running stat", "frozen", "running mean"),
        "30 frozen BatchNorm in train mode",
    ),
    (
        homework_autoencoder,
        ("view", "reshape", "batch size", "flatten", "rows", "batch dimension"),
        "31 view(-1, k) with wrong k",
    ),
    (
        dense_net_from_keras,
        ("flatten", "last axis", "last dim", "unflattened", "each row", "shape of the input"),
        "34 linear net on unflattened images",
    ),
    (
        digits_test_loader,
        (
            "shuffl",
            "drop_last",
            "test loader",
            "part of the test",
            "truncat",
            "subset",
            "not all of the",
        ),
        "36 shuffled truncated test loader",
    ),
]
