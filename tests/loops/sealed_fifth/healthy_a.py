import math
import random

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.optim as optim
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch.distributions import Categorical
from torch.optim.lr_scheduler import StepLR
from torch.utils.data import DataLoader, Dataset, TensorDataset


# ---------------------------------------------------------------- mnist-like
class Net(nn.Module):
    def __init__(self):
        super(Net, self).__init__()
        self.conv1 = nn.Conv2d(1, 32, 3, 1, padding=1)
        self.conv2 = nn.Conv2d(32, 64, 3, 1)
        self.dropout1 = nn.Dropout(0.25)
        self.dropout2 = nn.Dropout(0.5)
        self.fc1 = nn.Linear(64 * 3 * 3, 128)
        self.fc2 = nn.Linear(128, 10)

    def forward(self, x):
        x = F.relu(self.conv1(x))
        x = F.relu(self.conv2(x))
        x = F.max_pool2d(x, 2)
        x = self.dropout1(x)
        x = torch.flatten(x, 1)
        x = F.relu(self.fc1(x))
        x = self.dropout2(x)
        return F.log_softmax(self.fc2(x), dim=1)


def _train_epoch(log_interval, model, device, train_loader, optimizer, epoch):
    model.train()
    for batch_idx, (data, target) in enumerate(train_loader):
        data, target = data.to(device), target.to(device)
        optimizer.zero_grad()
        output = model(data)
        loss = F.nll_loss(output, target)
        loss.backward()
        optimizer.step()
        if batch_idx % log_interval == 0:
            print(
                f"Train Epoch: {epoch} [{batch_idx * len(data)}/{len(train_loader.dataset)}]\tLoss: {loss.item():.6f}"
            )


def _test_epoch(model, device, test_loader):
    model.eval()
    test_loss = 0
    correct = 0
    with torch.no_grad():
        for data, target in test_loader:
            data, target = data.to(device), target.to(device)
            output = model(data)
            test_loss += F.nll_loss(output, target, reduction="sum").item()
            pred = output.argmax(dim=1, keepdim=True)
            correct += pred.eq(target.view_as(pred)).sum().item()
    test_loss /= len(test_loader.dataset)
    print(f"\nTest set: Average loss: {test_loss:.4f}, Accuracy: {correct}/{len(test_loader.dataset)}\n")
    return test_loss


def digits_cnn_example():
    torch.manual_seed(1)
    device = torch.device("cpu")
    X, y = load_digits(return_X_y=True)
    Xtr, Xte, ytr, yte = train_test_split(X, y, test_size=0.2, random_state=0, stratify=y)
    mean, std = Xtr.mean(), Xtr.std()

    def ds(a, b):
        a = (torch.tensor(a, dtype=torch.float32).view(-1, 1, 8, 8) - mean) / std
        return TensorDataset(a.float(), torch.tensor(b))

    train_loader = DataLoader(ds(Xtr, ytr), batch_size=64, shuffle=True)
    test_loader = DataLoader(ds(Xte, yte), batch_size=500)
    model = Net().to(device)
    optimizer = optim.Adadelta(model.parameters(), lr=1.0)
    scheduler = StepLR(optimizer, step_size=1, gamma=0.7)
    for epoch in range(1, 6):
        _train_epoch(10, model, device, train_loader, optimizer, epoch)
        final = _test_epoch(model, device, test_loader)
        scheduler.step()
    return "lower", final, math.log(10)


# ---------------------------------------------------------------- word LM
class Corpus:
    """Tiny generated language: subject verb object with agreement by topic."""

    def __init__(self, seed):
        topics = []
        for t in range(4):
            topics.append(
                dict(
                    s=[f"s{t}{i}" for i in range(4)],
                    v=[f"v{t}{i}" for i in range(3)],
                    o=[f"o{t}{i}" for i in range(4)],
                )
            )
        words = ["<eos>", "the", "a", "and"]
        for t in topics:
            words += t["s"] + t["v"] + t["o"]
        self.idx = {w: i for i, w in enumerate(words)}
        rng = random.Random(seed)
        self.train = self._make(rng, topics, 1500)
        self.valid = self._make(rng, topics, 250)

    def _make(self, rng, topics, n):
        out = []
        for _ in range(n):
            t = rng.choice(topics)
            sent = ["the", rng.choice(t["s"]), rng.choice(t["v"]), "a", rng.choice(t["o"])]
            if rng.random() < 0.3:
                sent += ["and", "a", rng.choice(t["o"])]
            out += [self.idx[w] for w in sent + ["<eos>"]]
        return torch.tensor(out)


