#!/usr/bin/env python3
"""Decodes updates, slowly and in plain Python: a second implementation of docs/wire-format.md, written from that page.

    decode.py --vectors FILE      FILE has lines of JSON: recipe, shape, parameters, payload, decoded (all bytes in hex). Decodes each
                                  payload and compares it with what the first implementation says; and refuses it when a byte is missing.
    decode.py --update FILE       prints what an update is made of: an update alone, or a file of fl-codec, whose tensors it decodes.

The levels of section 12 are read from the page itself. It checks what it reads far less than the first implementation does.
"""
import argparse
import json
import math
import os
import re
import struct
import sys
import zlib

PAGE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "docs", "wire-format.md")
MASK64 = (1 << 64) - 1


class Malformed(Exception):
    pass


def f32(x):
    """The nearest binary32 number."""
    return struct.unpack("<f", struct.pack("<f", x))[0]


def bits(x):
    return x.bit_length()


class Reader:
    """Reads bytes from the front."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, count):
        if count > len(self.data) - self.at:
            raise Malformed("the bytes end")
        self.at += count
        return self.data[self.at - count:self.at]

    def rest(self):
        return self.take(len(self.data) - self.at)

    def word(self, form):
        return struct.unpack("<" + form, self.take(struct.calcsize("<" + form)))[0]

    def bf16(self):
        value = struct.unpack("<f", b"\0\0" + self.take(2))[0]
        if not math.isfinite(value):
            raise Malformed("a bf16 that is not finite")
        return value

    def varint(self):
        value, shift = 0, 0
        while True:
            byte = self.word("B")
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    def text(self):
        return self.take(self.varint()).decode()

    def codes(self, count, width):
        """Codes of a fixed width, filled to a byte."""
        packed = int.from_bytes(self.take((count * width + 7) // 8), "little")
        out = [packed >> (i * width) & ((1 << width) - 1) for i in range(count)]
        if packed >> (count * width):
            raise Malformed("bits after the last code")
        return out

    def end(self):
        if self.at != len(self.data):
            raise Malformed("bytes are left over")


class BitReader:
    """Reads bits from a Reader, the lowest of a byte first."""

    def __init__(self, reader):
        self.reader, self.byte, self.used = reader, 0, 8

    def bit(self):
        if self.used == 8:
            self.byte, self.used = self.reader.word("B"), 0
        self.used += 1
        return self.byte >> (self.used - 1) & 1

    def number(self, width):
        return sum(self.bit() << i for i in range(width))

    def ones(self):
        count = 0
        while self.bit():
            count += 1
        return count

    def end(self):
        if self.byte >> self.used:
            raise Malformed("bits after the last one")


# Section 4: recipes.


def parse_recipe(text):
    """A list of (name, arguments, options)."""
    stages = []
    for part in text.split("|"):
        words = part.split()
        options = dict(word.split("=", 1) for word in words[1:] if "=" in word)
        stages.append((words[0], [word for word in words[1:] if "=" not in word], options))
    return stages


def product(extents):
    return math.prod(extents)


# Section 5: random streams.


def mix(x):
    x = (x + 0x9E3779B97F4A7C15) & MASK64
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 & MASK64
    x = (x ^ x >> 27) * 0x94D049BB133111EB & MASK64
    return x ^ x >> 31


def hash_name(name):
    h = 0xCBF29CE484222325
    for byte in name.encode():
        h = (h ^ byte) * 0x100000001B3 & MASK64
    return mix(h ^ mix(len(name)))


def child(key, purpose, index):
    return mix((mix(key ^ hash_name(purpose)) + mix(index)) & MASK64)


def philox(counter, key):
    x = [counter & 0xFFFFFFFF, counter >> 32, 0, 0]
    k = [key & 0xFFFFFFFF, key >> 32]
    for _ in range(10):
        p0, p1 = 0xD2511F53 * x[0], 0xCD9E8D57 * x[2]
        x = [(p1 >> 32) ^ x[1] ^ k[0], p1 & 0xFFFFFFFF, (p0 >> 32) ^ x[3] ^ k[1], p0 & 0xFFFFFFFF]
        k = [(k[0] + 0x9E3779B9) & 0xFFFFFFFF, (k[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return x


def words(key):
    counter = 0
    while True:
        yield from philox(counter, key)
        counter += 1


# Section 12: the levels, from the page.


def read_normal_levels():
    with open(PAGE, encoding="utf-8") as page:
        text = page.read()
    table = text.split("## 12.")[1].split("```")[1]
    levels, current = {}, None
    for line in table.strip().splitlines():
        head = re.fullmatch(r"(\d) bits", line.strip())
        if head:
            current = levels.setdefault(int(head.group(1)), [])
        else:
            current.extend(f32(float(word)) for word in line.split())
    return {b: [-x for x in reversed(row)] + row for b, row in levels.items()}


LEVELS = read_normal_levels()


# Section 6: values.


def read_values(stage, count, shape, reader):
    """What a value stage wrote for `count` values; shape is None where they are not a whole segment."""
    name, arguments, options = stage or ("raw", [], {})
    if name == "raw":
        return list(struct.unpack("<%df" % count, reader.take(4 * count)))
    if name == "fp16":
        return list(struct.unpack("<%de" % count, reader.take(2 * count)))
    if name == "bf16":
        return [reader.bf16() for _ in range(count)]
    if name == "natural":
        exponents = reader.take(count)
        signs = reader.codes(count, 1)
        return [(0.0 if e == 0 else math.ldexp(1, e - 127)) * (-1 if s else 1) for e, s in zip(exponents, signs)]
    if name == "quantize":
        return read_quantize(arguments, options, count, shape, reader)
    if name == "sign":
        return read_quantize(["1"], {}, count, shape, reader)
    if name == "lloyd":
        width = int(arguments[0])
        scale = reader.bf16()
        return [f32(scale * LEVELS[width][code]) for code in reader.codes(count, width)]
    if name == "eden":
        return read_eden(float(arguments[0]), int(options.get("block", 4096)), count, reader)
    raise Malformed("a value stage that this page does not know: " + name)


def read_quantize(arguments, options, count, shape, reader):
    width = int(arguments[0])
    per = options.get("per", "tensor")
    if per.startswith("group:"):
        group = int(per.split(":")[1])
        rest = {key: value for key, value in options.items() if key != "per"}
        out = []
        for first in range(0, count, group):
            out += read_quantize(arguments, rest, min(group, count - first), shape, reader)
        return out
    grids = []
    for _ in range(shape[-1] if per == "channel" else 1):
        word = reader.bf16()
        if "asymmetric" in arguments:
            grids.append((reader.bf16(), word, 0))
        elif width == 1:
            grids.append((f32(2 * word), -word, 0))
        else:
            grids.append((word, 0.0, (1 << (width - 1)) - 1))
    out = []
    for i, code in enumerate(reader.codes(count, width)):
        step, low, zero = grids[i % len(grids)]
        out.append(f32(f32((code - zero) * step) + low))
    return out


# Section 7.


def read_gaps(count, size, reader):
    """Indices below size."""
    if count == 0:
        return []
    q = 177 * size // (256 * count)
    width = 0 if q < 2 else bits(q) - 1
    packed, indices, index = BitReader(reader), [], -1
    for _ in range(count):
        gap = packed.ones() << width
        gap += packed.number(width)
        index += 1 + gap
        indices.append(index)
    packed.end()
    if index >= size:
        raise Malformed("an index beyond the block")
    return indices


def read_top_k(stage, count, reader):
    places = []
    for first in range(0, count, 65536):
        size = min(65536, count - first)
        places += [first + i for i in read_gaps(reader.varint(), size, reader)]
    out = [0.0] * count
    for place, value in zip(places, read_values(stage, len(places), None, reader)):
        out[place] = value
    return out


# Section 8: rotations.


def turn_back(values, signs):
    m, h = len(values), 1
    while h < m:
        for j in range(m):
            if j & h == 0:
                a, b = values[j], values[j + h]
                values[j], values[j + h] = f32(a + b), f32(a - b)
        h *= 2
    factor = f32(1 / math.sqrt(m))
    return [f32(v * factor) * (-1 if signs[i // 32] >> (i % 32) & 1 else 1) for i, v in enumerate(values)]


def turn_unit_back(values, seed, unit):
    s = len(values)
    m = 1 << (bits(s) - 1)
    stream = words(child(mix(seed), "rotation", unit))
    count = (m + 31) // 32
    first = [next(stream) for _ in range(count)]
    if s > m:
        values = values[:s - m] + turn_back(values[s - m:], [next(stream) for _ in range(count)])
    return turn_back(values[:m], first) + values[m:]


def turn_row_back(values, seed, block):
    out = []
    for unit, first in enumerate(range(0, len(values), block)):
        out += turn_unit_back(values[first:first + block], seed, unit)
    return out


def read_eden(rate, block, count, reader):
    seed = reader.word("I")
    low = math.floor(rate)
    out = []
    for unit, first in enumerate(range(0, count, block)):
        s = min(block, count - first)
        high = min(s, 8 * math.ceil((rate - low) * s / 8))
        scale = reader.bf16()
        ordered = [f32(scale * LEVELS[low + 1][code]) for code in reader.codes(high, low + 1)]
        if low > 0:
            ordered += [f32(scale * LEVELS[low][code]) for code in reader.codes(s - high, low)]
        else:
            ordered += [0.0] * (s - high)
        if high > 0:
            stream = words(child(mix(seed), "places", unit))
            a, b = next(stream) | 1, next(stream)
            modulus = 1 << bits(s - 1)
            places = [p for p in ((b + i * a) % modulus for i in range(modulus)) if p < s]
            values = [0.0] * s
            for j, place in enumerate(places):
                values[place] = ordered[j]
        else:
            values = ordered
        out += turn_unit_back(values, seed, unit)
    return out


# Section 9.


def multiply(left, right, rows, columns, rank):
    """Row by row; left is rows x rank, right rank x columns."""
    out = []
    for i in range(rows):
        for j in range(columns):
            total = f32(left[i * rank] * right[j])
            for k in range(1, rank):
                total = f32(total + f32(left[i * rank + k] * right[k * columns + j]))
            out.append(total)
    return out


def read_levels_of_width(count, width, reader):
    return [code - ((1 << (width - 1)) - 1) for code in reader.codes(count, width)]


def read_low_rank(head, values, shape, reader):
    columns = shape[-1]
    rows = product(shape) // columns
    rank = min(int(head[1][0]), rows, columns) if head[1] else reader.word("B")
    if rank == 0:
        return [0.0] * (rows * columns)
    if values and values[0] == "quantize" and "step" in values[2]:
        left, right = read_factors(rows, columns, rank, reader.rest())
    elif values and values[0] == "quantize" and len(values[1]) == 1 and values[1] != ["1"] and "group" not in values[2].get("per", ""):
        width = int(values[1][0])
        left = read_levels_of_width(rows * rank, width, reader)
        scales = [reader.bf16() for _ in range(rank)]
        right = read_levels_of_width(rank * columns, width, reader)
        right = [f32(level * scales[i // columns]) for i, level in enumerate(right)]
    else:
        left = read_values(values, rows * rank, None, reader)
        right = [v for _ in range(rank) for v in read_values(values, columns, None, reader)]
    return multiply(left, right, rows, columns, rank)


# Section 17: one factor, and a basis from the round's parameters.


def dot(a, b):
    lanes = [0.0] * 8
    for i, (x, y) in enumerate(zip(a, b)):
        lanes[i % 8] += x * y
    total = 0.0
    for lane in lanes:
        total += lane
    return total


def first_basis(seed, rank, length):
    stream = words(child(mix(seed), "basis", 0))
    rows = [[(next(stream) >> 8) / 2.0**24 - 0.5 for _ in range(length)] for _ in range(rank)]
    for k, row in enumerate(rows):
        for _ in range(2):
            for other in rows[:k]:
                share = dot(row, other)
                row = [f32(x - share * y) for x, y in zip(row, other)]
        factor = 1.0 / math.sqrt(dot(row, row))
        rows[k] = [f32(factor * x) for x in row]
    return rows


def read_low_rank_shared(head, values, shape, reader, parameters):
    columns = shape[-1]
    rows = product(shape) // columns
    rank, seed, side = int(head[1][0]), parameters.word("Q"), parameters.word("B")
    length, sent = (columns, rows) if side == 0 else (rows, columns)
    basis = [list(struct.unpack("<%df" % length, parameters.take(4 * length))) for _ in range(rank)]
    if any(parameters.take(4 * rank * (max(rows, columns) - length))):
        raise Malformed("bytes behind the basis")
    if seed == 1 and basis != first_basis(seed, rank, length):
        raise Malformed("a first basis that does not follow from its seed")
    if values and values[0] == "quantize" and "step" in values[2]:
        factor = read_factor(sent, rank, reader.rest())
    else:
        factor = [read_values(values, sent, None, reader) for _ in range(rank)]
    left, right = (factor, basis) if side == 0 else (basis, factor)
    return multiply([row[i] for i in range(rows) for row in left], [v for row in right for v in row], rows, columns, rank)


def read_tucker(head, values, shape, reader):
    places, inputs, outputs = shape[0] * shape[1], shape[2], shape[3]
    rank_in = min(int(head[1][0]), inputs, places * outputs)
    rank_out = min(int(head[1][1]), outputs, places * rank_in)
    left = read_values(values, inputs * rank_in, None, reader)
    right = read_values(values, outputs * rank_out, None, reader)
    core = read_values(values, places * rank_in * rank_out, None, reader)
    right = [right[o * rank_out + b] for b in range(rank_out) for o in range(outputs)]
    out = []
    for place in range(places):
        of_place = core[place * rank_in * rank_out : (place + 1) * rank_in * rank_out]
        mixed = multiply(left, of_place, inputs, rank_out, rank_in)
        out += multiply(mixed, right, inputs, outputs, rank_out)
    return out


# Section 11: adaptive range codes.


class Chance:
    """An adaptive bit."""

    def __init__(self, chance=32768, seen=0):
        self.place, self.seen = chance << 6, seen

    def value(self):
        return max(self.place >> 6, 1)

    def learn(self, bit):
        target = (1 << 22) - 1 if bit else 0
        self.place += (target - self.place) * (131072 // (2 * self.seen + 3)) >> 16
        self.seen = min(self.seen + 1, 1023)


class RangeDecoder:
    def __init__(self, data):
        self.data, self.at, self.range, self.code = data, 0, 0xFFFFFFFF, 0
        for _ in range(4):
            self.code = self.code << 8 | self.digit()

    def digit(self):
        self.at += 1
        return self.data[self.at - 1] if self.at <= len(self.data) else 0

    def renew(self):
        while self.range < 1 << 24:
            self.code = self.code << 8 | self.digit()
            self.range <<= 8

    def bit(self, model):
        zeros = (self.range >> 16) * (65536 - model.value())
        bit = self.code >= zeros
        if bit:
            self.code -= zeros
            self.range -= zeros
        else:
            self.range = zeros
        model.learn(bit)
        self.renew()
        return bit

    def uniform(self, width):
        value = 0
        while width > 16:
            value = value << 16 | self.part(16)
            width -= 16
        return value << width | self.part(width)

    def part(self, width):
        self.range >>= width
        value = self.code // self.range
        if value >> width:
            raise Malformed("not a number that an encoder writes")
        self.code -= value * self.range
        self.renew()
        return value


class Number:
    """An adaptive number."""

    def __init__(self):
        self.above = [Chance() for _ in range(14)]
        self.longer = [Chance() for _ in range(32)]

    def read(self, decoder, most):
        for i in range(min(14, most)):
            if not decoder.bit(self.above[i]):
                return i
        if most <= 14:
            return most
        b, longest = 0, bits(most - 13) - 1
        while b < longest and decoder.bit(self.longer[b]):
            b += 1
        value = 13 + (1 << b) + decoder.uniform(b)
        if value > most:
            raise Malformed("a number beyond its largest")
        return value


class Level:
    """An adaptive level."""

    def __init__(self):
        self.nonzero, self.number = Chance(), Number()

    def read(self, decoder, most):
        if most == 0 or not decoder.bit(self.nonzero):
            return 0
        negative = decoder.uniform(1)
        magnitude = self.number.read(decoder, most - 1) + 1
        return -magnitude if negative else magnitude


def sign_of(x):
    return (x > 0) - (x < 0)


class Side:
    """Section 11.4: one side's levels, through all directions."""

    def __init__(self, length, lag):
        near = [[1600, 17200, 34200, 56700], [14500, 26700, 37900, 51800], [18000, 28800, 37200, 48100]]
        alone = [[11800], [23200], [26800]]
        self.lag, self.before = lag, [0] * length
        self.nonzero = [[Chance(c, 6) for c in row] for row in (near if lag else alone)]
        self.against = [Chance(c, 6) for c in (10100, 2800, 500)]
        self.large = [Chance(c, 6) for c in (2600, 6200, 19400, 36200)]
        self.number = Number()

    def read(self, decoder):
        levels = []
        for i in range(len(self.before)):
            places = [i - 1] if self.lag else []
            places += [i - self.lag, i - self.lag + 1] if self.lag > 1 else []
            near = [levels[p] if p >= 0 else 0 for p in places]
            if not decoder.bit(self.nonzero[self.before[i]][sum(level != 0 for level in near)]):
                levels.append(0)
                continue
            signs = sum(sign_of(level) for level in near)
            if signs == 0:
                negative = decoder.uniform(1) == 1
            else:
                negative = decoder.bit(self.against[abs(signs) - 1]) != (signs < 0)
            large = hold(sum(abs(level) for level in near[:2]) - 1, 0, 3)
            magnitude = self.number.read(decoder, 38) + 2 if decoder.bit(self.large[large]) else 1
            levels.append(-magnitude if negative else magnitude)
            self.before[i] = min(self.before[i] + 1, 2)
        return levels


