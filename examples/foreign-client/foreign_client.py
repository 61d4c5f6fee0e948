#!/usr/bin/env python3
"""A client of fl in another language: Python's standard library and curl, nothing of ours.

Written from docs/protocol.md and docs/wire-format.md alone; the numbers of their sections stand beside what follows them. It
takes part in a federation whose plan has dense layers with ReLU between them and sends its updates as plain fp32 (`raw`).

  foreign_client.py --server HOST:PORT --pki DIR --data TABLE.csv.gz [--in-pieces] [--protocol N] [--report FILE]

DIR holds ca.crt, client.crt and client.key as fl-pki writes them. It ends with status 0 when the server says that all is
done, and writes what it did to FILE as JSON; with status 3 when the two speak different versions of the protocol.
"""

import argparse
import csv
import gzip
import hashlib
import json
import math
import random
import struct
import subprocess
import sys
import tempfile
import time
import tomllib
import zlib
from pathlib import Path

PROTOCOL = 1  # Section 3.
FORMAT = 1  # Of an update: section 6.
STAGE_RAW = 1  # Section 3.1.
KIND_TRAIN = 1
STREAM_DELTA, STREAM_METRICS = 0, 1
MASK = (1 << 64) - 1


class WrongVersion(Exception):
    pass


class Refused(Exception):
    def __init__(self, code, message):
        super().__init__(f"refused with code {code}: {message}")
        self.code = code


# ---- Section 2: notation ----


def varint(value):
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


class Reader:
    """Takes a message apart; what is left over is an error."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, count):
        if count > len(self.data) - self.at:
            raise ValueError("the message ends too early")
        self.at += count
        return self.data[self.at - count : self.at]

    def number(self, width):
        return int.from_bytes(self.take(width), "little")

    def varint(self):
        value = shift = 0
        while True:
            byte = self.number(1)
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    def flag(self):
        return {0: False, 1: True}[self.number(1)]

    def text(self):
        return self.take(self.varint()).decode()

    def optional(self, read):
        return read() if self.flag() else None

    def end(self):
        if self.at != len(self.data):
            raise ValueError(f"{len(self.data) - self.at} bytes are left over")


# ---- Section 3: the messages ----


def check_in_request(protocol, version_held):
    held = b"\0" if version_held is None else b"\1" + struct.pack("<Q", version_held)
    codecs = bytes([STAGE_RAW])
    return (struct.pack("<H", protocol) + varint(0) + held + struct.pack("<I", 0)
            + varint(len(codecs)) + codecs + b"\1" + b"\0")


def read_task(reader):
    task = {"id": reader.number(8), "kind": reader.number(1), "round": reader.number(8),
            "deadline_s": reader.number(4), "asked": reader.number(4), "version": reader.number(8),
            "digest": reader.take(32), "change_from": reader.optional(lambda: reader.number(8)),
            "blob": reader.optional(lambda: reader.take(32)), "blob_bytes": reader.number(8),
            "recipe": reader.take(8)}
    task["round_parameters"] = reader.optional(lambda: reader.take(32))
    return task


def read_phase(reader):
    return reader.number(8), reader.number(1), reader.take(reader.varint())


def read_check_in_answer(data, protocol):
    reader = Reader(data)
    spoken = reader.number(2)
    if spoken != protocol:  # Before anything else is read: section 9.
        raise WrongVersion(f"the client speaks protocol version {protocol}, the server {spoken}")
    answer = {"federation": reader.text(), "plan": reader.take(32), "again_min_ms": reader.number(4),
              "again_max_ms": reader.number(4), "done": reader.flag(),
              "task": reader.optional(lambda: read_task(reader)),
              "phase": reader.optional(lambda: read_phase(reader))}
    reader.end()
    return answer


def read_upload_answer(data):
    reader = Reader(data)
    answer = {"committed": reader.number(8), "accepted": reader.flag(), "round": reader.number(8)}
    reader.end()
    return answer


def read_refusal(data):
    reader = Reader(data)
    code, message, _, _ = reader.number(2), reader.text(), reader.number(4), reader.number(4)
    reader.end()
    return code, message


# ---- Section 1: transport ----


class Server:
    def __init__(self, address, pki, work):
        self.address, self.pki, self.work = address, Path(pki), Path(work)

    def send(self, method, target, body=b"", headers=()):
        """One request through curl over mutual TLS: the answer's head and body."""
        sent, got, head = (self.work / name for name in ("sent", "got", "head"))
        sent.write_bytes(body)
        call = ["curl", "--silent", "--show-error", "--tlsv1.3", "--max-time", "60",
                "--cacert", self.pki / "ca.crt", "--cert", self.pki / "client.crt", "--key", self.pki / "client.key",
                "--output", got, "--dump-header", head, "--write-out", "%{http_code}"]
        call += ["--head"] if method == "HEAD" else ["--request", method]
        if body:
            call += ["--data-binary", f"@{sent}", "--header", "Content-Type: application/octet-stream"]
        for header in headers:
            call += ["--header", header]
        got.write_bytes(b"")
        outcome = subprocess.run([*map(str, call), f"https://{self.address}{target}"], capture_output=True, text=True)
        if outcome.returncode != 0:
            raise OSError(f"{method} {target}: {outcome.stderr.strip()}")
        data = got.read_bytes()
        if not outcome.stdout.startswith("2"):
            code, message = read_refusal(data)
            raise WrongVersion(message) if code == 23 else Refused(code, message)
        return head.read_text(), data

    def blob(self, digest):
        data = self.send("GET", "/v1/blobs/" + digest.hex())[1]
        if hashlib.sha256(data).digest() != digest:
            raise ValueError("a blob has another digest than its name says")
        return data


