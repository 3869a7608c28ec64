/** An etcd that is broken: see broken/judged.ts. */
import process from 'node:process';
import { enterLab, labLacks } from '../../src/lab/enter.js';
import { Lab } from '../../src/lab/lab.js';
import { describeBroken, type SetUp } from './broken/judged.js';
import { nft, type Site, unshut } from './broken/site.js';

const lacks = labLacks({ programs: ['etcd', 'ping', 'nft'], tun: true });
if (lacks === undefined && !Lab.inside()) process.exit(await enterLab());

/** Milliseconds: what weft promises, since a look is often enough for it on a busy machine, too. */
const PROMISED = 10_000;

const alarm = async (
  { etcd }: Site,
  action: 'ACTIVATE' | 'DEACTIVATE',
  name: 'NOSPACE' | 'CORRUPT',
) => {
  const ask = async (what: string, body: object) => {
    const text = JSON.stringify(body);
    const answer = await fetch(`${etcd.endpoint}/v3/${what}`, { method: 'POST', body: text });
    return (await answer.json()) as { header: { member_id: string } };
  };
  const { header } = await ask('maintenance/status', {});
  await ask('maintenance/alarm', { action, memberID: header.member_id, alarm: name });
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
    within: PROMISED,
    spoil: (site) => alarm(site, 'ACTIVATE', 'NOSPACE'),
    mend: (site) => alarm(site, 'DEACTIVATE', 'NOSPACE'),
  },
  {
    is: "the data of etcd's members differ",
    finds: ['etcd-alarm'],
    within: PROMISED,
    spoil: (site) => alarm(site, 'ACTIVATE', 'CORRUPT'),
    mend: (site) => alarm(site, 'DEACTIVATE', 'CORRUPT'),
  },
];

describeBroken('a store that is broken', lacks, SET_UPS);
