"""Deletion in batches and the scheduler: `Benchmarks/run maintenance [delete jobs]` builds what this needs and starts it.

A PostgreSQL of its own on a Unix socket, with pgbench beside. A million expired rows go once by `certs maintenance run`, once
by the one DELETE of the procedure, from the same data on the same server. Standard library only.
"""
import argparse
import contextlib
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

from acme import process
from measure import CERTS, OURS, fail, figures, output

PROGRAMS = pathlib.Path("/usr/lib/postgresql/15/bin")
CONFIGURATION = """version: 1
state: ./state
issuers: {{ local: {{ type: local-ca, commonName: Benchmark CA }} }}
certificates: [ {{ name: messenger, dnsNames: [messenger.example.com], issuer: local }} ]
maintenance:
  database: {{ host: {host}, name: ours, user: certs }}
  jobs: [ {{ name: expired, kind: expired-messages, deadline: 1h }} ]
"""
# Four indexes, and a child that goes with its message.
SCHEMA = """
CREATE TABLE messages (
    message_id bigint PRIMARY KEY, sender bigint NOT NULL, conversation bigint NOT NULL, body text, expires_at timestamptz);
CREATE TABLE message_inbox (
    message_id bigint REFERENCES messages ON DELETE CASCADE, user_id bigint, PRIMARY KEY (message_id, user_id));
INSERT INTO messages SELECT n, n::bigint * 7919 % 100003, n::bigint * 104729 % 10007, repeat('x', 100),
    CASE WHEN n <= {rows} THEN now() - (n % 86400 + 60) * interval '1 s' ELSE now() + interval '1 day' END
    FROM generate_series(1, {rows} + {rows} / 5) n;
INSERT INTO message_inbox SELECT n, n % 1000 FROM generate_series(1, {rows} + {rows} / 5) n;
CREATE INDEX ON messages (expires_at);
CREATE INDEX ON messages (sender, message_id);
CREATE INDEX ON messages (conversation, message_id);
GRANT SELECT, UPDATE, DELETE ON messages, message_inbox TO certs;
"""
DELETE = "DELETE FROM messages WHERE expires_at < NOW() AND expires_at IS NOT NULL"


class Server:
    """A cluster with the settings of a small server: durable commits, autovacuum, checkpoints that are far apart."""

    def __init__(self, directory):
        self.directory = directory
        self.host = directory / "run"
        self.host.mkdir()
        self.user = ["setpriv", "--reuid", "postgres", "--regid", "postgres", "--clear-groups"] if os.geteuid() == 0 else []
        if self.user:
            directory.chmod(0o755)
            output(["chown", "-R", "postgres", directory])
        output([*self.user, PROGRAMS / "initdb", "-U", "postgres", "-E", "UTF8", "--locale=C.UTF-8", "-A", "trust", "-D",
                directory / "cluster"], cwd="/tmp")
        self.stack = contextlib.ExitStack()

    def __enter__(self):
        settings = {
            "listen_addresses": "", "shared_buffers": "256MB", "max_wal_size": "8GB", "checkpoint_timeout": "30min",
            "unix_socket_permissions": "0777", "log_line_prefix": "%u|", "max_connections": "50",
        }
        options = [part for key, value in settings.items() for part in ("-c", f"{key}={value}")]
        self.log = self.directory / "postgres.log"
        self.stack.enter_context(process(
            [*self.user, PROGRAMS / "postgres", "-D", self.directory / "cluster", "-k", self.host, *options], self.log,
            cwd="/tmp"))
        for _ in range(300):
            if subprocess.run([PROGRAMS / "pg_isready", "-q", "-h", self.host]).returncode == 0:
                break
            time.sleep(0.1)
        self.sql("CREATE ROLE certs LOGIN")
        # What the server itself says of each statement of ours; nothing of others.
        self.sql("ALTER ROLE certs SET log_min_duration_statement = 0")
        return self

    def __exit__(self, *details):
        self.stack.__exit__(*details)

    def sql(self, text, database="postgres"):
        return output(["psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", self.host, "-U", "postgres", "-d",
                       database, "-c", text]).strip()


