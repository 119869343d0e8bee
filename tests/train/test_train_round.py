"""Real trainings of a tiny model, by every method."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from math import log
from typing import get_args

import pytest

from arena_learning.core.deadline import STOP_AT
from arena_learning.core.errors import ArenaError
from arena_learning.core.progress import Progress
from arena_learning.params import Train
from arena_learning.params.training import SMOOTHED, PreferenceLoss
from arena_learning.train import computes_bf16, train_round
from tiny import END_OF_TURN, write_preferences, write_sft

pytestmark = pytest.mark.torch

FACTS = [
    ("Name a colour.", "The colour is blue."),
    ("Name a river.", "The river is the Danube."),
    ("Name a planet.", "The planet is Mars."),
    ("What is two and two?", "Two and two is four."),
]
PAIRS = [(question, answer, "I do not know that.") for question, answer in FACTS]


class Quiet(Progress):
    """Counts without a word."""

    def _write(self, now, note):
        pass


def optimiser(**over):
    return {
        "epochs": 1,
        "learning_rate": 1e-3,
        "batch_size": 4,
        "device_batch_size": 2,
        "max_length": 128,
    } | over


@pytest.fixture
def train(tiny_model, tmp_path):
    """Train the tiny model: `train(method, sft={...})` gives the report and the folder."""
    sft = write_sft(tmp_path / "sft.jsonl", FACTS)
    preferences = write_preferences(tmp_path / "preferences.jsonl", PAIRS)

    def run(method, *, name="out", init=tiny_model, progress=Quiet, seed=1, **sections):
        params = Train.model_validate({"device": "cpu", "checkpoint_minutes": 0, **sections})
        report = train_round(
            method,
            init=init,
            out=tmp_path / name,
            sft=sft,
            preferences=preferences,
            params=params,
            seed=seed,
            checkpoints=tmp_path / "checkpoints",
            progress=progress,
        )
        return report, tmp_path / name

    run.sft, run.preferences, run.checkpoints = sft, preferences, tmp_path / "checkpoints"
    run.init = tiny_model
    return run


def answers(folder, questions):
    """Return the model's greedy answers, as any engine would load it."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    texts = []
    for question in questions:
        turns = [{"role": "user", "content": question}]
        ids = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_dict=False)
        made = model.generate(torch.tensor([ids]), max_new_tokens=20, do_sample=False)
        texts.append(tokenizer.decode(made[0, len(ids) :]))
    return texts


def weights(folder):
    from safetensors.torch import load_file

    return load_file(folder / "model.safetensors")


def test_import_is_light():
    code = "import sys, arena_learning.train; sys.exit('torch' in sys.modules or 'trl' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_sft_learns_four_answers_and_their_ends_and_lora_other_ones_on_top(train):
    report, taught = train("sft", name="taught", sft=optimiser(epochs=60, learning_rate=5e-3))
    questions = [question for question, _ in FACTS]
    assert answers(taught, questions) == [f"{answer}{END_OF_TURN}" for _, answer in FACTS]
    (phase,) = report.phases
    assert phase.curve[-1]["loss"] < 0.2 < phase.curve[0]["loss"]
    assert report.weight_change.before_saving > 1e-3
    assert report.weight_change.after_saving == pytest.approx(report.weight_change.before_saving, rel=1e-6)
    assert not report.warnings

    swapped = [(question, FACTS[place - 1][1]) for place, (question, _) in enumerate(FACTS)]
    write_sft(train.sft, swapped)
    settings = optimiser(epochs=40, learning_rate=1e-2, lora_rank=16)
    report, folder = train("sft", init=taught, sft=settings)
    assert answers(folder, questions) == [f"{answer}{END_OF_TURN}" for _, answer in swapped]
    assert weights(folder).keys() == weights(taught).keys()  # merged: no adapters left
    assert bool(
        (weights(folder)["model.embed_tokens.weight"] == weights(taught)["model.embed_tokens.weight"]).all()
    )


def test_the_model_serves_as_its_start_does(train, tiny_model):
    _, folder = train("sft", sft=optimiser(lora_rank=4))
    written = {path.name for path in folder.iterdir()}
    assert written == {path.name for path in tiny_model.iterdir()}
    assert not [name for name in written if name.endswith((".bin", ".pt", ".pth", ".pkl"))]
    for name in written - {"model.safetensors", "config.json"}:
        assert (folder / name).read_bytes() == (tiny_model / name).read_bytes(), name
    config, before = (json.loads((place / "config.json").read_text()) for place in (folder, tiny_model))
    assert config == before
    assert all(str(tensor.dtype) == "torch.float32" for tensor in weights(folder).values())
    assert weights(folder).keys() == weights(tiny_model).keys()
    assert not train.checkpoints.exists()


