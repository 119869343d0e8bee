"""Compares a whole export with the model: OpenVINO runs the file, transformers runs the folder.

Both compute the log-probability of every token of a few texts, and the next token. Because F16 rounds the weights, the
log-probabilities differ by some thousandths of their standard deviation; an error in the export (another activation, a
missing bias or window, an unscaled rotary embedding) changes them by a tenth or more.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NamedTuple

from arena_learning.core import logger
from arena_learning.engines.gguf.config import Computation, export_error
from arena_learning.engines.gguf.export import export_gguf
from arena_learning.engines.gguf.pipeline import open_pipeline
from arena_learning.engines.gguf.tokenizer import load_gguf_tokenizer
from arena_learning.engines.gguf.vocabulary import own_tokenizer, template_fields
from arena_learning.engines.signal_stack import keep_signal_stack

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

ALLOWED = 0.02  # mean difference of log-probabilities, in standard deviations of the model's own
_RANDOM = 192  # tokens of the sequence that is drawn from the whole vocabulary
_LARGEST = (
    1_000_000_000  # limit of compared parameters; of a larger model, only the first blocks are compared
)
_EXACT = {
    "INFERENCE_PRECISION_HINT": "f32",
    "KV_CACHE_PRECISION": "f32",
    "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0,
}
_TEXTS = (  # in NFC, because a GGUF file cannot request that normalisation
    "The capital of France is Paris. In 1969 two people walked on the Moon;  the third stayed in orbit.\n\n"
    "1. Boil 2,50 l of water.\n\n12. Don't forget: I'll come, we're LATE, they'VE gone!\n",
    "def add(a, b):\n\t\treturn {'sum': a+b}   # \u2192 100%\r\n\r\n<b>x</b>",
    "Gr\u00fc\u00dfe aus K\u00f6ln, \u00bfqu\u00e9 tal? \u05e9\u05dc\u05d5\u05dd \u4f60\u597d\uff0c\u4e16\u754c\u3002"
    " \u0645\u0631\u062d\u0628\u0627 \U0001f642\U0001f469\u200d\U0001f680 \u0661\u0662\u0663",
)


class Agreement(NamedTuple):
    """How much the file and the model differ.

    Attributes:
        tokens: number of compared log-probabilities.
        layers: number of compared blocks.
        difference: mean absolute difference of log-probabilities, in standard deviations of the model's own.
        regret: by how much the file's next token is less probable for the model than its most probable one, in the
            same unit; maximum over the texts.
        seconds: duration of the comparison.
    """

    tokens: int
    layers: int
    difference: float
    regret: float
    seconds: float


class _Readings(NamedTuple):
    """For each sequence, the log-probabilities of its tokens after the first, and the next token."""

    logs: list[npt.NDArray[np.float32]]
    following: list[Any]


def compare(
    folder: Path, template: Path | None, computation: Computation, scratch: Path | None = None
) -> Agreement:
    """Export the model in ``folder`` in F16, and compare OpenVINO's results with those of transformers.

    The result is reported in one line on stderr. Of a model with more than a thousand million parameters only the first
    blocks are compared, because transformers computes in fp32 and needs up to four times the memory of OpenVINO.

    Args:
        folder: the model's folder.
        template: GGUF file that provides the metadata of exports, or None.
        computation: what the model computes.
        scratch: folder for the temporary export; None: the system's temporary folder.

    Raises:
        ArenaError: the two differ in numbers or in tokenization.
    """
    start = time.perf_counter()
    layers = _compared_layers(computation)
    with TemporaryDirectory(prefix="comparing-", dir=scratch) as written:
        file = Path(written) / "compared.gguf"
        export_gguf(folder, template, file, "f16", computation=computation, layers=layers)
        tokenizer = _same_tokenizer(folder, file)
        sequences = _sequences(tokenizer, computation)
        try:
            served = _served(file, sequences, folder)
        finally:
            keep_signal_stack()  # the model was freed
    model = _computed(folder, sequences, layers)
    agreement = _agreement(served, model, layers, start)
    if not (agreement.difference <= ALLOWED and agreement.regret <= 4 * ALLOWED):
        raise export_error(
            f"OpenVINO does not compute from the GGUF export what transformers computes from the model: over"
            f" {agreement.tokens} tokens, log-probabilities differ by {agreement.difference:.1%} of their standard"
            f" deviation (allowed: {ALLOWED:.0%}), the next token's by {agreement.regret:.1%}",
            folder,
        )
    blocks = "" if layers == computation.layers else f" of its first {layers} blocks"
    logger.info(
        f"{folder.name}: the GGUF export{blocks} agrees with transformers: log-probabilities of {agreement.tokens}"
        f" tokens differ by {agreement.difference:.2%} of their standard deviation (allowed: {ALLOWED:.0%});"
        f" {agreement.seconds:.0f} s, once for this configuration"
    )
    return agreement


def _compared_layers(computation: Computation) -> int:
    from arena_learning.engines.gguf.check import expected_shapes

    def size(layers: int) -> int:
        shapes = expected_shapes(computation.first(layers)).values()
        return sum(shape[0] * (shape[1] if len(shape) > 1 else 1) for shape in shapes)

    block = size(2) - size(1) if computation.layers > 1 else 0
    fit = (_LARGEST - size(0)) // block if block else 1
    return min(computation.layers, max(2, fit))


def _same_tokenizer(folder: Path, file: Path) -> Any:
    """Return the folder's tokenizer, after checking that the file's tokenizer gives the same tokens."""
    own, back = own_tokenizer(folder), load_gguf_tokenizer(file)
    added = " x ".join(sorted(str(token) for token in own.added_tokens_decoder.values())[:20])
    for text in (*_TEXTS, added):
        mine, theirs = (tokenizer.encode(text, add_special_tokens=False) for tokenizer in (own, back))
        if mine != theirs:
            place = next((i for i, (a, b) in enumerate(zip(mine, theirs, strict=False)) if a != b), 0)
            raise export_error(
                f"the GGUF export tokenizes differently from the model's tokenizer, from token {place} of {text!r}",
                folder,
            )
    if template_fields(back.chat_template, folder) != template_fields(own.chat_template, folder):
        raise export_error("the GGUF export has another chat template than the model's tokenizer", folder)
    return own


def _sequences(tokenizer: Any, computation: Computation) -> list[list[int]]:
    """Return the texts as tokens, and a random sequence from the whole vocabulary, long enough to test positions."""
    import numpy as np

    drawn = np.random.default_rng(0).integers(0, computation.vocabulary, _RANDOM).tolist()
    texts = [tokenizer.encode(text, add_special_tokens=False) for text in _TEXTS]
    longest = computation.positions - 1
    return [sequence[:longest] for sequence in (*texts, drawn) if len(sequence) > 1]


def _served(file: Path, sequences: Sequence[list[int]], folder: Path) -> _Readings:
    """Return OpenVINO's results; it echoes each prompt with the log-probabilities of its tokens."""
    import numpy as np
    import openvino
    import openvino_genai

    scheduler = openvino_genai.SchedulerConfig()
    config = openvino_genai.GenerationConfig()
    config.max_new_tokens, config.echo, config.logprobs, config.ignore_eos = 1, True, 1, True
    try:
        pipeline = open_pipeline(file, scheduler, _EXACT)
        handles = [
            pipeline.add_request(number, openvino.Tensor(np.array([sequence], dtype=np.int64)), config)
            for number, sequence in enumerate(sequences)
        ]
        while pipeline.has_non_finished_requests():
            pipeline.step()
    except RuntimeError as error:
        first = str(error).strip().splitlines()[-1]
        raise export_error(f"OpenVINO cannot read the GGUF export: {first}", folder) from error
    outputs = [handle.read_all()[0] for handle in handles]
    logs = [
        np.array(output.generated_log_probs[1:-1], dtype=np.float32)  # the first token has no log-probability
        for output in outputs
    ]
    return _Readings(logs, [output.generated_ids[-1] for output in outputs])


