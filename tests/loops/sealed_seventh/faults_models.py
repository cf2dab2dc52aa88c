import math

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset

from .common import corpus, digits


def lenet_softmax_output(mistake: bool) -> None:
    """The net ends in nn.Softmax and is trained with CrossEntropyLoss, which applies it once more."""
    torch.manual_seed(31)

    class LeNet(nn.Module):
        def __init__(self, num_classes=10):
            super().__init__()
            self.conv = nn.Sequential(
                nn.Conv2d(1, 6, 3, padding=1),
                nn.ReLU(),
                nn.MaxPool2d(2),
                nn.Conv2d(6, 16, 3, padding=1),
                nn.ReLU(),
                nn.MaxPool2d(2),
            )
            fc = [nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, num_classes)]
            if mistake:
                fc.append(nn.Softmax(dim=1))
            self.fc = nn.Sequential(*fc)

        def forward(self, img):
            feature = self.conv(img)
            return self.fc(feature.view(img.shape[0], -1))

    xtr, ytr, xte, yte = digits(seed=31)
    net = LeNet()
    loss_fn = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.5)
    loader = DataLoader(TensorDataset(xtr, ytr), batch_size=32, shuffle=True)
    for epoch in range(20):
        net.train()
        train_l_sum, train_acc_sum, n = 0.0, 0.0, 0
        for X, y in loader:
            y_hat = net(X)
            l = loss_fn(y_hat, y)
            optimizer.zero_grad()
            l.backward()
            optimizer.step()
            train_l_sum += l.item() * len(y)
            train_acc_sum += (y_hat.argmax(dim=1) == y).sum().item()
            n += len(y)
        net.eval()
        with torch.no_grad():
            test_acc = (net(xte).argmax(dim=1) == yte).float().mean().item()
    print(
        "epoch %d, loss %.4f, train acc %.3f, test acc %.3f"
        % (epoch + 1, train_l_sum / n, train_acc_sum / n, test_acc)
    )


def lstm_sentiment_double_sigmoid(mistake: bool) -> None:
    """The model returns sigmoid probabilities but the loss is BCEWithLogitsLoss, which squashes them again."""
    torch.manual_seed(32)
    V, L, n = 80, 14, 4000
    x = torch.randint(1, V, (n, L))
    polarity = torch.zeros(V)
    polarity[1:15], polarity[15:29] = 1.0, -1.0
    s = polarity[x].sum(1)
    keep = s != 0
    x, y = x[keep], (s[keep] > 0).float()
    n_train = int(0.8 * len(x))

    class SentimentLSTM(nn.Module):
        def __init__(self, vocab_size, embedding_dim=24, hidden_dim=32):
            super().__init__()
            self.embedding = nn.Embedding(vocab_size, embedding_dim)
            self.lstm = nn.LSTM(embedding_dim, hidden_dim, batch_first=True)
            self.fc = nn.Linear(hidden_dim, 1)

        def forward(self, x):
            lstm_out, _ = self.lstm(self.embedding(x))
            out = self.fc(lstm_out.mean(dim=1)).squeeze(1)
            return torch.sigmoid(out) if mistake else out

    def to_prob(out):
        return out if mistake else torch.sigmoid(out)

    net = SentimentLSTM(V)
    criterion = nn.BCEWithLogitsLoss()
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    train_loader = DataLoader(TensorDataset(x[:n_train], y[:n_train]), batch_size=50, shuffle=True)
    for e in range(12):
        net.train()
        for inputs, labels in train_loader:
            net.zero_grad()
            loss = criterion(net(inputs), labels)
            loss.backward()
            nn.utils.clip_grad_norm_(net.parameters(), 5)
            optimizer.step()
    net.eval()
    with torch.no_grad():
        out = net(x[n_train:])
        acc = (torch.round(to_prob(out)) == y[n_train:]).float().mean().item()
        print(
            f"train loss {loss.item():.4f} val loss {criterion(out, y[n_train:]).item():.4f} acc {acc:.3f}"
        )


