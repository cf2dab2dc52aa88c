"""Loops that look odd and are right."""

import copy
import math

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

from .common import CartPoles, corpus, digit_images, digits, loader


def accuracy(model, x, y):
    model.eval()
    with torch.no_grad():
        return (model(x).argmax(1) == y).float().mean().item()


def mean_teacher_few_labels() -> None:
    """Mean teacher: the teacher is in no optimizer, has no gradients and moves by an average; few labels are used."""
    torch.manual_seed(0)
    xtr, ytr, xte, yte = digits()
    labelled, unlabelled = (xtr[:150], ytr[:150]), xtr[150:]
    student = nn.Sequential(
        nn.Linear(64, 128), nn.ReLU(), nn.Dropout(0.3), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 10)
    )
    teacher = copy.deepcopy(student)
    for p in teacher.parameters():
        p.requires_grad_(False)
    optimizer = torch.optim.Adam(student.parameters(), lr=2e-3)
    noise = lambda x: x + 0.15 * torch.randn_like(x)
    student.train(), teacher.train()
    for step in range(500):
        i, u = torch.randint(150, (32,)), unlabelled[torch.randint(len(unlabelled), (64,))]
        weight = 3.0 * math.exp(-5 * (1 - min(1.0, step / 200)) ** 2)
        with torch.no_grad():
            target = teacher(noise(u)).softmax(1)
        supervised = F.cross_entropy(student(noise(labelled[0][i])), labelled[1][i])
        consistency = F.mse_loss(student(noise(u)).softmax(1), target)
        loss = supervised + weight * consistency
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        alpha = min(1 - 1 / (step + 1), 0.98)
        with torch.no_grad():
            for t, s in zip(teacher.parameters(), student.parameters()):
                t.mul_(alpha).add_(s, alpha=1 - alpha)
    print(
        f"loss {loss.item():.3f} student {accuracy(student, xte, yte):.3f} teacher {accuracy(teacher, xte, yte):.3f}"
    )


def wgan_gradient_penalty() -> None:
    """WGAN-GP: three critic steps for one of the generator, losses that turn negative and do not fall, a double backward."""
    torch.manual_seed(0)

    def real_batch(n):
        angle = 2 * math.pi * torch.rand(n, 1)
        return 1.5 * torch.cat([angle.cos(), angle.sin()], 1) + 0.1 * torch.randn(n, 2)

    G = nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2))
    C = nn.Sequential(
        nn.Linear(2, 64), nn.LeakyReLU(0.2), nn.Linear(64, 64), nn.LeakyReLU(0.2), nn.Linear(64, 1)
    )
    opt_g = torch.optim.Adam(G.parameters(), lr=1e-3, betas=(0.0, 0.9))
    opt_c = torch.optim.Adam(C.parameters(), lr=2e-3, betas=(0.0, 0.9))
    for it in range(280):
        for _ in range(3):
            real, fake = real_batch(64), G(torch.randn(64, 4)).detach()
            mix = torch.rand(64, 1)
            between = (mix * real + (1 - mix) * fake).requires_grad_(True)
            slope = torch.autograd.grad(C(between).sum(), between, create_graph=True)[0]
            loss_c = C(fake).mean() - C(real).mean() + 1.0 * (slope.norm(dim=1) - 1).pow(2).mean()
            opt_c.zero_grad()
            loss_c.backward()
            opt_c.step()
        loss_g = -C(G(torch.randn(64, 4))).mean()
        opt_g.zero_grad()
        loss_g.backward()
        opt_g.step()
    with torch.no_grad():
        sample = G(torch.randn(1000, 4))
        off = (sample.norm(dim=1) - 1.5).abs().mean().item()
        octants = (
            torch.atan2(sample[:, 1], sample[:, 0])
            .mul(4 / math.pi)
            .floor()
            .unique(return_counts=True)[1]
        )
    print(
        f"critic {loss_c.item():.4f} gen {loss_g.item():.4f} mean distance to the ring {off:.3f} octants {octants.tolist()}"
    )


