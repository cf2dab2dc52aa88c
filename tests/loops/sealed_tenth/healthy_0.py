"""Second orders, penalties, policies, physics and other unusual trainings."""

import copy
import math

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn import datasets
from torch.distributions import Categorical
from torch.func import functional_call, grad, stack_module_state, vmap
from torch.utils.data import DataLoader, TensorDataset

from .common import char_ids, digits, tabular


def lbfgs_logistic():
    """Full-batch L-BFGS with a closure that is called several times per step and an L2 term by hand."""
    torch.manual_seed(0)
    xa, ya, xb, yb = tabular("breast_cancer")
    net = nn.Sequential(nn.Linear(30, 8), nn.Tanh(), nn.Linear(8, 1))
    optimizer = torch.optim.LBFGS(
        net.parameters(), lr=0.5, max_iter=4, history_size=10, line_search_fn="strong_wolfe"
    )
    target = ya.float()

    def closure():
        optimizer.zero_grad()
        loss = F.binary_cross_entropy_with_logits(net(xa).squeeze(1), target)
        loss = loss + 1e-3 * sum(p.pow(2).sum() for p in net.parameters())
        loss.backward()
        return loss

    for i in range(60):
        loss = optimizer.step(closure)
        if i % 10 == 9:
            with torch.no_grad():
                acc = ((net(xb).squeeze(1) > 0).long() == yb).float().mean()
            print(f"iter {i + 1} loss {loss.item():.4f} acc {acc:.4f}")


class SAM(torch.optim.Optimizer):
    def __init__(self, params, base_optimizer, rho=0.05, **kwargs):
        super().__init__(params, dict(rho=rho, **kwargs))
        self.base_optimizer = base_optimizer(self.param_groups, **kwargs)
        self.param_groups = self.base_optimizer.param_groups

    @torch.no_grad()
    def first_step(self, zero_grad=False):
        norm = torch.stack(
            [p.grad.norm() for group in self.param_groups for p in group["params"] if p.grad is not None]
        ).norm()
        for group in self.param_groups:
            scale = group["rho"] / (norm + 1e-12)
            for p in group["params"]:
                if p.grad is None:
                    continue
                self.state[p]["old_p"] = p.data.clone()
                p.add_(p.grad * scale)
        if zero_grad:
            self.zero_grad()

    @torch.no_grad()
    def second_step(self, zero_grad=False):
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    p.data = self.state[p]["old_p"]
        self.base_optimizer.step()
        if zero_grad:
            self.zero_grad()


def sam_two_passes():
    """Sharpness-aware minimization: two forward and backward passes on the same batch for each update."""
    torch.manual_seed(0)
    xa, ya, xb, yb = digits()
    model = nn.Sequential(nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, 10))
    optimizer = SAM(model.parameters(), torch.optim.SGD, rho=0.05, lr=0.1, momentum=0.9)
    loader = DataLoader(TensorDataset(xa, ya), batch_size=64, shuffle=True)
    for epoch in range(10):
        tot = 0.0
        for x, y in loader:
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.first_step(zero_grad=True)
            F.cross_entropy(model(x), y).backward()
            optimizer.second_step(zero_grad=True)
            tot += loss.item()
        with torch.no_grad():
            acc = (model(xb).argmax(1) == yb).float().mean()
        print(f"epoch {epoch} loss {tot / len(loader):.4f} acc {acc:.4f}")