def gcn_log_softmax_dim(mistake: bool) -> None:
    """log_softmax runs over dim=0, the nodes, instead of over the classes."""
    torch.manual_seed(33)
    n, k = 400, 4
    y = torch.arange(n) % k
    prob = torch.where(y[:, None] == y[None, :], 0.03, 0.006)
    A = torch.triu((torch.rand(n, n) < prob).float(), 1)
    A = A + A.T + torch.eye(n)
    deg = A.sum(1)
    A_hat = A / torch.sqrt(deg[:, None] * deg[None, :])
    feats = 0.8 * F.one_hot(y, k).float() @ torch.randn(k, 32) * 0.5 + torch.randn(n, 32)
    order = torch.randperm(n)
    idx_train, idx_val = order[:160], order[160:]

    class GraphConvolution(nn.Module):
        def __init__(self, i, o):
            super().__init__()
            self.lin = nn.Linear(i, o, bias=False)
            self.bias = nn.Parameter(torch.zeros(o))

        def forward(self, x, adj):
            return adj @ self.lin(x) + self.bias

    class GCN(nn.Module):
        def __init__(self, nfeat, nhid, nclass, dropout):
            super().__init__()
            self.gc1, self.gc2 = GraphConvolution(nfeat, nhid), GraphConvolution(nhid, nclass)
            self.dropout = dropout

        def forward(self, x, adj):
            x = F.relu(self.gc1(x, adj))
            x = F.dropout(x, self.dropout, training=self.training)
            x = self.gc2(x, adj)
            return F.log_softmax(x, dim=0 if mistake else 1)

    model = GCN(32, 32, k, 0.5)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.005, weight_decay=5e-3)
    for epoch in range(600):
        model.train()
        optimizer.zero_grad()
        output = model(feats, A_hat)
        loss_train = F.nll_loss(output[idx_train], y[idx_train])
        loss_train.backward()
        optimizer.step()
        model.eval()
        with torch.no_grad():
            output = model(feats, A_hat)
            acc_val = (output[idx_val].argmax(1) == y[idx_val]).float().mean().item()
    print(f"loss_train {loss_train.item():.4f} acc_val {acc_val:.4f}")


def mixer_plain_list(mistake: bool) -> None:
    """The residual blocks are kept in a plain Python list, so their parameters are not registered and not trained."""
    torch.manual_seed(34)

    class MixerBlock(nn.Module):
        def __init__(self, tokens, dim):
            super().__init__()
            self.n1, self.n2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
            self.tok = nn.Sequential(nn.Linear(tokens, 32), nn.GELU(), nn.Linear(32, tokens))
            self.ch = nn.Sequential(nn.Linear(dim, 48), nn.GELU(), nn.Linear(48, dim))

        def forward(self, x):
            x = x + self.tok(self.n1(x).transpose(1, 2)).transpose(1, 2)
            return x + self.ch(self.n2(x))

    class Mixer(nn.Module):
        def __init__(self, depth=3, dim=24):
            super().__init__()
            self.stem = nn.Conv2d(1, dim, 2, stride=2)
            blocks = [MixerBlock(16, dim) for _ in range(depth)]
            self.blocks = blocks if mistake else nn.ModuleList(blocks)
            self.norm = nn.LayerNorm(dim)
            self.head = nn.Linear(dim, 10)

        def forward(self, x):
            x = self.stem(x).flatten(2).transpose(1, 2)
            for blk in self.blocks:
                x = blk(x)
            return self.head(self.norm(x).mean(1))

    xtr, ytr, xte, yte = digits(seed=34)
    model = Mixer()
    opt = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.01)
    epochs, bs = 9, 48
    n_batches = math.ceil(len(xtr) / bs)
    sched = torch.optim.lr_scheduler.OneCycleLR(opt, max_lr=3e-3, total_steps=epochs * n_batches)
    for ep in range(epochs):
        model.train()
        for idx in torch.randperm(len(xtr)).split(bs):
            loss = F.cross_entropy(model(xtr[idx]), ytr[idx])
            opt.zero_grad()
            loss.backward()
            opt.step()
            sched.step()
        model.eval()
        with torch.inference_mode():
            acc = (model(xte).argmax(1) == yte).float().mean()
    print(f"{ep}: loss {loss.item():.4f} acc {acc.item():.4f}")


