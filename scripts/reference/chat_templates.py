"""What transformers' apply_chat_template makes of conversations: the fixture of src/data/chat-template.test.ts.

    python scripts/reference/chat_templates.py          writes test/fixtures/chat-templates.json

The templates say, in words of our own, what the families' formats are; the last ones go through what templates use of Jinja. Each meets
every conversation; where a template refuses one, the fixture says so. Needs `pip install transformers jinja2` (written with 5.23).
"""

import datetime
import json
from pathlib import Path

import transformers.utils.chat_template_utils as chat_template_utils

ROOT = Path(__file__).resolve().parents[2]
NOW = datetime.datetime(2025, 3, 4, 5, 6, 7)


class FixedTime(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return NOW


chat_template_utils.datetime = FixedTime

CHATML = """\
{% for message in messages %}
<|im_start|>{{ message['role'] }}
{{ message['content'] }}<|im_end|>
{% endfor %}
{% if add_generation_prompt %}
<|im_start|>assistant
{% endif %}"""

SMOLLM2 = """\
{% for message in messages -%}
    {% if loop.first and messages[0].role != 'system' -%}
        {{ '<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n' }}
    {%- endif %}
    {{- '<|im_start|>' ~ message.role ~ '\\n' ~ message.content ~ '<|im_end|>\\n' }}
{%- endfor -%}
{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"""

LLAMA2 = """\
{% if messages[0]['role'] == 'system' %}
    {% set system, turns = messages[0]['content'], messages[1:] %}
{% else %}
    {% set system, turns = false, messages %}
{% endif %}
{% for message in turns %}
    {% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}
        {{ raise_exception('Roles must alternate: user, assistant, user, ...') }}
    {% endif %}
    {% if loop.index0 == 0 and system is not false %}
        {% set content = '<<SYS>>\\n' + system + '\\n<</SYS>>\\n\\n' + message['content'] %}
    {% else %}
        {% set content = message['content'] %}
    {% endif %}
    {% if message['role'] == 'user' %}
        {{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}
    {% elif message['role'] == 'assistant' %}
        {{ ' ' + content.strip() + ' ' + eos_token }}
    {% endif %}
{% endfor %}"""

LLAMA3 = """\
{{- bos_token }}
{%- if not date_string is defined %}
    {%- if strftime_now is defined %}
        {%- set date_string = strftime_now("%d %b %Y") %}
    {%- else %}
        {%- set date_string = "26 Jul 2024" %}
    {%- endif %}
{%- endif %}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content'] | trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\\n\\n" }}
{%- if tools is not none %}
    {{- "Environment: ipython\\n" }}
{%- endif %}
{{- "Today Date: " + date_string + "\\n\\n" }}
{%- if tools is not none %}
    {{- "You have these functions:\\n\\n" }}
    {%- for t in tools %}
        {{- t | tojson(indent=4) }}
        {{- "\\n\\n" }}
    {%- endfor %}
{%- endif %}
{{- system_message }}
{{- "<|eot_id|>" }}
{%- for message in messages %}
    {%- if not (message.role == 'ipython' or message.role == 'tool' or 'tool_calls' in message) %}
        {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' + message['content'] | trim + '<|eot_id|>' }}
    {%- elif 'tool_calls' in message %}
        {%- if not message.tool_calls | length == 1 %}
            {{- raise_exception("One tool call at a time.") }}
        {%- endif %}
        {%- set call = message.tool_calls[0].function %}
        {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
        {{- '{"name": "' + call.name + '", "parameters": ' }}
        {{- call.arguments | tojson }}
        {{- "}<|eot_id|>" }}
    {%- else %}
        {{- "<|start_header_id|>ipython<|end_header_id|>\\n\\n" }}
        {%- if message.content is mapping or message.content is iterable and message.content is not string %}
            {{- message.content | tojson }}
        {%- else %}
            {{- message.content }}
        {%- endif %}
        {{- "<|eot_id|>" }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}"""

GEMMA2 = """\
{{ bos_token }}
{%- if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}
{%- for message in messages %}
    {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Roles must alternate') }}{% endif %}
    {%- set role = 'model' if message['role'] == 'assistant' else message['role'] %}
    {{- '<start_of_turn>' + role + '\\n' + message['content'] | trim + '<end_of_turn>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{% endif %}"""

GEMMA3 = """\
{{ bos_token }}
{%- if messages[0]['role'] == 'system' -%}
    {%- if messages[0]['content'] is string -%}
        {%- set opening = messages[0]['content'] + '\\n\\n' -%}
    {%- else -%}
        {%- set opening = messages[0]['content'][0]['text'] + '\\n\\n' -%}
    {%- endif -%}
    {%- set turns = messages[1:] -%}
{%- else -%}
    {%- set opening = "" -%}
    {%- set turns = messages -%}
{%- endif -%}
{%- for message in turns -%}
    {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) -%}{{ raise_exception("Roles must alternate") }}{%- endif -%}
    {%- if message['role'] == 'assistant' -%}{%- set role = "model" -%}{%- else -%}{%- set role = message['role'] -%}{%- endif -%}
    {{ '<start_of_turn>' + role + '\\n' + (opening if loop.first else "") }}
    {%- if message['content'] is string -%}
        {{ message['content'] | trim }}
    {%- elif message['content'] is iterable -%}
        {%- for item in message['content'] -%}
            {%- if item['type'] == 'image' -%}{{ '<start_of_image>' }}
            {%- elif item['type'] == 'text' -%}{{ item['text'] | trim }}
            {%- endif -%}
        {%- endfor -%}
    {%- endif -%}
    {{ '<end_of_turn>\\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}{{ '<start_of_turn>model\\n' }}{%- endif -%}"""

QWEN25 = """\
{%- if tools %}
    {{- '<|im_start|>system\\n' }}
    {{- messages[0].content if messages[0].role == 'system' else 'You are a helpful assistant.' }}
    {{- "\\n\\n# Tools\\n\\n<tools>" }}
    {%- for tool in tools %}
        {{- "\\n" }}
        {{- tool | tojson }}
    {%- endfor %}
    {{- "\\n</tools>\\n<|im_end|>\\n" }}
{%- elif messages[0].role == 'system' %}
    {{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}
{%- else %}
    {{- '<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n' }}
{%- endif %}
{%- for message in messages %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) or (message.role == "assistant" and not message.tool_calls) %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}
    {%- elif message.role == "assistant" %}
        {{- '<|im_start|>' + message.role }}
        {%- if message.content %}{{- '\\n' + message.content }}{%- endif %}
        {%- for tool_call in message.tool_calls %}
            {%- if tool_call.function is defined %}{%- set tool_call = tool_call.function %}{%- endif %}
            {{- '\\n<tool_call>\\n{"name": "' }}
            {{- tool_call.name }}
            {{- '", "arguments": ' }}
            {{- tool_call.arguments | tojson }}
            {{- '}\\n</tool_call>' }}
        {%- endfor %}
        {{- '<|im_end|>\\n' }}
    {%- elif message.role == "tool" %}
        {%- if (loop.index0 == 0) or (messages[loop.index0 - 1].role != "tool") %}{{- '<|im_start|>user' }}{%- endif %}
        {{- '\\n<tool_response>\\n' }}
        {{- message.content }}
        {{- '\\n</tool_response>' }}
        {%- if loop.last or (messages[loop.index0 + 1].role != "tool") %}{{- '<|im_end|>\\n' }}{%- endif %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}"""

QWEN3 = """\
{%- if messages[0].role == 'system' %}
    {{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}
{%- endif %}
{%- set ns = namespace(searching=true, last_query=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if ns.searching and message.role == "user" and message.content is string and not (message.content.startswith('<tool_response>') and message.content.endswith('</tool_response>')) %}
        {%- set ns.searching = false %}
        {%- set ns.last_query = index %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- if message.role == "user" or (message.role == "system" and not loop.first) %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}
    {%- elif message.role == "assistant" %}
        {%- set content = message.content if message.content is string else '' %}
        {%- set reasoning = '' %}
        {%- if message.reasoning_content is string %}
            {%- set reasoning = message.reasoning_content %}
        {%- elif '</think>' in content %}
            {%- set reasoning = content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}
            {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
        {%- endif %}
        {%- if loop.index0 > ns.last_query and (loop.last or reasoning) %}
            {{- '<|im_start|>' + message.role + '\\n<think>\\n' + reasoning.strip('\\n') + '\\n</think>\\n\\n' + content.lstrip('\\n') }}
        {%- else %}
            {{- '<|im_start|>' + message.role + '\\n' + content }}
        {%- endif %}
        {{- '<|im_end|>\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\\n\\n</think>\\n\\n' }}
    {%- endif %}
{%- endif %}"""

MISTRAL = """\
{%- if messages[0]["role"] == "system" %}
    {%- set system_message = messages[0]["content"] %}
    {%- set loop_messages = messages[1:] %}
{%- else %}
    {%- set loop_messages = messages %}
{%- endif %}
{%- set users = loop_messages | selectattr("role", "equalto", "user") | list %}
{{- bos_token }}
{%- for message in loop_messages %}
    {%- if message["role"] == "user" %}
        {%- if loop.last and system_message is defined %}
            {{- "[INST] " + system_message + "\\n\\n" + message["content"] + "[/INST]" }}
        {%- else %}
            {{- "[INST] " + message["content"] + "[/INST]" }}
        {%- endif %}
        {%- if users | length > 2 and message == users[-1] %}{{- "" }}{%- endif %}
    {%- elif message["role"] == "assistant" %}
        {{- " " + message["content"] | trim + eos_token }}
    {%- else %}
        {{- raise_exception("Only user and assistant roles are supported, with an optional system message first, and not " + message["role"]) }}
    {%- endif %}
{%- endfor %}"""

PHI3 = """\
{% for message in messages %}{% if message['role'] == 'system' and message['content'] %}{{'<|system|>\\n' + message['content'] + '<|end|>\\n'}}{% elif message['role'] == 'user' %}{{'<|user|>\\n' + message['content'] + '<|end|>\\n'}}{% elif message['role'] == 'assistant' %}{{'<|assistant|>\\n' + message['content'] + '<|end|>\\n'}}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% else %}{{ eos_token }}{% endif %}"""

ZEPHYR = """\
{% for message in messages %}
{% if message['role'] == 'user' %}
{{ '<|user|>\\n' + message['content'] + eos_token }}
{% elif message['role'] == 'system' %}
{{ '<|system|>\\n' + message['content'] + eos_token }}
{% elif message['role'] == 'assistant' %}
{{ '<|assistant|>\\n'  + message['content'] + eos_token }}
{% endif %}
{% if loop.last and add_generation_prompt %}
{{ '<|assistant|>' }}
{% endif %}
{% endfor %}"""

# What templates use of the language: white space, scopes, loops, filters, tests, macros.
BLOCKS = """\
  {# a comment #}
A
  {% if messages %}  
  B
    {%- for message in messages %}
    {{ loop.index }}/{{ loop.length }} {{ loop.first }} {{ loop.last }} {{ message.role }}{{ ',' if not loop.last }}
    {% else %}
    none
    {%- endfor %}
  C
  {% endif %}

D {{- ' x ' -}} E
"""

FILTERS = """\
{%- set c = messages[-1].content if messages[-1].content is string else 'parts' -%}
{{ c | upper }}|{{ c | lower | capitalize }}|{{ c | length }}|{{ c | replace('e', '3') }}|{{ c.split() | join('+') }}|
{{- c.split(' ') | first }}|{{ c.split(' ') | last }}|{{ c | trim | tojson }}|{{ c[:5] }}|{{ c[-4:] }}|{{ c[::-1] }}|{{ missing | default('gone') }}|
{{- messages | map(attribute='role') | join(' ') }}|{{ messages | map(attribute='role') | unique | list | length }}|
{{- messages | rejectattr('role', 'equalto', 'user') | list | length }}|{{ [3, 1, 2] | sort | join(',') }}|{{ (7 // 2, 7 % 3, 7 / 2, -7 // 2) | join(' ') }}|
{{- 'a' in c }}|{{ 'zz' not in c }}|{{ c is string }}|{{ 3 is odd }}|{{ none is none }}|{{ 2 ** 3 if false else 1.5 }}|{{ 'x' ~ 1 }}"""

SCOPES = """\
{%- macro turn(role, text='(nothing)', end=true) -%}
[{{ role }}: {{ text }}{{ ' /' if end }}]
{%- endmacro -%}
{%- set ns = namespace(count=0, seen=[]) -%}
{%- set outer = 'before' -%}
{%- for message in messages if message.role != 'system' -%}
    {%- set outer = message.role -%}
    {%- set ns.count = ns.count + 1 -%}
    {%- set ns.seen = ns.seen + [message.role] -%}
    {%- if ns.count == 4 %}{% continue %}{% endif -%}
    {%- if ns.count > 5 %}{% break %}{% endif -%}
    {{ turn(message.role, message.content if message.content is string) }}{{ turn(role=outer, end=false) }}
{%- endfor -%}
{{ outer }} {{ ns.count }} {{ ns.seen | tojson }}
{%- for key, value in {'b': 1, 'a': [true, none, 'é"<>&\\'']}.items() %} {{ key }}={{ value | tojson }}{% endfor -%}
{%- set block %} <{{ ns.count }}> {% endset %}{{ block | trim }}
{%- generation %}!{% endgeneration %}{{ messages | tojson(indent=2) }}{{ strftime_now('%Y-%m-%d %H:%M %A %j') }}"""

TEMPLATES = {
    "chatml": CHATML, "smollm2": SMOLLM2, "llama2": LLAMA2, "llama3": LLAMA3, "gemma2": GEMMA2, "gemma3": GEMMA3, "qwen2.5": QWEN25, "qwen3": QWEN3,
    "mistral": MISTRAL, "phi3": PHI3, "zephyr": ZEPHYR, "blocks": BLOCKS, "filters": FILTERS, "scopes": SCOPES,
}


def says(role, content, **more):
    return {"role": role, "content": content, **more}


WEATHER = {
    "type": "function",
    "function": {
        "name": "weather", "description": "The weather at a place, in <degrees> & \"words\".",
        "parameters": {"type": "object", "properties": {"place": {"type": "string"}, "days": {"type": "integer", "default": 1}}, "required": ["place"]},
    },
}
CALL = {"type": "function", "function": {"name": "weather", "arguments": {"place": "Zürich", "days": 2}}}

CONVERSATIONS = {
    "one": [says("user", "Hello there, who are you?")],
    "turns": [says("user", "Hi."), says("assistant", "Hello!"), says("user", "Tell me more, please.")],
    "system": [says("system", "Be brief."), says("user", "What is the capital of France?")],
    "system and turns": [
        says("system", "  You speak like a pirate.\n"), says("user", "Hi"), says("assistant", "Arr!"), says("user", "Again"), says("assistant", "Arr, again!"), says("user", "e")],
    "ends with the assistant": [says("user", "Count."), says("assistant", "one two three")],
    "white space": [says("user", "  \n lines\n\n\tand tabs  \n"), says("assistant", "\n ok \n"), says("user", "e\u00a0é\u2003x ")],
    "letters": [says("user", "Grüße 日本語 😀 'quoted' \"twice\" <b>&amp;</b> \\n {{ not }} {% this %}"), says("assistant", "ÀÉ ß"), says("user", "naïve café")],
    "two users": [says("user", "one"), says("user", "two")],
    "assistant first": [says("assistant", "Welcome."), says("user", "Thanks")],
    "empty": [says("user", "")],
    "thinking": [says("user", "2+2?"), says("assistant", "<think>\nfour\n</think>\n\nIt is 4."), says("user", "3+3?"), says("assistant", "<think>\nsix\n</think>\n\n6")],
    "tools": [
        says("user", "Weather in Zürich?"), says("assistant", "", tool_calls=[CALL]), says("tool", "sunny"), says("tool", "22 degrees"), says("assistant", "Sunny, 22 degrees.")],
    "parts": [says("user", [{"type": "text", "text": " What is this? "}, {"type": "image"}])],
    "null": [says("user", "hm", tool_calls=None), says("assistant", "yes", reasoning_content=None), says("user", "ok")],
    "long": [says("user" if i % 2 == 0 else "assistant", f"message number {i} " * (i + 1)) for i in range(9)],
}
SPECIAL = {"bos_token": "<s>", "eos_token": "</s>"}


def render(template, messages, options):
    messages = [{k: v for k, v in message.items() if v is not None} for message in messages]
    variables = {**SPECIAL, **options.get("variables", {})}
    return chat_template_utils.render_jinja_template(
        [messages], tools=options.get("tools"), chat_template=template, add_generation_prompt=options.get("addGenerationPrompt", False), **variables)[0][0]


def main():
    cases = []
    for name, template in TEMPLATES.items():
        for title, messages in CONVERSATIONS.items():
            # Lists in place of texts are for templates that know them; others print them as Python would.
            if title == "parts" and name not in ("gemma3", "scopes"):
                continue
            choices = [{}, {"addGenerationPrompt": True}]
            if name in ("llama3", "qwen2.5"):
                choices.append({"tools": [WEATHER], "addGenerationPrompt": True})
            if name == "qwen3":
                choices.append({"addGenerationPrompt": True, "variables": {"enable_thinking": False}})
            for options in choices:
                try:
                    outcome = {"text": render(template, messages, options)}
                except Exception as error:  # noqa: BLE001 - what it raises is the finding
                    outcome = {"error": type(error).__name__}
                cases.append({"template": name, "conversation": title, "options": options, **outcome})
    fixture = {"now": NOW.isoformat(), "specialTokens": SPECIAL, "templates": TEMPLATES, "conversations": CONVERSATIONS, "cases": cases}
    path = ROOT / "test" / "fixtures" / "chat-templates.json"
    path.write_text(json.dumps(fixture, ensure_ascii=False, indent=1) + "\n")
    print(f"{len(cases)} cases, {sum('error' in case for case in cases)} refused; {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
