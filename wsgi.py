"""What a WSGI server serves, and what ``flask --app wsgi`` commands."""

import sys

from app.errors import SettingsError
from app.factory import create_app

try:
    app = create_app()
except SettingsError as error:
    sys.stderr.write(f"{error}\n")  # the faults, one a line, and no traceback
    sys.exit(3)  # gunicorn's code for "cannot boot": with any other it would start workers for ever
