import copy

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset, random_split

from .common import RowGRU, RowTransformer, accuracy, digits


def cifar_tutorial_on_digits(mistake: bool) -> None:
    """`optimizer.zero_grad` is named but not called, so gradients of all earlier batches add up."""
    torch.manual_seed(0)
    x, y, xt, yt = digits()
    trainset, testset = TensorDataset(x[:, None], y), TensorDataset(xt[:, None], yt)
    trainloader = DataLoader(trainset, batch_size=32, shuffle=True)
    testloader = DataLoader(testset, batch_size=100, shuffle=False)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1 = nn.Conv2d(1, 12, 3, padding=1)
            self.pool = nn.MaxPool2d(2, 2)
            self.conv2 = nn.Conv2d(12, 24, 3, padding=1)
            self.fc1 = nn.Linear(24 * 2 * 2, 64)
            self.fc2 = nn.Linear(64, 10)

        def forward(self, x):
            x = self.pool(F.relu(self.conv1(x)))
            x = self.pool(F.relu(self.conv2(x)))
            x = torch.flatten(x, 1)
            return self.fc2(F.relu(self.fc1(x)))

    net = Net()
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.02, momentum=0.9)
    for epoch in range(10):
        running_loss = 0.0
        for i, data in enumerate(trainloader, 0):
            inputs, labels = data
            if mistake:
                optimizer.zero_grad
            else:
                optimizer.zero_grad()
            outputs = net(inputs)
            loss = criterion(outputs, labels)
            loss.backward()
            optimizer.step()
            running_loss += loss.item()
        if epoch % 3 == 0:
            print(f"[{epoch + 1}] loss: {running_loss / len(trainloader):.3f}")
    correct = total = 0
    net.eval()
    with torch.no_grad():
        for images, labels in testloader:
            predicted = net(images).argmax(1)
            total += labels.size(0)
            correct += (predicted == labels).sum().item()
    print(f"test accuracy {correct / total:.3f}")


class Prefetcher:
    def __init__(self, loader, mistake):
        self.loader, self.mistake = loader, mistake
        self.it = iter(loader)
        self.preload()

    def preload(self):
        try:
            self.x, self.y = next(self.it)
            self.x = (self.x - 0.3) / 0.37
        except StopIteration:
            self.x = None

    def next(self):
        if self.mistake:
            y = self.y
            self.preload()
            x = self.x
        else:
            x, y = self.x, self.y
            self.preload()
        return x, y


def prefetched_row_gru(mistake: bool) -> None:
    """The prefetcher hands out the images of the batch just loaded with the labels of the batch before it."""
    torch.manual_seed(1)
    x, y, xt, yt = digits(1408)
    loader = DataLoader(TensorDataset(x, y), batch_size=32, shuffle=True)
    model = RowGRU()
    opt = torch.optim.Adam(model.parameters(), lr=3e-3)
    for epoch in range(18):
        pf = Prefetcher(loader, mistake)
        xb, yb = pf.next()
        total, n = 0.0, 0
        while xb is not None:
            opt.zero_grad(set_to_none=True)
            loss = F.cross_entropy(model(xb), yb)
            loss.backward()
            opt.step()
            total, n = total + loss.item(), n + 1
            xb, yb = pf.next()
        if epoch % 3 == 0:
            print(f"epoch {epoch} loss {total / n:.3f}")
    print("test acc", accuracy(model, (xt - 0.3) / 0.37, yt))


def row_gru_milestones(mistake: bool) -> None:
    """MultiStepLR with milestones meant in epochs is stepped after each batch, so the rate has collapsed within the first epoch."""
    torch.manual_seed(2)
    x, y, xt, yt = digits()
    loader = DataLoader(TensorDataset(x, y), batch_size=32, shuffle=True)
    model = RowGRU(40)
    optimizer = torch.optim.Adam(model.parameters(), lr=4e-3)
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, milestones=[10, 14, 17], gamma=0.2)

    def train_one_epoch(epoch):
        model.train()
        seen = 0.0
        for xb, yb in loader:
            loss = F.cross_entropy(model(xb), yb)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if mistake:
                scheduler.step()
            seen += loss.item() * len(xb)
        if not mistake:
            scheduler.step()
        return seen / len(x)

    for epoch in range(19):
        tr = train_one_epoch(epoch)
        if epoch % 4 == 0:
            print(f"epoch {epoch} train {tr:.3f} lr {optimizer.param_groups[0]['lr']:.2e}")
    print("test acc", accuracy(model, xt, yt))


