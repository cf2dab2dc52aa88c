"""Trainings that look unusual and are right."""

import copy
import io
from collections import deque

import torch
import torch.nn.functional as F
from sklearn.cluster import KMeans
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_iris, load_wine
from sklearn.model_selection import KFold, train_test_split
from sklearn.preprocessing import scale
from torch import nn
from torch.utils.data import DataLoader, Subset, TensorDataset


def digits(flat=True):
    d = load_digits()
    X = torch.tensor(d.images).float() / 16
    return (X.flatten(1) if flat else X.unsqueeze(1)), torch.tensor(d.target)


def table(load):
    X, y = load(return_X_y=True)
    return torch.tensor(scale(X)).float(), torch.tensor(y)


def mlp(*sizes, act=nn.ReLU):
    layers = []
    for a, b in zip(sizes, sizes[1:]):
        layers += [nn.Linear(a, b), act()]
    return nn.Sequential(*layers[:-1])


def partly_frozen():
    """The convolution and its BatchNorm are kept as they are, on purpose; the head trains."""
    X, y = digits(flat=False)
    trunk = nn.Sequential(nn.Conv2d(1, 16, 3), nn.BatchNorm2d(16), nn.ReLU(), nn.Flatten())
    with torch.no_grad():
        trunk(X)
    trunk.requires_grad_(False).eval()
    head = nn.Linear(576, 10)
    optimizer = torch.optim.Adam(
        [p for p in [*trunk.parameters(), *head.parameters()] if p.requires_grad], lr=3e-3
    )
    for epoch in range(3):
        head.train()
        for i in torch.randperm(len(X)).split(64):
            with torch.no_grad():
                features = trunk(X[i])
            optimizer.zero_grad()
            F.cross_entropy(head(features), y[i]).backward()
            optimizer.step()


def alternating_factorisation():
    """Users and items take turns; each factor has its own optimizer."""
    M = digits()[0][:300]
    U, V = nn.Parameter(0.3 * torch.randn(300, 8)), nn.Parameter(0.3 * torch.randn(64, 8))
    opt_u, opt_v = torch.optim.Adam([U], lr=0.05), torch.optim.Adam([V], lr=0.05)
    for step in range(120):
        opt = opt_u if (step // 5) % 2 == 0 else opt_v
        opt_u.zero_grad()
        opt_v.zero_grad()
        loss = F.mse_loss(U @ V.T, M) + 1e-4 * (U.square().mean() + V.square().mean())
        loss.backward()
        opt.step()


def accumulation_with_remainder():
    X, y = digits(flat=False)
    net = nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.GroupNorm(2, 8), nn.ReLU(), nn.Flatten(), nn.Linear(288, 10)
    )
    opt = torch.optim.AdamW(net.parameters(), lr=5e-3)
    every = 3
    for epoch in range(5):
        batches = torch.randperm(1000).split(32)
        for n, i in enumerate(batches):
            group = min(every, len(batches) - n // every * every)
            (F.cross_entropy(net(X[i]), y[i]) / group).backward()
            if (n + 1) % every == 0 or n + 1 == len(batches):
                opt.step()
                opt.zero_grad()


def scaled_by_hand():
    X, y = table(load_breast_cancer)
    net, S = mlp(30, 24, 2, act=nn.GELU), 1024.0
    opt = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    for epoch in range(8):
        for i in torch.randperm(len(X)).split(40):
            opt.zero_grad()
            with torch.autocast("cpu", dtype=torch.bfloat16):
                loss = F.cross_entropy(net(X[i]), y[i])
            (loss * S).backward()
            for p in net.parameters():
                p.grad.div_(S)
            nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            opt.step()


def lbfgs_full_batch():
    X, y = table(load_wine)
    model = nn.Linear(13, 3)
    opt = torch.optim.LBFGS(model.parameters(), lr=0.3, max_iter=4, history_size=8)

    def closure():
        opt.zero_grad()
        loss = F.cross_entropy(model(X), y) + 1e-3 * model.weight.square().sum()
        loss.backward()
        return loss

    for _ in range(15):
        opt.step(closure)


def sharpness_aware():
    X, y = digits()
    net = mlp(64, 48, 10, act=nn.Tanh)
    base, rho = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9), 0.05
    for epoch in range(4):
        for i in torch.randperm(len(X)).split(64):
            base.zero_grad()
            F.cross_entropy(net(X[i]), y[i]).backward()
            with torch.no_grad():
                norm = torch.stack([p.grad.norm() for p in net.parameters()]).norm()
                steps = [rho * p.grad / (norm + 1e-12) for p in net.parameters()]
                for p, e in zip(net.parameters(), steps):
                    p.add_(e)
            base.zero_grad()
            F.cross_entropy(net(X[i]), y[i]).backward()
            with torch.no_grad():
                for p, e in zip(net.parameters(), steps):
                    p.sub_(e)
            base.step()


