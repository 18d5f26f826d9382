"""The driver of Benchmarks/run: runs ours and the peers in turns and prints medians as a table in Markdown.

Standard library only. Every figure of a row comes from the same invocation; with two sides the runs alternate, so that
whatever else the machine does at the moment falls on both.
"""
import argparse
import json
import os
import pathlib
import platform
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILT = ROOT / ".build/benchmarks"
CERTS = ROOT / ".build/release/certs"
OURS = ROOT / ".build/release/CertsBenchmarks"
FILES = BUILT / "p256"
COUNT = 10_000
ONE_CORE = ["taskset", "--cpu-list", str(max(os.sched_getaffinity(0)))]


def fail(message):
    sys.exit(f"benchmark: {message}")


def output(command, **options):
    """What a command prints; its failure ends the benchmark."""
    result = subprocess.run([str(part) for part in command], capture_output=True, text=True, **options)
    if result.returncode != 0:
        fail(f"{' '.join(map(str, command))} ended with {result.returncode}: {result.stderr.strip()}")
    return result.stdout


def figures(command):
    return json.loads(output(command))


class Elapsed(float):
    """Milliseconds that pass from the start of a process to its end, with those of processor time that it used."""

    def __new__(cls, passed, used):
        value = super().__new__(cls, passed * 1000)
        value.used = used * 1000
        return value


def elapsed(command):
    """Runs a command to its end; its output is thrown away, its failure ends the benchmark."""
    with tempfile.TemporaryFile() as errors:
        start = time.perf_counter()
        process = subprocess.Popen([str(part) for part in command], stdout=subprocess.DEVNULL, stderr=errors)
        _, status, usage = os.wait4(process.pid, 0)
        passed = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            errors.seek(0)
            fail(f"{' '.join(map(str, command))} ended with {process.returncode}: {errors.read().decode().strip()}")
    return Elapsed(passed, usage.ru_utime + usage.ru_stime)


def in_turns(runs, *sides):
    """The results of each side, run in turns: A B A B …"""
    results = [[] for _ in sides]
    for run in range(runs):
        for side, into in zip(sides, results):
            into.append(side())
        print(f"    run {run + 1} of {runs}", file=sys.stderr)
    return results


class Table:
    def __init__(self):
        self.rows = []

    def add(self, name, ours, peer="–", ratio="–", goal="–", met=None):
        self.rows.append([name, ours, peer, ratio, goal, {True: "yes", False: "**no**", None: "–"}[met]])
        print("  " + " | ".join(self.rows[-1]), file=sys.stderr)

    def compare(self, name, ours, peer, peer_name, unit, least):
        """A row of rates (higher is better): the medians, and the ratio of the medians."""
        ratio = statistics.median(ours) / statistics.median(peer)
        digits = 0 if statistics.median(ours) >= 100 else 2
        self.add(name, f"{statistics.median(ours):,.{digits}f} {unit}",
                 f"{statistics.median(peer):,.{digits}f} {unit} ({peer_name})", f"{ratio:.2f}", f"≥ {least} ×",
                 ratio >= least)

    def limit(self, name, values, unit, most, digits=0):
        """A row of one side (lower is better)."""
        value = statistics.median(values)
        used = f" ({statistics.median(v.used for v in values):,.0f} of processor)" if hasattr(values[0], "used") else ""
        self.add(name, f"{value:,.{digits}f} {unit}{used}", goal=f"< {most:,} {unit}", met=value < most)

    def text(self):
        lines = [["what", "certs", "peer", "ratio", "goal", "met"], ["---"] * 6] + self.rows
        return "\n".join("| " + " | ".join(line) + " |" for line in lines)