class RNNModel(nn.Module):
    def __init__(self, ntoken, ninp, nhid, nlayers, dropout=0.2):
        super().__init__()
        self.ntoken = ntoken
        self.drop = nn.Dropout(dropout)
        self.encoder = nn.Embedding(ntoken, ninp)
        self.rnn = nn.LSTM(ninp, nhid, nlayers, dropout=dropout)
        self.decoder = nn.Linear(nhid, ntoken)
        self.nhid, self.nlayers = nhid, nlayers
        nn.init.uniform_(self.encoder.weight, -0.1, 0.1)
        nn.init.zeros_(self.decoder.bias)
        nn.init.uniform_(self.decoder.weight, -0.1, 0.1)

    def forward(self, x, hidden):
        emb = self.drop(self.encoder(x))
        out, hidden = self.rnn(emb, hidden)
        return F.log_softmax(self.decoder(self.drop(out)).view(-1, self.ntoken), dim=1), hidden

    def init_hidden(self, bsz):
        w = next(self.parameters())
        return w.new_zeros(self.nlayers, bsz, self.nhid), w.new_zeros(self.nlayers, bsz, self.nhid)


def repackage_hidden(h):
    if isinstance(h, torch.Tensor):
        return h.detach()
    return tuple(repackage_hidden(v) for v in h)


def word_language_model():
    torch.manual_seed(1111)
    corpus = Corpus(3)
    bptt = 20

    def batchify(data, bsz):
        nbatch = data.size(0) // bsz
        return data.narrow(0, 0, nbatch * bsz).view(bsz, -1).t().contiguous()

    def get_batch(source, i):
        n = min(bptt, len(source) - 1 - i)
        return source[i : i + n], source[i + 1 : i + 1 + n].view(-1)

    train_data, val_data = batchify(corpus.train, 16), batchify(corpus.valid, 10)
    ntokens = len(corpus.idx)
    model = RNNModel(ntokens, 100, 100, 2)
    criterion = nn.NLLLoss()
    lr, clip, best_val = 10.0, 0.25, None

    def evaluate(source):
        model.eval()
        total = 0.0
        hidden = model.init_hidden(source.size(1))
        with torch.no_grad():
            for i in range(0, source.size(0) - 1, bptt):
                data, targets = get_batch(source, i)
                output, hidden = model(data, hidden)
                hidden = repackage_hidden(hidden)
                total += len(data) * criterion(output, targets).item()
        return total / (len(source) - 1)

    for epoch in range(1, 8):
        model.train()
        total_loss = 0.0
        hidden = model.init_hidden(16)
        for batch, i in enumerate(range(0, train_data.size(0) - 1, bptt)):
            data, targets = get_batch(train_data, i)
            model.zero_grad()
            hidden = repackage_hidden(hidden)
            output, hidden = model(data, hidden)
            loss = criterion(output, targets)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
            for p in model.parameters():
                p.data.add_(p.grad, alpha=-lr)
            total_loss += loss.item()
            if batch % 10 == 9:
                print(
                    "| epoch {:3d} | {:5d} | lr {:02.2f} | loss {:5.2f}".format(
                        epoch, batch, lr, total_loss / 10
                    )
                )
                total_loss = 0
        val_loss = evaluate(val_data)
        print(f"| end of epoch {epoch} | valid loss {val_loss:.2f} | ppl {math.exp(val_loss):.2f}")
        if best_val is None or val_loss < best_val:
            best_val = val_loss
        else:
            lr /= 4.0
    freq = torch.bincount(corpus.train, minlength=ntokens).float()
    p = freq / freq.sum()
    return "lower", val_loss, -(p[p > 0] * p[p > 0].log()).sum().item()


