/** All commands, in the order of the help text. */
import { COMPLETION, HELP_COMMAND, MAN, VERSION } from './about-weft.js';
import { CAPTURE } from './capture.js';
import type { Command } from './command.js';
import { DASH } from './dash.js';
import { DEMO } from './demo.js';
import { DOCKER_OPTS } from './docker-opts.js';
import { DOCTOR } from './doctor.js';
import { DOWN } from './down.js';
import { PROBE } from './probe.js';
import { RELEASE } from './release.js';
import { REPLAY } from './replay.js';
import { STATUS } from './status.js';
import { UP } from './up.js';

export const WHAT = 'a userspace VXLAN tunnel endpoint that joins a flannel network';

/** What each does on a host, and what tells of weft itself. */
export const COMMANDS: readonly (readonly Command[])[] = [
  [UP, STATUS, DOCTOR, PROBE, CAPTURE, DASH, DOWN, RELEASE, DOCKER_OPTS, DEMO, REPLAY],
  [HELP_COMMAND, VERSION, COMPLETION, MAN],
];

export function findCommand(name: string): Command | undefined {
  return COMMANDS.flat().find((command) => command.name === name);
}
