"""Runs one command and appends what it took, as a line of JSON, to a file.

Usage: measure.py RESULTS.jsonl NAME COMMAND [ARGUMENT ...]

Seconds are from start to end of the process; CPU seconds and the peak of resident memory (MB of 10^6 bytes) are the
kernel's account of it and of the children that it waited for. The command's exit code is passed on.
"""

import json
import os
import sys
import time


def main() -> int:
    results, name, *command = sys.argv[1:]
    start = time.monotonic()
    pid = os.spawnvp(os.P_NOWAIT, command[0], command)
    _, status, usage = os.wait4(pid, 0)
    seconds = time.monotonic() - start
    code = os.waitstatus_to_exitcode(status)
    if code == 0:
        line = {
            "name": name,
            "seconds": round(seconds, 3),
            "cpuSeconds": round(usage.ru_utime + usage.ru_stime, 3),
            "peakMb": round(usage.ru_maxrss * 1024 / 1e6),
        }
        with open(results, "a", encoding="utf-8") as out:
            out.write(json.dumps(line) + "\n")
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main())
