/** weft's rules in nftables, where an accept of ours does not end what iptables' chains may do. */
import process from 'node:process';
import { after, before, describe, test } from 'node:test';
import { enterLab, labLacks } from '../../src/lab/enter.js';
import { Lab } from '../../src/lab/lab.js';
import { Spoiled } from './findings-firewall.js';

const lacks = labLacks({ programs: ['etcd', 'iptables', 'nft', 'ping'], tun: true });
if (lacks === undefined && !Lab.inside()) process.exit(await enterLab());

describe('EnableNFTables', { skip: lacks ?? false, timeout: 600_000 }, () => {
  let spoiled: Spoiled;

  before(async () => {
    spoiled = await Spoiled.open({ EnableNFTables: true });
  });
  after(() => spoiled?.overlay.close());

  test("iptables' FORWARD closed beside it: told, and the cure opens it", async () => {
    await spoiled.tell({
      name: '',
      make: 'iptables -P FORWARD DROP',
      says: /^the policy drop in iptables' table filter, chain FORWARD drops all packets from containers here to other hosts and all packets from other hosts to containers here/,
    });
  });
});
