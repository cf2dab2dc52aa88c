"""Graphs, physics, Gaussian processes: full-batch losses and second derivatives."""

import math

import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.metrics import roc_auc_score

from .common import seed_everything


def stochastic_block_graph(n=300, k=3, p_in=0.06, p_out=0.008, d=16, seed=0):
    g = torch.Generator().manual_seed(seed)
    y = torch.arange(n) % k
    prob = torch.where(y[:, None] == y[None], p_in, p_out)
    up = (torch.rand(n, n, generator=g) < prob).triu(1)
    adj = (up | up.t()).float()
    mu = torch.randn(k, d, generator=g)
    x = 0.4 * mu[y] + torch.randn(n, d, generator=g)
    return adj, x, y


def normalise(adj):
    a = adj + torch.eye(len(adj))
    dinv = a.sum(1).pow(-0.5)
    return dinv[:, None] * a * dinv[None]


class GCN(nn.Module):
    def __init__(self, i, h, o, drop=0.5):
        super().__init__()
        self.l1, self.l2, self.drop = nn.Linear(i, h), nn.Linear(h, o), drop

    def forward(self, x, a):
        h = F.relu(a @ self.l1(F.dropout(x, self.drop, self.training)))
        return a @ self.l2(F.dropout(h, self.drop, self.training))


def gcn_full_batch_node_masks() -> None:
    """Transductive GCN: one full batch each epoch, the loss on forty-five labelled nodes, the best validation kept."""
    seed_everything(0)
    adj, x, y = stochastic_block_graph(n=900, p_in=0.02, p_out=0.003)
    a = normalise(adj)
    perm = torch.randperm(len(y))
    tr, va, te = perm[:45], perm[45:200], perm[200:]
    net = GCN(16, 32, 3)
    opt = torch.optim.Adam(net.parameters(), lr=0.01, weight_decay=5e-4)
    best_val = best_test = 0.0
    for epoch in range(300):
        net.train()
        opt.zero_grad()
        out = net(x, a)
        loss = F.cross_entropy(out[tr], y[tr])
        loss.backward()
        opt.step()
        net.eval()
        with torch.no_grad():
            pred = net(x, a).argmax(1)
        val = (pred[va] == y[va]).float().mean().item()
        if val > best_val:
            best_val, best_test = val, (pred[te] == y[te]).float().mean().item()
        if epoch % 75 == 0:
            print(f"epoch {epoch} loss {loss.item():.3f} val {val:.3f}")
    print(f"loss {loss.item():.3f} best val {best_val:.3f} its test {best_test:.3f}")


def link_prediction_negative_sampling() -> None:
    """Graph autoencoder: held-out edges are taken out of the adjacency, negatives are drawn anew each epoch."""
    seed_everything(0)
    adj, x, _ = stochastic_block_graph(n=1000, p_in=0.036, p_out=0.0018)
    edges = adj.triu(1).nonzero()
    edges = edges[torch.randperm(len(edges))]
    n_test = len(edges) // 5
    test_e, train_e = edges[:n_test], edges[n_test:]
    train_adj = torch.zeros_like(adj)
    train_adj[train_e[:, 0], train_e[:, 1]] = 1
    train_adj = train_adj + train_adj.t()
    a = normalise(train_adj)
    non = ((adj + torch.eye(len(adj))) == 0).triu(1).nonzero()
    non = non[torch.randperm(len(non))]
    test_n, train_n = non[:n_test], non[n_test:]
    enc = GCN(16, 64, 16, drop=0.2)
    bias = nn.Parameter(torch.zeros(()))
    opt = torch.optim.Adam([*enc.parameters(), bias], lr=5e-3, weight_decay=1e-3)

    def score(z, e):
        return (z[e[:, 0]] * z[e[:, 1]]).sum(1) + bias

    for epoch in range(200):
        enc.train()
        z = enc(x, a)
        neg = train_n[torch.randint(0, len(train_n), (len(train_e),))]
        logits = torch.cat([score(z, train_e), score(z, neg)])
        labels = torch.cat([torch.ones(len(train_e)), torch.zeros(len(neg))])
        loss = F.binary_cross_entropy_with_logits(logits, labels)
        opt.zero_grad()
        loss.backward()
        opt.step()
        if epoch % 50 == 0 or epoch == 199:
            enc.eval()
            with torch.no_grad():
                z = enc(x, a)
                s = torch.cat([score(z, test_e), score(z, test_n)])
            auc = roc_auc_score([1] * n_test + [0] * n_test, s.numpy())
            print(f"epoch {epoch} loss {loss.item():.3f} test AUC {auc:.3f}")


