/**
 * Others' rules that drop the overlay's packets, wherever they are: it reads the firewall as it is
 * and walks samples of all packets that must pass through it, so nothing is sent. Weft's own rules
 * are walked as any others, and pass what they should.
 */

import { bridgesTold } from '../../../control/host/bridges.js';
import type { Runner } from '../../../control/host/runner.js';
import { parseAddress } from '../../../dataplane/wire/ipv4.js';
import type { HostCheck, Subject } from '../check.js';
import type { Finding } from '../finding.js';
import { type Dropper, judgeTables, keyOfDrop } from './drops.js';
import { Fingerprint, MOST_CHAINS } from './fingerprint.js';
import type { Place } from './flows.js';
import { Kept } from './kept.js';
import { type Read, type Ruleset, readRuleset } from './read.js';
import { tellDropper, tellMaybe } from './tell.js';
import { addressTest } from './values.js';

/** So many rules are walked in all, about; with more, fewer peers are tried. */
const MOST_WALKED = 100_000;
const MOST_PEERS = 64;
const LEAST_PEERS = 4;
const MOST_CONTAINERS = 64;

/** While nothing changes, so many looks are short, and the next is a whole one all the same. */
const SHORT_LOOKS = 20;
/** With findings, whose counters should be no older. */
const SHORT_LOOKS_FOUND = 3;
/** Sets whose elements come with packets, and go with time: no change of the rules. */
const ALIVE = /"(?:dynamic|timeout)"/;
/** So many times as many with very many chains, where the kernel tells of each change. */
const OF_LARGE = 10;

interface Last {
  readonly seen: string;
  readonly findings: readonly Finding[];
  /** How many looks may still be short. */
  short: number;
}

export class FirewallCheck implements HostCheck {
  readonly name = 'the firewall';
  /** A look takes some 90 ms: where others change rules all the time, it still sees a drop within 10 s. */
  readonly share = 80;
  readonly #fingerprint = new Fingerprint();
  readonly #kept = new Kept<Read>();
  #last: Last | undefined;
  /** What the counters of rules said at the last look that may drop some of our packets. */
  #counted = new Map<string, number>();

  async look(subject: Subject): Promise<readonly Finding[]> {
    const { runner, ask, proc, subnet, device, underlay, nftGeneration } = subject;
    const behind = await bridgesTold(ask, subnet, device ?? '');
    const rules = await this.#fingerprint.take(runner, proc, nftGeneration);
    const bridges = behind.filter((name) => name !== underlay.interface);
    const seen = rules === null ? null : `${rules}\n${bridges}\n${wordsOf(subject)}`;
    const last = this.#last;
    if (seen !== null && last?.seen === seen && last.short > 0) {
      last.short -= 1;
      return last.findings;
    }
    this.#last = undefined;
    const findings = await this.#lookAtAll(subject, bridges);
    const isOpen = findings.length > 0 || this.#counted.size > 0;
    const times = this.#fingerprint.isLarge ? OF_LARGE : 1;
    const short = times * (isOpen ? SHORT_LOOKS_FOUND : SHORT_LOOKS);
    if (seen !== null) this.#last = { seen, findings, short };
    return findings;
  }

  async #lookAtAll(subject: Subject, bridges: readonly string[]): Promise<Finding[]> {
    const { runner, proc } = subject;
    const ruleset = await readRuleset(runner, proc, this.#kept);
    this.#fingerprint.isLarge = (ruleset.chains ?? Infinity) > MOST_CHAINS;
    this.#fingerprint.isAlive = ALIVE.test(ruleset.text);
    const place = placeOf(subject, ruleset, bridges);
    const { flows, sure, maybe } = judgeTables(ruleset.tables, place);
    const growing = this.#growing(maybe);
    const listings = await listingsOf(runner, [...sure, ...growing.map(({ dropper }) => dropper)]);
    const isAwake = ({ drop: { table } }: Dropper) => !listings.isDormant(table);
    return [
      ...joined(sure.filter(isAwake)).map((dropper) =>
        tellDropper(dropper, flows, subject, listings.text),
      ),
      ...growing
        .filter(({ dropper }) => isAwake(dropper))
        .map(({ dropper, packets }) => tellMaybe(dropper, subject, listings.text, packets)),
    ];
  }

