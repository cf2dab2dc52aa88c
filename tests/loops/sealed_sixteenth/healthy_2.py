"""Unusual optimisation, torch.func, implicit layers, physics, Bayesian and multi-task training."""

import math

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits, make_friedman1, make_moons
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.func import functional_call, grad, stack_module_state, vmap
from torch.nn.utils.parametrizations import spectral_norm
from torch.optim.swa_utils import SWALR, AveragedModel, update_bn
from torch.utils.data import DataLoader, TensorDataset


def _digits():
    data = load_digits()
    x = (data.images / 16.0).astype(np.float32)[:, None]
    xtr, xte, ytr, yte = train_test_split(
        x, data.target, test_size=0.3, stratify=data.target, random_state=0
    )
    return (
        torch.from_numpy(xtr),
        torch.from_numpy(xte),
        torch.from_numpy(ytr).long(),
        torch.from_numpy(yte).long(),
    )


@torch.no_grad()
def _accuracy(model, x, y):
    was_training = model.training
    model.eval()
    acc = (model(x).argmax(1) == y).float().mean().item()
    model.train(was_training)
    return acc


# --------------------------------------------------------------------------------------------------------------
class _SAM(torch.optim.Optimizer):
    """Sharpness-aware minimisation around a base optimizer that shares its parameter groups."""

    def __init__(self, params, base, rho=0.05, **kwargs):
        super().__init__(params, dict(rho=rho, **kwargs))
        self.base = base(self.param_groups, **kwargs)
        self.param_groups = self.base.param_groups

    @torch.no_grad()
    def step(self, closure):
        """The closure zeroes gradients, computes the loss and calls backward; gradients are already there once."""
        grads = [p.grad.norm() for g in self.param_groups for p in g["params"] if p.grad is not None]
        norm = torch.stack(grads).norm()
        moved = []
        for g in self.param_groups:
            for p in g["params"]:
                if p.grad is not None:
                    e = p.grad * (g["rho"] / (norm + 1e-12))
                    p.add_(e)
                    moved.append((p, e))
        with torch.enable_grad():
            closure()
        for p, e in moved:
            p.sub_(e)
        self.base.step()


def sharpness_aware():
    """Two passes a step; batch statistics are only recorded in the first."""
    torch.manual_seed(0)
    xtr, xte, ytr, yte = _digits()
    model = nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1, bias=False),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.Conv2d(32, 64, 3, padding=1, bias=False),
        nn.BatchNorm2d(64),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(64, 64, 3, padding=1, bias=False),
        nn.BatchNorm2d(64),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(64, 10),
    )
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    optimizer = _SAM(
        model.parameters(), torch.optim.SGD, rho=0.05, lr=0.05, momentum=0.9, weight_decay=5e-4
    )
    loader = DataLoader(TensorDataset(xtr, ytr), batch_size=64, shuffle=True, drop_last=True)
    epochs = 10
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer.base, epochs * len(loader))
    for epoch in range(epochs):
        model.train()
        for x, y in loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()

            def second():
                momenta = [m.momentum for m in norms]
                for m in norms:
                    m.momentum = 0.0
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                for m, value in zip(norms, momenta):
                    m.momentum = value

            optimizer.step(second)
            scheduler.step()
        if epoch % 3 == 0:
            print(f"epoch {epoch} loss {loss.item():.4f} accuracy {_accuracy(model, xte, yte):.3f}")


# --------------------------------------------------------------------------------------------------------------
class _Lion(torch.optim.Optimizer):
    """Sign of an interpolated momentum, decoupled decay."""

    def __init__(self, params, lr=1e-4, betas=(0.9, 0.99), weight_decay=0.0):
        super().__init__(params, dict(lr=lr, betas=betas, weight_decay=weight_decay))

    @torch.no_grad()
    def step(self, closure=None):
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            b1, b2 = group["betas"]
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if not state:
                    state["m"] = torch.zeros_like(p)
                m = state["m"]
                p.mul_(1 - group["lr"] * group["weight_decay"])
                p.add_(torch.sign(b1 * m + (1 - b1) * p.grad), alpha=-group["lr"])
                m.lerp_(p.grad, 1 - b2)
        return loss


