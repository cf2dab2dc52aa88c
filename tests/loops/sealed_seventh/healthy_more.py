"""Healthy training loops, in the shapes of well-known repositories and courses."""

import copy
import math
import random
import time
from collections import defaultdict, deque
from functools import partial

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.optim as optim
from sklearn.datasets import load_breast_cancer
from torch.distributions import Categorical
from torch.optim.lr_scheduler import LambdaLR, StepLR
from torch.utils.data import DataLoader, Dataset, TensorDataset

from .common import VecCartPole, corpus, digits


def nanogpt_train() -> None:
    """nanoGPT's train.py: warm-up and cosine by hand, accumulation, clipping, estimate_loss."""
    torch.manual_seed(1337)
    text = corpus()
    chars = sorted(set(text))
    stoi = {c: i for i, c in enumerate(chars)}
    data = np.array([stoi[c] for c in text], dtype=np.uint16)
    cut = int(0.9 * len(data))
    splits = {"train": data[:cut], "val": data[cut:]}
    block_size, batch_size, n_embd, n_head, n_layer = 16, 12, 32, 4, 2
    gradient_accumulation_steps, max_iters, eval_interval, eval_iters = 2, 250, 125, 5
    learning_rate, min_lr, warmup_iters, grad_clip = 4e-3, 4e-4, 20, 1.0

    def get_batch(split):
        d = splits[split]
        ix = torch.randint(len(d) - block_size, (batch_size,))
        x = torch.stack([torch.from_numpy(d[i : i + block_size].astype(np.int64)) for i in ix])
        y = torch.stack([torch.from_numpy(d[i + 1 : i + 1 + block_size].astype(np.int64)) for i in ix])
        return x, y

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.ln_1, self.ln_2 = nn.LayerNorm(n_embd), nn.LayerNorm(n_embd)
            self.c_attn, self.c_proj = nn.Linear(n_embd, 3 * n_embd), nn.Linear(n_embd, n_embd)
            self.mlp = nn.Sequential(
                nn.Linear(n_embd, 4 * n_embd), nn.GELU(), nn.Linear(4 * n_embd, n_embd)
            )

        def forward(self, x):
            B, T, C = x.shape
            q, k, v = (
                t.view(B, T, n_head, -1).transpose(1, 2) for t in self.c_attn(self.ln_1(x)).split(C, 2)
            )
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + self.c_proj(y.transpose(1, 2).reshape(B, T, C))
            return x + self.mlp(self.ln_2(x))

    class GPT(nn.Module):
        def __init__(self):
            super().__init__()
            self.transformer = nn.ModuleDict(
                dict(
                    wte=nn.Embedding(len(chars), n_embd),
                    wpe=nn.Embedding(block_size, n_embd),
                    h=nn.ModuleList([Block() for _ in range(n_layer)]),
                    ln_f=nn.LayerNorm(n_embd),
                )
            )
            self.lm_head = nn.Linear(n_embd, len(chars), bias=False)
            self.transformer.wte.weight = self.lm_head.weight
            self.apply(self._init_weights)

        def _init_weights(self, m):
            if isinstance(m, (nn.Linear, nn.Embedding)):
                nn.init.normal_(m.weight, mean=0.0, std=0.02)
            if isinstance(m, nn.Linear) and m.bias is not None:
                nn.init.zeros_(m.bias)

        def forward(self, idx, targets=None):
            pos = torch.arange(idx.size(1))
            x = self.transformer.wte(idx) + self.transformer.wpe(pos)
            for block in self.transformer.h:
                x = block(x)
            logits = self.lm_head(self.transformer.ln_f(x))
            return logits, F.cross_entropy(logits.view(-1, logits.size(-1)), targets.view(-1))

        def configure_optimizers(self, weight_decay, lr, betas):
            params = {n: p for n, p in self.named_parameters() if p.requires_grad}
            groups = [
                {"params": [p for p in params.values() if p.dim() >= 2], "weight_decay": weight_decay},
                {"params": [p for p in params.values() if p.dim() < 2], "weight_decay": 0.0},
            ]
            return torch.optim.AdamW(groups, lr=lr, betas=betas)

    def get_lr(it):
        if it < warmup_iters:
            return learning_rate * (it + 1) / (warmup_iters + 1)
        coeff = 0.5 * (1.0 + math.cos(math.pi * (it - warmup_iters) / (max_iters - warmup_iters)))
        return min_lr + coeff * (learning_rate - min_lr)

    @torch.no_grad()
    def estimate_loss():
        out = {}
        model.eval()
        for split in ["train", "val"]:
            losses = torch.zeros(eval_iters)
            for k in range(eval_iters):
                losses[k] = model(*get_batch(split))[1].item()
            out[split] = losses.mean().item()
        model.train()
        return out

    model = GPT()
    optimizer = model.configure_optimizers(1e-1, learning_rate, (0.9, 0.95))
    X, Y = get_batch("train")
    for iter_num in range(max_iters + 1):
        for group in optimizer.param_groups:
            group["lr"] = get_lr(iter_num)
        if iter_num % eval_interval == 0:
            losses = estimate_loss()
            print(f"step {iter_num}: train {losses['train']:.4f} val {losses['val']:.4f}")
        for micro_step in range(gradient_accumulation_steps):
            logits, loss = model(X, Y)
            loss = loss / gradient_accumulation_steps
            X, Y = get_batch("train")
            loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), grad_clip)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)


def mingpt_trainer_sort() -> None:
    """minGPT's Trainer with callbacks, on its sorting problem with -1 for positions left out of the loss."""
    torch.manual_seed(3407)
    length, num_digits = 5, 3

    class SortDataset(Dataset):
        def __len__(self):
            return 10000

        def __getitem__(self, idx):
            inp = torch.randint(num_digits, size=(length,), dtype=torch.long)
            cat = torch.cat((inp, torch.sort(inp)[0]), dim=0)
            x, y = cat[:-1].clone(), cat[1:].clone()
            y[: length - 1] = -1
            return x, y

    class GPT(nn.Module):
        def __init__(self, d=48):
            super().__init__()
            self.tok, self.pos = (
                nn.Embedding(num_digits, d),
                nn.Parameter(torch.zeros(1, 2 * length - 1, d)),
            )
            layer = nn.TransformerEncoderLayer(
                d, 3, 4 * d, dropout=0.1, batch_first=True, norm_first=True, activation="gelu"
            )
            self.blocks = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
            self.ln, self.head = nn.LayerNorm(d), nn.Linear(d, num_digits, bias=False)

        def forward(self, idx, targets=None):
            t = idx.size(1)
            mask = nn.Transformer.generate_square_subsequent_mask(t)
            x = self.blocks(self.tok(idx) + self.pos[:, :t], mask=mask)
            logits = self.head(self.ln(x))
            loss = None
            if targets is not None:
                loss = F.cross_entropy(logits.view(-1, num_digits), targets.view(-1), ignore_index=-1)
            return logits, loss

        @torch.no_grad()
        def generate(self, idx, n):
            for _ in range(n):
                idx = torch.cat((idx, self(idx)[0][:, -1].argmax(-1, keepdim=True)), 1)
            return idx

    class Trainer:
        def __init__(self, config, model, train_dataset):
            self.config, self.model, self.train_dataset = config, model, train_dataset
            self.callbacks = defaultdict(list)

        def add_callback(self, onevent, callback):
            self.callbacks[onevent].append(callback)

        def trigger_callbacks(self, onevent):
            for callback in self.callbacks.get(onevent, []):
                callback(self)

        def run(self):
            model, config = self.model, self.config
            self.optimizer = torch.optim.AdamW(
                model.parameters(), lr=config["learning_rate"], betas=(0.9, 0.95)
            )
            sampler = torch.utils.data.RandomSampler(
                self.train_dataset, replacement=True, num_samples=int(1e10)
            )
            train_loader = DataLoader(
                self.train_dataset, sampler=sampler, batch_size=config["batch_size"]
            )
            model.train()
            self.iter_num = 0
            data_iter = iter(train_loader)
            while True:
                try:
                    batch = next(data_iter)
                except StopIteration:
                    data_iter = iter(train_loader)
                    batch = next(data_iter)
                x, y = batch
                logits, self.loss = model(x, y)
                model.zero_grad(set_to_none=True)
                self.loss.backward()
                torch.nn.utils.clip_grad_norm_(model.parameters(), config["grad_norm_clip"])
                self.optimizer.step()
                self.trigger_callbacks("on_batch_end")
                self.iter_num += 1
                if self.iter_num >= config["max_iters"]:
                    break

    def batch_end_callback(trainer):
        if trainer.iter_num % 100 == 0:
            trainer.model.eval()
            inp = torch.randint(num_digits, (100, length))
            out = trainer.model.generate(inp, length)[:, length:]
            score = (out == inp.sort(dim=1)[0]).all(1).float().mean().item()
            print(f"iter {trainer.iter_num}: train loss {trainer.loss.item():.5f} sorted {score:.2f}")
            trainer.model.train()

    trainer = Trainer(
        {"learning_rate": 1e-3, "batch_size": 48, "max_iters": 301, "grad_norm_clip": 1.0},
        GPT(),
        SortDataset(),
    )
    trainer.add_callback("on_batch_end", batch_end_callback)
    trainer.run()


