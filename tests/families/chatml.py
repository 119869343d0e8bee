"""Families that write turns as ``<|im_start|>role ... <|im_end|>``, and those close to it."""

from __future__ import annotations

from typing import Any

from family import THINK, Family, by_roles

EMPTY = "<think>\n\n</think>\n\n"
CALLS = ("<tool_call>", "</tool_call>")
DEFAULT = "{% if messages[0].role != 'system' %}{{ '<|im_start|>system\nYou help.<|im_end|>\n' }}{% endif %}"
TOOLS = (
    "{% macro one(tool) %}<function>{{ tool.name }}</function>{% endmacro %}"
    "{% if tools is iterable and tools | length > 0 %}{% for t in tools %}{{ one(t) }}{% endfor %}{% endif %}"
)
CUT = "{% set said = m.content.split('</think>')[-1].lstrip('\n') %}"
THOUGHT = "<think>\nSky.\n</think>\n\nBlue."


def chatml(
    name: str,
    *,
    before: str = "",
    last: str = "''",
    earlier: str = "''",
    content: str = "m.content",
    prompt: str = "''",
    opening: str = "",
    history: str = "",
    default: bool = False,
    start: str = "",
    learnt: str = "Blue.<|im_end|>",
    **more: Any,
) -> Family:
    """Return a family: ``last``, ``earlier`` and ``prompt`` are expressions, ``opening`` and ``history`` texts."""
    body = by_roles(
        system="'<|im_start|>system\n' + m.content + '<|im_end|>\n'",
        user="'<|im_start|>user\n' + m.content + '<|im_end|>\n'",
        assistant=f"'<|im_start|>assistant\n' + ({last} if loop.last else {earlier}) + {content} + '<|im_end|>\n'",
        prompt=f"'<|im_start|>assistant\n' + ({prompt})",
    )
    told = "<|im_start|>system\nYou help.<|im_end|>\n" if default else ""
    asked = "<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n" + opening
    earlier_turns = "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n" + history + "Hey.<|im_end|>\n"
    bos = more.get("bos", "")
    return Family(
        name=name,
        template=("{{ bos_token }}" if bos else "") + before + (DEFAULT if default else "") + body,
        prompt=bos + start + told + asked,
        talk=bos + start + "<|im_start|>system\nBe brief.<|im_end|>\n" + earlier_turns + asked,
        learnt=learnt,
        **{
            "tokens": ("<|endoftext|>", "<|im_start|>", "<|im_end|>"),
            "eos": "<|im_end|>",
            "ends": ("<|im_end|>", "<|endoftext|>"),
            **more,
        },
    )


