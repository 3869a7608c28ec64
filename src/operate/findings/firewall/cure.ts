/** The command that lets through what a rule drops, and nothing else. */
import type { Subject } from '../check.js';
import type { Dropper } from './drops.js';
import type { Flow } from './flows.js';
import { ownersCure } from './owners.js';
import { iptablesWords, nftWords, wantedOf } from './wanted.js';

export function cureOf({ drop, flows }: Dropper, subject: Subject): string {
  const { table, base } = drop;
  const hook = base.base!.hook;
  const wanted = [...new Map(flows.map((flow) => [keyOf(flow), flow])).values()];
  const byOwner = ownersCure(drop, wanted, subject);
  if (byOwner !== null) return byOwner;
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

/** What containers here send is told apart by the device that they are behind. */
function keyOf({ kind, peer, stops }: Flow): string {
  const bridge = kind === 'to' ? stops[0]!.packet.in : '';
  return `${kind} ${peer?.direct === true} ${bridge}`;
}
