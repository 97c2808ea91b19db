"""Workload C in DuckDB: a table of the truth's minute rows, and the three questions asked of it, timed.

It draws the questions too (from a seed, so that every run asks the same) and writes them with DuckDB's answers, as the
paths that adsum is asked by: so each answer of adsum is compared with one that was made of the generator's truth by
another program. The table is sorted by minute, as rows come; the threads are two. One connection, in the process: no
HTTP, no JSON. Prints p50, p99 and the longest in milliseconds.
"""

import argparse
import datetime
import json
import pathlib
import random
import time
import urllib.parse

DAYS = 30


def utc(at: datetime.datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def table(con, truth: pathlib.Path) -> None:
    if con.execute("SELECT count(*) FROM information_schema.tables WHERE table_name = 'minutes'").fetchone()[0]:
        return
    con.execute(
        "CREATE TABLE minutes AS SELECT CAST(bucketStart AS TIMESTAMP) AS bucket, campaignId, publisherId, country,"
        " deviceType, impressions, clicks, conversions, spendMicros FROM read_csv(?) ORDER BY bucket",
        [str(truth)],
    )
    con.execute("CHECKPOINT")


SUMS = "sum(impressions)::BIGINT, sum(clicks)::BIGINT, sum(conversions)::BIGINT, sum(spendMicros)::BIGINT"
NAMES = ["impressions", "clicks", "conversions", "spendMicros"]

KINDS = {
    "top campaigns of 5 minutes": (
        f"SELECT campaignId, {SUMS} FROM minutes WHERE bucket >= ? AND bucket < ?"
        " GROUP BY campaignId ORDER BY sum(impressions) DESC, campaignId LIMIT 10",
        ["campaignId"],
    ),
    "one campaign, one hour": (
        f"SELECT publisherId, country, {SUMS} FROM minutes WHERE bucket >= ? AND bucket < ? AND campaignId = ?"
        " GROUP BY publisherId, country ORDER BY publisherId, country",
        ["publisherId", "country"],
    ),
    "one campaign, 30 days by day": (
        f"SELECT date_trunc('day', bucket) AS day, {SUMS} FROM minutes"
        " WHERE bucket >= ? AND bucket < ? AND campaignId = ? GROUP BY day ORDER BY day",
        ["bucketStart"],
    ),
}


def draw(con, count: int, seed: int):
    """Campaigns by their share of the rows, hours anywhere, minutes of the last day."""
    first, last = con.execute("SELECT min(bucket), max(bucket) FROM minutes").fetchone()
    first_day = first.replace(hour=0, minute=0)
    end = last + datetime.timedelta(minutes=1)
    numbers = random.Random(seed)
    sample = con.execute(
        f"SELECT bucket, campaignId FROM minutes USING SAMPLE reservoir({4 * count} ROWS) REPEATABLE ({seed})"
    ).fetchall()
    numbers.shuffle(sample)
    for i in range(count):
        to = end - datetime.timedelta(minutes=numbers.randrange(1440))
        yield "top campaigns of 5 minutes", [to - datetime.timedelta(minutes=5), to]
        bucket, campaign = sample[2 * i]
        hour = bucket.replace(minute=0)
        yield "one campaign, one hour", [hour, hour + datetime.timedelta(hours=1), campaign]
        campaign = sample[2 * i + 1][1]
        yield "one campaign, 30 days by day", [first_day, first_day + datetime.timedelta(days=DAYS), campaign]


def path(kind: str, args) -> str:
    params = {"from": utc(args[0]), "to": utc(args[1])}
    if kind.startswith("top"):
        params |= {"granularity": "range", "dimensions": "campaignId", "orderBy": "-impressions", "limit": "10"}
        return "/v1/reports?" + urllib.parse.urlencode(params)
    if kind.endswith("hour"):
        params |= {"granularity": "hour", "dimensions": "publisherId,country"}
    else:
        params |= {"granularity": "day"}
    return f"/v1/reports/campaigns/{urllib.parse.quote(args[2])}?" + urllib.parse.urlencode(params)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--truth", type=pathlib.Path, required=True)
    parser.add_argument("--database", type=pathlib.Path, required=True)
    parser.add_argument("--questions", type=pathlib.Path, required=True)
    parser.add_argument("--calls", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    import duckdb  # noqa: PLC0415, only in the virtualenv

    con = duckdb.connect(str(args.database), config={"threads": 2})
    table(con, args.truth)
    took: dict[str, list[float]] = {kind: [] for kind in KINDS}
    with args.questions.open("w", encoding="utf-8") as out:
        for kind, values in list(draw(con, args.calls, args.seed)):
            query, keys = KINDS[kind]
            begun = time.perf_counter()
            rows = con.execute(query, values).fetchall()
            took[kind].append((time.perf_counter() - begun) * 1e3)
            rows = [[utc(v) if isinstance(v, datetime.datetime) else v for v in row] for row in rows]
            want = [dict(zip(keys + NAMES, row, strict=True)) for row in rows]
            out.write(json.dumps({"kind": kind, "path": path(kind, values), "want": want}) + "\n")
    for kind, all_ms in took.items():
        all_ms.sort()
        p50, p99, most = (all_ms[max(0, -(-len(all_ms) * p // 100) - 1)] for p in (50, 99, 100))
        print(f"DuckDB, 1 client, {kind:<30} {p50:9.3f} {p99:9.3f} {most:9.3f} ms p50, p99, most of {len(all_ms)}")


if __name__ == "__main__":
    main()