# ---------------------------------------------------------------- VAE
class VAE(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(64, 400)
        self.fc21 = nn.Linear(400, 10)
        self.fc22 = nn.Linear(400, 10)
        self.fc3 = nn.Linear(10, 400)
        self.fc4 = nn.Linear(400, 64)

    def encode(self, x):
        h1 = F.relu(self.fc1(x))
        return self.fc21(h1), self.fc22(h1)

    def reparameterize(self, mu, logvar):
        std = torch.exp(0.5 * logvar)
        eps = torch.randn_like(std)
        return mu + eps * std

    def decode(self, z):
        return torch.sigmoid(self.fc4(F.relu(self.fc3(z))))

    def forward(self, x):
        mu, logvar = self.encode(x.view(-1, 64))
        z = self.reparameterize(mu, logvar)
        return self.decode(z), mu, logvar


def vae_example():
    torch.manual_seed(1)
    X = np.unique((load_digits().data > 7).astype("float32"), axis=0)
    Xtr, Xte = train_test_split(X, test_size=0.15, random_state=2)
    train_loader = DataLoader(torch.from_numpy(Xtr), batch_size=64, shuffle=True)
    test_loader = DataLoader(torch.from_numpy(Xte), batch_size=128, shuffle=False)
    model = VAE()
    optimizer = optim.Adam(model.parameters(), lr=4e-3)

    def loss_function(recon_x, x, mu, logvar):
        BCE = F.binary_cross_entropy(recon_x, x.view(-1, 64), reduction="sum")
        KLD = -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())
        return BCE + KLD

    for epoch in range(1, 11):
        model.train()
        train_loss = 0
        for batch_idx, data in enumerate(train_loader):
            optimizer.zero_grad()
            recon_batch, mu, logvar = model(data)
            loss = loss_function(recon_batch, data, mu, logvar)
            loss.backward()
            train_loss += loss.item()
            optimizer.step()
        print(
            "====> Epoch: {} Average loss: {:.4f}".format(epoch, train_loss / len(train_loader.dataset))
        )
        model.eval()
        test_loss = 0
        with torch.no_grad():
            for data in test_loader:
                recon_batch, mu, logvar = model(data)
                test_loss += loss_function(recon_batch, data, mu, logvar).item()
        test_loss /= len(test_loader.dataset)
        with torch.no_grad():
            sample = model.decode(torch.randn(16, 10)).cpu()
            _ = sample.view(16, 1, 8, 8)
    mean = torch.from_numpy(Xtr).mean(0).clamp(1e-3, 1 - 1e-3)
    xt = torch.from_numpy(Xte)
    base = F.binary_cross_entropy(mean.expand_as(xt), xt, reduction="sum").item() / len(xt)
    return "lower", test_loss, base


# ---------------------------------------------------------------- DCGAN
def weights_init(m):
    classname = m.__class__.__name__
    if classname.find("Conv") != -1:
        torch.nn.init.normal_(m.weight, 0.0, 0.02)
    elif classname.find("BatchNorm") != -1:
        torch.nn.init.normal_(m.weight, 1.0, 0.02)
        torch.nn.init.zeros_(m.bias)


class Generator(nn.Module):
    def __init__(self, nz, ngf):
        super().__init__()
        self.main = nn.Sequential(
            nn.ConvTranspose2d(nz, ngf * 2, 4, 1, 0, bias=False),
            nn.BatchNorm2d(ngf * 2),
            nn.ReLU(True),
            nn.ConvTranspose2d(ngf * 2, ngf, 4, 2, 1, bias=False),
            nn.BatchNorm2d(ngf),
            nn.ReLU(True),
            nn.ConvTranspose2d(ngf, 1, 4, 2, 1, bias=False),
            nn.Tanh(),
        )

    def forward(self, z):
        return self.main(z)


class Discriminator(nn.Module):
    def __init__(self, ndf):
        super().__init__()
        self.main = nn.Sequential(
            nn.Conv2d(1, ndf, 4, 2, 1, bias=False),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(ndf, ndf * 2, 4, 2, 1, bias=False),
            nn.BatchNorm2d(ndf * 2),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(ndf * 2, 1, 4, 1, 0, bias=False),
            nn.Sigmoid(),
        )

    def forward(self, x):
        return self.main(x).view(-1, 1).squeeze(1)


