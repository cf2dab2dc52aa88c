"""The healthy twins: the example models' own recipes, imported from their files."""

from __future__ import annotations

import sys
from functools import cache
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

from pytest_dlcheck import Recipe

from .case import twin

FOLDER = Path(__file__).parents[2] / "example_models"


@cache
def example(name: str) -> ModuleType:
    """One file of ``example_models``, imported from its path."""
    spec = spec_from_file_location(f"clinic_{name}", FOLDER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[spec.name] = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@cache
def digits() -> Any:
    """What the examples' fixture ``digits`` gives."""
    return example("conftest").split_digits()


@twin("CNN", "classification")
def digits_cnn() -> Recipe:
    return example("test_digits_cnn").digits_cnn(digits())


@twin("ResNet", "classification")
def resnet18() -> Recipe:
    return example("test_resnet18").resnet18_on_digits(digits())


@twin("transformer", "language modelling")
def char_lm() -> Recipe:
    return example("test_char_lm").char_lm()


@twin("LSTM", "classification")
def row_reader() -> Recipe:
    return example("test_lstm").row_reader(digits())


@twin("MLP", "binary classification")
def breast_cancer() -> Recipe:
    return example("test_breast_cancer_mlp").breast_cancer_mlp(64)


@twin("MLP", "regression")
def diabetes() -> Recipe:
    return example("test_diabetes_regression").diabetes_regression()


@twin("autoencoder", "denoising")
def autoencoder() -> Recipe:
    return example("test_autoencoder").denoising_autoencoder(digits())


@twin("GAN", "generation")
def gan() -> Recipe:
    return example("test_gan").digits_gan(digits())


@twin("ResNet", "transfer learning")
def transfer() -> Recipe:
    return example("test_transfer").transfer_to_digits(digits())


@twin("transformer", "text classification")
def text_classifier() -> Recipe:
    return example("test_text_classifier").TestTextClassifier().text_classifier()
