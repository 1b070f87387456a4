"""How the page looks, and the few lines that sort its tables."""

from __future__ import annotations

STYLE = """
:root { color-scheme: light; --line: #d0d7de; --soft: #57606a; --good: #1a7f37; --bad: #cf222e; }
* { box-sizing: border-box; }
body { margin: 0; padding: 1.5rem clamp(0.8rem, 3vw, 2.5rem); background: #f6f8fa; color: #1f2328;
  font: 15px/1.45 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width: 1500px; margin: 0 auto; }
h1 { margin: 0 0 0.4rem; font-size: 1.35rem; overflow-wrap: anywhere; }
h2 { margin: 2rem 0 0.5rem; font-size: 1.15rem; }
h3 { margin: 1.1rem 0 0.4rem; font-size: 0.95rem; overflow-wrap: anywhere; }
p { margin: 0.3rem 0; max-width: 60rem; }
.soft { color: var(--soft); font-size: 0.85rem; }
.scroll { overflow-x: auto; background: #fff; border: 1px solid var(--line); border-radius: 8px; }
table { border-collapse: collapse; width: 100%; font-size: 0.85rem; font-variant-numeric: tabular-nums; }
th, td { padding: 0.35rem 0.5rem; border-bottom: 1px solid #eaeef2; text-align: left; vertical-align: top;
  white-space: nowrap; }
tbody tr:last-child td { border-bottom: 0; }
tbody tr:hover { background: #f6f8fa; }
th { background: #fff; color: var(--soft); font-weight: 600; vertical-align: bottom; }
th button { all: unset; cursor: pointer; }
th button:hover, th button:focus-visible { color: #1f2328; text-decoration: underline; }
th[aria-sort=ascending] button::after { content: " ↑"; }
th[aria-sort=descending] button::after { content: " ↓"; }
summary { cursor: pointer; }
thead tr:first-child th[colspan] { text-align: center; border-left: 1px solid #eaeef2; }
.n { text-align: right; }
.wrap { white-space: normal; min-width: 13rem; max-width: 26rem; overflow-wrap: anywhere; }
.wrap.long { min-width: 24rem; }
.plots { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 18.5rem), 1fr)); gap: 0.8rem; }
.plots.wide { grid-template-columns: minmax(0, 37rem); margin-bottom: 0.8rem; }
.plots figure { margin: 0; padding: 0.5rem; background: #fff; border: 1px solid var(--line); border-radius: 8px; }
.plots figcaption { color: var(--soft); font-size: 0.8rem; overflow-wrap: anywhere; }
.plots img { display: block; width: 100%; max-width: 36rem; height: auto; margin: 0 auto; }
.legend { display: flex; flex-wrap: wrap; gap: 0.2rem 1rem; margin: 0.4rem 0; padding: 0; list-style: none;
  font-size: 0.85rem; }
.legend i { font-style: normal; margin-right: 0.3rem; }
.good { color: var(--good); } .bad { color: var(--bad); }
"""

# A click on a heading sorts by it, the second click the other way round; cells without a number come last.
SCRIPT = """
document.querySelectorAll("table.sortable").forEach(table => {
  const heads = [...table.querySelectorAll("th[data-column]")];
  heads.forEach(head => head.querySelector("button").addEventListener("click", () => {
    const down = head.getAttribute("aria-sort") === "ascending";
    heads.forEach(other => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const value = row => row.cells[head.dataset.column].dataset.value ?? row.cells[head.dataset.column].textContent;
    const compare = (a, b) => {
      const [x, y] = [value(a), value(b)];
      if (x === "" || y === "") return (x === "") - (y === "");
      const order = isNaN(x) || isNaN(y) ? x.localeCompare(y) : x - y;
      return down ? -order : order;
    };
    table.tBodies[0].append(...[...table.rows].filter(row => row.parentNode === table.tBodies[0]).sort(compare));
  }));
});
"""
