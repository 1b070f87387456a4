"""How the page of the demo looks, by day and by night, in wide and in narrow windows."""

from __future__ import annotations

STYLE = """
:root { color-scheme: light dark; --ink: #1f2328; --soft: #57606a; --line: #d0d7de; --back: #f6f8fa; --card: #fff;
  --box: #eaeef2; --good: #1a7f37; --bad: #cf222e; --unsure: #9a6700; --blue: #0969da; --on: #fff; --dot: #8c959f;
  --ring: #bf3989; --own: #bc4c00; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --soft: #9da7b3; --line: #3d444d; --back: #0d1117;
  --card: #161b22; --box: #21262d; --good: #56d364; --bad: #ff7b72; --unsure: #e3b341; --blue: #58a6ff; --on: #0d1117;
  --dot: #6e7681; --ring: #ff7bc0; --own: #ffa657; } }
* { box-sizing: border-box; }
body { margin: 0; padding: 1.5rem clamp(0.8rem, 3vw, 2.5rem); background: var(--back); color: var(--ink);
  font: 15px/1.45 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width: 1500px; margin: 0 auto; }
h1 { margin: 0 0 0.6rem; font-size: 1.35rem; overflow-wrap: anywhere; }
h2 { margin: 1.6rem 0 0.5rem; font-size: 1.15rem; }
h3 { margin: 0; font-size: 1rem; overflow-wrap: anywhere; }
p { margin: 0.4rem 0 0; }
.card p:first-child { margin: 0 0 0.6rem; }
a { color: var(--blue); }
:focus-visible { outline: 3px solid var(--blue); outline-offset: 2px; border-radius: 3px; }
.soft { color: var(--soft); font-size: 0.85rem; }
.good { color: var(--good); } .bad { color: var(--bad); } .unsure { color: var(--unsure); }
.facts { display: flex; flex-wrap: wrap; gap: 0.6rem; margin: 0; }
.facts div { padding: 0.45rem 0.85rem; background: var(--card); border: 1px solid var(--line); border-radius: 8px; }
.facts dt { color: var(--soft); font-size: 0.85rem; }
.facts dd { margin: 0; font-weight: 600; overflow-wrap: anywhere; font-variant-numeric: tabular-nums; }
.top { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 30rem), 1fr)); gap: 0 1.5rem;
  align-items: start; }
.card, article { padding: 0.8rem; background: var(--card); border: 1px solid var(--line); border-radius: 8px; }
.scroll { max-height: 27.5rem; overflow: auto; padding: 0; }
table { border-collapse: collapse; width: 100%; font-size: 0.85rem; font-variant-numeric: tabular-nums; }
th, td { padding: 0.35rem 0.6rem; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }
td { overflow-wrap: anywhere; }
th { position: sticky; top: 0; background: var(--card); color: var(--soft); font-weight: 600; white-space: nowrap; }
th button { all: unset; cursor: pointer; }
th button:hover { text-decoration: underline; }
th button:focus-visible { outline: 3px solid var(--blue); outline-offset: 2px; }
th[aria-sort=ascending] button::after { content: " ↑"; }
th[aria-sort=descending] button::after { content: " ↓"; }
.n { text-align: right; white-space: nowrap; }
article { margin-bottom: 1rem; scroll-margin-top: 0.5rem; }
article:target { border-color: var(--blue); box-shadow: 0 0 0 1px var(--blue); }
.head { display: flex; flex-wrap: wrap; gap: 0.2rem 1.2rem; align-items: baseline; margin-bottom: 0.6rem; }
.head p { margin: 0; }
.answer { display: grid; grid-template-columns: minmax(0, 15rem) minmax(0, 1fr); gap: 1rem 1.3rem; align-items: start; }
.answer.placed { grid-template-columns: minmax(0, 15rem) minmax(0, 1fr) minmax(0, 18rem); }
ol { display: grid; grid-template-columns: repeat(auto-fit, minmax(7.8rem, 1fr)); gap: 0.8rem; margin: 0; padding: 0;
  list-style: none; }
li { max-width: 16rem; }
figure { margin: 0; min-width: 0; }
article img { display: block; width: 100%; aspect-ratio: 4 / 3; object-fit: contain; background: var(--box);
  border: 1px solid var(--line); border-radius: 4px; }
figcaption { margin-top: 0.3rem; font-size: 0.85rem; overflow-wrap: anywhere; }
.name { display: -webkit-box; -webkit-box-orient: vertical; -webkit-line-clamp: 2; overflow: hidden;
  color: var(--soft); font-size: 0.8rem; line-height: 1.3; }
td:first-child { width: 1%; }
td .name { min-width: 5rem; color: var(--blue); }
.name:hover, .name:focus { -webkit-line-clamp: none; }
.said { display: flex; justify-content: space-between; font-variant-numeric: tabular-nums; }
.bar { display: block; height: 0.5rem; margin: 0.15rem 0 0.2rem; background: var(--box); border-radius: 3px;
  overflow: hidden; }
.bar i { display: block; height: 100%; background: var(--blue); }
details { margin-top: 0.8rem; } summary { cursor: pointer; width: fit-content; }
.heat { display: grid; grid-template-columns: repeat(2, minmax(0, 20rem)); gap: 0.8rem; margin-top: 0.5rem; }
.map { display: block; width: 100%; height: auto; font-size: 12px; }
.map text { fill: var(--ink); }
.map .paper { fill: var(--back); stroke: var(--line); }
.dots { fill: none; stroke: var(--dot); stroke-width: 3; stroke-linecap: round; }
.place .dots { stroke-width: 1.5; }
#city { vector-effect: non-scaling-stroke; }
.map .bar, .map .north { fill: none; stroke: var(--ink); stroke-width: 1.5; }
.map .north { fill: var(--ink); stroke: none; }
.map .match { fill: var(--blue); stroke: var(--card); stroke-width: 1.5; }
.map .rank { fill: var(--on); text-anchor: middle; font-weight: 700; }
.map .estimate { fill: var(--blue); stroke: var(--card); stroke-width: 1.5; }
.map .unsure { fill: var(--card); stroke: var(--blue); stroke-width: 2.5; }
.map a:hover circle { fill: var(--ring); }
.map .ring { fill: none; stroke: var(--ring); stroke-width: 3; }
.map .own { fill: none; stroke: var(--own); stroke-width: 3; stroke-linecap: round; }
.map a .own { stroke-width: 1.5; }
.map .halo { fill: none; stroke: var(--card); stroke-width: 6; stroke-linecap: round; }
.map .here { fill: none; stroke: var(--ring); stroke-width: 2; }
.key { display: flex; flex-wrap: wrap; gap: 0.1rem 0.9rem; margin-top: 0.3rem; color: var(--soft); font-size: 0.8rem; }
.key b { font-weight: 700; }
@media (max-width: 1100px) { .answer.placed { grid-template-columns: minmax(0, 15rem) minmax(0, 1fr); }
  .answer.placed .where { grid-column: 1 / -1; max-width: 30rem; } }
@media (max-width: 640px) { .answer, .answer.placed { grid-template-columns: minmax(0, 1fr); }
  ol { grid-template-columns: repeat(2, minmax(0, 1fr)); } th, td { padding: 0.35rem 0.3rem; } }
@media print { body { background: #fff; } article { break-inside: avoid; }
  .scroll { max-height: none; } }
"""
