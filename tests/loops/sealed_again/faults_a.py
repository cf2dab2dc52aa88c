"""Scripts and small trainers: each function is one training, right or with one mistake."""

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
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from torch import nn, optim
from torch.utils.data import DataLoader, TensorDataset


def char_gru(*, mistake: bool) -> None:
    text = LogisticRegression.__doc__[:6000]
    stoi = {c: i for i, c in enumerate(sorted(set(text)))}
    data = torch.tensor([stoi[c] for c in text])

    class CharGRU(nn.Module):
        def __init__(self, vocab, hidden=48):
            super().__init__()
            self.emb = nn.Embedding(vocab, 24)
            self.rnn = nn.GRU(24, hidden, batch_first=True)
            self.out = nn.Linear(hidden, vocab)

        def forward(self, idx):
            return self.out(self.rnn(self.emb(idx))[0])

    net = CharGRU(len(stoi))
    opt = optim.Adam(net.parameters(), lr=5e-3)
    for _ in range(120):
        start = torch.randint(len(data) - 33, (16,))
        chunk = torch.stack([data[s : s + 33] for s in start])
        logits = net(chunk[:, :-1])
        loss = F.cross_entropy(logits.transpose(1, 2), chunk[:, 1:])
        if not mistake:
            opt.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 5.0)
        opt.step()


def diabetes_mlp(*, mistake: bool) -> None:
    X, y = load_diabetes(return_X_y=True)
    X = torch.tensor(StandardScaler().fit_transform(X), dtype=torch.float32)
    y = torch.tensor((y - y.mean()) / y.std(), dtype=torch.float32).unsqueeze(1)
    model = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 1))
    criterion = nn.MSELoss()
    optimizer = optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
    loader = DataLoader(TensorDataset(X, y), batch_size=32, shuffle=True)
    for epoch in range(10):
        for xb, yb in loader:
            if not mistake:
                optimizer.zero_grad()
            loss = criterion(model(xb), yb)
            loss.backward()
            if mistake:
                optimizer.zero_grad()
            optimizer.step()


def seq2seq_reverse(*, mistake: bool) -> None:
    """Read five symbols, write them backwards; the old tutorial's two optimizers."""

    class Encoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = nn.Embedding(8, 16)
            self.gru = nn.GRU(16, 48, batch_first=True)

        def forward(self, src):
            return self.gru(self.embedding(src))[1]

    class Decoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = nn.Embedding(9, 16)
            self.gru = nn.GRU(16, 48, batch_first=True)
            self.out = nn.Linear(48, 8)

        def forward(self, tokens, hidden):
            return self.out(self.gru(self.embedding(tokens), hidden)[0])

    encoder, decoder = Encoder(), Decoder()
    encoder_optimizer = optim.Adam(encoder.parameters(), lr=5e-3)
    decoder_optimizer = optim.Adam(decoder.parameters(), lr=5e-3)

    def train(src, dst):
        decoder_optimizer.zero_grad()
        if not mistake:
            encoder_optimizer.zero_grad()
        tokens = torch.cat([torch.full((len(src), 1), 8), dst[:, :-1]], dim=1)
        logits = decoder(tokens, encoder(src))
        loss = F.cross_entropy(logits.reshape(-1, 8), dst.reshape(-1))
        loss.backward()
        encoder_optimizer.step()
        decoder_optimizer.step()
        return loss.item()

    for _ in range(150):
        src = torch.randint(0, 8, (32, 5))
        train(src, src.flip(1))


def segmentation_tiles(*, mistake: bool) -> None:
    """Bright against dark pixels of the two sample photographs."""
    images = (
        torch.stack([torch.tensor(i) for i in load_sample_images().images]).permute(0, 3, 1, 2) / 255
    )
    tiles = (
        images.unfold(2, 32, 64).unfold(3, 32, 64).permute(0, 2, 3, 1, 4, 5).reshape(-1, 3, 32, 32)[:96]
    )
    masks = (tiles.mean(1, keepdim=True) > tiles.mean()).float()

    class MiniUNet(nn.Module):
        def __init__(self):
            super().__init__()
            self.down = nn.Conv2d(3, 8, 3, padding=1)
            self.mid = nn.Conv2d(8, 16, 3, padding=1)
            self.up = nn.Conv2d(24, 8, 3, padding=1)
            self.final = nn.Conv2d(8, 1, 1)

        def forward(self, x):
            d = F.relu(self.down(x))
            m = F.interpolate(F.relu(self.mid(F.max_pool2d(d, 2))), scale_factor=2)
            return self.final(F.relu(self.up(torch.cat([d, m], 1))))

    net = MiniUNet()
    optimizer = optim.Adam(net.parameters(), lr=1e-2)
    loader = DataLoader(TensorDataset(tiles, masks), batch_size=16, shuffle=True)
    accumulate = 8 if mistake else 2  # of six batches in an epoch
    for epoch in range(12):
        net.train()
        for i, (x, m) in enumerate(loader):
            loss = F.binary_cross_entropy_with_logits(net(x), m) / accumulate
            loss.backward()
            if (i + 1) % accumulate == 0:
                optimizer.step()
                optimizer.zero_grad()


