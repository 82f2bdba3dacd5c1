#!/usr/bin/env python3
"""Makes dmg images for check_dmg: make_dmg.py RAW OUT TYPES TABLE [SEGMENTS]

TYPES: comma-separated chunk types, used in turn: zero raw adc zlib bzip2 lzfse lzvn lzma
TABLE: xml, or rsrc for a resource fork. The encoders here share nothing with the decoders under
test; what they make is also read with 7-Zip where that is installed.
"""
import base64
import bz2
import lzma
import struct
import sys
import zlib

SECTOR = 512
CHUNK = 128 * SECTOR
CODES = {"zero": 0, "raw": 1, "adc": 0x80000004, "zlib": 0x80000005, "bzip2": 0x80000006,
         "lzfse": 0x80000007, "lzvn": 0x80000007, "lzma": 0x80000008}


def find_matches(data, least, most, reach, literals_most):
    """Greedy: (literals, match length, distance) until the data is used up."""
    seen, out, start, i = {}, [], 0, 0
    while i < len(data):
        key, length = bytes(data[i:i + 4]), 0
        j = seen.get(key, -1)
        if len(key) == 4 and j >= 0 and i - j <= reach:
            while i + length < len(data) and length < most and data[j + length] == data[i + length]:
                length += 1
        seen[key] = i
        if length >= least:
            out.append((bytes(data[start:i]), length, i - j))
            i += length
            start = i
        else:
            i += 1
            if i - start == literals_most:
                out.append((bytes(data[start:i]), 0, 0))
                start = i
    if start < len(data):
        out.append((bytes(data[start:]), 0, 0))
    return out


def adc(data):
    out = bytearray()
    for literals, length, distance in find_matches(data, 4, 67, 65536, 128):
        if literals:
            out.append(0x80 | len(literals) - 1)
            out += literals
        if not length:
            continue
        if length <= 18 and distance <= 1024:
            out.append(length - 3 << 2 | distance - 1 >> 8)
            out.append(distance - 1 & 255)
        else:
            out.append(0x40 | length - 4)
            out += struct.pack(">H", distance - 1)
    return bytes(out)


def lzvn_block(data):
    out, last = bytearray(), 0
    for literals, length, distance in find_matches(data, 4, 200, 65535, 200):
        while len(literals) > 3 or (literals and not length):
            n = min(len(literals), 271)
            out += bytes([0xe0 | n]) if n < 16 else bytes([0xe0, n - 16])
            out += literals[:n]
            literals = literals[n:]
        if not length:
            continue
        n = min(length, (10, 8, 6, 4)[len(literals)])
        top = len(literals) << 6 | n - 3 << 3
        if distance == last and literals:
            out.append(top | 6)
        elif distance == last:
            n = 0
        elif distance < 1536:
            out += bytes([top | distance >> 8, distance & 255])
        elif distance < 1 << 14 and len(literals) < 3:
            n = min(length, 34)
            out.append(0xa0 | len(literals) << 3 | n - 3 >> 2)
            out += struct.pack("<H", distance << 2 | n - 3 & 3)
        else:
            out += struct.pack("<BH", top | 7, distance)
        out += literals
        last, length = distance, length - n
        while length:
            n = min(length, 271)
            out += bytes([0xf0 | n]) if n < 16 else bytes([0xf0, n - 16])
            length -= n
    out += b"\x06" + bytes(7)
    return b"bvxn" + struct.pack("<II", len(data), len(out)) + bytes(out)


