"""What is shown, without MLflow: figures and their names, samples, costs."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from arena_files import make_project

from arena_learning.core.errors import ArenaError
from arena_learning.core.json_files import read_json, write_json
from arena_learning.leaderboard.round_files import number_at
from arena_learning.params import Budget, Price
from arena_learning.report import LedgerRow
from arena_learning.schema.rows import Battle
from arena_learning.tracking.efficiency import battle_efficiency
from arena_learning.tracking.figures import flywheel_points, round_figures
from arena_learning.tracking.files import read_files
from arena_learning.tracking.run_view import RunView
from arena_learning.tracking.stage import scope
from arena_learning.tracking.tables import cut, ledger_table, sample_battles
from arena_learning.tracking.views import round_params

DOCS = Path(__file__).parents[2] / "docs" / "reference" / "metrics.md"


@pytest.fixture
def made(tmp_path):
    params, paths = make_project(tmp_path)
    return params, paths, read_files(params, paths)


def test_importing_the_room_loads_neither_mlflow_nor_torch():
    code = "import sys, arena_learning.tracking; print({'mlflow', 'torch', 'pandas'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "set()"


def test_figures_of_a_round_are_those_of_its_files(made):
    files = made[2]
    figures = round_figures("sft-i1", files)
    assert figures["elo/rubric_lower"] == 1020
    assert figures["step/reference"] == 50
    assert figures["win_rate/rubric_vs_base"] == 0.6
    assert figures["battle/target_win_rate"] == 0.25  # a loss and a tie
    assert figures["battle/target_cut_off_rate"] == 0.5
    assert figures["data/left_out/gap_below_the_threshold"] == 1
    assert figures["monitor/agreement_reference"] == 0.5
    assert figures["tokens/answer"] == 300
    assert figures["train/loss_last"] == 1.5
    assert figures["train/weight_change"] == 1.9e-4
    assert "monitor/kl" not in figures


def test_figures_of_samples_are_there_in_a_round_that_learns_from_them(made):
    params, paths, files = made
    assert not any(name.startswith("samples/") for name in round_figures("dpo-i1", files))
    judge = paths.stage_metrics("dpo-i1", "judge")
    before = round_figures("dpo-i1", files)
    scored = {
        "samples": 8,
        "unscored": 1,
        "games": 12,
        "mean_score": 3.0,
        "best_score": 5.0,
        "worst_score": 1.5,
    }
    write_json(judge, read_json(judge) | {"samples": {**scored, "seconds": 4.0, "tokens": 50}})
    figures = round_figures("dpo-i1", read_files(params, paths))
    assert (figures["samples/count"], figures["samples/unscored"], figures["samples/games"]) == (8, 1, 12)
    assert [figures[f"samples/{k}_score"] for k in ("mean", "best", "worst")] == [3.0, 5.0, 1.5]
    assert figures["seconds/judge"] == before["seconds/judge"] + 4.0
    assert figures["tokens/judge"] == before["tokens/judge"] + 50
    documented = set(re.findall(r"`(samples/\w+)`", DOCS.read_text(encoding="utf-8")))
    assert documented == {name for name in figures if name.startswith("samples/")}


SPENT = [
    LedgerRow("sft-i1", "battle", "contestant", "big", "m", False, 2, 2, 100, 40, 140, 3.0, 0.5),
    LedgerRow("sft-i1", "judge", "judge", "rubric", "", False, 8, 9, 0, 0, 0, 1.0, 0.0),
    LedgerRow("", "evaluate", "judge", "other", "m", True, 8, 9, None, None, 70, 1.0, None),
]


def test_what_was_spent_on_a_round_is_shown_and_nothing_else_is(made):
    files = made[2]._replace(ledger=SPENT)
    figures = round_figures("sft-i1", files)
    assert {name: value for name, value in figures.items() if name.startswith("spent/")} == {
        "spent/requests": 11,
        "spent/tokens_in": 100,
        "spent/tokens_out": 40,
        "spent/seconds": 4.0,
        "spent/money": 0.5,
    }
    unpriced = files._replace(ledger=[SPENT[0]._replace(money=None), SPENT[1]])
    assert "spent/money" not in round_figures("sft-i1", unpriced)
    (table,) = ledger_table(SPENT)
    assert table.columns[:4] == ("round", "stage", "role", "name")
    assert [row[3] for row in table.rows] == ["big", "rubric", "other"]
    assert ledger_table([]) == []


def test_prices_and_budget_make_no_other_flywheel(made):
    params = made[0]
    priced = params.model_copy(
        update={"budget": Budget(money=1.0), "prices": {"m": Price(input=1, output=2)}}
    )
    assert scope("here", priced) == scope("here", params)


def test_every_metric_name_is_documented(made):
    """A name in the docs may hold a placeholder such as ``<judge>``."""
    params, _, files = made
    files = files._replace(ledger=SPENT)
    named = re.findall(r"`([a-z_]+/[^` ]+)`", DOCS.read_text(encoding="utf-8"))
    patterns = [re.sub(r"<\w+>", r"[\\w.-]+", name) for name in named]
    names = {p.name for p in flywheel_points(files, params)}
    for name in params.rounds:
        names |= round_figures(name, files).keys()
    assert len(names) > 40
    assert [name for name in sorted(names) if not any(re.fullmatch(p, name) for p in patterns)] == []


def test_parameters_stay_few_and_share_their_names_over_methods(made):
    params, _, _ = made
    all_of_them = {name: round_params(name, params) for name in params.rounds}
    assert max(len(some) for some in all_of_them.values()) < 48
    assert all("train.learning_rate" in some for some in all_of_them.values())


@pytest.mark.parametrize("value", [None, True, "3", float("nan"), float("inf"), {}, [1]])
def test_what_is_no_finite_number_is_not_shown(value):
    assert number_at({"a": {"b": value}}, "a", "b") is None
    assert number_at({"a": {"b": 3}}, "a", "b") == 3.0


def test_the_sample_runs_from_the_widest_loss_to_the_widest_win():
    def battle(number: int, winner: str, gap: float | None) -> Battle:
        return Battle(
            instruction_id=f"i{number}",
            category="other",
            judge="j",
            a="new",
            b="other",
            winner=winner,
            gap=gap,
            games=2,
            unscored="no verdict" if winner == "unscored" else None,
        )

    battles = [battle(i, "a", i / 10) for i in range(1, 51)] + [battle(i, "b", i / 10) for i in range(51, 90)]
    battles += [battle(90, "tie", 0.0), battle(91, "unscored", None)]
    chosen = sample_battles(battles, "new")
    assert len(chosen) == 20
    assert [b.instruction_id for b in chosen[:1] + chosen[-1:]] == ["i89", "i91"]
    assert sample_battles(battles, "somebody else") == []
    assert sample_battles(battles[:3], "new") == battles[:3]


def test_long_texts_are_cut_and_say_so():
    assert cut("x" * 10, 4) == "xxxx [... 6 more characters]"
    assert cut("x" * 4, 4) == "xxxx"


def test_times_do_not_change_a_digest_and_figures_do():
    one = RunView(key="k", title="t", params={"a": "1"}, seconds=1.0, ended=5.0)
    assert one.digest() == RunView(key="k", title="t", params={"a": "1"}, seconds=9.0).digest()
    assert one.digest() != RunView(key="k", title="t", params={"a": "2"}).digest()


def test_efficiency_is_measured_beside_the_paper_and_human_votes(made):
    """Three rounds of 2 scored battles (of 3), 5 s of answering and 1 s of judging each: 3 s a battle."""
    params, paths, _ = made
    found = battle_efficiency(params, paths)
    measured = found["measured"]
    assert measured["battles"] == 6
    assert measured["seconds_per_battle"] == {"answering": 2.5, "judging": 0.5, "total": 3.0}
    assert measured["battles_per_day"] == 28_800
    assert measured["generated_answers"] == 6  # the recorded ones took no time
    assert measured["seconds_per_generated_answer"] == 2.5
    assert found["paper"]["seconds_per_battle"]["total"] == pytest.approx(0.7776)
    assert found["paper"]["times_human_votes"] == pytest.approx(40.6, abs=0.05)
    assert measured["times_human_votes"] == pytest.approx(28_800 / (1e6 / 365))


def test_efficiency_without_battles_says_what_to_do(made):
    params, paths, _ = made
    for name in params.rounds:
        paths.stage_metrics(name, "judge").unlink()
    with pytest.raises(ArenaError, match="no battle has been judged"):
        battle_efficiency(params, paths)
