"""The shape contract's language: what can be written, and what is said of what cannot."""

from __future__ import annotations

import pytest

from pytest_dlcheck.shapes import ShapeSyntaxError, TensorShape, parse_shapes


@pytest.mark.parametrize(
    "text",
    [
        "b 1 8 8 -> b 10",
        "b t, b t -> b t v",
        "b c h w -> logits: b 10, mask: b h w",
        "b t:int64 -> b t v:float32",
        "b t:int64 -> logits: b t v:bfloat16",
        "ids: b t:int64, mask: b t:bool -> b",
        "b -> out.logits: b",
    ],
)
def test_a_contract_reads_back_as_it_was_written(text):
    assert str(parse_shapes(text)) == text


def test_spaces_do_not_matter():
    assert parse_shapes("  b  4->b   2 ") == parse_shapes("b 4 -> b 2")


def test_names_sizes_and_types_are_told_apart():
    (tensor,) = parse_shapes("x: b t 4:int64 -> b").inputs
    assert tensor == TensorShape("x", ("b", "t", 4), "int64")


def test_named_dims_are_listed_once_in_order():
    assert parse_shapes("b t 3, b u -> b t v").names == ("b", "t", "u", "v")


def test_a_scalar_has_no_dims():
    assert parse_shapes("b 4 ->").outputs == (TensorShape("", ()),)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("b 4", '0 "->", not one'),
        ("b -> b -> b", '2 "->", not one'),
        ("b t:int65 -> b", "the dtype 'int65'; valid are bfloat16, bool"),
        ("b -1 -> b", "the dim '-1'"),
        ("b 2.5 -> b", "the dim '2.5'"),
        ("(b, 4) -> b", "the dim '(b'"),
    ],
)
def test_what_cannot_be_read_is_quoted_with_how_to_write_it(text, said):
    with pytest.raises(ShapeSyntaxError) as caught:
        parse_shapes(text)
    assert said in str(caught.value)
    assert repr(text) in str(caught.value)
