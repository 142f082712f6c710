"""What a worker at five times a host's capacity does to another worker.

    cargo build --release -p router -p isolate-host -p loadtest
    python3 system-tests/measure/overload.py [SECONDS]

Six hosts take four requests at once each. `hello` is asked 50 times a second by `loadtest`: first alone, then while
`hot`, whose requests take half a second, is asked 40 times a second, which is 20 at once and, evenly spaced, no more. Prints the latency of `hello`
in both, how it started, over how many hosts `hot` was spread, and how long that took to be over.
WARMSHARD_BIN names another folder of programs than target/release.
"""

import http.client
import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ.get("WARMSHARD_BIN", ROOT / "target" / "release"))
HOSTS = "abcdef"
CAPACITY = 4
SECONDS_EACH = 0.5
RATE = 50

HOT = f"""\
import asyncio

from workers import Response, WorkerEntrypoint


class Default(WorkerEntrypoint):
    async def fetch(self, request):
        await asyncio.sleep({SECONDS_EACH})
        return Response("done")
"""


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def ask(port, path):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", path)
    return json.loads(connection.getresponse().read())


def wait_until(met, limit=90):
    began = time.monotonic()
    while time.monotonic() - began < limit:
        try:
            if met():
                return time.monotonic() - began
        except OSError:
            pass
        time.sleep(0.05)
    sys.exit("waited too long")


def load(port, worker, rate, seconds, report, arrivals="poisson"):
    command = [BIN / "loadtest", "run", "--target", f"http://127.0.0.1:{port}", "--workers", worker, "--rate", str(rate),
               "--arrivals", arrivals, "--duration", f"{seconds}s", "--warmup", "3s", "--json", report]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def line(name, report):
    run = json.loads(report.read_text())
    latency = run["latency_ms"]["all"]
    starts = ", ".join(f"{count} {kind}" for kind, count in run["starts"].items() if count)
    failed = run["requests"]["failed"]
    print(f"| {name} | {latency['p50']:.2f} ms | {latency['p99']:.2f} ms | {starts} | {failed} |", flush=True)
    return latency["p99"], run["causes"]


def measure(folder, ports, seconds):
    width = lambda: ask(ports["admin"], "/explain?worker=hot")["width"]
    reports = {name: folder / f"{name}.json" for name in ("alone", "beside", "hot")}
    for worker in ("hello", "hot"):
        load(ports["router"], worker, 5, 4, folder / "warm.json").wait()
    print("\n| `hello` | p50 | p99 | starts | failed |\n|---|---|---|---|---|", flush=True)
    load(ports["router"], "hello", RATE, seconds, reports["alone"]).wait()
    alone, _ = line("alone", reports["alone"])
    # First the load, then what is measured beside it.
    hot = load(ports["router"], "hot", 5 * CAPACITY / SECONDS_EACH, seconds + 4, reports["hot"], "constant")
    wait_until(lambda: width() >= 5)
    load(ports["router"], "hello", RATE, seconds, reports["beside"]).wait()
    widest = width()
    hot.wait()
    beside, causes = line("beside `hot`", reports["beside"])
    line("`hot` itself", reports["hot"])

    def is_over():
        connection = http.client.HTTPConnection("127.0.0.1", ports["router"], timeout=30)
        connection.request("GET", "/", headers={"Host": "hot.localhost"})
        connection.getresponse().read()
        return width() == 1

    took = wait_until(is_over)
    print(f"\np99 beside it over p99 alone: {beside / alone:.2f}; `hot` on {widest} hosts, on one again {took:.1f} s later; "
          f"cold starts of `hello` beside it: {causes or 'none'}")


def main():
    seconds = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    folder = pathlib.Path(tempfile.mkdtemp())
    running = []
    try:
        shutil.copytree(ROOT / "examples" / "hello", folder / "hot")
        (folder / "hot" / "src" / "entry.py").write_text(HOT)
        settings = folder / "hot" / "wrangler.jsonc"
        settings.write_text(settings.read_text().replace('"hello"', '"hot"'))
        (folder / "fleet.key").write_text("a-key-for-measuring")
        for worker in (ROOT / "examples" / "hello", folder / "hot"):
            subprocess.run([BIN / "isolate-host", "deploy", worker, "--store", folder / "store"], check=True)
        ports = {name: free_port() for name in (*HOSTS, "router", "admin")}
        hosts = "".join(f'[[hosts]]\nid = "{id}"\naddress = "127.0.0.1:{ports[id]}"\n' for id in HOSTS)
        (folder / "shard.toml").write_text(
            f'[listen]\ndata = "127.0.0.1:{ports["router"]}"\nadmin = "127.0.0.1:{ports["admin"]}"\n'
            f'[placement]\nwidth_hold = "5s"\n[fleet]\nkey_file = "fleet.key"\n{hosts}'
        )
        commands = [
            [BIN / "isolate-host", "serve", "--host-id", id, "--listen", f"127.0.0.1:{ports[id]}", "--store",
             folder / "store", "--fleet-key-file", folder / "fleet.key", "--max-in-flight", str(CAPACITY)]
            for id in HOSTS
        ]
        commands.append([BIN / "router", "--config", folder / "shard.toml"])
        for command in commands:
            log = open(folder / f"{len(running)}.log", "w")
            running.append(subprocess.Popen(command, stdout=log, stderr=log, cwd=folder))
        wait_until(lambda: all(host["health"] == "up" for host in ask(ports["admin"], "/hosts")["hosts"]))
        measure(folder, ports, seconds)
    finally:
        for process in running:
            process.terminate()
        for process in running:
            process.wait()
        shutil.rmtree(folder)


main()