class Load:
    """pgbench: its 8 clients write to tables of their own, at a rate that leaves half of the machine idle."""

    def __init__(self, server, directory, rate, clients):
        directory.mkdir()
        self.prefix = directory / "transactions"
        self.command = [
            "pgbench", "-n", "-h", server.host, "-U", "postgres", "-c", clients, "-j", 2, "-T", 3600, "-R", rate, "-l",
            f"--log-prefix={self.prefix}", "load"]
        self.log = directory / "log"

    def __enter__(self):
        self.stack = contextlib.ExitStack()
        self.stack.enter_context(process(self.command, self.log))
        return self

    def __exit__(self, *details):
        self.stack.__exit__(*details)

    def latencies(self, start, end):
        """Milliseconds of the transactions that ended between two times, from when each was planned to begin."""
        found = []
        for file in self.prefix.parent.glob("transactions.*"):
            for line in file.read_text().splitlines():
                fields = line.split()
                if len(fields) < 7 or not fields[2].isdigit():
                    continue
                if start <= int(fields[4]) + int(fields[5]) / 1e6 <= end:
                    found.append(int(fields[2]) / 1000)
        if len(found) < 20:
            fail(f"pgbench has {len(found)} transactions in {end - start:.0f} s: {self.log.read_text()[-500:]}")
        return sorted(found)


def quantile(values, part):
    return values[min(len(values) - 1, int(len(values) * part))]


def beside(server, directory, options, name, body):
    """Load alone, then with `body` beside it: seconds of the body, latencies of both, the longest silence."""
    server.sql(f"CREATE DATABASE {name} TEMPLATE prepared")
    server.sql("VACUUM ANALYZE messages", name)
    server.sql("VACUUM ANALYZE message_inbox", name)
    server.sql("CHECKPOINT")
    with Load(server, directory / name, options.rate, options.clients) as load:
        time.sleep(3)
        idle = time.time()
        time.sleep(options.idle)
        start = time.time()
        body(name)
        end = time.time()
        # What pgbench has in its buffers comes to its files.
        time.sleep(12)
        found = (end - start, load.latencies(idle, start), load.latencies(start, end))
    left = server.sql("SELECT count(*) FILTER (WHERE expires_at < now()), count(*) FROM messages", name)
    children = server.sql("SELECT count(*) FROM message_inbox", name)
    if left != f"0|{options.rows // 5}" or int(children) != options.rows // 5:
        fail(f"{name}: {left} messages, {children} children are left")
    server.sql(f"DROP DATABASE {name}")
    return found


def delete(options, directory):
    (directory / "pg").mkdir(parents=True)
    with Server(directory / "pg") as server:
        server.sql("CREATE DATABASE load")
        output(["pgbench", "-i", "-q", "-s", 20, "-h", server.host, "-U", "postgres", "load"])
        server.sql("CREATE DATABASE prepared")
        server.sql(SCHEMA.format(rows=options.rows), "prepared")
        configuration = directory / "certs.yml"
        configuration.write_text(CONFIGURATION.format(host=server.host))

        def ours(_):
            output([CERTS, "--config", configuration, "maintenance", "run", "expired"])

        def raw(name):
            server.sql(DELETE, name)

        results = {"ours": [], "raw": []}
        for run in range(options.runs):
            for name, body in (("ours", ours), ("raw", raw)):
                shutil.rmtree(directory / name, ignore_errors=True)
                results[name].append(beside(server, directory, options, name, body))
                seconds, idle, loaded = results[name][-1]
                print(f"    {name}, run {run + 1}: {seconds:.1f} s, p99 {quantile(idle, 0.99):.1f} ms idle, "
                      f"{quantile(loaded, 0.99):.1f} ms beside it", file=sys.stderr)
        longest = longest_statement(server)
    yield from rows_of(options, results, longest)


