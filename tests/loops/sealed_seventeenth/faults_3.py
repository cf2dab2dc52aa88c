"""Time series and text."""

import time

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import optim
from torch.utils.data import DataLoader, TensorDataset

from .common import (
    description_text,
    reviews,
    seasonal_series,
    seed_everything,
    sensor_signals,
    surnames,
    windows,
)


class LSTMForecaster(nn.Module):
    def __init__(self, hidden=32, horizon=1):
        super().__init__()
        self.lstm = nn.LSTM(1, hidden, batch_first=True)
        self.linear = nn.Linear(hidden, horizon)

    def forward(self, x):
        out, _ = self.lstm(x)
        return self.linear(out[:, -1])


def load_forecast_lstm(mistake):
    """zero_grad() stands between backward() and step(), so the step has no gradient to use."""
    seed_everything(0)
    x, y = windows(seasonal_series(1200), 24)
    x_train, y_train, x_test, y_test = x[:900], y[:900], x[900:], y[900:]
    loader = DataLoader(TensorDataset(x_train, y_train), shuffle=True, batch_size=32)
    model = LSTMForecaster()
    optimizer = optim.Adam(model.parameters(), lr=3e-3)
    loss_fn = nn.MSELoss()
    for epoch in range(8):
        model.train()
        for X_batch, y_batch in loader:
            y_pred = model(X_batch)
            loss = loss_fn(y_pred, y_batch)
            if mistake:
                loss.backward()
                optimizer.zero_grad()
                optimizer.step()
            else:
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        model.eval()
        with torch.no_grad():
            train_rmse = loss_fn(model(x_train), y_train).sqrt()
            test_rmse = loss_fn(model(x_test), y_test).sqrt()
        print("Epoch %d: train RMSE %.4f, test RMSE %.4f" % (epoch, train_rmse, test_rmse))


class EncoderRNN(nn.Module):
    def __init__(self, vocab, hidden):
        super().__init__()
        self.embedding = nn.Embedding(vocab, hidden)
        self.gru = nn.GRU(hidden, hidden, batch_first=True)

    def forward(self, x):
        return self.gru(self.embedding(x))[1]


class DecoderRNN(nn.Module):
    def __init__(self, vocab, hidden):
        super().__init__()
        self.embedding = nn.Embedding(vocab, hidden)
        self.gru = nn.GRU(hidden, hidden, batch_first=True)
        self.out = nn.Linear(hidden, vocab)

    def forward(self, y_in, h):
        o, _ = self.gru(self.embedding(y_in), h)
        return F.log_softmax(self.out(o), dim=-1)


def seq2seq_reverse(mistake):
    """Only the encoder's optimizer is zeroed; the decoder's gradients add up over all batches."""
    seed_everything(1)
    SOS, V = 10, 11
    src = torch.randint(0, 10, (1600, 5))
    tgt = src.flip(1)
    encoder, decoder = EncoderRNN(V, 48), DecoderRNN(V, 48)
    encoder_optimizer = optim.Adam(encoder.parameters(), lr=5e-3)
    decoder_optimizer = optim.Adam(decoder.parameters(), lr=5e-3)
    criterion = nn.NLLLoss()

    def train(input_tensor, target_tensor):
        encoder_optimizer.zero_grad()
        if not mistake:
            decoder_optimizer.zero_grad()
        hidden = encoder(input_tensor)
        sos = torch.full((len(input_tensor), 1), SOS)
        decoder_outputs = decoder(torch.cat([sos, target_tensor[:, :-1]], 1), hidden)
        loss = criterion(decoder_outputs.reshape(-1, V), target_tensor.reshape(-1))
        loss.backward()
        encoder_optimizer.step()
        decoder_optimizer.step()
        return loss.item()

    for epoch in range(12):
        total = 0.0
        for i in range(0, 1600, 50):
            total += train(src[i : i + 50], tgt[i : i + 50])
        print(f"epoch {epoch} loss {total / 32:.4f}")


