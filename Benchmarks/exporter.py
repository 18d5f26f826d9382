"""The exporter: `Benchmarks/run exporter [scrape scan probe]` builds what this needs and starts it.

Scrapes of 10,000 and 100,000 watched certificates, a changed file until it is visible, and 1,000 TLS endpoints beside
Debian's prometheus-blackbox-exporter. Everything listens on loopback and ends with the benchmark. Standard library only.
"""
import argparse
import concurrent.futures
import contextlib
import gzip
import http.client
import os
import pathlib
import random
import shutil
import socket
import ssl
import statistics
import sys
import tempfile
import threading
import time

import measure
from acme import process
from measure import BUILT, CERTS, OURS, fail, figures, free_port, in_turns, output

CONFIGURATION = """version: 1
state: ./state
schedule: {{ scan: {scan}, probe: {probe} }}
server: {{ listen: "127.0.0.1:{port}" }}
{watched}
"""
SCRAPES = 200
ENDPOINTS = 1_000
LOOKS = 2


class Service:
    """`certs serve` with what it watches."""

    def __init__(self, directory, watched, probe="1d", scan="30s", environment=None):
        directory.mkdir()
        self.directory, self.port = directory, free_port()
        self.configuration = directory / "certs.yml"
        self.configuration.write_text(CONFIGURATION.format(port=self.port, watched=watched, probe=probe, scan=scan))
        self.environment = {**os.environ, **(environment or {})}
        self.stack = contextlib.ExitStack()

    def __enter__(self):
        self.process = self.stack.enter_context(process(
            [CERTS, "--config", self.configuration, "serve"], self.directory / "log", env=self.environment))
        return self

    def __exit__(self, *details):
        self.stack.__exit__(*details)

    def log(self):
        return (self.directory / "log").read_text(errors="replace")[-2000:]

    def get(self, path="/metrics"):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        with contextlib.closing(connection):
            return scrape(connection, path)

    def text(self, family=None):
        return gzip.decompress(self.get("/metrics" + (f"?family={family}" if family else ""))).decode()

    def wait(self, line, family, seconds=300):
        """Until a line is there."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.process.poll() is not None:
                fail(f"certs serve ended with {self.process.returncode}: {self.log()}")
            with contextlib.suppress(OSError, http.client.HTTPException):
                if line in self.text(family).splitlines():
                    return
            time.sleep(0.1)
        fail(f"no '{line}' in {seconds} s: {self.log()}")

    def memory(self, key):
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split(f"{key}:")[1].split()[0]) / 1024

    def forget_peak(self):
        """VmHWM begins anew (proc_pid_clear_refs(5))."""
        pathlib.Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")


def scrape(connection, path="/metrics"):
    """The compressed body of one answer."""
    connection.request("GET", path, headers={"Accept-Encoding": "gzip"})
    response = connection.getresponse()
    body = response.read()
    if response.status != 200 or response.headers["Content-Encoding"] != "gzip":
        fail(f"{path} answered {response.status}, {response.headers['Content-Encoding']}: {body[:200]}")
    return body


def processor_seconds(pid):
    """User and system time of a process so far."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def fixtures(count):
    """Certificate files, made once."""
    if count == measure.COUNT:
        measure.Bench(1).fixtures()
        return measure.FILES
    files = BUILT / f"p256-{count}"
    if not files.exists():
        partial = files.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        output([OURS, "fixtures", partial, count])
        partial.rename(files)
    return files


def watch(directory):
    return f"watch: [ {{ name: bench, directory: {directory} }} ]"


# --- scrapes

