"""`python -m twlcli` is `twl`."""

import sys


def main() -> None:
    """Run `twl`; Ctrl-C while it is loaded shows no traceback."""
    try:
        from twlcli.cli.app import main as run
    except KeyboardInterrupt:
        sys.exit(130)
    run()


if __name__ == "__main__":
    main()
