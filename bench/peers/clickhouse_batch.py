"""ClickHouse (chdb, the engine inside a process): one batch query from NDJSON to the same CSV that adsum's report is.

Lines are read as text and taken apart by JSONExtract: the format JSONEachRow loses the line behind a truncated one (15 of
989,865 events), and took 3.2 s of CPU for a million lines against 2.3. With that format strings as LowCardinality took 1.8
times the CPU, and grouping by eventId with any() 1.3 times that of DISTINCT ON. Not here: tables on disk
(clickhouse_view.py).
"""

import argparse

import peer

PINNED = ["chdb==4.4.0"]

# Not `SELECT *`: what a line lacks, or has of another type, is NULL.
ADS_EVENTS = """
  SELECT e.eventId AS eventId, e.eventType AS eventType, parseDateTime64BestEffortOrNull(e.occurredAt, 3, 'UTC') AS occurredAt,
         e.campaignId AS campaignId, e.publisherId AS publisherId, e.country AS country, e.deviceType AS deviceType,
         e.priceMicros AS priceMicros
  FROM (
    SELECT JSONExtract(line, 'Tuple(eventId Nullable(UUID), eventType Nullable(String), occurredAt Nullable(String),
             campaignId Nullable(String), publisherId Nullable(String), country Nullable(String),
             deviceType Nullable(String), priceMicros Nullable(Int64))') AS e
    FROM file('{json}', 'LineAsString', 'line String')
  )
  WHERE eventId IS NOT NULL AND eventType IN ('impression', 'click', 'conversion') AND occurredAt IS NOT NULL
    AND campaignId IS NOT NULL AND publisherId IS NOT NULL AND country IS NOT NULL AND deviceType IS NOT NULL
    AND priceMicros >= 0
"""

ADS = """
  SELECT formatDateTime(bucket, '%Y-%m-%dT%H:%i:%SZ', 'UTC') AS bucketStart, campaignId, publisherId, country, deviceType,
         countIf(eventType = 'impression') AS impressions, countIf(eventType = 'click') AS clicks,
         countIf(eventType = 'conversion') AS conversions,
         ifNull(sumIf(priceMicros, eventType = 'impression'), 0) AS spendMicros
  FROM (
    SELECT DISTINCT ON (eventId) eventType, toStartOfMinute(occurredAt) AS bucket, campaignId, publisherId, country,
           deviceType, priceMicros
    FROM ({events})
  )
  GROUP BY bucket, campaignId, publisherId, country, deviceType
  ORDER BY bucket
  INTO OUTFILE '{out}' TRUNCATE FORMAT CSVWithNames SETTINGS max_threads = {threads}
"""

YSB_EVENTS = """
  SELECT ad_id, event_time
  FROM file('{json}', 'JSONEachRow', 'ad_id String, event_type String, event_time Int64')
  WHERE event_type = 'view'
"""

YSB = """
  SELECT formatDateTime(toDateTime(bucket * 10, 'UTC'), '%Y-%m-%dT%H:%i:%SZ', 'UTC') AS bucketStart,
         transform(ad_id, {ads}, {campaigns}, '') AS campaignId, count() AS impressions
  FROM (SELECT ad_id, intDiv(event_time, 10000) AS bucket FROM ({events}))
  GROUP BY bucket, campaignId
  ORDER BY bucket
  INTO OUTFILE '{out}' TRUNCATE FORMAT CSVWithNames
  SETTINGS max_threads = {threads}, input_format_skip_unknown_fields = 1
"""


def array(texts: list[str]) -> str:
    """An array of strings that need no escapes."""
    return "[" + ", ".join(f"'{text}'" for text in texts) + "]"


def ads(args: argparse.Namespace) -> str:
    """Workload A."""
    import chdb  # pylint: disable=import-outside-toplevel

    chdb.query(ADS.format(events=ADS_EVENTS.format(json=args.json), out=args.out, threads=args.threads))
    return chdb.query("SELECT version()").bytes().decode().strip().strip('"')


def ysb(args: argparse.Namespace) -> str:
    """Workload B."""
    import chdb  # pylint: disable=import-outside-toplevel

    pairs = peer.ads_of_campaigns(args.campaigns)
    lists = {"ads": array([ad for ad, _ in pairs]), "campaigns": array([campaign for _, campaign in pairs])}
    chdb.query(YSB.format(events=YSB_EVENTS.format(json=args.json), out=args.out, threads=args.threads, **lists))
    return chdb.query("SELECT version()").bytes().decode().strip().strip('"')


if __name__ == "__main__":
    peer.main("ClickHouse batch", PINNED, {"ads": ads, "ysb": ysb})
