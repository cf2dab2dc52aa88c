"""Suspects that share a finding, gathered by module."""

from __future__ import annotations

import pytest

from pytest_dlcheck.reports.places import MANY, gathered
from pytest_dlcheck.verdict import Suspect


def told(sites, finding="never moves"):
    return [(s.site, s.finding) for s in gathered(Suspect(site, finding) for site in sites)]


@pytest.mark.parametrize(
    ("sites", "expected"),
    [
        ([], []),
        (["head.weight"], [("head.weight", "never moves")]),
        (["encoder", "head"], [("encoder", "never moves"), ("head", "never moves")]),
        (["optimizer", ""], [("optimizer", "never moves"), ("", "never moves")]),
        (["head.weight", "head.bias"], [("head", "never moves (weight, bias)")]),
        (
            ["a.weight", "b.0.weight", "a.bias", "b.0.bias", "c.weight"],
            [
                ("a", "never moves (weight, bias)"),
                ("b.0", "never moves (weight, bias)"),
                ("c.weight", "never moves"),
            ],
        ),
        (["head.weight", "head.weight"], [("head.weight", "never moves")]),
    ],
)
def test_parts_of_one_module_are_one_place(sites, expected):
    assert told(sites) == expected


def test_a_deep_network_is_told_by_its_outer_modules():
    sites = [
        f"net.layer{i}.{j}.conv.{w}" for i in range(4) for j in range(3) for w in ("weight", "bias")
    ]
    assert told([*sites, "fc.weight", "fc.bias"]) == [
        *((f"net.layer{i}", "never moves (6 places, such as 0.conv.weight)") for i in range(4)),
        ("fc", "never moves (weight, bias)"),
    ]
    wide = [f"layer{i}.weight" for i in range(MANY + 4)]
    assert told(wide) == [(site, "never moves") for site in wide]


def test_what_differs_stays_apart_and_in_order():
    found = gathered(
        [
            Suspect("a.weight", "moves too far"),
            Suspect("a.bias", "never moves"),
            Suspect("b.weight", "moves too far", "lower lr"),
            Suspect("a.scale", "moves too far"),
        ]
    )
    assert [(s.site, s.finding, s.remedy) for s in found] == [
        ("a", "moves too far (weight, scale)", ""),
        ("a.bias", "never moves", ""),
        ("b.weight", "moves too far", "lower lr"),
    ]