def lion_with_stochastic_depth():
    """A residual net whose blocks are dropped at random (they get no gradient that step), trained by a custom optimizer."""
    torch.manual_seed(1)
    xtr, xte, ytr, yte = _digits()

    class Residual(nn.Module):
        def __init__(self, width, drop):
            super().__init__()
            self.body = nn.Sequential(
                nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
            )
            self.gain = nn.Parameter(torch.full((width,), 0.1))
            self.drop = drop

        def forward(self, h):
            if self.training and self.drop > 0:
                if torch.rand(()) < self.drop:
                    return h
                return h + self.gain * self.body(h) / (1 - self.drop)
            return h + self.gain * self.body(h)

    model = nn.Sequential(
        nn.Flatten(),
        nn.Linear(64, 192),
        *(Residual(192, 0.06 * k) for k in range(6)),
        nn.LayerNorm(192),
        nn.Linear(192, 10),
    )
    optimizer = _Lion(model.parameters(), lr=3e-4, weight_decay=0.3)
    loader = DataLoader(TensorDataset(xtr, ytr), batch_size=64, shuffle=True)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 20)
    for epoch in range(20):
        model.train()
        for x, y in loader:
            optimizer.zero_grad(set_to_none=True)
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
        scheduler.step()
        if epoch % 5 == 4:
            print(f"epoch {epoch} loss {loss.item():.4f} accuracy {_accuracy(model, xte, yte):.3f}")


