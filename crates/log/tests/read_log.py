#!/usr/bin/env python3
"""Reads a log of format v1 (docs/formats/log-v1.md) and prints one JSON object a record.

Usage: read_log.py DIRECTORY. Written from the description alone, with the standard library, to show that it suffices.
It checks every checksum and the chain of segments and frames; what is wrong ends it with the file and the byte.
"""

import json
import os
import re
import struct
import sys
import zlib


class Damage(Exception):
    pass


def need(condition, what):
    if not condition:
        raise Damage(what)


class Cursor:
    def __init__(self, data):
        self.data = data
        self.pos = 0

    def at_end(self):
        return self.pos == len(self.data)

    def take(self, count):
        need(self.pos + count <= len(self.data), "a value is cut short")
        self.pos += count
        return self.data[self.pos - count:self.pos]

    def byte(self):
        return self.take(1)[0]

    def varint(self):
        value = shift = 0
        while True:
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                need(value < 1 << 64, "an integer is too large")
                return value

    def zigzag(self):
        value = self.varint()
        return (value >> 1) ^ -(value & 1)

    def run(self):
        return self.take(self.varint())

    def text(self):
        return self.run().decode("utf-8")


def signed(value):
    """64 bits as two's complement."""
    value &= (1 << 64) - 1
    return value - (1 << 64) if value >> 63 else value


class Shape:
    def __init__(self, entry):
        cursor = Cursor(entry)
        self.kind, self.stream = cursor.byte(), cursor.byte()
        self.billable = cursor.byte() or None
        flags = cursor.byte()
        self.source = cursor.text() if flags & 1 else None
        self.currency = cursor.text() if flags & 2 else None
        self.campaign = flags >> 2
        self.folded = [cursor.text() for _ in range(cursor.varint())]
        self.fields = [(cursor.text(), cursor.byte()) for _ in range(cursor.varint())]
        need(cursor.at_end(), "bytes behind a shape")


class Segment:
    def __init__(self, path):
        self.path = path
        self.strings = [None]
        self.shapes = []
        with open(path, "rb") as file:
            self.data = file.read()
        need(len(self.data) >= 48, "the segment's header is cut short")
        head = self.data[:48]
        need(head[:8] == b"adsumlog", "no segment")
        version, self.previous, self.previous_bytes, self.seq, self.offset, crc = struct.unpack("<IQQQQI", head[8:])
        need(zlib.crc32(head[:44]) == crc, "checksum of the segment's header")
        need(version == 1, "version")

    def records(self):
        at, seq, offset = 48, self.seq, self.offset
        while at < len(self.data):
            need(len(self.data) - at >= 88, f"byte {at}: a frame's header is cut short")
            head = self.data[at:at + 88]
            need(head[:4] == b"\xadfrm", f"byte {at}: no frame")
            version, own_at, own_seq, base, appended_at = struct.unpack("<IQQQq", head[4:40])
            _metadata, _durable_seq, _durable_offset, time_base = struct.unpack("<QQQq", head[40:72])
            count, blocks_bytes, dictionary_bytes, crc = struct.unpack("<IIII", head[72:])
            need(zlib.crc32(head[:84]) == crc, f"byte {at}: checksum of the frame's header")
            need((version, own_at, own_seq, base) == (1, at, seq, offset), f"byte {at}: another frame")
            binding = zlib.crc32(head[:64])
            blocks = self.data[at + 88:at + 88 + blocks_bytes]
            at += 88 + blocks_bytes + dictionary_bytes
            need(at <= len(self.data), "a frame is cut short")
            self.add_dictionary(self.data[at - dictionary_bytes:at], binding)
            for record in self.block_records(blocks, binding, appended_at, time_base):
                yield {"seq": seq, "offset": offset, **record}
                offset += 1
            need(offset == base + count, "the number of records")
            seq += 1
        self.seq, self.offset = seq, offset

    def add_dictionary(self, section, binding):
        if not section:
            return
        payload, (crc,) = section[:-4], struct.unpack("<I", section[-4:])
        need(zlib.crc32(payload, binding) == crc, "checksum of a dictionary")
        cursor = Cursor(payload)
        self.strings += [cursor.text() for _ in range(cursor.varint())]
        self.shapes += [Shape(cursor.run()) for _ in range(cursor.varint())]
        need(cursor.at_end(), "bytes behind a dictionary")

    def block_records(self, blocks, binding, appended_at, time_base):
        outer = Cursor(blocks)
        while not outer.at_end():
            length = outer.take(4)
            payload = outer.take(struct.unpack("<I", length)[0])
            (crc,) = struct.unpack("<I", outer.take(4))
            need(zlib.crc32(length + payload, binding) == crc, "checksum of a block")
            cursor = Cursor(payload)
            while not cursor.at_end():
                yield self.record(cursor, appended_at, time_base)

    def record(self, cursor, appended_at, time_base):
        number = cursor.varint()
        shape = self.shapes[number - 1] if number else Shape(cursor.run())
        received_at = signed(appended_at + cursor.zigzag())
        campaign = [lambda: None, lambda: self.strings[cursor.varint()], cursor.text][shape.campaign]()
        read = {
            1: lambda: {"symbol": self.strings[cursor.varint()]},
            2: lambda: {"symbol": cursor.text()},
            3: lambda: {"text": cursor.text()},
            4: lambda: {"uuid": cursor.take(16).hex()},
            5: lambda: {"uint": cursor.varint()},
            6: lambda: {"int": -1 - cursor.varint()},
            7: lambda: {"time": time_base + cursor.zigzag() * 1000},
            8: lambda: {"time": signed(time_base + cursor.zigzag())},
            9: lambda: {"json": cursor.text()},
            10: lambda: {"bytes": cursor.run().hex()},
        }
        return {
            "kind": shape.kind,
            "source": shape.source,
            "receivedAt": received_at,
            "stream": shape.stream,
            "billable": shape.billable,
            "currency": shape.currency,
            "campaign": campaign,
            "folded": shape.folded,
            "fields": {name: read[encoding]() for name, encoding in shape.fields},
        }


def main(directory):
    before = None
    for name in sorted(n for n in os.listdir(directory) if re.fullmatch(r"\d{20}\.log", n)):
        try:
            segment = Segment(os.path.join(directory, name))
            first = segment.seq
            need(f"{first:020}.log" == name, "the name is another segment's")
            if before:
                chain = (before.first, len(before.data), before.seq, before.offset)
                need(chain == (segment.previous, segment.previous_bytes, segment.seq, segment.offset), "chain")
            for record in segment.records():
                print(json.dumps(record, separators=(",", ":"), ensure_ascii=False))
            segment.first = first
            before = segment
        except Damage as damage:
            sys.exit(f"{name}: {damage}")


if __name__ == "__main__":
    main(sys.argv[1])
