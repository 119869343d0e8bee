"""Checks of a single instruction: toxicity, length in tokens, language; offline, but for a model by hub id."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from arena_learning.core import ArenaError, Progress, first_line, with_single_spaces, without_progress_bars
from arena_learning.pool.embeddings import model_folder

if TYPE_CHECKING:
    from tokenizers import Tokenizer

# Short and plain on purpose: insults, obscenities and calls for harm that hardly occur in another sense. It misses
# most of what is toxic and knows English only; a classifier (`filters.toxic_model`) reads the sense.
TOXIC_WORDS = tuple(
    word.strip()
    for word in """
    asshole, assholes, bastards, bitch, bitches, blowjob, bullshit, child porn, cocksucker, cunt, cunts, dickhead,
    fuck, fucked, fucker, fuckers, fucking, gang rape, gas the jews, handjob, heil hitler, how to kill someone,
    how to make a bomb, how to rape, i will kill you, incest porn, jerk off, kill all, kill yourself, kys,
    motherfucker, motherfucking, nazi scum, nude pics, porn, pornographic, porno, retarded, shithead, shitty, sieg heil,
    slut, sluts, suck my, white power, whore, whores, you should die
    """.split(",")
)
_BATCH = 16
_LONGEST = 300  # characters that the language identifier reads: enough to be sure, and it reads slowly
_NO_LANGUAGE = {"zxx", "und"}  # numbers and code; undecided


def folded_text(text: str) -> str:
    """Return ``text`` in lower case, in Unicode form NFC, with single spaces.

    In scripts without spaces between words, each character becomes a word, so that blocked words and near duplicates
    are found in them too.

    Example:
        >>> folded_text("Der  HIMMEL\\nist 蓝色")
        'der himmel ist 蓝 色'
    """
    return " ".join(with_single_spaces(unicodedata.normalize("NFC", text.lower())).split())


class WordList:
    """Finds the first of some words or phrases in a text, as whole words, whatever their case."""

    def __init__(self, words: Sequence[str]) -> None:
        folded = sorted({word for raw in words if (word := folded_text(raw))}, key=lambda w: (-len(w), w))
        pattern = "|".join(map(re.escape, folded))
        firsts = "".join(sorted({re.escape(word[0]) for word in folded}))  # most places fail at one look
        self._pattern = re.compile(rf"(?<!\w)(?=[{firsts}])(?:{pattern})(?!\w)") if folded else None

    def find(self, folded: str) -> str:
        """Return the word that a folded text (`folded_text`) contains, or an empty string."""
        found = self._pattern.search(folded) if self._pattern else None
        return found.group() if found else ""


class LanguageIdentifier:
    """Says a text's language, by a model that the package py3langid contains.

    Raises:
        ArenaError: the package is not installed.
    """

    def __init__(self) -> None:
        try:
            from py3langid.langid import MODEL_FILE
            from py3langid.langid import LanguageIdentifier as Identifier
        except ModuleNotFoundError:
            raise ArenaError(
                "the package py3langid is not installed",
                where="params.yaml, pool.filters.language_by",
                hint="pip install py3langid, or set language_by: field",
            ) from None
        self._model: Any = Identifier.from_model_file(MODEL_FILE, norm_probs=True)

    def identify(self, text: str) -> tuple[str, float]:
        """Return a language's ISO 639 code and its probability, 0 to 1; the code is empty for numbers and code."""
        code, probability = self._model.classify(text[:_LONGEST])
        return ("" if code in _NO_LANGUAGE else code), float(probability)


class TokenCounter:
    """Counts tokens without special ones, by a tokenizer.json.

    Args:
        source: a file, a folder that contains a tokenizer.json, or a hub id; empty for the embedding model's.

    Raises:
        ArenaError: there is no such tokenizer.
    """

    def __init__(self, source: str) -> None:
        from tokenizers import Tokenizer

        path = Path(source) if source else model_folder()
        path = path / "tokenizer.json" if path.is_dir() else path
        try:
            self._tokenizer: Tokenizer = (
                Tokenizer.from_file(str(path)) if path.is_file() else Tokenizer.from_pretrained(source)
            )
        except Exception as error:  # noqa: BLE001 - the library raises bare exceptions
            raise ArenaError(
                f"no tokenizer in '{source}': {first_line(error)[:200]}",
                where="params.yaml, pool.filters.tokenizer",
                hint="name a folder with a tokenizer.json or a hub id, or leave it empty",
            ) from None
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()

    def more_than(self, text: str, most: int) -> int:
        """Return the number of tokens of ``text`` if it is more than ``most``, else 0."""
        if len(text.encode("utf-8", "surrogatepass")) <= most:
            return 0  # no token is shorter than a byte
        count = len(self._tokenizer.encode(text, add_special_tokens=False).ids)
        return count if count > most else 0


def toxic_scores(texts: Sequence[str], model: str, labels: Sequence[str]) -> list[float]:
    """Return for each text the highest probability that a classifier gives to one of ``labels``.

    Probabilities are independent of each other (sigmoid) where the model is made for several labels or has one, else
    they sum to 1 (softmax). A long text is cut to what the model reads.

    Args:
        texts: the texts.
        model: a hub id, or a folder with safetensors.
        labels: labels of the model, whatever their case.

    Raises:
        ArenaError: the model cannot be loaded, or lacks one of the labels.
    """
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    where = "params.yaml, pool.filters"
    try:
        with without_progress_bars():
            tokenizer = AutoTokenizer.from_pretrained(model)
            network = AutoModelForSequenceClassification.from_pretrained(model, use_safetensors=True).eval()
    except (OSError, ValueError) as error:
        raise ArenaError(
            f"the classifier '{model}' cannot be loaded: {first_line(error)[:200]}",
            where=f"{where}.toxic_model",
        ) from None
    names = {str(name).lower(): int(number) for number, name in network.config.id2label.items()}
    missing = [label for label in labels if label.lower() not in names]
    if missing or not labels:
        raise ArenaError(
            f"the classifier '{model}' has no label '{''.join(missing[:1])}'",
            where=f"{where}.toxic_labels",
            hint=f"its labels are {', '.join(sorted(names))}",
        )
    columns = [names[label.lower()] for label in labels]
    one_by_one = network.config.problem_type == "multi_label_classification" or len(names) == 1
    longest = min(tokenizer.model_max_length, getattr(network.config, "max_position_embeddings", 512))
    found = [0.0] * len(texts)
    order = sorted(range(len(texts)), key=lambda n: (len(texts[n]), n))  # of like length, little is padding
    with Progress("toxicity", len(texts), "instructions") as progress, torch.inference_mode():
        for start in range(0, len(order), _BATCH):
            rows = order[start : start + _BATCH]
            batch = tokenizer(
                [texts[n] for n in rows],
                padding=True,
                truncation=True,
                max_length=longest,
                return_tensors="pt",
            )
            logits = network(**batch).logits.float()
            shares = logits.sigmoid() if one_by_one else logits.softmax(dim=-1)
            for row, score in zip(rows, shares[:, columns].amax(dim=-1).tolist(), strict=True):
                found[row] = score
            progress.advance(len(rows))
    return found
