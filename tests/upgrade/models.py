"""What the models of the scenes say: contestants and judges on one endpoint, told apart by the model's name."""

from __future__ import annotations

import hashlib
import json
from math import log
from typing import Any

from endpoint import Reply, Request, completion


def _number(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")


def say(request: Request) -> Reply:
    """Speak as the model that is asked for: a contestant or a judge, by the request's content alone."""
    body = request.body
    asked = json.dumps([body["messages"], body["seed"] if body["temperature"] else 0])
    number = _number(asked)
    scores = number % 10 + 1, number // 10 % 10 + 1
    lines = f"Score-A: {scores[0]}\nScore-B: {scores[1]}\nExplanation: by the number {number}."
    kind = body["model"]
    if kind == "judge-lines" and body["temperature"] == 0 and number % 3 == 0:
        return Reply(body=completion("Both are fine, I would say.", tokens=8, prompt=40))  # asked again
    if kind == "judge-thinks":
        draft = f"Score-A: {11 - scores[0]}\nScore-B: {11 - scores[1]}"
        if number % 4 == 0:  # it ran out of tokens while it thought
            return Reply(body=completion(f"<think>Perhaps\n{draft}\nBut", "length", tokens=24, prompt=40))
        return Reply(
            body=completion(f"<think>\nA draft:\n{draft}\n</think>\n\n{lines}", tokens=40, prompt=40)
        )
    if kind == "judge-json":
        said = {"explanation": f"by {number}", "Score-A": scores[0], "Score-B": scores[1]}
        return Reply(body=completion(f"Here: {json.dumps(said)}", tokens=30, prompt=50))
    if kind == "judge-weighs":
        return Reply(body=_weighed(scores))
    if kind.startswith("judge"):
        return Reply(body=completion(f"I have read both.\n{lines}", tokens=20, prompt=40))
    answer = f"Answer {number}: the Danube, 42, and I am sorry — “ja” 中文 {{{{ {number % 97} }}}}."
    if kind == "thinker":
        if number % 3 == 0:
            return Reply(body=completion(f"<think>Let me see, {number}", "length", tokens=24))
        answer = f"<think>\nThey ask about {number}.\n</think>\n\n{answer}"
    return Reply(body=completion(answer, "length" if number % 5 == 0 else "stop", tokens=12, prompt=9))


def _weighed(scores: tuple[int, int]) -> dict[str, Any]:
    """Return a verdict whose scores' tokens have a second likely value each."""
    reply = completion(f"Score-A: {scores[0]}\nScore-B: {scores[1]}", tokens=6, prompt=40)
    content = []
    for token, others in (
        ("Score-A: ", []),
        (str(scores[0]), ["5"]),
        ("\nScore-B: ", []),
        (str(scores[1]), ["4"]),
    ):
        likely = [(token, 0.75), *((other, 0.25) for other in others if other != token)]
        top = [{"token": text, "logprob": log(share)} for text, share in likely]
        content.append({**top[0], "top_logprobs": top})
    reply["choices"][0]["logprobs"] = {"content": content}
    return reply
