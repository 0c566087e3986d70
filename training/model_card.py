"""Measures a model on the test part, and writes down what it is worth."""

import numpy as np
import pandas as pd
import xgboost
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score

# Cards an investigator can call in a day.
CARDS_PER_DAY = 100


def measure(part, scores):
    precision, best, days = card_precision(part.rows, scores)
    return {
        "auc": roc_auc_score(part.fraud, scores),
        "average_precision": average_precision_score(part.fraud, scores),
        "brier": brier_score_loss(part.fraud, scores),
        "card_precision_100": precision,
        "card_precision_100_best": best,
        "test_days": days,
        "test_fraud_share": part.fraud.mean(),
        "test_rows": len(part.fraud),
    }


def card_precision(rows, scores):
    """Of the CARDS_PER_DAY cards with the highest score of a day, the share with fraud on that day; the mean over
    days, and what it would be at best. Where a day has fewer cards, all of them count."""
    per_card = (
        pd.DataFrame(
            {
                "day": rows["event_time"].dt.floor("D").to_numpy(),
                "card_id": rows["card_id"].to_numpy(),
                "fraud": rows["fraud"].to_numpy(),
                "score": scores,
            }
        )
        .groupby(["day", "card_id"], sort=True)
        .max()
        .reset_index()
    )
    found, best = [], []
    for _, day in per_card.groupby("day", sort=True):
        called = min(CARDS_PER_DAY, len(day))
        top = day.sort_values("score", ascending=False, kind="stable").head(called)
        found.append(top["fraud"].mean())
        best.append(min(called, day["fraud"].sum()) / called)
    return float(np.mean(found)), float(np.mean(best)), len(found)


def stamp(time):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")


def card_text(name, version, seed, options, table, parts, model, scores, metrics):
    def period(part):
        return f"{stamp(part.first)} | {stamp(part.last)} | {len(part.rows):,} | {int(part.fraud.sum()):,}"

    gains = model.feature_importances_
    ranked = sorted(range(len(gains)), key=lambda at: (-gains[at], at))
    missing = np.isnan(parts.train.values).mean(axis=0)
    features = "\n".join(
        f"| `{table.features[at]}` | `{cell(table.definitions[at])}` | {gains[at]:.1%} | {missing[at]:.1%} | "
        f"{table.fill[at]:g} |"
        for at in ranked
    )
    return f"""# {name} {version}

{options.description} Written by `training/train.py`; every number below was measured on the test part.

| part | from | to | transactions | fraud |
|---|---|---|---|---|
| training | {period(parts.train)} |
| calibration | {period(parts.calibration)} |
| test | {period(parts.test)} |

Between calibration and test lie {options.label_delay_days:g} days, the time until fraud is known.

| measure | value |
|---|---|
| area under the ROC curve | {metrics["auc"]:.4f} |
| average precision | {metrics["average_precision"]:.4f} (chance: {metrics["test_fraud_share"]:.4f}) |
| card precision at {CARDS_PER_DAY} | {metrics["card_precision_100"]:.3f} (at best: {metrics["card_precision_100_best"]:.3f}) |
| Brier score | {metrics["brier"]:.5f} |

Card precision at {CARDS_PER_DAY}: of the {CARDS_PER_DAY} cards with the highest score of each day, the share that had fraud on
that day, over {metrics["test_days"]} days.

## What a threshold does

| score at least | transactions a day | of which fraud | of all fraud |
|---|---|---|---|
{threshold_rows(parts.test, scores, metrics["test_days"])}

## Whether a score means what it says

| score | transactions | mean score | share of fraud |
|---|---|---|---|
{reliability_rows(parts.test, scores)}

## Model

XGBoost {xgboost.__version__}, {options.trees} trees of depth up to {options.depth}, learning rate {options.learning_rate:g}, seed {seed}; Platt calibration
on the log-odds. It sees the features below and nothing else. It knows only what the training period held, so it
should be trained again as fraud changes.

## Features

| feature | definition | share of gain | missing | filled with |
|---|---|---|---|---|
{features}
"""


def cell(text):
    return text.replace("|", "\\|").replace("\n", " ")


def threshold_rows(part, scores, days):
    rows = []
    for threshold in (0.05, 0.1, 0.25, 0.5, 0.75, 0.9):
        above = scores >= threshold
        caught = part.fraud[above].sum()
        precision = f"{caught / above.sum():.1%}" if above.any() else "–"
        share_caught = caught / part.fraud.sum()
        rows.append(f"| {threshold:g} | {above.sum() / days:,.1f} | {precision} | {share_caught:.1%} |")
    return "\n".join(rows)


def reliability_rows(part, scores):
    edges = [0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 1]
    rows = []
    for low, high in zip(edges, edges[1:]):
        inside = (scores >= low) & ((scores < high) | (high == 1))
        if inside.any():
            mean, fraud = scores[inside].mean(), part.fraud[inside].mean()
            rows.append(f"| {low:g} to {high:g} | {inside.sum():,} | {mean:.4f} | {fraud:.4f} |")
    return "\n".join(rows)
