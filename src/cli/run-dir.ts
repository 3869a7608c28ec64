/** `-run-dir`: where weft's files are, as the command line, the environment or systemd says. */
import path from 'node:path';
import { readHostId } from '../control/host/host-id.js';
import { JOURNAL_DIRECTORY } from '../control/host/journal.js';
import { folderOf } from '../control/host/run-folder.js';
import { type Flag, type Flags, UsageError, variableOf } from './flags.js';
import { absolute } from './surroundings.js';

const NAME = 'run-dir';

export const RUN_DIR: Flag = {
  name: NAME,
  kind: 'string',
  value: 'path',
  takes: 'folder',
  help: `the folder of weft's journal, status socket and saved network (default: FLANNELD_RUN_DIR, systemd's RuntimeDirectory= where its name begins with weft, else ${JOURNAL_DIRECTORY})`,
};

/** A control socket's path is at most 107 bytes; so much of it is below this folder. */
const LONGEST = 107 - '/net-4294967295/starting-4294967295-4194304-2.sock'.length;

/**
 * The folder that the command line names, else the environment, else `/run/weft`; an absolute
 * path. Throws a UsageError for one that a control socket's path does not fit behind.
 */
export function readRunDirectory(flags: Flags, environment: NodeJS.ProcessEnv): string {
  const variable = variableOf('FLANNELD_', NAME);
  const given = flags.text(NAME) || environment[variable] || ofSystemd(environment);
  if (given === undefined) return JOURNAL_DIRECTORY;
  const directory = absolute(given, `-${NAME}`);
  // Node 20 never returns from making a folder there.
  if (/^\/(proc|sys)(\/|$)/.test(directory)) {
    throw new UsageError(`-${NAME}=${given}: nothing can be kept there; take one below /run`);
  }
  if (Buffer.byteLength(directory) <= LONGEST) return directory;
  throw new UsageError(
    `-${NAME}=${given}: too long, the path of a unix socket has to fit behind it; at most ` +
      `${LONGEST} bytes`,
  );
}

/** Of that folder this network namespace's part. */
export function ownFolder(runDirectory: string): Promise<string> {
  return folderOf(runDirectory, readHostId('/proc'));
}

/** Not any: a flanneld's unit may have one of its own, where nobody would look for weft's files. */
function ofSystemd({ RUNTIME_DIRECTORY = '' }: NodeJS.ProcessEnv): string | undefined {
  return RUNTIME_DIRECTORY.split(':').find((folder) => /^weft/.test(path.basename(folder)));
}
