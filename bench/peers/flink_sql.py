"""Flink SQL: a stream with watermarks of 60 s, state on the heap, no checkpoints: its fastest shape, not its safest.

Workload A: the first of each eventId (by processing time, for ever), then tumbling windows of a minute. Workload B: views
joined to the campaigns as of their time, then tumbling windows of ten seconds; a constant MAP instead of the join took
27 s of CPU for 300,000 lines, against 19. A moment may not be null, so lines without one get the year 1970 and are left
out. Events behind the watermark are dropped, which the check shows. It needs a JVM (11 or 17) as `java`; the heap is
FLINK_HEAP (default 12g; a quarter will do for a million lines).
"""

import argparse
import csv
import os
import pathlib
import shutil

import peer

ADS = [
    """CREATE TABLE events (
         eventId STRING, eventType STRING, occurredAt STRING, campaignId STRING, publisherId STRING, country STRING,
         deviceType STRING, priceMicros BIGINT,
         moment AS COALESCE(
           TO_TIMESTAMP(REPLACE(REPLACE(occurredAt, 'T', ' '), 'Z', ''), 'yyyy-MM-dd HH:mm:ss.SSS'),
           TIMESTAMP '1970-01-01 00:00:00.000'),
         arrived AS PROCTIME(),
         WATERMARK FOR moment AS moment - INTERVAL '60' SECOND
       ) WITH ('connector' = 'filesystem', 'path' = '{json}', 'format' = 'json', 'json.ignore-parse-errors' = 'true')""",
    """CREATE TABLE sums (
         bucketStart STRING, campaignId STRING, publisherId STRING, country STRING, deviceType STRING,
         impressions BIGINT, clicks BIGINT, conversions BIGINT, spendMicros BIGINT
       ) WITH ('connector' = 'filesystem', 'path' = '{parts}', 'format' = 'csv', 'csv.disable-quote-character' = 'true')""",
    """CREATE TEMPORARY VIEW firsts AS
       SELECT eventType, moment, campaignId, publisherId, country, deviceType, priceMicros
       FROM (
         SELECT *, ROW_NUMBER() OVER (PARTITION BY eventId ORDER BY arrived ASC) AS nth FROM events
         WHERE eventId IS NOT NULL AND eventType IN ('impression', 'click', 'conversion')
           AND moment > TIMESTAMP '1970-01-01 00:00:00.000'
           AND campaignId IS NOT NULL AND publisherId IS NOT NULL AND country IS NOT NULL AND deviceType IS NOT NULL
           AND priceMicros >= 0
       ) WHERE nth = 1""",
    """INSERT INTO sums
       SELECT DATE_FORMAT(window_start, 'yyyy-MM-dd''T''HH:mm:ss''Z'''), campaignId, publisherId, country, deviceType,
              COUNT(*) FILTER (WHERE eventType = 'impression'), COUNT(*) FILTER (WHERE eventType = 'click'),
              COUNT(*) FILTER (WHERE eventType = 'conversion'),
              COALESCE(SUM(priceMicros) FILTER (WHERE eventType = 'impression'), 0)
       FROM TABLE(TUMBLE(TABLE firsts, DESCRIPTOR(moment), INTERVAL '1' MINUTE))
       GROUP BY window_start, window_end, campaignId, publisherId, country, deviceType""",
]

