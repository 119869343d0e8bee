"""Templates by category, JSON verdicts, replayed verdicts, the baseline, the reward model."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scripted import ScriptedEngine

from arena_learning.core.errors import ArenaError
from arena_learning.core.paths import Paths
from arena_learning.engines.base import Completion, Refused
from arena_learning.judge.build import open_judge
from arena_learning.judge.health import judge_health
from arena_learning.judge.length_baseline import LengthBaselineJudge
from arena_learning.judge.llm import LlmJudge
from arena_learning.judge.parse import read_json_scores
from arena_learning.judge.play import Pairing, play_games
from arena_learning.judge.replay import ReplayJudge
from arena_learning.judge.template import JudgeTemplate
from arena_learning.params import parse_params
from arena_learning.params.contestants import Sampling
from arena_learning.schema.row_files import write_rows
from arena_learning.schema.rows import RecordedVerdict, Turn
from arena_learning.store.store import Store
from arena_learning.testing.judge_suite import INSTRUCTION, check_judge, present


@pytest.mark.parametrize(
    ("text", "scores"),
    [
        ('{"Score-A": 7, "Score-B": 4.5}', (7, 4.5)),
        ('Sure!\n```json\n{"explanation": "x", "Score-A": 7, "Score-B": 4}\n```', (7, 4)),
        ('{"Score-A": 1, "Score-B": 2} no: {"Score-A": 7, "Score-B": 4}', (7, 4)),
        ('{"Score-A": 7, "Score-B": 4} and {"note": 1} {"Score-A": 9}', (7, 4)),
        ('{"explanation": "it prints {\\"Score-A\\": 10}", "Score-A": 7, "Score-B": 4}', (7, 4)),
        ('{broken {"Score-A": 7, "Score-B": 4}', (7, 4)),
        ('{"explanation": "one\n\ttwo", "Score-A": 7, "Score-B": 4}', (7, 4)),
    ],
)
def test_the_last_well_formed_object_counts(text, scores):
    assert read_json_scores(text) == (*scores, None)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "an empty verdict"),
        ("Score-A: 7\nScore-B: 4", "no JSON object with both scores"),
        ('{"Score-A": 7}', "no JSON object with both scores"),
        ('{"Score-A": 7, "Score-B": 4', "no JSON object with both scores"),
        ('{"Score-A": 7, "Score-A": 8, "Score-B": 4}', "no JSON object with both scores"),
        ('{"verdict": {"Score-A": 7, "Score-B": 4}}', "no JSON object with both scores"),
        ('{"Score-A": "7", "Score-B": 4}', """a score that is no number: '"7"'"""),
        ('{"Score-A": true, "Score-B": 4}', "a score that is no number: 'true'"),
        ('{"Score-A": 7, "Score-B": null}', "a score that is no number: 'null'"),
        ('{"Score-A": 11, "Score-B": 4}', "a score outside 1 to 10"),
        ('{"Score-A": NaN, "Score-B": 4}', "a score outside 1 to 10"),
        ("{" * 50_000, "no JSON object with both scores"),
        ('{"a":' * 50_000, "no JSON object with both scores"),
    ],
)
def test_anything_else_is_no_verdict(text, problem):
    assert read_json_scores(text) == (None, None, problem)


def test_a_category_may_have_a_template_of_its_own():
    engine = ScriptedEngine(lambda *_: "Score-A: 3\nScore-B: 8")
    plain, guided = (JudgeTemplate(n, Path()) for n in ("pairwise-score", "reference-guided"))
    judge = LlmJudge("m", engine, plain, Sampling(), 1, {"coding": guided})
    coding = INSTRUCTION.model_copy(update={"category": "coding"})
    judge.score([present("good", "poor"), present("good", "poor", coding)])
    assert ["known to be right" in prompt for prompt, _ in engine.asked] == [False, True]
    assert judge.fingerprint != LlmJudge("m", engine, plain, Sampling(), 1).fingerprint


def test_the_template_for_several_turns_shows_them_all_numbered():
    turns = tuple(
        Turn(role=r, content=c) for r, c in (("user", "Un?"), ("assistant", "Deux."), ("user", "Encore?"))
    )
    several = INSTRUCTION.model_copy(update={"turns": turns})
    prompt = JudgeTemplate("multi-turn", Path()).render(present("good", "poor", several))
    assert "[user, turn 1 of 3]\nUn?\n[assistant, turn 2 of 3]\nDeux.\n[user, turn 3 of 3]\nEncore?" in prompt


def test_a_verdict_that_was_cut_off_before_its_end_is_none():
    class Cut(ScriptedEngine):
        def respond(self, conversations, sampling):
            return [c._replace(finish_reason="length") for c in super().respond(conversations, sampling)]

    said = "It says\nScore-A: 9\nScore-B: 2\nand"
    raised = "cut off before the verdict: raise judges.NAME.max_tokens (160)"
    for name, problem in (("reasoning-first", raised), ("pairwise-score", None)):
        judge = LlmJudge("m", Cut(lambda *_: said), JudgeTemplate(name, Path()), Sampling(), 1)
        assert judge.score([present("good", "poor")])[0].unscored == problem


def test_a_prompt_that_the_engine_refuses_is_unscored_and_stops_nothing():
    class Choosy(ScriptedEngine):
        def stream(self, conversations, sampling):
            for place, conversation in reversed(list(enumerate(conversations))):
                long = "Rhine" in conversation[-1].content
                yield [
                    (
                        place,
                        Refused("too long")
                        if long
                        else Completion("Score-A: 3\nScore-B: 8", "stop", 1, 1, 0),
                    )
                ]

    judge = LlmJudge("m", Choosy(None), JudgeTemplate("pairwise-score", Path()), Sampling(), 3)
    refused, scored = judge.score([present("good", "poor"), present("good", "good")])
    assert refused.unscored == "the judge was refused: too long"
    assert scored[:2] == (3, 8)


def test_the_baseline_conforms_and_likes_the_longer():
    check_judge(LengthBaselineJudge())
    (verdict,) = LengthBaselineJudge().score([present("one two three", "one")])
    assert verdict[:2] == (7.75, 3.25)  # 3 of 4 words: 1 + 9 * 0.75


def verdict(first, second, share, known=True, instruction="i1"):
    return RecordedVerdict(
        instruction_id=instruction,
        first=first,
        second=second,
        score_first=10 - 9 * share,
        score_second=1 + 9 * share,
        order_known=known,
    )


def replay(tmp_path, make_instruction, make_response, rows, names=("a", "b", "c")):
    write_rows(tmp_path / "gpt4.jsonl", rows)
    responses = {("i1", n): make_response("i1", n, "the same") for n in names}
    pairs = [Pairing("i1", x, y) for x in names for y in names if x < y]
    with Store(tmp_path / "store.sqlite") as store:
        judged = play_games(
            pairs, {"i1": make_instruction()}, responses, ReplayJudge(tmp_path / "gpt4.jsonl"), store
        )
        assert store.count("game") == 0  # names decide here, and no key holds them
    return judged, judge_health(judged.games, judged.battles, responses)


def test_a_verdict_of_unknown_order_is_a_battle_of_one_game(tmp_path, make_instruction, make_response):
    rows = [verdict("b", "a", 0.75, known=False), verdict("a", "c", 0.5, known=False)]
    judged, health = replay(tmp_path, make_instruction, make_response, rows)
    ab, ac, bc = judged.battles
    assert (ab.winner, ab.games, ab.orders_agree) == ("a", 1, None)
    assert (ab.score_a, ab.score_b) == (7.75, 3.25)
    assert (ac.winner, ac.score_a) == ("tie", 5.5)
    assert bc.unscored == "no recorded verdict"
    assert (health["flip_rate"], health["first_position_share"], judged.judged) == (None, None, 0)


@pytest.mark.parametrize("known", [True, False])
def test_recorded_verdicts_conform_but_for_the_names(tmp_path, known):
    orders = [("a", "b"), ("b", "a")] if known else [("a", "b")]
    write_rows(tmp_path / "v.jsonl", [verdict(*order, 0.25, known) for order in orders])
    check_judge(ReplayJudge(tmp_path / "v.jsonl"), by_name=True)
    assert ReplayJudge(tmp_path / "v.jsonl").score([present("good", "poor")])[0][:2] == (7.75, 3.25)


def test_verdicts_of_known_order_are_two_games_with_flips(tmp_path, make_instruction, make_response):
    rows = [verdict("a", "b", 0.0), verdict("b", "a", 0.0)]  # whoever stands first wins
    judged, health = replay(tmp_path, make_instruction, make_response, rows, ("a", "b"))
    assert (judged.battles[0].winner, judged.battles[0].orders_agree) == ("tie", False)
    assert (health["flip_rate"], health["first_position_share"]) == (1, 1)


def test_recorded_verdicts_that_contradict_each_other_are_refused(tmp_path):
    file = tmp_path / "v.jsonl"
    write_rows(file, [verdict("a", "b", 0.0, known=False), verdict("b", "a", 0.0, known=False)])
    with pytest.raises(ArenaError, match="judged twice") as caught:
        ReplayJudge(file)
    assert "v.jsonl, line 2" in caught.value.where
    write_rows(file, [verdict("a", "b", 0.0), verdict("a", "c", 0.0, known=False)])
    with pytest.raises(ArenaError, match="the order is known for some rows"):
        ReplayJudge(file)


def test_judges_are_opened_from_their_parameters(tmp_path, make_params):
    write_rows(tmp_path / "v.jsonl", [verdict("a", "b", 0.0)])
    judges = {
        "rubric": {"kind": "longer"},
        "old": {"kind": "replay", "model": "v.jsonl"},
        "big": {
            "kind": "llm",
            "engine": "openai",
            "model": "m",
            "base_url": "http://127.0.0.1:9/v1",
            "templates": {"coding": "reference-guided"},
        },
    }
    params = parse_params(make_params(judges=judges), "here")
    opened = [open_judge(name, params, Paths(tmp_path)) for name in judges]
    assert [j.label.split()[0] for j in opened] == ["longer", "replay", "llm"]
    for bad in ({"kind": "replay"}, {"kind": "reward"}, {"kind": "llm", "engine": "openai", "model": "m"}):
        with pytest.raises(ArenaError, match="needs"):
            parse_params(make_params(judges={"rubric": bad}), "here")


@pytest.fixture(scope="module")
def reward_folder(tmp_path_factory):
    """A tiny reward model: random, but a model of its own kind with a tokenizer whose pad is its end of turn."""
    import torch
    from transformers import AutoModelForSequenceClassification

    from tiny import build_tiny_model

    folder = build_tiny_model(tmp_path_factory.mktemp("reward") / "m")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        model = AutoModelForSequenceClassification.from_pretrained(str(folder), num_labels=1)
    model.save_pretrained(folder)
    return folder


@pytest.mark.torch
@pytest.mark.filterwarnings("ignore")
def test_a_reward_model_conforms_and_reads_the_end_of_the_answer(reward_folder):
    from arena_learning.judge.reward import Calibration, RewardJudge

    check_judge(RewardJudge(reward_folder, Calibration()))
    judge = RewardJudge(reward_folder, Calibration())
    pair = present("The Danube.", "The Rhine.")
    reader = judge._model
    ids = reader.encode(pair.instruction, pair.first).ids
    assert ids[-1] in reader.chat.stop_ids
    # The head's own number at the last token, worked out without the pooling of the library.
    import torch

    hidden = reader._model.model(torch.tensor([ids])).last_hidden_state[0, -1]
    assert judge.reward(pair.instruction, pair.first) == pytest.approx(
        float(reader._model.score(hidden)), abs=1e-5
    )
    one, two = judge.score([pair])[0][:2]
    assert judge.score([pair._replace(first=pair.second, second=pair.first)])[0][:2] == (two, one)
    center = judge.reward(pair.instruction, pair.first)
    narrow = RewardJudge(reward_folder, Calibration(center, 0.001)).score([pair])[0]
    assert narrow[0] == 5.5
    assert (narrow[0] > narrow[1]) == (one > two)


@pytest.mark.torch
@pytest.mark.filterwarnings("ignore")
def test_an_audit_fits_the_map_of_a_reward_judge_to_the_labels(reward_folder, tmp_path, make_params):
    from arena_learning.judge.audit.labelled import read_labelled
    from arena_learning.judge.audit.run import audit_judges
    from arena_learning.judge.reward import Calibration, RewardJudge, calibrate

    texts = [("The Danube.", "No."), ("Four rivers meet.", "It is."), ("Yes, by boat.", "The end of it all.")]
    fields = [
        {"id": f"p{n}", "instruction": f"Question {n}?", "response_a": a, "response_b": b, "label": label}
        for n, ((a, b), label) in enumerate(zip(texts, ("model_a", "model_b", "tie"), strict=True))
    ]
    file = tmp_path / "labels.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in fields))
    params = parse_params(
        make_params(judges={"rubric": {"kind": "reward", "model": str(reward_folder)}}, files_outside=True),
        "here",
    )
    found = audit_judges(file, ["rubric"], params, Paths(tmp_path), calibrate=True)["judges"]
    judge, labelled = RewardJudge(reward_folder, Calibration()), read_labelled(file)
    rewards = [
        [judge.reward(i, labelled.responses[i.id, side]) for side in "ab"]
        for i in labelled.instructions.values()
    ]
    fitted = calibrate(np.array(rewards), np.array([1.0, 0.0, 0.5]))
    assert found["rubric"]["calibration"] == {
        "center": pytest.approx(fitted.center, abs=1e-3),
        "scale": pytest.approx(fitted.scale, abs=1e-3),
    }
    assert "calibration" not in found["longer"]


@pytest.mark.torch
def test_a_folder_that_is_no_reward_model_is_refused(tmp_path):
    from arena_learning.judge.reward import Calibration, RewardJudge

    with pytest.raises(ArenaError):
        RewardJudge(tmp_path / "nothing", Calibration())


def test_the_map_from_rewards_to_scores_rises_and_is_fitted_to_labels():
    from arena_learning.judge.reward import Calibration, calibrate

    assert Calibration(2.0, 0.5).score(2.0) == 5.5
    rising = [Calibration().score(r) for r in np.linspace(-9, 9, 50)]
    assert rising == sorted(rising)
    assert (Calibration().score(-1e9), Calibration().score(1e9)) == (1, 10)
    rng = np.random.default_rng(0)
    rewards = rng.normal(3, 2, (4000, 2))
    chance = 1 / (1 + np.exp(-(rewards[:, 0] - rewards[:, 1]) / 1.5))
    found = calibrate(rewards, (rng.random(4000) < chance).astype(float))
    assert found.center == pytest.approx(3, abs=0.1)
    assert found.scale == pytest.approx(1.5, rel=0.1)
    # Perfectly separable: the likelihood has no top, the scale still has an end.
    assert 0 < calibrate(rewards, (rewards[:, 0] > rewards[:, 1]).astype(float)).scale < 0.1
