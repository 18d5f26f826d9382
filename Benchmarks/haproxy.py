"""Many certificates on one real HAProxy: `Benchmarks/run haproxy [NAME…]` builds what this needs and starts it.

Rotates all, swaps beside a bare loop, probes beside C, and puts load on it with and without changes; prints medians as a
table in Markdown. Standard library only; what it starts listens on loopback and ends with it.
"""
import argparse
import contextlib
import json
import os
import pathlib
import signal
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time

import measure
from measure import elapsed, fail, figures, free_port, in_turns, output

HAPROXY = """global
    stats socket {directory}/admin.sock mode 600 level admin
    stats timeout 30s
    maxconn 4000
    hard-stop-after 30s
defaults
    mode http
    timeout connect 5s
    timeout client 20s
    timeout server 20s
frontend https-in
    bind 127.0.0.1:{port} ssl crt-list {directory}/crt-list.txt
    http-request return status 200 content-type text/plain string ok
"""
CONFIGURATION = """version: 1
state: ./state
issuers:
  local: {{ type: local-ca, commonName: Benchmark CA, validity: 90d }}
targets:
  - name: loadbalancer
    type: haproxy
    bundle: {directory}/live/{{name}}.pem
    reload: {{ method: runtime, socket: {directory}/admin.sock }}
    endpoints: [ {{ address: "127.0.0.1:{port}" }} ]
server: {{ listen: "127.0.0.1:{metrics}" }}
certificates:
"""
CERTIFICATE = """  - name: {name}
    subject: {{ commonName: {host} }}
    dnsNames: [{host}]
    key: {{ algorithm: ecdsa-p256 }}
    issuer: local
    targets: [loadbalancer]
"""
HANDSHAKES = 16