def test_how_the_template_is_used_and_templates_by_other_names_stay_with_a_trained_model(
    train, tiny_model, tmp_path
):
    import shutil

    from arena_learning.engines.chat import Chat
    from arena_learning.engines.tokenizer import ChatSettings, save_settings

    start = shutil.copytree(tiny_model, tmp_path / "start")
    settings = ChatSettings(kwargs={"enable_thinking": False}, date="2025-12-24")
    save_settings(start, settings)
    (start / "additional_chat_templates").mkdir()
    (start / "additional_chat_templates" / "tool_use.jinja").write_text("{{ 'tools' }}")
    _, folder = train("sft", init=start, sft=optimiser())
    assert Chat(folder).settings == settings
    assert (folder / "additional_chat_templates" / "tool_use.jinja").is_file()


def test_dpo_widens_the_margin(train):
    report, _ = train("dpo", dpo=optimiser(epochs=4))
    (phase,) = report.phases
    assert phase.curve[0]["loss"] == pytest.approx(0.6931, abs=1e-3)  # log 2: policy and reference are equal
    assert phase.curve[-1]["rewards/margins"] > 0.1
    assert phase.curve[-1]["loss"] < 0.6
    assert phase.rows.kept == 4


def test_dpo_with_an_sft_weight_learns_the_chosen_answers_themselves(train):
    report, folder = train("dpo", dpo=optimiser(epochs=60, learning_rate=5e-3) | {"sft_weight": 1.0})
    (phase,) = report.phases
    # log 2 for two equal policies, and the chosen answer's cross-entropy, near log(vocabulary) untaught
    assert phase.curve[0]["loss"] > 0.6931 + 2
    assert answers(folder, [question for question, _ in FACTS]) == [f"{a}{END_OF_TURN}" for _, a in FACTS]


BETA, EPSILON = 0.5, 0.1
# What each loss is where policy and reference are equal, by its paper: all log-ratios are 0.
FIRST = {
    "sigmoid": log(2),
    "sigmoid_norm": log(2),
    "hinge": 1,
    "ipo": (1 / (2 * BETA)) ** 2,
    "robust": log(2),  # ((1 - e) log 2 - e log 2) / (1 - 2e)
    "exo_pair": log(0.5) - (log(1 - EPSILON) + log(EPSILON)) / 2,
    "nca_pair": 2 * log(2),
    "bco_pair": 2 * log(2),
    "sppo_hard": 2 * (1 / (2 * BETA)) ** 2,
    "aot": log(2),
    "aot_unpaired": log(2),
    "apo_zero": 1,
    "apo_down": 1,
}


def test_every_loss_has_its_first_value_below():
    assert set(FIRST) == set(get_args(PreferenceLoss))


@pytest.mark.parametrize("loss", FIRST)
def test_dpo_trains_under_the_loss_that_is_named(train, loss):
    smoothing = {"label_smoothing": EPSILON} if loss in SMOOTHED else {}
    settings = optimiser(epochs=3) | {"beta": BETA, "loss": loss, **smoothing}
    report, _ = train("dpo", dpo=settings)
    curve = report.phases[0].curve
    assert curve[0]["loss"] == pytest.approx(FIRST[loss], abs=2e-3)
    assert curve[-1]["loss"] < curve[0]["loss"]
    assert curve[-1]["rewards/margins"] > 0
    assert report.settings["loss"] == loss
    assert report.settings["label_smoothing"] == (EPSILON if smoothing else 0.0)


def test_rft_is_supervised_training_under_settings_of_its_own(train):
    taught, folder = train("sft", name="taught", sft=optimiser(epochs=2), rft=optimiser())
    report, other = train("rft", name="other", rft=optimiser(epochs=2), sft=optimiser())
    (phase,) = report.phases
    assert (phase.name, phase.rows.kept, report.method) == ("rft", 4, "rft")
    assert all(bool((weights(folder)[name] == tensor).all()) for name, tensor in weights(other).items())
    assert [p["loss"] for p in phase.curve] == [p["loss"] for p in taught.phases[0].curve]
    assert report.cost.tokens_per_second["rft"] > 0