def run_epoch_trains_or_evaluates(mistake: bool) -> None:
    """`run_epoch` trains when it is given an optimizer, and it is given one for the validation loader too."""
    torch.manual_seed(3)
    x, y, xt, yt = digits(500)
    xv, yv = xt[:300], yt[:300]
    train_loader = DataLoader(TensorDataset(x, y), batch_size=32, shuffle=True)
    val_loader = DataLoader(TensorDataset(xv, yv), batch_size=32)
    model = RowTransformer(d=24, layers=1, dropout=0.1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)

    def run_epoch(loader, optimizer=None):
        training = optimizer is not None
        model.train(training)
        loss_sum = hits = count = 0
        with torch.set_grad_enabled(training):
            for xb, yb in loader:
                logits = model(xb)
                loss = F.cross_entropy(logits, yb)
                if training:
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
                loss_sum += loss.item() * len(xb)
                hits += (logits.argmax(1) == yb).sum().item()
                count += len(xb)
        return loss_sum / count, hits / count

    for epoch in range(30):
        tr_loss, tr_acc = run_epoch(train_loader, optimizer)
        if mistake:
            va_loss, va_acc = run_epoch(val_loader, optimizer)
        else:
            va_loss, va_acc = run_epoch(val_loader)
        if epoch % 6 == 5:
            print(f"epoch {epoch}: train {tr_loss:.3f}/{tr_acc:.3f} val {va_loss:.3f}/{va_acc:.3f}")
    print("held-out acc", accuracy(model, xt[300:], yt[300:]))


class Distiller(nn.Module):
    def __init__(self, teacher, student, T=3.0, alpha=0.7, stop=True):
        super().__init__()
        self.teacher, self.student, self.T, self.alpha, self.stop = teacher, student, T, alpha, stop

    def forward(self, x, y):
        if self.stop:
            with torch.no_grad():
                t = self.teacher(x)
        else:
            t = self.teacher(x)
        s = self.student(x)
        soft = (
            F.kl_div(F.log_softmax(s / self.T, 1), F.softmax(t / self.T, 1), reduction="batchmean")
            * self.T**2
        )
        hard = F.cross_entropy(s, y)
        return self.alpha * soft + (1 - self.alpha) * hard


def distiller_module(mistake: bool) -> None:
    """The optimizer gets all parameters of the distiller and the teacher's logits carry gradients, so the teacher is pulled to the student."""
    torch.manual_seed(4)
    x, y, xt, yt = digits()
    loader = DataLoader(TensorDataset(x, y), batch_size=64, shuffle=True)
    teacher = nn.Sequential(
        nn.Flatten(), nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, 10)
    )
    opt = torch.optim.Adam(teacher.parameters(), lr=1e-3)
    for _ in range(10):
        for xb, yb in loader:
            opt.zero_grad()
            F.cross_entropy(teacher(xb), yb).backward()
            opt.step()
    before = copy.deepcopy(teacher.state_dict())
    teacher.eval()

    student = nn.Sequential(nn.Flatten(), nn.Linear(64, 12), nn.ReLU(), nn.Linear(12, 10))
    kd = Distiller(teacher, student, stop=not mistake)
    optimizer = torch.optim.Adam(kd.parameters(), lr=2e-3)
    for epoch in range(25):
        total = 0.0
        for xb, yb in loader:
            optimizer.zero_grad()
            loss = kd(xb, yb)
            loss.backward()
            optimizer.step()
            total += loss.item()
        if epoch % 6 == 0:
            print(f"epoch {epoch} kd loss {total / len(loader):.4f}")
    drift = sum((v - before[k]).norm().item() for k, v in teacher.state_dict().items())
    print(
        f"student {accuracy(student, xt, yt):.3f} teacher {accuracy(teacher, xt, yt):.3f} drift {drift:.2f}"
    )


class DenoisingAE(nn.Module):
    def __init__(self, in_dim, code=16):
        super().__init__()
        self.enc = nn.Sequential(nn.Linear(in_dim, 96), nn.ReLU(), nn.Linear(96, code))
        self.dec = nn.Sequential(
            nn.ReLU(), nn.Linear(code, 96), nn.ReLU(), nn.Linear(96, in_dim), nn.Sigmoid()
        )

    def forward(self, x):
        return self.dec(self.enc(x))


