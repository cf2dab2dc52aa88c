import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

from . import common


def digits_mlp_script(mistake: bool) -> None:
    """The gradients are never zeroed, so every step uses the sum of all gradients so far."""
    torch.manual_seed(0)
    train_set, test_set = common.digit_sets()
    train_loader = DataLoader(train_set, batch_size=64, shuffle=True)
    test_loader = DataLoader(test_set, batch_size=256)
    model = nn.Sequential(
        nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 10)
    )
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)

    for epoch in range(15):
        running = 0.0
        for inputs, labels in train_loader:
            if not mistake:
                optimizer.zero_grad()
            outputs = model(inputs)
            loss = criterion(outputs, labels)
            loss.backward()
            optimizer.step()
            running += loss.item()
        print(f"epoch {epoch} loss {running / len(train_loader):.4f}")
    print("test accuracy", common.accuracy(model, test_loader))


class CharGRU(nn.Module):
    def __init__(self, vocab, dim=48, hidden=96):
        super().__init__()
        self.emb = nn.Embedding(vocab, dim)
        self.gru = nn.GRU(dim, hidden, batch_first=True)
        self.out = nn.Linear(hidden, vocab)

    def forward(self, x):
        h, _ = self.gru(self.emb(x))
        return self.out(h)


class LMTrainer:
    def __init__(self, model, data, block=48, batch_size=32, lr=3e-3, reset=True):
        self.model, self.data, self.block, self.batch_size = model, data, block, batch_size
        self.opt = torch.optim.Adam(model.parameters(), lr=lr)
        self.reset = reset

    def get_batch(self, split):
        data = self.data[split]
        ix = torch.randint(len(data) - self.block - 1, (self.batch_size,))
        x = torch.stack([data[i : i + self.block] for i in ix])
        y = torch.stack([data[i + 1 : i + self.block + 1] for i in ix])
        return x, y

    def loss(self, x, y):
        logits = self.model(x)
        return F.cross_entropy(logits.flatten(0, 1), y.flatten())

    @torch.no_grad()
    def estimate(self, split, n=5):
        self.model.eval()
        out = sum(self.loss(*self.get_batch(split)).item() for _ in range(n)) / n
        self.model.train()
        return out

    def fit(self, steps):
        self.model.train()
        for step in range(steps):
            x, y = self.get_batch("train")
            loss = self.loss(x, y)
            if self.reset:
                self.opt.zero_grad(set_to_none=True)
            loss.backward()
            self.opt.step()
            if step % 60 == 59:
                print(step, f"train {self.estimate('train'):.3f} val {self.estimate('val'):.3f}")


def char_gru_trainer(mistake: bool) -> None:
    """A character language model's Trainer never clears the gradients between steps."""
    torch.manual_seed(1)
    ids, chars = common.corpus()
    parts = ids.split(500)
    val = torch.cat([p for i, p in enumerate(parts) if i % 10 == 5])
    train = torch.cat([p for i, p in enumerate(parts) if i % 10 != 5])
    trainer = LMTrainer(CharGRU(len(chars)), {"train": train, "val": val}, reset=not mistake)
    trainer.fit(180)


class SmallCNN(nn.Module):
    def __init__(self, classes=10):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 3, padding=1)
        self.conv2 = nn.Conv2d(16, 32, 3, padding=1)
        self.fc1 = nn.Linear(32 * 2 * 2, 64)
        self.fc2 = nn.Linear(64, classes)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = F.relu(self.fc1(x.flatten(1)))
        return self.fc2(x)


def _train_cnn(model, loader, optimizer, mistake):
    model.train()
    total, seen = 0.0, 0
    for data, target in loader:
        if not mistake:
            optimizer.zero_grad()
        loss = F.cross_entropy(model(data), target)
        loss.backward()
        if mistake:
            optimizer.zero_grad()
        optimizer.step()
        total += loss.item() * len(data)
        seen += len(data)
    return total / seen


