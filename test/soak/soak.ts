/**
 * A long life in a short time: two wefts with traffic between their containers, and around them all
 * that can go wrong on a host, in random order, for minutes.
 *
 *     npm run soak -- --minutes 20 [--seed N] [--only PART] [--except PATTERN]
 *
 * After each trouble everything must be right again within 5 s; what the host itself did not lose must
 * not be lost; at the end nothing of the host may be held more than after the first part of the run,
 * and the log must be whole lines. Ends with `N passed, N failed`; the seed repeats the order.
 */
import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { enterLab, labLacks } from '../../src/lab/enter.js';
import { Lab } from '../../src/lab/lab.js';
import { orUsage } from '../usage.js';
import { cpu, type Held, leaks, look } from './leaks.js';
import { type Chance, chanceOf } from './random.js';
import { logOf, openSite, type Site, type Station, statusOf } from './site.js';
import { Drip, Pings, passes } from './traffic.js';
import { fileTroubles } from './troubles/files.js';
import { logTroubles } from './troubles/log.js';
import { networkTroubles } from './troubles/network.js';
import { processTroubles } from './troubles/process.js';
import { storeTroubles } from './troubles/store.js';
import type { Trouble } from './troubles/trouble.js';

/** All must be right again so long after a trouble is over. */
const RIGHT_MS = 5_000;
/** How long one lasts. */
const LASTS_MS = [300, 4_000] as const;
/** Percent of a core that weft may take while little is sent: a timer that was left shows here. */
const IDLE_PERCENT = 15;

const TROUBLES: readonly Trouble[] = [
  ...logTroubles,
  ...processTroubles,
  ...fileTroubles,
  ...networkTroubles,
  ...storeTroubles,
];

const USAGE = 'soak -- [--minutes=20] [--seed=NUMBER] [--only=PATTERN] [--except=PATTERN]';
const values = orUsage(USAGE, () => {
  const { values: given } = parseArgs({
    options: {
      minutes: { type: 'string', default: '20' },
      seed: { type: 'string', default: String(Math.floor(Math.random() * 2 ** 31)) },
      only: { type: 'string', default: '' },
      except: { type: 'string', default: '^$' },
    },
  });
  for (const name of ['minutes', 'seed'] as const) {
    if (!(Number(given[name] || Number.NaN) >= 0)) {
      throw new Error(`--${name}=${given[name]} is no number`);
    }
  }
  return given;
});
const lacks = labLacks({
  programs: ['etcd', 'ping', 'iptables', 'ss', 'prlimit', 'mkfifo'],
  tun: true,
});
if (lacks !== undefined) {
  console.log(`skipped: ${lacks}`);
  process.exit(0);
}
if (!Lab.inside()) {
  const argv = Object.entries(values).map(([name, value]) => `--${name}=${value}`);
  process.exit(await enterLab(argv, { docker: true }));
}
process.exit((await soak(Number(values.minutes), Number(values.seed))) ? 0 : 1);

async function soak(minutes: number, seed: number): Promise<boolean> {
  console.log(`npm run soak -- --minutes ${minutes} --seed ${seed}`);
  const lab = await Lab.open();
  const site = await openSite(lab);
  const drip = await Drip.start(site);
  const chance = chanceOf(seed);
  const held: Held[][] = site.stations.map(() => []);
  let passed = 0;
  let failed = 0;
  const fail = (what: string) => {
    failed++;
    console.log(`FAILED ${what}`);
  };
  const end = performance.now() + minutes * 60_000;
  await right(site);
  let order: Trouble[] = [];
  while (performance.now() < end) {
    // Each once before any comes twice.
    if (order.length === 0) order = shuffled(TROUBLES.filter(wanted), chance);
    const trouble = order.pop();
    if (trouble === undefined) throw new Error(`no trouble is called ${values.only}`);
    const stations = site.stations.filter((one) => trouble.fits?.(one) ?? true);
    if (stations.length === 0) continue;
    const station = chance.one(stations);
    const name = `${station.host.name}: ${trouble.name}`;
    const wrong = await episode(site, station, trouble, chance);
    if (drip.fault !== '') wrong.push(drip.fault);
    if (wrong.length === 0) passed++;
    else fail(`${name}: ${wrong.join('; ')}`);
    if (values.only !== '' || wrong.length > 0) console.log(`${clock(end, minutes)} ${name}`);
    site.stations.forEach((one, i) => {
      if (one.weft.code === undefined) held[i]?.push(look(one));
    });
    if (site.stations.some((one) => one.weft.code !== undefined) || drip.fault !== '') break;
  }
  for (const [i, one] of site.stations.entries()) {
    if (one.weft.code !== undefined) continue;
    const wrong = [...leaks(held[i] ?? []), ...(await idle(one)), ...badLines(await logOf(one))];
    const { megabytes, descriptors, threads } = look(one);
    const has = `${megabytes.toFixed(0)} MB, ${descriptors} descriptors, ${threads} threads`;
    if (wrong.length === 0) passed++;
    else fail(`${one.host.name} at the end: ${wrong.join('; ')}`);
    console.log(`${one.host.name}: ${has}`);
  }
  console.log(`one connection carried ${drip.megabytes} MB, all right`);
  await lab.close();
  console.log(`${passed} passed, ${failed} failed`);
  return failed === 0;
}

