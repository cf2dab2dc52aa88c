"""Loops inside loops: meta-learning, hypernetworks, continual learning, distilled data, updates by hand."""

import copy
import math

import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split
from torch.func import functional_call

from .common import accuracy, digits_splits, seed_everything


def sine_task():
    amp, phase = 0.5 + 2 * torch.rand(()), math.pi * torch.rand(())

    def sample(n):
        x = torch.rand(n, 1) * 10 - 5
        return x, amp * torch.sin(x + phase)

    return sample


def maml_sine_second_order() -> None:
    """MAML: the inner step keeps its graph, the outer optimizer steps on the query loss of a batch of tasks."""
    seed_everything(0)
    net = nn.Sequential(nn.Linear(1, 40), nn.Tanh(), nn.Linear(40, 40), nn.Tanh(), nn.Linear(40, 1))
    meta_opt = torch.optim.Adam(net.parameters(), lr=2e-3)
    inner_lr, tasks_per_batch = 0.05, 8

    def adapt(params, x, y, steps, create_graph):
        for _ in range(steps):
            loss = F.mse_loss(functional_call(net, params, (x,)), y)
            grads = torch.autograd.grad(loss, params.values(), create_graph=create_graph)
            params = {k: p - inner_lr * g for (k, p), g in zip(params.items(), grads)}
        return params

    def evaluate(n=40):
        before = after = 0.0
        for _ in range(n):
            task = sine_task()
            xs, ys = task(10)
            xq, yq = task(100)
            p0 = {k: v.detach().clone().requires_grad_(True) for k, v in net.named_parameters()}
            p1 = adapt(p0, xs, ys, 5, create_graph=False)
            with torch.no_grad():
                before += F.mse_loss(functional_call(net, p0, (xq,)), yq).item() / n
                after += F.mse_loss(functional_call(net, p1, (xq,)), yq).item() / n
        return before, after

    print("before meta-training: loss %.3f, after adaptation %.3f" % evaluate())
    for it in range(700):
        meta_opt.zero_grad()
        total = 0.0
        for _ in range(tasks_per_batch):
            task = sine_task()
            xs, ys = task(10)
            xq, yq = task(10)
            fast = adapt(dict(net.named_parameters()), xs, ys, 1, create_graph=True)
            loss = F.mse_loss(functional_call(net, fast, (xq,)), yq) / tasks_per_batch
            loss.backward()
            total += loss.item()
        meta_opt.step()
    print(
        f"query loss {total:.3f}; "
        + "after meta-training: loss %.3f, after adaptation %.3f" % evaluate()
    )


def reptile_sine() -> None:
    """Reptile: weights moved by hand towards the adapted weights, inner optimizer made anew for each task."""
    seed_everything(0)
    net = nn.Sequential(nn.Linear(1, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 1))

    def inner(x, y, steps, batch):
        opt = torch.optim.SGD(net.parameters(), lr=0.02)
        for _ in range(steps):
            idx = torch.randperm(len(x))[:batch]
            opt.zero_grad()
            loss = F.mse_loss(net(x[idx]), y[idx])
            loss.backward()
            opt.step()

    def evaluate(n=30):
        total = 0.0
        keep = copy.deepcopy(net.state_dict())
        for _ in range(n):
            task = sine_task()
            xs, ys = task(10)
            xq, yq = task(100)
            inner(xs, ys, 32, 10)
            with torch.no_grad():
                total += F.mse_loss(net(xq), yq).item() / n
            net.load_state_dict(keep)
        return total

    print(f"adapted loss before {evaluate():.3f}")
    iterations, outer = 1500, 1.0
    for it in range(iterations):
        old = {k: v.clone() for k, v in net.state_dict().items()}
        task = sine_task()
        x, y = task(50)
        inner(x, y, 8, 10)
        step = outer * (1 - it / iterations)
        new = net.state_dict()
        net.load_state_dict({k: old[k] + step * (new[k] - old[k]) for k in old})
    print(f"adapted loss after {evaluate():.3f}")


