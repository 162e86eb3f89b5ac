"""`python -m unitrank` runs the command `unitrank`."""

from unitrank.cli.main import main

if __name__ == "__main__":
    main()