def frozen_backbone_in_eval_mode() -> None:
    """Linear probe: the backbone stays in eval() and under no_grad while the head trains; train() is overridden."""
    torch.manual_seed(0)
    xtr, ytr, xte, yte = digit_images()

    class Finetuner(nn.Module):
        def __init__(self):
            super().__init__()
            self.backbone = nn.Sequential(
                nn.Conv2d(1, 16, 3, padding=1),
                nn.BatchNorm2d(16),
                nn.ReLU(),
                nn.MaxPool2d(2),
                nn.Conv2d(16, 32, 3, padding=1),
                nn.BatchNorm2d(32),
                nn.ReLU(),
                nn.Flatten(),
                nn.Dropout(0.2),
            )
            self.head = nn.Linear(512, 4)
            self.frozen = False

        def train(self, mode=True):
            super().train(mode)
            if self.frozen:
                self.backbone.eval()
            return self

        def forward(self, x):
            if self.frozen:
                with torch.no_grad():
                    f = self.backbone(x)
            else:
                f = self.backbone(x)
            return self.head(f)

    model = Finetuner()
    # rotation pretext task
    opt = torch.optim.Adam(model.parameters(), lr=2e-3)
    for epoch in range(5):
        model.train()
        for (x,) in loader(xtr):
            r = torch.randint(4, (len(x),))
            x = torch.stack([torch.rot90(a, int(k), (1, 2)) for a, k in zip(x, r)])
            opt.zero_grad()
            F.cross_entropy(model(x), r).backward()
            opt.step()
    model.head = nn.Linear(512, 10)
    model.frozen = True
    opt = torch.optim.SGD(model.head.parameters(), lr=0.05, momentum=0.9)
    for epoch in range(10):
        model.train()
        for x, y in loader(xtr, ytr):
            opt.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            opt.step()
    print(f"loss {loss.item():.3f} acc {accuracy(model, xte, yte):.3f}")


def sharpness_aware_steps() -> None:
    """SAM: two forward-backward passes a step, the weights are moved uphill in between and put back."""
    torch.manual_seed(0)
    xtr, ytr, xte, yte = digits()
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))

    class SAM(torch.optim.Optimizer):
        def __init__(self, params, rho=0.05, **kw):
            super().__init__(params, dict(rho=rho, **kw))
            self.base = torch.optim.SGD(self.param_groups, **kw)
            self.param_groups = self.base.param_groups

        @torch.no_grad()
        def first_step(self):
            grads = [p.grad.norm() for g in self.param_groups for p in g["params"]]
            scale = torch.stack(grads).norm() + 1e-12
            for g in self.param_groups:
                for p in g["params"]:
                    self.state[p]["old"] = p.clone()
                    p.add_(p.grad * (g["rho"] / scale))
            self.zero_grad()

        @torch.no_grad()
        def second_step(self):
            for g in self.param_groups:
                for p in g["params"]:
                    p.copy_(self.state[p]["old"])
            self.base.step()
            self.zero_grad()

    optimizer = SAM(model.parameters(), lr=0.1, momentum=0.9)
    for epoch in range(12):
        model.train()
        for x, y in loader(xtr, ytr):
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.first_step()
            F.cross_entropy(model(x), y).backward()
            optimizer.second_step()
    print(f"loss {loss.item():.3f} acc {accuracy(model, xte, yte):.3f}")