def wgan_gp_critic_steps():
    """WGAN-GP: five critic steps per generator step, a gradient penalty with create_graph, critic loss below zero."""
    torch.manual_seed(0)
    np.random.seed(0)
    data = torch.from_numpy(datasets.make_moons(3000, noise=0.05)[0]).float()
    G = nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2))
    C = nn.Sequential(nn.Linear(2, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1))
    opt_g = torch.optim.Adam(G.parameters(), lr=1e-3, betas=(0.0, 0.9))
    opt_c = torch.optim.Adam(C.parameters(), lr=1e-3, betas=(0.0, 0.9))
    for it in range(1, 161):
        for p in C.parameters():
            p.requires_grad_(True)
        for _ in range(5):
            real = data[torch.randint(0, len(data), (128,))]
            with torch.no_grad():
                fake = G(torch.randn(128, 4))
            eps = torch.rand(128, 1)
            mid = (eps * real + (1 - eps) * fake).requires_grad_(True)
            g = torch.autograd.grad(C(mid).sum(), mid, create_graph=True)[0]
            gp = ((g.norm(2, dim=1) - 1) ** 2).mean()
            loss_c = C(fake).mean() - C(real).mean() + 1.0 * gp
            opt_c.zero_grad()
            loss_c.backward()
            opt_c.step()
        for p in C.parameters():
            p.requires_grad_(False)
        loss_g = -C(G(torch.randn(128, 4))).mean()
        opt_g.zero_grad()
        loss_g.backward()
        opt_g.step()
        if it % 40 == 0:
            with torch.no_grad():
                d = torch.cdist(G(torch.randn(800, 4)), data[:800])
            cham = (d.min(1).values.mean() + d.min(0).values.mean()).item() / 2
            print(f"it {it} critic {loss_c.item():.4f} gen {loss_g.item():.4f} chamfer {cham:.4f}")


