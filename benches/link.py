#!/usr/bin/env python3
"""A link between two network namespaces that delays packets and loses some: `link.py PID PID DELAY_MS LOSS_PERCENT SEED`.

Each PID is a process in a network namespace of its own. They get 10.9.0.1 and 10.9.0.2 on an interface `link0` of MTU 1500
without offloads, so that what is lost is one packet of TCP or UDP alike. DELAY_MS is that of one direction. Says "ready", and
ends when its standard input does. Needs root, and /dev/net/tun.
"""

import fcntl
import heapq
import os
import random
import select
import struct
import subprocess
import sys
import time

TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
MOST_WAITING = 20_000  # a buffer of 30 MB: never full in what is measured here


def end_of_link(number, pid):
    """An interface in the namespace of a process; its packets come and go through what is returned."""
    tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    name = f"link{os.getpid() % 100000}{number}"
    fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI))
    subprocess.run(["ip", "link", "set", name, "netns", str(pid), "name", "link0"], check=True)
    inside = ["nsenter", "-t", str(pid), "-n", "ip"]
    for command in (
        ["addr", "add", f"10.9.0.{number}/24", "dev", "link0"],
        ["link", "set", "lo", "up"],
        ["link", "set", "link0", "mtu", "1500", "txqueuelen", "10000", "up"],
    ):
        subprocess.run(inside + command, check=True)
    return tun


def main():
    first, second, delay, loss, seed = sys.argv[1:]
    delay, loss, chance = float(delay) / 1000, float(loss) / 100, random.Random(int(seed))
    one, other = end_of_link(1, first), end_of_link(2, second)
    to = {one: other, other: one}
    events = select.epoll()
    for file in (one, other, sys.stdin.fileno()):
        events.register(file, select.EPOLLIN)
    print("ready", flush=True)
    waiting, number, carried, lost = [], 0, 0, 0
    while True:
        patience = max(0.0, waiting[0][0] - time.monotonic()) if waiting else None
        for file, _ in events.poll(patience):
            if file not in to:
                print(f"{carried} packets carried, {lost} lost", file=sys.stderr)
                return
            for _ in range(64):
                try:
                    packet = os.read(file, 2048)
                except BlockingIOError:
                    break
                if chance.random() < loss or len(waiting) > MOST_WAITING:
                    lost += 1
                    continue
                carried += 1
                if delay == 0:
                    send(to[file], packet)
                    continue
                number += 1
                heapq.heappush(waiting, (time.monotonic() + delay, number, to[file], packet))
        now = time.monotonic()
        while waiting and waiting[0][0] <= now:
            _, _, tun, packet = heapq.heappop(waiting)
            send(tun, packet)


def send(tun, packet):
    try:
        os.write(tun, packet)
    except (BlockingIOError, OSError):
        pass


if __name__ == "__main__":
    main()
