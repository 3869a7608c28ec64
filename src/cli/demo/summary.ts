/** What stands at the end of the demo: what was built, what passed, how to go on. */
import fs from 'node:fs';
import path from 'node:path';
import { findProgram } from '../../lab/enter.js';
import { WEFT } from '../../lab/host.js';
import type { Findings } from './checks.js';
import type { Screen } from './screen.js';
import { type Choices, PREFIX, STORE_FILE } from './stage.js';

/** How this command was called, so that the lines below can be pasted. */
function command(): string {
  const called = process.argv[1] ?? WEFT;
  if (path.basename(called) === 'weft' || isOnPath(called)) return 'weft';
  const relative = path.relative(process.cwd(), called);
  return `node ${relative.startsWith('..') ? called : relative}`;
}

/** Whether the `weft` that a shell finds is this program, linked or called by a script. */
export function isOnPath(program: string, onPath = findProgram('weft')): boolean {
  if (onPath === undefined) return false;
  try {
    const found = fs.realpathSync(onPath);
    const real = fs.realpathSync(program);
    // A package's is a script of a line or two.
    const isScript = fs.statSync(found).size < 1_000;
    return found === real || (isScript && fs.readFileSync(found, 'utf8').includes(` ${real} `));
  } catch {
    return false;
  }
}

export function summary(
  screen: Screen,
  choices: Choices,
  findings: Findings,
  seconds: number,
  keep: boolean,
): void {
  const { results } = screen;
  const passed = results.filter(({ outcome }) => outcome === 'passed').length;
  const all = passed === results.length;
  const verdict = all
    ? screen.good(`All ${passed} steps passed`)
    : screen.bad(`${results.length - passed} of ${results.length} steps did not pass`);
  const rows: [string, string][] = [];
  const row = (name: string, text: string) => rows.push([name, text]);

  const vtep = choices.backend === 'weft' ? 'weft' : "the kernel's VXLAN";
  const each = choices.docker ? 'a Docker engine with two containers' : 'two containers';
  row('built', `two hosts joined by ${vtep}, ${each} on each`);
  row('', `leases in ${choices.store === 'etcd' ? 'etcd, as flannel keeps them' : STORE_FILE}`);
  if (findings.pairs !== undefined) {
    row('reached', `${findings.pairs} of ${findings.pairs} container pairs across the hosts`);
    if (findings.largest !== undefined) row('', `whole packets up to ${findings.largest} bytes`);
  }
  if (findings.outside !== undefined) {
    row('', `the world outside, which sees ${findings.outside}`);
  }
  if (findings.transferred !== undefined) {
    const mebibytes = findings.transferred.bytes / (1 << 20);
    row('moved', `${mebibytes} MiB by TCP, the same SHA-256 on both sides`);
  }
  for (const [index, { direction, gigabits }] of (findings.throughput ?? []).entries()) {
    row(
      index === 0 ? 'speed' : '',
      `${direction}  ${gigabits.toFixed(2)} Gbit/s by one connection`,
    );
  }
  for (const { step, outcome } of results) {
    if (outcome !== 'passed') row(outcome, step);
  }
  if (!keep) {
    row('left', 'nothing: the namespaces it was in are gone with this command');
    row('go on', `${command()} demo${choices.docker ? ' -docker' : ''} -keep`);
    row('', '    the same, left up for you to look around');
    row('', `${command()} up -help`);
    row('', '    what to run on a real host');
  }

  screen.line();
  screen.line(`${verdict} in ${seconds.toFixed(1)} s.`);
  screen.line();
  for (const [name, text] of rows) screen.line(`  ${screen.bold(name.padEnd(9))} ${text}`);
  screen.line();
}

/** How to look around while the stage stays up. */
export function invitation(screen: Screen, choices: Choices): void {
  const etcd = choices.store === 'etcd';
  const say = (command: string, what: string) => {
    screen.line(`  ${screen.bold(command)}`);
    screen.line(`      ${what}`);
  };
  screen.line('It stays up. From another terminal, in this folder:');
  if (choices.docker) {
    say(`${command()} demo -enter host1`, 'a shell on that host; so too: host2, outside');
    say(`${command()} demo -enter host1 docker exec -it xbox1 sh`, 'a shell in that container');
  } else {
    say(`${command()} demo -enter host1`, 'a shell on that host; so too: host2, xbox1 … xbox4');
    say(`${command()} demo -enter xbox1 ip route`, 'one command in that container');
  }
  screen.line();
  screen.line('On a host, for example:');
  if (choices.backend === 'weft')
    say('weft status', 'its lease, its peers, its counters, what was dropped');
  if (choices.docker) say('docker ps', "the engine's containers");
  say('ip route', 'one route a remote subnet, through flannel.1');
  say('tcpdump -ni ens33 udp port 8472', 'the packets between the hosts');
  if (etcd) {
    say(
      `ETCDCTL_API=3 etcdctl --endpoints=http://192.168.56.131:2379 get --prefix ${PREFIX}`,
      'the configuration and the leases',
    );
  } else {
    say(`cat ${STORE_FILE}`, 'the configuration and the leases; a change takes effect at once');
  }
  screen.line();
  screen.line('Ctrl-C ends it; nothing is left behind.');
}
