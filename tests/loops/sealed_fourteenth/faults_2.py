import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

from .common import citation_graph, digits, ratings


class NeuMF(nn.Module):
    def __init__(self, users, items, k=8):
        super().__init__()
        self.user, self.item = nn.Embedding(users, k), nn.Embedding(items, k)
        self.mlp = nn.Sequential(nn.Linear(3 * k, 32), nn.ReLU(), nn.Linear(32, 1))

    def forward(self, u, i):
        p, q = self.user(u), self.item(i)
        return 3.5 + self.mlp(torch.cat([p, q, p * q], 1)).squeeze(1)


def embeddings_with_their_own_optimizer(mistake: bool) -> None:
    """Embeddings and MLP have an optimizer each, both are stepped, but only the MLP's is reset."""
    torch.manual_seed(0)
    u, i, r = ratings()
    loader = DataLoader(TensorDataset(u[:10000], i[:10000], r[:10000]), batch_size=128, shuffle=True)
    model = NeuMF(300, 200)
    opt_emb = torch.optim.SGD([*model.user.parameters(), *model.item.parameters()], lr=4.0)
    opt_mlp = torch.optim.Adam(model.mlp.parameters(), lr=2e-3, weight_decay=1e-5)
    for epoch in range(14):
        se = 0.0
        for ub, ib, rb in loader:
            opt_mlp.zero_grad()
            if not mistake:
                opt_emb.zero_grad()
            loss = F.mse_loss(model(ub, ib), rb)
            loss.backward()
            opt_emb.step()
            opt_mlp.step()
            se += loss.item() * len(rb)
        with torch.no_grad():
            te = F.mse_loss(model(u[10000:], i[10000:]), r[10000:]).sqrt().item()
        if epoch % 2:
            print(f"epoch {epoch} train rmse {(se / 10000) ** 0.5:.3f} test rmse {te:.3f}")


class SAGE(nn.Module):
    def __init__(self, d_in, hidden, classes):
        super().__init__()
        self.self1, self.neigh1 = nn.Linear(d_in, hidden), nn.Linear(d_in, hidden)
        self.self2, self.neigh2 = nn.Linear(hidden, hidden), nn.Linear(hidden, hidden)
        self.cls = nn.Linear(hidden, classes)

    def embed(self, x, a):
        h = F.relu(self.self1(x) + self.neigh1(a @ x))
        return F.relu(self.self2(h) + self.neigh2(a @ h))

    def forward(self, x, a):
        return self.cls(self.embed(x, a))


class SAGEExport(SAGE):
    @torch.no_grad()
    def embed(self, x, a):
        return super().embed(x, a)


def graph_embeddings(mistake: bool) -> None:
    """`embed` was given @torch.no_grad() for the export of the embeddings, and forward uses it too: only the classifier is trained."""
    torch.manual_seed(1)
    x, a, y, tr, va, te = citation_graph(n=900)
    net = (SAGEExport if mistake else SAGE)(x.shape[1], 12, 5)
    opt = torch.optim.Adam(net.parameters(), lr=5e-3, weight_decay=5e-4)
    for epoch in range(300):
        net.train()
        opt.zero_grad()
        loss = F.cross_entropy(net(x, a)[tr], y[tr])
        loss.backward()
        opt.step()
        if epoch % 60 == 59:
            net.eval()
            with torch.no_grad():
                p = net(x, a).argmax(1)
            print(
                f"epoch {epoch} loss {loss.item():.3f} val {(p[va] == y[va]).float().mean():.3f} test {(p[te] == y[te]).float().mean():.3f}"
            )


class GCN(nn.Module):
    def __init__(self, d_in, hidden, classes, p=0.6, functional=False):
        super().__init__()
        self.w1, self.w2 = nn.Linear(d_in, hidden), nn.Linear(hidden, classes)
        self.p, self.functional = p, functional

    def drop(self, h):
        if self.functional:
            return F.dropout(h, self.p)
        return F.dropout(h, self.p, training=self.training)

    def forward(self, x, a):
        h = F.relu(a @ self.w1(self.drop(x)))
        return a @ self.w2(self.drop(h))