def dcgan_example():
    torch.manual_seed(999)
    imgs = torch.tensor(load_digits().images, dtype=torch.float32).unsqueeze(1) / 8.0 - 1.0
    imgs = F.interpolate(imgs, size=16, mode="bilinear", align_corners=False)
    dataloader = DataLoader(TensorDataset(imgs), batch_size=64, shuffle=True, drop_last=True)
    nz = 24
    netG, netD = Generator(nz, 32), Discriminator(16)
    netG.apply(weights_init)
    netD.apply(weights_init)
    criterion = nn.BCELoss()
    fixed_noise = torch.randn(256, nz, 1, 1)
    real_label, fake_label = 1, 0
    optimizerD = optim.Adam(netD.parameters(), lr=5e-4, betas=(0.5, 0.999))
    optimizerG = optim.Adam(netG.parameters(), lr=1e-3, betas=(0.5, 0.999))

    def mean_gap():
        netG.eval()
        with torch.no_grad():
            f = netG(fixed_noise)
        netG.train()
        return ((f.mean(0) - imgs.mean(0)).pow(2).mean() + (f.std(0) - imgs.std(0)).pow(2).mean()).item()

    netG(torch.randn(64, nz, 1, 1))
    first = mean_gap()
    for epoch in range(4):
        for i, data in enumerate(dataloader, 0):
            # (1) update D: maximize log(D(x)) + log(1 - D(G(z)))
            netD.zero_grad()
            real = data[0]
            b = real.size(0)
            label = torch.full((b,), real_label, dtype=real.dtype)
            output = netD(real)
            errD_real = criterion(output, label)
            errD_real.backward()
            D_x = output.mean().item()
            noise = torch.randn(b, nz, 1, 1)
            fake = netG(noise)
            label.fill_(fake_label)
            output = netD(fake.detach())
            errD_fake = criterion(output, label)
            errD_fake.backward()
            D_G_z1 = output.mean().item()
            errD = errD_real + errD_fake
            optimizerD.step()
            # (2) update G: maximize log(D(G(z)))
            netG.zero_grad()
            label.fill_(real_label)
            output = netD(fake)
            errG = criterion(output, label)
            errG.backward()
            D_G_z2 = output.mean().item()
            optimizerG.step()
            if i % 9 == 0:
                print(
                    "[%d][%d/%d] Loss_D: %.4f Loss_G: %.4f D(x): %.4f D(G(z)): %.4f / %.4f"
                    % (epoch, i, len(dataloader), errD.item(), errG.item(), D_x, D_G_z1, D_G_z2)
                )
    return "lower", mean_gap(), first


# ---------------------------------------------------------------- Siamese
class SiameseNetwork(nn.Module):
    def __init__(self):
        super().__init__()
        self.cnn = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1),
            nn.ReLU(),
            nn.Flatten(),
        )
        self.fc = nn.Sequential(nn.Linear(2 * 512, 128), nn.ReLU(inplace=True), nn.Linear(128, 1))
        self.sigmoid = nn.Sigmoid()
        self.cnn.apply(self.init_weights)
        self.fc.apply(self.init_weights)

    def init_weights(self, m):
        if isinstance(m, nn.Linear):
            nn.init.xavier_uniform_(m.weight)
            m.bias.data.fill_(0.01)

    def forward(self, input1, input2):
        o1, o2 = self.cnn(input1), self.cnn(input2)
        # symmetric features so that the order of the pair is of no matter
        return self.sigmoid(self.fc(torch.cat(((o1 - o2).abs(), o1 * o2), 1)))


