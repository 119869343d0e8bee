"""What the report says of the pool: what was read, what each filter removed and why, with examples."""

from __future__ import annotations

from typing import Any

from arena_learning.core import Paths, read_json, sanitized
from arena_learning.report.phrases import percent

_SHOWN = 20  # sources, the largest

# What each reason of `arena prepare` means, in its order; a reason of another version is shown without a sentence.
REASONS = {
    "flagged by its source": "The source's own moderation has flagged the conversation as toxic.",
    "blocked": "It contains a word or phrase of pool.filters.blocked.",
    "toxic word": "It contains a word of the list that comes with the package (toxic_words).",
    "toxic by the classifier": "The classifier (toxic_model) gives a toxic label at least toxic_score.",
    "too short": "Its last turn has fewer characters than min_chars.",
    "too long": "It has more tokens than max_tokens.",
    "same prefix": "It begins as an earlier one (same_prefix).",
    "exact duplicate": "It equals an earlier one but for case and white space.",
    "near duplicate": "Its word 3-grams are those of an earlier one, up to near_duplicate.",
    "language": "It is in a language other than those kept (languages, language_by).",
    "overlap": "It contains word n-grams of a held-out item (overlap).",
    "contamination": "Its embedding is close to that of a held-out item (contamination).",
    "nearest to a held-out item": "It is among the nearest neighbours of a held-out item (nearest).",
}


def pool_view(paths: Paths) -> dict[str, Any]:
    """Return the pool's counts and the removed instructions by reason; empty before `arena prepare`, or of an old card.

    Raises:
        ArenaError: the data card is malformed.
    """
    card: dict[str, Any] = read_json(paths.prepare_card) if paths.prepare_card.is_file() else {}
    if not card:
        return {}
    known = [reason for reason in REASONS if reason in card["dropped"]]
    others = sorted(card["dropped"].keys() - REASONS.keys())
    return {
        "read": card["read"],
        "used": sum(card["splits"].values()),
        "unused": card["unused"],
        "splits": {name: size for name, size in card["splits"].items() if size},
        "test_set": _test_set(card),
        "sources": _counts(card.get("sources", {})),
        "malformed": card.get("malformed", 0),
        "first_malformed": card.get("first_malformed", []),
        "passed_over": _counts(card.get("passed_over", {})),
        "removed": [
            {
                "reason": reason,
                "why": REASONS.get(reason, ""),
                "count": card["dropped"][reason],
                "share": percent(card["dropped"][reason] / card["read"]),
                "examples": card.get("examples", {}).get(reason, []),
            }
            for reason in (*known, *others)
        ],
    }


def _test_set(card: dict[str, Any]) -> dict[str, Any]:
    """Return what is known of the test set: how it was chosen, its categories and its clusters."""
    found: dict[str, Any] = card.get("test_set", {})
    if not found:
        return {}
    size = card["splits"]["test"]
    several = card.get("multi_turn", {}).get("test", 0)
    candidates, unrated = found.get("candidates", 0), found.get("unrated", 0)
    stands_in = "their own word or their length stood in for a difficulty"
    return {
        "kind": found["kind"],
        "fingerprint": found["fingerprint"],
        "several": percent(several / size) if size else "",
        "categories": _counts(card.get("categories", {}).get("test", {})),
        "parts": {name: len(ids) for name, ids in found.get("parts", {}).items()},
        "rated": ""
        if not candidates
        else f"Of {candidates} candidates for hard ones none was rated: {stands_in}."
        if unrated == candidates
        else f"Of {candidates} candidates for hard ones {candidates - unrated} were rated by a judge.",
        "clusters": found.get("clusters", 0),
        "largest": [{**row, "words": ", ".join(row["words"])} for row in found.get("largest", [])],
    }


def _counts(counts: dict[str, int]) -> dict[str, int]:
    """Return the largest counts; their names come from the pool's files, and may hold any character."""
    largest = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))[:_SHOWN]
    return {sanitized(name): count for name, count in largest}