def reptile_sines():
    """Reptile: an inner SGD on a copy made anew for every task, then the weights are moved by hand, no outer backward."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    model = nn.Sequential(nn.Linear(1, 48), nn.Tanh(), nn.Linear(48, 48), nn.Tanh(), nn.Linear(48, 1))
    grid = torch.linspace(-5, 5, 50).unsqueeze(1)

    def task():
        phase, amp = rng.uniform(0, 2 * np.pi), rng.uniform(0.5, 2.0)
        return lambda x: amp * torch.sin(x + phase)

    def adapt(f, x, steps=6, lr=0.04):
        fast = copy.deepcopy(model)
        inner = torch.optim.SGD(fast.parameters(), lr=lr)
        for _ in range(steps):
            loss = F.mse_loss(fast(x), f(x))
            inner.zero_grad()
            loss.backward()
            inner.step()
        return fast

    def meta_eval():
        errs = []
        for k in range(10):
            f = lambda x, k=k: (0.5 + 0.15 * k) * torch.sin(x + 0.6 * k)
            fast = adapt(f, grid[::5], steps=32)
            with torch.no_grad():
                errs.append(F.mse_loss(fast(grid), f(grid)).item())
        return np.mean(errs)

    n = 400
    for it in range(n):
        fast = adapt(task(), grid[torch.randperm(50)[:20]])
        with torch.no_grad():
            outer = 0.6 * (1 - it / n)
            for p, q in zip(model.parameters(), fast.parameters()):
                p.add_(q - p, alpha=outer)
        if it % 100 == 0 or it == n - 1:
            print(f"it {it} error after adaptation {meta_eval():.4f}")


class PoleCorridor:
    """A one-dimensional balance task for many copies at once: push a drifting point back to the middle."""

    def __init__(self, n, rng):
        self.n, self.rng = n, rng
        self.x, self.v, self.t = np.zeros(n), np.zeros(n), np.zeros(n, dtype=int)
        self._reset(np.ones(n, dtype=bool))

    def _reset(self, m):
        self.x[m] = self.rng.uniform(-0.5, 0.5, m.sum())
        self.v[m] = self.rng.uniform(-0.1, 0.1, m.sum())
        self.t[m] = 0

    def obs(self):
        return torch.tensor(np.stack([self.x, self.v], 1), dtype=torch.float32)

    def step(self, a):
        self.v += 0.1 * (2 * a - 1) + 0.05 * self.x
        self.x += 0.3 * self.v
        self.t += 1
        fell = np.abs(self.x) > 1.0
        done = fell | (self.t >= 60)
        r = np.where(fell, -1.0, 0.1)
        length = self.t[done].tolist()
        self._reset(done)
        return self.obs(), r, done, length


def ppo_balance():
    """PPO: four epochs over the same rollout, one optimizer for actor and critic, a loss that need not fall."""
    torch.manual_seed(0)
    env = PoleCorridor(16, np.random.default_rng(0))
    actor = nn.Sequential(nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, 2))
    critic = nn.Sequential(nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, 1))
    params = list(actor.parameters()) + list(critic.parameters())
    opt = torch.optim.Adam(params, lr=3e-3, eps=1e-5)
    obs = env.obs()
    for update in range(25):
        O, A, L, R, D, V, lengths = [], [], [], [], [], [], []
        with torch.no_grad():
            for _ in range(32):
                dist = Categorical(logits=actor(obs))
                a = dist.sample()
                O.append(obs), A.append(a), L.append(dist.log_prob(a)), V.append(critic(obs).squeeze(1))
                obs, r, d, ended = env.step(a.numpy())
                (
                    R.append(torch.tensor(r, dtype=torch.float32)),
                    D.append(torch.tensor(d, dtype=torch.float32)),
                )
                lengths += ended
            last, adv, nxt = torch.zeros(16), [], critic(obs).squeeze(1)
            for t in reversed(range(32)):
                delta = R[t] + 0.98 * nxt * (1 - D[t]) - V[t]
                last = delta + 0.98 * 0.95 * (1 - D[t]) * last
                adv.insert(0, last)
                nxt = V[t]
            adv = torch.stack(adv).flatten()
            O, A, L, V = torch.cat(O), torch.cat(A), torch.cat(L), torch.cat(V)
            ret = adv + V
            adv = (adv - adv.mean()) / (adv.std() + 1e-8)
        for _ in range(4):
            for idx in torch.randperm(len(O)).split(128):
                dist = Categorical(logits=actor(O[idx]))
                ratio = (dist.log_prob(A[idx]) - L[idx]).exp()
                pg = -torch.min(ratio * adv[idx], ratio.clamp(0.8, 1.2) * adv[idx]).mean()
                v = F.mse_loss(critic(O[idx]).squeeze(1), ret[idx])
                loss = pg + 0.5 * v - 0.01 * dist.entropy().mean()
                opt.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(params, 0.5)
                opt.step()
        if update % 4 == 0:
            print(f"update {update} loss {loss.item():.4f} episode length {np.mean(lengths or [0]):.1f}")


def deep_image_prior():
    """Deep image prior: one fixed noise input and one corrupted image in every step, stopped early, output averaged."""
    torch.manual_seed(0)
    img = datasets.load_sample_image("china.jpg")[100:228:2, 200:328:2].astype(np.float32) / 255
    clean = torch.from_numpy(img).permute(2, 0, 1).unsqueeze(0)
    noisy = clean + 0.15 * torch.randn_like(clean)
    z = 0.1 * torch.rand(1, 8, 16, 16)
    net = nn.Sequential(
        nn.Conv2d(8, 24, 3, padding=1),
        nn.BatchNorm2d(24),
        nn.LeakyReLU(0.2),
        nn.Upsample(scale_factor=2, mode="bilinear"),
        nn.Conv2d(24, 24, 3, padding=1),
        nn.BatchNorm2d(24),
        nn.LeakyReLU(0.2),
        nn.Upsample(scale_factor=2, mode="bilinear"),
        nn.Conv2d(24, 24, 3, padding=1),
        nn.BatchNorm2d(24),
        nn.LeakyReLU(0.2),
        nn.Conv2d(24, 3, 1),
        nn.Sigmoid(),
    )
    opt = torch.optim.Adam(net.parameters(), lr=1e-2)
    avg = None
    for i in range(250):
        opt.zero_grad()
        out = net(z + 0.02 * torch.randn_like(z))
        loss = F.mse_loss(out, noisy)
        loss.backward()
        opt.step()
        avg = out.detach() if avg is None else 0.97 * avg + 0.03 * out.detach()
        if i % 50 == 49:
            psnr = -10 * math.log10(F.mse_loss(avg, clean).item())
            print(f"iter {i + 1} loss {loss.item():.5f} psnr {psnr:.2f}")


def pinn_oscillator():
    """A physics-informed network: the loss holds second derivatives by autograd, collocation points and no dataset."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 1))
    opt = torch.optim.Adam(net.parameters(), lr=4e-3)
    sched = torch.optim.lr_scheduler.ExponentialLR(opt, 0.998)
    d, w0 = 1.0, 4.0
    w = math.sqrt(w0**2 - d**2)
    t_test = torch.linspace(0, 1.5, 200).view(-1, 1)
    phi = math.atan(-d / w)
    exact = torch.exp(-d * t_test) * torch.cos(phi + w * t_test) / math.cos(phi)
    t0 = torch.zeros(1, 1, requires_grad=True)
    for i in range(1200):
        opt.zero_grad()
        u0 = net(t0)
        du0 = torch.autograd.grad(u0, t0, create_graph=True)[0]
        t = (1.5 * torch.rand(48, 1)).requires_grad_(True)
        u = net(t)
        du = torch.autograd.grad(u.sum(), t, create_graph=True)[0]
        ddu = torch.autograd.grad(du.sum(), t, create_graph=True)[0]
        loss = (
            (u0 - 1).pow(2).sum()
            + 0.1 * du0.pow(2).sum()
            + 2e-3 * (ddu + 2 * d * du + w0**2 * u).pow(2).mean()
        )
        loss.backward()
        opt.step()
        sched.step()
        if i % 200 == 199:
            with torch.no_grad():
                err = (net(t_test) - exact).abs().mean()
            print(f"iter {i + 1} loss {loss.item():.6f} error {err:.4f}")