function wanted({ name }: Trouble): boolean {
  return name.includes(values.only) && !new RegExp(values.except).test(name);
}

function clock(end: number, minutes: number): string {
  return `[${((performance.now() - end) / 1_000 + minutes * 60).toFixed(0)} s]`;
}

/** Makes a trouble, ends it, and gives a sentence for each thing that went wrong. */
async function episode(
  site: Site,
  station: Station,
  trouble: Trouble,
  chance: Chance,
): Promise<string[]> {
  const wrong: string[] = [];
  const pings = new Pings(site);
  await sleep(200);
  try {
    const mend = await trouble.make(site, station, chance);
    await sleep(chance.whole(...LASTS_MS));
    await mend();
  } catch (error) {
    wrong.push((error as Error).message);
  }
  const since = performance.now();
  const not = await right(site);
  if (not !== '') wrong.push(`not right ${Math.round(performance.now() - since)} ms after: ${not}`);
  const { sent, lost } = await pings.end();
  if (lost > 0 && !trouble.loses) wrong.push(`${lost} of ${sent} pings lost`);
  for (const { host, weft } of site.stations) {
    if (weft.code !== undefined) wrong.push(`weft on ${host.name} ended with code ${weft.code}`);
  }
  if (wrong.length > 0) {
    const lines = (await logOf(station)).trimEnd().split('\n');
    wrong.push(`its last lines:\n  ${lines.slice(-12).join('\n  ')}\n`);
  }
  return wrong;
}

/** Waits until all is as it should be; what is not after so long, or nothing. */
async function right(site: Site): Promise<string> {
  const deadline = performance.now() + RIGHT_MS;
  for (;;) {
    const not = await wrongNow(site);
    if (not === '') return '';
    if (performance.now() > deadline) return not;
    await sleep(100);
  }
}

async function wrongNow(site: Site): Promise<string> {
  for (const { host } of site.stations) {
    const status = await statusOf(host);
    if (status === undefined) return `${host.name} does not answer`;
    if (status.faults === undefined) return `${host.name} is starting`;
    if (status.faults.length > 0) return `${host.name}: ${status.faults.join(', ')}`;
    if (status.storeState.awaySeconds !== null) return `${host.name}: the store is away`;
    if (status.lanes.some(({ running }) => !running)) return `${host.name}: a lane does not run`;
    if (status.peers.length !== 1) return `${host.name} has ${status.peers.length} peers`;
    if (status.device.mtu !== 1450) return `${host.name}: MTU ${status.device.mtu}`;
    if (host.subnetFile() === undefined) return `${host.name} has no subnet.env`;
  }
  return (await passes(site)) ? '' : 'pings are lost';
}

async function idle(station: Station): Promise<string[]> {
  const before = cpu(station);
  await sleep(3_000);
  const percent = (cpu(station) - before) / 30;
  return percent > IDLE_PERCENT ? [`${percent.toFixed(1)} % of a core when idle`] : [];
}

/** A line for what in a log is not a line of weft, whole or cut by the end of the disk. */
function badLines(text: string): string[] {
  const lines = text.split('\n').slice(0, -1);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: just these must not be there
  const good = /^[EWID]( [\d:.]{0,12}$| [\d:.]{12} [^\u0000-\u001f\u007f]*$|$)/;
  const bad = lines.filter((line) => !good.test(line));
  return bad.length === 0 ? [] : [`${bad.length} of ${lines.length} lines: ${bad[0]}`];
}

function shuffled<T>(all: readonly T[], chance: Chance): T[] {
  const left = [...all];
  const out: T[] = [];
  while (left.length > 0) out.push(...left.splice(chance.whole(0, left.length - 1), 1));
  return out;
}