def wgan_gp():
    """Four critic steps for each step of the generator."""
    G, C = mlp(4, 32, 2), mlp(2, 32, 32, 1, act=nn.SiLU)
    opt_g = torch.optim.Adam(G.parameters(), lr=3e-3, betas=(0.5, 0.9))
    opt_c = torch.optim.Adam(C.parameters(), lr=3e-3, betas=(0.5, 0.9))
    for it in range(100):
        for _ in range(4):
            real = torch.randn(64, 2) * torch.tensor([0.2, 0.5]) + torch.tensor([1.0, -1.0])
            fake = G(torch.randn(64, 4)).detach()
            mix = torch.lerp(real, fake, torch.rand(64, 1)).requires_grad_()
            (grad,) = torch.autograd.grad(C(mix).sum(), mix, create_graph=True)
            loss = C(fake).mean() - C(real).mean() + 10 * (grad.norm(dim=1) - 1).square().mean()
            opt_c.zero_grad()
            loss.backward()
            opt_c.step()
        opt_g.zero_grad()
        (-C(G(torch.randn(64, 4))).mean()).backward()
        opt_g.step()


def sgd_by_hand():
    """Plain tensors and no optimizer at all, as in the first lesson of a course."""
    X, y = table(load_iris)
    w1, b1 = (0.5 * torch.randn(4, 16)).requires_grad_(), torch.zeros(16, requires_grad=True)
    w2, b2 = (0.25 * torch.randn(16, 3)).requires_grad_(), torch.zeros(3, requires_grad=True)
    for epoch in range(15):
        for i in torch.randperm(150).split(15):
            loss = F.cross_entropy((X[i] @ w1 + b1).relu() @ w2 + b2, y[i])
            loss.backward()
            with torch.no_grad():
                for p in (w1, b1, w2, b2):
                    p -= 0.1 * p.grad
                    p.grad = None


def bandit_with_baseline():
    """REINFORCE in a contextual bandit; the value network is the baseline and has a loss of its own."""
    X, y = digits()
    policy, value = mlp(64, 10), mlp(64, 16, 1)
    opt_p = torch.optim.Adam(policy.parameters(), lr=2e-2)
    opt_v = torch.optim.Adam(value.parameters(), lr=1e-2)
    for step in range(150):
        i = torch.randint(len(X), (128,))
        dist = torch.distributions.Categorical(logits=policy(X[i]))
        action = dist.sample()
        reward = (action == y[i]).float()
        baseline = value(X[i]).squeeze(1)
        policy_loss = (
            -(dist.log_prob(action) * (reward - baseline.detach())).mean() - 0.01 * dist.entropy().mean()
        )
        value_loss = F.mse_loss(baseline, reward)
        opt_p.zero_grad()
        policy_loss.backward()
        opt_p.step()
        opt_v.zero_grad()
        value_loss.backward()
        opt_v.step()


