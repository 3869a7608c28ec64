/**
 * Whether the kernel leads packets between containers and peers the way they have to go: rules of
 * policy routing that take them elsewhere, and rp_filter that drops them.
 */
import fs from 'node:fs';
import { bridgesIn } from '../../control/host/bridges.js';
import { describeRule, hasMain, type Rule, takenBy } from '../../control/host/rules.js';
import { ofDevice, readSysctl, sysctlCommand } from '../../control/host/sysctls.js';
import type { HostCheck, Subject } from './check.js';
import type { Finding } from './finding.js';
import { type Astray, judgeAnswer, type Link, lineOf, type Probe, probesFor } from './probes.js';

/** The kernel's words for a packet that rp_filter drops: of kernels before 6.14, and since. */
const DROPPED = /Invalid (cross-device link|argument)/;
const CROSS_DEVICE = /cross-device/;

interface Wrong {
  readonly probe: Probe;
  readonly astray: Astray;
}

export class Routing implements HostCheck {
  readonly name = 'policy routing';
  /** What rp_filter had dropped here at the last look; whether that grew while something is wrong. */
  #filtered: number | undefined;
  #drops = false;

  async look(subject: Subject): Promise<readonly Finding[]> {
    const { ask, subnet, device, proc } = subject;
    const filtered = readFiltered(proc);
    const grew = this.#filtered !== undefined && filtered > this.#filtered;
    this.#filtered = filtered;
    const where = `addr show to ${subnet}`;
    const rows = (await ask([where])).get(where);
    const links = (typeof rows === 'string' || rows === undefined ? [] : rows) as readonly Link[];
    const names = bridgesIn(links, device ?? undefined);
    const bridges = links.filter(({ ifname = '' }) => names.includes(ifname));
    const probes = probesFor(subject, bridges);
    const answers = await ask([...new Set(probes.map(lineOf))]);
    const wrong = probes.flatMap((probe): Wrong[] => {
      const astray = judgeAnswer(probe, answers.get(lineOf(probe)));
      return astray === undefined ? [] : [{ probe, astray }];
    });
    this.#drops = wrong.length > 0 && (this.#drops || grew);
    return wrong.length === 0 ? [] : await this.#explain(subject, wrong);
  }

  async #explain(subject: Subject, wrong: readonly Wrong[]): Promise<Finding[]> {
    const { ask, proc } = subject;
    const subnets = [...new Set(wrong.map(({ probe }) => probe.peer.subnet))];
    const mainOf = (name: string) => `route show table main exact ${name}`;
    const answers = await ask(['rule show', ...subnets.map(mainOf)]);
    const told = answers.get('rule show');
    const rules = (typeof told === 'string' || told === undefined ? [] : told) as readonly Rule[];
    const inMain = (name: string) => (answers.get(mainOf(name)) ?? '').length > 0;

    // To these not even this host itself gets: it is no matter of where a packet comes in.
    const dead = new Set(
      wrong.flatMap(({ probe, astray }) =>
        probe.what === 'own' && astray.is === 'refused' ? probe.peer.subnet : [],
      ),
    );
    const byRule = new Map<string, Wrong[]>();
    const byDevice = new Map<string, Wrong[]>();
    for (const one of wrong) {
      const { probe, astray } = one;
      const cause = causeOf(one, rules, proc);
      const { subnet } = probe.peer;
      // What the main table itself lacks, others tell.
      const isInner = probe.what !== 'outer' && astray.is === 'refused';
      const isOthers = isInner && (!inMain(subnet) || (cause === 'rp_filter' && dead.has(subnet)));
      if (cause === undefined || isOthers) continue;
      const [group, key] =
        cause === 'rp_filter' ? [byDevice, probe.iif ?? ''] : [byRule, cause.text];
      group.set(key, [...(group.get(key) ?? []), one]);
    }
    const misled = new Set([...byRule.values()].flat().map(({ probe }) => probe.peer.publicIp));
    const all = subject.peers.length;
    return [
      ...[...byRule].map(([text, ones]) => describeLed(text, ones, rules, subject)),
      ...[...byDevice].flatMap(([iif, ones]) => {
        // Where a rule leads the way back elsewhere, it is the rule that has to go.
        const rest = ones.filter(({ probe }) => !misled.has(probe.peer.publicIp));
        const sure = this.#drops || iif !== subject.underlay.interface;
        return rest.length === 0 ? [] : [describeFiltered(iif, rest, { all, sure, proc })];
      }),
    ];
  }
}

/** `rule`: undefined where no rule is left that leads to the main table. */
type Cause = 'rp_filter' | { readonly text: string; readonly rule: Rule | undefined };

const NO_MAIN = 'no rule leads to the table main';

