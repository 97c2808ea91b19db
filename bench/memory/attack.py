"""Writes events that are made to take memory: every one with values that no other has.

Usage: attack.py EVENTS

Each event has a page, a site (an attribute), a campaign, an ad, a publisher, a user and a user agent of its own, and a
member of a name of its own that the catalog does not know. All are impressions at a price of 1.
"""

import sys


def main() -> None:
    events = int(sys.argv[1])
    step = 1000
    for first in range(0, events, step):
        sys.stdout.write(
            "".join(
                f'{{"eventId":"e{n}","eventType":"impression","occurredAt":"2026-11-21T08:{n // 60 % 60:02}:{n % 60:02}Z",'
                f'"campaignId":"campaign-{n}","adId":"ad-{n}","publisherId":"publisher-{n}","page":"/page/{n}.html",'
                f'"userId":"user-{n}","userAgent":"agent/{n}","unknown{n}":{n},"attributes":{{"site":"site-{n}"}},'
                f'"priceMicros":1}}\n'
                for n in range(first, min(first + step, events))
            )
        )


if __name__ == "__main__":
    main()