def pytorch_examples_mnist() -> None:
    """pytorch/examples mnist: Adadelta, StepLR per epoch, nll_loss on log_softmax."""
    torch.manual_seed(1)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1, self.conv2 = nn.Conv2d(1, 16, 3, 1), nn.Conv2d(16, 32, 3, 1)
            self.dropout1, self.dropout2 = nn.Dropout(0.25), nn.Dropout(0.5)
            self.fc1, self.fc2 = nn.Linear(128, 64), nn.Linear(64, 10)

        def forward(self, x):
            x = F.relu(self.conv1(x))
            x = F.relu(self.conv2(x))
            x = self.dropout1(F.max_pool2d(x, 2))
            x = F.relu(self.fc1(torch.flatten(x, 1)))
            return F.log_softmax(self.fc2(self.dropout2(x)), dim=1)

    def train(model, train_loader, optimizer, epoch):
        model.train()
        for batch_idx, (data, target) in enumerate(train_loader):
            optimizer.zero_grad()
            output = model(data)
            loss = F.nll_loss(output, target)
            loss.backward()
            optimizer.step()
        return loss.item()

    def test(model, test_loader):
        model.eval()
        test_loss = correct = 0
        with torch.no_grad():
            for data, target in test_loader:
                output = model(data)
                test_loss += F.nll_loss(output, target, reduction="sum").item()
                pred = output.argmax(dim=1, keepdim=True)
                correct += pred.eq(target.view_as(pred)).sum().item()
        return test_loss / len(test_loader.dataset), correct / len(test_loader.dataset)

    a, b, c, d = digits()
    train_loader = DataLoader(TensorDataset(a, b), batch_size=64, shuffle=True)
    test_loader = DataLoader(TensorDataset(c, d), batch_size=200)
    model = Net()
    optimizer = optim.Adadelta(model.parameters(), lr=1.0)
    scheduler = StepLR(optimizer, step_size=1, gamma=0.8)
    for epoch in range(1, 19):
        loss = train(model, train_loader, optimizer, epoch)
        test_loss, acc = test(model, test_loader)
        scheduler.step()
    print(f"train {loss:.4f} test {test_loss:.4f} acc {acc:.4f}")


