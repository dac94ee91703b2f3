"""The print shop: what a payment code looks like on paper, from a frozen description to bytes.

``card`` says what is printed, ``posters``, ``labels`` and ``thermal`` where it stands (marks in millimetres),
``pdf``, ``raster`` and ``svg`` paint the same marks, ``preflight`` reads the result back, and ``shop`` is the
door: ``shop.draw(Kind.A6, [card])``.  All of it is pure: the same description gives the same bytes for ever.
"""