# --------------------------------------------------------------------------------------------------------------
def maml_sinusoids():
    """Second-order MAML by torch.func: inner steps on a dictionary of weights, all tasks of a batch under vmap."""
    torch.manual_seed(2)
    net = nn.Sequential(nn.Linear(1, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 1))
    inner_lr = 0.05

    def loss_of(params, x, y):
        return F.mse_loss(functional_call(net, params, (x,)), y)

    def adapt(params, x, y, steps):
        for _ in range(steps):
            g = grad(loss_of)(params, x, y)
            params = {k: p - inner_lr * g[k] for k, p in params.items()}
        return params

    def task_loss(params, xs, ys, xq, yq):
        return loss_of(adapt(params, xs, ys, 2), xq, yq)

    def tasks(n, g=None):
        amplitude = 0.5 + 2 * torch.rand(n, 1, 1, generator=g)
        phase = math.pi * torch.rand(n, 1, 1, generator=g)
        x = torch.rand(n, 30, 1, generator=g) * 10 - 5
        y = amplitude * torch.sin(x + phase)
        return x[:, :10], y[:, :10], x[:, 10:], y[:, 10:]

    batched = vmap(task_loss, in_dims=(None, 0, 0, 0, 0))
    optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
    held = tasks(200, torch.Generator().manual_seed(22))
    for step in range(500):
        loss = batched(dict(net.named_parameters()), *tasks(24)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 100 == 99:
            with torch.no_grad():
                params = {k: p.detach() for k, p in net.named_parameters()}
                print(
                    f"step {step} held-out before {vmap(loss_of, (None, 0, 0))(params, held[2], held[3]).mean():.3f} "
                    f"after two steps {batched(params, *held).mean():.3f}"
                )


def bagged_ensemble_vmap():
    """Eight members trained at once: stacked weights, one vmapped forward, a bootstrap sample for each."""
    torch.manual_seed(3)
    x, y = make_friedman1(4000, noise=1.5, random_state=3)
    xtr, xte, ytr, yte = train_test_split(x, y, test_size=0.25, random_state=3)
    sx, sy = StandardScaler().fit(xtr), StandardScaler().fit(ytr[:, None])
    xtr, xte = (torch.from_numpy(sx.transform(a).astype(np.float32)) for a in (xtr, xte))
    ytr, yte = (torch.from_numpy(sy.transform(a[:, None]).astype(np.float32)) for a in (ytr, yte))
    members = 8

    def build():
        return nn.Sequential(
            nn.Linear(10, 192), nn.SiLU(), nn.Linear(192, 192), nn.SiLU(), nn.Linear(192, 2)
        )

    template = build().to("meta")
    params, buffers = stack_module_state([build() for _ in range(members)])

    def forward(p, b, x):
        return functional_call(template, (p, b), (x,))

    def nll(out, y):
        mean, logvar = out[..., :1], out[..., 1:].clamp(-6, 4)
        return 0.5 * ((y - mean) ** 2 * (-logvar).exp() + logvar)

    bags = torch.randint(len(xtr), (members, len(xtr)))
    optimizer = torch.optim.AdamW(params.values(), lr=2e-3, weight_decay=0.05)
    for step in range(400):
        pick = bags.gather(1, torch.randint(len(xtr), (members, 128)))
        out = vmap(forward)(params, buffers, xtr[pick])
        loss = (
            nll(out, ytr[pick]).mean((1, 2)).sum()
        )  # members share nothing, so the sum keeps their gradients apart
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 80 == 79:
            with torch.no_grad():
                out = vmap(forward, in_dims=(0, 0, None))(params, buffers, xte)
                mean = out[..., 0].mean(0)
                r2 = 1 - ((mean - yte[:, 0]) ** 2).mean() / yte.var(correction=0)
            print(
                f"step {step} loss a member {loss.item() / members:.3f} test nll {nll(out, yte).mean():.3f} R2 {r2:.3f}"
            )


# --------------------------------------------------------------------------------------------------------------
class _Equilibrium(nn.Module):
    """z = tanh(W z + U x + b), W a contraction; solved without a graph, differentiated implicitly by a hook."""

    def __init__(self, inputs, width):
        super().__init__()
        self.W = spectral_norm(nn.Linear(width, width, bias=False))
        self.U = nn.Linear(inputs, width)

    @staticmethod
    def _solve(f, z, limit=40, tolerance=1e-4):
        for _ in range(limit):
            new = f(z)
            if (new - z).norm() <= tolerance * (1e-6 + new.norm()):
                return new
            z = new
        return z

    def forward(self, x):
        W, u = (
            0.85 * self.W.weight,
            self.U(x),
        )  # read once: every access in training runs a power iteration
        with torch.no_grad():
            z = self._solve(lambda z: torch.tanh(z @ W.t() + u), torch.zeros_like(u))
        z = torch.tanh(z @ W.t() + u)
        if torch.is_grad_enabled():
            z0 = z.detach().requires_grad_()
            f0 = torch.tanh(z0 @ W.detach().t() + u.detach())

            def implicit(g):
                return self._solve(lambda v: torch.autograd.grad(f0, z0, v, retain_graph=True)[0] + g, g)

            z.register_hook(implicit)
        return z


def deep_equilibrium():
    """A fixed-point layer on digits; gradients by the implicit function theorem."""
    torch.manual_seed(4)
    xtr, xte, ytr, yte = _digits()
    model = nn.Sequential(nn.Flatten(), _Equilibrium(64, 320), nn.Linear(320, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    loader = DataLoader(TensorDataset(xtr, ytr), batch_size=64, shuffle=True)
    for epoch in range(15):
        model.train()
        for x, y in loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
        if epoch % 3 == 2:
            print(f"epoch {epoch} loss {loss.item():.4f} accuracy {_accuracy(model, xte, yte):.3f}")


# --------------------------------------------------------------------------------------------------------------
class _ODESolve(torch.autograd.Function):
    """Fixed-step RK4 forwards; backwards the adjoint equation is integrated with the state, storing only the end."""

    @staticmethod
    def forward(ctx, func, z, t1, steps, *params):
        ctx.func, ctx.t1, ctx.steps = func, t1, steps
        with torch.no_grad():
            h = t1 / steps
            for _ in range(steps):
                z = z + _rk4(func, z, h)
        ctx.save_for_backward(z, *params)
        return z

    @staticmethod
    def backward(ctx, a):
        z, *params = ctx.saved_tensors
        h = -ctx.t1 / ctx.steps

        def augmented(state):
            z, a = state[0], state[1]
            with torch.enable_grad():
                z = z.detach().requires_grad_()
                f = ctx.func(z)
                dz, *dp = torch.autograd.grad(f, [z, *params], -a)
            return [f.detach(), dz, *dp]

        state = [z, a, *(torch.zeros_like(p) for p in params)]
        for _ in range(ctx.steps):
            k1 = augmented(state)
            k2 = augmented([s + h / 2 * k for s, k in zip(state, k1)])
            k3 = augmented([s + h / 2 * k for s, k in zip(state, k2)])
            k4 = augmented([s + h * k for s, k in zip(state, k3)])
            state = [s + h / 6 * (p + 2 * q + 2 * r + t) for s, p, q, r, t in zip(state, k1, k2, k3, k4)]
        return (None, state[1], None, None, *state[2:])


def _rk4(f, z, h):
    k1 = f(z)
    k2 = f(z + h / 2 * k1)
    k3 = f(z + h / 2 * k2)
    k4 = f(z + h * k3)
    return h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)


def neural_ode_adjoint():
    """A damped pendulum learned from short segments of many swings; gradients from the adjoint equation."""
    torch.manual_seed(5)

    def truth(z):
        return torch.stack([z[:, 1], -2 * torch.sin(z[:, 0]) - 0.15 * z[:, 1]], 1)

    func = nn.Sequential(nn.Linear(2, 128), nn.Tanh(), nn.Linear(128, 128), nn.Tanh(), nn.Linear(128, 2))
    params = list(func.parameters())
    path = [torch.stack([torch.rand(60) * 4 - 2, torch.rand(60) * 2 - 1], 1)]
    with torch.no_grad():
        for _ in range(1000):
            path.append(path[-1] + _rk4(truth, path[-1], 0.01))
    path = torch.stack(path)[::10]  # time, swing, state; one point each 0.1
    span = 5
    start = path[:-span].transpose(0, 1)
    end = path[span:].transpose(0, 1)
    train = start[:48].reshape(-1, 2), end[:48].reshape(-1, 2)
    held = start[48:].reshape(-1, 2), end[48:].reshape(-1, 2)
    optimizer = torch.optim.Adam(params, lr=5e-3)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 300, eta_min=1e-4)
    for step in range(300):
        i = torch.randint(len(train[0]), (192,))
        pred = _ODESolve.apply(func, train[0][i], 0.1 * span, 4, *params)
        loss = F.mse_loss(pred, train[1][i])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
        if step % 60 == 59:
            with torch.no_grad():
                err = F.mse_loss(_ODESolve.apply(func, held[0], 0.1 * span, 4, *params), held[1])
            print(
                f"step {step} loss {loss.item():.5f} held-out swings {err:.5f} "
                f"(standing still {F.mse_loss(*held):.4f})"
            )


# --------------------------------------------------------------------------------------------------------------
def heat_equation_pinn():
    """Physics-informed net: Adam over resampled points, then LBFGS over a fixed set; compared with the exact answer."""
    torch.manual_seed(6)
    k = 0.2
    net = nn.Sequential(nn.Linear(2, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 1))

    def u(x, t):
        return net(torch.cat([x, t], 1))

    def points(n):
        inside = torch.rand(n, 2)
        return inside[:, :1], inside[:, 1:], torch.rand(n // 4, 1), torch.rand(n // 4, 1)

    def objective(x, t, xi, tb):
        x, t = x.requires_grad_(), t.requires_grad_()
        value = u(x, t)
        ut, ux = torch.autograd.grad(value.sum(), (t, x), create_graph=True)
        (uxx,) = torch.autograd.grad(ux.sum(), x, create_graph=True)
        residual = (ut - k * uxx).pow(2).mean()
        initial = (u(xi, torch.zeros_like(xi)) - torch.sin(math.pi * xi)).pow(2).mean()
        border = u(torch.zeros_like(tb), tb).pow(2).mean() + u(torch.ones_like(tb), tb).pow(2).mean()
        return residual + 10 * initial + 10 * border

    gx, gt = torch.meshgrid(torch.linspace(0, 1, 40), torch.linspace(0, 1, 40), indexing="ij")
    gx, gt = gx.reshape(-1, 1), gt.reshape(-1, 1)
    exact = torch.exp(-k * math.pi**2 * gt) * torch.sin(math.pi * gx)

    def report(name, loss):
        with torch.no_grad():
            err = (u(gx, gt) - exact).norm() / exact.norm()
        print(f"{name} loss {loss.item():.5f} relative error {err:.4f}")

    optimizer = torch.optim.Adam(net.parameters(), lr=4e-3)
    for step in range(400):
        loss = objective(*points(512))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 100 == 99:
            report(f"adam {step}", loss)

    fixed = points(1600)
    optimizer = torch.optim.LBFGS(
        net.parameters(), lr=1.0, max_iter=15, history_size=30, line_search_fn="strong_wolfe"
    )

    def closure():
        optimizer.zero_grad()
        loss = objective(*fixed)
        loss.backward()
        return loss

    for step in range(15):
        loss = optimizer.step(closure)
        if step % 5 == 4:
            report(f"lbfgs {step}", loss)


# --------------------------------------------------------------------------------------------------------------
class _BayesLinear(nn.Module):
    """Mean-field Gaussian weights with the local reparameterisation trick."""

    def __init__(self, i, o, prior=0.5):
        super().__init__()
        self.mu = nn.Parameter(torch.randn(o, i) / math.sqrt(i))
        self.rho = nn.Parameter(torch.full((o, i), -5.0))
        self.bias = nn.Parameter(torch.zeros(o))
        self.prior = prior

    def forward(self, x):
        sigma = F.softplus(self.rho)
        mean = F.linear(x, self.mu, self.bias)
        var = F.linear(x**2, sigma**2)
        return mean + (var + 1e-10).sqrt() * torch.randn_like(mean)

    def kl(self):
        s = F.softplus(self.rho)
        return (math.log(self.prior) - s.log() + (s**2 + self.mu**2) / (2 * self.prior**2) - 0.5).sum()


def bayes_by_backprop():
    """Weights with uncertainty; the divergence is divided by the number of examples; predictions average samples."""
    torch.manual_seed(7)
    x, y = make_moons(1000, noise=0.2, random_state=7)
    xtr, xte, ytr, yte = train_test_split(
        x.astype(np.float32), y.astype(np.float32), test_size=0.3, random_state=7
    )
    xtr, xte, ytr, yte = map(torch.from_numpy, (xtr, xte, ytr, yte))
    model = nn.Sequential(
        _BayesLinear(2, 200), nn.ReLU(), _BayesLinear(200, 200), nn.ReLU(), _BayesLinear(200, 1)
    )
    layers = [m for m in model if isinstance(m, _BayesLinear)]
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    loader = DataLoader(TensorDataset(xtr, ytr), batch_size=50, shuffle=True)
    for epoch in range(40):
        anneal = min(1.0, (epoch + 1) / 10)
        for xb, yb in loader:
            nll = F.binary_cross_entropy_with_logits(
                model(xb.repeat(4, 1)).squeeze(1), yb.repeat(4)
            )  # four samples
            kl = sum(m.kl() for m in layers) / len(xtr)
            optimizer.zero_grad()
            (nll + anneal * kl).backward()
            optimizer.step()
        if epoch % 8 == 7:
            with torch.no_grad():
                p = torch.stack([model(xte).squeeze(1).sigmoid() for _ in range(30)]).mean(0)
                far = torch.stack([model(xte * 6).squeeze(1).sigmoid() for _ in range(30)]).std(0).mean()
            print(
                f"epoch {epoch} nll {nll.item():.3f} kl/n {kl.item():.3f} accuracy "
                f"{((p > 0.5) == (yte > 0.5)).float().mean():.3f} test log-loss "
                f"{F.binary_cross_entropy(p, yte):.3f} spread far away {far:.3f}"
            )


# --------------------------------------------------------------------------------------------------------------
def _two_digit_tasks():
    """Two overlapping digits side by side: name the left one, name the right one, and tell their sum."""
    xtr, xte, ytr, yte = _digits()
    g = torch.Generator().manual_seed(8)

    def pairs(x, y, n):
        i, j = torch.randint(len(x), (n,), generator=g), torch.randint(len(x), (n,), generator=g)
        canvas = torch.zeros(n, 1, 8, 14)
        canvas[..., :8] = x[i]
        canvas[..., 6:] = torch.maximum(canvas[..., 6:], x[j])
        return canvas, y[i], y[j], (y[i] + y[j]).float()

    return pairs(xtr, ytr, 2400), pairs(xte, yte, 500)


def _trunk():
    return nn.Sequential(
        nn.Conv2d(1, 24, 3, padding=1),
        nn.GroupNorm(4, 24),
        nn.ReLU(),
        nn.Conv2d(24, 48, 3, padding=1),
        nn.GroupNorm(8, 48),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(48, 48, 3, padding=1),
        nn.GroupNorm(8, 48),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(48 * 28, 128),
        nn.ReLU(),
    )


def gradient_surgery():
    """PCGrad on a shared trunk: conflicting task gradients are projected, heads keep their own."""
    torch.manual_seed(8)
    train, held = _two_digit_tasks()
    trunk, left, right = _trunk(), nn.Linear(128, 10), nn.Linear(128, 10)
    shared = list(trunk.parameters())
    optimizer = torch.optim.Adam([*shared, *left.parameters(), *right.parameters()], lr=1e-3)
    loader = DataLoader(TensorDataset(*train[:3]), batch_size=80, shuffle=True)
    conflicts = 0
    for epoch in range(7):
        for x, a, b in loader:
            h = trunk(x)
            losses = [F.cross_entropy(left(h), a), F.cross_entropy(right(h), b)]
            grads = []
            optimizer.zero_grad()
            for loss, head in zip(losses, (left, right)):
                own = list(head.parameters())
                g = torch.autograd.grad(loss, shared + own, retain_graph=True)
                grads.append(torch.cat([v.flatten() for v in g[: len(shared)]]))
                for p, v in zip(own, g[len(shared) :]):
                    p.grad = v
            projected = []
            for i, g in enumerate(grads):
                other = grads[1 - i]
                dot = g @ other
                if dot < 0:
                    g = g - dot / other.norm().pow(2) * other
                    conflicts += 1
                projected.append(g)
            total, at = sum(projected), 0
            for p in shared:
                p.grad = total[at : at + p.numel()].view_as(p).clone()
                at += p.numel()
            optimizer.step()
        with torch.no_grad():
            h = trunk(held[0])
            la, lb = (
                (m(h).argmax(1) == t).float().mean() for m, t in ((left, held[1]), (right, held[2]))
            )
        print(
            f"epoch {epoch} losses {losses[0].item():.3f} {losses[1].item():.3f} accuracy {la:.3f} {lb:.3f} "
            f"projections so far {conflicts}"
        )


def uncertainty_weighting():
    """Three tasks of different scale weighted by learned log-variances, which have their own group without decay."""
    torch.manual_seed(9)
    train, held = _two_digit_tasks()
    trunk = _trunk()
    heads = nn.ModuleDict(
        {"left": nn.Linear(128, 10), "right": nn.Linear(128, 10), "sum": nn.Linear(128, 1)}
    )
    log_var = nn.Parameter(torch.zeros(3))
    optimizer = torch.optim.AdamW(
        [
            {"params": [*trunk.parameters(), *heads.parameters()], "weight_decay": 0.01},
            {"params": [log_var], "weight_decay": 0.0, "lr": 1e-2},
        ],
        lr=1e-3,
    )
    loader = DataLoader(TensorDataset(*train), batch_size=80, shuffle=True)

    def task_losses(x, a, b, s):
        h = trunk(x)
        return torch.stack(
            [
                F.cross_entropy(heads["left"](h), a),
                F.cross_entropy(heads["right"](h), b),
                0.5 * F.mse_loss(heads["sum"](h).squeeze(1), s),
            ]
        )

    for epoch in range(11):
        for batch in loader:
            loss = (torch.exp(-log_var) * task_losses(*batch) + 0.5 * log_var).sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            v = task_losses(*held)
        print(
            f"epoch {epoch} held-out",
            [round(z, 3) for z in v.tolist()],
            "weights",
            [round(z, 2) for z in torch.exp(-log_var).tolist()],
        )


# --------------------------------------------------------------------------------------------------------------
def stochastic_weight_averaging():
    """SWA over the last third with a constant rate; batch-norm statistics of the average are recomputed at the end."""
    torch.manual_seed(10)
    xtr, xte, ytr, yte = _digits()
    model = nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1, bias=False),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.Conv2d(32, 64, 3, padding=1, bias=False),
        nn.BatchNorm2d(64),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(64, 64, 3, padding=1, bias=False),
        nn.BatchNorm2d(64),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(64, 10),
    )
    average = AveragedModel(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
    epochs, begin = 15, 10
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=begin, eta_min=0.02)
    swa = SWALR(optimizer, swa_lr=0.02, anneal_epochs=2)
    loader = DataLoader(TensorDataset(xtr, ytr), batch_size=64, shuffle=True, drop_last=True)
    for epoch in range(epochs):
        model.train()
        for x, y in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(x + 0.1 * torch.randn_like(x)), y).backward()
            optimizer.step()
        if epoch >= begin:
            average.update_parameters(model)
            swa.step()
        else:
            cosine.step()
        if epoch % 3 == 2:
            print(
                f"epoch {epoch} lr {optimizer.param_groups[0]['lr']:.3f} accuracy {_accuracy(model, xte, yte):.3f}"
            )
    update_bn(loader, average)
    print("averaged", _accuracy(average, xte, yte), "last", _accuracy(model, xte, yte))


HEALTHY = [
    sharpness_aware,
    lion_with_stochastic_depth,
    maml_sinusoids,
    bagged_ensemble_vmap,
    deep_equilibrium,
    neural_ode_adjoint,
    heat_equation_pinn,
    bayes_by_backprop,
    gradient_surgery,
    uncertainty_weighting,
    stochastic_weight_averaging,
]
