"""The pictures of a model card, as SVG: the same bytes for the same numbers."""

import io

import matplotlib
import numpy as np
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter, NullLocator
from sklearn.metrics import precision_recall_curve

from calibration import log_odds

GOOD, FRAUD, BEFORE = "#3a6ea5", "#c8452d", "#9a9a9a"

# Curves have a point per fraud found; more than these nobody sees.
POINTS_MAX = 200

STYLE = {
    "svg.hashsalt": "tollgate",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial"],
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.7,
    "axes.axisbelow": True,
    "legend.frameon": False,
}


def draw(facts):
    """By path within the bundle."""
    pictures = {"calibration": calibration, "precision-recall": precision_recall, "scores": scores}
    return {f"model-card/{name}.svg": svg(picture, facts) for name, picture in pictures.items()}


def svg(picture, facts):
    out = io.BytesIO()
    with matplotlib.rc_context(STYLE):
        # Without a date, and with ids from a fixed salt.
        figure_of(picture, facts).savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    return out.getvalue()


def figure_of(picture, facts):
    figure = Figure(figsize=(6.4, 3.8), facecolor="white", layout="constrained")
    FigureCanvasSVG(figure)
    picture(figure.add_subplot(), facts)
    return figure


# Bins of the calibration plot: narrow where nearly all transactions are, and where decisions fall.
BIN_EDGES = [0, 5e-4, 1e-3, 2e-3, 5e-3, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 0.9, 1]
# Bins of fewer transactions say nothing.
BIN_ROWS_MIN = 20
LEAST = 1e-4


def calibration(axes, facts):
    """Share of fraud against mean score, on the scale of log-odds, with the error that chance alone makes."""
    fraud = facts.parts.test.fraud
    axes.plot(*[log_odds(np.array([LEAST, 1 - 1e-3]))] * 2, color="black", linewidth=0.8, linestyle="--", label="as it should be")
    series = ((facts.outputs, BEFORE, "o", "before calibration"), (facts.scores, FRAUD, "s", "after calibration"))
    for values, colour, marker, label in series:
        means, shares, low, high = reliability(values, fraud)
        axes.errorbar(
            clipped(means),
            clipped(shares),
            yerr=[clipped(shares) - clipped(low), clipped(high) - clipped(shares)],
            color=colour,
            marker=marker,
            markersize=4,
            linewidth=1.2,
            elinewidth=0.8,
            label=label,
        )
    for axis in (axes.xaxis, axes.yaxis):
        probability_axis(axis)
    axes.set_xlabel("mean score (log-odds scale)")
    axes.set_ylabel("share of fraud, with 95 % interval")
    axes.set_title("Does a score mean what it says?", loc="left", fontsize=10)
    axes.legend(loc="upper left")


def reliability(values, fraud):
    """By bin with enough transactions: mean score, share of fraud, and Wilson's interval of 95 % around it."""
    bins = np.clip(np.searchsorted(BIN_EDGES, values, side="right"), 1, len(BIN_EDGES) - 1)
    found = []
    for at in range(1, len(BIN_EDGES)):
        inside = bins == at
        rows = int(inside.sum())
        if rows < BIN_ROWS_MIN:
            continue
        share, z = fraud[inside].mean(), 1.96
        middle = (share + z * z / (2 * rows)) / (1 + z * z / rows)
        half = z / (1 + z * z / rows) * np.sqrt(share * (1 - share) / rows + z * z / (4 * rows * rows))
        found.append((values[inside].mean(), share, min(middle - half, share), max(middle + half, share)))
    return np.array(found).reshape(-1, 4).T


def clipped(probability):
    return log_odds(np.clip(probability, LEAST, 1 - 1e-3))


def probability_axis(axis):
    ticks = [1e-4, 1e-3, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999]
    axis.set_major_locator(FixedLocator(list(log_odds(np.array(ticks)))))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{1 / (1 + np.exp(-value)):.3g}"))
    axis.set_minor_locator(NullLocator())
    axis.set_minor_formatter(NullFormatter())


def precision_recall(axes, facts):
    fraud = facts.parts.test.fraud
    precision, recall, _ = precision_recall_curve(fraud, facts.scores)
    # The last point is no threshold: it stands for calling nobody.
    precision, recall = precision[:-1], recall[:-1]
    # Evenly along recall: most thresholds lie where recall is 1 already.
    at = np.unique(nearest(recall, POINTS_MAX))
    axes.plot(recall[at], precision[at], color=GOOD, linewidth=1.5)
    share = fraud.mean()
    axes.axhline(share, color="black", linewidth=0.8, linestyle="--")
    axes.annotate(f"by chance {share:.4f}", (0.01, share), xytext=(0, 3), textcoords="offset points", va="bottom")
    for threshold in (0.1, 0.5, 0.9):
        above = facts.scores >= threshold
        if above.any():
            point = (fraud[above].sum() / fraud.sum(), fraud[above].mean())
            axes.plot(*point, "o", color=FRAUD, markersize=4)
            axes.annotate(f"score ≥ {threshold:g}", point, xytext=(6, 4), textcoords="offset points")
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.08)
    axes.set_xlabel("recall: share of fraud that is found")
    axes.set_ylabel("precision: share of fraud in what is found")
    title = f"Precision and recall, average precision {facts.metrics['average_precision']:.4f}"
    axes.set_title(title, loc="left", fontsize=10)


def nearest(recall, points):
    """Indices whose recall lies nearest to evenly spaced ones; `recall` falls."""
    rising = recall[::-1]
    at = np.searchsorted(rising, np.linspace(0, 1, points), side="left")
    return len(recall) - 1 - np.clip(at, 0, len(recall) - 1)


def scores(axes, facts):
    fraud = facts.parts.test.fraud
    edges = np.linspace(log_odds(np.array(LEAST)), log_odds(np.array(1 - 1e-3)), 41)
    values = clipped(facts.scores)
    for kind, colour, label in ((0, GOOD, "good"), (1, FRAUD, "fraud")):
        inside = values[fraud == kind]
        shares = np.histogram(inside, bins=edges)[0] / len(inside)
        axes.stairs(shares, edges, fill=True, color=colour, alpha=0.35)
        axes.stairs(shares, edges, color=colour, linewidth=1.2, label=f"{label}, {len(inside):,} transactions")
    probability_axis(axes.xaxis)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value * 100:.4g} %"))
    axes.set_xlabel("score (log-odds scale; beyond the ends counted at the ends)")
    axes.set_ylabel("share of each")
    axes.set_title("Scores of fraud and of good transactions", loc="left", fontsize=10)
    axes.legend(loc="upper right")
