"Timing side by side, the machine's own limit, and the page of results; used by run.py"
import json, os, platform, subprocess, time
from importlib.metadata import version
from pathlib import Path

import numpy as np


def interleaved(variants, budget=10., least=3, most=15):
    """Name → processor seconds of each round. The variants take turns, for `least` rounds or as many as fit the budget; the first round
    doesn't count, unless it is very slow."""
    times, begun, warm = {k: [] for k in variants}, time.process_time(), False
    while True:
        for name, f in variants.items():
            start = time.process_time()
            f()
            times[name].append(time.process_time() - start)
        spent, rounds = time.process_time() - begun, len(times[name])
        if not warm:
            warm = True
            if spent < 2*budget: times = {k: [] for k in variants}
        elif rounds >= most or spent > budget and (rounds >= least or spent > 3*budget): return times


def quartiles(values): return [float(o) for o in np.percentile(values, (50, 25, 75))]

def ratios(times, base, name):
    "How many times faster `name` is than `base`: median and quartiles of the rounds' ratios"
    return quartiles([b/a for b, a in zip(times[base], times[name])])

def shown(values, fmt='.2f'):
    "Median, and quartiles in brackets"
    m, low, high = values
    return f'{m:{fmt}} ({low:{fmt}}–{high:{fmt}})'

def milliseconds(values): return shown([1000*o for o in quartiles(values)], '.3g' if min(values) < .1 else '.0f')


def measured_rates(budget):
    "GFLOP/s of what this machine does best with matrices, one thread: the limit that everything else is held against"
    import torch
    out = {}
    for name, dtype in (('float32', torch.float32), ('bfloat16', torch.bfloat16)):
        a, b = (torch.randn(1024, 1024).to(dtype) for _ in range(2))
        x = torch.randn(4, 256, 48, 48).to(dtype).to(memory_format=torch.channels_last)
        conv = torch.nn.Conv2d(256, 256, 3, padding=1).to(dtype).to(memory_format=torch.channels_last)
        with torch.inference_mode(): times = interleaved({'matmul': lambda: a @ b, 'conv': lambda: conv(x)}, budget)
        flop = dict(matmul=2*1024**3, conv=2*4*48*48*256*256*9)
        out[name] = {k: quartiles([flop[k]/o/1e9 for o in v]) for k, v in times.items()}
    return out

def peak(rates, dtype='float32'): return max(o[0] for o in rates[dtype].values())


def child(*words, **kw):
    "Run a command: its processor seconds and the seconds on the clock"
    start = time.perf_counter()
    p = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, **kw)
    err = p.stderr.read()
    _, status, used = os.wait4(p.pid, 0)
    p.returncode = os.waitstatus_to_exitcode(status)
    if p.returncode: raise RuntimeError(f"{' '.join(map(str, words))}: {err}")
    return dict(cpu=used.ru_utime + used.ru_stime, clock=time.perf_counter() - start)


def machine():
    "Hardware, versions, commit, date"
    here = Path(__file__).parent
    git = subprocess.run(['git', '-C', here, 'describe', '--always', '--dirty', '--exclude', '*'], capture_output=True,
                         text=True).stdout.strip()
    cpu = next((o.split(':')[1].strip() for o in Path('/proc/cpuinfo').read_text().splitlines() if o.startswith('model name')),
               '') if Path('/proc/cpuinfo').exists() else platform.processor()
    flags = Path('/proc/cpuinfo').read_text() if Path('/proc/cpuinfo').exists() else ''
    has = [o for o in ('avx2', 'avx512f', 'avx512_bf16', 'amx_bf16', 'amx_int8') if f' {o}' in flags]
    names = ('unet-colorizer', 'torch', 'torchvision', 'fastai', 'onnxruntime', 'numpy', 'pillow')
    return dict(cpu=cpu, has=has, cores=os.cpu_count(), load=round(os.getloadavg()[0], 1),
                system=f'{platform.system()} {platform.machine()}', python=platform.python_version(),
                versions={o: version(o) for o in names}, commit=git, date=time.strftime('%Y-%m-%d'))


def table(rows):
    "Markdown for a list of dicts"
    heads = list(dict.fromkeys(k for r in rows for k in r))
    lines = ['| ' + ' | '.join(heads) + ' |', '|' + '---|'*len(heads)]
    return '\n'.join(lines + ['| ' + ' | '.join(str(r.get(h, '–')) for h in heads) + ' |' for r in rows])

def page(results):
    "The results as Markdown"
    m, sections = results['machine'], results['sections']
    versions = ', '.join(f'{k} {v}' for k, v in m['versions'].items())
    out = ['# How fast', '', f"{m['cpu']} ({', '.join(m['has'])}), {m['cores']} cores, {m['system']}, Python {m['python']}, {versions}.",
           '',
           'Times are processor time on one thread, which other work on the machine hardly affects; systems that are compared took turns '
           'in one process. Figures are medians '
           'with quartiles in brackets; '
           'a ratio is the median of the rounds\' ratios. Weights are random except the shipped model\'s, which makes no '
           'difference to speed.',
           '', '## Targets', '', table([t for s in sections.values() for t in s['targets']]), '']
    for name, s in sections.items():
        made = s['made']
        elsewhere = f", on {made['cpu']}" if made.get('cpu', m['cpu']) != m['cpu'] else ''  # measured again elsewhere
        out += [f'## {name}', '', f"`{made['command']}`, {made['date']}, commit {made['commit']}{elsewhere}, "
                                  f"{made['minutes']:.1f} minutes; load of the machine at the start {made['load']}.", '']
        for part in s['parts']:
            out += [f"**{part['title']}**", '', table(part['rows']), ''] + ([part['note'], ''] if part.get('note') else [])
    return '\n'.join(out)


def read(folder):
    "What `write` left in a folder; empty if there is nothing"
    return json.loads((folder/'results.json').read_text(encoding='utf-8')) if (folder/'results.json').exists() else {}

def write(results, folder):
    "`RESULTS.md` and `results.json`, whole"
    for name, text in (('results.json', json.dumps(results, indent=1)), ('RESULTS.md', page(results))):
        tmp = folder/f'.{name}.part'
        tmp.write_text(text, encoding='utf-8')
        os.replace(tmp, folder/name)