def _computed(folder: Path, sequences: Sequence[list[int]], layers: int) -> _Readings:
    """Return transformers' results in fp32; ``following`` has the log-probabilities of all next tokens."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(str(folder))
    config.num_hidden_layers = layers
    if getattr(config, "layer_types", None):
        config.layer_types = config.layer_types[:layers]
    with _quiet():
        model = AutoModelForCausalLM.from_pretrained(
            str(folder), config=config, dtype=torch.float32, use_safetensors=True
        ).eval()
    logs, following = [], []
    with torch.inference_mode():
        for sequence in sequences:
            ids = torch.tensor(sequence)
            found = model(ids[None]).logits[0].log_softmax(-1)
            logs.append(found[torch.arange(len(ids) - 1), ids[1:]].numpy())
            following.append(found[-1].numpy())
    return _Readings(logs, following)


def _agreement(served: _Readings, model: _Readings, layers: int, start: float) -> Agreement:
    import numpy as np

    mine, theirs = np.concatenate(served.logs), np.concatenate(model.logs)
    spread = max(float(theirs.std()), 1e-2)  # 0 for a model with uniform probabilities
    regrets = [
        logs.max() - logs[token] for token, logs in zip(served.following, model.following, strict=True)
    ]
    return Agreement(
        tokens=len(theirs),
        layers=layers,
        difference=float(abs(mine - theirs).mean()) / spread,
        regret=float(max(regrets)) / spread,
        seconds=time.perf_counter() - start,
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence transformers' warnings about missing blocks: they are left out on purpose."""
    from transformers.utils import logging

    bars, level = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