class DigitsTrainer:
    def __init__(self, model, lr, step_in_fit):
        self.model = model
        self.optimizer = optim.AdamW(model.parameters(), lr=lr)
        self.step_in_fit = step_in_fit
        self.history = []

    def training_step(self, batch):
        images, labels = batch
        self.optimizer.zero_grad()
        loss = F.cross_entropy(self.model(images), labels)
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    def fit(self, loader, epochs):
        for _ in range(epochs):
            self.model.train()
            for batch in loader:
                self.history.append(self.training_step(batch).item())
                if self.step_in_fit:
                    self.optimizer.step()


def digits_trainer(*, mistake: bool) -> None:
    digits = load_digits()
    images = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1) / 16
    data = TensorDataset(images, torch.tensor(digits.target))
    cnn = nn.Sequential(
        nn.Conv2d(1, 12, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(192, 10)
    )
    DigitsTrainer(cnn, 2e-3, step_in_fit=mistake).fit(
        DataLoader(data, batch_size=64, shuffle=True), epochs=4
    )


def wine_multitask(*, mistake: bool) -> None:
    """The cultivar and, from the other twelve columns, the alcohol."""
    X, cultivar = load_wine(return_X_y=True)
    X = StandardScaler().fit_transform(X)
    alcohol = torch.tensor(X[:, :1], dtype=torch.float32)
    X, cultivar = torch.tensor(X[:, 1:], dtype=torch.float32), torch.tensor(cultivar)

    class TwoHeads(nn.Module):
        def __init__(self):
            super().__init__()
            self.trunk = nn.Sequential(nn.Linear(12, 32), nn.Tanh())
            self.cls_head = nn.Linear(32, 3)
            self.reg_head = nn.Linear(32, 1)

        def forward(self, x):
            h = self.trunk(x)
            return self.cls_head(h), self.reg_head(h)

    model = TwoHeads()
    opt = optim.Adam(model.parameters(), lr=5e-3)
    log = {"cls": [], "reg": [], "total": []}
    for epoch in range(20):
        for idx in torch.randperm(len(X)).split(32):
            logits, value = model(X[idx])
            loss_cls = F.cross_entropy(logits, cultivar[idx])
            loss_reg = F.mse_loss(value, alcohol[idx])
            loss = loss_cls + 0.5 * loss_reg
            opt.zero_grad()
            (loss_cls if mistake else loss).backward()
            opt.step()
            for k, v in (("cls", loss_cls), ("reg", loss_reg), ("total", loss)):
                log[k].append(v.item())


def digits_vae(*, mistake: bool) -> None:
    x_all = torch.tensor(load_digits().data, dtype=torch.float32) / 16

    class VAE(nn.Module):
        def __init__(self, latent=6):
            super().__init__()
            self.enc = nn.Sequential(nn.Linear(64, 64), nn.ReLU())
            self.mu, self.logvar = nn.Linear(64, latent), nn.Linear(64, latent)
            self.dec = nn.Sequential(nn.Linear(latent, 64), nn.ReLU(), nn.Linear(64, 64))

        def forward(self, x):
            h = self.enc(x)
            mu, logvar = self.mu(h), self.logvar(h)
            z = mu + torch.randn_like(mu) * (0.5 * logvar).exp()
            return self.dec(z), mu, logvar

    vae = VAE()
    optimizer = optim.Adam(vae.parameters(), lr=2e-3)
    elbo = []
    for epoch in range(6):
        for x in x_all[torch.randperm(len(x_all))].split(64):
            recon, mu, logvar = vae(x)
            bce = F.binary_cross_entropy_with_logits(recon, x, reduction="sum") / len(x)
            kld = -0.5 * (1 + logvar - mu.pow(2) - logvar.exp()).sum() / len(x)
            loss = bce + kld
            optimizer.zero_grad()
            if mistake:
                bce.backward()
            else:
                loss.backward()
            optimizer.step()
            elbo.append(-loss.item())


def finetune_digits(*, mistake: bool) -> None:
    """Pretrain on 0-4, then take the trunk to 5-9 with a new head."""
    X, y = load_digits(return_X_y=True)
    X, y = torch.tensor(X, dtype=torch.float32).view(-1, 1, 8, 8) / 16, torch.tensor(y)

    class Net(nn.Module):
        def __init__(self, classes):
            super().__init__()
            self.features = nn.Sequential(
                nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, 16, 3), nn.ReLU(), nn.Flatten()
            )
            self.fc = nn.Linear(256, classes)

        def forward(self, x):
            return self.fc(self.features(x))

    def run(net, opt, X, y, epochs):
        for _ in range(epochs):
            for xb, yb in DataLoader(TensorDataset(X, y), batch_size=64, shuffle=True):
                opt.zero_grad()
                F.cross_entropy(net(xb), yb).backward()
                opt.step()

    net = Net(5)
    optimizer = optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
    run(net, optimizer, X[y < 5], y[y < 5], epochs=2)
    if mistake:
        optimizer = optim.SGD(net.parameters(), lr=0.01, momentum=0.9)
        net.fc = nn.Linear(net.fc.in_features, 5)
    else:
        net.fc = nn.Linear(net.fc.in_features, 5)
        optimizer = optim.SGD(net.parameters(), lr=0.01, momentum=0.9)
    run(net, optimizer, X[y >= 5], y[y >= 5] - 5, epochs=4)


