"""`python -m brain_inpaint_ad` is the command line."""

from .cli.app import app

if __name__ == "__main__":
    app(prog_name="brain-inpaint-ad")
