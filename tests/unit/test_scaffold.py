"""``dlcheck init``: what it writes can be run, and what it cannot write is said in one line."""

from __future__ import annotations

import ast
import sys
from types import ModuleType, SimpleNamespace

import pytest
from click.testing import CliRunner

from pytest_dlcheck.cli import main
from pytest_dlcheck.recipe import recipe_tag
from pytest_dlcheck.scaffold import ScaffoldError, draft
from pytest_dlcheck.scaffold.drafts import identifier, nearest, todo

NETS = """
import torch
from torch import nn

class SmallNet(nn.Module):
    def __init__(self, hidden: int, *, dropout: "float", depth=2):
        super().__init__()

class Ready(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 2)

    def forward(self, x):
        return self.layer(x)

class Thing:
    pass

def build(width, /, *args, **kwargs):
    return Ready()

model = Ready()
"""


@pytest.fixture
def shop(tmp_path, monkeypatch):
    """A repository with the package ``shop`` under ``src``, and its root as the working directory."""
    package = tmp_path / "src" / "shop_of_nets"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "nets.py").write_text(NETS, encoding="utf-8")
    (package / "lacking.py").write_text("import a_module_that_nobody_has", encoding="utf-8")
    (package / "raising.py").write_text("\n1 / 0", encoding="utf-8")
    (package / "exiting.py").write_text("raise SystemExit(3)", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith("shop_of_nets")]:
        del sys.modules[name]


def init(*args):
    return CliRunner().invoke(main, ["init", *args])


def loaded(text):
    module = ModuleType("written")
    module.__file__ = "tests/test_written.py"
    exec(compile(text, module.__file__, "exec"), vars(module))
    return module


def test_an_own_model_is_written_with_what_is_missing(shop):
    result = init("shop_of_nets.nets:SmallNet")

    path = shop / "tests" / "test_small_net_training.py"
    assert result.exit_code == 0, result.output
    assert "wrote tests/test_small_net_training.py" in result.output.replace("\\", "/")
    for missing in ("hidden (int)", "dropout (float)", "train_data: a DataLoader", "loss: loss("):
        assert f"still to fill in: {missing}" in result.output.replace("SmallNet's argument ", "")
    assert "installed, or with pythonpath" in result.output
    written = ast.parse(path.read_text(encoding="utf-8"))
    assert [node.name for node in written.body if isinstance(node, ast.FunctionDef)] == [
        "small_net",
        "todo",
    ]


def test_what_is_missing_is_an_error_that_says_so(shop, monkeypatch):
    monkeypatch.syspath_prepend(shop / "src")
    made = draft("shop_of_nets.nets:Ready")
    module = loaded(made.text)

    assert recipe_tag(module.ready) is not None
    with pytest.raises(NotImplementedError, match=r"to fill in: train_data.*in the place of this todo"):
        module.ready()
    assert made.missing[0].startswith("train_data")
    assert not made.notes


def test_once_filled_in_it_is_a_recipe(shop, monkeypatch):
    monkeypatch.syspath_prepend(shop / "src")
    made = draft("shop_of_nets.nets:Ready")
    text = made.text
    for missing, given in zip(made.missing, ("(X, Y)", "torch.nn.CrossEntropyLoss()"), strict=True):
        text = text.replace(todo(missing), given)
    module = loaded(f"{text}\nX, Y = torch.randn(8, 2), torch.zeros(8).long()")

    assert module.ready().loss(module.X, module.Y).dim() == 0


def test_a_function_that_builds_a_model_will_do(shop):
    made = draft("shop_of_nets.nets:build")

    assert 'build(\n        todo("build\'s argument width"),\n    )' in made.text
    assert made.name == "build_recipe"