  #growing(maybe: readonly Dropper[]): { dropper: Dropper; packets: number }[] {
    const before = this.#counted;
    this.#counted = new Map();
    return maybe.flatMap((dropper) => {
      const packets = dropper.drop.rule?.packets;
      if (packets === undefined) return [];
      const key = keyOfDrop(dropper.drop);
      this.#counted.set(key, packets);
      const grown = packets - (before.get(key) ?? packets);
      return grown > 0 ? [{ dropper, packets: grown }] : [];
    });
  }
}

/** What else the findings depend on. */
function wordsOf({ network, subnet, device, underlay, peers }: Subject): string {
  const each = peers.map(({ publicIp, subnet: of, direct }) => `${publicIp} ${of} ${direct}`);
  return [network, subnet, device, JSON.stringify(underlay), ...each].join('\n');
}

function placeOf(subject: Subject, { tables, text }: Ruleset, bridges: readonly string[]): Place {
  const named = new Set(text.match(/\b\d{1,3}(?:\.\d{1,3}){3}\b/g));
  const isOurs = addressTest(subject.subnet);
  const base = subject.subnet.split('/')[0];
  const containers = [...named].filter((address) => {
    const number = parseAddress(address);
    return number !== undefined && address !== base && isOurs?.(number >>> 0) === true;
  });
  let rules = 0;
  for (const { chains } of tables) for (const chain of chains.values()) rules += chain.rules.length;
  const most = Math.max(LEAST_PEERS, Math.min(MOST_PEERS, Math.floor(MOST_WALKED / (rules + 1))));
  return {
    subject,
    bridges,
    containers: containers.slice(0, MOST_CONTAINERS),
    peers: someOf(subject.peers, named, most),
  };
}

/** Peers that the rules name, and of the others some from all over. */
function someOf(
  peers: Subject['peers'],
  named: ReadonlySet<string>,
  most: number,
): Subject['peers'] {
  if (peers.length <= most) return peers;
  const isNamed = ({ publicIp, subnet }: Subject['peers'][number]) =>
    named.has(publicIp) || named.has(subnet.split('/')[0]!);
  const step = Math.ceil(peers.length / most);
  const direct = peers.findIndex((peer) => peer.direct);
  return peers
    .filter((peer, i) => i % step === 0 || i === direct || isNamed(peer))
    .slice(0, 2 * most);
}

/** Rules of one chain that are about a container's address each are one. */
function joined(droppers: readonly Dropper[]): Dropper[] {
  const groups = new Map<string, Dropper>();
  for (const dropper of droppers) {
    const { table, chain } = dropper.drop;
    const isOfContainers = dropper.flows.every(({ container }) => container !== undefined);
    const key = isOfContainers
      ? `${table.program} ${table.family} ${table.name} ${chain.name}`
      : keyOfDrop(dropper.drop);
    const known = groups.get(key);
    const flows = [...(known?.flows ?? []), ...dropper.flows];
    groups.set(key, { drop: known?.drop ?? dropper.drop, flows });
  }
  return [...groups.values()];
}

interface Listings {
  /** A rule as its program prints it. */
  readonly text: (dropper: Dropper) => string | undefined;
  /** Whether a table is switched off, which `nft -j` does not tell rightly in older versions. */
  isDormant(table: Dropper['drop']['table']): boolean;
}

/** What nft prints of the tables with rules that are to be told. */
async function listingsOf(runner: Runner, droppers: readonly Dropper[]): Promise<Listings> {
  const listings = new Map<string, string>();
  for (const { drop } of droppers) {
    const { program, family, name } = drop.table;
    if (program !== 'nft' || listings.has(`${family} ${name}`)) continue;
    const { stdout } = await runner.run(['nft', '-a', '-s', '-t', 'list', 'table', family, name]);
    listings.set(`${family} ${name}`, stdout);
  }
  const listing = ({ family, name }: Dropper['drop']['table']) =>
    listings.get(`${family} ${name}`) ?? '';
  return {
    isDormant: (table) => table.program === 'nft' && /^\s*flags .*dormant/m.test(listing(table)),
    text: ({ drop: { table, rule } }) =>
      rule?.text ?? textOfRule(listing(table), rule?.handle) ?? `handle ${rule?.handle}`,
  };
}

function textOfRule(listing: string, handle: number | undefined): string | undefined {
  const line = listing.split('\n').find((one) => one.endsWith(` # handle ${handle}`));
  return line?.trim();
}