class Bench:
    def __init__(self, runs):
        self.runs = runs
        self.table = Table()

    def fixtures(self):
        """The certificates of the inventory, made once."""
        if not (FILES / f"{COUNT - 1:05}.pem").exists():
            shutil.rmtree(FILES, ignore_errors=True)
            partial = FILES.with_suffix(".partial")
            shutil.rmtree(partial, ignore_errors=True)
            output([OURS, "fixtures", partial, COUNT])
            partial.rename(FILES)

    # --- inventory

    def inventory(self):
        self.fixtures()
        passes = 3

        def rate(*command):
            return lambda: COUNT / statistics.median(figures([*ONE_CORE, *command, FILES, COUNT, passes])["seconds"])

        ours, go_parse, go_record, loop = in_turns(
            self.runs, rate(OURS, "inventory"), rate(BUILT / "inventory-go", "parse"),
            rate(BUILT / "inventory-go", "record"), rate(BUILT / "inventory-openssl"))
        name = "inventory, all fields and digests, one core"
        self.table.compare(name, ours, go_parse, "Go, parse and SHA-256 only", "/s", 0.9)
        self.table.compare(name, ours, go_record, "Go, the same fields as text", "/s", 0.9)
        self.table.compare(name, ours, loop, "PEM_read_bio_X509 loop", "/s", 8)

    # --- scan

    def scan(self):
        self.fixtures()
        with tempfile.TemporaryDirectory() as directory:
            configuration = write_configuration(pathlib.Path(directory))
            database = pathlib.Path(directory) / "state"

            def first():
                shutil.rmtree(database, ignore_errors=True)
                return elapsed([CERTS, "--config", configuration, "scan", FILES])

            def second():
                return elapsed([CERTS, "--config", configuration, "scan", FILES])

            firsts, seconds = in_turns(self.runs, first, second)
            said = output([CERTS, "--config", configuration, "scan", FILES])
            if f"{COUNT} files, 0 read" not in said:
                fail(f"the second scan says: {said}")
            trace = pathlib.Path(directory) / "trace"
            output(["strace", "-f", "-e", "trace=openat,open", "-o", trace,
                    CERTS, "--config", configuration, "scan", FILES])
            opened = sum(".pem\"" in line for line in trace.read_text().splitlines())
        self.table.limit(f"first scan of {COUNT:,} files", firsts, "ms", 1000)
        self.table.limit(f"second scan of {COUNT:,} files, nothing changed", seconds, "ms", 200)
        self.table.add("files opened by the second scan", str(opened), goal="0", met=opened == 0)

    # --- keys

    def keys(self):
        for algorithm, count in (("ecdsa-p256", 5000), ("rsa-2048", 12)):
            def rate(program, *arguments):
                return lambda: count / figures([*ONE_CORE, program, *arguments, algorithm, count])["seconds"]

            # RSA keys take a random number of tries each: only many runs make their median mean something.
            runs = self.runs if algorithm != "rsa-2048" else self.runs * 3
            ours, loop = in_turns(runs, rate(OURS, "keys"), rate(BUILT / "keys-openssl"))
            if algorithm == "rsa-2048":
                # The mean over all keys: the median of few keys each would hide how much they differ.
                ours, loop = [statistics.harmonic_mean(ours)], [statistics.harmonic_mean(loop)]
            self.table.compare(f"key and CSR, {algorithm}, one core", ours, loop, "same calls in C", "/s", 0.95)

    def parallel(self):
        cores = len(os.sched_getaffinity(0))
        count = 10_000

        def rate(width):
            return lambda: count / figures([OURS, "parallel", "ecdsa-p256", count, width])["seconds"]

        many, one = in_turns(self.runs, rate(cores), rate(1))
        ratio = statistics.median(many) / statistics.median(one)
        self.table.add(f"key and CSR, ecdsa-p256, {cores} cores", f"{statistics.median(many):,.0f} /s",
                       f"{statistics.median(one):,.0f} /s (one thread of ours)", f"{ratio:.2f}",
                       f"≥ {0.9 * cores:.1f} ×", ratio >= 0.9 * cores)

    # --- planner

    def planner(self):
        # In memory where there is such a file system: 100,000 durable writes are not what is measured here.
        memory = "/dev/shm" if os.path.isdir("/dev/shm") and os.access("/dev/shm", os.W_OK) else None
        with tempfile.TemporaryDirectory(dir=memory) as directory:
            small, large = f"{directory}/small", f"{directory}/large"
            output([OURS, "fill", small, 1_000, 10])
            output([OURS, "fill", large, 100_000, 10])
            plans = [figures([OURS, "plan", large, 100_000]) for _ in range(self.runs)]
            if any(plan["count"] != 100_000 for plan in plans):
                fail("the plan does not have 100,000 lines")

            def due(where):
                def measure():
                    found = figures([OURS, "due", where, 201])
                    if found["count"] != 10:
                        fail(f"{found['count']} are due in {where}, not 10")
                    return statistics.median(found["seconds"]) * 1e6
                return measure

            in_large, in_small = in_turns(self.runs, due(large), due(small))
        seconds = [plan["seconds"][0] for plan in plans]
        self.table.limit("plan of 100,000 certificates out of the database", seconds, "s", 1, 2)
        self.table.limit("its peak memory, whole process", [p["peakBytes"] / 1e6 for p in plans], "MB", 200)
        ratio = statistics.median(in_large) / statistics.median(in_small)
        self.table.add("finding 10 due of 100,000", f"{statistics.median(in_large):,.0f} µs",
                       f"{statistics.median(in_small):,.0f} µs (10 due of 1,000)", f"{ratio:.2f}", "≤ 1.5 ×",
                       ratio <= 1.5)

    # --- command line

    def command(self):
        self.fixtures()
        with tempfile.TemporaryDirectory() as directory:
            configuration = write_configuration(pathlib.Path(directory))
            output([CERTS, "--config", configuration, "scan", FILES])
            listed = json.loads(output([CERTS, "--config", configuration, "status", "-o", "json"]))["certificates"]
            if len(listed) < COUNT:
                fail(f"certs status lists {len(listed)} certificates, not {COUNT}")
            table, document, helped, openssl = in_turns(
                max(self.runs, 11),
                lambda: elapsed([CERTS, "--config", configuration, "status"]),
                lambda: elapsed([CERTS, "--config", configuration, "status", "-o", "json"]),
                lambda: elapsed([CERTS, "--help"]),
                lambda: elapsed(["openssl", "version"]))
        self.table.add("certs --help", f"{statistics.median(helped):.1f} ms",
                       f"{statistics.median(openssl):.1f} ms (openssl version)",
                       f"{statistics.median(helped) / statistics.median(openssl):.2f}", "< 20 ms",
                       statistics.median(helped) < 20)
        self.table.limit(f"certs status of {COUNT:,} certificates, table", table, "ms", 300)
        self.table.limit(f"certs status of {COUNT:,} certificates, JSON", document, "ms", 300)

    def serve(self):
        self.fixtures()
        for label, scanned, goal in (("", False, 64), (f" with {COUNT:,} watched files", True, None)):
            values = []
            for _ in range(self.runs):
                values.append(self.resident_after_ten_seconds(scanned))
            if goal:
                self.table.limit(f"certs serve, idle for 10 s{label}, resident", values, "MiB", goal, 1)
            else:
                self.table.add(f"certs serve, idle for 10 s{label}, resident", f"{statistics.median(values):.1f} MiB")

    def resident_after_ten_seconds(self, scanned):
        with tempfile.TemporaryDirectory() as directory:
            configuration = write_configuration(pathlib.Path(directory))
            if scanned:
                output([CERTS, "--config", configuration, "scan", FILES])
            with subprocess.Popen([CERTS, "--config", configuration, "serve"], stdout=subprocess.DEVNULL,
                                  stderr=subprocess.DEVNULL) as service:
                try:
                    time.sleep(10)
                    if service.poll() is not None:
                        fail(f"certs serve ended with {service.returncode}")
                    status = pathlib.Path(f"/proc/{service.pid}/status").read_text()
                finally:
                    service.terminate()
                    try:
                        service.wait(timeout=20)
                    except subprocess.TimeoutExpired:
                        service.kill()
        return int(status.split("VmRSS:")[1].split()[0]) / 1024

    # --- rotation

    def rotation(self, count=100):
        with tempfile.TemporaryDirectory(prefix="certs-bench.") as directory, \
                LoadBalancer(pathlib.Path(directory)) as proxy:
            rotate = [CERTS, "--config", proxy.configuration, "rotate", "messenger"]
            # The first one makes the authority, too.
            output(rotate)
            values, served = [], {proxy.served()}
            for index in range(count):
                values.append(elapsed(rotate) / 1000)
                served.add(proxy.served())
                if (index + 1) % 20 == 0:
                    print(f"    rotation {index + 1} of {count}", file=sys.stderr)
            if len(served) != count + 1:
                fail(f"{count} rotations, but HAProxy was seen with {len(served)} certificates")
            said = output([CERTS, "--config", proxy.configuration, "history", "messenger", "--limit", count, "-o", "json"])
            history = json.loads(said)["rotations"]
        if any(item["outcome"] != "committed" for item in history):
            fail("a rotation was not committed")
        stages = {}
        for item in history:
            for step in item["steps"]:
                if step["seconds"] is not None:
                    stages.setdefault(step["step"], []).append(step["seconds"] * 1000)
        quantiles = statistics.quantiles(values, n=20)
        name = f"certs rotate, P-256, local CA, HAProxy, verified ({count} times)"
        self.table.limit(f"{name}, p50", [statistics.median(values)], "s", 1, 3)
        self.table.limit(f"{name}, p95", [quantiles[-1]], "s", 1, 3)
        medians = ", ".join(f"{step} {statistics.median(values):.0f} ms" for step, values in stages.items())
        print(f"  stages, medians: {medians}", file=sys.stderr)
        swap = statistics.median(stages["apply"])
        self.table.add("of it the swap in HAProxy (apply)", f"{swap:.0f} ms", goal="milliseconds", met=swap < 100)
        rest = sum(statistics.median(v) for k, v in stages.items() if k != "apply")
        self.table.add("of it all other stages", f"{rest:.0f} ms")


