#!/usr/bin/python3
"""storage.py - CPU seconds of vmctl disk as ratios of qemu-img's, in the same run, interleaved.

Called by "make bench-storage"; words after it choose rows by a part of their name. BENCH_MIB is how
much data the disk holds (default 512), BENCH_RUNS how often each is run (default 3); medians are shown. Everything
is in the page cache; wall time is shown for the eye, CPU (user and system) is what counts.
"""
import os, random, resource, statistics, subprocess, sys, tempfile, time

MIB = int(os.environ.get("BENCH_MIB", "512"))
RUNS = int(os.environ.get("BENCH_RUNS", "3"))


def cost(line):
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    r = subprocess.run(line, shell=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    if r.returncode:
        raise RuntimeError(line + ": " + r.stderr.decode(errors="replace").strip())
    return cpu, time.monotonic() - start


def make_disk(path):
    """A third random, a third text, a third programs; holes between; 8/3 of MIB in all."""
    rng = random.Random(1)
    text = b" ".join(rng.choice([b"virtual", b"machine", b"disk", b"image", b"0x%08x" % i, b"\n"])
                     for i in range(200000))
    programs = b"".join(open(f, "rb").read() for f in (sys.executable, "/bin/bash", "/usr/bin/git",
                        "/usr/bin/qemu-img") if os.path.exists(f))
    kinds = [lambda n: rng.randbytes(n), lambda n: (text * (n // len(text) + 1))[:n],
             lambda n: (programs * (n // len(programs) + 1))[:n]]
    with open(path, "wb") as f:
        for i in range(MIB // 4):
            f.seek(i * (4 << 20) * 8 // 3 // 4096 * 4096)
            f.write(kinds[i % 3](4 << 20))
        f.truncate(MIB * (8 << 20) // 3 // 4096 * 4096)


# name, theirs, ours, the goal (CPU ratio)
def rows():
    yield "raw to raw", "qemu-img convert -f raw -O raw raw a", "vmctl disk convert --from raw --format raw raw b", 1.0
    for f in ("qcow2", "vdi", "vhd", "vhdx", "vmdk", "qed", "parallels"):
        q = {"vhd": "vpc"}.get(f, f)
        goal = 0.6 if f == "vmdk" else 1.0
        yield (f"raw to {f}", f"qemu-img convert -f raw -O {q} raw a",
               f"vmctl disk convert --from raw --format {f} raw b", goal)
        yield (f"{f} to raw", f"qemu-img convert -f {q} -O raw img.{f} a",
               f"vmctl disk convert --from {f} --format raw img.{f} b", goal)
    yield "raw to qcow", "qemu-img convert -f raw -O qcow raw a", "vmctl disk convert --from raw --format qcow raw b", 0.15
    yield "qcow to raw", "qemu-img convert -f qcow -O raw img.qcow a", "vmctl disk convert --from qcow --format raw img.qcow b", 0.15
    yield "qcow2 to qcow2", "qemu-img convert -O qcow2 img.qcow2 a", "vmctl disk convert --format qcow2 img.qcow2 b", 1.0
    yield ("raw to qcow2, zlib", "qemu-img convert -c -f raw -O qcow2 raw a",
           "vmctl disk convert --from raw --format qcow2 --options compression=zlib raw b", 0.3)
    yield ("raw to qcow2, zstd", "qemu-img convert -c -f raw -O qcow2 -o compression_type=zstd raw a",
           "vmctl disk convert --from raw --format qcow2 --options compression=zstd raw b", 0.9)
    yield "zlib qcow2 to raw", "qemu-img convert -O raw zlib.qcow2 a", "vmctl disk convert --format raw zlib.qcow2 b", 0.55
    yield "zstd qcow2 to raw", "qemu-img convert -O raw zstd.qcow2 a", "vmctl disk convert --format raw zstd.qcow2 b", 0.9
    yield ("raw to streamOptimized", "qemu-img convert -f raw -O vmdk -o subformat=streamOptimized raw a",
           "vmctl disk convert --from raw --format vmdk --options subformat=streamOptimized raw b", 0.3)
    yield "compare raw qcow2", "qemu-img compare -f raw raw img.qcow2", "vmctl disk compare --from raw raw img.qcow2", 1.0
    yield "check qcow2", "qemu-img check img.qcow2", "vmctl disk check img.qcow2", 1.0


def prepare(line):
    """The images that a row reads, by qemu-img."""
    for word in line.split():
        if os.path.exists(word) or "." not in word:
            continue
        name, end = word.split(".", 1)
        if name == "img":
            subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", {"vhd": "vpc"}.get(end, end), "raw", word], check=True)
        elif name in ("zlib", "zstd"):
            subprocess.run(["qemu-img", "convert", "-c", "-f", "raw", "-O", "qcow2", "-o", "compression_type=" + name,
                            "raw", word], check=True)


def run_row(name, theirs, ours, goal):
    prepare(ours)
    both = {"t": [], "o": []}
    for _ in range(RUNS):
        for key, line in (("t", theirs), ("o", ours)):
            for old in ("a", "b"):
                if os.path.exists(old):
                    os.unlink(old)
            both[key].append(cost(line))
    cpu = {k: statistics.median(x[0] for x in v) for k, v in both.items()}
    wall = {k: statistics.median(x[1] for x in v) for k, v in both.items()}
    ratio = cpu["o"] / max(cpu["t"], 1e-9)
    print(f"{name:24} {cpu['t']:8.2f} {cpu['o']:8.2f} {ratio:7.2f} {goal:6.2f} {'' if ratio <= goal else 'MISSED':6}"
          f" {wall['t']:8.2f} {wall['o']:8.2f}", flush=True)


def main():
    chosen = sys.argv[1:]
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR", "/tmp")) as where:
        os.chdir(where)
        make_disk("raw")
        print(f"{'':24} {'qemu-img':>8} {'ours':>8} {'ratio':>7} {'goal':>6} {'':6} {'wall':>8} {'ours':>8}")
        for row in rows():
            if chosen and not any(c in row[0] for c in chosen):
                continue
            try:
                run_row(*row)
            except (RuntimeError, subprocess.CalledProcessError) as e:
                print(f"{row[0]:24} cannot be compared: {str(e).splitlines()[0][:120]}")


main()