function causeOf(
  { probe, astray }: Wrong,
  rules: readonly Rule[],
  proc: string,
): Cause | undefined {
  const filter = probe.iif === undefined ? 0 : filterOf(probe.iif, proc).inForce;
  const of = (rule: Rule | undefined) => rule && { text: describeRule(rule), rule };
  if (astray.is === 'led') return of(takenBy(rules, probe, astray.table));
  const { words } = astray;
  if (CROSS_DEVICE.test(words) && filter > 0) return 'rp_filter';
  if (probe.what === 'outer') return DROPPED.test(words) && filter > 0 ? 'rp_filter' : undefined;
  // The loop tells of a device that does not forward.
  const forwards =
    probe.iif === undefined || readSysctl(ofDevice(probe.iif, 'forwarding'), proc) !== '0';
  if (!forwards) return undefined;
  const rule = takenBy(rules, probe, undefined);
  const isRules = rule?.action !== undefined;
  if (DROPPED.test(words) && filter > 0 && !isRules) return 'rp_filter';
  return hasMain(rules) || isRules ? of(rule) : { text: NO_MAIN, rule: undefined };
}

function describeLed(
  text: string,
  wrong: readonly Wrong[],
  rules: readonly Rule[],
  { network, peers, device, underlay }: Subject,
): Finding {
  const { probe, astray } = wrong[0]!;
  const rule = rules.find((one) => describeRule(one) === text);
  const count = countPeers(wrong);
  const by = probe.devices[0] ?? device ?? underlay.interface;
  const where =
    astray.is === 'led' ? `leads them to ${astray.device}, not to ${by}` : 'has them refused';
  const which = rule === undefined ? text : `the rule "${text}"`;
  const how = rule === undefined ? '' : ` ${where}`;
  return {
    ...{ code: 'policy-route', severity: 'error' },
    scope: count >= peers.length ? 'host' : 'peer',
    about: rule === undefined ? 'ip rule' : `rule ${text}`,
    text:
      `packets between containers here and ${describePeers(wrong)} do not take weft's routes: ` +
      `${which}${how}`,
    cure: rule === undefined ? 'ip rule add lookup main priority 32766' : cureFor(rule, network),
  };
}

function cureFor(rule: Rule, network: string): string {
  if (rule.priority > 0) {
    return `ip rule add to ${network} lookup main priority ${rule.priority - 1}`;
  }
  return `ip rule del${describeRule(rule).slice(2)} priority 0`;
}

function describeFiltered(
  iif: string,
  wrong: readonly Wrong[],
  { all, sure, proc }: { readonly all: number; readonly sure: boolean; readonly proc: string },
): Finding {
  const filter = filterOf(iif, proc);
  const isOuter = wrong.every(({ probe }) => probe.what === 'outer');
  const what = isOuter
    ? describeHosts(wrong)
    : `containers send to or from ${describePeers(wrong)}`;
  const kind = filter.inForce === 1 ? 'strict' : 'loose';
  return {
    code: 'rp-filter',
    severity: sure ? 'error' : 'warning',
    scope: countPeers(wrong) >= all ? 'host' : 'peer',
    about: iif,
    text:
      `${iif} ${sure ? 'drops' : 'would drop'} what ${what}: rp_filter is ${kind} (/proc/sys/net/ipv4/conf/all is ` +
      `${filter.all}, ${iif} is ${filter.own}), and the route back leads by another device`,
    cure: sysctlCommand(ofDevice(iif, 'rp_filter'), '2'),
  };
}

/** The larger of `all` and the device's own is in force (ip-sysctl.rst). */
function filterOf(device: string, proc: string) {
  const read = (name: string) => Number(readSysctl(ofDevice(name, 'rp_filter'), proc) ?? 0);
  const [all, own] = [read('all'), read(device)];
  return { all, own, inForce: Math.max(all, own) };
}

function countPeers(wrong: readonly Wrong[]): number {
  return new Set(wrong.map(({ probe }) => probe.peer.subnet)).size;
}

function describePeers(wrong: readonly Wrong[]): string {
  return list([...new Set(wrong.map(({ probe }) => probe.peer.subnet))]);
}

function describeHosts(wrong: readonly Wrong[]): string {
  const names = [...new Set(wrong.map(({ probe }) => probe.peer.publicIp))];
  return `the peer${names.length === 1 ? '' : 's'} ${list(names)} send${names.length === 1 ? 's' : ''}`;
}

function list(names: readonly string[]): string {
  const more = names.length - 3;
  return more <= 0 ? names.join(', ') : `${names.slice(0, 3).join(', ')} and ${more} more`;
}

/** Packets that rp_filter dropped in this network namespace; 0 where it is not told. */
function readFiltered(proc: string): number {
  try {
    const [names = '', values = ''] = fs
      .readFileSync(`${proc}/net/netstat`, 'utf8')
      .split('\n')
      .filter((line) => line.startsWith('TcpExt:'));
    const at = names.split(' ').indexOf('IPReversePathFilter');
    return at < 0 ? 0 : Number(values.split(' ')[at] ?? 0);
  } catch {
    return 0;
  }
}
