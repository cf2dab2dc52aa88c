"""The recipe: facts that contradict themselves are refused, and a factory stays itself."""

from __future__ import annotations

import copy
import pickle
from dataclasses import replace

import pytest

from pytest_dlcheck.recipe import Recipe, RecipeError, RecipeTag, described, recipe, recipe_tag


def facts(**more):
    return Recipe(**{"model": None, "train_data": [1], **more})


def test_a_marked_factory_stays_itself():
    def factory():
        return 3

    assert recipe(factory) is factory
    assert factory() == 3
    assert recipe_tag(factory) == RecipeTag(rebuild=True)
    assert recipe_tag(recipe(rebuild=False)(factory)) == RecipeTag(rebuild=False)


def test_methods_of_every_kind_can_be_marked():
    class Home:
        @recipe
        def method(self):
            pass

        @recipe
        @staticmethod
        def static():
            pass

        @classmethod
        @recipe
        def of_class(cls):
            pass

    for found in (*map(vars(Home).get, ("method", "static", "of_class")), Home().method, Home.of_class):
        assert recipe_tag(found) == RecipeTag()


@pytest.mark.parametrize("wrong", [int, 3, "text", object()])
def test_only_functions_can_be_marked(wrong):
    with pytest.raises(TypeError, match="@recipe marks a function"):
        recipe(wrong)


def test_what_resists_questions_is_no_recipe():
    class Proxy:
        def __call__(self):
            pass

        def __getattr__(self, name):
            raise RuntimeError(name)

    assert recipe_tag(Proxy()) is None


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"train_data": None}, "train_data= is missing"),
        ({"loss": 3}, "loss= takes a callable, not 3"),
        ({"loss": dict}, "loss= is the class dict, not an instance of it: write dict"),
        ({"forward": 3}, "forward= takes a callable"),
        ({"loss": abs, "training_step": abs}, "are given both"),
        ({"precision": "fp8"}, "valid: fp32, bf16-mixed, fp16-mixed"),
        ({"scheduler_interval": "batch"}, "valid: step, epoch"),
        ({"accumulate": 0}, "accumulate=0 micro-batches"),
        ({"accumulate": 2.0}, "accumulate=2.0 micro-batches"),
        ({"accumulate": True}, "accumulate=True micro-batches"),
        ({"max_grad_norm": -1}, "clips everything"),
        ({"max_grad_norm": float("nan")}, "clips everything"),
        ({"train": 3, "loss": None}, "train= takes a callable, not 3"),
        ({"shapes": "b"}, "->"),
    ],
)
def test_contradictions_are_refused(wrong, said):
    with pytest.raises(ValueError, match=said):
        facts(**wrong)


def test_a_contradiction_is_a_recipe_error():
    with pytest.raises(RecipeError):
        facts(accumulate=0)


def test_one_frozen_pattern_may_stand_alone():
    assert facts(frozen="encoder.*").frozen == ("encoder.*",)
    assert facts(frozen=["a", "b"]).frozen == ("a", "b")


def test_facts_cannot_be_changed():
    with pytest.raises(AttributeError):
        facts().accumulate = 2


@pytest.mark.parametrize(
    ("value", "words"),
    [(None, "None"), ("x", "a str"), (int, "the class int, not an instance of it: write int(...)")],
)
def test_a_value_of_the_wrong_kind_in_words(value, words):
    assert described(value) == words


def test_a_name_that_is_no_field_is_told_with_the_nearest():
    with pytest.raises(
        RecipeError, match=r"train_dat= is no field of a recipe, did you mean train_data=\?"
    ):
        facts(train_dat=[1])


def test_a_recipe_is_copied_pickled_and_changed_as_any_dataclass():
    given = facts(loss=max)
    again = pickle.loads(pickle.dumps(copy.copy(given)))
    assert replace(again, accumulate=2) == facts(loss=max, accumulate=2)


def test_a_subclass_may_be_built_of_what_it_likes():
    class Small(Recipe):
        def __init__(self, width):
            super().__init__(**vars(facts(accumulate=width)))

    assert Small(width=4).accumulate == 4