def scrapes(table, runs, directory):
    for count, latency, size, resident in ((10_000, 50, 0.6, 64), (100_000, 500, 6, 300)):
        with Service(directory / f"scrape-{count}", watch(fixtures(count)), scan="1d") as service:
            begin = time.monotonic()
            service.wait(f'certs_source_certificates{{source="bench"}} {count}', "certs_source_certificates", 900)
            print(f"    {count} files visible after {time.monotonic() - begin:.1f} s", file=sys.stderr)
            body = service.get()
            seen = gzip.decompress(body).decode().count("\nssl_cert_expiry_days{")
            if seen != count:
                fail(f"{seen} series of ssl_cert_expiry_days, not {count}")
            time.sleep(20)
            idle = service.memory("VmRSS")
            singles, bursts, growth = [], [], []
            for run in range(runs):
                singles.append(sorted(series(service, SCRAPES)))
                # A rendering, which needs memory for itself, is in both peaks.
                service.forget_peak()
                time.sleep(20)
                before = service.memory("VmHWM")
                service.forget_peak()
                end = time.monotonic() + 20
                bursts += burst(service, 50)
                time.sleep(max(0, end - time.monotonic()))
                growth.append((service.memory("VmHWM") / before - 1) * 100)
                print(f"    run {run + 1} of {runs}", file=sys.stderr)
            after = service.memory("VmRSS")
        name = f"/metrics of {count:,} certificates"
        p99 = [quantile(values, 0.99) for values in singles]
        table.add(f"{name}, p50", f"{statistics.median(statistics.median(v) for v in singles):.1f} ms")
        table.limit(f"{name}, p99", p99, "ms", latency, 1)
        table.add(f"{name}, compressed", f"{len(body) / 1e6:.2f} MB", goal=f"< {size} MB", met=len(body) < size * 1e6)
        table.add(f"{name}, 50 at once, the slowest", f"{max(bursts):,.0f} ms")
        table.limit(f"{name}, 50 at once, more memory", growth, "%", 10, 1)
        table.limit(f"{name}, resident after 20 s, and after the scrapes: {after:.0f} MiB", [idle], "MiB", resident, 1)


def series(service, count):
    """Milliseconds of scrapes one after the other over one connection, as Prometheus makes them."""
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=60)
    with contextlib.closing(connection):
        return [milliseconds(lambda: scrape(connection)) for _ in range(count)]


def burst(service, count):
    """Milliseconds of scrapes that begin at the same time."""
    start = threading.Barrier(count)

    def one(_):
        start.wait()
        return milliseconds(service.get)

    with concurrent.futures.ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count)))


def milliseconds(body):
    begin = time.perf_counter()
    body()
    return (time.perf_counter() - begin) * 1000


def quantile(values, share):
    return values[min(len(values) - 1, int(len(values) * share))]


def managed(table, runs, _):
    """Certificates of ours, each at one endpoint, have more families than watched ones."""
    for count, size in ((10_000, 0.6), (100_000, 6)):
        seen = figures([OURS, "exposition", count, runs])
        name = f"the exposition of {count:,} managed certificates at one endpoint each, {seen['series']:,} series"
        table.add(f"{name}, rendered", f"{statistics.median(seen['seconds']) * 1000:,.0f} ms")
        table.add(f"{name}, compressed from {seen['bytes'] / 1e6:.0f} MB", f"{seen['compressedBytes'] / 1e6:.2f} MB",
                  goal=f"< {size} MB", met=seen["compressedBytes"] < size * 1e6)


# --- scans

def scan(table, runs, directory):
    measure_scan = measure.Bench(runs)
    measure_scan.table = table
    measure_scan.scan()
    # Links of the same file system: the fixtures stay as they are.
    files = directory / "changing"
    files.mkdir()
    for path in sorted(fixtures(measure.COUNT).iterdir()):
        os.link(path, files / path.name)
    with Service(directory / "change", watch(files)) as service:
        service.wait(f'certs_source_certificates{{source="bench"}} {measure.COUNT}', "certs_source_certificates")
        values = []
        for run in range(max(runs, 11)):
            # Not in step with the scans.
            time.sleep(3 + random.random() * 5)
            values.append(visible_after(service, files / f"{random.randrange(measure.COUNT):05}.pem", directory, run))
    table.limit(f"one changed file of {measure.COUNT:,} in /metrics, median", [statistics.median(values)], "s", 2, 2)
    table.limit(f"one changed file of {measure.COUNT:,} in /metrics, slowest of {len(values)}", [max(values)], "s", 2, 2)


def visible_after(service, path, directory, run):
    """Seconds from the rename of a new certificate over an old one until its end is exported."""
    fresh = directory / "fresh.pem"
    output(["openssl", "req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-days",
            200 + run, "-keyout", "/dev/null", "-out", fresh, "-subj", "/CN=fresh.example.com"])
    end = output(["openssl", "x509", "-in", fresh, "-noout", "-enddate"]).strip().removeprefix("notAfter=")
    seconds = int(ssl.cert_time_to_seconds(end))
    line = (f'ssl_cert_not_after_timestamp_seconds{{instance="{path}",cert="bench/{path.name}"}} {seconds}')
    begin = time.monotonic()
    fresh.rename(path)
    service.wait(line, "ssl_cert_not_after_timestamp_seconds", 60)
    return time.monotonic() - begin