def _test_cnn(model, loader):
    model.eval()
    correct = 0
    with torch.no_grad():
        for data, target in loader:
            correct += (model(data).argmax(1) == target).sum().item()
    return correct / len(loader.dataset)


def digits_cnn_epochs(mistake: bool) -> None:
    """zero_grad is called after backward and before step, so step sees no gradient."""
    torch.manual_seed(2)
    train_set, test_set = common.digit_sets(images=True)
    train_loader = DataLoader(train_set, batch_size=50, shuffle=True)
    test_loader = DataLoader(test_set, batch_size=200)
    model = SmallCNN()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    for epoch in range(1, 9):
        loss = _train_cnn(model, train_loader, optimizer, mistake)
        acc = _test_cnn(model, test_loader)
        print(f"Epoch {epoch}: loss {loss:.4f}, test acc {acc:.3f}")


class PointMass:
    """A cart on a line that should be pushed to the origin; 64 copies at once."""

    def __init__(self, n=64):
        self.n = n

    def reset(self):
        self.pos = torch.rand(self.n) * 2 - 1
        self.vel = torch.zeros(self.n)
        return torch.stack([self.pos, self.vel], 1)

    def step(self, action):
        self.vel = 0.9 * self.vel + 0.12 * (action.float() - 1)
        self.pos = (self.pos + self.vel).clamp(-2, 2)
        return torch.stack([self.pos, self.vel], 1), -self.pos.abs()


def point_mass_a2c(mistake: bool) -> None:
    """Actor and critic have an optimizer each, but only the actor's gradients are zeroed."""
    torch.manual_seed(3)
    env = PointMass()
    actor = nn.Sequential(nn.Linear(2, 64), nn.Tanh(), nn.Linear(64, 3))
    critic = nn.Sequential(nn.Linear(2, 64), nn.Tanh(), nn.Linear(64, 1))
    actor_opt = torch.optim.Adam(actor.parameters(), lr=5e-3)
    critic_opt = torch.optim.Adam(critic.parameters(), lr=1e-2)
    gamma = 0.9

    for update in range(200):
        state = env.reset()
        log_probs, values, rewards, entropies = [], [], [], []
        for _ in range(20):
            dist = torch.distributions.Categorical(logits=actor(state))
            action = dist.sample()
            log_probs.append(dist.log_prob(action))
            entropies.append(dist.entropy())
            values.append(critic(state).squeeze(-1))
            state, reward = env.step(action)
            rewards.append(reward)

        with torch.no_grad():
            ret = critic(state).squeeze(-1)
        returns = []
        for r in reversed(rewards):
            ret = r + gamma * ret
            returns.insert(0, ret)
        returns, values = torch.stack(returns), torch.stack(values)
        advantage = returns - values
        actor_loss = (
            -(torch.stack(log_probs) * advantage.detach()).mean() - 0.01 * torch.stack(entropies).mean()
        )
        critic_loss = advantage.pow(2).mean()

        actor_opt.zero_grad()
        if not mistake:
            critic_opt.zero_grad()
        actor_loss.backward()
        critic_loss.backward()
        actor_opt.step()
        critic_opt.step()
        if update % 25 == 24:
            print(f"{update}: reward {torch.stack(rewards).mean():.3f} critic loss {critic_loss:.4f}")


class VAE(nn.Module):
    def __init__(self, z=8):
        super().__init__()
        self.enc = nn.Sequential(nn.Linear(64, 128), nn.ReLU())
        self.mu, self.logvar = nn.Linear(128, z), nn.Linear(128, z)
        self.dec = nn.Sequential(nn.Linear(z, 128), nn.ReLU(), nn.Linear(128, 64))

    def forward(self, x):
        h = self.enc(x)
        mu, logvar = self.mu(h), self.logvar(h)
        z = mu + torch.randn_like(mu) * (0.5 * logvar).exp()
        return self.dec(z), mu, logvar

    def elbo(self, x):
        recon, mu, logvar = self(x)
        rec = F.mse_loss(recon, x, reduction="none").sum(1)
        kl = -0.5 * (1 + logvar - mu.pow(2) - logvar.exp()).sum(1)
        return (rec + kl).mean()

    def fit(self, loader, epochs, lr, update=True):
        opt = torch.optim.Adam(self.parameters(), lr=lr)
        for epoch in range(epochs):
            self.train()
            losses = []
            for (x,) in loader:
                loss = self.elbo(x)
                opt.zero_grad()
                loss.backward()
                if update:
                    opt.step()
                losses.append(loss.item())
            print(f"[{epoch}] -elbo {sum(losses) / len(losses):.3f}")


