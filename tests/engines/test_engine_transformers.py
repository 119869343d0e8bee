from __future__ import annotations

import pytest

from arena_learning.core.errors import ArenaError
from arena_learning.engines.base import is_exact
from arena_learning.engines.transformers import Transformers
from arena_learning.params.contestants import Sampling
from arena_learning.testing.engine_suite import PLAIN, EngineConformance, ask, check_engine_closes

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def engine(tiny_model):
    return Transformers(tiny_model, batch_size=4, device="cpu")


@pytest.fixture(scope="module")
def one_by_one(tiny_model):
    return Transformers(tiny_model, batch_size=1, device="cpu", system="Answer in verse.")


class TestConformance(EngineConformance):
    pass


class TestConformanceOneByOne(EngineConformance):
    @pytest.fixture
    def engine(self, one_by_one):
        return one_by_one


def test_only_single_rows_are_promised_exact(engine, one_by_one):
    assert not engine.batch_exact
    assert one_by_one.batch_exact
    assert is_exact(one_by_one, Sampling())
    assert not is_exact(one_by_one, Sampling(temperature=1.0))  # a seed is a place's in the call


def test_an_answer_ends_at_the_end_of_turn(tiny_model):
    # A random model of 400 tokens ends a turn in about one of 400 steps: of 28 answers of 80 tokens some do.
    engine = Transformers(tiny_model, batch_size=28, device="cpu")
    answers = engine.respond(PLAIN * 4, Sampling(max_tokens=80, temperature=1.0, seed=1))
    assert {a.finish_reason for a in answers} == {"stop", "length"}
    assert all(a.completion_tokens < 80 for a in answers if a.finish_reason == "stop")
    assert not any("<|im_end|>" in a.text for a in answers)


def test_greedy_agrees_with_plain_generate(tiny_model, engine):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    messages = [{"role": "user", "content": "Name a colour."}]
    prompt = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
    model = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
    ids = torch.tensor([prompt])
    output = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=12, do_sample=False)
    (answer,) = engine.respond([ask("Name a colour.")], Sampling(max_tokens=12))
    assert answer.text == tokenizer.decode(output[0, len(prompt) :], skip_special_tokens=True)
    assert answer.prompt_tokens == len(prompt)


def test_the_system_prompt_and_type_are_in_the_fingerprint(tiny_model, engine):
    other = Transformers(tiny_model, batch_size=4, dtype="bf16", device="cpu", system="Be brief.")
    changed = {key for key, value in other.fingerprint.items() if engine.fingerprint[key] != value}
    assert changed == {"dtype", "system"}
    (answer,) = other.respond(PLAIN[:1], Sampling(max_tokens=4))
    assert answer.prompt_tokens != engine.respond(PLAIN[:1], Sampling(max_tokens=4))[0].prompt_tokens


def test_a_prompt_beyond_the_context_is_refused_and_the_others_are_answered(engine):
    short, long, other = engine.respond([PLAIN[0], ask("a b c d " * 500), PLAIN[1]], Sampling(max_tokens=4))
    assert "does not fit the context of 512" in long.reason
    alone = engine.respond([PLAIN[0], PLAIN[1]], Sampling(max_tokens=4))
    assert [short.text, other.text] == [answer.text for answer in alone]


def test_an_answer_is_cut_where_the_context_ends(engine):
    long = ask("z" * 420)
    (answer,) = engine.respond([long], Sampling(max_tokens=500))
    assert answer.prompt_tokens + answer.completion_tokens <= 512


def test_bad_settings_are_refused(tiny_model, tmp_path, monkeypatch):
    import torch

    with pytest.raises(ArenaError, match="cannot be served in q8_0"):
        Transformers(tiny_model, dtype="q8_0", device="cpu")
    with pytest.raises(ArenaError, match="no such model folder"):
        Transformers(tmp_path / "nothing")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ArenaError, match="no CUDA GPU"):
        Transformers(tiny_model, device="cuda")


def test_close_gives_the_model_back(tiny_model):
    check_engine_closes(Transformers(tiny_model, device="cpu"))


def test_likely_tokens_are_those_of_a_plain_forward_pass(tiny_model, engine):
    import torch
    from transformers import AutoModelForCausalLM

    conversations = [ask("Name a colour."), ask("Name a river. " * 5)]  # of two lengths: one is padded
    group = [
        pair
        for pairs in engine.respond_with_logprobs(conversations, Sampling(max_tokens=3), 4)
        for pair in pairs
    ]
    model = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
    for (_, completion), prompt in zip(group, engine.chat.encode(conversations), strict=True):
        with torch.inference_mode():
            logs, ids = model(torch.tensor([prompt])).logits[0, -1].log_softmax(-1).topk(4)
        first = completion.tokens[0].top_logprobs
        assert [text for text, _ in first] == [engine.chat.tokenizer.decode([i]) for i in ids.tolist()]
        assert [log for _, log in first] == pytest.approx(logs.tolist(), abs=1e-4)
