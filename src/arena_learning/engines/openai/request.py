"""Makes the request for a conversation."""

from __future__ import annotations

from typing import Any

from arena_learning.engines.base import Conversation
from arena_learning.engines.chat import with_system
from arena_learning.engines.openai import control_tokens as control
from arena_learning.engines.openai.run import EndpointRun
from arena_learning.params import Endpoint, Sampling


def request_body(
    model: str, endpoint: Endpoint, system: str, conversation: Conversation, run: EndpointRun
) -> dict[str, Any]:
    """Return the body of the request for one conversation of a run."""
    turns = with_system(conversation, system)
    messages = [
        {"role": turn.role, "content": control.break_common_control_tokens(turn.content)} for turn in turns
    ]
    extra = dict(endpoint.extra_body)
    if run.sampling.repetition_penalty != 1.0:
        extra.setdefault("repetition_penalty", run.sampling.repetition_penalty)
    weighing = {"logprobs": True, "top_logprobs": run.top_logprobs} if run.top_logprobs else {}
    sampling = sampled(endpoint, run.sampling)
    return {"model": model, "messages": messages, **sampling, **weighing, **extra}


def sampled(endpoint: Endpoint, sampling: Sampling) -> dict[str, Any]:
    """Return the sampling fields of a request; all are sent explicitly, because servers' defaults differ."""
    greedy = sampling.temperature == 0
    fields = {
        "temperature": sampling.temperature,
        "top_p": 1.0 if greedy else sampling.top_p,
        "seed": 0 if greedy else sampling.seed,
        endpoint.token_limit: sampling.max_tokens,
    }
    omitted = {word.strip() for word in endpoint.omit.split(",")}
    return {name: value for name, value in fields.items() if name not in omitted}
