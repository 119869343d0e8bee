"""`arena rate` and `arena consistency` as others rely on them."""

import json
import subprocess
import sys

import pandas as pd
import pytest
from click.testing import CliRunner

from arena_learning.cli.rate import compare_arenas as consistency_command
from arena_learning.cli.rate import rate as rate_command
from arena_learning.core.errors import ArenaError

ROWS = [
    ("p1", "x", "y", "model_a", 120, 80),
    ("p1", "y", "x", "model_b", 80, 120),
    ("p2", "x", "y", "model_b", 60, 90),
    ("p2", "y", "x", "tie", 90, 60),
    ("p3", "z", "x", "model_b", 40, 70),
]
COLUMNS = ["prompt_id", "model_a", "model_b", "winner", "length_a", "length_b"]


@pytest.fixture
def log(tmp_path):
    path = tmp_path / "log.csv"
    pd.DataFrame(ROWS, columns=COLUMNS).to_csv(path, index=False)
    return str(path)


def run(command, *args):
    result = CliRunner().invoke(command, args, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_rate_prints_json(log):
    out = json.loads(run(rate_command, log, "--json", "--anchor", "x=1100", "--bootstrap", "40"))
    first = out["ratings"][0]
    assert {"model", "rating", "lower", "upper", "battles", "wins", "ties", "losses"} <= first.keys()
    assert {row["model"]: row["battles"] for row in out["ratings"]} == {"x": 5, "y": 4, "z": 1}
    assert next(row["rating"] for row in out["ratings"] if row["model"] == "x") == 1100
    assert {row["kind"] for row in out["diagnosis"]} == {"winless", "few_clusters"}


def test_rate_says_what_it_passed_over(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("model_a,model_b,winner\nx,y,A\nx,y,Tie\nx,y,\nx,y,who\n")
    with pytest.raises(ArenaError, match="unknown winner 'who'"):
        run(rate_command, str(path))
    text = run(rate_command, str(path), "--skip-bad", "--bootstrap", "0")
    assert "passed over: 1 rows, an unknown winner\npassed over: 1 rows, no winner given" in text
    passed = {"an unknown winner": 1, "no winner given": 1}
    assert json.loads(run(rate_command, str(path), "--skip-bad", "--json"))["passed_over"] == passed
    done = CliRunner().invoke(rate_command, [str(path), "--skip-bad", "--csv"])
    assert "passed over" in done.stderr
    assert "passed over" not in done.stdout


def test_rate_prints_a_table_with_all_extras(log):
    text = run(rate_command, log, "--style", "--elo", "--bias", "--baseline", "x", "--bootstrap", "0")
    for words in (
        "style-controlled",
        "online Elo",
        "length:",
        "flip_rate: 0.500",
        "win rate against",
        "! winless",
    ):
        assert words in text
    both = json.loads(run(rate_command, log, "--style", "--elo", "--bias", "--baseline", "x", "--json"))
    assert {"style", "online_elo", "win_rates", "bias", "average_win_rates"} <= both.keys()


def test_rate_prints_csv_that_consistency_reads(log, tmp_path):
    path = tmp_path / "board.csv"
    path.write_text(run(rate_command, log, "--csv", "--ties", "davidson", "--bootstrap", "30"))
    assert list(pd.read_csv(path).columns[:4]) == ["model", "rating", "lower", "upper"]
    out = json.loads(run(consistency_command, str(path), str(path), "--json"))
    assert {"spearman", "human_agreement", "differentiation", "mean", "pairs", "separated"} <= out.keys()
    assert (out["spearman"], out["pairs"]) == (pytest.approx(1.0), 3)
    assert "Spearman" in run(consistency_command, str(path), str(path))


@pytest.mark.parametrize("anchor", ["x", "x=high", "=3"])
def test_an_anchor_must_be_name_and_number(log, anchor):
    with pytest.raises(ArenaError, match="is not NAME=ELO"):
        run(rate_command, log, "--anchor", anchor)


def test_consistency_names_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ArenaError, match="no such file"):
        run(consistency_command, str(tmp_path / "a.csv"), str(tmp_path / "b.csv"))


def test_importing_the_room_loads_nothing_heavy():
    heavy = ("torch", "mlflow", "transformers", "pandas", "pyarrow", "scipy", "sklearn")
    code = f"import sys, arena_learning.rating; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