@pytest.mark.parametrize("rank", [0, 4])
def test_ppo_trains_a_reward_model_and_the_policy(train, rank):
    questions = [f"What is {n} and {n}?" for n in range(24)]
    write_preferences(
        train.preferences, [(question, "Two.", "I do not know that.") for question in questions]
    )
    settings = optimiser(
        max_tokens=6, batch_size=8, lora_rank=rank, reward=optimiser(epochs=4, lora_rank=rank)
    )
    report, folder = train("ppo", ppo=settings)
    reward, ppo = report.phases
    assert reward.rows.held_out == 3  # an eighth of 24 instructions
    assert reward.figures["held_out_accuracy"] == 1.0
    assert ppo.steps == 3
    assert {"step", "loss", "lr", "kl", "entropy", "reward", "value_loss", "ended"} <= set(ppo.curve[0])
    assert ppo.figures["sampled"] == 24
    assert report.weight_change.after_saving > 1e-6
    assert {path.name for path in (folder / "reward_model").iterdir()} >= {"model.safetensors", "config.json"}
    lines = report.curve()
    assert [line["phase"] for line in lines].count("ppo") == 3
    json.dumps(report.to_dict(), allow_nan=False)


def test_no_rows_copy_the_start_and_say_so(train, tiny_model):
    train.preferences.write_text("")
    report, folder = train("dpo")
    assert report.rows == 0
    assert "no rows to learn from" in report.warnings[0]
    assert (folder / "model.safetensors").read_bytes() == (tiny_model / "model.safetensors").read_bytes()


@pytest.mark.parametrize("method", ["sft", "ppo"])
def test_rows_that_are_all_dropped_copy_the_start_and_are_counted(train, method):
    settings = {"sft": optimiser(max_length=8), "ppo": optimiser(max_length=8, max_tokens=4)}
    report, folder = train(method, **{method: settings[method]})
    assert report.rows == 0
    assert all(phase.rows.given == 4 for phase in report.phases)
    assert report.phases[-1].rows.kept == 0
    assert (folder / "model.safetensors").is_file()


def test_a_rate_that_moves_nothing_is_a_warning(train):
    report, _ = train("sft", sft=optimiser(learning_rate=1e-12))
    assert any("hardly moved" in warning for warning in report.warnings)


def test_many_cut_rows_are_a_warning(train):
    report, _ = train("sft", sft=optimiser(max_length=30))
    assert report.phases[0].rows.cut
    assert any("without ever ending" in warning for warning in report.warnings)


class Killed(BaseException):
    """Stands for a kill: nothing in the code under test may catch it."""


def killer(label, at):
    class Killer(Quiet):
        def advance(self, count=1, note=""):
            super().advance(count, note)
            if self.label == label and self.done == at:
                raise Killed

    return Killer


@pytest.mark.parametrize(
    ("method", "more"),
    [
        ("sft", {}),
        ("sft", {"lora_rank": 4}),
        ("sft", {"frozen_layers": 0.5, "device_batch_size": 2}),
        ("dpo", {"frozen_layers": 0.5, "device_batch_size": 2}),
        ("rft", {}),
        ("dpo", {}),
        ("reward", {}),
    ],
)
def test_a_killed_training_resumes_and_ends_as_an_undisturbed_one(train, method, more):
    settings = optimiser(epochs=6, batch_size=2, **more)  # 12 steps, two in an epoch
    phase = method
    if phase == "reward":
        method, settings = "ppo", optimiser(max_tokens=4, reward=settings)
    whole, folder = train(method, name="whole", **{method: settings})
    with pytest.raises(Killed):
        train(method, name="resumed", progress=killer(phase, 6), **{method: settings})
    assert [path.name for path in train.checkpoints.rglob("checkpoint-*")] == ["checkpoint-5"]
    resumed, again = train(method, name="resumed", **{method: settings})
    assert resumed.cost.resumed_from == {phase: 5}
    assert resumed.metrics() == whole.metrics()
    assert resumed.curve() == whole.curve()
    assert all(bool((weights(folder)[name] == tensor).all()) for name, tensor in weights(again).items())