def pytorch_examples_imagenet() -> None:
    """pytorch/examples imagenet: AverageMeter, top-k accuracy, best checkpoint, StepLR per epoch."""
    torch.manual_seed(2)

    class AverageMeter:
        def __init__(self):
            self.sum = self.count = self.avg = 0

        def update(self, val, n=1):
            self.sum += val * n
            self.count += n
            self.avg = self.sum / self.count

    def accuracy(output, target, topk=(1,)):
        with torch.no_grad():
            _, pred = output.topk(max(topk), 1, True, True)
            correct = pred.t().eq(target.view(1, -1).expand_as(pred.t()))
            return [correct[:k].reshape(-1).float().sum(0).mul_(100.0 / target.size(0)) for k in topk]

    class BasicBlock(nn.Module):
        def __init__(self, i, o, stride):
            super().__init__()
            self.conv1, self.bn1 = nn.Conv2d(i, o, 3, stride, 1, bias=False), nn.BatchNorm2d(o)
            self.conv2, self.bn2 = nn.Conv2d(o, o, 3, 1, 1, bias=False), nn.BatchNorm2d(o)
            self.down = nn.Sequential(nn.Conv2d(i, o, 1, stride, bias=False), nn.BatchNorm2d(o))

        def forward(self, x):
            return F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))) + self.down(x))

    model = nn.Sequential(
        nn.Conv2d(1, 8, 3, 1, 1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        BasicBlock(8, 16, 2),
        BasicBlock(16, 32, 2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(32, 10),
    )
    criterion = nn.CrossEntropyLoss()
    optimizer = optim.SGD(model.parameters(), 0.1, momentum=0.9, weight_decay=1e-4)
    scheduler = StepLR(optimizer, step_size=5, gamma=0.1)
    a, b, c, d = digits(seed=2)
    train_loader = DataLoader(TensorDataset(a, b), batch_size=64, shuffle=True)
    val_loader = DataLoader(TensorDataset(c, d), batch_size=64)

    def train():
        losses, top1 = AverageMeter(), AverageMeter()
        model.train()
        for images, target in train_loader:
            output = model(images)
            loss = criterion(output, target)
            acc1, acc5 = accuracy(output, target, topk=(1, 5))
            losses.update(loss.item(), images.size(0))
            top1.update(acc1.item(), images.size(0))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return losses.avg

    def validate():
        top1 = AverageMeter()
        model.eval()
        with torch.no_grad():
            for images, target in val_loader:
                top1.update(accuracy(model(images), target)[0].item(), images.size(0))
        return top1.avg

    best_acc1, state = 0, {}
    for epoch in range(12):
        loss = train()
        acc1 = validate()
        scheduler.step()
        is_best, best_acc1 = acc1 > best_acc1, max(acc1, best_acc1)
        if is_best:
            state = {
                "epoch": epoch + 1,
                "state_dict": copy.deepcopy(model.state_dict()),
                "best_acc1": best_acc1,
            }
    print(f"loss {loss:.4f} acc {acc1:.2f} best {state['best_acc1']:.2f} at {state['epoch']}")


def dcgan_tutorial() -> None:
    """The DCGAN tutorial: D on real, then on detached fakes, G on the same fakes."""
    torch.manual_seed(999)
    imgs, labels, _, _ = digits()
    imgs = (imgs[labels < 3] * 0.376 + 0.305) * 2 - 1
    dataloader = DataLoader(TensorDataset(imgs), batch_size=32, shuffle=True)
    nz, ngf, ndf = 16, 16, 12

    def weights_init(m):
        classname = m.__class__.__name__
        if classname.find("Conv") != -1:
            nn.init.normal_(m.weight.data, 0.0, 0.02)
        elif classname.find("BatchNorm") != -1:
            nn.init.normal_(m.weight.data, 1.0, 0.02)
            nn.init.constant_(m.bias.data, 0)

    netG = nn.Sequential(
        nn.ConvTranspose2d(nz, ngf * 2, 2, 1, 0, bias=False),
        nn.BatchNorm2d(ngf * 2),
        nn.ReLU(True),
        nn.ConvTranspose2d(ngf * 2, ngf, 4, 2, 1, bias=False),
        nn.BatchNorm2d(ngf),
        nn.ReLU(True),
        nn.ConvTranspose2d(ngf, 1, 4, 2, 1, bias=False),
        nn.Tanh(),
    )
    netD = nn.Sequential(
        nn.Conv2d(1, ndf, 4, 2, 1, bias=False),
        nn.LeakyReLU(0.2, inplace=True),
        nn.Conv2d(ndf, ndf * 2, 4, 2, 1, bias=False),
        nn.BatchNorm2d(ndf * 2),
        nn.LeakyReLU(0.2, inplace=True),
        nn.Conv2d(ndf * 2, 1, 2, 1, 0, bias=False),
        nn.Sigmoid(),
    )
    netG.apply(weights_init)
    netD.apply(weights_init)
    criterion = nn.BCELoss()
    fixed_noise = torch.randn(64, nz, 1, 1)
    real_label, fake_label = 1.0, 0.0
    optimizerD = optim.Adam(netD.parameters(), lr=0.0005, betas=(0.5, 0.999))
    optimizerG = optim.Adam(netG.parameters(), lr=0.002, betas=(0.5, 0.999))
    G_losses, D_losses, img_list = [], [], []
    for epoch in range(30):
        for i, data in enumerate(dataloader, 0):
            netD.zero_grad()
            real = data[0]
            b_size = real.size(0)
            label = torch.full((b_size,), real_label, dtype=torch.float)
            output = netD(real).view(-1)
            errD_real = criterion(output, label)
            errD_real.backward()
            noise = torch.randn(b_size, nz, 1, 1)
            fake = netG(noise)
            label.fill_(fake_label)
            output = netD(fake.detach()).view(-1)
            errD_fake = criterion(output, label)
            errD_fake.backward()
            errD = errD_real + errD_fake
            optimizerD.step()
            netG.zero_grad()
            label.fill_(real_label)
            output = netD(fake).view(-1)
            errG = criterion(output, label)
            errG.backward()
            optimizerG.step()
            G_losses.append(errG.item())
            D_losses.append(errD.item())
        with torch.no_grad():
            img_list.append(netG(fixed_noise).detach())
    near = torch.cdist(img_list[-1].flatten(1), imgs.flatten(1)).min(1).values.mean().item()
    far = torch.cdist(img_list[0].flatten(1), imgs.flatten(1)).min(1).values.mean().item()
    print(
        f"Loss_D {np.mean(D_losses[-20:]):.3f} Loss_G {np.mean(G_losses[-20:]):.3f} nearest {far:.2f} -> {near:.2f}"
    )


def cleanrl_ppo() -> None:
    """CleanRL's ppo.py: GAE, ratio clipping, minibatches, annealed learning rate."""
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    num_envs, num_steps, num_updates, update_epochs, num_minibatches = 8, 64, 40, 4, 4
    gamma, gae_lambda, clip_coef, ent_coef, vf_coef, max_grad_norm, lr = (
        0.98,
        0.95,
        0.2,
        0.01,
        0.5,
        0.5,
        2.5e-3,
    )
    batch_size, minibatch_size = num_envs * num_steps, num_envs * num_steps // num_minibatches
    envs = VecCartPole(num_envs, seed=1)

    def layer_init(layer, std=np.sqrt(2), bias_const=0.0):
        torch.nn.init.orthogonal_(layer.weight, std)
        torch.nn.init.constant_(layer.bias, bias_const)
        return layer

    class Agent(nn.Module):
        def __init__(self):
            super().__init__()
            self.critic = nn.Sequential(
                layer_init(nn.Linear(4, 64)), nn.Tanh(), layer_init(nn.Linear(64, 1), std=1.0)
            )
            self.actor = nn.Sequential(
                layer_init(nn.Linear(4, 64)), nn.Tanh(), layer_init(nn.Linear(64, 2), std=0.01)
            )

        def get_value(self, x):
            return self.critic(x)

        def get_action_and_value(self, x, action=None):
            probs = Categorical(logits=self.actor(x))
            if action is None:
                action = probs.sample()
            return action, probs.log_prob(action), probs.entropy(), self.critic(x)

    agent = Agent()
    optimizer = optim.Adam(agent.parameters(), lr=lr, eps=1e-5)
    obs = torch.zeros((num_steps, num_envs, 4))
    actions, logprobs = torch.zeros((num_steps, num_envs)), torch.zeros((num_steps, num_envs))
    rewards, dones, values = (torch.zeros((num_steps, num_envs)) for _ in range(3))
    next_obs, next_done = torch.Tensor(envs.reset()), torch.zeros(num_envs)
    episodes = []
    for update in range(1, num_updates + 1):
        optimizer.param_groups[0]["lr"] = (1.0 - (update - 1.0) / num_updates) * lr
        for step in range(num_steps):
            obs[step], dones[step] = next_obs, next_done
            with torch.no_grad():
                action, logprob, _, value = agent.get_action_and_value(next_obs)
                values[step] = value.flatten()
            actions[step], logprobs[step] = action, logprob
            o, reward, done, finished = envs.step(action.numpy())
            episodes += finished.tolist()
            rewards[step] = torch.tensor(reward)
            next_obs, next_done = torch.Tensor(o), torch.Tensor(done.astype(np.float32))
        with torch.no_grad():
            next_value = agent.get_value(next_obs).reshape(1, -1)
            advantages = torch.zeros_like(rewards)
            lastgaelam = 0
            for t in reversed(range(num_steps)):
                nonterminal = 1.0 - (next_done if t == num_steps - 1 else dones[t + 1])
                nextvalues = next_value if t == num_steps - 1 else values[t + 1]
                delta = rewards[t] + gamma * nextvalues * nonterminal - values[t]
                advantages[t] = lastgaelam = delta + gamma * gae_lambda * nonterminal * lastgaelam
            returns = advantages + values
        b_obs, b_logprobs, b_actions = obs.reshape(-1, 4), logprobs.reshape(-1), actions.reshape(-1)
        b_advantages, b_returns = advantages.reshape(-1), returns.reshape(-1)
        b_inds = np.arange(batch_size)
        for epoch in range(update_epochs):
            np.random.shuffle(b_inds)
            for start in range(0, batch_size, minibatch_size):
                mb = b_inds[start : start + minibatch_size]
                _, newlogprob, entropy, newvalue = agent.get_action_and_value(
                    b_obs[mb], b_actions.long()[mb]
                )
                ratio = (newlogprob - b_logprobs[mb]).exp()
                adv = b_advantages[mb]
                adv = (adv - adv.mean()) / (adv.std() + 1e-8)
                pg_loss = torch.max(
                    -adv * ratio, -adv * torch.clamp(ratio, 1 - clip_coef, 1 + clip_coef)
                ).mean()
                v_loss = 0.5 * ((newvalue.view(-1) - b_returns[mb]) ** 2).mean()
                loss = pg_loss - ent_coef * entropy.mean() + v_loss * vf_coef
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(agent.parameters(), max_grad_norm)
                optimizer.step()
    print(f"episodic_length {np.mean(episodes[:50]):.1f} -> {np.mean(episodes[-40:]):.1f}")


def cleanrl_dqn() -> None:
    """CleanRL's dqn.py: replay buffer, target network, linear epsilon schedule."""
    torch.manual_seed(2)
    rng = np.random.default_rng(2)
    envs = VecCartPole(4, seed=2)

    class QNetwork(nn.Module):
        def __init__(self):
            super().__init__()
            self.network = nn.Sequential(
                nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 2)
            )

        def forward(self, x):
            return self.network(x)

    def linear_schedule(start_e, end_e, duration, t):
        return max((end_e - start_e) / duration * t + start_e, end_e)

    q_network, target_network = QNetwork(), QNetwork()
    optimizer = optim.Adam(q_network.parameters(), lr=1e-3)
    target_network.load_state_dict(q_network.state_dict())
    rb = deque(maxlen=10000)
    obs, lengths = envs.reset(), []
    for global_step in range(3000):
        epsilon = linear_schedule(1.0, 0.05, 1500, global_step)
        if rng.random() < epsilon:
            actions = rng.integers(0, 2, 4)
        else:
            with torch.no_grad():
                actions = torch.argmax(q_network(torch.Tensor(obs)), dim=1).numpy()
        next_obs, rewards, terminations, finished = envs.step(actions)
        lengths += finished.tolist()
        rb.extend(zip(obs, actions, rewards, next_obs, terminations))
        obs = next_obs
        if global_step > 300 and global_step % 2 == 0:
            pick = rng.integers(0, len(rb), 64)
            o, a, r, o2, d = (np.array(z) for z in zip(*[rb[i] for i in pick]))
            with torch.no_grad():
                target_max, _ = target_network(torch.Tensor(o2)).max(dim=1)
                td_target = torch.Tensor(r) + 0.98 * target_max * (
                    1 - torch.Tensor(d.astype(np.float32))
                )
            old_val = q_network(torch.Tensor(o)).gather(1, torch.tensor(a)[:, None]).squeeze()
            loss = F.mse_loss(td_target, old_val)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if global_step % 100 == 0:
                for tp, p in zip(target_network.parameters(), q_network.parameters()):
                    tp.data.copy_(1.0 * p.data + 0.0 * tp.data)
    print(
        f"td_loss {loss.item():.4f} length {np.mean(lengths[:40]):.1f} -> {np.mean(lengths[-30:]):.1f}"
    )


def annotated_transformer_copy() -> None:
    """The Annotated Transformer's copy task: label smoothing with KLDivLoss, Noam rate, SimpleLossCompute."""
    torch.manual_seed(3)
    V, L, d_model = 11, 8, 32

    class Batch:
        def __init__(self, src, trg, pad=0):
            self.src = src
            self.src_mask = src == pad
            self.trg, self.trg_y = trg[:, :-1], trg[:, 1:]
            self.ntokens = (self.trg_y != pad).sum().item()

    def data_gen(V, batch, nbatches):
        for _ in range(nbatches):
            data = torch.randint(1, V, size=(batch, L))
            data[:, 0] = 1
            yield Batch(data, data.clone())

    class LabelSmoothing(nn.Module):
        def __init__(self, size, padding_idx, smoothing=0.0):
            super().__init__()
            self.criterion = nn.KLDivLoss(reduction="sum")
            self.padding_idx, self.confidence, self.smoothing, self.size = (
                padding_idx,
                1.0 - smoothing,
                smoothing,
                size,
            )

        def forward(self, x, target):
            true_dist = x.data.clone()
            true_dist.fill_(self.smoothing / (self.size - 2))
            true_dist.scatter_(1, target.data.unsqueeze(1), self.confidence)
            true_dist[:, self.padding_idx] = 0
            mask = torch.nonzero(target.data == self.padding_idx)
            if len(mask) > 0:
                true_dist.index_fill_(0, mask.squeeze(1), 0.0)
            return self.criterion(x, true_dist.clone().detach())

    class EncoderDecoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.emb = nn.Embedding(V, d_model)
            self.register_buffer("pe", self.positions(32))
            self.core = nn.Transformer(d_model, 4, 1, 1, 64, dropout=0.1, batch_first=True)
            self.proj = nn.Linear(d_model, V)
            for p in self.parameters():
                if p.dim() > 1:
                    nn.init.xavier_uniform_(p)

        @staticmethod
        def positions(n):
            pos, div = (
                torch.arange(n).unsqueeze(1),
                torch.exp(torch.arange(0, d_model, 2) * -(math.log(10000.0) / d_model)),
            )
            pe = torch.zeros(n, d_model)
            pe[:, 0::2], pe[:, 1::2] = torch.sin(pos * div), torch.cos(pos * div)
            return pe.unsqueeze(0)

        def embed(self, x):
            return self.emb(x) * math.sqrt(d_model) + self.pe[:, : x.size(1)]

        def forward(self, b):
            causal = torch.triu(torch.ones(b.trg.size(1), b.trg.size(1), dtype=torch.bool), 1)
            out = self.core(
                self.embed(b.src), self.embed(b.trg), tgt_mask=causal, src_key_padding_mask=b.src_mask
            )
            return F.log_softmax(self.proj(out), dim=-1)

    class SimpleLossCompute:
        def __init__(self, criterion):
            self.criterion = criterion

        def __call__(self, x, y, norm):
            sloss = self.criterion(x.contiguous().view(-1, x.size(-1)), y.contiguous().view(-1)) / norm
            return sloss.data * norm, sloss

    def rate(step, model_size, factor, warmup):
        step = max(step, 1)
        return factor * (model_size ** (-0.5) * min(step ** (-0.5), step * warmup ** (-1.5)))

    def run_epoch(data_iter, model, loss_compute, optimizer=None, scheduler=None, mode="train"):
        total_tokens = total_loss = 0
        for batch in data_iter:
            out = model(batch)
            loss, loss_node = loss_compute(out, batch.trg_y, batch.ntokens)
            if mode == "train":
                loss_node.backward()
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
                scheduler.step()
            total_loss += loss
            total_tokens += batch.ntokens
        return (total_loss / total_tokens).item()

    criterion = LabelSmoothing(size=V, padding_idx=0, smoothing=0.0)
    model = EncoderDecoder()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.5, betas=(0.9, 0.98), eps=1e-9)
    lr_scheduler = LambdaLR(optimizer, lr_lambda=lambda s: rate(s, d_model, factor=1.0, warmup=150))
    first = None
    for epoch in range(14):
        model.train()
        tr = run_epoch(data_gen(V, 64, 25), model, SimpleLossCompute(criterion), optimizer, lr_scheduler)
        first = first or tr
        model.eval()
        with torch.no_grad():
            ev = run_epoch(data_gen(V, 64, 5), model, SimpleLossCompute(criterion), mode="eval")
    print(f"first {first:.4f} train {tr:.4f} eval {ev:.4f}")