def longest_statement(server):
    """Of our role, in milliseconds, as the server logged it; each batch is one statement and one transaction."""
    found = [float(value) for value in re.findall(
        r"^certs\|LOG:  duration: ([0-9.]+) ms  execute <unnamed>: DELETE", server.log.read_text(), re.MULTILINE)]
    if not found:
        fail("the server has logged no batch")
    return max(found), len(found)


def rows_of(options, results, longest):
    def middle(name, value):
        return statistics.median(value(result) for result in results[name])

    def seconds(result):
        return result[0]

    def p99(part):
        return lambda result: quantile(result[part], 0.99)

    ours, raw = options.rows / middle("ours", seconds), options.rows / middle("raw", seconds)
    yield (f"{options.rows:,} expired rows, 4 indexes, a cascading child", f"{ours:,.0f} /s", f"{raw:,.0f} /s (one DELETE)",
           f"{ours / raw:.2f}", "≥ 0.6", ours / raw >= 0.6)
    yield (f"the longest transaction ({longest[1]:,} batches)", f"{longest[0]:,.0f} ms",
           f"{middle('raw', seconds) * 1000:,.0f} ms (one DELETE)", "", "< 1 s", longest[0] < 1000)
    ours = middle("ours", lambda result: p99(2)(result) / p99(1)(result))
    raw = middle("raw", lambda result: p99(2)(result) / p99(1)(result))
    yield (f"p99 of {options.clients} pgbench clients beside it, {options.rate} /s", f"{middle('ours', p99(2)):.1f} ms",
           f"{middle('ours', p99(1)):.1f} ms (alone)", f"{ours:.2f}", "≤ 1.3", ours <= 1.3)
    yield ("the same beside the one DELETE", "", f"{middle('raw', p99(2)):.1f} ms, {middle('raw', p99(1)):.1f} ms alone",
           f"{raw:.2f}", "", True)


def jobs(options):
    period, seconds = 20, 60
    for kind in ("spread", "together"):
        values = [figures([OURS, "jobs", options.jobs, period, seconds, kind]) for _ in range(options.runs)]
        if any(value["runs"] < options.jobs for value in values):
            fail(f"jobs did not run: {values}")
        p99 = statistics.median(value["p99"] for value in values)
        p50 = statistics.median(value["p50"] for value in values)
        how = "their starts spread over 20 s" if kind == "spread" else "all in the same moment"
        yield (f"{options.jobs} jobs, each a program every 20 s, {how}: delay of the start, p50 / p99",
               f"{p50:.0f} / {p99:.0f} ms", "", "", "< 250 ms", p99 < 250)
        if kind == "spread":
            idle = statistics.median(value["idle"] for value in values)
            yield (f"the scheduler with {options.jobs} jobs, none due", f"{idle:.2f} % of a core", "", "", "< 1 %",
                   idle < 1)


def main():
    parser = argparse.ArgumentParser(prog="Benchmarks/run maintenance")
    parser.add_argument("groups", nargs="*", metavar="delete|jobs")
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rate", type=int, default=200, help="transactions a second of pgbench")
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--idle", type=int, default=30, help="seconds of load alone before each")
    parser.add_argument("--jobs", type=int, default=200)
    options = parser.parse_args()
    print("| what | certs | peer | ratio | goal | reached |\n|---|---|---|---|---|---|")
    for group in options.groups or ["jobs", "delete"]:
        with tempfile.TemporaryDirectory(prefix="certs-maintenance-") as name:
            pathlib.Path(name).chmod(0o755)
            if group == "delete":
                rows = delete(options, pathlib.Path(name) / "delete")
            elif group == "jobs":
                rows = jobs(options)
            else:
                fail(f"there is no group {group}")
            for *cells, reached in rows:
                print(f"| {' | '.join(cells)} | {'yes' if reached else '**no**'} |", flush=True)


if __name__ == "__main__":
    main()