@pytest.mark.parametrize("method", ["sft", "ppo"])
def test_a_training_whose_hours_are_used_up_keeps_a_checkpoint_and_goes_on_from_it(
    train, monkeypatch, method
):
    write_preferences(train.preferences, [(f"What is {n} and {n}?", "Two.", "No.") for n in range(12)])
    settings = optimiser(max_tokens=6, reward=optimiser()) if method == "ppo" else optimiser()
    settings |= {"epochs": 2, "batch_size": 2}

    class Late(Quiet):
        def advance(self, count=1, note=""):
            super().advance(count, note)
            if self.label == method and self.done == 2:
                monkeypatch.setenv(STOP_AT, f"{time.time() - 1} 3")

    monkeypatch.setenv(STOP_AT, f"{time.time() + 600} 3")
    how = {"name": "late", "checkpoint_minutes": 10, method: settings}
    with pytest.raises(ArenaError, match=r"used up its 3 hours; missing: \d+ of \d+ steps of training"):
        train(method, progress=Late, **how)
    assert len(list((train.checkpoints / method).glob("checkpoint-*"))) == 1
    monkeypatch.delenv(STOP_AT)
    report, folder = train(method, **how)
    assert report.cost.resumed_from[method] in (2, 3)
    whole, other = train(method, **{**how, "name": "whole"})
    assert report.curve() == whole.curve()
    assert all(bool((weights(folder)[name] == tensor).all()) for name, tensor in weights(other).items())


@pytest.mark.parametrize("more", [{}, {"lora_rank": 4}, {"value": "head"}], ids=["all", "lora", "head"])
def test_a_killed_ppo_resumes_with_the_reward_model_that_was_done(train, more):
    write_preferences(train.preferences, [(f"What is {n} and {n}?", "Two.", "No.") for n in range(12)])
    settings = optimiser(max_tokens=6, batch_size=2, ppo_epochs=2, reward=optimiser()) | more  # 6 updates
    whole, folder = train("ppo", name="whole", ppo=settings)
    with pytest.raises(Killed):
        train("ppo", name="again", progress=killer("ppo", 3), ppo=settings)
    assert [path.name for path in train.checkpoints.rglob("checkpoint-*")] == ["checkpoint-3"]
    kinds = {path.suffix for path in (train.checkpoints / "ppo").rglob("*") if path.is_file()}
    assert kinds == {".safetensors", ".json"}  # no pickles
    report, again = train("ppo", name="again", ppo=settings)
    assert report.cost.resumed_from == {"reward": 3, "ppo": 3}
    assert report.cost.seconds["reward"] == 0
    assert report.metrics() == whole.metrics()
    assert report.curve() == whole.curve()
    names = ("model.safetensors", "reward_model/model.safetensors")
    assert all((folder / name).read_bytes() == (again / name).read_bytes() for name in names)
    assert (folder / names[0]).read_bytes() != (train.init / names[0]).read_bytes()


def test_a_training_of_less_than_the_minutes_writes_no_checkpoint(train):
    settings = optimiser(epochs=6, batch_size=2)
    with pytest.raises(Killed):
        train("sft", progress=killer("sft", 6), sft=settings, checkpoint_minutes=10)
    assert not list(train.checkpoints.rglob("checkpoint-*"))
    report, _ = train("sft", sft=settings, checkpoint_minutes=10)
    assert not report.cost.resumed_from


def test_ppo_takes_no_batch_that_is_larger_than_the_prompts(train):
    write_preferences(train.preferences, PAIRS[:3])  # a batch of 4 was asked for
    report, _ = train("ppo", ppo=optimiser(max_tokens=4, reward=optimiser()))
    assert report.phases[-1].steps == 1
    assert report.phases[-1].figures["sampled"] == 3


def test_checkpoints_of_other_rows_or_half_written_ones_are_not_used(train, capsys):
    settings = optimiser(epochs=6, batch_size=2)
    with pytest.raises(Killed):
        train("sft", progress=killer("sft", 10), sft=settings)
    (checkpoint,) = train.checkpoints.rglob("checkpoint-*")
    (checkpoint / "trainer_state.json").write_text('{"global_step"')
    report, _ = train("sft", sft=settings)
    assert not report.cost.resumed_from
    with pytest.raises(Killed):
        train("sft", progress=killer("sft", 6), sft=settings)
    write_sft(train.sft, FACTS[:3])
    report, _ = train("sft", sft=settings)
    assert not report.cost.resumed_from
    assert "starts from the beginning" in capsys.readouterr().err


