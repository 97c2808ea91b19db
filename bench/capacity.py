"""What a load takes in cores, disks, partitions and money: the tables of docs/capacity.md, from the figures below.

Put new figures into COSTS and PRICES and run it; the formulas are one function each. Floats are at home here, for nothing
of this is a count. Not here: measurements (the benchmarks print them).
"""

import math

# What an event costs. Where each comes from is in docs/capacity.md.
COSTS = {
    "file_cpu_us": 1.75,
    "batch_cpu_us": 8.8,
    "single_cpu_us": 116.0,
    "json_bytes": 409,
    "log_bytes": 77.5,
    "key_bytes": 42.0,
    "key_memory_bytes": 2.1,
    "row_bytes": 10.0,
    "written_bytes": 203.0,
}
# How much of a core is planned for, so that a peak does not queue.
CORE_SHARE = 0.6
# A Kafka partition is one consumer's work and a broker's file.
PARTITION_CORE_SHARE = 0.5
PARTITION_MB_A_SECOND = 10
PARTITIONS_MAX = 64
KAFKA_REPLICAS = 3
HORIZON_DAYS = 7
LOG_DAYS = 90
ROW_DAYS = 365
ROLLUPS = 2
# Room for merges, which write a run anew before they remove its parts.
MERGE_ROOM = 2.0
# The shape of workload A: campaigns with a Zipf distribution, and what is below a campaign.
CAMPAIGNS = 10_000
CELLS_A_CAMPAIGN = 14.5 * 2.5 * 4

PRICES = {"core_hour": 0.05, "ssd_gb_month": 0.10, "object_gb_month": 0.023}
HOURS_A_MONTH = 730

# Name, events a day, events a second at the peak.
LOADS = [
    ("500,000 a minute", 720e6, 3 * 720e6 / 86_400),
    ("1 billion a day", 1e9, 3 * 1e9 / 86_400),
    ("1 billion a day, after 3 years of +50 %", 3.375e9, 3 * 3.375e9 / 86_400),
    ("10 billion a day, peaks of 2 M/s", 10e9, 2e6),
    ("100 billion a day", 100e9, 3 * 100e9 / 86_400),
]


def rows_a_minute(events: float) -> float:
    """Distinct cells that so many events of one minute fall into, each campaign's evenly over its cells."""
    harmonic = sum(1 / rank for rank in range(1, CAMPAIGNS + 1))
    return sum(
        CELLS_A_CAMPAIGN * (1 - math.exp(-events / rank / harmonic / CELLS_A_CAMPAIGN))
        for rank in range(1, CAMPAIGNS + 1)
    )


def cores(a_second: float, cpu_us: float) -> float:
    """Cores for so many events a second."""
    return a_second * cpu_us / 1e6 / CORE_SHARE


def partitions(a_second: float) -> int:
    """Partitions of a topic of encoded records: by one consumer's CPU, and by a broker's bytes."""
    by_cpu = a_second * COSTS["file_cpu_us"] / 1e6 / PARTITION_CORE_SHARE
    by_bytes = a_second * COSTS["log_bytes"] / 1e6 / PARTITION_MB_A_SECOND
    return math.ceil(max(by_cpu, by_bytes, 1))


def disks(a_day: float) -> dict[str, float]:
    """Bytes kept, by what they are."""
    return {
        "log": a_day * LOG_DAYS * COSTS["log_bytes"],
        "keys": a_day * HORIZON_DAYS * COSTS["key_bytes"] * MERGE_ROOM,
        "rows": rows_a_minute(a_day / 1_440) * 1_440 * ROW_DAYS * ROLLUPS * COSTS["row_bytes"],
    }


def key_memory(a_day: float) -> float:
    """Bytes of memory for filters and directories of the keys within the horizon."""
    return a_day * HORIZON_DAYS * COSTS["key_memory_bytes"]


def size(count: float) -> str:
    """A number of bytes for people."""
    for unit, factor in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if count >= factor:
            return f"{count / factor:,.1f} {unit}" if count < 100 * factor else f"{count / factor:,.0f} {unit}"
    return f"{count:,.0f} B"


def table(head: tuple, rows: list[tuple]) -> None:
    """As Markdown."""
    for row in [head, ("---",) * len(head), *rows]:
        print("| " + " | ".join(row) + " |")
    print()


def main() -> None:
    """Prints the tables."""
    table(
        ("load", "events/s, mean", "at the peak", "cores: files", "cores: batches of 1,000", "cores: one a request"),
        [
            (name, f"{a_day / 86_400:,.0f}", f"{peak:,.0f}", *(
                f"{cores(peak, COSTS[kind]):,.1f}" for kind in ("file_cpu_us", "batch_cpu_us", "single_cpu_us")
            ))
            for name, a_day, peak in LOADS
        ],
    )
    table(
        ("load", "log, 90 days", "keys, 7 days", "rows, a year", "written at the peak", "memory for keys", "in as JSON"),
        [
            (name, *(size(kept) for kept in disks(a_day).values()), f"{size(peak * COSTS['written_bytes'])}/s",
             size(key_memory(a_day)), f"{peak * COSTS['json_bytes'] * 8 / 1e9:,.2f} Gbit/s")
            for name, a_day, peak in LOADS
        ],
    )
    table(
        ("load", "partitions", "cores, a month", "SSD, a month", "the log as objects instead", "Kafka's disks, 1 day"),
        [
            (
                name,
                f"{partitions(peak):,}" + (" (over 64)" if partitions(peak) > PARTITIONS_MAX else ""),
                f"${max(2, math.ceil(cores(peak, COSTS['batch_cpu_us']))) * PRICES['core_hour'] * HOURS_A_MONTH:,.0f}",
                f"${sum(disks(a_day).values()) / 1e9 * PRICES['ssd_gb_month']:,.0f}",
                f"${disks(a_day)['log'] / 1e9 * PRICES['object_gb_month']:,.0f}",
                f"${a_day * COSTS['log_bytes'] * KAFKA_REPLICAS / 1e9 * PRICES['ssd_gb_month']:,.0f}",
            )
            for name, a_day, peak in LOADS
        ],
    )


if __name__ == "__main__":
    main()
