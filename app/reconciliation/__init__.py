"""What providers say they did on a day, held against our books: every fen is matched, or named."""