def optimizer_in_backward():
    """The optimizer step is fused into backward: one optimizer per parameter, run by post-accumulate-grad hooks."""
    torch.manual_seed(0)
    ids, chars = char_ids()

    class GRULM(nn.Module):
        def __init__(self):
            super().__init__()
            self.emb = nn.Embedding(len(chars), 32)
            self.gru = nn.GRU(32, 96, batch_first=True)
            self.out = nn.Linear(96, len(chars))

        def forward(self, x, h=None):
            o, h = self.gru(self.emb(x), h)
            return self.out(o), h

    model = GRULM()
    optimizers = {p: torch.optim.Adam([p], lr=4e-3, foreach=False) for p in model.parameters()}

    def hook(p):
        optimizers[p].step()
        optimizers[p].zero_grad()

    for p in model.parameters():
        p.register_post_accumulate_grad_hook(hook)

    rows, width = 16, 30
    cut = len(ids) // rows
    stream = ids[: cut * rows].view(rows, cut)
    for epoch in range(12):
        h, total, n = None, 0.0, 0
        for s in range(0, cut - width - 1, width):
            x, y = stream[:, s : s + width], stream[:, s + 1 : s + width + 1]
            if h is not None:
                h = h.detach()
            logits, h = model(x, h)
            loss = F.cross_entropy(logits.transpose(1, 2), y)
            loss.backward()
            total += loss.item()
            n += 1
        print(f"epoch {epoch} loss {total / n:.4f}")


class VectorQuantizer(nn.Module):
    def __init__(self, n, dim):
        super().__init__()
        self.register_buffer("codebook", torch.randn(n, dim))
        self.register_buffer("size", torch.ones(n))
        self.register_buffer("total", self.codebook.clone())

    def forward(self, z):
        idx = torch.cdist(z.detach(), self.codebook).argmin(1)
        q = self.codebook[idx]
        if self.training:
            with torch.no_grad():
                hot = F.one_hot(idx, len(self.codebook)).float()
                self.size.mul_(0.95).add_(hot.sum(0), alpha=0.05)
                self.total.mul_(0.95).add_(hot.t() @ z, alpha=0.05)
                self.codebook.copy_(self.total / (self.size.unsqueeze(1) + 1e-3))
        commit = F.mse_loss(z, q)
        return z + (q - z).detach(), commit, idx


