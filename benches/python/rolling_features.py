"""The handbook's fifteen features with polars or pandas: what `tollgate features` is measured beside.

    python rolling_features.py --data ../shared/data/handbook --library polars --out target/polars.parquet

Reads the same Parquet file, computes the same columns, writes a Parquet table, compares it with the handbook's
expected values, and prints one line of JSON: library, rows, seconds, and what of them was reading and writing.
A time is only printed if every value is right: counts and risks exactly, averages within 1e-9.

Both libraries keep the whole history in memory and compute column by column; neither could serve a row.
A card's windows are (t - n days, t], its rows of one second in the order of the file; a terminal's are
(t - 7 days - n days, t - 7 days].
"""

import argparse
import json
import sys
import time
from pathlib import Path

DAYS = (1, 7, 30)
COLUMNS = ["TRANSACTION_ID", "TX_DATETIME", "CUSTOMER_ID", "TERMINAL_ID", "TX_AMOUNT", "TX_FRAUD"]
FEATURES = (
    ["TX_AMOUNT", "TX_DURING_WEEKEND", "TX_DURING_NIGHT"]
    + [f"CUSTOMER_ID_{what}_{n}DAY_WINDOW" for n in DAYS for what in ("NB_TX", "AVG_AMOUNT")]
    + [f"TERMINAL_ID_{what}_{n}DAY_WINDOW" for n in DAYS for what in ("NB_TX", "RISK")]
)


def with_polars(history, out, timed):
    import polars as pl

    rows = timed("read", lambda: pl.read_parquet(history, columns=COLUMNS))
    rows = rows.with_columns(
        # Whole cents, so that sums are exact.
        cents=(pl.col("TX_AMOUNT") * 100).round().cast(pl.Int64),
        one=pl.lit(1, pl.Int64),
        fraud=pl.col("TX_FRAUD").cast(pl.Int64),
    )

    def rolling(column, days, by):
        return pl.col(column).rolling_sum_by("TX_DATETIME", window_size=f"{24 * days}h").over(by)

    # A window by time includes the rows of the same second that come later in the file; they are taken out again.
    tied = rows.filter(pl.struct("CUSTOMER_ID", "TX_DATETIME").is_duplicated()).select(
        "TRANSACTION_ID",
        later=(pl.len() - 1 - pl.int_range(pl.len())).over("CUSTOMER_ID", "TX_DATETIME").cast(pl.Int64),
        later_cents=(pl.col("cents").sum() - pl.col("cents").cum_sum()).over("CUSTOMER_ID", "TX_DATETIME"),
    )
    rows = rows.join(tied, on="TRANSACTION_ID", how="left", maintain_order="left")
    later = pl.col("later").fill_null(0)
    later_cents = pl.col("later_cents").fill_null(0)
    windows = [
        pl.col("TX_AMOUNT"),
        (pl.col("TX_DATETIME").dt.weekday() >= 6).cast(pl.Int32).alias("TX_DURING_WEEKEND"),
        (pl.col("TX_DATETIME").dt.hour() <= 6).cast(pl.Int32).alias("TX_DURING_NIGHT"),
        rolling("one", 7, "TERMINAL_ID").alias("delay_count"),
        rolling("fraud", 7, "TERMINAL_ID").alias("delay_fraud"),
    ]
    for n in DAYS:
        windows += [
            (rolling("one", n, "CUSTOMER_ID") - later).alias(f"CUSTOMER_ID_NB_TX_{n}DAY_WINDOW"),
            (rolling("cents", n, "CUSTOMER_ID") - later_cents).alias(f"cents_{n}"),
            rolling("one", 7 + n, "TERMINAL_ID").alias(f"count_{n}"),
            rolling("fraud", 7 + n, "TERMINAL_ID").alias(f"fraud_{n}"),
        ]
    rows = rows.select("TRANSACTION_ID", "TX_DATETIME", "CUSTOMER_ID", "TX_FRAUD", *windows)
    features = []
    for n in DAYS:
        count = pl.col(f"count_{n}") - pl.col("delay_count")
        fraud = pl.col(f"fraud_{n}") - pl.col("delay_fraud")
        features += [
            (pl.col(f"cents_{n}") / pl.col(f"CUSTOMER_ID_NB_TX_{n}DAY_WINDOW") / 100).alias(
                f"CUSTOMER_ID_AVG_AMOUNT_{n}DAY_WINDOW"
            ),
            count.alias(f"TERMINAL_ID_NB_TX_{n}DAY_WINDOW"),
            pl.when(count > 0).then(fraud / count).otherwise(0.0).alias(f"TERMINAL_ID_RISK_{n}DAY_WINDOW"),
        ]
    table = rows.with_columns(features).select(
        "TRANSACTION_ID", "TX_DATETIME", "CUSTOMER_ID", *FEATURES, "TX_FRAUD"
    )
    timed("write", lambda: table.write_parquet(out, compression="zstd", compression_level=1))
    return table.height


