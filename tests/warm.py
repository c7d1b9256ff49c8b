"""Processes of their own for tests that kill them. Importing torch and fastai takes longer than what is tested: on Linux it is done
once, and each process is forked from one that has done it."""
import multiprocessing, os, runpy, signal, sys, tempfile
from multiprocessing.connection import wait
from pathlib import Path
from types import SimpleNamespace

FORKS = sys.platform == 'linux'
PROCESSES = multiprocessing.get_context('forkserver' if FORKS else 'spawn')
if FORKS:
    # Pandas' pyarrow would start a thread, and a process of several threads can't be forked safely.
    os.environ.setdefault('JE_ARROW_MALLOC_CONF', 'background_thread:false')
    PROCESSES.set_forkserver_preload(['torch', 'torchvision', 'colorizer.cli', 'colorizer.training.command'])


def _begin(do, args, folder, cwd, env, largest_file):
    "In the new process: what it says goes into files"
    os.environ.update(env)
    if cwd: os.chdir(cwd)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # Ctrl-C, which the process it is forked from ignores
    for n, name in enumerate(('out', 'err'), start=1):
        with open(f'{folder}/{name}', 'w') as f: os.dup2(f.fileno(), n)
    if largest_file:
        import resource
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file,)*2)
    import torch
    torch.set_num_threads(1)  # another number of threads adds up in another order
    do(*args)


class Child:
    "A process that runs `do(*args)`, a function of this module; largest_file: a limit in bytes that stands for a full disk"
    def __init__(self, do, *args, cwd=None, env=None, largest_file=None):
        self.folder = tempfile.TemporaryDirectory()
        self.process = PROCESSES.Process(target=_begin, args=(do, args, self.folder.name, cwd, env or {}, largest_file))
        self.process.start()

    def poll(self): return self.process.exitcode

    def interrupt(self): os.kill(self.process.pid, signal.SIGINT)

    def kill(self): self.process.kill(); self.process.join()

    def end(self, seconds=300):
        "Wait for its end: exit status, and what it said"
        if not wait([self.process.sentinel], seconds): self.kill(); raise TimeoutError(self.said('err'))
        self.process.join()
        return SimpleNamespace(returncode=self.process.exitcode, stdout=self.said('out'), stderr=self.said('err'))

    def said(self, name): return Path(self.folder.name, name).read_text()


def command_in_child(words):
    from colorizer.cli import main
    sys.argv = ['colorizer', *map(str, words)]
    sys.exit(main())


def killed_at_fsync(left, words):
    "The command, which dies in the middle of writing file number `left`"
    from colorizer.inference import disk
    fsync = os.fsync
    def half(file):
        nonlocal left
        left -= 1
        if left == 0:
            os.ftruncate(file, 1000)
            os._exit(9)
        fsync(file)
    disk.os.fsync = half
    command_in_child(words)


def script(path, words):
    "A Python file as it would run by itself"
    sys.argv = [str(path), *map(str, words)]
    runpy.run_path(str(path), run_name='__main__')
