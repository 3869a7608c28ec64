/** Findings from rules that drop packets of ours. */
import { counted } from '../../status/format.js';
import type { Subject } from '../check.js';
import type { Finding } from '../finding.js';
import { cureOf } from './cure.js';
import type { Dropper } from './drops.js';
import type { Flow, Kind } from './flows.js';

/** What is known of a rule of nft from its listing as text. */
export type RuleText = (dropper: Dropper) => string | undefined;

/** `all`: every flow that was tried. */
export function tellDropper(
  dropper: Dropper,
  all: readonly Flow[],
  subject: Subject,
  text: RuleText,
): Finding {
  const { flows } = dropper;
  const isHostsOnly = flows.every(({ kind }) => kind.startsWith('host-'));
  const peers = peersOf(flows, all);
  const { what, where, packets } = naming(dropper, text);
  const witness = packets === undefined ? '' : `; it has counted ${counted(packets, 'packet')}`;
  return {
    code: 'firewall-drop',
    severity: isHostsOnly ? 'warning' : 'error',
    scope: peers.length > 0 ? 'peer' : 'host',
    about: `${where}: ${what}${peers.length > 0 ? ` for ${list(peers)}` : ''}`,
    text: `${what} in ${where} drops ${describe(flows, all, subject, peers)}${witness}`,
    cure: cureOf(dropper, subject),
  };
}

/** `packets`: by so many its counter grew. */
export function tellMaybe(
  dropper: Dropper,
  subject: Subject,
  text: RuleText,
  packets: number,
): Finding {
  const { what, where } = naming(dropper, text);
  const which = describe(dropper.flows, [], subject, []).replace(
    /^(?:all |(?=the |what |this ))/,
    (all) => (all === '' ? 'of ' : ''),
  );
  return {
    code: 'firewall-drops-some',
    severity: 'warning',
    scope: 'host',
    about: `${where}: ${what}`,
    text: `${what} in ${where} drops some ${which}; just now it counted ${counted(packets, 'packet')}`,
    cure: cureOf(dropper, subject),
  };
}

interface Naming {
  readonly what: string;
  readonly where: string;
  readonly packets: number | undefined;
}

function naming(dropper: Dropper, text: RuleText): Naming {
  const { table, chain, rule } = dropper.drop;
  const { program, family, name } = table;
  const whose = program === 'nft' ? 'nftables' : program;
  const full = program === 'nft' ? `${family} ${name}` : name;
  return {
    what: rule === null ? 'the policy drop' : `the rule "${text(dropper)}"`,
    where: `${whose}${whose.endsWith('s') ? "'" : "'s"} table ${full}, chain ${chain.name}`,
    packets: rule === null ? chain.policyPackets : rule.packets,
  };
}

/** The public IPs of the peers that it is about; none if it is about all. */
function peersOf(flows: readonly Flow[], all: readonly Flow[]): string[] {
  const kinds = new Set(flows.map(({ kind }) => kind));
  const tried = new Set(all.filter(({ kind }) => kinds.has(kind)).map(({ peer }) => peer));
  const hit = new Set(flows.map(({ peer }) => peer));
  const isOfOneContainer = flows.every(({ container }) => container !== undefined);
  if (isOfOneContainer || hit.size >= tried.size) return [];
  return [...hit].flatMap((peer) => (peer === undefined ? [] : [peer.publicIp])).sort();
}

const ORDER: readonly Kind[] = ['in', 'out', 'to', 'from', 'host-to', 'host-from'];

function describe(
  flows: readonly Flow[],
  all: readonly Flow[],
  subject: Subject,
  peers: readonly string[],
): string {
  const others = peers.length === 0 ? 'other hosts' : list(peers);
  const isBeside = flows.some(({ kind }) => !kind.startsWith('host-'));
  const kinds = ORDER.filter((kind) => flows.some((flow) => flow.kind === kind)).filter(
    (kind) => !isBeside || !kind.startsWith('host-'),
  );
  return kinds
    .map((kind) => {
      const own = flows.filter((flow) => flow.kind === kind);
      const port = `(UDP port ${subject.underlay.port})`;
      const which = share(
        own,
        all.filter((flow) => flow.kind === kind),
      );
      switch (kind) {
        case 'in':
          return `the tunnel's packets from ${others} ${port}`;
        case 'out':
          return `the tunnel's packets to ${others} ${port}`;
        case 'to':
          return `${which} from ${here(own)} to ${others}`;
        case 'from':
          return `${which} from ${others} to ${here(own)}`;
        case 'host-to':
          return `this host's own packets to containers on ${others}`;
        default:
          return `what containers on ${others} answer to this host itself`;
      }
    })
    .join(' and ');
}

function here(flows: readonly Flow[]): string {
  const named = new Set(flows.map(({ container }) => container));
  if (named.has(undefined)) return 'containers here';
  return `the ${named.size === 1 ? 'container' : 'containers'} ${list([...named].map(String))}`;
}

/** Which of the packets that were tried. */
function share(own: readonly Flow[], all: readonly Flow[]): string {
  const lacks = (is: (flow: Flow) => boolean) => !own.some(is) && all.some(is);
  const protocol = lacks((flow) => flow.protocol === 'udp')
    ? 'TCP '
    : lacks((flow) => flow.protocol === 'tcp')
      ? 'UDP '
      : '';
  if (lacks(({ state }) => state === 'established')) return `${protocol}packets of new connections`;
  if (lacks(({ state }) => state === 'new')) return `${protocol}packets of known connections`;
  return `all ${protocol}packets`;
}

function list(names: readonly string[]): string {
  if (names.length <= 2) return names.join(' and ');
  return `${names[0]} and ${names.length - 1} others`;
}