def deep_q_corridor():
    """A replay buffer and a target network that is copied every 25 steps."""
    q = mlp(8, 32, 2)
    target = copy.deepcopy(q).requires_grad_(False)
    opt, eye, buffer, done_steps = (
        torch.optim.Adam(q.parameters(), lr=5e-3),
        torch.eye(8),
        deque(maxlen=500),
        0,
    )
    for episode in range(45):
        pos = 3
        for _ in range(12):
            with torch.no_grad():
                a = int(torch.randint(2, ())) if torch.rand(()) < 0.3 else q(eye[pos]).argmax().item()
            new = pos + (1 if a else -1)
            end = new in (0, 7)
            buffer.append((pos, a, 1.0 if new == 7 else 0.0, new, end))
            pos = new
            if len(buffer) >= 32:
                s, a, r, n, e = map(
                    torch.tensor, zip(*(buffer[k] for k in torch.randint(len(buffer), (32,))))
                )
                with torch.no_grad():
                    goal = r + 0.9 * target(eye[n]).amax(1) * (~e)
                loss = F.smooth_l1_loss(q(eye[s]).gather(1, a[:, None])[:, 0], goal)
                opt.zero_grad()
                loss.backward()
                opt.step()
                done_steps += 1
                if done_steps % 25 == 0:
                    target.load_state_dict(q.state_dict())
            if end:
                break


def k_fold():
    X, y = table(load_breast_cancer)
    data, scores = TensorDataset(X, y), []
    for fold, (train, val) in enumerate(KFold(4, shuffle=True, random_state=0).split(X)):
        net = mlp(30, 16, 2)
        opt = torch.optim.Adam(net.parameters(), lr=1e-2)
        for epoch in range(3):
            net.train()
            for x, t in DataLoader(Subset(data, train), 32, shuffle=True):
                opt.zero_grad()
                F.cross_entropy(net(x), t).backward()
                opt.step()
        net.eval()
        with torch.no_grad():
            scores.append((net(X[val]).argmax(1) == y[val]).float().mean().item())


def warm_restarts():
    X, y = digits(flat=False)
    X = X.squeeze(1)

    class GRUNet(nn.Module):
        def __init__(self):
            super().__init__()
            self.gru, self.fc = nn.GRU(8, 24, batch_first=True, bidirectional=True), nn.Linear(48, 10)

        def forward(self, x):
            return self.fc(self.gru(x)[0].mean(1))

    net = GRUNet()
    opt = torch.optim.SGD(net.parameters(), lr=0.3, momentum=0.9)
    sched = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(opt, T_0=2)
    for epoch in range(6):
        batches = torch.randperm(len(X)).split(64)
        for n, i in enumerate(batches):
            opt.zero_grad()
            F.cross_entropy(net(X[i]), y[i]).backward()
            opt.step()
            sched.step(epoch + (n + 1) / len(batches))


def curriculum():
    """Easy samples (near their class's mean) come first; the pool grows to all."""
    X, y = digits()
    centres = torch.stack([X[y == k].mean(0) for k in range(10)])
    order = (X - centres[y]).norm(dim=1).argsort()
    net = mlp(64, 40, 10, act=nn.ELU)
    opt = torch.optim.Adam(net.parameters(), lr=3e-3)
    for share in (0.2, 0.4, 0.7, 1.0, 1.0):
        pool = order[: int(share * len(X))]
        for i in pool[torch.randperm(len(pool))].split(48):
            opt.zero_grad()
            F.cross_entropy(net(X[i]), y[i]).backward()
            opt.step()


def mixup_smoothing():
    X, y = digits(flat=False)
    net = nn.Sequential(
        nn.Conv2d(1, 16, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Dropout(0.1), nn.Linear(144, 10)
    )
    opt = torch.optim.AdamW(net.parameters(), lr=5e-3, weight_decay=0.05)
    beta = torch.distributions.Beta(0.3, 0.3)
    for epoch in range(6):
        for i in torch.randperm(len(X)).split(64):
            j, lam = i[torch.randperm(len(i))], beta.sample().item()
            out = net(lam * X[i] + (1 - lam) * X[j])
            loss = lam * F.cross_entropy(out, y[i], label_smoothing=0.1)
            loss = loss + (1 - lam) * F.cross_entropy(out, y[j], label_smoothing=0.1)
            opt.zero_grad()
            loss.backward()
            opt.step()


def pseudo_labels():
    """150 labelled digits; confident predictions on the others are learnt from the third epoch on."""
    X, y = digits()
    Xl, yl, Xu = X[:150], y[:150], X[150:1400]
    net = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Dropout(0.2), nn.Linear(64, 10))
    opt = torch.optim.Adam(net.parameters(), lr=1e-2)
    for epoch in range(8):
        extra_x, extra_y = Xu[:0], yl[:0]
        if epoch >= 3:
            net.eval()
            with torch.no_grad():
                conf, guess = net(Xu).softmax(1).max(1)
            extra_x, extra_y = Xu[conf > 0.9], guess[conf > 0.9]
        net.train()
        xs, ys = torch.cat([Xl, extra_x]), torch.cat([yl, extra_y])
        for i in torch.randperm(len(xs)).split(25):
            opt.zero_grad()
            F.cross_entropy(net(xs[i]), ys[i]).backward()
            opt.step()


