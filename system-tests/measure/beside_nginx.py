"""The router beside nginx, in front of the same two isolate hosts.

    cargo build --release -p router -p isolate-host
    python3 system-tests/measure/beside_nginx.py [SECONDS]

Both choose a host by a consistent hash of the worker's name, keep connections to hosts and clients alive, and write
an access log. For a small answer and one of 64 KiB, `wrk` asks each in turn, three rounds of it:

- with 8 connections: CPU seconds of the proxy for 100 000 requests, from /proc/PID/stat of its processes
- with 1 connection: latency at p50, less that of asking the host itself in the same round

Needs nginx and wrk: `apt-get install nginx wrk`. Prints medians.
"""

import http.client
import os
import pathlib
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = ROOT / "target" / "release"
KEY = "a-fleet-key-for-measuring"
ROUNDS = 3
SIZES = {"hello": 21, "large": 64 * 1024}

LARGE = """\
from workers import Response, WorkerEntrypoint

BODY = "x" * 65536


class Default(WorkerEntrypoint):
    async def fetch(self, request):
        return Response(BODY)
"""

SHARD_FILE = """\
[listen]
data = "127.0.0.1:{port}"
admin = "127.0.0.1:{admin}"

[[routes]]
host = "{{worker}}.localhost"

[[hosts]]
id = "a"
address = "127.0.0.1:{a}"

[[hosts]]
id = "b"
address = "127.0.0.1:{b}"

[fleet]
key_file = "fleet.key"
"""

# `hash … consistent` is ketama, as the router's ring is a consistent hash.
NGINX = """\
daemon off;
worker_processes 2;
pid nginx.pid;
error_log error.log;
events {{ worker_connections 1024; }}
http {{
    access_log access.log;
    client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path f; uwsgi_temp_path u; scgi_temp_path s;
    map $host $worker {{ ~^(?<name>[^.]+)\\. $name; }}
    upstream hosts {{
        hash $worker consistent;
        server 127.0.0.1:{a};
        server 127.0.0.1:{b};
        keepalive 64;
    }}
    server {{
        listen 127.0.0.1:{port};
        keepalive_requests 1000000000;
        location / {{
            proxy_pass http://hosts;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $host;
            proxy_set_header X-Warmshard-Worker $worker;
            proxy_set_header X-Warmshard-Key {key};
        }}
    }}
}}
"""


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def get(port, headers):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", "/", headers=headers)
    answer = connection.getresponse()
    return answer.status, len(answer.read())


def wait_for(port, headers, size):
    end = time.monotonic() + 60
    while time.monotonic() < end:
        try:
            if get(port, headers) == (200, size):
                return
        except OSError:
            pass
        time.sleep(0.05)
    sys.exit(f"port {port} does not answer with 200 and {size} bytes")


def cpu_seconds(pid):
    """Of a process and its children, user and system."""
    children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    own = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return own + sum(cpu_seconds(child) for child in children)


def wrk(port, headers, connections, seconds):
    """Requests answered, and the latency at p50 in milliseconds."""
    command = ["wrk", "--latency", "-t1", f"-c{connections}", f"-d{seconds}s"]
    for name, value in headers.items():
        command += ["-H", f"{name}: {value}"]
    told = subprocess.run([*command, f"http://127.0.0.1:{port}/"], capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in told or "Socket errors" in told:
        sys.exit(f"wrk met errors:\n{told}")
    p50, unit = re.search(r"50%\s+([\d.]+)(us|ms|s)\b", told).groups()
    requests = int(re.search(r"(\d+) requests in", told)[1])
    return requests, float(p50) * {"us": 0.001, "ms": 1.0, "s": 1000.0}[unit]


def measure(targets, name, seconds):
    size, cpu, added = SIZES[name], {}, {}
    for _ in range(ROUNDS):
        alone = None
        for target, (port, headers, pid) in targets.items():
            headers = headers(name)
            wait_for(port, headers, size)
            before = cpu_seconds(pid) if pid else 0.0
            requests, _ = wrk(port, headers, 8, seconds)
            after = cpu_seconds(pid) if pid else 0.0
            _, p50 = wrk(port, headers, 1, seconds)
            if pid is None:
                alone = p50
            else:
                cpu.setdefault(target, []).append((after - before) / requests * 100_000)
                added.setdefault(target, []).append(p50 - alone)
    return {target: (statistics.median(cpu[target]), statistics.median(added[target])) for target in cpu}


def main():
    seconds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    missing = [tool for tool in ("nginx", "wrk") if not shutil.which(tool, path=os.environ["PATH"] + ":/usr/sbin")]
    if missing:
        sys.exit(f"not found: {', '.join(missing)}; install with `apt-get install nginx wrk`")
    folder = pathlib.Path(tempfile.mkdtemp())
    shutil.copytree(ROOT / "examples" / "hello", folder / "large")
    (folder / "large" / "src" / "entry.py").write_text(LARGE)
    settings = folder / "large" / "wrangler.jsonc"
    settings.write_text(settings.read_text().replace('"hello"', '"large"'))
    (folder / "fleet.key").write_text(KEY)
    for worker in (ROOT / "examples" / "hello", folder / "large"):
        subprocess.run([BIN / "isolate-host", "deploy", worker, "--store", folder / "store"], check=True)
    ports = {name: free_port() for name in ("a", "b", "router", "admin", "nginx")}
    (folder / "shard.toml").write_text(
        SHARD_FILE.format(port=ports["router"], admin=ports["admin"], a=ports["a"], b=ports["b"])
    )
    (folder / "nginx.conf").write_text(NGINX.format(port=ports["nginx"], a=ports["a"], b=ports["b"], key=KEY))
    commands = {
        host: [BIN / "isolate-host", "serve", "--host-id", host, "--listen", f"127.0.0.1:{ports[host]}", "--store",
               folder / "store", "--fleet-key-file", folder / "fleet.key"]
        for host in ("a", "b")
    }
    commands["router"] = [BIN / "router", "--config", folder / "shard.toml"]
    commands["nginx"] = [shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin"), "-p", folder, "-c", "nginx.conf"]
    running = {}
    try:
        for name, command in commands.items():
            log = open(folder / f"{name}.log", "w")
            running[name] = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
        by_name = lambda name: {"Host": f"{name}.localhost"}
        by_key = lambda name: {"X-Warmshard-Key": KEY, "X-Warmshard-Worker": name}
        targets = {
            "host": (ports["a"], by_key, None),
            "nginx": (ports["nginx"], by_name, running["nginx"].pid),
            "router": (ports["router"], by_name, running["router"].pid),
        }
        print("\n| answer | | CPU seconds for 100 000 requests | added at p50 |\n|---|---|---|---|")
        for name in SIZES:
            for target, (cpu, added) in measure(targets, name, seconds).items():
                print(f"| {SIZES[name]} bytes | {target} | {cpu:.2f} | {added:.3f} ms |", flush=True)
    finally:
        for process in running.values():
            process.terminate()
        for process in running.values():
            process.wait()
        shutil.rmtree(folder)


main()