CHATML = (
    chatml("Qwen2.5", default=True, soft=CALLS, before=TOOLS),
    chatml("Qwen3-Instruct-2507", soft=(*CALLS, *THINK)),
    chatml("Qwen3-Coder", soft=(*CALLS, *THINK), before=TOOLS, content="(m.content | trim)"),
    chatml(
        "a model that thinks, with an older tokenizer",
        kind="gpt-2",
        soft=THINK,
        last="'<think>\n\n</think>\n\n'",
        between=EMPTY,
        thought=THOUGHT,
        opened="<think>\nSky",
    ),
    chatml(
        "Qwen3 hybrid",
        soft=(*CALLS, *THINK),
        last="'<think>\n' + (m.reasoning_content | default('')).strip('\n') + '\n</think>\n\n'",
        content="m.content.split('</think>')[-1].lstrip('\n')",
        prompt="'<think>\n\n</think>\n\n' if enable_thinking is defined and enable_thinking is false else ''",
        between=EMPTY,
        thought=THOUGHT,
        opened="<think>\nSky",
    ),
    chatml(
        "Qwen3-Thinking-2507",
        soft=(*CALLS, *THINK),
        last="'<think>\n' + (m.reasoning_content | default('')) + '\n</think>\n\n'",
        prompt="'<think>\n'",
        opening="<think>\n",
        between="\n</think>\n\n",
        thought="Sky.\n</think>\n\nBlue.",
        straight="\n</think>\n\nBlue.",
        opened="Sky",
    ),
    chatml(
        "Qwen3.5 to 2B",
        soft=(*CALLS, *THINK),
        ends=("<|endoftext|>",),
        last="'<think>\n\n</think>\n\n'",
        prompt="'<think>\n' if enable_thinking is defined and enable_thinking else '<think>\n\n</think>\n\n'",
        opening=EMPTY,
    ),
    chatml(
        "Qwen3.5 from 4B, 3.6, 3.8",
        soft=(*CALLS, *THINK),
        last="'<think>\n\n</think>\n\n'",
        prompt="'<think>\n\n</think>\n\n' if enable_thinking is defined and not enable_thinking else '<think>\n'",
        opening="<think>\n",
        between="\n</think>\n\n",
        thought="Sky.\n</think>\n\nBlue.",
        straight="\n</think>\n\nBlue.",
        opened="Sky",
    ),
    chatml(
        "QwQ",
        soft=THINK,
        content="m.content.split('</think>')[-1].lstrip('\n')",
        prompt="'<think>\n'",
        opening="<think>\n",
        between="\n</think>\n\n",
        thought="Sky.\n</think>\n\nBlue.",
        straight="\n</think>\n\nBlue.",
        opened="Sky",
    ),
    chatml(
        "Nemotron-3, 3.5",
        soft=THINK,
        last="'<think></think>'",
        earlier="'<think></think>'",
        prompt="'<think></think>' if enable_thinking is defined and not enable_thinking else '<think>\n'",
        opening="<think>\n",
        history="<think></think>",
        between="</think>",
        thought="Sky.\n</think>\nBlue.",
        straight="</think>Blue.",
        opened="Sky",
    ),
    chatml("SmolLM2", kind="gpt-2", default=True, bos="", ends=("<|im_end|>",)),
    chatml(
        "SmolLM3",
        kind="gpt-2",
        soft=THINK,
        before="{{ '<|im_start|>system\n' + strftime_now('%d %B %Y') + (' Write <think> Thought </think> Solution.' if"
        " enable_thinking | default(true) else '') + '<|im_end|>\n' }}",
        start="<|im_start|>system\n01 January 2026 Write <think> Thought </think> Solution.<|im_end|>\n",
        last="'' if enable_thinking | default(true) else '<think>\n\n</think>\n'",
        prompt="'' if enable_thinking | default(true) else '<think>\n\n</think>\n'",
        between="<think>\n\n</think>\n",
        thought="<think>\nSky.\n</think>\nBlue.",
        opened="<think>\nSky",
        ends=("<|im_end|>",),
    ),
    chatml("LFM2", bos="<|startoftext|>"),
    chatml(
        "LFM2.5 that thinks",
        bos="<|startoftext|>",
        soft=THINK,
        last="('<think>' + m.thinking + '</think>' if m.thinking is defined else '')",
        content="m.content.split('</think>')[-1].strip()",
        thought="<think>Sky.</think>Blue.",
        opened="<think>Sky",
    ),
    chatml("Hermes-2, Hermes-3", bos="<|begin_of_text|>", soft=CALLS, ends=("<|im_end|>", "<|end_of_text|>")),
    chatml(
        "Hermes, its template for tools alone",
        before="{% for tool in tools %}{{ tool | tojson }}{% endfor %}",
        refused="refuses turns of user",
        kwargs={"tools": []},
    ),
    chatml("Yi-1.5", kind="gemma", ends=("<|im_end|>", "<|endoftext|>")),
    chatml(
        "InternLM2, 2.5",
        bos="<s>",
        kind="gemma",
        eos="</s>",
        ends=("</s>", "<|im_end|>"),
        soft=("<|plugin|>",),
    ),
    chatml("MiniCPM4, 5", bos="<s>", kind="first", soft=THINK),
    chatml(
        "MiniCPM that opens a thought",
        bos="<s>",
        kind="llama",
        soft=THINK,
        content="m.content.split('</think>')[-1]",
        prompt="'<think>\n' if enable_thinking | default(true) else '<think>\n\n</think>\n'",
        opening="<think>\n",
        between="\n</think>\n",
        thought="Sky.\n</think>\n\nBlue.",
        straight="\n</think>\n\nBlue.",
        opened="Sky",
    ),
    chatml(
        "MiniMax-M3's way: a system line tells of thoughts, and the prompt closes one",
        soft=THINK,
        before="{{ '<|im_start|>system\nThink in <think>, or not.<|im_end|>\n' }}",
        start="<|im_start|>system\nThink in <think>, or not.<|im_end|>\n",
        last="'</think>'",
        earlier="'</think>'",
        prompt="'</think>'",
        opening="</think>",
        history="</think>",
    ),
    chatml(
        "Step-3.5",
        soft=THINK,
        last="'<think>\n\n</think>\n'",
        prompt="'<think>\n'",
        opening="<think>\n",
        between="\n</think>\n",
        thought="Sky.\n</think>\nBlue.",
        straight="\n</think>\nBlue.",
        opened="Sky",
    ),
    chatml(
        "a tokenizer whose end of turn takes the space around it",
        greedy=("<|im_end|>", "<|im_start|>"),
        last="''",
    ),
    chatml("a template with HF's generation tags")._replace(
        template="{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' }}{% if m.role == 'assistant' %}{% generation %}"
        "{{ m.content + '<|im_end|>' }}{% endgeneration %}{% else %}{{ m.content + '<|im_end|>' }}{% endif %}{{ '\n' }}"
        "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
    ),
    chatml("a template that reads parts of a list alone (Llama-4 Vision, SmolVLM)")._replace(
        template="{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' }}{% for part in m.content %}"
        "{% if part.type == 'text' %}{{ part.text }}{% elif part.type == 'image' %}<image>{% endif %}{% endfor %}"
        "{{ '<|im_end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
    ),
    chatml(
        "a base model with a template of one's own", eos="<|endoftext|>", ends=("<|endoftext|>",)
    )._replace(template="", file=chatml("own").template, refused="has no chat template"),
)
