"""The model card: what a model was trained on, what it is worth, and what it must not be used for."""

import numpy as np

from bundle import reason
from calibration import log_odds
from measures import CARDS_PER_DAY
from split import stamp

# Of the metrics: name in the manifest, title, digits.
MEASURES = [
    ("auc", "AUC", 4),
    ("average_precision", "average precision", 4),
    (f"card_precision_{CARDS_PER_DAY}", f"card precision@{CARDS_PER_DAY}", 4),
    ("brier", "Brier score", 5),
]

# So many frauds and good transactions are enough to say what a feature does on average.
EFFECT_ROWS = 2000


def text(name, version, description, facts):
    sections = [
        heading(name, version, description),
        data(facts),
        worth(facts),
        thresholds(facts),
        reliability(facts),
        model(facts),
        features(facts),
        LIMITS,
    ]
    return "\n".join(sections)


def heading(name, version, description):
    return f"""# {name} {version}

{description} Written by `training/train.py`; every number was measured, on the test part where nothing else is said.
"""


def data(facts):
    parts, options = facts.parts, facts.options

    def period(part):
        return f"{stamp(part.first)} | {stamp(part.last)} | {len(part.rows):,} | {int(part.fraud.sum()):,}"

    delay = f"{options.label_delay_days:g} days"
    said = bool(facts.table.rows["fraud_known_at"].notna().any())
    moment = stamp(facts.periods.test.begin)
    lines = [
        f"The model was made as if on {moment}, when the test part begins: with nothing that happened or became known later.",
        f"- Until fraud is known, {delay} are allowed for: nothing younger than that was trained or calibrated on.",
        "- When a fraud became known "
        + ("is what the table says." if said else f"the table does not say; {delay} later is assumed.")
        + f" {not_yet_known(parts)}",
    ]
    if facts.table.unsettled_from is not None and facts.table.unsettled_from < facts.periods.test.end:
        lines.append(
            f"- From {stamp(facts.table.unsettled_from)} on the history has transactions that may still turn out either way. "
            "The test ends there."
        )
    if options.drop_known_cards:
        lines.append(
            f"- Cards with a fraud since training began that was known before the day are not tested "
            f"({count(parts.test.left_out, 'transaction')}): they would be blocked."
        )
    listed = "\n".join(lines[1:])
    return f"""## Data

| part | from | to | transactions | fraud |
|---|---|---|---|---|
| training | {period(parts.train)} |
| calibration | {period(parts.calibration)} |
| test | {period(parts.test)} |

{lines[0]}

{listed}
"""


def not_yet_known(parts):
    train, calibration = parts.train.not_yet_known, parts.calibration.not_yet_known
    if train + calibration == 0:
        return "All fraud of training and calibration was known by then."
    return (
        f"{count(train, 'fraud')} of training and {calibration:,} of calibration, not known by then, count as good, as "
        "everybody believed."
    )


def count(number, what):
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def worth(facts):
    measured = facts.metrics
    chance = {"auc": "0.5", "average_precision": f"{measured['test_fraud_share']:.4f}", "brier": "–"}
    best = {"auc": "1", "average_precision": "1", "brier": "0"}
    precision = f"card_precision_{CARDS_PER_DAY}"
    best[precision] = f"{measured[precision + '_best']:.4f}"
    rows = "\n".join(
        f"| {title} | {measured[name]:.{digits}f} | {measured[name + '_before_calibration']:.{digits}f} | "
        f"{chance.get(name, '–')} | {best[name]} |"
        for name, title, digits in MEASURES
    )
    return f"""## What it is worth

| measure | value | before calibration | by chance | at best |
|---|---|---|---|---|
{rows}

- AUC: the probability that a fraud has a higher score than a good transaction.
- Average precision: the precision at each threshold that finds one more fraud, averaged over all frauds.
- Card precision@{CARDS_PER_DAY}: on each of {measured["test_days"]} days (UTC) the {CARDS_PER_DAY} cards with the highest score are called. The
  day's precision is how many of them had a fraud that day, divided by {CARDS_PER_DAY}; a card found is blocked and left out on
  later days; the mean over days. "At best" is what somebody who knows all fraud would reach.
- Brier score: the mean of (score − fraud)².

![Precision and recall](model-card/precision-recall.svg)
"""


