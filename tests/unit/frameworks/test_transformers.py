"""Hugging Face models as recipes, against the real library: tiny configurations, nothing downloaded."""

from __future__ import annotations

import pytest
import torch
from torch.utils.data import DataLoader

from pytest_dlcheck import Recipe, diagnose
from pytest_dlcheck.recipe import RecipeError

transformers = pytest.importorskip("transformers")
# The library logs through handlers of its own what its configurations make of tiny vocabularies.
pytestmark = pytest.mark.filterwarnings("default")
WHOLE = ("gradients_flow", "loss_decreases", "batch_independence", "loss_is_sound")


def bert(*, cut=False):
    sizes = {"vocab_size": 50, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1}
    model = transformers.BertForSequenceClassification(
        transformers.BertConfig(**sizes, num_attention_heads=2)
    )
    if cut:
        model.bert.embeddings.register_forward_hook(lambda *call: call[-1].detach())
    return model


def gpt(*, attend_ahead=False):
    sizes = {"vocab_size": 50, "n_positions": 32, "n_embd": 32, "n_layer": 1, "n_head": 2}
    model = transformers.GPT2LMHeadModel(
        transformers.GPT2Config(**sizes, bos_token_id=0, eos_token_id=0)
    )
    if attend_ahead:
        model.transformer.wte.register_forward_hook(lambda *call: call[-1] + call[-1].roll(-1, 1))
    return model


def sentences():
    """Which half of the vocabulary does a sentence begin with? Columns as a tokenized data set has."""
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(5, 50, (128, 8), generator=generator)
    return [{"input_ids": t.tolist(), "label": int(t[0] > 27), "text": "dropped"} for t in tokens]


def counting():
    generator = torch.Generator().manual_seed(0)
    begin = torch.randint(0, 50, (64, 1), generator=generator)
    tokens = (begin + 3 * torch.arange(12)) % 50
    return [{"input_ids": t, "labels": t} for t in tokens]


def classifier(**options):
    return lambda: Recipe.from_transformers(bert(), sentences(), learning_rate=1e-3, **options)


def language_model(**fault):
    return lambda: Recipe.from_transformers(gpt(**fault), counting(), learning_rate=3e-3, causal=1)


def causes(report):
    return {verdict.check for verdict in report.diagnosis.causes}


@pytest.mark.parametrize("factory", [classifier(), language_model()], ids=["bert", "gpt2"])
def test_a_healthy_model_passes(factory):
    report = diagnose(factory, steps=60, device="cpu")

    assert report.ok, str(report)
    passed = {v.check for v in report.verdicts if v.outcome == "passed"}
    assert set(WHOLE) <= passed, str(report)


def test_a_cut_graph_is_found():
    def factory():
        return Recipe.from_transformers(bert(cut=True), sentences())

    report = diagnose(factory, steps=10, select=["gradients_flow"], device="cpu")

    assert causes(report) == {"gradients_flow"}, str(report)
    assert report.diagnosis.causes[0].sites[0] == "bert.embeddings"


def test_a_look_into_the_future_is_found():
    report = diagnose(language_model(attend_ahead=True), select=["causality"], device="cpu")

    assert causes(report) == {"causality"}, str(report)


def test_the_defaults_are_their_trainers():
    recipe = Recipe.from_transformers(bert(), sentences())

    (group,) = recipe.optimizer.param_groups
    assert isinstance(recipe.optimizer, torch.optim.AdamW)
    assert (group["lr"], group["weight_decay"], recipe.max_grad_norm) == (5e-5, 0.0, 1.0)
    assert recipe.train_data.batch_size == 8


def test_columns_that_the_model_does_not_take_are_dropped():
    batch = next(iter(Recipe.from_transformers(bert(), sentences()).train_data))

    assert {key: tuple(value.shape) for key, value in batch.items()} == {
        "input_ids": (8, 8),
        "labels": (8,),
    }


def test_the_tokenizer_pads():
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=words(), pad_token="[PAD]", unk_token="[UNK]"
    )
    data = [{"input_ids": list(range(2, n + 2)), "labels": n % 2} for n in range(1, 17)]
    recipe = Recipe.from_transformers(bert(), data, tokenizer=tokenizer, batch_size=16)

    assert next(iter(recipe.train_data))["input_ids"].shape == (16, 16)


def words():
    tokenizers = pytest.importorskip("tokenizers")
    vocabulary = {"[PAD]": 0, "[UNK]": 1} | {f"w{n}": n for n in range(2, 50)}
    return tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="[UNK]"))


def test_a_collator_makes_the_labels():
    def collate(samples):
        ids = torch.stack([sample["input_ids"] for sample in samples])
        return {"input_ids": ids, "labels": ids}

    data = [{"input_ids": sample["input_ids"]} for sample in counting()]
    recipe = Recipe.from_transformers(gpt(), data, collator=collate, val_data=data)

    assert sorted(next(iter(recipe.train_data))) == ["input_ids", "labels"]
    assert sorted(next(iter(recipe.val_data))) == ["input_ids", "labels"]


def test_an_own_optimizer_schedule_and_loader_are_kept():
    model = bert()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scheduler = transformers.get_linear_schedule_with_warmup(optimizer, 10, 100)
    loader = DataLoader([], batch_size=3)
    recipe = Recipe.from_transformers(
        model, loader, optimizer=optimizer, scheduler=scheduler, max_grad_norm=None, frozen="bert"
    )

    assert (recipe.optimizer, recipe.scheduler, recipe.train_data) == (optimizer, scheduler, loader)
    assert recipe.scheduler_interval == "step"
    assert recipe.max_grad_norm is None
    assert recipe.frozen == ("bert",)


def test_frozen_weights_are_left_to_the_user():
    model = bert()
    model.bert.requires_grad_(requires_grad=False)
    recipe = Recipe.from_transformers(model, sentences(), frozen="bert")

    assert len(recipe.optimizer.param_groups[0]["params"]) == 2


@pytest.mark.parametrize(
    ("model", "data", "options", "said"),
    [
        (bert(), [(1, 2)], {}, "a sample of the data set is a tuple, not a dict"),
        (bert(), [{"text": "a"}], {}, r"columns \['text'\] are none that .*was it tokenized"),
        (bert(), sentences(), {"learning_rat": 1}, "did you mean learning_rate="),
        (bert(), sentences(), {"loss": 1}, "from_transformers does not take loss="),
        (bert(), sentences(), {"optimizer": 1, "learning_rate": 1}, "give one or the other"),
        (transformers.BertModel, [], {}, "takes a model, not the class BertModel"),
    ],
)
def test_what_cannot_be_a_recipe_is_said(model, data, options, said):
    with pytest.raises(RecipeError, match=said):
        next(iter(Recipe.from_transformers(model, data, **options).train_data))


def test_nothing_trainable_is_said():
    model = bert().requires_grad_(requires_grad=False)

    with pytest.raises(RecipeError, match="no parameter of the model requires grad"):
        Recipe.from_transformers(model, sentences())


def test_missing_labels_are_said():
    data = [{"input_ids": [1, 2, 3]}] * 8
    report = diagnose(
        lambda: Recipe.from_transformers(bert(), data), select=["loss_decreases"], device="cpu"
    )

    (verdict,) = report.verdicts
    assert verdict.outcome == "errored"
    assert "labels in the batch" in verdict.because