class PairMatcher(Dataset):
    def __init__(self, X, y, size, seed):
        self.X, self.y = X, y
        self.groups = {c: np.flatnonzero(y == c) for c in range(10)}
        rng = np.random.default_rng(seed)
        self.pairs = []
        for i in range(size):
            c = rng.integers(10)
            a = rng.choice(self.groups[c])
            if i % 2 == 0:
                b = rng.choice(self.groups[c])
                while b == a:
                    b = rng.choice(self.groups[c])
                self.pairs.append((a, b, 1.0))
            else:
                d = (c + rng.integers(1, 10)) % 10
                self.pairs.append((a, rng.choice(self.groups[d]), 0.0))

    def __len__(self):
        return len(self.pairs)

    def __getitem__(self, i):
        a, b, t = self.pairs[i]
        return self.X[a], self.X[b], torch.tensor(t, dtype=torch.float)


def siamese_example():
    torch.manual_seed(5)
    X, y = load_digits(return_X_y=True)
    Xtr, Xte, ytr, yte = train_test_split(X, y, test_size=0.25, random_state=1, stratify=y)
    f = lambda a: torch.tensor(a / 16.0, dtype=torch.float32).view(-1, 1, 8, 8)
    train_loader = DataLoader(PairMatcher(f(Xtr), ytr, 3200, 0), batch_size=64, shuffle=True)
    test_loader = DataLoader(PairMatcher(f(Xte), yte, 600, 1), batch_size=200)
    model = SiameseNetwork()
    criterion = nn.BCELoss()
    optimizer = optim.Adam(model.parameters(), lr=1e-3)
    for epoch in range(4):
        model.train()
        for i1, i2, t in train_loader:
            optimizer.zero_grad()
            out = model(i1, i2).squeeze()
            loss = criterion(out, t)
            loss.backward()
            optimizer.step()
        model.eval()
        test_loss, correct = 0, 0
        with torch.no_grad():
            for i1, i2, t in test_loader:
                out = model(i1, i2).squeeze()
                test_loss += criterion(out, t).sum().item() * len(t)
                pred = torch.where(out > 0.5, 1, 0)
                correct += pred.eq(t.view_as(pred)).sum().item()
        test_loss /= len(test_loader.dataset)
        print(f"epoch {epoch} test {test_loss:.4f} acc {correct / len(test_loader.dataset):.3f}")
    return "lower", test_loss, math.log(2)


# ---------------------------------------------------------------- super resolution
class ESPCN(nn.Module):
    def __init__(self, upscale_factor):
        super().__init__()
        self.relu = nn.ReLU()
        self.conv1 = nn.Conv2d(1, 32, (5, 5), (1, 1), (2, 2))
        self.conv2 = nn.Conv2d(32, 32, (3, 3), (1, 1), (1, 1))
        self.conv3 = nn.Conv2d(32, upscale_factor**2, (3, 3), (1, 1), (1, 1))
        self.pixel_shuffle = nn.PixelShuffle(upscale_factor)
        nn.init.orthogonal_(self.conv1.weight, nn.init.calculate_gain("relu"))
        nn.init.orthogonal_(self.conv2.weight, nn.init.calculate_gain("relu"))
        nn.init.orthogonal_(self.conv3.weight)

    def forward(self, x):
        return self.pixel_shuffle(self.conv3(self.relu(self.conv2(self.relu(self.conv1(x))))))


class ShapesSR(Dataset):
    def __init__(self, n, seed):
        g = torch.Generator().manual_seed(seed)
        yy, xx = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")
        self.hr = []
        for _ in range(n):
            img = torch.zeros(32, 32)
            for _ in range(4):
                cx, cy, r, v, th = torch.rand(5, generator=g).tolist()
                d = (xx - cx * 32) * math.cos(th * 3.14) + (yy - cy * 32) * math.sin(th * 3.14)
                e = -(xx - cx * 32) * math.sin(th * 3.14) + (yy - cy * 32) * math.cos(th * 3.14)
                img = torch.where(
                    (d.abs() < 2 + 8 * r) & (e.abs() < 6), torch.tensor(0.2 + 0.8 * v), img
                )
            self.hr.append(img[None])

    def __len__(self):
        return len(self.hr)

    def __getitem__(self, i):
        hr = self.hr[i]
        return F.avg_pool2d(hr[None], 2)[0], hr


