#!/usr/bin/env python3
"""The packet format a second time, in another language, from mix/SPEC.md alone.

Reproduces every value of mix-sphinx.json: keys, headers, whole packets, reply blocks and what their owners keep, made from
the drawn bytes; and what each hop reads and leaves, peeled with its secret. Prints what it compared and exits 1 at the first
value that differs. `--self-test` changes single characters of the file in memory and demands that each change is noticed.

Ristretto255 (RFC 9496) and ChaCha20 (RFC 8439) are written out here in plain integers, slowly and not in constant time.
BLAKE3 is the one package needed: pip install -r requirements.txt. Section numbers are those of mix/SPEC.md.
"""

import argparse
import copy
import json
import random
import struct
import sys
from pathlib import Path

import blake3

FILE = Path(__file__).resolve().parent / "mix-sphinx.json"
COMMANDS = {"forward": 1, "drop": 2, "loop": 3, "box": 4, "reply": 5}
NAMES = {code: name for name, code in COMMANDS.items()}


# --- Ristretto255, RFC 9496 ---------------------------------------------------------------------------------------------

P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
SQRT_M1 = pow(2, (P - 1) // 4, P)
BASE = bytes.fromhex("e2f2ae0a6abc4e71a884a961c500515f58e30b6aa582dd8db6a65945e08d2d76")


def is_negative(x):
    return x % P & 1


def absolute(x):
    return -x % P if is_negative(x) else x % P


def sqrt_ratio(u, v):
    """Section 4.2: (whether u/v is a square, the nonnegative root of u/v or of SQRT_M1 u/v)."""
    r = u * pow(v, 3, P) * pow(u * pow(v, 7, P), (P - 5) // 8, P) % P
    check = v * r * r % P
    correct, flipped, flipped_i = check == u % P, check == -u % P, check == -u * SQRT_M1 % P
    if flipped or flipped_i:
        r = r * SQRT_M1 % P
    return correct or flipped, absolute(r)


INVSQRT_A_MINUS_D = sqrt_ratio(1, -1 - D)[1]


def decode(data):
    """Section 4.3.1: extended coordinates, or None if the bytes are not the one encoding of an element."""
    s = int.from_bytes(data, "little")
    if s >= P or is_negative(s):
        return None
    ss = s * s % P
    u1, u2 = (1 - ss) % P, (1 + ss) % P
    v = (-D * u1 * u1 - u2 * u2) % P
    square, invsqrt = sqrt_ratio(1, v * u2 * u2 % P)
    den_x, den_y = invsqrt * u2 % P, invsqrt * invsqrt * u2 * v % P
    x, y = absolute(2 * s * den_x), u1 * den_y % P
    if not square or is_negative(x * y) or y == 0:
        return None
    return x, y, 1, x * y % P


def encode(point):
    """Section 4.3.2."""
    x0, y0, z0, t0 = point
    u1, u2 = (z0 + y0) * (z0 - y0) % P, x0 * y0 % P
    _, invsqrt = sqrt_ratio(1, u1 * u2 * u2 % P)
    den1, den2 = invsqrt * u1 % P, invsqrt * u2 % P
    z_inv = den1 * den2 * t0 % P
    if is_negative(t0 * z_inv):
        x, y, den = y0 * SQRT_M1 % P, x0 * SQRT_M1 % P, den1 * INVSQRT_A_MINUS_D % P
    else:
        x, y, den = x0, y0, den2
    if is_negative(x * z_inv):
        y = -y % P
    return absolute(den * (z0 - y)).to_bytes(32, "little")


def add(a, b):
    """Twisted Edwards addition in extended coordinates, complete."""
    (x1, y1, z1, t1), (x2, y2, z2, t2) = a, b
    e, f = (y1 - x1) * (y2 - x2) % P, (y1 + x1) * (y2 + x2) % P
    c, d = 2 * D * t1 * t2 % P, 2 * z1 * z2 % P
    e, f, g, h = f - e, d - c, d + c, e + f
    return e * f % P, g * h % P, f * g % P, e * h % P


def multiply(scalar, point):
    result = (0, 1, 1, 0)
    for bit in bin(scalar)[2:]:
        result = add(result, result)
        if bit == "1":
            result = add(result, point)
    return result


def element(data):
    """Section 2 and 4 of the SPEC: the identity is no element of ours."""
    point = decode(data)
    if point is None or data == bytes(32):
        raise ValueError("alpha or a public key is no element")
    return point


# --- ChaCha20, RFC 8439; the modes of BLAKE3; LIONESS, section 5 ---------------------------------------------------------

def chacha20(key, length):
    """The key stream with nonce 0 and first block counter 0."""
    out = b""
    for counter in range(-(-length // 64)):
        start = struct.unpack("<4I", b"expand 32-byte k") + struct.unpack("<8I", key) + (counter, 0, 0, 0)
        s = list(start)
        for _ in range(10):
            for a, b, c, d in ((0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15),
                               (0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14)):
                for one, two, three, turn in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
                    s[one] = s[one] + s[two] & 0xFFFFFFFF
                    mixed = s[three] ^ s[one]
                    s[three] = (mixed << turn | mixed >> 32 - turn) & 0xFFFFFFFF
        out += struct.pack("<16I", *(x + y & 0xFFFFFFFF for x, y in zip(s, start)))
    return out[:length]


def derive(context, material, length):
    return blake3.blake3(material, derive_key_context=context).digest(length=length)


def keyed(key, data):
    return blake3.blake3(data, key=key).digest()


def xor(a, b):
    assert len(a) == len(b)
    return bytes(x ^ y for x, y in zip(a, b))


def wide_keys(key):
    out = derive("murmuration/v1/lioness", key, 128)
    return out[:32], out[32:64], out[64:96], out[96:]


def wide_encrypt(key, block):
    k1, k2, k3, k4 = wide_keys(key)
    left, right = block[:32], block[32:]
    right = xor(right, chacha20(xor(left, k1), 1787))
    left = xor(left, keyed(k2, right + bytes(261)))
    right = xor(right, chacha20(xor(left, k3), 1787))
    left = xor(left, keyed(k4, right + bytes(261)))
    return left + right


def wide_decrypt(key, block):
    k1, k2, k3, k4 = wide_keys(key)
    left, right = block[:32], block[32:]
    left = xor(left, keyed(k4, right + bytes(261)))
    right = xor(right, chacha20(xor(left, k3), 1787))
    left = xor(left, keyed(k2, right + bytes(261)))
    right = xor(right, chacha20(xor(left, k1), 1787))
    return left + right


# --- Hops, headers, packets, reply blocks: sections 4, 6 and 7 ------------------------------------------------------------

class Keys:
    """Section 4."""

    def __init__(self, shared, network, epoch, relay):
        material = encode(shared) + b"\x01" + network + epoch.to_bytes(4, "little") + relay
        out = derive("murmuration/v1/sphinx-hop", material, 176)
        self.mac, self.stream, self.payload = out[:32], out[32:64], out[64:96]
        self.blinding = int.from_bytes(out[96:160], "little") % ORDER
        self.tag = out[160:]

    def gamma(self, beta):
        return keyed(self.mac, beta)[:16]

    def show(self):
        blinding = self.blinding.to_bytes(32, "little")
        return {"mac": self.mac.hex(), "stream": self.stream.hex(), "payload": self.payload.hex(), "blinding": blinding.hex()}


class Drawn:
    """The sender's random bytes, in the order in which it draws them."""

    def __init__(self, data):
        self.data = data

    def take(self, count):
        taken, self.data = self.data[:count], self.data[count:]
        if len(taken) < count:
            raise ValueError("too few bytes were drawn")
        return taken

    def scalar(self):
        while True:
            x = int.from_bytes(self.take(64), "little") % ORDER
            if x:
                return x


def build_header(network, path, command, flags, name, drawn):
    """Section 6: the header and the keys of all hops. A hop of the path is (relay, epoch, public key)."""
    x = drawn.scalar()
    alpha = encode(multiply(x, element(BASE)))
    hops = []
    for relay, epoch, public in path:
        hops.append(Keys(multiply(x, element(public)), network, epoch, relay))
        x = x * hops[-1].blinding % ORDER
    last = len(path) - 1
    filler = b""
    for i, keys in enumerate(hops[:-1]):
        filler = xor(filler + bytes(36), chacha20(keys.stream, 216)[180 - 36 * i:])
    beta, gamma = drawn.take(180), b""
    for i in range(last, -1, -1):
        quantile = drawn.take(2)
        if i == last:
            name = beta[4:20] if name is None else name
            beta = bytes([command, flags]) + quantile + name + beta[20:]
        else:
            beta = bytes([COMMANDS["forward"], flags]) + quantile + path[i + 1][0] + gamma + beta[:144]
        beta = xor(beta, chacha20(hops[i].stream, 180))
        if i == last:
            beta = beta[:180 - len(filler)] + filler
        gamma = hops[i].gamma(beta)
    return b"\x01" + alpha + gamma + beta, hops


def build(network, path, command, flags, name, body, drawn):
    header, hops = build_header(network, path, command, flags, name, drawn)
    delta = bytes(16) + body
    for keys in reversed(hops):
        delta = wide_encrypt(keys.payload, delta)
    return header + delta, hops


def build_surb(network, path, flags, name, drawn):
    """Section 7: the reply block, what its owner keeps, and the keys of all hops."""
    header, hops = build_header(network, path, COMMANDS["reply"], flags, name, drawn)
    key = drawn.take(32)
    kept = bytes([len(path)]) + key + b"".join(keys.payload for keys in hops)
    return header + path[0][0] + key, kept + bytes(193 - len(kept)), hops


def reply(surb, body):
    return surb[:229] + wide_encrypt(surb[245:], bytes(16) + body)


def open_reply(kept, delta):
    for hop in reversed(range(kept[0])):
        delta = wide_encrypt(kept[33 + 32 * hop:65 + 32 * hop], delta)
    return wide_decrypt(kept[1:33], delta)


def peel(secret, network, epoch, relay, packet):
    """Section 6, peeling: the keys, what the hop read, and the packet it leaves."""
    if packet[0] != 1:
        raise ValueError("version")
    alpha, gamma, beta, delta = element(packet[1:33]), packet[33:49], packet[49:229], packet[229:]
    keys = Keys(multiply(secret, alpha), network, epoch, relay)
    if keys.gamma(beta) != gamma:
        raise ValueError("mac")
    clear = xor(beta + bytes(36), chacha20(keys.stream, 216))
    command, flags, quantile = struct.unpack("<BBH", clear[:4])
    if command not in NAMES:
        raise ValueError("command")
    if flags > 2:
        raise ValueError("flags")
    delta = wide_decrypt(keys.payload, delta)
    seen = {"command": NAMES[command]}
    if command == COMMANDS["forward"]:
        seen.update({"next": clear[4:20].hex(), "class": flags, "quantile": quantile})
        alpha = encode(multiply(keys.blinding, alpha))
        return keys, seen, b"\x01" + alpha + clear[20:36] + clear[36:] + delta
    if command != COMMANDS["reply"] and delta[:16] != bytes(16):
        raise ValueError("payload")
    if command in (COMMANDS["loop"], COMMANDS["reply"]):
        seen["id"] = clear[4:20].hex()
    if command == COMMANDS["box"]:
        seen["class"] = flags
    return keys, seen, packet[:229] + delta


# --- The file, section 12 -------------------------------------------------------------------------------------------------

class Differs(Exception):
    pass


class Comparison:
    """Counts the values compared; the first that differs ends it."""

    def __init__(self):
        self.count = 0

    def equal(self, where, mine, files):
        self.count += 1
        if mine != files:
            raise Differs(f"{where}\n  from SPEC.md: {mine}\n  in the file:  {files}")


def check_vector(vector, network, compare):
    where = vector["name"]
    path = [(bytes.fromhex(h["relay"]), h["epoch"], bytes.fromhex(h["public"])) for h in vector["hops"]]
    body = bytes((31 * i + 7 * len(path)) % 256 for i in range(1803))
    name = None if vector["id"] is None else bytes.fromhex(vector["id"])
    drawn = Drawn(bytes.fromhex(vector["random"]))
    kept = None

    if vector["command"] == "reply":
        surb, kept, hops = build_surb(network, path, vector["class"], name, drawn)
        compare.equal(f"{where}: surb", surb.hex(), vector["surb"])
        compare.equal(f"{where}: surb_keys", kept.hex(), vector["surb_keys"])
        packet = reply(surb, body)
    else:
        command = COMMANDS[vector["command"]]
        packet, hops = build(network, path, command, vector["class"], name, body, drawn)
    compare.equal(f"{where}: bytes drawn and not used", drawn.data.hex(), "")
    compare.equal(f"{where}: packet", packet.hex(), vector["packet"])

    # From here on only what a relay has: its secret, and the file's packet.
    packet = bytes.fromhex(vector["packet"])
    for i, (hop, senders) in enumerate(zip(vector["hops"], hops)):
        at = f"{where}, hop {i}"
        secret = int.from_bytes(bytes.fromhex(hop["secret"]), "little")
        compare.equal(f"{at}: secret is a scalar, not zero", 0 < secret < ORDER, True)
        compare.equal(f"{at}: public", encode(multiply(secret, element(BASE))).hex(), hop["public"])
        keys, seen, packet = peel(secret, network, hop["epoch"], bytes.fromhex(hop["relay"]), packet)
        compare.equal(f"{at}: keys", keys.show(), hop["keys"])
        compare.equal(f"{at}: the sender's keys", senders.show(), hop["keys"])
        compare.equal(f"{at}: tag", keys.tag.hex(), hop["tag"])
        compare.equal(f"{at}: peeled", seen, hop["peeled"])
        compare.equal(f"{at}: header", packet[:229].hex(), hop["header"])
        compare.equal(f"{at}: packet_blake3", blake3.blake3(packet).hexdigest(), hop["packet_blake3"])
    delta = packet[229:] if kept is None else open_reply(kept, packet[229:])
    compare.equal(f"{where}: what arrives", delta.hex(), (bytes(16) + body).hex())


def check(file):
    compare = Comparison()
    lengths = {(v["command"] == "reply", len(v["hops"])) for v in file["vectors"]}
    compare.equal("one packet and one reply of each length", sorted(lengths), [(r, n) for r in (False, True) for n in range(1, 6)])
    for vector in file["vectors"]:
        check_vector(vector, bytes.fromhex(file["network"]), compare)
    return compare.count


def places(node, path=()):
    """Where the file has a value: strings by character, numbers as a whole."""
    if isinstance(node, dict):
        for key in node:
            if key not in ("about", "name"):
                yield from places(node[key], path + (key,))
    elif isinstance(node, list):
        for i, inner in enumerate(node):
            yield from places(inner, path + (i,))
    elif node is not None:
        yield path


def altered(value, draw, kind):
    if isinstance(value, int):
        return value ^ 1
    if value in COMMANDS:
        return draw.choice(sorted(set(COMMANDS) - {value}))
    # Of the drawn bytes, those that fill beta may end under a block or the filler and then leave no trace; x always does.
    at = draw.randrange(128 if kind == ("random",) else len(value))
    return value[:at] + f"{int(value[at], 16) ^ draw.randrange(1, 16):x}" + value[at + 1:]


def self_test(file):
    """Every kind of value is altered somewhere, each time alone; all must be noticed."""
    draw = random.Random(1)
    by_kind = {}
    for path in places(file["vectors"]):
        by_kind.setdefault(tuple(p for p in path if isinstance(p, str)), []).append(path)
    network = bytes.fromhex(file["network"])
    noticed = 0
    for kind, found in sorted(by_kind.items()):
        for path in draw.sample(found, min(5, len(found))):
            vector = copy.deepcopy(file["vectors"][path[0]])
            inner = vector
            for step in path[1:-1]:
                inner = inner[step]
            inner[path[-1]] = altered(inner[path[-1]], draw, kind)
            try:
                check_vector(vector, network, Comparison())
            except (Differs, ValueError, KeyError):
                noticed += 1
                continue
            print(f"check_sphinx: a change of {'.'.join(kind)} was not noticed, at {path}", file=sys.stderr)
            return 1
    print(f"check_sphinx: self-test: {noticed} changes of {len(by_kind)} kinds of value, all noticed")
    return 0


def main():
    parser = argparse.ArgumentParser(description="Reproduces the packet vectors from mix/SPEC.md.")
    parser.add_argument("file", nargs="?", type=Path, default=FILE)
    parser.add_argument("--self-test", action="store_true", help="alter values in memory; each must be noticed")
    options = parser.parse_args()
    file = json.loads(options.file.read_text(encoding="utf-8"))
    if options.self_test:
        return self_test(file)
    try:
        count = check(file)
    except (Differs, ValueError, KeyError) as wrong:
        print(f"check_sphinx: {wrong}", file=sys.stderr)
        return 1
    print(f"check_sphinx: {len(file['vectors'])} vectors, {count} values, all as SPEC.md says")
    return 0


if __name__ == "__main__":
    sys.exit(main())