# --- probes

class Endpoints:
    """One HAProxy with 1,000 listeners, each with a certificate of its own."""

    def __init__(self, directory):
        self.directory = directory / "endpoints"
        output([OURS, "bundles", self.directory, ENDPOINTS])
        self.stack = contextlib.ExitStack()

    def __enter__(self):
        for _ in range(20):
            self.base = random.randrange(20_000, 31_000)
            binds = "".join(
                f"    bind 127.0.0.1:{self.base + index} ssl crt {self.directory}/host-{index:05}.pem\n"
                for index in range(ENDPOINTS))
            path = self.directory / "haproxy.cfg"
            path.write_text(
                f"global\n    stats socket {self.directory}/admin.sock mode 600 level admin\n    maxconn 4000\n"
                "    tune.ssl.cachesize 0\n"
                "defaults\n    mode http\n    timeout connect 5s\n    timeout client 10s\n    timeout server 10s\n"
                f"frontend endpoints\n{binds}    http-request return status 200\n")
            running = self.stack.enter_context(process(["haproxy", "-db", "-f", path], self.directory / "log"))
            end = time.monotonic() + 20
            while time.monotonic() < end and running.poll() is None:
                with contextlib.suppress(OSError):
                    self.handshakes()
                    return self
                time.sleep(0.1)
            self.stack.close()
        fail(f"HAProxy does not start: {(self.directory / 'log').read_text()[-1000:]}")

    def __exit__(self, *details):
        self.stack.__exit__(*details)

    def handshakes(self):
        """All that it has counted so far."""
        with socket.socket(socket.AF_UNIX) as admin:
            admin.settimeout(10)
            admin.connect(str(self.directory / "admin.sock"))
            admin.sendall(b"show info\n")
            text = b"".join(iter(lambda: admin.recv(65536), b"")).decode()
        return int(next(line.split(":")[1] for line in text.splitlines() if line.startswith("CumSslConns:")))

    def addresses(self):
        return [(f"127.0.0.1:{self.base + index}", f"host-{index:05}.benchmark.example.com")
                for index in range(ENDPOINTS)]

    def authority(self):
        """The CA of the bundles: their last certificate."""
        text = (self.directory / "host-00000.pem").read_text()
        begin = "-----BEGIN CERTIFICATE-----"
        path = self.directory / "ca.pem"
        path.write_text(begin + text.rpartition(begin)[2])
        return path


def probe(table, runs, directory):
    with Endpoints(directory) as endpoints:
        watched = "endpoints:\n" + "".join(
            f'  - {{ address: "{address}", serverName: {name} }}\n' for address, name in endpoints.addresses())
        ours = Service(directory / "probe", watched, probe="5s", environment={"SSL_CERT_FILE": str(endpoints.authority())})
        blackbox = Blackbox(directory)
        with ours, blackbox:
            ours.wait(f'certs_source_certificates{{source="endpoints"}} {ENDPOINTS}', "certs_source_certificates")
            if ours.text("ssl_cert_chain_valid").count("} 1\n") != ENDPOINTS:
                fail("not every endpoint has a valid chain")
            ours_rate, peer, bare = in_turns(
                runs, lambda: looks(ours, endpoints), lambda: blackbox.probes(endpoints),
                lambda: handshakes(endpoints))
    name = f"{ENDPOINTS:,} TLS endpoints looked at by the service, per second of processor"
    table.compare(name, ours_rate, peer, "prometheus-blackbox-exporter", "/s", 3)
    rate, limit = statistics.median(ours_rate), statistics.median(bare)
    table.add("", "", f"{limit:,.0f} /s (handshakes alone, C with OpenSSL)", f"{rate / limit:.2f}")