CONFIGURATION = """version: 1
state: ./state
issuers:
  local: {{ type: local-ca, commonName: Benchmark CA, validity: 90d }}
certificates:
  - name: messenger
    subject: {{ commonName: messenger.example.com }}
    dnsNames: [messenger.example.com]
    key: {{ algorithm: ecdsa-p256 }}
    issuer: local
    targets: [{targets}]
{target}
server: {{ listen: 127.0.0.1:{metrics} }}
"""
TARGET = """targets:
  - name: loadbalancer
    type: haproxy
    bundle: {bundle}
    reload: {{ method: runtime, socket: {socket} }}
    endpoints: [ {{ address: 127.0.0.1:{port}, serverName: messenger.example.com }} ]
"""
HAPROXY = """global
    stats socket {socket} mode 600 level admin
defaults
    mode http
    timeout connect 5s
    timeout client 10s
    timeout server 10s
frontend https-in
    bind 127.0.0.1:{port} ssl crt {bundle}
    http-request return status 200
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def write_configuration(directory, targets="", target=""):
    path = directory / "certs.yml"
    path.write_text(CONFIGURATION.format(targets=targets, target=target, metrics=free_port()))
    return path


class LoadBalancer:
    """A real HAProxy on a free loopback port, with a certificate of its own and an admin socket."""

    def __init__(self, directory):
        self.port = free_port()
        self.process = None
        bundle, admin = directory / "server.pem", directory / "admin.sock"
        key, leaf = directory / "key.pem", directory / "leaf.pem"
        output(["openssl", "req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                "-days", "30", "-keyout", key, "-out", leaf, "-subj", "/CN=messenger.example.com",
                "-addext", "subjectAltName=DNS:messenger.example.com"])
        bundle.write_bytes(leaf.read_bytes() + key.read_bytes())
        bundle.chmod(0o600)
        self.haproxy_configuration = directory / "haproxy.cfg"
        self.haproxy_configuration.write_text(HAPROXY.format(socket=admin, port=self.port, bundle=bundle))
        self.configuration = write_configuration(
            directory, "loadbalancer", TARGET.format(bundle=bundle, socket=admin, port=self.port))

    def __enter__(self):
        self.process = subprocess.Popen(["haproxy", "-db", "-f", self.haproxy_configuration], stderr=subprocess.DEVNULL)
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return self
            time.sleep(0.05)
        self.__exit__()
        fail("HAProxy does not answer")

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=20)

    def served(self):
        """The certificate of one handshake, as PEM."""
        return ssl_certificate("127.0.0.1", self.port)


def ssl_certificate(host, port):
    import ssl
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection((host, port), timeout=5) as plain, \
            context.wrap_socket(plain, server_hostname="messenger.example.com") as secure:
        return secure.getpeercert(binary_form=True)


GROUPS = ["inventory", "scan", "keys", "parallel", "planner", "command", "serve", "rotation"]


def machine():
    lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "?")
    versions = (["openssl", "version"], ["go", "version"], ["haproxy", "-v"])
    first = [output(command).splitlines()[0] for command in versions]
    load = os.getloadavg()
    return (f"{len(os.sched_getaffinity(0))} cores of {model}, Linux {platform.release()}; {'; '.join(first)}; "
            f"load average {load[0]:.1f} before")


def main():
    parser = argparse.ArgumentParser(prog="Benchmarks/run")
    parser.add_argument("--runs", type=int, default=7, metavar="N", help="medians of N runs, at least 5")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(GROUPS))
    options = parser.parse_args()
    unknown = set(options.names) - set(GROUPS)
    if unknown or options.runs < 5:
        parser.error(f"no group {', '.join(sorted(unknown))}" if unknown else "fewer than 5 runs say nothing")
    before = machine()
    bench = Bench(options.runs)
    for name in options.names or GROUPS:
        print(f"{name}:", file=sys.stderr)
        getattr(bench, name)()
    print(f"\n{time.strftime('%Y-%m-%d')}, medians of {options.runs} runs, {before}, {os.getloadavg()[0]:.1f} after\n")
    print(bench.table.text())


if __name__ == "__main__":
    main()
