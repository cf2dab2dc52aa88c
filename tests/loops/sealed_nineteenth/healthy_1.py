"""Right loops of less usual kinds of training."""

import copy

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_sample_image, load_wine
from sklearn.model_selection import StratifiedKFold
from sklearn.preprocessing import StandardScaler
from torch.optim.swa_utils import SWALR, AveragedModel, update_bn
from torch.utils.data import DataLoader, TensorDataset

from .common import (
    Docking,
    accuracy,
    arm_torques,
    digit_images,
    ecg_beats,
    lesion_images,
    loaders,
    ndcg,
    rank_queries,
    seed_all,
    sensor_stream,
)


def camera_calibration_lbfgs() -> None:
    """Camera parameters from point pairs, with L-BFGS and a closure over all points."""
    seed_all(501)
    pts = torch.rand(300, 3) * torch.tensor([2.0, 2.0, 2.0]) - torch.tensor([1.0, 1.0, -2.0])

    def project(p, f, c, k, w):
        wx, wy, wz = w
        zero = torch.zeros(())
        K = torch.stack(
            [torch.stack([zero, -wz, wy]), torch.stack([wz, zero, -wx]), torch.stack([-wy, wx, zero])]
        )
        cam = p @ torch.matrix_exp(K).T
        xy = cam[:, :2] / cam[:, 2:]
        r2 = xy.pow(2).sum(1, keepdim=True)
        return f * xy * (1 + k[0] * r2 + k[1] * r2**2) + c

    with torch.no_grad():
        seen = project(
            pts,
            torch.tensor(1.4),
            torch.tensor([0.1, -0.06]),
            torch.tensor([-0.2, 0.05]),
            torch.tensor([0.1, -0.2, 0.05]),
        ) + 0.001 * torch.randn(300, 2)
    f = nn.Parameter(torch.tensor(1.0))
    c = nn.Parameter(torch.zeros(2))
    k = nn.Parameter(torch.zeros(2))
    w = nn.Parameter(torch.zeros(3))
    optimizer = torch.optim.LBFGS([f, c, k, w], lr=0.3, max_iter=4, history_size=8)

    def closure():
        optimizer.zero_grad()
        loss = 100 * F.mse_loss(project(pts, f, c, k, w), seen)
        loss.backward()
        return loss

    for step in range(80):
        loss = optimizer.step(closure)
        if step % 20 == 0:
            print(f"step {step}: {loss.item():.5f}")
    print(
        f"loss {closure().item():.5f} focal {f.item():.3f} centre {c.tolist()} distortion {k.tolist()}"
    )


def sam_beats() -> None:
    """Sharpness-aware minimisation: climb to the worst nearby weights, take the gradient there, step from home."""
    seed_all(502)
    X, y = ecg_beats(1500, seed=502, noise=0.2)
    train, val = loaders(X, y, batch_size=30)
    model = nn.Sequential(
        nn.Conv1d(1, 16, 7, stride=2),
        nn.ReLU(),
        nn.Conv1d(16, 24, 5, stride=2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(24 * 17, 4),
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.03, momentum=0.9)
    rho = 0.05
    for epoch in range(6):
        model.train()
        total = 0.0
        for x, t in train:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), t)
            loss.backward()
            with torch.no_grad():
                norm = torch.norm(torch.stack([p.grad.norm() for p in model.parameters()]))
                climbs = []
                for p in model.parameters():
                    e = p.grad * (rho / (norm + 1e-12))
                    p.add_(e)
                    climbs.append(e)
            optimizer.zero_grad()
            F.cross_entropy(model(x), t).backward()
            with torch.no_grad():
                for p, e in zip(model.parameters(), climbs):
                    p.sub_(e)
            optimizer.step()
            total += loss.item()
        model.eval()
        with torch.no_grad():
            acc = sum((model(x).argmax(1) == t).sum().item() for x, t in val) / len(val.dataset)
        print(f"epoch {epoch}: loss {total / len(train):.3f}  val acc {acc:.3f}")


