"""The thread that sends notifications when they are due, and lets time pass in the trade book."""

from __future__ import annotations

import logging
import os
import threading
from concurrent.futures import ThreadPoolExecutor

from sandbox import levers, notes, outgoing, shopper, timing
from sandbox.box import Box, Letter
from sandbox.notes import Note

log = logging.getLogger(__name__)

_IDLE_S = 0.1
_SENDERS = 6  # One dead address costs five seconds a send; it must not hold up the others.


class Notifier:
    """One per box.  ``start`` again after a fork: threads do not survive it."""

    def __init__(self, box: Box) -> None:
        self._box = box
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._pid = 0
        self._thread: threading.Thread | None = None
        self._start_lock = threading.Lock()
        box.store.after_commit = self._wake.set

    def start(self) -> None:
        """Run the thread unless it runs in this process already."""
        if self._pid == os.getpid():
            return
        with self._start_lock:
            if self._pid != os.getpid():
                self._pid = os.getpid()
                with self._box.store.write() as db:
                    notes.release_all(db)
                self._thread = threading.Thread(target=self._run, name="sandbox-notifier", daemon=True)
                self._thread.start()

    def stop(self) -> None:
        """End the thread; what is being sent is finished first."""
        self._stop.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        with ThreadPoolExecutor(_SENDERS, thread_name_prefix="sandbox-sender") as pool:
            while not self._stop.is_set():
                try:
                    shopper.sweep(self._box)
                    for note in self._claim():
                        pool.submit(self._send, note)
                except Exception:  # The one loop that must outlive whatever a row holds.
                    if not threading.main_thread().is_alive():
                        return  # The interpreter is leaving, and the pool takes no more work.
                    log.exception("the notifier stumbled")
                    self._stop.wait(1.0)
                self._wake.wait(_IDLE_S)
                self._wake.clear()

    def _claim(self) -> list[Note]:
        now = timing.now()
        with self._box.store.read() as db:
            found = notes.due(db, now, _SENDERS * 2)
        if not found:
            return []
        with self._box.store.write() as db:
            return [note for note in found if notes.lease(db, note, now)]

    def _send(self, note: Note) -> None:
        try:
            self._round(note)
        except Exception:  # A pool swallows exceptions; the lease brings the row back.
            log.exception("a notification could not be sent", extra={"notify_id": note.notify_id})

    def _round(self, note: Note) -> None:
        """One try of a notification: a send and, at the first try, its copies."""
        network = self._box.networks[note.network]
        gaps_s = tuple(gap / self._box.speed for gap in network.retry_gaps_s)
        with self._box.store.write() as db:
            dropped = not note.forge and levers.take(db, "drop", note.out_trade_no) is not None
            forge = note.forge
            if not dropped and not forge:
                forge = levers.take(db, "forge", note.out_trade_no) or ""
                if forge and forge not in network.forgeries:
                    forge = "bad_signature"  # The lever knew no network when it was pulled.
            if dropped:
                notes.record(db, note, "dropped", None, "")
                notes.settle(db, note, False, gaps_s)
        if dropped:
            return
        heard = False
        for turn in range(1 + (note.copies if note.tries == 0 else 0)):
            letter = network.letter(note.fields, note.charset, forge)
            how = f"forged: {forge}" if forge else "sent" if turn == 0 else "copy"
            heard = self._post(note, letter, how) or heard
            if turn == 0 and forge and not note.forge:
                forge = ""  # Copies of a forged send are genuine: the lever counts single sends.
        with self._box.store.write() as db:
            notes.settle(db, note, heard, gaps_s)

    def _post(self, note: Note, letter: Letter, how: str) -> bool:
        answer = outgoing.post(note.url, letter.headers, letter.body)
        network = self._box.networks[note.network]
        with self._box.store.write() as db:
            notes.record(db, note, how, answer.status, answer.body.decode("utf-8", "replace"))
        return answer.status is not None and network.heard(answer.status, answer.body)
