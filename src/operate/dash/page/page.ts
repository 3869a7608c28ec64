/** The page of `weft dash`: shows what the server tells every two seconds. It builds text alone, no HTML. */
import type { PeerRow, Sample, View } from '../shown.js';

declare const uPlot: new (
  options: object,
  data: readonly (readonly number[])[],
  target: HTMLElement,
) => {
  setData(data: readonly (readonly number[])[]): void;
  setSize(size: object): void;
  destroy(): void;
};

/** Seconds that the charts show. */
const SHOWN = 300;
const HEIGHT = 200;

const find = <E extends HTMLElement>(id: string): E => document.getElementById(id) as E;
let samples: Sample[] = [];

interface Chart {
  draw(): void;
}

/** Two lines over time; drawn anew when colours or width change. */
function makeChart(
  id: string,
  format: (n: number) => string,
  of: readonly [(sample: Sample) => number, (sample: Sample) => number],
): Chart {
  const target = find(id);
  const data = () => [samples.map(({ time }) => time), ...of.map((get) => samples.map(get))];
  const tick = (n: number) => format(n).replace(/\.0(?= )/, '');
  const make = () => {
    const style = getComputedStyle(document.documentElement);
    const colour = (name: string) => style.getPropertyValue(name).trim();
    const axis = { stroke: colour('--faint'), grid: { stroke: colour('--line'), width: 1 } };
    const line = (label: string, name: string) => ({
      ...{ label, stroke: colour(name), width: 2 },
      value: (_: unknown, v: number | null) => (v === null ? '–' : format(v)),
    });
    return new uPlot(
      {
        ...{ width: target.clientWidth, height: HEIGHT },
        scales: {
          // At least so much that the lines of a quiet host stand at whole numbers, as their labels say.
          y: { range: (_: unknown, _low: number, high: number) => [0, Math.max(high * 1.1, 20)] },
        },
        axes: [
          axis,
          { ...axis, size: 84, values: (_: unknown, ticks: number[]) => ticks.map(tick) },
        ],
        series: [{}, line('out', '--out'), line('in', '--in')],
      },
      data(),
      target,
    );
  };
  let chart = make();
  const anew = () => {
    chart.destroy();
    chart = make();
  };
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', anew);
  addEventListener('resize', () => chart.setSize({ width: target.clientWidth, height: HEIGHT }));
  return { draw: () => chart.setData(data()) };
}

const charts = [
  makeChart('bits', bits, [(one) => one.outBits, (one) => one.inBits]),
  makeChart('packets', rate, [(one) => one.outPackets, (one) => one.inPackets]),
];

function show(view: View): void {
  const { state, verdict, why, findings, sample } = view;
  const shown = verdict?.state ?? state;
  const box = find('verdict');
  box.dataset.state = shown;
  setText(box.querySelector('strong'), shown === 'gone' ? 'no weft' : shown);
  setText(box.querySelector('span'), verdict?.text ?? why);
  document.title = `${shown === 'well' ? '' : `${shown}: `}weft`;
  showFindings(findings);
  if (sample !== null) {
    samples = [...samples, sample].filter(({ time }) => time > sample.time - SHOWN);
    for (const chart of charts) chart.draw();
  }
  const both = (format: (n: number) => string, out: number, into: number) =>
    `${format(out)} out, ${format(into)} in`;
  setText(find('bits-now'), sample === null ? '' : both(bits, sample.outBits, sample.inBits));
  const packets = sample === null ? '' : both(rate, sample.outPackets, sample.inPackets);
  setText(find('packets-now'), packets);
  const more = view.peerCount - view.peers.length;
  const rest = more > 0 ? `, ${more} of them not shown: weft status peers has all` : '';
  setText(find('peers-now'), `${view.peerCount}${rest}`);
  rows(
    find('peers'),
    view.peers.map((peer) => peerCells(peer, view)),
  );
  const dropped = sample === null ? '' : `${rate(sample.drops)} just now`;
  setText(find('drops-now'), view.drops.length === 0 ? 'none' : dropped);
  find('drops-table').hidden = view.drops.length === 0;
  rows(
    find('drops'),
    view.drops.map(({ reason, packets, rate: now, words, last: packet, lastAbout }) => {
      const who = view.strangers.map(({ address, packets: n }) => `${address} (${count(n)})`);
      const last = reason === 'unknown_sender' && who.length > 0 ? `: ${who.join(', ')}` : '';
      const sample = packet === '' ? '–' : `${packet} (${lastAbout})`;
      return [[reason], [count(packets)], [rate(now)], [`${words}${last}`], [sample]];
    }),
  );
  showFacts(view.facts);
}

