"""An answer and its thought in all the forms that servers send them, and the words with which an answer ends."""

from __future__ import annotations

import pytest
from endpoint import Reply, completion

from arena_learning.engines.base import Completion, Refused
from arena_learning.params.contestants import Sampling
from arena_learning.schema.rows import Turn

HELLO = [[Turn(role="user", content="Hello")]]
LONG = Sampling(max_tokens=100)
THOUGHT = [{"type": "text", "text": "Sky,"}, {"type": "text", "text": " sea."}]


def reply(finish="stop", tokens=5, **message):
    body = completion(None, finish, tokens)
    body["choices"][0]["message"] = {"role": "assistant", **message}
    return body


def asked(serve, connect, body, **fields):
    """Return what one conversation gets, and how many requests that took."""
    server = serve(lambda _: Reply(body=body))
    (found,) = connect(server, **fields).respond(HELLO, LONG)
    return found, len(server.requests)


TEXT = {"type": "text", "text": "Blue."}
PARTS = {
    "a part": ([TEXT], "Blue.", ""),
    "strings": (["Bl", "ue."], "Blue.", ""),
    "a part alone": (TEXT, "Blue.", ""),
    "parts of one text": ([{"type": "text", "text": "Bl"}, {"type": "text", "text": "ue."}], "Blue.", ""),
    "Mistral's thinking": ([{"type": "thinking", "thinking": THOUGHT}, TEXT], "Blue.", "Sky, sea."),
    "a thinking as text": ([{"type": "thinking", "thinking": "Sky, sea."}, TEXT], "Blue.", "Sky, sea."),
    "reasoning": ([{"type": "reasoning", "text": "Sky, sea."}, TEXT], "Blue.", "Sky, sea."),
    "a summary": (
        [{"type": "reasoning", "summary": [{"type": "summary_text", "text": "Sky, sea."}]}, TEXT],
        "Blue.",
        "Sky, sea.",
    ),
    "Google's": ([{"text": "Sky, sea.", "thought": True}, {"text": "Blue."}], "Blue.", "Sky, sea."),
    "output text": ([{"type": "output_text", "text": "Blue.", "annotations": []}], "Blue.", ""),
    "a text with a value": ([{"type": "text", "text": {"value": "Blue.", "annotations": []}}], "Blue.", ""),
    "a refusal": ([{"type": "refusal", "refusal": "I can't help."}], "I can't help.", ""),
    "unknown kinds": (
        [{"type": "image_url", "image_url": {"url": "x"}}, {"type": "new", "text": "no"}, TEXT, 7, None],
        "Blue.",
        "",
    ),
    "marks in a part": (
        [{"type": "text", "text": "<think>Sky, sea.</think>\n\nBlue."}],
        "Blue.",
        "Sky, sea.",
    ),
}


@pytest.mark.parametrize("name", PARTS)
def test_content_in_parts_is_read(name, serve, connect):
    content, text, thought = PARTS[name]
    found, requests = asked(serve, connect, reply(content=content))
    assert (found.text, found.thought, found.finish_reason) == (text, thought, "stop")
    assert requests == 1


THOUGHTS = {
    "reasoning_content": {"reasoning_content": "Sky, sea."},
    "reasoning": {"reasoning": "Sky, sea."},
    "both, as some servers send it": {"reasoning_content": "Sky, sea.", "reasoning": "Sky, sea."},
    "thinking": {"thinking": "Sky, sea."},
    "OpenRouter's details": {
        "reasoning_details": [
            {"type": "reasoning.text", "text": "Sky, sea.", "signature": "x"},
            {"type": "reasoning.encrypted", "data": "9f3a"},
        ]
    },
    "LiteLLM's blocks": {"thinking_blocks": [{"type": "thinking", "thinking": "Sky, sea."}]},
}


@pytest.mark.parametrize("name", THOUGHTS)
@pytest.mark.parametrize("content", ["Blue.", "\n\nBlue.", [TEXT]])
def test_a_thought_in_a_field_of_its_own_is_read(name, content, serve, connect):
    found, _ = asked(serve, connect, reply(content=content, **THOUGHTS[name]))
    assert (found.text, found.thought) == ("Blue.", "Sky, sea.")


