"""Runs one command and appends what it took, as a line of JSON, to a file.

Usage: measure.py RUNS.jsonl NAME COMMAND [ARGUMENT ...]

Seconds are from start to end of the process; CPU seconds (user and system), the peak of resident memory (MB of 10^6 bytes,
of the largest process) and what was written towards disks (MB) are the kernel's account of it and of everything that it
started, also of what it left behind. The command's exit code is passed on; of one that failed nothing is written.
"""

import ctypes
import json
import os
import sys
import time

PR_SET_CHILD_SUBREAPER = 36
# How long what a command left behind may take to end by itself, e.g. a JVM whose input was closed.
LEFT_BEHIND_SECONDS = 30


def reap_rest() -> list:
    """What the processes took that the command left behind; they came to us as its heir."""
    usages = []
    until = time.monotonic() + LEFT_BEHIND_SECONDS
    while time.monotonic() < until:
        try:
            pid, _, usage = os.wait4(-1, os.WNOHANG)
        except ChildProcessError:
            break
        if pid:
            usages.append(usage)
        else:
            time.sleep(0.01)
    return usages


def main() -> int:
    """Runs the command that the arguments name."""
    results, name, *command = sys.argv[1:]
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    start = time.monotonic()
    pid = os.spawnvp(os.P_NOWAIT, command[0], command)
    _, status, usage = os.wait4(pid, 0)
    seconds = time.monotonic() - start
    code = os.waitstatus_to_exitcode(status)
    usages = [usage, *reap_rest()]
    if code == 0:
        line = {
            "name": name,
            "seconds": round(seconds, 3),
            "cpuSeconds": round(sum(u.ru_utime + u.ru_stime for u in usages), 3),
            "peakMb": round(max(u.ru_maxrss for u in usages) * 1024 / 1e6),
            # The kernel counts in blocks of 512 bytes.
            "writtenMb": round(sum(u.ru_oublock for u in usages) * 512 / 1e6),
        }
        with open(results, "a", encoding="utf-8") as out:
            out.write(json.dumps(line) + "\n")
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main())
