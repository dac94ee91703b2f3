"""What a payment link says and how it is drawn.  Pure: no Flask, no database."""
