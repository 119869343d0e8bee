"""One timed job of another tool, in that tool's environment; run by rating_speed.py."""

import json
import math
import sys
import time

import numpy as np
import pandas as pd

RESAMPLES = {"evalica": 1, "arena-rank": 4, "FastChat, L-BFGS": 100, "FastChat, sklearn": 1}


def read(file):
    """Read what the job starts from: rows, or counts expanded where a tool takes rows only."""
    if file.endswith(".csv"):
        table = pd.read_csv(file)
        return table.loc[table.index.repeat(table["count"]), ["model_a", "model_b", "winner"]]
    return pd.read_parquet(file, columns=["model_a", "model_b", "winner"])


def evalica_job(table, resamples):
    import evalica

    winner = {"model_a": evalica.Winner.X, "model_b": evalica.Winner.Y}
    winners = [winner.get(name, evalica.Winner.Draw) for name in table.winner]
    columns = (table.model_a.tolist(), table.model_b.tolist(), winners)
    if resamples:
        return evalica.bootstrap(
            evalica.bradley_terry,
            *columns,
            n_resamples=resamples,
            bootstrap_method="percentile",
            random_state=0,
        )
    return evalica.bradley_terry(*columns, tolerance=1e-8, limit=1000)


def arena_rank_job(table, resamples):
    from arena_rank.models.bradley_terry import BradleyTerry
    from arena_rank.utils.data_utils import PairDataset

    data = PairDataset.from_pandas(table.astype(str))
    model = BradleyTerry(n_competitors=len(data.competitors))
    if resamples:
        return model.compute_ratings_and_cis(data, ci_method="bootstrap", num_bootstrap=resamples)
    result = model.compute_ratings_and_cis(data)
    result["rating_lower"].block_until_ready()
    return result


def folded(table):
    """Count equal rows, as FastChat does before its fit."""
    codes, models = pd.factorize(pd.concat([table.model_a.astype(str), table.model_b.astype(str)]))
    rows = np.ones((len(table), 3), dtype=np.int32)
    rows[:, 0], rows[:, 1] = codes[: len(table)], codes[len(table) :]
    rows[table.winner == "model_a", 2] = 2
    rows[table.winner == "model_b", 2] = 0
    kinds, counts = np.unique(rows, return_counts=True, axis=0)
    return kinds[:, :2], kinds[:, 2] / 2, counts.astype(float), len(models)


def lbfgs_fit(pairs, points, weights, size):
    from scipy.optimize import minimize
    from scipy.special import expit

    def loss(ratings):
        share = expit(math.log(10) * (ratings[pairs[:, 0]] - ratings[pairs[:, 1]]))
        value = -((np.log(share) * points + np.log(1 - share) * (1 - points)) * weights).sum()
        slope = np.zeros(size)
        change = -math.log(10) * (points - share) * weights
        np.add.at(slope, pairs, change[:, None] * np.array([1.0, -1.0]))
        return value, slope

    return minimize(
        loss, np.zeros(size), jac=True, method="L-BFGS-B", options={"maxiter": 100, "gtol": 1e-6}
    ).x


def lbfgs_job(table, resamples):
    import multiprocessing as mp

    pairs, points, counts, size = folded(table)
    if not resamples:
        return lbfgs_fit(pairs, points, counts, size)
    draws = np.random.default_rng(0).multinomial(int(counts.sum()), counts / counts.sum(), size=resamples)
    with mp.Pool() as pool:
        jobs = [(pairs, points, draw / counts.sum(), size) for draw in draws]
        return pool.starmap(lbfgs_fit, jobs)


def sklearn_fit(pairs, points, counts, size):
    from sklearn.linear_model import LogisticRegression

    design = np.zeros((2 * len(pairs), size))
    line = np.arange(len(pairs))
    for half in (0, len(pairs)):  # each kind of row once as won and once as lost, weighted
        design[half + line, pairs[:, 0]], design[half + line, pairs[:, 1]] = math.log(10), -math.log(10)
    label = np.r_[np.ones(len(pairs)), np.zeros(len(pairs))]
    weight = np.r_[2 * counts * points, 2 * counts * (1 - points)]
    used = weight > 0
    model = LogisticRegression(fit_intercept=False, C=1e12, tol=1e-6, max_iter=1000)
    return model.fit(design[used], label[used], sample_weight=weight[used]).coef_


def sklearn_job(table, resamples):
    if not resamples:
        return sklearn_fit(*folded(table))
    for seed in range(resamples):
        sklearn_fit(*folded(table.sample(n=len(table), replace=True, random_state=seed)))
    return None


TOOLS = {
    "evalica": evalica_job,
    "arena-rank": arena_rank_job,
    "FastChat, L-BFGS": lbfgs_job,
    "FastChat, sklearn": sklearn_job,
}


def peak_mb(process="self"):
    """Peak memory of this program: unlike ru_maxrss, without that of the process it was forked from."""
    with open(f"/proc/{process}/status") as status:
        return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM"))


def main():
    _, tool, job, file = sys.argv
    if job == "ratings" and tool != "arena-rank":
        print("it has no sandwich interval", file=sys.stderr)
        sys.exit(1)
    if job == "prompts":
        print("it resamples no prompts", file=sys.stderr)
        sys.exit(1)
    few = RESAMPLES[tool] if "bootstrap" in job else 0
    expanded = read(file) if job.startswith("folded") else None

    def timed(resamples):
        start = time.perf_counter()
        TOOLS[tool](read(file) if expanded is None else expanded, resamples)
        return time.perf_counter() - start

    times = [timed(few), timed(3 * few)]
    if few:  # what does not grow with resamples is counted once
        each = max(times[1] - times[0], 0.0) / (2 * few)
        times = [times[0] + (1000 - few) * each]
    note = f"extrapolated from {few} and {3 * few} resamples" if few else ""
    if job.startswith("folded"):
        note = (note + ", it takes rows").lstrip(", ")
    print(json.dumps({"first": times[0], "again": times[-1], "memory_mb": peak_mb(), "note": note}))


if __name__ == "__main__":
    main()
