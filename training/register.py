#!/usr/bin/env python3
"""Names a bundle in a policy's models.yaml: as a challenger, which is scored and logged but decides nothing, or as the
champion, whose score rules read.

    register.py --policy policy card-fraud/3
    register.py --policy policy card-fraud/3 --champion

The file's comments and order stay as they are.
"""

import argparse
import re
import sys
from pathlib import Path

import yaml

from problem import Problem

FILE = "models.yaml"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", metavar="NAME/VERSION", help="the bundle")
    parser.add_argument("--policy", type=Path, required=True, metavar="FOLDER", help="the policy folder")
    parser.add_argument("--champion", action="store_true", help="let it decide, in place of the present champion")
    options = parser.parse_args()
    try:
        register(options.policy, options.model, options.champion)
    except Problem as problem:
        sys.exit(f"register.py: {problem}")


def register(policy, model, champion=False):
    """Writes models.yaml anew, whole or not at all."""
    if not (policy / "models" / model / "manifest.yaml").is_file():
        raise Problem(f"there is no bundle {policy / 'models' / model}")
    path = policy / FILE
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    after = named(before, model, champion)
    scratch = path.with_name(FILE + ".tmp")
    scratch.write_text(after, encoding="utf-8")
    scratch.replace(path)


def named(text, model, champion):
    """The text of models.yaml with the model in it."""
    before = read(text)
    expected = {
        "champion": model if champion else before["champion"],
        "challengers": [name for name in before["challengers"] if name != model],
    }
    if champion:
        after = without_challenger(with_champion(text, model), model)
    elif before["champion"] == model:
        raise Problem(f"{model} is the champion: name another champion first")
    else:
        expected["challengers"] = [*before["challengers"], *([] if model in before["challengers"] else [model])]
        after = text if model in before["challengers"] else with_challenger(text, model)
    # People write YAML in more ways than are understood here.
    if read(after) != expected:
        raise Problem(f"{FILE} is written in a way that this cannot change: put {model} into it by hand")
    return after


def read(text):
    try:
        content = yaml.safe_load(text) or {}
        return {"champion": content.get("champion"), "challengers": list(content.get("challengers") or [])}
    except (yaml.YAMLError, AttributeError, TypeError) as error:
        raise Problem(f"{FILE} cannot be read; `tollgate check` says where: {error}") from error


def with_champion(text, model):
    line = re.compile(r"^champion:[ \t]*[^#\n]*?(?=[ \t]*(#.*)?$)", re.MULTILINE)
    if line.search(text):
        return line.sub(lambda _: f"champion: {model}", text, count=1)
    return ended(text) + f"champion: {model}\n"


def with_challenger(text, model):
    inline = re.search(r"^challengers:[ \t]*\[([^\]]*)\]", text, re.MULTILINE)
    if inline:
        inside = inline[1].strip().rstrip(",")
        return text[: inline.start()] + f"challengers: [{f'{inside}, ' if inside else ''}{model}]" + text[inline.end() :]
    key = re.search(r"^challengers:[ \t]*(#.*)?$\n?", text, re.MULTILINE)
    if not key:
        return ended(text) + f"challengers: [{model}]\n"
    # Behind the last of the list, as deep as the first.
    items = re.compile(r"(?:[ \t]*(?:#.*)?\n)*([ \t]*)- .*(?:\n|$)")
    end, indent = key.end(), "  "
    while item := items.match(text, end):
        end, indent = item.end(), item[1]
    return ended(text[:end]) + f"{indent}- {model}\n" + text[end:]


def without_challenger(text, model):
    name = re.escape(model)
    text = re.sub(rf"^[ \t]*- [\"']?{name}[\"']?[ \t]*(#.*)?\n", "", text, flags=re.MULTILINE)
    inline = re.search(r"^challengers:[ \t]*\[([^\]]*)\]", text, re.MULTILINE)
    if inline:
        kept = [part.strip() for part in inline[1].split(",") if part.strip().strip("\"'") not in ("", model)]
        text = text[: inline.start()] + f"challengers: [{', '.join(kept)}]" + text[inline.end() :]
    return text


def ended(text):
    return text if text.endswith("\n") or not text else text + "\n"


if __name__ == "__main__":
    main()