def test_nothing_is_overwritten(shop):
    path = shop / "mine.py"
    path.write_text("precious", encoding="utf-8")
    result = init("shop_of_nets.nets:Ready", "--output", str(path))

    assert result.exit_code == 1
    assert "exists already, and is not overwritten" in result.output
    assert path.read_text(encoding="utf-8") == "precious"


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("SmallNet", "names no model: write package.module:Model, torchvision:resnet18"),
        ("shop_of_nets.nets:", "names no model"),
        ("shop of nets:X", "is no package.module:Model"),
        ("..nets:X", "is no package.module:Model"),
        ("shop_of_net.nets:X", "no module 'shop_of_net', did you mean 'shop_of_nets'?"),
        ("shop_of_nets.nts:X", "no module 'nts' in 'shop_of_nets', did you mean 'nets'?"),
        ("shop_of_nets.nets.deep:X", "no module 'deep' in 'shop_of_nets.nets'"),
        ("shop_of_nets.lacking:X", "No module named 'a_module_that_nobody_has' ("),
        ("shop_of_nets.raising:X", "cannot be imported: ZeroDivisionError: division by zero ("),
        ("shop_of_nets.exiting:X", "cannot be imported: SystemExit: 3"),
        ("shop_of_nets.nets:SmalNet", "has no 'SmalNet', did you mean 'SmallNet'?"),
        ("shop_of_nets.nets:Qqq", "has no 'Qqq' (there are Ready, SmallNet)"),
        ("shop_of_nets.nets:Thing", "is no torch.nn.Module (there are Ready, SmallNet)"),
        ("shop_of_nets.nets:model", "is a Ready, not a class or a function that builds a model"),
        ("torchvision:resnet81", "torchvision has no model 'resnet81', did you mean 'resnet18'?"),
        ("transformers:brt", "no model type 'brt', did you mean 'bert'?"),
    ],
)
def test_a_wrong_target_is_one_error_with_the_nearest_match(shop, target, said):
    result = init(target)

    assert result.exit_code == 1
    assert result.output.startswith("Error: ")
    assert said in result.output
    assert result.output.count("\n") == 1
    assert not (shop / "tests").exists()


def test_a_library_that_is_not_installed_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)

    with pytest.raises(ScaffoldError, match="timm is not installed: pip install timm"):
        draft("timm:resnet18")


def test_an_output_that_is_no_python_file_is_refused(shop):
    assert "end it in .py" in init("shop_of_nets.nets:Ready", "--output", "notes.txt").output


def test_an_output_that_cannot_be_written_is_said(shop):
    (shop / "file").touch()
    result = init("shop_of_nets.nets:Ready", "--output", "file/test_it.py")

    assert result.exit_code == 1
    assert "cannot be written" in result.output or "exists already" in result.output


def test_a_classifier_of_torchvision_is_complete():
    made = draft("torchvision:mobilenet_v3_small")
    recipe = loaded(made.text).mobilenet_v3_small()
    inputs, targets = next(iter(recipe.train_data))

    assert not made.missing
    assert "stand_in_data() are made up" in made.notes[0]
    assert recipe.model(inputs).shape == (len(targets), 10)


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_auxiliary_heads_are_left_out(name):
    recipe = getattr(loaded(draft(f"torchvision:{name}").text), name)()
    inputs, _ = next(iter(recipe.train_data))

    assert recipe.model(inputs[:2]).shape == (2, 10)


def test_a_detector_of_torchvision_wants_its_data():
    made = draft("torchvision:fasterrcnn_mobilenet_v3_large_fpn")

    assert [line.partition(":")[0] for line in made.missing] == ["train_data", "loss"]


