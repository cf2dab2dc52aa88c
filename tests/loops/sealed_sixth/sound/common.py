import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split


def seed_everything(seed=0):
    np.random.seed(seed)
    torch.manual_seed(seed)


def digits_splits(image=False, seed=0):
    """(x_train, y_train), (x_val, y_val), (x_test, y_test), pixels scaled to [0, 1]."""
    x, y = load_digits(return_X_y=True)
    x = (x / 16.0).astype("float32")
    xa, xt, ya, yt = train_test_split(x, y, test_size=0.2, stratify=y, random_state=seed)
    xa, xv, ya, yv = train_test_split(xa, ya, test_size=0.2, stratify=ya, random_state=seed)

    def pack(a, b):
        a = torch.from_numpy(a)
        if image:
            a = a.view(-1, 1, 8, 8)
        return a, torch.from_numpy(b).long()

    return pack(xa, ya), pack(xv, yv), pack(xt, yt)


def small_cnn(num_classes=10, width=16):
    return nn.Sequential(
        nn.Conv2d(1, width, 3, padding=1),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.Conv2d(width, 2 * width, 3, padding=1),
        nn.BatchNorm2d(2 * width),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(2 * width, 2 * width, 3, padding=1),
        nn.BatchNorm2d(2 * width),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(2 * width, num_classes),
    )


@torch.no_grad()
def accuracy(model, x, y):
    was_training = model.training
    model.eval()
    acc = (model(x).argmax(1) == y).float().mean().item()
    model.train(was_training)
    return acc


def random_shift(x, pad=1):
    """Shift each image of a batch by up to `pad` pixels."""
    b, _, h, w = x.shape
    xp = F.pad(x, (pad, pad, pad, pad))
    dy = torch.randint(0, 2 * pad + 1, (b,))
    dx = torch.randint(0, 2 * pad + 1, (b,))
    rows = dy[:, None, None] + torch.arange(h)[None, :, None]
    cols = dx[:, None, None] + torch.arange(w)[None, None, :]
    return xp[torch.arange(b)[:, None, None], 0, rows, cols].unsqueeze(1)


def two_views(x):
    def view(z):
        z = random_shift(z)
        z = z * (0.7 + 0.6 * torch.rand(z.size(0), 1, 1, 1))
        return (z + 0.1 * torch.randn_like(z)).clamp(0, 1.5)

    return view(x), view(x)