def thresholds(facts):
    fraud, scores, days = facts.parts.test.fraud, facts.scores, facts.metrics["test_days"]
    rows = []
    for threshold in (0.05, 0.1, 0.25, 0.5, 0.75, 0.9):
        above = scores >= threshold
        caught = fraud[above].sum()
        precision = f"{caught / above.sum():.1%}" if above.any() else "–"
        rows.append(f"| {threshold:g} | {above.sum() / days:,.1f} | {precision} | {caught / fraud.sum():.1%} |")
    listed = "\n".join(rows)
    return f"""## What a threshold does

| score at least | transactions a day | of which fraud | of all fraud |
|---|---|---|---|
{listed}

![Scores of fraud and of good transactions](model-card/scores.svg)
"""


def reliability(facts):
    fraud, scores, choice = facts.parts.test.fraud, facts.scores, facts.calibration
    edges = [0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 1]
    rows = []
    for low, high in zip(edges, edges[1:]):
        inside = (scores >= low) & ((scores < high) | (high == 1))
        if inside.any():
            mean, share = scores[inside].mean(), fraud[inside].mean()
            rows.append(f"| {low:g} to {high:g} | {inside.sum():,} | {mean:.4f} | {share:.4f} |")
    listed = "\n".join(rows)
    names = {"none": "none", "platt": "Platt", "isotonic": "isotonic"}
    briers = "\n".join(f"| {names[name]} | {brier:.6f} |" for name, brier in choice.briers.items())
    compared = f"""Each was fitted on the earlier half of the calibration part and measured on
the {choice.rows:,} transactions of the later half; the one that serves was then fitted on all of it.

| calibration | Brier score |
|---|---|
{briers}
"""
    return f"""## Whether a score means what it says

| score | transactions | mean score | share of fraud |
|---|---|---|---|
{listed}

![Calibration](model-card/calibration.svg)

Calibrated by **{names[choice.chosen.name]}**. {choice.why} {compared if choice.briers else "It was fitted on all of the part."}
"""


def model(facts):
    trained = facts.model
    return f"""## Model

{trained.settings}. Converted to ONNX ({len(trained.content):,} bytes); on the test part
ONNX Runtime's probabilities differ from {trained.kind.library}'s by at most {trained.difference:.1e}.
"""


def features(facts):
    weights, missing = facts.model.weights, np.isnan(facts.parts.train.values).mean(axis=0)
    on_fraud, on_good = effects(facts)
    order = range(len(on_fraud)) if weights is None else sorted(range(len(weights)), key=lambda at: (-weights[at], at))
    rows = "\n".join(
        f"| `{facts.table.features[at]}` | `{cell(facts.table.definitions[at])}` | "
        f"{'–' if weights is None else f'{weights[at]:.1%}'} | {on_fraud[at]:+.2f} | {on_good[at]:+.2f} | "
        f"{facts.baselines[at]:g} | {missing[at]:.1%} | {facts.parts.fill[at]:g} | "
        f"`{reason(facts.reasons, facts.table.features[at])[0]}` |"
        for at in order
    )
    return f"""## Features

It sees these and nothing else. *Weight* is what {facts.model.kind.library} made of the feature in training. *Fraud* and *good* say how
much the feature moves the log-odds of the score on average, of fraud and of good transactions in the test part: the score
as it is, less the score with this feature put to its *baseline* (+0.69 doubles the odds). Where the value is *missing*, the
model is given *fill*.

| feature | definition | weight | fraud | good | baseline | missing | fill | reason |
|---|---|---|---|---|---|---|---|---|
{rows}
"""


def effects(facts):
    """By input, the mean change of the score's log-odds against the input's baseline, of fraud and of good ones."""
    test = facts.parts.test

    def some(kind):
        at = np.flatnonzero(test.fraud == kind)
        return test.x[at[np.linspace(0, len(at) - 1, min(len(at), EFFECT_ROWS)).astype(int)]]

    def change(x):
        scale = log_odds(facts.score(x))
        changes = []
        for at, value in enumerate(facts.baselines):
            other = x.copy()
            other[:, at] = value
            changes.append(float(np.mean(scale - log_odds(facts.score(other)))))
        # Not "-0.00".
        return [round(change, 2) + 0.0 for change in changes]

    return change(some(1)), change(some(0))


def cell(text):
    return text.replace("|", "\\|").replace("\n", " ")


LIMITS = """## Limits of use

- It says how likely fraud is among transactions like those it was trained on. It knows no kind of fraud, no channel and no
  country that the training part did not have; where inputs drift away from it, scores mean less.
- Labels are what was reported. Fraud that nobody reports is taught as good.
- A transaction that was declined or challenged may never show what it would have been: once a model decides, later
  labels depend on it.
- The score is a reason to look, not a proof. What happens to a transaction is for the rules, and for people, to say.
- Run it as a challenger first, compare its scores in the decision log, and train it again as fraud changes.
"""