class ODEFunc(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(2, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 2)
        )

    def forward(self, y):
        return self.net(y)


def euler(f, y0, n, dt, sub=2):
    ys, y, h = [y0], y0, dt / sub
    for _ in range(n - 1):
        for _ in range(sub):
            y = y + h * f(y)
        ys.append(y)
    return torch.stack(ys)


def neural_ode_spiral_euler() -> None:
    """Neural ODE on a spiral with a limit cycle: gradients through an Euler integrator over short windows of the path."""
    seed_everything(0)
    A = torch.tensor([[-0.1, 2.0], [-2.0, -0.1]])
    dt, n = 0.05, 200
    with torch.no_grad():
        path = euler(
            lambda y: y @ A - 0.3 * y * y.pow(2).sum(-1, keepdim=True) + 0.5 * y,
            torch.tensor([[2.0, 0.0]]),
            n,
            dt,
            sub=20,
        )[:, 0]
    f = ODEFunc()
    opt = torch.optim.Adam(f.parameters(), lr=1e-2)
    window, bs = 12, 32
    sched = torch.optim.lr_scheduler.CosineAnnealingLR(opt, T_max=600)
    for it in range(600):
        start = torch.randint(0, n - window, (bs,))
        target = torch.stack([path[start + k] for k in range(window)])
        pred = euler(f, target[0], window, dt)
        loss = F.mse_loss(pred, target)
        opt.zero_grad()
        loss.backward()
        opt.step()
        sched.step()
        if it % 150 == 0 or it == 599:
            with torch.no_grad():
                full = (euler(f, path[:1], n, dt)[:, 0] - path).abs().mean().item()
            print(f"iteration {it} window loss {loss.item():.5f} whole path error {full:.3f}")


def pinn_heat_equation() -> None:
    """PINN for the heat equation: second derivatives by autograd on the inputs, collocation points renewed, weighted terms."""
    seed_everything(0)
    net = nn.Sequential(nn.Linear(2, 40), nn.Tanh(), nn.Linear(40, 40), nn.Tanh(), nn.Linear(40, 1))
    nu = 0.1
    opt = torch.optim.Adam(net.parameters(), lr=3e-3)
    sched = torch.optim.lr_scheduler.ExponentialLR(opt, 0.998)

    def residual(x, t):
        x.requires_grad_(True)
        t.requires_grad_(True)
        u = net(torch.cat([x, t], 1))
        u_t = torch.autograd.grad(u.sum(), t, create_graph=True)[0]
        u_x = torch.autograd.grad(u.sum(), x, create_graph=True)[0]
        u_xx = torch.autograd.grad(u_x.sum(), x, create_graph=True)[0]
        return u_t - nu * u_xx

    gx, gt = torch.meshgrid(torch.linspace(0, 1, 40), torch.linspace(0, 1, 40), indexing="ij")
    grid = torch.stack([gx.flatten(), gt.flatten()], 1)
    exact = torch.exp(-nu * math.pi**2 * grid[:, 1:]) * torch.sin(math.pi * grid[:, :1])
    for it in range(1000):
        r = residual(torch.rand(200, 1), torch.rand(200, 1))
        x0 = torch.rand(60, 1)
        ic = net(torch.cat([x0, torch.zeros_like(x0)], 1)) - torch.sin(math.pi * x0)
        tb = torch.rand(60, 1)
        bc = torch.cat(
            [net(torch.cat([torch.zeros_like(tb), tb], 1)), net(torch.cat([torch.ones_like(tb), tb], 1))]
        )
        loss = r.pow(2).mean() + 10 * ic.pow(2).mean() + 10 * bc.pow(2).mean()
        opt.zero_grad()
        loss.backward()
        opt.step()
        sched.step()
        if it % 250 == 249:
            with torch.no_grad():
                err = ((net(grid) - exact).norm() / exact.norm()).item()
            print(f"iteration {it + 1} loss {loss.item():.5f} relative error {err:.4f}")


