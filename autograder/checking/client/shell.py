"""Runs a notebook's cells as a kernel would, in this process, and hands on what they put out."""

import io
import sys
from collections.abc import Callable
from typing import Any

from IPython.core.displayhook import DisplayHook
from IPython.core.displaypub import DisplayPublisher
from IPython.core.interactiveshell import InteractiveShell

INLINE = "module://matplotlib_inline.backend_inline"

Emit = Callable[[dict[str, Any]], None]


class CellShell(InteractiveShell):
    """An IPython shell whose output goes to ``emit`` as nbformat outputs."""

    emit: Emit

    def _showtraceback(self, etype: type, evalue: BaseException, stb: list[str]) -> None:
        try:
            value = str(evalue)
        except Exception:  # a student's exception may fail even to say what it is
            value = ""
        self.emit({"output_type": "error", "ename": etype.__name__, "evalue": value, "traceback": list(stb)})

    def init_history(self) -> None:
        """Keep no history on disk."""
        from IPython.core.history import HistoryManager

        self.history_manager = HistoryManager(shell=self, parent=self, enabled=False, hist_file=":memory:")

    def enable_gui(self, gui: str | None = None) -> None:
        """There is no screen."""


class _Publisher(DisplayPublisher):
    def publish(self, data: Any, metadata: Any = None, source: Any = None, **kwargs: Any) -> None:
        self.shell.emit({"output_type": "display_data", "data": data, "metadata": metadata or {}})

    def clear_output(self, wait: bool = False) -> None:
        self.shell.emit({"output_type": "clear_output"})


class _Hook(DisplayHook):
    def start_displayhook(self) -> None:
        pass

    def write_output_prompt(self) -> None:
        pass

    def write_format_data(self, format_dict: dict[str, Any], md_dict: dict[str, Any] | None = None) -> None:
        assert self.shell is not None
        self.shell.emit(
            {
                "output_type": "execute_result",
                "data": format_dict,
                "metadata": md_dict or {},
                "execution_count": self.prompt_count,
            }
        )

    def finish_displayhook(self) -> None:
        pass


class _Stream(io.TextIOBase):
    """Standard output or standard error of the cells."""

    def __init__(self, name: str, emit: Emit) -> None:
        self.stream_name = name
        self._emit = emit

    def write(self, text: str) -> int:
        if text:
            self._emit({"output_type": "stream", "name": self.stream_name, "text": str(text)})
        return len(text)

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return False


def make_shell(emit: Emit) -> CellShell:
    """A shell that sends everything it and its cells put out to ``emit``."""
    shell = CellShell.instance(display_pub_class=_Publisher, displayhook_class=_Hook, colors="nocolor")
    shell.emit = emit
    sys.stdout = _Stream("stdout", emit)
    sys.stderr = _Stream("stderr", emit)
    _draw_figures_inline(shell)
    return shell


def _draw_figures_inline(shell: CellShell) -> None:
    """Let figures come out as images under their cell, as in a notebook."""
    import matplotlib
    import matplotlib.pyplot as plt
    from matplotlib_inline.backend_inline import configure_inline_support

    plt.switch_backend(INLINE)
    matplotlib.interactive(True)
    configure_inline_support(shell, INLINE)