def handshakes(endpoints):
    """What OpenSSL's handshakes alone cost a loop in C, by the same measure."""
    path = endpoints.directory / "list"
    path.write_text("".join(f"{address.replace(':', ' ')} {name}\n" for address, name in endpoints.addresses()))
    seen = figures([BUILT / "handshakes-openssl", "verify", 32, LOOKS, path])
    if seen["failures"]:
        fail(f"the loop in C failed {seen['failures']} times: {seen['firstFailure']}")
    return seen["count"] / seen["processorSeconds"]


def looks(service, endpoints):
    """Endpoints for each second of processor of `certs serve`, its rendering and waiting included."""
    quiet(endpoints)
    (begin, used) = endpoints.handshakes(), processor_seconds(service.process.pid)
    while endpoints.handshakes() < begin + LOOKS * ENDPOINTS:
        time.sleep(0.05)
    quiet(endpoints)
    count = endpoints.handshakes() - begin
    return count / (processor_seconds(service.process.pid) - used)


def quiet(endpoints):
    """Until a look has ended, and the next one not begun."""
    known, since = endpoints.handshakes(), time.monotonic()
    moved = False
    while True:
        time.sleep(0.1)
        now = endpoints.handshakes()
        if now != known:
            known, since, moved = now, time.monotonic(), True
        elif time.monotonic() - since > 1 and (moved or known % ENDPOINTS == 0):
            return


class Blackbox:
    """Debian's prometheus-blackbox-exporter; it trusts everything, which is less work than ours has."""

    def __init__(self, directory):
        self.directory, self.port = directory / "blackbox", free_port()
        self.directory.mkdir()
        (self.directory / "blackbox.yml").write_text(
            "modules:\n  tls:\n    prober: tcp\n    timeout: 10s\n    tcp:\n      tls: true\n"
            "      tls_config: { insecure_skip_verify: true }\n")
        self.stack = contextlib.ExitStack()

    def __enter__(self):
        self.process = self.stack.enter_context(process(
            ["prometheus-blackbox-exporter", f"--config.file={self.directory}/blackbox.yml",
             f"--web.listen-address=127.0.0.1:{self.port}", "--log.level=error"], self.directory / "log"))
        for _ in range(100):
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return self
            time.sleep(0.1)
        fail(f"the blackbox exporter does not answer: {(self.directory / 'log').read_text()[-1000:]}")

    def __exit__(self, *details):
        self.stack.__exit__(*details)

    def probes(self, endpoints):
        """Endpoints for each second of its processor, asked for by 32 clients."""
        waiting = iter([address for address, _ in endpoints.addresses()] * LOOKS)
        lock, good = threading.Lock(), []

        def client(_):
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
            with contextlib.closing(connection):
                while True:
                    with lock:
                        target = next(waiting, None)
                    if target is None:
                        return
                    connection.request("GET", f"/probe?module=tls&target={target}")
                    text = connection.getresponse().read().decode()
                    good.append("\nprobe_success 1" in text and "probe_ssl_earliest_cert_expiry" in text)

        used = processor_seconds(self.process.pid)
        with concurrent.futures.ThreadPoolExecutor(32) as pool:
            list(pool.map(client, range(32)))
        used = processor_seconds(self.process.pid) - used
        if len(good) != LOOKS * ENDPOINTS or not all(good):
            fail(f"the blackbox exporter saw {sum(good)} of {LOOKS * ENDPOINTS}")
        return len(good) / used


PARTS = {"scrape": scrapes, "managed": managed, "scan": scan, "probe": probe}


def main():
    parser = argparse.ArgumentParser(prog="Benchmarks/run exporter")
    parser.add_argument("--runs", type=int, default=7, metavar="N", help="medians of N runs, at least 5")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(PARTS))
    options = parser.parse_args()
    unknown = set(options.names) - set(PARTS)
    if unknown or options.runs < 5:
        parser.error(f"no part {', '.join(sorted(unknown))}" if unknown else "fewer than 5 runs say nothing")
    before, table = measure.machine(), measure.Table()
    with tempfile.TemporaryDirectory(prefix="exporter.", dir=BUILT) as directory:
        for name in options.names or PARTS:
            print(f"{name}:", file=sys.stderr)
            PARTS[name](table, options.runs, pathlib.Path(directory))
    print(f"\n{time.strftime('%Y-%m-%d')}, medians of {options.runs} runs, {before}, {os.getloadavg()[0]:.1f} after\n")
    print(table.text())


if __name__ == "__main__":
    main()
