"""Certificates from one Pebble: `Benchmarks/run acme [one many tick]` builds what this needs and starts it.

One certificate beside lego and certbot; many at once beside Caddy and beside a client that does nothing but send requests.
Everything listens on loopback and ends with the benchmark. Standard library only.
"""
import argparse
import contextlib
import json
import os
import pathlib
import shutil
import signal
import ssl
import statistics
import subprocess
import tempfile
import time
import urllib.request

import measure
from measure import CERTS, elapsed, fail, figures, free_port, output

CONFIGURATION = """version: 1
state: ./state
schedule: {{ concurrency: 64 }}
issuers:
  pebble:
    type: acme
    directory: {directory}
    caFile: {ca}
    contact: [ops@example.com]
    acceptTerms: true
    limits: none
    challenge: {{ type: http-01, listen: "127.0.0.1:{http}", selfCheck: {{ address: "127.0.0.1:{http}" }} }}
certificates:
"""
CERTIFICATE = """  - name: {name}
    dnsNames: [{name}.benchmark.example.com]
    key: {{ algorithm: ecdsa-p256 }}
    issuer: pebble
"""


@contextlib.contextmanager
def process(command, log, **options):
    """Runs beside the body, and is ended by its own id after it."""
    with open(log, "wb") as output_file:
        running = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", *map(str, command)], stdin=subprocess.DEVNULL, stdout=output_file,
            stderr=output_file, **options)
    try:
        yield running
    finally:
        running.send_signal(signal.SIGTERM)
        try:
            running.wait(timeout=20)
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait()


