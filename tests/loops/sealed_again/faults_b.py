"""More trainings: schedulers, clipping, mixed precision, GANs, graphs, transformers, own trainers."""

import math

import torch
import torch.nn.functional as F
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_iris, load_wine
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import scale
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def digit_images():
    d = load_digits()
    return torch.tensor(d.images).float().unsqueeze(1) / 16, torch.tensor(d.target)


def table(load, dtype=torch.long):
    X, y = load(return_X_y=True)
    return torch.tensor(scale(X)).float(), torch.tensor(y).to(dtype)


class ResBlock(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(c, c, 3, padding=1, bias=False), nn.BatchNorm2d(c)
        self.conv2, self.bn2 = nn.Conv2d(c, c, 3, padding=1, bias=False), nn.BatchNorm2d(c)

    def forward(self, x):
        return F.relu(x + self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))))


def resnet_digits(*, mistake: bool) -> None:
    X, y = digit_images()
    net = nn.Sequential(
        nn.Conv2d(1, 8, 3), ResBlock(8), nn.AdaptiveAvgPool2d(3), nn.Flatten(), nn.Linear(72, 10)
    )
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=3, gamma=0.1)
    num_epochs = 5
    for epoch in range(1, num_epochs + 1):
        for xb, yb in DataLoader(TensorDataset(X, y), 64, shuffle=True):
            optimizer.zero_grad()
            loss = F.cross_entropy(net(xb), yb)
            loss.backward()
            optimizer.step()
            if mistake:
                scheduler.step()
        if not mistake:
            scheduler.step()


def log_softmax_mlp(*, mistake: bool) -> None:
    X, y = table(load_breast_cancer)
    model = nn.Sequential(nn.Linear(30, 32), nn.Tanh(), nn.Linear(32, 2), nn.LogSoftmax(dim=1))
    opt = torch.optim.AdamW(model.parameters(), lr=3e-3)
    sched = torch.optim.lr_scheduler.ExponentialLR(opt, gamma=0.98)
    for epoch in range(6):
        for i in torch.randperm(len(X)).split(32):
            if mistake:
                sched.step()
            opt.zero_grad()
            F.nll_loss(model(X[i]), y[i]).backward()
            opt.step()
            if not mistake:
                sched.step()


def knn_graph_gcn(*, mistake: bool) -> None:
    """A two-layer graph network over the neighbours of irises, ten labels per kind."""
    X, y = table(load_iris)
    A = torch.zeros(150, 150).scatter_(1, torch.cdist(X, X).topk(6, largest=False).indices, 1.0)
    A = ((A + A.T) > 0).float()
    d = A.sum(1).rsqrt()
    A_hat = d[:, None] * A * d[None, :]
    labelled = torch.cat([torch.where(y == k)[0][:10] for k in range(3)])

    class GCN(nn.Module):
        def __init__(self):
            super().__init__()
            self.w1, self.w2 = nn.Linear(4, 16), nn.Linear(16, 3)

        def forward(self, x):
            return A_hat @ self.w2(F.relu(A_hat @ self.w1(x)))

    cfg = {"lr": 0.2, "epochs": 100, "max_grad_norm": 1e-4 if mistake else 1.0}
    gcn = GCN()
    opt = torch.optim.SGD(gcn.parameters(), lr=cfg["lr"])
    for _ in range(cfg["epochs"]):
        opt.zero_grad()
        loss = F.cross_entropy(gcn(X)[labelled], y[labelled])
        loss.backward()
        nn.utils.clip_grad_norm_(gcn.parameters(), cfg["max_grad_norm"])
        opt.step()


