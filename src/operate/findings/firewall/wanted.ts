/** What a rule must ask that accepts a flow at a hook and nothing else, in nft's words and iptables'. */
import type { Subject } from '../check.js';
import type { Flow, Kind } from './flows.js';
import type { Hook } from './model.js';

/** Device names and addresses are empty where it does not ask. */
export interface Wanted {
  readonly in: string;
  readonly out: string;
  readonly source: string;
  readonly destination: string;
  readonly port: number | null;
  readonly isAnswer: boolean;
}

const NO_DEVICE_OUT: readonly Hook[] = ['ingress', 'prerouting', 'input'];
const NO_DEVICE_IN: readonly Hook[] = ['output', 'postrouting', 'egress'];

export function wantedOf({ kind, peer }: Flow, hook: Hook, subject: Subject): Wanted {
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

export function nftWords(wanted: Wanted): string {
  return words([
    [wanted.in, (value) => `iifname ${nameWord(value)}`],
    [wanted.out, (value) => `oifname ${nameWord(value)}`],
    [wanted.source, (value) => `ip saddr ${value}`],
    [wanted.destination, (value) => `ip daddr ${value}`],
    [wanted.port, (value) => `udp dport ${value}`],
    [wanted.isAnswer, () => 'ct state established,related'],
  ]);
}

/**
 * A shell takes the quotes away. Of most names nft needs none; one that begins with a digit, has other
 * characters, or is a word of nft's own (`10g`, `lan+`, `mark`) it takes in quotes alone.
 */
function nameWord(name: string): string {
  const isPlain = /^[a-z]+[\d-][\w.-]*$/i.test(name);
  return isPlain ? `"${name}"` : `'"${name}"'`;
}

export function iptablesWords(wanted: Wanted): string {
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