@pytest.mark.parametrize(
    ("fixed", "least", "size"), [(True, None, 96), (False, None, 64), (False, (3, 80, 80), 80)]
)
def test_timm_is_asked_for_names_and_sizes(monkeypatch, fixed, least, size):
    configuration = SimpleNamespace(input_size=(3, 96, 96), fixed_input_size=fixed, min_input_size=least)
    timm = ModuleType("timm")
    timm.list_models = lambda: ["resnet10t"]
    timm.models = ModuleType("timm.models")
    timm.models.get_pretrained_cfg = lambda _: configuration
    monkeypatch.setitem(sys.modules, "timm", timm)
    made = draft("timm:resnet10t")

    assert 'timm.create_model("resnet10t", pretrained=False, num_classes=CLASSES)' in made.text
    assert f"SIZE = 10, {size}" in made.text
    with pytest.raises(ScaffoldError, match="timm has no model 'resnt10t', did you mean 'resnet10t'"):
        draft("timm:resnt10t")


def test_timm_is_asked_for_a_small_one_where_a_fixed_size_can_be_chosen(monkeypatch):
    made_for = {"vit": SimpleNamespace(patch_embed=SimpleNamespace(img_size=(64, 64)))}
    timm = ModuleType("timm")
    timm.list_models = lambda: ["vit", "swin", "refuses"]
    timm.models = ModuleType("timm.models")
    timm.models.get_pretrained_cfg = lambda _: SimpleNamespace(
        input_size=(3, 224, 224), fixed_input_size=True, min_input_size=None
    )
    made_for["swin"] = SimpleNamespace()
    timm.create_model = lambda name, **_: made_for[name]
    monkeypatch.setitem(sys.modules, "timm", timm)

    assert "num_classes=CLASSES, img_size=SIZE)" in draft("timm:vit").text
    assert "SIZE = 10, 64" in draft("timm:vit").text
    for name in ("swin", "refuses"):
        assert "SIZE = 10, 224" in draft(f"timm:{name}").text
        assert "img_size" not in draft(f"timm:{name}").text


@pytest.mark.parametrize(("name", "head"), [("bert", "SequenceClassification"), ("gpt2", "CausalLM")])
def test_a_model_type_of_transformers_is_complete(name, head):
    made = draft(f"transformers:{name}")
    recipe = getattr(loaded(made.text), name)()
    batch = next(iter(recipe.train_data))

    assert not made.missing
    assert type(recipe.model).__name__.endswith((head, "LMHeadModel"))
    assert recipe.model(**batch).loss.dim() == 0
    assert recipe.causal == (1 if head == "CausalLM" else None)


@pytest.mark.parametrize("name", ["vit", "t5", "BertForTokenClassification"])
def test_other_models_of_transformers_want_their_data(name):
    made = draft(f"transformers:{name}")

    ast.parse(made.text)
    assert "Recipe.from_transformers(model, todo(" in made.text
    assert [line.partition(":")[0] for line in made.missing] == ["dataset"]


def test_a_lightning_module_becomes_a_lightning_recipe(shop):
    (shop / "src" / "shop_of_nets" / "lit.py").write_text(
        "import lightning\n"
        "class Lit(lightning.LightningModule):\n    pass\n"
        "class WithData(Lit):\n    def train_dataloader(self):\n        return []\n",
        encoding="utf-8",
    )

    assert 'Recipe.from_lightning(model, todo("data: ' in draft("shop_of_nets.lit:Lit").text
    assert "Recipe.from_lightning(model)" in draft("shop_of_nets.lit:WithData").text


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("SmallNet", "small_net"),
        ("ResNet18", "res_net18"),
        ("GPT2LMHead", "gpt2_lm_head"),
        ("vit-b/16", "vit_b_16"),
        ("3DNet", "model_3_d_net"),
        ("class", "class_recipe"),
        ("torch", "torch_recipe"),
        ("Käse", "käse"),
    ],
)
def test_a_recipe_is_named_after_its_model(name, slug):
    assert identifier(name) == slug


def test_where_nothing_is_near_a_few_are_listed():
    names = [f"net{n}" for n in range(10)]

    assert nearest("no 'qqq'", "qqq", names).endswith("net6, net7 and 2 more)")
    assert nearest("no 'qqq'", "qqq", []) == "no 'qqq'"