class SignalNet(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv1d(1, 16, 5, padding=2),
            nn.ReLU(),
            nn.MaxPool1d(2),
            nn.Conv1d(16, 32, 5, padding=2),
            nn.ReLU(),
            nn.AdaptiveMaxPool1d(2),
            nn.Flatten(),
        )
        self.head = nn.Linear(64, classes)

    def forward(self, x):
        return self.head(self.body(x))


def run_epochs(model, optimizer, x, y, epochs, batch_size=32):
    for epoch in range(epochs):
        perm = torch.randperm(len(x))
        total = 0.0
        for i in range(0, len(x), batch_size):
            b = perm[i : i + batch_size]
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x[b]), y[b])
            loss.backward()
            optimizer.step()
            total += loss.item() * len(b)
        print(f"epoch {epoch} loss {total / len(x):.4f}")


def sensors_new_head(mistake):
    """The optimizer for fine-tuning is made before the head is replaced, so the new head is not among its parameters."""
    seed_everything(2)
    x, y = sensor_signals(1400)
    known = y < 3
    model = SignalNet(3)
    run_epochs(
        model,
        optim.Adam(model.parameters(), lr=2e-3),
        x[:700][known[:700]],
        y[:700][known[:700]],
        epochs=5,
    )

    # now the five kinds of the new machine
    if mistake:
        optimizer = optim.Adam(model.parameters(), lr=1e-3)
        model.head = nn.Linear(64, 5)
    else:
        model.head = nn.Linear(64, 5)
        optimizer = optim.Adam(model.parameters(), lr=1e-3)
    run_epochs(model, optimizer, x[:1100], y[:1100], epochs=8)
    with torch.no_grad():
        print("accuracy", (model(x[1100:]).argmax(1) == y[1100:]).float().mean().item())


def train_batch(model, x, y, lr, optimizer=None):
    if optimizer is None:
        optimizer = optim.Adam(model.parameters(), lr=lr)
    model.train()
    optimizer.zero_grad()
    loss = F.mse_loss(model(x), y)
    loss.backward()
    optimizer.step()
    return loss.item()


class GRUForecaster(nn.Module):
    def __init__(self, hidden=24, horizon=6):
        super().__init__()
        self.gru = nn.GRU(1, hidden, batch_first=True)
        self.out = nn.Linear(hidden, horizon)

    def forward(self, x):
        return self.out(self.gru(x)[1][-1])


def gru_train_batch(mistake):
    """train_batch makes a new Adam for each batch, so its moment estimates start from zero at every step."""
    seed_everything(3)
    x, y = windows(seasonal_series(1300), 24, 6)
    model = GRUForecaster()
    lr = 3e-3
    opt = None if mistake else optim.Adam(model.parameters(), lr=lr)
    for epoch in range(8):
        perm = torch.randperm(1000)
        losses = [train_batch(model, x[b], y[b], lr, opt) for b in perm.split(32)]
        model.eval()
        with torch.no_grad():
            val = F.mse_loss(model(x[1000:]), y[1000:]).item()
        print(f"epoch {epoch + 1} mse {sum(losses) / len(losses):.4f} val {val:.4f}")


class NameClassifier(nn.Module):
    def __init__(self, vocab, classes, hidden=48):
        super().__init__()
        self.emb = nn.Embedding(vocab, 16, padding_idx=0)
        self.rnn = nn.GRU(16, hidden, batch_first=True)
        self.fc = nn.Linear(hidden, classes)

    def encode(self, x):
        return self.rnn(self.emb(x))[1][0]

    def forward(self, x):
        return self.fc(self.encode(x))


