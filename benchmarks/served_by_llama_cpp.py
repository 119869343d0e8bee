"""Does llama.cpp answer from an export for Ollama as the engine answered from the model?

    pip install xllamacpp
    arena export sft-i1 --to ollama --out sft-i1-ollama
    python benchmarks/served_by_llama_cpp.py sft-i1-ollama models/sft-i1 data/prepared/test.jsonl \
        data/arena/responses/sft-i1.jsonl [--count 40]

llama.cpp's own server (in the package xllamacpp) loads the export's GGUF file. Three prompts of each instruction are
compared: the engine's, the one that llama.cpp renders from the file's chat template, and the one of the Modelfile's
TEMPLATE (by Go's text/template, where `go` is installed). Then llama.cpp continues the Modelfile's prompt, greedily and
with the Modelfile's stops, and its answer is compared with the recorded one. Where they part, the gap says how much
less likely the engine's token is to llama.cpp than its own: near 0, rounding has decided.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import statistics
import subprocess
import urllib.request
from pathlib import Path
from typing import Any

import xllamacpp

from arena_learning.engines import Chat
from arena_learning.schema import Instruction, Response, read_rows

GO = Path(__file__).parent / "go_template.go"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("export", type=Path, help="the folder of `arena export --to ollama`")
    parser.add_argument("model", type=Path, help="the model's folder")
    parser.add_argument("instructions", type=Path)
    parser.add_argument("responses", type=Path, help="the engine's greedy answers")
    parser.add_argument("--count", type=int, default=40)
    parser.add_argument("--max-tokens", type=int, default=192)
    given = parser.parse_args()
    template, stops = read_modelfile(given.export / "Modelfile")
    asked = read_rows(given.instructions, Instruction)[: given.count]
    said = {r.instruction_id: r for r in read_rows(given.responses, Response)}
    chat = Chat(given.model)
    ours = [chat.render(i.turns) for i in asked]
    file = next(given.export.glob("*.gguf"))
    server = serve(file)
    address = str(server.listening_address)
    messages = [[turn.model_dump(mode="json") for turn in i.turns] for i in asked]
    theirs = [post(address, "/apply-template", {"messages": m})["prompt"] for m in messages]
    print(f"model: {given.model.name}, {file.name}, {xllamacpp.__version__}")
    print(f"stops: {stops}; the engine's: {chat.tokenizer.convert_ids_to_tokens(chat.stop_ids)}")
    print(f"prompts: llama.cpp renders {same(ours, theirs)} of {len(ours)} as the engine does")
    prompts = ours
    if shutil.which("go"):
        prompts = rendered_by_go(template, messages)
        print(
            f"prompts: Go renders {same(ours, prompts)} of {len(ours)} from the Modelfile as the engine does"
        )
    else:
        print("prompts: no `go` here, so the Modelfile's template was not rendered")
    own = chat.encode([i.turns for i in asked])
    ids = [
        post(address, "/tokenize", {"content": p, "add_special": True, "parse_special": True})["tokens"]
        for p in prompts
    ]
    print(f"tokens: {same(own, ids)} of {len(own)} prompts are the same tokens")
    compare_answers(address, prompts, stops, [said[i.id] for i in asked], given.max_tokens)


def compare_answers(
    address: str, prompts: list[str], stops: list[str], said: list[Response], most: int
) -> None:
    """Print how many answers are equal, how far the others agree, and the gaps where they part."""
    equal, ended, shares, gaps = 0, 0, [], []
    for prompt, recorded in zip(prompts, said, strict=True):
        found = post(
            address,
            "/completion",
            {"prompt": prompt, "temperature": 0, "n_predict": most, "stop": stops, "cache_prompt": False},
        )
        answer = found["content"].strip()
        ended += (found["stop_type"] == "limit") == (recorded.finish_reason == "length")
        if answer == recorded.text.strip():
            equal += 1
            shares.append(1.0)
            continue
        common = next(
            (n for n, (a, b) in enumerate(zip(answer, recorded.text, strict=False)) if a != b),
            min(len(answer), len(recorded.text)),
        )
        shares.append(common / max(len(recorded.text), 1))
        gaps.append(gap(address, prompt, answer, recorded.text))
    print(f"answers: {equal} of {len(said)} equal; {ended} end alike (stop or length)")
    print(f"answers: {statistics.mean(shares):.0%} of the recorded characters before the first difference")
    known = [g for g in gaps if g is not None]
    if known:
        print(
            f"where they part ({len(known)} of {len(gaps)} found in the 20 likeliest tokens): gap of log-probability, "
            f"median {statistics.median(known):.3f}, largest {max(known):.3f}"
        )


def gap(address: str, prompt: str, answer: str, recorded: str) -> float | None:
    """Return how much less likely the recorded answer's token is at the first difference; None if it is not listed."""
    mine, other = (tokens(address, text) for text in (answer, recorded))
    at = next((n for n, (a, b) in enumerate(zip(mine, other, strict=False)) if a != b), None)
    if at is None:
        return None
    whole = [*tokens(address, prompt, special=True), *other[:at]]
    found = post(address, "/completion", {"prompt": whole, "temperature": 0, "n_predict": 1, "n_probs": 20})
    likely = {t["id"]: t["logprob"] for t in found["completion_probabilities"][0]["top_logprobs"]}
    return max(likely.values()) - likely[other[at]] if other[at] in likely else None


def tokens(address: str, text: str, *, special: bool = False) -> list[int]:
    asked = {"content": text, "add_special": special, "parse_special": special}
    return list(post(address, "/tokenize", asked)["tokens"])


def serve(file: Path) -> xllamacpp.Server:
    """Start llama.cpp's server on a free port of this machine; it runs for as long as the object lives."""
    params = xllamacpp.CommonParams()
    params.model.path = str(file)
    params.n_ctx, params.n_parallel, params.port = 2048, 1, 0
    params.cpuparams.n_threads = 1
    return xllamacpp.Server(params)


def post(address: str, path: str, body: dict[str, Any]) -> Any:
    request = urllib.request.Request(
        address + path, json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=300) as response:
        return json.load(response)


def read_modelfile(path: Path) -> tuple[str, list[str]]:
    """Return TEMPLATE and the stops."""
    text = path.read_text(encoding="utf-8")
    found = re.search(r'^TEMPLATE """(.*?)"""$', text, flags=re.MULTILINE | re.DOTALL)
    assert found is not None, f"{path}: no TEMPLATE"
    return found.group(1), re.findall(r'^PARAMETER stop "(.*)"$', text, flags=re.MULTILINE)


def rendered_by_go(template: str, messages: list[list[dict[str, str]]]) -> list[str]:
    lines = "".join(json.dumps({"template": template, "messages": m}) + "\n" for m in messages)
    done = subprocess.run(
        ["go", "run", str(GO)], input=lines, capture_output=True, text=True, check=True, timeout=300
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def same(one: list[Any], other: list[Any]) -> int:
    return sum(a == b for a, b in zip(one, other, strict=True))


if __name__ == "__main__":
    main()