def gcn_functional_dropout(mistake: bool) -> None:
    """F.dropout is called without training=self.training, so net.eval() does not turn the dropout off for validation and test."""
    torch.manual_seed(2)
    x, a, y, tr, va, te = citation_graph(n=900)
    net = GCN(x.shape[1], 24, 5, functional=mistake)
    opt = torch.optim.Adam(net.parameters(), lr=1e-2, weight_decay=5e-4)
    best = 0.0

    def evaluate(idx):
        net.eval()
        with torch.no_grad():
            out = net(x, a)[idx]
        return F.cross_entropy(out, y[idx]).item(), (out.argmax(1) == y[idx]).float().mean().item()

    for epoch in range(300):
        net.train()
        loss = F.cross_entropy(net(x, a)[tr], y[tr])
        opt.zero_grad()
        loss.backward()
        opt.step()
        vl, vacc = evaluate(va)
        best = max(best, vacc)
        if epoch % 60 == 59:
            print(f"epoch {epoch} train {loss.item():.3f} val {vl:.3f} acc {vacc:.3f}")
    print("best val", best, "test", evaluate(te), evaluate(te))


class Siamese(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn = nn.GRU(8, 48, batch_first=True)
        self.proj = nn.Linear(48, 16)

    def forward(self, x):
        return F.normalize(self.proj(self.rnn(x)[1][-1]), dim=1)


def siamese_scaled_gradients(mistake: bool) -> None:
    """The norm is clipped before scaler.unscale_, so the scaled gradients are cut to 1 and then divided by the scale: the steps are next to nothing."""
    torch.manual_seed(3)
    x, y, xt, yt = digits()
    net = Siamese()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.3, momentum=0.9)
    scaler = torch.amp.GradScaler("cpu")
    margin = 0.8
    for step in range(450):
        i = torch.randint(len(x), (64,))
        j = torch.randint(len(x), (64,))
        same_half = torch.tensor(
            [torch.nonzero(y == c)[torch.randint(int((y == c).sum()), (1,))].item() for c in y[i[:32]]]
        )
        j[:32] = same_half
        same = (y[i] == y[j]).float()
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            za, zb = net(x[i]), net(x[j])
        d = (za.float() - zb.float()).pow(2).sum(1).add(1e-6).sqrt()
        loss = (same * d**2 + (1 - same) * F.relu(margin - d) ** 2).mean()
        scaler.scale(loss).backward()
        if mistake:
            torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            scaler.unscale_(optimizer)
        else:
            scaler.unscale_(optimizer)
            torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        scaler.step(optimizer)
        scaler.update()
        if step % 90 == 89:
            print(f"step {step} loss {loss.item():.4f}")
    with torch.no_grad():
        near = torch.cdist(net(xt), net(x)).argmin(1)
        print("nearest neighbour acc", (y[near] == yt).float().mean().item())


class ClickModel(nn.Module):
    def __init__(self, users, items, k=8):
        super().__init__()
        self.user, self.item = nn.Embedding(users, k), nn.Embedding(items, k)
        self.deep = nn.Sequential(nn.Linear(2 * k, 32), nn.ReLU(), nn.Linear(32, 1))

    def forward(self, u, i):
        p, q = self.user(u), self.item(i)
        return self.deep(torch.cat([p, q], 1)) + (p * q).sum(1, keepdim=True)


