/** An etcd that is broken: see broken/judged.ts. */
import process from 'node:process';
import { enterLab, labLacks } from '../../src/lab/enter.js';
import { Lab } from '../../src/lab/lab.js';
import { describeBroken, type SetUp } from './broken/judged.js';
import { nft, type Site, unshut } from './broken/site.js';

const lacks = labLacks({ programs: ['etcd', 'ping', 'nft'], tun: true });
if (lacks === undefined && !Lab.inside()) process.exit(await enterLab());

const alarm = async ({ etcd }: Site, action: 'ACTIVATE' | 'DEACTIVATE') => {
  const ask = async (what: string, body: object) => {
    const text = JSON.stringify(body);
    const answer = await fetch(`${etcd.endpoint}/v3/${what}`, { method: 'POST', body: text });
    return (await answer.json()) as { header: { member_id: string } };
  };
  const { header } = await ask('maintenance/status', {});
  await ask('maintenance/alarm', { action, memberID: header.member_id, alarm: 'NOSPACE' });
};

const SET_UPS: readonly SetUp[] = [
  {
    is: 'etcd is stopped',
    finds: ['store-away'],
    spoil: ({ etcd }) => etcd.process.stop(),
    mend: ({ etcd }) => etcd.launch(),
  },
  {
    is: 'etcd stands still',
    finds: ['store-away'],
    spoil: async ({ etcd }) => etcd.process.kill('SIGSTOP'),
    mend: async ({ etcd }) => etcd.process.kill('SIGCONT'),
  },
  {
    is: 'packets of etcd are dropped on their way',
    finds: ['store-away'],
    spoil: ({ etcd }) => nft(etcd, 'output', 'tcp sport 2379 ip daddr 192.168.56.11 drop'),
    mend: ({ etcd }) => unshut(etcd),
  },
  {
    is: 'etcd is out of space',
    finds: ['etcd-alarm'],
    // Asked for seldom, by each of perhaps a thousand hosts.
    within: 45_000,
    spoil: (site) => alarm(site, 'ACTIVATE'),
    mend: (site) => alarm(site, 'DEACTIVATE'),
  },
];

describeBroken('a store that is broken', lacks, SET_UPS);
