/** What `weft doctor` learns by asking the peers themselves: a few, once, within seconds. */

import { systemClock } from '../../control/daemon/clock.js';
import { HostError } from '../../control/host/errors.js';
import { Ip } from '../../control/host/ip.js';
import { systemRunner } from '../../control/host/runner.js';
import { isFault } from '../../operate/diagnose/judge.js';
import type { Look } from '../../operate/diagnose/look.js';
import type { Probed } from '../../operate/diagnose/probe.js';
import type { Finding, Severity } from '../../operate/findings/finding.js';
import { SEVERITY } from '../../operate/findings/peers.js';
import { counted } from '../../operate/status/format.js';
import { type Asked, pick, probeAddresses, probePeers } from '../probe/ask.js';

/** Peers that are asked where none is named; and echoes of each kind. */
const MOST = 8;
const COUNT = 3;

/**
 * Those that were named, else the first ones, which are not well before others. What `known` tells
 * already is not told again: of the same peer, or of this host, which no peer answers then.
 * Throws a UsageError for a name of no peer.
 */
export async function lookAtPeers(
  asked: Asked,
  names: readonly string[],
  known: readonly Finding[],
): Promise<Look[]> {
  const { peers } = asked.status;
  const isWell = ({ health }: (typeof peers)[number]): number => Number(health.state === 'well');
  const chosen =
    names.length > 0
      ? pick(asked.status, names)
      : [...peers].sort((a, b) => isWell(a) - isWell(b)).slice(0, MOST);
  if (chosen.length === 0) return [];
  const probed = await asking((ip) => probePeers(ip, asked, chosen, COUNT, () => {}));
  if (!Array.isArray(probed)) return [probed];
  return [lookOf(probed, peers.length, 'error', (one) => isToldBy(known, one))];
}

/** An error of this host, or of this peer, or the same that was learnt just now. */
export function isToldBy(
  known: readonly Finding[],
  { publicIp, verdict }: Pick<Probed, 'publicIp' | 'verdict'>,
): boolean {
  return known.some(({ code, severity, scope, about }) => {
    const isError = severity === 'error';
    if (scope === 'host') return isError;
    const isSame = isError || code === `peer-${verdict.state}`;
    return scope === 'peer' && about.split(' ').includes(publicIp) && isSame;
  });
}

/** Of a network that this host has not joined yet: on the underlay alone, by their addresses. */
export async function lookAtHosts(addresses: readonly string[]): Promise<Look[]> {
  if (addresses.length === 0) return [];
  const probed = await asking((ip) =>
    probeAddresses(ip, addresses.slice(0, MOST), COUNT, () => {}),
  );
  if (!Array.isArray(probed)) return [probed];
  // A lease may outlive its host, and a firewall may drop pings: weft starts all the same.
  return [lookOf(probed, addresses.length, 'warning', () => false)];
}

/** Nothing can be asked without rights and without `ping`: that is a note. */
async function asking(ask: (ip: Ip) => Promise<Probed[]>): Promise<Probed[] | Look> {
  const ip = new Ip(systemRunner, systemClock);
  try {
    return await ask(ip);
  } catch (error) {
    if (!(error instanceof HostError)) throw error;
    const kind = { code: 'not-probed', severity: 'note', scope: 'host', cure: '' } as const;
    const text = `the peers were not asked: ${error.message}`;
    return { at: 'probe', saw: '', findings: [{ ...kind, about: 'probe', text }] };
  } finally {
    await ip.close();
  }
}

function lookOf(
  probed: readonly Probed[],
  all: number,
  severity: Severity,
  isKnown: (one: Probed) => boolean,
): Look {
  const faults = probed.filter(({ verdict }) => isFault(verdict));
  const told = faults.filter((one) => !isKnown(one));
  const findings = told.map(({ publicIp, verdict }): Finding => {
    const about = `peer ${publicIp}`;
    const code = `probe-${verdict.code}`;
    // What weft itself would only warn of is no more for being learnt here.
    const weighs = SEVERITY[verdict.state] === 'warning' ? 'warning' : severity;
    return {
      code,
      severity: weighs,
      scope: 'peer',
      about,
      text: verdict.words,
      cure: verdict.todo,
    };
  });
  const above = faults.length - told.length;
  const saw =
    `${probed.length} of ${counted(all, 'peer')} asked: ` +
    `${describeAnswers(probed, faults.length)}${describePaths(probed)}` +
    (above === 0 ? '' : `; what is wrong with ${above} stands above`);
  return { at: 'probe', saw, findings };
}

function describeAnswers(probed: readonly Probed[], faults: number): string {
  const { length } = probed;
  const well = probed.filter(({ verdict }) => verdict.state === 'well').length;
  const unknown = length - well - faults;
  if (faults === length) return 'none is well';
  const parts = [`${well === length ? 'all' : well} well`];
  if (faults > 0) parts.push(`${faults} not`);
  if (unknown > 0) parts.push(`of ${unknown} nothing is known`);
  return parts.join(', ');
}

/** `, path MTU 1450 to 1500`, of those where it was measured. */
function describePaths(probed: readonly Probed[]): string {
  const mtus = probed.flatMap(({ pathMtu }) => pathMtu ?? []);
  if (mtus.length === 0) return '';
  const [least, most] = [Math.min(...mtus), Math.max(...mtus)];
  return `, path MTU ${least === most ? least : `${least} to ${most}`}`;
}
