#!/usr/bin/env node
/** The `weft` command: one file a subcommand, loaded when it is asked for. */

// Before all else: it acts.
import './no-debugger.js';

import path from 'node:path';
import v8 from 'node:v8';
import { describeUnexpected, stackOf } from '../control/daemon/unexpected.js';
import { UsageError } from './flags.js';
import { tellOfDebugger } from './no-debugger.js';
import { version } from './version.js';

const USAGE = `weft ${version}: a userspace VXLAN tunnel endpoint that joins a flannel network

  weft up           join the network and forward packets (flanneld's flags)
  weft status       what a running weft does; --json for programs
  weft down         take back what a weft that ended has left on this host
  weft release      give this host's subnet back to the network
  weft docker-opts  write dockerd's options for this host's subnet
  weft demo         two hosts, four containers, real packets, in namespaces of its own
  weft replay       run a capture through the data plane

  weft COMMAND -help tells the flags of a command.
`;

type Main = (args: string[]) => Promise<number>;

async function load(command: string): Promise<Main | undefined> {
  switch (command) {
    case 'up':
      // The start leaves much garbage: with a young space that does not grow it is collected on
      // the way, and some 7 MB less stay resident. A lane allocates nothing, so it is none the slower.
      v8.setFlagsFromString('--semi-space-growth-factor=1');
      return (await import('./up.js')).main;
    case 'status':
      return (await import('./status.js')).main;
    case 'down':
      return (await import('./down.js')).main;
    case 'docker-opts':
      return (await import('./docker-opts.js')).main;
    case 'release':
      return (await import('./release.js')).main;
    case 'demo':
      return (await import('./demo.js')).main;
    case 'replay':
      return (await import('./replay.js')).main;
    default:
      return undefined;
  }
}

/** Under flanneld's name it behaves as `weft up`: a unit file or an image needs no new word. */
const asFlanneld = path.basename(process.argv[1] ?? '') === 'flanneld';
const [command = '', ...args] = [...(asFlanneld ? ['up'] : []), ...process.argv.slice(2)];
const self = asFlanneld ? 'flanneld' : `weft ${command}`;
// Whoever read the output has gone (`weft replay … | head`, a log reader that ended): what is
// done goes on, unheard.
for (const stream of [process.stdout, process.stderr]) {
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error;
  });
}
// With `up` it goes to the log.
if (command !== 'up') tellOfDebugger((line) => void process.stderr.write(`${self}: ${line}\n`));
try {
  const main = await load(command);
  if (main !== undefined) {
    // `up` ends the process itself, once its lanes have stopped.
    process.exitCode = await main(args);
  } else if (['help', '-help', '--help', '-h'].includes(command)) {
    process.stdout.write(USAGE);
  } else if (['version', '-version', '--version'].includes(command)) {
    process.stdout.write(`${version}\n`);
  } else {
    const what = command === '' ? 'no command given' : `unknown command ${command}`;
    process.stderr.write(`weft: ${what}\n\n${USAGE}`);
    process.exitCode = 2;
  }
} catch (error) {
  if (error instanceof UsageError) {
    process.stderr.write(`${self}: ${error.message}; see: ${self} -help\n`);
    process.exitCode = 2;
  } else {
    const again = 'WEFT_STACK=1 in the environment';
    process.stderr.write(`${self}: ${describeUnexpected(error, again)}\n`);
    if (process.env.WEFT_STACK === '1') process.stderr.write(`${stackOf(error).join('\n')}\n`);
    process.exitCode = 1;
  }
}