class Proxy:
    """HAProxy as master and worker with `count` certificates in a crt-list, and what certs needs to rotate them."""

    def __init__(self, directory, programs, count):
        self.directory, self.count, self.port = directory, count, free_port()
        self.names = [f"host-{index:05}" for index in range(count)]
        self.hosts = [f"{name}.benchmark.example.com" for name in self.names]
        for folder in ("live", "fresh"):
            output([programs.ours, "bundles", directory / folder, count])
        self.write("crt-list.txt", "".join(f"{directory}/live/{name}.pem\n" for name in self.names))
        self.write("haproxy.cfg", HAPROXY.format(directory=directory, port=self.port))
        self.configuration = self.write(
            "certs.yml", CONFIGURATION.format(directory=directory, port=self.port, metrics=free_port())
            + "".join(CERTIFICATE.format(name=name, host=host) for name, host in zip(self.names, self.hosts)))
        self.endpoints = self.write("endpoints", "".join(f"127.0.0.1 {self.port} {host}\n" for host in self.hosts))
        self.server_names = self.write("names", "".join(f"{host}\n" for host in self.hosts))
        self.admin, self.master = directory / "admin.sock", directory / "master.sock"
        self.process = None

    def write(self, name, text):
        path = self.directory / name
        path.write_text(text)
        return path

    def __enter__(self):
        with open(self.directory / "haproxy.log", "wb") as log:
            self.process = subprocess.Popen(
                # It must not outlive the benchmark, however that ends.
                ["setpriv", "--pdeathsig", "KILL", "haproxy", "-W", "-db", "-S", f"{self.master},mode,600",
                 "-f", self.directory / "haproxy.cfg"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            self.wait_until(lambda: "Pid:" in self.ask(self.admin, "show info"), "HAProxy does not get ready")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def wait_until(self, condition, otherwise, seconds=120):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            with contextlib.suppress(OSError):
                if condition():
                    return
            if self.process.poll() is not None:
                break
            time.sleep(0.02)
        fail(f"{otherwise}: {(self.directory / 'haproxy.log').read_text()[-2000:]}")

    def ask(self, path, command):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(10)
            connection.connect(str(path))
            connection.sendall(f"{command}\n".encode())
            connection.shutdown(socket.SHUT_WR)
            parts = []
            while part := connection.recv(65536):
                parts.append(part)
        return b"".join(parts).decode()

    def workers(self):
        """The pids of the current workers, by the master's own list."""
        rows = [line.split() for line in self.ask(self.master, "show proc").split("# old workers")[0].splitlines()]
        return {row[0] for row in rows if len(row) > 1 and row[1] == "worker"}

    def reload(self):
        """Reloads through the master, and returns when the new worker serves; its predecessor has got the order to go."""
        before = self.workers()
        self.ask(self.master, "reload")

        def is_new():
            now = self.workers()
            return now and not now & before and now == {self.field("Pid")} and self.field("Stopping") == "0"
        self.wait_until(is_new, "no new worker after a reload")

    def field(self, name):
        lines = (line.partition(": ") for line in self.ask(self.admin, "show info").splitlines())
        return next((value.strip() for key, _, value in lines if key == name), None)

    def served(self):
        """The leaf of each name in DER, by handshakes of Python's."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE

        def one(host):
            with socket.create_connection(("127.0.0.1", self.port), timeout=20) as plain, \
                    context.wrap_socket(plain, server_hostname=host) as secure:
                return secure.getpeercert(binary_form=True)
        return [one(host) for host in self.hosts]

    def on_disk(self):
        """The first certificate of each bundle in DER."""
        end = "-----END CERTIFICATE-----"
        texts = [(self.directory / f"live/{name}.pem").read_text() for name in self.names]
        return [ssl.PEM_cert_to_DER_cert(text[text.index("-----BEGIN CERT"):].partition(end)[0] + end) for text in texts]


class Scenes:
    def __init__(self, options):
        self.options = options
        self.count, self.runs, self.programs = options.count, options.runs, options
        self.table = measure.Table()

    @contextlib.contextmanager
    def proxy(self):
        with tempfile.TemporaryDirectory(prefix="certs-bench.") as directory, \
                Proxy(pathlib.Path(directory), self.programs, self.count) as proxy:
            yield proxy

    def rotate_all(self, proxy):
        """`certs rotate --all`, and its own word for each certificate."""
        return elapsed([self.programs.certs, "--config", proxy.configuration, "rotate", "--all"])

    def rotate(self):
        with self.proxy() as proxy:
            values, before = [], proxy.served()
            for run in range(self.runs):
                values.append(self.rotate_all(proxy))
                after = proxy.served()
                if after != proxy.on_disk():
                    fail("what is served after certs rotate --all is not what is on the disk")
                if unchanged := sum(old == new for old, new in zip(before, after)):
                    fail(f"{unchanged} certificates are still the old ones after certs rotate --all")
                before = after
                print(f"    run {run + 1} of {self.runs}: {values[-1] / 1000:.1f} s", file=sys.stderr)
        median, used = statistics.median(values) / 1000, statistics.median(value.used for value in values) / 1000
        self.table.add(f"certs rotate --all, {self.count:,} certificates, each verified",
                       f"{median:.1f} s ({used:.1f} s of processor)", goal="< 60 s", met=median < 60)

    def swaps(self):
        with self.proxy() as proxy:
            arguments = [proxy.admin, proxy.directory / "live", proxy.directory / "fresh", self.count]

            def milliseconds(*command):
                found = figures([*command, *arguments])
                return {key: statistics.median(found[key]) * 1000 for key in ("seconds", "whole") if key in found}

            loop, ours = in_turns(self.runs, lambda: milliseconds(self.programs.peers / "swaps-haproxy"),
                                  lambda: milliseconds(self.programs.ours, "swaps"))
        bare = statistics.median(run["seconds"] for run in loop)
        for name, key, most in (("set + commit of one certificate", "seconds", 1.3),
                                ("the whole swap: looked at, set, read back, committed, read back twice", "whole", None)):
            value = statistics.median(run[key] for run in ours)
            self.table.add(name, f"{value:.2f} ms", f"{bare:.2f} ms (bare loop of set + commit in C)",
                           f"{value / bare:.2f}", f"≤ {most} ×" if most else "–", value / bare <= most if most else None)

    def probe(self):
        def rate(found, count):
            if found["failures"]:
                fail(f"{found['failures']} handshakes failed: {found['firstFailure']}")
            return found["count"] / found["seconds"], found["processorSeconds"] / count * 1e6

        with self.proxy() as proxy:
            handshakes = HANDSHAKES * self.count
            for threads in self.options.threads:
                loop, ours = in_turns(
                    self.runs,
                    lambda: rate(figures([self.programs.peers / "handshakes-openssl", "verify", threads, HANDSHAKES,
                                          proxy.endpoints]), handshakes),
                    lambda: rate(figures([self.programs.ours, "probe", proxy.endpoints, HANDSHAKES, threads]), handshakes))
                name = f"{self.count:,} endpoints × {HANDSHAKES} handshakes, {threads} threads"
                self.table.compare(name, [run[0] for run in ours], [run[0] for run in loop], "C with the same calls", "/s", 0.7)
                mine, other = (statistics.median(run[1] for run in side) for side in (ours, loop))
                self.table.add("processor time of each", f"{mine:,.0f} µs", f"{other:,.0f} µs (C)", f"{mine / other:.2f}")

    def load(self):
        for rate in self.options.rates:
            calm, busy = in_turns(self.runs, lambda: self.under_load(rate, False), lambda: self.under_load(rate, True))
            name = f"{rate} connections/s" if rate else "connections back to back"
            failures = sum(run["failures"] for run in busy)
            changes = f"{self.count:,} swaps and {self.options.reloads} reloads"
            self.table.add(f"{name}, {changes}: failed", f"{failures} of {sum(r['connections'] for r in busy):,}",
                           f"{sum(r['failures'] for r in calm)} of {sum(r['connections'] for r in calm):,} (without changes)",
                           goal="0", met=failures == 0)
            for run in busy:
                if run["failures"]:
                    print(f"    first failure: {run['firstFailure']}", file=sys.stderr)
            for quantile, most in (("p50", None), ("p99", 1.5), ("max", None)):
                mine, other = (statistics.median(run[quantile] for run in side) for side in (busy, calm))
                self.table.add(f"{name}, handshake {quantile}", f"{mine:.1f} ms", f"{other:.1f} ms (without changes)",
                               f"{mine / other:.2f}", f"≤ {most} ×" if most else "–",
                               mine / other <= most if most else None)

    def under_load(self, rate, changing):
        """The same load for the same time, with swaps and reloads in it or not."""
        with self.proxy() as proxy:
            # Its own end is only for the case that nobody ends it.
            load = subprocess.Popen(
                [str(part) for part in (self.programs.peers / "handshakes-openssl", "load", self.options.clients, 3600,
                                        rate, f"127.0.0.1:{proxy.port}", proxy.server_names)],
                stdout=subprocess.PIPE, text=True)
            try:
                end = time.monotonic() + self.options.seconds
                if changing:
                    self.change(proxy, end)
                time.sleep(max(0.0, end - time.monotonic()))
                if load.poll() is not None:
                    fail(f"the load ended by itself with {load.returncode}")
                load.terminate()
                printed, _ = load.communicate(timeout=60)
            finally:
                if load.poll() is None:
                    load.kill()
                    load.wait()
        if load.returncode != 0:
            fail(f"the load ended with {load.returncode}")
        found = json.loads(printed)
        print(f"    {found['connections']:,} connections in {found['seconds']:.0f} s", file=sys.stderr)
        return found

    def change(self, proxy, end):
        """All swaps, then all reloads, spread over what is left of the time; they take longer where they have to."""
        start = time.monotonic()
        if self.options.swap == "loop":
            output([self.programs.ours, "swaps", proxy.admin, proxy.directory / "live", proxy.directory / "fresh", self.count])
        else:
            self.rotate_all(proxy)
        swapped = time.monotonic()
        pause = max(0.0, (end - swapped) / (self.options.reloads + 1))
        for index in range(self.options.reloads):
            time.sleep(max(0.0, swapped + pause * (index + 0.5) - time.monotonic()))
            proxy.reload()
        print(f"    swaps took {swapped - start:.0f} s, with the reloads {time.monotonic() - start:.0f} s", file=sys.stderr)


NAMES = ["rotate", "swaps", "probe", "load"]


def arguments():
    parser = argparse.ArgumentParser(prog="Benchmarks/run haproxy", description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(NAMES))
    parser.add_argument("--quick", action="store_true", help="20 certificates, one run each: shows that it works, measures nothing")
    parser.add_argument("--count", type=int, metavar="N", help="certificates (1,000)")
    parser.add_argument("--runs", type=int, metavar="N", help="medians of N runs (5)")
    parser.add_argument("--seconds", type=int, metavar="N", help="of load in each run (60)")
    parser.add_argument("--reloads", type=int, metavar="N", help="under load (20)")
    parser.add_argument("--clients", type=int, default=8, metavar="N", help="threads that make the load (8)")
    parser.add_argument("--rates", type=int, nargs="+", default=[200, 0], metavar="N",
                        help="new connections a second; 0: back to back (200 0)")
    parser.add_argument("--threads", type=int, nargs="+", default=[len(os.sched_getaffinity(0)), 32], metavar="N",
                        help="of the probes (one per core, and 32 as the service has)")
    parser.add_argument("--swap", choices=["rotate", "loop"], default="rotate",
                        help="under load: by certs rotate --all, or by hot swaps alone")
    for name, standard in (("certs", measure.CERTS), ("ours", measure.OURS), ("peers", measure.BUILT)):
        parser.add_argument(f"--{name}", type=pathlib.Path, default=standard, metavar="PATH", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if unknown := set(options.names) - set(NAMES):
        parser.error(f"no measurement {', '.join(sorted(unknown))}")
    standards = {"count": (1000, 20), "runs": (5, 1), "seconds": (60, 4), "reloads": (20, 2)}
    for name, values in standards.items():
        if getattr(options, name) is None:
            setattr(options, name, values[options.quick])
    return options


def main():
    options = arguments()
    before = os.getloadavg()[0]
    scenes = Scenes(options)
    for name in options.names or NAMES:
        print(f"{name}:", file=sys.stderr)
        getattr(scenes, name)()
    print(f"\n{time.strftime('%Y-%m-%d')}, medians of {options.runs} runs, {len(os.sched_getaffinity(0))} cores, "
          f"{output(['haproxy', '-v']).splitlines()[0]}; load average {before:.1f} before, {os.getloadavg()[0]:.1f} after\n")
    print(scenes.table.text())


if __name__ == "__main__":
    main()
