#!/usr/bin/env python3
"""Runs a command for as long as somebody holds the other end of standard input.

`cargo xtask conformance` starts every tool and server on this leash. However it ends, by a failure, by Ctrl-C
or killed, its end of the pipe closes, and the command ends with everything that it started.
"""

import os
import signal
import subprocess
import sys
import threading
import time


def end(group):
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(group, number)
        except ProcessLookupError:
            return
        time.sleep(0.5)


def until_let_go(group):
    while os.read(0, 1024):
        pass
    end(group)


def main():
    # A Ctrl-C reaches the whole group in front of the terminal; the pipe then closes.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    command = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL, start_new_session=True)
    signal.signal(signal.SIGTERM, lambda *_: end(command.pid))
    threading.Thread(target=until_let_go, args=(command.pid,), daemon=True).start()
    code = command.wait()
    end(command.pid)
    # Not by `sys.exit`, which would wait for the thread that reads.
    os._exit(code if code >= 0 else 128 - code)


if __name__ == "__main__":
    main()
