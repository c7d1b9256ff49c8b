"""Run a command and say how much memory it took at its peak: the resident memory of its processes, all together.

    python tools/peak.py [--most GB] COMMAND...     exit status: the command's, or 1 if it took more than GB

Memory that several processes share is shared out among them where the system says how much it is (Linux); elsewhere it counts for each.
"""
import subprocess
import sys
import threading

import psutil

GB = 1e9


def measured(family, full):
    "Bytes of memory of processes; `full`: what they share is shared out, which takes the kernel up to a tenth of a second"
    total = 0
    for p in family:
        try:
            m = p.memory_full_info() if full else p.memory_info()
            total += getattr(m, 'pss', m.rss)
        except psutil.Error: pass  # it has ended meanwhile
    return total


def peak_of(pid, peak=0):
    "The larger of `peak` and the memory of a process and all that it started, in bytes"
    try: family = [p := psutil.Process(pid), *p.children(recursive=True)]
    except psutil.NoSuchProcess: return peak
    most = measured(family, False)  # counts twice what is shared, so the answer is not larger
    return max(peak, measured(family, True)) if psutil.LINUX and most > peak else max(peak, most)


class Watched:
    "A command that runs, and its peak in bytes so far"
    def __init__(self, command, every=2., **kw):
        self.process, self.peak, self.every = subprocess.Popen(command, **kw), 0, every
        self.thread = threading.Thread(target=self._watch, daemon=True)
        self.thread.start()

    def _watch(self):
        while self.process.poll() is None:
            self.peak = peak_of(self.process.pid, self.peak)
            try: self.process.wait(self.every)
            except subprocess.TimeoutExpired: pass

    def wait(self):
        "Exit status, once it has ended"
        self.thread.join()
        return self.process.returncode


def main(words):
    most = float(words[1]) if words[:1] == ['--most'] else None
    command = words[2:] if most else words
    if not command: sys.exit(__doc__)
    watched = Watched(command)
    status = watched.wait()
    print(f'peak memory {watched.peak/GB:.1f} GB', flush=True)
    if most and watched.peak > most*GB: sys.exit(f'the command took more than {most:g} GB')
    return status


if __name__ == '__main__': sys.exit(main(sys.argv[1:]))
