"""Does llama.cpp answer from an export for Ollama as the engine answered from the model?

    pip install xllamacpp
    arena export sft-i1 --to ollama --out sft-i1-ollama
    python benchmarks/served_by_llama_cpp.py sft-i1-ollama models/sft-i1 data/prepared/test.jsonl \
        data/arena/responses/sft-i1.jsonl [--count 40]

llama.cpp's own server (in the package xllamacpp) loads the export's GGUF file. Three prompts of each instruction are
compared: the engine's, the one that llama.cpp renders from the file's chat template, and the one of the Modelfile's
TEMPLATE (by Go's text/template, where `go` is installed). Then llama.cpp continues the Modelfile's prompt, greedily and
with the Modelfile's stops. Its answers are compared with the recorded ones and with those of transformers in fp32.
Where llama.cpp and transformers part, the gap says how much less likely transformers' token is to llama.cpp than its
own: near 0, rounding has decided.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import statistics
import subprocess
import urllib.request
from collections.abc import Sequence
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
    found = [answer(address, prompt, stops, given.max_tokens) for prompt in ids]
    texts, generated = zip(*found, strict=True)
    recorded = [said[i.id].text.strip() for i in asked]
    exact, numbers = by_transformers(given.model, chat, own, given.max_tokens)
    compare("llama.cpp and the recorded engine", texts, recorded)
    compare("llama.cpp and transformers in fp32", texts, exact)
    compare("the recorded engine and transformers in fp32", recorded, exact)
    gaps = [gap(address, *three) for three in zip(ids, generated, numbers, strict=True)]
    known = [one for one in gaps if one is not None]
    if known:
        print(
            f"where llama.cpp and transformers part: gap of log-probability, median {statistics.median(known):.3f}, "
            f"largest {max(known):.3f}"
        )


def answer(address: str, prompt: list[int], stops: list[str], most: int) -> tuple[str, list[int]]:
    """Return llama.cpp's greedy answer, as text and as tokens."""
    asked = {"prompt": prompt, "temperature": 0, "n_predict": most, "stop": stops, "return_tokens": True}
    found = post(address, "/completion", {**asked, "cache_prompt": False})
    return found["content"].strip(), found["tokens"]


def by_transformers(
    folder: Path, chat: Chat, prompts: list[list[int]], most: int
) -> tuple[list[str], list[list[int]]]:
    """Return the greedy answers of the model's folder in fp32, as texts and as tokens."""
    import torch
    from transformers import AutoModelForCausalLM, GenerationConfig

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    how = GenerationConfig(max_new_tokens=most, do_sample=False, eos_token_id=chat.stop_ids, pad_token_id=0)
    found = []
    with torch.inference_mode():
        for prompt in prompts:
            asked = torch.tensor([prompt])
            made = model.generate(asked, attention_mask=torch.ones_like(asked), generation_config=how)
            found.append(made[0, len(prompt) :].tolist())
    return [chat.tokenizer.decode(one, skip_special_tokens=True).strip() for one in found], found


def compare(what: str, one: Sequence[str], other: Sequence[str]) -> None:
    """Print how many answers are equal, and how far the others agree."""
    shares = []
    for a, b in zip(one, other, strict=True):
        common = next((n for n, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
        shares.append(1.0 if a == b else common / max(len(a), len(b)))
    print(
        f"answers: {what}: {same(one, other)} of {len(one)} equal, {statistics.mean(shares):.0%} before they part"
    )


def gap(address: str, prompt: list[int], mine: list[int], other: list[int]) -> float | None:
    """Return how much less likely transformers' token is to llama.cpp where they part; None if they do not."""
    at = next((n for n, (a, b) in enumerate(zip(mine, other, strict=False)) if a != b), None)
    if at is None:
        return None
    asked = {"prompt": [*prompt, *other[:at]], "temperature": 0, "n_predict": 1, "n_probs": 100}
    found = post(address, "/completion", asked)
    likely = {t["id"]: t["logprob"] for t in found["completion_probabilities"][0]["top_logprobs"]}
    return max(likely.values()) - likely.get(other[at], min(likely.values()))


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


def same(one: Sequence[Any], other: Sequence[Any]) -> int:
    return sum(a == b for a, b in zip(one, other, strict=True))


if __name__ == "__main__":
    main()
