"""What a judge's word on sampled answers becomes: scores, win rates, None, and how many games that takes."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from arena_learning.core.errors import ArenaError
from arena_learning.engines.chat import Chat
from arena_learning.engines.chat_format import ChatFormat
from arena_learning.judge.jury import Jury, Member
from arena_learning.judge.llm import LlmJudge
from arena_learning.judge.template import JudgeTemplate
from arena_learning.params import Rloo
from arena_learning.params.contestants import Sampling
from arena_learning.schema.rows import Instruction, Response, Turn
from arena_learning.store import Store
from arena_learning.train.diagnostics import training_warnings
from arena_learning.train.online.curve import online_figures
from arena_learning.train.online.group_judge import GroupJudge, RewardInputs, rank_agreement
from arena_learning.train.online.plan import (
    check_games,
    check_groups,
    games_needed,
    plan_online,
    prompt_order,
)
from arena_learning.train.online.trainer import sample_reader
from arena_learning.train.report import Phase, RowCount, WeightChange
from online_judges import FirstJudge, PairJudge, RuleJudge
from tiny import CHATML, build_chat_folder

sys.path.append(str(Path(__file__).parents[1] / "unit" / "judge"))

from scripted import ScriptedEngine

IDS = ("i1", "i2")
INSTRUCTIONS = [Instruction(id=name, turns=(Turn(role="user", content=f"Say {name}."),)) for name in IDS]


def answer(text, instruction_id="i1", contestant="sample", **fields):
    shared = {"finish_reason": "stop", "prompt_tokens": 1, "completion_tokens": 1}
    return Response(instruction_id=instruction_id, contestant=contestant, text=text, **{**shared, **fields})


def by_length(text):
    """Letters are points; what says "mute" is not scored."""
    return None if "mute" in text else float(min(10, max(1, len(text))))


@pytest.fixture
def asks(tmp_path):
    """Make a group judge: `asks(judge, "win_rate", "both", {"i1": ["abc"]})`, each call with the same store."""

    def make(judge, reward="score", against="opponents", opponents=None, **fields):
        recorded = {
            name: [answer(text, name, f"rival-{n}") for n, text in enumerate(texts)]
            for name, texts in (opponents or {}).items()
        }
        inputs = RewardInputs(INSTRUCTIONS, recorded, judge, judge, store, **fields)
        return GroupJudge(judge, inputs, reward, against)

    with Store(tmp_path / "store.sqlite") as store:
        yield make


def groups(*texts, instruction_id="i1"):
    return [[answer(text, instruction_id) for text in texts]]


def test_a_jury_of_judges_of_single_answers_rewards_each_answer_alone(asks):
    one, half = RuleJudge(by_length, "length"), RuleJudge(lambda text: max(1.0, len(text) / 2), "half")
    jury = Jury([Member("one", one), Member("half", half)], "mean")
    rewarded = asks(jury)
    # The mean of 1 and 1, of 4 and 2; of "mute" one member scores, and two must.
    assert rewarded.rewards(groups("a", "abcd", "mute")) == [[1.0, 3.0, None]]
    assert rewarded.judged == 3
    assert rewarded.games("i1", 3) == 3
    again = asks(one)
    assert again.rewards(groups("a", "abcd", "mute")) == [[1.0, 4.0, None]]
    assert again.judged == 0
    # A majority needs two answers to vote on.
    votes = asks(Jury(jury.members, "majority"), "win_rate", "group")
    assert votes.rewards(groups("a", "abcd", "abcdef")) == [[0.0, 0.5, 1.0]]


def test_a_score_is_the_judges_own_and_a_rerun_asks_nothing(asks):
    judge = RuleJudge(by_length)
    rewarded = asks(judge)
    two = [*groups("a", "abc", "mute", "abc"), *groups("abcde", "ab", "a", "abc", instruction_id="i2")]
    expected = [[1.0, 3.0, None, 3.0], [5.0, 2.0, 1.0, 3.0]]
    assert rewarded.rewards(two) == expected
    assert rewarded.judged == judge.asked == 7  # equal answers are asked about once
    again = asks(judge)
    assert again.rewards(two) == expected
    assert again.judged == 0
    assert judge.asked == 7


@pytest.mark.parametrize("kind", [RuleJudge, PairJudge])
def test_a_win_rate_is_the_mean_of_wins_ties_and_losses_whoever_judges(asks, kind):
    recorded = {"i1": ["ab", "abcd"]}
    rewarded = asks(kind(by_length), "win_rate", "opponents", recorded)
    assert rewarded.rewards(groups("a", "ab", "abc", "abcde")) == [[0.0, 0.25, 0.5, 1.0]]
    among = asks(kind(by_length), "win_rate", "group")
    # "abc" stands twice: the two tie, and nobody is asked about that
    assert among.rewards(groups("a", "abc", "abc")) == [[0.0, 0.75, 0.75]]
    both = asks(kind(by_length), "win_rate", "both", recorded)
    assert both.rewards(groups("a", "abc")) == [[0.0, pytest.approx(2 / 3)]]


@pytest.mark.parametrize("kind", [RuleJudge, PairJudge])
def test_what_is_unscored_counts_neither_as_a_loss_nor_as_a_tie(asks, kind):
    recorded = {"i1": ["ab", "mute"]}
    rewarded = asks(kind(by_length), "win_rate", "opponents", recorded)
    assert rewarded.rewards(groups("abc", "mute", "a")) == [[1.0, None, 0.0]]
    alone = asks(kind(by_length), "win_rate", "opponents", {"i1": ["mute"]})
    assert alone.rewards(groups("abc", "a")) == [[None, None]]


def test_a_judge_that_compares_gives_the_mean_of_its_scores(asks):
    rewarded = asks(FirstJudge(by_length), "score", "opponents", {"i1": ["ab", "abcd"]})
    assert rewarded.rewards(groups("abc", "abcde")) == [[3.5, 5.5]]  # one more in every other game
    among = asks(PairJudge(by_length), "score", "group")
    assert among.rewards(groups("abc", "abc")) == [[None, None]]  # nobody else to be shown beside
    assert among.rewards(groups("abc", "abc", "a")) == [[3.0, 3.0, 1.0]]


def test_a_language_model_that_compares_is_asked_for_each_pair_in_both_orders(asks):
    def longer(prompt, _):
        a, b = (len(re.split(f"</?response_{x}>", prompt)[1].strip()) for x in "ab")
        return f"Score-A: {min(10, a)}\nScore-B: {min(10, b)}\nExplanation: by length."

    engine = ScriptedEngine(longer)
    judge = LlmJudge("m", engine, JudgeTemplate("pairwise-score", Path()), Sampling(), 3)
    rewarded = asks(judge, "win_rate", "both", {"i1": ["abc"]})
    assert rewarded.rewards(groups("a", "abcd")) == [[0.0, 1.0]]
    assert len(engine.asked) == rewarded.judged == rewarded.games("i1", 2) == 6
    scored = asks(judge, "score", "opponents", {"i1": ["abc"]})
    assert scored.rewards(groups("a", "abcd")) == [[1.0, 4.0]]
    assert scored.judged == 0  # the same games


def test_orders_that_disagree_are_merged_as_in_the_rounds(asks):
    recorded = {"i1": ["abc"]}
    assert asks(FirstJudge(by_length), "win_rate", "opponents", recorded).rewards(groups("abc")) == [[0.5]]
    dropped = asks(FirstJudge(by_length), "win_rate", "opponents", recorded, disagree="drop")
    assert dropped.rewards(groups("abc", "abcdef")) == [[None, 1.0]]


def test_a_margin_makes_ties_of_what_differs_little(asks):
    for kind in (RuleJudge, PairJudge):
        judge = kind(by_length)
        judge.tie_margin = 1.0
        rewarded = asks(judge, "win_rate", "opponents", {"i1": ["ab"]})
        assert rewarded.rewards(groups("a", "abc", "abcd")) == [[0.5, 0.5, 1.0]]


def test_a_refused_opponent_is_met_by_nobody(asks):
    rewarded = asks(PairJudge(by_length), "win_rate", "opponents", {"i1": ["ab"]})
    refused = answer("", contestant="silent", finish_reason="refused", refusal="content filter")
    rewarded._inputs.opponents["i1"].append(refused)
    assert rewarded.rewards(groups("abc")) == [[1.0]]


def test_an_instruction_that_comes_twice_in_a_batch_is_judged_group_by_group(asks):
    rewarded = asks(PairJudge(by_length), "win_rate", "group")
    twice = [*groups("a", "ab"), *groups("abcd", "abc"), *groups("abc", "ab", instruction_id="i2")]
    assert rewarded.rewards(twice) == [[0.0, 1.0], [1.0, 0.0], [1.0, 0.0]]


@pytest.mark.parametrize("kind", [RuleJudge, PairJudge])
@pytest.mark.parametrize("reward", ["score", "win_rate"])
@pytest.mark.parametrize("against", ["opponents", "group", "both"])
def test_the_games_foretold_are_those_that_are_asked(asks, kind, reward, against):
    judge = kind(by_length)
    rewarded = asks(judge, reward, against, {"i1": ["x", "xy", "xyz"], "i2": ["x"]})
    two = [*groups("a", "bc", "def", "ghij"), *groups("k", "lm", "nop", "qrst", instruction_id="i2")]
    foretold = games_needed(IDS, Rloo(group=4), [rewarded])
    rewarded.rewards(two)
    assert judge.asked == foretold[0]


def test_the_ceiling_stops_before_the_start_and_is_told(capsys):
    settings = Rloo(judge="rubric", monitor="reference", max_judge_calls=30)
    check_games("rloo", settings, [20, 10])
    told = capsys.readouterr().err
    assert "at most 20 games by rubric (reward) and 10 by reference (monitor)" in told
    assert "train.rloo.max_judge_calls is 30" in told
    with pytest.raises(ArenaError, match="rloo may need 31 judged games") as caught:
        check_games("rloo", settings, [20, 11])
    assert caught.value.where == "train.rloo.max_judge_calls"
    check_games("rloo", settings.model_copy(update={"max_judge_calls": 0}), [10**9, 10**9])
    assert "is not set" in capsys.readouterr().err


def test_what_was_sampled_is_read_as_an_engine_reads_it(tmp_path):
    opened = CHATML.replace("assistant\n' }}{% endif", "assistant\n<think>\n' }}{% endif")
    folder = build_chat_folder(tmp_path / "thinker", opened, added={"<think>": False, "</think>": False})
    form = ChatFormat(Chat(folder))
    assert form.preamble_ids  # the end of an empty thought, which the prompt ends with
    ids = form.chat.tokens("Mars is blue.<|im_end|>")
    read = sample_reader(form, {"i1": 7})
    whole = read("i1", ids)
    assert (whole.text, whole.finish_reason) == ("Mars is blue.", "stop")
    assert (whole.prompt_tokens, whole.completion_tokens) == (7, len(ids))
    cut = read("i1", ids[:-2])
    assert cut.finish_reason == "length"
    assert "Mars is blue.".startswith(cut.text)
    assert cut.text


def test_groups_must_be_whole_and_together():
    check_groups(["i1", "i1", "i2", "i2", "i1", "i1"], 2)
    for spread in (["i1", "i2", "i1", "i2"], ["i1", "i1", "i2"], ["i1"]):
        with pytest.raises(ArenaError, match="not together"):
            check_groups(spread, 2)


@pytest.mark.parametrize("device_batch", [1, 3, 5, 8, 100])
@pytest.mark.parametrize(("prompts", "batch"), [(1, 8), (5, 2), (8, 8), (54, 8)])
def test_a_step_has_whole_groups_of_as_many_prompts_as_asked_for(prompts, batch, device_batch):
    settings = Rloo(batch_size=batch, device_batch_size=device_batch, group=3, epochs=2)
    plan = plan_online("rloo", settings, prompts)
    assert plan.prompts == min(batch, prompts)
    assert plan.laid.device_batch * plan.laid.accumulation == 3 * plan.prompts
    assert plan.laid.device_batch <= device_batch
    assert plan.laid.steps * plan.prompts >= 2 * prompts > (plan.laid.steps - 1) * plan.prompts
    lengths = [place % 3 for place in range(prompts)]
    order = prompt_order(lengths, plan, seed=4)
    assert len(order) == plan.laid.steps * plan.prompts
    assert sorted(order[:prompts]) == sorted(order[prompts : 2 * prompts]) == list(range(prompts))
    assert order == prompt_order(lengths, plan, seed=4)
    if prompts > 4:
        assert order != prompt_order(lengths, plan, seed=5)


def test_two_judges_agree_on_the_pairs_that_both_decide():
    assert rank_agreement([[1.0, 2.0, 3.0]], [[10.0, 20.0, 15.0]]) == pytest.approx(2 / 3)
    assert rank_agreement([[1.0, 1.0, None]], [[1.0, 2.0, 3.0]]) is None  # a tie, and no verdict
    # never across groups: 1 < 9 there would be a pair
    assert rank_agreement([[1.0, 2.0], [9.0, 8.0]], [[1.0, 2.0], [1.0, 2.0]]) == 0.5


def curve(reward, monitor):
    return [
        {"step": float(n), "reward": r, "monitor": m, "unscored": 0.25, "unended": 0.0, "groups_alike": 0.0}
        for n, (r, m) in enumerate(zip(reward, monitor, strict=True))
    ]


def test_a_reward_that_rises_while_the_monitor_falls_is_said_to_be_gamed():
    def told(points):
        figures = online_figures(points, sampled=40)
        phase = Phase(name="rloo", rows=RowCount(), steps=4, figures=figures)
        return "\n".join(training_warnings([phase], WeightChange(before_saving=1, after_saving=1), Rloo()))

    up, down = [1.0, 2.0, 3.0, 4.0], [9.0, 8.0, 7.0, 6.5]
    gamed = told(curve(up, down))
    assert "rloo: the reward rose from 1.00 to 4.00 while the monitor fell from 9.00 to 6.50" in gamed
    assert "the judge gave no verdict on 10 of 40 sampled answers" in gamed
    assert "gamed" not in told(curve(up, up))
    assert "gamed" not in told(curve(down, down))
    assert "gamed" not in told(curve(up, [5.0, 5.0, 5.0, 5.0]))
    alike = [{**point, "groups_alike": 0.75} for point in curve(up, up)]
    assert "in 75% of the groups all answers got the same reward" in told(alike)
