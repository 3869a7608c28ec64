/** The page's document and its style; what it does is page/page.ts. */

export const DOCUMENT = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>weft</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/uplot.css">
<link rel="stylesheet" href="/style.css">
</head>
<body>
<header>
<h1>weft</h1>
<p id="link" role="status">connecting</p>
</header>
<main>
<section id="verdict" aria-live="polite" aria-label="Verdict" data-state="gone"><strong></strong> <span></span></section>
<section id="findings" aria-labelledby="findings-title" hidden>
<h2 id="findings-title">Findings</h2>
<ul></ul>
</section>
<div class="charts">
<section aria-labelledby="bits-title">
<h2 id="bits-title">Throughput <span class="now" id="bits-now"></span></h2>
<div class="chart" id="bits" role="img" aria-labelledby="bits-title"></div>
</section>
<section aria-labelledby="packets-title">
<h2 id="packets-title">Packets <span class="now" id="packets-now"></span></h2>
<div class="chart" id="packets" role="img" aria-labelledby="packets-title"></div>
</section>
</div>
<section aria-labelledby="peers-title">
<h2 id="peers-title">Peers <span class="now" id="peers-now"></span></h2>
<div class="scroll" tabindex="0" role="group" aria-label="Table of peers">
<table id="peers">
<thead><tr><th scope="col">Public IP</th><th scope="col">Subnet</th><th scope="col">Health</th><th scope="col">Round trip</th><th scope="col">Out</th><th scope="col">In</th><th scope="col">Last heard</th><th scope="col">Path MTU</th></tr></thead>
<tbody></tbody>
</table>
</div>
</section>
<section aria-labelledby="drops-title">
<h2 id="drops-title">Drops <span class="now" id="drops-now"></span></h2>
<div class="scroll" tabindex="0" role="group" aria-label="Table of drops" id="drops-table" hidden>
<table id="drops">
<thead><tr><th scope="col">Reason</th><th scope="col">Packets</th><th scope="col">A second</th><th scope="col">What it means</th><th scope="col">One of late</th></tr></thead>
<tbody></tbody>
</table>
</div>
</section>
<section aria-labelledby="facts-title">
<h2 id="facts-title">This host</h2>
<dl id="facts"></dl>
</section>
</main>
<script src="/uplot.js"></script>
<script type="module" src="/page.js"></script>
</body>
</html>
`;

export const STYLE = `
:root {
  --back: #f6f7f9; --card: #ffffff; --line: #d5dae1; --text: #17202b; --faint: #55606d;
  --good: #0b6b3a; --attention: #8a5a00; --bad: #b3261e; --out: #1f5fbf; --in: #a14a00;
}
@media (prefers-color-scheme: dark) {
  :root {
    --back: #10151b; --card: #182029; --line: #33404d; --text: #e7edf3; --faint: #a3b0bd;
    --good: #5fd394; --attention: #f0b94a; --bad: #ff8a80; --out: #7db3ff; --in: #ffb273;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--back); color: var(--text); font: 15px/1.45 system-ui, sans-serif; }
header { display: flex; align-items: baseline; gap: 1rem; padding: .75rem 1rem 0; max-width: 1200px; margin: 0 auto; }
h1 { margin: 0; font-size: 1.3rem; }
h2 { margin: 0 0 .5rem; font-size: 1rem; }
header p { margin: 0; color: var(--faint); }
main { display: grid; gap: 1rem; padding: 1rem; max-width: 1200px; margin: 0 auto; }
section { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: .9rem 1rem; min-width: 0; }
.charts { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fit, minmax(min(100%, 420px), 1fr)); }
.chart { height: 220px; }
.now { font-weight: 400; color: var(--faint); }
#verdict { border-left-width: 6px; font-size: 1.05rem; overflow-wrap: anywhere; }
#verdict strong { text-transform: uppercase; }
#verdict[data-state=well] { border-left-color: var(--good); }
#verdict[data-state=well] strong { color: var(--good); }
#verdict[data-state=impaired], #verdict[data-state=starting] { border-left-color: var(--attention); }
#verdict[data-state=impaired] strong, #verdict[data-state=starting] strong { color: var(--attention); }
#verdict[data-state=broken], #verdict[data-state=gone] { border-left-color: var(--bad); }
#verdict[data-state=broken] strong, #verdict[data-state=gone] strong { color: var(--bad); }
#findings ul { margin: 0; padding: 0; list-style: none; display: grid; gap: .75rem; }
#findings li { border-left: 4px solid var(--faint); padding-left: .75rem; overflow-wrap: anywhere; }
#findings li[data-severity=error] { border-color: var(--bad); }
#findings li[data-severity=warning] { border-color: var(--attention); }
#findings code { display: block; margin-top: .25rem; padding: .35rem .5rem; background: var(--back); border-radius: 4px; white-space: pre-wrap; }
.scroll { overflow-x: auto; max-height: 60vh; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .3rem .75rem .3rem 0; border-bottom: 1px solid var(--line); white-space: nowrap; }
#drops td:nth-child(n + 4) { white-space: normal; min-width: 16rem; overflow-wrap: anywhere; }
th { color: var(--faint); font-weight: 600; position: sticky; top: 0; background: var(--card); }
td[data-tone=good] { color: var(--good); } td[data-tone=bad] { color: var(--bad); font-weight: 600; }
td[data-tone=attention] { color: var(--attention); }
dl { display: grid; grid-template-columns: minmax(6rem, auto) 1fr; gap: .25rem 1rem; margin: 0; }
dt { color: var(--faint); } dd { margin: 0; overflow-wrap: anywhere; }
.u-legend { color: var(--text); font-size: .85rem; }
body.stale main { opacity: .55; }
`;