# ---- Section 5: models ----


def f32(value):
    return struct.unpack("<f", struct.pack("<f", value))[0]


def mix(x):
    x = x + 0x9E3779B97F4A7C15 & MASK
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 & MASK
    x = (x ^ x >> 27) * 0x94D049BB133111EB & MASK
    return x ^ x >> 31


def hash_name(name):
    value = 0xCBF29CE484222325
    for byte in name.encode():
        value = (value ^ byte) * 0x100000001B3 & MASK
    return mix(value ^ mix(len(name)))


def child(key, purpose, index):
    return mix(mix(key ^ hash_name(purpose)) + mix(index) & MASK)


def philox(block, key):
    words = [block & 0xFFFFFFFF, block >> 32, 0, 0]
    low, high = key & 0xFFFFFFFF, key >> 32
    for _ in range(10):
        first, second = 0xD2511F53 * words[0], 0xCD9E8D57 * words[2]
        words = [second >> 32 ^ words[1] ^ low, second & 0xFFFFFFFF, first >> 32 ^ words[3] ^ high, first & 0xFFFFFFFF]
        low, high = low + 0x9E3779B9 & 0xFFFFFFFF, high + 0xBB67AE85 & 0xFFFFFFFF
    return words


def uniforms(key, count):
    words = []
    while len(words) < count:
        words += philox(len(words) // 4, key)
    return [(word >> 8) * 2.0**-24 for word in words[:count]]


def layout_of(plan):
    """(name, shape, fan_in) of each tensor; dense layers alone."""
    inputs, number, tensors = math.prod(plan["model"]["input"]), 0, []
    for line in plan["model"]["layers"]:
        kind, *arguments = line.split()
        if kind == "dense" and len(arguments) == 1:
            number, outputs = number + 1, int(arguments[0])
            tensors += [(f"dense{number}.weight", (inputs, outputs), inputs), (f"dense{number}.bias", (outputs,), inputs)]
            inputs = outputs
        elif line != "relu":
            raise ValueError(f"this client knows dense layers and relu, not {line}")
    return tensors


def version_zero(plan):
    key = child(mix(plan["seed"]), "model", 0)
    values = []
    for number, (_, shape, fan_in) in enumerate(layout_of(plan)):
        bound = f32(1 / f32(math.sqrt(fan_in)))
        values += [f32((2 * u - 1) * bound) for u in uniforms(child(key, "tensor", number), math.prod(shape))]
    return values


def to_bytes(values):
    return struct.pack(f"<{len(values)}f", *values)


def to_values(data):
    return list(struct.unpack(f"<{len(data) // 4}f", data))


def in_order(bits):
    """The bits of a float as a signed integer in the floats' order; its own inverse."""
    return bits if bits < 1 << 31 else (bits ^ 0x7FFFFFFF) - (1 << 32)


def apply_change(base, change):  # Section 5.1.
    reader = Reader(change)
    if reader.take(3) != b"FLM" or reader.number(1) != 1:
        raise ValueError("a change of a format that this client does not know")
    if reader.varint() != len(base):
        raise ValueError("a change of another model")
    planes = [zlib.decompress(reader.take(reader.varint())) for _ in range(4)]
    reader.end()
    out = []
    for i, value in enumerate(base):
        zigzag = int.from_bytes(bytes(plane[i] for plane in planes), "little")
        step = zigzag >> 1 ^ -(zigzag & 1)
        number = in_order(struct.unpack("<I", struct.pack("<f", value))[0]) + step & 0xFFFFFFFF
        bits = number if number < 1 << 31 else number ^ 0x7FFFFFFF
        out.append(struct.unpack("<f", struct.pack("<I", bits))[0])
    return out


def fetch_model(server, plan, task, held):
    """`held`: the version and values that we have, or None."""
    if task["blob"] is None:
        values = version_zero(plan) if task["version"] == 0 else held[1]
    elif task["change_from"] is None:
        values = to_values(server.blob(task["blob"]))
    else:
        base = version_zero(plan) if task["change_from"] == 0 else held[1]
        values = apply_change(base, server.blob(task["blob"]))
    if hashlib.sha256(to_bytes(values)).digest() != task["digest"]:
        raise ValueError("the model has another digest than the task says")
    return values


# ---- Training: the client's own affair ----


def load_samples(plan, path):
    data = plan["data"]
    mean, scale = data["mean"][0], data["scale"][0]
    with gzip.open(path, "rt") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "train"]
    samples = []
    for row in rows:
        label = int(row[data["label"]])
        features = [(float(v) - mean) / scale for k, v in row.items() if k != data["label"] and k not in data["ignore"]]
        samples.append((features, label))
    random.Random(7).shuffle(samples)
    return samples[:400], samples[400:500]