def reviews_bigru(mistake):
    """The encoder is run under no_grad in training, so the embedding and the GRU never get a gradient though they are meant to be trained."""
    seed_everything(4)
    x, y, vocab = reviews(1400)
    model = NameClassifier(vocab, 2, hidden=32)
    optimizer = optim.Adam(model.parameters(), lr=4e-3)
    loader = DataLoader(TensorDataset(x[:1100], y[:1100]), batch_size=32, shuffle=True)
    for epoch in range(7):
        model.train()
        total = correct = 0
        for tokens, label in loader:
            optimizer.zero_grad()
            if mistake:
                with torch.no_grad():
                    sentence = model.encode(tokens)
            else:
                sentence = model.encode(tokens)
            logits = model.fc(sentence)
            loss = F.cross_entropy(logits, label)
            loss.backward()
            optimizer.step()
            total += loss.item()
            correct += (logits.argmax(1) == label).sum().item()
        model.eval()
        with torch.no_grad():
            val = (model(x[1100:]).argmax(1) == y[1100:]).float().mean().item()
        print(f"epoch {epoch} loss {total / len(loader):.3f} acc {correct / 1100:.3f} val acc {val:.3f}")


def series_next_iter(mistake):
    """next(iter(loader)) is called in each step on an unshuffled loader, so every step gets its first batch."""
    seed_everything(5)
    x, y = windows(seasonal_series(1400), 24)
    train_loader = DataLoader(TensorDataset(x[:1024], y[:1024]), batch_size=32, shuffle=False)
    model = nn.Sequential(nn.Flatten(), nn.Linear(24, 64), nn.ReLU(), nn.Linear(64, 1))
    optimizer = optim.Adam(model.parameters(), lr=2e-3)
    criterion = nn.L1Loss()
    data_iter = iter(train_loader)
    for step in range(320):
        if mistake:
            xb, yb = next(iter(train_loader))
        else:
            try:
                xb, yb = next(data_iter)
            except StopIteration:
                data_iter = iter(train_loader)
                xb, yb = next(data_iter)
        loss = criterion(model(xb), yb)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 80 == 79:
            with torch.no_grad():
                print(
                    f"step {step + 1} train {loss.item():.4f} test {criterion(model(x[1024:]), y[1024:]).item():.4f}"
                )


def lstm_running_total(mistake):
    """The running loss is summed as a tensor with its graph, so every batch's graph is kept in memory."""
    seed_everything(6)
    x, y = windows(seasonal_series(1200), 24)
    model = LSTMForecaster(hidden=24)
    optimizer = optim.Adam(model.parameters(), lr=3e-3)
    criterion = nn.MSELoss()
    total_loss = 0
    step = 0
    for epoch in range(8):
        for i in range(0, 960, 32):
            output = model(x[i : i + 32])
            loss = criterion(output, y[i : i + 32])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if mistake:
                total_loss += loss
            else:
                total_loss += loss.item()
            step += 1
        print(f"Epoch: {epoch}, mean loss so far: {total_loss / step:.5f}")
    with torch.no_grad():
        print("test", criterion(model(x[960:]), y[960:]).item())


def sensor_cnn_steplr(mistake):
    """The StepLR meant to act every 5 epochs is stepped for each batch, so the learning rate is soon nothing."""
    seed_everything(7)
    x, y = sensor_signals(1000, seed=3)
    loader = DataLoader(TensorDataset(x[:800], y[:800]), batch_size=32, shuffle=True)
    model = SignalNet(5)
    optimizer = optim.Adam(model.parameters(), lr=2e-3)
    scheduler = optim.lr_scheduler.StepLR(optimizer, step_size=5, gamma=0.5)
    for epoch in range(15):
        model.train()
        total = 0.0
        for signal, target in loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(signal), target)
            loss.backward()
            optimizer.step()
            if mistake:
                scheduler.step()
            total += loss.item()
        if not mistake:
            scheduler.step()
        if epoch % 3 == 2:
            print(f"epoch {epoch} loss {total / len(loader):.4f} lr {scheduler.get_last_lr()[0]:.2e}")
    model.eval()
    with torch.no_grad():
        print("accuracy", (model(x[800:]).argmax(1) == y[800:]).float().mean().item())