def read_lag(decoder):
    return decoder.uniform(8) + 1 if decoder.bit(Chance(16384, 1)) else 0


def factor_scale(index):
    step = [1.0, float.fromhex("0x1.306FE0p0"), float.fromhex("0x1.6A09E6p0"), float.fromhex("0x1.AE89FAp0")]
    return math.ldexp(step[(index - 192) % 4], (index - 192) // 4)


def read_factor(length, rank, data):
    """One side of section 11.4."""
    decoder = RangeDecoder(data)
    side = Side(length, read_lag(decoder))
    factor = []
    for _ in range(rank):
        index = decoder.uniform(8)
        factor.append([f32(factor_scale(index) * level) for level in side.read(decoder)] if index else [0.0] * length)
    return factor


def read_factors(rows, columns, rank, data):
    """Section 11.4."""
    decoder = RangeDecoder(data)
    lags = [read_lag(decoder) for _ in range(2)]
    sides = [Side(rows, lags[0]), Side(columns, lags[1])]
    left, right = [0.0] * (rows * rank), [0.0] * (rank * columns)
    for k in range(rank):
        index = decoder.uniform(8)
        if index == 0:
            continue
        scale = factor_scale(index)
        for i, level in enumerate(sides[0].read(decoder)):
            left[i * rank + k] = float(level)
        for j, level in enumerate(sides[1].read(decoder)):
            right[k * columns + j] = f32(scale * level)
    return left, right


# Section 10: levels through an entropy stage.


def read_plain(count, most, reader):
    if most > 1:
        return [code - most for code in reader.codes(count, bits(2 * most))]
    levels = []
    for byte in reader.take((count + 4) // 5):
        for _ in range(5):
            levels.append(byte % 3 - 1)
            byte //= 3
    return levels[:count]


def read_rice(count, most, reader):
    nonzeros = reader.varint()
    signs = reader.codes(nonzeros, 1)
    places = read_gaps(nonzeros, count, reader)
    packed, levels = BitReader(reader), [0] * count
    for place, sign in zip(places, signs):
        magnitude = 1
        if most > 1:
            b = packed.ones()
            magnitude = (1 << b) + packed.number(b)
        levels[place] = -magnitude if sign else magnitude
    packed.end()
    return levels


# Section 11.3.


def log8(x):
    top = bits(x) - 1
    return 8 * top + ((x >> (top - 3) if top >= 3 else x << (3 - top)) & 7)


def mean_of(kind):
    return max(([1097253, 1304878, 1551792, 1845427][kind % 4] << (kind // 4)) >> 24, 1)


def hold(x, least, most):
    return min(max(x, least), most)


def bucket(x):
    return hold((x + 35) // 6, 0, 10)


def scaled(x, place):
    e = 64 + int((6 * place - 32) * 3 / 4)
    return (x * [256, 279, 304, 332, 362, 395, 431, 470][e % 8] // 256 << (e // 8)) >> 8


def first_bit(x):
    chance = hold((x << 16) // ((1 << 20) + x), 1, 65535)
    return Chance(chance, hold(131072 // chance, 8, 1000))


def place_bit(rest, c):
    share = [8, 13, 22, 38, 64, 108, 181, 304, 512][c]
    return Chance((share << 16) // (share + 64 * rest), 32)


def read_context(count, first, columns, most, kind, data):
    """A part of `count` levels that begins at level `first` of the array."""
    decoder = RangeDecoder(data)
    m = mean_of(kind)
    u, v = 4 + (3 << 18) // m, 8 + (1 << 18) // m
    w = 8 if m >= 1 << 14 else 16 if m >= 1 << 12 else 32
    grouped = m < 1 << 16 and columns > 1
    cells = [[scaled(scaled(m, a), b) for b in range(11)] for a in range(11)]
    nonzero = [[first_bit(x) for x in row] for row in cells]
    group_bits = [[first_bit(w * x) for x in row] for row in cells]
    place_bits = [[place_bit(w - 1 - place, c) for c in range(9)] for place in range(w)]
    numbers = [Number() for _ in range(6)]
    sums, levels = [0] * columns, []
    rows, row_sum, rho, column = 0, 0, m, first % columns

    def column_bucket():
        return bucket(log8((sums[column] << 20) + u * m) - log8(rows + u) - log8(m))

    def row_bucket():
        return bucket(log8((row_sum << 20) + v * rho) - log8(column + v) - log8(m))

    def read_level(a, b):
        negative = decoder.uniform(1)
        magnitude = numbers[(a + b) // 4].read(decoder, most - 1) + 1
        return -magnitude if negative else magnitude

    while len(levels) < count:
        width = min(w, columns - column // w * w) if grouped else 1
        begin = column // w * w
        size = min(begin + width - column if grouped else 1, count - len(levels))
        any_level, group_log = True, 0
        if grouped:
            group_log = log8((sum(sums[begin:begin + width]) << 20) + u * m * width) - log8(width)
            a = bucket(group_log - log8(rows + u) - log8(m))
            any_level = decoder.bit(group_bits[a][row_bucket()])
        found = not grouped
        for rest in reversed(range(size)):
            level = 0
            if any_level:
                a, b = column_bucket(), row_bucket()
                if found:
                    there = decoder.bit(nonzero[a][b])
                elif rest > 0:
                    c = hold((log8((sums[column] << 20) + u * m) - group_log + 27) // 6, 0, 8)
                    there = decoder.bit(place_bits[w - 1 - rest][c])
                else:
                    there = True
                if there:
                    found = True
                    level = read_level(a, b)
                    sums[column] += min(abs(level), 15)
                    row_sum += min(abs(level), 15)
            levels.append(level)
            column += 1
        if column == columns:
            rho = max((rho + (row_sum << 20) // columns) // 2, 1)
            rows, row_sum, column = rows + 1, 0, 0
    return levels


# Section 10.4.


def rans_weight(x):
    return round((1 << 22) * 2 ** (-(x % 32) / 32)) >> (x // 32)


def read_rans_table(most, data):
    """Symbols and their numbers of slots, in the order of the slots; the symbol "larger" is None."""
    decoder = RangeDecoder(data)
    occurs, differences = [Chance() for _ in range(3)], [Level() for _ in range(3)]
    classes = {}

    def read_class(symbol, kind, expected):
        occurring = decoder.bit(occurs[kind])
        classes[symbol] = expected + differences[kind].read(decoder, 200) if occurring else 0

    top = decoder.uniform(7)
    read_class(0, 0, 0)
    for k in range(1, top + 1):
        read_class(k, 1, classes[k - 1])
        read_class(-k, 2, classes[k])
    if most > 127:
        read_class(None, 0, classes[top])
    octave = 16 if top <= 3 else 8 if top <= 7 else 4 if top <= 31 else 2
    order = [k for k in range(-top, top + 1) if classes[k]] + ([None] if classes.get(None) else [])
    weights = [rans_weight((classes[k] - 1) * 32 // octave) for k in order]
    slots = [max((w * 4096 + sum(weights) // 2) // sum(weights), 1) for w in weights]
    while sum(slots) != 4096:
        slots[slots.index(max(slots))] += 1 if sum(slots) < 4096 else -1
    return list(zip(order, slots))


def read_rans(count, table, reader):
    states = [reader.word("I") for _ in range(4 if count >= 32768 else 1)]
    slots = []
    for symbol, number in table:
        slots += [(symbol, number, place) for place in range(number)]

    def take(at, number, place):
        states[at] = number * (states[at] // 4096) + place
        if states[at] < 1 << 16:
            states[at] = states[at] << 16 | reader.word("H")

    levels = []
    for i in range(count):
        at = i % len(states)
        symbol, number, place = slots[states[at] % 4096]
        take(at, number, place)
        if symbol is None:
            pair = []
            for _ in range(2):
                slot = states[at] % 4096
                pair.append(slot // 16)
                take(at, 16, slot % 16)
            symbol = 256 * pair[0] + pair[1] - 32768
        levels.append(symbol)
    if any(state != 1 << 16 for state in states):
        raise Malformed("states that do not end where they began")
    return levels


def read_trits(count, reader):
    levels = []
    while len(levels) < count:
        byte = reader.word("B")
        if byte >= 243:
            levels += [0] * (5 * (byte - 241))
        else:
            for _ in range(5):
                levels.append(byte % 3 - 1)
                byte //= 3
    if any(levels[count:]) or len(levels) >= count + 5:
        raise Malformed("more trits than levels")
    return levels[:count]


def read_coded_levels(code, count, columns, most, data):
    if not data:
        return [0] * count
    reader = Reader(data)
    if code == 0:
        levels = read_plain(count, most, reader)
        reader.end()
        return levels
    kind = reader.word("B")
    k = kind % 128
    table = None
    if code == 2:
        if kind >= 128:
            levels = read_plain(count, most, reader)
            reader.end()
            return levels
        table = read_rans_table(most, reader.take(reader.varint()))
    price = 26 - k // 4 if k < 96 else 2
    t = max((65536 * mean_of(k) * price) >> 23, 1)
    size = 65536 * (((1400 if code == 3 else 700) + t - 1) // t)
    parts = max(count // size, 1)
    lengths = [reader.varint() for _ in range(parts)] if parts > 1 else [2 * (len(data) - reader.at) + kind // 128]
    levels = []
    for i, length in enumerate(lengths):
        part = Reader(reader.take(length // 2))
        here = size if i + 1 < parts else count - i * size
        if length % 2:
            levels += read_plain(here, most, part)
        elif code == 1:
            levels += read_rice(here, most, part)
        elif code == 2:
            levels += read_rans(here, table, part)
        elif code == 4:
            levels += read_trits(here, part)
        else:
            levels += read_context(here, i * size, columns, most, k, part.rest())
        part.end()
    reader.end()
    return levels


def read_level_payload(stages, shape, reader):
    count = product(shape)
    if not reader.data:
        return [0.0] * count
    names = [stage[0] for stage in stages]
    value = next(stage for stage in stages if stage[0] in ("dead_zone", "quantize", "ternary"))
    step = reader.bf16()
    offsets = (reader.word("b"), reader.word("b")) if value[0] == "dead_zone" else (0, 0)
    known = {"pack": 0, "rice": 1, "rans": 2, "context": 3, "trits": 4}
    code = known[names[-1]] if names[-1] in known else reader.word("B")
    most = 32767
    if value[0] == "ternary":
        most = 1
    elif value[0] == "quantize" and "step" not in value[2]:
        most = (1 << (int(value[1][0]) - 1)) - 1
    columns = shape[-1] if len(shape) >= 2 and shape[-1] <= 131072 else 64
    out = []
    for level in read_coded_levels(code, count, columns, most, reader.rest()):
        m = abs(level)
        size = 0.0 if m == 0 else f32(step * f32((256 * m + offsets[0 if m == 1 else 1]) / 256))
        out.append(-size if level < 0 else size)
    return out


# Section 14: masks that all clients share.


def draw_below(stream, bound):
    while True:
        low = next(stream)
        product_128 = (low | next(stream) << 32) * bound
        if product_128 & MASK64 >= ((1 << 64) - bound) % bound:
            return product_128 >> 64


def draw_subset(key, total, keep):
    stream = words(key)
    taken = set()
    for j in range(total - keep, total):
        drawn = draw_below(stream, j + 1)
        taken.add(j if drawn in taken else drawn)
    return sorted(taken)


def share_of(text, total):
    return min(max(math.ceil(float(text[:-1]) / 100 * total), 1), total)


def read_kept(kept, factor, stages, count, reader, parameters):
    """The values of the coordinates `kept`, by the rest of the recipe, at their places."""
    rest = stages[1:] or [("raw", [], {})]
    out = [0.0] * count
    for i, value in zip(kept, read_segment(rest, [len(kept)], reader, parameters), strict=True):
        out[i] = f32(factor * value)
    return out


def read_shared_mask(stages, count, reader, parameters):
    _, arguments, options = stages[0]
    block = int(options.get("block", 64))
    total = -(-count // block)
    keep = share_of(arguments[0], total)
    blocks = draw_subset(child(mix(parameters.word("Q")), "shared_mask", 0), total, keep)
    kept = [i for b in blocks for i in range(b * block, min((b + 1) * block, count))]
    factor = f32(total / keep) if "unbiased" in arguments else 1.0
    return read_kept(kept, factor, stages, count, reader, parameters)


def read_announced(stages, count, reader, parameters):
    _, arguments, options = stages[0]
    kept = share_of(arguments[0], count)
    explored = min(kept, math.ceil(float(options.get("explore", "20%")[:-1]) / 100 * kept))
    announced = kept - explored
    width = (count // announced).bit_length() - 1 if announced else 0
    seed = parameters.word("Q")
    low = int.from_bytes(parameters.take((announced * width + 7) // 8), "little")
    high_bits = announced + (count >> width) + 1
    high = int.from_bytes(parameters.take((high_bits + 7) // 8), "little")
    places = []
    for bit in range(high_bits):
        if high >> bit & 1:
            i = len(places)
            places.append((bit - i << width) + (low >> i * width & (1 << width) - 1))
    known = set(places)
    others = [i for i in range(count) if i not in known]
    key = child(mix(seed), "explore", 0)
    places += [others[rank] for rank in draw_subset(key, len(others), explored)]
    return read_kept(sorted(places), 1.0, stages, count, reader, parameters)


# Section 16.


def read_sketch(stages, count, reader, parameters):
    _, arguments, options = stages[0]
    rows, columns = map(int, arguments[0].split("x"))
    cells = read_segment(stages[1:] or [("raw", [], {})], [rows, columns], reader, parameters)
    prime = (1 << 31) - 1
    hashes = []
    for row in range(rows):
        stream = words(child(mix(int(options.get("seed", 1))), "count_sketch", row))
        hashes.append([draw_below(stream, prime) for _ in range(4)])
    out = []
    for i in range(count):
        told = []
        for row, (a0, a1, a2, a3) in enumerate(hashes):
            v = (a0 + a1 * i + a2 * i ** 2 + a3 * i ** 3) % prime
            cell = cells[row * columns + ((v >> 1) * columns >> 30)]
            told.append(-cell if v & 1 else cell)
        told.sort()
        low, high = told[(rows - 1) // 2], told[rows // 2]
        out.append(low if rows % 2 else f32(f32(low / 2) + f32(high / 2)))
    return out


# A change on a lattice: docs/protocol.md, section 5.2.


def read_lattice_change(shapes, data):
    """Its fineness, and the integers of all tensors."""
    reader = Reader(data)
    if reader.take(3) != b"FLL" or reader.word("B") != 2:
        raise Malformed("not a change on a lattice of version 2")
    fineness, shift = reader.word("B"), reader.word("B")
    if reader.varint() != sum(product(shape) for shape in shapes):
        raise Malformed("a change for another model")
    most = 1 << (19 + fineness) >> shift
    levels = []
    for shape in shapes:
        code = reader.take(reader.varint())
        count, columns = product(shape), shape[-1] if shape else 1
        levels += read_context(count, 0, columns, most, code[0], code[1:]) if code else [0] * count
    reader.end()
    return fineness, [level << shift for level in levels]


# All of a segment.


def has_levels(stages):
    names = [stage[0] for stage in stages]
    if "low_rank" in names:
        return False
    if "dead_zone" in names or "ternary" in names:
        return True
    quantize = [stage for stage in stages if stage[0] == "quantize"]
    return bool(quantize) and (names[-1] in ("rice", "rans", "context", "trits") or "step" in quantize[0][2])


def decode_payload(recipe, shape, payload, parameters=b""):
    """The values of a segment."""
    reader, shared = Reader(payload), Reader(parameters)
    parts = recipe.split("+")
    values = None
    for i, part in enumerate(parts):
        own = Reader(reader.take(reader.varint()) if i + 1 < len(parts) else reader.rest())
        read = read_segment(parse_recipe(part), shape, own, shared)
        own.end()
        values = read if values is None else [f32(a + b) for a, b in zip(values, read)]
    reader.end()
    return values


def read_segment(stages, shape, reader, parameters):
    if stages[0][0] == "shared_mask":
        return read_shared_mask(stages, product(shape), reader, parameters)
    if stages[0][0] == "announced":
        return read_announced(stages, product(shape), reader, parameters)
    if stages[0][0] == "sketch":
        return read_sketch(stages, product(shape), reader, parameters)
    if stages[0][0] == "auto":
        return read_auto(shape, reader)
    if has_levels(stages):
        return read_level_payload(stages, shape, reader)
    if stages[-1][0] == "pack":
        stages = stages[:-1]
    return read_stages(stages, shape, reader, parameters)


# Section 15: a choice, and a payload of what it stands for. Steps and shares do not matter.


def read_auto(shape, reader):
    if not reader.data:
        return [0.0] * product(shape)
    choice = reader.word("B")
    if choice > 64:
        recipe = "low_rank %d | quantize step=1 | context" % (choice - 64)
    else:
        recipe = ["raw", "dead_zone 1 | context", "top_k 1% | ternary | context", "quantize step=1 | context"][choice]
    return decode_payload(recipe, shape, reader.rest())


def read_stages(stages, shape, reader, parameters):
    count = product(shape)
    name, arguments, options = stages[0]
    rest = stages[1] if len(stages) > 1 else None
    if name == "top_k":
        return read_top_k(rest, count, reader)
    if name == "low_rank" and options.get("basis") == "shared":
        return read_low_rank_shared(stages[0], rest, shape, reader, parameters)
    if name == "low_rank":
        return read_low_rank(stages[0], rest, shape, reader)
    if name == "tucker":
        return read_tucker(stages[0], rest, shape, reader)
    if name == "hadamard":
        seed = (parameters if options.get("seed") == "shared" else reader).word("I")
        return turn_row_back(read_stages(stages[1:] or [("raw", [], {})], shape, reader, parameters), seed, int(arguments[0]))
    if name == "quantize" and options.get("scale") == "shared":
        width = int(arguments[0])
        zero = (1 << (width - 1)) - 1
        step = f32(parameters.word("f") / zero)
        return [f32((code - zero) * step) for code in reader.codes(count, width)]
    return read_values(stages[0], count, shape, reader)


# Sections 3 and 13: updates and files.


def read_update(data):
    """The header's fields and the payloads: (stream, segment, bytes)."""
    if zlib.crc32(data[:-4]) != struct.unpack("<I", data[-4:])[0]:
        raise Malformed("the update's CRC does not match")
    reader = Reader(data[:-4])
    if reader.take(4) != b"FLU\x01":
        raise Malformed("not an update of version 1")
    update = {"task": reader.word("Q"), "base": reader.word("Q"), "recipe": reader.word("Q"), "examples": reader.varint()}
    streams = reader.varint()
    if zlib.crc32(data[:reader.at]) != reader.word("I"):
        raise Malformed("the header's CRC does not match")
    payloads = []
    for _ in range(streams):
        stream = reader.varint()
        segment, entries = -1, []
        for _ in range(reader.varint()):
            segment += 1 + reader.varint()
            entries.append((stream, segment, reader.varint()))
        payloads += [(s, i, reader.take(size)) for s, i, size in entries]
    reader.end()
    return update, payloads


def glob(pattern, name):
    return re.fullmatch("".join({"*": ".*", "?": "."}.get(c, re.escape(c)) for c in pattern), name, re.S) is not None


def cut_segments(layout, rules, gather_below, gathered):
    """Section 4: (name, shape, recipe, tensors)."""
    segments, small = [], []
    for name, shape in layout:
        recipe = next((recipe for pattern, recipe in rules if glob(pattern, name)), "raw")
        lossless = "+" not in recipe and all(stage[0] in ("raw", "pack") for stage in parse_recipe(recipe))
        if product(shape) < gather_below and not lossless:
            small.append((name, shape))
        else:
            segments.append((name, shape, recipe, [(name, shape)]))
    if small:
        segments.append(("gathered", [sum(product(shape) for _, shape in small)], gathered, small))
    return segments


def read_file(data):
    reader = Reader(data)
    if reader.take(4) != b"FLC\x01":
        raise Malformed("not a file of fl-codec, version 1")
    layout = [(reader.text(), [reader.varint() for _ in range(reader.varint())]) for _ in range(reader.varint())]
    gather_below, gathered = reader.varint(), reader.text()
    rules = [(reader.text(), reader.text()) for _ in range(reader.varint())]
    if zlib.crc32(data[:reader.at]) != reader.word("I"):
        raise Malformed("the head's CRC does not match")
    return cut_segments(layout, rules, gather_below, gathered), reader.rest()


# The two commands.


def same(a, b):
    return len(a) == len(b) and all(x == y for x, y in zip(a, b))


def check_vectors(path):
    count, failures, recipes = 0, 0, set()
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            vector = json.loads(line)
            if "change" in vector:
                count += 1
                found = read_lattice_change(vector["shapes"], bytes.fromhex(vector["change"]))
                if found != (vector["fineness"], vector["levels"]):
                    failures += 1
                    print("differs: a change on a lattice of fineness %d" % vector["fineness"])
                continue
            shape = vector["shape"]
            payload, parameters = bytes.fromhex(vector["payload"]), bytes.fromhex(vector["parameters"])
            decoded = bytes.fromhex(vector["decoded"])
            wanted = struct.unpack("<%df" % (len(decoded) // 4), decoded)
            try:
                agrees = same(decode_payload(vector["recipe"], shape, payload, parameters), wanted)
            except (Malformed, KeyError, ValueError, StopIteration) as error:
                print("%s on %s: %r" % (vector["recipe"], shape, error))
                agrees = False
            count += 1
            recipes.add(vector["recipe"])
            if not agrees:
                failures += 1
                print("differs: %s on %s" % (vector["recipe"], "x".join(map(str, shape))))
    print("%d vectors of %d recipes, %d differ" % (count, len(recipes), failures))
    return 1 if failures or count == 0 else 0


def print_update(path):
    with open(path, "rb") as file:
        data = file.read()
    segments = None
    if data[:3] == b"FLC":
        segments, data = read_file(data)
    update, payloads = read_update(data)
    print("update of %d bytes: examples %d, recipe %016x" % (len(data), update["examples"], update["recipe"]))
    for stream, index, payload in payloads:
        line = "stream %d segment %d: %d bytes" % (stream, index, len(payload))
        if segments and stream == 0:
            name, shape, recipe, _ = segments[index]
            values = decode_payload(recipe, shape, payload)
            line += ", %s %s, %s: norm %.6g" % (name, "x".join(map(str, shape)), recipe, math.sqrt(math.fsum(v * v for v in values)))
        print(line)
    return 0


def main():
    parser = argparse.ArgumentParser(description="Decodes updates by docs/wire-format.md.")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--vectors", metavar="FILE", help="compare with lines of JSON")
    what.add_argument("--update", metavar="FILE", help="print an update or a file of fl-codec")
    arguments = parser.parse_args()
    try:
        return check_vectors(arguments.vectors) if arguments.vectors else print_update(arguments.update)
    except Malformed as error:
        print("decode.py: %s" % error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