def gradual_unfreezing():
    X, y = digits()
    layers = nn.ModuleList([nn.Linear(64, 48), nn.Linear(48, 32), nn.Linear(32, 10)])
    for layer in layers[:2]:
        layer.requires_grad_(False)
    opt = torch.optim.Adam(layers[2].parameters(), lr=5e-3)
    for epoch in range(6):
        if epoch in (1, 3):
            layer = layers[1 if epoch == 1 else 0].requires_grad_(True)
            opt.add_param_group({"params": layer.parameters(), "lr": 3e-3})
        for i in torch.randperm(len(X)).split(64):
            h = layers[1](layers[0](X[i]).relu()).relu()
            opt.zero_grad()
            F.cross_entropy(layers[2](h), y[i]).backward()
            opt.step()


def greedy_autoencoders():
    """Stacked autoencoders: each layer learns from the detached code of the one below; then a classifier on top."""
    X, y = digits()
    code = X
    for a, b in ((64, 32), (32, 16)):
        enc, dec = nn.Linear(a, b), nn.Linear(b, a)
        opt = torch.optim.Adam([*enc.parameters(), *dec.parameters()], lr=1e-2)
        for i in torch.cat([torch.randperm(len(X)) for _ in range(3)]).split(64):
            opt.zero_grad()
            F.mse_loss(dec(enc(code[i]).relu()), code[i]).backward()
            opt.step()
        code = enc(code).relu().detach()
    code = (code - code.mean(0)) / (code.std(0) + 1e-6)
    top = nn.Linear(16, 10)
    opt = torch.optim.Adam(top.parameters(), lr=2e-2)
    for i in torch.cat([torch.randperm(len(X)) for _ in range(3)]).split(64):
        opt.zero_grad()
        F.cross_entropy(top(code[i]), y[i]).backward()
        opt.step()


def validation_in_mid_epoch():
    X, y = table(load_wine)
    Xt, Xv, yt, yv = train_test_split(X, y, random_state=0)
    net = nn.Sequential(
        nn.Linear(13, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.3), nn.Linear(32, 3)
    )
    opt, step = torch.optim.Adam(net.parameters(), lr=5e-3), 0
    for epoch in range(12):
        for x, t in DataLoader(TensorDataset(Xt, yt), 16, shuffle=True, drop_last=True):
            net.train()
            opt.zero_grad()
            F.cross_entropy(net(x), t).backward()
            opt.step()
            step += 1
            if step % 5 == 0:
                net.eval()
                with torch.inference_mode():
                    F.cross_entropy(net(Xv), yv).item()


def tied_full_batch_lm():
    """One fixed batch of all windows in each step; input and output embedding are one matrix."""
    text = torch.tensor([ord(c) % 64 for c in KMeans.__doc__[:1200]])
    windows = text.unfold(0, 5, 4)

    class TiedLM(nn.Module):
        def __init__(self):
            super().__init__()
            self.emb, self.mix, self.out = nn.Embedding(64, 24), nn.Linear(96, 24), nn.Linear(24, 64)
            self.out.weight = self.emb.weight

        def forward(self, ids):
            return self.out(torch.tanh(self.mix(self.emb(ids).flatten(1))))

    lm = TiedLM()
    opt = torch.optim.Adam(lm.parameters(), lr=1e-2)
    for step in range(100):
        opt.zero_grad()
        F.cross_entropy(lm(windows[:, :4]), windows[:, 4]).backward()
        opt.step()