def wgan_servo_steps() -> None:
    """Wasserstein GAN with gradient penalty: a second derivative, and four critic updates to one of the generator."""
    seed_all(503)
    t = torch.linspace(0, 4, 32)

    def step_responses(n):
        damp = 0.15 + 0.6 * torch.rand(n, 1)
        wn = 1.5 + 3.5 * torch.rand(n, 1)
        wd = wn * (1 - damp**2).sqrt()
        return 1 - torch.exp(-damp * wn * t) * (
            torch.cos(wd * t) + damp / (1 - damp**2).sqrt() * torch.sin(wd * t)
        )

    G = nn.Sequential(nn.Linear(6, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 32))
    C = nn.Sequential(
        nn.Linear(32, 64), nn.LeakyReLU(0.2), nn.Linear(64, 64), nn.LeakyReLU(0.2), nn.Linear(64, 1)
    )
    opt_g = torch.optim.Adam(G.parameters(), lr=4e-4, betas=(0.0, 0.9))
    opt_c = torch.optim.Adam(C.parameters(), lr=1e-3, betas=(0.0, 0.9))
    check = step_responses(2000)
    for it in range(600):
        for _ in range(4):
            real = step_responses(64)
            with torch.no_grad():
                fake = G(torch.randn(64, 6))
            mix = torch.lerp(real, fake, torch.rand(64, 1)).requires_grad_(True)
            (slope,) = torch.autograd.grad(C(mix).sum(), mix, create_graph=True)
            distance = C(real).mean() - C(fake).mean()
            critic_loss = -distance + 10.0 * (slope.norm(dim=1) - 1).pow(2).mean()
            opt_c.zero_grad()
            critic_loss.backward()
            opt_c.step()
        g_loss = -C(G(torch.randn(64, 6))).mean()
        opt_g.zero_grad()
        g_loss.backward()
        opt_g.step()
        if it % 100 == 99 or it == 0:
            with torch.no_grad():
                s = G(torch.randn(2000, 6))
            print(
                f"it {it + 1}: W {distance.item():.4f}  mean off {(s.mean(0) - check.mean(0)).abs().mean():.3f}  "
                f"spread {s.std(0).mean():.3f} of {check.std(0).mean():.3f}"
            )


def coordinate_field() -> None:
    """One network for one picture: all known pixels in every step, held-out pixels to check."""
    seed_all(504)
    pic = torch.tensor(load_sample_image("china.jpg").mean(2) / 255.0, dtype=torch.float32)
    pic = F.interpolate(pic[None, None], size=(40, 60), mode="area")[0, 0]
    yy, xx = torch.meshgrid(torch.linspace(-1, 1, 40), torch.linspace(-1, 1, 60), indexing="ij")
    coords, values = torch.stack([xx, yy], -1).reshape(-1, 2), pic.reshape(-1, 1)
    B = torch.randn(2, 48) * 3.0
    feats = torch.cat([torch.sin(coords @ B), torch.cos(coords @ B)], 1)
    known = torch.rand(len(coords)) < 0.8
    net = nn.Sequential(
        nn.Linear(96, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1), nn.Sigmoid()
    )
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=300)
    x, v = feats[known], values[known]
    for step in range(300):
        optimizer.zero_grad()
        loss = F.mse_loss(net(x), v)
        loss.backward()
        optimizer.step()
        scheduler.step()
        if step % 60 == 59:
            with torch.no_grad():
                held = F.mse_loss(net(feats[~known]), values[~known])
            print(
                f"step {step + 1}: mse {loss.item():.5f}  held-out PSNR {-10 * held.log10().item():.1f} dB"
            )


