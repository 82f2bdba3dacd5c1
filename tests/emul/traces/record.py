#!/usr/bin/env python3
"""Record what the chips of qemu-system-riscv64 -M virt answer to random accesses.

Run by hand, once: record.py DIRECTORY writes one .trace a chip. A line is "w ADDR SIZE VALUE" or
"r ADDR SIZE VALUE". The machine stands (-S); accesses go through its gdb stub in physical-memory
mode. check_traces replays the files and needs no other emulator.
"""
import os
import random
import socket
import subprocess
import sys
import time


class Stub:
    def __init__(self, path):
        self.s = socket.socket(socket.AF_UNIX)
        for _ in range(100):
            try:
                self.s.connect(path)
                break
            except OSError:
                time.sleep(0.1)
        assert self.ask("Qqemu.PhyMemMode:1") == "OK"

    def ask(self, text):
        self.s.sendall(b"$%s#%02x" % (text.encode(), sum(text.encode()) & 255))
        data = b""
        while not (b"$" in data and b"#" in data and len(data) - data.rindex(b"#") >= 3):
            data += self.s.recv(4096)
        self.s.sendall(b"+")
        return data[data.index(b"$") + 1:data.rindex(b"#")].decode()

    def read(self, addr, size):
        return int.from_bytes(bytes.fromhex(self.ask("m%x,%x" % (addr, size))), "little")

    def write(self, addr, size, value):
        assert self.ask("M%x,%x:%s" % (addr, size, value.to_bytes(size, "little").hex())) == "OK"


def value(size):
    return random.choice([0, 1, 2, 3, 7, 0x80, 0xff, random.getrandbits(8 * size)]) & ((1 << 8 * size) - 1)


def uart(n):
    # The data sheet leaves the divisor open after reset, and QEMU sets OUT2 then. QEMU also does
    # not see the modem lines change with the loop, so they do not interrupt here.
    for reg, v in ((3, 0x80), (0, 1), (1, 0), (3, 0), (4, 0)):
        yield "w", 0x10000000 + reg, 1, v
    for loop in (0, 0x10):
        for _ in range(n // 2):
            reg = random.randrange(8)
            if random.random() < 0.5:
                yield "r", 0x10000000 + reg, 1, 0
            else:
                v = value(1)
                if reg == 1:
                    v &= ~8
                yield "w", 0x10000000 + reg, 1, v & 0xf | loop if reg == 4 else v
        yield "w", 0x10000004, 1, 0x10
        yield "r", 0x10000006, 1, 0


def plic(n):
    for _ in range(n):
        at = random.choice([
            random.randrange(96) * 4, 0x1000 + random.randrange(3) * 4,
            0x2000 + random.randrange(2) * 0x80 + random.randrange(3) * 4,
            0x200000 + random.randrange(2) * 0x1000 + random.randrange(2) * 4])
        yield random.choice("rw"), 0xc000000 + at, 4, value(4)


def aclint(n):
    yield "w", 0x2004000, 4, 0xffffffff
    yield "w", 0x2004004, 4, 0xffffffff
    for _ in range(n):
        at = random.choice([0, 4, 0x4000, 0x4004, 0x4000, 0x4004, 0x4008])
        yield random.choice("rw"), 0x2000000 + at, 4, value(4)


def rtc(n):
    # Alarms far in the future only: the host's clock decides about the others.
    yield "w", 0x10100c, 4, 0x7fffffff
    for _ in range(n):
        at = random.choice([0x08, 0x0c, 0x10, 0x14, 0x18, 0x1c])
        v = 0x7f000000 | value(3) if at == 0xc else value(4)
        yield random.choice("rw"), 0x101000 + at, 4, v


def flash(n):
    # QEMU leaves the query only for the array, and shows its table in the first block only; it
    # can set bits by programming, so only fresh blocks are programmed here. Clearing the status
    # makes it not ready for ever there, and is left out.
    base = 0x20000000
    for _ in range(n):
        block = random.randrange(4) * 0x40000
        kind = random.randrange(6)
        if kind < 3:
            yield "w", base + block, 4, 0x200020
            yield "w", base + block, 4, 0xd000d0
        if kind == 1:
            word = base + block + random.randrange(16) * 4
            yield "w", word, 4, 0x400040
            yield "w", word, 4, value(4)
        elif kind == 2:
            yield "w", base + block, 4, 0xe800e8
            yield "w", base + block, 4, 0x10001
            yield "w", base + block + 0x80, 4, value(4)
            yield "w", base + block + 0x84, 4, value(4)
            yield "w", base + block, 4, 0xd000d0
        elif kind == 3:
            yield "w", base, 4, 0x980098
            for word in (0x10, 0x11, 0x12, 0x13, 0x27, 0x28, 0x2c, 0x2d, 0x2e, 0x2f, 0x30):
                yield "r", base + word * 4, 4, 0
            yield "w", base, 4, 0xff00ff
        elif kind > 3:
            yield "w", base + block, 4, random.choice([0xff, 0x90, 0x70]) * 0x10001
        for _ in range(3):
            yield "r", base + block + random.choice([0, 4, 8, 0x40, 0x44, 0x48, 0x80, 0x84]), 4, 0


def fw_cfg(n):
    for _ in range(n):
        yield "w", 0x10100008, 2, random.choice([0x0000, 0x0100, 0x0500, 0x7700])
        for _ in range(random.randrange(4)):
            yield "r", 0x10100000, random.choice([1, 2, 4, 8]), 0
    yield "r", 0x10100010, 8, 0


def pci(n):
    # What lies behind the header is scratch memory in QEMU.
    for _ in range(n):
        slot = random.choice([0, 0, 0, 1, 31])
        at = 0x30000000 + (slot << 15) + random.choice([0, 4, 8, 0xc, 0x10, 0x2c, 0x34, 0x3c, 0x100])
        yield random.choice("rrw"), at, 4, value(4)


CHIPS = {f.__name__: f for f in (uart, plic, aclint, rtc, flash, fw_cfg, pci)}


def record(name, path):
    random.seed(name)
    qemu = subprocess.Popen(["qemu-system-riscv64", "-M", "virt", "-m", "256", "-bios", "none", "-S", "-display", "none",
                             "-serial", "null", "-monitor", "none", "-gdb", "unix:%s.sock,server=on" % path,
                             "-drive", "if=pflash,format=raw,unit=0,file=/tmp/flash0.img"])
    try:
        stub = Stub(path + ".sock")
        with open(path, "w") as out:
            out.write("# qemu-system-riscv64 7.2, -M virt; made by record.py\n")
            for kind, addr, size, v in CHIPS[name](300):
                if kind == "w":
                    stub.write(addr, size, v)
                else:
                    v = stub.read(addr, size)
                out.write("%s %x %d %x\n" % (kind, addr, size, v))
        os.unlink(path + ".sock")
    finally:
        qemu.terminate()
        qemu.wait()


if __name__ == "__main__":
    with open("/tmp/flash0.img", "wb") as f:
        f.truncate(32 << 20)
    for chip in CHIPS:
        record(chip, "%s/%s.trace" % (sys.argv[1], chip))
