/** The questions of an iptables rule, from the words in which `iptables-save` prints it. */
import { any, type Match, not, type Packet, type Truth } from './model.js';
import {
  addressTest,
  deviceHolds,
  holds,
  nameTest,
  rangeTest,
  stateHolds,
  type Test,
  unsigned,
} from './values.js';

type Question = (packet: Packet, value: string) => Truth;

const PROTOCOLS: Readonly<Record<string, string>> = { '6': 'tcp', '17': 'udp' };

const OPTIONS: Readonly<Record<string, Question>> = {
  '-s': (packet, value) => isIn(packet.source, value),
  '-d': (packet, value) => isIn(packet.destination, value),
  '--src-range': (packet, value) => isIn(packet.source, value),
  '--dst-range': (packet, value) => isIn(packet.destination, value),
  '-p': ({ protocol }, value) => value === 'all' || (PROTOCOLS[value] ?? value) === protocol,
  '--sport': ({ sourcePort }, value) => isPort(sourcePort, value),
  '--dport': ({ destinationPort }, value) => isPort(destinationPort, value),
  '--sports': ({ sourcePort }, value) => isPort(sourcePort, value),
  '--dports': ({ destinationPort }, value) => isPort(destinationPort, value),
  '--ports': ({ sourcePort, destinationPort }, value) =>
    isPort(sourcePort, value) || isPort(destinationPort, value),
  '--state': (packet, value) => isState(packet, value),
  '--ctstate': (packet, value) => isState(packet, value),
  '--mark': ({ mark }, value) => isMark(mark, value),
  '--pkt-type': (_, value) => value === 'unicast',
  '--dst-type': ({ isForUs }, value) => isType(isForUs, value),
  '--src-type': ({ isFromUs }, value) => isType(isFromUs, value),
  // The tunnel is none of IPsec's.
  '--pol': (_, value) => value === 'none',
};

/** Options whose value says nothing of its own, or names a thing. */
const SILENT = ['--comment', '--dir', '--nfacct-name'];
/** Options without a value. What stands behind a bridge's port is routed here, not bridged. */
const FLAGS: Readonly<Record<string, Truth>> = {
  '-f': false,
  '--physdev-is-bridged': false,
};
/** Modules that ask nothing by themselves; of the others, an option that is not known is open. */
const PLAIN = [
  ...['udp', 'tcp', 'comment', 'conntrack', 'state', 'mark', 'multiport', 'iprange'],
  ...['addrtype', 'pkttype', 'policy', 'physdev', 'nfacct'],
];

/** `words`: the rule's, up to its target. */
export function matchesOf(words: readonly string[]): Match[] {
  const matches: Match[] = [];
  for (let at = 0; at < words.length; ) {
    const inverted = words[at] === '!';
    if (inverted) at += 1;
    const option = words[at] ?? '';
    const value = words[at + 1] ?? '';
    if (Object.hasOwn(FLAGS, option)) {
      const truth = FLAGS[option];
      matches.push(() => (inverted ? not(truth) : truth));
      at += 1;
      continue;
    }
    const match = matchOf(option, value, inverted);
    if (match !== null) matches.push(match);
    at += 1;
    // All values up to the next option are this one's.
    while (at < words.length && words[at] !== '!' && !isOption(words[at]!)) at += 1;
  }
  return matches;
}

function isOption(word: string): boolean {
  return /^--?[a-z]/i.test(word);
}

function matchOf(option: string, value: string, inverted: boolean): Match | null {
  if (SILENT.includes(option)) return null;
  if (option === '-m') return PLAIN.includes(value) ? null : () => undefined;
  if (option === '-i' || option === '-o') {
    const test = nameTest(value, '+');
    const read = (packet: Packet) => (option === '-i' ? packet.in : packet.out);
    return (packet) => deviceHolds(test, read(packet), inverted);
  }
  const question = OPTIONS[option];
  if (question === undefined) return () => undefined;
  return (packet) => {
    const truth = question(packet, value);
    return inverted ? not(truth) : truth;
  };
}

function isIn(address: number | undefined, text: string): Truth {
  const test = addressTest(text);
  return test === undefined ? undefined : holds(test, unsigned(address));
}

/** `80`, `1:1024`, `:1024`, and several with commas. */
function isPort(port: number, list: string): boolean {
  const tests: Test[] = list.split(',').map((text) => {
    const [first = '', last = first] = text.split(':');
    return rangeTest(Number(first), last === '' ? 65_535 : Number(last));
  });
  return any(tests.map((test) => test(port))) === true;
}

function isState(packet: Packet, list: string): Truth {
  return stateHolds(list.split(','), packet);
}

/** `0x1/0xff` */
function isMark(mark: number | undefined, text: string): Truth {
  const [value = '', mask = '0xffffffff'] = text.split('/');
  return mark === undefined ? undefined : (mark & Number(mask)) >>> 0 === Number(value);
}

function isType(isOurs: boolean, list: string): Truth {
  const types = list.split(',');
  return types.includes(isOurs ? 'LOCAL' : 'UNICAST');
}
