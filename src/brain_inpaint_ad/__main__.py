"""`python -m brain_inpaint_ad` is the command line."""

from .cli.app import start

if __name__ == "__main__":
    start()
