"""Recipes for image classifiers by name, of torchvision and timm, on images that stand in."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from pytest_dlcheck.scaffold.drafts import TODO, Draft, ScaffoldError, identifier, nearest, todo

_SMALLEST = 64
"""Pixels: as small as most of these networks take, to be quick."""
_STAND_IN = "the images of stand_in_data() are made up: put your own in their place"
_DATA = "train_data: a DataLoader of (inputs, targets) batches"
_LOSS = "loss: loss(outputs, targets) gives one number"
_NEEDS = {
    "googlenet": ", aux_logits=False, init_weights=True",
    "inception_v3": ", aux_logits=False, init_weights=True",
}
"""Arguments without which these give more than logits."""

_CLASSIFIER = '''\
"""How {name} is trained, checked by: pytest --dlcheck"""

{imports}
import torch
from pytest_dlcheck import Recipe, recipe
from torch.utils.data import DataLoader, TensorDataset

CLASSES, SIZE = 10, {size}


@recipe
def {slug}():
    model = {call}
    return Recipe(
        model=model,
        train_data=DataLoader(stand_in_data(), batch_size=16, shuffle=True, drop_last=True),
        loss=torch.nn.CrossEntropyLoss(),
        # The optimizer that you train with, its learning rate and schedule:
        optimizer=torch.optim.AdamW(model.parameters(), lr={rate}),
        shapes=f"b 3 {{SIZE}} {{SIZE}} -> b {{CLASSES}}",
    )


def stand_in_data():
    """STAND-IN DATA: made up and easy to learn, enough to see whether the model can be trained at all.

    Put your own training data here.
    """
    generator = torch.Generator().manual_seed(0)
    patterns = torch.randn(CLASSES, 3, 4, 4, generator=generator)
    patterns = torch.nn.functional.interpolate(patterns, size=(SIZE, SIZE), mode="bilinear")
    labels = torch.arange(160) % CLASSES
    noise = torch.randn(len(labels), 3, SIZE, SIZE, generator=generator)
    return TensorDataset(patterns[labels] + 0.5 * noise, labels)
'''
_OTHER = '''\
"""How {name} is trained, checked by: pytest --dlcheck"""

{imports}
import torch
from pytest_dlcheck import Recipe, recipe


@recipe
def {slug}():
    model = {call}
    return Recipe(
        model=model,
        train_data={data},
        loss={loss},
        # The optimizer that you train with, its learning rate and schedule:
        optimizer=torch.optim.AdamW(model.parameters(), lr=1e-4),
    )
'''


def draft(library: str, name: str) -> Draft:
    """A recipe for a model of torchvision or timm, untrained, by its name there.

    Raises:
        ScaffoldError: the library is not installed, or has no such model.
    """
    try:
        module = import_module("torchvision.models" if library == "torchvision" else library)
    except ModuleNotFoundError:
        raise ScaffoldError(f"{library} is not installed: pip install {library}") from None
    names = [*module.list_models()]
    plain = name.partition(".")[0]
    if plain not in names:
        raise ScaffoldError(nearest(f"{library} has no model {name!r}", name, names))
    parts = {"name": name, "slug": identifier(name)}
    if library == "timm":
        size = _timm_size(module, name)
        further = ", img_size=SIZE" if size > _SMALLEST and _resizes(module, name) else ""
        return _classifier(
            parts,
            imports="import timm",
            call=f'timm.create_model("{name}", pretrained=False, num_classes=CLASSES{further})',
            size=_SMALLEST if further else size,
        )
    parts["imports"] = "from torchvision.models import get_model"
    if name in module.list_models(module=module):
        further = _NEEDS.get(name, "")
        call = f'get_model("{name}", weights=None, num_classes=CLASSES{further})'
        return _classifier(parts, call=call, size=_torchvision_size(module, name))
    call = f'get_model("{name}", weights=None)'
    text = _OTHER.format(**parts, call=call, data=todo(_DATA), loss=todo(_LOSS))
    return Draft(parts["slug"], text + TODO, (_DATA, _LOSS))


def _classifier(parts: dict[str, str], *, size: int, **further: str) -> Draft:
    # Without normalisation layers, and with attention, larger rates do not train from scratch.
    smooth = (
        "resnet",
        "resnext",
        "regnet",
        "densenet",
        "mobilenet",
        "efficientnet",
        "mnasnet",
        "shuffle",
    )
    rate = "1e-3" if any(word in parts["name"] for word in smooth) else "1e-4"
    text = _CLASSIFIER.format(**parts, **further, size=size, rate=rate)
    return Draft(parts["slug"], text, notes=(_STAND_IN,))


def _torchvision_size(module: Any, name: str) -> int:
    """The least size that its weights are documented for, or the smallest that is sensible."""
    sizes = [max(weights.meta.get("min_size", (0,))) for weights in module.get_model_weights(name)]
    needed = min(sizes, default=0)
    return max(_SMALLEST, int(needed))


def _timm_size(timm: Any, name: str) -> int:
    """The size that it was made for, or the smallest that is sensible where it takes any."""
    configuration = timm.models.get_pretrained_cfg(name)
    if configuration is None:
        return 224
    if configuration.fixed_input_size:
        return int(configuration.input_size[-1])
    return max(_SMALLEST, *(configuration.min_input_size or (0,)))


def _resizes(timm: Any, name: str) -> bool:
    """Whether a model that was made for one size can be built for the smallest, which is quick."""
    try:
        model = timm.create_model(name, pretrained=False, num_classes=1, img_size=_SMALLEST)
    except Exception:  # noqa: BLE001  a thousand models, each with demands of its own
        return False
    made_for = getattr(getattr(model, "patch_embed", None), "img_size", None)
    return bool(made_for == (_SMALLEST, _SMALLEST))