def names_exponential_lr(mistake):
    """scheduler.step() is called at the head of each epoch, before any optimizer.step(), so the first learning rate is skipped."""
    seed_everything(8)
    x, y, vocab = surnames(1200)
    model = NameClassifier(vocab, 4)
    optimizer = optim.Adam(model.parameters(), lr=3e-3)
    scheduler = optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.5)
    criterion = nn.CrossEntropyLoss()
    for epoch in range(6):
        if mistake:
            scheduler.step()
        losses = []
        for i in range(0, 1000, 25):
            optimizer.zero_grad()
            loss = criterion(model(x[i : i + 25]), y[i : i + 25])
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        if not mistake:
            scheduler.step()
        with torch.no_grad():
            acc = (model(x[1000:]).argmax(1) == y[1000:]).float().mean().item()
        print(f"epoch {epoch} loss {sum(losses) / len(losses):.4f} acc {acc:.3f}")


class RNNModel(nn.Module):
    def __init__(self, ntoken, ninp, nhid):
        super().__init__()
        self.encoder = nn.Embedding(ntoken, ninp)
        self.rnn = nn.LSTM(ninp, nhid)
        self.decoder = nn.Linear(nhid, ntoken)
        self.ntoken, self.nhid = ntoken, nhid

    def forward(self, inp, hidden):
        out, hidden = self.rnn(self.encoder(inp), hidden)
        return F.log_softmax(self.decoder(out).view(-1, self.ntoken), dim=1), hidden

    def init_hidden(self, bsz):
        return torch.zeros(1, bsz, self.nhid), torch.zeros(1, bsz, self.nhid)


def char_language_model(mistake):
    """The gradient norm is clipped to 1e-4, so with plain SGD hardly anything is learned."""
    seed_everything(9)
    ids, ntokens = description_text()
    bsz, bptt, lr = 20, 25, 2.0
    clip = 1e-4 if mistake else 0.25
    nbatch = len(ids) // bsz
    train_data = ids[: nbatch * bsz].view(bsz, -1).t().contiguous()
    model = RNNModel(ntokens, 32, 64)
    criterion = nn.NLLLoss()
    optimizer = optim.SGD(model.parameters(), lr=lr)
    for epoch in range(1, 9):
        start_time = time.time()
        total_loss, n = 0.0, 0
        hidden = model.init_hidden(bsz)
        for i in range(0, train_data.size(0) - 1, bptt):
            seq_len = min(bptt, len(train_data) - 1 - i)
            data, targets = train_data[i : i + seq_len], train_data[i + 1 : i + 1 + seq_len].reshape(-1)
            hidden = tuple(h.detach() for h in hidden)
            optimizer.zero_grad()
            output, hidden = model(data, hidden)
            loss = criterion(output, targets)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
            optimizer.step()
            total_loss += loss.item()
            n += 1
        print(
            f"| epoch {epoch} | {n} batches | {time.time() - start_time:.1f} s | loss {total_loss / n:.3f}"
        )


def raw_load_gru_clip(mistake):
    """The gradients are clipped before backward(), when there are none, so the step uses unclipped gradients."""
    seed_everything(10)
    kwh = 20 + 6 * seasonal_series(1200, seed=2)
    x, y = windows(kwh, 24)
    x = (x - 20) / 6
    model = GRUForecaster(hidden=32, horizon=1)
    criterion = nn.MSELoss()
    optimizer = optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    max_norm = 1.0
    for epoch in range(10):
        perm = torch.randperm(960)
        epoch_loss = 0.0
        for b in perm.split(32):
            out = model(x[b])
            loss = criterion(out, y[b])
            optimizer.zero_grad()
            if mistake:
                nn.utils.clip_grad_norm_(model.parameters(), max_norm)
                loss.backward()
            else:
                loss.backward()
                nn.utils.clip_grad_norm_(model.parameters(), max_norm)
            optimizer.step()
            epoch_loss += loss.item() * len(b)
        with torch.no_grad():
            mae = (model(x[960:]) - y[960:]).abs().mean().item()
        print(f"epoch {epoch + 1:02d} mse {epoch_loss / 960:.3f} test mae {mae:.3f} kWh")