def vqvae_straight_through():
    """VQ-VAE: straight-through detach in the middle, a codebook without gradient that is updated by moving averages."""
    torch.manual_seed(0)
    xa, _, xb, _ = digits()
    parts, dim = 4, 8
    enc = nn.Sequential(nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, parts * dim))
    dec = nn.Sequential(nn.Linear(parts * dim, 96), nn.ReLU(), nn.Linear(96, 64), nn.Sigmoid())
    vq = VectorQuantizer(32, dim)
    model = nn.ModuleDict({"enc": enc, "dec": dec, "vq": vq})
    opt = torch.optim.Adam(model.parameters(), lr=2e-3)

    def run(x):
        z = enc(x).view(-1, dim)
        q, commit, idx = vq(z)
        return dec(q.view(len(x), -1)), commit, idx

    for epoch in range(15):
        model.train()
        tot = 0.0
        chunks = torch.randperm(len(xa)).split(64)
        for i in chunks:
            rec, commit, _ = run(xa[i])
            loss = F.mse_loss(rec, xa[i]) + 0.05 * commit
            opt.zero_grad()
            loss.backward()
            opt.step()
            tot += loss.item()
        model.eval()
        with torch.no_grad():
            rec, _, idx = run(xb)
        print(
            f"epoch {epoch} loss {tot / len(chunks):.4f} val mse {F.mse_loss(rec, xb):.4f} codes {idx.unique().numel()}"
        )


def vmapped_ensemble():
    """torch.func: an ensemble with stacked weights, gradients by vmap(grad), plain SGD by hand, no optimizer, no .grad."""
    torch.manual_seed(0)
    xa, ya, xb, yb = digits()
    n_models, lr, mom = 5, 0.3, 0.8
    nets = [nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 10)) for _ in range(n_models)]
    params, buffers = stack_module_state(nets)
    params = {k: v.detach() for k, v in params.items()}
    base = copy.deepcopy(nets[0]).to("meta")
    velocity = {k: torch.zeros_like(v) for k, v in params.items()}

    def compute_loss(p, b, x, y):
        loss = F.cross_entropy(functional_call(base, (p, b), (x,)), y)
        return loss, loss.detach()

    step = vmap(grad(compute_loss, has_aux=True), in_dims=(0, 0, 0, 0))
    predict = vmap(lambda p, b, x: functional_call(base, (p, b), (x,)), in_dims=(0, 0, None))
    for i in range(1, 301):
        idx = torch.randint(0, len(xa), (n_models, 48))
        grads, losses = step(params, buffers, xa[idx], ya[idx])
        for k in params:
            velocity[k] = mom * velocity[k] + grads[k]
            params[k] = params[k] - lr * velocity[k]
        if i % 60 == 0:
            probs = predict(params, buffers, xb).softmax(-1)
            acc = (probs.mean(0).argmax(-1) == yb).float().mean()
            print(f"step {i} losses {[round(v, 3) for v in losses.tolist()]} ensemble acc {acc:.4f}")


class GradReverse(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, lam):
        ctx.lam = lam
        return x.view_as(x)

    @staticmethod
    def backward(ctx, g):
        return -ctx.lam * g, None