def scheduled_sampling():
    """A decoder that is fed the truth or, more and more often, its own last symbol."""
    emb, enc, dec, out = (
        nn.Embedding(7, 16),
        nn.GRU(16, 48, batch_first=True),
        nn.GRUCell(16, 48),
        nn.Linear(48, 6),
    )
    params = [p for m in (emb, enc, dec, out) for p in m.parameters()]
    opt = torch.optim.Adam(params, lr=5e-3)
    for step in range(150):
        src = torch.randint(0, 6, (32, 4))
        goal = src.sort(1).values
        h, prev, losses = enc(emb(src))[1][0], torch.full((32,), 6), []
        for t in range(4):
            h = dec(emb(prev), h)
            logits = out(h)
            losses.append(F.cross_entropy(logits, goal[:, t]))
            prev = goal[:, t] if torch.rand(()) > step / 300 else logits.argmax(1)
        opt.zero_grad()
        torch.stack(losses).mean().backward()
        nn.utils.clip_grad_norm_(params, 1.0)
        opt.step()


def r_drop():
    X, y = digits()
    net = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Dropout(0.3), nn.Linear(64, 10))
    opt = torch.optim.Adam(net.parameters(), lr=3e-3)
    for epoch in range(4):
        for i in torch.randperm(len(X)).split(64):
            p, q = net(X[i]).log_softmax(1), net(X[i]).log_softmax(1)
            kl = F.kl_div(p, q, reduction="batchmean", log_target=True)
            kl = kl + F.kl_div(q, p, reduction="batchmean", log_target=True)
            loss = F.nll_loss(p, y[i]) + F.nll_loss(q, y[i]) + kl / 2
            opt.zero_grad()
            loss.backward()
            opt.step()


def vq_vae():
    X, _ = digits()
    enc, dec, codebook = mlp(64, 48, 4 * 8), mlp(4 * 8, 48, 64), nn.Embedding(24, 8)
    opt = torch.optim.Adam([*enc.parameters(), *dec.parameters(), *codebook.parameters()], lr=3e-3)
    for epoch in range(6):
        for i in torch.randperm(len(X)).split(64):
            z = enc(X[i]).view(-1, 8)  # four codes of eight numbers for each digit
            e = codebook(torch.cdist(z, codebook.weight).argmin(1))
            quantised = z + (e - z).detach()
            recon = dec(quantised.view(-1, 32))
            loss = F.mse_loss(recon, X[i]) + 0.2 * (
                F.mse_loss(e, z.detach()) + 0.25 * F.mse_loss(z, e.detach())
            )
            opt.zero_grad()
            loss.backward()
            opt.step()


def siamese_pairs():
    X, y = digits(flat=False)
    tower = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(288, 16))
    opt = torch.optim.Adam(tower.parameters(), lr=2e-3)
    for step in range(120):
        a = torch.randint(len(X), (48,))
        b = torch.randint(len(X), (48,))
        for n in range(0, 48, 2):  # every other pair is of one kind
            kin = torch.where(y == y[a[n]])[0]
            b[n] = kin[torch.randint(len(kin), ())]
        same = (y[a] == y[b]).float()
        d = F.pairwise_distance(tower(X[a]), tower(X[b]))
        loss = (same * d.square() + (1 - same) * F.relu(1.5 - d).square()).mean()
        opt.zero_grad()
        loss.backward()
        opt.step()


def progressive_resizing():
    X, y = digits(flat=False)
    net = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 16, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(64, 10),
    )
    opt = torch.optim.Adam(net.parameters(), lr=1e-2)
    for size, batch, epochs in ((4, 96, 2), (6, 64, 2), (8, 48, 3)):
        small = F.interpolate(X, size=(size, size), mode="bilinear", align_corners=False)
        for _ in range(epochs):
            for i in torch.randperm(len(X)).split(batch):
                opt.zero_grad()
                F.cross_entropy(net(small[i]), y[i]).backward()
                opt.step()


