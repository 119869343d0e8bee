"""Ranges of a sweep: numbers as people write them, and a current value that a logarithm does not know."""

from __future__ import annotations

import pytest
import yaml

from arena_learning.core.errors import ArenaError
from arena_learning.params import parse_params
from arena_learning.sweep.space import make_space

BETA = "train.dpo.beta"


@pytest.mark.parametrize(
    "written",
    [
        "{low: 1e-1, high: 4e0}",  # YAML 1.1 reads both as text
        "{low: 1E-1, high: 4}",
        "{low: .1, high: 4.}",
        "{low: 0.1, high: +4}",
        "{low: '0.1', high: '4'}",
        "{low: 1e-1, high: 4.0e+0, log: false}",
    ],
)
def test_an_end_is_a_number_however_it_is_written(files, written):
    (found,) = make_space({BETA: yaml.safe_load(written)}, files[0])
    assert (found.low, found.high, found.log) == (0.1, 4.0, False)


@pytest.mark.parametrize(
    "written",
    [
        "{low: ten, high: 4}",
        "{low: 1e-1}",
        "{low: .inf, high: 4}",
        "{low: nan, high: 4}",
        "{low: yes, high: 4}",
        "{low: [0.1], high: 4}",
        "{low: 0.1, high: 4, log: 'no'}",  # a text that Python calls true
        "{low: 0.1, high: 4, log: 1}",
        "{low: 10%, high: 4}",
        "{low: 1e999, high: 4}",
    ],
)
def test_what_is_no_number_is_said_with_what_stands_there(files, written):
    with pytest.raises(ArenaError, match=r"write \{low: NUMBER, high: NUMBER") as caught:
        make_space({BETA: yaml.safe_load(written)}, files[0])
    assert BETA in str(caught.value)


def with_center(params, center):
    raw = params.model_dump(mode="json")
    raw["judges"]["rm"] = {"kind": "reward", "model": "models/base", "center": center}
    return parse_params(raw, "test")


@pytest.mark.parametrize("center", [0.0, -1.5])
def test_a_value_in_force_that_has_no_logarithm_is_said(files, center):
    space = {"judges.rm.center": {"low": 0.1, "high": 4.0, "log": True}}
    with pytest.raises(ArenaError, match="a logarithmic range cannot hold it") as caught:
        make_space(space, with_center(files[0], center))
    assert f"the current value {center:g} is always tried" in str(caught.value)
    assert "list values" in str(caught.value)


def test_a_value_in_force_above_0_widens_a_logarithmic_range(files):
    space = {"judges.rm.center": {"low": 0.1, "high": 4.0, "log": True}}
    (found,) = make_space(space, with_center(files[0], 0.01))
    assert (found.low, found.high) == (0.01, 4.0)
    assert 0.01 <= found.at(0.5) <= 4.0


def test_without_a_logarithm_0_is_a_value_as_others(files):
    space = {"judges.rm.center": {"low": 0.1, "high": 4.0}}
    assert make_space(space, with_center(files[0], 0.0))[0].low == 0.0
