"""What a model is worth, in numbers."""

import numpy as np
import pandas as pd
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score

# Cards an investigator can call in a day.
CARDS_PER_DAY = 100


def measure(part, scores):
    precision = card_precision(part.rows, part.fraud, scores)
    return {
        "auc": float(roc_auc_score(part.fraud, scores)),
        "average_precision": float(average_precision_score(part.fraud, scores)),
        "brier": float(brier_score_loss(part.fraud, scores)),
        f"card_precision_{CARDS_PER_DAY}": precision,
    }


def card_precision(rows, fraud, scores, cards_per_day=CARDS_PER_DAY):
    """As the fraud-detection handbook defines it (Le Borgne et al. 2022, "Precision top-k metrics"): every day (UTC)
    the cards with the highest scores are called, `cards_per_day` of them. The day's precision is how many of them had
    a fraud that day, divided by `cards_per_day`. A card found this way is blocked and does not count on later days.
    The result is the mean over the days."""
    per_card = (
        pd.DataFrame(
            {
                "day": rows["event_time"].dt.floor("D").to_numpy(),
                "card_id": rows["card_id"].to_numpy(),
                "fraud": fraud,
                "score": scores,
            }
        )
        .groupby(["day", "card_id"], sort=True)
        .max()
        .reset_index()
    )
    found = set()
    precisions = []
    for _, day in per_card.groupby("day", sort=True):
        day = day[~day["card_id"].isin(found)]
        called = day.sort_values("score", ascending=False, kind="stable").head(cards_per_day)
        hit = called.loc[called["fraud"] == 1, "card_id"]
        precisions.append(len(hit) / cards_per_day)
        found.update(hit)
    return float(np.mean(precisions))


def best_card_precision(part):
    """The card precision of somebody who knows what is fraud: with few frauds a day it is far from 1."""
    return card_precision(part.rows, part.fraud, part.fraud.astype(float))
