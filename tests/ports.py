"A port for a server under test."
import random, socket


def free_port():
    "One on which nothing listens, outside the ranges from which systems hand out ports: nobody takes it before the test's server does"
    for port in random.SystemRandom().sample(range(20000, 32000), 100):
        with socket.socket() as s:
            try: s.bind(('127.0.0.1', port))
            except OSError: continue
        return port
    raise OSError('a hundred ports are taken')
