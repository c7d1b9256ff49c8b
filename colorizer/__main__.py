"`python -m colorizer` is the `colorizer` command"
from colorizer.cli import main
if __name__ == "__main__": raise SystemExit(main())