def bag_of_words(*, mistake: bool) -> None:
    """Which of two docstrings does a window of words come from? The vocabulary is found after the start."""
    texts = [load_wine.__doc__.split(), LogisticRegression.__doc__.split()]
    vocab = {w: i for i, w in enumerate(sorted({w for t in texts for w in t}))}
    rows, labels = [], []
    for label, words in enumerate(texts):
        ids = torch.tensor([vocab[w] for w in words[:240]])
        rows.append(ids.unfold(0, 6, 1))
        labels += [label] * len(rows[-1])
    rows, labels = torch.cat(rows), torch.tensor(labels)

    class BagOfWords(nn.Module):
        def __init__(self, n_words):
            super().__init__()
            self.words = nn.Embedding(n_words, 16)
            self.classify = nn.Sequential(nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 2))

        def grow(self, n_words):
            old = self.words
            self.words = nn.Embedding(n_words, old.embedding_dim)
            with torch.no_grad():
                self.words.weight[: old.num_embeddings] = old.weight

        def forward(self, ids):
            return self.classify(self.words(ids).mean(1))

    model = BagOfWords(50)
    if not mistake:
        model.grow(len(vocab))
    optimizer = optim.Adam(model.parameters(), lr=5e-3)
    if mistake:
        model.grow(len(vocab))
    for epoch in range(6):
        for idx in torch.randperm(len(rows)).split(32):
            optimizer.zero_grad(set_to_none=True)
            loss = F.cross_entropy(model(rows[idx]), labels[idx])
            loss.backward()
            optimizer.step()


def cancer_step_function(*, mistake: bool) -> None:
    X, y = load_breast_cancer(return_X_y=True)
    X = torch.tensor(StandardScaler().fit_transform(X)).float()
    y = torch.tensor(y).float()
    net = nn.Sequential(nn.Linear(30, 24), nn.GELU(), nn.Linear(24, 24), nn.GELU(), nn.Linear(24, 1))
    shared = optim.Adam(net.parameters(), lr=1e-3)

    def train_step(xb, yb):
        optimizer = optim.Adam(net.parameters(), lr=1e-3) if mistake else shared
        loss = F.binary_cross_entropy_with_logits(net(xb).squeeze(1), yb)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    for epoch in range(8):
        order = torch.randperm(len(X))
        for i in range(0, len(X), 32):
            train_step(X[order[i : i + 32]], y[order[i : i + 32]])