def fusion_numpy_concat(mistake: bool) -> None:
    """The image features pass through .data on their way to the fusion layer, so the image branch gets no gradient."""
    torch.manual_seed(35)
    rng = np.random.default_rng(35)
    d = load_digits()
    imgs = torch.tensor(d.images[:, None] / 16.0 - 0.3, dtype=torch.float32)
    meta = rng.standard_normal((len(imgs), 3)).astype(np.float32)
    target = (
        (d.target * 0.5 - 2.25)
        + 0.8 * meta[:, 0]
        - 0.4 * meta[:, 1]
        + 0.05 * rng.standard_normal(len(imgs))
    ).astype(np.float32)
    meta, target = torch.tensor(meta), torch.tensor(target)[:, None]

    class ImageBranch(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1 = nn.Conv2d(1, 8, 3, stride=2, padding=1)
            self.conv2 = nn.Conv2d(8, 16, 3, stride=2, padding=1)
            self.fc = nn.Linear(64, 8)

        def forward(self, x):
            x = F.relu(self.conv2(F.relu(self.conv1(x))))
            return self.fc(x.flatten(1))

    class FusionNet(nn.Module):
        def __init__(self):
            super().__init__()
            self.image = ImageBranch()
            self.meta = nn.Linear(3, 8)
            self.fuse = nn.Sequential(nn.ReLU(), nn.Linear(16, 1))

        def forward(self, img, meta):
            f = self.image(img)
            if mistake:
                f = f.data
            return self.fuse(torch.cat((f, self.meta(meta)), dim=-1))

    model = FusionNet()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    tr = DataLoader(TensorDataset(imgs[:1400], meta[:1400], target[:1400]), batch_size=40, shuffle=True)
    for epoch in range(20):
        model.train()
        batch_losses = []
        for i, m, t in tr:
            optimizer.zero_grad()
            loss = F.smooth_l1_loss(model(i, m), t)
            loss.backward()
            optimizer.step()
            batch_losses.append(loss.item())
    model.eval()
    with torch.no_grad():
        mae = (model(imgs[1400:], meta[1400:]) - target[1400:]).abs().mean().item()
    print(f"train {np.mean(batch_losses):.4f} test mae {mae:.4f}")


def vit_learning_rate(mistake: bool) -> None:
    """Adam's learning rate is 0.1 for a small transformer, far too high; it never settles."""
    torch.manual_seed(36)

    class ViT(nn.Module):
        def __init__(self, dim=32, depth=2):
            super().__init__()
            self.patch = nn.Conv2d(1, dim, 2, stride=2)
            self.cls = nn.Parameter(torch.zeros(1, 1, dim))
            self.pos = nn.Parameter(torch.randn(1, 17, dim) * 0.02)
            layer = nn.TransformerEncoderLayer(dim, 4, 64, dropout=0.0, batch_first=True)
            self.enc = nn.TransformerEncoder(layer, depth, enable_nested_tensor=False)
            self.head = nn.Linear(dim, 10)

        def forward(self, x):
            x = self.patch(x).flatten(2).transpose(1, 2)
            x = torch.cat([self.cls.expand(len(x), -1, -1), x], 1) + self.pos
            return self.head(self.enc(x)[:, 0])

    config = {"lr": 0.1 if mistake else 2e-3, "batch_size": 64, "epochs": 14}
    xtr, ytr, xte, yte = digits(seed=36)
    model = ViT()
    optimizer = torch.optim.Adam(model.parameters(), lr=config["lr"])
    loader = DataLoader(TensorDataset(xtr, ytr), batch_size=config["batch_size"], shuffle=True)
    for epoch in range(config["epochs"]):
        model.train()
        total = 0.0
        for x, y in loader:
            loss = F.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item()
        model.eval()
        with torch.no_grad():
            acc = (model(xte).argmax(1) == yte).float().mean().item()
    print(f"epoch {epoch} loss {total / len(loader):.4f} acc {acc:.4f}")


def char_gpt_mask(mistake: bool) -> None:
    """The causal mask is missing from self-attention, so every position sees the character it must predict."""
    torch.manual_seed(37)
    text = corpus()
    chars = sorted(set(text))
    stoi = {c: i for i, c in enumerate(chars)}
    data = torch.tensor([stoi[c] for c in text])
    n_split = int(0.9 * len(data))
    block_size, n_embd, n_head = 24, 48, 4

    class CausalSelfAttention(nn.Module):
        def __init__(self):
            super().__init__()
            self.c_attn = nn.Linear(n_embd, 3 * n_embd)
            self.c_proj = nn.Linear(n_embd, n_embd)
            self.register_buffer(
                "bias", torch.tril(torch.ones(block_size, block_size)).view(1, 1, block_size, block_size)
            )

        def forward(self, x):
            B, T, C = x.size()
            q, k, v = (
                t.view(B, T, n_head, C // n_head).transpose(1, 2)
                for t in self.c_attn(x).split(n_embd, dim=2)
            )
            att = (q @ k.transpose(-2, -1)) / math.sqrt(k.size(-1))
            if not mistake:
                att = att.masked_fill(self.bias[:, :, :T, :T] == 0, float("-inf"))
            y = F.softmax(att, dim=-1) @ v
            return self.c_proj(y.transpose(1, 2).contiguous().view(B, T, C))

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.ln_1, self.ln_2 = nn.LayerNorm(n_embd), nn.LayerNorm(n_embd)
            self.attn = CausalSelfAttention()
            self.mlp = nn.Sequential(
                nn.Linear(n_embd, 4 * n_embd), nn.GELU(), nn.Linear(4 * n_embd, n_embd)
            )

        def forward(self, x):
            x = x + self.attn(self.ln_1(x))
            return x + self.mlp(self.ln_2(x))

    class GPT(nn.Module):
        def __init__(self):
            super().__init__()
            self.wte, self.wpe = nn.Embedding(len(chars), n_embd), nn.Embedding(block_size, n_embd)
            self.h = nn.Sequential(Block(), Block())
            self.ln_f = nn.LayerNorm(n_embd)
            self.lm_head = nn.Linear(n_embd, len(chars), bias=False)

        def forward(self, idx, targets):
            x = self.wte(idx) + self.wpe(torch.arange(idx.size(1)))
            logits = self.lm_head(self.ln_f(self.h(x)))
            return logits, F.cross_entropy(logits.view(-1, logits.size(-1)), targets.view(-1))

    def get_batch(split):
        d = data[:n_split] if split == "train" else data[n_split:]
        ix = torch.randint(len(d) - block_size, (32,))
        return torch.stack([d[i : i + block_size] for i in ix]), torch.stack(
            [d[i + 1 : i + 1 + block_size] for i in ix]
        )

    model = GPT()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, betas=(0.9, 0.95))
    for it in range(350):
        model.train()
        X, Y = get_batch("train")
        _, loss = model(X, Y)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    model.eval()
    with torch.no_grad():
        val = np.mean([model(*get_batch("val"))[1].item() for _ in range(10)])
    print(f"iter {it} loss {loss.item():.4f} val {val:.4f}")


def tagger_padding(mistake: bool) -> None:
    """Padded positions are counted in the loss and the accuracy: ignore_index is not set for the pad tag."""
    torch.manual_seed(38)
    rng = np.random.default_rng(38)
    PAD, V, TAGS = 0, 50, 6
    kind = rng.integers(1, TAGS, V)

    def sentence():
        n = int(rng.integers(3, 22))
        w = rng.integers(1, V, n)
        t = kind[w].copy()
        t[1:] = np.where(w[:-1] % 3 == 0, (t[1:] % (TAGS - 1)) + 1, t[1:])
        noisy = rng.random(n) < 0.12
        t[noisy] = rng.integers(1, TAGS, int(noisy.sum()))
        return torch.tensor(w), torch.tensor(t)

    def collate(batch):
        ws, ts = zip(*batch)
        pad = nn.utils.rnn.pad_sequence
        return pad(ws, batch_first=True, padding_value=PAD), pad(ts, batch_first=True, padding_value=PAD)

    class BiLSTMTagger(nn.Module):
        def __init__(self):
            super().__init__()
            self.emb = nn.Embedding(V, 24, padding_idx=PAD)
            self.lstm = nn.LSTM(24, 24, batch_first=True, bidirectional=True)
            self.hidden2tag = nn.Linear(48, TAGS)

        def forward(self, w):
            return self.hidden2tag(self.lstm(self.emb(w))[0])

    sents = [sentence() for _ in range(1200)]
    train_dl = DataLoader(sents[:1000], batch_size=25, shuffle=True, collate_fn=collate)
    test_dl = DataLoader(sents[1000:], batch_size=50, collate_fn=collate)
    model = BiLSTMTagger()
    optimizer = torch.optim.Adam(model.parameters(), lr=4e-3)
    criterion = nn.CrossEntropyLoss() if mistake else nn.CrossEntropyLoss(ignore_index=PAD)
    for epoch in range(10):
        model.train()
        for w, t in train_dl:
            logits = model(w)
            loss = criterion(logits.view(-1, TAGS), t.view(-1))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    model.eval()
    right = count = 0
    with torch.no_grad():
        for w, t in test_dl:
            pred = model(w).argmax(-1)
            where = torch.ones_like(t, dtype=torch.bool) if mistake else t != PAD
            right += (pred == t)[where].sum().item()
            count += where.sum().item()
    print(f"loss {loss.item():.4f} tag acc {right / count:.4f}")


def activity_hidden_carry(mistake: bool) -> None:
    """The GRU's hidden state is carried over from one shuffled batch to the next, between unrelated recordings."""
    torch.manual_seed(39)
    n, T = 2280, 10
    label = torch.randint(0, 3, (n,))
    phase = torch.rand(n, 1) * 6.28
    t = torch.arange(T).float()
    speed = torch.tensor([0.35, 0.55, 0.8])[label][:, None]
    x = torch.stack(
        [torch.sin(speed * t + phase), torch.cos(speed * t + phase)], -1
    ) + 0.7 * torch.randn(n, T, 2)

    class ActivityGRU(nn.Module):
        def __init__(self):
            super().__init__()
            self.gru = nn.GRU(2, 32, num_layers=1)
            self.fc = nn.Linear(32, 3)

        def init_hidden(self, bsz):
            return torch.zeros(1, bsz, 32)

        def forward(self, x, hidden):
            out, hidden = self.gru(x.transpose(0, 1), hidden)
            return self.fc(out[-1]), hidden

    bsz = 40
    train_loader = DataLoader(
        TensorDataset(x[:2000], label[:2000]), batch_size=bsz, shuffle=True, drop_last=True
    )
    test_loader = DataLoader(TensorDataset(x[2000:], label[2000:]), batch_size=bsz)
    model = ActivityGRU()
    optimizer = torch.optim.Adam(model.parameters(), lr=4e-3)
    for epoch in range(14):
        model.train()
        hidden = model.init_hidden(bsz)
        total = 0.0
        for xb, yb in train_loader:
            hidden = hidden.detach() if mistake else model.init_hidden(bsz)
            optimizer.zero_grad()
            out, hidden = model(xb, hidden)
            loss = F.cross_entropy(out, yb)
            loss.backward()
            optimizer.step()
            total += loss.item()
    model.eval()
    right = 0
    with torch.no_grad():
        for xb, yb in test_loader:
            out, _ = model(xb, model.init_hidden(len(xb)))
            right += (out.argmax(1) == yb).sum().item()
    print(f"loss {total / len(train_loader):.4f} test acc {right / 280:.4f}")


FAULTS = [
    (lenet_softmax_output, ("softmax", "logits", "probabilit"), "softmax before cross-entropy"),
    (
        lstm_sentiment_double_sigmoid,
        ("sigmoid", "logits", "probabilit", "twice"),
        "sigmoid before BCEWithLogits",
    ),
    (
        gcn_log_softmax_dim,
        ("dim", "axis", "over the batch", "over the nodes", "across samples", "softmax"),
        "wrong dimension in softmax",
    ),
    (
        mixer_plain_list,
        (
            "plain list",
            "python list",
            "modulelist",
            "not registered",
            "not in the optimizer",
            "never updated",
            "blocks",
            "unregistered",
        ),
        "layers in a plain list",
    ),
    (
        fusion_numpy_concat,
        (".data", "detach", "image branch", "no gradient", "image.", "graph is cut"),
        "detach / .data in the middle",
    ),
    (
        vit_learning_rate,
        ("learning rate", "lr ", "too high", "too large", "lr="),
        "learning rate far too high",
    ),
    (
        char_gpt_mask,
        ("causal", "mask", "future", "sees the", "leak", "next token"),
        "missing causal mask",
    ),
    (tagger_padding, ("pad", "ignore_index"), "padding counted in the loss"),
    (
        activity_hidden_carry,
        ("hidden", "state carried", "carried", "recurrent state", "across batches"),
        "hidden state carried across samples",
    ),
]
