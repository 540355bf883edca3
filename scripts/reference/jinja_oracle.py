"""What transformers' set-up of jinja2 renders: the oracle of the other scripts here.

    python scripts/reference/jinja_oracle.py < cases.jsonl > outcomes.jsonl

A case is {"template", "variables"}; its outcome {"text"} or {"error", "message"}. Needs transformers and jinja2 (written with 5.24 and 3.1.6).
"""

import json
import sys
from datetime import datetime

from transformers.utils import chat_template_utils

NOW = datetime(2025, 3, 4, 5, 6, 7)


class FrozenTime(datetime):
    """What `strftime_now` reads."""

    @classmethod
    def now(cls, tz=None):
        return NOW


chat_template_utils.datetime = FrozenTime
compile_template = chat_template_utils._cached_compile_jinja_template


def outcome(template, variables):
    try:
        return {"text": compile_template(template).render(**variables)}
    except Exception as error:  # noqa: BLE001 - what it raises is the finding
        return {"error": type(error).__name__, "message": str(error)[:300]}


if __name__ == "__main__":
    for line in sys.stdin:
        case = json.loads(line)
        print(json.dumps(outcome(case["template"], case["variables"])), flush=True)