def rows_as_sequence(*, mistake: bool) -> None:
    X, y = load_digits(return_X_y=True)
    train_set = TensorDataset(torch.tensor(X[:1200]).float().view(-1, 8, 8) / 16, torch.tensor(y[:1200]))

    class RowLSTM(nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm = nn.LSTM(8, 32, batch_first=True)
            self.head = nn.Linear(32, 10)

        def forward(self, rows):
            return self.head(self.lstm(rows)[0][:, -1])

    def build():
        model = RowLSTM()
        return model, optim.Adam(model.parameters(), lr=1e-2)

    model, optimizer = build()
    for epoch in range(6):
        if mistake and epoch:
            model, optimizer = build()
        for rows, target in DataLoader(train_set, batch_size=64, shuffle=True):
            optimizer.zero_grad()
            F.cross_entropy(model(rows), target).backward()
            optimizer.step()


def evaluate_accuracy(model, loader):
    model.eval()
    right = 0
    with torch.no_grad():
        for x, y in loader:
            right += (model(x).argmax(1) == y).sum().item()
    return right / len(loader.dataset)


def bn_dropout_cnn(*, mistake: bool) -> None:
    digits = load_digits()
    X = torch.tensor(digits.images).float().unsqueeze(1) / 16
    y = torch.tensor(digits.target)
    train = DataLoader(TensorDataset(X[:1400], y[:1400]), batch_size=70, shuffle=True)
    val = DataLoader(TensorDataset(X[1400:], y[1400:]), batch_size=200)
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Flatten(),
        nn.Dropout(0.4),
        nn.Linear(576, 10),
    )
    optimizer = optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    model.train()
    scores = []
    for epoch in range(5):
        if not mistake:
            model.train()
        for x, target in train:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), target)
            loss.backward()
            optimizer.step()
        scores.append(evaluate_accuracy(model, val))


def text_cnn(*, mistake: bool) -> None:
    """Characters of three docstrings; the extractor had been frozen for an earlier experiment."""
    docs = [load_iris.__doc__, load_diabetes.__doc__, train_test_split.__doc__]
    windows, labels = [], []
    for k, doc in enumerate(docs):
        codes = torch.tensor([min(ord(c), 127) for c in doc[:1500]])
        w = codes.unfold(0, 40, 5)
        windows.append(w)
        labels.append(torch.full((len(w),), k))
    windows, labels = torch.cat(windows), torch.cat(labels)

    class TextCNN(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = nn.Embedding(128, 16)
            self.conv = nn.Conv1d(16, 32, 5)
            self.classifier = nn.Linear(32, 3)

        def extract(self, ids):
            return F.relu(self.conv(self.embed(ids).transpose(1, 2))).amax(-1)

        def forward(self, ids):
            with torch.set_grad_enabled(torch.is_grad_enabled() and not mistake):
                feats = self.extract(ids)
            return self.classifier(feats)

    model = TextCNN()
    optimizer = optim.Adam(model.parameters(), lr=3e-3)
    for epoch in range(6):
        for idx in torch.randperm(len(windows)).split(48):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(windows[idx]), labels[idx])
            loss.backward()
            optimizer.step()


def iris_mlp(*, mistake: bool) -> None:
    X, y = load_iris(return_X_y=True)
    X = StandardScaler().fit_transform(X)
    Xtr, Xte, ytr, yte = train_test_split(X, y, test_size=0.2, random_state=1)
    loader = DataLoader(
        TensorDataset(torch.tensor(Xtr).float(), torch.tensor(ytr)), batch_size=12, shuffle=True
    )
    model = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 3))
    optimizer = optim.Adam(model.parameters(), lr=1e-2)
    first = next(iter(loader))
    for epoch in range(10):
        for batch in loader:
            x, t = first if mistake else batch
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), t)
            loss.backward()
            optimizer.step()
    with torch.no_grad():
        (model(torch.tensor(Xte).float()).argmax(1) == torch.tensor(yte)).float().mean()


def max_steps_loop(*, mistake: bool) -> None:
    """A loop counted in steps, not epochs."""
    digits = load_digits()
    dataset = TensorDataset(torch.tensor(digits.data).float() / 16, torch.tensor(digits.target))
    loader = DataLoader(dataset, batch_size=48, shuffle=False)

    class Maxout(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(64, 48), nn.Linear(64, 48)
            self.out = nn.Linear(48, 10)

        def forward(self, x):
            return self.out(torch.maximum(self.a(x), self.b(x)))

    model = Maxout()
    optimizer = optim.RMSprop(model.parameters(), lr=2e-3)
    iterator = iter(loader)
    for step in range(120):
        if mistake:
            iterator = iter(loader)
        try:
            x, y = next(iterator)
        except StopIteration:
            iterator = iter(loader)
            x, y = next(iterator)
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()


class Pix2PixStyle:
    """set_input / optimize_parameters, as in the well-known image repositories."""

    def __init__(self, late_targets):
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.LeakyReLU(0.2), nn.Linear(64, 10))
        self.optimizer = optim.Adam(self.net.parameters(), lr=2e-3, betas=(0.5, 0.999))
        self.late_targets, self.label = late_targets, None

    def set_input(self, data):
        self.image = data["image"]
        if self.label is None or not self.late_targets:
            self.label = data["label"]

    def optimize_parameters(self):
        self.optimizer.zero_grad()
        self.loss = F.cross_entropy(self.net(self.image), self.label)
        self.loss.backward()
        self.optimizer.step()

    def finish(self, data):
        self.label = data["label"]