@pytest.mark.parametrize(
    "content",
    [
        "<think>Sky, sea.</think>\n\nBlue.",
        "Sky, sea.</think>Blue.",  # opened in the prompt
        "[THINK]Sky, sea.[/THINK]Blue.",
        "<|channel|>analysis<|message|>Sky, sea.<|end|><|start|>assistant<|channel|>final<|message|>Blue.<|return|>",
        "<|channel>thought\nSky, sea.<channel|>Blue.",
        "Here is my thought process: Sky, sea. Here is my response: Blue.",
    ],
)
def test_a_thought_inside_of_the_text_is_split_off(content, serve, connect):
    found, _ = asked(serve, connect, reply(content=content))
    assert (found.text, found.thought, found.finish_reason) == ("Blue.", "Sky, sea.", "stop")


@pytest.mark.parametrize(
    "text",
    [
        "Dear Ann, thank you. Here is my response: Blue.",
        "Put <think> before it.",
        " Blue.\n",
        "[BEGIN FINAL RESPONSE]",
    ],
)
def test_prose_is_no_thought(text, serve, connect):
    found, _ = asked(serve, connect, reply(content=text))
    assert (found.text, found.thought, found.thought_tokens) == (text, "", 0)


def test_marks_in_prose_are_no_thought_where_the_server_has_split_it_off(serve, connect):
    found, _ = asked(serve, connect, reply(content="End it by </think> alone.", reasoning="Sky, sea."))
    assert (found.text, found.thought) == ("End it by </think> alone.", "Sky, sea.")


@pytest.mark.parametrize("finish", ["stop", "length", None])
def test_a_thought_that_never_ended_is_an_empty_answer_that_was_cut_off(finish, serve, connect):
    found, requests = asked(serve, connect, reply(finish, content="<think>Sky, sea, and then"))
    assert (found.text, found.thought, found.finish_reason) == ("", "Sky, sea, and then", "length")
    assert requests == 1


@pytest.mark.parametrize("message", [{"content": None}, {"content": ""}, {"content": []}, {}])
@pytest.mark.parametrize("finish", ["stop", "length"])
def test_a_thought_without_an_answer_is_an_empty_answer(message, finish, serve, connect):
    found, requests = asked(serve, connect, reply(finish, reasoning_content="Sky, sea.", **message))
    assert (found.text, found.thought, found.finish_reason, requests) == ("", "Sky, sea.", finish, 1)


@pytest.mark.parametrize("message", [{"content": None}, {"content": ""}, {}])
def test_an_answer_that_was_cut_off_before_its_first_word_is_empty(message, serve, connect):
    found, requests = asked(serve, connect, reply("length", **message))
    assert (found.text, found.thought, found.finish_reason, requests) == ("", "", "length", 1)


@pytest.mark.parametrize(
    ("usage", "counted"),
    [
        # By the server: 30 of 40 tokens.
        ({"completion_tokens": 40, "completion_tokens_details": {"reasoning_tokens": 30}}, (40, 30)),
        ({"completion_tokens": 40, "reasoning_tokens": 30}, (40, 30)),
        # Beside the completion's tokens and not among them: 9 + 10 + 30 in all.
        (
            {
                "completion_tokens": 10,
                "total_tokens": 49,
                "completion_tokens_details": {"reasoning_tokens": 30},
            },
            (40, 30),
        ),
        # Not counted: 9 of 14 bytes are the thought's, so 26 of 40 tokens (25.7).
        ({"completion_tokens": 40}, (40, 26)),
        ({"completion_tokens": 40, "completion_tokens_details": {"reasoning_tokens": 0}}, (40, 26)),
        ({"completion_tokens": 40, "completion_tokens_details": None}, (40, 26)),
        # Nothing counted: 14 // 4 + 1 tokens, 9/14 of them the thought's (2.6).
        ({}, (4, 3)),
    ],
)
def test_the_tokens_of_a_thought_are_counted_or_guessed(usage, counted, serve, connect):
    body = reply(content="Blue.", reasoning_content="Sky, sea.") | {"usage": {"prompt_tokens": 9, **usage}}
    found, _ = asked(serve, connect, body)
    assert (found.completion_tokens, found.thought_tokens, found.prompt_tokens) == (*counted, 9)