def shaped(plan, flat):
    """Pairs of weight rows and bias, from the model's values."""
    layers, at, tensors = [], 0, layout_of(plan)
    for (_, (inputs, outputs), _), _ in zip(tensors[::2], tensors[1::2]):
        rows = [flat[at + i * outputs : at + (i + 1) * outputs] for i in range(inputs)]
        at += inputs * outputs
        layers.append((rows, flat[at : at + outputs]))
        at += outputs
    return layers


def flattened(layers):
    return [v for rows, bias in layers for row in [*rows, bias] for v in row]


def forward(layers, x):
    """The inputs of each layer, and the probabilities."""
    inputs = []
    for number, (rows, bias) in enumerate(layers):
        inputs.append(x)
        x = [b + sum(v * row[j] for v, row in zip(x, rows) if v) for j, b in enumerate(bias)]
        if number + 1 < len(layers):
            x = [max(v, 0.0) for v in x]
    top = max(x)
    powers = [math.exp(v - top) for v in x]
    return inputs, [p / sum(powers) for p in powers]


def evaluate(layers, samples):
    loss = right = 0
    for features, label in samples:
        odds = forward(layers, features)[1]
        loss -= math.log(max(odds[label], 1e-30)) / len(samples)
        right += odds[label] == max(odds)
    return loss, right / len(samples)


def train(plan, flat, samples):
    """One epoch of stochastic gradient descent; the model, and the mean loss on the way."""
    layers = [([list(row) for row in rows], list(bias)) for rows, bias in shaped(plan, flat)]
    rate, loss = plan["training"]["learning_rate"] / 4, 0
    for features, label in samples:
        inputs, odds = forward(layers, features)
        loss -= math.log(max(odds[label], 1e-30)) / len(samples)
        error = [p - (j == label) for j, p in enumerate(odds)]
        for (rows, bias), x in zip(reversed(layers), reversed(inputs)):
            back = [sum(e * w for e, w in zip(error, row)) if v > 0 else 0.0 for v, row in zip(x, rows)]
            for v, row in zip(x, rows):
                if v:
                    row[:] = [w - rate * v * e for w, e in zip(row, error)]
            bias[:] = [b - rate * e for b, e in zip(bias, error)]
            error = back
    return flattened(layers), loss


# ---- Section 6: an update ----


def recipe_digest(plan):  # docs/wire-format.md, section 4: each tensor is a segment.
    if plan.get("compression", {}).get("recipe"):
        raise ValueError("this client sends plain fp32 alone")
    lines = ["fl segments 1"]
    for name, shape, _ in layout_of(plan):
        extents = "x".join(map(str, shape))
        lines += [f"segment {name} {extents} raw", f"tensor {name} {extents}"]
    return hashlib.sha256("".join(line + "\n" for line in lines).encode()).digest()


