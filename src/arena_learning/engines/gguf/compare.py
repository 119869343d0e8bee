"""Compare a whole export with the model: OpenVINO's reading of the file against transformers' of the folder.

Both give the log-probability of every token of the same few texts, and the token that comes next. In F16 they differ by
some thousandths of the log-probabilities' spread, since the weights are rounded; whatever is lost on the way (another
activation, a bias, a window, a scaled rotary embedding) moves them by a tenth of it and more.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NamedTuple

from arena_learning.engines.gguf.config import Computation, export_error
from arena_learning.engines.gguf.export import export_gguf
from arena_learning.engines.gguf.tokenizer import load_gguf_tokenizer
from arena_learning.engines.gguf.vocabulary import own_tokenizer, template_fields

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

ALLOWED = 0.02  # mean difference of log-probabilities, in standard deviations of the model's own
_RANDOM = 192  # tokens of the sequence that is drawn from the whole vocabulary
_LARGEST = 1_000_000_000  # parameters that are compared; of a larger model as many blocks as fit
_EXACT = {
    "INFERENCE_PRECISION_HINT": "f32",
    "KV_CACHE_PRECISION": "f32",
    "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0,
}
_TEXTS = (  # in NFC, since a GGUF file cannot ask for it
    "The capital of France is Paris. In 1969 two people walked on the Moon;  the third stayed in orbit.\n\n"
    "1. Boil 2,50 l of water.\n\n12. Don't forget: I'll come, we're LATE, they'VE gone!\n",
    "def add(a, b):\n\t\treturn {'sum': a+b}   # \u2192 100%\r\n\r\n<b>x</b>",
    "Gr\u00fc\u00dfe aus K\u00f6ln, \u00bfqu\u00e9 tal? \u05e9\u05dc\u05d5\u05dd \u4f60\u597d\uff0c\u4e16\u754c\u3002"
    " \u0645\u0631\u062d\u0628\u0627 \U0001f642\U0001f469\u200d\U0001f680 \u0661\u0662\u0663",
)


class Agreement(NamedTuple):
    """How far the file and the model are apart.

    Attributes:
        tokens: how many log-probabilities were compared.
        layers: how many of the model's blocks took part.
        difference: mean absolute difference, in standard deviations of the model's own log-probabilities.
        regret: how much less likely, in the same unit, the file's next token is than the likeliest; the worst text's.
        seconds: how long it took.
    """

    tokens: int
    layers: int
    difference: float
    regret: float
    seconds: float


class _Readings(NamedTuple):
    """Of each sequence the log-probabilities of its tokens but the first, and what comes after it."""

    logs: list[npt.NDArray[np.float32]]
    following: list[Any]


def compare(
    folder: Path, template: Path | None, computation: Computation, scratch: Path | None = None
) -> Agreement:
    """Export the model in ``folder`` in F16, and compare what OpenVINO makes of it with what transformers computes.

    One line on stderr says what came out. At most a thousand million parameters are compared, of a larger model
    its first blocks: transformers computes in fp32, and a model that OpenVINO can serve need not fit four times over.

    Args:
        folder: the model's folder.
        template: the GGUF that exports take their metadata from, or None.
        computation: what the model computes.
        scratch: where the export is written, and removed again; None: the system's folder for such files.

    Raises:
        ArenaError: the two differ, in numbers or in how text is cut.
    """
    start = time.perf_counter()
    layers = _compared_layers(computation)
    with TemporaryDirectory(prefix="comparing-", dir=scratch) as written:
        file = Path(written) / "compared.gguf"
        export_gguf(folder, template, file, "f16", computation=computation, layers=layers)
        tokenizer = _same_tokenizer(folder, file)
        sequences = _sequences(tokenizer, computation)
        served = _served(file, sequences, folder)
    model = _computed(folder, sequences, layers)
    agreement = _agreement(served, model, layers, start)
    if not (agreement.difference <= ALLOWED and agreement.regret <= 4 * ALLOWED):
        raise export_error(
            f"OpenVINO does not compute from the GGUF export what transformers computes from the model: over"
            f" {agreement.tokens} tokens log-probabilities differ by {agreement.difference:.1%} of their spread"
            f" (allowed: {ALLOWED:.0%}), the next token by {agreement.regret:.1%}",
            folder,
        )
    blocks = "" if layers == computation.layers else f" of its first {layers} blocks"
    sys.stderr.write(
        f"{folder.name}: the GGUF export{blocks} agrees with transformers: log-probabilities of {agreement.tokens}"
        f" tokens differ by {agreement.difference:.2%} of their spread (allowed: {ALLOWED:.0%});"
        f" {agreement.seconds:.0f} s, once for this configuration\n"
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
    """Return the folder's tokenizer, after a check that the file's cuts the same texts alike."""
    own, back = own_tokenizer(folder), load_gguf_tokenizer(file)
    added = " x ".join(sorted(str(token) for token in own.added_tokens_decoder.values())[:20])
    for text in (*_TEXTS, added):
        mine, theirs = (tokenizer.encode(text, add_special_tokens=False) for tokenizer in (own, back))
        if mine != theirs:
            place = next((i for i, (a, b) in enumerate(zip(mine, theirs, strict=False)) if a != b), 0)
            raise export_error(
                f"the GGUF export cuts text otherwise than the model's tokenizer, from token {place} of {text!r}",
                folder,
            )
    if template_fields(back.chat_template, folder) != template_fields(own.chat_template, folder):
        raise export_error("the GGUF export holds another chat template than the model's tokenizer", folder)
    return own


def _sequences(tokenizer: Any, computation: Computation) -> list[list[int]]:
    """Return the texts as tokens, and one sequence over the whole vocabulary, long enough to turn on positions."""
    import numpy as np

    drawn = np.random.default_rng(0).integers(0, computation.vocabulary, _RANDOM).tolist()
    texts = [tokenizer.encode(text, add_special_tokens=False) for text in _TEXTS]
    longest = computation.positions - 1
    return [sequence[:longest] for sequence in (*texts, drawn) if len(sequence) > 1]


def _served(file: Path, sequences: Sequence[list[int]], folder: Path) -> _Readings:
    """Return what OpenVINO computes; it echoes each prompt with its tokens' log-probabilities."""
    import numpy as np
    import openvino
    import openvino_genai

    scheduler = openvino_genai.SchedulerConfig()
    config = openvino_genai.GenerationConfig()
    config.max_new_tokens, config.echo, config.logprobs, config.ignore_eos = 1, True, 1, True
    try:
        pipeline = openvino_genai.ContinuousBatchingPipeline(str(file), scheduler, "CPU", _EXACT)
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
        np.array(output.generated_log_probs[1:-1], dtype=np.float32)  # nothing comes before the first
        for output in outputs
    ]
    return _Readings(logs, [output.generated_ids[-1] for output in outputs])


def _computed(folder: Path, sequences: Sequence[list[int]], layers: int) -> _Readings:
    """Return what transformers computes in fp32; ``following`` are the log-probabilities of all next tokens."""
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
    spread = max(float(theirs.std()), 1e-2)  # a model that says nothing has none
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
    """Silence transformers while it loads: the blocks that are left out are left out on purpose."""
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