def denoising_autoencoder(mistake: bool) -> None:
    """The images are not flattened, so in_dim is 8 and the linear autoencoder codes each row of pixels on its own."""
    torch.manual_seed(5)
    x, _, xt, _ = digits()
    if not mistake:
        x, xt = x.flatten(1), xt.flatten(1)
    loader = DataLoader(TensorDataset(x), batch_size=32, shuffle=True)
    model = DenoisingAE(in_dim=x.shape[-1])
    opt = torch.optim.Adam(model.parameters(), lr=2e-3)
    for epoch in range(25):
        model.train()
        running = 0.0
        for (xb,) in loader:
            noisy = (xb + 0.25 * torch.randn_like(xb)).clamp(0, 1)
            loss = F.mse_loss(model(noisy), xb)
            opt.zero_grad()
            loss.backward()
            opt.step()
            running += loss.item()
        if epoch % 6 == 0:
            print(f"epoch {epoch} mse {running / len(loader):.4f}")
    model.eval()
    with torch.no_grad():
        noisy = (xt + 0.25 * torch.randn_like(xt)).clamp(0, 1)
        print("test mse", F.mse_loss(model(noisy), xt).item(), "code", tuple(model.enc(xt[:1]).shape))


def two_calls_of_random_split(mistake: bool) -> None:
    """The training and the test loader are cut by two calls of random_split with different draws, so most test samples were trained on."""
    torch.manual_seed(6)
    x, y, _, _ = digits(600)
    dataset = TensorDataset(x, y)

    def get_split(which):
        seed = (11 if which == "train" else 12) if mistake else 11
        train, test = random_split(dataset, [450, 150], generator=torch.Generator().manual_seed(seed))
        return train if which == "train" else test

    train_loader = DataLoader(get_split("train"), batch_size=25, shuffle=True)
    model = RowTransformer(d=32, layers=1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    for epoch in range(25):
        model.train()
        tot = 0.0
        for xb, yb in train_loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(xb), yb)
            loss.backward()
            optimizer.step()
            tot += loss.item()
        if epoch % 6 == 0:
            print(f"epoch {epoch} train loss {tot / len(train_loader):.3f}")
    test_loader = DataLoader(get_split("test"), batch_size=50)
    model.eval()
    hits = 0
    with torch.no_grad():
        for xb, yb in test_loader:
            hits += (model(xb).argmax(1) == yb).sum().item()
    print("test acc", hits / 150)


def shared_loader_arguments(mistake: bool) -> None:
    """The test loader takes the training loader's arguments, shuffle and drop_last too, so each report is on another part of the test set."""
    torch.manual_seed(7)
    x, y, xt, yt = digits(1500)
    train_kw = dict(batch_size=128, shuffle=True, drop_last=True)
    test_kw = train_kw if mistake else dict(batch_size=128, shuffle=False)
    train_loader = DataLoader(TensorDataset(x, y), **train_kw)
    test_loader = DataLoader(TensorDataset(xt[:250], yt[:250]), **test_kw)
    model = RowTransformer(d=32, layers=1, dropout=0.1)
    opt = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for epoch in range(20):
        model.train()
        for xb, yb in train_loader:
            opt.zero_grad()
            loss = F.cross_entropy(model(xb), yb)
            loss.backward()
            opt.step()
        model.eval()
        right = seen = 0
        with torch.no_grad():
            for xb, yb in test_loader:
                right += (model(xb).argmax(1) == yb).sum().item()
                seen += len(yb)
        if epoch % 4 == 3:
            print(f"epoch {epoch} loss {loss.item():.3f} test acc {right / seen:.3f}")


FAULTS = [
    (
        cifar_tutorial_on_digits,
        (
            "zero_grad",
            "accumulat",
            "not reset",
            "never cleared",
            "earlier batch",
            "earlier step",
            "old grad",
        ),
        "01 zero_grad missing",
    ),
    (
        prefetched_row_gru,
        ("label", "previous batch", "mismatch", "misalign", "do not belong", "targets"),
        "14 labels of the previous batch",
    ),
    (row_gru_milestones, ("schedul", "per batch", "each batch", "milestone"), "16 scheduler per batch"),
    (
        run_epoch_trains_or_evaluates,
        ("validation", "held-out", "leak", "also trained on"),
        "23 training on validation data",
    ),
    (distiller_module, ("teacher", "detach", "trains too", "no_grad"), "26 teacher not detached"),
    (
        denoising_autoencoder,
        ("flatten", "last axis", "last dim", "each row", "rows"),
        "34 linear net fed unflattened images",
    ),
    (
        two_calls_of_random_split,
        (
            "leak",
            "overlap",
            "seen in training",
            "trained on",
            "same samples",
            "used for training",
            "in both",
        ),
        "35 test split from data used in training",
    ),
    (
        shared_loader_arguments,
        (
            "drop_last",
            "shuffl",
            "truncat",
            "part of the test",
            "incomplete",
            "different samples",
            "not all",
        ),
        "36 shuffled and truncated test loader",
    ),
]