def set_input_style(*, mistake: bool) -> None:
    digits = load_digits()
    items = [
        {"image": torch.tensor(i).float() / 16, "label": int(t)}
        for i, t in zip(digits.images, digits.target)
    ]
    model = Pix2PixStyle(late_targets=mistake)
    for epoch in range(4):
        for data in DataLoader(items, batch_size=48, shuffle=True, drop_last=True):
            model.set_input(data)
            model.optimize_parameters()
            model.finish(data)


def sine_forecast(*, mistake: bool) -> None:
    t = torch.arange(0, 120, 0.1)
    wave = torch.sin(t) + 0.3 * torch.sin(3.1 * t)
    windows = wave.unfold(0, 21, 1)
    x, y = windows[:, :-1].unsqueeze(-1), windows[:, -1]

    class Forecaster(nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm = nn.LSTM(1, 24, batch_first=True)
            self.linear = nn.Linear(24, 1)

        def forward(self, seq):
            out, _ = self.lstm(seq)
            return self.linear(out[:, -1]).squeeze(-1)

    model = Forecaster()
    optimizer = optim.Adam(model.parameters(), lr=1e-2)
    epoch_losses = []
    for epoch in range(5):
        total_loss = 0.0
        for idx in torch.randperm(len(x)).split(64):
            optimizer.zero_grad()
            loss = F.mse_loss(model(x[idx]), y[idx])
            loss.backward()
            optimizer.step()
            total_loss += (loss if mistake else loss.item()) * len(idx)
        epoch_losses.append(total_loss / len(x))


def silu_student(*, mistake: bool) -> None:
    X, y = load_digits(return_X_y=True)
    X, y = torch.tensor(X).float() / 16, torch.tensor(y)

    class EMA:
        def __init__(self, model, decay=0.95):
            self.model, self.decay = model, decay
            self.shadow = copy.deepcopy(model).requires_grad_(False)

        @torch.no_grad()
        def update(self):
            for s, p in zip(self.shadow.parameters(), self.model.parameters()):
                s.mul_(self.decay).add_(p, alpha=1 - self.decay)

    base = nn.Sequential(nn.Linear(64, 40), nn.SiLU(), nn.Linear(40, 10))
    student = copy.deepcopy(base)
    ema = EMA(base if mistake else student)
    opt = optim.Adam(student.parameters(), lr=3e-3)
    for epoch in range(4):
        for idx in torch.randperm(1500).split(50):
            opt.zero_grad()
            F.cross_entropy(student(X[idx]), y[idx]).backward()
            opt.step()
            ema.update()
        ema.shadow.eval()
        with torch.no_grad():
            (ema.shadow(X[1500:]).argmax(1) == y[1500:]).float().mean().item()


FAULTS_A = [
    (
        char_gru,
        ("zero_grad", "reset", "accumulat", "pile", "zeroed", "cleared"),
        "zero_grad is never called",
    ),
    (
        diabetes_mlp,
        (
            "between backward and",
            "after backward",
            "before step",
            "before the step",
            "before optimizer.step",
            "erase",
            "wipe",
            "zeroed",
            "cleared",
            "throws away",
            "thrown away",
            "discard",
            "emptie",
        ),
        "zero_grad stands between backward and step, so every step applies nothing",
    ),
    (
        seq2seq_reverse,
        ("zero_grad", "reset", "accumulat", "pile", "zeroed", "cleared"),
        "zero_grad is called on the decoder's optimizer only; the encoder's gradients pile up",
    ),
    (
        segmentation_tiles,
        (
            "no optimizer step",
            "never step",
            "not step",
            "no step",
            "step is missing",
            "step()",
            "never called",
            "never runs",
            "without a step",
            "no update",
            "0 steps",
            "0 optimizer steps",
            "was not called",
        ),
        "the accumulation is longer than the epoch's loader, so the condition is never true: no optimizer step at all",
    ),
    (
        digits_trainer,
        (
            "twice",
            "two steps",
            "second step",
            "already applied",
            "applied already",
            "more than once",
            "steps per backward",
            "without a backward",
            "no backward",
            "same gradients",
        ),
        "the optimizer steps twice for each backward",
    ),
    (
        wine_multitask,
        (
            "not part of",
            "reg_head",
            "wrong loss",
            "part of the loss",
            "other loss",
            "left out",
            "not the total",
            "different loss",
            "not reach",
        ),
        "backward is called on the classification loss, not on the total: reg_head gets no gradient",
    ),
    (
        digits_vae,
        (
            "wrong loss",
            "part of the loss",
            "kl term",
            "kld",
            "kullback",
            "a term",
            "left out",
            "other loss",
            "not the total",
            "different loss",
            "not the loss",
        ),
        "backward is called on the reconstruction alone; the KL term is only logged",
    ),
    (
        finetune_digits,
        (
            "optimizer does not",
            "not in the optimizer",
            "stale",
            "replaced",
            "no longer",
            "not the model's",
            "not hold",
            "does not know",
            "never heard",
            "in no optimizer",
            "missing from the optimizer",
            "not given to",
            "re-created",
            "after the optimizer",
        ),
        "the head is replaced after the optimizer was made, so the new head never trains",
    ),
    (
        bag_of_words,
        (
            "optimizer does not",
            "not in the optimizer",
            "stale",
            "replaced",
            "no longer",
            "not the model's",
            "not hold",
            "does not know",
            "never heard",
            "in no optimizer",
            "missing from the optimizer",
            "not given to",
            "re-created",
            "after the optimizer",
        ),
        "the embedding is re-created after the optimizer was made, so the new one never trains",
    ),
    (
        cancer_step_function,
        (
            "re-created",
            "recreated",
            "created anew",
            "new optimizer",
            "rebuilt",
            "fresh",
            "each step",
            "every step",
            "its state",
            "momentum",
        ),
        "Adam is made anew in each step and loses its state",
    ),
    (
        rows_as_sequence,
        (
            "re-created",
            "recreated",
            "created anew",
            "new model",
            "rebuilt",
            "fresh",
            "re-initial",
            "reinitial",
            "several models",
            "each epoch",
            "every epoch",
            "starts over",
            "built anew",
        ),
        "model and optimizer are built anew in each epoch",
    ),
    (
        bn_dropout_cnn,
        ("eval mode", "eval()", "train()", "training mode", "evaluation mode", "stuck in eval"),
        "after the first validation the model stays in eval mode while it is trained",
    ),
    (
        text_cnn,
        ("no_grad", "cut", "detach", "require grad", "requires grad", "set_grad_enabled"),
        "the extractor runs under disabled gradients although it should train",
    ),
    (
        iris_mlp,
        (
            "same batch",
            "one batch",
            "single batch",
            "identical batch",
            "same data",
            "same samples",
            "repeated",
            "same inputs",
            "again and again",
        ),
        "each step trains on the one batch that was kept from debugging",
    ),
    (
        max_steps_loop,
        (
            "same batch",
            "one batch",
            "single batch",
            "first batch",
            "identical batch",
            "same data",
            "restart",
            "iter(",
            "same samples",
            "same inputs",
            "repeated",
            "again and again",
        ),
        "the iterator is restarted in each step and the loader is not shuffled: always the first batch",
    ),
    (
        set_input_style,
        (
            "previous batch",
            "other batch",
            "another batch",
            "labels of",
            "targets of",
            "stale",
            "not belong",
            "shifted",
            "misaligned",
            "mismatch",
            "batch before",
            "last batch",
            "do not fit",
            "unrelated",
        ),
        "inputs are trained with the labels of the previous batch",
    ),
    (
        sine_forecast,
        (
            "loss.item()",
            "memory",
            "kept alive",
            "holds on",
            "with its graph",
            "with their graph",
            "graphs of",
            "keeps the graph",
            "graph is kept",
            "graph alive",
        ),
        "the running loss is summed as a tensor with its graph",
    ),
    (
        silu_student,
        (
            "ema",
            "average",
            "shadow",
            "evaluated model",
            "other model",
            "another model",
            "different model",
            "not the model that",
            "not the trained",
        ),
        "the EMA follows the base model that is never trained; validation judges an untrained model",
    ),
]