class Pebble:
    """Pebble and its DNS, which knows every name as 127.0.0.1. PEBBLE_VA_NOSLEEP=1, no refused nonces, no reuse."""

    def __init__(self, directory):
        self.directory, self.port, self.http = directory, free_port(), free_port()
        self.ca, key = directory / "pebble.pem", directory / "pebble.key"
        output(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                "-subj", "/CN=pebble", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", self.ca])
        self.dns, self.management = free_port(), free_port()
        (directory / "pebble.json").write_text(json.dumps({"pebble": {
            "listenAddress": f"127.0.0.1:{self.port}", "managementListenAddress": f"127.0.0.1:{free_port()}",
            "certificate": str(self.ca), "privateKey": str(key), "httpPort": self.http, "tlsPort": free_port(),
            "ocspResponderURL": "", "externalAccountBindingRequired": False}}))
        self.url = f"https://127.0.0.1:{self.port}/dir"
        self.stack = contextlib.ExitStack()

    def __enter__(self):
        self.stack.enter_context(process(
            ["pebble-challtestsrv", "-defaultIPv4", "127.0.0.1", "-defaultIPv6", "", "-http01", "", "-https01", "",
             "-tlsalpn01", "", "-dns01", f"127.0.0.1:{self.dns}", "-management", f"127.0.0.1:{self.management}"],
            self.directory / "dns.log"))
        self.stack.enter_context(process(
            ["pebble", "-strict", "-config", self.directory / "pebble.json", "-dnsserver", f"127.0.0.1:{self.dns}"],
            self.directory / "pebble.log", env={
                **os.environ, "PEBBLE_VA_NOSLEEP": "1", "PEBBLE_WFE_NONCEREJECT": "0", "PEBBLE_AUTHZREUSE": "0"}))
        end, context = time.monotonic() + 20, ssl.create_default_context(cafile=self.ca)
        while time.monotonic() < end:
            with contextlib.suppress(OSError):
                urllib.request.urlopen(self.url, context=context, timeout=2).read()
                return self
            time.sleep(0.05)
        fail(f"Pebble does not answer: {(self.directory / 'pebble.log').read_text()[-1000:]}")

    def __exit__(self, *details):
        self.stack.__exit__(*details)

    def issued(self):
        return (self.directory / "pebble.log").read_text(errors="replace").count("Issued certificate serial")


class Ours:
    """A state directory of our own with an account, and so many certificates declared."""

    def __init__(self, pebble, folder, names):
        folder.mkdir()
        self.folder, self.configuration = folder, folder / "certs.yml"
        self.configuration.write_text(
            CONFIGURATION.format(directory=pebble.url, ca=pebble.ca, http=pebble.http)
            + "".join(CERTIFICATE.format(name=name) for name in names))
        output([CERTS, "--config", self.configuration, "acme", "account", "pebble", "create"])

    def rotate(self, *names):
        return elapsed([CERTS, "--config", self.configuration, "rotate", *names])

    def check(self, names):
        for name in names:
            leaf = self.folder / f"state/live/{name}/current/cert.pem"
            text = output(["openssl", "x509", "-in", leaf, "-noout", "-ext", "subjectAltName", "-issuer"])
            if f"{name}.benchmark.example.com" not in text or "Pebble" not in text:
                fail(f"{leaf} is not what was asked for: {text}")


def one(pebble, runs, directory):
    """New order to file on disk, the whole process, with an account that exists."""
    ours = Ours(pebble, directory / "ours-one", [f"one-{run}" for run in range(runs + 1)])
    environment = {**os.environ, "LEGO_CA_CERTIFICATES": str(pebble.ca), "REQUESTS_CA_BUNDLE": str(pebble.ca)}

    def lego(run):
        return ["lego", "--server", pebble.url, "--email", "ops@example.com", "--accept-tos", "--key-type", "ec256",
                "--path", directory / "lego", "--http", "--http.port", f"127.0.0.1:{pebble.http}",
                "--domains", f"lego-{run}.benchmark.example.com", "run"]

    def certbot(run):
        return ["certbot", "certonly", "--standalone", "--http-01-port", pebble.http, "--http-01-address", "127.0.0.1",
                "--server", pebble.url, "--non-interactive", "--agree-tos", "--email", "ops@example.com",
                "--key-type", "ecdsa", "--elliptic-curve", "secp256r1",
                "--config-dir", directory / "certbot", "--work-dir", directory / "certbot", "--logs-dir",
                directory / "certbot", "-d", f"certbot-{run}.benchmark.example.com"]

    times = {"certs": [], "lego": [], "certbot": []}
    os.environ.update(environment)
    for run in range(runs + 1):
        before = pebble.issued()
        row = {"certs": ours.rotate(f"one-{run}"), "lego": elapsed(lego(run)), "certbot": elapsed(certbot(run))}
        if pebble.issued() - before != 3:
            fail("not each client got one certificate")
        # The first run makes the accounts of the others.
        if run > 0:
            for client, time_ in row.items():
                times[client].append(time_)
    ours.check([f"one-{run}" for run in range(runs + 1)])
    medians = {client: statistics.median(values) for client, values in times.items()}
    for peer, goal in (("lego", 20), ("certbot", 10)):
        ratio = medians[peer] / medians["certs"]
        yield (f"one certificate, {peer} in turns", f"{medians['certs']:.0f} ms", f"{medians[peer]:.0f} ms",
               f"{ratio:.1f} × faster", f"≥ {goal} ×", ratio >= goal)


def many(pebble, runs, directory, count, seconds):
    ours, floor = [], []
    for run in range(runs):
        names = [f"many-{run}-{index:05}" for index in range(count)]
        side = Ours(pebble, directory / f"ours-many-{run}", names)
        before = pebble.issued()
        ours.append(count / (side.rotate("--all") / 1000))
        if pebble.issued() - before != count:
            fail(f"{pebble.issued() - before} certificates were issued instead of {count}")
        side.check(names[:3])
        floor.append(count / figures(
            [measure.BUILT / "acme-go", "-directory", pebble.url, "-ca", pebble.ca, "-listen", f"127.0.0.1:{pebble.http}",
             "-count", count, "-workers", "64", "-suffix", f"floor-{run}.example.com"])["seconds"])
    ours, floor = statistics.median(ours), statistics.median(floor)
    yield (f"{count} certificates at once, a client that only sends", f"{ours:.0f} /s", f"{floor:.0f} /s",
           f"{ours / floor:.2f} ×", "≥ 0.7 ×", ours / floor >= 0.7)
    caddy = caddy_rate(pebble, directory, [f"many-0-{index:05}" for index in range(count)], seconds)
    yield (f"{count} certificates at once, Caddy on the same names (its first {seconds} s)", f"{ours:.0f} /s",
           f"{caddy:.2f} /s", f"{ours / caddy:.0f} ×", "≥ 20 ×", ours / caddy >= 20)


def caddy_rate(pebble, directory, names, seconds):
    """Certificates a second, from the start of Caddy to the last one in the time or to the end of the time."""
    folder = directory / "caddy"
    folder.mkdir()
    sites = ", ".join(f"{name}.benchmark.example.com" for name in names)
    (folder / "Caddyfile").write_text(f"""{{
    admin off
    http_port {pebble.http}
    https_port {free_port()}
    storage file_system {folder}/data
    acme_ca {pebble.url}
    acme_ca_root {pebble.ca}
    email ops@example.com
    default_bind 127.0.0.1
}}
{sites} {{
    respond ok
}}
""")
    start = time.monotonic()
    with process(["caddy", "run", "--config", folder / "Caddyfile", "--adapter", "caddyfile"], folder / "log"):
        found, last = 0, start
        while time.monotonic() < start + seconds and found < len(names):
            time.sleep(0.2)
            now = sum(1 for _ in (folder / "data").rglob("*.crt"))
            if now > found:
                found, last = now, time.monotonic()
    if found == 0:
        fail(f"Caddy got no certificate: {(folder / 'log').read_text()[-1000:]}")
    return found / (time.monotonic() - start if found < len(names) else last - start)


def tick(runs):
    """The engine over 10,000 issued certificates whose renewal times are known, in memory."""
    values = [figures([measure.OURS, "tick", "10000"]) for _ in range(runs)]
    if any(value["requests"] or value["due"] for value in values):
        fail("the tick asked the CA, or found something due")
    passed = statistics.median(value["milliseconds"] for value in values)
    yield ("a tick over 10,000 certificates, none due, renewal times known: 0 requests", f"{passed:.1f} ms", "", "",
           "< 50 ms", passed < 50)


def main():
    parser = argparse.ArgumentParser(prog="Benchmarks/run acme")
    parser.add_argument("groups", nargs="*", metavar="one|many|tick")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--count", type=int, default=500, help="of certificates at once")
    parser.add_argument("--seconds", type=int, default=60, help="for Caddy")
    options = parser.parse_args()
    for program in ("pebble", "pebble-challtestsrv", "lego", "certbot", "caddy"):
        if shutil.which(program) is None:
            fail(f"{program} is missing")
    print("| what | certs | peer | ratio | goal | reached |\n|---|---|---|---|---|---|")
    for group in options.groups or ["one", "many", "tick"]:
        with tempfile.TemporaryDirectory(prefix="certs-acme-") as name:
            directory = pathlib.Path(name)
            with contextlib.ExitStack() as stack:
                if group == "tick":
                    rows = tick(options.runs)
                elif group == "one":
                    rows = one(stack.enter_context(Pebble(directory)), options.runs, directory)
                elif group == "many":
                    rows = many(
                        stack.enter_context(Pebble(directory)), options.runs, directory, options.count, options.seconds)
                else:
                    fail(f"there is no group {group}")
                for *cells, reached in rows:
                    print(f"| {' | '.join(cells)} | {'yes' if reached else '**no**'} |", flush=True)


if __name__ == "__main__":
    main()
