"""The files of a bundle: what Tollgate verifies when it loads one."""

import hashlib
import json
import re
import shutil

import numpy as np
import yaml

from calibration import log_odds
from estimators import INPUT, OUTPUT
from problem import Problem
from split import stamp

GOLDEN_TOLERANCE = 1e-5

# Rows over the whole range of scores; more are added for the extremes and for what can be missing.
GOLDEN_ROWS = 24

ALLOWED = set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.")


def check_name(name, version):
    for word in (name, version):
        if not 1 <= len(word) <= 64 or not set(word) <= ALLOWED or word.startswith("."):
            raise Problem(f"{name}/{version}: name and version are 1 to 64 letters, digits, '-', '_' or '.' each")


def next_version(folder):
    """One more than the highest version that is a number; 1 if there is none."""
    versions = [int(path.name) for path in folder.glob("*") if path.name.isascii() and path.name.isdigit()]
    return str(max(versions, default=0) + 1)


def write(out, files):
    """Writes the files beside their place first, so that a bundle is there whole or not at all."""
    scratch = out.with_name(f".{out.name}.part")
    shutil.rmtree(scratch, ignore_errors=True)
    for name, content in files.items():
        path = scratch / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    if out.exists():
        shutil.rmtree(scratch)
        raise Problem(f"{out} exists: a published version is never changed; choose another")
    scratch.rename(out)


def number(value):
    """The shortest text that reads back as the same number, as YAML (1.1 and 1.2) and JSON take it."""
    text = repr(float(value))
    mantissa, e, exponent = text.partition("e")
    return text if not e or "." in mantissa else f"{mantissa}.0e{exponent}"


def numbers(values):
    return "[" + ", ".join(number(value) for value in values) + "]"


def read_reasons(path):
    """Code and text by feature, as a decision shows them."""
    if path is None:
        return {}
    try:
        reasons = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        return {feature: (entry["code"], entry["description"]) for feature, entry in reasons.items()}
    except (OSError, yaml.YAMLError, AttributeError, KeyError, TypeError) as error:
        message = f"cannot read the reasons in {path}: {error}; write `feature: {{ code: CODE, description: text }}`"
        raise Problem(message) from error


def reason(reasons, feature):
    if feature in reasons:
        return reasons[feature]
    code = re.sub(r"[^A-Z0-9]+", "_", feature.upper()).strip("_")
    return f"MODEL_{code}", f"Unusual for this card or place: {feature.replace('_', ' ')}."


def manifest(name, version, description, facts):
    """`facts` is everything that `train.py` found out."""
    digest = hashlib.sha256()
    for feature, definition in zip(facts.table.features, facts.table.definitions):
        digest.update(f"{feature}: {definition}\n".encode())
    measured = "".join(
        f"  {key}: {value if isinstance(value, int) else f'{value:.6f}'}\n" for key, value in facts.metrics.items()
    )
    train, scores = facts.parts.train, facts.score_distribution
    return (
        "# Written by training/train.py. Tollgate verifies all of it when the bundle is loaded.\n"
        f"name: {json.dumps(name)}\n"
        f"version: {json.dumps(version)}\n"
        f"description: {json.dumps(description)}\n"
        f"model_sha256: {hashlib.sha256(facts.model.content).hexdigest()}\n"
        f"features_sha256: {digest.hexdigest()}\n"
        "inputs:\n"
        f"{''.join(input_text(facts, at) for at in range(len(facts.table.features)))}"
        f"tensor: {INPUT}\n"
        f"output: {{ name: {OUTPUT}, kind: probability_pair }}\n"
        f"{calibration_text(facts.calibration)}"
        f"score_distribution: {{ edges: {numbers(scores.edges)}, shares: {numbers(scores.shares)} }}\n"
        f'trained: {{ from: "{stamp(train.first)}", to: "{stamp(train.last)}", rows: {len(train.rows)} }}\n'
        "metrics:\n"
        f"{measured}"
    )


def input_text(facts, at):
    feature, spread = facts.table.features[at], facts.distributions[at]
    code, description = reason(facts.reasons, feature)
    return (
        f"  - feature: {json.dumps(feature)}\n"
        f"    type: number\n"
        f"    missing: {number(facts.parts.fill[at])}\n"
        f"    baseline: {number(facts.baselines[at])}\n"
        f"    reason: {{ code: {json.dumps(code)}, description: {json.dumps(description)} }}\n"
        f"    distribution: {{ edges: {numbers(spread.edges)}, shares: {numbers(spread.shares)}, "
        f"missing: {number(spread.missing)} }}\n"
    )


def calibration_text(choice):
    curve = choice.chosen
    briers = ", ".join(f"{name} {brier:.6f}" for name, brier in choice.briers.items())
    measured = f" Brier scores on the later half of the calibration part: {briers}." if briers else ""
    comment = f"# Calibrated by {curve.name}. {choice.why}{measured}\n"
    if curve.name == "platt":
        return comment + f"calibration: {{ platt: {{ a: {number(curve.a)}, b: {number(curve.b)} }} }}\n"
    points = f"outputs: {numbers(curve.outputs)}, scores: {numbers(curve.scores)}"
    return comment + f"calibration: {{ isotonic: {{ {points} }} }}\n"


def golden(facts):
    """Rows and what they must be scored. Null stands for a missing value."""
    values = golden_values(facts)
    fill = facts.parts.fill
    scores = facts.score(np.where(np.isnan(values), fill, values))
    rows = [
        f'    {{"inputs": [{", ".join("null" if np.isnan(value) else number(value) for value in row)}], '
        f'"score": {number(score)}}}'
        for row, score in zip(values, scores)
    ]
    return f'{{\n  "tolerance": {number(GOLDEN_TOLERANCE)},\n  "rows": [\n' + ",\n".join(rows) + "\n  ]\n}\n"


def golden_values(facts):
    """Real rows spread evenly over the range of scores (on the scale of log-odds); then what no real row may show: every
    input at its lowest and highest of training, everything at its baseline, nothing at all, and each input missing
    alone."""
    test, scores = facts.parts.test, facts.scores
    scale = log_odds(scores)
    wanted = np.linspace(scale.min(), scale.max(), GOLDEN_ROWS)
    chosen = [int(np.abs(scale - target).argmin()) for target in wanted]
    # Where scores bunch up, several targets meet in one row: the rest come from evenly spaced ranks.
    ranked = np.argsort(scores, kind="stable")
    chosen += [int(at) for at in ranked[np.linspace(0, len(ranked) - 1, GOLDEN_ROWS).astype(int)]]
    chosen = list(dict.fromkeys(chosen))[:GOLDEN_ROWS]
    # What most transactions have; where that is nothing, nothing.
    typical = np.where(facts.usually_missing, np.nan, facts.baselines)
    rows = [*test.values[chosen], typical, facts.lowest, facts.highest, np.full(len(typical), np.nan)]
    for at, usually in enumerate(facts.usually_missing):
        row = np.where(np.isnan(typical), facts.lowest, typical) if usually else typical.copy()
        row[at] = np.nan
        rows.append(row)
    rows = np.array(rows, dtype=np.float64).astype(np.float32)
    once = {row.tobytes(): row for row in rows}
    return np.array(list(once.values()))