def super_resolution_example():
    torch.manual_seed(123)
    train_set, test_set = ShapesSR(320, 10), ShapesSR(60, 11)
    training_data_loader = DataLoader(train_set, batch_size=16, shuffle=True)
    testing_data_loader = DataLoader(test_set, batch_size=20, shuffle=False)
    model = ESPCN(2)
    criterion = nn.MSELoss()
    optimizer = optim.Adam(model.parameters(), lr=2e-3)
    for epoch in range(1, 13):
        epoch_loss = 0
        for iteration, batch in enumerate(training_data_loader, 1):
            input, target = batch[0], batch[1]
            optimizer.zero_grad()
            loss = criterion(model(input), target)
            epoch_loss += loss.item()
            loss.backward()
            optimizer.step()
        avg_psnr = 0
        mse_all = base_all = 0.0
        with torch.no_grad():
            for input, target in testing_data_loader:
                prediction = model(input)
                mse = criterion(prediction, target)
                avg_psnr += 10 * math.log10(1 / mse.item())
                mse_all += mse.item()
                base_all += criterion(
                    F.interpolate(input, scale_factor=2, mode="nearest"), target
                ).item()
        print(
            "===> Epoch {} loss {:.4f} PSNR: {:.4f} dB".format(
                epoch, epoch_loss / len(training_data_loader), avg_psnr / len(testing_data_loader)
            )
        )
    return "lower", mse_all, base_all


# ---------------------------------------------------------------- RL
class CartPole:
    def __init__(self, seed, limit=200):
        self.rng, self.limit = np.random.default_rng(seed), limit

    def reset(self):
        self.s = self.rng.uniform(-0.05, 0.05, 4)
        self.t = 0
        return self.s.astype(np.float32)

    def step(self, a):
        x, xd, th, thd = self.s
        f = 10.0 if a == 1 else -10.0
        c, s = math.cos(th), math.sin(th)
        tmp = (f + 0.05 * thd * thd * s) / 1.1
        tha = (9.8 * s - c * tmp) / (0.5 * (4 / 3 - 0.1 * c * c / 1.1))
        xa = tmp - 0.05 * tha * c / 1.1
        self.s = np.array([x + 0.02 * xd, xd + 0.02 * xa, th + 0.02 * thd, thd + 0.02 * tha])
        self.t += 1
        fell = abs(self.s[0]) > 2.4 or abs(self.s[2]) > 0.2095
        return self.s.astype(np.float32), 1.0, bool(fell), self.t >= self.limit


class Policy(nn.Module):
    def __init__(self):
        super(Policy, self).__init__()
        self.affine1 = nn.Linear(4, 128)
        self.dropout = nn.Dropout(p=0.2)
        self.affine2 = nn.Linear(128, 2)
        self.saved_log_probs = []
        self.rewards = []

    def forward(self, x):
        x = F.relu(self.dropout(self.affine1(x)))
        return F.softmax(self.affine2(x), dim=1)


def reinforce_example():
    torch.manual_seed(543)
    env = CartPole(543)
    policy = Policy()
    optimizer = optim.Adam(policy.parameters(), lr=1e-2)
    eps = np.finfo(np.float32).eps.item()
    running_reward = 10
    lengths = []
    for i_episode in range(140):
        state, ep_reward = env.reset(), 0
        while True:
            st = torch.from_numpy(state).float().unsqueeze(0)
            m = Categorical(policy(st))
            action = m.sample()
            policy.saved_log_probs.append(m.log_prob(action))
            state, reward, done, trunc = env.step(action.item())
            policy.rewards.append(reward)
            ep_reward += reward
            if done or trunc:
                break
        running_reward = 0.05 * ep_reward + 0.95 * running_reward
        lengths.append(ep_reward)
        R, policy_loss, returns = 0, [], []
        for r in policy.rewards[::-1]:
            R = r + 0.99 * R
            returns.insert(0, R)
        returns = torch.tensor(returns)
        returns = (returns - returns.mean()) / (returns.std() + eps)
        for log_prob, R in zip(policy.saved_log_probs, returns):
            policy_loss.append(-log_prob * R)
        optimizer.zero_grad()
        policy_loss = torch.cat(policy_loss).sum()
        policy_loss.backward()
        optimizer.step()
        del policy.rewards[:]
        del policy.saved_log_probs[:]
        if i_episode % 20 == 0:
            print(
                f"Episode {i_episode}\tLast reward: {ep_reward:.2f}\tAverage reward: {running_reward:.2f}"
            )
    return "higher", float(np.mean(lengths[-20:])), 22.0


