"""Opens OpenVINO GenAI's pipeline of a GGUF file, without a tokenizer of the model's vocabulary.

The pipeline gets prompts as tokens and returns tokens, so its tokenizer is not used. To make one takes as long as to
make the model: 3.1 of 7.5 s for SmolLM2's 49,152 tokens, at each opening. One of four tokens takes 0.2 s. Its ids mean
nothing: whoever asks the pipeline names the tokens that end an answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import openvino_genai

_TOKENS = ["<end>", "a", "b", "ab"]  # with a merge: of two tokens without one OpenVINO makes no tokenizer


def open_pipeline(
    file: Path, scheduler: openvino_genai.SchedulerConfig, properties: Mapping[str, Any]
) -> openvino_genai.ContinuousBatchingPipeline:
    """Return the pipeline of a GGUF export on the CPU.

    A call's `GenerationConfig` must name what ends an answer (``eos_token_id``) or ignore it: the pipeline knows no
    such token.

    Args:
        file: the export.
        scheduler: how many conversations are answered at once, and what is kept of them.
        properties: OpenVINO's, such as the type that it computes in.

    Raises:
        RuntimeError: OpenVINO cannot read the file.
    """
    import openvino_genai

    return openvino_genai.ContinuousBatchingPipeline(
        str(file), _small_tokenizer(), scheduler, "CPU", **properties
    )


def _small_tokenizer() -> openvino_genai.Tokenizer:
    import gguf
    import openvino_genai

    with TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        path = Path(folder) / "tokenizer.gguf"
        with closing(gguf.GGUFWriter(path, "llama")) as writer:
            writer.add_tokenizer_model("gpt2")
            writer.add_tokenizer_pre("default")
            writer.add_token_list(_TOKENS)
            writer.add_token_types([gguf.TokenType.CONTROL, *[gguf.TokenType.NORMAL] * 3])
            writer.add_token_merges(["a b"])
            for add in (writer.add_bos_token_id, writer.add_eos_token_id, writer.add_pad_token_id):
                add(0)
            writer.write_header_to_file()
            writer.write_kv_data_to_file()
            writer.write_tensors_to_file()
        return openvino_genai.Tokenizer(str(path))
