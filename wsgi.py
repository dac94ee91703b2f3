"""What a WSGI server serves, and what ``flask --app wsgi`` commands."""

from app.factory import create_app

app = create_app()