def click_prediction(mistake: bool) -> None:
    """The model has one logit, and the accuracy takes argmax(1) of it, which is always 0: the share of non-clicks is reported."""
    torch.manual_seed(4)
    u, i, r = ratings(seed=4)
    click = (r > 4.0).float()
    tr, te = slice(0, 10000), slice(10000, None)
    loader = DataLoader(TensorDataset(u[tr], i[tr], click[tr]), batch_size=128, shuffle=True)
    test_loader = DataLoader(TensorDataset(u[te], i[te], click[te]), batch_size=256)
    model = ClickModel(300, 200)
    nn.init.normal_(model.user.weight, std=0.1)
    nn.init.normal_(model.item.weight, std=0.1)
    criterion = nn.BCEWithLogitsLoss()
    opt = torch.optim.Adam(model.parameters(), lr=3e-3, weight_decay=1e-5)

    def evaluate():
        model.eval()
        correct = total = 0
        with torch.no_grad():
            for ub, ib, cb in test_loader:
                logits = model(ub, ib)
                if mistake:
                    pred = logits.argmax(1)
                else:
                    pred = (logits.squeeze(1) > 0).long()
                correct += (pred == cb.long()).sum().item()
                total += len(cb)
        return correct / total

    for epoch in range(10):
        model.train()
        s = 0.0
        for ub, ib, cb in loader:
            opt.zero_grad()
            loss = criterion(model(ub, ib).squeeze(1), cb)
            loss.backward()
            opt.step()
            s += loss.item()
        print(f"epoch {epoch} loss {s / len(loader):.4f} accuracy {evaluate():.4f}")


def tower(d_in, d_out=16):
    return nn.Sequential(nn.Linear(d_in, 48), nn.BatchNorm1d(48), nn.ReLU(), nn.Linear(48, d_out))


def two_tower_ranker(mistake: bool) -> None:
    """Only no_grad, no eval(), in the evaluation: BatchNorm normalises over one user's candidate list, in which the user is constant."""
    torch.manual_seed(5)
    U, I, W = torch.randn(400, 8), torch.randn(300, 10), torch.randn(8, 10)
    rel = U @ W @ I.T + 1.5 * torch.randn(400, 300)
    users, items = tower(8), tower(10)
    model = nn.ModuleList([users, items])
    opt = torch.optim.Adam(model.parameters(), lr=3e-3)

    def score(u, i):
        return (users(u) * items(i)).sum(1)

    def hit_rate(k=5):
        if not mistake:
            model.eval()
        hits = 0.0
        with torch.no_grad():
            for u in range(320, 400):
                cand = torch.randperm(300, generator=torch.Generator().manual_seed(u))[:60]
                s = score(U[u].expand(60, -1), I[cand])
                top = set(s.topk(k).indices.tolist())
                hits += len(top & set(rel[u, cand].topk(k).indices.tolist())) / k
        model.train()
        return hits / 80

    total = 0.0
    for step in range(1, 1001):
        u = torch.randint(320, (128,))
        i, j = torch.randint(300, (128,)), torch.randint(300, (128,))
        better = rel[u, i] > rel[u, j]
        pos, neg = torch.where(better, i, j), torch.where(better, j, i)
        loss = -F.logsigmoid(score(U[u], I[pos]) - score(U[u], I[neg])).mean()
        opt.zero_grad()
        loss.backward()
        opt.step()
        total += loss.item()
        if step % 200 == 0:
            print(f"step {step} bpr {total / 200:.3f} hits@5 {hit_rate():.3f}")
            total = 0.0


FAULTS = [
    (
        embeddings_with_their_own_optimizer,
        (
            "zero_grad",
            "accumulat",
            "not reset",
            "earlier batch",
            "never cleared",
            "one of the optimizers",
        ),
        "03 only one optimizer is reset",
    ),
    (
        graph_embeddings,
        ("no_grad", "no gradient", "never get a gradient", "without grad", "requires_grad"),
        "11 training under no_grad of a part",
    ),
    (
        siamese_scaled_gradients,
        ("unscale", "scaled grad", "before unscal", "gradients are scaled", "scaler"),
        "20 clipping before unscaling",
    ),
    (
        gcn_functional_dropout,
        ("dropout", "stochastic", "training=self.training", "two evaluations differ"),
        "24 validation with dropout on",
    ),
    (
        click_prediction,
        (
            "argmax",
            "one logit",
            "one output",
            "single output",
            "single logit",
            "always 0",
            "always class 0",
        ),
        "32 one logit scored by argmax",
    ),
    (
        two_tower_ranker,
        ("eval", "batchnorm", "batch norm", "batch stat", "train mode", "training mode", "running stat"),
        "33 validation without eval(), BatchNorm",
    ),
]
