"""Runs a command that may take so much memory and no more, and says how much it took.

Usage: limited.py BYTES RESULTS.jsonl NAME COMMAND [ARGUMENT ...]

The limit is a memory cgroup's: its page cache counts too, but gives way. It is made below the cgroup that this runs in
(cgroup v1, or v2 where the memory controller is delegated); on other machines `systemd-run --scope` makes it. Where
neither works it says so and exits 3. While the command runs, RESULTS.jsonl.pid has its number. Its exit code is passed on; 137 is a kill for want of memory.
"""

import contextlib
import json
import os
import pathlib
import shutil
import sys
import time


def own_cgroup():
    """The memory cgroup that this runs in, the name of its limit, and what names a process to it."""
    for line in pathlib.Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines():
        _, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(","):
            return pathlib.Path("/sys/fs/cgroup/memory" + path), "memory.limit_in_bytes"
    for line in pathlib.Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines():
        if line.startswith("0::"):
            return pathlib.Path("/sys/fs/cgroup" + line[3:]), "memory.max"
    return None, None


def made_cgroup(limit):
    """A cgroup of its own with the limit, or none where it cannot be made."""
    above, name = own_cgroup()
    if above is None:
        return None
    group = above / f"adsum-{os.getpid()}"
    try:
        group.mkdir()
    except OSError:
        return None
    try:
        (group / name).write_text(str(limit), encoding="ascii")
        for swap in ("memory.memsw.limit_in_bytes", "memory.swap.max"):
            with contextlib.suppress(OSError):
                if (group / swap).exists():
                    (group / swap).write_text(str(limit if "memsw" in swap else 0), encoding="ascii")
    except OSError:
        group.rmdir()
        return None
    return group


def main() -> int:
    limit, results, name, *command = sys.argv[1:]
    group = made_cgroup(int(limit))
    if group is None:
        if shutil.which("systemd-run") is None:
            print("no memory cgroup can be made here, and there is no systemd-run", file=sys.stderr)
            return 3
        command = ["systemd-run", "--scope", "--quiet", "-p", f"MemoryMax={limit}", "-p", "MemorySwapMax=0", *command]
    start = time.monotonic()
    pid = os.fork()
    if pid == 0:
        if group is not None:
            (group / "cgroup.procs").write_text(str(os.getpid()), encoding="ascii")
        os.execvp(command[0], command)
    pathlib.Path(results + ".pid").write_text(str(pid), encoding="ascii")
    _, status, usage = os.wait4(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    line = {
        "name": name,
        "seconds": round(time.monotonic() - start, 1),
        "cpuSeconds": round(usage.ru_utime + usage.ru_stime, 1),
        "limitMiB": int(limit) >> 20,
        "peakResidentMiB": usage.ru_maxrss >> 10,
        "exitCode": code,
    }
    with open(results, "a", encoding="utf-8") as out:
        out.write(json.dumps(line) + "\n")
    print(json.dumps(line))
    if group is not None:
        for _ in range(50):
            with contextlib.suppress(OSError):
                group.rmdir()
                break
            time.sleep(0.1)
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main())