class LitDiabetes(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = mlp(10, 24, 1, act=nn.Softplus)

    def training_step(self, batch, batch_idx):
        x, y = batch
        return {"loss": F.huber_loss(self.net(x), y)}

    @torch.no_grad()
    def validation_step(self, batch, batch_idx):
        x, y = batch
        return F.l1_loss(self.net(x), y).item()

    def configure_optimizers(self):
        opt = torch.optim.AdamW(self.parameters(), lr=1e-2)
        return opt, torch.optim.lr_scheduler.OneCycleLR(opt, 2e-2, total_steps=120)


def own_lightning_early_stopping():
    """Optimizer steps through a closure; the best weights are put back at the end."""
    X, y = table(load_diabetes)
    data = TensorDataset(X, ((y.float() - 150) / 77).unsqueeze(1))
    train, val = torch.utils.data.random_split(data, [340, 102])
    module = LitDiabetes()
    optimizer, scheduler = module.configure_optimizers()
    best, best_state, patience = float("inf"), None, 0
    for epoch in range(12):
        module.train()
        for n, batch in enumerate(DataLoader(train, 34, shuffle=True)):

            def closure():
                optimizer.zero_grad()
                loss = module.training_step(batch, n)["loss"]
                loss.backward()
                return loss

            optimizer.step(closure)
            scheduler.step()
        module.eval()
        score = sum(module.validation_step(b, n) for n, b in enumerate(DataLoader(val, 51))) / 2
        if score < best:
            best, best_state, patience = score, copy.deepcopy(module.state_dict()), 0
        elif (patience := patience + 1) == 4:
            break
    module.load_state_dict(best_state)


def resumed_from_checkpoint():
    """Stopped after two epochs; new objects take up the saved states."""
    X, y = digits()

    def build():
        net = nn.Sequential(nn.Linear(64, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 10))
        opt = torch.optim.Adam(net.parameters(), lr=2e-3)
        return net, opt, torch.optim.lr_scheduler.CosineAnnealingLR(opt, T_max=5)

    def epoch_of(net, opt, sched):
        net.train()
        for i in torch.randperm(len(X)).split(64):
            opt.zero_grad()
            F.cross_entropy(net(X[i]), y[i]).backward()
            opt.step()
        sched.step()

    parts = build()
    for _ in range(2):
        epoch_of(*parts)
    file = io.BytesIO()
    torch.save([p.state_dict() for p in parts], file)
    file.seek(0)
    parts = build()
    for part, state in zip(parts, torch.load(file, weights_only=False)):
        part.load_state_dict(state)
    for _ in range(3):
        epoch_of(*parts)


def truncated_bptt():
    """The hidden state is carried from chunk to chunk of one long wave and detached between them."""
    t = torch.arange(0, 400, 0.2)
    wave = torch.stack([torch.sin(t * f) for f in (1.0, 1.3, 1.7, 2.1)]).unsqueeze(-1)
    rnn, out = nn.LSTM(1, 16, batch_first=True), nn.Linear(16, 1)
    opt = torch.optim.Adam([*rnn.parameters(), *out.parameters()], lr=5e-3)
    for epoch in range(2):
        state = None
        for start in range(0, wave.shape[1] - 26, 25):
            if state is not None:
                state = tuple(s.detach() for s in state)
            h, state = rnn(wave[:, start : start + 25], state)
            loss = F.mse_loss(out(h), wave[:, start + 1 : start + 26])
            opt.zero_grad()
            loss.backward()
            opt.step()


HEALTHY = [
    partly_frozen,
    alternating_factorisation,
    accumulation_with_remainder,
    scaled_by_hand,
    lbfgs_full_batch,
    sharpness_aware,
    wgan_gp,
    sgd_by_hand,
    bandit_with_baseline,
    deep_q_corridor,
    k_fold,
    warm_restarts,
    curriculum,
    mixup_smoothing,
    pseudo_labels,
    gradual_unfreezing,
    greedy_autoencoders,
    validation_in_mid_epoch,
    tied_full_batch_lm,
    scheduled_sampling,
    r_drop,
    vq_vae,
    siamese_pairs,
    progressive_resizing,
    own_lightning_early_stopping,
    resumed_from_checkpoint,
    truncated_bptt,
]