def d2l_scratch() -> None:
    """d2l's chapter 3 from scratch: own softmax, own sgd with in-place updates, Accumulator."""
    torch.manual_seed(4)
    a, b, c, d = digits(flat=True, seed=4)

    class Accumulator:
        def __init__(self, n):
            self.data = [0.0] * n

        def add(self, *args):
            self.data = [x + float(y) for x, y in zip(self.data, args)]

        def __getitem__(self, i):
            return self.data[i]

    num_inputs, num_hiddens, num_outputs = 64, 64, 10
    W1 = (torch.randn(num_inputs, num_hiddens) * 0.1).requires_grad_(True)
    b1 = torch.zeros(num_hiddens, requires_grad=True)
    W2 = (torch.randn(num_hiddens, num_outputs) * 0.1).requires_grad_(True)
    b2 = torch.zeros(num_outputs, requires_grad=True)
    params = [W1, b1, W2, b2]

    def relu(X):
        return torch.max(X, torch.zeros_like(X))

    def softmax(X):
        X_exp = torch.exp(X - X.max(1, keepdim=True).values)
        return X_exp / X_exp.sum(1, keepdim=True)

    def net(X):
        return softmax(relu(X.reshape((-1, num_inputs)) @ W1 + b1) @ W2 + b2)

    def cross_entropy(y_hat, y):
        return -torch.log(y_hat[range(len(y_hat)), y] + 1e-12)

    def accuracy(y_hat, y):
        return float((y_hat.argmax(axis=1).type(y.dtype) == y).type(y.dtype).sum())

    def sgd(params, lr, batch_size):
        with torch.no_grad():
            for param in params:
                param -= lr * param.grad / batch_size
                param.grad.zero_()

    def train_epoch_ch3(net, train_iter, loss, updater):
        metric = Accumulator(3)
        for X, y in train_iter:
            y_hat = net(X)
            l = loss(y_hat, y)
            l.sum().backward()
            updater(X.shape[0])
            metric.add(float(l.detach().sum()), accuracy(y_hat, y), y.numel())
        return metric[0] / metric[2], metric[1] / metric[2]

    def evaluate_accuracy(net, data_iter):
        metric = Accumulator(2)
        with torch.no_grad():
            for X, y in data_iter:
                metric.add(accuracy(net(X), y), y.numel())
        return metric[0] / metric[1]

    train_iter = DataLoader(TensorDataset(a, b), 32, shuffle=True)
    test_iter = DataLoader(TensorDataset(c, d), 32, shuffle=False)
    for epoch in range(30):
        train_metrics = train_epoch_ch3(net, train_iter, cross_entropy, lambda bs: sgd(params, 0.1, bs))
        test_acc = evaluate_accuracy(net, test_iter)
    print("loss %.4f train acc %.4f" % train_metrics, f"test acc {test_acc:.4f}")


def fastai_like_learner() -> None:
    """A Learner with callbacks and one-cycle in the manner of fast.ai's course."""
    torch.manual_seed(5)
    a, b, c, d = digits(seed=5)

    class CancelFitException(Exception):
        pass

    class Callback:
        order = 0

        def __getattr__(self, name):
            if name.startswith(("before_", "after_")):
                return lambda learn: None
            raise AttributeError(name)

    class TrainEvalCB(Callback):
        def before_epoch(self, learn):
            learn.model.train(learn.training)

    class OneCycleCB(Callback):
        def before_fit(self, learn):
            steps = learn.n_epochs * len(learn.dls["train"])
            self.sched = optim.lr_scheduler.OneCycleLR(learn.opt, learn.lr, total_steps=steps)

        def after_step(self, learn):
            self.sched.step()

    class MetricsCB(Callback):
        def before_epoch(self, learn):
            self.n = self.hits = self.loss = 0

        def after_loss(self, learn):
            k = len(learn.yb)
            self.n += k
            self.loss += learn.loss.detach().item() * k
            self.hits += (learn.preds.argmax(1) == learn.yb).sum().item()

        def after_epoch(self, learn):
            learn.log.append(
                (
                    learn.epoch,
                    "train" if learn.training else "eval",
                    self.loss / self.n,
                    self.hits / self.n,
                )
            )

    class Learner:
        def __init__(self, model, dls, loss_func, lr, cbs, opt_func=partial(optim.AdamW, eps=1e-5)):
            self.model, self.dls, self.loss_func, self.lr, self.cbs, self.opt_func = (
                model,
                dls,
                loss_func,
                lr,
                cbs,
                opt_func,
            )
            self.log = []

        def __call__(self, name):
            for cb in sorted(self.cbs, key=lambda o: o.order):
                getattr(cb, name)(self)

        def one_batch(self):
            self.preds = self.model(self.xb)
            self.loss = self.loss_func(self.preds, self.yb)
            self("after_loss")
            if self.training:
                self.loss.backward()
                self.opt.step()
                self("after_step")
                self.opt.zero_grad()

        def one_epoch(self, train):
            self.training = train
            self("before_epoch")
            for self.xb, self.yb in self.dls["train" if train else "valid"]:
                self.one_batch()
            self("after_epoch")

        def fit(self, n_epochs):
            self.n_epochs = n_epochs
            self.opt = self.opt_func(self.model.parameters(), lr=self.lr)
            self("before_fit")
            try:
                for self.epoch in range(n_epochs):
                    self.one_epoch(True)
                    with torch.no_grad():
                        self.one_epoch(False)
            except CancelFitException:
                pass
            self("after_fit")

    def conv(ni, nf, act=True):
        layers = [nn.Conv2d(ni, nf, 3, stride=2, padding=1), nn.BatchNorm2d(nf)]
        return nn.Sequential(*layers, *([nn.ReLU()] if act else []))

    model = nn.Sequential(conv(1, 16), conv(16, 32), conv(32, 48), nn.Flatten(), nn.Linear(48, 10))
    dls = {
        "train": DataLoader(TensorDataset(a, b), 64, shuffle=True),
        "valid": DataLoader(TensorDataset(c, d), 128),
    }
    learn = Learner(model, dls, F.cross_entropy, 0.01, [TrainEvalCB(), OneCycleCB(), MetricsCB()])
    learn.fit(20)
    print(learn.log[0], learn.log[-2], learn.log[-1])