def test_a_thought_that_is_not_shown_is_counted_all_the_same(serve, connect):
    body = reply(content="Blue.", tokens=40)
    body["usage"]["completion_tokens_details"] = {"reasoning_tokens": 30}
    found, _ = asked(serve, connect, body)
    assert (found.text, found.thought, found.completion_tokens, found.thought_tokens) == ("Blue.", "", 40, 30)


def test_half_a_character_in_a_thought_is_replaced(serve, connect):
    found, _ = asked(serve, connect, reply(content="Blue.", reasoning="cut \ud83d"))
    assert found.thought == "cut \ufffd"


def test_a_refusal_is_the_models_own_words(serve, connect):
    found, _ = asked(serve, connect, reply(content=None, refusal="I can't help with that."))
    assert (found.text, found.finish_reason) == ("I can't help with that.", "stop")


STOP = (
    "stop STOP Stop eos eos_token end_turn END_TURN stop_sequence stop-sequence COMPLETE FINISH_REASON_STOP"
)
LENGTH = "length MAX_TOKENS max_tokens max_output_tokens maxTokens model_length model_context_window_exceeded"
FILTER = "content_filter Content-Filter sensitive SAFETY RECITATION PROHIBITED_CONTENT BLOCKLIST guardrail_intervened"


@pytest.mark.parametrize("finish", [*STOP.split(), None, "", "tool_calls", "function_call"])
def test_an_answer_ends_by_itself_in_all_spellings(finish, serve, connect, capsys):
    found, requests = asked(serve, connect, reply(finish, content="Blue."))
    assert (found.text, found.finish_reason, requests) == ("Blue.", "stop", 1)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("finish", LENGTH.split())
def test_an_answer_is_cut_off_in_all_spellings(finish, serve, connect):
    found, requests = asked(serve, connect, reply(finish, content="Blue."))
    assert (found.text, found.finish_reason, requests) == ("Blue.", "length", 1)


@pytest.mark.parametrize("finish", [*FILTER.split(), "refusal", "SPII", "ERROR_TOXIC"])
def test_a_policy_refuses_in_all_spellings(finish, serve, connect):
    found, requests = asked(serve, connect, reply(finish, content="Bl"))
    assert isinstance(found, Refused)
    assert "content filter" in found.reason
    assert requests == 1


@pytest.mark.parametrize("finish", ["abort", "ABORTED", "error", "cancelled", "canceled", "timeout"])
def test_an_answer_that_the_server_broke_off_is_asked_for_again_and_then_refused(finish, serve, connect):
    found, requests = asked(serve, connect, reply(finish, content="half an ans"), retries=2)
    assert found == Refused(f"3 attempts failed, the last by finish_reason is '{finish}'", passing=True)
    assert requests == 3


@pytest.mark.parametrize("finish", ["tool_calls", "function_call", "tool_use", "stop"])
@pytest.mark.parametrize("content", [None, ""])
def test_a_call_of_a_tool_is_no_answer(finish, content, serve, connect):
    call = [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
    found, requests = asked(serve, connect, reply(finish, content=content, tool_calls=call))
    assert found == Refused("a call of a tool instead of an answer")
    assert requests == 1


def test_an_unknown_word_is_taken_by_the_length_and_said(serve, connect, capsys):
    found, requests = asked(serve, connect, reply("whatever", tokens=5, content="Blue."))
    assert (found[:2], requests) == (("Blue.", "stop"), 1)
    assert "unknown finish_reason 'whatever' (1 answers)" in capsys.readouterr().err
    found, _ = asked(serve, connect, reply("whatever", tokens=100, content="Blue."))  # all that were allowed
    assert found[:2] == ("Blue.", "length")
    found, _ = asked(serve, connect, reply(None, tokens=100, content="Blue."))
    assert isinstance(found, Completion)
    assert found.finish_reason == "length"


def test_parts_nested_beyond_reason_are_no_text_and_no_crash(serve, connect):
    deep = '{"type":"text","text":' * 200 + '"x"' + "}" * 200
    body = f'{{"choices":[{{"message":{{"content":[{deep}]}},"finish_reason":"stop"}}]}}'
    server = serve(lambda _: Reply(body=body))
    assert connect(server, retries=1).respond(HELLO, LONG) == [Refused("an empty answer, 2 times")]
