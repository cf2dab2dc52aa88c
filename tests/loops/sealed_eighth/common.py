import random

import numpy as np
import torch
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_iris, load_wine
from sklearn.model_selection import train_test_split
from torch.utils.data import TensorDataset


def seed_everything(seed=0):
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def digits_tensors(test_size=0.25, seed=0):
    """The 8x8 digits as normalised images [n, 1, 8, 8], split in train and validation."""
    data = load_digits()
    x = torch.tensor(data.images, dtype=torch.float32).unsqueeze(1) / 16.0
    y = torch.tensor(data.target, dtype=torch.long)
    train_idx, val_idx = train_test_split(
        np.arange(len(y)), test_size=test_size, random_state=seed, stratify=data.target
    )
    train_idx, val_idx = torch.as_tensor(train_idx), torch.as_tensor(val_idx)
    mean, std = x[train_idx].mean(), x[train_idx].std()
    x = (x - mean) / std
    return x[train_idx], y[train_idx], x[val_idx], y[val_idx]


def digits_datasets(test_size=0.25, seed=0):
    xt, yt, xv, yv = digits_tensors(test_size, seed)
    return TensorDataset(xt, yt), TensorDataset(xv, yv)


def english_text():
    """The descriptions of the scikit-learn data sets, as one corpus."""
    parts = [f().DESCR for f in (load_wine, load_breast_cancer, load_diabetes, load_digits, load_iris)]
    return "\n".join(parts)
