"""Spaces: named by paths of params.yaml, checked by it, hashed, walked evenly."""

from __future__ import annotations

from itertools import islice

import pytest

from arena_learning.core.errors import ArenaError
from arena_learning.sweep.space import (
    current_values,
    decoded,
    design,
    encoded,
    grid,
    make_space,
    override,
    size,
    space_digest,
)
from arena_learning.sweep.spaces import chosen_space, judge_space, selection_space


def test_values_are_those_that_params_would_hold_and_the_one_in_force_is_among_them(files):
    params, _ = files
    space = make_space({"train.dpo.learning_rate": ["1e-5", 1], "dataset.opponents": [["plain"]]}, params)
    found = {d.path: d.choices for d in space}
    assert found == {"dataset.opponents": (["plain"], []), "train.dpo.learning_rate": (1e-5, 1.0, 0.001)}
    values = {"dataset.opponents": ["plain"], "train.dpo.learning_rate": 1e-5}
    assert decoded(space, encoded(values)) == values
    assert override(params, values).dataset.opponents == ("plain",)
    assert current_values(space, params) == {"dataset.opponents": [], "train.dpo.learning_rate": 0.001}


def test_the_hash_follows_the_space_and_not_its_order(files):
    params, _ = files
    one = make_space({"train.dpo.beta": [0.1, 0.3], "dataset.max_rows": [0]}, params)
    same = make_space({"dataset.max_rows": [0], "train.dpo.beta": [0.1, 0.3]}, params)
    other = make_space({"train.dpo.beta": [0.1, 0.5], "dataset.max_rows": [0]}, params)
    assert space_digest(one) == space_digest(same) != space_digest(other)


def test_the_design_meets_each_value_once_in_as_many_rows_and_never_changes(files):
    params, _ = files
    space = make_space({"train.dpo.beta": [0.1, 0.2, 0.3, 0.4], "dataset.max_rows": [0, 8]}, params)
    rows = list(islice(design(space, 3), 8))
    assert rows[:4] == list(islice(design(space, 3), 4))
    assert sorted(row["train.dpo.beta"] for row in rows[:4]) == [0.1, 0.2, 0.3, 0.4]
    assert sorted(row["train.dpo.beta"] for row in rows[4:]) == [0.1, 0.2, 0.3, 0.4]
    assert size(space) == len(grid(space)) == 8


def test_a_range_is_walked_evenly_on_its_scale(files):
    params, _ = files
    space = make_space({"train.dpo.learning_rate": {"low": 1e-5, "high": 1e-1, "log": True}}, params)
    rows = sorted(row["train.dpo.learning_rate"] for row in islice(design(space, 1), 4))
    assert size(space) is None
    for quarter, value in enumerate(rows):  # one in each quarter of the four decades
        assert 10 ** (-5 + quarter) <= value <= 10 ** (-4 + quarter)


def test_default_spaces_are_sound_for_every_round_and_judge(files):
    params, _ = files
    assert size(make_space(selection_space("dpo-i1", params), params)) > 8
    for name in params.judges:
        assert size(make_space(judge_space(name, params), params)) > 1


@pytest.mark.parametrize("entry", ["train.dpo.beta", "train.dpo.beta=", "train.dpo.beta=[0.1", "=3"])
def test_a_malformed_entry_of_the_command_line_is_named(entry, files):
    params, _ = files
    with pytest.raises(ArenaError):
        make_space(chosen_space({}, None, [entry]), params)


def test_the_file_replaces_the_default_and_entries_add_to_it(tmp_path):
    file = tmp_path / "space.yaml"
    file.write_text("train.dpo.beta: [0.1]\n", encoding="utf-8")
    assert chosen_space({"x": [1]}, file, ["y=[2]"]) == {"train.dpo.beta": [0.1], "y": [2]}
    assert chosen_space({"x": [1]}, None, []) == {"x": [1]}
    with pytest.raises(ArenaError, match="no such file"):
        chosen_space({}, tmp_path / "none.yaml", [])