class HyperNet(nn.Module):
    """Makes the weights of a classifier from the code of a task (rotation of the image)."""

    def __init__(self, n_tasks, sizes=(64, 32, 10)):
        super().__init__()
        self.sizes = sizes
        self.code = nn.Embedding(n_tasks, 8)
        n = sum(i * o + o for i, o in zip(sizes[:-1], sizes[1:]))
        self.gen = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, n))
        nn.init.normal_(self.gen[-1].weight, std=0.02)
        nn.init.normal_(self.gen[-1].bias, std=0.1)

    def forward(self, x, task):
        w = self.gen(self.code(torch.tensor(task)))
        pos = 0
        for k, (i, o) in enumerate(zip(self.sizes[:-1], self.sizes[1:])):
            W = w[pos : pos + i * o].view(o, i)
            b = w[pos + i * o : pos + i * o + o]
            pos += i * o + o
            x = F.linear(x, W, b)
            if k < len(self.sizes) - 2:
                x = F.relu(x)
        return x


def rotated(x, k):
    return torch.rot90(x.view(-1, 8, 8), k, (1, 2)).flatten(1)


def hypernetwork_four_rotations() -> None:
    """One hypernetwork, four tasks in turn; the target network has no parameters of its own."""
    seed_everything(0)
    (x, y), (xv, yv), (xt, yt) = digits_splits()
    hyper = HyperNet(4)
    opt = torch.optim.Adam(hyper.parameters(), lr=1e-3)
    for epoch in range(60):
        for idx in torch.randperm(len(x)).split(64):
            task = int(torch.randint(0, 4, ()))
            loss = F.cross_entropy(hyper(rotated(x[idx], task), task), y[idx])
            loss.backward()
            nn.utils.clip_grad_norm_(hyper.parameters(), 5.0)
            opt.step()
            opt.zero_grad()
    with torch.no_grad():
        accs = [(hyper(rotated(xt, t), t).argmax(1) == yt).float().mean().item() for t in range(4)]
    print(f"loss {loss.item():.3f} test by task {[round(a, 3) for a in accs]}")


class MoE(nn.Module):
    def __init__(self, d=64, n_experts=6, k=2, classes=10):
        super().__init__()
        self.gate = nn.Linear(d, n_experts)
        self.experts = nn.ModuleList(
            [
                nn.Sequential(nn.Linear(d, 32), nn.ReLU(), nn.Linear(32, classes))
                for _ in range(n_experts)
            ]
        )
        self.k, self.n = k, n_experts

    def forward(self, x):
        probs = self.gate(x).softmax(-1)
        top, idx = probs.topk(self.k, dim=-1)
        top = top / top.sum(-1, keepdim=True)
        out = x.new_zeros(len(x), self.experts[0][-1].out_features)
        for e, expert in enumerate(self.experts):
            rows, slot = (idx == e).nonzero(as_tuple=True)
            if len(rows):
                out = out.index_add(0, rows, top[rows, slot, None] * expert(x[rows]))
        frac = F.one_hot(idx, self.n).float().sum(1).mean(0) / self.k
        aux = self.n * (frac.detach() * probs.mean(0)).sum()
        return out, aux, frac


def mixture_of_experts_top2() -> None:
    """Sparse MoE: some expert may get no row in a batch and then has no gradient; load-balancing loss stays near one."""
    seed_everything(0)
    (x, y), (xv, yv), (xt, yt) = digits_splits()
    net = MoE()
    opt = torch.optim.AdamW(net.parameters(), lr=2e-3)
    for epoch in range(25):
        net.train()
        for idx in torch.randperm(len(x)).split(32):
            out, aux, frac = net(x[idx])
            ce = F.cross_entropy(out, y[idx])
            loss = ce + 0.01 * aux
            opt.zero_grad(set_to_none=True)
            loss.backward()
            opt.step()
    net.eval()
    with torch.no_grad():
        out, aux, frac = net(xt)
    print(
        f"ce {ce.item():.3f} aux {aux.item():.2f} test {(out.argmax(1) == yt).float().mean():.3f} load {[round(v, 2) for v in frac.tolist()]}"
    )


