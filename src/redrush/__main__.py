"""`python -m redrush`: the same as the `redrush` command, for wherever that is not on the path."""

from redrush.cli.main import main

if __name__ == "__main__":
    main()