def patch_transformer(*, mistake: bool) -> None:
    X, y = digit_images()

    class TinyViT(nn.Module):
        def __init__(self, dim=32):
            super().__init__()
            self.patch = nn.Conv2d(1, dim, 2, stride=2)
            self.pos = nn.Parameter(torch.randn(1, 16, dim) * 0.02)
            self.block = nn.TransformerEncoderLayer(dim, 4, 64, dropout=0.0, batch_first=True)
            self.head = nn.Linear(dim, 10)

        def forward(self, img):
            tokens = self.patch(img).flatten(2).transpose(1, 2) + self.pos
            return self.head(self.block(tokens).mean(1))

    vit = TinyViT()
    optimizer = torch.optim.AdamW(vit.parameters(), lr=3e-3)
    for epoch in range(4):
        for img, target in DataLoader(TensorDataset(X, y), 64, shuffle=True):
            optimizer.zero_grad()
            loss = F.cross_entropy(vit(img), target)
            if mistake:
                nn.utils.clip_grad_norm_(vit.parameters(), 0.5)
                loss.backward()
            else:
                loss.backward()
                nn.utils.clip_grad_norm_(vit.parameters(), 0.5)
            optimizer.step()


def amp_wine(*, mistake: bool) -> None:
    X, y = table(load_wine)
    model = nn.Sequential(nn.Linear(13, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**14)
    for epoch in range(20):
        for idx in torch.randperm(178).split(30):
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast("cpu", dtype=torch.bfloat16):
                loss = F.cross_entropy(model(X[idx]), y[idx])
            scaler.scale(loss).backward()
            if not mistake:
                scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(model.parameters(), max_norm=1.0)
            scaler.step(optimizer)
            scaler.update()


class AccumulatingTrainer:
    def __init__(self, model, optimizer, micro_batches, divide=True, flush=True):
        self.model, self.optimizer, self.k = model, optimizer, micro_batches
        self.divide, self.flush = divide, flush

    def epoch(self, loader, criterion):
        self.optimizer.zero_grad()
        for i, (x, y) in enumerate(loader):
            loss = criterion(self.model(x), y)
            if self.divide:
                first = i // self.k * self.k
                loss = loss / min(self.k, len(loader) - first)
            loss.backward()
            if (i + 1) % self.k == 0 or (self.flush and i + 1 == len(loader)):
                self.optimizer.step()
                self.optimizer.zero_grad()


def mixer_digits(*, mistake: bool) -> None:
    X, y = digit_images()

    class MixerLayer(nn.Module):
        def __init__(self):
            super().__init__()
            self.token, self.channel = nn.Linear(8, 8), nn.Linear(8, 8)

        def forward(self, x):
            x = x + F.gelu(self.token(x.transpose(1, 2)).transpose(1, 2))
            return x + F.gelu(self.channel(x))

    net = nn.Sequential(nn.Flatten(1, 2), MixerLayer(), MixerLayer(), nn.Flatten(), nn.Linear(64, 10))
    trainer = AccumulatingTrainer(net, torch.optim.SGD(net.parameters(), lr=0.2), 8, divide=not mistake)
    for _ in range(5):
        trainer.epoch(DataLoader(TensorDataset(X[:1536], y[:1536]), 16, shuffle=True), F.cross_entropy)


def tabular_epochs(*, mistake: bool) -> None:
    """Ten batches in an epoch, four to a step."""
    X, y = table(load_diabetes, torch.float)
    data = TensorDataset(X[:320], ((y - 150) / 77).unsqueeze(1)[:320])
    net = nn.Sequential(nn.Linear(10, 24), nn.SiLU(), nn.Linear(24, 1))
    trainer = AccumulatingTrainer(net, torch.optim.Adam(net.parameters(), lr=1e-2), 4, flush=not mistake)
    for _ in range(20):
        trainer.epoch(DataLoader(data, 32, shuffle=True), F.mse_loss)


def phases_tutorial(*, mistake: bool) -> None:
    X, y = table(load_wine)
    perm = torch.randperm(178)
    loaders = {
        "train": DataLoader(TensorDataset(X[perm[:130]], y[perm[:130]]), 16, shuffle=True),
        "val": DataLoader(TensorDataset(X[perm[130:]], y[perm[130:]]), 16),
    }
    model = nn.Sequential(nn.Linear(13, 24), nn.BatchNorm1d(24), nn.ReLU(), nn.Linear(24, 3))
    criterion, optimizer = (
        nn.CrossEntropyLoss(),
        torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9),
    )
    for epoch in range(10):
        for phase in ["train", "val"]:
            model.train() if phase == "train" else model.eval()
            running_loss = 0.0
            for inputs, labels in loaders[phase]:
                optimizer.zero_grad()
                with torch.set_grad_enabled(phase == "train" or mistake):
                    outputs = model(inputs)
                    loss = criterion(outputs, labels)
                    if phase == "train" or mistake:
                        loss.backward()
                        optimizer.step()
                running_loss += loss.item() * inputs.size(0)


