"""What holds for all tests."""
import signal

# Whoever starts the tests in the background of a shell has them ignore Ctrl-C, and all that they start, too: those that test Ctrl-C would wait for ever.
signal.signal(signal.SIGINT, signal.default_int_handler)