def stateful_stream_gru() -> None:
    """Truncated back-propagation over parallel tracks of one long stream; the state is carried and detached."""
    seed_all(505)
    s = sensor_stream(6000, seed=505)
    s = (s - s[:4800].mean()) / s[:4800].std()
    tracks = s[:4800].view(8, 600)
    held = s[4800:][None]
    rnn, head = nn.GRU(1, 32, batch_first=True), nn.Linear(32, 1)
    params = [*rnn.parameters(), *head.parameters()]
    optimizer = torch.optim.Adam(params, lr=5e-3)
    for epoch in range(12):
        state, total, n = None, 0.0, 0
        for i in range(0, 600 - 31, 30):
            x, t = tracks[:, i : i + 30, None], tracks[:, i + 1 : i + 31, None]
            out, state = rnn(x, state)
            loss = F.mse_loss(head(out), t)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(params, 1.0)
            optimizer.step()
            state = state.detach()
            total, n = total + loss.item(), n + 1
        with torch.no_grad():
            out, _ = rnn(held[:, :-1, None])
            v = F.mse_loss(head(out), held[:, 1:, None]).item()
        if epoch % 3 == 2 or epoch == 0:
            print(f"epoch {epoch}: train {total / n:.4f}  held-out {v:.4f}")


def robust_patches_pgd() -> None:
    """Adversarial training: three ascent steps on the images, then one descent step on the weights."""
    seed_all(506)
    img, cls, _, _ = lesion_images(1000, seed=506)
    label = (cls > 0).long()
    train, _ = loaders(img[:800], label[:800], batch_size=25, val=0.0)
    Xv, yv = img[800:], label[800:]
    model = nn.Sequential(
        nn.Conv2d(1, 12, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(12, 24, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(384, 2),
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    eps, alpha = 0.06, 0.03

    def attack(x, y):
        delta = torch.empty_like(x).uniform_(-eps, eps)
        for _ in range(3):
            delta.requires_grad_(True)
            loss = F.cross_entropy(model(x + delta), y)
            (g,) = torch.autograd.grad(loss, delta)
            delta = (delta.detach() + alpha * g.sign()).clamp(-eps, eps)
        return (x + delta).detach()

    for epoch in range(8):
        model.train()
        total = 0.0
        for x, y in train:
            adv = attack(x, y)
            optimizer.zero_grad()
            loss = F.cross_entropy(model(adv), y)
            loss.backward()
            optimizer.step()
            total += loss.item()
        print(
            f"epoch {epoch}: adversarial loss {total / len(train):.3f}  clean {accuracy(model, Xv, yv):.3f}  "
            f"attacked {accuracy(model, attack(Xv, yv), yv):.3f}"
        )


def reptile_motors() -> None:
    """Reptile: for each motor a copy of the net and a new SGD for a few steps, then the net moves towards the copy."""
    seed_all(507)

    def motor():
        amp, phase = 0.5 + 1.5 * torch.rand(1), 3.14 * torch.rand(1)
        return lambda n: (lambda x: (x, amp * torch.sin(x + phase) + 0.02 * torch.randn(n, 1)))(
            torch.rand(n, 1) * 8 - 4
        )

    meta = nn.Sequential(nn.Linear(1, 48), nn.Tanh(), nn.Linear(48, 48), nn.Tanh(), nn.Linear(48, 1))
    outer_lr = 0.5

    def adapt(net, draw, steps):
        inner = torch.optim.SGD(net.parameters(), lr=0.02)
        for _ in range(steps):
            x, y = draw(20)
            loss = F.mse_loss(net(x), y)
            inner.zero_grad()
            loss.backward()
            inner.step()
        return loss.item()

    def after_adaptation():
        errs = []
        for _ in range(20):
            draw = motor()
            net = copy.deepcopy(meta)
            adapt(net, draw, 10)
            x, y = draw(200)
            with torch.no_grad():
                errs.append(F.mse_loss(net(x), y).item())
        return sum(errs) / len(errs)

    print(f"before: {after_adaptation():.3f}")
    for it in range(500):
        task_net = copy.deepcopy(meta)
        adapt(task_net, motor(), 10)
        step = outer_lr * (1 - it / 500)
        with torch.no_grad():
            for p, q in zip(meta.parameters(), task_net.parameters()):
                p.add_(step * (q - p))
        if it % 125 == 124:
            print(f"meta step {it + 1}: error after 10 steps on new motors {after_adaptation():.3f}")


def wine_cross_validation() -> None:
    """Five folds, each with its own scaler, model and optimizer; the score is the mean over folds."""
    X, y = load_wine(return_X_y=True)
    scores = []
    for fold, (tr, va) in enumerate(StratifiedKFold(5, shuffle=True, random_state=0).split(X, y)):
        seed_all(508 + fold)
        sc = StandardScaler().fit(X[tr])
        Xt, Xv = (torch.tensor(sc.transform(X[i]), dtype=torch.float32) for i in (tr, va))
        yt, yv = torch.tensor(y[tr]), torch.tensor(y[va])
        model = nn.Sequential(nn.Linear(13, 16), nn.ReLU(), nn.Linear(16, 3))
        optimizer = torch.optim.Adam(model.parameters(), lr=4e-3)
        loader = DataLoader(TensorDataset(Xt, yt), batch_size=16, shuffle=True)
        first = last = None
        for epoch in range(15):
            model.train()
            for x, t in loader:
                optimizer.zero_grad()
                loss = F.cross_entropy(model(x), t)
                loss.backward()
                optimizer.step()
                first = loss.item() if first is None else first
                last = loss.item()
        scores.append(accuracy(model, Xv, yv))
        print(f"fold {fold}: loss {first:.3f} -> {last:.3f}, acc {scores[-1]:.3f}")
    print(f"mean accuracy {np.mean(scores):.3f}")


def torque_mc_dropout() -> None:
    """The validation error is taken in eval mode; afterwards dropout alone is switched on to sample uncertainty."""
    seed_all(509)
    X, tau = arm_torques(2400, seed=509)
    near = X[:, :2].abs().amax(1) < 1.8
    Xin, tin = X[near], tau[near]
    far = X[~near]
    train, val = loaders(Xin, tin, batch_size=40)
    model = nn.Sequential(
        nn.Linear(6, 128),
        nn.ReLU(),
        nn.Dropout(0.1),
        nn.Linear(128, 128),
        nn.ReLU(),
        nn.Dropout(0.1),
        nn.Linear(128, 2),
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    for epoch in range(14):
        model.train()
        s = 0.0
        for x, t in train:
            optimizer.zero_grad()
            loss = F.mse_loss(model(x), t)
            loss.backward()
            optimizer.step()
            s += loss.item()
        model.eval()
        with torch.no_grad():
            v = sum(F.mse_loss(model(x), t, reduction="sum").item() for x, t in val) / (
                2 * len(val.dataset)
            )
        if epoch % 4 == 1:
            print(f"epoch {epoch}: train {s / len(train):.4f}  val {v:.4f}")

    model.eval()
    for m in model.modules():
        if isinstance(m, nn.Dropout):
            m.train()
    with torch.no_grad():
        inside = torch.stack([model(val.dataset.tensors[0]) for _ in range(30)]).std(0).mean().item()
        outside = torch.stack([model(far) for _ in range(30)]).std(0).mean().item()
    model.eval()
    print(f"spread inside the workspace {inside:.3f}, outside {outside:.3f}")


def digits_weight_averaging() -> None:
    """Stochastic weight averaging over the last epochs, and BatchNorm statistics recomputed for the average."""
    seed_all(510)
    Xtr, ytr, Xte, yte = digit_images(10)
    loader = DataLoader(TensorDataset(Xtr, ytr), batch_size=48, shuffle=True)
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 24, 3, padding=1, bias=False),
        nn.BatchNorm2d(24),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(384, 10),
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=8)
    swa_model = AveragedModel(model)
    swa_scheduler = SWALR(optimizer, swa_lr=0.02, anneal_epochs=2)
    for epoch in range(14):
        model.train()
        s = 0.0
        for x, y in loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            s += loss.item()
        if epoch >= 8:
            swa_model.update_parameters(model)
            swa_scheduler.step()
        else:
            scheduler.step()
        if epoch % 4 == 0:
            print(f"epoch {epoch}: loss {s / len(loader):.3f}  acc {accuracy(model, Xte, yte):.3f}")
    update_bn(loader, swa_model)
    print(f"averaged model {accuracy(swa_model, Xte, yte):.3f}")


def docking_ppo() -> None:
    """PPO: several passes over one batch of experience, with clipped ratios, a value loss and an entropy bonus."""
    seed_all(511)
    env = Docking(32, seed=511, horizon=20)
    body = nn.Sequential(nn.Linear(2, 48), nn.Tanh())
    pi, vf = nn.Linear(48, 3), nn.Linear(48, 1)
    params = [*body.parameters(), *pi.parameters(), *vf.parameters()]
    optimizer = torch.optim.Adam(params, lr=4e-3)
    gamma, lam, clip = 0.95, 0.9, 0.2
    for it in range(25):
        obs, done = env.reset(), False
        O, A, LP, R, V = [], [], [], [], []
        with torch.no_grad():
            while not done:
                h = body(obs)
                d = torch.distributions.Categorical(logits=pi(h))
                a = d.sample()
                O.append(obs), A.append(a), LP.append(d.log_prob(a)), V.append(vf(h).squeeze(1))
                obs, r, done = env.step(a)
                R.append(r)
            V.append(vf(body(obs)).squeeze(1))
        adv, run = [], torch.zeros(env.n)
        for t in reversed(range(len(R))):
            delta = R[t] + gamma * V[t + 1] - V[t]
            run = delta + gamma * lam * run
            adv.insert(0, run)
        adv = torch.stack(adv)
        ret = (adv + torch.stack(V[:-1])).flatten()
        O, A, LP, adv = torch.cat(O), torch.cat(A), torch.cat(LP), adv.flatten()
        adv = (adv - adv.mean()) / (adv.std() + 1e-8)
        for _ in range(4):
            for idx in torch.randperm(len(O)).split(160):
                h = body(O[idx])
                d = torch.distributions.Categorical(logits=pi(h))
                ratio = (d.log_prob(A[idx]) - LP[idx]).exp()
                policy = -torch.min(ratio * adv[idx], ratio.clamp(1 - clip, 1 + clip) * adv[idx]).mean()
                value = F.mse_loss(vf(h).squeeze(1), ret[idx])
                loss = policy + 0.5 * value - 0.01 * d.entropy().mean()
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(params, 0.5)
                optimizer.step()
        if it % 6 == 0:
            print(
                f"iteration {it}: return {torch.stack(R).sum(0).mean().item():.2f}  value loss {value.item():.3f}"
            )


def handwritten_ranknet() -> None:
    """Pairwise ranking with the update rule written out by hand, as on a lecture slide: no torch.optim."""
    seed_all(512)
    X, rel = rank_queries(360, seed=512)
    W1 = (torch.randn(10, 32) / 10**0.5).requires_grad_()
    b1 = torch.zeros(32, requires_grad=True)
    W2 = (torch.randn(32, 1) / 32**0.5).requires_grad_()
    params = [W1, b1, W2]
    velocity = [torch.zeros_like(p) for p in params]
    lr, mu = 0.05, 0.9

    def score(x):
        return (torch.tanh(x @ W1 + b1) @ W2).squeeze(-1)

    for epoch in range(10):
        total = 0.0
        batches = torch.randperm(260).split(10)
        for idx in batches:
            s, r = score(X[idx]), rel[idx]
            better = (r[:, :, None] > r[:, None, :]).float()
            loss = (better * F.softplus(-(s[:, :, None] - s[:, None, :]))).sum() / better.sum()
            loss.backward()
            with torch.no_grad():
                for p, v in zip(params, velocity):
                    v.mul_(mu).add_(p.grad)
                    p -= lr * v
                    p.grad = None
            total += loss.item()
        with torch.no_grad():
            q = ndcg(score(X[260:]), rel[260:]).mean().item()
        if epoch % 3 == 0:
            print(f"epoch {epoch}: pair loss {total / len(batches):.3f}  test NDCG@5 {q:.3f}")


HEALTHY = [
    camera_calibration_lbfgs,
    sam_beats,
    wgan_servo_steps,
    coordinate_field,
    stateful_stream_gru,
    robust_patches_pgd,
    reptile_motors,
    wine_cross_validation,
    torque_mc_dropout,
    digits_weight_averaging,
    docking_ppo,
    handwritten_ranknet,
]