function showFindings(findings: View['findings']): void {
  find('findings').hidden = findings.length === 0;
  const list = find('findings').querySelector('ul')!;
  const text = JSON.stringify(findings);
  if (list.dataset.shown === text) return;
  list.dataset.shown = text;
  list.replaceChildren(
    ...findings.map(({ severity, text: words, cure }) => {
      const item = document.createElement('li');
      item.dataset.severity = severity;
      item.append(`${severity}: ${words}`);
      if (cure !== '') {
        const code = document.createElement('code');
        code.textContent = cure;
        item.append(code);
      }
      return item;
    }),
  );
}

function showFacts(facts: View['facts']): void {
  const list = find('facts');
  list.replaceChildren(
    ...facts.flatMap(([name, value]) => {
      const term = document.createElement('dt');
      term.textContent = name;
      const text = document.createElement('dd');
      text.textContent = value;
      return [term, text];
    }),
  );
}

type Cell = readonly [text: string, tone?: string];

function peerCells(peer: PeerRow, _view: View): Cell[] {
  const heard = peer.heardSecondsAgo;
  return [
    ...([[peer.publicIp], [peer.subnet], [peer.health, toneOf(peer.health)]] as Cell[]),
    [peer.roundTripMs === null ? '–' : `${peer.roundTripMs.toFixed(1)} ms`],
    ...([[bits(peer.outBits)], [bits(peer.inBits)]] as Cell[]),
    [heard === null ? 'never' : `${ago(heard)} ago`],
    [peer.pathMtu === null ? '–' : String(peer.pathMtu)],
  ];
}

function toneOf(health: string): string {
  if (health === 'well') return 'good';
  if (health === 'unknown') return '';
  return health === 'lossy' || health === 'small-mtu' ? 'attention' : 'bad';
}

/** Changes only what is another text: a selection in the table stays. */
function rows(table: HTMLElement, lines: readonly (readonly Cell[])[]): void {
  const body = table.querySelector('tbody')!;
  while (body.rows.length > lines.length) body.deleteRow(-1);
  for (const [i, cells] of lines.entries()) {
    const row = body.rows[i] ?? body.insertRow();
    for (const [j, [text, tone = '']] of cells.entries()) {
      const cell = row.cells[j] ?? row.insertCell();
      setText(cell, text);
      if (cell.dataset.tone !== tone) cell.dataset.tone = tone;
    }
  }
}

function setText(node: Element | null, text: string): void {
  if (node !== null && node.textContent !== text) node.textContent = text;
}

function count(n: number): string {
  return n.toLocaleString('en-US');
}

function rate(n: number): string {
  if (n >= 1e6) return `${(n / 1e6).toFixed(2)} M/s`;
  if (n >= 1e4) return `${(n / 1e3).toFixed(1)} k/s`;
  return `${Math.round(n)}/s`;
}

function bits(n: number): string {
  if (n >= 1e9) return `${(n / 1e9).toFixed(2)} Gb/s`;
  if (n >= 1e6) return `${(n / 1e6).toFixed(1)} Mb/s`;
  if (n >= 1e3) return `${(n / 1e3).toFixed(1)} kb/s`;
  return `${Math.round(n)} b/s`;
}

function ago(seconds: number): string {
  const s = Math.floor(seconds);
  if (s < 60) return `${s} s`;
  return s < 3600 ? `${Math.floor(s / 60)} min` : `${Math.floor(s / 3600)} h`;
}

const stream = new EventSource('/events');
const alive = (yes: boolean, text: string) => {
  setText(find('link'), text);
  document.body.classList.toggle('stale', !yes);
};
stream.addEventListener('history', (event) => {
  samples = JSON.parse((event as MessageEvent<string>).data) as Sample[];
  for (const chart of charts) chart.draw();
});
stream.addEventListener('view', (event) => {
  alive(true, 'live');
  show(JSON.parse((event as MessageEvent<string>).data) as View);
});
// A browser asks again by itself after a broken connection, and not after a refusal.
stream.addEventListener('error', () =>
  alive(
    false,
    stream.readyState === EventSource.CLOSED
      ? 'weft dash was started anew: open the address that it printed; what is shown is old'
      : 'weft dash does not answer: what is shown is old',
  ),
);