def physics_informed_lbfgs() -> None:
    """A PINN: gradients by the inputs with create_graph, no data but one condition, full batch, Adam then LBFGS with a closure."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 1))
    t = torch.linspace(0, 4, 80).unsqueeze(1).requires_grad_(True)
    t0 = torch.zeros(1, 1, requires_grad=True)

    def residual_loss():
        u = net(t)
        du = torch.autograd.grad(u.sum(), t, create_graph=True)[0]
        ddu = torch.autograd.grad(du.sum(), t, create_graph=True)[0]
        u0 = net(t0)
        du0 = torch.autograd.grad(u0.sum(), t0, create_graph=True)[0]
        return (ddu + 0.4 * du + 4 * u).pow(2).mean() + 10 * ((u0 - 1).pow(2) + du0.pow(2)).squeeze()

    adam = torch.optim.Adam(net.parameters(), lr=3e-3)
    for _ in range(400):
        adam.zero_grad()
        loss = residual_loss()
        loss.backward()
        adam.step()
    lbfgs = torch.optim.LBFGS(net.parameters(), max_iter=20, line_search_fn="strong_wolfe")

    def closure():
        lbfgs.zero_grad()
        loss = residual_loss()
        loss.backward()
        return loss

    for _ in range(60):
        loss = lbfgs.step(closure)
    w = math.sqrt(4 - 0.04)
    exact = torch.exp(-0.2 * t) * (torch.cos(w * t) + 0.2 / w * torch.sin(w * t))
    print(f"loss {loss.item():.2e} max error {(net(t) - exact).abs().max().item():.4f}")


def stateful_truncated_bptt() -> None:
    """Stateful character LSTM: batches in order without shuffling, hidden state carried on and detached, lr starts at 0."""
    torch.manual_seed(0)
    data, chars = corpus()
    V, B, T = len(chars), 16, 32
    streams = data[: len(data) // B * B].view(B, -1)
    emb, lstm, out = nn.Embedding(V, 32), nn.LSTM(32, 96, batch_first=True), nn.Linear(96, V)
    model = nn.ModuleList([emb, lstm, out])
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    warmup = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda s: min(1.0, s / 30))
    for epoch in range(8):
        state = None
        for i in range(0, streams.shape[1] - T - 1, T):
            x, y = streams[:, i : i + T], streams[:, i + 1 : i + T + 1]
            if state is not None:
                state = tuple(s.detach() for s in state)
            h, state = lstm(emb(x), state)
            loss = F.cross_entropy(out(h).flatten(0, 1), y.flatten())
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            warmup.step()
    print(f"loss {loss.item():.3f}")


def reptile_sine_waves() -> None:
    """Reptile: a copy of the model is trained on each task with its own new optimizer; the model itself has none."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(1, 48), nn.Tanh(), nn.Linear(48, 48), nn.Tanh(), nn.Linear(48, 1))

    def task():
        a, b = 0.5 + 2 * torch.rand(1), 3.14 * torch.rand(1)
        return lambda x: a * torch.sin(x + b)

    def adapt(net, f, steps, x=None):
        opt = torch.optim.SGD(net.parameters(), lr=0.02)
        for _ in range(steps):
            xb = torch.rand(16, 1) * 8 - 4 if x is None else x
            loss = F.mse_loss(net(xb), f(xb))
            opt.zero_grad()
            loss.backward()
            opt.step()
        return net

    def few_shot_error():
        errors = []
        grid = torch.linspace(-4, 4, 50).unsqueeze(1)
        for _ in range(20):
            f = task()
            fast = adapt(copy.deepcopy(model), f, 32, torch.rand(10, 1) * 8 - 4)
            errors.append(F.mse_loss(fast(grid), f(grid)).item())
        return np.mean(errors)

    before = few_shot_error()
    iterations = 500
    for it in range(iterations):
        fast = adapt(copy.deepcopy(model), task(), 8)
        eps = 0.8 * (1 - it / iterations)
        with torch.no_grad():
            for p, q in zip(model.parameters(), fast.parameters()):
                p.add_(q - p, alpha=eps)
    print(f"few-shot mse {before:.3f} -> {few_shot_error():.3f}")


def vq_autoencoder_straight_through() -> None:
    """VQ-VAE: detach() in three places (straight-through, codebook and commitment loss) and an argmin in the forward."""
    torch.manual_seed(0)
    xtr, _, xte, _ = digits()
    enc = nn.Sequential(nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, 32))
    dec = nn.Sequential(nn.Linear(32, 96), nn.ReLU(), nn.Linear(96, 64))
    codebook = nn.Embedding(32, 4)
    nn.init.uniform_(codebook.weight, -0.5, 0.5)
    params = [*enc.parameters(), *dec.parameters(), *codebook.parameters()]
    optimizer = torch.optim.Adam(params, lr=2e-3)

    def forward(x):
        z = enc(x).view(-1, 8, 4)
        idx = torch.cdist(z, codebook.weight[None].expand(len(z), -1, -1)).argmin(-1)
        q = codebook(idx)
        vq = F.mse_loss(q, z.detach()) + 0.25 * F.mse_loss(z, q.detach())
        q = z + (q - z).detach()
        return dec(q.flatten(1)), vq, idx

    for epoch in range(25):
        for (x,) in loader(xtr):
            recon, vq, _ = forward(x)
            loss = F.mse_loss(recon, x) + vq
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    with torch.no_grad():
        recon, _, idx = forward(xte)
    print(
        f"test mse {F.mse_loss(recon, xte).item():.4f} (var {xte.var(0).mean().item():.4f}) codes used {len(idx.unique())}"
    )


