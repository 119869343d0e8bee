"""Asks endpoints which models they list: whether they answer, take the key, and know the model's name."""

from __future__ import annotations

import http.client
import json
import os
import urllib.error
import urllib.request
from typing import NamedTuple
from urllib.parse import urlencode

from arena_learning.core import ArenaError, suggest
from arena_learning.engines.openai import error_text, refusal_hint
from arena_learning.params import Endpoint

_TIMEOUT = 10.0


class Listed(NamedTuple):
    """What an endpoint says of its models: their names, or why it does not list them.

    Attributes:
        names: the models; empty if it does not list them.
        trouble: why not; empty if it does.
        hint: what to do about it.
        refused: whether it will refuse, or not get, any other request too.
    """

    names: list[str]
    trouble: str = ""
    hint: str = ""
    refused: bool = False


def list_models(endpoint: Endpoint, model: str = "") -> Listed:
    """Ask an endpoint for its models.

    Args:
        endpoint: settings of the endpoint; the key is that of its environment variable, if that is set.
        model: the model that will be asked for, for the hint.
    """
    address = endpoint.base_url.rstrip("/")
    url = f"{address}/models" + (f"?{urlencode(endpoint.query)}" if endpoint.query else "")
    request = urllib.request.Request(url)
    if key := os.environ.get(endpoint.api_key_env, "").strip():
        header = endpoint.api_key_header or "Authorization"
        # urllib sends other headers along to whatever host a redirect names.
        request.add_unredirected_header(header, f"Bearer {key}" if header.lower() == "authorization" else key)
    try:
        with urllib.request.urlopen(request, timeout=min(_TIMEOUT, endpoint.timeout)) as reply:
            names = [str(one["id"]) for one in json.load(reply)["data"]]
    except urllib.error.HTTPError as error:
        said = error_text(error.read(1 << 16).decode("utf-8", "replace")).replace(key or "\0", "***")
        what = f"status {error.code}: {said}" if said else f"status {error.code}"
        hint = refusal_hint(error.code, "", endpoint, model)
        # Many services have no list of models, so that its absence says nothing about the rest.
        unlikely = error.code in (401, 403) or (error.code == 404 and "set base_url" in hint)
        return Listed([], f"the endpoint refuses: {what}", hint, unlikely)
    except (OSError, http.client.HTTPException) as error:  # the latter: no server of HTTP answers
        reason = getattr(error, "reason", error)
        return Listed([], f"the endpoint does not answer: {reason}", "start it, or correct base_url", True)
    except (ValueError, KeyError, TypeError):
        return Listed([], "the endpoint does not list its models", "check base_url (most end in /v1)")
    return Listed(names)


def only_model(endpoint: Endpoint, option: str) -> str:
    """Return the one model that an endpoint serves.

    Raises:
        ArenaError: it does not list its models, or serves several.
    """
    url = endpoint.base_url
    hint = f"write the model before the address: {option} MODEL@{url}"
    found = list_models(endpoint)
    if found.trouble:
        raise ArenaError(
            f"{url}/models does not list its models: {found.trouble}",
            where=option,
            hint=f"{found.hint}, or {hint}" if found.hint else hint,
        )
    if len(found.names) != 1:
        names = ", ".join(found.names[:10])
        raise ArenaError(f"{url} serves {len(found.names)} models: {names}", where=option, hint=hint)
    return found.names[0]


def unknown_model(model: str, names: list[str]) -> str:
    """Return what to say of a model that an endpoint does not list; nothing if it does (Ollama adds a tag)."""
    if not names or model in names or f"{model}:latest" in names:
        return ""
    return f"the endpoint lists no model '{model}'; {suggest(model, names[:50])}"