class Bomb:
    """Leaves a file behind when a pickle of it is loaded."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return (open, (str(self.mark), "w"))


@pytest.mark.parametrize("name", ["optimizer.pt", "rng_state.pth"])
def test_a_checkpoint_that_brings_code_is_refused_and_runs_none_of_it(train, tmp_path, name):
    import pickle

    settings = optimiser(epochs=6, batch_size=2)
    with pytest.raises(Killed):
        train("sft", progress=killer("sft", 6), sft=settings)
    (checkpoint,) = train.checkpoints.rglob("checkpoint-*")
    assert (checkpoint / name).is_file()
    (checkpoint / name).write_bytes(pickle.dumps(Bomb(tmp_path / "exploded"), protocol=2))
    with pytest.raises(pickle.UnpicklingError, match=r"Weights only load failed"):
        train("sft", sft=settings)
    assert not (tmp_path / "exploded").exists()
    pickle.loads((checkpoint / name).read_bytes()).close()  # noqa: S301 - it was a live one
    assert (tmp_path / "exploded").exists()


def test_what_a_user_can_mend_is_said(train, tmp_path):
    with pytest.raises(ArenaError, match="there is no model in this folder"):
        train("sft", init=tmp_path / "nowhere")
    with pytest.raises(ArenaError, match="torch finds no GPU"):
        train("sft", device="cuda", sft=optimiser())


def test_a_loss_that_is_no_number_is_an_error_and_writes_nothing(train, tiny_model, tmp_path):
    import shutil

    from safetensors.torch import save_file

    broken = shutil.copytree(tiny_model, tmp_path / "broken")
    tensors = weights(broken)
    tensors["model.norm.weight"][0] = float("nan")
    save_file(tensors, broken / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ArenaError, match="diverged"):
        train("sft", init=broken, sft=optimiser())
    assert not (tmp_path / "out").exists()


def test_ppo_takes_one_optimiser_step_for_each_batch(train, monkeypatch):
    import torch

    taken = []
    step = torch.optim.AdamW.step
    monkeypatch.setattr(
        torch.optim.AdamW, "step", lambda self, *a, **k: (taken.append(1), step(self, *a, **k))[1]
    )
    write_preferences(train.preferences, [(f"What is {n} and {n}?", "Two.", "No.") for n in range(8)])
    train("ppo", ppo=optimiser(max_tokens=4, device_batch_size=1, reward=optimiser(batch_size=8)))
    # the reward model's one; and 8 prompts in batches of 4, for the policy and for the value model
    assert len(taken) == 1 + 2 * 2


@pytest.mark.parametrize("precision", ["fp32", "bf16", "auto"])
@pytest.mark.parametrize("method", ["sft", "dpo", "ppo"])
def test_the_precision_that_is_reported_is_the_one_that_ran_in_every_phase(train, method, precision, capsys):
    import torch
    from torch.nn.modules.module import register_module_forward_hook

    seen: dict[str, set[torch.dtype]] = {}

    def note(module, _, output):
        if isinstance(module, torch.nn.Linear) and torch.is_grad_enabled():
            kind = "head" if module.out_features == 1 else "body"
            seen.setdefault(kind, set()).add(output.dtype)

    hook = register_module_forward_hook(note)
    try:
        ppo = optimiser(max_tokens=8, reward=optimiser())
        report, _ = train(method, precision=precision, **{method: ppo if method == "ppo" else optimiser()})
    finally:
        hook.remove()
    emulated = precision == "bf16" and not computes_bf16("cpu")
    assert ("only emulates" in capsys.readouterr().err) == emulated
    if precision == "auto":
        precision = "bf16" if computes_bf16("cpu") else "fp32"
    assert report.settings["precision"] == precision
    wanted = {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]
    assert seen["body"] == {wanted}
    assert ("head" in seen) == (method == "ppo")


def test_one_process_trains_on_one_gpu_however_many_are_there(tmp_path):
    from trl import SFTConfig

    from arena_learning.train.arguments import common_arguments, on_one_gpu, plan_training

    params = Train.model_validate({"device": "cpu", "precision": "fp32", "sft": optimiser()})
    shared = common_arguments(params.sft, params, plan_training(params.sft, rows=4), tmp_path, seed=1)
    arguments = SFTConfig(**shared)
    assert not arguments.gradient_checkpointing  # else each step would run the model forward twice
    arguments._n_gpu = (
        4  # what transformers finds on such a machine: it would split the model's batches over them
    )
    assert (arguments.n_gpu, arguments.train_batch_size) == (4, 8)
    assert on_one_gpu(arguments) is arguments
    assert (arguments.n_gpu, arguments.train_batch_size) == (1, 2)