class TwoHeaded(nn.Module):
    def __init__(self, nobs, nact):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(nobs, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh())
        self.action_head = nn.Linear(64, nact)
        self.value_head = nn.Linear(64, 1)

    def forward(self, x):
        h = self.body(x)
        return self.action_head(h), self.value_head(h).squeeze(-1)


class PointMass:
    """Many points at once, to be pushed (left, stay, right) to the origin; never ends, so bootstrapping is right."""

    def __init__(self, n, seed):
        self.n, self.rng = n, np.random.default_rng(seed)
        self.x = self.rng.uniform(-1, 1, (n, 2))

    def obs(self):
        return torch.as_tensor(self.x, dtype=torch.float32)

    def step(self, a):
        v = 0.8 * self.x[:, 1] + 0.1 * (a - 1)
        p = np.clip(self.x[:, 0] + v, -2, 2)
        self.x = np.stack([p, v], 1)
        jump = self.rng.random(self.n) < 0.04  # a gust of wind is part of the dynamics
        self.x[jump] = self.rng.uniform(-1, 1, (int(jump.sum()), 2)) * [1.5, 0.2]
        return -np.abs(self.x[:, 0])


def actor_critic_vectorised():
    torch.manual_seed(3)
    env = PointMass(32, 0)
    net = TwoHeaded(2, 3)
    opt = optim.Adam(net.parameters(), lr=3e-3)
    gamma, T = 0.95, 16
    history = []
    for update in range(160):
        logps, values, rewards, ents = [], [], [], []
        for _ in range(T):
            logits, v = net(env.obs())
            dist = Categorical(logits=logits)
            a = dist.sample()
            r = env.step(a.numpy())
            logps.append(dist.log_prob(a))
            ents.append(dist.entropy())
            values.append(v)
            rewards.append(torch.as_tensor(r, dtype=torch.float32))
        with torch.no_grad():
            _, R = net(env.obs())
        returns = []
        for r in reversed(rewards):
            R = r + gamma * R
            returns.append(R)
        returns = torch.stack(returns[::-1])
        values = torch.stack(values)
        adv = returns - values
        pg = -(torch.stack(logps) * adv.detach()).mean()
        loss = pg + 0.5 * adv.pow(2).mean() - 0.01 * torch.stack(ents).mean()
        opt.zero_grad()
        loss.backward()
        gn = nn.utils.clip_grad_norm_(net.parameters(), 0.5)
        opt.step()
        history.append(torch.stack(rewards).mean().item())
        if update % 40 == 0:
            print(f"update {update} mean reward {history[-1]:.3f} |g| {gn.item():.3f}")
    return "higher", float(np.mean(history[-20:])), float(np.mean(history[:3]))


# ---------------------------------------------------------------- forward-forward
class FFLayer(nn.Linear):
    def __init__(self, i, o, lr, threshold=2.0, steps=90):
        super().__init__(i, o)
        self.relu = nn.ReLU()
        self.opt = optim.Adam(self.parameters(), lr=lr)
        self.threshold, self.num_steps = threshold, steps

    def forward(self, x):
        x_direction = x / (x.pow(2).mean(1, keepdim=True).sqrt() + 1e-4)
        return self.relu(torch.mm(x_direction, self.weight.T) + self.bias.unsqueeze(0))

    def train_layer(self, x_pos, x_neg):
        for i in range(self.num_steps):
            g_pos = self.forward(x_pos).pow(2).mean(1)
            g_neg = self.forward(x_neg).pow(2).mean(1)
            loss = torch.log(
                1 + torch.exp(torch.cat([-g_pos + self.threshold, g_neg - self.threshold]))
            ).mean()
            self.opt.zero_grad()
            loss.backward()
            self.opt.step()
            if i % 30 == 0:
                print("  ff loss", loss.item())
        return self.forward(x_pos).detach(), self.forward(x_neg).detach()


