"""A page of HTML around its parts: how it looks, how its tables sort, and that it asks nothing of any server."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape
from urllib.parse import quote

STYLE = """
*{box-sizing:border-box}
body{margin:0 auto;max-width:86rem;padding:1rem 1.25rem 3rem;font:16px/1.5 system-ui,"Segoe UI","DejaVu Sans",
sans-serif;color:#1a1a1a;background:#fff;overflow-wrap:anywhere}
h1{margin:.5rem 0;font-size:1.7rem}h2{margin:2rem 0 .5rem;font-size:1.2rem}
.answer{padding:.7rem 1rem;border-left:5px solid #0072b2;background:#eef5fa;font-weight:600}
.box{overflow-x:auto;border:1px solid #d5d5d5;border-radius:4px}
.hint{display:none;margin:0 0 .25rem;text-align:right;font-size:.86rem;color:#005a8f}
.wide>.hint{display:block}
.wide:not(.end)>.box{-webkit-mask-image:linear-gradient(to left,transparent,#000 2.5rem);
mask-image:linear-gradient(to left,transparent,#000 2.5rem)}
table{border-collapse:collapse;width:100%;font-size:.79rem;font-variant-numeric:tabular-nums;overflow-wrap:normal}
th,td{padding:.28rem .35rem;text-align:right;white-space:nowrap;border-bottom:1px solid #ececec}
th{background:#f4f4f4;box-shadow:inset 0 -2px #999;padding:0;white-space:normal;vertical-align:bottom}
th.words,td.words{text-align:left}
.name{position:sticky;left:0;z-index:1;border-right:1px solid #ececec}
td.name{background:#fff;white-space:normal;overflow-wrap:anywhere}
.fits>.box{overflow:clip}.fits th{position:sticky;top:0;z-index:2}
tr:hover td{background:#f3f8fc}
tr.teacher td{background:#fdf1e7}tr.alone td{background:#e9f6f1}
td.best{font-weight:700}td.none{color:#767676}
th button{all:unset;box-sizing:border-box;width:100%;padding:.35rem .35rem;font-weight:600;cursor:pointer}
th button:focus-visible{outline:2px solid #0072b2;outline-offset:-2px}
th button::after{content:"\\00a0\\2195";color:#767676}
th[aria-sort=ascending] button::after{content:"\\00a0\\2191";color:#0072b2}
th[aria-sort=descending] button::after{content:"\\00a0\\2193";color:#0072b2}
figure{margin:1rem 0 1.5rem}figure img{display:block;width:100%;height:auto}
figcaption,.small{font-size:.86rem;color:#4a4a4a}
figcaption{margin-top:.3rem}summary{cursor:pointer;color:#005a8f}
ul{padding-left:1.2rem}a{color:#005a8f}
@media(max-width:760px){body{padding:.75rem .75rem 2rem}}
"""

SCRIPT = """
document.querySelectorAll('th button').forEach(function (button) {
  button.addEventListener('click', function () {
    var head = button.parentNode, column = head.cellIndex, body = head.closest('table').tBodies[0];
    var words = head.classList.contains('words'), before = head.getAttribute('aria-sort');
    var up = before ? before === 'descending' : words;
    var value = function (row) { return row.cells[column].dataset.v; };
    var rows = Array.from(body.rows).sort(function (a, b) {
      var x = value(a), y = value(b);
      if (x === '' || y === '') return (x === '') - (y === '');
      return (up ? 1 : -1) * (words ? x.localeCompare(y) : x - y);
    });
    head.parentNode.querySelectorAll('th').forEach(function (other) { other.removeAttribute('aria-sort'); });
    head.setAttribute('aria-sort', up ? 'ascending' : 'descending');
    rows.forEach(function (row) { body.appendChild(row); });
  });
});
function fit() {
  document.querySelectorAll('.part').forEach(function (part) {
    var box = part.querySelector('.box'), wide = box.firstElementChild.offsetWidth > box.clientWidth + 1;
    part.classList.toggle('wide', wide);
    part.classList.toggle('fits', !wide);
    part.classList.toggle('end', box.scrollLeft + box.clientWidth > box.scrollWidth - 2);
  });
}
document.addEventListener('scroll', fit, true);
window.addEventListener('resize', fit);
window.addEventListener('load', fit);
fit();
// In a frame of another page, as MLflow's, the files beside this one are not beside it.
if (window.top !== window) document.querySelectorAll('.beside').forEach(function (part) { part.hidden = true; });
"""

# Nothing is asked of any server, whatever a name in the page says.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data: 'self' file:"


def document(title: str, parts: Iterable[str], script: str = "") -> str:
    """A whole page around its parts."""
    policy = f"{_POLICY}; script-src 'unsafe-inline'" if script else _POLICY
    head = (
        '<meta charset="utf-8">\n<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        f'<title>{escape(title)}</title>\n<link rel="icon" href="data:,">\n<style>{STYLE}</style>'
    )
    body = "\n".join(part for part in parts if part) + (
        f"\n<script>{script}</script>" if script else ""
    )
    return f'<!DOCTYPE html>\n<html lang="en">\n<head>\n{head}\n</head>\n<body>\n{body}\n</body>\n</html>\n'


def anchors(links: Mapping[str, str]) -> str:
    """Links to files, by their names."""
    return ", ".join(f'<a href="{quote(file)}">{escape(name)}</a>' for name, file in links.items())
