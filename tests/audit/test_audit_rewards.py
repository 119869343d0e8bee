"""Reward models of several architectures as judges: what they read, in one pass an answer, whatever the batch."""

from __future__ import annotations

import shutil
from itertools import combinations
from pathlib import Path

import pytest
from tiny_rewards import DECODERS, ENCODERS, build_reward_model

from arena_learning.core.errors import ArenaError
from arena_learning.core.json_files import read_json, write_json
from arena_learning.core.paths import Paths
from arena_learning.engines.weights import weights_digest
from arena_learning.judge.build import open_judge
from arena_learning.judge.play import Pairing, play_games
from arena_learning.judge.point_scores import PointScores
from arena_learning.judge.reward import Calibration, RewardJudge
from arena_learning.params import parse_params
from arena_learning.schema.rows import Turn
from arena_learning.store.store import Store
from arena_learning.testing.judge_suite import INSTRUCTION, TEXTS, check_judge, present

pytestmark = [pytest.mark.torch, pytest.mark.filterwarnings("ignore")]
FIT = [text for text in TEXTS.values() if len(text) < 1000]
PAIR = present("good", "poor")
TURNS = tuple(
    Turn(role=role, content=text)
    for role, text in (("user", "Un?"), ("assistant", "Deux."), ("user", "Encore?"))
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return the folder of a kind of reward model, built once."""
    built: dict[str, Path] = {}

    def make(kind: str) -> Path:
        if kind not in built:
            built[kind] = build_reward_model(tmp_path_factory.mktemp("rewards") / kind, kind)
        return built[kind]

    return make


def judge(path: Path, **options) -> RewardJudge:
    return RewardJudge(path, Calibration(), device="cpu", **options)


def rows_of(model):
    return [model.encode(INSTRUCTION, present(text, "poor").first) for text in FIT]


@pytest.mark.parametrize("kind", ["llama", "qwen2", "deberta-v2"])
def test_it_conforms(folder, kind):
    check_judge(judge(folder(kind)))


@pytest.mark.parametrize("kind", [*DECODERS, *ENCODERS])
def test_a_batch_padded_on_the_right_gives_the_numbers_of_single_rows(folder, kind):
    model = judge(folder(kind))._model
    rows = rows_of(model)
    assert len({len(row.ids) for row in rows}) > 3
    alone = [model._pass([row])[0] for row in rows]
    assert model._pass(rows) == pytest.approx(alone, abs=1e-4)
    assert max(alone) - min(alone) > 0.1, "the model tells answers apart"
    assert model.rewards(rows) == alone, "in fp32 on a CPU no batch changes anything"


@pytest.mark.parametrize("kind", ["llama", "bert"])
def test_the_last_token_counts_even_where_it_is_the_padding_token(folder, kind):
    """A row is longer than the one beside it by what stands behind the end of turn, or before it: neither is lost."""
    model = judge(folder(kind))._model
    short, long = (
        model.encode(INSTRUCTION, present(text, "").first) for text in ("Yes.", "The Danube. " * 9)
    )
    assert model._pass([short, long]) == pytest.approx(
        [model._pass([short])[0], model._pass([long])[0]], abs=1e-4
    )
    if kind == "llama":
        assert short.ids[-1] == model.tokenizer.pad_token_id == long.ids[-1]


def test_in_bf16_rows_of_like_length_share_a_pass_and_the_verdict_says_so(folder):
    exact, rough = judge(folder("llama")), judge(folder("llama"), dtype="bf16", batch_size=4)
    assert (exact.batch_exact, rough.batch_exact) == (True, False)
    presentations = [present(text, "poor") for text in FIT]
    for one, two in zip(exact.score(presentations), rough.score(presentations), strict=True):
        assert two[:2] == pytest.approx(one[:2], abs=0.3)
    assert rough.fingerprint["dtype"] == "bf16"
    assert rough.label.endswith(" bf16")
    model = rough._model
    assert [model._fits([10, 11, 40, 41]), model._fits([9000, 9001]), model._fits([20_000])] == [4, 1, 1]
    assert exact._model._fits([10, 10, 11, 11]) == 1


def test_the_key_of_a_reward_judge_is_what_it_was(folder):
    path = folder("llama")
    made = judge(path)
    assert made.fingerprint == {
        "judge": "reward v1",
        "weights": weights_digest(path),
        "chat_template": made._model.chat.digest,
        "calibration": "0.0 1.0",
    }
    assert made.label == f"reward {weights_digest(path)[:8]} v1"


def test_an_encoder_reads_question_and_answer_as_its_pair_of_texts(folder):
    model = judge(folder("deberta-v2"))._model
    tokenizer = model.tokenizer
    question = INSTRUCTION.turns[0].content
    row = model.encode(INSTRUCTION, PAIR.first)
    assert list(row.ids) == tokenizer(question, PAIR.first.text)["input_ids"]
    assert set(row.types) == {0, 1}
    several = INSTRUCTION.model_copy(update={"turns": TURNS})
    joined = "user: Un?\n\nassistant: Deux.\n\nuser: Encore?"
    assert list(model.encode(several, PAIR.first).ids) == tokenizer(joined, PAIR.first.text)["input_ids"]
    attack = model.encode(INSTRUCTION, present("no [SEP] [CLS] yes", "").first)
    assert (attack.ids.count(2), attack.ids.count(3)) == (1, 2), "what was written ends no text"
    assert model.reading["chat_template"] == "none: a pair of texts"


def test_a_decoder_without_a_chat_template_is_refused(folder, tmp_path):
    path = shutil.copytree(folder("llama"), tmp_path / "m")
    (path / "chat_template.jinja").unlink()
    with pytest.raises(ArenaError, match="no chat template"):
        judge(path)


def test_a_chat_template_may_be_given_to_a_judge_of_either_kind(folder, tmp_path, make_params):
    path = shutil.copytree(folder("llama"), tmp_path / "models" / "m")
    (path / "chat_template.jinja").unlink()
    (tmp_path / "mine.jinja").write_text(
        "{% for m in messages %}<|im_start|>{{ m.content }}<|im_end|>{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>{% endif %}",
        encoding="utf-8",
    )
    entry = {"model": "models/m", "chat_template": "mine.jinja"}
    params = make_params(
        judges={
            "rubric": {"kind": "reward", **entry},
            "asked": {"kind": "llm", "engine": "transformers", **entry},
        }
    )
    reward, asked = (
        open_judge(name, parse_params(params, "here"), Paths(tmp_path)) for name in ("rubric", "asked")
    )
    assert reward.score([PAIR])[0].unscored is None
    assert reward._model.tokenizer.decode(reward._model.encode(*PAIR[:2]).ids).count("<|im_start|>") == 2
    assert asked._engine.chat.template == reward._model.chat.template


def test_what_does_not_fit_is_unscored_and_stops_nothing(folder):
    for kind in ("llama", "bert"):
        made = judge(folder(kind))
        long, fine = made.score([present("100 kB", "poor"), present("good", "poor")])
        assert long.unscored == "longer than the reward model's context"
        assert fine.unscored is None
        with pytest.raises(ValueError, match="longer than"):
            made.reward(INSTRUCTION, present("100 kB", "").first)


def watch(made: RewardJudge) -> list[int]:
    """Return a list that gets the number of rows of each call of the model."""
    seen: list[int] = []
    real = made._model.rewards

    def counted(rows):
        seen.append(len(rows))
        return real(rows)

    made._model.rewards = counted
    return seen


def test_an_answer_is_read_once_however_many_it_meets(folder, tmp_path, make_instruction, make_response):
    made = judge(folder("llama"))
    seen = watch(made)
    known = {f"i{n}": make_instruction(f"i{n}", f"Question {n}?") for n in range(3)}
    responses = {(i, c): make_response(i, c, f"{c} answers {i}") for i in known for c in "abcd"}
    pairs = [Pairing(i, x, y) for i in known for x, y in combinations("abcd", 2)]
    with Store(tmp_path / "s.sqlite") as store:
        judged = play_games(pairs, known, responses, made, store)
        assert sum(seen) == len(responses) == 12
        assert len(judged.games) == 18  # 3 instructions, 6 pairs; a score of one answer has no order
        assert all(battle.orders_agree is None for battle in judged.battles)
        made.score([present("good", "good"), present("good", "poor"), present("poor", "good")])
        assert sum(seen) == 12 + 2, "across calls too"
        again = judge(folder("llama"))
        watched = watch(again)
        assert play_games(pairs, known, responses, again, store).games == judged.games
        assert not watched, "and remembered"


def test_rewards_in_memory_are_bounded(folder):
    made = judge(folder("llama"))
    made._known = PointScores(most=3)
    presentations = [present(text, "poor") for text in FIT]
    one_by_one = [made.score([p])[0][:2] for p in presentations]
    assert len(made._known) <= 3
    assert one_by_one == [verdict[:2] for verdict in judge(folder("llama")).score(presentations)]


def test_a_head_that_would_be_random_and_one_with_two_numbers_are_refused(tmp_path):
    base = build_reward_model(tmp_path / "base", "qwen2", head=False)
    with pytest.raises(ArenaError, match=r"the weights lack score.weight: it would be random"):
        judge(base)
    two = build_reward_model(tmp_path / "two", "qwen2", labels=2)
    with pytest.raises(ArenaError, match="the model has 2 outputs"):
        judge(two)


CODE = """
import torch
from transformers import LlamaConfig, LlamaModel, LlamaPreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutputWithPast


class OwnConfig(LlamaConfig):
    model_type = "own_reward"


class OwnReward(LlamaPreTrainedModel):
    config_class = OwnConfig

    def __init__(self, config):
        super().__init__(config)
        self.model = LlamaModel(config)
        self.v_head = torch.nn.Linear(config.hidden_size, {outputs}, bias=False)
        self.post_init()

    def forward(self, input_ids=None, attention_mask=None, **kwargs):
        hidden = self.model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        ends = attention_mask.cumsum(1).argmax(1)
        assert (input_ids[torch.arange(len(ends)), ends] == self.config.reward_token_id).all()
        return SequenceClassifierOutputWithPast(logits=self.v_head(hidden[torch.arange(len(ends)), ends]))
"""


@pytest.fixture(scope="module")
def own_head(folder, tmp_path_factory):
    """Return a model with a head of its own, in code that comes with it, that reads a token of its own."""

    def make(outputs: int) -> Path:
        from safetensors.torch import load_file, save_file

        path = tmp_path_factory.mktemp("own") / f"own{outputs}"
        shutil.copytree(folder("llama"), path)
        (path / "own.py").write_text(CODE.replace("{outputs}", str(outputs)), encoding="utf-8")
        weights = load_file(path / "model.safetensors")
        weights["v_head.weight"] = weights.pop("score.weight").repeat(outputs, 1)
        save_file(weights, path / "model.safetensors", metadata={"format": "pt"})
        config = read_json(path / "config.json")
        own = {"AutoConfig": "own.OwnConfig", "AutoModel": "own.OwnReward"}
        config |= {
            "model_type": "own_reward",
            "architectures": ["OwnReward"],
            "auto_map": own,
            "reward_token_id": 5,
        }
        write_json(path / "config.json", config)
        return path

    return make


def test_a_head_of_its_own_runs_only_where_its_code_is_trusted(own_head, folder):
    path = own_head(1)
    with pytest.raises(ArenaError) as caught:
        judge(path)
    assert "trust_remote_code: true" in str(caught.value)
    made = judge(path, trust_remote_code=True)
    model = made._model
    plain = judge(folder("llama"))._model.encode(*PAIR[:2])
    assert model.encode(*PAIR[:2]).ids == (*plain.ids, 5), "its own token closes a row"
    rows = rows_of(model)
    assert model._pass(rows) == pytest.approx([model._pass([row])[0] for row in rows], abs=1e-4)
    with pytest.raises(ArenaError, match="gives 3 numbers for an answer"):
        judge(own_head(3), trust_remote_code=True).score([PAIR])


@pytest.fixture
def hub(folder, tmp_path, monkeypatch):
    """A hub's local copy with two revisions of one model, and no network."""
    from huggingface_hub import constants

    cache = tmp_path / "hub"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    repository = cache / "models--someone--reward"
    commits = {"a" * 40: "llama", "b" * 40: "qwen2"}
    for commit, kind in commits.items():
        shutil.copytree(folder(kind), repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("b" * 40)
    (repository / "refs" / "v1").write_text("a" * 40)


def test_a_hub_id_is_opened_at_its_revision_and_read_as_published(hub, folder, tmp_path, make_params):
    def opened(**fields):
        entry = {"kind": "reward", "model": "someone/reward", **fields}
        params = parse_params(make_params(judges={"rubric": entry}), "here")
        return open_judge("rubric", params, Paths(tmp_path))

    newest, pinned = opened(), opened(revision="v1", dtype="fp32", center=1.0)
    assert newest.fingerprint["weights"] == weights_digest(folder("qwen2"))
    assert pinned.fingerprint["weights"] == weights_digest(folder("llama"))
    # The template writes a line break behind the end of turn: published models read it, this project's own do not.
    turn = judge(folder("llama"))._model.encode(*PAIR[:2]).ids
    whole = pinned._model.encode(*PAIR[:2]).ids
    assert whole[: len(turn)] == turn
    assert len(whole) == len(turn) + 1
    assert pinned.fingerprint["end"] == "template"
    assert opened(end="turn").fingerprint.get("end") is None
    with pytest.raises(ArenaError, match="cannot download 'someone/other'"):
        opened(model="someone/other")


def test_a_missing_folder_of_the_project_is_no_hub_id(tmp_path, make_params):
    (tmp_path / "models").mkdir()
    params = parse_params(
        make_params(judges={"rubric": {"kind": "reward", "model": "models/nothing"}}), "here"
    )
    with pytest.raises(ArenaError, match="no such model folder"):
        open_judge("rubric", params, Paths(tmp_path))


def test_a_gpu_that_is_not_there_is_an_error(folder):
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(ArenaError, match="no CUDA GPU"):
        RewardJudge(folder("llama"), Calibration(), device="cuda")