def continual_learning_with_replay() -> None:
    """Five tasks of two digits one after another with a rehearsal memory; the loss leaps at each new task."""
    seed_everything(0)
    (x, y), _, (xt, yt) = digits_splits()
    net = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
    opt = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)
    mem_x, mem_y = [], []
    for task in range(5):
        classes = (2 * task, 2 * task + 1)
        rows = ((y == classes[0]) | (y == classes[1])).nonzero()[:, 0]
        for epoch in range(40):
            for idx in rows[torch.randperm(len(rows))].split(16):
                xb, yb = x[idx], y[idx]
                if mem_x:
                    mx, my = torch.cat(mem_x), torch.cat(mem_y)
                    pick = torch.randperm(len(mx))[: 16 * task]
                    xb, yb = torch.cat([xb, mx[pick]]), torch.cat([yb, my[pick]])
                loss = F.cross_entropy(net(xb), yb)
                opt.zero_grad()
                loss.backward()
                opt.step()
        for c in classes:
            keep = (y == c).nonzero()[:, 0][:40]
            mem_x.append(x[keep])
            mem_y.append(y[keep])
        seen = yt <= classes[1]
        print(
            f"task {task} loss {loss.item():.3f} accuracy on classes seen {accuracy(net, xt[seen], yt[seen]):.3f}"
        )


def dataset_distillation_gradient_matching() -> None:
    """The pixels are the parameters: synthetic images whose gradients match real ones on fresh random networks."""
    seed_everything(0)
    (x, y), _, (xt, yt) = digits_splits()
    by_class = [x[y == c] for c in range(10)]
    syn = torch.rand(10, 64).mul(0.2).requires_grad_(True)
    lab = torch.arange(10)
    opt = torch.optim.Adam([syn], lr=0.03)

    def new_net():
        return nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))

    def train_on_syn(steps=200):
        net = new_net()
        o = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
        data = syn.detach()
        for _ in range(steps):
            o.zero_grad()
            F.cross_entropy(net(data), lab).backward()
            o.step()
        return accuracy(net, xt, yt)

    print(f"trained on noise images: test {train_on_syn():.3f}")
    for it in range(60):
        net = new_net()
        params = list(net.parameters())
        inner = torch.optim.SGD(params, lr=0.1)
        for inner_step in range(4):
            match = 0.0
            for c in range(10):
                real = by_class[c][torch.randperm(len(by_class[c]))[:32]]
                g_real = torch.autograd.grad(
                    F.cross_entropy(net(real), torch.full((len(real),), c)), params
                )
                g_syn = torch.autograd.grad(
                    F.cross_entropy(net(syn[c : c + 1]), lab[c : c + 1]), params, create_graph=True
                )
                for a, b in zip(g_real, g_syn):
                    match = match + 1 - F.cosine_similarity(a.detach().flatten(), b.flatten(), dim=0)
            opt.zero_grad()
            match.backward()
            opt.step()
            inner.zero_grad()
            F.cross_entropy(net(syn.detach()), lab).backward()
            inner.step()
        if it % 20 == 0:
            print(f"iteration {it} matching loss {match.item():.3f}")
    print(f"matching loss {match.item():.3f} trained on ten distilled images: test {train_on_syn():.3f}")


