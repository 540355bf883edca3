"""Conversations in every template of some folders, as transformers renders them: the oracle of check-templates.mjs.

    python scripts/reference/templates_oracle.py FOLDER... > outcomes.json
    python scripts/reference/templates_oracle.py --fixture          writes test/fixtures/templates/outcomes.json, texts as hashes

Each *.jinja meets plain and odd conversations, tools with calls and results, reasoning, contents of parts, with and without a generation
prompt. Needs transformers (written with 5.24).
"""

import hashlib
import json
import sys
from pathlib import Path

from jinja_oracle import NOW  # noqa: F401 - freezes the time
from transformers.utils import chat_template_utils


def says(role, content, **more):
    return {"role": role, "content": content, **more}


def call(name, arguments, **more):
    return {"type": "function", "function": {"name": name, "arguments": arguments}, **more}


WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather", "description": "The weather at a \"place\", in <degrees> & words.\nOn two lines.",
        "parameters": {
            "type": "object",
            "properties": {
                "place": {"type": "string", "description": "A city, such as Zürich"}, "days": {"type": "integer", "default": 1, "minimum": 0}, "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
                "exact": {"type": "boolean", "default": False}, "where": {"type": "object", "properties": {"lat": {"type": "number"}, "lon": {"type": "number"}}}, "tags": {"type": "array", "items": {"type": "string"}},
                "any": {"anyOf": [{"type": "string"}, {"type": "null"}]}, "kinds": {"type": ["string", "null"], "nullable": True},
            },
            "required": ["place"],
        },
    },
}
TIME = {"type": "function", "function": {"name": "now", "description": "The time", "parameters": {"type": "object", "properties": {}}}}
ARGUMENTS = {"place": "Zürich \"Nord\"", "days": 2, "exact": True, "where": {"lat": 47.5, "lon": None}, "tags": ["a", "b's"]}
USER = says("user", "Hello there, who are you?")
SYSTEM = says("system", "Be brief.\nAnd kind.")
CALLS = [call("get_weather", ARGUMENTS, id="call12345"), call("now", {}, id="call67890")]

