#!/usr/bin/env node
/** The `weft` command: one file a subcommand, loaded when it is asked for. */

// Before all else: it acts.
import './no-debugger.js';

import path from 'node:path';
import v8 from 'node:v8';
import { describeUnexpected, stackOf } from '../control/daemon/unexpected.js';
import { version } from './build.js';
import { UsageError } from './flags.js';
import { tellOfDebugger } from './no-debugger.js';
import { complain, complainText, outputLost, print, printText } from './print.js';

type Main = (args: string[]) => Promise<number>;

async function load(command: string): Promise<Main | undefined> {
  switch (command) {
    case 'up':
      // The start leaves much garbage: with a young space that does not grow it is collected on
      // the way, and some 7 MB less stay resident. A lane allocates nothing, so it is none the slower.
      v8.setFlagsFromString('--semi-space-growth-factor=1');
      return (await loadUp()).main;
    case 'status':
      return (await import('./status.js')).main;
    case 'doctor':
      return (await import('./doctor.js')).main;
    case 'dash':
      return (await import('./dash.js')).main;
    case 'probe':
      return (await import('./probe.js')).main;
    case 'down':
      return (await import('./down.js')).main;
    case 'docker-opts':
      return (await import('./docker-opts.js')).main;
    case 'release':
      return (await import('./release.js')).main;
    case 'demo':
      return (await import('./demo.js')).main;
    case 'capture':
      return (await import('./capture.js')).main;
    case 'replay':
      return (await import('./replay.js')).main;
    case 'version':
      return (await import('./version.js')).main;
    case 'help':
      return (await import('./help.js')).help;
    case 'completion':
      return (await import('./help.js')).completion;
    case 'man':
      return (await import('./help.js')).man;
    default:
      return undefined;
  }
}

/** In parts: Node opens all files of what is imported at once, and descriptors may be few. */
async function loadUp(): Promise<{ main: Main }> {
  await import('../control/host/firewall/iptables.js');
  await import('../dataplane/forward/lane-thread.js');
  await import('../control/overlay/network.js');
  await import('../operate/findings/checks.js');
  await import('../control/daemon/start-vxlan.js');
  return import('./up.js');
}

/** Under flanneld's name it behaves as `weft up`: a unit file or an image needs no new word. */
const asFlanneld = path.basename(process.argv[1] ?? '') === 'flanneld';
const [command = '', ...args] = [...(asFlanneld ? ['up'] : []), ...process.argv.slice(2)];
const self = asFlanneld ? 'flanneld' : `weft ${command}`;
// With `up` it goes to the log.
if (command !== 'up') tellOfDebugger((line) => complain(`${self}: ${line}`));
try {
  const main = await load(command);
  if (main !== undefined) {
    // `up` ends the process itself, once its lanes have stopped.
    process.exitCode = await main(args);
  } else if (['-help', '--help', '-h'].includes(command)) {
    printText((await import('./help.js')).usage());
  } else if (['-version', '--version'].includes(command)) {
    print(version);
  } else {
    const { unknownCommand, usage } = await import('./help.js');
    complain(`weft: ${command === '' ? 'no command given' : unknownCommand(command)}`);
    complainText(`\n${usage()}`);
    process.exitCode = 2;
  }
} catch (error) {
  if (error instanceof UsageError) {
    complain(`${self}: ${error.message}; see: ${self} -help`);
    process.exitCode = 2;
  } else {
    const again = 'WEFT_STACK=1 in the environment';
    complain(`${self}: ${describeUnexpected(error, again)}`);
    if (process.env.WEFT_STACK === '1') for (const line of stackOf(error)) complain(line);
    process.exitCode = 1;
  }
}
const lost = outputLost();
if (lost !== undefined) {
  complain(`${self}: not all of the output could be written: ${lost}`);
  process.exitCode ||= 1;
}
