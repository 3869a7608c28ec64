/**
 * The rules of a flannel before 0.19, which had no comment to be known by, in the nat table:
 *
 *     -A POSTROUTING -s 10.5.0.0/16 -d 10.5.0.0/16 -j RETURN
 *     -A POSTROUTING -s 10.5.0.0/16 ! -d 224.0.0.0/4 -j MASQUERADE
 *     -A POSTROUTING ! -s 10.5.0.0/16 -d 10.5.52.0/24 -j RETURN       from 0.8 on
 *     -A POSTROUTING ! -s 10.5.0.0/16 -d 10.5.0.0/16 -j MASQUERADE
 *
 * and up to 0.5, in place of the first two, a chain of its own:
 *
 *     -A POSTROUTING -s 10.5.0.0/16 -j FLANNEL
 *     -A FLANNEL -d 10.5.0.0/16 -j ACCEPT
 *     -A FLANNEL ! -d 224.0.0.0/4 -j MASQUERADE
 *
 * The last rule before ours hides from containers who it is that sends to them. Together they are
 * flannel's beyond doubt. Some of them without the others may be anybody's, and stay.
 */
import { type Mending, NAT, parseSaved, transaction } from './iptables-rules.js';
import { MULTICAST } from './rules.js';

const HOOK = 'POSTROUTING';
const CHAIN = 'FLANNEL';

export interface Earlier {
  /** What removes flannel's; null when they are not all there. */
  readonly mending: Mending | null;
  /** Rules that would change packets' sources before ours, as flannel's did, but may be another's. */
  readonly doubtful: readonly string[];
}

/** `text` is what `iptables-save` printed, `network` the overlay's. */
export function findEarlier(text: string, network: string): Earlier {
  const saved = parseSaved({ table: 'nat', chain: CHAIN }, text);
  const random = (line: string) => [line, `${line} --random-fully`];
  const inside = `-A ${HOOK} -s ${network} -d ${network} -j RETURN`;
  const leaving = random(`-A ${HOOK} -s ${network} ! -d ${MULTICAST} -j MASQUERADE`);
  const entering = random(`-A ${HOOK} ! -s ${network} -d ${network} -j MASQUERADE`);
  const jump = `-A ${HOOK} -s ${network} -j ${CHAIN}`;
  const chain = [`-d ${network} -j ACCEPT`, `! -d ${MULTICAST} -j MASQUERADE`];

  const toOwn = new RegExp(`^-A ${HOOK} ! -s ${network.replaceAll('.', '\\.')} -d \\S+ -j RETURN$`);
  const has = (lines: readonly string[]) => saved.lines.some((line) => lines.includes(line));
  const inChain = saved.lines.filter((line) => line.startsWith(`-A ${CHAIN} `));
  const isChain = inChain.join() === chain.map((rule) => `-A ${CHAIN} ${rule}`).join();
  const plain = has([inside]) && has(leaving) && has(entering);
  const chained = has([jump]) && isChain && has(entering);

  const masquerades = [...leaving, ...entering, jump];
  const doubtful = saved.lines.filter((line) => masquerades.includes(line));
  if (!plain && !chained) return { mending: null, doubtful };
  const theirs = [inside, ...masquerades];
  const gone = saved.lines.filter((line) => theirs.includes(line) || toOwn.test(line));
  const input = gone.map((line) => line.replace('-A ', '-D '));
  const used = saved.lines.some((line) => line !== jump && line.endsWith(` -j ${CHAIN}`));
  if (isChain && !used) input.push(`-F ${CHAIN}`, `-X ${CHAIN}`);
  return {
    mending: { input: transaction(NAT, input), wrong: [`${HOOK} held rules of an older flannel`] },
    doubtful: [],
  };
}
