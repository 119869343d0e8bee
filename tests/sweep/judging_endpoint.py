"""An endpoint that judges: the longer answer wins, well or badly by the prompt and the temperature it is asked with."""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "openai"))

from endpoint import FakeEndpoint, Reply, completion

PROMPTS = ("t0", "t1", "t2")
# A prompt names itself, so that the endpoint knows whom it serves.
PROMPT = "{name} {{{{ turns[-1].content }}}} A: {{{{ response_a }}}} B: {{{{ response_b }}}} END Say Score-A: and Score-B:."


def write_prompts(root: Path) -> None:
    for name in PROMPTS:
        (root / f"{name}.jinja").write_text(PROMPT.format(name=name), encoding="utf-8")


def verdict(request) -> Reply:
    """Judge by length. Only t1 sees that 19 and 20 words are as good as equal; a temperature turns all verdicts round."""
    name, a, b = re.match(r"(t\d) .* A: (.*) B: (.*) END", request.body["messages"][-1]["content"]).groups()
    more = len(a.split()) - len(b.split())
    scores = (5, 5) if name == "t1" and abs(more) < 2 else (8, 3) if more > 0 else (3, 8)
    scores = scores[::-1] if request.body["temperature"] else scores
    return Reply(body=completion(f"Score-A: {scores[0]}\nScore-B: {scores[1]}"))


class JudgingEndpoint(FakeEndpoint):
    """Answers nobody before ``wanted`` trials have asked, so that as many workers are at work; then each after a while."""

    def __init__(self, latency: float) -> None:
        super().__init__(verdict, latency)
        self.trials: set[tuple[str, str]] = set()
        self.wanted = 0

    def hold(self, wanted: int) -> None:
        """Begin to count anew, and answer nobody before so many trials have asked."""
        self.trials, self.wanted = set(), wanted

    async def _reply(self, target, raw, headers, writer):
        said = raw.decode()
        self.trials.add(
            (re.search(r"(t\d) Question", said)[1], re.search(r'"temperature": ?([\d.]+)', said)[1])
        )
        while len(self.trials) < self.wanted:
            await asyncio.sleep(0.02)
        return await super()._reply(target, raw, headers, writer)

    def paid_again(self) -> int:
        """How many requests came more than once."""
        return sum(times - 1 for times in self.seen.values())
