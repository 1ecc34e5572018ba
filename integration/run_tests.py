#!/usr/bin/env python3
"""Runs the test programs that cargo has built, some at a time, and says how each of them ended and how long it took.

    integration/run_tests.py [JOBS]        default: as many as there are cores

Most of our tests wait: for timeouts, for disks, for processes. One after the other, as `cargo test` runs its programs, they take
twice the time. What a program prints is kept in target/test-output/ and shown when it fails; lines that say that something was
not run are shown always. Programs that took longest the last time come first.
"""

import json
import os
import pathlib
import re
import subprocess
import sys
import threading
import time
import tomllib

ROOT = pathlib.Path(__file__).resolve().parent.parent
OUTPUT = ROOT / "target" / "test-output"
TIMES = OUTPUT / "times.json"
# Those that kill and freeze processes, and count what takes how long, run alone, at the end.
ALONE = {"integration/power_cut", "integration/nodes", "gateway/log_postgres_kill"}


def programs():
    """(name, path, folder of its package) of each test program, built if need be."""
    command = ["cargo", "test", "--locked", "--workspace", "--no-run", "--message-format=json-render-diagnostics"]
    built = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    if built.returncode != 0:
        sys.exit("the tests could not be built")
    for line in built.stdout.splitlines():
        message = json.loads(line)
        if message["reason"] == "compiler-artifact" and message["profile"]["test"] and message["executable"]:
            folder = pathlib.Path(message["manifest_path"]).parent
            kind = "" if message["target"]["kind"] == ["test"] else " (unit)"
            yield f"{folder.name}/{message['target']['name']}{kind}", message["executable"], folder


class Run:
    """One go through all programs."""

    def __init__(self, everything):
        self.waiting = everything
        self.running, self.failed, self.times = {}, [], {}
        self.passed, self.worked = 0, 0.0
        self.lock = threading.Lock()
        with open(ROOT / ".cargo" / "config.toml", "rb") as config:
            self.environment = os.environ | tomllib.load(config).get("env", {})

    def work(self):
        """Takes one program after the other, until there is none."""
        while True:
            with self.lock:
                if not self.waiting:
                    return
                name, program, folder = self.waiting.pop(0)
                self.running[name] = time.monotonic()
            log = OUTPUT / (name.replace("/", "-").replace(" ", "") + ".txt")
            with open(log, "wb") as output:
                environment = self.environment | {"CARGO_MANIFEST_DIR": str(folder)}
                child = subprocess.Popen([program, "--show-output"], cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT)
                # Not child.wait(): how much processor time it took, with the programs that it started, is told here only.
                _, status, usage = os.wait4(child.pid, 0)
                child.returncode = os.waitstatus_to_exitcode(status)
            worked = usage.ru_utime + usage.ru_stime
            with self.lock:
                self.worked += worked
                self.tell(name, child.returncode, log, time.monotonic() - self.running.pop(name), worked)

    def tell(self, name, code, log, took, worked):
        text = log.read_text(errors="replace")
        results = re.findall(r"^test result: \w+\. (\d+) passed", text, re.M)
        passed = sum(int(result) for result in results)
        self.passed += passed
        self.times[name] = round(took, 1)
        # What another test starts as a process of its own is all that may be ignored.
        ignored = re.findall(r"^test \S+ \.\.\. ignored(.*)$", text, re.M)
        right = code == 0 and results and all(re.match(r", (started by|runs as the child of) ", why) for why in ignored)
        print(f"{'ok    ' if right else 'FAILED'} {took:6.1f} s ({worked:5.1f} of a processor)  {name}: {passed} passed", flush=True)
        if not right:
            self.failed.append(name)
            print(text, f"({name} ended with {code})", sep="\n", flush=True)
        else:
            for line in text.splitlines():
                if re.search(r"\bnot run\b", line, re.I):
                    print(f"                 {line}", flush=True)

    def watch(self, threads):
        """Says what takes long, so that nobody wonders."""
        while any(thread.is_alive() for thread in threads):
            for thread in threads:
                thread.join(15)
            with self.lock:
                now = time.monotonic()
                slow = [f"{name} ({now - since:.0f} s)" for name, since in self.running.items() if now - since > 45]
            if slow:
                print(f"       ... still running: {', '.join(slow)}", flush=True)


def main():
    jobs = int(sys.argv[1]) if len(sys.argv) > 1 else os.cpu_count() or 1
    everything = list(programs())
    if not everything:
        sys.exit("there are no tests")
    OUTPUT.mkdir(parents=True, exist_ok=True)
    before = json.loads(TIMES.read_text()) if TIMES.exists() else {}
    # New ones first, tests of the whole system before others.
    everything.sort(key=lambda one: (-before.get(one[0], 1000), not one[0].startswith("integration/"), one[0]))
    began = time.monotonic()
    together = Run([one for one in everything if one[0] not in ALONE])
    threads = [threading.Thread(target=together.work, daemon=True) for _ in range(jobs)]
    for thread in threads:
        thread.start()
    together.watch(threads)
    alone = Run([one for one in everything if one[0] in ALONE])
    thread = threading.Thread(target=alone.work, daemon=True)
    thread.start()
    alone.watch([thread])

    TIMES.write_text(json.dumps(together.times | alone.times, indent=1))
    failed = together.failed + alone.failed
    passed = together.passed + alone.passed
    worked = together.worked + alone.worked
    print(f"\n{passed} tests passed in {len(everything)} programs, {time.monotonic() - began:.0f} s; {jobs} at a time, {worked:.0f} s of a processor")
    if failed:
        sys.exit(f"FAILED: {', '.join(failed)}; what they printed is above, and in target/test-output/")


if __name__ == "__main__":
    main()