def dann_gradient_reversal():
    """DANN: gradients are reversed on purpose, the domain loss is meant to stay near log 2, target labels are unused."""
    torch.manual_seed(0)
    xa, ya, xb, yb = digits()

    def shift(x):
        img = x.view(-1, 8, 8)
        out = 0.75 * img + 0.2
        return (out + 0.1 * torch.randn_like(out)).clamp(0, 1).flatten(1)

    xt, xtest = shift(xa[torch.randperm(len(xa))]), shift(xb)
    features = nn.Sequential(nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, 48), nn.ReLU())
    label, domain = nn.Linear(48, 10), nn.Sequential(nn.Linear(48, 32), nn.ReLU(), nn.Linear(32, 1))
    opt = torch.optim.SGD(
        [
            {"params": features.parameters()},
            {"params": label.parameters()},
            {"params": domain.parameters(), "lr": 0.1},
        ],
        lr=0.05,
        momentum=0.9,
    )
    steps = 450
    for i in range(steps):
        p = i / steps
        lam = 0.3 * (2 / (1 + math.exp(-10 * p)) - 1)
        a, b = torch.randint(0, len(xa), (48,)), torch.randint(0, len(xt), (48,))
        fs, ft = features(xa[a]), features(xt[b])
        cls = F.cross_entropy(label(fs), ya[a])
        d = domain(GradReverse.apply(torch.cat([fs, ft]), lam)).squeeze(1)
        dom = F.binary_cross_entropy_with_logits(d, torch.cat([torch.ones(48), torch.zeros(48)]))
        opt.zero_grad()
        (cls + dom).backward()
        opt.step()
        if i % 75 == 74:
            with torch.no_grad():
                acc = (label(features(xtest)).argmax(1) == yb).float().mean()
            print(f"step {i + 1} class {cls.item():.4f} domain {dom.item():.4f} target acc {acc:.4f}")


class FFLayer(nn.Linear):
    def __init__(self, n_in, n_out):
        super().__init__(n_in, n_out)
        self.opt = torch.optim.Adam(self.parameters(), lr=0.02)
        self.threshold = 1.0

    def forward(self, x):
        x = x / (x.norm(2, 1, keepdim=True) + 1e-4)
        return F.relu(super().forward(x))

    def train_step(self, pos, neg):
        g_pos, g_neg = self(pos).pow(2).mean(1), self(neg).pow(2).mean(1)
        loss = F.softplus(torch.cat([self.threshold - g_pos, g_neg - self.threshold])).mean()
        self.opt.zero_grad()
        loss.backward()
        self.opt.step()
        return self(pos).detach(), self(neg).detach(), loss.item()


def forward_forward():
    """Forward-forward: each layer has its own optimizer and local loss, detach between layers, no global backward."""
    torch.manual_seed(0)
    xa, ya, xb, yb = digits()

    def overlay(x, y):
        return torch.cat([2.0 * F.one_hot(y, 10).float(), x], 1)

    layers = [FFLayer(74, 200), FFLayer(200, 200)]

    @torch.no_grad()
    def predict(x):
        scores = []
        for k in range(10):
            h, s = overlay(x, torch.full((len(x),), k)), 0.0
            for layer in layers:
                h = layer(h)
                s = s + h.pow(2).mean(1)
            scores.append(s)
        return torch.stack(scores, 1).argmax(1)

    for epoch in range(32):
        tot = [0.0] * len(layers)
        chunks = torch.randperm(len(xa)).split(64)
        for i in chunks:
            wrong = (ya[i] + torch.randint(1, 10, (len(i),))) % 10
            pos, neg = overlay(xa[i], ya[i]), overlay(xa[i], wrong)
            for j, layer in enumerate(layers):
                pos, neg, loss = layer.train_step(pos, neg)
                tot[j] += loss
        if epoch % 4 == 0:
            acc = (predict(xb) == yb).float().mean()
            print(f"epoch {epoch} losses {[round(t / len(chunks), 4) for t in tot]} acc {acc:.4f}")


HEALTHY = [
    lbfgs_logistic,
    sam_two_passes,
    wgan_gp_critic_steps,
    reptile_sines,
    ppo_balance,
    deep_image_prior,
    pinn_oscillator,
    optimizer_in_backward,
    vqvae_straight_through,
    vmapped_ensemble,
    dann_gradient_reversal,
    forward_forward,
]