def weights_updated_by_hand() -> None:
    """No nn.Module and no optimizer: tensors, momentum by hand, gradients zeroed by hand."""
    torch.manual_seed(0)
    (x, y), (xv, yv), (xt, yt) = digits_splits()
    W1 = (torch.randn(64, 512) / 8).requires_grad_()
    b1 = torch.zeros(512, requires_grad=True)
    W2 = (torch.randn(512, 10) / 22).requires_grad_()
    b2 = torch.zeros(10, requires_grad=True)
    params = [W1, b1, W2, b2]
    vel = [torch.zeros_like(p) for p in params]

    def model(xb):
        return (xb @ W1 + b1).relu() @ W2 + b2

    def nll(logp, t):
        return -logp[range(t.shape[0]), t].mean()

    lr, mu, bs = 0.05, 0.9, 64
    for epoch in range(60):
        perm = torch.randperm(len(x))
        for i in range((len(x) - 1) // bs + 1):
            idx = perm[i * bs : (i + 1) * bs]
            out = model(x[idx])
            logp = out - out.logsumexp(-1, keepdim=True)
            loss = nll(logp, y[idx]) + 1e-4 * (W1.pow(2).sum() + W2.pow(2).sum())
            loss.backward()
            with torch.no_grad():
                for p, v in zip(params, vel):
                    v.mul_(mu).add_(p.grad)
                    p -= lr * v
                    p.grad.zero_()
        if epoch % 20 == 0:
            with torch.no_grad():
                print(
                    f"epoch {epoch} loss {loss.item():.3f} val {(model(xv).argmax(1) == yv).float().mean():.3f}"
                )
    with torch.no_grad():
        print(f"loss {loss.item():.3f} test {(model(xt).argmax(1) == yt).float().mean():.3f}")


def hessian_free_newton_by_hand() -> None:
    """Hessian-free: Hessian-vector products, conjugate gradients, damping adapted by Levenberg-Marquardt."""
    seed_everything(0)
    X, Y = load_breast_cancer(return_X_y=True)
    xa, xb, ya, yb = train_test_split(X, Y, stratify=Y, test_size=0.25, random_state=0)
    mean, std = xa.mean(0), xa.std(0)
    xa, xb = (torch.tensor((v - mean) / std, dtype=torch.float64) for v in (xa, xb))
    ya, yb = torch.tensor(ya), torch.tensor(yb)
    net = nn.Sequential(nn.Linear(30, 16), nn.Tanh(), nn.Linear(16, 2)).double()
    params = list(net.parameters())
    damping = 1.0

    def objective(idx):
        return F.cross_entropy(net(xa[idx]), ya[idx]) + 5e-3 * sum(p.pow(2).sum() for p in params)

    def flat(ts):
        return torch.cat([t.reshape(-1) for t in ts])

    def add_to_weights(v, scale=1.0):
        pos = 0
        with torch.no_grad():
            for p in params:
                p.add_(scale * v[pos : pos + p.numel()].view_as(p))
                pos += p.numel()

    for it in range(200):
        idx = torch.randperm(len(xa))[:256]
        loss = objective(idx)
        grad = flat(torch.autograd.grad(loss, params, create_graph=True))
        g = grad.detach()

        def hvp(v):
            return flat(torch.autograd.grad(grad @ v, params, retain_graph=True)) + damping * v

        step, r = torch.zeros_like(g), -g
        d, rs = r.clone(), r @ r
        for _ in range(20):
            hd = hvp(d)
            curv = d @ hd
            if curv <= 0:
                if not step.any():
                    step = -g
                break
            a = rs / curv
            step = step + a * d
            r = r - a * hd
            new = r @ r
            if new < 1e-10:
                break
            d, rs = r + (new / rs) * d, new
        add_to_weights(step)
        with torch.no_grad():
            after = objective(idx)
        if after > loss:
            add_to_weights(step, -1.0)
            damping = min(damping * 2, 100.0)
        else:
            damping = max(damping / 1.5, 1e-3)
        if it % 50 == 0 or it == 199:
            print(
                f"iteration {it} loss {loss.item():.4f} damping {damping:.4f} test {accuracy(net, xb, yb):.3f}"
            )


HEALTHY = [
    maml_sine_second_order,
    reptile_sine,
    hypernetwork_four_rotations,
    mixture_of_experts_top2,
    continual_learning_with_replay,
    dataset_distillation_gradient_matching,
    weights_updated_by_hand,
    hessian_free_newton_by_hand,
]