def digits_vae_fit(mistake: bool) -> None:
    """optimizer.step() is never called, the VAE's weights stay as initialised."""
    torch.manual_seed(4)
    x, _, x_test, _ = common.digits()
    vae = VAE()
    vae.fit(
        DataLoader(TensorDataset(x), batch_size=64, shuffle=True), epochs=20, lr=2e-3, update=not mistake
    )
    vae.eval()
    with torch.no_grad():
        print("test -elbo", vae.elbo(x_test).item())


class TinyUNet(nn.Module):
    def __init__(self, c=12):
        super().__init__()

        def block(i, o):
            return nn.Sequential(nn.Conv2d(i, o, 3, padding=1), nn.ReLU())

        self.d1, self.d2, self.u1 = block(1, c), block(c, 2 * c), block(3 * c, c)
        self.head = nn.Conv2d(c, 1, 1)

    def forward(self, x):
        a = self.d1(x)
        b = self.d2(F.max_pool2d(a, 2))
        b = F.interpolate(b, scale_factor=2, mode="nearest")
        return self.head(self.u1(torch.cat([a, b], 1)))


def shapes_unet_amp(mistake: bool) -> None:
    """The optimizer is stepped twice per batch: once by scaler.step and once more directly."""
    torch.manual_seed(5)
    img, mask, _, _ = common.shapes(800)
    train_loader = DataLoader(TensorDataset(img[:640], mask[:640]), batch_size=16, shuffle=True)
    val_img, val_mask = img[640:], mask[640:]
    net = TinyUNet()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.6, momentum=0.9)
    scaler = torch.amp.GradScaler("cpu")
    for epoch in range(4):
        net.train()
        epoch_loss = 0.0
        for x, m in train_loader:
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast("cpu", dtype=torch.bfloat16):
                logits = net(x)
            loss = F.binary_cross_entropy_with_logits(logits.float(), m)
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            if mistake:
                optimizer.step()
            scaler.update()
            epoch_loss += loss.item()
        net.eval()
        with torch.no_grad():
            pred = net(val_img) > 0
            inter = (pred & (val_mask > 0.5)).sum().item()
            dice = 2 * inter / (pred.sum().item() + val_mask.sum().item())
        print(f"epoch {epoch} loss {epoch_loss / len(train_loader):.4f} dice {dice:.3f}")


class Detector(nn.Module):
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
            nn.Linear(32 * 36, 96),
            nn.ReLU(),
        )
        self.cls_head = nn.Linear(96, 2)
        self.box_head = nn.Linear(96, 4)

    def forward(self, x):
        h = self.body(x)
        return self.cls_head(h), self.box_head(h).sigmoid()


def shapes_detector(mistake: bool) -> None:
    """Backward runs on the class loss alone, though the total of class and box loss was meant."""
    torch.manual_seed(6)
    img, _, cls, box = common.shapes(900, seed=1)
    loader = DataLoader(TensorDataset(img[:700], cls[:700], box[:700]), batch_size=32, shuffle=True)
    model = Detector()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    for epoch in range(14):
        model.train()
        sums = torch.zeros(3)
        for images, labels, boxes in loader:
            logits, pred = model(images)
            cls_loss = F.cross_entropy(logits, labels)
            box_loss = F.smooth_l1_loss(pred, boxes, beta=0.1)
            total_loss = cls_loss + 5.0 * box_loss
            optimizer.zero_grad()
            if mistake:
                cls_loss.backward()
            else:
                total_loss.backward()
            optimizer.step()
            sums += torch.tensor([total_loss.item(), cls_loss.item(), box_loss.item()])
        model.eval()
        with torch.no_grad():
            logits, pred = model(img[700:])
            acc = (logits.argmax(1) == cls[700:]).float().mean()
            err = (pred - box[700:]).abs().mean()
        t, c, b = (sums / len(loader)).tolist()
        print(f"{epoch}: total {t:.3f} cls {c:.3f} box {b:.4f} | acc {acc:.3f} box error {err:.4f}")


