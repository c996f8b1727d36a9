"""`python -m twlcli` is `twl`."""

from twlcli.cli.app import main

if __name__ == "__main__":
    main()
