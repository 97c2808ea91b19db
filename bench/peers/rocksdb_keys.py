"""Exact deduplication in RocksDB: the job of `adsum-dedupe` (bench/dedupe) with a key-value store.

For every event: look its key up; if it is new, put its record (content, occurredAt, offset, import flag: 25 bytes). One of
`--old-every` events has a key that was sent before, anywhere. Batches of 4,096: one multi_get, one write batch. Two processes
with half of the keys and a database each, so that neither Python's lock nor RocksDB's own lets one thread wait for the other.
Bloom filters of 16 bits a key, no compression (keys and contents are hashes), no write-ahead log: adsum's log is not part of
the figure either. It makes its own virtualenv with the pinned version on the first call.

What it is not: a measure of RocksDB without Python. Keys are drawn before the clock runs; what Python itself takes is
measured with `--nothing`, which does all but the calls into RocksDB, and stands beside the figure.
"""

import argparse
import multiprocessing
import os
import pathlib
import random
import resource
import struct
import subprocess
import sys
import time

VERSION = "rocksdict==0.3.29"
BATCH = 4096


def prepare(venv: pathlib.Path) -> pathlib.Path:
    """The virtualenv's interpreter, after making it and installing what is pinned, once."""
    python = venv / "bin" / "python"
    mark = venv / "installed.txt"
    if not mark.exists() or mark.read_text(encoding="utf-8") != VERSION:
        subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
        install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", VERSION]
        subprocess.run(install, check=True, stdout=sys.stderr)
        mark.write_text(VERSION, encoding="utf-8")
    return python


def open_database(path: pathlib.Path):
    from rocksdict import BlockBasedOptions, Cache, DBCompressionType, Options, Rdict

    table = BlockBasedOptions()
    table.set_bloom_filter(16, False)
    table.set_block_cache(Cache(256 << 20))
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    options.set_block_based_table_factory(table)
    options.set_compression_type(DBCompressionType.none())
    options.set_write_buffer_size(64 << 20)
    options.set_max_write_buffer_number(3)
    options.increase_parallelism(2)
    return Rdict(str(path), options)


def one_share(path: pathlib.Path, events: int, old_every: int, seed: int, nothing: bool, results) -> None:
    """Half of the events: seconds by the clock and of the processor, peak memory, events that were new."""
    if not nothing:
        from rocksdict import WriteBatch, WriteOptions

        database = open_database(path)
        unlogged = WriteOptions()
        unlogged.disable_wal = True
    numbers = random.Random(seed)
    drawn = random.Random(seed + 1000)
    sent: list[bytes] = []
    counted = duplicates = old = 0
    wall = cpu = 0.0
    for first in range(0, events, BATCH):
        count = min(BATCH, events - first)
        keys = []
        for offset in range(first, first + count):
            is_old = offset % old_every == old_every - 1 and bool(sent)
            old += is_old
            keys.append(drawn.choice(sent) if is_old else numbers.randbytes(16))
        values = [struct.pack("<QqQ?", hash(key) & (1 << 64) - 1, first, first + i, False) for i, key in enumerate(keys)]
        begun, cpu_begun = time.perf_counter(), time.process_time()
        found = [None] * count if nothing else database[keys]
        batch = None if nothing else WriteBatch(raw_mode=True)
        new = {}
        for key, value, before in zip(keys, values, found):
            if before is None and key not in new:
                new[key] = value
                if batch is not None:
                    batch.put(key, value)
            else:
                duplicates += 1
        counted += len(new)
        if batch is not None:
            database.write(batch, unlogged)
        wall += time.perf_counter() - begun
        cpu += time.process_time() - cpu_begun
        # One key in a hundred is remembered to be sent again: Python's memory is not what is measured.
        sent.extend(key for i, key in enumerate(keys) if i % 100 == 0)
    begun, cpu_begun = time.perf_counter(), time.process_time()
    if not nothing:
        database.flush()
        database.close()
    wall += time.perf_counter() - begun
    cpu += time.process_time() - cpu_begun
    if not nothing and (counted, duplicates) != (events - old, old):
        raise SystemExit(f"{counted} counted, {duplicates} duplicates; {old} of {events} were old")
    results.put((wall, cpu, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--venv", type=pathlib.Path, required=True)
    parser.add_argument("--dir", type=pathlib.Path, required=True, help="an empty directory")
    parser.add_argument("--events", type=int, default=20_000_000)
    parser.add_argument("--old-every", type=int, default=100)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--nothing", action="store_true", help="all but the calls into RocksDB")
    arguments = parser.parse_args()
    python = prepare(arguments.venv)
    if pathlib.Path(sys.prefix) != arguments.venv.resolve():
        os.execv(str(python), [str(python), __file__, *sys.argv[1:]])
    arguments.dir.mkdir(parents=True, exist_ok=True)
    results = multiprocessing.Queue()
    share = arguments.events // arguments.processes
    shares = [
        multiprocessing.Process(
            target=one_share,
            args=(arguments.dir / str(i), share, arguments.old_every, i, arguments.nothing, results),
        )
        for i in range(arguments.processes)
    ]
    for process in shares:
        process.start()
    figures = [results.get() for _ in shares]
    for process in shares:
        process.join()
        if process.exitcode != 0:
            raise SystemExit("a share failed")
    wall, cpu, memory = (max(f[0] for f in figures), sum(f[1] for f in figures), sum(f[2] for f in figures))
    done = share * arguments.processes
    what = "nothing but Python" if arguments.nothing else VERSION
    print(f"{what}: {done / wall / 1e6:.2f} M/s by the clock, {cpu / done * 1e6:.2f} us an event, {memory:.0f} MB")


if __name__ == "__main__":
    main()