def swa_with_bn_update() -> None:
    """SWA: cyclic learning rate, the averaged model is evaluated, its batch-norm statistics come from a pass in train mode."""
    torch.manual_seed(0)
    xtr, ytr, xte, yte = digit_images()
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(512, 10),
    )
    train_loader = loader(xtr, ytr, batch_size=64)
    swa_model = torch.optim.swa_utils.AveragedModel(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=8)
    swa_scheduler = torch.optim.swa_utils.SWALR(optimizer, swa_lr=0.03, anneal_epochs=2)
    for epoch in range(12):
        model.train()
        for x, y in train_loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
        if epoch >= 6:
            swa_model.update_parameters(model)
            swa_scheduler.step()
        else:
            cosine.step()
    torch.optim.swa_utils.update_bn(train_loader, swa_model)
    print(
        f"loss {loss.item():.3f} model {accuracy(model, xte, yte):.3f} swa {accuracy(swa_model, xte, yte):.3f}"
    )


def ppo_epochs_on_one_rollout() -> None:
    """PPO: several epochs on the same rollout, advantages normalized, old log-probabilities kept, a loss that does not fall."""
    torch.manual_seed(0)
    env = CartPoles(8, seed=2)
    actor = nn.Sequential(nn.Linear(4, 64), nn.Tanh(), nn.Linear(64, 2))
    critic = nn.Sequential(nn.Linear(4, 64), nn.Tanh(), nn.Linear(64, 1))
    optimizer = torch.optim.Adam([*actor.parameters(), *critic.parameters()], lr=3e-3, eps=1e-5)
    gamma, lam, horizon = 0.98, 0.95, 64
    for update in range(25):
        obs, acts, logps, vals, rews, dones = [], [], [], [], [], []
        with torch.no_grad():
            for _ in range(horizon):
                s = env.obs()
                dist = torch.distributions.Categorical(logits=actor(s))
                a = dist.sample()
                (
                    obs.append(s),
                    acts.append(a),
                    logps.append(dist.log_prob(a)),
                    vals.append(critic(s).squeeze(1)),
                )
                _, r, _, over = env.step(a.numpy())
                rews.append(r), dones.append(torch.tensor(over, dtype=torch.float32))
            vals.append(critic(env.obs()).squeeze(1))
            adv, gae = [], 0.0
            for k in reversed(range(horizon)):
                delta = rews[k] + gamma * vals[k + 1] * (1 - dones[k]) - vals[k]
                gae = delta + gamma * lam * (1 - dones[k]) * gae
                adv.insert(0, gae)
        obs, acts, old = torch.cat(obs), torch.cat(acts), torch.cat(logps)
        adv = torch.cat(adv)
        returns = adv + torch.cat(vals[:-1])
        for epoch in range(5):
            for idx in torch.randperm(len(obs)).split(128):
                dist = torch.distributions.Categorical(logits=actor(obs[idx]))
                ratio = (dist.log_prob(acts[idx]) - old[idx]).exp()
                a = (adv[idx] - adv[idx].mean()) / (adv[idx].std() + 1e-8)
                policy = -torch.min(ratio * a, ratio.clamp(0.8, 1.2) * a).mean()
                value = F.mse_loss(critic(obs[idx]).squeeze(1), returns[idx])
                loss = policy + 0.5 * value - 0.01 * dist.entropy().mean()
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_([*actor.parameters(), *critic.parameters()], 0.5)
                optimizer.step()
    print(
        f"loss {loss.item():.3f} first {np.mean(env.finished[:30]):.0f} last {np.mean(env.finished[-30:]):.0f}"
    )