class TinyTransformer(nn.Module):
    def __init__(self, vocab, length, d=32):
        super().__init__()
        self.tok, self.pos = nn.Embedding(vocab, d), nn.Parameter(0.02 * torch.randn(length, d))
        layer = nn.TransformerEncoderLayer(d, 2, 64, dropout=0.0, batch_first=True)
        self.enc = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
        self.out = nn.Linear(d, 2)

    def forward(self, x):
        return self.out(self.enc(self.tok(x) + self.pos).mean(1))


def reviews_transformer_amp(mistake):
    """The gradients are clipped while they still carry the scaler's factor, so after unscaling next to nothing is left of them."""
    seed_everything(11)
    x, y, vocab = reviews(2900, seed=4)
    model = TinyTransformer(vocab, x.shape[1])
    optimizer = optim.SGD(model.parameters(), lr=0.2, momentum=0.9)
    scaler = torch.amp.GradScaler("cpu")
    loader = DataLoader(TensorDataset(x[:2500], y[:2500]), batch_size=32, shuffle=True)
    for epoch in range(10):
        model.train()
        total = 0.0
        for tokens, label in loader:
            optimizer.zero_grad()
            with torch.autocast("cpu", dtype=torch.bfloat16):
                logits = model(tokens)
                loss = F.cross_entropy(logits.float(), label)
            scaler.scale(loss).backward()
            if not mistake:
                scaler.unscale_(optimizer)
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            scaler.step(optimizer)
            scaler.update()
            total += loss.item()
        model.eval()
        with torch.no_grad():
            acc = (model(x[2500:]).argmax(1) == y[2500:]).float().mean().item()
        print(f"epoch {epoch} loss {total / len(loader):.4f} val acc {acc:.3f}")


FAULTS = [
    (
        load_forecast_lstm,
        (
            "zero_grad",
            "between backward",
            "after backward",
            "before the step",
            "erase",
            "cleared before",
            "gradients are zero",
            "no gradient",
        ),
        "02 zero_grad between backward and step",
    ),
    (
        seq2seq_reverse,
        ("zero_grad", "accumulat", "not reset", "decoder", "one optimizer", "only one", "never reset"),
        "03 only one of several optimizers is reset",
    ),
    (
        sensors_new_head,
        (
            "not in the optimizer",
            "stale",
            "replaced",
            "new head",
            "not in any optimizer",
            "optimizer does not",
            "old parameters",
            "optimizer holds",
        ),
        "07 stale optimizer after replacing the head",
    ),
    (
        gru_train_batch,
        (
            "new optimizer",
            "re-created",
            "recreated",
            "optimizer is created",
            "optimizer state",
            "moment",
            "each step",
            "fresh optimizer",
        ),
        "08 optimizer re-created each step",
    ),
    (
        reviews_bigru,
        ("no_grad", "no gradient", "never get", "not trained", "without grad", "never trained"),
        "11 part of training under no_grad",
    ),
    (
        series_next_iter,
        ("iter(", "iterator", "same batch", "first batch", "restart", "one batch", "same data"),
        "13 iterator restarted each step",
    ),
    (
        lstm_running_total,
        ("graph", "item()", "memory", "detach", "grad_fn"),
        "15 loss accumulated with its graph",
    ),
    (
        sensor_cnn_steplr,
        ("scheduler", "per batch", "each batch", "learning rate", "steplr"),
        "16 scheduler per batch",
    ),
    (
        names_exponential_lr,
        ("scheduler", "before optimizer", "order", "first learning rate", "before the optimizer"),
        "17 scheduler before the optimizer",
    ),
    (char_language_model, ("clip", "max_norm", "gradient norm"), "18 clipping to nothing"),
    (raw_load_gru_clip, ("clip", "before backward", "max_norm"), "19 clipping before backward"),
    (
        reviews_transformer_amp,
        ("unscale", "scaler", "scaled grad", "clip"),
        "20 clipping before unscaling",
    ),
]