def makemore_mlp() -> None:
    """Zero-to-hero makemore: a parameter list, p.grad = None, p.data updates, hand-made batch norm."""
    g = torch.Generator().manual_seed(2147483647)
    words = sorted({w for w in corpus().replace(",", " ").replace(".", " ").split() if len(w) > 2})
    random.Random(42).shuffle(words)
    chars = sorted(set("".join(words)))
    stoi = {s: i + 1 for i, s in enumerate(chars)}
    stoi["."] = 0
    vocab_size, block_size, n_embd, n_hidden = len(stoi), 3, 10, 100

    def build_dataset(words):
        X, Y = [], []
        for w in words:
            context = [0] * block_size
            for ch in w + ".":
                ix = stoi[ch]
                X.append(context)
                Y.append(ix)
                context = context[1:] + [ix]
        return torch.tensor(X), torch.tensor(Y)

    n1 = int(0.85 * len(words))
    Xtr, Ytr = build_dataset(words[:n1])
    Xdev, Ydev = build_dataset(words[n1:])
    C = torch.randn((vocab_size, n_embd), generator=g)
    W1 = (
        torch.randn((n_embd * block_size, n_hidden), generator=g)
        * (5 / 3)
        / ((n_embd * block_size) ** 0.5)
    )
    W2 = torch.randn((n_hidden, vocab_size), generator=g) * 0.01
    b2 = torch.randn(vocab_size, generator=g) * 0
    bngain, bnbias = torch.ones((1, n_hidden)), torch.zeros((1, n_hidden))
    bnmean_running, bnstd_running = torch.zeros((1, n_hidden)), torch.ones((1, n_hidden))
    parameters = [C, W1, W2, b2, bngain, bnbias]
    for p in parameters:
        p.requires_grad = True
    max_steps, batch_size, lossi = 4000, 32, []
    for i in range(max_steps):
        ix = torch.randint(0, Xtr.shape[0], (batch_size,), generator=g)
        Xb, Yb = Xtr[ix], Ytr[ix]
        emb = C[Xb]
        hpreact = emb.view(emb.shape[0], -1) @ W1
        bnmeani, bnstdi = hpreact.mean(0, keepdim=True), hpreact.std(0, keepdim=True)
        hpreact = bngain * (hpreact - bnmeani) / bnstdi + bnbias
        with torch.no_grad():
            bnmean_running = 0.99 * bnmean_running + 0.01 * bnmeani
            bnstd_running = 0.99 * bnstd_running + 0.01 * bnstdi
        h = torch.tanh(hpreact)
        loss = F.cross_entropy(h @ W2 + b2, Yb)
        for p in parameters:
            p.grad = None
        loss.backward()
        lr = 0.1 if i < 3000 else 0.01
        for p in parameters:
            p.data += -lr * p.grad
        lossi.append(loss.log10().item())
    with torch.no_grad():
        h = torch.tanh(
            bngain * (C[Xdev].view(len(Xdev), -1) @ W1 - bnmean_running) / bnstd_running + bnbias
        )
        dev = F.cross_entropy(h @ W2 + b2, Ydev).item()
    print(f"first {10 ** np.mean(lossi[:50]):.4f} last {10 ** np.mean(lossi[-200:]):.4f} dev {dev:.4f}")


def lucidrains_ddpm_trainer() -> None:
    """A lucidrains-like diffusion Trainer: cycle over the loader, accumulation, EMA, clipping."""
    torch.manual_seed(6)

    def cycle(dl):
        while True:
            for data in dl:
                yield data

    def exists(v):
        return v is not None

    class EMA(nn.Module):
        def __init__(self, model, beta=0.97, update_every=2):
            super().__init__()
            self.online_model = [model]
            self.ema_model = copy.deepcopy(model).requires_grad_(False)
            self.beta, self.update_every, self.step = beta, update_every, 0

        @torch.no_grad()
        def update(self):
            self.step += 1
            if self.step % self.update_every:
                return
            for e, p in zip(self.ema_model.parameters(), self.online_model[0].parameters()):
                e.lerp_(p, 1 - self.beta)

    class Denoiser(nn.Module):
        def __init__(self, dim=128):
            super().__init__()
            self.time = nn.Sequential(nn.Linear(16, dim), nn.SiLU(), nn.Linear(dim, dim))
            self.inp, self.mid, self.out = nn.Linear(64, dim), nn.Linear(dim, dim), nn.Linear(dim, 64)

        def forward(self, x, t):
            freqs = torch.exp(torch.arange(8) * -0.6)
            e = t[:, None] * freqs
            h = F.silu(self.inp(x) + self.time(torch.cat((e.sin(), e.cos()), -1)))
            return self.out(F.silu(self.mid(h)) + h)

    class GaussianDiffusion(nn.Module):
        def __init__(self, model, timesteps=50):
            super().__init__()
            self.model, self.timesteps = model, timesteps
            acp = torch.cumprod(1 - torch.linspace(1e-3, 0.15, timesteps), 0)
            self.register_buffer("sqrt_acp", acp.sqrt())
            self.register_buffer("sqrt_1m", (1 - acp).sqrt())

        def forward(self, x):
            t = torch.randint(0, self.timesteps, (len(x),))
            noise = torch.randn_like(x)
            noised = self.sqrt_acp[t, None] * x + self.sqrt_1m[t, None] * noise
            return F.mse_loss(self.model(noised, t.float()), noise)

    class Trainer:
        def __init__(
            self,
            diffusion_model,
            ds,
            *,
            train_batch_size=48,
            gradient_accumulate_every=2,
            train_lr=1.5e-3,
            train_num_steps=700,
            max_grad_norm=1.0,
        ):
            self.model, self.every, self.num_steps, self.max_grad_norm = (
                diffusion_model,
                gradient_accumulate_every,
                train_num_steps,
                max_grad_norm,
            )
            self.dl = cycle(DataLoader(ds, batch_size=train_batch_size, shuffle=True))
            self.opt = optim.Adam(diffusion_model.parameters(), lr=train_lr, betas=(0.9, 0.99))
            self.ema = EMA(diffusion_model)
            self.step, self.history = 0, []

        def train(self):
            while self.step < self.num_steps:
                self.model.train()
                total_loss = 0.0
                for _ in range(self.every):
                    (data,) = next(self.dl)
                    loss = self.model(data) / self.every
                    total_loss += loss.item()
                    loss.backward()
                if exists(self.max_grad_norm):
                    nn.utils.clip_grad_norm_(self.model.parameters(), self.max_grad_norm)
                self.opt.step()
                self.opt.zero_grad()
                self.step += 1
                self.ema.update()
                self.history.append(total_loss)

    a, _, c, _ = digits(flat=True, seed=6)
    trainer = Trainer(GaussianDiffusion(Denoiser()), TensorDataset(a))
    trainer.train()
    with torch.no_grad():
        test = trainer.ema.ema_model(c).item()
    print(
        f"first {np.mean(trainer.history[:20]):.4f} last {np.mean(trainer.history[-50:]):.4f} ema test {test:.4f}"
    )


def timm_like_mixup() -> None:
    """A timm-like train_one_epoch: mixup with soft targets, label smoothing, cosine by epoch, model EMA."""
    torch.manual_seed(7)
    np.random.seed(7)

    class SoftTargetCrossEntropy(nn.Module):
        def forward(self, x, target):
            return torch.sum(-target * F.log_softmax(x, dim=-1), dim=-1).mean()

    class Mixup:
        def __init__(self, mixup_alpha=0.2, label_smoothing=0.1, num_classes=10):
            self.alpha, self.smoothing, self.num_classes = mixup_alpha, label_smoothing, num_classes

        def one_hot(self, y):
            off = self.smoothing / self.num_classes
            return torch.full((len(y), self.num_classes), off).scatter_(
                1, y.view(-1, 1), 1.0 - self.smoothing + off
            )

        def __call__(self, x, target):
            lam = float(np.random.beta(self.alpha, self.alpha))
            t = self.one_hot(target)
            return x * lam + x.flip(0) * (1 - lam), t * lam + t.flip(0) * (1 - lam)

    class ModelEmaV2(nn.Module):
        def __init__(self, model, decay=0.95):
            super().__init__()
            self.module = copy.deepcopy(model)
            self.module.eval()
            self.decay = decay

        def update(self, model):
            with torch.no_grad():
                for ema_v, model_v in zip(
                    self.module.state_dict().values(), model.state_dict().values()
                ):
                    ema_v.copy_(self.decay * ema_v + (1.0 - self.decay) * model_v)

    def train_one_epoch(epoch, model, loader, optimizer, loss_fn, mixup_fn, model_ema, clip_grad):
        model.train()
        losses = []
        for batch_idx, (input, target) in enumerate(loader):
            input, target = mixup_fn(input, target)
            output = model(input)
            loss = loss_fn(output, target)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), clip_grad)
            optimizer.step()
            model_ema.update(model)
            losses.append(loss.item())
        return {"loss": float(np.mean(losses))}

    @torch.inference_mode()
    def validate(model, loader):
        model.eval()
        top1 = sum((model(x).argmax(1) == y).sum().item() for x, y in loader)
        return {"top1": 100.0 * top1 / len(loader.dataset)}

    a, b, c, d = digits(seed=7)
    loader_train = DataLoader(TensorDataset(a, b), 64, shuffle=True, drop_last=True)
    loader_eval = DataLoader(TensorDataset(c, d), 128)
    model = nn.Sequential(
        nn.Conv2d(1, 24, 3, padding=1),
        nn.BatchNorm2d(24),
        nn.SiLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(24, 48, 3, padding=1),
        nn.BatchNorm2d(48),
        nn.SiLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.1),
        nn.Linear(192, 10),
    )
    optimizer = optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.05)
    lr_scheduler = optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=15)
    model_ema, mixup_fn = ModelEmaV2(model), Mixup()
    for epoch in range(15):
        train_metrics = train_one_epoch(
            epoch, model, loader_train, optimizer, SoftTargetCrossEntropy(), mixup_fn, model_ema, 1.0
        )
        eval_metrics = validate(model, loader_eval)
        ema_metrics = validate(model_ema.module, loader_eval)
        lr_scheduler.step()
    print(train_metrics, eval_metrics, ema_metrics)


