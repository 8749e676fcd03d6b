"""From the book update to the order, by the kernel's stamps of the packets on the loopback: the same instrument for every
program. Reads a capture (tcpdump -w, nanoseconds) of a venue's port.

    wire.py CAPTURE PORT nautilus|dolphin    prints one latency a line, ns

nautilus: the frame of the update that the order's id names -> the order. dolphin: the frame that crosses the boundary of 100 ms
of event time at which the entry was decided -> the order. A frame counts from its first byte's packet, an order until its last
byte's."""

import bisect
import json
import re
import struct
import sys
from collections import defaultdict

# Nothing answers a boundary later than the next.
INTERVAL = 100_000_000


def packets(path):
    """(stamp, source port, destination port, sequence number, payload) of TCP packets."""
    data = open(path, "rb").read()
    magic, = struct.unpack("<I", data[:4])
    scale = {0xA1B23C4D: 1, 0xA1B2C3D4: 1000}[magic]
    at = 24
    while at + 16 <= len(data):
        seconds, part, kept, _ = struct.unpack("<IIII", data[at:at + 16])
        packet = data[at + 16:at + 16 + kept]
        at += 16 + kept
        # Ethernet of the loopback, IPv4, TCP.
        if len(packet) < 54 or packet[12:14] != b"\x08\x00" or packet[23] != 6:
            continue
        ip = 14 + (packet[14] & 15) * 4
        end = 14 + int.from_bytes(packet[16:18], "big")
        source, destination, sequence = struct.unpack(">HHI", packet[ip:ip + 8])
        payload = packet[ip + (packet[ip + 12] >> 4) * 4:end]
        if payload:
            yield seconds * 1_000_000_000 + part * scale, source, destination, sequence, payload


class Stream:
    """One direction of a connection: its bytes, and when each of them passed."""

    def __init__(self):
        self.bytes, self.starts, self.stamps, self.next = bytearray(), [], [], None

    def take(self, stamp, sequence, payload):
        if self.next is not None:
            behind = (self.next - sequence) & 0xFFFFFFFF
            if behind >= 1 << 31:
                return  # A hole: the loopback loses nothing, but the capture may.
            payload = payload[behind:]
        if not payload:
            return
        self.starts.append(len(self.bytes))
        self.stamps.append(stamp)
        self.bytes += payload
        self.next = (sequence + len(payload) + (0 if self.next is None else (self.next - sequence) & 0xFFFFFFFF)) & 0xFFFFFFFF

    def when(self, place):
        return self.stamps[bisect.bisect_right(self.starts, place) - 1]


def frames(stream):
    """(first stamp, last stamp, text) of the WebSocket messages behind an upgrade."""
    data = stream.bytes
    at = data.find(b"\r\n\r\n") + 4
    while at + 2 <= len(data):
        length, place = data[at + 1] & 127, at + 2
        if length == 126:
            length, place = int.from_bytes(data[place:place + 2], "big"), place + 2
        elif length == 127:
            length, place = int.from_bytes(data[place:place + 8], "big"), place + 8
        masked = data[at + 1] & 128
        key, place = (data[place:place + 4], place + 4) if masked else (None, place)
        if place + length > len(data):
            return
        if data[at] & 15 == 1:
            text = bytes(data[place:place + length])
            if key:
                mask = int.from_bytes((bytes(key) * (length // 4 + 1))[:length], "big")
                text = (int.from_bytes(text, "big") ^ mask).to_bytes(length, "big")
            yield stream.when(at), stream.when(place + length - 1), text
        at = place + length


def requests(stream):
    """(first stamp, last stamp, head and body) of HTTP requests."""
    data, at = stream.bytes, 0
    while True:
        head = data.find(b"\r\n\r\n", at)
        if head < 0:
            return
        length = re.search(rb"(?i)content-length: *(\d+)", data[at:head])
        end = head + 4 + (int(length[1]) if length else 0)
        if end > len(data):
            return
        yield stream.when(at), stream.when(end - 1), bytes(data[at:end])
        at = end


EVENT = re.compile(rb'"e":"(\w+)","E":(\d+)')
UPDATE = re.compile(rb'"u":(\d+)')


def main(path, port, program):
    streams = defaultdict(Stream)
    for stamp, source, destination, sequence, payload in packets(path):
        streams[source, destination].take(stamp, sequence, payload)
    updates, market, orders = {}, [], []
    for (source, destination), stream in streams.items():
        upgraded = stream.bytes.startswith(b"HTTP/1.1 101") or b"pgrade: websocket" in stream.bytes[:2000]
        if source == port and upgraded:
            for first, _, text in frames(stream):
                event = EVENT.search(text[:200])
                if event and event[1] in (b"depthUpdate", b"aggTrade", b"bookTicker", b"markPriceUpdate"):
                    market.append((first, int(event[2])))
                    update = UPDATE.search(text) if event[1] == b"depthUpdate" else None
                    if update:
                        updates[int(update[1])] = first
        elif destination == port and upgraded:
            for _, last, text in frames(stream):
                if b'"order.place"' in text:
                    asked = json.loads(text)["params"]
                    orders.append((last, asked["newClientOrderId"], asked.get("reduceOnly") == "true"))
        elif destination == port:
            for _, last, text in requests(stream):
                if text.startswith(b"POST /fapi/v1/order"):
                    name = re.search(rb"newClientOrderId=([\w-]+)", text)[1].decode()
                    orders.append((last, name, b"reduceOnly=true" in text or b"reduceOnly=True" in text))
    if program == "nautilus":
        for at, name, _ in orders:
            named = re.search(r"u(\d+)-\d+$", name)
            if named and int(named[1]) in updates:
                print(at - updates[int(named[1])])
        return
    # The first frame of any kind whose event time lies behind a boundary that none before it had reached.
    crossed, reached = [], -1
    for first, event in sorted(market):
        if event // 100 > reached:
            reached = event // 100
            crossed.append(first)
    for at, name, reduces in orders:
        # The first order of an intent: those that follow it peg to quotes, not to boundaries.
        if reduces or not name.endswith("-1"):
            continue
        place = bisect.bisect_left(crossed, at) - 1
        if place >= 0 and at - crossed[place] < INTERVAL:
            print(at - crossed[place])


main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