def gaussian_process_marginal_likelihood() -> None:
    """Exact GP: three log hyper-parameters by Adam on the negative marginal likelihood with a Cholesky factor."""
    seed_everything(0)
    x = torch.rand(350, 1, dtype=torch.float64) * 6
    y = (
        torch.sin(2 * x[:, 0])
        + 0.5 * torch.cos(5 * x[:, 0])
        + 0.1 * torch.randn(350, dtype=torch.float64)
    )
    xs = torch.linspace(0.2, 5.8, 200, dtype=torch.float64)[:, None]
    fs = torch.sin(2 * xs[:, 0]) + 0.5 * torch.cos(5 * xs[:, 0])
    raw = nn.ParameterDict(
        {k: nn.Parameter(torch.zeros((), dtype=torch.float64)) for k in ("length", "signal", "noise")}
    )
    opt = torch.optim.Adam(raw.parameters(), lr=0.05)

    def kernel(a, b):
        d = (a - b.t()) ** 2
        return (2 * raw["signal"]).exp() * torch.exp(-0.5 * d / (2 * raw["length"]).exp())

    def factor():
        K = kernel(x, x) + ((2 * raw["noise"]).exp() + 1e-6) * torch.eye(len(x), dtype=x.dtype)
        return torch.linalg.cholesky(K)

    for it in range(250):
        L = factor()
        alpha = torch.cholesky_solve(y[:, None], L)
        loss = 0.5 * (y @ alpha[:, 0]) + L.diagonal().log().sum() + 0.5 * len(x) * math.log(2 * math.pi)
        opt.zero_grad()
        loss.backward()
        opt.step()
        if it % 60 == 0:
            print(f"iteration {it} nll {loss.item():.2f} noise {raw['noise'].exp().item():.3f}")
    with torch.no_grad():
        mean = kernel(xs, x) @ torch.cholesky_solve(y[:, None], factor())
    print(
        f"nll {loss.item():.2f} noise {raw['noise'].exp().item():.3f} (true 0.1) rmse {(mean[:, 0] - fs).pow(2).mean().sqrt().item():.4f}"
    )


def matrix_completion_lbfgs() -> None:
    """LBFGS with closure and strong Wolfe search: matrix completion, held-out entries measured."""
    seed_everything(0)
    truth = torch.randn(240, 4) @ torch.randn(4, 180) / 2
    seen = torch.rand(240, 180) < 0.2
    obs = truth + 0.05 * torch.randn(240, 180)
    U = nn.Parameter(0.1 * torch.randn(240, 6))
    V = nn.Parameter(0.1 * torch.randn(180, 6))
    opt = torch.optim.LBFGS([U, V], lr=0.5, max_iter=5, history_size=10, line_search_fn="strong_wolfe")

    def closure():
        opt.zero_grad()
        loss = ((U @ V.t() - obs)[seen] ** 2).mean() + 1e-2 * (U.pow(2).mean() + V.pow(2).mean())
        loss.backward()
        return loss

    for it in range(100):
        loss = opt.step(closure)
        if it % 25 == 0 or it == 99:
            with torch.no_grad():
                rmse = (U @ V.t() - truth)[~seen].pow(2).mean().sqrt().item()
            print(
                f"iteration {it} loss {loss.item():.5f} held-out rmse {rmse:.3f} (scale {truth.std():.2f})"
            )


HEALTHY = [
    gcn_full_batch_node_masks,
    link_prediction_negative_sampling,
    neural_ode_spiral_euler,
    pinn_heat_equation,
    gaussian_process_marginal_likelihood,
    matrix_completion_lbfgs,
]
