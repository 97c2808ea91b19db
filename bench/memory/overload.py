"""Sends more than a server can take and watches its memory.

Usage: overload.py URL TOKEN-FILE PID SECONDS LIMIT_BYTES

Several processes send batches of 1,000 events as fast as they are answered, all with values of their own. It exits 1
where an answer was neither a 202 nor a refusal that may be tried again (429, 503), where the process took more than the
limit, or where the ledger does not say exactly what was acknowledged.
"""

import http.client
import json
import multiprocessing
import pathlib
import sys
import threading
import time
import urllib.parse
import urllib.request

SENDERS = 2
CONNECTIONS = 16
BATCH = 1000


def body(sender, connection, number):
    name = f"{sender}-{connection}-{number}"
    line = (
        '{{"eventId":"e{0}-{1}","eventType":"impression","occurredAt":"{2}","campaignId":"c{1}","adId":"a{0}-{1}",'
        '"page":"/page/{0}-{1}","userAgent":"agent/{0}-{1}","attributes":{{"site":"{0}-{1}"}},"priceMicros":1}}\n'
    )
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return "".join(line.format(name, i, now) for i in range(BATCH)).encode()


def connection(url, token, sender, own, until, answers):
    parts = urllib.parse.urlsplit(url)
    headers = {"Authorization": "Bearer " + token, "Content-Type": "application/x-ndjson"}
    client = http.client.HTTPConnection(parts.hostname, parts.port, timeout=60)
    number = 0
    while time.time() < until:
        text = body(sender, own, number)
        # The same until it is taken: what was not acknowledged is sent again, and counts once.
        while True:
            client.request("POST", "/v1/events/collect", text, headers)
            answer = client.getresponse()
            answer.read()
            answers[answer.status] = answers.get(answer.status, 0) + 1
            if answer.status not in (429, 503):
                break
            time.sleep(0.05)
        number += 1


def send(url, token, sender, until, results):
    answers = {}
    threads = [
        threading.Thread(target=connection, args=(url, token, sender, i, until, answers)) for i in range(CONNECTIONS)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    results.put(answers)


def resident(pid):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) << 10
    return 0


def received(url, token):
    request = urllib.request.Request(url + "/v1/conservation", headers={"Authorization": "Bearer " + token})
    sums = json.load(urllib.request.urlopen(request, timeout=60))["sums"]
    return {name: sums[name] for name in ("received", "accepted", "counted", "duplicates")}


def main() -> int:
    url, token_file, pid, seconds, limit = sys.argv[1:]
    token = pathlib.Path(token_file).read_text(encoding="ascii").strip()
    results = multiprocessing.Queue()
    until = time.time() + float(seconds)
    senders = [multiprocessing.Process(target=send, args=(url, token, i, until, results)) for i in range(SENDERS)]
    for sender in senders:
        sender.start()
    series = []
    while time.time() < until:
        time.sleep(1)
        series.append(resident(pid))
    answers = {}
    for _ in senders:
        for status, count in results.get().items():
            answers[status] = answers.get(status, 0) + count
    time.sleep(3)
    ledger = received(url, token)
    series.append(resident(pid))
    sent = BATCH * answers.get(202, 0)
    print(json.dumps({"answers": answers, "ledger": ledger, "residentMiB": [size >> 20 for size in series]}))
    fine = set(answers) <= {202, 429, 503} and max(series) <= int(limit)
    return 0 if fine and ledger["received"] == sent == ledger["counted"] else 1


if __name__ == "__main__":
    sys.exit(main())
