"""Recipes for Hugging Face models by their type, ``transformers:bert``: small, from a configuration."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from pytest_dlcheck.scaffold.drafts import TODO, Draft, ScaffoldError, identifier, nearest, todo

_SMALL = {
    "vocab_size": 100,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
"""A configuration that trains in seconds; of each type, the sizes that it has."""
_LARGEST = 5_000_000
"""Parameters beyond which a model did not heed these sizes."""
_STAND_IN = "the sentences of stand_in_data() are made up, and the configuration is small: put your own"
_DATA = "dataset: dicts of what the model takes, labels among them"

_COMPLETE = '''\
"""How {name} is trained, checked by: pytest --dlcheck"""

import torch
from pytest_dlcheck import Recipe, recipe
from transformers import AutoConfig, {auto}

VOCABULARY = 100


@recipe
def {slug}():
    # A small configuration, quick to train; yours is AutoConfig.from_pretrained(...).
    config = AutoConfig.for_model(
        "{name}",
{sizes}    )
    model = {auto}.from_config(config)
    # The learning rate that you train with; without optimizer=, AdamW as their Trainer has it.
    return Recipe.from_transformers(model, stand_in_data(), learning_rate=1e-3{further})


def stand_in_data():
    """STAND-IN DATA: made up and easy to learn, enough to see whether the model can be trained at all.

    Put your own tokenized data set here, and its tokenizer= or collator= above.
    """
    generator = torch.Generator().manual_seed(0)
{data}'''
_SENTENCES = """\
    sentences = torch.randint(5, VOCABULARY, (128, 12), generator=generator)
    return [{"input_ids": s, "labels": int(s[1] > VOCABULARY // 2)} for s in sentences]
"""
_COUNTING = """\
    first = torch.randint(0, VOCABULARY, (128, 1), generator=generator)
    sentences = (first + 3 * torch.arange(16)) % VOCABULARY
    return [{"input_ids": s, "labels": s} for s in sentences]
"""
_OTHER = '''\
"""How {name} is trained, checked by: pytest --dlcheck"""

from pytest_dlcheck import Recipe, recipe
from transformers import AutoConfig, {auto}


@recipe
def {slug}():
    # Give smaller sizes than the defaults, or the trials take long.
    model = {auto}.from_config(AutoConfig.for_model("{name}"))
    return Recipe.from_transformers(model, {data})
'''
_HEADS = (
    ("MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES", "AutoModelForSeq2SeqLM"),
    ("MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES", "AutoModelForImageClassification"),
    ("MODEL_FOR_AUDIO_CLASSIFICATION_MAPPING_NAMES", "AutoModelForAudioClassification"),
    ("MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES", "AutoModelForSequenceClassification"),
)
"""Heads of models whose data cannot be made up here."""


def draft(library: str, name: str) -> Draft:
    """A recipe for a model type: a classifier for encoders, a language model for decoders.

    Raises:
        ScaffoldError: transformers is not installed, or has no such type.
    """
    try:
        transformers = import_module(library)
        auto = import_module("transformers.models.auto.modeling_auto")
        types = import_module("transformers.models.auto.configuration_auto").CONFIG_MAPPING_NAMES
    except ModuleNotFoundError:
        raise ScaffoldError(f"{library} is not installed: pip install {library}") from None
    if name not in types:
        raise ScaffoldError(nearest(f"transformers has no model type {name!r}", name, types))
    slug = identifier(name)
    encoder = name in auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES
    if encoder and name in auto.MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES:
        head, data, further = "AutoModelForSequenceClassification", _SENTENCES, ""
    else:
        head, data, further = "AutoModelForCausalLM", _COUNTING, ", causal=1"
    decoder = name in auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    seq2seq = name in auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES
    small = _small(transformers, name, head) if (encoder or decoder) and not seq2seq else {}
    if small:
        # The data and the configuration share their vocabulary.
        sizes = "".join(
            f"        {key}={'VOCABULARY' if key == 'vocab_size' else value},\n"
            for key, value in small.items()
        )
        text = _COMPLETE.format(name=name, auto=head, slug=slug, sizes=sizes, further=further, data=data)
        return Draft(slug, text, notes=(_STAND_IN,))
    head = next((head for table, head in _HEADS if name in getattr(auto, table, ())), "AutoModel")
    text = _OTHER.format(name=name, auto=head, slug=slug, data=todo(_DATA))
    return Draft(slug, text + TODO, (_DATA,))


def _small(transformers: Any, name: str, head: str) -> dict[str, int]:
    """The sizes that the type has, if a small model can be built from them; else nothing."""
    try:
        usual = transformers.AutoConfig.for_model(name)
        sizes = {key: value for key, value in _SMALL.items() if hasattr(usual, key)}
        config = transformers.AutoConfig.for_model(name, **sizes)
        model = getattr(transformers, head).from_config(config)
    except Exception:  # noqa: BLE001  hundreds of types, each with demands of its own
        return {}
    small = sum(parameter.numel() for parameter in model.parameters()) <= _LARGEST
    return sizes if small and "vocab_size" in sizes else {}