def encode_stream(number, payloads):
    entries = b"".join(varint(0) + varint(len(payload)) for payload in payloads)
    return varint(number) + varint(len(payloads)) + entries + b"".join(payloads)


def with_crc(data):
    return data + struct.pack("<I", zlib.crc32(data))


def encode_update(plan, task, delta, metrics, examples):
    payloads, at = [], 0
    for _, shape, _ in layout_of(plan):
        payloads.append(to_bytes(delta[at : at + math.prod(shape)]))
        at += math.prod(shape)
    header = (b"FLU" + bytes([FORMAT]) + struct.pack("<Q", task["id"]) + task["digest"][:8] + task["recipe"]
              + varint(examples) + varint(2))
    streams = encode_stream(STREAM_DELTA, payloads) + encode_stream(STREAM_METRICS, [to_bytes(metrics)])
    return with_crc(with_crc(header) + streams)


# ---- Section 4: a client's round ----


def upload(server, task, update, in_pieces):
    target = f"/v1/updates/{task['id']:016x}"
    if not in_pieces:
        return read_upload_answer(server.send("PUT", target, update)[1])
    reservation = struct.pack("<Q", len(update)) + hashlib.sha256(update).digest()
    at = read_upload_answer(server.send("POST", target + "/reserve", reservation)[1])["committed"]
    while at < len(update):
        piece = update[at : at + len(update) // 3 + 1]
        server.send("PATCH", target, piece, [f"Upload-Offset: {at}"])
        head = server.send("HEAD", target)[0].lower()  # As after a lost answer.
        at = int(head.split("upload-offset:")[1].split()[0])
    return read_upload_answer(server.send("POST", target + "/commit", reservation)[1])


def take_part(server, options):
    plan_digest, plan, held, report = None, None, None, {"rounds": []}
    while True:
        request = check_in_request(options.protocol, held and held[0])
        answer = read_check_in_answer(server.send("POST", "/v1/check-in", request)[1], options.protocol)
        if answer["done"]:
            return report
        if answer["plan"] != plan_digest:
            plan_digest = answer["plan"]
            plan = tomllib.loads(server.blob(plan_digest).decode())
            training, holdout = load_samples(plan, options.data)
        task = answer["task"]
        if task is None:
            time.sleep(random.uniform(answer["again_min_ms"], answer["again_max_ms"]) / 1000)
            continue
        if task["kind"] != KIND_TRAIN:
            raise ValueError("this client trains, and does nothing else")
        if task["recipe"] != recipe_digest(plan)[:8]:
            raise ValueError("the task's recipe has another digest than the one that follows from the plan")
        model = fetch_model(server, plan, task, held)
        held = task["version"], model
        loss, accuracy = evaluate(shaped(plan, model), holdout)
        trained, trained_loss = train(plan, model, training)
        delta = [f32(f32(new) - old) for new, old in zip(trained, model)]
        update = encode_update(plan, task, delta, [loss, accuracy, trained_loss, float(len(holdout))], len(training))
        receipt = upload(server, task, update, options.in_pieces)
        if not receipt["accepted"] or receipt["committed"] != len(update):
            raise ValueError(f"the update was not accepted: {receipt}")
        report["rounds"].append({"round": receipt["round"], "version": task["version"], "bytes": len(update),
                                 "change_from": task["change_from"], "accuracy": accuracy,
                                 "next": hashlib.sha256(to_bytes([f32(a + b) for a, b in zip(model, delta)])).hexdigest()})


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--server", required=True)
    parser.add_argument("--pki", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--in-pieces", action="store_true", help="reserve, PATCH and commit instead of one PUT")
    parser.add_argument("--protocol", type=int, default=PROTOCOL, help="the version to claim")
    parser.add_argument("--report")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        try:
            report = take_part(Server(options.server, options.pki, work), options)
        except WrongVersion as error:
            print(f"foreign_client: {error}", file=sys.stderr)
            return 3
        except (OSError, ValueError, KeyError, Refused) as error:
            print(f"foreign_client: {error}", file=sys.stderr)
            return 1
    if options.report:
        Path(options.report).write_text(json.dumps(report, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