class Bits:
    """Bits are appended at the top; the reader takes them from there."""

    def __init__(self):
        self.value, self.n = 0, 0

    def put(self, value, n):
        self.value |= value << self.n
        self.n += n

    def done(self):
        size = max((self.n + 7) // 8, 8)
        if self.n < size * 8 - 7:  # the spare bits of the last byte are at most 7
            self.value <<= size * 8 - 7 - self.n
            self.n = size * 8 - 7
        return self.value.to_bytes(size, "little"), size * 8 - self.n


def normalise(counts, states):
    total = sum(counts)
    if not total:
        return counts
    freq = [max(1, c * states // total) if c else 0 for c in counts]
    while sum(freq) != states:
        i = freq.index(max(freq))
        freq[i] += 1 if sum(freq) < states else -1
    return freq


class Coder:
    """The states of one alphabet, used from the last symbol to the first."""

    def __init__(self, counts, states):
        self.freq, self.states, self.rows, at = normalise(counts, states), states, {}, 0
        for symbol, f in enumerate(self.freq):
            if not f:
                continue
            k = states.bit_length() - f.bit_length()
            wide = (2 * states >> k) - f
            for j in range(f):
                bits = k if j < wide else k - 1
                first = ((f + j) << k) - states if j < wide else (j - wide) << (k - 1)
                self.rows.setdefault(symbol, []).append((at, bits, first))
                at += 1

    def step(self, bits, state, symbol):
        for at, n, first in self.rows[symbol]:
            if first <= state < first + (1 << n):
                bits.put(state - first, n)
                return at
        raise ValueError("no state")


def ranges(extra):
    first, out = 0, []
    for n in extra:
        out.append((first, n))
        first += 1 << n
    return out


L = ranges([0] * 16 + [2, 3, 5, 8])
M = ranges([0] * 16 + [3, 5, 8, 11])
D = ranges([i // 4 for i in range(64)])


def symbol_of(table, value):
    for i, (first, n) in enumerate(table):
        if first <= value < first + (1 << n):
            return i, value - first, n
    raise ValueError(value)


def frequency_bits(f):
    if f < 2:
        return f << 1, 2
    if f < 4:
        return 1 | f - 2 << 2, 3
    if f < 8:
        return 3 | f - 4 << 3, 5
    if f < 24:
        return 7 | f - 8 << 4, 8
    return 15 | f - 24 << 4, 14


def counts_of(symbols, n):
    out = [0] * n
    for s in symbols:
        out[s] += 1
    return out


def entropy_block(data):
    matches = find_matches(data, 5, 2000, 200000, 300)
    text = b"".join(m[0] for m in matches)
    text += bytes(-len(text) % 4)
    rows, last = [], 0
    for literals, length, distance in matches:
        repeat = distance == last or not length
        rows.append((symbol_of(L, len(literals)), symbol_of(M, length),
                     symbol_of(D, 0 if repeat and last else distance or 1)))
        last = distance if length else last or 1
    byte = Coder(counts_of(text, 256), 1024)
    coders = [Coder(counts_of([r[i][0] for r in rows], n), s)
              for i, (n, s) in enumerate(((20, 64), (20, 64), (64, 256)))]
    bits, states = Bits(), [0] * 4
    for i in reversed(range(len(text))):
        states[i % 4] = byte.step(bits, states[i % 4], text[i])
    literal_bytes, literal_spare = bits.done()
    bits, lmd = Bits(), [0] * 3
    for row in reversed(rows):
        for i in (2, 1, 0):
            symbol, place, extra = row[i]
            bits.put(place, extra)
            lmd[i] = coders[i].step(bits, lmd[i], symbol)
    match_bytes, match_spare = bits.done()
    packed = Bits()
    for f in coders[0].freq + coders[1].freq + coders[2].freq + byte.freq:
        packed.put(*frequency_bits(f))
    table = packed.value.to_bytes((packed.n + 7) // 8, "little")
    x = len(text) | len(literal_bytes) << 20 | len(rows) << 40 | 7 - literal_spare << 60
    y = sum(s << 10 * i for i, s in enumerate(states)) | len(match_bytes) << 40 | 7 - match_spare << 60
    z = 32 + len(table) | lmd[0] << 32 | lmd[1] << 42 | lmd[2] << 52
    return (b"bvx2" + struct.pack("<IQQQ", len(data), x, y, z) + table + literal_bytes + match_bytes)


def lzfse(data):
    """Blocks of both kinds; one of them holds at most 40000 literals."""
    out, at = b"", 0
    while at < len(data):
        n = min(22000, len(data) - at)
        out += entropy_block(data[at:at + n])
        plain = data[at + n:at + n + 100]
        if plain:
            out += b"bvx-" + struct.pack("<I", len(plain)) + plain
        at += n + len(plain)
    return out + b"bvx$"


ENCODERS = {"raw": bytes, "zero": lambda d: b"", "adc": adc, "zlib": zlib.compress,
            "bzip2": bz2.compress, "lzfse": lzfse, "lzvn": lambda d: lzvn_block(d) + b"bvx$",
            "lzma": lambda d: lzma.compress(d, preset=1)}


def table(first, chunks, sectors):
    head = b"mish" + struct.pack(">IQQQII", 1, first, sectors, 0, 2056, 0)
    head = head.ljust(200, b"\0") + struct.pack(">I", len(chunks) + 1)
    body = b"".join(struct.pack(">IIQQQQ", *c) for c in chunks)
    return head + body + struct.pack(">IIQQQQ", 0xffffffff, 0, sectors, 0, 0, 0)


def property_list(tables):
    rows = "".join("<dict><key>Attributes</key><string>0x0050</string><key>Data</key><data>\n%s\n"
                   "</data><key>ID</key><string>%d</string><key>Name</key><string>part %d</string>"
                   "</dict>" % (base64.encodebytes(t).decode(), i, i)
                   for i, t in enumerate(tables))
    return ('<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST '
            '1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">\n<plist version="1.0"><dict>'
            '<key>resource-fork</key><dict><key>blkx</key><array>%s</array><key>plst</key><array/>'
            '</dict></dict></plist>\n' % rows).encode()


def resource_fork(tables):
    data = b"".join(struct.pack(">I", len(t)) + t for t in tables)
    return struct.pack(">IIII", 16, 16 + len(data), len(data), 0) + data


def trailer(data_len, running, number, count, xml, rsrc, sectors):
    t = b"koly" + struct.pack(">III", 4, 512, 1)
    t += struct.pack(">QQQQQ", running, 0, data_len, rsrc[0], rsrc[1])
    t += struct.pack(">II", number, count)
    t = t.ljust(216, b"\0") + struct.pack(">QQ", *xml)
    return t.ljust(488, b"\0") + struct.pack(">IQ", 1, sectors).ljust(24, b"\0")


def main():
    raw = open(sys.argv[1], "rb").read()
    out, types, kind = sys.argv[2], sys.argv[3].split(","), sys.argv[4]
    segments = int(sys.argv[5]) if len(sys.argv) > 5 else 1
    parts, tables, chunks, first, total = [bytearray()], [], [], 0, 0
    for i in range(0, len(raw), CHUNK):
        piece = raw[i:i + CHUNK]
        name = types[i // CHUNK % len(types)]
        if name == "zero" and any(piece):
            name = "raw"
        packed = ENCODERS[name](piece)
        chunks.append((CODES[name], 0, i // SECTOR - first, len(piece) // SECTOR, total, len(packed)))
        parts[-1] += packed
        total += len(packed)
        if len(chunks) == 20:
            tables.append(table(first, chunks, i // SECTOR + len(piece) // SECTOR - first))
            chunks, first = [], (i + len(piece)) // SECTOR
        if len(parts) < segments and i >= len(raw) * len(parts) // segments:
            parts.append(bytearray())
    if chunks:
        tables.append(table(first, chunks, len(raw) // SECTOR - first))
    stem, running = out.rsplit(".", 1)[0], 0
    for n, part in enumerate(parts):
        xml = rsrc = (0, 0)
        tail = b""
        if not n and kind == "xml":
            tail = property_list(tables)
            xml = (len(part), len(tail))
        elif not n:
            tail = resource_fork(tables)
            rsrc = (len(part), len(tail))
        path = out if not n else "%s.%03d.dmgpart" % (stem, n + 1)
        with open(path, "wb") as f:
            f.write(bytes(part) + tail + trailer(len(part), running, n + 1, len(parts), xml, rsrc,
                                                 len(raw) // SECTOR))
        running += len(part)


main()
