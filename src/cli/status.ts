/** `weft status`: asks the running weft and tells, for people or as JSON. */
import { listSockets, readStatus, socketPath } from '../operate/status/socket.js';
import { describe } from '../operate/status/status.js';
import { describeFlags, type Flag, parseFlags, UsageError } from './flags.js';

const FLAGS: readonly Flag[] = [
  { name: 'json', kind: 'bool', help: 'one JSON document in place of text' },
  {
    name: 'device',
    kind: 'string',
    value: 'name',
    help: 'which weft, where several run on this host (default: the only one)',
  },
  { name: 'help', kind: 'bool', help: 'this text' },
];

export async function main(args: string[]): Promise<number> {
  const flags = parseFlags(FLAGS, args);
  if (flags.bool('help')) {
    process.stdout.write(`weft status: what a running weft does\n\n${describeFlags(FLAGS)}`);
    return 0;
  }
  if (flags.rest.length > 0) throw new UsageError(`${JSON.stringify(flags.rest[0])} is not a flag`);
  const devices = flags.given('device') ? [flags.text('device')] : listSockets();
  if (devices.length === 0) {
    process.stderr.write('weft status: no weft runs on this host; start one with: weft up\n');
    return 1;
  }
  if (devices.length > 1) {
    process.stderr.write(
      `weft status: several run on this host; name one with -device: ${devices.join(', ')}\n`,
    );
    return 2;
  }
  const device = devices[0]!;
  try {
    const status = await readStatus(socketPath(device));
    process.stdout.write(flags.bool('json') ? `${JSON.stringify(status)}\n` : describe(status));
    return 0;
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    process.stderr.write(
      `weft status: the weft of ${device} does not answer (${why}); if it died, clean up with: weft down\n`,
    );
    return 1;
  }
}
