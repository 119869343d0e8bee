"""Load models and tokenizers for training, from safetensors only, without the libraries' output."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from arena_learning.core import ArenaError
from arena_learning.engines import Chat, ChatFormat, check_chat
from arena_learning.params import Footprint
from arena_learning.schema import Turn
from arena_learning.train.freeze import freeze_first_layers

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


# Tokens that models of common families have but never use in a conversation, best first.
PAD_CANDIDATES = (
    "<|endoftext|>",
    "<|pad|>",
    "<pad>",
    "[PAD]",
    "<|finetune_right_pad_id|>",
    "<unk>",
    "<|PAD_TOKEN|>",
)


class Start(NamedTuple):
    """The model that a training starts from.

    Attributes:
        folder: the model's folder.
        tokenizer: set up for trainers: its eos is the end of turn, its pad is used in no conversation.
        form: the chat format, the same as when the model is served.
        end_of_turn: id of the token that ends an answer.
        pad: id of a token that is used in no conversation.
        trust_remote_code: run code that comes with the model.
    """

    folder: Path
    tokenizer: PreTrainedTokenizerBase
    form: ChatFormat
    end_of_turn: int
    pad: int
    trust_remote_code: bool


def quiet_libraries() -> None:
    """Switch off the libraries' progress bars, log messages and one warning: a stage has one progress line."""
    os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("TQDM_DISABLE", "1")  # the only switch of TRL's bar over log-probabilities
    # TRL 1.16 and peft 0.21 read the name that transformers 5.24 replaced; nobody who trains can do anything about it.
    warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
    import datasets
    import transformers

    datasets.disable_progress_bars()
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()


def load_start(folder: Path, trust_remote_code: bool) -> Start:
    """Load the tokenizer of the model in ``folder``, check its chat format, and set eos and pad (in memory only).

    Raises:
        ArenaError: no weights, an unsupported chat format (see `chat_format.check_chat`), or no unused token for pad.
    """
    from transformers import AutoTokenizer

    if not list(folder.glob("*.safetensors")):
        raise ArenaError(
            "there are no safetensors weights (pickled weights are refused)",
            where=str(folder),
            hint="convert the model: load it once and save it with save_pretrained",
        )
    chat = Chat(folder, trust_remote_code=trust_remote_code)
    end_of_turn = check_chat(chat).end_of_turn
    tokenizer = AutoTokenizer.from_pretrained(
        folder, local_files_only=True, trust_remote_code=trust_remote_code
    )
    pad = _pad(chat, str(folder))
    tokenizer.eos_token = tokenizer.convert_ids_to_tokens(end_of_turn)
    tokenizer.pad_token = tokenizer.convert_ids_to_tokens(pad)
    return Start(folder, tokenizer, ChatFormat(chat), end_of_turn, pad, trust_remote_code)


def _pad(chat: Chat, where: str) -> int:
    """Return a token that is used in no conversation: PPO masks every token that equals pad."""
    turns = [Turn(role=("user", "assistant")[n % 2], content="Blue.") for n in range(4)]
    used = {*chat.tokens(chat.render_whole(turns)), *chat.tokens(chat.render(turns[:3])), *chat.stop_ids}
    tokenizer = chat.tokenizer
    known = tokenizer.get_vocab()
    others = sorted({*chat.controls, *map(str, tokenizer.all_special_tokens)})
    for token in (tokenizer.pad_token, *PAD_CANDIDATES, tokenizer.unk_token, *others):
        if token is not None and token in known and known[token] not in used:
            return int(known[token])
    raise ArenaError(
        "there is no token for padding: conversations use all control tokens",
        where=where,
        hint="add a pad token to the tokenizer that the chat template does not use",
    )


def load_policy(start: Start, how: Footprint | None = None) -> PreTrainedModel:
    """Load the causal language model in the type of ``how`` (fp32), with its pad token set for training."""
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(
        start.folder,
        **_form(how),
        use_safetensors=True,
        local_files_only=True,
        trust_remote_code=start.trust_remote_code,
    )
    return _for_training(model, start, how)


def _form(how: Footprint | None) -> dict[str, Any]:
    """Return the arguments of `from_pretrained` that a footprint stands for."""
    import torch

    how = how or Footprint()
    chosen = {} if how.attention == "auto" else {"attn_implementation": how.attention}
    return {"dtype": torch.bfloat16 if how.weights == "bf16" else torch.float32, **chosen}


def without_sampling_defaults(model: PreTrainedModel) -> PreTrainedModel:
    """Return the model without defaults for sampling that come with it.

    A repetition penalty, say, would make what is sampled another distribution than what is trained.
    """
    from transformers import GenerationConfig

    own = model.generation_config
    model.generation_config = GenerationConfig(bos_token_id=own.bos_token_id, pad_token_id=own.pad_token_id)
    return model


def load_scorer(start: Start, folder: Path, seed: int, how: Footprint | None = None) -> PreTrainedModel:
    """Load the model in ``folder`` with one output: a score head, a new one if it has none."""
    from transformers import AutoModelForSequenceClassification, set_seed
    from trl.trainer.reward_trainer import suppress_seqcls_warning

    set_seed(seed)  # a new head is initialised at random
    with suppress_seqcls_warning():
        model = AutoModelForSequenceClassification.from_pretrained(
            folder,
            num_labels=1,
            **_form(how),
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=start.trust_remote_code,
        )
    return _for_training(model, start, how)


def _for_training(model: PreTrainedModel, start: Start, how: Footprint | None) -> PreTrainedModel:
    freeze_first_layers(model, how or Footprint())
    model.config.pad_token_id = start.pad
    model.config.use_cache = False
    if getattr(model, "generation_config", None) is not None:
        model.generation_config.pad_token_id = start.pad
        model.generation_config.eos_token_id = start.end_of_turn
    return model