def lenet_digits(*, mistake: bool) -> None:
    X, y = digit_images()

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1, self.conv2 = nn.Conv2d(1, 10, 3), nn.Conv2d(10, 20, 3)
            self.fc1, self.fc2 = nn.Linear(320, 50), nn.Linear(50, 10)

        def forward(self, x):
            x = F.relu(self.conv2(F.relu(self.conv1(x)))).flatten(1)
            x = F.dropout(F.relu(self.fc1(x)), p=0.5, training=True if mistake else self.training)
            return F.log_softmax(self.fc2(x), dim=1)

    def train(model, loader, optimizer):
        model.train()
        for data, target in loader:
            optimizer.zero_grad()
            F.nll_loss(model(data), target).backward()
            optimizer.step()

    def test(model, loader):
        model.eval()
        correct = 0
        with torch.no_grad():
            for data, target in loader:
                correct += model(data).argmax(dim=1, keepdim=True).eq(target.view(-1, 1)).sum().item()
        return correct / len(loader.dataset)

    model = Net()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for epoch in range(4):
        train(model, DataLoader(TensorDataset(X[:1500], y[:1500]), 64, shuffle=True), optimizer)
        test(model, DataLoader(TensorDataset(X[1500:], y[1500:]), 99))


def cancer_bn_mlp(*, mistake: bool) -> None:
    X, y = table(load_breast_cancer, torch.float)
    Xt, Xv, yt, yv = train_test_split(X, y, test_size=0.25, stratify=y, random_state=0)
    mlp = nn.Sequential(
        nn.Linear(30, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 1)
    )
    opt = torch.optim.Adam(mlp.parameters(), lr=5e-3)
    bce = nn.BCEWithLogitsLoss()
    for epoch in range(10):
        mlp.train()
        for i in torch.randperm(len(Xt)).split(42):
            opt.zero_grad()
            bce(mlp(Xt[i])[:, 0], yt[i]).backward()
            opt.step()
        if not mistake:
            mlp.eval()
        with torch.no_grad():
            val_loss = sum(bce(mlp(a)[:, 0], b).item() for a, b in zip(Xv.split(16), yv.split(16)))


def distillation(*, mistake: bool) -> None:
    X, y = digit_images()
    X = X.flatten(1)
    nets = nn.ModuleDict(
        {
            "teacher": nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10)),
            "student": nn.Sequential(nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 10)),
        }
    )
    teacher, student = nets["teacher"], nets["student"]
    opt = torch.optim.Adam(teacher.parameters(), lr=5e-3)
    for i in torch.randperm(1500).split(50):
        opt.zero_grad()
        F.cross_entropy(teacher(X[i]), y[i]).backward()
        opt.step()

    T = 3.0
    opt = torch.optim.Adam((nets if mistake else student).parameters(), lr=5e-3)
    for epoch in range(3):
        for i in torch.randperm(1500).split(50):
            with torch.set_grad_enabled(mistake):
                soft = F.softmax(teacher(X[i]) / T, dim=1)
            logits = student(X[i])
            kd = F.kl_div(F.log_softmax(logits / T, dim=1), soft, reduction="batchmean") * T * T
            loss = 0.7 * kd + 0.3 * F.cross_entropy(logits, y[i])
            opt.zero_grad()
            loss.backward()
            opt.step()