def sentence_transformers_mnrl() -> None:
    """Contrastive training as in sentence-transformers: in-batch negatives, scaled cosine, linear warm-up."""
    torch.manual_seed(8)
    rng = np.random.default_rng(8)
    n_topics, V, PAD = 40, 200, 0
    topic_words = rng.integers(1, V, (n_topics, 10))

    def sentence(topic):
        n = int(rng.integers(4, 9))
        own = rng.choice(topic_words[topic], n)
        return [int(w) if rng.random() < 0.75 else int(rng.integers(1, V)) for w in own]

    pairs = [(sentence(t), sentence(t)) for t in rng.integers(0, n_topics, 2400)]

    def smart_batching_collate(batch):
        def pad(seqs):
            m = max(map(len, seqs))
            ids = torch.tensor([s + [PAD] * (m - len(s)) for s in seqs])
            return {"input_ids": ids, "attention_mask": (ids != PAD).long()}

        return [pad([p[0] for p in batch]), pad([p[1] for p in batch])]

    class SentenceEncoder(nn.Module):
        def __init__(self, d=48):
            super().__init__()
            self.emb = nn.Embedding(V, d, padding_idx=PAD)
            self.dense = nn.Linear(d, d)

        def forward(self, f):
            tok = self.emb(f["input_ids"])
            mask = f["attention_mask"].unsqueeze(-1).float()
            return self.dense(torch.tanh((tok * mask).sum(1) / mask.sum(1).clamp(min=1e-9)))

    class MultipleNegativesRankingLoss(nn.Module):
        def __init__(self, model, scale=20.0):
            super().__init__()
            self.model, self.scale = model, scale
            self.cross_entropy_loss = nn.CrossEntropyLoss()

        def forward(self, features):
            a, b = [F.normalize(self.model(f), dim=1) for f in features]
            scores = a @ b.T * self.scale
            return self.cross_entropy_loss(scores, torch.arange(len(scores)))

    def fit(train_dataloader, loss_model, epochs, warmup_steps, lr):
        total = len(train_dataloader) * epochs
        named = list(loss_model.named_parameters())
        groups = [
            {"params": [p for n, p in named if "bias" not in n], "weight_decay": 0.01},
            {"params": [p for n, p in named if "bias" in n], "weight_decay": 0.0},
        ]
        optimizer = optim.AdamW(groups, lr=lr)
        scheduler = LambdaLR(
            optimizer,
            lambda s: (
                s / warmup_steps if s < warmup_steps else max(0.0, (total - s) / (total - warmup_steps))
            ),
        )
        out = []
        for _ in range(epochs):
            loss_model.zero_grad()
            loss_model.train()
            for features in train_dataloader:
                loss_value = loss_model(features)
                loss_value.backward()
                torch.nn.utils.clip_grad_norm_(loss_model.parameters(), 1.0)
                optimizer.step()
                optimizer.zero_grad()
                scheduler.step()
                out.append(loss_value.item())
        return out

    dl = DataLoader(
        pairs[:2200], batch_size=32, shuffle=True, drop_last=True, collate_fn=smart_batching_collate
    )
    model = SentenceEncoder()
    losses = fit(dl, MultipleNegativesRankingLoss(model), epochs=10, warmup_steps=60, lr=4e-3)
    model.eval()
    with torch.no_grad():
        a, b = [F.normalize(model(f), dim=1) for f in smart_batching_collate(pairs[2200:])]
        mrr = (1.0 / ((a @ b.T > (a * b).sum(1, keepdim=True)).sum(1) + 1).float()).mean().item()
    print(f"first {np.mean(losses[:20]):.3f} last {np.mean(losses[-50:]):.3f} mrr {mrr:.3f}")


def detectron_like_hooks() -> None:
    """Detectron2-like: TrainerBase with hooks, SimpleTrainer.run_step with a loss dictionary, WarmupMultiStepLR by iteration."""
    torch.manual_seed(9)
    rng = np.random.default_rng(9)

    def make(n):
        x = 0.2 * torch.randn(n, 1, 12, 12)
        cls, ctr = torch.randint(0, 3, (n,)), torch.from_numpy(rng.integers(2, 10, (n, 2)))
        for i in range(n):
            r, c = ctr[i].tolist()
            if cls[i] != 1:
                x[i, 0, r, max(0, c - 2) : c + 3] += 1.5
            if cls[i] != 0:
                x[i, 0, max(0, r - 2) : r + 3, c] += 1.5
        return [{"image": x[i], "cls": cls[i], "ctr": ctr[i].float() / 12} for i in range(n)]

    class Detector(nn.Module):
        def __init__(self):
            super().__init__()
            self.backbone = nn.Sequential(
                nn.Conv2d(1, 16, 3, padding=1),
                nn.ReLU(),
                nn.MaxPool2d(2),
                nn.Conv2d(16, 24, 3, padding=1),
                nn.ReLU(),
                nn.MaxPool2d(2),
                nn.Flatten(),
                nn.Linear(216, 64),
                nn.ReLU(),
            )
            self.cls_score, self.bbox_pred = nn.Linear(64, 3), nn.Linear(64, 2)

        def forward(self, batched_inputs):
            f = self.backbone(torch.stack([d["image"] for d in batched_inputs]))
            scores, deltas = self.cls_score(f), self.bbox_pred(f)
            if not self.training:
                return [{"pred_class": s.argmax(), "pred_ctr": t} for s, t in zip(scores, deltas)]
            return {
                "loss_cls": F.cross_entropy(scores, torch.stack([d["cls"] for d in batched_inputs])),
                "loss_box_reg": 4
                * F.smooth_l1_loss(deltas, torch.stack([d["ctr"] for d in batched_inputs]), beta=0.1),
            }

    class HookBase:
        def before_train(self):
            pass

        def after_train(self):
            pass

        def before_step(self):
            pass

        def after_step(self):
            pass

    class LRScheduler(HookBase):
        def __init__(self, scheduler):
            self.scheduler = scheduler

        def after_step(self):
            self.scheduler.step()

    class EvalHook(HookBase):
        def __init__(self, period, fn):
            self.period, self.fn = period, fn

        def after_step(self):
            if (self.trainer.iter + 1) % self.period == 0:
                self.trainer.storage["eval"].append(self.fn())

    class TrainerBase:
        def register_hooks(self, hooks):
            for h in hooks:
                h.trainer = self
            self.hooks = hooks

        def train(self, start_iter, max_iter):
            for h in self.hooks:
                h.before_train()
            for self.iter in range(start_iter, max_iter):
                for h in self.hooks:
                    h.before_step()
                self.run_step()
                for h in self.hooks:
                    h.after_step()
            for h in self.hooks:
                h.after_train()

    class SimpleTrainer(TrainerBase):
        def __init__(self, model, data_loader, optimizer):
            model.train()
            self.model, self.optimizer = model, optimizer
            self._data_loader_iter = iter(data_loader)
            self.storage = defaultdict(list)

        def run_step(self):
            assert self.model.training
            start = time.perf_counter()
            data = next(self._data_loader_iter)
            data_time = time.perf_counter() - start
            loss_dict = self.model(data)
            losses = sum(loss_dict.values())
            self.optimizer.zero_grad()
            losses.backward()
            self.storage["data_time"].append(data_time)
            self.storage["total_loss"].append(losses.item())
            self.optimizer.step()

    train_set, test_set = make(1000), make(200)

    def infinite_sampler():
        while True:
            order = torch.randperm(len(train_set)).tolist()
            for i in range(0, len(order) - 24 + 1, 24):
                yield [train_set[j] for j in order[i : i + 24]]

    def do_test():
        model.eval()
        with torch.no_grad():
            out = model(test_set)
        model.train()
        acc = np.mean([float(o["pred_class"] == d["cls"]) for o, d in zip(out, test_set)])
        return {
            "acc": round(float(acc), 3),
            "ctr_mae": round(
                float(
                    np.mean(
                        [(o["pred_ctr"] - d["ctr"]).abs().mean().item() for o, d in zip(out, test_set)]
                    )
                ),
                4,
            ),
        }

    model = Detector()
    optimizer = optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)
    sched = LambdaLR(optimizer, lambda it: min(1.0, (it + 1) / 50) * (0.1 if it >= 450 else 1.0))
    trainer = SimpleTrainer(model, infinite_sampler(), optimizer)
    trainer.register_hooks([LRScheduler(sched), EvalHook(200, do_test)])
    trainer.train(0, 600)
    print(
        f"total_loss {trainer.storage['total_loss'][0]:.3f} -> {np.mean(trainer.storage['total_loss'][-20:]):.4f} {trainer.storage['eval'][-1]}"
    )