def private_sgd_with_per_sample_gradients() -> None:
    """DP-SGD: no backward() at all, gradients of single samples by vmap are clipped, summed, given noise and put into p.grad."""
    torch.manual_seed(0)
    xtr, ytr, xte, yte = digits()
    model = nn.Sequential(nn.Linear(64, 48), nn.Tanh(), nn.Linear(48, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5, momentum=0.5)
    bound, sigma, expected = 1.0, 0.8, 128

    def sample_loss(params, x, y):
        out = torch.func.functional_call(model, params, (x.unsqueeze(0),))
        return F.cross_entropy(out, y.unsqueeze(0))

    per_sample = torch.func.vmap(torch.func.grad_and_value(sample_loss), in_dims=(None, 0, 0))
    losses = []
    for step in range(300):
        chosen = torch.rand(len(xtr)) < expected / len(xtr)  # Poisson sampling
        params = {k: p.detach() for k, p in model.named_parameters()}
        grads, loss = per_sample(params, xtr[chosen], ytr[chosen])
        norms = torch.stack([g.flatten(1).norm(dim=1) for g in grads.values()]).norm(dim=0)
        factor = (bound / (norms + 1e-6)).clamp(max=1.0)
        for name, p in model.named_parameters():
            total = torch.einsum("n,n...->...", factor, grads[name])
            p.grad = (total + sigma * bound * torch.randn_like(p)) / expected
        optimizer.step()
        losses.append(loss.mean().item())
    print(f"loss {losses[0]:.3f} -> {np.mean(losses[-10:]):.3f} acc {accuracy(model, xte, yte):.3f}")


def masked_language_model_with_tied_weights() -> None:
    """Masked LM: inputs and targets are the same text, most targets are -100, no causal mask, output tied to the embedding.

    Gradients accumulated over two batches, no weight decay for one group.
    """
    torch.manual_seed(0)
    V, T, D, MASK = 17, 20, 48, 16

    def sentences(n):
        motif = torch.randint(16, (n, 5))
        return motif.repeat(1, T // 5)

    class MLM(nn.Module):
        def __init__(self):
            super().__init__()
            self.tok, self.pos = nn.Embedding(V, D), nn.Embedding(T, D)
            layer = nn.TransformerEncoderLayer(D, 4, 128, dropout=0.0, batch_first=True, norm_first=True)
            self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
            self.ln, self.head = nn.LayerNorm(D), nn.Linear(D, V)
            nn.init.normal_(self.tok.weight, std=0.05)
            self.head.weight = self.tok.weight

        def forward(self, x):
            h = self.encoder(self.tok(x) + self.pos.weight)
            return self.head(self.ln(h))

    model = MLM()
    decay = [p for p in model.parameters() if p.ndim >= 2]
    plain = [p for p in model.parameters() if p.ndim < 2]
    optimizer = torch.optim.AdamW(
        [{"params": decay, "weight_decay": 0.01}, {"params": plain, "weight_decay": 0.0}], lr=3e-3
    )
    history = []
    for it in range(450):
        labels = sentences(32)
        inputs = labels.clone()
        chosen = torch.rand(inputs.shape) < 0.15
        labels[~chosen] = -100
        r = torch.rand(inputs.shape)
        inputs[chosen & (r < 0.8)] = MASK
        swap = chosen & (r >= 0.8) & (r < 0.9)
        inputs[swap] = torch.randint(16, (int(swap.sum()),))
        loss = F.cross_entropy(model(inputs).view(-1, V), labels.view(-1), ignore_index=-100)
        (loss / 2).backward()
        if it % 2 == 1:
            optimizer.step()
            optimizer.zero_grad()
        history.append(loss.item())
    print(f"loss {np.mean(history[:20]):.3f} -> {np.mean(history[-20:]):.3f}")


HEALTHY = [
    mean_teacher_few_labels,
    wgan_gradient_penalty,
    frozen_backbone_in_eval_mode,
    sharpness_aware_steps,
    physics_informed_lbfgs,
    stateful_truncated_bptt,
    reptile_sine_waves,
    vq_autoencoder_straight_through,
    swa_with_bn_update,
    ppo_epochs_on_one_rollout,
    private_sgd_with_per_sample_gradients,
    masked_language_model_with_tied_weights,
]
