/** `weft probe`: asks the peers of the running weft how it stands with them, and says it in words. */
import { systemClock } from '../control/daemon/clock.js';
import { HostError } from '../control/host/errors.js';
import { Ip } from '../control/host/ip.js';
import { parseAddress } from '../control/host/ipv4.js';
import { systemRunner } from '../control/host/runner.js';
import { describeProbed, reportProbed } from '../operate/diagnose/describe.js';
import type { Probed } from '../operate/diagnose/probe.js';
import { plainJson } from '../operate/status/plain.js';
import { socketPath } from '../operate/status/socket.js';
import { isStarting } from '../operate/status/status.js';
import { findRunning } from './find-running.js';
import { type Flags, parseFlags, UsageError } from './flags.js';
import { flagsOf } from './manual/command.js';
import { helpOf } from './manual/help.js';
import { PROBE } from './manual/probe.js';
import { complain, printJson, printText } from './print.js';
import { type Asked, pick, probeAddresses, probePeers } from './probe/ask.js';
import { progressOf } from './probe/progress.js';

const MOST = 1_000;

export async function main(args: string[]): Promise<number> {
  const flags = parseFlags(flagsOf(PROBE), args);
  if (flags.bool('help')) {
    printText(helpOf(PROBE));
    return 0;
  }
  const count = flags.int('count');
  if (count < 1 || count > MOST) throw new UsageError(`-count=${count}: give 1 to ${MOST}`);
  const running = await findReady(flags);
  if (typeof running === 'number') return running;
  const ip = new Ip(systemRunner, systemClock);
  try {
    const told = (all: number) =>
      progressOf(all, systemClock, (line) => complain(`weft probe: ${line}`));
    let probed: Probed[];
    if (running) {
      const targets = pick(running.status, flags.rest);
      probed = await probePeers(ip, running, targets, count, told(targets.length));
    } else {
      const addresses = addressesIn(flags.rest);
      probed = await probeAddresses(ip, addresses, count, told(new Set(addresses).size));
    }
    if (flags.bool('json')) printJson(plainJson(reportProbed(probed)));
    else if (probed.length > 0) printText(describeProbed(probed));
    else printText('no peers yet: there is nothing to probe\n');
    return probed.every(({ verdict }) => verdict.state === 'well') ? 0 : 1;
  } catch (error) {
    if (!(error instanceof HostError)) throw error;
    complain(`weft probe: ${error.message}`);
    return 1;
  } finally {
    await ip.close();
  }
}

/** Undefined: none that can be asked, which was told; a number: an exit code. */
async function findReady(flags: Flags): Promise<Asked | undefined | number> {
  const { answer, name, folder, why, several } = await findRunning(flags, process.env);
  if (several) {
    complain(`weft probe: ${why.join('; ')}`);
    return 2;
  }
  if (answer !== undefined && !isStarting(answer)) {
    return { status: answer, file: socketPath(name, folder) };
  }
  const reason =
    answer === undefined ? why.join('; ') : `the weft here is starting (${answer.waitingFor})`;
  if (flags.rest.length === 0) {
    complain(`weft probe: ${reason}; or give the addresses of hosts to probe on the underlay`);
    return 1;
  }
  complain(`weft probe: ${reason}: the underlay alone is probed, not the tunnel`);
  return undefined;
}

function addressesIn(names: readonly string[]): readonly string[] {
  for (const name of names) {
    if (parseAddress(name) === null) {
      throw new UsageError(
        `${JSON.stringify(name)} is no IPv4 address, and no weft says whose it is`,
      );
    }
  }
  return names;
}