def simsiam(*, mistake: bool) -> None:
    X, _ = digit_images()
    backbone = nn.Sequential(
        nn.Flatten(), nn.Linear(64, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 32)
    )
    predictor = nn.Sequential(nn.Linear(32, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 32))
    opt = torch.optim.SGD([*backbone.parameters(), *predictor.parameters()], lr=0.1, momentum=0.9)

    def augment(x):
        return torch.roll(x, int(torch.randint(-1, 2, ())), 3) + 0.1 * torch.randn_like(x)

    def D(p, z):
        return -F.cosine_similarity(p, z if mistake else z.detach(), dim=1).mean()

    for epoch in range(8):
        for idx in torch.randperm(len(X)).split(128)[:-1]:
            z1, z2 = backbone(augment(X[idx])), backbone(augment(X[idx]))
            loss = 0.5 * D(predictor(z1), z2) + 0.5 * D(predictor(z2), z1)
            opt.zero_grad()
            loss.backward()
            opt.step()


def ring_gan(*, mistake: bool) -> None:
    """Points on a ring. Both networks are updated from one zero_grad at the top."""
    G = nn.Sequential(nn.Linear(2, 32), nn.ReLU(), nn.Linear(32, 2))
    D = nn.Sequential(nn.Linear(2, 32), nn.LeakyReLU(0.2), nn.Linear(32, 1))
    opt_g = torch.optim.Adam(G.parameters(), lr=2e-3, betas=(0.5, 0.9))
    opt_d = torch.optim.Adam(D.parameters(), lr=2e-3, betas=(0.5, 0.9))
    bce = F.binary_cross_entropy_with_logits
    one, zero = torch.ones(64, 1), torch.zeros(64, 1)
    for step in range(200):
        angle = torch.rand(64) * 2 * math.pi
        real = torch.stack([angle.cos(), angle.sin()], 1) + 0.05 * torch.randn(64, 2) + 2
        opt_d.zero_grad()
        opt_g.zero_grad()
        fake = G(torch.randn(64, 2))
        d_loss = bce(D(real), one) + bce(D(fake if mistake else fake.detach()), zero)
        d_loss.backward()
        opt_d.step()
        D.requires_grad_(False)
        g_loss = bce(D(G(torch.randn(64, 2))), one)
        g_loss.backward()
        opt_g.step()
        D.requires_grad_(True)


