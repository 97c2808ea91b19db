"""ClickHouse (chdb) as a service would use it: inserts into a MergeTree, a materialized view that sums as they come.

The events are kept and the sums are on disk, so this is the shape that is nearest to what adsum does. It does not
deduplicate by eventId: a view sees the rows of one insert and knows nothing of those before, so every retry counts. The
check says by how much. Inserts are as the engine makes them from one INSERT SELECT with two insert threads, and are not
synced one by one (fsync_after_insert is off, which is the default).
"""

import argparse
import os
import shutil

import peer
from clickhouse_batch import ADS_EVENTS, PINNED, YSB_EVENTS, array

ADS_TABLES = [
    """CREATE TABLE events (
         eventId UUID, eventType LowCardinality(String), occurredAt DateTime64(3, 'UTC'), campaignId LowCardinality(String),
         publisherId LowCardinality(String), country LowCardinality(String), deviceType LowCardinality(String),
         priceMicros Int64
       ) ENGINE = MergeTree ORDER BY (campaignId, occurredAt)""",
    """CREATE TABLE sums (
         bucket DateTime('UTC'), campaignId LowCardinality(String), publisherId LowCardinality(String),
         country LowCardinality(String), deviceType LowCardinality(String), impressions UInt64, clicks UInt64,
         conversions UInt64, spendMicros Int64
       ) ENGINE = SummingMergeTree ORDER BY (bucket, campaignId, publisherId, country, deviceType)""",
    """CREATE MATERIALIZED VIEW counting TO sums AS
       SELECT toStartOfMinute(occurredAt) AS bucket, campaignId, publisherId, country, deviceType,
              countIf(eventType = 'impression') AS impressions, countIf(eventType = 'click') AS clicks,
              countIf(eventType = 'conversion') AS conversions, sumIf(priceMicros, eventType = 'impression') AS spendMicros
       FROM events GROUP BY ALL""",
]

ADS_SUMS = """
  SELECT formatDateTime(bucket, '%Y-%m-%dT%H:%i:%SZ', 'UTC') AS bucketStart, campaignId, publisherId, country, deviceType,
         sum(impressions) AS impressions, sum(clicks) AS clicks, sum(conversions) AS conversions,
         sum(spendMicros) AS spendMicros
  FROM sums GROUP BY bucket, campaignId, publisherId, country, deviceType ORDER BY bucket
  INTO OUTFILE '{out}' TRUNCATE FORMAT CSVWithNames
"""

YSB_TABLES = [
    "CREATE TABLE events (ad_id String, event_time Int64) ENGINE = MergeTree ORDER BY event_time",
    """CREATE TABLE sums (bucket DateTime('UTC'), campaignId LowCardinality(String), impressions UInt64)
       ENGINE = SummingMergeTree ORDER BY (bucket, campaignId)""",
    """CREATE MATERIALIZED VIEW counting TO sums AS
       SELECT toDateTime(intDiv(event_time, 10000) * 10, 'UTC') AS bucket,
              transform(ad_id, {ads}, {campaigns}, '') AS campaignId, count() AS impressions
       FROM events GROUP BY ALL""",
]

YSB_SUMS = """
  SELECT formatDateTime(bucket, '%Y-%m-%dT%H:%i:%SZ', 'UTC') AS bucketStart, campaignId, sum(impressions) AS impressions
  FROM sums GROUP BY bucket, campaignId ORDER BY bucket
  INTO OUTFILE '{out}' TRUNCATE FORMAT CSVWithNames
"""


def fill(args: argparse.Namespace, tables: list[str], events: str, sums: str) -> str:
    """Makes the tables in a folder beside the result, fills them, and writes the sums."""
    from chdb import session  # pylint: disable=import-outside-toplevel

    folder = os.path.join(os.path.dirname(os.path.abspath(args.out)), "clickhouse-data")
    shutil.rmtree(folder, ignore_errors=True)
    database = session.Session(folder)
    for statement in [f"SET max_threads = {args.threads}, max_insert_threads = {args.threads}", *tables]:
        database.query(statement)
    database.query(f"INSERT INTO events {events} SETTINGS input_format_skip_unknown_fields = 1")
    database.query(sums.format(out=args.out))
    version = database.query("SELECT version()").bytes().decode().strip().strip('"')
    database.close()
    shutil.rmtree(folder, ignore_errors=True)
    return version


def ads(args: argparse.Namespace) -> str:
    """Workload A."""
    return fill(args, ADS_TABLES, ADS_EVENTS.format(json=args.json), ADS_SUMS)


def ysb(args: argparse.Namespace) -> str:
    """Workload B."""
    pairs = peer.ads_of_campaigns(args.campaigns)
    lists = {"ads": array([ad for ad, _ in pairs]), "campaigns": array([campaign for _, campaign in pairs])}
    tables = [*YSB_TABLES[:2], YSB_TABLES[2].format(**lists)]
    return fill(args, tables, YSB_EVENTS.format(json=args.json), YSB_SUMS)


if __name__ == "__main__":
    peer.main("ClickHouse view", PINNED, {"ads": ads, "ysb": ysb})
