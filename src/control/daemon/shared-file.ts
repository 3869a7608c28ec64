/**
 * Whether a weft in another network namespace writes our subnet.env: the two would overwrite each
 * other, and containers of one would get the subnet of the other.
 */
import fs from 'node:fs';
import { HostError } from '../host/errors.js';
import { findElsewhere } from '../host/run-folder.js';
import type { Host } from './host.js';

/** Rejects with a HostError that names the other and the flag. */
export async function refuseSharedFile(
  file: string,
  { runDirectory, folder }: Pick<Host, 'runDirectory' | 'folder'>,
): Promise<void> {
  for (const { namespace, device, journal } of await findElsewhere(runDirectory, folder)) {
    const theirs = journal?.entries.find((entry) => entry.kind === 'file' && entry.path === file);
    // A file of that name in another mount namespace does not hold what they wrote.
    if (theirs?.kind !== 'file' || read(file) !== theirs.wrote) continue;
    throw new HostError(
      'EBUSY',
      `${file} is written by the weft of ${device} in the network namespace ${namespace}; give ` +
        'this one a file of its own with -subnet-file',
    );
  }
}

function read(file: string): string | undefined {
  try {
    return fs.readFileSync(file, 'utf8');
  } catch {
    return undefined;
  }
}