def lightning_like_module() -> None:
    """A hand-written Lightning: configure_optimizers, training_step, early stopping on the validation loss."""
    torch.manual_seed(10)

    class LitModule(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = nn.Sequential(
                nn.Linear(30, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.3), nn.Linear(32, 1)
            )
            self.loss = nn.BCEWithLogitsLoss()

        def forward(self, x):
            return self.net(x).squeeze(-1)

        def training_step(self, batch, batch_idx):
            x, y = batch
            return self.loss(self(x), y)

        def validation_step(self, batch, batch_idx):
            x, y = batch
            z = self(x)
            return {"val_loss": self.loss(z, y), "val_acc": ((z > 0) == (y > 0.5)).float().mean()}

        def configure_optimizers(self):
            opt = optim.Adam(self.parameters(), lr=1e-3, weight_decay=1e-4)
            return opt, optim.lr_scheduler.ReduceLROnPlateau(opt, factor=0.5, patience=4)

    class EarlyStopping:
        def __init__(self, patience):
            self.patience, self.best, self.wait, self.state = patience, float("inf"), 0, None

        def on_validation_end(self, trainer, module):
            current = trainer.callback_metrics["val_loss"]
            if current < self.best - 1e-4:
                self.best, self.wait = current, 0
                self.state = {k: v.detach().clone() for k, v in module.state_dict().items()}
            else:
                self.wait += 1
                trainer.should_stop = self.wait >= self.patience

        def on_fit_end(self, trainer, module):
            module.load_state_dict(self.state)

    class Trainer:
        def __init__(self, max_epochs, callbacks, gradient_clip_val=None):
            self.max_epochs, self.callbacks, self.clip = max_epochs, callbacks, gradient_clip_val
            self.should_stop, self.callback_metrics = False, {}

        def call(self, hook, module):
            for cb in self.callbacks:
                if hasattr(cb, hook):
                    getattr(cb, hook)(self, module)

        def fit(self, module, train_dl, val_dl):
            opt, plateau = module.configure_optimizers()
            for self.current_epoch in range(self.max_epochs):
                module.train()
                losses = []
                for i, batch in enumerate(train_dl):
                    loss = module.training_step(batch, i)
                    opt.zero_grad()
                    loss.backward()
                    if self.clip:
                        nn.utils.clip_grad_norm_(module.parameters(), self.clip)
                    opt.step()
                    losses.append(loss.detach())
                self.callback_metrics["train_loss"] = torch.stack(losses).mean().item()
                self.validate(module, val_dl)
                plateau.step(self.callback_metrics["val_loss"])
                self.call("on_validation_end", module)
                if self.should_stop:
                    break
            self.call("on_fit_end", module)

        def validate(self, module, dl):
            module.eval()
            with torch.no_grad():
                outs = [(module.validation_step(b, i), len(b[0])) for i, b in enumerate(dl)]
            n = sum(k for _, k in outs)
            for key in outs[0][0]:
                self.callback_metrics[key] = sum(o[key].item() * k for o, k in outs) / n

    X, y = load_breast_cancer(return_X_y=True)
    order = np.random.default_rng(10).permutation(len(y))
    X, y = X[order], y[order]
    X = (X - X[:400].mean(0)) / X[:400].std(0)
    X, y = torch.tensor(X, dtype=torch.float32), torch.tensor(y, dtype=torch.float32)
    trainer = Trainer(80, [EarlyStopping(20)], gradient_clip_val=1.0)
    module = LitModule()
    trainer.fit(
        module,
        DataLoader(TensorDataset(X[:400], y[:400]), 16, shuffle=True),
        DataLoader(TensorDataset(X[400:], y[400:]), 64),
    )
    trainer.validate(module, DataLoader(TensorDataset(X[400:], y[400:]), 64))
    print(trainer.current_epoch, {k: round(v, 4) for k, v in trainer.callback_metrics.items()})


def huggingface_like_trainer() -> None:
    """Hugging Face's Trainer by hand: masked-LM collator with -100, no-decay groups, linear schedule, accumulation."""
    torch.manual_seed(11)
    rng = np.random.default_rng(11)
    V, PAD, MASK = 34, 0, 1
    words = [w for w in corpus().replace(",", " ").replace(".", " ").split() if 3 <= len(w) <= 12]
    rng.shuffle(words)
    seqs = [[ord(c) - ord("a") + 2 for c in w] for w in words]
    n_train = int(0.85 * len(seqs))

    def data_collator(features):
        m = max(map(len, features))
        ids = torch.tensor([f + [PAD] * (m - len(f)) for f in features])
        attention_mask = (ids != PAD).long()
        pick = torch.bernoulli(torch.full(ids.shape, 0.2)).bool() & (ids != PAD)
        labels = torch.where(pick, ids, torch.tensor(-100))
        return {
            "input_ids": ids.masked_fill(pick, MASK),
            "attention_mask": attention_mask,
            "labels": labels,
        }

    class BertForMaskedLM(nn.Module):
        def __init__(self, d=48):
            super().__init__()
            self.word, self.position, self.LayerNorm = (
                nn.Embedding(V, d, padding_idx=PAD),
                nn.Embedding(16, d),
                nn.LayerNorm(d),
            )
            layer = nn.TransformerEncoderLayer(
                d, 4, 96, dropout=0.0, batch_first=True, activation="gelu"
            )
            self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
            self.decoder = nn.Linear(d, V)

        def forward(self, input_ids, attention_mask, labels=None):
            h = self.LayerNorm(self.word(input_ids) + self.position(torch.arange(input_ids.size(1))))
            logits = self.decoder(self.encoder(h, src_key_padding_mask=attention_mask == 0))
            return {"loss": F.cross_entropy(logits.view(-1, V), labels.view(-1)), "logits": logits}

    class Trainer:
        def __init__(self, model, args, train_dataset, eval_dataset):
            self.model, self.args, self.train_dataset, self.eval_dataset = (
                model,
                args,
                train_dataset,
                eval_dataset,
            )
            self.state = {"global_step": 0, "log_history": []}

        def create_optimizer_and_scheduler(self, num_training_steps):
            no_decay = ["bias", "LayerNorm", "norm"]
            named = list(self.model.named_parameters())
            self.optimizer = optim.AdamW(
                [
                    {
                        "params": [p for n, p in named if not any(nd in n for nd in no_decay)],
                        "weight_decay": self.args["weight_decay"],
                    },
                    {
                        "params": [p for n, p in named if any(nd in n for nd in no_decay)],
                        "weight_decay": 0.0,
                    },
                ],
                lr=self.args["learning_rate"],
            )
            warm = self.args["warmup_steps"]
            self.lr_scheduler = LambdaLR(
                self.optimizer,
                lambda s: (
                    s / max(1, warm)
                    if s < warm
                    else max(0.0, (num_training_steps - s) / (num_training_steps - warm))
                ),
            )

        def training_step(self, model, inputs):
            model.train()
            loss = model(**inputs)["loss"] / self.args["gradient_accumulation_steps"]
            loss.backward()
            return loss.detach()

        def train(self):
            dl = DataLoader(
                self.train_dataset, self.args["batch_size"], shuffle=True, collate_fn=data_collator
            )
            acc = self.args["gradient_accumulation_steps"]
            self.create_optimizer_and_scheduler(-(-len(dl) // acc) * self.args["num_train_epochs"])
            self.model.zero_grad()
            tr_loss = torch.tensor(0.0)
            for epoch in range(self.args["num_train_epochs"]):
                for step, inputs in enumerate(dl):
                    tr_loss += self.training_step(self.model, inputs)
                    if (step + 1) % acc == 0 or step + 1 == len(dl):
                        nn.utils.clip_grad_norm_(self.model.parameters(), self.args["max_grad_norm"])
                        self.optimizer.step()
                        self.lr_scheduler.step()
                        self.model.zero_grad()
                        self.state["global_step"] += 1
                        if self.state["global_step"] % 50 == 0:
                            self.state["log_history"].append(round(tr_loss.item() / 50, 4))
                            tr_loss -= tr_loss

        @torch.no_grad()
        def evaluate(self):
            self.model.eval()
            torch.manual_seed(0)
            dl = DataLoader(self.eval_dataset, 64, collate_fn=data_collator)
            return float(np.mean([self.model(**b)["loss"].item() for b in dl]))

    args = {
        "learning_rate": 4e-3,
        "weight_decay": 0.01,
        "warmup_steps": 30,
        "batch_size": 16,
        "gradient_accumulation_steps": 2,
        "num_train_epochs": 7,
        "max_grad_norm": 1.0,
    }
    trainer = Trainer(BertForMaskedLM(), args, seqs[:n_train], seqs[n_train:])
    trainer.train()
    print(trainer.state, "eval", trainer.evaluate())


def pytorch_examples_vae() -> None:
    """pytorch/examples vae: BCE summed over pixels plus KL, mean per sample reported."""
    torch.manual_seed(12)

    class VAE(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc1, self.fc21, self.fc22 = nn.Linear(64, 100), nn.Linear(100, 8), nn.Linear(100, 8)
            self.fc3, self.fc4 = nn.Linear(8, 100), nn.Linear(100, 64)

        def encode(self, x):
            h1 = F.relu(self.fc1(x))
            return self.fc21(h1), self.fc22(h1)

        def reparameterize(self, mu, logvar):
            std = torch.exp(0.5 * logvar)
            return mu + torch.randn_like(std) * std

        def decode(self, z):
            return torch.sigmoid(self.fc4(F.relu(self.fc3(z))))

        def forward(self, x):
            mu, logvar = self.encode(x.view(-1, 64))
            return self.decode(self.reparameterize(mu, logvar)), mu, logvar

    def loss_function(recon_x, x, mu, logvar):
        BCE = F.binary_cross_entropy(recon_x, x.view(-1, 64), reduction="sum")
        KLD = -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())
        return BCE + KLD

    a, b, c, d = digits(seed=12)
    a, c = (a * 0.376 + 0.305).clamp(0, 1), (c * 0.376 + 0.305).clamp(0, 1)
    train_loader = DataLoader(TensorDataset(a, b), batch_size=64, shuffle=True)
    test_loader = DataLoader(TensorDataset(c, d), batch_size=64)
    model = VAE()
    optimizer = optim.Adam(model.parameters(), lr=1e-3)
    for epoch in range(1, 46):
        model.train()
        train_loss = 0
        for data, _ in train_loader:
            optimizer.zero_grad()
            recon_batch, mu, logvar = model(data)
            loss = loss_function(recon_batch, data, mu, logvar)
            loss.backward()
            train_loss += loss.item()
            optimizer.step()
        model.eval()
        test_loss = 0
        with torch.no_grad():
            for data, _ in test_loader:
                recon_batch, mu, logvar = model(data)
                test_loss += loss_function(recon_batch, data, mu, logvar).item()
    print(f"average loss {train_loss / len(a):.4f} test {test_loss / len(c):.4f}")


def word_language_model() -> None:
    """pytorch/examples word_language_model: batchify, repackage_hidden, clipping, own SGD, annealing by validation."""
    torch.manual_seed(13)
    ids_text = corpus()
    vocab = sorted(set(ids_text))
    data = torch.tensor([vocab.index(c) for c in ids_text])
    bptt, ntokens = 25, len(vocab)

    def batchify(data, bsz):
        nbatch = data.size(0) // bsz
        return data.narrow(0, 0, nbatch * bsz).view(bsz, -1).t().contiguous()

    cut = int(0.9 * len(data))
    train_data, val_data = batchify(data[:cut], 16), batchify(data[cut:], 8)

    class RNNModel(nn.Module):
        def __init__(self, ninp=32, nhid=64):
            super().__init__()
            self.drop = nn.Dropout(0.1)
            self.encoder, self.rnn, self.decoder = (
                nn.Embedding(ntokens, ninp),
                nn.LSTM(ninp, nhid),
                nn.Linear(nhid, ntokens),
            )
            nn.init.uniform_(self.encoder.weight, -0.1, 0.1)
            nn.init.zeros_(self.decoder.bias)
            nn.init.uniform_(self.decoder.weight, -0.1, 0.1)

        def forward(self, input, hidden):
            output, hidden = self.rnn(self.drop(self.encoder(input)), hidden)
            return F.log_softmax(self.decoder(self.drop(output)).view(-1, ntokens), dim=1), hidden

        def init_hidden(self, bsz):
            weight = next(self.parameters())
            return weight.new_zeros(1, bsz, 64), weight.new_zeros(1, bsz, 64)

    def repackage_hidden(h):
        if isinstance(h, torch.Tensor):
            return h.detach()
        return tuple(repackage_hidden(v) for v in h)

    def get_batch(source, i):
        seq_len = min(bptt, len(source) - 1 - i)
        return source[i : i + seq_len], source[i + 1 : i + 1 + seq_len].view(-1)

    model, criterion = RNNModel(), nn.NLLLoss()

    def evaluate(data_source):
        model.eval()
        total_loss, hidden = 0.0, model.init_hidden(8)
        with torch.no_grad():
            for i in range(0, data_source.size(0) - 1, bptt):
                x, targets = get_batch(data_source, i)
                output, hidden = model(x, hidden)
                hidden = repackage_hidden(hidden)
                total_loss += len(x) * criterion(output, targets).item()
        return total_loss / (len(data_source) - 1)

    def train():
        model.train()
        total_loss, hidden, n = 0.0, model.init_hidden(16), 0
        for i in range(0, train_data.size(0) - 1, bptt):
            x, targets = get_batch(train_data, i)
            model.zero_grad()
            hidden = repackage_hidden(hidden)
            output, hidden = model(x, hidden)
            loss = criterion(output, targets)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
            for p in model.parameters():
                p.data.add_(p.grad, alpha=-lr)
            total_loss += loss.item()
            n += 1
        return total_loss / n

    lr, best_val_loss, first = 5.0, None, None
    for epoch in range(1, 23):
        tr = train()
        first = first or tr
        val_loss = evaluate(val_data)
        if not best_val_loss or val_loss < best_val_loss:
            best_val_loss = val_loss
        else:
            lr /= 4.0
    print(f"train {first:.3f} -> {tr:.3f} val {val_loss:.3f} lr {lr}")


def pygcn_full_batch() -> None:
    """Kipf's pygcn: one graph, the same full batch at every epoch, masks for the splits, dropout by self.training."""
    torch.manual_seed(42)
    n, k = 900, 4
    labels = torch.randint(0, k, (n,))
    same = labels[:, None] == labels[None, :]
    adj = torch.triu((torch.rand(n, n) < torch.where(same, 0.02, 0.003)).float(), 1)
    adj = adj + adj.T + torch.eye(n)
    adj = (adj / adj.sum(1, keepdim=True)).to_sparse()
    features = torch.randn(n, 40) + (torch.randn(k, 40) * 0.6)[labels]
    idx_train, idx_val, idx_test = torch.arange(200), torch.arange(200, 500), torch.arange(500, n)

    class GraphConvolution(nn.Module):
        def __init__(self, in_features, out_features):
            super().__init__()
            self.weight = nn.Parameter(torch.empty(in_features, out_features))
            self.bias = nn.Parameter(torch.empty(out_features))
            stdv = 1.0 / math.sqrt(out_features)
            self.weight.data.uniform_(-stdv, stdv)
            self.bias.data.uniform_(-stdv, stdv)

        def forward(self, input, adj):
            return torch.spmm(adj, torch.mm(input, self.weight)) + self.bias

    class GCN(nn.Module):
        def __init__(self, nfeat, nhid, nclass, dropout):
            super().__init__()
            self.gc1, self.gc2, self.dropout = (
                GraphConvolution(nfeat, nhid),
                GraphConvolution(nhid, nclass),
                dropout,
            )

        def forward(self, x, adj):
            x = F.relu(self.gc1(x, adj))
            x = F.dropout(x, self.dropout, training=self.training)
            return F.log_softmax(self.gc2(x, adj), dim=1)

    def accuracy(output, labels):
        return (output.max(1)[1].type_as(labels) == labels).double().mean().item()

    model = GCN(40, 16, k, 0.5)
    optimizer = optim.Adam(model.parameters(), lr=0.01, weight_decay=5e-4)
    for epoch in range(600):
        model.train()
        optimizer.zero_grad()
        output = model(features, adj)
        loss_train = F.nll_loss(output[idx_train], labels[idx_train])
        loss_train.backward()
        optimizer.step()
        model.eval()
        with torch.no_grad():
            acc_val = accuracy(model(features, adj)[idx_val], labels[idx_val])
    model.eval()
    with torch.no_grad():
        acc_test = accuracy(model(features, adj)[idx_test], labels[idx_test])
    print(f"loss_train {loss_train.item():.4f} acc_val {acc_val:.4f} acc_test {acc_test:.4f}")


HEALTHY = [
    nanogpt_train,
    mingpt_trainer_sort,
    pytorch_examples_mnist,
    pytorch_examples_imagenet,
    dcgan_tutorial,
    cleanrl_ppo,
    cleanrl_dqn,
    annotated_transformer_copy,
    d2l_scratch,
    fastai_like_learner,
    makemore_mlp,
    lucidrains_ddpm_trainer,
    timm_like_mixup,
    sentence_transformers_mnrl,
    detectron_like_hooks,
    lightning_like_module,
    huggingface_like_trainer,
    pytorch_examples_vae,
    word_language_model,
    pygcn_full_batch,
]
