/** The command that lets through what a rule drops, and nothing else. */
import type { Subject } from '../check.js';
import type { Dropper } from './drops.js';
import type { Flow, Kind } from './flows.js';
import type { Hook } from './model.js';

/** What a rule asks that accepts a flow at a hook. Device names are empty where it does not ask. */
interface Wanted {
  readonly in: string;
  readonly out: string;
  readonly source: string;
  readonly destination: string;
  readonly port: number | null;
  readonly isAnswer: boolean;
}

export function cureOf({ drop, flows }: Dropper, subject: Subject): string {
  const { table, base } = drop;
  const hook = base.base!.hook;
  const wanted = [...new Map(flows.map((flow) => [keyOf(flow), flow])).values()];
  const byService = serviceCure(drop, wanted, subject);
  if (byService !== null) return byService;
  const commands = wanted.map((flow) => {
    const match = wantedOf(flow, hook, subject);
    if (table.program === 'nft') {
      const where = `${table.family} ${table.name} ${base.name}`;
      return `nft insert rule ${where} ${nftWords(match)} accept`;
    }
    const at = table.name === 'filter' ? '' : `-t ${table.name} `;
    return `${table.program} ${at}-I ${base.name} ${iptablesWords(match)} -j ACCEPT`;
  });
  return [...new Set(commands)].join(' && ');
}

function keyOf({ kind, peer }: Flow): string {
  return `${kind} ${peer?.direct === true}`;
}

const NO_DEVICE_OUT: readonly Hook[] = ['ingress', 'prerouting', 'input'];
const NO_DEVICE_IN: readonly Hook[] = ['output', 'postrouting', 'egress'];

function wantedOf({ kind, peer }: Flow, hook: Hook, subject: Subject): Wanted {
  const { network, subnet, underlay } = subject;
  const isTunnels = kind === 'in' || kind === 'out';
  const device = isTunnels
    ? underlay.interface
    : peer?.direct === true
      ? ''
      : (subject.device ?? '');
  const inwards = isInwards(kind);
  const addresses = inwards ? [network, subnet] : [subnet, network];
  const isForwarded = kind === 'from' || kind === 'to';
  return {
    in: inwards && !NO_DEVICE_IN.includes(hook) ? device : '',
    out: !inwards && !NO_DEVICE_OUT.includes(hook) ? device : '',
    source: isForwarded ? addresses[0]! : '',
    destination: isForwarded ? addresses[1]! : '',
    port: isTunnels ? underlay.port : null,
    isAnswer: kind === 'host-from',
  };
}

function isInwards(kind: Kind): boolean {
  return kind === 'in' || kind === 'from' || kind === 'host-from';
}

function nftWords(wanted: Wanted): string {
  return words([
    [wanted.in, (value) => `iifname "${value}"`],
    [wanted.out, (value) => `oifname "${value}"`],
    [wanted.source, (value) => `ip saddr ${value}`],
    [wanted.destination, (value) => `ip daddr ${value}`],
    [wanted.port, (value) => `udp dport ${value}`],
    [wanted.isAnswer, () => 'ct state established,related'],
  ]);
}

function iptablesWords(wanted: Wanted): string {
  return words([
    [wanted.in, (value) => `-i ${value}`],
    [wanted.out, (value) => `-o ${value}`],
    [wanted.source, (value) => `-s ${value}`],
    [wanted.destination, (value) => `-d ${value}`],
    [wanted.port, (value) => `-p udp --dport ${value}`],
    [wanted.isAnswer, () => '-m conntrack --ctstate ESTABLISHED,RELATED'],
  ]);
}

type Word = readonly [string | number | boolean | null, (value: string) => string];

function words(list: readonly Word[]): string {
  return list
    .filter(([value]) => value !== '' && value !== null && value !== false)
    .map(([value, say]) => say(String(value)))
    .join(' ');
}

/** firewalld and ufw write their rules anew, so they are told; null where it is neither's rule. */
function serviceCure(
  { table, base, chain, rule }: Dropper['drop'],
  flows: readonly Flow[],
  subject: Subject,
): string | null {
  if (table.program === 'nft' && table.name === 'firewalld') return firewalldCure(flows, subject);
  const isUfw = table.chains.has('ufw-user-input') && table.name === 'filter';
  const isUfws = chain.name.startsWith('ufw-') || (rule === null && chain === base);
  return isUfw && isUfws ? ufwCure(flows, subject) : null;
}

function firewalldCure(flows: readonly Flow[], { device, underlay, network }: Subject): string {
  const commands = flows.map(({ kind, peer }) => {
    if (kind === 'in' || kind === 'out') return `--add-port=${underlay.port}/udp`;
    return peer?.direct === true || device === null
      ? `--zone=trusted --add-source=${network}`
      : `--zone=trusted --add-interface=${device}`;
  });
  const permanent = [...new Set(commands)].map((words) => `firewall-cmd --permanent ${words}`);
  return [...permanent, 'firewall-cmd --reload'].join(' && ');
}

function ufwCure(flows: readonly Flow[], subject: Subject): string {
  const commands = flows.map((flow) => {
    const { kind } = flow;
    const { underlay, device } = subject;
    if (kind === 'in') {
      return `ufw allow in on ${underlay.interface} to any port ${underlay.port} proto udp`;
    }
    if (kind === 'out') {
      return `ufw allow out on ${underlay.interface} to any port ${underlay.port} proto udp`;
    }
    if (kind === 'host-from') return `ufw allow in on ${device}`;
    if (kind === 'host-to') return `ufw allow out on ${device}`;
    const wanted = wantedOf(flow, 'forward', subject);
    const on =
      wanted.in !== '' ? ` in on ${wanted.in}` : wanted.out !== '' ? ` out on ${wanted.out}` : '';
    return `ufw route allow${on} from ${wanted.source} to ${wanted.destination}`;
  });
  return [...new Set(commands)].join(' && ');
}
