/**
 * Programs that write their rules anew when they are started or reloaded: a rule set beside theirs
 * would be gone, or behind theirs, so they are told, in their own words.
 */
import type { Subject } from '../check.js';
import type { Flow } from './flows.js';
import type { Table } from './model.js';
import type { Drop } from './walk.js';
import { iptablesWords, type Wanted, wantedOf } from './wanted.js';

/** Null where it is nobody's rule. */
export function ownersCure(drop: Drop, flows: readonly Flow[], subject: Subject): string | null {
  if (isPanic(drop.table)) return 'firewall-cmd --panic-off';
  if (isFirewallds(drop)) return firewalldCure(drop, flows, subject);
  if (isUfws(drop)) return ufwCure(drop, flows, subject);
  if (isDockers(drop)) return dockerCure(drop, flows, subject);
  return null;
}

function isPanic({ program, name }: Table): boolean {
  return program === 'nft' && name === 'firewalld_policy_drop';
}

/** Of chains that it has in nft and, without what stands before, in iptables. */
const OF_ZONE = /^(?:filter_)?(?:IN|FWD|FWDI|FWDO|OUT)_(.+?)(?:_(pre|log|deny|allow|post))?$/;
/** The hooks' own chains, whose names differ from one version to another. */
const OF_HOOK = /^(?:INPUT|FORWARD|OUTPUT)_(?:IN_|OUT_)?(?:ZONES|POLICIES|dispatch)/;

function isFirewallds({ table, chain, rule }: Drop): boolean {
  if (table.program === 'nft') return table.name === 'firewalld';
  if (table.name !== 'filter' || !table.chains.has('FORWARD_direct')) return false;
  if (chain.base === undefined) return OF_ZONE.test(chain.name) || OF_HOOK.test(chain.name);
  return rule?.text?.includes('icmp-host-prohibited') === true;
}

function firewalldCure(drop: Drop, flows: readonly Flow[], subject: Subject): string {
  const { device, underlay } = subject;
  const [, owner = '', part] = OF_ZONE.exec(drop.chain.name) ?? [];
  const isPolicys = owner.startsWith('policy_');
  // What stands before the rules that let in: only a rule with a priority comes before it.
  const isEarly = isPolicys || part === 'pre' || part === 'deny';
  const zone = isPolicys ? `--policy=${owner.slice('policy_'.length)}` : zoneOf(drop);
  const commands = flows.map((flow) => {
    if (flow.kind === 'in' || flow.kind === 'out') {
      const port = `port port=${underlay.port} protocol=udp`;
      return `${zone} ${isEarly ? rich(port) : `--add-port=${underlay.port}/udp`}`;
    }
    const { source, destination } = wantedOf(flow, 'forward', subject);
    if (isEarly && source !== '') {
      return `${zone} ${rich(`source address=${source} destination address=${destination}`)}`;
    }
    // Where it goes to counts less: a zone that is trusted may send anywhere.
    const from = flow.kind === 'from' || flow.kind === 'host-from' ? device : bridgeOf(flow);
    const isKnown = from !== null && flow.peer?.direct !== true;
    const what = isKnown ? `--change-interface=${from}` : `--add-source=${source}`;
    return `--zone=trusted ${what}`;
  });
  const permanent = [...new Set(commands)].map((words) => `firewall-cmd --permanent ${words}`);
  return [...permanent, 'firewall-cmd --reload'].join(' && ').replaceAll(/ {2,}/g, ' ');
}

function rich(words: string): string {
  return `--add-rich-rule='rule priority=-32768 family=ipv4 ${words} accept'`;
}

/** The zone that the packet came by, by the chains of it. Without one, firewalld takes its default. */
function zoneOf({ through }: Drop): string {
  for (const name of through.toReversed()) {
    const [, zone] = OF_ZONE.exec(name) ?? [];
    const isZone = zone !== undefined && !/^policy_|_to_|_dispatch/.test(zone);
    if (isZone) return `--zone=${zone}`;
  }
  return '';
}

/** What a container's packet comes by. */
function bridgeOf({ stops }: Flow): string | null {
  return stops.find(({ hook }) => hook === 'forward')?.packet.in ?? null;
}

function isUfws({ table, base, chain, rule }: Drop): boolean {
  const isThere = table.name === 'filter' && table.chains.has('ufw-user-input');
  return isThere && (chain.name.startsWith('ufw-') || (rule === null && chain === base));
}

function ufwCure({ base, chain }: Drop, flows: readonly Flow[], subject: Subject): string {
  const { underlay, device } = subject;
  if (chain.name.startsWith('ufw-before-')) return ufwFileCure(chain.name, base, flows, subject);
  // Before the user's own rules where one of those drops it; else at their end.
  const allow = chain.name.startsWith('ufw-user-') ? 'prepend allow' : 'allow';
  const commands = flows.map((flow) => {
    const { kind } = flow;
    const port = `to any port ${underlay.port} proto udp`;
    if (kind === 'in') return `ufw ${allow} in on ${underlay.interface} ${port}`;
    if (kind === 'out') return `ufw ${allow} out on ${underlay.interface} ${port}`;
    if (kind === 'host-from') return `ufw ${allow} in on ${device}`;
    if (kind === 'host-to') return `ufw ${allow} out on ${device}`;
    const wanted = wantedOf(flow, 'forward', subject);
    return `ufw route ${allow}${onDevice(wanted)} from ${wanted.source} to ${wanted.destination}`;
  });
  return [...new Set(commands)].join(' && ');
}

function onDevice(wanted: Wanted): string {
  if (wanted.in !== '') return ` in on ${wanted.in}`;
  return wanted.out === '' ? '' : ` out on ${wanted.out}`;
}

/** What its commands write comes behind these chains, so it goes into their file, at the top. */
function ufwFileCure(
  chain: string,
  base: Drop['base'],
  flows: readonly Flow[],
  subject: Subject,
): string {
  const rules = flows.map((flow) => iptablesWords(wantedOf(flow, base.base!.hook, subject)));
  const lines = [...new Set(rules)].map((words) => {
    const rule = `-A ${chain} ${words} -j ACCEPT`;
    return `sed -i '/^# End required lines/a ${rule}' /etc/ufw/before.rules`;
  });
  return [...lines, 'ufw reload'].join(' && ');
}

/** It puts its own chains first whenever it starts, behind this one that it leaves to others. */
function isDockers({ table, chain }: Drop): boolean {
  const isThere = table.name === 'filter' && table.chains.has('DOCKER-USER');
  return isThere && /^DOCKER(?!-USER)/.test(chain.name);
}

function dockerCure({ table, base }: Drop, flows: readonly Flow[], subject: Subject): string {
  const rules = flows.map((flow) => iptablesWords(wantedOf(flow, base.base!.hook, subject)));
  const commands = [...new Set(rules)].map(
    (words) => `${table.program} -I DOCKER-USER ${words} -j ACCEPT`,
  );
  return commands.join(' && ');
}