def with_pandas(history, out, timed):
    import numpy as np
    import pandas as pd

    rows = timed("read", lambda: pd.read_parquet(history, columns=COLUMNS))
    rows["cents"] = (rows["TX_AMOUNT"] * 100).round()
    table = rows[["TRANSACTION_ID", "TX_DATETIME", "CUSTOMER_ID", "TX_AMOUNT", "TX_FRAUD"]].copy()
    table["TX_DURING_WEEKEND"] = (rows["TX_DATETIME"].dt.day_of_week >= 5).astype(np.int32)
    table["TX_DURING_NIGHT"] = (rows["TX_DATETIME"].dt.hour <= 6).astype(np.int32)

    def rolling(entity, column, days):
        # Sorted by entity as groupby returns them, each row in its order in the file; back to the file's order.
        order = np.argsort(rows[entity].to_numpy(), kind="stable")
        windows = rows.set_index("TX_DATETIME").groupby(entity)[column].rolling(f"{24 * days}h")
        result = np.empty((2, len(rows)))
        result[0][order] = windows.count().to_numpy()
        result[1][order] = windows.sum().to_numpy()
        return result

    # pandas closes a window at the row itself, so rows of the same second that come later do not count for a card.
    # For a terminal both windows are seven days or more, and their difference does not hold the row's own second.
    delay_count, delay_fraud = rolling("TERMINAL_ID", "TX_FRAUD", 7)
    for n in DAYS:
        count, cents = rolling("CUSTOMER_ID", "cents", n)
        table[f"CUSTOMER_ID_NB_TX_{n}DAY_WINDOW"] = count
        table[f"CUSTOMER_ID_AVG_AMOUNT_{n}DAY_WINDOW"] = cents / count / 100
        count, fraud = rolling("TERMINAL_ID", "TX_FRAUD", 7 + n)
        count, fraud = count - delay_count, fraud - delay_fraud
        table[f"TERMINAL_ID_NB_TX_{n}DAY_WINDOW"] = count
        table[f"TERMINAL_ID_RISK_{n}DAY_WINDOW"] = np.divide(fraud, count, out=np.zeros_like(fraud), where=count > 0)
    table = table[["TRANSACTION_ID", "TX_DATETIME", "CUSTOMER_ID", *FEATURES, "TX_FRAUD"]]
    timed("write", lambda: table.to_parquet(out, compression="zstd", compression_level=1, index=False))
    return len(table)


def mismatches(out, expected):
    """How many values of the table are not the expected ones, by feature."""
    import polars as pl

    both = pl.read_parquet(expected, columns=["TRANSACTION_ID", *FEATURES]).join(
        pl.read_parquet(out, columns=["TRANSACTION_ID", *FEATURES]), on="TRANSACTION_ID", how="left"
    )
    wrong = {}
    for name in FEATURES:
        tolerance = 1e-9 if "AVG" in name else 0.0
        difference = (both[name] - both[f"{name}_right"]).abs()
        # Written so that what is missing or not a number does not pass.
        right = ((difference <= tolerance) & difference.is_not_nan()).fill_null(False)
        if not right.all():
            wrong[name] = int((~right).sum())
    return wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data/handbook"))
    parser.add_argument("--library", choices=["polars", "pandas"], default="polars")
    parser.add_argument("--out", type=Path, default=Path("target/rolling-features.parquet"))
    options = parser.parse_args()
    history = options.data / "transactions.parquet"
    if not history.exists():
        print(f"skipped: no handbook data at {options.data}")
        return 0
    # Imported before the clock starts: loading a library is not its work.
    library = __import__(options.library)
    seconds = {}

    def timed(what, work):
        started = time.perf_counter()
        result = work()
        seconds[what] = round(time.perf_counter() - started, 3)
        return result

    compute = with_polars if options.library == "polars" else with_pandas
    rows = timed("all", lambda: compute(history, options.out, timed))
    wrong = mismatches(options.out, options.data / "expected_features.parquet")
    if wrong:
        print(f"error: not the expected values: {wrong}", file=sys.stderr)
        return 1
    report = {
        "library": f"{options.library} {library.__version__}",
        "rows": rows,
        "seconds": seconds["all"],
        "read_seconds": seconds["read"],
        "write_seconds": seconds["write"],
        "rows_per_second": round(rows / seconds["all"]),
    }
    print(json.dumps(report))
    return 0


if __name__ == "__main__":
    sys.exit(main())
