from __future__ import annotations

import pytest

from arena_learning.core.errors import ArenaError
from arena_learning.core.paths import Paths
from arena_learning.params import parse_params
from arena_learning.project.check_data import check_disjoint, check_enough
from arena_learning.schema.row_files import write_rows


@pytest.fixture
def prepared(tmp_path, make_instruction):
    """Four disjoint files of two instructions."""
    paths = Paths(tmp_path)
    for name in ("d1", "d2", "validation", "test"):
        write_rows(
            paths.split(name), [make_instruction(f"{name}-{n}", f"{name} asks {n}?") for n in range(2)]
        )
    return paths


def test_disjoint_files_are_counted(prepared):
    assert check_disjoint(prepared) == 8


def test_a_split_that_holds_a_test_item_is_refused(prepared, make_instruction):
    rows = [make_instruction("d1-0", "d1 asks 0?"), make_instruction("test-1", "test asks 1?")]
    write_rows(prepared.split("d1"), rows)
    with pytest.raises(ArenaError, match=r"test and d1 share 1 instructions \(test-1\)"):
        check_disjoint(prepared)


def test_the_same_question_under_another_id_is_found(prepared, make_instruction):
    write_rows(prepared.split("d2"), [make_instruction("new", "validation asks 0?")])
    with pytest.raises(ArenaError, match=r"validation and d2 share 1 instructions \(validation-0\)"):
        check_disjoint(prepared)


def test_nothing_prepared_is_nothing_shared(tmp_path):
    assert check_disjoint(Paths(tmp_path)) == 0


def test_a_pool_too_small_is_said_before_anything_runs(tmp_path, make_params, make_instruction):
    raw = make_params(pool={"instructions": "pool.jsonl", "splits": {"d1": 4, "d2": 4}, "test": 4})
    params = parse_params(raw, "params.yaml")
    write_rows(tmp_path / "pool.jsonl", [make_instruction(f"i{n}", f"Question {n}") for n in range(11)])
    with pytest.raises(ArenaError, match="need 12 instructions, but the pool has 11"):
        check_enough(params, Paths(tmp_path))
    write_rows(tmp_path / "pool.jsonl", [make_instruction(f"i{n}", f"Question {n}") for n in range(12)])
    check_enough(params, Paths(tmp_path))
