"""A leaderboard of real models from recorded verdicts, held against their human Arena ratings.

    python benchmarks/replay_leaderboard.py FOLDER [--judge weighted_alpaca_eval_gpt4_turbo]

FOLDER holds alpaca_eval_instructions.jsonl, alpaca_eval_responses.jsonl.gz, alpaca_eval_preferences.csv.gz and
alpaca_eval_arena_elo.csv (contestant, arena_elo_20240813). The way is the user's: import, a judge of kind replay, one
game a battle (the order of presentation is unknown), ratings with intervals by instruction.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
from pathlib import Path

import pandas as pd
from scipy.stats import spearmanr

from arena_learning.importers.run import import_files
from arena_learning.judge.health import judge_health
from arena_learning.judge.play import Pairing, play_games
from arena_learning.judge.replay import ReplayJudge
from arena_learning.pool.instructions import read_pool
from arena_learning.pool.read import read_answers
from arena_learning.rating import RatingParams, battles_from_frame, rate
from arena_learning.schema.row_files import read_rows
from arena_learning.schema.rows import RecordedVerdict, Response, by_id
from arena_learning.store.store import Store

FILES = ("alpaca_eval_instructions.jsonl", "alpaca_eval_responses.jsonl.gz", "alpaca_eval_preferences.csv.gz")
WINNERS = {"a": "model_a", "b": "model_b", "tie": "tie"}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--judge", default="weighted_alpaca_eval_gpt4_turbo")
    given = parser.parse_args()
    with (given.folder / "alpaca_eval_arena_elo.csv").open(newline="") as file:
        elo = {row["contestant"]: float(row["arena_elo_20240813"]) for row in csv.DictReader(file)}
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch)
        found = import_files("alpaca-eval", [given.folder / name for name in FILES], out, judge=given.judge)
        print(
            f"imported: {found['instructions']} instructions, {found['answers']} answers of {found['contestants']}"
        )
        judged, health = replayed(out, set(elo))
    frame = pd.DataFrame(
        {
            "model_a": [b.a for b in judged],
            "model_b": [b.b for b in judged],
            "winner": [WINNERS[b.winner] for b in judged],
            "prompt_id": [b.instruction_id for b in judged],
        }
    )
    ratings = rate(battles_from_frame(frame), RatingParams(bootstrap=200)).ratings
    print(
        f"battles: {len(judged)} of one game; flip rate {health['flip_rate']}, longer wins {health['longer_wins']:.0%}"
    )
    print(f"{'model':<36} {'rating':>7} {'95 %':>15} {'human':>7}")
    for r in ratings:
        print(f"{r.model:<36} {r.rating:>7.0f} {f'{r.lower:.0f} to {r.upper:.0f}':>15} {elo[r.model]:>7.0f}")
    rho = spearmanr([r.rating for r in ratings], [elo[r.model] for r in ratings]).statistic
    print(f"Spearman with the human Arena ratings: {rho:.3f} ({len(ratings)} models)")


def replayed(out: Path, known: set[str]) -> tuple[list, dict]:
    """Play every recorded pair whose contestants both have answers and a human rating."""
    instructions = by_id(read_pool(out / "instructions.jsonl"))
    verdicts = read_rows(out / "verdicts.jsonl", RecordedVerdict)
    pairs = [Pairing(v.instruction_id, v.first, v.second) for v in verdicts if {v.first, v.second} <= known]
    names = {name for p in pairs for name in (p.a, p.b)}
    fields = {"finish_reason": "stop", "prompt_tokens": 0, "completion_tokens": 0}
    responses = {
        (i, name): Response(instruction_id=i, contestant=name, text=text, **fields)
        for name in names
        for i, text in read_answers(out / "answers" / f"{name}.jsonl").items()
    }
    # One model left one instruction unanswered: what nobody answered cannot be shown to a judge.
    pairs = [p for p in pairs if {(p.instruction_id, p.a), (p.instruction_id, p.b)} <= responses.keys()]
    with Store(out / "store.sqlite") as store:
        judged = play_games(pairs, instructions, responses, ReplayJudge(out / "verdicts.jsonl"), store)
    return judged.battles, judge_health(judged.games, judged.battles, responses)


if __name__ == "__main__":
    main()