YSB = [
    """CREATE TABLE events (
         ad_id STRING, event_type STRING, event_time BIGINT,
         moment AS TO_TIMESTAMP_LTZ(event_time, 3),
         WATERMARK FOR moment AS moment - INTERVAL '60' SECOND
       ) WITH ('connector' = 'filesystem', 'path' = '{json}', 'format' = 'json')""",
    """CREATE TABLE ads (
         ad_id STRING, campaignId STRING, since STRING,
         valid_from AS CAST(TO_TIMESTAMP(since) AS TIMESTAMP_LTZ(3)),
         WATERMARK FOR valid_from AS valid_from,
         PRIMARY KEY (ad_id) NOT ENFORCED
       ) WITH ('connector' = 'filesystem', 'path' = '{ads}', 'format' = 'csv')""",
    """CREATE TABLE sums (bucketStart STRING, campaignId STRING, impressions BIGINT)
       WITH ('connector' = 'filesystem', 'path' = '{parts}', 'format' = 'csv', 'csv.disable-quote-character' = 'true')""",
    """CREATE TEMPORARY VIEW seen_ads AS
       SELECT a.campaignId, e.moment
       FROM (SELECT * FROM events WHERE event_type = 'view') AS e
       JOIN ads FOR SYSTEM_TIME AS OF e.moment AS a ON e.ad_id = a.ad_id""",
    """INSERT INTO sums
       SELECT DATE_FORMAT(window_start, 'yyyy-MM-dd''T''HH:mm:ss''Z'''), campaignId, COUNT(*)
       FROM TABLE(TUMBLE(TABLE seen_ads, DESCRIPTOR(moment), INTERVAL '10' SECOND))
       GROUP BY window_start, window_end, campaignId""",
]

HEADERS = {
    "ads": "bucketStart,campaignId,publisherId,country,deviceType,impressions,clicks,conversions,spendMicros\n",
    "ysb": "bucketStart,campaignId,impressions\n",
}


def missing() -> str | None:
    """What the machine lacks to run Flink."""
    return None if shutil.which("java") else "no `java` on the path (Debian: apt-get install default-jre-headless)"


def run(args: argparse.Namespace, statements: list[str], parts: pathlib.Path, **names: str) -> str:
    """Runs the statements, waits for the last one, and puts its parts together, sorted as a report is."""
    # The JVM is started by the first use of the library, and takes its options from here.
    os.environ["JDK_JAVA_OPTIONS"] = f"-Xmx{os.environ.get('FLINK_HEAP', '12g')}"
    from pyflink.common import Configuration  # pylint: disable=import-outside-toplevel
    from pyflink.table import EnvironmentSettings, TableEnvironment  # pylint: disable=import-outside-toplevel
    from pyflink.version import __version__  # pylint: disable=import-outside-toplevel

    shutil.rmtree(parts, ignore_errors=True)
    configuration = Configuration()
    configuration.set_string("parallelism.default", str(args.threads))
    configuration.set_string("table.local-time-zone", "UTC")
    # Rows are not copied between operators: nothing here keeps one.
    configuration.set_string("pipeline.object-reuse", "true")
    settings = EnvironmentSettings.new_instance().in_streaming_mode().with_configuration(configuration).build()
    tables = TableEnvironment.create(settings)
    names = {"json": os.path.abspath(args.json), "parts": str(parts), **names}
    for statement in statements:
        for name, value in names.items():
            statement = statement.replace("{" + name + "}", value)
        result = tables.execute_sql(statement)
    result.wait()
    lines: list[str] = []
    for part in sorted(parts.iterdir()):
        lines += part.read_text(encoding="utf-8").splitlines(keepends=True)
    lines.sort()
    with open(args.out, "w", encoding="utf-8") as out:
        out.write(HEADERS[args.workload])
        out.writelines(lines)
    shutil.rmtree(parts)
    return __version__


def ads(args: argparse.Namespace) -> str:
    """Workload A."""
    return run(args, ADS, pathlib.Path(os.path.abspath(args.out) + ".parts"))


def ysb(args: argparse.Namespace) -> str:
    """Workload B."""
    known = os.path.abspath(args.out) + ".ads"
    with open(known, "w", encoding="utf-8", newline="") as file:
        rows = [(ad, campaign, "1970-01-01 00:00:00") for ad, campaign in peer.ads_of_campaigns(args.campaigns)]
        csv.writer(file, lineterminator="\n").writerows(rows)
    version = run(args, YSB, pathlib.Path(os.path.abspath(args.out) + ".parts"), ads=known)
    os.remove(known)
    return version


if __name__ == "__main__":
    peer.main("Flink SQL", ["apache-flink==2.3.0"], {"ads": ads, "ysb": ysb}, missing)
