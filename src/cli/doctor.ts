/** `weft doctor`: looks at this host for all that keeps, or would keep, the overlay from working. */

import { systemClock } from '../control/daemon/clock.js';
import { directStream } from '../control/daemon/line-stream.js';
import { createLog } from '../control/daemon/log.js';
import { FileStore } from '../control/store/file.js';
import type { Store } from '../control/store/store.js';
import { describeLooks, type Look, saw, verdictOf, wrong } from '../operate/diagnose/look.js';
import { hostChecks } from '../operate/findings/checks.js';
import { describeVerdict } from '../operate/findings/describe.js';
import type { Finding } from '../operate/findings/finding.js';
import { counted } from '../operate/status/format.js';
import { layOut } from '../operate/status/lines.js';
import { plainJson } from '../operate/status/plain.js';
import { socketPath } from '../operate/status/socket.js';
import { type Answer, isStarting } from '../operate/status/status.js';
import { lookBeforeStart } from './doctor/before-start.js';
import { lookAtPeers } from './doctor/peers.js';
import { readUnitFlags, UNIT_FILE, type UnitFlags } from './doctor/unit.js';
import { type EtcdAccess, takeEtcdFlags } from './etcd-access.js';
import { findRunning } from './find-running.js';
import { type Flags, parseFlags, UsageError } from './flags.js';
import { DOCTOR, doctorFlags } from './manual/doctor.js';
import { helpOf } from './manual/help.js';
import { isTerminal, paint, printJson, printText } from './print.js';
import { readSelection } from './selection.js';

const SCHEMA = 1;

export async function main(args: string[]): Promise<number> {
  const { flags, environment, isOfUnit, unread } = takeFlags(args);
  if (flags.bool('help')) {
    printText(helpOf(DOCTOR));
    return 0;
  }
  const access = takeEtcdFlags(flags, ['weft', 'doctor', ...args], environment);
  const { answer, name, folder, others } = await findRunning(flags, environment);
  if (flags.rest.length > 0 && (answer === undefined || isStarting(answer))) {
    throw new UsageError(`${flags.rest[0]}: peers can be named once weft runs`);
  }
  const file = socketPath(name, folder);
  const looks =
    answer === undefined
      ? await before(flags, access, null)
      : await running(answer, file, flags, access);
  const warnings = [...access.warnings];
  if (answer === undefined || isStarting(answer)) {
    if (isOfUnit) looks.unshift(saw('flags', `none given: those of the unit, in ${UNIT_FILE}`));
    warnings.push(...unread);
  }
  if (warnings.length > 0) looks.push({ at: 'flags', saw: '', findings: warnings.map(ofFlags) });
  const verdict = verdictOf(looks);
  if (flags.bool('json')) printJson(plainJson({ schema: SCHEMA, verdict, looks }));
  else {
    paint(1, layOut([describeVerdict(verdict), ...describeLooks(looks)], isTerminal(1)));
    printText(others);
  }
  return verdict.state === 'well' ? 0 : 1;
}

/** Where none is given, those that the unit would start weft with. */
function takeFlags(args: readonly string[]): {
  flags: Flags;
  environment: NodeJS.ProcessEnv;
  isOfUnit: boolean;
  /** That there are such and they could not be read. */
  unread: string[];
} {
  const isBare = args.every((arg) => /^--?json(?:=|$)/.test(arg));
  const unread: string[] = [];
  let unit: UnitFlags | undefined;
  try {
    unit = isBare ? readUnitFlags() : undefined;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const asWhom = code === 'EACCES' ? '; as root weft doctor goes by those' : '';
    unread.push(
      `the unit's flags, in ${UNIT_FILE}, could not be read (${code}): gone by the defaults${asWhom}`,
    );
  }
  const { env } = process;
  if (unit === undefined) {
    const flags = parseFlags(doctorFlags(), args, env);
    return { flags, environment: env, isOfUnit: false, unread };
  }
  const environment = { ...unit.variables, ...env };
  try {
    const flags = parseFlags(doctorFlags(), [...unit.args, ...args], environment);
    return { flags, environment, isOfUnit: true, unread };
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    throw new UsageError(`${UNIT_FILE}: ${error.message}`);
  }
}

function ofFlags(text: string): Finding {
  const kind = { code: 'flags', severity: 'warning', scope: 'store' } as const;
  return { ...kind, about: 'flags', text, cure: '' };
}

function before(flags: Flags, access: EtcdAccess, weft: number | null): Promise<Look[]> {
  return lookBeforeStart({
    clock: systemClock,
    random: Math.random,
    openStore: () => openStore(flags, access),
    underlay: readSelection(flags),
    subnetFile: flags.text('subnet-file'),
    forwardRules: flags.bool('iptables-forward-rules'),
    checks: hostChecks(),
    weft,
  });
}

async function running(
  answer: Answer,
  file: string,
  flags: Flags,
  access: EtcdAccess,
): Promise<Look[]> {
  const { version, pid } = answer;
  const weft = saw('weft', `${version}, process ${pid}`);
  if (isStarting(answer)) {
    return [
      weft,
      wrong('start', 'starting', `no packets flow yet; ${answer.waitingFor}`),
      ...(await before(flags, access, pid)),
    ];
  }
  const { findings, peers } = answer;
  const status = { at: 'status', saw: counted(peers.length, 'peer'), findings };
  return [weft, status, ...(await lookAtPeers({ status: answer, file }, flags.rest, findings))];
}

/** Throws an Error that names the flag of a file that cannot be used. */
async function openStore(flags: Flags, access: EtcdAccess): Promise<Store> {
  const log = createLog(0, directStream);
  const file = flags.text('store-file');
  if (file !== '') return new FileStore({ file, clock: systemClock, log });
  const { EtcdStore } = await import('../control/store/etcd.js');
  access.readAccess();
  return new EtcdStore({ ...access, clock: systemClock, log });
}
