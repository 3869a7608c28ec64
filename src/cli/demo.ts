/**
 * `weft demo`: two hosts, four containers, real packets, in namespaces of its own.
 *
 *   1. stage     hosts, store, weft, containers; each is needed by what follows
 *   2. checks    ping, largest packet, traceroute, transfer, throughput, weft status
 *   3. summary   what was built, what passed, how to go on
 *
 * With `-docker` the containers are those of two real Docker engines.
 */
import process from 'node:process';
import { dockerLacks } from '../lab/docker.js';
import { enterLab, findProgram, labLacks } from '../lab/enter.js';
import { Lab } from '../lab/lab.js';
import { plainJson } from '../operate/status/plain.js';
import type { Findings } from './demo/checks.js';
import { enter } from './demo/enter.js';
import { Screen } from './demo/screen.js';
import { type Choices, OUTSIDE, Stage } from './demo/stage.js';
import { stepsOf } from './demo/steps.js';
import { invitation, summary } from './demo/summary.js';
import { type Flags, parseFlags, UsageError } from './flags.js';
import { flagsOf } from './manual/command.js';
import { DEMO } from './manual/demo.js';
import { helpOf } from './manual/help.js';
import { complain, printJson, printText } from './print.js';

const PROGRAMS = ['ping', 'traceroute', 'iperf3'];

/** Returns the exit code: 0 only when every step passed. */
export async function main(args: string[]): Promise<number> {
  const at = args.findIndex((arg) => /^--?enter(=|$)/.test(arg));
  if (at >= 0) {
    const [name = '', ...command] = args[at]!.includes('=')
      ? [args[at]!.replace(/^.*?=/, ''), ...args.slice(at + 1)]
      : args.slice(at + 1);
    return enter(name, command);
  }
  const flags = parseFlags(flagsOf(DEMO), args);
  if (flags.bool('help')) {
    printText(helpOf(DEMO));
    return 0;
  }
  if (flags.rest.length > 0) throw new UsageError(`${JSON.stringify(flags.rest[0])} is not a flag`);
  const choices = choose(flags);
  if (Lab.inside()) return perform(flags, choices);

  const { docker } = choices;
  const lacks =
    (docker ? dockerLacks() : undefined) ??
    labLacks({ programs: PROGRAMS, tun: choices.backend === 'weft' });
  if (lacks !== undefined) {
    complain(`weft demo: ${lacks}`);
    return 1;
  }
  return enterLab(['demo', ...args], { docker });
}

function choose(flags: Flags): Choices {
  const store = flags.text('store') || (findProgram('etcd') ? 'etcd' : 'file');
  const backend = flags.text('backend');
  if (store !== 'etcd' && store !== 'file') {
    throw new UsageError(`-store is etcd or file, not ${JSON.stringify(store)}`);
  }
  if (backend !== 'weft' && backend !== 'kernel') {
    throw new UsageError(`-backend is weft or kernel, not ${JSON.stringify(backend)}`);
  }
  if (store === 'etcd' && !findProgram('etcd')) {
    throw new UsageError('etcd is not installed (Debian: etcd-server); or try: -store=file');
  }
  const docker = flags.bool('docker');
  if (docker && backend === 'kernel') {
    throw new UsageError('-docker goes with -backend=weft alone: it shows what -ip-masq does');
  }
  return { store, backend, docker };
}

async function perform(flags: Flags, choices: Choices): Promise<number> {
  const started = performance.now();
  const lab = await Lab.open();
  const findings: Findings = {};
  const screen = new Screen(flags.bool('json') ? 2 : 1);
  const stage = new Stage(lab, screen, choices);
  const { building, trying } = stepsOf(lab, stage, screen, findings);
  screen.count = building.length + trying.length;

  introduce(screen, flags, choices);
  let standing = true;
  for (const [name, work] of building) {
    if (standing) standing = await screen.step(name, work, () => stage.evidence());
    else screen.skip(name);
  }
  for (const [name, work] of trying) {
    if (standing) await screen.step(name, work, () => stage.evidence());
    else screen.skip(name);
  }

  const passed = screen.results.every(({ outcome }) => outcome === 'passed');
  const seconds = Math.round((performance.now() - started) / 100) / 10;
  summary(screen, choices, findings, seconds, flags.bool('keep'));
  if (flags.bool('json')) {
    const told = { passed, seconds, ...choices, ...findings, steps: screen.results };
    printJson(plainJson(told));
  }
  if (flags.bool('keep')) {
    invitation(screen, choices);
    await interrupted();
  }
  await lab.close();
  return passed ? 0 : 1;
}

function introduce(screen: Screen, flags: Flags, choices: Choices): void {
  screen.line(
    screen.bold('weft demo: a flannel network on this machine, in namespaces of its own'),
  );
  screen.line();
  screen.line('    xbox1   xbox2                       xbox3   xbox4');
  screen.line('      └ docker0 ┘                         └ docker0 ┘');
  screen.line('       flannel.1                           flannel.1');
  screen.line(' host1 192.168.56.11 ──── underlay ──── host2 192.168.56.12');
  if (choices.docker) screen.line(`                             ├ gateway ── ${OUTSIDE.name}`);
  if (choices.store === 'etcd') screen.line('                             └ etcd 192.168.56.131');
  else if (!flags.given('store')) {
    screen.line();
    screen.line('etcd is not installed (Debian: etcd-server): both hosts read one file instead.');
  }
}

/** Resolves when the operator has had enough. */
function interrupted(): Promise<void> {
  return new Promise((resolve) => {
    const alive = setInterval(() => {}, 1 << 30);
    const done = () => {
      clearInterval(alive);
      resolve();
    };
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, done);
  });
}