def _overlay(x, y):
    onehot = F.one_hot(y, 10).float() * x.max()
    return torch.cat([onehot, x], 1)


def forward_forward_example():
    torch.manual_seed(1234)
    X, y = load_digits(return_X_y=True)
    Xtr, Xte, ytr, yte = train_test_split(X / 16.0, y, test_size=0.2, random_state=0, stratify=y)
    Xtr, Xte = torch.tensor(Xtr).float(), torch.tensor(Xte).float()
    ytr, yte = torch.tensor(ytr), torch.tensor(yte)
    layers = [FFLayer(74, 400, 6e-3), FFLayer(400, 400, 6e-3)]
    x_pos = _overlay(Xtr, ytr)
    x_neg = _overlay(Xtr, (ytr + torch.randint(1, 10, ytr.shape)) % 10)
    h_pos, h_neg = x_pos, x_neg
    for i, layer in enumerate(layers):
        print("training layer:", i)
        h_pos, h_neg = layer.train_layer(h_pos, h_neg)
    with torch.no_grad():
        goodness = []
        for label in range(10):
            h = _overlay(Xte, torch.full_like(yte, label))
            g = 0
            for layer in layers:
                h = layer(h)
                g = g + h.pow(2).mean(1)
            goodness.append(g.unsqueeze(1))
        acc = torch.cat(goodness, 1).argmax(1).eq(yte).float().mean().item()
    print("test error:", 1.0 - acc)
    return "higher", acc, 0.2


# ---------------------------------------------------------------- time sequence prediction
class Sequence(nn.Module):
    def __init__(self):
        super(Sequence, self).__init__()
        self.lstm1 = nn.LSTMCell(1, 24)
        self.lstm2 = nn.LSTMCell(24, 24)
        self.linear = nn.Linear(24, 1)

    def forward(self, input, future=0):
        outputs = []
        h_t = torch.zeros(input.size(0), 24, dtype=torch.double)
        c_t, h_t2, c_t2 = torch.zeros_like(h_t), torch.zeros_like(h_t), torch.zeros_like(h_t)
        for input_t in input.split(1, dim=1):
            h_t, c_t = self.lstm1(input_t, (h_t, c_t))
            h_t2, c_t2 = self.lstm2(h_t, (h_t2, c_t2))
            output = self.linear(h_t2)
            outputs += [output]
        for i in range(future):
            h_t, c_t = self.lstm1(output, (h_t, c_t))
            h_t2, c_t2 = self.lstm2(h_t, (h_t2, c_t2))
            output = self.linear(h_t2)
            outputs += [output]
        return torch.cat(outputs, dim=1)


def time_sequence_lbfgs():
    np.random.seed(0)
    torch.manual_seed(0)
    T, L, N = 20, 61, 30
    x = np.arange(L)[None, :] + np.random.randint(-4 * T, 4 * T, N).reshape(N, 1)
    data = np.sin(x / 1.0 / T * 4).astype("float64")
    input, target = torch.from_numpy(data[3:, :-1]), torch.from_numpy(data[3:, 1:])
    test_input, test_target = torch.from_numpy(data[:3, :-1]), torch.from_numpy(data[:3, 1:])
    seq = Sequence()
    seq.double()
    criterion = nn.MSELoss()
    optimizer = optim.LBFGS(seq.parameters(), lr=0.8, max_iter=3)
    for i in range(40):

        def closure():
            optimizer.zero_grad()
            out = seq(input)
            loss = criterion(out, target)
            loss.backward()
            return loss

        loss = optimizer.step(closure)
        if i % 8 == 7:
            print("STEP: ", i, "loss:", loss.item())
            with torch.no_grad():
                pred = seq(test_input, future=20)
                tl = criterion(pred[:, :-20], test_target)
                print("test loss:", tl.item())
                _ = pred.detach().numpy()
    return "lower", tl.item(), test_target.var().item()


LOOPS = [
    digits_cnn_example,
    word_language_model,
    vae_example,
    dcgan_example,
    siamese_example,
    super_resolution_example,
    reinforce_example,
    actor_critic_vectorised,
    forward_forward_example,
    time_sequence_lbfgs,
]