CONVERSATIONS = {
    "one": [USER], "system": [SYSTEM, USER], "developer": [says("developer", "Be brief."), USER], "two systems": [SYSTEM, SYSTEM, USER],
    "turns": [says("user", "Hi."), says("assistant", "Hello!"), says("user", "More, please.")],
    "system and turns": [SYSTEM, says("user", " Hi \n"), says("assistant", "\n Arr! "), says("user", "Again"), says("assistant", "Arr."), says("user", "e")],
    "ends with the assistant": [USER, says("assistant", "one two three")],
    "letters": [SYSTEM, says("user", "Grüße 日本語 😀 'quoted' \"twice\" <b>&amp;</b> \\n {{ not }} {% this %} \u2028\x07\ttab\r\n"), says("assistant", "ÀÉ ß"), says("user", "naïve")],
    "empty": [says("system", ""), says("user", ""), says("assistant", ""), says("user", "")],
    "users": [says("user", "one"), says("user", "two")], "assistant first": [says("assistant", "Welcome."), says("user", "Thanks")], "nobody": [], "strange role": [says("critic", "bad"), USER],
    "reasoning": [USER, says("assistant", "4.", reasoning_content="two and\n\ntwo\n"), says("user", "And 3+3?"), says("assistant", "6", reasoning_content=" hm ")],
    "reasoning at the end": [SYSTEM, USER, says("assistant", "4.", reasoning_content="two and two")],
    "thinking in the text": [USER, says("assistant", "<think>\nfour\n</think>\n\n    It is 4.\n"), says("user", "3+3?"), says("assistant", "<think>\nsix\n</think>\n\n6")],
    "call": [USER, says("assistant", "", tool_calls=CALLS[:1]), says("tool", "{\"sunny\": true}", tool_call_id="call12345", name="get_weather"), says("assistant", "Sunny.")],
    "calls": [SYSTEM, says("user", "Weather?"), says("assistant", "I look.", tool_calls=CALLS), says("tool", "sunny", tool_call_id="call12345", name="get_weather"), says("tool", "12:00", tool_call_id="call67890", name="now"), says("assistant", "Sunny at noon."), says("user", "Thanks")],
    "calls, reasoning": [USER, says("assistant", "", reasoning_content="look it up", tool_calls=CALLS[:1]), says("tool", "sunny", tool_call_id="call12345", name="get_weather")],
    "call without content": [USER, {"role": "assistant", "tool_calls": CALLS[:1]}, says("tool", "sunny")],
    "call with text arguments": [USER, says("assistant", "", tool_calls=[call("get_weather", json.dumps(ARGUMENTS, ensure_ascii=False), id="call12345")]), says("tool", "sunny", name="get_weather", tool_call_id="call12345")],
    "result of parts": [USER, says("assistant", "", tool_calls=CALLS[:1]), says("tool", [{"type": "text", "text": "sunny"}], tool_call_id="call12345", name="get_weather")],
    "structured result": [USER, says("assistant", "", tool_calls=CALLS[:1]), says("tool", {"sunny": True, "degrees": 21.5}, tool_call_id="call12345", name="get_weather")],
    "parts": [says("user", [{"type": "text", "text": " What is this? "}, {"type": "image"}, {"type": "text", "text": "And that?"}])],
    "parts everywhere": [says("system", [{"type": "text", "text": "Be"}]), says("user", [{"type": "text", "text": "Hi"}]), says("assistant", [{"type": "text", "text": "Yo"}]), says("user", [{"type": "text", "text": "!"}])],
    "null": [says("user", "hm"), says("assistant", None, tool_calls=CALLS[:1]), says("tool", "ok", tool_call_id="call12345", name="get_weather")],
    "long": [says("user" if i % 2 == 0 else "assistant", f"message number {i} " * (i + 1)) for i in range(13)],
}
CHOICES = [
    {}, {"add_generation_prompt": True}, {"add_generation_prompt": True, "tools": [WEATHER, TIME]}, {"tools": [WEATHER]}, {"add_generation_prompt": True, "enable_thinking": False},
    {"add_generation_prompt": True, "enable_thinking": True, "thinking": True, "reasoning_effort": "high", "tools": [TIME]}, {"add_generation_prompt": True, "documents": [{"title": "T", "text": "Some text"}]},
]
SPECIAL = {"bos_token": "<s>", "eos_token": "</s>"}


def render(template, messages, options):
    messages = [{k: v for k, v in message.items() if v is not None} for message in messages]
    options = {"add_generation_prompt": False, **options}
    return chat_template_utils.render_jinja_template([messages], chat_template=template, **{**SPECIAL, **options})[0][0]


ROOT = Path(__file__).resolve().parents[2]


def outcomes(folders):
    cases = []
    files = [file for folder in folders for file in sorted(Path(folder).glob("**/*.jinja"))]
    for file in files:
        template = file.read_text(encoding="utf-8", newline="") if sys.version_info >= (3, 13) else file.open(encoding="utf-8", newline="").read()
        for title, messages in CONVERSATIONS.items():
            for choice in range(len(CHOICES)):
                try:
                    result = {"text": render(template, json.loads(json.dumps(messages)), json.loads(json.dumps(CHOICES[choice])))}
                except Exception as error:  # noqa: BLE001 - what it raises is the finding
                    result = {"error": f"{type(error).__name__}: {error}"[:200]}
                cases.append([str(file), title, choice, result])
    return {"conversations": CONVERSATIONS, "choices": CHOICES, "special": SPECIAL, "now": NOW.isoformat(), "cases": cases}


def main():
    if sys.argv[1:] != ["--fixture"]:
        json.dump(outcomes(sys.argv[1:]), sys.stdout)
        return
    folder = ROOT / "test" / "fixtures" / "templates"
    result = outcomes([folder])
    hashes = {}
    for file, _, _, outcome in result.pop("cases"):
        # In the order of conversations and choices; null where the template raises.
        hashes.setdefault(Path(file).name, []).append(hashlib.sha256(outcome["text"].encode()).hexdigest()[:12] if "text" in outcome else None)
    (folder / "outcomes.json").write_text(json.dumps({**result, "hashes": hashes}, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