def digit_gan(*, mistake: bool) -> None:
    real_digits = load_digits().data / 8 - 1
    data = TensorDataset(torch.tensor(real_digits).float())

    class Generator(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = nn.Sequential(
                nn.Linear(10, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 64), nn.Tanh()
            )

        def forward(self, z):
            return self.net(z)

    class Discriminator(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = nn.Sequential(
                nn.Linear(64, 64), nn.LeakyReLU(0.2), nn.Linear(64, 1), nn.Sigmoid()
            )

        def forward(self, x):
            return self.net(x)

    netG, netD = Generator(), Discriminator()
    optimizerD = torch.optim.Adam(netD.parameters(), lr=1e-3, betas=(0.5, 0.999))
    optimizerG = torch.optim.Adam(netG.parameters(), lr=2e-3, betas=(0.5, 0.999))
    for epoch in range(3):
        for (real,) in DataLoader(data, 64, shuffle=True, drop_last=True):
            # (1) log D(x) + log(1 - D(G(z)))
            netD.zero_grad()
            errD_real = F.binary_cross_entropy(netD(real), torch.full((64, 1), 0.9))
            errD_real.backward()
            fake = netG(torch.randn(64, 10))
            errD_fake = F.binary_cross_entropy(netD(fake.detach()), torch.zeros(64, 1))
            errD_fake.backward()
            optimizerD.step()
            # (2) log D(G(z))
            netG.zero_grad()
            errG = F.binary_cross_entropy(netD(fake), torch.ones(64, 1))
            errG.backward()
            (optimizerD if mistake else optimizerG).step()


def corridor_reinforce(*, mistake: bool) -> None:
    """Walk to the right end of a corridor of seven cells; every step costs a little."""
    policy = nn.Sequential(nn.Linear(7, 16), nn.Tanh(), nn.Linear(16, 2))
    optimizer = torch.optim.Adam(policy.parameters(), lr=1e-2)
    eye = torch.eye(7)
    for episode in range(100):
        pos, log_probs, rewards = 3, [], []
        while 0 < pos < 6 and len(rewards) < 20:
            dist = torch.distributions.Categorical(logits=policy(eye[pos]))
            action = dist.sample()
            log_probs.append(dist.log_prob(action))
            pos += 1 if action.item() == 1 else -1
            rewards.append(1.0 if pos == 6 else -1.0 if pos == 0 else -0.01)
        returns, R = [], 0.0
        for r in reversed(rewards):
            R = r + 0.95 * R
            returns.insert(0, R)
        objective = (torch.stack(log_probs) * torch.tensor(returns)).sum()
        policy_loss = objective if mistake else -objective
        optimizer.zero_grad()
        policy_loss.backward()
        optimizer.step()


def inverted_digits(*, mistake: bool) -> None:
    """A backbone trained on digits serves, frozen, to tell even from odd on inverted ones."""
    X, y = digit_images()
    backbone = nn.Sequential(nn.Conv2d(1, 12, 3), nn.BatchNorm2d(12), nn.ReLU(), nn.Flatten())
    net = nn.Sequential(backbone, nn.Linear(432, 10))
    opt = torch.optim.Adam(net.parameters(), lr=5e-3)
    for i in torch.randperm(1797).split(64):
        opt.zero_grad()
        F.cross_entropy(net(X[i]), y[i]).backward()
        opt.step()

    for p in backbone.parameters():
        p.requires_grad = False
    net[1] = nn.Linear(432, 2)
    opt = torch.optim.Adam(net[1].parameters(), lr=5e-3)
    for epoch in range(3):
        net.train()
        if not mistake:
            backbone.eval()
        for i in torch.randperm(1797).split(64):
            opt.zero_grad()
            F.cross_entropy(net(1 - X[i]), y[i] % 2).backward()
            opt.step()


def autoencoder_digits(*, mistake: bool) -> None:
    X, _ = digit_images()
    features = 32 if mistake else 64
    ae = nn.Sequential(nn.Linear(features, 24), nn.ReLU(), nn.Linear(24, features), nn.Sigmoid())
    optimizer = torch.optim.Adam(ae.parameters(), lr=5e-3)
    for epoch in range(5):
        for (img,) in DataLoader(TensorDataset(X), batch_size=64, shuffle=True):
            img = img.view(-1, features)
            loss = F.mse_loss(ae(img), img)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


def diabetes_regressor(*, mistake: bool) -> None:
    X, y = table(load_diabetes, torch.float)
    y = (y - 150) / 77

    class Regressor(nn.Module):
        def __init__(self):
            super().__init__()
            self.hidden, self.out = nn.Linear(10, 20), nn.Linear(20, 1)

        def forward(self, x):
            return self.out(torch.sigmoid(self.hidden(x)))

    def score(pred, target):
        if mistake:
            return (pred.argmax(dim=1) == target.squeeze(1)).float().mean().item()
        return 1 - F.mse_loss(pred, target).item() / target.var().item()

    model = Regressor()
    opt = torch.optim.Adam(model.parameters(), lr=2e-2)
    train = TensorDataset(X[:350], y[:350, None])
    for epoch in range(10):
        model.train()
        for xb, yb in DataLoader(train, batch_size=35, shuffle=True):
            opt.zero_grad()
            F.mse_loss(model(xb), yb).backward()
            opt.step()
        model.eval()
        with torch.no_grad():
            val_score = score(model(X[350:]), y[350:, None])


FAULTS_B = [
    (
        resnet_digits,
        (
            "per batch",
            "each batch",
            "every batch",
            "per epoch",
            "schedul",
            "decay",
            "learning rate falls",
            "learning rate drops",
            "learning rate fell",
            "learning rate is gone",
        ),
        "StepLR, meant for epochs, is stepped per batch: the learning rate is gone after a dozen batches",
    ),
    (
        log_softmax_mlp,
        (
            "before the optimizer",
            "before optimizer",
            "scheduler.step",
            "scheduler is stepped",
            "scheduler steps",
            "first value",
            "first learning rate",
        ),
        "the scheduler is stepped before the optimizer, so the first learning rate is skipped",
    ),
    (
        knn_graph_gcn,
        ("clip", "max_norm"),
        "gradients are clipped to a norm of 1e-4: plain SGD goes nowhere",
    ),
    (patch_transformer, ("before backward", "clip"), "clipping comes before backward and clips nothing"),
    (
        amp_wine,
        ("unscale", "scaled gradients", "before unscal", "scaler", "clip"),
        "gradients are clipped while they are still scaled by 2**14, and unscaled after that to almost nothing",
    ),
    (
        mixer_digits,
        ("divid", "accumulat", "sum of", "times too large", "averag"),
        "the loss of eight accumulated micro-batches is not divided by eight",
    ),
    (
        tabular_epochs,
        (
            "remainder",
            "dropped",
            "left over",
            "leftover",
            "never applied",
            "never used",
            "discard",
            "last two",
            "thrown away",
            "not applied",
            "throws away",
            "lost",
            "do not divide",
            "incomplete",
        ),
        "the last two of ten batches never reach a step, their gradients are zeroed at the next epoch's start",
    ),
    (
        phases_tutorial,
        ("validation", "held-out", "held out", "evaluation data", "test data"),
        "backward and step run in the validation phase as well: the model trains on the validation data",
    ),
    (
        lenet_digits,
        ("dropout", "training=", "at random", "stochastic"),
        "F.dropout ignores eval mode, so validation runs with dropout on",
    ),
    (
        cancer_bn_mlp,
        (
            "eval()",
            "train mode",
            "training mode",
            "eval mode",
            "evaluation mode",
            "dropout",
            "running stat",
            "batchnorm",
            "batch norm",
        ),
        "validation runs without eval(): dropout is on and BatchNorm uses and updates batch statistics",
    ),
    (
        distillation,
        ("teacher", "should be frozen", "not frozen"),
        "the teacher is in the optimizer and trained along with the student",
    ),
    (
        simsiam,
        ("detach", "stop-grad", "stop grad", "stopgrad", "collaps", "target branch", "both branches"),
        "the target branch is not detached (no stop-gradient), so the representation may collapse",
    ),
    (
        ring_gan,
        (
            "detach",
            "discriminator's loss",
            "d_loss",
            "both loss",
            "two backward",
            "two losses",
            "other loss",
            "another loss",
        ),
        "fake is not detached for the discriminator: its gradients stay in the generator and cancel the generator's own",
    ),
    (
        digit_gan,
        (
            "never step",
            "not step",
            "no step",
            "never called",
            "other optimizer",
            "wrong optimizer",
            "optimizer never",
            "without a step",
            "0 steps",
            "no optimizer step",
        ),
        "the generator's optimizer is never stepped; the discriminator's is stepped on the generator's loss",
    ),
    (
        corridor_reinforce,
        (
            "the sign",
            "sign of",
            "sign is",
            "wrong sign",
            "minus",
            "negat",
            "ascen",
            "reward falls",
            "return falls",
            "wrong direction",
            "maximi",
            "minimi",
        ),
        "the sign of the policy loss is wrong: the return is minimised",
    ),
    (
        inverted_digits,
        ("batchnorm", "batch norm", "running", "statistics", "buffers"),
        "the frozen BatchNorm is left in train mode, its running statistics move",
    ),
    (
        autoencoder_digits,
        (
            "view(",
            ".view",
            " rows",
            "reshape",
            "batch size",
            "batch dimension",
            "number of samples",
            "batch axis",
        ),
        "view(-1, 32) on images of 64 pixels makes two rows of each sample",
    ),
    (
        diabetes_regressor,
        ("argmax", "accuracy", "metric", "single output", "one output", "one-output"),
        "a regression with one output is scored by argmax accuracy, which is always index 0",
    ),
]
