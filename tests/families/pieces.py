"""Families whose tokenizers know ``▁`` for a space, and the instruct formats of their time."""

from __future__ import annotations

from family import REFUSE_SYSTEM, Family, by_roles

FIRST = "{% set s = messages[0].content if messages[0].role == 'system' else '' %}"
LAST_SYSTEM = (
    FIRST + "{% for m in messages if m.role != 'system' %}{% if m.role == 'user' %}{{ '[INST]' + SPACE + "
    "(s + '\n\n' if loop.last and s else '') + m.content + '[/INST]' }}{% else %}{{ SPACE + m.content + eos_token }}"
    "{% endif %}{% endfor %}"
)
INST = ("[INST]", "[/INST]")

PIECES = (
    Family(
        "Llama-2",
        FIRST
        + "{% for m in messages if m.role != 'system' %}{% if m.role == 'user' %}{{ bos_token + '[INST] ' + "
        "('<<SYS>>\n' + s + '\n<</SYS>>\n\n' if s and loop.first else '') + m.content.strip() + ' [/INST]' }}"
        "{% else %}{{ ' ' + m.content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}",
        ("<unk>",),
        words=("[INST]", "[/INST]", "<<SYS>>", "<</SYS>>"),
        bos="<s>",
        eos="</s>",
        ends=("</s>",),
        kind="llama",
        prompt="<s>[INST] Hello [/INST]",
        talk="<s>[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\nHi [/INST] Hey. </s><s>[INST] Hello [/INST]",
        learnt=" Blue. </s>",
        straight=" Blue. ",
    ),
    Family(
        "Mistral-7B-Instruct v0.1, v0.2",
        by_roles(
            head="bos_token",
            strict=True,
            system=REFUSE_SYSTEM,
            user="'[INST] ' + m.content + ' [/INST]'",
            assistant="m.content + eos_token",
        ),
        (),
        words=INST,
        bos="<s>",
        eos="</s>",
        ends=("</s>",),
        kind="llama",
        system=False,
        prompt="<s>[INST] Hello [/INST]",
        talk="<s>[INST] Hi [/INST]Hey.</s>[INST] Hello [/INST]",
        learnt="Blue.</s>",
    ),
    Family(
        "Mistral-7B-Instruct v0.3",
        "{{ bos_token }}" + LAST_SYSTEM.replace("SPACE", "' '"),
        INST,
        bos="<s>",
        eos="</s>",
        ends=("</s>",),
        kind="first",
        prompt="<s>[INST] Hello[/INST]",
        talk="<s>[INST] Hi[/INST] Hey.</s>[INST] Be brief.\n\nHello[/INST]",
        learnt=" Blue.</s>",
        straight=" Blue.",
    ),
    Family(
        "Mistral-Nemo",
        "{{ bos_token }}" + LAST_SYSTEM.replace("SPACE", "''"),
        INST,
        bos="<s>",
        eos="</s>",
        ends=("</s>",),
        prompt="<s>[INST]Hello[/INST]",
        talk="<s>[INST]Hi[/INST]Hey.</s>[INST]Be brief.\n\nHello[/INST]",
        learnt="Blue.</s>",
    ),
    Family(
        "Gemma-1, Gemma-2",
        by_roles(
            head="bos_token",
            strict=True,
            system=REFUSE_SYSTEM,
            user="'<start_of_turn>user\n' + m.content | trim + '<end_of_turn>\n'",
            assistant="'<start_of_turn>model\n' + m.content | trim + '<end_of_turn>\n'",
            prompt="'<start_of_turn>model\n'",
        ),
        ("<start_of_turn>", "<end_of_turn>"),
        bos="<bos>",
        eos="<eos>",
        ends=("<eos>",),
        kind="gemma",
        system=False,
        prompt="<bos><start_of_turn>user\nHello<end_of_turn>\n<start_of_turn>model\n",
        talk="<bos><start_of_turn>user\nHi<end_of_turn>\n<start_of_turn>model\nHey.<end_of_turn>\n"
        "<start_of_turn>user\nHello<end_of_turn>\n<start_of_turn>model\n",
        learnt="Blue.<end_of_turn>",
    ),
    Family(
        "Gemma-3",
        "{{ bos_token }}" + FIRST + "{% set rest = messages[1:] if s else messages %}{% for m in rest %}"
        "{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Roles must alternate') }}{% endif %}"
        "{{ '<start_of_turn>' + ('model' if m.role == 'assistant' else m.role) + '\n' + (s + '\n\n' if loop.first and s "
        "else '') }}{% if m.content is string %}{{ m.content | trim }}{% endif %}{{ '<end_of_turn>\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}",
        ("<start_of_turn>", "<end_of_turn>"),
        bos="<bos>",
        eos="<eos>",
        ends=("<eos>", "<end_of_turn>"),
        kind="gemma",
        prompt="<bos><start_of_turn>user\nHello<end_of_turn>\n<start_of_turn>model\n",
        talk="<bos><start_of_turn>user\nBe brief.\n\nHi<end_of_turn>\n<start_of_turn>model\nHey.<end_of_turn>\n"
        "<start_of_turn>user\nHello<end_of_turn>\n<start_of_turn>model\n",
        learnt="Blue.<end_of_turn>",
    ),
    Family(
        "Gemma-4",
        "{{ bos_token }}{% if messages[0].role == 'system' or enable_thinking | default(false) %}{{ '<|turn>system\n' + "
        "('<|think|>\n' if enable_thinking | default(false) else '') + (messages[0].content | trim if messages[0].role == "
        "'system' else '') + '<turn|>\n' }}{% endif %}{% for m in messages if m.role != 'system' %}{{ '<|turn>' + ('model'"
        " if m.role == 'assistant' else m.role) + '\n' + m.content.split('<channel|>')[-1] | trim + '<turn|>\n' }}"
        "{% endfor %}{% if add_generation_prompt %}{{ '<|turn>model\n' + ('' if enable_thinking | default(false) else "
        "'<|channel>thought\n<channel|>') }}{% endif %}",
        ("<|turn>", "<turn|>", "<|channel>", "<channel|>", "<|think|>"),
        bos="<bos>",
        eos="<eos>",
        ends=("<eos>", "<turn|>"),
        kind="gemma",
        prompt="<bos><|turn>user\nHello<turn|>\n<|turn>model\n<|channel>thought\n<channel|>",
        talk="<bos><|turn>system\nBe brief.<turn|>\n<|turn>user\nHi<turn|>\n<|turn>model\nHey.<turn|>\n"
        "<|turn>user\nHello<turn|>\n<|turn>model\n<|channel>thought\n<channel|>",
        learnt="Blue.<turn|>",
        thought="<|channel>thought\nSky.<channel|>Blue.",
        opened="<|channel>thought\nSky",
    ),
    Family(
        "Phi-3, Phi-3.5",
        by_roles(
            system="'<|system|>\n' + m.content + '<|end|>\n'",
            user="'<|user|>\n' + m.content + '<|end|>\n'",
            assistant="'<|assistant|>\n' + m.content + '<|end|>\n'",
        )
        + "{{ '<|assistant|>\n' if add_generation_prompt else eos_token }}",
        ("<|system|>", "<|user|>", "<|assistant|>", "<|end|>"),
        bos="<s>",
        eos="<|endoftext|>",
        ends=("<|endoftext|>", "<|end|>", "<|assistant|>"),
        kind="llama",
        greedy=("<|system|>", "<|user|>", "<|assistant|>", "<|end|>"),
        prompt="<|user|>\nHello<|end|>\n<|assistant|>\n",
        talk="<|system|>\nBe brief.<|end|>\n<|user|>\nHi<|end|>\n<|assistant|>\nHey.<|end|>\n"
        "<|user|>\nHello<|end|>\n<|assistant|>\n",
        learnt="Blue.<|end|>",
    ),
    Family(
        "Zephyr, StableLM-2, TinyLlama",
        by_roles(
            system="'<|system|>\n' + m.content + eos_token + '\n'",
            user="'<|user|>\n' + m.content + eos_token + '\n'",
            assistant="'<|assistant|>\n' + m.content + eos_token + '\n'",
            prompt="'<|assistant|>\n'",
        ),
        (),
        words=("<|system|>", "<|user|>", "<|assistant|>"),
        bos="<s>",
        eos="</s>",
        ends=("</s>",),
        kind="llama",
        prompt="<|user|>\nHello</s>\n<|assistant|>\n",
        talk="<|system|>\nBe brief.</s>\n<|user|>\nHi</s>\n<|assistant|>\nHey.</s>\n<|user|>\nHello</s>\n<|assistant|>\n",
        learnt="Blue.</s>",
    ),
    Family(
        "Vicuna",
        by_roles(
            head="bos_token",
            system="m.content + ' '",
            user="'USER: ' + m.content + ' '",
            assistant="'ASSISTANT: ' + m.content + eos_token",
            prompt="'ASSISTANT:'",
        ),
        (),
        bos="<s>",
        eos="</s>",
        ends=("</s>",),
        kind="llama",
        prompt="<s>USER: Hello ASSISTANT:",
        talk="<s>Be brief. USER: Hi ASSISTANT: Hey.</s>USER: Hello ASSISTANT:",
        learnt=" Blue.</s>",
        straight=" Blue.",
    ),
    Family(
        "a prompt that ends in a space",
        by_roles(
            system="m.content + '\n'",
            user="'USER: ' + m.content + '\n'",
            assistant="'ASSISTANT: ' + m.content + eos_token",
            prompt="'ASSISTANT: '",
        ),
        (),
        bos="<s>",
        eos="</s>",
        ends=("</s>",),
        kind="first",
        prompt="USER: Hello\nASSISTANT: ",
        talk="Be brief.\nUSER: Hi\nASSISTANT: Hey.</s>USER: Hello\nASSISTANT: ",
        learnt="Blue.</s>",
    ),
    Family(
        "Alpaca, RWKV: turns that end in a blank line",
        by_roles(
            system="m.content + '\n\n'",
            user="'### User:\n' + m.content + '\n\n'",
            assistant="'### Assistant:\n' + m.content + '\n\n'",
            prompt="'### Assistant:\n'",
        ),
        (),
        bos="<s>",
        eos="</s>",
        ends=("</s>",),
        kind="llama",
        prompt="### User:\nHello\n\n### Assistant:\n",
        talk="Be brief.\n\n### User:\nHi\n\n### Assistant:\nHey.</s>\n\n### User:\nHello\n\n### Assistant:\n",
        learnt="Blue.</s>",
        refused="no end of turn that stops generation",
        file=by_roles(
            system="m.content + '\n\n'",
            user="'### User:\n' + m.content + '\n\n'",
            assistant="'### Assistant:\n' + m.content + eos_token + '\n\n'",
            prompt="'### Assistant:\n'",
        ),
    ),
)