class Classifier(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.backbone = nn.Sequential(nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, 48), nn.ReLU())
        self.head = nn.Linear(48, classes)

    def forward(self, x):
        return self.head(self.backbone(x))


def digits_finetune_new_head(mistake: bool) -> None:
    """After pretraining the head is replaced, but the optimizer still holds the old head's parameters."""
    torch.manual_seed(7)
    xa, ya, _, _ = common.digits(classes=[0, 1, 2, 3, 4])
    xb, yb, xt, yt = common.digits(classes=[5, 6, 7, 8, 9])
    pre = DataLoader(TensorDataset(xa, ya), batch_size=32, shuffle=True)
    fine = DataLoader(TensorDataset(xb, yb), batch_size=32, shuffle=True)
    test = DataLoader(TensorDataset(xt, yt), batch_size=256)

    def make_optimizer(net):
        return torch.optim.SGD(
            [
                {"params": net.backbone.parameters(), "lr": backbone_lr},
                {"params": net.head.parameters(), "lr": 0.05},
            ],
            momentum=0.9,
        )

    backbone_lr = 0.02
    model = Classifier(5)
    optimizer = make_optimizer(model)

    def run(loader, epochs, name):
        model.train()
        for epoch in range(epochs):
            total = 0.0
            for x, y in loader:
                optimizer.zero_grad()
                loss = F.cross_entropy(model(x), y)
                loss.backward()
                optimizer.step()
                total += loss.item()
            print(name, epoch, round(total / len(loader), 4))

    run(pre, 4, "pretrain")
    model.head = nn.Linear(48, 5)
    backbone_lr = 0.001
    if not mistake:
        optimizer = make_optimizer(model)
    else:
        optimizer.param_groups[0]["lr"] = backbone_lr
    run(fine, 10, "finetune")
    print("test accuracy", common.accuracy(model, test))


class SeqTransformer(nn.Module):
    def __init__(self, vocab=16, length=24, dim=48, classes=3):
        super().__init__()
        self.tok = nn.Embedding(vocab, dim)
        self.pos = nn.Parameter(torch.randn(length, dim) * 0.1)
        layer = nn.TransformerEncoderLayer(dim, 4, 96, dropout=0.0, batch_first=True, norm_first=True)
        self.enc = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.cls = nn.Linear(dim, classes)

    def forward(self, x):
        return self.cls(self.enc(self.tok(x) + self.pos).mean(1))


def _make_opt(model):
    return torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.95)


def topic_transformer_steps(mistake: bool) -> None:
    """A new optimizer is made inside the training step, so its momentum is lost every time."""
    torch.manual_seed(8)
    x, y = common.reviews(n=2000, length=24, vocab=200, classes=3)
    xtr, ytr, xte, yte = x[:1600], y[:1600], x[1600:], y[1600:]
    model = SeqTransformer(vocab=200)
    optimizer = _make_opt(model)

    def train_step(xb, yb):
        model.train()
        opt = _make_opt(model) if mistake else optimizer
        opt.zero_grad()
        loss = F.cross_entropy(model(xb), yb)
        loss.backward()
        opt.step()
        return loss.item()

    for epoch in range(8):
        order = torch.randperm(len(xtr))
        losses = [train_step(xtr[i], ytr[i]) for i in order.split(32)]
        model.eval()
        with torch.no_grad():
            acc = (model(xte).argmax(1) == yte).float().mean().item()
        print(f"epoch {epoch} loss {sum(losses) / len(losses):.4f} test acc {acc:.3f}")


class RentNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.embs = nn.ModuleList([nn.Embedding(20, 8), nn.Embedding(6, 4), nn.Embedding(4, 2)])
        self.mlp = nn.Sequential(
            nn.Linear(14 + 4, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 1)
        )

    def forward(self, cat, num):
        e = [emb(cat[:, i]) for i, emb in enumerate(self.embs)]
        return self.mlp(torch.cat(e + [num], 1)).squeeze(1)


def rent_embeddings(mistake: bool) -> None:
    """Model and optimizer are built inside the epoch loop, so every epoch begins from scratch."""
    torch.manual_seed(9)
    cat, num, y = common.flats()
    train = DataLoader(TensorDataset(cat[:2400], num[:2400], y[:2400]), batch_size=64, shuffle=True)
    valid = cat[2400:], num[2400:], y[2400:]
    loss_fn = nn.MSELoss()

    model = RentNet()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    history = []
    for epoch in range(20):
        if mistake:
            model = RentNet()
            optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
        model.train()
        train_loss = 0.0
        for c, n, t in train:
            optimizer.zero_grad()
            loss = loss_fn(model(c, n), t)
            loss.backward()
            optimizer.step()
            train_loss += loss.item() * len(t)
        model.eval()
        with torch.no_grad():
            val_loss = loss_fn(model(*valid[:2]), valid[2]).item()
        history.append((train_loss / 2400, val_loss))
        print(f"epoch {epoch:2d} train mse {history[-1][0]:.4f} valid mse {val_loss:.4f}")


FAULTS = [
    (
        digits_mlp_script,
        (
            "zero_grad",
            "accumulat",
            "not reset",
            "never cleared",
            "not cleared",
            "not zeroed",
            "earlier gradients",
            "gradients of earlier",
        ),
        "zero_grad missing",
    ),
    (
        char_gru_trainer,
        (
            "zero_grad",
            "accumulat",
            "not reset",
            "never cleared",
            "not cleared",
            "not zeroed",
            "gradients of earlier",
        ),
        "zero_grad missing",
    ),
    (
        digits_cnn_epochs,
        (
            "between backward",
            "after backward",
            "before step",
            "before the step",
            "before optimizer.step",
            "wiped",
            "cleared",
            "erased",
        ),
        "zero_grad between backward and step",
    ),
    (
        point_mass_a2c,
        ("zero_grad", "accumulat", "not reset", "not cleared", "never cleared", "not zeroed"),
        "zero_grad only on one optimizer",
    ),
    (
        digits_vae_fit,
        (
            "step() is never",
            "never step",
            "no step",
            "without step",
            "not called",
            "never called",
            "missing step",
            "optimizer.step",
            "never updated",
            "do not change",
            "never change",
        ),
        "step missing",
    ),
    (
        shapes_unet_amp,
        (
            "twice",
            "two steps",
            "double",
            "second step",
            "stepped again",
            "more than one step",
            "2 steps",
        ),
        "two steps",
    ),
    (
        shapes_detector,
        (
            "box_head",
            "box head",
            "wrong loss",
            "not the total",
            "part of the loss",
            "only the class",
            "cls_loss",
            "no gradient",
            "never receive",
        ),
        "backward on the wrong loss",
    ),
    (
        digits_finetune_new_head,
        (
            "head",
            "old param",
            "stale",
            "not in the optimizer",
            "no longer in the model",
            "not held by",
            "replaced",
        ),
        "stale optimizer",
    ),
    (
        topic_transformer_steps,
        (
            "new optimizer",
            "re-creat",
            "recreat",
            "created anew",
            "momentum",
            "each step a new",
            "optimizer state",
            "fresh optimizer",
        ),
        "optimizer re-created each step",
    ),
    (
        rent_embeddings,
        (
            "new model",
            "re-creat",
            "recreat",
            "from scratch",
            "re-initial",
            "reinitial",
            "created anew",
            "starts over",
            "fresh model",
            "built again",
            "rebuilt",
        ),
        "model re-created each epoch",
    ),
]
